//! What has to be known beside events to tell them: how their keys are called now, who used the keys, and what people are
//! called. The log knows it by itself, so that a page of a history is one question.

use keyledger_events::PortalSessionId;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::read::stored;
use super::{ReadError, Stored};

/// Beside the events of a page, in no order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// The events that gave each key its present name.
    pub namings: Vec<Stored>,
    /// The uses of keys that began what events of the page ended. A use that lies more than 200 events of the account
    /// before its end is not found.
    pub uses: Vec<Stored>,
    /// What the platform called the people who did something.
    pub people: Vec<(PortalSessionId, String)>,
}

/// How far a use lies from its end at most, in events of the account.
pub(super) const USES_WITHIN: u64 = 200;

/// Rows beside those of `page`, a table of `position, seq, type, key_id, body`: the present names of its keys, and people.
macro_rules! names_beside {
    () => {
        "select 'naming' as part, named.position, named.body, null::uuid as session_id, null::text as name
         from (select distinct key_id from page where key_id is not null) of_key
         cross join lateral (
             select position, body from (
                 (select position, body from events
                  where shard = $1 and key_id = of_key.key_id and type = 'keyledger.KeyRenamed.v1'
                  order by position desc limit 1)
                 union all
                 (select position, body from events
                  where shard = $1 and key_id = of_key.key_id and type = 'keyledger.KeyCreated.v1'
                  order by position desc limit 1)
             ) naming order by position desc limit 1
         ) named
         union all
         select 'person', null, null, session_id, name from people_behind($2, array(select body from page))"
    };
}
pub(super) use names_beside;

/// A reservation's id, as bytes, in an event's bytes: within a text that somebody chose every quote has a backslash.
macro_rules! reservation_in {
    ($body:literal) => {
        concat!(
            "convert_to(substring(convert_from(",
            $body,
            ", 'UTF8') from '\"reservation\":\"(rsv_[0-9A-Z]{26})\"'), 'UTF8')"
        )
    };
}
pub(super) use reservation_in;

/// Rows beside those of `page`: the uses that began what it ended. `offset 0` keeps the id from being read anew for each
/// event that is looked at.
macro_rules! uses_beside {
    () => {
        concat!(
            "select 'use', used.position, used.body, null, null
             from (
                 select seq, ",
            reservation_in!("body"),
            " as reservation from page
                 where key_id is not null and type in
                     ('keyledger.CreditsReserved.v1', 'keyledger.CreditsCharged.v1', 'keyledger.CreditsReleased.v1')
                 offset 0
             ) ended
             cross join lateral (
                 select position, body from events
                 where shard = $1 and account_id = $2 and seq < ended.seq and seq >= ended.seq - 200
                   and type = 'keyledger.KeyUsed.v1' and position(ended.reservation in body) > 0
                 order by seq desc limit 1
             ) used"
        )
    };
}
pub(super) use uses_beside;

impl Beside {
    /// Takes a row that belongs here. Others are left alone.
    pub(super) fn take(&mut self, part: &str, row: &PgRow) -> Result<(), ReadError> {
        match part {
            "naming" => self.namings.push(stored(row)?),
            "use" => self.uses.push(stored(row)?),
            "person" => {
                let id: Uuid = row.try_get("session_id")?;
                let id = PortalSessionId::from_bytes(id.into_bytes());
                self.people.push((id, row.try_get("name")?));
            }
            _ => {}
        }
        Ok(())
    }
}
