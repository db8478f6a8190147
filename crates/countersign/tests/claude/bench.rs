//! What the scenarios share: a scratch repository with a real remote and our hooks in it, the real client, a person at
//! a terminal of their own, and the log.

use countersign_testkit::claude::ClaudeCode;
use countersign_testkit::client::{Finished, RunOptions, Running, Scratch};
use countersign_testkit::pty::Pty;
use countersign_testkit::scripted_model::{Script, ScriptedModel, ToolResult, Turn};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
/// A call that a person must approve: it rewrites history on the remote.
pub(crate) const PUSH: &str = "git push --force origin feature";
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const LOCAL: &str = ".claude/settings.local.json";

/// One project under our gate. Scripts of the model hold it too, to act between two turns.
pub(crate) struct Bench {
    scratch: Scratch,
}

impl Bench {
    /// Set up with `countersign init --enforce --yes`.
    pub(crate) fn enforcing() -> Arc<Bench> {
        Bench::set_up(&["init", "--enforce", "--yes"])
    }

    /// As above, and a call is held for one second only, then parked.
    pub(crate) fn parking() -> Arc<Bench> {
        let bench = Bench::enforcing();
        let config = bench.project().join(".countersign/config.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n[hooks]\nhold_s = 1\n")).unwrap();
        bench.person(&["trust", "accept", "project", "--yes"]);
        bench
    }

    pub(crate) fn set_up(init: &[&str]) -> Arc<Bench> {
        let bench = Bench { scratch: Scratch::new() };
        bench.scratch.settings(&json!({ "permissions": {
            "allow": ["Bash", "Read", "Write", "Edit", "Agent"],
        }}));
        bench.git(&bench.base(), &["init", "--quiet", "--bare", "remote.git"]);
        bench.publish(&bench.project());
        // git calls it at each push that it is told to do, even where there is nothing new.
        let count = format!("#!/bin/sh\necho push >> '{}'\n", bench.base().join("pushes").display());
        let hook = bench.scratch.script("count", "");
        std::fs::write(&hook, count).unwrap();
        std::fs::create_dir_all(bench.project().join(".git/hooks")).unwrap();
        std::fs::rename(hook, bench.project().join(".git/hooks/pre-push")).unwrap();
        bench.free(init);
        Arc::new(bench)
    }

    /// Two branches on the remote, both rewritten here, so that only a forced push publishes them.
    fn publish(&self, repository: &Path) {
        let commit = ["commit", "--quiet", "--allow-empty", "-m"];
        self.git(repository, &["remote", "add", "origin", "../remote.git"]);
        self.git(repository, &[&commit[..], &["first"]].concat());
        for branch in ["feature", "other"] {
            self.git(repository, &["branch", branch]);
            self.git(repository, &["push", "--quiet", "origin", branch]);
        }
        self.git(repository, &["checkout", "--quiet", "feature"]);
        self.git(repository, &[&commit[..], &["rewritten", "--amend"]].concat());
        self.git(repository, &["branch", "--force", "other"]);
    }

    /// A second clone, of which our gate knows nothing.
    pub(crate) fn elsewhere(&self) -> PathBuf {
        let folder = self.base().join("elsewhere");
        self.git(&self.base(), &["clone", "--quiet", "--branch", "feature", "remote.git", "elsewhere"]);
        self.git(&folder, &["commit", "--quiet", "--allow-empty", "--amend", "-m", "rewritten elsewhere"]);
        folder.canonicalize().unwrap()
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.scratch.project().canonicalize().unwrap()
    }

    /// The user's home.
    #[allow(dead_code, reason = "not every test that includes this file needs it")]
    pub(crate) fn home(&self) -> PathBuf {
        self.scratch.home()
    }

    /// The folder around project and home.
    pub(crate) fn base(&self) -> PathBuf {
        self.project().parent().unwrap().to_path_buf()
    }

    fn command(&self, program: &str, args: &[&str], folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
        command.env("HOME", self.scratch.home()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    pub(crate) fn git(&self, folder: &Path, args: &[&str]) -> String {
        let mut command = self.command("git", args, folder);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@example.com");
        }
        told(&format!("git {args:?}"), &command.output().unwrap())
    }

    /// Where a branch stands on the remote.
    pub(crate) fn remote(&self, branch: &str) -> String {
        self.git(&self.base().join("remote.git"), &["rev-parse", branch])
    }

    /// Where a branch stands here.
    pub(crate) fn local(&self, branch: &str) -> String {
        self.git(&self.project(), &["rev-parse", branch])
    }

    /// How many pushes have been run in the project since it was set up.
    pub(crate) fn pushes(&self) -> usize {
        std::fs::read_to_string(self.base().join("pushes")).map_or(0, |text| text.lines().count())
    }

    /// No push was run, and the remote is as it was.
    pub(crate) fn nothing_was_pushed(&self) {
        assert_eq!(self.pushes(), 0, "a push was run");
        assert_ne!(self.remote("feature"), self.local("feature"), "the remote was changed");
    }

    /// The push was run this often, and arrived.
    pub(crate) fn pushed(&self, times: usize) {
        assert_eq!(self.pushes(), times, "pushes that were run");
        assert_eq!(self.remote("feature"), self.local("feature"), "the remote was not changed");
    }

    pub(crate) fn change_settings(&self, from: &str, to: &str) {
        let file = self.project().join(LOCAL);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(file, text.replace(from, to)).unwrap();
    }

    /// A verb that needs no person.
    pub(crate) fn free(&self, args: &[&str]) -> String {
        told(&format!("{args:?}"), &self.command(BINARY, args, &self.project()).output().unwrap())
    }

    /// A verb typed at another terminal.
    pub(crate) fn person(&self, args: &[&str]) -> String {
        let mut command = vec![BINARY];
        command.extend(args);
        let home = self.scratch.home();
        let env = [("HOME", home.to_str().unwrap())];
        let (code, said) = Pty::spawn(&command, &env, &self.project()).finish(LIMIT);
        assert_eq!(code, Some(0), "{args:?}: {said}");
        said
    }

    /// What waits for a person.
    pub(crate) fn pending(&self) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.free(&["pending", "--json"])).unwrap();
        list.as_array().unwrap().clone()
    }

    /// The id of the one question that waits, once it does.
    pub(crate) fn asked(&self) -> String {
        until("a question waits", || !self.pending().is_empty());
        let pending = self.pending();
        assert_eq!(pending.len(), 1, "{pending:#?}");
        pending[0]["approval_id"].as_str().unwrap().to_owned()
    }

    /// As above, while the client is held by the hook that asked.
    pub(crate) fn held(&self) -> String {
        let id = self.asked();
        until("the hook waits", || self.hooks().len() == 1);
        id
    }

    /// The hook processes that decide a call of this project now.
    pub(crate) fn hooks(&self) -> Vec<u32> {
        let root = self.project();
        let wanted = format!("hook\0claude-code\0pre\0--project\0{}\0", root.display());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| {
                let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&wanted)
            })
            .filter_map(|process| process.file_name().to_str()?.parse().ok())
            .collect()
    }

    pub(crate) fn records(&self) -> Vec<Value> {
        let lines = self.free(&["audit", "tail", "--json", "-n", "100000"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The records of calls that were judged, with the command or path in their preview.
    pub(crate) fn judged(&self, part: &str) -> Vec<Value> {
        let of = |record: &Value| {
            let preview = record["data"]["input_preview"].as_str().unwrap_or_default();
            record["event"] == "call.judged" && preview.contains(part)
        };
        self.records().into_iter().filter(of).collect()
    }

    pub(crate) fn options(&self, model: &ScriptedModel) -> RunOptions {
        RunOptions::new(&self.scratch, model.url()).time_limit(LIMIT)
    }

    pub(crate) fn spawn(&self, model: &ScriptedModel) -> Running {
        ClaudeCode::find().spawn(&self.options(model))
    }

    /// One whole session: what the model read for each call.
    pub(crate) fn play(&self, turns: impl IntoIterator<Item = Turn>) -> Vec<ToolResult> {
        let model = ScriptedModel::start(Script::new(turns));
        ClaudeCode::find().run(&self.options(&model)).expect_success();
        model.tool_results()
    }

    /// The log is whole, and each call that was let through has one end in it, told by the client itself.
    pub(crate) fn the_log_is_whole(&self) {
        assert!(self.free(&["audit", "verify"]).contains("nothing wrong"));
        let records = self.records();
        let of = |event: &'static str| records.iter().filter(move |record| record["event"] == event);
        for judged in of("call.judged").filter(|judged| judged["data"]["decision"] == "allowed") {
            assert!(judged["call_id"].is_string(), "{judged:#}");
            let ends: Vec<_> =
                of("call.finished").filter(|end| end["call_id"] == judged["call_id"]).collect();
            assert_eq!(ends.len(), 1, "{judged:#}\n{ends:#?}");
            let outcome = &ends[0]["data"]["outcome"];
            assert!(outcome == "ok" || outcome == "error", "nobody told how it ended: {judged:#}");
        }
    }

    /// The session has ended well, and left a whole log.
    pub(crate) fn ended(&self, running: Running) -> Finished {
        let finished = running.wait();
        finished.expect_success();
        self.the_log_is_whole();
        finished
    }
}

/// One shell call of the model.
pub(crate) fn bash(command: &str) -> Turn {
    Turn::tool("Bash", json!({ "command": command, "description": "As asked" }))
}

/// The same, in other words of the model.
pub(crate) fn reworded(command: &str, description: &str) -> Turn {
    Turn::tool("Bash", json!({ "command": command, "description": description }))
}

pub(crate) fn is_parked(result: &ToolResult) -> bool {
    result.is_error
        && result.text.contains("countersign: approval required id=")
        && result.text.contains(" status=PENDING ")
}

pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Looks again and again until it holds; never for longer than the limit.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn told(what: &str, out: &Output) -> String {
    let said = String::from_utf8_lossy(&out.stdout).trim_end().to_owned();
    assert!(out.status.success(), "{what}: {}\n{said}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    said
}
