//! Deletion that takes too much: roots, homes, disks, whole projects.

use super::super::programs::{Act, Role};
use super::super::{ShellFacts, Simple, UNKNOWN};
use super::{Line, bare_unknown};

/// Folders of a system, and the folders that hold them.
const SYSTEM: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/usr",
    "/var",
    "/Users",
    "/System",
    "/Library",
    "/Applications",
    "/private",
    "/Volumes",
    "/mnt",
    "/media",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/share",
    "/var/lib",
    "/var/log",
    "/etc/ssh",
    "/usr/local/bin",
    "/usr/sbin",
    "/var/www",
    "/nix",
    "/snap",
];
/// Folders in which a project's own work lies.
const WORK: &[&str] = &[
    "src",
    "lib",
    "app",
    "apps",
    "packages",
    "crates",
    "cmd",
    "internal",
    "pkg",
    "include",
    "tests",
    "test",
    "docs",
    "doc",
    "scripts",
    "components",
    "pages",
    "public",
    "static",
    "server",
    "client",
    "api",
    "web",
    "config",
    "migrations",
    "db",
    ".github",
    "spec",
    "assets",
    "source",
];

/// Whether a path is a system's folder, or everything in it.
pub(in super::super) fn system(path: &str) -> bool {
    let path = path.trim_end_matches('*');
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let homes = path.strip_prefix("/home/").or(path.strip_prefix("/Users/"));
    SYSTEM.contains(&path) || homes.is_some_and(|user| !user.is_empty() && !user.contains('/'))
}

/// The root, a home, a system's folder, or something that could be one of them.
fn above(text: &str) -> bool {
    let path = squeezed(text);
    matches!(path.as_str(), "/" | "/*" | "/." | "~" | "~/" | "~/*" | "~/." | "~/.*") || system(&path)
}

/// The folder a line is in, or those above it.
fn here(text: &str) -> bool {
    let path = squeezed(text);
    let path = path.trim_end_matches('/');
    matches!(path, "." | ".." | "*" | "./*" | "../*" | ".*" | "./.*" | "**" | "*.*" | "{*,.*}" | "./**")
        || (!path.is_empty()
            && path.split('/').all(|p| p == ".." || p == "." || p == "*")
            && path.contains(".."))
}

/// One slash for several, and no `/./`.
fn squeezed(text: &str) -> String {
    let mut out = text.to_owned();
    while out.contains("//") || out.contains("/./") {
        out = out.replace("//", "/").replace("/./", "/");
    }
    out
}

/// A device that holds a disk.
fn disk(path: &str) -> bool {
    const DISKS: &[&str] =
        &["sd", "hd", "vd", "xvd", "nvme", "mmcblk", "disk", "rdisk", "md", "dm-", "mapper/", "loop"];
    let path = squeezed(path);
    path.strip_prefix("/dev/").is_some_and(|name| DISKS.iter().any(|d| name.starts_with(d)))
}

fn recursive(act: &Act) -> bool {
    act.has(&["-r", "-R", "--recursive"])
}

pub(super) fn add(line: &Line<'_>, facts: &mut ShellFacts) {
    for (at, command, act) in line.each() {
        let name = act.name.as_str();
        let redirected = command.writes.iter().any(|w| disk(&w.text));
        let named = act
            .args
            .iter()
            .any(|a| matches!(a.role, Role::Write | Role::Into | Role::Take | Role::Any) && disk(&a.text));
        if redirected || (named && !name.starts_with("docker")) {
            facts.effects.insert("destroy_disk");
        }
        match name {
            "truncate" | "shred" if act.operands().any(|a| a.is_pattern()) => {
                facts.effects.insert("delete_found");
                removes(line, command, act, facts);
            }
            "rm" | "srm" | "trash" | "trash-put" | "shred" | "rimraf" => removes(line, command, act, facts),
            "mv" if away(act) => {
                facts.effects.insert("delete_project_folder");
            }
            "mv" if act.operands().any(|a| a.role == Role::Take && above(&a.text)) => {
                facts.effects.insert("destroy_system");
            }
            "chmod" | "chown" | "chgrp"
                if recursive(act) && act.operands().any(|a| a.role == Role::Take && above(&a.text)) =>
            {
                facts.effects.insert("destroy_system");
            }
            "find" => finds(line, at, act, facts),
            "rsync" if act.operands().any(|a| a.role == Role::Take && (above(&a.text) || here(&a.text))) => {
                facts.effects.insert("delete_found");
            }
            _ => {}
        }
    }
}

/// Whether a path is one of the folders of a project's work, or everything in it.
fn work(text: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." | "*" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    !text.starts_with(['/', '~']) && matches!(parts.as_slice(), [one] if WORK.contains(one))
}

/// A project's folder, or one of the home's, that is moved somewhere else.
fn away(act: &Act) -> bool {
    let outside = |t: &str| t.starts_with(['/', '~']);
    let target = act.args.iter().any(|a| a.role == Role::Into && outside(&a.text));
    let home =
        |t: &str| t.strip_prefix("~/").is_some_and(|rest| !rest.trim_end_matches('/').contains(['/', '.']));
    target && act.operands().any(|a| a.role == Role::Take && (work(&a.text) || home(&a.text)))
}

fn removes(line: &Line<'_>, command: &Simple, act: &Act, facts: &mut ShellFacts) {
    let deep = recursive(act) || act.name == "rimraf";
    if line.runner(command).is_some_and(only_derived) {
        return;
    }
    let lister = line
        .runner(command)
        .is_some_and(|c| matches!(c.program(), "find" | "xargs" | "fd" | "fdfind" | "parallel"));
    for arg in act.operands() {
        let text = arg.text.as_str();
        if arg.unknown && lister {
            facts.effects.insert("delete_found");
        } else if (deep && (above(text) || here(text) || (arg.unknown && bare_unknown(text))))
            || (text.ends_with('*') && above(text))
        {
            facts.effects.insert("destroy_system");
        } else if matches!(squeezed(text).as_str(), "*" | "./*" | "../*") {
            facts.effects.insert("delete_found");
        }
        if deep && work(text) {
            facts.effects.insert("delete_project_folder");
        }
        let spelled = squeezed(text);
        if deep && spelled.starts_with('/') && !scratch(&spelled) {
            facts.effects.insert("rm_absolute");
        }
    }
}

/// Something below a folder for temporary files, and nothing else: by its text, without a way up or a pattern.
fn scratch(path: &str) -> bool {
    let below = ["/tmp/", "/var/tmp/", "/private/tmp/"].iter().find_map(|top| path.strip_prefix(top));
    below.is_some_and(|rest| {
        let plain = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && !part.contains(['*', '?', '[', '\u{fffc}'])
        };
        rest.trim_end_matches('/').split('/').all(plain)
    })
}

/// Names that only files have which a build, a test or a merge makes again.
const DERIVED: &[&str] = &[
    "*.pyc",
    "*.pyo",
    "*.py[co]",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    "*.egg-info",
    "*.o",
    "*.obj",
    "*.class",
    "*.gcda",
    "*.gcno",
    "*.profraw",
    "*.tsbuildinfo",
    "*.orig",
    "*.rej",
    "*~",
    "*.swp",
    ".DS_Store",
];

/// Whether `find` takes away nothing but files with such names, below a folder of this one: no other test is joined by
/// "or", none is turned around, and the name stands before what removes.
pub(in super::super) fn only_derived(find: &Simple) -> bool {
    if find.program() != "find" {
        return false;
    }
    let words: Vec<&str> = find.args().collect();
    let paths = words.iter().take_while(|w| !w.starts_with(['-', '(', '!'])).count();
    let (folders, mut rest) = words.split_at(paths);
    let below = |f: &&str| {
        !f.starts_with(['/', '~', '$'])
            && !f.split('/').any(|part| part == "..")
            && !f.contains(['*', '?', '[', UNKNOWN])
    };
    let mut named = false;
    let mut removes = false;
    loop {
        rest = match rest {
            [] => break,
            ["-type", "f" | "d" | "l", more @ ..] | ["-print", more @ ..] => more,
            ["-maxdepth" | "-mindepth", _, more @ ..] | ["-depth", more @ ..] => more,
            ["-prune", more @ ..] if named => more,
            ["-name" | "-iname", name, more @ ..] if DERIVED.contains(name) => {
                named = true;
                more
            }
            ["(", "-name", first, more @ ..] if DERIVED.contains(first) => {
                let mut more = more;
                while let ["-o" | "-or", "-name", next, behind @ ..] = more {
                    if !DERIVED.contains(next) {
                        return false;
                    }
                    more = behind;
                }
                let [")", behind @ ..] = more else { return false };
                named = true;
                behind
            }
            ["-delete", more @ ..] if named => {
                removes = true;
                more
            }
            ["-exec", "rm", "-f" | "-rf" | "-r" | "-fr", "{}", ";" | "+", more @ ..]
            | ["-exec", "rm", "{}", ";" | "+", more @ ..]
                if named =>
            {
                removes = true;
                more
            }
            _ => return false,
        };
    }
    removes && !folders.is_empty() && folders.iter().all(below)
}

/// `find` that deletes: all it meets, or what has a name.
fn finds(line: &Line<'_>, at: usize, act: &Act, facts: &mut ShellFacts) {
    let removes = line
        .commands
        .iter()
        .any(|c| c.run_by == Some(at) && matches!(c.program(), "rm" | "shred" | "unlink" | "srm"));
    if (!act.has(&["-delete"]) && !removes) || line.commands.get(at).is_some_and(only_derived) {
        return;
    }
    let chosen = act.has(&[
        "-name",
        "-iname",
        "-path",
        "-ipath",
        "-wholename",
        "-regex",
        "-iregex",
        "-size",
        "-mtime",
        "-mmin",
        "-newer",
        "-empty",
        "-atime",
        "-newermt",
    ]);
    let wide = act.operands().any(|a| above(&a.text));
    let all = act.operands().next().is_none() || act.operands().any(|a| here(&a.text));
    let effect = if wide || (all && !chosen) { "destroy_system" } else { "delete_found" };
    facts.effects.insert(effect);
}
