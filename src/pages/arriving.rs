//! Somebody who asks for a page and shows a cookie. Whether their stay lasts is for the database to say, each time; the
//! page is read in the same round, for the account that the cookie opened when it was last shown to this process.
//!
//! Promise: what was read leaves this file together with a viewer whom the database has just confirmed, or not at all. A
//! cookie that this process has not seen costs one look-up, and nothing is read for it before.

use axum::extract::FromRequestParts;
use http::request::Parts;
use keyledger_events::AccountId;

use super::Pages;
use super::fault::Fault;
use super::viewer::{Ahead, Look, Shown, Viewer};

/// On the way to a page of an account.
#[derive(Debug)]
pub(super) struct Arriving {
    pages: Pages,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    Confirmed(Box<Viewer>),
    Claimed(Shown, Ahead),
}

impl FromRequestParts<Pages> for Arriving {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Arriving, Fault> {
        let shown = Shown::with(parts, pages)?;
        let standing = match shown.ahead(pages) {
            Some(ahead) => Standing::Claimed(shown, ahead),
            None => Standing::Confirmed(Box::new(shown.viewer(pages, Look::Visit).await?)),
        };
        Ok(Arriving {
            pages: pages.clone(),
            standing,
        })
    }
}

impl Arriving {
    /// Reads what the page needs of an account, and says whose viewer it is for. 401 a stay that is over, whatever became
    /// of the reading; only then the reading's own faults.
    pub(super) async fn reads<T, F>(self, read: impl FnOnce(AccountId) -> F) -> Result<(Viewer, T), Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let (viewer, read) = match self.standing {
            Standing::Confirmed(viewer) => {
                let read = read(viewer.session.account).await;
                (*viewer, read)
            }
            Standing::Claimed(shown, ahead) => {
                let confirmed = async {
                    let viewer = shown.viewer(&self.pages, Look::Visit).await?;
                    if ahead.is(&viewer) {
                        Ok(viewer)
                    } else {
                        Err(Fault::SignedOut)
                    }
                };
                tokio::try_join!(confirmed, async { Ok(read(ahead.account).await) })?
            }
        };
        Ok((viewer, read?))
    }
}
