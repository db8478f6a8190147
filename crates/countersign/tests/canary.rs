//! The canary run: secrets that occur nowhere else are planted, everything that touches secrets is used, well and badly,
//! and then every output and every file is searched for them, as they are and in every encoding (P-18).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a broken test must fail at once, and the ground is shared"
)]

#[path = "mcp/ground.rs"]
mod ground;

use countersign_core::cleanse::{Known, base64};
use countersign_testkit::hostile::{Hostile, Script};
use countersign_testkit::mail::{Resend, Wrong};
use ground::Ground;
use serde_json::{Value, json};
use std::path::Path;

/// Each is planted in another place.
const FETCH: &str = "c4n4ry-fetch/+\"quoted\\back=&<7>";
const BASIC: &str = "user:c4n4ry-basic-passw0rd";
const UNBOUND: &str = "c4n4ry-unbound-never-used";
const ROTATED: &str = "c4n4ry-rotated-old-value";
const MAIL: &str = "re_c4n4ry_mail_k3y";
const ALL: [&str; 5] = [FETCH, BASIC, UNBOUND, ROTATED, MAIL];

/// Everything that went out somewhere, by where.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    fn add(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((what.into(), bytes.into()));
    }

    fn search(&self) {
        let known = Known::new(ALL.iter().map(|value| value.as_bytes())).unwrap();
        // The password alone counts as much as the pair.
        let parts = Known::new([&b"c4n4ry-basic-passw0rd"[..]]).unwrap();
        let mut hits = Vec::new();
        for (what, bytes) in &self.0 {
            for known in [&known, &parts] {
                if known.scrub_bytes(bytes).is_some() {
                    hits.push(format!("{what} holds a secret"));
                } else if bytes.len() < 200_000 && known.remains(bytes) {
                    hits.push(format!("{what} holds a secret behind an encoding"));
                }
            }
        }
        assert!(hits.is_empty(), "{hits:#?}");
    }
}

fn walk(folder: &Path, out: &mut Outputs) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            walk(&path, out);
        } else if kind.is_file() {
            out.add(path.display().to_string(), std::fs::read(&path).unwrap_or_default());
        }
    }
}

fn ground(server: &Hostile, mail: &Resend) -> Ground {
    let ground = Ground::with("", Some(1));
    let config = ground.home.join(".config/countersign");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("ca.pem"), &server.ca_pem).unwrap();
    let at = format!("localhost:{}", server.port);
    let mut text = format!(
        "version = 1\nvault.key = \"file\"\nvault.ca_file = \"{}\"\nvault.quarantine_after = 1000\n\
         [mail]\nowner = \"ana@example.org\"\nagent_name = \"cody\"\ndomain = \"agents.example.org\"\n\
         base_url = \"{}\"\ntest_mode = true\n",
        config.join("ca.pem").display(),
        mail.url()
    );
    for key in ["fetch", "basic", "rotated", "gone"] {
        for class in ["read", "write", "delete"] {
            text.push_str(&format!("[[allow]]\nsecret = \"{key}@{at}#{class}\"\n"));
        }
    }
    std::fs::write(config.join("config.toml"), text).unwrap();
    ground
}

#[test]
fn no_secret_is_anywhere() {
    let server = Hostile::beside(&["localhost"]);
    let mail = Resend::start(MAIL);
    let ground = ground(&server, &mail);
    let at = format!("localhost:{}", server.port);
    let mut out = Outputs::default();
    let typed = |out: &mut Outputs, args: &[&str]| {
        let (_, said) = ground.try_person(args);
        out.add(format!("{args:?}"), said);
    };
    // The values lie outside of what is searched, and are gone before it is.
    let planted = tempfile::tempdir().unwrap();
    let plant = |name: &str, value: &str| {
        let path = planted.path().join(name);
        std::fs::write(&path, value).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mail_at = format!("127.0.0.1:{}", mail.port);
    for (name, value, host) in [
        ("fetch", FETCH, at.as_str()),
        ("basic", BASIC, &at),
        ("rotated", ROTATED, &at),
        ("resend_api_key", MAIL, &mail_at),
    ] {
        let file = plant(name, value);
        typed(&mut out, &["vault", "set", name, "--host", host, "--from-file", &file]);
        let private = ["--allow-private", "127.0.0.1/32", "--allow-private", "::1/128"];
        let placements = ["--placement", "bearer", "--placement", "basic", "--placement", "custom:x-mine"];
        typed(&mut out, &[&["vault", "bind", name, host][..], &private, &placements].concat());
    }
    typed(&mut out, &["vault", "set", "unbound", "--unbound", "--from-file", &plant("unbound", UNBOUND)]);
    typed(&mut out, &["vault", "set", "fetch", "--host", &at, "--from-file", &plant("again", FETCH)]);
    typed(&mut out, &["vault", "rotate", "rotated", "--from-file", &plant("new", "an-ordinary-new-value")]);
    typed(&mut out, &["vault", "set", "bad name", "--unbound", "--from-file", &plant("bad", FETCH)]);

    // A gateway, and a server behind each request that does what it can with the value.
    let mut client = ground.registered(&[]);
    let hello = client.initialize();
    out.add("initialize", hello.to_string());
    let encoded = String::from_utf8(base64(FETCH.as_bytes())).unwrap();
    let percent: String = FETCH.bytes().map(|b| format!("%{b:02x}")).collect();
    let bodies: Vec<Script> = vec![
        Script::answer("200 OK", &[("x-echo", FETCH), ("location", FETCH)], FETCH.as_bytes()),
        Script::answer(&format!("401 {FETCH}"), &[], format!("Bearer {FETCH}").as_bytes()),
        Script::answer("500 Oh", &[], encoded.as_bytes()),
        Script::answer("200 OK", &[], percent.as_bytes()),
        Script::answer("200 OK", &[], base64(&base64(FETCH.as_bytes())).as_slice()),
        Script::chunked(FETCH.as_bytes(), 1),
        Script { pieces: vec![format!("{FETCH}\r\n\r\n").into_bytes()], ..Script::default() },
        Script::answer("200 OK", &[("content-encoding", "gzip")], FETCH.as_bytes()),
        Script::answer("200 OK", &[("content-encoding", "odd")], FETCH.as_bytes()),
        Script::answer("200 OK", &[], &[FETCH.as_bytes(), &vec![b'x'; 2_000_000]].concat()),
    ];
    let url = format!("https://{at}/v1?q=1");
    let mut call = |out: &mut Outputs, tool: &str, args: Value| {
        let answer = client.call(tool, args.clone());
        out.add(format!("{tool} {args}"), answer.to_string());
        answer
    };
    for script in bodies {
        server.next(script);
        call(&mut out, "http_fetch", json!({ "url": url, "secret": "fetch", "reason": "a test" }));
    }
    for (secret, more) in [
        ("basic", json!({ "auth_scheme": "basic" })),
        ("rotated", json!({})),
        (
            "fetch",
            json!({ "auth_scheme": "custom", "auth_header_name": "X-Mine", "method": "POST", "body": "{}" }),
        ),
        ("fetch", json!({ "auth_scheme": "custom", "auth_header_name": "X-Other" })),
        ("fetch", json!({ "auth_scheme": "custom", "auth_header_name": "Host" })),
        ("unbound", json!({})),
        ("gone", json!({})),
        ("../fetch", json!({})),
        ("fetch", json!({ "url": "http://localhost/" })),
        ("fetch", json!({ "url": format!("https://127.0.0.1:{}/", server.port) })),
        ("fetch", json!({ "odd": true })),
    ] {
        // What no request has carried yet no server can know.
        let old = if secret == "basic" { "" } else { ROTATED };
        let echo = format!("{BASIC} {old} an-ordinary-new-value {FETCH}");
        server.next(Script::answer(
            "200 OK",
            &[("x-echo", BASIC)],
            String::from_utf8(base64(echo.as_bytes())).unwrap().as_bytes(),
        ));
        let mut args = json!({ "url": url, "secret": secret, "reason": "a test" });
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call(&mut out, "http_fetch", args);
    }
    // Mail: asked about, approved, sent; and a provider that says the key back.
    let message =
        |subject: &str| json!({ "to": "ana@example.org", "subject": subject, "text": "All is well." });
    call(&mut out, "send_email", message("one"));
    let pending = ground.pending();
    let mail_asked = pending.iter().find(|p| p["tool"] == "send_email" || p["tool_name"] == "send_email");
    let id = mail_asked.unwrap_or_else(|| panic!("{pending:#?}"))["approval_id"].as_str().unwrap().to_owned();
    typed(&mut out, &["pending"]);
    typed(&mut out, &["approve", &id, "--yes", "--scope", "tool_type:send_email"]);
    call(&mut out, "send_email", message("one"));
    for status in [401, 403, 409, 422, 429, 500] {
        let said =
            format!("{{\"name\":\"validation_error\",\"message\":\"you sent {MAIL} as Bearer {MAIL}\"}}");
        mail.next(Wrong::Answer(status, said, Vec::new()));
        call(&mut out, "send_email", message(&format!("answer {status}")));
    }
    call(&mut out, "send_email", json!({ "to": "eve@example.org", "subject": "x", "text": "y" }));
    call(&mut out, "memory_recall", json!({ "action": "list_stores" }));
    call(&mut out, "approval_list", json!({}));
    call(&mut out, "gate_status", json!({}));
    assert!(server.connections() >= 10, "{}", server.connections());
    assert!(!mail.accepted().is_empty());

    // What the running process shows of itself.
    let pid = client.pid();
    for gateway in children(pid) {
        for part in ["cmdline", "environ", "maps"] {
            let bytes = std::fs::read(format!("/proc/{gateway}/{part}")).unwrap_or_default();
            out.add(format!("/proc/…/{part}"), bytes);
        }
    }
    client.close_stdin();
    out.add("the gateway's errors", client.errors());
    let (_, lines) = client.finish(ground::LIMIT);
    for line in lines {
        out.add("a line of the gateway", line);
    }
    // What everybody may ask for.
    for args in [
        &["audit", "tail", "-n", "1000"][..],
        &["audit", "tail", "-n", "1000", "--json"],
        &["audit", "verify"],
        &["report"],
        &["report", "--json"],
        &["status"],
        &["status", "--json"],
        &["doctor"],
        &["pending", "--json"],
        &["config", "show", "--origin"],
        &["policy", "list"],
        &["policy", "replay"],
        &["trust", "list"],
    ] {
        let said = ground.free(args);
        out.add(format!("{args:?}"), [said.stdout, said.stderr].concat());
    }
    for record in ground.records() {
        if let Some(id) = record["call_id"].as_str() {
            let said = ground.free(&["explain", id]);
            out.add("explain", [said.stdout, said.stderr].concat());
        }
    }
    for args in [&["vault", "list"][..], &["vault", "list", "--json"], &["vault", "rm", "unbound", "--yes"]] {
        typed(&mut out, args);
    }
    drop(planted);
    walk(&ground.home, &mut out);
    walk(&ground.root, &mut out);
    let names: Vec<&String> = out.0.iter().map(|(what, _)| what).collect();
    assert!(names.iter().any(|n| n.ends_with("user/state.db")), "the vault is among what is searched");
    println!("{} outputs and files searched", out.0.len());
    out.search();
    ground.the_log_is_whole();
}

/// A process and what it started.
fn children(pid: u32) -> Vec<u32> {
    let mut out = vec![pid];
    let mut at = 0;
    while let Some(one) = out.get(at).copied() {
        at += 1;
        let list = std::fs::read_to_string(format!("/proc/{one}/task/{one}/children")).unwrap_or_default();
        out.extend(list.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    out
}
