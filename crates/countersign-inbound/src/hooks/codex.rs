//! Codex CLI's hooks (tried with 0.169.0).
//!
//! - An allow is an empty answer, always: a plain `allow`, an `ask` or a word that Codex does not know marks the hook as
//!   failed, and then the call runs. What a person granted is told where Codex would ask once more, in `permission`.
//! - Exit code 2 blocks only with a text on standard error; every other code, a signal or a late answer lets the call run.
//! - The `cwd` of a message is the folder that the call itself names, so relative paths are those of the call. The base of
//!   a patch is the session's folder.
//! - `PermissionRequest` comes after `PreToolUse` of the same call, with the model's plea as `description` and without the
//!   call's id. `Stop` with `block` starts another turn with the reason, as with Claude Code.
//! - `PostToolUse` comes for failed calls alike, and does not tell: the result of a shell call is one text. None comes for a
//!   patch that is run through the shell, or for a call that goes on in the background.
//! - What is written to a program that runs already (`write_stdin`), searches of the web and the plan are not asked about
//!   at all; `doctor` says so.

use super::common::{self, Dialect, Said};
use super::{HookAnswer, HookContext};
use countersign_core::cleanse::clean_line;
use countersign_core::code::Code;
use countersign_core::json::Json;
use countersign_core::principal::Client;

const DIALECT: Dialect =
    Dialect { client: Client::Codex, tool: common::same_name, unnamed_calls: false, failures_pass: false };

/// `PreToolUse`: decides, holding the client while a person is asked.
pub async fn pre(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    match common::decide(&cx, input, "PreToolUse", DIALECT).await {
        Ok(answered) => pre_answer(common::said(&cx, &answered)),
        Err(why) => HookAnswer::fault(why),
    }
}

fn pre_answer(said: Said) -> HookAnswer {
    match said {
        Said::Nothing | Said::Granted(_) => HookAnswer::silent(),
        Said::No(reason) => common::permission("deny", &reason),
        Said::Fault(why) => HookAnswer::fault(why),
    }
}

/// `PermissionRequest`: Codex is about to ask its user whether the call may leave the sandbox. Where our own judgement of
/// this very call says that a person or a scope granted it, nobody is asked twice; `granted` looks that up. Anything else
/// leaves the question to Codex. A fault is a refusal.
pub async fn permission(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    let call = match common::read_call(&cx, input, "PermissionRequest", DIALECT) {
        Ok(call) => call,
        Err((code, why)) => return not_permitted(code, &why),
    };
    match cx.gate.granted(&call).await {
        Ok(true) => answer_permission(Json::object([("behavior", Json::str("allow"))])),
        Ok(false) => HookAnswer::silent(),
        // Nothing was lost: Codex asks its user as it would without us.
        Err(_) if common::watching(&cx) => HookAnswer::silent(),
        Err(e) => not_permitted(e.code(), &e.to_string()),
    }
}

/// A fault before the question could be looked at. The exit code stays 0, as agreed for this event.
pub fn not_permitted(code: Code, why: &str) -> HookAnswer {
    let why = clean_line(why, 400);
    let text = format!("countersign: refused code={}\n{why}", code.as_str());
    answer_permission(Json::object([("behavior", Json::str("deny")), ("message", Json::str(text))]))
}

fn answer_permission(decision: Json) -> HookAnswer {
    HookAnswer::json(Json::object([(
        "hookSpecificOutput",
        Json::object([("hookEventName", Json::str("PermissionRequest")), ("decision", decision)]),
    )]))
}

/// `PostToolUse`: the outcome is recorded. Without a record the result is replaced by a marker.
pub async fn post(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    let Some(message) = common::read_end(input) else { return withheld() };
    let response = message.get("tool_response");
    let failed = response.and_then(|r| r.get("isError")).and_then(Json::as_bool) == Some(true);
    match common::ended(&cx, &message, DIALECT, failed, response).await {
        Ok(()) => HookAnswer::silent(),
        Err(code) => kept_back(code),
    }
}

/// The result must not reach the agent.
pub fn withheld() -> HookAnswer {
    kept_back(Code::OutcomeUnrecorded)
}

fn kept_back(code: Code) -> HookAnswer {
    common::decision("block", &common::marker(code))
}

/// `Stop`: tells the agent once which of its parked calls have been decided meanwhile.
pub async fn stop(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    match common::decided(&cx, input, Client::Codex).await {
        Some(reason) => common::decision("block", &reason),
        None => HookAnswer::silent(),
    }
}

/// `SessionEnd`: the task completes and its open calls become unknown.
pub async fn end(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    common::end(&cx, input, Client::Codex).await;
    HookAnswer::silent()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &HookAnswer) -> &str {
        answer.stdout.as_deref().unwrap_or_default()
    }

    #[test]
    fn an_allow_is_silence_in_every_case() {
        for said in [Said::Nothing, Said::Granted("countersign: ana said so".into())] {
            assert_eq!(pre_answer(said), HookAnswer { stdout: None, stderr: None, exit: 0 });
        }
    }

    #[test]
    fn a_no_has_a_reason_and_a_fault_has_a_text() {
        let no = pre_answer(Said::No("countersign: refused code=hard_deny\nno".into()));
        assert_eq!(
            text(&no),
            r#"{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"countersign: refused code=hard_deny\nno"}}"#
        );
        let fault = pre_answer(Said::Fault("countersign: refused code=internal\nwhy".into()));
        assert_eq!(fault.exit, 2);
        assert!(fault.stdout.is_none() && fault.stderr.is_some_and(|t| t.contains("why")));
    }

    #[test]
    fn the_words_of_the_other_events() {
        assert_eq!(text(&withheld()), r#"{"decision":"block","reason":"[WITHHELD: outcome_unrecorded]"}"#);
        let no = not_permitted(Code::StoreUnavailable, "gone\u{1b}[2J");
        assert_eq!(no.exit, 0);
        assert!(text(&no).starts_with(
            r#"{"hookSpecificOutput":{"decision":{"behavior":"deny","message":"countersign: refused code=store_unavailable\ngone"#
        ), "{}", text(&no));
        assert!(!text(&no).contains('\u{1b}') && !text(&no).contains("u001b"));
        assert_eq!(
            text(&answer_permission(Json::object([("behavior", Json::str("allow"))]))),
            r#"{"hookSpecificOutput":{"decision":{"behavior":"allow"},"hookEventName":"PermissionRequest"}}"#
        );
    }
}
