//! A key with limits of its own: the members came later, and are absent where they are not set.

use super::{is_as_released, recorded, samples};
use crate::*;

fn created() -> KeyCreated {
    let (_, event) = samples().into_iter().find(|(name, _)| *name == "key-created").unwrap();
    let Event::KeyCreated(created) = event else {
        panic!("a new key");
    };
    created
}

fn limited() -> KeyCreated {
    KeyCreated {
        scopes: Some(vec!["serp".to_owned(), "ai_visibility".to_owned()].try_into().unwrap()),
        rate_limit: Some(CallRate::new(10, 30).unwrap()),
        ..created()
    }
}

#[test]
fn a_key_with_limits_has_its_own_bytes_and_one_without_the_old_ones() {
    is_as_released("key-created-limited", &recorded(101, limited().into()));
    let scoped = KeyCreated {
        rate_limit: None,
        expires_at: None,
        replaces: None,
        ..limited()
    };
    is_as_released("key-created-scoped", &recorded(102, scoped.into()));
    let bare = String::from_utf8(recorded(103, created().into()).encode()).unwrap();
    assert!(!bare.contains("scopes") && !bare.contains("rate_limit"), "{bare}");
}

#[test]
fn scopes_in_another_order_are_other_bytes_and_refused() {
    let text = String::from_utf8(recorded(101, limited().into()).encode()).unwrap();
    let list = r#"["ai_visibility","serp"]"#;
    assert!(text.contains(list), "{text}");
    for other in [r#"["serp","ai_visibility"]"#, r#"["serp","serp"]"#, "[]", "null"] {
        let changed = text.replace(list, other);
        assert!(Recorded::decode(changed.as_bytes()).is_err(), "{other}");
    }
}
