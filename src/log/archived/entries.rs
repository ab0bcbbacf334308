//! What the database says of a segment beside its row: whose events are in it, and whose keys were made there.
//!
//! Promise: it is made of the events' bytes alone, so that it can be made again and compared.

use std::collections::BTreeMap;

use keyledger_events::Recorded;
use sqlx::{PgConnection, PgPool, Row as _};
use uuid::Uuid;

use crate::archive::{ArchiveError, Index, Segment, prove};
use crate::log::{Log, ReadError, bigint, timestamp};

/// Rows by what they are about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    accounts: BTreeMap<Uuid, OfAccount>,
    keys: BTreeMap<Uuid, OfKey>,
    /// Whose key each digest is.
    digests: BTreeMap<Vec<u8>, Uuid>,
}

#[derive(Debug, PartialEq, Eq)]
struct OfAccount {
    first_seq: i64,
    last_seq: i64,
    first_at_micros: i64,
    types: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct OfKey {
    last_position: i64,
    types: Vec<String>,
}

/// What came of looking at a segment again.
#[derive(Debug, thiserror::Error)]
pub enum SegmentFault {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the database says other things of segment {number} than its events do, about {what}")]
    Entries { number: u32, what: &'static str },
}

impl Entries {
    /// Reads every event strictly, and proves that the index is theirs.
    pub(super) fn of(segment: &Segment, index: &Index, events: &[Vec<u8>]) -> Result<Entries, ArchiveError> {
        let recorded = prove(segment, index, events)?;
        let mut entries = Entries::default();
        for (account, numbers) in index.accounts() {
            let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
                continue;
            };
            let seq = |number| index.seq_of(number).map_or(0, |seq| bigint(seq.0));
            entries.accounts.insert(
                Uuid::from_bytes(account.to_bytes()),
                OfAccount {
                    first_seq: seq(*first),
                    last_seq: seq(*last),
                    first_at_micros: index.time_of(*first).map_or(0, |time| time.micros()),
                    types: sorted(index.types_of(numbers)),
                },
            );
        }
        for (key, numbers) in index.keys() {
            let last = numbers.last().map_or(0, |last| segment.position_of(*last).0);
            entries.keys.insert(
                Uuid::from_bytes(key.to_bytes()),
                OfKey {
                    last_position: bigint(last),
                    types: sorted(index.types_of(numbers)),
                },
            );
        }
        entries.digests = recorded.iter().filter_map(digest).collect();
        Ok(entries)
    }

    pub(super) async fn insert(&self, connection: &mut PgConnection, segment: &Segment) -> Result<(), sqlx::Error> {
        let shard = i16::try_from(segment.shard.0).unwrap_or(i16::MAX);
        let number = i32::try_from(segment.number).unwrap_or(i32::MAX);
        let of: Vec<&OfAccount> = self.accounts.values().collect();
        sqlx::query(
            "insert into archive_accounts (shard, account_id, number, first_seq, last_seq, first_at, types)
             select $1, account_id, $2, first_seq, last_seq, 'epoch'::timestamptz + first_at * interval '1 microsecond',
                    string_to_array(types, ',')
             from unnest($3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[])
                  as row (account_id, first_seq, last_seq, first_at, types)",
        )
        .bind(shard)
        .bind(number)
        .bind(self.accounts.keys().copied().collect::<Vec<_>>())
        .bind(of.iter().map(|of| of.first_seq).collect::<Vec<_>>())
        .bind(of.iter().map(|of| of.last_seq).collect::<Vec<_>>())
        .bind(of.iter().map(|of| of.first_at_micros).collect::<Vec<_>>())
        .bind(of.iter().map(|of| of.types.join(",")).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "insert into archive_keys (shard, key_id, number, last_position, types)
             select $1, key_id, $2, last_position, string_to_array(types, ',')
             from unnest($3::uuid[], $4::bigint[], $5::text[]) as row (key_id, last_position, types)",
        )
        .bind(shard)
        .bind(number)
        .bind(self.keys.keys().copied().collect::<Vec<_>>())
        .bind(self.keys.values().map(|of| of.last_position).collect::<Vec<_>>())
        .bind(self.keys.values().map(|of| of.types.join(",")).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "insert into archive_digests (shard, key_digest, account_id)
             select $1, key_digest, account_id from unnest($2::bytea[], $3::uuid[]) as row (key_digest, account_id)",
        )
        .bind(shard)
        .bind(self.digests.keys().cloned().collect::<Vec<_>>())
        .bind(self.digests.values().copied().collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }

    /// What the database has of a segment, with those of its digests that are there.
    async fn read(pool: &PgPool, segment: &Segment, digests: Vec<Vec<u8>>) -> Result<Entries, ReadError> {
        let shard = i16::try_from(segment.shard.0).unwrap_or(i16::MAX);
        let number = i32::try_from(segment.number).unwrap_or(i32::MAX);
        let mut entries = Entries::default();
        let rows = sqlx::query(
            "select account_id, first_seq, last_seq, first_at, types from archive_accounts where shard = $1 and number = $2",
        )
        .bind(shard)
        .bind(number)
        .fetch_all(pool)
        .await?;
        for row in &rows {
            let of = OfAccount {
                first_seq: row.try_get("first_seq")?,
                last_seq: row.try_get("last_seq")?,
                first_at_micros: timestamp(row.try_get("first_at")?)?.micros(),
                types: row.try_get("types")?,
            };
            entries.accounts.insert(row.try_get("account_id")?, of);
        }
        let rows =
            sqlx::query("select key_id, last_position, types from archive_keys where shard = $1 and number = $2")
                .bind(shard)
                .bind(number)
                .fetch_all(pool)
                .await?;
        for row in &rows {
            let of = OfKey {
                last_position: row.try_get("last_position")?,
                types: row.try_get("types")?,
            };
            entries.keys.insert(row.try_get("key_id")?, of);
        }
        let rows = sqlx::query(
            "select key_digest, account_id from archive_digests where shard = $1 and key_digest = any($2::bytea[])",
        )
        .bind(shard)
        .bind(digests)
        .fetch_all(pool)
        .await?;
        for row in &rows {
            entries
                .digests
                .insert(row.try_get("key_digest")?, row.try_get("account_id")?);
        }
        Ok(entries)
    }
}

fn sorted(mut types: Vec<&str>) -> Vec<String> {
    types.sort_unstable();
    types.into_iter().map(str::to_owned).collect()
}

fn digest(recorded: &Recorded) -> Option<(Vec<u8>, Uuid)> {
    let digest = recorded.event.new_key_digest()?;
    Some((
        digest.as_bytes().to_vec(),
        Uuid::from_bytes(recorded.account.to_bytes()),
    ))
}

impl Log {
    /// Reads a segment whole and proves that it is what it was, and that the database finds in it what is in it.
    pub async fn check_segment(&self, segment: &Segment) -> Result<(), SegmentFault> {
        let (index, events) = self.archive.read_whole(segment).await.map_err(ReadError::from)?;
        let entries = Entries::of(segment, &index, &events).map_err(ReadError::from)?;
        let digests = entries.digests.keys().cloned().collect();
        let there = Entries::read(&self.pool, segment, digests).await?;
        let number = segment.number;
        let unlike = |what| Err(SegmentFault::Entries { number, what });
        if there.accounts != entries.accounts {
            return unlike("whose events are in it");
        }
        if there.keys != entries.keys {
            return unlike("which keys' events are in it");
        }
        if there.digests != entries.digests {
            return unlike("whose keys were made in it");
        }
        Ok(())
    }
}
