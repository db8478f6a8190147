//! Both kinds of carriers of mail: a stand-in for Resend's interface that Resend's own client takes for it, and a real
//! mail server.

mod resend;
mod server;

pub use resend::{Posted, Resend, Wrong, official_client};
pub use server::{MailServer, Received, Tls};
