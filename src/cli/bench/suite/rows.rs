//! What the suite measures, in this order.

use std::fmt::Write as _;

use crate::cli::bench::single::Single;

/// What is measured at once.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    /// One figure.
    Row(Row),
    /// The gateway and all that it is compared with: a figure each.
    Gateway,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub what: Single,
    pub callers: usize,
    pub accounts: usize,
    pub shards: u16,
    pub workers: bool,
    pub processes: usize,
    /// Added to each wait for the disk.
    pub slow_disk_us: u64,
    /// In the log before.
    pub log_events: u64,
}

/// Connections to the gateway.
pub const GATEWAY_CONNECTIONS: usize = 64;

const MANY: usize = 1_000;

const fn row(what: Single, callers: usize, accounts: usize) -> Row {
    Row {
        what,
        callers,
        accounts,
        shards: 1,
        workers: false,
        processes: 1,
        slow_disk_us: 0,
        log_events: 0,
    }
}

const fn one(what: Single, callers: usize, accounts: usize) -> Subject {
    Subject::Row(row(what, callers, accounts))
}

const COMMANDS: Row = row(Single::Commands, 512, MANY);

pub const SUBJECTS: [Subject; 29] = [
    one(Single::Limit, 1, MANY),
    one(Single::Limit, 2, MANY),
    Subject::Row(COMMANDS),
    Subject::Row(Row {
        workers: true,
        ..COMMANDS
    }),
    Subject::Row(Row { shards: 2, ..COMMANDS }),
    Subject::Row(Row {
        processes: 2,
        ..COMMANDS
    }),
    Subject::Row(Row {
        slow_disk_us: 1_000,
        ..COMMANDS
    }),
    Subject::Row(Row {
        slow_disk_us: 5_000,
        ..COMMANDS
    }),
    Subject::Row(Row {
        log_events: 100_000,
        ..COMMANDS
    }),
    Subject::Row(Row {
        log_events: 10_000_000,
        ..COMMANDS
    }),
    one(Single::Commands, 1, MANY),
    one(Single::Pgbench, 1, MANY),
    one(Single::Disk, 512, MANY),
    one(Single::Commands, 32, MANY),
    one(Single::CqrsEs, 32, MANY),
    one(Single::Commands, 32, 1),
    one(Single::CqrsEs, 32, 1),
    one(Single::Cycles, 512, MANY),
    one(Single::Cycles, 512, 1),
    one(Single::HandSql, 32, MANY),
    one(Single::HandSql, 32, 1),
    one(Single::HandSqlStatement, 32, MANY),
    one(Single::Http, 64, MANY),
    one(Single::Echo, 64, MANY),
    one(Single::Http, 512, MANY),
    one(Single::Echo, 512, MANY),
    Subject::Gateway,
    one(Single::Project, 64, MANY),
    one(Single::Rebuild, 512, MANY),
];

impl Row {
    /// What is measured and with how many callers: `commands-512-hot`.
    pub fn name(&self) -> String {
        let mut name = format!("{}-{}", self.what.name(), self.callers);
        let _ = match (self.accounts, self.shards, self.workers) {
            _ if self.slow_disk_us > 0 => write!(name, "-slow-disk-{}us", self.slow_disk_us),
            _ if self.log_events > 0 => write!(name, "-log-{}", self.log_events),
            _ if self.processes > 1 => write!(name, "-processes-{}", self.processes),
            (1, _, _) => write!(name, "-hot"),
            (_, 1, false) => Ok(()),
            (_, 1, true) => write!(name, "-workers"),
            (_, shards, _) => write!(name, "-shards-{shards}"),
        };
        name
    }
}

/// What a way to the data API is called among the rows: `bare-proxy-64`.
pub fn way_name(way: &str) -> String {
    format!("{}-{GATEWAY_CONNECTIONS}", way.replace(' ', "-"))
}
