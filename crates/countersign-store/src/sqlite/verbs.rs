//! The other verbs that write: ends of calls and sessions, halts, revocations, pins, telling.

use super::approvals::{self, approval_query};
use super::change::live_task;
use super::fault::{Outcome, unreadable};
use super::ledger;
use super::spin::soon;
use super::tx::Tx;
use countersign_core::approval::Strand;
use countersign_core::call::Session;
use countersign_core::cleanse::Clean;
use countersign_core::event::{Draft, Event, int, text, word};
use countersign_core::ids::{ApprovalId, CallId, GrantId, TaskId};
use countersign_core::json::Json;
use countersign_core::ledger::{Approval, CallOutcome, Halt, Outcome as Ended};
use countersign_core::principal::Approver;
use countersign_core::task::TaskStatus;
use countersign_core::time::Timestamp;
use countersign_gate::seams::{CallRef, Gateway, PinChange};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// What ends an open call, once it is found. Each round to the connection's thread costs more than the work it does
/// there, so finding and ending are one statement.
macro_rules! end_call {
    ($which:literal) => {
        concat!(
            "UPDATE calls SET ended_at = ?1, outcome = ?2, code = ?3,
                duration_ms = coalesce(?4, max(?1 - permit_at, 0)), bytes = ?5
             WHERE ended_at IS NULL AND call_id = ",
            $which,
            " RETURNING call_id, task_id, duration_ms, joined_by"
        )
    };
}

const END_CALL: &str = end_call!("?6");
const END_HOST_CALL: &str = end_call!(
    "(SELECT call_id FROM calls
      WHERE client = ?6 AND session_id = ?7 AND tool_use_id = ?8 AND agent_id IS ?9 AND ended_at IS NULL
      ORDER BY permit_at DESC, call_id DESC LIMIT 1)"
);

pub(super) async fn observe(tx: &mut Tx<'_>, call: &CallRef, ended: &Ended) -> Outcome<Option<CallId>> {
    let sql = match call {
        CallRef::Id(_) => END_CALL,
        CallRef::Host(_) => END_HOST_CALL,
    };
    let query = sqlx::query(sql)
        .bind(tx.now.0)
        .bind(ended.outcome.as_str())
        .bind(ended.code.map(|c| c.as_str()))
        .bind(ended.duration_ms)
        .bind(ended.bytes);
    let query = match call {
        CallRef::Id(id) => query.bind(id.to_string()),
        CallRef::Host(host) => query
            .bind(host.session.client.as_str())
            .bind(&host.session.id)
            .bind(&host.tool_use_id)
            .bind(host.agent_id.as_deref()),
    };
    match soon(query.fetch_optional(&mut *tx.conn)).await? {
        Some(row) => {
            if ended.taints() {
                taint(tx, &row).await?;
            }
            let call_id = finished(tx, &row, ended)?;
            let task: Option<String> = row.try_get("task_id")?;
            for record in &ended.records {
                tx.append(&record.clone().call(call_id).task(task.as_deref().and_then(TaskId::parse)))?;
            }
            Ok(Some(call_id))
        }
        None => Ok(None),
    }
}

/// A flagged result is on its way to the agent: its task is suspicious from here on, in the same transaction.
async fn taint(tx: &mut Tx<'_>, call: &SqliteRow) -> Outcome<()> {
    sqlx::query(
        "UPDATE tasks SET tainted_by = ?2, tainted_at = ?3 WHERE task_id = ?1 AND tainted_by IS NULL",
    )
    .bind(call.try_get::<Option<String>, _>("task_id")?)
    .bind(call.try_get::<String, _>("call_id")?)
    .bind(tx.now.0)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// Ends one open call of which nobody told how it ended.
async fn end_unknown(tx: &mut Tx<'_>, call_id: &str) -> Outcome<()> {
    let Some(id) = CallId::parse(call_id) else { return Err(unreadable("call id")) };
    observe(tx, &CallRef::Id(id), &unknown()).await.map(|_| ())
}

/// The record of a call that was just ended.
fn finished(tx: &mut Tx<'_>, row: &SqliteRow, ended: &Ended) -> Outcome<CallId> {
    let id: String = row.try_get("call_id")?;
    let task: Option<String> = row.try_get("task_id")?;
    let call_id = CallId::parse(&id).ok_or_else(|| unreadable("call id"))?;
    let duration_ms: i64 = row.try_get("duration_ms")?;
    let joined_by: Option<String> = row.try_get("joined_by")?;
    let redactions: Vec<(&str, Json)> =
        ended.redactions.iter().map(|(id, n)| (&**id, Json::int(i64::from(*n)))).collect();
    let keys = [
        ("outcome", word(ended.outcome.as_str())),
        ("code", ended.code.and_then(|c| word(c.as_str()))),
        ("duration_ms", int(duration_ms)),
        ("bytes", int(ended.bytes)),
        ("redactions", (!redactions.is_empty()).then(|| Json::object(redactions))),
        ("injection", ended.injection.as_ref().map(|found| found.record())),
        ("joined_by", joined_by.and_then(word)),
    ];
    let task = task.as_deref().and_then(TaskId::parse);
    tx.append(&Draft::new(Event::CallFinished, keys).call(call_id).task(task))?;
    Ok(call_id)
}

/// The end of a call that nobody told of.
fn unknown() -> Ended {
    Ended {
        records: Vec::new(),
        outcome: CallOutcome::Unknown,
        code: None,
        duration_ms: None,
        bytes: 0,
        redactions: Vec::new(),
        injection: None,
    }
}

/// A gateway is gone without a word: its open calls are unknown. What waited for a person stays decidable, since the
/// same call may come again through another gateway (DECISIONS row 33).
pub(super) async fn lose_gateway(tx: &mut Tx<'_>, gateway: &Gateway) -> Outcome<u32> {
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT call_id FROM calls
         WHERE client = ?1 AND session_id = ?2 AND ended_at IS NULL ORDER BY permit_at, call_id",
    )
    .bind(gateway.session.client.as_str())
    .bind(&gateway.session.id)
    .fetch_all(&mut *tx.conn)
    .await?;
    for id in &open {
        end_unknown(tx, id).await?;
    }
    sqlx::query("DELETE FROM nodes WHERE kind = 'gateway' AND boot = ?1 AND pid = ?2 AND started = ?3")
        .bind(&gateway.process.boot)
        .bind(i64::from(gateway.process.pid))
        .bind(i64::try_from(gateway.process.started).unwrap_or(i64::MAX))
        .execute(&mut *tx.conn)
        .await?;
    Ok(u32::try_from(open.len()).unwrap_or(u32::MAX))
}

pub(super) async fn end_session(tx: &mut Tx<'_>, session: &Session) -> Outcome<Option<TaskId>> {
    // A gateway that ends its session is no gateway any more.
    sqlx::query("DELETE FROM nodes WHERE kind = 'gateway' AND client = ?1 AND session_id = ?2")
        .bind(session.client.as_str())
        .bind(&session.id)
        .execute(&mut *tx.conn)
        .await?;
    let Some(task) = live_task(tx, session).await? else { return Ok(None) };
    let id = task.to_string();
    // Nobody will come for what was held; parked requests outlive the session.
    approvals::strand(tx, Some(task), Strand::Cancelled, "cancel", true).await?;
    sqlx::query("UPDATE approvals SET resumed_at = ?2 WHERE task_id = ?1 AND wait_mode = 'hold' AND resumed_at IS NULL")
        .bind(&id)
        .bind(tx.now.0)
        .execute(&mut *tx.conn)
        .await?;
    approvals::settle(tx).await?;
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT call_id FROM calls WHERE task_id = ?1 AND ended_at IS NULL
        AND client = ?2 AND session_id = ?3 ORDER BY permit_at, call_id",
    )
    .bind(&id)
    .bind(session.client.as_str())
    .bind(&session.id)
    .fetch_all(&mut *tx.conn)
    .await?;
    for id in &open {
        end_unknown(tx, id).await?;
    }
    for status in [TaskStatus::Finalizing, TaskStatus::Completed] {
        sqlx::query(
            "UPDATE tasks SET status = ?2, status_since = ?3, ended_at = CASE WHEN ?2 = 'COMPLETED' THEN ?3 END
             WHERE task_id = ?1",
        )
        .bind(&id)
        .bind(status.as_str())
        .bind(tx.now.0)
        .execute(&mut *tx.conn)
        .await?;
    }
    sqlx::query("UPDATE grants SET ended_at = ?2, ended_by = 'task' WHERE task_id = ?1 AND single_use = 0 AND ended_at IS NULL")
        .bind(&id)
        .bind(tx.now.0)
        .execute(&mut *tx.conn)
        .await?;
    tx.append(&Draft::new(Event::TaskCompleted, []).task(Some(task)))?;
    Ok(Some(task))
}

/// Which requests [`tell`] would tell about; asked without a write first, since a client asks at every turn.
pub(super) const UNTOLD: &str = approval_query!(
    "WHERE k.client = ?2 AND k.session_id = ?3 AND a.wait_mode = 'park' AND a.injected_at IS NULL
       AND a.status IN ('APPROVED', 'DENIED')
     ORDER BY a.seq LIMIT 100"
);

pub(super) async fn tell(tx: &mut Tx<'_>, session: &Session) -> Outcome<Vec<Approval>> {
    let rows = sqlx::query(UNTOLD)
        .bind(tx.now.0)
        .bind(session.client.as_str())
        .bind(&session.id)
        .fetch_all(&mut *tx.conn)
        .await?;
    let told = approvals::parse_all(&rows)?;
    for approval in &told {
        let id = approval.request.approval_id;
        sqlx::query("UPDATE approvals SET injected_at = ?2 WHERE approval_id = ?1")
            .bind(id.to_string())
            .bind(tx.now.0)
            .execute(&mut *tx.conn)
            .await?;
        if approval.status == countersign_core::approval::Status::Denied {
            let keys = [("approval_id", word(id)), ("reason", approval.deny_reason.as_ref().and_then(text))];
            let draft = Draft::new(Event::UserDenialInjected, keys);
            tx.append(&draft.call(approval.request.call_id).task(Some(approval.task_id)).approval(id))?;
        }
    }
    Ok(told)
}

/// Ends a grant and every other live grant of the same request.
pub(super) async fn revoke(tx: &mut Tx<'_>, id: GrantId, by: &Approver) -> Outcome<bool> {
    let row = sqlx::query(
        "SELECT scope, task_id, approval_id FROM grants
         WHERE grant_id = ?1 AND redeemed_at IS NULL AND ended_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)",
    )
    .bind(id.to_string())
    .bind(tx.now.0)
    .fetch_optional(&mut *tx.conn)
    .await?;
    let Some(row) = row else { return Ok(false) };
    let approval: Option<String> = row.try_get("approval_id")?;
    sqlx::query(
        "UPDATE grants SET ended_at = ?3, ended_by = ?4
         WHERE (grant_id = ?1 OR approval_id = ?2) AND redeemed_at IS NULL AND ended_at IS NULL",
    )
    .bind(id.to_string())
    .bind(approval.as_deref())
    .bind(tx.now.0)
    .bind(by.id())
    .execute(&mut *tx.conn)
    .await?;
    let keys = [
        ("grant_id", word(id)),
        ("scope", word(row.try_get::<String, _>("scope")?)),
        ("principal", word(by.id())),
        ("assurance", word(by.assurance().as_str())),
    ];
    let task: String = row.try_get("task_id")?;
    let mut draft = Draft::new(Event::ApprovalRevoked, keys).task(TaskId::parse(&task));
    draft.approval_id = approval.as_deref().and_then(ApprovalId::parse);
    tx.append(&draft)?;
    tx.stirred = true;
    Ok(true)
}

/// The row and the record of a halt; every held waiter is stranded with it (row 35), parked requests stay.
pub(super) async fn set_halt(tx: &mut Tx<'_>, reason: &Clean, by: &str) -> Outcome<()> {
    sqlx::query("INSERT OR REPLACE INTO halts (scope, reason, by, at) VALUES ('all', ?1, ?2, ?3)")
        .bind(reason.as_str())
        .bind(by)
        .bind(tx.now.0)
        .execute(&mut *tx.conn)
        .await?;
    let by = countersign_core::cleanse::clean_line(by, 200);
    tx.append(&Draft::new(Event::HaltSet, [("reason", text(reason)), ("by", text(&by))]))?;
    approvals::strand(tx, None, Strand::Halted, "halt", false).await?;
    tx.stirred = true;
    Ok(())
}

pub(super) async fn clear_halt(tx: &mut Tx<'_>, reason: Option<&Clean>, by: &Approver) -> Outcome<bool> {
    if ledger::halt(tx.conn, tx.options).await? == Halt::Absent {
        return Ok(false);
    }
    sqlx::query("DELETE FROM halts").execute(&mut *tx.conn).await?;
    let keys = [
        ("reason", reason.and_then(text)),
        ("by", word(by.id())),
        ("assurance", word(by.assurance().as_str())),
    ];
    tx.append(&Draft::new(Event::HaltCleared, keys))?;
    tx.stirred = true;
    Ok(true)
}

pub(super) async fn set_pins(tx: &mut Tx<'_>, pins: &[PinChange], drafts: &[Draft]) -> Outcome<()> {
    for change in pins {
        let query = match &change.pin {
            Some(pin) => sqlx::query(
                "INSERT OR REPLACE INTO pins (kind, name, digest, text, accepted_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            )
            .bind(change.kind.as_str())
            .bind(&change.name)
            .bind(pin.digest.to_string())
            .bind(&pin.text)
            .bind(tx.now.0),
            None => sqlx::query("DELETE FROM pins WHERE kind = ?1 AND name = ?2")
                .bind(change.kind.as_str())
                .bind(&change.name),
        };
        query.execute(&mut *tx.conn).await?;
    }
    for draft in drafts {
        tx.append(draft)?;
    }
    tx.stirred = true;
    Ok(())
}

/// Text of the HALT file.
pub(super) fn halt_text(reason: &Clean, at: Timestamp) -> String {
    format!("{} (halted at {at})\n", reason.cut(900))
}
