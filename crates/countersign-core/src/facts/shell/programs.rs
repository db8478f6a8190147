//! What is known of programs: a closed list. A program that is not on it, or whose options can run others or decide
//! by themselves what is written, makes its line opaque: a person is asked, and nobody has to have thought of it.

use super::{Simple, git};

/// Shell words that open compound commands.
const KEYWORDS: &[&str] = &[
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "select",
    "function", "time", "coproc", "!", "[[", "{", "}", "in",
];

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
    "fd",
];

/// Programs that change files in ways their words tell.
const FILES: &[&str] = &[
    "touch", "mkdir", "rmdir", "rm", "cp", "mv", "ln", "chmod", "tee", "install", "truncate", "shred", "dd",
    "unlink",
];

/// Programs that build, test and fetch. What a project's own files make them do is not read, as with any script.
const BUILD: &[&str] = &[
    "cargo", "rustc", "rustfmt", "go", "gofmt", "npm", "pnpm", "yarn", "pytest", "ruff", "black", "isort",
    "flake8", "mypy", "tsc", "eslint", "prettier", "vitest", "jest", "make", "cmake", "ninja", "gradle",
    "mvn", "curl", "wget", "git",
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
    TEXT.contains(&program) && !["uniq", "sort", "tree", "xxd", "sed", "find", "fd"].contains(&program)
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
    if KEYWORDS.contains(&program) {
        return Some("a compound command");
    }
    if first.text.contains('=') {
        return Some("an assignment in front of a command");
    }
    if program == "countersign" {
        // Its verbs are told apart by a fact of their own.
        return None;
    }
    if INTERPRETERS.contains(&family(program).as_str()) {
        return interpreter(command);
    }
    let known = [TEXT, FILES, BUILD].iter().any(|list| list.contains(&program));
    if !known {
        // A file of the project's own is run like any script; what it does is not read.
        let own = first.text.starts_with("./") || first.text.starts_with("../");
        let named = first.text.contains('/') && !first.text.starts_with('/') && !first.text.starts_with('~');
        return (!own && !named).then_some("a program that is not known");
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

fn interpreter(command: &Simple) -> Option<&'static str> {
    const WHY: Option<&str> = Some("an interpreter with code on its line or from its input");
    let words: Vec<&str> = command.args().collect();
    match words.as_slice() {
        ["--version" | "-V" | "-v" | "--help"] => None,
        ["-m", "pytest" | "unittest" | "json.tool", ..] => None,
        // A script decides for itself; code that comes by descriptor or here-string stands nowhere.
        [script, ..] if !script.starts_with('-') => {
            let fed = script.starts_with("/dev/") || script.starts_with("/proc/") || command.fed;
            if fed { WHY } else { None }
        }
        _ => WHY,
    }
}

fn options(program: &str, command: &Simple) -> Option<&'static str> {
    let any = |begins: &[&str]| command.args().any(|w| begins.iter().any(|b| w.starts_with(b)));
    let first = command.args().find(|w| !w.starts_with('-')).unwrap_or_default();
    const RUNS: Option<&str> = Some("an option that runs a program");
    match program {
        "git" => git::unread(command),
        "find" => any(&["-exec", "-ok", "-delete", "-fprint", "-fls"]).then_some("find with an action"),
        "fd" => any(&["-x", "-X", "--exec"]).then_some("fd with an action"),
        "rg" if any(&["--pre", "--hostname-bin"]) => RUNS,
        "sort" if any(&["--co", "-T", "--temp"]) => RUNS,
        "sed" => sed(command),
        "date" if any(&["-s", "--set"]) => Some("sets the clock"),
        "curl" => {
            any(&["-K", "--config", "--engine", "--libcurl"]).then_some("a configuration from elsewhere")
        }
        "wget" => any(&["-e", "--exec", "--config", "--use-ask", "-i", "--input"])
            .then_some("a configuration from elsewhere"),
        "make" | "cmake" | "ninja" | "gradle" | "mvn" => {
            let odd = any(&["--eval", "-f", "--file", "--makefile", "-E", "-P", "-D", "--init-script", "-I"])
                || command.args().any(|w| w.contains('='));
            odd.then_some("a build with settings on its line")
        }
        "cargo" => {
            const KNOWN: &[&str] = &[
                "build", "b", "check", "c", "test", "t", "run", "r", "clippy", "fmt", "doc", "d", "bench",
                "update", "tree", "metadata", "add", "remove", "clean", "new", "init", "fetch", "vendor",
                "search", "info", "nextest", "deny", "audit", "publish", "package", "xtask", "version", "",
            ];
            let toolchain = first.starts_with('+');
            (any(&["--config", "-Z", "-C"]) || toolchain || !KNOWN.contains(&first))
                .then_some("a cargo command that is not known")
        }
        "go" => {
            const KNOWN: &[&str] = &[
                "build", "test", "run", "vet", "fmt", "mod", "list", "version", "doc", "get", "install", "",
            ];
            (any(&["-exec", "-toolexec", "-vettool", "-overlay", "-modfile"]) || !KNOWN.contains(&first))
                .then_some("a go command that is not known")
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
                "version",
                "",
            ];
            (any(&["--script-shell", "--prefix", "-C", "--dir", "--cwd", "--userconfig", "--globalconfig"])
                || !KNOWN.contains(&first))
            .then_some("a package command that is not known")
        }
        "rustc" | "tsc" if any(&["-C", "@", "--codegen"]) => RUNS,
        "pytest" if any(&["-c", "-o", "--override", "-p", "--confcutdir"]) => Some("settings on its line"),
        "eslint" | "prettier" | "vitest" | "jest"
            if any(&["--config", "-c", "--plugin", "--rulesdir", "--resolve"]) =>
        {
            Some("a configuration from elsewhere")
        }
        "printf" if any(&["-v"]) => Some("a builtin that sets a variable"),
        _ => None,
    }
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
            option if option.starts_with("-i.") => {}
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
