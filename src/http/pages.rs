//! Pages for people: what a problem means.

use axum::extract::RawPathParams;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::problems;
use crate::problem::Kind;

/// Explains a problem to whoever met it. The address is in every problem document as its `type`.
///
/// 200 the explanation. 404 no such problem.
#[utoipa::path(
    get, path = "/problems/{code}", tag = "service", security(()),
    params(("code" = String, Path, description = "A problem's code", example = "insufficient-credits")),
    responses((status = 200, description = "The explanation.", body = String, content_type = "text/plain"))
)]
pub(super) async fn explain_problem(params: RawPathParams) -> Response {
    let kind = params.iter().next().and_then(|(_, code)| Kind::by_code(code));
    match kind {
        Some(kind) => {
            let headers = [
                (CONTENT_TYPE, "text/plain; charset=utf-8"),
                (CACHE_CONTROL, "max-age=3600"),
            ];
            (headers, explanation(kind)).into_response()
        }
        None => problems::not_found().into_response(),
    }
}

fn explanation(kind: &Kind) -> String {
    let Kind {
        code,
        status,
        title,
        explanation,
    } = kind;
    format!("{title}\n\n{explanation}\n\nCode {code}, status {}.\n", status.as_u16())
}
