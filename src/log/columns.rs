//! The columns beside the canonical bytes, for whoever checks that they say the same.

use keyledger_events::{AccountId, EventId, KeyDigest, KeyId, Position, Recorded, Seq, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Log, ReadError, bigint, in_time, position, timestamp};

/// What stands beside an event's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub position: Position,
    account: AccountId,
    seq: i64,
    id: EventId,
    type_name: String,
    key: Option<KeyId>,
    digest: Option<Vec<u8>>,
    time: Timestamp,
    leads_key: bool,
}

impl Columns {
    /// Whose event it is, and its number there, as far as the columns are to be believed.
    pub fn of_account(&self) -> (AccountId, Seq) {
        (self.account, Seq(self.seq.unsigned_abs()))
    }

    /// Its key, as far as the columns are to be believed.
    pub fn key(&self) -> Option<KeyId> {
        self.key
    }

    /// Whether it is in the log's index by key itself.
    pub fn leads_key(&self) -> bool {
        self.leads_key
    }

    /// The first column that is not what the event says.
    pub fn differs_from(&self, event: &Recorded) -> Option<&'static str> {
        let digest = event.event.new_key_digest();
        let digest = digest.as_ref().map(KeyDigest::as_bytes).map(<[u8; 32]>::as_slice);
        [
            ("position", self.position == event.position),
            ("account_id", self.account == event.account),
            ("seq", self.seq == bigint(event.seq.0)),
            ("event_id", self.id == event.id),
            ("type", self.type_name == event.event.type_name()),
            ("key_id", self.key == event.event.key()),
            ("key_digest", self.digest.as_deref() == digest),
            ("recorded_at", self.time == event.time),
        ]
        .into_iter()
        .find_map(|(column, same)| (!same).then_some(column))
    }
}

fn columns(row: &PgRow) -> Result<Columns, ReadError> {
    let account: Uuid = row.try_get("account_id")?;
    let id: Uuid = row.try_get("event_id")?;
    let key: Option<Uuid> = row.try_get("key_id")?;
    Ok(Columns {
        position: position(row.try_get("position")?)?,
        account: AccountId::from_bytes(account.into_bytes()),
        seq: row.try_get("seq")?,
        id: EventId::from_bytes(id.into_bytes()),
        type_name: row.try_get("type")?,
        key: key.map(|key| KeyId::from_bytes(key.into_bytes())),
        digest: row.try_get("key_digest")?,
        time: timestamp(row.try_get("recorded_at")?)?,
        leads_key: row.try_get("leads_key")?,
    })
}

impl Log {
    /// The columns of the events after a position, up to and with another: of those that are rows.
    pub async fn columns(&self, after: Position, last: Position) -> Result<Vec<Columns>, ReadError> {
        in_time(async {
            let rows = sqlx::query(
                "select position, account_id, seq, event_id, type, key_id, key_digest, recorded_at, leads_key
                 from events where shard = $1 and position > $2 and position <= $3 order by position",
            )
            .bind(self.shard_column())
            .bind(bigint(after.0))
            .bind(bigint(last.0))
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(columns).collect()
        })
        .await
    }

    /// The position of the first event after this one, if there is one.
    pub async fn first_after(&self, after: Position) -> Result<Option<Position>, ReadError> {
        in_time(async {
            let found: Option<i64> = sqlx::query_scalar(
                "select position from events where shard = $1 and position > $2 order by position limit 1",
            )
            .bind(self.shard_column())
            .bind(bigint(after.0))
            .fetch_optional(&self.pool)
            .await?;
            found.map(position).transpose()
        })
        .await
    }
}
