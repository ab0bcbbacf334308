//! What a message says: `type`, `timestamp` and `data`, as Standard Webhooks has it.

use keyledger_events::{AccountId, Credits, KeyId, Timestamp};
use serde::Serialize;

use super::Kind;

/// A message before it is queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// `webhook-id`: whoever gets it twice knows it by this.
    pub id: String,
    pub kind: Kind,
    pub account: AccountId,
    pub body: String,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Told {
    Threshold {
        threshold: Credits,
        /// What every endpoint can use and what is held, when it came down to the threshold.
        balance: Credits,
    },
    Denied {
        key: ToldKey,
        reason: String,
        /// Refusals of the minute that this tells of; no more are told of in the hour.
        count: u64,
    },
    Leaked {
        key: ToldKey,
    },
    Stale {
        key: ToldKey,
        /// `null`: it was never used.
        last_used: Option<Timestamp>,
        created: Timestamp,
    },
}

/// As the key list shows it; a key's text is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ToldKey {
    pub id: KeyId,
    pub name: Option<String>,
    pub preview: Option<String>,
}

/// Whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ToldAccount {
    pub account: AccountId,
    pub name: Option<String>,
    pub external_ref: Option<String>,
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    account: &'a ToldAccount,
    #[serde(flatten)]
    told: &'a Told,
    /// Where the log says it: the event's place and id. Absent from what no event says.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
}

/// Where the log says it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub event: &'a str,
    pub shard: i16,
    pub position: i64,
}

/// Writes a message's body.
pub(super) fn body(
    kind: Kind,
    at: Timestamp,
    account: &ToldAccount,
    told: &Told,
    said: Option<Said<'_>>,
) -> Option<String> {
    let body = Body {
        r#type: kind.as_str(),
        timestamp: at,
        data: Data {
            account,
            told,
            position: said.map(|said| format!("{}:{}", said.shard, said.position)),
            event: said.map(|said| said.event),
        },
    };
    serde_json::to_string(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_what_a_platform_needs_to_top_up() {
        let account = ToldAccount {
            account: AccountId::from_parts(1, 1),
            name: Some("Acme".to_owned()),
            external_ref: Some("crm/7".to_owned()),
        };
        let told = Told::Threshold {
            threshold: Credits::from_micros(5_000_000).unwrap(),
            balance: Credits::from_micros(4_500_000).unwrap(),
        };
        let said = Said {
            event: "evt_1",
            shard: 0,
            position: 812,
        };
        let text = body(Kind::ThresholdReached, Timestamp::EPOCH, &account, &told, Some(said)).unwrap();
        let id = account.account;
        assert_eq!(
            text,
            format!(
                r#"{{"type":"credits.threshold_reached","timestamp":"1970-01-01T00:00:00.000000Z","data":{{"account":"{id}","name":"Acme","external_ref":"crm/7","threshold":"5","balance":"4.5","position":"0:812","event":"evt_1"}}}}"#
            )
        );
    }

    #[test]
    fn what_no_event_says_has_no_place() {
        let account = ToldAccount {
            account: AccountId::from_parts(1, 1),
            name: None,
            external_ref: None,
        };
        let key = ToldKey {
            id: KeyId::from_parts(1, 1),
            name: Some("CI".to_owned()),
            preview: Some("sk_live_abc…".to_owned()),
        };
        let told = Told::Stale {
            key,
            last_used: None,
            created: Timestamp::EPOCH,
        };
        let text = body(Kind::KeyStale, Timestamp::EPOCH, &account, &told, None).unwrap();
        assert!(
            text.contains(r#""last_used":null"#) && !text.contains("position"),
            "{text}"
        );
    }
}
