//! The gateway in front of a real data API, with a real ledger behind it: what is charged, and what never is.

mod charged;
mod forwarded;
mod outages;
mod rates;
mod raw;
mod refused;
mod released;
mod seen;
mod stage;
