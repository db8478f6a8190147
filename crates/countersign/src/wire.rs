//! Where the pieces are put together: the one file that names concrete stores and hands, and so the one to read when
//! looking for a way round the gate.

use crate::clock::SystemClock;
use crate::config::said::Source;
use crate::config::{self, Settings, VaultSettings};
use crate::person;
use crate::places::{Places, key};
use crate::project::{Layer, Project};
use crate::rules::{self, Acceptance, InForce, PROJECT_PIN, Problems, Read};
use anyhow::Context as _;
use async_trait::async_trait;
use countersign_core::digest::MacKey;
use countersign_core::event::Draft;
use countersign_core::ledger::SecretView;
use countersign_core::mail::rules::Recipients;
use countersign_core::mail::sends::Sends;
use countersign_core::rulebook::settings::RuleSettings;
use countersign_core::rulebook::{ENGINE, Rulebook};
use countersign_core::secret::{Secret, SecretRef};
use countersign_core::time::Timestamp;
use countersign_core::token::Token;
use countersign_gate::gate::{Book, Capture, Gate};
use countersign_gate::seams::{
    Begun, Downstream, Keeper, NoteChange, NoteError, Notes, PinKind, Recall, Recalled, SecretSource, Store,
    StoreError, VaultRows,
};
use countersign_inbound::metadata::Metadata;
use countersign_outbound::fetch::{Fetch, FetchSettings};
use countersign_outbound::http::{Http, System};
use countersign_outbound::keys::{Place, UserKeys};
use countersign_outbound::mail::key::{Gateway, KeyFrom, Place as GatewayPlace, Variable};
use countersign_outbound::mail::smtp::Server;
use countersign_outbound::mail::{Carrier, Mail, MailSetup};
use countersign_outbound::mcp::{Borrowed, Environment, Pool, Program, Spec};
use countersign_outbound::own::Own;
use countersign_outbound::recall::Recall as RecallHand;
use countersign_outbound::scratch::ScratchShell;
use countersign_store::{SqliteStore, StoreOptions};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What `vault` commands work with: the vault itself is a hand, and is put together here alone.
pub use countersign_outbound::keys::Passphrase;
pub use countersign_outbound::vault::{Listed, Vault, VaultError};

/// The user's own store: the vault and the notes. It is opened when it is first needed, and made by whoever writes to it first.
pub struct UserStore {
    options: StoreOptions,
    opened: tokio::sync::OnceCell<SqliteStore>,
}

impl UserStore {
    /// The store below the user's folders.
    pub fn at(places: &Places) -> UserStore {
        let folder = places.user();
        let mut options = StoreOptions::new(folder.clone(), folder.join("HALT"));
        options.engine = ENGINE.to_owned();
        UserStore { options, opened: tokio::sync::OnceCell::new() }
    }

    /// Whether there is one yet.
    fn is_there(&self) -> bool {
        self.opened.initialized() || has_state(&self.options.state_dir)
    }

    async fn store(&self) -> Result<&SqliteStore, StoreError> {
        self.opened.get_or_try_init(|| SqliteStore::open(self.options.clone())).await
    }
}

#[async_trait]
impl Keeper for UserStore {
    async fn vault(&self) -> Result<VaultRows, StoreError> {
        self.store().await?.vault().await
    }

    async fn set_vault(&self, was: Option<&str>, now: VaultRows, record: Draft) -> Result<bool, StoreError> {
        self.store().await?.set_vault(was, now, record).await
    }

    async fn secret(&self, name: &SecretRef) -> Result<SecretView, StoreError> {
        match self.is_there() {
            true => self.store().await?.secret(name).await,
            false => Ok(SecretView::default()),
        }
    }

    async fn secret_used(
        &self,
        name: &SecretRef,
        principal: &str,
        per_minute: u32,
    ) -> Result<bool, StoreError> {
        self.store().await?.secret_used(name, principal, per_minute).await
    }

    async fn tokens(&self) -> Result<(Timestamp, Vec<Token>), StoreError> {
        self.store().await?.tokens().await
    }

    async fn add_token(&self, token: Token, record: Draft) -> Result<(), StoreError> {
        self.store().await?.add_token(token, record).await
    }

    async fn revoke_token(&self, id: &str, record: Draft) -> Result<bool, StoreError> {
        self.store().await?.revoke_token(id, record).await
    }

    async fn mail_begins(&self, key: &str, payload: &str) -> Result<Begun, StoreError> {
        self.store().await?.mail_begins(key, payload).await
    }

    async fn mail_ended(&self, key: &str, sent: bool) -> Result<(), StoreError> {
        self.store().await?.mail_ended(key, sent).await
    }

    async fn secret_echoed(&self, name: &SecretRef, after: u32) -> Result<bool, StoreError> {
        self.store().await?.secret_echoed(name, after).await
    }
}

#[async_trait]
impl Notes for UserStore {
    async fn note_stores(&self, archived: bool, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        match self.is_there() {
            true => self.store().await?.note_stores(archived, after, limit).await,
            false => Ok(Vec::new()),
        }
    }

    async fn note_keys(
        &self,
        store: &str,
        archived: bool,
        after: &str,
        limit: u32,
    ) -> Result<Option<Vec<(String, u64)>>, StoreError> {
        match self.is_there() {
            true => self.store().await?.note_keys(store, archived, after, limit).await,
            false => Ok(None),
        }
    }

    async fn note_value(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.is_there() {
            true => self.store().await?.note_value(store, key).await,
            false => Ok(None),
        }
    }

    async fn recall(&self, what: &Recall) -> Result<Recalled, StoreError> {
        match self.is_there() {
            true => self.store().await?.recall(what).await,
            false => Ok(Recalled::Missing),
        }
    }

    async fn change_notes(&self, change: NoteChange) -> Result<String, NoteError> {
        self.store().await?.change_notes(change).await
    }
}

/// The user's vault. `passphrase` asks for one, where the vault has one.
pub fn vault(
    keeper: Arc<dyn Keeper>,
    places: &Places,
    settings: Option<&VaultSettings>,
    passphrase: Passphrase,
    warn: fn(&str),
) -> Vault {
    let file = settings.and_then(|s| s.key_file.clone()).unwrap_or_else(|| places.keys.join("vault.key"));
    let key_file = Box::new(move |create| key(&file, create).map_err(|e| format!("{e:#}")));
    let place = settings.and_then(|s| Place::parse(&s.key)).unwrap_or(Place::Keychain);
    let keys = UserKeys::new(place, key_file, passphrase, warn);
    Vault::new(keeper, Arc::new(keys), Arc::new(SystemClock))
}

/// The user's vault as a gateway opens it: nobody can be asked for a passphrase.
fn gateway_vault(wired: &Wired, places: &Places, warn: fn(&str)) -> Arc<Vault> {
    let settings = wired.settings.as_ref().map(|s| &s.vault);
    let passphrase: Passphrase = Box::new(|_| {
        Err("the vault has a passphrase, which a gateway cannot ask for; name a file with COUNTERSIGN_VAULT_PASSPHRASE_FILE".to_owned())
    });
    let passphrase = crate::cli::given_passphrase().unwrap_or(passphrase);
    Arc::new(vault(Arc::clone(&wired.keeper), places, settings, passphrase, warn))
}

/// The gate's tools that act: which of them there are, their hand, and the count of mails.
pub struct Acting {
    /// The tools that are there.
    pub tools: Vec<&'static str>,
    /// Performs them.
    pub hand: Arc<dyn Downstream>,
    /// Counts mails.
    pub sends: Arc<Sends>,
}

/// Puts the hands of the gate's tools together.
pub fn acting(wired: &Wired, places: &Places, warn: fn(&str)) -> anyhow::Result<Acting> {
    let settings = wired.settings.as_ref().map(|s| s.vault.clone());
    let vault = gateway_vault(wired, places, warn);
    let ca = match settings.as_ref().and_then(|s| s.ca_file.as_ref()) {
        Some(path) => {
            Some(std::fs::read(path).with_context(|| format!("`vault.ca_file` names {}", path.display()))?)
        }
        None => None,
    };
    let http = Http::new(Arc::new(System), ca.as_deref()).context("`vault.ca_file`")?;
    let mut own = Own::default();
    let sends = Arc::new(Sends::default());
    if let Some(mail) = mail(wired, &vault, &http, ca, &sends, warn)? {
        own = own.with(countersign_core::mail::TOOL, Arc::new(mail));
    }
    let fetch = Fetch::new(
        vault,
        Arc::clone(&wired.keeper),
        http,
        wired.gate.lately(),
        Arc::new(SystemClock),
        FetchSettings {
            project: wired.project.id.clone(),
            per_minute: settings.as_ref().map_or(60, |s| s.per_minute),
            quarantine_after: settings.as_ref().map_or(3, |s| s.quarantine_after),
        },
    );
    let recall = RecallHand::new(Arc::clone(&wired.notes), Arc::new(SystemClock));
    let own = own
        .with(countersign_core::fetch::TOOL, Arc::new(fetch))
        .with(countersign_core::notes::TOOL, Arc::new(recall));
    Ok(Acting { tools: own.tools(), hand: Arc::new(own), sends })
}

/// The hand of mail; none where it is not set up, or cannot work, which is said once.
fn mail(
    wired: &Wired,
    vault: &Arc<Vault>,
    http: &Http,
    ca: Option<Vec<u8>>,
    sends: &Arc<Sends>,
    warn: fn(&str),
) -> anyhow::Result<Option<Mail>> {
    let Some(settings) = &wired.settings else { return Ok(None) };
    if let Some(fault) = &settings.mail_fault {
        warn(&format!("countersign: there is no mail: {fault}"));
    }
    let (Some(rules), Some(sending)) = (&settings.rules.mail, &settings.mail) else { return Ok(None) };
    if rules.recipients == Recipients::Unrestricted {
        warn("countersign: mail may reach everybody, since mail.recipients is unrestricted");
    }
    let carrier = match &sending.carrier {
        config::mail::Carrier::Resend(url) => Carrier::Resend(url.clone()),
        config::mail::Carrier::Smtp { at, implicit, user } => {
            Carrier::Smtp(Server { at: at.clone(), implicit: *implicit, user: user.clone(), extra: ca })
        }
    };
    let clock = Arc::new(SystemClock);
    let key = match (&sending.gateway_url, &sending.key) {
        (Some(url), Source::Secret(name)) => {
            let place = match url.scheme() {
                "unix" => GatewayPlace::Socket(url.path().into()),
                _ => GatewayPlace::At(url.clone()),
            };
            let token = gateway_token()?;
            KeyFrom::Gateway(Box::new(Gateway::new(http, place, token, name.clone(), clock.clone())))
        }
        (_, Source::Secret(name)) => KeyFrom::Vault {
            secrets: Arc::clone(vault) as Arc<dyn SecretSource>,
            keeper: Arc::clone(&wired.keeper),
            name: SecretRef::parse(name).context("`mail.key` names no secret")?,
            per_minute: settings.vault.per_minute,
        },
        (_, Source::FromEnv(name)) => {
            let read = variable(name.clone());
            if read().is_none() {
                warn(&format!("countersign: there is no mail: the variable {name} is not set"));
                return Ok(None);
            }
            KeyFrom::Variable(read)
        }
    };
    let setup = MailSetup {
        rules: rules.clone(),
        carrier,
        key,
        test_mode: sending.test_mode,
        dry_run: sending.dry_run,
        project: wired.project.id.clone(),
    };
    let (keeper, lately) = (Arc::clone(&wired.keeper), wired.gate.lately());
    Ok(Some(Mail::new(setup, keeper, http.clone(), lately, clock, Arc::clone(sends))))
}

/// Reads a variable each time it is asked; an empty one is none.
fn variable(name: String) -> Variable {
    use std::os::unix::ffi::OsStringExt as _;
    Box::new(move || {
        std::env::var_os(&name).map(OsString::into_vec).filter(|value| !value.is_empty()).map(Secret::new)
    })
}

/// What a secrets gateway is shown.
fn gateway_token() -> anyhow::Result<Option<Secret<Vec<u8>>>> {
    let Some(path) = std::env::var_os("COUNTERSIGN_SECRETS_GATEWAY_TOKEN_FILE") else { return Ok(None) };
    let mut token = std::fs::read(&path)
        .with_context(|| format!("COUNTERSIGN_SECRETS_GATEWAY_TOKEN_FILE names {path:?}"))?;
    while token.last().is_some_and(u8::is_ascii_whitespace) {
        token.pop();
    }
    Ok(Some(Secret::new(token)))
}

/// The secrets gateway of the user: a gate of its own on the user's store, whose rulebook names what is handed out.
pub async fn secrets_gateway(
    places: &Places,
    settings: &Settings,
    warn: fn(&str),
) -> anyhow::Result<Metadata> {
    let user = UserStore::at(places);
    let store: Arc<dyn Store> = Arc::new(user.store().await?.clone());
    let keeper: Arc<dyn Keeper> = Arc::new(user);
    let none: Passphrase = Box::new(|_| {
        Err("the vault has a passphrase; name a file with COUNTERSIGN_VAULT_PASSPHRASE_FILE".to_owned())
    });
    let passphrase = crate::cli::given_passphrase().unwrap_or(none);
    let vault = Arc::new(vault(Arc::clone(&keeper), places, Some(&settings.vault), passphrase, warn));
    let mut rules =
        RuleSettings::defaults(&places.user().to_string_lossy(), &places.own(), places.home.to_str());
    rules.handed_out = settings.gateway.names.clone();
    let (book, _) = Rulebook::load(Vec::new(), rules)
        .map_err(|problems| anyhow::anyhow!("the built-in rules do not load: {} problems", problems.len()))?;
    let gate = Gate::new(
        store,
        Arc::new(SystemClock),
        Book::InForce(Arc::new(book)),
        MacKey::new(places.log_key()?),
        settings.capture,
        person::me().id(),
    )
    .keeping(Arc::clone(&keeper));
    let (secrets, clock) = (vault as Arc<dyn SecretSource>, Arc::new(SystemClock));
    let per_minute = settings.gateway.per_minute;
    Ok(Metadata::new(Arc::new(gate), keeper, secrets, clock, "default".to_owned(), per_minute))
}

type Leaving = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// A project, opened.
pub struct Wired {
    /// The gate.
    pub gate: Gate,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// The user's own store.
    pub keeper: Arc<dyn Keeper>,
    /// The user's notes, in that store.
    pub notes: Arc<dyn Notes>,
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
    let user = Arc::new(UserStore::at(places));
    let (keeper, notes): (Arc<dyn Keeper>, Arc<dyn Notes>) = (user.clone(), user);
    let gate = Gate::new(
        store.clone(),
        Arc::new(SystemClock),
        book,
        MacKey::new(places.log_key()?),
        capture,
        person::me().id(),
    )
    .keeping(Arc::clone(&keeper));
    let leave = Box::new(move || Box::pin(sqlite.leave()) as Leaving);
    Ok(Wired {
        gate,
        store,
        keeper,
        notes,
        project,
        settings,
        acceptance,
        accepted,
        problems,
        warnings,
        leave,
    })
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
    /// Secrets that it finds in its environment, by the variable.
    pub secrets: BTreeMap<String, SecretRef>,
    /// How long a request may take.
    pub timeout: Duration,
}

/// The hand of the MCP door: a pool of servers, none of them started. They run in `folder`, ours when it is `None`.
pub fn mcp_pool(
    starts: Vec<Start>,
    folder: Option<&Path>,
    wired: &Wired,
    places: &Places,
    warn: fn(&str),
) -> Arc<Pool> {
    let vault = starts.iter().any(|s| !s.secrets.is_empty()).then(|| gateway_vault(wired, places, warn));
    let spec = |start: Start| {
        let mut words = start.command.into_iter();
        let program = Program {
            command: words.next().unwrap_or_default(),
            args: words.collect(),
            environment: start.env.map_or(Environment::Ours, Environment::Given),
            folder: folder.map(Path::to_owned),
        };
        let borrowed = vault.clone().filter(|_| !start.secrets.is_empty()).map(|vault| {
            Arc::new(Borrowed::new(
                start.secrets,
                vault,
                Arc::clone(&wired.keeper),
                Arc::clone(&wired.store),
                wired.gate.lately(),
                wired.project.id.clone(),
            ))
        });
        Spec { name: start.name, program, borrowed, timeout: start.timeout }
    };
    Arc::new(Pool::new(starts.into_iter().map(spec).collect(), Arc::new(SystemClock)))
}

/// The hand of `demo`: runs shell lines in one scratch folder.
pub fn scratch_shell(folder: &Path) -> Arc<dyn Downstream> {
    Arc::new(ScratchShell::new(folder.to_owned(), Arc::new(SystemClock)))
}
