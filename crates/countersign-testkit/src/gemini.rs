//! The real Gemini CLI, driven without a person, a credential or a model.
//!
//! [`Gemini`] is the client that `cargo xtask needs` put into the user's cache; its runs and their scratch folders are
//! those of [`crate::client`].

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
