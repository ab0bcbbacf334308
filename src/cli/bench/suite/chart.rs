//! The ratios as a picture: a bar each, as long as what was reached of the aim.

use askama::Template;

use super::ratios::Compared;

/// A plain SVG that is read on light and dark ground alike.
#[derive(Debug, Template)]
#[template(path = "chart.svg")]
pub struct Chart {
    height: u64,
    foot: u64,
    bars: Vec<Bar>,
}

#[derive(Debug)]
struct Bar {
    y: u64,
    what: String,
    value: String,
    aim: String,
    width: u64,
    short: bool,
}

const HEAD: u64 = 40;
const STEP: u64 = 28;
/// What is aimed at is this long; longer bars end at twice that.
const AIM_WIDTH: u64 = 120;

impl Chart {
    /// Of those that have an aim.
    pub fn of(compared: &[Compared]) -> Chart {
        let aimed = compared.iter().filter_map(|one| Some((one, one.reached()?)));
        let bars: Vec<Bar> = (0..)
            .zip(aimed)
            .map(|(number, (one, reached))| Bar {
                y: HEAD + number * STEP,
                what: one.what.clone(),
                value: one.value(),
                aim: one.aim.to_string(),
                width: (reached.min(200) * AIM_WIDTH / 100).max(1),
                short: reached < 100,
            })
            .collect();
        let foot = bars.last().map_or(HEAD, |last| last.y + STEP);
        Chart {
            height: foot + 8,
            foot,
            bars,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ratios::Aim;
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_was_reached() {
        let compared = |hundredths, aim| Compared {
            what: "a < b".to_owned(),
            hundredths,
            aim,
        };
        let chart = Chart::of(&[
            compared(85, Aim::AtLeast(85)),
            compared(300, Aim::None),
            compared(100, Aim::AtLeast(200)),
            compared(1, Aim::AtMost(160)),
        ]);
        assert_eq!(
            chart.bars.iter().map(|bar| (bar.width, bar.short)).collect::<Vec<_>>(),
            [(120, false), (60, true), (240, false)]
        );
        let svg = chart.render().unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("≥ 0.85") && !svg.contains("a < b"), "{svg}");
    }
}
