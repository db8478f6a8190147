//! What the tests share: a gate on a real store in a folder of its own, calls, people, and the reading of the log.

use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::digest::MacKey;
use countersign_core::ids::{ApprovalId, CallId};
use countersign_core::json::Json;
use countersign_core::ledger::{Approval, Via};
use countersign_core::principal::{Approver, Assurance, Client, Principal};
use countersign_core::record::{Sealed, Verifier};
use countersign_core::rulebook::settings::RuleSettings;
use countersign_core::rulebook::{PolicyText, RuleSet, Rulebook};
use countersign_gate::gate::{Answered, Book, Capture, Decision, Gate, Patience, Silent};
use countersign_gate::seams::{Clock, Store};
use countersign_store::{SqliteStore, StoreOptions};
use countersign_testkit::fakes::{CountingHand, FakeClock, Flaky};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Asks by the built-in rule `force_push_any`.
pub(crate) const ASKS: &str = "git push --force origin feature";
pub(crate) const HARD: &str = "rm -rf /x";

pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) store: Arc<Flaky>,
    pub(crate) hand: Arc<CountingHand>,
}

pub(crate) fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub(crate) fn settings() -> RuleSettings {
    RuleSettings::defaults("/home/ana/shop", &[], None)
}

pub(crate) fn load(policy: Vec<(RuleSet, PolicyText)>, settings: RuleSettings) -> Arc<Rulebook> {
    Arc::new(Rulebook::load(policy, settings).unwrap().0)
}

/// A rulebook with one more rule over shell lines.
pub(crate) fn with_rule(set: RuleSet, id: &str, pattern: &str) -> Arc<Rulebook> {
    let tier = if set == RuleSet::Hard { "hard" } else { "soft" };
    let text = format!(
        "@tier(\"{tier}\") @rule_id(\"{id}\") @summary(\"a test says so\")\nforbid (principal, action == Agent::Action::\"execute_bash\", resource)\nwhen {{ context.command like \"{pattern}\" }};"
    );
    load(vec![(set, PolicyText { file: format!("{tier}.cedar"), text: text.into() })], settings())
}

pub(crate) fn plain() -> Arc<Rulebook> {
    static BOOK: OnceLock<Arc<Rulebook>> = OnceLock::new();
    Arc::clone(BOOK.get_or_init(|| load(Vec::new(), settings())))
}

impl World {
    /// Time stands still until a test moves it.
    pub(crate) async fn new() -> World {
        World::with(FakeClock::still(1)).await
    }

    /// Waiting moves time.
    pub(crate) async fn flowing() -> World {
        World::with(FakeClock::flowing(1)).await
    }

    pub(crate) async fn with(clock: Arc<FakeClock>) -> World {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("project/.countersign")).unwrap();
        let inner = open(dir.path(), &clock).await;
        let store = Flaky::new(inner, Arc::clone(&clock));
        let hand = CountingHand::new(Arc::clone(&clock));
        World { dir, clock, store, hand }
    }

    /// The file that halts without the store.
    pub(crate) fn halt_file(&self) -> std::path::PathBuf {
        self.dir.path().join("project/.countersign/HALT")
    }

    /// Everything in memory is lost; the files stay.
    pub(crate) async fn restart(&self) {
        self.store.swap(open(self.dir.path(), &self.clock).await);
    }

    pub(crate) fn gate(&self) -> Arc<Gate> {
        self.gate_with(plain())
    }

    pub(crate) fn gate_with(&self, book: Arc<Rulebook>) -> Arc<Gate> {
        self.gate_of(Book::InForce(book))
    }

    pub(crate) fn gate_of(&self, book: Book) -> Arc<Gate> {
        let (store, clock): (Arc<dyn Store>, Arc<dyn Clock>) = (self.store.clone(), self.clock.clone());
        let mac = MacKey::new([7; 32]);
        Arc::new(Gate::new(store, clock, book, mac, Capture::Redacted, "human:ana".to_owned()))
    }

    /// A Bash call of a session.
    pub(crate) fn call(&self, session: &str, line: &str) -> ToolCall {
        ToolCall::new(CallParts {
            call_id: CallId(self.clock.fresh_id()),
            door: Door::Hook,
            principal: Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: None },
            session: Session { client: Client::ClaudeCode, id: session.to_owned() },
            agent_id: None,
            tool_use_id: None,
            tool: "Bash".to_owned(),
            args: Json::object([("command", Json::str(line))]),
            cwd: Some("/home/ana/shop".to_owned()),
            joins: None,
            served: None,
        })
        .unwrap()
    }

    /// Decides and performs a call in the background.
    pub(crate) fn start(&self, gate: &Arc<Gate>, call: &ToolCall, patience: Patience) -> Running {
        let (gate, call, hand) = (Arc::clone(gate), call.clone(), Arc::clone(&self.hand));
        tokio::spawn(async move { gate.call(&call, patience, &Silent, &*hand).await.0 })
    }

    /// Decides and performs a call.
    pub(crate) async fn run(&self, gate: &Gate, call: &ToolCall, patience: Patience) -> Answered {
        gate.call(call, patience, &Silent, &*self.hand).await.0
    }

    /// Polls until `n` questions are open; the newest comes last.
    pub(crate) async fn pending(&self, n: usize) -> Vec<Approval> {
        let inner = self.store.inner();
        until(async || {
            let all = inner.pending().await.unwrap();
            (all.len() == n).then_some(all)
        })
        .await
    }

    /// The one open question.
    pub(crate) async fn question(&self) -> ApprovalId {
        self.pending(1).await[0].request.approval_id
    }

    pub(crate) async fn log(&self) -> Log {
        let inner = self.store.inner();
        let mut verifier = Verifier::new(Vec::new());
        let mut records: Vec<Json> = Vec::new();
        // The head first: what others append meanwhile lies behind it.
        let head = inner.head().await.unwrap();
        let mut after = 0;
        while after < head.0 {
            let rows = inner.records(after, 1_000).await.unwrap();
            assert!(!rows.is_empty(), "the log ends at {after}, its head is {}", head.0);
            for row in rows.into_iter().filter(|row| row.seq <= head.0) {
                after = row.seq;
                verifier.row(row.seq, &row.body, &row.hash);
                records.push(Sealed::read(row.seq, &row.body, &row.hash).unwrap().json().clone());
            }
        }
        let seen = verifier.finish(Some(head));
        assert!(seen.faults.is_empty(), "{:?}", seen.faults);
        Log(records)
    }
}

pub(crate) type Running = tokio::task::JoinHandle<Answered>;

async fn open(dir: &std::path::Path, clock: &Arc<FakeClock>) -> Arc<dyn Store> {
    let mut options = StoreOptions::new(dir.join("state"), dir.join("project/.countersign/HALT"));
    options.engine = countersign_core::rulebook::ENGINE.to_owned();
    options.clock = Some(clock.wall());
    Arc::new(SqliteStore::open(options).await.unwrap())
}

/// Asks again until there is an answer.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + seconds(30);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn ana() -> Approver {
    Approver::of(&Principal::Human { name: "ana".into() }, Assurance::Cli).unwrap()
}

pub(crate) async fn approve(gate: &Gate, id: ApprovalId) {
    gate.approve(id, "this_call", ana(), Via::Cli).await.unwrap();
}

/// Answers at once: what needs a person is left pending.
pub(crate) const AT_ONCE: Patience = Patience { client_limit_s: None, hold_s: Some(0), listens: None };
/// Waits as long as the window.
pub(crate) const PATIENT: Patience = Patience { client_limit_s: None, hold_s: None, listens: None };

pub(crate) fn allowed(answered: &Answered) -> bool {
    matches!(answered.decision, Decision::Allowed { .. })
}

/// The code of a refusal; `allowed` and `pending` for the others.
pub(crate) fn code(answered: &Answered) -> &'static str {
    match &answered.decision {
        Decision::Allowed { .. } => "allowed",
        Decision::Pending { .. } => "pending",
        Decision::Refused { code } => code.as_str(),
    }
}

/// The whole log, checked.
pub(crate) struct Log(pub(crate) Vec<Json>);

pub(crate) fn data<'a>(record: &'a Json, key: &str) -> &'a str {
    record.get("data").and_then(|d| d.text(key)).unwrap_or_default()
}

impl Log {
    pub(crate) fn named(&self, event: &str) -> Vec<&Json> {
        self.0.iter().filter(|r| r.text("event") == Some(event)).collect()
    }

    pub(crate) fn count(&self, event: &str) -> usize {
        self.named(event).len()
    }

    /// Names of the records about a call, in order.
    pub(crate) fn of(&self, call: &ToolCall) -> Vec<&str> {
        let id = call.id().to_string();
        self.0.iter().filter(|r| r.text("call_id") == Some(&id)).filter_map(|r| r.text("event")).collect()
    }

    /// Ids of the calls that were allowed.
    pub(crate) fn allowed(&self) -> Vec<&str> {
        let judged = self.named("call.judged");
        judged
            .into_iter()
            .filter(|r| data(r, "decision") == "allowed")
            .filter_map(|r| r.text("call_id"))
            .collect()
    }

    /// P-1: whatever was performed was allowed by a record of its own, and performed once.
    pub(crate) fn covers(&self, hand: &CountingHand) {
        let allowed = self.allowed();
        let mut seen = std::collections::HashSet::new();
        for done in hand.performed() {
            let id = done.call_id.to_string();
            assert!(allowed.contains(&id.as_str()), "{id} ran without a recorded allow");
            assert!(seen.insert(id), "one call ran twice: {done:?}");
        }
    }
}
