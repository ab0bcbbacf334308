//! What has to be known beside events to tell them, where some of it may be archived: what `told.rs` asks of Postgres alone.

use std::collections::BTreeSet;

use keyledger_events::{AccountId, KeyId, PortalSessionId, Recorded, Seq};
use sqlx::Row as _;
use uuid::Uuid;

use crate::log::read::all_stored;
use crate::log::told::{Beside, USES_WITHIN};
use crate::log::{Log, ReadError, Stored, in_time};

/// What ends a use.
const ENDS: [&str; 3] = [
    "keyledger.CreditsReserved.v1",
    "keyledger.CreditsCharged.v1",
    "keyledger.CreditsReleased.v1",
];

/// The event that a reservation's work ended with.
struct Ended {
    seq: Seq,
    reservation: Vec<u8>,
}

impl Log {
    /// Everything beside a page, the uses only where they are asked for.
    pub(in crate::log) async fn beside(
        &self,
        account: AccountId,
        page: &[Stored],
        with_uses: bool,
    ) -> Result<Beside, ReadError> {
        let events = decoded(page)?;
        let keys: BTreeSet<KeyId> = events.iter().filter_map(|event| event.event.key()).collect();
        let uses = if with_uses {
            self.uses_of(account, page, &events).await?
        } else {
            Vec::new()
        };
        Ok(Beside {
            namings: self.namings(&keys).await?,
            uses,
            people: self.people(account, page).await?,
        })
    }

    async fn namings(&self, keys: &BTreeSet<KeyId>) -> Result<Vec<Stored>, ReadError> {
        let ids: Vec<Uuid> = keys.iter().map(|key| Uuid::from_bytes(key.to_bytes())).collect();
        let mut namings = in_time(async {
            let rows = sqlx::query(
                "select named.position, named.body from unnest($2::uuid[]) as of_key (key_id)
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
                 ) named",
            )
            .bind(self.shard_column())
            .bind(&ids)
            .fetch_all(&self.pool)
            .await?;
            all_stored(&rows)
        })
        .await?;
        let known: BTreeSet<KeyId> = decoded(&namings)?
            .iter()
            .filter_map(|event| event.event.key())
            .collect();
        for key in keys.difference(&known) {
            namings.extend(self.archived_naming(*key).await?);
        }
        Ok(namings)
    }

    /// The uses that began what events of the page ended: read once for those that lie near each other.
    async fn uses_of(
        &self,
        account: AccountId,
        page: &[Stored],
        events: &[Recorded],
    ) -> Result<Vec<Stored>, ReadError> {
        let ended = page
            .iter()
            .zip(events)
            .filter(|(_, event)| event.event.key().is_some() && ENDS.contains(&event.event.type_name()));
        let mut ended: Vec<Ended> = ended
            .filter_map(|(stored, event)| {
                Some(Ended {
                    seq: event.seq,
                    reservation: reservation_in(&stored.body)?.to_vec(),
                })
            })
            .collect();
        ended.sort_by_key(|ended| ended.seq);
        let mut uses = Vec::new();
        for near in ended.chunk_by(|before, after| after.seq.0 - before.seq.0 <= USES_WITHIN) {
            let (Some(first), Some(last)) = (near.first(), near.last()) else {
                continue;
            };
            let after = Seq(first.seq.0.saturating_sub(USES_WITHIN + 1));
            let before = Seq(last.seq.0.saturating_sub(1));
            let used = self
                .events_of_types(account, after, before, &["keyledger.KeyUsed.v1"])
                .await?;
            let seqs: Vec<Seq> = decoded(&used)?.iter().map(|event| event.seq).collect();
            for ended in near {
                let within = ended.seq.0.saturating_sub(USES_WITHIN)..ended.seq.0;
                let found = seqs
                    .iter()
                    .zip(&used)
                    .rev()
                    .find(|(seq, stored)| within.contains(&seq.0) && has(&stored.body, &ended.reservation));
                uses.extend(found.map(|(_, stored)| stored.clone()));
            }
        }
        Ok(uses)
    }

    async fn people(&self, account: AccountId, page: &[Stored]) -> Result<Vec<(PortalSessionId, String)>, ReadError> {
        let bodies: Vec<&[u8]> = page.iter().map(|stored| stored.body.as_slice()).collect();
        in_time(async {
            let rows = sqlx::query("select session_id, name from people_behind($1, $2::bytea[])")
                .bind(Uuid::from_bytes(account.to_bytes()))
                .bind(&bodies)
                .fetch_all(&self.pool)
                .await?;
            let person = |row: &sqlx::postgres::PgRow| {
                let id: Uuid = row.try_get("session_id")?;
                Ok((PortalSessionId::from_bytes(id.into_bytes()), row.try_get("name")?))
            };
            rows.iter().map(person).collect()
        })
        .await
    }
}

pub(super) fn decoded(page: &[Stored]) -> Result<Vec<Recorded>, ReadError> {
    let decoded = page.iter().map(|stored| {
        stored.decode().map_err(|_| ReadError::Corrupt {
            what: "an event that cannot be read",
        })
    });
    decoded.collect()
}

/// A reservation's id in an event's bytes: within a text that somebody chose every quote has a backslash.
pub(super) fn reservation_in(body: &[u8]) -> Option<&[u8]> {
    const MEMBER: &[u8] = b"\"reservation\":\"";
    const ID_BYTES: usize = "rsv_".len() + 26;
    body.windows(MEMBER.len())
        .enumerate()
        .filter(|(_, here)| *here == MEMBER)
        .find_map(|(at, _)| {
            let (id, rest) = body.get(at + MEMBER.len()..)?.split_at_checked(ID_BYTES)?;
            let ulid = id.strip_prefix(b"rsv_")?;
            let is_id = ulid
                .iter()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
            (is_id && rest.starts_with(b"\"")).then_some(id)
        })
}

pub(in crate::log) fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|here| here == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservations_id_is_found_where_it_is_a_member_of_its_own() {
        let id = b"rsv_01J00000000000000000000000";
        let body =
            |inside: &str| format!("{{\"name\":\"{inside}\",\"reservation\":\"rsv_01J00000000000000000000000\"}}");
        assert_eq!(reservation_in(body("a").as_bytes()), Some(id.as_slice()));
        let quoted = body("\\\"reservation\\\":\\\"rsv_01J00000000000000000000009\\\"");
        assert_eq!(reservation_in(quoted.as_bytes()), Some(id.as_slice()));
        assert_eq!(reservation_in(b"{\"reservation\":\"rsv_01J\"}"), None);
        assert!(has(b"abc", b"bc") && !has(b"abc", b"cd"));
    }
}
