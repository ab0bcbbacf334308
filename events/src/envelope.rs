//! The envelope of an event and its one canonical byte string: CloudEvents 1.0, JSON format, one line, no spaces,
//! members in the order of design section 4.
//!
//! Promise: `decode(encode(e)) == e`, and `decode` takes no other bytes than those that `encode` writes, so the hash of
//! an event cannot depend on who wrote it.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::brief::Brief;
use crate::busy::{Busy, Desk};
use crate::event::Event;
use crate::ids::{AccountId, EventId, KeyId, PortalSessionId, TokenId};
use crate::personal::Sealed;
use crate::time::Timestamp;

/// An independent part of the log, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shard(pub u16);

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A place in a shard's log. Events stand at 1, 2, 3, …; 0 is the place before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position(pub u64);

impl Position {
    pub const START: Position = Position(0);

    pub const fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A place in an account's history. Events stand at 1, 2, 3, …; 0 is the place before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl Seq {
    pub const START: Seq = Seq(0);

    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who caused an event. Text: `key_…`, `tok_…`, `ses_…` or `system`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    Key(KeyId),
    Token(TokenId),
    /// Somebody on the customer's pages.
    Portal(PortalSessionId),
    System,
}

impl Actor {
    fn brief(self) -> Brief {
        match self {
            Actor::Key(key) => key.brief(),
            Actor::Token(token) => token.brief(),
            Actor::Portal(session) => session.brief(),
            Actor::System => Brief::of("system"),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.brief().as_str())
    }
}

impl FromStr for Actor {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Actor, DecodeError> {
        if text == "system" {
            return Ok(Actor::System);
        }
        if let Ok(key) = text.parse() {
            return Ok(Actor::Key(key));
        }
        if let Ok(session) = text.parse() {
            return Ok(Actor::Portal(session));
        }
        text.parse()
            .map(Actor::Token)
            .map_err(|_| DecodeError::Member { member: "actor" })
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.brief().as_str())
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Actor, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Names the command that an event came from: 1 to 128 of `A-Z a-z 0-9 _ . : -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandId(std::sync::Arc<str>);

impl CommandId {
    pub fn parse(text: &str) -> Option<CommandId> {
        CommandId::is_one(text).then(|| CommandId(text.into()))
    }

    pub(crate) fn is_one(text: &str) -> bool {
        (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-'))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for CommandId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CommandId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CommandId, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        CommandId::parse(&text).ok_or_else(|| D::Error::custom("a command's name is 1 to 128 of A-Z a-z 0-9 _ . : -"))
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub id: EventId,
    pub shard: Shard,
    pub position: Position,
    pub account: AccountId,
    pub seq: Seq,
    pub time: Timestamp,
    pub actor: Actor,
    pub command: CommandId,
    /// What the event says of people, where that was taken out of it.
    pub sealed: Option<Sealed>,
    pub event: Event,
}

/// Why bytes are not an event of ours.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("not a CloudEvents document of ours: {0}")]
    Json(#[from] serde_json::Error),
    #[error("member {member} has no value of its kind")]
    Member { member: &'static str },
    #[error("unknown event type {type_name:?}")]
    UnknownType { type_name: String },
    #[error("the bytes are not the canonical ones of the event that they hold")]
    NotCanonical,
}

/// The members as they stand in the document. Unknown ones are refused: they would not survive the way back.
///
/// What the data is, the type says, which stands before it: so the data is read as what it is, and only once.
struct Document<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    type_name: &'a str,
    subject: &'a str,
    time: &'a str,
    datacontenttype: &'a str,
    position: NonZeroU64,
    accountseq: NonZeroU64,
    actor: &'a str,
    commandid: &'a str,
    sealed: Option<&'a str>,
    /// `None`: there is no such type here.
    event: Option<Event>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Specversion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    Datacontenttype,
    Position,
    Accountseq,
    Actor,
    Commandid,
    Sealed,
    Data,
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document<'de>, D::Error> {
        deserializer.deserialize_map(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Document<'de>, A::Error> {
        let (mut specversion, mut id, mut source, mut type_name, mut subject) = (None, None, None, None, None);
        let (mut time, mut datacontenttype, mut position, mut accountseq) = (None, None, None, None);
        let (mut actor, mut commandid, mut sealed, mut event) = (None, None, None, None);
        while let Some(member) = members.next_key()? {
            match member {
                Member::Specversion => once(&mut specversion, "specversion", &mut members)?,
                Member::Id => once(&mut id, "id", &mut members)?,
                Member::Source => once(&mut source, "source", &mut members)?,
                Member::Type => once(&mut type_name, "type", &mut members)?,
                Member::Subject => once(&mut subject, "subject", &mut members)?,
                Member::Time => once(&mut time, "time", &mut members)?,
                Member::Datacontenttype => once(&mut datacontenttype, "datacontenttype", &mut members)?,
                Member::Position => once(&mut position, "position", &mut members)?,
                Member::Accountseq => once(&mut accountseq, "accountseq", &mut members)?,
                Member::Actor => once(&mut actor, "actor", &mut members)?,
                Member::Commandid => once(&mut commandid, "commandid", &mut members)?,
                Member::Sealed => once(&mut sealed, "sealed", &mut members)?,
                Member::Data => {
                    if event.is_some() {
                        return Err(A::Error::duplicate_field("data"));
                    }
                    let type_name = type_name.ok_or_else(|| A::Error::custom("`data` stands before `type`"))?;
                    let data = Event::next_data(type_name, &mut members)?;
                    if data.is_none() {
                        members.next_value::<IgnoredAny>()?;
                    }
                    event = Some(data);
                }
            }
        }
        let missing = A::Error::missing_field;
        Ok(Document {
            specversion: specversion.ok_or_else(|| missing("specversion"))?,
            id: id.ok_or_else(|| missing("id"))?,
            source: source.ok_or_else(|| missing("source"))?,
            type_name: type_name.ok_or_else(|| missing("type"))?,
            subject: subject.ok_or_else(|| missing("subject"))?,
            time: time.ok_or_else(|| missing("time"))?,
            datacontenttype: datacontenttype.ok_or_else(|| missing("datacontenttype"))?,
            position: position.ok_or_else(|| missing("position"))?,
            accountseq: accountseq.ok_or_else(|| missing("accountseq"))?,
            actor: actor.ok_or_else(|| missing("actor"))?,
            commandid: commandid.ok_or_else(|| missing("commandid"))?,
            sealed,
            event: event.ok_or_else(|| missing("data"))?,
        })
    }
}

/// Takes a member's value, which stands there once.
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    member: &mut Option<T>,
    name: &'static str,
    members: &mut A,
) -> Result<(), A::Error> {
    if member.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *member = Some(members.next_value()?);
    Ok(())
}

const SOURCE: &str = "/keyledger/shards/";

impl Recorded {
    /// Writes the canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(640);
        self.encode_into(&mut out);
        out
    }

    /// Writes the canonical bytes after what `out` holds already.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let mut put = |before: &str, text: &[u8]| {
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(text);
        };
        put("{\"specversion\":\"1.0\",\"id\":\"", self.id.brief().as_bytes());
        put("\",\"source\":\"", SOURCE.as_bytes());
        put("", Brief::number(self.shard.0.into()).as_bytes());
        put("\",\"type\":\"", self.event.type_name().as_bytes());
        put("\",\"subject\":\"", self.account.brief().as_bytes());
        put("\",\"time\":\"", self.time.brief().as_bytes());
        put(
            "\",\"datacontenttype\":\"application/json\",\"position\":",
            Brief::number(self.position.0).as_bytes(),
        );
        put(",\"accountseq\":", Brief::number(self.seq.0).as_bytes());
        put(",\"actor\":\"", self.actor.brief().as_bytes());
        put("\",\"commandid\":\"", self.command.as_str().as_bytes());
        if let Some(sealed) = &self.sealed {
            put("\",\"sealed\":\"", sealed.as_str().as_bytes());
        }
        put("\",\"data\":", b"");
        let begun = out.len();
        if Busy::of(&self.event).is_some_and(|busy| busy.write(out)) {
            return out.push(b'}');
        }
        out.truncate(begun);
        let data = self.event.write_data(&mut *out);
        // A Vec takes every byte and our own types always serialize: both are true of the types, not of the values.
        assert!(data.is_ok(), "an event of ours always has bytes");
        out.push(b'}');
    }

    /// Reads canonical bytes.
    ///
    /// Errors: anything that `encode` would not have written, down to a space or another order of members.
    pub fn decode(bytes: &[u8]) -> Result<Recorded, DecodeError> {
        if let Some(recorded) = Recorded::decode_busy(bytes) {
            return Ok(recorded);
        }
        let recorded = Recorded::decode_by_name(bytes)?;
        if recorded.encode() == bytes {
            Ok(recorded)
        } else {
            Err(DecodeError::NotCanonical)
        }
    }

    /// Reads the bytes without the proof that they are canonical: for readers of our own log, whose bytes were
    /// checked when they were written. An auditor uses [`Recorded::decode`].
    pub fn decode_loosely(bytes: &[u8]) -> Result<Recorded, DecodeError> {
        match Recorded::decode_busy(bytes) {
            Some(recorded) => Ok(recorded),
            None => Recorded::decode_by_name(bytes),
        }
    }

    /// Reads canonical bytes of the events that there are most of.
    pub(crate) fn decode_busy(bytes: &[u8]) -> Option<Recorded> {
        let mut desk = Desk::default();
        let (head, busy) = desk.read(bytes)?;
        let sealed = match head.sealed {
            Some(text) => Some(Sealed::parse(text)?),
            None => None,
        };
        Some(Recorded {
            id: head.id,
            shard: head.shard,
            position: head.position,
            account: head.account,
            seq: head.seq,
            time: head.time,
            actor: head.actor,
            command: CommandId::parse(head.command)?,
            sealed,
            event: busy.to_event().ok()?,
        })
    }

    /// Reads any event's bytes, member by member as each is named.
    pub(crate) fn decode_by_name(bytes: &[u8]) -> Result<Recorded, DecodeError> {
        // All of it is text, which is quicker to see at once than name by name.
        let text = std::str::from_utf8(bytes).map_err(|error| DecodeError::Json(serde_json::Error::custom(error)))?;
        let document: Document<'_> = serde_json::from_str(text)?;
        let member = |member| DecodeError::Member { member };
        if document.specversion != "1.0" {
            return Err(member("specversion"));
        }
        if document.datacontenttype != "application/json" {
            return Err(member("datacontenttype"));
        }
        let shard = document
            .source
            .strip_prefix(SOURCE)
            .and_then(|shard| shard.parse().ok());
        let event = document.event.ok_or_else(|| DecodeError::UnknownType {
            type_name: document.type_name.to_owned(),
        })?;
        Ok(Recorded {
            id: document.id.parse().map_err(|_| member("id"))?,
            shard: Shard(shard.ok_or(member("source"))?),
            position: Position(document.position.get()),
            account: document.subject.parse().map_err(|_| member("subject"))?,
            seq: Seq(document.accountseq.get()),
            time: document.time.parse().map_err(|_| member("time"))?,
            actor: document.actor.parse()?,
            command: CommandId::parse(document.commandid).ok_or(member("commandid"))?,
            sealed: match document.sealed {
                Some(text) => Some(Sealed::parse(text).ok_or(member("sealed"))?),
                None => None,
            },
            event,
        })
    }
}
