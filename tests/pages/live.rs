//! What an open page is told: the newest state, as long as the session lasts.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::activity::request;
use super::browser::{Browser, hidden};
use super::operator::operator;
use crate::http::stage::{Stage, id_of, secret_of};
use crate::sse::{Messages, field};

/// A page's stream.
struct Listener(Messages);

impl Listener {
    async fn to(stage: &Stage, browser: &Browser, path: &str) -> Result<Listener, u16> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let asked = Request::get(format!("http://{}{path}", stage.address))
            .header("cookie", &browser.cookie)
            .header("sec-fetch-site", "same-origin")
            .body(Empty::new())
            .unwrap();
        let response = client.request(asked).await.unwrap();
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Ok(Listener(Messages::of(response.into_body())))
    }

    /// The next message, and nothing when the stream is over.
    async fn next(&mut self) -> Option<String> {
        self.0.next().await
    }

    /// The next state that is told.
    async fn state(&mut self) -> Value {
        let message = self.next().await.expect("the stream goes on");
        let data = field(&message, "data");
        serde_json::from_str(data.unwrap_or_else(|| panic!("no data in {message}"))).unwrap()
    }
}

#[tokio::test]
async fn an_open_page_hears_of_a_charge() {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("10").await;
    let id = id_of(&key["key"]);
    let ada = Browser::inside(&stage, &account).await;
    let grace = operator(&stage).await;
    let through = format!(
        "/portal/operator/accounts/{}/pages/live",
        account.rsplit('/').next().unwrap()
    );
    let (_, other) = stage.customer("10").await;
    let keys = format!("keys={id},{}", id_of(&other["key"]));
    let mut hers = Listener::to(&stage, &ada, &format!("/portal/live?{keys}"))
        .await
        .unwrap();
    let mut seen = Listener::to(&stage, &grace, &format!("{through}?{keys}"))
        .await
        .unwrap();
    for listener in [&mut hers, &mut seen] {
        let first = listener.state().await;
        assert_eq!(first["available"], "10");
        assert!(
            first["keys"].as_array().unwrap().len() <= 1,
            "another account's key is none here"
        );
    }
    request(&stage, &account, secret_of(&key), "203.0.113.0/24", true).await;
    for listener in [&mut hers, &mut seen] {
        loop {
            let state = listener.state().await;
            if state["available"] == "9.5" && state["held"] == "0" && state["keys"][0]["uses"] == "1" {
                assert!(state["keys"][0]["last_used"].as_str().unwrap().ends_with('Z'));
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_stream_is_for_its_own_session_as_long_as_that_lasts() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let mut stream = Listener::to(&stage, &ada, "/portal/live").await.unwrap();
    assert_eq!(stream.state().await["available"], "10");
    // So many at once, and no more.
    let mut more = Vec::new();
    for _ in 0..5 {
        more.push(Listener::to(&stage, &ada, "/portal/live").await.unwrap());
    }
    assert_eq!(Listener::to(&stage, &ada, "/portal/live").await.err(), Some(429));
    let page = ada.page("/portal/keys").await;
    ada.post("/portal/sign-out", &[("token", hidden(&page, "token"))]).await;
    while let Some(message) = stream.next().await {
        if message.contains("event: end") {
            assert_eq!(stream.next().await, None, "nothing comes after the end");
            break;
        }
    }
    assert_eq!(Listener::to(&stage, &ada, "/portal/live").await.err(), Some(401));
    assert_eq!(
        Listener::to(&stage, &Browser::new(&stage), "/portal/live").await.err(),
        Some(401)
    );
    let bob = Browser::inside(&stage, &account).await;
    assert_eq!(Listener::to(&stage, &bob, "/portal/live?keys=x").await.err(), Some(404));
    let foreign = [("cookie", bob.cookie.as_str()), ("sec-fetch-site", "cross-site")];
    let refused = stage
        .stranger()
        .send(http::Method::GET, "/portal/live", &foreign, "")
        .await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn streams_end_when_the_process_stops() {
    let mut stage = Stage::open().await;
    let (account, _) = stage.customer("10").await;
    let ada = Browser::inside(&stage, &account).await;
    let mut stream = Listener::to(&stage, &ada, "/portal/live").await.unwrap();
    stream.state().await;
    stage.stop.cancel();
    while stream.next().await.is_some() {}
    // The server has nothing to wait for: it gives answers under way ten seconds, and this one needs none of them.
    (&mut stage.served).await.unwrap();
}
