//! The MCP peers prove themselves against each other: the raw client with the official servers, the official Inspector
//! with ours, and every misbehaviour of the hostile server as its documentation says. No gateway is between them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a surprise is a failure"
)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use countersign_testkit::mcp::hostile::Hostile;
use countersign_testkit::mcp::{McpClient, Server, inspector, mcp_proxy};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// Greets a server, and returns the names of its tools.
fn greet(client: &mut McpClient) -> Vec<String> {
    let hello = client.initialize();
    assert!(hello["result"]["serverInfo"]["name"].is_string(), "{hello}");
    let list: Value = serde_json::from_slice(&client.request(json!({ "method": "tools/list" }))).unwrap();
    let tools = list["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

fn hostile(folder: &Path) -> (Hostile, McpClient) {
    let hostile = Hostile::new(folder, "hostile");
    let mut client = McpClient::start(&hostile.server(), folder);
    client.initialize();
    (hostile, client)
}

#[test]
fn the_official_server_for_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    let mut client = McpClient::start(&Server::filesystem(folder.path()), folder.path());
    // It would ask a client that has roots for them, and use those instead of its argument.
    client.initialize_with("2025-06-18", json!({}));
    let path = folder.path().join("a.txt");
    assert_eq!(text(&client.call("read_text_file", json!({ "path": path }))), "hello");
    client.finish(LIMIT);
}

#[test]
fn the_official_server_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(&Server::everything(), folder.path());
    assert!(greet(&mut client).contains(&"echo".to_owned()));
    assert!(text(&client.call("echo", json!({ "message": "hi" }))).contains("hi"));
}

#[test]
fn the_official_server_with_a_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("memory.jsonl");
    let mut client = McpClient::start(&Server::memory(&file), folder.path());
    assert!(greet(&mut client).contains(&"create_entities".to_owned()));
    client.call(
        "create_entities",
        json!({ "entities": [{ "name": "n", "entityType": "t", "observations": ["o"] }] }),
    );
    assert!(std::fs::read_to_string(&file).unwrap().contains("\"n\""));
}

#[test]
fn the_official_server_for_git() {
    let folder = tempfile::tempdir().unwrap();
    let git = Command::new("git").args(["init", "--quiet"]).arg(folder.path()).status().unwrap();
    assert!(git.success());
    let mut client = McpClient::start(&Server::git(folder.path()), folder.path());
    assert!(greet(&mut client).contains(&"git_status".to_owned()));
    let said = client.call("git_status", json!({ "repo_path": folder.path() }));
    assert!(text(&said).contains("No commits yet"), "{said}");
}

#[test]
fn the_inspector_lists_and_calls() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = Hostile::new(folder.path(), "hostile");
    let listed = inspector(&hostile.server(), folder.path(), &["--method", "tools/list"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let list: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(list["tools"][0]["name"], "echo");
    let called = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "a=b"];
    let called = inspector(&hostile.server(), folder.path(), &called);
    assert!(String::from_utf8_lossy(&called.stdout).contains("echo"), "{called:?}");
    assert_eq!(hostile.calls("echo"), 1);
}

#[test]
fn the_proxy_starts() {
    let proxy = mcp_proxy(&["--help"]);
    let said = Command::new(&proxy.command).args(&proxy.args).output().unwrap();
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("stdio"));
}

#[test]
fn what_is_sent_arrives_byte_for_byte_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (hostile, mut client) = hostile(folder.path());
    let line = br#"{"id" : "x",  "params":{"name":"echo", "arguments":{"n":1.50,"m":1e2}} ,"method":"tools/call","jsonrpc":"2.0"}"#;
    client.send_line(line);
    let answer: Value = serde_json::from_slice(&client.answer(&json!("x"))).unwrap();
    assert_eq!(text(&answer), r#"{"name":"echo", "arguments":{"n":1.50,"m":1e2}}"#);
    assert_eq!(hostile.lines().last().unwrap(), line);
    assert_eq!(text(&client.call("count", json!({}))), "2");
    assert_eq!((hostile.calls("echo"), hostile.calls("count"), hostile.calls("twice")), (1, 1, 0));
    assert!(client.finish(LIMIT).0.success());
}

#[test]
fn it_answers_twice_and_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut client) = hostile(folder.path());
    assert_eq!(text(&client.call("twice", json!({}))), "first");
    assert!(String::from_utf8(client.recv_line(LIMIT)).unwrap().contains("second"));
    assert_eq!(text(&client.call("stranger", json!({}))), "asked");
    assert!(String::from_utf8(client.recv_line(LIMIT)).unwrap().contains("nobody-asked"));
    let garbage = client.call("garbage", json!({}));
    assert_eq!(text(&garbage), "between garbage");
    let around: Vec<Vec<u8>> = (0..6).map(|_| client.recv_line(LIMIT)).collect();
    assert_eq!(around, [&b"this is no JSON"[..], b"", b"[]", b"{", b"\xff\xfe", b"\"more\""]);
}

#[test]
fn it_dies_in_three_ways() {
    let folder = tempfile::tempdir().unwrap();
    for (tool, code, left) in
        [("dies", 3, Some(false)), ("dies_silently", 3, None), ("no_newline", 0, Some(true))]
    {
        let (_, mut client) = hostile(folder.path());
        let line = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": tool } });
        client.send_line(line.to_string().as_bytes());
        let last = client.try_recv_line(LIMIT);
        let whole = last.map(|line| serde_json::from_slice::<Value>(&line).is_ok());
        assert_eq!(whole, left, "{tool}");
        assert_eq!(client.finish(LIMIT).0.code(), Some(code), "{tool}");
    }
    let early = Hostile::new(folder.path(), "early").dying_at_its_start();
    let client = McpClient::start(&early.server(), folder.path());
    assert_eq!(client.finish(LIMIT).0.code(), Some(5));
    let dropping = Hostile::new(folder.path(), "dropping").dropping_after(1);
    let mut client = McpClient::start(&dropping.server(), folder.path());
    client.initialize();
    client.call("count", json!({}));
    client.notify("x", json!({}));
    client.send_line(br#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"count"}}"#);
    assert_eq!(client.finish(LIMIT).0.code(), Some(4));
    assert_eq!(dropping.calls("count"), 2);
}

#[test]
fn its_results_hold_what_readers_trip_over() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut client) = hostile(folder.path());
    for (tool, holds) in [
        ("huge_number", "1e400"),
        ("digits", "12345678901234567890123}"),
        ("structured", "1.50}"),
        ("unknown_members", r#""x-result":{"a":null}"#),
        ("surrogate", r"\ud800"),
        ("duplicate_keys", r#""content":[{"type":"text","text":"two"}]}"#),
        ("no_content", r#""result":{"x":1}"#),
        ("fails", r#""isError": true"#),
        ("refuses", "-32001"),
    ] {
        let line =
            client.request(json!({ "method": "tools/call", "params": { "name": tool, "arguments": {} } }));
        let line = String::from_utf8(line).unwrap();
        assert!(line.contains(holds), "{tool}: {line}");
    }
    assert_eq!(text(&client.call("long", json!({}))).len(), 20 * 1024 * 1024);
}

#[test]
fn its_list_changes_with_or_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let telling = Hostile::new(folder.path(), "telling").changing_after(1).telling();
    let mut client = McpClient::start(&telling.server(), folder.path());
    let before = greet(&mut client);
    assert!(String::from_utf8(client.recv_line(LIMIT)).unwrap().contains("list_changed"));
    let after = String::from_utf8(client.request(json!({ "method": "tools/list" }))).unwrap();
    assert!(!before.contains(&"added_later".to_owned()) && after.contains("added_later"));

    let (_, mut client) = hostile(folder.path());
    client.call("change", json!({ "tell": false }));
    assert!(
        String::from_utf8(client.request(json!({ "method": "tools/list" }))).unwrap().contains("added_later")
    );
    assert_eq!(client.try_recv_line(Duration::from_millis(200)), None, "it changed without a word");

    let paging = Hostile::new(folder.path(), "paging").paging(5).speaking("2024-11-05");
    let mut client = McpClient::start(&paging.server(), folder.path());
    assert_eq!(client.initialize()["result"]["protocolVersion"], "2024-11-05");
    let page = |client: &mut McpClient, params: Value| -> Value {
        serde_json::from_slice(&client.request(json!({ "method": "tools/list", "params": params }))).unwrap()
    };
    let first = page(&mut client, json!({}));
    let second = page(&mut client, json!({ "cursor": first["result"]["nextCursor"] }));
    assert_ne!(first["result"]["tools"][0], second["result"]["tools"][0]);
}

#[test]
fn it_waits_tells_and_asks_while_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut client) = hostile(folder.path());
    let file = folder.path().join("go");
    let slow = json!({ "jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": {
        "name": "slow", "arguments": { "file": file, "beat": 0.05 }, "_meta": { "progressToken": "t" },
    } });
    client.send_line(slow.to_string().as_bytes());
    assert_eq!(text(&client.call("count", json!({}))), "2");
    client.recv_where(LIMIT, |line| String::from_utf8_lossy(line).contains("notifications/progress"));
    std::fs::write(&file, "").unwrap();
    client.answer(&json!("slow"));

    for (tool, method) in
        [("samples", "sampling/createMessage"), ("elicits", "elicitation/create"), ("roots", "roots/list")]
    {
        let call =
            json!({ "jsonrpc": "2.0", "id": tool, "method": "tools/call", "params": { "name": tool } });
        client.send_line(call.to_string().as_bytes());
        let asked = client.recv_where(LIMIT, |line| String::from_utf8_lossy(line).contains(method));
        let asked: Value = serde_json::from_slice(&asked).unwrap();
        let reply = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"n":1.50}}}}"#, asked["id"]);
        client.send_line(reply.as_bytes());
        let answer: Value = serde_json::from_slice(&client.answer(&json!(tool))).unwrap();
        assert_eq!(text(&answer), reply);
    }
}

#[test]
fn a_mute_server_reads_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mute = Hostile::new(folder.path(), "mute").mute();
    let mut client = McpClient::start(&mute.server(), folder.path());
    client.send_line(br#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
    client.send_bytes(b"half");
    assert_eq!(client.try_recv_line(Duration::from_millis(300)), None);
    client.finish(LIMIT);
    assert_eq!(mute.lines().last().unwrap(), b"half");
}
