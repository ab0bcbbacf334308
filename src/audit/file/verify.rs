//! Verifies a file: one thread reads and hashes, another one enters what was hashed; or one does both.

use std::io::Read;
use std::ops::Range;
use std::sync::mpsc;

use super::books::{About, Books};
pub use super::chain::Asked;
use super::chain::{self, Chain, Line};
use super::fact::Desk;
use super::lines::Scope;
use super::lot::{Lot, Lots};
use super::{Fault, Told};

/// What is so of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Good(Box<Told>),
    Bad(Fault),
}

/// Lots that wait to be entered.
const LOTS_AHEAD: usize = 4;

/// Events whose bytes are those that were signed, and what ended them.
struct Proven {
    bytes: Vec<u8>,
    events: Vec<(Range<usize>, u64, bool)>,
    fault: Option<Fault>,
}

/// Verifies a file. `threads`: whether hashing and entering go on at the same time. `progress` is told how many bytes were
/// read.
pub fn verify(file: impl Read + Send, asked: &Asked, threads: bool, progress: impl Fn(u64) + Sync) -> Verdict {
    match verified(file, asked, threads, progress) {
        Ok(told) => Verdict::Good(Box::new(told)),
        Err(fault) => Verdict::Bad(fault),
    }
}

fn verified(
    file: impl Read + Send,
    asked: &Asked,
    threads: bool,
    progress: impl Fn(u64) + Sync,
) -> Result<Told, Fault> {
    let mut lots = Lots::of(file);
    let mut first = lots.next()?.ok_or_else(|| Fault::unknown("the file is empty"))?;
    let head = first.lines.remove(0);
    let mut chain = chain::begin(first.bytes.get(head).unwrap_or_default(), asked)?;
    let mut books = Books::open(about(&chain), u64::from(chain.head.shard));
    let mut desk = Desk::default();
    let hash = |lot: Lot, chain: &mut Chain| proven(chain, lot);
    if threads {
        std::thread::scope(|scope| {
            let (send, proven) = mpsc::sync_channel::<Proven>(LOTS_AHEAD);
            let (chain, lots, progress) = (&mut chain, &mut lots, &progress);
            scope.spawn(move || {
                let mut next = Ok(Some(first));
                loop {
                    let (last, proven) = match next {
                        Ok(Some(lot)) => {
                            let proven = hash(lot, chain);
                            (proven.fault.is_some(), proven)
                        }
                        Ok(None) => return,
                        Err(fault) => (true, Proven::only(fault)),
                    };
                    progress(lots.read);
                    if send.send(proven).is_err() || last {
                        return;
                    }
                    next = lots.next();
                }
            });
            for proven in proven {
                enter(&mut books, &mut desk, proven)?;
            }
            Ok(())
        })?;
    } else {
        let mut next = Some(first);
        while let Some(lot) = next {
            enter(&mut books, &mut desk, hash(lot, &mut chain))?;
            progress(lots.read);
            next = lots.next()?;
        }
    }
    chain.close()?;
    Ok(Told::of(&chain, &books))
}

fn about(chain: &Chain) -> About {
    match chain.head.scope {
        Scope::Shard { .. } => About::Shard {
            from_the_first: chain.head.first == 1,
        },
        Scope::Account { account } => About::Account(account),
        Scope::Key { account, key } => About::Key(account, key),
    }
}

impl Proven {
    fn only(fault: Fault) -> Proven {
        Proven {
            bytes: Vec::new(),
            events: Vec::new(),
            fault: Some(fault),
        }
    }
}

fn proven(chain: &mut Chain, lot: Lot) -> Proven {
    let Lot { bytes, lines } = lot;
    let mut events = Vec::with_capacity(lines.len());
    let mut fault = None;
    for range in lines {
        match chain.take(bytes.get(range.clone()).unwrap_or_default()) {
            Ok(Line::Event { position, for_prices }) => events.push((range, position, for_prices)),
            Ok(Line::Ours | Line::End) => {}
            Err(found) => {
                fault = Some(found);
                break;
            }
        }
    }
    Proven { bytes, events, fault }
}

fn enter(books: &mut Books, desk: &mut Desk, proven: Proven) -> Result<(), Fault> {
    for (range, position, for_prices) in proven.events {
        let bytes = proven.bytes.get(range).unwrap_or_default();
        let entry = desk.read(bytes).map_err(|error| {
            if let keyledger_events::DecodeError::UnknownType { type_name } = error {
                Fault {
                    tampered: false,
                    position: Some(position),
                    why: format!("an event of a type that is not known, {type_name}"),
                }
            } else {
                Fault::at(position, format!("its bytes are not canonical: {error}"))
            }
        })?;
        if entry.position != position {
            return Err(Fault::at(position, "the event says that it stands elsewhere"));
        }
        let entered = if for_prices {
            books.enter_prices(&entry)
        } else {
            books.enter(&entry)
        };
        entered.map_err(|why| Fault::at(position, why))?;
    }
    proven.fault.map_or(Ok(()), Err)
}
