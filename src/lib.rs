//! Placeholder.
pub mod local;
