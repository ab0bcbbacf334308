//! What an account was at some of its events: a shortcut for replays, never a truth. And where in an account's history a
//! moment or a position is.

use keyledger_events::{AccountId, Position, Seq, Timestamp};
use sqlx::Row as _;
use uuid::Uuid;

use super::archived::Whose;
use super::{Log, ReadError, bigint, in_time, position, time_column};

/// An account's state after the event `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayMark {
    pub seq: Seq,
    pub state: Vec<u8>,
}

/// An account that has grown since its last mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grown {
    pub account: AccountId,
    /// As far as it is known.
    pub last: Seq,
    /// Its last mark is after this event; 0 of none.
    pub mark: Seq,
}

/// What a state's bytes mean. Marks of another version are not read.
pub(crate) const REPLAY_MARKS_FORMAT: i32 = 2;

/// The last event of the account for which something is so that is so of all before it: by halving, some twenty looks into
/// the index of the account's events, down to the archived ones, which are told as one: the archive knows more. `null`: of
/// none.
macro_rules! last_where {
    ($so:literal) => {
        concat!(
            "with recursive archive as materialized (
                 select coalesce(max(last_seq), 0) as until from archive_accounts where shard = $1 and account_id = $2
             ), halving (low, high) as (
                 select archive.until, coalesce((select seq from events where shard = $1 and account_id = $2
                                                 order by seq desc limit 1), archive.until) from archive
                 union all
                 select case when looked_at.is_so then halves.middle else halving.low end,
                        case when looked_at.is_so then halving.high else halves.middle - 1 end
                 from halving
                 cross join lateral (select (halving.low + halving.high + 1) / 2 as middle) halves
                 cross join lateral (
                     select ",
            $so,
            " as is_so from events where shard = $1 and account_id = $2 and seq = halves.middle
                 ) looked_at
                 where halving.low < halving.high
             )
             select low as seq, archive.until from halving cross join archive where low >= high limit 1"
        )
    };
}

impl Log {
    /// The account's last event up to a position. `None`: it had none yet.
    pub async fn seq_at_position(&self, account: AccountId, at: Position) -> Result<Option<Seq>, ReadError> {
        let (seq, archived) = in_time(async {
            let row = sqlx::query(last_where!("position <= $3"))
                .bind(self.shard_column())
                .bind(Uuid::from_bytes(account.to_bytes()))
                .bind(bigint(at.0))
                .fetch_optional(&self.pool)
                .await?;
            seq_and_archived(row)
        })
        .await?;
        if seq > archived {
            return Ok(Some(seq));
        }
        let found = self.archived_up_to(Whose::Account(account), Position(1), at).await?;
        Ok(found.map(|(seq, _)| seq))
    }

    /// The account's last event up to a moment, those at it included.
    pub async fn seq_at_moment(&self, account: AccountId, at: Timestamp) -> Result<Option<Seq>, ReadError> {
        let (seq, archived) = in_time(async {
            let row = sqlx::query(last_where!("recorded_at <= $3"))
                .bind(self.shard_column())
                .bind(Uuid::from_bytes(account.to_bytes()))
                .bind(time_column(at))
                .fetch_optional(&self.pool)
                .await?;
            seq_and_archived(row)
        })
        .await?;
        if seq > archived {
            return Ok(Some(seq));
        }
        let after = Timestamp::from_micros(at.micros() + 1).unwrap_or(at);
        let (seq, _) = self.archived_before(account, after).await?;
        Ok((seq > Seq::START).then_some(seq))
    }

    /// The account's last mark that is not after an event.
    pub async fn replay_mark(&self, account: AccountId, last: Seq) -> Result<Option<ReplayMark>, ReadError> {
        in_time(async {
            let row = sqlx::query(
                "select seq, state from replay_marks
                 where shard = $1 and account_id = $2 and seq <= $3 and format = $4 order by seq desc limit 1",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(last.0))
            .bind(REPLAY_MARKS_FORMAT)
            .fetch_optional(&self.pool)
            .await?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some(ReplayMark {
                seq: Seq(position(row.try_get("seq")?)?.0),
                state: row.try_get("state")?,
            }))
        })
        .await
    }

    /// Keeps a mark.
    pub async fn keep_replay_mark(&self, account: AccountId, mark: &ReplayMark) -> Result<(), ReadError> {
        in_time(async {
            sqlx::query(
                "insert into replay_marks (shard, account_id, seq, format, state)
                 select $1, $2, $3, $4, $5
                 -- Somebody may have read what was erased meanwhile.
                 where not exists (
                     select from data_keys k where k.shard = $1 and k.account_id = $2 and k.erased_at is not null)
                 on conflict on constraint replay_marks_pkey do update
                 set format = excluded.format, state = excluded.state
                 where replay_marks.format <> excluded.format",
            )
            .bind(self.shard_column())
            .bind(Uuid::from_bytes(account.to_bytes()))
            .bind(bigint(mark.seq.0))
            .bind(REPLAY_MARKS_FORMAT)
            .bind(&mark.state)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    /// Accounts with so many events since their last mark, as far as the snapshots of the writer know, and how far they
    /// know each of them; those that have grown most come first, and `passed` are passed over. Of those that have few no snapshot
    /// is written either.
    pub async fn grown_since_mark(
        &self,
        events: i64,
        limit: i64,
        passed: &[AccountId],
    ) -> Result<Vec<Grown>, ReadError> {
        let passed: Vec<Uuid> = passed.iter().map(|id| Uuid::from_bytes(id.to_bytes())).collect();
        in_time(async {
            let rows = sqlx::query(
                "select s.account_id, s.seq, last.mark from account_snapshots s
                 cross join lateral (select coalesce((
                     select m.seq from replay_marks m
                     where m.shard = s.shard and m.account_id = s.account_id and m.format = $2
                     order by m.seq desc limit 1), 0) as mark) last
                 where s.shard = $1 and s.seq - last.mark >= $3 and s.account_id <> all($5)
                 order by s.seq - last.mark desc limit $4",
            )
            .bind(self.shard_column())
            .bind(REPLAY_MARKS_FORMAT)
            .bind(events)
            .bind(limit)
            .bind(&passed)
            .fetch_all(&self.pool)
            .await?;
            let grown = |row: &sqlx::postgres::PgRow| {
                let account: Uuid = row.try_get("account_id")?;
                let seq = |column| Ok::<Seq, ReadError>(Seq(position(row.try_get(column)?)?.0));
                Ok(Grown {
                    account: AccountId::from_bytes(account.into_bytes()),
                    last: seq("seq")?,
                    mark: seq("mark")?,
                })
            };
            rows.iter().map(grown).collect()
        })
        .await
    }
}

/// What was found, and how much of the account's history is archived.
fn seq_and_archived(row: Option<sqlx::postgres::PgRow>) -> Result<(Seq, Seq), ReadError> {
    let Some(row) = row else {
        return Ok((Seq::START, Seq::START));
    };
    let seq = |column| Ok::<Seq, ReadError>(Seq(position(row.try_get(column)?)?.0));
    Ok((seq("seq")?, seq("until")?))
}
