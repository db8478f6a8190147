//! The secrets gateway: values of the vault for nodes of our own, over HTTP, and never for an agent (email.md 15).
//!
//! A listener of its own, a token for each node, a header that no forwarded request has, and one answer for every no. Each
//! read takes the path of a call (`Gate::read_secret`). Bytes come in and go out here; what listens is the binary's.

use crate::metrics;
use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::code::Code;
use countersign_core::ids::CallId;
use countersign_core::json::Json;
use countersign_core::principal::{Client, Principal};
use countersign_core::secret::Secret;
use countersign_core::secrets_gateway::{TOOL, is_name};
use countersign_core::token::{METRICS, SECRETS, Token, find};
use countersign_gate::gate::Gate;
use countersign_gate::seams::{Clock, Keeper, SecretSource};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// Failed authentications of one source in a minute.
const MAX_FAILED: usize = 10;
/// Most sources that are remembered; beyond, the oldest is forgotten.
const MAX_REMEMBERED: usize = 1_024;
/// What a request must say, so that no page and no proxy can be made to ask.
const GUARD: &str = "x-countersign-request";
const FORWARDED: [&str; 3] = ["x-forwarded-for", "forwarded", "origin"];

/// A request, its body unread.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// GET and its like.
    pub method: String,
    /// As it was written, with whatever follows a question mark.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Who connected: an address, or a user of this machine.
    pub source: String,
}

impl Asked {
    /// The one value of a header; `None` where there is none, or more than one.
    fn header(&self, name: &str) -> Option<&[u8]> {
        let mut all = self.headers.iter().filter(|(n, _)| n == name);
        match (all.next(), all.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n == name)
    }
}

/// What is answered with.
pub enum Body {
    /// Text.
    Text(String),
    /// A value of the vault. It is wiped when it was written.
    Value(Secret<Vec<u8>>),
}

/// An answer.
pub struct Told {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

impl Told {
    /// A constant answer: nothing in it depends on what was asked.
    pub(crate) fn fixed(status: u16, body: &'static str) -> Told {
        Told {
            status,
            headers: vec![
                ("content-type", "text/plain; charset=utf-8".to_owned()),
                ("cache-control", "no-store".to_owned()),
                ("x-content-type-options", "nosniff".to_owned()),
            ],
            body: Body::Text(body.to_owned()),
        }
    }

    fn with(mut self, name: &'static str, value: String) -> Told {
        self.headers.push((name, value));
        self
    }
}

/// Points of time, by who they are about.
#[derive(Default)]
struct Windows(HashMap<String, VecDeque<Duration>>);

impl Windows {
    /// Seconds until there is room for `cost` more below `most` in a minute; `None`: there is.
    fn full(&mut self, who: &str, cost: usize, most: usize, now: Duration) -> Option<u64> {
        let times = self.0.get_mut(who)?;
        while times.front().is_some_and(|at| now.saturating_sub(*at) >= MINUTE) {
            times.pop_front();
        }
        let first = times.front().filter(|_| times.len() + cost > most)?;
        Some((*first + MINUTE).saturating_sub(now).as_secs().max(1))
    }

    fn add(&mut self, who: &str, cost: usize, now: Duration) {
        if self.0.len() >= MAX_REMEMBERED && !self.0.contains_key(who) {
            let oldest =
                self.0.iter().min_by_key(|(_, times)| times.back().copied()).map(|(who, _)| who.clone());
            oldest.map(|who| self.0.remove(&who));
        }
        let times = self.0.entry(who.to_owned()).or_default();
        times.extend(std::iter::repeat_n(now, cost));
    }
}

/// The gateway.
pub struct Metadata {
    gate: Arc<Gate>,
    keeper: Arc<dyn Keeper>,
    secrets: Arc<dyn SecretSource>,
    clock: Arc<dyn Clock>,
    tenant: String,
    /// Most reads of one token in a minute.
    per_minute: usize,
    failed: Mutex<Windows>,
    reads: Mutex<Windows>,
    counted: Mutex<BTreeMap<&'static str, u64>>,
}

/// How a read can end, for metrics.
const ENDS: [&str; 5] = ["ok", "not_modified", "not_found", "rate_limited", "unavailable"];

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metadata {
    /// A gateway on a gate whose rulebook names what is handed out.
    pub fn new(
        gate: Arc<Gate>,
        keeper: Arc<dyn Keeper>,
        secrets: Arc<dyn SecretSource>,
        clock: Arc<dyn Clock>,
        tenant: String,
        per_minute: u32,
    ) -> Metadata {
        Metadata {
            gate,
            keeper,
            secrets,
            clock,
            tenant,
            per_minute: usize::try_from(per_minute).unwrap_or(usize::MAX),
            failed: Mutex::default(),
            reads: Mutex::default(),
            counted: Mutex::new(ENDS.into_iter().map(|end| (end, 0)).collect()),
        }
    }

    /// Answers one request.
    pub async fn answer(&self, asked: &Asked) -> Told {
        let path = asked.target.split('?').next().unwrap_or_default();
        if path == "/healthz" {
            return Told::fixed(200, "ok\n");
        }
        // Whoever was made to ask by somebody else is told nothing, not even whether its token counts.
        let is_metrics = path == "/metrics";
        if FORWARDED.iter().any(|name| asked.has(name)) {
            return Told::fixed(400, "bad request\n");
        }
        if !is_metrics && asked.header(GUARD) != Some(b"true") {
            return Told::fixed(400, "bad request\n");
        }
        let token = match self.token(asked, if is_metrics { METRICS } else { SECRETS }).await {
            Ok(token) => token,
            Err(told) => return told,
        };
        if asked.method != "GET" {
            return Told::fixed(405, "method not allowed\n").with("allow", "GET".to_owned());
        }
        if is_metrics {
            let text = self.text();
            return metrics::answer(&[&move || text.clone()]);
        }
        let now = self.clock.elapsed();
        if let Some(seconds) = locked(&self.reads).full(&token.id, 1, self.per_minute, now) {
            self.count("rate_limited");
            return Told::fixed(429, "too many requests\n").with("retry-after", seconds.to_string());
        }
        locked(&self.reads).add(&token.id, 1, now);
        if path == "/v1/identity" {
            return self.identity();
        }
        let name = path.strip_prefix("/v1/secrets/").unwrap_or_default();
        let told = self.read(name, &token, asked).await;
        if told.status == 404 {
            // Whoever tries names pays double.
            locked(&self.reads).add(&token.id, 1, now);
        }
        told
    }

    /// Who asks, found out before it is looked what for.
    async fn token(&self, asked: &Asked, capability: &str) -> Result<Token, Told> {
        let now = self.clock.elapsed();
        let shown = asked.header("authorization").and_then(|value| value.strip_prefix(b"Bearer "));
        let (at, all) = match self.keeper.tokens().await {
            Ok(all) => all,
            Err(_) => return Err(unavailable()),
        };
        // Without a token one is looked for all the same.
        let found = find(&all, shown.unwrap_or_default(), at).filter(|token| token.may(capability));
        match found {
            Some(token) => Ok(token.clone()),
            // Only who fails is slowed: others come from the same address.
            None => {
                let mut failed = locked(&self.failed);
                if let Some(seconds) = failed.full(&asked.source, 1, MAX_FAILED, now) {
                    let told = Told::fixed(429, "too many requests\n");
                    return Err(told.with("retry-after", seconds.to_string()));
                }
                failed.add(&asked.source, 1, now);
                Err(Told { headers: vec![("cache-control", "no-store".to_owned())], ..Told::fixed(401, "") })
            }
        }
    }

    fn identity(&self) -> Told {
        let text = Json::object([("tenant_id", Json::str(&self.tenant))]).canonical();
        Told {
            status: 200,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("cache-control", "no-store".to_owned()),
                ("x-content-type-options", "nosniff".to_owned()),
            ],
            body: Body::Text(text),
        }
    }

    async fn read(&self, name: &str, token: &Token, asked: &Asked) -> Told {
        // What is no name is judged and recorded as one that nobody has, and nothing of it is kept.
        let name = if is_name(name) { name } else { "" };
        let call = ToolCall::new(CallParts {
            call_id: CallId(self.clock.fresh_id()),
            door: Door::Rest,
            principal: Principal::Node { id: token.id.clone() },
            session: Session { client: Client::Other, id: format!("secrets_gateway {}", token.id) },
            agent_id: None,
            tool_use_id: None,
            tool: TOOL.to_owned(),
            args: Json::object([("name", Json::str(name))]),
            cwd: None,
            joins: None,
            served: None,
        });
        let Ok(call) = call else { return unavailable() };
        let opened = match self.gate.read_secret(&call, &*self.secrets).await {
            Ok(opened) => opened,
            // Held back, over and bound elsewhere are noes like the others.
            Err(
                Code::SecretNotFound
                | Code::SecretNotBound
                | Code::SecretQuarantined
                | Code::UnknownTool
                | Code::Hard,
            ) => {
                self.count("not_found");
                return Told::fixed(404, "not found\n");
            }
            Err(_) => {
                self.count("unavailable");
                return unavailable();
            }
        };
        let id = opened.rotation_id;
        let tag = format!("\"{id}\"");
        let is_same =
            asked.header("if-none-match").is_some_and(|seen| seen == tag.as_bytes() || seen == id.as_bytes());
        self.count(if is_same { "not_modified" } else { "ok" });
        let told = Told { body: Body::Value(opened.value), ..Told::fixed(200, "") };
        let told = if is_same { Told::fixed(304, "") } else { told };
        told.with("etag", tag).with("x-countersign-rotation-id", id)
    }

    fn count(&self, end: &'static str) {
        *locked(&self.counted).entry(end).or_default() += 1;
    }

    /// Its counter in the text format 0.0.4.
    fn text(&self) -> String {
        const METRIC: &str = "countersign_secret_reads_total";
        let mut out = format!("# HELP {METRIC} Reads of the secrets gateway.\n# TYPE {METRIC} counter\n");
        for (end, count) in locked(&self.counted).iter() {
            out.push_str(&format!("{METRIC}{{result=\"{end}\"}} {count}\n"));
        }
        out
    }
}

fn unavailable() -> Told {
    Told::fixed(503, "unavailable\n")
}
