//! `countersign mode`: watch or enforce.

use super::{Context, exit, need_person, say, trust};
use anyhow::Context as _;
use countersign_core::cleanse::clean_line;
use countersign_core::event::{Draft, Event, text, word};
use countersign_core::rulebook::settings::Mode;
use toml_edit::{DocumentMut, value};

/// Show the mode, or change it: watch records what rules would do, enforce does it.
#[derive(clap::Args, Debug)]
#[command(
    name = "mode",
    after_help = "Example:\n  countersign mode\n  countersign mode enforce --reason 'two quiet days'"
)]
pub struct ModeCommand {
    /// The new mode; without it the present one is shown.
    #[arg(value_parser = ["watch", "enforce"])]
    mode: Option<String>,
    /// Why; recorded.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl ModeCommand {
    /// Shows or changes.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let wired = cx.open().await?;
        let present = wired.settings.as_ref().map_or(Mode::Enforce, |s| s.rules.mode);
        let Some(mode) = self.mode.as_deref().and_then(Mode::parse) else {
            say(present.as_str());
            return Ok(exit::OK);
        };
        let by = match need_person(&wired, "mode").await {
            Ok(by) => by,
            Err(code) => return Ok(code),
        };
        if wired.acceptance != crate::wire::Acceptance::Accepted {
            // Pinning here would accept more than the mode.
            anyhow::bail!(
                "the project's files are not what was accepted; look at them and run `countersign trust accept project` first"
            );
        }
        let path = wired.project.folder().join("config.toml");
        let before =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut document: DocumentMut =
            before.parse().with_context(|| format!("{} is not TOML", path.display()))?;
        let gate = document.entry("gate").or_insert(toml_edit::table());
        match gate.as_table_like_mut() {
            // Replacing the value alone keeps the comments around it.
            Some(table) => match table.get_mut("mode") {
                Some(item) => *item = value(mode.as_str()),
                None => {
                    table.insert("mode", value(mode.as_str()));
                }
            },
            None => anyhow::bail!("`gate` in {} is no table; nothing was changed", path.display()),
        }
        crate::places::replace(&path, document.to_string().as_bytes())?;
        trust::pin(cx, &wired, &by, Some("mode changed")).await?;
        let draft = Draft::new(
            Event::ModeChanged,
            [
                ("old", word(present.as_str())),
                ("new", word(mode.as_str())),
                ("by", word(by.id())),
                ("reason", self.reason.as_deref().map(|r| clean_line(r, 500)).as_ref().and_then(text)),
            ],
        );
        wired.store.note(draft).await?;
        say(match mode {
            Mode::Watch => "watching, not protecting",
            Mode::Enforce => "enforcing",
        });
        Ok(exit::OK)
    }
}
