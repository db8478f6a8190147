//! The MCP gateway as clients and servers meet it: the real binary between peers that we did not write, or that were
//! written to misbehave.
//!
//! `ground` sets the scene. What reached a server is read off the server's own log, what the gate says of it off ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken test must fail at once"
)]

#[path = "mcp/ground.rs"]
mod ground;

#[path = "mcp/approvals.rs"]
mod approvals;
#[path = "mcp/attacks.rs"]
mod attacks;
#[path = "mcp/fidelity.rs"]
mod fidelity;
#[path = "mcp/lent.rs"]
mod lent;
#[path = "mcp/registered.rs"]
mod registered;
#[path = "mcp/trouble.rs"]
mod trouble;
