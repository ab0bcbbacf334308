//! Makes a Postgres cluster, whole or not at all.
//!
//! `initdb` works in `cluster.new`, which is then renamed: a kill in the middle leaves nothing that a later start would
//! take for a cluster.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use super::error::LocalError;
use super::find::PostgresPrograms;
use super::kept::{self, Secret};
use super::run_as::RunAs;
use super::spawner;

/// Makes `dir/cluster` with one superuser who needs `dir/password`. `durable` waits until the disk has it.
pub(super) async fn make_cluster(
    programs: &PostgresPrograms,
    run_as: &RunAs,
    dir: &Path,
    user: &str,
    durable: bool,
) -> Result<(), LocalError> {
    let fresh = dir.join("cluster.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(LocalError::io(format!("remove the unfinished {}", fresh.display())))?;
    }
    let password = dir.join("password");
    kept::write_private(&password, Secret::draw()?.let_out())?;
    // initdb reads it as the server's user.
    run_as.give(&password)?;

    let mut command = spawner::tied_command(run_as, "INT", programs.initdb());
    command
        .arg("--pgdata")
        .arg(&fresh)
        .args(["--username", user])
        .arg("--pwfile")
        .arg(&password);
    // Locale C: the order of texts is the order of their bytes, on every machine and after every upgrade.
    command.args([
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
    ]);
    if !durable {
        command.arg("--no-sync");
    }
    command
        .current_dir(dir)
        .env("LC_ALL", "C")
        .process_group(0)
        .stdin(Stdio::null());
    let log = kept::open_log(dir)?;
    command
        .stdout(log.try_clone().map_err(LocalError::io("share the log"))?)
        .stderr(log);

    let status = spawner::spawn(command)
        .await
        .map_err(LocalError::io("start initdb through setpriv"))?
        .exited()
        .await;
    if !status.success() {
        return Err(LocalError::EndedEarly {
            program: "initdb",
            status,
            log: kept::log_tail(dir),
        });
    }
    fs::rename(&fresh, dir.join("cluster")).map_err(LocalError::io("put the new cluster in its place"))
}

/// The major version that wrote the cluster; `None` where there is no cluster.
pub(super) fn version_of(cluster: &Path) -> Result<Option<u32>, LocalError> {
    if !cluster.exists() {
        return Ok(None);
    }
    let file = cluster.join("PG_VERSION");
    let text = fs::read_to_string(&file).map_err(LocalError::io(format!("read {}", file.display())))?;
    text.trim()
        .parse()
        .map(Some)
        .map_err(|_| LocalError::Incomplete { file })
}
