//! The one read: a [`Ledger`] and the version that guards it.
//!
//! The same statement runs again inside the commit, so "did anything I relied on change" compares what was read with
//! what is there, and nothing has to remember which verbs touch which rows. Counts and event numbers are no part of
//! the version: two unrelated calls never move each other.

use super::fault::{Fail, Outcome, unreadable};
use super::spin::soon;
use super::{StoreOptions, text};
use crate::halt;
use countersign_core::approval::Wait;
use countersign_core::cleanse::clean_text;
use countersign_core::digest::Digest;
use countersign_core::ids::{ApprovalId, CallId, GrantId, TaskId};
use countersign_core::json::{Bounds, Json};
use countersign_core::ledger::{
    CallKey, Grant, Halt, Ledger, OpenRequest, Refusal, RefusalKey, Refused, Taint, TaskView, Trust, Version,
};
use countersign_core::task::TaskStatus;
use countersign_core::time::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

const READ: &str = include_str!("ledger.sql");
/// Bounds of the lists the statement gathers; far above what a task can collect.
const LISTS: Bounds = Bounds { max_bytes: 16 * 1024 * 1024, max_depth: 8, max_nodes: 400_000 };

/// A ledger, and whether its task was written to within the last minute.
pub(super) struct Seen {
    pub(super) ledger: Ledger,
    pub(super) lately: bool,
}

/// Reads everything but the paths. `clock` replaces the database's clock in tests and inside a transaction, where
/// all jobs share one instant.
pub(super) async fn read(
    conn: &mut SqliteConnection,
    options: &StoreOptions,
    key: &CallKey,
    clock: Option<i64>,
) -> Outcome<Seen> {
    let query = sqlx::query(READ)
        .bind(clock)
        .bind(key.session.client.as_str())
        .bind(&key.session.id)
        .bind(&key.principal)
        .bind(&key.tool)
        .bind(key.args_digest.to_string())
        .bind(key.call_digest.to_string())
        .bind(key.rulebook_digest.to_string())
        .bind(&options.engine)
        .bind(key.counted)
        .bind(key.server.as_ref().map(|(server, _)| server))
        .bind(key.server.as_ref().map(|(_, tool)| tool))
        .bind(key.joins.map(|id| id.to_string()))
        .bind(key.mails);
    let row = soon(query.fetch_one(conn)).await?;
    // After the rows: a halt that comes between the two is seen.
    let file = halt::look(&options.halt_file);
    let halted: Option<String> = row.try_get("halted")?;
    let halt = combine(file, halted.as_deref());
    let task = task(&row)?;
    let grants: String = row.try_get("grants")?;
    let refusals: String = row.try_get("refusals")?;
    let open: Option<String> = row.try_get("open")?;
    let pins: String = row.try_get("pins")?;
    let trust_text: Option<String> = row.try_get("trust")?;
    let joined: bool = row.try_get("joined")?;
    let halt_part = match &halt {
        Halt::Absent => "absent".to_owned(),
        Halt::Present { reason } => format!("present {reason}"),
        Halt::Unknown { why } => format!("unknown {why}"),
    };
    // A living task is never terminal, so its id says "is terminal: no"; the absence of one says the rest.
    let task_part = task.as_ref().map(|t| {
        let taint = t.tainted.map(|taint| taint.by.to_string()).unwrap_or_default();
        format!("{} {} {taint}", t.task_id, t.gate_cap)
    });
    let task_part = task_part.unwrap_or_default();
    let joined_part = if joined { "joined" } else { "" };
    let parts = [
        &task_part,
        &grants,
        &refusals,
        open.as_deref().unwrap_or_default(),
        &pins,
        &halt_part,
        trust_text.as_deref().unwrap_or_default(),
        joined_part,
    ];
    let parts = parts.map(str::as_bytes);
    let ledger = Ledger {
        // The gate looks it up where the call names one.
        secret: None,
        version: Version(Digest::of("countersign-ledger-v1", &parts)),
        now: Timestamp(row.try_get("now")?),
        halt,
        task,
        grants: list(&grants)?
            .iter()
            .map(|g| grant(g))
            .collect::<Option<_>>()
            .ok_or_else(|| unreadable("grant"))?,
        refusals: list(&refusals)?
            .iter()
            .map(|r| refusal(r))
            .collect::<Option<_>>()
            .ok_or_else(|| unreadable("refusal"))?,
        open: match open {
            Some(text) => list(&text)?
                .first()
                .map(|o| open_request(o).ok_or_else(|| unreadable("request")))
                .transpose()?,
            None => None,
        },
        permits_last_minute: count(&row, "permits_minute")?,
        open_calls: count(&row, "open_calls")?,
        mails_today: count(&row, "mails_today")?,
        trust: match &trust_text {
            Some(text) => trust(text).ok_or_else(|| unreadable("pin"))?,
            None => Trust::default(),
        },
        joined,
        resolved: Vec::new(),
        rulebook_known: row.try_get("rulebook_known")?,
    };
    let lately = row.try_get::<Option<bool>, _>("seen")?.unwrap_or(false);
    Ok(Seen { ledger, lately })
}

/// The file's answer and the row's as one.
pub(super) fn combine(file: Halt, row: Option<&str>) -> Halt {
    match (file, row) {
        (Halt::Absent, Some(reason)) => Halt::Present { reason: clean_text(reason) },
        (file, _) => file,
    }
}

fn count(row: &SqliteRow, name: &str) -> Outcome<u32> {
    let n: i64 = row.try_get(name)?;
    Ok(u32::try_from(n).unwrap_or(u32::MAX))
}

fn task(row: &SqliteRow) -> Outcome<Option<TaskView>> {
    let Some(id) = row.try_get::<Option<String>, _>("task_id")? else { return Ok(None) };
    let task_id = TaskId::parse(&id).ok_or_else(|| unreadable("task id"))?;
    let status: String = row.try_get("status")?;
    let mut status = TaskStatus::parse(&status).ok_or_else(|| unreadable("task status"))?;
    let waiting = count(row, "waiting")?;
    if status == TaskStatus::AwaitingApproval && waiting == 0 {
        status = TaskStatus::Running; // the sweep of the next write will say so
    }
    Ok(Some(TaskView {
        task_id,
        status,
        gate_count: count(row, "gate_count")?,
        gate_cap: count(row, "gate_cap")?,
        gates_last_minute: count(row, "gates_minute")?,
        waiting,
        tainted: taint(row)?,
    }))
}

fn taint(row: &SqliteRow) -> Outcome<Option<Taint>> {
    let by: Option<String> = row.try_get("tainted_by")?;
    let at: Option<i64> = row.try_get("tainted_at")?;
    let (Some(by), Some(at)) = (by, at) else { return Ok(None) };
    let by = CallId::parse(&by).ok_or_else(|| unreadable("call id"))?;
    Ok(Some(Taint { by, at: Timestamp(at) }))
}

/// Rows that SQL gathered into one JSON text.
fn list(rows: &str) -> Outcome<Vec<Vec<Json>>> {
    match Json::parse(rows.as_bytes(), LISTS) {
        Ok(Json::Array(rows)) => rows
            .into_iter()
            .map(|row| match row {
                Json::Array(columns) => Ok(columns),
                _ => Err(unreadable("list")),
            })
            .collect(),
        _ => Err(unreadable("list")),
    }
}

fn trust(text: &str) -> Option<Trust> {
    let json = Json::parse(text.as_bytes(), LISTS).ok()?;
    let [launch, tool, drift] = json.as_array()? else { return None };
    let digest = |j: &Json| match j {
        Json::Null => Some(None),
        j => Digest::parse(j.as_str()?).map(Some),
    };
    Some(Trust { launch: digest(launch)?, tool: digest(tool)?, quarantined: drift.as_i64()? > 0 })
}

fn grant(g: &[Json]) -> Option<Grant> {
    let [id, scope, call, rulebook, rule, approval] = g else { return None };
    let digest = |j: &Json| match j {
        Json::Null => Some(None),
        j => Digest::parse(j.as_str()?).map(Some),
    };
    Some(Grant {
        grant_id: GrantId::parse(id.as_str()?)?,
        scope: text::scope(scope.as_str()?)?,
        call_digest: digest(call)?,
        rulebook_digest: digest(rulebook)?,
        rule_digest: digest(rule)?,
        approval_id: approval.as_str().and_then(ApprovalId::parse),
    })
}

fn refusal(r: &[Json]) -> Option<Refusal> {
    let [kind, key, how, reason, at] = r else { return None };
    Some(Refusal {
        key: match kind.as_str()? {
            "input" => RefusalKey::Input(Digest::parse(key.as_str()?)?),
            "rule" => RefusalKey::Rule(key.as_str()?.to_owned()),
            _ => return None,
        },
        how: Refused::parse(how.as_str()?)?,
        reason: clean_text(reason.as_str()?),
        decided_at: Timestamp(at.as_i64()?),
    })
}

fn open_request(o: &[Json]) -> Option<OpenRequest> {
    let [id, wait, expires, rulebook] = o else { return None };
    Some(OpenRequest {
        approval_id: ApprovalId::parse(id.as_str()?)?,
        wait: Wait::parse(wait.as_str()?)?,
        expires_at: Timestamp(expires.as_i64()?),
        rulebook_digest: Digest::parse(rulebook.as_str()?)?,
    })
}

/// What stops everything: the file and the row.
pub(super) async fn halt(conn: &mut SqliteConnection, options: &StoreOptions) -> Outcome<Halt> {
    let row: Option<String> =
        sqlx::query_scalar("SELECT reason FROM halts ORDER BY scope LIMIT 1").fetch_optional(conn).await?;
    Ok::<_, Fail>(combine(halt::look(&options.halt_file), row.as_deref()))
}

#[cfg(test)]
mod tests {
    use countersign_core::approval::{LATE_S, WAITER_LOST_S};

    /// Statements write these windows in plain milliseconds, so that they can be read.
    #[test]
    fn statements_use_the_core_windows() {
        assert_eq!((LATE_S, WAITER_LOST_S), (5, 10));
    }
}
