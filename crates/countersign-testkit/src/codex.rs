//! The real Codex CLI, driven without a person, a credential or a model.
//!
//! [`Codex`] is the client that `cargo xtask needs` put into the user's cache; its runs and their scratch folders are
//! those of [`crate::client`]. The scripted model is named on the command line and not in a file, so that what a test
//! (or the product) writes into the client's configuration stays as it is.
//!
//! # What this version was seen to do
//!
//! Kept true by `tests/codex.rs`, with `codex exec`.
//!
//! ## Hooks
//!
//! - They are in `hooks.json` in `CODEX_HOME` or in the project's `.codex` (documented, not tried: in `config.toml` too):
//!   `{"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [{"type": "command", "command": "…", "timeout": 600}]}]}}`.
//!   A missing matcher matches all. The command is given to a shell. `timeout` is in seconds, 600 if missing.
//! - Events seen: `SessionStart`, `UserPromptSubmit`, `PreToolUse`, `PermissionRequest`, `PostToolUse`, `SubagentStart`,
//!   `SubagentStop`, `Stop`, `SessionEnd`. There is no `PostToolUseFailure`: a command that fails fires `PostToolUse`.
//! - All are told `session_id`, `transcript_path`, `cwd`, `hook_event_name`, and all but `SessionEnd` (which adds `reason`,
//!   `other` here) `model` and `permission_mode`; those within a turn `turn_id`; those of a sub-agent `agent_id` and
//!   `agent_type` beside the main `session_id`. Hooks inherit the client's whole environment, keys included.
//! - **`cwd` is the folder that the model chose for this one command** (`workdir`, which `tool_input` does not show); a
//!   `cd` does not last.
//! - Tool calls are told with `tool_name`, `tool_input` and `tool_use_id` (the model's `call_id`). The shell is `Bash` with
//!   `{"command"}`, a patch `apply_patch` with `{"command": "*** Begin Patch…"}` (only for models that have the tool; in
//!   the shell it is a command like any other), an MCP tool `mcp__<server>__<tool>` with its arguments, written anew.
//! - `PostToolUse` adds `tool_response`: a string of both outputs for the shell (no exit code), a string for a patch, the
//!   result object for an MCP tool. **A command that still runs when the model gets its first output fires none.**
//! - Before a call, these block: `permissionDecision: "deny"` with a reason, `{"decision": "block", "reason"}`, and exit
//!   code 2 **with** words on standard error. The model reads the reason and the command.
//! - **Everything else lets the call run**: any other exit code, exit code 2 without a word, death by signal, a program
//!   that is not there, the timeout, nothing, nonsense, a misspelt decision, `"continue": false`, and `"ask"`. Nothing
//!   like Claude Code's `onFailure` exists.
//! - `allow` may bring `updatedInput`. It approves nothing beyond the hook: see MCP.
//! - After a call, `{"decision": "block", "reason"}`, exit code 2 with words, and `"continue": false` with a `stopReason`
//!   **replace the output** by those words. `updatedToolOutput` and `updatedMCPToolOutput` do nothing.
//! - A `Stop` hook that blocks (or exits 2 with words) starts another turn with these words in `<hook_prompt …>`; the
//!   next `Stop` says `"stop_hook_active": true`.
//!
//! ## Trust
//!
//! - A hook that nobody has trusted is **not run and not mentioned**. Trust is a record in the user's `config.toml`:
//!   `[hooks.state."<file>:<event>:<group>:<place>"]` with `trusted_hash = "sha256:…"`, the event in snake case (`pre_tool_use`),
//!   the numbers from 0. Whoever can write that file can trust.
//! - The hash is SHA-256 of the hook as JSON without blanks, members sorted:
//!   `{"event_name", "hooks": [{"async": false, "command", "timeout", "type": "command"}], "matcher"}`; the matcher only if
//!   there is one, a `statusMessage` as well, the timeout also if the file says none. Another word is another hook.
//! - [`BYPASS_HOOK_TRUST`] runs what nobody trusted; `codex app-server` tells the state ([`Codex::hooks`]).
//! - A project's own hooks, and its own `config.toml`, count only if the project is trusted too
//!   (`[projects."<path>"] trust_level = "trusted"`, which `--trust` writes), bypass or not. Standard error says so.
//!
//! ## As MCP client
//!
//! - `initialize` asks for 2025-06-18 with `elicitation` (`form`, `url`). A trusted project's server replaces the user's of
//!   the same name.
//! - To a model that it does not know the client offers MCP tools directly, in a namespace; to one that it knows, behind
//!   `tool_search`.
//! - An MCP tool needs an approval, which `exec` never asks for: `default_tools_approval_mode = "approve"` for the server,
//!   `approval_mode` for a tool, or a `PermissionRequest` hook. Without one it is refused after `PreToolUse` allowed it.
//! - `_meta` of a call has `callId` (the hook's `tool_use_id`), `sessionId` and `threadId`, `itemId`, `x-codex-turn-metadata`,
//!   and a number as `progressToken`; `tools/list` has a `progressToken` too.
//! - `tool_timeout_sec` limits a call. **Progress does not extend it.** At the limit the server is sent
//!   `notifications/cancelled`. Without the setting a call of 200 seconds came back whole (tried once).
//! - Without a person `elicitation/create` is declined, sampling is "method not found", and there are no roots.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cache;
use crate::client::{self, Finished, RunOptions, Running, Scratch};
use crate::mcp::McpClient;

/// The version that is installed and driven; `cargo xtask needs` reads the same file.
pub const VERSION: &str = include_str!("../../../xtask/pins/codex").trim_ascii();

/// The argument that makes the client run hooks which nobody has reviewed. A test that wants it says so.
pub const BYPASS_HOOK_TRUST: &str = "--dangerously-bypass-hook-trust";

/// The installed client.
#[derive(Debug, Clone)]
pub struct Codex {
    program: PathBuf,
}

impl Codex {
    /// Finds the client, or fails the test with what to do about it.
    pub fn find() -> Self {
        Self { program: cache::find("codex", VERSION, "node_modules/.bin/codex") }
    }

    /// Where the client lies, for a test that starts it in another way.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs the client to its end.
    pub fn run(&self, options: &RunOptions) -> Finished {
        self.spawn(options).wait()
    }

    /// Starts the client, for a test that does something while it runs. A further `-m` among the arguments chooses a
    /// model that the client knows, with that model's tools.
    pub fn spawn(&self, options: &RunOptions) -> Running {
        let home = options.home.join(".codex");
        std::fs::create_dir_all(&home).expect("the client's own folder");
        let provider = format!(
            "model_providers.scripted={{ name = \"scripted\", base_url = \"{}/v1\", wire_api = \"responses\", \
             env_key = \"SCRIPTED_KEY\" }}",
            options.model_url
        );
        let mut command = Command::new(&self.program);
        command
            .args(["exec", "--json", "-c", "model_provider=\"scripted\"", "-c", &provider])
            // A model that the client does not know gets the plain set of tools, MCP servers' among them.
            .args(["-c", "model=\"scripted\"", &options.prompt])
            .env_clear()
            .env("CODEX_HOME", home)
            .env("SCRIPTED_KEY", "dummy");
        client::start(command, options)
    }

    /// What the client itself says of the hooks it finds in a project: for each its `key`, `currentHash`, `enabled`
    /// and `trustStatus` (`untrusted`, `trusted`, `modified`), and what was read.
    pub fn hooks(&self, scratch: &Scratch) -> Vec<Value> {
        let (home, own) = (scratch.home().display().to_string(), scratch.codex_home().display().to_string());
        let env = [("HOME", home.as_str()), ("CODEX_HOME", own.as_str())];
        let mut server = McpClient::spawn(&self.program, ["app-server"], &env, &scratch.project());
        let client = json!({ "name": "testkit", "title": "testkit", "version": "1" });
        server.request(json!({ "method": "initialize", "params": { "clientInfo": client } }));
        server.notify("initialized", json!({}));
        let line =
            server.request(json!({ "method": "hooks/list", "params": { "cwds": [scratch.project()] } }));
        let answer: Value = serde_json::from_slice(&line).expect("an answer in JSON");
        answer["result"]["data"][0]["hooks"]
            .as_array()
            .unwrap_or_else(|| panic!("no hooks: {answer}"))
            .clone()
    }
}

impl Scratch {
    /// The client's own folder below the home, `CODEX_HOME` of every run.
    pub fn codex_home(&self) -> PathBuf {
        self.home().join(".codex")
    }

    /// Writes the user's `hooks.json`.
    pub fn codex_hooks(&self, hooks: &Value) -> PathBuf {
        self.codex_file("hooks.json", &hooks.to_string())
    }

    /// Writes the user's `config.toml`.
    pub fn codex_config(&self, toml: &str) -> PathBuf {
        self.codex_file("config.toml", toml)
    }

    fn codex_file(&self, name: &str, text: &str) -> PathBuf {
        std::fs::create_dir_all(self.codex_home()).expect("the client's own folder");
        let file = self.codex_home().join(name);
        std::fs::write(&file, text).expect("writing the file");
        file
    }
}
