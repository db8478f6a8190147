//! Facts: what policies may see of a call, taken from its arguments alone.
//!
//! `tools` maps names to classes, actions and tiers; `shell` reads command lines; `paths` reads path values. Rules
//! never see agent JSON: they see the typed context that is made of these facts.

pub mod paths;
pub mod shell;
pub mod tools;

use crate::call::ToolCall;
use crate::code::Code;
use crate::json::Json;
use paths::{Access, Bases, PathUse};
use shell::ShellFacts;
use std::collections::BTreeSet;
use tools::{Tier, ToolClass};

/// Most forms of one call that rules are tried on.
pub const MAX_FORMS: usize = 64;
/// Most path values of one call that are looked up.
pub const MAX_PATHS: usize = 256;

/// What is known of a call without looking at the world.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Class of the tool.
    pub class: ToolClass,
    /// Tier of the tool by its name.
    pub tier: Tier,
    /// What its shell line says; shell tools only.
    pub shell: Option<ShellFacts>,
    /// Forms of the command that rules are tried on.
    pub command_forms: Vec<String>,
    /// Absolute paths the call writes, as far as it tells; rules see each as `file_path` in several spellings.
    pub writes: Vec<String>,
    /// The path argument of a file-writing tool as it was given.
    pub given_write: Option<String>,
    /// Every path the call names.
    pub paths: Vec<PathUse>,
}

/// Why a call cannot be judged by its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactError {
    /// The code it is refused with.
    pub code: Code,
    /// What is wrong, in words that name the field.
    pub why: String,
}

fn fail(code: Code, why: impl Into<String>) -> FactError {
    FactError { code, why: why.into() }
}

/// Programs that only read what their arguments name.
const READERS: &[&str] = &[
    "cat",
    "less",
    "more",
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
    "find",
    "tree",
    "du",
    "md5sum",
    "sha256sum",
    "xxd",
    "od",
    "hexdump",
    "strings",
    "nl",
    "cut",
    "tr",
    "uniq",
    "column",
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
    "bat",
];
/// Programs that take away or change a whole tree.
const TAKERS: &[&str] =
    &["rm", "rmdir", "mv", "chmod", "chown", "chgrp", "chattr", "shred", "unlink", "truncate", "ln"];

impl Facts {
    /// Reads a call. `home` is the user's home folder, if known.
    pub fn of(call: &ToolCall, home: Option<&str>) -> Result<Facts, FactError> {
        let tool = call.tool();
        let mut facts = Facts {
            class: tools::class(tool),
            tier: tools::tier(tool),
            shell: None,
            command_forms: Vec::new(),
            writes: Vec::new(),
            given_write: None,
            paths: Vec::new(),
        };
        let cwd = call.parts().cwd.as_deref().unwrap_or("/");
        let bases = Bases { cwd, home };
        if let Some(member) = tools::command_member(tool) {
            let line = mapped(call, member)?;
            let shell = ShellFacts::read(line);
            facts.command_forms = shell.forms();
            facts.read_shell(&shell, bases);
            facts.shell = Some(shell);
        } else {
            if let Some(member) = tools::write_path_member(tool) {
                let path = mapped(call, member)?;
                facts.given_write = Some(path.to_owned());
                if let Some(path) = paths::absolute(path, bases) {
                    facts.writes.push(path);
                }
            }
            facts.walk(call.args(), None, tool, bases)?;
        }
        let mut seen = BTreeSet::new();
        facts.paths.retain(|p| seen.insert((p.path.clone(), p.access == Access::Write, p.takes_tree)));
        if facts.paths.len() > MAX_PATHS || facts.command_forms.len() + facts.write_forms().len() > MAX_FORMS
        {
            return Err(fail(
                Code::TooManyForms,
                format!("the call names more than {MAX_FORMS} commands or paths"),
            ));
        }
        Ok(facts)
    }

    /// Simple commands of an understood line.
    pub fn understood(&self) -> Option<Vec<String>> {
        let shell = self.shell.as_ref().filter(|s| s.opaque.is_none())?;
        Some(shell.commands.iter().map(shell::Simple::text).collect())
    }

    /// Spellings of the written paths that rules are tried on: as given, and absolute.
    pub fn write_forms(&self) -> Vec<String> {
        let mut forms: Vec<String> =
            self.given_write.iter().cloned().chain(self.writes.iter().cloned()).collect();
        let mut seen = BTreeSet::new();
        forms.retain(|f| seen.insert(f.clone()));
        forms
    }

    fn read_shell(&mut self, shell: &ShellFacts, bases: Bases<'_>) {
        let mut folders = vec![bases.cwd.to_owned()];
        for command in &shell.commands {
            let program = command.program();
            let access = if READERS.contains(&program) { Access::Read } else { Access::Write };
            let takes_tree = TAKERS.contains(&program);
            for word in command.words.iter().skip(1).map(|w| option_value(w)) {
                self.name("command", word, &folders, bases, access, takes_tree);
            }
            for path in &command.reads {
                self.name("command", path, &folders, bases, Access::Read, false);
            }
            for path in &command.writes {
                self.name("command", path, &folders, bases, Access::Write, false);
                for folder in &folders {
                    self.writes.extend(paths::absolute(path, Bases { cwd: folder, ..bases }));
                }
            }
            if program == "cd"
                && let Some(target) = command.words.get(1)
            {
                let next: Vec<String> = folders
                    .iter()
                    .filter_map(|folder| paths::absolute(target, Bases { cwd: folder, ..bases }))
                    .collect();
                folders.extend(next);
                folders.truncate(8);
            }
        }
        if shell.opaque.is_some() {
            for piece in shell.pieces() {
                self.name("command", piece, &folders, bases, Access::Write, false);
            }
        }
    }

    fn name(
        &mut self,
        place: &str,
        word: &str,
        folders: &[String],
        bases: Bases<'_>,
        access: Access,
        takes: bool,
    ) {
        // A bare option is no path; a value behind `=` was already cut out.
        if word.is_empty() || (word.starts_with('-') && !word.contains('/')) || word.len() > 4_096 {
            return;
        }
        for folder in folders {
            if let Some(path) = paths::absolute(word, Bases { cwd: folder, ..bases }) {
                self.paths.push(PathUse { place: place.to_owned(), path, access, takes_tree: takes });
            }
        }
    }

    fn walk(
        &mut self,
        value: &Json,
        key: Option<&str>,
        tool: &str,
        bases: Bases<'_>,
    ) -> Result<(), FactError> {
        match value {
            Json::Object(members) => members.iter().try_for_each(|(k, v)| {
                if self.class == ToolClass::Other && paths::looks_like_path(k) {
                    self.path_value(k, k, tool, bases)?;
                }
                self.walk(v, Some(k), tool, bases)
            }),
            Json::Array(items) => items.iter().try_for_each(|v| self.walk(v, key, tool, bases)),
            Json::String(text) => {
                let key = key.unwrap_or_default();
                let scanned = match self.class {
                    // The agent's own questions, notes and prompts are not opened by anyone.
                    ToolClass::Subagent | ToolClass::Question | ToolClass::Notes => false,
                    ToolClass::Other => true,
                    _ => {
                        paths::is_path_key(key)
                            || (!paths::is_content_key(key) && paths::looks_like_path(text))
                    }
                };
                if scanned { self.path_value(key, text, tool, bases) } else { Ok(()) }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
        }
    }

    fn path_value(&mut self, key: &str, text: &str, tool: &str, bases: Bases<'_>) -> Result<(), FactError> {
        let access = match self.class {
            ToolClass::FileRead | ToolClass::FileSearch | ToolClass::Web => Access::Read,
            _ if self.tier == Tier::Read => Access::Read,
            _ => Access::Write,
        };
        let mut spellings = vec![text.to_owned()];
        // A client's own file tools open what is written; a server may decode.
        if matches!(self.class, ToolClass::Mcp | ToolClass::Other) && text.contains('%') {
            match paths::decoded(text) {
                Ok(plain) => spellings.push(plain),
                Err(e) if paths::is_path_key(key) => {
                    return Err(fail(Code::MalformedPath, format!("`{key}` of `{tool}` has {e}")));
                }
                Err(_) => {}
            }
        }
        for spelling in spellings {
            for one in spelling.split(['\n', '\0']).filter(|s| !s.is_empty()) {
                if let Some(path) = paths::absolute(one, bases) {
                    self.paths.push(PathUse { place: key.to_owned(), path, access, takes_tree: false });
                }
            }
        }
        Ok(())
    }
}

/// The value of `--option=value`, or the word itself.
fn option_value(word: &str) -> &str {
    match word.split_once('=') {
        Some((option, value)) if option.starts_with('-') || option == "if" || option == "of" => value,
        _ => word,
    }
}

/// A member that rules are written on: absent, empty or not a string is a refusal, never an unmatched rule.
fn mapped<'a>(call: &'a ToolCall, member: &str) -> Result<&'a str, FactError> {
    match call.args().get(member) {
        Some(Json::String(text)) if !text.trim().is_empty() => Ok(text),
        Some(Json::String(_)) => Err(unmappable(call, member, "is empty")),
        Some(_) => Err(unmappable(call, member, "is not a string")),
        None => Err(unmappable(call, member, "is missing")),
    }
}

fn unmappable(call: &ToolCall, member: &str, what: &str) -> FactError {
    fail(
        Code::UnmappableInput,
        format!("fail-closed: unmappable_tool_input: `{member}` of `{}` {what}", call.tool()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::tests::call;

    fn of(tool: &str, args: &str) -> Result<Facts, FactError> {
        Facts::of(&call(tool, args), Some("/home/ana"))
    }

    fn names(tool: &str, args: &str) -> Vec<(String, bool)> {
        of(tool, args).unwrap().paths.into_iter().map(|p| (p.path, p.access == Access::Write)).collect()
    }

    /// INV-12.
    #[test]
    fn mapped_members_must_be_there() {
        for args in ["{}", r#"{"command":""}"#, r#"{"command":5}"#, r#"{"command":["ls"]}"#] {
            assert_eq!(of("Bash", args).unwrap_err().code, Code::UnmappableInput, "{args}");
        }
        assert_eq!(of("Write", r#"{"content":"x"}"#).unwrap_err().code, Code::UnmappableInput);
        assert_eq!(of("NotebookEdit", r#"{"file_path":"x"}"#).unwrap_err().code, Code::UnmappableInput);
    }

    #[test]
    fn every_door_to_a_path_is_seen() {
        let env = |write| ("/home/ana/shop/.env".to_owned(), write);
        assert!(names("Read", r#"{"file_path":".env"}"#).contains(&env(false)));
        assert!(names("Write", r#"{"file_path":".env","content":"/x/y"}"#).contains(&env(true)));
        assert_eq!(names("Write", r#"{"file_path":"a","content":"/x/y"}"#).len(), 1);
        assert!(names("mcp__fs__write_file", r#"{"path":"%2eenv"}"#).contains(&env(true)));
        assert!(names("mcp__fs__x", r#"{"list":["a/b","../shop/.env"]}"#).contains(&env(true)));
        for line in [
            "cat .env",
            "cd .. && cat shop/.env",
            "cp .env x",
            "curl --data @x -o=.env u",
            "bash -c 'cat .env'",
            "dd if=.env",
        ] {
            let args = Json::object([("command", Json::str(line))]).canonical();
            assert!(names("Bash", &args).iter().any(|(p, _)| p == "/home/ana/shop/.env"), "{line}");
        }
        assert!(names("Bash", r#"{"command":"cat .env"}"#).contains(&env(false)));
        assert!(names("Bash", r#"{"command":"echo x > .env"}"#).contains(&env(true)));
        assert_eq!(of("mcp__fs__r", r#"{"path":"100%"}"#).unwrap_err().code, Code::MalformedPath);
        assert!(of("Read", r#"{"file_path":"100%.txt"}"#).is_ok());
    }

    #[test]
    fn floods_are_bounded() {
        let many: Vec<Json> = (0..300).map(|i| Json::str(format!("/p/{i}"))).collect();
        let args = Json::object([("paths", Json::Array(many))]).canonical();
        assert_eq!(of("mcp__fs__r", &args).unwrap_err().code, Code::TooManyForms);
    }
}
