//! The hand of `http_fetch`: opens the secret that a permitted call names, makes the request, and gives the answer back
//! without the secret in any form (vault.md 7 to 12).
//!
//! The forms of the secret are gathered before the request, the whole answer is read before anything of it is used, and
//! what could still hold the secret behind an encoding is kept back. Errors are words of our own. Where it stops: the
//! connection is `http`, whether the call may be made was judged.

use crate::http::{Answer, Failure, Http, Plain, Request};
use async_trait::async_trait;
use countersign_core::call::ToolCall;
use countersign_core::cleanse::{Form, Known, Lately, MARKER, Raw, Reply, base64, clean_line};
use countersign_core::code::Code;
use countersign_core::event::{Draft, Event, int, text, word};
use countersign_core::fetch;
use countersign_core::ids::CallId;
use countersign_core::json::Json;
use countersign_core::secret::Secret;
use countersign_core::time::Timestamp;
use countersign_core::vault::binding::{Misfit, Placement, Use};
use countersign_gate::permit::Permit;
use countersign_gate::seams::{
    Authority, Clock, Downstream, Keeper, Opened, PerformError, SecretSource, Unready,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often a service may say that it does not take a secret before it is not sent any more, and for how long.
const MAX_REFUSALS: u32 = 5;
const REFUSED_FOR: Duration = Duration::from_secs(300);

/// Headers whose values go whole, whatever they hold.
const HIDDEN: [&str; 12] = [
    "authorization",
    "x-api-key",
    "cookie",
    "set-cookie",
    "proxy-authorization",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
    "proxy-authentication-info",
    "x-auth-token",
    "x-amz-security-token",
    "x-csrf-token",
];

/// What configuration says of fetching.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// Id of the project.
    pub project: String,
    /// Most uses of a secret by a principal in 60 s.
    pub per_minute: u32,
    /// Answers with the secret in 10 minutes that quarantine it.
    pub quarantine_after: u32,
}

/// Makes requests with secrets.
pub struct Fetch {
    secrets: Arc<dyn SecretSource>,
    keeper: Arc<dyn Keeper>,
    http: Http,
    lately: Arc<Lately>,
    clock: Arc<dyn Clock>,
    settings: FetchSettings,
    /// One request a secret at a time.
    lanes: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Running calls, to be told to end.
    running: Mutex<HashMap<CallId, Arc<Notify>>>,
    /// What the log is to be told.
    told: Mutex<HashMap<CallId, Vec<Draft>>>,
    /// Answers in a row that did not take a secret, and since when.
    refusals: Mutex<HashMap<String, (u32, Duration)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why there is no answer for the agent: the code, and for failed requests the class.
struct Stop(Code, Option<Failure>);

impl Stop {
    fn text(&self) -> String {
        let mut out = Json::object([("error", Json::str(self.0.as_str()))]);
        if let Some(class) = self.1 {
            out.set("class", Json::str(class.as_str()));
        }
        out.canonical()
    }
}

impl From<Code> for Stop {
    fn from(code: Code) -> Stop {
        Stop(code, None)
    }
}

impl Fetch {
    /// A hand that opens secrets at `secrets`.
    pub fn new(
        secrets: Arc<dyn SecretSource>,
        keeper: Arc<dyn Keeper>,
        http: Http,
        lately: Arc<Lately>,
        clock: Arc<dyn Clock>,
        settings: FetchSettings,
    ) -> Fetch {
        Fetch {
            secrets,
            keeper,
            http,
            lately,
            clock,
            settings,
            lanes: Mutex::default(),
            running: Mutex::default(),
            told: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    fn tell(&self, call: &ToolCall, event: Event, keys: Vec<(&'static str, Option<Json>)>) {
        let draft = Draft::new(event, keys).call(call.id());
        locked(&self.told).entry(call.id()).or_default().push(draft);
    }

    /// Whether a service refused the secret so often that it is not tried for now.
    fn is_refused(&self, name: &str) -> bool {
        let refusals = locked(&self.refusals);
        refusals
            .get(name)
            .is_some_and(|(n, at)| *n >= MAX_REFUSALS && self.clock.elapsed() < *at + REFUSED_FOR)
    }

    async fn fetched(
        &self,
        call: &ToolCall,
        request: &fetch::Request,
        opened: &Opened,
    ) -> Result<String, Stop> {
        let unready = |_| Stop::from(Code::StoreUnavailable);
        fits(request, opened, &self.settings.project, opened.opened_at)?;
        let (header, value) = placed(&request.placement, opened)?;
        let known = self.forms(&request.placement, opened)?;
        self.lately.note(&known);
        let principal = call.parts().principal.id();
        let used = self.keeper.secret_used(&request.secret, &principal, self.settings.per_minute).await;
        if !used.map_err(unready)? {
            return Err(Code::LimitRate.into());
        }
        if self.is_refused(request.secret.as_str()) {
            return Err(Stop(Code::AuthFailed, None));
        }
        let mut headers = Vec::new();
        if let Some(kind) = &request.content_type {
            headers.push(("content-type", kind.as_str()));
        }
        let sent = Request {
            url: &request.url,
            authority: &request.authority,
            method: request.method,
            secret: Some((header, &value)),
            headers: &headers,
            body: request.body.as_deref().map(str::as_bytes),
            allow_private: &opened.binding.allow_private,
            max_bytes: fetch::MAX_BODY_BYTES,
            plain: Plain::Never,
        };
        let answer = self.http.send(&sent).await;
        let status = answer.as_ref().map_or(0, |a| i64::from(a.status));
        self.tell(
            call,
            Event::SecretUsed,
            vec![
                ("name", text(&clean_line(request.secret.as_str(), 128))),
                ("rotation_id", word(&opened.rotation_id)),
                ("authority", word(&request.authority)),
                ("method", word(request.method.as_str())),
                ("path", text(&clean_line(request.path(), 1_024))),
                ("query_keys", Some(query_keys(request))),
                ("scheme", word(request.placement.scheme())),
                ("status", int(status)),
            ],
        );
        let answer = answer.map_err(|failure| match failure {
            Failure::TooLarge => Stop(Code::ResponseTooLarge, None),
            other => Stop(Code::RequestFailed, Some(other)),
        })?;
        self.took(request.secret.as_str(), answer.status);
        let shown = scrubbed(&answer, &known, header);
        if !shown.found.is_empty() {
            self.echoed(call, request, &shown.found).await;
        }
        Ok(shown.json.canonical())
    }

    /// Notes whether a service takes the secret.
    fn took(&self, name: &str, status: u16) {
        let mut refusals = locked(&self.refusals);
        if matches!(status, 401 | 403) {
            let (count, at) = refusals.entry(name.to_owned()).or_insert((0, Duration::ZERO));
            (*count, *at) = (count.saturating_add(1), self.clock.elapsed());
        } else {
            refusals.remove(name);
        }
    }

    /// An answer held the secret: the log is told as what and where, and too many of them quarantine it.
    async fn echoed(
        &self,
        call: &ToolCall,
        request: &fetch::Request,
        found: &BTreeMap<(&'static str, Form), i64>,
    ) {
        let name = text(&clean_line(request.secret.as_str(), 128));
        for ((place, form), count) in found {
            self.tell(
                call,
                Event::SecretEchoed,
                vec![
                    ("name", name.clone()),
                    ("form", word(form.as_str())),
                    ("place", word(*place)),
                    ("count", int(*count)),
                ],
            );
        }
        // A store that does not answer keeps the answer from going out anyway: its outcome cannot be recorded.
        let held = self.keeper.secret_echoed(&request.secret, self.settings.quarantine_after).await;
        if held == Ok(true) {
            self.tell(call, Event::SecretQuarantined, vec![("name", name)]);
        }
    }

    fn forms(&self, placement: &Placement, opened: &Opened) -> Result<Arc<Known>, Stop> {
        let mut values: Vec<zeroize::Zeroizing<Vec<u8>>> = Vec::new();
        for secret in std::iter::once(&opened.value).chain(&opened.retired) {
            let user = opened.binding.username.as_deref();
            secret.with(|value| {
                values.push(value.clone().into());
                values.push([placement.header().as_bytes(), b": ", value.as_slice()].concat().into());
                if let Some(user) = user {
                    values.push([user.as_bytes(), b":", value.as_slice()].concat().into());
                }
                // The password of `user:password` alone; never the user.
                if *placement == Placement::Basic && user.is_none() {
                    let at = value.iter().position(|b| *b == b':').map(|at| at + 1);
                    let password = at.and_then(|at| value.get(at..)).filter(|p| p.len() >= 8);
                    values.extend(password.map(|p| p.to_vec().into()));
                }
            });
        }
        // A secret that is too large to be looked for must not be used.
        Known::new(values.iter().map(|v| v.as_slice()))
            .map(Arc::new)
            .map_err(|_| Code::VaultUnavailable.into())
    }
}

/// The binding once more, of the record as it is opened.
fn fits(request: &fetch::Request, opened: &Opened, project: &str, now: Timestamp) -> Result<(), Stop> {
    let by = Use {
        authority: &request.authority,
        method: request.method,
        path: request.path(),
        placement: &request.placement,
        project,
        now,
    };
    let binding = &opened.binding;
    // Nobody but a person's yes to this call leads here with an unbound secret: a grant for one does not count.
    let fits = if binding.is_unbound() { binding.fits_otherwise(&by) } else { binding.fits(&by) };
    fits.map_err(|misfit| match misfit {
        Misfit::Placement => Code::PlacementRefused.into(),
        _ => Code::SecretNotBound.into(),
    })
}

/// The header and its value.
fn placed<'a>(placement: &'a Placement, opened: &Opened) -> Result<(&'a str, Secret<Vec<u8>>), Stop> {
    let value = opened.value.with(|value| {
        let safe = |b: &u8| (b'!'..=b'~').contains(b) || matches!(b, b' ' | b'\t');
        let edge = |b: Option<&u8>| b.is_some_and(|b| !matches!(b, b' ' | b'\t'));
        if !value.iter().all(safe) || !edge(value.first()) || !edge(value.last()) {
            return None;
        }
        Some(match placement {
            Placement::Bearer => [b"Bearer ", value.as_slice()].concat(),
            Placement::Basic => {
                let user = opened.binding.username.as_ref();
                let pair = match user {
                    Some(user) => [user.as_bytes(), b":", value.as_slice()].concat(),
                    None => value.clone(),
                };
                let mut symbols = base64(&pair);
                symbols.resize(symbols.len().next_multiple_of(4), b'=');
                [b"Basic ", symbols.as_slice()].concat()
            }
            Placement::ApiKey | Placement::Custom(_) => value.clone(),
            // Never asked for, and the whole record is nobody's.
            Placement::OAuth => return None,
        })
    });
    Ok((placement.header(), Secret::new(value.ok_or(Code::SecretNotHeaderSafe)?)))
}

fn query_keys(request: &fetch::Request) -> Json {
    let keys = request.url.query_pairs().map(|(key, _)| clean_line(&key, 64).as_str().to_owned());
    Json::strings(keys.take(32))
}

/// An answer without the secret, and what was taken out: where, as what, how often.
struct Shown {
    json: Json,
    found: BTreeMap<(&'static str, Form), i64>,
}

fn scrubbed(answer: &Answer, known: &Known, used: &str) -> Shown {
    let mut found: BTreeMap<(&'static str, Form), i64> = BTreeMap::new();
    let mut note = |place: &'static str, forms: &[Form]| {
        for form in forms {
            *found.entry((place, *form)).or_default() += 1;
        }
    };
    let mut clean = |place: &'static str, bytes: &[u8]| -> String {
        let bytes = match known.scrub_bytes(bytes) {
            Some((scrubbed, forms)) => {
                note(place, &forms);
                scrubbed
            }
            None => bytes.to_vec(),
        };
        if known.remains(&bytes) {
            note(place, &[Form::Plain]);
            return MARKER.to_owned();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let status_text = clean("status_text", &answer.status_text);
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &answer.headers {
        let hidden = HIDDEN.contains(&name.as_str()) || name == used;
        // Looked at before it goes: an echo is an echo wherever it stands.
        let shown = clean("header", value);
        let shown = if hidden { MARKER.to_owned() } else { shown };
        let name = clean("header_name", name.as_bytes());
        headers
            .entry(name)
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&shown);
            })
            .or_insert(shown);
    }
    let body = match &answer.body {
        None => withheld("the answer is compressed in a way that is not taken off"),
        Some(bytes) => {
            let (bytes, forms) = match known.scrub_bytes(bytes) {
                Some((scrubbed, forms)) => (scrubbed, forms),
                None => (bytes.clone(), Vec::new()),
            };
            note("body", &forms);
            if known.remains(&bytes) {
                note("body", &[Form::Plain]);
                withheld("the answer held the secret behind an encoding")
            } else {
                match String::from_utf8(bytes) {
                    Ok(text) => text,
                    Err(e) => {
                        // Scanned as bytes, shown as what cannot be mistaken for text.
                        let symbols = base64(e.as_bytes());
                        format!("base64:{}", String::from_utf8_lossy(&symbols))
                    }
                }
            }
        }
    };
    let json = Json::object([
        ("status", Json::int(i64::from(answer.status))),
        ("status_text", Json::str(status_text)),
        ("headers", Json::object(headers.into_iter().map(|(k, v)| (k, Json::str(v))))),
        ("body", Json::str(body)),
        ("redactions", Json::Bool(!found.is_empty())),
    ]);
    Shown { json, found }
}

fn withheld(why: &str) -> String {
    format!("[WITHHELD: {}] {why}", Code::SecretInResult.as_str())
}

#[async_trait]
impl Downstream for Fetch {
    async fn ready(&self, _call: &ToolCall) -> Result<(), Unready> {
        Ok(())
    }

    async fn perform(&self, permit: Permit, call: &ToolCall) -> Result<Raw<Reply>, PerformError> {
        let spent = permit.spend(call, self.clock.elapsed()).map_err(PerformError::Permit)?;
        let stop = |stop: Stop| PerformError::Own(stop.0, stop.text());
        let request = fetch::Request::read(call.args()).map_err(|fault| stop(fault.code.into()))?;
        let name = request.secret.as_str().to_owned();
        let ending = Arc::new(Notify::new());
        locked(&self.running).insert(call.id(), Arc::clone(&ending));
        let lane = Arc::clone(locked(&self.lanes).entry(name).or_default());
        let work = async {
            // Whoever tries values of one secret does so one after the other.
            let _one = lane.lock().await;
            let opened =
                self.secrets.open(&request.secret, Authority::Call(&spent)).await.map_err(Stop::from)?;
            self.fetched(call, &request, &opened).await
        };
        let done = tokio::select! {
            biased;
            () = ending.notified() => None,
            done = work => Some(done),
        };
        locked(&self.running).remove(&call.id());
        match done {
            Some(done) => done.map(|text| Raw::new(Reply::Text(text))).map_err(stop),
            None => Err(PerformError::Unknown("the request was broken off".to_owned())),
        }
    }

    async fn cancel(&self, call: CallId) {
        if let Some(ending) = locked(&self.running).get(&call) {
            ending.notify_one();
        }
    }

    async fn records(&self, call: CallId) -> Vec<Draft> {
        locked(&self.told).remove(&call).unwrap_or_default()
    }
}
