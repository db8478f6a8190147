//! `cargo xtask fuzz [TARGET] [SECONDS]`: the fuzz targets, built with coverage on the stable toolchain.
//!
//! libFuzzer needs coverage from the compiler, not the nightly one: the pass that gives it is reachable from stable by
//! codegen options. Each target keeps what it found worth keeping in `fuzz/corpus`, which is no part of the tree, and
//! begins with the seeds that lie in `fuzz/seeds`. A finding ends the run, and lies in `fuzz/findings`.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The targets, as `fuzz/Cargo.toml` names them.
const TARGETS: [&str; 4] = ["json", "shell", "paths", "policy"];

const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Runs one target, or each in turn, for so many seconds.
pub(crate) fn run(root: &Path, only: Option<&str>, seconds: u32) -> Result<()> {
    if let Some(name) = only
        && !TARGETS.contains(&name)
    {
        bail!("there is no fuzz target `{name}`; there are {}", TARGETS.join(", "));
    }
    let folder = root.join("fuzz");
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // With a target triple named, build scripts and macros are built without coverage.
    let built = Command::new(cargo)
        .args(["build", "--release", "--target", &triple])
        .current_dir(&folder)
        .env("RUSTFLAGS", COVERAGE)
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .context("starting cargo")?;
    if !built.success() {
        bail!("the fuzz targets do not build");
    }
    for target in TARGETS.into_iter().filter(|t| only.is_none_or(|name| name == *t)) {
        let corpus = folder.join("corpus").join(target);
        let findings = folder.join("findings").join(target);
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&findings)?;
        println!("fuzz: {target} for {seconds} s …");
        let mut command = Command::new(folder.join("target").join(&triple).join("release").join(target));
        command
            .arg(&corpus)
            .arg(folder.join("seeds").join(target))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .args(["-max_len=8192", "-timeout=20", "-print_final_stats=1", "-verbosity=0"]);
        let status = command.status().with_context(|| format!("starting the target {target}"))?;
        if !status.success() {
            bail!("{target}: a finding, in {}", findings.display());
        }
    }
    Ok(())
}
