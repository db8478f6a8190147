//! The rules as code, with the real binary: listed, shown, checked, tried on cases, replayed, and suggested from what a
//! person approved.
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
use ground::{Ground, both};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy")
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), Bounds { max_bytes: 16 << 20, ..Bounds::default() }).unwrap()
}

/// `decide`, below a process of its own: what it is called by counts as nobody's agent then.
fn decide(ground: &Ground, line: &str) -> Json {
    let input = Json::object([
        ("tool_name", Json::str("Bash")),
        ("tool_input", Json::object([("command", Json::str(line))])),
    ]);
    ask(ground, &input.canonical())
}

fn ask(ground: &Ground, input: &str) -> Json {
    let mut command = ground.command(&["decide"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    json(&String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
}

const RULE: &str = "@tier(\"soft\") @rule_id(\"ask_before_publish\") @severity(\"high\") @summary(\"publishes\")\nforbid (principal, action == Agent::Action::\"execute_bash\", resource)\nwhen { context.command like \"make release*\" };\n";

#[test]
fn rules_are_listed_and_shown() {
    let ground = Ground::set_up(&["--enforce"]);
    let soft = ground.ok(&["policy", "list", "--set", "soft"]);
    assert!(soft.contains("force_push_any") && !soft.contains("rm_slash"), "{soft}");
    let all = json(&ground.ok(&["policy", "list", "--json"]));
    let rules = all.get("rules").and_then(Json::as_array).unwrap();
    let hard = rules.iter().find(|r| r.text("rule_id") == Some("rm_slash")).unwrap();
    assert_eq!((hard.text("set"), hard.text("file")), (Some("hard"), Some("built-in")));
    let shown = ground.ok(&["policy", "show", "force_push_main"]);
    assert!(shown.contains("git_push_main") && shown.contains("high") && shown.contains("10 min"), "{shown}");
    assert_eq!(ground.run(&["policy", "show", "no_such"]).status.code(), Some(1));
    assert_eq!(ground.run(&["policy", "list", "--set", "odd"]).status.code(), Some(2));
}

/// Every problem with file, line, column and help; a proposal is checked without being in force.
#[test]
fn proposals_are_checked() {
    let ground = Ground::set_up(&["--enforce"]);
    assert!(ground.ok(&["policy", "check"]).contains("trust accept project"));
    ground.put("proposal/config.toml", "version = 1\nrules.disable = [\"ask_before_publish\"]\n");
    ground.put("proposal/policy/soft.cedar", RULE);
    ground.ok(&["policy", "check", "proposal"]);
    ground.put("proposal/policy/soft.cedar", &RULE.replace("context.command", "context.comand"));
    let out = ground.run(&["policy", "check", "proposal", "--json"]);
    assert_eq!(out.status.code(), Some(1));
    let found = json(&String::from_utf8(out.stdout).unwrap());
    let problem = &found.get("problems").and_then(Json::as_array).unwrap()[0];
    assert!(problem.text("file").unwrap().ends_with("proposal/policy/soft.cedar"));
    assert_eq!(problem.get("line").and_then(Json::as_i64), Some(1));
    assert!(problem.text("help").unwrap().contains("schema"), "{}", problem.canonical());
    // One file alone, and text from before annotations.
    ground.put("old.cedar", "forbid (principal, action, resource) when { context.tool == \"a\" };\n");
    assert_eq!(ground.run(&["policy", "check", "old.cedar"]).status.code(), Some(1));
    let wrapped = ground.ok(&["policy", "check", "--wrap-legacy", "old.cedar"]);
    ground.put("new.cedar", &wrapped);
    ground.ok(&["policy", "check", "new.cedar"]);
    assert_eq!(ground.run(&["policy", "check", "--wrap-legacy", "new.cedar"]).status.code(), Some(1));
    // Nothing of all this is in force.
    assert_eq!(decide(&ground, "make release").text("verdict"), Some("allow"));
}

/// The grid of principal and call at each level is a golden file: whoever changes a rule sees here what it changes.
/// `countersign policy test crates/countersign/tests/policy/cases --grid` prints it.
/// GINV-12.
#[test]
fn the_grid_is_golden() {
    let cases = files().join("cases");
    for level in ["L0", "L1", "L2", "L3"] {
        let ground = Ground::set_up(&["--enforce"]);
        let config =
            format!("version = 1\n[gate]\nautonomy_level = \"{level}\"\nmax_autonomy_level = \"L3\"\n");
        ground.put(".countersign/config.toml", &config);
        let found = ground.ok(&["policy", "test", cases.to_str().unwrap(), "--grid"]);
        let golden = files().join(format!("grid-{level}.txt"));
        let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(found == wanted, "{} should be:\n{found}", golden.display());
    }
}

#[test]
fn cases_are_tested() {
    let ground = Ground::set_up(&["--enforce"]);
    let cases = files().join("cases");
    let said = ground.ok(&["policy", "test", cases.to_str().unwrap()]);
    assert!(said.contains("27 of 27"), "{said}");
    assert_eq!(ground.run(&["policy", "test"]).status.code(), Some(2), "no case is no success");
    let case = |expected: &str| {
        format!(
            "{{\"name\":\"publishing\",\"call\":{{\"tool_name\":\"Bash\",\"tool_input\":{{\"command\":\"make release\"}}}},\"expected\":{expected}}}"
        )
    };
    let file = ".countersign/policy/tests/a.json";
    ground.put(
        file,
        &case("{\"verdict\":\"require_approval\",\"matching_rule_ids\":[\"ask_before_publish\"]}"),
    );
    let out = ground.run(&["policy", "test"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        both(&out).contains("expected require_approval by [ask_before_publish], got allow"),
        "{}",
        both(&out)
    );
    // The proposal makes it true, the project's own grid included.
    ground.put("proposal/policy/soft.cedar", RULE);
    ground.ok(&["policy", "test", "--rulebook", "proposal"]);
    let grid = ground.ok(&["policy", "test", "--rulebook", "proposal", "--grid"]);
    ground.put(".countersign/policy/tests/grid.txt", &grid);
    ground.ok(&["policy", "test", "--rulebook", "proposal"]);
    let out = ground.run(&["policy", "test", "--json"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(json(&String::from_utf8(out.stdout).unwrap()).text("grid").unwrap().contains("line 2"));
    for (bad, what) in [
        ("{\"verdict\":\"perhaps\"}", "possible are"),
        ("{}", "expects nothing"),
        ("{\"verdict\":\"allow\",\"why\":1}", "unknown member"),
    ] {
        ground.put(file, &case(bad));
        let out = ground.run(&["policy", "test"]);
        assert_eq!(out.status.code(), Some(1), "{bad}");
        assert!(both(&out).contains(what), "{bad}: {}", both(&out));
    }
}

/// What was decided, judged again under a proposal and under rules that changed since.
#[test]
fn recorded_calls_are_replayed() {
    let ground = Ground::set_up(&["--enforce"]);
    for line in ["make release", "make release", "ls", "git push --force origin x", "echo x > .env"] {
        decide(&ground, line);
    }
    let same = json(&ground.ok(&["policy", "replay", "--json"]));
    assert_eq!(same.get("judged").and_then(Json::as_i64), Some(5), "{}", same.canonical());
    assert!(same.get("differences").and_then(Json::as_array).unwrap().is_empty(), "{}", same.canonical());
    ground.put("proposal/policy/soft.cedar", RULE);
    let said = ground.ok(&["policy", "replay", "--rulebook", "proposal"]);
    assert!(said.contains("allow -> ask, 2 times, Bash, by ask_before_publish"), "{said}");
    // The rules changed since: the same question without a proposal.
    ground.put(".countersign/policy/soft.cedar", RULE);
    assert_eq!(ground.person(&["trust", "accept", "project", "--yes"]).0, Some(0));
    let since = json(&ground.ok(&["policy", "replay", "--json"]));
    let found = &since.get("differences").and_then(Json::as_array).unwrap()[0];
    assert_eq!((found.text("before"), found.text("after")), (Some("allow"), Some("ask")));
    assert_eq!(found.get("calls").and_then(Json::as_i64), Some(2));
    // A pin that lowers a tier is a difference as well, and so is one that is taken away.
    let call = r#"{"tool_name":"mcp__x__delete_it","tool_input":{}}"#;
    assert_eq!(ask(&ground, call).text("code"), Some("hard"));
    let config = std::fs::read_to_string(ground.root.join(".countersign/config.toml")).unwrap();
    let pinned =
        format!("{config}\n[tiers]\n\"mcp__x__delete_it\" = {{ tier = \"write\", because = \"so\" }}\n");
    ground.put("proposal/config.toml", &pinned);
    let said = ground.ok(&["policy", "replay", "--rulebook", "proposal"]);
    assert!(said.contains("deny -> allow, 1 times, mcp__x__delete_it"), "{said}");
    ground.put(".countersign/config.toml", &pinned);
    assert_eq!(ground.person(&["trust", "accept", "project", "--yes"]).0, Some(0));
    assert_eq!(ask(&ground, call).text("verdict"), Some("allow"));
    ground.put("proposal/config.toml", &config);
    let said = ground.ok(&["policy", "replay", "--rulebook", "proposal"]);
    assert!(said.contains("allow -> deny, 2 times, mcp__x__delete_it"), "{said}");
    let none = ground.ok(&["policy", "replay", "--since", "2099-01-01T00:00:00Z"]);
    assert!(none.starts_with("0 recorded calls"), "{none}");
    assert_eq!(ground.run(&["policy", "replay", "--since", "soon"]).status.code(), Some(1));
}

/// The third equal yes is answered with a way out, which only a person can take.
#[test]
fn the_third_yes_makes_a_suggestion() {
    let ground = Ground::set_up(&["--enforce"]);
    let asks = "git push --force origin feature";
    for turn in 1..=3 {
        let asked = decide(&ground, asks);
        let id = asked.get("approval").and_then(|a| a.text("approval_id")).unwrap().to_owned();
        let (code, said) = ground.person(&["approve", &id, "--yes"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.contains("policy suggest --apply"), turn == 3, "{said}");
        assert_eq!(decide(&ground, asks).text("verdict"), Some("allow"));
    }
    let found = json(&ground.ok(&["policy", "suggest", "--json"]));
    let one = &found.as_array().unwrap()[0];
    assert_eq!(one.text("scope"), Some("bash_pattern:git push --force origin feature"));
    assert_eq!(ground.run(&["policy", "suggest", "--apply", "--yes"]).status.code(), Some(3), "no terminal");
    assert_eq!(decide(&ground, asks).text("verdict"), Some("require_approval"));
    let (code, said) = ground.person(&["policy", "suggest", "--apply", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(decide(&ground, asks).text("verdict"), Some("allow"));
    assert_eq!(decide(&ground, &format!("{asks}2")).text("verdict"), Some("require_approval"));
    assert!(ground.ok(&["policy", "list"]).contains("bash_pattern:git push --force origin feature"));
    assert!(ground.ok(&["policy", "suggest"]).contains("Nothing was approved three times"));
}
