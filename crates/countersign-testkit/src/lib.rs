//! What tests of every room share; never part of what is shipped.
//!
//! Here are the drivers of the outer edge: a model that plays a script, the real agent clients that ask it, MCP peers
//! for both ends of a gateway, and a terminal for the verbs that only a person may use. Fakes of the seams stand beside them. A fixture that only one
//! room needs stays in that room's tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken fixture must fail its test at once"
)]

mod cache;
pub mod claude;
pub mod client;
pub mod codex;
pub mod fakes;
pub mod gemini;
pub mod hostile;
pub mod mail;
pub mod mcp;
pub mod pty;
pub mod scripted_model;
