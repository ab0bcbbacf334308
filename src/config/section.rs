//! Reading TOML tables so that every fault is told at once: a type, a bound, or a name that nobody knows.

use toml::{Table, Value};

/// What is wrong in the file: where, and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Complaint {
    pub place: String,
    pub what: String,
}

/// One table of the file. What is read from it is taken out, so what is left at the end has no meaning.
pub(super) struct Section<'a> {
    place: String,
    table: Table,
    complaints: &'a mut Vec<Complaint>,
}

/// A list of tables: its name, and how it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub(super) name: &'static str,
    pub(super) written: &'static str,
}

const NAME_CHARS_MAX: usize = 32;

impl List {
    fn how(self) -> String {
        format!("is written as {}, once for each", self.written)
    }
}

impl<'a> Section<'a> {
    pub(super) fn new(place: impl Into<String>, table: Table, complaints: &'a mut Vec<Complaint>) -> Section<'a> {
        Section {
            place: place.into(),
            table,
            complaints,
        }
    }

    pub(super) fn complain(&mut self, name: &str, what: impl Into<String>) {
        let place = if self.place.is_empty() {
            name.to_owned()
        } else {
            format!("{} {name}", self.place)
        };
        self.complaints.push(Complaint {
            place,
            what: what.into(),
        });
    }

    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.table.remove(name)
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let value = self.table.remove(name)?;
        match value.as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong_type(name, "a text in quotes", &value),
        }
    }

    /// A text that must be there. What is lacking reads as empty, after the complaint.
    pub(super) fn required_text(&mut self, name: &str) -> String {
        if self.table.contains_key(name) {
            return self.text(name).unwrap_or_default();
        }
        self.complain(name, "is missing");
        String::new()
    }

    pub(super) fn flag(&mut self, name: &str, unless_said: bool) -> bool {
        match self.table.remove(name) {
            None => unless_said,
            Some(Value::Boolean(flag)) => flag,
            Some(other) => self.wrong_type(name, "true or false", &other).unwrap_or(unless_said),
        }
    }

    pub(super) fn count(&mut self, name: &str) -> Option<u64> {
        let value = self.table.remove(name)?;
        match value.as_integer().map(u64::try_from) {
            Some(Ok(count)) => Some(count),
            Some(Err(_)) => {
                self.complain(name, "is zero or more");
                None
            }
            None => self.wrong_type(name, "a whole number", &value),
        }
    }

    pub(super) fn count_within(&mut self, name: &str, bounds: std::ops::RangeInclusive<u64>, unless_said: u64) -> u64 {
        match self.count(name) {
            None => unless_said,
            Some(count) if bounds.contains(&count) => count,
            Some(_) => {
                self.complain(name, format!("is {} to {}", bounds.start(), bounds.end()));
                unless_said
            }
        }
    }

    /// A table of its own, empty when it is not there.
    pub(super) fn table(&mut self, name: &str) -> Table {
        match self.table.remove(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => self.wrong_type(name, "a table", &other).unwrap_or_default(),
        }
    }

    /// The entries of a list that is written as `[[…]]`, once for each; none when it is not there.
    pub(super) fn entries(&mut self, list: List) -> Vec<Value> {
        match self.table.remove(list.name) {
            None => Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                self.complain(list.name, list.how());
                Vec::new()
            }
        }
    }

    /// One of them, counted from zero. `None`, after the complaint: it is no table.
    pub(super) fn entry(&mut self, list: List, index: usize, entry: Value) -> Option<Section<'_>> {
        if let Value::Table(table) = entry {
            Some(self.inner(format!("{} {}", list.written, index + 1), table))
        } else {
            self.complain(list.name, list.how());
            None
        }
    }

    /// A name of its own among those of its kind, which it joins.
    pub(super) fn name_among(&mut self, taken: &mut Vec<String>, kind: &str) -> String {
        let name = self.required_text("name");
        let fits = (1..=NAME_CHARS_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
        if !name.is_empty() && !fits {
            self.complain("name", "is 1 to 32 of a-z, 0-9, '-' and '_'");
        }
        if taken.contains(&name) {
            self.complain("name", format!("is taken by another {kind}"));
        }
        taken.push(name.clone());
        name
    }

    /// Another table of the same file, which complains to the same list.
    pub(super) fn inner(&mut self, place: impl Into<String>, table: Table) -> Section<'_> {
        Section::new(place, table, self.complaints)
    }

    /// Complains of every name that was not asked for.
    pub(super) fn end(mut self) {
        for name in self.table.keys().cloned().collect::<Vec<_>>() {
            self.complain(&name, "is not a setting that there is");
        }
    }

    fn wrong_type<T>(&mut self, name: &str, expected: &str, found: &Value) -> Option<T> {
        self.complain(name, format!("is {expected}, not a TOML {}", found.type_str()));
        None
    }
}
