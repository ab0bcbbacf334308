//! A browser and what somebody does with it.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use super::command::Chromium;
use super::driver::Driver;
use super::view::View;

pub struct Browser {
    pub client: Client,
    pub view: View,
    _driver: Driver,
}

/// How long a page has for what a test waits for. Far longer than any page takes, so that a slow machine fails nothing.
const PATIENCE: Duration = Duration::from_secs(30);

impl Browser {
    pub async fn open(view: View) -> Browser {
        let driver = Driver::start().await;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(view.capabilities())
            .connect(&driver.address)
            .await
            .unwrap();
        let browser = Browser {
            client,
            view,
            _driver: driver,
        };
        // Not the driver's own emulation of a phone: there a tap never ends where scripts are off.
        let screen =
            json!({"width": view.width, "height": view.height, "deviceScaleFactor": 1, "mobile": view.width < 600});
        browser.devtools("Emulation.setDeviceMetricsOverride", screen).await;
        let light = if view.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": light}]});
        browser.devtools("Emulation.setEmulatedMedia", media).await;
        browser
    }

    pub async fn devtools(&self, command: &'static str, params: Value) -> Value {
        let answer = self.client.issue_cmd(Chromium::DevTools(command, params));
        // A browser that hangs says over what.
        tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| panic!("{command} had no answer"))
            .unwrap()
    }

    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// The path and query where the browser is.
    pub async fn place(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query}", url.path())
    }

    /// Waits until the browser is there: a click returns before the page that it leads to has begun.
    pub async fn arrives_at(&self, place: &str) {
        crate::harness::until(&format!("the browser is at {place}"), async || {
            self.place().await == place
        })
        .await;
    }

    /// Waits until there is such an element.
    pub async fn find(&self, css: &str) -> Element {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css));
        match found.await {
            Ok(element) => element,
            Err(error) => panic!(
                "{css} never came ({error}) at {}:\n{}",
                self.place().await,
                self.text("body").await
            ),
        }
    }

    /// The button or link that says this, as a person would find it.
    pub async fn find_said(&self, text: &str) -> Element {
        let xpath = format!(
            "//*[self::a or self::button or self::summary][normalize-space(.)='{text}' and not(ancestor::dialog[not(@open)])]"
        );
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::XPath(&xpath));
        match found.await {
            Ok(element) => element,
            Err(error) => panic!(
                "nothing says {text} ({error}) at {}:\n{}",
                self.place().await,
                self.text("body").await
            ),
        }
    }

    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    pub async fn click_said(&self, text: &str) {
        self.find_said(text).await.click().await.unwrap();
    }

    pub async fn type_in(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// The visible text of the first such element.
    pub async fn text(&self, css: &str) -> String {
        match self.client.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    pub async fn shows(&self, text: &str) -> bool {
        self.text("body").await.contains(text)
    }

    /// Waits until the page says so.
    pub async fn reads(&self, text: &str) {
        crate::harness::until(&format!("the page says {text:?}"), async || self.shows(text).await).await;
    }

    pub async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.unwrap().len()
    }

    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap()
    }

    /// The whole page as a picture under `target/screenshots`, for somebody to look at.
    pub async fn picture(&self, name: &str) {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let taken = self.devtools("Page.captureScreenshot", params).await;
        let bytes = BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        let directory = pictures();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}-{}.png", self.view.name())), bytes).unwrap();
    }

    /// What the console says that is an error: blocked resources, scripts that fail.
    pub async fn complaints(&self) -> Vec<String> {
        let lines = self.client.issue_cmd(Chromium::Console).await.unwrap();
        let lines = lines.as_array().cloned().unwrap_or_default();
        let severe = lines.into_iter().filter(|line| line["level"] == "SEVERE");
        severe.map(|line| line["message"].to_string()).collect()
    }

    /// Whether the page is wider than the window.
    pub async fn scrolls_sideways(&self) -> bool {
        let wider = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
        self.run(wider).await == Value::Bool(true)
    }

    pub async fn close(self) {
        self.client.close().await.unwrap();
    }
}

fn pictures() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target")),
        PathBuf::from,
    );
    target.join("screenshots")
}
