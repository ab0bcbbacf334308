//! The law of the house, over a hundred thousand commands: what the views say, what the log adds up to, and what the ledger
//! believes are the same, to the millionth of a credit; also while views are rebuilt, and whatever time did in between.

mod chance;

use std::collections::HashMap;

use futures_util::future::join_all;
use keyledger::clock;
use keyledger::ledger::{Account, Ledger, OpenAccount, Payer, Price, ReserveCredits, Usage};
use keyledger::log::Log;
use keyledger::projector::{View, check_views, rebuild};
use keyledger::replay::{MarkKeeper, Marks, replayed};
use keyledger_events::{
    AccountId, AccountName, Credits, Endpoint, Event, KeyDigest, KeyId, PlanId, Position, Recorded, ReservationId, Seq,
};

use super::{level, project};
use crate::exports::sealed::Sealed;
use crate::harness::{Harness, until};
use crate::ledger::customer::{by_system, create_key, credits};
use chance::Dice;

const COMMANDS: usize = 100_000;
const ACCOUNTS: usize = 60;
/// Sent at once: the writer puts them into a few appends.
const TOGETHER: usize = 2_500;

/// What is added up from the events alone, without any rule.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sums {
    granted: i64,
    charged: i64,
    refunded: i64,
    expired: i64,
    corrected: i64,
    held: i64,
}

/// What the log says so far of one account.
struct Person {
    state: Account,
    sums: Sums,
    keys: Vec<(KeyId, KeyDigest)>,
    open: Vec<ReservationId>,
    charged: Vec<(ReservationId, Position)>,
    plans: Vec<PlanId>,
}

struct World {
    ledger: Ledger,
    log: Log,
    dice: Dice,
    people: HashMap<AccountId, Person>,
    order: Vec<AccountId>,
    read: Position,
    kinds: HashMap<&'static str, usize>,
}

impl World {
    async fn open(harness: &Harness) -> World {
        let (ledger, log) = (harness.ledger(), harness.log());
        let mut order = Vec::new();
        for n in 0..ACCOUNTS {
            let account = clock::fresh_account_id();
            let open = OpenAccount {
                account,
                name: AccountName::parse("Acme").unwrap(),
                external_ref: None,
                credit_limit: if n % 5 == 0 { credits("5") } else { Credits::ZERO },
            };
            ledger.submit(open, by_system()).await.unwrap();
            create_key(&ledger, account).await;
            create_key(&ledger, account).await;
            order.push(account);
        }
        let mut world = World {
            ledger,
            log,
            dice: Dice::new(),
            people: HashMap::new(),
            order,
            read: Position::START,
            kinds: HashMap::new(),
        };
        world.read_on().await;
        world
    }

    /// Folds what is new in the log: by the ledger's own state, and by adding up.
    async fn read_on(&mut self) {
        loop {
            let page = self.log.read(self.read, 10_000).await.unwrap();
            let Some(last) = page.last() else { return };
            self.read = last.position;
            for stored in page {
                let recorded = stored.decode().unwrap();
                let person = self.people.entry(recorded.account).or_insert_with(|| Person {
                    state: Account::nobody(recorded.account),
                    sums: Sums::default(),
                    keys: Vec::new(),
                    open: Vec::new(),
                    charged: Vec::new(),
                    plans: Vec::new(),
                });
                person.state.evolve(&recorded).unwrap();
                *self.kinds.entry(recorded.event.short_name()).or_default() += 1;
                person.note(&recorded);
            }
        }
    }
}

impl Person {
    fn note(&mut self, recorded: &Recorded) {
        let sums = &mut self.sums;
        if let Event::CreditsGranted(e) = &recorded.event {
            sums.granted += e.amount.micros();
        } else if let Event::CreditsExpired(e) = &recorded.event {
            sums.expired += e.amount.micros();
        } else if let Event::CreditsReserved(e) = &recorded.event {
            sums.held += e.amount.micros();
            self.open.push(e.reservation);
        } else if let Event::CreditsCharged(e) = &recorded.event {
            sums.held -= e.charged.micros() + e.returned.micros();
            sums.charged += e.charged.micros();
            self.open.retain(|id| *id != e.reservation);
            if !e.charged.is_zero() {
                self.charged.push((e.reservation, recorded.position));
            }
        } else if let Event::CreditsReleased(e) = &recorded.event {
            sums.held -= e.returned.micros();
            self.open.retain(|id| *id != e.reservation);
        } else if let Event::CreditsRefunded(e) = &recorded.event {
            sums.refunded += e.amount.micros();
        } else if let Event::CreditsCorrected(e) = &recorded.event {
            sums.corrected += e.amount.micros();
        } else if let Event::KeyCreated(e) = &recorded.event {
            self.keys.push((e.key, e.digest));
        } else if let Event::KeyDeleted(e) = &recorded.event {
            self.keys.retain(|(key, _)| *key != e.key);
        } else if let Event::PlanStarted(e) = &recorded.event {
            self.plans.push(e.plan);
        } else if let Event::PlanEnded(e) = &recorded.event {
            self.plans.retain(|plan| *plan != e.plan);
        }
    }
}

impl World {
    async fn commands(&mut self, many: usize) -> usize {
        let mut done = 0;
        for _ in 0..many / TOGETHER {
            let mut together = Vec::with_capacity(TOGETHER);
            for _ in 0..TOGETHER {
                together.push(self.any());
            }
            done += join_all(together).await.into_iter().filter(|done| *done).count();
            self.read_on().await;
        }
        done
    }

    /// What the ledger says it has available, after everything that is due: by a hold that costs nothing.
    async fn believed(&self, account: AccountId) -> Credits {
        let nothing = ReserveCredits {
            payer: Payer::Account(account),
            reservation: clock::fresh_reservation_id(),
            // No grant is for this one alone.
            endpoint: Endpoint::parse("nothing").unwrap(),
            quantity: 1,
            price: Price {
                unit: Credits::ZERO,
                version: 0,
            },
            ttl_seconds: 900,
            usage: Usage::default(),
            once: None,
        };
        self.ledger.submit(nothing, by_system()).await.unwrap().reply.available
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_commands_add_up_to_the_micro_credit_with_views_rebuilt_among_them() {
    let harness = Harness::start().await;
    project(&harness, None);
    let mut world = World::open(&harness).await;
    let mut done = world.commands(COMMANDS / 2).await;
    let url = harness.owner_url().to_owned();
    let rebuilding = tokio::spawn(async move {
        for view in View::ALL {
            rebuild(&url, view, |_, _| {}).await.unwrap();
        }
    });
    done += world.commands(COMMANDS / 2).await;
    rebuilding.await.unwrap();
    // Nothing of it was all refusals, or all of one kind.
    assert!(done > COMMANDS / 2, "{done} were done");
    let believed: Vec<Credits> = join_all(world.order.iter().map(|account| world.believed(*account))).await;
    world.read_on().await;
    for kind in [
        "CreditsExpired",
        "CreditsReleased",
        "CreditsRefunded",
        "CreditsCorrected",
        "GrantStarted",
        "PlanStarted",
        "PlanEnded",
        "KeyRotated",
        "KeyDeleted",
        "KeyUseDenied",
        "KeySpendingLimited",
        "ThresholdReached",
    ] {
        assert!(
            world.kinds.get(kind).is_some_and(|many| *many > 20),
            "{kind}: {:?}",
            world.kinds
        );
    }
    level(&harness).await;
    let views = harness.views();
    for (account, believed) in world.order.iter().zip(believed) {
        let Person { state, sums, open, .. } = &world.people[account];
        let seen = views.balance(*account).await.unwrap().value.unwrap();
        let of_view = Sums {
            granted: seen.granted.micros(),
            charged: seen.charged.micros(),
            refunded: seen.refunded.micros(),
            expired: seen.expired.micros(),
            corrected: seen.corrected.micros(),
            held: seen.reserved.micros(),
        };
        assert_eq!(of_view, *sums, "{account}: the view and the log");
        let of_ledger = Sums {
            granted: state.totals.granted.micros(),
            charged: state.totals.charged.micros(),
            refunded: state.totals.refunded.micros(),
            expired: state.totals.expired.micros(),
            corrected: state.totals.corrected.micros(),
            held: state.totals.reserved.micros(),
        };
        assert_eq!(of_ledger, *sums, "{account}: the ledger and the log");
        assert_eq!(state.open.len(), open.len(), "{account}: open holds");
        assert_eq!(believed, state.available(), "{account}: what the writer has in memory");
        assert_eq!(seen.available, believed, "{account}: what the customer sees");
        let rest = sums.granted - sums.charged + sums.refunded - sums.expired - sums.corrected - sums.held;
        let aside = seen.bound.micros() + seen.later.micros();
        assert_eq!(
            seen.available.micros() + aside,
            rest,
            "{account}: nothing is lost, nothing is doubled"
        );
    }
    // Row by row, of every view.
    for (view, outcome) in check_views(harness.owner_url(), &View::ALL, |_, _| {}).await.unwrap() {
        let checked = outcome.unwrap();
        assert_eq!((checked.rows_different, checked.first), (0, None), "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_what_chance_did_is_good_to_two_verifiers_and_comes_to_what_the_ledger_has() {
    let harness = Harness::start().await;
    let sealed = Sealed::start(&harness).await;
    let mut world = World::open(&harness).await;
    world.commands(4 * TOGETHER).await;
    // What was due since is in the log then.
    for account in world.order.clone() {
        world.believed(account).await;
    }
    world.read_on().await;
    sealed.level().await;
    let told = sealed.good(&["--shard", "0"], "shard").await;
    let sum = |of: fn(&Account) -> i64| -> String {
        let sum: i64 = world.people.values().map(|person| of(&person.state)).sum();
        Credits::from_micros(sum).unwrap().to_string()
    };
    let of_ledger = [
        ("granted", sum(|account| account.totals.granted.micros())),
        ("charged", sum(|account| account.totals.charged.micros())),
        ("refunded", sum(|account| account.totals.refunded.micros())),
        ("expired", sum(|account| account.totals.expired.micros())),
        ("corrected", sum(|account| account.totals.corrected.micros())),
        ("reserved", sum(|account| account.totals.reserved.micros())),
        ("available", sum(|account| account.available().micros())),
    ];
    for (name, amount) in of_ledger {
        assert_eq!(told["balance"][name], amount, "{name}");
    }
    for account in &world.order[..3] {
        let told = sealed
            .good(&["--account", &account.to_string()], &account.to_string())
            .await;
        let available = world.people[account].state.available().to_string();
        assert_eq!(told["balance"]["available"], available, "{account}");
    }
}

/// Marks are a shortcut: with and without them, at any place, it is the same account, and now it is what the views show.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_the_same_from_its_marks_and_from_its_beginning() {
    let harness = Harness::start().await;
    project(&harness, None);
    let (ledger, log) = (harness.ledger(), harness.log());
    let customer = crate::ledger::customer::Customer::open(&ledger, "10000").await;
    for _ in 0..4 {
        let requests = (0..300).map(async |_| {
            let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
            customer.charge(&ledger, held).await.unwrap();
        });
        join_all(requests).await;
    }
    let account = customer.account;
    let last = log
        .seq_at_position(account, log.head().await.unwrap().position)
        .await
        .unwrap()
        .unwrap();
    assert!(last.0 > 3_600);
    for seq in [1, 2, 3, 999, 1_000, 1_001, 2_500, 3_003, last.0].map(Seq) {
        let whole = replayed(&log, account, seq, Marks::Ignored).await.unwrap().unwrap();
        for _ in 0..2 {
            let shortcut = replayed(&log, account, seq, Marks::Left).await.unwrap().unwrap();
            assert_eq!(shortcut, whole, "{seq}");
        }
        assert_eq!(whole.seq, seq);
    }
    let mark = log.replay_mark(account, last).await.unwrap().unwrap();
    assert!(mark.seq.0 >= 3_000, "{}", mark.seq);
    // One that cannot be read, or says it is elsewhere, is passed over.
    let mut owner = harness.owner().await;
    for spoilt in ["state = 'x'", "seq = seq - 1"] {
        let spoil = format!("update replay_marks set {spoilt} where seq >= 3000");
        sqlx::query(sqlx::AssertSqlSafe(spoil))
            .execute(&mut owner)
            .await
            .unwrap();
        let whole = replayed(&log, account, last, Marks::Ignored).await.unwrap();
        assert_eq!(
            replayed(&log, account, last, Marks::Left).await.unwrap(),
            whole,
            "{spoilt}"
        );
    }
    level(&harness).await;
    let seen = harness.views().balance(account).await.unwrap().value.unwrap();
    let state = replayed(&log, account, last, Marks::Left).await.unwrap().unwrap();
    let then = state.balance().unwrap();
    assert_eq!(
        (then.available, then.charged, then.granted, then.reserved),
        (seen.available, seen.charged, seen.granted, seen.reserved)
    );
    let key = harness.views().key(account, customer.key).await.unwrap().value.unwrap();
    let of_then = state.key(customer.key).unwrap();
    assert_eq!(
        (of_then.uses, of_then.last_used_at),
        (i64::try_from(key.uses).unwrap(), key.last_used_at)
    );
}

/// Of every account that chance made, at some of its events.
#[tokio::test(flavor = "multi_thread")]
async fn what_chance_did_is_replayed_to_what_the_ledger_has() {
    let harness = Harness::start().await;
    let mut world = World::open(&harness).await;
    world.commands(2 * TOGETHER).await;
    for (account, person) in &world.people {
        let state = replayed(&world.log, *account, person.state.seq, Marks::Left)
            .await
            .unwrap()
            .unwrap();
        let balance = state.balance().unwrap();
        assert_eq!(balance.available, person.state.available(), "{account}");
        assert_eq!(balance.reserved, person.state.totals.reserved, "{account}");
        let alive = state.keys().filter(|key| key.deleted.is_none()).count();
        assert_eq!(alive, person.keys.len(), "{account}");
        let written = serde_json::to_vec(&state).unwrap();
        assert_eq!(
            serde_json::from_slice::<keyledger::replay::AccountState>(&written).unwrap(),
            state
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_replayed_keeps_no_other_from_its_marks() {
    let harness = Harness::start().await;
    let (ledger, log) = (harness.ledger(), harness.log());
    let (broken, sound) = (
        crate::ledger::customer::Customer::open(&ledger, "10000").await,
        crate::ledger::customer::Customer::open(&ledger, "10000").await,
    );
    for (customer, many) in [(&broken, 10), (&sound, 4)] {
        for _ in 0..many {
            let requests = (0..400).map(async |_| {
                let held = customer.reserve_fresh(&ledger).await.unwrap().reply.reservation;
                customer.charge(&ledger, held).await.unwrap();
            });
            join_all(requests).await;
        }
    }
    let grown = async || log.grown_since_mark(2_000, 50, &[]).await.unwrap();
    until("the writer has left snapshots of both", async || {
        grown().await.len() == 2
    })
    .await;
    assert_eq!(
        grown().await[0].account,
        broken.account,
        "who has grown most comes first"
    );
    let mut owner = harness.owner().await;
    sqlx::query("set session_replication_role = replica")
        .execute(&mut owner)
        .await
        .unwrap();
    sqlx::query(
        "update events set body = replace(convert_from(body, 'UTF8'), '\"data\":', '\"date\":')::bytea
         where account_id = $1 and seq = 2",
    )
    .bind(uuid::Uuid::from_bytes(broken.account.to_bytes()))
    .execute(&mut owner)
    .await
    .unwrap();
    let mut keeper = MarkKeeper::default();
    keeper.look(&log).await.unwrap();
    let left: Vec<_> = grown().await.into_iter().map(|grown| grown.account).collect();
    assert_eq!(left, [broken.account], "only the broken one has no mark");
    // It is not in the way of others then.
    let others = log.grown_since_mark(2_000, 50, &[broken.account]).await.unwrap();
    assert_eq!(others, []);
}
