//! One account: its log, once from its first event to its last, beside its statement and its rows.
//!
//! The account is seen as it was when the first thing was read of it. What the log says of money is folded twice, by what
//! statements are made of and by what the balance is made of, and has to be the same.

use std::collections::BTreeMap;

use keyledger_events::{AccountId, Event, Position, Recorded, ReservationId, Seq, Timestamp};
use keyledger_projections::{AccountChange, BalanceChanges, Changes as _, Moved, Movement, Sums};
use sqlx::{Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use super::charges::{ChargeFacts, ChargeRows};
use super::decoded;
use super::difference::{Difference, differing};
use super::usage::Hours;
use super::{ReconcileError, shard_column};
use crate::log::{Log, STATEMENT_MARKS_FORMAT, bigint, with_archived};
use crate::statements::{Line, Marks, Period, Statement, StatementError};

/// Events that are read at once.
const EVENTS_AT_ONCE: i64 = 4_000;

/// What came of one account. The first difference ends the looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) events: u64,
    pub(super) lines: u64,
    pub(super) charges: u64,
    /// Micro-credits owned at the end of the period.
    pub(super) owned: i64,
    pub(super) first: Option<Difference>,
}

/// Where the views of the account's shard stand, and the log.
#[derive(Debug, Clone, Copy)]
struct Standing {
    head: Position,
    balance: Position,
    charges: Position,
    usage: Position,
}

pub(super) async fn prove(
    connection: &mut PgConnection,
    log: &Log,
    account: AccountId,
    period: Period,
    now: Timestamp,
) -> Result<Proof, ReconcileError> {
    let mut seen = connection.begin().await?;
    sqlx::query("set transaction isolation level repeatable read, read only")
        .execute(&mut *seen)
        .await?;
    let standing = standing(&mut seen, log).await?;
    let statement = Statement::open(log.clone(), account, period, Marks::Read, now).await?;
    let statement = statement.ok_or(ReconcileError::UnknownAccount { account })?;
    let mut proof = Prover::new(log, account, period, standing, statement);
    let first = proof.run(&mut seen).await?;
    seen.rollback().await?;
    Ok(Proof {
        events: proof.seq.0,
        lines: proof.lines,
        charges: proof.charges,
        owned: proof.opening.owned() + proof.told.owned(),
        first,
    })
}

async fn standing(connection: &mut PgConnection, log: &Log) -> Result<Standing, ReconcileError> {
    let row = sqlx::query(
        "select position,
             (select c.position from views.checkpoints c where c.shard = h.shard and c.projection = 'balance') as balance,
             (select c.position from views.checkpoints c where c.shard = h.shard and c.projection = 'charges') as charges,
             (select c.position from views.checkpoints c where c.shard = h.shard and c.projection = 'usage') as usage
         from log_head h where h.shard = $1",
    )
    .bind(shard_column(log.shard()))
    .fetch_one(connection)
    .await?;
    let of = |view: &'static str| {
        let position: Option<i64> = row.try_get(view)?;
        let position = position.ok_or(ReconcileError::NoCheckpoint { view })?;
        Ok::<_, ReconcileError>(Position(position.unsigned_abs()))
    };
    Ok(Standing {
        head: of("position")?,
        balance: of("balance")?,
        charges: of("charges")?,
        usage: of("usage")?,
    })
}

struct Prover {
    log: Log,
    account: AccountId,
    shard: i16,
    period: Period,
    standing: Standing,
    seq: Seq,
    lines: u64,
    charges: u64,
    opening: Sums,
    told: Sums,
    all: Sums,
    balance: BalanceChanges,
    hours: Hours,
    marks: BTreeMap<Seq, Sums>,
    /// Micro-credits that were refunded of charges of the period, as far as the view of the charges has come.
    refunded: BTreeMap<ReservationId, i64>,
    refunded_in_view: BTreeMap<ReservationId, i64>,
    rows: ChargeRows,
    statement: Statement,
    waiting: std::collections::VecDeque<Line>,
}

impl Prover {
    fn new(log: &Log, account: AccountId, period: Period, standing: Standing, statement: Statement) -> Prover {
        Prover {
            log: log.clone(),
            account,
            shard: shard_column(log.shard()),
            period,
            standing,
            seq: Seq::START,
            lines: 0,
            charges: 0,
            opening: Sums::default(),
            told: Sums::default(),
            all: Sums::default(),
            balance: BalanceChanges::default(),
            hours: Hours::default(),
            marks: BTreeMap::new(),
            refunded: BTreeMap::new(),
            refunded_in_view: BTreeMap::new(),
            rows: ChargeRows::until(log.shard(), account, statement.position()),
            statement,
            waiting: std::collections::VecDeque::new(),
        }
    }

    /// Compares everything, up to the first difference.
    async fn run(&mut self, seen: &mut PgConnection) -> Result<Option<Difference>, ReconcileError> {
        self.marks = self.marks(seen).await?;
        loop {
            let page = self.next_events(seen).await?;
            for recorded in &page {
                if let Some(difference) = self.event(seen, recorded).await? {
                    return Ok(Some(difference));
                }
            }
            if i64::try_from(page.len()).unwrap_or(i64::MAX) < EVENTS_AT_ONCE {
                break;
            }
        }
        self.ends(seen).await
    }

    async fn next_events(&self, seen: &mut PgConnection) -> Result<Vec<Recorded>, ReconcileError> {
        let rows = sqlx::query(
            "(select position, body from events where shard = $1 and account_id = $2 and seq > $3 order by seq limit $4)
             union all
             (select last_seq, null from archive_accounts
              where shard = $1 and account_id = $2 order by number desc limit 1)",
        )
        .bind(self.shard)
        .bind(Uuid::from_bytes(self.account.to_bytes()))
        .bind(bigint(self.seq.0))
        .bind(EVENTS_AT_ONCE)
        .fetch_all(seen)
        .await?;
        let (archived, here) = with_archived(&rows)?;
        let mut page = Vec::new();
        if archived > self.seq.0 {
            // What was archived when the account was first looked at, and nothing that was written since.
            let limit = u32::try_from(EVENTS_AT_ONCE).unwrap_or(u32::MAX);
            page = decoded(&self.log.account_events(self.account, self.seq, limit).await?)?;
            page.retain(|recorded| recorded.seq.0 <= archived);
        }
        page.extend(decoded(&here)?);
        page.sort_by_key(|recorded| recorded.seq);
        page.truncate(usize::try_from(EVENTS_AT_ONCE).unwrap_or(usize::MAX));
        Ok(page)
    }

    async fn marks(&self, seen: &mut PgConnection) -> Result<BTreeMap<Seq, Sums>, ReconcileError> {
        let rows = sqlx::query(
            "select seq, granted, charged, refunded, expired, corrected from statement_marks
             where shard = $1 and account_id = $2 and format = $3",
        )
        .bind(self.shard)
        .bind(Uuid::from_bytes(self.account.to_bytes()))
        .bind(STATEMENT_MARKS_FORMAT)
        .fetch_all(seen)
        .await?;
        let mark = |row: &sqlx::postgres::PgRow| {
            let sums = Sums {
                granted: row.try_get("granted")?,
                charged: row.try_get("charged")?,
                refunded: row.try_get("refunded")?,
                expired: row.try_get("expired")?,
                corrected: row.try_get("corrected")?,
            };
            Ok((Seq(row.try_get::<i64, _>("seq")?.unsigned_abs()), sums))
        };
        rows.iter().map(mark).collect()
    }

    fn unlike(
        &self,
        what: &'static str,
        at: Option<Position>,
        log: Option<String>,
        other: Option<String>,
    ) -> Difference {
        Difference {
            account: self.account,
            what,
            position: at,
            log,
            other,
        }
    }

    async fn event(
        &mut self,
        seen: &mut PgConnection,
        recorded: &Recorded,
    ) -> Result<Option<Difference>, ReconcileError> {
        self.seq = recorded.seq;
        if recorded.time < self.period.from() {
            self.rows.begin_after(recorded.position);
        }
        if recorded.position <= self.standing.balance {
            self.balance.fold(recorded).map_err(StatementError::from)?;
        }
        if let Event::CreditsCharged(e) = &recorded.event
            && self.is_in_period(recorded.time)
            && recorded.position <= self.standing.charges
            && let Some(difference) = self.charge(seen, ChargeFacts::of(recorded, e)).await?
        {
            return Ok(Some(difference));
        }
        if let Some(movement) = Movement::of(recorded.clone())
            && let Some(difference) = self.movement(&movement).await?
        {
            return Ok(Some(difference));
        }
        Ok(self
            .marks
            .remove(&self.seq)
            .filter(|mark| *mark != self.all)
            .map(|mark| {
                let (log, other) = (format!("{:?}", self.all), format!("{mark:?}"));
                self.unlike("statement_marks", Some(recorded.position), Some(log), Some(other))
            }))
    }

    fn is_in_period(&self, at: Timestamp) -> bool {
        at >= self.period.from() && at < self.period.to()
    }

    async fn movement(&mut self, movement: &Movement) -> Result<Option<Difference>, ReconcileError> {
        self.all.take(movement).map_err(StatementError::from)?;
        if movement.position <= self.standing.usage {
            self.hours.take(movement, self.period);
        }
        if let Moved::Refund(refund) = &movement.what
            && self.is_in_period(refund.charged_at)
            && movement.position <= self.standing.charges
        {
            *self.refunded.entry(refund.charge).or_default() += movement.amount;
        }
        if movement.at < self.period.from() {
            self.opening.take(movement).map_err(StatementError::from)?;
            return Ok(None);
        }
        if !self.is_in_period(movement.at) {
            return Ok(None);
        }
        if self.lines == 0 && self.statement.opening() != self.opening.owned() {
            return Ok(Some(self.opening_differs()));
        }
        self.told.take(movement).map_err(StatementError::from)?;
        self.lines += 1;
        let owned = self.opening.owned() + self.told.owned();
        let told = |position: Position, amount: i64, balance: i64| {
            vec![
                ("position", position.to_string()),
                ("amount", amount.to_string()),
                ("balance", balance.to_string()),
            ]
        };
        let of_log = told(movement.position, movement.amount, owned);
        let Some(line) = self.next_line().await? else {
            let log = Some(format!("an event of {} micro-credits", movement.amount));
            return Ok(Some(self.unlike("statement", Some(movement.position), log, None)));
        };
        let of_line = told(line.position, line.amount, line.balance);
        Ok((of_log != of_line).then(|| {
            let (log, other) = differing(&of_log, &of_line);
            self.unlike("statement", Some(movement.position), Some(log), Some(other))
        }))
    }

    fn opening_differs(&self) -> Difference {
        let log = format!("an opening balance of {} micro-credits", self.opening.owned());
        let other = format!("one of {}", self.statement.opening());
        self.unlike("statement", None, Some(log), Some(other))
    }

    async fn next_line(&mut self) -> Result<Option<Line>, ReconcileError> {
        while self.waiting.is_empty() {
            match self.statement.next().await? {
                Some(lines) => self.waiting = lines.into(),
                None => return Ok(None),
            }
        }
        Ok(self.waiting.pop_front())
    }

    async fn charge(
        &mut self,
        seen: &mut PgConnection,
        of_log: ChargeFacts,
    ) -> Result<Option<Difference>, ReconcileError> {
        self.charges += 1;
        let at = Some(of_log.position);
        let Some((of_view, refunded)) = self.rows.next(seen).await? else {
            let log = format!("the charge {}", of_log.reservation);
            return Ok(Some(self.unlike("views.charges", at, Some(log), None)));
        };
        if refunded != 0 {
            self.refunded_in_view.insert(of_view.reservation, refunded);
        }
        Ok((of_log != of_view).then(|| {
            let (log, other) = differing(&of_log.told(), &of_view.told());
            self.unlike("views.charges", at, Some(log), Some(other))
        }))
    }

    /// What is left when the log has ended.
    async fn ends(&mut self, seen: &mut PgConnection) -> Result<Option<Difference>, ReconcileError> {
        if self.statement.opening() != self.opening.owned() {
            return Ok(Some(self.opening_differs()));
        }
        // Lines of events that came since are none of this moment's.
        if let Some(line) = self.next_line().await?
            && line.position <= self.standing.head
        {
            let other = format!("a line of {} micro-credits", line.amount);
            return Ok(Some(self.unlike("statement", Some(line.position), None, Some(other))));
        }
        if let Some((row, _)) = self.rows.next(seen).await? {
            let other = format!("the charge {}", row.reservation);
            return Ok(Some(self.unlike(
                "views.charges",
                Some(row.position),
                None,
                Some(other),
            )));
        }
        if let Some(difference) = self.refunds() {
            return Ok(Some(difference));
        }
        if let Some(difference) = self.balance(seen).await? {
            return Ok(Some(difference));
        }
        for table in ["views.usage", "views.usage_by_endpoint"] {
            let of_view = Hours::of_view(seen, table, self.account, self.period).await?;
            if let Some((at, log, other)) = self.hours.first_unlike(&of_view) {
                let told = |hour: super::usage::Hour| hour.told(at);
                return Ok(Some(self.unlike(table, None, log.map(told), other.map(told))));
            }
        }
        Ok(None)
    }

    fn refunds(&self) -> Option<Difference> {
        let charges = self.refunded.keys().chain(self.refunded_in_view.keys());
        let unlike = charges
            .filter(|id| self.refunded.get(id) != self.refunded_in_view.get(id))
            .min()?;
        let told = |sum: &i64| format!("{sum} micro-credits refunded of {unlike}");
        let (log, other) = (self.refunded.get(unlike), self.refunded_in_view.get(unlike));
        Some(self.unlike("views.charges", None, log.map(told), other.map(told)))
    }

    /// The balance's row beside both folds of the log.
    async fn balance(&self, seen: &mut PgConnection) -> Result<Option<Difference>, ReconcileError> {
        let row = sqlx::query(
            "select granted, charged, refunded, expired, corrected, reserved from views.balance where account_id = $1",
        )
        .bind(Uuid::from_bytes(self.account.to_bytes()))
        .fetch_optional(seen)
        .await?;
        const SUMS: [&str; 6] = ["granted", "charged", "refunded", "expired", "corrected", "reserved"];
        let told = |sums: [i64; 6]| -> Vec<(&'static str, String)> {
            SUMS.into_iter().zip(sums.map(|sum| sum.to_string())).collect()
        };
        let of_fold = |sums: &AccountChange| {
            let of = sums;
            [
                of.granted,
                of.charged,
                of.refunded,
                of.expired,
                of.corrected,
                of.reserved,
            ]
        };
        let folded = self.balance.opened.get(&self.account).map(|row| of_fold(&row.sums));
        let of_view = match row {
            Some(row) => {
                let mut sums = [0; 6];
                for (sum, column) in sums.iter_mut().zip(SUMS) {
                    *sum = row.try_get(column)?;
                }
                Some(sums)
            }
            None => None,
        };
        let at = Some(self.standing.balance);
        let of_statement = [
            self.all.granted,
            self.all.charged,
            self.all.refunded,
            self.all.expired,
            self.all.corrected,
        ];
        if self.standing.balance >= self.standing.head
            && let Some(folded) = folded
            && folded[..5] != of_statement
        {
            let told = |sums: &[i64]| format!("{sums:?} micro-credits");
            return Ok(Some(self.unlike(
                "statement",
                at,
                Some(told(&folded[..5])),
                Some(told(&of_statement)),
            )));
        }
        Ok(match (folded, of_view) {
            (Some(log), Some(view)) if log != view => {
                let (log, other) = differing(&told(log), &told(view));
                Some(self.unlike("views.balance", at, Some(log), Some(other)))
            }
            (Some(_), None) => Some(self.unlike("views.balance", at, Some("an account".to_owned()), None)),
            (None, Some(_)) => Some(self.unlike("views.balance", at, None, Some("an account".to_owned()))),
            (Some(_), Some(_)) | (None, None) => None,
        })
    }
}
