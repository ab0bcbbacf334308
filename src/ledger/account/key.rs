//! A key as its account knows it, and what it is limited to.

use std::collections::BTreeMap;

use keyledger_events::{
    CallRate, DeleteReason, DenyReason, Endpoint, Environment, KeyCreated, KeyDigest, KeyId, KeyName, Scopes,
    SpendingLimit, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::Spending;
use crate::ledger::hang_ups::HangUps;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub id: KeyId,
    pub name: KeyName,
    pub preview: String,
    pub digest: KeyDigest,
    pub environment: Environment,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub replaces: Option<KeyId>,
    pub limits: KeyLimits,
    pub deleted: Option<(Timestamp, DeleteReason)>,
    /// Who takes its place, and when it stops.
    pub rotated: Option<Rotated>,
    /// When it was last written down that its uses were refused, by reason.
    pub denied_at: BTreeMap<DenyReason, Timestamp>,
    /// Open reservations of this key.
    pub open: u32,
    pub spending: Spending,
    /// When its clients left just before the end of an answer.
    pub hang_ups: HangUps,
}

/// A key that has a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    pub successor: KeyId,
    pub stops_at: Timestamp,
}

/// What a key is limited to. The default limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLimits {
    /// The endpoints that the key is for. `None`: all of them.
    pub scopes: Option<Scopes>,
    /// How often it may call, in each process. `None`: as often as any key. The rules do not count calls: the gateway
    /// does.
    pub rate: Option<CallRate>,
    /// What it may spend. `None`: all there is. This one may change.
    pub spending: Option<SpendingLimit>,
}

impl Key {
    pub(super) fn created(e: &KeyCreated, at: Timestamp) -> Key {
        Key {
            id: e.key,
            name: e.name.clone(),
            preview: e.preview.clone(),
            digest: e.digest,
            environment: e.environment,
            created_at: at,
            expires_at: e.expires_at,
            replaces: e.replaces,
            limits: KeyLimits {
                scopes: e.scopes.clone(),
                rate: e.rate_limit,
                spending: e.spending_limit,
            },
            deleted: None,
            rotated: None,
            denied_at: BTreeMap::new(),
            open: 0,
            spending: Spending::default(),
            hang_ups: HangUps::default(),
        }
    }

    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl KeyLimits {
    pub fn allow(&self, endpoint: &Endpoint) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.allow(endpoint))
    }
}
