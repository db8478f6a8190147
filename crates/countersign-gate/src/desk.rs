//! The approval desk: waiting for a person, and what a person may say.
//!
//! A wake-up is a hint, never the decision: whoever waits reads the row again and acts on that. A person's verbs
//! take an [`Approver`], which only a human principal can become. Where it stops: how a person proved to be one is
//! the door's business; what an answer changes is the store's one transaction.

use crate::gate::{Caller, Gate, Leaving, first};
use crate::seams::{DecideError, StoreError};
use countersign_core::approval::scope::{Scope, ScopeError};
use countersign_core::approval::{Answer, LATE_S, Status, Strand, Wait};
use countersign_core::cleanse::{Clean, clean_line, clean_text};
use countersign_core::code::Code;
use countersign_core::event::{Event, int, text, word};
use countersign_core::ids::{ApprovalId, GrantId};
use countersign_core::json::Json;
use countersign_core::judge::{is_by_grant, is_never_lifted};
use countersign_core::ledger::{
    Approval, Decision, GrantRow, Halt, HoldEnd, SecretView, Via, least_assurance,
};
use countersign_core::principal::Approver;
use countersign_core::time::Timestamp;
use std::time::Duration;

/// Longest reason of a denial, in characters.
pub const MAX_REASON_CHARS: usize = 2_000;
/// A lost hint costs at most this long.
const REREAD: Duration = Duration::from_secs(5);
/// Reads may fail this often and this long before the wait is given up.
const MAX_READ_FAILURES: u32 = 10;
const MAX_READ_FAILING: Duration = Duration::from_secs(30);

/// How a wait ended.
pub(crate) enum Waited {
    /// A yes landed: judge again.
    Approved,
    /// The request is gone from under us: judge again.
    Moved,
    /// No yes.
    Ended(Box<End>),
}

/// An event and its keys.
pub(crate) type Told = (Event, Vec<(&'static str, Option<Json>)>);

/// What is told, and what is written, when a caller leaves without a yes.
pub(crate) struct End {
    pub code: Code,
    pub reason: Clean,
    /// The row's end; `None` when the row is left as it is.
    pub how: Option<HoldEnd>,
    /// The request lives on until then.
    pub pending: Option<Timestamp>,
    pub event: Option<Told>,
    /// Nothing that lands now can change the answer.
    pub sure: bool,
}

impl End {
    fn new(code: Code, reason: Clean, how: Option<HoldEnd>) -> Box<End> {
        Box::new(End { code, reason, how, pending: None, event: None, sure: true })
    }
}

/// Waits for the answer to a request: at most `hold`, and never beyond its window.
pub(crate) async fn wait(
    gate: &Gate,
    id: ApprovalId,
    hold: Duration,
    expires_at: Timestamp,
    now: Timestamp,
    caller: &dyn Caller,
) -> Waited {
    let started = gate.clock.elapsed();
    let window = Duration::from_millis((expires_at.0 - now.0).max(0).unsigned_abs());
    let mut failures = 0u32;
    let mut failing_since = started;
    loop {
        let spent = gate.clock.elapsed() - started;
        match gate.store.approval(id).await {
            Ok(Some(row)) => {
                failures = 0;
                if let Some(waited) = answered(gate, &row).await {
                    return waited;
                }
                if spent >= window {
                    // The row is asked once more by its own transaction: a yes that landed first wins (INV-31). A
                    // database clock that stands still does not stretch the window (INV-35).
                    let late = spent >= window + Duration::from_secs(LATE_S.unsigned_abs());
                    return Waited::Ended(timed_out(&row, late));
                }
                if spent >= hold {
                    return Waited::Ended(parked(&row));
                }
            }
            Ok(None) => return Waited::Moved,
            Err(e) => {
                if failures == 0 {
                    failing_since = gate.clock.elapsed();
                }
                failures += 1;
                let failing = gate.clock.elapsed() - failing_since;
                if failures >= MAX_READ_FAILURES && failing >= MAX_READ_FAILING || spent >= hold {
                    let why = format!("poll failed {failures} consecutive times: {e}");
                    return Waited::Ended(End::new(e.code(), clean_line(&why, 400), None));
                }
                // The store cannot tell of changes now; do not spin.
                gate.clock.sleep(Duration::from_millis(250)).await;
                continue;
            }
        }
        let left = hold.min(window).saturating_sub(spent).max(Duration::from_millis(1));
        let changed = async {
            gate.store.changed(left.min(REREAD)).await;
            None
        };
        let gone = async { Some(caller.gone().await) };
        match first(changed, gone).await {
            None => {}
            Some(Leaving::TakesBack(why)) => return Waited::Ended(taken_back(why)),
            Some(Leaving::Lost) => match gate.store.approval(id).await {
                Ok(Some(row)) if row.status == Status::Pending => return Waited::Ended(parked(&row)),
                // An answer is there: judged once more, and nobody takes what it lets pass.
                _ => return Waited::Ended(taken_back(Strand::WaiterLost)),
            },
        }
    }
}

async fn answered(gate: &Gate, row: &Approval) -> Option<Waited> {
    let rules = row.request.rules.join(", ");
    match row.status {
        Status::Pending => match gate.store.halt().await {
            Ok(Halt::Absent) => None,
            Ok(Halt::Present { reason }) => {
                let why = clean_line(&format!("everything is halted: {reason}"), 400);
                Some(Waited::Ended(End::new(
                    Code::Halted,
                    why,
                    hold_end(row, HoldEnd::Strand(Strand::Halted)),
                )))
            }
            Ok(Halt::Unknown { why }) => {
                let why = clean_line(&format!("a halt cannot be ruled out: {why}"), 400);
                Some(Waited::Ended(End::new(
                    Code::Halted,
                    why,
                    hold_end(row, HoldEnd::Strand(Strand::Halted)),
                )))
            }
            // Read again with the row.
            Err(_) => None,
        },
        Status::Approved => Some(Waited::Approved),
        Status::Denied => {
            let reason = row.deny_reason.clone().unwrap_or(Clean::fixed("denied"));
            let told = format!(
                "AUTHORITATIVE DENY from human reviewer: {reason} (matching rules: {rules}). Do not try this call or a trivial variation of it again: choose another strategy, or report that you were stopped."
            );
            let mut end = End::new(Code::ApprovalDenied, clean_text(&told), hold_end(row, HoldEnd::Taken));
            end.event = Some((
                Event::ApprovalDenied,
                vec![
                    ("reason", text(&reason)),
                    ("decided_at", row.decided_at.and_then(word)),
                    ("created_at", word(row.created_at)),
                ],
            ));
            Some(Waited::Ended(end))
        }
        Status::TimedOut => Some(Waited::Ended(timed_out(row, true))),
        Status::Stranded(why) => {
            let told =
                format!("the question ended without an answer ({}); the call was not run", why.as_str());
            let code = if why == Strand::Halted { Code::Halted } else { Code::ApprovalStranded };
            Some(Waited::Ended(End::new(code, clean_line(&told, 400), hold_end(row, HoldEnd::Taken))))
        }
    }
}

/// The caller took its call back. A yes that landed first is noticed by the row's own condition.
fn taken_back(why: Strand) -> Box<End> {
    let told = format!("the question was taken back ({}); the call was not run", why.as_str());
    let mut end = End::new(Code::ApprovalStranded, clean_line(&told, 400), Some(HoldEnd::Strand(why)));
    end.sure = false;
    end.event = Some((Event::ApprovalStranded, vec![("reason", word(why.as_str()))]));
    end
}

/// Only a held row has a caller whose leaving is written down.
fn hold_end(row: &Approval, how: HoldEnd) -> Option<HoldEnd> {
    (row.request.wait == Wait::Hold && !row.resumed).then_some(how)
}

fn timed_out(row: &Approval, sure: bool) -> Box<End> {
    let told = format!(
        "nobody answered within {} s, so the call was not run (matching rules: {}). This is no judgement of it: go on with other work, or ask the user.",
        row.request.timeout_s,
        row.request.rules.join(", ")
    );
    let how = match row.status {
        Status::Pending => Some(HoldEnd::Expire),
        _ => hold_end(row, HoldEnd::Taken),
    };
    let mut end = End::new(Code::ApprovalTimedOut, clean_line(&told, 500), how);
    end.sure = sure;
    end.event = Some((
        Event::ApprovalTimedOut,
        vec![
            ("timeout_s", int(row.request.timeout_s)),
            ("created_at", word(row.created_at)),
            ("matching_rule_ids", Some(Json::strings(&row.request.rules))),
        ],
    ));
    end
}

fn parked(row: &Approval) -> Box<End> {
    let mut end = End::new(Code::ApprovalRequired, row.request.reason.clone(), hold_end(row, HoldEnd::Park));
    end.pending = Some(row.expires_at);
    end.sure = false;
    if end.how.is_some() {
        end.event = Some((Event::ApprovalParked, vec![("expires_at", word(row.expires_at))]));
    }
    end
}

/// Why a person's verb did nothing.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The scope is none.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// Wider than configuration lets anybody grant.
    #[error("a scope of kind `{0}` is wider than `approvals.max_scope` = `{1}`")]
    TooWide(String, String),
    /// The rule does not exist or cannot be lifted.
    #[error("`{0}` is no soft rule of this project; `countersign explain {1}` lists the rules that asked")]
    NoRule(String, String),
    /// The question is about a secret or a note, which nothing wider answers.
    #[error("uses of secrets and whole notes are answered one by one: `this_call`, or `{0}`")]
    ByGrant(String),
    /// The rule is asked about each time.
    #[error("`{0}` is asked about each time: answer this call alone")]
    EachTime(String),
    /// A grant of this kind answers only the question that names it.
    #[error("this question is not about that: a scope of kind `{0}` names exactly what is asked")]
    OtherGrant(String),
    /// Answering this needs stronger proof of a person.
    #[error("a question of severity {0} needs at least assurance `{1}`")]
    Assurance(&'static str, &'static str),
    /// The reason is too long.
    #[error("the reason has {0} characters; at most {MAX_REASON_CHARS} are allowed")]
    ReasonTooLong(usize),
    /// The answer was not recorded.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Gate {
    /// Questions that can still be answered, oldest first.
    pub async fn pending(&self) -> Result<Vec<Approval>, StoreError> {
        self.store.pending().await
    }

    /// One question.
    pub async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.store.approval(id).await
    }

    /// The newest questions, whatever became of them.
    pub async fn approvals(&self, limit: u32) -> Result<Vec<Approval>, StoreError> {
        self.store.approvals(limit).await
    }

    /// Returns when something may have changed, or after `limit` at the latest.
    pub async fn changed(&self, limit: Duration) {
        self.store.changed(limit).await;
    }

    /// Live scopes.
    pub async fn grants(&self) -> Result<Vec<GrantRow>, StoreError> {
        self.store.grants().await
    }

    /// A person says yes, to as much as the scope says.
    pub async fn approve(
        &self,
        id: ApprovalId,
        scope: &str,
        by: Approver,
        via: Via,
    ) -> Result<Approval, DeskError> {
        let row = self.store.approval(id).await?.ok_or(DecideError::NotFound)?;
        let scope = Scope::parse_answer(scope, &row.request.tool)?;
        self.check(&row, &by)?;
        self.check_grant(&row, &scope).await?;
        let book = self.book();
        let settings = book.rulebook().map(|b| b.settings());
        let widest = settings.map_or("all_session", |s| s.max_scope.as_str());
        if Scope::width(scope.kind()) > Scope::width(widest) {
            return Err(DeskError::TooWide(scope.kind().to_owned(), widest.to_owned()));
        }
        let mut rule_digest = None;
        if let Scope::Rule(rule) = &scope {
            let known = book.rulebook().and_then(|b| b.rule(rule));
            let soft = known.filter(|r| r.set == countersign_core::rulebook::RuleSet::Soft);
            let Some(rule) = soft else { return Err(DeskError::NoRule(rule.clone(), id.to_string())) };
            rule_digest = Some(rule.text_digest);
        }
        let answer = Answer::Approve { scope };
        Ok(self.store.decide(self.decision(id, answer, by, via, rule_digest)).await?)
    }

    /// A person says no. The reason is cleansed before it is stored; the agent reads it.
    pub async fn deny(
        &self,
        id: ApprovalId,
        reason: &str,
        by: Approver,
        via: Via,
    ) -> Result<Approval, DeskError> {
        let length = reason.trim().chars().count();
        if length > MAX_REASON_CHARS {
            return Err(DeskError::ReasonTooLong(length));
        }
        let row = self.store.approval(id).await?.ok_or(DecideError::NotFound)?;
        self.check(&row, &by)?;
        let reason = match reason.trim() {
            "" => Clean::fixed("denied"),
            text => clean_text(text).cut(MAX_REASON_CHARS),
        };
        Ok(self.store.decide(self.decision(id, Answer::Deny { reason }, by, via, None)).await?)
    }

    /// Ends a scope. `false` when there is none of that id.
    pub async fn revoke(&self, id: GrantId, by: &Approver) -> Result<bool, StoreError> {
        self.store.revoke(id, by).await
    }

    /// What answers a question about a secret or a note, and whether the secret may go where it would (DECISIONS rows 16,
    /// 17).
    async fn check_grant(&self, row: &Approval, scope: &Scope) -> Result<(), DeskError> {
        let exact = row.request.exact.as_ref();
        let by_grant = is_by_grant(&row.request.rules);
        if let Scope::Rule(rule) = scope
            && is_never_lifted(rule)
        {
            return Err(DeskError::EachTime(rule.clone()));
        }
        if by_grant && *scope != Scope::ThisCall && Some(scope) != exact {
            let exact = exact.map(ToString::to_string).unwrap_or_default();
            return Err(DeskError::ByGrant(exact));
        }
        if !by_grant && matches!(scope, Scope::Secret(_) | Scope::Memory(_)) {
            return Err(DeskError::OtherGrant(scope.kind().to_owned()));
        }
        let Some((key, authority)) = exact.and_then(Scope::secret_use) else { return Ok(()) };
        let view = match &self.keeper {
            Some(keeper) => keeper.secret(&key).await?,
            None => SecretView::default(),
        };
        let required = |why: String| Err(DecideError::BindingRequired(why).into());
        let name = key.as_str();
        let Some(binding) = view.binding else {
            return required(format!(
                "there is no secret `{name}`; store it first: countersign vault set {name} --host {authority}"
            ));
        };
        let bound = binding.any_host || binding.hosts.iter().any(|host| host.matches(&authority));
        match (binding.is_unbound(), scope) {
            (true, Scope::ThisCall) => Ok(()),
            (true, _) => required(format!(
                "the secret `{name}` is bound to no host, so only single calls can be approved; bind it first: countersign vault bind {name} {authority}"
            )),
            (false, _) if !bound => required(format!(
                "the secret `{name}` is not bound to {authority}; if it should go there, bind it first: countersign vault bind {name} …"
            )),
            (false, _) => Ok(()),
        }
    }

    fn check(&self, row: &Approval, by: &Approver) -> Result<(), DeskError> {
        let least = least_assurance(row.request.severity);
        if by.assurance() < least {
            return Err(DeskError::Assurance(row.request.severity.as_str(), least.as_str()));
        }
        Ok(())
    }

    fn decision(
        &self,
        approval_id: ApprovalId,
        answer: Answer,
        by: Approver,
        via: Via,
        rule_digest: Option<countersign_core::digest::Digest>,
    ) -> Decision {
        let book = self.book();
        let settings = book.rulebook().map(|b| b.settings());
        Decision {
            approval_id,
            answer,
            by,
            via,
            fresh: [GrantId(self.clock.fresh_id()), GrantId(self.clock.fresh_id())],
            grant_ttl_s: settings.map_or(600, |s| s.grant_ttl_s),
            refusal_memory_s: settings.map_or(60, |s| s.refusal_memory_s),
            rule_digest,
        }
    }
}
