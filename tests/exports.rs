//! Exports of a log that was really sealed, and two verifiers that do not know each other.

pub mod both;
mod forged;
mod good;
mod makings;
mod repaid;
pub mod sealed;
mod tampered;
mod under;
mod unjust;
