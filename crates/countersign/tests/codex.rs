//! The real Codex CLI against the real gate. A model plays a script, Codex calls its tools, our hooks decide, and a
//! person answers at a terminal of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken test must fail at once"
)]

#[path = "clients/bench.rs"]
mod bench;

use bench::{ASKED, Bench, MADE, REFUSED};
use countersign_testkit::client::Running;
use countersign_testkit::codex::{BYPASS_HOOK_TRUST, Codex};
use countersign_testkit::mcp::Server;
use countersign_testkit::scripted_model::{Request, Script, ScriptedModel, ToolResult, Turn};
use serde_json::{Value, json};

const HOOKS: &str = ".codex/hooks.json";
/// A model that Codex knows gets the tool for patches.
const KNOWN_MODEL: &str = "gpt-5.5";

fn shell(line: &str) -> Turn {
    Turn::tool("exec_command", json!({ "cmd": line }))
}

fn patch(body: &str) -> Turn {
    Turn::tool("apply_patch", json!(format!("*** Begin Patch\n{body}\n*** End Patch\n")))
}

/// Set up, in a project that Codex trusts.
fn set_up() -> Bench {
    let bench = Bench::new();
    bench.free(&["init", "--enforce", "--yes", "--client", "codex"]);
    trust_project(&bench, "");
    bench
}

fn trust_project(bench: &Bench, more: &str) {
    let root = bench.project().display().to_string();
    bench.scratch.codex_config(&format!("{more}\n[projects.{root:?}]\ntrust_level = \"trusted\"\n"));
}

fn spawn(bench: &Bench, model: &ScriptedModel, args: &[&str]) -> Running {
    let options =
        bench.options(model).arg(BYPASS_HOOK_TRUST).arg("--dangerously-bypass-approvals-and-sandbox");
    Codex::find().spawn(&args.iter().fold(options, |options, arg| options.arg(*arg)))
}

fn play(bench: &Bench, turns: impl IntoIterator<Item = Turn>, args: &[&str]) -> Vec<ToolResult> {
    let model = ScriptedModel::start(Script::new(turns));
    bench.ended(spawn(bench, &model, args));
    model.tool_results()
}

#[test]
fn harmless_calls_run_and_forbidden_ones_do_not() {
    let bench = set_up();
    let results = play(
        &bench,
        [
            shell("echo harmless-ok"),
            shell(REFUSED),
            patch("*** Add File: new.txt\n+hello"),
            patch(
                "*** Add File: other.txt\n+x\n*** Update File: .countersign/config.toml\n@@\n-version = 1\n+version = 2",
            ),
        ],
        &["-m", KNOWN_MODEL],
    );
    assert!(results[0].text.contains("Output:\nharmless-ok"), "{results:?}");
    for part in ["countersign: refused code=hard", "rules=rm_slash"] {
        assert!(results[1].text.contains(part), "{part}: {results:?}");
    }
    assert!(!bench.is_there("trace"));
    assert_eq!(bench.read("new.txt").as_deref(), Some(&b"hello\n"[..]), "{results:?}");
    assert!(results[3].text.contains("code=blocked_path") && !bench.is_there("other.txt"), "{results:?}");
}

#[test]
fn a_held_call_runs_once_a_person_says_yes() {
    let bench = set_up();
    let model = ScriptedModel::start(Script::new([shell(ASKED), shell(ASKED)]));
    let running = spawn(&bench, &model, &[]);
    let id = bench.asked();
    assert!(!bench.is_there(MADE));
    bench.person(&["approve", &id, "--yes"]);
    // One yes, one run: the second is asked about anew.
    let again = bench.asked();
    assert!(bench.is_there(MADE) && again != id);
    bench.person(&["deny", &again, "--reason", "once is enough"]);
    bench.ended(running);
    let results = model.tool_results();
    assert!(
        results[1].text.contains("code=approval_denied") && results[1].text.contains("once is enough"),
        "{results:?}"
    );
}

/// The agent's own processes are no person, at whatever terminal.
#[test]
fn the_agent_cannot_say_yes_itself() {
    let bench = std::sync::Arc::new(set_up());
    bench.configure("[hooks]\nhold_s = 1");
    let (file, person) = (bench.helper(), std::sync::Arc::clone(&bench));
    let results = play(
        &bench,
        [
            shell(ASKED),
            shell("sh ./helper.sh").before(move |request| {
                let (id, text) = (person.asked(), &request.tool_results()[0].text);
                let first = format!("countersign: approval required id={id} status=PENDING");
                assert!(text.contains(&first) && text.contains(&format!("approve {id}")), "{text}");
                std::fs::write(&file, id).unwrap();
            }),
        ],
        &[],
    );
    bench.was_no_person(&results[1].text);
    assert!(!bench.is_there(MADE));
    bench.asked();
}

/// What was decided while the agent went on is told at the end of its turn.
#[test]
fn a_parked_call_is_told_of_and_then_runs() {
    let bench = std::sync::Arc::new(set_up());
    bench.configure("[hooks]\nhold_s = 1");
    let person = std::sync::Arc::clone(&bench);
    let model = ScriptedModel::start(Script::new([
        shell(ASKED),
        shell("echo going-on").before(move |_| {
            person.person(&["approve", &person.asked(), "--yes"]);
        }),
        Turn::text("I am done"),
        shell(ASKED),
    ]));
    bench.ended(spawn(&bench, &model, &[]));
    assert!(bench.is_there(MADE), "{:?}", model.tool_results());
    // Codex escapes it once more, within a tag of its own.
    let told = |request: &Request| request.body.to_string().contains("&lt;user_approval approval_id=");
    assert!(model.requests().iter().any(told), "nobody told the agent");
}

/// Codex asks its own user about a server's tool, and `codex exec` has nobody to ask. A person's yes here is enough; that
/// no rule objects is not.
#[test]
fn what_a_person_granted_is_not_asked_again_by_codex() {
    let bench = Bench::new();
    bench.free(&["init", "--enforce", "--yes", "--client", "codex"]);
    let server = Server::filesystem(&bench.project());
    trust_project(
        &bench,
        &format!("[mcp_servers.files]\ncommand = {:?}\nargs = {:?}\n", server.command, server.args),
    );
    let rule = "@tier(\"soft\") @rule_id(\"asks_for_writes\") @severity(\"low\") @category(\"test\") @summary(\"writes\")\n\
                forbid (principal, action == Agent::Action::\"invoke_tool\", resource == Agent::Tool::\"mcp__files__write_file\");\n";
    bench.scratch.write(".countersign/policy/soft.cedar", rule);
    bench.person(&["trust", "accept", "project", "--yes"]);
    let path = |name: &str| bench.project().join(name);
    let write = || Turn::tool("mcp__files__write_file", json!({ "path": path("made.txt"), "content": "x" }));
    // Both are of the kind that Codex asks about.
    let moving = json!({ "source": path("made.txt"), "destination": path("moved.txt") });
    let model =
        ScriptedModel::start(Script::new([write(), Turn::tool("mcp__files__move_file", moving), write()]));
    let running = Codex::find().spawn(&bench.options(&model).arg(BYPASS_HOOK_TRUST));
    let id = bench.asked();
    bench.person(&["approve", &id, "--yes"]);
    // One yes, one run, also in the place where Codex asks.
    let again = bench.asked();
    bench.person(&["deny", &again, "--reason", "once is enough"]);
    running.wait().expect_success();
    let results = model.tool_results();
    assert!(bench.is_there("made.txt"), "{results:?}");
    assert!(!bench.is_there("moved.txt") && results[1].text.contains("requires approval"), "{results:?}");
    assert!(results[2].text.contains("once is enough"), "{results:?}");
}

/// Untrusted hooks are left out without a word, and the doctor says so. Once they are trusted, as `/hooks` does it, calls
/// are decided without any flag, and the doctor agrees with the client.
#[test]
fn hooks_run_once_they_are_trusted_and_the_doctor_knows() {
    let bench = set_up();
    let play = || {
        let model = ScriptedModel::start(Script::new([shell("cat .countersign/config.toml")]));
        let options = bench.options(&model).arg("--sandbox").arg("workspace-write");
        Codex::find().run(&options).expect_success();
        model.tool_results().remove(0).text
    };
    let doctor = || bench.said(&["doctor"]);
    let before = play();
    assert!(before.contains("version = 1"), "{before}");
    assert!(doctor().contains("PreToolUse is not trusted"), "{}", doctor());

    let hooks = Codex::find().hooks(&bench.scratch);
    assert_eq!(hooks.len(), 5, "{hooks:#?}");
    let text = |hook: &Value, key: &str| hook[key].as_str().unwrap().to_owned();
    let trusted: String = hooks
        .iter()
        .map(|h| format!("[hooks.state.{:?}]\ntrusted_hash = {:?}\n", text(h, "key"), text(h, "currentHash")))
        .collect();
    trust_project(&bench, &trusted);
    let after = play();
    assert!(after.contains("code=blocked_path") && !after.contains("version = 1"), "{after}");
    assert!(doctor().contains("every hook is trusted"), "{}", doctor());
}

/// Without our hooks Codex is as it was before.
#[test]
fn after_uninstall_calls_run_without_the_gate() {
    let bench = Bench::new();
    let theirs =
        "{ \"hooks\": {\"SessionStart\": [{\"hooks\": [ {\"type\":\"command\",\"command\":\"true\"}]}]} }\n";
    bench.scratch.write(HOOKS, theirs);
    bench.free(&["init", "--enforce", "--yes", "--client", "codex"]);
    trust_project(&bench, "");
    let first = play(&bench, [shell(ASKED.replace("echo", "rm -rf /opt/x; echo").as_str())], &[]);
    assert!(first[0].text.contains("countersign: refused"), "{first:?}");
    bench.person(&["uninstall", "--yes"]);
    assert_eq!(bench.read(HOOKS).as_deref(), Some(theirs.as_bytes()));
    let model = ScriptedModel::start(Script::new([shell(ASKED)]));
    spawn(&bench, &model, &[]).wait().expect_success();
    assert!(bench.is_there(MADE), "{:?}", model.tool_results());
}
