//! A witness that is a process of its own, and what it does not sign.

use std::process::Stdio;

use keyledger::audit::note::{Note, SignerKey, VerifierKey};
use keyledger::audit::sealer::WitnessOptions;
use tokio::process::{Child, Command};

use super::stage::{Sealed, verifier};
use crate::harness::until;
use crate::service::process::{KEYLEDGER, ready};

pub struct Witness {
    child: Child,
    pub options: WitnessOptions,
    pub state: tempfile::TempDir,
}

impl Witness {
    /// Of the usual log.
    pub async fn start(state: tempfile::TempDir) -> Witness {
        let key_file = state.path().join("witness.key");
        let key = SignerKey::from_seed("witness.example", [42; 32]).unwrap();
        std::fs::write(&key_file, key.expose_text_to_its_file()).unwrap();
        let (ready_file, log) = (state.path().join("ready.json"), state.path().join("log"));
        // One that was started here before has said where it was.
        let _ = std::fs::remove_file(&ready_file);
        let mut child = Command::new(KEYLEDGER)
            .args([
                "audit",
                "witness",
                "--listen",
                "127.0.0.1:0",
                "--log",
                &verifier(1).to_string(),
            ])
            .arg("--key-file")
            .arg(&key_file)
            .arg("--state-dir")
            .arg(state.path())
            .arg("--ready-file")
            .arg(&ready_file)
            .stderr(std::fs::File::create(&log).unwrap())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let ready = ready(&ready_file, &mut child, &log).await;
        let options = WitnessOptions {
            url: ready["url"].as_str().unwrap().parse().unwrap(),
            tls: None,
            key: key.witness_verifier(),
        };
        Witness { child, options, state }
    }
}

fn cosigned(note: &str, by: &VerifierKey) -> bool {
    by.witnessed(&Note::parse(note).unwrap()).is_some()
}

async fn witnessed(stage: &Sealed, by: &VerifierKey) {
    until("the checkpoint is witnessed", async || {
        let latest = stage.harness.tree().store().latest().await.unwrap().unwrap();
        cosigned(&latest.whole_note(), by)
    })
    .await;
}

#[tokio::test]
async fn a_witness_signs_what_extends_what_it_saw_even_after_kill_9() {
    let stage = Sealed::open().await;
    let mut witness = Witness::start(tempfile::tempdir().unwrap()).await;
    let by = witness.options.key.clone();
    let (_, stop) = stage.seal_as(
        &[super::stage::key(1)],
        stage.state.path().to_owned(),
        vec![witness.options.clone()],
    );
    for count in [3, 400] {
        stage.use_key(count).await;
        stage.sealed().await;
        witnessed(&stage, &by).await;
    }
    stop.cancel();
    witness.child.kill().await.unwrap();
    let witness = Witness::start(witness.state).await;
    // A sealer that was started anew does not know what the witness saw last: it is told.
    let (_, _stop) = stage.seal_as(
        &[super::stage::key(1)],
        stage.state.path().to_owned(),
        vec![witness.options.clone()],
    );
    stage.use_key(5).await;
    stage.sealed().await;
    witnessed(&stage, &by).await;
}

/// Two databases that share a beginning, a stolen key, and nobody else's memory: the witness signs one of them only.
#[tokio::test]
async fn of_two_databases_that_fork_a_witness_signs_one() {
    let stage = Sealed::open().await;
    let witness = Witness::start(tempfile::tempdir().unwrap()).await;
    let by = witness.options.key.clone();
    let keys = || [super::stage::key(1)];
    let (_, stop) = stage.seal_as(&keys(), stage.state.path().to_owned(), vec![witness.options.clone()]);
    stage.use_key(300).await;
    stage.sealed().await;
    witnessed(&stage, &by).await;
    stop.cancel();
    // The copy has another event where the first one goes on.
    let copy = Sealed::on(crate::harness::Harness::start().await).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (_, _stop) = copy.seal_as(&keys(), elsewhere.path().to_owned(), vec![witness.options.clone()]);
    copy.use_key(500).await;
    let forked = copy.sealed().await;
    let (_, _stop) = stage.seal_as(&keys(), stage.state.path().to_owned(), vec![witness.options.clone()]);
    stage.use_key(10).await;
    stage.sealed().await;
    witnessed(&stage, &by).await;
    let forked = copy
        .harness
        .tree()
        .store()
        .covering(forked.size)
        .await
        .unwrap()
        .unwrap();
    assert!(
        !cosigned(&forked.whole_note(), &by),
        "the fork has no signature of the witness"
    );
    assert!(
        super::tampered::audited(&copy, None).await.0 == 0,
        "and nothing in its own database tells"
    );
}
