//! `keyledger local -- COMMAND`: a command beside throw-away servers.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use rustix::process::Signal;

use super::{dir, signal, until};

#[test]
fn a_command_gets_servers_and_its_exit_code_is_ours() {
    let script = r#"psql -At -d "$DATABASE_URL" -c 'select 1' && echo "$KEYLEDGER_TEST_SERVERS $NATS_URL" && exit 7"#;
    let output = keyledger_local(["sh", "-c", script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("1\n1 nats://"),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(7));
}

#[tokio::test]
async fn kill_9_of_the_supervisor_leaves_no_process_behind() {
    let dir = dir();
    let note = dir.path().join("pids");
    let script = format!(
        "psql -At -d \"$DATABASE_URL\" -c 'select pg_backend_pid()' >{0}.new && mv {0}.new {0} && exec sleep 300",
        note.display()
    );
    let mut supervisor = keyledger_local(["sh", "-c", &script])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the command has met its servers", || note.exists()).await;
    let children = descendants(supervisor.id());
    assert!(children.len() >= 3, "postgres, nats and the command: {children:?}");

    supervisor.kill().unwrap();
    assert_eq!(supervisor.wait().unwrap().signal(), Some(9));
    until("all children are gone", || children.iter().all(|pid| !is_running(*pid))).await;
}

#[tokio::test]
async fn a_termination_signal_goes_on_to_the_command_and_then_all_is_gone() {
    let dir = dir();
    let note = dir.path().join("ready");
    let script = format!(
        "trap 'exit 5' TERM; touch {}; while :; do sleep 0.05; done",
        note.display()
    );
    let mut supervisor = keyledger_local(["sh", "-c", &script]).spawn().unwrap();
    until("the command runs", || note.exists()).await;
    let children = descendants(supervisor.id());
    signal(supervisor.id(), Signal::TERM);
    assert_eq!(supervisor.wait().unwrap().code(), Some(5));
    assert!(children.iter().all(|pid| !is_running(*pid)));
}

fn keyledger_local<const N: usize>(command: [&str; N]) -> std::process::Command {
    let mut keyledger = std::process::Command::new(env!("CARGO_BIN_EXE_keyledger"));
    keyledger.arg("local").arg("--").args(command).stdin(Stdio::null());
    keyledger
}

fn descendants(of: u32) -> Vec<u32> {
    let mut found = vec![of];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(running().filter(|pid| parent_of(*pid) == Some(parent)));
        next += 1;
    }
    found.split_off(1)
}

fn running() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What follows a process's name in proc_pid_stat(5): state, parent, and more.
fn stat(pid: u32) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(line.rsplit_once(") ")?.1.to_owned())
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.split(' ').nth(1)?.parse().ok()
}

/// A dead process that nobody has collected does not run.
fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.starts_with('Z'))
}
