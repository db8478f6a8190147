//! `countersign mode`: watch or enforce.

use super::{Context, exit, need_person, say, trust};
use crate::rules::PROJECT_PIN;
use anyhow::Context as _;
use countersign_core::cleanse::clean_line;
use countersign_core::event::{Draft, Event, text, word};
use countersign_core::rulebook::settings::Mode;
use countersign_gate::seams::PinKind;
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
        // One read: what is compared with the accepted text is what is changed and pinned below. A file that changes
        // after it stays different from the pin, and is so accepted by nobody.
        let mut layer = wired.project.read()?;
        let accepted = wired.store.pin(PinKind::Project, PROJECT_PIN).await?;
        if accepted.is_none_or(|pin| pin.digest != layer.pin().digest) {
            // Pinning here would accept more than the mode.
            anyhow::bail!(
                "the project's files are not what was accepted; look at them and run `countersign trust accept project` first"
            );
        }
        let path = wired.project.folder().join("config.toml");
        let before = layer.config.as_deref().with_context(|| format!("there is no {}", path.display()))?;
        let after = turned(before, mode).with_context(|| format!("{} was left alone", path.display()))?;
        crate::places::replace(&path, after.as_bytes())?;
        layer.config = Some(after);
        trust::pin(cx, &wired, &by.id(), Some("mode changed"), &layer.pin()).await?;
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

/// The configuration's text with the other mode and nothing else changed.
fn turned(before: &str, mode: Mode) -> anyhow::Result<String> {
    let mut document: DocumentMut = before.parse().context("it is not TOML")?;
    let gate = document.entry("gate").or_insert(toml_edit::table());
    let Some(table) = gate.as_table_like_mut() else { anyhow::bail!("`gate` in it is no table") };
    match table.get_mut("mode") {
        // Replacing the value alone keeps the comments around it.
        Some(item) => *item = value(mode.as_str()),
        None => {
            table.insert("mode", value(mode.as_str()));
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mode_turns() {
        let text = "# top\nversion = 1\n[gate] # why\nmode = \"watch\"\n# end\n";
        assert_eq!(turned(text, Mode::Enforce).unwrap(), text.replace("watch", "enforce"));
        assert!(turned("version = 1\n", Mode::Watch).unwrap().contains("mode = \"watch\""));
        assert!(turned("gate = 1\n", Mode::Watch).is_err() && turned("[", Mode::Watch).is_err());
    }
}
