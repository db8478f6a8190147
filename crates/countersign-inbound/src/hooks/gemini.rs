//! Gemini CLI's hooks (tried with 0.61.0).
//!
//! - Standard output is one JSON object; standard error is read when it is empty, so nothing of ours goes there beside exit
//!   code 0. Exit code 2 with a text blocks; a signal, a late answer or exit code 1 lets the call run.
//! - No message has an id of the call, so its tool and arguments are its name (`common`). Calls of sub-agents cannot be
//!   told from those of the main agent.
//! - A server's tool is called `mcp_<server>_<tool>`, which does not say where the server's name ends. `mcp_context` does.
//!   Without it the name stays as it is, an unknown tool's.
//! - A result whose outcome has no record is hidden by a `deny` of `AfterTool`; the model reads the reason in its place.

use super::common::{self, Dialect, Said};
use super::{HookAnswer, HookContext};
use countersign_core::code::Code;
use countersign_core::facts::tools;
use countersign_core::json::Json;
use countersign_core::principal::Client;

const DIALECT: Dialect =
    Dialect { client: Client::Gemini, tool: policy_name, unnamed_calls: true, failures_pass: false };

/// The tool's name in policy: a server's tool by what the client says of its connection.
fn policy_name(message: &Json, name: String) -> Result<String, String> {
    let part = |key: &str| message.get("mcp_context").and_then(|c| c.text(key));
    if let (Some(server), Some(tool)) = (part("server_name"), part("tool_name"))
        && let Some(served) = tools::served(server, tool)
    {
        return Ok(tools::policy_name(&served));
    }
    // This is how policy names a server's tool; here nobody said that it is that one.
    if name.starts_with("mcp__") {
        return Err(format!(
            "invalid hook input: `tool_name` is `{name}`, and `mcp_context` does not say which server that is; give the server a name without underscores at its ends"
        ));
    }
    Ok(name)
}

/// `BeforeTool`: decides, holding the client while a person is asked.
pub async fn pre(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    match common::decide(&cx, input, "BeforeTool", DIALECT).await {
        Ok(answered) => pre_answer(common::said(&cx, &answered)),
        Err(why) => HookAnswer::fault(why),
    }
}

fn pre_answer(said: Said) -> HookAnswer {
    match said {
        Said::Nothing => nothing(),
        Said::Granted(_) => HookAnswer::json(Json::object([("decision", Json::str("allow"))])),
        Said::No(reason) => common::decision("deny", &reason),
        Said::Fault(why) => HookAnswer::fault(why),
    }
}

/// No objection, and no remark.
pub fn nothing() -> HookAnswer {
    HookAnswer::json(Json::Object(Vec::new()))
}

/// `AfterTool`: the outcome is recorded. Without a record the result is withheld.
pub async fn post(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    let Some(message) = common::read_end(input) else { return withheld() };
    let response = message.get("tool_response");
    let failed = response.and_then(|r| r.get("error")).is_some_and(|e| *e != Json::Null);
    match common::ended(&cx, &message, DIALECT, failed, response).await {
        Ok(()) => nothing(),
        Err(code) => kept_back(code),
    }
}

/// The result must not reach the agent.
pub fn withheld() -> HookAnswer {
    kept_back(Code::OutcomeUnrecorded)
}

fn kept_back(code: Code) -> HookAnswer {
    common::decision("deny", &common::marker(code))
}

/// `AfterAgent`: tells the agent once which of its parked calls have been decided meanwhile. A `deny` makes another turn
/// of the reason.
pub async fn stop(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    match common::decided(&cx, input, Client::Gemini).await {
        Some(reason) => common::decision("deny", &reason),
        None => nothing(),
    }
}

/// `SessionEnd`: the task completes and its open calls become unknown.
pub async fn end(cx: HookContext<'_>, input: &[u8]) -> HookAnswer {
    common::end(&cx, input, Client::Gemini).await;
    nothing()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::json::Bounds;

    fn named(name: &str, context: &str) -> Result<String, String> {
        let message = format!(r#"{{"mcp_context":{context}}}"#);
        policy_name(&Json::parse(message.as_bytes(), Bounds::default()).unwrap(), name.to_owned())
    }

    #[test]
    fn a_server_s_tool_is_named_by_its_connection() {
        let context = r#"{"server_name":"my_files","tool_name":"read_text","command":"x","args":[]}"#;
        assert_eq!(named("mcp_my_files_read_text", context).as_deref(), Ok("mcp__my_files__read_text"));
        for context in [
            "null",
            "{}",
            r#"{"server_name":"a"}"#,
            r#"{"server_name":5,"tool_name":"b"}"#,
            r#"{"server_name":"a__b","tool_name":"c"}"#,
        ] {
            assert_eq!(named("mcp_a_b", context).as_deref(), Ok("mcp_a_b"), "{context}");
            assert!(named("mcp__a__b", context).is_err(), "{context}");
        }
        assert_eq!(named("write_file", "null").as_deref(), Ok("write_file"));
    }

    #[test]
    fn the_words_of_every_answer() {
        let text = |answer: HookAnswer| {
            (answer.exit, answer.stdout.unwrap_or_default(), answer.stderr.unwrap_or_default())
        };
        let silent = String::new;
        assert_eq!(text(pre_answer(Said::Nothing)), (0, "{}".into(), silent()));
        assert_eq!(
            text(pre_answer(Said::Granted("x".into()))),
            (0, r#"{"decision":"allow"}"#.into(), silent())
        );
        assert_eq!(
            text(pre_answer(Said::No("first\nsecond".into()))),
            (0, r#"{"decision":"deny","reason":"first\nsecond"}"#.into(), silent())
        );
        assert_eq!(text(pre_answer(Said::Fault("why".into()))), (2, silent(), "why".into()));
        assert_eq!(
            text(withheld()),
            (0, r#"{"decision":"deny","reason":"[WITHHELD: outcome_unrecorded]"}"#.into(), silent())
        );
    }
}
