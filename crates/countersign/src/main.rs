//! Not wired yet.
mod clock;
mod config;
mod person;
mod places;
mod project;
fn main() {}
