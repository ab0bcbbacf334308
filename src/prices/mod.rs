//! The price book: which request costs what, and how its units are counted.
//!
//! In: entries as a person wrote them. Out: rules, looked up by request or by endpoint name.
//!
//! Promise: the first entry that matches decides; every fault of every entry is told at once; a rule that stands in a
//! book can be held for, so no price times quantity leaves the bounds of `Credits`.
//!
//! Not here: where entries come from, and what is done with a price.

mod pattern;
mod pointer;
mod published;
mod rate;

use std::sync::Arc;

use http::HeaderName;
use keyledger_events::{Credits, Endpoint};
use serde::{Deserialize, Serialize};

pub use pattern::METHODS;
pub use pointer::JsonPointer;
pub use published::{publishable, read_published};
pub use rate::Rate;

use pattern::Pattern;

/// An entry as a person wrote it; see design section 10 for its members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceEntry {
    pub endpoint: String,
    pub pattern: String,
    pub price: String,
    pub unit: String,
    pub quantity: QuantityEntry,
    pub quantity_max: Option<u64>,
    /// The gateway's upstream that answers; its usual one where none is named.
    pub upstream: Option<String>,
    /// `shortfall` or `top-up`; shortfall when absent.
    pub when_more: Option<String>,
    /// `path`: the same key pays for a result once a day. Each time when absent.
    pub once_per: Option<String>,
    /// Calls a second of one key to this endpoint; no limit of its own where not said.
    pub rate_per_second: Option<u64>,
    /// Calls at once; as many as a second allows where not said.
    pub rate_burst: Option<u64>,
    pub settle: SettleAt,
}

/// When a hold is charged that was made for a proxy of somebody else's. The gateway itself always knows better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SettleAt {
    /// As soon as it is held, whatever becomes of the answer.
    AtOnce,
    /// When the proxy, or the data API, says what became of the answer.
    #[default]
    Later,
}

impl SettleAt {
    pub const fn as_str(self) -> &'static str {
        match self {
            SettleAt::AtOnce => "at-once",
            SettleAt::Later => "later",
        }
    }

    pub fn parse(text: &str) -> Option<SettleAt> {
        [SettleAt::AtOnce, SettleAt::Later]
            .into_iter()
            .find(|rule| rule.as_str() == text)
    }
}

/// How a person said that units are counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum QuantityEntry {
    #[default]
    Fixed,
    Header(String),
    Json(String),
}

/// What one kind of request costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRule {
    /// The name in events, statements and charts.
    pub endpoint: Endpoint,
    /// Credits a unit; may be zero, never less.
    pub price: Credits,
    pub unit: String,
    pub quantity: Quantity,
    /// Units that are held for before the work; at least 1.
    pub quantity_max: u64,
    pub when_more: WhenMore,
    /// A key that asks for the same path again within a day is given it.
    pub once_per_path: bool,
    /// How often one key may call this endpoint, beside the gateway's own limits.
    pub rate: Option<Rate>,
    pub settle: SettleAt,
    /// The version of the book that this rule stands in; 0 is the config file.
    pub version: u64,
    /// The name of the upstream that answers, if it is not the usual one.
    pub upstream: Option<String>,
}

/// How the delivered units of an answer are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quantity {
    /// One a request.
    Fixed,
    /// A decimal count in a header of the answer.
    Header(HeaderName),
    /// A number, or the length of an array, in the answer's JSON.
    Json(JsonPointer),
}

/// What becomes of units that were delivered beyond those that were held for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenMore {
    /// They are delivered and not charged, and the log of the gateway says so.
    #[default]
    Shortfall,
    /// They are charged from what is available, as a charge of their own. What the balance lacks is a shortfall.
    TopUp,
}

/// All prices, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceBook {
    rules: Vec<(Pattern, Arc<PriceRule>)>,
}

/// What is wrong with one entry. `entry` counts from 1, as people do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("price {entry}: `{field}` {what}")]
pub struct Complaint {
    pub entry: usize,
    pub field: &'static str,
    pub what: String,
}

const ENTRIES_MAX: usize = 1_000;
const UNIT_CHARS_MAX: usize = 32;
const QUANTITY_MAX: u64 = 1_000_000;

impl PriceBook {
    /// Makes a book of entries, or says all that is wrong with them.
    pub fn new(entries: &[PriceEntry], version: u64) -> Result<PriceBook, Vec<Complaint>> {
        let mut complaints = Vec::new();
        if entries.len() > ENTRIES_MAX {
            complaints.push(Complaint {
                entry: ENTRIES_MAX + 1,
                field: "prices",
                what: format!("has at most {ENTRIES_MAX} entries"),
            });
        }
        let mut rules = Vec::new();
        for (index, entry) in entries.iter().take(ENTRIES_MAX).enumerate() {
            let mut reading = Reading {
                entry: index + 1,
                complaints: &mut complaints,
            };
            let rule = reading.rule(entry, version);
            rules.extend(rule.map(|(pattern, rule)| (pattern, Arc::new(rule))));
        }
        if complaints.is_empty() {
            Ok(PriceBook { rules })
        } else {
            Err(complaints)
        }
    }

    /// The rule for a request: the first that matches. `path` is as it came over the wire, without the query.
    pub fn route(&self, method: &str, path: &str) -> Option<&Arc<PriceRule>> {
        self.rules
            .iter()
            .find(|(pattern, _)| pattern.matches(method, path))
            .map(|(_, rule)| rule)
    }

    /// The rule of an endpoint, for work that does not come through the gateway: the first with this name.
    pub fn by_endpoint(&self, endpoint: &Endpoint) -> Option<&PriceRule> {
        self.rules().find(|rule| rule.endpoint == *endpoint)
    }

    /// Every rule with what it matches: `GET /serp/{*rest}`.
    pub fn patterns(&self) -> impl Iterator<Item = (String, &PriceRule)> {
        self.rules
            .iter()
            .map(|(pattern, rule)| (pattern.to_string(), rule.as_ref()))
    }

    pub fn rules(&self) -> impl Iterator<Item = &PriceRule> {
        self.rules.iter().map(|(_, rule)| rule.as_ref())
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// The reading of one entry.
struct Reading<'a> {
    entry: usize,
    complaints: &'a mut Vec<Complaint>,
}

impl Reading<'_> {
    fn told<T>(&mut self, field: &'static str, read: Result<T, String>) -> Option<T> {
        let complain = |what| {
            self.complaints.push(Complaint {
                entry: self.entry,
                field,
                what,
            });
        };
        read.map_err(complain).ok()
    }

    /// Reads every member, so that every fault is told, and only then asks whether all were right.
    fn rule(&mut self, entry: &PriceEntry, version: u64) -> Option<(Pattern, PriceRule)> {
        let pattern = self.told("match", Pattern::parse(&entry.pattern));
        let endpoint = self.told("endpoint", Endpoint::parse(&entry.endpoint).map_err(|e| e.to_string()));
        let price = self.told("price", read_price(&entry.price));
        let unit = self.told("unit", read_unit(&entry.unit));
        let quantity = self.told("quantity", read_quantity(&entry.quantity));
        let quantity_max = self.told("quantity_max", read_quantity_max(entry));
        let when_more = self.told("when_more", read_when_more(entry));
        let once_per_path = self.told("once_per", read_once_per(entry));
        let rate = self.told("rate_per_second", Rate::read(entry.rate_per_second, entry.rate_burst));
        let settle = self.told("settle", read_settle(entry));
        let (price, quantity_max) = (price?, quantity_max?);
        let held = price.times(quantity_max);
        let held = held.ok_or_else(|| "times the price is more credits than there can be".to_owned());
        self.told("quantity_max", held)?;
        let rule = PriceRule {
            endpoint: endpoint?,
            price,
            unit: unit?,
            quantity: quantity?,
            quantity_max,
            when_more: when_more?,
            once_per_path: once_per_path?,
            rate: rate?,
            settle: settle?,
            version,
            upstream: entry.upstream.clone(),
        };
        Some((pattern?, rule))
    }
}

fn read_price(text: &str) -> Result<Credits, String> {
    let price: Credits = text.parse().map_err(|e| format!("is not an amount: {e}"))?;
    if price.is_negative() {
        return Err("is zero or more".to_owned());
    }
    Ok(price)
}

fn read_unit(text: &str) -> Result<String, String> {
    let fits = (1..=UNIT_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("is 1 to {UNIT_CHARS_MAX} characters, such as \"request\""))
    }
}

fn read_quantity(entry: &QuantityEntry) -> Result<Quantity, String> {
    match entry {
        QuantityEntry::Fixed => Ok(Quantity::Fixed),
        QuantityEntry::Header(name) => HeaderName::from_bytes(name.as_bytes())
            .map(Quantity::Header)
            .map_err(|_| "names no header that can be".to_owned()),
        QuantityEntry::Json(pointer) => JsonPointer::parse(pointer)
            .map(Quantity::Json)
            .ok_or_else(|| "is no JSON pointer of at most 16 tokens, such as \"/conversations\"".to_owned()),
    }
}

/// A counted quantity needs its bound said: it decides how much a customer must have before anything is forwarded,
/// and no default can know that.
fn read_quantity_max(entry: &PriceEntry) -> Result<u64, String> {
    match (&entry.quantity, entry.quantity_max) {
        (QuantityEntry::Fixed, None | Some(1)) => Ok(1),
        (QuantityEntry::Fixed, Some(_)) => Err("is 1 where the quantity is not counted".to_owned()),
        (QuantityEntry::Header(_) | QuantityEntry::Json(_), Some(most)) if (1..=QUANTITY_MAX).contains(&most) => {
            Ok(most)
        }
        (QuantityEntry::Header(_) | QuantityEntry::Json(_), Some(_)) => Err(format!("is 1 to {QUANTITY_MAX}")),
        (QuantityEntry::Header(_) | QuantityEntry::Json(_), None) => {
            Err("is needed where the quantity is counted: so many units are held for".to_owned())
        }
    }
}

fn read_once_per(entry: &PriceEntry) -> Result<bool, String> {
    match entry.once_per.as_deref() {
        None => Ok(false),
        Some("path") => Ok(true),
        Some(_) => Err("is \"path\", or left out".to_owned()),
    }
}

fn read_when_more(entry: &PriceEntry) -> Result<WhenMore, String> {
    match (entry.when_more.as_deref(), &entry.quantity) {
        (None, _) => Ok(WhenMore::default()),
        (Some(_), QuantityEntry::Fixed) => Err("is said only where the quantity is counted".to_owned()),
        (Some("shortfall"), _) => Ok(WhenMore::Shortfall),
        (Some("top-up"), _) => Ok(WhenMore::TopUp),
        (Some(_), _) => Err("is \"shortfall\" or \"top-up\"".to_owned()),
    }
}

/// Before an answer is there, nothing can be counted in it.
fn read_settle(entry: &PriceEntry) -> Result<SettleAt, String> {
    match (entry.settle, &entry.quantity) {
        (SettleAt::AtOnce, QuantityEntry::Header(_) | QuantityEntry::Json(_)) => {
            Err("is \"later\" where the quantity is counted".to_owned())
        }
        (settle, QuantityEntry::Fixed | QuantityEntry::Header(_) | QuantityEntry::Json(_)) => Ok(settle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(endpoint: &str, pattern: &str, price: &str) -> PriceEntry {
        PriceEntry {
            endpoint: endpoint.into(),
            pattern: pattern.into(),
            price: price.into(),
            unit: "request".into(),
            quantity: QuantityEntry::Fixed,
            quantity_max: None,
            upstream: None,
            when_more: None,
            once_per: None,
            settle: SettleAt::Later,
            ..PriceEntry::default()
        }
    }

    #[test]
    fn the_first_entry_that_matches_decides() {
        let book = PriceBook::new(
            &[
                entry("serp_tasks", "GET /serp/tasks/{task}", "0.2"),
                entry("serp", "ANY /serp/{*rest}", "0.5"),
                entry("free", "GET /status", "0"),
            ],
            0,
        )
        .unwrap();
        let name = |method, path| book.route(method, path).map(|rule| rule.endpoint.as_str().to_owned());
        assert_eq!(name("GET", "/serp/tasks/7").as_deref(), Some("serp_tasks"));
        assert_eq!(name("POST", "/serp/tasks/7").as_deref(), Some("serp"));
        assert_eq!(name("GET", "/status").as_deref(), Some("free"));
        assert_eq!(name("GET", "/secret"), None);
        let serp = Endpoint::parse("serp").unwrap();
        assert_eq!(book.by_endpoint(&serp).map(|rule| rule.price), "0.5".parse().ok());
    }

    #[test]
    fn every_fault_of_every_entry_is_told_at_once() {
        let mut counted = entry("ai", "GET /ai/{*rest}", "0.5");
        counted.quantity = QuantityEntry::Json("conversations".into());
        let mut dear = entry("dear", "GET /dear", "9000000000");
        dear.quantity = QuantityEntry::Header("X-Result-Count".into());
        dear.quantity_max = Some(2);
        dear.settle = SettleAt::AtOnce;
        let mut bad = entry("Bad Name", "GET serp", "-1");
        bad.unit = String::new();
        bad.quantity_max = Some(3);
        bad.when_more = Some("top-up".into());
        bad.once_per = Some("day".into());
        let complaints = PriceBook::new(&[bad, counted, dear], 0).unwrap_err();
        let told: Vec<_> = complaints.iter().map(|c| (c.entry, c.field)).collect();
        let expected = [
            (1, "match"),
            (1, "endpoint"),
            (1, "price"),
            (1, "unit"),
            (1, "quantity_max"),
            (1, "when_more"),
            (1, "once_per"),
            (2, "quantity"),
            (2, "quantity_max"),
            (3, "settle"),
            (3, "quantity_max"),
        ];
        assert_eq!(told, expected);
    }
}
