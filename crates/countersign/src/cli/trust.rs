//! `countersign trust`: what a person accepted of a project, and accepting it anew.

use super::{Context, complain, exit, need_person, remember_root, say};
use crate::wire::{Acceptance, PROJECT_PIN, Wired};
use countersign_core::cleanse::{clean_line, clean_text};
use countersign_core::event::{Draft, Event, text, word};
use countersign_core::principal::Approver;
use countersign_gate::seams::PinKind;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// See and accept what arrives with a project: its configuration and rules mean nothing until a person accepts them.
#[derive(clap::Subcommand, Debug)]
pub enum Trust {
    /// Show what is accepted.
    #[command(after_help = "Example:\n  countersign trust list")]
    List,
    /// Accept the project's configuration and policy as they are now.
    #[command(after_help = "Example:\n  countersign trust accept project")]
    Accept {
        /// What to accept: project.
        #[arg(value_parser = ["project"])]
        name: String,
        /// Why; recorded.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Do not ask back.
        #[arg(long)]
        yes: bool,
    },
}

impl Trust {
    /// Shows or accepts.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let wired = cx.open().await?;
        match self {
            Trust::List => {
                let word = match &wired.acceptance {
                    Acceptance::Accepted => "accepted",
                    Acceptance::Never => "never accepted",
                    Acceptance::Changed => "changed since it was accepted",
                    Acceptance::Unknown(_) => "unknown",
                };
                let pin = wired.store.pin(PinKind::Project, PROJECT_PIN).await?;
                let digest = pin.map(|p| p.digest.to_string()).unwrap_or_else(|| "-".to_owned());
                say(&format!("project  {word}  {digest}  {}", wired.project.root_text()));
                Ok(exit::OK)
            }
            Trust::Accept { reason, yes, .. } => accept(cx, &wired, reason, yes).await,
        }
    }
}

async fn accept(cx: &Context, wired: &Wired, reason: Option<String>, yes: bool) -> anyhow::Result<u8> {
    let by = match need_person(wired, "trust accept").await {
        Ok(by) => by,
        Err(code) => return Ok(code),
    };
    if wired.settings.is_none()
        || wired.problems.iter().any(|p| p.severity() != Some(miette::Severity::Warning))
    {
        for problem in &wired.problems {
            complain(&format!("{problem:?}"));
        }
        complain("It does not load, so there is nothing to accept yet.");
        return Ok(exit::FAILED);
    }
    let layer = wired.project.read()?;
    let old = wired.store.pin(PinKind::Project, PROJECT_PIN).await?;
    let new = layer.pin();
    if old.as_ref().is_some_and(|o| o.digest == new.digest) {
        say("It is what was accepted already.");
        return Ok(exit::OK);
    }
    complain(&difference(old.as_ref().map_or("", |o| o.text.as_str()), &new.text));
    if !yes {
        if !std::io::stdin().is_terminal() {
            complain("Nothing was accepted: add --yes when there is no terminal to ask at.");
            return Ok(exit::USAGE);
        }
        write!(std::io::stderr(), "Accept this for {}? [y/N] ", clean_text(wired.project.root_text()))?;
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        if !matches!(line.trim().to_lowercase().as_str(), "y" | "yes") {
            say("Nothing was accepted.");
            return Ok(exit::FAILED);
        }
    }
    pin(cx, wired, &by, reason.as_deref()).await?;
    say("Accepted.");
    Ok(exit::OK)
}

/// Pins the project's files as they are now. Also done by the commands of ours that change them for a person.
pub async fn pin(cx: &Context, wired: &Wired, by: &Approver, reason: Option<&str>) -> anyhow::Result<()> {
    let old = wired.store.pin(PinKind::Project, PROJECT_PIN).await?;
    let new = wired.project.read()?.pin();
    let draft = Draft::new(
        Event::TrustAccepted,
        [
            ("project", text(&clean_line(wired.project.root_text(), 1_024))),
            ("old_digest", old.and_then(|p| word(p.digest))),
            ("new_digest", word(new.digest)),
            ("by", word(by.id())),
            ("reason", reason.map(|r| clean_line(r, 500)).as_ref().and_then(text)),
        ],
    );
    wired.store.set_pin(PinKind::Project, PROJECT_PIN, &new, draft).await?;
    remember_root(&wired.project, &cx.places)
}

/// Lines that went and lines that came, hidden characters visible.
fn difference(old: &str, new: &str) -> String {
    let old_lines: Vec<&str> = old.lines().collect();
    let new_lines: Vec<&str> = new.lines().collect();
    let gone = old_lines.iter().filter(|l| !new_lines.contains(l)).map(|l| format!("- {}", clean_text(l)));
    let came = new_lines.iter().filter(|l| !old_lines.contains(l)).map(|l| format!("+ {}", clean_text(l)));
    let all: Vec<String> = gone.chain(came).collect();
    if all.is_empty() { "(only the order of lines differs)".to_owned() } else { all.join("\n") }
}
