//! The file given with `--config`: the gateway, the key prefix, and prices until a price book is published.
//!
//! In: TOML, as in design section 10. Out: checked settings.
//!
//! Promise: the file is wholly right or refused with everything that is wrong with it, names that nobody knows
//! included: a misspelled limit must not silently be no limit.
//!
//! Not here: secrets and addresses of servers. They come from the environment.

mod audit;
mod clients;
mod network;
mod pages;
mod rates;
mod section;
mod tls;
mod upstreams;
mod webhooks;

use std::path::PathBuf;

use keyledger_events::KeyPrefix;
use toml::{Table, Value};

pub use audit::AuditConfig;
pub use clients::ClientsConfig;
pub use network::{ForwardAuthConfig, MalformedNetwork, Network};
pub use pages::{Colour, PagesConfig, is_web};
pub use rates::RateLimits;
pub use section::Complaint;
pub use tls::{ClientTls, ServerTls, client_tls};
pub use upstreams::{USUAL, UpstreamConfig, UpstreamNames};
pub use webhooks::WebhookConfig;

use crate::ledger::{HANG_UP_WINDOW_SECONDS_MAX, HANG_UPS_MAX};
use crate::prices::{PriceBook, PriceEntry, QuantityEntry, SettleAt};
use section::{List, Section};

/// All that the file says.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub key_prefix: KeyPrefix,
    /// `None` where the file has no `[gateway]`.
    pub gateway: Option<GatewayConfig>,
    pub prices: PriceBook,
    pub pages: PagesConfig,
    pub forward_auth: ForwardAuthConfig,
    /// Who is told of what happens.
    pub webhooks: Vec<WebhookConfig>,
    /// How the log is sealed.
    pub audit: AuditConfig,
}

/// How the gateway forwards.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// The data APIs: at least one.
    pub upstreams: Vec<UpstreamConfig>,
    pub request_body_bytes_max: u64,
    pub clients: ClientsConfig,
    /// Requests of a deleted key are cut, unless this says otherwise.
    pub let_deleted_keys_finish: bool,
    /// `None`: clients speak plainly.
    pub tls: Option<ServerTls>,
    pub rate_limits: RateLimits,
    /// `journal_dir`: where settlements are kept that the ledger does not take at once. In memory only without.
    pub journal_dir: Option<PathBuf>,
    /// `[gateway.free_riders]`: off where it is absent.
    pub free_riders: Option<FreeRiderConfig>,
}

/// When a key that keeps hanging up just before the end of a body pays from the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeRiderConfig {
    /// So many within the window are a habit.
    pub hang_ups_max: u16,
    /// The window, and how long the habit costs.
    pub hang_up_window_seconds: u32,
}

const PRICES: List = List {
    name: "prices",
    written: "[[prices]]",
};
const REQUEST_BODY_BYTES_MAX: u64 = 10 << 20;
const USUAL_HANG_UPS: u16 = 5;
const USUAL_HANG_UP_WINDOW_SECONDS: u32 = 600;

impl Config {
    /// Reads the file's text, or says all that is wrong with it.
    pub fn parse(text: &str) -> Result<Config, Vec<Complaint>> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            vec![Complaint {
                place: "the file".to_owned(),
                what: format!("is not TOML: {}", error.message()),
            }]
        })?;
        let mut complaints = Vec::new();
        let mut file = Section::new("", table, &mut complaints);
        let key_prefix = read_keys(&mut file);
        let (gateway, names) = match file.value("gateway") {
            Some(value) => read_gateway(&mut file, value),
            None => (None, None),
        };
        let forward_auth = network::read(&mut file);
        let prices = read_prices(&mut file, names.as_ref());
        let pages = pages::read(&mut file);
        let webhooks = webhooks::read(&mut file);
        let audit = audit::read(&mut file);
        file.end();
        if complaints.is_empty() {
            Ok(Config {
                key_prefix,
                gateway,
                prices,
                pages,
                forward_auth,
                webhooks,
                audit,
            })
        } else {
            Err(complaints)
        }
    }
}

fn read_keys(file: &mut Section<'_>) -> KeyPrefix {
    let table = file.table("keys");
    let mut keys = file.inner("[keys]", table);
    let prefix = match keys.text("prefix") {
        None => KeyPrefix::default(),
        Some(text) => KeyPrefix::parse(&text).unwrap_or_else(|| {
            keys.complain("prefix", "is 1 to 12 lower-case letters and digits");
            KeyPrefix::default()
        }),
    };
    keys.end();
    prefix
}

fn read_gateway(file: &mut Section<'_>, value: Value) -> (Option<GatewayConfig>, Option<UpstreamNames>) {
    let Value::Table(table) = value else {
        file.complain("gateway", "is a table");
        return (None, None);
    };
    let mut section = file.inner("[gateway]", table);
    let (upstreams, names) = upstreams::read(&mut section);
    let request_body_bytes_max = section.count_within("request_body_bytes_max", 0..=(1 << 40), REQUEST_BODY_BYTES_MAX);
    let clients = clients::read(&mut section);
    let let_deleted_keys_finish = section.flag("let_deleted_keys_finish", false);
    let tls = tls::read_server(&mut section);
    let journal_dir = read_journal_dir(&mut section);
    let free_riders = section
        .value("free_riders")
        .and_then(|value| read_free_riders(&mut section, value));
    let rate_limits = rates::read(&mut section);
    section.end();
    let gateway = GatewayConfig {
        upstreams,
        request_body_bytes_max,
        clients,
        let_deleted_keys_finish,
        tls,
        journal_dir,
        free_riders,
        rate_limits,
    };
    (Some(gateway), Some(names))
}

fn read_free_riders(gateway: &mut Section<'_>, value: Value) -> Option<FreeRiderConfig> {
    let Value::Table(table) = value else {
        gateway.complain("free_riders", "is a table");
        return None;
    };
    let mut section = gateway.inner("[gateway.free_riders]", table);
    let times_max = u64::from(HANG_UPS_MAX);
    let times = section.count_within("hang_ups_max", 1..=times_max, USUAL_HANG_UPS.into());
    let usual = u64::from(USUAL_HANG_UP_WINDOW_SECONDS);
    let seconds_max = u64::from(HANG_UP_WINDOW_SECONDS_MAX);
    let seconds = section.count_within("hang_up_window_seconds", 1..=seconds_max, usual);
    section.end();
    Some(FreeRiderConfig {
        hang_ups_max: u16::try_from(times).unwrap_or(USUAL_HANG_UPS),
        hang_up_window_seconds: u32::try_from(seconds).unwrap_or(USUAL_HANG_UP_WINDOW_SECONDS),
    })
}

fn read_journal_dir(section: &mut Section<'_>) -> Option<PathBuf> {
    let directory = section.text("journal_dir")?;
    if directory.is_empty() {
        section.complain("journal_dir", "names a directory, or is left out");
    }
    Some(directory.into())
}

fn read_prices(file: &mut Section<'_>, upstreams: Option<&UpstreamNames>) -> PriceBook {
    let mut read = Vec::new();
    for (index, entry) in file.entries(PRICES).into_iter().enumerate() {
        read.extend(file.entry(PRICES, index, entry).map(read_price));
    }
    upstreams::check_prices(file, &read, upstreams);
    PriceBook::new(&read, 0).unwrap_or_else(|complaints| {
        for complaint in complaints {
            file.inner(format!("[[prices]] {}", complaint.entry), Table::new())
                .complain(complaint.field, complaint.what);
        }
        PriceBook::default()
    })
}

fn read_price(mut section: Section<'_>) -> PriceEntry {
    let quantity = match section.value("quantity") {
        None => QuantityEntry::Fixed,
        Some(Value::Table(table)) => read_quantity(&mut section, table),
        Some(_) => {
            section.complain("quantity", "is { header = \"…\" } or { json = \"…\" }");
            QuantityEntry::Fixed
        }
    };
    let settle = section
        .text("settle")
        .map_or(Some(SettleAt::Later), |text| SettleAt::parse(&text));
    if settle.is_none() {
        section.complain("settle", "is \"at-once\" or \"later\"");
    }
    let entry = PriceEntry {
        endpoint: section.text("endpoint").unwrap_or_default(),
        pattern: section.text("match").unwrap_or_default(),
        price: section.text("price").unwrap_or_default(),
        unit: section.text("unit").unwrap_or_else(|| "request".to_owned()),
        quantity,
        quantity_max: section.count("quantity_max"),
        upstream: section.text("upstream"),
        when_more: section.text("when_more"),
        once_per: section.text("once_per"),
        rate_per_second: section.count("rate_per_second"),
        rate_burst: section.count("rate_burst"),
        settle: settle.unwrap_or_default(),
    };
    section.end();
    entry
}

fn read_quantity(section: &mut Section<'_>, table: Table) -> QuantityEntry {
    let mut one = table.into_iter();
    match (one.next(), one.next()) {
        (Some((name, Value::String(text))), None) if name == "header" => QuantityEntry::Header(text),
        (Some((name, Value::String(text))), None) if name == "json" => QuantityEntry::Json(text),
        _ => {
            section.complain("quantity", "is { header = \"…\" } or { json = \"…\" }");
            QuantityEntry::Fixed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [keys]
        prefix = "acme"

        [gateway]
        upstream = "http://127.0.0.1:9000"
        upstream_timeout_seconds = 5

        [[prices]]
        endpoint = "ai_visibility"
        match = "GET /ai-visibility/{*rest}"
        price = "0.5"
        unit = "conversation"
        quantity = { json = "/conversations" }
        quantity_max = 50
    "#;

    fn complaints(text: &str) -> Vec<String> {
        Config::parse(text)
            .unwrap_err()
            .iter()
            .map(|c| c.place.clone())
            .collect()
    }

    #[test]
    fn a_right_file_is_read() {
        let config = Config::parse(GOOD).unwrap();
        let gateway = config.gateway.unwrap();
        assert_eq!(config.key_prefix.as_str(), "acme");
        let upstream = &gateway.upstreams[0];
        assert_eq!(upstream.authority.as_str(), "127.0.0.1:9000");
        assert_eq!(upstream.upstream_timeout.as_secs(), 5);
        assert_eq!(gateway.request_body_bytes_max, 10 << 20);
        assert!(!gateway.let_deleted_keys_finish);
        let rule = config.prices.route("GET", "/ai-visibility/acme").unwrap();
        assert_eq!(
            (rule.unit.as_str(), rule.quantity_max, rule.version),
            ("conversation", 50, 0)
        );
    }

    #[test]
    fn an_empty_file_is_a_ledger_without_a_gateway() {
        let config = Config::parse("").unwrap();
        assert!(config.gateway.is_none() && config.prices.is_empty());
        assert_eq!(config.key_prefix.as_str(), "sk");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = r#"
            typo = 1
            [keys]
            prefix = "SK"
            [gateway]
            upstream = "ftp://user@api.example/x"
            upstream_timeout = 5
            body_timeout_seconds = 0
            let_deleted_keys_finish = "no"
            journal_dir = ""
            free_riders = { hang_ups_max = 0, window = 5 }
            [[prices]]
            endpoint = "serp"
            match = "GET /serp"
            price = 0.5
            colour = "red"
            [[prices]]
            match = "GET /x"
            endpoint = "x"
            price = "1"
            quantity = { xml = "/a" }
            settle = "never"
        "#;
        let expected = [
            "[keys] prefix",
            "[gateway] upstream",
            "[gateway] body_timeout_seconds",
            "[gateway] let_deleted_keys_finish",
            "[gateway] journal_dir",
            "[gateway.free_riders] hang_ups_max",
            "[gateway.free_riders] window",
            "[gateway] upstream_timeout",
            "[[prices]] 1 price",
            "[[prices]] 1 colour",
            "[[prices]] 2 quantity",
            "[[prices]] 2 settle",
            "[[prices]] 1 price",
            "typo",
        ];
        assert_eq!(complaints(text), expected);
        assert_eq!(complaints("[gateway]\n"), ["[gateway] upstream"]);
        assert_eq!(complaints("not toml"), ["the file"]);
    }
}
