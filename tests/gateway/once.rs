//! A result that is charged once, however often it is asked for.

use super::raw::Stub;
use super::stage::{Stage, charged, released};

const DATA: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndata";

#[tokio::test]
async fn a_result_is_charged_once_and_given_after_that_where_the_rule_says_so() {
    let stage = Stage::in_front_of(Stub::answering(DATA).await.address).await;
    let mut told = Vec::new();
    for path in [
        "/serp/results/7",
        "/serp/results/7",
        "/serp/results/7?format=csv",
        "/serp/results/8",
        "/serp/tasks/7",
        "/serp/tasks/7",
    ] {
        let answer = stage.get(path).await;
        assert!(answer.whole && answer.body == b"data");
        told.push(answer.header("credits-charged").unwrap().to_owned());
        stage.settled(told.len()).await;
    }
    assert_eq!(told, ["0.5", "0", "0", "0.5", "0.5", "0.5"]);
    let (paid, given) = (charged(1, "0.5"), released("requested"));
    let expected = [paid.clone(), given.clone(), given, paid.clone(), paid.clone(), paid];
    assert_eq!(stage.settled(6).await, expected);
}

#[tokio::test]
async fn a_result_is_the_same_however_its_path_is_written() {
    let stage = Stage::in_front_of(Stub::answering(DATA).await.address).await;
    let mut told = Vec::new();
    for path in [
        "/serp/results/a:b",
        "/serp/results/a%3Ab",
        "/serp/results/%61%3ab",
        "/serp/results/a%3Bb",
    ] {
        let answer = stage.get(path).await;
        told.push((answer.status, answer.header("credits-charged").map(str::to_owned)));
        stage.settled(told.len().min(3)).await;
    }
    let charged = |credits: &str| (200, Some(credits.to_owned()));
    assert_eq!(told[..3], [charged("0.5"), charged("0"), charged("0")]);
    assert_eq!(told[3].0, 400, "an encoded separator is no plain path");
}

#[tokio::test]
async fn a_result_that_did_not_arrive_is_not_paid() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let stage = Stage::in_front_of(Stub::answering(half).await.address).await;
    assert!(!stage.get("/serp/results/7").await.whole);
    stage.settled(1).await;
    let whole = Stub::answering(DATA).await;
    let stage = stage.with(whole.address, "").await;
    stage.get("/serp/results/7").await;
    assert_eq!(stage.settled(2).await, [released("error"), charged(1, "0.5")]);
}

#[tokio::test]
async fn a_result_that_was_paid_is_given_after_a_restart_and_by_another_gateway_whatever_is_left_to_pay_with() {
    let upstream = Stub::answering(DATA).await.address;
    let stage = Stage::start(upstream, "0.5").await;
    assert_eq!(
        stage.get("/serp/results/7").await.header("credits-charged"),
        Some("0.5")
    );
    stage.settled(1).await;
    let stage = stage.in_another_process(upstream, "").await;
    let given = stage.get("/serp/results/7").await;
    assert_eq!((given.status, given.body.as_slice()), (200, &b"data"[..]));
    assert_eq!(given.header("credits-charged"), Some("0"));
    assert_eq!(stage.settled(2).await, [charged(1, "0.5"), released("requested")]);
    assert_eq!(stage.get("/serp/results/8").await.status, 402);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_fetched_many_times_at_once_is_charged_once() {
    let stage = Stage::in_front_of(Stub::answering(DATA).await.address).await;
    let fetches = (0..20).map(|_| stage.get("/serp/results/7"));
    for answer in futures_util::future::join_all(fetches).await {
        assert!(answer.whole && answer.body == b"data");
    }
    let settled = stage.settled(20).await;
    assert_eq!(settled.iter().filter(|one| **one == charged(1, "0.5")).count(), 1);
    assert_eq!(settled.iter().filter(|one| **one == released("requested")).count(), 19);
}
