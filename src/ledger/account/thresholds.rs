//! The balances that an account is watched for.
//!
//! Promise: a threshold that was told of is told of again only after the balance was above it, whatever happened between.

use keyledger_events::{Credits, ThresholdReached, ThresholdsSet};
use serde::{Deserialize, Serialize};

use super::{Account, Folded};

/// A balance to watch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    pub amount: Credits,
    /// It was told of, and the balance was not above it since.
    pub told: bool,
}

impl Account {
    /// What every endpoint can use, with what of it is held: what holds and their returns do not move.
    pub fn balance(&self) -> Credits {
        let for_all = self.grants.iter().filter(|grant| grant.is_for_all());
        let micros: i64 = for_all
            .map(|grant| grant.remaining.micros() + grant.held.micros())
            .sum();
        Credits::from_micros(micros - self.owed.micros()).unwrap_or(Credits::ZERO)
    }

    pub(super) fn thresholds_set(&mut self, e: &ThresholdsSet) -> Folded {
        let told = |amount| {
            self.thresholds
                .iter()
                .any(|before| before.amount == amount && before.told)
        };
        let thresholds = e.thresholds.iter().map(|amount| Threshold {
            amount: *amount,
            told: told(*amount),
        });
        self.thresholds = thresholds.collect();
        Ok(())
    }

    pub(super) fn threshold_reached(&mut self, e: &ThresholdReached) -> Folded {
        let mut all = self.thresholds.iter_mut();
        let reached = all.find(|threshold| threshold.amount == e.threshold);
        let reached = reached.ok_or("the account is not watched for this balance")?;
        if std::mem::replace(&mut reached.told, true) {
            return Err("a threshold is told of twice");
        }
        Ok(())
    }

    /// After any event: thresholds below the balance are to be told of when it comes down again.
    pub(super) fn arm_thresholds(&mut self) {
        if self.thresholds.is_empty() {
            return;
        }
        let balance = self.balance();
        for threshold in self
            .thresholds
            .iter_mut()
            .filter(|threshold| threshold.amount < balance)
        {
            threshold.told = false;
        }
    }
}
