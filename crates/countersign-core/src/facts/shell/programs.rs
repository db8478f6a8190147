//! What is known of programs: a closed list. A program that is not on it, or whose options can run others or decide
//! by themselves what is written, makes its line opaque: a person is asked, and nobody has to have thought of it.

use super::{Simple, git};

/// Programs that show and compare text and say what there is; an interpreter's name among their words is text.
const TEXT: &[&str] = &[
    "cat",
    "head",
    "tail",
    "grep",
    "egrep",
    "fgrep",
    "rg",
    "ls",
    "stat",
    "wc",
    "diff",
    "cmp",
    "file",
    "jq",
    "du",
    "df",
    "md5sum",
    "sha1sum",
    "sha256sum",
    "sha512sum",
    "cksum",
    "od",
    "hexdump",
    "strings",
    "nl",
    "cut",
    "tr",
    "column",
    "paste",
    "join",
    "comm",
    "fold",
    "fmt",
    "rev",
    "tac",
    "seq",
    "realpath",
    "readlink",
    "basename",
    "dirname",
    "test",
    "[",
    "cd",
    "pwd",
    "echo",
    "printf",
    "which",
    "type",
    "whoami",
    "id",
    "hostname",
    "date",
    "uname",
    "uptime",
    "ps",
    "true",
    "false",
    "sleep",
    "uniq",
    "sort",
    "tree",
    "xxd",
    "yes",
    "nproc",
    "free",
    "sed",
    "find",
];

/// Programs that change files in ways their words tell.
const FILES: &[&str] =
    &["touch", "mkdir", "rmdir", "rm", "cp", "mv", "ln", "chmod", "tee", "truncate", "shred", "dd", "unlink"];

/// Programs that build, test and fetch. What a project's own files make them do is not read, as with any script.
const BUILD: &[&str] = &[
    "cargo", "go", "gofmt", "rustfmt", "npm", "pnpm", "yarn", "pytest", "ruff", "black", "mypy", "tsc",
    "eslint", "prettier", "vitest", "jest", "make", "curl", "git",
];

/// Options of programs that are told apart, letter for letter: whatever else begins with a dash makes the line opaque,
/// since clusters, abbreviations and attached values have more spellings than any list of bad ones.
const OPTIONS: &[(&str, &[&str])] = &[
    (
        "cp",
        &[
            "-r",
            "-R",
            "-a",
            "-f",
            "-v",
            "-p",
            "-n",
            "-u",
            "-i",
            "-rf",
            "-rv",
            "-av",
            "-rp",
            "-fr",
            "-pr",
            "--recursive",
        ],
    ),
    ("mv", &["-f", "-v", "-n", "-i", "-u", "-fv", "-vf"]),
    ("ln", &["-s", "-f", "-n", "-v", "-sf", "-fs", "-sfn", "-sv"]),
    ("tee", &["-a", "-i", "--append"]),
    (
        "curl",
        &[
            "-s",
            "-S",
            "-f",
            "-L",
            "-I",
            "-i",
            "-v",
            "-G",
            "-sS",
            "-Ss",
            "-sL",
            "-sSL",
            "-fsSL",
            "-fsS",
            "-fsL",
            "-fL",
            "-sf",
            "-sSf",
            "-sfL",
            "-LsS",
            "-sI",
            "-si",
            "-o",
            "-X",
            "-H",
            "-d",
            "-w",
            "-m",
            "-A",
            "-e",
            "--silent",
            "--show-error",
            "--fail",
            "--location",
            "--head",
            "--include",
            "--verbose",
            "--compressed",
            "--output",
            "--request",
            "--header",
            "--data",
            "--json",
            "--data-urlencode",
            "--max-time",
            "--connect-timeout",
            "--get",
            "--retry",
            "--write-out",
        ],
    ),
    (
        "pytest",
        &[
            "-v",
            "-vv",
            "-q",
            "-x",
            "-s",
            "-k",
            "-m",
            "-rA",
            "-n",
            "--lf",
            "--ff",
            "--maxfail=1",
            "--tb=short",
            "--tb=long",
            "--tb=no",
            "--tb=line",
            "--collect-only",
            "--co",
            "--durations=10",
            "--cov",
            "-vx",
            "-xv",
            "-xvs",
            "-vs",
            "-qq",
        ],
    ),
    (
        "go",
        &[
            "-v",
            "-race",
            "-run",
            "-count",
            "-count=1",
            "-cover",
            "-short",
            "-timeout",
            "-bench",
            "-failfast",
            "-u",
            "-json",
            "-m",
        ],
    ),
    ("gofmt", &["-l", "-w", "-d", "-s"]),
    ("rustfmt", &["--check"]),
    ("ruff", &["--fix", "--check", "--diff", "-q"]),
    ("black", &["--check", "--diff", "-q"]),
    ("mypy", &["--strict"]),
    ("tsc", &["--noEmit", "-b", "--build", "-w", "--watch"]),
    ("eslint", &["--fix", "--quiet", "--max-warnings=0"]),
    ("prettier", &["--check", "--write", "-c", "-w", "-l", "--list-different"]),
    ("vitest", &["--run", "--watch", "--coverage"]),
    ("jest", &["--coverage", "--watch", "--ci", "-t", "-i"]),
    ("make", &["-j", "-j2", "-j4", "-j8", "-k", "-s", "-n", "-B", "--silent"]),
    (
        "npm",
        &[
            "-D",
            "-S",
            "-s",
            "--save-dev",
            "--save",
            "--silent",
            "--if-present",
            "--omit=dev",
            "--production",
            "--force",
            "--frozen-lockfile",
            "--legacy-peer-deps",
            "--no-audit",
            "--no-fund",
            "--json",
            "--depth=0",
            "--depth=1",
        ],
    ),
];

/// Programs that run the code they are given.
const INTERPRETERS: &[&str] = &[
    "sh",
    "bash",
    "dash",
    "zsh",
    "ksh",
    "ash",
    "fish",
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
];

/// The interpreter or program behind a versioned name: `python3.12` is `python`.
fn family(program: &str) -> String {
    program.to_lowercase().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-').to_owned()
}

/// Whether a program only reads what its words name.
pub(crate) fn only_reads(program: &str) -> bool {
    TEXT.contains(&program) && !["uniq", "sort", "tree", "xxd", "sed", "find"].contains(&program)
}

/// Whether a program changes the files its words name.
pub(crate) fn changes_files(program: &str) -> bool {
    FILES.contains(&program) && program != "mkdir"
}

/// Why a simple command is not understood, although it reads cleanly.
pub(super) fn unread(command: &Simple) -> Option<&'static str> {
    let first = command.words.first()?;
    let program = command.program();
    if first.live {
        return Some("a program named by a pattern");
    }
    if program == "countersign" {
        // Its verbs are told apart by a fact of their own.
        return None;
    }
    if INTERPRETERS.contains(&family(program).as_str()) {
        return interpreter(&family(program), command);
    }
    // A name means the system's program only where the system keeps programs.
    let folder = first.text.strip_suffix(program).unwrap_or_default();
    let system = ["", "/bin/", "/usr/bin/", "/usr/local/bin/"].contains(&folder);
    let known = system && [TEXT, FILES, BUILD].iter().any(|list| list.contains(&program));
    if !known {
        // A file of the project's own is run like any script; what it does is not read.
        let own = first.text.contains('/') && !first.text.starts_with('/') && !first.text.starts_with('~');
        return (!own).then_some("a program that is not known");
    }
    let text = TEXT.contains(&program);
    let runs = |word: &str| {
        let base = word.rsplit('/').next().unwrap_or(word);
        INTERPRETERS.contains(&family(base).as_str())
            || ["git", "sudo", "env", "xargs", "countersign"].contains(&base)
    };
    if !text && program != "git" && command.args().any(runs) {
        return Some("another program among its words");
    }
    options(program, command)
}

fn interpreter(family: &str, command: &Simple) -> Option<&'static str> {
    const WHY: Option<&str> = Some("an interpreter with code on its line or from its input");
    let words: Vec<&str> = command.args().collect();
    match words.as_slice() {
        ["--version" | "-V" | "-v"] => None,
        ["-m", "pytest", ..] if family == "python" => listed("pytest", words.iter().skip(2).copied()),
        // A script decides for itself; code that comes by descriptor or here-string stands nowhere, and a bare word may
        // be a command of the interpreter's own.
        [script, ..] if !script.starts_with('-') && script.contains(['.', '/']) => {
            let fed = command.fed || script.split('/').any(|part| part == "dev" || part == "proc");
            if fed { WHY } else { None }
        }
        _ => WHY,
    }
}

/// Whether every option is on the program's list; words behind `--` are no options of it.
fn listed<'a>(program: &str, words: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let known =
        OPTIONS.iter().find(|(name, _)| *name == program).map(|(_, known)| *known).unwrap_or_default();
    let mut options = words.take_while(|w| *w != "--").filter(|w| w.starts_with('-') && w.len() > 1);
    options.any(|w| !known.contains(&w)).then_some("an option that is not known")
}

fn options(program: &str, command: &Simple) -> Option<&'static str> {
    let any = |begins: &[&str]| command.args().any(|w| begins.iter().any(|b| w.starts_with(b)));
    // A sub-command stands first, or an option before it may take the next word.
    let sub = command.args().next().unwrap_or_default();
    let behind = || command.args().skip(1);
    match program {
        "git" => git::unread(command),
        "find" => {
            any(&["-exec", "-ok", "-delete", "-fprint", "-fls", "-files0"]).then_some("find with an action")
        }
        "rg" => command
            .args()
            .any(|w| abbreviates(w, &["--pre", "--hostname-bin"]))
            .then_some("an option that runs a program"),
        "sort" => {
            let odd = |w: &str| w.starts_with("--") || (w.starts_with('-') && w.contains(['o', 'T', 'S']));
            command.args().any(odd).then_some("an option that is not known")
        }
        "sed" => sed(command),
        "date" => any(&["-s", "--s", "-f", "--f"]).then_some("an option that is not known"),
        "printf" => any(&["-v"]).then_some("a builtin that sets a variable"),
        "curl" => {
            let odd = |w: &str| w.starts_with("file:") || w.contains(['{', '[', '#']);
            listed(program, command.args())
                .or(command.args().any(odd).then_some("an address that stands for several"))
        }
        "make" if command.args().any(|w| w.contains('=')) => Some("a build with settings on its line"),
        "cargo" => {
            const KNOWN: &[&str] = &[
                "build",
                "b",
                "check",
                "c",
                "test",
                "t",
                "run",
                "r",
                "clippy",
                "fmt",
                "doc",
                "d",
                "bench",
                "update",
                "tree",
                "metadata",
                "add",
                "remove",
                "clean",
                "new",
                "init",
                "fetch",
                "search",
                "info",
                "nextest",
                "deny",
                "audit",
                "publish",
                "package",
                "xtask",
                "version",
                "--version",
                "",
            ];
            let odd = |w: &str| abbreviates(w, &["--config"]) || w.starts_with("-Z") || w.starts_with("-C");
            let before = command.args().take_while(|w| *w != "--");
            (!KNOWN.contains(&sub) || before.into_iter().any(odd))
                .then_some("a cargo command that is not known")
        }
        "go" => {
            const KNOWN: &[&str] =
                &["build", "test", "run", "vet", "fmt", "mod", "list", "version", "doc", "get", ""];
            if KNOWN.contains(&sub) { listed("go", behind()) } else { Some("a go command that is not known") }
        }
        "npm" | "pnpm" | "yarn" => {
            const KNOWN: &[&str] = &[
                "run",
                "run-script",
                "test",
                "t",
                "install",
                "i",
                "ci",
                "add",
                "remove",
                "uninstall",
                "ls",
                "list",
                "view",
                "info",
                "outdated",
                "why",
                "audit",
                "pack",
                "publish",
                "start",
                "build",
                "lint",
                "--version",
                "",
            ];
            if KNOWN.contains(&sub) {
                listed("npm", behind())
            } else {
                Some("a package command that is not known")
            }
        }
        _ if TEXT.contains(&program) || !OPTIONS.iter().any(|(name, _)| *name == program) => None,
        _ => listed(program, command.args()),
    }
}

/// Whether an option is one of these, in full, shortened, or with its value attached.
pub(super) fn abbreviates(word: &str, options: &[&str]) -> bool {
    let name = word.split('=').next().unwrap_or(word);
    word.starts_with("--")
        && name.len() > 2
        && options.iter().any(|o| o.starts_with(name) || name.starts_with(o))
}

/// A sed script can write files and run commands; only substitutions, deletions and prints are told apart here.
fn sed(command: &Simple) -> Option<&'static str> {
    const WHY: Option<&str> = Some("a sed script that is not fully understood");
    let mut scripts = Vec::new();
    let mut words = command.args();
    while let Some(word) = words.next() {
        match word {
            "-e" | "--expression" => scripts.push(words.next().unwrap_or_default()),
            "-n" | "-E" | "-r" | "-i" | "-s" | "-z" | "-u" => {}
            option if option.starts_with('-') => return WHY,
            script if scripts.is_empty() => scripts.push(script),
            _ => {}
        }
    }
    let plain = |script: &str| {
        let rest =
            script.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',' || c == '$' || c == ' ');
        match rest {
            "p" | "d" | "q" | "=" => true,
            _ => rest.strip_prefix('s').is_some_and(substitution),
        }
    };
    if scripts.iter().all(|s| plain(s)) { None } else { WHY }
}

/// `s` is gone already: one delimiter three times, then only harmless flags.
fn substitution(rest: &str) -> bool {
    let mut chars = rest.chars();
    let Some(delimiter) = chars.next().filter(|c| !c.is_alphanumeric() && *c != '\\') else { return false };
    let mut seen = 1;
    let mut flags = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '\n' => return false,
            c if c == delimiter && seen < 3 => seen += 1,
            c if seen == 3 => flags.push(c),
            _ => {}
        }
    }
    seen == 3 && flags.chars().all(|c| matches!(c, 'g' | 'i' | 'I' | 'p' | '0'..='9'))
}
