//! The harness proves itself with the real Claude Code, and the facts that the product relies on are tried here:
//! what this very version does with hooks that fail. No hook of ours is involved.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a surprise is a failure"
)]

use std::sync::{Arc, Mutex};

use countersign_testkit::claude::{ClaudeCode, Finished, RunOptions, Scratch};
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
    eprintln!("blocked result: {result:?}");
    assert!(result.is_error && !result.text.contains("harness-ok"), "{result:?}");
}

#[test]
fn a_slow_hook_is_ended_after_its_seconds_and_blocks() {
    let scratch = Scratch::new();
    let hook = scratch.script("hook", "exec sleep 60");
    let slow = json!({ "type": "command", "command": hook, "timeout": 2, "onFailure": "block" });
    let (result, finished) = play(&scratch, &hooked(slow));
    eprintln!("slow result: {result:?} took {:?}", finished.took);
    assert!(result.is_error && !result.text.contains("harness-ok"), "{result:?}");
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
    eprintln!("hook input: {input}");
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
    eprintln!("texts: {texts:#?}");
    for expected in ["from-seven", "harness-ok", "second"] {
        assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:?}");
    }
}
