//! A statement in the bytes of some format, piece by piece, as they are read.

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};

use super::{Line, Statement, StatementError};

/// How a statement is written.
pub trait Format: Send + 'static {
    /// What stands before the lines.
    fn head(&mut self, statement: &Statement) -> Result<Vec<u8>, StatementError>;
    /// The next lines.
    fn lines(&mut self, statement: &Statement, lines: &[Line]) -> Result<Vec<u8>, StatementError>;
    /// What stands after them.
    fn end(&mut self, statement: &Statement) -> Result<Vec<u8>, StatementError>;
}

/// The statement could not be read on. The reason is written down where it was met.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the statement could not be read to its end")]
pub struct BrokenOff;

/// A statement that is written, and whether its end is.
struct Writing<F> {
    statement: Statement,
    format: F,
    ended: bool,
}

impl<F: Format> Writing<F> {
    /// The next bytes. `None`: there are no more.
    async fn next(&mut self) -> Result<Option<Bytes>, StatementError> {
        while !self.ended {
            let bytes = match self.statement.next().await? {
                Some(lines) => self.format.lines(&self.statement, &lines)?,
                None => {
                    self.ended = true;
                    self.format.end(&self.statement)?
                }
            };
            // Lines that are left out, or gathered for later, are no piece.
            if !bytes.is_empty() {
                return Ok(Some(bytes.into()));
            }
        }
        Ok(None)
    }
}

/// Writes a statement. What is wrong at its beginning is said before anything is written; what breaks later breaks the
/// bytes off, so that half a statement never looks whole.
pub async fn pieces<F: Format>(
    statement: Statement,
    format: F,
) -> Result<impl Stream<Item = Result<Bytes, BrokenOff>> + Send + 'static, StatementError> {
    let mut writing = Writing {
        statement,
        format,
        ended: false,
    };
    let head = writing.format.head(&writing.statement)?;
    let first = writing.next().await?.unwrap_or_default();
    let first: Bytes = [head, first.into()].concat().into();
    let rest = stream::try_unfold(writing, |mut writing| async move {
        match writing.next().await {
            Ok(Some(bytes)) => Ok(Some((bytes, writing))),
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::warn!(%error, account = %writing.statement.account(), "a statement was broken off");
                Err(BrokenOff)
            }
        }
    });
    Ok(stream::once(async move { Ok(first) }).chain(rest))
}
