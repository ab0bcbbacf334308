//! What every page has around its own part: head, brand, navigation, the balance, and who is looking.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use keyledger_events::{AccountId, Credits, Timestamp};

use super::Pages;
use super::amount::amount;
use super::assets::Assets;
use super::fault::Fault;
use super::moment::Moment;
use super::name::Shown;
use super::operator::OperatorInside;
use super::viewer::Viewer;
use crate::clock;
use crate::config::PagesConfig;
use crate::views::{Account, Balance};

/// The way from the page that is asked for back to `/portal/`, as every address on a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root(String);

/// No page stands deeper, and what is answered there must not grow with what was asked for.
const DEPTH_MAX: usize = 16;

impl Root {
    /// Of a path below `/portal`, such as `/keys/new`.
    pub(super) fn of(path: &str) -> Root {
        Root("../".repeat(path.matches('/').count().saturating_sub(1).min(DEPTH_MAX)))
    }
}

impl std::fmt::Display for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for Root {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Root, Infallible> {
        Ok(Root::of(parts.uri.path()))
    }
}

/// All that `frame.html` shows.
pub(super) struct Frame<'a> {
    pub(super) root: Root,
    pub(super) title: String,
    pub(super) brand: &'a PagesConfig,
    pub(super) assets: &'a Assets,
    /// The part of the navigation that this page belongs to.
    pub(super) here: &'static str,
    /// Nobody on the pages that stand outside.
    pub(super) inside: Option<Inside>,
    /// Of the operators' own pages.
    pub(super) operator: Option<OperatorInside>,
}

/// The parts of an account's pages, as the navigation names them: where each begins, and what it is called.
pub(super) const PARTS: &[(&str, &str)] = &[("keys", "API access"), ("credits", "Credits"), ("activity", "Activity")];

/// Who is looking, at whose account.
pub(super) struct Inside {
    pub(super) account: Shown,
    pub(super) opened_at: Timestamp,
    /// Since when nothing is done here any more.
    pub(super) closed: Option<Moment>,
    pub(super) person: Option<Shown>,
    pub(super) read_only: bool,
    pub(super) return_url: Option<String>,
    pub(super) available: Credits,
    /// Left for some endpoints only, and given for later.
    pub(super) bound: Credits,
    pub(super) later: Credits,
    pub(super) held: Credits,
    pub(super) form_token: String,
    /// The account, where an operator looks at it.
    pub(super) looked_at: Option<AccountId>,
}

impl Inside {
    pub(super) fn available(&self) -> String {
        amount(self.available)
    }

    pub(super) fn held(&self) -> String {
        amount(self.held)
    }
}

/// What stands around every page of an account.
#[derive(Debug, Default)]
pub(super) struct Around {
    named: Option<Account>,
    balance: Option<Balance>,
}

impl Around {
    /// `None`: the views do not know the account yet.
    pub(super) fn opened_at(&self) -> Option<Timestamp> {
        self.named.as_ref().map(|named| named.opened_at)
    }

    /// One round to the database.
    pub(super) async fn of(pages: &Pages, account: AccountId) -> Result<Around, Fault> {
        let (named, balance) = tokio::try_join!(pages.views.account(account), pages.views.balance(account))?;
        Ok(Around {
            named: named.value,
            balance: balance.value,
        })
    }
}

impl<'a> Frame<'a> {
    /// Of a page that anybody may see.
    pub(super) fn outside(pages: &'a Pages, root: Root, title: &str) -> Frame<'a> {
        Frame {
            root,
            title: title.to_owned(),
            brand: &pages.config,
            assets: pages.assets(),
            here: "",
            inside: None,
            operator: None,
        }
    }

    /// Of a page of an account.
    pub(super) fn inside(
        pages: &'a Pages,
        root: Root,
        here: &'static str,
        title: &str,
        viewer: &Viewer,
        around: Around,
    ) -> Result<Frame<'a>, Fault> {
        let account = viewer.session.account;
        // An account that was opened a moment ago may not be in the views yet; a customer has one, whatever they say.
        let (Some(named), Some(balance)) = (around.named, around.balance) else {
            return Err(if viewer.operator {
                Fault::NotFound
            } else {
                Fault::Behind
            });
        };
        let inside = Inside {
            account: Shown::new(&named.name),
            opened_at: named.opened_at,
            closed: named.closed_at.map(|at| Moment::new(at, clock::now())),
            person: viewer.session.name.as_deref().map(Shown::new),
            read_only: viewer.session.read_only,
            return_url: viewer.session.return_url.clone(),
            available: balance.available,
            bound: balance.bound,
            later: balance.later,
            held: balance.reserved,
            form_token: viewer.cookie.form_token(),
            looked_at: viewer.operator.then_some(account),
        };
        Ok(Frame {
            here,
            inside: Some(inside),
            ..Frame::outside(pages, root, title)
        })
    }

    pub(super) fn parts(&self) -> &'static [(&'static str, &'static str)] {
        PARTS
    }

    /// Whether the page shows a history, or something stands over it: an operator looks, or the account is closed.
    pub(super) fn has_history_style(&self) -> bool {
        let over = |inside: &Inside| inside.looked_at.is_some() || inside.closed.is_some();
        self.operator.is_some() || self.inside.as_ref().is_some_and(over) || self.is_at("activity")
    }

    pub(super) fn is_at(&self, here: &str) -> bool {
        self.here == here
    }

    pub(super) fn form_token(&self) -> &str {
        self.inside.as_ref().map_or("", |inside| inside.form_token.as_str())
    }

    pub(super) fn may_change(&self) -> bool {
        self.inside
            .as_ref()
            .is_some_and(|inside| !inside.read_only && inside.closed.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_finds_its_way_back() {
        for (path, root) in [
            ("/", ""),
            ("/keys", ""),
            ("/keys/new", "../"),
            ("/keys/key_1/delete", "../../"),
        ] {
            assert_eq!(Root::of(path).to_string(), root, "{path}");
        }
        assert_eq!(Root::of(&"/".repeat(60_000)).to_string().len(), 3 * DEPTH_MAX);
    }
}
