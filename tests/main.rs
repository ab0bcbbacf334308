//! Tests with services. One binary, because linking many is slow.

mod local;
