//! A JSON document with its members in the order in which they came, as a table shows them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A text, number or truth value, as people read it. Null is an empty one.
    Word(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// Reads a document.
pub(super) fn read(bytes: &[u8]) -> Result<Node, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// Where the next page begins.
pub(super) fn next_cursor(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Page {
        next_cursor: Option<String>,
    }
    serde_json::from_slice::<Page>(bytes).ok()?.next_cursor
}

impl Node {
    /// Adds the items of the next page to those of this one.
    pub(super) fn append_items(&mut self, page: Node) {
        let (Node::Object(mine), Node::Object(theirs)) = (self, page) else {
            return;
        };
        let more = theirs.into_iter().find(|(name, _)| name == "items");
        let items = mine.iter_mut().find(|(name, _)| name == "items");
        if let (Some((_, Node::List(items))), Some((_, Node::List(more)))) = (items, more) {
            items.extend(more);
        }
        mine.retain(|(name, _)| name != "next_cursor");
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Word(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Word(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Word(value.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Node, E> {
        // No answer of ours has one.
        Err(E::custom("a number with a fraction"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Word(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Word(String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut object: Vec<(String, Node)> = Vec::new();
        while let Some((name, value)) = members.next_entry::<String, Node>()? {
            if object.len() >= 10_000 {
                return Err(A::Error::custom("an object with too many members"));
            }
            object.push((name, value));
        }
        Ok(Node::Object(object))
    }
}
