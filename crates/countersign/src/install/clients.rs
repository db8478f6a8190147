//! The clients that `init` knows: where their hooks are registered, for which events, and how an entry looks.
//!
//! Everything that differs between them in a settings file is a value in this table.

use super::settings::Slot;

/// How an entry names what is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `command` and `args`; no shell is between.
    Words,
    /// One line for a shell.
    Line,
}

/// A client.
#[derive(Debug, PartialEq, Eq)]
pub struct Client {
    /// The word on our command line.
    pub name: &'static str,
    /// What people call it.
    pub shown: &'static str,
    /// Its program.
    pub program: &'static str,
    /// Its folder in the user's home.
    pub home: &'static str,
    /// Settings that only this checkout has, where the client has such.
    pub local: Option<&'static str>,
    /// Settings of the project, which a team may commit.
    pub shared: &'static str,
    /// The project's file of MCP servers, where it is not the settings file.
    pub servers: Option<&'static str>,
    /// The user's own file of MCP servers, below the home. It is never changed.
    pub user_servers: &'static str,
    /// The events that are registered.
    pub slots: &'static [Slot],
    /// How an entry looks.
    pub form: Form,
    /// The client's time limits are in thousandths of a second.
    pub in_ms: bool,
    /// Its limit where a hook names none, in its own unit.
    pub default_timeout: i64,
    /// An entry has a name.
    pub named: bool,
    /// An entry can say that a hook which fails blocks.
    pub on_failure: bool,
    /// The version that all of this was tried with.
    pub tried: &'static str,
}

const fn about(event: &'static str, word: &'static str) -> Slot {
    Slot { event, word, about_tools: true }
}

const fn of(event: &'static str, word: &'static str) -> Slot {
    Slot { event, word, about_tools: false }
}

/// Claude Code.
pub static CLAUDE_CODE: Client = Client {
    name: "claude-code",
    shown: "Claude Code",
    program: "claude",
    home: ".claude",
    local: Some(".claude/settings.local.json"),
    shared: ".claude/settings.json",
    servers: Some(".mcp.json"),
    user_servers: ".claude.json",
    slots: &[
        about("PreToolUse", "pre"),
        about("PostToolUse", "post"),
        about("PostToolUseFailure", "post"),
        of("Stop", "stop"),
        of("SessionEnd", "end"),
    ],
    form: Form::Words,
    in_ms: false,
    default_timeout: 600,
    named: false,
    on_failure: true,
    tried: "2.1.329",
};

/// Codex CLI.
pub static CODEX: Client = Client {
    name: "codex",
    shown: "Codex",
    program: "codex",
    home: ".codex",
    local: None,
    shared: ".codex/hooks.json",
    servers: Some(".codex/config.toml"),
    user_servers: ".codex/config.toml",
    slots: &[
        about("PreToolUse", "pre"),
        about("PermissionRequest", "permission"),
        about("PostToolUse", "post"),
        of("Stop", "stop"),
        of("SessionEnd", "end"),
    ],
    form: Form::Line,
    in_ms: false,
    default_timeout: 600,
    named: false,
    on_failure: false,
    tried: "0.169.0",
};

/// Gemini CLI.
pub static GEMINI: Client = Client {
    name: "gemini",
    shown: "Gemini CLI",
    program: "gemini",
    home: ".gemini",
    local: None,
    shared: ".gemini/settings.json",
    servers: None,
    user_servers: ".gemini/settings.json",
    slots: &[
        about("BeforeTool", "pre"),
        about("AfterTool", "post"),
        of("AfterAgent", "stop"),
        of("SessionEnd", "end"),
    ],
    form: Form::Line,
    in_ms: true,
    default_timeout: 60_000,
    named: true,
    on_failure: false,
    tried: "0.61.0",
};

/// Every client, in the order they are dealt with.
pub static ALL: [&Client; 3] = [&CLAUDE_CODE, &CODEX, &GEMINI];

impl Client {
    /// The client of that name.
    pub fn named(name: &str) -> Option<&'static Client> {
        ALL.into_iter().find(|c| c.name == name)
    }

    /// Every settings file of a project in which hooks of ours may stand.
    pub fn files(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.local.into_iter().chain([self.shared])
    }

    /// The project's file that names MCP servers.
    pub fn server_file(&self) -> &'static str {
        self.servers.unwrap_or(self.shared)
    }

    /// The slot of an event.
    pub fn slot(&self, event: &str) -> Option<Slot> {
        self.slots.iter().copied().find(|s| s.event == event)
    }

    /// A time limit in the client's unit.
    pub fn timeout(&self, seconds: i64) -> i64 {
        if self.in_ms { seconds.saturating_mul(1_000) } else { seconds }
    }

    /// What stands in every file that registers us, so that others need not be understood.
    pub fn trace(&self) -> String {
        match self.form {
            Form::Words => self.name.to_owned(),
            Form::Line => format!(" hook {} ", self.name),
        }
    }
}

/// The client whose settings file this is.
pub fn of_file(path: &str) -> Option<&'static Client> {
    ALL.into_iter().find(|c| c.files().any(|f| f == path))
}

/// The client whose file of servers this is.
pub fn of_servers(path: &str) -> Option<&'static Client> {
    ALL.into_iter().find(|c| c.servers == Some(path))
}
