//! What driving one agent client has in common with driving another: a scratch project and home, a run in a clean
//! environment with a time limit, what was printed, and hooks that note what they are told.
//!
//! How a client is started, and what it was seen to do, stands in its own module ([`crate::claude`],
//! [`crate::codex`], [`crate::gemini`]). What a hook of the product would do is none of these modules' business: a
//! test writes the settings it wants to try.

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

/// A run that does nothing unusual takes seconds; this is for a machine that is busy with other things.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// A client may put each hook and shell command into a process group of its own, which a signal to its group does not
/// reach and its own death does not end (seen: a hook asleep went on when its client was killed). So all that a run
/// starts is found by this variable, which every child inherits.
const MARK: &str = "TESTKIT_RUN";

static RUNS: AtomicU64 = AtomicU64::new(0);

/// Starts a client's `command`, whose arguments and own variables are set, with all that is the same for each client.
pub(crate) fn start(mut command: Command, options: &RunOptions) -> Running {
    let mark = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    command
        .args(&options.args)
        .current_dir(&options.project)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &options.home)
        .env("LANG", "C.UTF-8")
        .env(MARK, &mark)
        .envs(options.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that its end does not touch the test's; hooks get further ones, see `MARK`.
        .process_group(0);
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("starting {}: {error}", command.get_program().display()));
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
    /// Arguments beyond the prompt and the output format.
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
    /// The one JSON value that the run printed, for a client that prints one.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("the client printed no JSON ({error}):\n{}", self.stdout))
    }

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
        // Not among temporary files: Codex's sandbox, where bubblewrap is installed, does not find its own program there.
        let folder = crate::cache::scratch();
        fs::create_dir_all(&folder).expect("a folder for scratch folders");
        let scratch = Self { folder: tempfile::tempdir_in(folder).expect("a scratch folder") };
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

    /// Writes a shell script outside the project and returns where it is.
    pub fn script(&self, name: impl AsRef<OsStr>, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let file = self.folder.path().join(name.as_ref());
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("writing the script");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("making the script executable");
        file
    }

    /// Makes a hook that keeps what it is told and then runs `answer`, a piece of shell (`exit 1`, say, or an `echo`), which
    /// finds what was just told in the file `"$at.told"`.
    pub fn recorder(&self, name: &str, answer: &str) -> Recorder {
        let folder = self.folder.path().join(format!("{name}.d"));
        fs::create_dir_all(&folder).expect("a folder for what the hook is told");
        // Nanoseconds first, so that names sort by time; written aside, so that no half of it is read.
        let keep = format!(
            "at=\"{}/$(date +%s%N)-$$\"; cat > \"$at\"; mv \"$at\" \"$at.told\"\n{answer}",
            folder.display()
        );
        let command = self.script(name, &keep).display().to_string();
        Recorder { command, folder }
    }
}

/// A hook that keeps what it is told and gives one answer, whatever the call.
pub struct Recorder {
    /// What to write into a client's settings as the hook's command.
    pub command: String,
    folder: PathBuf,
}

impl Recorder {
    /// What the hook was told so far, each run of it once, in the order of their beginning.
    pub fn told(&self) -> Vec<Value> {
        let mut names: Vec<PathBuf> = fs::read_dir(&self.folder)
            .expect("the recorder's folder")
            .flatten()
            .map(|file| file.path())
            .collect();
        names.retain(|name| name.extension().is_some_and(|end| end == "told"));
        names.sort();
        let read = |name: &PathBuf| {
            let bytes = fs::read(name).expect("what the hook was told");
            serde_json::from_slice(&bytes).expect("a hook is told JSON")
        };
        names.iter().map(read).collect()
    }

    /// What it was told of one event.
    pub fn told_of(&self, event: &str) -> Vec<Value> {
        self.told().into_iter().filter(|told| told["hook_event_name"] == event).collect()
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
