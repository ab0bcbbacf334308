//! An account's pages, seen by an operator: the very pages of its customer, read only, below an address that names the
//! account. They are asked as if the customer asked, with a word on who looks.

use axum::Router;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse as _, Response};
use http::{Method, Uri};
use keyledger_events::AccountId;
use tower::ServiceExt as _;

use super::Operator;
use crate::pages::fault::Fault;
use crate::pages::viewer::Viewer;
use crate::sessions::Session;

/// Set by us alone, on the way from an operators' address to a page of the account.
#[derive(Debug, Clone, Copy)]
pub(in crate::pages) struct Through {
    pub(in crate::pages) account: AccountId,
}

impl Through {
    pub(in crate::pages) fn viewer(self, operator: Operator) -> Viewer {
        Viewer {
            session: Session {
                id: operator.session.id,
                account: self.account,
                name: operator.session.name,
                return_url: None,
                read_only: true,
            },
            cookie: operator.cookie,
            operator: true,
        }
    }
}

/// Asks a page of an account. 403 whatever is not a question. 404 no account's address.
pub(super) async fn through(
    accounts_pages: Router,
    Path((account, _)): Path<(String, String)>,
    request: Request,
) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Fault::ReadOnly.into_response();
    }
    let Ok(account) = account.parse::<AccountId>() else {
        return Fault::NotFound.into_response();
    };
    let Some(uri) = below(request.uri(), account) else {
        return Fault::NotFound.into_response();
    };
    let (mut parts, body) = request.into_parts();
    parts.uri = uri;
    // What was found out on the way here, such as parts of the address, is not the page's concern.
    parts.extensions.clear();
    parts.extensions.insert(Through { account });
    match accounts_pages.oneshot(Request::from_parts(parts, body)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The part of the address that the customer would have asked for.
fn below(uri: &Uri, account: AccountId) -> Option<Uri> {
    let whole = uri.path_and_query()?.as_str();
    let rest = whole.strip_prefix(&format!("/operator/accounts/{account}/pages"))?;
    rest.starts_with('/').then(|| rest.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_customers_own_below_the_accounts() {
        let account = AccountId::from_parts(1, 1);
        let of = |text: &str| below(&text.parse().unwrap(), account).map(|uri| uri.to_string());
        let base = format!("/operator/accounts/{account}/pages");
        assert_eq!(of(&format!("{base}/keys?below=x")).as_deref(), Some("/keys?below=x"));
        assert_eq!(of(&format!("{base}/a%2Fb")).as_deref(), Some("/a%2Fb"));
        assert_eq!(of(&base), None);
        assert_eq!(of(&format!("{base}keys")), None);
        let other = AccountId::from_parts(1, 2);
        assert_eq!(of(&format!("/operator/accounts/{other}/pages/keys")), None);
    }
}
