//! Keys that keep hanging up just before the end of a body: they have the data, and would pay nothing.
//!
//! In: how far each delivery came, and what the log knows of its key. Out: what leaving costs, and what the log is told.
//!
//! Promise: off unless configured. A key that hung up `hang_ups_max` times within the window, each time with 90 % of the
//! body gone out, owes each answer from its first byte, until it has behaved for a window. What the upstream breaks, or
//! the platform cuts, is released for such a key as for any other.
//!
//! What has gone out is what was taken for the client, not what waits for it. Where a body has no announced length, it is
//! compared with all that was seen of it.
//!
//! Not here: the memory. The log has it, and tells it with each hold: the same for every process, and after a restart. A
//! release that is still under way may be missed by the very next hold.

use keyledger_events::ClientLeft;

use super::hold::Settlement;
use super::parcel::Tally;
use crate::clock;
use crate::config::FreeRiderConfig;
use crate::ledger::HangUps;

const NEAR_END_PERCENT: u64 = 90;

/// Whether a key pays from the first byte now.
pub(super) fn pay_at_once(hang_ups: &HangUps, rule: FreeRiderConfig) -> bool {
    hang_ups.are_habit(rule.hang_ups_max, rule.hang_up_window_seconds, clock::now())
}

/// How far one delivery came.
#[derive(Debug, Default)]
pub(super) struct Ride {
    announced_bytes: Option<u64>,
    /// Of the body, so far.
    seen_bytes: u64,
    taken: Tally,
    /// What leaving costs, once there was a byte to leave with.
    owed: Option<Settlement>,
}

impl Ride {
    pub(super) fn begin(announced_bytes: Option<u64>, owed: Option<Settlement>) -> Ride {
        Ride {
            announced_bytes,
            seen_bytes: 0,
            taken: Tally::default(),
            owed,
        }
    }

    /// A piece sets out, and counts where it says that it is taken.
    pub(super) fn passing(&mut self, bytes: usize) -> Tally {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.seen_bytes = self.seen_bytes.saturating_add(bytes);
        self.taken.clone()
    }

    /// How far it has come, should the client leave now. `None`: nothing was taken.
    pub(super) fn client_left(&self) -> Option<ClientLeft> {
        let taken = self.taken.bytes();
        let whole = self.announced_bytes.unwrap_or(self.seen_bytes);
        let near_end = u128::from(taken) * 100 >= u128::from(whole) * u128::from(NEAR_END_PERCENT);
        match taken {
            0 => None,
            _ if near_end => Some(ClientLeft::NearEnd),
            _ => Some(ClientLeft::Early),
        }
    }

    pub(super) fn owed(&self) -> Option<Settlement> {
        self.owed.filter(|_| self.taken.bytes() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_the_end_is_nine_tenths_of_what_was_announced_or_all_that_was_seen() {
        let left = |announced, taken| {
            let mut ride = Ride::begin(announced, None);
            ride.passing(taken).add(taken);
            ride.client_left()
        };
        let (early, near_end) = (Some(ClientLeft::Early), Some(ClientLeft::NearEnd));
        assert_eq!((left(Some(100), 90), left(Some(100), 89)), (near_end, early));
        assert_eq!((left(None, 1), left(None, 0), left(Some(0), 0)), (near_end, None, None));
        assert_eq!(left(Some(u64::MAX), 1_000), early);
        let mut waiting = Ride::begin(Some(100), None);
        waiting.passing(100).add(10);
        assert_eq!(
            waiting.client_left(),
            early,
            "what waits for the client has not gone out"
        );
    }
}
