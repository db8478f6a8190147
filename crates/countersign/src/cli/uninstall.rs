//! `countersign uninstall`: undoes `init`, byte for byte where nobody changed a file since.
//!
//! The log is evidence and is never removed by this command; it says where the log lies and how to remove it.

use super::init::{ask, find_root};
use super::{Context, complain, exit, need_person, say, show};
use crate::install::clients::Client;
use crate::install::{manifest, plan_undo, undo};
use crate::project::{FOLDER, Project};
use crate::{person, wire};
use countersign_core::code::Code;
use countersign_core::facts::shell::quote;
use countersign_core::json::Json;
use std::io::IsTerminal as _;

/// Undo `init` in a project.
///
/// Files that are as `init` left them become what they were before. From a settings file that was changed since, only
/// our hooks are taken out. The log stays in the state folder. It needs a person at a terminal that is not an agent's.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  countersign uninstall --dry-run\n  countersign uninstall --client codex\n  countersign uninstall"
)]
pub struct Uninstall {
    /// Take out the hooks of this client only; may be given again. The project stays set up while another client has
    /// hooks here. auto: all of them, which is meant without this flag too.
    #[arg(long, value_name = "NAME", value_parser = ["auto", "claude-code", "codex", "gemini"])]
    client: Vec<String>,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask back.
    #[arg(long)]
    yes: bool,
    /// Keep the log. It is kept anyway; this says so in a script.
    #[arg(long)]
    keep_log: bool,
}

impl Uninstall {
    /// Undoes.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let _ = self.keep_log;
        let only: Vec<&'static Client> = match self.client.iter().any(|c| c == "auto") {
            true => Vec::new(),
            false => self.client.iter().filter_map(|c| Client::named(c)).collect(),
        };
        let project = Project::at(&find_root(cx)?)?;
        let state = project.state(&cx.places);
        let mut known = manifest::read(&state, project.root_text())?;
        let plan = plan_undo(&project.root, &state, &known, &only);
        if !plan.problems.is_empty() {
            for problem in &plan.problems {
                complain(problem);
            }
            complain(
                "Nothing was changed: repair that by hand first. Hooks that stay without their project would block every call.",
            );
            return Ok(exit::FAILED);
        }
        let told = || {
            let files = plan
                .steps
                .iter()
                .map(|s| Json::object([("path", Json::str(&s.path)), ("kept", Json::Bool(!s.changes()))]));
            say(&Json::object([
                ("project", Json::str(project.root_text())),
                ("files", Json::Array(files.collect())),
                ("state", Json::str(state.to_string_lossy())),
            ])
            .canonical());
        };
        if plan.steps.is_empty() {
            match cx.global.json {
                true => told(),
                false => say(&format!("Nothing to undo in {}.", project.root.display())),
            }
            return Ok(exit::OK);
        }
        if !cx.global.json {
            say(&format!("Project {}   (~ changed, = kept, - taken away)", cx.bold(project.root_text())));
            for step in &plan.steps {
                say(&step.line(&project.root));
            }
        }
        if self.dry_run {
            match cx.global.json {
                true => told(),
                false => say("Nothing was changed (--dry-run)."),
            }
            return Ok(exit::OK);
        }
        if let Err(code) = prove(cx, &project).await {
            return Ok(code);
        }
        if !self.yes {
            if !std::io::stdin().is_terminal() {
                complain(
                    "Nothing was changed: there is no terminal to ask at. Add --yes to go on without asking.",
                );
                return Ok(exit::USAGE);
            }
            if !ask("Undo the set-up? Agents then work without the gate. [y/N] ")? {
                say("Nothing was changed.");
                return Ok(exit::FAILED);
            }
        }
        undo(&project.root, &state, &mut known, &plan)?;
        let kept: Vec<&str> = plan.steps.iter().filter(|s| !s.changes()).map(|s| s.path.as_str()).collect();
        if cx.global.json {
            told();
            return Ok(exit::OK);
        }
        match plan.partial {
            false => say("Undone. Agents of this project work without the gate from their next session on."),
            true => say(
                "Undone for these clients; their agents work here without the gate from their next session on. Other clients stay gated.",
            ),
        }
        if !kept.is_empty() {
            say(&format!("Kept, because it was changed since: {}", kept.join(", ")));
        }
        if project.folder().is_dir() && !plan.partial {
            say(&format!(
                "{FOLDER} stays, because it holds files that init did not make or that changed since."
            ));
        }
        if wire::has_state(&state) && !plan.partial {
            say(&format!("The log stays in {}.", state.display()));
            say(&format!("  look at it: {}", show::command(project.root_text(), "audit verify")));
            say(&format!("  remove it for good: rm -r {}", quote(&state.to_string_lossy())));
        }
        Ok(exit::OK)
    }
}

/// A person is needed, also where the store is gone or broken: whoever cannot open it must still get out.
async fn prove(cx: &Context, project: &Project) -> Result<(), u8> {
    let state = project.state(&cx.places);
    if wire::has_state(&state) {
        match wire::open(project.clone(), &cx.places).await {
            Ok(wired) => {
                let by = need_person(&wired, "uninstall").await?;
                // Before the hooks go: the log shall say why it ends. With the project's folder gone it cannot.
                if let Err(e) = wired.gate.note(&format!("uninstall by {}", by.id())).await
                    && project.root.join(FOLDER).is_dir()
                {
                    complain(&format!("the log does not take a remark: {e}"));
                }
                return Ok(());
            }
            Err(e) => complain(&format!("the store cannot be opened, going on without it: {e:#}")),
        }
    }
    person::prove(&[]).map(|_| ()).map_err(|why| {
        complain(&format!(
            "countersign: refused code={}\n`uninstall`: {why}",
            Code::ModeRequiresHuman.as_str()
        ));
        exit::NOT_AUTHENTICATED
    })
}
