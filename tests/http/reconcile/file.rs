//! A file of the platform's own beside the ledger.

use std::path::Path;

use keyledger::ledger::{Beyond, ChargeDelivered};
use serde_json::{Value, json};

use super::{Charged, busy, hold, reconcile};
use crate::http::stage::{Stage, secret_of};
use crate::ledger::customer::by_system;

/// Writes a file of the platform's own.
fn written(directory: &Path, lines: &[String]) -> String {
    let path = directory.join("theirs.csv");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path.display().to_string()
}

fn log_line(charged: &Charged) -> String {
    let Charged {
        id,
        request,
        account,
        credits,
        at,
    } = charged;
    format!("{at},\"{account}\",ai_visibility,{id},{request},{credits}")
}

const HEADER: &str = "\u{feff}time,account,endpoint,reservation,request,credits";

#[tokio::test]
async fn a_file_of_the_platforms_own_is_compared_by_any_of_its_ids_and_by_time() {
    let stage = Stage::open().await;
    let charges = busy(&stage).await;
    let directory = tempfile::tempdir().unwrap();
    let mut lines = vec![HEADER.to_owned()];
    lines.extend(charges.iter().rev().map(log_line));
    // Refused before anything was held, and held in vain: nothing on either side.
    lines.push(format!("{},{},ai_visibility,,,", charges[0].at, charges[0].account));
    let unheld = keyledger::clock::fresh_reservation_id();
    lines.push(format!(
        "{},{},ai_visibility,{unheld},req-x,0",
        charges[0].at, charges[0].account
    ));
    let file = written(directory.path(), &lines);
    let by_reservation = [
        "--csv",
        &file,
        "--by-reservation",
        "reservation",
        "--amount-column",
        "credits",
        "--json",
    ];
    let told = reconcile(&stage, &by_reservation).await.json(0);
    let counts = |told: &Value| {
        [
            "lines",
            "left_out",
            "charges",
            "matched",
            "missing_here",
            "missing_there",
            "different",
            "repeated",
        ]
        .map(|count| told["file"][count].as_u64().unwrap())
    };
    assert_eq!(counts(&told), [10, 1, 8, 9, 0, 0, 0, 0]);
    assert_eq!(
        (&told["file"]["credits_here"], &told["file"]["credits_there"]),
        (&json!("10"), &json!("10"))
    );
    let by_request = [
        "--csv",
        &file,
        "--by-request",
        "request",
        "--amount-column",
        "credits",
        "--json",
    ];
    assert_eq!(
        counts(&reconcile(&stage, &by_request).await.json(0)),
        [10, 1, 8, 9, 0, 0, 0, 0]
    );
    let places = [
        "--account-column",
        "account",
        "--time-column",
        "time",
        "--amount-column",
        "credits",
        "--json",
    ];
    let by_endpoint = [
        &["--csv", &file, "--by-endpoint", "endpoint", "--apart-seconds", "0"][..],
        &places,
    ]
    .concat();
    assert_eq!(
        counts(&reconcile(&stage, &by_endpoint).await.json(0)),
        [10, 2, 8, 8, 0, 0, 0, 0]
    );
    // Of one account, and of a part of the time.
    let one = &charges[0].account;
    let of_one = [&by_reservation[..], &["--account", one, "--account-column", "account"]].concat();
    assert_eq!(
        counts(&reconcile(&stage, &of_one).await.json(0)),
        [10, 5, 4, 5, 0, 0, 0, 0]
    );
    let (from, to) = (&charges[2].at, &charges[6].at);
    let of_days = [
        &by_reservation[..],
        &["--from", from, "--to", to, "--time-column", "time"],
    ]
    .concat();
    assert_eq!(
        counts(&reconcile(&stage, &of_days).await.json(0)),
        [10, 6, 4, 4, 0, 0, 0, 0]
    );
}

#[tokio::test]
async fn what_was_written_down_a_little_earlier_or_in_another_order_is_equal() {
    let stage = Stage::open().await;
    let mut charges = busy(&stage).await;
    let (from, to) = (charges[2].at.clone(), charges[6].at.clone());
    // A request is logged before it is charged: on the other side of each border. Four charges are of this time.
    for charge in &mut charges {
        let at: keyledger_events::Timestamp = charge.at.parse().unwrap();
        charge.at = keyledger_events::Timestamp::from_micros(at.micros() - 20)
            .unwrap()
            .to_string();
    }
    let directory = tempfile::tempdir().unwrap();
    let mut lines = vec![HEADER.to_owned()];
    lines.extend(charges.iter().map(log_line));
    let file = written(directory.path(), &lines);
    let places = ["--account-column", "account", "--time-column", "time"];
    let more = ["--amount-column", "credits", "--json", "--from", &from, "--to", &to];
    for by in [["--by-reservation", "reservation"], ["--by-request", "request"]] {
        let told = reconcile(&stage, &[&["--csv", &file][..], &by, &places, &more].concat()).await;
        let told = told.json(0);
        let counts = ["charges", "matched", "left_out"].map(|count| told["file"][count].as_u64().unwrap());
        assert_eq!(counts, [4, 4, 4], "{by:?} {told}");
        assert_eq!(told["file"]["credits_here"], told["file"]["credits_there"], "{by:?}");
    }
    // A client used an id again: each line is that of the charge which is nearest.
    let reused = |id: &str| id.replace("req-0-2", "req-0-3");
    for charge in ["req-0-2", "req-0-3"] {
        let rename = "update events set body = replace(convert_from(body, 'UTF8'), $1, 'req-0-3')::bytea
                      where position(convert_to($1, 'UTF8') in body) > 0";
        let mut owner = stage.harness.owner().await;
        sqlx::query("set session_replication_role = replica")
            .execute(&mut owner)
            .await
            .unwrap();
        sqlx::query(rename).bind(charge).execute(&mut owner).await.unwrap();
    }
    let again: Vec<String> = lines.iter().map(|line| reused(line)).collect();
    let inside: Vec<String> = std::iter::once(HEADER.to_owned())
        .chain(again[3..7].iter().cloned())
        .collect();
    let file = written(directory.path(), &inside);
    let asked = [&["--csv", &file][..], &["--by-request", "request"], &places, &more].concat();
    let told = reconcile(&stage, &asked).await.json(0);
    assert_eq!(told["file"]["matched"], 4, "{told}");
    // One in the period that was never charged does not take the charge of another day for its own.
    let at = |place: &str, later: i64| {
        let place: keyledger_events::Timestamp = place.parse().unwrap();
        keyledger_events::Timestamp::from_micros(place.micros() + later)
            .unwrap()
            .to_string()
    };
    let told_at = |at: String| {
        log_line(&Charged {
            at,
            ..charges[6].clone()
        })
    };
    let mut never = inside.clone();
    never.extend([told_at(at(&from, 5)), told_at(at(&to, 10))]);
    let file = written(directory.path(), &never);
    let asked = [&["--csv", &file][..], &["--by-request", "request"], &places, &more].concat();
    let told = reconcile(&stage, &asked).await.json(1);
    let counts = ["matched", "missing_here", "left_out"].map(|count| told["file"][count].as_u64().unwrap());
    assert_eq!(counts, [4, 1, 1], "{told}");
    // Two calls at the same time, and each file has them in its own order.
    let times = [charges[0].at.clone(), charges[1].at.clone()];
    [charges[1].at, charges[0].at] = times;
    let swapped: Vec<String> = std::iter::once(HEADER.to_owned())
        .chain(charges.iter().map(log_line))
        .collect();
    let file = written(directory.path(), &swapped);
    let by = ["--by-endpoint", "endpoint", "--apart-seconds", "5"];
    let asked = [&["--csv", &file][..], &by, &places, &more[..3]].concat();
    let told = reconcile(&stage, &asked).await.json(0);
    assert_eq!(told["file"]["matched"], 8, "{told}");
}

#[tokio::test]
async fn a_doctored_file_is_found_out_line_by_line() {
    let stage = Stage::open().await;
    let charges = busy(&stage).await;
    let directory = tempfile::tempdir().unwrap();
    let mut lines = vec![HEADER.to_owned()];
    lines.extend(charges.iter().map(log_line));
    // Line 3 says more, line 5 is taken away, the last two are made up and said again.
    lines[2] = lines[2].replace(&format!(",{}", charges[1].credits), ",7");
    lines.remove(4);
    let mut made_up = charges[0].clone();
    made_up.id = keyledger::clock::fresh_reservation_id().to_string();
    made_up.credits = "2.5".to_owned();
    lines.extend([log_line(&made_up), lines[1].clone()]);
    let file = written(directory.path(), &lines);
    let columns = [
        "--csv",
        &file,
        "--by-reservation",
        "reservation",
        "--amount-column",
        "credits",
    ];
    let told = reconcile(&stage, &[&columns[..], &["--json"]].concat()).await.json(1);
    let told = &told["file"];
    let counts =
        ["matched", "missing_here", "missing_there", "different", "repeated"].map(|of| told[of].as_u64().unwrap());
    assert_eq!(counts, [6, 1, 1, 1, 1], "{told}");
    let example = |what: &str| {
        let all = told["examples"].as_array().unwrap();
        all.iter().find(|example| example["what"] == what).unwrap().clone()
    };
    let different = example("different");
    assert_eq!(
        (
            &different["key"],
            &different["line"],
            &different["there"],
            &different["here"]
        ),
        (&json!(charges[1].id), &json!(3), &json!("7"), &json!("1"))
    );
    assert_eq!(example("missing-there")["key"], json!(charges[3].id));
    assert_eq!(
        (&example("missing-here")["line"], &example("missing-here")["there"]),
        (&json!(9), &json!("2.5"))
    );
    assert_eq!(example("repeated")["line"], 10);
    let said = reconcile(&stage, &columns).await;
    assert_eq!(said.code, 1);
    assert!(
        said.out
            .contains("6 matched, 1 missing here, 1 missing there, 1 different, 1 repeated"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn a_charge_and_its_top_up_are_one_line_of_an_access_log() {
    let stage = Stage::open().await;
    let (account, made) = stage.customer("100").await;
    let reservation = hold(&stage, secret_of(&made), "req-1", 2).await;
    let delivered = ChargeDelivered {
        account: account.rsplit('/').next().unwrap().parse().unwrap(),
        reservation,
        quantity: 5,
        beyond: Beyond::ToppedUp,
        client_left: None,
    };
    let answer = stage.ledger.submit(delivered, by_system()).await.unwrap();
    assert!(answer.reply.top_up.is_some());
    let after = format!("0:{}", answer.position);
    for view in ["charges", "usage", "balance"] {
        stage
            .operator
            .get(&format!("{account}/{view}?after={after}"))
            .await
            .json(200);
    }
    let directory = tempfile::tempdir().unwrap();
    let line = format!("{reservation},req-1,2.5");
    let file = written(directory.path(), &["reservation,request,credits".to_owned(), line]);
    for (by, column) in [("--by-reservation", "reservation"), ("--by-request", "request")] {
        let told = reconcile(
            &stage,
            &["--csv", &file, by, column, "--amount-column", "credits", "--json"],
        )
        .await;
        assert_eq!(told.json(0)["file"]["matched"], 1, "{by}");
    }
}

#[tokio::test]
async fn a_file_that_is_none_is_named_by_its_line() {
    let stage = Stage::open().await;
    let charges = busy(&stage).await;
    let directory = tempfile::tempdir().unwrap();
    let good = log_line(&charges[0]);
    let columns = [
        "--by-reservation",
        "reservation",
        "--amount-column",
        "credits",
        "--time-column",
        "time",
    ];
    for (lines, complaint) in [
        (
            vec!["a,b".to_owned(), good.clone()],
            "no column \"reservation\"; it has a, b",
        ),
        (
            vec![HEADER.to_owned(), good.clone(), "1,2".to_owned()],
            "line 3: has 2 columns where the file has 6",
        ),
        (
            vec![HEADER.to_owned(), good.replace("rsv_", "key_")],
            "line 2: \"reservation\" is no reservation's id",
        ),
        (
            vec![HEADER.to_owned(), format!("{good}e3")],
            "line 2: \"credits\" is no amount of credits",
        ),
        (
            vec![HEADER.to_owned(), good.clone(), good.replace("202", "soon")],
            "line 3: \"time\" is no time",
        ),
        (
            vec![HEADER.replace("request", "credits"), good.clone()],
            "the column \"credits\" twice",
        ),
        (
            vec![HEADER.to_owned(), format!("\"{}", good.replace('"', ""))],
            "line 2: has",
        ),
        // An open quote: not all of the rest is read to find it.
        (
            vec![HEADER.to_owned(), good.clone(), "\"".to_owned(), "x\n".repeat(1 << 20)],
            "line 3: is longer than 1 MiB",
        ),
        (
            vec![format!("\"{}", "x".repeat(2 << 20))],
            "line 1: is longer than 1 MiB",
        ),
    ] {
        let file = written(directory.path(), &lines);
        let said = reconcile(&stage, &[&["--csv", &file][..], &columns].concat()).await;
        assert_eq!(said.code, 2, "{complaint}: {}{}", said.out, said.error);
        assert!(said.error.contains(complaint), "{complaint}: {}", said.error);
    }
    let said = reconcile(&stage, &[&["--csv", "/nowhere/theirs.csv"][..], &columns].concat()).await;
    assert_eq!(said.code, 2);
    assert!(
        said.error.contains("/nowhere/theirs.csv cannot be read"),
        "{}",
        said.error
    );
    for wrong in [
        &["--csv", "x.csv"][..],
        &["--by-reservation", "a"],
        &["--csv", "x.csv", "--by-endpoint", "e"],
        &["--csv", "x.csv", "--by-request", "r", "--by-reservation", "a"],
        &["--csv", "x.csv", "--by-request", "r", "--delimiter", ";;"],
        &["--month", "2026-11", "--from", "2026-11-01"],
    ] {
        assert_eq!(reconcile(&stage, wrong).await.code, 2, "{wrong:?}");
    }
}
