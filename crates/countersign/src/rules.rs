//! From files to a rulebook: what `wire` opens a project with, what of files that nobody accepted is in force, how a
//! process that lives long follows them, and what `policy` checks and tries without opening a project.

use crate::cli::show;
use crate::config::{Files, Settings};
use crate::places::Places;
use crate::project::{Layer, Project};
use async_trait::async_trait;
use countersign_core::cleanse::clean_line;
use countersign_core::digest::Digest;
use countersign_core::rulebook::{PolicyText, RuleSet, Rulebook, narrow};
use countersign_gate::gate::Book;
use countersign_gate::seams::{Pin, PinKind, RuleSource, Store, StoreError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Every problem that was found, ready to be shown.
pub type Problems = Vec<miette::Report>;
/// A rulebook with remarks that stop nothing.
pub type Loaded = Result<(Rulebook, Vec<String>), Problems>;

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

/// What configuration means with this layer as the project's.
pub fn settings(layer: Option<&Layer>, places: &Places, project: &Project) -> Result<Settings, Problems> {
    settings_of(layer, places, project, true)
}

/// The same; a repository that is not `known` gets nothing of what an operator says of the one it claims to be but rules.
pub fn settings_of(
    layer: Option<&Layer>,
    places: &Places,
    project: &Project,
    known: bool,
) -> Result<Settings, Problems> {
    match Files::read(places, layer).map(|files| files.mean(places, project, known)) {
        Ok(Ok(settings)) => Ok(settings),
        Ok(Err(found)) => Err(found.into_iter().map(miette::Report::new).collect()),
        Err(e) => Err(vec![miette::miette!("{e}")]),
    }
}

/// The rulebook of these policies and the operator's, and remarks that stop nothing. Not yet validated against the
/// schema.
pub fn rulebook(policy: Vec<(RuleSet, PolicyText)>, settings: &Settings) -> Loaded {
    let policy = [settings.policy.clone(), policy].concat();
    match Rulebook::load(policy, settings.rules.clone()) {
        Ok((book, remarks)) => Ok((book, remarks.iter().map(|w| w.to_string()).collect())),
        Err(found) => Err(found.into_iter().map(miette::Report::new).collect()),
    }
}

/// The same, validated.
pub fn checked(policy: Vec<(RuleSet, PolicyText)>, settings: &Settings) -> Loaded {
    let (book, mut warnings) = rulebook(policy, settings)?;
    if let Err(found) = book.validate() {
        return Err(found.into_iter().map(miette::Report::new).collect());
    }
    warnings.extend(settings.warnings.iter().cloned());
    Ok((book, warnings))
}

/// What a layer that was read means, or what is wrong with it.
pub fn meant(
    layer: &anyhow::Result<Layer>,
    places: &Places,
    project: &Project,
) -> (Option<Settings>, Problems) {
    match settings(layer.as_ref().ok(), places, project) {
        Ok(settings) => (Some(settings), Vec::new()),
        Err(found) => (None, found),
    }
}

/// Its rulebook, where there are settings to load one with.
pub fn loaded(layer: &anyhow::Result<Layer>, settings: Option<&Settings>) -> Option<Loaded> {
    Some(rulebook(layer.as_ref().ok()?.policy(), settings?))
}

/// A project's files as they were read.
pub struct Read {
    pub layer: anyhow::Result<Layer>,
    pub settings: Option<Settings>,
    /// `None` where there are no settings to load rules with.
    pub book: Option<Loaded>,
    pub problems: Problems,
}

/// What they amount to, given what a person accepted.
pub struct InForce {
    pub book: Book,
    pub settings: Option<Settings>,
    pub acceptance: Acceptance,
    pub accepted: Layer,
    pub problems: Problems,
    pub warnings: Vec<String>,
}

/// What of a project's files is in force.
pub fn in_force(
    read: Read,
    pin: Result<Option<Pin>, StoreError>,
    places: &Places,
    project: &Project,
) -> InForce {
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
#[derive(Clone)]
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
        let newer = (files != seen.files || digest != seen.pin).then(|| {
            let layer = self.project.read();
            let (settings, problems) = meant(&layer, &self.places, &self.project);
            let book = loaded(&layer, settings.as_ref());
            in_force(Read { layer, settings, book, problems }, pin, &self.places, &self.project).book
        });
        // Only now: whoever asks meanwhile must not take the old rules for the newest.
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Seen { files, pin: digest, at: Instant::now() };
        newer
    }
}

/// The rules of a project as a process that lives long follows them.
pub fn following(store: &Arc<dyn Store>, project: &Project, places: &Places) -> Arc<dyn RuleSource> {
    let seen = Seen { files: Vec::new(), pin: None, at: Instant::now() };
    let (project, places, store) = (project.clone(), places.clone(), Arc::clone(store));
    Arc::new(Following { project, places, store, seen: Mutex::new(seen) })
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
    let before = settings_of(Some(accepted), places, project, known)?;
    let policy = narrow::policies(&accepted.policy(), &found.policy())
        .map_err(|found| found.into_iter().map(miette::Report::new).collect::<Problems>())?;
    let settings = Settings { rules: before.rules.clone().narrowed(&means.rules), ..before };
    let book = rulebook(policy, &settings)?;
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
