//! Tokens on the command line, and a service that is killed while it revokes one.

use hyper::Method;
use keyledger_events::{Actor, Event};
use serde_json::json;
use sqlx::Connection as _;
use tokio::process::Command;

use super::client::Client;
use super::process::{KEYLEDGER, Site};
use crate::harness::until;
use crate::ledger::writers::whole_log;

/// What the command printed on standard output and standard error.
async fn token(site: &Site, arguments: &[&str]) -> (String, String) {
    let ran = Command::new(KEYLEDGER)
        .arg("token")
        .args(arguments)
        .env("DATABASE_URL", site.harness.owner_url())
        .output()
        .await
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    (text(ran.stdout), text(ran.stderr))
}

#[tokio::test]
async fn a_token_of_the_command_line_is_in_the_log_and_works_and_ends() {
    let site = Site::start().await;
    let service = site.serve_logging("info").await;
    let (text, said) = token(&site, &["create", "--role", "auditor", "--name", "Yearly audit"]).await;
    let id = said.split_whitespace().next().unwrap();
    let created = whole_log(&site.harness.log()).await.pop().unwrap();
    assert!(matches!(&created.event, Event::TokenCreated(event) if event.token.to_string() == id));
    assert_eq!(created.actor, Actor::System);
    let auditor = Client::new(&service.api, &text);
    assert_eq!(auditor.get("/v1/accounts").await.status, 200);
    let (_, said) = token(&site, &["revoke", id]).await;
    assert_eq!(said, format!("{id} is revoked"));
    let (_, said) = token(&site, &["revoke", id]).await;
    assert_eq!(said, format!("{id} is revoked already"));
    until("the running service refuses it", async || {
        auditor.get("/v1/accounts").await.status == 401
    })
    .await;
    let revoked = whole_log(&site.harness.log()).await;
    let revoked: Vec<_> = revoked
        .iter()
        .filter(|one| matches!(one.event, Event::TokenRevoked(_)))
        .collect();
    assert_eq!((revoked.len(), revoked[0].actor), (1, Actor::System));
}

#[tokio::test]
async fn a_revocation_whose_process_was_killed_is_told_of_by_the_next() {
    let site = Site::start().await;
    let service = site.serve_logging("info").await;
    let operator = site.operator(&service);
    let asked = json!({"role": "auditor", "name": "Stolen"});
    let made = operator.post("/v1/tokens", asked).await;
    let (id, text) = (made.text("/token/id"), made.text("/secret"));
    // Nobody may append, so the process is killed after it has stopped the token and before the log says so.
    let mut pen = site.harness.owner().await;
    sqlx::raw_sql("begin; select 1 from log_head for update")
        .execute(&mut pen)
        .await
        .unwrap();
    let path = format!("/v1/tokens/{id}");
    let asking = tokio::spawn(async move { operator.try_call(Method::DELETE, &path, None).await });
    let mut owner = site.harness.owner().await;
    until("the token is stopped", async || {
        let stopped = sqlx::query("select from access_tokens where name = 'Stolen' and revoked_at is not null");
        stopped.fetch_optional(&mut owner).await.unwrap().is_some()
    })
    .await;
    service.kill_9().await;
    asking.abort();
    // Its append waits in Postgres, which has not heard yet that nobody waits for it.
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and wait_event_type = 'Lock'";
    sqlx::raw_sql(end).execute(&mut owner).await.unwrap();
    pen.close().await.unwrap();
    let told = async || {
        let log = whole_log(&site.harness.log()).await;
        log.into_iter().find(|one| matches!(one.event, Event::TokenRevoked(_)))
    };
    assert!(told().await.is_none());
    let service = site.serve_logging("info").await;
    let stolen = Client::new(&service.api, &text);
    assert_eq!(stolen.get("/v1/accounts").await.status, 401);
    // It is left to whoever revokes for ten seconds.
    sqlx::query("update access_tokens set revoked_at = revoked_at - interval '1 minute' where name = 'Stolen'")
        .execute(&mut owner)
        .await
        .unwrap();
    until("the log says so", async || told().await.is_some()).await;
    let revoked = told().await.unwrap();
    assert!(matches!(revoked.actor, Actor::Token(_)), "whoever asked for it did it");
    let shown = site.operator(&service).get("/v1/tokens?state=all").await;
    assert_eq!(
        shown.text("/items/0/revoked_position"),
        format!("0:{}", revoked.position)
    );
}
