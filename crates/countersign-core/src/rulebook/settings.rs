//! Settings of the rulebook: what configuration means for judging, already checked and put together from its layers.

use crate::approval::Wait;
use crate::approval::scope::{Scope, ScopeError};
use crate::cleanse::Catalogue;
use crate::cleanse::injection::Consequence;
use crate::facts::ground::Ground;
use crate::facts::paths::{BlockMode, PathPattern};
use crate::json::Bounds;
use crate::mail::rules::MailRules;
use crate::principal::Principal;
use crate::time::Timestamp;
use crate::vault::binding::Authority;

/// Whether rules hold and refuse, or only say what they would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Rules and levels refuse and hold nothing; their verdict is recorded.
    Watch,
    /// Everything is enforced.
    Enforce,
}

impl Mode {
    /// The setting's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Watch => "watch",
            Mode::Enforce => "enforce",
        }
    }

    /// Reads the setting's word.
    pub fn parse(text: &str) -> Option<Mode> {
        [Mode::Watch, Mode::Enforce].into_iter().find(|m| m.as_str() == text)
    }
}

/// How much agents may do without a person (gateway.md 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the levels are named by their numbers everywhere
pub enum Level {
    L0,
    L1,
    L2,
    L3,
}

impl Level {
    /// The setting's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::L0 => "L0",
            Level::L1 => "L1",
            Level::L2 => "L2",
            Level::L3 => "L3",
        }
    }

    /// Reads the setting's word.
    pub fn parse(text: &str) -> Option<Level> {
        [Level::L0, Level::L1, Level::L2, Level::L3].into_iter().find(|l| l.as_str() == text)
    }
}

/// A two-valued setting: put the question to a person, or refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AskOrDeny {
    /// A person is asked.
    Ask,
    /// It is refused.
    Deny,
}

/// How many of several matching rules a rule scope must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScopeMatch {
    /// Every one.
    All,
    /// One is enough.
    Any,
}

/// A standing allow of the user's own configuration, already narrowed to this project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingAllow {
    /// What it covers.
    pub scope: Scope,
    /// Who may use it, exactly; `None`: everybody.
    pub principal: Option<String>,
    /// When it ends.
    pub until: Option<Timestamp>,
}

impl StandingAllow {
    /// Whether it counts for a call of this principal now.
    pub fn counts(&self, principal: &Principal, now: Timestamp) -> bool {
        let theirs = match &self.principal {
            Some(named) => *named == principal.id(),
            None => true,
        };
        theirs && self.until.is_none_or(|until| now < until)
    }
}

/// A standing denial: nothing lifts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingDeny {
    /// What it refuses.
    pub what: Denial,
    /// Whom, sub-agents included; `None`: everybody.
    pub principal: Option<String>,
    /// When it ends.
    pub until: Option<Timestamp>,
}

impl StandingDeny {
    /// Whether it counts for a call of this principal now.
    pub fn counts(&self, principal: &Principal, now: Timestamp) -> bool {
        let id = principal.id();
        let theirs = self.principal.as_ref().is_none_or(|named| {
            *named == id || id.strip_prefix(named.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        theirs && self.until.is_none_or(|until| now < until)
    }
}

/// What a standing denial refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Uses of a secret, or of all of them; at one host, or at all.
    Secret {
        /// Its name; `None`: every secret.
        key: Option<String>,
        /// The host; `None`: every host.
        authority: Option<Authority>,
    },
    /// Notes.
    Memory {
        /// The store; `None`: every store.
        store: Option<String>,
        /// The note; `None`: every note.
        key: Option<String>,
    },
    /// Whatever the scope covers, were it an allow.
    Scope(Scope),
}

impl Denial {
    /// Reads the value of an entry of a kind: a part that is a star means all.
    pub fn parse(kind: &str, value: &str) -> Result<Denial, ScopeError> {
        let part = |text: &str| (text != "*").then(|| text.to_owned());
        match kind {
            "secret" => {
                let (key, host) = value.split_once('@').unwrap_or((value, "*"));
                let key = part(key);
                if key.as_ref().is_some_and(|key| crate::names::check(key).is_err()) {
                    return Err(ScopeError::NoUse(value.to_owned()));
                }
                let authority = match host {
                    "*" => None,
                    host => Some(Authority::parse(host).ok_or_else(|| ScopeError::NoUse(value.to_owned()))?),
                };
                Ok(Denial::Secret { key, authority })
            }
            "memory" => {
                let (store, key) = value.split_once('/').unwrap_or((value, "*"));
                let (store, key) = (part(store), part(key));
                let fits = store.as_ref().is_none_or(|store| crate::notes::is_store(store))
                    && key.as_ref().is_none_or(|key| crate::names::check(key).is_ok());
                if fits {
                    Ok(Denial::Memory { store, key })
                } else {
                    Err(ScopeError::NoNote(value.to_owned()))
                }
            }
            other => Scope::parse_standing(other, value).map(Denial::Scope),
        }
    }

    /// Whether it is about a use of a secret.
    pub fn meets_secret(&self, name: &str, at: &Authority) -> bool {
        matches!(self, Denial::Secret { key, authority }
            if key.as_ref().is_none_or(|key| key == name) && authority.as_ref().is_none_or(|a| a == at))
    }

    /// Whether it is about a note. A list of a store meets what is about all its notes.
    pub fn meets_note(&self, name: &str, note: &str) -> bool {
        matches!(self, Denial::Memory { store, key }
            if store.as_ref().is_none_or(|store| store == name) && key.as_ref().is_none_or(|key| key == note))
    }
}

/// Everything judging needs of configuration. Units are in the names.
#[derive(Clone, Debug)]
pub struct RuleSettings {
    /// Watch or enforce.
    pub mode: Mode,
    /// The level in force, already lowered to its ceiling.
    pub level: Level,
    /// What happens to a tier above the level where the level's table lets a person lift it.
    pub on_exceed: AskOrDeny,
    /// What happens to a shell line that is not understood.
    pub opaque_command: AskOrDeny,
    /// Soft rules that are switched off.
    pub disabled: Vec<String>,
    /// All or any matching rule must be named by a rule scope.
    pub scope_match: ScopeMatch,
    /// Paths no agent may touch.
    pub blocked: Vec<PathPattern>,
    /// Paths of ours and of the clients' settings: closed whatever configuration says.
    pub own: Vec<PathPattern>,
    /// Further paths that no agent may write; configuration lists them.
    pub protected: Vec<PathPattern>,
    /// What configuration adds to the reading of calls.
    pub ground: Ground,
    /// `owner/name` of origin, or empty.
    pub repo: String,
    /// Standing allows.
    pub allow: Vec<StandingAllow>,
    /// Standing denials.
    pub deny: Vec<StandingDeny>,
    /// Id of the project: secrets can be bound to it.
    pub project: String,
    /// Whether agents have a tool that reads a person's notes.
    pub memory: bool,
    /// Names that the secrets gateway hands out.
    pub handed_out: Vec<String>,
    /// Who sends mail and whom it may reach; `None`: there is no mail.
    pub mail: Option<MailRules>,
    /// Default window of a request.
    pub timeout_s: i64,
    /// Most requests of a session.
    pub cap: u32,
    /// Most requests of a session in 60 s.
    pub per_minute: u32,
    /// Widest scope kind that may be answered.
    pub max_scope: String,
    /// Hold the caller, or send it away with a handle.
    pub wait: Wait,
    /// Window of a parked request.
    pub park_s: i64,
    /// How long a held yes waits for its call.
    pub grant_ttl_s: i64,
    /// How long a no is remembered.
    pub refusal_memory_s: i64,
    /// Most permits in 60 s; 0 = unlimited.
    pub calls_per_minute: u32,
    /// Most calls at once; 0 = unlimited.
    pub max_concurrent_calls: u32,
    /// Bounds of arguments.
    pub arguments: Bounds,
    /// Longest judgement.
    pub judge_budget_ms: u64,
    /// Longest answer of a server that is passed on whole, in bytes.
    pub result_bytes: usize,
    /// What counts as a secret.
    pub catalogue: Catalogue,
    /// What becomes of results that give orders to a model.
    pub injection: Consequence,
}

impl RuleSettings {
    /// The built-in defaults of NAMES 1.1, with the protected paths of a project and of the given folders of ours.
    pub fn defaults(project_root: &str, own_folders: &[String], home: Option<&str>) -> RuleSettings {
        let blocked =
            [".env", ".env.*"].iter().filter_map(|p| PathPattern::new(p, BlockMode::Both)).collect();
        RuleSettings {
            mode: Mode::Enforce,
            level: Level::L1,
            on_exceed: AskOrDeny::Ask,
            opaque_command: AskOrDeny::Ask,
            disabled: Vec::new(),
            scope_match: ScopeMatch::All,
            blocked,
            own: own(project_root, own_folders, home),
            protected: protected(&DEFAULT_PROTECTED, project_root, home),
            ground: Ground::at_home(home),
            repo: String::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            project: String::new(),
            memory: true,
            handed_out: Vec::new(),
            mail: None,
            timeout_s: 300,
            cap: 50,
            per_minute: 20,
            max_scope: "all_session".to_owned(),
            wait: Wait::Hold,
            park_s: 86_400,
            grant_ttl_s: 600,
            refusal_memory_s: 60,
            calls_per_minute: 0,
            max_concurrent_calls: 0,
            arguments: Bounds::default(),
            judge_budget_ms: 100,
            result_bytes: 524_288,
            catalogue: Catalogue::BUILT_IN,
            injection: Consequence::default(),
        }
    }
}

/// What no agent may write unless configuration takes it off the list: hooks of git and git's own settings, which run
/// programs.
pub const DEFAULT_PROTECTED: [&str; 3] = [".husky/", ".gitconfig", ".config/git/"];

/// Patterns of paths that are not written. A relative one holds anywhere; below the project and the home it is anchored
/// as well, so that taking away a whole tree above it is seen.
pub fn protected(paths: &[impl AsRef<str>], project_root: &str, home: Option<&str>) -> Vec<PathPattern> {
    let mut out = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        out.extend(PathPattern::new(path, BlockMode::Write));
        if !path.starts_with('/') {
            for base in [Some(project_root), home].into_iter().flatten() {
                let anchored = format!("{}/{path}", base.trim_end_matches('/'));
                out.extend(PathPattern::new(&anchored, BlockMode::Write));
            }
        }
    }
    out
}

/// What no agent may touch whatever configuration says (gateway.md 12.2): our own folders, read and written; the
/// clients' settings and hook files, written.
fn own(project_root: &str, own_folders: &[String], home: Option<&str>) -> Vec<PathPattern> {
    let root = project_root.trim_end_matches('/');
    let mut out = Vec::new();
    let mut add = |text: String, mode| out.extend(PathPattern::new(&text, mode));
    add(".countersign/".to_owned(), BlockMode::Both);
    // Anchored for whole trees that are taken away or written over. Copying a project reads its rules with the rest,
    // and they are no secret.
    add(format!("{root}/.countersign/"), BlockMode::Write);
    // State is found by the repository behind this name: whoever swaps it would bring another project's answers.
    add(format!("{root}/.git"), BlockMode::Write);
    for folder in own_folders {
        add(format!("{}/", folder.trim_end_matches('/')), BlockMode::Both);
    }
    const CLIENT_FILES: &[&str] = &[
        ".claude/settings.json",
        ".claude/settings.local.json",
        ".claude/hooks/",
        // Hooks, the trust in them, permissions and plugins lie side by side there.
        ".codex/",
        ".gemini/settings.json",
        ".gemini/extensions/",
        ".gemini/policies/",
        ".gemini/trustedFolders.json",
        ".cursor/hooks.json",
        ".mcp.json",
        ".claude.json",
    ];
    out.extend(protected(CLIENT_FILES, root, home));
    out
}
