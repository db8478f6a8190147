//! A shell in one scratch folder: the hand of `countersign demo`, so that a newcomer sees a permit spent on something
//! real. It has an empty environment but for `PATH` and its folder as home, and ends with the call.

use async_trait::async_trait;
use countersign_core::call::ToolCall;
use countersign_core::cleanse::{Raw, Reply};
use countersign_gate::permit::Permit;
use countersign_gate::seams::{Clock, Downstream, PerformError};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

/// Longest result, in bytes.
const MAX_RESULT_BYTES: usize = 512 * 1024;

/// Runs `Bash` calls in its folder.
pub struct ScratchShell {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
}

impl ScratchShell {
    /// A hand that works in `folder` only as far as the lines it is given do.
    pub fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> ScratchShell {
        ScratchShell { folder, clock }
    }
}

#[async_trait]
impl Downstream for ScratchShell {
    async fn perform(&self, permit: Permit, call: &ToolCall) -> Result<Raw<Reply>, PerformError> {
        permit.spend(call, self.clock.elapsed()).map_err(PerformError::Permit)?;
        let line =
            call.args().text("command").ok_or_else(|| PerformError::Failed("no `command`".to_owned()))?;
        let done = tokio::process::Command::new("sh")
            .args(["-c", line])
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|e| PerformError::Failed(format!("the shell did not start: {e}")))?;
        let mut bytes = done.stdout;
        bytes.extend_from_slice(&done.stderr);
        bytes.truncate(MAX_RESULT_BYTES);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if done.status.success() {
            Ok(Raw::new(Reply::Text(text)))
        } else {
            Err(PerformError::Failed(format!("{text}{}", done.status)))
        }
    }
}
