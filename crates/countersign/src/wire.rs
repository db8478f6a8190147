//! Where the pieces are put together: the one file that names concrete stores and hands, and so the one to read when
//! looking for a way round the gate.

use crate::clock::SystemClock;
use crate::config::Settings;
use crate::person;
use crate::places::Places;
use crate::project::{Layer, Project};
use crate::rules::{self, Acceptance, InForce, PROJECT_PIN, Problems, Read};
use countersign_core::digest::MacKey;
use countersign_core::rulebook::ENGINE;
use countersign_gate::gate::{Capture, Gate};
use countersign_gate::seams::{Downstream, PinKind, Store};
use countersign_outbound::mcp::{Environment, Pool, Program, Spec};
use countersign_outbound::scratch::ScratchShell;
use countersign_store::{SqliteStore, StoreOptions};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

type Leaving = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// A project, opened.
pub struct Wired {
    /// The gate.
    pub gate: Gate,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// The project.
    pub project: Project,
    /// What configuration means; `None` when it does not load.
    pub settings: Option<Settings>,
    /// How the project's files stand to what was accepted.
    pub acceptance: Acceptance,
    /// What a person accepted of them; empty when nothing was.
    pub accepted: Layer,
    /// Every problem of configuration and policy, ready to be shown.
    pub problems: Problems,
    /// Remarks that stop nothing.
    pub warnings: Vec<String>,
    leave: Box<dyn FnOnce() -> Leaving + Send>,
}

impl Wired {
    /// For a process that ends now, after its answer went out: nothing is closed that the next process would have to
    /// open again.
    pub async fn leave(self) {
        (self.leave)().await;
    }
}

/// Opens a project: configuration, policy, pin, store. Only a store that cannot be opened is an error; a rulebook that
/// does not load opens as a gate that refuses every call and says why. Of files that nobody accepted only what narrows
/// is in force (P-38).
pub async fn open(project: Project, places: &Places) -> anyhow::Result<Wired> {
    let layer = project.read();
    let (settings, problems) = rules::meant(&layer, places, &project);
    let mut options = StoreOptions::new(project.state(places), project.halt_file());
    options.engine = ENGINE.to_owned();
    options.boot = Some(person::boot_id());
    if let Some(settings) = &settings {
        options.busy_ms = settings.busy_ms;
        options.refusal_memory_s = settings.rules.refusal_memory_s;
    }
    // The store opens on a thread of its own; reading the rules meanwhile is a quarter of a hook's time saved.
    let reading = async { rules::loaded(&layer, settings.as_ref()) };
    let (opened, read) = tokio::join!(SqliteStore::open(options), reading);
    let sqlite = opened?;
    let pin = sqlite.pin(PinKind::Project, PROJECT_PIN).await;
    let read = Read { layer, settings, book: read, problems };
    let InForce { book, settings, acceptance, accepted, problems, warnings } =
        rules::in_force(read, pin, places, &project);
    let capture = settings.as_ref().map_or(Capture::Redacted, |s| s.capture);
    let store: Arc<dyn Store> = Arc::new(sqlite.clone());
    let gate = Gate::new(
        store.clone(),
        Arc::new(SystemClock),
        book,
        MacKey::new(places.log_key()?),
        capture,
        person::me().id(),
    );
    let leave = Box::new(move || Box::pin(sqlite.leave()) as Leaving);
    Ok(Wired { gate, store, project, settings, acceptance, accepted, problems, warnings, leave })
}

/// Whether a state folder holds a store that can be opened without making one.
pub fn has_state(state: &Path) -> bool {
    state.join("state.db").is_file()
}

/// How a server is started.
pub struct Start {
    /// Its name.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Its environment beside neutral variables; `None` for a typed command, which gets ours.
    pub env: Option<BTreeMap<String, OsString>>,
    /// How long a request may take.
    pub timeout: Duration,
}

/// The hand of the MCP door: a pool of servers, none of them started. They run in `folder`, ours when it is `None`.
pub fn mcp_pool(starts: Vec<Start>, folder: Option<&Path>) -> Arc<Pool> {
    let spec = |start: Start| {
        let mut words = start.command.into_iter();
        let program = Program {
            command: words.next().unwrap_or_default(),
            args: words.collect(),
            environment: start.env.map_or(Environment::Ours, Environment::Given),
            folder: folder.map(Path::to_owned),
        };
        Spec { name: start.name, program, timeout: start.timeout }
    };
    Arc::new(Pool::new(starts.into_iter().map(spec).collect(), Arc::new(SystemClock)))
}

/// The hand of `demo`: runs shell lines in one scratch folder.
pub fn scratch_shell(folder: &Path) -> Arc<dyn Downstream> {
    Arc::new(ScratchShell::new(folder.to_owned(), Arc::new(SystemClock)))
}
