//! Where an account's or a key's archived events begin and end between two positions, and whose key it is.

use keyledger_events::{AccountId, KeyId, Position, Seq};
use uuid::Uuid;

use super::{SEGMENTS_AT_ONCE, segment_columns};
use crate::archive::{Index, Segment};
use crate::log::{Log, ReadError, bigint, in_time};

/// Whose events.
#[derive(Debug, Clone, Copy)]
pub(in crate::log) enum Whose {
    Account(AccountId),
    Key(KeyId),
}

impl Whose {
    fn in_segment(self, index: &Index) -> &[u32] {
        match self {
            Whose::Account(account) => index.of_account(account),
            Whose::Key(key) => index.of_key(key),
        }
    }
}

/// Segments `s` that have something of an account or a key and lie between two positions.
macro_rules! segments_between {
    ($entries:literal, $id:literal, $order:literal) => {
        concat!(
            "select ",
            segment_columns!(),
            " from ",
            $entries,
            " e join archive_segments s on s.shard = e.shard and s.number = e.number
             where e.shard = $1 and e.",
            $id,
            " = $2 and s.last >= $3 and s.first <= $4 order by e.number ",
            $order,
            " limit $5"
        )
    };
}

impl Log {
    /// Their first archived position from `first` on and their last one up to `last`, where they have any in between.
    pub(in crate::log) async fn archived_ends(
        &self,
        whose: Whose,
        first: Position,
        last: Position,
    ) -> Result<Option<(Position, Position)>, ReadError> {
        let between = first..=last;
        let mut ends = None;
        let mut from = first;
        'first: loop {
            let segments = self.segments_between(whose, from, last, false).await?;
            for segment in &segments {
                let index = self.archive.index(segment).await?;
                let mut positions = whose
                    .in_segment(&index)
                    .iter()
                    .map(|number| segment.position_of(*number));
                if let Some(found) = positions.find(|position| between.contains(position)) {
                    ends = Some(found);
                    break 'first;
                }
                from = segment.last.next();
            }
            if segments.is_empty() {
                break;
            }
        }
        let Some(found) = ends else { return Ok(None) };
        let (_, at) = self
            .archived_up_to(whose, found, last)
            .await?
            .unwrap_or((Seq::START, found));
        Ok(Some((found, at)))
    }

    /// Their last archived event from `first` on and up to `last`: its number in its account's history, and its position.
    pub(in crate::log) async fn archived_up_to(
        &self,
        whose: Whose,
        first: Position,
        last: Position,
    ) -> Result<Option<(Seq, Position)>, ReadError> {
        let between = first..=last;
        let mut to = last;
        loop {
            let segments = self.segments_between(whose, first, to, true).await?;
            for segment in &segments {
                let index = self.archive.index(segment).await?;
                let mut numbers = whose.in_segment(&index).iter().rev();
                let found = numbers.find(|number| between.contains(&segment.position_of(**number)));
                if let Some(number) = found {
                    let seq = index.seq_of(*number).ok_or(ReadError::Corrupt {
                        what: "a segment's index",
                    })?;
                    return Ok(Some((seq, segment.position_of(*number))));
                }
                to = Position(segment.first.0.saturating_sub(1));
            }
            if segments.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Whose an archived key is.
    pub(in crate::log) async fn archived_account_of_key(&self, key: KeyId) -> Result<Option<AccountId>, ReadError> {
        let all = (Position::START, Position(u64::MAX));
        let segments = self.segments_between(Whose::Key(key), all.0, all.1, false).await?;
        let Some(segment) = segments.first() else {
            return Ok(None);
        };
        let index = self.archive.index(segment).await?;
        let number = index.of_key(key).first();
        Ok(number.and_then(|number| index.account_of(*number)))
    }

    async fn segments_between(
        &self,
        whose: Whose,
        first: Position,
        last: Position,
        newest_first: bool,
    ) -> Result<Vec<Segment>, ReadError> {
        let (statement, id) = match (whose, newest_first) {
            (Whose::Account(account), false) => (
                segments_between!("archive_accounts", "account_id", ""),
                account.to_bytes(),
            ),
            (Whose::Account(account), true) => (
                segments_between!("archive_accounts", "account_id", "desc"),
                account.to_bytes(),
            ),
            (Whose::Key(key), false) => (segments_between!("archive_keys", "key_id", ""), key.to_bytes()),
            (Whose::Key(key), true) => (segments_between!("archive_keys", "key_id", "desc"), key.to_bytes()),
        };
        in_time(async {
            let rows = sqlx::query(statement)
                .bind(self.shard_column())
                .bind(Uuid::from_bytes(id))
                .bind(bigint(first.0))
                .bind(bigint(last.0))
                .bind(SEGMENTS_AT_ONCE)
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(|row| self.segment(row)).collect()
        })
        .await
    }
}
