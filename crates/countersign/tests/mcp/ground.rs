//! A home, a project, people at terminals of their own, and the log.

use countersign_testkit::mcp::{McpClient, Server};
use countersign_testkit::pty::Pty;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A rule that asks about every path with `ask` in it, whoever writes it.
pub(crate) const ASKS: &str = r#"
@tier("soft") @rule_id("ask_me") @severity("medium") @approval_timeout_s("600") @category("test") @summary("asks")
forbid (principal, action == Agent::Action::"write_file", resource) when { context.file_path like "*ask*" };
@tier("soft") @rule_id("ask_tool") @severity("medium") @approval_timeout_s("600") @category("test") @summary("asks")
forbid (principal, action == Agent::Action::"invoke_tool", resource) when { context.mcp_tool == "count" };
"#;

pub(crate) struct Ground {
    _folder: tempfile::TempDir,
    pub(crate) home: PathBuf,
    pub(crate) root: PathBuf,
}

impl Ground {
    /// A repository in which nothing was set up.
    pub(crate) fn bare() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let (home, root) = (base.join("home"), base.join("shop"));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::create_dir_all(&root).unwrap();
        let ground = Ground { _folder: folder, home, root };
        let git = ground.command("git", &["init", "--quiet", "."]).output().unwrap();
        assert!(git.status.success(), "{}", both(&git));
        ground
    }

    /// Set up and enforced, with these soft rules, and calls held for so many seconds.
    pub(crate) fn with(soft: &str, hold_s: Option<u32>) -> Ground {
        let ground = Ground::bare();
        let out = ground.free(&["init", "--enforce", "--yes"]);
        assert!(out.status.success(), "{}", both(&out));
        ground.write(".countersign/policy/soft.cedar", soft);
        if let Some(hold_s) = hold_s {
            let config = ground.root.join(".countersign/config.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            std::fs::write(config, format!("{text}\n[hooks]\nhold_s = {hold_s}\n")).unwrap();
        }
        ground.person(&["trust", "accept", "project", "--yes"]);
        ground
    }

    pub(crate) fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.root.join(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn environment(&self) -> Vec<(&str, &str)> {
        vec![("HOME", self.home.to_str().unwrap()), ("PATH", "/usr/bin:/bin")]
    }

    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.root).env_clear().envs(self.environment()).stdin(Stdio::null());
        command
    }

    /// A verb that needs no person.
    pub(crate) fn free(&self, args: &[&str]) -> Output {
        self.command(BINARY, args).output().unwrap()
    }

    pub(crate) fn said(&self, args: &[&str]) -> String {
        let out = self.free(args);
        assert!(out.status.success(), "{args:?}: {}", both(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    /// A verb typed at another terminal.
    pub(crate) fn person(&self, args: &[&str]) -> String {
        let (code, said) = self.try_person(args);
        assert_eq!(code, Some(0), "{args:?}: {said}");
        said
    }

    pub(crate) fn try_person(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = vec![BINARY];
        command.extend(args);
        Pty::spawn(&command, &self.environment(), &self.root).finish(LIMIT)
    }

    /// The gate before a server, started below a process of its own: the parent of a gateway counts as an agent, and no
    /// person can be below one.
    pub(crate) fn gated(&self, options: &[&str], server: &Server) -> Server {
        let mut args = vec!["600".to_owned(), BINARY.to_owned(), "mcp".to_owned()];
        args.extend(options.iter().map(|o| (*o).to_owned()));
        args.push("--".to_owned());
        args.push(server.command.clone());
        args.extend(server.args.iter().cloned());
        Server { command: "timeout".to_owned(), args }
    }

    /// A client of `mcp -- CMD`.
    pub(crate) fn typed(&self, server: &Server) -> McpClient {
        self.client(&self.gated(&[], server))
    }

    /// A client of `mcp` or `mcp --server NAME`.
    pub(crate) fn registered(&self, options: &[&str]) -> McpClient {
        let mut args = vec!["600".to_owned(), BINARY.to_owned(), "mcp".to_owned()];
        args.extend(options.iter().map(|o| (*o).to_owned()));
        self.client(&Server { command: "timeout".to_owned(), args })
    }

    pub(crate) fn client(&self, server: &Server) -> McpClient {
        McpClient::spawn(&server.command, &server.args, &self.environment(), &self.root)
    }

    /// `servers.toml` with these servers, accepted with the project; the servers themselves are not.
    pub(crate) fn register(&self, servers: &[(&str, &Server)]) {
        let mut text = "version = 1\n".to_owned();
        for (name, server) in servers {
            text.push_str(&format!(
                "\n[[servers]]\nname = {name:?}\ncommand = {:?}\nargs = {:?}\n",
                server.command, server.args
            ));
        }
        self.write(".countersign/servers.toml", &text);
        self.person(&["trust", "accept", "project", "--yes"]);
    }

    pub(crate) fn pending(&self) -> Vec<Value> {
        serde_json::from_str(&self.said(&["pending", "--json"])).unwrap()
    }

    /// The id of the one question that waits, once it does.
    pub(crate) fn question(&self) -> String {
        until("a question waits", || self.pending().len() == 1);
        self.pending()[0]["approval_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn records(&self) -> Vec<Value> {
        let lines = self.said(&["audit", "tail", "--json", "-n", "1000000"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        self.records().into_iter().filter(|r| r["event"] == event).collect()
    }

    /// Judgements of a tool.
    pub(crate) fn judged(&self, tool: &str) -> Vec<Value> {
        self.events("call.judged").into_iter().filter(|r| r["data"]["tool_name"] == tool).collect()
    }

    /// The log verifies, and every call that was let through has one end.
    pub(crate) fn the_log_is_whole(&self) {
        let said = self.said(&["audit", "verify"]);
        assert!(said.contains("nothing wrong"), "{said}");
        let records = self.records();
        let mut ends = std::collections::HashMap::new();
        for finished in records.iter().filter(|r| r["event"] == "call.finished") {
            *ends.entry(finished["call_id"].as_str()).or_insert(0u32) += 1;
        }
        for judged in
            records.iter().filter(|r| r["event"] == "call.judged" && r["data"]["decision"] == "allowed")
        {
            assert_eq!(ends.get(&judged["call_id"].as_str()), Some(&1), "{judged:#}");
        }
    }
}

/// The text of a tool's result.
pub(crate) fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer:#}"))
}

pub(crate) fn is_error(answer: &Value) -> bool {
    answer["result"]["isError"] == true
}

pub(crate) fn both(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Looks again and again until it holds; never for longer than the limit.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether anything below a folder has a name.
pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

impl Ground {
    /// Asks the gate about a call by `decide`.
    pub(crate) fn decide(&self, input: &Value) -> Value {
        use std::io::Write as _;
        let mut child =
            self.command(BINARY, &["decide"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
    }
}
