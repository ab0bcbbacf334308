//! Results that are paid once: the result of a queued request is charged once a day, and asked for again it is free.
//!
//! In: a request and the rule of its price. Out: the mark that names the result to the ledger, which remembers what was
//! charged: the same after a restart, and for every process.
//!
//! Not here: queries. A path is what names a result; what the query says is how it is shown.

use keyledger_events::{KeyDigest, OnceMark};

use crate::prices::PriceRule;

/// Names the result that a key asks for, by a rule that says `once_per = "path"`.
pub(super) fn mark(rule: &PriceRule, key: &KeyDigest, method: &str, path: &str) -> Option<OnceMark> {
    rule.once_per_path.then(|| OnceMark::of(key, method, path))
}
