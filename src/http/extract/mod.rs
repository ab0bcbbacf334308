//! What handlers are given. Each says no with a problem, never with a plain text.

mod caller;
mod idempotency;
mod json;
mod members;
mod path;
mod query;

pub(crate) use caller::{Allowed, Grant, Manage, Meter, Read};
pub(crate) use idempotency::{IdempotencyKey, Scope};
pub(crate) use json::Json;
pub(crate) use members::{Fault, Wrong, from_json, only_member};
pub(crate) use path::{InPath, PathId};
pub(crate) use query::{InQuery, One, Page};
