//! Signed notes, and the two kinds of them that are used here.
//!
//! In: text and keys. Out: text with signatures, and whose signatures stand under it.
//!
//! Formats, of C2SP: `signed-note` (text, an empty line, signature lines), `tlog-checkpoint` (the text: origin, size, root)
//! and `tlog-cosignature` (a witness's signature, with its time). Signatures are Ed25519 (RFC 8032).
//!
//! Not here: where keys are kept.

mod checkpoint;
mod keys;

pub use checkpoint::{Checkpoint, MalformedCheckpoint};
pub use keys::{MalformedKey, SignerKey, VerifierKey, Witnessed};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A text with signatures under it, as it was read: nothing is known yet about whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Ends with a newline.
    pub text: String,
    pub signatures: Vec<Signature>,
}

/// One line under a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    pub key_id: [u8; 4],
    /// What the kind of key has it to be: 64 bytes for Ed25519, eight more before them for a witness.
    pub bytes: Vec<u8>,
}

/// The bytes are no signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no signed note")]
pub struct MalformedNote;

/// Notes of ours are some hundred bytes; nothing that claims to be one needs more.
const NOTE_BYTES_MAX: usize = 64 << 10;
const SIGNATURES_MAX: usize = 100;
const SIGNATURE_START: &str = "\u{2014} ";

impl Note {
    pub fn parse(note: &str) -> Result<Note, MalformedNote> {
        let strange = |c: char| c.is_control() && c != '\n';
        if note.len() > NOTE_BYTES_MAX || note.contains(strange) {
            return Err(MalformedNote);
        }
        // The last empty line: the text may have some of its own.
        let at = note.rfind("\n\n").ok_or(MalformedNote)?;
        let (text, lines) = (&note[..=at], &note[at + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(MalformedNote)?;
        let signatures: Vec<_> = lines.split('\n').map(Signature::parse).collect::<Result<_, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(MalformedNote);
        }
        Ok(Note {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The note as it is sent.
    pub fn to_text(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            note.push_str(&signature.line());
        }
        note
    }
}

impl Signature {
    pub fn parse(line: &str) -> Result<Signature, MalformedNote> {
        let (name, value) = line
            .strip_prefix(SIGNATURE_START)
            .and_then(|rest| rest.split_once(' '))
            .ok_or(MalformedNote)?;
        let value = STANDARD.decode(value).map_err(|_| MalformedNote)?;
        let (key_id, bytes) = value.split_first_chunk().ok_or(MalformedNote)?;
        if !is_name(name) || bytes.is_empty() {
            return Err(MalformedNote);
        }
        Ok(Signature {
            name: name.to_owned(),
            key_id: *key_id,
            bytes: bytes.to_vec(),
        })
    }

    /// The line, with its newline.
    pub fn line(&self) -> String {
        let value = [self.key_id.as_slice(), &self.bytes].concat();
        format!("{SIGNATURE_START}{} {}\n", self.name, STANDARD.encode(value))
    }
}

/// What a key may be called.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}
