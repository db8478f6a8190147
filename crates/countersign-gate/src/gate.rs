//! The path of a call: one read, one pure function, one write; then refuse, wait or go on.
//!
//! [`Gate::judge`] walks it for doors whose client performs the call itself (hooks, `decide`); [`Gate::call`] walks
//! it to the end for calls that the gate performs. Both are readable from top to bottom. The words S1 to S7 are those
//! of DECISIONS section 2. Where it stops: what the rules say is `core::judge`; waiting for a person is `desk`.

use crate::desk::{self, Waited};
use crate::permit::Permit;
use crate::seams::{
    Authority, CallRef, Clock, CommitError, Downstream, Gateway, HookKey, Keeper, Opened, PerformError,
    RuleSource, SecretSource, Store, StoreError,
};
use crate::told;
use async_trait::async_trait;
use countersign_core::approval::scope::Scope;
use countersign_core::approval::{Status, Strand, Wait, hold_s};
use countersign_core::call::{Session, ToolCall};
use countersign_core::cleanse::injection::{self, Finding};
use countersign_core::cleanse::{Catalogue, Clean, Lately, Reply, clean_line};
use countersign_core::code::Code;
use countersign_core::digest::MacKey;
use countersign_core::event::{Draft, Event, int, text, word};
use countersign_core::facts::ground::Ground;
use countersign_core::facts::tools::Tier;
use countersign_core::facts::{FactError, Facts, Own, tools};
use countersign_core::ids::{ApprovalId, CallId, TaskId};
use countersign_core::json::Json;
use countersign_core::judge::{Judgement, Rules, Step, Terms, Verdict, judge};
use countersign_core::ledger::{
    AgentProcess, Approval, CallKey, CallOutcome, CallRow, Change, Halt, HoldEnd, Ledger, NewRequest, Op,
    OpenTask, Outcome,
};
use countersign_core::principal::Principal;
use countersign_core::rulebook::settings::RuleSettings;
use countersign_core::rulebook::{ENGINE, Rulebook};
use countersign_core::secrets_gateway;
use countersign_core::time::Timestamp;
use countersign_core::{fetch, notes};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// A moved ledger is judged again this often, then the call is refused.
const MAX_ROUNDS: usize = 3;

/// The rulebook in force, or why there is none.
#[derive(Clone)]
pub enum Book {
    /// It loaded and is accepted.
    InForce(Arc<Rulebook>),
    /// Every call is refused with this reason.
    Invalid(Clean),
}

impl Book {
    /// The rulebook, if one is in force.
    pub fn rulebook(&self) -> Option<&Rulebook> {
        match self {
            Book::InForce(book) => Some(book),
            Book::Invalid(_) => None,
        }
    }

    fn settings(&self) -> Option<&RuleSettings> {
        self.rulebook().map(Rulebook::settings)
    }
}

/// A call with the rules that are in force for it and the facts that these are asked about: one of each from the read
/// to the write, whatever changes meanwhile.
struct Basis<'a> {
    call: &'a ToolCall,
    book: Book,
    facts: Result<Facts, FactError>,
}

/// How much of a call's arguments the log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// A keyed digest and the size.
    Digest,
    /// The cleansed form too.
    Redacted,
}

/// Longest answer of a server where no configuration loads (NAMES, `cleanse.result_bytes`).
const DEFAULT_RESULT_BYTES: usize = 524_288;

/// Longest cleansed form of arguments in a record, in characters.
const CAPTURE_CHARS: usize = 4_096;

/// How often a halt is looked for while a tool of the gate runs, at the least.
const HALT_LOOK: Duration = Duration::from_secs(1);

/// How long a caller can be held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// The client gives up on us after this long, counted from the start of the call. `None`: never.
    pub client_limit_s: Option<i64>,
    /// Held at most this long by configuration. `None`: as long as the window.
    pub hold_s: Option<i64>,
    /// Whether the caller still listens. `None`: it always does.
    pub listens: Option<fn() -> bool>,
}

/// Whoever waits for an answer, as far as waiting concerns it. The methods do nothing by themselves.
#[async_trait]
pub trait Caller: Send + Sync {
    /// A question holds the call; the caller may say so to whoever looks at it.
    fn held(&self, _held: &Held) {}

    /// Returns when the caller does not wait any more.
    async fn gone(&self) -> Leaving {
        std::future::pending().await
    }
}

/// How a caller that waits leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It takes its call back, and the question with it.
    TakesBack(Strand),
    /// Its line is lost, which is no no: the question can be answered, and the same call finds the answer (DECISIONS
    /// row 33).
    Lost,
}

/// A caller that waits and says nothing.
pub struct Silent;

impl Caller for Silent {}

/// What holds a call.
#[derive(Clone, Debug)]
pub struct Held {
    /// The question.
    pub approval_id: ApprovalId,
    /// Its deadline.
    pub expires_at: Timestamp,
    /// Why a person is needed.
    pub reason: Clean,
}

/// What came of a call that was performed.
#[derive(Clone, Debug)]
pub struct Performed {
    /// How it ended.
    pub outcome: CallOutcome,
    /// What may go out; the code when it is withheld.
    pub result: Result<Given, Code>,
    /// How many rules for orders to a model its result matched.
    pub patterns: usize,
}

/// A result that may go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Plain text.
    Text(Clean),
    /// A server's answer, whole, with the id that the hand gave it.
    Message(Clean),
}

/// What a door is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may run. `granted` tells that a person, a scope or a standing allow said so, rather than no rule.
    Allowed {
        /// A person's word stands behind it.
        granted: bool,
    },
    /// It may not.
    Refused {
        /// Why, as a stable word.
        code: Code,
    },
    /// A person is needed and has not answered; the same call may be made again later.
    Pending {
        /// The request.
        approval_id: ApprovalId,
        /// Its deadline.
        expires_at: Timestamp,
    },
}

impl Decision {
    /// The word on every wire.
    pub fn as_str(&self) -> &'static str {
        match self {
            Decision::Allowed { .. } => "allowed",
            Decision::Refused { .. } => "refused",
            Decision::Pending { .. } => "pending",
        }
    }
}

/// A decision with everything an answer may show.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The call.
    pub call_id: CallId,
    /// What the door is told.
    pub decision: Decision,
    /// What the rules said last.
    pub verdict: &'static str,
    /// The step that decided.
    pub step: Step,
    /// Why, cleansed, at most 500 characters.
    pub reason: Clean,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// In watch mode: the verdict that was not enforced.
    pub would: Option<&'static str>,
}

/// The gate of one project.
pub struct Gate {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    book: RwLock<Book>,
    rules: Option<Arc<dyn RuleSource>>,
    mac: MacKey,
    capture: Capture,
    owner: String,
    pub(crate) keeper: Option<Arc<dyn Keeper>>,
    pub(crate) lately: Arc<Lately>,
}

/// How a call is asked for.
struct Asking<'a> {
    patience: Patience,
    agent: Option<AgentProcess>,
    caller: &'a dyn Caller,
    /// Who will perform it, when that is us.
    hand: Option<&'a dyn Downstream>,
}

/// The end of whichever comes first; the other is dropped.
pub(crate) async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    std::future::poll_fn(move |cx| match one.as_mut().poll(cx) {
        std::task::Poll::Ready(done) => std::task::Poll::Ready(done),
        std::task::Poll::Pending => other.as_mut().poll(cx),
    })
    .await
}

fn sends_mail(facts: &Result<Facts, FactError>) -> bool {
    matches!(facts, Ok(Facts { own: Some(Ok(Own::Mail(_))), .. }))
}

/// One walk from the read to the write.
enum Round {
    Done(Answered, Option<Permit>),
    Ask { answered: Answered, approval_id: ApprovalId, expires_at: Timestamp, now: Timestamp, wait: Wait },
}

/// The request whose answer brought the walk back: the second judgement takes it.
#[derive(Clone, Copy)]
struct Back {
    approval_id: ApprovalId,
    /// The answer landed while the caller was already leaving.
    late: bool,
}

/// Everything a round knows when it puts its change together.
struct Seen<'a> {
    basis: &'a Basis<'a>,
    ledger: &'a Ledger,
    judgement: &'a Judgement,
    held: Option<Back>,
    patience: Patience,
}

impl Gate {
    /// Puts a gate together. `owner` is the person who may decide, `mac` the key of keyed digests in the log.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        book: Book,
        mac: MacKey,
        capture: Capture,
        owner: String,
    ) -> Gate {
        let lately = Arc::default();
        Gate { store, clock, book: RwLock::new(book), rules: None, mac, capture, owner, keeper: None, lately }
    }

    /// Gives the gate what belongs to the user: without it no secret is known, so no grant for one counts.
    pub fn keeping(mut self, keeper: Arc<dyn Keeper>) -> Gate {
        self.keeper = Some(keeper);
        self
    }

    /// Secret values that were used in this process. They are looked for in what every tool brings back.
    pub fn lately(&self) -> Arc<Lately> {
        Arc::clone(&self.lately)
    }

    /// Lets the gate ask for newer rules before it judges a call: for processes that live longer than the rules.
    pub fn following(mut self, rules: Arc<dyn RuleSource>) -> Gate {
        self.rules = Some(rules);
        self
    }

    /// What stops everything right now.
    pub async fn halt(&self) -> Result<Halt, StoreError> {
        self.store.halt().await
    }

    /// The rulebook in force.
    pub fn rulebook(&self) -> Option<Arc<Rulebook>> {
        match self.book() {
            Book::InForce(book) => Some(book),
            Book::Invalid(_) => None,
        }
    }

    pub(crate) fn book(&self) -> Book {
        self.book.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn newest_book(&self) -> Book {
        if let Some(rules) = &self.rules
            && let Some(newer) = rules.newer().await
        {
            *self.book.write().unwrap_or_else(PoisonError::into_inner) = newer;
        }
        self.book()
    }

    fn basis<'a>(&self, call: &'a ToolCall, book: Book) -> Basis<'a> {
        let facts = Facts::of(call, book.settings().map_or(&Ground::default(), |s| &s.ground));
        Basis { call, book, facts }
    }

    /// Decides a call that its client will perform, holding the caller as patience allows. `agent` is the process the
    /// session's agent runs in, if the door knows it. The answer comes within the permit's life after the allow was
    /// recorded, or it is a refusal.
    pub async fn judge(&self, call: &ToolCall, patience: Patience, agent: Option<AgentProcess>) -> Answered {
        let by = Asking { patience, agent, caller: &Silent, hand: None };
        let (mut answered, permit) = self.walk(call, &by).await;
        if let Some(permit) = permit
            && let Err(code) = permit.spend(call, self.clock.elapsed())
        {
            answered.decision = Decision::Refused { code };
            answered.reason = Clean::fixed("the allow could not be given in time; repeat the call");
        }
        answered
    }

    /// Decides a call and performs it. What comes back is cleansed, and withheld when its outcome
    /// cannot be recorded. A caller that takes its call back while it runs makes the hand cancel it; the end is
    /// recorded all the same.
    pub async fn call(
        &self,
        call: &ToolCall,
        patience: Patience,
        caller: &dyn Caller,
        hand: &dyn Downstream,
    ) -> (Answered, Option<Performed>) {
        let by = Asking { patience, agent: None, caller, hand: Some(hand) };
        let (answered, permit) = self.walk(call, &by).await;
        let Some(permit) = permit else { return (answered, None) };
        let started = self.clock.elapsed();
        let performing = hand.perform(permit, call);
        let cancelling = async {
            if caller.gone().await != Leaving::Lost {
                hand.cancel(call.id()).await;
            }
            std::future::pending().await
        };
        let halting = async {
            // Running calls end by themselves; what is done with a secret does not (DECISIONS row 59).
            if !tools::MAIN_ONLY.contains(&call.tool()) {
                std::future::pending::<()>().await;
            }
            while matches!(self.store.halt().await, Ok(Halt::Absent)) {
                self.store.changed(HALT_LOOK).await;
            }
            hand.cancel(call.id()).await;
            std::future::pending().await
        };
        let performed = first(performing, first(cancelling, halting)).await;
        let duration_ms = i64::try_from((self.clock.elapsed() - started).as_millis()).ok();
        // S7: cleanse, record, answer; a result whose outcome has no record stays inside.
        let max_bytes = match tools::MAIN_ONLY.contains(&call.tool()) {
            // They keep to limits of their own, and are never cut.
            true => countersign_core::rpc::MAX_FRAME_BYTES,
            false => self.rulebook().map_or(DEFAULT_RESULT_BYTES, |b| b.settings().result_bytes),
        };
        let mut redactions = Vec::new();
        let mut injection = None;
        let (outcome, code, result) = match &performed {
            Ok(raw) => {
                let cleansed = self.catalogue().reply(raw, max_bytes);
                // What a foreign host or a note said is looked at like a server's answer; our own words are not.
                let orders = match raw.inner() {
                    Reply::Text(text) if [fetch::TOOL, notes::TOOL].contains(&call.tool()) => {
                        injection::scan(text)
                    }
                    _ => cleansed.orders,
                };
                // Whatever was asked of a host, its answer is something that was read.
                let tier = if call.tool() == fetch::TOOL { Tier::Read } else { self.tier(call) };
                injection = orders.classify(Some(tier));
                redactions = cleansed.redactions;
                let text = self.lately.clean(cleansed.text);
                let given = match raw.inner() {
                    Reply::Text(_) => Given::Text(text),
                    Reply::Message(_) => Given::Message(text),
                };
                // A note is wrapped as data and a person wrote it: it is flagged, and given all the same (DECISIONS row 67).
                let kept = match call.tool() {
                    notes::TOOL => None,
                    _ => injection.as_ref().and_then(|found| self.keeps_back(found)),
                };
                match (kept, cleansed.failed) {
                    (Some(code), _) => (CallOutcome::Withheld, Some(code), Err(code)),
                    (None, true) => (CallOutcome::Error, Some(Code::ServerError), Ok(given)),
                    (None, false) => (CallOutcome::Ok, None, Ok(given)),
                }
            }
            Err(PerformError::Failed(why)) => {
                (CallOutcome::Error, Some(Code::ServerError), Ok(Given::Text(clean_line(why, 2_000))))
            }
            Err(failed @ (PerformError::Own(code, text) | PerformError::Unsure(code, text))) => {
                let text = self.lately.clean(self.catalogue().text(text));
                let outcome = match failed {
                    PerformError::Unsure(..) => CallOutcome::Unknown,
                    _ => CallOutcome::Error,
                };
                (outcome, Some(*code), Ok(Given::Text(text)))
            }
            Err(PerformError::Permit(code)) => (CallOutcome::Error, Some(*code), Err(*code)),
            Err(PerformError::Unreadable(_)) => {
                (CallOutcome::Withheld, Some(Code::ScanIncomplete), Err(Code::ScanIncomplete))
            }
            Err(PerformError::TimedOut(_)) => {
                (CallOutcome::Unknown, Some(Code::ServerTimeout), Err(Code::ServerTimeout))
            }
            Err(PerformError::Unknown(_)) => {
                (CallOutcome::Unknown, Some(Code::OutcomeUnknown), Err(Code::OutcomeUnknown))
            }
        };
        let bytes = performed.as_ref().map_or(0, |raw| raw.inner().as_ref().len());
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let patterns = injection.as_ref().map_or(0, |found| found.matched_patterns.len());
        let records = hand.records(call.id()).await;
        let ended = Outcome { outcome, code, duration_ms, bytes, redactions, injection, records };
        let recorded = self.store.observe(&CallRef::Id(call.id()), ended).await;
        let result = match recorded {
            Ok(Some(_)) => result,
            Ok(None) | Err(_) => Err(Code::OutcomeUnrecorded),
        };
        (answered, Some(Performed { outcome, result, patterns }))
    }

    /// Reads a secret for a node of our own: the call is judged and recorded, and the secret opened under its permit, so
    /// there is no fourth reason to open one (DECISIONS row 83). This is the one way on which a value leaves uncleansed;
    /// the judge has it for nodes alone.
    pub async fn read_secret(&self, call: &ToolCall, secrets: &dyn SecretSource) -> Result<Opened, Code> {
        if !matches!(call.parts().principal, Principal::Node { .. }) || call.tool() != secrets_gateway::TOOL {
            return Err(Code::Internal);
        }
        let patience = Patience { hold_s: Some(0), ..Patience::default() };
        let by = Asking { patience, agent: None, caller: &Silent, hand: None };
        let (answered, permit) = self.walk(call, &by).await;
        let Some(permit) = permit else {
            secrets.rehearse().await;
            return Err(match answered.decision {
                Decision::Refused { code } => code,
                Decision::Allowed { .. } | Decision::Pending { .. } => Code::ApprovalRequired,
            });
        };
        // What is no name was refused like a name that nobody has, and recorded: the floor lets none pass.
        let Ok(name) = secrets_gateway::read(call.args()) else { return Err(Code::Internal) };
        let opened = match permit.spend(call, self.clock.elapsed()) {
            Ok(spent) => secrets.open(&name, Authority::Call(&spent)).await,
            Err(code) => Err(code),
        };
        // It leaves for good here, so what is over, held back or bound to one project does not.
        let opened = match opened {
            Ok(opened) if opened.binding.expires_at.is_some_and(|end| opened.opened_at >= end) => {
                Err(Code::SecretNotBound)
            }
            Ok(opened) if !opened.binding.projects.is_empty() => Err(Code::SecretNotBound),
            Ok(opened) => match &self.keeper {
                Some(keeper) => match keeper.secret(&name).await {
                    Ok(view) if !view.quarantined => Ok(opened),
                    Ok(_) => Err(Code::SecretQuarantined),
                    Err(e) => Err(e.code()),
                },
                None => Err(Code::SecretNotFound),
            },
            Err(code) => Err(code),
        };
        let code = opened.as_ref().err().copied();
        let read = Draft::new(
            Event::SecretUsed,
            [
                ("name", text(&clean_line(name.as_str(), 128))),
                ("rotation_id", opened.as_ref().ok().and_then(|o| word(&o.rotation_id))),
                ("result", word(code.map_or("ok", Code::as_str))),
            ],
        );
        let ended = Outcome {
            outcome: if code.is_some() { CallOutcome::Error } else { CallOutcome::Ok },
            code,
            duration_ms: None,
            // How long a value is says something of it.
            bytes: 0,
            redactions: Vec::new(),
            injection: None,
            records: vec![read.call(call.id())],
        };
        match self.store.observe(&CallRef::Id(call.id()), ended).await {
            Ok(Some(_)) => opened,
            Ok(None) | Err(_) => Err(Code::OutcomeUnrecorded),
        }
    }

    /// What counts as a secret here.
    pub fn catalogue(&self) -> Catalogue {
        self.rulebook().map_or(Catalogue::BUILT_IN, |book| book.settings().catalogue.clone())
    }

    /// The code with which a flagged result is kept back. Where rules only watch, it passes and is recorded.
    pub fn keeps_back(&self, found: &Finding) -> Option<Code> {
        let book = self.rulebook();
        let settings = book.as_ref().map(|book| book.settings());
        if settings.is_some_and(|s| s.mode == countersign_core::rulebook::settings::Mode::Watch) {
            return None;
        }
        settings.map(|s| s.injection).unwrap_or_default().of(found)
    }

    fn tier(&self, call: &ToolCall) -> Tier {
        // Facts that cannot be had leave the tier unknown, which counts as reading: one match is enough.
        self.basis(call, self.book()).facts.map_or(Tier::Read, |facts| facts.tier)
    }

    /// The end of a call that its client performed. `false` when no such call is open.
    pub async fn observe(&self, call: &CallRef, outcome: Outcome) -> Result<Option<CallId>, StoreError> {
        self.store.observe(call, outcome).await
    }

    /// The end of a session.
    pub async fn end_session(&self, session: &Session) -> Result<Option<TaskId>, StoreError> {
        self.store.end_session(session).await
    }

    /// Parked requests of a session that were decided and not yet told.
    pub async fn tell(&self, session: &Session) -> Result<Vec<Approval>, StoreError> {
        self.store.tell(session).await
    }

    /// Whether a person or a scope stands behind a call that a hook let pass: for clients that ask once more before they
    /// run it. Nothing is written and nothing is spent; a single-use yes was spent by the hook of the same call, and is
    /// looked up among the answers.
    pub async fn granted(&self, call: &ToolCall) -> Result<bool, StoreError> {
        let Some(book) = self.rulebook() else { return Ok(false) };
        let settings = book.settings();
        let basis = self.basis(call, Book::InForce(Arc::clone(&book)));
        let mut ledger = self.store.ledger(&self.key(&basis)).await?;
        self.look_up_secret(&basis, &mut ledger).await?;
        let judged = self.judged(&basis, &ledger);
        // A yes that is not spent yet belongs to a call that the hook has not seen.
        if matches!(judged.verdict, Verdict::Deny(_)) || judged.spend.is_some() {
            return Ok(false);
        }
        if judged.verdict == Verdict::Allow && judged.granted {
            return Ok(true);
        }
        let answers = self.store.approvals(100).await?;
        Ok(answers.iter().any(|a| {
            a.status == Status::Approved
                && a.scope == Some(Scope::ThisCall)
                && a.request.call_digest == call.call_digest()
                && a.request.rulebook_digest == book.digest()
                && a.decided_at
                    .is_some_and(|at| ledger.now <= at.plus_s(settings.grant_ttl_s).max(a.expires_at))
        }))
    }

    /// The client's hook let this very call pass a moment ago: its id and the principal it was judged for.
    pub async fn hooked(&self, call: &ToolCall) -> Result<Option<(CallId, String)>, StoreError> {
        let Some(tool_use_id) = call.parts().tool_use_id.clone() else { return Ok(None) };
        let key = HookKey {
            client: call.parts().session.client,
            tool_use_id,
            tool: call.tool().to_owned(),
            args_digest: call.args_digest(),
        };
        self.store.hooked(&key).await
    }

    /// Writes down that a gateway lives, so that its calls do not stay open when it is killed, and the process that its
    /// client runs in.
    pub async fn open_gateway(
        &self,
        gateway: &Gateway,
        agent: Option<AgentProcess>,
    ) -> Result<(), CommitError> {
        let mut ops = vec![Op::Gateway(gateway.process.clone(), gateway.session.clone())];
        ops.extend(agent.map(Op::Agent));
        self.store.commit(Change { ops, ..Change::default() }).await.map(|_| ())
    }

    /// The newest records of a call, oldest first; looked for among the last ten thousand.
    pub async fn records_of(&self, call: CallId) -> Result<Vec<String>, StoreError> {
        let (head, _) = self.store.head().await?;
        let rows = self.store.records(head.saturating_sub(10_000), 10_000).await?;
        // Inside a text of the record the quotes would be escaped.
        let named = format!("\"call_id\":\"{call}\"");
        Ok(rows.into_iter().filter(|row| row.body.contains(&named)).map(|row| row.body).collect())
    }

    /// A remark in the log.
    pub async fn note(&self, what: &str) -> Result<(), StoreError> {
        self.store.note(Draft::note(what)).await.map(|_| ())
    }

    /// Records a call that never became one: a malformed message of a client, or a verb that was refused.
    pub async fn refuse_unread(
        &self,
        door: &'static str,
        client: &'static str,
        tool: &Clean,
        code: Code,
        why: &Clean,
    ) -> Result<(), StoreError> {
        let draft = Draft::new(
            Event::CallJudged,
            [
                ("door", word(door)),
                ("client", word(client)),
                ("tool_name", text(tool)),
                ("verdict", word("deny")),
                ("decision", word("refused")),
                ("code", word(code.as_str())),
                ("step", word(Step::Door.as_str())),
                ("reason", text(why)),
            ],
        );
        self.store.note(draft.call(CallId(self.clock.fresh_id()))).await.map(|_| ())
    }

    /// S3 to S6.
    async fn walk(&self, call: &ToolCall, by: &Asking<'_>) -> (Answered, Option<Permit>) {
        let patience = by.patience;
        let started = self.clock.elapsed();
        let mut held: Option<Back> = None;
        loop {
            let basis = self.basis(call, self.newest_book().await);
            let round = self.round(&basis, held, by).await;
            let (answered, approval_id, expires_at, now, wait) = match round {
                Round::Done(answered, permit) => return (answered, permit),
                Round::Ask { answered, approval_id, expires_at, now, wait } => {
                    (answered, approval_id, expires_at, now, wait)
                }
            };
            let hold = match wait {
                Wait::Park => Duration::ZERO,
                Wait::Hold => self.hold(patience, started, now, expires_at),
            };
            if !hold.is_zero() {
                by.caller.held(&Held { approval_id, expires_at, reason: answered.reason.clone() });
            }
            let waited = desk::wait(self, approval_id, hold, expires_at, now, by.caller).await;
            let end = match waited {
                // An approval is a fact, not a path: the call is judged again and finds it (row 3).
                Waited::Approved => {
                    held = Some(Back { approval_id, late: false });
                    continue;
                }
                Waited::Moved => continue,
                Waited::Ended(end) => *end,
            };
            match self.leave(&basis, &answered, approval_id, end).await {
                Some(answered) => return (answered, None),
                // The answer landed while the caller was leaving: it counts.
                None => held = Some(Back { approval_id, late: true }),
            }
        }
    }

    fn hold(&self, patience: Patience, started: Duration, now: Timestamp, expires_at: Timestamp) -> Duration {
        let spent = i64::try_from((self.clock.elapsed() - started).as_secs()).unwrap_or(i64::MAX);
        let limit = patience.client_limit_s.map(|l| l.saturating_sub(spent));
        let left_s = expires_at.seconds_since(now).max(0);
        let (hold, _) = hold_s(left_s, limit, patience.hold_s.map(|h| h.saturating_sub(spent)));
        Duration::from_secs(hold.unsigned_abs())
    }

    async fn round(&self, basis: &Basis<'_>, held: Option<Back>, by: &Asking<'_>) -> Round {
        let call = basis.call;
        let patience = by.patience;
        for _ in 0..MAX_ROUNDS {
            // S3: one read.
            let key = self.key(basis);
            let mut ledger = match self.store.ledger(&key).await {
                Ok(ledger) => ledger,
                Err(e) => return self.blind(call, &e).await,
            };
            if let Err(e) = self.look_up_secret(basis, &mut ledger).await {
                return self.fault(call, e.code(), &e.to_string());
            }
            // J, and S4: judged in time.
            let mut judgement = self.judged(basis, &ledger);
            if let Some(hand) = by.hand
                && !matches!(judgement.verdict, Verdict::Deny(_))
                && let Err(unready) = hand.ready(call).await
            {
                let again = unready.retry_s.map(|s| format!("; try again in {s} s")).unwrap_or_default();
                let why = clean_line(&format!("the server cannot be reached: {}{again}", unready.why), 400);
                judgement = Judgement::refuse(Code::ServerUnavailable, Step::Ready, why);
            }
            if judgement.spend.is_some() && patience.listens.is_some_and(|listens| !listens()) {
                return self.fault(call, Code::Internal, "the caller went away before its yes was used");
            }
            // S5: one write.
            let seen = Seen { basis, ledger: &ledger, judgement: &judgement, held, patience };
            let (change, asked) = self.change(seen, key, by.agent.clone());
            let committed = match self.store.commit(change).await {
                Ok(committed) => committed,
                Err(CommitError::Moved) => continue,
                Err(CommitError::Limit(code)) => {
                    return self.late_limit(basis, &ledger, code).await;
                }
                // A refusal stands without its record: nothing runs, not even where faults pass.
                Err(CommitError::Store(_)) if matches!(judgement.verdict, Verdict::Deny(_)) => {
                    return Round::Done(self.answered(call, &judgement), None);
                }
                Err(CommitError::Store(e)) => return self.fault(call, e.code(), &e.to_string()),
            };
            let answered = self.answered(call, &judgement);
            return match (&judgement.verdict, asked) {
                (Verdict::Allow, _) => {
                    let permit = Permit::new(call, self.clock.elapsed(), &committed);
                    Round::Done(answered, Some(permit))
                }
                (Verdict::Deny(_), _) => Round::Done(answered, None),
                (Verdict::RequireApproval(terms), Some(approval_id)) => {
                    let known = ledger.open.as_ref().filter(|o| o.approval_id == approval_id);
                    let expires_at = committed
                        .expires_at
                        .or(known.map(|o| o.expires_at))
                        .unwrap_or_else(|| committed.at.plus_s(terms.timeout_s));
                    Round::Ask { answered, approval_id, expires_at, now: committed.at, wait: terms.wait }
                }
                (Verdict::RequireApproval(_), None) => {
                    self.fault(call, Code::Internal, "a question without a request")
                }
            };
        }
        self.fault(call, Code::Contention, "the state moved three times while this call was judged")
    }

    /// What is known of the secret that a call names. It is no guarded row: whoever opens the secret keeps to its
    /// binding once more.
    async fn look_up_secret(&self, basis: &Basis<'_>, ledger: &mut Ledger) -> Result<(), StoreError> {
        let Ok(Facts { own: Some(Ok(Own::Fetch(request))), .. }) = &basis.facts else { return Ok(()) };
        ledger.secret = match &self.keeper {
            Some(keeper) => Some(keeper.secret(&request.secret).await?),
            None => None,
        };
        Ok(())
    }

    fn key(&self, basis: &Basis<'_>) -> CallKey {
        let Basis { call, book, facts } = basis;
        let parts = call.parts();
        let mut paths: Vec<String> =
            facts.iter().flat_map(|f| &f.paths).flat_map(|p| [p.path.clone(), p.spelled.clone()]).collect();
        paths.sort();
        paths.dedup();
        CallKey {
            session: parts.session.clone(),
            principal: parts.principal.id(),
            tool: call.tool().to_owned(),
            args_digest: call.args_digest(),
            call_digest: call.call_digest(),
            server: call.served().map(|s| (s.server.clone(), tools::bare(call.tool(), &s.server))),
            joins: call.parts().joins,
            rulebook_digest: book.rulebook().map_or(call.call_digest(), Rulebook::digest),
            paths,
            counted: book.settings().is_some_and(|s| s.calls_per_minute > 0 || s.max_concurrent_calls > 0),
            mails: sends_mail(facts),
        }
    }

    /// The judge, with everything that could end otherwise than in a verdict turned into a refusal.
    fn judged(&self, basis: &Basis<'_>, ledger: &Ledger) -> Judgement {
        let Basis { call, book, facts } = basis;
        let deny = |code, why: &str| Judgement::refuse(code, Step::Trust, clean_line(why, 400));
        let book = match book {
            Book::InForce(book) => book,
            Book::Invalid(why) => return judge(call, facts, Rules::Invalid(why), ledger),
        };
        let started = self.clock.elapsed();
        let judged = catch_unwind(AssertUnwindSafe(|| {
            if !ledger.rulebook_known
                && let Err(problems) = book.validate()
            {
                let first = problems.first().map(|p| p.to_string()).unwrap_or_default();
                return deny(Code::PolicyInvalid, &format!("the policy does not validate: {first}"));
            }
            judge(call, facts, Rules::InForce(book), ledger)
        }));
        let spent = self.clock.elapsed() - started;
        let Ok(judgement) = judged else { return deny(Code::Internal, "fail-closed: panic") };
        // Validation is the owner's one-time cost, not the call's.
        let budget = Duration::from_millis(book.settings().judge_budget_ms);
        if ledger.rulebook_known && spent > budget && judgement.verdict == Verdict::Allow {
            return deny(Code::PolicyTimeout, "fail-closed: policy_timeout");
        }
        judgement
    }

    fn change(
        &self,
        seen: Seen<'_>,
        key: CallKey,
        agent: Option<AgentProcess>,
    ) -> (Change, Option<ApprovalId>) {
        let Seen { basis, ledger, judgement, held, patience } = seen;
        let Basis { call, book, .. } = basis;
        let settings = book.settings();
        let task_id = ledger.task.as_ref().map(|t| t.task_id);
        let mut change = Change {
            open_task: Some(OpenTask {
                session: call.parts().session.clone(),
                fresh: TaskId(self.clock.fresh_id()),
                owner: self.owner.clone(),
                gate_cap: settings.map_or(50, |s| s.cap),
            }),
            ..Change::default()
        };
        if let Some(book) = book.rulebook()
            && !ledger.rulebook_known
            && judgement.verdict != Verdict::Deny(Code::PolicyInvalid)
        {
            change.ops.push(Op::RulebookValidated { digest: book.digest(), engine: ENGINE.to_owned() });
        }
        change.ops.extend(agent.map(Op::Agent));
        if let Some(reused) = &judgement.reused {
            change.drafts.push(told::answer_reused(call, reused, &self.mac).task(task_id));
        }
        let mut asked = None;
        let mut decision = "refused";
        match &judgement.verdict {
            Verdict::Deny(Code::ApprovalCap) => change.drafts.push(told::cap_exceeded(call, ledger)),
            Verdict::Deny(Code::ApprovalRate) => {
                change.drafts.push(told::rate_exceeded(call, ledger, settings))
            }
            Verdict::Deny(_) => {}
            Verdict::Allow => {
                decision = "allowed";
                if sends_mail(&basis.facts) {
                    let most = settings.and_then(|s| s.mail.as_ref()).map_or(0, |mail| mail.daily_cap);
                    change.ops.push(Op::Mails { most });
                }
                change.ops.push(Op::Permit {
                    call: Box::new(self.row(call)),
                    per_minute: settings.map_or(0, |s| s.calls_per_minute),
                    concurrent: settings.map_or(0, |s| s.max_concurrent_calls),
                    spend: judgement.spend,
                    resume: held.map(|b| b.approval_id),
                    joins: call.parts().joins.filter(|_| ledger.joined),
                });
                if let Some(grant) = judgement.spend {
                    let approval =
                        ledger.grants.iter().find(|g| g.grant_id == grant).and_then(|g| g.approval_id);
                    change.drafts.extend(approval.map(|id| told::spent(call, id, grant, held.is_some())));
                }
            }
            Verdict::RequireApproval(terms) => {
                decision = "pending";
                let (request, id) = self.request(basis, ledger, judgement, terms);
                asked = Some(id);
                if terms.attach.is_none() {
                    change.drafts.push(told::requested(&request));
                    change.drafts.extend(told::capped(&request, terms, patience));
                    let per_minute = settings.map_or(0, |s| s.per_minute);
                    change.ops.push(Op::Ask { request: Box::new(request), per_minute });
                }
            }
        }
        if let Some(back) = held {
            // A refusal after a yes still takes the yes, or the session would wait for ever.
            if judgement.verdict != Verdict::Allow {
                change.ops.push(Op::EndHold { approval_id: back.approval_id, how: HoldEnd::Taken });
            }
            if back.late {
                change.drafts.push(told::late_win(call, back.approval_id, &judgement.verdict));
            }
        }
        let tainted_by = ledger.tainted().and_then(|taint| word(taint.by));
        let judged = self.judged_draft(basis, judgement, decision, asked);
        change.drafts.push(judged.with("tainted_by", tainted_by).task(task_id));
        change.guard = Some((key, ledger.version));
        (change, asked)
    }

    fn row(&self, call: &ToolCall) -> CallRow {
        CallRow {
            call_id: call.id(),
            door: call.parts().door,
            session: call.parts().session.clone(),
            host: call.host_call(),
            principal: call.parts().principal.id(),
            tool: call.tool().to_owned(),
            args_digest: call.args_digest(),
            call_digest: call.call_digest(),
        }
    }

    /// What a secret that a call names is bound to, or who sends a mail, in words for whoever decides.
    fn bound(&self, basis: &Basis<'_>, ledger: &Ledger) -> Option<Clean> {
        let Basis { facts, book, .. } = basis;
        let request = match facts {
            Ok(Facts { own: Some(Ok(Own::Fetch(request))), .. }) => request,
            Ok(Facts { own: Some(Ok(Own::Mail(message))), .. }) => {
                let rules = book.settings().and_then(|s| s.mail.as_ref())?;
                let (from, answers) = (rules.from(), rules.reply_to(message).join(", "));
                return Some(clean_line(&format!("It is sent by {from}; answers go to {answers}."), 2_000));
            }
            _ => return None,
        };
        let view = ledger.secret.as_ref();
        let said = match view.and_then(|view| view.binding.as_ref()) {
            None => "is not in the vault".to_owned(),
            Some(binding) if binding.is_unbound() => {
                format!("is bound to no host; a yes is for {} in this call alone", request.authority)
            }
            Some(binding) if binding.any_host => "may go to ANY host".to_owned(),
            Some(binding) => {
                let hosts: Vec<String> = binding.hosts.iter().map(ToString::to_string).collect();
                format!("is bound to {}", hosts.join(", "))
            }
        };
        let held = match view.is_some_and(|view| view.quarantined) {
            true => "; it is in quarantine, since answers held it",
            false => "",
        };
        Some(clean_line(&format!("The secret `{}` {said}{held}.", request.secret.as_str()), 2_000))
    }

    fn request(
        &self,
        basis: &Basis<'_>,
        ledger: &Ledger,
        judgement: &Judgement,
        terms: &Terms,
    ) -> (NewRequest, ApprovalId) {
        let Basis { call, book, facts } = basis;
        let bound = self.bound(basis, ledger);
        let approval_id = terms.attach.unwrap_or_else(|| ApprovalId(self.clock.fresh_id()));
        let args = self.catalogue().json(call.args());
        let preview = args.cut(256);
        // For the person alone: the agent reads the preview.
        let display = bound.map_or_else(|| args.clone(), |bound| args.with(&bound));
        let shell = facts.as_ref().is_ok_and(|f| f.shell.is_some());
        let request = NewRequest {
            approval_id,
            call_id: call.id(),
            principal: call.parts().principal.id(),
            client: call.parts().session.client,
            tool: call.tool().to_owned(),
            preview,
            display,
            cwd: call.parts().cwd.as_deref().filter(|_| shell).map(|c| clean_line(c, 1_024)),
            args_digest: call.args_digest(),
            call_digest: call.call_digest(),
            rulebook_digest: book.rulebook().map_or(call.call_digest(), Rulebook::digest),
            reason: judgement.reason.clone(),
            severity: terms.severity,
            rules: judgement.rules.clone(),
            timeout_s: terms.timeout_s,
            wait: terms.wait,
            exact: terms.exact.clone(),
            owner: self.owner.clone(),
            repo: book.settings().map(|s| s.repo.clone()).filter(|r| !r.is_empty()),
        };
        (request, approval_id)
    }

    /// The caller goes away without a yes. `None` when the row moved meanwhile.
    async fn leave(
        &self,
        basis: &Basis<'_>,
        asked: &Answered,
        approval_id: ApprovalId,
        end: desk::End,
    ) -> Option<Answered> {
        let call = basis.call;
        let step = Step::Gate;
        let mut drafts = Vec::new();
        // That a person is needed was recorded when the question was opened or met; only an end is news (P-1).
        if end.pending.is_none() {
            let mut judgement = Judgement::refuse(end.code, step, end.reason.clone());
            judgement.rules = asked.rules.clone();
            drafts.push(self.judged_draft(basis, &judgement, "refused", Some(approval_id)));
        }
        drafts.extend(end.event.map(|(event, keys)| {
            Draft::new(
                event,
                [("approval_id", countersign_core::event::word(approval_id))].into_iter().chain(keys),
            )
            .call(call.id())
            .approval(approval_id)
        }));
        let ops = end.how.map(|how| Op::EndHold { approval_id, how }).into_iter().collect();
        let session = call.parts().session.clone();
        let open_task = Some(OpenTask {
            session,
            fresh: TaskId(self.clock.fresh_id()),
            owner: self.owner.clone(),
            gate_cap: basis.book.settings().map_or(50, |s| s.cap),
        });
        let nothing = end.how.is_none() && drafts.is_empty();
        let change = Change { guard: None, open_task, ops, drafts };
        let written = if nothing { None } else { Some(self.store.commit(change).await) };
        match written {
            None | Some(Ok(_)) => {}
            Some(Err(CommitError::Moved)) if end.how.is_some() && !end.sure => return None,
            // The refusal stands without its record: nothing runs.
            Some(Err(_)) => {}
        }
        let decision = match end.pending {
            Some(expires_at) => Decision::Pending { approval_id, expires_at },
            None => Decision::Refused { code: end.code },
        };
        let verdict = if end.pending.is_some() { "require_approval" } else { "deny" };
        let reason = end.reason.cut(500);
        Some(Answered { decision, verdict, step, reason, ..asked.clone() })
    }

    /// A counted limit was reached between the read and the write.
    async fn late_limit(&self, basis: &Basis<'_>, ledger: &Ledger, code: Code) -> Round {
        let call = basis.call;
        let reason = Clean::fixed("a limit was reached while this call was judged");
        let judgement = Judgement::refuse(code, Step::Commit, reason);
        let task_id = ledger.task.as_ref().map(|t| t.task_id);
        let draft = self.judged_draft(basis, &judgement, "refused", None).task(task_id);
        match self.store.note(draft).await {
            Ok(_) => Round::Done(self.answered(call, &judgement), None),
            Err(e) => self.fault(call, e.code(), &e.to_string()),
        }
    }

    /// The store cannot be read. A halt that can be seen without it is the answer that no mode softens.
    async fn blind(&self, call: &ToolCall, e: &StoreError) -> Round {
        match self.store.halt().await {
            Ok(Halt::Present { reason }) => {
                let why = clean_line(&format!("everything is halted: {reason}"), 300);
                let judgement = Judgement::refuse(Code::Halted, Step::Halt, why);
                Round::Done(self.answered(call, &judgement), None)
            }
            _ => self.fault(call, e.code(), &e.to_string()),
        }
    }

    fn fault(&self, call: &ToolCall, code: Code, why: &str) -> Round {
        let judgement = Judgement::refuse(code, Step::Commit, clean_line(why, 400));
        Round::Done(self.answered(call, &judgement), None)
    }

    fn answered(&self, call: &ToolCall, judgement: &Judgement) -> Answered {
        let decision = match &judgement.verdict {
            Verdict::Allow => Decision::Allowed { granted: judgement.granted },
            Verdict::Deny(code) => Decision::Refused { code: *code },
            // Replaced by the desk's answer before a door sees it.
            Verdict::RequireApproval(_) => Decision::Refused { code: Code::ApprovalRequired },
        };
        Answered {
            call_id: call.id(),
            decision,
            verdict: judgement.verdict.as_str(),
            step: judgement.step,
            reason: judgement.reason.cut(500),
            rules: judgement.rules.clone(),
            would: judgement.would.as_ref().map(|w| w.verdict.as_str()),
        }
    }

    /// The record of a judgement: one for a refused call, the one before the outcome for a permitted call.
    fn judged_draft(
        &self,
        basis: &Basis<'_>,
        judgement: &Judgement,
        decision: &'static str,
        approval: Option<ApprovalId>,
    ) -> Draft {
        let Basis { call, book, facts } = basis;
        let parts = call.parts();
        let canonical = call.args().canonical();
        let preview = || self.catalogue().json(call.args()).cut(CAPTURE_CHARS);
        let code = match &judgement.verdict {
            Verdict::Deny(code) => word(code.as_str()),
            Verdict::Allow | Verdict::RequireApproval(_) => None,
        };
        let fail_closed = matches!(&judgement.verdict, Verdict::Deny(code) if code.is_fail_closed());
        let would = judgement.would.as_ref().map(|w| {
            Json::object([
                ("verdict", Json::str(w.verdict.as_str())),
                ("step", Json::str(w.step.as_str())),
                ("matching_rule_ids", Json::strings(&w.rules)),
            ])
        });
        let draft = Draft::new(
            Event::CallJudged,
            [
                ("door", word(parts.door.as_str())),
                ("client", word(parts.session.client.as_str())),
                ("session", text(&clean_line(&parts.session.id, 128))),
                ("principal", text(&clean_line(&parts.principal.id(), 256))),
                ("agent_id", parts.agent_id.as_ref().and_then(|a| text(&clean_line(a, 128)))),
                ("tool_name", text(&clean_line(call.tool(), 200))),
                ("cwd", parts.cwd.as_ref().and_then(|cwd| text(&clean_line(cwd, 4_096)))),
                ("tier", facts.as_ref().ok().and_then(|f| word(f.tier.as_str()))),
                (
                    "tier_because",
                    facts.as_ref().ok().and_then(|f| text(&clean_line(f.tier_because.as_deref()?, 300))),
                ),
                ("verdict", word(judgement.verdict.as_str())),
                ("decision", word(decision)),
                ("code", code),
                ("fail_closed", fail_closed.then_some(Json::Bool(true))),
                ("step", word(judgement.step.as_str())),
                ("reason", text(&judgement.reason)),
                ("matching_rule_ids", Some(Json::strings(&judgement.rules))),
                ("args_mac", word(self.mac.mac("countersign-args-v1", canonical.as_bytes()))),
                ("args_bytes", int(i64::try_from(canonical.len()).unwrap_or(i64::MAX))),
                ("rulebook_digest", book.rulebook().and_then(|b| word(b.digest()))),
                ("would", would),
                ("server", call.served().and_then(|s| word(&s.server))),
                ("joins", call.parts().joins.and_then(word)),
                ("input_preview", (self.capture == Capture::Redacted).then(preview).as_ref().and_then(text)),
            ],
        );
        let draft = draft.call(call.id());
        match approval {
            Some(id) => draft.approval(id),
            None => draft,
        }
    }
}
