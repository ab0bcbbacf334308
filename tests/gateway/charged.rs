//! Data that was delivered is charged, once, at its price.

use super::raw::Stub;
use super::stage::{Stage, charged};

#[tokio::test]
async fn a_delivered_answer_costs_its_price_once() {
    let stage = Stage::open().await;
    let answer = stage.get("/serp?q=shoes").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("credits-charged"), Some("0.5"));
    assert_eq!(answer.header("credits-remaining"), Some("99.5"));
    assert!(answer.whole && answer.json()["results"].is_array());
    assert_eq!(stage.settled(1).await, [charged(1, "0.5")]);
    let used = stage.uses().await.remove(0);
    assert_eq!((used.key, used.endpoint.as_str()), (stage.key, "serp"));
    assert_eq!(used.request.as_deref(), answer.header("x-request-id"));
    assert_eq!(used.network.as_deref(), Some("127.0.0.0/24"));
}

#[tokio::test]
async fn a_streamed_answer_is_charged_when_it_has_ended() {
    let stage = Stage::open().await;
    let answer = stage.get("/serp?q=shoes&stream=1&chunks=5&chunk_ms=20").await;
    assert!(answer.whole && answer.json()["results"].is_array());
    assert_eq!(stage.settled(1).await, [charged(1, "0.5")]);
}

#[tokio::test]
async fn conversations_are_counted_and_the_rest_of_the_hold_returns() {
    let stage = Stage::open().await;
    let plain = stage.get("/ai-visibility/acme?conversations=3").await;
    assert_eq!((plain.status, plain.header("credits-charged")), (200, None));
    let streamed = stage.request(
        "GET",
        "/ai-visibility/acme?conversations=2&stream=1&chunk_ms=5",
        "TE: trailers\r\n",
    );
    let streamed = stage.send(&streamed).await;
    assert_eq!(streamed.trailer("credits-charged"), Some("1"));
    assert_eq!(streamed.trailer("credits-remaining"), Some("97.5"));
    assert_eq!(stage.settled(2).await, [charged(3, "1.5"), charged(2, "1")]);
}

#[tokio::test]
async fn trailers_follow_an_answer_whose_length_was_known() {
    let stage = Stage::open().await;
    let answer = stage
        .send(&stage.request("GET", "/ai-visibility/acme?conversations=4", "TE: trailers\r\n"))
        .await;
    assert!(answer.whole);
    assert_eq!(answer.trailer("credits-charged"), Some("2"));
}

#[tokio::test]
async fn more_than_was_held_for_is_never_charged() {
    let stage = Stage::open().await;
    stage.get("/ai-visibility/acme?conversations=12").await;
    assert_eq!(stage.settled(1).await, [charged(10, "5")]);
}

#[tokio::test]
async fn a_count_in_a_header_is_charged_and_none_is_nothing() {
    let stage = Stage::open().await;
    let counted = stage.get("/conversions?header_count=7").await;
    assert_eq!(counted.header("credits-charged"), Some("0.7"));
    let uncounted = stage.get("/conversions").await;
    assert_eq!(uncounted.header("credits-charged"), Some("0"));
    assert_eq!(stage.settled(2).await, [charged(7, "0.7"), charged(0, "0")]);
}

#[tokio::test]
async fn a_part_a_proxied_copy_and_an_empty_answer_are_data_too() {
    for answer in [
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 203 Non-Authoritative Information\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let stub = Stub::answering(answer).await;
        let stage = Stage::in_front_of(stub.address).await;
        assert!(stage.get("/serp").await.whole, "{answer}");
        assert_eq!(stage.settled(1).await, [charged(1, "0.5")], "{answer}");
    }
}

#[tokio::test]
async fn each_request_of_a_kept_connection_is_charged() {
    let stage = Stage::open().await;
    let kept = format!(
        "GET /serp?q=a HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n\r\n",
        stage.secret
    );
    let last = stage.request("GET", "/serp?q=b", "");
    super::raw::send(stage.gateway, &format!("{kept}{kept}{last}")).await;
    let once = charged(1, "0.5");
    assert_eq!(stage.settled(3).await, [once.clone(), once.clone(), once]);
}

#[tokio::test]
async fn what_is_under_way_when_the_gateway_stops_is_delivered_and_charged() {
    let stage = Stage::open().await;
    let stop = stage.stop.clone();
    let asking = stage.get("/serp?q=a&stream=1&chunks=5&chunk_ms=100");
    let stopping = async {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        stop.cancel();
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    assert!(answer.whole);
    assert_eq!(stage.settled(1).await, [charged(1, "0.5")]);
    stage.served.await.unwrap();
}
