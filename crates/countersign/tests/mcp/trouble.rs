//! Servers that change, die, answer twice and write garbage; clients that send garbage; gateways that are killed.

use crate::ground::{ASKS, Ground, LIMIT, is_error, text, until};
use countersign_testkit::fakes::Chance;
use countersign_testkit::mcp::{McpClient, Server, hostile::Hostile};
use serde_json::{Value, json};
use std::time::Duration;

fn listed(client: &mut McpClient) -> Vec<String> {
    let answer: Value = serde_json::from_slice(&client.request(json!({ "method": "tools/list" }))).unwrap();
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer:#}"));
    tools.iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
}

fn named(ground: &Ground, server: &Server) -> McpClient {
    let mut client = ground.client(&ground.gated(&["--server", "odd"], server));
    client.initialize_with("2025-06-18", json!({}));
    client
}

/// P-29, GINV of gateway.md 3.6: what changed between list and call is called by nobody, in this process or another,
/// until a person has looked.
#[test]
fn a_changed_tool_quarantines_its_server() {
    for tells in [true, false] {
        let ground = Ground::with("", None);
        let hostile = Hostile::new(&ground.root, "odd");
        let mut client = named(&ground, &hostile.server());
        assert!(listed(&mut client).contains(&"count".to_owned()));
        assert_eq!(text(&client.call("count", json!({}))), "1");
        client.call("change", json!({ "tell": tells }));
        if tells {
            // Told of a change, the gate looks before it lets anything through.
            until("the change is seen", || !ground.events("trust.drift_blocked").is_empty());
        } else {
            assert_eq!(listed(&mut client), Vec::<String>::new(), "nothing of it is shown");
        }
        let refused = client.call("count", json!({}));
        assert!(is_error(&refused) && text(&refused).contains("code=untrusted_server"), "{refused:#}");
        assert_eq!(listed(&mut client), Vec::<String>::new());
        client.finish(LIMIT);
        // Another process, and a server that shows the old list again.
        let mut client = named(&ground, &hostile.server());
        assert!(text(&client.call("count", json!({}))).contains("code=untrusted_server"));
        client.finish(LIMIT);
        assert_eq!(hostile.calls("count"), 1, "nothing reached the server");
        assert!(ground.said(&["trust", "list"]).contains("QUARANTINED"));
        let said = ground.person(&["trust", "accept", "odd", "--yes"]);
        // What it listed in between is nobody's: it lists what it listed first, and that is accepted.
        assert!(said.contains("listed something else before; changed:"), "{said}");
        assert!(!ground.said(&["trust", "list"]).contains("QUARANTINED"));
        let mut client = named(&ground, &hostile.server());
        assert_eq!(text(&client.call("count", json!({}))), "1");
        client.call("change", json!({ "tell": tells }));
        assert_eq!(listed(&mut client), Vec::<String>::new());
        client.finish(LIMIT);
        let said = ground.person(&["trust", "accept", "odd", "--yes"]);
        assert!(said.contains("changed:") && said.contains("added_later"), "{said}");
        let mut client = named(&ground, &hostile.server());
        // It lists what it listed first, which is now a change of what was accepted.
        assert!(text(&client.call("count", json!({}))).contains("code=untrusted_server"));
        client.finish(LIMIT);
        ground.the_log_is_whole();
    }
}

/// A copy of the hostile server that does what `edit` makes of its script.
fn edited(ground: &Ground, hostile: &Hostile, edit: impl Fn(&str) -> String) -> Server {
    let mut server = hostile.server();
    let script = std::fs::read_to_string(&server.args[0]).unwrap();
    let changed = edit(&script);
    assert_ne!(script, changed, "the script reads otherwise now");
    server.args[0] = ground.write("edited.py", &changed).display().to_string();
    server
}

const STARTS: &str = "\"changed\": False";
const DESCRIBES: &str = "offered[0][\"description\"] =";

/// The server shows another list while a file is there, whichever process of it is asked.
fn changing_with(script: &str, file: &std::path::Path) -> String {
    script.replace(STARTS, &format!("\"changed\": os.path.exists({:?})", file.display().to_string()))
}

#[test]
fn what_a_person_accepted_is_called_again() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    let file = ground.root.join("changed");
    let server = edited(&ground, &hostile, |script| changing_with(script, &file));
    let mut client = named(&ground, &server);
    assert_eq!(text(&client.call("count", json!({}))), "1");
    client.finish(LIMIT);
    std::fs::write(&file, "").unwrap();
    let mut client = named(&ground, &server);
    assert!(text(&client.call("count", json!({}))).contains("code=untrusted_server"));
    client.finish(LIMIT);
    let seen = ground.events("trust.tool_changed");
    for (tool, change) in [("echo", "changed"), ("added_later", "added")] {
        let this = |r: &&Value| r["data"]["tool"] == tool && r["data"]["change"] == change;
        assert_eq!(seen.iter().filter(this).count(), 1, "{tool}: {seen:#?}");
    }
    ground.person(&["trust", "accept", "odd", "--yes"]);
    let mut client = named(&ground, &server);
    assert!(listed(&mut client).contains(&"added_later".to_owned()));
    assert_eq!(text(&client.call("count", json!({}))), "1", "a fresh process");
    assert!(!is_error(&client.call("added_later", json!({}))));
    client.finish(LIMIT);
    assert_eq!((hostile.calls("count"), hostile.calls("added_later")), (2, 1));
    ground.the_log_is_whole();
}

/// What is only new is kept away until somebody has looked; what was there goes on.
#[test]
fn an_added_tool_is_hidden_and_the_others_are_not() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    let file = ground.root.join("changed");
    let server = edited(&ground, &hostile, |script| {
        changing_with(script, &file).replace(DESCRIBES, "offered[0][\"description\"] if True else")
    });
    let mut client = named(&ground, &server);
    assert_eq!(text(&client.call("count", json!({}))), "1");
    client.finish(LIMIT);
    std::fs::write(&file, "").unwrap();
    let mut client = named(&ground, &server);
    let names = listed(&mut client);
    assert!(names.contains(&"count".to_owned()) && !names.contains(&"added_later".to_owned()), "{names:?}");
    assert!(is_error(&client.call("added_later", json!({}))));
    assert_eq!(text(&client.call("count", json!({}))), "1", "a fresh process that nothing else reached");
    client.finish(LIMIT);
    assert_eq!(hostile.calls("added_later"), 0);
    assert!(ground.events("trust.drift_blocked").is_empty());
    ground.the_log_is_whole();
}

#[test]
fn a_list_that_changes_by_itself_quarantines_its_server() {
    for telling in [true, false] {
        let ground = Ground::with("", None);
        let hostile = Hostile::new(&ground.root, "odd").changing_after(1);
        let hostile = if telling { hostile.telling() } else { hostile };
        let mut client = named(&ground, &hostile.server());
        listed(&mut client);
        if telling {
            until("the change is seen", || !ground.events("trust.drift_blocked").is_empty());
        } else {
            until("the change is seen", || listed(&mut client).is_empty());
        }
        assert!(text(&client.call("count", json!({}))).contains("code=untrusted_server"));
        assert_eq!(listed(&mut client), Vec::<String>::new());
        client.finish(LIMIT);
        assert_eq!(hostile.calls("count"), 0);
        assert_eq!(ground.events("trust.drift_blocked").len(), 1);
        ground.the_log_is_whole();
    }
}

/// Nothing that was sent is sent again, and whoever called is told what is known.
/// GINV-49.
#[test]
fn a_server_that_dies_leaves_an_unknown_end_and_is_started_anew_once() {
    let ground = Ground::with("", None);
    for (tool, name) in [("dies", "one"), ("dies_silently", "two"), ("no_newline", "three")] {
        let hostile = Hostile::new(&ground.root, name);
        let mut client = ground.client(&ground.gated(&["--server", name], &hostile.server()));
        client.initialize_with("2025-06-18", json!({}));
        let answer = client.call(tool, json!({}));
        assert!(
            is_error(&answer) && text(&answer).contains("[WITHHELD: outcome_unknown]"),
            "{tool}: {answer:#}"
        );
        assert_eq!(text(&client.call("count", json!({}))), "1", "a fresh process");
        client.call(tool, json!({}));
        let again = client.call("count", json!({}));
        assert!(text(&again).contains("code=server_unavailable"), "{again:#}");
        client.finish(LIMIT);
        assert_eq!(hostile.calls(tool), 2, "each call once");
    }
    let unknown = ground.events("call.finished").into_iter().filter(|r| r["data"]["outcome"] == "unknown");
    assert_eq!(unknown.count(), 6);
    ground.the_log_is_whole();
}

#[test]
fn a_second_answer_a_strangers_answer_and_garbage_go_nowhere() {
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    let mut client = named(&ground, &hostile.server());
    assert_eq!(text(&client.call("twice", json!({}))), "first");
    assert!(!is_error(&client.call("stranger", json!({}))));
    assert!(!is_error(&client.call("garbage", json!({}))));
    client.call("echo", json!({}));
    let (_, rest) = client.finish(LIMIT);
    assert!(rest.is_empty(), "{rest:?}");
    let notes = ground.events("log.note");
    for what in ["an answer to nothing that is open", "it went nowhere"] {
        assert!(
            notes.iter().any(|n| n["data"]["text"].as_str().unwrap().contains(what)),
            "{what}: {notes:#?}"
        );
    }
    for tool in ["twice", "stranger", "garbage"] {
        assert_eq!(hostile.calls(tool), 1);
    }
    ground.the_log_is_whole();
}

/// One frame of a client that does not know what it says.
fn frame(chance: &mut Chance, nth: u64) -> Vec<u8> {
    let id = match chance.below(8) {
        0 => format!("\"{nth}\""),
        1 => "7".to_owned(),
        2 => format!("1234567890123456789{nth}"),
        _ => (nth + 1_000).to_string(),
    };
    let tools = ["echo", "echo", "echo", "count", "fails", "refuses", "nothing_like_it", "digits"];
    let tool = tools[usize::try_from(chance.below(8)).unwrap()];
    let arguments = [
        "{}",
        "{\"a\":1}",
        "{\"a\":1,\"a\":2}",
        "{\"b\":[1.50,null,\"\\u00e9\"]}",
        "[]",
        "{\"a\":\"\\ud800\"}",
        "null",
        "{\"n\":1e400}",
    ];
    let arguments = arguments[usize::try_from(chance.below(8)).unwrap()];
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    );
    let mut bytes = match chance.below(12) {
        0 => format!("[{call}]").into_bytes(),
        1 => call.replace("2.0", "1.0").into_bytes(),
        2 => call.replace(&format!("\"id\":{id},"), "").into_bytes(),
        3 => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).into_bytes(),
        4 => br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#.to_vec(),
        _ => call.into_bytes(),
    };
    if chance.below(4) == 0 {
        for _ in 0..=chance.below(3) {
            let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap();
            match chance.below(3) {
                0 => bytes[at] = u8::try_from(chance.below(256)).unwrap(),
                1 => {
                    bytes.remove(at);
                }
                _ => bytes.insert(at, u8::try_from(chance.below(256)).unwrap()),
            }
            if bytes.is_empty() {
                bytes.push(b'x');
            }
        }
    }
    bytes
}

/// What the server got is what the log says was let through, whatever a client sends. `COUNTERSIGN_FRAMES` makes it
/// longer.
#[test]
fn frames_that_reach_a_server_are_calls_that_were_recorded() {
    let frames: u64 = std::env::var("COUNTERSIGN_FRAMES").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000);
    let ground = Ground::with("", None);
    let hostile = Hostile::new(&ground.root, "odd");
    let mut client = named(&ground, &hostile.server());
    let mut chance = Chance::new(3);
    for nth in 0..frames {
        let mut bytes = frame(&mut chance, nth);
        bytes.push(b'\n');
        client.send_bytes(&bytes);
        if nth % 200 == 199 {
            // All of them are dealt with before the next ones come.
            let mark = json!(format!("mark {nth}"));
            let ping = json!({ "jsonrpc": "2.0", "id": mark, "method": "ping" });
            client.send_line(ping.to_string().as_bytes());
            client.answer(&mark);
            while client.try_recv_line(Duration::ZERO).is_some() {}
        }
    }
    client.finish(LIMIT);
    // Bytes, not messages: what this house's reader refuses, a server may take.
    let has = |line: &[u8], what: &[u8]| line.windows(what.len()).any(|part| part == what);
    let lines = hostile.lines();
    let reached = lines.iter().filter(|line| has(line, b"\"tools/call\"")).count();
    // A method that only begins or ends like it is another one, judged under its own name, which has the slash.
    let alike: Vec<_> = lines
        .iter()
        .filter(|line| has(line, b"tools/call") && !has(line, b"\"tools/call\""))
        .map(|line| String::from_utf8_lossy(line))
        .collect();
    let judged = ground.events("call.judged");
    let names: Vec<&str> = judged
        .iter()
        .filter(|r| r["data"]["decision"] == "allowed")
        .filter_map(|r| r["data"]["tool_name"].as_str()?.strip_prefix("mcp__odd__"))
        .collect();
    let allowed = names.iter().filter(|name| !name.contains('/')).count();
    let methods: Vec<_> = names.iter().filter(|name| name.contains("tools/call")).collect();
    assert_eq!(alike.len(), methods.len(), "{alike:#?}: {methods:#?}");
    println!("{} methods that are nearly calls: {methods:?}", alike.len());
    println!("{frames} frames: {reached} calls reached the server, {allowed} are recorded as let through");
    assert!(reached > usize::try_from(frames / 10).unwrap());
    assert_eq!(reached, allowed);
    ground.the_log_is_whole();
}

/// The gateway below the `timeout` that a client started.
fn gateway(client: &McpClient) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", client.pid());
    let mut found = None;
    until("the gateway runs", || {
        let text = std::fs::read_to_string(&children).unwrap_or_default();
        found = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
        found.is_some()
    });
    found.unwrap()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Gateways and servers killed at random points of held and running calls: nothing runs twice, everything ends, and the
/// questions outlive whoever asked. `COUNTERSIGN_KILLS` is the number of gateways.
#[test]
fn killed_gateways_run_nothing_twice() {
    let gateways: u64 = std::env::var("COUNTERSIGN_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let ground = Ground::with(ASKS, None);
    let hostile = Hostile::new(&ground.root, "odd");
    let mut chance = Chance::new(11);
    let go = ground.root.join("go");
    for round in 0..gateways {
        let mut client = named(&ground, &hostile.server());
        listed(&mut client);
        let pid = gateway(&client);
        for nth in 0..8u64 {
            // Each call is another one, so that what ran can be told apart.
            let (tool, arguments) = match nth % 4 {
                0 | 1 => ("count", json!({ "n": format!("held {round} {nth}") })),
                2 => ("slow", json!({ "file": go, "n": format!("slow {round} {nth}") })),
                _ => ("echo", json!({ "n": format!("echo {round} {nth}") })),
            };
            let call = json!({ "jsonrpc": "2.0", "id": nth + 50, "method": "tools/call",
                "params": { "name": tool, "arguments": arguments } });
            client.send_line(call.to_string().as_bytes());
        }
        let victim = match chance.below(3) {
            0 => {
                // Its server, and the gateway a little later.
                let text =
                    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
                text.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(pid)
            }
            _ => pid,
        };
        if chance.below(2) == 0 {
            until("something is asked", || !ground.pending().is_empty());
            let id = ground.pending()[0]["approval_id"].as_str().unwrap().to_owned();
            ground.person(&["approve", &id, "--yes"]);
        }
        // A point in the work, not a time that anything depends on.
        std::thread::sleep(Duration::from_millis(chance.below(120)));
        kill(victim);
        if victim != pid {
            // The gateway buries its server, and is killed while it deals with that.
            until("the server is gone", || !std::path::Path::new(&format!("/proc/{victim}")).exists());
        }
        kill(pid);
        drop(client);
    }
    // Another gateway finds out what became of them.
    let mut client = named(&ground, &hostile.server());
    assert!(!is_error(&client.call("echo", json!({ "n": "last" }))));
    // Questions of the killed are still there; the same call made again runs once.
    let waiting = ground.pending();
    let question = waiting.first().expect("a question that nobody answered");
    let id = question["approval_id"].as_str().unwrap();
    let display: Value = serde_json::from_str(question["display"].as_str().unwrap()).unwrap();
    ground.person(&["approve", id, "--yes"]);
    assert!(!is_error(&client.call("count", display.clone())));
    client.finish(LIMIT);
    let mut seen: Vec<String> = hostile
        .lines()
        .iter()
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter_map(|m| m["params"]["arguments"]["n"].as_str().map(str::to_owned))
        .collect();
    let all = seen.len();
    seen.sort();
    seen.dedup();
    println!(
        "{gateways} gateways killed: {all} calls reached the server, {} questions were left",
        waiting.len()
    );
    assert_eq!(all, seen.len(), "something ran twice");
    assert!(seen.iter().any(|n| display["n"] == **n), "the call made again did not run");
    ground.the_log_is_whole();
    let open =
        ground.events("call.finished").into_iter().filter(|r| r["data"]["outcome"] == "unknown").count();
    assert!(open > 0, "nothing was lost: the test kills too late");
}
