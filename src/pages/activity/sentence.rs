//! What a sentence about an event is made of.

use keyledger_events::Credits;

use crate::pages::name::Shown;

/// A piece of a sentence. Names that people chose stand apart from the words around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pages) enum Word {
    Ours(String),
    Name(Shown),
}

/// An event, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) words: Vec<Word>,
    /// The sentence does not say who did it.
    pub(super) tells_nobody: bool,
    /// What it did to the credits that the account has: `+100`, `−0.5`.
    pub(super) credits: Option<String>,
}

/// Puts a sentence together.
pub(super) struct Sentence(pub(super) Vec<Word>);

impl Sentence {
    pub(super) fn new() -> Sentence {
        Sentence(Vec::new())
    }

    pub(super) fn say(mut self, text: impl AsRef<str>) -> Sentence {
        if let Some(Word::Ours(last)) = self.0.last_mut() {
            last.push_str(text.as_ref());
        } else {
            self.0.push(Word::Ours(text.as_ref().to_owned()));
        }
        self
    }

    pub(super) fn name(mut self, name: Shown) -> Sentence {
        self.0.push(Word::Name(name));
        self
    }

    /// Done by somebody whom the sentence names.
    pub(super) fn by_somebody(self) -> Told {
        Told {
            words: self.0,
            tells_nobody: false,
            credits: None,
        }
    }

    pub(super) fn by_nobody(self) -> Told {
        Told {
            tells_nobody: true,
            ..self.by_somebody()
        }
    }
}

/// `1 credit`, `0.5 credits`.
pub(super) fn amount(credits: Credits) -> String {
    let one = credits.micros() == 1_000_000;
    format!("{credits} credit{}", if one { "" } else { "s" })
}

pub(super) fn was(credits: Credits) -> &'static str {
    if credits.micros() == 1_000_000 { "was" } else { "were" }
}

pub(super) fn change(sign: char, credits: Credits) -> Option<String> {
    Some(if credits.is_zero() {
        "0".to_owned()
    } else {
        format!("{sign}{credits}")
    })
}

pub(super) const PLUS: char = '+';
pub(super) const MINUS: char = '−';
