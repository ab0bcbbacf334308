//! Published books: entries as the log has them, and back.

use keyledger_events::{PublishedPrice, PublishedQuantity};

use super::{Complaint, PriceBook, PriceEntry, QuantityEntry, SettleAt};

/// Far longer than the names that a config file may give.
const UPSTREAM_BYTES_MAX: usize = 256;

/// Makes a book of what the log says, or says what this version cannot read of it.
pub fn read_published(prices: &[PublishedPrice], version: u64) -> Result<PriceBook, Vec<Complaint>> {
    let entries = prices.iter().enumerate().map(|(index, price)| entry(index + 1, price));
    let entries: Vec<PriceEntry> = entries
        .collect::<Result<_, Complaint>>()
        .map_err(|complaint| vec![complaint])?;
    PriceBook::new(&entries, version)
}

/// Checks entries and writes them as the log shall have them, or says all that is wrong with them.
pub fn publishable(entries: &[PriceEntry]) -> Result<Vec<PublishedPrice>, Vec<Complaint>> {
    let book = PriceBook::new(entries, 0)?;
    let faults = entries
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| unfit(index + 1, entry));
    let faults: Vec<Complaint> = faults.collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let checked = entries.iter().zip(book.rules());
    Ok(checked
        .map(|(entry, rule)| PublishedPrice {
            endpoint: rule.endpoint.clone(),
            pattern: entry.pattern.clone(),
            price: rule.price,
            unit: rule.unit.clone(),
            quantity: match &entry.quantity {
                QuantityEntry::Fixed => None,
                QuantityEntry::Header(name) => Some(PublishedQuantity::Header(name.clone())),
                QuantityEntry::Json(pointer) => Some(PublishedQuantity::Json(pointer.clone())),
            },
            quantity_max: entry.quantity_max,
            when_more: entry.when_more.clone(),
            once_per: entry.once_per.clone(),
            rate_per_second: entry.rate_per_second,
            rate_burst: entry.rate_burst,
            settle: (entry.settle != SettleAt::default()).then(|| entry.settle.as_str().to_owned()),
            upstream: entry.upstream.clone(),
        })
        .collect())
}

/// What may stand in a book that was published once, and not in a new one: the log keeps it for ever, and Postgres reads no event as
/// JSON that has a NUL.
fn unfit(number: usize, entry: &PriceEntry) -> Option<Complaint> {
    let has_controls = |text: &str| text.chars().any(char::is_control);
    let (field, what) = match (&entry.quantity, &entry.upstream) {
        (QuantityEntry::Json(pointer), _) if has_controls(pointer) => ("quantity", "has control characters"),
        (_, Some(upstream)) if has_controls(upstream) || upstream.len() > UPSTREAM_BYTES_MAX => {
            ("upstream", "is the name of no upstream")
        }
        _ => return None,
    };
    Some(Complaint {
        entry: number,
        field,
        what: what.to_owned(),
    })
}

fn entry(number: usize, price: &PublishedPrice) -> Result<PriceEntry, Complaint> {
    let settle = price
        .settle
        .as_deref()
        .map_or(Some(SettleAt::default()), SettleAt::parse);
    Ok(PriceEntry {
        endpoint: price.endpoint.as_str().to_owned(),
        pattern: price.pattern.clone(),
        price: price.price.to_string(),
        unit: price.unit.clone(),
        quantity: match &price.quantity {
            None => QuantityEntry::Fixed,
            Some(PublishedQuantity::Header(name)) => QuantityEntry::Header(name.clone()),
            Some(PublishedQuantity::Json(pointer)) => QuantityEntry::Json(pointer.clone()),
        },
        quantity_max: price.quantity_max,
        upstream: price.upstream.clone(),
        when_more: price.when_more.clone(),
        once_per: price.once_per.clone(),
        rate_per_second: price.rate_per_second,
        rate_burst: price.rate_burst,
        settle: settle.ok_or_else(|| Complaint {
            entry: number,
            field: "settle",
            what: "is \"at-once\" or \"later\"".to_owned(),
        })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_the_same_after_it_was_published() {
        let entries = [
            PriceEntry {
                endpoint: "ai_visibility".into(),
                pattern: "GET /ai-visibility/{*rest}".into(),
                price: "0.50".into(),
                unit: "conversation".into(),
                quantity: QuantityEntry::Json("/conversations".into()),
                quantity_max: Some(50),
                when_more: Some("top-up".into()),
                once_per: Some("path".into()),
                rate_per_second: Some(10),
                rate_burst: Some(20),
                upstream: Some("slow".into()),
                settle: SettleAt::Later,
            },
            PriceEntry {
                endpoint: "serp".into(),
                pattern: "ANY /serp".into(),
                price: "1".into(),
                unit: "request".into(),
                settle: SettleAt::AtOnce,
                ..PriceEntry::default()
            },
        ];
        let published = publishable(&entries).unwrap();
        let read = read_published(&published, 3).unwrap();
        assert_eq!(read, PriceBook::new(&entries, 3).unwrap());
        assert_eq!(read.rules().map(|rule| rule.version).collect::<Vec<_>>(), [3, 3]);
    }
}
