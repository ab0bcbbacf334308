//! What may still be held of an account's credits, as every query reckons it.

/// What a use of any endpoint may hold, of a row `b` of `views.balance`: what is set aside is not in it.
macro_rules! available {
    () => {
        "(b.granted - b.charged + b.refunded - b.expired - b.reserved - b.corrected - coalesce((
             select sum(aside.remaining) from views.grants aside
             where aside.account_id = b.account_id and (aside.endpoints is not null or not aside.started)), 0))::bigint"
    };
}

/// Two columns of what is set aside, of a row `b` of `views.balance`: for some endpoints only, and for later.
macro_rules! set_aside {
    () => {
        "coalesce((select sum(aside.remaining) from views.grants aside
             where aside.account_id = b.account_id and aside.endpoints is not null and aside.started), 0)::bigint as bound,
         coalesce((select sum(aside.remaining) from views.grants aside
             where aside.account_id = b.account_id and not aside.started), 0)::bigint as later"
    };
}

pub(super) use {available, set_aside};
