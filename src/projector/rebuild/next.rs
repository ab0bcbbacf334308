//! The next generation of one view: changes gathered in memory, tables beside the live ones, and the exchange.

use std::collections::BTreeMap;

use keyledger_events::{Position, Recorded, Shard, Timestamp};
use keyledger_projections::Changes as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::check::{Checked, table_compared};
use super::pass::{EVENTS_A_PAGE, decode, shard_of};
use super::{RebuildError, Rebuilt, rows_do_not_fit};
use crate::log::{Log, bigint, time_column};
use crate::projector::tables::{Generation, Named, Table, WriteError, make_key};
use crate::projector::worker::shard_column;

/// Rows that are worth it to make indexes anew for them.
const ROWS_TO_INDEX_ANEW: usize = 10_000;

/// Where a shard stands, and the time of its last event.
#[derive(Clone, Copy)]
struct Place {
    position: Position,
    recorded_at: Timestamp,
}

pub(super) struct Next<T: Table> {
    // A connection of its own and no pool: when this is dropped, it closes, and Postgres rolls back.
    connection: PgConnection,
    log_pool: PgPool,
    gathered: Gathered<T>,
}

/// As `forget_left_generations` in the database has it.
const AT_A_GENERATION: i64 = 7_810_213_001;

/// What is folded and not yet written.
struct Gathered<T: Table> {
    /// The name of this rebuild, beside its checkpoints.
    rebuild: Uuid,
    folded: BTreeMap<Shard, Place>,
    /// Where folding ends, in shards for which that is said.
    until: BTreeMap<Shard, Position>,
    changes: T::Changes,
}

impl<T: Table> Next<T> {
    /// Makes empty tables like the live ones, whatever an earlier rebuild left.
    pub(super) async fn begin(database_url: &str, log_pool: PgPool) -> Result<Next<T>, RebuildError> {
        let mut connection = PgConnection::connect(database_url).await?;
        let rebuild = Uuid::from_u128(crate::clock::random_id_bits());
        // Until this connection ends, nobody takes the tables for left behind.
        sqlx::query("select pg_advisory_lock_shared($1)")
            .bind(AT_A_GENERATION)
            .execute(&mut connection)
            .await?;
        let mut transaction = connection.begin().await?;
        forget_checkpoints::<T>(&mut transaction).await?;
        make_tables::<T>(&mut transaction).await?;
        let folded = begin_checkpoints::<T>(&mut transaction, rebuild).await?;
        transaction.commit().await?;
        Ok(Next {
            connection,
            log_pool,
            gathered: Gathered {
                rebuild,
                folded,
                until: BTreeMap::new(),
                changes: T::Changes::default(),
            },
        })
    }

    /// Does not go further than the live view is now.
    pub(super) async fn stop_at_live(&mut self) -> Result<(), RebuildError> {
        self.gathered.until = live_places::<T>(&mut self.connection).await?.into_iter().collect();
        Ok(())
    }

    /// Folds the next events of a shard.
    pub(super) fn fold(&mut self, shard: Shard, events: &[Recorded]) -> Result<(), RebuildError> {
        self.gathered.fold(shard, events)
    }

    pub(super) async fn write_when_large(&mut self) -> Result<(), RebuildError> {
        if self.gathered.changes.rows() < T::ROWS_IN_MEMORY_MAX {
            return Ok(());
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), RebuildError> {
        let mut transaction = self.connection.begin().await?;
        self.gathered.write(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Exchanges the generations. From the first statement on the live projector waits; afterwards it finds its
    /// checkpoint moved, or not, and goes on from there.
    pub(super) async fn take_over(mut self) -> Result<Rebuilt, RebuildError> {
        // Most of it before anybody waits.
        self.write().await?;
        let mut transaction = self.connection.begin().await?;
        for (shard, position) in lock_checkpoints::<T>(&mut transaction).await? {
            let log = Log::new(self.log_pool.clone(), shard);
            self.gathered.fold_up_to(&log, position).await?;
        }
        self.gathered.write(&mut transaction).await?;
        let exchanged = exchange_all::<T>(&mut transaction).await;
        let rows_changed = exchanged.map_err(|error| rows_do_not_fit(self.gathered.last(), error))?;
        move_live_checkpoints::<T>(&mut transaction).await?;
        forget_checkpoints::<T>(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Rebuilt {
            events: self.gathered.folded.values().map(|place| place.position.0).sum(),
            rows_changed,
        })
    }
}

impl<T: Table> Next<T> {
    /// Compares the generations as they are at one moment, keeps nothing of the next one, and changes nothing. Nobody waits.
    pub(super) async fn compare(mut self) -> Result<Checked, RebuildError> {
        self.write().await?;
        // Rows and checkpoint of the live view are those of one moment in this SQL transaction, whatever comes meanwhile.
        let mut transaction = self
            .connection
            .begin_with("begin isolation level repeatable read")
            .await?;
        for (shard, position) in live_places::<T>(&mut transaction).await? {
            self.gathered.until.insert(shard, position);
            let log = Log::new(self.log_pool.clone(), shard);
            self.gathered.fold_up_to(&log, position).await?;
        }
        self.gathered.write(&mut transaction).await?;
        for late in T::TABLES.iter().filter(|named| named.keyed_late) {
            let made = make_key(&mut transaction, late).await;
            made.map_err(|error| rows_do_not_fit(self.gathered.last(), error))?;
        }
        let mut checked = Checked {
            events: self.gathered.folded.values().map(|place| place.position.0).sum(),
            rows: 0,
            rows_different: 0,
            first: None,
        };
        for named in T::TABLES {
            checked.add(table_compared(&mut transaction, named).await?);
        }
        transaction.rollback().await?;
        let mut transaction = self.connection.begin().await?;
        forget_checkpoints::<T>(&mut transaction).await?;
        for Named { table, .. } in T::TABLES {
            let drop = format!("drop table if exists views_next.{table}");
            sqlx::query(AssertSqlSafe(drop)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(checked)
    }
}

impl<T: Table> Gathered<T> {
    /// Events of a shard that this view does not know are not its own.
    fn fold(&mut self, shard: Shard, events: &[Recorded]) -> Result<(), RebuildError> {
        let Some(place) = self.folded.get_mut(&shard) else {
            return Ok(());
        };
        let until = self.until.get(&shard).copied().unwrap_or(Position(u64::MAX));
        for recorded in events.iter().take_while(|recorded| recorded.position <= until) {
            self.changes.fold(recorded).map_err(|error| RebuildError::DoesNotFit {
                position: recorded.position,
                why: error.why.to_owned(),
            })?;
            *place = Place {
                position: recorded.position,
                recorded_at: recorded.time,
            };
        }
        Ok(())
    }

    /// Folds a shard until it is level with the live view, or the log has no more: a view that says it is further than its
    /// log is as far as the log after this.
    async fn fold_up_to(&mut self, log: &Log, live: Position) -> Result<(), RebuildError> {
        while let Some(place) = self.folded.get(&log.shard()).filter(|place| place.position < live) {
            let page = log.read(place.position, EVENTS_A_PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut events = decode(&page)?;
            log.open(&mut events).await?;
            self.fold(log.shard(), &events)?;
        }
        Ok(())
    }

    /// Writes what was gathered and the checkpoints that belong to it, inside the caller's SQL transaction.
    async fn write(&mut self, connection: &mut PgConnection) -> Result<(), RebuildError> {
        for (shard, place) in &self.folded {
            let moved = sqlx::query(
                "update views_next.checkpoints set position = $4, recorded_at = $5
                 where projection = $1 and shard = $2 and rebuild = $3",
            )
            .bind(T::VIEW.as_str())
            .bind(shard_column(*shard))
            .bind(self.rebuild)
            .bind(bigint(place.position.0))
            .bind(time_column(place.recorded_at))
            .execute(&mut *connection)
            .await?;
            if moved.rows_affected() == 0 {
                return Err(RebuildError::Superseded { view: T::VIEW });
            }
        }
        let written = T::write(connection, Generation::Next, std::mem::take(&mut self.changes)).await;
        written.map_err(|error| rows_do_not_fit(self.last(), error))
    }

    /// The last event that was folded, of the shard that is furthest.
    fn last(&self) -> Position {
        self.folded
            .values()
            .map(|place| place.position)
            .max()
            .unwrap_or_default()
    }
}

/// The tables need not survive a crash, and have no index but the one that tells the rows apart.
async fn make_tables<T: Table>(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for Named { table, key, keyed_late } in T::TABLES {
        for statement in [
            format!("drop table if exists views_next.{table}"),
            format!("create unlogged table views_next.{table} (like views.{table} including all excluding indexes)"),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
        if !keyed_late {
            let statement = format!("alter table views_next.{table} add primary key ({key})");
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

async fn begin_checkpoints<T: Table>(
    connection: &mut PgConnection,
    rebuild: Uuid,
) -> Result<BTreeMap<Shard, Place>, RebuildError> {
    let rows = sqlx::query(
        "insert into views_next.checkpoints (projection, shard, position, recorded_at, rebuild)
         select projection, shard, 0, 'epoch', $2 from views.checkpoints where projection = $1
         returning shard",
    )
    .bind(T::VIEW.as_str())
    .bind(rebuild)
    .fetch_all(connection)
    .await?;
    if rows.is_empty() {
        return Err(RebuildError::NoCheckpoint { view: T::VIEW });
    }
    let start = Place {
        position: Position::START,
        recorded_at: Timestamp::EPOCH,
    };
    rows.iter().map(|row| Ok((shard_of(row)?, start))).collect()
}

/// Another rebuild that goes by these learns that it is superseded. It may be writing at this moment: then this waits.
async fn forget_checkpoints<T: Table>(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("delete from views_next.checkpoints where projection = $1")
        .bind(T::VIEW.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the live checkpoints' rows, and says where they stand.
async fn lock_checkpoints<T: Table>(connection: &mut PgConnection) -> Result<Vec<(Shard, Position)>, sqlx::Error> {
    sqlx::query("select from views.checkpoints where projection = $1 order by shard for update")
        .bind(T::VIEW.as_str())
        .execute(&mut *connection)
        .await?;
    live_places::<T>(connection).await
}

/// Where the live view stands.
async fn live_places<T: Table>(connection: &mut PgConnection) -> Result<Vec<(Shard, Position)>, sqlx::Error> {
    let rows = sqlx::query("select shard, position from views.checkpoints where projection = $1 order by shard")
        .bind(T::VIEW.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let position: i64 = row.try_get("position")?;
            Ok((shard_of(row)?, Position(position.unsigned_abs())))
        })
        .collect()
}

async fn move_live_checkpoints<T: Table>(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update views.checkpoints c set position = n.position, recorded_at = n.recorded_at
         from views_next.checkpoints n
         where c.projection = $1 and n.projection = c.projection and n.shard = c.shard",
    )
    .bind(T::VIEW.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes the live tables equal to the next ones, and removes those. Answers how many rows that changed.
async fn exchange_all<T: Table>(connection: &mut PgConnection) -> Result<u64, WriteError> {
    let anew = take_indexes_away(connection, T::TABLES).await?;
    let mut changed = 0;
    for named in T::TABLES {
        changed += match anew.iter().find(|taken| taken.table == named.table) {
            Some(taken) => fill(connection, taken).await?,
            None => exchange(connection, named).await?,
        };
        let drop = format!("drop table views_next.{}", named.table);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut *connection).await?;
    }
    Ok(changed)
}

/// Makes a live table equal to the next one. Rows go in by their key, so that the indexes grow in order.
async fn exchange(connection: &mut PgConnection, named: &Named) -> Result<u64, WriteError> {
    let Named { table, key, .. } = named;
    make_key(connection, named).await?;
    let columns = key.split(", ").map(|column| format!("n.{column} = l.{column}"));
    let same_key = columns.collect::<Vec<_>>().join(" and ");
    let mut changed = 0;
    for statement in [
        format!(
            "delete from views.{table} l where not exists (
                 select from views_next.{table} n where {same_key} and row(n.*) is not distinct from row(l.*))"
        ),
        format!(
            "insert into views.{table} select n.* from views_next.{table} n
             where not exists (select from views.{table} l where {same_key}) order by {key}"
        ),
    ] {
        let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        changed += done.rows_affected();
    }
    Ok(changed)
}

/// A live table that has no rows and, but for what somebody else made of them, no indexes.
struct TakenAway {
    table: &'static str,
    /// How its indexes are made again, that of its key first.
    made_by: Vec<String>,
}

/// Fills it, and makes its indexes of all rows at once: that of the key finds rows that are not told apart.
async fn fill(connection: &mut PgConnection, TakenAway { table, made_by }: &TakenAway) -> Result<u64, WriteError> {
    let insert = format!("insert into views.{table} select * from views_next.{table}");
    let filled = sqlx::query(AssertSqlSafe(insert)).execute(&mut *connection).await?;
    for index in made_by {
        sqlx::query(AssertSqlSafe(index.clone()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(filled.rows_affected())
}

/// Drops the indexes of tables that have nothing in them and will have many rows, and says how each is made again: from all
/// rows at once, in their order, however many more they are than fit into memory. Who reads such a table waits until it has its
/// rows. All of them are taken before any is changed, and at once: where somebody reads one of them for long, or has made
/// something that needs its key, the indexes stay.
async fn take_indexes_away(connection: &mut PgConnection, tables: &[Named]) -> Result<Vec<TakenAway>, sqlx::Error> {
    let mut empty = Vec::new();
    for Named { table, .. } in tables {
        if is_to_be_filled(connection, table).await? {
            empty.push(*table);
        }
    }
    if empty.is_empty() {
        return Ok(Vec::new());
    }
    let mut taking = connection.begin().await?;
    match without_indexes(&mut taking, &empty).await {
        Ok(taken) => {
            taking.commit().await?;
            Ok(taken)
        }
        Err(error) => {
            taking.rollback().await?;
            tracing::debug!(%error, "a lost view keeps its indexes while it is filled");
            Ok(Vec::new())
        }
    }
}

async fn without_indexes(
    connection: &mut PgConnection,
    tables: &[&'static str],
) -> Result<Vec<TakenAway>, sqlx::Error> {
    let named: Vec<String> = tables.iter().map(|table| format!("views.{table}")).collect();
    let lock = format!("lock table {} in access exclusive mode", named.join(", "));
    for statement in [
        "set local lock_timeout = '200ms'",
        lock.as_str(),
        "set local lock_timeout to default",
    ] {
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&mut *connection)
            .await?;
    }
    let mut taken = Vec::with_capacity(tables.len());
    for table in tables {
        // Somebody may have put rows into it before it was locked.
        if !is_to_be_filled(connection, table).await? {
            continue;
        }
        // An index of a constraint goes with that. One that tells rows apart and is no key is somebody else's, and so is what
        // the definition would not say.
        let rows = sqlx::query(
            "select case when c.oid is null then format('drop index %s', i.indexrelid::regclass)
                    else format('alter table %s drop constraint %I', i.indrelid::regclass, c.conname) end as dropped_by,
                 case when c.oid is null then pg_get_indexdef(i.indexrelid)
                    else format('alter table %s add constraint %I %s', i.indrelid::regclass, c.conname,
                        pg_get_constraintdef(c.oid)) end as made_by
             from pg_index i join pg_class made on made.oid = i.indexrelid
             left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = i.indrelid
             where i.indrelid = $1::text::regclass and (i.indisprimary or not i.indisunique) and not i.indisreplident
                 and not i.indisclustered and made.reloptions is null and made.reltablespace = 0
             order by i.indisprimary desc, i.indexrelid",
        )
        .bind(format!("views.{table}"))
        .fetch_all(&mut *connection)
        .await?;
        let mut made_by = Vec::with_capacity(rows.len());
        for row in rows {
            let drop: String = row.try_get("dropped_by")?;
            sqlx::query(AssertSqlSafe(drop)).execute(&mut *connection).await?;
            made_by.push(row.try_get("made_by")?);
        }
        taken.push(TakenAway { table, made_by });
    }
    Ok(taken)
}

/// Whether a live table has nothing in it and will have many rows.
async fn is_to_be_filled(connection: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    let asked = format!(
        "select not exists (select from views.{table})
         and (select count(*) from (select from views_next.{table} limit {ROWS_TO_INDEX_ANEW}) few) = {ROWS_TO_INDEX_ANEW}"
    );
    sqlx::query_scalar(AssertSqlSafe(asked)).fetch_one(connection).await
}
