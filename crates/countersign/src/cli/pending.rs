//! `countersign pending`: the questions that wait for a person.

use super::{Context, exit, say, show};
use countersign_core::approval::Severity;
use countersign_core::json::Json;

/// List the calls that wait for your answer.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  countersign pending\n  countersign pending --severity high --json")]
pub struct Pending {
    /// Only this severity: low, medium or high.
    #[arg(long, value_parser = ["low", "medium", "high"])]
    severity: Option<String>,
    /// Only this session's task id.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Then go on and show new ones as they come.
    #[arg(long)]
    watch: bool,
}

impl Pending {
    /// Lists.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let severity = self.severity.as_deref().and_then(Severity::parse);
        let mut rows = Vec::new();
        for wired in cx.open_all().await? {
            let root = wired.project.root_text().to_owned();
            for row in wired.gate.pending().await? {
                let wanted = severity.is_none_or(|s| s == row.request.severity)
                    && self.task.as_ref().is_none_or(|t| *t == row.task_id.to_string());
                if wanted {
                    rows.push((root.clone(), show::seen(&wired, row).await?));
                }
            }
        }
        if cx.global.json {
            say(&Json::Array(rows.iter().map(|(root, row)| show::request_json(root, row)).collect())
                .canonical());
        } else if rows.is_empty() {
            say("(no pending approvals)");
        } else {
            let blocks: Vec<String> =
                rows.iter().map(|(root, row)| show::request(cx, root, row, None)).collect();
            say(blocks.join("\n").trim_end());
        }
        if self.watch {
            return super::watch::Watch::approvals(self.task).run(cx).await;
        }
        Ok(exit::OK)
    }
}
