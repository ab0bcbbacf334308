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
