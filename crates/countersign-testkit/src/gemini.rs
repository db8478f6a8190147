//! The real Gemini CLI, driven without a person, a credential or a model.
//!
//! [`Gemini`] is the client that `cargo xtask needs` put into the user's cache; its runs and their scratch folders are
//! those of [`crate::client`].
//!
//! # What this version was seen to do
//!
//! Kept true by `tests/gemini.rs`, with `-p` and `--yolo`.
//!
//! ## Hooks
//!
//! - They are in `settings.json`, in `.gemini` of the project or of the home: `{"hooksConfig": {"enabled": true}, "hooks":
//!   {"BeforeTool": [{"matcher": "*", "hooks": [{"name": "x", "type": "command", "command": "…", "timeout": 60000}]}]}}`. The
//!   command is given to a shell. `timeout` is in **milliseconds**.
//! - Events seen: `SessionStart`, `BeforeAgent`, `BeforeTool`, `AfterTool`, `AfterAgent`, `SessionEnd` (`reason` is `exit`),
//!   and `PreCompress` on each turn.
//! - All are told `session_id`, `transcript_path`, `cwd`, `hook_event_name` and `timestamp`. **Nothing tells two calls of the
//!   same tool apart**: there is no id of a call, and none that the hooks before and after share. The environment is the
//!   client's, with `GEMINI_SESSION_ID` and `GEMINI_PROJECT_DIR` (and `CLAUDE_PROJECT_DIR`) added.
//! - The shell is `run_shell_command` with `{"command", "description"}`, a new file `write_file` with
//!   `{"file_path", "content"}`, an MCP tool `mcp_<server>_<tool>` with its arguments and `mcp_context`
//!   (`server_name`, `tool_name`, `command`, `args`).
//! - `AfterTool` adds `tool_response`: `llmContent`, a string or a list of `{"text"}`, in `<untrusted_context>` for the shell
//!   and MCP; `returnDisplay`, a string or an object; `error` for an MCP tool that failed. It fires for a failing command
//!   as well.
//! - Before a call, these block: `{"decision": "deny"}`, and exit codes 2 and 127 (no such program) **with** words on
//!   standard error. The model reads `Tool execution blocked:` and the reason.
//! - **These let the call run**: any other exit code, exit code 2 without a word, death by signal, the timeout, nothing,
//!   nonsense, a misspelt decision, and Claude Code's form of an answer.
//! - **`ask` hangs** a run without a person; `"continue": false` ends it, with exit code 0.
//! - At the timeout the hook's shell is ended, but the client goes on only when its pipes are closed: a child that holds
//!   them holds the client.
//! - `allow` may bring `hookSpecificOutput.tool_input`, of which the model is told.
//! - After a call, `{"decision": "deny", "reason"}` and exit code 2 with words **hide the output**: the model reads an error
//!   of these words. `additionalContext` is added to the output.
//! - An `AfterAgent` hook that denies starts another turn with its reason; the next says `"stop_hook_active": true`.
//!
//! ## Trust
//!
//! - A workspace that is not trusted (`GEMINI_CLI_TRUST_WORKSPACE`, `--skip-trust`, or a person) does not run at all
//!   without a person.
//! - A project's hook that is new or changed **is run**; standard error names it once, and `.gemini/trusted_hooks.json` of the
//!   home keeps `<name>:<command>` for the project.
//!
//! ## As MCP client
//!
//! - `initialize` asks for 2025-06-18 with `roots`. `_meta` of a call has a `progressToken` (a UUID) and nothing that joins
//!   it to a hook. A project's server replaces the user's of the same name.
//! - `mcpServers.<name>.timeout`, in milliseconds, limits a call (documented default: ten minutes). **Progress does not
//!   extend it.** At the limit the server is sent `notifications/cancelled`.
//! - **A text that reads as JSON but is no object makes the result an error** (`1`, say; the client takes it for
//!   `structuredContent`). The call has been made all the same.
//! - Without a person elicitation and sampling are "method not found"; the one root is the project.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::cache;
use crate::client::{self, Finished, RunOptions, Running, Scratch};

/// The version that is installed and driven; `cargo xtask needs` reads the same file.
pub const VERSION: &str = include_str!("../../../xtask/pins/gemini-cli").trim_ascii();

/// The installed client.
#[derive(Debug, Clone)]
pub struct Gemini {
    program: PathBuf,
}

impl Gemini {
    /// Finds the client, or fails the test with what to do about it.
    pub fn find() -> Self {
        Self { program: cache::find("gemini-cli", VERSION, "node_modules/.bin/gemini") }
    }

    /// Runs the client to its end.
    pub fn run(&self, options: &RunOptions) -> Finished {
        self.spawn(options).wait()
    }

    /// Starts the client, for a test that does something while it runs. It prints one JSON value at its end
    /// ([`Finished::json`]); the workspace is trusted unless the options' environment says otherwise.
    pub fn spawn(&self, options: &RunOptions) -> Running {
        let mut command = Command::new(&self.program);
        command
            // Without a model's name it asks a routing model first, several times.
            .args(["-m", "gemini-2.5-flash", "--yolo", "-p", &options.prompt, "--output-format", "json"])
            .env_clear()
            .env("GEMINI_API_KEY", "dummy")
            .env("GOOGLE_GEMINI_BASE_URL", &options.model_url)
            .env("GEMINI_CLI_TRUST_WORKSPACE", "true");
        client::start(command, options)
    }
}

impl Scratch {
    /// Writes the project's `.gemini/settings.json`: `settings` and the way of signing in that needs no person.
    pub fn gemini_settings(&self, settings: &Value) -> PathBuf {
        let mut settings = settings.clone();
        settings["security"]["auth"] = json!({ "selectedType": "gemini-api-key" });
        self.write(".gemini/settings.json", settings.to_string())
    }
}
