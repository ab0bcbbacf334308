//! What is signed of the log, and who notices when it is not what it was.

mod restored;
mod sealed;
pub mod stage;
mod tampered;
pub mod tiles;
mod witnessed;
