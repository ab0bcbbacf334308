//! Forms: taken from a page of ours alone, twice over. The browser says where the form stood, and the form carries what
//! only the session's own pages know.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::Pages;
use super::fault::Fault;
use super::viewer::Viewer;
use crate::sessions::CookieSecret;

/// The fields of all forms of ours; each form fills the ones that it has.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    /// Of the session.
    pub(super) token: String,
    /// Names the form as it was shown, so that sending it twice does one thing.
    pub(super) request: String,
    pub(super) name: String,
    pub(super) environment: String,
    pub(super) overlap: String,
    pub(super) compromised: Option<String>,
    /// Of a new key: the last day on which it works, in UTC.
    pub(super) last_day: String,
    pub(super) limit_amount: String,
    pub(super) limit_per: String,
    /// Boxes that are ticked, by name.
    #[serde(flatten)]
    pub(super) more: BTreeMap<String, String>,
}

/// A form of the session's own. 403 from elsewhere, or of another session. 401 no session. 400 no form.
#[derive(Debug)]
pub(super) struct Posted<W = Viewer> {
    pub(super) viewer: W,
    pub(super) fields: Fields,
}

/// Somebody whose forms carry what only their cookie knows.
pub(super) trait HasForms: FromRequestParts<Pages, Rejection = Fault> + Send {
    fn cookie(&self) -> &CookieSecret;
}

impl HasForms for Viewer {
    fn cookie(&self) -> &CookieSecret {
        &self.cookie
    }
}

/// A form that changes the account. 403 too for a session that may only look.
#[derive(Debug)]
pub(super) struct Change(pub(super) Posted);

const FORM_PATIENCE: Duration = Duration::from_secs(15);
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl<W: HasForms> FromRequest<Pages> for Posted<W> {
    type Rejection = Fault;

    async fn from_request(request: Request, pages: &Pages) -> Result<Posted<W>, Fault> {
        if !from_here(request.headers(), pages.config.public_url.as_deref()) {
            return Err(Fault::ForeignForm);
        }
        let (mut parts, body) = request.into_parts();
        let viewer = W::from_request_parts(&mut parts, pages).await?;
        let read = Form::<Fields>::from_request(Request::from_parts(parts, body), &());
        let read = tokio::time::timeout(FORM_PATIENCE, read)
            .await
            .map_err(|_| Fault::BadForm)?;
        let Form(fields) = read.map_err(|_| Fault::BadForm)?;
        if !viewer.cookie().owns_form(&fields.token) {
            return Err(Fault::StaleForm);
        }
        Ok(Posted { viewer, fields })
    }
}

impl FromRequest<Pages> for Change {
    type Rejection = Fault;

    async fn from_request(request: Request, pages: &Pages) -> Result<Change, Fault> {
        let posted = Posted::<Viewer>::from_request(request, pages).await?;
        posted.viewer.may_change()?;
        Ok(Change(posted))
    }
}

/// Whether the browser says that the form stood on a page of ours. A browser that says nothing at all is not believed.
fn from_here(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let one = |name: HeaderName| {
        let mut all = headers.get_all(name).iter();
        all.next()
            .map(|value| all.next().is_none().then(|| value.to_str().ok()).flatten())
    };
    let origin = one(ORIGIN).map(|origin| {
        origin.is_some_and(|origin| match public_url {
            Some(url) => origin == origin_of(url),
            None => {
                let host = one(HOST).flatten();
                let found = origin.split_once("://").map(|(_, host)| host);
                found.is_some() && found == host
            }
        })
    });
    let site = one(FETCH_SITE).map(|site| site == Some("same-origin"));
    match (origin, site) {
        (None, None) => false,
        (origin, site) => origin.unwrap_or(true) && site.unwrap_or(true),
    }
}

/// Scheme, host and port of an address.
fn origin_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(after_scheme..).and_then(|rest| rest.find('/'));
    end.and_then(|end| url.get(..after_scheme + end)).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1:8080"));
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_form_of_our_own_page_is_taken() {
        for lines in [
            &[(ORIGIN, "http://127.0.0.1:8080")][..],
            &[(FETCH_SITE, "same-origin")],
            &[(ORIGIN, "http://127.0.0.1:8080"), (FETCH_SITE, "same-origin")],
        ] {
            assert!(from_here(&headers(lines), None), "{lines:?}");
        }
        let public = Some("https://k.example/keys");
        assert!(from_here(&headers(&[(ORIGIN, "https://k.example")]), public));
    }

    #[test]
    fn any_other_is_not() {
        for lines in [
            &[][..],
            &[(ORIGIN, "null")],
            &[(ORIGIN, "https://evil.example"), (FETCH_SITE, "same-origin")],
            &[(ORIGIN, "http://127.0.0.1:8080"), (FETCH_SITE, "same-site")],
            &[(ORIGIN, "http://127.0.0.1:8080"), (ORIGIN, "http://127.0.0.1:8080")],
            &[(FETCH_SITE, "cross-site")],
            &[(FETCH_SITE, "none")],
        ] {
            assert!(!from_here(&headers(lines), None), "{lines:?}");
        }
        let public = Some("https://k.example");
        for origin in ["http://k.example", "https://k.example.evil", "http://127.0.0.1:8080"] {
            assert!(!from_here(&headers(&[(ORIGIN, origin)]), public), "{origin}");
        }
    }
}
