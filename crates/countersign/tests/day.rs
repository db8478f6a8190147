//! The question load: one ordinary day of coding work by agents (`tests/day`), judged under every profile by the real
//! binary. How often would a person be asked?
//!
//! `cargo test -p countersign --test day -- --nocapture` prints the table and every line that asks, by rule. With
//! `COUNTERSIGN_DAY_WRITE=1` the table in `docs/question-load.md` is written anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a broken test must fail at once, and what it found is printed"
)]

#[path = "setup/ground.rs"]
mod ground;

use countersign_core::json::{Bounds, Json};
use ground::{Ground, both};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Profiles of `init`; how many questions in a hundred calls each may ask at most, and how many calls of the whole day
/// it may refuse at most.
///
/// These hold what is measured, with slack, so that the load cannot grow unseen. Lower them whenever it shrinks: the aim
/// is 2 questions and no refusal for `minimal`, `open-source` and `internal`. `client-engagement` asks before every
/// write and always will.
const BOUNDS: [(&str, usize, usize); 4] =
    [("minimal", 4, 1), ("open-source", 4, 1), ("internal", 4, 1), ("client-engagement", 72, 12)];

/// How much a day is at least.
const CALLS_AT_LEAST: usize = 450;
const LINES_AT_LEAST: usize = 200;

/// Where the day's person lives; a scratch folder takes its place.
const HOME: &str = "/home/mira";

/// One call of the day.
struct Call {
    session: String,
    tool: String,
    input: Json,
    /// A person would want to be asked: member `question` of the data.
    question: bool,
    /// The call as `policy test` takes it.
    json: Json,
}

impl Call {
    fn line(&self) -> Option<&str> {
        ["Bash", "run_shell_command"]
            .contains(&self.tool.as_str())
            .then(|| self.input.text("command").unwrap())
    }

    /// What a person would see of it, in one line.
    fn shown(&self) -> String {
        match (self.line(), self.input.text("file_path")) {
            (Some(line), _) => line.replace('\n', "\u{21b5}"),
            (None, Some(path)) => format!("{} {path}", self.tool),
            (None, None) => {
                let text = self.input.canonical();
                format!("{} {}", self.tool, text.chars().take(120).collect::<String>())
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self.tool.as_str() {
            "Bash" | "run_shell_command" => "shell",
            "Read" | "Grep" | "Glob" | "LS" | "read_file" | "grep_search" | "glob" | "list_directory" => {
                "reads"
            }
            "Edit" | "Write" | "MultiEdit" | "NotebookEdit" | "apply_patch" | "replace" | "write_file" => {
                "edits"
            }
            name if name.starts_with("mcp__") => "MCP",
            _ => "other",
        }
    }
}

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/day")
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), Bounds { max_bytes: 16 << 20, ..Bounds::default() }).unwrap()
}

/// The sessions in the order of the day; each happens in the repository that its file is named after.
fn sessions(home: &str) -> Vec<(String, Vec<Call>)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(files()).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let session = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap().replace(HOME, home);
        let call = |c: &Json| Call {
            session: name.clone(),
            tool: c.text("tool_name").unwrap().to_owned(),
            input: c.get("tool_input").unwrap().clone(),
            question: c.get("question").and_then(Json::as_bool) == Some(true),
            json: Json::object(c.as_object().unwrap().iter().filter(|(k, _)| k != "question").cloned()),
        };
        let calls = json(&text).as_array().unwrap().iter().map(call).collect();
        (name, calls)
    };
    paths.into_iter().map(session).collect()
}

/// What a profile says of the day.
struct Load {
    profile: &'static str,
    calls: usize,
    /// What asks where a person would want it, what asks besides, what is refused, and what passes although a person
    /// would want to be asked: rules, and the calls as shown.
    wanted: Vec<(String, String)>,
    besides: Vec<(String, String)>,
    denied: Vec<(String, String)>,
    missed: Vec<(String, String)>,
}

impl Load {
    /// Questions in a hundred calls, in tenths.
    fn tenths(&self) -> usize {
        (self.asked() * 1000 + self.calls / 2) / self.calls
    }

    fn asked(&self) -> usize {
        self.wanted.len() + self.besides.len()
    }

    fn row(&self) -> String {
        let (tenths, calls, asked) = (self.tenths(), self.calls, self.asked());
        let [wanted, denied, missed] = [&self.wanted, &self.denied, &self.missed].map(Vec::len);
        format!(
            "| `{}` | {calls} | {asked} | {}.{} | {wanted} | {missed} | {denied} |",
            self.profile,
            tenths / 10,
            tenths % 10
        )
    }
}

/// Judges the day as `policy test` does: every call is a case that expects to be let through, and what differs is told.
fn judge(profile: &'static str) -> Load {
    let mut ground = Ground::new();
    let base = ground.home.clone();
    let home = base.to_str().unwrap().to_owned();
    let mut load = Load {
        profile,
        calls: 0,
        wanted: Vec::new(),
        besides: Vec::new(),
        denied: Vec::new(),
        missed: Vec::new(),
    };
    for (name, calls) in sessions(&home) {
        ground.root = base.join(name.split('-').nth(1).unwrap());
        if !ground.root.exists() {
            std::fs::create_dir_all(ground.root.join(".git")).unwrap();
            ground.ok(&["init", "--yes", "--enforce", "--profile", profile]);
        }
        let cases = calls.iter().enumerate().map(|(n, call)| {
            Json::object([
                ("name", Json::str(n.to_string())),
                ("call", call.json.clone()),
                ("expected", Json::object([("verdict", Json::str("allow"))])),
            ])
        });
        let folder = base.join("cases").join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("calls.json"), Json::Array(cases.collect()).canonical()).unwrap();
        let out = ground.run(&["policy", "test", folder.to_str().unwrap(), "--json"]);
        assert!(matches!(out.status.code(), Some(0 | 1)), "{name}: {}", both(&out));
        let found = json(&String::from_utf8(out.stdout).unwrap());
        assert_eq!(found.get("cases").and_then(Json::as_i64), i64::try_from(calls.len()).ok(), "{name}");
        load.calls += calls.len();
        let shown = |call: &Call| format!("[{}] {}", call.session, call.shown().replace(&home, "~"));
        let mut stopped = BTreeSet::new();
        for failure in found.get("failed").and_then(Json::as_array).unwrap() {
            let n: usize = failure.text("name").unwrap().parse().unwrap();
            stopped.insert(n);
            let call = &calls[n];
            let got = failure.get("got").unwrap();
            let rules = got.get("matching_rule_ids").and_then(Json::as_array).unwrap();
            let rules: Vec<&str> = rules.iter().filter_map(Json::as_str).collect();
            let list = match got.text("verdict").unwrap() {
                "require_approval" if call.question => &mut load.wanted,
                "require_approval" => &mut load.besides,
                _ => &mut load.denied,
            };
            list.push((rules.join(" "), shown(call)));
        }
        let missed = calls.iter().enumerate().filter(|(n, call)| call.question && !stopped.contains(n));
        load.missed.extend(missed.map(|(_, call)| ("no rule".to_owned(), shown(call))));
    }
    load
}

/// What was asked or refused, by rule; the rule that asks most comes first.
fn by_rule(found: &[(String, String)]) -> String {
    let mut rules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (rule, shown) in found {
        rules.entry(rule).or_default().push(shown);
    }
    let mut rules: Vec<_> = rules.into_iter().collect();
    rules.sort_by_key(|(rule, lines)| (std::cmp::Reverse(lines.len()), *rule));
    let mut out = String::new();
    for (rule, lines) in rules {
        writeln!(out, "  {rule}: {}", lines.len()).unwrap();
        for line in lines {
            writeln!(out, "    {line}").unwrap();
        }
    }
    out
}

const HEAD: &str = "| profile | calls | asked | asked in 100 | of the asked, rightly | passed, though a question is due | refused |\n|---|---|---|---|---|---|---|\n";

#[test]
fn the_load_of_questions_is_bounded() {
    let loads: Vec<Load> = BOUNDS.iter().map(|(profile, ..)| judge(profile)).collect();
    let table = loads.iter().fold(HEAD.to_owned(), |table, load| table + &load.row() + "\n");
    println!("{table}");
    for load in &loads {
        for (what, list) in [
            ("asked, rightly", &load.wanted),
            ("asked besides", &load.besides),
            ("refused", &load.denied),
            ("passed, though a question is due", &load.missed),
        ] {
            println!("{}: {what}: {}\n{}", load.profile, list.len(), by_rule(list));
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/question-load.md");
    let was = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = was.split_once(HEAD).expect("the page has the table");
    let after = rest.lines().skip_while(|l| l.starts_with('|')).fold(String::new(), |all, l| all + l + "\n");
    let shall = format!("{before}{table}{after}");
    if std::env::var_os("COUNTERSIGN_DAY_WRITE").is_some() {
        std::fs::write(&page, &shall).unwrap();
    }
    for (load, (profile, asks, refusals)) in loads.iter().zip(BOUNDS) {
        let found = load.row();
        assert!(load.tenths() <= asks * 10, "{profile} asks more than {asks} in 100 calls: {found}");
        assert!(load.denied.len() <= refusals, "{profile} refuses more than {refusals} calls: {found}");
    }
}

/// The data is what its README says: enough of it, in the proportions given there.
#[test]
fn the_day_is_what_it_says() {
    let calls: Vec<Call> = sessions(HOME).into_iter().flat_map(|(_, calls)| calls).collect();
    let lines: BTreeSet<&str> = calls.iter().filter_map(Call::line).collect();
    assert!(calls.len() >= CALLS_AT_LEAST, "{} calls", calls.len());
    assert!(lines.len() >= LINES_AT_LEAST, "{} lines", lines.len());
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &calls {
        *kinds.entry(call.kind()).or_default() += 1;
    }
    let readme = std::fs::read_to_string(files().join("README.md")).unwrap();
    for (kind, count) in kinds {
        assert!(
            readme.contains(&format!("| {kind} | {count} |")),
            "README.md should say: | {kind} | {count} |"
        );
    }
}
