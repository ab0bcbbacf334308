//! The answers: plausible, and a function of the question alone.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

const RESULTS: u64 = 10;
const CONVERSATIONS_DEFAULT: u32 = 3;
const CONVERSATIONS_MAX: u32 = 10_000;

const SITES: [&str; 12] = [
    "almanac.example",
    "brightfields.example",
    "cobalt-review.example",
    "dailyledger.example",
    "everwell.example",
    "fieldnotes.example",
    "greenharbor.example",
    "hillside-guide.example",
    "inkwell.example",
    "juniper-shop.example",
    "kestrel.example",
    "lanternpost.example",
];
const ASSISTANTS: [&str; 4] = ["assistant-a", "assistant-b", "assistant-c", "assistant-d"];
const CHANNELS: [&str; 5] = ["organic", "paid", "ai-assistant", "referral", "direct"];

#[derive(Debug, Deserialize)]
pub(crate) struct Question {
    q: Option<String>,
}

impl Question {
    pub(crate) fn text(self) -> Option<String> {
        self.q.filter(|q| !q.trim().is_empty())
    }
}

pub(crate) async fn serp(Query(question): Query<Question>) -> Response {
    answer(question)
}

pub(crate) async fn serp_from_body(Json(question): Json<Question>) -> Response {
    answer(question)
}

fn answer(question: Question) -> Response {
    match question.text() {
        Some(q) => Json(results(&q)).into_response(),
        None => no_question(),
    }
}

pub(crate) fn no_question() -> Response {
    problem(StatusCode::BAD_REQUEST, "q is missing")
}

pub(crate) fn results(q: &str) -> Value {
    let seed = seed(q);
    let slug = q.trim().to_lowercase().replace(' ', "-");
    let results: Vec<Value> = (1..=RESULTS)
        .map(|rank| {
            let site = pick(&SITES, seed.wrapping_add(rank.wrapping_mul(5)));
            json!({
                "rank": rank,
                "title": format!("{q}: what {site} says"),
                "url": format!("https://{site}/{slug}/{}", mixed(seed.wrapping_add(rank)) % 900 + 100),
                "snippet": format!("Number {rank} of what people read about {q}."),
            })
        })
        .collect();
    json!({ "q": q, "total": mixed(seed) % 5_000_000 + RESULTS, "results": results })
}

#[derive(Debug, Deserialize)]
pub(crate) struct Visibility {
    conversations: Option<u32>,
}

pub(crate) async fn ai_visibility(Path(brand): Path<String>, Query(asked): Query<Visibility>) -> Response {
    let wanted = asked.conversations.unwrap_or(CONVERSATIONS_DEFAULT);
    if wanted > CONVERSATIONS_MAX {
        return problem(StatusCode::BAD_REQUEST, "conversations is over 10000");
    }
    let seed = seed(&brand);
    let conversations: Vec<Value> = (0..u64::from(wanted))
        .map(|n| {
            let drawn = mixed(seed.wrapping_add(n));
            json!({
                "id": format!("conv_{drawn:016x}"),
                "assistant": pick(&ASSISTANTS, drawn),
                "prompt": format!("which product like {brand} do you recommend?"),
                "mentioned": !drawn.is_multiple_of(3),
                "position": drawn % 8 + 1,
            })
        })
        .collect();
    let body = json!({ "brand": brand, "visibility_percent": mixed(seed) % 101, "conversations": conversations });
    Json(body).into_response()
}

pub(crate) async fn conversions() -> Json<Value> {
    let rows: Vec<Value> = CHANNELS
        .iter()
        .map(|channel| {
            let visits = mixed(seed(channel)) % 9_000 + 1_000;
            json!({ "channel": channel, "visits": visits, "conversions": visits / 40, "revenue_cents": visits * 117 })
        })
        .collect();
    Json(json!({ "conversions": rows }))
}

pub(crate) fn problem(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "error": what }))).into_response()
}

fn pick<'a>(from: &[&'a str], drawn: u64) -> &'a str {
    let many = u64::try_from(from.len()).unwrap_or(1).max(1);
    let index = usize::try_from(drawn % many).unwrap_or(0);
    from.get(index).copied().unwrap_or_default()
}

/// FNV-1a: the same on every machine and in every version, which the standard library's hasher does not promise.
fn seed(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finishing step of SplitMix64: neighbours become strangers.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
