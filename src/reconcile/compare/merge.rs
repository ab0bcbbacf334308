//! Both sides, each in its order, side by side.

use std::collections::VecDeque;

use keyledger_events::Credits;
use sqlx::{PgConnection, Row as _};

use super::file::moment;
use super::{Around, Compared, Example, Found, MatchedBy, ReconcileError, TheirFile};

/// Rows of each side that are in memory at once.
const ROWS_AT_ONCE: i64 = 5_000;

/// Charges of one account and endpoint within the time that a line may be apart.
const LOOKED_AHEAD_MAX: usize = 1_000;

/// A line or a charge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: String,
    at: i64,
    n: i64,
    amount: Option<i64>,
}

/// One side, read in order.
struct Side {
    statement: &'static str,
    page: VecDeque<Row>,
    last: Option<Row>,
    ended: bool,
}

impl Side {
    fn new(statement: &'static str) -> Side {
        Side {
            statement,
            page: VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    /// The row at a place of those that are left.
    async fn at(&mut self, place: usize, connection: &mut PgConnection) -> Result<Option<&Row>, ReconcileError> {
        while self.page.len() <= place && !self.ended {
            let last = self.last.take();
            let rows = sqlx::query(self.statement)
                .bind(last.as_ref().map(|row| row.key.as_str()))
                .bind(last.as_ref().map(|row| row.at))
                .bind(last.as_ref().map(|row| row.n))
                .bind(ROWS_AT_ONCE)
                .fetch_all(&mut *connection)
                .await?;
            self.ended = i64::try_from(rows.len()).unwrap_or(i64::MAX) < ROWS_AT_ONCE;
            for row in &rows {
                self.page.push_back(Row {
                    key: row.try_get("key")?,
                    at: row.try_get("at")?,
                    n: row.try_get("n")?,
                    amount: row.try_get("amount")?,
                });
            }
            self.last = self.page.back().cloned();
        }
        Ok(self.page.get(place))
    }

    fn take(&mut self) -> Option<Row> {
        self.page.pop_front()
    }
}

const THEIRS: &str = "select key, at, n, amount from theirs
     where $1::text is null or (key, at, n) > ($1, $2, $3) order by key, at, n limit $4";
const OURS: &str = "select key, at, n, amount from ours
     where $1::text is null or (key, at, n) > ($1, $2, $3) order by key, at, n limit $4";

/// How a line stands to a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The line comes before all charges that are left.
    Line,
    Charge,
    Both,
}

fn order(line: &Row, charge: &Row, matched_by: &MatchedBy) -> Order {
    match line.key.as_bytes().cmp(charge.key.as_bytes()) {
        std::cmp::Ordering::Less => return Order::Line,
        std::cmp::Ordering::Greater => return Order::Charge,
        std::cmp::Ordering::Equal => {}
    }
    match matched_by {
        MatchedBy::Reservation(_) | MatchedBy::Request(_) => Order::Both,
        MatchedBy::Endpoint { apart_seconds_max, .. } => {
            let apart = i64::from(*apart_seconds_max) * 1_000_000;
            if line.at + apart < charge.at {
                Order::Line
            } else if charge.at + apart < line.at {
                Order::Charge
            } else {
                Order::Both
            }
        }
    }
}

/// Counts what matches and what does not.
pub(super) async fn merge(
    connection: &mut PgConnection,
    file: &TheirFile,
    around: Around,
    examples_max: usize,
    compared: &mut Compared,
) -> Result<(), ReconcileError> {
    let matched_by = file.matched_by();
    let by = By {
        matched_by,
        id: matches!(matched_by, MatchedBy::Reservation(_) | MatchedBy::Request(_)),
        timed: file.columns.time.is_some(),
    };
    let (mut theirs, mut ours) = (Side::new(THEIRS), Side::new(OURS));
    let mut book = Book {
        compared,
        around,
        by: &by,
        examples_max,
        last_line: None,
    };
    loop {
        let order = match (theirs.at(0, connection).await?, ours.at(0, connection).await?) {
            (Some(line), Some(charge)) => order(line, charge, matched_by),
            (Some(_), None) => Order::Line,
            (None, Some(_)) => Order::Charge,
            (None, None) => return Ok(()),
        };
        match order {
            Order::Line => book.line(theirs.take()),
            Order::Charge => book.charge(ours.take()),
            Order::Both => {
                let line = theirs.take();
                let charge = match &line {
                    Some(line) => nearest(line, &mut theirs, &mut ours, &by, connection).await?,
                    None => None,
                };
                match charge {
                    Some(place) => book.both(line, ours.page.remove(place)),
                    None => book.line(line),
                }
            }
        }
    }
}

/// The place of the charge that a line tells of, among those that it could be. Found by its time: the first of the same amount,
/// because what is done at the same time is not written down in the same order by everybody; else the first of all. Found by an id
/// that was used more than once: the nearest in time. `None`: the only one that is left is nearer to the next line.
async fn nearest(
    line: &Row,
    theirs: &mut Side,
    ours: &mut Side,
    by: &By<'_>,
    connection: &mut PgConnection,
) -> Result<Option<usize>, ReconcileError> {
    let (mut best, mut best_at, mut apart, mut many) = (0, 0, u64::MAX, 0);
    for place in 0..LOOKED_AHEAD_MAX {
        let Some(charge) = ours.at(place, connection).await? else {
            break;
        };
        if order(line, charge, by.matched_by) != Order::Both {
            break;
        }
        many += 1;
        let further = line.at.abs_diff(charge.at);
        if by.id && by.timed && further < apart {
            (best, best_at, apart) = (place, charge.at, further);
        }
        if !by.id && (line.amount.is_none() || line.amount == charge.amount) {
            return Ok(Some(place));
        }
    }
    if by.id && by.timed && many == 1 {
        let next = theirs.at(0, connection).await?.filter(|next| next.key == line.key);
        if next.is_some_and(|next| next.at.abs_diff(best_at) < apart) {
            return Ok(None);
        }
    }
    Ok(Some(best))
}

/// How lines and charges find each other.
struct By<'a> {
    matched_by: &'a MatchedBy,
    id: bool,
    /// The lines say when they were.
    timed: bool,
}

struct Book<'a> {
    compared: &'a mut Compared,
    around: Around,
    by: &'a By<'a>,
    examples_max: usize,
    /// The key of the line before.
    last_line: Option<String>,
}

impl Book<'_> {
    fn line(&mut self, line: Option<Row>) {
        let Some(line) = line else { return };
        if self.by.timed && !self.around.holds(line.at) {
            self.compared.left_out += 1;
            return;
        }
        if self.by.id && self.last_line.as_deref() == Some(line.key.as_str()) {
            self.add(&line);
            self.compared.repeated += 1;
            return self.example(Found::Repeated, Some(&line), None);
        }
        // Both sides say that it cost nothing.
        if line.amount == Some(0) {
            self.compared.matched += 1;
        } else {
            self.add(&line);
            self.compared.missing_here += 1;
            self.example(Found::MissingHere, Some(&line), None);
        }
        self.last_line = Some(line.key);
    }

    fn charge(&mut self, charge: Option<Row>) {
        let Some(charge) = charge.filter(|charge| self.around.holds(charge.at)) else {
            return;
        };
        self.count(&charge);
        // What cost nothing is on nobody's invoice.
        if charge.amount != Some(0) {
            self.compared.missing_there += 1;
            self.example(Found::MissingThere, None, Some(&charge));
        }
    }

    fn both(&mut self, line: Option<Row>, charge: Option<Row>) {
        let (Some(line), Some(charge)) = (line, charge) else {
            return;
        };
        if !self.around.holds(charge.at) {
            // Of the period before or after, with its charge.
            self.compared.left_out += 1;
            return;
        }
        self.add(&line);
        self.count(&charge);
        if line.amount.is_none() || line.amount == charge.amount {
            self.compared.matched += 1;
        } else {
            self.compared.different += 1;
            self.example(Found::Different, Some(&line), Some(&charge));
        }
        self.last_line = Some(line.key);
    }

    fn add(&mut self, line: &Row) {
        self.compared.theirs += i128::from(line.amount.unwrap_or_default());
    }

    fn count(&mut self, charge: &Row) {
        let amount = charge.amount.unwrap_or_default();
        self.compared.charges += u64::from(amount != 0);
        self.compared.ours += i128::from(amount);
    }

    fn example(&mut self, what: Found, line: Option<&Row>, charge: Option<&Row>) {
        let same = self.compared.examples.iter().filter(|example| example.what == what);
        if same.count() >= self.examples_max {
            return;
        }
        let credits = |row: Option<&Row>| row.and_then(|row| row.amount).and_then(Credits::from_micros);
        let either = line.or(charge);
        self.compared.examples.push(Example {
            what,
            key: either.map(|row| row.key.clone()).unwrap_or_default(),
            line: line.map(|row| row.n.unsigned_abs()),
            position: charge.map(|row| row.n.unsigned_abs()),
            at: either.and_then(|row| moment(row.at)),
            theirs: credits(line),
            ours: credits(charge),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, at: i64) -> Row {
        Row {
            key: key.to_owned(),
            at,
            n: 1,
            amount: None,
        }
    }

    #[test]
    fn times_may_be_a_little_apart() {
        let by_time = MatchedBy::Endpoint {
            column: String::new(),
            apart_seconds_max: 1,
        };
        let (line, charge) = (row("a serp", 5_000_000), |at| row("a serp", at));
        assert_eq!(order(&line, &charge(6_000_000), &by_time), Order::Both);
        assert_eq!(order(&line, &charge(4_000_000), &by_time), Order::Both);
        assert_eq!(order(&line, &charge(6_000_001), &by_time), Order::Line);
        assert_eq!(order(&line, &charge(3_999_999), &by_time), Order::Charge);
        assert_eq!(order(&line, &row("a tasks", 0), &by_time), Order::Line);
    }
}
