//! `countersign decide`: our own form of question and answer, for programs that have no hook of their own.
//!
//! One strict JSON object in, one out (NAMES section 2). The caller performs what is allowed and tells nothing
//! afterwards; such a call stays open until its session ends.

use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::cleanse::{Clean, clean_line};
use countersign_core::code::Code;
use countersign_core::ids::CallId;
use countersign_core::json::{Bounds, Json};
use countersign_core::principal::{Client, Principal};
use countersign_gate::gate::{Answered, Decision, Gate, Patience};

/// What `decide` knows beside the message.
pub struct DecideContext<'a> {
    /// The gate of the project.
    pub gate: &'a Gate,
    /// Id for the call.
    pub call_id: CallId,
    /// Numeric OS user.
    pub uid: u32,
    /// Base of relative paths when the message names none.
    pub cwd: &'a str,
    /// Most seconds the caller is held; 0 answers at once.
    pub wait_s: i64,
    /// Follows links of a folder; `None` where it does not exist.
    pub resolve: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

const MEMBERS: &[&str] =
    &["tool_name", "tool_input", "cwd", "session_id", "client", "agent_id", "deadline_ms"];

/// Decides one call. Returns the answer and the exit code: 0 allowed, 2 refused or any fault, 5 pending.
pub async fn decide(cx: DecideContext<'_>, input: &[u8]) -> (Json, u8) {
    let (call, limit_s) = match read(cx.call_id, cx.uid, cx.cwd, cx.resolve, input) {
        Ok(read) => read,
        Err((code, why)) => {
            let why = clean_line(&why, 400);
            let tool = Clean::fixed("unknown");
            let _ = cx.gate.refuse_unread("cli", Client::Other.as_str(), &tool, code, &why).await;
            let answer = Json::object([
                ("call_id", Json::str(cx.call_id.to_string())),
                ("verdict", Json::str("deny")),
                ("decision", Json::str("refused")),
                ("code", Json::str(code.as_str())),
                ("reason", Json::str(why.as_str())),
                ("matching_rule_ids", Json::Array(Vec::new())),
            ]);
            return (answer, 2);
        }
    };
    let patience = Patience { client_limit_s: limit_s, hold_s: Some(cx.wait_s), listens: None };
    let answered = cx.gate.judge(&call, patience, None).await;
    let exit = match answered.decision {
        Decision::Allowed { .. } => 0,
        Decision::Refused { .. } => 2,
        Decision::Pending { .. } => 5,
    };
    (render(&cx, &call, &answered), exit)
}

/// Reads one call without deciding it: for `explain`.
pub fn parse(
    input: &[u8],
    uid: u32,
    cwd: &str,
    resolve: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<ToolCall, String> {
    let id = CallId(countersign_core::ids::RawId::new(countersign_core::time::Timestamp(0), [0; 10]));
    read(id, uid, cwd, resolve, input).map(|(call, _)| call).map_err(|(_, why)| why)
}

fn read(
    call_id: CallId,
    uid: u32,
    cwd: &str,
    resolve: &(dyn Fn(&str) -> Option<String> + Sync),
    input: &[u8],
) -> Result<(ToolCall, Option<i64>), (Code, String)> {
    let bad = |why: String| (Code::Malformed, why);
    let bounds = Bounds { max_bytes: 8 * 1024 * 1024, ..Bounds::default() };
    let message = Json::parse(input, bounds).map_err(|e| {
        let code = if e.kind.is_bound() { Code::ArgumentsTooLarge } else { Code::Malformed };
        (code, format!("the input is not one JSON object: {e}"))
    })?;
    let members = message.as_object().ok_or_else(|| bad("the input is not a JSON object".into()))?;
    if let Some((unknown, _)) = members.iter().find(|(k, _)| !MEMBERS.contains(&k.as_str())) {
        return Err(bad(format!("unknown member `{unknown}`; known are {}", MEMBERS.join(", "))));
    }
    let text = |key: &str| match message.get(key) {
        None => Ok(None),
        Some(Json::String(text)) if !text.is_empty() && text.len() <= 4_096 => Ok(Some(text.clone())),
        Some(_) => Err(bad(format!("`{key}` is not a string"))),
    };
    let client = match text("client")? {
        None => Client::Other,
        Some(name) => {
            Client::parse(&name).ok_or_else(|| bad(format!("`client` names no client: `{name}`")))?
        }
    };
    let cwd = text("cwd")?.unwrap_or_else(|| cwd.to_owned());
    if !cwd.starts_with('/') {
        return Err(bad("`cwd` is not absolute".into()));
    }
    let limit_s = match message.get("deadline_ms") {
        None => None,
        Some(value) => {
            let ms = value
                .as_i64()
                .filter(|ms| *ms >= 0)
                .ok_or_else(|| bad("`deadline_ms` is no whole number".into()))?;
            Some(ms / 1000)
        }
    };
    let agent_id = text("agent_id")?;
    // Whoever asks here says itself which client and session it is. Sessions of a name space of their own keep it from
    // spending what a person allowed to a session that came through a client's hook.
    let parts = CallParts {
        call_id,
        door: Door::Cli,
        principal: Principal::Agent {
            client,
            uid,
            agent_type: agent_id.as_ref().map(|_| "unknown".to_owned()),
        },
        session: Session { client, id: format!("decide:{}", text("session_id")?.unwrap_or_default()) },
        agent_id,
        tool_use_id: None,
        tool: text("tool_name")?.ok_or_else(|| bad("no `tool_name`".into()))?,
        args: message.get("tool_input").cloned().ok_or_else(|| bad("no `tool_input`".into()))?,
        cwd: Some(resolve(&cwd).unwrap_or(cwd)),
        joins: None,
        served: None,
    };
    let call = ToolCall::new(parts).map_err(|e| bad(format!("`tool_input`: {e}")))?;
    Ok((call, limit_s))
}

fn render(cx: &DecideContext<'_>, call: &ToolCall, answered: &Answered) -> Json {
    let mut out = Json::object([
        ("call_id", Json::str(answered.call_id.to_string())),
        ("args_digest", Json::str(call.args_digest().to_string())),
        ("call_digest", Json::str(call.call_digest().to_string())),
        ("verdict", Json::str(answered.verdict)),
        ("decision", Json::str(answered.decision.as_str())),
        ("reason", Json::str(answered.reason.as_str())),
        ("matching_rule_ids", Json::strings(&answered.rules)),
    ]);
    if let Some(book) = cx.gate.rulebook() {
        out.set("rulebook_digest", Json::str(book.digest().to_string()));
    }
    match &answered.decision {
        Decision::Allowed { .. } => {}
        Decision::Refused { code } => out.set("code", Json::str(code.as_str())),
        Decision::Pending { approval_id, expires_at } => {
            out.set("code", Json::str(Code::ApprovalRequired.as_str()));
            let approval = Json::object([
                ("approval_id", Json::str(approval_id.to_string())),
                ("status", Json::str("PENDING")),
                ("expires_at", Json::str(expires_at.to_string())),
            ]);
            out.set("approval", approval);
        }
    }
    if let Some(would) = answered.would {
        out.set("would", Json::str(would));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever speaks this form names its session itself: it must not be able to name one of a client's hook.
    #[test]
    fn its_sessions_are_no_hooks_sessions() {
        let session = |text: &str| {
            let resolve = |_: &str| None;
            parse(text.as_bytes(), 1000, "/p", &resolve).unwrap().parts().session.id.clone()
        };
        let call = r#""tool_name":"Bash","tool_input":{"command":"ls"}"#;
        let named = format!(r#"{{{call},"client":"claude-code","session_id":"s1"}}"#);
        assert_eq!(session(&named), "decide:s1");
        assert_eq!(session(&format!("{{{call}}}")), "decide:");
    }
}
