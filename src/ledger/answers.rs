//! Telling the callers of a round how their commands ended.

use keyledger_events::Shard;

use super::command::SubmitError;
use super::load::Why;
use super::round::{Round, Verdict};
use super::work::Work;

/// Answers everybody whose round is true of the log.
pub(super) fn answer_all(round: Round, shard: Shard) {
    let mut outcomes = Outcomes::default();
    for (job, verdict) in round.decided {
        outcomes.count(job.name(), &verdict);
        match verdict {
            Verdict::Written { position } => job.answer(shard, position, false),
            Verdict::AlreadySo => job.answer(shard, round.tail.position, true),
            Verdict::Refused(refusal) => {
                job.fail(SubmitError::Refused {
                    refusal,
                    shard,
                    position: round.tail.position,
                });
            }
            Verdict::Unreadable(Why::Broken) => job.fail(SubmitError::Broken),
            Verdict::Unreadable(Why::Away | Why::Archived) => job.fail(SubmitError::Unavailable),
        }
    }
    outcomes.tell();
}

/// Tells everybody that there is no answer.
pub(super) fn fail_all(jobs: Vec<Box<dyn Work>>, error: impl Fn() -> SubmitError) {
    for job in jobs {
        job.fail(error());
    }
}

/// How the commands of a round ended, told to the metrics once and not for each command.
#[derive(Debug, Default)]
struct Outcomes(Vec<(&'static str, &'static str, u64)>);

impl Outcomes {
    fn count(&mut self, command: &'static str, verdict: &Verdict) {
        let outcome = match verdict {
            Verdict::Written { .. } => "written",
            Verdict::AlreadySo => "already_so",
            Verdict::Refused(_) => "refused",
            Verdict::Unreadable(Why::Broken) => "broken",
            Verdict::Unreadable(Why::Away | Why::Archived) => "unavailable",
        };
        match self.0.iter_mut().find(|(c, o, _)| (*c, *o) == (command, outcome)) {
            Some((_, _, many)) => *many += 1,
            None => self.0.push((command, outcome, 1)),
        }
    }

    fn tell(self) {
        for (command, outcome, many) in self.0 {
            metrics::counter!("keyledger_commands_total", "command" => command, "outcome" => outcome).increment(many);
        }
    }
}
