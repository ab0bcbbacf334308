//! Where a list goes on: opaque to callers, and good only for the list that handed it out.
//!
//! Text: base64url of 8 bytes of SHA-256 over the list's scope and the JSON that follows. The check finds accidents and
//! mix-ups; it guards nothing, since a cursor opens nothing that its bearer could not list from the beginning.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyledger_events::KeyDigest;
use serde::Serialize;
use serde::de::DeserializeOwned;

const CHECK_BYTES: usize = 8;

/// Longer than any cursor of ours.
const TEXT_BYTES_MAX: usize = 512;

/// The text is no cursor of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one that this list has given")]
pub(crate) struct BadCursor;

fn check(scope: &str, json: &str) -> [u8; CHECK_BYTES] {
    let digest = KeyDigest::of(&format!("{scope}\n{json}"));
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest.as_bytes()[..CHECK_BYTES]);
    check
}

/// Writes where a list goes on. `scope` names the list and all that chose its items.
pub(crate) fn write<T: Serialize>(scope: &str, next: &T) -> Option<String> {
    let json = serde_json::to_string(next).ok()?;
    let mut bytes = check(scope, &json).to_vec();
    bytes.extend_from_slice(json.as_bytes());
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads where a list goes on.
pub(crate) fn read<T: DeserializeOwned>(scope: &str, text: &str) -> Result<T, BadCursor> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(BadCursor);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
    let (found, json) = bytes.split_at_checked(CHECK_BYTES).ok_or(BadCursor)?;
    let json = std::str::from_utf8(json).map_err(|_| BadCursor)?;
    if check(scope, json) != found {
        return Err(BadCursor);
    }
    serde_json::from_str(json).map_err(|_| BadCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_in_its_own_list_only() {
        let text = write("keys acct_1", &17_u64).unwrap();
        assert_eq!(read("keys acct_1", &text), Ok(17_u64));
        assert_eq!(read::<u64>("keys acct_2", &text), Err(BadCursor));
        assert_eq!(read::<String>("keys acct_1", &text), Err(BadCursor));
    }

    #[test]
    fn a_forged_or_cut_cursor_is_refused() {
        let text = write("keys", &17_u64).unwrap();
        for bad in ["", "MTc", &text[1..], &text[..text.len() - 1], &"A".repeat(600), "%%%"] {
            assert_eq!(read::<u64>("keys", bad), Err(BadCursor), "{bad:?}");
        }
    }
}
