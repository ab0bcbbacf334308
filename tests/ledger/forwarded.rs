//! Several processes, one of which decides for all: faster, and as safe as without.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use keyledger::bus::Bus;
use keyledger::clock;
use keyledger::forward::{self, ForwardOptions};
use keyledger::ledger::{KeyLimits, Ledger, LedgerOptions, Refusal, SubmitError};
use keyledger::log::{Log, open_pool, service_options};
use keyledger_events::{Event, ReservationId, Scopes, Shard};
use sqlx::Executor as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::customer::{Customer, by_system, credits, limited_key, reserve};
use super::writers::whole_log;
use crate::harness::{Harness, until};

/// A process as far as commands go.
struct Process {
    ledger: Ledger,
    forwarding: CancellationToken,
    writing: CancellationToken,
    forward: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Process {
    async fn start(harness: &Harness) -> Process {
        Process::on(harness, harness.bus().await)
    }

    fn on(harness: &Harness, bus: Bus) -> Process {
        let pool = open_pool(service_options(harness.owner_url()).unwrap(), 4);
        let log = Log::new(pool, Shard(0));
        let (forwarding, writing) = (CancellationToken::new(), CancellationToken::new());
        let (ledger, outbox, writer) =
            Ledger::start_among_others(log.clone(), LedgerOptions::default(), writing.clone());
        let options = ForwardOptions {
            log,
            bus,
            ledger: ledger.clone(),
            outbox,
        };
        let forward = forward::start(options, forwarding.clone());
        Process {
            ledger,
            forwarding,
            writing,
            forward,
            writer,
        }
    }

    /// In order, as the service stops.
    async fn stop(self) {
        self.forwarding.cancel();
        self.forward.await.unwrap();
        self.writing.cancel();
        drop(self.ledger);
        self.writer.await.unwrap();
    }
}

/// What travels to leaders: everybody on the bus sees it.
async fn overhear(harness: &Harness) -> Subscriber {
    let bus = harness.bus().await;
    let everything = format!("{}_lead.>", harness.name.to_lowercase());
    let heard = bus.client().subscribe(everything).await.unwrap();
    bus.client().flush().await.unwrap();
    heard
}

/// The messages that came so far.
async fn so_far(heard: &mut Subscriber) -> Vec<async_nats::Message> {
    let mut messages = Vec::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(50), heard.next()).await {
        messages.push(message);
    }
    messages
}

/// A leader, and a process that has begun to send it commands.
async fn leader_and_other(harness: &Harness, heard: &mut Subscriber) -> (Process, Process, Customer) {
    let leader = Process::start(harness).await;
    until("somebody leads", async || leads(harness).await).await;
    let other = Process::start(harness).await;
    let customer = Customer::open(&leader.ledger, "1000").await;
    until("the other sends its commands", async || {
        customer.reserve_fresh(&other.ledger).await.unwrap();
        !so_far(heard).await.is_empty()
    })
    .await;
    (leader, other, customer)
}

async fn leads(harness: &Harness) -> bool {
    let now: i64 = sqlx::query_scalar("select count(*) from log_leads where lasts_until > now()")
        .fetch_one(&harness.service_pool())
        .await
        .unwrap();
    now == 1
}

fn charged_in(events: &[keyledger_events::Recorded]) -> Vec<ReservationId> {
    let charge = |event: &Event| {
        if let Event::CreditsCharged(charged) = event {
            Some(charged.reservation)
        } else {
            None
        }
    };
    events.iter().filter_map(|recorded| charge(&recorded.event)).collect()
}

/// Reserves and charges so many times, and gives what was acknowledged. What is unknown is asked for again.
async fn spend(ledger: &Ledger, customer: &Customer, times: usize) -> Vec<ReservationId> {
    let mut charged = Vec::new();
    for _ in 0..times {
        let reservation = clock::fresh_reservation_id();
        loop {
            match ledger.submit(customer.reserve(reservation), by_system()).await {
                Ok(_) => break,
                Err(SubmitError::OutcomeUnknown | SubmitError::Unavailable | SubmitError::Busy) => {}
                Err(error) => panic!("{error}"),
            }
        }
        loop {
            match customer.charge(ledger, reservation).await {
                Ok(_) => break charged.push(reservation),
                Err(SubmitError::OutcomeUnknown | SubmitError::Unavailable | SubmitError::Busy) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    charged
}

/// Every acknowledged charge is in the log, once, and nothing else is.
async fn exactly(harness: &Harness, acknowledged: Vec<ReservationId>) {
    let charged = charged_in(&whole_log(&harness.log()).await);
    let once: HashSet<ReservationId> = charged.iter().copied().collect();
    assert_eq!(once.len(), charged.len(), "something was charged twice");
    assert_eq!(
        once,
        acknowledged.into_iter().collect(),
        "acknowledged and logged differ"
    );
}

#[tokio::test]
async fn a_command_sent_to_the_leader_is_answered_as_one_that_is_decided_here() {
    let harness = Harness::start().await;
    let mut heard = overhear(&harness).await;
    let (_leader, other, customer) = leader_and_other(&harness, &mut heard).await;
    let reservation = clock::fresh_reservation_id();
    let held = other
        .ledger
        .submit(customer.reserve(reservation), by_system())
        .await
        .unwrap();
    assert_eq!(
        (held.reply.reservation, held.reply.account),
        (reservation, customer.account)
    );
    assert!(!held.replayed);
    let again = other
        .ledger
        .submit(customer.reserve(reservation), by_system())
        .await
        .unwrap();
    assert!(again.replayed);
    assert_eq!(again.reply, held.reply);
    let charged = customer.charge(&other.ledger, reservation).await.unwrap();
    assert_eq!(charged.reply.charged, credits("0.5"));
    assert!(charged.position > held.position);
    let refused = customer.release(&other.ledger, reservation).await.unwrap_err();
    let SubmitError::Refused { refusal, position, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(
        refusal,
        Refusal::ReservationClosed {
            reservation,
            how: "charged".into()
        }
    );
    assert_eq!(position, charged.position);
    let renamed = customer.rename_key(customer.key, "Finance");
    let renamed = other.ledger.submit(renamed, by_system()).await.unwrap();
    assert_eq!(renamed.reply.key.name.as_str(), "Finance");
    let seen = *other.ledger.committed().borrow();
    assert!(
        seen >= renamed.position,
        "who passes events on here is told of them at once"
    );
    let messages = so_far(&mut heard).await;
    assert!(messages.len() >= 5, "all of them travelled, {}", messages.len());
}

#[tokio::test]
async fn load_from_three_processes_is_decided_by_one_and_nothing_is_lost_when_it_stops() {
    let harness = Arc::new(Harness::start().await);
    let mut heard = overhear(&harness).await;
    let (leader, second, customer) = leader_and_other(&harness, &mut heard).await;
    let third = Process::start(&harness).await;
    let customer = Arc::new(customer);
    let mut acknowledged = Vec::new();
    let load = |ledger: &Ledger, times: usize| -> Vec<JoinHandle<Vec<ReservationId>>> {
        let one = || {
            let (ledger, customer) = (ledger.clone(), Arc::clone(&customer));
            tokio::spawn(async move { spend(&ledger, &customer, times).await })
        };
        (0..8).map(|_| one()).collect()
    };
    let mut workers = load(&leader.ledger, 10);
    workers.extend(load(&second.ledger, 60));
    workers.extend(load(&third.ledger, 60));
    tokio::time::sleep(Duration::from_millis(100)).await;
    for worker in workers.drain(..8) {
        acknowledged.extend(worker.await.unwrap());
    }
    // In order, in the middle of the others' load.
    leader.stop().await;
    for worker in workers {
        acknowledged.extend(worker.await.unwrap());
    }
    until("somebody else leads", async || leads(&harness).await).await;
    exactly(&harness, acknowledged).await;
}

#[tokio::test]
async fn what_others_put_on_the_bus_is_no_command() {
    let harness = Harness::start().await;
    let mut heard = overhear(&harness).await;
    let (_leader, other, customer) = leader_and_other(&harness, &mut heard).await;
    let bus = harness.bus().await;
    let reservation = clock::fresh_reservation_id();
    other
        .ledger
        .submit(customer.reserve(reservation), by_system())
        .await
        .unwrap();
    customer.release(&other.ledger, reservation).await.unwrap();
    let messages = so_far(&mut heard).await;
    let before = whole_log(&harness.log()).await.len();
    for message in &messages {
        // Nobody answers it once more: its sender could take that for the answer to the first one.
        let repeated = bus.client().request(message.subject.clone(), message.payload.clone());
        assert!(
            tokio::time::timeout(Duration::from_millis(100), repeated)
                .await
                .is_err()
        );
        // Once more as it was, with a bit turned, with another seal, and cut.
        let mut turned = message.payload.to_vec();
        *turned.last_mut().unwrap() ^= 1;
        let mut resealed = message.payload.to_vec();
        resealed[0] ^= 1;
        for payload in [
            message.payload.to_vec(),
            turned,
            resealed,
            message.payload[..10].to_vec(),
            Vec::new(),
        ] {
            let asked = bus.client().request(message.subject.clone(), payload.into());
            let _ = tokio::time::timeout(Duration::from_millis(100), asked).await;
        }
    }
    assert_eq!(
        whole_log(&harness.log()).await.len(),
        before,
        "something was carried out again"
    );
    customer.reserve_fresh(&other.ledger).await.unwrap();
}

#[tokio::test]
async fn who_travels_with_a_slow_command_does_not_wait_for_it() {
    let harness = Harness::start().await;
    let mut heard = overhear(&harness).await;
    let elsewhere = harness.ledger();
    // The leader does not have this one in memory.
    let slow = Customer::open(&elsewhere, "10").await;
    let (_leader, other, customer) = leader_and_other(&harness, &mut heard).await;
    so_far(&mut heard).await;
    let mut owner = harness.owner().await;
    let lock = "begin; lock table account_snapshots in access exclusive mode";
    owner.execute(lock).await.unwrap();
    let reserve = |customer: &Customer| {
        let (ledger, command) = (other.ledger.clone(), customer.reserve(clock::fresh_reservation_id()));
        async move { ledger.submit(command, by_system()).await }
    };
    let waiting = tokio::spawn(reserve(&slow));
    let quick = (0..5).map(|_| reserve(&customer));
    let answered = tokio::time::timeout(Duration::from_secs(3), futures_util::future::join_all(quick)).await;
    for answer in answered.expect("they are answered while the other one is read") {
        answer.unwrap();
    }
    assert!(!waiting.is_finished());
    let messages = so_far(&mut heard).await;
    let together =
        |message: &async_nats::Message| message.payload.windows(9).filter(|nine| nine == b"\"reserve\"").count();
    assert_eq!(messages.iter().map(together).max(), Some(6), "they travelled together");
    owner.execute("rollback").await.unwrap();
    waiting.await.unwrap().unwrap();
}

/// It is asked for the rest before it goes, and answers.
#[tokio::test]
async fn a_leader_that_stops_answers_slow_commands_first() {
    let harness = Harness::start().await;
    let mut heard = overhear(&harness).await;
    let slow = Customer::open(&harness.ledger(), "10").await;
    let (leader, other, _) = leader_and_other(&harness, &mut heard).await;
    let mut owner = harness.owner().await;
    let lock = "begin; lock table account_snapshots in access exclusive mode";
    owner.execute(lock).await.unwrap();
    let (ledger, command) = (other.ledger.clone(), slow.reserve(clock::fresh_reservation_id()));
    let waiting = tokio::spawn(async move { ledger.submit(command, by_system()).await });
    // The first answer, that there is none yet, has come by then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stopping = tokio::spawn(leader.stop());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    owner.execute("rollback").await.unwrap();
    waiting.await.unwrap().unwrap();
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_deleted_key_is_heard_of_by_who_decides_nothing() {
    let harness = Harness::start().await;
    let mut heard = overhear(&harness).await;
    let (leader, other, customer) = leader_and_other(&harness, &mut heard).await;
    let work = other.ledger.key_signals().begin(customer.key);
    leader.ledger.submit(customer.delete_key(), by_system()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(1), work.key_deleted())
        .await
        .expect("work under way is cut within a second");
    let refused = customer.reserve_fresh(&other.ledger).await.unwrap_err();
    assert!(
        matches!(
            refused,
            SubmitError::Refused {
                refusal: Refusal::KeyDeleted,
                ..
            }
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn answers_that_are_as_long_as_they_can_be_all_arrive() {
    let harness = Harness::start().await;
    let mut heard = overhear(&harness).await;
    let (leader, other, customer) = leader_and_other(&harness, &mut heard).await;
    // Each of these refusals tells what the key is limited to.
    let names: Vec<String> = (0..Scopes::MAX).map(|n| format!("{}{n:02}", "e".repeat(62))).collect();
    let limits = KeyLimits {
        scopes: Some(names.try_into().unwrap()),
        ..KeyLimits::default()
    };
    let (_, digest) = limited_key(&leader.ledger, customer.account, limits).await;
    let asked: Vec<_> = (0..400)
        .map(|_| {
            let ledger = other.ledger.clone();
            let hold = reserve(digest, clock::fresh_reservation_id());
            tokio::spawn(async move { ledger.submit(hold, by_system()).await })
        })
        .collect();
    for answer in asked {
        let refused = answer.await.unwrap().unwrap_err();
        assert!(
            matches!(
                refused,
                SubmitError::Refused {
                    refusal: Refusal::KeyScope { .. },
                    ..
                }
            ),
            "{refused}"
        );
    }
}

/// With one thread, the sender would run right after the first caller, each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn callers_who_are_ready_together_share_a_message() {
    const CALLERS: usize = 60;
    let harness = Harness::start().await;
    let mut heard = overhear(&harness).await;
    let (leader, other, customer) = leader_and_other(&harness, &mut heard).await;
    let customer = Arc::new(customer);
    let mut fewest = CALLERS;
    // Once in a while the runtime has it that the sender is woken before anybody has sent more.
    for _ in 0..5 {
        let (customer, ledger) = (Arc::clone(&customer), other.ledger.clone());
        // All are there before the first one runs.
        let all = tokio::spawn(async move {
            let caller = |_| {
                let (customer, ledger) = (Arc::clone(&customer), ledger.clone());
                tokio::spawn(async move { customer.reserve_fresh(&ledger).await.unwrap() })
            };
            (0..CALLERS).map(caller).collect::<Vec<_>>()
        });
        for caller in all.await.unwrap() {
            caller.await.unwrap();
        }
        let mut messages = so_far(&mut heard).await;
        // Whether the leader is there is asked without commands.
        messages.retain(|message| !message.payload.ends_with(b"\n[]"));
        fewest = fewest.min(messages.len());
    }
    assert_eq!(fewest, 1, "messages for {CALLERS} commands");
    other.stop().await;
    leader.stop().await;
}
