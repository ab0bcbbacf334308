//! Every address, once: the router and the OpenAPI document come from the same list.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::measure::Measure;
use super::openapi::{finish, head};
use super::{
    App, Health, Served, accounts, balance, batch, charges, checkpoints, corrections, events, forward_auth, grants,
    health, keys, leaks, operator_sessions, pages, personal_data, plans, portal_sessions, prices, problems, publish,
    refunds, reservations, rotations, settlements, statement, thresholds, tlog, tokens, usage, webhooks,
};

fn all() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(head())
        .routes(routes!(accounts::open_account, accounts::list_accounts))
        .routes(routes!(accounts::show_account, accounts::change_account))
        .routes(routes!(accounts::close_account))
        .routes(routes!(personal_data::erase_personal_data))
        .routes(routes!(keys::create_key, keys::list_keys))
        .routes(routes!(keys::change_key, keys::delete_key))
        .routes(routes!(rotations::rotate_key))
        .routes(routes!(leaks::report_leaks))
        .routes(routes!(events::key_history))
        .routes(routes!(portal_sessions::invite))
        .routes(routes!(operator_sessions::invite_operator))
        .routes(routes!(tokens::create_token, tokens::list_tokens))
        .routes(routes!(tokens::revoke_token))
        .routes(routes!(grants::grant_credits, grants::list_grants))
        .routes(routes!(corrections::correct_credits))
        .routes(routes!(plans::start_plan, plans::list_plans))
        .routes(routes!(plans::end_plan))
        .routes(routes!(thresholds::set_thresholds, thresholds::show_thresholds))
        .routes(routes!(balance::show_balance))
        .routes(routes!(reservations::reserve))
        .routes(routes!(reservations::list_reservations))
        .routes(routes!(reservations::show_reservation))
        .routes(routes!(settlements::charge_reservation))
        .routes(routes!(settlements::release_reservation))
        .routes(routes!(forward_auth::forward_auth))
        .routes(routes!(forward_auth::settle_forwarded))
        .routes(routes!(batch::run_batch))
        .routes(routes!(charges::charge_at_once))
        .routes(routes!(charges::list_charges))
        .routes(routes!(refunds::refund_charge))
        .routes(routes!(usage::show_usage))
        .routes(routes!(statement::show_statement))
        .routes(routes!(events::list_account_events))
        .routes(routes!(events::list_events))
        .routes(routes!(checkpoints::list_checkpoints))
        .routes(routes!(checkpoints::latest_checkpoint))
        .routes(routes!(checkpoints::prove_inclusion))
        .routes(routes!(checkpoints::prove_consistency))
        .routes(routes!(webhooks::list_webhooks))
        .routes(routes!(webhooks::list_deliveries))
        .routes(routes!(webhooks::show_delivery))
        .routes(routes!(webhooks::replay_delivery))
        .routes(routes!(webhooks::replay_deliveries))
        .routes(routes!(prices::show_prices, publish::publish_prices))
        .routes(routes!(publish::list_price_versions))
        .routes(routes!(publish::show_price_version))
        .routes(routes!(pages::explain_problem))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
}

/// The OpenAPI 3.1 document of this API.
pub fn openapi() -> OpenApi {
    let (_, mut document) = all().split_for_parts();
    finish(&mut document);
    document
}

/// Everything that this face answers.
pub fn router(rooms: Served) -> Router {
    let (router, mut document) = all().split_for_parts();
    finish(&mut document);
    // Made once: the document does not change while the process runs.
    let text = Bytes::from(document.to_json().unwrap_or_default());
    let served = move || std::future::ready(openapi_json(text.clone()));
    let docs: Router<App> = SwaggerUi::new("/docs").config(Config::from("/openapi.json")).into();
    let router = router
        .route("/openapi.json", get(served.clone()))
        .route("/v1/openapi.json", get(served))
        .route("/v1/forward-auth", forward_auth::other_methods())
        .route("/v1/forward-auth/", forward_auth::prefixed())
        .route("/v1/forward-auth/{*original}", forward_auth::prefixed())
        .route("/tlog/{shard}/checkpoint", get(tlog::checkpoint))
        .route("/tlog/{shard}/tile/{*path}", get(tlog::tile))
        .merge(docs)
        .fallback(|| async { problems::not_found() })
        .method_not_allowed_fallback(|| async { problems::method_not_allowed() });
    around(router).with_state(App::from(rooms))
}

/// What a process without an API answers: how it is, and its figures.
pub fn probes(health: Arc<dyn Health>, metrics: PrometheusHandle) -> Router {
    let readyz = move || {
        let health = Arc::clone(&health);
        async move { health::readiness(health.as_ref()).await }
    };
    let router = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(move || std::future::ready(health::figures(&metrics))))
        .fallback(|| async { problems::not_found() })
        .method_not_allowed_fallback(|| async { problems::method_not_allowed() });
    around(router)
}

/// What is around every route, the first outermost. One layer: each takes boxes of its own for every request.
fn around<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer((
        Measure::default(),
        SetResponseHeaderLayer::overriding(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // Answers speak of one caller's customers: nothing between here and there may keep them, unless we say so.
        SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store")),
        CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a handler panicked");
            problems::internal().into_response()
        }),
    ))
}

fn openapi_json(text: Bytes) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::extract::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing_of_itself() {
        async fn panics() -> &'static str {
            panic!("klt_secret")
        }
        let router: Router = around(Router::new().route("/panics", get(panics)));
        let request = Request::get("/panics").body(Body::empty()).unwrap();
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert_eq!(parts.status, 500);
        assert_eq!(parts.headers[CONTENT_TYPE], "application/problem+json");
        assert!(
            text.contains(r#""code":"internal""#) && !text.contains("klt_"),
            "{text}"
        );
    }
}
