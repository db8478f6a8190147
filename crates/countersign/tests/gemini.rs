//! The real Gemini CLI against the real gate. A model plays a script, the client calls its tools, our hooks decide, and a
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
use countersign_testkit::gemini::Gemini;
use countersign_testkit::mcp::Server;
use countersign_testkit::scripted_model::{Request, Script, ScriptedModel, ToolResult, Turn};
use serde_json::json;

const SETTINGS: &str = ".gemini/settings.json";

fn shell(line: &str) -> Turn {
    Turn::tool("run_shell_command", json!({ "command": line, "description": "As asked" }))
}

fn set_up() -> Bench {
    let bench = Bench::new();
    bench.scratch.gemini_settings(&json!({}));
    bench.free(&["init", "--enforce", "--yes", "--client", "gemini"]);
    bench
}

fn spawn(bench: &Bench, model: &ScriptedModel) -> Running {
    Gemini::find().spawn(&bench.options(model))
}

fn play(bench: &Bench, turns: impl IntoIterator<Item = Turn>) -> Vec<ToolResult> {
    let model = ScriptedModel::start(Script::new(turns));
    bench.ended(spawn(bench, &model));
    model.tool_results()
}

#[test]
fn harmless_calls_run_and_forbidden_ones_do_not() {
    let bench = set_up();
    let write = |path: &str| {
        let path = bench.project().join(path);
        Turn::tool("write_file", json!({ "file_path": path, "content": "hello\n" }))
    };
    let results = play(
        &bench,
        [
            shell("echo harmless-ok"),
            shell(REFUSED),
            write("new.txt"),
            write(".countersign/HALT"),
            shell("cat new.txt"),
        ],
    );
    assert!(results[0].text.contains("harmless-ok"), "{results:?}");
    for part in ["countersign: refused code=hard", "rules=rm_slash"] {
        assert!(results[1].text.contains(part), "{part}: {results:?}");
    }
    assert!(!bench.is_there("trace"));
    assert_eq!(bench.read("new.txt").as_deref(), Some(&b"hello\n"[..]), "{results:?}");
    assert!(
        results[3].text.contains("code=blocked_path") && !bench.is_there(".countersign/HALT"),
        "{results:?}"
    );
}

#[test]
fn a_held_call_runs_once_a_person_says_yes() {
    let bench = set_up();
    let model = ScriptedModel::start(Script::new([shell(ASKED), shell(ASKED)]));
    let running = spawn(&bench, &model);
    let id = bench.asked();
    assert!(!bench.is_there(MADE));
    bench.person(&["approve", &id, "--yes"]);
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

/// A parked call is named with its command, told of at the end of the turn, and runs when it is repeated.
#[test]
fn a_parked_call_is_told_of_and_then_runs() {
    let bench = std::sync::Arc::new(set_up());
    bench.configure("[hooks]\nhold_s = 1");
    let person = std::sync::Arc::clone(&bench);
    let model = ScriptedModel::start(Script::new([
        shell(ASKED),
        shell("echo going-on").before(move |request| {
            let id = person.asked();
            let text = &request.tool_results()[0].text;
            assert!(text.contains(&format!("approval required id={id} status=PENDING")), "{text}");
            person.person(&["approve", &id, "--yes"]);
        }),
        Turn::text("I am done"),
        // In other words, and the same call.
        Turn::tool("run_shell_command", json!({ "command": ASKED, "description": "Once more" })),
    ]));
    bench.ended(spawn(&bench, &model));
    assert!(bench.is_there(MADE), "{:?}", model.tool_results());
    let told = |request: &Request| request.body.to_string().contains("<user_approval approval_id=");
    assert!(model.requests().iter().any(told), "nobody told the agent");
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
    );
    bench.was_no_person(&results[1].text);
    assert!(!bench.is_there(MADE));
    bench.asked();
}

/// A server's tool is called by the name that policy has for it.
#[test]
fn a_server_s_tool_is_judged_by_its_server_and_name() {
    let bench = Bench::new();
    let server = Server::filesystem(&bench.project()).json();
    bench.scratch.gemini_settings(&json!({ "mcpServers": { "my_files": server } }));
    bench.free(&["init", "--enforce", "--yes", "--client", "gemini"]);
    bench.scratch.write("plain.txt", "plain-ok\n");
    bench.scratch.write(".env", "SECRET=1\n");
    let read =
        |name: &str| Turn::tool("mcp_my_files_read_text_file", json!({ "path": bench.project().join(name) }));
    let results = play(&bench, [read("plain.txt"), read(".env")]);
    assert!(results[0].text.contains("plain-ok"), "{results:?}");
    assert!(
        results[1].text.contains("code=blocked_path") && !results[1].text.contains("SECRET"),
        "{results:?}"
    );
    let reads = |r: &serde_json::Value| r["data"]["tool_name"] == "mcp__my_files__read_text_file";
    let judged: Vec<_> =
        bench.records().into_iter().filter(|r| r["event"] == "call.judged" && reads(r)).collect();
    let at = |door: &str| judged.iter().filter(|r| r["data"]["door"] == door).count();
    // `init` put the gate in front of the server; what the hook refuses does not get there.
    assert_eq!((at("hook"), at("mcp")), (2, 1), "{judged:#?}");
}

#[test]
fn after_uninstall_calls_run_without_the_gate() {
    let bench = Bench::new();
    bench.scratch.gemini_settings(&json!({ "ui": { "theme": "x" } }));
    let theirs = bench.read(SETTINGS);
    bench.free(&["init", "--enforce", "--yes", "--client", "gemini"]);
    assert_ne!(bench.read(SETTINGS), theirs);
    bench.person(&["uninstall", "--yes"]);
    assert_eq!(bench.read(SETTINGS), theirs);
    let model = ScriptedModel::start(Script::new([shell(ASKED)]));
    spawn(&bench, &model).wait().expect_success();
    assert!(bench.is_there(MADE), "{:?}", model.tool_results());
}
