//! JSON with room to read it: lines and indents, members in the order in which they stand.

use crate::pages::name::Shown;

/// Lays out a JSON document that has no spaces between its parts. Text that is none comes out somehow; what hides in
/// names is written out.
pub(super) fn pretty(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let (mut in_string, mut escaped) = (false, false);
    let mut chars = json.chars().peekable();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
    };
    while let Some(c) = chars.next() {
        if in_string {
            text.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                text.push(c);
            }
            '{' | '[' if matches!(chars.peek(), Some('}' | ']')) => text.push(c),
            '{' | '[' => {
                depth += 1;
                text.push(c);
                line(&mut text, depth);
            }
            '}' | ']' => {
                if !text.ends_with(['{', '[']) {
                    depth = depth.saturating_sub(1);
                    line(&mut text, depth);
                }
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            other => text.push(other),
        }
    }
    let lines: Vec<String> = text.lines().map(|line| Shown::new(line).to_string()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_on_their_own_lines_in_their_order() {
        let text = pretty(r#"{"b":1,"a":{"c":[1,{}],"d":[]},"e":"x,{\"y\":1}\\"}"#);
        let wanted = "{\n  \"b\": 1,\n  \"a\": {\n    \"c\": [\n      1,\n      {}\n    ],\n    \"d\": []\n  },\n  \"e\": \"x,{\\\"y\\\":1}\\\\\"\n}";
        assert_eq!(text, wanted);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&text), read(wanted));
    }

    #[test]
    fn what_hides_is_written_out() {
        assert_eq!(pretty("{\"a\":\"x\u{202E}y\"}"), "{\n  \"a\": \"x[U+202E]y\"\n}");
    }
}
