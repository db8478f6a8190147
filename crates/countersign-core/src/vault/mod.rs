//! Secrets at rest and what they are bound to (vault.md 3, 4, 8, 9).
//!
//! `binding` says where a secret may go, `seal` makes rows of values that only the vault's key opens and that nobody can
//! swap, edit or take away unseen. Pure: random bytes and rows come in as arguments. Where it stops: rows are the store's,
//! keys the hand's.

pub mod binding;
pub mod seal;
