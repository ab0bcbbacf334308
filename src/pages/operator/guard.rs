//! Who may look at the operators' pages. Comes first in each of their handlers.

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::clock;
use crate::pages::Pages;
use crate::pages::dress::page;
use crate::pages::entrance::SignedOut;
use crate::pages::fault::Fault;
use crate::pages::frame::{Frame, Root};
use crate::pages::name::Shown;
use crate::pages::posted::{HasForms, Posted};
use crate::pages::viewer::{Jar, Look, cookie, remove_cookie};
use crate::sessions::{CookieSecret, OperatorSession};

/// An operator with a session that lasts.
#[derive(Debug)]
pub(in crate::pages) struct Operator {
    pub(in crate::pages) session: OperatorSession,
    pub(in crate::pages) cookie: CookieSecret,
}

/// What the head of an operators' page shows.
pub(in crate::pages) struct OperatorInside {
    pub(in crate::pages) name: Option<Shown>,
    pub(in crate::pages) form_token: String,
}

impl Operator {
    /// Who sends this request. 401 no operator.
    pub(in crate::pages) async fn recognize(headers: &HeaderMap, pages: &Pages, look: Look) -> Result<Operator, Fault> {
        let cookie = cookie(headers, &pages.config, Jar::Operator).ok_or(Fault::SignedOut)?;
        let session = Operator::session(&cookie, pages, look).await?.ok_or(Fault::SignedOut)?;
        Ok(Operator { session, cookie })
    }

    pub(in crate::pages) async fn session(
        cookie: &CookieSecret,
        pages: &Pages,
        look: Look,
    ) -> Result<Option<OperatorSession>, Fault> {
        let now = clock::now();
        Ok(match look {
            Look::Visit => pages.sessions.visit_operator(cookie, now).await?,
            Look::Glance => pages.sessions.glance_operator(cookie, now).await?,
        })
    }

    /// What is around an operators' page.
    pub(super) fn frame<'a>(&self, pages: &'a Pages, root: Root, here: &'static str, title: &str) -> Frame<'a> {
        let inside = OperatorInside {
            name: self.session.name.as_deref().map(Shown::new),
            form_token: self.cookie.form_token(),
        };
        Frame {
            here,
            operator: Some(inside),
            ..Frame::outside(pages, root, title)
        }
    }
}

impl FromRequestParts<Pages> for Operator {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Operator, Fault> {
        Operator::recognize(&parts.headers, pages, Look::Visit).await
    }
}

impl HasForms for Operator {
    fn cookie(&self) -> &CookieSecret {
        &self.cookie
    }
}

/// Ends the stay. 200 a page that says so. 401 there was none. 403 not by a form of its own.
pub(super) async fn sign_out(
    State(pages): State<Pages>,
    root: Root,
    posted: Posted<Operator>,
) -> Result<Response, Fault> {
    pages.sessions.end(&posted.viewer.cookie, clock::now()).await?;
    let frame = Frame::outside(&pages, root, "You are signed out");
    let shown = SignedOut {
        frame,
        return_url: None,
    };
    let mut response = page(StatusCode::OK, &shown)?;
    remove_cookie(response.headers_mut(), &pages, Jar::Operator);
    Ok(response)
}
