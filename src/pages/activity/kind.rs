//! The kinds of events that a person can look for. One request of a key is two or three events; unless somebody asks for
//! more, a page shows what came of it.

use keyledger_events::Event;
use serde::Deserialize;

/// What the list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// All but the first steps of requests.
    #[default]
    Main,
    Keys,
    Charges,
    /// Requests that cost nothing.
    Free,
    /// Credits given, refunded and expired, and the account itself.
    Credits,
    Requests,
    Holds,
    /// Who was let in. That somebody came to look is no main event.
    Access,
    Every,
}

impl Kind {
    pub(super) const ALL: [Kind; 9] = [
        Kind::Main,
        Kind::Keys,
        Kind::Charges,
        Kind::Free,
        Kind::Credits,
        Kind::Requests,
        Kind::Holds,
        Kind::Access,
        Kind::Every,
    ];

    /// As addresses have it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Kind::Main => "main",
            Kind::Keys => "keys",
            Kind::Charges => "charges",
            Kind::Free => "free",
            Kind::Credits => "credits",
            Kind::Requests => "requests",
            Kind::Holds => "holds",
            Kind::Access => "access",
            Kind::Every => "every",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Kind::Main => "Main events",
            Kind::Keys => "Keys made, changed, rotated, deleted",
            Kind::Charges => "Charges",
            Kind::Free => "Requests that cost nothing",
            Kind::Credits => "Credits and the account",
            Kind::Requests => "Requests, as they came in",
            Kind::Holds => "Credits held",
            Kind::Access => "Who was let onto these pages",
            Kind::Every => "Every single event",
        }
    }

    /// The CloudEvents types that the log is asked for.
    pub(super) fn types(self) -> Vec<&'static str> {
        let shown = |name: &&&'static str| {
            let Some(of) = kind_of(name) else { return true };
            match self {
                Kind::Every => true,
                Kind::Main => !matches!(of, Kind::Requests | Kind::Holds | Kind::Access),
                Kind::Keys
                | Kind::Charges
                | Kind::Free
                | Kind::Credits
                | Kind::Requests
                | Kind::Holds
                | Kind::Access => of == self,
            }
        };
        Event::TYPES.iter().filter(shown).copied().collect()
    }
}

/// The narrowest kind that a type of event belongs to. A type that is not in here is shown under every kind, and a test
/// says so.
fn kind_of(type_name: &str) -> Option<Kind> {
    match type_name {
        "keyledger.KeyCreated.v1"
        | "keyledger.KeyRenamed.v1"
        | "keyledger.KeyRotated.v1"
        | "keyledger.KeySpendingLimited.v1"
        | "keyledger.KeyDeleted.v1" => Some(Kind::Keys),
        "keyledger.CreditsCharged.v1" => Some(Kind::Charges),
        "keyledger.CreditsReleased.v1" | "keyledger.KeyUseDenied.v1" => Some(Kind::Free),
        "keyledger.AccountOpened.v1"
        | "keyledger.AccountRenamed.v1"
        | "keyledger.AccountClosed.v1"
        | "keyledger.PersonalDataErased.v1"
        | "keyledger.ExternalRefChanged.v1"
        | "keyledger.CreditLimitChanged.v1"
        | "keyledger.CreditsGranted.v1"
        | "keyledger.CreditsExpired.v1"
        | "keyledger.GrantStarted.v1"
        | "keyledger.PlanStarted.v1"
        | "keyledger.PlanEnded.v1"
        | "keyledger.ThresholdsSet.v1"
        | "keyledger.ThresholdReached.v1"
        | "keyledger.PricesPublished.v1"
        | "keyledger.CreditsRefunded.v1"
        | "keyledger.CreditsCorrected.v1" => Some(Kind::Credits),
        "keyledger.KeyUsed.v1" => Some(Kind::Requests),
        "keyledger.CreditsReserved.v1" => Some(Kind::Holds),
        "keyledger.TokenCreated.v1"
        | "keyledger.TokenRevoked.v1"
        | "keyledger.PortalSessionInvited.v1"
        | "keyledger.OperatorSessionInvited.v1" => Some(Kind::Access),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_of_one_kind() {
        for name in Event::TYPES {
            assert!(kind_of(name).is_some(), "{name} has no kind");
        }
        assert_eq!(Kind::Every.types(), Event::TYPES);
        let narrow = [
            Kind::Keys,
            Kind::Charges,
            Kind::Free,
            Kind::Credits,
            Kind::Requests,
            Kind::Holds,
            Kind::Access,
        ];
        let all: usize = narrow.iter().map(|kind| kind.types().len()).sum();
        assert_eq!(all, Event::TYPES.len());
    }

    #[test]
    fn what_happened_leaves_the_first_steps_of_requests_out() {
        let main = Kind::Main.types();
        assert_eq!(main.len(), Event::TYPES.len() - 2 - Kind::Access.types().len());
        assert!(!main.contains(&"keyledger.CreditsReserved.v1") && main.contains(&"keyledger.CreditsCharged.v1"));
    }

    #[test]
    fn an_address_names_each_kind() {
        for kind in Kind::ALL {
            let read: Kind = serde_json::from_str(&format!("\"{}\"", kind.as_str())).unwrap();
            assert_eq!(read, kind);
        }
    }
}
