//! How somebody looks at a page: on what, in which light, with or without scripts.

use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    pub scripts: bool,
}

impl View {
    pub const DESKTOP: View = View {
        width: 1280,
        height: 900,
        dark: false,
        scripts: true,
    };
    /// The narrowest that counts.
    pub const PHONE: View = View {
        width: 320,
        height: 640,
        ..View::DESKTOP
    };

    pub fn dark(self) -> View {
        View { dark: true, ..self }
    }

    pub fn without_scripts(self) -> View {
        View { scripts: false, ..self }
    }

    /// Names screenshots.
    pub fn name(self) -> String {
        let light = if self.dark { "dark" } else { "light" };
        let scripts = if self.scripts { "" } else { "-no-js" };
        format!("{}-{light}{scripts}", self.width)
    }

    pub(super) fn capabilities(self) -> serde_json::Map<String, Value> {
        // 1 is "allow", 2 is "block".
        let scripts = if self.scripts { 1 } else { 2 };
        let chrome = json!({
            "args": [
                "--headless=new",
                // Debian's sandbox does not work for root, which CI is.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--hide-scrollbars",
                "--no-first-run",
                // The browser ends when its driver does.
                "--remote-debugging-pipe",
                format!("--window-size={},{}", self.width, self.height),
            ],
            "prefs": {"profile.default_content_setting_values.javascript": scripts},
        });
        let Value::Object(capabilities) = json!({
            "goog:chromeOptions": chrome,
            "goog:loggingPrefs": {"browser": "ALL"},
            "unhandledPromptBehavior": "ignore",
        }) else {
            unreachable!()
        };
        capabilities
    }
}
