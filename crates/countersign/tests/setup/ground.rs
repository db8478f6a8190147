//! A scratch home and a scratch repository, with the real binary in them.
#![allow(dead_code, reason = "each file of tests uses its part of it")]

use countersign_core::json::{Bounds, Json};
use countersign_testkit::pty::Pty;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const LOCAL: &str = ".claude/settings.local.json";

pub(crate) struct Ground {
    _folder: tempfile::TempDir,
    pub(crate) home: PathBuf,
    pub(crate) root: PathBuf,
}

impl Ground {
    /// A home and a repository without anything of ours.
    pub(crate) fn new() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let (home, root) = (base.join("home"), base.join("my shop"));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::create_dir_all(root.join(".git")).unwrap();
        Ground { _folder: folder, home, root }
    }

    pub(crate) fn set_up(args: &[&str]) -> Ground {
        let ground = Ground::new();
        let mut all = vec!["init", "--yes"];
        all.extend(args);
        ground.ok(&all);
        ground
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(args)
            .current_dir(&self.root)
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", both(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Runs at a terminal, as a person does.
    pub(crate) fn person(&self, args: &[&str]) -> (Option<i32>, String) {
        self.terminal(args).finish(LIMIT)
    }

    pub(crate) fn terminal(&self, args: &[&str]) -> Pty {
        let mut command = vec![BINARY];
        command.extend(args);
        Pty::spawn(&command, &[("HOME", self.home.to_str().unwrap()), ("PATH", "/usr/bin:/bin")], &self.root)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn settings(&self) -> Json {
        Json::parse(self.text(LOCAL).as_bytes(), Bounds::default()).unwrap()
    }

    /// Everything below the project and the home, with bytes.
    pub(crate) fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut out = Vec::new();
        for top in [&self.root, &self.home] {
            walk(top, &mut out);
        }
        out.sort();
        out
    }

    pub(crate) fn state(&self) -> PathBuf {
        let all = std::fs::read_dir(self.home.join(".local/state/countersign")).unwrap();
        all.map(|e| e.unwrap().path()).next().unwrap()
    }

    /// The doctor's exit code and its lines.
    pub(crate) fn doctor(&self) -> (Option<i32>, Vec<(String, String, String)>) {
        let out = self.run(&["doctor", "--json"]);
        let json =
            Json::parse(&out.stdout, Bounds::default()).unwrap_or_else(|e| panic!("{e}: {}", both(&out)));
        let checks = json.get("checks").and_then(Json::as_array).unwrap();
        let member = |c: &Json, key: &str| c.text(key).unwrap_or_default().to_owned();
        let lines =
            checks.iter().map(|c| (member(c, "level"), member(c, "check"), member(c, "detail"))).collect();
        (out.status.code(), lines)
    }

    /// The doctor must name this, and end as its level says.
    pub(crate) fn doctor_names(&self, level: &str, check: &str, part: &str) {
        let (code, lines) = self.doctor();
        let named = lines.iter().any(|(l, c, d)| l == level && c == check && d.contains(part));
        assert!(named, "no `{level} {check} … {part}` in {lines:#?}");
        let failed = lines.iter().any(|(l, _, _)| l == "fail");
        assert_eq!(code, Some(i32::from(failed)), "{lines:#?}");
    }
}

pub(crate) fn both(out: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

pub(crate) fn walk(folder: &Path, out: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.push((path.clone(), Vec::new()));
            walk(&path, out);
        } else {
            out.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
}
