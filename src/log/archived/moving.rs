//! Moving old events out of Postgres, as the database's owner: a segment at a time.
//!
//! In: a place, and up to when. Out: segments that were moved, and why the next one stays.
//!
//! Promise: a row leaves only after its bytes were read back from the place and found equal to it and to its leaf in the Merkle
//! tree, and in the SQL transaction that names the segment. Whoever is killed before has left a file that nobody reads and that the next run finds again; whoever
//! is killed afterwards has moved the segment. Of two who move at once one is told so.
//!
//! Not here: which rows a read finds, the files' form.

use keyledger_events::{Event, Position, Recorded, Shard, Timestamp, leaf_hash};
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use super::entries::Entries;
use crate::archive::{Archive, ArchiveError, BUNDLE_EVENTS, Built, Segment, Unfit, build};
use crate::log::{ReadError, bigint, position, time_column, timestamp};

/// Moves segments of one shard.
#[derive(Debug)]
pub struct Moving {
    connection: PgConnection,
    archive: Archive,
    shard: Shard,
    place: String,
    events: u64,
}

/// Which events may go.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    /// Only events from before this moment.
    pub before: Timestamp,
    /// Only events that the bus has, where that was asked.
    pub relayed: Option<Position>,
}

/// What came of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    Segment(Segment),
    Stays(Stays),
}

/// Why the next segment stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    #[error("the log has no further whole segment")]
    NotWhole,
    #[error("the next segment has events that are too young")]
    TooYoung,
    #[error("a view has not folded the next segment yet: it stands at {at}")]
    NotFolded { at: Position },
    #[error("the bus has not got the next segment yet: it stands at {at}")]
    NotRelayed { at: Position },
    #[error("no checkpoint covers the next segment yet: the last one is of {at} events")]
    NotSealed { at: Position },
}

/// Why a segment could not be moved. Its rows are where they were.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("the database did not do it: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the log cannot be archived: {0}")]
    Unfit(#[from] Unfit),
    #[error("the log cannot be archived: the event at {position}: {what}")]
    Event { position: Position, what: String },
    #[error("the event at {position} is not the same in the file {name}")]
    Differs { position: Position, name: String },
    #[error("the event at {position} is not the one that was sealed")]
    NotAsSealed { position: Position },
    #[error("segment {number} was moved by somebody else meanwhile")]
    MovedMeanwhile { number: u32 },
    #[error("building the segment was cut short")]
    CutShort,
}

/// A row as the log has it, with the columns beside its bytes.
struct Logged {
    recorded: Recorded,
    body: Vec<u8>,
}

impl Moving {
    /// `bundles`: how many bundles of 256 events make a segment.
    pub async fn open(
        database_url: &str,
        shard: Shard,
        archive: Archive,
        place: String,
        bundles: u32,
    ) -> Result<Moving, MoveError> {
        let events = u64::from(bundles.max(1)) * u64::try_from(BUNDLE_EVENTS).unwrap_or(u64::MAX);
        Ok(Moving {
            connection: PgConnection::connect(database_url).await?,
            archive,
            shard,
            place,
            events,
        })
    }

    fn shard_column(&self) -> i16 {
        i16::try_from(self.shard.0).unwrap_or(i16::MAX)
    }

    /// Moves the next segment, if it may go.
    pub async fn step(&mut self, until: &Until) -> Result<Moved, MoveError> {
        let (number, first) = self.next().await?;
        let last = Position(first.0 + self.events - 1);
        if let Some(stays) = self.stays(last, until).await? {
            return Ok(Moved::Stays(stays));
        }
        let place = self.place.clone();
        let rows = self.rows(first, last).await?;
        // Rows leave together with the segment's own row coming.
        if rows.is_empty() && self.next().await?.0 != number {
            return Err(MoveError::MovedMeanwhile { number });
        }
        let building = tokio::task::spawn_blocking(move || {
            let events = rows.iter().map(|row| (&row.recorded, row.body.as_slice()));
            build(&place, number, events)
        });
        let Built { file, segment, .. } = building.await.map_err(|_| MoveError::CutShort)??;
        self.archive.put(&segment, file).await?;
        self.finish(&segment).await?;
        Ok(Moved::Segment(segment))
    }

    /// Number and first position of the segment that comes next.
    async fn next(&mut self) -> Result<(u32, Position), MoveError> {
        let row =
            sqlx::query("select number, last from archive_segments where shard = $1 order by number desc limit 1")
                .bind(self.shard_column())
                .fetch_optional(&mut self.connection)
                .await?;
        let Some(row) = row else {
            return Ok((0, Position(1)));
        };
        let number: i32 = row.try_get("number")?;
        Ok((number.unsigned_abs() + 1, position(row.try_get("last")?)?.next()))
    }

    /// Why the segment that ends with `last` stays where it is, if it does.
    async fn stays(&mut self, last: Position, until: &Until) -> Result<Option<Stays>, MoveError> {
        let row = sqlx::query(
            "select coalesce((select min(position) from views.checkpoints where shard = $1), 0) as folded,
                    (select recorded_at from events where shard = $1 and position = $2) as recorded_at",
        )
        .bind(self.shard_column())
        .bind(bigint(last.0))
        .fetch_one(&mut self.connection)
        .await?;
        let Some(recorded_at) = row.try_get::<Option<_>, _>("recorded_at")? else {
            return Ok(Some(Stays::NotWhole));
        };
        if timestamp(recorded_at)? >= until.before {
            return Ok(Some(Stays::TooYoung));
        }
        let folded = position(row.try_get("folded")?)?;
        if folded < last {
            return Ok(Some(Stays::NotFolded { at: folded }));
        }
        if let Some(relayed) = until.relayed.filter(|relayed| *relayed < last) {
            return Ok(Some(Stays::NotRelayed { at: relayed }));
        }
        let sealed = self.sealed().await?;
        Ok(sealed
            .filter(|sealed| *sealed < last)
            .map(|sealed| Stays::NotSealed { at: sealed }))
    }

    /// How many events the last checkpoint covers. `None`: this log has no checkpoints.
    async fn sealed(&mut self) -> Result<Option<Position>, MoveError> {
        let size: Option<i64> = sqlx::query_scalar("select max(size) from audit_checkpoints where shard = $1")
            .bind(self.shard_column())
            .fetch_one(&mut self.connection)
            .await?;
        Ok(size.map(position).transpose()?)
    }

    /// The rows of a segment, each of them read strictly and found equal to the columns beside its bytes.
    async fn rows(&mut self, first: Position, last: Position) -> Result<Vec<Logged>, MoveError> {
        let rows = sqlx::query(
            "select position, account_id, seq, event_id, type, key_id, key_digest, recorded_at, body from events
             where shard = $1 and position between $2 and $3 order by position",
        )
        .bind(self.shard_column())
        .bind(bigint(first.0))
        .bind(bigint(last.0))
        .fetch_all(&mut self.connection)
        .await?;
        let shard = self.shard;
        let logged = tokio::task::spawn_blocking(move || rows.iter().map(|row| logged(shard, row)).collect());
        logged.await.map_err(|_| MoveError::CutShort)?
    }

    /// Reads the file back, compares it with the rows as they are now, and lets them go.
    async fn finish(&mut self, segment: &Segment) -> Result<(), MoveError> {
        let (index, events) = self.archive.read_whole(segment).await?;
        let entries = Entries::of(segment, &index, &events)?;
        let shard = self.shard_column();
        let mut transaction = self.connection.begin().await?;
        // Whoever else moves waits here, and then finds the segment there.
        sqlx::query("lock table archive_segments in share row exclusive mode")
            .execute(&mut *transaction)
            .await?;
        let moved: bool =
            sqlx::query_scalar("select exists (select from archive_segments where shard = $1 and number = $2)")
                .bind(shard)
                .bind(number_column(segment))
                .fetch_one(&mut *transaction)
                .await?;
        if moved {
            return Err(MoveError::MovedMeanwhile { number: segment.number });
        }
        compare(&mut transaction, segment, &events).await?;
        compare_leaves(&mut transaction, segment, &events).await?;
        insert(&mut transaction, segment).await?;
        entries.insert(&mut transaction, segment).await?;
        let gone = sqlx::query("delete from events where shard = $1 and position between $2 and $3")
            .bind(shard)
            .bind(bigint(segment.first.0))
            .bind(bigint(segment.last.0))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if gone != segment.events() {
            return Err(ReadError::Corrupt {
                what: "a segment with another number of rows",
            }
            .into());
        }
        transaction.commit().await?;
        Ok(())
    }
}

fn number_column(segment: &Segment) -> i32 {
    i32::try_from(segment.number).unwrap_or(i32::MAX)
}

fn logged(shard: Shard, row: &PgRow) -> Result<Logged, MoveError> {
    let position = position(row.try_get("position")?)?;
    let body: Vec<u8> = row.try_get("body")?;
    let recorded = Recorded::decode(&body).map_err(|error| MoveError::Event {
        position,
        what: error.to_string(),
    })?;
    let digest = digest_of(&recorded.event);
    let same = recorded.shard == shard
        && recorded.position == position
        && uuid(recorded.account.to_bytes()) == row.try_get::<Uuid, _>("account_id")?
        && bigint(recorded.seq.0) == row.try_get::<i64, _>("seq")?
        && uuid(recorded.id.to_bytes()) == row.try_get::<Uuid, _>("event_id")?
        && recorded.event.type_name() == row.try_get::<&str, _>("type")?
        && recorded.event.key().map(|key| uuid(key.to_bytes())) == row.try_get("key_id")?
        && digest == row.try_get::<Option<Vec<u8>>, _>("key_digest")?
        && recorded.time == timestamp(row.try_get("recorded_at")?)?;
    if !same {
        return Err(MoveError::Event {
            position,
            what: "a column beside it says something else".to_owned(),
        });
    }
    Ok(Logged { recorded, body })
}

fn uuid(bytes: [u8; 16]) -> Uuid {
    Uuid::from_bytes(bytes)
}

fn digest_of(event: &Event) -> Option<Vec<u8>> {
    event.new_key_digest().map(|digest| digest.as_bytes().to_vec())
}

/// Every byte of the file beside every row.
async fn compare(connection: &mut PgConnection, segment: &Segment, events: &[Vec<u8>]) -> Result<(), MoveError> {
    let rows = sqlx::query(
        "select position, body from events where shard = $1 and position between $2 and $3 order by position",
    )
    .bind(i16::try_from(segment.shard.0).unwrap_or(i16::MAX))
    .bind(bigint(segment.first.0))
    .bind(bigint(segment.last.0))
    .fetch_all(connection)
    .await?;
    let mut rows = rows.iter();
    for (at, event) in (segment.first.0..).map(Position).zip(events) {
        let same = match rows.next() {
            Some(row) => position(row.try_get("position")?)? == at && row.try_get::<&[u8], _>("body")? == event,
            None => false,
        };
        if !same {
            return Err(MoveError::Differs {
                position: at,
                name: segment.name.clone(),
            });
        }
    }
    Ok(())
}

/// Every event beside its leaf in the Merkle tree, as far as that is grown.
async fn compare_leaves(connection: &mut PgConnection, segment: &Segment, events: &[Vec<u8>]) -> Result<(), MoveError> {
    const LEAF_BYTES: usize = 32;
    let per_tile = u64::try_from(BUNDLE_EVENTS).unwrap_or(u64::MAX);
    let first_tile = (segment.first.0 - 1) / per_tile;
    let rows = sqlx::query(
        "select index, hashes from audit_tiles where shard = $1 and level = 0 and index between $2 and $3 order by index",
    )
    .bind(i16::try_from(segment.shard.0).unwrap_or(i16::MAX))
    .bind(bigint(first_tile))
    .bind(bigint((segment.last.0 - 1) / per_tile))
    .fetch_all(connection)
    .await?;
    for row in &rows {
        let tile = position(row.try_get("index")?)?.0;
        let hashes: &[u8] = row.try_get("hashes")?;
        let skipped = usize::try_from(tile - first_tile)
            .unwrap_or(usize::MAX)
            .saturating_mul(BUNDLE_EVENTS);
        let leaves = hashes.chunks(LEAF_BYTES).zip(events.iter().skip(skipped));
        for (at, (leaf, event)) in (tile * per_tile + 1..).zip(leaves) {
            if leaf_hash(event) != *leaf {
                return Err(MoveError::NotAsSealed { position: Position(at) });
            }
        }
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, segment: &Segment) -> Result<(), MoveError> {
    sqlx::query(
        "insert into archive_segments (shard, number, first, last, first_at, last_at, bytes, sha256, index_at, index_bytes,
             index_sha256, place, name)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(i16::try_from(segment.shard.0).unwrap_or(i16::MAX))
    .bind(number_column(segment))
    .bind(bigint(segment.first.0))
    .bind(bigint(segment.last.0))
    .bind(time_column(segment.first_at))
    .bind(time_column(segment.last_at))
    .bind(bigint(segment.bytes))
    .bind(segment.sha256.as_slice())
    .bind(bigint(segment.index_at))
    .bind(bigint(segment.index_bytes))
    .bind(segment.index_sha256.as_slice())
    .bind(&segment.place)
    .bind(&segment.name)
    .execute(connection)
    .await?;
    Ok(())
}
