//! A journal that is torn, damaged, shared and full of what is over.

use keyledger_events::{AccountId, ClientLeft, ReleaseCause, Timestamp};

use super::*;
use crate::gateway::hold::Settlement;
use crate::prices::WhenMore;

fn kept(number: u128) -> Kept {
    Kept {
        account: AccountId::from_parts(1, 7),
        reservation: ReservationId::from_parts(1, number),
        settlement: if number.is_multiple_of(2) {
            Settlement::Release(ReleaseCause::ClientGone)
        } else {
            Settlement::Charge { quantity: 3, more: 0 }
        },
        when_more: WhenMore::default(),
        expires_at: Timestamp::MAX,
        client_left: number.is_multiple_of(4).then_some(ClientLeft::NearEnd),
    }
}

/// Opens, once the thread of a journal that was dropped has let go.
fn open_again(directory: &Path) -> (Journal, Vec<Kept>) {
    for _ in 0..200 {
        match Journal::open(directory) {
            Ok(opened) => return opened,
            Err(JournalError::Taken(_)) => std::thread::sleep(std::time::Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the directory stays taken");
}

#[tokio::test]
async fn what_was_kept_and_is_not_over_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, left) = Journal::open(directory.path()).unwrap();
    assert!(left.is_empty());
    for number in 0..5 {
        assert!(journal.keep(kept(number)).await);
    }
    journal.over(kept(1).reservation);
    journal.over(kept(3).reservation);
    assert!(matches!(Journal::open(directory.path()), Err(JournalError::Taken(_))));
    drop(journal);
    let (journal, left) = open_again(directory.path());
    assert_eq!(left, [kept(0), kept(2), kept(4)]);
    for left in left {
        journal.over(left.reservation);
    }
    drop(journal);
    let (_, left) = open_again(directory.path());
    assert!(left.is_empty());
}

#[tokio::test]
async fn a_file_of_what_is_over_becomes_small_again() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let mut keeping = Vec::new();
    for number in 0..10_000 {
        keeping.push(journal.keep(kept(number)));
    }
    assert!(
        futures_util::future::join_all(keeping)
            .await
            .into_iter()
            .all(|written| written)
    );
    let size = || std::fs::metadata(directory.path().join(FILE)).unwrap().len();
    assert!(size() > COMPACT_BYTES);
    for number in 1..10_000 {
        journal.over(kept(number).reservation);
    }
    assert!(journal.keep(kept(10_001)).await);
    assert!(size() < COMPACT_BYTES, "{}", size());
    drop(journal);
    assert_eq!(open_again(directory.path()).1, [kept(0), kept(10_001)]);
}

/// At every byte: what comes back is what was whole, and nothing that was never written.
#[test]
fn a_torn_journal_costs_its_last_line_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let lines: Vec<Vec<u8>> = (0..4)
        .map(|number| journal_line::write(&Line::Kept(kept(number))))
        .collect();
    let bytes = lines.concat();
    for at in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..at]).unwrap();
        let whole = lines
            .iter()
            .scan(0, |end, line| {
                *end += line.len();
                Some(*end)
            })
            .filter(|end| *end <= at)
            .count();
        let back: Vec<Kept> = read(&path).unwrap().into_values().collect();
        let expected: Vec<Kept> = (0..4).take(whole).map(kept).collect();
        assert_eq!(back, expected, "torn at byte {at}");
    }
}

#[tokio::test]
async fn a_torn_line_does_not_swallow_the_next_record() {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = journal_line::write(&Line::Kept(kept(0)));
    bytes.extend_from_slice(&journal_line::write(&Line::Kept(kept(1)))[..40]);
    std::fs::write(directory.path().join(FILE), bytes).unwrap();
    let (journal, left) = Journal::open(directory.path()).unwrap();
    assert_eq!(left, [kept(0)]);
    assert!(journal.keep(kept(2)).await);
    drop(journal);
    assert_eq!(open_again(directory.path()).1, [kept(0), kept(2)]);
}

/// At every byte, turned into another one: the line that was hit is gone, the others are there, none is changed.
#[test]
fn a_damaged_byte_costs_the_lines_that_it_hit_and_changes_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let bytes: Vec<u8> = (0..3)
        .flat_map(|number| journal_line::write(&Line::Kept(kept(number))))
        .collect();
    for at in 0..bytes.len() {
        for other in [b'\n', b'0', 0xFF, bytes[at] ^ 1] {
            let mut damaged = bytes.clone();
            damaged[at] = other;
            std::fs::write(&path, &damaged).unwrap();
            let back: Vec<Kept> = read(&path).unwrap().into_values().collect();
            assert!(back.iter().all(|one| (0..3).map(kept).any(|written| written == *one)));
            assert!(!back.is_empty(), "one byte hits two lines at most");
        }
    }
}
