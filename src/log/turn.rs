//! A turn with the pen: the head is held, so that nobody else appends until ours is in. For processes that keep losing
//! races: Postgres lets those who wait for a row take it one after the other.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::{Head, Log, ReadError, in_time, position, timestamp};

/// The connection that appends.
#[derive(Debug)]
pub(super) struct Pen {
    pub connection: PgConnection,
    /// Whether its SQL transaction holds the head.
    pub in_turn: bool,
}

/// There is one way to run the append, and planning it anew costs more the longer its arrays are. And a process that falls
/// silent in its turn loses it soon: all others wait.
const PEN_SETTINGS: &str = "set plan_cache_mode = force_generic_plan; set idle_in_transaction_session_timeout = '2s'";

impl Log {
    /// Waits in line for the head, and holds it until the next append or `leave_turn`, for 2 s of silence at most. Says where
    /// it stands.
    pub async fn take_turn(&self) -> Result<Head, ReadError> {
        in_time(async {
            let mut held = self.pen.lock().await;
            let mut pen = match held.take() {
                Some(pen) if !pen.in_turn => pen,
                _ => self.new_pen().await?,
            };
            sqlx::query("begin").execute(&mut pen.connection).await?;
            let row = sqlx::query("select position, recorded_at from log_head where shard = $1 for update")
                .bind(self.shard_column())
                .fetch_optional(&mut pen.connection)
                .await?
                .ok_or(ReadError::NoHead { shard: self.shard })?;
            pen.in_turn = true;
            *held = Some(pen);
            Ok(Head {
                position: position(row.try_get("position")?)?,
                recorded_at: timestamp(row.try_get("recorded_at")?)?,
            })
        })
        .await
    }

    /// Lets the head go without an append, if it is held.
    pub async fn leave_turn(&self) {
        let mut held = self.pen.lock().await;
        let Some(mut pen) = held.take_if(|pen| pen.in_turn) else {
            return;
        };
        // A connection that cannot say so is closed, which lets go too.
        let rollback = async { Ok(sqlx::query("rollback").execute(&mut pen.connection).await?) };
        if in_time(rollback).await.is_ok() {
            pen.in_turn = false;
            *held = Some(pen);
        }
    }

    pub(super) async fn new_pen(&self) -> Result<Pen, sqlx::Error> {
        let mut connection = self.pool.acquire().await?.detach();
        sqlx::raw_sql(PEN_SETTINGS).execute(&mut connection).await?;
        Ok(Pen {
            connection,
            in_turn: false,
        })
    }
}
