//! Comparing views with the log: folded again from the first event, beside the live rows, which stay as they are.

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::next::Next;
use super::{Ending, Outcomes, RebuildError, fold_again};
use crate::projector::View;
use crate::projector::tables::{Named, Table};

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Events folded, over all shards: the view was compared as it stood after them.
    pub events: u64,
    /// Rows that the log gives.
    pub rows: u64,
    /// Rows that are wrong, missing or too many.
    pub rows_different: u64,
    /// The first of them, by table and key.
    pub first: Option<Difference>,
}

/// A row that is not as the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub table: &'static str,
    /// The columns that name the row.
    pub key: Map<String, Value>,
    /// The columns that differ, as they are in the view. `None`: the row is missing there.
    pub view: Option<Map<String, Value>>,
    /// The same ones as the log gives them. `None`: there is no such row.
    pub log: Option<Map<String, Value>>,
}

/// Compares views with what the log gives, as the database's owner, while everything goes on. A view that stands still is
/// compared where it stands. Tells after every page how many events are read and how many there are.
pub async fn check_views(
    database_url: &str,
    views: &[View],
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Outcomes<Checked>, RebuildError> {
    fold_again::<Compare>(database_url, views, progress).await
}

/// The rows that were folded again are looked at and forgotten.
struct Compare;

impl Ending for Compare {
    type Outcome = Checked;
    const STOPS_AT_LIVE: bool = true;

    async fn end<T: Table>(next: Next<T>) -> Result<Checked, RebuildError> {
        next.compare().await
    }
}

/// One table's part.
pub(super) struct TableCompared {
    rows: u64,
    rows_different: u64,
    first: Option<Difference>,
}

impl Checked {
    pub(super) fn add(&mut self, table: TableCompared) {
        self.rows += table.rows;
        self.rows_different += table.rows_different;
        self.first = self.first.take().or(table.first);
    }
}

pub(super) async fn table_compared(
    connection: &mut PgConnection,
    Named { table, key, .. }: &Named,
) -> Result<TableCompared, RebuildError> {
    // One read of both tables: the first difference is found while all are counted.
    let statement = format!(
        "with different as (
             select {key}, to_jsonb(l) as in_view, to_jsonb(n) as in_log
             from views.{table} l full join views_next.{table} n using ({key})
             where l.* is distinct from n.*
         )
         select (select count(*) from views_next.{table}) as rows,
                (select count(*) from different) as rows_different,
                (select in_view::text from different order by {key} limit 1) as in_view,
                (select in_log::text from different order by {key} limit 1) as in_log"
    );
    let row = sqlx::query(AssertSqlSafe(statement)).fetch_one(connection).await?;
    let count = |column: &str| -> Result<u64, sqlx::Error> { Ok(row.try_get::<i64, _>(column)?.unsigned_abs()) };
    let side = |column: &str| -> Result<Option<Map<String, Value>>, sqlx::Error> {
        let text: Option<String> = row.try_get(column)?;
        let read = |text: String| serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()));
        text.map(read).transpose()
    };
    let (in_view, in_log) = (side("in_view")?, side("in_log")?);
    let rows_different = count("rows_different")?;
    Ok(TableCompared {
        rows: count("rows")?,
        rows_different,
        first: (rows_different > 0).then(|| Difference::of(table, key, in_view, in_log)),
    })
}

impl Difference {
    fn of(
        table: &'static str,
        key: &str,
        mut view: Option<Map<String, Value>>,
        mut log: Option<Map<String, Value>>,
    ) -> Difference {
        let mut named = Map::new();
        for column in key.split(", ") {
            let of_view = view.as_mut().and_then(|row| row.remove(column));
            let of_log = log.as_mut().and_then(|row| row.remove(column));
            named.insert(column.to_owned(), of_view.or(of_log).unwrap_or(Value::Null));
        }
        if let (Some(view), Some(log)) = (&mut view, &mut log) {
            let same: Vec<String> = view
                .iter()
                .filter(|(column, value)| log.get(*column) == Some(value))
                .map(|(column, _)| column.clone())
                .collect();
            for column in same {
                view.remove(&column);
                log.remove(&column);
            }
        }
        Difference {
            table,
            key: named,
            view,
            log,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_names_the_row_and_the_columns_that_differ() {
        let row = |uses: u64| {
            json!({"shard": 0, "key_id": "k", "name": "A", "uses": uses})
                .as_object()
                .cloned()
        };
        let difference = Difference::of("key_list", "shard, key_id", row(1), row(2));
        assert_eq!(
            serde_json::to_value(&difference).unwrap(),
            json!({"table": "key_list", "key": {"shard": 0, "key_id": "k"}, "view": {"uses": 1}, "log": {"uses": 2}})
        );
        let missing = Difference::of("key_list", "shard, key_id", None, row(2));
        assert_eq!((missing.view, missing.key["key_id"].as_str()), (None, Some("k")));
        assert_eq!(missing.log.unwrap()["name"], "A");
    }
}
