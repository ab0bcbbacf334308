//! A log with a sealer, and exports of it by the command.

use std::path::PathBuf;

use keyledger::audit::sealer::{SealerOptions, start};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::both::{Said, judge};
use super::forged::{right_key, signers};
use crate::harness::{Harness, until};

const KEYLEDGER: &str = env!("CARGO_BIN_EXE_keyledger");

pub struct Sealed<'a> {
    harness: &'a Harness,
    directory: TempDir,
}

impl<'a> Sealed<'a> {
    /// Seals the log from now on.
    pub async fn start(harness: &'a Harness) -> Sealed<'a> {
        let directory = tempfile::tempdir().unwrap();
        let options = SealerOptions {
            tree: harness.tree(),
            signers: signers(),
            state_dir: directory.path().join("sealer"),
            bus: None,
            witnesses: Vec::new(),
            committed: None,
        };
        start(options, harness.stop.child_token());
        Sealed { harness, directory }
    }

    /// Waits until all that is there is sealed.
    pub async fn level(&self) -> u64 {
        let head = self.harness.log().head().await.unwrap().position.0;
        let store = self.harness.tree();
        until("the log is sealed", async || {
            store.store().covering(head).await.unwrap().is_some()
        })
        .await;
        head
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the command, and gives its exit code and what it said.
    pub async fn run(&self, arguments: &[&str], name: &str) -> (i32, String) {
        let output = Command::new(KEYLEDGER)
            .args(["audit", "export"])
            .args(arguments)
            .arg("--out")
            .arg(self.path(name))
            .env("DATABASE_URL", self.harness.owner_url())
            .output()
            .await
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(told).unwrap())
    }

    pub async fn export(&self, arguments: &[&str], name: &str) -> PathBuf {
        let (code, told) = self.run(arguments, name).await;
        assert_eq!(code, 0, "{told}");
        self.path(name)
    }

    /// Exports, and has both verifiers find it good.
    pub async fn good(&self, arguments: &[&str], name: &str) -> Value {
        let file = self.export(arguments, name).await;
        let Said { code, told, .. } = judge(&file, &right_key());
        assert_eq!(code, 0, "{told}");
        told
    }
}

pub fn lines(file: &PathBuf) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).unwrap();
    let bytes = bytes.strip_suffix(b"\n").unwrap();
    bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}
