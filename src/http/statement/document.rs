//! A statement as a JSON document, written in pieces: its lines are never all in memory.

use keyledger_events::{AccountId, Credits, KeyId, PlanPeriod, ReservationId, Scopes, Timestamp};
use keyledger_projections::{Spent, Sums};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::place::Place;
use crate::statements::{Format, Line, Statement, StatementError, credits};

/// `opening_balance` + the sum of the lines' `amount` = `closing_balance`, to the micro-credit.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the document, which is written in pieces")]
pub(super) struct StatementBody {
    #[schema(inline)]
    #[serde(flatten)]
    head: StatementHead,
    /// In the order of the log. Not there with `lines=false`.
    lines: Vec<StatementLine>,
    #[schema(inline)]
    #[serde(flatten)]
    end: StatementEnd,
}

/// What stands before the lines.
#[derive(Debug, Serialize, ToSchema)]
struct StatementHead {
    #[schema(value_type = String, example = "acct_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    account: AccountId,
    /// What the account was called at the end of the period.
    name: String,
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Not in the period any more.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// Whether the period is over: then this is its statement for ever. It is over when the log has an event at `to` or
    /// later, or 5 minutes after `to`.
    complete: bool,
    /// The account's last event before `to`: all up to it is told.
    #[schema(value_type = String, example = "0:812")]
    position: Place,
    /// What the account owned before: available and held.
    #[schema(value_type = String, example = "100")]
    opening_balance: Credits,
}

/// A movement of credits. Members that say nothing of it are left out.
#[derive(Debug, Serialize, ToSchema)]
struct StatementLine {
    /// `grant`, `charge`, `refund`, `expiry` or `correction`. A correction that adds credits is a grant with this source.
    #[serde(rename = "type")]
    #[schema(rename = "type", example = "charge")]
    kind: &'static str,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The event.
    #[schema(value_type = String, example = "0:812")]
    position: Place,
    /// The grant's, the charge's (that is its reservation's), the refund's, the grant's that expired, the correction's.
    #[schema(example = "rsv_01JDE5Z8W4M3X7Q2V9T6R1K0PA")]
    id: String,
    /// Below zero where the account has less afterwards. 0 for the work of test keys.
    #[schema(value_type = String, example = "-0.5")]
    amount: Credits,
    /// What the account owns afterwards.
    #[schema(value_type = String, example = "99.5")]
    balance: Credits,
    /// Of charges and refunds. Not there: the dashboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    key: Option<KeyId>,
    /// What it was called at the end of the period.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<String>,
    /// `api` or `dashboard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'static str>,
    /// `live` or `test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// Units; of charges alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    unit_price: Option<Credits>,
    /// The price book that the price comes from; 0 is the config file.
    #[serde(skip_serializing_if = "Option::is_none")]
    price_version: Option<u64>,
    /// The charge that was refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    charge: Option<ReservationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    charged_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    reserved_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    endpoints: Option<Scopes>,
    /// The plan that gave it, and which of its periods it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    period: Option<PlanPeriod>,
    /// What came over from the period before: the account owned it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    rolled_over: Option<Credits>,
    /// Who did it: a key, an access token, a portal session, or `system`.
    actor: String,
}

/// What stands after the lines.
#[derive(Debug, Serialize, ToSchema)]
struct StatementEnd {
    totals: Totals,
    by_key: Vec<OfKey>,
    by_endpoint: Vec<OfEndpoint>,
    by_day: Vec<OfDay>,
    /// What the account owned after: available and held.
    #[schema(value_type = String, example = "99.5")]
    closing_balance: Credits,
}

/// What the lines add up to: `closing_balance` = `opening_balance` + `granted` − `charged` + `refunded` − `expired` −
/// `corrected`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementTotals)]
struct Totals {
    lines: u64,
    #[serde(flatten)]
    #[schema(inline)]
    sums: TotalSums,
    charges: u64,
    /// Units of all charges.
    quantity: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct TotalSums {
    #[schema(value_type = String, example = "100")]
    granted: Credits,
    #[schema(value_type = String, example = "0.5")]
    charged: Credits,
    #[schema(value_type = String, example = "0")]
    refunded: Credits,
    #[schema(value_type = String, example = "0")]
    expired: Credits,
    /// What corrections took away.
    #[schema(value_type = String, example = "0")]
    corrected: Credits,
}

/// What was spent, and what came back of charges of any time.
#[derive(Debug, Serialize, ToSchema)]
struct SpentBody {
    charges: u64,
    quantity: u64,
    #[schema(value_type = String, example = "0.5")]
    charged: Credits,
    #[schema(value_type = String, example = "0")]
    refunded: Credits,
}

/// Those with most credits first. Without `key`: the dashboard.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementOfKey)]
struct OfKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    key: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<String>,
    #[serde(flatten)]
    #[schema(inline)]
    spent: SpentBody,
}

/// Those with most credits first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementOfEndpoint)]
struct OfEndpoint {
    endpoint: String,
    #[serde(flatten)]
    #[schema(inline)]
    spent: SpentBody,
}

/// Days, UTC, on which something moved, in order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementOfDay)]
struct OfDay {
    #[schema(value_type = String, format = DateTime)]
    day: Timestamp,
    #[serde(flatten)]
    #[schema(inline)]
    sums: TotalSums,
    charges: u64,
    quantity: u64,
    /// What the account owned at the end of the day.
    #[schema(value_type = String, example = "99.5")]
    balance: Credits,
}

impl TotalSums {
    fn new(sums: &Sums) -> Result<TotalSums, StatementError> {
        Ok(TotalSums {
            granted: credits(sums.granted)?,
            charged: credits(sums.charged)?,
            refunded: credits(sums.refunded)?,
            expired: credits(sums.expired)?,
            corrected: credits(sums.corrected)?,
        })
    }
}

impl SpentBody {
    fn new(spent: &Spent) -> Result<SpentBody, StatementError> {
        Ok(SpentBody {
            charges: spent.charges,
            quantity: spent.quantity,
            charged: credits(spent.charged)?,
            refunded: credits(spent.refunded)?,
        })
    }
}

impl StatementHead {
    fn new(statement: &Statement) -> Result<StatementHead, StatementError> {
        Ok(StatementHead {
            account: statement.account(),
            name: statement.name().to_owned(),
            from: statement.period().from(),
            to: statement.period().to(),
            complete: statement.complete(),
            position: Place {
                shard: statement.shard(),
                position: statement.position(),
            },
            opening_balance: credits(statement.opening())?,
        })
    }
}

impl StatementLine {
    fn new(statement: &Statement, line: &Line) -> Result<StatementLine, StatementError> {
        let work = line.work.as_ref();
        Ok(StatementLine {
            kind: line.kind.as_str(),
            at: line.at,
            position: Place {
                shard: statement.shard(),
                position: line.position,
            },
            id: line.id.clone(),
            amount: credits(line.amount)?,
            balance: credits(line.balance)?,
            key: work.and_then(|work| work.key),
            key_name: work.and_then(|work| work.key_name.as_deref()).map(str::to_owned),
            channel: work.map(|work| work.channel),
            environment: work.map(|work| work.environment),
            endpoint: work.map(|work| work.endpoint.as_str().to_owned()),
            quantity: work.and_then(|work| work.quantity),
            unit_price: work.map(|work| work.unit_price),
            price_version: work.map(|work| work.price_version),
            charge: line.charge,
            charged_at: line.charged_at,
            reserved_at: line.reserved_at,
            source: line.source.map(|source| source.as_str()),
            reference: line.reference.clone(),
            reason: line.reason.clone(),
            starts_at: line.starts_at,
            expires_at: line.expires_at,
            endpoints: line.endpoints.clone(),
            period: line.period,
            rolled_over: line.rolled_over,
            actor: line.actor.clone(),
        })
    }
}

impl StatementEnd {
    fn new(statement: &Statement) -> Result<StatementEnd, StatementError> {
        let tally = statement.tally();
        let mut keys: Vec<_> = tally.by_key.iter().collect();
        keys.sort_by_key(|(_, spent)| std::cmp::Reverse(spent.charged));
        let mut endpoints: Vec<_> = tally.by_endpoint.iter().collect();
        endpoints.sort_by_key(|(_, spent)| std::cmp::Reverse(spent.charged));
        let of_key = |(key, spent): (&Option<KeyId>, &Spent)| {
            let called = key.as_ref().and_then(|key| statement.key_name(key));
            Ok(OfKey {
                key: *key,
                name: called.map(|called| called.name.to_string()),
                preview: called.map(|called| called.preview.to_string()),
                spent: SpentBody::new(spent)?,
            })
        };
        let mut owned = statement.opening();
        let of_day = |(day, of): (&Timestamp, &keyledger_projections::Day)| {
            owned += of.sums.owned();
            Ok(OfDay {
                day: *day,
                sums: TotalSums::new(&of.sums)?,
                charges: of.spent.charges,
                quantity: of.spent.quantity,
                balance: credits(owned)?,
            })
        };
        Ok(StatementEnd {
            totals: Totals {
                lines: tally.movements,
                sums: TotalSums::new(&tally.sums)?,
                charges: tally.spent.charges,
                quantity: tally.spent.quantity,
            },
            by_key: keys.into_iter().map(of_key).collect::<Result<_, StatementError>>()?,
            by_endpoint: endpoints
                .into_iter()
                .map(|(endpoint, spent)| {
                    Ok(OfEndpoint {
                        endpoint: endpoint.as_str().to_owned(),
                        spent: SpentBody::new(spent)?,
                    })
                })
                .collect::<Result<_, StatementError>>()?,
            by_day: tally.by_day.iter().map(of_day).collect::<Result<_, StatementError>>()?,
            closing_balance: credits(statement.closing())?,
        })
    }
}

/// Writes the document.
#[derive(Debug)]
pub(super) struct Document {
    with_lines: bool,
    first: bool,
}

impl Document {
    pub(super) fn new(with_lines: bool) -> Document {
        Document {
            with_lines,
            first: true,
        }
    }
}

/// An object without its last brace: more members follow.
fn begun(object: &impl Serialize) -> Result<Vec<u8>, StatementError> {
    let mut bytes = written(object)?;
    bytes.pop();
    bytes.push(b',');
    Ok(bytes)
}

fn written(value: &impl Serialize) -> Result<Vec<u8>, StatementError> {
    // Our own types always serialize.
    serde_json::to_vec(value).map_err(|_| StatementError::OutOfBounds)
}

impl Format for Document {
    fn head(&mut self, statement: &Statement) -> Result<Vec<u8>, StatementError> {
        let mut bytes = begun(&StatementHead::new(statement)?)?;
        if self.with_lines {
            bytes.extend_from_slice(b"\"lines\":[");
        }
        Ok(bytes)
    }

    fn lines(&mut self, statement: &Statement, lines: &[Line]) -> Result<Vec<u8>, StatementError> {
        let mut bytes = Vec::new();
        if !self.with_lines {
            return Ok(bytes);
        }
        for line in lines {
            if !std::mem::replace(&mut self.first, false) {
                bytes.push(b',');
            }
            let line = StatementLine::new(statement, line)?;
            serde_json::to_writer(&mut bytes, &line).map_err(|_| StatementError::OutOfBounds)?;
        }
        Ok(bytes)
    }

    fn end(&mut self, statement: &Statement) -> Result<Vec<u8>, StatementError> {
        let mut bytes = Vec::new();
        if self.with_lines {
            bytes.extend_from_slice(b"],");
        }
        // The document goes on, so this object's own first brace is none of it.
        bytes.extend(written(&StatementEnd::new(statement)?)?.into_iter().skip(1));
        Ok(bytes)
    }
}
