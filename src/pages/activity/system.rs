//! The system's own history, for operators: the same words, with tokens by their ids.

use keyledger_events::Timestamp;

use super::line::{DataKeys, Line, Networks, decoded};
use super::names::Names;
use crate::log::Stored;
use crate::pages::fault::Fault;

/// Tells events of the system's own history.
pub(in crate::pages) fn of_the_system(events: &[Stored], now: Timestamp) -> Result<Vec<Line>, Fault> {
    let (names, networks) = (Names::of_the_system(), Networks::default());
    // Nothing in it is sealed.
    let events = decoded(events, &DataKeys::default())?;
    Ok(events
        .iter()
        .map(|event| Line::new(event, &names, &networks, now))
        .collect())
}
