//! Programs whose words say more than a table can: scripts inside words, words with a syntax of their own, and programs
//! that run the program behind them.

use super::super::{Simple, UNKNOWN, Word};
use super::apply::{Act, Arg, apply};
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

/// Programs that run another one in the environment of a project: the name, sub-commands before the program, and options
/// of theirs with a value.
const RUNNERS: &[(&str, &[&str], &[&str])] = &[
    ("npx", &[], &["-p", "--package"]),
    ("bunx", &[], &[]),
    ("pnpx", &[], &[]),
    ("npm", &["exec"], &[]),
    ("npm", &["x"], &[]),
    ("pnpm", &["exec"], &[]),
    ("pnpm", &["dlx"], &[]),
    ("yarn", &["exec"], &[]),
    ("yarn", &["dlx"], &[]),
    ("bun", &["x"], &[]),
    ("uv", &["run"], &["--with", "--extra", "--group", "--python", "-p", "--package"]),
    ("uv", &["tool", "run"], &["--from"]),
    ("uvx", &[], &["--from", "--with"]),
    ("pipx", &["run"], &[]),
    ("poetry", &["run"], &[]),
    ("pdm", &["run"], &[]),
    ("pipenv", &["run"], &[]),
    ("hatch", &["run"], &[]),
    ("rye", &["run"], &[]),
    ("bundle", &["exec"], &[]),
    ("rtx", &["exec"], &[]),
    ("dotenv", &[], &[]),
    ("composer", &["exec"], &[]),
    ("winpty", &[], &[]),
    ("xvfb-run", &[], &[]),
    ("cross-env", &[], &[]),
    ("ccache", &[], &[]),
    ("c8", &[], NYC),
    ("nyc", &[], NYC),
    ("sccache", &[], &[]),
    ("unbuffer", &[], &[]),
];

/// Options of coverage tools with a value of their own.
const NYC: &[&str] = &[
    "--exclude",
    "--include",
    "--reporter",
    "--lines",
    "--branches",
    "--functions",
    "--statements",
    "-r",
    "-x",
    "-n",
    "--temp-dir",
    "--report-dir",
    "--extension",
    "--cwd",
    "-e",
];

/// The interpreter or program behind a versioned name: `python3.12` is `python`.
pub(super) fn family(program: &str) -> String {
    program.to_lowercase().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-').to_owned()
}

const CODE: &str = "an interpreter with code on its line or from its input";

/// The act of a program behind its name; `fed` says that it gets a text or another's output as its input.
pub(super) fn act(program: &str, command: &Simple, depth: usize) -> Act {
    let words = command.words.get(1..).unwrap_or_default();
    if let Some(rest) = behind_runner(program, words) {
        return run(program, rest, command, depth);
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
        "cargo" => toolchain(words),
        "yarn" if words.is_empty() => apply("yarn install", words),
        "yarn" | "pnpm" | "bun" if script(program, words) => {
            // What is no command of its own is a script of the project, or a program that the project brings.
            let rest = words.get(1..).unwrap_or_default();
            match words.first() {
                Some(first) if table::has(&first.text) && !first.text.contains('.') => {
                    run(program, Ok(words), command, depth)
                }
                _ => own(program, rest),
            }
        }
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

fn all(name: &str, words: &[Word], role: Role, why: Option<&'static str>) -> Act {
    let args = words.iter().map(|w| arg(w, &w.text, role)).collect();
    Act { name: name.to_owned(), args, unread: why, ..Act::default() }
}

/// A script of the project's own, with whatever it is given.
pub(super) fn own(program: &str, words: &[Word]) -> Act {
    // A file that is named like an interpreter may be one.
    let why = INTERPRETERS.contains(&family(program).as_str()).then_some(CODE);
    all(program, words, Role::Any, why)
}

fn behind_runner<'a>(program: &str, words: &'a [Word]) -> Option<Result<&'a [Word], &'static str>> {
    let fits = |(name, subs, _): &&(&str, &[&str], &[&str])| {
        *name == program
            && subs.iter().enumerate().all(|(at, sub)| words.get(at).is_some_and(|w| w.text == *sub))
    };
    let (_, subs, valued) = RUNNERS.iter().filter(fits).max_by_key(|(_, subs, _)| subs.len())?;
    let mut at = subs.len();
    const PLAIN: &[&str] = &[
        "--",
        "-y",
        "--yes",
        "--no",
        "--no-install",
        "--quiet",
        "-q",
        "--silent",
        "--frozen",
        "--locked",
        "--no-sync",
        "--offline",
        "--dev",
        "--bun",
        "-s",
    ];
    while let Some(word) = words.get(at) {
        match word.text.as_str() {
            option if PLAIN.contains(&option) => at += 1,
            option if valued.contains(&option) => at += 2,
            option if matches!(program, "c8" | "nyc") && option.starts_with("--") && !word.unknown => at += 1,
            option if option.starts_with('-') || word.unknown || word.live => {
                return Some(Err("an option that is not known"));
            }
            setting if program == "cross-env" && setting.contains('=') => at += 1,
            _ => break,
        }
    }
    Some(words.get(at..).ok_or("a runner without a program"))
}

/// What a runner runs is judged like any command; a program that needs a reader of its own is not read here.
fn run(program: &str, rest: Result<&[Word], &'static str>, command: &Simple, depth: usize) -> Act {
    let words = command.words.get(1..).unwrap_or_default();
    let doubt = |why| all(program, words, Role::Any, Some(why));
    let (rest, first) = match rest {
        Ok(rest) => match rest.split_first() {
            Some((first, _)) => (rest, first),
            None => return doubt("a runner without a program"),
        },
        Err(why) => return doubt(why),
    };
    let name = first.text.rsplit('/').next().unwrap_or_default();
    let name = name.split('@').next().unwrap_or_default();
    let shells = [
        "sh",
        "bash",
        "dash",
        "zsh",
        "ksh",
        "ash",
        "fish",
        "git",
        "sudo",
        "env",
        "xargs",
        "countersign",
        "eval",
        "find",
        "rm",
    ];
    if depth > 2 || shells.contains(&name) || first.text.starts_with('/') {
        return doubt("another program among its words");
    }
    let fetches = matches!(program, "npx" | "bunx" | "pnpx" | "uvx" | "pipx")
        || words.first().is_some_and(|w| matches!(w.text.as_str(), "dlx" | "x" | "tool"));
    let known = table::has(name) || INTERPRETERS.contains(&family(name).as_str());
    if matches!(program, "c8" | "nyc") && matches!(name, "report" | "check-coverage" | "merge") {
        return own(program, rest.get(1..).unwrap_or_default());
    }
    if !known {
        let mut act = doubt("a program that is not known");
        if fetches {
            act.effects.insert("dependency_install");
        }
        return act;
    }
    let mut inner = Simple { words: rest.to_vec(), ..command.clone() };
    if let Some(word) = inner.words.first_mut() {
        word.text = name.to_owned();
    }
    super::act_of(&inner, depth + 1)
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
fn script(program: &str, words: &[Word]) -> bool {
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

/// What is left to say when the table has spoken.
fn finish(mut act: Act) -> Act {
    let texts: Vec<(String, Role, bool)> =
        act.args.iter().map(|a| (a.text.clone(), a.role, a.unknown)).collect();
    match act.name.split(' ').next().unwrap_or_default() {
        "sed" | "gsed" => sed(&mut act),
        // What its script does is told by the reader of code.
        "awk" | "gawk" | "mawk" | "nawk" => act.doubt("a script of awk that is not understood"),
        "curl" | "wget" => {
            for text in sent(&act) {
                act.args.push(Arg {
                    text,
                    live: false,
                    unknown: false,
                    role: Role::Sent,
                    option: Some("@".to_owned()),
                });
            }
            let odd = |t: &str| t.starts_with("file:") || t.contains(['{', '[']) || t.starts_with('@');
            if texts.iter().any(|(t, role, _)| *role == Role::Url && odd(t)) {
                act.doubt("an address that stands for several");
            }
            if act.args.iter().any(|a| a.role == Role::Write && a.text.contains('#')) {
                act.doubt("an address that stands for several");
            }
        }
        "journalctl"
            if act
                .flags
                .iter()
                .any(|f| ["--vac", "--rot", "--flu", "--reli", "--syn"].iter().any(|o| f.starts_with(o))) =>
        {
            act.doubt("an option that is not known");
        }
        "kubectl" | "oc" if act.effects.remove("deploy") => {
            if !act.has(&["--dry-run"]) {
                act.doubt("a change of a cluster");
            }
        }
        "yarn" if act.name.starts_with("yarn workspace") => {
            let runs = ["exec", "dlx", "node", "npm", "publish", "foreach", "x", "add", "remove"];
            if act.operands().any(|a| runs.contains(&a.text.as_str())) {
                act.doubt("a package command that is not known");
            }
        }
        "coverage" | "python-m" if act.name.ends_with("coverage run") => {
            if act.values(&["-m"]).any(|a| !["pytest", "unittest"].contains(&a.text.as_str())) {
                act.doubt(CODE);
            }
        }
        "ansible-playbook"
            if !act.has(&[
                "--check",
                "-C",
                "--syntax-check",
                "--list-tasks",
                "--list-hosts",
                "--list-tags",
                "--version",
            ]) =>
        {
            act.doubt("a change of other machines");
        }
        "mvn" | "mvnw"
            if act.operands().any(|a| ["exec", "antrun", "deploy"].iter().any(|g| a.text.contains(g))) =>
        {
            act.doubt("a goal that runs programs");
        }
        "go" => {
            // A version behind a name is fetched.
            if matches!(act.name.as_str(), "go run" | "go install")
                && act.operands().any(|a| a.text.contains('@'))
            {
                act.effects.insert("dependency_install");
            }
        }
        "rake"
            if act
                .operands()
                .any(|a| ["db:drop", "db:reset", "db:purge"].iter().any(|t| a.text.starts_with(t))) =>
        {
            act.effects.insert("database_destroy");
        }
        "make" | "gmake" => {
            let plain = |v: &str| {
                v.chars().all(|c| c.is_ascii_digit())
                    || ["", "true", "false", "yes", "no", "debug", "release", "test", "all", "on", "off"]
                        .contains(&v)
            };
            let set = act.operands().filter_map(|a| a.text.split_once('=').map(|(_, v)| v.to_owned()));
            if set.collect::<Vec<_>>().iter().any(|v| !plain(v)) {
                act.doubt("a build with settings on its line");
            }
        }
        "gcc" | "g++" | "cc" | "c++" | "clang" | "clang++" | "tcc" => {
            if act.args.iter().any(|a| {
                (a.text.contains("use-ld") && a.text.contains('/'))
                    || a.text.contains("plugin")
                    || a.text.contains("specs")
                    || a.text.starts_with('@')
            }) {
                act.doubt("an option that is not known");
            }
        }
        "date" => {
            let sets = act.operands().any(|a| !a.text.starts_with('+'))
                || act.values(&["-f"]).any(|a| !a.text.starts_with('%'));
            if sets {
                act.doubt("a date that is set");
            }
        }
        "cmake" => {
            // Settings that name programs.
            let runs = |t: &str| {
                let (key, value) = t.split_once('=').unwrap_or((t, ""));
                let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                ["LAUNCHER", "COMMAND", "COMPILER", "LINKER", "PROGRAM", "RULE", "INCLUDE"]
                    .iter()
                    .any(|w| key.to_uppercase().contains(w))
                    && !(plain
                        && (value.starts_with("gcc")
                            || value.starts_with("clang")
                            || value.starts_with("g++")
                            || value.starts_with("cc")))
            };
            if act.values(&["-D"]).any(|a| runs(&a.text)) {
                act.doubt("a build with settings on its line");
            }
            if act.flags.iter().any(|f| f.starts_with("-E") || f.starts_with("-P") || f == "-C") {
                act.doubt("an option that is not known");
            }
        }
        "unzip" => {
            let shows = act.has(&["-l", "-t", "-v", "-p", "-Z", "-c"]);
            let apart =
                act.values(&["-d"]).any(|a| !matches!(a.text.trim_end_matches('/'), "" | "." | ".." | "~"));
            if !shows && !apart {
                act.doubt("an archive that may overwrite what is here");
            }
            for arg in &mut act.args {
                match arg.option.as_deref() {
                    Some("-d") => arg.role = Role::Take,
                    None if !arg.text.contains('*') => {
                        arg.role = if arg.text.ends_with(".zip") { Role::Read } else { Role::Text }
                    }
                    _ => {}
                }
            }
        }
        "patch" if act.operands().next().is_none() && !act.has(&["--dry-run"]) => {
            act.doubt("a patch that is not read")
        }
        "scp" | "rsync" | "rcp" => {
            let deletes = act.flags.iter().any(|f| f.starts_with("--del"));
            for arg in act.args.iter_mut().filter(|a| a.option.is_none()) {
                let into = arg.role == Role::Into;
                if arg.text.contains("://")
                    || arg.text.split('/').next().is_some_and(|first| first.contains(':'))
                {
                    arg.role = Role::Host;
                } else if into && deletes {
                    arg.role = Role::Take;
                } else if !into {
                    arg.role = Role::Tree;
                }
            }
        }
        "docker" | "podman" | "docker-compose" => {
            let hosts: Vec<Arg> = act
                .values(&["-v", "--volume"])
                .filter_map(|a| {
                    a.text.split_once(':').map(|(host, _)| Arg {
                        text: host.to_owned(),
                        option: Some("host".to_owned()),
                        ..a.clone()
                    })
                })
                .filter(|a| a.text.contains(['/', '.', '~']))
                .collect();
            act.args.extend(hosts);
        }
        "zip" if act.has(&["-m"]) => act.doubt("an option that is not known"),
        "gzip" | "gunzip" | "bzip2" | "bunzip2" | "xz" | "unxz" | "zstd" | "unzstd" | "lz4" => {
            // What is unpacked gets the name without its ending.
            let unpacked: Vec<Arg> = act
                .operands()
                .filter_map(|a| a.text.rsplit_once('.').map(|(name, _)| (name.to_owned(), a)))
                .map(|(text, a)| Arg { text, option: Some("unpacked".to_owned()), ..a.clone() })
                .collect();
            act.args.extend(unpacked);
            if act.has(&["-c", "-l", "-t", "--stdout", "--list", "--test"]) {
                act.args.retain(|a| a.option.as_deref() != Some("unpacked"));
                act.args.iter_mut().filter(|a| a.option.is_none()).for_each(|a| a.role = Role::Read);
            }
        }
        "ssh-keygen" => {
            // Other uses make or remove keys.
            if !act.has(&["-l", "-y", "-F", "-B"]) {
                act.doubt("a use of keys that is not known");
            }
            act.args
                .iter_mut()
                .filter(|a| a.option.as_deref() == Some("-f"))
                .for_each(|a| a.role = Role::Read);
            if act.has(&["-y"]) {
                act.effects.insert("credential_read");
            }
        }
        "crontab" if !act.has(&["-l"]) => {
            act.effects.insert("persistence");
        }
        "crontab" => act.unread = None,
        "dpkg" if act.flags.is_empty() => act.doubt("a command of a program that is not known"),
        "psql" | "mysql" | "mariadb" | "sqlite3" | "sqlite" | "duckdb" => {
            // `-f file` holds statements that are not read.
            if act.has(&["-f", "--file"]) {
                act.doubt("a script of a database that is not read");
            }
        }
        "less" | "man" | "more" if act.operands().any(|a| a.text.starts_with('+')) => {
            act.doubt("an option that is not known")
        }
        _ => {}
    }
    act
}

/// Files that curl's options name for sending; a dash is what it is given as input.
fn sent(act: &Act) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let data =
        ["-d", "--data", "--data-binary", "--data-raw", "--data-ascii", "--json", "-H", "--header", "-b"];
    let raw = ["--data-raw"];
    for arg in act.values(&data) {
        if let Some(file) =
            arg.text.strip_prefix('@').filter(|_| !raw.contains(&arg.option.as_deref().unwrap_or_default()))
        {
            out.push(file.to_owned());
        }
    }
    for arg in act.values(&["--data-urlencode", "--url-query"]) {
        if let Some((_, file)) = arg.text.split_once('@').filter(|(name, _)| !name.contains('=')) {
            out.push(file.to_owned());
        }
    }
    // A format is read from a file, and shown; a cookie without a sign is a file's name.
    out.extend(
        act.values(&["-w", "--write-out"]).filter_map(|a| a.text.strip_prefix('@').map(str::to_owned)),
    );
    out.extend(act.values(&["-b", "--cookie"]).filter(|a| !a.text.contains('=')).map(|a| a.text.clone()));
    for arg in act.values(&["-F", "--form"]) {
        if let Some((_, value)) = arg.text.split_once('=')
            && value.starts_with(['@', '<'])
        {
            let files = value.trim_start_matches(['@', '<']).split(';').next().unwrap_or_default();
            out.extend(files.split(',').map(|f| f.trim_matches('"').to_owned()));
        }
    }
    out
}

/// A sed script can write files and run commands; only what prints, deletes, inserts and substitutes is told apart here.
fn sed(act: &mut Act) {
    const WHY: &str = "a sed script that is not fully understood";
    let scripts: Vec<(String, bool)> = act
        .args
        .iter()
        .filter(|a| a.role == Role::Text && !matches!(a.option.as_deref(), Some("-l")))
        .map(|a| (a.text.clone(), a.unknown))
        .collect();
    if scripts.is_empty() || !scripts.iter().all(|(script, _)| plain_sed(script)) {
        act.doubt(WHY);
    }
}

/// Whether every command of a sed script only prints, deletes, jumps or substitutes.
fn plain_sed(script: &str) -> bool {
    let mut chars = script.chars().peekable();
    let mut steps = 0;
    loop {
        while chars.peek().is_some_and(|c| c.is_whitespace() || matches!(c, ';' | '{' | '}')) {
            chars.next();
        }
        if chars.peek().is_none() {
            return steps > 0;
        }
        steps += 1;
        // Up to two addresses.
        loop {
            match chars.peek().copied() {
                Some(c) if c.is_ascii_digit() || matches!(c, ',' | '$' | ' ' | '~' | '+' | '!') => {
                    chars.next();
                }
                Some('/') => {
                    chars.next();
                    if !until(&mut chars, '/') {
                        return false;
                    }
                    if chars.peek() == Some(&'I') {
                        chars.next();
                    }
                }
                _ => break,
            }
        }
        match chars.next() {
            Some('p' | 'd' | 'q' | '=' | 'n' | 'N' | 'D' | 'P' | 'g' | 'G' | 'h' | 'H' | 'x' | 'l') => {
                while chars.peek().is_some_and(|c| c.is_ascii_digit()) {
                    chars.next();
                }
            }
            Some('b' | 't' | ':') => {
                while chars.peek().is_some_and(|c| c.is_ascii_alphanumeric()) {
                    chars.next();
                }
            }
            // The rest of the line is text.
            Some('a' | 'i' | 'c') => {
                let mut before = '\0';
                for c in chars.by_ref() {
                    if c == '\n' && before != '\\' {
                        break;
                    }
                    before = c;
                }
            }
            Some('{' | '}') => {}
            Some('s') => {
                let Some(mark) = chars.next().filter(|c| !c.is_alphanumeric() && *c != '\\' && *c != UNKNOWN)
                else {
                    return false;
                };
                if !until(&mut chars, mark) || !until(&mut chars, mark) {
                    return false;
                }
                while chars.peek().is_some_and(|c| matches!(c, 'g' | 'i' | 'I' | 'p' | '0'..='9')) {
                    chars.next();
                }
            }
            Some('y') => {
                let Some(mark) = chars.next().filter(|c| !c.is_alphanumeric() && *c != UNKNOWN) else {
                    return false;
                };
                if !until(&mut chars, mark) || !until(&mut chars, mark) {
                    return false;
                }
            }
            _ => return false,
        }
        match chars.peek() {
            None | Some(';' | '}' | '\n' | ' ' | '{') => {}
            _ => return false,
        }
    }
}

/// Skips to behind a mark. What is not known could hold the mark and begin another command.
fn until(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, mark: char) -> bool {
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            UNKNOWN => return false,
            c if c == mark => return true,
            _ => {}
        }
    }
    false
}
