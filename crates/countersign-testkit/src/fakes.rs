//! Fakes of the seams: time that a test moves, a store that fails when it is told to, a hand that counts.
//!
//! They stand around real things: the store below [`Flaky`] is whatever the test opened, so what a fault leaves behind
//! is what the product would leave behind.

use async_trait::async_trait;
use countersign_core::call::{Session, ToolCall};
use countersign_core::cleanse::{Clean, Raw, Reply};
use countersign_core::digest::Digest;
use countersign_core::event::Draft;
use countersign_core::ids::{ApprovalId, CallId, GrantId, RawId, TaskId};
use countersign_core::ledger::{
    AgentProcess, Approval, CallKey, Change, Decision, GrantRow, Halt, Ledger, Outcome,
};
use countersign_core::principal::Approver;
use countersign_core::record::Sealed;
use countersign_core::time::Timestamp;
use countersign_gate::permit::Permit;
use countersign_gate::seams::{
    CallRef, Clock, CommitError, Committed, DecideError, Downstream, Gateway, HookKey, PerformError, Pin,
    PinChange, PinKind, Store, StoreError, StoredRecord,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The moment a [`FakeClock`] starts at, in milliseconds since the epoch.
pub const NOON: i64 = 1_795_568_400_000;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Chance that repeats itself: the splitmix generator.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }
}

/// Time that moves only when it is told to, and ids from a seed.
pub struct FakeClock {
    elapsed: watch::Sender<Duration>,
    chance: Mutex<Chance>,
    flows: AtomicBool,
}

impl FakeClock {
    /// Time stands still until [`FakeClock::advance`]; whoever sleeps waits for that.
    pub fn still(seed: u64) -> Arc<FakeClock> {
        Arc::new(FakeClock {
            elapsed: watch::channel(Duration::ZERO).0,
            chance: Mutex::new(Chance::new(seed)),
            flows: AtomicBool::new(false),
        })
    }

    /// Time jumps to the end of whatever somebody waits for.
    pub fn flowing(seed: u64) -> Arc<FakeClock> {
        let clock = FakeClock::still(seed);
        clock.flow(true);
        clock
    }

    /// Whether waiting moves time.
    pub fn flow(&self, flows: bool) {
        self.flows.store(flows, Ordering::SeqCst);
    }

    /// Moves time on.
    pub fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }

    /// The wall clock that goes with it, for stores that take one.
    pub fn wall(self: &Arc<FakeClock>) -> Arc<dyn Fn() -> i64 + Send + Sync> {
        let clock = Arc::clone(self);
        Arc::new(move || NOON + i64::try_from(clock.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Returns at the next move of time.
    async fn moved(&self) {
        let _ = self.elapsed.subscribe().changed().await;
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn elapsed(&self) -> Duration {
        *self.elapsed.borrow()
    }

    async fn sleep(&self, time: Duration) {
        if self.flows.load(Ordering::SeqCst) {
            self.advance(time);
            tokio::task::yield_now().await;
            return;
        }
        let until = self.elapsed() + time;
        let _ = self.elapsed.subscribe().wait_for(|elapsed| *elapsed >= until).await;
    }

    fn fresh_id(&self) -> RawId {
        let mut chance = locked(&self.chance);
        let (a, b) = (chance.draw().to_be_bytes(), chance.draw().to_be_bytes());
        let at = NOON + i64::try_from(self.elapsed().as_millis()).unwrap_or(0);
        RawId::new(Timestamp(at), [a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], b[0], b[1]])
    }
}

/// How a call of the store goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing is done; the store cannot be used.
    Unavailable,
    /// Nothing is done; the disk is full.
    Full,
    /// Nothing is done; the log does not verify.
    Damaged,
    /// Nothing is done; the database is gone.
    Missing,
    /// Nothing is done; a commit is told that the state moved. Other verbs do their work.
    Moved,
    /// It is done, and the answer is lost: the caller is told of an error.
    Lost,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 6] =
        [Fault::Unavailable, Fault::Full, Fault::Damaged, Fault::Missing, Fault::Moved, Fault::Lost];

    fn error(self) -> StoreError {
        let text = || "a test says so".to_owned();
        match self {
            Fault::Unavailable | Fault::Moved | Fault::Lost => StoreError::Unavailable(text()),
            Fault::Full => StoreError::Full(text()),
            Fault::Damaged => StoreError::Damaged { seq: 1, what: text() },
            Fault::Missing => StoreError::Missing(text()),
        }
    }
}

#[derive(Default)]
struct Plan {
    calls: u64,
    /// The number of the first call that fails, how, and how many fail.
    fail: Option<(u64, Fault, u64)>,
    hit: Vec<&'static str>,
    pause: Option<(&'static str, Pause)>,
}

/// A call of the store that stops before it does anything, so that a test can put something in between.
#[derive(Clone, Default)]
pub struct Pause {
    reached: Arc<Notify>,
    go: Arc<Notify>,
}

impl Pause {
    /// Returns when somebody stands there.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets it go on.
    pub fn go(&self) {
        self.go.notify_one();
    }
}

/// A store that fails when it is told to, and otherwise is the store inside it.
pub struct Flaky {
    inner: Mutex<Arc<dyn Store>>,
    clock: Arc<FakeClock>,
    plan: Mutex<Plan>,
}

impl Flaky {
    /// Stands around a store. Waiting for changes follows the clock.
    pub fn new(inner: Arc<dyn Store>, clock: Arc<FakeClock>) -> Arc<Flaky> {
        Arc::new(Flaky { inner: Mutex::new(inner), clock, plan: Mutex::default() })
    }

    /// The store inside.
    pub fn inner(&self) -> Arc<dyn Store> {
        Arc::clone(&locked(&self.inner))
    }

    /// Another store takes its place, as after a restart.
    pub fn swap(&self, inner: Arc<dyn Store>) {
        *locked(&self.inner) = inner;
    }

    /// The `k`-th call from now on (the next is 1) and the `more` after it fail.
    pub fn fail(&self, k: u64, fault: Fault, more: u64) {
        let mut plan = locked(&self.plan);
        plan.fail = Some((plan.calls + k, fault, more.saturating_add(1)));
        plan.hit.clear();
    }

    /// No call fails any more. Returns the verbs that did.
    pub fn mend(&self) -> Vec<&'static str> {
        let mut plan = locked(&self.plan);
        plan.fail = None;
        std::mem::take(&mut plan.hit)
    }

    /// Calls so far; waiting for changes is none.
    pub fn calls(&self) -> u64 {
        locked(&self.plan).calls
    }

    /// The next call of `verb` stops before it does anything.
    pub fn pause(&self, verb: &'static str) -> Pause {
        let pause = Pause::default();
        locked(&self.plan).pause = Some((verb, pause.clone()));
        pause
    }

    async fn stop(&self, verb: &'static str) {
        let pause = locked(&self.plan).pause.take_if(|(at, _)| *at == verb);
        if let Some((_, pause)) = pause {
            pause.reached.notify_one();
            pause.go.notified().await;
        }
    }

    fn next(&self, verb: &'static str) -> Option<Fault> {
        let mut plan = locked(&self.plan);
        plan.calls += 1;
        let (first, fault, count) = plan.fail?;
        let fails = plan.calls >= first && plan.calls - first < count;
        if fails {
            plan.hit.push(verb);
        }
        fails.then_some(fault)
    }

    /// One call of the store: `run` unless it is to fail.
    async fn verb<T, E: From<StoreError>>(
        &self,
        name: &'static str,
        run: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        self.stop(name).await;
        match self.next(name) {
            None | Some(Fault::Moved) => run.await,
            Some(Fault::Lost) => {
                run.await?;
                Err(Fault::Lost.error().into())
            }
            Some(fault) => Err(fault.error().into()),
        }
    }
}

#[async_trait]
impl Store for Flaky {
    async fn ledger(&self, key: &CallKey) -> Result<Ledger, StoreError> {
        self.verb("ledger", self.inner().ledger(key)).await
    }

    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        self.stop("commit").await;
        match self.next("commit") {
            None => self.inner().commit(change).await,
            Some(Fault::Moved) => Err(CommitError::Moved),
            Some(Fault::Lost) => {
                self.inner().commit(change).await?;
                Err(CommitError::Store(Fault::Lost.error()))
            }
            Some(fault) => Err(CommitError::Store(fault.error())),
        }
    }

    async fn decide(&self, decision: Decision) -> Result<Approval, DecideError> {
        self.verb("decide", self.inner().decide(decision)).await
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.verb("approval", self.inner().approval(id)).await
    }

    async fn pending(&self) -> Result<Vec<Approval>, StoreError> {
        self.verb("pending", self.inner().pending()).await
    }

    async fn approvals(&self, limit: u32) -> Result<Vec<Approval>, StoreError> {
        self.verb("approvals", self.inner().approvals(limit)).await
    }

    async fn grants(&self) -> Result<Vec<GrantRow>, StoreError> {
        self.verb("grants", self.inner().grants()).await
    }

    async fn revoke(&self, id: GrantId, by: &Approver) -> Result<bool, StoreError> {
        self.verb("revoke", self.inner().revoke(id, by)).await
    }

    async fn observe(&self, call: &CallRef, outcome: Outcome) -> Result<Option<CallId>, StoreError> {
        self.verb("observe", self.inner().observe(call, outcome)).await
    }

    async fn end_session(&self, session: &Session) -> Result<Option<TaskId>, StoreError> {
        self.verb("end_session", self.inner().end_session(session)).await
    }

    async fn tell(&self, session: &Session) -> Result<Vec<Approval>, StoreError> {
        self.verb("tell", self.inner().tell(session)).await
    }

    async fn records(&self, after: u64, limit: u32) -> Result<Vec<StoredRecord>, StoreError> {
        self.verb("records", self.inner().records(after, limit)).await
    }

    async fn head(&self) -> Result<(u64, String), StoreError> {
        self.verb("head", self.inner().head()).await
    }

    async fn note(&self, draft: Draft) -> Result<Sealed, StoreError> {
        self.verb("note", self.inner().note(draft)).await
    }

    async fn halt(&self) -> Result<Halt, StoreError> {
        self.verb("halt", self.inner().halt()).await
    }

    async fn set_halt(&self, reason: &Clean, by: &str) -> Result<(), StoreError> {
        self.verb("set_halt", self.inner().set_halt(reason, by)).await
    }

    async fn clear_halt(&self, reason: Option<&Clean>, by: &Approver) -> Result<bool, StoreError> {
        self.verb("clear_halt", self.inner().clear_halt(reason, by)).await
    }

    async fn pin(&self, kind: PinKind, name: &str) -> Result<Option<Pin>, StoreError> {
        self.verb("pin", self.inner().pin(kind, name)).await
    }

    async fn pins(&self, kind: PinKind, prefix: &str) -> Result<Vec<(String, Pin)>, StoreError> {
        self.verb("pins", self.inner().pins(kind, prefix)).await
    }

    async fn set_pins(&self, pins: Vec<PinChange>, drafts: Vec<Draft>) -> Result<(), StoreError> {
        self.verb("set_pins", self.inner().set_pins(pins, drafts)).await
    }

    async fn hooked(&self, key: &HookKey) -> Result<Option<(CallId, String)>, StoreError> {
        self.verb("hooked", self.inner().hooked(key)).await
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        self.verb("gateways", self.inner().gateways()).await
    }

    async fn lose_gateway(&self, gateway: &Gateway) -> Result<u32, StoreError> {
        self.verb("lose_gateway", self.inner().lose_gateway(gateway)).await
    }

    async fn agents(&self) -> Result<Vec<AgentProcess>, StoreError> {
        self.verb("agents", self.inner().agents()).await
    }

    /// Where time flows it is moved by `limit`; else this returns at a change, a move of time, or soon.
    async fn changed(&self, limit: Duration) {
        if self.clock.flows.load(Ordering::SeqCst) {
            self.clock.sleep(limit).await;
            return;
        }
        let inner = self.inner();
        tokio::select! {
            () = inner.changed(limit) => {}
            () = self.clock.moved() => {}
            // A move of time between the waiter's look and this call must not be waited for.
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

/// A call that a [`CountingHand`] performed.
#[derive(Clone, Debug)]
pub struct Performed {
    /// The call.
    pub call_id: CallId,
    /// What it was.
    pub call_digest: Digest,
    /// When, on the fake clock.
    pub at: Duration,
}

/// A hand that spends permits and counts.
pub struct CountingHand {
    clock: Arc<FakeClock>,
    performed: Mutex<Vec<Performed>>,
    asked: AtomicU64,
    delay: Mutex<Duration>,
    answer: Mutex<String>,
    forbidden: AtomicBool,
}

impl CountingHand {
    /// A hand that answers `done`.
    pub fn new(clock: Arc<FakeClock>) -> Arc<CountingHand> {
        Arc::new(CountingHand {
            clock,
            performed: Mutex::default(),
            asked: AtomicU64::new(0),
            delay: Mutex::default(),
            answer: Mutex::new("done".to_owned()),
            forbidden: AtomicBool::new(false),
        })
    }

    /// Time moves by this much between the permit and its use.
    pub fn delay(&self, delay: Duration) {
        *locked(&self.delay) = delay;
    }

    /// What it answers from now on.
    pub fn answer(&self, text: &str) {
        *locked(&self.answer) = text.to_owned();
    }

    /// While set, performing anything is a panic.
    pub fn forbid(&self, forbidden: bool) {
        self.forbidden.store(forbidden, Ordering::SeqCst);
    }

    /// How often it was handed a permit, fitting or not.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Everything it performed, in order.
    pub fn performed(&self) -> Vec<Performed> {
        locked(&self.performed).clone()
    }

    /// How often it performed exactly this.
    pub fn count(&self, call: &ToolCall) -> usize {
        self.performed().iter().filter(|p| p.call_digest == call.call_digest()).count()
    }
}

#[async_trait]
impl Downstream for CountingHand {
    async fn perform(&self, permit: Permit, call: &ToolCall) -> Result<Raw<Reply>, PerformError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.clock.advance(*locked(&self.delay));
        permit.spend(call, self.clock.elapsed()).map_err(PerformError::Permit)?;
        assert!(!self.forbidden.load(Ordering::SeqCst), "performed while nothing may be: {}", call.id());
        locked(&self.performed).push(Performed {
            call_id: call.id(),
            call_digest: call.call_digest(),
            at: self.clock.elapsed(),
        });
        Ok(Raw::new(Reply::Text(locked(&self.answer).clone())))
    }
}
