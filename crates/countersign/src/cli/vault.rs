//! `countersign vault`: secrets that agents may use and never see. No command takes a value on its command line, and none
//! shows one.

use super::{Context, complain, exit, need_user, refused, say};
use crate::config::{Settings, VaultSettings};
use crate::person;
use crate::project::Project;
use crate::wire::{self, Listed, Passphrase, UserStore, Vault, VaultError};
use anyhow::{Context as _, bail};
use countersign_core::cleanse::clean_line;
use countersign_core::json::Json;
use countersign_core::secret::{Secret, SecretRef};
use countersign_core::time::Timestamp;
use countersign_core::vault::binding::{Binding, HostPattern, Method, Placement, is_path_prefix};
use countersign_core::vault::seal;
use countersign_gate::seams::Keeper;
use std::io::{IsTerminal as _, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Keep secrets that agents may use and never see.
///
/// A secret is bound to the hosts it may be sent to. An agent names it in the tool `http_fetch`; a person approves each
/// use, or grants it with an `[[allow]]` entry. Values are typed, piped or read from a file, never given as an argument.
#[derive(clap::Subcommand, Debug)]
pub enum VaultCommand {
    /// Store a new secret. The value is asked for, or read from standard input.
    #[command(after_help = "Example:\n  countersign vault set github_token --host api.github.com")]
    Set(Set),
    /// Show what there is: names, bindings and dates, never values.
    #[command(after_help = "Example:\n  countersign vault list")]
    List {
        /// One secret.
        name: Option<String>,
    },
    /// Remove a secret.
    #[command(after_help = "Example:\n  countersign vault rm github_token")]
    Rm {
        /// Its name.
        name: String,
        /// Do not ask back.
        #[arg(long)]
        yes: bool,
    },
    /// Give a secret a new value. The old one is still looked for in answers for a day.
    #[command(after_help = "Example:\n  countersign vault rotate github_token")]
    Rotate {
        /// Its name.
        name: String,
        #[command(flatten)]
        value: Value,
    },
    /// Say anew where a secret may go. What is not said is not bound.
    #[command(
        after_help = "Example:\n  countersign vault bind github_token api.github.com --method GET --path-prefix /repos/ana"
    )]
    Bind(Bind),
    /// Keep the vault's key elsewhere from now on: where `vault.key` of your configuration says.
    #[command(after_help = "Example:\n  countersign vault rekey")]
    Rekey,
    /// Take in a sealed export.
    #[command(after_help = "Example:\n  countersign vault import backup.vault")]
    Import {
        /// The file.
        file: PathBuf,
        /// Replace secrets that are there.
        #[arg(long)]
        force: bool,
    },
    /// Write everything into a file that only a passphrase opens.
    #[command(after_help = "Example:\n  countersign vault export --out backup.vault")]
    Export {
        /// The file; it must not be there.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Where a value comes from.
#[derive(clap::Args, Debug)]
pub struct Value {
    /// Read the value from a file.
    #[arg(long, value_name = "FILE", conflicts_with = "from_fd")]
    from_file: Option<PathBuf>,
    /// Read the value from an open file descriptor.
    #[arg(long, value_name = "N")]
    from_fd: Option<i32>,
    /// Keep a line end at the end of what is read.
    #[arg(long)]
    exact: bool,
    /// The descriptor, opened while this process may still look at itself.
    #[arg(skip)]
    opened: Option<std::fs::File>,
}

/// The arguments of `set`.
#[derive(clap::Args, Debug)]
pub struct Set {
    /// Its name: letters, digits, `.`, `_`, `-`.
    name: String,
    #[command(flatten)]
    value: Value,
    /// A host it may be sent to; as often as there are hosts.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Bind it to no host: each use is asked about, for the host that is shown.
    #[arg(long, conflicts_with = "host")]
    unbound: bool,
    /// The user of basic authentication, when the value is the password alone.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Where it may stand: bearer (default), basic, header_x_api_key or custom:HEADER.
    #[arg(long, value_name = "PLACEMENT")]
    placement: Vec<String>,
    /// Replace the value of a secret that is there.
    #[arg(long)]
    force: bool,
}

/// The arguments of `bind`.
#[derive(clap::Args, Debug)]
pub struct Bind {
    /// The secret.
    name: String,
    /// Hosts: `api.example.org`, `host:8443`, `*.example.org`.
    hosts: Vec<String>,
    /// Methods it may be used with; none means all.
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// Beginnings of paths; none means all.
    #[arg(long, value_name = "PATH")]
    path_prefix: Vec<String>,
    /// Where it may stand: bearer (default), basic, header_x_api_key or custom:HEADER.
    #[arg(long, value_name = "PLACEMENT")]
    placement: Vec<String>,
    /// A private range that it may be sent to.
    #[arg(long, value_name = "CIDR")]
    allow_private: Vec<String>,
    /// The user of basic authentication.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Bind it to the project of the working folder.
    #[arg(long)]
    this_project: bool,
    /// When it ends.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Let it go to any host. `doctor` reports it.
    #[arg(long, conflicts_with = "hosts")]
    any_host: bool,
}

impl VaultCommand {
    /// Does what is asked, for a person.
    pub async fn run(mut self, cx: &Context) -> anyhow::Result<u8> {
        if let VaultCommand::Set(Set { value, .. }) | VaultCommand::Rotate { value, .. } = &mut self {
            value.open()?;
        }
        person::keep_memory_private();
        let verb = match &self {
            VaultCommand::Set(_) => "vault set",
            VaultCommand::List { .. } => "vault list",
            VaultCommand::Rm { .. } => "vault rm",
            VaultCommand::Rotate { .. } => "vault rotate",
            VaultCommand::Bind(_) => "vault bind",
            VaultCommand::Rekey => "vault rekey",
            VaultCommand::Import { .. } => "vault import",
            VaultCommand::Export { .. } => "vault export",
        };
        if let Err(code) = need_user(cx, verb).await? {
            return Ok(code);
        }
        let vault = open(cx)?;
        let done = match self {
            VaultCommand::Set(set) => set.run(&vault).await,
            VaultCommand::List { name } => list(cx, &vault, name).await,
            VaultCommand::Rm { name, yes } => {
                let name = named(&name)?;
                vault.listed(&name).await?;
                let asked = format!("Remove the secret `{}`?", name.as_str());
                if let Some(code) = refused(yes, &asked)? {
                    return Ok(code);
                }
                vault.remove(&name).await?;
                say(&format!("Secret removed: {}", name.as_str()));
                Ok(exit::OK)
            }
            VaultCommand::Rotate { name, value } => {
                let name = named(&name)?;
                vault.listed(&name).await?;
                vault.rotate(&name, &value.read(&name)?).await?;
                say(&format!(
                    "Secret stored: {} = [REDACTED]; its old value is looked for in answers for a day",
                    name.as_str()
                ));
                Ok(exit::OK)
            }
            VaultCommand::Bind(bind) => bind.run(cx, &vault).await,
            VaultCommand::Rekey => {
                vault.rekey().await?;
                say("The vault has a new key.");
                Ok(exit::OK)
            }
            VaultCommand::Import { file, force } => {
                let bytes =
                    std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                if !seal::is_export(&bytes) {
                    bail!("{} is no sealed export of ours; nothing was taken in", file.display());
                }
                let pass =
                    asked_passphrase("Passphrase of the export: ", false).map_err(anyhow::Error::msg)?;
                let secrets = seal::import(&bytes, &pass).map_err(|_| {
                    anyhow::anyhow!("it does not open: the passphrase is wrong, or the file was damaged; nothing was taken in")
                })?;
                let count = vault.import(&secrets, force).await?;
                say(&format!("Secrets taken in: {count}"));
                Ok(exit::OK)
            }
            VaultCommand::Export { out } => {
                let pass =
                    asked_passphrase("Passphrase for the export: ", true).map_err(anyhow::Error::msg)?;
                let sealed = vault.export(&pass).await?;
                crate::places::write_new(&out, &sealed)?;
                say(&format!("Sealed export written: {}", out.display()));
                Ok(exit::OK)
            }
        };
        match done.as_ref().map_err(|e| e.downcast_ref::<VaultError>()) {
            Err(Some(e)) => {
                complain(&format!("countersign: {e}"));
                Ok(exit::FAILED)
            }
            _ => done,
        }
    }
}

/// The vault as commands open it: a passphrase is asked for at the terminal.
pub fn open(cx: &Context) -> anyhow::Result<Vault> {
    let keeper: Arc<dyn Keeper> = Arc::new(UserStore::at(&cx.places));
    let settings = settings(cx)?;
    let ask: Passphrase = Box::new(|new| asked_passphrase("Passphrase of the vault: ", new));
    let passphrase = super::given_passphrase().unwrap_or(ask);
    Ok(wire::vault(keeper, &cx.places, settings.as_ref(), passphrase, complain))
}

/// What the user's configuration says of the vault; a project has no say in it.
fn settings(cx: &Context) -> anyhow::Result<Option<VaultSettings>> {
    all_settings(cx).map(|settings| Some(settings.vault))
}

/// What the user's configuration says of what is the user's.
pub fn all_settings(cx: &Context) -> anyhow::Result<Settings> {
    // Nothing of a project is read, so any folder will do where there is none.
    let project = match cx.find_project()? {
        Some(project) => project,
        None => Project::at(&cx.places.home)?,
    };
    match crate::rules::settings(None, &cx.places, &project) {
        Ok(settings) => Ok(settings),
        Err(problems) => {
            for problem in problems {
                complain(&format!("{problem:?}"));
            }
            bail!("your configuration does not load, so nothing was done")
        }
    }
}

fn named(name: &str) -> anyhow::Result<SecretRef> {
    let dashes = [
        '-', '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{2015}', '\u{2212}', '\u{fe58}',
        '\u{fe63}', '\u{ff0d}',
    ];
    if name.starts_with(dashes) {
        bail!("the name `{}` begins with a dash, like a flag", clean_line(name, 140));
    }
    countersign_core::names::check(name)
        .map_err(|e| anyhow::anyhow!("the name `{}` {e}", clean_line(name, 140)))?;
    SecretRef::parse(name).context("no name of a secret")
}

fn asked_passphrase(prompt: &str, new: bool) -> Result<Secret<Vec<u8>>, String> {
    let ask =
        |prompt: &str| rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|e| e.to_string());
    let text = ask(prompt)?;
    if new && *ask("Once more: ")? != *text {
        return Err("the two are not the same".to_owned());
    }
    if text.is_empty() {
        return Err("the passphrase is empty".to_owned());
    }
    Ok(Secret::new(text.as_bytes().to_vec()))
}

impl Value {
    fn open(&mut self) -> anyhow::Result<()> {
        if let Some(fd) = self.from_fd {
            let file = std::fs::File::open(format!("/dev/fd/{fd}"));
            self.opened = Some(file.with_context(|| format!("cannot read descriptor {fd}"))?);
        }
        Ok(())
    }

    /// Reads a value: from where it was said, from a pipe, or twice from the terminal.
    fn read(&self, name: &SecretRef) -> anyhow::Result<Secret<Vec<u8>>> {
        let limit = u64::try_from(seal::MAX_VALUE_BYTES).unwrap_or(u64::MAX) + 2;
        let mut bytes = Zeroizing::new(Vec::new());
        if let Some(path) = &self.from_file {
            // A link or a pipe in its place would be somebody else's value.
            let mut file = std::fs::OpenOptions::new()
                .read(true)
                .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
                .open(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            (&mut file).take(limit).read_to_end(&mut bytes)?;
        } else if let Some(mut file) = self.opened.as_ref() {
            (&mut file).take(limit).read_to_end(&mut bytes)?;
        } else if std::io::stdin().is_terminal() {
            let ask = |prompt: String| rpassword::prompt_password(prompt).map(Zeroizing::new);
            let text = ask(format!("Value of {}: ", name.as_str()))?;
            if *ask("Once more: ".to_owned())? != *text {
                bail!("the two are not the same; nothing was stored");
            }
            bytes.extend_from_slice(text.as_bytes());
            return Ok(Secret::new(std::mem::take(&mut *bytes)));
        } else {
            std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
        }
        if !self.exact && bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Ok(Secret::new(std::mem::take(&mut *bytes)))
    }
}

fn hosts(texts: &[String]) -> anyhow::Result<Vec<HostPattern>> {
    Ok(texts.iter().map(|text| HostPattern::parse(text)).collect::<Result<_, _>>()?)
}

fn placements(texts: &[String]) -> anyhow::Result<Vec<Placement>> {
    let one = |text: &String| {
        Placement::parse(text).with_context(|| {
            format!("`{}` is no placement: bearer, basic, header_x_api_key, or custom:HEADER with a header that may carry a secret", clean_line(text, 80))
        })
    };
    texts.iter().map(one).collect()
}

impl Set {
    async fn run(self, vault: &Vault) -> anyhow::Result<u8> {
        let name = named(&self.name)?;
        let there = vault.list().await?.into_iter().find(|l| l.name == name.as_str());
        if there.is_some() && !self.force {
            bail!(VaultError::Exists(name.as_str().to_owned()));
        }
        let said =
            !self.host.is_empty() || self.unbound || self.username.is_some() || !self.placement.is_empty();
        let mut names = self.host.clone();
        if there.is_none() && names.is_empty() && !self.unbound {
            if !std::io::stdin().is_terminal() {
                complain(
                    "Say where the secret may go with --host HOST, or --unbound for a question at each use. Nothing was stored.",
                );
                return Ok(exit::USAGE);
            }
            eprint_prompt("Hosts it may be sent to, with commas between (none: each use is asked about): ")?;
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)?;
            names = line.split(',').map(|h| h.trim().to_owned()).filter(|h| !h.is_empty()).collect();
        }
        let binding = Binding {
            hosts: hosts(&names)?,
            placements: placements(&self.placement)?,
            username: self.username.clone(),
            ..Binding::default()
        };
        let value = self.value.read(&name)?;
        // A value that is replaced stays bound as it was, unless something else is said.
        let binding = (there.is_none() || said).then_some(&binding);
        vault.set(&name, &value, binding, self.force).await?;
        say(&format!("Secret stored: {} = [REDACTED]", name.as_str()));
        Ok(exit::OK)
    }
}

fn eprint_prompt(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    write!(std::io::stderr(), "{text}")?;
    Ok(())
}

impl Bind {
    async fn run(self, cx: &Context, vault: &Vault) -> anyhow::Result<u8> {
        let name = named(&self.name)?;
        let method = |text: &String| {
            Method::parse(&text.to_uppercase()).with_context(|| {
                format!("`{}` is none of GET, POST, PUT, PATCH, DELETE", clean_line(text, 40))
            })
        };
        for prefix in &self.path_prefix {
            if !is_path_prefix(prefix) {
                bail!(
                    "`{}` is no beginning of paths: begin with / and leave out escapes and dots",
                    clean_line(prefix, 200)
                );
            }
        }
        let net = |text: &String| {
            text.parse().with_context(|| format!("`{}` is no range like 10.0.0.0/8", clean_line(text, 60)))
        };
        let until = self.until.as_ref().map(|text| {
            Timestamp::parse(text)
                .with_context(|| format!("`{}` is no time like 2027-01-31T00:00:00Z", clean_line(text, 60)))
        });
        let projects = if self.this_project { vec![cx.project()?.id] } else { Vec::new() };
        let binding = Binding {
            hosts: hosts(&self.hosts)?,
            any_host: self.any_host,
            methods: self.method.iter().map(method).collect::<anyhow::Result<_>>()?,
            path_prefixes: self.path_prefix,
            placements: placements(&self.placement)?,
            username: self.username,
            allow_private: self.allow_private.iter().map(net).collect::<anyhow::Result<_>>()?,
            projects,
            expires_at: until.transpose()?,
        };
        vault.bind(&name, &binding).await?;
        say(&format!("{}: {}", name.as_str(), told(&binding)));
        Ok(exit::OK)
    }
}

/// A binding in words.
fn told(binding: &Binding) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let mut out = match (binding.any_host, binding.hosts.is_empty()) {
        (true, _) => "ANY host".to_owned(),
        (false, true) => "no host; each use is asked about".to_owned(),
        (false, false) => list(binding.hosts.iter().map(ToString::to_string).collect()),
    };
    let mut add = |what: &str, items: Vec<String>| {
        if !items.is_empty() {
            out.push_str(&format!("; {what} {}", list(items)));
        }
    };
    add("methods", binding.methods.iter().map(|m| m.as_str().to_owned()).collect());
    add("paths", binding.path_prefixes.clone());
    add("as", binding.placements.iter().map(ToString::to_string).collect());
    add("private ranges", binding.allow_private.iter().map(ToString::to_string).collect());
    add("user", binding.username.iter().cloned().collect());
    add("projects", binding.projects.clone());
    add("until", binding.expires_at.iter().map(ToString::to_string).collect());
    clean_line(&out, 1_000).to_string()
}

async fn list(cx: &Context, vault: &Vault, name: Option<String>) -> anyhow::Result<u8> {
    let all: Vec<Listed> = match name {
        Some(name) => vec![vault.listed(&named(&name)?).await?],
        None => vault.list().await?,
    };
    if cx.global.json {
        let one = |l: &Listed| {
            Json::object([
                ("name", Json::str(&l.name)),
                ("version", Json::Number(l.version.to_string())),
                ("rotation_id", Json::str(&l.rotation_id)),
                ("set_at", Json::str(l.set_at.to_string())),
                ("fingerprint", Json::str(&l.fingerprint)),
                (
                    "binding",
                    Json::parse(l.binding.canonical().as_bytes(), Default::default()).unwrap_or(Json::Null),
                ),
            ])
        };
        say(&Json::object([("secrets", Json::Array(all.iter().map(one).collect()))]).canonical());
        return Ok(exit::OK);
    }
    if all.is_empty() {
        say("No secrets stored.");
    }
    for l in &all {
        say(&cx.bold(&l.name));
        say(&format!("  bound to     {}", told(&l.binding)));
        say(&format!("  set          {} (version {})", l.set_at, l.version));
        say(&format!("  fingerprint  {}", l.fingerprint));
    }
    Ok(exit::OK)
}
