//! The rules: one file per decision, with its command, its refusals in order, and its tests.
//!
//! Not here: clock, randomness, look-ups. What a decider needs beside the account comes in the command.

mod accounts;
mod bound;
mod change_account;
mod charge;
mod charge_at_once;
mod charge_delivered;
mod close_account;
mod correct;
mod denied;
mod due;
mod erase;
#[cfg(test)]
mod free_riders;
mod grants;
mod invitations;
mod keys;
#[cfg(test)]
mod laws;
mod leak;
#[cfg(test)]
mod once;
mod plans;
mod publish;
mod refund;
mod release;
mod reserve;
mod rotate;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod set_aside;
mod settle;
mod spending;
mod take;
mod thresholds;
mod tokens;

pub use accounts::{AccountFacts, OpenAccount};
pub use change_account::ChangeAccount;
pub use charge::ChargeReservation;
pub use charge_at_once::ChargeAtOnce;
pub use charge_delivered::{Beyond, ChargeDelivered, DeliveryCharge, beside};
pub use close_account::CloseAccount;
pub use correct::{CorrectCredits, Corrected, CorrectionFacts};
pub use denied::NoteDenied;
pub use due::{SettleDue, due};
pub use erase::{ErasePersonalData, ErasureFacts};
pub use grants::{GrantCredits, GrantFacts};
pub use invitations::{InviteOperator, InviteToPages};
pub use keys::{CreateKey, DeleteKey, KeyFacts, RenameKey};
pub use leak::{DeleteLeaked, LeakFacts};
pub use plans::{EndPlan, PLANS_MAX, PlanFacts, StartPlan};
pub use publish::PublishPrices;
pub use refund::{RefundCharge, RefundFacts};
pub use release::ReleaseReservation;
pub use reserve::{Held, Payer, Price, ReserveCredits, Usage};
pub use rotate::{NewText, OVERLAP_SECONDS_MAX, RotateKey};
pub use settle::{Charge, Release};
pub use spending::LimitSpending;
pub use thresholds::{SetThresholds, THRESHOLDS_MAX, crossings};
pub use tokens::{CreateToken, RevokeToken, TokenFacts};
