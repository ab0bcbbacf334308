//! Events in plain words: one sentence each, that says who did it where that is somebody.

use keyledger_events::{
    Channel, Credits, CreditsRefunded, Endpoint, Environment, Event, PaidWork, Recorded, Scopes, Timestamp,
};

use super::access;
use super::names::Names;
use super::sentence::{MINUS, PLUS, Sentence, Told, amount, change, was};
use super::why::{source, why_deleted, why_denied, why_free};
use crate::pages::moment::{Moment, thousands};
use crate::pages::name::Shown;

/// Tells an event. What it names by an id is called as it is called now.
pub(super) fn tell(recorded: &Recorded, names: &Names, now: Timestamp) -> Told {
    let who = || Sentence::new().name(names.actor(recorded.actor));
    match &recorded.event {
        Event::AccountOpened(e) => {
            let name = Shown::new(e.name.as_str());
            who().say(" opened the account ").name(name).by_somebody()
        }
        Event::AccountRenamed(e) => {
            let name = Shown::new(e.name.as_str());
            who().say(" gave the account the name ").name(name).by_somebody()
        }
        Event::AccountClosed(e) => {
            let reason = Shown::new(e.reason.as_str());
            who().say(" closed the account: ").name(reason).by_somebody()
        }
        Event::ExternalRefChanged(e) => match &e.external_ref {
            Some(reference) => who()
                .say(" calls the account ")
                .name(Shown::new(reference))
                .say(" in its own books")
                .by_somebody(),
            None => who()
                .say(" has no name of its own for the account any more")
                .by_somebody(),
        },
        Event::CreditLimitChanged(e) => who()
            .say(format!(" set the credit limit to {}", amount(e.credit_limit)))
            .by_somebody(),
        Event::KeyCreated(e) => {
            let told = match e.environment {
                Environment::Live => who().say(" made the key "),
                Environment::Test => who().say(" made the test key "),
            };
            let told = told.name(Shown::new(e.name.as_str()));
            match e.expires_at {
                Some(end) => told.say(format!(", good until {}", Moment::new(end, now).exact)),
                None => told,
            }
            .by_somebody()
        }
        Event::KeyRenamed(e) => {
            let name = Shown::new(e.name.as_str());
            who().say(" gave a key the name ").name(name).by_somebody()
        }
        Event::KeyDeleted(e) => {
            let told = who().say(" deleted the key ").name(names.key(e.key));
            told.say(why_deleted(e.reason)).by_somebody()
        }
        Event::KeyRotated(e) => {
            let told = who().say(" gave the key ").name(names.key(e.key)).say(" a successor");
            let told = if e.stops_at <= recorded.time {
                told.say(", and it stopped at once")
            } else {
                told.say(format!(", and it stops at {}", Moment::new(e.stops_at, now).exact))
            };
            told.by_somebody()
        }
        Event::KeySpendingLimited(e) => match e.limit {
            Some(limit) => who().say(" lets the key ").name(names.key(e.key)).say(format!(
                " spend {} a {} at most",
                amount(limit.amount),
                limit.per.as_str()
            )),
            None => who()
                .say(" lets the key ")
                .name(names.key(e.key))
                .say(" spend all there is"),
        }
        .by_somebody(),
        Event::PricesPublished(e) => who()
            .say(format!(
                " published prices that hold from {}",
                Moment::new(e.valid_from, now).exact
            ))
            .by_somebody(),
        Event::PersonalDataErased(_) => access::erased(who()),
        Event::TokenCreated(e) => access::token_created(e, who()),
        Event::TokenRevoked(e) => access::token_revoked(e, who()),
        Event::PortalSessionInvited(e) => access::invited(e, who()),
        Event::OperatorSessionInvited(e) => access::operator_invited(e, who()),
        Event::KeyUseDenied(e) => {
            let (times, were) = if e.count == 1 {
                ("A request", "was")
            } else {
                ("Requests", "were")
            };
            let told = Sentence::new()
                .say(format!("{times} with the key "))
                .name(names.key(e.key));
            let told = told.say(format!(" {were} refused {}: {}", often(e.count), why_denied(e.reason)));
            told.by_somebody()
        }
        Event::KeyUsed(e) => {
            let key = Sentence::new().name(names.key(e.key));
            key.say(format!(" asked for {}", e.endpoint)).by_somebody()
        }
        Event::CreditsGranted(e) => {
            let told = Sentence::new().say(format!(
                "{} {} granted as {}",
                amount(e.amount),
                was(e.amount),
                source(e.source)
            ));
            let told = match &e.reference {
                Some(reference) => told.say(": ").name(Shown::new(reference)),
                None => told,
            };
            let told = match &e.reason {
                Some(reason) => told.say(": ").name(Shown::new(reason.as_str())),
                None => told,
            };
            let told = match e.expires_at {
                Some(end) => told.say(format!(", good until {}", Moment::new(end, now).day)),
                None => told,
            };
            let told = match &e.endpoints {
                Some(endpoints) => told.say(format!(", for {} only", and(endpoints))),
                None => told,
            };
            let told = match e.rolled_over {
                Some(part) => told.say(format!(", {} of it left of the period before", part.amount)),
                None => told,
            };
            let before = e.rolled_over.map_or(Credits::ZERO, |part| part.amount);
            let new = e.amount.minus(before).unwrap_or(e.amount);
            let now_there = if e.starts_at.is_none() { new } else { Credits::ZERO };
            match e.starts_at {
                Some(start) => Told {
                    credits: change(PLUS, now_there),
                    ..told
                        .say(format!(", for use from {}", Moment::new(start, now).day))
                        .by_nobody()
                },
                None => Told {
                    credits: change(PLUS, now_there),
                    ..told.by_nobody()
                },
            }
        }
        Event::PlanStarted(e) => who()
            .say(format!(
                " started a plan: {} every {}",
                amount(e.amount),
                e.period.as_str()
            ))
            .by_somebody(),
        Event::PlanEnded(_) => who().say(" ended a plan").by_somebody(),
        Event::ThresholdsSet(e) if e.thresholds.is_empty() => {
            who().say(" watches for no balance any more").by_somebody()
        }
        Event::ThresholdsSet(e) => {
            let amounts: Vec<String> = e.thresholds.iter().map(Credits::to_string).collect();
            who()
                .say(format!(" watches for a balance of {}", amounts.join(" or ")))
                .by_somebody()
        }
        Event::ThresholdReached(e) => Sentence::new()
            .say(format!("The balance has come down to {}", amount(e.threshold)))
            .by_nobody(),
        Event::GrantStarted(e) => {
            let told = Sentence::new().say(format!("{} can be used from now on", amount(e.amount)));
            Told {
                credits: change(PLUS, e.amount),
                ..told.by_nobody()
            }
        }
        Event::CreditsExpired(e) => {
            let repaid = format!("{} paid what was owed", amount(e.repays));
            let told = match (e.amount.is_zero(), e.repays.is_zero()) {
                (_, true) => format!("{} expired unused", amount(e.amount)),
                (true, false) => format!("{repaid} when their time was over"),
                (false, false) => format!("{} expired unused, and {repaid}", amount(e.amount)),
            };
            Told {
                credits: change(MINUS, e.amount),
                ..Sentence::new().say(told).by_nobody()
            }
        }
        Event::CreditsReserved(e) => {
            let told = Sentence::new().say(format!("{} {} held for ", amount(e.amount), was(e.amount)));
            of_request(told, "a request", &e.work, names)
        }
        Event::CreditsCharged(e) => {
            let what = format!("{}{}", amount(e.charged), units(e.quantity));
            let told = match (e.work.key, e.work.channel) {
                (Some(key), _) => Sentence::new()
                    .say(format!("A request to {} was charged {what} to ", e.work.endpoint))
                    .name(names.key(key)),
                (None, Channel::Dashboard) => Sentence::new()
                    .say(format!("Use of {} in ", e.work.endpoint))
                    .name(names.platform())
                    .say(format!(" was charged {what}")),
                (None, Channel::Api) => {
                    Sentence::new().say(format!("A request to {} was charged {what}", e.work.endpoint))
                }
            };
            let left = e
                .client_left
                .map_or("", |_| ", as its clients keep leaving just before the end");
            Told {
                credits: change(MINUS, e.charged),
                ..told.say(left).by_somebody()
            }
        }
        Event::CreditsRefunded(e) => refunded(e, names),
        Event::CreditsCorrected(e) => {
            let told = Sentence::new().say(format!(
                "{} {} taken away as a correction: ",
                amount(e.amount),
                was(e.amount)
            ));
            Told {
                credits: change(MINUS, e.amount),
                ..told.name(Shown::new(e.reason.as_str())).by_nobody()
            }
        }
        Event::CreditsReleased(e) => {
            let told = of_request(Sentence::new(), "A request", &e.work, names);
            let words = Sentence(told.words).say(format!(" cost nothing: {}", why_free(e.cause, e.client_left)));
            Told {
                credits: change(MINUS, Credits::ZERO),
                ..words.by_somebody()
            }
        }
    }
}

fn refunded(e: &CreditsRefunded, names: &Names) -> Told {
    let told = Sentence::new().say(format!("{} {} refunded for ", amount(e.amount), was(e.amount)));
    let told = of_request(told, "a request", &e.work, names);
    let words = Sentence(told.words).say(": ").name(Shown::new(e.reason.as_str()));
    Told {
        credits: change(PLUS, e.amount),
        ..words.by_nobody()
    }
}

/// `a request to serp by Looker Studio`.
fn of_request(told: Sentence, request: &str, work: &PaidWork, names: &Names) -> Told {
    let told = told.say(format!("{request} to {}", work.endpoint));
    match (work.key, work.channel) {
        (Some(key), _) => told.say(" by ").name(names.key(key)),
        (None, Channel::Dashboard) => told.say(" in ").name(names.platform()),
        (None, Channel::Api) => told,
    }
    .by_somebody()
}

/// `serp`, `echo and serp`, `ai_visibility, echo and serp`.
fn and(endpoints: &Scopes) -> String {
    let names: Vec<&str> = endpoints.endpoints().iter().map(Endpoint::as_str).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => String::new(),
    }
}

fn units(quantity: u64) -> String {
    if quantity == 1 {
        String::new()
    } else {
        format!(" for {} units", thousands(quantity))
    }
}

fn often(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{} times", thousands(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sentence::Word;
    use super::*;
    use keyledger_events::{
        AccountId, Actor, ClientLeft, CommandId, CreditsCharged, CreditsExpired, CreditsGranted, CreditsReleased,
        DeleteReason, EventId, GrantId, GrantSource, KeyDeleted, KeyId, KeyRenamed, PortalSessionId, Position,
        ReleaseCause, ReservationId, Seq, Shard, TokenId,
    };

    const NOW: Timestamp = Timestamp::EPOCH;

    fn key() -> KeyId {
        KeyId::from_parts(1, 1)
    }

    fn ada() -> Actor {
        Actor::Portal(PortalSessionId::from_parts(1, 1))
    }

    fn told(actor: Actor, event: impl Into<Event>) -> (String, Option<String>) {
        let recorded = Recorded {
            id: EventId::from_parts(1, 1),
            shard: Shard(0),
            position: Position(1),
            account: AccountId::from_parts(1, 1),
            seq: Seq(1),
            time: NOW,
            actor,
            command: CommandId::parse("c").unwrap(),
            sealed: None,
            event: event.into(),
        };
        let names = Names::some((key(), "Looker Studio"), (PortalSessionId::from_parts(1, 1), "Ada"));
        let told = tell(&recorded, &names, NOW);
        let words = told.words.iter().map(|word| match word {
            Word::Ours(text) => text.clone(),
            Word::Name(name) => format!("[{name}]"),
        });
        (words.collect(), told.credits)
    }

    fn credits(text: &str) -> Credits {
        text.parse().unwrap()
    }

    fn work(key: Option<KeyId>, channel: Channel) -> PaidWork {
        PaidWork {
            key,
            channel,
            endpoint: keyledger_events::Endpoint::parse("serp").unwrap(),
            unit_price: credits("0.5"),
            price_version: 0,
            environment: Environment::Live,
        }
    }

    fn charged(work: PaidWork, quantity: u64, charged: &str) -> CreditsCharged {
        CreditsCharged {
            reservation: ReservationId::from_parts(1, 1),
            work,
            quantity,
            charged: credits(charged),
            returned: Credits::ZERO,
            spent: Vec::new(),
            returned_to: Vec::new(),
            charged_on_limit: Credits::ZERO,
            returned_to_limit: Credits::ZERO,
            reserved_at: NOW,
            client_left: None,
        }
    }

    #[test]
    fn what_somebody_did_with_a_key_names_both() {
        let name = keyledger_events::KeyName::parse("Finance").unwrap();
        let renamed = KeyRenamed { key: key(), name };
        assert_eq!(told(ada(), renamed).0, "[Ada] gave a key the name [Finance]");
        let deleted = |reason| KeyDeleted { key: key(), reason };
        assert_eq!(
            told(ada(), deleted(DeleteReason::Requested)).0,
            "[Ada] deleted the key [Looker Studio]"
        );
        let token = Actor::Token(TokenId::from_parts(1, 1));
        assert_eq!(
            told(token, deleted(DeleteReason::Compromised)).0,
            "[Acme Data] deleted the key [Looker Studio], because it was compromised"
        );
    }

    #[test]
    fn a_charge_says_for_what_and_how_much() {
        let by_key = charged(work(Some(key()), Channel::Api), 1, "0.5");
        assert_eq!(
            told(Actor::Key(key()), by_key),
            (
                "A request to serp was charged 0.5 credits to [Looker Studio]".to_owned(),
                Some("−0.5".to_owned())
            )
        );
        let many = charged(work(None, Channel::Dashboard), 1_200, "1");
        assert_eq!(
            told(Actor::System, many).0,
            "Use of serp in [Acme Data] was charged 1 credit for 1,200 units"
        );
    }

    #[test]
    fn a_request_that_cost_nothing_says_why() {
        let released = |cause, client_left| CreditsReleased {
            reservation: ReservationId::from_parts(1, 1),
            work: work(Some(key()), Channel::Api),
            returned: credits("0.5"),
            returned_to: Vec::new(),
            returned_to_limit: Credits::ZERO,
            cause,
            reserved_at: NOW,
            client_left,
        };
        for (cause, client_left, why) in [
            (ReleaseCause::Queued, None, "the data was not ready yet"),
            (
                ReleaseCause::ClientGone,
                None,
                "the client left before all of it was there",
            ),
            (
                ReleaseCause::ClientGone,
                Some(ClientLeft::Early),
                "the client left before all of it was there",
            ),
            (
                ReleaseCause::ClientGone,
                Some(ClientLeft::NearEnd),
                "the client left just before the end",
            ),
        ] {
            assert_eq!(
                told(Actor::Key(key()), released(cause, client_left)),
                (
                    format!("A request to serp by [Looker Studio] cost nothing: {why}"),
                    Some("0".to_owned())
                )
            );
        }
    }

    #[test]
    fn a_charge_from_the_first_byte_says_why() {
        let left = CreditsCharged {
            client_left: Some(ClientLeft::Early),
            ..charged(work(Some(key()), Channel::Api), 1, "0.5")
        };
        assert_eq!(
            told(Actor::System, left).0,
            "A request to serp was charged 0.5 credits to [Looker Studio], as its clients keep leaving just before the end"
        );
    }

    #[test]
    fn credits_come_and_go() {
        let granted = CreditsGranted {
            grant: GrantId::from_parts(1, 1),
            amount: credits("1"),
            priority: 0,
            expires_at: None,
            source: GrantSource::Promotion,
            reference: Some("<b>\u{202E}welcome".to_owned()),
            period: None,
            rolled_over: None,
            reason: None,
            starts_at: None,
            endpoints: None,
            repays: Credits::ZERO,
        };
        assert_eq!(
            told(Actor::System, granted),
            (
                "1 credit was granted as a gift: [<b>[U+202E]welcome]".to_owned(),
                Some("+1".to_owned())
            )
        );
        let expired = CreditsExpired {
            grant: GrantId::from_parts(1, 1),
            amount: credits("2.5"),
            repays: Credits::ZERO,
        };
        assert_eq!(told(Actor::System, expired).0, "2.5 credits expired unused");
    }
}
