//! Lines out of a body, as it arrives.

use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;

use crate::http::problems;
use crate::problem::Problem;

/// A line, without its end.
#[derive(Debug)]
pub(super) enum Line {
    Whole(Bytes),
    /// Longer than may be. What is left of it is passed over.
    TooLong,
    /// The body does not go on.
    Broken(Problem),
}

/// A body that is read as far as its next line.
#[derive(Debug)]
pub(super) struct Lines {
    body: Body,
    read: BytesMut,
    /// Of `read`: no line ends before here.
    looked_at: usize,
    /// Within a line that is too long and was told of.
    passing_over: bool,
    ended: bool,
    bytes_max: usize,
}

/// A client that has not sent more by then is gone, or holds the connection on purpose.
const PIECE_SECONDS_MAX: u64 = 15;

impl Lines {
    pub(super) fn new(body: Body, bytes_max: usize) -> Lines {
        Lines {
            body,
            read: BytesMut::new(),
            looked_at: 0,
            passing_over: false,
            ended: false,
            bytes_max,
        }
    }

    /// The next line; the last one may lack its end. When the future is dropped, nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.in_memory() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            let piece = tokio::time::timeout(Duration::from_secs(PIECE_SECONDS_MAX), self.body.frame()).await;
            match piece {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Ok(None) => self.ended = true,
                Ok(Some(Err(_))) => return self.broken(problems::invalid_json()),
                Err(_) => return self.broken(problems::body_too_slow()),
            }
        }
    }

    fn broken(&mut self, problem: Problem) -> Option<Line> {
        self.ended = true;
        self.read.clear();
        Some(Line::Broken(problem))
    }

    /// A line that is here already.
    fn in_memory(&mut self) -> Option<Line> {
        loop {
            let rest = self.read.get(self.looked_at..).unwrap_or_default();
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.looked_at = self.read.len();
                return self.without_end();
            };
            let length = self.looked_at + end;
            let mut line = self.read.split_to(length);
            self.read.advance(1);
            self.looked_at = 0;
            if std::mem::take(&mut self.passing_over) {
                continue;
            }
            if line.last() == Some(&b'\r') {
                line.truncate(length - 1);
            }
            return Some(if line.len() > self.bytes_max {
                Line::TooLong
            } else {
                Line::Whole(line.freeze())
            });
        }
    }

    /// What there is of a line whose end is not here.
    fn without_end(&mut self) -> Option<Line> {
        if self.read.len() > self.bytes_max || self.passing_over {
            self.read.clear();
            self.looked_at = 0;
            let told = std::mem::replace(&mut self.passing_over, true);
            return (!told).then_some(Line::TooLong);
        }
        let last = self.ended && !self.read.is_empty();
        last.then(|| {
            self.looked_at = 0;
            Line::Whole(self.read.split().freeze())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    async fn lines(pieces: &[&'static str]) -> Vec<String> {
        let pieces: Vec<Result<&'static str, Infallible>> = pieces.iter().map(|piece| Ok(*piece)).collect();
        let mut lines = Lines::new(Body::from_stream(stream::iter(pieces)), 5);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await {
            read.push(match line {
                Line::Whole(text) => String::from_utf8(text.to_vec()).unwrap(),
                Line::TooLong => "too long".to_owned(),
                Line::Broken(problem) => problem.detail,
            });
        }
        read
    }

    #[tokio::test]
    async fn a_body_is_read_line_by_line_however_it_is_cut() {
        assert_eq!(lines(&["a\nb\n"]).await, ["a", "b"]);
        assert_eq!(lines(&["a\nb"]).await, ["a", "b"]);
        assert_eq!(lines(&["a", "a\r", "\n", "\n", "b\n\n"]).await, ["aa", "", "b", ""]);
        assert!(lines(&[]).await.is_empty());
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_of_once_and_passed_over() {
        assert_eq!(lines(&["12345\n123456\n1\n"]).await, ["12345", "too long", "1"]);
        assert_eq!(lines(&["123456", "789", "0\n1\n"]).await, ["too long", "1"]);
        assert_eq!(lines(&["1234567"]).await, ["too long"]);
    }
}
