//! The scope grammar (approvals.md 1.8): what a person may grant beyond the pending call.
//!
//! Parsed once, here; an unknown word, an empty value or a glob that matches nearly everything never becomes a
//! `Scope`. What a scope covers is asked of [`Scope::covers`]; which rules it may answer is the judge's business.

use crate::facts::tools::{self, ToolClass};
use crate::glob::Glob;
use crate::secret::SecretRef;
use crate::vault::binding::{Authority, Method};
use std::fmt;

/// Longest text of a scope, in characters.
pub const MAX_SCOPE_CHARS: usize = 128;
/// Longest pattern of a standing allow in the user's configuration, in bytes (NAMES 1.1).
pub const MAX_PATTERN_BYTES: usize = 4_096;

/// A group of tools that can be granted together: the file-writing tools of every client.
pub const FILE_WRITE: &str = "file_write";

fn writes_files(tool: &str) -> bool {
    tools::class(tool) == ToolClass::FileWrite
}

fn parts_of_use(text: &str) -> Option<(SecretRef, Authority, &str)> {
    let (key, rest) = text.split_once('@')?;
    let (host, class) = rest.rsplit_once('#')?;
    let authority = Authority::parse(host).filter(|a| a.to_string() == host)?;
    let known = Method::ALL.iter().any(|m| m.class() == class);
    Some((SecretRef::parse(key)?, authority, class)).filter(|_| known)
}

fn is_use(text: &str) -> bool {
    parts_of_use(text).is_some()
}

fn is_note(text: &str) -> bool {
    text.split_once('/').is_some_and(|(store, key)| {
        crate::notes::is_store(store) && crate::names::check(key).is_ok() && store != "*"
    })
}

/// A shell line that was understood: as it was written, and its simple commands.
#[derive(Clone, Copy, Debug)]
pub struct UnderstoodLine<'a> {
    /// The line without blanks at its ends.
    pub line: &'a str,
    /// Text of each simple command, and whether it writes a file by redirection.
    pub commands: &'a [(String, bool)],
}

/// What is granted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Exactly the pending call.
    ThisCall,
    /// Everything but the hard set, for the session.
    AllSession,
    /// Every call of one tool.
    ToolType(String),
    /// Every call of a known group.
    ToolGroup(String),
    /// Shell lines of which every simple command matches the glob.
    BashPattern(String),
    /// File writes to paths that match the glob.
    WritePath(String),
    /// One soft rule.
    Rule(String),
    /// Uses of one secret at one host by one class of methods: `<key>@<authority>#<class>`.
    Secret(String),
    /// One whole note: `<store>/<key>`.
    Memory(String),
}

/// Why a text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not one of the words of the grammar.
    #[error(
        "`{0}` is no scope: use this_call, all_session, tool_type:NAME, tool_group:NAME, bash_pattern:GLOB, write_path:GLOB, rule:ID, secret:KEY@HOST#CLASS or memory:STORE/KEY"
    )]
    Unknown(String),
    /// Nothing behind the colon.
    #[error("`{0}` needs a value behind the colon")]
    Empty(String),
    /// Too long.
    #[error("a scope has at most {max} {unit}")]
    TooLong {
        /// The bound.
        max: usize,
        /// Its unit.
        unit: &'static str,
    },
    /// The glob matches nearly everything.
    #[error("`{0}` matches nearly everything: name more of what is meant")]
    Degenerate(String),
    /// Not of the form `<key>@<host>#<class>`.
    #[error(
        "`{0}` is no use of a secret: write KEY@HOST#read, KEY@HOST#write or KEY@HOST#delete, nothing left out"
    )]
    NoUse(String),
    /// Not of the form `<store>/<key>`.
    #[error("`{0}` is no note: write STORE/KEY, nothing left out")]
    NoNote(String),
    /// No such group.
    #[error("`{0}` is no tool group: the only group is file_write")]
    NoGroup(String),
    /// The tool belongs to no group, so `tool_group_session` means nothing for it.
    #[error("the tool `{0}` belongs to no group")]
    Ungrouped(String),
}

impl Scope {
    /// Reads a scope as an answer to a request about `tool`. `tool_type_session` and `tool_group_session` are
    /// resolved here, so what is stored never depends on what it is later compared with (INV-17).
    pub fn parse_answer(text: &str, tool: &str) -> Result<Scope, ScopeError> {
        match text.trim() {
            "tool_type_session" => Ok(Scope::ToolType(tool.to_owned())),
            "tool_group_session" if writes_files(tool) => Ok(Scope::ToolGroup(FILE_WRITE.to_owned())),
            "tool_group_session" => Err(ScopeError::Ungrouped(tool.to_owned())),
            other => Scope::parse(other),
        }
    }

    /// Reads a scope of at most 128 characters.
    pub fn parse(text: &str) -> Result<Scope, ScopeError> {
        let text = text.trim();
        // Names of hosts and stores are long; patterns have no need to be.
        let max =
            if text.starts_with("secret:") || text.starts_with("memory:") { 512 } else { MAX_SCOPE_CHARS };
        if text.chars().count() > max {
            return Err(ScopeError::TooLong { max, unit: "characters" });
        }
        Self::parse_unbounded(text)
    }

    /// Reads a standing allow of the user's own file: the same grammar with patterns up to 4 096 bytes.
    pub fn parse_standing(kind: &str, value: &str) -> Result<Scope, ScopeError> {
        if value.len() > MAX_PATTERN_BYTES {
            return Err(ScopeError::TooLong { max: MAX_PATTERN_BYTES, unit: "bytes" });
        }
        match kind {
            "tool" => Self::parse_unbounded(&format!("tool_type:{value}")),
            "bash_pattern" | "write_path" | "rule" | "secret" | "memory" => {
                Self::parse_unbounded(&format!("{kind}:{value}"))
            }
            other => Err(ScopeError::Unknown(other.to_owned())),
        }
    }

    fn parse_unbounded(text: &str) -> Result<Scope, ScopeError> {
        match text {
            "this_call" => return Ok(Scope::ThisCall),
            "all_session" => return Ok(Scope::AllSession),
            _ => {}
        }
        let (kind, value) = text.split_once(':').ok_or_else(|| ScopeError::Unknown(text.to_owned()))?;
        let value = value.trim();
        if value.is_empty() {
            return Err(ScopeError::Empty(text.to_owned()));
        }
        let owned = value.to_owned();
        match kind {
            "tool_type" => Ok(Scope::ToolType(owned)),
            "tool_group" if value == FILE_WRITE => Ok(Scope::ToolGroup(owned)),
            "tool_group" => Err(ScopeError::NoGroup(owned)),
            "bash_pattern" => Self::check_glob(owned).map(Scope::BashPattern),
            "write_path" => Self::check_glob(owned).map(Scope::WritePath),
            "rule" => Ok(Scope::Rule(owned)),
            "secret" if is_use(value) => Ok(Scope::Secret(owned)),
            "secret" => Err(ScopeError::NoUse(owned)),
            "memory" if is_note(value) => Ok(Scope::Memory(owned)),
            "memory" => Err(ScopeError::NoNote(owned)),
            _ => Err(ScopeError::Unknown(text.to_owned())),
        }
    }

    /// INV-15: at most two characters, only wildcards and blanks, or more than half wildcards.
    fn check_glob(pattern: String) -> Result<String, ScopeError> {
        let total = pattern.chars().count();
        let wild = Glob::new(&pattern).wildcards();
        let only_wild = pattern.chars().all(|c| c == '*' || c == '?' || c.is_whitespace());
        if total <= 2 || only_wild || wild * 2 > total {
            return Err(ScopeError::Degenerate(pattern));
        }
        Ok(pattern)
    }

    /// Key and host of a scope for uses of a secret.
    pub fn secret_use(&self) -> Option<(SecretRef, Authority)> {
        let Scope::Secret(text) = self else { return None };
        parts_of_use(text).map(|(key, authority, _)| (key, authority))
    }

    /// The exact command as a `bash_pattern`, wildcards escaped.
    pub fn exact_command(command: &str) -> Scope {
        Scope::BashPattern(Glob::escape(command))
    }

    /// The exact path as a `write_path`, wildcards escaped.
    pub fn exact_path(path: &str) -> Scope {
        Scope::WritePath(Glob::escape(path))
    }

    /// The kind, as `approvals.max_scope` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Scope::ThisCall => "this_call",
            Scope::AllSession => "all_session",
            Scope::ToolType(_) => "tool_type",
            Scope::ToolGroup(_) => "tool_group",
            Scope::BashPattern(_) => "bash_pattern",
            Scope::WritePath(_) => "write_path",
            Scope::Rule(_) => "rule",
            Scope::Secret(_) => "secret",
            Scope::Memory(_) => "memory",
        }
    }

    /// How wide a kind reaches, for `approvals.max_scope`: a scope is allowed when its width is at most the bound's.
    pub fn width(kind: &str) -> Option<u8> {
        Some(match kind {
            "this_call" => 0,
            "bash_pattern" | "write_path" | "secret" | "memory" => 1,
            "rule" => 2,
            "tool_type" => 3,
            "tool_group" => 4,
            "all_session" => 5,
            _ => return None,
        })
    }

    /// Whether this scope covers a call that is asked for with these values. `shell` is an understood shell line,
    /// `None` for a line that is not understood and for other tools; `writes` are the paths a file tool writes.
    /// `ThisCall` covers nothing here, being a grant of its own kind; `Rule`, `Secret` and `Memory` answer rules.
    pub fn covers(&self, tool: &str, shell: Option<UnderstoodLine<'_>>, writes: &[String]) -> bool {
        match self {
            Scope::ThisCall | Scope::Rule(_) | Scope::Secret(_) | Scope::Memory(_) => false,
            Scope::AllSession => true,
            Scope::ToolType(name) => name == tool,
            Scope::ToolGroup(name) => name == FILE_WRITE && writes_files(tool),
            // INV-16: one simple command that does not match is enough to ask.
            Scope::BashPattern(glob) => {
                // `git log*` means commands, not files that their output goes to.
                let redirects = glob.contains('>');
                let glob = Glob::new(glob);
                shell.is_some_and(|shell| {
                    let fits = |(text, writes): &(String, bool)| glob.matches(text) && (redirects || !writes);
                    let each = !shell.commands.is_empty() && shell.commands.iter().all(fits);
                    // A pattern without wildcards means one line and nothing wider, however many commands it has.
                    each || (glob.wildcards() == 0 && glob.matches(shell.line))
                })
            }
            Scope::WritePath(glob) => {
                let glob = Glob::new(glob);
                writes_files(tool) && !writes.is_empty() && writes.iter().all(|p| glob.matches(p))
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::ThisCall | Scope::AllSession => f.write_str(self.kind()),
            Scope::ToolType(v)
            | Scope::ToolGroup(v)
            | Scope::BashPattern(v)
            | Scope::WritePath(v)
            | Scope::Rule(v)
            | Scope::Secret(v)
            | Scope::Memory(v) => write!(f, "{}:{v}", self.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> Scope {
        Scope::parse(text).unwrap()
    }

    fn covers(scope: &Scope, commands: &[&str]) -> bool {
        let line = commands.join("; ");
        let commands: Vec<(String, bool)> =
            commands.iter().map(|s| (s.to_string(), s.contains('>'))).collect();
        scope.covers("Bash", Some(UnderstoodLine { line: &line, commands: &commands }), &[])
    }

    /// INV-14.
    #[test]
    fn grammar() {
        assert_eq!(ok("  this_call "), Scope::ThisCall);
        assert_eq!(ok("bash_pattern: git status* "), Scope::BashPattern("git status*".into()));
        assert_eq!(ok("rule:x").to_string(), "rule:x");
        for bad in
            ["", "This_call", "tool_type:", "tool_type: ", "host:x", "tool_group:all", "tool_type_session"]
        {
            assert!(Scope::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Scope::parse(&format!("rule:{}", "x".repeat(124))).is_err());
        assert!(Scope::parse(&format!("rule:{}", "x".repeat(123))).is_ok());
    }

    /// INV-15.
    #[test]
    fn degenerate_globs_are_refused() {
        for bad in ["*", "**", "a*", "* *", "?*?", "a*?*", "ab", "*a?"] {
            assert!(
                matches!(Scope::parse(&format!("bash_pattern:{bad}")), Err(ScopeError::Degenerate(_))),
                "{bad}"
            );
        }
        assert!(Scope::parse("bash_pattern:git*").is_ok());
        assert!(Scope::parse_standing("bash_pattern", &"x".repeat(4_097)).is_err());
    }

    /// INV-16.
    #[test]
    fn a_pattern_must_match_every_simple_command() {
        let scope = ok("bash_pattern:git status*");
        assert!(covers(&scope, &["git status -s"]));
        assert!(!covers(&scope, &["git status", "rm -r x"]));
        assert!(!scope.covers("Bash", None, &[]), "a line that is not understood never matches");
        assert!(!covers(&ok("bash_pattern:GIT status*"), &["git status"]));
        assert!(!covers(&ok("bash_pattern:git status*"), &[]));
        assert!(!covers(&ok("bash_pattern:git log*"), &["git log >.bashrc"]));
        assert!(covers(&ok("bash_pattern:git log >out*"), &["git log >out.txt"]));
    }

    /// INV-17.
    #[test]
    fn session_words_are_resolved_when_answered() {
        assert_eq!(Scope::parse_answer("tool_type_session", "Bash"), Ok(Scope::ToolType("Bash".into())));
        let group = Scope::parse_answer("tool_group_session", "Edit").unwrap();
        assert!(group.covers("NotebookEdit", None, &[]) && !group.covers("Bash", None, &[]));
        assert_eq!(
            Scope::parse_answer("tool_group_session", "Bash"),
            Err(ScopeError::Ungrouped("Bash".into()))
        );
    }

    #[test]
    fn exact_scopes_match_their_text_only() {
        let scope = Scope::exact_command("rm [a]* \\x?");
        assert!(covers(&scope, &["rm [a]* \\x?"]));
        assert!(!covers(&scope, &["rm a* \\x?"]));
        assert!(!covers(&scope, &["rm [a]abc \\xy"]));
        let two = Scope::exact_command("a; b");
        assert!(covers(&two, &["a", "b"]) && !covers(&two, &["a", "b", "c"]) && !covers(&two, &["a"]));
    }
}
