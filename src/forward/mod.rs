//! Forwarding: commands of every process go to the one that has the lead, so that several are as fast as one.
//!
//! In: commands of this process while another one has the lead; while it is here, the other processes' commands, over
//! NATS. Out: the answers, back to who asked.
//!
//! The way of a command that is decided elsewhere: ledger, outbox, `sender` (up to a hundred together, sealed) - NATS -
//! `receiver` of the leader, its ledger's queue, one append with the leader's own commands; and the answers back.
//!
//! Promise: nothing hangs on it. Without NATS, without a leader, or when a leader falls silent, every process decides by
//! itself, as safely and less fast. A command is forwarded once; if its answer is lost, its caller is told so and may
//! repeat it. Nobody who is only on the bus can send a command or an answer: both are sealed with what the leader wrote
//! in the database.
//!
//! Not here: what commands mean.

mod election;
mod line;
mod message;
mod receiver;
mod seal;
mod sender;

use std::time::Duration;

use async_nats::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bus::Bus;
use crate::clock;
use crate::ledger::{Ledger, Outbox};
use crate::log::{Candidate, Log};

/// What forwarding needs.
#[derive(Debug)]
pub struct ForwardOptions {
    pub log: Log,
    pub bus: Bus,
    pub ledger: Ledger,
    pub outbox: Outbox,
}

/// How long the last answers may take, where NATS is away or the log slow.
const ANSWER_LAST: Duration = Duration::from_secs(10);

/// Starts taking part: leads when nobody does, else sends commands to who leads. Ends with the token, and gives the lead up.
pub fn start(options: ForwardOptions, stop: CancellationToken) -> JoinHandle<()> {
    let ForwardOptions {
        log,
        bus,
        ledger,
        outbox,
    } = options;
    let own = Candidate {
        process: Uuid::from_u128(clock::random_id_bits()),
        secret: clock::random_secret_bits(),
    };
    let client: Client = bus.client().clone();
    let receiver = receiver::Receiver::new(ledger, own.clone());
    let subject = bus.lead_subject(log.shard(), own.process);
    let hearing = tokio::spawn(receiver.run(client, subject, stop.clone()));
    tokio::spawn(async move {
        let (election, lead) = election::Election::new(log.clone(), own);
        let sending = sender::Sender::new(bus, log.shard(), lead).run(outbox);
        tokio::select! {
            () = election.run(&stop) => {}
            () = sending => stop.cancelled().await,
        }
        if tokio::time::timeout(ANSWER_LAST, hearing).await.is_err() {
            tracing::warn!("other processes' commands were still under way when the time to stop was over");
        }
    })
}
