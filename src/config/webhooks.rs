//! `[[webhooks]]`: who is told of thresholds and keys, and how they know that it is us.

use std::{fmt, fs};

use super::section::{List, Section};
use super::tls::{self, ClientTls};
use crate::webhooks::{Kind, Secrets};
use http::Uri;

/// A receiver. Its URL's query is in no `Debug`: some receivers want a secret there.
#[derive(Clone)]
pub struct WebhookConfig {
    /// In the delivery log and in paths.
    pub name: String,
    pub url: Uri,
    /// There where the URL is `https`.
    pub tls: Option<ClientTls>,
    pub secrets: Secrets,
    pub kinds: Vec<Kind>,
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("name", &self.name)
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

const RECEIVERS_MAX: usize = 20;
const WEBHOOKS: List = List {
    name: "webhooks",
    written: "[[webhooks]]",
};

pub(super) fn read(file: &mut Section<'_>) -> Vec<WebhookConfig> {
    let entries = file.entries(WEBHOOKS);
    if entries.len() > RECEIVERS_MAX {
        file.complain("webhooks", format!("has at most {RECEIVERS_MAX} entries"));
    }
    let mut names = Vec::new();
    let mut receivers = Vec::new();
    for (index, entry) in entries.into_iter().take(RECEIVERS_MAX).enumerate() {
        if let Some(section) = file.entry(WEBHOOKS, index, entry) {
            receivers.extend(read_one(section, &mut names));
        }
    }
    receivers
}

fn read_one(mut section: Section<'_>, names: &mut Vec<String>) -> Option<WebhookConfig> {
    let name = section.name_among(names, "receiver");
    let text = section.required_text("url");
    let url = web(&text);
    if url.is_none() && !text.is_empty() {
        section.complain(
            "url",
            "is http:// or https://, a host and a path, without a user or a #",
        );
    }
    let encrypted = url.as_ref().is_some_and(|url| url.scheme_str() == Some("https"));
    let tls = tls::read_client(&mut section, "ca_file", encrypted);
    let secrets = read_secrets(&mut section);
    let kinds = read_kinds(&mut section);
    section.end();
    Some(WebhookConfig {
        name,
        url: url?,
        tls,
        secrets: secrets?,
        kinds,
    })
}

pub(super) fn web(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let fits = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty())
        && !text.contains('#');
    fits.then_some(uri)
}

fn read_secrets(section: &mut Section<'_>) -> Option<Secrets> {
    let (name, text) = match (section.text("secret_env"), section.text("secret_file")) {
        (Some(variable), None) => ("secret_env", std::env::var(variable).ok()),
        (None, Some(path)) => ("secret_file", fs::read_to_string(path).ok()),
        (Some(_), Some(_)) => {
            section.complain("secret_file", "and secret_env exclude each other");
            return None;
        }
        (None, None) => {
            section.complain("secret_env", "or secret_file says where the secret is");
            return None;
        }
    };
    let Some(text) = text else {
        section.complain(name, "names nothing that can be read");
        return None;
    };
    let read = Secrets::parse(&text);
    read.map_err(|error| section.complain(name, format!("names what is no secret: it {error}")))
        .ok()
}

fn read_kinds(section: &mut Section<'_>) -> Vec<Kind> {
    let Some(value) = section.value("events") else {
        return Kind::ALL.to_vec();
    };
    let kinds = value.as_array().and_then(|values| {
        let kinds = values.iter().map(|value| value.as_str().and_then(Kind::parse));
        kinds.collect::<Option<Vec<_>>>()
    });
    kinds.filter(|kinds| !kinds.is_empty()).unwrap_or_else(|| {
        let known = Kind::ALL.map(Kind::as_str).join("\", \"");
        section.complain("events", format!("is a list of some of \"{known}\""));
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::Config;

    fn secret_file() -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        file
    }

    #[test]
    fn a_receiver_hears_of_everything_unless_it_says_of_what() {
        let file = secret_file();
        let path = file.path().display();
        let text = format!(
            r#"
            [[webhooks]]
            name = "billing"
            url = "https://billing.example/hooks?x=1"
            secret_file = "{path}"
            [[webhooks]]
            name = "ops"
            url = "http://127.0.0.1:9/"
            secret_file = "{path}"
            events = ["key.leaked", "key.stale"]
            "#
        );
        let config = Config::parse(&text).unwrap();
        let read: Vec<_> = config
            .webhooks
            .iter()
            .map(|w| (w.name.as_str(), w.kinds.len(), w.tls.is_some()))
            .collect();
        assert_eq!(read, [("billing", 4, true), ("ops", 2, false)]);
        assert!(!format!("{config:?}").contains("MfKQ"), "a secret is in no Debug");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let file = secret_file();
        let path = file.path().display();
        let text = format!(
            r#"
            [[webhooks]]
            name = "A!"
            url = "ftp://x"
            secret_env = "KEYLEDGER_NO_SUCH_VARIABLE"
            events = ["key.used"]
            retries = 3
            [[webhooks]]
            name = "a"
            url = "https://user@host/"
            secret_file = "{path}"
            secret_env = "X"
            [[webhooks]]
            name = "a"
            url = "http://host/"
            ca_file = "x"
            events = []
            "#
        );
        let complaints = Config::parse(&text).unwrap_err();
        let places: Vec<&str> = complaints.iter().map(|complaint| complaint.place.as_str()).collect();
        let expected = [
            "[[webhooks]] 1 name",
            "[[webhooks]] 1 url",
            "[[webhooks]] 1 secret_env",
            "[[webhooks]] 1 events",
            "[[webhooks]] 1 retries",
            "[[webhooks]] 2 url",
            "[[webhooks]] 2 secret_file",
            "[[webhooks]] 3 name",
            "[[webhooks]] 3 ca_file",
            "[[webhooks]] 3 secret_env",
            "[[webhooks]] 3 events",
        ];
        assert_eq!(places, expected);
        for bad in ["", "https://", "/x", "http://h/#f", "mailto:x"] {
            assert!(web(bad).is_none(), "{bad}");
        }
    }
}
