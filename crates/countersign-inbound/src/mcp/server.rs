//! What servers say by themselves: notifications go to the client, requests are judged first.

use super::{Asked, Backend, Door, MAX_ASKED, MAX_ASKING, locked, refused};
use countersign_core::call::{FromServer, Served, Surface, ToolCall};
use countersign_core::code::Code;
use countersign_core::json::{Bounds, Json};
use countersign_core::rpc::{self, Message};
use countersign_gate::gate::{Decision, Patience};
use countersign_gate::seams::{Heard, Said};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Door {
    /// Takes one thing that a server said. Notifications are sent on before this returns, so that they keep their order
    /// with answers.
    pub(super) async fn heard(self: Arc<Self>, heard: Heard) {
        let Heard { server, what } = heard;
        let raw = match what {
            Said::Garbage(what) => return self.garbage(&server, &what).await,
            Said::Gone(why) => {
                let text = format!("it is gone ({why}); calls that were running have no known end");
                return self.garbage(&server, &text).await;
            }
            Said::Message(raw) => raw,
        };
        let text = self.parts.gate.heard(&raw);
        let Ok(message) = Message::from_server(text.as_str().as_bytes()) else { return };
        if message.is_request() {
            let before = self.asking.fetch_add(1, Ordering::AcqRel);
            let few = before < MAX_ASKING && locked(&self.asked).len() < MAX_ASKED;
            tokio::spawn(async move {
                if few {
                    self.asks(&server, message).await;
                } else if let Some(id) = message.id() {
                    let why = "too many requests have no answer yet";
                    self.reject(&server, id, Code::LimitConcurrency, why).await;
                }
                self.asking.fetch_sub(1, Ordering::AcqRel);
            });
            return;
        }
        if message.method() == Some("notifications/cancelled") {
            // Its own requests only, under the id that the client knows.
            let wanted = message.param(&["requestId"]).unwrap_or_default();
            let ours = locked(&self.asked).iter().find_map(|(ours, asked)| match asked {
                Asked::Server { server: by, id, .. } if *by == server && id == wanted => Some(ours.clone()),
                _ => None,
            });
            if let Some(ours) = ours {
                self.pass(message.with(None, &[(&["requestId"], &ours)])).await;
            }
            return;
        }
        if message.method() == Some("notifications/tools/list_changed") {
            // What a model reads next must be what is called next: look before the client does.
            if let Some(listing) = self.listings.get(&server) {
                listing.told.fetch_add(1, Ordering::AcqRel);
            }
            let door = Arc::clone(&self);
            let name = server.clone();
            tokio::spawn(async move { door.surface(&name).await });
        }
        self.pass(message.text().to_owned()).await;
    }

    /// A request of a server: its own kind of call, judged, shown to the client, answered.
    async fn asks(&self, server: &str, message: Message) {
        self.register().await;
        let (Some(id), Some(method)) = (message.id(), message.method()) else { return };
        if method == "ping" {
            if let Ok(pong) = Message::from_server(rpc::result(id, &Json::Object(Vec::new())).as_bytes()) {
                let _ = self.parts.gate.carry(server, &pong, &*self.parts.servers).await;
            }
            return;
        }
        let Some(backend) = self.backend(server) else { return };
        let params = message.params().unwrap_or("{}");
        let args = match Json::parse(params.as_bytes(), self.bounds()) {
            Ok(args) if args.as_object().is_some() => args,
            _ => {
                let why = "the request's parameters are not one JSON object that everybody reads alike";
                self.garbage(server, &format!("a request `{method}`: {why}")).await;
                return self.reject(server, id, Code::Malformed, why).await;
            }
        };
        let Some(call) = self.asked_call(backend, method, args, &message) else {
            return self.reject(server, id, Code::Malformed, "the request makes no call").await;
        };
        let patience = Patience { client_limit_s: None, hold_s: self.parts.settings.hold_s, listens: None };
        let answered = self.parts.gate.judge(&call, patience, None).await;
        match &answered.decision {
            Decision::Allowed { .. } => {
                let ours = self.fresh();
                let asked =
                    Asked::Server { server: server.to_owned(), id: id.to_owned(), call: answered.call_id };
                locked(&self.asked).insert(ours.clone(), asked);
                self.send(message.with_id(&ours));
            }
            Decision::Refused { code } => self.reject(server, id, *code, answered.reason.as_str()).await,
            Decision::Pending { .. } => {
                self.reject(server, id, Code::ApprovalRequired, answered.reason.as_str()).await;
            }
        }
    }

    fn asked_call(&self, backend: &Backend, method: &str, args: Json, message: &Message) -> Option<ToolCall> {
        let said = match method {
            "sampling/createMessage" => backend.sampling,
            "elicitation/create" => backend.elicitation,
            "roots/list" => backend.roots,
            // A typed server is as it would be without us; of others what is not known yet is refused.
            _ if backend.launch.typed => FromServer::Pass,
            _ => FromServer::Deny,
        };
        let server = backend.launch.name.clone();
        // With a slash, so that no method is taken for a tool of that name.
        let slash = if method.contains('/') { "" } else { "/" };
        let tool = format!("mcp__{server}__{slash}{method}");
        let served = Served {
            server,
            launch: backend.launch.pinned(),
            surface: Surface::Method,
            blocked: false,
            tier: None,
            roles: Vec::new(),
            asked: Some(said),
            wire: Some(message.clone()),
        };
        let parts = self.call_parts(tool, args, Some(served));
        ToolCall::new(parts).ok()
    }

    /// Answers a server's request with a refusal.
    pub(super) async fn reject(&self, server: &str, id: &str, code: Code, why: &str) {
        if let Ok(answer) = Message::from_server(refused(id, code, why).as_bytes()) {
            let _ = self.parts.gate.carry(server, &answer, &*self.parts.servers).await;
        }
    }
}

/// What a call may hold at most, whosever tool it is: a body or two of 1 MiB, escaped (DECISIONS row 25). A server's
/// arguments have tighter bounds, which are looked at once it is known that they are a server's.
pub(super) const WIDE: Bounds = Bounds { max_bytes: 8 * 1_048_576, max_depth: 136, max_nodes: 201_000 };

/// Parameters of a request as one JSON value.
pub(super) fn parameters(message: &Message, bounds: Bounds) -> Result<Json, String> {
    let text = message.params().unwrap_or("{}");
    let json = Json::parse(text.as_bytes(), bounds).map_err(|e| e.to_string())?;
    match json.as_object() {
        Some(_) => Ok(json),
        None => Err("`params` is no object".to_owned()),
    }
}

/// The answer to a request that has bad parameters.
pub(super) fn bad_params(id: &str, why: &str) -> String {
    rpc::error(Some(id), -32602, &format!("countersign: {why}"), None)
}
