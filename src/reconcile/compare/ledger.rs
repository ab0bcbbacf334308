//! The charges of a period, from the log.

use keyledger_events::{AccountId, CreditsCharged, Event, Position, Recorded, ReservationId, Timestamp};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::file::MatchedBy;
use super::{Around, HOLD_SECONDS_MAX};
use crate::ledger::beside;
use crate::log::{Log, bigint, with_archived};
use crate::reconcile::{ReconcileError, decoded, shard_column, shards};

/// Positions that are looked at, at once.
const POSITIONS_AT_ONCE: u64 = 20_000;

/// A charge that takes part.
struct Charge {
    key: Option<String>,
    at: i64,
    position: Position,
    amount: i64,
    reservation: ReservationId,
}

/// What is gathered before it is sent to the tables.
#[derive(Default)]
struct Gathered {
    charges: Vec<Charge>,
    requests: Vec<(Uuid, String)>,
}

/// Sends the charges to the table `ours`.
pub(super) async fn load(
    connection: &mut PgConnection,
    pool: &PgPool,
    matched_by: &MatchedBy,
    accounts: &[AccountId],
    around: Around,
) -> Result<(), ReconcileError> {
    for shard in shards(connection).await? {
        let by_request = matches!(matched_by, MatchedBy::Request(_));
        let begin = if by_request {
            // The use of a key is before its charge.
            around.from().minus_seconds(HOLD_SECONDS_MAX)
        } else {
            around.from()
        };
        let log = Log::new(pool.clone(), shard);
        let head = log.head().await?.position;
        let mut after = log.last_before(begin, head).await?;
        let end = log.last_before(around.to(), head).await?;
        while after < end {
            let last = Position(after.0.saturating_add(POSITIONS_AT_ONCE)).min(end);
            let types: &[&str] = if by_request {
                &["keyledger.CreditsCharged.v1", "keyledger.KeyUsed.v1"]
            } else {
                &["keyledger.CreditsCharged.v1"]
            };
            let mut gathered = Gathered::default();
            for recorded in events(connection, &log, after, last, types, accounts).await? {
                gathered.take(recorded, matched_by, around.from());
            }
            gathered.send(connection).await?;
            after = last;
        }
    }
    if matches!(matched_by, MatchedBy::Request(_)) {
        for statement in [
            "create index on requests (reservation)",
            "analyze requests, ours",
            // What has no request of its own, the dashboard's, is found by nothing.
            "update ours set key = coalesce((select request from requests r
                 where r.reservation = ours.reservation limit 1), '')",
        ] {
            sqlx::query(statement).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

async fn events(
    connection: &mut PgConnection,
    log: &Log,
    after: Position,
    last: Position,
    types: &[&str],
    accounts: &[AccountId],
) -> Result<Vec<Recorded>, ReconcileError> {
    let wanted: Vec<Uuid> = accounts
        .iter()
        .map(|account| Uuid::from_bytes(account.to_bytes()))
        .collect();
    let rows = sqlx::query(
        "(select position, body from events
          where shard = $1 and position > $2 and position <= $3 and type = any($4::text[])
            and (cardinality($5::uuid[]) = 0 or account_id = any($5::uuid[])) order by position)
         union all
         (select last, null from archive_segments where shard = $1 order by number desc limit 1)",
    )
    .bind(shard_column(log.shard()))
    .bind(bigint(after.0))
    .bind(bigint(last.0))
    .bind(types)
    .bind(wanted)
    .fetch_all(connection)
    .await?;
    let (archived, here) = with_archived(&rows)?;
    let mut found = Vec::new();
    if archived > after.0 {
        let many = last.min(Position(archived)).0 - after.0;
        found = decoded(&log.read(after, u32::try_from(many).unwrap_or(u32::MAX)).await?)?;
        found.retain(|recorded| {
            types.contains(&recorded.event.type_name()) && (accounts.is_empty() || accounts.contains(&recorded.account))
        });
    }
    found.extend(decoded(&here)?);
    Ok(found)
}

fn uuid(reservation: ReservationId) -> Uuid {
    Uuid::from_bytes(reservation.to_bytes())
}

impl Gathered {
    #[expect(clippy::wildcard_enum_match_arm, reason = "only events of the types above are read")]
    fn take(&mut self, recorded: Recorded, matched_by: &MatchedBy, from: Timestamp) {
        match recorded.event {
            Event::CreditsCharged(ref e) if recorded.time >= from => self.charge(&recorded, e, matched_by),
            Event::KeyUsed(e) => {
                if let Some(request) = e.request {
                    self.requests.push((uuid(e.reservation), request));
                }
            }
            _ => {}
        }
    }

    fn charge(&mut self, recorded: &Recorded, e: &CreditsCharged, matched_by: &MatchedBy) {
        if matches!(matched_by, MatchedBy::Endpoint { .. }) && e.charged.is_zero() {
            return;
        }
        let key = match matched_by {
            MatchedBy::Reservation(_) => Some(e.reservation.to_string()),
            MatchedBy::Request(_) => None,
            MatchedBy::Endpoint { .. } => Some(format!("{} {}", recorded.account, e.work.endpoint.as_str())),
        };
        self.charges.push(Charge {
            key,
            at: recorded.time.micros(),
            position: recorded.position,
            amount: e.charged.micros(),
            reservation: e.reservation,
        });
    }

    async fn send(self, connection: &mut PgConnection) -> Result<(), ReconcileError> {
        let charges = &self.charges;
        sqlx::query(
            "insert into ours (key, at, n, amount, reservation, beside, own_key)
             select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::uuid[], $6::uuid[], $7::text[])",
        )
        .bind(charges.iter().map(|charge| charge.key.as_deref()).collect::<Vec<_>>())
        .bind(charges.iter().map(|charge| charge.at).collect::<Vec<_>>())
        .bind(charges.iter().map(|charge| bigint(charge.position.0)).collect::<Vec<_>>())
        .bind(charges.iter().map(|charge| charge.amount).collect::<Vec<_>>())
        .bind(charges.iter().map(|charge| uuid(charge.reservation)).collect::<Vec<_>>())
        .bind(charges.iter().map(|charge| uuid(beside(charge.reservation))).collect::<Vec<_>>())
        .bind(charges.iter().map(|charge| charge.reservation.to_string()).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
        sqlx::query("insert into requests (reservation, request) select * from unnest($1::uuid[], $2::text[])")
            .bind(self.requests.iter().map(|(id, _)| *id).collect::<Vec<_>>())
            .bind(
                self.requests
                    .iter()
                    .map(|(_, request)| request.as_str())
                    .collect::<Vec<_>>(),
            )
            .execute(connection)
            .await?;
        Ok(())
    }
}
