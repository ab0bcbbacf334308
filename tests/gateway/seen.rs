//! What a client is told, what an operator sees, and what neither ever shows.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::raw::{Stub, send};
use super::stage::{Stage, charged, released};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn seen_every_refusal_is_a_problem_with_a_request_id() {
    let stage = Stage::with_credits("0.4").await;
    let silent = Stage::in_front_of(Stub::falling_silent_after("").await.address).await;
    let closed = Stage::in_front_of(Stub::answering("").await.address).await;
    let anonymous = "GET /serp HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (answer, status, code) in [
        (send(stage.gateway, anonymous).await, 401, "key-missing"),
        (stage.get("/serp?q=a").await, 402, "insufficient-credits"),
        (stage.get("/nothing").await, 404, "unpriced"),
        (stage.get("//serp").await, 400, "bad-path"),
        (
            stage.send(&stage.request("TRACE", "/serp", "")).await,
            405,
            "method-not-allowed",
        ),
        (closed.get("/serp").await, 502, "upstream-unreachable"),
        (silent.get("/serp").await, 504, "upstream-timeout"),
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("x-request-id").map(str::len), Some(32), "{code}");
    }
}

#[tokio::test]
async fn seen_a_clients_request_id_is_repeated_unless_it_is_a_key() {
    let stage = Stage::open().await;
    let with = |id: &str| stage.request("GET", "/echo", &format!("X-Request-Id: {id}\r\n"));
    assert_eq!(stage.send(&with("abc-1")).await.header("x-request-id"), Some("abc-1"));
    let answer = stage.send(&with(&stage.secret)).await;
    assert_ne!(answer.header("x-request-id"), Some(stage.secret.as_str()));
    let agent = format!("User-Agent: tool/{}\r\n", stage.secret);
    assert_eq!(stage.send(&stage.request("GET", "/echo", &agent)).await.status, 200);
    let kept = format!("{:?}", stage.events().await);
    assert!(!kept.contains(&stage.secret));
}

#[tokio::test]
async fn seen_a_trace_reaches_the_upstream_and_one_is_begun_where_there_is_none() {
    let stub = Stub::answering(OK).await;
    let stage = Stage::in_front_of(stub.address).await;
    let traced = format!("Traceparent: {PARENT}\r\nTracestate: a=b\r\n");
    stage.send(&stage.request("GET", "/serp", &traced)).await;
    stage
        .send(&stage.request("GET", "/serp", "Traceparent: 00-x\r\nTracestate: a=b\r\n"))
        .await;
    let seen = stub.requests();
    let (first, second) = (seen[0].to_ascii_lowercase(), seen[1].to_ascii_lowercase());
    assert!(first.contains(PARENT) && first.contains("tracestate: a=b"), "{first}");
    assert!(
        second.contains("traceparent: 00-") && !second.contains("00-x"),
        "{second}"
    );
    assert!(!second.contains("tracestate"), "{second}");
}

/// One thread, so that a recorder of this thread hears of everything.
#[tokio::test]
async fn seen_figures_are_by_endpoint_and_outcome_and_no_client_invents_a_label() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let stage = Stage::open().await;
    stage.get("/echo").await;
    stage.get("/serp?fail=500&q=invented").await;
    stage.get("/invented").await;
    stage.send(&stage.request("INVENTED", "/echo", "")).await;
    assert_eq!(stage.settled(2).await, [charged(1, "0.5"), released("error")]);
    let text = figures.render();
    for line in [
        "keyledger_gateway_requests_total{endpoint=\"echo\",outcome=\"charged\"} 1",
        "keyledger_gateway_requests_total{endpoint=\"serp\",outcome=\"error\"} 1",
        "keyledger_gateway_requests_total{endpoint=\"none\",outcome=\"unpriced\"} 1",
        "keyledger_gateway_requests_total{endpoint=\"none\",outcome=\"method-not-allowed\"} 1",
        "keyledger_gateway_in_flight 0",
        "keyledger_gateway_hold_seconds_count{endpoint=\"echo\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.to_ascii_lowercase().contains("invented") && !text.contains(&stage.secret));
}
