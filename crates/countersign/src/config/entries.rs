//! The entries of a configuration file that are no single keys: `[[allow]]`, `[tiers]`, `[tools]`, `[[repo]]` and
//! `[[cleanse.patterns]]`.
//!
//! Read as strictly as keys are: every problem with its place and a remedy. Where it stops: what the entries mean for
//! a call is decided where they are put together, in `config`.

use super::said::{File, LayerName, Reader, Said};
use countersign_core::approval::scope::Scope;
use countersign_core::cleanse::{Written, check_pattern};
use countersign_core::facts::ground::{BoundAction, TierPin, ToolBinding};
use countersign_core::facts::tools::Tier;
use countersign_core::judge::is_never_lifted;
use countersign_core::rulebook::settings::Denial;
use countersign_core::rulebook::{PolicyText, RuleSet};
use countersign_core::time::Timestamp;
use std::collections::BTreeMap;
use std::ops::Range;
use toml_edit::{Item, Table};

/// One `[[allow]]` or `[[deny]]` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowEntry {
    /// One of `KINDS`.
    pub kind: String,
    /// Its value.
    pub value: String,
    /// Id of the project it is for; `None` means all, which only secrets and notes may.
    pub project: Option<String>,
    /// Whom it is for.
    pub principal: Option<String>,
    /// When it ends.
    pub until: Option<String>,
}

impl AllowEntry {
    /// The entry in words.
    pub fn told(&self) -> String {
        let by = self.principal.as_ref().map(|p| format!(" for {p}")).unwrap_or_default();
        let until = self.until.as_ref().map(|u| format!(" until {u}")).unwrap_or_default();
        format!("{}:{}{by}{until}", self.kind, self.value)
    }

    /// Whether it counts in a project.
    pub fn is_for(&self, project: &str) -> bool {
        self.project.as_ref().is_none_or(|id| id == project)
    }
}

/// One `[[repo]]` entry: an operator's settings and rules for one repository.
#[derive(Clone, Debug)]
pub struct RepoEntry {
    /// `owner/name`.
    pub name: String,
    /// Its values, by key.
    pub values: BTreeMap<&'static str, (Said, usize)>,
    /// Its rules.
    pub policy: Vec<(RuleSet, PolicyText)>,
}

impl RepoEntry {
    /// Whether it is about this repository; hosts take names of repositories without case.
    pub fn is(&self, repo: &str) -> bool {
        !repo.is_empty() && self.name.eq_ignore_ascii_case(repo)
    }
}

/// Names of tables that hold entries.
pub(super) const NAMES: [&str; 6] = ["allow", "deny", "tiers", "tools", "repo", "cleanse.patterns"];

const ALLOW: &str = "for example: [[allow]] project = \"<id>\" bash_pattern = \"cargo publish*\" until = \"2027-01-31T00:00:00Z\"";
const TIERS: &str =
    "for example: [tiers] \"mcp__gh__delete_draft\" = { tier = \"write\", because = \"drafts are ours\" }";
const TOOLS: &str =
    "for example: [tools] \"mcp__box__run\" = { action = \"execute_bash\", field = \"line\" }";
const REPO: &str =
    "for example: [[repo]] name = \"ana/shop\" rules.disable = [\"force_push_any\"] approvals.cap = 20";
const PATTERNS: &str =
    "for example: [[cleanse.patterns]] name = \"INTERNAL_TOKEN\" regex = 'corp_[0-9a-f]{32}'";
const DENY: &str =
    "for example: [[deny]] secret = \"github_token@*\", or [[deny]] project = \"<id>\" tool = \"http_fetch\"";
const KINDS: [&str; 6] = ["secret", "memory", "tool", "bash_pattern", "write_path", "rule"];
/// What `[[repo]]` may set beside its rules.
const REPO_KEYS: [&str; 2] = ["rules.", "approvals."];

/// Reads the table of entries called `name`.
pub(super) fn read(reader: &mut Reader<'_>, name: &str, item: &Item, span: Range<usize>) {
    match name {
        "allow" => each(reader, item, span, ("allow", ALLOW), allow),
        "deny" => each(reader, item, span, ("deny", DENY), deny),
        "tiers" => members(reader, item, span, ("tiers", ["tier", "because"], TIERS), tier),
        "cleanse.patterns" => patterns(reader, item, span),
        "tools" => members(reader, item, span, ("tools", ["action", "field"], TOOLS), tool),
        _ => each(reader, item, span, ("repo", REPO), repo),
    }
}

/// Every table of a list that only the user's and the organization's files may hold.
fn each(
    reader: &mut Reader<'_>,
    item: &Item,
    span: Range<usize>,
    (name, example): (&str, &str),
    one: fn(&mut Reader<'_>, &Table, Range<usize>),
) {
    let users = match name {
        // What forbids may stand wherever an operator writes.
        "allow" => reader.layer() == LayerName::User,
        _ => reader.layer() != LayerName::Project,
    };
    if !users {
        let what = format!("`[[{name}]]` stands in the user's file only");
        let remedy = match name {
            "allow" => {
                "move it to your user configuration, or write it with `countersign approve ID --always`"
            }
            _ => "move it to your user configuration: a project cannot speak for its operator",
        };
        return reader.bad(span, what, remedy);
    }
    let Some(tables) = item.as_array_of_tables() else {
        let what = format!("`{name}` is no list of tables");
        return reader.bad(span, what, &format!("write [[{name}]] in front of each entry; {example}"));
    };
    for table in tables {
        let at = table.span().unwrap_or_else(|| span.clone());
        one(reader, table, at);
    }
}

/// Every member of a table of small tables with two texts in them.
fn members(
    reader: &mut Reader<'_>,
    item: &Item,
    span: Range<usize>,
    (name, fields, example): (&str, [&str; 2], &str),
    one: fn(&str, &str, &str) -> Result<Entry, String>,
) {
    let Some(table) = item.as_table_like() else {
        return reader.bad(span, format!("`{name}` is no table"), example);
    };
    for (key, item) in table.iter() {
        let at = item.span().unwrap_or_else(|| span.clone());
        let inner = item.as_table_like();
        let text = |field: &str| inner.and_then(|t| t.get(field)).and_then(Item::as_str);
        let odd = inner.and_then(|t| t.iter().map(|(k, _)| k).find(|k| !fields.contains(k)));
        if let Some(odd) = odd {
            reader.bad(at, format!("unknown key `{name}.{key}.{odd}`"), example);
            continue;
        }
        let [first, second] = fields;
        let (Some(a), Some(b)) = (text(first), text(second).filter(|b| !b.trim().is_empty())) else {
            let what = format!("`{name}.\"{key}\"` needs the texts `{first}` and `{second}`");
            reader.bad(at, what, example);
            continue;
        };
        match one(key, a, b) {
            Ok(Entry::Tier(pin)) => reader.out().tiers.push(pin),
            Ok(Entry::Tool(binding)) => reader.out().tools.push(binding),
            Err(what) => reader.bad(at, format!("`{name}.\"{key}\"` {what}"), example),
        }
    }
}

enum Entry {
    Tier(TierPin),
    Tool(ToolBinding),
}

fn tier(pattern: &str, tier: &str, because: &str) -> Result<Entry, String> {
    let tier = Tier::parse(tier)
        .ok_or_else(|| format!("has the tier `{tier}`; possible are read, write, destructive"))?;
    if pattern.trim_matches(['*', '?', ' ']).is_empty() {
        return Err("names every tool there is".to_owned());
    }
    Ok(Entry::Tier(TierPin { pattern: pattern.to_owned(), tier, because: because.to_owned() }))
}

fn tool(tool: &str, action: &str, field: &str) -> Result<Entry, String> {
    let action = BoundAction::parse(action)
        .ok_or_else(|| format!("has the action `{action}`; possible are write_file, execute_bash"))?;
    Ok(Entry::Tool(ToolBinding { tool: tool.to_owned(), action, field: field.to_owned() }))
}

fn allow(reader: &mut Reader<'_>, table: &Table, at: Range<usize>) {
    let check = |kind: &str, value: &str| {
        if kind == "rule" && is_never_lifted(value) {
            return Err(format!("`{value}` is asked about each time, so no entry lifts it"));
        }
        if kind == "tool" && value == countersign_core::fetch::TOOL {
            let example = "secret = \"KEY@HOST#read\"";
            return Err(format!(
                "`{value}` is not allowed as a whole; allow one secret at one host: {example}"
            ));
        }
        Scope::parse_standing(kind, value).map(|_| ()).map_err(|e| e.to_string())
    };
    if let Some(entry) = standing(reader, table, at, ("allow", ALLOW), check) {
        reader.out().allow.push(entry);
    }
}

fn deny(reader: &mut Reader<'_>, table: &Table, at: Range<usize>) {
    let check = |kind: &str, value: &str| Denial::parse(kind, value).map(|_| ()).map_err(|e| e.to_string());
    if let Some(entry) = standing(reader, table, at, ("deny", DENY), check) {
        reader.out().deny.push(entry);
    }
}

/// An entry of `[[allow]]` or `[[deny]]`.
fn standing(
    reader: &mut Reader<'_>,
    table: &Table,
    at: Range<usize>,
    (list, example): (&str, &str),
    check: impl Fn(&str, &str) -> Result<(), String>,
) -> Option<AllowEntry> {
    let mut texts = BTreeMap::new();
    for (name, item) in table.iter() {
        let place = item.span().unwrap_or(at.clone());
        let known = KINDS.contains(&name) || ["project", "principal", "until"].contains(&name);
        match item.as_str() {
            Some(text) if known => {
                texts.insert(name.to_owned(), text.to_owned());
            }
            Some(_) => reader.bad(place, format!("unknown key `{list}.{name}`"), example),
            None => reader.bad(place, format!("`{list}.{name}` is no text"), example),
        }
    }
    let kinds: Vec<&str> = KINDS.into_iter().filter(|k| texts.contains_key(*k)).collect();
    let [kind] = kinds.as_slice() else {
        let what = format!("an `[[{list}]]` entry needs exactly one of {}", KINDS.join(", "));
        reader.bad(at, what, example);
        return None;
    };
    let project = texts.get("project").cloned();
    if project.is_none() && !["secret", "memory"].contains(kind) {
        let what = format!("an `[[{list}]]` entry for a {kind} needs `project`");
        reader.bad(at, what, example);
        return None;
    }
    let value = texts.get(*kind).cloned().unwrap_or_default();
    if let Err(e) = check(kind, &value) {
        reader.bad(at, format!("`{list}.{kind}`: {e}"), example);
        return None;
    }
    let until = texts.get("until").cloned();
    if until.as_ref().is_some_and(|text| Timestamp::parse(text).is_none()) {
        reader.bad(at, format!("`{list}.until` is no RFC 3339 time"), "write it like 2027-01-31T00:00:00Z");
        return None;
    }
    let principal = texts.get("principal").cloned();
    Some(AllowEntry { kind: (*kind).to_owned(), value, project, principal, until })
}

fn repo(reader: &mut Reader<'_>, table: &Table, at: Range<usize>) {
    let name = table.get("name").and_then(Item::as_str).unwrap_or_default().to_owned();
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !name.split_once('/').is_some_and(|(owner, repo)| plain(owner) && plain(repo)) {
        return reader.bad(at, "a `[[repo]]` entry needs `name` as \"owner/name\"".to_owned(), REPO);
    }
    if reader.out().repos.iter().any(|r| r.name.eq_ignore_ascii_case(&name)) {
        return reader.bad(at, format!("`{name}` has a `[[repo]]` entry already"), "join the two");
    }
    let mut policy = Vec::new();
    let mut rest = table.clone();
    rest.remove("name");
    if let Some(rules) = rest.get_mut("rules").and_then(Item::as_table_like_mut) {
        for (set, key) in [(RuleSet::Hard, "hard"), (RuleSet::Soft, "soft")] {
            match rules.remove(key) {
                None => {}
                Some(item) => match item.as_str() {
                    Some(text) => {
                        let file = format!("{} [[repo]] {name} rules.{key}", reader.file());
                        policy.push((set, PolicyText { file, text: text.into() }));
                    }
                    None => {
                        let what = format!("`repo.rules.{key}` is no text");
                        reader.bad(at.clone(), what, "write Cedar rules between \"\"\" and \"\"\"");
                    }
                },
            }
        }
    }
    let mut inside = reader.inside();
    inside.table("", &rest);
    let (File { values, .. }, mut problems) = inside.done();
    for key in values.keys().filter(|k| !REPO_KEYS.iter().any(|start| k.starts_with(start))) {
        problems.push(reader.problem(at.clone(), format!("`{key}` cannot be set for one repository"), REPO));
    }
    reader.problems(problems);
    reader.out().repos.push(RepoEntry { name, values, policy });
}

/// Patterns of secrets: bounded in number, and each one that the engine takes.
fn patterns(reader: &mut Reader<'_>, item: &Item, span: Range<usize>) {
    let Some(tables) = item.as_array_of_tables() else {
        let what = "`cleanse.patterns` is no list of tables".to_owned();
        return reader.bad(span, what, "write [[cleanse.patterns]] in front of each entry");
    };
    // Three layers of files stay below what can be put together.
    if tables.len() > 150 {
        let what = "there are more than 150 `cleanse.patterns` in one file".to_owned();
        return reader.bad(span, what, "join some of them with `|`");
    }
    for table in tables {
        let at = table.span().unwrap_or_else(|| span.clone());
        let mut texts: BTreeMap<&str, (String, Range<usize>)> = BTreeMap::new();
        for (name, item) in table.iter() {
            let here = item.span().unwrap_or_else(|| at.clone());
            match (item.as_str(), ["name", "regex", "flags"].contains(&name)) {
                (Some(text), true) => {
                    texts.insert(name, (text.to_owned(), here));
                }
                (None, true) => reader.bad(here, format!("`cleanse.patterns.{name}` is no text"), PATTERNS),
                (_, false) => reader.bad(here, format!("unknown key `cleanse.patterns.{name}`"), PATTERNS),
            }
        }
        let text = |name: &str| texts.get(name).map(|(text, _)| text.clone()).unwrap_or_default();
        let (Some((_, here)), true) = (texts.get("regex"), texts.contains_key("name")) else {
            reader.bad(at, "an entry of `cleanse.patterns` needs `name` and `regex`".to_owned(), PATTERNS);
            continue;
        };
        let written = Written { name: text("name"), regex: text("regex"), flags: text("flags") };
        match check_pattern(&written) {
            Ok(()) => reader.out().patterns.push(written),
            Err(e) => {
                let place = match e.at {
                    Some(offset) => format!(" (byte {} of the pattern)", offset + 1),
                    None => String::new(),
                };
                let what = format!("`cleanse.patterns` {}: {}{place}", written.name, e.what);
                reader.bad(here.clone(), what, e.remedy);
            }
        }
    }
}
