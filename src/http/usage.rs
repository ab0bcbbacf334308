//! Use over time: what the charts show.

use axum::extract::State;
use keyledger_events::{AccountId, Credits, KeyId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answered, Failure, found};
use super::extract::{Allowed, InPath, InQuery, Read};
use super::look::wait_for_list;
use super::place::Place;
use super::{App, problems};
use crate::clock;
use crate::problem::Problem;
use crate::views::{self, Line, Lines, Range, RangeError, ViewName};

/// What to add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    /// All of it, day by day.
    #[default]
    Day,
    /// All of it, hour by hour.
    Hour,
    /// Each endpoint by itself.
    Endpoint,
    /// Each key by itself.
    Key,
}

/// How much time one item stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    Day,
    Hour,
}

/// Of the use.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageQuery {
    /// The first moment; its whole step is shown. 30 days before `to`, unless said.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-01T00:00:00Z")]
    from: Option<Timestamp>,
    /// The moment at which to end. Now, unless said.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-12-01T00:00:00Z")]
    to: Option<Timestamp>,
    /// `day` unless said.
    #[param(value_type = Option<By>, inline)]
    by: Option<By>,
    /// With `by=endpoint` and `by=key`: `day` unless said.
    #[param(value_type = Option<Step>, inline)]
    step: Option<Step>,
    /// Answer only from a view that has reached this place of the log; a `Ledger-Position` that you were given, such as `0:812`.
    #[param(value_type = Option<String>, pattern = "^[0-9]+:[0-9]+$")]
    after: Option<Place>,
}

const DAYS_UNLESS_SAID: u32 = 30;
const HOURS_UNLESS_SAID: u32 = 7 * 24;

impl UsageQuery {
    fn step(&self) -> Result<views::Step, Problem> {
        match (self.by.unwrap_or_default(), self.step) {
            (By::Day | By::Hour, Some(_)) => Err(problems::invalid_query("step", "by says it already")),
            (By::Day, None) | (By::Endpoint | By::Key, None | Some(Step::Day)) => Ok(views::Step::Day),
            (By::Hour, None) | (By::Endpoint | By::Key, Some(Step::Hour)) => Ok(views::Step::Hour),
        }
    }

    fn range(&self) -> Result<Range, Problem> {
        let step = self.step()?;
        let to = self.to.unwrap_or_else(clock::now);
        let hours = match step {
            views::Step::Day => DAYS_UNLESS_SAID * 24,
            views::Step::Hour => HOURS_UNLESS_SAID,
        };
        let from = self.from.unwrap_or_else(|| to.minus_seconds(hours * 3_600));
        Range::new(from, to, step).map_err(|error| match error {
            RangeError::Empty => problems::invalid_query("to", "must be after from"),
            RangeError::TooLong => problems::invalid_query("from", "must be at most 400 steps before to"),
        })
    }

    fn lines(&self) -> Lines {
        match self.by.unwrap_or_default() {
            By::Day | By::Hour => Lines::Total,
            By::Endpoint => Lines::Endpoint,
            By::Key => Lines::Key,
        }
    }
}

/// An account's use in a range. Steps without any are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageBody {
    /// Where the first step begins.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Where the last step ends.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    step: Step,
    /// In order of time. At most 400 steps, and 50 endpoints or keys: those with the most credits.
    items: Vec<UsageItem>,
}

/// Whose use an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Of {
    /// The account's.
    Total,
    Endpoint,
    Key,
    /// Without a key.
    Dashboard,
    /// The endpoints or keys that are not among the 50, added up.
    Other,
}

/// What was used in one step.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageItem {
    /// Where the step begins.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    of: Of,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "serp")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "key_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    key: Option<KeyId>,
    /// How often data was asked for and let through.
    uses: u64,
    /// How many of these were by test keys, which cost nothing.
    test_uses: u64,
    /// How often it was charged.
    charges: u64,
    /// Units delivered.
    quantity: u64,
    #[schema(value_type = String, example = "0.5")]
    charged: Credits,
    /// What was taken back in this step, of charges of any time.
    #[schema(value_type = String, example = "0")]
    refunded: Credits,
    /// How often it cost nothing.
    released: ReleasedBody,
}

/// Holds that were released, by cause.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ReleasedBody {
    requested: u64,
    queued: u64,
    error: u64,
    client_gone: u64,
    expired: u64,
    account_closed: u64,
}

impl From<views::Point> for UsageItem {
    fn from(point: views::Point) -> UsageItem {
        let (of, endpoint, key) = match point.line {
            Line::Total => (Of::Total, None, None),
            Line::Endpoint(endpoint) => (Of::Endpoint, Some(endpoint), None),
            Line::Key(key) => (Of::Key, None, Some(key)),
            Line::Dashboard => (Of::Dashboard, None, None),
            Line::Other => (Of::Other, None, None),
        };
        UsageItem {
            at: point.at,
            of,
            endpoint,
            key,
            uses: point.uses,
            test_uses: point.test_uses,
            charges: point.charges,
            quantity: point.quantity,
            charged: point.charged,
            refunded: point.refunded,
            released: ReleasedBody {
                requested: point.released.requested,
                queued: point.released.queued,
                error: point.released.error,
                client_gone: point.released.client_gone,
                expired: point.released.expired,
                account_closed: point.released.account_closed,
            },
        }
    }
}

/// Shows an account's use over time: all of it, by endpoint or by key.
///
/// 200 the use. 400 a position that is none. 404 no such account. 422 a parameter is not acceptable, or the range is of
/// more than 400 steps. 503 the view is behind `after`.
#[utoipa::path(get, path = "/v1/accounts/{account}/usage", tag = "credits", params(UsageQuery), responses(
    (status = 200, description = "The use.", body = UsageBody),
))]
pub(super) async fn show_usage(
    State(app): State<App>,
    _: Allowed<Read>,
    InPath(account): InPath<AccountId>,
    InQuery(query): InQuery<UsageQuery>,
) -> Result<Answered<UsageBody>, Failure> {
    let range = query.range()?;
    wait_for_list(&app, ViewName::Usage, query.after).await?;
    let at = app.views.usage(account, range, query.lines()).await?;
    found(app.views.shard(), at, Problem::unknown_account, |points, _| UsageBody {
        from: range.from(),
        to: range.to(),
        step: match range.step() {
            views::Step::Day => Step::Day,
            views::Step::Hour => Step::Hour,
        },
        items: points.into_iter().map(UsageItem::from).collect(),
    })
}
