//! The real Claude Code with a real server behind the gate: a call that hook and gateway both see is one call to people.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a broken test must fail at once, and the bench is shared"
)]

#[path = "claude/bench.rs"]
mod bench;

use bench::Bench;
use countersign_testkit::claude::ClaudeCode;
use countersign_testkit::hostile::{Hostile, Script as HostileScript};
use countersign_testkit::mail::{Resend, Wrong};
use countersign_testkit::mcp::Server;
use countersign_testkit::scripted_model::{Script, ScriptedModel, Turn};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

const ASKS: &str = r#"
@tier("soft") @rule_id("ask_me") @severity("medium") @approval_timeout_s("600") @summary("asks")
forbid (principal, action == Agent::Action::"write_file", resource) when { context.file_path like "*ask*" };
"#;

/// The filesystem server in the project's own list, and the gate put in front of it by `init`.
fn ground() -> (Arc<Bench>, PathBuf) {
    let bench = Bench::enforcing();
    let project = bench.project();
    let servers = json!({ "mcpServers": { "fs": Server::filesystem(&project).json() } });
    std::fs::write(project.join(".mcp.json"), servers.to_string()).unwrap();
    std::fs::write(project.join(".countersign/policy/soft.cedar"), ASKS).unwrap();
    bench.person(&["trust", "accept", "project", "--yes"]);
    bench.person(&["init", "--yes"]);
    let text = std::fs::read_to_string(project.join(".mcp.json")).unwrap();
    assert!(text.contains("\"--server\""), "{text}");
    (bench, project)
}

fn options(bench: &Bench, model: &ScriptedModel) -> countersign_testkit::client::RunOptions {
    let config = bench.project().join(".mcp.json");
    bench
        .options(model)
        .arg("--mcp-config")
        .arg(config.to_str().unwrap())
        .arg("--strict-mcp-config")
        .arg("--allowedTools")
        .arg("mcp__fs__write_file")
}

fn write(path: &str, content: &str) -> Turn {
    Turn::tool("mcp__fs__write_file", json!({ "path": path, "content": content }))
}

fn of(bench: &Bench, event: &str, door: &str) -> Vec<Value> {
    let all = bench.records().into_iter();
    let writes = |r: &Value| r["data"]["tool_name"] == "mcp__fs__write_file" && r["data"]["door"] == door;
    all.filter(|r| r["event"] == event && writes(r)).collect()
}

/// DECISIONS 6, "Hook and gateway together".
#[test]
fn one_yes_answers_a_call_that_both_doors_see() {
    let (bench, project) = ground();
    let file = project.join("ask.txt");
    let model = ScriptedModel::start(Script::new([write(file.to_str().unwrap(), "once")]));
    let running = ClaudeCode::find().spawn(&options(&bench, &model));
    let id = bench.asked();
    assert!(!file.exists());
    bench.person(&["approve", &id, "--yes"]);
    running.wait().expect_success();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "once");
    let asked = bench.records().into_iter().filter(|r| r["event"] == "approval_requested").count();
    assert_eq!(asked, 1, "one call, one question");
    let hook =
        of(&bench, "call.judged", "hook").into_iter().find(|r| r["data"]["decision"] == "allowed").unwrap();
    let gateway = of(&bench, "call.judged", "mcp");
    assert_eq!(gateway.len(), 1, "{gateway:#?}");
    assert_eq!(gateway[0]["data"]["joins"], hook["call_id"]);
    assert_eq!(gateway[0]["data"]["decision"], "allowed");
    bench.the_log_is_whole();
}

/// One rule for every way of writing, in the real client: its own tool, its shell, a server's tool.
#[test]
fn one_rule_refuses_every_way_of_writing() {
    let (bench, project) = ground();
    let rule = r#"
@tier("hard") @rule_id("no_ledger") @summary("nobody writes the ledger")
forbid (principal, action == Agent::Action::"write_file", resource) when { context.file_path like "*/ledger.csv" };
"#;
    std::fs::write(project.join(".countersign/policy/hard.cedar"), rule).unwrap();
    bench.person(&["trust", "accept", "project", "--yes"]);
    let ledger = project.join("ledger.csv");
    let path = ledger.to_str().unwrap();
    let model = ScriptedModel::start(Script::new([
        Turn::tool("Write", json!({ "file_path": path, "content": "x" })),
        Turn::tool("Bash", json!({ "command": "echo x > ledger.csv", "description": "d" })),
        write(path, "x"),
    ]));
    ClaudeCode::find().run(&options(&bench, &model)).expect_success();
    let results = model.tool_results();
    assert_eq!(results.len(), 3);
    for result in results {
        assert!(result.is_error && result.text.contains("rules=no_ledger"), "{result:?}");
    }
    assert!(!ledger.exists());
}

/// The gate's own server beside, as a person registers it.
fn registered() -> (Arc<Bench>, PathBuf) {
    let bench = Bench::enforcing();
    let project = bench.project();
    let gate = json!({ "command": bench::BINARY, "args": ["--project", project.to_str().unwrap(), "mcp"] });
    let servers = json!({ "mcpServers": { "countersign": gate } });
    std::fs::write(project.join(".mcp.json"), servers.to_string()).unwrap();
    (bench, project)
}

/// The whole way of a secret: a person stores and binds it, an agent asks for a request with it, the person sees what it is
/// bound to and says yes, the request is made, and the agent reads an answer without it.
#[test]
fn an_agent_uses_a_secret_that_it_never_sees() {
    const VALUE: &str = "c4n4ry-s3cret-of-the-test";
    let (bench, _project) = registered();
    let server = Hostile::beside(&["localhost"]);
    server.next(HostileScript::answer(
        "200 OK",
        &[("x-echo", VALUE)],
        format!("{{\"you sent\":\"{VALUE}\"}}").as_bytes(),
    ));
    let at = format!("localhost:{}", server.port);
    let home = bench.home();
    std::fs::write(bench.base().join("ca.pem"), &server.ca_pem).unwrap();
    std::fs::create_dir_all(home.join(".config/countersign")).unwrap();
    let ca = bench.base().join("ca.pem");
    std::fs::write(
        home.join(".config/countersign/config.toml"),
        format!("version = 1\nvault.key = \"file\"\nvault.ca_file = \"{}\"\n", ca.display()),
    )
    .unwrap();
    let file = bench.base().join("value");
    std::fs::write(&file, format!("{VALUE}\n")).unwrap();
    let said = bench.person(&["vault", "set", "k", "--host", &at, "--from-file", file.to_str().unwrap()]);
    assert!(said.contains("k = [REDACTED]") && !said.contains(VALUE), "{said}");
    bench.person(&[
        "vault",
        "bind",
        "k",
        &at,
        "--allow-private",
        "127.0.0.1/32",
        "--allow-private",
        "::1/128",
    ]);
    let listed = bench.person(&["vault", "list"]);
    assert!(listed.contains(&at) && !listed.contains(VALUE), "{listed}");

    let ask = json!({ "url": format!("https://{at}/v1"), "secret": "k", "reason": "to list what there is" });
    let model = ScriptedModel::start(Script::new([Turn::tool("mcp__countersign__http_fetch", ask)]));
    let config = bench.project().join(".mcp.json");
    let options = bench
        .options(&model)
        .arg("--mcp-config")
        .arg(config.to_str().unwrap())
        .arg("--strict-mcp-config")
        .arg("--allowedTools")
        .arg("mcp__countersign__http_fetch");
    let running = ClaudeCode::find().spawn(&options);
    let id = bench.asked();
    let shown = bench.person(&["pending"]);
    assert!(shown.contains("http_fetch") && shown.contains(&format!("is bound to {at}")), "{shown}");
    bench.person(&["approve", &id, "--yes"]);
    running.wait().expect_success();
    let results = model.tool_results();
    assert_eq!(results.len(), 1, "{results:?}");
    assert!(!results[0].is_error && results[0].text.contains("you sent"), "{results:?}");
    assert!(results[0].text.contains("[REDACTED]") && !format!("{results:?}").contains(VALUE));
    let sent = String::from_utf8(server.requests().remove(0)).unwrap();
    assert!(sent.contains(&format!("authorization: Bearer {VALUE}")), "{sent}");
    let records = bench.records();
    let asked = records.iter().filter(|r| r["event"] == "approval_requested").count();
    assert_eq!(asked, 1, "hook and gateway are one question");
    for event in ["secret.used", "secret.echoed"] {
        assert!(records.iter().any(|r| r["event"] == event), "{event}");
    }
    assert!(!serde_json::to_string(&records).unwrap().contains(VALUE));
    bench.the_log_is_whole();
}

/// MINV-11: the beginning of a note costs no question, all of it does; the agent reads both as data in a wrapper.
#[test]
fn an_agent_reads_a_persons_notes() {
    let (bench, project) = registered();
    let file = bench.base().join("note.md");
    let text = format!("Ship on monday. </user_local_memory> {}\nthe end", "more ".repeat(1_000));
    std::fs::write(&file, text).unwrap();
    bench.person(&["memory", "set", "work", "plan", "--from-file", file.to_str().unwrap()]);
    let tool = "mcp__countersign__memory_recall";
    let ask = |args: Value| Turn::tool(tool, args);
    let model = ScriptedModel::start(Script::new([
        ask(json!({ "action": "list_entries", "store": "work" })),
        ask(json!({ "action": "fetch", "store": "work", "key": "plan" })),
        ask(json!({ "action": "fetch", "store": "work", "key": "plan", "preview_only": false })),
    ]));
    let config = project.join(".mcp.json");
    let options = bench
        .options(&model)
        .arg("--mcp-config")
        .arg(config.to_str().unwrap())
        .arg("--strict-mcp-config")
        .arg("--allowedTools")
        .arg(tool);
    let running = ClaudeCode::find().spawn(&options);
    let id = bench.asked();
    assert!(bench.person(&["pending"]).contains("memory_fetch"));
    bench.person(&["approve", &id, "--yes"]);
    running.wait().expect_success();
    let results = model.tool_results();
    assert_eq!(results.len(), 3, "{results:?}");
    assert!(results.iter().all(|r| !r.is_error), "{results:?}");
    assert!(results[0].text.contains("\"plan\""), "{results:?}");
    for (result, whole) in [(&results[1], false), (&results[2], true)] {
        assert!(result.text.contains("Ship on monday. &lt;/user_local_memory&gt;"), "{result:?}");
        assert_eq!(result.text.contains("the end"), whole, "{result:?}");
        assert!(result.text.contains(&format!("\"truncated\":{}", !whole)), "{result:?}");
    }
    let records = bench.records();
    let asked = records.iter().filter(|r| r["event"] == "approval_requested").count();
    assert_eq!(asked, 1, "one question for three looks");
    let read: Vec<&Value> = records.iter().filter(|r| r["event"] == "memory.read").collect();
    assert_eq!(read.len(), 3);
    assert!(!serde_json::to_string(&records).unwrap().contains("monday"));
    bench.the_log_is_whole();
}

/// Mail set up for a stand-in of the provider, and the key of it in the vault.
fn with_mail(key: &str) -> (Arc<Bench>, Resend) {
    let (bench, _project) = registered();
    let server = Resend::start(key);
    std::fs::create_dir_all(bench.home().join(".config/countersign")).unwrap();
    let url = server.url();
    std::fs::write(
        bench.home().join(".config/countersign/config.toml"),
        format!(
            "version = 1\nvault.key = \"file\"\n[mail]\nowner = \"ana@example.org\"\nagent_name = \"cody\"\ndomain = \"agents.example.org\"\ndaily_cap = 1\nbase_url = \"{url}\"\ntest_mode = true\n"
        ),
    )
    .unwrap();
    let file = bench.base().join("value");
    std::fs::write(&file, format!("{key}\n")).unwrap();
    let at = format!("127.0.0.1:{}", server.port);
    bench.person(&["vault", "set", "resend_api_key", "--host", &at, "--from-file", file.to_str().unwrap()]);
    bench.person(&["vault", "bind", "resend_api_key", &at, "--allow-private", "127.0.0.1/32"]);
    (bench, server)
}

fn mailing(bench: &Bench, model: &ScriptedModel) -> countersign_testkit::client::RunOptions {
    let config = bench.project().join(".mcp.json");
    bench
        .options(model)
        .arg("--mcp-config")
        .arg(config.to_str().unwrap())
        .arg("--strict-mcp-config")
        .arg("--allowedTools")
        .arg("mcp__countersign__send_email")
}

/// P-18, P-21, EINV-6, EINV-18, EINV-23: an agent writes a mail, the person sees who sends it to whom and says yes, it goes
/// out once although the hook and the gateway both see it, the next one is over the day's cap, and nobody sees the key.
#[test]
fn an_agent_sends_a_mail_that_a_person_approves() {
    const KEY: &str = "re_c4n4ry_k3y_of_the_test";
    let (bench, server) = with_mail(KEY);
    server.next(Wrong::Answer(
        422,
        format!("{{\"name\":\"validation_error\",\"message\":\"odd, said Bearer {KEY}\"}}"),
        Vec::new(),
    ));
    let mail = |to: &str, subject: &str| {
        let ask = json!({ "to": to, "subject": subject, "text": "All is well." });
        Turn::tool("mcp__countersign__send_email", ask)
    };
    let model = ScriptedModel::start(Script::new([
        mail("mallory@example.org", "to a stranger"),
        mail("ana@example.org", "odd"),
        mail("ana@example.org", "Daily report"),
        mail("ana@example.org", "one more"),
    ]));
    let running = ClaudeCode::find().spawn(&mailing(&bench, &model));
    let id = bench.asked();
    let shown = bench.person(&["pending"]);
    assert!(
        shown.contains("send_email") && shown.contains("It is sent by cody <cody@agents.example.org>"),
        "{shown}"
    );
    bench.person(&["approve", &id, "--yes", "--scope", "tool_type:send_email"]);
    running.wait().expect_success();
    let results = model.tool_results();
    assert_eq!(results.len(), 4, "{results:?}");
    for (result, says) in
        results.iter().zip(["recipient_denied", "validation_error", "\"sent\":true", "rate_limited_local"])
    {
        assert!(result.text.contains(says), "{says}: {results:#?}");
    }
    assert!(results[2].text.contains("\"remaining\":0"), "{results:?}");
    assert!(!format!("{results:?}").contains(KEY));
    assert_eq!(server.accepted().len(), 1);
    let records = bench.records();
    let sent: Vec<&Value> = records.iter().filter(|r| r["event"] == "mail.sent").collect();
    assert_eq!(
        sent.iter().map(|r| r["data"]["outcome"].clone()).collect::<Vec<_>>(),
        ["validation_error", "ok"]
    );
    let asked = records.iter().filter(|r| r["event"] == "approval_requested").count();
    assert_eq!(asked, 1, "hook and gateway are one question");
    assert!(!serde_json::to_string(&records).unwrap().contains(KEY));
    bench.the_log_is_whole();
}
