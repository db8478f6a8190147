//! `countersign report`: what was decided over a span, and, in watch mode, what enforcing would have done.

use super::log::{self, Span};
use super::{Context, exit, say};
use countersign_core::cleanse::clean_line;
use countersign_core::json::Json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Count what was decided: by rule, tool, server or principal.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  countersign report\n  countersign report --since 2026-11-01T00:00:00Z --by tool --json"
)]
pub struct Report {
    /// Begin, RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End, RFC 3339.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Group by this.
    #[arg(long, default_value = "rule", value_parser = ["rule", "tool", "server", "principal"])]
    by: String,
    /// Write to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Default, Clone)]
struct Row {
    calls: u64,
    allowed: u64,
    refused: u64,
    held: u64,
    would_refuse: u64,
    would_ask: u64,
}

impl Report {
    /// Counts.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let span = Span::of(self.since.as_deref(), self.until.as_deref())?;
        let wired = cx.open().await?;
        let mut total = Row::default();
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        log::each(cx, &wired, span, |json| {
            if json.text("event") == Some("call.judged") {
                let data = json.get("data").cloned().unwrap_or(Json::Null);
                count(&mut total, &data);
                for key in self.keys(&data) {
                    count(rows.entry(key).or_default(), &data);
                }
            }
        })
        .await?;
        let text =
            if cx.global.json { self.json(&total, &rows).canonical() } else { self.text(&total, &rows) };
        match &self.out {
            Some(path) => crate::places::write_new(path, format!("{text}\n").as_bytes())?,
            None => say(&text),
        }
        Ok(exit::OK)
    }

    fn keys(&self, data: &Json) -> Vec<String> {
        let text = |key: &str| data.text(key).unwrap_or("-").to_owned();
        match self.by.as_str() {
            "tool" => vec![text("tool_name")],
            "principal" => vec![text("principal")],
            "server" => {
                let tool = text("tool_name");
                let server =
                    tool.strip_prefix("mcp__").and_then(|t| t.split_once("__")).map(|(s, _)| s.to_owned());
                vec![server.unwrap_or_else(|| text("client"))]
            }
            _ => {
                let listed = data.get("matching_rule_ids").and_then(Json::as_array).unwrap_or_default();
                let ids: Vec<String> = listed.iter().filter_map(Json::as_str).map(str::to_owned).collect();
                if ids.is_empty() { vec!["(no rule)".to_owned()] } else { ids }
            }
        }
    }

    fn json(&self, total: &Row, rows: &BTreeMap<String, Row>) -> Json {
        let row = |r: &Row| {
            let n = |n: u64| Json::Number(n.to_string());
            Json::object([
                ("calls", n(r.calls)),
                ("allowed", n(r.allowed)),
                ("refused", n(r.refused)),
                ("held", n(r.held)),
                ("would_refuse", n(r.would_refuse)),
                ("would_ask", n(r.would_ask)),
            ])
        };
        let by = Json::object(rows.iter().map(|(k, r)| (k.clone(), row(r))));
        Json::object([("by", Json::str(&self.by)), ("total", row(total)), ("rows", by)])
    }

    fn text(&self, total: &Row, rows: &BTreeMap<String, Row>) -> String {
        let mut out = format!(
            "{} calls: {} allowed, {} refused, {} held for a person\n",
            total.calls, total.allowed, total.refused, total.held
        );
        if total.would_refuse + total.would_ask > 0 {
            out.push_str(&format!(
                "watch mode let pass what enforcing would have stopped: {} refused, {} asked\n",
                total.would_refuse, total.would_ask
            ));
        }
        out.push_str(&format!(
            "\n{:<40} {:>7} {:>7} {:>7} {:>5} {:>12} {:>9}\n",
            self.by, "calls", "allowed", "refused", "held", "would refuse", "would ask"
        ));
        for (key, r) in rows {
            let key = clean_line(key, 40);
            out.push_str(&format!(
                "{key:<40} {:>7} {:>7} {:>7} {:>5} {:>12} {:>9}\n",
                r.calls, r.allowed, r.refused, r.held, r.would_refuse, r.would_ask
            ));
        }
        out.trim_end().to_owned()
    }
}

fn count(row: &mut Row, data: &Json) {
    row.calls += 1;
    match data.text("decision") {
        Some("allowed") => row.allowed += 1,
        Some("pending") => row.held += 1,
        _ => row.refused += 1,
    }
    match data.get("would").and_then(|w| w.text("verdict")) {
        Some("deny") => row.would_refuse += 1,
        Some("require_approval") => row.would_ask += 1,
        _ => {}
    }
}
