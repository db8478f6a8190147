//! `countersign demo`: a short session through the real gate in a scratch folder, for newcomers. Nothing outside the
//! folder is touched, no network is used, and the folder is gone afterwards.

use super::{Context, exit, say, show};
use crate::clock::SystemClock;
use crate::person;
use crate::places::{Places, make_folder, write_new};
use crate::project::{FOLDER, Project};
use crate::wire::{self, Wired};
use anyhow::Context as _;
use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::ids::CallId;
use countersign_core::json::Json;
use countersign_core::ledger::Via;
use countersign_core::principal::{Approver, Assurance, Client, Principal};
use countersign_gate::gate::{Decision, Given, Patience, Silent};
use countersign_gate::seams::Clock as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See the gate at work: a call that is allowed, one that is refused, one that waits for you.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  countersign demo")]
pub struct Demo {
    /// Keep the scratch folder.
    #[arg(long)]
    keep: bool,
}

const SOFT: &str = r#"// A rule of this demo's own: a deployment needs a person.
@tier("soft") @rule_id("ask_before_deploy") @severity("high") @summary("deploys to production")
forbid (principal, action == Agent::Action::"execute_bash", resource)
when { context.command like "*./deploy production*" };
"#;

/// A scratch folder that goes when it is dropped.
struct Scratch(PathBuf, bool);

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.1 {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

impl Demo {
    /// Plays the session.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let name = format!("countersign-demo-{}", SystemClock.fresh_id());
        let scratch = Scratch(std::env::temp_dir().join(name), self.keep);
        let (wired, places) = set_up(cx, &scratch.0).await?;
        let root = wired.project.root.clone();
        let attended = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        say(&cx.bold("A scripted agent works in a scratch folder; every shell line it wants to run goes through the gate."));
        say(&format!("folder: {}\n", scratch.0.display()));

        step(cx, &wired, &root, 1, "looks around", "ls -l", attended).await?;
        step(cx, &wired, &root, 2, "tries to clean up too much", "rm -rf /opt/important", attended).await?;
        let third = step(cx, &wired, &root, 3, "wants to deploy", "./deploy production", attended).await?;

        say(&cx.bold("The log of what happened, each record linked to the one before:"));
        let records = wired.store.records(0, 1_000).await?;
        for row in &records {
            let record = countersign_core::record::Sealed::read(row.seq, &row.body, &row.hash)?;
            say(&super::audit::line(record.json()));
        }
        let verified = super::audit::walk(&*wired.store, Vec::new()).await?;
        let whole = verified.faults.is_empty();
        say(&match verified.faults.first() {
            None => {
                format!("\nverified: {} records, one chain, head {}", verified.records, verified.head.hash)
            }
            Some(fault) => format!("\nNOT verified: {fault}"),
        });
        say("\nNext: `countersign init` in a project of yours, then work with Claude Code as always.");
        drop(wired);
        drop(places);
        Ok(if whole && third { exit::OK } else { exit::FAILED })
    }
}

async fn set_up(cx: &Context, folder: &Path) -> anyhow::Result<(Wired, Places)> {
    let places = Places::below(&folder.join("own"));
    let root = folder.join("project");
    make_folder(&root.join(FOLDER).join("policy"))?;
    write_new(&root.join(FOLDER).join("config.toml"), b"version = 1\ngate.mode = \"enforce\"\n")?;
    write_new(&root.join(FOLDER).join("policy/soft.cedar"), SOFT.as_bytes())?;
    write_new(&root.join("deploy"), b"#!/bin/sh\necho \"deployed to $1\"\n")?;
    std::fs::set_permissions(root.join("deploy"), std::fs::Permissions::from_mode(0o755))
        .context("deploy")?;
    let project = Project::at(&root)?;
    let first = wire::open(project.clone(), &places).await?;
    let by = approver()?;
    let own = Context { global: cx.global.clone(), places: places.clone() };
    super::trust::pin(&own, &first, &by.id(), Some("demo"), &project.read()?.pin()).await?;
    drop(first);
    let wired = wire::open(project, &places).await?;
    if let Some(problem) = wired.problems.first() {
        anyhow::bail!("the demo's own rules do not load: {problem}");
    }
    Ok((wired, places))
}

fn approver() -> anyhow::Result<Approver> {
    // The store of the demo is its own; nothing of the user's can be approved with this.
    Approver::of(&person::me(), Assurance::Cli).context("no person")
}

/// One call, told as it goes. `false` when it did not end as the demo shows it.
async fn step(
    cx: &Context,
    wired: &Wired,
    root: &Path,
    number: u32,
    what: &str,
    line: &str,
    attended: bool,
) -> anyhow::Result<bool> {
    say(&cx.bold(&format!("{number}. The agent {what}: {line}")));
    let call = ToolCall::new(CallParts {
        call_id: CallId(SystemClock.fresh_id()),
        door: Door::Cli,
        principal: Principal::Agent { client: Client::Other, uid: person::uid(), agent_type: None },
        session: Session { client: Client::Other, id: "demo".to_owned() },
        agent_id: None,
        tool_use_id: None,
        tool: "Bash".to_owned(),
        args: Json::object([("command", Json::str(line))]),
        cwd: root.to_str().map(str::to_owned),
        joins: None,
        served: None,
    })?;
    let hand = wire::scratch_shell(root);
    let calling = wired.gate.call(&call, Patience::default(), &Silent, &*hand);
    let answering = answer(cx, wired, attended);
    let ((answered, result), ()) = tokio::select! {
        done = calling_with(calling, answering) => done?,
    };
    match &answered.decision {
        Decision::Allowed { granted } => {
            say(if *granted { "   allowed: you said yes." } else { "   allowed: no rule objects." });
            let text = match result.map(|done| done.result) {
                Some(Ok(Given::Text(text) | Given::Message(text))) => text.to_string(),
                Some(Err(code)) => format!("withheld: {}", code.as_str()),
                None => String::new(),
            };
            for line in text.lines() {
                say(&format!("   | {line}"));
            }
        }
        Decision::Refused { code } => say(&format!("   refused ({}): {}", code.as_str(), answered.reason)),
        Decision::Pending { .. } => say("   still waiting"),
    }
    say("");
    Ok(!matches!(answered.decision, Decision::Pending { .. }))
}

/// Runs the call and, beside it, the one who answers; the call's end ends both.
async fn calling_with<T>(
    calling: impl Future<Output = T>,
    answering: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<(T, ())> {
    tokio::pin!(calling, answering);
    tokio::select! {
        done = &mut calling => Ok((done, ())),
        answered = &mut answering => {
            answered?;
            Ok((calling.await, ()))
        }
    }
}

/// Waits for a question and has it answered: by you, or by itself when nobody is there.
async fn answer(cx: &Context, wired: &Wired, attended: bool) -> anyhow::Result<()> {
    let row = loop {
        if let Some(row) = wired.gate.pending().await?.into_iter().next() {
            break row;
        }
        wired.store.changed(Duration::from_millis(250)).await;
    };
    say("   held: a person must say so.");
    let shown = show::request(cx, wired.project.root_text(), &row, None);
    for line in
        shown.lines().filter(|l| !["yes:", "no:", "always:"].iter().any(|w| l.trim_start().starts_with(w)))
    {
        say(&format!("   {line}"));
    }
    let yes = if attended {
        tokio::task::spawn_blocking(ask).await??
    } else {
        say("   (no terminal: the demo answers itself, with yes)");
        true
    };
    let id = row.request.approval_id;
    let done = if yes {
        wired.gate.approve(id, "this_call", approver()?, Via::Cli).await
    } else {
        wired.gate.deny(id, "not today", approver()?, Via::Cli).await
    };
    done.map(|_| ()).map_err(|e| anyhow::anyhow!("{e}"))
}

fn ask() -> std::io::Result<bool> {
    let mut err = std::io::stderr();
    write!(err, "   Your answer: let it run? [y/N] ")?;
    err.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}
