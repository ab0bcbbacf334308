//! A log with a sealer.

use std::path::PathBuf;
use std::process::Command;

use keyledger::audit::note::{Checkpoint, Note, SignerKey, VerifierKey};
use keyledger::audit::sealer::{self, SealerHandle, SealerOptions, Signers, WitnessOptions};
use keyledger::audit::tree::SealedCheckpoint;
use keyledger::ledger::Ledger;
use keyledger_events::{Event, Shard};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, until};
use crate::ledger::customer::Customer;
use crate::projector::appended::{append, uses};

pub const NAME: &str = "ledger.example";

pub struct Sealed {
    pub harness: Harness,
    pub ledger: Ledger,
    pub customer: Customer,
    pub state: TempDir,
}

pub fn key(byte: u8) -> SignerKey {
    SignerKey::from_seed(NAME, [byte; 32]).unwrap()
}

pub fn verifier(byte: u8) -> VerifierKey {
    let signers = Signers::new(&[key(byte)], Shard(0)).unwrap();
    signers.verifiers().remove(0)
}

/// What a note says, once the key is seen to have signed it.
pub fn believed(note: &str, by: &VerifierKey) -> Checkpoint {
    let note = Note::parse(note).unwrap();
    assert_eq!(by.signed(&note), Ok(true), "{note:?}");
    Checkpoint::parse(&note.text).unwrap()
}

/// What a command says that has to say something in JSON, and its exit code.
pub async fn told(mut command: Command) -> (i32, Value) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    assert_ne!(told, Value::Null, "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), told)
}

impl Sealed {
    /// A customer with a grant and a key, and nothing sealed yet.
    pub async fn open() -> Sealed {
        Sealed::on(Harness::start().await).await
    }

    pub async fn on(harness: Harness) -> Sealed {
        let ledger = harness.ledger();
        let customer = Customer::open(&ledger, "1000").await;
        Sealed {
            harness,
            ledger,
            customer,
            state: tempfile::tempdir().unwrap(),
        }
    }

    /// A sealer with the usual key and memory, until the token is cancelled.
    pub fn seal(&self) -> (SealerHandle, CancellationToken) {
        self.seal_as(&[key(1)], self.state.path().to_owned(), Vec::new())
    }

    pub fn seal_as(
        &self,
        keys: &[SignerKey],
        state_dir: PathBuf,
        witnesses: Vec<WitnessOptions>,
    ) -> (SealerHandle, CancellationToken) {
        let stop = self.harness.stop.child_token();
        let options = SealerOptions {
            tree: self.harness.tree(),
            signers: Signers::new(keys, Shard(0)).unwrap(),
            state_dir,
            bus: None,
            witnesses,
            committed: Some(self.ledger.committed()),
        };
        (sealer::start(options, stop.clone()), stop)
    }

    /// Writes many events.
    pub async fn use_key(&self, count: usize) {
        let events: Vec<Event> = uses(self.customer.key, count);
        append(&self.harness, self.customer.account, events).await;
    }

    pub async fn head(&self) -> u64 {
        self.harness.log().head().await.unwrap().position.0
    }

    /// The checkpoint over the whole log as it is now.
    pub async fn sealed(&self) -> SealedCheckpoint {
        let head = self.head().await;
        let store = self.harness.tree().store().clone();
        until("the log is sealed", async || {
            store.latest().await.unwrap().is_some_and(|latest| latest.size >= head)
        })
        .await;
        store.latest().await.unwrap().unwrap()
    }

    /// Why a sealer stopped.
    pub async fn fault(&self, sealer: &SealerHandle) -> String {
        until("the sealer says what is wrong", async || {
            sealer.status().fault.is_some()
        })
        .await;
        sealer.status().fault.unwrap()
    }

    /// With every right on the database, and no trigger in the way.
    pub async fn tamper(&self, statements: &str) {
        let mut owner = self.harness.owner().await;
        let all = format!("set session_replication_role = replica; {statements}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(all))
            .execute(&mut owner)
            .await
            .unwrap();
    }
}
