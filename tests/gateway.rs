//! The gateway in front of a real data API, with a real ledger behind it: what is charged, and what never is.

mod charged;
mod forwarded;
mod http2;
mod outages;
mod raw;
mod refused;
mod released;
mod stage;
mod streaming;
mod tls;
mod upstreams;
