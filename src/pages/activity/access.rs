//! Who was let in, in plain words: tokens, and people; and that what was known of people is gone.

use keyledger_events::{KeyName, OperatorSessionInvited, PortalSessionInvited, TokenCreated, TokenRevoked};

use super::sentence::{Sentence, Told};
use crate::pages::name::Shown;

pub(super) fn token_created(e: &TokenCreated, who: Sentence) -> Told {
    let told = who.say(" made the access token ").name(Shown::new(e.name.as_str()));
    told.say(format!(" with the role {}", e.role.as_str())).by_somebody()
}

pub(super) fn token_revoked(e: &TokenRevoked, who: Sentence) -> Told {
    let told = who.say(" revoked the access token ");
    told.name(Shown::new(e.name.as_str())).by_somebody()
}

pub(super) fn invited(e: &PortalSessionInvited, who: Sentence) -> Told {
    let told = let_in(who, e.name.as_ref()).say(" onto these pages");
    let told = if e.read_only { told.say(", to look only") } else { told };
    told.by_somebody()
}

pub(super) fn operator_invited(e: &OperatorSessionInvited, who: Sentence) -> Told {
    let told = let_in(who, e.name.as_ref());
    told.say(" onto the operators' pages").by_somebody()
}

fn let_in(who: Sentence, name: Option<&KeyName>) -> Sentence {
    match name {
        Some(name) => who.say(" let ").name(Shown::new(name.as_str())),
        None => who.say(" let somebody"),
    }
}

pub(super) fn erased(who: Sentence) -> Told {
    let told = who.say(" erased the names of this account, its keys and its people, and where its clients were");
    told.by_somebody()
}
