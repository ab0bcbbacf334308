//! What operators and developers see: health, figures, the document, the pages, the end.

use std::time::Duration;

use http::Method;
use keyledger::problem::ALL;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::stage::Stage;

#[tokio::test]
async fn health_and_figures_need_no_token() {
    let stage = Stage::open().await;
    let stranger = stage.stranger();
    assert_eq!(stranger.get("/healthz").await.text, "ok");
    let ready = stranger.get("/readyz").await.json(200);
    assert_eq!(
        (&ready["ready"], &ready["checks"]["postgres"]["ok"]),
        (&json!(true), &json!(true))
    );
    stage.account().await;
    let figures = stranger.get("/metrics").await;
    assert!(figures.header("content-type").starts_with("text/plain"));
    let line = r#"keyledger_http_requests_total{method="POST",path="/v1/accounts",status="201"}"#;
    assert!(figures.text.contains(line), "{}", figures.text);
}

#[tokio::test]
async fn a_process_that_is_not_ready_says_so() {
    let stage = Stage::with_health(false).await;
    assert_eq!(stage.stranger().get("/readyz").await.json(503)["ready"], json!(false));
}

#[tokio::test]
async fn the_document_is_served_and_every_route_in_it_answers() {
    let stage = Stage::open().await;
    let stranger = stage.stranger();
    let document = stranger.get("/openapi.json").await.json(200);
    assert_eq!(document, stranger.get("/v1/openapi.json").await.json(200));
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{code}", "not-found").replace(['{', '}'], "");
            let answer = stranger.send(method.clone(), &path, &[], "").await;
            let expected = match path.as_str() {
                // Proxies show their token elsewhere, and 401 is about their client's key.
                proxies if proxies.starts_with("/v1/forward-auth") => 403,
                callers if callers.starts_with("/v1/") => 401,
                _ => 200,
            };
            assert_eq!(answer.status, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_docs_work_offline() {
    let stage = Stage::open().await;
    let page = stage.stranger().get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("://"), "{}", page.text);
    let script = stage.stranger().get("/docs/swagger-initializer.js").await;
    assert!(script.text.contains("/openapi.json"), "{}", script.text);
}

#[tokio::test]
async fn every_problem_has_a_page() {
    let stage = Stage::open().await;
    for kind in ALL {
        let page = stage.stranger().get(&format!("/problems/{}", kind.code)).await;
        assert_eq!(page.status, 200, "{}", kind.code);
        assert!(page.text.contains(kind.explanation));
    }
    assert_eq!(stage.stranger().get("/problems/none").await.problem(404), "not-found");
}

#[tokio::test]
async fn clients_that_hang_up_leave_nothing_half_done() {
    let stage = Stage::open().await;
    let body = r#"{"name":"Hung up"}"#;
    let request = format!(
        "POST /v1/accounts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        stage.operator_token.1,
        body.len()
    );
    // From before the request is read to after its answer: the handler's future is dropped at every await.
    for pause in 0..60 {
        let mut socket = TcpStream::connect(stage.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_micros(pause * 100)).await;
    }
    let account = stage.account().await;
    let events = stage.operator.get("/v1/events?limit=200").await.json(200);
    let events = events["items"].as_array().unwrap();
    assert!(events.len() > 1 && events.len() <= 61, "{}", events.len());
    assert!(events.iter().all(|event| event["type"] == "keyledger.AccountOpened.v1"));
    assert_eq!(stage.operator.get(&format!("{account}/events")).await.status, 200);
}

#[tokio::test]
async fn the_server_ends_after_the_answers_under_way() {
    let stage = Stage::open().await;
    let mut idle = TcpStream::connect(stage.address).await.unwrap();
    stage.operator.get("/healthz").await;
    stage.stop.cancel();
    tokio::time::timeout(Duration::from_secs(8), stage.served)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(stage.address).await.is_err());
}

#[tokio::test]
async fn a_client_that_dribbles_its_header_is_cut_off() {
    let stage = Stage::open().await;
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhos").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(8), socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stayed open");
}
