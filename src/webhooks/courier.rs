//! One receiver's courier: makes deliveries of what is new, and sends what waits, one after the other.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use keyledger_events::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::patience::{Outcome, TRIED_FOR_SECONDS, Verdict, pause};
use super::post::{Letter, Post};
use super::store::{Attempt, Due, KeyPlace, Next, Standing, Store};
use super::{Clock, Kind};
use crate::clock;
use crate::config::WebhookConfig;

pub(super) struct Courier {
    config: WebhookConfig,
    store: Store,
    post: Post,
    clock: Clock,
    process: Uuid,
    /// When it was last looked for what is to be done now and then.
    looked_at: Option<Timestamp>,
    /// How far it was looked for keys that nobody uses; nothing between two times.
    keys_after: Option<KeyPlace>,
    stumbling: bool,
}

/// How often it is looked for something new.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(2);
/// How often it is looked for keys that nobody uses, and for what is old enough to be forgotten.
const SWEEP_EVERY_SECONDS: u32 = 3_600;
/// No attempt begins later in a turn: with it the lease would be over.
const TURN_MAX: Duration = Duration::from_secs(15);

impl Courier {
    pub(super) fn new(config: WebhookConfig, store: Store, clock: Clock, process: Uuid) -> Courier {
        let post = Post::new(config.url.clone(), config.tls.as_ref());
        Courier {
            config,
            store,
            post,
            clock,
            process,
            looked_at: None,
            keys_after: None,
            stumbling: false,
        }
    }

    /// Works until told to stop. An attempt under way is finished and written down.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut registered = false;
        while !stop.is_cancelled() {
            let turn = match registered {
                true => self.turn(&stop).await,
                false => self.register().await.inspect(|_| registered = true),
            };
            let wait = match turn {
                Ok(true) => continue,
                Ok(false) => LOOK_EVERY,
                Err(error) => {
                    if !std::mem::replace(&mut self.stumbling, true) {
                        let receiver = &self.config.name;
                        tracing::warn!(receiver, %error, "webhooks wait until the database can be asked");
                    }
                    PAUSE_AFTER_FAULT
                }
            };
            stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
        let _ = self.store.leave(&self.config.name, self.process).await;
    }

    async fn register(&self) -> Result<bool, sqlx::Error> {
        let url = self.config.url.to_string();
        self.store.register(&self.config.name, &url, &self.config.kinds).await?;
        Ok(true)
    }

    /// Looks for what is new and sends some of what waits. Answers whether there is more to do.
    async fn turn(&mut self, stop: &CancellationToken) -> Result<bool, sqlx::Error> {
        let name = self.config.name.clone();
        let began = Instant::now();
        let Some(mut standing) = self.store.lease(&name, self.process).await? else {
            return Ok(false);
        };
        self.stumbling = false;
        let now = (self.clock)();
        let more = self.store.queue(&name, &self.config.kinds, now).await?;
        let mut sent = 0;
        // Accounts whose next message has to wait.
        let mut held_up = HashSet::new();
        let due = if standing.retry_at.is_some_and(|at| at > now) {
            Vec::new()
        } else {
            self.store.due(&name, now).await?
        };
        for due in &due {
            let away = standing.retry_at.is_some_and(|at| at > (self.clock)());
            if stop.is_cancelled() || began.elapsed() > TURN_MAX || away {
                break;
            }
            if held_up.contains(&due.account) {
                continue;
            }
            let Some((next, after)) = self.deliver(due, standing).await? else {
                return Ok(false);
            };
            if matches!(next, Next::At(_)) {
                held_up.insert(due.account);
            }
            standing = after;
            sent += 1;
        }
        let swept = match self.sweep(now).await {
            Ok(more) => more,
            // Nobody waits for that.
            Err(error) => {
                tracing::warn!(receiver = name, %error, "old deliveries and unused keys are looked for later");
                false
            }
        };
        Ok(more || swept || sent > 0)
    }

    /// Some of what is to be done now and then. Answers whether there is more of it.
    async fn sweep(&mut self, now: Timestamp) -> Result<bool, sqlx::Error> {
        let name = &self.config.name;
        if let Some(after) = self.keys_after.take() {
            self.keys_after = self.store.queue_stale(name, after, now).await?;
            return Ok(self.keys_after.is_some());
        }
        if self
            .looked_at
            .is_some_and(|at| at.plus_seconds(SWEEP_EVERY_SECONDS) > now && at <= now)
        {
            return Ok(false);
        }
        // Also when it does not go well: it is tried again in its time, and keeps nothing from being sent.
        self.looked_at = Some(now);
        if self.store.give_up(name, now).await? || self.store.forget(name, now).await? {
            self.looked_at = None;
            return Ok(true);
        }
        if self.config.kinds.contains(&Kind::KeyStale) {
            self.keys_after = Some((Uuid::nil(), Uuid::nil()));
        }
        Ok(self.keys_after.is_some())
    }

    /// One attempt. Answers what follows for the message and for the receiver; nothing when another process has it now.
    async fn deliver(&self, due: &Due, before: Standing) -> Result<Option<(Next, Standing)>, sqlx::Error> {
        let at = (self.clock)();
        let began = Instant::now();
        let outcome = self.send(due, at).await;
        let took_ms = i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX);
        let [spread, ..] = clock::random_id_bits().to_le_bytes();
        let (next, standing) = after(due, before, &outcome, at, spread);
        tell(&self.config.name, next, standing);
        let attempt = Attempt {
            due,
            at,
            took_ms,
            outcome: &outcome,
            next,
            standing,
        };
        let noted = self.store.note((&self.config.name, self.process), attempt).await?;
        Ok(noted.then_some((next, standing)))
    }

    async fn send(&self, due: &Due, at: Timestamp) -> Outcome {
        let at_seconds = at.micros() / 1_000_000;
        let Some(signature) = self.config.secrets.sign(&due.message, at_seconds, &due.body) else {
            return Outcome::Silent {
                why: "cannot be signed",
            };
        };
        let letter = Letter {
            id: &due.message,
            at_seconds,
            signature: &signature,
            body: &due.body,
        };
        self.post.send(&letter).await
    }
}

/// What follows from an attempt, for the message and for the receiver.
fn after(due: &Due, before: Standing, outcome: &Outcome, at: Timestamp, spread: u8) -> (Next, Standing) {
    // It is tried once at least, however long nobody here could.
    let old = due.attempts > 0 && due.queued_at.plus_seconds(TRIED_FOR_SECONDS) <= at;
    let later = |failures| at.plus_seconds(pause(failures, outcome.retry_after_seconds(), spread));
    let waits_until = |moment| if old { Next::GivenUp } else { Next::At(moment) };
    let failures = before.failures.saturating_add(1);
    let away = Standing {
        failures,
        retry_at: Some(later(failures)),
    };
    match outcome.verdict() {
        Verdict::Delivered => (Next::Delivered, Standing::default()),
        Verdict::GivenUp => (Next::GivenUp, Standing::default()),
        // Somebody is there who listens.
        Verdict::NotTaken => (waits_until(later(due.attempts.saturating_add(1))), Standing::default()),
        // It is the receiver that waits: when it is back, it begins with the oldest.
        Verdict::ReceiverAway => (waits_until(at), away),
        // When it is tried again, it is with another account's message, lest this one stands in the way of all.
        Verdict::Doubtful => {
            let behind = later(failures).plus_seconds(pause(failures, None, spread));
            (waits_until(behind), away)
        }
    }
}

fn tell(receiver: &str, next: Next, standing: Standing) {
    let outcome = match next {
        Next::Delivered => "delivered",
        Next::GivenUp => "given-up",
        Next::At(_) => "failed",
    };
    if next == Next::GivenUp {
        tracing::warn!(receiver, "a webhook was given up; it can be replayed");
    }
    metrics::counter!("keyledger_webhook_attempts_total", "receiver" => receiver.to_owned(), "outcome" => outcome)
        .increment(1);
    metrics::gauge!("keyledger_webhook_failures", "receiver" => receiver.to_owned()).set(standing.failures);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(attempts: u32) -> Due {
        Due {
            number: 1,
            message: "m".to_owned(),
            account: Uuid::nil(),
            body: "{}".to_owned(),
            queued_at: Timestamp::EPOCH,
            attempts,
        }
    }

    fn answered(status: u16) -> Outcome {
        Outcome::Answered {
            status,
            retry_after_seconds: None,
        }
    }

    #[test]
    fn a_receiver_that_is_away_makes_everything_wait_longer_each_time() {
        let at = Timestamp::EPOCH;
        let (next, first) = after(&due(0), Standing::default(), &answered(503), at, 0);
        assert_eq!((next, first.retry_at), (Next::At(at), Some(at.plus_seconds(5))));
        let (next, second) = after(&due(1), first, &answered(503), at, 0);
        assert_eq!((second.failures, second.retry_at), (2, Some(at.plus_seconds(30))));
        assert_eq!(next, Next::At(at));
        let (next, third) = after(&due(2), second, &answered(200), at, 0);
        assert_eq!((next, third), (Next::Delivered, Standing::default()));
    }

    #[test]
    fn a_message_that_is_not_taken_waits_alone() {
        let at = Timestamp::EPOCH;
        let (next, standing) = after(&due(1), Standing::default(), &answered(500), at, 0);
        assert_eq!((next, standing), (Next::At(at.plus_seconds(30)), Standing::default()));
    }

    #[test]
    fn what_may_be_the_messages_fault_is_tried_after_another_ones() {
        let at = Timestamp::EPOCH;
        let silent = Outcome::Silent { why: "x" };
        let (next, standing) = after(&due(0), Standing::default(), &silent, at, 0);
        assert_eq!(
            (next, standing.retry_at),
            (Next::At(at.plus_seconds(10)), Some(at.plus_seconds(5)))
        );
        // However long nobody here could try, it is tried once.
        let later = at.plus_seconds(TRIED_FOR_SECONDS);
        let (next, _) = after(&due(0), Standing::default(), &silent, later, 0);
        assert!(matches!(next, Next::At(_)));
    }

    #[test]
    fn a_message_is_given_up_after_three_days_or_when_nobody_wants_it() {
        let later = Timestamp::EPOCH.plus_seconds(TRIED_FOR_SECONDS);
        for status in [500, 503] {
            let (next, _) = after(&due(9), Standing::default(), &answered(status), later, 0);
            assert_eq!(next, Next::GivenUp, "{status}");
        }
        let (next, _) = after(&due(0), Standing::default(), &answered(410), Timestamp::EPOCH, 0);
        assert_eq!(next, Next::GivenUp);
    }
}
