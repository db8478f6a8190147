//! What was said: one configuration file, read strictly. Every problem of a file is reported at once, with line,
//! column and a remedy; nothing is guessed, clamped or ignored.

use super::entries::{self, AllowEntry, RepoEntry};
use super::keys::{KEYS, Key, Kind};
use countersign_core::cleanse::Written;
use countersign_core::facts::ground::{TierPin, ToolBinding};
use countersign_core::secret::SecretRef;
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
    /// Where a secret comes from.
    Given(Source),
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The vault, under this name.
    Secret(String),
    /// A variable of the environment.
    FromEnv(String),
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Int(n) => write!(f, "{n}"),
            Said::Bool(b) => write!(f, "{b}"),
            Said::Text(t) => write!(f, "{t:?}"),
            Said::Given(Source::Secret(name)) => write!(f, "{{ secret = {name:?} }}"),
            Said::Given(Source::FromEnv(name)) => write!(f, "{{ from_env = {name:?} }}"),
            Said::List(items) => {
                let items: Vec<String> =
                    items.iter().map(|i| format!("{:?}", i.split('\t').next().unwrap_or_default())).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

/// One file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Values by key.
    pub values: BTreeMap<&'static str, (Said, usize)>,
    /// Standing allows, in the order of the file.
    pub allow: Vec<AllowEntry>,
    /// `[[deny]]` entries.
    pub deny: Vec<AllowEntry>,
    /// Pinned tiers of tools.
    pub tiers: Vec<TierPin>,
    /// Tools bound to an action.
    pub tools: Vec<ToolBinding>,
    /// Settings and rules for single repositories.
    pub repos: Vec<RepoEntry>,
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

/// Reads one file; what it found so far, and what is wrong with it.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: Arc<str>,
    layer: LayerName,
    out: File,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn problem(&self, span: std::ops::Range<usize>, what: String, remedy: &str) -> Problem {
        Problem { file: self.file.to_owned(), text: self.text.clone(), span, what, remedy: remedy.to_owned() }
    }

    pub(super) fn bad(&mut self, span: std::ops::Range<usize>, what: String, remedy: &str) {
        let problem = self.problem(span, what, remedy);
        self.problems.push(problem);
    }

    pub(super) fn table(&mut self, prefix: &str, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            let span = table
                .get_key_value(name)
                .and_then(|(key, _)| key.span())
                .or_else(|| item.span())
                .unwrap_or(0..0);
            if entries::NAMES.contains(&path.as_str()) {
                entries::read(self, &path, item, span);
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

    pub(super) fn layer(&self) -> LayerName {
        self.layer
    }

    pub(super) fn file(&self) -> &str {
        self.file
    }

    pub(super) fn out(&mut self) -> &mut File {
        &mut self.out
    }

    pub(super) fn problems(&mut self, found: Vec<Problem>) {
        self.problems.extend(found);
    }

    /// A reader for a table that holds keys of its own.
    pub(super) fn inside(&self) -> Reader<'_> {
        Reader {
            file: self.file,
            text: self.text.clone(),
            layer: self.layer,
            out: File::default(),
            problems: Vec::new(),
        }
    }

    pub(super) fn done(self) -> (File, Vec<Problem>) {
        (self.out, self.problems)
    }
}

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
        Kind::Given => given(value).map(Said::Given),
        Kind::Paths => {
            let items = value.and_then(Value::as_array).ok_or_else(|| "is no list".to_owned())?;
            let paths: Result<Vec<String>, String> = items.iter().map(path).collect();
            paths.map(Said::List)
        }
    }
}

fn given(value: Option<&Value>) -> Result<Source, String> {
    let table = value.and_then(Value::as_inline_table);
    let table = table.ok_or_else(|| "does not say where the secret comes from".to_owned())?;
    let mut members = table.iter();
    let (Some((key, value)), None) = (members.next(), members.next()) else {
        return Err("has not exactly one member".to_owned());
    };
    let name = value.as_str().unwrap_or_default();
    let is_variable = || {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    };
    match key {
        "secret" if SecretRef::parse(name).is_some() => Ok(Source::Secret(name.to_owned())),
        "secret" => Err("names no secret".to_owned()),
        "from_env" if is_variable() => Ok(Source::FromEnv(name.to_owned())),
        "from_env" => Err("names no variable".to_owned()),
        other => Err(format!("has the unknown member `{other}`")),
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

    /// GINV-7.
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
            ("project = \"x\"\nrule = \"force_push_any\"", false),
            ("project = \"x\"\nrule = \"suspected_injection\"", true),
            ("project = \"x\"\nrule = \"secret_use\"", true),
            ("secret = \"k@api.example.org#read\"", false),
            ("secret = \"k@api.example.org#read\"\nprincipal = \"agent:codex:1000\"", false),
            ("secret = \"k\"", true),
            ("secret = \"*@api.example.org#read\"", true),
            ("secret = \"k@*#read\"", true),
            ("secret = \"k@API.example.org#read\"", true),
            ("secret = \"k@api.example.org#all\"", true),
            // VINV-7
            ("project = \"x\"\ntool = \"http_fetch\"", true),
            ("project = \"x\"\ntool = \"memory_recall\"", false),
            ("memory = \"work/plan\"", false),
            ("memory = \"work/*\"", true),
            ("memory = \"*/plan\"", true),
        ] {
            assert_eq!(!problems(&format!("[[allow]]\n{entry}"), LayerName::User).is_empty(), bad, "{entry}");
        }
    }

    /// VINV-8, MINV-13: what forbids may name a part and mean all; and it may stand in the organization's file.
    #[test]
    fn deny_entries_are_checked() {
        for (entry, bad) in [
            ("secret = \"k\"", false),
            ("secret = \"k@api.example.org:8443\"", false),
            ("secret = \"*\"", false),
            ("secret = \"k@*\"", false),
            ("secret = \"a b\"", true),
            ("secret = \"k@a/b\"", true),
            ("memory = \"*/*\"", false),
            ("memory = \"work/*\"", false),
            ("memory = \"../x/y\"", true),
            ("tool = \"http_fetch\"", true),
            ("project = \"x\"\ntool = \"http_fetch\"", false),
            ("project = \"x\"\nrule = \"secret_use\"", false),
        ] {
            for layer in [LayerName::User, LayerName::Organization] {
                assert_eq!(!problems(&format!("[[deny]]\n{entry}"), layer).is_empty(), bad, "{entry}");
            }
        }
        assert!(
            problems("version = 1\n[[deny]]\nsecret = \"*\"\n", LayerName::Project)[0]
                .contains("user's file only")
        );
    }
}
