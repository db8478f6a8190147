//! Hooks: a client asks before it runs a tool and tells afterwards.
//!
//! One file a client. Each turns the client's event into a call and a decision into the client's answer; what every
//! client fails open on (a crash, an odd exit code, its own time limit) is met here with a blocking answer of ours.
//! What they share is in `common`.

pub mod claude_code;
pub mod codex;
mod common;
pub mod gemini;

use countersign_core::ids::CallId;
use countersign_core::ledger::AgentProcess;
use countersign_gate::gate::{Gate, Patience};

/// What a hook knows beside the client's message.
pub struct HookContext<'a> {
    /// The gate of the project.
    pub gate: &'a Gate,
    /// Id for the call.
    pub call_id: CallId,
    /// Root of the project, for complete commands in answers.
    pub project: &'a str,
    /// Numeric OS user.
    pub uid: u32,
    /// How long the client waits for us.
    pub patience: Patience,
    /// The process the session's agent runs in.
    pub agent: Option<AgentProcess>,
    /// Follows links of a folder; `None` where it does not exist.
    pub resolve: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

/// What the hook process says and how it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookAnswer {
    /// One JSON object, or nothing.
    pub stdout: Option<String>,
    /// A reason for people and models, only beside exit code 2.
    pub stderr: Option<String>,
    /// Exit code.
    pub exit: u8,
}

impl HookAnswer {
    /// No objection: the client's own permissions stay in force.
    pub fn silent() -> HookAnswer {
        HookAnswer::default()
    }

    /// A fault: the one blocking signal that every client shares.
    pub fn fault(reason: impl Into<String>) -> HookAnswer {
        HookAnswer { stdout: None, stderr: Some(reason.into()), exit: 2 }
    }

    fn json(value: countersign_core::json::Json) -> HookAnswer {
        HookAnswer { stdout: Some(value.canonical()), stderr: None, exit: 0 }
    }
}
