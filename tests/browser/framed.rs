//! The pages inside another site's page: refused, but for the sites that the platform names.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use fantoccini::Locator;
use keyledger::config::PagesConfig;
use serde_json::json;
use tokio::net::TcpListener;

use super::{Browser, View};
use crate::harness::until;
use crate::http::stage::Stage;
use crate::pages::browser::invite;

/// Another site, whose only page shows an address in a frame. `localhost` is another site than `127.0.0.1`.
async fn site_around(framed: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let page = format!(
        "<!doctype html><html lang=en><title>A platform</title><link rel=icon href=data:,>\
         <main><h1>A platform</h1><iframe id=frame width=900 height=600 title=Keys src='{framed}'></iframe></main>"
    );
    let page = Router::new().route("/", get(async move || Html(page)));
    tokio::spawn(async move { axum::serve(listener, page).await });
    format!("http://localhost:{port}/")
}

/// What the frame says in the end.
async fn in_the_frame(browser: &Browser) -> String {
    let frame = browser.client.find(Locator::Css("#frame")).await.unwrap();
    frame.enter_frame().await.unwrap();
    let text = browser.text("body").await;
    browser.client.enter_parent_frame().await.unwrap();
    text
}

async fn link_of(stage: &Stage) -> String {
    let (account, _) = stage.customer("10").await;
    let link = invite(stage, &account, json!({"name": "Ada"})).await;
    format!("http://{}{link}", stage.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_another_site_shows_nothing_of_the_pages() {
    let stage = Stage::open().await;
    let around = site_around(link_of(&stage).await).await;
    let browser = Browser::open(View::DESKTOP).await;
    browser.goto(&around).await;
    until("the browser refuses the frame", async || {
        let complaints = browser.complaints().await.join("\n");
        complaints.contains("frame-ancestors") || complaints.contains("X-Frame-Options")
    })
    .await;
    assert!(!in_the_frame(&browser).await.contains("API access"));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_a_site_that_is_named_shows_the_pages() {
    let config = PagesConfig {
        // Makes the cookie one for frames; browsers take this machine's own addresses for safe.
        public_url: Some("https://keys.example.com".to_owned()),
        frame_ancestors: vec!["http://localhost:*".to_owned()],
        ..PagesConfig::default()
    };
    let stage = Stage::with_pages(config).await;
    let around = site_around(link_of(&stage).await).await;
    let browser = Browser::open(View::DESKTOP).await;
    browser.goto(&around).await;
    until("the list is in the frame", async || {
        in_the_frame(&browser).await.contains("Looker Studio")
    })
    .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}
