//! A witness: remembers the newest checkpoint of each log that it knows, and signs those that extend it. C2SP `tlog-witness`.
//!
//! In: the body of an `add-checkpoint` request. Out: a status and a text.
//!
//! Promise: of no log two checkpoints are signed of which the one does not begin with the other. What was signed is on the
//! disk before it is answered.
//!
//! Not here: HTTP, Postgres, NATS. A witness is to run where the log's operator has no right to anything.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::merkle::{Hash, empty_root, extends};
use super::note::{Checkpoint, Note, SignerKey, VerifierKey};
use super::sealer::{Memory, MemoryError};

/// Of a 409: its body is the size that was seen last.
pub const TLOG_SIZE: &str = "text/x.tlog.size";

/// A witness of some logs.
#[derive(Debug)]
pub struct Witness {
    key: SignerKey,
    /// Each log's key, whose name is the log's origin. Several of one name: one takes over from the other.
    logs: Vec<VerifierKey>,
    directory: PathBuf,
    /// One at a time: what was seen last must not change between the look and the signature.
    turn: Mutex<()>,
}

/// An answer to `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    /// The signature's line, the size that was seen last, or why not.
    pub text: String,
}

/// A request as it was read.
struct Asked {
    old: u64,
    proof: Vec<Hash>,
    note: Note,
    checkpoint: Checkpoint,
}

fn answer(status: StatusCode, text: impl Into<String>) -> Answer {
    Answer {
        status,
        text: text.into(),
    }
}

const PROOF_HASHES_MAX: usize = 63;

impl Asked {
    fn parse(body: &str) -> Option<Asked> {
        let (head, note) = body.split_once("\n\n")?;
        let mut lines = head.lines();
        let old = lines.next()?.strip_prefix("old ")?;
        let number: u64 = old.parse().ok()?;
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let proof: Option<Vec<Hash>> = lines.map(hash).collect();
        let note = Note::parse(note).ok()?;
        Some(Asked {
            old: Some(number).filter(|number| number.to_string() == old)?,
            proof: proof.filter(|proof| proof.len() <= PROOF_HASHES_MAX)?,
            checkpoint: Checkpoint::parse(&note.text).ok()?,
            note,
        })
    }
}

impl Witness {
    pub fn new(key: SignerKey, logs: Vec<VerifierKey>, directory: PathBuf) -> Witness {
        Witness {
            key,
            logs,
            directory,
            turn: Mutex::new(()),
        }
    }

    /// Signs a checkpoint that extends what was seen of its log, or says why not.
    ///
    /// 200 the signature's line. 400 no such request. 403 the log's key did not sign it. 404 not a log that is known here.
    /// 409 another size was seen last: the answer is that size. 422 it does not extend what was seen.
    pub fn add_checkpoint(&self, body: &str, at_seconds: u64) -> Result<Answer, MemoryError> {
        let Some(asked) = Asked::parse(body) else {
            return Ok(answer(StatusCode::BAD_REQUEST, "this is no add-checkpoint request\n"));
        };
        let origin = &asked.checkpoint.origin;
        let keys: Vec<&VerifierKey> = self.logs.iter().filter(|key| key.name() == origin).collect();
        if keys.is_empty() {
            return Ok(answer(StatusCode::NOT_FOUND, "this log is not known here\n"));
        }
        // A forged line of a known key is worse than none: nothing else under the note counts then.
        let signed = keys
            .iter()
            .map(|key| key.signed(&asked.note))
            .collect::<Result<Vec<_>, _>>();
        if !signed.is_ok_and(|signed| signed.contains(&true)) {
            return Ok(answer(StatusCode::FORBIDDEN, "the log's key did not sign this\n"));
        }
        if asked.old > asked.checkpoint.size {
            return Ok(answer(StatusCode::BAD_REQUEST, "old is more than the checkpoint has\n"));
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = Memory::of(&self.directory, origin);
        let (size, root) = match memory.last(origin)? {
            Some(last) => (last.size, last.root),
            None => (0, empty_root()),
        };
        if asked.old != size || (asked.checkpoint.size == size && asked.checkpoint.root != root) {
            return Ok(answer(StatusCode::CONFLICT, format!("{size}\n")));
        }
        let new = (asked.checkpoint.size, &asked.checkpoint.root);
        if !extends((size, &root), new, &asked.proof) {
            return Ok(answer(
                StatusCode::UNPROCESSABLE_ENTITY,
                "the checkpoint does not extend the one that was seen\n",
            ));
        }
        memory.keep(&asked.note.to_text())?;
        let line = self.key.witness(&asked.note.text, at_seconds).line();
        Ok(answer(StatusCode::OK, line))
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the trees of the tests are small")]
mod tests {
    use super::super::merkle::{self, Grown};
    use super::super::sealer::Signers;
    use super::*;
    use keyledger_events::{Shard, leaf_hash};

    fn key(name: &str) -> SignerKey {
        SignerKey::from_seed(name, [name.len() as u8; 32]).unwrap()
    }

    fn signers() -> Signers {
        Signers::new(&[key("log.example")], Shard(0)).unwrap()
    }

    fn leaves(size: u64, salt: u64) -> Vec<Hash> {
        (0..size).map(|n| leaf_hash(&(n + salt).to_be_bytes())).collect()
    }

    fn root(leaves: &[Hash]) -> Hash {
        let mut tree = Grown::default();
        leaves.iter().for_each(|leaf| tree.push_leaf(*leaf));
        tree.root()
    }

    fn request(signers: &Signers, leaves: &[Hash], old: u64) -> String {
        let size = leaves.len() as u64;
        let mut body = format!("old {old}\n");
        if old > 0 && old < size {
            for range in merkle::consistency(old, size).unwrap() {
                let hash = root(&leaves[range.start as usize..range.end as usize]);
                body.push_str(&format!("{}\n", STANDARD.encode(hash)));
            }
        }
        format!("{body}\n{}", signers.sign(size, root(leaves)).to_text())
    }

    fn open() -> (tempfile::TempDir, Witness) {
        let directory = tempfile::tempdir().unwrap();
        let witness = again(&directory);
        (directory, witness)
    }

    fn again(directory: &tempfile::TempDir) -> Witness {
        Witness::new(
            key("witness.example"),
            signers().verifiers(),
            directory.path().to_owned(),
        )
    }

    fn asked(witness: &Witness, body: &str) -> (u16, String) {
        let answer = witness.add_checkpoint(body, 1_700_000_000).unwrap();
        (answer.status.as_u16(), answer.text)
    }

    #[test]
    fn what_extends_what_was_seen_is_signed_even_by_one_that_was_started_again() {
        let (directory, witness) = open();
        let all = leaves(700, 0);
        let (status, line) = asked(&witness, &request(&signers(), &all[..300], 0));
        assert_eq!(status, 200);
        let mut note = signers().sign(300, root(&all[..300]));
        note.signatures = vec![super::super::note::Signature::parse(line.trim_end()).unwrap()];
        assert!(key("witness.example").witness_verifier().witnessed(&note).is_some());
        let witness = again(&directory);
        assert_eq!(asked(&witness, &request(&signers(), &all, 300)).0, 200);
        assert_eq!(
            asked(&witness, &request(&signers(), &all, 700)).0,
            200,
            "the same again"
        );
    }

    #[test]
    fn a_fork_is_not_signed_and_a_stale_size_is_told() {
        let (_directory, witness) = open();
        let all = leaves(700, 0);
        asked(&witness, &request(&signers(), &all[..300], 0));
        assert_eq!(
            asked(&witness, &request(&signers(), &all, 200)),
            (409, "300\n".to_owned())
        );
        assert_eq!(asked(&witness, &request(&signers(), &leaves(700, 1), 300)).0, 422);
        assert_eq!(
            asked(&witness, &request(&signers(), &leaves(300, 1), 300)),
            (409, "300\n".to_owned())
        );
        assert_eq!(
            asked(&witness, &request(&signers(), &all[..200], 200)),
            (409, "300\n".to_owned())
        );
        assert_eq!(
            asked(&witness, &request(&signers(), &all, 300)).0,
            200,
            "and the log goes on"
        );
    }

    #[test]
    fn what_is_no_request_of_a_known_log_is_refused() {
        let (_directory, witness) = open();
        let all = leaves(5, 0);
        let good = request(&signers(), &all, 0);
        let other = Signers::new(&[key("another.example")], Shard(0)).unwrap();
        let thief = Signers::new(&[SignerKey::from_seed("log.example", [99; 32]).unwrap()], Shard(0)).unwrap();
        assert_eq!(asked(&witness, &request(&other, &all, 0)).0, 404);
        assert_eq!(asked(&witness, &request(&thief, &all, 0)).0, 403);
        for bad in [
            "",
            "old 0\n",
            &good.replace("old 0", "old 00"),
            &good.replace("old 0\n", "old 0\nAAAA\n"),
            &good.replace("old 0", "old 6"),
        ] {
            assert_eq!(asked(&witness, bad).0, 400, "{bad}");
        }
    }
}
