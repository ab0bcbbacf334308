//! A line of a statement: flat, the same in every format.

use std::collections::HashMap;
use std::sync::Arc;

use keyledger_events::{
    Credits, Endpoint, GrantSource, KeyId, PaidWork, PlanPeriod, Position, ReservationId, Scopes, Timestamp,
};
use keyledger_projections::{Moved, Movement};

use super::KeyName;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Grant,
    Charge,
    Refund,
    Expiry,
    Correction,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Grant => "grant",
            Kind::Charge => "charge",
            Kind::Refund => "refund",
            Kind::Expiry => "expiry",
            Kind::Correction => "correction",
        }
    }
}

/// A movement of credits. What a kind does not have is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub kind: Kind,
    pub at: Timestamp,
    pub position: Position,
    /// The grant's, the charge's (that is its reservation's), the refund's, the grant's that expired, the correction's.
    pub id: String,
    /// Micro-credits: below zero where the account has less afterwards.
    pub amount: i64,
    /// Micro-credits that the account owns afterwards.
    pub balance: i64,
    /// Who did it: a key, an access token, a portal session, or `system`.
    pub actor: String,
    pub work: Option<Work>,
    /// The charge that was refunded.
    pub charge: Option<ReservationId>,
    pub charged_at: Option<Timestamp>,
    pub reserved_at: Option<Timestamp>,
    pub source: Option<GrantSource>,
    pub reference: Option<String>,
    pub reason: Option<String>,
    pub starts_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub endpoints: Option<Scopes>,
    pub period: Option<PlanPeriod>,
    /// What came over from the period before, beside `amount`.
    pub rolled_over: Option<Credits>,
}

/// The work of a charge, or of the charge that was refunded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub key: Option<KeyId>,
    pub key_name: Option<Arc<str>>,
    pub channel: &'static str,
    pub environment: &'static str,
    pub endpoint: Endpoint,
    /// Of a charge.
    pub quantity: Option<u64>,
    pub unit_price: Credits,
    pub price_version: u64,
}

impl Work {
    fn new(work: PaidWork, quantity: Option<u64>, keys: &HashMap<KeyId, KeyName>) -> Work {
        let named = work.key.and_then(|key| keys.get(&key));
        Work {
            key: work.key,
            key_name: named.map(|called| Arc::clone(&called.name)),
            channel: work.channel.as_str(),
            environment: work.environment.as_str(),
            endpoint: work.endpoint,
            quantity,
            unit_price: work.unit_price,
            price_version: work.price_version,
        }
    }
}

impl Line {
    pub(super) fn new(movement: Movement, balance: i64, keys: &HashMap<KeyId, KeyName>) -> Line {
        let mut line = Line {
            kind: Kind::Grant,
            at: movement.at,
            position: movement.position,
            id: String::new(),
            amount: movement.amount,
            balance,
            actor: movement.actor.to_string(),
            work: None,
            charge: None,
            charged_at: None,
            reserved_at: None,
            source: None,
            reference: None,
            reason: None,
            starts_at: None,
            expires_at: None,
            endpoints: None,
            period: None,
            rolled_over: None,
        };
        line.fill(movement.what, keys);
        line
    }

    fn fill(&mut self, what: Moved, keys: &HashMap<KeyId, KeyName>) {
        match what {
            Moved::Grant(granted) => {
                self.id = granted.grant.to_string();
                self.source = Some(granted.source);
                self.reference = granted.reference;
                self.reason = granted.reason.map(String::from);
                self.starts_at = granted.starts_at;
                self.expires_at = granted.expires_at;
                self.endpoints = granted.endpoints;
                self.period = granted.period;
                self.rolled_over = Some(granted.rolled_over).filter(|amount| !amount.is_zero());
            }
            Moved::Charge(charged) => {
                self.kind = Kind::Charge;
                self.id = charged.charge.to_string();
                self.reserved_at = Some(charged.reserved_at);
                self.work = Some(Work::new(charged.work, Some(charged.quantity), keys));
            }
            Moved::Refund(refunded) => {
                self.kind = Kind::Refund;
                self.id = refunded.refund.to_string();
                self.charge = Some(refunded.charge);
                self.charged_at = Some(refunded.charged_at);
                self.reason = Some(refunded.reason.into());
                self.work = Some(Work::new(refunded.work, None, keys));
            }
            Moved::Expiry { grant } => {
                self.kind = Kind::Expiry;
                self.id = grant.to_string();
            }
            Moved::Correction { correction, reason } => {
                self.kind = Kind::Correction;
                self.id = correction.to_string();
                self.reason = Some(reason.into());
            }
        }
    }
}
