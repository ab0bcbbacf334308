//! The log as public tools read it: a checkpoint, hash tiles, and bundles of events. C2SP `tlog-tiles`.
//!
//! Below `/tlog/<shard>/`: `checkpoint`, `tile/<level>/<index>[.p/<width>]`, `tile/entries/<index>[.p/<width>]`.
//!
//! Promise: what is answered once is answered for ever, except the checkpoint. Hashes tell nothing of whose events they
//! are, so they are for everybody; the events themselves are for who may read the log.

use std::io::Write as _;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use keyledger_events::Position;

use super::extract::{Allowed, Read};
use super::{App, problems};
use crate::audit::tree::TILE_HASHES;
use crate::problem::Problem;

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const FOR_EVER_TO_ONE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
/// A new one comes every half second.
const FOR_A_MOMENT: HeaderValue = HeaderValue::from_static("public, max-age=1");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What an address names, unless it is no text.
type Named<T> = Result<Path<T>, PathRejection>;

/// Which part of the log an address names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tile {
    /// `None`: the events themselves.
    level: Option<u8>,
    index: u64,
    width: u64,
}

impl Tile {
    /// Reads what follows `tile/`.
    fn parse(path: &str) -> Option<Tile> {
        let (level, rest) = path.split_once('/')?;
        let level = match level {
            "entries" => None,
            // C2SP has six bits for it; ours has as many levels as a u64 has bytes.
            _ => Some(plain_number(level).filter(|level| *level < 8)?).map(|level| u8::try_from(level).unwrap_or(7)),
        };
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, TILE_HASHES),
            Some((index, width)) => (
                index,
                plain_number(width).filter(|width| (1..TILE_HASHES).contains(width))?,
            ),
        };
        Some(Tile {
            level,
            index: index_of(index)?,
            width,
        })
    }
}

/// A decimal number without leading zeros.
fn plain_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// `x001/x234/067` is 1234067: three digits a part, an `x` before all but the last, no part more than is needed.
fn index_of(path: &str) -> Option<u64> {
    let mut index = 0_u64;
    let mut parts = path.split('/').peekable();
    let mut first = true;
    while let Some(part) = parts.next() {
        let digits = match parts.peek() {
            Some(_) => part.strip_prefix('x')?,
            None => part,
        };
        let fits = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
        if !fits || (first && digits == "000" && parts.peek().is_some()) {
            return None;
        }
        first = false;
        index = index.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(index)
}

/// `GET /tlog/{shard}/checkpoint`.
pub(super) async fn checkpoint(State(app): State<App>, shard: Named<String>) -> Result<Response, Problem> {
    let Path(shard) = shard.map_err(|_| problems::not_found())?;
    in_this_log(&app, &shard)?;
    let latest = app.tree.store().latest().await?.ok_or_else(problems::not_sealed)?;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = [(CONTENT_TYPE, text), (CACHE_CONTROL, FOR_A_MOMENT)];
    Ok((headers, latest.whole_note()).into_response())
}

/// `GET /tlog/{shard}/tile/{*path}`.
pub(super) async fn tile(
    State(app): State<App>,
    named: Named<(String, String)>,
    headers: HeaderMap,
    caller: Result<Allowed<Read>, Problem>,
) -> Result<Response, Problem> {
    let Path((shard, path)) = named.map_err(|_| problems::not_found())?;
    in_this_log(&app, &shard)?;
    let tile = Tile::parse(&path).ok_or_else(problems::not_found)?;
    if tile.level.is_none() {
        caller?;
    }
    // What is not sealed is not served: it could still be lost, or differ from what is signed in the end.
    let size = app.tree.store().latest().await?.map_or(0, |latest| latest.size);
    match tile.level {
        Some(level) => hashes(&app, level, tile, size).await,
        None => entries(&app, tile, size, &headers).await,
    }
}

async fn hashes(app: &App, level: u8, tile: Tile, size: u64) -> Result<Response, Problem> {
    let hashes = app.tree.tile(level, tile.index, size).await?;
    let wanted = usize::try_from(tile.width).unwrap_or(usize::MAX);
    let hashes = hashes.get(..wanted).ok_or_else(problems::not_found)?;
    let headers = [(CONTENT_TYPE, BYTES), (CACHE_CONTROL, FOR_EVER)];
    Ok((headers, hashes.concat()).into_response())
}

/// Events, each after its length in two bytes.
async fn entries(app: &App, tile: Tile, size: u64, asked: &HeaderMap) -> Result<Response, Problem> {
    let first = tile.index.checked_mul(TILE_HASHES).ok_or_else(problems::not_found)?;
    if first.checked_add(tile.width).is_none_or(|end| end > size) {
        return Err(problems::not_found());
    }
    let width = u32::try_from(tile.width).unwrap_or(0);
    let stored = app.log.read(Position(first), width).await?;
    let mut bundle = Vec::new();
    for event in &stored {
        let length = u16::try_from(event.body.len()).map_err(|_| {
            tracing::error!(position = %event.position, "an event is longer than an entry of a bundle may be");
            problems::internal()
        })?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(&event.body);
    }
    if stored.len() != usize::try_from(tile.width).unwrap_or(usize::MAX) {
        tracing::error!(first, "events that were sealed are missing in the log");
        return Err(problems::internal());
    }
    let mut response = if wants_gzip(asked) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let packed = encoder.write_all(&bundle).and_then(|()| encoder.finish());
        let mut response = packed.map_err(|_| problems::internal())?.into_response();
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        bundle.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, BYTES);
    headers.insert(CACHE_CONTROL, FOR_EVER_TO_ONE);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding, authorization"));
    Ok(response)
}

/// Whether gzip is among the encodings that the caller takes, and not ruled out.
fn wants_gzip(asked: &HeaderMap) -> bool {
    let encodings = asked
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    encodings.flat_map(|value| value.split(',')).any(|encoding| {
        let (name, weight) = encoding.split_once(';').unwrap_or((encoding, ""));
        let ruled_out = weight
            .trim()
            .strip_prefix("q=")
            .is_some_and(|q| q.trim_matches(['0', '.']).is_empty());
        name.trim().eq_ignore_ascii_case("gzip") && !ruled_out
    })
}

fn in_this_log(app: &App, shard: &str) -> Result<(), Problem> {
    if shard == app.tree.shard().to_string() {
        Ok(())
    } else {
        Err(problems::not_found())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_tile_in_one_way_only() {
        let tile = |level, index, width| Some(Tile { level, index, width });
        assert_eq!(Tile::parse("0/000"), tile(Some(0), 0, 256));
        assert_eq!(Tile::parse("1/x001/x234/067"), tile(Some(1), 1_234_067, 256));
        assert_eq!(Tile::parse("0/x001/000.p/7"), tile(Some(0), 1_000, 7));
        assert_eq!(Tile::parse("entries/999.p/255"), tile(None, 999, 255));
        for bad in [
            "",
            "0",
            "0/",
            "0/0",
            "0/0000",
            "0/x000/001",
            "0/001/002",
            "0/x001",
            "8/000",
            "00/000",
            "-1/000",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "0/00a",
            "entries/000/",
            "0/+01",
            "data/000",
            "0/x999/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_is_written_as_another_implementation_reads_it() {
        for index in [0, 1, 255, 999, 1_000, 1_234_067, 1_000_000] {
            for width in [1, 255, 256] {
                let theirs = tlog_tiles::Tile::new(8, 0, index, width, false).path();
                let path = theirs.strip_prefix("tile/8/").or(theirs.strip_prefix("tile/")).unwrap();
                let read = Tile::parse(path).unwrap();
                assert_eq!((read.index, read.width), (index, u64::from(width)), "{theirs}");
            }
        }
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let asks = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
            wants_gzip(&headers)
        };
        assert!(asks("gzip") && asks("br, GZIP;q=0.5"));
        assert!(!asks("br") && !asks("gzip;q=0") && !asks("gzip;q=0.0") && !asks(""));
    }
}
