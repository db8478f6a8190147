//! Paths: every spelling of a file that a call names, and the patterns that block it.
//!
//! One function normalises values and patterns alike (gateway.md 6.2). What a path really names on the machine comes
//! back in the ledger, because nothing here looks at the world; a resolved form can only add a hit, never take one.

use unicode_normalization::UnicodeNormalization;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads only.
    Read,
    /// Writes, or may write.
    Write,
}

/// One path that a call names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathUse {
    /// Where it stands: the argument's name, or `command`.
    pub place: String,
    /// Absolute and normalised lexically, case kept.
    pub path: String,
    /// Absolute as it was spelled: `..` behind a link means something else to the system than to a reader of text.
    pub spelled: String,
    /// It is a pattern over file names.
    pub pattern: bool,
    /// What the call does with it.
    pub access: Access,
    /// The call removes or moves what it names, so everything below is meant as well.
    pub takes_tree: bool,
}

/// Which accesses a pattern blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockMode {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Both.
    Both,
}

impl BlockMode {
    /// Reads the setting's word.
    pub fn parse(text: &str) -> Option<BlockMode> {
        Some(match text {
            "read" => BlockMode::Read,
            "write" => BlockMode::Write,
            "both" => BlockMode::Both,
            _ => return None,
        })
    }

    /// The setting's word.
    pub fn as_str(self) -> &'static str {
        match self {
            BlockMode::Read => "read",
            BlockMode::Write => "write",
            BlockMode::Both => "both",
        }
    }

    fn meets(self, access: Access) -> bool {
        match self {
            BlockMode::Both => true,
            BlockMode::Read => access == Access::Read,
            BlockMode::Write => access == Access::Write,
        }
    }
}

/// A pattern of blocked paths (gateway.md 6.3): `/` in front anchors it, `/` behind covers everything below; `*` and
/// `?` stay within a segment, `**` is any number of segments; never a part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    mode: BlockMode,
    anchored: bool,
    below: bool,
    segments: Vec<String>,
    /// Names of the last segment that are let through: `.env.example` beside `.env.*`.
    except: Vec<String>,
}

/// Suffixes of example files that carry no secrets (DECISIONS section 5).
pub const EXAMPLE_SUFFIXES: [&str; 5] = ["example", "sample", "template", "dist", "defaults"];

impl PathPattern {
    /// Reads a pattern; `None` when nothing is left of it.
    pub fn new(text: &str, mode: BlockMode) -> Option<PathPattern> {
        let folded = fold(&text.replace('\\', "/"));
        let segments: Vec<String> =
            folded.split('/').filter(|s| !s.is_empty() && *s != ".").map(str::to_owned).collect();
        if segments.is_empty() {
            return None;
        }
        let except = match segments.last().map(String::as_str) {
            Some(".env.*") => EXAMPLE_SUFFIXES.iter().map(|s| format!(".env.{s}")).collect(),
            _ => Vec::new(),
        };
        Some(PathPattern {
            text: text.to_owned(),
            mode,
            anchored: folded.starts_with('/'),
            below: folded.ends_with('/'),
            segments,
            except,
        })
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether an access to an absolute path is blocked.
    pub fn blocks(&self, path: &str, access: Access) -> bool {
        if !self.mode.meets(access) {
            return false;
        }
        let folded = fold(path);
        let value: Vec<&str> = folded.split('/').filter(|s| !s.is_empty()).collect();
        let starts = if self.anchored { 0..=0 } else { 0..=value.len() };
        starts.into_iter().any(|start| {
            let rest = value.get(start..).unwrap_or_default();
            self.match_from(&self.segments, rest)
        })
    }

    /// Whether a path with patterns in it (`*`, `?`, `[…]` of a shell) could name something this pattern blocks, or, where
    /// `above` is set, something above it.
    pub fn could_meet(&self, path: &str, access: Access, above: bool) -> bool {
        if !self.mode.meets(access) {
            return false;
        }
        let folded = fold(path);
        let value: Vec<&str> = folded.split('/').filter(|s| !s.is_empty()).collect();
        let starts = if self.anchored { 0..=0 } else { 0..=value.len() };
        starts.into_iter().any(|start| self.may_match(value.get(start..).unwrap_or_default(), above))
    }

    fn may_match(&self, value: &[&str], above: bool) -> bool {
        // `**` of a blocked pattern may stand for any number of folders: then any value may meet it.
        if self.segments.iter().any(|s| s == "**") {
            return true;
        }
        let pairs = || value.iter().zip(&self.segments);
        let met = pairs().all(|(v, p)| could_be(v, p));
        met && !value.is_empty()
            && (value.len() == self.segments.len()
                || (value.len() > self.segments.len() && self.below)
                || (value.len() < self.segments.len() && above && self.anchored))
    }

    /// Whether a tree that is taken as a whole holds something this anchored pattern blocks.
    pub fn lies_below(&self, path: &str, access: Access) -> bool {
        if !self.mode.meets(access) {
            return false;
        }
        let folded = fold(path);
        let value: Vec<&str> = folded.split('/').filter(|s| !s.is_empty()).collect();
        self.anchored
            && value.len() <= self.segments.len()
            && value.iter().zip(&self.segments).all(|(v, p)| segment(p, v))
    }

    fn match_from(&self, pattern: &[String], value: &[&str]) -> bool {
        match (pattern.split_first(), value.split_first()) {
            (None, None) => true,
            (None, Some(_)) => self.below,
            (Some((star, more)), _) if star == "**" => {
                (0..=value.len()).any(|skip| self.match_from(more, value.get(skip..).unwrap_or_default()))
            }
            (Some((first, more)), Some((v, rest))) => {
                let last = more.is_empty() && rest.is_empty();
                segment(first, v)
                    && !(last && self.except.iter().any(|e| e == v))
                    && self.match_from(more, rest)
            }
            (Some(_), None) => false,
        }
    }
}

/// Whether a shell's pattern for one name could be a name that a blocked segment means.
fn could_be(value: &str, blocked: &str) -> bool {
    let wild = |s: &str| s.contains(['*', '?', '[']);
    match (wild(value), wild(blocked)) {
        (false, _) => segment(blocked, value),
        // A shell's pattern does not stand for a leading dot.
        (true, false) => {
            (!blocked.starts_with('.') || value.starts_with('.'))
                && crate::glob::Glob::new(value).matches(blocked)
        }
        (true, true) => {
            (!blocked.starts_with('.') || value.starts_with('.'))
                && crate::glob::Glob::new(value).meets(&crate::glob::Glob::new(&blocked.replace('[', "\\[")))
        }
    }
}

/// `*` and `?` within one segment.
fn segment(pattern: &str, value: &str) -> bool {
    crate::glob::Glob::new(&pattern.replace('[', "\\[")).matches(value)
}

/// Case and compatibility folding, invisible characters removed, trailing dots and blanks of segments dropped: two
/// spellings that some file system takes for one file become one text.
pub(crate) fn fold(path: &str) -> String {
    let text: String = path.nfkc().flat_map(char::to_lowercase).filter(|c| !is_ignorable(*c)).collect();
    text.split('/')
        .map(|s| if s == "." || s == ".." { s } else { s.trim_end_matches(['.', ' ']) })
        .collect::<Vec<_>>()
        .join("/")
}

fn is_ignorable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Why a path value is refused before any matching.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A percent sign without two hex digits behind it, or bytes that are not UTF-8.
    #[error("a bad percent escape")]
    Escape,
    /// A separator that is still encoded when nothing else is.
    #[error("an encoded separator")]
    EncodedSeparator,
}

/// The base of relative paths and the user's home.
#[derive(Clone, Copy, Debug)]
pub struct Bases<'a> {
    /// Absolute folder for relative values.
    pub cwd: &'a str,
    /// The user's home, if known.
    pub home: Option<&'a str>,
}

/// A path value made absolute: as it is spelled, and normalised lexically. Native file tools and shells take percent
/// signs and scheme-like beginnings literally, so nothing is decoded here: see [`address`] and [`decoded`].
pub fn absolute(value: &str, bases: Bases<'_>) -> (String, String) {
    let value: String = value.chars().filter(|c| *c != '\0').collect();
    let spelled = if let Some(rest) = value.strip_prefix("~/") {
        format!("{}/{rest}", bases.home.unwrap_or("/~"))
    } else if value == "~" {
        bases.home.unwrap_or("/~").to_owned()
    } else if value.starts_with('/') {
        value
    } else {
        format!("{}/{value}", bases.cwd)
    };
    let slashes = spelled.replace('\\', "/");
    let mut out: Vec<&str> = Vec::new();
    for part in slashes.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    (format!("/{}", out.join("/")), spelled)
}

/// Whether a path leads through another process's or this hook's own view of the files: what it names there says
/// nothing about what it will name for the program that opens it.
pub fn leads_astray(path: &str) -> bool {
    let mut parts = path.split('/').filter(|p| !p.is_empty());
    match (parts.next(), parts.next()) {
        (Some("proc"), Some(who)) => {
            (matches!(who, "self" | "thread-self") || who.chars().all(|c| c.is_ascii_digit()))
                && parts.any(|p| matches!(p, "cwd" | "root" | "fd" | "map_files"))
        }
        (Some("dev"), Some("fd")) => true,
        _ => false,
    }
}

/// Takes an address down to the local path it names: `file:` in its spellings; `None` for other schemes, which are
/// remote, and for what is no address.
pub fn address(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(':')?;
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if is_scheme && scheme.eq_ignore_ascii_case("file") {
        let path = match rest.strip_prefix("//") {
            Some(with_host) => with_host.find('/').and_then(|at| with_host.get(at..)).unwrap_or("/"),
            None => rest,
        };
        return path.split(['?', '#']).next();
    }
    None
}

/// Percent-decodes until nothing changes. For values that a server may decode again.
pub fn decoded(value: &str) -> Result<String, PathError> {
    let mut now = value.to_owned();
    while now.contains('%') {
        let next = decode_once(&now)?;
        if next == now {
            break;
        }
        now = next;
    }
    Ok(now)
}

fn decode_once(value: &str) -> Result<String, PathError> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let hex = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16)).ok_or(PathError::Escape);
        let (high, low) = (hex(bytes.next())?, hex(bytes.next())?);
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).map_err(|_| PathError::Escape)
}

/// Keys whose values are always paths (gateway.md 6.1).
pub fn is_path_key(key: &str) -> bool {
    const KEYS: &[&str] = &[
        "path",
        "paths",
        "file",
        "files",
        "file_path",
        "filepath",
        "filename",
        "filenames",
        "folder",
        "folders",
        "dir",
        "directory",
        "directories",
        "src",
        "source",
        "dst",
        "dest",
        "destination",
        "target",
        "input_path",
        "output_path",
        "from",
        "to",
        "pattern",
        "glob",
        "uri",
        "url",
        "notebook_path",
    ];
    KEYS.contains(&key.to_ascii_lowercase().as_str())
}

/// Keys whose values are never paths.
pub fn is_content_key(key: &str) -> bool {
    const KEYS: &[&str] = &[
        "content",
        "contents",
        "body",
        "text",
        "message",
        "note",
        "notes",
        "description",
        "summary",
        "title",
        "query",
        "prompt",
        "search",
        "q",
        "comment",
        "caption",
        "subject",
        "name",
        "label",
        "tag",
        "tags",
        "value",
        "reason",
        "old_string",
        "new_string",
        "new_source",
        "todos",
        "edits",
    ];
    KEYS.contains(&key.to_ascii_lowercase().as_str())
}

/// Whether a value under any other key looks like a path.
pub fn looks_like_path(value: &str) -> bool {
    let dotted = value
        .strip_prefix('.')
        .is_some_and(|r| r.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    (1..=1024).contains(&value.chars().count())
        && (!value.contains(char::is_whitespace) || value.contains('/'))
        && (value.contains(['/', '\\'])
            || value.starts_with('~')
            || dotted
            || value.contains("%2")
            || value.contains("%5"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASES: Bases<'_> = Bases { cwd: "/home/ana/shop", home: Some("/home/ana") };

    fn blocked(pattern: &str, value: &str) -> bool {
        let (path, _) = absolute(address(value).unwrap_or(value), BASES);
        PathPattern::new(pattern, BlockMode::Both).unwrap().blocks(&path, Access::Read)
    }

    #[test]
    fn spellings_of_one_file() {
        for value in [
            ".env",
            "./.env",
            "a/../.env",
            "/home/ana/shop/.env",
            "~/shop/.env",
            "file:///home/ana/shop/.env",
            "file://localhost/home/ana/shop/.env",
            "x//.env",
            ".ENV",
            ".env.",
            ".env ",
            ".e\u{200b}nv",
            ".\u{ff45}nv",
            "a\\.env",
            "FILE:/x/.env?y#z",
            "ab://../.env",
        ] {
            assert!(blocked(".env", value), "{value}");
        }
        for value in [".environment", "env", "x.env", ".env/x", "a.envb"] {
            assert!(!blocked(".env", value), "{value}");
        }
        assert_eq!(address("https://example.org/.env"), None);
    }

    #[test]
    fn shell_patterns_that_could_mean_a_blocked_file() {
        let own = PathPattern::new("/home/ana/.config/countersign/", BlockMode::Both).unwrap();
        let settings = PathPattern::new(".claude/settings.json", BlockMode::Write).unwrap();
        let meets = |p: &PathPattern, v: &str| p.could_meet(v, Access::Write, false);
        assert!(meets(&own, "/home/ana/.config/countersig?/config.toml"));
        assert!(meets(&own, "/home/ana/.config/c*/x"));
        assert!(!meets(&own, "/home/ana/*/countersign/x"), "a leading dot is not met by a star");
        assert!(!meets(&own, "/home/ana/.config/gtk*/x"));
        assert!(meets(&settings, "/p/.claude/setting?.json") && !meets(&settings, "/p/src/*.rs"));
        assert!(own.could_meet("/home/ana/.conf*", Access::Write, true));
    }

    #[test]
    fn views_of_other_processes() {
        for path in ["/proc/self/cwd/x", "/proc/77/root/etc", "/dev/fd/3", "/proc/thread-self/fd/1"] {
            assert!(leads_astray(path), "{path}");
        }
        for path in ["/proc/cpuinfo", "/proc/self/status", "/dev/null", "/dev/stdin"] {
            assert!(!leads_astray(path), "{path}");
        }
    }

    #[test]
    fn patterns() {
        assert!(
            blocked(".env.*", ".env.local")
                && !blocked(".env.*", ".env.example")
                && !blocked(".env.*", ".env")
        );
        assert!(
            blocked("secrets/", "a/secrets/b/c")
                && blocked("secrets/", "secrets")
                && !blocked("secrets/", "xsecrets/a")
        );
        assert!(blocked("/etc/passwd", "/etc/passwd") && !blocked("/etc/passwd", "/x/etc/passwd"));
        assert!(blocked("a/**/b", "a/x/y/b") && blocked("a/**/b", "a/b") && !blocked("a/*/b", "a/x/y/b"));
        assert!(blocked(".countersign/", "sub/.countersign/policy/hard.cedar"));
        let write = PathPattern::new(".claude/settings.json", BlockMode::Write).unwrap();
        assert!(write.blocks("/p/.claude/settings.json", Access::Write));
        assert!(!write.blocks("/p/.claude/settings.json", Access::Read));
        let own = PathPattern::new("/home/ana/shop/.countersign/", BlockMode::Both).unwrap();
        assert!(
            own.lies_below("/home/ana", Access::Write)
                && own.lies_below("/home/ana/shop", Access::Write)
                && !own.lies_below("/home/bob", Access::Write)
        );
    }

    #[test]
    fn escapes() {
        assert_eq!(decoded("%252e%252e/%2Eenv").unwrap(), "../.env");
        assert_eq!(decoded("100%"), Err(PathError::Escape));
        assert_eq!(decoded("%ff"), Err(PathError::Escape));
    }
}
