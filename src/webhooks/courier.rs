//! One receiver's courier: makes deliveries of what is new, and sends what waits, one after the other.

use std::time::{Duration, Instant};

use keyledger_events::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::patience::{Outcome, TRIED_FOR_SECONDS, Verdict, pause};
use super::post::{Letter, Post};
use super::store::{Attempt, Due, Next, Standing, Store};
use super::{Clock, Kind};
use crate::clock;
use crate::config::WebhookConfig;

pub(super) struct Courier {
    config: WebhookConfig,
    store: Store,
    post: Post,
    clock: Clock,
    process: Uuid,
    /// When keys that nobody uses were last looked for.
    looked_at: Option<Timestamp>,
    stumbling: bool,
}

/// How often it is looked for something new.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(2);
/// How often it is looked for keys that nobody uses, and for what is old enough to be forgotten.
const SWEEP_EVERY_SECONDS: u32 = 3_600;
/// Sent before it is looked for something new again, and the lease renewed.
const SENT_AT_ONCE_MAX: usize = 100;
/// Longer than that, and the lease would not be renewed in time.
const TURN_MAX: Duration = Duration::from_secs(20);

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
        let Some(mut standing) = self.store.lease(&name, self.process).await? else {
            return Ok(false);
        };
        self.stumbling = false;
        let now = (self.clock)();
        let more = self.store.queue(&name, &self.config.kinds, now).await?;
        self.sweep(now).await?;
        let began = Instant::now();
        for _ in 0..SENT_AT_ONCE_MAX {
            let now = (self.clock)();
            if stop.is_cancelled() || began.elapsed() > TURN_MAX || standing.retry_at.is_some_and(|at| at > now) {
                return Ok(more);
            }
            let Some(due) = self.store.due(&name, now).await? else {
                return Ok(more);
            };
            standing = self.deliver(&due, standing).await?;
        }
        Ok(true)
    }

    async fn sweep(&mut self, now: Timestamp) -> Result<(), sqlx::Error> {
        if self
            .looked_at
            .is_some_and(|at| at.plus_seconds(SWEEP_EVERY_SECONDS) > now && at <= now)
        {
            return Ok(());
        }
        if self.config.kinds.contains(&Kind::KeyStale) {
            self.store.queue_stale(&self.config.name, now).await?;
        }
        self.store.forget(&self.config.name, now).await?;
        self.looked_at = Some(now);
        Ok(())
    }

    /// One attempt. Answers how the receiver stands after it.
    async fn deliver(&self, due: &Due, before: Standing) -> Result<Standing, sqlx::Error> {
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
        self.store.note(&self.config.name, attempt).await?;
        Ok(standing)
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
    let old = due.queued_at.plus_seconds(TRIED_FOR_SECONDS) <= at;
    let again = |failures| match old {
        true => Next::GivenUp,
        false => Next::At(at.plus_seconds(pause(failures, outcome.retry_after_seconds(), spread))),
    };
    match outcome.verdict() {
        Verdict::Delivered => (Next::Delivered, Standing::default()),
        Verdict::GivenUp => (Next::GivenUp, Standing::default()),
        // Somebody is there who listens.
        Verdict::NotTaken => (again(due.attempts.saturating_add(1)), Standing::default()),
        Verdict::ReceiverAway => {
            let failures = before.failures.saturating_add(1);
            let retry_at = at.plus_seconds(pause(failures, outcome.retry_after_seconds(), spread));
            let standing = Standing {
                failures,
                retry_at: Some(retry_at),
            };
            // It is the receiver that waits: whoever is sent first when it is back, it begins with the oldest.
            let next = if old { Next::GivenUp } else { Next::At(at) };
            (next, standing)
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
