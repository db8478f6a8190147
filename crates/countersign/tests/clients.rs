//! Codex and Gemini CLI without the clients themselves: `init`, `uninstall` and `doctor` of the real binary, and the very
//! answers of its hooks. What the clients make of them is in `codex.rs` and `gemini.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken test must fail at once"
)]

#[path = "setup/ground.rs"]
mod ground;

use countersign_core::json::{Bounds, Json};
use ground::{Ground, both, walk};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

const CODEX: &str = ".codex/hooks.json";
const GEMINI: &str = ".gemini/settings.json";
/// Each client, its file, and the name of its event before a tool.
const CLIENTS: [(&str, &str, &str); 2] = [("codex", CODEX, "PreToolUse"), ("gemini", GEMINI, "BeforeTool")];

/// A file of somebody else: an odd layout, hooks of their own, members that nobody knows.
const ODD: &str = "{ \"zeta\":\t1.50,\r\n \"hooks\": {\"SessionEnd\": [{\"hooks\": [{\"type\":\"command\",\"command\":\"bell\"}]}]}, \"alpha\": {\"x\":[ ]} }";

fn project(ground: &Ground) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    walk(&ground.root, &mut out);
    out.sort();
    out
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), Bounds::default()).unwrap()
}

#[test]
fn each_client_is_set_up_and_undone_to_the_byte() {
    for (client, file, event) in CLIENTS {
        for there in [None, Some(ODD), Some("{}"), Some("")] {
            let ground = Ground::new();
            if let Some(text) = there {
                ground.put(file, text);
            }
            let before = project(&ground);
            let init = ["init", "--yes", "--enforce", "--client", client];
            let shown = ground.ok(&[&init[..], &["--dry-run"]].concat());
            assert!(shown.contains(file) && project(&ground) == before, "{shown}");
            let said = ground.ok(&init);
            assert!(said.contains("trust this folder"), "{said}");
            assert!(!ground.path(".claude").exists());
            let text = ground.text(file);
            let hooks = json(&text).get("hooks").unwrap().clone();
            let groups = hooks.get(event).and_then(Json::as_array).unwrap();
            let entry = &groups[0].get("hooks").and_then(Json::as_array).unwrap()[0];
            let line = entry.text("command").unwrap();
            let args = format!(" hook {client} pre --project '{}' --project-id ", ground.root.display());
            assert!(line.contains(&args), "{line}");
            let limit = if client == "gemini" { 3_630_000 } else { 3_630 };
            assert_eq!(entry.get("timeout").and_then(Json::as_i64), Some(limit));
            if there == Some(ODD) {
                assert!(
                    text.contains("\"bell\"")
                        && text.contains("1.50")
                        && text.find("zeta") < text.find("alpha")
                );
            }
            assert!(ground.ok(&init).contains("Nothing to do"));
            assert_eq!(ground.text(file), text);
            let (code, said) = ground.person(&["uninstall", "--yes"]);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(project(&ground), before, "{client} {there:?}");
        }
    }
}

#[test]
fn what_others_changed_since_stays() {
    for (client, file, _) in CLIENTS {
        let ground = Ground::new();
        ground.put(file, ODD);
        assert_eq!(ground.person(&["init", "--yes", "--client", client]).0, Some(0));
        ground.put(file, &ground.text(file).replace("bell", "gong"));
        let (code, said) = ground.person(&["uninstall", "--yes"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(json(&ground.text(file)).canonical(), json(&ODD.replace("bell", "gong")).canonical());
        assert!(!ground.path(".countersign").exists());
    }
}

#[test]
fn comments_are_not_lost() {
    let ground = Ground::new();
    ground.put(GEMINI, "{\n  // mine\n  \"model\": {}\n}\n");
    let before = project(&ground);
    let out = ground.run(&["init", "--yes", "--client", "gemini"]);
    assert_eq!(out.status.code(), Some(1), "{}", both(&out));
    assert!(both(&out).contains("comments cannot be kept"), "{}", both(&out));
    assert_eq!(project(&ground), before);
}

#[test]
fn every_client_that_is_there_is_set_up_and_one_can_be_taken_out() {
    let ground = Ground::new();
    for folder in [".codex", ".gemini", ".claude"] {
        std::fs::create_dir(ground.home.join(folder)).unwrap();
    }
    let before = project(&ground);
    ground.ok(&["init", "--yes"]);
    for file in [".claude/settings.local.json", CODEX, GEMINI] {
        assert!(ground.path(file).is_file(), "{file}");
    }
    assert!(ground.ok(&["init", "--yes"]).contains("Nothing to do"));
    // What has hooks already goes on having them, found or not.
    std::fs::remove_dir(ground.home.join(".codex")).unwrap();
    assert!(ground.ok(&["init", "--yes"]).contains("Nothing to do"));

    let (code, said) = ground.person(&["uninstall", "--yes", "--client", "codex"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!ground.path(".codex").exists() && ground.path(".countersign/config.toml").is_file(), "{said}");
    assert!(ground.path(GEMINI).is_file() && said.contains("Other clients stay gated"), "{said}");
    assert!(ground.ok(&["uninstall", "--client", "codex"]).contains("Nothing to undo"));
    let (code, said) =
        ground.person(&["uninstall", "--yes", "--client", "gemini", "--client", "claude-code"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(project(&ground), before);
}

/// What Codex writes when a person trusts the hooks of a file.
fn trust_of(ground: &Ground) -> String {
    let file = ground.path(CODEX);
    let mut out = format!("[projects.{:?}]\ntrust_level = \"trusted\"\n", ground.root.display().to_string());
    for (event, groups) in json(&ground.text(CODEX)).get("hooks").and_then(Json::as_object).unwrap() {
        let mut label = String::new();
        for c in event.chars() {
            if c.is_uppercase() && !label.is_empty() {
                label.push('_');
            }
            label.extend(c.to_lowercase());
        }
        let group = &groups.as_array().unwrap()[0];
        let mut hook = group.get("hooks").and_then(Json::as_array).unwrap()[0].clone();
        hook.set("async", Json::Bool(false));
        let mut whole = Json::object([("event_name", Json::str(&label)), ("hooks", Json::Array(vec![hook]))]);
        if let Some(matcher) = group.get("matcher") {
            whole.set("matcher", matcher.clone());
        }
        let hash = Sha256::digest(whole.canonical().as_bytes());
        let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        out +=
            &format!("[hooks.state.\"{}:{label}:0:0\"]\ntrusted_hash = \"sha256:{hex}\"\n", file.display());
    }
    out
}

#[test]
fn the_doctor_says_whether_codex_trusts_our_hooks() {
    let ground = Ground::set_up(&["--enforce", "--client", "codex"]);
    ground.doctor_names("fail", "trust", "Codex: the project is not trusted");
    ground.doctor_names("fail", "trust", "PreToolUse is not trusted");
    ground.doctor_names("warn", "onFailure", "lets the call run");
    ground.doctor_names("ok", "harmless call", "Codex: Bash `true`: allowed");
    ground.doctor_names("ok", "its end", "recorded");
    ground.doctor_names("ok", "forbidden call", "refused code=");
    ground.doctor_names("ok", "malformed call", "exit code 2");
    ground.doctor_names("ok", "session end", "told");
    let trusted = trust_of(&ground);
    let config = ground.home.join(".codex/config.toml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, &trusted).unwrap();
    assert_eq!(ground.doctor().0, Some(0), "{:#?}", ground.doctor());
    ground.doctor_names("ok", "trust", "every hook is trusted");
    std::fs::write(&config, format!("{trusted}enabled = false\n")).unwrap();
    ground.doctor_names("fail", "trust", "is switched off");
    std::fs::write(&config, format!("{trusted}[features]\nhooks = false\n")).unwrap();
    ground.doctor_names("fail", "settings", "switches all hooks off");
    std::fs::write(&config, &trusted).unwrap();
    ground.put(CODEX, &ground.text(CODEX).replace("3630", "3000"));
    ground.doctor_names("fail", "trust", "PreToolUse was changed since");
}

#[test]
fn the_doctor_looks_at_gemini_s_switches() {
    let ground = Ground::set_up(&["--enforce", "--client", "gemini"]);
    ground.doctor_names("warn", "trust", "Gemini CLI: the folder is not trusted yet");
    ground.doctor_names("ok", "harmless call", "run_shell_command `true`: allowed");
    ground.doctor_names("ok", "its end", "recorded");
    ground.doctor_names("ok", "forbidden call", "refused code=");
    ground.doctor_names("ok", "destructive call", "refused code=hard");
    ground.doctor_names("ok", "timeout", "3630 s");
    assert_eq!(ground.doctor().0, Some(0), "{:#?}", ground.doctor());
    let trusted = ground.home.join(".gemini/trustedFolders.json");
    std::fs::create_dir_all(trusted.parent().unwrap()).unwrap();
    let say = |word: &str| {
        let text = Json::object([(ground.root.to_str().unwrap(), Json::str(word))]);
        std::fs::write(&trusted, text.canonical()).unwrap();
    };
    say("TRUST_FOLDER");
    ground.doctor_names("ok", "trust", "the folder is trusted");
    say("DO_NOT_TRUST");
    ground.doctor_names("fail", "trust", "is not trusted");
    let text = ground.text(GEMINI);
    ground.put(GEMINI, &text.replace("\"enabled\": true", "\"enabled\": false"));
    ground.doctor_names("fail", "settings", "hooksConfig.enabled");
    ground.put(GEMINI, &text.replace("\"enabled\": true", "\"disabled\": [\"countersign-pre\"]"));
    ground.doctor_names("fail", "settings", "switches our hook for BeforeTool off");
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Starts a hook as it is registered.
fn hook(ground: &Ground, file: &str, event: &str, message: &str) -> Said {
    let settings = json(&ground.text(file));
    let groups = settings.get("hooks").unwrap().get(event).and_then(Json::as_array).unwrap();
    let line =
        groups[0].get("hooks").and_then(Json::as_array).unwrap()[0].text("command").unwrap().to_owned();
    let mut command = ground.command(&[]);
    let mut shell = std::process::Command::new("/bin/sh");
    shell.arg("-c").arg(line).current_dir(&ground.root).env_clear();
    shell.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    command = shell;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    Said {
        code: out.status.code(),
        out: String::from_utf8(out.stdout).unwrap(),
        err: String::from_utf8(out.stderr).unwrap(),
    }
}

fn message(ground: &Ground, event: &str, tool: &str, input: Json, more: &[(&str, Json)]) -> String {
    let mut message = Json::object([
        ("session_id", Json::str("s1")),
        ("cwd", Json::str(ground.root.to_str().unwrap())),
        ("hook_event_name", Json::str(event)),
        ("tool_name", Json::str(tool)),
        ("tool_input", input),
    ]);
    for (key, value) in more {
        message.set(*key, value.clone());
    }
    message.canonical()
}

fn line(text: &str) -> Json {
    Json::object([("command", Json::str(text))])
}

#[test]
fn codex_s_answers() {
    let ground = Ground::set_up(&["--enforce", "--client", "codex"]);
    let id = ("tool_use_id", Json::str("call_1"));
    let pre = |tool: &str, input: Json| {
        hook(
            &ground,
            CODEX,
            "PreToolUse",
            &message(&ground, "PreToolUse", tool, input, std::slice::from_ref(&id)),
        )
    };
    let said = pre("Bash", line("echo hi"));
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""));
    let patch = |body: &str| line(&format!("*** Begin Patch\n{body}\n*** End Patch\n"));
    let said = pre("apply_patch", patch("*** Add File: a.txt\n+x"));
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""));
    for (tool, input, part) in [
        ("Bash", line("rm -rf /opt/x"), "countersign: refused code=hard rules="),
        (
            "apply_patch",
            patch("*** Add File: a\n+x\n*** Update File: .countersign/config.toml\n@@\n+x"),
            "code=blocked_path",
        ),
        (
            "apply_patch",
            patch("*** Update File: a\n*** Move to: .codex/hooks.json\n@@\n+x"),
            "code=blocked_path",
        ),
        ("apply_patch", patch("nonsense"), "code=unmappable_input"),
        ("mcp__fs__read_file", Json::object([("path", Json::str(".env"))]), "code=blocked_path"),
    ] {
        let said = pre(tool, input);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", said.out);
        let answer = json(&said.out);
        let answer = answer.get("hookSpecificOutput").unwrap();
        assert_eq!(
            (answer.text("hookEventName"), answer.text("permissionDecision")),
            (Some("PreToolUse"), Some("deny"))
        );
        let reason = answer.text("permissionDecisionReason").unwrap();
        assert!(
            reason.starts_with("countersign: refused code=") && reason.contains(part),
            "{part}: {reason}"
        );
    }
    let said = hook(&ground, CODEX, "PreToolUse", "{");
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert!(said.err.starts_with("countersign: refused code=malformed\n"), "{}", said.err);

    let permission = |input: &str| hook(&ground, CODEX, "PermissionRequest", input);
    let plea = Json::object([("command", Json::str("echo hi")), ("description", Json::str("please"))]);
    let said = permission(&message(&ground, "PermissionRequest", "Bash", plea, &[]));
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""), "nobody granted it");
    let said = permission("{");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.starts_with(r#"{"hookSpecificOutput":{"decision":{"behavior":"deny","message":"countersign: refused code=malformed"#), "{}", said.out);

    let response = ("tool_response", Json::str("hi\n"));
    let post = message(&ground, "PostToolUse", "Bash", line("echo hi"), &[id.clone(), response]);
    let said = hook(&ground, CODEX, "PostToolUse", &post);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""));
    let tail = ground.ok(&["audit", "tail", "-n", "50"]);
    assert!(tail.contains("call.finished ok"), "{tail}");
    broken(&ground);
    let said = hook(&ground, CODEX, "PostToolUse", &post);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert_eq!(said.out, r#"{"decision":"block","reason":"[WITHHELD: outcome_unrecorded]"}"#);
    let said = pre("Bash", line("echo hi"));
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert!(said.err.starts_with("countersign: refused code="), "{}", said.err);
    let said = permission(&message(&ground, "PermissionRequest", "Bash", line("echo hi"), &[]));
    assert!(said.code == Some(0) && said.out.contains(r#""behavior":"deny""#), "{}", said.out);
}

#[test]
fn gemini_s_answers() {
    let ground = Ground::set_up(&["--enforce", "--client", "gemini"]);
    let pre = |tool: &str, input: Json, more: &[(&str, Json)]| {
        hook(&ground, GEMINI, "BeforeTool", &message(&ground, "BeforeTool", tool, input, more))
    };
    let said = pre("run_shell_command", line("echo hi"), &[]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "{}", ""));
    let write = |path: &str| Json::object([("file_path", Json::str(path)), ("content", Json::str("x"))]);
    let context = Json::object([("server_name", Json::str("my_fs")), ("tool_name", Json::str("read_file"))]);
    let path = |path: &str| Json::object([("path", Json::str(path))]);
    for (tool, input, more, part) in [
        ("run_shell_command", line("rm -rf /opt/x"), None, "refused code=hard rules="),
        ("write_file", write(".gemini/settings.json"), None, "code=blocked_path"),
        ("replace", write(".git/config"), None, "code="),
        ("read_many_files", Json::object([("include", Json::strings([".env"]))]), None, "code=blocked_path"),
        ("mcp_my_fs_read_file", path(".env"), Some(context.clone()), "code=blocked_path"),
        ("write_file", Json::object([("content", Json::str("x"))]), None, "code=unmappable_input"),
    ] {
        let more: Vec<_> = more.map(|c| ("mcp_context", c)).into_iter().collect();
        let said = pre(tool, input, &more);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", said.out);
        let answer = json(&said.out);
        assert_eq!(answer.text("decision"), Some("deny"));
        let reason = answer.text("reason").unwrap();
        assert!(
            reason.starts_with("countersign: refused code=") && reason.contains(part),
            "{part}: {reason}"
        );
    }
    assert!(ground.ok(&["audit", "tail", "-n", "50"]).contains("mcp__my_fs__read_file"));
    let said = hook(&ground, GEMINI, "BeforeTool", "{");
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert!(said.err.starts_with("countersign: refused code=malformed\n"), "{}", said.err);

    let response = [("tool_response", Json::object([("llmContent", Json::str("hi"))]))];
    let post = message(&ground, "AfterTool", "run_shell_command", line("echo hi"), &response);
    let said = hook(&ground, GEMINI, "AfterTool", &post);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "{}", ""));
    assert!(ground.ok(&["audit", "tail", "-n", "50"]).contains("call.finished ok"));
    broken(&ground);
    let said = hook(&ground, GEMINI, "AfterTool", &post);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert_eq!(said.out, r#"{"decision":"deny","reason":"[WITHHELD: outcome_unrecorded]"}"#);
    assert_eq!(pre("run_shell_command", line("echo hi"), &[]).code, Some(2));
    let said = hook(&ground, GEMINI, "SessionEnd", r#"{"session_id":"s1","hook_event_name":"SessionEnd"}"#);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "{}", ""));
}

/// From here on nothing can be recorded.
fn broken(ground: &Ground) {
    for file in std::fs::read_dir(ground.state()).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("state.db") {
            std::fs::write(file.path(), "no database").unwrap();
        }
    }
}

const MCP: &str = "{\"mcpServers\":{\"fs\":{\"command\":\"npx\",\"args\":[\"-y\",\"fs\"],\"env\":{\"A\":\"1\"}},\t\"web\":{\"url\":\"https://e\"}}}";
const CODEX_CONFIG: &str =
    "# mine\nmodel = \"m\"\n\n[mcp_servers.fs]\n# the files\ncommand = \"npx\"\nargs = [\"-y\", \"fs\"]\n";

/// Each client, its file of servers and what stands there.
fn servers() -> [(&'static str, &'static str, &'static str); 3] {
    [
        ("claude-code", ".mcp.json", MCP),
        ("codex", ".codex/config.toml", CODEX_CONFIG),
        ("gemini", GEMINI, MCP),
    ]
}

#[test]
fn the_gate_goes_in_front_of_servers_and_away_again() {
    for (client, file, text) in servers() {
        let ground = Ground::new();
        ground.put(file, text);
        let before = project(&ground);
        let init = ["init", "--yes", "--enforce", "--client", client];
        let said = ground.ok(&init);
        let new = ground.text(file);
        for part in ["countersign", "\"--server\"", "\"--\"", "\"npx\"", ground.root.to_str().unwrap()] {
            assert!(new.contains(part), "{part}: {new}");
        }
        if file != ".codex/config.toml" {
            assert!(said.contains("the server web of") && new.contains("https://e"), "{said}");
        } else {
            assert!(new.contains("# the files"), "{new}");
        }
        ground.ok(&init);
        assert_eq!(ground.text(file), new, "{client}: twice is once");
        assert_eq!(ground.person(&["uninstall", "--yes"]).0, Some(0));
        assert_eq!(project(&ground), before, "{client}: to the byte");
    }
}

#[test]
fn what_others_changed_in_servers_since_stays() {
    for (client, file, text) in servers() {
        let ground = Ground::new();
        ground.put(file, text);
        ground.ok(&["init", "--yes", "--enforce", "--client", client]);
        let (from, to) =
            if file.ends_with(".toml") { ("\"m\"", "\"n\"") } else { ("https://e", "https://f") };
        ground.put(file, &ground.text(file).replace(from, to));
        assert_eq!(ground.person(&["uninstall", "--yes"]).0, Some(0));
        let left = ground.text(file);
        assert!(
            left.contains(to) && left.contains("npx") && !left.contains("countersign"),
            "{client}: {left}"
        );
    }
}

/// A file that a team shares is changed only when that is said.
#[test]
fn servers_in_git_are_left_alone_unless_shared() {
    let ground = Ground::new();
    ground.put(".mcp.json", MCP);
    ground.put(".git/index", "DIRC...\0.mcp.json\0");
    let said = ground.ok(&["init", "--yes", "--enforce", "--client", "claude-code"]);
    assert!(said.contains(".mcp.json is in git") && said.contains("init --shared"), "{said}");
    assert_eq!(ground.text(".mcp.json"), MCP);
    let (code, said) = ground.person(&["init", "--yes", "--shared", "--client", "claude-code"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(ground.text(".mcp.json").contains("countersign"));
    assert_eq!(ground.person(&["uninstall", "--yes"]).0, Some(0));
    assert_eq!(ground.text(".mcp.json"), MCP);
}

/// Hooks and servers share Gemini CLI's file; the hooks go in, the servers wait for `--shared`.
#[test]
fn gemini_s_servers_in_git_wait_for_shared() {
    let ground = Ground::new();
    ground.put(GEMINI, MCP);
    ground.put(".git/index", "DIRC...\0.gemini/settings.json\0");
    let init = ["init", "--yes", "--enforce", "--client", "gemini"];
    let said = ground.ok(&init);
    assert!(said.contains(".gemini/settings.json is in git"), "{said}");
    assert!(ground.text(GEMINI).contains(" hook gemini ") && !ground.text(GEMINI).contains("--server"));
    assert_eq!(ground.person(&[&init[..], &["--shared"]].concat()).0, Some(0));
    assert!(ground.text(GEMINI).contains("--server"));
    assert_eq!(ground.person(&["uninstall", "--yes"]).0, Some(0));
    assert_eq!(ground.text(GEMINI), MCP, "two steps, and still to the byte");
}

#[test]
fn only_the_named_client_s_servers_are_undone() {
    let ground = Ground::new();
    ground.put(".mcp.json", MCP);
    ground.put(".codex/config.toml", CODEX_CONFIG);
    let said = ground.ok(&["init", "--yes", "--enforce", "--client", "claude-code", "--client", "codex"]);
    assert!(said.contains("tool_timeout_sec"), "{said}");
    let claude = ground.text(".mcp.json");
    assert_eq!(ground.person(&["uninstall", "--yes", "--client", "codex"]).0, Some(0));
    assert_eq!(ground.text(".codex/config.toml"), CODEX_CONFIG);
    assert_eq!(ground.text(".mcp.json"), claude);
    assert_eq!(ground.person(&["uninstall", "--yes"]).0, Some(0));
    assert_eq!(ground.text(".mcp.json"), MCP);
}

/// A server that stays behind a gate whose project is gone would not start any more.
#[test]
fn no_server_is_left_behind_a_gate_that_is_gone() {
    for (client, file, text) in servers() {
        let ground = Ground::new();
        ground.put(file, text);
        ground.ok(&["init", "--yes", "--enforce", "--client", client]);
        std::fs::remove_file(ground.state().join("install-manifest.json")).unwrap();
        if file == GEMINI {
            // Somebody took the hooks out by hand.
            let mut all = json(&ground.text(file));
            all.remove("hooks");
            ground.put(file, &all.pretty());
        }
        assert_eq!(ground.person(&["uninstall", "--yes"]).0, Some(0));
        let left = ground.text(file);
        assert!(left.contains("npx") && !left.contains("countersign"), "{client}: {left}");
    }
}

/// The user's own files are read, named and never changed.
#[test]
fn servers_of_the_user_are_named() {
    let own = [
        (
            "claude-code",
            ".claude.json",
            r#"{"mcpServers":{"mine":{"command":"x"},"far":{"url":"https://e"}}}"#,
        ),
        ("codex", ".codex/config.toml", "[mcp_servers.mine]\ncommand = \"x\"\n"),
        ("gemini", ".gemini/settings.json", "{\"mcpServers\":{\"mine\":{\"command\":\"x\"}}}"),
    ];
    for (client, file, text) in own {
        let ground = Ground::new();
        let path = ground.home.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let said = ground.ok(&["init", "--yes", "--enforce", "--client", client]);
        assert!(said.contains("not behind the gate here: mine") && said.contains("move those"), "{said}");
        ground.doctor_names("warn", "servers", "not behind the gate here: mine");
        assert_eq!(ground.person(&["uninstall", "--yes"]).0, Some(0));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn the_doctor_tells_servers_behind_the_gate_from_others() {
    for (client, file, text) in servers() {
        let ground = Ground::new();
        ground.ok(&["init", "--yes", "--enforce", "--client", client]);
        match file == GEMINI {
            // Beside the hooks that are there already.
            true => {
                let mut all = json(&ground.text(file));
                all.set("mcpServers", json(text).get("mcpServers").unwrap().clone());
                ground.put(file, &all.pretty());
            }
            false => ground.put(file, text),
        }
        ground.doctor_names("warn", "servers", "is not behind the gate: it is started without the gate");
        assert_eq!(ground.person(&["init", "--yes", "--client", client]).0, Some(0));
        ground.doctor_names("ok", "servers", "behind the gate: fs");
        if file != ".codex/config.toml" {
            ground.doctor_names("warn", "servers", "web in");
        }
    }
}
