//! Programs whose words say more than a table can: words with a syntax of their own, interpreters, and programs that run
//! the program behind them.

use super::super::{Simple, UNKNOWN, Word};
use super::apply::{Act, Arg, apply};
use super::finish::finish;
use super::runner;
use super::table::{self, Role};

/// Programs that run the code they are given.
pub(super) const INTERPRETERS: &[&str] = &[
    "sh",
    "bash",
    "dash",
    "zsh",
    "ksh",
    "ash",
    "fish",
    "csh",
    "tcsh",
    "mksh",
    "rbash",
    "python",
    "pypy",
    "node",
    "nodejs",
    "perl",
    "ruby",
    "php",
    "lua",
    "deno",
    "bun",
    "osascript",
    "pwsh",
    "powershell",
    "tclsh",
    "rscript",
    "tsx",
    "ts-node",
];

/// The interpreter or program behind a versioned name: `python3.12` is `python`.
pub(super) fn family(program: &str) -> String {
    program.to_lowercase().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-').to_owned()
}

pub(super) const CODE: &str = "an interpreter with code on its line or from its input";

/// The act of a program behind its name; `fed` says that it gets a text or another's output as its input.
pub(super) fn act(program: &str, command: &Simple) -> Act {
    let words = command.words.get(1..).unwrap_or_default();
    if let Some(rest) = runner::behind(program, words) {
        return runner::act(program, rest, command);
    }
    let name = family(program);
    if program == "bun" && script(program, words) {
        return all(program, words.get(1..).unwrap_or_default(), Role::Any, None);
    }
    if INTERPRETERS.contains(&name.as_str()) {
        return interpreter(&name, words, command);
    }
    match program {
        "find" => finish(apply(program, &predicates(words))),
        "dd" => dd(words),
        "tar" | "bsdtar" | "gtar" => tar(words),
        "cargo" => finish(toolchain(words)),
        "yarn" if words.is_empty() => apply("yarn install", words),
        // What is no command of its own is a script of the project.
        "yarn" | "pnpm" | "bun" if script(program, words) => own(program, words.get(1..).unwrap_or_default()),
        "docker" | "podman" if words.first().is_some_and(|w| w.text == "compose") => apply(program, words),
        "terraform" | "tofu" => {
            // `-chdir=d` stands in front of the sub-command.
            let ahead = words.iter().take_while(|w| w.text.starts_with("-chdir=")).count();
            let mut act = apply(program, words.get(ahead..).unwrap_or_default());
            act.args.extend(
                words.iter().take(ahead).map(|w| arg(w, w.text.trim_start_matches("-chdir="), Role::Folder)),
            );
            act
        }
        _ => finish(apply(program, words)),
    }
}

fn arg(word: &Word, text: &str, role: Role) -> Arg {
    let unknown = word.unknown && text.contains(UNKNOWN);
    Arg { text: text.to_owned(), live: word.live, unknown, role, option: None }
}

pub(super) fn all(name: &str, words: &[Word], role: Role, why: Option<&'static str>) -> Act {
    let args = words.iter().map(|w| arg(w, &w.text, role)).collect();
    Act { name: name.to_owned(), args, unread: why, ..Act::default() }
}

/// A script of the project's own, with whatever it is given.
pub(super) fn own(program: &str, words: &[Word]) -> Act {
    // A file that is named like an interpreter may be one.
    let why = INTERPRETERS.contains(&family(program).as_str()).then_some(CODE);
    all(program, words, Role::Any, why)
}

fn interpreter(family: &str, words: &[Word], command: &Simple) -> Act {
    let fed = command.fed || command.piped_from.is_some() || !command.reads.is_empty();
    let version = ["--version", "-V", "-v", "--help", "-h"];
    match words {
        [only] if version.contains(&only.text.as_str()) => return all(family, words, Role::Text, None),
        _ => {}
    }
    if matches!(family, "python" | "pypy") {
        let at = words.iter().position(|w| w.text == "-m");
        let before = words.get(..at.unwrap_or_default()).unwrap_or_default();
        if let Some(at) = at
            && before.iter().all(|w| {
                matches!(
                    w.text.as_str(),
                    "-u" | "-B" | "-I" | "-s" | "-O" | "-q" | "-W" | "ignore" | "-Wignore"
                )
            })
            && let Some((module, rest)) = words.get(at + 1..).and_then(<[Word]>::split_first)
        {
            let name = format!("python-m {}", module.text);
            return if table::has(&name) {
                finish(apply(&name, rest))
            } else {
                all(family, words, Role::Any, Some(CODE))
            };
        }
    }
    // A script decides for itself; code that comes by descriptor or here-string stands nowhere, and a bare word may be a
    // command of the interpreter's own.
    let name = match family {
        "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" => "bash",
        "python" | "pypy" => "python",
        "node" | "nodejs" => "node",
        other => other,
    };
    let mut act = if table::has(name) { apply(name, words) } else { all(family, words, Role::Any, None) };
    let plain = matches!(words.first(), Some(w) if w.text.starts_with('-')) && !table::has(name);
    let script = act.operands().next().map(|a| (a.text.clone(), a.unknown, a.live));
    let tests = name == "node" && act.has(&["--test"]);
    let managed = matches!(name, "deno" | "bun") && act.unread.is_none();
    if name == "deno"
        && act.operands().any(|a| a.text.contains(':'))
        && !act.effects.contains("dependency_install")
    {
        act.doubt("code that is fetched");
    }
    if name == "python" && act.operands().next().is_some_and(|a| a.text.ends_with("manage.py")) {
        let destroys = ["flush", "sqlflush", "reset_db", "dropdb"];
        if act.operands().any(|a| destroys.contains(&a.text.as_str())) {
            act.effects.insert("database_destroy");
        }
    }
    match script {
        _ if plain => act.doubt(CODE),
        _ if tests || managed => {}
        // Of node's own words only these two are commands.
        Some((text, false, false))
            if name == "node"
                && !matches!(text.as_str(), "inspect" | "debug" | "-")
                && !text.contains('/') => {}
        Some((text, false, false)) if text.contains(['.', '/']) => {
            if text.split('/').any(|part| part == "dev" || part == "proc") {
                act.doubt(CODE);
            }
            // Shells read the rest of their input as code only without a script; data for a script is fine.
            if command.fed && INTERPRETERS.iter().take(11).any(|s| *s == family) {
                act.doubt(CODE);
            }
        }
        None if !fed && (act.has(&["-c", "--check", "--version", "-V"]) && name == "node") => {}
        _ => act.doubt(CODE),
    }
    act
}

/// Whether the first word of `yarn`, `pnpm` and `bun` is a script's name: none of theirs that are not on the table.
pub(super) fn script(program: &str, words: &[Word]) -> bool {
    const OTHERS: &[&str] = &[
        "dlx",
        "exec",
        "node",
        "global",
        "plugin",
        "set",
        "policies",
        "create",
        "import",
        "unlink",
        "patch",
        "patch-commit",
        "patch-remove",
        "rebuild",
        "npm",
        "login",
        "logout",
        "owner",
        "tag",
        "team",
        "autoclean",
        "self-update",
        "unplug",
        "stage",
        "search",
        "env",
        "server",
        "setup",
        "deploy",
        "link",
        "approve-builds",
        "x",
        "upgrade",
        "init",
        "repl",
        "completions",
        "config",
        "cache",
        "explain",
        "constraints",
        "generate-lock-entry",
        "unset",
        "cat-file",
        "doctor",
        "feed",
        "c",
        "recursive",
        "multi",
        "m",
        "i",
        "store",
        "publish",
        "install-test",
        "it",
        "add",
        "install",
        "eval",
        "sbt",
        "dist-tag",
        "docs",
        "edit",
        "ignored-builds",
        "rt",
        "runtime",
        "shell",
    ];
    let Some(first) = words.first() else { return false };
    let name = first.text.as_str();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_:./".contains(c))
        && !name.starts_with(['-', '/', '.']);
    plain
        && !OTHERS.contains(&name)
        && !table::has(&format!("{program} {name}"))
        && !table::spec(&format!("{program} {name}")).is_some_and(|s| s.sub)
}

/// `find` without what `-exec` runs, which stands for itself, and without signs.
fn predicates(words: &[Word]) -> Vec<Word> {
    let mut out = Vec::new();
    let mut runs = false;
    for word in words {
        match word.text.as_str() {
            ";" | "+" if runs => runs = false,
            _ if runs => {}
            "-exec" | "-execdir" | "-ok" | "-okdir" => runs = true,
            "!" | "(" | ")" | "," => {}
            _ => out.push(word.clone()),
        }
    }
    out
}

fn dd(words: &[Word]) -> Act {
    let mut act = Act { name: "dd".to_owned(), ..Act::default() };
    for word in words {
        let (key, value) = word.text.split_once('=').unwrap_or((word.text.as_str(), ""));
        let role = match key {
            "if" => Role::Read,
            "of" => Role::Write,
            "bs" | "ibs" | "obs" | "count" | "skip" | "seek" | "status" | "conv" | "iflag" | "oflag" => {
                Role::Text
            }
            _ => {
                act.doubt("an option that is not known");
                Role::Any
            }
        };
        act.args.push(Arg { option: Some(key.to_owned()), ..arg(word, value, role) });
    }
    act
}

/// tar: its first word may be a cluster without a dash, and what it writes depends on what it does.
fn tar(words: &[Word]) -> Act {
    let mut words = words.to_vec();
    if let Some(first) = words.first_mut()
        && !first.text.starts_with('-')
        && first.text.chars().all(|c| c.is_ascii_alphabetic())
    {
        first.text.insert(0, '-');
    }
    let mut act = apply("tar", &words);
    let lists = act.has(&["-t", "--list"]);
    let creates = act.has(&["-c", "--create"]);
    let extracts = act.has(&["-x", "--extract", "--get"]);
    let changes = act.has(&["-U", "-r", "-u", "-P"]);
    let folder = act.values(&["-C", "--directory"]).map(|a| a.text.clone()).last();
    for arg in &mut act.args {
        let file = matches!(arg.option.as_deref(), Some("-f" | "--file"));
        let folder = matches!(arg.option.as_deref(), Some("-C" | "--directory"));
        match (file, folder) {
            (true, _) if arg.text == "-" => {}
            (true, _) if creates => arg.role = Role::Write,
            (true, _) => arg.role = Role::Read,
            (_, true) if extracts => arg.role = Role::Take,
            (_, true) => arg.role = Role::Folder,
            _ if arg.option.is_none() && creates => arg.role = Role::Tree,
            _ => {}
        }
    }
    if changes || usize::from(lists) + usize::from(creates) + usize::from(extracts) != 1 {
        act.doubt("an archive program that is not understood");
    }
    let apart = folder.is_some_and(|f| !matches!(f.trim_end_matches('/'), "" | "." | ".." | "~"));
    let shown = act.has(&["-O"]);
    if extracts && !apart && !shown {
        act.doubt("an archive that may overwrite what is here");
    }
    act
}

/// cargo's `+toolchain`.
fn toolchain(words: &[Word]) -> Act {
    let named = words.first().filter(|w| {
        ["+stable", "+beta", "+nightly", "+1."].iter().any(|n| w.text.starts_with(n))
            && w.text.chars().skip(1).all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
    });
    let rest = if named.is_some() { words.get(1..).unwrap_or_default() } else { words };
    let mut act = apply("cargo", rest);
    if rest.is_empty() {
        act.name = "cargo".to_owned();
    }
    act
}
