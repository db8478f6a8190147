//! `send_email` from the permit to the mail: a real gate on a real store, a vault, a stand-in for Resend that Resend's own
//! client takes for it, and a real mail server. Whatever goes wrong, a mail goes out at most once, every attempt ends in
//! one of eight ways, and the key is in nothing that leaves.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken test must fail at once"
)]

#[path = "mail/common.rs"]
mod common;
#[path = "mail/gateway.rs"]
mod gateway;
#[path = "mail/processes.rs"]
mod processes;
#[path = "mail/resend.rs"]
mod resend;
#[path = "mail/smtp.rs"]
mod smtp;
