//! What a shell line would run, read, write and send, as far as two readers and a table of programs can tell.
//!
//! `brush` and `tree` read the text into one form (`script`, `word`), `union` says when one reading is enough, `walk` and
//! `expand` find commands and values, `wrappers`, `code` and `meaning` what runs others, `programs` what words are to a
//! program, `effects` what a line does. What is not understood makes the line *opaque*: the built-in rule `shell_opaque`
//! asks a person, never allows. What a script or a project's own build does is not read.

mod brush;
mod code;
mod effects;
mod expand;
mod git;
mod meaning;
pub(crate) mod programs;
pub(crate) use effects::later;
pub(crate) use effects::secrets::secret;
mod script;
mod tree;
mod union;
mod walk;
mod word;
mod wrappers;

use super::MAX_FORMS;
use std::collections::BTreeSet;

/// Longest line that is judged, in bytes; a longer one is refused (DECISIONS row 21): nobody could read it in a question.
pub const MAX_LINE_BYTES: usize = 65_536;

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
    /// Branches a push names as its target, without `refs/heads/`; `*` for all.
    pub git_push_refs: BTreeSet<String>,
    /// Calls our own binary with a verb that only a person may use.
    pub runs_gate: bool,
    /// Classes of what the line does that built-in rules are written on, each a rule's word in snake case.
    pub effects: BTreeSet<&'static str>,
    /// Repositories it clones, as `owner/name` in lower case.
    pub git_clones: BTreeSet<String>,
    /// Verbs of SQL that it hands to a database shell, in upper case.
    pub sql_verbs: BTreeSet<String>,
    /// Hosts it talks to, in lower case and without port.
    pub network_hosts: BTreeSet<String>,
}

/// One word of a command, unquoted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Its text.
    pub text: String,
    /// It holds an unquoted pattern character or begins with an unquoted `~`: the shell makes something else of it.
    pub live: bool,
    /// A part of it comes from an expansion whose value is not known here; [`UNKNOWN`] stands in its place.
    pub unknown: bool,
}

/// Stands in a word's text for a part that is not known. No line may hold it: it cannot be typed into a name by mistake.
pub const UNKNOWN: char = '\u{fffc}';

/// The text of a word that is the folder of the repository and nothing else: somewhere above the line's own folder.
pub(crate) const TOP: &str = "\u{fffc}repository";

impl Word {
    /// The word as a shell would have to be given it.
    fn written(&self) -> String {
        if !self.live {
            return quote(&self.text);
        }
        let mut out = String::new();
        for c in self.text.chars() {
            match c {
                c if c.is_alphanumeric() || "-_./:=,+@%^~*?[]!".contains(c) => out.push(c),
                '\n' => out.push_str("'\n'"),
                c => out.extend(['\\', c]),
            }
        }
        out
    }

    /// Whether it is a pattern over file names.
    pub fn is_pattern(&self) -> bool {
        self.live && self.text.contains(['*', '?', '['])
    }
}

/// One simple command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simple {
    /// Program and arguments.
    pub words: Vec<Word>,
    /// Files it writes by redirection.
    pub writes: Vec<Word>,
    /// Files it reads by redirection.
    pub reads: Vec<Word>,
    /// Its input is a text on the line.
    pub fed: bool,
    /// That text, as far as it is known.
    pub input: Option<Word>,
    /// Assignments in front of it.
    pub sets: Vec<(String, Word)>,
    /// Place in the line's commands of the one whose output it reads through a pipe.
    pub piped_from: Option<usize>,
    /// Place in the line's commands of the one that runs it: `sudo`, `xargs`, `bash -c`.
    pub run_by: Option<usize>,
}

impl Simple {
    /// Base name of the program.
    pub fn program(&self) -> &str {
        let first = self.words.first().map(|w| w.text.as_str()).unwrap_or_default();
        first.rsplit('/').next().unwrap_or(first)
    }

    /// The words behind the program.
    pub fn args(&self) -> impl Iterator<Item = &str> {
        self.words.iter().skip(1).map(|w| w.text.as_str())
    }

    /// One text a command: words quoted where needed, patterns bare, redirections behind them. Two commands that do
    /// different things never share a text.
    pub fn text(&self) -> String {
        let mut parts: Vec<String> =
            self.sets.iter().map(|(name, v)| format!("{name}={}", v.written())).collect();
        parts.extend(self.words.iter().map(Word::written));
        parts.extend(self.input.iter().map(|text| format!("<<<{}", text.written())));
        parts.extend(self.reads.iter().map(|p| format!("<{}", p.written())));
        parts.extend(self.writes.iter().map(|p| format!(">{}", p.written())));
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

/// Whether the names a command reads come from a program that lists files: then they are read as with `grep -r`, and the
/// lister's own words say which they may be.
fn finds_names(commands: &[Simple], command: &Simple) -> bool {
    const LISTS: &[&str] =
        &["find", "fd", "fdfind", "ls", "rg", "grep", "git", "sort", "uniq", "head", "tail", "grep"];
    let Some(runner) = command.run_by.and_then(|at| commands.get(at)) else { return false };
    if matches!(runner.program(), "find" | "fd" | "fdfind") {
        return true;
    }
    let mut next = command.piped_from;
    let mut lister = false;
    while let Some(source) = next.and_then(|at| commands.get(at)) {
        if !LISTS.contains(&source.program()) {
            return false;
        }
        let git = source.program() == "git";
        if git && !source.args().any(|w| matches!(w, "ls-files" | "diff" | "grep" | "ls-tree")) {
            return false;
        }
        // A filter that may have been made for one of the files that nobody reads.
        let letters = |w: &str| w.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
        let aims =
            |w: &str| !w.starts_with('-') && (letters(w).is_empty() || ".env.local".contains(&letters(w)));
        if source.program() == "grep" && source.piped_from.is_some() && source.args().any(aims) {
            return false;
        }
        // What a filter passes on was in its input.
        lister = !matches!(source.program(), "sort" | "uniq" | "head" | "tail");
        next = source.piped_from;
    }
    runner.program() == "xargs" && lister
}

/// Verbs of our own binary that read only; every other one is a person's, or a client's.
const GATE_READS: &[&str] =
    &["pending", "watch", "explain", "status", "doctor", "report", "config", "completions", "demo", "help"];
/// Verbs of our own binary that an agent has no business with.
const GATE_VERBS: &[&str] = &[
    // Its command would be taken for one that a person typed.
    "mcp",
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
    "hook",
    "decide",
];

impl ShellFacts {
    /// Reads a line.
    pub fn read(line: &str) -> ShellFacts {
        let line = line.trim();
        let mut facts = ShellFacts { line: line.to_owned(), ..ShellFacts::default() };
        let found = walk::walk(line);
        (facts.commands, facts.opaque) = (found.commands, found.opaque);
        let acts: Vec<programs::Act> = facts.commands.iter().map(programs::act).collect();
        for (place, (command, act)) in facts.commands.iter().zip(&acts).enumerate() {
            let through = found.through.contains(&place);
            let found = act.unknown_reads && finds_names(&facts.commands, command);
            // What `find` hands on begins with the folder it was given.
            let derived = command.program() == "rm"
                && command.run_by.and_then(|at| facts.commands.get(at)).is_some_and(effects::only_derived);
            if !(through || found || derived) {
                facts.opaque = facts.opaque.or(act.unread);
            }
            if let Some(git) = git::parts(command).filter(|g| g.sub == "push") {
                let (forced, refs) = git::push(&git);
                facts.git_force_push |= forced;
                facts.git_push_refs.extend(refs);
            }
        }
        effects::add(&mut facts, &acts);
        facts.runs_gate = facts.reaches_for_gate();
        facts
    }

    /// A line whose language is not read here at all: everything about it is unknown but its pieces.
    pub fn unreadable(line: &str, why: &'static str) -> ShellFacts {
        let mut facts =
            ShellFacts { line: line.trim().to_owned(), opaque: Some(why), ..ShellFacts::default() };
        facts.runs_gate = facts.reaches_for_gate();
        facts
    }

    /// Every text a rule's pattern is tried on: the line, the line with blanks collapsed, each simple command, and
    /// `git` and `rm` commands with their options in a fixed place. Commands as they would be typed, which differ by quotes
    /// and redirections only, are left out where there are many: what they write is a fact of its own.
    pub fn forms(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut forms = Vec::new();
        let mut add = |form: String, most: usize| {
            if forms.len() < most && seen.insert(form.clone()) {
                forms.push(form);
            }
        };
        add(self.line.clone(), usize::MAX);
        add(self.line.split_whitespace().collect::<Vec<_>>().join(" "), usize::MAX);
        for command in self.commands.iter().filter(|c| !c.words.is_empty()) {
            let words: Vec<&str> = command.words.iter().map(|w| w.text.as_str()).collect();
            add(words.join(" "), usize::MAX);
            if let Some(git) = git::parts(command) {
                let words: Vec<&str> =
                    ["git", git.sub].into_iter().chain(git.flags).chain(git.rest).collect();
                add(words.join(" "), usize::MAX);
            }
            if command.program() == "rm" {
                add(plain_rm(command), usize::MAX);
            }
        }
        for command in &self.commands {
            add(command.text(), MAX_FORMS / 2);
        }
        forms
    }

    /// Whether a part of a command is not known.
    pub fn unknown(&self) -> bool {
        let words =
            |c: &Simple| c.words.iter().chain(&c.writes).chain(&c.reads).chain(&c.input).any(|w| w.unknown);
        self.commands.iter().any(|c| words(c) || c.sets.iter().any(|(_, value)| value.unknown))
    }

    /// Programs of the line, by base name.
    pub fn programs(&self) -> BTreeSet<String> {
        self.commands.iter().map(|c| c.program().to_owned()).collect()
    }

    /// Raw pieces of a line that is not understood, for the search of blocked paths: everything between blanks,
    /// quotes and operators.
    pub fn pieces(&self) -> Vec<&str> {
        self.line
            .split(|c: char| c.is_whitespace() || "\"'`;|&()<>{}$,=@".contains(c))
            .filter(|piece| !piece.is_empty())
            .collect()
    }

    fn reaches_for_gate(&self) -> bool {
        if self.opaque.is_none() {
            return self.commands.iter().any(|c| c.program() == "countersign" && !only_reads(c));
        }
        let pieces = self.pieces();
        pieces.windows(2).any(|pair| {
            matches!(pair, [program, verb]
                if program.rsplit('/').next() == Some("countersign") && GATE_VERBS.contains(verb))
        }) || self.commands.iter().any(|c| c.program() == "countersign" && !only_reads(c))
    }
}

/// Whether a call of our own binary only reads: its verb, and for verbs with parts the part, are on the list. The value
/// of a flag in front is not the verb, however it is called.
fn only_reads(command: &Simple) -> bool {
    let mut rest = command.args();
    let mut plain = Vec::new();
    while let Some(word) = rest.next() {
        match word {
            "--" => break,
            "--help" | "-h" | "--version" | "-V" => return true,
            "--project" | "--remote" => {
                rest.next();
            }
            // A report can be written to a file.
            "--out" => return false,
            flag if flag.starts_with("--out=") => return false,
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

/// `rm` with its recursive and forced flags written `-rf`, whatever their spelling and order.
fn plain_rm(command: &Simple) -> String {
    let mut recursive = false;
    let mut forced = false;
    let mut rest = Vec::new();
    for word in command.args() {
        match word {
            flag if flag.len() > 2 && "--recursive".starts_with(flag) => recursive = true,
            flag if flag.len() > 2 && "--force".starts_with(flag) => forced = true,
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

#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod tests;
