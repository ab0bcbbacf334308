//! What Chromium's driver can do beyond WebDriver.

use fantoccini::wd::WebDriverCompatibleCommand;
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

#[derive(Debug)]
pub enum Chromium {
    /// Sends a command of the DevTools protocol.
    DevTools(&'static str, Value),
    /// Lines of the browser's console since the last time.
    Console,
}

impl WebDriverCompatibleCommand for Chromium {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let end = match self {
            Chromium::DevTools(..) => "goog/cdp/execute",
            Chromium::Console => "se/log",
        };
        base.join(&format!("session/{}/{end}", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = match self {
            Chromium::DevTools(command, params) => json!({"cmd": command, "params": params}),
            Chromium::Console => json!({"type": "browser"}),
        };
        (Method::POST, Some(body.to_string()))
    }
}
