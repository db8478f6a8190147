//! The doors: bytes of a client become a call, a decision becomes the client's answer.
//!
//! One file a client in `hooks`; `decide` speaks our own form. Doors know wire formats and nothing of rules, tables
//! or tools: they reach the world only through the gate.

pub mod decide;
pub mod hooks;
pub mod mcp;
pub mod metadata;
pub mod metrics;
