//! Drafts of the records around an approval, with the keys of approvals.md 2.7 under the names of NAMES section 4.

use crate::gate::Patience;
use countersign_core::approval::{Wait, hold_s};
use countersign_core::call::ToolCall;
use countersign_core::digest::MacKey;
use countersign_core::event::{Draft, Event, int, text, word};
use countersign_core::ids::{ApprovalId, GrantId};
use countersign_core::json::Json;
use countersign_core::judge::{Terms, Verdict};
use countersign_core::ledger::{Ledger, NewRequest, Refusal, RefusalKey};
use countersign_core::rulebook::settings::RuleSettings;

pub(crate) fn requested(request: &NewRequest) -> Draft {
    Draft::new(
        Event::ApprovalRequested,
        [
            ("approval_id", word(request.approval_id)),
            ("tool_name", word(&request.tool)),
            ("input_preview", text(&request.preview)),
            ("reason", text(&request.reason)),
            ("severity", word(request.severity.as_str())),
            ("timeout_s", int(request.timeout_s)),
            ("wait", word(request.wait.as_str())),
            ("matching_rule_ids", Some(Json::strings(&request.rules))),
        ],
    )
    .call(request.call_id)
    .approval(request.approval_id)
}

/// What shortened the window, and what shortens how long the caller is held (`harness_hook_ceiling`).
pub(crate) fn capped(request: &NewRequest, terms: &Terms, patience: Patience) -> Vec<Draft> {
    let (hold, by_client) = hold_s(terms.timeout_s, patience.client_limit_s, patience.hold_s);
    let held = by_client.filter(|_| terms.wait == Wait::Hold).map(|clip| (clip, terms.timeout_s, hold));
    let window = terms.clip.map(|(clip, from_s)| (clip, from_s, terms.timeout_s));
    [window, held]
        .into_iter()
        .flatten()
        .map(|(clip, from_s, to_s)| {
            Draft::new(
                Event::ApprovalTimeoutCapped,
                [
                    ("approval_id", word(request.approval_id)),
                    ("requested_timeout_s", int(from_s)),
                    ("effective_timeout_s", int(to_s)),
                    ("reason", word(clip.as_str())),
                    ("matching_rule_ids", Some(Json::strings(&request.rules))),
                ],
            )
            .call(request.call_id)
            .approval(request.approval_id)
        })
        .collect()
}

/// INV-31: an answer that landed after the caller began to leave.
pub(crate) fn late_win(call: &ToolCall, id: ApprovalId, verdict: &Verdict) -> Draft {
    let status = if *verdict == Verdict::Allow { "APPROVED" } else { "DENIED" };
    Draft::new(Event::ApprovalLateWin, [("approval_id", word(id)), ("outcome", word(status))])
        .call(call.id())
        .approval(id)
}

/// A yes that a call used: held while it came (`approval_granted`), or found later (`approval_redeemed`).
pub(crate) fn spent(call: &ToolCall, id: ApprovalId, grant: GrantId, held: bool) -> Draft {
    let event = if held { Event::ApprovalGranted } else { Event::ApprovalRedeemed };
    Draft::new(event, [("approval_id", word(id)), ("grant_id", word(grant))]).call(call.id()).approval(id)
}

/// INV-21: a remembered refusal answered.
pub(crate) fn answer_reused(call: &ToolCall, refusal: &Refusal, mac: &MacKey) -> Draft {
    let rule = match &refusal.key {
        RefusalKey::Rule(id) => word(id),
        RefusalKey::Input(_) => None,
    };
    Draft::new(
        Event::ApprovalAnswerReused,
        [
            ("tool_name", word(call.tool())),
            ("args_mac", word(mac.mac("countersign-args-v1", call.args().canonical().as_bytes()))),
            ("cached_decision", word(refusal.how.as_str())),
            ("cached_reason", text(&refusal.reason)),
            ("original_decision_ts", word(refusal.decided_at)),
            ("matched_rule_id", rule),
        ],
    )
    .call(call.id())
}

pub(crate) fn cap_exceeded(call: &ToolCall, ledger: &Ledger) -> Draft {
    let task = ledger.task.as_ref();
    let count = task.map_or(0, |t| t.gate_count);
    let cap = task.map_or(0, |t| t.gate_cap);
    Draft::new(Event::ApprovalCapExceeded, [("count", int(count.into())), ("cap", int(cap.into()))])
        .call(call.id())
        .task(task.map(|t| t.task_id))
}

pub(crate) fn rate_exceeded(call: &ToolCall, ledger: &Ledger, settings: Option<&RuleSettings>) -> Draft {
    let task = ledger.task.as_ref();
    let count = task.map_or(0, |t| t.gates_last_minute);
    let limit = settings.map_or(0, |s| s.per_minute);
    Draft::new(Event::ApprovalRateLimitExceeded, [("count", int(count.into())), ("limit", int(limit.into()))])
        .call(call.id())
        .task(task.map(|t| t.task_id))
}
