//! Who uses the processor, as the kernel counts it.

use std::fs;
use std::time::Instant;

use keyledger::bench::CpuSplit;

/// The kernel counts in hundredths of a second wherever Linux runs.
const TICKS_A_SECOND: u64 = 100;

/// A moment from which use is counted.
#[derive(Debug)]
pub struct Processor {
    postgres: Option<u32>,
    since: Instant,
    here: u64,
    there: u64,
}

impl Processor {
    /// Begins to count this process and, where it is ours, the Postgres server with its backends.
    pub fn watch(postgres: Option<u32>) -> Processor {
        Processor {
            postgres,
            since: Instant::now(),
            here: ticks("self"),
            there: postgres.map_or(0, with_children),
        }
    }

    /// What was used since then; nothing where the server is somebody else's.
    pub fn split(&self) -> Option<CpuSplit> {
        let postgres = self.postgres?;
        let hundredths = |ticks: u64| {
            let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            ticks.saturating_mul(100 * 1_000 / TICKS_A_SECOND) / millis.max(1)
        };
        Some(CpuSplit {
            here: hundredths(ticks("self").saturating_sub(self.here)),
            postgres: hundredths(with_children(postgres).saturating_sub(self.there)),
        })
    }
}

/// A server's own use, that of its children, and that of the children that it has buried.
fn with_children(parent: u32) -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let children = processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|name| field(name, 1) == Some(u64::from(parent)));
    let parent = parent.to_string();
    let buried = [13, 14].map(|number| field(&parent, number).unwrap_or_default());
    children.map(|child| ticks(&child)).sum::<u64>() + ticks(&parent) + buried.iter().sum::<u64>()
}

/// Time in user code and in the kernel.
fn ticks(process: &str) -> u64 {
    [11, 12].iter().filter_map(|number| field(process, *number)).sum()
}

/// A field of `/proc/…/stat`, counted from the process's state, which follows its bracketed name.
fn field(process: &str, number: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(number)?.parse().ok()
}
