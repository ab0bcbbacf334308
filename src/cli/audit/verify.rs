//! `keyledger audit verify`: whether an export is what was signed, and whether what was signed can be true.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use keyledger::audit::file::{Asked, Fault, Told, Verdict, verify};
use keyledger::audit::note::VerifierKey;
use serde_json::{Value, json};

/// Verify an export, without a database or a network.
///
/// Exit code 0: good; 1: tampered, with the first bad position; 2: cannot tell, because the file is incomplete or of
/// another format.
#[derive(Debug, Args)]
pub struct Verify {
    /// What `keyledger audit export` wrote
    file: PathBuf,
    /// The log's verifier key, as `keyledger audit key` prints it; again for each one that signed since, or before
    #[arg(long, value_name = "PUB", required = true)]
    key: Vec<VerifierKey>,
    /// A witness's verifier key: it has to have signed too
    #[arg(long, value_name = "PUB")]
    witness: Vec<VerifierKey>,
    /// A file with an older checkpoint: the log has to begin with what that one was of
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    /// One thread instead of two
    #[arg(long, hide = true)]
    one_thread: bool,
}

const TAMPERED: u8 = 1;
const CANNOT_TELL: u8 = 2;

pub fn run(asked: &Verify) -> ExitCode {
    match verdict(asked) {
        Ok(Verdict::Good(told)) => {
            tell(&told, asked.json);
            ExitCode::SUCCESS
        }
        Ok(Verdict::Bad(fault)) => {
            tell_fault(&fault, asked.json);
            ExitCode::from(if fault.tampered { TAMPERED } else { CANNOT_TELL })
        }
        Err(error) => {
            eprintln!("keyledger: {error:#}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}

fn verdict(asked: &Verify) -> anyhow::Result<Verdict> {
    let told = || format!("{} cannot be read", asked.file.display());
    let file = File::open(&asked.file).with_context(told)?;
    let bar = ProgressBar::new(file.metadata().with_context(told)?.len()).with_style(ProgressStyle::with_template(
        "{bar:40} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
    )?);
    let older = match &asked.checkpoint {
        Some(path) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?)
        }
        None => None,
    };
    let what = Asked {
        keys: asked.key.clone(),
        witnesses: asked.witness.clone(),
        older,
    };
    let verdict = verify(file, &what, !asked.one_thread, |read| bar.set_position(read));
    bar.finish_and_clear();
    Ok(verdict)
}

fn tell_fault(fault: &Fault, as_json: bool) {
    let Fault {
        tampered,
        position,
        why,
    } = fault;
    if as_json {
        let verdict = if *tampered { "tampered" } else { "unknown" };
        return println!("{}", json!({ "verdict": verdict, "position": position, "why": why }));
    }
    let verdict = if *tampered { "tampered" } else { "cannot tell" };
    match position {
        Some(position) => println!("{verdict} at position {position}: {why}"),
        None => println!("{verdict}: {why}"),
    }
}

fn tell(told: &Told, as_json: bool) {
    if as_json {
        let mut line = json!({ "verdict": "good" });
        if let (Value::Object(line), Ok(Value::Object(members))) = (&mut line, serde_json::to_value(told)) {
            line.extend(members);
        }
        return println!("{line}");
    }
    let Told {
        first,
        last,
        size,
        events,
        ..
    } = told;
    println!(
        "good: {events} events, positions {first} to {last} of {size}, the last at {}",
        told.last_at
    );
    if let Some(balance) = &told.balance {
        let of = if told.accounts == 1 {
            "the account".to_owned()
        } else {
            format!("{} accounts", told.accounts)
        };
        println!("{of}:");
        for (name, amount) in [
            ("granted", Some(balance.granted)),
            ("charged", Some(balance.charged)),
            ("refunded", Some(balance.refunded)),
            ("expired", Some(balance.expired)),
            ("corrected", Some(balance.corrected)),
            ("reserved", Some(balance.reserved)),
            ("available", balance.available),
        ] {
            match amount {
                Some(amount) => println!("  {name:<10} {amount}"),
                None => println!("  {name:<10} not known"),
            }
        }
    }
    for what in &told.not_checked {
        println!("not checked: {what}");
    }
}
