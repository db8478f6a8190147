//! MCP peers for both ends of a gateway: a client that sends exactly the bytes it is given, the official servers, the
//! official Inspector, and a server of our own that counts and misbehaves.
//!
//! Everything here speaks over stdio, one line a message, and nothing is parsed that a test has not asked to be: what
//! a gateway must pass on byte for byte can be compared byte for byte. [`McpClient`] is the client; [`Server`] says how
//! a server is started; [`inspector`] runs the Inspector's command line; [`hostile`] has our own server.

pub mod hostile;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::cache;

/// The revision that [`McpClient::initialize`] asks for.
pub const PROTOCOL: &str = "2025-06-18";

/// For answers that nothing should hold up; long, since the machine may be busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Server {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Server {
    /// The official server for the files below `folder`.
    pub fn filesystem(folder: &Path) -> Self {
        let version = include_str!("../../../../xtask/pins/mcp-server-filesystem").trim_ascii();
        Self::node("mcp-server-filesystem", version, "server-filesystem", [folder.display().to_string()])
    }

    /// The official server that has a bit of everything.
    pub fn everything() -> Self {
        let version = include_str!("../../../../xtask/pins/mcp-server-everything").trim_ascii();
        Self::node("mcp-server-everything", version, "server-everything", ["stdio".to_owned()])
    }

    /// The official server with a memory, which is in `file`. The file comes with the command, so that no test has to
    /// pass an environment on.
    pub fn memory(file: &Path) -> Self {
        let version = include_str!("../../../../xtask/pins/mcp-server-memory").trim_ascii();
        let node = Self::node("mcp-server-memory", version, "server-memory", []);
        let mut args = vec![format!("MEMORY_FILE_PATH={}", file.display()), node.command];
        args.extend(node.args);
        Self { command: "/usr/bin/env".to_owned(), args }
    }

    /// The official server for the git repository `repo`.
    pub fn git(repo: &Path) -> Self {
        let version = include_str!("../../../../xtask/pins/mcp-server-git").trim_ascii();
        let python = cache::find("mcp-server-git", version, "bin/python");
        let args = ["-m", "mcp_server_git", "--repository"].map(str::to_owned);
        let args = args.into_iter().chain([repo.display().to_string()]).collect();
        Self { command: python.display().to_string(), args }
    }

    fn node(pin: &str, version: &str, package: &str, more: impl IntoIterator<Item = String>) -> Self {
        let script = format!("node_modules/@modelcontextprotocol/{package}/dist/index.js");
        let script = cache::find(pin, version, &script).display().to_string();
        Self { command: node(), args: std::iter::once(script).chain(more).collect() }
    }

    /// The server as a member of a client's `mcpServers`.
    pub fn json(&self) -> Value {
        json!({ "command": self.command, "args": self.args })
    }
}

/// `mcp-proxy`, which joins a server over stdio to clients over HTTP and the other way round. Its options follow.
pub fn mcp_proxy(options: &[&str]) -> Server {
    let version = include_str!("../../../../xtask/pins/mcp-proxy").trim_ascii();
    let python = cache::find("mcp-proxy", version, "bin/python");
    let args = ["-m", "mcp_proxy"].iter().chain(options).map(|option| (*option).to_owned()).collect();
    Server { command: python.display().to_string(), args }
}

/// Runs the Inspector's command line against a server, in an empty environment: `method` is what follows the server,
/// `["--method", "tools/list"]` say.
pub fn inspector(server: &Server, home: &Path, method: &[&str]) -> Output {
    let version = include_str!("../../../../xtask/pins/mcp-inspector").trim_ascii();
    let script = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js";
    Command::new(node())
        .arg(cache::find("mcp-inspector", version, script))
        .arg("--cli")
        .arg(&server.command)
        .args(&server.args)
        .args(method)
        .current_dir(home)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .expect("starting the Inspector")
}

/// The cached Node: the Inspector wants a newer one than some systems have, and servers may as well use the same.
fn node() -> String {
    let version = include_str!("../../../../xtask/pins/node").trim_ascii();
    cache::find("node", version, "node_modules/node/bin/node").display().to_string()
}

/// A client that says what it is told and keeps every line that comes back. Dropping it kills the server and its group.
pub struct McpClient {
    child: Child,
    input: Option<ChildStdin>,
    heard: Arc<Heard>,
    next_id: u64,
}

impl McpClient {
    /// Starts a server with exactly the environment `env` (and `PATH`, unless `env` names it) in the folder `cwd`.
    pub fn spawn<A: AsRef<OsStr>>(
        command: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
        env: &[(&str, &str)],
        cwd: &Path,
    ) -> Self {
        let command = command.as_ref();
        let mut child = Command::new(command)
            .args(args)
            .current_dir(cwd)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}", command.display()));
        let heard = Arc::new(Heard::default());
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            std::thread::spawn({
                let heard = Arc::clone(&heard);
                move || read_lines(out, &heard)
            });
            let heard = Arc::clone(&heard);
            std::thread::spawn(move || {
                let mut err = err;
                let mut chunk = [0; 4096];
                while let Ok(count) = err.read(&mut chunk) {
                    let Some(new) = chunk.get(..count).filter(|new| !new.is_empty()) else { break };
                    heard.change(|state| state.errors.extend_from_slice(new));
                }
            });
        }
        let input = child.stdin.take();
        Self { child, input, heard, next_id: 1 }
    }

    /// Starts a [`Server`] in the folder `cwd`, in an empty environment.
    pub fn start(server: &Server, cwd: &Path) -> Self {
        Self::spawn(&server.command, &server.args, &[], cwd)
    }

    /// Sends these bytes and a line's end. Whether the server still listens is not this client's business: what a test
    /// wants to know it sees from the answers.
    pub fn send_line(&mut self, line: &[u8]) {
        self.send_bytes(&[line, b"\n"].concat());
    }

    /// Sends these bytes and nothing else: half a line, say.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("the server's input is still open");
        drop(input.write_all(bytes).and_then(|()| input.flush()));
    }

    /// The next line as it came, without its end; fails the test when none comes within `limit`.
    pub fn recv_line(&mut self, limit: Duration) -> Vec<u8> {
        match self.try_recv_line(limit) {
            Some(line) => line,
            None => panic!("no line came within {limit:?}; the server's errors:\n{}", self.errors()),
        }
    }

    /// The next line as it came; `None` when none comes within `limit`, or the output has ended.
    pub fn try_recv_line(&mut self, limit: Duration) -> Option<Vec<u8>> {
        self.heard.wait(Instant::now() + limit, |state| state.lines.pop_front())
    }

    /// Waits for a line that is what the test looks for and takes it out; the others stay, in their order.
    pub fn recv_where(&mut self, limit: Duration, what: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let found = self.heard.wait(Instant::now() + limit, |state| {
            let at = state.lines.iter().position(|line| what(line))?;
            state.lines.remove(at)
        });
        match found {
            Some(line) => line,
            None => panic!(
                "the line that was waited for did not come within {limit:?}; what did:\n{}\nthe server's errors:\n{}",
                self.heard.read(|state| state
                    .lines
                    .iter()
                    .map(|line| shown(line))
                    .collect::<Vec<_>>()
                    .join("\n")),
                self.errors()
            ),
        }
    }

    /// Waits for the answer with this id and takes it out, as it came.
    pub fn answer(&mut self, id: &Value) -> Vec<u8> {
        self.recv_where(ANSWER_LIMIT, |line| is_answer_to(line, id))
    }

    /// Sends a request, adding `jsonrpc` and a fresh `id` where it has none, and returns the answer's line as it came.
    pub fn request(&mut self, mut request: Value) -> Vec<u8> {
        let id = self.complete(&mut request);
        self.send_line(request.to_string().as_bytes());
        self.answer(&id)
    }

    /// Calls a tool and returns the answer, read.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let line = self
            .request(json!({ "method": "tools/call", "params": { "name": tool, "arguments": arguments } }));
        serde_json::from_slice(&line).unwrap_or_else(|error| panic!("{error}: {}", shown(&line)))
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.send_line(message.to_string().as_bytes());
    }

    /// The first two messages of every conversation, as a client that can do roots, sampling and elicitation. Returns
    /// the server's answer.
    pub fn initialize(&mut self) -> Value {
        let capabilities = json!({ "roots": {}, "sampling": {}, "elicitation": {} });
        self.initialize_with(PROTOCOL, capabilities)
    }

    /// The same with another revision and other capabilities.
    pub fn initialize_with(&mut self, protocol: &str, capabilities: Value) -> Value {
        let line = self.request(json!({ "method": "initialize", "params": {
            "protocolVersion": protocol,
            "capabilities": capabilities,
            "clientInfo": { "name": "testkit", "version": "1.0" },
        } }));
        self.send_line(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        serde_json::from_slice(&line).unwrap_or_else(|error| panic!("{error}: {}", shown(&line)))
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server has printed as errors.
    pub fn errors(&self) -> String {
        self.heard.read(|state| shown(&state.errors))
    }

    /// Ends the server at once, and only it: what it started is left to see that for itself.
    pub fn kill(&mut self) {
        drop(self.child.kill());
    }

    /// Closes the server's input, which asks it to go.
    pub fn close_stdin(&mut self) {
        self.input = None;
    }

    /// Closes the input, waits for the end and returns it with the lines nobody took; fails the test after `limit`.
    pub fn finish(mut self, limit: Duration) -> (ExitStatus, Vec<Vec<u8>>) {
        self.close_stdin();
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("asking for the server's end") {
                // Its output is there to the end a moment later; what it started may hold the pipe open.
                let soon = deadline.min(Instant::now() + Duration::from_secs(2));
                self.heard.wait(soon, |state| state.ended.then_some(()));
                return (status, self.heard.read(|state| state.lines.iter().cloned().collect()));
            }
            assert!(
                Instant::now() < deadline,
                "still running after {limit:?}; its errors:\n{}",
                self.errors()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn complete(&mut self, request: &mut Value) -> Value {
        request["jsonrpc"] = json!("2.0");
        if request.get("id").is_none() {
            request["id"] = json!(self.next_id);
            self.next_id += 1;
        }
        request["id"].clone()
    }
}

impl Drop for McpClient {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        drop(self.child.wait());
    }
}

/// Whether a line answers the request with this id. A line may hold what this house's JSON reader refuses (1e400, say),
/// so one that cannot be read counts when the id stands in it as our own servers write it.
fn is_answer_to(line: &[u8], id: &Value) -> bool {
    match serde_json::from_slice::<Value>(line) {
        Ok(message) => message.get("method").is_none() && message.get("id") == Some(id),
        Err(_) => {
            let said = format!("\"id\":{id},");
            line.windows(said.len()).any(|part| part == said.as_bytes())
        }
    }
}

fn read_lines(out: impl Read, heard: &Heard) {
    let mut out = BufReader::new(out);
    let mut line = Vec::new();
    // A last line without its end is a line too: half an answer is what some tests are about.
    while out.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let line = std::mem::take(&mut line);
        heard.change(|state| state.lines.push_back(line));
    }
    heard.change(|state| state.ended = true);
}

#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    errors: Vec<u8>,
    ended: bool,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Waits until `look` finds something; gives up at the deadline, and when nothing more can come.
    fn wait<T>(&self, deadline: Instant, look: impl Fn(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            let found = look(&mut state);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || state.ended || left.is_zero() {
                return found;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
