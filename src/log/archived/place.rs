//! One event in its place, where it or what is around it may be archived: what `placed.rs` asks of Postgres alone.

use keyledger_events::{AccountId, Position, Seq};

use super::beside::{decoded, has, reservation_in};
use crate::log::placed::{Placed, STEPS_MAX, STEPS_WITHIN};
use crate::log::{Log, ReadError};

impl Log {
    pub(in crate::log) async fn placed_through(
        &self,
        account: AccountId,
        at: Position,
    ) -> Result<Option<Placed>, ReadError> {
        let Some(before) = at.0.checked_sub(1) else {
            return Ok(None);
        };
        let Some(event) = self.read(Position(before), 1).await?.pop() else {
            return Ok(None);
        };
        let Some(recorded) = decoded(std::slice::from_ref(&event))?.pop() else {
            return Ok(None);
        };
        if recorded.account != account {
            return Ok(None);
        }
        let after = Seq(recorded.seq.0.saturating_sub(STEPS_WITHIN + 1));
        let many = recorded.seq.0 - after.0 + STEPS_WITHIN;
        let near = self
            .account_events(account, after, u32::try_from(many).unwrap_or(u32::MAX))
            .await?;
        let here = near.iter().position(|stored| stored.position == at);
        let here = here.ok_or(ReadError::Corrupt {
            what: "an event that is not in its account's history",
        })?;
        let older = here.checked_sub(1).and_then(|older| near.get(older));
        let (older, newer) = (
            older.map(|event| event.position),
            near.get(here + 1).map(|event| event.position),
        );
        let steps = match reservation_in(&event.body) {
            None => Vec::new(),
            Some(reservation) => {
                let steps = near.iter().filter(|step| has(&step.body, reservation));
                steps.take(STEPS_MAX).cloned().collect()
            }
        };
        let mut page = steps.clone();
        if !page.contains(&event) {
            page.push(event.clone());
        }
        let beside = self.beside(account, &page, false).await?;
        Ok(Some(Placed {
            event,
            older,
            newer,
            steps,
            beside,
        }))
    }
}
