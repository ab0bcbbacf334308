//! Everything that a client can get wrong: each has its own status and code, and none of it leaves a trace in the log.

mod addresses;
mod bodies;
mod callers;
mod key_limits;
mod prices;
mod values;

use http::Method;
use serde_json::json;

use crate::http::client::Answer;
use crate::http::stage::{Stage, id_of, secret_of};

/// One wrong request and the answer that it must have.
struct Bad {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    field: Option<&'static str>,
}

/// What the wrong requests are about, all of it real.
struct World {
    account: String,
    account_id: String,
    other_account: String,
    key: String,
    key_id: String,
    secret: String,
    reservation: String,
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn bad(method: Method, path: impl Into<String>, status: u16, code: &'static str) -> Bad {
    Bad {
        method,
        path: path.into(),
        headers: Vec::new(),
        body: Vec::new(),
        status,
        code,
        field: None,
    }
}

fn post(path: &str, body: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Bad {
    Bad {
        body: body.into(),
        ..bad(Method::POST, path, status, code).header(JSON.0, JSON.1)
    }
}

fn get(path: impl Into<String>, status: u16, code: &'static str) -> Bad {
    bad(Method::GET, path, status, code)
}

impl Bad {
    fn header(mut self, name: &str, value: &str) -> Bad {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn field(mut self, field: &'static str) -> Bad {
        self.field = Some(field);
        self
    }

    async fn send(&self, stage: &Stage) -> Answer {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let path = &self.path;
        stage
            .operator
            .send(self.method.clone(), path, &headers, self.body.clone())
            .await
    }

    fn check(&self, answer: &Answer, world: &World, token: &str) {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(100)]).into_owned();
        let request = format!("{} {} {:?} {body}", self.method, self.path, self.headers);
        let told = format!("{request}\n{} {}", answer.status, answer.text);
        assert_eq!(answer.status, self.status, "{told}");
        assert_eq!(answer.problem(self.status), self.code, "{told}");
        assert!(answer.text.len() <= 1_024, "{told}");
        assert!(
            !answer.text.contains(&world.secret) && !answer.text.contains(token),
            "{told}"
        );
        if let Some(field) = self.field {
            assert_eq!(answer.json(self.status)["field"], field, "{told}");
        }
    }
}

async fn world(stage: &Stage) -> World {
    let (account, made) = stage.customer("10").await;
    let (other_account, _) = stage.customer("10").await;
    let reserve = json!({"secret": secret_of(&made), "endpoint": "serp"});
    let held = stage.operator.post("/v1/reservations", reserve).await;
    let position = held.position().to_owned();
    let held = held.json(201);
    stage
        .operator
        .get(&format!("{account}/keys?after={position}"))
        .await
        .json(200);
    World {
        account_id: account.rsplit('/').next().unwrap().to_owned(),
        key: format!("{account}/keys/{}", id_of(&made["key"])),
        key_id: id_of(&made["key"]).to_owned(),
        secret: secret_of(&made).to_owned(),
        reservation: id_of(&held).to_owned(),
        account,
        other_account,
    }
}

/// Sends all of it, and looks whether the log has moved.
async fn none_of_it_is_taken(table: impl Fn(&World) -> Vec<Bad>) {
    let stage = Stage::open().await;
    let world = world(&stage).await;
    let before = stage.harness.log().head().await.unwrap();
    for bad in table(&world) {
        bad.check(&bad.send(&stage).await, &world, &stage.operator_token.1);
    }
    assert_eq!(
        stage.harness.log().head().await.unwrap(),
        before,
        "something was written"
    );
}
