//! What tests of every room share; never part of what is shipped.
//!
//! Here are the drivers of the outer edge: a model that plays a script, the real agent client that asks it, and a
//! terminal for the verbs that only a person may use. Fakes of the seams stand beside them. A fixture that only one
//! room needs stays in that room's tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken fixture must fail its test at once"
)]

pub mod claude;
pub mod fakes;
pub mod pty;
pub mod scripted_model;
