//! Who is looking: the session of the cookie. Comes first in every handler that changes something, so nothing is done for a
//! stranger; those that only show something have [`Arriving`](super::arriving::Arriving). On an account's pages that is a
//! customer, or an operator who looks over the customer's shoulder.

use axum::extract::FromRequestParts;
use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use keyledger_events::{AccountId, Actor, CommandId, PortalSessionId};

use super::Pages;
use super::fault::Fault;
use super::operator::{Operator, Through};
use crate::clock;
use crate::config::PagesConfig;
use crate::ledger::By;
use crate::sessions::{CookieSecret, Session, Whose};

/// A person with a session that lasts.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) session: Session,
    pub(super) cookie: CookieSecret,
    /// An operator, who sees what the customer sees.
    pub(super) operator: bool,
}

/// Whether somebody comes to look, or a page that is open already asks by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Visit,
    Glance,
}

/// Cookies of customers and of operators are different ones: one browser may be both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jar {
    Customer,
    Operator,
}

impl Viewer {
    /// Signs a command that has no name of its own.
    pub(super) fn by(&self) -> By {
        self.by_command(clock::fresh_command_id())
    }

    pub(super) fn by_command(&self, command: CommandId) -> By {
        By {
            actor: Actor::Portal(self.session.id),
            command,
        }
    }
}

/// What a request shows of who sends it.
#[derive(Debug)]
pub(super) struct Shown {
    cookie: CookieSecret,
    through: Option<Through>,
}

/// Whom a cookie belonged to when it was last shown to this process. No reason to let anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ahead {
    pub(super) account: AccountId,
    session: PortalSessionId,
}

impl Ahead {
    pub(super) fn is(self, viewer: &Viewer) -> bool {
        viewer.session.account == self.account && viewer.session.id == self.session
    }
}

impl Shown {
    /// 401 without a cookie of ours.
    pub(super) fn with(parts: &Parts, pages: &Pages) -> Result<Shown, Fault> {
        let through = parts.extensions.get::<Through>().copied();
        let jar = if through.is_some() {
            Jar::Operator
        } else {
            Jar::Customer
        };
        let cookie = cookie(&parts.headers, &pages.config, jar).ok_or(Fault::SignedOut)?;
        Ok(Shown { cookie, through })
    }

    pub(super) fn ahead(&self, pages: &Pages) -> Option<Ahead> {
        let claim = pages.sessions.claim(&self.cookie)?;
        let account = match (self.through, claim.whose) {
            (None, Whose::Account(account)) => account,
            (Some(through), Whose::Operator) => through.account,
            (None, Whose::Operator) | (Some(_), Whose::Account(_)) => return None,
        };
        Some(Ahead {
            account,
            session: claim.session,
        })
    }

    /// Asks the database who this is. 401 nobody.
    pub(super) async fn viewer(self, pages: &Pages, look: Look) -> Result<Viewer, Fault> {
        let Shown { cookie, through } = self;
        if let Some(through) = through {
            let session = Operator::session(&cookie, pages, look).await?;
            let session = session.ok_or(Fault::SignedOut)?;
            return Ok(through.viewer(Operator { session, cookie }));
        }
        let session = Viewer::session(&cookie, pages, look).await?;
        Ok(Viewer {
            session: session.ok_or(Fault::SignedOut)?,
            cookie,
            operator: false,
        })
    }
}

impl Viewer {
    /// Who sends this request. 401 nobody.
    pub(super) async fn recognize(parts: &Parts, pages: &Pages, look: Look) -> Result<Viewer, Fault> {
        Shown::with(parts, pages)?.viewer(pages, look).await
    }

    async fn session(cookie: &CookieSecret, pages: &Pages, look: Look) -> Result<Option<Session>, Fault> {
        let now = clock::now();
        Ok(match look {
            Look::Visit => pages.sessions.visit(cookie, now).await?,
            Look::Glance => pages.sessions.glance(cookie, now).await?,
        })
    }

    /// Whether this stay is not over yet. Asking is no visit.
    pub(super) async fn lasts(&self, pages: &Pages) -> Result<bool, Fault> {
        Ok(if self.operator {
            Operator::session(&self.cookie, pages, Look::Glance).await?.is_some()
        } else {
            Viewer::session(&self.cookie, pages, Look::Glance).await?.is_some()
        })
    }

    /// 403 a session that may only look.
    pub(super) fn may_change(&self) -> Result<(), Fault> {
        if self.session.read_only {
            return Err(Fault::ReadOnly);
        }
        Ok(())
    }
}

impl FromRequestParts<Pages> for Viewer {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Viewer, Fault> {
        Viewer::recognize(parts, pages, Look::Visit).await
    }
}

fn over_https(config: &PagesConfig) -> bool {
    config
        .public_url
        .as_deref()
        .is_some_and(|url| url.starts_with("https://"))
}

/// `__Host-` makes a browser refuse the cookie from anybody but this very host; it works over https only.
fn cookie_name(config: &PagesConfig, jar: Jar) -> &'static str {
    match (over_https(config), jar) {
        (true, Jar::Customer) => "__Host-keyledger",
        (false, Jar::Customer) => "keyledger",
        (true, Jar::Operator) => "__Host-keyledger-operator",
        (false, Jar::Operator) => "keyledger-operator",
    }
}

/// The cookie of the request that has the shape of ours.
pub(super) fn cookie(headers: &HeaderMap, config: &PagesConfig, jar: Jar) -> Option<CookieSecret> {
    let name = cookie_name(config, jar);
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name)
        .find_map(|(_, value)| CookieSecret::parse(value))
}

/// The header that gives the cookie to a browser.
pub(super) fn set_cookie(headers: &mut HeaderMap, pages: &Pages, jar: Jar, cookie: &CookieSecret) {
    let value = cookie.expose_text_to_its_holder();
    insert(headers, &pages.config, jar, value, pages.sessions.absolute().as_secs());
}

/// The header that takes it away.
pub(super) fn remove_cookie(headers: &mut HeaderMap, pages: &Pages, jar: Jar) {
    insert(headers, &pages.config, jar, "", 0);
}

fn insert(headers: &mut HeaderMap, config: &PagesConfig, jar: Jar, value: &str, seconds: u64) {
    let name = cookie_name(config, jar);
    // Operators' pages stand in nobody's frame.
    let framed = jar == Jar::Customer && !config.frame_ancestors.is_empty();
    let site = match (over_https(config), !framed) {
        (true, true) => "Secure; SameSite=Lax",
        // In another site's frame a browser sends nothing less.
        (true, false) => "Secure; SameSite=None; Partitioned",
        (false, _) => "SameSite=Lax",
    };
    let text = format!("{name}={value}; Path=/; HttpOnly; {site}; Max-Age={seconds}");
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        headers.insert(SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(public_url: &str, frame: &[&str]) -> PagesConfig {
        PagesConfig {
            public_url: Some(public_url.to_owned()),
            frame_ancestors: frame.iter().map(|&origin| origin.to_owned()).collect(),
            ..PagesConfig::default()
        }
    }

    fn set(config: &PagesConfig) -> String {
        let mut headers = HeaderMap::new();
        insert(&mut headers, config, Jar::Customer, "v", 60);
        headers[SET_COOKIE].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_cookie_is_as_strict_as_its_place_lets_it_be() {
        let lax = "__Host-keyledger=v; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=60";
        assert_eq!(set(&config("https://k.example", &[])), lax);
        let framed = set(&config("https://k.example", &["https://a.example"]));
        assert!(framed.contains("SameSite=None; Partitioned"), "{framed}");
        assert_eq!(
            set(&config("http://k.example", &[])),
            "keyledger=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        let mut headers = HeaderMap::new();
        let framed = config("https://k.example", &["https://a.example"]);
        insert(&mut headers, &framed, Jar::Operator, "v", 60);
        let operators = lax.replace("keyledger", "keyledger-operator");
        assert_eq!(headers[SET_COOKIE], operators.as_str());
    }

    #[test]
    fn our_cookie_is_found_among_others() {
        let secret = CookieSecret::from_random([1; 32]);
        let config = config("https://k.example", &[]);
        let text = format!("a=b; __Host-keyledger={}; c", secret.expose_text_to_its_holder());
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_str(&text).unwrap());
        assert_eq!(
            cookie(&headers, &config, Jar::Customer).unwrap().digest(),
            secret.digest()
        );
        assert!(cookie(&headers, &config, Jar::Operator).is_none());
        headers.clear();
        headers.append(COOKIE, HeaderValue::from_str(&text.replace("__Host-", "")).unwrap());
        assert!(cookie(&headers, &config, Jar::Customer).is_none());
    }
}
