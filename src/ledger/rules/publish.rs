//! Publishing a price book, for every account.

use keyledger_events::{Event, PricesPublished, PublishedPrice, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;
use crate::ledger::schedule::Publication;

/// Publishes a whole book. The sender has seen that it can be used: prices are nothing that the rules read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishPrices {
    pub prices: Vec<PublishedPrice>,
    /// Now, unless said. At most a minute ago, which means now: clocks differ.
    pub valid_from: Option<Timestamp>,
}

/// More plans for the future than anybody keeps in mind.
pub const BOOKS_TO_COME_MAX: usize = 10;
const SECONDS_AGO_MAX: u32 = 60;

impl Command for PublishPrices {
    type Reply = Publication;
    const NAME: &'static str = "publish_prices";

    fn target(&self) -> Target {
        Target::System
    }

    fn decide(&self, given: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let (schedule, now) = (&given.account.schedule, given.now);
        let asked = self.valid_from.unwrap_or(now);
        if asked.plus_seconds(SECONDS_AGO_MAX) < now {
            return Err(Refusal::InThePast {
                field: "valid_from".into(),
            });
        }
        if asked > now && schedule.to_come_before(asked, now) >= BOOKS_TO_COME_MAX {
            return Err(Refusal::TooManyBooks {
                limit: BOOKS_TO_COME_MAX,
            });
        }
        Ok(vec![
            PricesPublished {
                version: schedule.last().map_or(0, |last| last.version).saturating_add(1),
                valid_from: asked.max(now),
                prices: self.prices.clone(),
            }
            .into(),
        ])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<Publication> {
        match account.remembered.made_by(&by.command) {
            Ok(Some(Made::Prices(publication))) => Some(*publication),
            Ok(None) => account.schedule.last(),
            Ok(Some(_)) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use keyledger_events::{AccountId, Actor, CommandId, EventId, Recorded, Shard};

    use super::*;
    use crate::ledger::command::Limits;

    fn at(seconds: u32) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(1_000).plus_seconds(seconds)
    }

    /// Publishes, and gives the version and its moment.
    fn publish(system: &mut Account, now: Timestamp, from: Option<Timestamp>, name: &str) -> Result<u64, Refusal> {
        let command = PublishPrices {
            prices: vec![],
            valid_from: from,
        };
        let by = By {
            actor: Actor::System,
            command: CommandId::parse(name).unwrap(),
        };
        let limits = Limits::default();
        let given = Given {
            account: system,
            by: &by,
            now,
            limits: &limits,
        };
        for event in command.ask(given)? {
            let recorded = Recorded {
                id: EventId::from_parts(now.ms(), 1),
                shard: Shard(0),
                position: system.position.next(),
                account: AccountId::SYSTEM,
                seq: system.seq.next(),
                time: now,
                actor: by.actor,
                command: by.command.clone(),
                sealed: None,
                event,
            };
            system.evolve(&recorded).unwrap();
        }
        Ok(command.reply(system, &by).unwrap().version)
    }

    #[test]
    fn books_are_counted_and_a_repeated_request_is_the_same_book() {
        let mut system = Account::nobody(AccountId::SYSTEM);
        assert_eq!(publish(&mut system, at(0), None, "idem:aa.01"), Ok(1));
        assert_eq!(publish(&mut system, at(9), Some(at(20)), "b"), Ok(2));
        assert_eq!(publish(&mut system, at(10), None, "idem:aa.01"), Ok(1));
        assert_eq!(
            publish(&mut system, at(10), None, "idem:aa.02"),
            Err(Refusal::IdempotencyMismatch)
        );
        assert_eq!((system.seq.0, system.schedule.in_force(at(19))), (2, 1));
    }

    #[test]
    fn a_book_holds_from_now_on_at_the_earliest() {
        let mut system = Account::nobody(AccountId::SYSTEM);
        let late = Refusal::InThePast {
            field: "valid_from".into(),
        };
        assert_eq!(publish(&mut system, at(100), Some(at(39)), "a"), Err(late));
        assert_eq!(publish(&mut system, at(100), Some(at(40)), "b"), Ok(1));
        assert_eq!(system.schedule.last().unwrap().valid_from, at(100));
    }

    #[test]
    fn so_many_books_may_be_to_come_and_those_whose_place_is_taken_do_not_count() {
        let mut system = Account::nobody(AccountId::SYSTEM);
        for n in 0..10 {
            assert!(publish(&mut system, at(0), Some(at(100 + n)), &format!("c{n}")).is_ok());
        }
        let full = Refusal::TooManyBooks { limit: 10 };
        assert_eq!(publish(&mut system, at(0), Some(at(200)), "d"), Err(full));
        // It takes the place of five.
        assert_eq!(publish(&mut system, at(0), Some(at(105)), "e"), Ok(11));
        assert_eq!(publish(&mut system, at(0), Some(at(200)), "f"), Ok(12));
        assert!(publish(&mut system, at(0), None, "g").is_ok());
        assert_eq!(system.schedule.to_come(at(0)), 0);
    }

    #[test]
    fn what_is_true_for_all_has_a_history_of_its_own() {
        let mut customer = Account::nobody(AccountId::from_parts(1, 1));
        let book = PricesPublished {
            version: 1,
            valid_from: at(0),
            prices: vec![],
        };
        let recorded = Recorded {
            id: EventId::from_parts(1, 1),
            shard: Shard(0),
            position: customer.position.next(),
            account: customer.id,
            seq: customer.seq.next(),
            time: at(0),
            actor: Actor::System,
            command: CommandId::parse("x").unwrap(),
            sealed: None,
            event: book.into(),
        };
        assert!(customer.evolve(&recorded).is_err());
    }
}
