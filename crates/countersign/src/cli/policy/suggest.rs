//! `countersign policy suggest`: standing allows for what a person approved again and again, each as narrow as the
//! call was.

use super::super::{Context, complain, exit, need_person, say};
use super::clean;
use crate::config::allow;
use crate::wire::Wired;
use countersign_core::approval::scope::Scope;
use countersign_core::approval::{Severity, Status};
use countersign_core::json::Json;
use countersign_core::time::Timestamp;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

pub(super) const HELP: &str = "Example:\n  countersign policy suggest\n  countersign policy suggest --apply --until 2027-01-31T00:00:00Z\n\nOnly exactly equal calls count, and only those that were approved one by one. With --apply a person is asked about\neach; what is taken up stands as an [[allow]] entry in the user's own configuration.";

/// Equal approvals that make a suggestion.
const ENOUGH: usize = 3;

/// Propose standing allows for what was approved three times.
#[derive(clap::Args, Debug)]
pub struct Suggest {
    /// Ask about each, and write those that are taken up.
    #[arg(long)]
    apply: bool,
    /// End of the standing allows, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "apply")]
    until: Option<String>,
    /// Take up all of them without asking back.
    #[arg(long, requires = "apply")]
    yes: bool,
}

/// Something that was approved again and again.
pub struct Suggestion {
    /// What would be allowed.
    pub scope: Scope,
    /// How often it was approved.
    pub times: usize,
    /// How urgent its questions were.
    pub severity: Severity,
    /// The rules that asked.
    pub rules: Vec<String>,
}

/// What was approved often enough and is not allowed yet, most frequent first.
pub async fn suggestions(wired: &Wired) -> anyhow::Result<Vec<Suggestion>> {
    let mut out: Vec<Suggestion> = Vec::new();
    for row in wired.store.approvals(1_000).await? {
        let alone = row.status == Status::Approved && row.scope == Some(Scope::ThisCall);
        let Some(scope) = row.request.exact.filter(|_| alone) else { continue };
        match out.iter_mut().find(|s| s.scope == scope) {
            Some(known) => {
                known.times += 1;
                known.severity = known.severity.max(row.request.severity);
            }
            None => out.push(Suggestion {
                scope,
                times: 1,
                severity: row.request.severity,
                rules: row.request.rules,
            }),
        }
    }
    let standing = wired.settings.iter().flat_map(|s| s.rules.allow.iter().map(|a| &a.scope));
    let standing: Vec<&Scope> = standing.collect();
    out.retain(|s| s.times >= ENOUGH && !standing.contains(&&s.scope));
    out.sort_by_key(|s| std::cmp::Reverse(s.times));
    Ok(out)
}

impl Suggest {
    /// Proposes, or takes up.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        if let Some(until) = &self.until
            && Timestamp::parse(until).is_none()
        {
            anyhow::bail!("--until `{until}` is no RFC 3339 time; write it like 2027-01-31T00:00:00Z");
        }
        let wired = cx.open().await?;
        let by = match self.apply {
            true => match need_person(&wired, "policy suggest --apply").await {
                Ok(by) => Some(by),
                Err(code) => return Ok(code),
            },
            false => None,
        };
        let found = suggestions(&wired).await?;
        if cx.global.json {
            say(&Json::Array(found.iter().map(json).collect()).canonical());
        } else if found.is_empty() {
            say("Nothing was approved three times alike, or all of it passes already.");
        } else {
            for one in &found {
                say(&line(one));
            }
        }
        if by.is_none() {
            if !found.is_empty() && !cx.global.json && !cx.global.quiet {
                say("To take them up, one by one: countersign policy suggest --apply");
            }
            return Ok(exit::OK);
        }
        for one in &found {
            if !self.yes {
                if !std::io::stdin().is_terminal() {
                    complain("Nothing was written: add --yes when there is no terminal to ask at.");
                    return Ok(exit::USAGE);
                }
                write!(
                    std::io::stderr(),
                    "Let `{}` pass from now on? [y/N] ",
                    clean(&one.scope.to_string())
                )?;
                let mut answer = String::new();
                std::io::stdin().lock().read_line(&mut answer)?;
                if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
                    continue;
                }
            }
            let file = allow::add(&cx.places, &wired.project.id, &one.scope, self.until.as_deref())?;
            wired.gate.note(&format!("a standing allow was added: {}", one.scope)).await?;
            complain(&format!("`{}` passes from now on; it stands in {}.", one.scope, file.display()));
        }
        Ok(exit::OK)
    }
}

fn line(one: &Suggestion) -> String {
    let high = if one.severity == Severity::High { ", severity high" } else { "" };
    format!(
        "approved {} times: {}  ({}{high})",
        one.times,
        clean(&one.scope.to_string()),
        one.rules.join(", ")
    )
}

fn json(one: &Suggestion) -> Json {
    Json::object([
        ("scope", Json::str(clean(&one.scope.to_string()))),
        ("times", Json::int(i64::try_from(one.times).unwrap_or(i64::MAX))),
        ("severity", Json::str(one.severity.as_str())),
        ("matching_rule_ids", Json::strings(&one.rules)),
    ])
}
