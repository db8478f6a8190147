//! `countersign config`: every key, its value and where it came from.

use super::{Context, complain, exit, say};
use crate::config::keys::KEYS;
use countersign_core::cleanse::clean_line;
use countersign_core::json::Json;

/// Show the configuration in force.
#[derive(clap::Subcommand, Debug)]
pub enum Config {
    /// Show every key and its value.
    #[command(after_help = "Example:\n  countersign config show --origin")]
    Show {
        /// Also say where each value came from.
        #[arg(long)]
        origin: bool,
    },
    /// Say what a key does, what it may be, and where its value came from.
    #[command(after_help = "Example:\n  countersign config explain approvals.timeout_s")]
    Explain {
        /// The key; all of them without it.
        key: Option<String>,
    },
}

impl Config {
    /// Shows.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let wired = cx.open().await?;
        let Some(settings) = &wired.settings else {
            for problem in &wired.problems {
                complain(&format!("{problem:?}"));
            }
            return Ok(exit::FAILED);
        };
        let origin = |name: &str| {
            settings.origins.get(name).map_or_else(
                || ("(unset)".to_owned(), "built-in".to_owned()),
                |o| {
                    let place = match (&o.file, o.line) {
                        (Some(file), Some(line)) => format!("{} {file}:{line}", o.layer.as_str()),
                        _ => o.layer.as_str().to_owned(),
                    };
                    (o.value.clone(), place)
                },
            )
        };
        match self {
            Config::Show { origin: show } => {
                if cx.global.json {
                    let rows = KEYS.iter().map(|k| {
                        let (value, place) = origin(k.name);
                        (k.name, Json::object([("value", Json::str(value)), ("origin", Json::str(place))]))
                    });
                    say(&Json::object(rows).canonical());
                    return Ok(exit::OK);
                }
                for key in KEYS {
                    let (value, place) = origin(key.name);
                    let tail = if show { format!("  # {place}") } else { String::new() };
                    say(&format!("{} = {value}{tail}", key.name));
                }
                for entry in settings.allow.iter().filter(|a| a.is_for(&wired.project.id)) {
                    let until = entry.until.as_ref().map(|u| format!(" until {u}")).unwrap_or_default();
                    say(&format!("allow {}:{}{until}", entry.kind, clean_line(&entry.value, 200)));
                }
                for pin in &settings.rules.ground.tiers {
                    say(&format!(
                        "tier {} = {} because {}",
                        clean_line(&pin.pattern, 200),
                        pin.tier.as_str(),
                        clean_line(&pin.because, 200)
                    ));
                }
                for tool in &settings.rules.ground.tools {
                    say(&format!(
                        "tool {} = {} of {}",
                        clean_line(&tool.tool, 200),
                        tool.action.as_str(),
                        clean_line(&tool.field, 200)
                    ));
                }
                Ok(exit::OK)
            }
            Config::Explain { key } => {
                let wanted: Vec<_> =
                    KEYS.iter().filter(|k| key.as_ref().is_none_or(|w| w == k.name)).collect();
                if wanted.is_empty() {
                    complain(&format!(
                        "there is no key `{}`; `countersign config show` lists them",
                        key.unwrap_or_default()
                    ));
                    return Ok(exit::FAILED);
                }
                for key in wanted {
                    let (value, place) = origin(key.name);
                    let default = if key.default.is_empty() { "(unset)" } else { key.default };
                    say(&format!(
                        "{}\n  {}\n  now {value}, from {place}; default {default}; {}",
                        key.name,
                        key.what,
                        key.remedy()
                    ));
                }
                Ok(exit::OK)
            }
        }
    }
}
