//! `countersign audit`: the log, shown and verified.

use super::watch::member;
use super::{Context, complain, exit, say};
use anyhow::Context as _;
use countersign_core::digest::Digest;
use countersign_core::json::{Bounds, Json};
use countersign_core::record::{Checkpoint, Fault, FaultKind, Sealed, Verified, Verifier};
use std::path::PathBuf;
use std::time::Duration;

/// Look at the log, and check that nobody changed it.
#[derive(clap::Subcommand, Debug)]
pub enum Audit {
    /// Show the last records.
    #[command(
        after_help = "Example:\n  countersign audit tail -n 20\n  countersign audit tail --follow --json"
    )]
    Tail {
        /// How many.
        #[arg(short = 'n', default_value_t = 10, value_name = "N")]
        count: u32,
        /// Go on as records come.
        #[arg(long)]
        follow: bool,
    },
    /// Check every record, every link, the head and the checkpoints you kept.
    ///
    /// Finds and locates every changed, removed, inserted or swapped record. Records cut off at the end are found
    /// against the log's head or a checkpoint kept elsewhere; who rewrites records and head together is found by
    /// such a checkpoint only.
    #[command(
        after_help = "Example:\n  countersign audit verify\n  countersign audit verify --json > kept.json      # keep the head as a checkpoint\n  countersign audit verify --checkpoints kept.json"
    )]
    Verify {
        /// Checkpoints kept elsewhere: lines of JSON with `seq` and `hash`.
        #[arg(long, value_name = "FILE")]
        checkpoints: Option<PathBuf>,
    },
}

/// Records read at a time.
const PAGE: u32 = 2_000;

impl Audit {
    /// Shows or checks.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        match self {
            Audit::Tail { count, follow } => tail(cx, count, follow).await,
            Audit::Verify { checkpoints } => verify(cx, checkpoints).await,
        }
    }
}

async fn tail(cx: &Context, count: u32, follow: bool) -> anyhow::Result<u8> {
    let wired = cx.open().await?;
    let (head, _) = wired.store.head().await?;
    let mut after = head.saturating_sub(u64::from(count));
    loop {
        let page = wired.store.records(after, PAGE).await?;
        let more = !page.is_empty();
        for row in page {
            after = row.seq;
            match Sealed::read(row.seq, &row.body, &row.hash) {
                Ok(record) if cx.global.json => {
                    let mut json = record.json().clone();
                    json.set("hash", Json::str(record.hash().to_string()));
                    say(&json.canonical());
                }
                Ok(record) => say(&line(record.json())),
                Err(fault) => complain(&format!("{fault}; run: countersign audit verify")),
            }
        }
        match (more, follow) {
            (true, _) => {}
            (false, true) => wired.store.changed(Duration::from_secs(1)).await,
            (false, false) => return Ok(exit::OK),
        }
    }
}

/// One record as a line for people.
pub fn line(json: &Json) -> String {
    let data = json.get("data").cloned().unwrap_or(Json::Null);
    let seq = json.get("seq").and_then(Json::as_i64).unwrap_or_default();
    let mut out = format!("{seq:>6} {} {}", member(json, "at"), member(json, "event"));
    let mut add = |key: &str, label: &str| {
        let text = member(&data, key);
        if !text.is_empty() {
            out.push_str(&format!(" {label}{text}"));
        }
    };
    add("tool_name", "");
    add("decision", "");
    add("status", "");
    add("outcome", "");
    add("code", "code=");
    add("scope", "scope=");
    if let Some(rules) = data.get("matching_rule_ids").and_then(Json::as_array) {
        let rules: Vec<&str> = rules.iter().filter_map(Json::as_str).collect();
        if !rules.is_empty() {
            out.push_str(&format!(" rules={}", rules.join(",")));
        }
    }
    let tainted_by = member(&data, "tainted_by");
    if !tainted_by.is_empty() {
        out.push_str(&format!(" tainted_by={tainted_by}"));
    }
    if let Some(would) = data.get("would") {
        out.push_str(&format!(" would={}", member(would, "verdict")));
    }
    for key in ["input_preview", "reason", "text"] {
        let text = member(&data, key).replace('\n', " ");
        if !text.is_empty() {
            let short: String = text.chars().take(120).collect();
            out.push_str(&format!("  {short}"));
            break;
        }
    }
    out
}

/// Walks the whole log of a store.
pub async fn walk(
    store: &dyn countersign_gate::seams::Store,
    checkpoints: Vec<Checkpoint>,
) -> anyhow::Result<Verified> {
    let mut verifier = Verifier::new(checkpoints);
    // The head is read first: records that come meanwhile lie behind it and are left for the next time.
    let (head, hash) = store.head().await?;
    let mut after = 0;
    while after < head {
        let page = store.records(after, PAGE).await?;
        let Some(last) = page.last().map(|r| r.seq) else { break };
        for row in page.iter().filter(|r| r.seq <= head) {
            verifier.row(row.seq, &row.body, &row.hash);
        }
        after = last;
    }
    Ok(verifier.finish(Some((head, hash))))
}

async fn verify(cx: &Context, checkpoints: Option<PathBuf>) -> anyhow::Result<u8> {
    let held = match checkpoints {
        None => Vec::new(),
        Some(path) => {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
            match text.and_then(|t| read_checkpoints(&t)) {
                Ok(held) => held,
                Err(e) => {
                    complain(&format!("{e:#}"));
                    return Ok(exit::USAGE);
                }
            }
        }
    };
    let wired = match cx.open().await {
        Ok(wired) => wired,
        Err(e) => {
            complain(&format!("nothing could be verified: {e:#}"));
            return Ok(exit::USAGE);
        }
    };
    let seen = walk(&*wired.store, held).await?;
    if cx.global.json {
        let faults = seen.faults.iter().map(fault_json).collect();
        let json = Json::object([
            ("ok", Json::Bool(seen.faults.is_empty())),
            ("records", Json::Number(seen.records.to_string())),
            ("seq", Json::Number(seen.head.seq.to_string())),
            ("hash", Json::str(seen.head.hash.to_string())),
            ("at", Json::str(seen.head.at.to_string())),
            ("faults", Json::Array(faults)),
        ]);
        say(&json.canonical());
    } else if seen.faults.is_empty() {
        say(&format!("{} records, one chain, nothing wrong.", seen.records));
        say(&format!("head: {} {}", seen.head.seq, seen.head.hash));
    } else {
        for fault in &seen.faults {
            say(&format!("BAD {fault}"));
        }
        say(&format!("{} records read, {} fault(s).", seen.records, seen.faults.len()));
    }
    Ok(if seen.faults.is_empty() { exit::OK } else { exit::FAILED })
}

fn fault_json(fault: &Fault) -> Json {
    let kind = match &fault.what {
        FaultKind::Unreadable(_) => "unreadable",
        FaultKind::NotCanonical => "not_canonical",
        FaultKind::Hash { .. } => "hash",
        FaultKind::Shape(_) => "shape",
        FaultKind::Number { .. } => "number",
        FaultKind::Missing { .. } => "missing",
        FaultKind::Link { .. } => "link",
        FaultKind::Truncated { .. } => "truncated",
        FaultKind::HeadHash { .. } => "head_hash",
        FaultKind::Checkpoint { .. } => "checkpoint",
        FaultKind::CheckpointBeyond { .. } => "checkpoint_beyond",
    };
    Json::object([
        ("seq", Json::Number(fault.seq.to_string())),
        ("kind", Json::str(kind)),
        ("text", Json::str(fault.to_string())),
    ])
}

fn read_checkpoints(text: &str) -> anyhow::Result<Vec<Checkpoint>> {
    let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    lines
        .map(|(i, line)| {
            let json = Json::parse(line.as_bytes(), Bounds::default())
                .map_err(|e| anyhow::anyhow!("line {}: {e}", i + 1))?;
            let seq = json.get("seq").and_then(Json::as_i64).and_then(|n| u64::try_from(n).ok());
            let hash = json.text("hash").and_then(Digest::parse);
            match (seq, hash) {
                (Some(seq), Some(hash)) => Ok(Checkpoint { seq, hash }),
                _ => anyhow::bail!(
                    "line {}: a checkpoint needs `seq` (a number) and `hash` (64 hex digits)",
                    i + 1
                ),
            }
        })
        .collect()
}
