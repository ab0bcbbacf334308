//! One line of the settlement journal: a checksum, a space, and one record as JSON.
//!
//! Promise: a line that was cut short, run together with another or changed reads as nothing, never as another record.

use keyledger_events::{AccountId, ClientLeft, ReservationId, Timestamp};
use serde::{Deserialize, Serialize};

use super::hold::Settlement;
use crate::prices::WhenMore;

/// A settlement that is owed, and until when it can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub account: AccountId,
    pub reservation: ReservationId,
    pub settlement: Settlement,
    /// What becomes of units beyond the hold.
    #[serde(default)]
    pub when_more: WhenMore,
    /// The hold's end. After it the ledger has given the credits back.
    pub expires_at: Timestamp,
    /// How far it had come when its client left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_left: Option<ClientLeft>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    Kept(Kept),
    /// Settled, or too late.
    Over(ReservationId),
}

const CHECKSUM_CHARS: usize = 8;

/// The line with its end. Empty for what cannot be written, which no record is.
pub(super) fn write(line: &Line) -> Vec<u8> {
    let Ok(json) = serde_json::to_string(line) else {
        return Vec::new();
    };
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
}

/// The record of a line; `None` where it is not whole.
pub(super) fn read(line: &[u8]) -> Option<Line> {
    let text = str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (checksum, json) = text.split_at_checked(CHECKSUM_CHARS)?;
    let json = json.strip_prefix(' ')?;
    let right = format!("{:08x}", crc32fast::hash(json.as_bytes()));
    (checksum == right).then(|| serde_json::from_str(json).ok())?
}
