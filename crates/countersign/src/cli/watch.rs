//! `countersign watch`: what happens, as it happens; a held call is shown with its reason and how to answer.

use super::{Context, exit, say, show};
use countersign_core::cleanse::clean_text;
use countersign_core::event::Event;
use countersign_core::ids::ApprovalId;
use countersign_core::json::{Bounds, Json};
use countersign_gate::seams::StoredRecord;
use std::time::Duration;

/// Follow what happens, and see at once what waits for you.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  countersign watch\n  countersign watch --events approval_requested,call.judged --after 120 --json"
)]
pub struct Watch {
    /// Only this session's task id.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Only these events, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    events: Vec<String>,
    /// Begin behind this record instead of now; one project only.
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// End after this many seconds; for scripts.
    #[arg(long, value_name = "SECONDS", hide = true)]
    limit_s: Option<u64>,
    /// What waits was shown already.
    #[arg(skip)]
    listed: bool,
}

impl Watch {
    /// Follows questions and their answers only, behind a list that was just shown.
    pub fn approvals(task: Option<String>) -> Watch {
        let events = [Event::ApprovalRequested, Event::ApprovalDecisionRecorded, Event::ApprovalTimedOut];
        let events = events.iter().map(|e| e.as_str().to_owned()).collect();
        Watch { task, events, after: None, limit_s: None, listed: true }
    }

    /// Follows until interrupted.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        for name in &self.events {
            if Event::parse(name).is_none() {
                let known: Vec<&str> = Event::ALL.iter().map(|e| e.as_str()).collect();
                anyhow::bail!("`{name}` is no event; known are {}", known.join(", "));
            }
        }
        let projects = cx.open_all().await?;
        if projects.is_empty() {
            anyhow::bail!("there is no project on this machine yet; set one up with `countersign init`");
        }
        let mut places = Vec::new();
        for wired in &projects {
            places.push(match self.after {
                Some(seq) => seq,
                None => wired.store.head().await?.0,
            });
            if !cx.global.json && !self.listed {
                for row in wired.gate.pending().await? {
                    let row = show::seen(wired, row).await?;
                    say(&show::request(cx, wired.project.root_text(), &row, None));
                }
            }
        }
        if !cx.global.json && !cx.global.quiet {
            say(&format!("Watching {} project(s). Ctrl-C ends it.", projects.len()));
        }
        let until = self.limit_s.map(|s| std::time::Instant::now() + Duration::from_secs(s));
        loop {
            let mut moved = false;
            for (wired, place) in projects.iter().zip(places.iter_mut()) {
                for record in wired.store.records(*place, 500).await? {
                    *place = record.seq;
                    moved = true;
                    self.tell(cx, wired, &record).await?;
                }
            }
            if until.is_some_and(|u| std::time::Instant::now() >= u) {
                return Ok(exit::OK);
            }
            if !moved {
                match projects.as_slice() {
                    [one] => one.store.changed(Duration::from_secs(1)).await,
                    _ => tokio::time::sleep(Duration::from_millis(250)).await,
                }
            }
        }
    }

    async fn tell(
        &self,
        cx: &Context,
        wired: &crate::wire::Wired,
        record: &StoredRecord,
    ) -> anyhow::Result<()> {
        let bounds = Bounds { max_bytes: 32 << 20, max_depth: 96, max_nodes: 200_000 };
        let Ok(json) = Json::parse(record.body.as_bytes(), bounds) else {
            say(&format!("record {} cannot be read; run: countersign audit verify", record.seq));
            return Ok(());
        };
        let event = json.text("event").unwrap_or_default();
        let wanted = (self.events.is_empty() || self.events.iter().any(|e| e == event))
            && self.task.as_deref().is_none_or(|t| json.text("task_id") == Some(t));
        if !wanted {
            return Ok(());
        }
        if cx.global.json {
            say(&json.canonical());
            return Ok(());
        }
        if event == Event::ApprovalRequested.as_str()
            && let Some(id) = json.text("approval_id").and_then(ApprovalId::parse)
            && let Some(row) = wired.gate.approval(id).await?
        {
            let row = show::seen(wired, row).await?;
            say(&format!("\n{}", show::request(cx, wired.project.root_text(), &row, None)));
            return Ok(());
        }
        say(&super::audit::line(&json));
        Ok(())
    }
}

/// Text of a record's member, cleansed.
pub fn member(json: &Json, key: &str) -> String {
    json.text(key).map(|t| clean_text(t).to_string()).unwrap_or_default()
}
