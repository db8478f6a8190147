//! The real Claude Code, driven without a person, a credential or a model.
//!
//! [`ClaudeCode`] is the client that `cargo xtask needs` put into the user's cache; its runs and their
//! scratch folders are those of [`crate::client`].
//!
//! # What this version was seen to do
//!
//! Kept true by `tests/claude_code.rs`, with hooks in `.claude/settings.local.json` and the client run with `-p`, as
//! root too (which only `--dangerously-skip-permissions` minds; `permissions.allow` serves instead).
//!
//! - The exec form of a hook works: with `"args"` (an empty list will do) `command` is started without a shell and
//!   each argument arrives as written, blanks, `$` and `;` included.
//! - `timeout` is in seconds. A hook that outlives it gets SIGTERM.
//! - `"onFailure": "block"` makes these block: any exit code, death by signal, a program that is not there, the
//!   timeout, and JSON of the wrong shape. Without it all of them let the call run, but for exit code 2, whose error
//!   text reaches the model.
//! - **Exit code 0 with nothing on standard output, or with something that is no JSON, lets the call run, `onFailure`
//!   or not.** A truncated answer is a yes.
//! - Each hook has a process group of its own. When the client is killed the hook goes on, and no one reads its answer.
//! - Two tools in one answer are performed side by side; their results come back in the order in which they ended.
//! - A sub-agent (tool `Agent`) runs beside the main conversation, whose tool result says only that it was launched; its
//!   end arrives later as a message that starts one more model turn, also under `-p`.
//! - The conversation holds messages of the role `system` between those of user and assistant.
//! - As MCP client: `MCP_TOOL_TIMEOUT` in the environment or a server's `timeout`, both in milliseconds, limit a call;
//!   **progress does not extend it**, and at the limit the server is sent `notifications/cancelled`. `_meta` of a call has
//!   `claudecode/toolUseId` (the hook's `tool_use_id`) and a number as `progressToken`. Without a person
//!   `elicitation/create` is cancelled, sampling is "method not found", and the one root is the project.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::cache;
use crate::client::{self, Finished, RunOptions, Running, Scratch};

/// The version that is installed and driven; `cargo xtask needs` reads the same file.
pub const VERSION: &str = include_str!("../../../xtask/pins/claude-code").trim_ascii();

/// The installed client.
#[derive(Debug, Clone)]
pub struct ClaudeCode {
    program: PathBuf,
}

impl ClaudeCode {
    /// Finds the client, or fails the test with what to do about it.
    pub fn find() -> Self {
        Self { program: cache::find("claude-code", VERSION, "node_modules/.bin/claude") }
    }

    /// Runs the client to its end.
    pub fn run(&self, options: &RunOptions) -> Finished {
        self.spawn(options).wait()
    }

    /// Starts the client, for a test that does something while it runs.
    pub fn spawn(&self, options: &RunOptions) -> Running {
        let mut command = Command::new(&self.program);
        command
            .args(["-p", &options.prompt, "--output-format", "stream-json", "--verbose"])
            .env_clear()
            .env("ANTHROPIC_BASE_URL", &options.model_url)
            .env("ANTHROPIC_API_KEY", "dummy")
            .env("DISABLE_TELEMETRY", "1")
            .env("DISABLE_ERROR_REPORTING", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        client::start(command, options)
    }
}

impl Scratch {
    /// Writes `.claude/settings.local.json`, where a person's own settings for this project live.
    pub fn settings(&self, settings: &Value) -> PathBuf {
        self.write(".claude/settings.local.json", settings.to_string())
    }
}
