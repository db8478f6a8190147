//! Whether Codex and Gemini CLI run our hooks at all: both want a person's trust first, and say little without it.
//!
//! Codex 0.169.0 keeps that trust in its user's `config.toml`: the project's level, and for each hook a digest of what it
//! starts. A hook without it, or with another digest, is left out without a word. The digest was compared with what
//! `codex app-server` tells of the same hooks. Gemini CLI 0.61.0 trusts folders; in one that it does not trust, it ignores
//! the project's settings.

use super::super::Context;
use super::Report;
use crate::install::clients::{CODEX, GEMINI};
use crate::install::settings::{self, Found};
use crate::project::Project;
use countersign_core::json::{Bounds, Json};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// Codex: the project, each hook, and the switch for all.
pub(super) fn codex(cx: &Context, project: &Project, found: &[(String, Found)], report: &mut Report) {
    if found.is_empty() {
        return;
    }
    let folder = match std::env::var_os("CODEX_HOME") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => cx.places.home.join(CODEX.home),
    };
    let path = folder.join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let config: toml::Table = match text.parse() {
        Ok(config) => config,
        Err(_) => {
            return report.fail(
                "trust",
                format!("{} cannot be read, so it is not known whether any hook runs", path.display()),
                format!("repair {}", path.display()),
            );
        }
    };
    let root = project.root_text();
    if at(&config, &["projects", root, "trust_level"]).and_then(toml::Value::as_str) == Some("trusted") {
        report.ok("trust", "the project is trusted");
    } else {
        report.fail(
            "trust",
            "the project is not trusted, so no hook of it runs and no call is decided",
            format!("start codex in {root} and answer that you trust the folder"),
        );
    }
    let off = at(&config, &["features", "hooks"]).or_else(|| at(&config, &["features", "codex_hooks"]));
    if off.and_then(toml::Value::as_bool) == Some(false) {
        let fix = format!("take features.hooks out of {}", path.display());
        report.fail("settings", format!("{} switches all hooks off", path.display()), fix);
    }
    let mut missing = Vec::new();
    for (file, hook) in found {
        let key = format!("{file}:{}:{}:{}", label(&hook.event), hook.at.0, hook.at.1);
        let said = at(&config, &["hooks", "state", &key]);
        let said = said.and_then(toml::Value::as_table);
        if said.and_then(|s| s.get("enabled")).and_then(toml::Value::as_bool) == Some(false) {
            missing.push(format!("{} is switched off", hook.event));
            continue;
        }
        match said.and_then(|s| s.get("trusted_hash")).and_then(toml::Value::as_str) {
            Some(hash) if hash == digest(hook) => {}
            Some(_) => missing.push(format!("{} was changed since", hook.event)),
            None => missing.push(format!("{} is not trusted", hook.event)),
        }
    }
    if missing.is_empty() {
        report.ok("trust", "every hook is trusted as it is registered");
    } else {
        report.fail(
            "trust",
            format!("{}; Codex leaves such hooks out without a word", missing.join(", ")),
            format!("start codex in {root}, type /hooks and trust the hooks of {}", CODEX.shared),
        );
    }
    report.info(
        "not asked",
        "no hook is asked about what is typed into a program that runs already (write_stdin), nor about searches of the web",
    );
}

fn at<'a>(config: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Value> {
    let (first, rest) = path.split_first()?;
    let value = config.get(*first)?;
    if rest.is_empty() { Some(value) } else { at(value.as_table()?, rest) }
}

/// `PreToolUse` as Codex writes it in a key.
fn label(event: &str) -> String {
    let mut out = String::new();
    for c in event.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// What Codex takes the digest of: the event, the matcher, and the hook with its defaults filled in.
fn digest(hook: &Found) -> String {
    let entry = &hook.entry;
    let mut handler = Json::object([
        ("async", entry.get("async").cloned().unwrap_or(Json::Bool(false))),
        ("command", Json::str(entry.text("command").unwrap_or_default())),
        ("timeout", entry.get("timeout").cloned().unwrap_or(Json::int(CODEX.default_timeout))),
        ("type", Json::str("command")),
    ]);
    if let Some(status) = entry.text("statusMessage") {
        handler.set("statusMessage", Json::str(status));
    }
    let mut whole =
        Json::object([("event_name", Json::str(label(&hook.event))), ("hooks", Json::Array(vec![handler]))]);
    // Events that are about no tool have no use for one.
    if let Some(matcher) =
        hook.matcher.as_ref().filter(|_| CODEX.slot(&hook.event).is_some_and(|s| s.about_tools))
    {
        whole.set("matcher", Json::str(matcher));
    }
    let hash = Sha256::digest(whole.canonical().as_bytes());
    let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// Gemini CLI: the switches, and the folder.
pub(super) fn gemini(cx: &Context, project: &Project, found: &[(String, Found)], report: &mut Report) {
    if found.is_empty() {
        return;
    }
    let user = cx.places.home.join(GEMINI.shared);
    let mut asks_for_trust = true;
    for file in [project.root.join(GEMINI.shared), user.clone()] {
        let Some(json) = std::fs::read(&file).ok().and_then(|b| settings::read(&b).ok()) else { continue };
        let name = file.display();
        let config = json.get("hooksConfig");
        if config.and_then(|c| c.get("enabled")).is_some_and(|v| *v != Json::Bool(true)) {
            report.fail(
                "settings",
                format!("{name} says hooksConfig.enabled is not true: no hook runs, nothing is decided"),
                format!("set hooksConfig.enabled to true in {name}"),
            );
        }
        let disabled = config.and_then(|c| c.get("disabled")).and_then(Json::as_array).unwrap_or_default();
        for hook in found.iter().map(|(_, f)| f) {
            let names = [hook.entry.text("name"), hook.entry.text("command")];
            if disabled.iter().filter_map(Json::as_str).any(|d| names.contains(&Some(d))) {
                report.fail(
                    "settings",
                    format!("{name} switches our hook for {} off", hook.event),
                    format!("take it out of hooksConfig.disabled in {name}"),
                );
            }
        }
        let trust = json.get("security").and_then(|s| s.get("folderTrust")).and_then(|t| t.get("enabled"));
        if file == user && trust == Some(&Json::Bool(false)) {
            asks_for_trust = false;
        }
    }
    let path = cx.places.home.join(".gemini/trustedFolders.json");
    match folder_trust(&path, &project.root) {
        _ if !asks_for_trust => report.ok("trust", "every folder is trusted, by the user's settings"),
        Some(true) => report.ok("trust", "the folder is trusted"),
        Some(false) => report.fail(
            "trust",
            format!("{} says that the folder is not trusted: its settings are ignored, our hooks with them", path.display()),
            format!("start gemini in {}, type /permissions and trust the folder", project.root_text()),
        ),
        None => report.warn(
            "trust",
            "the folder is not trusted yet: until you say so when Gemini CLI asks, it ignores the folder's settings, our hooks with them",
            format!("start gemini in {}", project.root_text()),
        ),
    }
}

/// What the user said of a folder, or of one above it; the nearest word counts.
fn folder_trust(path: &Path, root: &Path) -> Option<bool> {
    let json = Json::parse(&std::fs::read(path).ok()?, Bounds::default()).ok()?;
    let said = json.as_object()?;
    let rule = |folder: &Path| {
        said.iter().find_map(|(key, value)| {
            let named = Path::new(key);
            match value.as_str()? {
                "TRUST_FOLDER" => (named == folder).then_some(true),
                // Trusts what lies beside it as well.
                "TRUST_PARENT" => (named.parent() == Some(folder) || named == folder).then_some(true),
                "DO_NOT_TRUST" => (named == folder).then_some(false),
                _ => None,
            }
        })
    };
    root.ancestors().find_map(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with what `codex app-server` of 0.169.0 answers to `hooks/list` for this very file.
    #[test]
    fn codex_s_digest() {
        let text = r#"{"hooks":{"PreToolUse":[{"matcher":"*","hooks":[{"type":"command","command":"/tmp/x hook codex pre","timeout":3630,"statusMessage":"deciding"}]}],"Stop":[{"hooks":[{"type":"command","command":"/tmp/x hook codex stop"}]}]}}"#;
        let found = settings::find(&CODEX, &settings::read(text.as_bytes()).unwrap());
        assert_eq!(found.len(), 2);
        assert_eq!((label(&found[0].event).as_str(), found[0].at), ("pre_tool_use", (0, 0)));
        assert_eq!(
            digest(&found[0]),
            "sha256:ef154a8be462cea909aa233aedfddc91f485c82f9cd57908797e5c5bfa75d02c"
        );
        assert_eq!(
            digest(&found[1]),
            "sha256:2dcc9ccdc4a94a6511d4be53432483faffcee7142e499804692fdc687cc4ae87"
        );
        assert_eq!(label("PermissionRequest"), "permission_request");
    }

    #[test]
    fn the_nearest_word_on_a_folder_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trustedFolders.json");
        let trust = |text: &str| {
            std::fs::write(&path, text).unwrap();
            folder_trust(&path, Path::new("/home/ana/shop"))
        };
        assert_eq!(trust("{}"), None);
        assert_eq!(trust(r#"{"/home/ana/shop":"TRUST_FOLDER"}"#), Some(true));
        assert_eq!(trust(r#"{"/home/ana":"TRUST_FOLDER"}"#), Some(true));
        assert_eq!(trust(r#"{"/home/ana":"TRUST_FOLDER","/home/ana/shop":"DO_NOT_TRUST"}"#), Some(false));
        assert_eq!(trust(r#"{"/home/ana/other":"TRUST_PARENT"}"#), Some(true));
        assert_eq!(trust(r#"{"/home/ana/other":"TRUST_FOLDER"}"#), None);
        assert_eq!(trust("nonsense"), None);
    }
}
