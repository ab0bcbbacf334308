//! `[gateway.rate_limits]`: how often a key, an account, and a client with bad keys may ask.

use toml::Table;

use super::section::Section;
use crate::prices::Rate;

/// What limits calls through the gateway, each process by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// `per_key_per_second`, `per_key_burst`. `None` where not said: no limit.
    pub per_key: Option<Rate>,
    /// `per_account_per_second`, `per_account_burst`: all keys of an account together.
    pub per_account: Option<Rate>,
    /// `bad_keys_per_second`, `bad_keys_burst`: refused keys a client address. There is always a limit: a flood of them
    /// must not become work for the database.
    pub bad_keys: Rate,
}

/// A person who mistypes does so a few times. The burst leaves room for many customers behind one address, whose first
/// calls after a start are under way at once.
const BAD_KEYS: Rate = Rate {
    per_second: 10,
    burst: 200,
};

impl Default for RateLimits {
    fn default() -> RateLimits {
        RateLimits {
            per_key: None,
            per_account: None,
            bad_keys: BAD_KEYS,
        }
    }
}

pub(super) fn read(gateway: &mut Section<'_>) -> RateLimits {
    let table: Table = gateway.table("rate_limits");
    let mut section = gateway.inner("[gateway.rate_limits]", table);
    let limits = RateLimits {
        per_key: rate(&mut section, "per_key_per_second", "per_key_burst"),
        per_account: rate(&mut section, "per_account_per_second", "per_account_burst"),
        bad_keys: rate(&mut section, "bad_keys_per_second", "bad_keys_burst").unwrap_or(BAD_KEYS),
    };
    section.end();
    limits
}

fn rate(section: &mut Section<'_>, per_second: &'static str, burst: &'static str) -> Option<Rate> {
    let (count, most) = (section.count(per_second), section.count(burst));
    Rate::read(count, most).unwrap_or_else(|what| {
        section.complain(per_second, what);
        None
    })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::prices::Rate;

    const UPSTREAM: &str = "[gateway]\nupstream = \"http://a\"\n[gateway.rate_limits]\n";

    #[test]
    fn limits_are_read_and_a_missing_one_is_none() {
        let text = format!("{UPSTREAM}per_key_per_second = 10\nper_key_burst = 30\n");
        let limits = Config::parse(&text).unwrap().gateway.unwrap().rate_limits;
        let ten = Rate {
            per_second: 10,
            burst: 30,
        };
        assert_eq!((limits.per_key, limits.per_account), (Some(ten), None));
    }

    #[test]
    fn a_limit_that_cannot_be_meant_is_told() {
        let text = format!("{UPSTREAM}per_key_burst = 30\nper_account_per_second = 0\nper_client = 1\n");
        let places: Vec<String> = Config::parse(&text).unwrap_err().into_iter().map(|c| c.place).collect();
        let expected = ["per_key_per_second", "per_account_per_second", "per_client"];
        assert_eq!(places, expected.map(|name| format!("[gateway.rate_limits] {name}")));
    }
}
