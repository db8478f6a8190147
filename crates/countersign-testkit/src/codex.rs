//! The real Codex CLI, driven without a person, a credential or a model.
//!
//! [`Codex`] is the client that `cargo xtask needs` put into the user's cache; its runs and their scratch folders are
//! those of [`crate::client`]. The scripted model is named on the command line and not in a file, so that what a test
//! (or the product) writes into the client's configuration stays as it is.

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
