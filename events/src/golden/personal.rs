//! What is said of people, sealed; and that it is gone.

use super::{is_as_released, recorded};
use crate::*;

pub(super) const TYPES: [&str; 1] = ["keyledger.PersonalDataErased.v1"];

#[test]
fn what_is_sealed_stands_beside_the_data() {
    let key = KeyRenamed {
        key: super::key(),
        name: KeyName::parse("Ada's laptop").unwrap(),
    };
    let mut sealed = recorded(170, key.into());
    assert!(sealed.event.part().is_some());
    sealed.sealed = Sealed::parse("bm9uY2U-YW5k_dGV4dA");
    is_as_released("key-renamed-sealed", &sealed);
    let used = KeyUsed {
        key: super::key(),
        endpoint: Endpoint::parse("serp").unwrap(),
        reservation: super::reservation(),
        request: Some("req-1".into()),
        network: Some("203.0.113.0/24".into()),
        user_agent: None,
        environment: Environment::Live,
    };
    let mut sealed = recorded(171, used.into());
    assert!(sealed.event.part().is_some());
    sealed.sealed = Sealed::parse("bm9uY2U-YW5k_dGV4dA");
    is_as_released("key-used-sealed", &sealed);
}

#[test]
fn an_erasure_may_say_why() {
    let erased = |reason: Option<&str>| PersonalDataErased {
        reason: reason.map(|reason| Reason::parse(reason).unwrap()),
    };
    is_as_released(
        "personal-data-erased",
        &recorded(172, erased(Some("Asked for by letter")).into()),
    );
    is_as_released("personal-data-erased-bare", &recorded(173, erased(None).into()));
}

#[test]
fn a_sealed_text_of_another_shape_is_refused() {
    let mut sealed = recorded(174, PersonalDataErased { reason: None }.into());
    sealed.sealed = Sealed::parse("AAAA");
    let text = String::from_utf8(sealed.encode()).unwrap();
    assert!(Recorded::decode(text.as_bytes()).is_ok());
    for bad in ["", "A A", "A=", "\\u0041AAA"] {
        let changed = text.replace("\"sealed\":\"AAAA\"", &format!("\"sealed\":\"{bad}\""));
        assert!(Recorded::decode(changed.as_bytes()).is_err(), "{bad}");
    }
}
