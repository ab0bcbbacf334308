//! How long a message is tried, and when next.

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered with this status, and perhaps said when to come again.
    Answered {
        status: u16,
        retry_after_seconds: Option<u32>,
    },
    /// Nobody is there.
    Unreachable,
    /// It did not answer, and perhaps because of this message.
    Silent { why: &'static str },
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// Nobody is there who listens: every message waits.
    ReceiverAway,
    /// It may be the receiver or the message: every message waits, and another account's is tried next.
    Doubtful,
    /// This one is not taken: it waits, and what comes after it for the same account.
    NotTaken,
    /// The receiver wants no more of it.
    GivenUp,
}

impl Outcome {
    pub(super) const fn verdict(&self) -> Verdict {
        match self {
            Outcome::Unreachable => Verdict::ReceiverAway,
            Outcome::Silent { .. } => Verdict::Doubtful,
            Outcome::Answered { status, .. } => match *status {
                200..=299 => Verdict::Delivered,
                410 => Verdict::GivenUp,
                // A wrong address, a wrong secret, too much, or a proxy that finds nobody behind it.
                300..=399 | 401 | 403 | 404 | 407 | 429 | 503 => Verdict::ReceiverAway,
                502 | 504 => Verdict::Doubtful,
                _ => Verdict::NotTaken,
            },
        }
    }

    pub(super) const fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Outcome::Answered {
                retry_after_seconds, ..
            } => *retry_after_seconds,
            Outcome::Unreachable | Outcome::Silent { .. } => None,
        }
    }
}

/// After the first failure, the second, and so on; the last again and again.
const PAUSES_SECONDS: [u32; 8] = [5, 30, 120, 300, 900, 1_800, 3_600, 7_200];
/// No receiver can ask for more.
const RETRY_AFTER_MAX_SECONDS: u32 = 3_600;
/// A message that was not taken for so long is given up. It can be replayed.
pub(super) const TRIED_FOR_SECONDS: u32 = 3 * 24 * 3_600;

/// How many seconds to wait after so many failures. `spread`: what of a tenth is added, out of 256, so that many do not come
/// back at once.
pub(super) fn pause(failures: u32, retry_after_seconds: Option<u32>, spread: u8) -> u32 {
    let turn = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let [.., longest] = PAUSES_SECONDS;
    let usual = PAUSES_SECONDS.get(turn).copied().unwrap_or(longest);
    let usual = usual + usual * u32::from(spread) / 2_560;
    usual.max(retry_after_seconds.unwrap_or_default().min(RETRY_AFTER_MAX_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_a_receiver_may_ask_for_longer_ones() {
        let seconds = |failures| pause(failures, None, 0);
        assert_eq!(
            (0..=9).map(seconds).collect::<Vec<_>>(),
            [5, 5, 30, 120, 300, 900, 1_800, 3_600, 7_200, 7_200]
        );
        assert_eq!(pause(7, None, 255), 3_958);
        assert_eq!(pause(1, Some(60), 0), 60);
        assert_eq!(pause(1, Some(1), 0), 5);
        assert_eq!(pause(1, Some(u32::MAX), 0), RETRY_AFTER_MAX_SECONDS);
    }

    #[test]
    fn an_answer_says_whether_the_message_or_the_receiver_is_at_fault() {
        let verdict = |status| {
            Outcome::Answered {
                status,
                retry_after_seconds: None,
            }
            .verdict()
        };
        for (status, expected) in [
            (200, Verdict::Delivered),
            (204, Verdict::Delivered),
            (302, Verdict::ReceiverAway),
            (400, Verdict::NotTaken),
            (401, Verdict::ReceiverAway),
            (410, Verdict::GivenUp),
            (429, Verdict::ReceiverAway),
            (500, Verdict::NotTaken),
            (503, Verdict::ReceiverAway),
            (504, Verdict::Doubtful),
        ] {
            assert_eq!(verdict(status), expected, "{status}");
        }
        assert_eq!(Outcome::Silent { why: "x" }.verdict(), Verdict::Doubtful);
        assert_eq!(Outcome::Unreachable.verdict(), Verdict::ReceiverAway);
    }
}
