//! Claude Code's hooks (DECISIONS section 6, tried with 2.1.329).
//!
//! `pre` answers exit 0 with the client's JSON, or with nothing, for every decision, and exit 2 for faults only.
//! `post`, `stop` and `end` always end with 0: exit 2 of a `stop` starts another model turn. Members of the
//! client's message that are not named here are the client's own and are left alone.

use super::{HookAnswer, HookContext};
use countersign_core::approval::Status;
use countersign_core::call::{CallParts, Door, HostCall, Session, ToolCall};
use countersign_core::cleanse::{Clean, clean_line};
use countersign_core::code::Code;
use countersign_core::json::{Bounds, Json};
use countersign_core::ledger::{Approval, CallOutcome, Outcome};
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::settings::Mode;
use countersign_gate::gate::{Answered, Decision};
use countersign_gate::seams::CallRef;

/// Room for what stands around the arguments in the client's message.
const ENVELOPE: Bounds = Bounds { max_bytes: 262_144, max_depth: 8, max_nodes: 1_000 };
/// Results that are read at most; a larger one is recorded by its size alone.
const MAX_RESULT_BYTES: usize = 64 * 1024 * 1024;

/// `PreToolUse`: decides, holding the client while a person is asked.
pub async fn pre(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    let arguments = cx.gate.rulebook().map_or_else(Bounds::default, |b| b.settings().arguments);
    let bounds = Bounds {
        max_bytes: arguments.max_bytes + ENVELOPE.max_bytes,
        max_depth: arguments.max_depth + ENVELOPE.max_depth,
        max_nodes: arguments.max_nodes + ENVELOPE.max_nodes,
    };
    let call = match read_call(&cx, input, bounds, arguments) {
        Ok(call) => call,
        Err((code, why)) => {
            let why = clean_line(&why, 400);
            // Best effort: the call is blocked whether or not the record could be written.
            let tool = Clean::fixed("unknown");
            let _ = cx.gate.refuse_unread("hook", Client::ClaudeCode.as_str(), &tool, code, &why).await;
            return HookAnswer::fault(format!("countersign: refused code={}\n{why}", code.as_str()));
        }
    };
    let answered = cx.gate.judge(&call, cx.patience, cx.agent.clone()).await;
    render(&cx, &answered)
}

fn read_call(
    cx: &HookContext<'_>,
    input: &[u8],
    bounds: Bounds,
    arguments: Bounds,
) -> Result<ToolCall, (Code, String)> {
    let malformed = |why: String| (Code::Malformed, why);
    let message = Json::parse(input, bounds).map_err(|e| {
        let code = if e.kind.is_bound() { Code::ArgumentsTooLarge } else { Code::Malformed };
        (code, format!("invalid hook input: {e}"))
    })?;
    if message.as_object().is_none() {
        return Err(malformed("invalid hook input: not an object".into()));
    }
    match message.text("hook_event_name") {
        None | Some("PreToolUse") => {}
        Some(other) => {
            return Err(malformed(format!("invalid hook input: event {other} at the hook for PreToolUse")));
        }
    }
    let session = session(&message).ok_or_else(|| malformed("invalid hook input: no `session_id`".into()))?;
    let need = |key: &str| {
        let text = message.text(key).filter(|t| !t.is_empty());
        text.map(str::to_owned).ok_or_else(|| malformed(format!("invalid hook input: no `{key}`")))
    };
    let tool = need("tool_name")?;
    let args = message
        .get("tool_input")
        .cloned()
        .ok_or_else(|| malformed("invalid hook input: no `tool_input`".into()))?;
    // The bounds of the arguments alone, apart from what the client wraps around them.
    Json::parse(args.canonical().as_bytes(), arguments)
        .map_err(|e| (Code::ArgumentsTooLarge, format!("`tool_input` of `{tool}`: {e}")))?;
    let agent_type = optional(&message, "agent_type").map_err(malformed)?;
    let agent_id = optional(&message, "agent_id").map_err(malformed)?;
    let cwd = need("cwd")?;
    if !cwd.starts_with('/') {
        return Err(malformed("invalid hook input: `cwd` is not absolute".into()));
    }
    let parts = CallParts {
        call_id: cx.call_id,
        door: Door::Hook,
        principal: Principal::Agent {
            client: Client::ClaudeCode,
            uid: cx.uid,
            // A sub-agent without a kind is still no main agent.
            agent_type: agent_type.or_else(|| agent_id.as_ref().map(|_| "unknown".to_owned())),
        },
        session,
        agent_id,
        tool_use_id: optional(&message, "tool_use_id").map_err(malformed)?,
        cwd: Some((cx.resolve)(&cwd).unwrap_or(cwd)),
        tool,
        args,
        served: None,
    };
    ToolCall::new(parts).map_err(|e| malformed(e.to_string()))
}

fn session(message: &Json) -> Option<Session> {
    let id = message.text("session_id").filter(|id| (1..=256).contains(&id.len()))?;
    Some(Session { client: Client::ClaudeCode, id: id.to_owned() })
}

fn optional(message: &Json, key: &str) -> Result<Option<String>, String> {
    match message.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if text.len() <= 256 => Ok(Some(text.clone())),
        Some(_) => Err(format!("invalid hook input: `{key}` is no string of at most 256 bytes")),
    }
}

/// Faults of ours: answered with exit code 2, and let through in watch mode, where only records would be lost.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Internal
            | Code::StoreUnavailable
            | Code::AuditUnavailable
            | Code::Contention
            | Code::PermitExpired
            | Code::LogDamaged
            | Code::LogMissing
    )
}

fn render(cx: &HookContext<'_>, answered: &Answered) -> HookAnswer {
    let rules = match answered.rules.as_slice() {
        [] => String::new(),
        rules => format!(" rules={}", rules.join(",")),
    };
    match &answered.decision {
        Decision::Allowed { granted: false } => HookAnswer::silent(),
        Decision::Allowed { granted: true } => {
            permission("allow", &format!("countersign: {}", answered.reason))
        }
        Decision::Refused { code } if is_fault(*code) => {
            let watching = cx.gate.rulebook().is_some_and(|b| b.settings().mode == Mode::Watch);
            if watching {
                return HookAnswer::silent();
            }
            HookAnswer::fault(format!("countersign: refused code={}\n{}", code.as_str(), answered.reason))
        }
        Decision::Refused { code } => permission(
            "deny",
            &format!(
                "countersign: refused code={}{rules} call={}\n{}",
                code.as_str(),
                answered.call_id,
                answered.reason
            ),
        ),
        Decision::Pending { approval_id, expires_at } => permission(
            "deny",
            &format!(
                "countersign: approval required id={approval_id} status=PENDING expires={expires_at}\n{}\n\
                 A person must approve exactly this call, in a terminal of their own:\n  {}\n\
                 Go on with other work. Once it is approved, repeat the same call unchanged.",
                answered.reason,
                command(cx.project, &format!("approve {approval_id}"))
            ),
        ),
    }
}

/// The complete command, so that it works from any folder.
fn command(project: &str, verb: &str) -> String {
    format!("countersign --project {} {verb}", countersign_core::facts::shell::quote(project))
}

fn permission(decision: &str, reason: &str) -> HookAnswer {
    HookAnswer::json(Json::object([(
        "hookSpecificOutput",
        Json::object([
            ("hookEventName", Json::str("PreToolUse")),
            ("permissionDecision", Json::str(decision)),
            ("permissionDecisionReason", Json::str(reason)),
        ]),
    )]))
}

/// `PostToolUse` and `PostToolUseFailure`: the outcome is recorded. Without a record the result is withheld.
pub async fn post(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    let bounds = Bounds { max_bytes: MAX_RESULT_BYTES, max_depth: 256, max_nodes: 4_000_000 };
    let message = match Json::parse(input, bounds) {
        Ok(message) => message,
        Err(_) => return withheld("PostToolUse", None),
    };
    let event = message.text("hook_event_name").unwrap_or("PostToolUse").to_owned();
    let failed = event == "PostToolUseFailure";
    let response = message.get("tool_response").or_else(|| message.get("error"));
    let host = session(&message).and_then(|session| {
        let tool_use_id = message.text("tool_use_id")?.to_owned();
        Some(HostCall { session, agent_id: message.text("agent_id").map(str::to_owned), tool_use_id })
    });
    let Some(host) = host else { return withheld(&event, response) };
    let outcome = Outcome {
        outcome: if failed { CallOutcome::Error } else { CallOutcome::Ok },
        code: None,
        duration_ms: message.get("duration_ms").and_then(Json::as_i64),
        bytes: response.map_or(0, |r| i64::try_from(r.canonical().len()).unwrap_or(i64::MAX)),
        redactions: Vec::new(),
    };
    match cx.gate.observe(&CallRef::Host(host), outcome).await {
        Ok(Some(_)) => HookAnswer::silent(),
        Ok(None) => {
            // It ran without a judgement of ours: the hook was missing or failed when it began.
            let tool = message.text("tool_name").unwrap_or("unknown");
            let note =
                format!("a call of `{tool}` ended that was never judged, or whose end was already told");
            let _ = cx.gate.note(&note).await;
            HookAnswer::silent()
        }
        Err(_) if cx.gate.rulebook().is_some_and(|b| b.settings().mode == Mode::Watch) => {
            HookAnswer::silent()
        }
        Err(_) => withheld(&event, response),
    }
}

/// Replaces the result in the tool's own shape: every text in it becomes the marker. (`decision: "block"` would let
/// the result through.) A failed call has no result to replace.
fn withheld(event: &str, response: Option<&Json>) -> HookAnswer {
    let marker = format!("[WITHHELD: {}]", Code::OutcomeUnrecorded.as_str());
    if event != "PostToolUse" {
        return HookAnswer::silent();
    }
    let shape = match response {
        Some(response) => mask(response, &marker, None),
        None => Json::object([
            ("stdout", Json::str(&marker)),
            ("stderr", Json::str("")),
            ("interrupted", Json::Bool(false)),
            ("isImage", Json::Bool(false)),
        ]),
    };
    HookAnswer::json(Json::object([(
        "hookSpecificOutput",
        Json::object([("hookEventName", Json::str("PostToolUse")), ("updatedToolOutput", shape)]),
    )]))
}

fn mask(value: &Json, marker: &str, key: Option<&str>) -> Json {
    match value {
        Json::String(text) if text.is_empty() || matches!(key, Some("type" | "filePath" | "file_path")) => {
            value.clone()
        }
        Json::String(_) => Json::str(marker),
        Json::Array(items) => Json::Array(items.iter().map(|v| mask(v, marker, key)).collect()),
        Json::Object(members) => {
            Json::Object(members.iter().map(|(k, v)| (k.clone(), mask(v, marker, Some(k)))).collect())
        }
        other => other.clone(),
    }
}

/// `Stop`: tells the agent once which of its parked calls have been decided meanwhile.
pub async fn stop(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    let Ok(message) = Json::parse(input, ENVELOPE) else { return HookAnswer::silent() };
    // Blocking again inside a turn that a block started would loop.
    if message.get("stop_hook_active").and_then(Json::as_bool) != Some(false) {
        return HookAnswer::silent();
    }
    let Some(session) = session(&message) else { return HookAnswer::silent() };
    let decided = cx.gate.tell(&session).await.unwrap_or_default();
    if decided.is_empty() {
        return HookAnswer::silent();
    }
    let reason = decided.iter().map(told).collect::<Vec<_>>().join("\n\n");
    HookAnswer::json(Json::object([("decision", Json::str("block")), ("reason", Json::str(reason))]))
}

/// One decided request, in an envelope that its text cannot close (INV-61).
fn told(row: &Approval) -> String {
    let decided_at = row.decided_at.map(|t| t.to_string()).unwrap_or_default();
    let id = row.request.approval_id;
    let preview = escape(row.request.preview.as_str());
    let tool = escape(&row.request.tool);
    match row.status {
        Status::Approved => format!(
            "<user_approval approval_id=\"{id}\" decided_at=\"{decided_at}\">\n\
             A person approved this call of {tool}: {preview}\nRepeat it unchanged before {} if it is still wanted; it will run once.\n</user_approval>",
            row.expires_at
        ),
        _ => format!(
            "<user_denial approval_id=\"{id}\" decided_at=\"{decided_at}\">\n\
             A person refused this call of {tool}: {preview}\nReason: {}\n</user_denial>",
            escape(row.deny_reason.as_ref().map_or("denied", Clean::as_str))
        ),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `SessionEnd`: the task completes and its open calls become unknown.
pub async fn end(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    if let Ok(message) = Json::parse(input, ENVELOPE)
        && let Some(session) = session(&message)
    {
        // Nothing can be done about a failure here: the calls become unknown after 24 h by themselves.
        let _ = cx.gate.end_session(&session).await;
    }
    HookAnswer::silent()
}
