//! `countersign hook`: what an agent's client runs before and after each tool call.
//!
//! A process of a few milliseconds. Every end is an agreed one: a panic, a fault or a lost client ends in the client's
//! blocking answer, never in an exit code that means "go on" to it. It reads no environment variable of ours.

use super::{Context, exit};
use crate::clock::SystemClock;
use crate::wire::{self, Wired};
use crate::{person, project::Project};
use countersign_core::code::Code;
use countersign_core::ids::CallId;
use countersign_gate::gate::Patience;
use countersign_gate::seams::Clock as _;
use countersign_inbound::hooks::{HookAnswer, HookContext, claude_code, codex, gemini};
use std::io::{Read as _, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

/// Decide a tool call for an agent's client (run by the client, not by people).
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example, as `init` writes it:\n  countersign hook claude-code pre --project /home/ana/shop --project-id 0123456789abcdef0123456789abcdef < event.json"
)]
pub struct Hook {
    /// The client: claude-code, codex or gemini.
    #[arg(value_parser = ["claude-code", "codex", "gemini"])]
    client: String,
    /// The event: pre, post, stop or end; for codex also permission.
    #[arg(value_parser = ["pre", "permission", "post", "stop", "end"])]
    event: String,
    /// What names the project's state, as `init` found it.
    #[arg(long, value_name = "ID")]
    project_id: Option<String>,
}

/// Largest message of a client that is read, in bytes.
const MAX_INPUT_BYTES: u64 = 64 * 1024 * 1024;

impl Hook {
    /// Whether an exit code may block: where the client waits for leave, and where it hides a result by one. Claude Code
    /// takes a blocking exit code of any other event for a new turn.
    pub fn is_blocking(&self) -> bool {
        match self.event.as_str() {
            "pre" => true,
            "post" | "permission" => self.client != "claude-code",
            _ => false,
        }
    }

    /// Answers one event.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let pre = self.event == "pre";
        CLIENT.get_or_init(rustix::process::getppid);
        let (answer, wired) = tokio::select! {
            answer = self.answer(cx) => answer,
            () = orphaned(), if pre => (HookAnswer::fault("countersign: the client went away"), None),
        };
        let code = give(&answer, self.is_blocking());
        if let Some(wired) = wired {
            wired.leave().await;
        }
        Ok(code)
    }

    async fn answer(&self, cx: &Context) -> (HookAnswer, Option<Wired>) {
        let fault = |text: String| (self.fault(text), None);
        let mut input = Vec::new();
        if let Err(e) = std::io::stdin().take(MAX_INPUT_BYTES).read_to_end(&mut input) {
            return fault(format!("countersign: refused code=malformed\nthe message cannot be read: {e}"));
        }
        // A hook never looks for its project: the client's folder follows what the agent does.
        let Some(root) = &cx.global.project else {
            return fault(
                "countersign: refused code=internal
the hook was installed without --project; run `countersign init` again"
                    .to_owned(),
            );
        };
        // The state is found by way of `.git`, which lies where the agent writes: pointed elsewhere, it would lead to
        // another log, other grants and another accepted text. The registration, which the agent is kept from, says
        // whose it must be.
        let Some(id) = &self.project_id else {
            return fault(
                "countersign: refused code=internal
the hook was installed without --project-id; a person runs `countersign init` again"
                    .to_owned(),
            );
        };
        let opened = match Project::at(root) {
            Ok(project) if project.id != *id => {
                return fault(
                    "countersign: refused code=internal
the project's .git is not the one that the hook was installed for; put it back, or a person runs `countersign init` again"
                        .to_owned(),
                );
            }
            Ok(project) => wire::open(project, &cx.places).await,
            Err(e) => Err(e),
        };
        let wired = match opened {
            Ok(wired) => wired,
            Err(e) => return fault(format!("countersign: refused code={}\n{e:#}", code(&e))),
        };
        let clock = SystemClock;
        let settings = wired.settings.as_ref();
        let hook = HookContext {
            gate: &wired.gate,
            call_id: CallId(clock.fresh_id()),
            project: wired.project.root_text(),
            uid: person::uid(),
            patience: Patience {
                client_limit_s: Some(settings.map_or(3_630, |s| s.hook_timeout_s)),
                hold_s: settings.and_then(|s| s.hook_hold_s),
                listens: Some(listens),
            },
            agent: if self.event == "pre" { person::session_agent() } else { None },
            resolve: &resolve,
        };
        let answer = match (self.client.as_str(), self.event.as_str()) {
            ("claude-code", "pre") => claude_code::pre(hook, &input).await,
            ("claude-code", "post") => claude_code::post(hook, &input).await,
            ("claude-code", "stop") => claude_code::stop(hook, &input).await,
            ("claude-code", "end") => claude_code::end(hook, &input).await,
            ("codex", "pre") => codex::pre(hook, &input).await,
            ("codex", "permission") => codex::permission(hook, &input).await,
            ("codex", "post") => codex::post(hook, &input).await,
            ("codex", "stop") => codex::stop(hook, &input).await,
            ("codex", "end") => codex::end(hook, &input).await,
            ("gemini", "pre") => gemini::pre(hook, &input).await,
            ("gemini", "post") => gemini::post(hook, &input).await,
            ("gemini", "stop") => gemini::stop(hook, &input).await,
            ("gemini", "end") => gemini::end(hook, &input).await,
            (client, event) => {
                self.fault(format!("countersign: refused code=internal\n{client} has no event {event}; a person runs `countersign init` again"))
            }
        };
        (answer, Some(wired))
    }

    /// A fault before the door was reached, in the client's words.
    fn fault(&self, text: String) -> HookAnswer {
        match (self.client.as_str(), self.event.as_str()) {
            ("codex", "permission") => {
                codex::not_permitted(Code::Internal, text.lines().nth(1).unwrap_or(&text))
            }
            ("codex", "post") => codex::withheld(),
            ("gemini", "post") => gemini::withheld(),
            // It reads standard error in the place of an answer.
            ("gemini", "stop" | "end") => gemini::nothing(),
            _ => HookAnswer::fault(text),
        }
    }
}

fn code(e: &anyhow::Error) -> &'static str {
    match e.downcast_ref::<countersign_gate::seams::StoreError>() {
        Some(store) => store.code().as_str(),
        None => countersign_core::code::Code::Internal.as_str(),
    }
}

/// Follows the links of a folder, as the base of relative paths.
pub fn resolve(path: &str) -> Option<String> {
    std::fs::canonicalize(path).ok()?.to_str().map(str::to_owned)
}

/// The parent at the start, which is the client or the shell that it started.
static CLIENT: OnceLock<Option<rustix::process::Pid>> = OnceLock::new();

/// Whether the client is still there: an orphan gets another parent.
fn listens() -> bool {
    CLIENT.get().is_some_and(|client| *client == rustix::process::getppid())
}

/// Ends when the client is gone: a person's yes is not spent on nobody.
async fn orphaned() {
    while listens() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Writes the answer. An answer that did not arrive whole is a fault: clients take silence for consent.
fn give(answer: &HookAnswer, blocking: bool) -> u8 {
    let mut code = if blocking { answer.exit } else { exit::OK };
    let mut reason = answer.stderr.as_deref();
    if let Some(text) = &answer.stdout {
        let mut out = std::io::stdout();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() && blocking {
            code = exit::USAGE;
            // Codex and Gemini block by an exit code only where a text stands beside it.
            reason = Some("countersign: refused code=internal\nthe answer could not be written whole");
        }
    }
    if let Some(text) = reason {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    code
}
