//! Tests with services. One binary, because linking many is slow.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod architecture;
mod audit;
mod bad_inputs;
mod browser;
mod exports;
mod gateway;
mod harness;
mod http;
mod ledger;
mod local;
mod pages;
mod projector;
mod relay;
mod service;
mod sse;
mod webhooks;
