//! `countersign status`: what is in force, in a few lines.

use super::{Context, complain, exit, say, show};
use crate::rules::Acceptance;
use crate::wire::Wired;
use countersign_core::json::Json;
use countersign_core::ledger::Halt;
use countersign_core::rulebook::settings::Mode;

/// Show what is in force: mode, halt, rules, questions, log.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  countersign status\n  countersign status --json")]
pub struct Status {
    /// Look at the disk only. (There is no server process yet, so this is what is always done.)
    #[arg(long)]
    offline: bool,
}

impl Status {
    /// Shows.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let _ = self.offline;
        let wired = cx.open().await?;
        let halt = wired.store.halt().await;
        let (head, hash) = wired.store.head().await?;
        let pending = wired.gate.pending().await?;
        let grants = wired.gate.grants().await?;
        let policy_ok = wired.gate.rulebook().is_some();
        if cx.global.json {
            say(&json(&wired, &halt, head, &hash, pending.len(), grants.len()).canonical());
        } else {
            say(&first_line(&wired, &halt));
            say(&format!("project:   {}", wired.project.root_text()));
            say(&format!("state:     {}", wired.project.state(&cx.places).display()));
            if let Some(book) = wired.gate.rulebook() {
                let s = book.settings();
                say(&format!(
                    "rules:     {} (level {}), digest {}",
                    book.rules().len(),
                    s.level.as_str(),
                    book.digest()
                ));
                if !s.allow.is_empty() {
                    say(&format!("standing:  {} allow(s) in your configuration", s.allow.len()));
                }
            }
            say(&format!("accepted:  {}", accepted(&wired.acceptance)));
            say(&format!("waiting:   {} question(s); `countersign pending`", pending.len()));
            for g in &grants {
                let root = wired.project.root_text();
                say(&format!(
                    "granted:   {} since {}; end it: {}",
                    g.grant.scope,
                    g.created_at,
                    show::command(root, &format!("deny {}", g.grant.grant_id))
                ));
            }
            say(&format!("log:       {head} records; `countersign audit verify` checks them"));
            say(
                "grade:     D0: agent and person are one OS user; `countersign doctor` says what that leaves open",
            );
            for warning in &wired.warnings {
                say(&format!("warning:   {warning}"));
            }
        }
        for problem in &wired.problems {
            complain(&format!("{problem:?}"));
        }
        Ok(if policy_ok { exit::OK } else { exit::FAILED })
    }
}

fn accepted(acceptance: &Acceptance) -> String {
    match acceptance {
        Acceptance::Accepted => "the project's configuration and policy are what was accepted".to_owned(),
        Acceptance::Never => {
            "never, so only what narrows is in force; run `countersign trust accept project`".to_owned()
        }
        Acceptance::Changed => {
            "changed since, so only what narrows is in force; run `countersign trust accept project`"
                .to_owned()
        }
        Acceptance::Unknown(why) => format!("cannot be told: {why}"),
    }
}

fn first_line(wired: &Wired, halt: &Result<Halt, countersign_gate::seams::StoreError>) -> String {
    match halt {
        Ok(Halt::Absent) => {}
        Ok(Halt::Present { reason }) => return format!("HALTED: every call is refused: {reason}"),
        Ok(Halt::Unknown { why }) => {
            return format!("HALTED: a halt cannot be ruled out, so every call is refused: {why}");
        }
        Err(e) => return format!("REFUSING: the store cannot be read, so every call is refused: {e}"),
    }
    match wired.gate.rulebook().map(|b| b.settings().mode) {
        None => "REFUSING: no rulebook is in force, so every call is refused".to_owned(),
        Some(Mode::Watch) => "watching, not protecting: rules are recorded, not enforced".to_owned(),
        Some(Mode::Enforce) => "enforcing".to_owned(),
    }
}

fn json(
    wired: &Wired,
    halt: &Result<Halt, countersign_gate::seams::StoreError>,
    head: u64,
    hash: &str,
    pending: usize,
    grants: usize,
) -> Json {
    let number = |n: usize| Json::Number(n.to_string());
    let (halted, reason) = match halt {
        Ok(Halt::Absent) => (false, None),
        Ok(Halt::Present { reason }) => (true, Some(reason.to_string())),
        Ok(Halt::Unknown { why }) => (true, Some(why.to_string())),
        Err(e) => (true, Some(e.to_string())),
    };
    let mut out = Json::object([
        ("version", Json::str(env!("CARGO_PKG_VERSION"))),
        ("project", Json::str(wired.project.root_text())),
        ("project_id", Json::str(&wired.project.id)),
        ("grade", Json::str("D0")),
        ("halted", Json::Bool(halted)),
        ("policy_in_force", Json::Bool(wired.gate.rulebook().is_some())),
        ("accepted", Json::Bool(wired.acceptance == Acceptance::Accepted)),
        ("approvals", Json::object([("pending", number(pending)), ("grants", number(grants))])),
        ("audit", Json::object([("records", Json::Number(head.to_string())), ("hash", Json::str(hash))])),
        ("warnings", Json::strings(&wired.warnings)),
        ("problems", Json::strings(wired.problems.iter().map(|p| p.to_string()))),
    ]);
    if let Some(reason) = reason {
        out.set("halt_reason", Json::str(reason));
    }
    if let Some(book) = wired.gate.rulebook() {
        let s = book.settings();
        out.set("mode", Json::str(s.mode.as_str()));
        out.set("autonomy_level", Json::str(s.level.as_str()));
        out.set("rulebook_digest", Json::str(book.digest().to_string()));
        out.set("rules", number(book.rules().len()));
    }
    out
}
