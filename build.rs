//! Embeds the migrations: a list of version, description and text, by version, for `src/migrate.rs`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=migrations");
    let from = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("migrations");
    let mut files = Vec::new();
    for entry in fs::read_dir(from)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "sql") {
            files.push(file);
        }
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let (version, description) = named(file).ok_or_else(|| {
            io::Error::other(format!("{} is not named as `0001_what_it_does.sql` is", file.display()))
        })?;
        // Found from where it is compiled: a checkout that was moved with its target directory still builds.
        let name = file.file_name().unwrap_or_default().display();
        writeln!(
            list,
            "({version}, {description:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/migrations/{name}\"))),"
        )
        .map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(Path::new(&variable("OUT_DIR")?).join("migrations.rs"), list)
}

/// The number and the words of a migration's name.
fn named(file: &Path) -> Option<(i64, String)> {
    let (version, words) = file.file_name()?.to_str()?.strip_suffix(".sql")?.split_once('_')?;
    // `0001_it.up.sql` is one that could be taken back: there are none here.
    let words = Some(words).filter(|words| !words.contains('.'))?;
    Some((version.parse().ok()?, words.replace('_', " ")))
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}
