//! A new key. Its text is let out here, once, in the answer to the form, and never in an address.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{CommandId, Environment, KeyDigest, KeyId, KeyName, KeySecret, Timestamp};

use super::limits::{self, LimitFields, Wrong};
use crate::clock;
use crate::http::Place;
use crate::ledger::{CreateKey, KeyLimits, Refusal, SubmitError, idempotent_command_id};
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Around, Frame, Root};
use crate::pages::name::Shown;
use crate::pages::posted::{Change, Posted};

#[derive(Template)]
#[template(path = "new_key.html")]
struct NewKeyPage<'a> {
    frame: Frame<'a>,
    request: String,
    name: String,
    test: bool,
    error: Option<String>,
    last_day: String,
    day_is_wrong: bool,
    limits: LimitFields,
}

#[derive(Template)]
#[template(path = "key_created.html")]
pub(super) struct CreatedPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) name: Shown,
    pub(super) id: KeyId,
    pub(super) preview: String,
    pub(super) after: Place,
    /// `None` on a repetition: the text is gone.
    pub(super) secret: Option<KeySecret>,
    /// What becomes of the key whose place it takes.
    pub(super) replaced: Option<String>,
}

impl CreatedPage<'_> {
    fn text(&self) -> Option<&str> {
        let secret = self.secret.as_ref();
        secret.map(KeySecret::expose_text_in_the_creating_response)
    }
}

/// Asks what the key is for. 200. 401 no session. 403 a session that may only look.
pub(in crate::pages) async fn ask_name(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
) -> Result<Response, Fault> {
    let (viewer, around) = arriving.reads(|account| Around::of(&pages, account)).await?;
    viewer.may_change()?;
    let shown = NewKeyPage {
        frame: Frame::inside(&pages, root, "keys", "Generate a new key", &viewer, around)?,
        request: clock::fresh_command_id().as_str().to_owned(),
        name: String::new(),
        test: false,
        error: None,
        last_day: String::new(),
        day_is_wrong: false,
        limits: LimitFields::empty(&pages),
    };
    page(StatusCode::OK, &shown)
}

/// Names the command by the form as it was shown, so that loading the answer again makes no second key.
pub(super) fn form_command(posted: &Posted, form: &str, asked: &str) -> Option<CommandId> {
    let digits = |text: String, count: usize| {
        let mut hex = KeyDigest::of(&text).to_string();
        hex.truncate(count);
        hex
    };
    let (session, fields) = (&posted.viewer.session, &posted.fields);
    let scope = digits(
        format!("{}\n{}\n{form}\n{}", session.id, session.account, fields.request),
        40,
    );
    idempotent_command_id(&scope, &digits(asked.to_owned(), 24))
}

/// Makes a key and shows its text.
///
/// 201 made. 200 the same form again: the key, without its text. 409 too many keys. 422 the name, the last day or a limit cannot be
/// taken, or the form was used for another key. 503 nothing was written, or nobody knows.
pub(in crate::pages) async fn create(
    State(pages): State<Pages>,
    root: Root,
    Change(posted): Change,
) -> Result<Response, Fault> {
    let environment = match posted.fields.environment.as_str() {
        "" | "live" => Environment::Live,
        "test" => Environment::Test,
        _ => return Err(Fault::BadForm),
    };
    let name = match KeyName::parse(&posted.fields.name) {
        Ok(name) => name,
        Err(error) => return again(&pages, root, posted, Amiss::Name(format!("The name {error}."))).await,
    };
    let limits = limits::scopes(&posted.fields.more)
        .and_then(|scopes| limits::spending(&posted.fields).map(|spending| (scopes, spending)));
    let (scopes, spending) = match limits {
        Ok(limits) => limits,
        Err(Wrong::Form) => return Err(Fault::BadForm),
        Err(wrong @ (Wrong::Amount | Wrong::Scopes)) => return again(&pages, root, posted, Amiss::Limit(wrong)).await,
    };
    let Ok(expires_at) = end_of(&posted.fields.last_day) else {
        return again(&pages, root, posted, Amiss::LastDay).await;
    };
    let limits = KeyLimits {
        scopes,
        spending,
        ..KeyLimits::default()
    };
    let fields = &posted.fields;
    let named = (
        environment.as_str(),
        &fields.name,
        &limits.scopes,
        &limits.spending,
        expires_at,
    );
    let asked = serde_json::to_string(&named).map_err(|_| Fault::Internal)?;
    let command = form_command(&posted, "portal keys", &asked).ok_or(Fault::Internal)?;
    let secret = KeySecret::from_random(&pages.key_prefix, environment, clock::random_secret_bits());
    let key = clock::fresh_key_id();
    let asked = CreateKey {
        account: posted.viewer.session.account,
        key,
        name,
        preview: secret.preview(),
        digest: secret.digest(),
        environment,
        expires_at,
        limits,
    };
    let answer = match pages.ledger.submit(asked, posted.viewer.by_command(command)).await {
        Ok(answer) => answer,
        Err(SubmitError::Refused {
            refusal: Refusal::TooManyKeys { limit },
            ..
        }) => {
            let text = format!("You have {limit} keys, which is the most there can be. Delete one that is not used.");
            return again(&pages, root, posted, Amiss::Name(text)).await;
        }
        Err(error) => return Err(error.into()),
    };
    // The text belongs to the key that was made for it. A repetition shows the first one's key, whose text is gone.
    let made = answer.reply.key;
    let ours = made.id == key;
    let around = Around::of(&pages, posted.viewer.session.account).await?;
    let shown = CreatedPage {
        frame: Frame::inside(&pages, root, "keys", "Your new key", &posted.viewer, around)?,
        name: Shown::new(made.name.as_str()),
        id: made.id,
        preview: made.preview,
        after: Place {
            shard: answer.shard,
            position: answer.position,
        },
        secret: ours.then_some(secret),
        replaced: None,
    };
    page(if ours { StatusCode::CREATED } else { StatusCode::OK }, &shown)
}

/// What is wrong with a form.
enum Amiss {
    /// Told beside the name.
    Name(String),
    LastDay,
    Limit(Wrong),
}

/// The end of a day that is given, in UTC. An error: it is no day, or over.
fn end_of(day: &str) -> Result<Option<Timestamp>, ()> {
    if day.is_empty() {
        return Ok(None);
    }
    let begin: Timestamp = format!("{day}T00:00:00Z").parse().map_err(|_| ())?;
    let end = begin.plus_seconds(24 * 60 * 60);
    if end > clock::now() { Ok(Some(end)) } else { Err(()) }
}

/// The form once more, with what was wrong with it.
async fn again(pages: &Pages, root: Root, posted: Posted, amiss: Amiss) -> Result<Response, Fault> {
    // `/portal/keys` takes the form; its page stands one step up.
    let around = Around::of(pages, posted.viewer.session.account).await?;
    let (error, day_is_wrong, wrong) = match amiss {
        Amiss::Name(text) => (Some(text), false, None),
        Amiss::LastDay => (None, true, None),
        Amiss::Limit(wrong) => (None, false, Some(wrong)),
    };
    let shown = NewKeyPage {
        frame: Frame::inside(pages, root, "keys", "Generate a new key", &posted.viewer, around)?,
        limits: LimitFields::new(pages, &posted.fields, wrong),
        request: posted.fields.request,
        name: posted.fields.name,
        test: posted.fields.environment == "test",
        error,
        last_day: posted.fields.last_day,
        day_is_wrong,
    };
    page(StatusCode::UNPROCESSABLE_ENTITY, &shown)
}
