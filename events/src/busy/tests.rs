//! Both ways of reading and writing, side by side.

use proptest::prelude::*;

use super::*;
use crate::envelope::Recorded;

/// Every kind of event, as old logs have them.
fn lines() -> Vec<Vec<u8>> {
    let logs = [
        include_bytes!("../../../tests/golden/log-1.ndjson").as_slice(),
        include_bytes!("../../../tests/golden/log-2.ndjson"),
        include_bytes!("../../../tests/golden/log-3.ndjson"),
    ];
    let lines = logs.into_iter().flat_map(|log| log.split(|byte| *byte == b'\n'));
    lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Reads an event both ways, and writes what was read both ways; how many were read the short way.
fn read_alike(bytes: &[u8]) -> usize {
    let Some(scanned) = Recorded::decode_busy(bytes) else {
        return 0;
    };
    let decoded = Recorded::decode_by_name(bytes).expect("what is scanned is an event");
    assert_eq!(scanned, decoded);
    assert_eq!(scanned.encode(), bytes, "what is scanned is canonical");
    written_alike(&decoded.event);
    1
}

/// Whether it was written the short way.
fn written_alike(event: &Event) -> bool {
    let (mut short, mut long) = (Vec::new(), Vec::new());
    let written = Busy::of(event).is_some_and(|busy| busy.write(&mut short));
    event.write_data(&mut long).unwrap();
    if written {
        assert_eq!(String::from_utf8(short), String::from_utf8(long));
    }
    written
}

#[test]
fn busy_events_are_read_and_written_without_a_detour_and_as_the_same() {
    let busy = |line: &&Vec<u8>| {
        let text = String::from_utf8_lossy(line);
        ["KeyUsed", "CreditsReserved", "CreditsCharged", "CreditsReleased"]
            .iter()
            .any(|name| text.contains(&format!("keyledger.{name}.v1")))
    };
    let lines = lines();
    let scanned: usize = lines.iter().map(|line| read_alike(line)).sum();
    assert!(scanned > 10);
    assert_eq!(scanned, lines.iter().filter(busy).count(), "all of them are plain");
}

fn part(grant: u128, micros: i64) -> GrantPart {
    GrantPart {
        grant: crate::GrantId::from_parts(1, grant),
        amount: Credits::from_micros(micros).unwrap(),
    }
}

proptest! {
    #[test]
    fn what_is_read_without_a_detour_is_canonical_whatever_was_changed(
        line in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), byte: u8,
        cut in any::<prop::sample::Index>(), slip in any::<bool>(),
    ) {
        let lines = lines();
        let mut bytes = line.get(&lines).clone();
        let place = place.index(bytes.len());
        if slip {
            bytes.insert(place, byte);
        } else {
            bytes[place] = byte;
        }
        read_alike(&bytes);
        bytes.remove(cut.index(bytes.len()));
        read_alike(&bytes);
    }

    /// Every member there and not there, every text plain and not.
    #[test]
    fn what_is_written_without_a_detour_is_what_serde_writes(
        user_agent in proptest::option::of("\\PC{0,12}|[ -~]{0,12}|[\0-\x1F\"\\\\]{1,3}|[ -~\x7F\u{85}\u{2028}]{1,4}"),
        request in proptest::option::of("[ -~]{0,12}"),
        network in proptest::option::of("[ -~]{0,12}"),
        bits in any::<u128>(), number in any::<u64>(), cause in 0..6_usize, left in 0..3_usize, flags in any::<[bool; 5]>(),
        micros in prop::collection::vec(-9_000_000_000_000_000_i64..=9_000_000_000_000_000, 6), parts in 0..4_usize,
        moment in 0..253_402_300_799_999_999_i64,
    ) {
        let [keyed, test, api, limit, once] = flags;
        let amount = |place: usize| Credits::from_micros(micros[place]).unwrap();
        let on_limit = |place| if limit { amount(place) } else { Credits::ZERO };
        let parts: Vec<GrantPart> = (0..parts).map(|place| part(bits ^ 7, micros[place])).collect();
        let endpoint = Endpoint::parse("ai_visibility-2.x").unwrap();
        let environment = if test { Environment::Test } else { Environment::Live };
        let reservation = ReservationId::from_parts(number % (1 << 48), bits);
        let key = KeyId::from_parts(7, bits);
        let at = Timestamp::from_micros(moment).unwrap();
        let client_left = [None, Some(ClientLeft::Early), Some(ClientLeft::NearEnd)][left];
        let work = PaidWork {
            key: keyed.then_some(key),
            channel: if api { Channel::Api } else { Channel::Dashboard },
            endpoint: endpoint.clone(),
            unit_price: amount(0),
            price_version: number,
            environment,
        };
        let plain = user_agent.as_ref().is_none_or(|text| !text.contains(|c: char| c < ' ' || c == '"' || c == '\\'));
        let used = KeyUsed {
            key,
            endpoint,
            reservation,
            request: request.map(|text| text.replace(['"', '\\'], "/")),
            network: network.map(|text| text.replace(['"', '\\'], "/")),
            user_agent,
            environment,
        };
        let held = CreditsReserved {
            reservation,
            work: work.clone(),
            quantity: number,
            amount: amount(1),
            from: parts.clone(),
            on_limit: on_limit(2),
            expires_at: at,
            once: once.then(|| OnceMark::from_bytes(bits.to_be_bytes())),
        };
        let charged = CreditsCharged {
            reservation,
            work: work.clone(),
            quantity: number,
            charged: amount(1),
            returned: amount(2),
            spent: parts.clone(),
            returned_to: parts.clone(),
            charged_on_limit: on_limit(3),
            returned_to_limit: on_limit(4),
            reserved_at: at,
            client_left,
        };
        let released = CreditsReleased {
            reservation,
            work,
            returned: amount(2),
            returned_to: parts,
            returned_to_limit: on_limit(4),
            cause: [
                ReleaseCause::Requested, ReleaseCause::Queued, ReleaseCause::Error,
                ReleaseCause::ClientGone, ReleaseCause::Expired, ReleaseCause::AccountClosed,
            ][cause],
            reserved_at: at,
            client_left,
        };
        prop_assert_eq!(written_alike(&used.into()), plain);
        prop_assert!(written_alike(&held.into()) && written_alike(&charged.into()) && written_alike(&released.into()));
    }
}
