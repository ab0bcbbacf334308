//! The config file, with every complaint about it on a line of its own.

use std::path::Path;

use anyhow::Context as _;
use keyledger::config::Config;

/// Reads the file.
pub fn read(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    parse(&text).with_context(|| format!("{} cannot be used", path.display()))
}

/// Reads a file's text.
pub fn parse(text: &str) -> anyhow::Result<Config> {
    Config::parse(text).map_err(|complaints| {
        let lines: Vec<String> = complaints.iter().map(|complaint| format!("\n  {complaint}")).collect();
        anyhow::anyhow!(lines.concat())
    })
}
