//! Requests to people: their rows, the transactions of approvals.md 3.3 over them, and the sweep of what time made
//! true.
//!
//! Which edge a request may take is asked of `core::approval::step`; the row's trigger refuses a second end whatever
//! this code does.

use super::fault::{Fail, Outcome, unreadable};
use super::tx::Tx;
use super::{ledger, text};
use countersign_core::approval::scope::Scope;
use countersign_core::approval::{
    Answer, Happening, LATE_S, Severity, Status, StepError, Strand, WAITER_LOST_S, Wait, step,
};
use countersign_core::cleanse::{Clean, clean_text};
use countersign_core::code::Code;
use countersign_core::digest::Digest;
use countersign_core::event::{Draft, Event, int, text as event_text, word};
use countersign_core::ids::{ApprovalId, CallId, GrantId, TaskId};
use countersign_core::json::Json;
use countersign_core::ledger::{Approval, Decision, Halt, HoldEnd, NewRequest, Refused};
use countersign_core::principal::Client;
use countersign_core::time::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

/// Most members of a task's waiting set (approvals.md 2.11).
const MAX_WAITING: i64 = 8;
/// Most refusals kept for a task and kind (approvals.md 1.9).
const MAX_REFUSALS: i64 = 50;

/// A query for whole requests: the columns that [`parse`] reads, then the given tail. `now` and `stepped` come first
/// so that states made by time can be derived.
macro_rules! approval_query {
    ($tail:literal) => {
        concat!(
            "WITH t AS MATERIALIZED (SELECT coalesce(?1, CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) AS clock,
                (SELECT at FROM log_head WHERE tenant = 'default') AS last),
             n AS MATERIALIZED (SELECT max(clock, last) AS now, clock < last - 30000 AS stepped FROM t)
             SELECT n.now, n.stepped, a.*, k.status AS task_status
             FROM n, approvals a JOIN tasks k ON k.task_id = a.task_id ",
            $tail
        )
    };
}
pub(super) use approval_query;

/// A request with what is needed to judge a change of it.
pub(super) struct Stored {
    pub(super) approval: Approval,
    task_ended: bool,
}

pub(super) fn parse(row: &SqliteRow) -> Outcome<Stored> {
    let get = |name: &str| -> Outcome<String> { Ok(row.try_get(name)?) };
    let opt = |name: &str| -> Outcome<Option<String>> { Ok(row.try_get(name)?) };
    let time = |name: &str| -> Outcome<Timestamp> { Ok(Timestamp(row.try_get(name)?)) };
    let digest = |name: &'static str| -> Outcome<Digest> {
        Digest::parse(&get(name)?).ok_or_else(|| unreadable(name))
    };
    let clean = |name: &str| -> Outcome<Clean> { Ok(clean_text(&get(name)?)) };
    let scope = |name: &'static str| -> Outcome<Option<Scope>> {
        opt(name)?.map(|s| text::scope(&s).ok_or_else(|| unreadable(name))).transpose()
    };
    let request = NewRequest {
        approval_id: ApprovalId::parse(&get("approval_id")?).ok_or_else(|| unreadable("approval_id"))?,
        call_id: CallId::parse(&get("call_id")?).ok_or_else(|| unreadable("call_id"))?,
        principal: get("principal")?,
        client: Client::parse(&get("client")?).ok_or_else(|| unreadable("client"))?,
        tool: get("tool")?,
        preview: clean("preview")?,
        display: clean("display")?,
        cwd: opt("cwd")?.map(|c| clean_text(&c)),
        args_digest: digest("args_digest")?,
        call_digest: digest("call_digest")?,
        rulebook_digest: digest("rulebook_digest")?,
        reason: clean("reason")?,
        severity: Severity::parse(&get("severity")?).ok_or_else(|| unreadable("severity"))?,
        rules: text::strings(&get("rules")?).ok_or_else(|| unreadable("rules"))?,
        timeout_s: row.try_get("timeout_s")?,
        wait: Wait::parse(&get("wait_mode")?).ok_or_else(|| unreadable("wait_mode"))?,
        exact: scope("exact")?,
        owner: get("owner")?,
        repo: opt("repo")?,
    };
    let status = Status::parse(&get("status")?, opt("stranded_reason")?.as_deref());
    let mut approval = Approval {
        request,
        task_id: TaskId::parse(&get("task_id")?).ok_or_else(|| unreadable("task_id"))?,
        status: status.ok_or_else(|| unreadable("status"))?,
        created_at: time("created_at")?,
        expires_at: time("expires_at")?,
        decided_at: row.try_get::<Option<i64>, _>("decided_at")?.map(Timestamp),
        decided_by: opt("decided_by")?,
        decided_via: opt("decided_via")?,
        scope: scope("scope")?,
        deny_reason: opt("deny_reason")?.map(|r| clean_text(&r)),
        resumed: row.try_get::<Option<i64>, _>("resumed_at")?.is_some(),
    };
    derive(&mut approval, time("now")?, row.try_get("stepped")?);
    let task_status = get("task_status")?;
    let task_ended =
        countersign_core::task::TaskStatus::parse(&task_status).is_none_or(|status| status.is_terminal());
    Ok(Stored { approval, task_ended })
}

/// What the next sweep will write down, as it is to be seen now.
fn derive(approval: &mut Approval, now: Timestamp, stepped: bool) {
    if approval.status != Status::Pending {
        return;
    }
    let (status, at, via) = match approval.request.wait {
        _ if stepped => (Status::TimedOut, now, "timer"),
        Wait::Hold if now >= approval.expires_at.plus_s(WAITER_LOST_S) => {
            (Status::Stranded(Strand::WaiterLost), approval.expires_at.plus_s(WAITER_LOST_S), "reconciler")
        }
        Wait::Park if now >= approval.expires_at.plus_s(LATE_S) => {
            (Status::TimedOut, approval.expires_at.plus_s(LATE_S), "timer")
        }
        _ => return,
    };
    approval.status = status;
    approval.decided_at = Some(at);
    approval.decided_via = Some(via.to_owned());
}

/// One request; inside a transaction `clock` is its instant.
pub(super) async fn find(
    conn: &mut SqliteConnection,
    clock: Option<i64>,
    id: ApprovalId,
) -> Outcome<Option<Stored>> {
    let row = sqlx::query(approval_query!("WHERE a.approval_id = ?2"))
        .bind(clock)
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(parse).transpose()
}

/// Several requests, in the order of the query.
pub(super) fn parse_all(rows: &[SqliteRow]) -> Outcome<Vec<Approval>> {
    rows.iter().map(|row| parse(row).map(|s| s.approval)).collect()
}

impl Tx<'_> {
    async fn approval(&mut self, id: ApprovalId) -> Outcome<Option<Stored>> {
        find(self.conn, Some(self.now.0), id).await
    }
}

/// T1. The task must live; cap, rate and the size of the waiting set are asked again here.
pub(super) async fn ask(
    tx: &mut Tx<'_>,
    task: TaskId,
    request: &NewRequest,
    per_minute: u32,
) -> Outcome<Timestamp> {
    let now = tx.now;
    let counts = sqlx::query(
        "SELECT k.gate_count < k.gate_cap AS room,
            (SELECT count(*) FROM approvals a WHERE a.task_id = k.task_id AND a.created_at > ?2 - 60000
                AND a.counted_at IS NOT NULL) AS minute,
            (SELECT count(*) FROM approvals a WHERE a.task_id = k.task_id AND a.wait_mode = 'hold'
                AND a.resumed_at IS NULL) AS waiting,
            EXISTS (SELECT 1 FROM approvals a WHERE a.status = 'PENDING' AND a.principal = ?3
                AND a.call_digest = ?4 AND a.rulebook_digest = ?5 AND a.expires_at > ?2) AS asked
         FROM tasks k WHERE k.task_id = ?1 AND k.status IN ('RUNNING', 'HYDRATING', 'AWAITING_APPROVAL')",
    )
    .bind(task.to_string())
    .bind(now.0)
    .bind(&request.principal)
    .bind(request.call_digest.to_string())
    .bind(request.rulebook_digest.to_string())
    .fetch_optional(&mut *tx.conn)
    .await?
    .ok_or(Fail::Moved)?;
    // The same question is open already: the caller reads again and attaches to it. One that was asked under other
    // rules is another question, since no yes to it could be spent now.
    if counts.try_get("asked")? {
        return Err(Fail::Moved);
    }
    if !counts.try_get::<bool, _>("room")? {
        return Err(Fail::Limit(Code::ApprovalCap));
    }
    let held = request.wait == Wait::Hold;
    if counts.try_get::<i64, _>("minute")? >= i64::from(per_minute)
        || (held && counts.try_get::<i64, _>("waiting")? >= MAX_WAITING)
    {
        return Err(Fail::Limit(Code::ApprovalRate));
    }
    let expires_at = now.plus_s(request.timeout_s);
    sqlx::query(
        "INSERT INTO approvals (approval_id, task_id, call_id, principal, client, tool, preview, display, cwd,
            args_digest, call_digest, rulebook_digest, reason, severity, rules, timeout_s, wait_mode, exact, owner,
            repo, created_at, counted_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
            ?21, ?22)",
    )
    .bind(request.approval_id.to_string())
    .bind(task.to_string())
    .bind(request.call_id.to_string())
    .bind(&request.principal)
    .bind(request.client.as_str())
    .bind(&request.tool)
    .bind(request.preview.cut(256).as_str().to_owned())
    .bind(request.display.as_str())
    .bind(request.cwd.as_ref().map(Clean::as_str))
    .bind(request.args_digest.to_string())
    .bind(request.call_digest.to_string())
    .bind(request.rulebook_digest.to_string())
    .bind(request.reason.as_str())
    .bind(request.severity.as_str())
    .bind(Json::strings(&request.rules).canonical())
    .bind(request.timeout_s)
    .bind(request.wait.as_str())
    .bind(request.exact.as_ref().map(Scope::to_string))
    .bind(&request.owner)
    .bind(request.repo.as_deref())
    .bind(now.0)
    .bind(expires_at.0)
    .execute(&mut *tx.conn)
    .await?;
    sqlx::query("UPDATE tasks SET gate_count = gate_count + 1 WHERE task_id = ?1")
        .bind(task.to_string())
        .execute(&mut *tx.conn)
        .await?;
    if held {
        // The task changes state only when its waiting set goes from empty to one.
        sqlx::query(
            "UPDATE tasks SET status = 'AWAITING_APPROVAL', status_since = ?2
             WHERE task_id = ?1 AND status IN ('RUNNING', 'HYDRATING')",
        )
        .bind(task.to_string())
        .bind(now.0)
        .execute(&mut *tx.conn)
        .await?;
    }
    tx.stirred = true;
    Ok(expires_at)
}

/// T2 and T3.
pub(super) async fn decide(tx: &mut Tx<'_>, decision: &Decision) -> Outcome<Approval> {
    let Some(Stored { approval, task_ended }) = tx.approval(decision.approval_id).await? else {
        return Err(Fail::NotFound);
    };
    let held = approval.request.wait == Wait::Hold;
    // A stranded request of an ended session says so (row 32); a parked one outlives its session.
    let stranded = matches!(approval.status, Status::Stranded(_));
    if task_ended && (stranded || (held && approval.status == Status::Pending)) {
        return Err(Fail::TaskEnded);
    }
    if approval.status == Status::Pending && ledger::halt(tx.conn, tx.options).await? != Halt::Absent {
        return Err(Fail::Halted);
    }
    let happening = match decision.answer {
        Answer::Approve { .. } => Happening::Approve,
        Answer::Deny { .. } => Happening::Deny,
    };
    let status = step(approval.status, happening, tx.now, approval.expires_at).map_err(|e| match e {
        StepError::Ended(status) => Fail::Ended(status),
        StepError::TooEarly => Fail::Moved,
    })?;
    let (scope, reason) = match &decision.answer {
        Answer::Approve { scope } => (Some(scope), None),
        Answer::Deny { reason } => (None, Some(reason.cut(2_000))),
    };
    let id = decision.approval_id.to_string();
    let written = sqlx::query(
        "UPDATE approvals SET status = ?2, decided_at = ?3, decided_by = ?4, decided_via = ?5, assurance = ?6,
            scope = ?7, deny_reason = ?8
         WHERE approval_id = ?1 AND status = 'PENDING'",
    )
    .bind(&id)
    .bind(status.as_str())
    .bind(tx.now.0)
    .bind(decision.by.id())
    .bind(decision.via.as_str())
    .bind(decision.by.assurance().as_str())
    .bind(scope.map(Scope::to_string))
    .bind(reason.as_ref().map(|r| r.as_str().to_owned()))
    .execute(&mut *tx.conn)
    .await?;
    if written.rows_affected() != 1 {
        return Err(Fail::Ended(status));
    }
    // A person looked at the task: suspicion ends (row 19).
    sqlx::query(
        "UPDATE tasks SET last_decision_at = ?2, tainted_by = NULL, tainted_at = NULL WHERE task_id = ?1",
    )
    .bind(approval.task_id.to_string())
    .bind(tx.now.0)
    .execute(&mut *tx.conn)
    .await?;
    match (scope, &reason) {
        (Some(scope), _) => {
            grant(tx, decision, &approval, scope, task_ended).await?;
            forget_rules(tx, &approval).await?;
        }
        (None, Some(reason)) => refuse_again(tx, decision, &approval, reason).await?,
        (None, None) => {}
    }
    let draft = Draft::new(
        Event::ApprovalDecisionRecorded,
        [
            ("approval_id", word(&id)),
            ("status", word(status.as_str())),
            ("scope", scope.and_then(word)),
            ("reason", reason.as_ref().and_then(event_text)),
            ("decided_at", word(tx.now)),
            ("principal", word(decision.by.id())),
            ("decided_via", word(decision.via.as_str())),
            ("assurance", word(decision.by.assurance().as_str())),
        ],
    );
    tx.append(
        &draft.call(approval.request.call_id).task(Some(approval.task_id)).approval(decision.approval_id),
    )?;
    tx.stirred = true;
    tx.approval(decision.approval_id).await?.map(|s| s.approval).ok_or(Fail::NotFound)
}

/// The grants of a yes: the single use of exactly this call, and the wider scope when one was given.
async fn grant(
    tx: &mut Tx<'_>,
    decision: &Decision,
    approval: &Approval,
    scope: &Scope,
    task_ended: bool,
) -> Outcome<()> {
    const INSERT: &str = "
        INSERT INTO grants (grant_id, task_id, principal, scope, single_use, call_digest, rulebook_digest,
            rule_digest, approval_id, created_at, expires_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let [single, wide] = decision.fresh;
    let expires = match approval.request.wait {
        Wait::Hold => tx.now.plus_s(decision.grant_ttl_s),
        Wait::Park => approval.expires_at,
    };
    let request = &approval.request;
    sqlx::query(INSERT)
        .bind(single.to_string())
        .bind(approval.task_id.to_string())
        .bind(&request.principal)
        .bind(Scope::ThisCall.to_string())
        .bind(true)
        .bind(request.call_digest.to_string())
        .bind(request.rulebook_digest.to_string())
        .bind(None::<String>)
        .bind(request.approval_id.to_string())
        .bind(tx.now.0)
        .bind(expires.0)
        .execute(&mut *tx.conn)
        .await?;
    // A wider scope dies with its task, so for an ended one there is nothing to give.
    if *scope == Scope::ThisCall || task_ended {
        return Ok(());
    }
    sqlx::query(INSERT)
        .bind(wide.to_string())
        .bind(approval.task_id.to_string())
        .bind(&request.principal)
        .bind(scope.to_string())
        .bind(false)
        .bind(None::<String>)
        .bind(None::<String>)
        .bind(match scope {
            Scope::Rule(_) => decision.rule_digest.map(|d| d.to_string()),
            _ => None,
        })
        .bind(request.approval_id.to_string())
        .bind(tx.now.0)
        .bind(None::<i64>)
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

/// A fresh yes clears the memory of refusals for the rules it answered.
async fn forget_rules(tx: &mut Tx<'_>, approval: &Approval) -> Outcome<()> {
    for rule in &approval.request.rules {
        sqlx::query(
            "DELETE FROM recent_decisions WHERE task_id = ?1 AND kind = 'rule' AND tool = ?2 AND key = ?3",
        )
        .bind(approval.task_id.to_string())
        .bind(&approval.request.tool)
        .bind(rule)
        .execute(&mut *tx.conn)
        .await?;
    }
    Ok(())
}

/// A no is remembered for the arguments and for each rule that asked.
async fn refuse_again(
    tx: &mut Tx<'_>,
    decision: &Decision,
    approval: &Approval,
    reason: &Clean,
) -> Outcome<()> {
    if decision.refusal_memory_s <= 0 {
        return Ok(());
    }
    let input = approval.request.args_digest.to_string();
    let memory = decision.refusal_memory_s;
    remember(tx, approval, "input", &input, Refused::Denied, reason, memory).await?;
    for rule in &approval.request.rules {
        remember(tx, approval, "rule", rule, Refused::Denied, reason, memory).await?;
    }
    Ok(())
}

async fn remember(
    tx: &mut Tx<'_>,
    approval: &Approval,
    kind: &str,
    key: &str,
    how: Refused,
    reason: &Clean,
    memory_s: i64,
) -> Outcome<()> {
    let task = approval.task_id.to_string();
    sqlx::query(
        "INSERT OR REPLACE INTO recent_decisions (task_id, kind, tool, key, how, reason, decided_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(&task)
    .bind(kind)
    .bind(&approval.request.tool)
    .bind(key)
    .bind(how.as_str())
    .bind(reason.as_str())
    .bind(tx.now.0)
    .bind(tx.now.plus_s(memory_s).0)
    .execute(&mut *tx.conn)
    .await?;
    sqlx::query(
        "DELETE FROM recent_decisions WHERE task_id = ?1 AND kind = ?2 AND (expires_at <= ?3 OR (tool, key) NOT IN (
            SELECT tool, key FROM recent_decisions WHERE task_id = ?1 AND kind = ?2
            ORDER BY decided_at DESC, tool, key LIMIT ?4))",
    )
    .bind(&task)
    .bind(kind)
    .bind(tx.now.0)
    .bind(MAX_REFUSALS)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// A held request's caller goes. A decision that landed first is never overwritten: the caller reads again.
pub(super) async fn end_hold(tx: &mut Tx<'_>, id: ApprovalId, how: HoldEnd) -> Outcome<TaskId> {
    let Some(Stored { approval, .. }) = tx.approval(id).await? else { return Err(Fail::Moved) };
    let key = id.to_string();
    let (now, task) = (tx.now, approval.task_id);
    let sql = match how {
        HoldEnd::Park => {
            if approval.status != Status::Pending || now >= approval.expires_at {
                return Err(Fail::Moved);
            }
            if approval.request.wait == Wait::Park {
                return Ok(task); // another caller of the same question parked it
            }
            "UPDATE approvals SET wait_mode = 'park' WHERE approval_id = ?1 AND status = 'PENDING'"
        }
        HoldEnd::Expire => {
            step(approval.status, Happening::Expire, now, approval.expires_at).map_err(|_| Fail::Moved)?;
            "UPDATE approvals SET status = 'TIMED_OUT', decided_at = ?2, decided_via = 'timer', resumed_at = ?2
             WHERE approval_id = ?1 AND status = 'PENDING'"
        }
        HoldEnd::Strand(why) => {
            step(approval.status, Happening::Strand(why), now, approval.expires_at)
                .map_err(|_| Fail::Moved)?;
            let via = match why {
                Strand::Cancelled | Strand::Declined => "cancel",
                Strand::Halted => "halt",
                Strand::WaiterLost | Strand::NodeLost => "reconciler",
            };
            let written = sqlx::query(
                "UPDATE approvals SET status = 'STRANDED', stranded_reason = ?3, decided_at = ?2, decided_via = ?4,
                    resumed_at = ?2
                 WHERE approval_id = ?1 AND status = 'PENDING'",
            )
            .bind(&key)
            .bind(now.0)
            .bind(why.as_str())
            .bind(via)
            .execute(&mut *tx.conn)
            .await?;
            if written.rows_affected() != 1 {
                return Err(Fail::Moved);
            }
            tx.stirred = true;
            settle(tx).await?;
            return Ok(task);
        }
        HoldEnd::Taken => {
            if approval.status == Status::Pending {
                return Err(Fail::Moved);
            }
            resume(tx, id).await?;
            return Ok(task);
        }
    };
    let written = sqlx::query(sql).bind(&key).bind(now.0).execute(&mut *tx.conn).await?;
    if written.rows_affected() != 1 {
        return Err(Fail::Moved);
    }
    // Silence is remembered for the arguments only, and a parked request is not silence (approvals.md 1.9, 2.9).
    if how == HoldEnd::Expire && approval.request.wait == Wait::Hold && tx.options.refusal_memory_s > 0 {
        let input = approval.request.args_digest.to_string();
        let reason = Clean::fixed("nobody answered in time");
        remember(tx, &approval, "input", &input, Refused::TimedOut, &reason, tx.options.refusal_memory_s)
            .await?;
    }
    tx.stirred = true;
    settle(tx).await?;
    Ok(task)
}

/// T5: the waiting caller has taken the answer.
pub(super) async fn resume(tx: &mut Tx<'_>, id: ApprovalId) -> Outcome<()> {
    sqlx::query(
        "UPDATE approvals SET resumed_at = ?2 WHERE approval_id = ?1 AND resumed_at IS NULL AND status <> 'PENDING'",
    )
    .bind(id.to_string())
    .bind(tx.now.0)
    .execute(&mut *tx.conn)
    .await?;
    settle(tx).await
}

/// T5 for a permit: only a yes can be taken this way.
pub(super) async fn resume_approved(tx: &mut Tx<'_>, id: ApprovalId) -> Outcome<()> {
    match tx.approval(id).await? {
        Some(Stored { approval, .. }) if approval.status == Status::Approved => resume(tx, id).await,
        _ => Err(Fail::Moved),
    }
}

/// T8: spends a single-use grant and ends its siblings.
pub(super) async fn spend(
    tx: &mut Tx<'_>,
    id: GrantId,
    principal: &str,
    call_digest: Digest,
    rulebook: Option<Digest>,
) -> Outcome<()> {
    let spent = sqlx::query(
        "UPDATE grants SET redeemed_at = ?2
         WHERE grant_id = ?1 AND single_use = 1 AND redeemed_at IS NULL AND ended_at IS NULL AND expires_at > ?2
           AND principal = ?3 AND call_digest = ?4 AND coalesce(rulebook_digest = ?5, 1)",
    )
    .bind(id.to_string())
    .bind(tx.now.0)
    .bind(principal)
    .bind(call_digest.to_string())
    .bind(rulebook.map(|d| d.to_string()))
    .execute(&mut *tx.conn)
    .await?;
    if spent.rows_affected() != 1 {
        return Err(Fail::Moved);
    }
    sqlx::query(
        "UPDATE grants SET ended_at = ?2, ended_by = 'spent'
         WHERE approval_id = (SELECT approval_id FROM grants WHERE grant_id = ?1) AND single_use = 1
           AND grant_id <> ?1 AND redeemed_at IS NULL AND ended_at IS NULL",
    )
    .bind(id.to_string())
    .bind(tx.now.0)
    .execute(&mut *tx.conn)
    .await?;
    // Who used the yes knows of it: told again, an agent would run the call again.
    sqlx::query(
        "UPDATE approvals SET injected_at = ?2
         WHERE approval_id = (SELECT approval_id FROM grants WHERE grant_id = ?1) AND wait_mode = 'park'
           AND injected_at IS NULL",
    )
    .bind(id.to_string())
    .bind(tx.now.0)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// Tasks whose waiting set is empty run again.
pub(super) async fn settle(tx: &mut Tx<'_>) -> Outcome<()> {
    sqlx::query(
        "UPDATE tasks SET status = 'RUNNING', status_since = ?1
         WHERE status = 'AWAITING_APPROVAL' AND NOT EXISTS (
            SELECT 1 FROM approvals a
            WHERE a.task_id = tasks.task_id AND a.wait_mode = 'hold' AND a.resumed_at IS NULL)",
    )
    .bind(tx.now.0)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// Writes down what time made true: lost waiters, parked requests over their window, answers nobody took.
pub(super) async fn sweep(tx: &mut Tx<'_>) -> Outcome<()> {
    let lost = sqlx::query(
        "UPDATE approvals SET status = 'STRANDED', stranded_reason = 'waiter_lost', decided_at = ?1,
            decided_via = 'reconciler', resumed_at = ?1
         WHERE status = 'PENDING' AND wait_mode = 'hold' AND expires_at <= ?1 - 1000 * ?2
         RETURNING approval_id, call_id, task_id, created_at, timeout_s",
    )
    .bind(tx.now.0)
    .bind(WAITER_LOST_S)
    .fetch_all(&mut *tx.conn)
    .await?;
    for row in &lost {
        stranded(tx, row, Strand::WaiterLost)?;
    }
    let over = sqlx::query(
        "UPDATE approvals SET status = 'TIMED_OUT', decided_at = ?1, decided_via = 'timer'
         WHERE status = 'PENDING' AND wait_mode = 'park' AND expires_at <= ?1 - 1000 * ?2
         RETURNING approval_id, call_id, task_id, created_at, timeout_s",
    )
    .bind(tx.now.0)
    .bind(LATE_S)
    .fetch_all(&mut *tx.conn)
    .await?;
    for row in &over {
        timed_out(tx, row)?;
    }
    sqlx::query(
        "UPDATE approvals SET resumed_at = ?1
         WHERE wait_mode = 'hold' AND resumed_at IS NULL AND decided_at <= ?1 - 1000 * ?2",
    )
    .bind(tx.now.0)
    .bind(WAITER_LOST_S)
    .execute(&mut *tx.conn)
    .await?;
    tx.stirred = true;
    settle(tx).await
}

/// The clock was set back: no window can be measured any more, so each ends.
pub(super) async fn end_all_windows(tx: &mut Tx<'_>) -> Outcome<()> {
    let ended = sqlx::query(
        "UPDATE approvals SET status = 'TIMED_OUT', decided_at = ?1, decided_via = 'timer'
         WHERE status = 'PENDING' RETURNING approval_id, call_id, task_id, created_at, timeout_s",
    )
    .bind(tx.now.0)
    .fetch_all(&mut *tx.conn)
    .await?;
    for row in &ended {
        timed_out(tx, row)?;
    }
    // Answers from the time before can no longer be dated either.
    sqlx::query(
        "UPDATE approvals SET resumed_at = ?1 WHERE wait_mode = 'hold' AND resumed_at IS NULL AND decided_at > ?1",
    )
    .bind(tx.now.0)
    .execute(&mut *tx.conn)
    .await?;
    tx.stirred = true;
    Ok(())
}

/// Strands every held request of a task (`None`: of all tasks). `taken` tells that no caller will come for it.
pub(super) async fn strand(
    tx: &mut Tx<'_>,
    task: Option<TaskId>,
    why: Strand,
    via: &str,
    taken: bool,
) -> Outcome<()> {
    let rows = sqlx::query(
        "UPDATE approvals SET status = 'STRANDED', stranded_reason = ?2, decided_at = ?3, decided_via = ?4,
            resumed_at = CASE WHEN ?5 THEN ?3 END
         WHERE status = 'PENDING' AND wait_mode = 'hold' AND (?1 IS NULL OR task_id = ?1)
         RETURNING approval_id, call_id, task_id, created_at, timeout_s",
    )
    .bind(task.map(|t| t.to_string()))
    .bind(why.as_str())
    .bind(tx.now.0)
    .bind(via)
    .bind(taken)
    .fetch_all(&mut *tx.conn)
    .await?;
    for row in &rows {
        stranded(tx, row, why)?;
    }
    tx.stirred |= !rows.is_empty();
    Ok(())
}

fn about(row: &SqliteRow, draft: Draft) -> Outcome<Draft> {
    let text = |name: &str| -> Outcome<String> { Ok(row.try_get(name)?) };
    let id = ApprovalId::parse(&text("approval_id")?).ok_or_else(|| unreadable("approval_id"))?;
    let call = CallId::parse(&text("call_id")?).ok_or_else(|| unreadable("call_id"))?;
    Ok(draft.call(call).task(TaskId::parse(&text("task_id")?)).approval(id))
}

fn stranded(tx: &mut Tx<'_>, row: &SqliteRow, why: Strand) -> Outcome<()> {
    let age_s = tx.now.seconds_since(Timestamp(row.try_get("created_at")?));
    let id: String = row.try_get("approval_id")?;
    let keys = [("approval_id", word(id)), ("age_s", int(age_s.max(0))), ("reason", word(why.as_str()))];
    let draft = about(row, Draft::new(Event::ApprovalStranded, keys))?;
    tx.append(&draft).map(drop)
}

fn timed_out(tx: &mut Tx<'_>, row: &SqliteRow) -> Outcome<()> {
    let id: String = row.try_get("approval_id")?;
    let created = Timestamp(row.try_get("created_at")?);
    let keys = [
        ("approval_id", word(id)),
        ("timeout_s", int(row.try_get("timeout_s")?)),
        ("created_at", word(created)),
    ];
    let draft = about(row, Draft::new(Event::ApprovalTimedOut, keys))?;
    tx.append(&draft).map(drop)
}
