//! `commit`: the guard, the operations, the records, in that order, inside one job of a transaction.

use super::approvals;
use super::fault::{Fail, Outcome, unreadable};
use super::ledger;
use super::spin::soon;
use super::tx::Tx;
use countersign_core::call::Session;
use countersign_core::code::Code;
use countersign_core::event::{Draft, Event, int, word};
use countersign_core::ids::{CallId, GrantId, TaskId};
use countersign_core::ledger::{AgentProcess, CallRow, Change, Op, OpenTask};
use countersign_core::task::TaskStatus;
use countersign_gate::seams::Committed;

/// Permits and running calls as they are inside this transaction.
struct Counts {
    permits: u32,
    open: u32,
}

pub(super) async fn commit(tx: &mut Tx<'_>, change: &Change) -> Outcome<Committed> {
    let mut counts = None;
    let mut task = None;
    let mut rulebook = None;
    let mut lately = false;
    match &change.guard {
        Some((key, version)) => {
            let ledger::Seen { ledger: seen, lately: recent } =
                ledger::read(tx.conn, tx.options, key, Some(tx.now.0)).await?;
            lately = recent;
            if seen.version != *version {
                return Err(Fail::Moved);
            }
            counts = Some(Counts { permits: seen.permits_last_minute, open: seen.open_calls });
            task = seen.task.map(|t| t.task_id);
            rulebook = Some(key.rulebook_digest);
        }
        None => {
            if let Some(session) = session(change) {
                task = live_task(tx, session).await?;
            }
        }
    }
    let mut seqs = Vec::with_capacity(change.drafts.len() + 1);
    if let (None, Some(open)) = (task, &change.open_task) {
        // What is still alive here was idle for a day: the read above did not take it for the session's any more.
        if live_task(tx, &open.session).await?.is_some() {
            super::verbs::end_session(tx, &open.session).await?;
        }
        seqs.push(open_task(tx, open).await?);
        task = Some(open.fresh);
    }
    let mut expires_at = None;
    let mut mails_today = None;
    for op in &change.ops {
        match op {
            Op::Permit { call, per_minute, concurrent, spend, resume, joins } => {
                let counts = match &mut counts {
                    Some(counts) => counts,
                    none => none.insert(count(tx).await?),
                };
                // What the hook let pass is this very call, and was counted then.
                let again = u32::from(joins.is_some());
                let others = Counts {
                    permits: counts.permits.saturating_sub(again),
                    open: counts.open.saturating_sub(again),
                };
                limit(&others, *per_minute, *concurrent)?;
                if let Some(hook) = joins {
                    join(tx, *hook, call.call_id).await?;
                }
                if let Some(grant) = spend {
                    approvals::spend(tx, *grant, &call.principal, call.call_digest, rulebook).await?;
                }
                if let Some(request) = resume {
                    approvals::resume_approved(tx, *request).await?;
                }
                insert_call(tx, call, task, *spend, joins.is_none()).await?;
                counts.permits = others.permits.saturating_add(1);
                counts.open = others.open.saturating_add(1);
            }
            Op::Mails { most } => {
                let before = mails(tx).await?;
                if before >= *most {
                    return Err(Fail::Limit(Code::RateLimitedLocal));
                }
                mails_today = Some(before.saturating_add(1));
            }
            Op::Ask { request, per_minute } => {
                let owner = task.ok_or(Fail::Moved)?;
                expires_at = Some(approvals::ask(tx, owner, request, *per_minute).await?);
            }
            Op::EndHold { approval_id, how } => {
                let owner = approvals::end_hold(tx, *approval_id, *how).await?;
                task = task.or(Some(owner));
            }
            Op::RulebookValidated { digest, engine } => {
                sqlx::query(
                    "INSERT OR IGNORE INTO rulebooks (digest, engine, validated_at) VALUES (?1, ?2, ?3)",
                )
                .bind(digest.to_string())
                .bind(engine)
                .bind(tx.now.0)
                .execute(&mut *tx.conn)
                .await?;
            }
            Op::Agent(process) => node(tx, process, None).await?,
            Op::Gateway(process, session) => node(tx, process, Some(session)).await?,
        }
    }
    if let Some(task) = task.filter(|_| !lately) {
        // Once a minute is enough to tell an idle day, and spares the others a page.
        sqlx::query("UPDATE tasks SET last_seen = ?2 WHERE task_id = ?1 AND last_seen < ?2 - 60000")
            .bind(task.to_string())
            .bind(tx.now.0)
            .execute(&mut *tx.conn)
            .await?;
    }
    for draft in &change.drafts {
        let mut draft = draft.clone();
        draft.task_id = draft.task_id.or(task);
        seqs.push(tx.append(&draft)?.seq());
    }
    Ok(Committed { at: tx.now, task_id: task, seqs, expires_at, mails_today })
}

/// The row of a living process: an agent, or a gateway with the session that it is.
async fn node(tx: &mut Tx<'_>, process: &AgentProcess, gateway: Option<&Session>) -> Outcome<()> {
    sqlx::query(
        "INSERT OR IGNORE INTO nodes (kind, boot, pid, started, seen_at, client, session_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(if gateway.is_some() { "gateway" } else { "agent" })
    .bind(&process.boot)
    .bind(i64::from(process.pid))
    .bind(i64::try_from(process.started).unwrap_or(i64::MAX))
    .bind(tx.now.0)
    .bind(gateway.map(|s| s.client.as_str()))
    .bind(gateway.map(|s| s.id.as_str()))
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// Takes up a hook's decision, once.
async fn join(tx: &mut Tx<'_>, hook: CallId, by: CallId) -> Outcome<()> {
    let done = sqlx::query("UPDATE calls SET joined_by = ?2 WHERE call_id = ?1 AND joined_by IS NULL")
        .bind(hook.to_string())
        .bind(by.to_string())
        .execute(&mut *tx.conn)
        .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(Fail::Moved) }
}

/// The session a change without a guard is about.
fn session(change: &Change) -> Option<&Session> {
    let of_call = change.ops.iter().find_map(|op| match op {
        Op::Permit { call, .. } => Some(&call.session),
        _ => None,
    });
    change.open_task.as_ref().map(|open| &open.session).or(of_call)
}

/// The session's living task.
pub(super) async fn live_task(tx: &mut Tx<'_>, session: &Session) -> Outcome<Option<TaskId>> {
    let id: Option<String> = sqlx::query_scalar(
        "SELECT task_id FROM tasks
         WHERE client = ?1 AND session_id = ?2 AND status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT')",
    )
    .bind(session.client.as_str())
    .bind(&session.id)
    .fetch_optional(&mut *tx.conn)
    .await?;
    id.map(|id| TaskId::parse(&id).ok_or_else(|| unreadable("task id"))).transpose()
}

async fn open_task(tx: &mut Tx<'_>, open: &OpenTask) -> Outcome<u64> {
    sqlx::query(
        "INSERT INTO tasks (task_id, kind, client, session_id, owner, status, status_since, started_at, last_seen, gate_cap)
         VALUES (?1, 'interactive', ?2, ?3, ?4, ?5, ?6, ?6, ?6, ?7)",
    )
    .bind(open.fresh.to_string())
    .bind(open.session.client.as_str())
    .bind(&open.session.id)
    .bind(&open.owner)
    .bind(TaskStatus::Running.as_str())
    .bind(tx.now.0)
    .bind(i64::from(open.gate_cap))
    .execute(&mut *tx.conn)
    .await?;
    let keys = [
        ("client", word(open.session.client.as_str())),
        ("owner", word(&open.owner)),
        ("approval_cap", int(i64::from(open.gate_cap))),
    ];
    Ok(tx.append(&Draft::new(Event::TaskStarted, keys).task(Some(open.fresh)))?.seq())
}

async fn count(tx: &mut Tx<'_>) -> Outcome<Counts> {
    let (permits, open): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM calls WHERE counted_at > ?1 - 60000),
                (SELECT count(*) FROM calls
                 WHERE ended_at IS NULL AND permit_at > ?1 - 86400000 AND joined_by IS NULL)",
    )
    .bind(tx.now.0)
    .fetch_one(&mut *tx.conn)
    .await?;
    let small = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Counts { permits: small(permits), open: small(open) })
}

/// The mails of this UTC day that were sent, may have been, or are under way (`ledger.sql` has the same words).
async fn mails(tx: &mut Tx<'_>) -> Outcome<u32> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM calls c
         WHERE c.tool = 'send_email' AND c.door NOT IN ('hook', 'cli') AND c.permit_at >= ?1 - ?1 % 86400000
           AND (c.outcome IS NULL OR c.outcome <> 'error')",
    )
    .bind(tx.now.0)
    .fetch_one(&mut *tx.conn)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Limits are counted rows, so there is no counter that could drift; 0 is unlimited.
fn limit(counts: &Counts, per_minute: u32, concurrent: u32) -> Outcome<()> {
    if per_minute > 0 && counts.permits >= per_minute {
        return Err(Fail::Limit(Code::LimitRate));
    }
    if concurrent > 0 && counts.open >= concurrent {
        return Err(Fail::Limit(Code::LimitConcurrency));
    }
    Ok(())
}

async fn insert_call(
    tx: &mut Tx<'_>,
    call: &CallRow,
    task: Option<TaskId>,
    spent: Option<GrantId>,
    counts: bool,
) -> Outcome<CallId> {
    let host = call.host.as_ref();
    let query = sqlx::query(
        "INSERT INTO calls (call_id, task_id, door, client, session_id, agent_id, tool_use_id, principal, tool,
            args_digest, call_digest, grant_id, permit_at, counted_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(call.call_id.to_string())
    .bind(task.map(|t| t.to_string()))
    .bind(call.door.as_str())
    .bind(call.session.client.as_str())
    .bind(&call.session.id)
    .bind(host.and_then(|h| h.agent_id.as_deref()))
    .bind(host.map(|h| h.tool_use_id.as_str()))
    .bind(&call.principal)
    .bind(&call.tool)
    .bind(call.args_digest.to_string())
    .bind(call.call_digest.to_string())
    .bind(spent.map(|g| g.to_string()))
    .bind(tx.now.0)
    .bind(counts.then_some(tx.now.0));
    soon(query.execute(&mut *tx.conn)).await?;
    Ok(call.call_id)
}
