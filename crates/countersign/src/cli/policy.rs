//! `countersign policy`: the rules as code: list and show them, check a proposal, test it on cases, replay what was
//! recorded under it, and take up a suggestion.
//!
//! Everything here but `replay` and `suggest` works without opening the store, so it runs in a build service as it does at a desk.

mod cases;
mod replay;
mod suggest;

pub use suggest::suggestions;

use super::{Context, complain, exit, say, show};
use crate::project::{FOLDER, Layer, Project};
use crate::rules::{self, Problems};
use anyhow::bail;
use countersign_core::json::Json;
use countersign_core::rulebook::{PolicyText, Rule, RuleSet, Rulebook};
use std::path::{Path, PathBuf};

/// See, check, test and replay the rules.
#[derive(clap::Subcommand, Debug)]
pub enum Policy {
    /// List the rules in force, built-in ones included, and standing allows.
    #[command(after_help = "Example:\n  countersign policy list --set soft")]
    List {
        /// Only this set.
        #[arg(long, value_parser = ["hard", "soft"])]
        set: Option<String>,
    },
    /// Show one rule with its text.
    #[command(after_help = "Example:\n  countersign policy show force_push_any")]
    Show {
        /// Its id.
        rule: String,
    },
    /// Check configuration and rules: every problem with file, line, column and what to do.
    #[command(
        after_help = "Example:\n  countersign policy check\n  countersign policy check proposal/ --json\n  countersign policy check --wrap-legacy old.cedar > soft.cedar\n\nExit code 0 with warnings, 1 if anything does not load."
    )]
    Check {
        /// A project, a folder like its .countersign, or one file of rules; else the project of the working folder.
        path: Option<PathBuf>,
        /// Print the unannotated forbids of a file as soft rules with ids of their own, and check nothing else.
        #[arg(long, requires = "path")]
        wrap_legacy: bool,
    },
    /// Try the rules on cases.
    #[command(after_help = cases::HELP)]
    Test(cases::Test),
    /// Judge recorded calls again, and list what would be decided otherwise.
    #[command(after_help = replay::HELP)]
    Replay(replay::Replay),
    /// Propose standing allows for what was approved three times.
    #[command(after_help = suggest::HELP)]
    Suggest(suggest::Suggest),
}

impl Policy {
    /// Runs the verb.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        match self {
            Policy::List { set } => list(cx, set.as_deref()),
            Policy::Show { rule } => show_rule(cx, &rule),
            Policy::Check { path: Some(path), wrap_legacy: true } => wrap(&path),
            Policy::Check { path, .. } => check(cx, path.as_deref()),
            Policy::Test(test) => test.run(cx),
            Policy::Replay(replay) => replay.run(cx).await,
            Policy::Suggest(suggest) => suggest.run(cx).await,
        }
    }
}

/// A project with its rules loaded, and remarks.
struct Read {
    project: Project,
    settings: crate::config::Settings,
    book: Rulebook,
    warnings: Vec<String>,
}

/// Reads a project's rules as its files have them now, whether they were accepted or not.
fn read(cx: &Context, folder: Option<&Path>) -> anyhow::Result<Result<Read, Problems>> {
    let (project, layer) = match folder {
        None => {
            let project = cx.project()?;
            let layer = project.read()?;
            (project, layer)
        }
        Some(folder) => proposal(cx, folder)?,
    };
    let settings = match rules::settings(Some(&layer), &cx.places, &project) {
        Ok(settings) => settings,
        Err(problems) => return Ok(Err(problems)),
    };
    let checked = rules::checked(layer.policy(), &settings);
    Ok(checked.map(|(book, warnings)| Read { project, settings, book, warnings }))
}

/// A folder that is a project, or looks like the folder of ours in one; then the project is the working folder's.
fn proposal(cx: &Context, folder: &Path) -> anyhow::Result<(Project, Layer)> {
    if folder.join(FOLDER).is_dir() {
        let project = Project::at(folder)?;
        let layer = project.read()?;
        return Ok((project, layer));
    }
    if !folder.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    let project = match cx.find_project()? {
        Some(project) => project,
        None => Project::at(folder)?,
    };
    let layer = Layer::read(&folder.canonicalize()?)?;
    if [&layer.config, &layer.hard, &layer.soft].iter().all(|f| f.is_none()) {
        bail!(
            "{} holds neither {FOLDER} nor config.toml, policy/hard.cedar or policy/soft.cedar",
            folder.display()
        );
    }
    Ok((project, layer))
}

/// Reads, or says what is wrong and gives the exit code.
fn read_or_say(cx: &Context, folder: Option<&Path>) -> anyhow::Result<Result<Read, u8>> {
    Ok(read(cx, folder)?.map_err(|problems| {
        tell(cx, &problems, &[]);
        exit::FAILED
    }))
}

fn rule_json(rule: &Rule, disabled: bool) -> Json {
    let mut json = Json::object([
        ("rule_id", Json::str(&rule.id)),
        ("set", Json::str(rule.set.as_str())),
        ("summary", Json::str(rule.summary.as_str())),
        ("file", Json::str(&rule.file)),
        ("line", Json::int(i64::try_from(rule.line).unwrap_or(i64::MAX))),
        ("disabled", Json::Bool(disabled)),
    ]);
    if rule.set == RuleSet::Soft {
        json.set("severity", Json::str(rule.severity.unwrap_or_default().as_str()));
    }
    if let Some(timeout_s) = rule.timeout_s {
        json.set("approval_timeout_s", Json::int(timeout_s));
    }
    if let Some(category) = &rule.category {
        json.set("category", Json::str(category.as_str()));
    }
    json
}

fn list(cx: &Context, only: Option<&str>) -> anyhow::Result<u8> {
    let read = match read_or_say(cx, None)? {
        Ok(read) => read,
        Err(code) => return Ok(code),
    };
    let disabled = |rule: &Rule| read.book.settings().disabled.contains(&rule.id);
    let wanted = |rule: &&Rule| only.is_none_or(|set| rule.set.as_str() == set);
    let rules: Vec<&Rule> = read.book.rules().iter().filter(wanted).collect();
    let denies: Vec<_> = read.settings.deny.iter().filter(|d| d.is_for(&read.project.id)).collect();
    let allows: Vec<_> = read.settings.allow.iter().filter(|a| a.is_for(&read.project.id)).collect();
    if cx.global.json {
        let rules = rules.iter().map(|r| rule_json(r, disabled(r))).collect();
        let allows = allows.iter().map(|a| {
            Json::object([
                ("scope", Json::str(clean(&format!("{}:{}", a.kind, a.value)))),
                ("until", a.until.as_ref().map_or(Json::Null, Json::str)),
            ])
        });
        let all = Json::object([("rules", Json::Array(rules)), ("allow", Json::Array(allows.collect()))]);
        say(&all.canonical());
        return Ok(exit::OK);
    }
    for set in [RuleSet::Hard, RuleSet::Soft] {
        let of_set: Vec<&&Rule> = rules.iter().filter(|r| r.set == set).collect();
        if of_set.is_empty() {
            continue;
        }
        let what = match set {
            RuleSet::Hard => "hard: nothing lifts these",
            RuleSet::Soft => "soft: a person may",
        };
        say(&cx.bold(what));
        for rule in of_set {
            let severity = match set {
                RuleSet::Soft => rule.severity.unwrap_or_default().as_str(),
                RuleSet::Hard => "",
            };
            let off = if disabled(rule) { "  (disabled)" } else { "" };
            say(&format!("  {:<30} {severity:<7} {}{off}", rule.id, rule.summary));
        }
    }
    if only.is_none() && !denies.is_empty() {
        say(&cx.bold("standing denials of yours in this project"));
        for deny in &denies {
            say(&format!("  {}", clean(&deny.told())));
        }
    }
    if only.is_none() && !allows.is_empty() {
        say(&cx.bold("standing allows of yours in this project"));
        for allow in allows {
            say(&format!("  {}", clean(&allow.told())));
        }
    }
    Ok(exit::OK)
}

fn clean(text: &str) -> String {
    countersign_core::cleanse::clean_line(text, 300).to_string()
}

fn show_rule(cx: &Context, id: &str) -> anyhow::Result<u8> {
    let read = match read_or_say(cx, None)? {
        Ok(read) => read,
        Err(code) => return Ok(code),
    };
    let Some(rule) = read.book.rule(id) else {
        complain(&format!("there is no rule `{}`; `countersign policy list` lists them", clean(id)));
        return Ok(exit::FAILED);
    };
    let text = read.book.text(id).unwrap_or_default();
    let disabled = read.book.settings().disabled.contains(&rule.id);
    if cx.global.json {
        let mut json = rule_json(rule, disabled);
        json.set("text", Json::str(&text));
        say(&json.canonical());
        return Ok(exit::OK);
    }
    say(&format!("{}: {}", cx.bold(&rule.id), rule.summary));
    say(&format!(
        "  set       {}{}",
        rule.set.as_str(),
        if disabled { ", disabled by rules.disable" } else { "" }
    ));
    if rule.set == RuleSet::Soft {
        say(&format!("  severity  {}", rule.severity.unwrap_or_default().as_str()));
        let time = rule.timeout_s.unwrap_or(read.book.settings().timeout_s);
        say(&format!("  time      {}", show::span(time)));
    }
    if let Some(category) = &rule.category {
        say(&format!("  category  {category}"));
    }
    say(&format!("  stands in {}:{}\n", rule.file, rule.line));
    say(&countersign_core::cleanse::clean_text(&text).to_string());
    Ok(exit::OK)
}

fn check(cx: &Context, path: Option<&Path>) -> anyhow::Result<u8> {
    let checked = match path {
        Some(file) if file.is_file() => check_file(cx, file)?,
        _ => read(cx, path)?.map(|r| (r.book.rules().len(), r.warnings)),
    };
    match checked {
        Ok((rules, warnings)) => {
            tell(cx, &[], &warnings);
            if !cx.global.json && !cx.global.quiet {
                say(&format!("{rules} rules load and are valid."));
                if path.is_none() {
                    let root = cx.project()?;
                    let accept = show::command(root.root_text(), "trust accept project");
                    say(&format!("What was edited counts in full when a person accepts it: {accept}"));
                }
            }
            Ok(exit::OK)
        }
        Err(problems) => {
            tell(cx, &problems, &[]);
            Ok(exit::FAILED)
        }
    }
}

type Checked = Result<(usize, Vec<String>), Problems>;

/// One file of rules, as the set that its name says: `hard` in it, else soft.
fn check_file(cx: &Context, file: &Path) -> anyhow::Result<Checked> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let project = match cx.find_project()? {
        Some(project) => project,
        None => Project::at(folder)?,
    };
    let hard = file.file_name().is_some_and(|name| name.to_string_lossy().contains("hard"));
    let text = PolicyText { file: file.display().to_string(), text: std::fs::read_to_string(file)?.into() };
    let settings = match rules::settings(None, &cx.places, &project) {
        Ok(settings) => settings,
        Err(problems) => return Ok(Err(problems)),
    };
    let checked = rules::checked(vec![(if hard { RuleSet::Hard } else { RuleSet::Soft }, text)], &settings);
    Ok(checked.map(|(book, warnings)| (book.rules().len(), warnings)))
}

/// Shows problems and warnings: for people with their source, for scripts as one JSON object.
fn tell(cx: &Context, problems: &[miette::Report], warnings: &[String]) {
    if !cx.global.json {
        for problem in problems {
            complain(&format!("{problem:?}"));
        }
        for warning in warnings {
            complain(&format!("warning: {}", clean(warning)));
        }
        return;
    }
    let found = problems.iter().map(|p| {
        let text = p.to_string();
        // `file:line:column: what`, as every problem with a place prints itself.
        let mut parts = text.splitn(4, ':');
        let place =
            (parts.next(), parts.next().and_then(number), parts.next().and_then(number), parts.next());
        let mut json = match place {
            (Some(file), Some(line), Some(column), Some(what)) => Json::object([
                ("file", Json::str(file)),
                ("line", Json::int(line)),
                ("column", Json::int(column)),
                ("message", Json::str(what.trim())),
            ]),
            _ => Json::object([("message", Json::str(&text))]),
        };
        if let Some(help) = p.help() {
            json.set("help", Json::str(help.to_string()));
        }
        json
    });
    let all =
        Json::object([("problems", Json::Array(found.collect())), ("warnings", Json::strings(warnings))]);
    say(&all.canonical());
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Prints unannotated rules as soft ones: the only way in for text from before annotations.
fn wrap(file: &Path) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(file)?;
    match Rulebook::wrap_legacy(&file.display().to_string(), &text) {
        Ok(wrapped) => {
            say(wrapped.trim_end());
            Ok(exit::OK)
        }
        Err(problem) => {
            complain(&format!("{:?}", miette::Report::new(problem)));
            Ok(exit::FAILED)
        }
    }
}
