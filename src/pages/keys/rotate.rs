//! A successor for a key, after a question: how long the old one goes on working.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{CommandId, KeyId};

use super::asked_about;
use super::create::{CreatedPage, form_command};
use super::row::Row;
use crate::clock;
use crate::http::{FreshTexts, Place};
use crate::ledger::{Refusal, RotateKey};
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Around, Frame, Root};
use crate::pages::name::Shown;
use crate::pages::posted::{Change, Posted};

/// How long the old key may go on working: the value in the form, in words, and in seconds.
const OVERLAPS: &[(&str, &str, u32)] = &[
    ("0", "Not at all: it stops at once", 0),
    ("hour", "1 hour", 3_600),
    ("day", "1 day", 86_400),
    ("week", "7 days", 7 * 86_400),
    ("month", "30 days", 30 * 86_400),
];

/// Long enough to change a key in a working day, whatever the time zone.
const CHOSEN: &str = "day";

#[derive(Template)]
#[template(path = "rotate_key.html")]
struct RotatePage<'a> {
    frame: Frame<'a>,
    key: Row,
    request: String,
}

impl RotatePage<'_> {
    fn overlaps(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        OVERLAPS
            .iter()
            .map(|(value, words, _)| (*value, *words, *value == CHOSEN))
    }
}

/// Asks how long both keys shall work. 200. 401 no session. 403 a session that may only look. 404 no such key of this
/// account. 409 it was rotated before. 410 it is deleted or expired.
pub(in crate::pages) async fn ask_to_rotate(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
    Path(key): Path<String>,
) -> Result<Response, Fault> {
    let (viewer, around, key) = asked_about(&pages, arriving, &key).await?;
    if let Some(stops) = &key.stops {
        let refusal = Refusal::KeyRotated {
            key: key.id,
            successor: stops.successor,
        };
        return Err(Fault::Refused(refusal.into()));
    }
    let shown = RotatePage {
        frame: Frame::inside(&pages, root, "keys", "Rotate a key", &viewer, around)?,
        key,
        request: clock::fresh_command_id().as_str().to_owned(),
    };
    page(StatusCode::OK, &shown)
}

fn command_of(posted: &Posted, key: KeyId) -> Option<CommandId> {
    form_command(posted, "portal rotate", &format!("{key}\n{}", posted.fields.overlap))
}

/// Makes the successor and shows its text, once.
///
/// 201 made. 200 the same form again: the successor, without its text. 404 no such key of this account. 409 the key is
/// deleted, expired or rotated already, or there are too many. 422 the form was used for another key. 503 nothing was
/// written, or nobody knows.
pub(in crate::pages) async fn rotate(
    State(pages): State<Pages>,
    root: Root,
    Path(key): Path<String>,
    Change(posted): Change,
) -> Result<Response, Fault> {
    let key = key.parse().map_err(|_| Fault::NotFound)?;
    let chosen = OVERLAPS.iter().find(|(value, _, _)| *value == posted.fields.overlap);
    let &(_, words, overlap_seconds) = chosen.ok_or(Fault::BadForm)?;
    let command = command_of(&posted, key).ok_or(Fault::Internal)?;
    let texts = FreshTexts::new(&pages.key_prefix);
    let (live, test) = texts.offered();
    let (account, successor) = (posted.viewer.session.account, clock::fresh_key_id());
    let asked = RotateKey {
        account,
        key,
        successor,
        live,
        test,
        overlap_seconds,
    };
    let answer = pages.ledger.submit(asked, posted.viewer.by_command(command)).await?;
    let made = answer.reply.key;
    let ours = made.id == successor;
    let around = Around::of(&pages, account).await?;
    let shown = CreatedPage {
        frame: Frame::inside(&pages, root, "keys", "Your new key", &posted.viewer, around)?,
        name: Shown::new(made.name.as_str()),
        id: made.id,
        preview: made.preview,
        after: Place {
            shard: answer.shard,
            position: answer.position,
        },
        secret: ours.then(|| texts.of(made.environment)),
        replaced: Some(if overlap_seconds == 0 {
            "The key that it replaces has stopped working.".to_owned()
        } else {
            format!("The key that it replaces works for another {words}. Put the new one in its place before that.")
        }),
    };
    page(if ours { StatusCode::CREATED } else { StatusCode::OK }, &shown)
}
