//! A key that was rotated.

use super::{is_as_released, key, recorded, time};
use crate::*;

pub(super) fn rotated() -> Event {
    let rotated = KeyRotated {
        key: key(),
        successor: KeyId::from_parts(1_765_000_000_000, 9),
        stops_at: time("2026-11-25T14:03:07.123456Z"),
    };
    rotated.into()
}

#[test]
fn a_rotation_names_both_keys_and_the_end() {
    is_as_released("key-rotated", &recorded(110, rotated()));
}
