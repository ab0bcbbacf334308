//! The way in and the way out.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::{HeaderMap, HeaderName, StatusCode};
use keyledger_events::PortalSessionId;

use super::Pages;
use super::dress::page;
use super::fault::Fault;
use super::frame::{Frame, Root};
use super::operator::Operator;
use super::posted::Posted;
use super::viewer::{Jar, Look, cookie, remove_cookie, set_cookie};
use crate::clock;
use crate::http::Place;
use crate::sessions::{CookieSecret, LinkError, LinkSecret, Whose};

const PURPOSES: [HeaderName; 3] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
];

/// Follows a link: gives the browser its cookie and sends it to the key list, an operator's to the accounts.
///
/// 303 to the list, also for a browser that has followed this link before and is still inside. 404 no such link. 410
/// used or expired. 503 a browser that only looks ahead: the link is still good.
pub(super) async fn open(
    State(pages): State<Pages>,
    Path(link): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let ahead = |name: &HeaderName| {
        headers
            .get(name)
            .is_some_and(|purpose| purpose.as_bytes().starts_with(b"prefetch"))
    };
    if PURPOSES.iter().any(ahead) {
        return Err(Fault::LookedAhead);
    }
    let link = LinkSecret::parse(&link).ok_or(Fault::LinkUnknown)?;
    let now = clock::now();
    let (secret, whose) = match pages.sessions.open(&link, now).await {
        Ok((secret, whose)) => (Some(secret), whose),
        // A double click, or the way back: whoever has the cookie of this very link is inside already.
        Err(LinkError::Used { session, whose }) => {
            if inside(&pages, &headers, whose).await? != Some(session) {
                return Err(Fault::LinkUsed);
            }
            (None, whose)
        }
        Err(error) => return Err(error.into()),
    };
    let (jar, place) = match whose {
        // The platform may have opened the account, or given credits, just now: the first page shows it.
        Whose::Account(_) => {
            let head = Place {
                shard: pages.log.shard(),
                position: pages.log.head().await?.position,
            };
            (Jar::Customer, format!("../keys?after={head}"))
        }
        Whose::Operator => (Jar::Operator, "../operator/accounts".to_owned()),
    };
    let mut response = Redirect::to(&place).into_response();
    if let Some(secret) = secret {
        set_cookie(response.headers_mut(), &pages, jar, &secret);
    }
    Ok(response)
}

/// The stay that this browser has already, on pages of that kind.
async fn inside(pages: &Pages, headers: &HeaderMap, whose: Whose) -> Result<Option<PortalSessionId>, Fault> {
    let here = |jar| -> Option<CookieSecret> { cookie(headers, &pages.config, jar) };
    Ok(match whose {
        Whose::Account(_) => match here(Jar::Customer) {
            Some(cookie) => pages.sessions.visit(&cookie, clock::now()).await?.map(|here| here.id),
            None => None,
        },
        Whose::Operator => match here(Jar::Operator) {
            Some(cookie) => Operator::session(&cookie, pages, Look::Visit)
                .await?
                .map(|here| here.id),
            None => None,
        },
    })
}

/// Those who only ask what would be there, as scanners of links do, do not use it up.
pub(super) async fn peek() -> StatusCode {
    StatusCode::OK
}

#[derive(Template)]
#[template(path = "signed_out.html")]
pub(super) struct SignedOut<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) return_url: Option<String>,
}

/// Ends the session. 200 a page that says so. 401 there was none. 403 not by a form of its own.
pub(super) async fn sign_out(State(pages): State<Pages>, root: Root, posted: Posted) -> Result<Response, Fault> {
    let viewer = posted.viewer;
    pages.sessions.end(&viewer.cookie, clock::now()).await?;
    let frame = Frame::outside(&pages, root, "You are signed out");
    let return_url = viewer.session.return_url;
    let mut response = page(StatusCode::OK, &SignedOut { frame, return_url })?;
    remove_cookie(response.headers_mut(), &pages, Jar::Customer);
    Ok(response)
}
