//! Balances at which somebody wants to be told.

use serde::{Deserialize, Serialize};

use crate::credits::Credits;

/// From now on these balances are watched for, and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdsSet {
    /// The highest first, each once. None: nothing is watched for.
    pub thresholds: Vec<Credits>,
}

/// The balance has come down to a threshold: time to top up. Said again only after the balance was above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdReached {
    pub threshold: Credits,
    /// What every endpoint can use, and what of it is held for requests under way: a hold that returns crosses nothing.
    pub balance: Credits,
}
