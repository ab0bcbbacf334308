//! The gateway in front of a real data API, with a real ledger behind it: what is charged, and what never is.

mod capped;
mod charged;
mod conformance;
mod forwarded;
mod free_riders;
mod http2;
mod http2_end;
mod key_limits;
mod load;
mod once;
pub mod outages;
mod patience;
mod priced;
mod rates;
pub mod raw;
mod refused;
mod released;
mod scripted;
mod seen;
mod stage;
mod streaming;
mod tls;
mod upstreams;
