//! A document as people read it in a terminal: lists of objects as tables, everything else as names and values.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::document::Node;

/// The document, with a line break at its end.
pub(super) fn rendered(document: &Node) -> String {
    let mut out = String::new();
    match document {
        Node::Word(word) => out.push_str(&shown(word)),
        Node::List(items) => out.push_str(&listed(items)),
        Node::Object(members) => object(members, &mut out),
    }
    let mut out = out.trim_end().to_owned();
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// Values first, then each list under its name. A list that is all there is has no name over it.
fn object(members: &[(String, Node)], out: &mut String) {
    let mut values = Vec::new();
    let mut lists = Vec::new();
    flattened("", members, &mut values, &mut lists);
    let alone = values.is_empty() || values.iter().all(|(name, _)| name == "next_cursor");
    if alone && let [(_, items)] = lists.as_slice() {
        out.push_str(&listed(items));
        // Where there is more, somebody will want to go on.
        for (name, value) in values.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(out, "\n\n{name}: {value}");
        }
        return;
    }
    let mut table = plain();
    for (name, value) in &values {
        table.add_row([name.as_str(), &shown(value)]);
    }
    out.push_str(&trimmed(&table));
    for (name, items) in lists {
        if !items.is_empty() {
            let _ = write!(out, "\n\n{name}\n{}", listed(items));
        }
    }
}

/// Objects within objects become names with a dot; lists of objects stand for themselves.
fn flattened<'n>(
    before: &str,
    members: &'n [(String, Node)],
    values: &mut Vec<(String, String)>,
    lists: &mut Vec<(String, &'n [Node])>,
) {
    for (name, value) in members {
        let name = format!("{before}{name}");
        match value {
            Node::Word(word) => values.push((name, word.clone())),
            Node::Object(inner) => flattened(&format!("{name}."), inner, values, lists),
            Node::List(items) if items.iter().all(is_word) && !items.is_empty() => values.push((name, words(items))),
            Node::List(items) => lists.push((name, items)),
        }
    }
}

fn is_word(node: &Node) -> bool {
    matches!(node, Node::Word(_))
}

fn words(items: &[Node]) -> String {
    let words = items.iter().map(|item| match item {
        Node::Word(word) => word.as_str(),
        Node::List(_) | Node::Object(_) => "…",
    });
    words.collect::<Vec<_>>().join(", ")
}

/// A row for each item. Columns that are empty all the way down are left out.
fn listed(items: &[Node]) -> String {
    let rows: Vec<Vec<(String, String)>> = items.iter().map(row).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, value) in rows.iter().flatten() {
        if !value.is_empty() && !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    if columns.is_empty() {
        return "none".to_owned();
    }
    let mut table = plain();
    table.set_header(columns.iter().copied());
    let cell = |row: &[(String, String)], column: &str| {
        let found = row.iter().find(|(name, _)| name == column);
        found.map(|(_, value)| shown(value)).unwrap_or_default()
    };
    for row in &rows {
        table.add_row(columns.iter().map(|column| cell(row, column)));
    }
    for (index, column) in columns.iter().enumerate() {
        let is_number = |row: &Vec<(String, String)>| {
            let text = cell(row, column);
            text.is_empty()
                || text
                    .trim_start_matches('-')
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        if rows.iter().all(is_number)
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    trimmed(&table)
}

fn row(item: &Node) -> Vec<(String, String)> {
    match item {
        Node::Word(word) => vec![(String::new(), word.clone())],
        Node::List(items) => vec![(String::new(), words(items))],
        Node::Object(members) => {
            let (mut values, mut lists) = (Vec::new(), Vec::new());
            flattened("", members, &mut values, &mut lists);
            values
        }
    }
}

/// No lines, no wrapping: what is read by `awk` and `grep` stays on its line.
fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// What somebody chose cannot move the cursor, or say otherwise what stands elsewhere.
fn shown(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                format!("\\u{{{:x}}}", u32::from(c))
            } else {
                c.to_string()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::document::read;
    use super::*;

    #[test]
    fn a_list_is_a_table_without_what_is_empty_everywhere() {
        let document = read(
            br#"{"items":[{"id":"key_1","name":"Looker\u001b[2J","uses":12,"scopes":["a","b"],"expires_at":null},
                          {"id":"key_2","name":"B","uses":3,"scopes":null,"expires_at":null}],"next_cursor":null}"#,
        );
        let expected = "id     name             uses  scopes\n\
                        key_1  Looker\\u{1b}[2J    12  a, b\n\
                        key_2  B                   3\n";
        assert_eq!(rendered(&document.unwrap()), expected);
        assert_eq!(
            rendered(&read(br#"{"items":[],"next_cursor":null}"#).unwrap()),
            "none\n"
        );
    }

    #[test]
    fn an_object_is_its_members_and_its_lists_come_after_it() {
        let document =
            read(br#"{"key":{"id":"key_1","name":"A"},"secret":"sk","by_day":[{"day":"x","charged":"0.5"}]}"#);
        let expected = "key.id    key_1\nkey.name  A\nsecret    sk\n\nby_day\nday  charged\nx        0.5\n";
        assert_eq!(rendered(&document.unwrap()), expected);
    }
}
