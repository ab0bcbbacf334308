//! Text that a spreadsheet opens as text.

use crate::shown::Shown;

/// Spreadsheets take a cell that begins so as a formula; the wide forms are the same to some.
const BEGINNINGS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A text that somebody chose, for a cell: an apostrophe before what would be a formula, as spreadsheets themselves
/// write it. Whatever hides is written out. The same goes for what follows a semicolon, at which spreadsheets of some
/// countries begin another cell.
pub(crate) fn cell(text: &str) -> String {
    let pieces: Vec<String> = text.split(';').map(guarded).collect();
    Shown::new(&pieces.join(";")).to_string()
}

fn guarded(piece: &str) -> String {
    let formula = piece.trim_start().starts_with(BEGINNINGS) || piece.starts_with(['\t', '\r', '\n']);
    if formula { format!("'{piece}") } else { piece.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_a_formula_is_text() {
        for (text, shown) in [
            ("=1+1", "'=1+1"),
            ("+49 30", "'+49 30"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =cmd|' /C calc'!A0", "'  =cmd|' /C calc'!A0"),
            ("＝1", "'＝1"),
            ("\t=1", "'[U+0009]=1"),
            ("\rx", "'[U+000D]x"),
            ("a;=1", "a;'=1"),
        ] {
            assert_eq!(cell(text), shown);
        }
    }

    #[test]
    fn what_is_none_stays_as_it_is() {
        for text in [
            "Looker Studio",
            "a=b",
            "a - b",
            "\"quoted\", and more",
            "'=1",
            "0.5",
            "",
        ] {
            assert_eq!(cell(text), text);
        }
    }
}
