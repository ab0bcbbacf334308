//! Proof: a Merkle tree over each shard's log, signed checkpoints of it, and what an auditor checks by them.
//!
//! In: the canonical bytes of events, in order. Out: checkpoints, proofs, and verdicts.
//!
//! Promise: whoever has a checkpoint and the public key needs nothing else from us to see that an event is in the log, that
//! a later log begins with an earlier one, and what the history comes to.
//!
//! Not here: HTTP, views, rules.

pub mod check;
pub mod export;
pub mod file;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod sealer;
pub mod tree;
pub mod witness;
