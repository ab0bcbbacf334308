//! What a receiver can be told of.

/// A kind of message, by the name that Standard Webhooks calls its `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ThresholdReached,
    KeyLeaked,
    KeyDenied,
    KeyStale,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::ThresholdReached, Kind::KeyLeaked, Kind::KeyDenied, Kind::KeyStale];

    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::ThresholdReached => "credits.threshold_reached",
            Kind::KeyLeaked => "key.leaked",
            Kind::KeyDenied => "key.denied",
            Kind::KeyStale => "key.stale",
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}
