//! The README's lines, run as they stand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The shell blocks that a reader runs on a clean checkout, in order, but for the two `make` commands that run this
/// test and for the ones that need a production database.
fn lines() -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks: Vec<&str> = readme
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let tried: Vec<&str> = blocks
        .into_iter()
        .filter(|block| block.contains("ready.json"))
        .collect();
    assert_eq!(tried.len(), 1, "one block shows the whole path by script");
    // The build is what made the binary that this test runs with.
    tried[0]
        .lines()
        .filter(|line| *line != "make build")
        .map(str::to_owned)
        .collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(script: &str, directory: &Path) -> Output {
    Command::new("bash")
        .args(["-eu", "-c", script])
        .current_dir(directory)
        .output()
        .unwrap()
}

#[test]
fn the_lines_of_the_readme_work_as_they_stand() {
    // As on a clean checkout: a place of its own with the files that the lines name.
    let checkout = tempfile::tempdir().unwrap();
    let place = |name: &str| checkout.path().join(name);
    for name in ["tools", "target", "examples", "Makefile"] {
        std::os::unix::fs::symlink(root().join(name), place(name)).unwrap();
    }
    let servers = root().join(".keyledger/bin");
    if servers.exists() {
        fs::create_dir(place(".keyledger")).unwrap();
        std::os::unix::fs::symlink(servers, place(".keyledger/bin")).unwrap();
    }
    fs::set_permissions(checkout.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let mut script = lines().join("\n");
    script.push_str("\nkill -INT %1 && wait %1\n");
    let output = run(&format!("set -m\n{script}"), checkout.path());
    let (told, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{told}\n{complained}");
    for shown in [
        "credits-charged: 0.5",
        "\"results\"",
        "\"available\":\"99.5\"",
        "\"last_used_at\":\"2",
        "\"code\":\"key-deleted\"",
    ] {
        assert!(told.contains(shown), "{shown} is not in {told}\n{complained}");
    }
}
