//! Secrets that a server finds in its environment: opened when it starts, in no text of ours, and taken out of whatever it
//! says.

use crate::ground::{Ground, LIMIT, is_error, text};
use countersign_core::cleanse::Known;
use serde_json::{Value, json};

const VALUE: &str = "c4n4ry/of=the+environment";

/// A server that tells what it finds, wherever it can: in answers, listings and by itself.
const TELLS: &str = r#"
import base64, json, os, sys
value = os.environ.get("TOKEN", "unset")
def send(message):
    print(json.dumps(message), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, result = message["method"], {}
    if method == "initialize":
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}, "logging": {}},
                  "serverInfo": {"name": "tells", "version": value}}
    if method == "tools/list":
        result = {"tools": [{"name": "environment", "description": "with " + value, "inputSchema": {"type": "object"}}]}
    if method == "tools/call":
        send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "I have " + value}})
        said = "%s %s %s" % (value, base64.b64encode(value.encode()).decode(), len(value))
        result = {"content": [{"type": "text", "text": said}]}
    send({"jsonrpc": "2.0", "id": message["id"], "result": result})
"#;

fn ground() -> Ground {
    let ground = Ground::with("", None);
    let config = ground.home.join(".config/countersign");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "version = 1\nvault.key = \"file\"\n").unwrap();
    ground.write("tells.py", TELLS);
    ground
}

fn entry(ground: &Ground, name: &str, env: &str) -> String {
    let script = ground.root.join("tells.py");
    format!(
        "[[servers]]\nname = \"{name}\"\ncommand = \"python3\"\nargs = [{:?}]\nenv = {{ {env} }}\n",
        script.display().to_string()
    )
}

fn store(ground: &Ground, name: &str, value: &str, more: &[&str]) {
    let file = ground.home.join("value");
    std::fs::write(&file, value).unwrap();
    let mut args = vec!["vault", "set", name, "--from-file", file.to_str().unwrap()];
    args.extend(more);
    ground.person(&args);
    std::fs::remove_file(file).unwrap();
}

fn files(folder: &std::path::Path, out: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&path, out),
            kind if kind.is_file() => out.push((path.clone(), std::fs::read(&path).unwrap())),
            _ => {}
        }
    }
}

/// P-18, VINV-11: the child has the value, and nobody else reads it: not in answers, listings, messages, pins, logs or
/// what a person is shown.
#[test]
fn a_server_has_its_secret_and_the_client_does_not() {
    let ground = ground();
    store(&ground, "k", VALUE, &["--host", "api.example.org"]);
    let toml = format!("version = 1\n{}", entry(&ground, "tells", "TOKEN = { secret = \"k\" }"));
    ground.write(".countersign/servers.toml", &toml);
    ground.person(&["trust", "accept", "project", "--yes"]);
    let shown = ground.person(&["trust", "accept", "tells", "--yes"]);
    assert!(shown.contains("secret") && !shown.contains("c4n4ry"), "{shown}");
    let known = Known::new([VALUE.as_bytes()]).unwrap();
    let clean = |what: &str, text: &str| assert!(known.scrub(text).is_none(), "{what}: {text}");
    let mut client = ground.registered(&[]);
    let opened = client.initialize_with("2025-06-18", json!({}));
    clean("opening", &opened.to_string());
    let listed = client.request(json!({ "jsonrpc": "2.0", "method": "tools/list" }));
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.contains("tells__environment"), "{listed}");
    clean("listing", &listed);
    let answer = client.call("tells__environment", json!({}));
    // It has all of it, and it is not shown.
    assert_eq!(text(&answer), format!("[REDACTED] [REDACTED] {}", VALUE.len()));
    // However many other secrets are used.
    for _ in 0..3 {
        clean("answer", &client.call("tells__environment", json!({})).to_string());
    }
    // What it says by itself.
    let call = json!({ "jsonrpc": "2.0", "id": 900, "method": "tools/call", "params": { "name": "tells__environment" } });
    client.send_line(call.to_string().as_bytes());
    let told = client.recv_where(LIMIT, |line| line.windows(6).any(|w| w == b"I have"));
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("I have [REDACTED]"), "{told}");
    clean("errors", &client.errors());
    client.finish(LIMIT);
    clean("list", &ground.said(&["trust", "list"]));
    let used = ground.events("secret.used");
    assert!(used.iter().any(|r| r["data"]["server"] == "tells" && r["data"]["name"] == "k"), "{used:?}");
    let doctor: Value = serde_json::from_slice(&ground.free(&["doctor", "--json"]).stdout).unwrap();
    assert!(doctor.to_string().contains("finds the secret `k` in its environment as TOKEN"), "{doctor}");
    clean("doctor", &doctor.to_string());
    let mut all = Vec::new();
    files(&ground.home, &mut all);
    files(&ground.root, &mut all);
    for (path, bytes) in all {
        assert!(known.scrub_bytes(&bytes).is_none(), "{} holds it", path.display());
    }
    ground.the_log_is_whole();
}

/// A server without its secret is not started and says why; the others are. What is not accepted opens nothing.
#[test]
fn a_missing_secret_stops_its_server_alone() {
    let ground = ground();
    store(&ground, "there", VALUE, &["--unbound"]);
    let toml = |name: &str| {
        format!(
            "version = 1\n{}{}",
            entry(&ground, "good", "TOKEN = { secret = \"there\" }"),
            entry(&ground, "bad", &format!("TOKEN = {{ secret = \"{name}\" }}"))
        )
    };
    ground.write(".countersign/servers.toml", &toml("later"));
    ground.person(&["trust", "accept", "project", "--yes"]);
    ground.person(&["trust", "accept", "good", "--yes"]);
    let (code, said) = ground.try_person(&["trust", "accept", "bad", "--yes"]);
    assert!(
        code != Some(0) && said.contains("`later` for `TOKEN` cannot be opened: secret_not_found"),
        "{said}"
    );
    store(&ground, "later", "another-c4n4ry-value", &["--unbound"]);
    ground.person(&["trust", "accept", "bad", "--yes"]);
    ground.person(&["vault", "rm", "later", "--yes"]);
    let run = |want: &str| {
        let mut client = ground.registered(&[]);
        client.initialize_with("2025-06-18", json!({}));
        assert!(!is_error(&client.call("good__environment", json!({}))));
        let refused = client.call("bad__environment", json!({}));
        assert!(is_error(&refused), "{refused:#}");
        assert!(client.errors().contains(want), "{}", client.errors());
        client.finish(LIMIT);
    };
    run(
        "the server `bad` cannot be started: the secret `later` for `TOKEN` cannot be opened: secret_not_found",
    );
    // Bound to another project, it is not for this one.
    store(&ground, "later", "another-c4n4ry-value", &["--unbound"]);
    ground.person(&["vault", "bind", "later", "--this-project", "--until", "2020-01-01T00:00:00Z"]);
    run("was bound until a time that is over");
    // Another secret is another launch: nothing of it is opened before somebody accepts it.
    let before = ground.events("secret.used").len();
    ground.write(".countersign/servers.toml", &toml("there"));
    ground.person(&["trust", "accept", "project", "--yes"]);
    run("changed since it was accepted");
    assert_eq!(ground.events("secret.used").len(), before + 1, "the good one's alone");
}
