//! The store on SQLite: one connection, one write queue, one file.
//!
//! `open` makes and checks the files, `batch` shares commits, `tx` is one write transaction, `ledger` the one read,
//! `change`, `approvals` and `verbs` what a transaction does, `keeper` the user's
//! vault, `memory` the user's notes. Everything that is SQLite's own way stays in here.

mod approvals;
mod batch;
mod change;
mod changes;
mod fault;
mod ledger;
mod open;
mod schema;
mod spin;
mod text;
mod tx;
mod verbs;

use crate::{halt, resolve};
use approvals::approval_query;
use async_trait::async_trait;
use batch::{Answer, Queue, Verb};
use changes::{Changes, POLL};
use countersign_core::call::Session;
use countersign_core::cleanse::Clean;
use countersign_core::digest::Digest;
use countersign_core::event::Draft;
use countersign_core::ids::{ApprovalId, CallId, GrantId, TaskId};
use countersign_core::ledger::{
    AgentProcess, Approval, CallKey, Change, Decision, Grant, GrantRow, Halt, Ledger, Outcome as Ended,
};
use countersign_core::principal::{Approver, Client};
use countersign_core::record::Sealed;
use countersign_core::time::Timestamp;
use countersign_gate::seams::{
    CallRef, CommitError, Committed, DecideError, Gateway, HookKey, Pin, PinChange, PinKind, Store,
    StoreError, StoredRecord,
};
use fault::{Fail, Outcome, unreadable};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;

/// A clock that stands in for the database's, in milliseconds since the epoch. For tests of jumps.
pub type ClockFn = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Where the store lies and how it behaves.
#[derive(Clone)]
pub struct StoreOptions {
    /// The project's folder below the user's state directory. Made with mode 0700 if it is not there.
    pub state_dir: PathBuf,
    /// `<project>/.countersign/HALT`. Its folder must exist, or everything counts as halted.
    pub halt_file: PathBuf,
    /// How long to wait for another process's write, in milliseconds.
    pub busy_ms: u64,
    /// Version of the policy engine: a rulebook validated by another one is not known.
    pub engine: String,
    /// How long a silence is remembered (`approvals.refusal_memory_s`), in seconds.
    pub refusal_memory_s: i64,
    /// Id of the running boot; agent processes of other boots are not listed. `None` lists all.
    pub boot: Option<String>,
    /// Instead of the database's clock.
    pub clock: Option<ClockFn>,
}

impl StoreOptions {
    /// Options with the defaults.
    pub fn new(state_dir: impl Into<PathBuf>, halt_file: impl Into<PathBuf>) -> StoreOptions {
        StoreOptions {
            state_dir: state_dir.into(),
            halt_file: halt_file.into(),
            busy_ms: 5_000,
            engine: String::new(),
            refusal_memory_s: 60,
            boot: None,
            clock: None,
        }
    }

    /// The injected time, if any.
    fn clock_ms(&self) -> Option<i64> {
        self.clock.as_ref().map(|clock| clock())
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("state_dir", &self.state_dir)
            .field("halt_file", &self.halt_file)
            .finish_non_exhaustive()
    }
}

/// The embedded store. Clones share one connection.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    options: StoreOptions,
    link: Mutex<Link>,
    queue: Queue,
    changes: Changes,
    transactions: AtomicU64,
}

/// The connection, and what must be known to use it again after a failure.
struct Link {
    conn: Option<SqliteConnection>,
    identity: open::Identity,
    /// A transaction may be open that nobody ended: its task was dropped, or it failed.
    open: bool,
}

impl Link {
    /// Makes the connection usable. Before a write it also asks whether the database's name still names the file
    /// that is open: a commit into a removed file would be acknowledged and lost.
    async fn ready(&mut self, options: &StoreOptions, write: bool) -> Outcome<()> {
        if self.open {
            self.roll_back().await;
        }
        if write && self.conn.is_some() && open::identity(options).map_err(Fail::Store)? != self.identity {
            self.conn = None;
        }
        if self.conn.is_none() {
            let (conn, identity) = open::connect(options).await.map_err(Fail::Store)?;
            self.conn = Some(conn);
            self.identity = identity;
        }
        Ok(())
    }

    fn conn(&mut self) -> Outcome<&mut SqliteConnection> {
        let error = || StoreError::Unavailable("there is no connection".to_owned());
        self.conn.as_mut().ok_or_else(|| Fail::Link { error: error(), reconnect: true, io: false })
    }

    /// Ends a transaction that failed. SQLite may have ended it already, which is as good.
    async fn roll_back(&mut self) {
        self.open = false;
        let Some(conn) = self.conn.as_mut() else { return };
        if let Err(e) = sqlx::query("ROLLBACK").execute(conn).await
            && fault::primary_code(&e) != Some(1)
        {
            self.conn = None;
        }
    }

    /// Cleans up after a failure, so that the next use finds a working connection once the cause is gone.
    async fn settle<T>(&mut self, options: &StoreOptions, done: Outcome<T>) -> Outcome<T> {
        let Err(fail) = done else { return done };
        if self.open {
            self.roll_back().await;
        }
        Err(match fail {
            Fail::Link { error, reconnect, io } => {
                if reconnect {
                    self.conn = None;
                }
                let error = match error {
                    StoreError::Unavailable(text) if io && open::no_space(options) => StoreError::Full(text),
                    other => other,
                };
                Fail::Link { error, reconnect, io }
            }
            other => other,
        })
    }
}

/// Runs one read on the connection and cleans up after it.
macro_rules! read {
    ($self:ident, |$conn:ident, $options:ident| $body:expr) => {{
        let $options = &$self.inner.options;
        let mut link = $self.inner.link.lock().await;
        let ready = link.ready($options, false).await;
        let done = match ready {
            Ok(()) => match link.conn() {
                Ok($conn) => {
                    let done: Outcome<_> = async { $body }.await;
                    done
                }
                Err(fail) => Err(fail),
            },
            Err(fail) => Err(fail),
        };
        link.settle($options, done).await
    }};
}

/// Submits a verb and takes the answer of its kind.
macro_rules! write {
    ($self:ident, $verb:expr, $kind:ident) => {
        match batch::submit(&$self.inner, $verb).await {
            Ok(Answer::$kind(answer)) => Ok(answer),
            Ok(_) => Err(unreadable("another verb's answer")),
            Err(fail) => Err(fail),
        }
    };
}

// Behind the macros that it uses.
mod keeper;
mod memory;

impl SqliteStore {
    /// Opens the store, creating it the first time. Cheap when it exists: one look at the folder, the marker and the
    /// file, one connection. The runtime must have its time enabled.
    pub async fn open(options: StoreOptions) -> Result<SqliteStore, StoreError> {
        let (conn, identity) = open::connect(&options).await?;
        let link = Link { conn: Some(conn), identity, open: false };
        Ok(SqliteStore {
            inner: Arc::new(Inner {
                options,
                link: Mutex::new(link),
                queue: Queue::default(),
                changes: Changes::default(),
                transactions: AtomicU64::new(0),
            }),
        })
    }

    /// Closes the connection, copying the write-ahead log back if nobody else has the file open.
    pub async fn close(self) {
        let conn = self.inner.link.lock().await.conn.take();
        if let Some(conn) = conn {
            let _ = conn.close().await;
        }
    }

    /// For a process that ends now: leaves the connection to the system. A clean close would remove the write-ahead
    /// log, and the next process would make it again, with several flushes each; what was committed is durable
    /// without it. Now and then the log is copied back here, after the answer has gone out.
    pub async fn leave(self) {
        let mut link = self.inner.link.lock().await;
        if link.open {
            link.roll_back().await;
        }
        if let Some(conn) = link.conn.as_mut() {
            open::fold_before_leaving(&self.inner.options, conn).await;
        }
        drop(link);
        std::mem::forget(self.inner);
    }

    /// Write transactions begun so far by this store; concurrent verbs share them.
    pub fn transactions(&self) -> u64 {
        self.inner.transactions.load(Ordering::Relaxed)
    }

    /// Whether another process committed. A connection that is in use is not waited for: it may be waiting for
    /// another process's lock itself, and whoever waits here must look at the HALT file in time.
    async fn others_committed(&self) -> bool {
        let options = &self.inner.options;
        let Ok(mut link) = self.inner.link.try_lock() else { return false };
        let seen: Outcome<i64> = match link.ready(options, false).await.and_then(|()| link.conn()) {
            Ok(conn) => sqlx::query_scalar("PRAGMA data_version").fetch_one(conn).await.map_err(Fail::from),
            Err(fail) => Err(fail),
        };
        link.settle(options, seen).await.is_ok_and(|version| self.inner.changes.version(version))
    }

    fn wall_ms(&self) -> i64 {
        let system = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        };
        self.inner.options.clock_ms().unwrap_or_else(system)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ledger(&self, key: &CallKey) -> Result<Ledger, StoreError> {
        let mut ledger =
            read!(self, |conn, options| ledger::read(conn, options, key, options.clock_ms()).await)?.ledger;
        ledger.resolved = resolve::all(&key.paths);
        Ok(ledger)
    }

    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        Ok(write!(self, Verb::Commit(Box::new(change)), Committed)?)
    }

    async fn decide(&self, decision: Decision) -> Result<Approval, DecideError> {
        let answer = write!(self, Verb::Decide(Box::new(decision)), Approval)?;
        Ok(*answer)
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
        let found = read!(self, |conn, options| approvals::find(conn, options.clock_ms(), id).await)?;
        Ok(found.map(|stored| stored.approval))
    }

    async fn pending(&self) -> Result<Vec<Approval>, StoreError> {
        const PENDING: &str = approval_query!(
            "WHERE a.status = 'PENDING' AND a.expires_at > n.now - 5000 AND NOT n.stepped ORDER BY a.seq"
        );
        Ok(read!(self, |conn, options| {
            let rows = sqlx::query(PENDING).bind(options.clock_ms()).fetch_all(conn).await?;
            approvals::parse_all(&rows)
        })?)
    }

    async fn approvals(&self, limit: u32) -> Result<Vec<Approval>, StoreError> {
        const NEWEST: &str = approval_query!("ORDER BY a.seq DESC LIMIT ?2");
        Ok(read!(self, |conn, options| {
            let query = sqlx::query(NEWEST).bind(options.clock_ms()).bind(i64::from(limit));
            approvals::parse_all(&query.fetch_all(conn).await?)
        })?)
    }

    async fn grants(&self) -> Result<Vec<GrantRow>, StoreError> {
        const WIDE: &str = "
            SELECT g.* FROM grants g JOIN tasks k ON k.task_id = g.task_id
            WHERE g.single_use = 0 AND g.ended_at IS NULL
              AND k.status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT')
            ORDER BY g.created_at, g.grant_id";
        Ok(read!(self, |conn, _options| {
            let rows = sqlx::query(WIDE).fetch_all(conn).await?;
            rows.iter().map(grant_row).collect()
        })?)
    }

    async fn revoke(&self, id: GrantId, by: &Approver) -> Result<bool, StoreError> {
        Ok(write!(self, Verb::Revoke(id, by.clone()), Flag)?)
    }

    async fn observe(&self, call: &CallRef, outcome: Ended) -> Result<Option<CallId>, StoreError> {
        Ok(write!(self, Verb::Observe(call.clone(), outcome), Call)?)
    }

    async fn end_session(&self, session: &Session) -> Result<Option<TaskId>, StoreError> {
        Ok(write!(self, Verb::EndSession(session.clone()), Task)?)
    }

    async fn tell(&self, session: &Session) -> Result<Vec<Approval>, StoreError> {
        // A client asks at every turn; nearly always there is nothing, and nothing is written then.
        let any = read!(self, |conn, options| {
            let query = sqlx::query(verbs::UNTOLD)
                .bind(options.clock_ms())
                .bind(session.client.as_str())
                .bind(&session.id);
            Ok(query.fetch_optional(conn).await?.is_some())
        })?;
        if !any {
            return Ok(Vec::new());
        }
        Ok(write!(self, Verb::Tell(session.clone()), Approvals)?)
    }

    async fn records(&self, after: u64, limit: u32) -> Result<Vec<StoredRecord>, StoreError> {
        Ok(read!(self, |conn, _options| {
            let rows = sqlx::query("SELECT seq, body, hash FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?2")
                .bind(tx::signed(after))
                .bind(i64::from(limit))
                .fetch_all(conn)
                .await?;
            rows.iter()
                .map(|row| {
                    let seq = tx::number(row.try_get("seq")?)?;
                    Ok(StoredRecord { seq, body: row.try_get("body")?, hash: row.try_get("hash")? })
                })
                .collect()
        })?)
    }

    async fn head(&self) -> Result<(u64, String), StoreError> {
        Ok(read!(self, |conn, _options| {
            let row = sqlx::query("SELECT seq, hash FROM log_head WHERE tenant = 'default'")
                .fetch_optional(conn)
                .await?
                .ok_or_else(|| unreadable("the log has no head"))?;
            Ok((tx::number(row.try_get("seq")?)?, row.try_get("hash")?))
        })?)
    }

    async fn note(&self, draft: Draft) -> Result<Sealed, StoreError> {
        let sealed = write!(self, Verb::Note(draft), Sealed)?;
        Ok(*sealed)
    }

    async fn halt(&self) -> Result<Halt, StoreError> {
        // The file says so whatever becomes of the database.
        if let there @ Halt::Present { .. } = halt::look(&self.inner.options.halt_file) {
            return Ok(there);
        }
        Ok(read!(self, |conn, options| ledger::halt(conn, options).await)?)
    }

    async fn set_halt(&self, reason: &Clean, by: &str) -> Result<(), StoreError> {
        // The file first: it stops everything even when the database cannot be written.
        let text = verbs::halt_text(reason, Timestamp(self.wall_ms()));
        let file = halt::write(&self.inner.options.halt_file, &text);
        match batch::submit(&self.inner, Verb::SetHalt(reason.clone(), by.to_owned())).await {
            Ok(_) => {
                file.map_err(|what| StoreError::Unavailable(format!("halted by the database alone: {what}")))
            }
            Err(fail) => Err(fail.into()),
        }
    }

    async fn clear_halt(&self, reason: Option<&Clean>, by: &Approver) -> Result<bool, StoreError> {
        // The record first: a halt that ends without a record would be one nobody ended.
        let cleared = write!(self, Verb::ClearHalt(reason.cloned(), by.clone()), Flag)?;
        if cleared {
            halt::remove(&self.inner.options.halt_file).map_err(StoreError::Unavailable)?;
        }
        Ok(cleared)
    }

    async fn pin(&self, kind: PinKind, name: &str) -> Result<Option<Pin>, StoreError> {
        Ok(read!(self, |conn, _options| {
            let row = sqlx::query("SELECT digest, text FROM pins WHERE kind = ?1 AND name = ?2")
                .bind(kind.as_str())
                .bind(name)
                .fetch_optional(conn)
                .await?;
            row.map(|row| {
                let digest: String = row.try_get("digest")?;
                let digest = Digest::parse(&digest).ok_or_else(|| unreadable("pin"))?;
                Ok(Pin { digest, text: row.try_get("text")? })
            })
            .transpose()
        })?)
    }

    async fn pins(&self, kind: PinKind, prefix: &str) -> Result<Vec<(String, Pin)>, StoreError> {
        Ok(read!(self, |conn, _options| {
            let rows = sqlx::query(
                "SELECT name, digest, text FROM pins WHERE kind = ?1 AND substr(name, 1, length(?2)) = ?2 ORDER BY name",
            )
            .bind(kind.as_str())
            .bind(prefix)
            .fetch_all(conn)
            .await?;
            rows.iter()
                .map(|row| {
                    let digest: String = row.try_get("digest")?;
                    let digest = Digest::parse(&digest).ok_or_else(|| unreadable("pin"))?;
                    Ok((row.try_get("name")?, Pin { digest, text: row.try_get("text")? }))
                })
                .collect()
        })?)
    }

    async fn set_pins(&self, pins: Vec<PinChange>, drafts: Vec<Draft>) -> Result<(), StoreError> {
        batch::submit(&self.inner, Verb::SetPins(pins, drafts)).await?;
        Ok(())
    }

    async fn hooked(&self, key: &HookKey) -> Result<Option<(CallId, String)>, StoreError> {
        Ok(read!(self, |conn, options| {
            let row = sqlx::query(
                "SELECT call_id, principal FROM calls
                 WHERE client = ?1 AND tool_use_id = ?2 AND tool = ?3 AND args_digest = ?4 AND door = 'hook'
                   AND ended_at IS NULL AND joined_by IS NULL
                   AND permit_at > coalesce(?5, CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) - 600000
                 ORDER BY permit_at DESC, call_id DESC LIMIT 1",
            )
            .bind(key.client.as_str())
            .bind(&key.tool_use_id)
            .bind(&key.tool)
            .bind(key.args_digest.to_string())
            .bind(options.clock_ms())
            .fetch_optional(conn)
            .await?;
            row.map(|row| {
                let id: String = row.try_get("call_id")?;
                let id = CallId::parse(&id).ok_or_else(|| unreadable("call id"))?;
                Ok((id, row.try_get("principal")?))
            })
            .transpose()
        })?)
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        Ok(read!(self, |conn, _options| {
            let rows = sqlx::query(
                "SELECT pid, started, boot, client, session_id FROM nodes WHERE kind = 'gateway' ORDER BY pid, started",
            )
            .fetch_all(conn)
            .await?;
            rows.iter()
                .map(|row| {
                    let client: String = row.try_get("client")?;
                    let client = Client::parse(&client).ok_or_else(|| unreadable("client"))?;
                    let session = Session { client, id: row.try_get("session_id")? };
                    Ok(Gateway { session, process: process(row)? })
                })
                .collect()
        })?)
    }

    async fn lose_gateway(&self, gateway: &Gateway) -> Result<u32, StoreError> {
        Ok(write!(self, Verb::LoseGateway(gateway.clone()), Number)?)
    }

    async fn agents(&self) -> Result<Vec<AgentProcess>, StoreError> {
        Ok(read!(self, |conn, options| {
            let rows = sqlx::query(
                "SELECT pid, started, boot FROM nodes WHERE kind = 'agent' AND (?1 IS NULL OR boot = ?1)
                 ORDER BY pid, started",
            )
            .bind(options.boot.as_deref())
            .fetch_all(conn)
            .await?;
            rows.iter().map(process).collect()
        })?)
    }

    async fn changed(&self, limit: Duration) {
        let changes = &self.inner.changes;
        let until = Instant::now() + limit;
        if let Some(rest) = changes.recent() {
            tokio::time::sleep(rest.min(limit)).await;
            return;
        }
        let mut next = std::pin::pin!(changes.next());
        next.as_mut().enable();
        loop {
            // While halted, a waiter is told at every look: it has to go soon and must not miss why.
            let halted = halt::look(&self.inner.options.halt_file) != Halt::Absent;
            let step = POLL.min(until.saturating_duration_since(Instant::now()));
            if step.is_zero() {
                return;
            }
            if self.others_committed().await {
                return;
            }
            tokio::select! {
                () = &mut next => return,
                () = tokio::time::sleep(step) => {}
            }
            if halted || halt::look(&self.inner.options.halt_file) != Halt::Absent {
                return;
            }
        }
    }
}

fn process(row: &sqlx::sqlite::SqliteRow) -> Outcome<AgentProcess> {
    let (pid, started): (i64, i64) = (row.try_get("pid")?, row.try_get("started")?);
    Ok(AgentProcess {
        pid: u32::try_from(pid).map_err(|_| unreadable("pid"))?,
        started: tx::number(started)?,
        boot: row.try_get("boot")?,
    })
}

fn grant_row(row: &sqlx::sqlite::SqliteRow) -> Outcome<GrantRow> {
    let get = |name: &str| -> Outcome<String> { Ok(row.try_get(name)?) };
    let digest = |name: &'static str| -> Outcome<Option<Digest>> {
        let text: Option<String> = row.try_get(name)?;
        text.map(|t| Digest::parse(&t).ok_or_else(|| unreadable(name))).transpose()
    };
    let approval: Option<String> = row.try_get("approval_id")?;
    let grant = Grant {
        grant_id: GrantId::parse(&get("grant_id")?).ok_or_else(|| unreadable("grant_id"))?,
        scope: text::scope(&get("scope")?).ok_or_else(|| unreadable("scope"))?,
        call_digest: digest("call_digest")?,
        rulebook_digest: digest("rulebook_digest")?,
        rule_digest: digest("rule_digest")?,
        approval_id: approval.as_deref().and_then(ApprovalId::parse),
    };
    Ok(GrantRow {
        grant,
        task_id: TaskId::parse(&get("task_id")?).ok_or_else(|| unreadable("task_id"))?,
        principal: get("principal")?,
        created_at: Timestamp(row.try_get("created_at")?),
        expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp),
    })
}
