//! What events say of people, kept apart: it is taken out before an event is written, and put back where it is read.
//!
//! A written event has a word in its place, and beside its data the sealed text of it. Without the account's data key nobody
//! can put it back; its bytes, and what is proved of them, stay the same.
//!
//! Not here: sealing and opening, which need a key. Reasons and references stay in the clear: an auditor has to read them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::text::{AccountName, KeyName, TextError};

/// Stands in a written event where something personal was.
pub const SEALED: &str = "(sealed)";
/// Is shown where something personal was, once its account's data key is gone.
pub const ERASED: &str = "(erased)";

/// What one event says of people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Personal {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// A sealed text: base64 for addresses (RFC 4648, section 5), without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Box<str>);

const SEALED_CHARS_MAX: usize = 64 << 10;

impl Sealed {
    /// Whether a text may be one.
    pub fn is_one(text: &str) -> bool {
        (1..=SEALED_CHARS_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    }

    pub fn parse(text: &str) -> Option<Sealed> {
        Sealed::is_one(text).then(|| Sealed(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

/// Where an event says something of people.
enum Place<'e> {
    Account(&'e mut AccountName),
    Key(&'e mut KeyName),
    Person(&'e mut Option<KeyName>),
    Nobody,
}

/// All of an event's personal members.
struct Members<'e> {
    name: Place<'e>,
    external_ref: Option<&'e mut Option<String>>,
    network: Option<&'e mut Option<String>>,
    user_agent: Option<&'e mut Option<String>>,
}

impl<'e> Members<'e> {
    fn named(name: Place<'e>) -> Members<'e> {
        Members {
            name,
            external_ref: None,
            network: None,
            user_agent: None,
        }
    }
}

fn members(event: &mut Event) -> Members<'_> {
    match event {
        Event::AccountOpened(e) => Members {
            external_ref: Some(&mut e.external_ref),
            ..Members::named(Place::Account(&mut e.name))
        },
        Event::AccountRenamed(e) => Members::named(Place::Account(&mut e.name)),
        Event::ExternalRefChanged(e) => Members {
            external_ref: Some(&mut e.external_ref),
            ..Members::named(Place::Nobody)
        },
        Event::KeyCreated(e) => Members::named(Place::Key(&mut e.name)),
        Event::KeyRenamed(e) => Members::named(Place::Key(&mut e.name)),
        Event::PortalSessionInvited(e) => Members::named(Place::Person(&mut e.name)),
        Event::KeyUsed(e) => Members {
            network: Some(&mut e.network),
            user_agent: Some(&mut e.user_agent),
            ..Members::named(Place::Nobody)
        },
        Event::KeyDeleted(_)
        | Event::CreditsGranted(_)
        | Event::CreditsExpired(_)
        | Event::CreditsReserved(_)
        | Event::CreditsCharged(_)
        | Event::CreditsReleased(_)
        | Event::CreditsRefunded(_)
        | Event::CreditLimitChanged(_)
        | Event::AccountClosed(_)
        | Event::CreditsCorrected(_)
        | Event::KeyRotated(_)
        | Event::GrantStarted(_)
        | Event::PlanStarted(_)
        | Event::PlanEnded(_)
        | Event::ThresholdsSet(_)
        | Event::ThresholdReached(_)
        | Event::KeyUseDenied(_)
        | Event::KeySpendingLimited(_)
        | Event::PricesPublished(_)
        | Event::TokenCreated(_)
        | Event::TokenRevoked(_)
        | Event::OperatorSessionInvited(_)
        | Event::PersonalDataErased(_) => Members::named(Place::Nobody),
    }
}

impl Event {
    /// Takes out what the event says of people. `None`: nothing.
    pub fn part(&mut self) -> Option<Personal> {
        let said = Personal::of(members(self));
        if said == Personal::default() {
            return None;
        }
        self.say_instead(SEALED);
        Some(said)
    }

    /// Puts back what was taken out.
    ///
    /// Errors: a name that is none, and so was never taken out.
    pub fn put_back(&mut self, personal: Personal) -> Result<(), TextError> {
        let Members {
            name,
            external_ref,
            network,
            user_agent,
        } = members(self);
        if let Some(text) = personal.name {
            match name {
                Place::Account(place) => *place = AccountName::parse(&text)?,
                Place::Key(place) => *place = KeyName::parse(&text)?,
                Place::Person(place) => *place = Some(KeyName::parse(&text)?),
                Place::Nobody => {}
            }
        }
        let texts = [
            (external_ref, personal.external_ref),
            (network, personal.network),
            (user_agent, personal.user_agent),
        ];
        for (place, text) in texts {
            if let (Some(place), Some(text)) = (place, text) {
                *place = Some(text);
            }
        }
        Ok(())
    }

    /// Says that what was taken out is gone.
    pub fn erase(&mut self) {
        self.say_instead(ERASED);
    }

    /// Puts a word of ours wherever something personal is.
    fn say_instead(&mut self, word: &'static str) {
        let Members {
            name,
            external_ref,
            network,
            user_agent,
        } = members(self);
        match name {
            Place::Account(place) => *place = AccountName::word(word),
            Place::Key(place) => *place = KeyName::word(word),
            Place::Person(place) => {
                if place.is_some() {
                    *place = Some(KeyName::word(word));
                }
            }
            Place::Nobody => {}
        }
        for place in [external_ref, network, user_agent].into_iter().flatten() {
            if place.is_some() {
                *place = Some(word.to_owned());
            }
        }
    }
}

impl Personal {
    fn of(members: Members<'_>) -> Personal {
        let text = |place: Option<&mut Option<String>>| place.and_then(|place| place.clone());
        Personal {
            name: match members.name {
                Place::Account(name) => Some(name.as_str().to_owned()),
                Place::Key(name) => Some(name.as_str().to_owned()),
                Place::Person(name) => name.as_ref().map(|name| name.as_str().to_owned()),
                Place::Nobody => None,
            },
            external_ref: text(members.external_ref),
            network: text(members.network),
            user_agent: text(members.user_agent),
        }
    }
}

impl AccountName {
    /// What an account is called whose name is gone.
    pub fn erased() -> AccountName {
        AccountName::word(ERASED)
    }
}

impl KeyName {
    /// What a key is called whose name is gone.
    pub fn erased() -> KeyName {
        KeyName::word(ERASED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountOpened, Credits, KeyId, KeyRenamed};

    fn opened() -> Event {
        let opened = AccountOpened {
            name: AccountName::parse("Ada Lovelace").unwrap(),
            external_ref: Some("crm/7".to_owned()),
            credit_limit: Credits::ZERO,
        };
        opened.into()
    }

    #[test]
    fn what_is_taken_out_is_put_back() {
        let mut event = opened();
        let personal = event.part().unwrap();
        assert!(!format!("{event:?}").contains("Ada") && !format!("{event:?}").contains("crm"));
        event.put_back(personal).unwrap();
        assert_eq!(event, opened());
    }

    #[test]
    fn what_is_gone_says_so() {
        let mut event = opened();
        event.part();
        event.erase();
        let Event::AccountOpened(e) = event else { panic!() };
        assert_eq!((e.name.as_str(), e.external_ref.as_deref()), (ERASED, Some(ERASED)));
    }

    #[test]
    fn an_event_that_says_nothing_of_people_stays_as_it_is() {
        let mut event: Event = crate::ExternalRefChanged { external_ref: None }.into();
        assert_eq!(event.part(), None);
        let mut event: Event = KeyRenamed {
            key: KeyId::from_parts(1, 1),
            name: KeyName::parse("CI").unwrap(),
        }
        .into();
        assert_eq!(event.part().unwrap().name.as_deref(), Some("CI"));
    }

    #[test]
    fn a_sealed_text_is_one_that_needs_no_escape() {
        assert!(Sealed::parse("AZaz09-_").is_some());
        for bad in ["", "a=", "a\"", "a b", "é", &"a".repeat(SEALED_CHARS_MAX + 1)] {
            assert!(Sealed::parse(bad).is_none(), "{bad}");
        }
    }
}
