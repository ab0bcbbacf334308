//! Prices that are published for every account.

use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::text::Endpoint;
use crate::time::Timestamp;

/// A whole price book, in the history of the system itself. From its moment on it holds in the place of every book with a
/// lower version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PricesPublished {
    /// Counted from 1.
    pub version: u64,
    /// Not before the event.
    pub valid_from: Timestamp,
    /// In the order in which they are searched.
    pub prices: Vec<PublishedPrice>,
}

/// What one kind of request costs, in the words of the config file's `[[prices]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedPrice {
    pub endpoint: Endpoint,
    /// `GET /serp/{*rest}`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Credits a unit.
    pub price: Credits,
    pub unit: String,
    /// One a request, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<PublishedQuantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_more: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once_per: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_burst: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

/// Where the units of an answer are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishedQuantity {
    /// In a header of the answer.
    Header(String),
    /// At a JSON pointer in its body: a number, or the length of an array.
    Json(String),
}
