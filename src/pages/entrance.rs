//! The way in and the way out.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::{HeaderMap, HeaderName, StatusCode};

use super::Pages;
use super::dress::page;
use super::fault::Fault;
use super::frame::{Frame, Root};
use super::posted::Posted;
use super::viewer::{cookie, remove_cookie, set_cookie};
use crate::clock;
use crate::http::Place;
use crate::sessions::{LinkError, LinkSecret};

const PURPOSES: [HeaderName; 3] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
];

/// Follows a link: gives the browser its cookie and sends it to the key list.
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
    let secret = match pages.sessions.open(&link, now).await {
        Ok(secret) => Some(secret),
        // A double click, or the way back: whoever has the cookie of this very link is inside already.
        Err(LinkError::Used { session }) => {
            let here = match cookie(&headers, &pages.config) {
                Some(cookie) => pages.sessions.visit(&cookie, now).await?,
                None => None,
            };
            if here.is_none_or(|here| here.id != session) {
                return Err(Fault::LinkUsed);
            }
            None
        }
        Err(error) => return Err(error.into()),
    };
    // The platform may have opened the account, or given credits, just now: the first page shows it.
    let head = Place {
        shard: pages.log.shard(),
        position: pages.log.head().await?.position,
    };
    let mut response = Redirect::to(&format!("../keys?after={head}")).into_response();
    if let Some(secret) = secret {
        set_cookie(response.headers_mut(), &pages, &secret);
    }
    Ok(response)
}

/// Those who only ask what would be there, as scanners of links do, do not use it up.
pub(super) async fn peek() -> StatusCode {
    StatusCode::OK
}

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOut<'a> {
    frame: Frame<'a>,
    return_url: Option<String>,
}

/// Ends the session. 200 a page that says so. 401 there was none. 403 not by a form of its own.
pub(super) async fn sign_out(State(pages): State<Pages>, root: Root, posted: Posted) -> Result<Response, Fault> {
    let viewer = posted.viewer;
    pages.sessions.end(&viewer.cookie, clock::now()).await?;
    let frame = Frame::outside(&pages, root, "You are signed out");
    let return_url = viewer.session.return_url;
    let mut response = page(StatusCode::OK, &SignedOut { frame, return_url })?;
    remove_cookie(response.headers_mut(), &pages);
    Ok(response)
}
