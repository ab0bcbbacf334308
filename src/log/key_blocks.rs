//! Which events lead to a key: the first about it among each 32 of its account's. The log's index by key has those alone.
//!
//! Promise: what is told not to lead comes after another event of the key in its block, and the first of those leads. An event
//! that leads without need costs its place in the index and nothing else, so whoever begins in the middle of a block may forget
//! what was before.

use keyledger_events::{KeyId, Seq};

/// Events of an account whose `seq / 32` is the same: what migration 0034 calls a block.
pub const EVENTS_A_BLOCK: u64 = 32;

/// The keys of an account's present block, as far as its events were told.
#[derive(Debug, Clone, Default)]
pub struct KeysOfBlock {
    block: u64,
    keys: Vec<KeyId>,
}

impl KeysOfBlock {
    /// Notes the account's next event. Whether it is the first of its key here.
    pub fn leads(&mut self, seq: Seq, key: Option<KeyId>) -> bool {
        let block = seq.0 / EVENTS_A_BLOCK;
        if self.block != block {
            self.block = block;
            self.keys.clear();
        }
        let Some(key) = key else { return false };
        let leads = !self.keys.contains(&key);
        if leads {
            self.keys.push(key);
        }
        leads
    }

    /// Bytes that it takes, roughly.
    pub fn weight(&self) -> usize {
        self.keys.capacity() * size_of::<KeyId>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_of_a_key_among_each_32_leads() {
        let (one, other) = (KeyId::from_parts(1, 1), KeyId::from_parts(1, 2));
        let mut block = KeysOfBlock::default();
        let led: Vec<u64> = (1..100).filter(|seq| block.leads(Seq(*seq), Some(one))).collect();
        assert_eq!(led, [1, 32, 64, 96]);
        assert!(!block.leads(Seq(100), None));
        assert!(block.leads(Seq(101), Some(other)));
        assert!(!block.leads(Seq(102), Some(one)));
        assert!(block.leads(Seq(128), Some(other)));
        assert!(
            KeysOfBlock::default().leads(Seq(130), Some(other)),
            "who does not know lets it lead"
        );
    }
}
