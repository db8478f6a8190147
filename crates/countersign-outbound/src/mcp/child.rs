//! A server as a process: its environment, its pipes, its end.
//!
//! A child gets no variable that nobody gave it, and a process group of its own, which is ended with it. When the
//! gateway is killed the child reads the end of its input, which is how servers on standard streams are told to go.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a child may take to go by itself, before and after it is told to.
const GRACE: Duration = Duration::from_secs(2);

/// Variables that say nothing of anybody's secrets (gateway.md 3.2). `NODE_OPTIONS` and its like are not among them:
/// they load code.
const NEUTRAL: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "NODE_ENV",
    "NODE_EXTRA_CA_CERTS",
];

/// What a child finds in its environment.
#[derive(Clone, Debug)]
pub enum Environment {
    /// Neutral variables of ours, and these.
    Given(BTreeMap<String, OsString>),
    /// Everything of ours but our own variables: for a command that a person typed to run in just this place.
    Ours,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program, looked up in `PATH` when it has no slash.
    pub command: OsString,
    /// Its arguments, literally.
    pub args: Vec<OsString>,
    /// Its environment.
    pub environment: Environment,
    /// Its folder; ours when unset.
    pub folder: Option<PathBuf>,
}

impl Program {
    /// Starts the program with pipes to its input and output; its standard error is ours. `opened` are secrets that it
    /// finds in its environment beside everything else.
    pub(super) fn start(
        &self,
        opened: &[(String, OsString)],
    ) -> std::io::Result<(Child, ChildStdin, ChildStdout)> {
        let mut command = Command::new(&self.command);
        command
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        match &self.environment {
            Environment::Given(given) => {
                command.env_clear();
                for name in NEUTRAL {
                    if let Some(value) = std::env::var_os(name) {
                        command.env(name, value);
                    }
                }
                command.envs(given);
            }
            Environment::Ours => {
                for (name, _) in std::env::vars_os() {
                    if name.to_str().is_some_and(|n| n.starts_with("COUNTERSIGN_")) {
                        command.env_remove(name);
                    }
                }
            }
        }
        command.envs(opened.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok((child, input, output)),
            _ => Err(std::io::Error::other("the child has no pipes")),
        }
    }
}

/// Ends a child whose input was closed: waits, tells its group to end, ends it.
pub(super) async fn end(mut child: Child) {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
            let _ = child.start_kill();
            let _ = child.wait().await;
        }
    }
    // Whatever it started and left behind.
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// A line of a child's output.
pub(super) enum Line {
    /// Whole, without its end.
    Whole(Vec<u8>),
    /// Longer than the bound: how it begins and ends.
    TooLong(Vec<u8>, Vec<u8>),
}

/// How much is kept of a line that is too long: enough to find the id in.
const KEPT: usize = 4_096;

/// Reads one line of at most `max` bytes; `None` at the end. What is left of a line at the end of the stream is no
/// line: the child died while it wrote.
pub(super) async fn line(output: &mut BufReader<ChildStdout>, max: usize) -> std::io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut part = (&mut *output).take(limit);
    part.read_until(b'\n', &mut bytes).await?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        return Ok(Some(Line::Whole(bytes)));
    }
    if bytes.len() <= max {
        return Ok(None);
    }
    let begins = bytes.get(..KEPT.min(bytes.len())).unwrap_or_default().to_vec();
    let mut ends = bytes.split_off(bytes.len().saturating_sub(KEPT));
    drop(bytes);
    loop {
        let buffer = output.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let end = buffer.iter().position(|b| *b == b'\n');
        let taken = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        ends.extend_from_slice(taken);
        let over = ends.len().saturating_sub(KEPT);
        ends.drain(..over);
        let used = end.map_or(buffer.len(), |at| at + 1);
        output.consume(used);
        if end.is_some() {
            return Ok(Some(Line::TooLong(begins, ends)));
        }
    }
}
