//! Walking the log: every record of a span, page by page, for the verbs that read it.

use super::{Context, complain};
use crate::wire::Wired;
use anyhow::Context as _;
use countersign_core::json::{Bounds, Json};
use countersign_core::time::Timestamp;

/// Records that are read at once.
const PAGE: u32 = 2_000;

/// A span of time, as `--since` and `--until` give it: the begin is inside, the end is not.
#[derive(Clone, Copy, Default)]
pub struct Span {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Span {
    /// Reads the two flags.
    pub fn of(since: Option<&str>, until: Option<&str>) -> anyhow::Result<Span> {
        let time = |text: Option<&str>, flag: &str| match text {
            None => Ok(None),
            Some(t) => {
                Timestamp::parse(t).map(Some).with_context(|| format!("{flag} `{t}` is no RFC 3339 time"))
            }
        };
        Ok(Span { since: time(since, "--since")?, until: time(until, "--until")? })
    }

    fn holds(&self, record: &Json) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let at = record.text("at").and_then(Timestamp::parse);
        at.is_some_and(|at| self.since.is_none_or(|s| at >= s) && self.until.is_none_or(|u| at < u))
    }
}

/// Hands over every record of a span in order; what cannot be read is left out, since finding that is `audit verify`'s.
pub async fn each(
    cx: &Context,
    wired: &Wired,
    span: Span,
    mut record: impl FnMut(&Json),
) -> anyhow::Result<()> {
    let bounds = Bounds { max_bytes: 32 << 20, max_depth: 96, max_nodes: 200_000 };
    let mut after = 0;
    loop {
        let page = wired.store.records(after, PAGE).await?;
        let Some(last) = page.last().map(|r| r.seq) else { return Ok(()) };
        for row in &page {
            if let Ok(json) = Json::parse(row.body.as_bytes(), bounds)
                && span.holds(&json)
            {
                record(&json);
            }
        }
        if after == 0 && page.len() == PAGE as usize && !cx.global.quiet && !cx.global.json {
            complain("reading the log ...");
        }
        after = last;
    }
}
