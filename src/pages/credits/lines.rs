//! A charge as a line.

use keyledger_events::{KeyId, Timestamp};

use crate::pages::amount::amount;
use crate::pages::moment::{Moment, thousands};
use crate::pages::name::Shown;
use crate::views::ChargeLine;

#[derive(Debug)]
pub(super) struct LineRow {
    pub(super) at: Moment,
    pub(super) endpoint: String,
    /// `None` is the dashboard.
    pub(super) key: Option<LineKey>,
    pub(super) test: bool,
    pub(super) quantity: String,
    pub(super) credits: String,
    /// What was taken back of them.
    pub(super) refunded: Option<String>,
}

#[derive(Debug)]
pub(super) struct LineKey {
    pub(super) id: KeyId,
    pub(super) name: Shown,
    pub(super) preview: String,
    pub(super) deleted: bool,
}

impl LineRow {
    pub(super) fn new(line: ChargeLine, now: Timestamp) -> LineRow {
        let charge = line.charge;
        LineRow {
            at: Moment::new(charge.charged_at, now),
            endpoint: charge.endpoint,
            key: charge.key.map(|id| match line.label {
                Some(label) => LineKey {
                    id,
                    name: Shown::new(&label.name),
                    preview: label.preview,
                    deleted: label.deleted,
                },
                // The key list is a moment behind.
                None => LineKey {
                    id,
                    name: Shown::new("New key"),
                    preview: String::new(),
                    deleted: false,
                },
            }),
            test: charge.environment == "test",
            quantity: thousands(charge.quantity),
            credits: amount(charge.charged),
            refunded: (!charge.refunded.is_zero()).then(|| amount(charge.refunded)),
        }
    }
}
