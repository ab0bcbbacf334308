//! Activity: the account's history in plain words, and each event as it stands in the log.

mod kind;
mod line;
mod list;
mod names;
mod pretty;
mod sentence;
mod show;
mod why;
mod words;

pub(super) use line::decoded;
pub(super) use list::list;
pub(super) use show::{document, show};
pub(super) use why::why_denied;
