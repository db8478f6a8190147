//! The facts about the real Codex CLI that the product relies on, tried with hooks and MCP servers of no use. The
//! documentation of `testkit::codex` tells them; these tests keep it true.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a surprise is a failure"
)]

use std::time::Duration;

use countersign_testkit::client::{Finished, Recorder, RunOptions, Scratch};
use countersign_testkit::codex::{BYPASS_HOOK_TRUST, Codex};
use countersign_testkit::mcp::hostile::Hostile;
use countersign_testkit::scripted_model::{Script, ScriptedModel, ToolResult, Turn};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const PATCH: &str = "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch\n";

fn echo() -> Turn {
    Turn::tool("exec_command", json!({ "cmd": "echo harness-ok" }))
}

fn hooks(event: &str, hook: Value) -> Value {
    json!({ "hooks": { event: [{ "hooks": [hook] }] } })
}

fn command(recorder: &Recorder) -> Value {
    json!({ "type": "command", "command": recorder.command, "timeout": 20 })
}

/// Plays these turns and returns what the model read.
fn play(
    scratch: &Scratch,
    turns: impl IntoIterator<Item = Turn>,
    args: &[&str],
) -> (Vec<ToolResult>, Finished) {
    let model = ScriptedModel::start(Script::new(turns));
    let options = args.iter().fold(RunOptions::new(scratch, model.url()), |options, arg| options.arg(*arg));
    let finished = Codex::find().run(&options);
    finished.expect_success();
    (model.tool_results(), finished)
}

/// Plays one `echo` under one user's hook, which gives this answer, and returns what the model read.
fn under(event: &str, answer: &str) -> String {
    let scratch = Scratch::new();
    scratch.codex_hooks(&hooks(event, command(&scratch.recorder("hook", answer))));
    let (results, finished) = play(&scratch, [echo()], &[BYPASS_HOOK_TRUST]);
    assert_eq!(results.len(), 1, "one call, one result: {results:?}\n{}", finished.stdout);
    results[0].text.clone()
}

fn ran(said: &str) -> bool {
    said.contains("Output:\nharness-ok")
}

fn say(answer: &Value) -> String {
    format!("echo '{answer}'")
}

fn decide(decision: &str) -> String {
    say(&json!({ "hookSpecificOutput": {
        "hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": "the-reason",
    } }))
}

#[test]
fn every_event_of_a_run_reaches_its_hook() {
    let scratch = Scratch::new();
    let recorder = scratch.recorder("hook", "");
    let names = ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "SessionEnd"];
    let all: Value =
        names.iter().map(|name| ((*name).to_owned(), json!([{ "hooks": [command(&recorder)] }]))).collect();
    scratch.codex_hooks(&json!({ "hooks": all }));
    let failing = Turn::tool("exec_command", json!({ "cmd": "echo no; exit 3", "workdir": "/" }));
    let (results, _) = play(&scratch, [echo(), failing], &[BYPASS_HOOK_TRUST]);
    let told = recorder.told();
    let events: Vec<&str> = told.iter().filter_map(|told| told["hook_event_name"].as_str()).collect();
    let (pre, post) = ("PreToolUse", "PostToolUse");
    assert_eq!(events, ["SessionStart", "UserPromptSubmit", pre, post, pre, post, "Stop", "SessionEnd"]);

    let before = &told[2];
    assert_eq!(
        (&before["tool_name"], &before["tool_input"]),
        (&json!("Bash"), &json!({ "command": "echo harness-ok" }))
    );
    assert_eq!(before["tool_use_id"], results[0].tool_use_id.as_str(), "the model's id");
    assert_eq!(before["cwd"], json!(scratch.project()));
    assert!(before["session_id"].is_string() && before["turn_id"].is_string(), "{before}");
    assert_eq!(told[3]["tool_response"], "harness-ok\n", "a string, and what it ended with is not said");
    assert_eq!(told[5]["tool_response"], "no\n");
    assert_eq!(told[4]["cwd"], "/", "the folder that the model chose for this one command");
    assert_eq!(told[6]["stop_hook_active"], false);
    assert_eq!(told[7]["reason"], "other");
}

#[test]
fn a_denial_blocks_and_its_reason_reaches_the_model() {
    for answer in [decide("deny"), say(&json!({ "decision": "block", "reason": "the-reason" }))] {
        assert_eq!(
            under("PreToolUse", &answer),
            "Command blocked by PreToolUse hook: the-reason. Command: echo harness-ok"
        );
    }
    let said = under("PreToolUse", "echo the-reason >&2; exit 2");
    assert!(!ran(&said) && said.contains("the-reason"), "{said}");
}

/// There is no way to make this client block when a hook fails.
#[test]
fn every_other_answer_and_every_failure_lets_the_call_run() {
    for answer in [
        "exit 1",
        "exit 2",
        "kill -9 $$",
        "exec /no/such/program",
        "",
        "echo nonsense",
        "echo '{\"hookSpecificOutput\": nonsense'",
        &say(&json!({ "continue": false, "stopReason": "the-reason" })),
        &decide("dney"),
        &decide("ask"),
        &decide("allow"),
    ] {
        let said = under("PreToolUse", answer);
        assert!(ran(&said), "{answer}: {said}");
    }
}

#[test]
fn a_slow_hook_lets_the_call_run_after_its_seconds() {
    let scratch = Scratch::new();
    let slow = scratch.recorder("hook", "sleep 60");
    scratch.codex_hooks(&hooks(
        "PreToolUse",
        json!({ "type": "command", "command": slow.command, "timeout": 2 }),
    ));
    let (results, finished) = play(&scratch, [echo()], &[BYPASS_HOOK_TRUST]);
    assert!(ran(&results[0].text), "{results:?}");
    assert!((2..50).contains(&finished.took.as_secs()), "the timeout is in seconds: {:?}", finished.took);
}

#[test]
fn an_allowing_hook_may_change_the_input() {
    let answer = say(&json!({ "hookSpecificOutput": {
        "hookEventName": "PreToolUse", "permissionDecision": "allow", "updatedInput": { "command": "echo changed" },
    } }));
    assert!(under("PreToolUse", &answer).contains("Output:\nchanged"));
}

#[test]
fn after_a_call_a_block_replaces_the_output_and_nothing_else_does() {
    let block = say(&json!({ "decision": "block", "reason": "instead" }));
    let stop = say(&json!({ "continue": false, "stopReason": "instead" }));
    for answer in [&block, &stop, "echo instead >&2; exit 2"] {
        assert_eq!(under("PostToolUse", answer), "instead");
    }
    let specific = |more: Value| {
        let mut answer = json!({ "hookSpecificOutput": { "hookEventName": "PostToolUse" } });
        answer["hookSpecificOutput"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        say(&answer)
    };
    for answer in [
        "exit 1",
        &specific(json!({ "additionalContext": "more" })),
        &specific(json!({ "updatedToolOutput": "instead" })),
        &specific(json!({ "updatedMCPToolOutput": "instead" })),
    ] {
        let said = under("PostToolUse", answer);
        assert!(ran(&said), "{answer}: {said}");
    }
}

#[test]
fn a_patch_reaches_the_hook_as_the_text_it_is() {
    let scratch = Scratch::new();
    let recorder = scratch.recorder("hook", "");
    let hook = json!([{ "hooks": [command(&recorder)] }]);
    scratch.codex_hooks(&json!({ "hooks": { "PreToolUse": hook, "PostToolUse": hook } }));
    let patch = Turn::tool("apply_patch", json!(PATCH));
    let args = [BYPASS_HOOK_TRUST, "-m", "gpt-5.5", "--sandbox", "workspace-write"];
    play(&scratch, [patch], &args);
    let told = recorder.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        (&told[0]["tool_name"], &told[0]["tool_input"]["command"]),
        (&json!("apply_patch"), &json!(PATCH))
    );
    assert!(told[1]["tool_response"].as_str().unwrap().contains("A new.txt"), "{}", told[1]);
    assert_eq!(std::fs::read_to_string(scratch.project().join("new.txt")).unwrap(), "hello\n");
}

#[test]
fn a_stop_hook_can_ask_for_another_turn() {
    let scratch = Scratch::new();
    let go_on =
        "if grep -q '\"stop_hook_active\":true' \"$at.told\"; then exit 0; fi; echo go-on >&2; exit 2";
    let recorder = scratch.recorder("hook", go_on);
    scratch.codex_hooks(&hooks("Stop", command(&recorder)));
    let model = ScriptedModel::start(Script::new([echo(), Turn::text("enough?"), Turn::text("enough")]));
    let options = RunOptions::new(&scratch, model.url()).arg(BYPASS_HOOK_TRUST);
    Codex::find().run(&options).expect_success();
    assert_eq!(recorder.told().len(), 2);
    assert_eq!(recorder.told()[1]["last_assistant_message"], "enough");
    let asked = model.requests().last().unwrap().newest().unwrap().to_string();
    assert!(asked.contains("<hook_prompt") && asked.contains("go-on"), "{asked}");
}

#[test]
fn two_tools_in_one_answer_and_a_sub_agent_have_their_turns() {
    let scratch = Scratch::new();
    let recorder = scratch.recorder("hook", "");
    let hook = json!([{ "hooks": [command(&recorder)] }]);
    scratch.codex_hooks(
        &json!({ "hooks": { "PreToolUse": hook, "SubagentStart": hook, "SubagentStop": hook } }),
    );
    let spawn = Turn::tool("multi_agent_v1__spawn_agent", json!({ "message": "You are helper seven." }));
    let second = Turn::tool("exec_command", json!({ "cmd": "sleep 2" }));
    let main = [spawn, echo().and_tool("exec_command", json!({ "cmd": "echo second" })), second];
    let helper = Turn::tool("exec_command", json!({ "cmd": "echo from-seven" }));
    let script = Script::new(main).conversation("helper seven", [helper]);
    let model = ScriptedModel::start(script);
    let options = RunOptions::new(&scratch, model.url()).arg(BYPASS_HOOK_TRUST);
    Codex::find().run(&options).expect_success();
    let texts: Vec<String> = model.tool_results().into_iter().map(|result| result.text).collect();
    for expected in ["from-seven", "harness-ok", "second"] {
        assert!(texts.iter().any(|text| text.contains(expected)), "{expected}: {texts:?}");
    }
    let told = recorder.told();
    let find = |what: &str| told.iter().find(|told| told["tool_input"]["command"] == what).unwrap();
    assert!(find("echo from-seven")["agent_id"].is_string(), "{told:?}");
    assert!(find("echo harness-ok").get("agent_id").is_none());
    assert_eq!(find("echo from-seven")["session_id"], find("echo harness-ok")["session_id"]);
    assert_eq!(recorder.told_of("SubagentStart").len(), 1);
}

#[test]
fn a_hook_runs_only_once_somebody_has_trusted_exactly_it() {
    let scratch = Scratch::new();
    let recorder = scratch.recorder("hook", "");
    let written = json!({ "hooks": { "PreToolUse": [{ "matcher": "*", "hooks": [command(&recorder)] }] } });
    let file = scratch.codex_hooks(&written);
    let (_, finished) = play(&scratch, [echo()], &[]);
    assert_eq!(recorder.told().len(), 0, "nobody trusted it");
    assert!(!finished.stdout.contains("hook"), "and not a word of it: {}", finished.stdout);

    let listed = Codex::find().hooks(&scratch);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["trustStatus"], "untrusted");
    let key = format!("{}:pre_tool_use:0:0", file.display());
    assert_eq!(listed[0]["key"], key.as_str());
    // Members sorted by name, no blanks; what the file does not say is there with its default.
    let identity = format!(
        r#"{{"event_name":"pre_tool_use","hooks":[{{"async":false,"command":{},"timeout":20,"type":"command"}}],"matcher":"*"}}"#,
        json!(recorder.command)
    );
    let digest: String = Sha256::digest(&identity).iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = format!("sha256:{digest}");
    assert_eq!(listed[0]["currentHash"], hash.as_str());

    scratch.codex_config(&format!("[hooks.state.\"{key}\"]\ntrusted_hash = \"{hash}\"\n"));
    play(&scratch, [echo()], &[]);
    assert_eq!(recorder.told().len(), 1, "the record is all that trust is");
    assert_eq!(Codex::find().hooks(&scratch)[0]["trustStatus"], "trusted");

    let mut changed = written;
    changed["hooks"]["PreToolUse"][0]["hooks"][0]["timeout"] = json!(21);
    scratch.codex_hooks(&changed);
    play(&scratch, [echo()], &[]);
    assert_eq!(recorder.told().len(), 1, "another timeout is another hook");
    assert_eq!(Codex::find().hooks(&scratch)[0]["trustStatus"], "modified");
}

#[test]
fn a_projects_hooks_need_its_project_trusted_as_well() {
    let scratch = Scratch::new();
    let recorder = scratch.recorder("hook", "");
    scratch.write(".codex/hooks.json", hooks("PreToolUse", command(&recorder)).to_string());
    let (_, finished) = play(&scratch, [echo()], &[BYPASS_HOOK_TRUST]);
    assert_eq!(recorder.told().len(), 0);
    assert!(
        finished.stderr.contains("Untrusted project-local configuration is disabled"),
        "{}",
        finished.stderr
    );
    let trusted = format!("[projects.\"{}\"]\ntrust_level = \"trusted\"\n", scratch.project().display());
    scratch.codex_config(&trusted);
    play(&scratch, [echo()], &[BYPASS_HOOK_TRUST]);
    assert_eq!(recorder.told().len(), 1);
    play(&scratch, [echo()], &[]);
    assert_eq!(recorder.told().len(), 1, "a trusted project is not a trusted hook");
}

fn server(scratch: &Scratch, name: &str, more: &str) -> (Hostile, String) {
    let hostile = Hostile::new(&scratch.home(), name);
    let started = hostile.server();
    let toml = format!(
        "[mcp_servers.hostile]\ncommand = \"{}\"\nargs = {}\n{more}\n",
        started.command,
        json!(started.args)
    );
    (hostile, toml)
}

const APPROVED: &str = "default_tools_approval_mode = \"approve\"";

#[test]
fn a_call_of_an_mcp_tool_can_be_joined_with_its_hook() {
    let scratch = Scratch::new();
    let recorder = scratch.recorder("hook", "");
    let hook = json!([{ "hooks": [command(&recorder)] }]);
    scratch.codex_hooks(&json!({ "hooks": { "PreToolUse": hook, "PostToolUse": hook } }));
    let (hostile, toml) = server(&scratch, "hostile", APPROVED);
    scratch.codex_config(&toml);
    let (results, _) =
        play(&scratch, [Turn::tool("mcp__hostile__count", json!({ "n": 1.5 }))], &[BYPASS_HOOK_TRUST]);
    let told = recorder.told();
    assert_eq!(
        (&told[0]["tool_name"], &told[0]["tool_input"]),
        (&json!("mcp__hostile__count"), &json!({ "n": 1.5 }))
    );
    assert_eq!(told[1]["tool_response"]["content"][0]["text"], "1");
    let lines: Vec<Value> =
        hostile.lines().iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(lines[0]["params"]["protocolVersion"], "2025-06-18");
    assert!(lines[0]["params"]["capabilities"]["elicitation"].is_object());
    let meta = &lines.last().unwrap()["params"]["_meta"];
    assert_eq!(meta["callId"], told[0]["tool_use_id"], "the hook's id of the call");
    assert_eq!(meta["callId"], results[0].tool_use_id.as_str());
    assert_eq!(meta["sessionId"], told[0]["session_id"]);
    assert!(meta["progressToken"].is_u64(), "{meta}");
}

#[test]
fn an_mcp_tool_needs_an_approval_that_no_pre_tool_hook_can_give() {
    let call = || Turn::tool("mcp__hostile__count", json!({}));
    let scratch = Scratch::new();
    let (hostile, toml) = server(&scratch, "hostile", "");
    scratch.codex_config(&toml);
    scratch.codex_hooks(&hooks("PreToolUse", command(&scratch.recorder("pre", &decide("allow")))));
    let (results, _) = play(&scratch, [call()], &[BYPASS_HOOK_TRUST]);
    assert!(results[0].text.contains("requires approval"), "{results:?}");
    assert_eq!(hostile.calls("count"), 0);
    let answer = say(&json!({ "hookSpecificOutput": {
        "hookEventName": "PermissionRequest", "decision": { "behavior": "allow" },
    } }));
    scratch.codex_hooks(&hooks("PermissionRequest", command(&scratch.recorder("permission", &answer))));
    play(&scratch, [call()], &[BYPASS_HOOK_TRUST]);
    assert_eq!(hostile.calls("count"), 1);
}

#[test]
fn a_trusted_projects_server_replaces_the_users_of_that_name() {
    let scratch = Scratch::new();
    let (users, toml) = server(&scratch, "users", APPROVED);
    let (projects, project_toml) = server(&scratch, "projects", APPROVED);
    scratch.codex_config(&toml);
    scratch.write(".codex/config.toml", &project_toml);
    let call = || Turn::tool("mcp__hostile__count", json!({}));
    play(&scratch, [call()], &[]);
    assert_eq!((users.calls("count"), projects.calls("count")), (1, 0), "not while the project is untrusted");
    let trust = format!("[projects.\"{}\"]\ntrust_level = \"trusted\"\n", scratch.project().display());
    scratch.codex_config(&format!("{toml}\n{trust}"));
    play(&scratch, [call()], &[]);
    assert_eq!((users.calls("count"), projects.calls("count")), (1, 1));
}

#[test]
fn a_calls_time_limit_is_in_seconds_and_progress_does_not_move_it() {
    let scratch = Scratch::new();
    let (hostile, toml) = server(&scratch, "hostile", &format!("{APPROVED}\ntool_timeout_sec = 2"));
    scratch.codex_config(&toml);
    let slow = Turn::tool("mcp__hostile__slow", json!({ "seconds": 30, "beat": 0.3 }));
    let (results, finished) = play(&scratch, [slow], &[]);
    assert!(results[0].text.contains("timed out awaiting tools/call after 2s"), "{results:?}");
    assert!(finished.took < Duration::from_secs(25), "{:?}", finished.took);
    let cancelled = |line: &Vec<u8>| String::from_utf8_lossy(line).contains("notifications/cancelled");
    assert!(hostile.lines().iter().any(cancelled));
}

#[test]
fn what_a_server_asks_is_answered_without_a_person() {
    let scratch = Scratch::new();
    let (_, toml) = server(&scratch, "hostile", APPROVED);
    scratch.codex_config(&toml);
    let turns =
        ["elicits", "samples", "roots"].map(|tool| Turn::tool(format!("mcp__hostile__{tool}"), json!({})));
    let (results, _) = play(&scratch, turns, &[]);
    for (result, holds) in results.iter().zip(["\"decline\"", "-32601", "\"roots\":[]"]) {
        assert!(result.text.contains(holds), "{holds}: {result:?}");
    }
}
