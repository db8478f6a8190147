//! What the scenarios with Codex and Gemini CLI share: a repository under our gate, and a person at another terminal.

use countersign_testkit::client::{RunOptions, Running, Scratch};
use countersign_testkit::pty::Pty;
use countersign_testkit::scripted_model::ScriptedModel;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
const LIMIT: Duration = Duration::from_secs(120);

/// A shell line that a soft rule asks about, and the file that it makes.
pub(crate) const ASKED: &str = "echo hello > credentials.json";
pub(crate) const MADE: &str = "credentials.json";
/// A shell line that a hard rule refuses. It would leave a trace.
pub(crate) const REFUSED: &str = "touch trace && rm -rf /opt/countersign-e2e/x";

/// One project under our gate.
pub(crate) struct Bench {
    pub(crate) scratch: Scratch,
}

#[allow(dead_code, reason = "each file of tests uses its part of it")]
impl Bench {
    /// A project that is not set up yet.
    pub(crate) fn new() -> Bench {
        Bench { scratch: Scratch::new() }
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.scratch.project().canonicalize().unwrap()
    }

    pub(crate) fn is_there(&self, file: &str) -> bool {
        self.project().join(file).exists()
    }

    pub(crate) fn read(&self, file: &str) -> Option<Vec<u8>> {
        std::fs::read(self.project().join(file)).ok()
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.args(args).current_dir(self.project()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.scratch.home()).env("PATH", "/usr/bin:/bin");
        command.output().unwrap()
    }

    /// What a verb prints, however it ends.
    pub(crate) fn said(&self, args: &[&str]) -> String {
        String::from_utf8_lossy(&self.output(args).stdout).into_owned()
    }

    /// A verb that needs no person.
    pub(crate) fn free(&self, args: &[&str]) -> String {
        let out = self.output(args);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&out.stderr));
        said
    }

    /// A verb typed at another terminal.
    pub(crate) fn person(&self, args: &[&str]) -> String {
        let mut command = vec![BINARY];
        command.extend(args);
        let home = self.scratch.home();
        let env = [("HOME", home.to_str().unwrap()), ("PATH", "/usr/bin:/bin")];
        let (code, said) = Pty::spawn(&command, &env, &self.project()).finish(LIMIT);
        assert_eq!(code, Some(0), "{args:?}: {said}");
        said
    }

    /// Lines are added to the configuration, and a person accepts them.
    pub(crate) fn configure(&self, lines: &str) {
        let config = self.project().join(".countersign/config.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n{lines}\n")).unwrap();
        self.person(&["trust", "accept", "project", "--yes"]);
    }

    fn pending(&self) -> Vec<Value> {
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

    pub(crate) fn options(&self, model: &ScriptedModel) -> RunOptions {
        RunOptions::new(&self.scratch, model.url()).time_limit(LIMIT)
    }

    /// The records of the log.
    pub(crate) fn records(&self) -> Vec<Value> {
        let lines = self.free(&["audit", "tail", "--json", "-n", "1000"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The session has ended well. The log is whole, and it says of each call that was let through how it ended.
    pub(crate) fn ended(&self, running: Running) {
        running.wait().expect_success();
        assert!(self.free(&["audit", "verify"]).contains("nothing wrong"));
        let records = self.records();
        let of = |event: &'static str| records.iter().filter(move |record| record["event"] == event);
        for judged in of("call.judged").filter(|judged| judged["data"]["decision"] == "allowed") {
            let ends: Vec<_> =
                of("call.finished").filter(|end| end["call_id"] == judged["call_id"]).collect();
            assert_eq!(ends.len(), 1, "{judged:#}\n{ends:#?}");
            assert_eq!(ends[0]["data"]["outcome"], "ok", "{judged:#}");
        }
        // The client's, and one of each gateway in front of its servers.
        let begun = of("task_started").count();
        assert!(begun >= 1 && of("task_completed").count() == begun, "each session's end was told");
    }

    /// `sh ./helper.sh` then tries to say yes: our program under another name, at a terminal of its own, in a script that
    /// no rule looks into. The id is read from the file that is returned.
    pub(crate) fn helper(&self) -> PathBuf {
        let base = self.project().parent().unwrap().to_path_buf();
        let (alias, id) = (base.join("helper-program"), base.join("id"));
        std::os::unix::fs::symlink(BINARY, &alias).unwrap();
        let (alias, shown) = (alias.display(), id.display());
        let line = format!("'{alias}' approve $id --yes");
        self.scratch.write(
            "helper.sh",
            format!("id=$(cat '{shown}')\nscript -qec \"{line}\" /dev/null\necho code=$?\n"),
        );
        id
    }

    /// It was not taken for a person, and its attempt is in the log.
    pub(crate) fn was_no_person(&self, said: &str) {
        assert!(said.contains("mode_requires_human") && said.contains("code=3"), "{said}");
        // By ancestry, not for want of a terminal.
        assert!(said.contains("started from an agent's session"), "{said}");
        let refused = |record: &&Value| record["data"]["code"] == "mode_requires_human";
        assert_eq!(self.records().iter().filter(refused).count(), 1);
    }
}

/// Looks again and again until it holds; never for longer than the limit.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
