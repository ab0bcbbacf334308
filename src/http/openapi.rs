//! What the OpenAPI document says beyond the single routes: its head, the caller's token, ids in paths, the position
//! header, and the problems that many calls share.

use utoipa::ToResponse;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Header, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, Response,
    ResponseBuilder,
};

use crate::problem::Problem;

const TOKEN: &str = "access_token";
const FORWARD_AUTH: &str = "forward_auth";
const PROBLEM: &str = "Problem";

const DESCRIPTION: &str = "API keys and credits on one ledger. Amounts are decimal strings of credits. An answer \
    that the log gives names the place at which it is true, in `Ledger-Position`; a read with `?after=` waits for that place, so \
    anyone can read their own write. Problems are RFC 9457 documents; `type` leads to an explanation.";

/// The document before the routes are in it.
pub(super) fn head() -> OpenApi {
    let components = ComponentsBuilder::new()
        .security_scheme(TOKEN, SecurityScheme::Http(token()))
        .security_scheme(FORWARD_AUTH, SecurityScheme::ApiKey(ApiKey::Header(proxy())))
        .schema(PROBLEM, problem_schema())
        .response(PROBLEM, problem_response())
        .build();
    let info = InfoBuilder::new()
        .title("Keyledger")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new(TOKEN, Vec::<String>::new())]))
        .build()
}

fn token() -> Http {
    HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An access token, `klt_…`. Its role says what it may do: `operator` all; `metering` reserve, charge, \
             release; `billing` grant and refund, and read all; `auditor` read all.",
        ))
        .build()
}

fn proxy() -> ApiKeyValue {
    ApiKeyValue::with_description(
        "X-Keyledger-Forward-Auth",
        "An access token of role `metering`, shown by a proxy: `Authorization` holds the key of its client.",
    )
}

fn problem_schema() -> ObjectBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Why something was not done (RFC 9457)."))
        .property("type", text().description(Some("Leads to an explanation.")))
        .required("type")
        .property("title", text())
        .required("title")
        .property("status", ObjectBuilder::new().schema_type(Type::Integer))
        .required("status")
        .property(
            "detail",
            text().description(Some("What is wrong this time, without anything secret.")),
        )
        .required("detail")
        .property("code", text().description(Some("Stable: programs branch on it.")))
        .required("code")
        .property(
            "field",
            text().description(Some("The member, parameter or header at fault.")),
        )
        .property(
            "required",
            text().description(Some(
                "Of `insufficient-credits` and `key-spending-limit`: the credits that are needed.",
            )),
        )
        .property(
            "available",
            text().description(Some("Of `insufficient-credits`: the credits that are there.")),
        )
        .property("limit", Ref::from_schema_name("KeySpendingLimit"))
        .property(
            "spent",
            text().description(Some(
                "Of `key-spending-limit`: the credits that are spent or held in the period.",
            )),
        )
        .property(
            "resets_at",
            text().description(Some("Of `key-spending-limit`: when the next period begins.")),
        )
        .examples([serde_json::json!({
            "type": "/problems/insufficient-credits",
            "title": "Not enough credits are available",
            "status": 402,
            "detail": "0.5 credits are needed and 0.1 are available",
            "code": "insufficient-credits",
            "required": "0.5",
            "available": "0.1",
        })])
}

fn problem_response() -> Response {
    let content = ContentBuilder::new()
        .schema(Some(RefOr::Ref(Ref::from_schema_name(PROBLEM))))
        .build();
    ResponseBuilder::new()
        .description("It was not done; `code` says why.")
        .content("application/problem+json", content)
        .build()
}

impl<'r> ToResponse<'r> for Problem {
    fn response() -> (&'r str, RefOr<Response>) {
        (PROBLEM, RefOr::T(problem_response()))
    }
}

/// Adds to every route what its kind of route has: once here rather than at each.
pub(super) fn finish(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let ids: Vec<Parameter> = ids_in(path).collect();
        for operation in operations(item) {
            let parameters = operation.parameters.get_or_insert_default();
            parameters.splice(0..0, ids.iter().cloned().map(RefOr::T));
            share_responses(path, operation);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ]
    .into_iter()
    .flatten()
}

/// The ids that a path pattern holds. `{code}` of the problem pages is no id and is described there.
fn ids_in(path: &str) -> impl Iterator<Item = Parameter> {
    let names = path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.filter_map(|name| {
        let (name, prefix) = match name {
            "account" => ("account", "acct_"),
            "key" => ("key", "key_"),
            "reservation" => ("reservation", "rsv_"),
            "charge" => ("charge", "rsv_"),
            "plan" => ("plan", "plan_"),
            "token" => ("token", "tok_"),
            _ => return None,
        };
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .examples([format!("{prefix}01JDE5Z8W4M3X7Q2V9T6R1K0PA")]);
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(schema));
        Some(parameter.build())
    })
}

/// What does not come from the log, or from many places of it.
const WITHOUT_PLACE: [&str; 8] = [
    "list_checkpoints",
    "list_deliveries",
    "list_tokens",
    "list_webhooks",
    "replay_deliveries",
    "replay_delivery",
    "run_batch",
    "show_delivery",
];

fn share_responses(path: &str, operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    let has_id = path.contains('{');
    let has_parameters = operation.parameters.as_ref().is_some_and(|all| {
        all.iter()
            .any(|one| matches!(one, RefOr::T(one) if one.parameter_in != ParameterIn::Path))
    });
    let for_callers = path.starts_with("/v1/");
    let shared = [
        ("400", has_body || has_parameters),
        ("401", for_callers),
        ("403", for_callers),
        ("404", has_id),
        ("408", has_body),
        ("413", has_body),
        ("415", has_body),
        ("422", has_body || has_parameters),
        ("500", for_callers),
        ("503", for_callers),
    ];
    let responses = &mut operation.responses.responses;
    for (status, _) in shared.into_iter().filter(|(_, applies)| *applies) {
        responses
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::Ref(Ref::from_response_name(PROBLEM)));
    }
    let has_place = !WITHOUT_PLACE.contains(&operation.operation_id.as_deref().unwrap_or_default());
    if for_callers && has_place {
        for (status, response) in responses.iter_mut() {
            if let (true, RefOr::T(response)) = (status.starts_with('2'), response) {
                response
                    .headers
                    .insert("Ledger-Position".to_owned(), position_header().into());
            }
        }
    }
}

fn position_header() -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String).examples(["0:812"]));
    header.description = Some("The place in the log at which this is true: `<shard>:<position>`.".to_owned());
    header
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::http::openapi as document;

    fn json() -> serde_json::Value {
        serde_json::to_value(document()).unwrap()
    }

    fn all_operations(document: &serde_json::Value) -> Vec<(String, serde_json::Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                let operations = item.as_object().unwrap().iter();
                operations.map(move |(method, operation)| (format!("{method} {path}"), operation.clone()))
            })
            .collect()
    }

    #[test]
    fn the_document_is_openapi_3_1_and_asks_for_a_token() {
        let document = json();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["security"][0]["access_token"], serde_json::json!([]));
        assert_eq!(
            document["components"]["securitySchemes"]["access_token"]["scheme"],
            "bearer"
        );
    }

    #[test]
    fn every_call_has_its_own_name_and_its_problems() {
        let document = json();
        let mut names = HashSet::new();
        for (call, operation) in all_operations(&document) {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name), "{call}");
            assert!(
                operation["summary"].as_str().is_some_and(|text| !text.is_empty()),
                "{call}"
            );
            if call.contains("/v1/") {
                for status in ["401", "403", "500", "503"] {
                    assert!(operation["responses"].get(status).is_some(), "{call} {status}");
                }
            }
        }
    }

    #[test]
    fn the_place_in_the_log_is_promised_where_there_is_one() {
        let mut without: Vec<String> = Vec::new();
        for (call, operation) in all_operations(&json()) {
            let responses = operation["responses"].as_object().unwrap().iter();
            let promised = responses
                .filter(|(status, _)| status.starts_with('2'))
                .any(|(_, response)| response["headers"].get("Ledger-Position").is_some());
            if call.contains(" /v1/") && !promised {
                without.push(operation["operationId"].as_str().unwrap().to_owned());
            }
        }
        without.sort_unstable();
        assert_eq!(without, super::WITHOUT_PLACE);
    }

    #[test]
    fn every_id_in_a_path_is_described() {
        for (call, operation) in all_operations(&json()) {
            let described = operation["parameters"].as_array().cloned().unwrap_or_default();
            let described = described.iter().filter(|one| one["in"] == "path").count();
            assert_eq!(described, call.matches('{').count(), "{call}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &serde_json::Value, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(|to| to.as_str()).map(str::to_owned));
                    members.values().for_each(|member| references(member, found));
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                serde_json::Value::Null
                | serde_json::Value::Bool(_)
                | serde_json::Value::Number(_)
                | serde_json::Value::String(_) => {}
            }
        }
        let document = json();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
