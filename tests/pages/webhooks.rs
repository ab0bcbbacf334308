//! Who was told of what, on the operators' pages.

use http::StatusCode;
use keyledger::webhooks::Kind;

use super::activity::read;
use super::operator::operator;
use crate::harness::until;
use crate::http::stage::Stage;
use crate::webhooks::receiver::Receiver;
use crate::webhooks::{Shifted, couriers, cross, registered, watched};

const PAGE: &str = "/portal/operator/webhooks";

#[tokio::test]
async fn operators_see_receivers_and_what_became_of_each_message() {
    let stage = Stage::open().await;
    let grace = operator(&stage).await;
    let nobody = read(&grace.page(PAGE).await);
    assert!(nobody.contains("Nobody is told"), "{nobody}");
    let (_, id) = watched(&stage).await;
    let receiver = Receiver::start().await;
    couriers(&stage, &[receiver.config("billing", &Kind::ALL)], &Shifted::default());
    registered(&stage, "billing").await;
    cross(&stage, &id, 1).await;
    receiver.has_taken(1).await;
    receiver.answer(StatusCode::SERVICE_UNAVAILABLE);
    cross(&stage, &id, 1).await;
    until("the page says that the receiver is away", async || {
        read(&grace.page(PAGE).await).contains("Takes nothing since")
    })
    .await;
    let text = read(&grace.page(PAGE).await);
    for part in [
        "billing",
        "credits.threshold_reached",
        &id,
        "answered 200",
        "answered 503",
        "delivered",
        "waiting",
        "needs attention",
        "What is sent",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let delivered = read(&grace.page(&format!("{PAGE}?receiver=billing&state=delivered")).await);
    assert!(
        !delivered.contains("answered 503") && delivered.contains("answered 200"),
        "{delivered}"
    );
    let none = read(&grace.page(&format!("{PAGE}?state=given-up")).await);
    assert!(none.contains("No delivery is like this"), "{none}");
    for wrong in ["?state=lost", "?receiver=other", "?receiver=%00", "?below=x"] {
        assert_eq!(grace.get(&format!("{PAGE}{wrong}")).await.status, 404, "{wrong}");
    }
    cross(&stage, &id, 51).await;
    until("there is an older page", async || {
        grace.page(PAGE).await.contains("id=\"older\"")
    })
    .await;
    let page = grace.page(PAGE).await;
    let older = page.split("below=").nth(1).unwrap().split('"').next().unwrap();
    let text = read(&grace.page(&format!("{PAGE}?below={older}")).await);
    assert!(
        text.contains("answered 200") && text.contains("Newest deliveries"),
        "{text}"
    );
}
