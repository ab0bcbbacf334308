//! The walls that the compiler cannot hold: which room may know what.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((
                    path.strip_prefix(root()).unwrap().display().to_string(),
                    fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} holds no Rust file");
    found
}

/// The code of a file without its comments, so that a room may speak of what it must not know.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Room, and the words that its code must not have.
const WALLS: &[(&str, &[&str])] = &[
    (
        "src/ledger",
        &[
            "axum",
            "hyper",
            "async_nats",
            "sqlx",
            "crate::views",
            "crate::http",
            "crate::gateway",
            "crate::bus",
            "crate::relay",
        ],
    ),
    (
        "src/log",
        &[
            "axum",
            "hyper",
            "async_nats",
            "crate::ledger",
            "crate::views",
            "crate::http",
            "crate::gateway",
        ],
    ),
    (
        "src/archive",
        &[
            "axum",
            "sqlx",
            "async_nats",
            "crate::log",
            "crate::ledger",
            "crate::views",
            "crate::http",
            "crate::gateway",
        ],
    ),
    (
        "src/relay",
        &[
            "axum",
            "hyper",
            "sqlx",
            "crate::ledger",
            "crate::views",
            "crate::http",
            "crate::gateway",
        ],
    ),
    (
        "src/forward",
        &["axum", "hyper", "sqlx", "crate::views", "crate::http", "crate::gateway"],
    ),
    (
        "src/projector",
        &["axum", "hyper", "crate::ledger", "crate::http", "crate::gateway"],
    ),
    (
        "src/views",
        &[
            "axum",
            "hyper",
            "async_nats",
            "crate::log",
            "crate::ledger",
            "crate::bus",
            "crate::http",
        ],
    ),
    (
        "src/statements",
        &[
            "axum",
            "hyper",
            "sqlx",
            "async_nats",
            "crate::ledger",
            "crate::views",
            "crate::http",
            "crate::pages",
            "crate::gateway",
        ],
    ),
    // The verifier is the check on the ledger: it must not know its rules, and it works without a database.
    (
        "src/audit/file",
        &[
            "sqlx",
            "tokio",
            "async",
            "keyledger_projections",
            "crate::log",
            "crate::ledger",
            "crate::audit::tree",
        ],
    ),
    (
        "src/audit",
        &[
            "axum",
            "crate::http",
            "crate::views",
            "crate::pages",
            "crate::gateway",
            "crate::ledger",
        ],
    ),
    (
        "src/http",
        &[
            "sqlx",
            "async_nats",
            "crate::relay",
            "crate::projector",
            "crate::bus",
            "crate::gateway",
        ],
    ),
    (
        "src/pages",
        &[
            "sqlx",
            "async_nats",
            "hyper",
            "crate::relay",
            "crate::projector",
            "crate::bus",
            "crate::gateway",
            "crate::tokens",
        ],
    ),
    (
        "src/gateway",
        &[
            "sqlx",
            "async_nats",
            "crate::relay",
            "crate::projector",
            "crate::bus",
            "crate::views",
            "crate::log",
        ],
    ),
    (
        "src/webhooks",
        &[
            "axum",
            "async_nats",
            "crate::ledger",
            "crate::http",
            "crate::gateway",
            "crate::bus",
            "crate::views",
        ],
    ),
    (
        "src/prices",
        &[
            "sqlx",
            "async_nats",
            "axum",
            "hyper",
            "tokio",
            "crate::ledger",
            "crate::log",
        ],
    ),
    (
        "src/shelf",
        &[
            "sqlx",
            "async_nats",
            "axum",
            "hyper",
            "crate::views",
            "crate::http",
            "crate::gateway",
        ],
    ),
    (
        "src/local",
        &[
            "async_nats",
            "axum",
            "crate::ledger",
            "crate::log",
            "crate::views",
            "keyledger_events",
        ],
    ),
    (
        "events/src",
        &[
            "tokio",
            "sqlx",
            "async_nats",
            "axum",
            "std::net",
            "f32",
            "f64",
            "SystemTime",
            "Instant",
        ],
    ),
    (
        "projections/src",
        &[
            "tokio",
            "sqlx",
            "async_nats",
            "axum",
            "std::net",
            "f32",
            "f64",
            "SystemTime",
            "Instant",
        ],
    ),
];

#[test]
fn no_room_knows_what_it_must_not() {
    let mut seen = Vec::new();
    for (room, words) in WALLS {
        for (path, text) in sources(room) {
            let code = code(&text);
            // Forward-auth decides as the gateway does, by the gateway's own word.
            let excepted = |word: &str| word == "crate::gateway" && path.starts_with("src/http/forward_auth/");
            seen.extend(
                words
                    .iter()
                    .filter(|word| code.contains(**word) && !excepted(word))
                    .map(|word| format!("{path} knows {word}")),
            );
        }
    }
    assert!(seen.is_empty(), "{}", seen.join("\n"));
}

#[test]
fn the_pure_crates_depend_on_nothing_that_does_io() {
    let allowed = [
        "crc32fast",
        "keyledger-events",
        "memchr",
        "proptest",
        "serde",
        "serde_json",
        "sha2",
        "thiserror",
        "time",
        "ulid",
        "unicode-normalization",
    ];
    for manifest in ["events/Cargo.toml", "projections/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let dependencies = text.lines().filter_map(|line| line.strip_suffix(".workspace = true"));
        for dependency in
            dependencies.filter(|name| !["version", "edition", "rust-version", "license", "publish"].contains(name))
        {
            assert!(allowed.contains(&dependency), "{manifest} depends on {dependency}");
        }
    }
}

#[test]
fn a_keys_text_is_let_out_in_the_two_creating_answers_and_nowhere_else() {
    let mut callers: Vec<String> = sources("src")
        .into_iter()
        .filter(|(_, text)| code(text).contains("expose_text_in_the_creating_response"))
        .map(|(path, _)| path)
        .collect();
    callers.sort();
    assert_eq!(callers, ["src/http/keys.rs", "src/pages/keys/create.rs"]);
}

#[test]
fn the_clock_and_randomness_are_read_in_one_file() {
    let words = ["SystemTime::now", "now_utc()", "rand::", "Ulid::generate"];
    for (path, text) in sources("src").into_iter().filter(|(path, _)| path != "src/clock.rs") {
        let code = code(&text);
        for word in words {
            assert!(!code.contains(word), "{path} has {word}");
        }
    }
}

#[test]
fn every_room_says_what_it_is() {
    for folder in [
        "src",
        "events/src",
        "projections/src",
        "tests",
        "examples/demo-data-api/src",
        "bench/peers/src",
    ] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//!"), "{path} begins without a word on what it is");
        }
    }
}

#[test]
fn files_tell_one_story() {
    for folder in ["src", "events/src", "projections/src", "tests"] {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= 500, "{path} has {lines} lines");
        }
    }
}
