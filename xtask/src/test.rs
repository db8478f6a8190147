//! `cargo xtask test`: everything that must hold before a change lands.
//!
//! The order is by how soon a mistake shows: seconds of formatting and tidiness, then the compiler's opinion, then
//! the dependencies, then the tests themselves, doctests included (some promises are kept by code that must *not*
//! compile, and only doctests can say that). The first failing step ends the run and is named.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{arrows, bans, finding, needs, promises};

type Step = (&'static str, fn(&Path) -> Result<()>);

const STEPS: &[Step] = &[
    ("needs", needs::run),
    ("fmt", |root| cargo(root, &["fmt", "--all", "--check"])),
    ("tidy", tidy),
    ("clippy", |root| {
        cargo(root, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
    }),
    ("deny", deny),
    ("advisories", advisories),
    // Plain `cargo test`: it alone runs doctests, and its closing lines are what people and machines look for.
    ("cargo test", |root| cargo(root, &["test", "--workspace", "--locked"])),
];

/// Runs the steps in order.
pub(crate) fn run(root: &Path) -> Result<()> {
    let begun = Instant::now();
    let count = STEPS.len();
    for (index, (name, step)) in STEPS.iter().enumerate() {
        let place = format!("[{}/{count}] {name}", index + 1);
        println!("{place} …");
        let at = Instant::now();
        let done = step(root);
        let seconds = at.elapsed().as_secs();
        match done {
            Ok(()) => println!("{place} … {seconds} s"),
            Err(error) => return Err(error.context(format!("{place} failed after {seconds} s"))),
        }
    }
    println!("all {count} steps passed in {} s", begun.elapsed().as_secs());
    Ok(())
}

/// `arrows`, `bans` and `promises` together.
pub(crate) fn tidy(root: &Path) -> Result<()> {
    let all = [arrows::check(root)?, bans::check(root)?, promises::check(root)?].concat();
    finding::report("tidy", Ok(all))
}

fn deny(root: &Path) -> Result<()> {
    let deny = needs::cargo_deny()?;
    must(root, Command::new(deny).args(["--workspace", "--locked", "check", "bans", "licenses", "sources"]))
}

/// Known vulnerabilities, if their list can be had. A machine without a way to it must still be able to test, so a
/// list that cannot be fetched is said and not failed; a vulnerability that is found fails.
fn advisories(root: &Path) -> Result<()> {
    let deny = needs::cargo_deny()?;
    let fetched = Command::new(&deny)
        .args(["--workspace", "--locked", "fetch", "db"])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("starting cargo-deny")?;
    if !fetched.status.success() {
        println!("advisories: NOT CHECKED, the advisory database cannot be reached from here");
        return Ok(());
    }
    must(
        root,
        Command::new(&deny).args(["--workspace", "--locked", "check", "--disable-fetch", "advisories"]),
    )
}

fn cargo(root: &Path, words: &[&str]) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // `cargo run` tells its child about the package xtask; a build script that watches these would run again and
    // again, once for this cargo and once for the one that people start by hand.
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    must(root, command.args(words))
}

fn must(root: &Path, command: &mut Command) -> Result<()> {
    let status = command.current_dir(root).stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("starting {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}

/// The tests that have a short form in the suite, at full length.
pub(crate) fn long(root: &Path) -> Result<()> {
    needs::run(root)?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "-p", "countersign", "--test", "mcp", "--", "--nocapture", "trouble"])
        .current_dir(root)
        .env("COUNTERSIGN_FRAMES", "100000")
        .env("COUNTERSIGN_KILLS", "25")
        .status()
        .context("starting cargo")?;
    if status.success() { Ok(()) } else { bail!("the long tests ended with {status}") }
}

/// The effect oracle in full: all lines are run, all wrappers tried, and the figures are printed.
pub(crate) fn oracle(root: &Path) -> Result<()> {
    needs::run(root)?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "-p", "countersign-core", "--test", "oracle", "--", "--nocapture", "--test-threads=1"])
        .current_dir(root)
        .env("COUNTERSIGN_ORACLE", "all")
        .status()
        .context("starting cargo")?;
    if status.success() { Ok(()) } else { bail!("the oracle ended with {status}") }
}
