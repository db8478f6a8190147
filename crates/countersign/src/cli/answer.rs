//! `countersign approve` and `countersign deny`: a person's answer.

use super::policy::suggestions;
use super::{Context, complain, exit, need_person, say, show};
use crate::wire::Wired;
use anyhow::{Context as _, bail};
use countersign_core::approval::scope::Scope;
use countersign_core::ids::{ApprovalId, GrantId};
use countersign_core::ledger::{Approval, Via};
use countersign_core::time::Timestamp;
use countersign_gate::desk::{DeskError, MAX_REASON_CHARS};
use countersign_gate::seams::DecideError;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

/// Say yes to a call that waits.
///
/// Without --scope the yes is for exactly that call, once. It needs a person at a terminal that is not an agent's.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  countersign approve 3NM8Q2\n  countersign approve 3NM8Q2 --scope 'bash_pattern:git push*'\n  countersign approve 3NM8Q2 --always --until 2027-01-31T00:00:00Z"
)]
pub struct Approve {
    /// Id of the question, or its last 6 characters or more.
    id: String,
    /// How much: this_call, tool_type:NAME, tool_group:NAME, bash_pattern:GLOB, write_path:GLOB, rule:ID, all_session.
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Also write a standing allow into your own configuration: the exact call, or the scope if one is given.
    #[arg(long)]
    always: bool,
    /// End of the standing allow, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "always")]
    until: Option<String>,
    /// Do not ask back.
    #[arg(long)]
    yes: bool,
}

/// Say no to a call that waits, or end a scope that was granted.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  countersign deny 3NM8Q2 --reason 'use a feature branch'")]
pub struct Deny {
    /// Id of the question or of a grant, or its last 6 characters or more.
    id: String,
    /// Why; the agent reads it.
    #[arg(long, value_name = "TEXT", conflicts_with = "reason_file")]
    reason: Option<String>,
    /// A file that says why.
    #[arg(long, value_name = "FILE")]
    reason_file: Option<PathBuf>,
}

/// Shortest suffix of an id that is taken.
const MIN_SUFFIX: usize = 6;

/// What an id names: exactly one thing in exactly one project.
pub enum Named {
    /// A request.
    Request(Wired, Box<Approval>),
    /// A grant.
    Grant(Wired, GrantId),
}

/// Finds what an id or a suffix of one names; several are an error that lists them.
pub async fn find(cx: &Context, text: &str) -> anyhow::Result<Named> {
    let wanted = text.trim().to_uppercase();
    if wanted.len() < MIN_SUFFIX {
        bail!("`{text}` is too short: give at least the last {MIN_SUFFIX} characters of the id");
    }
    let mut found: Vec<(String, Named)> = Vec::new();
    for wired in cx.open_all().await? {
        let root = wired.project.root_text().to_owned();
        let mut hits: Vec<Result<Approval, GrantId>> = Vec::new();
        match ApprovalId::parse(&wanted) {
            Some(id) => hits.extend(wired.gate.approval(id).await?.map(Ok)),
            None => hits.extend(
                wired
                    .store
                    .approvals(1_000)
                    .await?
                    .into_iter()
                    .filter(|r| r.request.approval_id.to_string().ends_with(&wanted))
                    .map(Ok),
            ),
        }
        let grants = wired.gate.grants().await?;
        hits.extend(
            grants.iter().map(|g| g.grant.grant_id).filter(|g| g.to_string().ends_with(&wanted)).map(Err),
        );
        match hits.len() {
            0 => {}
            1 => match hits.remove(0) {
                Ok(row) => found.push((
                    format!("{} in {root}", row.request.approval_id),
                    Named::Request(wired, Box::new(row)),
                )),
                Err(id) => found.push((format!("{id} in {root}"), Named::Grant(wired, id))),
            },
            _ => {
                let list: Vec<String> = hits
                    .iter()
                    .map(|h| match h {
                        Ok(r) => r.request.approval_id.to_string(),
                        Err(g) => g.to_string(),
                    })
                    .collect();
                bail!("`{text}` names several in {root}: {}", list.join(", "));
            }
        }
    }
    match found.len() {
        0 => bail!("there is no request or grant `{text}`; `countersign pending` lists what waits"),
        1 => Ok(found.remove(0).1),
        _ => bail!(
            "`{text}` names several: {}",
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join("; ")
        ),
    }
}

impl Approve {
    /// Records the yes.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let (wired, row) = match find(cx, &self.id).await? {
            Named::Request(wired, row) => (wired, row),
            Named::Grant(_, id) => bail!("{id} is a grant; it can only be ended: countersign deny {id}"),
        };
        let by = match need_person(&wired, "approve").await {
            Ok(by) => by,
            Err(code) => return Ok(code),
        };
        let scope = self.scope.as_deref().unwrap_or("this_call");
        if scope.trim() == "all_session" && !self.yes {
            complain(
                "all_session lets everything pass that no hard rule forbids, for the rest of the session.",
            );
            complain(
                "Narrower: tool_type:NAME, bash_pattern:GLOB, write_path:GLOB, rule:ID. To do it all the same, add --yes.",
            );
            return Ok(exit::USAGE);
        }
        let standing = match self.standing(&row)? {
            Some(scope) => Some(scope),
            None if self.always => bail!(
                "this call has no exact form that could be written down (the line is not fully understood, it holds a secret, or it follows a suspicious result); answer it without --always, or name a --scope"
            ),
            None => None,
        };
        if let Some(until) = &self.until
            && Timestamp::parse(until).is_none()
        {
            bail!("--until `{until}` is no RFC 3339 time; write it like 2027-01-31T00:00:00Z");
        }
        if !self.yes
            && !cx.global.quiet
            && std::io::stdin().is_terminal()
            && !confirm(cx, &wired, &row, standing.as_ref())?
        {
            say("Nothing was approved.");
            return Ok(exit::FAILED);
        }
        let decided = match wired.gate.approve(row.request.approval_id, scope, by, Via::Cli).await {
            Ok(decided) => decided,
            Err(e) => return Ok(refused(&e)),
        };
        if let Some(scope) = &standing {
            let file =
                crate::config::allow::add(&cx.places, &wired.project.id, scope, self.until.as_deref())?;
            wired.gate.note(&format!("a standing allow was added: {scope}")).await?;
            complain(&format!(
                "From now on `{scope}` passes in this project; it stands in {}.",
                file.display()
            ));
        }
        told(cx, &wired, &decided);
        // Whoever says the same yes again and again should not have to look for the way out.
        if decided.scope == Some(Scope::ThisCall) && !cx.global.json && !cx.global.quiet {
            let again =
                suggestions(&wired).await?.into_iter().find(|s| Some(&s.scope) == row.request.exact.as_ref());
            if let Some(again) = again {
                let verb = show::command(wired.project.root_text(), "policy suggest --apply");
                say(&format!(
                    "That was yes number {} to this very call. To let it pass from now on: {verb}",
                    again.times
                ));
            }
        }
        Ok(exit::OK)
    }

    /// What `--always` writes: the scope if one is given, else the exact call.
    fn standing(&self, row: &Approval) -> anyhow::Result<Option<Scope>> {
        if !self.always {
            return Ok(None);
        }
        match &self.scope {
            None => Ok(row.request.exact.clone()),
            Some(text) => match Scope::parse_answer(text, &row.request.tool)? {
                scope @ (Scope::ToolType(_)
                | Scope::BashPattern(_)
                | Scope::WritePath(_)
                | Scope::Rule(_)) => Ok(Some(scope)),
                other => bail!(
                    "`{other}` cannot be a standing allow; use tool_type, bash_pattern, write_path or rule"
                ),
            },
        }
    }
}

fn confirm(cx: &Context, wired: &Wired, row: &Approval, standing: Option<&Scope>) -> anyhow::Result<bool> {
    let mut err = std::io::stderr();
    writeln!(err, "{}", show::request(cx, wired.project.root_text(), row, None))?;
    if let Some(scope) = standing {
        writeln!(err, "and from now on, without asking: {scope}")?;
    }
    write!(err, "Approve? [y/N] ")?;
    err.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

impl Deny {
    /// Records the no.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let reason = match (&self.reason, &self.reason_file) {
            (Some(text), _) => text.clone(),
            (None, Some(file)) => {
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            (None, None) => String::new(),
        };
        let length = reason.trim().chars().count();
        if length > MAX_REASON_CHARS {
            complain(&format!("the reason has {length} characters; at most {MAX_REASON_CHARS} are allowed"));
            return Ok(exit::USAGE);
        }
        let named = find(cx, &self.id).await?;
        let wired = match &named {
            Named::Request(wired, _) | Named::Grant(wired, _) => wired,
        };
        let by = match need_person(wired, "deny").await {
            Ok(by) => by,
            Err(code) => return Ok(code),
        };
        match named {
            Named::Request(wired, row) => {
                match wired.gate.deny(row.request.approval_id, &reason, by, Via::Cli).await {
                    Ok(decided) => told(cx, &wired, &decided),
                    Err(e) => return Ok(refused(&e)),
                }
            }
            Named::Grant(wired, id) => {
                if !wired.gate.revoke(id, &by).await? {
                    bail!("the grant {id} has already ended");
                }
                say(&format!("The grant {id} has ended."));
            }
        }
        Ok(exit::OK)
    }
}

fn told(cx: &Context, wired: &Wired, row: &Approval) {
    if cx.global.json {
        say(&show::request_json(wired.project.root_text(), row).canonical());
        return;
    }
    let id = row.request.approval_id;
    let scope = row.scope.as_ref().map(|s| format!(" ({s})")).unwrap_or_default();
    say(&format!("{} {id}{scope}", row.status.as_str()));
    if !cx.global.quiet && row.request.wait == countersign_core::approval::Wait::Park && row.scope.is_some() {
        say("Nobody is held by it: the agent runs the call when it repeats it.");
    }
}

fn refused(e: &DeskError) -> u8 {
    complain(&format!("not recorded: {e}"));
    match e {
        DeskError::Decide(DecideError::AlreadyDecided(_)) => {
            complain("It may have been answered elsewhere, or its time is over; the agent can ask again.");
            exit::FAILED
        }
        DeskError::Scope(_)
        | DeskError::TooWide(..)
        | DeskError::ByGrant(_)
        | DeskError::EachTime(_)
        | DeskError::OtherGrant(_)
        | DeskError::NoRule(..)
        | DeskError::ReasonTooLong(_) => exit::USAGE,
        DeskError::Assurance(..) => exit::NOT_AUTHENTICATED,
        DeskError::Decide(_) | DeskError::Store(_) => exit::FAILED,
    }
}
