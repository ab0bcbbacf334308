//! One event in its place: what came before and after it, and the other steps of its request.

use keyledger_events::{AccountId, Position};
use sqlx::Row as _;
use uuid::Uuid;

use super::read::stored;
use super::told::{Beside, names_beside, reservation_in};
use super::{Log, ReadError, Stored, bigint, in_time, position};

/// An event with what is around it in its account's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub event: Stored,
    pub older: Option<Position>,
    pub newer: Option<Position>,
    /// The events within 200 of it that hold the id of its reservation, itself among them, the oldest first.
    pub steps: Vec<Stored>,
    /// Without the uses: they are among the steps.
    pub beside: Beside,
}

/// How far a request's steps lie from each other at most, and how many are shown.
pub(super) const STEPS_WITHIN: u64 = 200;
pub(super) const STEPS_MAX: usize = 10;

const EVENT_IN_ITS_PLACE: &str = concat!(
    "with found as materialized (
         select position, seq, type, key_id, body, ",
    reservation_in!("body"),
    " as reservation
         from events where shard = $1 and position = $3 and account_id = $2
     ), near as materialized (
         select step.* from found cross join lateral (
             select position, seq, type, key_id, body from events
             where shard = $1 and account_id = $2 and seq between found.seq - 200 and found.seq + 200
               and position(found.reservation in body) > 0
             order by seq limit 10
         ) step
     ), page as (
         select position, seq, type, key_id, body from found
         union
         select position, seq, type, key_id, body from near
     )
     select 'event' as part, position, body, null::uuid as session_id, null::text as name from found
     union all
     select 'step', position, body, null, null from near
     union all
     select 'older', e.position, null, null, null from found
     join events e on e.shard = $1 and e.account_id = $2 and e.seq = found.seq - 1
     union all
     select 'newer', e.position, null, null, null from found
     join events e on e.shard = $1 and e.account_id = $2 and e.seq = found.seq + 1
     union all
     (select 'archived', last_seq, null, null, null from archive_accounts
      where shard = $1 and account_id = $2 order by number desc limit 1)
     union all ",
    names_beside!()
);

impl Log {
    /// The event of an account at a position, if it has one there.
    pub async fn event_of(&self, account: AccountId, at: Position) -> Result<Option<Placed>, ReadError> {
        let placed = in_time(async {
            let rows = sqlx::query(EVENT_IN_ITS_PLACE)
                .bind(self.shard_column())
                .bind(Uuid::from_bytes(account.to_bytes()))
                .bind(bigint(at.0))
                .fetch_all(&self.pool)
                .await?;
            let (mut event, mut older, mut newer) = (None, None, None);
            let (mut steps, mut beside) = (Vec::new(), Beside::default());
            for row in &rows {
                match row.try_get("part")? {
                    "event" => event = Some(stored(row)?),
                    "step" => steps.push(stored(row)?),
                    "older" => older = Some(position(row.try_get("position")?)?),
                    "archived" => return Ok(InPlace::PerhapsArchived),
                    "newer" => newer = Some(position(row.try_get("position")?)?),
                    part => beside.take(part, row)?,
                }
            }
            steps.sort_by_key(|step: &Stored| step.position);
            Ok(InPlace::Here(event.map(|event| Placed {
                event,
                older,
                newer,
                steps,
                beside,
            })))
        })
        .await?;
        match placed {
            InPlace::Here(placed) => Ok(placed),
            InPlace::PerhapsArchived => self.placed_through(account, at).await,
        }
    }
}

/// What Postgres alone can tell.
enum InPlace {
    Here(Option<Placed>),
    /// Something of the account's history is archived.
    PerhapsArchived,
}
