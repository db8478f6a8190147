//! What policies may see of a call.

pub mod tools;
