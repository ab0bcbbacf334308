//! nginx as a plain proxy, for comparison: a process of our own with its files in one directory.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/nginx";
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// A running nginx.
#[derive(Debug)]
pub(super) struct Nginx {
    pub address: SocketAddr,
    child: Child,
}

impl Nginx {
    /// Starts it before an upstream; `None` where it is not installed.
    pub(super) async fn start(directory: &Path, upstream: SocketAddr) -> anyhow::Result<Option<Nginx>> {
        if !Path::new(PROGRAM).exists() {
            return Ok(None);
        }
        std::fs::create_dir_all(directory)?;
        // Free a moment ago; whoever takes it meanwhile makes nginx end, and us say so.
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let file = directory.join("nginx.conf");
        std::fs::write(&file, config(directory, address, upstream))?;
        let mut child = Command::new(PROGRAM)
            .arg("-p")
            .arg(directory)
            .arg("-e")
            .arg(directory.join("error.log"))
            .arg("-c")
            .arg(&file)
            .spawn()
            .context("nginx does not start")?;
        for _ in 0..TRIES {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(Some(Nginx { address, child }));
            }
            anyhow::ensure!(child.try_wait()?.is_none(), "nginx ended at once");
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::bail!("nginx does not listen")
    }

    /// Tells its master to end, so that no worker is left behind.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}

fn config(directory: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let directory = directory.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {directory}/{what};\n"))
        .concat();
    format!(
        "daemon off;\npid {directory}/pid;\nworker_processes 2;\nevents {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\n{temporary}keepalive_requests 100000000;\n\
         upstream data {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://data; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; }} }}\n}}\n"
    )
}
