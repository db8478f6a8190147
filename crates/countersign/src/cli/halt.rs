//! `countersign halt` and `countersign resume`: everything stops, and goes on.

use super::{Context, complain, exit, need_person, say};
use countersign_core::cleanse::clean_line;
use countersign_core::ledger::Halt as Halted;
use countersign_gate::permit::PERMIT_LIFE;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Stop everything: from now on every call is refused until `resume`.
///
/// Calls that run already run to their end. When this command returns, nothing starts any more.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  countersign halt --reason 'odd pushes, looking into it'")]
pub struct Halt {
    /// Why; shown to agents and people.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not wait the two seconds in which an allow given a moment ago could still be used.
    #[arg(long)]
    no_wait: bool,
}

/// Go on after a halt.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  countersign resume --reason 'was a false alarm'")]
pub struct Resume {
    /// Why; recorded.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask back.
    #[arg(long)]
    yes: bool,
}

impl Halt {
    /// Stops. Anybody may stop, an agent included.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let reason = clean_line(self.reason.trim(), 500);
        if reason.as_str().is_empty() {
            complain("--reason is empty: say why, people will ask");
            return Ok(exit::USAGE);
        }
        let wired = cx.open().await?;
        let by = crate::person::me().id();
        wired.store.set_halt(&reason, &by).await?;
        if !self.no_wait {
            tokio::time::sleep(PERMIT_LIFE).await;
        }
        say(&format!(
            "HALTED: every call in {} is refused until `countersign resume`.",
            wired.project.root_text()
        ));
        Ok(exit::OK)
    }
}

impl Resume {
    /// Goes on; a person only.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let wired = cx.open().await?;
        let by = match need_person(&wired, "resume").await {
            Ok(by) => by,
            Err(code) => return Ok(code),
        };
        let reason = match wired.store.halt().await? {
            Halted::Absent => {
                say("Nothing is halted.");
                return Ok(exit::OK);
            }
            Halted::Present { reason } => reason.to_string(),
            Halted::Unknown { why } => {
                complain(&format!("a halt cannot be ruled out: {why}"));
                complain("Repair that first; there may be nothing to resume.");
                return Ok(exit::FAILED);
            }
        };
        if !self.yes {
            if !std::io::stdin().is_terminal() {
                complain("Still halted: add --yes when there is no terminal to ask at.");
                return Ok(exit::USAGE);
            }
            write!(std::io::stderr(), "Halted because: {reason}\nResume? [y/N] ")?;
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            if !matches!(line.trim().to_lowercase().as_str(), "y" | "yes") {
                say("Still halted.");
                return Ok(exit::OK);
            }
        }
        let why = self.reason.as_deref().map(|r| clean_line(r, 500));
        wired.store.clear_halt(why.as_ref(), &by).await?;
        say("Resumed.");
        Ok(exit::OK)
    }
}
