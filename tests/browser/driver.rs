//! The browser's driver: a process of its own for each browser, so that tests share nothing.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

pub struct Driver {
    pub address: String,
    /// Ends with its owner; the browser ends with it, because they speak through a pipe.
    _child: Child,
}

const HOW: &str = "this test needs Chromium and its driver: run `tools/setup`";

/// The driver looks for a free port and then listens there: somebody else may have taken it in between, and it ends.
const STARTS: usize = 3;

impl Driver {
    pub async fn start() -> Driver {
        for _ in 0..STARTS {
            if let Some(driver) = Driver::start_once().await {
                return driver;
            }
        }
        panic!("{HOW}: the driver ended at once, {STARTS} times");
    }

    /// `None`: it ended before it listened.
    async fn start_once() -> Option<Driver> {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{HOW}: {error}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = lines.next_line().await.unwrap()?;
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let port = port.trim_end_matches('.');
                let address = format!("http://127.0.0.1:{port}");
                // What it says later is nobody's concern, but a full pipe would stop it.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Some(Driver { address, _child: child });
            }
        }
    }
}
