//! The names of the views.

use std::fmt;
use std::str::FromStr;

/// A view that the projector builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    KeyList,
    Balance,
    Charges,
    Reservations,
    Usage,
    Notices,
}

impl View {
    pub const ALL: [View; 6] = [
        View::KeyList,
        View::Balance,
        View::Charges,
        View::Reservations,
        View::Usage,
        View::Notices,
    ];

    /// The name in `views.checkpoints`, on the command line and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            View::KeyList => "key_list",
            View::Balance => "balance",
            View::Charges => "charges",
            View::Reservations => "reservations",
            View::Usage => "usage",
            View::Notices => "notices",
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for View {
    type Err = String;

    fn from_str(text: &str) -> Result<View, String> {
        let known = || View::ALL.map(View::as_str).join(", ");
        View::ALL
            .into_iter()
            .find(|view| view.as_str() == text)
            .ok_or_else(|| format!("a view is one of {}", known()))
    }
}
