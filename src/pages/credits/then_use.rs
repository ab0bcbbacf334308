//! Use up to a moment, to the event.

use std::collections::BTreeMap;

use keyledger_events::{AccountId, Credits, Recorded, Seq, Timestamp};
use keyledger_projections::{UsageRows, replay};

use super::used;
use crate::pages::Pages;
use crate::pages::activity::{DataKeys, decoded};
use crate::pages::fault::Fault;
use crate::views::{Line, Lines, Point, Range, ReleasedByCause, Step};

/// What was used by day and endpoint.
pub(super) struct Used {
    pub(super) points: Vec<Point>,
    pub(super) whole_hours_only: bool,
}

/// Events of one hour that are folded for a page, at most.
const HOUR_EVENTS_MAX: u64 = 20_000;
const PAGE: u32 = 2_000;

/// The days before from the view, this day's whole hours from it too, and the rest from the events up to `last`.
pub(super) async fn use_until(pages: &Pages, account: AccountId, at: Timestamp, last: Seq) -> Result<Used, Fault> {
    let first = used::range(at).map_err(|_| Fault::Internal)?.from();
    let (day, hour) = (at.start_of_day(), at.start_of_hour());
    let of_view = async |from: Timestamp, to: Timestamp, step: Step| -> Result<Vec<Point>, Fault> {
        match Range::new(from, to, step) {
            Ok(range) => Ok(pages
                .views
                .usage(account, range, Lines::Endpoint)
                .await?
                .value
                .unwrap_or_default()),
            Err(_) => Ok(Vec::new()),
        }
    };
    let (days, hours, rest) = tokio::try_join!(
        of_view(first, day, Step::Day),
        of_view(day, hour, Step::Hour),
        since(pages, account, hour, last),
    )?;
    let whole_hours_only = rest.is_none();
    let mut points = days;
    points.extend(hours.into_iter().map(|point| Point { at: day, ..point }));
    points.extend(summed(day, &rest.unwrap_or_default())?);
    Ok(Used {
        points,
        whole_hours_only,
    })
}

/// The account's events since a moment, up to one of them. `None` where they are too many.
async fn since(pages: &Pages, account: AccountId, from: Timestamp, last: Seq) -> Result<Option<Vec<Recorded>>, Fault> {
    let Some(span) = pages.log.span(account, from, from.plus_seconds(1)).await? else {
        return Ok(Some(Vec::new()));
    };
    if last.0.saturating_sub(span.before.0) > HOUR_EVENTS_MAX {
        return Ok(None);
    }
    let (mut events, mut after) = (Vec::new(), span.before);
    while after < last {
        let wanted = u32::try_from(last.0 - after.0).unwrap_or(PAGE).min(PAGE);
        let page = pages.log.account_events(account, after, wanted).await?;
        // Sums say nothing of people.
        let page = decoded(&page, &DataKeys::default())?;
        let Some(newest) = page.last() else { break };
        after = newest.seq;
        events.extend(page);
    }
    Ok(Some(events))
}

/// What events come to, by endpoint.
fn summed(day: Timestamp, events: &[Recorded]) -> Result<Vec<Point>, Fault> {
    let rows: UsageRows = replay(events).map_err(|error| {
        tracing::error!(%error, "use cannot be folded");
        Fault::Internal
    })?;
    let mut by_endpoint: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (id, sums) in &rows.used {
        let (uses, charged) = by_endpoint.entry(id.endpoint.as_str().to_owned()).or_default();
        *uses = uses.saturating_add(sums.uses);
        *charged = charged.saturating_add(sums.charged);
    }
    let point = |(endpoint, (uses, charged)): (String, (i64, i64))| Point {
        at: day,
        line: Line::Endpoint(endpoint),
        uses: uses.unsigned_abs(),
        test_uses: 0,
        charges: 0,
        quantity: 0,
        charged: Credits::from_micros(charged).unwrap_or(Credits::ZERO),
        refunded: Credits::ZERO,
        released: ReleasedByCause::default(),
    };
    Ok(by_endpoint.into_iter().map(point).collect())
}
