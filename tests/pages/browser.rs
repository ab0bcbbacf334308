//! A browser without a script: keeps the cookie, follows redirects, fills forms.

use http::Method;
use serde_json::{Value, json};

use crate::http::client::{Answer, Client};
use crate::http::stage::Stage;

pub struct Browser {
    client: Client,
    pub origin: String,
    pub cookie: String,
}

/// The value of the first attribute after a mark.
pub fn value_after<'a>(text: &'a str, mark: &str, attribute: &str) -> &'a str {
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {text}"));
    let (_, rest) = rest.split_once(&format!("{attribute}=\"")).unwrap();
    rest.split_once('"').unwrap().0
}

pub fn hidden<'a>(page: &'a str, name: &str) -> &'a str {
    value_after(page, &format!("name=\"{name}\""), "value")
}

pub fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Invites somebody to an account's pages: the path of the link.
pub async fn invite(stage: &Stage, account: &str, body: Value) -> String {
    let invited = stage
        .operator
        .post(&format!("{account}/portal-sessions"), body)
        .await
        .json(201);
    let url = invited["url"].as_str().unwrap();
    url.split_once("/portal/")
        .map(|(_, rest)| format!("/portal/{rest}"))
        .unwrap()
}

impl Browser {
    pub fn new(stage: &Stage) -> Browser {
        Browser {
            client: stage.stranger(),
            origin: format!("http://{}", stage.address),
            cookie: String::new(),
        }
    }

    /// A person inside an account's pages.
    pub async fn inside(stage: &Stage, account: &str) -> Browser {
        let link = invite(stage, account, json!({"name": "Ada"})).await;
        let mut browser = Browser::new(stage);
        let entered = browser.open(&link).await;
        browser.follow(&entered).await;
        browser
    }

    /// Follows a link and takes the cookie.
    pub async fn open(&mut self, link: &str) -> Answer {
        let answer = self.get(link).await;
        if let Some((pair, _)) = answer.header("set-cookie").split_once(';') {
            self.cookie = pair.to_owned();
        }
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.client
            .send(Method::GET, path, &[("cookie", &self.cookie)], "")
            .await
    }

    /// A page that has to be there.
    pub async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }

    /// A page with all that it loads, in bytes.
    pub async fn weight(&self, page: &str) -> usize {
        let mut weight = page.len();
        for (mark, attribute) in [
            ("rel=\"stylesheet\"", "href"),
            ("rel=\"icon\"", "href"),
            ("type=\"module\"", "src"),
        ] {
            let asset = self
                .get(&format!("/portal/{}", value_after(page, mark, attribute)))
                .await;
            assert_eq!(asset.status, 200);
            assert!(asset.header("cache-control").contains("immutable"));
            weight += asset.text.len();
        }
        weight
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", &self.origin),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.client.send(Method::POST, path, &headers, body.join("&")).await
    }

    /// Fills the form for a new key and sends it.
    pub async fn generate(&self, name: &str) -> Answer {
        let form = self.page("/portal/keys/new").await;
        let fields = [
            ("token", hidden(&form, "token")),
            ("request", hidden(&form, "request")),
            ("name", name),
            ("environment", "live"),
        ];
        self.post("/portal/keys", &fields).await
    }

    /// Goes where a redirect leads.
    pub async fn follow(&self, answer: &Answer) -> String {
        assert_eq!(answer.status, 303, "{}", answer.text);
        let place = answer.header("location").trim_start_matches("../");
        let place = place.split('#').next().unwrap();
        self.page(&format!("/portal/{place}")).await
    }
}
