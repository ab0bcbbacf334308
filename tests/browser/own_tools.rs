//! The tools themselves: a check that cannot fail would be worth nothing.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Browser, View};

const PAGE: &str = "<!doctype html><html lang=en><meta name=viewport content=width=device-width><title>One</title><link rel=icon href=data:,><style>@media (prefers-color-scheme: dark) { h1::after { content: ' at night' } }</style>\
<main><h1>A page</h1><p id=script>no script ran</p><a href=/?next>Next</a><form><label>Name <input id=name name=name></label><button>Go</button></form></main><script>script.textContent = 'a script ran'</script>";
const BAD: &str = "<!doctype html><html><title>Two</title><main><h1>A page</h1><img src=data:,><input><p style='width:2000px'>wide</p>";

async fn site() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/bad", get(async || Html(BAD)));
    tokio::spawn(async move { axum::serve(listener, pages).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_what_the_browser_shows() {
    let site = site().await;
    for (view, script) in [
        (View::DESKTOP, "a script ran"),
        (View::PHONE.dark().without_scripts(), "no script ran"),
    ] {
        let browser = Browser::open(view).await;
        browser.goto(&site).await;
        browser.reads(script).await;
        let width = browser.run("return [window.innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]");
        assert_eq!(width.await, serde_json::json!([view.width, view.dark]));
        assert_eq!(browser.complaints().await, Vec::<String>::new());
        browser.click_said("Next").await;
        browser.arrives_at("/?next").await;
        browser.click("#name").await;
        browser.type_in("#name", "Looker Studio").await;
        browser.click_said("Go").await;
        browser.arrives_at("/?name=Looker+Studio").await;
        browser.find("input").await;
        assert_eq!(browser.count("input").await, 1);
        assert!(!browser.scrolls_sideways().await);
        browser.picture("own-tools").await;
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_shuts_people_out_is_found() {
    let site = site().await;
    let browser = Browser::open(View::DESKTOP).await;
    browser.goto(&site).await;
    browser.is_usable_by_everybody("the good page").await;
    browser.goto(&format!("{site}/bad")).await;
    assert!(browser.scrolls_sideways().await);
    let looking = tokio::spawn(async move { browser.is_usable_by_everybody("the bad page").await });
    let said = looking.await.unwrap_err().into_panic();
    let said = said.downcast_ref::<String>().unwrap();
    for rule in ["image-alt", "label", "html-has-lang"] {
        assert!(said.contains(rule), "{rule} is not in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_moves_by_itself_is_found() {
    let site = site().await;
    let browser = Browser::open(View::DESKTOP).await;
    browser.goto(&site).await;
    browser.stands_still("the good page").await;
    browser
        .run("const late = document.createElement('div'); late.style.height = '300px'; document.body.prepend(late)")
        .await;
    let looking = tokio::spawn(async move { browser.stands_still("the page with a latecomer").await });
    let said = looking.await.unwrap_err().into_panic();
    assert!(said.downcast_ref::<String>().unwrap().contains("moved by"));
}
