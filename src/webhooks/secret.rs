//! What a receiver and we know, and nobody else: messages are signed with it, as Standard Webhooks has it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The secrets of one receiver: more than one while they are changed. In no `Debug`.
#[derive(Clone)]
pub struct Secrets(Vec<Vec<u8>>);

/// The text holds no secrets of the form that Standard Webhooks has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is `whsec_` and 24 to 64 bytes in base64, once or several times with spaces between")]
pub struct MalformedSecret;

const PREFIX: &str = "whsec_";
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Reads `whsec_…`, or several of them with spaces between.
    pub fn parse(text: &str) -> Result<Secrets, MalformedSecret> {
        let secrets: Option<Vec<_>> = text.split_whitespace().map(read_one).collect();
        secrets
            .filter(|secrets| !secrets.is_empty())
            .map(Secrets)
            .ok_or(MalformedSecret)
    }

    /// `webhook-signature` of a message: a signature for each secret, with spaces between.
    pub(super) fn sign(&self, message: &str, at_seconds: i64, body: &str) -> Option<String> {
        let signed = format!("{message}.{at_seconds}.{body}");
        let signatures: Option<Vec<_>> = self
            .0
            .iter()
            .map(|secret| sign_one(secret, signed.as_bytes()))
            .collect();
        Some(signatures?.join(" "))
    }
}

fn read_one(text: &str) -> Option<Vec<u8>> {
    let secret = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    BYTES.contains(&secret.len()).then_some(secret)
}

fn sign_one(secret: &[u8], signed: &[u8]) -> Option<String> {
    // Keys of any length are good ones.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(signed);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own documentation.
    const EXAMPLE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_message_is_signed_as_in_the_specification() {
        let secrets = Secrets::parse(EXAMPLE).unwrap();
        assert_eq!(
            secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#),
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned())
        );
    }

    #[test]
    fn while_secrets_change_a_message_is_signed_with_both() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = Secrets::parse(&format!(" {EXAMPLE}\n{other} ")).unwrap();
        let signature = both.sign("m", 1, "{}").unwrap();
        let alone = Secrets::parse(&other).unwrap().sign("m", 1, "{}").unwrap();
        assert_eq!(signature.split(' ').nth(1), Some(alone.as_str()));
        assert_eq!(format!("{both:?}"), "Secrets(2)");
    }

    #[test]
    fn what_is_too_short_or_in_another_form_is_refused() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        for bad in ["", "secret", "whsec_", "whsec_!", &short, &format!("{EXAMPLE} x")] {
            assert_eq!(Secrets::parse(bad).unwrap_err(), MalformedSecret, "{bad}");
        }
    }
}
