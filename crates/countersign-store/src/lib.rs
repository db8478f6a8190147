//! The `Store` seam on SQLite: one database file a project, in the user's state folder.
//!
//! Inside: `sqlite` (everything that speaks SQL), `halt` (the HALT file) and `resolve` (what paths name). Where it
//! stops: nothing here judges, waits for people or knows a client; it keeps what the gate decided, in one
//! transaction a change, with its audit records in the same transaction.

mod halt;
mod resolve;
mod sqlite;

pub use sqlite::{ClockFn, SqliteStore, StoreOptions};
