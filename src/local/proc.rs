//! Looks at other processes through `/proc`, and ends servers that a killed keyledger left behind.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::error::LocalError;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A fast shutdown writes a checkpoint; a busy disk may need this long.
const LEFTOVER_ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Ends the process of that id if it is a server on this very directory; any other process is none of our business.
///
/// `program` is how the name of its program starts, `dir` its working directory, absolute and without links.
pub(super) async fn end_leftover(pid: Option<Pid>, program: &'static str, dir: &Path) -> Result<(), LocalError> {
    let Some(pid) = pid.filter(|pid| serves(*pid, program, dir)) else {
        return Ok(());
    };
    tracing::info!(%program, pid = pid.as_raw_nonzero().get(), "ending a server that an earlier run left behind");
    let started = Instant::now();
    let mut signal = Signal::INT;
    while serves(pid, program, dir) {
        let waited = started.elapsed();
        if waited > LEFTOVER_ENDS_WITHIN {
            return Err(LocalError::StuckLeftover {
                pid: pid.as_raw_nonzero().get(),
                dir: dir.to_owned(),
            });
        }
        if waited > LEFTOVER_ENDS_WITHIN / 2 {
            signal = Signal::QUIT;
        }
        // Gone in this moment is as good as ended.
        let _gone = kill_process(pid, signal);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn serves(pid: Pid, program: &str, dir: &Path) -> bool {
    let process = of(pid);
    let runs_it = fs::read_link(format!("{process}/exe")).is_ok_and(|exe| {
        exe.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(program))
    });
    runs_it && fs::read_link(format!("{process}/cwd")).is_ok_and(|cwd| cwd == dir)
}

/// The processes that `parent` started and that still run.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| parse_pid(entry.file_name().to_str()?))
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent.as_raw_nonzero().get()))
        .collect()
}

/// Waits, not for long, until none of these processes runs; a dead one that nobody has collected does not count.
pub(super) async fn until_gone(pids: &[Pid], at_most: Duration) {
    let started = Instant::now();
    while pids.iter().any(|pid| stat(*pid).is_some_and(|stat| stat.state != 'Z')) && started.elapsed() < at_most {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(super) fn parse_pid(text: &str) -> Option<Pid> {
    text.trim().parse().ok().and_then(Pid::from_raw)
}

fn of(pid: Pid) -> String {
    format!("/proc/{}", pid.as_raw_nonzero())
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: i32,
}

fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("{}/stat", of(pid))).ok()?)
}

/// Reads state and parent from a line of proc_pid_stat(5). The program's name stands in parentheses and may hold any
/// character, also spaces and parentheses.
fn parse_stat(line: &str) -> Option<Stat> {
    let mut fields = line.rsplit_once(") ")?.1.split(' ');
    Some(Stat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_parentheses_is_no_trap() {
        assert_eq!(
            parse_stat("12 (a) b ) S 7 12 12 0"),
            Some(Stat { state: 'S', parent: 7 })
        );
    }

    #[tokio::test]
    async fn a_process_on_another_directory_is_left_alone() {
        let ourselves = Pid::from_raw(i32::try_from(std::process::id()).unwrap());
        end_leftover(ourselves, "", Path::new("/nowhere")).await.unwrap();
    }
}
