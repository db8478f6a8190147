//! `countersign mcp`: the gate on standard streams, between a client and its servers.
//!
//! Three forms: a command behind `--` (whoever typed it accepted it), one server of `servers.toml` by its own names, or
//! all of them. Standard output is the protocol's; whatever people should read goes to standard error.

use super::listen::{Answer, Listener};
use super::{Context, complain, exit};
use crate::clock::SystemClock;
use crate::config::servers::{self, Entry, Given};
use crate::person;
use crate::project::{FOLDER, Project};
use crate::rules::{self, Acceptance};
use crate::wire::{self, Start, Wired};
use anyhow::{Context as _, bail};
use countersign_core::call::FromServer;
use countersign_core::cleanse::clean_text;
use countersign_core::json::Json;
use countersign_core::mail::sends::Sends;
use countersign_core::rpc::MAX_FRAME_BYTES;
use countersign_gate::seams::{PinKind, Store};
use countersign_gate::servers::Launch;
use countersign_inbound::mcp::{Backend, Door, DoorParts, DoorSettings, Line, Outgoing, Shape};
use countersign_inbound::metrics;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Stand between an MCP client and its servers, on standard input and output.
///
/// With a command behind `--` the gate runs that one server and shows its tools as they are. With `--server NAME` it
/// shows one server of .countersign/servers.toml under its own names, without it all of them as SERVER__TOOL. Every
/// call is judged, held where a person is needed, and recorded.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example, in a client's configuration of servers:\n  countersign mcp --project /home/ana/shop -- npx -y @modelcontextprotocol/server-filesystem /home/ana/shop\n  countersign mcp --project /home/ana/shop"
)]
pub struct Mcp {
    /// One server of servers.toml; before a command, the name that rules and the log know it by.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// The command of a server.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A typed command may run as long as it likes: it would without us.
const TYPED_TIMEOUT: Duration = Duration::from_secs(3_600);
/// How often gateways that were killed are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Mcp {
    /// Relays until the client goes.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        person::keep_memory_private();
        let typed = !self.command.is_empty();
        let project = self.project(cx, typed).await?;
        let wired = wire::open(project, &cx.places).await?;
        for problem in &wired.problems {
            complain(&format!("{problem:?}"));
        }
        if wired.gate.rulebook().is_none() {
            complain(
                "countersign: no rulebook is in force, so every call is refused; run `countersign doctor`",
            );
        }
        let (shape, starts, backends) = if typed {
            let (start, backend) = self.typed()?;
            (Shape::Bare, vec![start], vec![backend])
        } else {
            let (starts, backends) = registered(&wired, self.server.as_deref()).await?;
            let shape = if self.server.is_some() { Shape::One } else { Shape::Many };
            (shape, starts, backends)
        };
        let names: Vec<String> = starts.iter().map(|s| s.name.clone()).collect();
        let folder = (!typed).then_some(wired.project.root.as_path());
        let pool = wire::mcp_pool(starts, folder, &wired, &cx.places, complain);
        for name in &names {
            if let Err(e) = pool.start(name).await {
                if typed {
                    bail!(
                        "`{}` cannot be started: {e}",
                        self.command.first().map_or("", |c| c.to_str().unwrap_or("?"))
                    );
                }
                complain(&format!("countersign: the server `{name}` cannot be started: {e}"));
            }
        }
        let metrics = Metrics::listen().await;
        let wire::Acting { tools: acting, hand, sends } = wire::acting(&wired, &cx.places, complain)?;
        let told = Arc::clone(&sends);
        let Wired { gate, store, project, settings, .. } = wired;
        let gate = Arc::new(gate.following(rules::following(&store, &project, &cx.places)));
        let (input, output, written) = streams();
        let last = output.clone();
        let folder = std::env::current_dir()
            .ok()
            .and_then(|d| d.canonicalize().ok())
            .and_then(|d| d.to_str().map(str::to_owned))
            .unwrap_or_else(|| project.root_text().to_owned());
        let door = Door::new(DoorParts {
            gate: Arc::clone(&gate),
            servers: pool.clone(),
            clock: Arc::new(SystemClock),
            backends,
            shape,
            settings: DoorSettings {
                progress: Duration::from_secs(settings.as_ref().map_or(10, |s| s.mcp_progress_s)),
                hold_s: settings.as_ref().and_then(|s| s.hook_hold_s),
                protocol_errors: settings.as_ref().is_some_and(|s| s.mcp_protocol_errors),
            },
            uid: person::uid(),
            folder,
            project: project.root_text().to_owned(),
            process: person::this_process().context("this process cannot be looked up")?,
            agent: person::session_agent(),
            acting,
            hand,
            sends,
            output,
        });
        let telling = metrics.map(|metrics| tokio::spawn(metrics.serve(told)));
        let looking = tokio::spawn(async move {
            loop {
                lost_gateways(&*store).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        door.run(until_told(input)).await;
        // Every answer is out before the process goes.
        let _ = last.send(Outgoing::default());
        let _ = tokio::time::timeout(Duration::from_secs(5), written).await;
        looking.abort();
        if let Some(telling) = telling {
            telling.abort();
        }
        pool.close().await;
        Ok(exit::OK)
    }

    /// The project, made for a typed command that stands in none: there is nothing in it that anybody would have to
    /// accept.
    async fn project(&self, cx: &Context, typed: bool) -> anyhow::Result<Project> {
        if let Some(project) = cx.find_project()? {
            return Ok(project);
        }
        if !typed {
            return cx.project();
        }
        let root = super::init::find_root(cx)?;
        std::fs::create_dir(root.join(FOLDER))
            .with_context(|| format!("cannot make {}", root.join(FOLDER).display()))?;
        let project = Project::at(&root)?;
        let wired = wire::open(project.clone(), &cx.places).await?;
        if wired.acceptance == Acceptance::Never {
            let layer = project.read()?;
            // There is nothing in it yet that anybody would have had to look at.
            super::trust::pin(cx, &wired, "mcp", Some("made empty by `mcp --`"), &layer.pin()).await?;
        }
        complain(&format!(
            "countersign: this folder was no project yet; made {}, with the built-in rules in force",
            clean_text(&root.join(FOLDER).to_string_lossy())
        ));
        Ok(project)
    }

    fn typed(&self) -> anyhow::Result<(Start, Backend)> {
        let name = match &self.server {
            Some(name) => name.clone(),
            None => named(&self.command),
        };
        if !crate::install::servers::name_fits(&name) {
            bail!(
                "`{name}` cannot be the name of a server: use letters, digits, dashes and single underscores"
            );
        }
        let words: Vec<String> = self.command.iter().map(|w| w.to_string_lossy().into_owned()).collect();
        let launch = Json::object([("name", Json::str(&name)), ("typed", Json::strings(&words))]).canonical();
        let start = Start {
            name: name.clone(),
            command: self.command.clone(),
            env: None,
            secrets: BTreeMap::new(),
            timeout: TYPED_TIMEOUT,
        };
        let backend = Backend {
            launch: Launch { name, text: launch, typed: true },
            blocked_tools: Vec::new(),
            tiers: BTreeMap::new(),
            roles: BTreeMap::new(),
            sampling: FromServer::Pass,
            elicitation: FromServer::Pass,
            roots: FromServer::Pass,
        };
        Ok((start, backend))
    }
}

/// What a gateway tells of itself on a loopback port, to whoever asks on this machine: counts of a closed list.
struct Metrics(Listener);

impl Metrics {
    /// Listens where the environment says, if it does. A port that cannot be had stops nothing.
    async fn listen() -> Option<Metrics> {
        let port = std::env::var("COUNTERSIGN_METRICS_PORT").ok().filter(|port| !port.is_empty())?;
        match Listener::port(&format!("127.0.0.1:{port}")).await {
            Ok(listener) => Some(Metrics(listener)),
            Err(e) => {
                complain(&format!("countersign: COUNTERSIGN_METRICS_PORT: {e:#}"));
                None
            }
        }
    }

    async fn serve(self, sends: Arc<Sends>) {
        let answer: Answer = Arc::new(move |asked| {
            let text = sends.text();
            Box::pin(async move { metrics::scraped(&asked, &[&move || text.clone()]) })
        });
        self.0.serve(answer).await;
    }
}

/// The name of a typed server: its program's, or for programs that only run others that of what they run.
fn named(command: &[OsString]) -> String {
    let base = |word: &OsString| {
        let text = word.to_string_lossy().into_owned();
        let trimmed = text.trim_end_matches('/');
        let last = trimmed.rsplit('/').next().unwrap_or(trimmed);
        last.split('@').find(|part| !part.is_empty()).unwrap_or(last).to_owned()
    };
    let first = command.first().map(base).unwrap_or_default();
    let runs_others = ["npx", "uvx", "node", "python", "python3"].contains(&first.as_str());
    let second = command.iter().skip(1).find(|w| !w.to_string_lossy().starts_with('-'));
    let name = match second {
        Some(word) if runs_others => base(word),
        _ => first,
    };
    let clean: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(63)
        .collect();
    let trimmed = clean.trim_matches('-');
    if trimmed.is_empty() { "server".to_owned() } else { trimmed.to_owned() }
}

/// The servers of `servers.toml` that are enabled, and of these the ones that may be started.
async fn registered(wired: &Wired, only: Option<&str>) -> anyhow::Result<(Vec<Start>, Vec<Backend>)> {
    let mut entries = entries(&wired.project)?;
    if wired.acceptance != Acceptance::Accepted {
        // How an entry is started has a pin of its own; what else it says, and what its environment holds, must be what
        // was accepted with the project.
        let accepted = match &wired.accepted.servers {
            Some(text) => servers::read("servers.toml", text).unwrap_or_default(),
            None => Vec::new(),
        };
        let (same, other): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| accepted.contains(e));
        for entry in other.iter().filter(|e| e.enabled) {
            complain(&format!(
                "countersign: the server `{}` is not what was accepted of servers.toml; look at it: {}",
                entry.name,
                super::show::command(wired.project.root_text(), "trust accept project")
            ));
        }
        entries = same;
    }
    let mut starts = Vec::new();
    let mut backends = Vec::new();
    if let Some(name) = only
        && !entries.iter().any(|e| e.name == name && e.enabled)
    {
        bail!("servers.toml has no enabled server `{name}`");
    }
    for entry in entries.iter().filter(|e| e.enabled && only.is_none_or(|name| e.name == name)) {
        let launch = launch(entry);
        let pin = wired.store.pin(PinKind::Server, &entry.name).await?;
        let accepted = pin.as_ref().is_some_and(|pin| pin.digest == launch.digest());
        if !accepted {
            let what = if pin.is_some() { "changed since it was accepted" } else { "was never accepted" };
            complain(&format!(
                "countersign: the server `{}` {what} and is not started; look at it: countersign --project {} trust accept {}",
                entry.name,
                countersign_core::facts::shell::quote(wired.project.root_text()),
                entry.name
            ));
        } else {
            match start(entry) {
                Ok(start) => starts.push(start),
                Err(e) => {
                    complain(&format!("countersign: the server `{}` is not started: {e:#}", entry.name))
                }
            }
        }
        backends.push(Backend {
            launch,
            blocked_tools: entry.blocked_tools.clone(),
            tiers: entry.tiers.clone(),
            roles: entry.roles.clone(),
            sampling: entry.sampling,
            elicitation: entry.elicitation,
            roots: entry.roots,
        });
    }
    if backends.is_empty() {
        complain("countersign: servers.toml has no enabled server, so there are only the gate's own tools");
    }
    Ok((starts, backends))
}

/// Reads a project's `servers.toml`; none is an empty list.
pub fn entries(project: &Project) -> anyhow::Result<Vec<Entry>> {
    let Some(text) = project.read()?.servers else { return Ok(Vec::new()) };
    let file = project.folder().join("servers.toml").display().to_string();
    servers::read(&file, &text).map_err(|problems| {
        let shown: Vec<String> =
            problems.into_iter().map(|p| format!("{:?}", miette::Report::new(p))).collect();
        anyhow::anyhow!("{}", shown.join("\n"))
    })
}

/// How an entry is started, for the pin.
pub fn launch(entry: &Entry) -> Launch {
    Launch { name: entry.name.clone(), text: entry.launch(), typed: false }
}

/// How an entry is started, for the hand. A variable that it names and that is not set is an error.
pub fn start(entry: &Entry) -> anyhow::Result<Start> {
    let mut env: BTreeMap<String, OsString> = BTreeMap::new();
    let mut missing = Vec::new();
    for (key, value) in &entry.env {
        match value {
            Given::Plain(text) => {
                env.insert(key.clone(), text.into());
            }
            Given::FromEnv(name) => match std::env::var_os(name) {
                Some(value) => {
                    env.insert(key.clone(), value);
                }
                None => missing.push(name.clone()),
            },
            // Opened when it is started, by whoever starts it.
            Given::Secret(_) => {}
        }
    }
    if !missing.is_empty() {
        bail!("these variables are not set: {}", missing.join(", "));
    }
    let command = std::iter::once(&entry.command).chain(&entry.args).map(OsString::from).collect();
    Ok(Start {
        name: entry.name.clone(),
        command,
        env: Some(env),
        secrets: entry.secrets(),
        timeout: entry.timeout,
    })
}

/// Gateways that were killed: their running calls have no known end.
pub async fn lost_gateways(store: &dyn Store) {
    for gateway in store.gateways().await.unwrap_or_default() {
        if !person::lives(&gateway.process) {
            let _ = store.lose_gateway(&gateway).await;
        }
    }
}

/// Standard input as lines, from a thread of its own, and lines to standard output.
fn streams() -> (mpsc::Receiver<Line>, mpsc::UnboundedSender<Outgoing>, tokio::task::JoinHandle<()>) {
    let (lines, input) = mpsc::channel(64);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut bytes = Vec::new();
            let limit = u64::try_from(MAX_FRAME_BYTES).unwrap_or(u64::MAX) + 1;
            let read = (&mut stdin).take(limit).read_until(b'\n', &mut bytes);
            let whole = bytes.last() == Some(&b'\n');
            let line = match read {
                Ok(0) | Err(_) => return,
                Ok(_) if whole => {
                    bytes.pop();
                    Line::Whole(bytes)
                }
                Ok(_) if bytes.len() > MAX_FRAME_BYTES => {
                    // The rest of it is read and forgotten.
                    let mut rest = Vec::new();
                    while stdin.by_ref().take(limit).read_until(b'\n', &mut rest).is_ok_and(|n| n > 0)
                        && rest.last() != Some(&b'\n')
                    {
                        rest.clear();
                    }
                    Line::TooLong
                }
                // What stands behind the last line end is no line: the client died while it wrote.
                Ok(_) => return,
            };
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let (output, queue) = mpsc::unbounded_channel::<Outgoing>();
    let written = tokio::spawn(write_lines(queue));
    (input, output, written)
}

/// Most bytes that a pipe which can be written to takes without blocking.
const AT_ONCE: usize = 4_096;

/// Writes lines until an empty one says that it was the last. What the client has room for is written at once: waking
/// another thread for it takes longer. Only a client that does not read is waited for elsewhere.
async fn write_lines(mut queue: mpsc::UnboundedReceiver<Outgoing>) {
    let mut last = false;
    // Others may still hold the queue open, so after the last line nothing is waited for.
    while !last && let Some(line) = queue.recv().await {
        let mut bytes = Vec::new();
        // Given back when all of it is written.
        let mut rooms = Vec::new();
        let mut next = Some(line);
        while let Some(line) = next {
            last |= line.line.is_empty();
            if !line.line.is_empty() {
                bytes.extend_from_slice(line.line.as_bytes());
                bytes.push(b'\n');
            }
            rooms.extend(line.room);
            next = queue.try_recv().ok();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && has_room() {
            match rustix::io::write(std::io::stdout(), rest.get(..AT_ONCE).unwrap_or(rest)) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        if !rest.is_empty() {
            let rest = rest.to_vec();
            let waiting = tokio::task::spawn_blocking(move || {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&rest).and_then(|()| stdout.flush())
            });
            if !matches!(waiting.await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// Whether standard output takes something right now.
fn has_room() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
}

/// The lines until a signal says that it is over.
fn until_told(mut input: mpsc::Receiver<Line>) -> mpsc::Receiver<Line> {
    use tokio::signal::unix::{SignalKind, signal};
    let (out, lines) = mpsc::channel(64);
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    tokio::spawn(async move {
        let (Ok(mut term), Ok(mut int)) = signals else { return };
        loop {
            tokio::select! {
                line = input.recv() => match line {
                    Some(line) => if out.send(line).await.is_err() { return },
                    None => return,
                },
                _ = term.recv() => return,
                _ = int.recv() => return,
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_typed_servers() {
        let of = |words: &[&str]| named(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for (words, name) in [
            (vec!["/usr/bin/mcp-server-git", "--repository", "."], "mcp-server-git"),
            (vec!["npx", "-y", "@modelcontextprotocol/server-filesystem", "/tmp"], "server-filesystem"),
            (vec!["npx", "server-x@1.2.3"], "server-x"),
            (vec!["python3", "-m", "mcp_server_git"], "mcp-server-git"),
            (vec!["node", "/opt/My Server.js"], "my-server-js"),
            (vec!["uvx"], "uvx"),
            (vec!["__"], "server"),
        ] {
            assert_eq!(of(&words), name, "{words:?}");
        }
        use crate::install::servers::name_fits;
        assert!(name_fits("fs") && name_fits("My_Server") && !name_fits("a__b") && !name_fits("countersign"));
    }

    /// The gate's own parts still hold the queue when the last line is written.
    #[tokio::test]
    async fn the_last_line_ends_the_writing_though_the_queue_is_open() {
        let (output, queue) = mpsc::unbounded_channel();
        assert!(output.send(Outgoing::default()).is_ok());
        assert!(tokio::time::timeout(Duration::from_secs(60), write_lines(queue)).await.is_ok());
        drop(output);
    }
}
