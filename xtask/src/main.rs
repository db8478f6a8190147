//! All automation of the house: `cargo xtask <command>`.
//!
//! One file per command. What is here may be slow and may print, but decides nothing about the product: it runs the
//! same tools a developer would, in the order that finds mistakes soonest, and reads the sources for the rules that
//! the compiler cannot keep (`arrows`, `bans`). It stops where a release or a deployment would begin.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line of developers speaks by printing"
)]

mod arrows;
mod bans;
mod finding;
mod fuzz;
mod needs;
mod promises;
mod test;
mod tokens;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
All automation of the house.

Usage: cargo xtask <command>

Commands:
  test     everything that must hold before a change lands, in the order that fails soonest
  long     the gateway's tests at full length: 100 000 frames, 25 killed gateways (two minutes)
  fuzz     the fuzz targets: fuzz [json|shell|paths|policy] [SECONDS], 600 s each by default
  oracle   every line of the effect oracle's corpora, run for real in bubblewrap, with the figures
  needs    install what the tests need and is missing (packages, cargo-deny, the agent client)
  tidy     arrows and bans together, and whether docs/promises.md is true
  arrows   who imports whom, read from every Cargo.toml
  promises write docs/promises.md: which test shows which promise
  bans     what the sources may not name (clocks and files in core, SQL outside store, ...)

Each command exits 1 when something was found, and says where and what to do.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let root = root();
    let done = match words.as_slice() {
        ["test"] => test::run(&root),
        ["long"] => test::long(&root),
        ["fuzz"] => fuzz::run(&root, None, 600),
        ["fuzz", only] => fuzz::run(&root, Some(only), 600),
        ["fuzz", only, seconds] => match seconds.parse() {
            Ok(seconds) => fuzz::run(&root, Some(only), seconds),
            Err(_) => Err(anyhow::anyhow!("`{seconds}` is no number of seconds")),
        },
        ["oracle"] => test::oracle(&root),
        ["needs"] => needs::run(&root),
        ["tidy"] => test::tidy(&root),
        ["arrows"] => finding::report("arrows", arrows::check(&root)),
        ["promises"] => promises::write(&root),
        ["bans"] => finding::report("bans", bans::check(&root)),
        [] | ["--help" | "-h" | "help", ..] | [_, "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        [_, ..] => {
            eprintln!("xtask: `{}` is no command here\n\n{HELP}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder. Cargo tells a program that it runs where its package lies; the compiled-in answer serves
/// only someone who starts the built file by hand.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    package.parent().map(Path::to_path_buf).unwrap_or(package)
}
