//! What servers list: looked at before anything is called, pinned, and shown without what nobody accepted.
//!
//! A listing that may be shown whole goes to the client byte for byte. The client's own request serves as our look at
//! the server when it brings everything at once; a listing in pages is fetched whole beside it.

use super::{Door, Shape, acting, answer_to, matches_any, own, refused};
use countersign_core::code::Code;
use countersign_core::json::Json;
use countersign_core::json::scan::{self, splice};
use countersign_core::rpc::{self, Message};
use countersign_core::trust::{self, Listed};
use countersign_gate::servers::Surface;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a server lists, and how it wrote it.
pub(super) struct Looked {
    /// What may be seen of it.
    pub(super) surface: Surface,
    /// Each tool as it was written, in order.
    pub(super) texts: Vec<(String, String)>,
}

impl Door {
    /// What a server lists now; looked at when that was never done or may have changed. `None` when it cannot be told.
    pub(super) async fn surface(&self, server: &str) -> Option<Arc<Looked>> {
        let listing = self.listings.get(server)?;
        let mut known = listing.known.lock().await;
        if let Some(surface) = known.as_ref().filter(|_| !listing.is_stale()) {
            return Some(Arc::clone(surface));
        }
        let told = listing.told.load(Ordering::Acquire);
        *known = None;
        let found = self.look(server).await;
        listing.looked.store(told, Ordering::Release);
        known.clone_from(&found);
        found
    }

    async fn look(&self, server: &str) -> Option<Arc<Looked>> {
        let mut tools: Vec<Listed> = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        let page = |result: &str| {
            let page = trust::listing(result)?;
            // The bound is one on all pages together.
            if tools.len() + page.tools.len() > trust::MAX_TOOLS {
                return Err("too many tools".to_owned());
            }
            for tool in page.tools {
                if tools.iter().all(|t| t.name != tool.name) {
                    let text = result.get(tool.span.clone()).ok_or("a tool without a place")?;
                    texts.push(text.to_owned());
                    tools.push(tool);
                }
            }
            Ok(page.next)
        };
        self.parts.gate.pages(server, "tools/list", &*self.parts.servers, page).await.ok()?;
        self.take_in(server, &tools, texts).await
    }

    async fn take_in(&self, server: &str, tools: &[Listed], texts: Vec<String>) -> Option<Arc<Looked>> {
        let backend = self.backend(server)?;
        let surface = self.parts.gate.listed(&backend.launch, tools).await.ok()?;
        let texts = tools.iter().map(|t| t.name.clone()).zip(texts).collect();
        Some(Arc::new(Looked { surface, texts }))
    }

    /// Answers `tools/list` of a door with one server.
    pub(super) async fn list_tools(&self, id: &str, message: &Message, server: &str) -> String {
        let _ = self.parts.servers.wake(server).await.map(|anew| self.anew(server, anew));
        // Before the server is asked: what it says of changes while it answers is not answered by this.
        let told = self.listings.get(server).map_or(0, |listing| listing.told.load(Ordering::Acquire));
        let answer = match self.parts.gate.carry(server, message, &*self.parts.servers).await {
            Ok(Some(text)) => text,
            Ok(None) => return refused(id, Code::Internal, "the listing has no answer"),
            Err(e) => return self.not_carried(id, &e).await,
        };
        let Ok(answer) = Message::from_server(answer.as_str().as_bytes()) else {
            return answer_to(id, &answer);
        };
        // An error of the server is the server's to tell.
        let Some(result) = answer.result() else { return answer.with_id(id) };
        let page = match trust::listing(result) {
            Ok(page) => page,
            Err(why) => return refused(id, Code::ServerError, &why),
        };
        let whole = page.next.is_none() && message.param(&["cursor"]).is_none();
        let looked = if whole {
            let Some(listing) = self.listings.get(server) else {
                return refused(id, Code::Internal, "no such server");
            };
            let mut known = listing.known.lock().await;
            let texts = page.tools.iter().map(|t| result.get(t.span.clone()).unwrap_or_default().to_owned());
            let found = self.take_in(server, &page.tools, texts.collect()).await;
            listing.looked.store(told, Ordering::Release);
            known.clone_from(&found);
            found
        } else {
            // A page that says something else than the whole did: look again.
            let first = self.surface(server).await;
            let same =
                |s: &Arc<Looked>| page.tools.iter().all(|t| s.surface.tools.get(&t.name) == Some(&t.digest));
            if first.as_ref().is_some_and(|s| !same(s)) {
                if let Some(listing) = self.listings.get(server) {
                    listing.told.fetch_add(1, Ordering::AcqRel);
                }
                self.surface(server).await
            } else {
                first
            }
        };
        let Some(looked) = looked else {
            return refused(id, Code::ServerUnavailable, "what the server lists could not be looked at");
        };
        // A page must not say anything else than what was looked at: a name of another page, with other words.
        let shown: Vec<String> = page
            .tools
            .iter()
            .filter(|tool| looked.surface.tools.get(&tool.name) == Some(&tool.digest))
            .filter(|tool| self.shows(server, &looked.surface, &tool.name))
            .filter_map(|tool| result.get(tool.span.clone()).map(str::to_owned))
            .collect();
        let own = if self.parts.shape == Shape::One && page.next.is_none() {
            own::tools(|name| looked.surface.tools.contains_key(name))
        } else {
            Vec::new()
        };
        if own.is_empty() && shown.len() == page.tools.len() && page.unusable.is_empty() {
            return answer.with_id(id);
        }
        let list = format!("[{}]", shown.into_iter().chain(own).collect::<Vec<_>>().join(","));
        let changed = match scan::member(result, &(0..result.len()), "tools") {
            Some(span) => splice(result, vec![(span, &list)]),
            None => return refused(id, Code::Internal, "the listing has no tools"),
        };
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{changed}}}")
    }

    /// Whether a tool is shown.
    pub(super) fn shows(&self, server: &str, surface: &Surface, tool: &str) -> bool {
        let blocked = self.backend(server).is_none_or(|b| matches_any(&b.blocked_tools, tool));
        !blocked && !surface.hidden.contains(tool)
    }

    /// A server that was started anew lists anew.
    pub(super) fn anew(&self, server: &str, anew: bool) {
        if anew && let Some(listing) = self.listings.get(server) {
            listing.told.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Answers `tools/list` of a door with several servers: everything that may be shown, under names with the server's
    /// in front.
    pub(super) async fn list_all_tools(&self, id: &str) -> String {
        let mut lists: Vec<String> = Vec::new();
        // Two names that look alike are one to a person: the later is hidden.
        let mut seen: BTreeMap<String, ()> = BTreeMap::new();
        for backend in &self.parts.backends {
            let server = backend.launch.name.as_str();
            let _ = self.parts.servers.wake(server).await.map(|anew| self.anew(server, anew));
            if let Some(listing) = self.listings.get(server) {
                // A client that asks is to see what there is now.
                listing.told.fetch_add(1, Ordering::AcqRel);
            }
            let Some(looked) = self.surface(server).await else { continue };
            for (tool, text) in &looked.texts {
                let exposed = format!("{server}__{tool}");
                if !self.shows(server, &looked.surface, tool)
                    || seen.insert(exposed.to_lowercase(), ()).is_some()
                {
                    continue;
                }
                let quoted = Json::str(&exposed).canonical();
                if let Some(span) = scan::member(text, &(0..text.len()), "name") {
                    lists.push(splice(text, vec![(span, &quoted)]));
                }
            }
        }
        lists.extend(own::tools(|_| false));
        let book = self.parts.gate.rulebook();
        let settings = book.as_ref().map(|book| book.settings());
        lists.extend(acting::tools(&self.parts.acting, &self.principal(), settings));
        rpc_result(id, &format!("{{\"tools\":[{}]}}", lists.join(",")))
    }
}

fn rpc_result(id: &str, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")
}

/// An error for what a server does not have.
pub(super) fn not_found(id: &str, what: &str) -> String {
    rpc::error(Some(id), -32602, &format!("countersign: {what}"), None)
}
