//! How long a body may stand still: counted only while somebody waits for its next piece.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A patience that begins anew with every piece.
#[derive(Debug)]
pub(super) struct Idle {
    most: Duration,
    sleep: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Idle {
    pub(super) fn new(most: Duration) -> Idle {
        Idle {
            most,
            sleep: Box::pin(tokio::time::sleep(most)),
            waiting: false,
        }
    }

    /// A piece has come. The time that its receiver takes with it is not the sender's.
    pub(super) fn moved(&mut self) {
        self.waiting = false;
    }

    /// Nothing has come yet: completes when patience is over.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waiting {
            self.waiting = true;
            let until = Instant::now() + self.most;
            self.sleep.as_mut().reset(until);
        }
        self.sleep.as_mut().poll(cx)
    }
}
