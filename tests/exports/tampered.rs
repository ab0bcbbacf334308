//! What can be done to a file, and that both verifiers name the same first bad position.

use keyledger::audit::file::{Scope, Tile};
use keyledger::audit::note::SignerKey;
use keyledger::audit::sealer::Signers;
use keyledger_events::{Recorded, Shard, leaf_hash};

use super::both::{judge, judge_by_script, judge_lines};
use super::forged::{Forger, NAME, ended, right_key, signers};

const TAMPERED: i32 = 1;
const CANNOT_TELL: i32 = 2;

/// Requests, until the log has three tiles.
fn log() -> Vec<Vec<u8>> {
    super::makings::many_requests(200)
}

type Lines = Vec<Vec<u8>>;

/// Where in the lines of a whole shard an event stands.
fn line_of(lines: &Lines, position: u64) -> usize {
    let mark = format!("\"position\":{position},");
    let has = |line: &Vec<u8>| {
        line.starts_with(b"{\"specversion\"") && line.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    lines.iter().position(has).unwrap()
}

fn without_end(lines: &Lines) -> Lines {
    lines[..lines.len() - 1].to_vec()
}

fn replace(line: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(line.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    *line = text.replacen(from, to, 1).into_bytes();
}

/// The tile's line that says what is said of an event, with another leaf.
fn forge_tile(lines: &mut Lines, position: u64) {
    let event = lines[line_of(lines, position)].clone();
    let index = (position - 1) / 256;
    let place = lines
        .iter()
        .position(|line| line.starts_with(format!("{{\"keyledger\":\"tile\",\"index\":{index},").as_bytes()))
        .unwrap();
    let tile: Tile = serde_json::from_slice(&lines[place]).unwrap();
    let mut leaves = tile.leaves().to_vec();
    leaves[usize::try_from((position - 1) % 256).unwrap()] = leaf_hash(&event);
    lines[place] = serde_json::to_vec(&Tile::new(index, leaves, &tile.path(), None)).unwrap();
}

#[test]
fn whatever_is_done_to_a_file_both_verifiers_name_the_same_place() {
    let (events, signers) = (log(), signers());
    let forger = Forger {
        events: &events,
        signers: &signers,
    };
    let good = forger.shard();
    let last = events.len() as u64;
    assert!(last > 600);
    assert_eq!(judge_lines(&good, &right_key()).code, 0);

    type Tamper = Box<dyn Fn(&Lines) -> Lines>;
    let case = |name: &'static str, code: i32, position: Option<u64>, tamper: Tamper| (name, code, position, tamper);
    let cases = [
        case(
            "one byte of an event",
            TAMPERED,
            Some(300),
            Box::new(|good| {
                let mut lines = good.clone();
                let place = line_of(&lines, 300);
                replace(&mut lines[place], "\"serp\"", "\"serq\"");
                ended(without_end(&lines))
            }),
        ),
        case(
            "an event's first byte",
            TAMPERED,
            Some(301),
            Box::new(|good| {
                let mut lines = good.clone();
                let place = line_of(&lines, 301);
                lines[place][0] = b'[';
                lines
            }),
        ),
        case(
            "a line deleted",
            TAMPERED,
            Some(257),
            Box::new(|good| {
                let mut lines = without_end(good);
                lines.remove(line_of(good, 257));
                ended(lines)
            }),
        ),
        case(
            "the last line of a tile deleted",
            TAMPERED,
            Some(256),
            Box::new(|good| {
                let mut lines = without_end(good);
                lines.remove(line_of(good, 256));
                ended(lines)
            }),
        ),
        case(
            "two lines swapped",
            TAMPERED,
            Some(400),
            Box::new(|good| {
                let mut lines = good.clone();
                lines.swap(line_of(good, 400), line_of(good, 401));
                lines
            }),
        ),
        case(
            "a line twice",
            TAMPERED,
            Some(12),
            Box::new(|good| {
                let mut lines = without_end(good);
                let place = line_of(good, 11);
                lines.insert(place, lines[place].clone());
                ended(lines)
            }),
        ),
        case(
            "a line slipped in",
            TAMPERED,
            Some(512),
            Box::new(|good| {
                let mut lines = without_end(good);
                let place = line_of(good, 512);
                let mut event = Recorded::decode(&lines[place]).unwrap();
                event.id = keyledger_events::EventId::from_parts(1, 1);
                lines.insert(place, event.encode());
                ended(lines)
            }),
        ),
        case(
            "the tail cut off, and a last line put under it",
            TAMPERED,
            Some(500),
            Box::new(|good| ended(good[..line_of(good, 500)].to_vec())),
        ),
        case(
            "the tail cut off at the end of a tile",
            TAMPERED,
            Some(513),
            Box::new(|good| ended(good[..line_of(good, 513) - 1].to_vec())),
        ),
        case(
            "an event changed, and its leaf in the tile with it",
            TAMPERED,
            Some(257),
            Box::new(|good| {
                let mut lines = without_end(good);
                let place = line_of(good, 300);
                replace(&mut lines[place], "\"serp\"", "\"serq\"");
                forge_tile(&mut lines, 300);
                ended(lines)
            }),
        ),
        case(
            "a tile's line gone",
            TAMPERED,
            Some(257),
            Box::new(|good| {
                let mut lines = without_end(good);
                lines.remove(line_of(good, 257) - 1);
                ended(lines)
            }),
        ),
        case(
            "a tile gone with its events",
            TAMPERED,
            Some(257),
            Box::new(|good| {
                let mut lines = without_end(good);
                lines.drain(line_of(good, 257) - 1..line_of(good, 513) - 1);
                ended(lines)
            }),
        ),
        case("no last line", CANNOT_TELL, None, Box::new(without_end)),
        case(
            "a last line that counts too many",
            TAMPERED,
            None,
            Box::new(|good| {
                let mut lines = good.clone();
                let end = lines.len() - 1;
                let said = format!("\"events\":{}", end - 4);
                replace(&mut lines[end], &said, "\"events\":9999");
                lines
            }),
        ),
        case(
            "another time of making",
            TAMPERED,
            None,
            Box::new(|good| {
                let mut lines = good.clone();
                replace(&mut lines[0], "1970-01-01", "1970-01-02");
                lines
            }),
        ),
        case(
            "something behind the last line",
            CANNOT_TELL,
            None,
            Box::new(|good| {
                let mut lines = good.clone();
                lines.push(lines[line_of(good, 1)].clone());
                lines
            }),
        ),
        case(
            "a first line of another format",
            CANNOT_TELL,
            None,
            Box::new(|good| {
                let mut lines = good.clone();
                replace(&mut lines[0], "export/1", "export/2");
                lines
            }),
        ),
        case(
            "a checkpoint of another size",
            TAMPERED,
            None,
            Box::new(move |good| {
                let mut lines = good.clone();
                replace(&mut lines[0], &format!("\\n{last}\\n"), &format!("\\n{}\\n", last + 1));
                lines
            }),
        ),
        case(
            "another log's name",
            TAMPERED,
            None,
            Box::new(|good| {
                let mut lines = good.clone();
                replace(
                    &mut lines[0],
                    "\"origin\":\"ledger.example/0\"",
                    "\"origin\":\"ledger.example/1\"",
                );
                lines
            }),
        ),
        case(
            "a line of a kind that is not known",
            CANNOT_TELL,
            None,
            Box::new(|good| {
                let mut lines = good.clone();
                lines.insert(1, b"{\"keyledger\":\"more\"}".to_vec());
                lines
            }),
        ),
        case("no lines at all", CANNOT_TELL, None, Box::new(|_| vec![Vec::new()])),
    ];
    for (name, code, position, tamper) in cases {
        let said = judge_lines(&tamper(&good), &right_key());
        assert_eq!((said.code, said.position), (code, position), "{name}: {}", said.told);
    }
}

#[test]
fn a_file_that_was_cut_anywhere_is_incomplete_and_never_good() {
    let (events, signers) = (log(), signers());
    let forger = Forger {
        events: &events,
        signers: &signers,
    };
    let good = forger.range(250, 270);
    let whole = good.join(&b'\n');
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cut");
    for part in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 1, whole.len()] {
        std::fs::write(&file, &whole[..part]).unwrap();
        let said = judge(&file, &right_key());
        assert_eq!(said.code, CANNOT_TELL, "{part} of {}: {}", whole.len(), said.told);
    }
    assert_eq!(judge_by_script(&file, &right_key()).code, CANNOT_TELL);
    let mut changed = [whole, b"\n".to_vec()].concat();
    let place = changed.windows(6).position(|part| part == b"\"serp\"").unwrap();
    changed[place + 1] = b'S';
    std::fs::write(&file, changed).unwrap();
    let said = judge_by_script(&file, &right_key());
    assert_eq!((said.code, &said), (TAMPERED, &judge(&file, &right_key())));
}

#[test]
fn another_key_s_signature_is_none() {
    let events = log();
    let other = SignerKey::from_seed(NAME, [8; 32]).unwrap();
    let other = Signers::new(&[other], Shard(0)).unwrap();
    let forger = Forger {
        events: &events,
        signers: &other,
    };
    let said = judge_lines(&forger.shard(), &right_key());
    assert_eq!((said.code, said.position), (TAMPERED, None), "{}", said.told);
    // After a rotation both are given.
    let both = [right_key(), vec!["--key".to_owned(), other.verifiers()[0].to_string()]].concat();
    assert_eq!(judge_lines(&forger.shard(), &both).code, 0);
    // A witness that has not signed.
    let witness = SignerKey::from_seed("witness.example", [9; 32]).unwrap();
    let with = [
        both,
        vec!["--witness".to_owned(), witness.witness_verifier().to_string()],
    ]
    .concat();
    assert_eq!(judge_lines(&forger.shard(), &with).code, CANNOT_TELL);
}

#[test]
fn of_an_account_no_event_can_be_changed_left_out_or_slipped_in() {
    let (events, signers) = (log(), signers());
    let forger = Forger {
        events: &events,
        signers: &signers,
    };
    let account = Recorded::decode(&events[0]).unwrap().account;
    let positions: Vec<u64> = (1..=30).collect();
    let good = forger.proven(Scope::Account { account }, &positions);
    assert_eq!(judge_lines(&good, &right_key()).code, 0);
    let said = |lines: Lines| {
        let said = judge_lines(&ended(lines), &right_key());
        (said.code, said.position)
    };
    let mut changed = without_end(&good);
    let place = line_of(&changed, 9);
    replace(&mut changed[place], "\"serp\"", "\"serq\"");
    assert_eq!(said(changed), (TAMPERED, Some(9)));
    let mut left_out = without_end(&good);
    left_out.drain(place - 1..=place);
    assert_eq!(said(left_out), (TAMPERED, Some(10)), "by its seq");
    let mut bare = without_end(&good);
    bare.remove(place);
    assert_eq!(said(bare), (TAMPERED, Some(9)), "a proof of nothing");
    let mut unproven = without_end(&good);
    unproven.remove(place - 1);
    assert_eq!(said(unproven), (TAMPERED, None), "an event without a proof");
    let beginning = without_end(&good)[3..].to_vec();
    let mut headless = vec![good[0].clone()];
    headless.extend(beginning);
    assert_eq!(said(headless), (TAMPERED, Some(1)), "the head says where it begins");
    let ending = without_end(&good)[..good.len() - 3].to_vec();
    assert_eq!(said(ending), (TAMPERED, Some(30)), "and where it ends");
    // Another account's event, rightly proven.
    let other = Scope::Account {
        account: keyledger_events::AccountId::from_parts(1, 1),
    };
    assert_eq!(
        judge_lines(&forger.proven(other, &positions), &right_key()).position,
        Some(1)
    );
}
