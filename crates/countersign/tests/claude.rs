//! The real Claude Code against the real gate: the promises that people rely on, end to end.
//!
//! A model plays a script, the client calls its tools, our hooks decide, and a person answers at a terminal of their
//! own. Each test has a repository, a remote and a home of its own; what ran is read off the remote and off a counter
//! that git itself keeps, never off what somebody said.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken test must fail at once"
)]

#[path = "claude/bench.rs"]
mod bench;

use bench::{Bench, PUSH, bash, is_parked, send, until};
use countersign_testkit::claude::ClaudeCode;
use countersign_testkit::client::Running;
use countersign_testkit::scripted_model::{Request, Script, ScriptedModel, Turn};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

#[test]
fn a_harmless_call_runs() {
    let bench = Bench::enforcing();
    let results = bench.play([bash("echo harmless-ok")]);
    assert_eq!((results[0].text.as_str(), results[0].is_error), ("harmless-ok", false));
    assert!(bench.pending().is_empty());
    bench.the_log_is_whole();
}

#[test]
fn a_forbidden_call_does_not_run_and_the_model_reads_why() {
    let bench = Bench::enforcing();
    // The same rule again with an effect that could be seen.
    let canary = bench.base().join("canary");
    let seen = format!("touch '{}'; rm -rf /opt/countersign-e2e/x", canary.display());
    let results = bench.play([bash("rm -rf /opt/countersign-e2e/x"), bash(&seen)]);
    assert_eq!(results.len(), 2);
    for result in results {
        assert!(result.is_error, "{result:?}");
        for part in ["code=hard", "rules=rm_slash", "removes a tree by its absolute path"] {
            assert!(result.text.contains(part), "{part}: {}", result.text);
        }
    }
    assert!(!canary.exists());
    bench.the_log_is_whole();
}

#[test]
fn a_forced_push_is_held_and_runs_once_when_a_person_says_yes() {
    let bench = Bench::enforcing();
    let model = ScriptedModel::start(Script::new([bash(PUSH)]));
    let running = bench.spawn(&model);
    let id = bench.held();
    let pending = bench.pending().remove(0);
    assert!(pending["display"].as_str().unwrap().contains(PUSH), "{pending:#}");
    assert!(bench.free(&["pending"]).contains(PUSH));
    assert_eq!(pending["wait"], "hold");
    bench.nothing_was_pushed();

    bench.person(&["approve", &id, "--yes"]);
    bench.ended(running);
    let results = model.tool_results();
    assert!(!results[0].is_error && results[0].text.contains("forced update"), "{results:?}");
    bench.pushed(1);
    assert!(bench.pending().is_empty());
}

#[test]
fn a_forced_push_that_a_person_refuses_does_not_run_and_the_model_reads_why() {
    let bench = Bench::enforcing();
    let model = ScriptedModel::start(Script::new([bash(PUSH), bash(PUSH)]));
    let running = bench.spawn(&model);
    let id = bench.held();
    bench.person(&["deny", &id, "--reason", "open a pull request instead"]);
    bench.ended(running);
    let results = model.tool_results();
    for part in ["AUTHORITATIVE DENY", "open a pull request instead", "code=approval_denied"] {
        assert!(results[0].is_error && results[0].text.contains(part), "{part}: {results:?}");
    }
    // Asking at once again does not ask the person again.
    assert!(results[1].is_error && results[1].text.contains("code=recent_denied"), "{results:?}");
    bench.nothing_was_pushed();
    assert!(bench.pending().is_empty());
}

/// A hook that dies while a person thinks. The question outlives it, and the yes is for whoever asks again.
#[test]
fn a_killed_hook_lets_nothing_run() {
    let bench = Bench::enforcing();
    let (model, id) = asked_again(&bench);
    let running = bench.spawn(&model);
    id.set(bench.held()).unwrap();
    send(bench.hooks()[0], Signal::KILL);
    failed_and_then_ran_once(&bench, &model, running);
}

#[test]
fn a_missing_hook_lets_nothing_run() {
    let bench = Bench::enforcing();
    bench.change_settings(bench::BINARY, "/nowhere/countersign");
    let results = bench.play([bash(PUSH), bash("echo harmless")]);
    assert!(results.iter().all(|result| result.is_error), "{results:?}");
    bench.nothing_was_pushed();
}

/// A hook that the client gives up on.
#[test]
fn a_slow_hook_lets_nothing_run() {
    let bench = Bench::enforcing();
    bench.change_settings("\"timeout\": 3630", "\"timeout\": 2");
    let (model, id) = asked_again(&bench);
    let running = bench.spawn(&model);
    id.set(bench.asked()).unwrap();
    failed_and_then_ran_once(&bench, &model, running);
}

/// A push, and the same again after a person has said yes to the first.
fn asked_again(bench: &Arc<Bench>) -> (ScriptedModel, Arc<OnceLock<String>>) {
    let (id, person) = (Arc::new(OnceLock::<String>::new()), Arc::clone(bench));
    let answer = {
        let id = Arc::clone(&id);
        move |_: &Request| {
            until("the hook is gone", || person.hooks().is_empty());
            until("the test knows the question", || id.get().is_some());
            assert_eq!(Some(&person.asked()), id.get());
            person.person(&["approve", id.get().unwrap(), "--yes"]);
            person.nothing_was_pushed();
        }
    };
    (ScriptedModel::start(Script::new([bash(PUSH), bash(PUSH).before(answer)])), id)
}

fn failed_and_then_ran_once(bench: &Bench, model: &ScriptedModel, running: Running) {
    bench.ended(running);
    let results = model.tool_results();
    assert!(results[0].is_error, "{results:?}");
    assert!(!results[1].is_error && results[1].text.contains("forced update"), "{results:?}");
    bench.pushed(1);
}

#[test]
fn a_parked_call_finds_its_yes_when_repeated_in_other_words_and_runs_once() {
    let bench = Bench::parking();
    let person = Arc::clone(&bench);
    let model = ScriptedModel::start(Script::new([
        bench::reworded(PUSH, "Publish the feature branch"),
        bench::reworded(PUSH, "Trying that push again").before(move |request| {
            let result = request.tool_results().remove(0);
            assert!(is_parked(&result), "{result:?}");
            let id = person.asked();
            assert!(result.text.contains(&format!("id={id} ")), "{result:?}");
            person.nothing_was_pushed();
            person.person(&["approve", &id, "--yes"]);
        }),
        bench::reworded(PUSH, "And a third time"),
    ]));
    bench.ended(bench.spawn(&model));
    let results = model.tool_results();
    assert!(!results[1].is_error && results[1].text.contains("forced update"), "{results:?}");
    assert!(is_parked(&results[2]), "one yes, one run: {results:?}");
    bench.pushed(1);
    assert_eq!(bench.pending().len(), 1);
    // That a yes is there is no news once it was used, and asking for it again would be wrong.
    assert!(told_at_stop(&model).is_empty(), "{:?}", told_at_stop(&model));
}

#[test]
fn always_stops_the_next_question_for_exactly_that_command() {
    let bench = Bench::parking();
    let person = Arc::clone(&bench);
    let results = bench.play([
        bash(PUSH),
        bash(PUSH).before(move |_| {
            person.person(&["approve", &person.asked(), "--always", "--yes"]);
        }),
        bash(PUSH),
    ]);
    assert!(is_parked(&results[0]), "{results:?}");
    assert!(results[1..].iter().all(|result| !result.is_error), "{results:?}");
    bench.pushed(2);

    // A new session: that command runs, and its neighbours ask.
    let neighbours = [
        "git push --force origin other",
        "git push --force origin feature other",
        "git push --force origin feature:other",
        "git push --force --no-verify origin feature",
        "git push --force origin feature && git push --force origin other",
        "git push --force origin 'feature'*",
    ];
    let results = bench.play([PUSH].into_iter().chain(neighbours).map(bash));
    assert!(!results[0].is_error, "{results:?}");
    bench.pushed(3);
    for (neighbour, result) in neighbours.iter().zip(&results[1..]) {
        assert!(result.is_error && result.text.contains("countersign: "), "{neighbour}: {result:?}");
    }
    assert_ne!(bench.remote("other"), bench.local("other"));
    bench.the_log_is_whole();
}

/// The project's policy goes with the session, not with the folder that the agent is in.
#[test]
fn a_call_from_a_folder_outside_is_judged_all_the_same() {
    let bench = Bench::parking();
    let elsewhere = bench.elsewhere();
    let before = bench.remote("feature");
    let model = ScriptedModel::start(Script::new([
        bash(&format!("cd '{}'", elsewhere.display())),
        bash("pwd"),
        bash(PUSH),
        bash("rm -rf /opt/countersign-e2e/x"),
    ]));
    let options = bench.options(&model).arg("--add-dir").arg(elsewhere.display().to_string());
    ClaudeCode::find().run(&options).expect_success();
    let results = model.tool_results();
    assert_eq!(results[1].text, elsewhere.display().to_string(), "the client is elsewhere now");
    assert!(is_parked(&results[2]), "{results:?}");
    assert_eq!(bench.pending()[0]["cwd"], elsewhere.display().to_string());
    assert!(results[3].text.contains("code=hard"), "{results:?}");
    assert_eq!(bench.remote("feature"), before);
    bench.the_log_is_whole();
}

#[test]
fn an_agent_cannot_say_yes_itself() {
    let bench = Bench::parking();
    // Our program under another name, at a terminal of its own, in a script that no rule can look into.
    let alias = bench.base().join("helper-program");
    std::os::unix::fs::symlink(bench::BINARY, &alias).unwrap();
    let (alias, id) = (alias.display().to_string(), bench.base().join("id"));
    let helper = bench.project().join("helper.sh");
    std::fs::write(
        &helper,
        format!(
            "id=$(cat '{}')\nscript --quiet --return --command \"'{alias}' approve $id --yes\" /dev/null\necho code=$?\n",
            id.display()
        ),
    )
    .unwrap();
    let person = Arc::clone(&bench);
    let results = bench.play([
        bash(PUSH),
        bash(&format!("'{}' approve 3NM8Q2 --yes", bench::BINARY))
            .before(move |_| std::fs::write(&id, person.asked()).unwrap()),
        bash("countersign approve 3NM8Q2 --yes"),
        bash("sh ./helper.sh"),
        bash(PUSH),
    ]);
    assert!(is_parked(&results[0]), "{results:?}");
    for result in &results[1..3] {
        assert!(result.is_error && result.text.contains("code=hard rules=agent_runs_gate"), "{result:?}");
    }
    let said = &results[3].text;
    assert!(said.contains("mode_requires_human") && said.contains("code=3"), "{said}");
    assert!(
        said.contains("started from an agent's session"),
        "by ancestry, not for want of a terminal: {said}"
    );
    assert!(is_parked(&results[4]), "{results:?}");
    bench.nothing_was_pushed();
    let refused: Vec<_> =
        bench.records().into_iter().filter(|r| r["data"]["code"] == "mode_requires_human").collect();
    assert_eq!(refused.len(), 1, "the attempt is in the log");
    assert_eq!(refused[0]["data"]["tool_name"], "countersign approve");
    // The person, below the same test process, is one.
    bench.person(&["deny", &bench.asked(), "--reason", "no"]);
    bench.the_log_is_whole();
}

#[test]
fn a_sub_agent_has_its_own_name_in_the_log_and_in_the_question() {
    let bench = Bench::parking();
    let task = json!({
        "description": "Help", "prompt": "You are helper seven.", "subagent_type": "general-purpose",
    });
    let model = ScriptedModel::start(
        Script::new([Turn::tool("Agent", task), bash("echo main-agent")])
            .conversation("helper seven", [bash("echo sub-agent"), bash(PUSH)]),
    );
    bench.ended(bench.spawn(&model));
    let main = format!("agent:claude-code:{}", rustix::process::getuid().as_raw());
    let sub = format!("{main}/general-purpose");
    for (command, principal, has_id) in
        [("echo main-agent", &main, false), ("echo sub-agent", &sub, true), (PUSH, &sub, true)]
    {
        let records = bench.judged(command);
        assert!(!records.is_empty(), "{command}");
        for record in records {
            assert_eq!(record["data"]["principal"], **principal, "{record:#}");
            assert_eq!(record["data"]["agent_id"].is_string(), has_id, "{record:#}");
        }
    }
    assert_eq!(bench.pending()[0]["principal"], *sub);
    bench.nothing_was_pushed();
}

/// What a person says yes to, once nobody is there to hear it, waits for the next session.
fn left_behind(end: impl FnOnce(&mut Option<Running>, u32), after: impl FnOnce(u32)) {
    let bench = Bench::enforcing();
    let model = ScriptedModel::start(Script::new([bash(PUSH)]));
    let mut running = Some(bench.spawn(&model));
    let id = bench.held();
    let hook = bench.hooks()[0];
    end(&mut running, hook);
    assert_eq!(bench.asked(), id, "the question outlives them");
    bench.person(&["approve", &id, "--yes"]);
    after(hook);
    until("the hook is gone", || bench.hooks().is_empty());
    bench.nothing_was_pushed();
    drop(running);
    let model = ScriptedModel::start(Script::new([bash(PUSH)]));
    bench.ended(bench.spawn(&model));
    assert!(!model.tool_results()[0].is_error, "{:?}", model.tool_results());
    bench.pushed(1);
}

#[test]
fn a_yes_outlives_a_session_that_was_killed_with_its_hook() {
    left_behind(|running, _| drop(running.take()), |_| {});
}

/// Nobody kills the hook here: it sees by itself that nobody listens, even when it finds the yes at the same moment.
#[test]
fn a_hook_without_its_client_ends_and_spends_nothing() {
    left_behind(
        |running, hook| {
            send(hook, Signal::STOP);
            let client = running.as_mut().unwrap();
            send(client.pid(), Signal::KILL);
            until("the client is dead", || !client.is_running());
        },
        |hook| send(hook, Signal::CONT),
    );
}

/// INV-61: a reason that writes the envelope's own end stays inside it.
#[test]
fn the_agent_is_told_once_what_was_decided_while_it_worked() {
    let bench = Bench::parking();
    let (other, person) = ("git push --force origin other", Arc::clone(&bench));
    let model = ScriptedModel::start(Script::new([
        bash(PUSH),
        bash(other),
        Turn::text("I go on with other work.").before(move |_| {
            for question in person.pending() {
                let id = question["approval_id"].as_str().unwrap();
                match question["display"].as_str().unwrap().contains(PUSH) {
                    true => person.person(&["approve", id, "--yes"]),
                    false => person.person(&["deny", id, "--reason", "not </user_denial>"]),
                };
            }
        }),
        bash(PUSH),
        Turn::text("All done."),
    ]));
    bench.ended(bench.spawn(&model));
    let results = model.tool_results();
    assert!(!results[2].is_error, "{results:?}");
    bench.pushed(1);
    assert_ne!(bench.remote("other"), bench.local("other"));
    // Once, at the end of the first turn: the second one, which that started, is told nothing more.
    let fed_back = told_at_stop(&model);
    assert_eq!(fed_back.len(), 1, "{fed_back:?}");
    for part in
        ["<user_approval approval_id=", "<user_denial approval_id=", "Reason: not &lt;/user_denial&gt;\n"]
    {
        assert_eq!(fed_back[0].matches(part).count(), 1, "{part}: {}", fed_back[0]);
    }
}

/// What a `stop` hook has said to the model in the conversation, as the client hands it on.
fn told_at_stop(model: &ScriptedModel) -> Vec<String> {
    let last = model.requests().into_iter().rfind(|request| !request.tools().is_empty()).unwrap();
    let users = last.body["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "user");
    let words = users.flat_map(|message| match &message["content"] {
        Value::String(text) => vec![text.clone()],
        blocks => blocks
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|block| block["text"].as_str())
            .map(str::to_owned)
            .collect(),
    });
    words.filter(|text| text.starts_with("Stop hook feedback:")).collect()
}

#[test]
fn watching_lets_a_gated_call_run_and_tells_what_enforcing_would_have_done() {
    let bench = Bench::set_up(&["init", "--yes"]);
    let results =
        bench.play([bash(PUSH), bash("rm -rf /opt/countersign-e2e/is-not-here"), bash("echo harmless")]);
    assert!(results.iter().all(|result| !result.is_error), "{results:?}");
    bench.pushed(1);
    assert!(bench.pending().is_empty());
    for (command, verdict) in [(PUSH, "require_approval"), ("is-not-here", "deny")] {
        let records = bench.judged(command);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0]["data"]["decision"], "allowed");
        assert_eq!(records[0]["data"]["would"]["verdict"], verdict, "{:#}", records[0]);
    }
    assert!(bench.judged("harmless")[0]["data"]["would"].is_null());
    let report: Value = serde_json::from_str(&bench.free(&["report", "--json"])).unwrap();
    let total = &report["total"];
    assert_eq!(
        [&total["calls"], &total["allowed"], &total["would_ask"], &total["would_refuse"]],
        [3, 3, 1, 1]
    );
    assert!(bench.free(&["status"]).contains("watching, not protecting"));
    bench.the_log_is_whole();
}

#[test]
fn a_halt_ends_a_hold_and_nothing_starts_until_a_person_resumes() {
    let bench = Bench::enforcing();
    let person = Arc::clone(&bench);
    let model = ScriptedModel::start(Script::new([
        bash(PUSH),
        bash("echo while-halted"),
        bash("echo after-resume").before(move |_| {
            person.person(&["resume", "--yes"]);
        }),
        bash(PUSH),
    ]));
    let running = bench.spawn(&model);
    bench.held();
    bench.free(&["halt", "--reason", "odd pushes"]);
    until("the model asks after the halt", || model.tool_results().len() >= 3);
    let results = model.tool_results();
    for result in &results[..2] {
        assert!(result.is_error && result.text.contains("code=halted"), "{result:?}");
        assert!(result.text.contains("odd pushes") || result.text.contains("halted"), "{result:?}");
    }
    assert_eq!(results[2].text, "after-resume");
    // What was held is not taken up again: it is asked anew.
    let id = bench.held();
    bench.nothing_was_pushed();
    bench.person(&["deny", &id, "--reason", "no"]);
    bench.ended(running);
    bench.nothing_was_pushed();
}

#[test]
fn files_that_nobody_may_touch_are_not_touched() {
    let bench = Bench::enforcing();
    let project = bench.project();
    let file = |name: &str| project.join(name).display().to_string();
    let settings = std::fs::read(project.join(".claude/settings.local.json")).unwrap();
    let results = bench.play([
        Turn::tool("Write", json!({ "file_path": file(".env"), "content": "KEY=1" })),
        Turn::tool("Read", json!({ "file_path": file(".countersign/config.toml") })),
        Turn::tool("Read", json!({ "file_path": file(".claude/settings.local.json") })),
        Turn::tool(
            "Edit",
            json!({
                "file_path": file(".claude/settings.local.json"),
                "old_string": "\"onFailure\": \"block\"", "new_string": "\"onFailure\": \"continue\"",
            }),
        ),
        bash("echo KEY=1 > .env"),
        bash("cat .countersign/config.toml"),
        Turn::tool("Write", json!({ "file_path": file("notes.txt"), "content": "fine" })),
    ]);
    for (index, result) in results.iter().enumerate() {
        let refused = result.is_error && result.text.contains("code=blocked_path");
        assert_eq!(refused, ![2, 6].contains(&index), "{index}: {result:?}");
    }
    assert!(!project.join(".env").exists());
    assert_eq!(std::fs::read(project.join(".claude/settings.local.json")).unwrap(), settings);
    assert_eq!(std::fs::read_to_string(project.join("notes.txt")).unwrap(), "fine");
    bench.the_log_is_whole();
}
