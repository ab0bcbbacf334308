//! Who was let in.

use super::{is_as_released, recorded};
use crate::*;

pub(super) const TYPES: [&str; 4] = [
    "keyledger.TokenCreated.v1",
    "keyledger.TokenRevoked.v1",
    "keyledger.PortalSessionInvited.v1",
    "keyledger.OperatorSessionInvited.v1",
];

fn token() -> TokenId {
    TokenId::from_parts(1_764_000_000_000, 7)
}

fn session() -> PortalSessionId {
    PortalSessionId::from_parts(1_764_000_000_000, 8)
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn of_the_system(n: u64, event: impl Into<Event>) -> Recorded {
    Recorded {
        account: AccountId::SYSTEM,
        ..recorded(n, event.into())
    }
}

#[test]
fn tokens_are_named_and_have_a_role() {
    let roles = [
        TokenRole::Operator,
        TokenRole::Metering,
        TokenRole::Billing,
        TokenRole::Auditor,
    ];
    for (n, role) in (160..).zip(roles) {
        let created = TokenCreated {
            token: token(),
            role,
            name: name("Jenkins \"nightly\""),
        };
        is_as_released(&format!("token-created-{}", role.as_str()), &of_the_system(n, created));
    }
    let revoked = TokenRevoked {
        token: token(),
        name: name("Jenkins \"nightly\""),
    };
    is_as_released("token-revoked", &of_the_system(164, revoked));
}

#[test]
fn people_are_named_where_the_platform_names_them() {
    let invited = PortalSessionInvited {
        session: session(),
        name: Some(name("Ada Lovelace")),
        read_only: false,
    };
    is_as_released("portal-session-invited", &recorded(165, invited.into()));
    let nameless = PortalSessionInvited {
        session: session(),
        name: None,
        read_only: true,
    };
    is_as_released("portal-session-invited-bare", &recorded(166, nameless.into()));
    let operator = OperatorSessionInvited {
        session: session(),
        name: Some(name("Grace, on call")),
    };
    is_as_released("operator-session-invited", &of_the_system(167, operator));
    let nameless = OperatorSessionInvited {
        session: session(),
        name: None,
    };
    is_as_released("operator-session-invited-bare", &of_the_system(168, nameless));
}
