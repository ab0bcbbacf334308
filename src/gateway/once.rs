//! Results that are paid once: the result of a queued request is charged once a day, and asked for again it is free.
//!
//! In: a request and the rule of its price. Out: the mark that names the result to the ledger, which remembers what was
//! charged: the same after a restart, and for every process.
//!
//! Promise: a result has one name however its path is written: `%3A` is `:`, as for its price. A plain path encodes no separator,
//! so the whole of it is read at once.
//!
//! Not here: queries. A path is what names a result; what the query says is how it is shown.

use keyledger_events::{KeyDigest, OnceMark};
use percent_encoding::percent_decode_str;

use crate::prices::PriceRule;

/// Names the result that a key asks for, by a rule that says `once_per = "path"`.
pub(super) fn mark(rule: &PriceRule, key: &KeyDigest, method: &str, path: &str) -> Option<OnceMark> {
    let plain = || percent_decode_str(path).decode_utf8_lossy();
    rule.once_per_path.then(|| OnceMark::of(key, method, &plain()))
}
