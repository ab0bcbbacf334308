//! Where in the log a moment lies.

use keyledger_events::{Position, Timestamp};
use sqlx::Row as _;

use super::{Log, ReadError, bigint, in_time, position, time_column, timestamp};

impl Log {
    /// The last position up to `end` whose event is from before a moment; 0 when none is. Times never run backwards in a
    /// shard, so some forty looks down the primary key find it in a log of any length.
    pub async fn last_before(&self, moment: Timestamp, end: Position) -> Result<Position, ReadError> {
        let (mut before, mut from) = (0, end.0.saturating_add(1));
        if let Some(archived) = self.archived_last_before(moment).await? {
            if archived.is_in_there {
                return Ok(archived.before.min(end));
            }
            before = archived.before.0.min(end.0);
        }
        while from - before > 1 {
            let middle = before + (from - before) / 2;
            if self.recorded_at(Position(middle)).await? < moment {
                before = middle;
            } else {
                from = middle;
            }
        }
        Ok(Position(before))
    }

    /// Halving in the segment that begins at `first`.
    async fn last_before_from(&self, first: Position, moment: Timestamp) -> Result<Position, ReadError> {
        let before = Position(first.0.saturating_sub(1));
        let segment = self.segments_after(before).await?.into_iter().next();
        let segment = segment.ok_or(ReadError::Corrupt {
            what: "a segment that is gone",
        })?;
        let index = self.archive.index(&segment).await?;
        let (mut low, mut high) = (0, index.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if index.time_of(middle).is_some_and(|time| time < moment) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(Position(before.0.saturating_add(u64::from(low))))
    }

    /// When the event at a position was written, which is there.
    pub async fn recorded_at(&self, at: Position) -> Result<Timestamp, ReadError> {
        let here = in_time(async {
            let row = sqlx::query("select recorded_at from events where shard = $1 and position = $2")
                .bind(self.shard_column())
                .bind(bigint(at.0))
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| timestamp(row.try_get("recorded_at")?)).transpose()
        })
        .await?;
        match here {
            Some(time) => Ok(time),
            // It may have left meanwhile.
            None => self.archived_time(at).await?.ok_or(ReadError::Corrupt {
                what: "a position without an event",
            }),
        }
    }

    /// The same of what is archived. `None`: nothing is.
    async fn archived_last_before(&self, moment: Timestamp) -> Result<Option<ArchivedBefore>, ReadError> {
        let (first_after, all) = in_time(async {
            // The first segment whose end is not before the moment, and where the archive ends.
            let row = sqlx::query(
                "select (select first from archive_segments
                         where shard = $1 and last_at >= $2 order by number limit 1) as first_after,
                        (select last from archive_segments where shard = $1 order by number desc limit 1) as last",
            )
            .bind(self.shard_column())
            .bind(time_column(moment))
            .fetch_one(&self.pool)
            .await?;
            let column = |column| row.try_get::<Option<i64>, _>(column)?.map(position).transpose();
            Ok::<_, ReadError>((column("first_after")?, column("last")?))
        })
        .await?;
        let Some(all) = all else { return Ok(None) };
        let Some(first) = first_after else {
            return Ok(Some(ArchivedBefore {
                before: all,
                is_in_there: false,
            }));
        };
        Ok(Some(ArchivedBefore {
            before: self.last_before_from(first, moment).await?,
            is_in_there: true,
        }))
    }
}

/// The last archived event before a moment.
struct ArchivedBefore {
    before: Position,
    /// An archived event is not before the moment: nothing after the archive is.
    is_in_there: bool,
}
