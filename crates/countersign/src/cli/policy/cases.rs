//! `countersign policy test`: cases in JSON, each a call and what the rules shall say of it, and the grid of every case
//! for every kind of principal.

use super::super::trial::{Trial, short};
use super::super::{Context, complain, exit, say};
use super::{clean, read_or_say};
use anyhow::{Context as _, bail};
use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::ids::{CallId, RawId};
use countersign_core::json::{Bounds, Json};
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::Rulebook;
use countersign_core::time::Timestamp;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(super) const HELP: &str = "Example:\n  countersign policy test\n  countersign policy test cases/ --rulebook proposal/\n  countersign policy test --grid > .countersign/policy/tests/grid.txt\n\nA case is an object in a file that ends in .json; a file may hold a list of them:\n  { \"name\": \"publishing asks\",\n    \"call\": { \"tool_name\": \"Bash\", \"tool_input\": { \"command\": \"cargo publish\" } },\n    \"expected\": { \"verdict\": \"require_approval\", \"matching_rule_ids\": [\"ask_before_publish\"] } }\nBeside these, call may name client (claude-code, codex, gemini, ...), agent_type of a sub-agent, and cwd. A grid.txt\nbeside the cases is what --grid must print. With --json, what differs says under got what the rules\nsaid. Exit code 1 if anything differs, 2 if there is no case.";

/// The folder of cases in a project.
const FOLDER: &str = "policy/tests";

/// Try the rules on cases.
#[derive(clap::Args, Debug)]
pub struct Test {
    /// Folder of cases; else policy/tests in the project's .countersign.
    dir: Option<PathBuf>,
    /// Try these rules: a project, or a folder like its .countersign.
    #[arg(long, value_name = "DIR")]
    rulebook: Option<PathBuf>,
    /// Print what every case means for every kind of principal, instead of testing.
    #[arg(long)]
    grid: bool,
}

struct Case {
    name: String,
    file: String,
    tool: String,
    args: Json,
    cwd: Option<String>,
    client: Client,
    agent_type: Option<String>,
    verdict: Option<String>,
    rules: Option<BTreeSet<String>>,
}

impl Test {
    /// Tests, or prints the grid.
    pub fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let read = match read_or_say(cx, self.rulebook.as_deref())? {
            Ok(read) => read,
            Err(code) => return Ok(code),
        };
        let root = read.project.root_text().to_owned();
        let dir = self.dir.clone().unwrap_or_else(|| read.project.folder().join(FOLDER));
        let cases = cases(&dir)?;
        if cases.is_empty() {
            complain(&format!(
                "there is no case in {}; `countersign policy test --help` shows one",
                dir.display()
            ));
            return Ok(exit::USAGE);
        }
        if self.grid {
            say(grid(&read.book, &cases, &root)?.trim_end());
            return Ok(exit::OK);
        }
        let mut failed = Vec::new();
        for case in &cases {
            let call = case.call(&root, case.client, case.agent_type.as_deref())?;
            let trial = Trial::of(&read.book, &call, None);
            if let Some(why) = case.differs(&trial) {
                failed.push((case, why, got(&trial)));
            }
        }
        let golden = dir.join("grid.txt");
        let mut drifted = None;
        if golden.is_file() {
            let wanted = std::fs::read_to_string(&golden)?;
            let found = grid(&read.book, &cases, &root)?;
            drifted = difference(wanted.trim_end(), found.trim_end());
        }
        if cx.global.json {
            let failures = failed.iter().map(|(case, why, got)| {
                Json::object([
                    ("name", Json::str(&case.name)),
                    ("file", Json::str(&case.file)),
                    ("why", Json::str(why)),
                    ("got", got.clone()),
                ])
            });
            let all = Json::object([
                ("cases", Json::int(i64::try_from(cases.len()).unwrap_or(i64::MAX))),
                ("failed", Json::Array(failures.collect())),
                ("grid", drifted.as_ref().map_or(Json::Null, Json::str)),
            ]);
            say(&all.canonical());
        } else {
            for (case, why, _) in &failed {
                say(&format!("FAILED {} ({}): {why}", clean(&case.name), case.file));
            }
            if let Some(line) = &drifted {
                say(&format!("FAILED {}: {line}", golden.display()));
            }
            say(&format!("{} of {} cases are as expected.", cases.len() - failed.len(), cases.len()));
        }
        Ok(if failed.is_empty() && drifted.is_none() { exit::OK } else { exit::FAILED })
    }
}

impl Case {
    fn call(&self, root: &str, client: Client, agent_type: Option<&str>) -> anyhow::Result<ToolCall> {
        let parts = CallParts {
            call_id: CallId(RawId::new(Timestamp(0), [0; 10])),
            door: Door::Cli,
            principal: Principal::Agent { client, uid: 1000, agent_type: agent_type.map(str::to_owned) },
            session: Session { client, id: "policy-test".to_owned() },
            agent_id: agent_type.map(str::to_owned),
            tool_use_id: None,
            tool: self.tool.clone(),
            args: self.args.clone(),
            cwd: Some(self.cwd.as_deref().map_or(root.to_owned(), |cwd| {
                if cwd.starts_with('/') { cwd.to_owned() } else { format!("{root}/{cwd}") }
            })),
            joins: None,
            served: None,
        };
        ToolCall::new(parts).with_context(|| format!("{}: the call of `{}`", self.file, clean(&self.name)))
    }

    fn differs(&self, trial: &Trial) -> Option<String> {
        let judged = trial.enforced();
        let found = judged.verdict.as_str();
        let rules: BTreeSet<String> = judged.rules.iter().cloned().collect();
        let verdict = self.verdict.as_deref().is_some_and(|wanted| wanted != found);
        let named = self.rules.as_ref().is_some_and(|wanted| *wanted != rules);
        (verdict || named).then(|| {
            let list = |r: &BTreeSet<String>| r.iter().cloned().collect::<Vec<_>>().join(", ");
            let wanted = self.rules.as_ref().map(|r| format!(" by [{}]", list(r))).unwrap_or_default();
            format!(
                "expected {}{wanted}, got {found} by [{}]: {}",
                self.verdict.as_deref().unwrap_or("any verdict"),
                list(&rules),
                judged.reason
            )
        })
    }
}

/// What the rules say of a case, in the members of `expected`.
fn got(trial: &Trial) -> Json {
    let judged = trial.enforced();
    Json::object([
        ("verdict", Json::str(judged.verdict.as_str())),
        ("matching_rule_ids", Json::Array(judged.rules.iter().map(Json::str).collect())),
    ])
}

/// Every case of a folder, files in the order of their names.
fn cases(dir: &Path) -> anyhow::Result<Vec<Case>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", dir.display())),
    };
    let mut files: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    let mut out = Vec::new();
    for file in files {
        let shown = file.display().to_string();
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read {shown}"))?;
        let bounds = Bounds { max_bytes: 8 << 20, ..Bounds::default() };
        let json = Json::parse(&bytes, bounds).with_context(|| format!("{shown} is not JSON"))?;
        match json {
            Json::Array(items) => {
                for item in &items {
                    out.push(case(&shown, item)?);
                }
            }
            one => out.push(case(&shown, &one)?),
        }
    }
    Ok(out)
}

fn case(file: &str, json: &Json) -> anyhow::Result<Case> {
    let strict = |json: &Json, place: &str, known: &[&str]| -> anyhow::Result<()> {
        let Some(members) = json.as_object() else { bail!("{file}: {place} is no object") };
        match members.iter().find(|(k, _)| !known.contains(&k.as_str())) {
            Some((k, _)) => {
                bail!("{file}: unknown member `{}` of {place}; known are {}", clean(k), known.join(", "))
            }
            None => Ok(()),
        }
    };
    strict(json, "a case", &["name", "description", "call", "expected"])?;
    let name = json.text("name").with_context(|| format!("{file}: a case has no `name`"))?.to_owned();
    let place = format!("`{}`", clean(&name));
    let call = json.get("call").with_context(|| format!("{file}: {place} has no `call`"))?;
    strict(
        call,
        &format!("the call of {place}"),
        &["tool_name", "tool_input", "client", "agent_type", "cwd"],
    )?;
    let expected = json.get("expected").with_context(|| format!("{file}: {place} has no `expected`"))?;
    strict(expected, &format!("`expected` of {place}"), &["verdict", "matching_rule_ids"])?;
    let client = match call.text("client") {
        None => Client::ClaudeCode,
        Some(name) => Client::parse(name)
            .with_context(|| format!("{file}: {place} names no client: `{}`", clean(name)))?,
    };
    let verdict = expected.text("verdict").map(str::to_owned);
    if let Some(word) = &verdict
        && !["allow", "deny", "require_approval"].contains(&word.as_str())
    {
        bail!("{file}: {place} expects `{}`; possible are allow, deny, require_approval", clean(word));
    }
    let rules = match expected.get("matching_rule_ids") {
        None => None,
        Some(Json::Array(items)) => Some(
            items
                .iter()
                .map(|i| i.as_str().map(str::to_owned))
                .collect::<Option<BTreeSet<String>>>()
                .with_context(|| format!("{file}: {place} has a rule id that is no text"))?,
        ),
        Some(_) => bail!("{file}: `matching_rule_ids` of {place} is no list"),
    };
    if verdict.is_none() && rules.is_none() {
        bail!("{file}: {place} expects nothing: give `verdict`, `matching_rule_ids` or both");
    }
    Ok(Case {
        name,
        file: file.to_owned(),
        tool: call
            .text("tool_name")
            .with_context(|| format!("{file}: {place} has no `tool_name`"))?
            .to_owned(),
        args: call
            .get("tool_input")
            .cloned()
            .with_context(|| format!("{file}: {place} has no `tool_input`"))?,
        cwd: call.text("cwd").map(str::to_owned),
        client,
        agent_type: call.text("agent_type").map(str::to_owned),
        verdict,
        rules,
    })
}

/// Kinds of principals that the grid has a column for.
const PRINCIPALS: [(Client, Option<&str>); 5] = [
    (Client::ClaudeCode, None),
    (Client::ClaudeCode, Some("explore")),
    (Client::Codex, None),
    (Client::Gemini, None),
    (Client::Other, None),
];

/// Every case for every kind of principal, and the rules that decided.
fn grid(book: &Rulebook, cases: &[Case], root: &str) -> anyhow::Result<String> {
    let wide = cases.iter().map(|c| clean(&c.name).chars().count()).max().unwrap_or(0).max(4);
    let heads: Vec<String> = PRINCIPALS
        .iter()
        .map(|(client, kind)| kind.map_or(client.as_str().to_owned(), |k| format!("{}/{k}", client.as_str())))
        .collect();
    let columns: Vec<String> = heads.iter().map(|h| format!("{h:<width$}", width = h.len().max(5))).collect();
    let mut out = format!("{:<wide$}  {}  rules\n", "case", columns.join("  "));
    for case in cases {
        let mut cells = Vec::new();
        let mut rules = BTreeSet::new();
        for ((client, kind), head) in PRINCIPALS.iter().zip(&heads) {
            let trial = Trial::of(book, &case.call(root, *client, *kind)?, None);
            let judged = trial.enforced();
            rules.extend(judged.rules.iter().cloned());
            cells.push(format!("{:<width$}", short(&judged.verdict), width = head.len().max(5)));
        }
        let rules: Vec<String> = rules.into_iter().collect();
        let line = format!("{:<wide$}  {}  {}", clean(&case.name), cells.join("  "), rules.join(" "));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    Ok(out)
}

/// The first line in which two grids differ.
fn difference(wanted: &str, found: &str) -> Option<String> {
    let (mut a, mut b) = (wanted.lines(), found.lines());
    let mut line = 0;
    loop {
        line += 1;
        match (a.next(), b.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => {
                return Some(format!(
                    "line {line} is `{}`, expected `{}`",
                    clean(b.unwrap_or("(nothing)")),
                    clean(a.unwrap_or("(nothing)"))
                ));
            }
        }
    }
}
