//! A place in the log as a caller writes it: `<shard>:<position>`, such as `0:812`.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use keyledger_events::{Position, Shard};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names the place at which an answer is true.
pub(crate) const LEDGER_POSITION: HeaderName = HeaderName::from_static("ledger-position");

/// A position and the shard whose log it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) shard: Shard,
    pub(crate) position: Position,
}

/// The text is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is written <shard>:<position>, such as \"0:812\"")]
pub(crate) struct PlaceError;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.shard, self.position)
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Place, PlaceError> {
        let (shard, position) = text.split_once(':').ok_or(PlaceError)?;
        let place = Place {
            shard: Shard(shard.parse().map_err(|_| PlaceError)?),
            position: Position(position.parse().map_err(|_| PlaceError)?),
        };
        // No sign, no leading zeros, nothing that the log itself could not hold.
        let plain = place.to_string() == text && i64::try_from(place.position.0).is_ok();
        if plain { Ok(place) } else { Err(PlaceError) }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Place, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back() {
        let place = Place {
            shard: Shard(0),
            position: Position(812),
        };
        assert_eq!(place.to_string(), "0:812");
        assert_eq!("0:812".parse(), Ok(place));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "812",
            ":",
            "0:",
            "0:-1",
            "0:+1",
            "0:01",
            "00:1",
            "0:abc",
            "0:18446744073709551616",
            "0:9223372036854775808",
            "70000:1",
            " 0:1",
            "0:1:2",
        ] {
            assert_eq!(text.parse::<Place>(), Err(PlaceError), "{text:?}");
        }
    }
}
