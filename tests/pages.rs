//! The customer's pages over TCP, as a browser without a script uses them.

mod browser;
mod doors;
mod keys;
