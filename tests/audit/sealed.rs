//! Checkpoints, and proofs that hold under them.

use keyledger::audit::merkle::{extends, includes};
use keyledger_events::{Position, leaf_hash};

use super::stage::{Sealed, believed, key, verifier};
use crate::harness::until;

#[tokio::test]
async fn every_event_is_proven_and_every_checkpoint_extends_the_ones_before() {
    let stage = Sealed::open().await;
    let (_sealer, _) = stage.seal();
    for count in [1, 300, 700, 2, 70_000] {
        stage.use_key(count).await;
        stage.sealed().await;
    }
    let tree = stage.harness.tree();
    let checkpoints = tree.store().checkpoints(0, 1_000).await.unwrap();
    let newest = checkpoints.last().unwrap();
    assert_eq!(newest.size, stage.head().await);
    for sealed in &checkpoints {
        let said = believed(&sealed.note, &verifier(1));
        assert_eq!((said.size, said.root), (sealed.size, sealed.root));
        let proof = tree.consistency(sealed.size, newest.size).await.unwrap();
        assert!(extends(
            (sealed.size, &sealed.root),
            (newest.size, &newest.root),
            &proof
        ));
        assert_eq!(tree.root(sealed.size).await.unwrap(), sealed.root);
    }
    for position in (1..1_010).step_by(13).chain([65_536, 65_537, 70_000, newest.size]) {
        let event = stage
            .harness
            .log()
            .read(Position(position - 1), 1)
            .await
            .unwrap()
            .remove(0);
        for sealed in [newest, &checkpoints[checkpoints.len() / 2]] {
            if sealed.size < position {
                continue;
            }
            let path = tree.inclusion(position - 1, sealed.size).await.unwrap();
            assert!(includes(
                &sealed.root,
                sealed.size,
                position - 1,
                leaf_hash(&event.body),
                &path
            ));
        }
    }
}

#[tokio::test]
async fn a_sealer_goes_on_where_another_stopped_and_two_do_not_disturb_each_other() {
    let stage = Sealed::open().await;
    let (_, stop) = stage.seal();
    stage.use_key(1_000).await;
    let first = stage.sealed().await;
    stop.cancel();
    stage.use_key(300).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (here, _) = stage.seal();
    let (there, _) = stage.seal_as(&[key(1)], elsewhere.path().to_owned(), Vec::new());
    for _ in 0..5 {
        stage.use_key(400).await;
        stage.sealed().await;
    }
    let last = stage.sealed().await;
    let tree = stage.harness.tree();
    let proof = tree.consistency(first.size, last.size).await.unwrap();
    assert!(extends((first.size, &first.root), (last.size, &last.root), &proof));
    until("both have seen the end", async || {
        here.status().size == last.size && there.status().size == last.size
    })
    .await;
    assert_eq!((here.status().fault, there.status().fault), (None, None));
}

#[tokio::test]
async fn a_key_takes_over_while_both_sign_and_not_otherwise() {
    let stage = Sealed::open().await;
    let state = || stage.state.path().to_owned();
    let (_, stop) = stage.seal_as(&[key(1)], state(), Vec::new());
    stage.sealed().await;
    stop.cancel();
    let (refused, stop) = stage.seal_as(&[key(2)], state(), Vec::new());
    assert!(stage.fault(&refused).await.contains("signed by none of our keys"));
    stop.cancel();
    let (_, stop) = stage.seal_as(&[key(2), key(1)], state(), Vec::new());
    stage.use_key(1).await;
    let both = stage.sealed().await;
    assert_eq!(believed(&both.note, &verifier(1)), believed(&both.note, &verifier(2)));
    stop.cancel();
    let (_, _stop) = stage.seal_as(&[key(2)], state(), Vec::new());
    stage.use_key(1).await;
    let alone = stage.sealed().await;
    assert_eq!(believed(&alone.note, &verifier(2)).size, alone.size);
}

#[tokio::test]
async fn under_load_a_checkpoint_is_not_far_behind() {
    let stage = Sealed::open().await;
    let (sealer, _) = stage.seal();
    let mut furthest = 0;
    for _ in 0..10 {
        stage.use_key(5_000).await;
        furthest = furthest.max(stage.head().await - sealer.status().size);
    }
    // What was written while the last round was on its way comes on top of a round.
    assert!(furthest <= 30_000, "{furthest} events behind");
    stage.sealed().await;
    let sizes: Vec<u64> = stage
        .harness
        .tree()
        .store()
        .checkpoints(0, 1_000)
        .await
        .unwrap()
        .iter()
        .map(|c| c.size)
        .collect();
    assert!(sizes.windows(2).all(|pair| pair[1] - pair[0] <= 10_000), "{sizes:?}");
}
