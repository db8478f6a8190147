//! `init`, `doctor` and `uninstall` of the real binary, in a scratch home and a scratch repository.
//!
//! Verbs of a person run at a terminal of their own. Misconfigurations are staged one at a time; each must be named.
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

use countersign_core::json::Json;
use countersign_testkit::claude::ClaudeCode;
use countersign_testkit::client::{RunOptions, Scratch};
use countersign_testkit::scripted_model::{Script, ScriptedModel, Turn};
use ground::{BINARY, Ground, LIMIT, LOCAL, both, walk};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ODD: &str = "{ \"model\":\t\"x\",\n \"hooks\": {\"Stop\": [{\"hooks\": [{\"type\":\"command\",\"command\":\"bell\"}]}]} }";

#[test]
fn a_dry_run_touches_nothing() {
    let ground = Ground::new();
    ground.put(LOCAL, ODD);
    let before = ground.everything();
    let said = ground.ok(&["init", "--dry-run"]);
    assert!(
        said.contains("+ ") && said.contains("~ ") && said.contains("watching, not protecting"),
        "{said}"
    );
    assert_eq!(ground.everything(), before);
}

#[test]
fn without_a_terminal_it_wants_to_be_told() {
    let ground = Ground::new();
    let before = ground.everything();
    let out = ground.run(&["init"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(both(&out).contains("--yes"));
    assert_eq!(ground.everything(), before);
    let out = ground.command(&["init"]).env("CI", "true").output().unwrap();
    assert!(out.status.success(), "{}", both(&out));
}

#[test]
fn the_second_time_there_is_nothing_to_do() {
    let ground = Ground::set_up(&["--enforce"]);
    assert!(ground.text(".countersign/config.toml").contains("mode = \"enforce\""));
    let project = |g: &Ground| {
        let mut out = Vec::new();
        walk(&g.root, &mut out);
        out.sort();
        out
    };
    let before = project(&ground);
    for args in [&["init", "--yes"][..], &["init"], &["init", "--enforce", "--yes", "--profile", "internal"]]
    {
        assert!(ground.ok(args).contains("Nothing to do"));
    }
    assert_eq!(project(&ground), before);
    let mode = |name: &str| ground.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(".countersign/config.toml"), mode(LOCAL)), (0o644, 0o600));
}

#[test]
fn a_person_is_asked_and_may_say_no() {
    let ground = Ground::new();
    let mut at = ground.terminal(&["init"]);
    at.wait_for("enforce)?", LIMIT);
    at.send("y\n");
    at.wait_for("Set up", LIMIT);
    at.send("\n");
    let (code, said) = at.finish(LIMIT);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Nothing was changed") && !ground.path(".countersign").exists());

    let mut at = ground.terminal(&["init"]);
    at.wait_for("enforce)?", LIMIT);
    at.send("y\n");
    at.wait_for("Set up", LIMIT);
    at.send("y\n");
    let (code, said) = at.finish(LIMIT);
    assert_eq!(code, Some(0), "{said}");
    assert!(ground.text(".countersign/config.toml").contains("mode = \"enforce\""));
}

/// P-38: what arrives with a repository means nothing until a person who saw it accepts it, also by way of `init`.
#[test]
fn what_arrives_is_accepted_by_a_person_who_saw_it() {
    let arrived = "version = 1\ngate.mode = \"watch\"\n";
    let ground = Ground::new();
    ground.put(".countersign/config.toml", arrived);
    let ended = |out: Output| (out.status.code(), both(&out));
    for (code, said) in [
        ended(ground.run(&["init", "--yes"])),
        ended(ground.command(&["init"]).env("CI", "true").output().unwrap()),
        ground.person(&["init", "--yes"]),
    ] {
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("+ gate.mode = \"watch\"") && said.contains("trust accept project"), "{said}");
        assert!(!ground.path(LOCAL).exists());
    }
    let mut at = ground.terminal(&["init"]);
    let shown = at.wait_for("Set up", LIMIT);
    assert!(shown.contains("+ gate.mode = \"watch\""), "{shown}");
    at.send("y\n");
    let (code, said) = at.finish(LIMIT);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(ground.text(".countersign/config.toml"), arrived);
    assert!(ground.ok(&["trust", "list"]).contains("project  accepted"));
}

/// The other way, for scripts: accept first, then set up without being asked.
#[test]
fn what_was_accepted_before_is_not_asked_again() {
    let ground = Ground::new();
    ground.put(".countersign/config.toml", "version = 1\ngate.mode = \"watch\"\n");
    let (code, said) = ground.person(&["trust", "accept", "project", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ground.person(&["init", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(ground.ok(&["trust", "list"]).contains("project  accepted"));
}

/// A file that was changed is not accepted by the way, not even one that is again as `init` wrote it: a person turned
/// the gate to enforce since.
#[test]
fn what_changed_is_not_accepted_by_the_way() {
    let ground = Ground::set_up(&[]);
    let watching = ground.text(".countersign/config.toml");
    assert_eq!(ground.person(&["mode", "enforce"]).0, Some(0));
    ground.put(".countersign/config.toml", &watching);
    let (code, said) = ground.person(&["init", "--yes"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("- mode = \"enforce\"") && said.contains("+ mode = \"watch\""), "{said}");
    assert!(ground.ok(&["trust", "list"]).contains("changed since"));
    let mut at = ground.terminal(&["init"]);
    let shown = at.wait_for("Set up", LIMIT);
    assert!(shown.contains("- mode = \"enforce\""), "{shown}");
    at.send("y\n");
    let (code, said) = at.finish(LIMIT);
    assert_eq!(code, Some(0), "{said}");
    assert!(ground.ok(&["trust", "list"]).contains("project  accepted"));
}

/// What changes between the showing and the yes is not accepted with it.
#[test]
fn only_what_was_shown_is_accepted() {
    let ground = Ground::set_up(&["--enforce"]);
    let config = ground.text(".countersign/config.toml");
    for args in [&["trust", "accept", "project"][..], &["init"]] {
        ground.put(".countersign/config.toml", &format!("{config}# shown for {args:?}\n"));
        let mut at = ground.terminal(args);
        at.wait_for("[y/N]", LIMIT);
        ground.put(".countersign/config.toml", &config.replace("enforce", "watch"));
        at.send("y\n");
        let (code, said) = at.finish(LIMIT);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("+ # shown for"), "{said}");
        assert!(ground.ok(&["trust", "list"]).contains("changed since"), "{args:?}");
    }
}

#[test]
fn a_moved_line_and_hidden_text_are_shown() {
    let ground = Ground::set_up(&["--enforce"]);
    ground.put(".countersign/policy/soft.cedar", "// one\n// two\n// three\n");
    assert_eq!(ground.person(&["trust", "accept", "project", "--yes"]).0, Some(0));
    ground.put(".countersign/policy/soft.cedar", "// two\n// three\n// one\n");
    let (_, said) = ground.person(&["trust", "accept", "project", "--yes"]);
    assert!(said.contains("- // one") && said.contains("+ // one"), "{said}");
    ground.put(".countersign/policy/soft.cedar", "// two\n// thr\u{200b}ee\n// one\u{1b}]0;more\u{7}\n");
    let (_, said) = ground.person(&["trust", "accept", "project", "--yes"]);
    assert!(said.contains("thr<U+200B>ee") && said.contains("<U+001B>]0;more<U+0007>"), "{said}");
}

/// The state is found by way of `.git`, where an agent may write: a hook answers for the repository that it was
/// installed for, and for no other.
#[test]
fn a_swapped_repository_is_refused() {
    let ground = Ground::set_up(&["--enforce"]);
    let (id, settings) = (ground.state(), ground.settings());
    let id = id.file_name().unwrap().to_str().unwrap();
    let hooks = settings.get("hooks").unwrap();
    let entry = |event: &str| {
        let groups = hooks.get(event).and_then(Json::as_array).unwrap();
        let entry = &groups[0].get("hooks").and_then(Json::as_array).unwrap()[0];
        let args = entry.get("args").and_then(Json::as_array).unwrap();
        args.iter().map(|a| a.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let fire = |args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = ground.command(&args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let event = serde_json::json!({
            "session_id": "s", "cwd": ground.root, "hook_event_name": "PreToolUse", "tool_name": "Bash",
            "tool_input": { "command": "true" }, "tool_use_id": "t",
        });
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), event.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let pre = entry("PreToolUse");
    assert_eq!(pre[3..], ["--project", ground.root.to_str().unwrap(), "--project-id", id]);
    let out = fire(&pre);
    assert!(out.status.success() && out.stdout.is_empty(), "{}", both(&out));

    // As older versions registered it.
    let out = fire(&pre[..5]);
    assert_eq!(out.status.code(), Some(2), "{}", both(&out));
    assert!(both(&out).contains("--project-id") && both(&out).contains("countersign init"), "{}", both(&out));
    let good = ground.text(LOCAL);
    ground.put(LOCAL, &good.replace(id, &"0".repeat(32)));
    ground.doctor_names("fail", "hooks", "another identity");
    ground.put(LOCAL, &good);

    std::fs::rename(ground.path(".git"), ground.path("g")).unwrap();
    std::fs::create_dir_all(ground.path("other")).unwrap();
    ground.put(".git", "gitdir: other\n");
    let out = fire(&pre);
    assert_eq!(out.status.code(), Some(2), "{}", both(&out));
    assert!(both(&out).contains("code=internal") && both(&out).contains(".git"), "{}", both(&out));
    for event in ["PostToolUse", "Stop", "SessionEnd"] {
        let out = fire(&entry(event));
        assert!(out.status.success() && out.stdout.is_empty(), "{event}: {}", both(&out));
    }
    assert_eq!(std::fs::read_dir(ground.home.join(".local/state/countersign")).unwrap().count(), 1);
    ground.doctor_names("fail", "hooks", "another identity");
    // Setting it up anew for the other repository is a person's to do, even where nothing else is left.
    std::fs::remove_dir_all(ground.path(".countersign")).unwrap();
    assert_eq!(ground.run(&["init", "--yes"]).status.code(), Some(3));
    assert_eq!(ground.text(LOCAL), good);
}

#[test]
fn what_does_not_load_stops_it() {
    let ground = Ground::new();
    ground.put(".countersign/config.toml", "version = 1\n[gate]\nmod = \"watch\"\n");
    let before = ground.everything();
    let out = ground.run(&["init", "--yes"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(both(&out).contains("gate.mod"), "{}", both(&out));
    assert_eq!(ground.everything(), before);
    ground.put(".countersign/config.toml", "version = 1\n");
    ground.put(LOCAL, "{ not json");
    let out = ground.run(&["init", "--yes"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(ground.text(LOCAL), "{ not json");
}

/// P-38: settings that arrive with a repository name programs; the doctor looks at them and starts none.
#[test]
fn the_doctor_starts_nothing_that_arrived() {
    let ground = Ground::set_up(&["--enforce"]);
    let good = ground.text(LOCAL);
    ground.put("hook", "touch started\n");
    ground.put("evil", "#!/bin/sh\ntouch started\n");
    let evil = ground.path("evil");
    std::fs::set_permissions(&evil, std::fs::Permissions::from_mode(0o755)).unwrap();
    for program in ["/bin/sh", evil.to_str().unwrap()] {
        ground.put(LOCAL, &good.replace(BINARY, program));
        ground.doctor_names("fail", "binary", "it was not tried");
        assert!(!ground.path("started").exists());
    }
    // Our own program, but pointed at something else.
    ground.put(LOCAL, &good.replace("\"pre\",", "\"pre\", \"--json\","));
    ground.doctor_names("fail", "hooks", "arguments that init does not write");
    ground.doctor_names("info", "probe", "not tried");
}

/// `--force` gets a project out of configuration that does not load, and undoing brings that back.
#[test]
fn force_writes_anew_and_keeps_a_copy() {
    let ground = Ground::new();
    ground.put(".countersign/config.toml", "version = 1\nbroken\n");
    ground.ok(&["init", "--yes", "--force", "--enforce"]);
    assert!(ground.text(".countersign/config.toml").contains("mode = \"enforce\""));
    assert_eq!(ground.doctor().0, Some(0));
    assert_eq!(ground.person(&["uninstall", "--yes"]).0, Some(0));
    assert_eq!(ground.text(".countersign/config.toml"), "version = 1\nbroken\n");
    assert!(!ground.path(".countersign/policy").exists());
}

#[test]
fn a_set_up_that_exists_is_changed_by_a_person_only() {
    let ground = Ground::set_up(&[]);
    std::fs::remove_file(ground.path(LOCAL)).unwrap();
    assert_eq!(ground.run(&["init", "--yes"]).status.code(), Some(3));
    assert!(!ground.path(LOCAL).exists());
    let (code, said) = ground.person(&["init", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(ground.path(LOCAL).exists());
}

#[test]
fn shared_moves_the_hooks() {
    let ground = Ground::set_up(&[]);
    let (code, said) = ground.person(&["init", "--yes", "--shared"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!ground.path(LOCAL).exists() && ground.text(".claude/settings.json").contains("claude-code"));
    // Right as they are, so a plain run leaves them where they are.
    assert!(ground.ok(&["init", "--yes"]).contains("Nothing to do"));
    let (code, _) = ground.person(&["uninstall", "--yes"]);
    assert_eq!(code, Some(0));
    assert!(!ground.path(".claude").exists());
}

#[test]
fn uninstall_restores_the_very_bytes() {
    let ground = Ground::new();
    ground.put(LOCAL, ODD);
    let mut before = Vec::new();
    walk(&ground.root, &mut before);
    before.sort();
    ground.ok(&["init", "--yes", "--enforce"]);
    assert_ne!(ground.text(LOCAL), ODD);
    assert_eq!(ground.run(&["uninstall", "--yes"]).status.code(), Some(3));
    assert!(ground.ok(&["uninstall", "--dry-run"]).contains("as it was before init"));
    let mut at = ground.terminal(&["uninstall"]);
    at.wait_for("[y/N]", LIMIT);
    at.send("y\n");
    let (code, said) = at.finish(LIMIT);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("The log stays in"), "{said}");
    let mut after = Vec::new();
    walk(&ground.root, &mut after);
    after.sort();
    assert_eq!(after, before);
    assert!(ground.state().join("state.db").is_file());
    assert!(ground.ok(&["uninstall", "--keep-log"]).contains("Nothing to undo"));
}

/// The usual life of a set-up: watched, then enforced, then undone. A mode that our own command wrote is no edit of
/// others.
#[test]
fn a_changed_mode_is_undone_too() {
    let ground = Ground::set_up(&[]);
    for mode in ["enforce", "watch", "enforce"] {
        assert_eq!(ground.person(&["mode", mode]).0, Some(0));
    }
    let (code, said) = ground.person(&["uninstall", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!ground.path(".countersign").exists() && !ground.path(".claude").exists(), "{said}");
}

#[test]
fn uninstall_keeps_what_others_changed() {
    let ground = Ground::new();
    ground.put(LOCAL, ODD);
    ground.ok(&["init", "--yes"]);
    ground.put(LOCAL, &ground.text(LOCAL).replace("\"x\"", "\"y\""));
    ground.put(".countersign/policy/soft.cedar", "// mine\n");
    let (code, said) = ground.person(&["uninstall", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("Kept") && said.contains("soft.cedar") && said.contains(".countersign stays"),
        "{said}"
    );
    assert_eq!(ground.text(".countersign/policy/soft.cedar"), "// mine\n");
    assert!(!ground.path(".countersign/config.toml").exists());
    let left = ground.text(LOCAL);
    assert!(left.contains("\"y\"") && left.contains("bell") && !left.contains("claude-code"), "{left}");
}

#[test]
fn the_doctor_finds_a_good_set_up_good() {
    let ground = Ground::set_up(&["--enforce"]);
    let (code, lines) = ground.doctor();
    assert_eq!(code, Some(0), "{lines:#?}");
    let line = |check: &str| {
        lines.iter().find(|(_, c, _)| c == check).unwrap_or_else(|| panic!("{check}: {lines:#?}"))
    };
    assert!(line("harmless call").2.contains("allowed ("));
    assert!(line("its end").2.contains("recorded"));
    assert!(line("forbidden call").2.contains("refused code=blocked_path"));
    assert!(line("destructive call").2.contains("refused code=hard"));
    assert!(line("malformed call").2.contains("exit code 2"));
    assert!(line("grade").2.contains("D0"));
    for (level, _, detail) in &lines {
        assert!(matches!(level.as_str(), "ok" | "info"), "{detail}");
        assert!(!detail.contains("protected") || detail.contains("not protecting"), "{detail}");
    }
    // The probe's session has ended, and no process of it counts as an agent: the person below it is still one.
    let tail = ground.ok(&["audit", "tail", "-n", "30"]);
    assert!(tail.contains("task_completed"), "{tail}");
    assert!(ground.ok(&["audit", "verify"]).contains("nothing wrong"));
    let (code, said) = ground.person(&["mode", "watch"]);
    assert_eq!(code, Some(0), "{said}");

    ground.doctor_names("warn", "mode", "watching, not protecting");
    ground.doctor_names("ok", "destructive call", "would be refused (watching) rules=");
    ground.doctor_names("ok", "forbidden call", "refused code=blocked_path");
    ground.doctor_names("ok", "malformed call", "exit code 2");
}

#[test]
fn the_doctor_probes_without_asking_anyone() {
    let ground = Ground::set_up(&["--enforce", "--profile", "client-engagement"]);
    let (code, lines) = ground.doctor();
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(ground.ok(&["pending"]).contains("no pending"));
}

#[test]
fn the_doctor_names_what_is_wrong_with_the_hooks() {
    let ground = Ground::set_up(&["--enforce"]);
    let good = ground.text(LOCAL);
    let stage = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} in {good}");
        ground.put(LOCAL, &good.replace(from, to));
    };
    stage("\"onFailure\": \"block\"", "\"onFailure\": \"continue\"");
    ground.doctor_names("fail", "onFailure", "lets calls run");
    stage("\"timeout\": 3630", "\"timeout\": 60");
    ground.doctor_names("warn", "timeout", "60 s, hooks.timeout_s is 3630");
    stage(BINARY, "/nowhere/countersign");
    ground.doctor_names("fail", "binary", "which is not there");
    ground.doctor_names("info", "probe", "not tried");
    stage(BINARY, "/bin/true");
    ground.doctor_names("fail", "binary", "/bin/true, which is not this program");
    ground.doctor_names("info", "probe", "not tried");
    stage("my shop\"", "other\"");
    ground.doctor_names("fail", "hooks", "names another project");
    stage("\"PreToolUse\"", "\"PreToolUsed\"");
    ground.doctor_names("fail", "hooks", "PreToolUse is not registered");
    stage("\"matcher\": \"*\"", "\"matcher\": \"Bash\"");
    ground.doctor_names("fail", "hooks", "other tools pass unseen");
    stage("{\n  \"hooks\"", "{\n  \"disableAllHooks\": true,\n  \"hooks\"");
    ground.doctor_names("fail", "settings", "disableAllHooks");
    ground.put(LOCAL, "{ not json");
    ground.doctor_names("fail", "settings", "the client ignores it");
    std::fs::remove_file(ground.path(LOCAL)).unwrap();
    ground.doctor_names("fail", "hooks", "no call is decided");
    ground.put(LOCAL, &good);
    ground.put(".claude/settings.json", &good);
    ground.doctor_names("warn", "hooks", "more than once");
    std::fs::remove_file(ground.path(".claude/settings.json")).unwrap();
    assert_eq!(ground.doctor().0, Some(0));
    assert!(ground.settings().get("hooks").is_some());
}

#[test]
fn the_doctor_names_what_is_wrong_on_our_side() {
    let ground = Ground::new();
    ground.doctor_names("fail", "project", "has no folder .countersign");
    ground.ok(&["init", "--yes", "--enforce"]);
    let config = ground.text(".countersign/config.toml");

    ground.put(".countersign/HALT", "stop it\n");
    ground.doctor_names("warn", "halt", "stop it");
    ground.doctor_names("info", "harmless call", "refused code=halted");
    std::fs::remove_file(ground.path(".countersign/HALT")).unwrap();

    ground.put(".countersign/config.toml", &config.replace("mode =", "mod ="));
    ground.doctor_names("fail", "configuration", "gate.mod");
    ground.put(".countersign/config.toml", &format!("{config}\n# changed\n"));
    ground.doctor_names("warn", "accepted", "changed since a person accepted");
    ground.put(".countersign/config.toml", &config);

    let chmod = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
    };
    let key = ground.home.join(".local/share/countersign/keys/log.key");
    chmod(&key, 0o644);
    ground.doctor_names("fail", "log key", "mode 644");
    chmod(&key, 0o600);
    chmod(&ground.state(), 0o755);
    ground.doctor_names("fail", "state folder", "mode 755");
    chmod(&ground.state(), 0o700);

    let out = ground.command(&["doctor"]).env("COUNTERSIGN_MODE", "watch").output().unwrap();
    assert!(
        String::from_utf8_lossy(&out.stdout).contains("COUNTERSIGN_MODE means nothing"),
        "{}",
        both(&out)
    );
    assert!(out.status.success());
}

#[test]
fn the_doctor_knows_versions_of_the_client() {
    let ground = Ground::set_up(&["--enforce"]);
    let bin = ground.home.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let program = bin.join("claude");
    for (version, level, part) in [
        ("2.1.294", "fail", "does not know onFailure"),
        ("2.1.295", "ok", "2.1.295"),
        ("2.2.0", "ok", "2.2.0"),
    ] {
        std::fs::write(&program, format!("#!/bin/sh\necho '{version} (Claude Code)'\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let out = ground.command(&["doctor"]).env("PATH", path).output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        let line = said.lines().find(|l| l.contains("Claude Code")).unwrap();
        assert!(line.starts_with(level) && line.contains(part), "{line}");
    }
}

/// The real client runs what `init` registered: before each call, after it, and at the end of its session.
#[test]
fn the_real_client_runs_the_hooks() {
    let scratch = Scratch::new();
    scratch.settings(&serde_json::json!({ "permissions": { "allow": ["Bash"] } }));
    let run = |args: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(args).current_dir(scratch.project()).env_clear().env("HOME", scratch.home());
        let out = command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", both(&out));
        String::from_utf8(out.stdout).unwrap()
    };
    run(&["init", "--enforce", "--yes"]);
    let secret = scratch.project().join(".countersign/config.toml");
    let model = ScriptedModel::start(Script::new([
        Turn::tool("Bash", serde_json::json!({ "command": "echo harness-ok", "description": "Say so" })),
        Turn::tool("Read", serde_json::json!({ "file_path": secret })),
    ]));
    ClaudeCode::find().run(&RunOptions::new(&scratch, model.url())).expect_success();
    let results = model.tool_results();
    assert_eq!(results[0].text, "harness-ok");
    assert!(results[1].is_error && results[1].text.contains("refused code=blocked_path"), "{results:?}");
    let tail = run(&["audit", "tail", "-n", "20"]);
    for part in ["call.judged Bash allowed", "call.finished ok", "call.judged Read refused", "task_completed"]
    {
        assert!(tail.contains(part), "{part}: {tail}");
    }
    assert!(run(&["doctor"]).contains("0 failed"));
}
