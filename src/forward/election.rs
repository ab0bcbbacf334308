//! Who leads: asks the database every few seconds, and leads where nobody does.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::log::{Candidate, Lead, Log};

/// A third of what a lead lasts: two questions may fail before anybody else may take it.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// While nothing is known, which is so after the start and while Postgres is away.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Election {
    log: Log,
    own: Candidate,
    tell: watch::Sender<Option<Lead>>,
}

impl Election {
    /// The watch shows another process's lead; `None` while this one leads, or nobody is known to.
    pub(super) fn new(log: Log, own: Candidate) -> (Election, watch::Receiver<Option<Lead>>) {
        let (tell, told) = watch::channel(None);
        (Election { log, own, tell }, told)
    }

    pub(super) async fn run(self, stop: &CancellationToken) {
        let mut leads = false;
        loop {
            let pause = match self.log.lead(&self.own).await {
                Ok(Some(lead)) => {
                    let ours = lead.leader == self.own;
                    if ours && !leads {
                        tracing::info!("this process has the lead: the others send it their commands");
                    }
                    leads = ours;
                    self.tell.send_replace((!ours).then_some(lead));
                    ASK_EVERY
                }
                Ok(None) => ASK_AGAIN,
                Err(error) => {
                    tracing::debug!(%error, "it is not known who leads");
                    leads = false;
                    self.tell.send_replace(None);
                    ASK_AGAIN
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        if leads && let Err(error) = self.log.leave_lead(&self.own).await {
            tracing::debug!(%error, "the lead is not given up; it ends by itself");
        }
    }
}
