//! The gate's own tools: what an agent may know of halts, questions and refusals. None of them decides anything.
//!
//! They take the path of every call, so they are recorded and stop with a halt, but for `gate_status`, which says that
//! there is one.

use super::calls::failed_result;
use super::server::{bad_params, parameters};
use super::{Door, Flight};
use async_trait::async_trait;
use countersign_core::approval::Status;
use countersign_core::call::ToolCall;
use countersign_core::cleanse::{Raw, Reply, clean_line};
use countersign_core::code::Code;
use countersign_core::facts::tools::OWN;
use countersign_core::ids::{ApprovalId, CallId};
use countersign_core::json::{Bounds, Json};
use countersign_core::ledger::{Approval, CallOutcome, Halt};
use countersign_core::rpc::{self, Message};
use countersign_core::rulebook::settings::Mode;
use countersign_gate::gate::{Decision, Given, Patience, Silent};
use countersign_gate::permit::Permit;
use countersign_gate::seams::{Downstream, PerformError};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait of `approval_wait`, in milliseconds.
const MAX_WAIT_MS: i64 = 55_000;

/// Whether a name is one of the gate's.
pub(super) fn is_own(name: &str) -> bool {
    OWN.contains(&name)
}

/// The gate's tools as a listing has them, but for names that are taken.
pub(super) fn tools(taken: impl Fn(&str) -> bool) -> Vec<String> {
    let text = |what: &str| Json::object([("type", Json::str("string")), ("description", Json::str(what))]);
    let tool = |name: &str, what: &str, properties: Vec<(&str, Json)>, required: &[&str]| {
        Json::object([
            ("name", Json::str(name)),
            ("description", Json::str(what)),
            (
                "inputSchema",
                Json::object([
                    ("type", Json::str("object")),
                    ("properties", Json::object(properties)),
                    ("required", Json::strings(required)),
                    ("additionalProperties", Json::Bool(false)),
                ]),
            ),
            (
                "annotations",
                Json::object([("readOnlyHint", Json::Bool(true)), ("openWorldHint", Json::Bool(false))]),
            ),
        ])
    };
    let id = || text("id of the approval, as the refusal named it");
    let ms = Json::object([
        ("type", Json::str("integer")),
        ("minimum", Json::int(0)),
        ("maximum", Json::int(MAX_WAIT_MS)),
        ("description", Json::str("how long to wait at most, in milliseconds")),
    ]);
    let all = [
        tool(
            "gate_status",
            "Whether the gate works, watches or is halted, and which servers are behind it.",
            vec![],
            &[],
        ),
        tool(
            "approval_wait",
            "Waits until a person answers a question about a call, or the time is over. Then repeat the call unchanged if it was approved.",
            vec![("approval_id", id()), ("max_ms", ms)],
            &["approval_id"],
        ),
        tool(
            "approval_list",
            "The questions about your calls that a person can still answer, or the latest of one state.",
            vec![("status", text("PENDING, APPROVED, DENIED, TIMED_OUT or STRANDED"))],
            &[],
        ),
        tool(
            "explain_denial",
            "What the log says of one of your calls: which step and rules decided, and why.",
            vec![("call_id", text("id of the call, as the refusal named it"))],
            &["call_id"],
        ),
    ];
    all.into_iter().filter(|t| !taken(t.text("name").unwrap_or_default())).map(|t| t.canonical()).collect()
}

impl Door {
    /// Answers a call of one of the gate's tools.
    pub(super) async fn own_tool(
        self: &Arc<Self>,
        id: &str,
        tool: &str,
        message: &Message,
        flight: Arc<Flight>,
    ) -> Option<String> {
        let args = match parameters(message, self.bounds()) {
            Ok(params) => params.get("arguments").cloned().unwrap_or(Json::Object(Vec::new())),
            Err(why) => return Some(bad_params(id, &why)),
        };
        if let Err(why) = check(tool, &args) {
            self.malformed(tool, Code::Malformed, &why).await;
            return Some(bad_params(id, &why));
        }
        let parts = self.call_parts(tool.to_owned(), args, None);
        let call = match ToolCall::new(parts) {
            Ok(call) => call,
            Err(e) => return Some(bad_params(id, &e.to_string())),
        };
        let hand = Hand { door: Arc::clone(self) };
        let patience = Patience { client_limit_s: Some(60), hold_s: Some(0), listens: None };
        let (answered, performed) = self.parts.gate.call(&call, patience, &Silent, &hand).await;
        if flight.is_cancelled() {
            return None;
        }
        let failed = performed.as_ref().is_some_and(|p| p.outcome != CallOutcome::Ok);
        let text = match performed.map(|p| p.result) {
            Some(Ok(Given::Text(text) | Given::Message(text))) if failed => {
                return Some(failed_result(id, text.as_str(), None));
            }
            Some(Ok(Given::Text(text) | Given::Message(text))) => text.to_string(),
            Some(Err(code)) => {
                return Some(failed_result(id, &format!("[WITHHELD: {}]", code.as_str()), None));
            }
            None if tool == "gate_status"
                && answered.decision == (Decision::Refused { code: Code::Halted }) =>
            {
                self.status().await
            }
            None => {
                let code = match &answered.decision {
                    Decision::Refused { code } => code.as_str(),
                    _ => Code::ApprovalRequired.as_str(),
                };
                let text = format!("countersign: refused code={code}\n{}", answered.reason);
                return Some(failed_result(id, &text, None));
            }
        };
        let block = Json::object([("type", Json::str("text")), ("text", Json::str(text))]);
        Some(rpc::result(id, &Json::object([("content", Json::Array(vec![block]))])))
    }

    async fn status(&self) -> String {
        let (halted, reason) = match self.parts.gate.halt().await {
            Ok(Halt::Absent) => (false, None),
            Ok(Halt::Present { reason }) => (true, Some(reason)),
            Ok(Halt::Unknown { why }) => (true, Some(why)),
            Err(e) => (true, Some(clean_line(&e.to_string(), 300))),
        };
        let mode = match self.parts.gate.rulebook().map(|b| b.settings().mode) {
            Some(Mode::Enforce) => "enforce",
            Some(Mode::Watch) => "watch",
            None => "no rulebook in force: every call is refused",
        };
        let mut servers = Vec::new();
        for backend in &self.parts.backends {
            let name = backend.launch.name.as_str();
            let looked = match self.parts.servers.runs(name) {
                true => self.surface(name).await,
                false => None,
            };
            let mut server = Json::object([
                ("name", Json::str(name)),
                ("connected", Json::Bool(self.parts.servers.runs(name))),
            ]);
            if let Some(looked) = looked {
                let shown = looked.surface.tools.len().saturating_sub(looked.surface.hidden.len());
                server.set("tools", Json::int(i64::try_from(shown).unwrap_or(0)));
                server.set("quarantined", Json::Bool(looked.surface.quarantined));
            }
            servers.push(server);
        }
        let mut out = Json::object([
            ("version", Json::str(env!("CARGO_PKG_VERSION"))),
            ("mode", Json::str(mode)),
            ("halted", Json::Bool(halted)),
            ("servers", Json::Array(servers)),
        ]);
        if let Some(reason) = reason {
            out.set("halt_reason", Json::str(reason.as_str()));
        }
        out.canonical()
    }

    /// An approval of this client's agents of this user; of others nothing can be told.
    fn mine(&self, approval: &Approval) -> bool {
        let ours = self.principal().id();
        let theirs = &approval.request.principal;
        *theirs == ours || theirs.strip_prefix(&ours).is_some_and(|rest| rest.starts_with('/'))
    }

    async fn wait(&self, args: &Json) -> Result<String, String> {
        let id = args.text("approval_id").and_then(ApprovalId::parse).ok_or("`approval_id` is no id")?;
        let max = args.get("max_ms").and_then(Json::as_i64).unwrap_or(MAX_WAIT_MS);
        let until = self.parts.clock.elapsed() + Duration::from_millis(max.unsigned_abs());
        loop {
            let found = self.parts.gate.approval(id).await.map_err(|e| e.to_string())?;
            let approval = found.filter(|a| self.mine(a)).ok_or("there is no such approval")?;
            let left = until.saturating_sub(self.parts.clock.elapsed());
            if approval.status != Status::Pending || left.is_zero() || *self.closing.borrow() {
                return Ok(shown(&approval).canonical());
            }
            self.parts.gate.changed(left.min(Duration::from_secs(5))).await;
        }
    }

    async fn list(&self, args: &Json) -> Result<String, String> {
        let wanted = args.text("status").unwrap_or("PENDING");
        let all = match wanted {
            "PENDING" => self.parts.gate.pending().await,
            _ => self.parts.gate.approvals(200).await,
        };
        let all = all.map_err(|e| e.to_string())?;
        let mine = all.iter().filter(|a| self.mine(a) && a.status.as_str() == wanted).map(shown);
        Ok(Json::object([("approvals", Json::Array(mine.collect()))]).canonical())
    }

    async fn explain(&self, args: &Json) -> Result<String, String> {
        let id = args.text("call_id").and_then(CallId::parse).ok_or("`call_id` is no id")?;
        let records = self.parts.gate.records_of(id).await.map_err(|e| e.to_string())?;
        let ours = self.principal().id();
        let mut out = Vec::new();
        for body in &records {
            let Ok(record) = Json::parse(body.as_bytes(), Bounds::default()) else { continue };
            let data = record.get("data").cloned().unwrap_or(Json::Object(Vec::new()));
            let named = data.text("principal");
            if named.is_some_and(|p| p != ours && !p.starts_with(&format!("{ours}/"))) {
                return Err("there is no such call".to_owned());
            }
            let mut shown = Json::object([("event", record.get("event").cloned().unwrap_or(Json::Null))]);
            for key in ["verdict", "decision", "code", "step", "reason", "matching_rule_ids", "outcome"] {
                if let Some(value) = data.get(key) {
                    shown.set(key, value.clone());
                }
            }
            out.push(shown);
        }
        if out.is_empty() {
            return Err("there is no such call".to_owned());
        }
        Ok(Json::object([("records", Json::Array(out))]).canonical())
    }
}

fn shown(approval: &Approval) -> Json {
    let mut out = Json::object([
        ("approval_id", Json::str(approval.request.approval_id.to_string())),
        ("status", Json::str(approval.status.as_str())),
        ("tool", Json::str(&approval.request.tool)),
        ("input_preview", Json::str(approval.request.preview.as_str())),
        ("expires_at", Json::str(approval.expires_at.to_string())),
    ]);
    if let Some(reason) = &approval.deny_reason {
        out.set("reason", Json::str(reason.as_str()));
    }
    out
}

/// The inputs are ours, so they are strict: an unknown member is an error that names it.
fn check(tool: &str, args: &Json) -> Result<(), String> {
    let known: &[&str] = match tool {
        "approval_wait" => &["approval_id", "max_ms"],
        "approval_list" => &["status"],
        "explain_denial" => &["call_id"],
        _ => &[],
    };
    let members = args.as_object().ok_or("`arguments` is no object")?;
    for (key, value) in members {
        if !known.contains(&key.as_str()) {
            return Err(format!("`{tool}` has no argument `{}`", clean_line(key, 100)));
        }
        let fits = match key.as_str() {
            "max_ms" => value.as_i64().is_some_and(|ms| (0..=MAX_WAIT_MS).contains(&ms)),
            _ => value.as_str().is_some(),
        };
        if !fits {
            return Err(match key.as_str() {
                "max_ms" => format!("`max_ms` is no whole number from 0 to {MAX_WAIT_MS}"),
                key => format!("`{key}` is no text"),
            });
        }
    }
    Ok(())
}

/// Performs the gate's own tools.
struct Hand {
    door: Arc<Door>,
}

#[async_trait]
impl Downstream for Hand {
    async fn perform(&self, permit: Permit, call: &ToolCall) -> Result<Raw<Reply>, PerformError> {
        permit.spend(call, self.door.parts.clock.elapsed()).map_err(PerformError::Permit)?;
        let done = match call.tool() {
            "gate_status" => Ok(self.door.status().await),
            "approval_wait" => self.door.wait(call.args()).await,
            "approval_list" => self.door.list(call.args()).await,
            "explain_denial" => self.door.explain(call.args()).await,
            other => Err(format!("there is no tool `{other}`")),
        };
        done.map(|text| Raw::new(Reply::Text(text))).map_err(PerformError::Failed)
    }
}
