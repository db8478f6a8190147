//! The secrets gateway with the real binary: who is told what, byte for byte, and mail that gets its key from there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken test must fail at once"
)]

#[path = "setup/ground.rs"]
mod ground;

use countersign_testkit::mail::Resend;
use countersign_testkit::mcp::McpClient;
use ground::{BINARY, Ground};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

const VALUE: &str = "re_c4n4ry of the gateway=+/";

struct Serving {
    ground: Ground,
    child: Child,
    place: String,
    token: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ok(ground: &Ground, args: &[&str]) -> String {
    let (code, said) = ground.person(args);
    assert_eq!(code, Some(0), "{args:?}: {said}");
    said
}

fn put(ground: &Ground, name: &str, value: &str) -> String {
    let path = ground.home.join(name);
    std::fs::write(&path, value).unwrap();
    path.to_str().unwrap().to_owned()
}

fn token(ground: &Ground, name: &str, capability: &str, more: &[&str]) -> String {
    let path = ground.home.join(name);
    let args =
        ["token", "create", "--kind", "node", "--capability", capability, "--out", path.to_str().unwrap()];
    ok(ground, &[&args[..], more].concat());
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn serving(config: &str, args: &[&str]) -> Serving {
    let ground = Ground::new();
    let folder = ground.home.join(".config/countersign");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!("version = 1\nvault.key = \"file\"\n[secrets_gateway]\nenabled = true\n{config}");
    std::fs::write(folder.join("config.toml"), text).unwrap();
    let value = put(&ground, "value", VALUE);
    for name in ["resend_api_key", "slack_app_token", "unlisted"] {
        ok(&ground, &["vault", "set", name, "--unbound", "--exact", "--from-file", &value]);
    }
    ok(&ground, &["vault", "rm", "slack_app_token", "--yes"]);
    let over =
        ["vault", "bind", "slack_gateway_signing_secret", "x.example", "--until", "2020-01-01T00:00:00Z"];
    ok(&ground, &["vault", "set", over[2], "--unbound", "--exact", "--from-file", &value]);
    ok(&ground, &over);
    let token = token(&ground, "token", "secrets:read", &[]);
    let (child, place) = serve(&ground, args);
    Serving { ground, child, place, token }
}

fn serve(ground: &Ground, args: &[&str]) -> (Child, String) {
    let mut child = Command::new(BINARY)
        .arg("serve")
        .args(args)
        .env_clear()
        .env("HOME", &ground.home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let place = line.trim().strip_prefix("Secrets gateway: ").unwrap_or_else(|| panic!("{line}")).to_owned();
    (child, place)
}

impl Serving {
    /// Says something and gets everything that is said back, without the one header that tells the time.
    fn raw(&self, request: &str) -> String {
        let mut out = Vec::new();
        if let Some(path) = self.place.strip_prefix("unix:") {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let _ = stream.read_to_end(&mut out);
        } else {
            let mut stream = TcpStream::connect(self.place.strip_prefix("http://").unwrap()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let _ = stream.read_to_end(&mut out);
        }
        let text = String::from_utf8(out).unwrap();
        text.split("\r\n").filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\r\n")
    }

    fn ask(&self, target: &str, more: &[&str]) -> String {
        self.by(&self.token, target, more)
    }

    fn by(&self, token: &str, target: &str, more: &[&str]) -> String {
        let more: String = more.iter().map(|line| format!("{line}\r\n")).collect();
        self.raw(&format!(
            "GET {target} HTTP/1.1\r\nhost: x\r\nx-countersign-request: true\r\nauthorization: Bearer {token}\r\n{more}\r\n"
        ))
    }

    fn status(answer: &str) -> &str {
        answer.split(' ').nth(1).unwrap_or_default()
    }
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    answer.split("\r\n").find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or_default()
}

/// EINV-21, EINV-22: a node gets a value byte for byte, and what changed is a new value under a new id.
#[test]
fn a_node_reads_what_is_handed_out() {
    let serving = serving("", &[]);
    assert!(serving.place.starts_with("unix:"), "{}", serving.place);
    let first = serving.ask("/v1/secrets/resend_api_key", &[]);
    let (head, body) = first.split_once("\r\n\r\n").unwrap();
    assert_eq!((Serving::status(&first), body), ("200", VALUE));
    for line in [
        "content-type: text/plain; charset=utf-8",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    let id = header(&first, "x-countersign-rotation-id").to_owned();
    assert_eq!(header(&first, "etag"), format!("\"{id}\""));
    for seen in [format!("if-none-match: \"{id}\""), format!("if-none-match: {id}")] {
        let same = serving.ask("/v1/secrets/resend_api_key", &[&seen]);
        assert_eq!(Serving::status(&same), "304");
        assert!(same.ends_with("\r\n\r\n") && !same.contains(VALUE), "{same}");
    }
    let other = serving.ask("/v1/secrets/resend_api_key", &["if-none-match: \"01KB\""]);
    assert_eq!(Serving::status(&other), "200");
    let new = put(&serving.ground, "new", "re_another_value");
    ok(&serving.ground, &["vault", "rotate", "resend_api_key", "--exact", "--from-file", &new]);
    let changed = serving.ask("/v1/secrets/resend_api_key", &[&format!("if-none-match: \"{id}\"")]);
    assert!(Serving::status(&changed) == "200" && changed.ends_with("re_another_value"), "{changed}");
    assert_ne!(header(&changed, "x-countersign-rotation-id"), id);
    let identity = serving.ask("/v1/identity", &[]);
    assert!(identity.ends_with("{\"tenant_id\":\"default\"}"), "{identity}");
}

/// EINV-21: every no is the same answer, and nothing is said before it is known who asks.
#[test]
fn every_no_is_the_same() {
    let serving = serving("", &["--listen", "127.0.0.1:0"]);
    let no: Vec<String> = [
        // No name, not handed out though it is there, never there, taken away, and nothing at all.
        "/v1/secrets/NO-NAME",
        "/v1/secrets/unlisted",
        "/v1/secrets/slack_bot_token",
        "/v1/secrets/slack_app_token",
        "/v1/secrets/slack_gateway_signing_secret",
        "/v1/secrets/resend%5Fapi_key",
        "/v1/secrets/../secrets/resend_api_key/",
        "/v1/secrets/",
        "/v1/secrets",
        "/",
    ]
    .iter()
    .map(|target| serving.ask(target, &[]))
    .collect();
    assert_eq!(Serving::status(&no[0]), "404");
    for one in &no {
        assert_eq!(one, &no[0]);
    }
    // A program of the machine that knows no header, a page, and what somebody forwarded.
    let plain = format!(
        "GET /v1/secrets/resend_api_key HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        serving.token
    );
    assert_eq!(Serving::status(&serving.raw(&plain)), "400");
    for more in ["x-forwarded-for: 1.2.3.4", "forwarded: for=1.2.3.4", "origin: http://x.example"] {
        assert_eq!(Serving::status(&serving.ask("/v1/secrets/resend_api_key", &[more])), "400", "{more}");
    }
    // Who it is comes before what for: known, unknown and no names are refused alike.
    let refused = serving.by("no", "/v1/secrets/resend_api_key", &[]);
    assert_eq!(Serving::status(&refused), "401");
    assert!(refused.ends_with("\r\n\r\n"), "{refused}");
    assert_eq!(serving.by("no", "/v1/secrets/NO-NAME", &[]), refused);
    let head = |token: &str| {
        serving.raw(&format!(
            "HEAD /v1/secrets/resend_api_key HTTP/1.1\r\nhost: x\r\nx-countersign-request: true\r\nauthorization: Bearer {token}\r\n\r\n"
        ))
    };
    assert_eq!(Serving::status(&head("no")), "401");
    assert_eq!(Serving::status(&head(&serving.token)), "405");
    let twice = format!("authorization: Bearer {}", serving.token);
    assert_eq!(Serving::status(&serving.ask("/v1/secrets/resend_api_key", &[&twice])), "401");
    assert_eq!(Serving::status(&serving.raw("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")), "200");
}

/// Tokens end, and are for what they were made for; whoever tries too often waits.
#[test]
fn tokens_and_their_limits() {
    let serving = serving("per_minute = 6\n", &["--listen", "127.0.0.1:0"]);
    let metrics = token(&serving.ground, "metrics", "metrics", &[]);
    let old = token(&serving.ground, "old", "secrets:read", &["--expires", "2020-01-01T00:00:00Z"]);
    let gone = token(&serving.ground, "gone", "secrets:read", &[]);
    let listed = ok(&serving.ground, &["token", "list"]);
    assert!(
        !listed.contains(&gone) && listed.lines().filter(|l| l.ends_with("counts")).count() == 3,
        "{listed}"
    );
    let id =
        listed.lines().filter(|l| l.ends_with("counts")).max().unwrap().split(' ').next().unwrap().to_owned();
    ok(&serving.ground, &["token", "revoke", &id]);
    for token in [&metrics, &old, &gone] {
        assert_eq!(Serving::status(&serving.by(token, "/v1/secrets/resend_api_key", &[])), "401");
    }
    let scraped =
        serving.raw(&format!("GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {metrics}\r\n\r\n"));
    assert!(scraped.contains("countersign_secret_reads_total{result=\"ok\"} 0"), "{scraped}");
    assert_eq!(header(&scraped, "cache-control"), "no-store");
    // A no counts double.
    for status in ["404", "404", "200", "200", "429"] {
        let target = if status == "404" { "/v1/secrets/x" } else { "/v1/secrets/resend_api_key" };
        let answer = serving.ask(target, &[]);
        assert_eq!(Serving::status(&answer), status, "{answer}");
        assert!(status != "429" || header(&answer, "retry-after").parse::<u64>().unwrap() > 0);
    }
    for _ in 0..7 {
        assert_eq!(Serving::status(&serving.by("no", "/v1/identity", &[])), "401");
    }
    assert_eq!(Serving::status(&serving.by("no", "/v1/identity", &[])), "429");
    // Whoever has a token is not slowed by one that has none and comes from the same place.
    let scraped =
        serving.raw(&format!("GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {metrics}\r\n\r\n"));
    assert_eq!(Serving::status(&scraped), "200");
    let files = serving.ground.everything();
    for value in [&metrics, &old, &gone, &serving.token] {
        let holds =
            files.iter().filter(|(_, bytes)| bytes.windows(value.len()).any(|w| w == value.as_bytes()));
        assert_eq!(holds.count(), 1, "only the file that it was written into");
    }
}

/// P-18: a read is a record with name, version and who asked, and the value is in no file; a halt stops reads, and where the
/// vault does not open nothing is said of what it holds.
#[test]
fn reads_are_recorded_and_stopped() {
    let serving = serving("", &["--listen", "127.0.0.1:0"]);
    assert_eq!(Serving::status(&serving.ask("/v1/secrets/resend_api_key", &[])), "200");
    assert_eq!(Serving::status(&serving.ask("/v1/secrets/unlisted", &[])), "404");
    let known = countersign_core::cleanse::Known::new([VALUE.as_bytes()]).unwrap();
    let mut log = Vec::new();
    for (path, bytes) in serving.ground.everything() {
        assert!(
            path.ends_with("value") || known.scrub_bytes(&bytes).is_none(),
            "{} holds it",
            path.display()
        );
        if path.starts_with(serving.ground.home.join(".local/state/countersign/user")) {
            log.extend(bytes);
        }
    }
    let log = String::from_utf8_lossy(&log);
    for part in
        ["\"secret.used\"", "\"name\":\"resend_api_key\"", "\"principal\":\"node:", "\"result\":\"ok\""]
    {
        assert!(log.contains(part), "{part}");
    }
    let user = serving.ground.home.join(".local/state/countersign/user");
    std::fs::write(user.join("HALT"), "stop (halted at now)\n").unwrap();
    let stopped = serving.ask("/v1/secrets/resend_api_key", &[]);
    assert_eq!(Serving::status(&stopped), "503");
    std::fs::remove_file(user.join("HALT")).unwrap();
    let key = serving.ground.home.join(".local/share/countersign/keys/vault.key");
    std::fs::rename(&key, key.with_extension("away")).unwrap();
    assert_eq!(serving.ask("/v1/secrets/resend_api_key", &[]), stopped);
}

/// A port that nobody listens at right now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// EINV-1, EINV-2, EINV-16, EINV-17, EINV-18: a client at the gateway sees the tool where it is set up and sends mail with a
/// key that comes over the socket of the secrets gateway; the counts can be read, and nobody sees the key.
#[test]
fn mail_gets_its_key_from_the_gateway() {
    let serving = serving("", &[]);
    let key = "re_key-of-the-gateway-itself";
    let new = put(&serving.ground, "new", key);
    ok(&serving.ground, &["vault", "rotate", "resend_api_key", "--exact", "--from-file", &new]);
    let provider = Resend::start(key);
    let (_, said) = serving.ground.person(&["init", "--yes", "--enforce"]);
    // Before any client comes: its process is an agent from then on.
    let of_project = serving.ground.text(".countersign/config.toml");
    let (before, after) = of_project.split_once("[\"suspected_injection\"]").unwrap();
    serving.ground.put(".countersign/config.toml", &format!("{before}[\"send_email\"]{after}"));
    ok(&serving.ground, &["trust", "accept", "project", "--yes"]);
    let config = serving.ground.home.join(".config/countersign/config.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    let start = |port: u16| {
        let root = serving.ground.root.to_str().unwrap();
        let (home, token) = (serving.ground.home.to_str().unwrap(), serving.ground.home.join("token"));
        let port = port.to_string();
        let env = [
            ("HOME", home),
            ("COUNTERSIGN_METRICS_PORT", port.as_str()),
            ("COUNTERSIGN_SECRETS_GATEWAY_TOKEN_FILE", token.to_str().unwrap()),
        ];
        let mut client = McpClient::spawn(BINARY, ["--project", root, "mcp"], &env, &serving.ground.root);
        client.initialize();
        client
    };
    let tools = |client: &mut McpClient| {
        let line = client.request(json!({ "method": "tools/list", "params": {} }));
        String::from_utf8(line).unwrap()
    };
    let args = |to: &str| json!({ "to": to, "subject": "Daily report", "text": "All is well.", "purpose": "report" });
    let mut none = start(free_port());
    assert!(!tools(&mut none).contains("send_email"), "{said}");
    let called = none.call("send_email", args("ana@example.org"));
    assert!(called.to_string().contains("code=unknown_tool"), "{called}");
    drop(none);

    text.push_str("\n[mail]\nowner = \"ana@example.org\"\nagent_name = \"cody\"\ndomain = \"agents.example.org\"\npurposes = [\"report\"]\n");
    text.push_str(&format!(
        "test_mode = true\nbase_url = \"{}\"\ngateway_url = \"{}\"\n",
        provider.url(),
        serving.place
    ));
    std::fs::write(&config, format!("{text}recipients = \"workspace\"\n")).unwrap();
    let mut bad = start(free_port());
    assert!(!tools(&mut bad).contains("send_email"));
    assert_eq!(
        bad.errors().matches("there is no mail: `mail.recipients` is `workspace`").count(),
        1,
        "{}",
        bad.errors()
    );
    assert!(tools(&mut bad).contains("http_fetch"), "the gate itself works");
    drop(bad);

    std::fs::write(&config, &text).unwrap();
    let port = free_port();
    let mut client = start(port);
    let listed = tools(&mut client);
    assert!(
        listed.contains("cody@agents.example.org") && listed.contains("At most 50 mails a day"),
        "{listed}"
    );
    let mut said = String::new();
    for to in ["ana@example.org", "mallory@example.org", "ana@example.org"] {
        said.push_str(&client.call("send_email", args(to)).to_string());
    }
    assert!(said.contains("recipient_denied") && said.contains("\\\"sent\\\":true"), "{said}");
    assert_eq!(provider.posted()[0].headers["authorization"], format!("Bearer {key}"));
    let mut out = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream.read_to_string(&mut out).unwrap();
    for line in [
        "countersign_email_send_total{outcome=\"ok\",purpose=\"report\"} 2",
        "countersign_email_send_total{outcome=\"recipient_denied\",purpose=\"report\"} 1",
        "countersign_email_send_total{outcome=\"service_down\",purpose=\"unspecified\"} 0",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    assert!(!(said + &out + &client.errors()).contains(key));
    assert_eq!(provider.accepted().len(), 1, "the same mail is the same mail");

    // VINV-23: whoever runs below a client sees of a question what the agent is told, and not whether there is such a
    // secret (what a person sees of it: `claude_mcp`).
    let ask = json!({ "url": "https://nowhere.example/", "secret": "k", "reason": "to look" });
    let call = json!({ "name": "http_fetch", "arguments": ask });
    client.send_line(
        json!({ "jsonrpc": "2.0", "id": 77, "method": "tools/call", "params": call }).to_string().as_bytes(),
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let shown = loop {
        let shown = ok(&serving.ground, &["pending"]);
        if shown.contains("http_fetch") {
            break shown;
        }
        assert!(std::time::Instant::now() < deadline, "no question came: {shown}");
    };
    let json = ok(&serving.ground, &["pending", "--json"]);
    for shown in [&shown, &json] {
        assert!(shown.contains("nowhere.example") && !shown.contains("in the vault"), "{shown}");
    }
}
