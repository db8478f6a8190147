//! What a shell line would run and write, as far as a small honest reader can tell.
//!
//! Plain words, quotes without expansions, lists and pipes, redirections: understood. Everything else (expansions,
//! substitutions, here-documents, compound commands, wrappers and interpreters with code on the line) makes the
//! line *opaque*: the facts then say so, and the built-in rule `shell_opaque` asks a person. Opaque never means
//! allow. A deeper reader replaces this one; its contract, [`ShellFacts`], stays.

use std::collections::BTreeSet;

/// Longest line that is read, in bytes; a longer one is opaque.
const MAX_LINE_BYTES: usize = 8_192;
/// Most simple commands that are told apart; a line with more is opaque.
const MAX_COMMANDS: usize = 16;

/// What a line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShellFacts {
    /// The line as it was given, without blanks at its ends.
    pub line: String,
    /// Why the line is not understood.
    pub opaque: Option<&'static str>,
    /// Its simple commands, in order.
    pub commands: Vec<Simple>,
    /// A force push, however spelled, but not `--force-with-lease`.
    pub git_force_push: bool,
    /// Branches a push names as its target, without `refs/heads/`.
    pub git_push_refs: BTreeSet<String>,
    /// Calls our own binary with a verb that only a person may use.
    pub runs_gate: bool,
}

/// One simple command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simple {
    /// Program and arguments, unquoted.
    pub words: Vec<String>,
    /// Files it writes by redirection.
    pub writes: Vec<String>,
    /// Files it reads by redirection.
    pub reads: Vec<String>,
}

impl Simple {
    /// Base name of the program.
    pub fn program(&self) -> &str {
        let first = self.words.first().map(String::as_str).unwrap_or_default();
        first.rsplit('/').next().unwrap_or(first)
    }

    /// One text a command: words quoted where needed, redirections behind them. Two commands with different words
    /// never share a text.
    pub fn text(&self) -> String {
        let mut parts: Vec<String> = self.words.iter().map(|w| quote(w)).collect();
        parts.extend(self.reads.iter().map(|p| format!("<{}", quote(p))));
        parts.extend(self.writes.iter().map(|p| format!(">{}", quote(p))));
        parts.join(" ")
    }
}

/// Quotes a word so that a shell reads it back as itself.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Verbs of our own binary that read only; every other one is a person's.
const GATE_READS: &[&str] = &[
    "pending",
    "watch",
    "explain",
    "status",
    "doctor",
    "report",
    "config",
    "completions",
    "decide",
    "hook",
    "demo",
    "help",
    "mcp",
];
/// Verbs of our own binary that only a person may use.
const GATE_VERBS: &[&str] = &[
    "approve",
    "deny",
    "resume",
    "unfreeze",
    "halt",
    "freeze",
    "mode",
    "trust",
    "vault",
    "token",
    "init",
    "uninstall",
    "upgrade",
    "policy",
    "audit",
    "memory",
    "task",
    "review",
    "login",
    "link",
    "serve",
];

impl ShellFacts {
    /// Reads a line.
    pub fn read(line: &str) -> ShellFacts {
        let line = line.trim();
        let mut facts = ShellFacts { line: line.to_owned(), ..ShellFacts::default() };
        if line.len() > MAX_LINE_BYTES {
            facts.opaque = Some("the line is longer than 8192 bytes");
        } else {
            let mut lexer = Lexer::new(line);
            facts.opaque = lexer.run().err();
            facts.commands = lexer.commands;
        }
        if facts.opaque.is_none() && facts.commands.len() > MAX_COMMANDS {
            facts.opaque = Some("the line has more than 16 commands");
        }
        for command in &facts.commands {
            facts.opaque = facts.opaque.or_else(|| unread(command));
        }
        facts.read_git();
        facts.runs_gate = facts.reaches_for_gate();
        facts
    }

    /// Every text a rule's pattern is tried on: the line, the line with blanks collapsed, each simple command, and
    /// `git` and `rm` commands with their options in a fixed place.
    pub fn forms(&self) -> Vec<String> {
        let mut forms = vec![self.line.clone(), self.line.split_whitespace().collect::<Vec<_>>().join(" ")];
        for command in &self.commands {
            forms.push(command.text());
            forms.push(command.words.join(" "));
            if let Some((sub, flags, rest)) = git_parts(&command.words) {
                let words = ["git", sub].into_iter().chain(flags).chain(rest).collect::<Vec<_>>();
                forms.push(words.join(" "));
            }
            if command.program() == "rm" {
                forms.push(plain_rm(&command.words));
            }
        }
        let mut seen = BTreeSet::new();
        forms.retain(|f| seen.insert(f.clone()));
        forms
    }

    /// Programs of the line, by base name.
    pub fn programs(&self) -> BTreeSet<String> {
        self.commands.iter().map(|c| c.program().to_owned()).collect()
    }

    /// Raw pieces of a line that is not understood, for the search of blocked paths: everything between blanks,
    /// quotes and operators.
    pub fn pieces(&self) -> Vec<&str> {
        self.line
            .split(|c: char| c.is_whitespace() || "\"'`;|&()<>{}$,=".contains(c))
            .filter(|piece| !piece.is_empty())
            .collect()
    }

    fn read_git(&mut self) {
        for command in &self.commands {
            let Some(("push", flags, rest)) = git_parts(&command.words) else { continue };
            let short_force = |f: &str| f.starts_with('-') && !f.starts_with("--") && f.contains('f');
            // git accepts unambiguous beginnings of long options; `--force` alone is exact.
            let forced = flags.iter().any(|f| *f == "--force" || *f == "--mirror" || short_force(f));
            let refs = rest.get(1..).unwrap_or_default();
            self.git_force_push |= forced || refs.iter().any(|r| r.starts_with('+'));
            for r in refs {
                let target = r.trim_start_matches('+').rsplit(':').next().unwrap_or_default();
                self.git_push_refs.insert(target.trim_start_matches("refs/heads/").to_owned());
            }
        }
    }

    fn reaches_for_gate(&self) -> bool {
        if self.opaque.is_none() {
            return self.commands.iter().any(|c| c.program() == "countersign" && !only_reads(&c.words));
        }
        let pieces = self.pieces();
        pieces.windows(2).any(|pair| {
            matches!(pair, [program, verb]
                if program.rsplit('/').next() == Some("countersign") && GATE_VERBS.contains(verb))
        })
    }
}

/// Whether a call of our own binary only reads: its verb, and for verbs with parts the part, are on the list. The value
/// of a flag in front is not the verb, however it is called.
fn only_reads(words: &[String]) -> bool {
    let mut rest = words.iter().skip(1).map(String::as_str);
    let mut plain = Vec::new();
    while let Some(word) = rest.next() {
        match word {
            "--help" | "-h" | "--version" | "-V" => return true,
            "--project" | "--remote" => {
                rest.next();
            }
            flag if flag.starts_with('-') => {}
            word => plain.push(word),
        }
    }
    match plain.as_slice() {
        [] => true,
        ["audit", part, ..] => matches!(*part, "tail" | "verify" | "find"),
        ["policy", part, ..] => matches!(*part, "list" | "show" | "check" | "test"),
        ["task", part, ..] => matches!(*part, "list" | "show"),
        ["trust", part, ..] => *part == "list",
        [verb, ..] => GATE_READS.contains(verb),
    }
}

/// Splits a git command into sub-command, its options and the rest; global options are left out.
fn git_parts(words: &[String]) -> Option<(&str, Vec<&str>, Vec<&str>)> {
    let program = words.first()?;
    if program.rsplit('/').next() != Some("git") {
        return None;
    }
    let mut rest = words.iter().skip(1).map(String::as_str);
    let sub = loop {
        match rest.next()? {
            "-C" | "-c" | "--git-dir" | "--work-tree" | "--namespace" | "--exec-path" | "--config-env" => {
                rest.next()?;
            }
            option if option.starts_with('-') => {}
            sub => break sub,
        }
    };
    let mut flags = Vec::new();
    let mut others = Vec::new();
    let mut ended = false;
    for word in rest {
        match word {
            "--" => ended = true,
            flag if flag.starts_with('-') && !ended => flags.push(flag),
            other => others.push(other),
        }
    }
    Some((sub, flags, others))
}

/// `rm` with its recursive and forced flags written `-rf`, whatever their spelling and order.
fn plain_rm(words: &[String]) -> String {
    let mut recursive = false;
    let mut forced = false;
    let mut rest = Vec::new();
    for word in words.iter().skip(1) {
        match word.as_str() {
            "--recursive" => recursive = true,
            "--force" => forced = true,
            flag if flag.starts_with('-') && !flag.starts_with("--") && flag.len() > 1 => {
                recursive |= flag.contains(['r', 'R']);
                forced |= flag.contains('f');
            }
            other => rest.push(other),
        }
    }
    let flags = match (recursive, forced) {
        (true, true) => "-rf ",
        (true, false) => "-r ",
        (false, true) => "-f ",
        (false, false) => "",
    };
    format!("rm {flags}{}", rest.join(" "))
}

/// Why a simple command that reads cleanly is still not understood: it runs code or a command that stands in its
/// arguments or comes from elsewhere.
fn unread(command: &Simple) -> Option<&'static str> {
    const KEYWORDS: &[&str] = &[
        "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "select",
        "function", "time", "coproc", "!", "[[", "{", "}", "in",
    ];
    const WRAPPERS: &[&str] = &[
        "eval",
        "exec",
        "source",
        ".",
        "command",
        "builtin",
        "env",
        "sudo",
        "doas",
        "su",
        "nohup",
        "nice",
        "ionice",
        "setsid",
        "stdbuf",
        "timeout",
        "xargs",
        "parallel",
        "watch",
        "ssh",
        "chroot",
        "unshare",
        "nsenter",
        "script",
        "expect",
        "busybox",
        "toybox",
        "trap",
        "alias",
        "unalias",
        "enable",
        "hash",
        "strace",
        "ltrace",
        "gdb",
        "tmux",
        "screen",
        "at",
        "batch",
        "crontab",
        "flock",
        "bwrap",
        "systemd-run",
        "runuser",
        "setpriv",
        "docker",
        "podman",
        "npx",
        "uvx",
        "make",
        "awk",
        "gawk",
        "mawk",
        "ed",
        "ex",
        "export",
        "declare",
        "typeset",
        "readonly",
        "set",
        "shopt",
        "local",
        "printf",
        "read",
        "mapfile",
        "getopts",
        "let",
        "test",
        "[",
    ];
    // Of the list above, those that are harmless when nothing on their line is code.
    const HARMLESS: &[&str] = &["test", "[", "printf", "set", "export"];
    const INTERPRETERS: &[&str] = &[
        "sh",
        "bash",
        "dash",
        "zsh",
        "ksh",
        "fish",
        "python",
        "python3",
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
        "Rscript",
    ];
    let program = command.program();
    let has = |flags: &[&str]| command.words.iter().skip(1).any(|w| flags.contains(&w.as_str()));
    if KEYWORDS.contains(&program) {
        return Some("a compound command");
    }
    if command.words.first().is_some_and(|w| w.contains('=')) {
        return Some("an assignment in front of a command");
    }
    if WRAPPERS.contains(&program) {
        let harmless = match program {
            "export" => false,
            "set" => command
                .words
                .iter()
                .skip(1)
                .all(|w| matches!(w.as_str(), "-e" | "-u" | "-x" | "-eu" | "-ex" | "-eux")),
            "printf" => !command.words.iter().any(|w| w == "-v"),
            name => HARMLESS.contains(&name),
        };
        return (!harmless).then_some("a program that runs what its arguments say");
    }
    if INTERPRETERS.contains(&program) {
        let version = has(&["--version", "-V", "-v"]) && command.words.len() == 2;
        let script = command.words.get(1).is_some_and(|w| !w.starts_with('-'));
        return (!version && !script).then_some("an interpreter with code on its line or from its input");
    }
    match program {
        "find" if has(&["-exec", "-execdir", "-ok", "-okdir", "-delete", "-fprint", "-fprintf", "-fls"]) => {
            Some("find with an action")
        }
        "git" => {
            let early = command.words.iter().skip(1).take_while(|w| w.starts_with('-') || w.contains('='));
            let config = early
                .clone()
                .any(|w| w == "-c" || w.starts_with("--config-env") || w.starts_with("--exec-path"));
            let runs = matches!(
                git_parts(&command.words),
                Some((
                    "bisect"
                        | "submodule"
                        | "filter-branch"
                        | "rebase"
                        | "difftool"
                        | "mergetool"
                        | "config"
                        | "alias",
                    _,
                    _
                ))
            );
            let helper = command
                .words
                .iter()
                .any(|w| w.starts_with("--upload-pack") || w.starts_with("--receive-pack"));
            (config || runs || helper).then_some("a git command that can run others")
        }
        "tar"
            if command
                .words
                .iter()
                .any(|w| w.starts_with("--to-command") || w.starts_with("--checkpoint-action")) =>
        {
            Some("tar with an action")
        }
        "sed"
            if command.words.iter().any(|w| w == "-n" || w.starts_with("--")) && command.words.len() > 12 =>
        {
            Some("a long sed script")
        }
        "" => Some("a command without a program"),
        _ => None,
    }
}

struct Lexer<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    commands: Vec<Simple>,
    current: Simple,
    word: Option<String>,
    /// What the next finished word is.
    target: Target,
}

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Word,
    Write,
    Read,
    Descriptor,
    HereString,
}

type Read = Result<(), &'static str>;

impl<'a> Lexer<'a> {
    fn new(line: &'a str) -> Lexer<'a> {
        Lexer {
            chars: line.chars().peekable(),
            commands: Vec::new(),
            current: Simple::default(),
            word: None,
            target: Target::Word,
        }
    }

    fn run(&mut self) -> Read {
        while let Some(c) = self.chars.next() {
            match c {
                ' ' | '\t' => self.end_word()?,
                '\n' | ';' => self.end_command()?,
                '&' => match self.chars.peek() {
                    Some('&') => {
                        self.chars.next();
                        self.end_command()?;
                    }
                    Some('>') => {
                        self.chars.next();
                        self.end_word()?;
                        self.output()?;
                    }
                    _ => self.end_command()?,
                },
                '|' => {
                    if matches!(self.chars.peek(), Some('|' | '&')) {
                        self.chars.next();
                    }
                    self.end_command()?;
                }
                '>' | '<' => {
                    // Digits right before the sign are a descriptor, not an argument.
                    match self.word.take() {
                        Some(word) if word.chars().all(|d| d.is_ascii_digit()) => {}
                        other => {
                            self.word = other;
                            self.end_word()?;
                        }
                    }
                    if c == '>' { self.output()? } else { self.input()? }
                }
                '\'' => {
                    let word = self.word.get_or_insert_default();
                    loop {
                        match self.chars.next() {
                            Some('\'') => break,
                            Some(c) => word.push(c),
                            None => return Err("an unfinished quote"),
                        }
                    }
                }
                '"' => self.double_quoted()?,
                '\\' => match self.chars.next() {
                    Some('\n') => {}
                    Some(c) => self.word.get_or_insert_default().push(c),
                    None => return Err("a backslash at the end"),
                },
                '$' => return Err("an expansion"),
                '`' => return Err("a command substitution"),
                '(' | ')' => return Err("a sub-shell, a function or an array"),
                '{' | '}' => return Err("a group or a brace expansion"),
                '#' if self.word.is_none() => {
                    while self.chars.peek().is_some_and(|c| *c != '\n') {
                        self.chars.next();
                    }
                }
                '*' | '?' | '[' => {
                    // A pattern may stand for any file; a leading dot makes hidden files its aim.
                    let word = self.word.get_or_insert_default();
                    let last = word.rsplit('/').next().unwrap_or_default();
                    if last.starts_with('.') {
                        return Err("a pattern over hidden files");
                    }
                    word.push(c);
                }
                '\r' | '\0' => return Err("a control character"),
                c => self.word.get_or_insert_default().push(c),
            }
        }
        if self.target != Target::Word && self.word.is_none() {
            return Err("a redirection without a file");
        }
        self.end_command()
    }

    fn double_quoted(&mut self) -> Read {
        self.word.get_or_insert_default();
        loop {
            let c = match self.chars.next() {
                Some('"') => return Ok(()),
                Some('$') => return Err("an expansion"),
                Some('`') => return Err("a command substitution"),
                Some('\\') => match self.chars.next() {
                    Some(c @ ('"' | '\\' | '$' | '`')) => c,
                    Some('\n') => continue,
                    Some(c) => {
                        self.word.get_or_insert_default().push('\\');
                        c
                    }
                    None => return Err("an unfinished quote"),
                },
                Some(c) => c,
                None => return Err("an unfinished quote"),
            };
            self.word.get_or_insert_default().push(c);
        }
    }

    fn output(&mut self) -> Read {
        self.expect_target()?;
        match self.chars.peek() {
            Some('>' | '|') => {
                self.chars.next();
                self.target = Target::Write;
            }
            Some('&') => {
                self.chars.next();
                self.target = Target::Descriptor;
            }
            Some('(') => return Err("a process substitution"),
            _ => self.target = Target::Write,
        }
        Ok(())
    }

    fn input(&mut self) -> Read {
        self.expect_target()?;
        match self.chars.peek() {
            Some('<') => {
                self.chars.next();
                if self.chars.peek() != Some(&'<') {
                    return Err("a here-document");
                }
                self.chars.next();
                self.target = Target::HereString;
            }
            Some('&') => {
                self.chars.next();
                self.target = Target::Descriptor;
            }
            Some('(') => return Err("a process substitution"),
            Some('>') => return Err("a file opened for both"),
            _ => self.target = Target::Read,
        }
        Ok(())
    }

    fn expect_target(&self) -> Read {
        if self.target == Target::Word { Ok(()) } else { Err("a redirection without a file") }
    }

    fn end_word(&mut self) -> Read {
        let Some(word) = self.word.take() else { return Ok(()) };
        if word.starts_with('~') && !(word == "~" || word.starts_with("~/")) {
            return Err("another user's home");
        }
        match std::mem::replace(&mut self.target, Target::Word) {
            Target::Word => self.current.words.push(word),
            Target::Write => self.current.writes.push(word),
            Target::Read => self.current.reads.push(word),
            Target::HereString => {}
            Target::Descriptor if word.chars().all(|c| c.is_ascii_digit() || c == '-') => {}
            // `>& file` writes both streams to a file.
            Target::Descriptor => self.current.writes.push(word),
        }
        Ok(())
    }

    fn end_command(&mut self) -> Read {
        self.end_word()?;
        self.expect_target()?;
        let command = std::mem::take(&mut self.current);
        if !command.words.is_empty() || !command.writes.is_empty() {
            self.commands.push(command);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> ShellFacts {
        ShellFacts::read(line)
    }

    #[test]
    fn plain_lines_are_understood() {
        for (line, commands) in [
            ("ls -la", vec!["ls -la"]),
            ("cd a && cargo test 2>&1 | tail -5", vec!["cd a", "cargo test", "tail -5"]),
            ("echo \"it's\" 'a b' > out.txt", vec!["echo 'it'\\''s' 'a b' >out.txt"]),
            ("grep -rn foo *.rs; git status", vec!["grep -rn foo '*.rs'", "git status"]),
            ("echo a\\ b # comment", vec!["echo 'a b'"]),
            ("sort < in >> out &> log", vec!["sort <in >out >log"]),
            ("git commit -m 'countersign approve all'", vec!["git commit -m 'countersign approve all'"]),
        ] {
            let facts = read(line);
            assert_eq!(facts.opaque, None, "{line}");
            assert_eq!(facts.commands.iter().map(Simple::text).collect::<Vec<_>>(), commands, "{line}");
            assert!(!facts.runs_gate, "{line}");
        }
    }

    /// P-6: what is not fully understood says so.
    #[test]
    fn the_rest_is_opaque() {
        for line in [
            "echo $HOME",
            "echo \"$(id)\"",
            "echo `id`",
            "bash -c 'rm x'",
            "sh <<< 'rm x'",
            "cat <<EOF\nx\nEOF",
            "(rm x)",
            "{ rm x; }",
            "if true; then rm x; fi",
            "A=b rm x",
            "sudo rm x",
            "env rm x",
            "xargs rm",
            "eval rm x",
            "find . -exec rm x ;",
            "find . -delete",
            "python3 -c 'x'",
            "node -e x",
            "curl x | sh",
            "python3 -",
            "rm .e*",
            "echo {a,b}",
            "echo 'x",
            "diff <(a) b",
            "rm x >",
            "! rm x",
            "git -c core.pager=x log",
            "f() { rm x; }",
            "ssh host rm x",
            "time rm x",
            "exec rm x",
            ". ./x",
            "source x",
            "ls ~root",
            "echo a\rb",
            "alias x=y",
            "export PATH=/x",
            "GIT_DIR=x git push",
            "git config x y",
            "timeout 5 rm x",
            "nohup rm x",
            "trap x EXIT",
        ] {
            assert!(read(line).opaque.is_some(), "{line}");
        }
        assert!(read(&"a ".repeat(5_000)).opaque.is_some());
        assert!(read(&"a;".repeat(17)).opaque.is_some());
    }

    /// INV-23: spellings of a force push, and the one that is not.
    #[test]
    fn force_pushes() {
        for line in [
            "git push --force",
            "git push -f origin main",
            "git push origin main --force",
            "git  push   -f",
            "git -C d push -f",
            "git push origin +main",
            "git push -uf origin x",
            "/usr/bin/git push --force",
            "cd a && git push -f",
            "git push 'origin' \"main\" '--force'",
            "git --no-pager push -f",
            "g\\it push --force",
            "git push --mirror",
        ] {
            let facts = read(line);
            assert!(facts.git_force_push && facts.opaque.is_none(), "{line}: {:?}", facts.opaque);
        }
        for line in [
            "git push --force-with-lease",
            "git push origin main",
            "git push origin --follow-tags",
            "echo git push --force",
        ] {
            assert!(!read(line).git_force_push, "{line}");
        }
        let refs = read("git push origin HEAD:refs/heads/main +x").git_push_refs;
        assert_eq!(refs.into_iter().collect::<Vec<_>>(), ["main", "x"]);
    }

    #[test]
    fn calls_to_the_gate_itself() {
        for line in [
            "countersign approve X",
            "/opt/bin/countersign --project . approve X",
            "ls; countersign resume",
            "bash -c 'countersign approve X'",
            "env countersign mode watch",
            "countersign audit seal",
            "countersign --project status approve X",
            "countersign -q trust accept project",
            "countersign audit note tail",
            "x=$(countersign vault list)",
        ] {
            assert!(read(line).runs_gate, "{line}");
        }
        for line in [
            "countersign pending",
            "countersign status --json",
            "countersign audit verify",
            "countersign --project . audit tail -n 5",
            "countersign approve --help",
            "countersign --help",
            "echo countersign approve",
        ] {
            assert!(!read(line).runs_gate, "{line}");
        }
    }

    #[test]
    fn forms_meet_patterns_of_the_plain_spelling() {
        let has = |line: &str, form: &str| {
            assert!(read(line).forms().contains(&form.to_string()), "{line}: {:?}", read(line).forms())
        };
        has("rm   -fr  /", "rm -rf /");
        has("rm -r -f /", "rm -rf /");
        has("rm --recursive --force /", "rm -rf /");
        has("rm / -rf", "rm -rf /");
        has("git -C d push origin main --force", "git push --force origin main");
    }

    #[test]
    fn different_commands_have_different_texts() {
        let text = |l: &str| read(l).commands[0].text();
        assert_ne!(text("rm 'a b'"), text("rm a b"));
        assert_ne!(text("echo '>x'"), text("echo >x"));
    }
}
