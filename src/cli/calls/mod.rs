//! Every call of the API as a command: `keyledger keys list ACCOUNT`.
//!
//! In: the OpenAPI document of this version, which the routes themselves write; arguments; address and token from the
//! environment. Out: a table, or the body as it came.
//!
//! Promise: a call that is added to the API is a command the same day. Whatever changes something has an
//! `Idempotency-Key`, or an id of its own where what is made can be named; it is told when the outcome is not known, so that the
//! same can be sent again.
//!
//! Not here: what the calls do. Their help is the document's.

mod arguments;
mod call;
mod client;
mod document;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ArgMatches;
use http::StatusCode;
use keyledger::clock;

use call::{Call, calls};
use client::{Answer, Away, Client, Outgoing};
use document::Node;

const REFUSED: u8 = 1;
const CANNOT_TELL: u8 = 2;

/// Adds a command for every call.
pub fn commands(command: clap::Command) -> clap::Command {
    arguments::groups(&calls())
        .into_iter()
        .fold(command, clap::Command::subcommand)
}

/// Whether this is the name of one of them.
pub fn is_group(name: &str) -> bool {
    calls().iter().any(|call| call.group == name)
}

/// Makes the call that was asked for. Exit code 0 done, 1 refused, 2 cannot reach it or cannot tell.
pub async fn run(group: &str, matches: &ArgMatches) -> ExitCode {
    let all = calls();
    let found = matches
        .subcommand()
        .and_then(|(verb, given)| Some((all.iter().find(|call| call.group == group && call.verb == verb)?, given)));
    let Some((call, given)) = found else {
        // clap has seen to it that there is one.
        return ExitCode::from(CANNOT_TELL);
    };
    match make(call, given).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("keyledger: {error:#}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}

async fn make(call: &Call, given: &ArgMatches) -> anyhow::Result<ExitCode> {
    let client = Client::from_environment(given)?;
    let mut outgoing = arguments::outgoing(call, given, &clock::fresh_command_id())?;
    let as_json = given.get_flag("json");
    let all = call.is_paged() && given.get_flag("all");
    match exchange(&client, &mut outgoing, as_json, all).await {
        Ok(code) => Ok(code),
        Err(away) => {
            eprintln!("keyledger: {away:#}");
            if matches!(away, Away::Afterwards(_)) {
                say_how_to_repeat(&outgoing);
            }
            Ok(ExitCode::from(CANNOT_TELL))
        }
    }
}

/// Asks, and shows what is answered. Whatever fails once something was sent may have been carried out all the same, and its
/// name was perhaps never shown.
async fn exchange(client: &Client, outgoing: &mut Outgoing, as_json: bool, all: bool) -> Result<ExitCode, Away> {
    let mut pages = Vec::new();
    loop {
        let answer = client.send(outgoing).await?;
        if !answer.status.is_success() {
            return Ok(refused(&answer, outgoing));
        }
        if !answer.is_json() {
            return written(answer.body).await.map_err(Away::Afterwards);
        }
        let next = page(answer, as_json, all, &mut pages).await.map_err(Away::Afterwards)?;
        match next {
            Some(cursor) => outgoing.set_query("cursor", &cursor),
            None => break,
        }
    }
    if !as_json {
        let table = table::rendered(&merged(pages));
        print(&[table.as_bytes()]).map_err(Away::Afterwards)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a page, or keeps it to be shown with the others. Returns where the next one begins.
async fn page(answer: Answer, as_json: bool, all: bool, pages: &mut Vec<Node>) -> anyhow::Result<Option<String>> {
    let bytes = answer.collected().await?;
    if as_json {
        print(&[&bytes, b"\n"])?;
    } else {
        pages.push(document::read(&bytes).context("the answer is not understood")?);
    }
    Ok(if all { document::next_cursor(&bytes) } else { None })
}

/// Several pages as one.
fn merged(pages: Vec<Node>) -> Node {
    let mut pages = pages.into_iter();
    let mut first = pages.next().unwrap_or(Node::Object(Vec::new()));
    for page in pages {
        first.append_items(page);
    }
    first
}

/// Passes on what is no JSON as it comes.
async fn written(mut body: client::Body) -> anyhow::Result<ExitCode> {
    while let Some(bytes) = body.next().await? {
        print(&[&bytes])?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(parts: &[&[u8]]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut print = || -> std::io::Result<()> {
        for part in parts {
            out.write_all(part)?;
        }
        out.flush()
    };
    print().context("the answer cannot be written to standard output")
}

/// Tells a problem, on standard error.
fn refused(answer: &Answer, outgoing: &Outgoing) -> ExitCode {
    match &answer.problem {
        Some(problem) => {
            let told = |member: &str| {
                problem
                    .get(member)
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or_default()
            };
            eprintln!("keyledger: {}: {}", told("title"), told("detail"));
            let field = problem.get("field").and_then(serde_json::Value::as_str);
            let field = field.map(|field| format!(", field {field}")).unwrap_or_default();
            eprintln!("  code {}, status {}{field}", told("code"), answer.status.as_u16());
        }
        None => eprintln!("keyledger: {} answered with status {}", outgoing.path(), answer.status),
    }
    // What is true of it now is not known, or it may do later.
    if answer.status.is_server_error() || answer.status == StatusCode::CONFLICT {
        say_how_to_repeat(outgoing);
    }
    let code = if answer.status.is_server_error() {
        CANNOT_TELL
    } else {
        REFUSED
    };
    ExitCode::from(code)
}

fn say_how_to_repeat(outgoing: &Outgoing) {
    if let Some(how) = outgoing.how_to_repeat() {
        eprintln!("  the same again, safely: add {how}");
    }
}
