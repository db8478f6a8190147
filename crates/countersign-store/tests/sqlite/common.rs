//! What the tests share: a store in a folder of its own, values to put in, and the walk over a log.

use countersign_core::approval::scope::Scope;
use countersign_core::approval::{Answer, Severity, Wait};
use countersign_core::call::{Door, HostCall, Session};
use countersign_core::cleanse::{Clean, clean_text};
use countersign_core::digest::Digest;
use countersign_core::event::{Draft, Event, word};
use countersign_core::ids::{ApprovalId, CallId, GrantId, RawId, TaskId};
use countersign_core::ledger::{CallKey, CallRow, Change, Decision, Ledger, NewRequest, Op, OpenTask, Via};
use countersign_core::principal::{Approver, Assurance, Client, Principal};
use countersign_core::record::{Checkpoint, Verified, Verifier};
use countersign_core::time::Timestamp;
use countersign_gate::seams::{CommitError, Committed, Store, StoredRecord};
use countersign_store::{SqliteStore, StoreOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub(crate) const AGENT: &str = "agent:claude-code:1000";

/// A folder with a project and a state folder in it.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("project/.countersign")).unwrap();
        Place { dir }
    }
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }
    pub(crate) fn halt_file(&self) -> PathBuf {
        self.dir.path().join("project/.countersign/HALT")
    }
    pub(crate) fn options(&self) -> StoreOptions {
        options(self.dir.path())
    }
    pub(crate) async fn store(&self) -> SqliteStore {
        SqliteStore::open(self.options()).await.unwrap()
    }
    /// A store whose time is set by hand.
    pub(crate) async fn timed(&self, ms: i64) -> (SqliteStore, Hand) {
        let hand = Hand(Arc::new(AtomicI64::new(ms)));
        let mut options = self.options();
        options.clock = Some(hand.clock());
        (SqliteStore::open(options).await.unwrap(), hand)
    }
    /// The database without the store around it.
    pub(crate) async fn raw(&self) -> sqlx::SqliteConnection {
        use sqlx::ConnectOptions;
        sqlx::sqlite::SqliteConnectOptions::new()
            .filename(self.state().join("state.db"))
            .busy_timeout(std::time::Duration::from_secs(5))
            .connect()
            .await
            .unwrap()
    }
}

pub(crate) fn options(dir: &Path) -> StoreOptions {
    let mut options = StoreOptions::new(dir.join("state"), dir.join("project/.countersign/HALT"));
    options.engine = "cedar-test".into();
    options
}

/// A clock that a test moves.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicI64>);

impl Hand {
    pub(crate) fn clock(&self) -> countersign_store::ClockFn {
        let hand = self.0.clone();
        Arc::new(move || hand.load(Ordering::SeqCst))
    }
    pub(crate) fn forward_s(&self, s: i64) {
        self.0.fetch_add(s * 1_000, Ordering::SeqCst);
    }
}

/// A point in time for injected clocks.
pub(crate) const NOON: i64 = 1_795_568_400_000;

pub(crate) fn raw_id() -> RawId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let pid = std::process::id().to_be_bytes();
    let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    RawId::new(Timestamp(at), [pid[0], pid[1], pid[2], pid[3], n[2], n[3], n[4], n[5], n[6], n[7]])
}

pub(crate) fn session(id: &str) -> Session {
    Session { client: Client::ClaudeCode, id: id.into() }
}

pub(crate) fn person() -> Approver {
    Approver::of(&Principal::Human { name: "ana".into() }, Assurance::Cli).unwrap()
}

/// The key of a call: `what` stands for its arguments.
pub(crate) fn key(session_id: &str, what: &str) -> CallKey {
    CallKey {
        session: session(session_id),
        principal: AGENT.into(),
        tool: "Bash".into(),
        args_digest: Digest::of("args", &[what.as_bytes()]),
        call_digest: Digest::of("call", &[what.as_bytes()]),
        rulebook_digest: Digest::of("rules", &[b"1"]),
        paths: Vec::new(),
        server: None,
        joins: None,
        counted: true,
        mails: false,
    }
}

pub(crate) fn judged(what: &str) -> Draft {
    Draft::new(Event::CallJudged, [("tool_name", word("Bash")), ("what", word(what))])
}

pub(crate) fn open_task(session_id: &str, cap: u32) -> OpenTask {
    OpenTask {
        session: session(session_id),
        fresh: TaskId(raw_id()),
        owner: "human:ana".into(),
        gate_cap: cap,
    }
}

pub(crate) fn call_row(key: &CallKey) -> CallRow {
    let call_id = CallId(raw_id());
    CallRow {
        call_id,
        door: Door::Hook,
        session: key.session.clone(),
        host: Some(HostCall {
            session: key.session.clone(),
            agent_id: None,
            tool_use_id: format!("toolu_{call_id}"),
        }),
        principal: key.principal.clone(),
        tool: key.tool.clone(),
        args_digest: key.args_digest,
        call_digest: key.call_digest,
    }
}

pub(crate) fn change(key: &CallKey, ledger: &Ledger, ops: Vec<Op>) -> Change {
    Change {
        guard: Some((key.clone(), ledger.version)),
        open_task: Some(open_task(&key.session.id, 50)),
        ops,
        drafts: vec![judged("x")],
    }
}

pub(crate) fn permit(key: &CallKey) -> Op {
    Op::Permit {
        call: Box::new(call_row(key)),
        per_minute: 0,
        concurrent: 0,
        spend: None,
        resume: None,
        joins: None,
    }
}

pub(crate) fn permit_with(key: &CallKey, spend: Option<GrantId>, resume: Option<ApprovalId>) -> Op {
    Op::Permit { call: Box::new(call_row(key)), per_minute: 0, concurrent: 0, spend, resume, joins: None }
}

pub(crate) fn request(key: &CallKey, wait: Wait, timeout_s: i64) -> NewRequest {
    NewRequest {
        approval_id: ApprovalId(raw_id()),
        call_id: CallId(raw_id()),
        principal: key.principal.clone(),
        client: key.session.client,
        tool: key.tool.clone(),
        preview: clean_text("git push"),
        display: clean_text("{\"command\":\"git push\"}"),
        cwd: Some(clean_text("/home/ana/shop")),
        args_digest: key.args_digest,
        call_digest: key.call_digest,
        rulebook_digest: key.rulebook_digest,
        reason: clean_text("asks"),
        severity: Severity::Medium,
        rules: vec!["git_push".into(), "network".into()],
        timeout_s,
        wait,
        exact: Some(Scope::exact_command("ls")),
        owner: "human:ana".into(),
        repo: Some("ana/shop".into()),
    }
}

/// Opens a request for a call, as the gate does: one read, one write.
pub(crate) async fn ask(store: &SqliteStore, key: &CallKey, wait: Wait, timeout_s: i64) -> ApprovalId {
    try_ask(store, key, wait, timeout_s, 600).await.unwrap().0
}

pub(crate) async fn try_ask(
    store: &SqliteStore,
    key: &CallKey,
    wait: Wait,
    timeout_s: i64,
    per_minute: u32,
) -> Result<(ApprovalId, Committed), CommitError> {
    let ledger = store.ledger(key).await?;
    let request = request(key, wait, timeout_s);
    let id = request.approval_id;
    let draft = Draft::new(Event::ApprovalRequested, [("approval_id", word(id))]).approval(id);
    let mut change = change(key, &ledger, vec![Op::Ask { request: Box::new(request), per_minute }]);
    change.drafts.push(draft);
    store.commit(change).await.map(|c| (id, c))
}

pub(crate) fn yes(id: ApprovalId, scope: Scope) -> Decision {
    Decision {
        approval_id: id,
        answer: Answer::Approve { scope },
        by: person(),
        via: Via::Cli,
        fresh: [GrantId(raw_id()), GrantId(raw_id())],
        grant_ttl_s: 600,
        refusal_memory_s: 60,
        rule_digest: Some(Digest::of("rule", &[b"text"])),
    }
}

pub(crate) fn no(id: ApprovalId, reason: &str) -> Decision {
    Decision { answer: Answer::Deny { reason: clean_text(reason) }, ..yes(id, Scope::ThisCall) }
}

/// Commits a permit for the call with whatever its ledger says, up to three tries.
pub(crate) async fn allow(store: &SqliteStore, key: &CallKey) -> Result<(Committed, u32), CommitError> {
    for tries in 1..=3 {
        let ledger = store.ledger(key).await?;
        match store.commit(change(key, &ledger, vec![permit(key)])).await {
            Err(CommitError::Moved) => continue,
            other => return other.map(|c| (c, tries)),
        }
    }
    Err(CommitError::Moved)
}

pub(crate) async fn all_records(store: &SqliteStore) -> Vec<StoredRecord> {
    let mut all: Vec<StoredRecord> = Vec::new();
    loop {
        let more = store.records(all.last().map_or(0, |r| r.seq), 1_000).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Walks the stored log with the core's verifier.
pub(crate) async fn walk(store: &SqliteStore, held: Vec<Checkpoint>) -> Verified {
    let mut verifier = Verifier::new(held);
    let mut after = 0;
    loop {
        let rows = store.records(after, 1_000).await.unwrap();
        if rows.is_empty() {
            break;
        }
        for row in rows {
            verifier.row(row.seq, &row.body, &row.hash);
            after = row.seq;
        }
    }
    verifier.finish(Some(store.head().await.unwrap()))
}

pub(crate) async fn assert_sound(store: &SqliteStore) -> u64 {
    let found = walk(store, Vec::new()).await;
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    found.records
}

/// Names of the events in the log, in order.
pub(crate) async fn events(store: &SqliteStore) -> Vec<String> {
    let all = all_records(store).await;
    all.iter()
        .map(|r| {
            let record = countersign_core::record::Sealed::read(r.seq, &r.body, &r.hash).unwrap();
            record.json().text("event").unwrap().to_owned()
        })
        .collect()
}

pub(crate) fn count(events: &[String], name: &str) -> usize {
    events.iter().filter(|e| *e == name).count()
}

pub(crate) fn fixed(text: &'static str) -> Clean {
    Clean::fixed(text)
}
