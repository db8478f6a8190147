//! The real Claude Code, driven without a person, a credential or a model.
//!
//! [`ClaudeCode`] is the client that `cargo xtask needs` put into the user's cache; [`Scratch`] is a project and a home
//! for one run of it; [`crate::scripted_model`] is what it talks to. What a hook of the product would do is none of
//! this module's business: a test writes the settings it wants to try.
//!
//! # What this version was seen to do
//!
//! Kept true by `tests/claude_code.rs`, with hooks in `.claude/settings.local.json` and the client run with `-p`, as
//! root too (which only `--dangerously-skip-permissions` minds; `permissions.allow` serves instead).
//!
//! - The exec form of a hook works: with `"args"` (an empty list will do) `command` is started without a shell and
//!   each argument arrives as written, blanks, `$` and `;` included.
//! - `timeout` is in seconds. A hook that outlives it gets SIGTERM.
//! - `"onFailure": "block"` makes these block: any exit code, death by signal, a program that is not there, the
//!   timeout, and JSON of the wrong shape. Without it all of them let the call run, but for exit code 2, whose error
//!   text reaches the model.
//! - **Exit code 0 with nothing on standard output, or with something that is no JSON, lets the call run, `onFailure`
//!   or not.** A truncated answer is a yes.
//! - Each hook has a process group of its own. When the client is killed the hook goes on, and no one reads its answer.
//! - Two tools in one answer are performed side by side; their results come back in the order in which they ended.
//! - A sub-agent (tool `Agent`) runs beside the main conversation, whose tool result says only that it was launched; its
//!   end arrives later as a message that starts one more model turn, also under `-p`.
//! - The conversation holds messages of the role `system` between those of user and assistant.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

/// The version that is installed and driven; `cargo xtask needs` reads the same file.
pub const VERSION: &str = include_str!("../../../xtask/pins/claude-code").trim_ascii();

/// A run that does nothing unusual takes seconds; this is for a machine that is busy with other things.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The client puts each hook and shell command into a process group of its own, which a signal to its group does not
/// reach and its own death does not end (seen: a hook asleep went on when its client was killed). So all that a run
/// starts is found by this variable, which every child inherits.
const MARK: &str = "TESTKIT_RUN";

static RUNS: AtomicU64 = AtomicU64::new(0);

/// The installed client.
#[derive(Debug, Clone)]
pub struct ClaudeCode {
    program: PathBuf,
}

impl ClaudeCode {
    /// Finds the client, or fails the test with what to do about it.
    pub fn find() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        let program = cache.map(|cache| {
            cache
                .join("countersign-test")
                .join(format!("claude-code-{VERSION}"))
                .join("node_modules/.bin/claude")
        });
        match program.filter(|program| program.exists()) {
            Some(program) => Self { program },
            None => {
                panic!("the agent client Claude Code {VERSION} is not installed: run `cargo xtask needs`")
            }
        }
    }

    /// Runs the client to its end.
    pub fn run(&self, options: &RunOptions) -> Finished {
        self.spawn(options).wait()
    }

    /// Starts the client, for a test that does something while it runs.
    pub fn spawn(&self, options: &RunOptions) -> Running {
        let mark = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(&self.program);
        command
            .args(["-p", &options.prompt, "--output-format", "stream-json", "--verbose"])
            .args(&options.args)
            .current_dir(&options.project)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &options.home)
            .env("LANG", "C.UTF-8")
            .env("ANTHROPIC_BASE_URL", &options.model_url)
            .env("ANTHROPIC_API_KEY", "dummy")
            .env("DISABLE_TELEMETRY", "1")
            .env("DISABLE_ERROR_REPORTING", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env(MARK, &mark)
            .envs(options.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that its end does not touch the test's; hooks get further ones, see `MARK`.
            .process_group(0);
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("starting {}: {error}", self.program.display()));
        let said = Arc::new(Said::default());
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            let said = Arc::clone(&said);
            std::thread::spawn({
                let said = Arc::clone(&said);
                move || {
                    for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                        said.change(|state| state.lines.push(String::from_utf8_lossy(&line).into_owned()));
                    }
                    said.change(|state| state.open -= 1);
                }
            });
            std::thread::spawn(move || {
                let mut err = err;
                let mut chunk = [0; 4096];
                while let Ok(count) = err.read(&mut chunk) {
                    let Some(new) = chunk.get(..count).filter(|new| !new.is_empty()) else { break };
                    said.change(|state| state.stderr.push_str(&String::from_utf8_lossy(new)));
                }
                said.change(|state| state.open -= 1);
            });
        }
        let begun = Instant::now();
        Running { child, mark, said, begun, deadline: begun + options.time_limit }
    }
}

/// What one run is given. The environment is empty but for what the client needs and what `env` adds.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The folder in which the client works.
    pub project: PathBuf,
    /// Its `HOME`, which should be as fresh as the project.
    pub home: PathBuf,
    /// Where its model answers.
    pub model_url: String,
    /// What the person says to it.
    pub prompt: String,
    /// Arguments beyond `-p`, the prompt and the output format.
    pub args: Vec<String>,
    /// Environment variables beyond the client's own.
    pub env: Vec<(String, String)>,
    /// After this time the client and all that it started are killed.
    pub time_limit: Duration,
}

impl RunOptions {
    /// A run in a scratch project, with the prompt "go".
    pub fn new(scratch: &Scratch, model_url: impl Into<String>) -> Self {
        Self {
            project: scratch.project(),
            home: scratch.home(),
            model_url: model_url.into(),
            prompt: "go".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            time_limit: TIME_LIMIT,
        }
    }

    /// What the person says instead of "go".
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = prompt.into();
        self
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Another time limit than two minutes.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }
}

/// A client that is running. Dropping it kills it and all that it started.
pub struct Running {
    child: Child,
    mark: String,
    said: Arc<Said>,
    begun: Instant,
    deadline: Instant,
}

impl Running {
    /// The client's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The JSON lines that it has printed so far.
    pub fn lines(&self) -> Vec<Value> {
        parsed(&self.said.lock().lines)
    }

    /// Waits until a printed line is what the test looks for, and returns it; fails the test at the time limit.
    pub fn wait_for(&self, what: impl Fn(&Value) -> bool) -> Value {
        let find = |state: &State| parsed(&state.lines).into_iter().find(|line| what(line));
        match self
            .said
            .wait(self.deadline, |state| find(state).map(Some).or((state.open == 0).then_some(None)))
        {
            Some(Some(line)) => line,
            _ => {
                let state = self.said.lock();
                panic!(
                    "the client never printed what was waited for; it printed:\n{}",
                    state.lines.join("\n")
                )
            }
        }
    }

    /// Waits for the client's end, or ends it at the time limit.
    pub fn wait(mut self) -> Finished {
        // Its output ends when it does, which is the cheap thing to wait for; something that it left behind may hold
        // the pipes open, so the process itself is asked for as well.
        let (mut status, mut timed_out) = (None, false);
        while status.is_none() && !timed_out {
            let soon = self.deadline.min(Instant::now() + Duration::from_millis(100));
            let closed = self.said.wait(soon, |state| (state.open == 0).then_some(())).is_some();
            status = self.child.try_wait().expect("asking for the client's end");
            timed_out = status.is_none() && Instant::now() >= self.deadline;
            if closed && status.is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let took = self.begun.elapsed();
        self.kill();
        self.said.wait(Instant::now() + Duration::from_secs(2), |state| (state.open == 0).then_some(()));
        let state = self.said.lock();
        let stdout = state.lines.join("\n");
        Finished {
            status,
            timed_out,
            lines: parsed(&state.lines),
            stdout,
            stderr: state.stderr.clone(),
            took,
        }
    }

    fn kill(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        drop(self.child.wait());
        for pid in marked(&self.mark) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The processes that carry the mark in the environment they were started with. Only Linux can tell; elsewhere a hook
/// that hangs outlives its run by its own time limit.
fn marked(mark: &str) -> Vec<Pid> {
    let entry = format!("{MARK}={mark}");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let carries = |folder: &Path| {
        let environment = fs::read(folder.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|set| set == entry.as_bytes())
    };
    processes
        .filter(|process| carries(&process.path()))
        .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
        .collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended; `None` if the time limit ended it.
    pub status: Option<ExitStatus>,
    /// Whether the time limit ended it.
    pub timed_out: bool,
    /// The JSON lines that it printed.
    pub lines: Vec<Value>,
    /// Everything that it printed.
    pub stdout: String,
    /// What it printed as errors.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// Whether it ended by itself and called that a success.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Fails the test, with all that the client said, unless the run was a success.
    pub fn expect_success(&self) -> &Self {
        assert!(
            self.success(),
            "the client ended with {:?} (time limit reached: {}) after {:?}\nstdout:\n{}\nstderr:\n{}",
            self.status,
            self.timed_out,
            self.took,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// A git repository and a home folder of their own, gone when dropped.
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// Makes both.
    pub fn new() -> Self {
        let scratch = Self { folder: tempfile::tempdir().expect("a scratch folder") };
        for folder in [scratch.project(), scratch.home()] {
            fs::create_dir(folder).expect("a folder in the scratch folder");
        }
        let git = Command::new("git")
            .args(["init", "--quiet", "--initial-branch=main"])
            .current_dir(scratch.project())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", scratch.home())
            .status();
        assert!(git.is_ok_and(|git| git.success()), "`git init` failed");
        scratch
    }

    /// The repository.
    pub fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    /// The home.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Writes a file below the project, with its folders, and returns where it is.
    pub fn write(&self, below: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
        let file = self.project().join(below);
        fs::create_dir_all(file.parent().expect("a file has a folder")).expect("the file's folders");
        fs::write(&file, text).expect("writing the file");
        file
    }

    /// Writes `.claude/settings.local.json`, where a person's own settings for this project live.
    pub fn settings(&self, settings: &Value) -> PathBuf {
        self.write(".claude/settings.local.json", settings.to_string())
    }

    /// Writes a shell script outside the project and returns where it is.
    pub fn script(&self, name: impl AsRef<OsStr>, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let file = self.folder.path().join(name.as_ref());
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("writing the script");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("making the script executable");
        file
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Default)]
struct Said {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lines: Vec<String>,
    stderr: String,
    /// How many of the two pipes are still open.
    open: u8,
}

impl Default for State {
    fn default() -> Self {
        Self { lines: Vec::new(), stderr: String::new(), open: 2 }
    }
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait<T>(&self, deadline: Instant, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            let found = look(&state);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                return found;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Lines that are JSON; anything else that a client prints is in `stdout` as it came.
fn parsed(lines: &[String]) -> Vec<Value> {
    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
