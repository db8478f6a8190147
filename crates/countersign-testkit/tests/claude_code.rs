//! The harness proves itself with the real Claude Code, and the facts that the product relies on are tried here:
//! what this very version does with hooks that fail. No hook of ours is involved.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a surprise is a failure"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign_testkit::claude::ClaudeCode;
use countersign_testkit::client::{Finished, RunOptions, Scratch};
use countersign_testkit::mcp::hostile::Hostile;
use countersign_testkit::scripted_model::{Script, ScriptedModel, ToolResult, Turn};
use serde_json::{Value, json};

fn echo() -> Turn {
    Turn::tool("Bash", json!({ "command": "echo harness-ok", "description": "Say so" }))
}

/// Plays one `echo` under these settings and returns what the model read.
fn play(scratch: &Scratch, settings: &Value) -> (ToolResult, Finished) {
    scratch.settings(settings);
    let model = ScriptedModel::start(Script::new([echo()]));
    let finished = ClaudeCode::find().run(&RunOptions::new(scratch, model.url()));
    finished.expect_success();
    let results = model.tool_results();
    assert_eq!(results.len(), 1, "one call, one result: {results:?}\n{}", finished.stdout);
    (results.into_iter().next().unwrap(), finished)
}

fn hooked(hook: Value) -> Value {
    json!({
        "permissions": { "allow": ["Bash"] },
        "hooks": { "PreToolUse": [{ "matcher": "*", "hooks": [hook] }] },
    })
}

#[test]
fn a_tool_call_runs_and_its_result_comes_back() {
    let (result, _) = play(&Scratch::new(), &json!({ "permissions": { "allow": ["Bash"] } }));
    assert_eq!((result.text.as_str(), result.is_error), ("harness-ok", false));
}

#[test]
fn a_failing_hook_lets_the_call_run_unless_told_to_block() {
    let scratch = Scratch::new();
    let hook = scratch.script("hook", "exit 1");
    let open = json!({ "type": "command", "command": hook, "timeout": 20 });
    let (result, _) = play(&scratch, &hooked(open));
    assert_eq!(result.text, "harness-ok", "this is why `init` writes onFailure");

    let closed = json!({ "type": "command", "command": hook, "timeout": 20, "onFailure": "block" });
    let (result, _) = play(&scratch, &hooked(closed));
    assert!(result.is_error && !result.text.contains("harness-ok"), "{result:?}");
}

#[test]
fn with_on_failure_every_way_to_fail_blocks() {
    let scratch = Scratch::new();
    for (name, body) in
        [("exits-3", "exit 3"), ("dies", "kill -9 $$"), ("cannot-start", "exec /no/such/program")]
    {
        let hook = scratch.script(name, body);
        let hook =
            json!({ "type": "command", "command": hook, "args": [], "timeout": 20, "onFailure": "block" });
        let (result, _) = play(&scratch, &hooked(hook));
        assert!(result.is_error && !result.text.contains("harness-ok"), "{name}: {result:?}");
    }
    let missing =
        json!({ "type": "command", "command": "/no/such/hook", "args": ["x"], "onFailure": "block" });
    let (result, _) = play(&scratch, &hooked(missing));
    assert!(result.is_error && !result.text.contains("harness-ok"), "{result:?}");
}

/// What does not begin and parse as JSON is taken for plain words and no failure, so `onFailure` does not apply. A hook
/// must therefore never exit 0 unless its whole answer has been written. JSON of the wrong shape is a failure.
#[test]
fn a_hook_that_says_nothing_or_nonsense_and_exits_zero_lets_the_call_run() {
    let scratch = Scratch::new();
    for (name, body) in [
        ("silent", "cat >/dev/null"),
        ("garbled", "echo '{\"hookSpecificOutput\": nonsense'"),
        (
            "mistaken",
            "echo '{\"hookSpecificOutput\":{\"hookEventName\":\"PreToolUse\",\"permissionDecision\":\"dney\"}}'",
        ),
    ] {
        let hook = scratch.script(name, body);
        let hook = json!({ "type": "command", "command": hook, "timeout": 20, "onFailure": "block" });
        let (result, _) = play(&scratch, &hooked(hook));
        assert_eq!(result.text == "harness-ok", name != "mistaken", "{name}: {result:?}");
    }
}

#[test]
fn exit_two_blocks_and_its_error_text_reaches_the_model() {
    let scratch = Scratch::new();
    let hook = scratch.script("hook", "echo 'because of this' >&2; exit 2");
    let (result, _) = play(&scratch, &hooked(json!({ "type": "command", "command": hook })));
    assert!(result.is_error && result.text.contains("because of this"), "{result:?}");
}

#[test]
fn a_slow_hook_is_ended_after_its_seconds_and_blocks() {
    let scratch = Scratch::new();
    let told = scratch.project().with_file_name("told");
    let hook = scratch
        .script("hook", &format!("trap 'echo TERM > {}; exit 0' TERM; sleep 60 & wait", told.display()));
    let slow = json!({ "type": "command", "command": hook, "timeout": 2, "onFailure": "block" });
    let (result, finished) = play(&scratch, &hooked(slow));
    assert!(result.is_error && !result.text.contains("harness-ok"), "{result:?}");
    assert_eq!(
        std::fs::read_to_string(&told).unwrap(),
        "TERM\n",
        "the hook is asked to go before it is killed"
    );
    assert!(finished.took.as_secs() < 50, "the timeout is in seconds: {:?}", finished.took);
}

#[test]
fn a_hook_may_be_given_as_program_and_arguments() {
    let scratch = Scratch::new();
    let seen = scratch.project().with_file_name("seen");
    let hook = scratch
        .script("hook", &format!("cat > '{0}.in'; printf '%s|' \"$#\" \"$@\" > '{0}'", seen.display()));
    let exec =
        json!({ "type": "command", "command": hook, "args": ["a b", "$HOME", "c;d"], "onFailure": "block" });
    let (result, _) = play(&scratch, &hooked(exec));
    assert_eq!(result.text, "harness-ok");
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "3|a b|$HOME|c;d|", "no shell reads the arguments");
    let input: Value = serde_json::from_slice(&std::fs::read(seen.with_extension("in")).unwrap()).unwrap();
    assert_eq!(input["tool_name"], "Bash");
    assert_eq!(
        input["tool_use_id"],
        result.tool_use_id.as_str(),
        "the model's id, so that both ends can be joined"
    );
}

#[test]
fn a_test_can_act_between_two_turns_and_sub_agents_have_their_own_script() {
    let scratch = Scratch::new();
    scratch.settings(&json!({ "permissions": { "allow": ["Bash", "Agent"] } }));
    let between = Arc::new(Mutex::new(Vec::new()));
    let model = ScriptedModel::start(
        Script::new([
            Turn::tool(
                "Agent",
                json!({ "description": "Help", "prompt": "You are helper seven.", "subagent_type": "general-purpose" }),
            ),
            echo().before({
                let between = Arc::clone(&between);
                move |request| between.lock().unwrap().extend(request.tool_results())
            }),
            echo().and_tool("Bash", json!({ "command": "echo second", "description": "Say more" })),
        ])
        .conversation("helper seven", [Turn::tool("Bash", json!({ "command": "echo from-seven", "description": "x" }))]),
    );
    let running = ClaudeCode::find().spawn(&RunOptions::new(&scratch, model.url()));
    running.wait_for(|line| line["type"] == "assistant");
    running.wait().expect_success();
    assert!(!between.lock().unwrap().is_empty());
    let texts: Vec<String> = model.tool_results().into_iter().map(|result| result.text).collect();
    for expected in ["from-seven", "harness-ok", "second"] {
        assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:?}");
    }
}

#[test]
fn a_hook_that_hangs_ends_with_its_run() {
    let scratch = Scratch::new();
    let at_work = scratch.project().with_file_name("at-work");
    let hook = scratch
        .script("hook", &format!("echo $$ > '{0}.new'; mv '{0}.new' '{0}'; sleep 300", at_work.display()));
    scratch.settings(&hooked(json!({ "type": "command", "command": hook, "timeout": 300 })));
    let model = ScriptedModel::start(Script::new([echo()]));
    let options = RunOptions::new(&scratch, model.url());
    let mut running = ClaudeCode::find().spawn(&options);
    until("the hook is at work", || at_work.exists());
    assert!(running.is_running());
    let hook = std::path::Path::new("/proc").join(std::fs::read_to_string(&at_work).unwrap().trim());
    drop(running);
    until("the hook is gone", || !hook.exists());

    let finished = ClaudeCode::find().run(&options.time_limit(Duration::from_secs(1)));
    assert!(finished.timed_out && !finished.success());
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A scripted call of an MCP tool: what the model read, and what reached the server.
fn call_mcp(scratch: &Scratch, turn: Turn, env: &[(&str, &str)]) -> (ToolResult, Hostile) {
    let hostile = Hostile::new(&scratch.home(), "hostile");
    scratch.settings(&json!({ "permissions": { "allow": ["mcp__hostile"] } }));
    let servers = scratch
        .write("mcp.json", json!({ "mcpServers": { "hostile": hostile.server().json() } }).to_string());
    let model = ScriptedModel::start(Script::new([turn]));
    let options = RunOptions::new(scratch, model.url())
        .arg("--mcp-config")
        .arg(servers.display().to_string())
        .arg("--strict-mcp-config");
    let options = env.iter().fold(options, |options, (name, value)| options.env(*name, *value));
    ClaudeCode::find().run(&options).expect_success();
    (model.tool_results().remove(0), hostile)
}

#[test]
fn a_call_of_an_mcp_tool_carries_the_hooks_id_of_it() {
    let scratch = Scratch::new();
    let (result, hostile) = call_mcp(&scratch, Turn::tool("mcp__hostile__count", json!({ "n": 1.5 })), &[]);
    assert_eq!(result.text, "1");
    let last: Value = serde_json::from_slice(hostile.lines().last().unwrap()).unwrap();
    assert_eq!(last["params"]["_meta"]["claudecode/toolUseId"], result.tool_use_id.as_str());
    assert!(last["params"]["_meta"]["progressToken"].is_u64(), "{last}");
}

#[test]
fn a_calls_time_limit_is_in_milliseconds_and_progress_does_not_move_it() {
    let scratch = Scratch::new();
    let slow = Turn::tool("mcp__hostile__slow", json!({ "seconds": 60, "beat": 0.3 }));
    let (result, hostile) = call_mcp(&scratch, slow, &[("MCP_TOOL_TIMEOUT", "2000")]);
    assert!(result.is_error && result.text.contains("timed out after 2s"), "{result:?}");
    assert!(
        hostile.lines().iter().any(|line| String::from_utf8_lossy(line).contains("notifications/cancelled"))
    );
}
