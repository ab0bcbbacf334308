//! The pages in a real Chromium, driven as a person would.
//!
//! Not here: statuses, headers, and what a page's address answers without a browser: `tests/pages`.

mod activity;
mod axe;
mod browse;
mod command;
mod credits;
mod driver;
mod framed;
mod keys;
mod leaving;
mod limits;
mod own_tools;
mod prices;
mod view;

pub use browse::Browser;
pub use view::View;
