//! The hands: what performs a permitted call. A hand takes a permit, never a decision; it reaches the world and knows
//! nothing of doors or tables.

pub mod fetch;
pub mod http;
pub mod keys;
pub mod mail;
pub mod mcp;
pub mod own;
pub mod recall;
pub mod scratch;
pub mod vault;
