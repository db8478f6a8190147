//! What goes through, goes through byte for byte: the official servers and the Inspector's command line as peers.

use crate::ground::{Ground, LIMIT, is_error, text};
use countersign_testkit::mcp::{Server, hostile::Hostile, inspector};
use serde_json::{Value, json};
use std::path::Path;

/// One conversation; every line that came back, in the order in which the requests were sent.
fn lines(ground: &Ground, server: &Server, requests: &[Value]) -> Vec<Vec<u8>> {
    let mut client = ground.client(server);
    client.initialize();
    let out = requests.iter().map(|request| client.request(request.clone())).collect();
    // Some servers wait for an answer of the client before they go; the gate does not wait for them.
    if server.command == "timeout" {
        client.finish(LIMIT);
    }
    out
}

fn calls(calls: &[(&str, Value)]) -> Vec<Value> {
    let mut out = vec![json!({ "id": 1, "method": "tools/list" })];
    for (nth, (tool, arguments)) in calls.iter().enumerate() {
        // Strings are ids too, and numbers as large as the servers can hold.
        let id = if nth % 2 == 0 { json!(format!("call {nth}")) } else { json!(9_007_199_254_740_991u64) };
        out.push(
            json!({ "id": id, "method": "tools/call", "params": { "name": tool, "arguments": arguments } }),
        );
    }
    out
}

/// The same conversation with and without the gate between.
fn same(ground: &Ground, server: &Server, requests: &[Value]) {
    let direct = lines(ground, server, requests);
    let gated = lines(ground, &ground.gated(&[], server), requests);
    for ((request, direct), gated) in requests.iter().zip(&direct).zip(&gated) {
        assert_eq!(
            String::from_utf8_lossy(direct),
            String::from_utf8_lossy(gated),
            "the answer to {request} is not what the server wrote"
        );
    }
    ground.the_log_is_whole();
}

fn git(ground: &Ground, args: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let out = ground.command("git", &[&identity[..], args].concat()).output().unwrap();
    assert!(out.status.success());
}

#[test]
fn the_filesystem_server_is_the_same_behind_the_gate() {
    let ground = Ground::bare();
    let root = ground.root.clone();
    ground.write("a/a.txt", "one\ntwo\n");
    let path = |name: &str| root.join("a").join(name).display().to_string();
    let requests = calls(&[
        ("read_text_file", json!({ "path": path("a.txt") })),
        ("write_file", json!({ "path": path("b.txt"), "content": "grüße \u{1f600} \"quoted\" \u{7}" })),
        ("read_multiple_files", json!({ "paths": [path("a.txt"), path("b.txt")] })),
        ("list_directory", json!({ "path": root.join("a") })),
        ("read_text_file", json!({ "path": path("missing.txt") })),
        ("no_such_tool_of_this_server", json!({})),
    ]);
    // The last is refused here: a tool that no server lists is called by nobody.
    let (last, requests) = requests.split_last().unwrap();
    same(&ground, &Server::filesystem(&root), requests);
    let refused = lines(&ground, &ground.gated(&[], &Server::filesystem(&root)), std::slice::from_ref(last));
    let refused: Value = serde_json::from_slice(&refused[0]).unwrap();
    assert!(is_error(&refused) && text(&refused).contains("code=unknown_tool"), "{refused:#}");
}

#[test]
fn the_everything_server_is_the_same_behind_the_gate() {
    let ground = Ground::bare();
    let mut requests = calls(&[
        ("echo", json!({ "message": "x" })),
        ("get-sum", json!({ "a": 1.50, "b": 2 })),
        ("get-tiny-image", json!({})),
        ("get-structured-content", json!({ "location": "New York" })),
        ("get-annotated-message", json!({ "messageType": "error", "includeImage": true })),
        ("get-resource-links", json!({ "count": 3 })),
    ]);
    requests.extend([
        json!({ "method": "prompts/list", "id": "p" }),
        json!({ "method": "prompts/get", "id": "q", "params": { "name": "args-prompt", "arguments": { "city": "Rome" } } }),
        json!({ "method": "resources/templates/list", "id": "r" }),
        json!({ "method": "resources/list", "id": "s" }),
        json!({ "method": "completion/complete", "id": "t", "params": {
            "ref": { "type": "ref/prompt", "name": "completable-prompt" },
            "argument": { "name": "department", "value": "E" } } }),
        json!({ "method": "no/such", "id": "u", "params": {} }),
        json!({ "method": "ping", "id": "v" }),
    ]);
    same(&ground, &Server::everything(), &requests);
}

#[test]
fn the_memory_server_is_the_same_behind_the_gate() {
    let ground = Ground::bare();
    let entity =
        json!({ "entities": [{ "name": "Ana", "entityType": "person", "observations": ["likes maps"] }] });
    let requests = calls(&[
        ("create_entities", entity),
        ("read_graph", json!({})),
        ("search_nodes", json!({ "query": "maps" })),
    ]);
    // Each run begins with an empty memory of its own.
    let direct = lines(&ground, &Server::memory(&ground.root.join("one.json")), &requests);
    let server = Server::memory(&ground.root.join("two.json"));
    assert_eq!(direct, lines(&ground, &ground.gated(&[], &server), &requests));
}

#[test]
fn the_git_server_is_the_same_behind_the_gate() {
    let ground = Ground::bare();
    ground.write("a.txt", "one\n");
    git(&ground, &["add", "a.txt"]);
    git(&ground, &["commit", "--quiet", "-m", "first"]);
    ground.write("a.txt", "two\n");
    let repo = json!(ground.root);
    let requests = calls(&[
        ("git_status", json!({ "repo_path": repo })),
        ("git_log", json!({ "repo_path": repo })),
        ("git_diff_unstaged", json!({ "repo_path": repo })),
    ]);
    same(&ground, &Server::git(&ground.root), &requests);
}

#[test]
fn the_inspector_sees_the_same_through_the_gate() {
    let ground = Ground::bare();
    ground.write("a.txt", "one\n");
    let server = Server::filesystem(&ground.root);
    let gated = ground.gated(&["--project", ground.root.to_str().unwrap()], &server);
    // The Inspector takes a `--` for its own.
    let words: Vec<String> = gated.args.iter().map(|a| format!("'{a}'")).collect();
    let script = ground.write("gate.sh", &format!("exec timeout {}\n", words.join(" ")));
    let gated = Server { command: "/bin/sh".into(), args: vec![script.display().to_string()] };
    let path = format!("path={}", ground.root.join("a.txt").display());
    // The Inspector runs elsewhere; the project is named, so it must be one that a person accepted.
    assert!(ground.free(&["init", "--enforce", "--yes"]).status.success());
    for method in [
        vec!["--method", "tools/list"],
        vec!["--method", "tools/call", "--tool-name", "read_text_file", "--tool-arg", &path],
    ] {
        let direct = inspector(&server, &ground.home, &method);
        let through = inspector(&gated, &ground.home, &method);
        assert!(direct.status.success(), "{direct:?}");
        assert_eq!(
            String::from_utf8_lossy(&direct.stdout),
            String::from_utf8_lossy(&through.stdout),
            "{method:?}: {}",
            String::from_utf8_lossy(&through.stderr)
        );
    }
    assert_eq!(ground.judged("mcp__index-js__read_text_file").len(), 1);
    ground.the_log_is_whole();
}

/// DECISIONS row 5: numbers digit for digit, unknown members, halves of surrogates and equal keys survive.
#[test]
fn what_servers_write_survives() {
    let ground = Ground::bare();
    let server = Hostile::new(&ground.root, "odd").server();
    let tools = [
        "huge_number",
        "digits",
        "structured",
        "unknown_members",
        "surrogate",
        "duplicate_keys",
        "no_content",
        "fails",
        "refuses",
    ];
    let requests = calls(&tools.map(|tool| (tool, json!({}))));
    same(&ground, &server, &requests);
}

/// What was judged is what is sent: arguments in canonical form, digits as they were written, everything else as it
/// came.
#[test]
fn what_is_sent_is_what_was_judged() {
    let ground = Ground::bare();
    let hostile = Hostile::new(&ground.root, "odd");
    let mut client = ground.typed(&hostile.server());
    client.initialize();
    client.send_line(
        br#"{ "jsonrpc":"2.0", "id":"a", "method":"tools/call", "more" : [1 , 2], "params":{ "name":"echo","later":1.0,"arguments":{"z":12345678901234567890123,"a":[1.50,"\u00e9"],"_":null}}}"#,
    );
    client.answer(&json!("a"));
    client.finish(LIMIT);
    let sent = hostile.lines().into_iter().find(|l| l.windows(10).any(|w| w == b"tools/call")).unwrap();
    let sent = String::from_utf8(sent).unwrap();
    let id = sent.split("\"id\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(
        sent,
        format!(
            r#"{{ "jsonrpc":"2.0", "id":{id}, "method":"tools/call", "more" : [1 , 2], "params":{{ "name":"echo","later":1.0,"arguments":{{"_":null,"a":[1.50,"é"],"z":12345678901234567890123}}}}}}"#
        )
    );
}

/// Nothing that two readers could read differently reaches a server, and each gets its answer.
#[test]
fn what_is_ambiguous_never_reaches_a_server() {
    let ground = Ground::bare();
    let hostile = Hostile::new(&ground.root, "odd");
    let mut client = ground.typed(&hostile.server());
    client.initialize();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
        )
    };
    let bad: Vec<Vec<u8>> = vec![
        call(r#"{"a":1,"a":2}"#).into_bytes(),
        call(r#"{"a":"\ud800"}"#).into_bytes(),
        call(r#"{"a":1e400}"#).into_bytes(),
        call(&format!(r#"{{"a":{deep}}}"#)).into_bytes(),
        call(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1_100_000))).into_bytes(),
        call("{\"a\":\"MARK\"}").replace("MARK", "\u{1}").into_bytes(),
        [b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{\"name\":\"\xff\"}}".to_vec()]
            .concat(),
        br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","method":"ping","params":{}}"#.to_vec(),
        br#"[{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}]"#.to_vec(),
        br#"{"jsonrpc":"1.0","id":7,"method":"tools/call","params":{"name":"echo"}}"#.to_vec(),
        br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":[]}}"#.to_vec(),
        br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{}}}"#.to_vec(),
        b"no message at all".to_vec(),
    ];
    for line in &bad {
        client.send_line(line);
        let answer: Value = serde_json::from_slice(&client.recv_line(LIMIT)).unwrap();
        let code = answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{answer:#}"));
        assert!([-32700, -32600, -32602].contains(&code), "{answer:#}");
        assert!(answer["error"]["message"].as_str().unwrap().starts_with("countersign: "), "{answer:#}");
    }
    // Without an id nobody could be told, and a careless server would run it.
    client.send_line(br#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"echo","arguments":{}}}"#);
    client.call("echo", json!({}));
    client.finish(LIMIT);
    let reached = hostile.lines().iter().filter(|l| l.windows(10).any(|w| w == b"tools/call")).count();
    assert_eq!(reached, 1, "only the good call reached the server");
    let refused =
        ground.events("call.judged").into_iter().filter(|r| r["data"]["decision"] == "refused").count();
    assert_eq!(refused, bad.len() + 1, "each was recorded");
    ground.the_log_is_whole();
}

#[test]
fn secrets_are_taken_out_of_results_and_arguments() {
    let ground = Ground::bare();
    let secret = format!("ghp_{}", "aB3".repeat(12));
    ground.write("notes.txt", &format!("token: {secret}\n"));
    let mut client = ground.typed(&Server::filesystem(&ground.root));
    client.initialize();
    let read = client.call("read_text_file", json!({ "path": ground.root.join("notes.txt") }));
    assert_eq!(text(&read), "token: [REDACTED-GITHUB_TOKEN]\n");
    let target = ground.root.join("copy.txt");
    client.call("write_file", json!({ "path": target, "content": format!("x {secret}") }));
    client.finish(LIMIT);
    assert_eq!(std::fs::read_to_string(target).unwrap(), "x [REDACTED-GITHUB_TOKEN]");
    let finished = ground.events("call.finished");
    assert!(
        finished.iter().any(|r| r["data"]["redactions"]["GITHUB_TOKEN"].as_i64() >= Some(1)),
        "{finished:#?}"
    );
    assert!(!serde_json::to_string(&ground.records()).unwrap().contains(&secret));
}

#[test]
fn a_result_that_is_too_long_is_cut_and_one_that_cannot_be_read_is_withheld() {
    let ground = Ground::bare();
    let mut client = ground.typed(&Hostile::new(&ground.root, "odd").server());
    client.initialize();
    let cut = client.call("long", json!({ "bytes": 2_000_000 }));
    assert!(serde_json::to_vec(&cut).unwrap().len() < 530_000);
    assert!(text(&cut).contains("[CUT: the result was longer than 524288 bytes"));
    let withheld = client.call("long", json!({}));
    assert!(
        is_error(&withheld) && text(&withheld).contains("[WITHHELD: scan_incomplete]"),
        "{withheld:.500}"
    );
    assert_eq!(text(&client.call("count", json!({}))), "3", "none of them was repeated");
    client.finish(LIMIT);
    ground.the_log_is_whole();
}

/// P-4, as issue 3 has it: one rule, three ways to write a file.
#[test]
fn one_rule_holds_for_every_way_of_writing() {
    let rule = r#"
@tier("hard") @rule_id("no_ledger") @summary("nobody writes the ledger")
forbid (principal, action == Agent::Action::"write_file", resource) when { context.file_path like "*/ledger.csv" };
"#;
    let ground = Ground::with("", None);
    ground.write(".countersign/policy/hard.cedar", rule);
    ground.person(&["trust", "accept", "project", "--yes"]);
    let ledger = ground.root.join("ledger.csv");
    let denied = |input: Value| {
        let out = ground.decide(&input);
        assert_eq!(out["code"], "hard", "{out:#}");
        assert_eq!(out["matching_rule_ids"], json!(["no_ledger"]));
    };
    denied(json!({ "tool_name": "Write", "tool_input": { "file_path": ledger, "content": "x" } }));
    denied(json!({ "tool_name": "Bash", "tool_input": { "command": "echo x > ledger.csv" } }));
    let mut client = ground.typed(&Server::filesystem(&ground.root));
    client.initialize();
    for (tool, arguments) in [
        ("write_file", json!({ "path": ledger, "content": "x" })),
        ("edit_file", json!({ "path": ledger, "edits": [] })),
        ("move_file", json!({ "source": "a", "destination": ledger })),
    ] {
        let answer = client.call(tool, arguments);
        assert!(is_error(&answer) && text(&answer).contains("rules=no_ledger"), "{tool}: {answer:#}");
    }
    client.finish(LIMIT);
    assert!(!crate::ground::exists(Path::new(&ledger)));
}
