//! What the hooks of all clients share: reading a call, telling its end, and the words of an answer.
//!
//! A client's file says only what is its own: the names of its events, its tools' names, the shape of its answers.

use super::{HookAnswer, HookContext};
use countersign_core::approval::Status;
use countersign_core::call::{CallParts, Door, HostCall, Session, ToolCall};
use countersign_core::cleanse::{Clean, clean_line, injection};
use countersign_core::code::Code;
use countersign_core::digest::Digest;
use countersign_core::facts::tools::{self, ToolClass, policy_name};
use countersign_core::json::{Bounds, Json};
use countersign_core::ledger::{Approval, CallOutcome, Outcome};
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::settings::Mode;
use countersign_gate::gate::{Answered, Decision};
use countersign_gate::seams::CallRef;

/// Room for what stands around the arguments in the client's message.
pub(super) const ENVELOPE: Bounds = Bounds { max_bytes: 262_144, max_depth: 8, max_nodes: 1_000 };
/// Results that are read at most; a larger one is recorded by its size alone.
const RESULT: Bounds = Bounds { max_bytes: 64 * 1024 * 1024, max_depth: 256, max_nodes: 4_000_000 };

/// How a client tells of a call.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    /// The client.
    pub client: Client,
    /// The tool's name in policy spelling; an error says why there is none.
    pub tool: fn(message: &Json, name: String) -> Result<String, String>,
    /// The client names no single call, so its tool and arguments are its name: an end is told to the latest open call
    /// with the same.
    pub unnamed_calls: bool,
    /// What a failed call said reaches the agent whatever is answered.
    pub failures_pass: bool,
}

/// For clients that name tools as policy does, but for those behind our own server.
pub(super) fn same_name(_: &Json, name: String) -> Result<String, String> {
    Ok(policy_name(&name))
}

/// Reads the call in the message of an event. The error is its code and what is wrong.
pub(super) fn read_call(
    cx: &HookContext<'_>,
    input: &[u8],
    event: &str,
    dialect: Dialect,
) -> Result<ToolCall, (Code, String)> {
    let arguments = cx.gate.rulebook().map_or_else(Bounds::default, |b| b.settings().arguments);
    let bounds = Bounds {
        max_bytes: arguments.max_bytes + ENVELOPE.max_bytes,
        max_depth: arguments.max_depth + ENVELOPE.max_depth,
        max_nodes: arguments.max_nodes + ENVELOPE.max_nodes,
    };
    let malformed = |why: String| (Code::Malformed, why);
    let message = Json::parse(input, bounds).map_err(|e| {
        let code = if e.kind.is_bound() { Code::ArgumentsTooLarge } else { Code::Malformed };
        (code, format!("invalid hook input: {e}"))
    })?;
    if message.as_object().is_none() {
        return Err(malformed("invalid hook input: not an object".into()));
    }
    match message.text("hook_event_name") {
        None => {}
        Some(found) if found == event => {}
        Some(other) => {
            return Err(malformed(format!("invalid hook input: event {other} at the hook for {event}")));
        }
    }
    let session = session(&message, dialect.client)
        .ok_or_else(|| malformed("invalid hook input: no `session_id`".into()))?;
    let need = |key: &str| {
        let text = message.text(key).filter(|t| !t.is_empty());
        text.map(str::to_owned).ok_or_else(|| malformed(format!("invalid hook input: no `{key}`")))
    };
    let tool = (dialect.tool)(&message, need("tool_name")?).map_err(malformed)?;
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
    let tool_use_id = match dialect.unnamed_calls {
        true => Some(call_name(&tool, &args)),
        false => optional(&message, "tool_use_id").map_err(malformed)?,
    };
    let parts = CallParts {
        call_id: cx.call_id,
        door: Door::Hook,
        principal: Principal::Agent {
            client: dialect.client,
            uid: cx.uid,
            // A sub-agent without a kind is still no main agent.
            agent_type: agent_type.or_else(|| agent_id.as_ref().map(|_| "unknown".to_owned())),
        },
        session,
        agent_id,
        tool_use_id,
        cwd: Some((cx.resolve)(&cwd).unwrap_or(cwd)),
        tool,
        args,
        joins: None,
        served: None,
    };
    ToolCall::new(parts).map_err(|e| malformed(e.to_string()))
}

/// The run that a message belongs to.
pub(super) fn session(message: &Json, client: Client) -> Option<Session> {
    let id = message.text("session_id").filter(|id| (1..=256).contains(&id.len()))?;
    Some(Session { client, id: id.to_owned() })
}

fn optional(message: &Json, key: &str) -> Result<Option<String>, String> {
    match message.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if text.len() <= 256 => Ok(Some(text.clone())),
        Some(_) => Err(format!("invalid hook input: `{key}` is no string of at most 256 bytes")),
    }
}

fn call_name(tool: &str, args: &Json) -> String {
    let digest = Digest::of("countersign-unnamed-call-v1", &[tool.as_bytes(), args.canonical().as_bytes()]);
    format!("args:{digest}")
}

/// The first line of a refusal and its reason, for answers that are faults as well.
fn refusal(code: Code, why: &str) -> String {
    format!("countersign: refused code={}\n{why}", code.as_str())
}

/// Decides the call of a message that asks before a tool runs. The error is a fault's text.
pub(super) async fn decide(
    cx: &HookContext<'_>,
    input: &[u8],
    event: &str,
    dialect: Dialect,
) -> Result<Answered, String> {
    match read_call(cx, input, event, dialect) {
        Ok(call) => Ok(cx.gate.judge(&call, cx.patience, cx.agent.clone()).await),
        Err((code, why)) => {
            let why = clean_line(&why, 400);
            // Best effort: the call is blocked whether or not the record could be written.
            let tool = Clean::fixed("unknown");
            let _ = cx.gate.refuse_unread("hook", dialect.client.as_str(), &tool, code, &why).await;
            Err(refusal(code, why.as_str()))
        }
    }
}

/// What a client must be told of a decision; how is its own affair.
pub(super) enum Said {
    /// No objection: the client's own permissions stay in force.
    Nothing,
    /// A person's word stands behind the call.
    Granted(String),
    /// It must not run; the text is for the model.
    No(String),
    /// It must not run, because of a fault of ours.
    Fault(String),
}

/// The words of a decision (NAMES 3.3).
pub(super) fn said(cx: &HookContext<'_>, answered: &Answered) -> Said {
    let rules = match answered.rules.as_slice() {
        [] => String::new(),
        rules => format!(" rules={}", rules.join(",")),
    };
    match &answered.decision {
        Decision::Allowed { granted: false } => Said::Nothing,
        Decision::Allowed { granted: true } => Said::Granted(format!("countersign: {}", answered.reason)),
        // In watch mode only a record would be lost.
        Decision::Refused { code } if code.is_own_fault() && watching(cx) => Said::Nothing,
        Decision::Refused { code } if code.is_own_fault() => {
            Said::Fault(refusal(*code, answered.reason.as_str()))
        }
        Decision::Refused { code } => Said::No(format!(
            "countersign: refused code={}{rules} call={}\n{}",
            code.as_str(),
            answered.call_id,
            answered.reason
        )),
        Decision::Pending { approval_id, expires_at } => Said::No(format!(
            "countersign: approval required id={approval_id} status=PENDING expires={expires_at}\n{}\n\
             A person must approve exactly this call, in a terminal of their own:\n  {}\n\
             Go on with other work. Once it is approved, repeat the same call unchanged.",
            answered.reason,
            command(cx.project, &format!("approve {approval_id}"))
        )),
    }
}

/// Whether rules only watch.
pub(super) fn watching(cx: &HookContext<'_>) -> bool {
    cx.gate.rulebook().is_some_and(|b| b.settings().mode == Mode::Watch)
}

/// The complete command, so that it works from any folder.
fn command(project: &str, verb: &str) -> String {
    format!("countersign --project {} {verb}", countersign_core::facts::shell::quote(project))
}

/// What stands in the place of a result that must not reach the agent.
pub(super) fn marker(code: Code) -> String {
    format!("[WITHHELD: {}]", code.as_str())
}

/// Reads the message of an event that tells the end of a call.
pub(super) fn read_end(input: &[u8]) -> Option<Json> {
    Json::parse(input, RESULT).ok()
}

/// Records the end of a call. The error: why the result must not reach the agent, because the end has no record or the
/// result gives orders to a model.
pub(super) async fn ended(
    cx: &HookContext<'_>,
    message: &Json,
    dialect: Dialect,
    failed: bool,
    response: Option<&Json>,
) -> Result<(), Code> {
    let name = message.text("tool_name").unwrap_or("unknown");
    let host = session(message, dialect.client).and_then(|session| {
        let tool_use_id = match dialect.unnamed_calls {
            true => {
                let tool = (dialect.tool)(message, name.to_owned()).ok()?;
                call_name(&tool, message.get("tool_input")?)
            }
            false => message.text("tool_use_id")?.to_owned(),
        };
        Some(HostCall { session, agent_id: message.text("agent_id").map(str::to_owned), tool_use_id })
    });
    let Some(host) = host else { return Err(Code::OutcomeUnrecorded) };
    let policy = (dialect.tool)(message, name.to_owned()).unwrap_or_else(|_| name.to_owned());
    let orders = response.map(|response| injection::scan(&strings(response))).unwrap_or_default();
    let injection = orders.classify(Some(tools::tier(&policy)));
    // A client's own tools bring back the user's files and programs, which may well speak of such things: what they say
    // is recorded. What a server or an unknown tool says is kept back as at the gateway.
    let foreign = matches!(tools::class(&policy), ToolClass::Mcp | ToolClass::Other | ToolClass::Web);
    let passes = !foreign || failed && dialect.failures_pass;
    let kept = injection.as_ref().filter(|_| !passes).and_then(|found| cx.gate.keeps_back(found));
    let outcome = Outcome {
        outcome: match (kept, failed) {
            (Some(_), _) => CallOutcome::Withheld,
            (None, true) => CallOutcome::Error,
            (None, false) => CallOutcome::Ok,
        },
        code: kept,
        duration_ms: message.get("duration_ms").and_then(Json::as_i64),
        bytes: response.map_or(0, |r| i64::try_from(r.canonical().len()).unwrap_or(i64::MAX)),
        redactions: Vec::new(),
        injection,
        records: Vec::new(),
    };
    match cx.gate.observe(&CallRef::Host(host), outcome).await {
        Ok(Some(_)) => {}
        Ok(None) => {
            // It ran without a judgement of ours: the hook was missing or failed when it began.
            let note =
                format!("a call of `{name}` ended that was never judged, or whose end was already told");
            let _ = cx.gate.note(&note).await;
        }
        Err(_) if watching(cx) => {}
        Err(_) => return Err(Code::OutcomeUnrecorded),
    }
    kept.map_or(Ok(()), Err)
}

/// Every string of a result as one text.
fn strings(value: &Json) -> String {
    fn gather(value: &Json, out: &mut String) {
        match value {
            Json::String(text) => {
                out.push_str(text);
                out.push('\n');
            }
            Json::Array(items) => items.iter().for_each(|item| gather(item, out)),
            Json::Object(members) => members.iter().for_each(|(key, value)| {
                out.push_str(key);
                out.push('\n');
                gather(value, out);
            }),
            _ => {}
        }
    }
    let mut out = String::new();
    gather(value, &mut out);
    out
}

/// Of a turn's end: what the agent is told once of its parked calls that were decided meanwhile.
pub(super) async fn decided(cx: &HookContext<'_>, input: &[u8], client: Client) -> Option<String> {
    let message = Json::parse(input, ENVELOPE).ok()?;
    // Blocking again inside a turn that a block started would loop.
    if message.get("stop_hook_active").and_then(Json::as_bool) != Some(false) {
        return None;
    }
    let decided = cx.gate.tell(&session(&message, client)?).await.unwrap_or_default();
    (!decided.is_empty()).then(|| decided.iter().map(told).collect::<Vec<_>>().join("\n\n"))
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

/// A session's end: the task completes and its open calls become unknown.
pub(super) async fn end(cx: &HookContext<'_>, input: &[u8], client: Client) {
    if let Ok(message) = Json::parse(input, ENVELOPE)
        && let Some(session) = session(&message, client)
    {
        // Nothing can be done about a failure here: the calls become unknown after 24 h by themselves.
        let _ = cx.gate.end_session(&session).await;
    }
}

/// The answer of Claude Code's kind to an event that asks for leave.
pub(super) fn permission(decision: &str, reason: &str) -> HookAnswer {
    HookAnswer::json(Json::object([(
        "hookSpecificOutput",
        Json::object([
            ("hookEventName", Json::str("PreToolUse")),
            ("permissionDecision", Json::str(decision)),
            ("permissionDecisionReason", Json::str(reason)),
        ]),
    )]))
}

/// `{"decision": …, "reason": …}`.
pub(super) fn decision(decision: &str, reason: &str) -> HookAnswer {
    HookAnswer::json(Json::object([("decision", Json::str(decision)), ("reason", Json::str(reason))]))
}
