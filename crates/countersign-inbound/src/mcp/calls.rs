//! The way of one call at this door: which server and tool, what the hook said of it, judged, held, performed, told.

use super::server::{WIDE, bad_params, parameters};
use super::{Asked, Door, Flight, Shape, answer_to, locked, matches_any, refusal_data};
use async_trait::async_trait;
use countersign_core::call::Door as CallDoor;
use countersign_core::call::{CallParts, Served, Surface, ToolCall};
use countersign_core::code::Code;
use countersign_core::facts::shell::quote;
use countersign_core::ids::CallId;
use countersign_core::json::{Bounds, Json};
use countersign_core::principal::{Client, Principal};
use countersign_core::rpc::{self, Message};
use countersign_gate::gate::{Answered, Caller, Decision, Given, Held, Leaving, Patience, Performed};
use countersign_gate::seams::Downstream;
use std::sync::{Arc, Mutex};

/// What is called.
pub(super) struct Target<'a> {
    /// The server.
    pub(super) server: &'a str,
    /// The server's own name of the tool, or the method.
    pub(super) tool: String,
    /// Whether it is a tool.
    pub(super) is_tool: bool,
    /// The message as the server shall get it.
    pub(super) message: Message,
}

impl Door {
    /// Judges and performs a call to the door's one server.
    pub(super) async fn call(
        self: &Arc<Self>,
        id: &str,
        message: &Message,
        server: &str,
        flight: Arc<Flight>,
    ) -> Option<String> {
        let method = message.method()?.to_owned();
        if method != "tools/call" {
            // With a slash, so that no method is taken for a tool of that name.
            let tool = if method.contains('/') { method } else { format!("/{method}") };
            let target = Target { server, tool, is_tool: false, message: message.clone() };
            return self.perform(id, target, flight).await;
        }
        let tool = match parameters(message, WIDE) {
            Ok(params) => params.text("name").map(str::to_owned),
            Err(_) => None,
        };
        let Some(tool) = tool else {
            let why = "`params.name` is no text";
            self.malformed("tools/call", Code::Malformed, why).await;
            return Some(bad_params(id, why));
        };
        let ours = super::own::is_own(&tool) || self.acts(&tool);
        if self.parts.shape == Shape::One
            && ours
            && self.surface(server).await.is_none_or(|s| !s.surface.tools.contains_key(&tool))
        {
            return match self.acts(&tool) {
                true => self.acting_tool(id, &tool, message, flight).await,
                false => self.own_tool(id, &tool, message, flight).await,
            };
        }
        let target = Target { server, tool, is_tool: true, message: message.clone() };
        self.perform(id, target, flight).await
    }

    /// Judges and performs a call to a server.
    pub(super) async fn perform(
        self: &Arc<Self>,
        id: &str,
        target: Target<'_>,
        flight: Arc<Flight>,
    ) -> Option<String> {
        *locked(&flight.server) = Some(target.server.to_owned());
        // A server that does not come up is told of by the judgement, which asks it again and records it.
        let anew = self.parts.servers.wake(target.server).await;
        self.anew(target.server, anew.unwrap_or(false));
        let call = match self.make_call(&target).await {
            Ok(call) => call,
            Err((code, why)) => {
                self.malformed(&target.tool, code, &why).await;
                return Some(bad_params(id, &why));
            }
        };
        let call = self.join(call).await;
        let servers: &dyn Downstream = &*self.parts.servers;
        self.judged(id, &call, &target.message, flight, servers).await
    }

    /// Walks the gate's path with a call and gives its answer.
    pub(super) async fn judged(
        self: &Arc<Self>,
        id: &str,
        call: &ToolCall,
        message: &Message,
        flight: Arc<Flight>,
        hand: &dyn Downstream,
    ) -> Option<String> {
        let (answered, performed) = self.walked(call, message, &flight, hand).await;
        if flight.is_cancelled() {
            return None;
        }
        let is_tool = message.method() == Some("tools/call");
        Some(match performed {
            Some(performed) => told(id, is_tool, performed, &answered),
            None => self.declined(id, is_tool, &answered),
        })
    }

    /// Walks the gate's path with a call, while its client is told that it waits.
    pub(super) async fn walked(
        self: &Arc<Self>,
        call: &ToolCall,
        message: &Message,
        flight: &Arc<Flight>,
        hand: &dyn Downstream,
    ) -> (Answered, Option<Performed>) {
        let caller = Waiting {
            door: Arc::clone(self),
            flight: Arc::clone(flight),
            token: message.param(&["_meta", "progressToken"]).map(str::to_owned),
            tool: call.tool().to_owned(),
            over: Arc::default(),
        };
        let done = self.parts.gate.call(call, self.patience(), &caller, hand).await;
        caller.end();
        done
    }

    /// How long the client waits for one call, as far as that is known: what its versions do unless they are told
    /// otherwise, measured with the real ones.
    fn patience(&self) -> Patience {
        let client_limit_s = match self.client() {
            // It waits for hours.
            Client::ClaudeCode => None,
            Client::Gemini => Some(600),
            // The reference implementations' default.
            _ => Some(60),
        };
        Patience { client_limit_s, hold_s: self.parts.settings.hold_s, listens: None }
    }

    /// A call that came in here.
    pub(super) fn call_parts(&self, tool: String, args: Json, served: Option<Served>) -> CallParts {
        CallParts {
            call_id: CallId(self.parts.clock.fresh_id()),
            door: CallDoor::Mcp,
            principal: self.principal(),
            session: self.session(),
            agent_id: None,
            tool_use_id: None,
            tool,
            args,
            cwd: Some(self.parts.folder.clone()),
            joins: None,
            served: served.map(Box::new),
        }
    }

    async fn make_call(&self, target: &Target<'_>) -> Result<ToolCall, (Code, String)> {
        let bad = |why: &str| (Code::Malformed, why.to_owned());
        let backend = self.backend(target.server).ok_or_else(|| bad("no such server"))?;
        let params = parameters(&target.message, self.bounds()).map_err(|why| bad(&why))?;
        let args = match (target.is_tool, params.get("arguments")) {
            (false, _) => params.clone(),
            (true, None) => Json::Object(Vec::new()),
            (true, Some(args)) => args.clone(),
        };
        if args.as_object().is_none() {
            return Err(bad("`params.arguments` is no object"));
        }
        let limits = self.parts.gate.rulebook().map_or_else(Bounds::default, |b| b.settings().arguments);
        Json::parse(args.canonical().as_bytes(), limits)
            .map_err(|e| (Code::ArgumentsTooLarge, format!("`params.arguments`: {e}")))?;
        // Judged, shown, recorded and sent is this one value (DECISIONS row 4).
        let args = self.parts.gate.catalogue().arguments(&args).unwrap_or(args);
        let surface = if target.is_tool {
            match self.surface(target.server).await {
                Some(looked) => Surface::Tool(looked.surface.tools.get(&target.tool).copied()),
                None => Surface::Unseen,
            }
        } else {
            Surface::Method
        };
        let served = Served {
            server: target.server.to_owned(),
            launch: backend.launch.pinned(),
            surface,
            blocked: target.is_tool && matches_any(&backend.blocked_tools, &target.tool),
            tier: backend.tiers.get(&target.tool).copied(),
            roles: backend.roles.get(&target.tool).cloned().unwrap_or_default(),
            asked: None,
            wire: Some(target.message.clone()),
        };
        let tool = format!("mcp__{}__{}", target.server, target.tool);
        let mut parts = self.call_parts(tool, args, Some(served));
        parts.tool_use_id = tool_use_id(&params);
        ToolCall::new(parts).map_err(|e| bad(&e.to_string()))
    }

    /// Takes up what the client's hook said of this very call, sub-agent included. Whether it still can be taken up is
    /// judged with the call; a store that does not answer leaves the call to be judged alone.
    pub(super) async fn join(&self, call: ToolCall) -> ToolCall {
        let Ok(Some((hook, principal))) = self.parts.gate.hooked(&call).await else { return call };
        let Some(principal) = Principal::parse_agent(&principal) else { return call };
        let same_user = matches!(
            &principal,
            Principal::Agent { client, uid, .. } if *client == self.client() && *uid == self.parts.uid
        );
        if !same_user {
            return call;
        }
        let mut parts = call.parts().clone();
        parts.principal = principal;
        parts.joins = Some(hook);
        ToolCall::new(parts).unwrap_or(call)
    }

    /// The answer to a call that did not run.
    pub(super) fn declined(&self, id: &str, is_tool: bool, answered: &Answered) -> String {
        let call = answered.call_id.to_string();
        let rules = match answered.rules.as_slice() {
            [] => String::new(),
            rules => format!(" rules={}", rules.join(",")),
        };
        let (code, approval, text) = match &answered.decision {
            Decision::Pending { approval_id, expires_at } => {
                let approve =
                    format!("countersign --project {} approve {approval_id}", quote(&self.parts.project));
                let wait = match self.parts.shape {
                    Shape::Bare => String::new(),
                    _ => format!(" `approval_wait` with approval_id {approval_id} waits for the answer."),
                };
                let text = format!(
                    "countersign: approval required id={approval_id} status=PENDING expires={expires_at}\n{}\n\
                     A person must approve exactly this call, in a terminal of their own:\n  {approve}\n\
                     Go on with other work. Once it is approved, repeat the same call unchanged.{wait}",
                    answered.reason
                );
                (Code::ApprovalRequired, Some(approval_id.to_string()), text)
            }
            Decision::Refused { code } => {
                let text = format!(
                    "countersign: refused code={}{rules} call={call}\n{}",
                    code.as_str(),
                    answered.reason
                );
                (*code, None, text)
            }
            // A call that may run was performed.
            Decision::Allowed { .. } => {
                (Code::Internal, None, "countersign: refused code=internal".to_owned())
            }
        };
        let data = refusal_data(
            answered.decision.as_str(),
            code.as_str(),
            &answered.rules,
            Some(&call),
            approval.as_deref(),
        );
        if !is_tool || self.parts.settings.protocol_errors {
            return rpc::error(Some(id), -32010, &text, Some(data));
        }
        failed_result(id, &text, Some(data))
    }
}

/// The client's own id of a call, as its message has it.
pub(super) fn tool_use_id(params: &Json) -> Option<String> {
    let meta = params.get("_meta")?;
    let found = ["claudecode/toolUseId", "callId"].iter().find_map(|key| meta.text(key));
    found.filter(|id| id.len() <= 256).map(str::to_owned)
}

/// The answer to a call that ran.
fn told(id: &str, is_tool: bool, performed: Performed, answered: &Answered) -> String {
    let failed = |text: &str, code: &str| {
        let data = refusal_data("allowed", code, &[], Some(&answered.call_id.to_string()), None);
        match is_tool {
            true => failed_result(id, text, Some(data)),
            false => rpc::error(Some(id), -32010, text, Some(data)),
        }
    };
    match performed.result {
        Ok(Given::Message(text)) => answer_to(id, &text),
        Ok(Given::Text(text)) => failed(text.as_str(), Code::ServerError.as_str()),
        Err(code) => {
            let flagged = format!(
                "the call has run; its result matched {} rules for text that gives orders to a model, and was kept back",
                performed.patterns
            );
            let why = match code {
                Code::InjectionFound | Code::InjectionSuspected => flagged.as_str(),
                Code::ServerTimeout => {
                    "the server did not answer in time; whether the call took effect is not known"
                }
                Code::OutcomeUnknown => {
                    "the server went away while the call ran; whether it took effect is not known, and it was not repeated"
                }
                Code::ScanIncomplete => "the call has run, and its result cannot be read",
                Code::OutcomeUnrecorded => "the call has run, and its outcome could not be recorded",
                _ => "the call was not run",
            };
            failed(&format!("[WITHHELD: {}]\n{why}", code.as_str()), code.as_str())
        }
    }
}

/// A tool's result that says that it failed: models read it and adapt.
pub(super) fn failed_result(id: &str, text: &str, meta: Option<Json>) -> String {
    let block = Json::object([("type", Json::str("text")), ("text", Json::str(text))]);
    let mut result = Json::object([("content", Json::Array(vec![block])), ("isError", Json::Bool(true))]);
    if let Some(meta) = meta {
        result.set("_meta", meta);
    }
    rpc::result(id, &result)
}

/// A call that may have to wait, as its client sees it.
struct Waiting {
    door: Arc<Door>,
    flight: Arc<Flight>,
    token: Option<String>,
    tool: String,
    over: Arc<Over>,
}

/// Whether the wait is over, and the question that was put to the client beside.
#[derive(Default)]
struct Over {
    over: tokio::sync::Notify,
    done: std::sync::atomic::AtomicBool,
    asked: Mutex<Option<String>>,
}

#[async_trait]
impl Caller for Waiting {
    fn held(&self, held: &Held) {
        let id = held.approval_id.to_string();
        let approve = format!("countersign --project {} approve {id}", quote(&self.door.parts.project));
        let text = format!(
            "{}: {} Waiting for a person until {}: {approve}",
            self.tool, held.reason, held.expires_at
        );
        if let Some(token) = &self.token {
            self.progress(token.clone(), text.clone());
        }
        // Asked once a call, however often it is held.
        let elicits = self.door.hello.get().is_some_and(|h| h.elicits);
        let mut asked = locked(&self.over.asked);
        if elicits && asked.is_none() {
            let ours = self.door.fresh();
            let params = Json::object([
                ("message", Json::str(format!("countersign holds a call. {text}"))),
                (
                    "requestedSchema",
                    Json::object([("type", Json::str("object")), ("properties", Json::Object(Vec::new()))]),
                ),
            ]);
            locked(&self.door.asked).insert(ours.clone(), Asked::Held { flight: Arc::clone(&self.flight) });
            self.door.send(format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{ours},\"method\":\"elicitation/create\",\"params\":{}}}",
                params.canonical()
            ));
            *asked = Some(ours);
        }
    }

    async fn gone(&self) -> Leaving {
        self.flight.left().await
    }
}

impl Waiting {
    /// Says that the call waits, now and every so often.
    fn progress(&self, token: String, text: String) {
        let (door, over) = (Arc::clone(&self.door), Arc::clone(&self.over));
        let message = Json::str(text).canonical();
        tokio::spawn(async move {
            for n in 1u32.. {
                // Far below whatever the server itself will count.
                let line = format!(
                    "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{token},\"progress\":{:.6},\"message\":{message}}}}}",
                    f64::from(n) * 0.000_001
                );
                if over.done.load(std::sync::atomic::Ordering::Acquire) {
                    return;
                }
                door.send(line);
                tokio::select! {
                    () = over.over.notified() => return,
                    () = door.parts.clock.sleep(door.parts.settings.progress) => {}
                }
            }
        });
    }

    /// The wait is over: nothing is said any more, and the question to the client is taken back.
    fn end(&self) {
        self.over.done.store(true, std::sync::atomic::Ordering::Release);
        self.over.over.notify_waiters();
        let asked = locked(&self.over.asked).take();
        if let Some(ours) = asked
            && locked(&self.door.asked).remove(&ours).is_some()
        {
            self.door.send(format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{ours},\"reason\":\"the call is decided\"}}}}"
            ));
        }
    }
}
