//! The import arrows of ARCHITECTURE.md, read from every `Cargo.toml` of the workspace.
//!
//! What a crate cannot import it cannot bypass, so these lists are the security argument in its shortest form. Here
//! are the arrows between our crates and the libraries that only one room may have; what a *source file* may name is
//! in `bans`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::finding::Finding;

/// Which of our crates each crate may import. A crate that is missing here may import none, and is told so.
const ARROWS: &[(&str, &[&str])] = &[
    ("countersign-core", &[]),
    ("countersign-gate", &["countersign-core"]),
    ("countersign-store", &["countersign-core", "countersign-gate"]),
    ("countersign-outbound", &["countersign-core", "countersign-gate"]),
    ("countersign-inbound", &["countersign-core", "countersign-gate"]),
    ("countersign-testkit", &["countersign-core", "countersign-gate"]),
    (
        "countersign",
        &[
            "countersign-core",
            "countersign-gate",
            "countersign-store",
            "countersign-outbound",
            "countersign-inbound",
        ],
    ),
    ("xtask", &[]),
];

/// What tests import beyond the arrows and the testkit. The gate's promises are about what is left behind when the
/// store fails, so its tests stand on the real one; cargo allows the circle because only the tests close it. A hand that
/// opens secrets is tested with the permits of a real gate.
const TEST_ARROWS: &[(&str, &str)] =
    &[("countersign-gate", "countersign-store"), ("countersign-outbound", "countersign-store")];

/// Everything core may have from outside. A list of what is allowed, because what core must not have (clocks,
/// sockets, chance, runtimes) has no end.
const CORE_MAY_HAVE: &[&str] = &[
    "aho-corasick",
    "argon2",
    // The two shell readers, by entry points that keep nothing.
    "brush-parser",
    "cedar-policy",
    "chacha20poly1305",
    // To look behind a compression; only the readers over bytes.
    "flate2",
    "hkdf",
    "hmac",
    "ipnet",
    "jiff",
    "memchr",
    "miette",
    "psl",
    "regex",
    "regex-syntax",
    "serde",
    "serde_json",
    "sha2",
    "subtle",
    "thiserror",
    "tree-sitter",
    "tree-sitter-bash",
    "unicode-normalization",
    "url",
    "zeroize",
];

/// Features of jiff that bring no clock and no time zone of the machine.
const JIFF_MAY_HAVE: &[&str] = &["alloc", "std", "serde"];

/// Libraries that the gate must not have: it reaches the world through the seams only.
const GATE_MUST_NOT_HAVE: &[&str] =
    &["axum", "getrandom", "hyper", "rand", "reqwest", "rusqlite", "rustix", "sqlx", "tempfile"];

/// Libraries that belong to one room.
const ONLY_IN: &[(&str, &str)] = &[
    ("sqlx", "countersign-store"),
    ("cedar-policy", "countersign-core"),
    ("brush-parser", "countersign-core"),
    ("tree-sitter", "countersign-core"),
    ("tree-sitter-bash", "countersign-core"),
];

/// Libraries that no crate of ours takes itself, though others may bring them.
const NOWHERE: &[(&str, &str)] = &[("chrono", "Dates and times are jiff's in this house.")];

const DRAW: &str = "Take the import out; if the drawing itself is to change, change ARCHITECTURE.md and xtask/src/arrows.rs together.";

/// Reads every manifest below `root`.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut manifests = vec![PathBuf::from("Cargo.toml"), PathBuf::from("xtask/Cargo.toml")];
    for entry in fs::read_dir(root.join("crates")).context("reading the folder `crates`")? {
        let manifest = Path::new("crates").join(entry?.file_name()).join("Cargo.toml");
        if root.join(&manifest).is_file() {
            manifests.push(manifest);
        }
    }
    manifests.sort();
    let mut findings = Vec::new();
    for manifest in manifests {
        let text = fs::read_to_string(root.join(&manifest))
            .with_context(|| format!("reading {}", manifest.display()))?;
        findings.extend(check_manifest(&manifest, &text)?);
    }
    Ok(findings)
}

fn check_manifest(file: &Path, text: &str) -> Result<Vec<Finding>> {
    let manifest: Table = text.parse().with_context(|| format!("parsing {}", file.display()))?;
    let mut findings = Vec::new();
    let Some(name) = manifest.get("package").and_then(|p| p.get("name")).and_then(Value::as_str) else {
        // The virtual manifest has no package; what it says of jiff holds for every crate that takes it from there.
        let shared = manifest.get("workspace").and_then(|w| w.get("dependencies"));
        if let Some(jiff) = shared.and_then(|shared| shared.get("jiff")) {
            check_jiff(file, text, jiff, true, &mut findings);
        }
        return Ok(findings);
    };
    let arrows = ARROWS.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
    if arrows.is_none() {
        findings.push(Finding::new(file, 1, format!("`{name}` is in no arrow of the drawing"), DRAW));
    }
    let arrows = arrows.unwrap_or_default();

    for Dependency { name: dep, key, table, dev } in dependencies(&manifest) {
        let line = line_of(text, key);
        let mut find = |what: String, remedy| findings.push(Finding::new(file, line, what, remedy));
        if dep == "countersign" || dep.starts_with("countersign-") {
            let test = dep == "countersign-testkit" || TEST_ARROWS.contains(&(name, dep));
            let fits = arrows.contains(&dep) || (dev && test);
            if !fits && dep == "countersign-testkit" && !dev {
                find(
                    format!("`{name}` imports `{dep}` outside its tests"),
                    "The testkit is for tests: move it to [dev-dependencies].",
                );
            } else if !fits {
                find(format!("`{name}` imports `{dep}`: no such arrow"), DRAW);
            }
            continue;
        }
        if let Some((_, home)) = ONLY_IN.iter().find(|(library, _)| *library == dep)
            && *home != name
        {
            find(format!("`{name}` imports `{dep}`, which belongs in `{home}` alone"), DRAW);
        }
        if let Some((_, remedy)) = NOWHERE.iter().find(|(library, _)| *library == dep) {
            find(format!("`{name}` imports `{dep}`"), remedy);
        }
        if name == "countersign-core" && !dev {
            if !CORE_MAY_HAVE.contains(&dep) {
                find(
                    format!("`countersign-core` imports `{dep}`, which is not on its list"),
                    "Core decides without looking at the world. If the library has no clock, chance, IO or runtime, \
                     add it to CORE_MAY_HAVE in xtask/src/arrows.rs; else do the work in another room.",
                );
            }
            if dep == "jiff" {
                check_jiff(file, text, table, false, &mut findings);
            }
        } else if name == "countersign-gate" && !dev && GATE_MUST_NOT_HAVE.contains(&dep) {
            find(
                format!("`countersign-gate` imports `{dep}`"),
                "The gate reaches the world through its six seams: implement the seam in another room.",
            );
        }
    }
    Ok(findings)
}

/// jiff's default features read the machine's clock and time zone; core must not be able to.
fn check_jiff(file: &Path, text: &str, spec: &Value, is_shared: bool, findings: &mut Vec<Finding>) {
    let defaults_off = spec.get("default-features").and_then(Value::as_bool) == Some(false);
    // A crate that takes the workspace's entry inherits `default-features = false` from there.
    let inherits = spec.get("workspace").and_then(Value::as_bool) == Some(true) && !is_shared;
    let features = spec.get("features").and_then(Value::as_array).cloned().unwrap_or_default();
    let extra: Vec<&str> =
        features.iter().filter_map(Value::as_str).filter(|f| !JIFF_MAY_HAVE.contains(f)).collect();
    if (!defaults_off && !inherits) || !extra.is_empty() {
        findings.push(Finding::new(
            file,
            line_of(text, "jiff"),
            "jiff is taken with the machine's clock or time zones",
            "Write `default-features = false` and no feature beyond alloc, std and serde.",
        ));
    }
}

struct Dependency<'a> {
    /// The package's own name, also where the manifest renames it.
    name: &'a str,
    key: &'a str,
    table: &'a Value,
    dev: bool,
}

/// Every dependency of a manifest: normal, build and dev ones, and those under `[target.…]`.
fn dependencies(manifest: &Table) -> Vec<Dependency<'_>> {
    let mut tables = vec![manifest];
    if let Some(Value::Table(targets)) = manifest.get("target") {
        tables.extend(targets.values().filter_map(Value::as_table));
    }
    let mut found = Vec::new();
    for table in tables {
        for (kind, dev) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            let Some(Value::Table(entries)) = table.get(kind) else { continue };
            found.extend(entries.iter().map(|(key, table)| Dependency {
                name: table.get("package").and_then(Value::as_str).unwrap_or(key),
                key,
                table,
                dev,
            }));
        }
    }
    found
}

/// The line that names `key`, for the reader's eye; the first line if it is written in some unusual way.
fn line_of(text: &str, key: &str) -> usize {
    let begins = |line: &str| {
        let line = line.trim_start();
        let rest = line.strip_prefix(key);
        rest.is_some_and(|rest| rest.starts_with([' ', '.', '=']))
            || (line.starts_with('[') && line.contains(&format!(".{key}]")))
    };
    text.lines().position(begins).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, rest: &str) -> Vec<Finding> {
        let text = format!("[package]\nname = \"{name}\"\n{rest}");
        check_manifest(Path::new("Cargo.toml"), &text).unwrap()
    }

    #[test]
    fn the_drawing_itself_passes() {
        for (from, to) in ARROWS {
            let imports: String = to.iter().map(|to| format!("{to}.workspace = true\n")).collect();
            assert_eq!(found(from, &format!("[dependencies]\n{imports}")), []);
        }
    }

    #[test]
    fn every_arrow_that_is_not_drawn_is_found() {
        for (from, to) in ARROWS {
            for (other, _) in ARROWS.iter().filter(|(other, _)| other.starts_with("countersign")) {
                let findings = found(from, &format!("[dependencies]\n{other}.workspace = true\n"));
                assert_eq!(findings.is_empty(), to.contains(other), "{from} -> {other}: {findings:?}");
            }
        }
    }

    #[test]
    fn a_door_that_imports_the_store_is_told_the_line() {
        let findings = found(
            "countersign-inbound",
            "[dependencies]\nanyhow = \"1\"\ncountersign-store.workspace = true\n",
        );
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 5);
        assert!(findings[0].what.contains("no such arrow"), "{}", findings[0]);
    }

    #[test]
    fn the_testkit_is_for_tests() {
        assert_eq!(
            found("countersign-gate", "[dev-dependencies]\ncountersign-testkit.workspace = true\n"),
            []
        );
        let findings = found("countersign-gate", "[dependencies]\ncountersign-testkit.workspace = true\n");
        assert!(findings[0].remedy.contains("[dev-dependencies]"));
    }

    #[test]
    fn neither_a_new_name_nor_a_target_table_hides_an_import() {
        let renamed = "[dependencies]\ndb = { package = \"sqlx\", version = \"1\" }\n";
        assert!(found("countersign-inbound", renamed)[0].what.contains("`sqlx`"));
        let target = "[target.'cfg(unix)'.dependencies]\ncountersign-store = { path = \"x\" }\n";
        assert_eq!(found("countersign-outbound", target).len(), 1);
        let build = "[build-dependencies]\ntokio = \"1\"\n";
        assert_eq!(found("countersign-core", build).len(), 1);
    }

    #[test]
    fn core_has_only_what_is_on_its_list() {
        for library in ["tokio", "async-trait", "sqlx", "getrandom", "rustix"] {
            let findings = found("countersign-core", &format!("[dependencies]\n{library} = \"1\"\n"));
            assert!(!findings.is_empty(), "{library} went unseen");
        }
        assert_eq!(found("countersign-core", "[dev-dependencies]\nproptest = \"1\"\n"), []);
    }

    #[test]
    fn core_gets_no_clock_through_jiff() {
        assert_eq!(found("countersign-core", "[dependencies]\njiff.workspace = true\n"), []);
        assert_eq!(found("countersign-core", "[dependencies]\njiff = \"0.2\"\n").len(), 1);
        let zones = "[dependencies]\njiff = { workspace = true, features = [\"tz-system\"] }\n";
        assert_eq!(found("countersign-core", zones).len(), 1);
        let shared = "[workspace.dependencies]\njiff = { version = \"0.2\", features = [\"std\"] }\n";
        assert_eq!(check_manifest(Path::new("Cargo.toml"), shared).unwrap().len(), 1);
    }

    #[test]
    fn libraries_of_one_room_stay_there() {
        assert_eq!(found("countersign-store", "[dependencies]\nsqlx = \"0.9\"\n"), []);
        assert_eq!(found("countersign", "[dependencies]\nsqlx = \"0.9\"\n").len(), 1);
        assert_eq!(found("countersign-gate", "[dependencies]\ncedar-policy = \"4\"\n").len(), 1);
        assert_eq!(found("countersign-gate", "[dependencies]\nrustix = \"1\"\n").len(), 1);
        assert_eq!(found("countersign", "[dependencies]\nchrono = \"0.4\"\n").len(), 1);
    }

    #[test]
    fn a_crate_outside_the_drawing_is_found() {
        assert_eq!(found("countersign-plugins", "").len(), 1);
    }

    #[test]
    fn this_workspace_keeps_the_arrows() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(check(root).unwrap(), []);
    }
}
