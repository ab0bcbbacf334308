//! Links onto the pages: who is let in there, and who asked for it. The history names people by their sessions; this says
//! whose they are.

use keyledger_events::{AccountId, Event, KeyName, OperatorSessionInvited, PortalSessionId, PortalSessionInvited};
use serde::{Deserialize, Serialize};

use crate::ledger::account::Account;
use crate::ledger::command::{By, Command, Given, Target};
use crate::ledger::refusal::Refusal;
use crate::ledger::remembered::Made;

/// Lets somebody onto an account's pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteToPages {
    pub account: AccountId,
    pub session: PortalSessionId,
    pub name: Option<KeyName>,
    pub read_only: bool,
}

/// Lets an operator onto the operators' pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteOperator {
    pub session: PortalSessionId,
    pub name: Option<KeyName>,
}

impl Command for InviteToPages {
    /// The session that a link is for: of a repetition the first one's.
    type Reply = PortalSessionId;
    const NAME: &'static str = "invite_to_pages";
    /// What was is still to be seen.
    const ALSO_WHEN_CLOSED: bool = true;

    fn target(&self) -> Target {
        Target::Account(self.account)
    }

    fn decide(&self, _: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let invited = PortalSessionInvited {
            session: self.session,
            name: self.name.clone(),
            read_only: self.read_only,
        };
        Ok(vec![invited.into()])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<PortalSessionId> {
        session(self.session, account, by)
    }
}

impl Command for InviteOperator {
    type Reply = PortalSessionId;
    const NAME: &'static str = "invite_operator";

    fn target(&self) -> Target {
        Target::System
    }

    fn decide(&self, _: Given<'_>) -> Result<Vec<Event>, Refusal> {
        let invited = OperatorSessionInvited {
            session: self.session,
            name: self.name.clone(),
        };
        Ok(vec![invited.into()])
    }

    fn reply(&self, account: &Account, by: &By) -> Option<PortalSessionId> {
        session(self.session, account, by)
    }
}

fn session(own: PortalSessionId, account: &Account, by: &By) -> Option<PortalSessionId> {
    match account.remembered.made_by(&by.command) {
        Ok(Some(Made::Session(session))) => Some(*session),
        Ok(None) => Some(own),
        Ok(Some(_)) | Err(_) => None,
    }
}
