//! `servers.toml`: the servers of a project, read strictly (NAMES 1.2). Values are typed and no string is expanded;
//! every problem is reported at once, with line, column and a remedy.

use super::said::Problem;
use countersign_core::call::{FromServer, Role};
use countersign_core::facts::tools::Tier;
use countersign_core::json::Json;
use countersign_core::secret::SecretRef;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use toml_edit::{Item, TableLike};

/// A value of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Written down.
    Plain(String),
    /// A variable of the gateway's environment.
    FromEnv(String),
    /// A secret of the user's vault, opened when the server is started.
    Secret(SecretRef),
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The program.
    pub command: String,
    /// Its arguments, literally.
    pub args: Vec<String>,
    /// Its environment beside the neutral variables.
    pub env: BTreeMap<String, Given>,
    /// Tools that may do at least this much.
    pub tiers: BTreeMap<String, Tier>,
    /// Tools that are refused and hidden.
    pub blocked_tools: Vec<String>,
    /// What arguments of tools are.
    pub roles: BTreeMap<String, Vec<(String, Role)>>,
    /// Whether it is started.
    pub enabled: bool,
    /// How long a call may take.
    pub timeout: Duration,
    /// Requests for text of the client's model.
    pub sampling: FromServer,
    /// Questions to the client's user.
    pub elicitation: FromServer,
    /// Requests for the client's folders.
    pub roots: FromServer,
}

impl Entry {
    /// Secrets that it finds in its environment, by the name of the variable.
    pub fn secrets(&self) -> BTreeMap<String, SecretRef> {
        let secret = |(key, value): (&String, &Given)| match value {
            Given::Secret(name) => Some((key.clone(), name.clone())),
            Given::Plain(_) | Given::FromEnv(_) => None,
        };
        self.env.iter().filter_map(secret).collect()
    }

    /// How it is started, canonical: what a person accepts. Values of the environment are left out, so that a changed
    /// secret is no drift; their names are not.
    pub fn launch(&self) -> String {
        let env = self.env.iter().map(|(key, value)| match value {
            Given::Plain(_) => (key.clone(), Json::str("")),
            Given::FromEnv(name) => (key.clone(), Json::object([("from_env", Json::str(name))])),
            Given::Secret(name) => (key.clone(), Json::object([("secret", Json::str(name.as_str()))])),
        });
        let tiers = self.tiers.iter().map(|(tool, tier)| (tool.clone(), Json::str(tier.as_str())));
        let roles = self.roles.iter().map(|(tool, roles)| {
            let roles = roles.iter().map(|(arg, role)| (arg.clone(), Json::str(word(*role))));
            (tool.clone(), Json::object(roles))
        });
        Json::object([
            ("version", Json::int(2)),
            ("name", Json::str(&self.name)),
            ("transport", Json::str("stdio")),
            ("command", Json::str(&self.command)),
            ("args", Json::strings(&self.args)),
            ("env", Json::object(env)),
            ("tiers", Json::object(tiers)),
            ("blocked_tools", Json::strings(&self.blocked_tools)),
            ("arg_roles", Json::object(roles)),
            ("sampling", Json::str(self.sampling.as_str())),
            ("elicitation", Json::str(self.elicitation.as_str())),
            ("roots", Json::str(self.roots.as_str())),
        ])
        .canonical()
    }
}

const ROLES: [(&str, Role); 4] =
    [("path", Role::Path), ("content", Role::Content), ("url", Role::Url), ("command", Role::Command)];

fn word(role: Role) -> &'static str {
    ROLES.iter().find(|(_, r)| *r == role).map_or("path", |(word, _)| word)
}

/// Whether a text can be the name of a server.
pub fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
}

/// Reads the file.
pub fn read(file: &str, text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let mut reader = Reader { file, text: text.into(), problems: Vec::new() };
    let mut entries: Vec<Entry> = Vec::new();
    match toml_edit::Document::parse(text.to_owned()) {
        Ok(document) => reader.document(document.as_table(), &mut entries),
        Err(e) => {
            let first = e.message().lines().next().unwrap_or("not TOML").to_owned();
            reader.bad(e.span().unwrap_or(0..0), first, "correct the TOML; a key may occur once only");
        }
    }
    if reader.problems.is_empty() { Ok(entries) } else { Err(reader.problems) }
}

struct Reader<'a> {
    file: &'a str,
    text: Arc<str>,
    problems: Vec<Problem>,
}

type Span = std::ops::Range<usize>;

impl Reader<'_> {
    fn bad(&mut self, span: Span, what: impl Into<String>, remedy: &str) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            text: self.text.clone(),
            span,
            what: what.into(),
            remedy: remedy.to_owned(),
        });
    }

    fn document(&mut self, table: &dyn TableLike, entries: &mut Vec<Entry>) {
        for (key, item) in table.iter() {
            let span = key_span(table, key, item);
            match key {
                "version" if item.as_integer() == Some(1) => {}
                "version" => self.bad(span, "`version` is not 1", "write version = 1"),
                "servers" => match item.as_array_of_tables() {
                    Some(tables) => {
                        for table in tables {
                            let at = table.span().unwrap_or_else(|| span.clone());
                            let entry = self.entry(table, at.clone());
                            let Some(entry) = entry else { continue };
                            if entries.iter().any(|e| e.name == entry.name) {
                                let what = format!("two servers are called `{}`", entry.name);
                                self.bad(at, what, "give one of them another name");
                            }
                            entries.push(entry);
                        }
                    }
                    None => {
                        self.bad(span, "`servers` is no list of tables", "write [[servers]] in front of each")
                    }
                },
                other => {
                    let what = format!("unknown key `{other}`");
                    self.bad(span, what, "the file holds version = 1 and [[servers]] entries");
                }
            }
        }
        if !table.contains_key("version") {
            self.bad(0..0, "`version` is missing", "write version = 1 in the first line");
        }
    }

    fn entry(&mut self, table: &dyn TableLike, at: Span) -> Option<Entry> {
        const KNOWN: &[&str] = &[
            "name",
            "transport",
            "command",
            "args",
            "env",
            "tiers",
            "blocked_tools",
            "arg_roles",
            "enabled",
            "timeout_ms",
            "sampling",
            "elicitation",
            "roots",
        ];
        const LATER: &[&str] = &["url", "headers", "calls_per_minute", "max_concurrent_calls"];
        let before = self.problems.len();
        for (key, item) in table.iter() {
            let span = key_span(table, key, item);
            if LATER.contains(&key) {
                let what = format!("`servers.{key}` is not known to this version");
                self.bad(span, what, "servers are started on standard streams; take the key out");
            } else if !KNOWN.contains(&key) {
                let what = format!("unknown key `servers.{key}`");
                self.bad(span, what, &format!("known are: {}", KNOWN.join(", ")));
            }
        }
        let name = self.text(table, "name", &at, true).unwrap_or_default();
        if !name.is_empty() && (!is_name(&name) || name == "countersign") {
            let span = value_span(table, "name", &at);
            let what = format!("`servers.name` = {name:?} cannot be used");
            self.bad(span, what, "use lower-case letters, digits and dashes, at most 63, not `countersign`");
        }
        if let Some(transport) = self.text(table, "transport", &at, false)
            && transport != "stdio"
        {
            let what = format!("`servers.transport` = {transport:?} is not known to this version");
            self.bad(value_span(table, "transport", &at), what, "write \"stdio\", or leave it out");
        }
        let command = self.text(table, "command", &at, true).unwrap_or_default();
        let args = self.texts(table, "args", &at);
        let blocked_tools = self.texts(table, "blocked_tools", &at);
        let env = self.env(table, &at);
        let tiers = self.tiers(table, &at);
        let roles = self.roles(table, &at);
        let enabled = match table.get("enabled") {
            None => true,
            Some(item) => item.as_bool().unwrap_or_else(|| {
                self.bad(
                    value_span(table, "enabled", &at),
                    "`servers.enabled` is no truth value",
                    "write true or false",
                );
                true
            }),
        };
        let timeout_ms = match table.get("timeout_ms") {
            None => 60_000,
            Some(item) => {
                let ms = item.as_integer().filter(|ms| (100..=3_600_000).contains(ms));
                if ms.is_none() {
                    let remedy = "write a whole number from 100 to 3600000";
                    self.bad(
                        value_span(table, "timeout_ms", &at),
                        "`servers.timeout_ms` is out of bounds",
                        remedy,
                    );
                }
                ms.unwrap_or(60_000).unsigned_abs()
            }
        };
        let mut says = |key: &'static str, default| match self.text(table, key, &at, false) {
            None => default,
            Some(text) => FromServer::parse(&text).unwrap_or_else(|| {
                let what = format!("`servers.{key}` = {text:?} is none of its words");
                self.bad(value_span(table, key, &at), what, "write one of: deny, ask, pass");
                default
            }),
        };
        let sampling = says("sampling", FromServer::Deny);
        let elicitation = says("elicitation", FromServer::Ask);
        let roots = says("roots", FromServer::Deny);
        (self.problems.len() == before).then_some(Entry {
            name,
            command,
            args,
            env,
            tiers,
            blocked_tools,
            roles,
            enabled,
            timeout: Duration::from_millis(timeout_ms),
            sampling,
            elicitation,
            roots,
        })
    }

    fn text(&mut self, table: &dyn TableLike, key: &str, at: &Span, required: bool) -> Option<String> {
        match table.get(key) {
            Some(item) => match item.as_str().filter(|t| !t.is_empty() && !t.contains('\0')) {
                Some(text) => self.plain(text, key, value_span(table, key, at)),
                None => {
                    let what = format!("`servers.{key}` is no text, or an empty one");
                    self.bad(value_span(table, key, at), what, "write a text in quotes");
                    None
                }
            },
            None if required => {
                self.bad(at.clone(), format!("`servers.{key}` is missing"), &format!("add {key} = \"...\""));
                None
            }
            None => None,
        }
    }

    /// No text is expanded, so one that looks as if it were is an error rather than a surprise.
    fn plain(&mut self, text: &str, key: &str, span: Span) -> Option<String> {
        if text.contains("${") {
            let what = format!("`servers.{key}` holds `${{`, and nothing is expanded here");
            self.bad(span, what, "in env write { from_env = \"NAME\" } or { secret = \"name\" }; elsewhere write the value itself");
            return None;
        }
        Some(text.to_owned())
    }

    fn texts(&mut self, table: &dyn TableLike, key: &str, at: &Span) -> Vec<String> {
        let Some(item) = table.get(key) else { return Vec::new() };
        let span = value_span(table, key, at);
        let items =
            item.as_array().map(|a| a.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>());
        let all: Option<Vec<String>> = items.and_then(|i| i.into_iter().collect());
        match all {
            Some(all) => all.iter().filter_map(|text| self.plain(text, key, span.clone())).collect(),
            None => {
                let what = format!("`servers.{key}` is no list of texts");
                self.bad(span, what, "write a list of texts, for example [\"a\", \"b\"]");
                Vec::new()
            }
        }
    }

    fn env(&mut self, table: &dyn TableLike, at: &Span) -> BTreeMap<String, Given> {
        const FORMS: &str =
            "write NAME = \"value\", NAME = { from_env = \"NAME\" } or NAME = { secret = \"name\" }";
        let mut out = BTreeMap::new();
        for (key, item, span) in self.table(table, "env", at) {
            let named = |name: &str| {
                name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            };
            if !named(&key) {
                self.bad(span, format!("`servers.env.{key}` is no name of a variable"), FORMS);
                continue;
            }
            if let Some(text) = item.as_str() {
                if let Some(text) = self.plain(text, &format!("env.{key}"), span) {
                    out.insert(key, Given::Plain(text));
                }
                continue;
            }
            let form = item.as_table_like().filter(|t| t.len() == 1);
            match form
                .and_then(|t| t.iter().next())
                .map(|(k, v)| (k.to_owned(), v.as_str().map(str::to_owned)))
            {
                Some((kind, Some(name))) if kind == "from_env" && named(&name) => {
                    out.insert(key, Given::FromEnv(name));
                }
                Some((kind, Some(name))) if kind == "secret" => match SecretRef::parse(&name) {
                    Some(name) => {
                        out.insert(key, Given::Secret(name));
                    }
                    None => {
                        let what =
                            format!("`servers.env.{key}` names {name:?}, which is no name of a secret");
                        self.bad(span, what, "use letters, digits, `.`, `_` and `-`, as in `vault list`");
                    }
                },
                _ => self.bad(span, format!("`servers.env.{key}` has none of the known forms"), FORMS),
            }
        }
        out
    }

    fn tiers(&mut self, table: &dyn TableLike, at: &Span) -> BTreeMap<String, Tier> {
        let mut out = BTreeMap::new();
        for (tool, item, span) in self.table(table, "tiers", at) {
            match item.as_str().and_then(Tier::parse) {
                Some(tier) => {
                    out.insert(tool, tier);
                }
                None => {
                    let what = format!("`servers.tiers.{tool}` is no tier");
                    self.bad(span, what, "write one of: read, write, destructive; it can only raise");
                }
            }
        }
        out
    }

    fn roles(&mut self, table: &dyn TableLike, at: &Span) -> BTreeMap<String, Vec<(String, Role)>> {
        const REMEDY: &str = "write arg_roles.TOOL.ARGUMENT = \"path\", \"content\", \"url\" or \"command\"";
        let mut out = BTreeMap::new();
        for (tool, item, span) in self.table(table, "arg_roles", at) {
            let Some(inner) = item.as_table_like() else {
                self.bad(span, format!("`servers.arg_roles.{tool}` is no table"), REMEDY);
                continue;
            };
            let mut roles = Vec::new();
            for (arg, item) in inner.iter() {
                match item.as_str().and_then(|t| ROLES.iter().find(|(word, _)| *word == t)) {
                    Some((_, role)) => roles.push((arg.to_owned(), *role)),
                    None => {
                        self.bad(span.clone(), format!("`servers.arg_roles.{tool}.{arg}` is no role"), REMEDY)
                    }
                }
            }
            out.insert(tool, roles);
        }
        out
    }

    fn table(&mut self, table: &dyn TableLike, key: &str, at: &Span) -> Vec<(String, Item, Span)> {
        let Some(item) = table.get(key) else { return Vec::new() };
        match item.as_table_like() {
            Some(inner) => {
                inner.iter().map(|(k, v)| (k.to_owned(), v.clone(), key_span(inner, k, v))).collect()
            }
            None => {
                self.bad(
                    value_span(table, key, at),
                    format!("`servers.{key}` is no table"),
                    "write { name = value }",
                );
                Vec::new()
            }
        }
    }
}

fn key_span(table: &dyn TableLike, key: &str, item: &Item) -> Span {
    let span = table.get_key_value(key).and_then(|(key, _)| key.span());
    span.or_else(|| item.span()).unwrap_or(0..0)
}

fn value_span(table: &dyn TableLike, key: &str, at: &Span) -> Span {
    table.get(key).and_then(Item::span).unwrap_or_else(|| at.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"version = 1

[[servers]]
name = "fs"
command = "mcp-fs"
args = ["/srv"]
env = { A = "1", B = { from_env = "C" }, T = { secret = "k" } }
tiers = { write_file = "destructive" }
arg_roles.put.where = "path"
blocked_tools = ["move_*"]
timeout_ms = 100
sampling = "ask"
"#;

    #[test]
    fn a_server_is_read() {
        let all = read("servers.toml", GOOD).unwrap();
        let fs = &all[0];
        assert_eq!((fs.name.as_str(), fs.enabled, fs.timeout), ("fs", true, Duration::from_millis(100)));
        assert_eq!(fs.env["B"], Given::FromEnv("C".into()));
        assert_eq!(fs.secrets()["T"].as_str(), "k");
        assert_eq!(fs.roles["put"], [("where".to_owned(), Role::Path)]);
        assert_eq!(
            (fs.sampling, fs.elicitation, fs.roots),
            (FromServer::Ask, FromServer::Ask, FromServer::Deny)
        );
    }

    /// GINV of gateway.md 3.5: values are no drift, names are.
    #[test]
    fn what_is_accepted() {
        let launch = |text: &str| read("s", text).unwrap()[0].launch();
        assert_eq!(launch(GOOD), launch(&GOOD.replace("A = \"1\"", "A = \"2\"")));
        for (from, to) in [
            ("A = \"1\"", "D = \"1\""),
            ("/srv", "/"),
            ("mcp-fs", "other"),
            ("move_*", "x"),
            ("\"C\"", "\"E\""),
            ("\"k\"", "\"other\""),
        ] {
            assert_ne!(launch(GOOD), launch(&GOOD.replace(from, to)), "{to}");
        }
    }

    #[test]
    fn every_problem_has_its_place() {
        let text = r#"version = 1
[[servers]]
name = "Fs"
command = "x ${HOME}"
args = "a"
env = { A = "${B}", "1C" = "x", D = { secret = "a b" } }
timeout_ms = 5
colour = "red"
url = "x"
[[servers]]
name = "b"
"#;
        let found: Vec<String> =
            read("servers.toml", text).unwrap_err().iter().map(ToString::to_string).collect();
        for want in [
            "servers.toml:3:8: `servers.name`",
            "servers.toml:4:11: `servers.command` holds `${`",
            "`servers.args` is no list",
            "`servers.env.A` holds `${`",
            "`servers.env.1C` is no name",
            "`servers.env.D` names \"a b\", which is no name",
            "servers.toml:7:14: `servers.timeout_ms` is out of bounds",
            "servers.toml:8:1: unknown key `servers.colour`",
            "servers.toml:9:1: `servers.url` is not known",
            "`servers.command` is missing",
        ] {
            assert!(found.iter().any(|f| f.starts_with(want) || f.contains(want)), "{want}: {found:#?}");
        }
    }
}
