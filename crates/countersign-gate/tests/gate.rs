//! The gate against the real store: its promises, each with a test that can fail.
//!
//! Time is virtual (`testkit::fakes`), for the gate and for the store alike; the files are real. `faults` fails every
//! call of the store in every scenario, `sim` throws everything together by chance.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers outside test functions fail a test in the same way as a test does"
)]

#[path = "gate/common.rs"]
mod common;
#[path = "gate/drift.rs"]
mod drift;
#[path = "gate/faults.rs"]
mod faults;
#[path = "gate/hold.rs"]
mod hold;
#[path = "gate/memory.rs"]
mod memory;
#[path = "gate/path.rs"]
mod path;
#[path = "gate/sim.rs"]
mod sim;
#[path = "gate/spellings.rs"]
mod spellings;
#[path = "gate/taint.rs"]
mod taint;
