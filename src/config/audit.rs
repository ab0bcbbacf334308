//! `[audit]`: which key signs the checkpoints of the log, and who witnesses them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use super::section::{List, Section};
use super::tls;
use crate::audit::note::{SignerKey, VerifierKey};
use crate::audit::sealer::WitnessOptions;

/// How the log is sealed. Everything is empty where the file says nothing: then nothing is.
#[derive(Debug, Clone, Default)]
pub struct AuditConfig {
    /// The newest first. Without one this process seals nothing.
    pub keys: Arc<Vec<SignerKey>>,
    /// Of other processes' sealers: what this one believes at its start.
    pub public_keys: Vec<VerifierKey>,
    /// Where a sealer remembers what it signed.
    pub state_dir: Option<PathBuf>,
    pub witnesses: Vec<WitnessOptions>,
}

const WITNESSES: List = List {
    name: "witnesses",
    written: "[[audit.witnesses]]",
};
const WITNESSES_MAX: usize = 8;

pub(super) fn read(file: &mut Section<'_>) -> AuditConfig {
    let table = file.table("audit");
    let mut section = file.inner("[audit]", table);
    let mut keys = Vec::new();
    let newest = read_key(&mut section, "key_file", "key_env", &mut keys);
    // Signs beside the newest while auditors change over.
    read_key(&mut section, "former_key_file", "former_key_env", &mut keys);
    let state_dir = section.text("state_dir").map(PathBuf::from).or(newest);
    if !keys.is_empty() && state_dir.is_none() {
        section.complain("state_dir", "is missing: what was signed is remembered there");
    }
    let public_keys = read_public_keys(&mut section);
    let witnesses = read_witnesses(&mut section);
    section.end();
    AuditConfig {
        keys: Arc::new(keys),
        public_keys,
        state_dir,
        witnesses,
    }
}

/// Reads a key where one is said, and answers with the directory of its file.
fn read_key(section: &mut Section<'_>, of_file: &str, of_env: &str, keys: &mut Vec<SignerKey>) -> Option<PathBuf> {
    let (name, text, directory) = match (section.text(of_file), section.text(of_env)) {
        (None, None) => return None,
        (Some(path), None) => {
            let directory = Path::new(&path).parent().map(Path::to_owned);
            (of_file, fs::read_to_string(path).ok(), directory)
        }
        (None, Some(variable)) => (of_env, env::var(variable).ok(), None),
        (Some(_), Some(_)) => {
            section.complain(of_file, format!("and {of_env} exclude each other"));
            return None;
        }
    };
    let Some(text) = text else {
        section.complain(
            name,
            "names nothing that can be read; `keyledger audit key --generate` makes one",
        );
        return None;
    };
    match SignerKey::parse(&text) {
        Ok(key) if keys.iter().any(|other: &SignerKey| other.name() != key.name()) => {
            section.complain(
                name,
                "has another name than the newest key: a log keeps its name for ever",
            );
        }
        Ok(key) => keys.push(key),
        Err(error) => section.complain(name, format!("names what {error}")),
    }
    directory
}

fn read_public_keys(section: &mut Section<'_>) -> Vec<VerifierKey> {
    let Some(value) = section.value("public_keys") else {
        return Vec::new();
    };
    let keys = value.as_array().and_then(|values| {
        let keys = values.iter().map(|value| value.as_str()?.parse().ok());
        keys.collect::<Option<Vec<_>>>()
    });
    keys.unwrap_or_else(|| {
        section.complain(
            "public_keys",
            "is a list of verifier keys, as `keyledger audit key` prints them",
        );
        Vec::new()
    })
}

fn read_witnesses(section: &mut Section<'_>) -> Vec<WitnessOptions> {
    let entries = section.entries(WITNESSES);
    if entries.len() > WITNESSES_MAX {
        section.complain("witnesses", format!("has at most {WITNESSES_MAX} entries"));
    }
    let mut witnesses = Vec::new();
    for (index, entry) in entries.into_iter().take(WITNESSES_MAX).enumerate() {
        if let Some(section) = section.entry(WITNESSES, index, entry) {
            witnesses.extend(read_witness(section));
        }
    }
    witnesses
}

fn read_witness(mut section: Section<'_>) -> Option<WitnessOptions> {
    let text = section.required_text("url");
    let url = super::webhooks::web(&text);
    if url.is_none() && !text.is_empty() {
        section.complain(
            "url",
            "is http:// or https://, a host and a path, without a user or a #",
        );
    }
    let encrypted = url.as_ref().is_some_and(|url| url.scheme_str() == Some("https"));
    let tls = tls::read_client(&mut section, "ca_file", encrypted);
    let text = section.required_text("key");
    let key = text.parse().ok().filter(VerifierKey::is_witness);
    if key.is_none() && !text.is_empty() {
        section.complain("key", "is the witness's verifier key, name+id+base64, of kind 4");
    }
    section.end();
    Some(WitnessOptions {
        url: url?,
        tls,
        key: key?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::Config;

    fn key(name: &str, byte: u8) -> SignerKey {
        SignerKey::from_seed(name, [byte; 32]).unwrap()
    }

    fn file(key: &SignerKey) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}", key.expose_text_to_its_file()).unwrap();
        file
    }

    #[test]
    fn two_keys_of_one_name_sign_while_one_takes_over() {
        let (new, old) = (file(&key("a.example", 2)), file(&key("a.example", 1)));
        let witness = key("w.example", 3).witness_verifier();
        let public = key("a.example/0", 1).verifier();
        let text = format!(
            r#"
            [audit]
            key_file = "{}"
            former_key_file = "{}"
            public_keys = ["{public}"]
            [[audit.witnesses]]
            url = "http://127.0.0.1:9/w"
            key = "{witness}"
            "#,
            new.path().display(),
            old.path().display()
        );
        let audit = Config::parse(&text).unwrap().audit;
        assert_eq!(
            (audit.keys.len(), audit.public_keys.len(), audit.witnesses.len()),
            (2, 1, 1)
        );
        assert_eq!(audit.state_dir.as_deref(), new.path().parent());
        assert!(Config::parse("").unwrap().audit.keys.is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let (new, old) = (file(&key("a.example", 2)), file(&key("b.example", 1)));
        let text = format!(
            r#"
            [audit]
            key_file = "{}"
            former_key_file = "{}"
            public_keys = ["x"]
            seal = true
            [[audit.witnesses]]
            url = "x"
            key = "{}"
            "#,
            new.path().display(),
            old.path().display(),
            key("w.example", 3).verifier()
        );
        let complaints = Config::parse(&text).unwrap_err();
        let places: Vec<&str> = complaints.iter().map(|complaint| complaint.place.as_str()).collect();
        let expected = [
            "[audit] former_key_file",
            "[audit] public_keys",
            "[[audit.witnesses]] 1 url",
            "[[audit.witnesses]] 1 key",
            "[audit] seal",
        ];
        assert_eq!(places, expected);
        for (text, place) in [
            ("[audit]\nkey_env = \"KEYLEDGER_NO_SUCH\"", "[audit] key_env"),
            ("[audit]\nkey_env = \"PATH\"", "[audit] key_env"),
            ("[audit]\nkey_env = \"PATH\"\nkey_file = \"x\"", "[audit] key_file"),
        ] {
            assert_eq!(Config::parse(text).unwrap_err()[0].place, place);
        }
    }
}
