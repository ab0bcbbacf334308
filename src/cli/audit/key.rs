//! `keyledger audit key`: makes a key that signs the log, and prints what others check by.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use keyledger::audit::note::SignerKey;
use keyledger::audit::sealer::Signers;
use keyledger::clock;
use keyledger_events::Shard;

#[derive(Debug, Args)]
pub struct Key {
    /// The file with the secret key
    #[arg(long, required_unless_present = "env")]
    file: Option<PathBuf>,
    /// The environment variable with the secret key
    #[arg(long, conflicts_with_all = ["file", "generate"])]
    env: Option<String>,
    /// Make a key of this name in the file, such as `ledger.example.com`; a file that is there is never written over
    #[arg(long, value_name = "NAME")]
    generate: Option<String>,
    /// Whose checkpoints: each shard's log has a name of its own, `NAME/SHARD`
    #[arg(long, default_value_t = 0)]
    shard: u16,
    /// Print the key by which this one is known as a witness
    #[arg(long)]
    witness: bool,
}

/// Readable by its owner alone.
const MODE: u32 = 0o600;

pub fn run(key: Key) -> anyhow::Result<()> {
    let secret = match (&key.file, &key.env, &key.generate) {
        (Some(file), _, Some(name)) => make(file, name)?,
        (Some(file), _, None) => read(file)?,
        (None, Some(variable), _) => {
            let text = std::env::var(variable).with_context(|| format!("{variable} cannot be read"))?;
            SignerKey::parse(&text).with_context(|| format!("what is in {variable}"))?
        }
        (None, None, _) => anyhow::bail!("say where the key is: --file or --env"),
    };
    if key.witness {
        println!("{}", secret.witness_verifier());
        return Ok(());
    }
    for verifier in Signers::new(&[secret], Shard(key.shard))?.verifiers() {
        println!("{verifier}");
    }
    Ok(())
}

/// The key in a file.
pub fn read(file: &Path) -> anyhow::Result<SignerKey> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    SignerKey::parse(&text).with_context(|| format!("what is in {}", file.display()))
}

fn make(file: &Path, name: &str) -> anyhow::Result<SignerKey> {
    let key = SignerKey::from_seed(name, clock::random_secret_bits())?;
    let mut options = OpenOptions::new();
    let mut fresh = options
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(file)
        .with_context(|| format!("{} cannot be made", file.display()))?;
    writeln!(fresh, "{}", key.expose_text_to_its_file())?;
    fresh.sync_all()?;
    Ok(key)
}

/// The key in a file, which is made where it is not there.
pub fn read_or_make(file: &Path, name: &str) -> anyhow::Result<SignerKey> {
    match file.try_exists() {
        Ok(true) => read(file),
        Ok(false) => make(file, name),
        Err(error) => Err(io::Error::into(error)),
    }
}
