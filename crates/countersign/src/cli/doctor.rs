//! `countersign doctor`: looks at the set-up and tries it.
//!
//! Here are the command, the checks of our own side (project, configuration, store, keys, deployment) and the report.
//! What the client's settings say and what the registered hook really does is in `doctor/client.rs`. Nothing here
//! repairs anything, and "protected" is never said of what threats.md section 3 leaves open.

mod client;
mod trust;

use super::init::find_root;
use super::{Context, exit, say, show};
use crate::project::{FOLDER, Project};
use crate::rules::Acceptance;
use crate::wire::{self, Wired};
use countersign_core::cleanse::clean_line;
use countersign_core::facts::shell::quote;
use countersign_core::json::Json;
use countersign_core::ledger::Halt;
use countersign_core::record::Sealed;
use countersign_core::rulebook::settings::Mode;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Check the set-up, and try the installed hook with a harmless and a forbidden call.
///
/// One line a check: ok, warn, fail or info. The calls that are tried only ask for a decision; nothing runs.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  countersign doctor\n  countersign doctor --json\n\nExit code 1 if anything fails."
)]
pub struct Doctor {}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Ok,
    Warn,
    Fail,
    Info,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
            Level::Info => "info",
        }
    }
}

/// One line of the report.
struct Check {
    level: Level,
    name: &'static str,
    detail: String,
    fix: Option<String>,
}

/// The report as it grows.
#[derive(Default)]
pub(super) struct Report {
    checks: Vec<Check>,
    /// Whom the lines are about, where that must be said.
    about: Option<&'static str>,
}

impl Report {
    fn ok(&mut self, name: &'static str, detail: impl Into<String>) {
        self.add(Level::Ok, name, detail.into(), None);
    }

    fn info(&mut self, name: &'static str, detail: impl Into<String>) {
        self.add(Level::Info, name, detail.into(), None);
    }

    fn warn(&mut self, name: &'static str, detail: impl Into<String>, fix: impl Into<String>) {
        self.add(Level::Warn, name, detail.into(), Some(fix.into()));
    }

    fn fail(&mut self, name: &'static str, detail: impl Into<String>, fix: impl Into<String>) {
        self.add(Level::Fail, name, detail.into(), Some(fix.into()));
    }

    fn about(&mut self, whom: Option<&'static str>) {
        self.about = whom;
    }

    fn add(&mut self, level: Level, name: &'static str, detail: String, fix: Option<String>) {
        let detail = match self.about {
            Some(whom) if whom != name => format!("{whom}: {detail}"),
            _ => detail,
        };
        let detail = clean_line(&detail.replace('\n', " "), 1_000).to_string();
        self.checks.push(Check { level, name, detail, fix: fix.filter(|f| !f.is_empty()) });
    }

    fn failed(&self) -> usize {
        self.checks.iter().filter(|c| c.level == Level::Fail).count()
    }
}

/// Variables that a command of ours reads (NAMES section 7).
const KNOWN_VARIABLES: &[&str] = &[
    "COUNTERSIGN_LOG_LEVEL",
    "COUNTERSIGN_REMOTE",
    "COUNTERSIGN_TOKEN",
    "COUNTERSIGN_TOKEN_FILE",
    "COUNTERSIGN_STORE_URL",
    "COUNTERSIGN_STORE_PASSWORD_FILE",
    "COUNTERSIGN_VAULT_PASSPHRASE",
    "COUNTERSIGN_VAULT_PASSPHRASE_FILE",
    "COUNTERSIGN_METRICS_PORT",
    "COUNTERSIGN_SECRETS_GATEWAY_URL",
    "COUNTERSIGN_SECRETS_GATEWAY_TOKEN_FILE",
];

impl Doctor {
    /// Looks and tries.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let mut report = Report::default();
        let root = find_root(cx)?;
        let project = Project::at(&root)?;
        let verb = |v: &str| show::command(project.root_text(), v);
        if project.folder().is_dir() {
            report.ok("project", project.root_text());
            let wired = own_side(cx, &project, &mut report).await;
            client::check(cx, &project, wired.as_ref(), &mut report).await;
        } else {
            report.fail("project", format!("{} has no folder {FOLDER}", project.root_text()), verb("init"));
        }
        environment(&mut report);
        grade(cx, &project, &mut report);
        let failed = report.failed();
        if cx.global.json {
            say(&json(&project, &report).canonical());
        } else {
            show(cx, &report);
        }
        Ok(if failed == 0 { exit::OK } else { exit::FAILED })
    }
}

/// Secrets that servers find in their environment.
fn lent(project: &Project, report: &mut Report) {
    // A file that does not load starts nothing, and `mcp` says why.
    for entry in super::mcp::entries(project).unwrap_or_default().iter().filter(|e| e.enabled) {
        for (variable, name) in entry.secrets() {
            let detail = format!(
                "the server `{}` finds the secret `{}` in its environment as {variable}: that shows the value to this server and to whatever it starts",
                entry.name,
                name.as_str()
            );
            report.info("secrets", detail);
        }
    }
}

/// Configuration, rules, pin, store, keys, halt.
async fn own_side(cx: &Context, project: &Project, report: &mut Report) -> Option<Wired> {
    let verb = |v: &str| show::command(project.root_text(), v);
    let state = project.state(&cx.places);
    key_mode(cx, report);
    if !wire::has_state(&state) {
        report.fail("store", "there is no log yet: nothing was accepted on this machine", verb("init"));
        return None;
    }
    folder_modes(&state, report);
    let wired = match wire::open(project.clone(), &cx.places).await {
        Ok(wired) => wired,
        Err(e) => {
            report.fail(
                "store",
                format!("it does not open, so every call is refused: {e:#}"),
                verb("audit verify"),
            );
            return None;
        }
    };
    let config = project.folder().join("config.toml");
    match (&wired.settings, wired.problems.first()) {
        (Some(_), None) => report.ok("configuration", "configuration and rules load"),
        (Some(_), Some(problem)) => {
            report.fail(
                "rules",
                format!("they do not load, so every call is refused: {problem}"),
                verb("status"),
            );
        }
        (None, problem) => {
            let why = problem.map(ToString::to_string).unwrap_or_default();
            let fix = format!("repair {}, then: {}", config.display(), verb("trust accept project"));
            report.fail("configuration", format!("it does not load, so every call is refused: {why}"), fix);
        }
    }
    for warning in &wired.warnings {
        report.warn("configuration", warning, verb("config show"));
    }
    for pin in wired.settings.iter().flat_map(|s| &s.rules.ground.tiers) {
        report.info(
            "tiers",
            format!("`{}` is pinned to {} because {}", pin.pattern, pin.tier.as_str(), pin.because),
        );
    }
    lent(project, report);
    let accept = verb("trust accept project");
    match &wired.acceptance {
        Acceptance::Accepted => report.ok("accepted", "configuration and rules are what a person accepted"),
        Acceptance::Never => {
            report.warn("accepted", "never accepted on this machine: only what narrows is in force", accept)
        }
        Acceptance::Changed => {
            report.warn(
                "accepted",
                "changed since a person accepted them: only what narrows is in force",
                accept,
            );
        }
        Acceptance::Unknown(why) => report.fail("accepted", format!("it cannot be told: {why}"), accept),
    }
    log(&wired, report).await;
    halt(&wired, report).await;
    match wired.gate.rulebook().map(|b| b.settings().mode) {
        Some(Mode::Enforce) => report.ok("mode", "enforcing"),
        Some(Mode::Watch) => report.warn("mode", "watching, not protecting", verb("mode enforce")),
        // Said above already.
        None => {}
    }
    Some(wired)
}

fn key_mode(cx: &Context, report: &mut Report) {
    let path = cx.places.keys.join("log.key");
    match std::fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_file() && meta.mode() & 0o077 == 0 => {
            report.ok("log key", path.display().to_string())
        }
        Ok(meta) if meta.is_file() => report.fail(
            "log key",
            format!("others may read {} (mode {:o})", path.display(), meta.mode() & 0o777),
            format!("chmod 600 {}", quote(&path.to_string_lossy())),
        ),
        Ok(_) => report.fail("log key", format!("{} is no file", path.display()), "restore it from a backup"),
        Err(_) => report.info("log key", "none yet; it is made with the first record"),
    }
}

fn folder_modes(state: &Path, report: &mut Report) {
    let wide = |path: &Path| {
        let mode = std::fs::symlink_metadata(path).ok()?.mode() & 0o777;
        (mode & 0o077 != 0).then_some(mode)
    };
    if let Some(mode) = wide(state) {
        let fix = format!("chmod 700 {}", quote(&state.to_string_lossy()));
        report.fail("state folder", format!("others may open {} (mode {mode:o})", state.display()), fix);
        return;
    }
    for file in std::fs::read_dir(state).into_iter().flatten().flatten() {
        let path = file.path();
        if let Some(mode) = wide(&path) {
            let to = if path.is_dir() { "700" } else { "600" };
            let fix = format!("chmod {to} {}", quote(&path.to_string_lossy()));
            report.fail("state folder", format!("others may open {} (mode {mode:o})", path.display()), fix);
            return;
        }
    }
    report.ok("state folder", format!("{} is yours alone", state.display()));
}

/// The head only: `audit verify` walks the whole log.
async fn log(wired: &Wired, report: &mut Report) {
    let verify = show::command(wired.project.root_text(), "audit verify");
    let (seq, hash) = match wired.store.head().await {
        Ok(head) => head,
        Err(e) => return report.fail("log", e.to_string(), verify),
    };
    if seq == 0 {
        return report.ok("log", "empty");
    }
    match wired.store.records(seq - 1, 1).await.map(|rows| rows.into_iter().next()) {
        Ok(Some(row)) => match Sealed::read(row.seq, &row.body, &row.hash) {
            Ok(record) if record.hash().to_string() == hash => {
                report.ok("log", format!("{seq} records; the last one is what the head says"));
            }
            Ok(_) => report.fail("log", "its last record is not the one that its head names", verify),
            Err(fault) => report.fail("log", fault.to_string(), verify),
        },
        Ok(None) => report.fail("log", format!("record {seq}, which its head names, is missing"), verify),
        Err(e) => report.fail("log", e.to_string(), verify),
    }
}

async fn halt(wired: &Wired, report: &mut Report) {
    let resume = show::command(wired.project.root_text(), "resume");
    match wired.store.halt().await {
        Ok(Halt::Absent) => report.ok("halt", "nothing is halted"),
        Ok(Halt::Present { reason }) => {
            report.warn("halt", format!("HALTED, every call is refused: {reason}"), resume)
        }
        Ok(Halt::Unknown { why }) => report.fail(
            "halt",
            format!("a halt cannot be ruled out, so every call is refused: {why}"),
            resume,
        ),
        Err(e) => report.fail("halt", format!("it cannot be read, so every call is refused: {e}"), resume),
    }
}

fn environment(report: &mut Report) {
    let unknown: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("COUNTERSIGN_") && !KNOWN_VARIABLES.contains(&name.as_str()))
        .collect();
    for name in &unknown {
        report.warn("environment", format!("{name} means nothing here"), format!("unset {name}"));
    }
    if unknown.is_empty() {
        report.ok("environment", "no unknown COUNTERSIGN_ variable");
    }
}

/// The deployment grade, found by looking at whom the state belongs to, and what it leaves open (threats.md 3).
fn grade(cx: &Context, project: &Project, report: &mut Report) {
    let me = crate::person::uid();
    let owner = std::fs::metadata(project.state(&cx.places))
        .or_else(|_| std::fs::metadata(&cx.places.home))
        .map(|m| m.uid());
    match owner {
        Ok(uid) if uid == me => report.info(
            "grade",
            "D0: hooks in the project, state, keys and log of the same OS user as the agent. Every call made through the client is decided and recorded",
        ),
        _ => {
            report.warn("grade", "state does not belong to you; run this as the user whose agent works here", "");
            return;
        }
    }
    report.info(
        "open in D0",
        "an agent that runs a shell can always: remove or edit hook registrations; kill, trace or replace the gate and its binary; set PATH, LD_PRELOAD or our variables for the next start; read keys and files of yours; delete the HALT file; approve for itself with what it finds on disk; rebuild the whole log; write a script with an allowed tool and run it by an innocent name; swap a file between approval and execution; call programs and the network past the gate. No code inside the product can change that; another OS user for the gate (D1), a container for the agent (D2) or a gate on another machine (D3) does",
    );
    report.info(
        "approvals",
        "approving high severity from the CLI on a same-user laptop is weak: a process that escapes its session's ancestry looks like you. To raise it, run the agent in a container or as another OS user, and approve from an account that it cannot reach",
    );
    report.info(
        "log in D0",
        "whoever is your user can rewrite log and head together; keep the output of `countersign audit verify --json` elsewhere now and then, and check against it with --checkpoints",
    );
}

fn show(cx: &Context, report: &Report) {
    let width = report.checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for check in &report.checks {
        if cx.global.quiet && matches!(check.level, Level::Ok | Level::Info) {
            continue;
        }
        let fix = check.fix.as_ref().map(|f| format!(" — {f}")).unwrap_or_default();
        let word = format!("{:<4}", check.level.as_str());
        let word = match (cx.colour(), check.level) {
            (true, Level::Fail) => format!("\u{1b}[31m{word}\u{1b}[0m"),
            (true, Level::Warn) => format!("\u{1b}[33m{word}\u{1b}[0m"),
            _ => word,
        };
        say(&format!("{word}  {:<width$} — {}{fix}", check.name, check.detail));
    }
    let warned = report.checks.iter().filter(|c| c.level == Level::Warn).count();
    if !cx.global.quiet {
        say(&format!("\n{} failed, {warned} warned.", report.failed()));
    }
}

fn json(project: &Project, report: &Report) -> Json {
    let checks = report.checks.iter().map(|c| {
        let mut json = Json::object([
            ("level", Json::str(c.level.as_str())),
            ("check", Json::str(c.name)),
            ("detail", Json::str(&c.detail)),
        ]);
        if let Some(fix) = &c.fix {
            json.set("fix", Json::str(fix));
        }
        json
    });
    Json::object([
        ("ok", Json::Bool(report.failed() == 0)),
        ("project", Json::str(project.root_text())),
        ("grade", Json::str("D0")),
        ("checks", Json::Array(checks.collect())),
    ])
}
