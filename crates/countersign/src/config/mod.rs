//! Configuration: what was said in the layers (`said`, `keys`, `entries`), and what it means.
//!
//! Layers: built-in, organization, user, project; a later one wins, but ceilings only tighten and blocked paths add
//! up. What it means for judging is core's `RuleSettings`; the rest is [`Settings`].

pub mod allow;
pub mod entries;
pub mod keys;
pub mod mail;
pub mod said;
pub mod servers;

use crate::places::Places;
use crate::project::{Layer, Project};
use countersign_core::approval::Wait;
use countersign_core::approval::scope::Scope;
use countersign_core::cleanse::Catalogue;
use countersign_core::facts::paths::{BlockMode, PathPattern};
use countersign_core::json::Bounds;
use countersign_core::rulebook::settings::{
    AskOrDeny, DEFAULT_PROTECTED, Denial, Level, Mode, RuleSettings, ScopeMatch, StandingAllow, StandingDeny,
    protected,
};
use countersign_core::rulebook::{PolicyText, RuleSet};
use countersign_core::secrets_gateway;
use countersign_core::time::Timestamp;
use countersign_gate::gate::Capture;
use entries::AllowEntry;
use said::{File, LayerName, Problem, Said};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A value in force and where it came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The value, as TOML.
    pub value: String,
    /// The layer it came from.
    pub layer: LayerName,
    /// The file, if any.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<usize>,
}

/// What configuration means.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For the rulebook.
    pub rules: RuleSettings,
    /// What the log keeps of arguments.
    pub capture: Capture,
    /// The client's time limit that `init` writes.
    pub hook_timeout_s: i64,
    /// Longest hold of a client.
    pub hook_hold_s: Option<i64>,
    /// How often a held MCP call says that it waits.
    pub mcp_progress_s: u64,
    /// Refused MCP calls are answered as protocol errors.
    pub mcp_protocol_errors: bool,
    /// How long a locked database is waited for.
    pub busy_ms: u64,
    /// Where each key's value came from.
    pub origins: BTreeMap<&'static str, Origin>,
    /// Things that load but deserve a remark.
    pub warnings: Vec<String>,
    /// Standing allows of the user, of every project.
    pub allow: Vec<AllowEntry>,
    /// Every standing denial of the user's, for all projects.
    pub deny: Vec<AllowEntry>,
    /// What is said of the vault.
    pub vault: VaultSettings,
    /// How mail is sent; `None` where there is no mail.
    pub mail: Option<mail::MailSettings>,
    /// What is said of the secrets gateway.
    pub gateway: GatewaySettings,
    /// Why there is no mail although somebody set it up.
    pub mail_fault: Option<String>,
    /// The operator's rules for this repository.
    pub policy: Vec<(RuleSet, PolicyText)>,
}

/// The files of a project's configuration.
pub struct Files {
    organization: Option<(String, String)>,
    user: Option<(String, String)>,
    project: Option<(String, String)>,
}

impl Files {
    /// Reads the layers' files; a file that is not there is an empty layer, one that cannot be read is an error.
    pub fn read(places: &Places, layer: Option<&Layer>) -> anyhow::Result<Files> {
        let read = |folder: &std::path::Path| -> anyhow::Result<Option<(String, String)>> {
            let path = folder.join("config.toml");
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some((path.display().to_string(), text))),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(anyhow::anyhow!("cannot read {}: {e}", path.display())),
            }
        };
        let project = layer.and_then(|layer| {
            let file = layer.folder().join("config.toml").display().to_string();
            layer.config.clone().map(|text| (file, text))
        });
        Ok(Files { organization: read(&places.system)?, user: read(&places.config)?, project })
    }

    /// Puts the layers together. Every problem of every file is given. What operators set for one repository counts
    /// where the repository is `known` to be that one.
    pub fn mean(&self, places: &Places, project: &Project, known: bool) -> Result<Settings, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut layers: Vec<(LayerName, String, File)> = Vec::new();
        let files = [
            (LayerName::Organization, &self.organization),
            (LayerName::User, &self.user),
            (LayerName::Project, &self.project),
        ];
        for (layer, file) in files {
            let Some((name, text)) = file else { continue };
            match said::read(name, text, layer) {
                Ok(file) => layers.push((layer, name.clone(), file)),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(mean(&layers, places, project, known)) } else { Err(problems) }
    }
}

fn mean(layers: &[(LayerName, String, File)], places: &Places, project: &Project, known: bool) -> Settings {
    let mut origins = BTreeMap::new();
    for key in keys::KEYS {
        if !key.default.is_empty() {
            let origin =
                Origin { value: key.default.to_owned(), layer: LayerName::BuiltIn, file: None, line: None };
            origins.insert(key.name, origin);
        }
    }
    let repo = project.repo();
    let mut values: BTreeMap<&'static str, Said> = BTreeMap::new();
    let mut lists: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (layer, file, said) in layers {
        // What an operator says of this very repository stands behind what the same file says of all.
        let of_repo = said.repos.iter().filter(|r| known && r.is(&repo));
        for (name, (value, line)) in said.values.iter().chain(of_repo.flat_map(|r| r.values.iter())) {
            let tighter = match (*name, value, values.get(name)) {
                ("gate.max_autonomy_level", Said::Text(new), Some(Said::Text(old))) => new < old,
                ("approvals.max_scope", Said::Text(new), Some(Said::Text(old))) => {
                    Scope::width(new) < Scope::width(old)
                }
                ("memory.enabled", Said::Bool(new), Some(Said::Bool(old))) => *old && !*new,
                _ => true,
            };
            if let ("paths.blocked" | "paths.protected" | "memory.sensitive", Said::List(paths)) =
                (*name, value)
            {
                lists.entry(name).or_default().extend(paths.iter().cloned());
            }
            if tighter {
                values.insert(name, value.clone());
                let origin = Origin {
                    value: value.to_string(),
                    layer: *layer,
                    file: Some(file.clone()),
                    line: Some(*line),
                };
                origins.insert(name, origin);
            }
        }
    }
    let text = |name: &str| match values.get(name) {
        Some(Said::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let int = |name: &str| match values.get(name) {
        Some(Said::Int(n)) => Some(*n),
        _ => None,
    };
    let list = |name: &str| match values.get(name) {
        Some(Said::List(items)) => items.clone(),
        _ => Vec::new(),
    };
    let mut warnings = Vec::new();
    let home = places.home.to_str();
    let mut rules = RuleSettings::defaults(project.root_text(), &places.own(), home);
    let d = rules.clone();
    // A mode that is not readable never gets here: the file does not load. The missing key means enforce.
    rules.mode = text("gate.mode").and_then(Mode::parse).unwrap_or(Mode::Enforce);
    let ceiling = text("gate.max_autonomy_level").and_then(Level::parse).unwrap_or(Level::L2);
    rules.level = text("gate.autonomy_level").and_then(Level::parse).unwrap_or(d.level);
    if rules.level > ceiling {
        warnings.push(format!(
            "level_clamped: gate.autonomy_level {} is above gate.max_autonomy_level {}",
            rules.level.as_str(),
            ceiling.as_str()
        ));
        rules.level = ceiling;
    }
    let ask = |name: &str, default| match text(name) {
        Some("deny") => AskOrDeny::Deny,
        Some("ask") => AskOrDeny::Ask,
        _ => default,
    };
    rules.on_exceed = ask("gate.on_exceed", d.on_exceed);
    rules.opaque_command = ask("gate.opaque_command", d.opaque_command);
    rules.injection.block = text("cleanse.injection") != Some("warn");
    rules.injection.suspicious_blocks_writes =
        matches!(values.get("cleanse.suspicious_blocks_writes"), Some(Said::Bool(true)));
    // Of every layer: nobody takes away what another one keeps secret.
    let patterns: Vec<_> = layers.iter().flat_map(|(_, _, file)| file.patterns.iter().cloned()).collect();
    match Catalogue::with(&patterns) {
        Ok(catalogue) => rules.catalogue = catalogue,
        // Each was checked when its file was read; only too many of them are left.
        Err(e) => warnings.push(format!("cleanse.patterns: {e}; none of them is in force")),
    }
    rules.result_bytes =
        int("cleanse.result_bytes").and_then(|n| usize::try_from(n).ok()).unwrap_or(d.result_bytes);
    rules.judge_budget_ms = int("gate.judge_budget_ms").map_or(d.judge_budget_ms, i64::unsigned_abs);
    if let Some(paths) = lists.get("paths.blocked") {
        rules.blocked = paths.iter().filter_map(|p| pattern(p)).collect();
    }
    let kept = lists.get("paths.protected").cloned();
    let kept = kept.unwrap_or_else(|| DEFAULT_PROTECTED.iter().map(|p| (*p).to_owned()).collect());
    let relaxed = list("paths.protected_relax");
    for name in relaxed.iter().filter(|name| !kept.contains(name)) {
        warnings.push(format!(
            "paths.protected_relax names `{name}`, which is not on paths.protected: what belongs to countersign and the clients' settings stay protected"
        ));
    }
    let kept: Vec<String> = kept.into_iter().filter(|name| !relaxed.contains(name)).collect();
    rules.protected = protected(&kept, project.root_text(), home);
    rules.ground.tiers = layers.iter().flat_map(|(_, _, file)| file.tiers.iter().cloned()).collect();
    rules.ground.tools = layers.iter().flat_map(|(_, _, file)| file.tools.iter().cloned()).collect();
    rules.ground.sensitive = lists.get("memory.sensitive").cloned().unwrap_or_default();
    rules.memory = !matches!(values.get("memory.enabled"), Some(Said::Bool(false)));
    rules.disabled = list("rules.disable");
    rules.scope_match =
        if text("rules.scope_match") == Some("any") { ScopeMatch::Any } else { ScopeMatch::All };
    rules.repo = repo.clone();
    rules.timeout_s = int("approvals.timeout_s").unwrap_or(d.timeout_s);
    let small = |name: &str, default: u32| int(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    rules.cap = small("approvals.cap", d.cap);
    rules.per_minute = small("approvals.per_minute", d.per_minute);
    rules.max_scope = text("approvals.max_scope").map_or(d.max_scope, str::to_owned);
    rules.wait = text("approvals.wait").and_then(Wait::parse).unwrap_or(d.wait);
    rules.park_s = int("approvals.park_s").unwrap_or(d.park_s);
    rules.grant_ttl_s = int("approvals.grant_ttl_s").unwrap_or(d.grant_ttl_s);
    rules.refusal_memory_s = int("approvals.refusal_memory_s").unwrap_or(d.refusal_memory_s);
    rules.calls_per_minute = small("limits.calls_per_minute", d.calls_per_minute);
    rules.max_concurrent_calls = small("limits.max_concurrent_calls", d.max_concurrent_calls);
    let size =
        |name: &str, default: usize| int(name).and_then(|n| usize::try_from(n).ok()).unwrap_or(default);
    rules.arguments = Bounds {
        max_bytes: size("limits.argument_bytes", d.arguments.max_bytes),
        max_depth: size("limits.argument_depth", d.arguments.max_depth),
        max_nodes: size("limits.argument_nodes", d.arguments.max_nodes),
    };
    let allow: Vec<AllowEntry> = layers.iter().flat_map(|(_, _, file)| file.allow.iter().cloned()).collect();
    rules.allow = allow.iter().filter(|a| a.is_for(&project.id)).filter_map(standing).collect();
    let deny: Vec<AllowEntry> = layers.iter().flat_map(|(_, _, file)| file.deny.iter().cloned()).collect();
    rules.deny = deny.iter().filter(|d| d.is_for(&project.id)).filter_map(denial).collect();
    rules.project = project.id.clone();
    let policy = layers
        .iter()
        .flat_map(|(_, _, file)| file.repos.iter())
        .filter(|r| r.is(&repo))
        .flat_map(|r| r.policy.iter().cloned())
        .collect();
    let (mail, mail_fault) = match mail::of(&values) {
        Ok(Some((checked, sending))) => {
            rules.mail = Some(checked);
            (Some(sending), None)
        }
        Ok(None) => (None, None),
        Err(fault) => {
            warnings.push(format!("there is no mail: {fault}"));
            (None, Some(fault))
        }
    };
    let hook_timeout_s = int("hooks.timeout_s").unwrap_or(3_630);
    Settings {
        rules,
        capture: if text("audit.capture") == Some("digest") { Capture::Digest } else { Capture::Redacted },
        hook_timeout_s,
        hook_hold_s: int("hooks.hold_s").map(|h| h.min(hook_timeout_s - 10).max(0)),
        mcp_progress_s: int("mcp.progress_s").map_or(10, i64::unsigned_abs),
        mcp_protocol_errors: text("mcp.refusal") == Some("protocol_error"),
        busy_ms: int("store.busy_ms").map_or(5_000, i64::unsigned_abs),
        origins,
        warnings,
        allow,
        deny,
        policy,
        vault: VaultSettings {
            key: text("vault.key").unwrap_or("keychain").to_owned(),
            key_file: text("vault.key_file").map(Into::into),
            per_minute: small("vault.per_minute", 60),
            quarantine_after: small("vault.quarantine_after", 3),
            ca_file: text("vault.ca_file").map(Into::into),
        },
        mail,
        mail_fault,
        gateway: GatewaySettings {
            enabled: matches!(values.get("secrets_gateway.enabled"), Some(Said::Bool(true))),
            listen: text("secrets_gateway.listen").map(str::to_owned),
            names: match values.get("secrets_gateway.names") {
                Some(Said::List(names)) => names.clone(),
                _ => secrets_gateway::NAMES.iter().map(|name| (*name).to_owned()).collect(),
            },
            per_minute: small("secrets_gateway.per_minute", 60),
        },
    }
}

fn pattern(said: &str) -> Option<PathPattern> {
    let (path, mode) = said.split_once('\t').unwrap_or((said, "both"));
    PathPattern::new(path, BlockMode::parse(mode)?)
}

fn standing(entry: &AllowEntry) -> Option<StandingAllow> {
    let scope = Scope::parse_standing(&entry.kind, &entry.value).ok()?;
    // An end that cannot be read was refused when the file was; an entry never outlives its end by accident.
    let until = match &entry.until {
        Some(text) => Some(Timestamp::parse(text)?),
        None => None,
    };
    Some(StandingAllow { scope, principal: entry.principal.clone(), until })
}

fn denial(entry: &AllowEntry) -> Option<StandingDeny> {
    let what = Denial::parse(&entry.kind, &entry.value).ok()?;
    // A denial whose end cannot be read has none.
    let until = entry.until.as_deref().and_then(Timestamp::parse);
    Some(StandingDeny { what, principal: entry.principal.clone(), until })
}

/// What configuration says of the vault; the user's and the organization's files alone say it.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// `keychain`, `file`, `passphrase` or `external`: where the key of a new vault is kept.
    pub key: String,
    /// The key's file, when it is not the usual one.
    pub key_file: Option<PathBuf>,
    /// Most uses of a secret by one principal in 60 s.
    pub per_minute: u32,
    /// Answers with the secret in 10 minutes that quarantine it.
    pub quarantine_after: u32,
    /// Certificates that are trusted beside the well-known ones.
    pub ca_file: Option<PathBuf>,
}

/// What configuration says of the secrets gateway; the user's and the organization's files alone say it.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Whether there is one.
    pub enabled: bool,
    /// A loopback address and port; none means a socket.
    pub listen: Option<String>,
    /// Secrets that are handed out.
    pub names: Vec<String>,
    /// Most reads of one token in 60 s.
    pub per_minute: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(organization: &str, user: &str, project: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        let at = Project::at(folder.path()).unwrap();
        let file = |name: &str, text: &str| (!text.is_empty()).then(|| (name.to_owned(), text.to_owned()));
        let files = Files {
            organization: file("org", organization),
            user: file("user", &user.replace("THIS", &at.id)),
            project: file("project", project),
        };
        files.mean(&places, &at, true).unwrap()
    }

    /// GINV-9.
    #[test]
    fn later_layers_win_and_ceilings_only_tighten() {
        let s = settings(
            "gate.max_autonomy_level = \"L1\"\npaths.blocked = [\"a\"]",
            "approvals.timeout_s = 60",
            "version = 1\ngate.autonomy_level = \"L3\"\ngate.max_autonomy_level = \"L3\"\napprovals.timeout_s = 90\npaths.blocked = [\"b\"]",
        );
        assert_eq!((s.rules.level, s.rules.timeout_s), (Level::L1, 90));
        assert_eq!(s.rules.blocked.iter().map(|p| p.text()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(s.warnings[0].starts_with("level_clamped"));
        let origin = &s.origins["approvals.timeout_s"];
        assert_eq!((origin.layer, origin.line), (LayerName::Project, Some(4)));
        assert_eq!(s.origins["gate.max_autonomy_level"].layer, LayerName::Organization);
    }

    /// MINV-24: whoever switches the notes off, nobody below switches them on.
    #[test]
    fn notes_are_only_ever_closed() {
        let s = settings("", "memory.sensitive = [\"diary\"]", "version = 1\nmemory.sensitive = [\"work\"]");
        assert_eq!((s.rules.memory, s.rules.ground.sensitive), (true, vec!["diary".into(), "work".into()]));
        let s =
            settings("memory.enabled = false", "memory.enabled = true", "version = 1\nmemory.enabled = true");
        assert!(!s.rules.memory);
        assert!(!settings("", "", "version = 1\nmemory.enabled = false").rules.memory);
    }

    #[test]
    fn patterns_of_all_layers_are_in_force() {
        let one =
            |name: &str| format!("[[cleanse.patterns]]\nname = \"{name}\"\nregex = '{name}_[0-9]{{4}}'");
        let s = settings(
            "",
            &one("acme"),
            &format!("version = 1\ncleanse.injection = \"warn\"\n{}", one("corp")),
        );
        let clean = s.rules.catalogue.text("acme_1234 corp_5678 other_1234");
        assert_eq!(clean.as_str(), "[REDACTED-ACME] [REDACTED-CORP] other_1234");
        assert!(!s.rules.injection.block && !s.rules.injection.suspicious_blocks_writes);
    }

    #[test]
    fn missing_mode_enforces() {
        assert_eq!(settings("", "", "version = 1").rules.mode, Mode::Enforce);
        assert_eq!(settings("", "", "version = 1\ngate.mode = \"watch\"").rules.mode, Mode::Watch);
    }

    #[test]
    fn standing_allows_are_for_their_project() {
        let s = settings(
            "",
            "[[allow]]\nproject = \"THIS\"\ntool = \"Bash\"\n[[allow]]\nproject = \"other\"\ntool = \"Write\"",
            "",
        );
        assert_eq!(s.rules.allow.len(), 1);
        assert_eq!(s.allow.len(), 2);
    }

    /// What an operator says of one repository holds for that one, and only an operator says it.
    #[test]
    fn repositories_have_settings_of_their_own() {
        let user = "approvals.cap = 40\n[[repo]]\nname = \"Ana/shop\"\nrules.disable = [\"force_push_any\"]\napprovals.cap = 20\nrules.soft = \"\"\"\n@rule_id(\"r\") @tier(\"soft\") @severity(\"low\") forbid (principal, action, resource);\n\"\"\"\n[[repo]]\nname = \"ana/other\"\napprovals.cap = 10\n";
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        let read = |user: &str, project: &str| {
            let places = Places::below(folder.path());
            let at = Project::at(folder.path()).unwrap();
            let file = |name: &str, text: &str| Some((name.to_owned(), text.to_owned()));
            Files { organization: None, user: file("user", user), project: file("project", project) }
                .mean(&places, &at, true)
        };
        let elsewhere = read(user, "version = 1").unwrap();
        assert_eq!((elsewhere.rules.cap, elsewhere.policy.len()), (40, 0));
        std::fs::write(
            folder.path().join(".git/config"),
            "[remote \"origin\"]\n\turl = git@example.org:ana/shop.git\n",
        )
        .unwrap();
        let here = read(user, "version = 1").unwrap();
        assert_eq!((here.rules.cap, here.policy.len()), (20, 1));
        assert_eq!(here.rules.disabled, ["force_push_any"]);
        assert_eq!(here.origins["approvals.cap"].layer, LayerName::User);
        let told = |user: &str, project: &str| {
            read(user, project).unwrap_err().iter().map(|p| p.to_string()).collect::<Vec<_>>()
        };
        assert!(told("", &format!("version = 1\n{user}"))[0].contains("user's file only"));
        for (entry, what) in [
            ("name = \"shop\"", "owner/name"),
            ("name = \"a/b\"\ngate.mode = \"watch\"", "cannot be set for one repository"),
            ("name = \"a/b\"\napprovals.cap = 501", "outside 1 to 500"),
            ("name = \"a/b\"\nrules.hard = 5", "no text"),
            ("name = \"a/b\"\nrules.what = 5", "unknown key `rules.what`"),
            ("name = \"a/b\"\n[[repo]]\nname = \"A/b\"", "already"),
        ] {
            let said = told(&format!("[[repo]]\n{entry}"), "version = 1");
            assert!(said.iter().any(|s| s.contains(what)), "{entry}: {said:?}");
        }
    }

    #[test]
    fn tiers_and_bound_tools_are_read_strictly() {
        let s = settings(
            "",
            "",
            "version = 1\n[tiers]\n\"mcp__gh__*\" = { tier = \"destructive\", because = \"it is the store\" }\n[tools.\"mcp__box__run\"]\naction = \"execute_bash\"\nfield = \"line\"\n",
        );
        assert_eq!(s.rules.ground.tiers[0].because, "it is the store");
        assert_eq!(s.rules.ground.tools[0].field, "line");
        for (text, what) in [
            ("[tiers]\na = { tier = \"write\" }", "needs the texts"),
            ("[tiers]\na = { tier = \"odd\", because = \"x\" }", "possible are read"),
            ("[tiers]\n\"*\" = { tier = \"read\", because = \"x\" }", "every tool"),
            ("[tiers]\na = { tier = \"read\", because = \"x\", why = \"y\" }", "unknown key"),
            ("tiers = 5", "no table"),
            ("[tools]\na = { action = \"fly\", field = \"x\" }", "possible are write_file"),
        ] {
            let found = said::read("c", &format!("version = 1\n{text}"), LayerName::Project).unwrap_err();
            assert!(found[0].what.contains(what), "{text}: {}", found[0].what);
        }
    }

    #[test]
    fn protected_paths_can_be_relaxed_but_ours_cannot() {
        let names = |s: &Settings| s.rules.protected.iter().map(|p| p.text().to_owned()).collect::<Vec<_>>();
        assert!(names(&settings("", "", "version = 1")).contains(&".husky/".to_owned()));
        let s =
            settings("", "", "version = 1\npaths.protected_relax = [\".husky/\", \".claude/settings.json\"]");
        assert!(!names(&s).iter().any(|n| n.contains("husky")));
        assert!(s.warnings[0].contains("`.claude/settings.json`"));
        assert!(s.rules.own.iter().any(|p| p.text() == ".claude/settings.json"));
    }

    /// Every default of the table is what the code means by it.
    #[test]
    fn the_table_of_defaults_is_true() {
        let all: String = keys::KEYS
            .iter()
            .filter(|k| !k.default.is_empty() && !k.user_only)
            .map(|k| format!("{} = {}\n", k.name, k.default))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let means = |text: &str| {
            let places = Places::below(folder.path());
            let at = Project::at(folder.path()).unwrap();
            let project = Some(("project".to_owned(), text.to_owned()));
            let files = Files { organization: None, user: None, project };
            let settings = files.mean(&places, &at, true).unwrap();
            // Where a value came from is what differs.
            format!("{:?}", Settings { origins: BTreeMap::new(), ..settings })
        };
        assert_eq!(means(&all), means("version = 1"));
    }
}
