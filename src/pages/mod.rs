//! The customer's pages, and the operators': HTML for people, made on the server, complete without a script.
//!
//! In: a one-time link, then a cookie and forms. Out: pages, and commands signed by the session.
//!
//! Promise: the session alone says whose account this is; nothing changes but by a form of ours, sent from a page of
//! ours; a key's text is in one response; every text that somebody chose is shown as text. Addresses are relative, so
//! the pages work behind any prefix.
//!
//! Not here: rules, SQL, who may be invited.

mod activity;
mod amount;
mod arriving;
mod assets;
mod chart;
mod credits;
mod dress;
mod entrance;
mod fault;
mod frame;
mod keys;
mod live;
mod moment;
mod operator;
mod posted;
mod viewer;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use keyledger_events::KeyPrefix;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::audit::tree::Tree;
use crate::config::PagesConfig;
use crate::http::{Measure, Place};
use crate::ledger::Ledger;
use crate::log::Log;
use crate::sessions::Sessions;
use crate::shelf::Shelf;
use crate::shown as name;
use crate::views::{ViewName, Views};
use crate::webhooks::Deliveries;
use assets::Assets;
use fault::Fault;
use live::Seats;
pub use operator::{Lookout, LookoutError, ProjectionStanding, RelayStanding, ShardStanding};

/// What the pages are made from.
#[derive(Debug)]
pub struct PagesOptions {
    pub ledger: Ledger,
    pub log: Log,
    /// What is sealed of the log.
    pub tree: Tree,
    pub views: Views,
    pub prices: Shelf,
    pub sessions: Sessions,
    pub deliveries: Deliveries,
    pub key_prefix: KeyPrefix,
    pub config: PagesConfig,
    /// Knows how the installation stands.
    pub lookout: Arc<dyn Lookout>,
    /// Ends the streams of pages that are open.
    pub stop: CancellationToken,
}

/// What the handlers call. Cheap to clone.
#[derive(Debug, Clone)]
struct Pages(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: PagesOptions,
    assets: Assets,
    seats: Seats,
}

impl std::ops::Deref for Pages {
    type Target = PagesOptions;

    fn deref(&self) -> &PagesOptions {
        &self.0.options
    }
}

/// A form of ours is a few hundred bytes.
const FORM_BYTES_MAX: usize = 16 << 10;

/// How long a page waits for its view before it says that the view is behind.
const VIEW_WAIT_MAX: Duration = Duration::from_secs(5);

/// All pages, to be nested under `/portal`.
pub fn router(options: PagesOptions) -> Router {
    let assets = Assets::new(&options.config);
    let seats = Seats::default();
    let pages = Pages(Arc::new(Inner { options, assets, seats }));
    let dressed = || axum::middleware::from_fn_with_state(pages.clone(), dress::dress);
    let seen_by_operators = account_pages().layer(dressed()).with_state(pages.clone());
    account_pages()
        .route("/", get(home))
        .route("/open/{link}", get(entrance::open).head(entrance::peek))
        .route("/sign-out", post(entrance::sign_out))
        .merge(operator::pages(seen_by_operators))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a page panicked");
            Fault::Internal.into_response()
        }))
        .layer(dressed())
        .layer(Measure::default())
        .with_state(pages)
}

/// The pages of one account, whoever looks at them.
fn account_pages() -> Router<Pages> {
    Router::new()
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/new", get(keys::ask_name))
        .route("/keys/{key}", get(keys::show))
        .route("/keys/{key}/limit", post(keys::limit))
        .route("/keys/{key}/rename", get(keys::ask_new_name).post(keys::rename))
        .route("/keys/{key}/delete", get(keys::ask_to_delete).post(keys::delete))
        .route("/keys/{key}/rotate", get(keys::ask_to_rotate).post(keys::rotate))
        .route("/credits", get(credits::show))
        .route("/credits/charges.csv", get(credits::download))
        .route("/credits/statement.csv", get(credits::statement_csv))
        .route("/credits/statement.parquet", get(credits::statement_parquet))
        .route("/then", get(credits::then))
        .route("/activity", get(activity::list))
        .route("/activity/{event}", get(activity::show))
        .route("/activity/{event}/document", get(activity::document))
        .route("/activity/{event}/proof", get(activity::proof))
        .route("/live", get(live::live))
        .route("/assets/{name}", get(assets::serve))
        .fallback(|| async { Fault::NotFound })
        .method_not_allowed_fallback(|| async { Fault::NotFound })
}

async fn home(uri: axum::extract::OriginalUri) -> Response {
    // Relative to the address that was asked, of which there are two.
    let slash = uri.path().ends_with('/');
    Redirect::to(if slash { "keys" } else { "portal/keys" }).into_response()
}

impl Pages {
    fn assets(&self) -> &Assets {
        &self.0.assets
    }

    fn seats(&self) -> &Seats {
        &self.0.seats
    }

    /// Waits until the views know of what this person did a moment ago.
    async fn wait_for(&self, view: ViewName, after: Option<Place>) -> Result<(), Fault> {
        match after {
            Some(place) if place.shard == self.views.shard() => {
                Ok(self.views.wait_for(view, place.position, VIEW_WAIT_MAX).await?)
            }
            Some(_) => Err(Fault::NotFound),
            None => Ok(()),
        }
    }
}
