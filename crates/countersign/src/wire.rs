//! Where the pieces are put together: the one file that names concrete stores and hands, and so the one to read when
//! looking for a way round the gate.

use crate::cli::show;
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::person;
use crate::places::Places;
use crate::project::{Layer, Project};
use crate::rules::{self, Problems};
use async_trait::async_trait;
use countersign_core::cleanse::clean_line;
use countersign_core::digest::Digest;
use countersign_core::digest::MacKey;
use countersign_core::rulebook::{ENGINE, Rulebook, narrow};
use countersign_gate::gate::{Book, Capture, Gate};
use countersign_gate::seams::{Downstream, Pin, PinKind, RuleSource, Store, StoreError};
use countersign_outbound::mcp::{Environment, Pool, Program, Spec};
use countersign_outbound::scratch::ScratchShell;
use countersign_store::{SqliteStore, StoreOptions};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Name of the one pin of a project's own layer.
pub const PROJECT_PIN: &str = "project";

/// How the project's files stand to what a person accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// They are what was accepted.
    Accepted,
    /// Nothing was accepted yet.
    Never,
    /// They differ from what was accepted.
    Changed,
    /// The files or the pin cannot be read.
    Unknown(String),
}

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
    let mut problems: Problems = Vec::new();
    let settings = match rules::settings(layer.as_ref().ok(), places, &project) {
        Ok(settings) => Some(settings),
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    let mut options = StoreOptions::new(project.state(places), project.halt_file());
    options.engine = ENGINE.to_owned();
    options.boot = Some(person::boot_id());
    if let Some(settings) = &settings {
        options.busy_ms = settings.busy_ms;
        options.refusal_memory_s = settings.rules.refusal_memory_s;
    }
    // The store opens on a thread of its own; reading the rules meanwhile is a quarter of a hook's time saved.
    let reading = async {
        let (Ok(layer), Some(settings)) = (&layer, &settings) else { return None };
        Some(rules::rulebook(layer.policy(), settings))
    };
    let (opened, read) = tokio::join!(SqliteStore::open(options), reading);
    let sqlite = opened?;
    let pin = sqlite.pin(PinKind::Project, PROJECT_PIN).await;
    let read = Read { layer, settings, book: read, problems };
    let InForce { book, settings, acceptance, accepted, problems, warnings } =
        in_force(read, pin, places, &project);
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

/// A project's files as they were read.
struct Read {
    layer: anyhow::Result<Layer>,
    settings: Option<Settings>,
    /// `None` where there are no settings to load rules with.
    book: Option<Result<(Rulebook, Vec<String>), Problems>>,
    problems: Problems,
}

/// What they amount to, given what a person accepted.
struct InForce {
    book: Book,
    settings: Option<Settings>,
    acceptance: Acceptance,
    accepted: Layer,
    problems: Problems,
    warnings: Vec<String>,
}

fn in_force(read: Read, pin: Result<Option<Pin>, StoreError>, places: &Places, project: &Project) -> InForce {
    let Read { layer, settings, book, mut problems } = read;
    let mut warnings = settings.as_ref().map(|s| s.warnings.clone()).unwrap_or_default();
    let (acceptance, accepted) = acceptance(pin, &layer, project);
    let (book, settings) = match (book, &layer, settings, &acceptance) {
        (Some(Ok(_)), Ok(found), Some(means), Acceptance::Never | Acceptance::Changed) => {
            // A repository that nobody accepted may call itself whatever an operator has entries for.
            let known = acceptance == Acceptance::Changed;
            match narrowed(found, &means, (&accepted, known), places, project) {
                Ok((settings, book)) => (Some(Ok(book)), Some(settings)),
                Err(problems) => (Some(Err(problems)), Some(means)),
            }
        }
        (book, _, settings, _) => (book, settings),
    };
    let book = match book {
        Some(Ok((loaded, remarks))) => {
            warnings.extend(remarks);
            Some(loaded)
        }
        Some(Err(found)) => {
            problems.extend(found);
            None
        }
        None => None,
    };
    if let Err(e) = &layer {
        problems.push(miette::miette!("{e:#}"));
    }
    let book = match (book, &acceptance) {
        (Some(_), Acceptance::Unknown(why)) => {
            invalid(&format!("the accepted configuration cannot be read: {why}"))
        }
        (Some(book), _) => Book::InForce(Arc::new(book)),
        (None, _) => {
            let first = problems.first().map(|p| p.to_string()).unwrap_or_default();
            invalid(&format!("the configuration or policy does not load: {first}"))
        }
    };
    if matches!(acceptance, Acceptance::Never | Acceptance::Changed) {
        let accept = show::command(project.root_text(), "trust accept project");
        warnings.push(format!("{NARROWED}; a person looks at the files and runs: {accept}"));
    }
    InForce { book, settings, acceptance, accepted, problems, warnings }
}

/// The rules of a project whose files may change while a process lives. Files are looked at before every judgement, so
/// stricter rules hold for the next call; what a person accepts meanwhile is seen within a second.
struct Following {
    project: Project,
    places: Places,
    store: Arc<dyn Store>,
    seen: Mutex<Seen>,
}

/// What was seen last.
#[derive(Clone, PartialEq)]
struct Seen {
    files: Vec<Option<(i64, i64, u64, u64)>>,
    pin: Option<Digest>,
    at: Instant,
}

/// How long what a person accepted is taken for known.
const PIN_AGE: Duration = Duration::from_secs(1);

/// Change time, size and place of every file that rules are made of. A change that keeps all of these is none.
fn stamps(project: &Project, places: &Places) -> Vec<Option<(i64, i64, u64, u64)>> {
    use std::os::unix::fs::MetadataExt as _;
    let own = ["config.toml", "policy/hard.cedar", "policy/soft.cedar", "servers.toml"];
    let own = own.iter().map(|name| project.folder().join(name));
    [places.system.join("config.toml"), places.config.join("config.toml")]
        .into_iter()
        .chain(own)
        .map(|file| std::fs::metadata(file).ok().map(|m| (m.ctime(), m.ctime_nsec(), m.size(), m.ino())))
        .collect()
}

#[async_trait]
impl RuleSource for Following {
    async fn newer(&self) -> Option<Book> {
        let files = stamps(&self.project, &self.places);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if files == seen.files && seen.at.elapsed() < PIN_AGE {
            return None;
        }
        let pin = self.store.pin(PinKind::Project, PROJECT_PIN).await;
        let digest = pin.as_ref().ok().and_then(|p| p.as_ref()).map(|p| p.digest);
        let same = files == seen.files && digest == seen.pin;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Seen { files, pin: digest, at: Instant::now() };
        if same {
            return None;
        }
        let layer = self.project.read();
        let mut problems = Vec::new();
        let settings = match rules::settings(layer.as_ref().ok(), &self.places, &self.project) {
            Ok(settings) => Some(settings),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        let book = match (&layer, &settings) {
            (Ok(layer), Some(settings)) => Some(rules::rulebook(layer.policy(), settings)),
            _ => None,
        };
        let read = Read { layer, settings, book, problems };
        Some(in_force(read, pin, &self.places, &self.project).book)
    }
}

impl Wired {
    /// The gate for a process that lives long: it follows the project's files from now on.
    pub fn following(gate: Gate, store: &Arc<dyn Store>, project: &Project, places: &Places) -> Gate {
        let seen = Seen { files: Vec::new(), pin: None, at: Instant::now() };
        let (project, places, store) = (project.clone(), places.clone(), Arc::clone(store));
        gate.following(Arc::new(Following { project, places, store, seen: Mutex::new(seen) }))
    }
}

fn invalid(why: &str) -> Book {
    Book::Invalid(clean_line(why, 480))
}

/// Said while files are in force that nobody accepted.
const NARROWED: &str =
    "the project's files are not what was accepted on this machine, so only what narrows of them is in force";

/// The rulebook of files that nobody accepted: what was accepted before, made narrower by what they say.
fn narrowed(
    found: &Layer,
    means: &Settings,
    (accepted, known): (&Layer, bool),
    places: &Places,
    project: &Project,
) -> Result<(Settings, (Rulebook, Vec<String>)), Problems> {
    let before = rules::settings_of(Some(accepted), places, project, known)?;
    let policy = narrow::policies(&accepted.policy(), &found.policy())
        .map_err(|found| found.into_iter().map(miette::Report::new).collect::<Problems>())?;
    let settings = Settings { rules: before.rules.clone().narrowed(&means.rules), ..before };
    let book = rules::rulebook(policy, &settings)?;
    Ok((settings, book))
}

fn acceptance(
    pin: Result<Option<Pin>, StoreError>,
    layer: &anyhow::Result<Layer>,
    project: &Project,
) -> (Acceptance, Layer) {
    let nothing = || Layer::empty(project.folder());
    let layer = match layer {
        Ok(layer) => layer,
        Err(e) => return (Acceptance::Unknown(format!("{e:#}")), nothing()),
    };
    match pin {
        Ok(None) => (Acceptance::Never, nothing()),
        Ok(Some(pin)) if pin.digest == layer.pin().digest => (Acceptance::Accepted, layer.clone()),
        Ok(Some(pin)) => match Layer::of_pin(&pin, project.folder()) {
            Some(accepted) => (Acceptance::Changed, accepted),
            None => (Acceptance::Unknown("its text does not fit its digest".to_owned()), nothing()),
        },
        Err(e) => (Acceptance::Unknown(e.to_string()), nothing()),
    }
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
