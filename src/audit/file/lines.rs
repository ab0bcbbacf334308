//! The lines of an export that are not events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyledger_events::{AccountId, KeyId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the first line says that the file is.
pub const FORMAT: &str = "export/1";

/// 32 bytes, as text base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash(pub [u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub keyledger: String,
    pub origin: String,
    pub shard: u16,
    pub scope: Scope,
    pub first: u64,
    pub last: u64,
    pub from: Option<String>,
    pub to: Option<String>,
    pub made_at: Timestamp,
    /// The signed note whole.
    pub checkpoint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scope {
    Key { account: AccountId, key: KeyId },
    Account { account: AccountId },
    Shard { shard: u16 },
}

/// The kind of a line of ours, told before its other members.
#[derive(Debug, Deserialize)]
pub(super) struct Kind<'a> {
    #[serde(borrow)]
    pub keyledger: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consistency {
    pub keyledger: String,
    pub from: u64,
    path: Vec<Hash>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tile {
    pub keyledger: String,
    pub index: u64,
    hashes: Hashes,
    path: Vec<Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Vec<u64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub keyledger: String,
    pub position: u64,
    path: Vec<Hash>,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub keyledger: String,
    pub events: u64,
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hashes(Vec<[u8; 32]>);

fn hashes(path: &[[u8; 32]]) -> Vec<Hash> {
    path.iter().copied().map(Hash).collect()
}

fn bare(path: &[Hash]) -> Vec<[u8; 32]> {
    path.iter().map(|hash| hash.0).collect()
}

impl Consistency {
    pub fn new(from: u64, path: &[[u8; 32]]) -> Consistency {
        Consistency {
            keyledger: "consistency".to_owned(),
            from,
            path: hashes(path),
        }
    }

    pub fn path(&self) -> Vec<[u8; 32]> {
        bare(&self.path)
    }
}

impl Tile {
    pub fn new(index: u64, leaves: Vec<[u8; 32]>, path: &[[u8; 32]], at: Option<Vec<u64>>) -> Tile {
        Tile {
            keyledger: "tile".to_owned(),
            index,
            hashes: Hashes(leaves),
            path: hashes(path),
            at,
        }
    }

    pub fn leaves(&self) -> &[[u8; 32]] {
        &self.hashes.0
    }

    pub fn path(&self) -> Vec<[u8; 32]> {
        bare(&self.path)
    }
}

impl Proof {
    pub fn new(position: u64, path: &[[u8; 32]], for_prices: bool) -> Proof {
        Proof {
            keyledger: "proof".to_owned(),
            position,
            path: hashes(path),
            purpose: for_prices.then(|| PRICES.to_owned()),
        }
    }

    pub fn path(&self) -> Vec<[u8; 32]> {
        bare(&self.path)
    }
}

/// What a proof is for, where it is not for an event of the file's scope.
pub(super) const PRICES: &str = "prices";

impl End {
    pub fn new(events: u64, sha256: &[u8]) -> End {
        End {
            keyledger: "end".to_owned(),
            events,
            sha256: hex(sha256),
        }
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        bytes
            .try_into()
            .map(Hash)
            .map_err(|_| serde::de::Error::custom("a hash has 32 bytes"))
    }
}

impl Serialize for Hashes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0.as_flattened()))
    }
}

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hashes, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        let (hashes, rest) = bytes.as_chunks();
        if rest.is_empty() {
            Ok(Hashes(hashes.to_vec()))
        } else {
            Err(serde::de::Error::custom("hashes have 32 bytes each"))
        }
    }
}
