//! An account as it was, by the API and by the command.

use std::process::Command;

use serde_json::{Value, json};

use super::stage::{Stage, id_of, secret_of};

const KEYLEDGER: &str = env!("CARGO_BIN_EXE_keyledger");

struct World {
    stage: Stage,
    account: String,
    /// Places: of the opening with its grant and key, after a request, after the key's deletion.
    places: [String; 3],
    first: String,
}

async fn head(stage: &Stage) -> u64 {
    stage.harness.log().head().await.unwrap().position.0
}

/// 10 credits and a key; a request of half a credit; then the key is deleted, another made and the account renamed.
async fn world() -> World {
    let stage = Stage::open().await;
    let (account, key) = stage.customer("10").await;
    let mut places = vec![head(&stage).await];
    let hold = json!({"secret": secret_of(&key), "endpoint": "serp"});
    let hold = stage.operator.post("/v1/reservations", hold).await.json(201);
    let path = format!("{account}/reservations/{}/charge", id_of(&hold));
    stage.operator.post(&path, json!({})).await.json(200);
    places.push(head(&stage).await);
    let first = key["key"]["id"].as_str().unwrap().to_owned();
    stage
        .operator
        .delete(&format!("{account}/keys/{first}"))
        .await
        .json(200);
    stage
        .operator
        .post(&format!("{account}/keys"), json!({"name": "Second"}))
        .await
        .json(201);
    stage
        .operator
        .patch(&account, json!({"name": "Renamed"}))
        .await
        .json(200);
    places.push(head(&stage).await);
    let places = [0, 1, 2].map(|n| format!("0:{}", places[n]));
    World {
        stage,
        account,
        places,
        first,
    }
}

impl World {
    async fn get(&self, path: &str, as_of: &str) -> Value {
        let path = format!("{}{path}as_of={as_of}", self.account);
        self.stage.operator.get(&path).await.json(200)
    }
}

#[tokio::test]
async fn balance_keys_and_name_are_what_they_were() {
    let world = world().await;
    let mut available = Vec::new();
    for place in &world.places {
        let balance = world.get("/balance?", place).await;
        assert_eq!(balance["position"], json!(place));
        available.push(balance["available"].as_str().unwrap().to_owned());
    }
    assert_eq!(available, ["10", "9.5", "9.5"]);

    let [opened, used, deleted] = &world.places;
    let names = |keys: &Value| -> Vec<String> {
        let items = keys["items"].as_array().unwrap().iter();
        items
            .map(|key| format!("{} {} {}", key["name"], key["state"], key["uses"]))
            .collect()
    };
    let name = names(&world.get("/keys?", opened).await)[0].clone();
    let name = name.split(" \"active").next().unwrap();
    assert_eq!(
        names(&world.get("/keys?", opened).await),
        [format!("{name} \"active\" 0")]
    );
    assert_eq!(
        names(&world.get("/keys?", used).await),
        [format!("{name} \"active\" 1")]
    );
    assert_eq!(
        names(&world.get("/keys?", deleted).await),
        ["\"Second\" \"active\" 0".to_owned()]
    );
    let all = world.get("/keys?state=all&limit=1&", deleted).await;
    assert_eq!(names(&all), ["\"Second\" \"active\" 0".to_owned()]);
    let cursor = all["next_cursor"].as_str().unwrap();
    let rest = world
        .get(&format!("/keys?state=all&limit=1&cursor={cursor}&"), deleted)
        .await;
    assert_eq!(names(&rest), [format!("{name} \"deleted\" 1")]);
    assert_eq!(rest["next_cursor"], Value::Null);

    assert_eq!(world.get("?", deleted).await["name"], "Renamed");
    assert_ne!(world.get("?", used).await["name"], "Renamed");
    // By time: at the moment of an event it has happened, and a moment before it has not.
    let id = world.account.rsplit('/').next().unwrap();
    let events = world
        .stage
        .operator
        .get(&format!("/v1/accounts/{id}/events"))
        .await
        .json(200);
    let at = events["items"].as_array().unwrap().last().unwrap()["time"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(world.get("?", &at).await["name"], "Renamed");
    let moment: keyledger_events::Timestamp = at.parse().unwrap();
    let before = keyledger_events::Timestamp::from_micros(moment.micros() - 1).unwrap();
    assert_ne!(world.get("?", &before.to_string()).await["name"], "Renamed");
}

#[tokio::test]
async fn one_key_is_what_it_was() {
    let world = world().await;
    let [opened, used, deleted] = &world.places;
    let path = format!("/keys/{}/history?", world.first);
    let mut seen = Vec::new();
    for place in [opened, used, deleted] {
        let key = world.get(&path, place).await;
        let listed = world.get("/keys?state=all&", place).await;
        assert!(listed["items"].as_array().unwrap().contains(&key), "{key} of {listed}");
        seen.push((key["state"].as_str().unwrap().to_owned(), key["uses"].as_u64().unwrap()));
    }
    let expected = [("active", 0), ("active", 1), ("deleted", 1)];
    assert_eq!(seen, expected.map(|(state, uses)| (state.to_owned(), uses)));

    let created: u64 = opened.strip_prefix("0:").unwrap().parse().unwrap();
    let events = world
        .stage
        .operator
        .get(&format!("{}{path}", world.account))
        .await
        .json(200);
    let birth = events["items"][0]["position"].as_u64().unwrap();
    assert!(birth <= created);
    for (query, status) in [
        (format!("as_of=0:{}", birth - 1), 404),
        ("as_of=1:1".to_owned(), 400),
        ("as_of=yesterday".to_owned(), 422),
        (format!("as_of={used}&limit=5"), 422),
        (format!("as_of={used}&cursor=abc"), 422),
        (format!("as_of={used}&after=0:999999"), 503),
    ] {
        let path = format!("{}{path}{query}", world.account);
        world.stage.operator.get(&path).await.json(status);
    }
    let strange = format!(
        "{}/keys/key_01JDE5Z8W4M3X7Q2V9T6R1K0PA/history?as_of={used}",
        world.account
    );
    world.stage.operator.get(&strange).await.json(404);
}

#[tokio::test]
async fn now_is_what_the_views_show_and_before_the_beginning_there_is_nobody() {
    let world = world().await;
    let [_, _, last] = &world.places;
    for path in ["/balance?", "/keys?", "?"] {
        let now = world
            .stage
            .operator
            .get(&format!("{}{path}after={last}", world.account))
            .await
            .json(200);
        assert_eq!(world.get(path, last).await, now, "{path}");
        for (as_of, status) in [
            ("0:0", 404),
            ("1990-01-01T00:00:00Z", 404),
            ("1:1", 400),
            ("yesterday", 422),
            ("812", 422),
        ] {
            let path = format!("{}{path}as_of={as_of}", world.account);
            world.stage.operator.get(&path).await.json(status);
        }
    }
    let nobody = "/v1/accounts/acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA/balance?as_of=0:1";
    world.stage.operator.get(nobody).await.json(404);
}

/// Its end is no event, and need not lie between two of its account's.
#[tokio::test]
async fn a_key_has_expired_as_of_a_place_that_is_later() {
    let World { stage, account, .. } = world().await;
    let end = keyledger::clock::now().plus_seconds(1);
    let limited = json!({"name": "Short", "expires_at": end.to_string()});
    let key = stage.operator.post(&format!("{account}/keys"), limited).await.json(201);
    let before = head(&stage).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    stage.account().await;
    let after = head(&stage).await;
    stage.account().await;
    let path = format!("{account}/keys/{}/history?as_of=0:", id_of(&key["key"]));
    for (place, state) in [(before, "active"), (after, "expired"), (head(&stage).await, "expired")] {
        let shown = stage.operator.get(&format!("{path}{place}")).await.json(200);
        assert_eq!(shown["state"], state, "{place}: {shown}");
    }
}

fn replayed(world: &World, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(KEYLEDGER)
        .args(["replay", "--json"])
        .args(arguments)
        .env("DATABASE_URL", world.stage.harness.owner_url())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_history_is_replayed_step_by_step_with_what_each_event_changed() {
    let world = world().await;
    let account = world.account.rsplit('/').next().unwrap();
    let until = world.places[1].strip_prefix("0:").unwrap();
    let steps = replayed(&world, &["--account", account, "--until", until]);
    let names: Vec<&str> = steps.iter().map(|step| step["event"].as_str().unwrap()).collect();
    assert_eq!(
        names[names.len() - 3..],
        ["KeyUsed", "CreditsReserved", "CreditsCharged"]
    );
    let held = steps[steps.len() - 2]["changes"].as_array().unwrap();
    assert!(
        held.contains(&json!({"what": "available", "before": "10", "after": "9.5"})),
        "{held:?}"
    );
    assert!(
        held.contains(&json!({"what": "reserved", "before": "0", "after": "0.5"})),
        "{held:?}"
    );
    assert_eq!(steps.last().unwrap()["balance"]["charged"], "0.5");

    let from = replayed(&world, &["--account", account, "--from", until]);
    assert_eq!(
        from[0],
        *steps.last().unwrap(),
        "what came before is folded all the same"
    );
    let of_key = replayed(&world, &["--key", &world.first]);
    let names: Vec<&str> = of_key.iter().map(|step| step["event"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "KeyCreated",
            "KeyUsed",
            "CreditsReserved",
            "CreditsCharged",
            "KeyDeleted"
        ]
    );
    let uses = json!({"what": format!("{}.uses", world.first), "before": "0", "after": "1"});
    assert!(of_key[1]["changes"].as_array().unwrap().contains(&uses));
}
