//! The command line: one file a command, and what they share.
//!
//! Every command has `--help` with an example, stable exit codes (NAMES section 2) and, where a script would want it,
//! `--json`. Text of agents was cleansed when it was stored and is cleansed again before it is shown.

mod answer;
mod audit;
mod completions;
mod config;
mod decide;
mod demo;
mod doctor;
mod explain;
mod halt;
mod hook;
mod init;
mod listen;
mod log;
mod mcp;
mod memory;
mod mode;
mod pending;
mod policy;
mod report;
mod serve;
pub mod show;
mod status;
mod token;
mod trial;
mod trust;
mod uninstall;
mod vault;
mod watch;

use crate::person;
use crate::places::Places;
use crate::project::Project;
use crate::wire::{self, Wired};
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use countersign_core::cleanse::clean_line;
use countersign_core::code::Code;
use countersign_core::principal::Approver;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

/// Exit codes of NAMES section 2.
pub mod exit {
    /// Done; nothing found wrong.
    pub const OK: u8 = 0;
    /// Asked for and failed, or found bad.
    pub const FAILED: u8 = 1;
    /// Usage, or could not be determined.
    pub const USAGE: u8 = 2;
    /// A person is needed.
    pub const NOT_AUTHENTICATED: u8 = 3;
}

/// The gate between AI agents and their tools.
///
/// Every tool call of an agent is judged by rules: it is allowed, refused, or held until a person answers. Every
/// decision is recorded in a hash-chained log.
#[derive(Parser, Debug)]
#[command(name = "countersign", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Try it: countersign demo\nSet it up in a project: countersign init")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct Global {
    /// Root of the project; else the project of the working folder.
    #[arg(long, global = true, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Print JSON for scripts.
    #[arg(long, global = true)]
    pub json: bool,
    /// No colour, whatever the terminal can do.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Say only what was asked for.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more.
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    Demo(demo::Demo),
    Init(init::Init),
    Doctor(doctor::Doctor),
    Uninstall(uninstall::Uninstall),
    Pending(pending::Pending),
    Approve(answer::Approve),
    Deny(answer::Deny),
    Watch(watch::Watch),
    Explain(explain::Explain),
    Status(status::Status),
    Report(report::Report),
    Mode(mode::ModeCommand),
    #[command(
        subcommand,
        after_help = "Example:\n  countersign trust list\n  countersign trust accept project"
    )]
    Trust(trust::Trust),
    Halt(halt::Halt),
    #[command(alias = "unfreeze")]
    Resume(halt::Resume),
    #[command(
        subcommand,
        after_help = "Example:\n  countersign audit tail -n 20\n  countersign audit verify"
    )]
    Audit(audit::Audit),
    #[command(subcommand, after_help = "Example:\n  countersign config show --origin")]
    Config(config::Config),
    #[command(
        subcommand,
        after_help = "Example:\n  countersign policy list\n  countersign policy check\n  countersign policy test"
    )]
    Policy(policy::Policy),
    #[command(
        subcommand,
        after_help = "Example:\n  countersign vault set github_token --host api.github.com\n  countersign vault list"
    )]
    Vault(vault::VaultCommand),
    #[command(
        subcommand,
        after_help = "Example:\n  countersign memory set work plan --from-file plan.md\n  countersign memory list work"
    )]
    Memory(memory::MemoryCommand),
    #[command(subcommand, after_help = "Example:\n  countersign token list")]
    Token(token::TokenCommand),
    Serve(serve::Serve),
    Mcp(mcp::Mcp),
    Decide(decide::Decide),
    Hook(hook::Hook),
    Completions(completions::Completions),
}

impl Command {
    /// The exit code of a command that could not do its work: what blocks, where a client waits for it.
    pub fn failed(&self) -> u8 {
        match self {
            Command::Hook(hook) if hook.is_blocking() => exit::USAGE,
            Command::Hook(_) => exit::OK,
            Command::Decide(_) => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}

/// What every command works with.
pub struct Context {
    /// The flags.
    pub global: Global,
    /// The user's folders.
    pub places: Places,
}

/// Runs a command; the number is the exit code.
pub async fn run(cli: Cli) -> anyhow::Result<u8> {
    let cx = Context { global: cli.global, places: Places::from_env()? };
    match cli.command {
        Command::Demo(c) => c.run(&cx).await,
        Command::Init(c) => c.run(&cx).await,
        Command::Doctor(c) => c.run(&cx).await,
        Command::Uninstall(c) => c.run(&cx).await,
        Command::Pending(c) => c.run(&cx).await,
        Command::Approve(c) => c.run(&cx).await,
        Command::Deny(c) => c.run(&cx).await,
        Command::Watch(c) => c.run(&cx).await,
        Command::Explain(c) => c.run(&cx).await,
        Command::Status(c) => c.run(&cx).await,
        Command::Report(c) => c.run(&cx).await,
        Command::Mode(c) => c.run(&cx).await,
        Command::Trust(c) => c.run(&cx).await,
        Command::Halt(c) => c.run(&cx).await,
        Command::Resume(c) => c.run(&cx).await,
        Command::Audit(c) => c.run(&cx).await,
        Command::Config(c) => c.run(&cx).await,
        Command::Policy(c) => c.run(&cx).await,
        Command::Vault(c) => c.run(&cx).await,
        Command::Memory(c) => c.run(&cx).await,
        Command::Token(c) => c.run(&cx).await,
        Command::Serve(c) => c.run(&cx).await,
        Command::Mcp(c) => c.run(&cx).await,
        Command::Decide(c) => c.run(&cx).await,
        Command::Hook(c) => c.run(&cx).await,
        Command::Completions(c) => c.run(),
    }
}

impl Context {
    /// The project that is meant, or an error that says how to name one.
    pub fn project(&self) -> anyhow::Result<Project> {
        match self.find_project()? {
            Some(project) => Ok(project),
            None => anyhow::bail!(
                "there is no project here: no folder upwards holds .countersign; go there, name it with --project DIR, or set one up with `countersign init`"
            ),
        }
    }

    /// The project that is meant, if any.
    pub fn find_project(&self) -> anyhow::Result<Option<Project>> {
        match &self.global.project {
            Some(dir) => Project::at(dir).map(Some),
            None => Project::find(&std::env::current_dir().context("the working folder is gone")?),
        }
    }

    /// Opens the project that is meant.
    pub async fn open(&self) -> anyhow::Result<Wired> {
        wire::open(self.project()?, &self.places).await
    }

    /// Opens the project that is meant, or every project of the user.
    pub async fn open_all(&self) -> anyhow::Result<Vec<Wired>> {
        if let Some(project) = self.find_project()? {
            return Ok(vec![wire::open(project, &self.places).await?]);
        }
        let mut all = Vec::new();
        for root in known_roots(&self.places) {
            // A project whose folder is gone, or whose store cannot be opened, must not hide the others.
            if let Ok(project) = Project::at(&root)
                && let Ok(wired) = wire::open(project, &self.places).await
            {
                all.push(wired);
            }
        }
        Ok(all)
    }

    /// Whether colour may be used on standard output.
    pub fn colour(&self) -> bool {
        !self.global.no_color
            && !self.global.json
            && std::env::var_os("NO_COLOR").is_none()
            && std::io::stdout().is_terminal()
    }

    /// Bold text where colour may be used.
    pub fn bold(&self, text: &str) -> String {
        if self.colour() { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Roots of the projects that have state on this machine.
fn known_roots(places: &Places) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(&places.state).into_iter().flatten().flatten();
    let mut roots: Vec<PathBuf> = folders
        .filter(|f| wire::has_state(&f.path()))
        .filter_map(|f| std::fs::read_to_string(f.path().join("root")).ok())
        .map(|text| PathBuf::from(text.trim_end_matches('\n')))
        .collect();
    roots.sort();
    roots
}

/// Notes a project's root beside its state, so that verbs without a project find it.
pub fn remember_root(project: &Project, places: &Places) -> anyhow::Result<()> {
    let state = project.state(places);
    crate::places::make_folder(&state)?;
    crate::places::replace(&state.join("root"), format!("{}\n", project.root_text()).as_bytes())
}

/// Proves a person for a verb that only a person may use. A refusal is recorded and told; the number is the exit code.
pub async fn need_person(wired: &Wired, verb: &str) -> Result<Approver, u8> {
    let agents = match wired.store.agents().await {
        Ok(agents) => agents,
        Err(e) => {
            complain(&format!("the recorded agent processes cannot be read: {e}"));
            return Err(exit::FAILED);
        }
    };
    match person::prove(&agents) {
        Ok(approver) => Ok(approver),
        Err(why) => {
            complain(&format!(
                "countersign: refused code={}\n`{verb}`: {why}",
                Code::ModeRequiresHuman.as_str()
            ));
            let tool = clean_line(&format!("countersign {verb}"), 200);
            let why = clean_line(&why.to_string(), 300);
            let recorded =
                wired.gate.refuse_unread("cli", "other", &tool, Code::ModeRequiresHuman, &why).await;
            if let Err(e) = recorded {
                complain(&format!("the refusal could not be recorded: {e}"));
            }
            Err(exit::NOT_AUTHENTICATED)
        }
    }
}

/// Proves a person for a verb about what is the user's and no project's. The agents of every project count. The inner
/// number is the exit code.
pub async fn need_user(cx: &Context, verb: &str) -> anyhow::Result<Result<(), u8>> {
    let mut agents = Vec::new();
    let mut here = None;
    let mut roots = known_roots(&cx.places);
    roots.extend(cx.find_project()?.map(|project| project.root));
    roots.sort();
    roots.dedup();
    for root in roots {
        let Ok(project) = Project::at(&root) else { continue };
        // A store that cannot be read could hold the very agent that asks.
        let wired = wire::open(project, &cx.places).await?;
        agents.extend(wired.store.agents().await?);
        here = Some(wired);
    }
    match person::prove(&agents) {
        Ok(_) => Ok(Ok(())),
        Err(why) => {
            let code = Code::ModeRequiresHuman;
            complain(&format!("countersign: refused code={}\n`{verb}`: {why}", code.as_str()));
            if let Some(wired) = here {
                let tool = clean_line(&format!("countersign {verb}"), 200);
                let why = clean_line(&why.to_string(), 300);
                if let Err(e) = wired.gate.refuse_unread("cli", "other", &tool, code, &why).await {
                    complain(&format!("the refusal could not be recorded: {e}"));
                }
            }
            Ok(Err(exit::NOT_AUTHENTICATED))
        }
    }
}

/// The passphrase that the environment gives, by a file or itself. Programs of the same user can read the environment.
pub fn given_passphrase() -> Option<wire::Passphrase> {
    use countersign_core::secret::Secret;
    if let Some(path) = std::env::var_os("COUNTERSIGN_VAULT_PASSPHRASE_FILE") {
        return Some(Box::new(move |_| {
            let mut bytes =
                std::fs::read(&path).map_err(|e| format!("{}: {e}", PathBuf::from(&path).display()))?;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
            Ok(Secret::new(bytes))
        }));
    }
    let text = std::env::var("COUNTERSIGN_VAULT_PASSPHRASE").ok().filter(|text| !text.is_empty())?;
    let text = zeroize::Zeroizing::new(text);
    Some(Box::new(move |_| Ok(Secret::new(text.as_bytes().to_vec()))))
}

/// Asks back before something is done; the exit code when it is not.
pub fn refused(yes: bool, question: &str) -> anyhow::Result<Option<u8>> {
    if yes {
        return Ok(None);
    }
    if !std::io::stdin().is_terminal() {
        complain("Nothing was done: add --yes when there is no terminal to ask at.");
        return Ok(Some(exit::USAGE));
    }
    write!(std::io::stderr(), "{question} [y/N] ")?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if matches!(line.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(None);
    }
    say("Nothing was done.");
    Ok(Some(exit::FAILED))
}

/// Says something on standard error.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints to standard output; a reader that went away is no error.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
