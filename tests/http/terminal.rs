//! The API from a terminal: `keyledger keys list` and the like, against a real service.

use keyledger::tokens::Role;
use keyledger_events::TokenId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::stage::{Stage, id_of};
use crate::service::process::KEYLEDGER;

struct Said {
    code: i32,
    out: String,
    error: String,
}

impl Said {
    fn done(&self) -> &str {
        assert_eq!(self.code, 0, "{}{}", self.out, self.error);
        &self.out
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.done()).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

struct Terminal {
    url: String,
    token: String,
}

impl Terminal {
    fn of(stage: &Stage) -> Terminal {
        Terminal {
            url: format!("http://{}", stage.address),
            token: stage.operator_token.1.clone(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(KEYLEDGER);
        command
            .args(arguments)
            .env("KEYLEDGER_URL", &self.url)
            .env("KEYLEDGER_TOKEN", &self.token);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        let ran = self.command(arguments).output().await.unwrap();
        Said {
            code: ran.status.code().unwrap(),
            out: String::from_utf8(ran.stdout).unwrap(),
            error: String::from_utf8(ran.stderr).unwrap(),
        }
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json"]].concat()).await.json()
    }
}

/// Waits until the views of an account know everything that there is.
async fn level(stage: &Stage, account: &str) {
    let head = stage.harness.log().head().await.unwrap().position;
    for view in ["keys", "charges", "usage", "reservations", "balance"] {
        let path = format!("/v1/accounts/{account}/{view}?after=0:{head}");
        stage.operator.get(&path).await.json(200);
    }
}

#[tokio::test]
async fn a_customer_lives_in_a_terminal() {
    let stage = Stage::open().await;
    let terminal = Terminal::of(&stage);
    let opened = terminal
        .json(&["accounts", "open", "--name", "Acme", "--external-ref", "crm/1"])
        .await;
    let account = id_of(&opened);
    let granted = terminal
        .run(&["grants", "create", account, "--amount", "10", "--source", "purchase"])
        .await;
    assert!(granted.done().contains("amount      10\n"), "{}", granted.out);
    let limits = [
        "--scopes",
        "serp",
        "--scopes",
        "echo",
        "--rate-limit",
        r#"{"per_second":10,"burst":30}"#,
    ];
    let made = [&["keys", "create", account, "--name", "Looker Studio"], &limits[..]].concat();
    let made = terminal.json(&made).await;
    let (key, secret) = (id_of(&made["key"]), made["secret"].as_str().unwrap());
    assert_eq!(made["key"]["scopes"], json!(["echo", "serp"]));
    let reserve = [
        "reservations",
        "create",
        "--secret",
        secret,
        "--endpoint",
        "serp",
        "--quantity",
        "3",
    ];
    let held = terminal.json(&reserve).await;
    let charge = ["reservations", "charge", account, id_of(&held), "--quantity", "2"];
    assert_eq!(terminal.json(&charge).await["charged"], "1");
    let refund = [
        "refunds",
        "create",
        account,
        id_of(&held),
        "--amount",
        "0.5",
        "--reason",
        "stale",
    ];
    assert_eq!(terminal.json(&refund).await["left"], "0.5");
    terminal
        .run(&["corrections", "create", account, "--amount", "-1", "--reason", "twice"])
        .await
        .done();
    terminal
        .run(&["thresholds", "set", account, "--thresholds", "5"])
        .await
        .done();
    terminal
        .run(&["plans", "start", account, "--amount", "5", "--period", "month"])
        .await
        .done();
    let renamed = terminal.run(&["keys", "rename", account, key, "--name", "BI"]).await;
    let rotated = terminal
        .json(&["keys", "rotate", account, key, "--overlap-seconds", "60"])
        .await;
    assert!(renamed.done().contains("BI"), "{}", renamed.out);
    let changed = terminal
        .json(&["accounts", "change", account, "--null", "external_ref"])
        .await;
    assert_eq!(changed["external_ref"], Value::Null);
    let deleted = terminal
        .run(&[
            "keys",
            "delete",
            account,
            id_of(&rotated["key"]),
            "--reason",
            "compromised",
        ])
        .await;
    deleted.done();
    level(&stage, account).await;
    for (arguments, words) in [
        (&["keys", "list", account, "--state", "all"][..], "compromised"),
        (&["keys", "history", account, key], "keyledger.KeyCreated.v1"),
        (&["accounts", "list", "--search", "Acme"], account),
        (&["accounts", "show", account], "Acme"),
        (&["accounts", "events", account], "keyledger.AccountOpened.v1"),
        (&["balance", "show", account], "corrected  1\n"),
        (&["charges", "list", account, "--endpoint", "serp"], "0.5"),
        (&["grants", "list", account], "purchase"),
        (&["plans", "list", account], "month"),
        (&["thresholds", "show", account], "5"),
        (&["usage", "show", account, "--by", "key"], "released.client-gone"),
        (&["statement", "show", account], "closing_balance"),
        (&["statement", "show", account, "--format", "csv"], "\"so-far\""),
        (&["prices", "show"], "ai_visibility"),
        (&["events", "list", "--from", "1", "--limit", "3"], "next_cursor: "),
        (&["portal-sessions", "create", account], "/portal/open/"),
        (&["reservations", "list", account], "none"),
        (&["service", "alive"], ""),
    ] {
        let said = terminal.run(arguments).await;
        assert!(said.done().contains(words), "{arguments:?}: {}", said.out);
        assert!(
            !said.out.contains(secret) && !said.error.contains(secret),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn a_list_is_a_table_or_the_body_as_it_came_by_page_or_whole() {
    let stage = Stage::open().await;
    let terminal = Terminal::of(&stage);
    let (account, _) = stage.customer("10").await;
    let account = account.rsplit('/').next().unwrap();
    for n in 0..4 {
        terminal
            .run(&["keys", "create", account, "--name", &format!("Key {n}")])
            .await
            .done();
    }
    let position = terminal.json(&["events", "list", "--limit", "200"]).await["items"]
        .as_array()
        .unwrap()
        .len();
    let after = format!("0:{position}");
    let list = ["keys", "list", account, "--limit", "2", "--after", &after];
    let body = stage
        .operator
        .get(&format!("/v1/accounts/{account}/keys?limit=2&after={after}"))
        .await;
    let said = terminal.run(&[&list[..], &["--json"]].concat()).await;
    assert_eq!(said.done(), format!("{}\n", body.text));
    let page = terminal.run(&list).await;
    let lines: Vec<&str> = page.done().lines().collect();
    assert!(lines[0].starts_with("id ") && lines[1].starts_with("key_"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("key_")).count(), 2);
    assert!(lines.last().unwrap().starts_with("next_cursor: "), "{lines:?}");
    let whole = terminal.run(&[&list[..], &["--all"]].concat()).await;
    let lines: Vec<&str> = whole.done().lines().collect();
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("key_")).count(),
        5,
        "{lines:?}"
    );
    assert!(!whole.out.contains("next_cursor"));
    let pages = terminal.run(&[&list[..], &["--all", "--json"]].concat()).await;
    assert_eq!(pages.done().lines().count(), 3, "a body for each page");
}

#[tokio::test]
async fn what_is_refused_says_why_and_what_is_sent_again_happens_once() {
    let stage = Stage::open().await;
    let terminal = Terminal::of(&stage);
    let (account, _) = stage.customer("1").await;
    let account = account.rsplit('/').next().unwrap();
    let grant = ["grants", "create", account, "--amount", "1e3", "--source", "purchase"];
    let said = terminal.run(&grant).await;
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(
        said.error.contains("code invalid-amount, status 422, field amount"),
        "{}",
        said.error
    );
    let unknown = terminal
        .run(&["accounts", "show", "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA"])
        .await;
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.error.contains("code unknown-account, status 404"),
        "{}",
        unknown.error
    );
    // An id is a segment of the path, whatever is in it.
    let elsewhere = terminal.run(&["accounts", "show", "../events?x"]).await;
    assert!(elsewhere.error.contains("unknown-account"), "{}", elsewhere.error);
    let again = ["keys", "create", account, "--name", "A", "--idempotency-key", "once"];
    let first = terminal.json(&again).await;
    let second = terminal.json(&again).await;
    assert_eq!(
        (&first["key"]["id"], &second["secret"]),
        (&second["key"]["id"], &Value::Null)
    );
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), r#"{"name": "B"}"#).unwrap();
    let from_file = ["keys", "create", account, "--body", body.path().to_str().unwrap()];
    assert_eq!(terminal.json(&from_file).await["key"]["name"], "B");
    for wrong in [
        &["keys", "create", account][..],
        &["keys", "create"],
        &["keys"],
        &["keys", "make", account],
        &["grants", "create", account, "--amount", "1", "--source", "gift"],
        &["reservations", "create", "--endpoint", "serp", "--quantity", "many"],
        &["keys", "create", account, "--name", "A", "--body", "x"],
        &["keys", "list", account, "--url", "ftp://127.0.0.1"],
        &["keys", "list", account, "--url", "http://127.0.0.1:1"],
        &["keys", "list", account, "--token-file", "/nowhere/token"],
    ] {
        assert_eq!(terminal.run(wrong).await.code, 2, "{wrong:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_cannot_be_shown_says_how_to_repeat() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let terminal = Terminal {
        url: format!("http://{}", listener.local_addr().unwrap()),
        token: "klt_none".to_owned(),
    };
    let answers = [
        // Broken off, in JSON, in a problem and in what is none; and not what we understand.
        ("201 Created", "application/json", 99, "{\"key\""),
        ("422 Unprocessable Content", "application/problem+json", 99, "{\"code\""),
        ("201 Created", "text/plain", 99, "key"),
        ("201 Created", "application/json", 11, "{\"key\": 1.5"),
        // All of it, for one who cannot write it.
        ("201 Created", "application/json", 11, "{\"key\": \"\"}"),
    ];
    let answering = tokio::spawn(async move {
        for (status, kind, length, body) in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            // Wait until all of the request is there: it ends as its body does.
            let mut seen = Vec::new();
            while !seen.ends_with(b"}") {
                assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0);
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}");
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let make = ["keys", "create", "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA", "--name", "A"];
    for (_, kind, _, body) in &answers[..4] {
        let said = terminal.run(&make).await;
        assert_eq!(said.code, 2, "{kind} {body}: {}", said.error);
        assert!(
            said.error.contains("add --idempotency-key "),
            "{kind} {body}: {}",
            said.error
        );
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = terminal.command(&make);
    let running = command.stdout(full).stderr(std::process::Stdio::piped()).spawn();
    let ran = running.unwrap().wait_with_output().await.unwrap();
    let error = String::from_utf8(ran.stderr).unwrap();
    assert!(
        ran.status.code() == Some(2) && error.contains("add --idempotency-key "),
        "{error}"
    );
    answering.await.unwrap();
}

#[tokio::test]
async fn a_token_is_shown_to_nobody_and_decides_what_may_be_done() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1").await;
    let account = account.rsplit('/').next().unwrap();
    let (_, auditor): (TokenId, _) = stage.tokens.create(Role::Auditor, "auditor").await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", auditor.expose_text_to_its_maker())).unwrap();
    let nobody = Terminal {
        token: String::new(),
        ..Terminal::of(&stage)
    };
    level(&stage, account).await;
    let list = ["keys", "list", account];
    let said = nobody.run(&list).await;
    assert!(said.code == 1 && said.error.contains("token-missing"), "{}", said.error);
    let by_file = ["--token-file", file.path().to_str().unwrap()];
    nobody.run(&[&list[..], &by_file].concat()).await.done();
    let make = [&["keys", "create", account, "--name", "A"][..], &by_file].concat();
    let said = nobody.run(&make).await;
    assert!(said.code == 1 && said.error.contains("forbidden"), "{}", said.error);
    let wrong = Terminal {
        token: "klt_\u{7f}secret".to_owned(),
        ..Terminal::of(&stage)
    };
    let said = wrong.run(&list).await;
    assert!(said.code == 2 && !said.error.contains("secret"), "{}", said.error);
    let help = Terminal::of(&stage).run(&["keys", "create", "--help"]).await;
    assert!(help.done().contains("POST /v1/accounts/{account}/keys") && !help.out.contains(&stage.operator_token.1));
    // Away, after the request may have been carried out: how to say it again is told.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let deaf = Terminal {
        url: format!("http://{}", listener.local_addr().unwrap()),
        ..Terminal::of(&stage)
    };
    let hung_up = tokio::spawn(async move {
        for _ in 0..2 {
            drop(listener.accept().await.unwrap());
        }
    });
    let said = deaf.run(&["keys", "create", account, "--name", "A"]).await;
    let held = ["charges", "create", "--account", account, "--endpoint", "serp"];
    let charged = deaf.run(&held).await;
    hung_up.await.unwrap();
    assert_eq!((said.code, charged.code), (2, 2));
    assert!(said.error.contains("--idempotency-key "), "{}", said.error);
    // Where what is made can be named, its name is what makes it the same.
    let (_, id) = charged
        .error
        .split_once("--id ")
        .unwrap_or_else(|| panic!("{}", charged.error));
    let again = [&held[..], &["--id", id.trim()]].concat();
    let there = Terminal::of(&stage);
    assert_eq!(there.json(&again).await["id"], id.trim());
    assert_eq!(there.json(&again).await["available"], "0.5", "charged once");
}
