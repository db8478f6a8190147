//! Servers of `servers.toml`: accepted before they are started, started as they were accepted, and their own requests.

use crate::ground::{Ground, LIMIT, is_error, text};
use countersign_testkit::mcp::{Server, hostile::Hostile};
use countersign_testkit::pty::Pty;
use serde_json::{Value, json};

/// P-38: what arrives in a file starts nothing.
#[test]
fn nothing_is_started_that_nobody_accepted() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    ground.register(&[("odd", &hostile.server())]);
    let mut client = ground.registered(&[]);
    client.initialize_with("2025-06-18", json!({}));
    let refused = client.call("odd__count", json!({}));
    assert!(is_error(&refused), "{refused:#}");
    assert!(client.errors().contains("was never accepted"), "{}", client.errors());
    client.finish(LIMIT);
    assert!(hostile.lines().is_empty(), "it was started");
    ground.person(&["trust", "accept", "odd", "--yes"]);
    let mut client = ground.registered(&["--server", "odd"]);
    client.initialize_with("2025-06-18", json!({}));
    assert_eq!(text(&client.call("count", json!({}))), "1", "its own names");
    client.finish(LIMIT);
    // Started in another way it is another server, whatever it is called.
    let before = hostile.lines().len();
    ground.register(&[("odd", &hostile.clone().paging(5).server())]);
    let mut client = ground.registered(&[]);
    client.initialize_with("2025-06-18", json!({}));
    assert!(text(&client.call("odd__count", json!({}))).contains("code=untrusted_server"));
    client.finish(LIMIT);
    assert_eq!(hostile.lines().len(), before);
    assert!(ground.said(&["trust", "list"]).contains("changed since it was accepted"));
    ground.the_log_is_whole();
}

/// gateway.md 3.2: a child gets what it was given, and neutral variables.
#[test]
fn a_server_gets_its_own_environment_and_nothing_else() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    let out = ground.root.join("environment");
    let script = ground.write(
        "start.sh",
        &format!("env > '{}'\nexec python3 {}\n", out.display(), quoted(&hostile.server().args)),
    );
    let toml = format!(
        "version = 1\n[[servers]]\nname = \"odd\"\ncommand = \"/bin/sh\"\nargs = [{:?}]\nenv = {{ GIVEN = \"yes\", TAKEN = {{ from_env = \"HOME\" }} }}\n[[servers]]\nname = \"unset\"\ncommand = \"/bin/true\"\nenv = {{ A = {{ from_env = \"NOT_SET\" }} }}\n",
        script.display()
    );
    ground.write(".countersign/servers.toml", &toml);
    ground.person(&["trust", "accept", "project", "--yes"]);
    ground.person(&["trust", "accept", "odd", "--yes"]);
    let (code, said) = ground.try_person(&["trust", "accept", "unset", "--yes"]);
    assert!(code != Some(0) && said.contains("NOT_SET"), "{said}");
    std::fs::remove_file(&out).unwrap();
    let mut client = ground.registered(&["--server", "odd"]);
    client.initialize_with("2025-06-18", json!({}));
    client.call("echo", json!({}));
    client.finish(LIMIT);
    let environment = std::fs::read_to_string(out).unwrap();
    let mut names: Vec<&str> =
        environment.lines().filter_map(|l| l.split_once('=').map(|(n, _)| n)).collect();
    names.sort_unstable();
    names.retain(|n| !["_", "SHLVL", "OLDPWD", "PWD"].contains(n));
    assert_eq!(names, ["GIVEN", "HOME", "PATH", "TAKEN"]);
    assert!(
        environment.contains("GIVEN=yes")
            && environment.contains(&format!("TAKEN={}", ground.home.display()))
    );
}

fn quoted(args: &[String]) -> String {
    args.iter().map(|a| format!("'{a}'")).collect::<Vec<_>>().join(" ")
}

fn one(ground: &Ground, hostile: &Hostile, more: &str) {
    let server = hostile.server();
    let toml = format!(
        "version = 1\n[[servers]]\nname = \"odd\"\ncommand = {:?}\nargs = {:?}\n{more}",
        server.command, server.args
    );
    ground.write(".countersign/servers.toml", &toml);
    ground.person(&["trust", "accept", "project", "--yes"]);
    ground.person(&["trust", "accept", "odd", "--yes"]);
}

/// GINV-13, GINV-48.
#[test]
fn configuration_takes_tools_away_raises_tiers_and_bounds_calls() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    let more = "blocked_tools = [\"e*\"]\ntiers = { count = \"destructive\" }\ntimeout_ms = 500\n";
    one(&ground, &hostile, more);
    let mut client = ground.registered(&[]);
    client.initialize_with("2025-06-18", json!({}));
    let listed: Value = serde_json::from_slice(&client.request(json!({ "method": "tools/list" }))).unwrap();
    let names = listed["result"].to_string();
    assert!(!names.contains("odd__echo") && names.contains("odd__count"));
    assert!(text(&client.call("odd__echo", json!({}))).contains("code=unknown_tool"));
    assert!(text(&client.call("odd__nothing", json!({}))).contains("code=unknown_tool"), "one wording");
    let destroys = client.call("odd__count", json!({}));
    assert!(text(&destroys).contains("level_denies_destructive"), "{destroys:#}");
    let late = client.call("odd__mute", json!({}));
    assert!(text(&late).contains("[WITHHELD: server_timeout]"), "{late:#}");
    client.finish(LIMIT);
    assert_eq!((hostile.calls("echo"), hostile.calls("count"), hostile.calls("mute")), (0, 0, 1));
    let finished = ground.events("call.finished");
    assert!(
        finished.iter().any(|r| r["data"]["code"] == "server_timeout" && r["data"]["outcome"] == "unknown")
    );
    ground.the_log_is_whole();
}

/// NAMES 1.2: what a server asks of the client is denied, asked about or passed, as configuration says.
#[test]
fn requests_of_a_server_are_decisions_too() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    one(&ground, &hostile, "roots = \"pass\"\n");
    let mut client = ground.registered(&[]);
    client.initialize();
    // Denied by default: the client never sees it.
    let sampled = client.call("odd__samples", json!({}));
    assert!(text(&sampled).contains("-32010"), "{sampled:#}");
    // Passed: the client answers, and the right server gets the answer.
    let call = json!({ "jsonrpc": "2.0", "id": 70, "method": "tools/call", "params": { "name": "odd__roots", "arguments": {} } });
    client.send_line(call.to_string().as_bytes());
    let is = |what: &'static str| move |line: &[u8]| String::from_utf8_lossy(line).contains(what);
    let asked: Value = serde_json::from_slice(&client.recv_where(LIMIT, is("\"roots/list\""))).unwrap();
    let answer =
        json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "roots": [{ "uri": "file:///x" }] } });
    client.send_line(answer.to_string().as_bytes());
    let told: Value = serde_json::from_slice(&client.answer(&json!(70))).unwrap();
    assert!(text(&told).contains("file:///x"), "{told:#}");
    // Asked about by default: a person first, then the client's user.
    let call = json!({ "jsonrpc": "2.0", "id": 71, "method": "tools/call", "params": { "name": "odd__elicits", "arguments": {} } });
    client.send_line(call.to_string().as_bytes());
    ground.person(&["approve", &ground.question(), "--yes"]);
    let asked: Value =
        serde_json::from_slice(&client.recv_where(LIMIT, is("\"elicitation/create\""))).unwrap();
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "action": "accept", "content": { "ok": "from the user" } } });
    client.send_line(answer.to_string().as_bytes());
    let told: Value = serde_json::from_slice(&client.answer(&json!(71))).unwrap();
    assert!(text(&told).contains("from the user"), "{told:#}");
    let (_, rest) = client.finish(LIMIT);
    assert!(!rest.iter().any(|line| is("sampling/createMessage")(line)), "the client saw it");
    assert!(!ground.judged("mcp__odd__sampling/createMessage").is_empty());
    ground.the_log_is_whole();
}

/// Both servers call their request `ask-1`; the client answers them in the other order.
#[test]
fn each_server_gets_the_answer_to_its_own_request() {
    let ground = Ground::with("", None);
    let both = ["left", "right"].map(|name| Hostile::new(&ground.root, name));
    let mut toml = "version = 1\n".to_owned();
    for (name, hostile) in ["left", "right"].iter().zip(&both) {
        let server = hostile.server();
        toml.push_str(&format!(
            "\n[[servers]]\nname = {name:?}\ncommand = {:?}\nargs = {:?}\nroots = \"pass\"\n",
            server.command, server.args
        ));
    }
    ground.write(".countersign/servers.toml", &toml);
    for what in ["project", "left", "right"] {
        ground.person(&["trust", "accept", what, "--yes"]);
    }
    let mut client = ground.registered(&[]);
    client.initialize();
    let is = |line: &[u8]| String::from_utf8_lossy(line).contains("\"roots/list\"");
    let mut asked = Vec::new();
    for (name, id) in [("left", 70), ("right", 71)] {
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": format!("{name}__roots"), "arguments": {} } });
        client.send_line(call.to_string().as_bytes());
        let request: Value = serde_json::from_slice(&client.recv_where(LIMIT, is)).unwrap();
        asked.push((name, id, request["id"].clone()));
    }
    assert_ne!(asked[0].2, asked[1].2);
    for (name, _, request) in asked.iter().rev() {
        let roots = json!([{ "uri": format!("file:///{name}") }]);
        let answer = json!({ "jsonrpc": "2.0", "id": request, "result": { "roots": roots } });
        client.send_line(answer.to_string().as_bytes());
    }
    for (name, id, _) in &asked {
        let told: Value = serde_json::from_slice(&client.answer(&json!(id))).unwrap();
        assert!(text(&told).contains(&format!("file:///{name}")), "{told:#}");
        assert!(text(&told).contains("ask-1"), "under the id that the server gave: {told:#}");
    }
    client.finish(LIMIT);
    ground.the_log_is_whole();
}

#[test]
fn an_answer_after_the_deadline_goes_nowhere() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    one(&ground, &hostile, "timeout_ms = 500\n");
    let mut client = ground.registered(&[]);
    client.initialize_with("2025-06-18", json!({}));
    let file = ground.root.join("go");
    let late = client.call("odd__slow", json!({ "file": file }));
    assert!(is_error(&late) && text(&late).contains("[WITHHELD: server_timeout]"), "{late:#}");
    ground.write("go", "");
    crate::ground::until("the late answer is noted", || {
        let notes = ground.events("log.note");
        notes
            .iter()
            .any(|n| n["data"]["text"].as_str().unwrap().contains("an answer to nothing that is open"))
    });
    assert!(!is_error(&client.call("odd__echo", json!({}))));
    let (_, rest) = client.finish(LIMIT);
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(hostile.calls("slow"), 1);
    let finished = ground.events("call.finished");
    let unknown = finished.iter().filter(|r| r["data"]["outcome"] == "unknown");
    assert_eq!(unknown.count(), 1);
    ground.the_log_is_whole();
}

#[test]
fn a_server_whose_variables_are_not_set_is_not_started() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    let server = hostile.server();
    let toml = format!(
        "version = 1\n[[servers]]\nname = \"odd\"\ncommand = {:?}\nargs = {:?}\nenv = {{ A = {{ from_env = \"NOT_SET\" }} }}\n",
        server.command, server.args
    );
    ground.write(".countersign/servers.toml", &toml);
    ground.person(&["trust", "accept", "project", "--yes"]);
    // It is set where the person sits, and not where the gateway runs.
    let mut environment = ground.environment();
    environment.push(("NOT_SET", "x"));
    let accept = [crate::ground::BINARY, "trust", "accept", "odd", "--yes"];
    let (code, said) = Pty::spawn(&accept, &environment, &ground.root).finish(LIMIT);
    assert_eq!(code, Some(0), "{said}");
    let before = hostile.lines().len();
    let mut client = ground.registered(&[]);
    client.initialize_with("2025-06-18", json!({}));
    assert!(is_error(&client.call("odd__count", json!({}))));
    assert!(client.errors().contains("not set: NOT_SET"), "{}", client.errors());
    client.finish(LIMIT);
    assert_eq!(hostile.lines().len(), before, "it was started");
    ground.the_log_is_whole();
}

#[test]
fn several_servers_speak_as_one() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    let everything = Server::everything();
    ground.register(&[("odd", &hostile.server()), ("every", &everything)]);
    for name in ["odd", "every"] {
        ground.person(&["trust", "accept", name, "--yes"]);
    }
    let mut client = ground.registered(&[]);
    let hello = client.initialize_with("2025-06-18", json!({}));
    assert_eq!(hello["result"]["serverInfo"]["name"], "countersign");
    assert!(hello["result"]["capabilities"]["prompts"].is_object());
    let listed: Value = serde_json::from_slice(&client.request(json!({ "method": "tools/list" }))).unwrap();
    let names = listed["result"].to_string();
    assert!(names.contains("\"odd__count\"") && names.contains("\"every__echo\""));
    assert_eq!(text(&client.call("every__echo", json!({ "message": "x" }))), "Echo: x");
    assert_eq!(text(&client.call("odd__count", json!({}))), "1");
    let ask = |client: &mut countersign_testkit::mcp::McpClient, method: &str, params: Value| -> Value {
        serde_json::from_slice(&client.request(json!({ "method": method, "params": params }))).unwrap()
    };
    let prompts = ask(&mut client, "prompts/list", json!({}));
    assert!(prompts["result"].to_string().contains("every__args-prompt"));
    let prompt = ask(
        &mut client,
        "prompts/get",
        json!({ "name": "every__args-prompt", "arguments": { "city": "Rome" } }),
    );
    assert!(prompt["result"]["messages"].to_string().contains("Rome"), "{prompt:#}");
    let resources = ask(&mut client, "resources/list", json!({}));
    let uri = resources["result"]["resources"][0]["uri"].clone();
    let read = ask(&mut client, "resources/read", json!({ "uri": uri }));
    assert!(read["result"]["contents"][0]["uri"] == uri, "{read:#}");
    for (method, params) in [
        ("resources/read", json!({ "uri": "file:///none" })),
        ("no/such", json!({})),
        ("prompts/get", json!({ "name": "x" })),
    ] {
        let answer = ask(&mut client, method, params);
        assert!(answer["error"]["code"].is_i64(), "{method}: {answer:#}");
    }
    client.finish(LIMIT);
    ground.the_log_is_whole();
}

#[test]
fn a_bad_file_is_told_with_its_place() {
    let ground = Ground::with("", None);
    ground
        .write(".countersign/servers.toml", "version = 1\n[[servers]]\nname = \"Odd\"\ncommand = \"${X}\"\n");
    let out = ground.free(&["trust", "list"]);
    let said = crate::ground::both(&out);
    assert!(
        !out.status.success() && said.contains("servers.toml:3:8") && said.contains("lower-case"),
        "{said}"
    );
    assert!(said.contains("nothing is expanded here"), "{said}");
}

/// GINV-8: a gateway lives longer than its rules. What is stricter holds for its next call, what loosens waits for a
/// person, and what a person accepts is seen without a restart.
#[test]
fn a_running_gateway_follows_its_rules() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    let mut client = ground.typed(&hostile.server());
    client.initialize_with("2025-06-18", json!({}));
    assert_eq!(text(&client.call("count", json!({}))), "1");
    let rule = "@tier(\"hard\") @rule_id(\"not_now\") forbid (principal, action == Agent::Action::\"invoke_tool\", resource) when { context.mcp_tool == \"count\" };\n";
    ground.write(".countersign/policy/hard.cedar", rule);
    let refused = client.call("count", json!({}));
    assert!(is_error(&refused) && text(&refused).contains("not_now"), "{refused:#}");
    // Broken, nothing passes; taken away again before anybody accepted it, it is gone.
    ground.write(".countersign/policy/hard.cedar", "forbid (");
    assert!(text(&client.call("echo", json!({}))).contains("policy_invalid"));
    ground.write(".countersign/policy/hard.cedar", "");
    assert_eq!(text(&client.call("count", json!({}))), "2");
    // Accepted, it cannot be taken away by writing the file.
    ground.write(".countersign/policy/hard.cedar", rule);
    ground.person(&["trust", "accept", "project", "--yes"]);
    ground.write(".countersign/policy/hard.cedar", "");
    crate::ground::until("what was accepted is seen", || {
        text(&client.call("count", json!({}))).contains("not_now")
    });
    client.finish(LIMIT);
    ground.the_log_is_whole();
}
