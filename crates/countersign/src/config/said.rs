//! What was said: one configuration file, read strictly. Every problem of a file is reported at once, with line,
//! column and a remedy; nothing is guessed, clamped or ignored.

use super::keys::{KEYS, Key, Kind};
use countersign_core::cleanse::{Written, check_pattern};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use toml_edit::{Item, TableLike, Value};

/// One thing wrong with a configuration file.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Its text.
    pub text: Arc<str>,
    /// Byte range.
    pub span: std::ops::Range<usize>,
    /// What is wrong; names the key.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// Line and column, both from 1.
    pub fn position(&self) -> (usize, usize) {
        let before = self.text.get(..self.span.start).unwrap_or(&self.text);
        (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        write!(f, "{}:{line}:{column}: {}", self.file, self.what)
    }
}

impl std::error::Error for Problem {}

impl miette::Diagnostic for Problem {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(&self.remedy))
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let span = miette::SourceSpan::new(self.span.start.into(), self.span.len());
        Some(Box::new(std::iter::once(miette::LabeledSpan::new_with_span(None, span))))
    }
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.text)
    }
}

/// Which file a value came from, in the order of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerName {
    /// Compiled in.
    BuiltIn,
    /// The organization's file.
    Organization,
    /// The user's file.
    User,
    /// The project's file.
    Project,
}

impl LayerName {
    /// The word shown by `config explain`.
    pub fn as_str(self) -> &'static str {
        match self {
            LayerName::BuiltIn => "built-in",
            LayerName::Organization => "organization",
            LayerName::User => "user",
            LayerName::Project => "project",
        }
    }
}

/// A value that passed its key's check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// A word or text.
    Text(String),
    /// A list of texts; for paths with their mode behind a tab.
    List(Vec<String>),
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Int(n) => write!(f, "{n}"),
            Said::Bool(b) => write!(f, "{b}"),
            Said::Text(t) => write!(f, "{t:?}"),
            Said::List(items) => {
                let items: Vec<String> =
                    items.iter().map(|i| format!("{:?}", i.split('\t').next().unwrap_or_default())).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

/// One `[[allow]]` entry of the user's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowEntry {
    /// `tool`, `bash_pattern`, `write_path` or `rule`.
    pub kind: String,
    /// Its value.
    pub value: String,
    /// Id of the project it is for.
    pub project: String,
    /// When it ends.
    pub until: Option<String>,
}

/// One file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Values by key.
    pub values: BTreeMap<&'static str, (Said, usize)>,
    /// Standing allows, in the order of the file.
    pub allow: Vec<AllowEntry>,
    /// Patterns of secrets, in the order of the file.
    pub patterns: Vec<Written>,
}

/// Reads one file of a layer.
pub fn read(file: &str, text: &str, layer: LayerName) -> Result<File, Vec<Problem>> {
    let shared: Arc<str> = text.into();
    let mut reader = Reader { file, text: shared, layer, out: File::default(), problems: Vec::new() };
    match toml_edit::Document::parse(text.to_owned()) {
        Ok(document) => reader.table("", document.as_table()),
        Err(e) => {
            let span = e.span().unwrap_or(0..0);
            let first = e.message().lines().next().unwrap_or("not TOML").to_owned();
            reader.bad(span, first, "correct the TOML; a key may occur once only");
        }
    }
    if reader.problems.is_empty() && layer == LayerName::Project && !reader.out.values.contains_key("version")
    {
        reader.bad(0..0, "`version` is missing".to_owned(), "write version = 1 in the first line");
    }
    if reader.problems.is_empty() { Ok(reader.out) } else { Err(reader.problems) }
}

struct Reader<'a> {
    file: &'a str,
    text: Arc<str>,
    layer: LayerName,
    out: File,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn bad(&mut self, span: std::ops::Range<usize>, what: String, remedy: &str) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            text: self.text.clone(),
            span,
            what,
            remedy: remedy.to_owned(),
        });
    }

    fn table(&mut self, prefix: &str, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            let span = table
                .get_key_value(name)
                .and_then(|(key, _)| key.span())
                .or_else(|| item.span())
                .unwrap_or(0..0);
            if path == "cleanse.patterns" {
                self.patterns(item, span);
                continue;
            }
            if path == "allow" {
                self.allow(item, span);
                continue;
            }
            if let Some(key) = KEYS.iter().find(|k| k.name == path) {
                self.value(key, item, span);
                continue;
            }
            let inside = KEYS.iter().any(|k| k.name.starts_with(&format!("{path}.")));
            match item.as_table_like() {
                Some(table) if inside => self.table(&path, table),
                _ => {
                    let remedy = match nearest(&path) {
                        Some(near) => {
                            format!("did you mean `{near}`? `countersign config show` lists the keys")
                        }
                        None => "`countersign config show` lists the keys".to_owned(),
                    };
                    self.bad(span, format!("unknown key `{path}`"), &remedy);
                }
            }
        }
    }

    fn value(&mut self, key: &'static Key, item: &Item, span: std::ops::Range<usize>) {
        let value_span = item.span().unwrap_or_else(|| span.clone());
        if self.layer == LayerName::Project && key.user_only {
            let what = format!("`{}` cannot be set by a project", key.name);
            return self.bad(span, what, "set it in your user configuration");
        }
        match check(key, item) {
            Ok(said) => {
                let line = self.text.get(..span.start).unwrap_or_default().matches('\n').count() + 1;
                self.out.values.insert(key.name, (said, line));
            }
            Err(what) => self.bad(value_span, format!("`{}` {what}", key.name), &key.remedy()),
        }
    }

    fn patterns(&mut self, item: &Item, span: std::ops::Range<usize>) {
        let Some(tables) = item.as_array_of_tables() else {
            let what = "`cleanse.patterns` is no list of tables".to_owned();
            return self.bad(span, what, "write [[cleanse.patterns]] in front of each entry");
        };
        // Three layers of files stay below what can be put together.
        if tables.len() > 150 {
            let what = "there are more than 150 `cleanse.patterns` in one file".to_owned();
            return self.bad(span, what, "join some of them with `|`");
        }
        for table in tables {
            let at = table.span().unwrap_or_else(|| span.clone());
            let mut texts: BTreeMap<&str, (String, std::ops::Range<usize>)> = BTreeMap::new();
            for (name, item) in table.iter() {
                let here = item.span().unwrap_or_else(|| at.clone());
                match (item.as_str(), ["name", "regex", "flags"].contains(&name)) {
                    (Some(text), true) => {
                        texts.insert(name, (text.to_owned(), here));
                    }
                    (None, true) => self.bad(here, format!("`cleanse.patterns.{name}` is no text"), PATTERNS),
                    (_, false) => self.bad(here, format!("unknown key `cleanse.patterns.{name}`"), PATTERNS),
                }
            }
            let text = |name: &str| texts.get(name).map(|(text, _)| text.clone()).unwrap_or_default();
            let (Some((_, here)), true) = (texts.get("regex"), texts.contains_key("name")) else {
                self.bad(at, "an entry of `cleanse.patterns` needs `name` and `regex`".to_owned(), PATTERNS);
                continue;
            };
            let written = Written { name: text("name"), regex: text("regex"), flags: text("flags") };
            match check_pattern(&written) {
                Ok(()) => self.out.patterns.push(written),
                Err(e) => {
                    let place = match e.at {
                        Some(offset) => format!(" (byte {} of the pattern)", offset + 1),
                        None => String::new(),
                    };
                    let what = format!("`cleanse.patterns` {}: {}{place}", written.name, e.what);
                    self.bad(here.clone(), what, e.remedy);
                }
            }
        }
    }

    fn allow(&mut self, item: &Item, span: std::ops::Range<usize>) {
        if self.layer != LayerName::User {
            let what = "`[[allow]]` stands in the user's file only".to_owned();
            return self.bad(
                span,
                what,
                "move it to your user configuration, or write it with `countersign approve ID --always`",
            );
        }
        let Some(tables) = item.as_array_of_tables() else {
            return self.bad(
                span,
                "`allow` is no list of tables".to_owned(),
                "write [[allow]] in front of each entry",
            );
        };
        for table in tables {
            let at = table.span().unwrap_or_else(|| span.clone());
            let mut texts = BTreeMap::new();
            for (name, item) in table.iter() {
                let known =
                    ["tool", "bash_pattern", "write_path", "rule", "project", "until"].contains(&name);
                match item.as_str() {
                    Some(text) if known => {
                        texts.insert(name.to_owned(), text.to_owned());
                    }
                    Some(_) => self.bad(
                        item.span().unwrap_or(at.clone()),
                        format!("unknown key `allow.{name}`"),
                        ALLOW,
                    ),
                    None => self.bad(
                        item.span().unwrap_or(at.clone()),
                        format!("`allow.{name}` is no text"),
                        ALLOW,
                    ),
                }
            }
            let kinds: Vec<&str> = ["tool", "bash_pattern", "write_path", "rule"]
                .into_iter()
                .filter(|k| texts.contains_key(*k))
                .collect();
            let (Some(project), [kind]) = (texts.get("project"), kinds.as_slice()) else {
                self.bad(at, "an `[[allow]]` entry needs `project` and exactly one of tool, bash_pattern, write_path, rule".to_owned(), ALLOW);
                continue;
            };
            let value = texts.get(*kind).cloned().unwrap_or_default();
            if let Err(e) = countersign_core::approval::scope::Scope::parse_standing(kind, &value) {
                self.bad(at, format!("`allow.{kind}`: {e}"), ALLOW);
                continue;
            }
            let until = texts.get("until").cloned();
            if let Some(text) = &until
                && countersign_core::time::Timestamp::parse(text).is_none()
            {
                self.bad(
                    at,
                    "`allow.until` is no RFC 3339 time".to_owned(),
                    "write it like 2027-01-31T00:00:00Z",
                );
                continue;
            }
            self.out.allow.push(AllowEntry {
                kind: (*kind).to_owned(),
                value,
                project: project.clone(),
                until,
            });
        }
    }
}

const PATTERNS: &str =
    "for example: [[cleanse.patterns]] name = \"INTERNAL_TOKEN\" regex = 'corp_[0-9a-f]{32}'";
const ALLOW: &str = "for example: [[allow]] project = \"<id>\" bash_pattern = \"cargo publish*\" until = \"2027-01-31T00:00:00Z\"";

fn check(key: &Key, item: &Item) -> Result<Said, String> {
    let value = item.as_value();
    match key.kind {
        Kind::Int { min, max } => match value.and_then(Value::as_integer) {
            Some(n) if (min..=max).contains(&n) => Ok(Said::Int(n)),
            Some(n) => Err(format!("is {n}, which is outside {min} to {max}")),
            None => Err("is no whole number".to_owned()),
        },
        Kind::Word(words) => match value.and_then(Value::as_str) {
            Some(word) if words.contains(&word) => Ok(Said::Text(word.to_owned())),
            _ => Err(format!("is none of {}", words.join(", "))),
        },
        Kind::Bool => match value.and_then(Value::as_bool) {
            Some(yes) => Ok(Said::Bool(yes)),
            None => Err("is neither true nor false".to_owned()),
        },
        Kind::Text => match value.and_then(Value::as_str) {
            Some(text) => Ok(Said::Text(text.to_owned())),
            None => Err("is no text".to_owned()),
        },
        Kind::Texts => {
            let items = value.and_then(Value::as_array).ok_or_else(|| "is no list".to_owned())?;
            let texts: Option<Vec<String>> = items.iter().map(|v| v.as_str().map(str::to_owned)).collect();
            texts.map(Said::List).ok_or_else(|| "is a list with something else than text in it".to_owned())
        }
        Kind::Paths => {
            let items = value.and_then(Value::as_array).ok_or_else(|| "is no list".to_owned())?;
            let paths: Result<Vec<String>, String> = items.iter().map(path).collect();
            paths.map(Said::List)
        }
    }
}

fn path(value: &Value) -> Result<String, String> {
    use countersign_core::facts::paths::{BlockMode, PathPattern};
    let (path, mode) = match value {
        Value::String(text) => (text.value().clone(), "both".to_owned()),
        Value::InlineTable(table) => {
            let text = |key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
            let path = text("path").ok_or_else(|| "has an entry without `path`".to_owned())?;
            if let Some((other, _)) = table.iter().find(|(k, _)| *k != "path" && *k != "mode") {
                return Err(format!("has an entry with the unknown key `{other}`"));
            }
            (path, text("mode").unwrap_or_else(|| "both".to_owned()))
        }
        _ => return Err("has an entry that is neither text nor a table".to_owned()),
    };
    let Some(parsed) = BlockMode::parse(&mode) else {
        return Err(format!("has the mode `{mode}`; possible are read, write, both"));
    };
    match PathPattern::new(&path, parsed) {
        Some(_) => Ok(format!("{path}\t{mode}")),
        None => Err(format!("has the empty pattern `{path}`")),
    }
}

/// The known key that differs least, if it is close.
fn nearest(path: &str) -> Option<&'static str> {
    let distance = |a: &str, b: &str| {
        let b: Vec<char> = b.chars().collect();
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, ca) in a.chars().enumerate() {
            let mut before = i;
            let mut left = i + 1;
            let mut next = vec![left];
            for (cb, above) in b.iter().zip(row.iter().skip(1)) {
                left = (before + usize::from(ca != *cb)).min(above + 1).min(left + 1);
                before = *above;
                next.push(left);
            }
            row = next;
        }
        row.last().copied().unwrap_or(usize::MAX)
    };
    KEYS.iter().map(|k| (distance(path, k.name), k.name)).min().filter(|(d, _)| *d <= 3).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str, layer: LayerName) -> Vec<String> {
        read("c.toml", text, layer)
            .map(|_| Vec::new())
            .unwrap_or_else(|p| p.iter().map(|p| p.to_string()).collect())
    }

    #[test]
    fn every_problem_is_told_with_its_place() {
        let text = "version = 1\n[gate]\nmoed = \"watch\"\nmode = \"off\"\n[approvals]\ncap = 501\ntimeout_s = \"5\"\n";
        assert_eq!(
            problems(text, LayerName::Project),
            [
                "c.toml:3:1: unknown key `gate.moed`",
                "c.toml:4:8: `gate.mode` is none of watch, enforce",
                "c.toml:6:7: `approvals.cap` is 501, which is outside 1 to 500",
                "c.toml:7:13: `approvals.timeout_s` is no whole number",
            ]
        );
        let near = read("c", "version = 1\n[gate]\nmoed = 1", LayerName::Project).unwrap_err();
        assert!(near[0].remedy.contains("gate.mode"));
    }

    #[test]
    fn patterns_of_secrets_are_checked_where_they_stand() {
        let entry = |body: &str| format!("version = 1\n[[cleanse.patterns]]\n{body}\n");
        let found =
            read("c", &entry("name = \"a\"\nregex = 'corp_[0-9]{8}'\nflags = \"ig\""), LayerName::Project);
        assert_eq!(found.unwrap().patterns.len(), 1);
        for (body, said) in [
            ("name = \"a\"\nregex = '(x)\\1'", "c.toml:4:9: `cleanse.patterns` a: the pattern refers back"),
            ("name = \"a\"\nregex = '(?=x)y'", "c.toml:4:9: `cleanse.patterns` a: the pattern looks ahead"),
            (
                "name = \"a\"\nregex = 'x*'",
                "c.toml:4:9: `cleanse.patterns` a: the pattern matches the empty text",
            ),
            ("name = \"a\"\nregex = 'x'\nflags = \"q\"", "c.toml:4:9: `cleanse.patterns` a: the flag `q`"),
            ("name = \"a\"", "c.toml:2:1: an entry of `cleanse.patterns` needs"),
            ("name = \"a\"\nregex = 'x'\nid = \"b\"", "c.toml:5:6: unknown key `cleanse.patterns.id`"),
        ] {
            let all = problems(&entry(body), LayerName::Project);
            assert!(all.first().is_some_and(|p| p.starts_with(said)), "{all:?}");
        }
    }

    #[test]
    fn layers_are_kept_apart() {
        let allow = "version = 1\n[[allow]]\nproject = \"x\"\ntool = \"Bash\"\n";
        assert!(problems(allow, LayerName::Project)[0].contains("user's file only"));
        assert!(problems(allow, LayerName::User).is_empty());
        assert_eq!(problems("", LayerName::Project), ["c.toml:1:1: `version` is missing"]);
        assert!(problems("", LayerName::User).is_empty());
        assert!(problems("version = 1\nversion = 1", LayerName::User)[0].starts_with("c.toml:2:"));
        assert!(
            problems("version = 1\nstore.busy_ms = 200", LayerName::Project)[0]
                .contains("cannot be set by a project")
        );
    }

    #[test]
    fn allow_entries_are_checked() {
        for (entry, bad) in [
            ("project = \"x\"\nbash_pattern = \"git push*\"", false),
            ("bash_pattern = \"git push*\"", true),
            ("project = \"x\"", true),
            ("project = \"x\"\ntool = \"a\"\nrule = \"b\"", true),
            ("project = \"x\"\nbash_pattern = \"**\"", true),
            ("project = \"x\"\ntool = \"a\"\nuntil = \"tomorrow\"", true),
            ("project = \"x\"\ntool = \"a\"\nforever = \"yes\"", true),
        ] {
            assert_eq!(!problems(&format!("[[allow]]\n{entry}"), LayerName::User).is_empty(), bad, "{entry}");
        }
    }
}
