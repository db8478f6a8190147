//! Claude Code's hooks (DECISIONS section 6, tried with 2.1.329).
//!
//! `pre` answers exit 0 with the client's JSON, or with nothing, for every decision, and exit 2 for faults only.
//! `post`, `stop` and `end` always end with 0: exit 2 of a `stop` starts another model turn. Members of the
//! client's message that are not named here are the client's own and are left alone.

use super::common::{self, Dialect, Said};
use super::{HookAnswer, HookContext};
use countersign_core::code::Code;
use countersign_core::json::Json;
use countersign_core::principal::Client;

const DIALECT: Dialect = Dialect {
    client: Client::ClaudeCode,
    tool: common::same_name,
    unnamed_calls: false,
    failures_pass: true,
};

/// `PreToolUse`: decides, holding the client while a person is asked.
pub async fn pre(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    let answered = match common::decide(&cx, input, "PreToolUse", DIALECT).await {
        Ok(answered) => answered,
        Err(why) => return HookAnswer::fault(why),
    };
    match common::said(&cx, &answered) {
        Said::Nothing => HookAnswer::silent(),
        Said::Granted(reason) => common::permission("allow", &reason),
        Said::No(reason) => common::permission("deny", &reason),
        Said::Fault(why) => HookAnswer::fault(why),
    }
}

/// `PostToolUse` and `PostToolUseFailure`: the outcome is recorded. Without a record the result is withheld.
pub async fn post(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    let Some(message) = common::read_end(input) else {
        return withheld("PostToolUse", None, Code::OutcomeUnrecorded);
    };
    let event = message.text("hook_event_name").unwrap_or("PostToolUse").to_owned();
    let failed = event == "PostToolUseFailure";
    let response = message.get("tool_response").or_else(|| message.get("error"));
    match common::ended(&cx, &message, DIALECT, failed, response).await {
        Ok(()) => HookAnswer::silent(),
        Err(code) => withheld(&event, response, code),
    }
}

/// Replaces the result in the tool's own shape: every text in it becomes the marker. (`decision: "block"` would let
/// the result through.) A failed call has no result to replace.
fn withheld(event: &str, response: Option<&Json>, code: Code) -> HookAnswer {
    let marker = common::marker(code);
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
    match common::decided(&cx, input, Client::ClaudeCode).await {
        Some(reason) => common::decision("block", &reason),
        None => HookAnswer::silent(),
    }
}

/// `SessionEnd`: the task completes and its open calls become unknown.
pub async fn end(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    common::end(&cx, input, Client::ClaudeCode).await;
    HookAnswer::silent()
}
