//! Everything that a client can get wrong: each has its own status and code, and none of it leaves a trace in the log.

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

#[tokio::test]
async fn bodies_that_are_no_json() {
    none_of_it_is_taken(|world| {
        let path = format!("{}/grants", world.account);
        let texts = [
            "",
            "{",
            r#"{"amount":"1","source":"plan""#,
            r#"{"amount":"1","source":"plan"} x"#,
            r#"{"amount":"1","source":"plan"}{"amount":"1","source":"plan"}"#,
            "\u{FEFF}{\"amount\":\"1\",\"source\":\"plan\"}",
            r#"{"amount":"1",/* one */"source":"plan"}"#,
            "{'amount':'1','source':'plan'}",
            r#"{"amount":NaN,"source":"plan"}"#,
            r#"{"amount":01,"source":"plan"}"#,
            r#"{"amount":+1,"source":"plan"}"#,
            r#"{"amount":0x10,"source":"plan"}"#,
            r#"{"amount":"1","source":"plan","reference":"\ud800"}"#,
        ];
        let mut table: Vec<Bad> = texts
            .iter()
            .map(|text| post(&path, *text, 400, "invalid-json"))
            .collect();
        for bytes in [
            &b"{\"amount\":\"\xff\"}"[..],
            b"{\"amount\":\"\xc0\xaf\"}",
            b"\xff\xfe{\x00}\x00",
        ] {
            table.push(post(&path, bytes, 400, "invalid-json"));
        }
        table
    })
    .await;
}

#[tokio::test]
async fn bodies_of_another_kind_or_size() {
    none_of_it_is_taken(|world| {
        let path = format!("{}/grants", world.account);
        let body = r#"{"amount":"1","source":"plan"}"#;
        let with = |header: &str, value: &str| Bad {
            body: body.into(),
            ..bad(Method::POST, &path, 415, "unsupported-media-type").header(header, value)
        };
        let huge = format!(
            r#"{{"amount":"1","source":"plan","reference":"{}"}}"#,
            "x".repeat(1 << 20)
        );
        vec![
            with("accept", "*/*"),
            with("content-type", "text/plain"),
            with("content-type", "application/json; charset=utf-16"),
            with("content-type", "application/x-www-form-urlencoded"),
            with("content-type", "application/json").header("content-type", "application/json"),
            with("content-type", "application/json").header("content-encoding", "gzip"),
            post(&path, huge, 413, "body-too-large"),
        ]
    })
    .await;
}

#[tokio::test]
async fn bodies_that_say_something_else() {
    none_of_it_is_taken(|world| {
        let path = format!("{}/grants", world.account);
        let mut table = Vec::new();
        for text in ["null", "[]", r#""x""#, "1", "true"] {
            table.push(post(&path, text, 422, "invalid-body"));
        }
        let deep = format!(
            r#"{{"amount":"1","source":{}{}}}"#,
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        let wide = format!(r#"{{"amount":"1","source":[{}1]}}"#, "1,".repeat(100_000));
        let many: Vec<String> = (0..50_000).map(|n| format!("\"k{n}\":1")).collect();
        table.push(post(&path, format!("{{{}}}", many.join(",")), 422, "invalid-body"));
        for (body, field) in [
            (r#"{"amount":"1"}"#, "source"),
            (r#"{"source":"plan"}"#, "amount"),
            (r#"{"amount":"1","source":"gift"}"#, "source"),
            (r#"{"amount":"1","source":1}"#, "source"),
            (&deep, "source"),
            (&wide, "source"),
            (r#"{"amount":"1","source":"plan","__proto__":{}}"#, "__proto__"),
            (r#"{"amount":"1","source":"plan","tenant_id":"x"}"#, "tenant_id"),
            (r#"{"amount":"1","source":"plan","source":"plan"}"#, "source"),
            (r#"{"amount":"1","source":"plan","priority":3000000000}"#, "priority"),
            (r#"{"amount":"1","source":"plan","priority":1.5}"#, "priority"),
            (r#"{"amount":"1","source":"plan","priority":"1"}"#, "priority"),
            (r#"{"amount":"1","source":"plan","reference":""}"#, "reference"),
            (r#"{"amount":"1","source":"plan","reference":"a\u0000b"}"#, "reference"),
            (r#"{"amount":"1","source":"plan","reference":"a\nb"}"#, "reference"),
            (r#"{"amount":"1","source":"plan","expires_at":"soon"}"#, "expires_at"),
            (
                r#"{"amount":"1","source":"plan","expires_at":"2099-06-30T23:59:60Z"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":"10000-01-01T00:00:00Z"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":"1969-12-31T00:00:00Z"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":"2099-01-01T24:00:00Z"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":"2099-01-01T10:00:00"}"#,
                "expires_at",
            ),
            (
                r#"{"amount":"1","source":"plan","expires_at":4070908800}"#,
                "expires_at",
            ),
        ] {
            let code = if field == "amount" {
                "invalid-amount"
            } else {
                "invalid-body"
            };
            table.push(post(&path, body, 422, code).field(field));
        }
        let long = format!(r#"{{"amount":"1","source":"plan","reference":"{}"}}"#, "é".repeat(129));
        table.push(post(&path, long, 422, "invalid-body").field("reference"));
        let past = r#"{"amount":"1","source":"plan","expires_at":"2020-01-01T00:00:00Z"}"#;
        table.push(post(&path, past, 422, "in-the-past").field("expires_at"));
        table
    })
    .await;
}

#[tokio::test]
async fn amounts_that_are_none() {
    none_of_it_is_taken(|world| {
        let grants = format!("{}/grants", world.account);
        let mut values: Vec<String> = [
            "0", "-1", "-0", "1e3", "NaN", " 1", "1 ", "+1", ".5", "5.", "01", "1,5", "0x10",
        ]
        .iter()
        .map(|text| format!("\"{text}\""))
        .collect();
        for text in [
            "",
            "0.5000001",
            "9000000000.000001",
            "9223372036854775808",
            "18446744073709551616",
            "٣",
        ] {
            values.push(format!("\"{text}\""));
        }
        values.push(format!("\"1{}\"", "0".repeat(30)));
        values.push(format!("\"{}\"", "9".repeat(400)));
        values.extend(["1", "1.5", "1e3", "-1", "true", "null", "[]", "{}", r#""1\u0000""#].map(str::to_owned));
        let mut table = Vec::new();
        for value in values {
            let body = format!(r#"{{"amount":{value},"source":"plan"}}"#);
            table.push(post(&grants, body, 422, "invalid-amount").field("amount"));
        }
        let twice = r#"{"amount":"1","amount":"2","source":"plan"}"#;
        table.push(post(&grants, twice, 422, "invalid-amount").field("amount"));
        for limit in ["\"-1\"", "1", "\"1e3\""] {
            let body = format!(r#"{{"name":"x","credit_limit":{limit}}}"#);
            table.push(post("/v1/accounts", body, 422, "invalid-amount").field("credit_limit"));
        }
        // One grant more than an account can hold.
        let most = r#"{"amount":"9000000000","source":"plan"}"#;
        table.push(post(&grants, most, 422, "out-of-range").field("amount"));
        table
    })
    .await;
}

#[tokio::test]
async fn names_that_are_none() {
    none_of_it_is_taken(|world| {
        let keys = format!("{}/keys", world.account);
        let mut names: Vec<String> = [
            "",
            "   ",
            "a\u{0}b",
            "a\nb",
            "a\u{202E}b",
            "a\u{2066}b",
            "a\u{200B}b",
            "a\u{FEFF}b",
        ]
        .map(str::to_owned)
        .to_vec();
        names.extend(["a\u{E0041}b", "a\u{85}b", "a\u{2028}b"].map(str::to_owned));
        names.extend([
            "x".repeat(81),
            "x".repeat(10 << 10),
            format!("a{}", "\u{301}".repeat(1_000)),
        ]);
        let mut table = Vec::new();
        for name in names {
            let body = json!({"name": name}).to_string();
            table.push(post(&keys, body.clone(), 422, "invalid-name").field("name"));
            table.push(post("/v1/accounts", body.clone(), 422, "invalid-name").field("name"));
            table.push(Bad {
                method: Method::PATCH,
                ..post(&world.key, body, 422, "invalid-name").field("name")
            });
        }
        table.push(post(&keys, r#"{"name":5}"#, 422, "invalid-name").field("name"));
        table.push(post(&keys, r#"{"name":"x","environment":"prod"}"#, 422, "invalid-body").field("environment"));
        table.push(post(&keys, r#"{"name":"x","account":"y"}"#, 422, "invalid-body").field("account"));
        let past = r#"{"name":"x","expires_at":"2020-01-01T00:00:00Z"}"#;
        table.push(post(&keys, past, 422, "in-the-past").field("expires_at"));
        table
    })
    .await;
}

#[tokio::test]
async fn ids_that_nobody_has_and_that_nobody_can_have() {
    none_of_it_is_taken(|world| {
        let unknown = "01JDE5Z8W4M3X7Q2V9T6R1K0PA";
        let mut ids = vec![
            unknown.to_owned(),
            unknown.to_lowercase(),
            "1".to_owned(),
            "x".repeat(10 << 10),
        ];
        ids.extend(
            [
                "..%2f..%2fetc",
                "%00",
                "%ff",
                "'%20or%201=1--",
                "00000000-0000-0000-0000-000000000000",
            ]
            .map(str::to_owned),
        );
        ids.push(format!("{unknown}%20"));
        let mut table = Vec::new();
        for id in ids {
            // Bytes that are no UTF-8 name nothing at all.
            let code = |code| if id == "%ff" { "not-found" } else { code };
            for rest in [
                "",
                "/keys",
                "/grants",
                "/balance",
                "/reservations",
                "/charges",
                "/events",
            ] {
                let path = format!("/v1/accounts/acct_{id}{rest}");
                table.push(get(path, 404, code("unknown-account")));
            }
            let grant = r#"{"amount":"1","source":"plan"}"#;
            table.push(post(
                &format!("/v1/accounts/acct_{id}/grants"),
                grant,
                404,
                code("unknown-account"),
            ));
            let name = r#"{"name":"x"}"#;
            table.push(post(
                &format!("/v1/accounts/acct_{id}/keys"),
                name,
                404,
                code("unknown-account"),
            ));
            let key = format!("{}/keys/key_{id}", world.account);
            table.push(bad(Method::DELETE, &key, 404, code("unknown-key")));
            table.push(get(format!("{key}/history"), 404, code("unknown-key")));
            let reservation = format!("{}/reservations/rsv_{id}", world.account);
            table.push(get(&reservation, 404, code("unknown-reservation")));
            table.push(post(
                &format!("{reservation}/charge"),
                "{}",
                404,
                code("unknown-reservation"),
            ));
        }
        // Another account's own things are as unknown.
        let other = &world.other_account;
        table.push(bad(
            Method::DELETE,
            format!("{other}/keys/{}", world.key_id),
            404,
            "unknown-key",
        ));
        table.push(get(
            format!("{other}/keys/{}/history", world.key_id),
            404,
            "unknown-key",
        ));
        let settle = format!("{other}/reservations/{}/charge", world.reservation);
        table.push(post(&settle, "{}", 404, "unknown-reservation"));
        table
    })
    .await;
}

#[tokio::test]
async fn malformed_and_unknown_ids_have_the_same_answer() {
    let stage = Stage::open().await;
    let world = world(&stage).await;
    for (malformed, unknown) in [
        (
            "/v1/accounts/x".to_owned(),
            "/v1/accounts/acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA".to_owned(),
        ),
        (
            format!("{}/keys/x/history", world.account),
            format!("{}/keys/key_01JDE5Z8W4M3X7Q2V9T6R1K0PA/history", world.account),
        ),
        (
            format!("{}/reservations/x", world.account),
            format!("{}/reservations/rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA", world.account),
        ),
    ] {
        assert_eq!(
            stage.operator.get(&malformed).await.text,
            stage.operator.get(&unknown).await.text
        );
    }
    let unknown = "/v1/accounts/acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA/grants";
    let grant = json!({"amount": "1", "source": "plan"});
    let by_rule = stage.operator.post(unknown, grant).await.text;
    assert_eq!(by_rule, stage.operator.get(unknown).await.text);
}

#[tokio::test]
async fn reservations_that_cannot_be() {
    none_of_it_is_taken(|world| {
        let path = "/v1/reservations";
        let (secret, account) = (&world.secret, &world.account_id);
        let with = |rest: &str| format!(r#"{{"account":"{account}","endpoint":"serp"{rest}}}"#);
        let mut table = vec![
            post(path, r#"{"endpoint":"serp"}"#, 422, "invalid-body").field("secret"),
            post(
                path,
                format!(r#"{{"secret":"{secret}","account":"{account}","endpoint":"serp"}}"#),
                422,
                "invalid-body",
            )
            .field("account"),
            post(path, format!(r#"{{"account":"{account}"}}"#), 422, "invalid-body").field("endpoint"),
            post(
                path,
                format!(r#"{{"account":"{account}","endpoint":"Nope!"}}"#),
                422,
                "invalid-body",
            )
            .field("endpoint"),
            post(
                path,
                format!(r#"{{"account":"{account}","endpoint":"nope"}}"#),
                404,
                "unknown-endpoint",
            ),
            post(path, r#"{"account":"x","endpoint":"serp"}"#, 422, "invalid-body").field("account"),
            // The text of a key where it does not belong comes back nowhere.
            post(
                path,
                format!(r#"{{"account":"{secret}","endpoint":"serp"}}"#),
                422,
                "invalid-body",
            )
            .field("account"),
            post(
                path,
                format!(r#"{{"account":"{account}","endpoint":"{secret}"}}"#),
                422,
                "invalid-body",
            ),
            post(
                path,
                format!(r#"{{"{secret}":"x","endpoint":"serp"}}"#),
                422,
                "invalid-body",
            ),
            post(path, with(r#","quantity":1000000000"#), 402, "insufficient-credits"),
            post(path, with(r#","quantity":21"#), 402, "insufficient-credits"),
        ];
        for quantity in [
            "0",
            "-1",
            "1.5",
            "1e3",
            "\"1\"",
            "1000000001",
            "18446744073709551616",
            "true",
        ] {
            let body = with(&format!(r#","quantity":{quantity}"#));
            table.push(post(path, body, 422, "invalid-body").field("quantity"));
        }
        for ttl in ["0", "-1", "86401", "1000000000", "\"soon\"", "1.5"] {
            let body = with(&format!(r#","ttl_seconds":{ttl}"#));
            table.push(post(path, body, 422, "invalid-body").field("ttl_seconds"));
        }
        for id in [
            "x",
            "rsv_",
            "rsv_01jde5z8w4m3x7q2v9t6r1k0pa",
            "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA",
        ] {
            table.push(post(path, with(&format!(r#","id":"{id}""#)), 422, "invalid-body").field("id"));
        }
        let old = with(r#","id":"rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA""#);
        table.push(post(path, old, 422, "reservation-id-not-timely"));
        let settle = format!("{}/reservations/{}", world.account, world.reservation);
        let charge = format!("{settle}/charge");
        table.push(post(&charge, r#"{"quantity":2}"#, 422, "charge-exceeds-reservation"));
        table.push(post(&charge, r#"{"quantity":-1}"#, 422, "invalid-body").field("quantity"));
        table.push(post(&charge, r#"{"amount":"1"}"#, 422, "invalid-body").field("amount"));
        let release = format!("{settle}/release");
        table.push(post(&release, "{}", 422, "invalid-body").field("cause"));
        table.push(post(&release, r#"{"cause":"account-closed"}"#, 422, "invalid-body").field("cause"));
        table
    })
    .await;
}

#[tokio::test]
async fn key_texts_that_are_no_keys_have_one_answer() {
    let stage = Stage::open().await;
    let world = world(&stage).await;
    let before = stage.harness.log().head().await.unwrap();
    let unknown = keyledger_events::base62_secret("sk_live_", [7; 32]);
    let mut typo = world.secret.clone();
    typo.replace_range(20..21, if &typo[20..21] == "a" { "b" } else { "a" });
    let mut answers = Vec::new();
    for text in [
        unknown.as_str(),
        &typo,
        "",
        "sk_live_",
        "\u{0}",
        "'; drop table events",
        &"x".repeat(10_000),
    ] {
        let answer = stage
            .operator
            .post("/v1/reservations", json!({"secret": text, "endpoint": "serp"}))
            .await;
        assert_eq!(answer.problem(401), "key-invalid");
        answers.push(answer.text);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(stage.harness.log().head().await.unwrap(), before);
}

#[tokio::test]
async fn queries_that_are_none() {
    none_of_it_is_taken(|world| {
        let account = &world.account;
        let mut table = Vec::new();
        for list in ["keys", "grants", "reservations", "charges", "events"] {
            let path = format!("{account}/{list}");
            for limit in ["0", "-1", "1000000000", "201", "abc", "", "1.5", "+5"] {
                let path = format!("{path}?limit={limit}");
                table.push(get(path, 422, "invalid-query").field("limit"));
            }
            table.push(get(format!("{path}?limit=1&limit=1"), 422, "invalid-query").field("limit"));
            table.push(get(format!("{path}?order=asc"), 422, "invalid-query").field("order"));
            for cursor in ["", "x", "AAAA", "%00", "MTIzNDU2Nzg5MA", &"A".repeat(2_000)] {
                table.push(get(format!("{path}?cursor={cursor}"), 400, "bad-cursor").field("cursor"));
            }
            for after in [
                "",
                "-1",
                "abc",
                "812",
                "0:-1",
                "0:18446744073709551616",
                "0:",
                "1:1",
                "0:1:1",
                "%00",
            ] {
                table.push(get(format!("{path}?after={after}"), 400, "bad-position").field("after"));
            }
        }
        table.push(get(format!("{account}/keys?state=deleted"), 422, "invalid-query").field("state"));
        table.push(
            bad(
                Method::DELETE,
                format!("{}?reason=rotated", world.key),
                422,
                "invalid-query",
            )
            .field("reason"),
        );
        table.push(bad(Method::DELETE, format!("{}?why=x", world.key), 422, "invalid-query").field("why"));
        table.push(get("/v1/events?from=0", 422, "invalid-query").field("from"));
        table.push(get("/v1/events?from=-1", 422, "invalid-query").field("from"));
        table.push(get("/v1/events?shard=1", 404, "not-found"));
        table.push(get("/v1/events?shard=70000", 422, "invalid-query").field("shard"));
        table
    })
    .await;
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_only() {
    let stage = Stage::open().await;
    let world = world(&stage).await;
    let page = stage
        .operator
        .get(&format!("{}/events?limit=1", world.account))
        .await
        .json(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    for path in [format!("{}/events", world.other_account), "/v1/events".to_owned()] {
        let answer = stage.operator.get(&format!("{path}?cursor={cursor}")).await;
        assert_eq!(answer.problem(400), "bad-cursor");
    }
}

#[tokio::test]
async fn callers_that_are_none() {
    none_of_it_is_taken(|world| {
        let path = format!("{}/balance", world.account);
        let unknown = keyledger_events::base62_secret("klt_", [7; 32]);
        let mut table = Vec::new();
        for value in [
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            "Basic b3BlcmF0b3I6eA==".to_owned(),
            "Bearer\tx".to_owned(),
            format!("Bearer {unknown}"),
            format!("Bearer {}x", &unknown[..unknown.len() - 1]),
            format!("Bearer {}", "x".repeat(8 << 10)),
            format!("Bearer {}", world.secret),
            "Bearer é".to_owned(),
        ] {
            table.push(get(&path, 401, "token-invalid").header("authorization", &value));
        }
        table.push(
            get(&path, 401, "token-invalid")
                .header("authorization", "Bearer a")
                .header("authorization", "Bearer b"),
        );
        // A stranger is told so before anything of the request is looked at.
        let grants = format!("{}/grants", world.account);
        table.push(post(&grants, "{", 401, "token-invalid").header("authorization", "Bearer x"));
        table.push(get("/v1/accounts/x", 401, "token-invalid").header("authorization", "Bearer x"));
        table
    })
    .await;
}

#[tokio::test]
async fn strangers_are_asked_for_a_token() {
    let stage = Stage::open().await;
    for path in ["/v1/accounts", "/v1/events", "/v1/prices", "/v1/accounts/x/balance"] {
        let answer = stage.stranger().get(path).await;
        assert_eq!(answer.problem(401), "token-missing");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn idempotency_keys_that_are_none() {
    none_of_it_is_taken(|world| {
        let grants = (format!("{}/grants", world.account), r#"{"amount":"1","source":"plan"}"#);
        let keys = (format!("{}/keys", world.account), r#"{"name":"x"}"#);
        let mut table = Vec::new();
        for (path, body) in [grants, keys] {
            let wrong = || post(&path, body, 400, "bad-idempotency-key").field("Idempotency-Key");
            for key in ["", "a b", "é", "a\tb", &"x".repeat(256)] {
                table.push(wrong().header("idempotency-key", key));
            }
            table.push(wrong().header("idempotency-key", "a").header("idempotency-key", "a"));
        }
        table
    })
    .await;
}

#[tokio::test]
async fn addresses_and_methods_that_are_none() {
    none_of_it_is_taken(|world| {
        let mut table = Vec::new();
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v0/accounts",
            "/v1/accounts/",
            "/v1/../admin",
            "//v1/accounts",
            "/debug",
            "/v1/accounts/%2e%2e/%2e%2e/etc",
        ] {
            table.push(get(path, 404, "not-found"));
        }
        for (method, path) in [
            (Method::PUT, "/v1/accounts".to_owned()),
            (Method::TRACE, "/v1/accounts".to_owned()),
            (Method::OPTIONS, "/v1/accounts".to_owned()),
            ("FOO".parse().unwrap(), "/v1/accounts".to_owned()),
            (Method::DELETE, world.account.clone()),
            (Method::POST, "/healthz".to_owned()),
            (Method::PUT, "/v1/prices".to_owned()),
            (Method::GET, "/v1/charges".to_owned()),
        ] {
            table.push(bad(method, path, 405, "method-not-allowed"));
        }
        table
    })
    .await;
    let stage = Stage::open().await;
    let answer = stage.operator.send(Method::PUT, "/v1/accounts", &[], "").await;
    let mut allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn harmless_names_are_kept_as_they_are() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    for name in [
        "<script>alert(1)</script>",
        "{{7*7}} ${jndi:ldap://x}",
        "' OR 1=1--",
        "=cmd|'/c calc'!A1",
        "👩‍👩‍👧 שלום العربية ไทย 𠮷",
    ] {
        let made = stage
            .operator
            .post(&format!("{account}/keys"), json!({"name": name}))
            .await;
        assert_eq!(made.json(201)["key"]["name"], name);
    }
}
