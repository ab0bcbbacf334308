//! What those who run processes ask them.

use sqlx::Executor as _;

use super::client::Client;
use super::process::Site;

#[tokio::test]
async fn a_process_without_an_api_tells_its_health_and_figures_all_the_same() {
    let site = Site::start().await;
    let gateway = site.serve_as("gateway", "info").await;
    let asked = Client::new(&gateway.api, "");
    let ready = asked.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json["ready"].as_bool()),
        (hyper::StatusCode::OK, Some(true))
    );
    assert_eq!(Client::new(&gateway.gateway, "").get("/serp").await.status, 401);
    let figures = asked.get_text("/metrics").await;
    assert!(figures.contains("keyledger_gateway_requests_total"), "{figures}");
    // And nothing else.
    let operator = site.operator(&gateway);
    for path in ["/v1/accounts", "/portal", "/docs", "/openapi.json"] {
        assert_eq!(operator.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_gateway_that_is_asked_for_and_not_described_does_not_start() {
    let site = Site::start().await;
    site.configure_with("");
    let told = site.refuses_to_start_as("gateway,relay").await;
    assert!(told.contains("needs a [gateway]"), "{told}");
    // Whoever asks for nothing in particular gets what there is.
    let service = site.serve().await;
    assert_eq!(service.gateway, "");
}

#[tokio::test]
async fn a_database_that_lacks_a_migration_is_no_place_to_send_requests_to() {
    let site = Site::start().await;
    let service = site.serve_as("api", "info").await;
    let asked = Client::new(&service.api, "");
    let newest = keyledger::migrate::newest();
    let schema = async || {
        let ready = asked.get("/readyz").await;
        let told = ready.text("/checks/schema/detail").to_owned();
        (ready.status.as_u16(), told)
    };
    assert_eq!(schema().await, (200, format!("has migration {newest}")));
    let mut owner = site.harness.owner().await;
    let change = format!("update _sqlx_migrations set success = false where version = {newest}");
    owner.execute(sqlx::AssertSqlSafe(change)).await.unwrap();
    let before = newest - 1;
    let needs = format!("this version needs {newest}: run `keyledger migrate`");
    assert_eq!(schema().await, (503, format!("ends with migration {before}; {needs}")));
    owner
        .execute("revoke select on _sqlx_migrations from keyledger_service")
        .await
        .unwrap();
    assert_eq!(schema().await, (503, format!("is older; {needs}")));
}
