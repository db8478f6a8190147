//! The facts about the real Gemini CLI that the product relies on, tried with hooks and MCP servers of no use. The
//! documentation of `testkit::gemini` tells them; these tests keep it true.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a surprise is a failure"
)]

use std::time::Duration;

use countersign_testkit::client::{Finished, Recorder, RunOptions, Scratch};
use countersign_testkit::gemini::Gemini;
use countersign_testkit::mcp::hostile::Hostile;
use countersign_testkit::scripted_model::{Script, ScriptedModel, ToolResult, Turn};
use serde_json::{Value, json};

fn shell(command: &str) -> Turn {
    Turn::tool("run_shell_command", json!({ "command": command, "description": "Say so" }))
}

fn echo() -> Turn {
    shell("echo harness-ok")
}

fn hooks(events: &[&str], recorder: &Recorder) -> Value {
    let hook = json!({ "name": "x", "type": "command", "command": recorder.command, "timeout": 20_000 });
    let group = json!([{ "matcher": "*", "hooks": [hook] }]);
    let events: Value = events.iter().map(|event| ((*event).to_owned(), group.clone())).collect();
    json!({ "hooksConfig": { "enabled": true }, "hooks": events })
}

/// Plays these turns under these settings and returns what the model read.
fn play(
    scratch: &Scratch,
    settings: &Value,
    turns: impl IntoIterator<Item = Turn>,
) -> (Vec<ToolResult>, Finished) {
    scratch.gemini_settings(settings);
    let model = ScriptedModel::start(Script::new(turns));
    let finished = Gemini::find().run(&RunOptions::new(scratch, model.url()));
    finished.expect_success();
    assert!(finished.json()["session_id"].is_string(), "{}", finished.stdout);
    (model.tool_results(), finished)
}

/// Plays one `echo` under one hook, which gives this answer, and returns what the model read.
fn under(event: &str, answer: &str) -> ToolResult {
    let scratch = Scratch::new();
    let settings = hooks(&[event], &scratch.recorder("hook", answer));
    let (mut results, finished) = play(&scratch, &settings, [echo()]);
    assert_eq!(results.len(), 1, "one call, one result: {results:?}\n{}", finished.stderr);
    results.remove(0)
}

fn ran(result: &ToolResult) -> bool {
    !result.is_error && result.text.contains("Output: harness-ok")
}

#[test]
fn every_event_of_a_run_reaches_its_hook() {
    let scratch = Scratch::new();
    let recorder = scratch.recorder("hook", "");
    let names = ["SessionStart", "BeforeAgent", "BeforeTool", "AfterTool", "AfterAgent", "SessionEnd"];
    let path = scratch.project().join("x.txt");
    let file = Turn::tool("write_file", json!({ "file_path": path, "content": "abc" }));
    let (results, _) = play(&scratch, &hooks(&names, &recorder), [shell("echo hi; exit 3"), file]);
    assert_eq!(results.len(), 2);
    let told = recorder.told();
    let events: Vec<&str> = told.iter().filter_map(|told| told["hook_event_name"].as_str()).collect();
    let (before, after) = ("BeforeTool", "AfterTool");
    assert_eq!(
        events,
        ["SessionStart", "BeforeAgent", before, after, before, after, "AfterAgent", "SessionEnd"]
    );
    assert!(told.iter().all(|event| event["session_id"] == told[0]["session_id"]));
    assert_eq!(told[2]["tool_name"], "run_shell_command");
    assert_eq!(told[2]["tool_input"]["command"], "echo hi; exit 3");
    assert_eq!(told[2]["cwd"], json!(scratch.project()));
    let no_id = |event: &Value| event.get("tool_use_id").or(event.get("call_id")).is_none();
    assert!(told.iter().all(no_id), "if there is an id by now, use it: {told:?}");
    assert!(results[0].tool_use_id.starts_with("call_"), "the model's id, which no hook is told");
    let said = told[3]["tool_response"]["llmContent"].as_str().unwrap();
    assert!(said.contains("Output: hi") && said.contains("Exit Code: 3"), "{said}");
    assert_eq!(told[4]["tool_input"], json!({ "file_path": path, "content": "abc" }));
    assert_eq!(told[5]["tool_response"]["returnDisplay"]["newContent"], "abc");
    assert_eq!((&told[6]["stop_hook_active"], &told[7]["reason"]), (&json!(false), &json!("exit")));
}

#[test]
fn a_denial_blocks_and_its_reason_reaches_the_model() {
    for answer in [r#"echo '{"decision":"deny","reason":"the-reason"}'"#, "echo the-reason >&2; exit 2"] {
        let result = under("BeforeTool", answer);
        assert!(result.is_error);
        assert_eq!(result.text, "Tool execution blocked: the-reason");
    }
    assert!(under("BeforeTool", r#"echo '{"decision":"deny"}'"#).is_error);
    assert!(under("BeforeTool", "exec /no/such/program").is_error);
}

#[test]
fn every_other_answer_and_every_failure_lets_the_call_run() {
    for answer in [
        "exit 1",
        "exit 2",
        "kill -9 $$",
        "",
        "echo nonsense",
        "echo '{\"decision\": nonsense'",
        r#"echo '{"decision":"dney","reason":"r"}'"#,
        r#"echo '{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny"}}'"#,
        r#"echo '{"decision":"allow"}'"#,
    ] {
        let result = under("BeforeTool", answer);
        assert!(ran(&result), "{answer}: {result:?}");
    }
}

#[test]
fn to_ask_hangs_and_to_stop_ends_the_run() {
    let scratch = Scratch::new();
    let asking = scratch.recorder("asking", r#"echo '{"decision":"ask","reason":"r"}'"#);
    scratch.gemini_settings(&hooks(&["BeforeTool"], &asking));
    let model = ScriptedModel::start(Script::new([echo()]));
    let options = RunOptions::new(&scratch, model.url()).time_limit(Duration::from_secs(20));
    assert!(Gemini::find().run(&options).timed_out);
    assert!(model.tool_results().is_empty() && !asking.told().is_empty());

    let stopping = scratch.recorder("stopping", r#"echo '{"continue":false,"stopReason":"r"}'"#);
    let (results, _) = play(&scratch, &hooks(&["BeforeTool"], &stopping), [echo()]);
    assert!(results.is_empty(), "{results:?}");
}

#[test]
fn a_slow_hook_lets_the_call_run_after_its_milliseconds() {
    let scratch = Scratch::new();
    let slow = scratch.recorder("hook", "exec sleep 60");
    let mut settings = hooks(&["BeforeTool"], &slow);
    settings["hooks"]["BeforeTool"][0]["hooks"][0]["timeout"] = json!(1500);
    let (results, finished) = play(&scratch, &settings, [echo()]);
    assert!(ran(&results[0]), "{results:?}");
    assert!(finished.took < Duration::from_secs(50), "{:?}", finished.took);
}

#[test]
fn an_allowing_hook_may_change_the_input() {
    let answer =
        r#"echo '{"decision":"allow","hookSpecificOutput":{"tool_input":{"command":"echo changed"}}}'"#;
    assert!(under("BeforeTool", answer).text.contains("Output: changed"));
}

#[test]
fn after_a_call_a_denial_hides_the_output() {
    for answer in [r#"echo '{"decision":"deny","reason":"instead"}'"#, "echo instead >&2; exit 2"] {
        let result = under("AfterTool", answer);
        assert_eq!((result.text.as_str(), result.is_error), ("instead", true));
    }
    assert!(ran(&under("AfterTool", "exit 1")));
    let more = under("AfterTool", r#"echo '{"hookSpecificOutput":{"additionalContext":"more"}}'"#);
    assert!(ran(&more) && more.text.contains("<hook_context>more</hook_context>"), "{more:?}");
}

#[test]
fn an_after_agent_hook_can_ask_for_another_turn() {
    let scratch = Scratch::new();
    let go_on =
        r#"grep -q '"stop_hook_active":true' "$at.told" || echo '{"decision":"deny","reason":"go-on"}'"#;
    let recorder = scratch.recorder("hook", go_on);
    play(&scratch, &hooks(&["AfterAgent"], &recorder), [echo(), Turn::text("enough?"), Turn::text("enough")]);
    let told = recorder.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        (&told[1]["prompt_response"], &told[1]["stop_hook_active"]),
        (&json!("enough?\nenough"), &json!(true))
    );
}

#[test]
fn two_tools_in_one_answer_both_come_back() {
    let scratch = Scratch::new();
    let second = json!({ "command": "echo second", "description": "Say more" });
    let (results, _) = play(&scratch, &json!({}), [echo().and_tool("run_shell_command", second), echo()]);
    assert_eq!(results.len(), 3, "{results:?}");
    assert!(results[1].text.contains("second"));
}

#[test]
fn a_changed_hook_of_a_project_is_named_and_run() {
    let scratch = Scratch::new();
    let warning = "project-level hooks have been detected";
    let first = scratch.recorder("first", "");
    let (_, finished) = play(&scratch, &hooks(&["BeforeTool"], &first), [echo()]);
    assert!(finished.stderr.contains(warning), "{}", finished.stderr);
    let (_, finished) = play(&scratch, &hooks(&["BeforeTool"], &first), [echo()]);
    assert!(!finished.stderr.contains(warning), "{}", finished.stderr);
    let changed = scratch.recorder("changed", "");
    let (_, finished) = play(&scratch, &hooks(&["BeforeTool"], &changed), [echo()]);
    assert!(finished.stderr.contains(warning), "{}", finished.stderr);
    assert_eq!((first.told().len(), changed.told().len()), (2, 1));
    let known = std::fs::read(scratch.home().join(".gemini/trusted_hooks.json")).unwrap();
    let known: Value = serde_json::from_slice(&known).unwrap();
    let project = scratch.project().display().to_string();
    assert_eq!(known[project], json!([format!("x:{}", first.command), format!("x:{}", changed.command)]));
}

#[test]
fn an_untrusted_workspace_does_not_run_without_a_person() {
    let scratch = Scratch::new();
    // The way of signing in must be the user's, or that is what the client trips over.
    let settings = scratch.gemini_settings(&json!({}));
    std::fs::create_dir_all(scratch.home().join(".gemini")).unwrap();
    std::fs::copy(settings, scratch.home().join(".gemini/settings.json")).unwrap();
    let model = ScriptedModel::start(Script::new([echo()]));
    let options = RunOptions::new(&scratch, model.url()).env("GEMINI_CLI_TRUST_WORKSPACE", "false");
    let finished = Gemini::find().run(&options);
    assert!(!finished.success() && finished.stderr.contains("trusted directory"), "{}", finished.stderr);
    assert!(model.requests().is_empty());
}

fn with_server(hostile: &Hostile, mut settings: Value, timeout: u32) -> Value {
    settings["mcpServers"]["hostile"] = hostile.server().json();
    settings["mcpServers"]["hostile"]["timeout"] = json!(timeout);
    settings
}

#[test]
fn a_call_of_an_mcp_tool_names_its_server_and_cannot_be_joined() {
    let scratch = Scratch::new();
    let recorder = scratch.recorder("hook", "");
    let hostile = Hostile::new(&scratch.home(), "hostile");
    let settings = with_server(&hostile, hooks(&["BeforeTool", "AfterTool"], &recorder), 60_000);
    let turns =
        ["progress", "fails"].map(|tool| Turn::tool(format!("mcp_hostile_{tool}"), json!({ "n": 1.5 })));
    let (results, _) = play(&scratch, &settings, turns);
    assert!(!results[0].is_error && results[1].is_error, "{results:?}");
    let told = recorder.told();
    assert_eq!(
        (&told[0]["tool_name"], &told[0]["tool_input"]),
        (&json!("mcp_hostile_progress"), &json!({ "n": 1.5 }))
    );
    let context = &told[0]["mcp_context"];
    assert_eq!((&context["server_name"], &context["tool_name"]), (&json!("hostile"), &json!("progress")));
    assert_eq!(context["command"], "python3");
    assert_eq!(
        told[1]["tool_response"]["llmContent"],
        json!([{ "text": "<untrusted_context>\nprogressed\n</untrusted_context>" }])
    );
    assert_eq!(told[3]["tool_response"]["error"]["type"], "mcp_tool_error");
    let lines: Vec<Value> =
        hostile.lines().iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(lines[0]["params"]["protocolVersion"], "2025-06-18");
    let meta = lines.last().unwrap()["params"]["_meta"].as_object().unwrap();
    assert_eq!(meta.keys().collect::<Vec<_>>(), ["progressToken"]);
}

#[test]
fn a_text_that_is_json_but_no_object_is_an_error_to_this_client() {
    let scratch = Scratch::new();
    let hostile = Hostile::new(&scratch.home(), "hostile");
    let call = Turn::tool("mcp_hostile_count", json!({}));
    let (results, _) = play(&scratch, &with_server(&hostile, json!({}), 60_000), [call]);
    assert!(results[0].is_error && results[0].text.contains("expected record"), "{results:?}");
    assert_eq!(hostile.calls("count"), 1, "though the call was made, and its text `1` is a lawful result");
}

#[test]
fn a_projects_server_replaces_the_users_of_that_name() {
    let scratch = Scratch::new();
    let [users, projects] = ["users", "projects"].map(|name| Hostile::new(&scratch.home(), name));
    std::fs::create_dir_all(scratch.home().join(".gemini")).unwrap();
    let user = with_server(&users, json!({}), 60_000);
    std::fs::write(scratch.home().join(".gemini/settings.json"), user.to_string()).unwrap();
    let call = Turn::tool("mcp_hostile_count", json!({}));
    play(&scratch, &with_server(&projects, json!({}), 60_000), [call]);
    assert_eq!((users.calls("count"), projects.calls("count")), (0, 1));
}

#[test]
fn a_calls_time_limit_is_in_milliseconds_and_progress_does_not_move_it() {
    let scratch = Scratch::new();
    let hostile = Hostile::new(&scratch.home(), "hostile");
    let slow = Turn::tool("mcp_hostile_slow", json!({ "seconds": 60, "beat": 0.3 }));
    let (results, finished) = play(&scratch, &with_server(&hostile, json!({}), 2000), [slow]);
    assert!(results[0].text.contains("Request timed out"), "{results:?}");
    assert!(finished.took < Duration::from_secs(50), "{:?}", finished.took);
    let cancelled = |line: &Vec<u8>| String::from_utf8_lossy(line).contains("notifications/cancelled");
    assert!(hostile.lines().iter().any(cancelled));
}

#[test]
fn what_a_server_asks_is_answered_without_a_person() {
    let scratch = Scratch::new();
    let hostile = Hostile::new(&scratch.home(), "hostile");
    let turns =
        ["elicits", "samples", "roots"].map(|tool| Turn::tool(format!("mcp_hostile_{tool}"), json!({})));
    let (results, _) = play(&scratch, &with_server(&hostile, json!({}), 60_000), turns);
    for (result, holds) in results.iter().zip(["-32601", "-32601", "\"file://"]) {
        assert!(result.text.contains(holds), "{holds}: {result:?}");
    }
}
