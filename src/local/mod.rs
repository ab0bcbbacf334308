//! Private Postgres and NATS servers, run as children of this process, for development and tests.
//!
//! In: a directory. Out: a Postgres URL and a NATS URL on loopback, with passwords that only this user can read.
//!
//! Promise: a directory has at most one owner; what is started here does not outlive the process, not even after its
//! `kill -9`; a server that dies by itself is started again on the same port; one that was stopped or killed through
//! its handle stays down until it is asked for. A directory that was kept durable opens again after any kill.
//!
//! | file | tells |
//! | --- | --- |
//! | `servers`, `run` | both servers at once; a command under throw-away ones |
//! | `postgres`, `initdb`, `nats` | what is particular to each server |
//! | `slot` | up, down, died: the same for every server |
//! | `child`, `spawner`, `proc` | processes |
//! | `find`, `run_as`, `place`, `kept` | binaries, the system user, directories, the small files beside the data |
//!
//! Linux only: lives are tied together with `setpriv --pdeathsig`, and leftovers are found in `/proc`.
//!
//! Not here: anything else of Keyledger. This room knows no table, no stream and no event.

mod child;
mod error;
mod find;
mod initdb;
mod kept;
mod nats;
mod place;
mod postgres;
mod proc;
mod run;
mod run_as;
mod servers;
mod slot;
mod spawner;

pub use error::LocalError;
pub use find::postgres_program;
pub use nats::{NatsOptions, PrivateNats};
pub use place::default_data_dir;
pub use postgres::{PostgresOptions, PrivatePostgres};
pub use run::run_with_servers;
pub use servers::{LocalOptions, LocalServers};
