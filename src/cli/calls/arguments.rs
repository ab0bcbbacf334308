//! Calls as commands of clap, and what was given there as a request.

use std::io::Read as _;

use anyhow::{Context as _, bail, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use keyledger::clock;
use keyledger_events::CommandId;
use serde_json::{Map, Value};

use super::call::{Call, Form, Input, Place};
use super::client::{Outgoing, escaped};

/// Longer bodies are refused by the API anyway, but for batches, which come in a file.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// A command for each group, with one for each verb.
pub(super) fn groups(calls: &[Call]) -> Vec<Command> {
    let mut groups: Vec<Command> = Vec::new();
    for call in calls {
        let place = groups.iter().position(|group| group.get_name() == call.group);
        let group = match place {
            Some(place) => groups.remove(place),
            None => Command::new(call.group.clone())
                .subcommand_required(true)
                .arg_required_else_help(true),
        };
        let group = group.subcommand(command(call));
        groups.insert(place.unwrap_or(groups.len()), group);
    }
    groups.into_iter().map(described).collect()
}

/// Says which verbs a group has.
fn described(group: Command) -> Command {
    let verbs: Vec<String> = group.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let about = format!("Call the API: {} {}", group.get_name(), verbs.join(", "));
    group.about(about)
}

fn command(call: &Call) -> Command {
    let mut command = Command::new(call.verb.clone())
        .about(call.about.clone())
        .long_about(call.long_about.clone());
    if call.id == "change_key" {
        command = command.visible_alias("rename");
    }
    for input in &call.inputs {
        command = command.arg(argument(call, input));
    }
    if let Some(body) = &call.body {
        let nullable: Vec<String> = call
            .inputs
            .iter()
            .filter(|input| input.nullable)
            .map(|input| input.name.clone())
            .collect();
        command = command.arg(
            Arg::new("@body")
                .long("body")
                .value_name("FILE")
                // What has no members of ours cannot be said by them.
                .required(body.content_type != "application/json")
                .help("The whole body from a file, or `-` for standard input, instead of its members"),
        );
        if call.method == "PATCH" && !nullable.is_empty() {
            command = command.arg(
                Arg::new("@null")
                    .long("null")
                    .value_name("MEMBER")
                    .action(ArgAction::Append)
                    .value_parser(PossibleValuesParser::new(nullable))
                    .help("Empty this member"),
            );
        }
    }
    if call.is_paged() {
        command = command.arg(flag("all").help("All pages, not only the first"));
    }
    if call.changes() {
        command = command.arg(
            Arg::new("@idempotency-key")
                .long("idempotency-key")
                .value_name("KEY")
                .help("The name of this command: sent again under it, it happens once. Made up unless said"),
        );
    }
    command
        .arg(flag("json").help("The body as it came, instead of a table"))
        .arg(
            Arg::new("@url")
                .long("url")
                .env("KEYLEDGER_URL")
                .default_value("http://127.0.0.1:8080")
                .value_name("URL")
                .help("Where the API is"),
        )
        .arg(
            // Not as an argument: everybody on the machine can read those.
            Arg::new("@token")
                .long("token-file")
                .env("KEYLEDGER_TOKEN_FILE")
                .value_name("FILE")
                .help("A file with the access token, where it is not in KEYLEDGER_TOKEN"),
        )
        .arg(
            Arg::new("@ca")
                .long("ca-file")
                .env("KEYLEDGER_CA_FILE")
                .value_name("FILE")
                .help(
                    "Authorities in PEM that may vouch for the API's certificate, instead of those that browsers trust",
                ),
        )
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn argument(call: &Call, input: &Input) -> Arg {
    let arg = Arg::new(input.name.clone()).help(input.help.clone());
    let shown = input.name.to_ascii_uppercase();
    if input.place == Place::Path {
        return arg.required(true).value_name(shown);
    }
    let mut arg = arg
        .long(input.name.replace('_', "-"))
        .value_name(shown)
        .allow_hyphen_values(true);
    if input.form == Form::Texts {
        arg = arg.action(ArgAction::Append);
    }
    if !input.words.is_empty() && input.form == Form::Text {
        arg = arg.value_parser(PossibleValuesParser::new(input.words.clone()));
    }
    if input.needed && call.body.is_some() {
        arg = arg.required_unless_present("@body");
    }
    if input.place == Place::Body {
        arg = arg.conflicts_with("@body");
    }
    arg
}

/// The request that was asked for.
pub(super) fn outgoing(call: &Call, given: &ArgMatches, fresh: &CommandId) -> anyhow::Result<Outgoing> {
    let mut path = call.path.clone();
    let mut query = Vec::new();
    for input in &call.inputs {
        let Some(text) = (input.place != Place::Body)
            .then(|| given.get_one::<String>(&input.name))
            .flatten()
        else {
            continue;
        };
        match input.place {
            Place::Path => {
                ensure!(!text.is_empty(), "{} is empty", input.name);
                path = path.replace(&format!("{{{}}}", input.name), &escaped(text));
            }
            Place::Query | Place::Body => query.push((input.name.clone(), text.clone())),
        }
    }
    let key = call.changes().then(|| {
        let said = given.get_one::<String>("@idempotency-key");
        said.cloned().unwrap_or_else(|| fresh.as_str().to_owned())
    });
    let own_id = own_id(call, given);
    let repeat = match (&own_id, takes_id(call)) {
        (Some(id), _) => Some(format!("--id {id}")),
        // By the id in it, if there is one.
        (None, true) => None,
        (None, false) => key.as_ref().map(|key| format!("--idempotency-key {key}")),
    };
    let body = match &call.body {
        Some(body) => Some((body.content_type.clone(), whole_body(call, given, own_id)?)),
        None => None,
    };
    Ok(Outgoing::new(&call.method, path, query, key, body).repeated_by(repeat))
}

/// Whether the caller may name what is made: then a call is the same again by that name.
fn takes_id(call: &Call) -> bool {
    call.changes()
        && call
            .inputs
            .iter()
            .any(|input| input.place == Place::Body && input.name == "id")
}

/// The name of what is made, as it was said, or a new one.
fn own_id(call: &Call, given: &ArgMatches) -> Option<String> {
    if !takes_id(call) || given.contains_id("@body") {
        return None;
    }
    let said = given.get_one::<String>("id").cloned();
    Some(said.unwrap_or_else(|| clock::fresh_reservation_id().to_string()))
}

fn whole_body(call: &Call, given: &ArgMatches, own_id: Option<String>) -> anyhow::Result<Vec<u8>> {
    if let Some(file) = given.get_one::<String>("@body") {
        return read(file);
    }
    let mut members = Map::new();
    if let Some(id) = own_id {
        members.insert("id".to_owned(), Value::String(id));
    }
    for input in call.inputs.iter().filter(|input| input.place == Place::Body) {
        if let Some(value) = member(input, given)? {
            members.insert(input.name.clone(), value);
        }
    }
    if given.try_contains_id("@null").unwrap_or(false) {
        for name in given.get_many::<String>("@null").into_iter().flatten() {
            members.insert(name.clone(), Value::Null);
        }
    }
    Ok(serde_json::to_vec(&Value::Object(members))?)
}

fn member(input: &Input, given: &ArgMatches) -> anyhow::Result<Option<Value>> {
    if input.form == Form::Texts {
        let texts = given.get_many::<String>(&input.name);
        return Ok(texts.map(|texts| Value::Array(texts.cloned().map(Value::String).collect())));
    }
    let Some(text) = given.get_one::<String>(&input.name) else {
        return Ok(None);
    };
    match input.form {
        Form::Text | Form::Texts => Ok(Some(Value::String(text.clone()))),
        Form::Plain | Form::Json => match serde_json::from_str(text) {
            Ok(value) => Ok(Some(value)),
            Err(_) => bail!("--{} is not JSON of its kind", input.name.replace('_', "-")),
        },
    }
}

fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file == "-" {
        std::io::stdin().lock().take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("{file} cannot be read"))?;
    ensure!(
        u64::try_from(bytes.len()).is_ok_and(|len| len <= BODY_BYTES_MAX),
        "{file} has more than 64 MiB"
    );
    Ok(bytes)
}
