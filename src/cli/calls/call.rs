//! What the OpenAPI document says of the calls, as commands need it.

use std::sync::OnceLock;

use keyledger::http::openapi;
use serde_json::{Map, Value};

/// One call of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The operation's id.
    pub(super) id: String,
    pub(super) method: String,
    /// With `{account}` and the like in it.
    pub(super) path: String,
    pub(super) group: String,
    pub(super) verb: String,
    /// Its first sentence.
    pub(super) about: String,
    /// All that is said of it.
    pub(super) long_about: String,
    /// Of the path, the query and the body, in this order.
    pub(super) inputs: Vec<Input>,
    pub(super) body: Option<Body>,
}

/// A thing that the caller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) needed: bool,
    pub(super) help: String,
    pub(super) form: Form,
    pub(super) nullable: bool,
    /// The words that it may be.
    pub(super) words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Body,
}

/// How a text on the command line becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    /// A number or a truth value: JSON as it stands.
    Plain,
    /// Several texts.
    Texts,
    /// An object, in JSON.
    Json,
}

/// What kind of body a call takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) content_type: String,
    pub(super) needed: bool,
}

/// Better words than those that follow from method and path. The id of the operation, group, verb.
const WORDS: &[(&str, &str, &str)] = &[
    ("open_account", "accounts", "open"),
    ("close_account", "accounts", "close"),
    ("list_account_events", "accounts", "events"),
    ("erase_personal_data", "personal-data", "erase"),
    ("key_history", "keys", "history"),
    ("invite", "portal-sessions", "create"),
    ("invite_operator", "operator-sessions", "create"),
    ("refund_charge", "refunds", "create"),
    ("charge_reservation", "reservations", "charge"),
    ("release_reservation", "reservations", "release"),
    ("start_plan", "plans", "start"),
    ("end_plan", "plans", "end"),
    ("show_balance", "balance", "show"),
    ("show_usage", "usage", "show"),
    ("show_statement", "statement", "show"),
    ("show_thresholds", "thresholds", "show"),
    ("show_prices", "prices", "show"),
    ("report_leaks", "leaks", "report"),
    ("revoke_token", "tokens", "revoke"),
    ("healthz", "service", "alive"),
    ("readyz", "service", "ready"),
    ("metrics", "service", "metrics"),
    ("explain_problem", "problems", "explain"),
];

/// Proxies make these, for their clients, with a header of their own: a terminal has no use for them.
pub(super) const OF_PROXIES: [&str; 2] = ["forward_auth", "settle_forwarded"];

/// Every call that has a command, in the order of the document.
pub(super) fn calls() -> Vec<Call> {
    static CALLS: OnceLock<Vec<Call>> = OnceLock::new();
    CALLS
        .get_or_init(|| {
            let document = serde_json::to_value(openapi()).unwrap_or_default();
            Document(&document).calls()
        })
        .clone()
}

struct Document<'d>(&'d Value);

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

impl<'d> Document<'d> {
    fn calls(&self) -> Vec<Call> {
        let paths = self.0["paths"].as_object();
        let mut all = Vec::new();
        for (path, item) in paths.into_iter().flatten() {
            for method in METHODS {
                let operation = &item[method];
                let id = operation["operationId"].as_str().unwrap_or_default();
                if operation.is_object() && !OF_PROXIES.contains(&id) {
                    all.push(self.call(path, method, operation));
                }
            }
        }
        all
    }

    fn call(&self, path: &str, method: &str, operation: &'d Value) -> Call {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let (group, verb) = words(&id, path, method);
        let summary = text(&operation["summary"]);
        let description = text(&operation["description"]);
        let mut inputs: Vec<Input> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|parameter| self.parameter(parameter))
            .collect();
        inputs.sort_by_key(|input| input.place == Place::Query);
        let (body, members) = self.body(&operation["requestBody"]);
        inputs.extend(members);
        Call {
            method: method.to_ascii_uppercase(),
            path: path.to_owned(),
            group,
            verb,
            about: summary.trim_end_matches('.').replace('\n', " "),
            long_about: format!("{summary}\n\n{description}\n\n{} {path}", method.to_ascii_uppercase()),
            inputs,
            body,
            id,
        }
    }

    fn parameter(&self, parameter: &'d Value) -> Option<Input> {
        let place = match parameter["in"].as_str()? {
            "path" => Place::Path,
            "query" => Place::Query,
            _ => return None,
        };
        let schema = self.resolved(&parameter["schema"]);
        Some(Input {
            name: text(&parameter["name"]),
            place,
            needed: place == Place::Path || parameter["required"] == Value::Bool(true),
            help: self.help(&parameter["description"], schema),
            // Whatever it is, an address has its text.
            form: Form::Text,
            nullable: false,
            words: words_of(schema),
        })
    }

    fn body(&self, body: &'d Value) -> (Option<Body>, Vec<Input>) {
        let Some((content_type, content)) = body["content"].as_object().and_then(|content| content.iter().next())
        else {
            return (None, Vec::new());
        };
        let schema = self.resolved(&content["schema"]);
        let needed: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let members = schema["properties"].as_object();
        let inputs = members.into_iter().flatten().map(|(name, member)| {
            let inner = self.resolved(member);
            Input {
                name: name.clone(),
                place: Place::Body,
                needed: needed.contains(&name.as_str()),
                help: self.help(&member["description"], inner),
                form: self.form(inner),
                nullable: is_nullable(member),
                words: words_of(inner),
            }
        });
        let body = Body {
            content_type: content_type.clone(),
            needed: body["required"] == Value::Bool(true),
        };
        (Some(body), inputs.collect())
    }

    /// Follows references, and leaves out that a value may be null.
    fn resolved(&self, schema: &'d Value) -> &'d Value {
        let mut schema = schema;
        for _ in 0..8 {
            if let Some(reference) = schema["$ref"].as_str() {
                let pointer = reference.trim_start_matches('#');
                schema = self.0.pointer(pointer).unwrap_or(&Value::Null);
                continue;
            }
            let several = schema["oneOf"].as_array().or_else(|| schema["allOf"].as_array());
            match several.and_then(|several| several.iter().find(|one| one["type"] != "null")) {
                Some(one) if schema["properties"].is_null() => schema = one,
                Some(_) | None => break,
            }
        }
        schema
    }

    fn form(&self, schema: &'d Value) -> Form {
        if is_type(schema, "object") || schema["properties"].is_object() {
            Form::Json
        } else if is_type(schema, "array") {
            // What is more than a text has to be written as JSON, all of it.
            let of_texts = schema
                .get("items")
                .is_none_or(|items| self.form(self.resolved(items)) == Form::Text);
            if of_texts { Form::Texts } else { Form::Json }
        } else if ["integer", "number", "boolean"]
            .iter()
            .any(|name| is_type(schema, name))
        {
            Form::Plain
        } else {
            Form::Text
        }
    }

    fn help(&self, described: &Value, schema: &'d Value) -> String {
        let mut help = match described.as_str() {
            Some(described) => described.to_owned(),
            None => text(&schema["description"]),
        };
        help = help.replace('\n', " ").trim_end_matches('.').to_owned();
        if help.is_empty()
            && let Some(example) = schema["examples"][0].as_str()
        {
            help = format!("Such as {example}");
        }
        if self.form(schema) == Form::Json {
            let members: Vec<&str> = schema["properties"]
                .as_object()
                .map(|members: &Map<String, Value>| members.keys().map(String::as_str).collect())
                .unwrap_or_default();
            let members = members.join(", ");
            help = format!("{help} (JSON{}{members})", if members.is_empty() { "" } else { ": " });
        }
        help.trim().to_owned()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn is_type(schema: &Value, name: &str) -> bool {
    match &schema["type"] {
        Value::String(one) => one == name,
        Value::Array(several) => several.iter().any(|one| one == name),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn is_nullable(schema: &Value) -> bool {
    let several = schema["oneOf"].as_array();
    is_type(schema, "null") || several.is_some_and(|several| several.iter().any(|one| is_type(one, "null")))
}

fn words_of(schema: &Value) -> Vec<String> {
    let words = schema["enum"].as_array();
    words
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Group and verb of an operation.
fn words(id: &str, path: &str, method: &str) -> (String, String) {
    if let Some((_, group, verb)) = WORDS.iter().find(|(known, _, _)| *known == id) {
        return ((*group).to_owned(), (*verb).to_owned());
    }
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty() && *segment != "v1")
        .collect();
    let is_name = |segment: &str| segment.starts_with('{');
    let one = segments.last().is_some_and(|last| is_name(last));
    let mut names = segments.iter().rev().filter(|segment| !is_name(segment));
    let last = names.next().copied().unwrap_or("service");
    // `…/{key}/rotate` does something to a key.
    let acts = !one
        && method == "post"
        && segments.iter().rev().nth(1).is_some_and(|before| is_name(before))
        && !last.ends_with('s');
    if acts {
        let group = names.next().copied().unwrap_or(last);
        return (group.to_owned(), last.to_owned());
    }
    // `/prices/versions` is a part of the prices.
    let within = segments
        .iter()
        .rev()
        .skip(usize::from(one))
        .nth(1)
        .filter(|before| !is_name(before));
    if let (Some(whole), "get") = (within, method) {
        let verb = if one { last.trim_end_matches('s') } else { last };
        return ((*whole).to_owned(), verb.to_owned());
    }
    let verb = match (method, one) {
        ("get", true) => "show",
        ("get", false) => "list",
        ("post", false) if segments.len() == 1 && !last.ends_with('s') => "send",
        ("post", _) => "create",
        ("put", _) => "set",
        ("patch", _) => "change",
        _ => "delete",
    };
    (last.to_owned(), verb.to_owned())
}

impl Call {
    /// Whether it gives a list in pages.
    pub(super) fn is_paged(&self) -> bool {
        self.inputs
            .iter()
            .any(|input| input.place == Place::Query && input.name == "cursor")
    }

    pub(super) fn changes(&self) -> bool {
        self.method != "GET"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_of_the_api_has_one_command() {
        let document = serde_json::to_value(openapi()).unwrap();
        let mut operations = BTreeSet::new();
        for item in document["paths"].as_object().unwrap().values() {
            for method in METHODS {
                operations.extend(item[method]["operationId"].as_str().map(str::to_owned));
            }
        }
        let all = calls();
        let ids: BTreeSet<String> = all
            .iter()
            .map(|call| call.id.clone())
            .chain(OF_PROXIES.map(str::to_owned))
            .collect();
        assert_eq!(ids, operations);
        let commands: BTreeSet<_> = all.iter().map(|call| (&call.group, &call.verb)).collect();
        assert_eq!(commands.len(), all.len(), "no two are called the same: {commands:?}");
        for (id, _, _) in WORDS {
            assert!(operations.contains(*id), "{id} is no operation any more");
        }
    }

    #[test]
    fn a_call_without_words_of_its_own_is_called_by_its_address() {
        for (method, path, called) in [
            ("put", "/v1/prices", "prices set"),
            ("get", "/v1/prices/versions", "prices versions"),
            ("get", "/v1/prices/versions/{version}", "prices version"),
            ("post", "/v1/batch", "batch send"),
            ("get", "/v1/webhooks/{receiver}/deliveries", "deliveries list"),
            ("get", "/v1/webhooks/{receiver}/deliveries/{message}", "deliveries show"),
            (
                "post",
                "/v1/webhooks/{receiver}/deliveries/{message}/replay",
                "deliveries replay",
            ),
            ("post", "/v1/webhooks/{receiver}/replay", "webhooks replay"),
        ] {
            let (group, verb) = words("new", path, method);
            assert_eq!(format!("{group} {verb}"), called, "{method} {path}");
        }
    }

    #[test]
    fn commands_are_called_as_people_say_it() {
        let of = |id: &str| {
            let all = calls();
            let call = all.iter().find(|call| call.id == id).unwrap();
            format!("{} {}", call.group, call.verb)
        };
        for (id, words) in [
            ("list_keys", "keys list"),
            ("create_key", "keys create"),
            ("rotate_key", "keys rotate"),
            ("delete_key", "keys delete"),
            ("show_account", "accounts show"),
            ("change_account", "accounts change"),
            ("grant_credits", "grants create"),
            ("set_thresholds", "thresholds set"),
            ("show_statement", "statement show"),
            ("list_events", "events list"),
            ("correct_credits", "corrections create"),
            ("charge_at_once", "charges create"),
        ] {
            assert_eq!(of(id), words);
        }
    }
}
