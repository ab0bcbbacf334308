//! What may still be held of an account's credits, as every query reckons it.

/// The expression, of a row `b` of `views.balance`.
macro_rules! available {
    () => {
        "(b.granted - b.charged + b.refunded - b.expired - b.reserved - b.corrected)"
    };
}

pub(super) use available;
