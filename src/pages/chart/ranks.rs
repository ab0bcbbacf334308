//! Who used how much: lying bars, the longest first.

use askama::Template;
use keyledger_events::Credits;

use super::Share;
use crate::pages::amount::{amount, in_words, sum};
use crate::pages::moment::thousands;
use crate::pages::name::Shown;

/// One bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pages) struct Rank {
    pub(in crate::pages) name: Shown,
    /// Beside the name: a key's preview.
    pub(in crate::pages) aside: Option<String>,
    /// Where its charges are listed, below the pages' root.
    pub(in crate::pages) link: Option<String>,
    pub(in crate::pages) uses: u64,
    pub(in crate::pages) charged: Credits,
}

/// Lying bars. Nothing but a word where there is none.
#[derive(Debug, Template)]
#[template(path = "chart_ranks.html")]
pub(in crate::pages) struct Ranks {
    /// What a bar is: `Endpoint`.
    of: &'static str,
    root: String,
    bars: Vec<Bar>,
}

#[derive(Debug)]
struct Bar {
    rank: Rank,
    uses: String,
    credits: String,
    words: String,
    /// Of the longest.
    length: Share,
    /// Of all.
    share: String,
}

impl Ranks {
    /// `ranks` are in order.
    pub(in crate::pages) fn new(of: &'static str, root: String, ranks: Vec<Rank>) -> Ranks {
        let micros = |credits: Credits| u64::try_from(credits.micros()).unwrap_or_default();
        let longest = ranks.iter().map(|rank| micros(rank.charged)).max().unwrap_or_default();
        let all = micros(sum(ranks.iter().map(|rank| rank.charged)));
        let bars = ranks.into_iter().map(|rank| Bar {
            uses: thousands(rank.uses),
            credits: amount(rank.charged),
            words: format!("{}: {}", rank.name, in_words(rank.charged)),
            length: Share::of(micros(rank.charged), longest),
            share: Share::of(micros(rank.charged), all).in_words(),
            rank,
        });
        Ranks {
            of,
            root,
            bars: bars.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(name: &str, charged: &str) -> Rank {
        Rank {
            name: Shown::new(name),
            aside: None,
            link: None,
            uses: 1_234,
            charged: charged.parse().unwrap(),
        }
    }

    #[test]
    fn bars_are_as_long_as_the_longest_lets_them_be() {
        let ranks = vec![rank("serp", "30"), rank("<i>", "10"), rank("echo", "0")];
        let drawn = Ranks::new("Endpoint", "../".to_owned(), ranks);
        let lengths: Vec<_> = drawn
            .bars
            .iter()
            .map(|bar| (bar.length.to_string(), bar.share.as_str()))
            .collect();
        let expected = [("100%", "75 %"), ("33.33%", "25 %"), ("0%", "0 %")];
        assert_eq!(lengths, expected.map(|(length, share)| (length.to_owned(), share)));
        let page = drawn.render().unwrap();
        assert!(page.contains("1,234") && page.contains("&#60;i&#62;") && !page.contains("<i>"));
    }
}
