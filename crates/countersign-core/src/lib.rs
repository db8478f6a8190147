//! What can be decided without looking at the world: types, rulebook, judge, approval states, record chain and
//! cleansing.
//!
//! **Invariants of absence.** No async, clock, randomness or IO; no wire format of a client; no SQL. Everything is a
//! function of its arguments, so every promise about deciding is a table of values.

pub mod address;
pub mod approval;
pub mod call;
pub mod cleanse;
pub mod code;
pub mod digest;
pub mod event;
pub mod facts;
pub mod fetch;
pub mod glob;
pub mod ids;
pub mod json;
pub mod judge;
pub mod ledger;
pub mod mail;
pub mod names;
pub mod notes;
pub mod oauth;
pub mod principal;
pub mod record;
pub mod rpc;
pub mod rulebook;
pub mod secret;
pub mod secrets_gateway;
pub mod task;
pub mod time;
pub mod token;
pub mod trust;
pub mod vault;
