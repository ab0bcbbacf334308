//! What is wrong with a body or a query, in words that repeat nothing of it.

use std::fmt;

use serde::de::Error as _;
use serde_json::error::Category;

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
    pub(super) fn of(fault: Fault, field: &str, detail: impl Into<String>) -> Wrong {
        let shown = field.len() <= NAME_BYTES_MAX && field.bytes().all(|b| b.is_ascii_graphic());
        Wrong {
            field: shown.then(|| field.to_owned()),
            detail: detail.into(),
            fault,
        }
    }

    pub(super) fn unreadable() -> Wrong {
        Wrong {
            field: None,
            detail: "the body is not one JSON document in UTF-8".to_owned(),
            fault: Fault::Unreadable,
        }
    }

    pub(super) fn json(error: &serde_json::Error) -> Wrong {
        match error.classify() {
            Category::Syntax | Category::Eof | Category::Io => Wrong::unreadable(),
            Category::Data => Wrong::custom(error),
        }
    }

    /// Says in which member it went wrong, unless that is known already.
    pub(super) fn at(self, field: &str) -> Wrong {
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
