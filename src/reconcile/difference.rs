//! Something that two sides say otherwise.

use std::fmt;

use keyledger_events::{AccountId, Position};

/// The first thing that differs of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub account: AccountId,
    /// Who differs from the log: `statement`, `statement_marks`, `views.charges`, `views.balance`, `views.usage`.
    pub what: &'static str,
    /// The event at which it shows, where it shows at one.
    pub position: Option<Position>,
    /// What the log says. `None`: nothing of the kind.
    pub log: Option<String>,
    /// What the other side says. `None`: nothing of the kind.
    pub other: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.what, self.account)?;
        if let Some(position) = self.position {
            write!(f, " at position {position}")?;
        }
        let nothing = "nothing";
        let log = self.log.as_deref().unwrap_or(nothing);
        let other = self.other.as_deref().unwrap_or(nothing);
        write!(f, ": has {other}, and the log says {log}")
    }
}

/// The members of two rows that differ, as `name=value`.
pub(super) fn differing(log: &[(&'static str, String)], other: &[(&'static str, String)]) -> (String, String) {
    let unlike = |(mine, theirs): &(&(&str, String), &(&str, String))| mine != theirs;
    let told = |row: &(&'static str, String)| format!("{}={}", row.0, row.1);
    let pairs: Vec<_> = log.iter().zip(other).filter(unlike).collect();
    let of_log: Vec<String> = pairs.iter().map(|(mine, _)| told(mine)).collect();
    let of_other: Vec<String> = pairs.iter().map(|(_, theirs)| told(theirs)).collect();
    (of_log.join(", "), of_other.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_sentence_with_both_sides() {
        let (log, other) = differing(
            &[("amount", "1".to_owned()), ("id", "a".to_owned())],
            &[("amount", "2".to_owned()), ("id", "a".to_owned())],
        );
        let difference = Difference {
            account: AccountId::from_parts(1, 1),
            what: "views.charges",
            position: Some(Position(812)),
            log: Some(log),
            other: Some(other),
        };
        let account = AccountId::from_parts(1, 1);
        assert_eq!(
            difference.to_string(),
            format!("views.charges of {account} at position 812: has amount=2, and the log says amount=1")
        );
    }
}
