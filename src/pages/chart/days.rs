//! Credits day by day, as upright bars of parts on top of each other.

use askama::Template;
use keyledger_events::{Credits, Timestamp};

use super::Share;
use super::axis::Axis;
use crate::pages::amount::{amount, in_words, short, sum};
use crate::pages::moment::short_day;

/// What a chart of days is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pages) struct Stack {
    /// What the parts are called, at most four, the lowest first.
    pub(in crate::pages) parts: Vec<String>,
    /// Each day, with as many amounts as there are parts.
    pub(in crate::pages) days: Vec<(Timestamp, Vec<Credits>)>,
}

/// Upright bars. Nothing but a word where all is zero.
#[derive(Debug, Template)]
#[template(path = "chart_days.html")]
pub(in crate::pages) struct Days {
    /// What is told of the whole.
    name: String,
    /// What the amounts are of, one letter, so that several charts stand on one page.
    parts: Vec<String>,
    ticks: Vec<Tick>,
    bars: Vec<Bar>,
    labels: Vec<Label>,
}

#[derive(Debug)]
struct Tick {
    y: u32,
    text: String,
}

#[derive(Debug)]
struct Bar {
    day: String,
    /// Where its column begins, and where the bar in it.
    x: Share,
    inner: Share,
    words: String,
    total: String,
    /// `serp 10, ai_visibility 2.5`; nothing where there is one part.
    split: String,
    blocks: Vec<Block>,
    empty: bool,
    /// The one that the keyboard comes to first.
    last: bool,
}

#[derive(Debug)]
struct Block {
    /// Its part, from 1.
    part: usize,
    y: u32,
    height: u32,
}

#[derive(Debug)]
struct Label {
    x: Share,
    text: String,
}

/// Above the bars is the place of the value that is pointed at, below that of the days.
const ABOVE: u32 = 24;
const HEIGHT: u32 = 160;
/// Every seventh day is named, counted from the last, so that weeks can be seen.
const DAYS_A_LABEL: usize = 7;
/// Parts of a hundred of its column that are left beside a bar. How wide columns and bars are is said once, in the style
/// sheet, which knows that there are thirty: in each bar it would be a tenth of the page.
const BESIDE: u64 = 15;

impl Days {
    pub(in crate::pages) fn new(name: &str, stack: Stack) -> Days {
        let total = |parts: &[Credits]| sum(parts.iter().copied());
        let largest = stack.days.iter().map(|(_, parts)| total(parts)).max();
        let axis = Axis::up_to(micros(largest.unwrap_or_default()));
        let count = stack.days.len();
        let mut shown = Days {
            name: name.to_owned(),
            parts: stack.parts,
            ticks: Vec::new(),
            bars: Vec::new(),
            labels: Vec::new(),
        };
        let Some(axis) = axis else { return shown };
        shown.ticks.extend(axis.ticks().map(|value| Tick {
            y: ABOVE + HEIGHT - axis.height(value, HEIGHT),
            text: Credits::from_micros(i64::try_from(value).unwrap_or(i64::MAX)).map_or_else(String::new, short),
        }));
        for (at, (day, parts)) in stack.days.iter().enumerate() {
            let column = |hundredths: u64| {
                let at = u64::try_from(at).unwrap_or_default();
                Share::of(at * 100 + hundredths, u64::try_from(count).unwrap_or_default() * 100)
            };
            let day = short_day(*day);
            if (count - 1 - at).is_multiple_of(DAYS_A_LABEL) {
                shown.labels.push(Label {
                    x: column(50),
                    text: day.clone(),
                });
            }
            let total = total(parts);
            let split = if shown.parts.len() > 1 {
                split(&shown.parts, parts)
            } else {
                String::new()
            };
            let words = match (total.is_zero(), split.is_empty()) {
                (true, _) => format!("{day}: nothing"),
                (false, true) => format!("{day}: {}", in_words(total)),
                (false, false) => format!("{day}: {} ({split})", in_words(total)),
            };
            shown.bars.push(Bar {
                x: column(0),
                inner: column(BESIDE),
                words,
                total: amount(total),
                split,
                blocks: blocks(&axis, parts),
                empty: total.is_zero(),
                last: at + 1 == count,
                day,
            });
        }
        shown
    }

    /// Days with something, for the table.
    fn used(&self) -> impl Iterator<Item = &Bar> {
        self.bars.iter().rev().filter(|bar| !bar.empty)
    }
}

fn micros(credits: Credits) -> u64 {
    u64::try_from(credits.micros()).unwrap_or_default()
}

fn split(names: &[String], parts: &[Credits]) -> String {
    let named = names.iter().zip(parts).filter(|(_, part)| !part.is_zero());
    let texts: Vec<String> = named.map(|(name, part)| format!("{name} {}", amount(*part))).collect();
    texts.join(", ")
}

/// Piles the parts up without a gap: each ends where the sum up to it stands. What is not nothing is seen.
fn blocks(axis: &Axis, parts: &[Credits]) -> Vec<Block> {
    let mut below = 0;
    let mut pile = 0_u64;
    let mut blocks = Vec::new();
    for (part, credits) in parts.iter().enumerate().filter(|(_, credits)| !credits.is_zero()) {
        pile = pile.saturating_add(micros(*credits));
        let top = axis.height(pile, HEIGHT).max(below + 1);
        blocks.push(Block {
            part: part + 1,
            y: (ABOVE + HEIGHT).saturating_sub(top),
            height: top - below,
        });
        below = top;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credits(text: &str) -> Credits {
        text.parse().unwrap()
    }

    fn chart(days: &[&[&str]]) -> Days {
        let first: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        let days = days.iter().zip(0_u32..).map(|(parts, at)| {
            let parts = parts.iter().map(|part| credits(part)).collect();
            (first.plus_seconds(at * 86_400), parts)
        });
        let stack = Stack {
            parts: vec!["serp".to_owned(), "<echo>".to_owned()],
            days: days.collect(),
        };
        Days::new("Credits by day", stack)
    }

    #[test]
    fn a_day_says_what_it_was_made_of() {
        let drawn = chart(&[&["0", "0"], &["10", "2.5"]]);
        let words: Vec<_> = drawn.bars.iter().map(|bar| bar.words.as_str()).collect();
        assert_eq!(words, ["24 Nov: nothing", "25 Nov: 12.5 credits (serp 10, <echo> 2.5)"]);
        let page = drawn.render().unwrap();
        assert!(page.contains("&#60;echo&#62; 2.5") && !page.contains("<echo>") && !page.contains("style="));
        assert_eq!(page.matches("tabindex=\"0\"").count(), 1, "one stop for the keyboard");
    }

    #[test]
    fn parts_stand_on_each_other_without_a_gap() {
        let drawn = chart(&[&["10", "5"]]);
        let blocks: Vec<_> = drawn.bars[0].blocks.iter().map(|b| (b.part, b.y, b.height)).collect();
        assert_eq!(blocks, [(1, 77, 107), (2, 24, 53)]);
    }

    #[test]
    fn the_least_is_still_seen() {
        let drawn = chart(&[&["1000", "0"], &["0.000001", "0"]]);
        assert_eq!(drawn.bars[1].blocks[0].height, 1);
    }

    #[test]
    fn where_nothing_was_used_no_axis_is_drawn() {
        let page = chart(&[&["0", "0"]]).render().unwrap();
        assert!(page.contains("Nothing was used") && !page.contains("<svg"));
    }
}
