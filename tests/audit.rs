//! What is signed of the log, and who notices when it is not what it was.

mod restored;
mod sealed;
mod stage;
mod tampered;
mod tiles;
mod witnessed;
