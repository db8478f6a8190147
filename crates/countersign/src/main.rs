//! The binary: reads the command line and runs one command.
//!
//! A panic must become a blocking answer to whoever waits for us, so it is caught here and ends with exit code 2, as
//! every other end that could not be determined.

// A binary exports nothing; `pub` here says what a module offers its siblings.
#![allow(unreachable_pub)]

mod cli;
mod clock;
mod config;
mod install;
mod person;
mod places;
mod project;
mod rules;
mod wire;

use clap::Parser as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { cli::exit::USAGE } else { cli::exit::OK });
        }
    };
    let failed = cli.command.failed();
    let ended = catch_unwind(AssertUnwindSafe(|| -> anyhow::Result<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let code = runtime.block_on(cli::run(cli));
        // What still runs belongs to nobody; waiting for it would hold up the client.
        runtime.shutdown_background();
        code
    }));
    match ended {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(e)) => {
            cli::complain(&format!("countersign: {e:#}"));
            ExitCode::from(failed)
        }
        Err(_) => {
            cli::complain("countersign: refused code=internal\nfail-closed: panic");
            ExitCode::from(if failed == cli::exit::FAILED { cli::exit::USAGE } else { failed })
        }
    }
}
