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

use bench::{Bench, PUSH, bash, is_parked, kill, until};
use countersign_testkit::claude::Running;
use countersign_testkit::scripted_model::{Request, Script, ScriptedModel};
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
    kill(bench.hooks()[0]);
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
    let results = bench.play([
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
    ]);
    assert!(!results[1].is_error && results[1].text.contains("forced update"), "{results:?}");
    assert!(is_parked(&results[2]), "one yes, one run: {results:?}");
    bench.pushed(1);
    assert_eq!(bench.pending().len(), 1);
    bench.the_log_is_whole();
}
