//! Writes the four busy events' data as serde writes it.

use super::{Busy, Charged, Held, Released, Used, Work};
use crate::brief::Brief;
use crate::credits::Credits;
use crate::event::{ClientLeft, GrantPart};
use crate::ids::ReservationId;
use crate::key::Environment;

impl Busy<'_> {
    /// Writes the data's object after what `out` holds already. `false`: not all of it is plain text, and what was written is
    /// of no use.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Busy::Used(e) => used(out, e),
            Busy::Held(e) => {
                held(out, e);
                true
            }
            Busy::Charged(e) => {
                charged(out, e);
                true
            }
            Busy::Released(e) => {
                released(out, e);
                true
            }
        }
    }
}

fn put(out: &mut Vec<u8>, before: &str, text: &[u8]) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(text);
}

fn brief(out: &mut Vec<u8>, before: &str, text: Brief) {
    put(out, before, text.as_bytes());
}

/// Whether JSON has a text as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
}

fn used(out: &mut Vec<u8>, e: &Used<'_>) -> bool {
    brief(out, "{\"key\":\"", e.key.brief());
    put(out, "\",\"endpoint\":\"", e.endpoint.as_bytes());
    brief(out, "\",\"reservation\":\"", e.reservation.brief());
    let texts = [
        ("\",\"request\":\"", e.request),
        ("\",\"network\":\"", e.network),
        ("\",\"user_agent\":\"", e.user_agent),
    ];
    for (member, text) in texts {
        if let Some(text) = text {
            if !is_plain(text) {
                return false;
            }
            put(out, member, text.as_bytes());
        }
    }
    if e.environment == Environment::Test {
        put(out, "\",\"environment\":\"", b"test");
    }
    put(out, "\"}", b"");
    true
}

/// A reservation and its work, up to the work's end.
fn work(out: &mut Vec<u8>, reservation: ReservationId, work: &Work<'_>) {
    brief(out, "{\"reservation\":\"", reservation.brief());
    put(out, "\",\"work\":{\"", b"");
    if let Some(key) = work.key {
        brief(out, "key\":\"", key.brief());
        put(out, "\",\"", b"");
    }
    put(out, "channel\":\"", work.channel.as_str().as_bytes());
    put(out, "\",\"endpoint\":\"", work.endpoint.as_bytes());
    brief(out, "\",\"unit_price\":\"", work.unit_price.brief());
    brief(out, "\",\"price_version\":", Brief::number(work.price_version));
    if work.environment == Environment::Test {
        put(out, ",\"environment\":\"test\"", b"");
    }
    put(out, "}", b"");
}

fn parts(out: &mut Vec<u8>, member: &str, parts: &[GrantPart]) {
    put(out, member, b"[");
    for (place, part) in parts.iter().enumerate() {
        brief(
            out,
            if place == 0 { "{\"grant\":\"" } else { ",{\"grant\":\"" },
            part.grant.brief(),
        );
        brief(out, "\",\"amount\":\"", part.amount.brief());
        put(out, "\"}", b"");
    }
    put(out, "]", b"");
}

fn credits(out: &mut Vec<u8>, member: &str, amount: Credits) {
    brief(out, member, amount.brief());
    put(out, "\"", b"");
}

fn credits_unless_none(out: &mut Vec<u8>, member: &str, amount: Credits) {
    if !amount.is_zero() {
        credits(out, member, amount);
    }
}

fn held(out: &mut Vec<u8>, e: &Held<'_>) {
    work(out, e.reservation, &e.work);
    brief(out, ",\"quantity\":", Brief::number(e.quantity));
    credits(out, ",\"amount\":\"", e.amount);
    parts(out, ",\"from\":", e.from);
    credits_unless_none(out, ",\"on_limit\":\"", e.on_limit);
    brief(out, ",\"expires_at\":\"", e.expires_at.brief());
    if let Some(once) = e.once {
        put(out, "\",\"once\":\"", once.to_string().as_bytes());
    }
    put(out, "\"}", b"");
}

fn reserved_at_and_client_left(out: &mut Vec<u8>, reserved_at: Brief, left: Option<ClientLeft>) {
    brief(out, ",\"reserved_at\":\"", reserved_at);
    if let Some(left) = left {
        put(out, "\",\"client_left\":\"", left.as_str().as_bytes());
    }
    put(out, "\"}", b"");
}

fn charged(out: &mut Vec<u8>, e: &Charged<'_>) {
    work(out, e.reservation, &e.work);
    brief(out, ",\"quantity\":", Brief::number(e.quantity));
    credits(out, ",\"charged\":\"", e.charged);
    credits(out, ",\"returned\":\"", e.returned);
    parts(out, ",\"spent\":", e.spent);
    parts(out, ",\"returned_to\":", e.returned_to);
    credits_unless_none(out, ",\"charged_on_limit\":\"", e.charged_on_limit);
    credits_unless_none(out, ",\"returned_to_limit\":\"", e.returned_to_limit);
    reserved_at_and_client_left(out, e.reserved_at.brief(), e.client_left);
}

fn released(out: &mut Vec<u8>, e: &Released<'_>) {
    work(out, e.reservation, &e.work);
    credits(out, ",\"returned\":\"", e.returned);
    parts(out, ",\"returned_to\":", e.returned_to);
    credits_unless_none(out, ",\"returned_to_limit\":\"", e.returned_to_limit);
    put(out, ",\"cause\":\"", e.cause.as_str().as_bytes());
    put(out, "\"", b"");
    reserved_at_and_client_left(out, e.reserved_at.brief(), e.client_left);
}
