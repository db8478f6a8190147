//! The store on SQLite against real files, real processes and a real full disk.
//!
//! Other processes are this same test binary, told by an environment variable to be a worker (`worker`).

// Helpers outside test functions fail a test in the same way as a test does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "sqlite/approvals.rs"]
mod approvals;
#[path = "sqlite/common.rs"]
mod common;
#[path = "sqlite/disk.rs"]
mod disk;
#[path = "sqlite/group.rs"]
mod group;
#[path = "sqlite/halts.rs"]
mod halts;
#[path = "sqlite/keeper.rs"]
mod keeper;
#[path = "sqlite/log.rs"]
mod log;
#[path = "sqlite/mail.rs"]
mod mail;
#[path = "sqlite/notes.rs"]
mod notes;
#[path = "sqlite/opening.rs"]
mod opening;
#[path = "sqlite/rows.rs"]
mod rows;
#[path = "sqlite/time.rs"]
mod time;
#[path = "sqlite/worker.rs"]
mod worker;
