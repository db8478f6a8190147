//! The hand of `send_email`: key, carrier, answer (email.md 10, 11, 16).
//!
//! What was judged is looked at once more, the key is opened under the call's permit and bound to the carrier, and every
//! way out is one of the eight ends, counted once. The key's forms are gathered before anything is sent; of a provider's
//! words only those about the mail go on, without them. Where it stops: whether the mail may go out was judged.

pub mod key;
mod resend;
pub mod smtp;

use crate::http::Http;
use async_trait::async_trait;
use countersign_core::call::ToolCall;
use countersign_core::cleanse::{Known, Lately, MARKER, Raw, Reply, clean_line};
use countersign_core::code::Code;
use countersign_core::digest::Digest;
use countersign_core::event::{Draft, Event, int, text, word};
use countersign_core::ids::CallId;
use countersign_core::json::Json;
use countersign_core::mail::answer::{DOWN, End, Failed, NO_KEY, REFUSED_KEY, UNSURE};
use countersign_core::mail::rules::{MailRules, purpose};
use countersign_core::mail::{Message, sends::Sends};
use countersign_core::vault::binding::{Authority, Method, Placement, Use};
use countersign_gate::permit::{Permit, Spent};
use countersign_gate::seams::{Begun, Clock, Downstream, Keeper, PerformError};
use key::{Key, KeyFrom, NoKey};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use url::Url;

/// How long a provider that is still busy with the same mail is left alone before it is asked once more.
const BUSY: Duration = Duration::from_secs(1);
const MAX_WORDS: usize = 1_024;
const SAME: &str = "another mail with the same recipients and subject was sent today; change the subject";

/// Who carries mail.
pub enum Carrier {
    /// Resend's interface at this address.
    Resend(Url),
    /// A mail server.
    Smtp(smtp::Server),
}

/// What configuration says of sending.
pub struct MailSetup {
    /// Who sends, and whom it may reach.
    pub rules: MailRules,
    /// Who carries it.
    pub carrier: Carrier,
    /// Where the key comes from.
    pub key: KeyFrom,
    /// It may be carried by a stand-in on this machine.
    pub test_mode: bool,
    /// It is not carried.
    pub dry_run: bool,
    /// Id of the project.
    pub project: String,
}

/// Sends mail.
pub struct Mail {
    setup: MailSetup,
    keeper: Arc<dyn Keeper>,
    http: Http,
    lately: Arc<Lately>,
    clock: Arc<dyn Clock>,
    sends: Arc<Sends>,
    /// Running calls, to be told to end.
    running: Mutex<HashMap<CallId, Arc<Notify>>>,
    /// What the log is to be told.
    told: Mutex<HashMap<CallId, Vec<Draft>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A mail that was accepted, or would have been.
struct Accepted {
    id: Option<String>,
}

/// What is known of an attempt while it is made.
#[derive(Default)]
struct Trail {
    /// Something may have left.
    begun: AtomicBool,
    /// Why there was no key, for the log.
    no_key: Mutex<Option<Code>>,
    known: Mutex<Option<Arc<Known>>>,
}

impl Mail {
    /// A hand that sends as `setup` says and counts in `sends`.
    pub fn new(
        setup: MailSetup,
        keeper: Arc<dyn Keeper>,
        http: Http,
        lately: Arc<Lately>,
        clock: Arc<dyn Clock>,
        sends: Arc<Sends>,
    ) -> Mail {
        let (running, told) = (Mutex::default(), Mutex::default());
        Mail { setup, keeper, http, lately, clock, sends, running, told }
    }

    fn tell(&self, call: &ToolCall, event: Event, keys: Vec<(&'static str, Option<Json>)>) {
        let draft = Draft::new(event, keys).call(call.id());
        locked(&self.told).entry(call.id()).or_default().push(draft);
    }

    async fn sent(
        &self,
        call: &ToolCall,
        spent: &Spent,
        message: &Message,
        trail: &Trail,
    ) -> Result<Accepted, Failed> {
        let rules = &self.setup.rules;
        // The rules may have been read anew since this process began; both have to agree.
        if let Some(_denied) = rules.denied(message) {
            return Err(Failed::new(End::RecipientDenied, "mail may not be sent to one of these addresses"));
        }
        if spent.mails_today().is_none_or(|n| n > rules.daily_cap) {
            return Err(Failed::new(
                End::RateLimitedLocal,
                "the mails of this day are used up; the count resets at 00:00 UTC",
            ));
        }
        let idempotency_key = rules.key(message, spent.at());
        match &self.setup.carrier {
            Carrier::Resend(base) => {
                let place = resend::place(base).ok_or(Failed::new(End::ServiceDown, DOWN))?;
                let key = self.key(call, spent, &place.1, &Placement::Bearer, place.0.path(), trail).await?;
                if self.setup.dry_run {
                    return Ok(Accepted { id: None });
                }
                let body = self.body(message);
                let mut tries = 0;
                loop {
                    trail.begun.store(true, Ordering::SeqCst);
                    let by = (&place.0, &place.1);
                    let test = self.setup.test_mode;
                    let (status, answer) =
                        resend::post(&self.http, by, &key, &idempotency_key, &body, test).await;
                    self.used(call, &key, &place.1, place.0.path(), status);
                    match answer {
                        Ok(id) => return Ok(Accepted { id: Some(id) }),
                        Err(failed) if failed.again && tries == 0 => {
                            tries += 1;
                            self.clock.sleep(BUSY).await;
                        }
                        Err(failed) => {
                            if failed.end == End::AuthFailed {
                                self.setup.key.refused(key.generation).await;
                            }
                            return Err(failed);
                        }
                    }
                }
            }
            Carrier::Smtp(server) => {
                let letter = smtp::write(server, rules, message, &idempotency_key, spent.at())?;
                let key = self.key(call, spent, &server.at, &Placement::Basic, "/", trail).await?;
                if self.setup.dry_run {
                    return Ok(Accepted { id: None });
                }
                let id = Some(smtp::id(rules, &idempotency_key));
                let payload = Digest::of("countersign-mail-v1", &[self.body(message).canonical().as_bytes()]);
                let begun = self.keeper.mail_begins(&idempotency_key, &payload.to_string()).await;
                match begun.map_err(|_| Failed::new(End::ServiceDown, DOWN))? {
                    Begun::Taken => {}
                    Begun::Sent => return Ok(Accepted { id }),
                    Begun::Other => return Err(Failed::new(End::ValidationError, SAME)),
                    Begun::Open => {
                        return Err(Failed::new(
                            End::ServiceDown,
                            "this mail may have gone out already, so it is not sent again today",
                        ));
                    }
                }
                trail.begun.store(true, Ordering::SeqCst);
                let mut allow = key.allow_private.clone();
                if self.setup.test_mode {
                    allow.extend(key::here());
                }
                let done = smtp::send(&self.http, server, &key, &letter, &allow).await;
                self.used(call, &key, &server.at, "/", 0);
                match done {
                    Ok(()) => {
                        // Whatever the store says: it went out, and a key that stays taken lets no second one out.
                        let _ = self.keeper.mail_ended(&idempotency_key, true).await;
                        Ok(Accepted { id })
                    }
                    Err(failed) => {
                        if !failed.unsure {
                            let _ = self.keeper.mail_ended(&idempotency_key, false).await;
                        }
                        if failed.end == End::AuthFailed {
                            self.setup.key.refused(key.generation).await;
                        }
                        Err(failed)
                    }
                }
            }
        }
    }

    async fn key(
        &self,
        call: &ToolCall,
        spent: &Spent,
        authority: &Authority,
        placement: &Placement,
        path: &str,
        trail: &Trail,
    ) -> Result<Key, Failed> {
        let by = Use {
            authority,
            method: Method::Post,
            path,
            placement,
            project: &self.setup.project,
            now: spent.at(),
        };
        let key = self.setup.key.get(spent, &call.parts().principal.id(), &by).await;
        let key = key.map_err(|no_key| match no_key {
            NoKey::Refused => Failed::new(End::AuthFailed, REFUSED_KEY),
            NoKey::Unavailable(code) => {
                *locked(&trail.no_key) = Some(code);
                Failed::new(End::KeyUnavailable, NO_KEY)
            }
        })?;
        self.lately.note(&key.known);
        *locked(&trail.known) = Some(Arc::clone(&key.known));
        Ok(key)
    }

    fn used(&self, call: &ToolCall, key: &Key, authority: &Authority, path: &str, status: u16) {
        let Some((name, rotation_id)) = &key.named else { return };
        self.tell(
            call,
            Event::SecretUsed,
            vec![
                ("name", text(&clean_line(name, 128))),
                ("rotation_id", word(rotation_id)),
                ("authority", word(authority)),
                ("method", word(Method::Post.as_str())),
                ("path", text(&clean_line(path, 1_024))),
                ("status", int(i64::from(status))),
            ],
        );
    }

    /// The mail as the provider's interface takes it: lists are lists, what is absent is left out.
    fn body(&self, message: &Message) -> Json {
        let rules = &self.setup.rules;
        let mut body = Json::object([
            ("from", Json::str(rules.from())),
            ("to", Json::strings(&message.to)),
            ("subject", Json::str(&message.subject)),
            ("text", Json::str(&message.text)),
            ("reply_to", Json::strings(rules.reply_to(message))),
        ]);
        if let Some(html) = &message.html {
            body.set("html", Json::str(html));
        }
        for (key, list) in [("cc", &message.cc), ("bcc", &message.bcc)] {
            if !list.is_empty() {
                body.set(key, Json::strings(list));
            }
        }
        let tags = rules.tags(message.purpose.as_deref());
        let tag = |(name, value): (&str, String)| {
            Json::object([("name", Json::str(name)), ("value", Json::str(value))])
        };
        body.set("tags", Json::Array(tags.into_iter().map(tag).collect()));
        body
    }

    fn answer(&self, message: &Message, accepted: &Accepted, today: u32) -> String {
        let rules = &self.setup.rules;
        let mut out = Json::object([("sent", Json::Bool(!self.setup.dry_run))]);
        if self.setup.dry_run {
            out.set("dry_run", Json::Bool(true));
        }
        if let Some(id) = &accepted.id {
            out.set("id", Json::str(id));
        }
        out.set("from", Json::str(&rules.address));
        out.set("to", Json::strings(&message.to));
        out.set("subject", Json::str(&message.subject));
        out.set("remaining", Json::int(i64::from(rules.daily_cap.saturating_sub(today))));
        out.canonical()
    }

    /// The one place that counts a call that was performed and tells the log of it.
    fn ended(
        &self,
        call: &ToolCall,
        message: Option<&Message>,
        done: &Result<Accepted, Failed>,
        trail: &Trail,
    ) {
        let end = done.as_ref().map_or_else(|failed| failed.end, |_| End::Ok);
        let said = message.and_then(|m| m.purpose.as_deref());
        if !self.setup.dry_run {
            self.sends.add(end, said, Some(&self.setup.rules));
        }
        let recipients = message.map_or(0, |m| m.recipients().count());
        let answers = message.map(|m| self.setup.rules.reply_to(m).join(", "));
        let id = done.as_ref().ok().and_then(|accepted| accepted.id.as_deref());
        self.tell(
            call,
            Event::MailSent,
            vec![
                ("outcome", word(end.as_str())),
                ("recipients", int(i64::try_from(recipients).unwrap_or(i64::MAX))),
                ("purpose", word(purpose(said))),
                ("id", id.and_then(|id| text(&clean_line(id, 300)))),
                ("reply_to", answers.and_then(|to| text(&clean_line(&to, 400)))),
                ("dry_run", self.setup.dry_run.then_some(Json::Bool(true))),
                ("code", locked(&trail.no_key).and_then(|code| word(code.as_str()))),
            ],
        );
    }
}

/// The end of a future; a panic in it is `None`, and nothing of it is shown.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Some(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// A provider's own words, without what is known of secrets, on one line.
fn words(said: &str, known: Option<&Known>) -> String {
    let scrubbed = known.and_then(|known| known.scrub_text(said)).map(|(text, _)| text);
    let text = scrubbed.as_deref().unwrap_or(said);
    if known.is_some_and(|known| known.remains(text.as_bytes())) {
        return MARKER.to_owned();
    }
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    let mut short = String::new();
    for c in plain.chars() {
        if short.len() + c.len_utf8() > MAX_WORDS {
            break;
        }
        short.push(c);
    }
    short
}

fn refused(failed: &Failed, known: Option<&Known>) -> PerformError {
    let why = match &failed.why {
        Ok(ours) => (*ours).to_owned(),
        Err(theirs) => words(theirs, known),
    };
    let mut out = Json::object([("error", Json::str(why)), ("error_kind", Json::str(failed.end.as_str()))]);
    if let Some(seconds) = failed.retry_after_s {
        out.set("retry_after_s", Json::Number(seconds.to_string()));
    }
    let code = failed.end.code().unwrap_or(Code::ServiceDown);
    match failed.unsure {
        true => PerformError::Unsure(code, out.canonical()),
        false => PerformError::Own(code, out.canonical()),
    }
}

#[async_trait]
impl Downstream for Mail {
    async fn perform(&self, permit: Permit, call: &ToolCall) -> Result<Raw<Reply>, PerformError> {
        let spent = permit.spend(call, self.clock.elapsed()).map_err(PerformError::Permit)?;
        let trail = Trail::default();
        let message = match Message::read(call.args()) {
            Ok(message) => message,
            Err(fault) => {
                let failed = Failed { why: Err(fault.why), ..Failed::new(End::ValidationError, DOWN) };
                let error = refused(&failed, None);
                self.ended(call, None, &Err(failed), &trail);
                return Err(error);
            }
        };
        let ending = Arc::new(Notify::new());
        locked(&self.running).insert(call.id(), Arc::clone(&ending));
        let open = || match trail.begun.load(Ordering::SeqCst) {
            true => Failed::unsure(UNSURE),
            false => Failed::new(End::ServiceDown, DOWN),
        };
        let done = tokio::select! {
            biased;
            () = ending.notified() => Err(open()),
            done = caught(self.sent(call, &spent, &message, &trail)) => done.unwrap_or_else(|| Err(open())),
        };
        locked(&self.running).remove(&call.id());
        self.ended(call, Some(&message), &done, &trail);
        let known = locked(&trail.known).clone();
        match done {
            Ok(accepted) => {
                let today = spent.mails_today().unwrap_or(u32::MAX);
                Ok(Raw::new(Reply::Text(self.answer(&message, &accepted, today))))
            }
            Err(failed) => Err(refused(&failed, known.as_deref())),
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
