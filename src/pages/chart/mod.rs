//! Charts, drawn on the server.
//!
//! In: what was used, in order. Out: SVG that fills its place, whatever its width, and the same as a table.
//!
//! Promise: every value can be read by pointing at it, by keyboard, and in the table; lengths across are parts of a
//! hundred, so no text is stretched; no style stands in the markup, so the strictest policy lets it be.
//!
//! Not here: colours, which are the style sheet's, and where figures come from.

mod axis;
mod days;
mod ranks;
mod share;
mod spark;

pub(super) use days::{Days, Stack};
pub(super) use ranks::{Rank, Ranks};
pub(super) use share::Share;
pub(super) use spark::Spark;
