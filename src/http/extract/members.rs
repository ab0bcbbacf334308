//! Reads the members of a flat JSON object, or the parameters of a query, into a struct, and names the one at fault.
//!
//! In: a JSON text, or name and text pairs; a struct with `#[derive(Deserialize)]`. Out: the struct, or [`Wrong`].
//!
//! Promise: what was sent is never repeated in the complaint: it may hold a secret in the wrong place.
//!
//! Not here: statuses and codes.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// More members than any body or query of ours has.
const MEMBERS_MAX: usize = 64;

/// Longer names are not repeated: a key's text is longer.
const NAME_BYTES_MAX: usize = 40;

/// What is wrong with a body or a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) field: Option<String>,
    pub(crate) detail: String,
    pub(crate) fault: Fault,
}

/// In what way it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No JSON at all.
    Unreadable,
    /// A member is missing, unknown, or there twice.
    Shape,
    /// A member's value is not one of its kind.
    Value,
}

impl Wrong {
    fn of(fault: Fault, field: &str, detail: impl Into<String>) -> Wrong {
        let shown = field.len() <= NAME_BYTES_MAX && field.bytes().all(|b| b.is_ascii_graphic());
        Wrong {
            field: shown.then(|| field.to_owned()),
            detail: detail.into(),
            fault,
        }
    }

    fn unreadable() -> Wrong {
        Wrong {
            field: None,
            detail: "the body is not one JSON document in UTF-8".to_owned(),
            fault: Fault::Unreadable,
        }
    }

    fn json(error: &serde_json::Error) -> Wrong {
        match error.classify() {
            Category::Syntax | Category::Eof | Category::Io => Wrong::unreadable(),
            Category::Data => Wrong::custom(error),
        }
    }

    /// Says in which member it went wrong, unless that is known already.
    fn at(self, field: &str) -> Wrong {
        if self.fault == Fault::Unreadable || self.field.is_some() {
            self
        } else {
            Wrong::of(self.fault, field, self.detail)
        }
    }
}

/// Keeps what was expected and drops what was found, which comes from outside.
fn without_input(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or_default();
    // Of a member inside a member.
    if message.starts_with("unknown field ") {
        return match message.rsplit_once(", expected ") {
            Some((_, known)) => format!("has a member that is not known here; known are: {known}"),
            None => "has a member that is not known here".to_owned(),
        };
    }
    let found = [
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
        "unknown variant ",
    ];
    if !found.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((_, "u16" | "u32" | "u64")) => "must be a whole number from 0".to_owned(),
        Some((_, "i32")) => "must be a whole number of 32 bits".to_owned(),
        Some((_, expected)) => format!("must be {expected}"),
        None => "is not of the right type".to_owned(),
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Wrong {}

impl serde::de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Wrong {
        Wrong {
            field: None,
            detail: without_input(&message.to_string()),
            fault: Fault::Value,
        }
    }

    fn missing_field(field: &'static str) -> Wrong {
        Wrong::of(Fault::Shape, field, "is missing")
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Wrong {
        let expected = expected.join(", ");
        let detail = if expected.is_empty() {
            "is not known here: nothing is expected".to_owned()
        } else {
            format!("is not known here; known are: {expected}")
        };
        Wrong::of(Fault::Shape, field, detail)
    }

    fn duplicate_field(field: &'static str) -> Wrong {
        Wrong::of(Fault::Shape, field, "is there twice")
    }
}

/// Reads a JSON object.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|_| Wrong::unreadable())?;
    let Object(members) = serde_json::from_str(text).map_err(|e| Wrong::json(&e))?;
    let members = members.into_iter().map(|(name, value)| (name, JsonMember(value)));
    Members::read(unique(members)?)
}

/// Takes the only member out of a JSON object that has one.
pub(crate) fn only_member(bytes: &[u8]) -> Result<(Cow<'_, str>, &RawValue), Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|_| Wrong::unreadable())?;
    let Object(members) = serde_json::from_str(text).map_err(|e| Wrong::json(&e))?;
    match <[_; 1]>::try_from(members) {
        Ok([only]) => Ok(only),
        Err(_) => Err(Wrong::custom("must be an object with one member")),
    }
}

/// Reads the parameters of a query.
pub(crate) fn from_pairs<T: DeserializeOwned>(pairs: Vec<(String, String)>) -> Result<T, Wrong> {
    Members::read(unique(pairs.into_iter().map(|(name, text)| (name, TextMember(text))))?)
}

fn unique<N: AsRef<str>, M>(members: impl Iterator<Item = (N, M)>) -> Result<Vec<(N, M)>, Wrong> {
    let mut seen: Vec<(N, M)> = Vec::new();
    for (name, value) in members {
        if seen.iter().any(|(other, _)| other.as_ref() == name.as_ref()) {
            return Err(Wrong::of(Fault::Shape, name.as_ref(), "is there twice"));
        }
        if seen.len() == MEMBERS_MAX {
            return Err(Wrong::custom("there are too many members"));
        }
        seen.push((name, value));
    }
    Ok(seen)
}

/// Hands the members over one by one, and puts a member's name on whatever goes wrong inside it.
struct Members<N, M> {
    waiting: std::vec::IntoIter<(N, M)>,
    current: Option<(N, M)>,
}

impl<'de, N: AsRef<str>, M: Deserializer<'de, Error = Wrong>> Members<N, M> {
    fn read<T: Deserialize<'de>>(members: Vec<(N, M)>) -> Result<T, Wrong> {
        T::deserialize(MapAccessDeserializer::new(Members {
            waiting: members.into_iter(),
            current: None,
        }))
    }
}

impl<'de, N: AsRef<str>, M: Deserializer<'de, Error = Wrong>> MapAccess<'de> for Members<N, M> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        self.current = self.waiting.next();
        match &self.current {
            None => Ok(None),
            Some((name, _)) => seed.deserialize(name.as_ref().into_deserializer()).map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (name, member) = self
            .current
            .take()
            .ok_or_else(|| Wrong::custom("a value has no name"))?;
        seed.deserialize(member).map_err(|wrong| wrong.at(name.as_ref()))
    }
}

/// The members of a JSON object as they stand in the text, repeated names included.
struct Object<'de>(Vec<(Cow<'de, str>, &'de RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'de>, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    members.push(member);
                    if members.len() > MEMBERS_MAX {
                        return Err(A::Error::custom("there are too many members"));
                    }
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

struct JsonMember<'de>(&'de RawValue);

impl<'de> Deserializer<'de> for JsonMember<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.0.deserialize_any(visitor).map_err(|e| Wrong::json(&e))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.0.get() == "null" {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    /// A word in a string, and nothing else: the reader would also take an object of one member.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if self.0.get().starts_with('"') {
            self.0
                .deserialize_enum(name, variants, visitor)
                .map_err(|e| Wrong::json(&e))
        } else {
            Err(Wrong::custom(format_args!("must be one of: {}", variants.join(", "))))
        }
    }

    /// Members by name, and nothing else: the reader would also take a list of their values.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if self.0.get().starts_with('{') {
            self.0
                .deserialize_struct(name, fields, visitor)
                .map_err(|e| Wrong::json(&e))
        } else {
            Err(Wrong::custom(format_args!(
                "must be an object with: {}",
                fields.join(", ")
            )))
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct TextMember(String);

impl TextMember {
    fn number(&self) -> Result<u64, Wrong> {
        // No sign and no leading zeros: one number has one spelling.
        let plain = self.0.bytes().all(|b| b.is_ascii_digit()) && (self.0 == "0" || !self.0.starts_with('0'));
        match self.0.parse() {
            Ok(number) if plain => Ok(number),
            Ok(_) | Err(_) => Err(Wrong::custom("must be a whole number from 0")),
        }
    }
}

impl<'de> Deserializer<'de> for TextMember {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Wrong::custom("must be true or false")),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_u64(self.number()?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_u64(self.number()?)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_u64(self.number()?)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests;
