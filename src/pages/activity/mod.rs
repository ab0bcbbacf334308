//! Activity: the account's history in plain words, and each event as it stands in the log.

mod access;
mod kind;
mod line;
mod list;
mod names;
mod pretty;
mod sentence;
mod show;
mod system;
mod why;
mod words;

pub(super) use line::{DataKeys, Line, decoded};
pub(super) use list::list;
pub(super) use sentence::Word;
pub(super) use show::{document, proof, show};
pub(super) use system::of_the_system;
pub(super) use why::why_denied;
