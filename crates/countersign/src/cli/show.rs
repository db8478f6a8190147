//! How requests, scopes and times are shown to people.
//!
//! Everything an agent wrote is cleansed again here, and every id stands in a complete command that works from any
//! folder.

use super::Context;
use crate::person::{self, NotAPerson};
use crate::wire::Wired;
use countersign_core::approval::{Severity, Status};
use countersign_core::cleanse::clean_text;
use countersign_core::facts::shell::quote;
use countersign_core::json::Json;
use countersign_core::ledger::Approval;
use countersign_core::time::Timestamp;

/// A command on a request, complete.
pub fn command(root: &str, verb: &str) -> String {
    format!("countersign --project {} {verb}", quote(root))
}

/// A severity with its mark; without colour the mark alone tells.
fn severity(cx: &Context, severity: Severity) -> String {
    let word = severity.as_str().to_uppercase();
    match (cx.colour(), severity) {
        (true, Severity::High) => format!("\u{1b}[31m[{word}]\u{1b}[0m"),
        (true, Severity::Medium) => format!("\u{1b}[33m[{word}]\u{1b}[0m"),
        _ => format!("[{word}]"),
    }
}

/// Seconds as people say them.
pub fn span(seconds: i64) -> String {
    match seconds {
        s if s < 0 => "0 s".to_owned(),
        s if s < 120 => format!("{s} s"),
        s if s < 7_200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// A request as whoever runs this may read it: below an agent's session it says what the agent itself is told, and nothing
/// of what a secret is bound to, which is for the person who answers.
pub async fn seen(wired: &Wired, mut row: Approval) -> anyhow::Result<Approval> {
    let agents = wired.store.agents().await?;
    if matches!(person::prove(&agents), Err(NotAPerson::BelowAgent(_))) {
        row.request.display = row.request.preview.clone();
    }
    Ok(row)
}

/// What acts of the arguments, as a person reads it: the command first, the rest as JSON.
fn acting(row: &Approval) -> (String, Option<String>) {
    let display = row.request.display.as_str();
    let bounds = countersign_core::json::Bounds { max_bytes: 16 << 20, max_depth: 200, max_nodes: 1_000_000 };
    let Ok(mut rest) = Json::parse(display.as_bytes(), bounds) else {
        return (clean_text(display).to_string(), None);
    };
    match rest.remove("command") {
        Some(Json::String(command)) => {
            let more = rest.as_object().is_some_and(|members| !members.is_empty());
            (clean_text(&command).to_string(), more.then(|| clean_text(&rest.canonical()).to_string()))
        }
        _ => (clean_text(display).to_string(), None),
    }
}

/// One request, complete: what would run, why a person is needed, how to answer.
pub fn request(cx: &Context, root: &str, row: &Approval, now: Option<Timestamp>) -> String {
    let r = &row.request;
    let id = r.approval_id;
    let mut out =
        format!("{} {}  {}\n", severity(cx, r.severity), cx.bold(&clean_text(&r.tool).to_string()), id);
    let (call, with) = acting(row);
    out.push_str(&format!("  call:     {}\n", call.replace('\n', "\n            ")));
    if let Some(with) = with {
        out.push_str(&format!("  with:     {with}\n"));
    }
    if let Some(cwd) = &r.cwd {
        out.push_str(&format!("  in:       {cwd}\n"));
    }
    out.push_str(&format!("  project:  {}\n", clean_text(root)));
    out.push_str(&format!("  by:       {}\n", clean_text(&r.principal)));
    out.push_str(&format!("  why:      {}\n", r.reason));
    out.push_str(&format!("  digest:   {}\n", r.args_digest));
    let left = now.map(|n| format!(", {} left", span(row.expires_at.seconds_since(n)))).unwrap_or_default();
    out.push_str(&format!(
        "  asked:    {}  until {} ({}{left})\n",
        row.created_at,
        row.expires_at,
        r.wait.as_str()
    ));
    if row.status == Status::Pending {
        out.push_str(&format!("  yes:      {}\n", command(root, &format!("approve {id}"))));
        if r.exact.is_some() {
            out.push_str(&format!("  always:   {}\n", command(root, &format!("approve {id} --always"))));
        }
        out.push_str(&format!("  no:       {}\n", command(root, &format!("deny {id} --reason '...'"))));
    } else {
        out.push_str(&format!("  status:   {}{}\n", row.status.as_str(), decided(row)));
    }
    out
}

fn decided(row: &Approval) -> String {
    let mut out = String::new();
    if let Status::Stranded(why) = row.status {
        out.push_str(&format!(" ({})", why.as_str()));
    }
    if let (Some(by), Some(at)) = (&row.decided_by, row.decided_at) {
        out.push_str(&format!(" by {} at {at}", clean_text(by)));
    }
    if let Some(scope) = &row.scope {
        out.push_str(&format!(", scope {}", clean_text(&scope.to_string())));
    }
    if let Some(reason) = &row.deny_reason {
        out.push_str(&format!(": {reason}"));
    }
    out
}

/// One request for scripts.
pub fn request_json(root: &str, row: &Approval) -> Json {
    let r = &row.request;
    let mut out = Json::object([
        ("approval_id", Json::str(r.approval_id.to_string())),
        ("task_id", Json::str(row.task_id.to_string())),
        ("call_id", Json::str(r.call_id.to_string())),
        ("project", Json::str(root)),
        ("status", Json::str(row.status.as_str())),
        ("tool_name", Json::str(&r.tool)),
        ("input_preview", Json::str(r.preview.as_str())),
        ("display", Json::str(r.display.as_str())),
        ("args_digest", Json::str(r.args_digest.to_string())),
        ("principal", Json::str(&r.principal)),
        ("client", Json::str(r.client.as_str())),
        ("severity", Json::str(r.severity.as_str())),
        ("reason", Json::str(r.reason.as_str())),
        ("matching_rule_ids", Json::strings(&r.rules)),
        ("created_at", Json::str(row.created_at.to_string())),
        ("expires_at", Json::str(row.expires_at.to_string())),
        ("timeout_s", Json::int(r.timeout_s)),
        ("wait", Json::str(r.wait.as_str())),
    ]);
    let optional = [
        ("cwd", r.cwd.as_ref().map(|c| c.to_string())),
        ("repo", r.repo.clone()),
        ("decided_at", row.decided_at.map(|t| t.to_string())),
        ("decided_by", row.decided_by.clone()),
        ("decided_via", row.decided_via.clone()),
        ("scope", row.scope.as_ref().map(|s| s.to_string())),
        ("deny_reason", row.deny_reason.as_ref().map(|d| d.to_string())),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            out.set(key, Json::str(value));
        }
    }
    if let Status::Stranded(why) = row.status {
        out.set("stranded_reason", Json::str(why.as_str()));
    }
    out
}
