//! The keys of signed notes, in the text form that Go's `golang.org/x/mod/sumdb/note` gave them and C2SP took over:
//! `name+id+base64` for who checks, `PRIVATE+KEY+name+id+base64` for who signs.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use super::{Note, Signature, is_name};

const ED25519_KIND: u8 = 0x01;
const COSIGNATURE_KIND: u8 = 0x04;
const SIGNATURE_BYTES: usize = 64;

/// A key that signs. In no `Debug`, and in no database.
pub struct SignerKey {
    name: String,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

/// A key that checks: of a log, or of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: u8,
    public: [u8; 32],
}

/// What a witness signed: the note's text, at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witnessed {
    /// Seconds since 1970.
    pub at_seconds: u64,
}

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    #[error("is no verifier key of a signed note, name+id+base64, of Ed25519")]
    Verifier,
    #[error("is no signer key of a signed note, PRIVATE+KEY+name+id+base64, of Ed25519")]
    Signer,
    #[error("is no name for a key: no spaces, no '+'")]
    Name,
}

fn key_id(name: &str, kind: u8, public: &[u8; 32]) -> [u8; 4] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', kind])
        .chain_update(public)
        .finalize()
        .into();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({})", self.name)
    }
}

impl SignerKey {
    /// A key from 32 random bytes.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<SignerKey, MalformedKey> {
        if !is_name(name) {
            return Err(MalformedKey::Name);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| MalformedKey::Signer)?;
        Ok(SignerKey {
            name: name.to_owned(),
            seed,
            pair,
        })
    }

    /// Reads `PRIVATE+KEY+name+id+base64`.
    pub fn parse(text: &str) -> Result<SignerKey, MalformedKey> {
        let malformed = MalformedKey::Signer;
        let rest = text.trim().strip_prefix("PRIVATE+KEY+").ok_or(malformed)?;
        let (name, id, value) = three_parts(rest).ok_or(malformed)?;
        let value = STANDARD.decode(value).map_err(|_| malformed)?;
        let seed = match value.split_first() {
            Some((&ED25519_KIND, seed)) => seed.try_into().map_err(|_| malformed)?,
            Some(_) | None => return Err(malformed),
        };
        let key = SignerKey::from_seed(name, seed)?;
        if hex(key.verifier().key_id()) == id {
            Ok(key)
        } else {
            Err(malformed)
        }
    }

    /// The secret text. Only for the file that it is kept in.
    pub fn expose_text_to_its_file(&self) -> String {
        let value = [[ED25519_KIND].as_slice(), &self.seed].concat();
        let id = hex(self.verifier().key_id());
        format!("PRIVATE+KEY+{}+{id}+{}", self.name, STANDARD.encode(value))
    }

    /// The same secret under another name, which makes it another key to whoever checks.
    pub fn named(&self, name: &str) -> Result<SignerKey, MalformedKey> {
        SignerKey::from_seed(name, self.seed)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn public(&self) -> [u8; 32] {
        let mut public = [0; 32];
        public.copy_from_slice(self.pair.public_key().as_ref());
        public
    }

    /// The key by which others check what this one signs.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey {
            name: self.name.clone(),
            kind: ED25519_KIND,
            public: self.public(),
        }
    }

    /// The key by which others check what this one witnesses.
    pub fn witness_verifier(&self) -> VerifierKey {
        VerifierKey {
            kind: COSIGNATURE_KIND,
            ..self.verifier()
        }
    }

    pub fn sign(&self, text: &str) -> Signature {
        Signature {
            name: self.name.clone(),
            key_id: self.verifier().key_id(),
            bytes: self.pair.sign(text.as_bytes()).as_ref().to_vec(),
        }
    }

    /// Signs that the checkpoint with this text was seen, and extends what was seen before. `cosignature/v1`.
    pub fn witness(&self, text: &str, at_seconds: u64) -> Signature {
        let signed = self.pair.sign(&cosigned(text, at_seconds));
        Signature {
            name: self.name.clone(),
            key_id: self.witness_verifier().key_id(),
            bytes: [at_seconds.to_be_bytes().as_slice(), signed.as_ref()].concat(),
        }
    }
}

/// What a witness puts its name under.
fn cosigned(text: &str, at_seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {at_seconds}\n{text}").into_bytes()
}

fn three_parts(text: &str) -> Option<(&str, &str, &str)> {
    // Base64 may have a '+' of its own: only the first two are separators.
    let (name, rest) = text.split_once('+')?;
    let (id, value) = rest.split_once('+')?;
    Some((name, id, value))
}

impl VerifierKey {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn key_id(&self) -> [u8; 4] {
        key_id(&self.name, self.kind, &self.public)
    }

    pub fn is_witness(&self) -> bool {
        self.kind == COSIGNATURE_KIND
    }

    /// Whether a signature of this key stands under the note, and is right. A line that bears this key's name and id and
    /// is wrong makes the whole note a forgery: `Err`.
    pub fn signed(&self, note: &Note) -> Result<bool, super::MalformedNote> {
        let mut found = false;
        for signature in self.of_this_key(note) {
            if !self.check(note.text.as_bytes(), &signature.bytes) {
                return Err(super::MalformedNote);
            }
            found = true;
        }
        Ok(found)
    }

    /// When this witness signed the note, where it did, and right.
    pub fn witnessed(&self, note: &Note) -> Option<Witnessed> {
        self.of_this_key(note).find_map(|signature| {
            let (time, bytes) = signature.bytes.split_first_chunk::<8>()?;
            let at_seconds = u64::from_be_bytes(*time);
            self.check(&cosigned(&note.text, at_seconds), bytes)
                .then_some(Witnessed { at_seconds })
        })
    }

    fn of_this_key<'a>(&'a self, note: &'a Note) -> impl Iterator<Item = &'a Signature> {
        let id = self.key_id();
        note.signatures
            .iter()
            .filter(move |signature| signature.name == self.name && signature.key_id == id)
    }

    fn check(&self, message: &[u8], signature: &[u8]) -> bool {
        signature.len() == SIGNATURE_BYTES
            && UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(message, signature)
                .is_ok()
    }
}

impl FromStr for VerifierKey {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<VerifierKey, MalformedKey> {
        let malformed = MalformedKey::Verifier;
        let (name, id, value) = three_parts(text.trim()).ok_or(malformed)?;
        let value = STANDARD.decode(value).map_err(|_| malformed)?;
        let (kind, public) = match value.split_first() {
            Some((kind @ (&ED25519_KIND | &COSIGNATURE_KIND), public)) => (*kind, public),
            Some(_) | None => return Err(malformed),
        };
        let key = VerifierKey {
            name: name.to_owned(),
            kind,
            public: public.try_into().map_err(|_| malformed)?,
        };
        if is_name(name) && hex(key.key_id()) == id {
            Ok(key)
        } else {
            Err(malformed)
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = [[self.kind].as_slice(), &self.public].concat();
        write!(f, "{}+{}+{}", self.name, hex(self.key_id()), STANDARD.encode(value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Checkpoint, Note};
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "ledger.example/0".to_owned(),
            size: 812,
            root: [7; 32],
            more: String::new(),
        }
    }

    fn signed(key: &SignerKey) -> Note {
        let text = checkpoint().to_text();
        let signatures = vec![key.sign(&text)];
        Note { text, signatures }
    }

    fn key(byte: u8) -> SignerKey {
        SignerKey::from_seed("ledger.example/0", [byte; 32]).unwrap()
    }

    /// The note, its key and its signature of the documentation of golang.org/x/mod/sumdb/note.
    #[test]
    fn a_published_note_is_signed_and_read_alike() {
        let skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let note = format!(
            "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        );
        let key = SignerKey::parse(skey).unwrap();
        assert_eq!(
            (
                key.verifier().to_string().as_str(),
                key.expose_text_to_its_file().as_str()
            ),
            (vkey, skey)
        );
        let ours = Note {
            text: text.to_owned(),
            signatures: vec![key.sign(text)],
        };
        assert_eq!(ours.to_text(), note);
        let read = Note::parse(&note).unwrap();
        assert_eq!(vkey.parse::<VerifierKey>().unwrap().signed(&read), Ok(true));
    }

    #[test]
    fn another_implementation_takes_a_checkpoint_and_a_cosignature() {
        use signed_note::{Note as Theirs, VerifierList};

        let (log, witness) = (key(1), SignerKey::from_seed("witness.example", [2; 32]).unwrap());
        let mut note = signed(&log);
        note.signatures.push(witness.witness(&note.text, 1_700_000_000));
        let theirs = Theirs::from_bytes(note.to_text().as_bytes()).unwrap();
        let known = signed_note::StandardVerifier::new(&log.verifier().to_string()).unwrap();
        let (good, unknown) = theirs.verify(&VerifierList::new(vec![Box::new(known)])).unwrap();
        assert_eq!((good.len(), unknown.len()), (1, 1));
        assert_eq!(Note::parse(&note.to_text()), Ok(note));
    }

    #[test]
    fn a_witness_signs_the_text_and_its_time() {
        let witness = SignerKey::from_seed("witness.example", [2; 32]).unwrap();
        let mut note = signed(&key(1));
        note.signatures.push(witness.witness(&note.text, 1_700_000_000));
        let seen = witness.witness_verifier().witnessed(&note);
        assert_eq!(
            seen,
            Some(Witnessed {
                at_seconds: 1_700_000_000
            })
        );
        assert_eq!(key(1).witness_verifier().witnessed(&note), None);
        note.signatures[1].bytes[7] ^= 1;
        assert_eq!(witness.witness_verifier().witnessed(&note), None, "at another time");
    }

    #[test]
    fn a_changed_note_is_a_forgery_and_another_key_is_no_signature() {
        let note = signed(&key(1));
        assert_eq!(key(1).verifier().signed(&note), Ok(true));
        assert_eq!(key(2).verifier().signed(&note), Ok(false));
        let changed = Note {
            text: note.text.replace("812", "813"),
            ..note
        };
        assert!(key(1).verifier().signed(&changed).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let whole = key(1).verifier().to_string();
        for bad in [
            "",
            "a+b",
            &whole[1..],
            &whole.replace("+A", "+C"),
            &format!("{whole}A"),
            "a b+00000000+AAAA",
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
        let secret = key(1).expose_text_to_its_file();
        for bad in [&secret[1..], &whole, &secret.replace("ledger", "other")] {
            assert!(SignerKey::parse(bad).is_err());
        }
        assert!(SignerKey::from_seed("a b", [0; 32]).is_err() && SignerKey::from_seed("a+b", [0; 32]).is_err());
        assert_eq!(format!("{:?}", key(1)), "SignerKey(ledger.example/0)");
    }

    #[test]
    fn what_is_no_note_or_checkpoint_is_refused() {
        let note = signed(&key(1)).to_text();
        for bad in [
            "",
            "x\n",
            "x\n\n",
            "x\n\ny\n",
            note.trim_end(),
            &note.replace(' ', "\t"),
            &format!("{note}x\n"),
        ] {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
        let text = checkpoint().to_text();
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint()));
        for bad in [
            "",
            "o\n1\n",
            &text.replace("812", "0812"),
            &text.replace("812", "-1"),
            &text.replace("Bw", "!!"),
            &format!("{text}x"),
        ] {
            assert!(Checkpoint::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Checkpoint::parse(&format!("{text}ext\n")).unwrap().more, "ext\n");
    }
}
