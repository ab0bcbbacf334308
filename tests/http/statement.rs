//! Statements: what an account owned, every movement, and what it owns, for ever the same.

use keyledger::tokens::Role;
use keyledger_events::{AccountId, Credits, CreditsExpired, CreditsGranted, Event, GrantId, GrantSource};
use serde_json::{Value, json};

use super::client::Answer;
use super::stage::{Stage, id_of, secret_of};
use crate::projector::appended::append;

/// Micro-credits of a decimal text.
fn micros(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<Credits>().unwrap().micros()
}

fn lines(statement: &Value) -> &Vec<Value> {
    statement["lines"].as_array().unwrap()
}

async fn statement(stage: &Stage, account: &str, query: &str) -> Answer {
    stage.operator.get(&format!("{account}/statement{query}")).await
}

/// Charges the key for some units of half a credit; the charge's id.
async fn charge(stage: &Stage, account: &str, secret: &str, quantity: u64) -> String {
    let reserve = json!({"secret": secret, "endpoint": "ai_visibility", "quantity": 8});
    let held = stage.operator.post("/v1/reservations", reserve).await.json(201);
    let path = format!("{account}/reservations/{}/charge", id_of(&held));
    let charged = stage.operator.post(&path, json!({"quantity": quantity})).await;
    charged.json(200);
    id_of(&held).to_owned()
}

/// A customer to whom everything happened that moves credits, with a hold that is still open.
async fn customer(stage: &Stage) -> (String, Value) {
    let (account, made) = stage.customer("10").await;
    let secret = secret_of(&made);
    let first = charge(stage, &account, secret, 3).await;
    let refund = json!({"amount": "0.5", "reason": "=stale()"});
    let path = format!("{account}/charges/{first}/refund");
    stage.operator.post(&path, refund).await.json(201);
    let id = account.rsplit('/').next().unwrap();
    let direct = json!({"account": id, "endpoint": "echo", "quantity": 2});
    stage.operator.post("/v1/charges", direct).await.json(201);
    for amount in ["-1.25", "0.000001"] {
        let body = json!({"amount": amount, "reason": "Granted twice"});
        let path = format!("{account}/corrections");
        stage.operator.post(&path, body).await.json(201);
    }
    let renamed = json!({"name": "-Ω, \"renamed\""});
    let path = format!("{account}/keys/{}", id_of(&made["key"]));
    stage.operator.patch(&path, renamed).await.json(200);
    let expired = CreditsExpired {
        grant: GrantId::from_parts(1, 1),
        amount: "0.25".parse().unwrap(),
        repays: Credits::ZERO,
    };
    let given = CreditsGranted {
        grant: expired.grant,
        amount: "2".parse().unwrap(),
        priority: 0,
        expires_at: None,
        source: GrantSource::Promotion,
        reference: Some("+spring".to_owned()),
        starts_at: None,
        endpoints: None,
        period: None,
        rolled_over: None,
        reason: None,
        repays: Credits::ZERO,
    };
    let events = vec![Event::from(given), Event::from(expired)];
    append(&stage.harness, id.parse().unwrap(), events).await;
    let reserve = json!({"secret": secret, "endpoint": "serp"});
    stage.operator.post("/v1/reservations", reserve).await.json(201);
    (account, made)
}

/// Opening, lines and closing of a document fit to the micro-credit, and so do all of its sums.
fn adds_up(body: &Value) {
    let mut balance = micros(&body["opening_balance"]);
    for line in body["lines"].as_array().unwrap() {
        balance += micros(&line["amount"]);
        assert_eq!(micros(&line["balance"]), balance, "{line}");
    }
    assert_eq!(micros(&body["closing_balance"]), balance);
    let owned = |sums: &Value| {
        micros(&sums["granted"]) - micros(&sums["charged"]) + micros(&sums["refunded"])
            - micros(&sums["expired"])
            - micros(&sums["corrected"])
    };
    let moved = balance - micros(&body["opening_balance"]);
    assert_eq!(owned(&body["totals"]), moved);
    let days = body["by_day"].as_array().unwrap();
    assert_eq!(days.iter().map(owned).sum::<i64>(), moved);
    for member in ["by_key", "by_endpoint"] {
        let parts = body[member].as_array().unwrap();
        for sum in ["charged", "refunded"] {
            let all: i64 = parts.iter().map(|part| micros(&part[sum])).sum();
            assert_eq!(all, micros(&body["totals"][sum]), "{member} {sum}");
        }
    }
}

#[tokio::test]
async fn every_movement_is_a_line_and_the_lines_add_up_to_the_micro_credit() {
    let stage = Stage::open().await;
    let (account, made) = customer(&stage).await;
    let answer = statement(&stage, &account, "").await;
    let body = answer.json(200);
    adds_up(&body);
    let told: Vec<(&str, &str)> = lines(&body)
        .iter()
        .map(|line| (line["type"].as_str().unwrap(), line["amount"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("grant", "10"),
            ("charge", "-1.5"),
            ("refund", "0.5"),
            ("charge", "-1"),
            ("correction", "-1.25"),
            ("grant", "0.000001"),
            ("grant", "2"),
            ("expiry", "-0.25"),
        ]
    );
    // The hold is no movement: what is held is owned.
    assert_eq!(
        (&body["opening_balance"], &body["closing_balance"]),
        (&json!("0"), &json!("8.500001"))
    );
    let charged = &lines(&body)[1];
    assert_eq!((&charged["key"], &charged["quantity"]), (&made["key"]["id"], &json!(3)));
    assert_eq!(
        (&charged["unit_price"], &charged["key_name"]),
        (&json!("0.5"), &json!("-Ω, \"renamed\""))
    );
    let refund = &lines(&body)[2];
    assert_eq!(
        (&refund["charge"], &refund["reason"]),
        (&charged["id"], &json!("=stale()"))
    );
    assert_eq!(lines(&body)[5]["source"], "correction");
    // Each line names the event that it tells.
    for line in lines(&body) {
        let position = line["position"].as_str().unwrap().strip_prefix("0:").unwrap();
        let events = stage
            .operator
            .get(&format!("/v1/events?from={position}&limit=1"))
            .await
            .json(200);
        assert_eq!(events["items"][0]["time"], line["at"]);
        assert!(events["items"][0].to_string().contains(line["id"].as_str().unwrap()));
    }
    assert_eq!(body["complete"], json!(false));
    let totals = statement(&stage, &account, "?lines=false").await.json(200);
    assert_eq!((&totals["lines"], &totals["totals"]), (&Value::Null, &body["totals"]));
    let balance = stage
        .operator
        .get(&format!("{account}/balance?after={}", answer.position()))
        .await;
    let balance = balance.json(200);
    let owned = ["available", "bound", "later", "reserved"]
        .iter()
        .map(|of| micros(&balance[of]))
        .sum::<i64>();
    assert_eq!(owned, micros(&body["closing_balance"]));
    for sum in ["granted", "charged", "refunded", "expired", "corrected"] {
        assert_eq!(balance[sum], body["totals"][sum], "{sum}");
    }
}

#[tokio::test]
async fn periods_that_meet_share_no_line_and_leave_none_out() {
    let stage = Stage::open().await;
    let (account, _) = customer(&stage).await;
    let whole = statement(&stage, &account, "").await.json(200);
    let times: Vec<&str> = lines(&whole).iter().map(|line| line["at"].as_str().unwrap()).collect();
    let id = account.rsplit('/').next().unwrap();
    for moment in &times {
        let before = statement(&stage, &account, &format!("?to={moment}")).await.json(200);
        let after = statement(&stage, &account, &format!("?from={moment}")).await.json(200);
        adds_up(&before);
        adds_up(&after);
        assert_eq!(before["closing_balance"], after["opening_balance"]);
        let both: Vec<Value> = lines(&before).iter().chain(lines(&after)).cloned().collect();
        // What a key is called is what it was called at the end of each period.
        let moved = |lines: &[Value]| -> Vec<Value> {
            let told = lines
                .iter()
                .map(|line| json!([line["position"], line["id"], line["amount"], line["balance"]]));
            told.collect()
        };
        assert_eq!(moved(&both), moved(lines(&whole)), "{moment}");
        assert!(lines(&before).iter().all(|line| line["at"].as_str().unwrap() < *moment));
        // Later events are in the log, so this period is over: its bytes never change.
        assert_eq!(before["complete"], json!(true), "{moment}");
    }
    let closed = format!("?to={}", times.last().unwrap());
    let told = statement(&stage, &account, &closed).await.text;
    let grant = json!({"amount": "1", "source": "purchase"});
    stage.operator.post(&format!("{account}/grants"), grant).await.json(201);
    let renamed = json!({"name": "Acme & Sons"});
    stage
        .operator
        .patch(&format!("/v1/accounts/{id}"), renamed)
        .await
        .json(200);
    assert_eq!(statement(&stage, &account, &closed).await.text, told);
    let past = statement(&stage, &account, "?month=2020-02").await.json(200);
    assert_eq!(
        (&past["from"], &past["to"], &past["complete"], &past["position"]),
        (
            &json!("2020-02-01T00:00:00.000000Z"),
            &json!("2020-03-01T00:00:00.000000Z"),
            &json!(true),
            &json!("0:0")
        )
    );
    let ahead = statement(&stage, &account, "?from=9998-01-01&to=9999-01-01")
        .await
        .json(200);
    assert_eq!(
        (&ahead["opening_balance"], &ahead["complete"]),
        (&json!("9.500001"), &json!(false))
    );
}

#[tokio::test]
async fn a_statement_is_a_file_that_no_spreadsheet_takes_for_formulas() {
    let stage = Stage::open().await;
    let (account, _) = customer(&stage).await;
    let body = statement(&stage, &account, "").await.json(200);
    let csv = statement(&stage, &account, "?format=csv").await;
    assert_eq!(
        (csv.status.as_u16(), csv.header("content-type")),
        (200, "text/csv; charset=utf-8")
    );
    assert!(
        csv.header("content-disposition")
            .starts_with("attachment; filename=\"statement-2")
    );
    let accept = [("accept", "text/csv, application/json;q=0.5")];
    let path = format!("{account}/statement");
    let accepted = stage.operator.send(http::Method::GET, &path, &accept, "").await;
    assert_eq!(accepted.text, csv.text);
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    let mut column = |name: &str| {
        reader
            .headers()
            .unwrap()
            .iter()
            .position(|column| column == name)
            .unwrap()
    };
    let mut reader_of = csv::Reader::from_reader(csv.text.as_bytes());
    let (kind, credits, balance) = (column("type"), column("credits"), column("balance"));
    let (reason, key_name, reference) = (column("reason"), column("key_name"), column("reference"));
    let records: Vec<csv::StringRecord> = reader_of.records().map(Result::unwrap).collect();
    assert_eq!((&records[0][kind], &records[0][balance]), ("opening", "0"));
    let last = records.last().unwrap();
    assert_eq!((&last[kind], &last[balance]), ("so-far", "8.500001"));
    let told = &records[1..records.len() - 1];
    assert_eq!(told.len(), lines(&body).len());
    for (record, line) in told.iter().zip(lines(&body)) {
        assert_eq!(
            (&record[kind], &record[credits]),
            (line["type"].as_str().unwrap(), line["amount"].as_str().unwrap())
        );
        assert_eq!(&record[balance], line["balance"].as_str().unwrap());
    }
    assert_eq!(
        (&told[2][reason], &told[2][key_name]),
        ("'=stale()", "'-Ω, \"renamed\"")
    );
    assert_eq!(&told[6][reference], "'+spring");
    assert!(csv.text.contains(",-1.5,"), "numbers are no texts");
}

// On one thread, reading and writing 21,000 lines leaves a new connection to Postgres less time than it is given.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_read_in_pieces_and_begins_from_a_mark_the_next_time() {
    let stage = Stage::open().await;
    let account = stage.account().await;
    let id: AccountId = account.rsplit('/').next().unwrap().parse().unwrap();
    let grants = |first: u128, count: u128| -> Vec<Event> {
        (first..first + count)
            .map(|n| {
                Event::from(CreditsGranted {
                    grant: GrantId::from_parts(1, n),
                    amount: "0.000003".parse().unwrap(),
                    priority: 0,
                    expires_at: None,
                    source: GrantSource::Purchase,
                    reference: None,
                    starts_at: None,
                    endpoints: None,
                    period: None,
                    rolled_over: None,
                    reason: None,
                    repays: Credits::ZERO,
                })
            })
            .collect()
    };
    append(&stage.harness, id, grants(1, 21_000)).await;
    let body = statement(&stage, &account, "").await.json(200);
    adds_up(&body);
    assert_eq!(
        (lines(&body).len(), &body["closing_balance"]),
        (21_000, &json!("0.063"))
    );
    let mut owner = stage.harness.owner().await;
    let marks: Vec<(i64, i64)> = sqlx::query_as("select seq, granted from statement_marks order by seq")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    assert_eq!(marks, [(20_000, 59_997)]);
    // From here on only what a mark says and what is after it is read: a mark that was moved by hand moves the opening.
    let moment = lines(&body)[20_500]["at"].as_str().unwrap();
    let told = statement(&stage, &account, &format!("?from={moment}&to=9999-01-01")).await;
    adds_up(&told.json(200));
    sqlx::query("update statement_marks set granted = granted + 1 where seq = 20000")
        .execute(&mut owner)
        .await
        .unwrap();
    let moved = statement(&stage, &account, &format!("?from={moment}&to=9999-01-01"))
        .await
        .json(200);
    assert_eq!(
        micros(&moved["opening_balance"]),
        micros(&told.json(200)["opening_balance"]) + 1
    );
    sqlx::query("delete from statement_marks")
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(
        statement(&stage, &account, &format!("?from={moment}&to=9999-01-01"))
            .await
            .text,
        told.text
    );
}

#[tokio::test]
async fn who_reads_may_see_statements_and_who_meters_may_not() {
    let stage = Stage::open().await;
    let (account, _) = stage.customer("1").await;
    let path = format!("{account}/statement");
    for role in [Role::Operator, Role::Billing, Role::Auditor] {
        assert_eq!(
            stage.client(role).await.get(&path).await.json(200)["closing_balance"],
            "1"
        );
    }
    assert_eq!(
        stage.client(Role::Metering).await.get(&path).await.problem(403),
        "forbidden"
    );
    assert_eq!(stage.stranger().get(&path).await.problem(401), "token-missing");
}

/// What DuckDB reads in a file, as rows of JSON.
async fn duckdb(query: &str) -> Vec<Value> {
    const DUCKDB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.keyledger/bin/duckdb-1.5.6");
    let ran = tokio::process::Command::new(DUCKDB)
        .args([
            "-init",
            "/dev/null",
            "-json",
            "-c",
            &format!("set timezone = 'UTC'; {query}"),
        ])
        .output()
        .await
        .unwrap_or_else(|error| panic!("this test needs DuckDB: run `tools/setup` ({DUCKDB}: {error})"));
    let (out, error) = (
        String::from_utf8(ran.stdout).unwrap(),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(ran.status.success(), "{error}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[tokio::test]
async fn another_program_reads_the_parquet_file_and_it_adds_up_there() {
    let stage = Stage::open().await;
    let (account, _) = customer(&stage).await;
    let body = statement(&stage, &account, "").await.json(200);
    let path = format!("{account}/statement?format=parquet");
    let (headers, bytes) = stage.operator.download(&path).await;
    assert_eq!(headers["content-type"], "application/vnd.apache.parquet");
    assert!(headers["content-disposition"].to_str().unwrap().ends_with(".parquet\""));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("statement.parquet");
    std::fs::write(&file, &bytes).unwrap();
    let of = file.display();
    let rows = duckdb(&format!(
        "select *, \"at\"::text as at_text, credits::text as credits_text from '{of}'"
    ))
    .await;
    assert_eq!(
        (&rows[0]["type"], rows.last().unwrap()["type"].as_str()),
        (&json!("opening"), Some("so-far"))
    );
    for (row, line) in rows[1..].iter().zip(lines(&body)) {
        for (column, member) in [
            ("type", "type"),
            ("id", "id"),
            ("key_id", "key"),
            ("key_name", "key_name"),
            ("reason", "reason"),
            ("charge_id", "charge"),
        ] {
            assert_eq!(row[column], line[member], "{column}");
        }
        assert_eq!(row["quantity"], line["quantity"]);
        let credits: Credits = row["credits_text"].as_str().unwrap().parse().unwrap();
        assert_eq!(credits.to_string(), line["amount"].as_str().unwrap());
        // DuckDB says the same moment with fewer zeros.
        let at = row["at_text"].as_str().unwrap().replace(' ', "T").replace("+00", "Z");
        let moment = |text: &str| text.parse::<keyledger_events::Timestamp>().unwrap();
        assert_eq!(moment(&at), moment(line["at"].as_str().unwrap()));
    }
    let sums = duckdb(&format!(
        "select typeof(any_value(credits)) as kind, count(*) as rows,
             ((select balance from '{of}' where type = 'opening') + sum(credits)
                 = (select balance from '{of}' where type = 'so-far'))::text as adds_up from '{of}'"
    ))
    .await;
    assert_eq!(
        (&sums[0]["kind"], &sums[0]["rows"], &sums[0]["adds_up"]),
        (&json!("DECIMAL(18,6)"), &json!(10), &json!("true"))
    );
    let said = duckdb(&format!(
        "select decode(value) as value from parquet_kv_metadata('{of}') where decode(key) = 'account'"
    ))
    .await;
    assert_eq!(said[0]["value"], body["account"]);
    // A file that was cut off is none to anybody.
    std::fs::write(&file, &bytes[..bytes.len() - 9]).unwrap();
    let query = format!("select * from '{of}'");
    assert!(tokio::spawn(async move { duckdb(&query).await }).await.is_err());
}
