//! Calls that are sent again under the same key.

use http::Method;
use serde_json::Value;

use crate::http::client::{Answer, Client};

/// A call, and another one that must not hide under the same key.
pub struct Call {
    /// As the OpenAPI document has it: `post /v1/accounts`.
    pub operation: &'static str,
    pub path: String,
    pub body: Value,
    pub other: Other,
    pub status: u16,
    /// What is shown once.
    pub shown_once: Option<&'static str>,
}

pub enum Other {
    Body(Value),
    /// For calls without a body: another address.
    Path(String),
}

pub fn call(operation: &'static str, path: String, body: Value, other: Value, status: u16) -> Call {
    Call {
        operation,
        path,
        body,
        other: Other::Body(other),
        status,
        shown_once: None,
    }
}

impl Call {
    pub fn showing_once(self, member: &'static str) -> Call {
        Call {
            shown_once: Some(member),
            ..self
        }
    }

    pub fn method(&self) -> Method {
        let method = self.operation.split(' ').next().unwrap();
        method.to_uppercase().parse().unwrap()
    }

    pub async fn send(&self, client: &Client, key: &str, path: &str, body: &Value) -> Answer {
        let mut headers = vec![("idempotency-key", key)];
        let text = if body.is_null() {
            String::new()
        } else {
            headers.push(("content-type", "application/json"));
            body.to_string()
        };
        client.send(self.method(), path, &headers, text).await
    }

    pub async fn sent(&self, client: &Client, key: &str) -> Answer {
        self.send(client, key, &self.path, &self.body).await
    }

    pub async fn otherwise(&self, client: &Client, key: &str) -> Answer {
        match &self.other {
            Other::Body(body) => self.send(client, key, &self.path, body).await,
            Other::Path(path) => self.send(client, key, path, &self.body).await,
        }
    }

    /// The answer without what only the first one has.
    pub fn body(&self, answer: &Answer) -> Value {
        let mut body = answer.json(self.status);
        if let Some(member) = self.shown_once {
            body[member] = Value::Null;
            // A new key says that it was not used; of an old one a change does not know.
            for of_new in ["uses", "last_used_at"] {
                body["key"].as_object_mut().map(|key| key.remove(of_new));
            }
            body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        body
    }
}
