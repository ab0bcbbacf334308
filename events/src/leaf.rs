//! The leaf hash of an event: RFC 6962 section 2.1, over the canonical bytes.

use sha2::{Digest, Sha256};

/// SHA-256 of a zero byte and the canonical bytes. The zero keeps a leaf from being taken for an inner node.
pub fn leaf_hash(canonical: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update([0x00])
        .chain_update(canonical)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 test vectors as used by Certificate Transparency logs: the leaf hash of no bytes.
    #[test]
    fn the_empty_leaf_is_the_published_one() {
        let hex: String = leaf_hash(b"").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }
}
