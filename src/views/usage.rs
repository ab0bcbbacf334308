//! Use over time: the charts.

use keyledger_events::{AccountId, Credits, KeyId, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{At, Columns as _, ViewError, Views, time_column, uuid_of};

/// How much time one point of a chart stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Hour,
    Day,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Step::Hour => "hour",
            Step::Day => "day",
        }
    }

    const fn micros(self) -> i64 {
        match self {
            Step::Hour => 3_600_000_000,
            Step::Day => 86_400_000_000,
        }
    }

    /// The beginning of the hour or day, UTC.
    pub const fn start(self, moment: Timestamp) -> Timestamp {
        match self {
            Step::Hour => moment.start_of_hour(),
            Step::Day => moment.start_of_day(),
        }
    }
}

/// What the lines of a chart are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    Total,
    Endpoint,
    Key,
}

/// From a moment to before another, in whole steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: Timestamp,
    to: Timestamp,
    step: Step,
}

/// The range is none that a chart can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("the end is not after the beginning")]
    Empty,
    #[error("a chart has at most {POINTS_MAX} points")]
    TooLong,
}

/// Points of a line: a year of days, or two weeks of hours.
pub const POINTS_MAX: u16 = 400;

/// Lines of a chart. What further lines there are is added up in one more.
pub const LINES_MAX: u16 = 50;

impl Range {
    /// Begins with the step that `from` lies in and ends with the one that holds the last moment before `to`.
    pub fn new(from: Timestamp, to: Timestamp, step: Step) -> Result<Range, RangeError> {
        if to <= from {
            return Err(RangeError::Empty);
        }
        let start = step.start(from);
        let end = match step.start(to) {
            whole if whole == to => whole,
            within => Timestamp::from_micros(within.micros() + step.micros()).unwrap_or(Timestamp::MAX),
        };
        if (end.micros() - start.micros()) / step.micros() > i64::from(POINTS_MAX) {
            return Err(RangeError::TooLong);
        }
        Ok(Range {
            from: start,
            to: end,
            step,
        })
    }

    pub const fn from(self) -> Timestamp {
        self.from
    }

    pub const fn to(self) -> Timestamp {
        self.to
    }

    pub const fn step(self) -> Step {
        self.step
    }
}

/// Whose use a line shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    Total,
    Endpoint(String),
    Key(KeyId),
    /// What had no key.
    Dashboard,
    /// All that are not among the first [`LINES_MAX`] by credits.
    Other,
}

/// One line at one step. Steps without any use have no point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub at: Timestamp,
    pub line: Line,
    pub uses: u64,
    /// How many of them were by test keys.
    pub test_uses: u64,
    /// Holds that were charged.
    pub charges: u64,
    pub quantity: u64,
    pub charged: Credits,
    /// Of charges of any time, in the step of the refund.
    pub refunded: Credits,
    pub released: ReleasedByCause,
}

/// Holds that cost nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReleasedByCause {
    pub requested: u64,
    pub queued: u64,
    pub error: u64,
    pub client_gone: u64,
    pub expired: u64,
    pub account_closed: u64,
}

/// `$table` and `$line` make two statements of one; each has its own plan.
macro_rules! chart {
    ($table:literal, $line:literal) => {
        concat!(
            "with steps as materialized (
                 select date_trunc($5, hour, 'UTC') as step, ",
            $line,
            " as line, sum(uses) as uses, sum(test_uses) as test_uses, sum(charges) as charges, sum(quantity) as quantity, sum(charged) as charged,
                     sum(refunded) as refunded,
                     sum(released_requested) as released_requested, sum(released_queued) as released_queued,
                     sum(released_error) as released_error, sum(released_client_gone) as released_client_gone,
                     sum(released_expired) as released_expired, sum(released_account_closed) as released_account_closed
                 from ",
            $table,
            " where account_id = $2 and hour >= $3 and hour < $4
                 group by 1, 2
             ), first as (
                 select line from steps group by line order by sum(charged) desc, sum(uses) desc, line limit $6
             )
             select c.position as at, exists (select from views.balance where account_id = $2) as known, p.*
             from views.checkpoints c
             left join lateral (
                 select s.step, f.line, sum(s.uses)::bigint as uses,
                     sum(s.test_uses)::bigint as test_uses, sum(s.charges)::bigint as charges,
                     sum(s.quantity)::bigint as quantity, sum(s.charged)::bigint as charged,
                     sum(s.refunded)::bigint as refunded,
                     sum(s.released_requested)::bigint as released_requested,
                     sum(s.released_queued)::bigint as released_queued,
                     sum(s.released_error)::bigint as released_error,
                     sum(s.released_client_gone)::bigint as released_client_gone,
                     sum(s.released_expired)::bigint as released_expired,
                     sum(s.released_account_closed)::bigint as released_account_closed
                 from steps s left join first f on f.line = s.line
                 group by s.step, f.line
             ) p on true
             where c.projection = 'usage' and c.shard = $1
             order by p.step, p.line"
        )
    };
}

fn released(row: &PgRow) -> Result<ReleasedByCause, ViewError> {
    Ok(ReleasedByCause {
        requested: row.count("released_requested")?,
        queued: row.count("released_queued")?,
        error: row.count("released_error")?,
        client_gone: row.count("released_client_gone")?,
        expired: row.count("released_expired")?,
        account_closed: row.count("released_account_closed")?,
    })
}

fn line(row: &PgRow, lines: Lines, account: AccountId) -> Result<Line, ViewError> {
    match lines {
        Lines::Total => Ok(Line::Total),
        Lines::Endpoint => Ok(row.text_or_none("line")?.map_or(Line::Other, Line::Endpoint)),
        Lines::Key => Ok(match row.key_or_none("line")? {
            None => Line::Other,
            Some(caller) if caller.to_bytes() == account.to_bytes() => Line::Dashboard,
            Some(key) => Line::Key(key),
        }),
    }
}

impl Views {
    /// An account's use in a range: points in order of time, at most [`POINTS_MAX`] steps of [`LINES_MAX`] lines and
    /// one for the others. `None` when there is no such account.
    pub async fn usage(
        &self,
        account: AccountId,
        range: Range,
        lines: Lines,
    ) -> Result<At<Option<Vec<Point>>>, ViewError> {
        let statement = match lines {
            Lines::Total => chart!("views.usage_by_endpoint", "''::text"),
            Lines::Endpoint => chart!("views.usage_by_endpoint", "endpoint"),
            Lines::Key => chart!("views.usage", "caller_id"),
        };
        let rows = sqlx::query(statement)
            .bind(self.shard_column())
            .bind(uuid_of(account.to_bytes()))
            .bind(time_column(range.from))
            .bind(time_column(range.to))
            .bind(range.step.as_str())
            .bind(i64::from(LINES_MAX))
            .fetch_all(&self.pool)
            .await?;
        let first = rows.first().ok_or(ViewError::Corrupt { what: "no checkpoint" })?;
        let position = first.position("at")?;
        if !first.try_get::<bool, _>("known")? {
            return Ok(At { position, value: None });
        }
        let mut points = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(at) = row.time_or_none("step")? else { continue };
            points.push(Point {
                at,
                line: line(row, lines, account)?,
                uses: row.count("uses")?,
                test_uses: row.count("test_uses")?,
                charges: row.count("charges")?,
                quantity: row.count("quantity")?,
                charged: row.credits("charged")?,
                refunded: row.credits("refunded")?,
                released: released(row)?,
            });
        }
        Ok(At {
            position,
            value: Some(points),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_made_of_whole_steps() {
        let range = Range::new(at("2026-11-24T10:30:00Z"), at("2026-11-25T00:00:01Z"), Step::Day).unwrap();
        assert_eq!(
            (range.from(), range.to()),
            (at("2026-11-24T00:00:00Z"), at("2026-11-26T00:00:00Z"))
        );
        let range = Range::new(at("2026-11-24T10:00:00Z"), at("2026-11-24T11:00:00Z"), Step::Hour).unwrap();
        assert_eq!(
            (range.from(), range.to()),
            (at("2026-11-24T10:00:00Z"), at("2026-11-24T11:00:00Z"))
        );
    }

    #[test]
    fn a_range_that_ends_before_it_begins_or_is_too_long_is_none() {
        let day = at("2026-11-24T00:00:00Z");
        assert_eq!(Range::new(day, day, Step::Day), Err(RangeError::Empty));
        let hours = |n: u32| Range::new(day, day.plus_seconds(n * 3_600), Step::Hour);
        assert!(hours(400).is_ok());
        assert_eq!(hours(401), Err(RangeError::TooLong));
        assert_eq!(
            Range::new(Timestamp::EPOCH, Timestamp::MAX, Step::Day),
            Err(RangeError::TooLong)
        );
    }
}
