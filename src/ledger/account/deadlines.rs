//! Open holds by the moment that they end. The first moment is known without looking for it, since every command asks.

use std::collections::BTreeSet;

use keyledger_events::{ReservationId, Timestamp};
use serde::{Deserialize, Serialize, Serializer};

type ByEnd = BTreeSet<(Timestamp, ReservationId)>;

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ByEnd")]
pub struct Deadlines {
    by_end: ByEnd,
    first: Option<Timestamp>,
}

impl Deadlines {
    pub(super) fn insert(&mut self, end: Timestamp, reservation: ReservationId) {
        self.by_end.insert((end, reservation));
        self.first = Some(self.first.map_or(end, |first| first.min(end)));
    }

    pub(super) fn remove(&mut self, end: Timestamp, reservation: ReservationId) {
        self.by_end.remove(&(end, reservation));
        if self.first == Some(end) {
            self.first = first(&self.by_end);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = ReservationId> {
        self.by_end.iter().map(|(_, reservation)| *reservation)
    }

    /// Those that are over by now.
    pub fn over(&self, now: Timestamp) -> impl Iterator<Item = ReservationId> {
        let any = self.first.is_some_and(|first| first <= now);
        let from_the_first = any.then(|| self.by_end.iter()).into_iter().flatten();
        let over = from_the_first.take_while(move |(end, _)| *end <= now);
        over.map(|(_, reservation)| *reservation)
    }
}

fn first(by_end: &ByEnd) -> Option<Timestamp> {
    by_end.first().map(|(end, _)| *end)
}

impl From<ByEnd> for Deadlines {
    fn from(by_end: ByEnd) -> Deadlines {
        let first = first(&by_end);
        Deadlines { by_end, first }
    }
}

impl Serialize for Deadlines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_end.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Steps: a hold comes or goes, of few moments and ids, so that many end together.
        #[test]
        fn what_is_over_is_what_ends_by_now_whatever_came_and_went(
            steps in prop::collection::vec((any::<bool>(), 0..6_u32, 0..4_u128), 0..40), now in 0..7_u32,
        ) {
            let at = |seconds| Timestamp::EPOCH.plus_seconds(seconds);
            let mut deadlines = Deadlines::default();
            let mut plain = ByEnd::new();
            for (comes, end, id) in steps {
                let (end, id) = (at(end), ReservationId::from_parts(1, id));
                if comes {
                    deadlines.insert(end, id);
                    plain.insert((end, id));
                } else {
                    deadlines.remove(end, id);
                    plain.remove(&(end, id));
                }
                let over: Vec<_> = deadlines.over(at(now)).collect();
                let ended = plain.iter().filter(|(end, _)| *end <= at(now)).map(|(_, id)| *id);
                prop_assert_eq!(over, ended.collect::<Vec<_>>());
                prop_assert_eq!(&Deadlines::from(plain.clone()), &deadlines, "as if it had been read");
            }
        }
    }
}
