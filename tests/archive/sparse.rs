//! A key's events are all found, though the index by key has few of them: whoever wrote them with whatever memory, from
//! wherever one looks, and however much is archived.

use std::collections::HashMap;

use keyledger::clock;
use keyledger::log::{Batch, HistorySearch, KeysOfBlock, Log, Moved};
use keyledger_events::{
    AccountId, AccountRenamed, Actor, CommandId, Event, EventId, KeyId, Position, Recorded, Seq, Shard,
};

use super::{as_if_folded, everything_until_now, moving};
use crate::harness::Harness;
use crate::projector::appended::uses;

const EVENTS: u64 = 1_200;
const USES: &[&str] = &["keyledger.KeyUsed.v1"];

/// What stands in the log: whose it is, and which key's.
struct Written {
    account: AccountId,
    key: Option<KeyId>,
}

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn account(number: u64) -> AccountId {
    AccountId::from_parts(1, number.into())
}

/// One account has a key that is used much, two that are used seldom, and events of no key; another one has a key alone.
fn events(dice: &mut Dice) -> Vec<Written> {
    let any = |dice: &mut Dice| match dice.roll(100) {
        0..70 => (1, Some(1)),
        70..73 => (1, Some(2)),
        73 => (1, Some(3)),
        74..80 => (1, None),
        _ => (2, Some(4)),
    };
    let written = (0..EVENTS).map(|_| any(dice)).map(|(of, key)| Written {
        account: account(of),
        key: key.map(|key| KeyId::from_parts(1, key)),
    });
    written.collect()
}

/// Appends them as several processes would: one that remembers what it wrote, one that begins anew now and then, and one of
/// before that knows nothing of what leads to a key. Tells how many lead.
async fn write(log: &Log, dice: &mut Dice, events: &[Written]) -> usize {
    let mut seqs: HashMap<AccountId, Seq> = HashMap::new();
    let mut blocks: HashMap<AccountId, KeysOfBlock> = HashMap::new();
    let mut batch = Batch::default();
    let mut leading = 0;
    for (position, written) in (1..).map(Position).zip(events) {
        let seq = seqs.entry(written.account).or_insert(Seq::START);
        *seq = seq.next();
        let renamed = || AccountRenamed {
            name: keyledger_events::AccountName::parse("Acme").unwrap(),
        };
        let event = written
            .key
            .map_or_else(|| Event::from(renamed()), |key| uses(key, 1).remove(0));
        let recorded = Recorded {
            id: EventId::from_parts(clock::now().ms(), clock::random_id_bits()),
            shard: Shard(0),
            position,
            account: written.account,
            seq: *seq,
            time: clock::now(),
            actor: Actor::System,
            command: CommandId::parse("test").unwrap(),
            sealed: None,
            event,
        };
        if dice.roll(50) == 0 {
            blocks.clear();
        }
        let knows = position.0 > 100;
        let leads = blocks.entry(written.account).or_default().leads(*seq, written.key) || !knows;
        leading += usize::from(leads && knows && written.key.is_some());
        batch.push(&recorded, leads);
    }
    log.append(&batch).await.unwrap();
    leading
}

fn positions(events: &[Written], of: impl Fn(&Written) -> bool) -> Vec<Position> {
    let places = (1..).map(Position).zip(events);
    places
        .filter(|(_, event)| of(event))
        .map(|(position, _)| position)
        .collect()
}

/// Asks for a key's events from many places in both directions, and compares with what was written.
async fn found_whole(log: &Log, events: &[Written]) {
    for (number, owner) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 1)] {
        let (key, owner) = (KeyId::from_parts(1, number), account(owner));
        let all = positions(events, |event| event.key == Some(key));
        let whose = (!all.is_empty()).then_some(owner);
        assert_eq!(log.account_of_key(key).await.unwrap(), whose);
        let stranger = log.key_events(account(3), key, Position::START, 10).await.unwrap();
        assert_eq!(stranger, []);
        for place in (0..=EVENTS + 1).step_by(157).map(Position) {
            for limit in [1, 40, 2_000] {
                let found = log.key_events(owner, key, place, limit).await.unwrap();
                let found: Vec<Position> = found.iter().map(|event| event.position).collect();
                let later = all.iter().filter(|position| **position > place);
                let expected: Vec<Position> = later.copied().take(limit.try_into().unwrap()).collect();
                assert_eq!(found, expected, "key {number}, {limit} after {place}");
            }
            for (types, limit) in [(Event::TYPES, 1), (USES, 40), (Event::TYPES, 2_000)] {
                let search = HistorySearch {
                    account: owner,
                    key: Some(key),
                    types,
                };
                let page = log.history(&search, Some(place), limit).await.unwrap();
                let found: Vec<Position> = page.events.iter().map(|event| event.position).collect();
                let earlier: Vec<Position> = all
                    .iter()
                    .rev()
                    .filter(|position| **position < place)
                    .copied()
                    .collect();
                let shown = earlier.len().min(limit.try_into().unwrap());
                assert_eq!(found, earlier[..shown], "key {number}, {limit} before {place}");
                let more = (shown < earlier.len()).then(|| *found.last().unwrap());
                assert_eq!(page.older_than, more, "key {number}, {limit} before {place}");
            }
            let last = Position(place.0 + 150);
            let inside = all.iter().filter(|position| (place..=last).contains(position));
            let (first, last_inside) = (inside.clone().min(), inside.max());
            assert_eq!(
                log.ends_of_key(owner, key, place, last).await.unwrap(),
                first.copied().zip(last_inside.copied()),
                "key {number} from {place}"
            );
        }
    }
}

#[tokio::test]
async fn a_keys_events_are_found_by_the_few_that_lead_to_them() {
    let harness = Harness::start().await;
    let log = harness.log();
    let mut dice = Dice(7);
    let events = events(&mut dice);
    let leading = write(&log, &mut dice, &events).await;
    assert!(leading < 250, "{leading} of {EVENTS} lead");
    found_whole(&log, &events).await;
    as_if_folded(&harness).await;
    let directory = tempfile::tempdir().unwrap();
    let mut moving = moving(&harness, directory.path(), 1).await;
    let mut segments = 0;
    while let Moved::Segment(_) = moving.step(&everything_until_now()).await.unwrap() {
        segments += 1;
        found_whole(&log, &events).await;
    }
    assert_eq!(segments, 4);
}
