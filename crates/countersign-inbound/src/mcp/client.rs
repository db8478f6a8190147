//! What the client sends: read strictly, told apart, and either carried, judged or answered here.

use super::{Asked, Door, Flight, Hello, Line, MAX_IN_FLIGHT, Shape, answer_to, locked, refused};
use countersign_core::approval::Strand;
use countersign_core::code::Code;
use countersign_core::json::{Bounds, Json};
use countersign_core::ledger::{CallOutcome, Outcome};
use countersign_core::principal::Client;
use countersign_core::rpc::{self, Malformed, Message};
use countersign_gate::gate::Leaving;
use countersign_gate::seams::{CallRef, PerformError};
use countersign_gate::servers::{CarryError, is_plumbing};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Removes a request from the open ones, however its task ends.
pub(super) struct Landing {
    door: Arc<Door>,
    id: String,
}

impl Drop for Landing {
    fn drop(&mut self) {
        locked(&self.door.flights).remove(&self.id);
        self.door.landed.notify_waiters();
    }
}

impl Door {
    /// Takes one line of the client.
    pub(super) async fn line(self: Arc<Self>, line: Line) {
        let bytes = match line {
            Line::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => return,
            Line::Whole(bytes) => bytes,
            Line::TooLong => {
                let why = format!("a message of more than {} bytes", rpc::MAX_FRAME_BYTES);
                self.send(rpc::error(None, -32600, &why, None));
                return self.malformed("message", Code::ArgumentsTooLarge, &why).await;
            }
        };
        let message = match Message::from_client(&bytes, self.bounds()) {
            Ok(message) => message,
            Err(bad) => return self.unreadable(bad).await,
        };
        match (message.method(), message.is_request()) {
            (Some(_), true) => self.request(message).await,
            (Some(_), false) => self.notification(message).await,
            (None, _) => self.answer(message).await,
        }
    }

    async fn unreadable(&self, bad: Malformed) {
        let why = format!("countersign: {}", bad.why);
        self.send(rpc::error(bad.id.as_deref(), bad.code, &why, None));
        let code = if bad.too_large { Code::ArgumentsTooLarge } else { Code::Malformed };
        self.malformed("message", code, &bad.why).await;
    }

    async fn request(self: Arc<Self>, message: Message) {
        let (Some(id), Some(method)) = (message.id().map(str::to_owned), message.method()) else { return };
        if method == "initialize" {
            self.meet(&message);
        }
        let is_call = !is_plumbing(method);
        let flight = Arc::new(Flight { leaving: watch::channel(None).0, server: Mutex::default(), is_call });
        let refusal = {
            let mut flights = locked(&self.flights);
            if flights.contains_key(&id) {
                Some("`id` belongs to a request that has no answer yet")
            } else if flights.len() >= MAX_IN_FLIGHT {
                Some("too many requests have no answer yet")
            } else {
                flights.insert(id.clone(), Arc::clone(&flight));
                None
            }
        };
        if let Some(why) = refusal {
            // Answered under the same id, as the protocol has it: whoever uses one twice reads two answers.
            self.send(rpc::error(Some(&id), -32600, &format!("countersign: {why}"), None));
            return self.malformed(method, Code::Malformed, why).await;
        }
        let landing = Landing { door: Arc::clone(&self), id: id.clone() };
        tokio::spawn(async move {
            let door = Arc::clone(&landing.door);
            let answer = door.serve(&id, &message, flight).await;
            drop(landing);
            if let Some(answer) = answer {
                door.send(answer);
            }
        });
    }

    /// Notes who the client says it is. That gives it no rights beyond taking up what its hook said.
    fn meet(&self, message: &Message) {
        let Some(params) = message.params() else { return };
        let Ok(params) = Json::parse(params.as_bytes(), Bounds::default()) else { return };
        let name = params.get("clientInfo").and_then(|c| c.text("name")).unwrap_or_default();
        let client = match name {
            "claude-code" => Client::ClaudeCode,
            "codex-mcp-client" => Client::Codex,
            name if name.starts_with("gemini-cli") => Client::Gemini,
            "cursor-vscode" => Client::Cursor,
            "Visual Studio Code" => Client::VsCode,
            _ => Client::Other,
        };
        let elicitation = params.get("capabilities").and_then(|c| c.get("elicitation"));
        // An empty object is the form of revision 2025-06-18.
        let elicits = elicitation
            .is_some_and(|e| e.as_object().is_some_and(<[_]>::is_empty) || e.get("form").is_some());
        let _ = self.hello.set(Hello { client, elicits });
    }

    /// The answer to one request; `None` when the client does not want one any more.
    async fn serve(self: &Arc<Self>, id: &str, message: &Message, flight: Arc<Flight>) -> Option<String> {
        self.register().await;
        let method = message.method()?;
        if self.parts.shape == Shape::Many {
            return self.serve_many(id, method, message, flight).await;
        }
        let server = self.only()?.launch.name.clone();
        if method == "tools/list" {
            return Some(self.list_tools(id, message, &server).await);
        }
        if is_plumbing(method) {
            return self.carry(id, message, &server, &flight).await;
        }
        self.call(id, message, &server, flight).await
    }

    /// Carries a request that is no call, and gives the server's answer.
    pub(super) async fn carry(
        &self,
        id: &str,
        message: &Message,
        server: &str,
        flight: &Flight,
    ) -> Option<String> {
        *locked(&flight.server) = Some(server.to_owned());
        let carried = self.parts.gate.carry(server, message, &*self.parts.servers).await;
        if flight.is_cancelled() {
            return None;
        }
        Some(match carried {
            Ok(Some(text)) => answer_to(id, &text),
            Ok(None) => return None,
            Err(e) => self.not_carried(id, &e).await,
        })
    }

    pub(super) async fn not_carried(&self, id: &str, e: &CarryError) -> String {
        let code = match e {
            CarryError::Halted(_) => Code::Halted,
            CarryError::Call(_) => Code::Internal,
            CarryError::Perform(PerformError::TimedOut(_)) => Code::ServerTimeout,
            CarryError::Perform(_) => Code::ServerUnavailable,
            CarryError::Store(e) => e.code(),
        };
        refused(id, code, &e.to_string())
    }

    async fn notification(self: Arc<Self>, message: Message) {
        match message.method() {
            Some("notifications/cancelled") => {
                let Some(wanted) = message.param(&["requestId"]) else { return };
                let Some(flight) = locked(&self.flights).get(wanted).map(Arc::clone) else { return };
                flight.leave(Leaving::TakesBack(Strand::Cancelled));
                // A running call is cancelled by the gate, which knows its permit.
                let server = locked(&flight.server).clone().filter(|_| !flight.is_call);
                if let Some(server) = server {
                    let _ = self.parts.gate.carry(&server, &message, &*self.parts.servers).await;
                }
            }
            Some(method) if !method.starts_with("notifications/") => {
                let why = "a request without an id, which would have no answer";
                self.malformed(method, Code::Malformed, why).await;
            }
            // Progress of the client's own work for a server: its token is the server's.
            _ => {
                for backend in &self.parts.backends {
                    let _ = self.parts.gate.carry(&backend.launch.name, &message, &*self.parts.servers).await;
                }
            }
        }
    }

    /// The client answers a request of ours.
    async fn answer(&self, message: Message) {
        let asked = message.id().and_then(|id| locked(&self.asked).remove(id));
        match asked {
            None => self.malformed("answer", Code::Malformed, "an answer to nothing that was asked").await,
            Some(Asked::Held { flight }) => {
                let declined = message.result().is_some_and(|result| {
                    Json::parse(result.as_bytes(), Bounds::default())
                        .is_ok_and(|r| r.text("action") == Some("decline"))
                });
                // Anything else decides nothing: an answer of the client is no signature.
                if declined {
                    flight.leave(Leaving::TakesBack(Strand::Declined));
                }
            }
            Some(Asked::Server { server, id, call }) => {
                let outcome =
                    if message.is_result() == Some(true) { CallOutcome::Ok } else { CallOutcome::Error };
                let bytes = i64::try_from(message.text().len()).unwrap_or(i64::MAX);
                let ended = Outcome {
                    outcome,
                    code: None,
                    duration_ms: None,
                    bytes,
                    redactions: Vec::new(),
                    injection: None,
                    records: Vec::new(),
                };
                let recorded = self.parts.gate.observe(&CallRef::Id(call), ended).await;
                if !matches!(recorded, Ok(Some(_))) {
                    let why = "the answer could not be recorded";
                    return self.reject(&server, &id, Code::OutcomeUnrecorded, why).await;
                }
                if let Ok(answer) = Message::from_server(message.with_id(&id).as_bytes()) {
                    let _ = self.parts.gate.carry(&server, &answer, &*self.parts.servers).await;
                }
            }
        }
    }
}
