//! Several servers behind one door: the gate opens the session itself and speaks for all of them.
//!
//! Tools and prompts carry their server's name in front, resources are found by where they were listed. Items keep their
//! text but for the name. It speaks the revisions that begin with `initialize`; a newer opening is answered as unknown,
//! and clients fall back. Methods that cannot be given to one server are answered here or not known.

use super::calls::Target;
use super::listing::not_found;
use super::server::{WIDE, parameters};
use super::{Door, Flight, locked, own};
use countersign_core::code::Code;
use countersign_core::json::Json;
use countersign_core::json::scan::{self, splice};
use countersign_core::rpc::{self, Message};
use countersign_core::trust;
use countersign_gate::servers::{CarryError, PagesError};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::task::JoinSet;

const NEWEST: &str = "2025-11-25";
/// Revisions that are spoken, newest first (interfaces.md 10.1).
const REVISIONS: [&str; 4] = [NEWEST, "2025-06-18", "2025-03-26", "2024-11-05"];
/// Most resources whose server is remembered.
const MAX_ROUTES: usize = 100_000;

/// What is known of the servers' parts, to send a request where it belongs.
#[derive(Default)]
pub(super) struct Routes {
    capabilities: BTreeMap<String, Vec<String>>,
    resources: HashMap<String, String>,
    /// The literal beginning of a template, and its server.
    templates: Vec<(String, String)>,
}

impl Door {
    /// Answers one request of a door with several servers.
    pub(super) async fn serve_many(
        self: &Arc<Self>,
        id: &str,
        method: &str,
        message: &Message,
        flight: Arc<Flight>,
    ) -> Option<String> {
        match method {
            "initialize" => Some(self.open_all(id, message).await),
            "ping" => Some(rpc::result(id, &Json::Object(Vec::new()))),
            "tools/list" => Some(self.list_all_tools(id).await),
            "resources/list" => Some(self.gather(id, method, "resources", "resources").await),
            "resources/templates/list" => {
                Some(self.gather(id, method, "resources", "resourceTemplates").await)
            }
            "prompts/list" => Some(self.gather(id, method, "prompts", "prompts").await),
            "logging/setLevel" => {
                for server in self.having("logging") {
                    let _ = self.parts.gate.carry(&server, message, &*self.parts.servers).await;
                }
                Some(rpc::result(id, &Json::Object(Vec::new())))
            }
            "tools/call"
            | "prompts/get"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "completion/complete" => self.routed(id, method, message, flight).await,
            _ => Some(rpc::error(Some(id), -32601, &format!("countersign: no method `{method}` here"), None)),
        }
    }

    /// Opens every server with the client's own words and answers for all of them.
    async fn open_all(self: &Arc<Self>, id: &str, message: &Message) -> String {
        let mut opening = JoinSet::new();
        for backend in &self.parts.backends {
            let (door, name, message) = (Arc::clone(self), backend.launch.name.clone(), message.clone());
            opening.spawn(async move {
                let woken = door.parts.servers.wake(&name).await;
                let opened = match woken {
                    Ok(_) => door
                        .parts
                        .gate
                        .carry(&name, &message, &*door.parts.servers)
                        .await
                        .map_err(|e| e.to_string()),
                    Err(e) => Err(e.why),
                };
                (name, opened)
            });
        }
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        while let Some(done) = opening.join_next().await {
            let Ok((name, opened)) = done else { continue };
            let answer =
                opened.map(|text| text.and_then(|t| Message::from_server(t.as_str().as_bytes()).ok()));
            match answer {
                Ok(Some(answer)) if answer.result().is_some() => {
                    told.insert(name, answer.result().unwrap_or_default().to_owned());
                }
                Ok(_) => self.garbage(&name, "it did not open").await,
                Err(why) => self.garbage(&name, &format!("it did not open: {why}")).await,
            }
        }
        let mut capabilities = Json::object([("tools", Json::object([("listChanged", Json::Bool(true))]))]);
        let mut instructions = Vec::new();
        {
            let mut routes = locked(&self.routes);
            for (name, result) in &told {
                let whole = 0..result.len();
                let found = scan::member(result, &whole, "capabilities").and_then(|s| result.get(s));
                let names: Vec<String> = found
                    .and_then(|c| scan::members(c).ok()?)
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(k, _)| k)
                    .collect();
                for part in ["resources", "prompts", "logging", "completions"] {
                    if names.iter().any(|n| n == part) && capabilities.get(part).is_none() {
                        let value = match part {
                            "resources" => Json::object([
                                ("listChanged", Json::Bool(true)),
                                ("subscribe", Json::Bool(true)),
                            ]),
                            "prompts" => Json::object([("listChanged", Json::Bool(true))]),
                            _ => Json::Object(Vec::new()),
                        };
                        capabilities.set(part, value);
                    }
                }
                routes.capabilities.insert(name.clone(), names);
                if let Some(text) = scan::member(result, &whole, "instructions").and_then(|s| result.get(s)) {
                    instructions.push(format!("[{name}]\n{}", scan::unescape(text)));
                }
            }
        }
        let asked = message.param(&["protocolVersion"]).map(scan::unescape).unwrap_or_default();
        let revision = REVISIONS.iter().find(|r| **r == asked).unwrap_or(&NEWEST);
        let mut result = Json::object([
            ("protocolVersion", Json::str(*revision)),
            ("capabilities", capabilities),
            (
                "serverInfo",
                Json::object([
                    ("name", Json::str("countersign")),
                    ("version", Json::str(env!("CARGO_PKG_VERSION"))),
                ]),
            ),
        ]);
        if !instructions.is_empty() {
            result.set("instructions", Json::str(instructions.join("\n\n")));
        }
        rpc::result(id, &result)
    }

    fn having(&self, capability: &str) -> Vec<String> {
        let routes = locked(&self.routes);
        let has = |(_, names): &(&String, &Vec<String>)| names.iter().any(|n| n == capability);
        routes.capabilities.iter().filter(has).map(|(name, _)| name.clone()).collect()
    }

    /// One list of what every server has, whole; items keep their text but for the name of a prompt.
    async fn gather(&self, id: &str, method: &str, capability: &str, member: &str) -> String {
        let mut all: Vec<String> = Vec::new();
        for server in self.having(capability) {
            let page = |result: &str| {
                let whole = 0..result.len();
                let list = scan::member(result, &whole, member).ok_or("a page without its list")?;
                for span in trust::items(result, &list).unwrap_or_default() {
                    let item = result.get(span).unwrap_or_default();
                    all.push(self.remember(&server, member, item));
                }
                let next = scan::member(result, &whole, "nextCursor").and_then(|s| result.get(s));
                Ok(next.filter(|token| token.starts_with('"')).map(str::to_owned))
            };
            // What a server lists up to where it fails is shown; the others are not its hostages.
            if let Err(PagesError::Carry(e @ CarryError::Halted(_))) =
                self.parts.gate.pages(&server, method, &*self.parts.servers, page).await
            {
                return self.not_carried(id, &e).await;
            }
        }
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"{member}\":[{}]}}}}", all.join(","))
    }

    fn remember(&self, server: &str, member: &str, item: &str) -> String {
        let whole = 0..item.len();
        let text = |key: &str| scan::member(item, &whole, key).and_then(|s| item.get(s)).map(scan::unescape);
        match member {
            "prompts" => {
                let Some(span) = scan::member(item, &whole, "name") else { return item.to_owned() };
                let name = text("name").unwrap_or_default();
                splice(item, vec![(span, &Json::str(format!("{server}__{name}")).canonical())])
            }
            "resources" => {
                let mut routes = locked(&self.routes);
                if let Some(uri) = text("uri").filter(|_| routes.resources.len() < MAX_ROUTES) {
                    routes.resources.entry(uri).or_insert_with(|| server.to_owned());
                }
                item.to_owned()
            }
            _ => {
                if let Some(template) = text("uriTemplate") {
                    let literal = template.split('{').next().unwrap_or_default().to_owned();
                    let mut routes = locked(&self.routes);
                    let known = routes.templates.iter().any(|(l, s)| *l == literal && s == server);
                    if !known && routes.templates.len() < MAX_ROUTES {
                        routes.templates.push((literal, server.to_owned()));
                    }
                }
                item.to_owned()
            }
        }
    }

    /// A request that belongs to one server.
    async fn routed(
        self: &Arc<Self>,
        id: &str,
        method: &str,
        message: &Message,
        flight: Arc<Flight>,
    ) -> Option<String> {
        let params = match parameters(message, WIDE) {
            Ok(params) => params,
            Err(why) => {
                self.malformed(method, Code::Malformed, &why).await;
                return Some(not_found(id, &why));
            }
        };
        if method == "tools/call" {
            let name = params.text("name").unwrap_or_default();
            if self.acts(name) {
                return self.acting_tool(id, name, message, flight).await;
            }
            if own::is_own(name) {
                return self.own_tool(id, name, message, flight).await;
            }
            return match name.split_once("__").filter(|(server, _)| self.backend(server).is_some()) {
                Some((server, tool)) => {
                    let target =
                        Target { server, tool: tool.to_owned(), is_tool: true, message: message.clone() };
                    self.perform(id, target, flight).await
                }
                None => {
                    let why = "there is no such tool; its name is <server>__<tool>";
                    self.malformed(name, Code::UnknownTool, why).await;
                    Some(super::calls::failed_result(
                        id,
                        &format!("countersign: refused code={}\n{why}", Code::UnknownTool.as_str()),
                        None,
                    ))
                }
            };
        }
        let reference = params.get("ref");
        let prompt = match method {
            "prompts/get" => params.text("name"),
            _ => reference.and_then(|r| r.text("name")),
        };
        if let Some(prompt) = prompt {
            let path: &[&str] = if method == "prompts/get" { &["name"] } else { &["ref", "name"] };
            let Some((server, bare)) = prompt.split_once("__").filter(|(s, _)| self.backend(s).is_some())
            else {
                return Some(not_found(id, "there is no such prompt; its name is <server>__<prompt>"));
            };
            let text = message.with(None, &[(path, &Json::str(bare).canonical())]);
            let message = Message::from_client(text.as_bytes(), self.bounds()).ok()?;
            let target = Target { server, tool: method.to_owned(), is_tool: false, message };
            return self.perform(id, target, flight).await;
        }
        let uri = params.text("uri").or_else(|| reference.and_then(|r| r.text("uri"))).unwrap_or_default();
        let Some(server) = self.server_of(uri).await else {
            return Some(not_found(id, "no server lists this resource"));
        };
        let target =
            Target { server: &server, tool: method.to_owned(), is_tool: false, message: message.clone() };
        self.perform(id, target, flight).await
    }

    /// The server of a resource: where it is listed, else whose template begins like it, else the only one there is.
    async fn server_of(&self, uri: &str) -> Option<String> {
        let known = || {
            let routes = locked(&self.routes);
            let template = routes
                .templates
                .iter()
                .filter(|(l, _)| uri.starts_with(l.as_str()))
                .max_by_key(|(l, _)| l.len());
            routes.resources.get(uri).or(template.map(|(_, s)| s)).cloned()
        };
        if let Some(server) = known() {
            return Some(server);
        }
        // A client may read what it never listed.
        for (method, member) in
            [("resources/list", "resources"), ("resources/templates/list", "resourceTemplates")]
        {
            let _ = self.gather("0", method, "resources", member).await;
        }
        known().or_else(|| {
            let mut all = self.having("resources").into_iter();
            all.next().filter(|_| all.next().is_none())
        })
    }
}
