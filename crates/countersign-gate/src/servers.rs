//! What stands between a relay and the servers behind it, beside calls: carrying what is no call, and trust in what a
//! server lists.
//!
//! Messages that are no calls go through for a closed list of methods only, and not while everything is halted.
//! Whatever else a client asks of a server is a call and takes the path of calls. Where it stops: ids, order and the
//! protocol's words are the door's; processes and pipes are the hand's.

use crate::gate::Gate;
use crate::permit::Pass;
use crate::seams::{PerformError, Pin, PinChange, PinKind, Servers, StoreError};
use countersign_core::cleanse::injection::{self, Finding};
use countersign_core::cleanse::{Clean, Raw, clean_line};
use countersign_core::digest::Digest;
use countersign_core::event::{Draft, Event, text, word};
use countersign_core::ledger::Halt;
use countersign_core::principal::Approver;
use countersign_core::rpc::Message;
use countersign_core::trust::{Listed, drift};
use std::collections::{BTreeMap, BTreeSet};

/// Requests that set a session up; they go through a halt, so that a client can be told of it.
const SETTING_UP: &[&str] = &["initialize", "ping", "server/discover"];
/// Requests that show what there is and change nothing.
const SHOWING: &[&str] =
    &["tools/list", "resources/list", "resources/templates/list", "prompts/list", "logging/setLevel"];

/// Whether a request is carried without being judged as a call.
pub fn is_plumbing(method: &str) -> bool {
    SETTING_UP.contains(&method) || SHOWING.contains(&method)
}

/// Why a message was not carried.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// Everything is halted.
    #[error("everything is halted: {0}")]
    Halted(Clean),
    /// It is a call, and calls are judged.
    #[error("`{0}` is a call")]
    Call(String),
    /// The hand could not.
    #[error(transparent)]
    Perform(#[from] PerformError),
    /// The store did not say whether there is a halt.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a listing was not fetched to its end.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// A page could not be asked for.
    #[error(transparent)]
    Carry(#[from] CarryError),
    /// A page was no result that can be read.
    #[error("the listing cannot be read: {0}")]
    Unreadable(String),
    /// It goes on and on.
    #[error("the listing has more than {MAX_PAGES} pages")]
    Endless,
}

/// Most pages of a listing that are fetched.
const MAX_PAGES: usize = 100;

/// A server as it is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its name.
    pub name: String,
    /// How it is started, canonical: what a person accepts.
    pub text: String,
    /// A person typed the command: what it lists first is accepted with it.
    pub typed: bool,
}

impl Launch {
    /// Digest of how it is started.
    pub fn digest(&self) -> Digest {
        Digest::of("countersign-launch-v1", &[self.name.as_bytes(), self.text.as_bytes()])
    }

    /// What a call's judgement compares; none for a typed command.
    pub fn pinned(&self) -> Option<Digest> {
        (!self.typed).then(|| self.digest())
    }
}

/// What may be seen of a server's tools.
#[derive(Clone, Debug, Default)]
pub struct Surface {
    /// Every tool it lists, with the digest of its listing.
    pub tools: BTreeMap<String, Digest>,
    /// Tools that are not shown.
    pub hidden: BTreeSet<String>,
    /// A changed tool keeps all of them away.
    pub quarantined: bool,
}

impl Gate {
    /// Carries a message that is no call. An answer comes back cleansed, with the id that the message had.
    pub async fn carry(
        &self,
        server: &str,
        message: &Message,
        servers: &dyn Servers,
    ) -> Result<Option<Clean>, CarryError> {
        if let (true, Some(method)) = (message.is_request(), message.method()) {
            if !is_plumbing(method) {
                return Err(CarryError::Call(method.to_owned()));
            }
            if SHOWING.contains(&method) {
                match self.store.halt().await? {
                    Halt::Absent => {}
                    Halt::Present { reason } => return Err(CarryError::Halted(reason)),
                    Halt::Unknown { why } => return Err(CarryError::Halted(why)),
                }
            }
        }
        // A call without an id is no notification, whatever a server would make of it.
        if let (false, Some(method)) = (message.is_request(), message.method())
            && !method.starts_with("notifications/")
        {
            return Err(CarryError::Call(method.to_owned()));
        }
        let answer = servers.carry(Pass::new(), server, message).await?;
        Ok(answer.map(|raw| self.heard(&raw)))
    }

    /// Fetches a listing page by page. `page` takes a page's result, and gives the cursor of the next as it was written.
    pub async fn pages(
        &self,
        server: &str,
        method: &str,
        servers: &dyn Servers,
        mut page: impl FnMut(&str) -> Result<Option<String>, String>,
    ) -> Result<(), PagesError> {
        let mut params = String::new();
        for _ in 0..MAX_PAGES {
            let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"{method}\"{params}}}");
            let read = |text: &str| {
                Message::from_server(text.as_bytes()).map_err(|e| PagesError::Unreadable(e.to_string()))
            };
            let answer = self.carry(server, &read(&text)?, servers).await?;
            let answer = answer.ok_or_else(|| PagesError::Unreadable("it has no answer".to_owned()))?;
            let answer = read(answer.as_str())?;
            let result = answer.result().ok_or_else(|| PagesError::Unreadable("an error".to_owned()))?;
            match page(result).map_err(PagesError::Unreadable)? {
                Some(next) => params = format!(",\"params\":{{\"cursor\":{next}}}"),
                None => return Ok(()),
            }
        }
        Err(PagesError::Endless)
    }

    /// Cleanses what a server said by itself.
    pub fn heard(&self, message: &Raw<Message>) -> Clean {
        self.lately.clean(self.catalogue().message(message.inner().text()))
    }

    /// Takes note of everything a server lists, and says what of it may be seen. What changed since it was accepted is
    /// kept, so that a person can look at it, and quarantines the server.
    pub async fn listed(&self, launch: &Launch, tools: &[Listed]) -> Result<Surface, StoreError> {
        let name = &launch.name;
        let pinned = self.store.pin(PinKind::Server, name).await?;
        let fits = pinned.as_ref().is_some_and(|pin| pin.digest == launch.digest());
        let mut surface = Surface {
            tools: tools.iter().map(|t| (t.name.clone(), t.digest)).collect(),
            ..Surface::default()
        };
        if !fits && !launch.typed {
            surface.hidden = surface.tools.keys().cloned().collect();
            return Ok(surface);
        }
        // A quarantine is ended by a person, not by a command line that somebody else wrote under the same name.
        if !fits && self.store.pin(PinKind::Drift, name).await?.is_some() {
            surface.hidden = surface.tools.keys().cloned().collect();
            surface.quarantined = true;
            return Ok(surface);
        }
        if !fits {
            self.pin_all(launch, tools, &[first_seen(launch, tools)]).await?;
            return Ok(surface);
        }
        let accepted: BTreeMap<String, Digest> = self
            .store
            .pins(PinKind::Tool, &format!("{name}/"))
            .await?
            .into_iter()
            .filter_map(|(key, pin)| Some((key.split_once('/')?.1.to_owned(), pin.digest)))
            .collect();
        let found = drift(&accepted, tools.iter().map(|t| (t.name.as_str(), t.digest)));
        let known = self.store.pins(PinKind::Drift, name).await?;
        let known: BTreeMap<&str, &Pin> = known.iter().map(|(key, pin)| (key.as_str(), pin)).collect();
        surface.quarantined = known.contains_key(name.as_str()) || !found.changed.is_empty();
        let mut pins = Vec::new();
        let mut drafts = Vec::new();
        let kinds = [("added", &found.added), ("changed", &found.changed), ("removed", &found.removed)];
        for (change, names) in kinds {
            for tool in names {
                let now = tools.iter().find(|t| t.name == *tool);
                let pin = Pin {
                    digest: now.map_or_else(|| Digest::of("countersign-tool-gone", &[]), |t| t.digest),
                    text: now.map(|t| t.text.clone()).unwrap_or_default(),
                };
                let key = format!("{name}/{tool}");
                if known.get(key.as_str()).is_some_and(|k| k.digest == pin.digest) {
                    continue;
                }
                drafts.push(Draft::new(
                    Event::TrustToolChanged,
                    [
                        ("server", word(name)),
                        ("tool", text(&clean_line(tool, 200))),
                        ("change", word(change)),
                        ("old_digest", accepted.get(tool).and_then(word)),
                        ("new_digest", now.and_then(|t| word(t.digest))),
                        ("injection", now.and_then(|t| orders(&t.text)).map(|found| found.record())),
                    ],
                ));
                pins.push(PinChange { kind: PinKind::Drift, name: key, pin: Some(pin) });
            }
        }
        // What was shown in between and is no more is nothing that a person could accept.
        let prefix = format!("{name}/");
        let differs = |tool: &str| kinds.iter().any(|(_, names)| names.iter().any(|n| n == tool));
        let over = known.keys().filter(|key| key.strip_prefix(&prefix).is_some_and(|tool| !differs(tool)));
        pins.extend(over.map(|key| PinChange { kind: PinKind::Drift, name: (*key).to_owned(), pin: None }));
        if !found.changed.is_empty() && !known.contains_key(name.as_str()) {
            let what = found.changed.join(", ");
            drafts.push(Draft::new(
                Event::TrustDriftBlocked,
                [("server", word(name)), ("reason", text(&clean_line(&format!("changed: {what}"), 400)))],
            ));
            let pin = Pin { digest: Digest::of_bytes("countersign-drift-v1", what.as_bytes()), text: what };
            pins.push(PinChange { kind: PinKind::Drift, name: name.clone(), pin: Some(pin) });
        }
        if !pins.is_empty() {
            self.store.set_pins(pins, drafts).await?;
        }
        surface.hidden = match surface.quarantined {
            true => surface.tools.keys().cloned().collect(),
            false => found.added.into_iter().collect(),
        };
        Ok(surface)
    }

    /// A person accepts a server: how it is started and everything it lists now.
    pub async fn accept_server(
        &self,
        launch: &Launch,
        tools: &[Listed],
        by: &Approver,
        reason: Option<&Clean>,
    ) -> Result<(), StoreError> {
        let old = self.store.pin(PinKind::Server, &launch.name).await?;
        let draft = Draft::new(
            Event::TrustAccepted,
            [
                ("server", word(&launch.name)),
                ("old_digest", old.and_then(|p| word(p.digest))),
                ("new_digest", word(launch.digest())),
                ("by", word(by.id())),
                ("reason", reason.and_then(text)),
            ],
        );
        self.pin_all(launch, tools, &[draft]).await
    }

    /// A person accepts what a server showed last, without starting it: for servers whose command a client holds.
    /// `false` when nothing differs from what is accepted.
    pub async fn accept_drift(
        &self,
        server: &str,
        by: &Approver,
        reason: Option<&Clean>,
    ) -> Result<bool, StoreError> {
        let found = self.store.pins(PinKind::Drift, server).await?;
        let prefix = format!("{server}/");
        let mut pins = Vec::new();
        let mut drafts = Vec::new();
        for (key, pin) in found.into_iter().filter(|(key, _)| *key == server || key.starts_with(&prefix)) {
            if let Some(tool) = key.strip_prefix(&prefix) {
                let gone = pin.text.is_empty();
                drafts.push(Draft::new(
                    Event::TrustAccepted,
                    [
                        ("server", word(server)),
                        ("tool", text(&clean_line(tool, 200))),
                        ("new_digest", (!gone).then(|| word(pin.digest)).flatten()),
                        ("by", word(by.id())),
                        ("reason", reason.and_then(text)),
                    ],
                ));
                pins.push(PinChange { kind: PinKind::Tool, name: key.clone(), pin: (!gone).then_some(pin) });
            }
            pins.push(PinChange { kind: PinKind::Drift, name: key, pin: None });
        }
        let any = !pins.is_empty();
        if any {
            self.store.set_pins(pins, drafts).await?;
        }
        Ok(any)
    }

    /// Pins a launch with its tools in the place of everything known of that server.
    async fn pin_all(&self, launch: &Launch, tools: &[Listed], drafts: &[Draft]) -> Result<(), StoreError> {
        let name = &launch.name;
        let prefix = format!("{name}/");
        let mut pins = Vec::new();
        for kind in [PinKind::Tool, PinKind::Drift] {
            let old = self.store.pins(kind, name).await?;
            pins.extend(
                old.into_iter()
                    .filter(|(key, _)| *key == *name || key.starts_with(&prefix))
                    .map(|(key, _)| PinChange { kind, name: key, pin: None }),
            );
        }
        pins.extend(tools.iter().map(|tool| PinChange {
            kind: PinKind::Tool,
            name: format!("{prefix}{}", tool.name),
            pin: Some(Pin { digest: tool.digest, text: tool.text.clone() }),
        }));
        pins.push(PinChange {
            kind: PinKind::Server,
            name: name.clone(),
            pin: Some(Pin { digest: launch.digest(), text: launch.text.clone() }),
        });
        self.store.set_pins(pins, drafts.to_vec()).await
    }
}

/// What the listing of a tool says to a model beyond what the tool is. It stops nothing by itself: a person sees it beside
/// the tool before accepting it, and a typed server's is in the log.
pub fn orders(listed: &str) -> Option<Finding> {
    injection::scan(listed).classify(None)
}

fn first_seen(launch: &Launch, tools: &[Listed]) -> Draft {
    let named = |t: &Listed| match orders(&t.text) {
        Some(found) => format!("{} (gives orders to a model: {})", t.name, found.matched_patterns.join(" ")),
        None => t.name.clone(),
    };
    let tools: Vec<String> = tools.iter().map(named).collect();
    Draft::new(
        Event::TrustFirstSeen,
        [
            ("server", word(&launch.name)),
            ("new_digest", word(launch.digest())),
            ("reason", text(&clean_line(&format!("typed by a person; tools: {}", tools.join(", ")), 1_000))),
        ],
    )
}
