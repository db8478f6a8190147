//! `countersign decide`: decides one call for a program that has no hook of its own.

use super::Context;
use crate::clock::SystemClock;
use crate::person;
use anyhow::Context as _;
use countersign_core::ids::CallId;
use countersign_gate::seams::Clock as _;
use countersign_inbound::decide::{DecideContext, decide};
use std::io::Read as _;

/// Decide one call: JSON on standard input, JSON on standard output.
///
/// Exit code 0: allowed; 2: refused, or any fault; 5: a person is needed.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  echo '{\"tool_name\":\"Bash\",\"tool_input\":{\"command\":\"ls\"}}' | countersign decide --wait 60"
)]
pub struct Decide {
    /// Wait this many seconds for a person.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    wait: u32,
}

/// Most bytes of a message.
const MAX_INPUT_BYTES: u64 = 8 * 1024 * 1024 + 1;

/// Standard input, bounded.
pub fn read_stdin() -> anyhow::Result<Vec<u8>> {
    let mut input = Vec::new();
    std::io::stdin()
        .take(MAX_INPUT_BYTES)
        .read_to_end(&mut input)
        .context("standard input cannot be read")?;
    Ok(input)
}

/// The working folder as text.
pub fn cwd() -> anyhow::Result<String> {
    let cwd = std::env::current_dir().context("the working folder is gone")?;
    cwd.to_str().map(str::to_owned).context("the working folder's path is not UTF-8")
}

impl Decide {
    /// Decides.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let input = read_stdin()?;
        let wired = cx.open().await?;
        let cwd = cwd()?;
        let context = DecideContext {
            gate: &wired.gate,
            call_id: CallId(SystemClock.fresh_id()),
            uid: person::uid(),
            cwd: &cwd,
            wait_s: i64::from(self.wait),
            resolve: &super::hook::resolve,
        };
        let (answer, code) = decide(context, &input).await;
        super::say(&answer.canonical());
        wired.leave().await;
        Ok(code)
    }
}
