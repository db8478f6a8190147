//! `countersign policy replay`: recorded calls judged again, under the rules in force or under a proposal.
//!
//! A record holds cleansed arguments, cut at a length, so what was redacted or cut is judged as it stands there or not
//! at all; both are counted and said. Grants, scopes, limits and halts of that time play no part: rules are compared.

use super::super::log::{self, Span};
use super::super::trial::{Trial, short};
use super::super::{Context, exit, say};
use super::{clean, read_or_say};
use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::facts::tools::Tier;
use countersign_core::ids::{CallId, RawId};
use countersign_core::json::{Bounds, Json};
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::Rulebook;
use countersign_core::time::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) const HELP: &str = "Example:\n  countersign policy replay --since 2026-11-01T00:00:00Z\n  countersign policy replay --rulebook proposal/ --json\n\nWithout --rulebook, what was decided is compared with what the rules in force would decide now; with it, the rules in\nforce are compared with the proposal. Exit code 0, however many differ.";

/// Judge recorded calls again, and list what would be decided otherwise.
#[derive(clap::Args, Debug)]
pub struct Replay {
    /// Begin, RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End, RFC 3339.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The proposal: a project, or a folder like its .countersign.
    #[arg(long, value_name = "DIR")]
    rulebook: Option<PathBuf>,
}

/// How calls of one kind differ.
#[derive(Default)]
struct Group {
    count: u64,
    example: String,
    call_id: String,
}

/// What was counted.
#[derive(Default)]
struct Tally {
    seen: u64,
    judged: u64,
    redacted: u64,
    unreadable: u64,
    not_by_rules: u64,
    pairs: BTreeMap<(&'static str, &'static str), u64>,
    groups: BTreeMap<(&'static str, &'static str, String, String), Group>,
}

impl Replay {
    /// Replays.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let span = Span::of(self.since.as_deref(), self.until.as_deref())?;
        let now = match read_or_say(cx, None)? {
            Ok(read) => read,
            Err(code) => return Ok(code),
        };
        let proposal = match &self.rulebook {
            None => None,
            Some(dir) => match read_or_say(cx, Some(dir))? {
                Ok(read) => Some(read),
                Err(code) => return Ok(code),
            },
        };
        let root = now.project.root_text().to_owned();
        let wired = cx.open().await?;
        let mut tally = Tally::default();
        log::each(cx, &wired, span, |json| {
            if json.text("event") == Some("call.judged") {
                tally.one(json, &now.book, proposal.as_ref().map(|p| &p.book), &root);
            }
        })
        .await?;
        say(&if cx.global.json { tally.json().canonical() } else { tally.text() });
        Ok(exit::OK)
    }
}

/// What was decided by rules at the time; `None` where something else decided.
fn recorded(data: &Json) -> Option<(&'static str, Vec<String>)> {
    let would = data.get("would").filter(|w| w.as_object().is_some());
    let of = would.unwrap_or(data);
    if !matches!(of.text("step")?, "input" | "paths" | "hard" | "soft" | "gate") {
        return None;
    }
    let verdict = match of.text("verdict")? {
        "allow" => "allow",
        "deny" => "deny",
        "require_approval" => "ask",
        _ => return None,
    };
    let ids = of.get("matching_rule_ids").and_then(Json::as_array).unwrap_or_default();
    Some((verdict, ids.iter().filter_map(Json::as_str).map(str::to_owned).collect()))
}

/// The tier that the tool had before an operator's pins, as far as its record tells. A pin that lowered it left its reason
/// there: what the server said is lost then, and the name has to do. One that raised it left none and counts as the
/// tool's own.
fn floor(data: &Json) -> Option<Tier> {
    let said = data.text("tier").and_then(Tier::parse);
    if data.text("tier_because").is_some() { None } else { said }
}

fn call(data: &Json, root: &str) -> Option<ToolCall> {
    let client = data.text("client").and_then(Client::parse)?;
    let agent_type = data.text("principal").and_then(|p| p.split_once('/')).map(|(_, kind)| kind.to_owned());
    let args = Json::parse(data.text("input_preview")?.as_bytes(), Bounds::default()).ok()?;
    ToolCall::new(CallParts {
        call_id: CallId(RawId::new(Timestamp(0), [0; 10])),
        door: Door::Cli,
        principal: Principal::Agent { client, uid: 1000, agent_type },
        session: Session { client, id: "policy-replay".to_owned() },
        agent_id: data.text("agent_id").map(str::to_owned),
        tool_use_id: None,
        tool: data.text("tool_name")?.to_owned(),
        args,
        cwd: Some(data.text("cwd").unwrap_or(root).to_owned()),
        joins: None,
        served: None,
    })
    .ok()
}

impl Tally {
    fn one(&mut self, record: &Json, now: &Rulebook, proposal: Option<&Rulebook>, root: &str) {
        let Some(data) = record.get("data") else { return };
        self.seen += 1;
        let Some(call) = call(data, root) else {
            self.unreadable += 1;
            return;
        };
        let tier = floor(data);
        let trial = Trial::of(proposal.unwrap_or(now), &call, tier);
        let before = match proposal {
            None => recorded(data),
            Some(_) => {
                let trial = Trial::of(now, &call, tier);
                let judged = trial.enforced();
                Some((short(&judged.verdict), judged.rules.clone()))
            }
        };
        let Some((before, old)) = before else {
            self.not_by_rules += 1;
            return;
        };
        self.judged += 1;
        let shown = data.text("input_preview").unwrap_or_default();
        self.redacted += u64::from(shown.contains("[REDACTED"));
        let judged = trial.enforced();
        let after = short(&judged.verdict);
        *self.pairs.entry((before, after)).or_default() += 1;
        if before != after {
            let rules = if after == "allow" { &old } else { &judged.rules };
            let key = (before, after, clean(call.tool()), rules.join(", "));
            let group = self.groups.entry(key).or_default();
            group.count += 1;
            if group.example.is_empty() {
                group.example = clean(shown);
                group.call_id = record.text("call_id").unwrap_or_default().to_owned();
            }
        }
    }

    fn text(&self) -> String {
        let mut out = format!(
            "{} recorded calls, {} judged again. Left out: {} whose arguments were cut or not kept, {} that something else than rules decided.\n",
            self.seen, self.judged, self.unreadable, self.not_by_rules
        );
        if self.redacted > 0 {
            out.push_str(&format!(
                "{} of them have redacted arguments and may be judged otherwise than the call was.\n",
                self.redacted
            ));
        }
        for ((before, after), count) in &self.pairs {
            let same = if before == after { "still" } else { "->" };
            out.push_str(&match before == after {
                true => format!("{count:>7}  {same} {before}\n"),
                false => format!("{count:>7}  {before} {same} {after}\n"),
            });
        }
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
        for ((before, after, tool, rules), group) in groups {
            out.push_str(&format!(
                "\n{before} -> {after}, {} times, {tool}{}\n  for example {} {}\n",
                group.count,
                if rules.is_empty() { String::new() } else { format!(", by {rules}") },
                group.call_id,
                group.example
            ));
        }
        out.trim_end().to_owned()
    }

    fn json(&self) -> Json {
        let int = |n: u64| Json::int(i64::try_from(n).unwrap_or(i64::MAX));
        let pairs = self.pairs.iter().map(|((before, after), count)| {
            Json::object([
                ("before", Json::str(*before)),
                ("after", Json::str(*after)),
                ("calls", int(*count)),
            ])
        });
        let groups = self.groups.iter().map(|((before, after, tool, rules), group)| {
            let rules: Vec<&str> = rules.split(", ").filter(|r| !r.is_empty()).collect();
            Json::object([
                ("before", Json::str(*before)),
                ("after", Json::str(*after)),
                ("tool_name", Json::str(tool)),
                ("matching_rule_ids", Json::strings(rules)),
                ("calls", int(group.count)),
                ("call_id", Json::str(&group.call_id)),
                ("input_preview", Json::str(&group.example)),
            ])
        });
        Json::object([
            ("recorded", int(self.seen)),
            ("judged", int(self.judged)),
            ("redacted", int(self.redacted)),
            ("cut_or_not_kept", int(self.unreadable)),
            ("not_by_rules", int(self.not_by_rules)),
            ("verdicts", Json::Array(pairs.collect())),
            ("differences", Json::Array(groups.collect())),
        ])
    }
}
