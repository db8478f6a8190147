//! The six seams: everything the gate needs of the world.
//!
//! Each has at least two implementations, or a fake without which time and failure could not be tested. Futures are
//! boxed: nothing beside the cost of the IO, and no generics reach the doors. Not seams: the policy engine, the
//! audit log (a table of the store), metrics, configuration, caches.

use crate::gate::Book;
use crate::permit::{Pass, Permit, Spent};
use async_trait::async_trait;
use countersign_core::call::{HostCall, Session, ToolCall};
use countersign_core::cleanse::{Clean, Raw, Reply};
use countersign_core::code::Code;
use countersign_core::digest::Digest;
use countersign_core::event::Draft;
use countersign_core::ids::{ApprovalId, CallId, GrantId, RawId, TaskId};
use countersign_core::ledger::{
    AgentProcess, Approval, CallKey, Change, Decision, GrantRow, Halt, Ledger, Outcome, SecretView,
};
use countersign_core::principal::{Approver, Client};
use countersign_core::record::Sealed;
use countersign_core::rpc::Message;
use countersign_core::secret::{Secret, SecretRef};
use countersign_core::time::Timestamp;
use countersign_core::token::Token;
use countersign_core::vault::binding::Binding;
use countersign_core::vault::seal::Row;
use std::time::Duration;

/// The store: verbs of the product, not of tables. One read, one write a call.
#[async_trait]
pub trait Store: Send + Sync {
    /// Everything judging may know of the past, read at one instant, with the database's time.
    async fn ledger(&self, key: &CallKey) -> Result<Ledger, StoreError>;

    /// Writes a change in one durable transaction, records included; nothing of it is written when the guard moved
    /// or a condition of an operation does not hold. Concurrent calls of one process may share a flush.
    async fn commit(&self, change: Change) -> Result<Committed, CommitError>;

    /// A person's answer to a request (T2, T3): the row, its grants, the refusal memory and its record, or nothing.
    async fn decide(&self, decision: Decision) -> Result<Approval, DecideError>;

    /// One request as it is now. States that time made are derived.
    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, StoreError>;

    /// Requests that can still be decided, oldest first.
    async fn pending(&self) -> Result<Vec<Approval>, StoreError>;

    /// The newest requests whatever their state, newest first.
    async fn approvals(&self, limit: u32) -> Result<Vec<Approval>, StoreError>;

    /// Live grants that are more than a single use.
    async fn grants(&self) -> Result<Vec<GrantRow>, StoreError>;

    /// Ends a grant, and every other grant of the same request, with its record. `false` when there is none.
    async fn revoke(&self, id: GrantId, by: &Approver) -> Result<bool, StoreError>;

    /// The end of a permitted call, found by the client's key of it (the latest open call with it) or by our id.
    /// `None` when no such call is open.
    async fn observe(&self, call: &CallRef, outcome: Outcome) -> Result<Option<CallId>, StoreError>;

    /// The end of a session: its task completes, its open calls become `unknown`, its held requests are stranded.
    async fn end_session(&self, session: &Session) -> Result<Option<TaskId>, StoreError>;

    /// Parked requests of the session that were decided and not yet told to the agent; they are told now.
    async fn tell(&self, session: &Session) -> Result<Vec<Approval>, StoreError>;

    /// Records behind `after`, in order, at most `limit`.
    async fn records(&self, after: u64, limit: u32) -> Result<Vec<StoredRecord>, StoreError>;

    /// Number and hash that the log's head row names; `(0, zeros)` for an empty log.
    async fn head(&self) -> Result<(u64, String), StoreError>;

    /// Adds a record that belongs to no call.
    async fn note(&self, draft: Draft) -> Result<Sealed, StoreError>;

    /// What stops everything right now, file and rows.
    async fn halt(&self) -> Result<Halt, StoreError>;

    /// Sets the halt: the file in the project's folder first, then the row and the record. With the row missing the
    /// file still stops everything.
    async fn set_halt(&self, reason: &Clean, by: &str) -> Result<(), StoreError>;

    /// Clears the halt, file and row. `false` when nothing was halted.
    async fn clear_halt(&self, reason: Option<&Clean>, by: &Approver) -> Result<bool, StoreError>;

    /// The accepted text of a pinned thing.
    async fn pin(&self, kind: PinKind, name: &str) -> Result<Option<Pin>, StoreError>;

    /// The accepted texts of every thing of a kind whose name begins with `prefix`, by name.
    async fn pins(&self, kind: PinKind, prefix: &str) -> Result<Vec<(String, Pin)>, StoreError>;

    /// Pins things with their texts, or takes pins away, with the records of it: all or nothing.
    async fn set_pins(&self, pins: Vec<PinChange>, drafts: Vec<Draft>) -> Result<(), StoreError>;

    /// The open call that a client's hook allowed within the last 10 minutes and that no other call has taken up, with
    /// its principal.
    async fn hooked(&self, key: &HookKey) -> Result<Option<(CallId, String)>, StoreError>;

    /// Gateways that said they live and did not say they end.
    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError>;

    /// A gateway is gone without a word: its open calls become `unknown`. What waits for a person stays decidable.
    /// Returns how many calls.
    async fn lose_gateway(&self, gateway: &Gateway) -> Result<u32, StoreError>;

    /// Recorded agent processes of this boot.
    async fn agents(&self) -> Result<Vec<AgentProcess>, StoreError>;

    /// Returns when something may have changed (another process's commit, HALT), or after `limit` at the latest. A
    /// hint only: whoever waits reads again.
    async fn changed(&self, limit: Duration);
}

/// How a call is found again when it ends.
#[derive(Clone, Debug)]
pub enum CallRef {
    /// By our id.
    Id(CallId),
    /// By the client's key.
    Host(HostCall),
}

/// A row of the log as it is stored, not yet checked.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// The row's number.
    pub seq: u64,
    /// The canonical bytes.
    pub body: String,
    /// The hash stored with it.
    pub hash: String,
}

/// What a hook and the gateway both know of one call.
#[derive(Clone, Debug)]
pub struct HookKey {
    /// The client.
    pub client: Client,
    /// The client's id of the call.
    pub tool_use_id: String,
    /// The tool in policy spelling.
    pub tool: String,
    /// Digest of the acting arguments.
    pub args_digest: Digest,
}

/// A gateway process and the session that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The session.
    pub session: Session,
    /// The process.
    pub process: AgentProcess,
}

/// One pin that is set, or taken away.
#[derive(Clone, Debug)]
pub struct PinChange {
    /// Of what.
    pub kind: PinKind,
    /// Its name.
    pub name: String,
    /// What is accepted from now on; `None` takes the pin away.
    pub pin: Option<Pin>,
}

/// What is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PinKind {
    /// The project layer: configuration and policy of the project.
    Project,
    /// A server's launch.
    Server,
    /// A tool's listing, by `<server>/<tool>`.
    Tool,
    /// What a server showed instead of what was accepted: it is quarantined while this is there.
    Drift,
}

impl PinKind {
    /// The word in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            PinKind::Project => "project",
            PinKind::Server => "server",
            PinKind::Tool => "tool",
            PinKind::Drift => "drift",
        }
    }
}

/// What was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Digest of the text.
    pub digest: Digest,
    /// The text itself, so that a difference can be shown and narrowed.
    pub text: String,
}

/// A change that was written.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The database's time of it.
    pub at: Timestamp,
    /// The session's task.
    pub task_id: Option<TaskId>,
    /// Numbers of its records.
    pub seqs: Vec<u64>,
    /// For an `Ask`: the deadline of the request.
    pub expires_at: Option<Timestamp>,
    /// For a permit to send mail: the mails of this UTC day, with this one.
    pub mails_today: Option<u32>,
}

/// Why the store did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database or the project folder cannot be read or written.
    #[error("the store cannot be used: {0}")]
    Unavailable(String),
    /// The disk is full, or a quota is used up.
    #[error("the store cannot be written: no space left ({0})")]
    Full(String),
    /// The log's head does not verify; nothing may be linked to it.
    #[error("the audit log does not verify at record {seq}: {what}; run `countersign audit verify`")]
    Damaged {
        /// The record.
        seq: u64,
        /// What is wrong.
        what: String,
    },
    /// The database is gone although a log is known.
    #[error("the audit log is missing: {0}")]
    Missing(String),
}

impl StoreError {
    /// The code a call is refused with.
    pub fn code(&self) -> Code {
        match self {
            StoreError::Unavailable(_) => Code::StoreUnavailable,
            StoreError::Full(_) => Code::AuditUnavailable,
            StoreError::Damaged { .. } => Code::LogDamaged,
            StoreError::Missing(_) => Code::LogMissing,
        }
    }
}

/// Why a change was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A guarded row changed, a grant was spent, or a request ended: read and judge again.
    #[error("the state moved")]
    Moved,
    /// A counted limit is reached.
    #[error("a limit is reached: {}", .0.as_str())]
    Limit(Code),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a person's answer was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// No such request.
    #[error("there is no such request")]
    NotFound,
    /// It has already ended.
    #[error("the request has already ended as {}", .0.as_str())]
    AlreadyDecided(countersign_core::approval::Status),
    /// Its task has ended.
    #[error("its session has ended")]
    TaskEnded,
    /// Everything is halted.
    #[error("everything is halted: nothing can be approved until `countersign resume`")]
    Halted,
    /// The secret is not there, or is bound to other hosts.
    #[error("{0}")]
    BindingRequired(String),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The hands: something that performs permitted calls.
#[async_trait]
pub trait Downstream: Send + Sync {
    /// Whether the call could be performed right now: asked between judgement and commit, so that nobody is asked about
    /// a call that cannot run (DECISIONS row 27).
    async fn ready(&self, _call: &ToolCall) -> Result<(), Unready> {
        Ok(())
    }

    /// Performs exactly the call the permit is bound to. The permit is spent, whatever happens. A call is never tried
    /// twice.
    async fn perform(&self, permit: Permit, call: &ToolCall) -> Result<Raw<Reply>, PerformError>;

    /// The caller does not want the answer of a running call any more. What is running may or may not stop; `perform`
    /// still returns.
    async fn cancel(&self, _call: CallId) {}

    /// What the hand has to tell the log of a call that it performed, besides its end; told once.
    async fn records(&self, _call: CallId) -> Vec<Draft> {
        Vec::new()
    }
}

/// A hand that cannot perform now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// Why, for the agent.
    pub why: String,
    /// When it may be worth another try, in seconds from now.
    pub retry_s: Option<u64>,
}

/// Servers that speak MCP: what a relay needs of that hand beside performing calls. Everything here takes a [`Pass`],
/// which the gate makes for messages that are no calls.
#[async_trait]
pub trait Servers: Downstream {
    /// Carries a message to a server. A request is answered by the server or by an error; anything else has no answer.
    async fn carry(
        &self,
        pass: Pass,
        server: &str,
        message: &Message,
    ) -> Result<Option<Raw<Message>>, PerformError>;

    /// Makes sure that a server runs. `true` when it was started anew: what it lists must be looked at before anything
    /// is called.
    async fn wake(&self, server: &str) -> Result<bool, Unready>;

    /// Whether a server runs.
    fn runs(&self, server: &str) -> bool;

    /// What a server says by itself, in its order with the answers: notifications and requests of its own. `None` when
    /// no server will say anything any more.
    async fn hear(&self) -> Option<Heard>;
}

/// Something that a server said by itself.
#[derive(Debug)]
pub struct Heard {
    /// Which server.
    pub server: String,
    /// What.
    pub what: Said,
}

/// The kinds of [`Heard`].
#[derive(Debug)]
pub enum Said {
    /// A notification or a request.
    Message(Raw<Message>),
    /// A line that is no message, or an answer to nothing; where it came from, in words. It went nowhere.
    Garbage(String),
    /// The server is gone.
    Gone(String),
}

/// Why a permitted call gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PerformError {
    /// The permit is for another call or too old; nothing was done.
    #[error("the permit does not fit: {}", .0.as_str())]
    Permit(Code),
    /// It was tried and failed, or could not be tried: nothing was done.
    #[error("{0}")]
    Failed(String),
    /// It was sent, and the time limit came before the answer.
    #[error("no answer within the time limit: {0}")]
    TimedOut(String),
    /// It was answered, and the answer cannot be read.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    /// It was sent, and its end is not known.
    #[error("its end is not known: {0}")]
    Unknown(String),
    /// A tool of the gate says why there is nothing else: the code, and its answer.
    #[error("{}", .0.as_str())]
    Own(Code, String),
    /// The same, of a call that may have been done all the same.
    #[error("{}", .0.as_str())]
    Unsure(Code, String),
}

/// On whose authority a secret is opened; there is no fourth reason.
pub enum Authority<'a> {
    /// A permitted call.
    Call(&'a Spent),
    /// A duty's lease, for a notifier's own token.
    Lease(&'a str),
    /// The registry entry of a child being started.
    Registry(&'a str),
}

/// Where newer rules come from, for processes that live longer than the rules do.
#[async_trait]
pub trait RuleSource: Send + Sync {
    /// What is in force from now on, if that changed since it was asked last. It is asked before every judgement, so
    /// the common answer has to be cheap.
    async fn newer(&self) -> Option<Book>;
}

/// Where secrets come from.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// Opens one secret, with what it is bound to.
    async fn open(&self, name: &SecretRef, by: Authority<'_>) -> Result<Opened, Code>;

    /// Does the work of an opening and opens nothing, so that a refusal takes as long.
    async fn rehearse(&self) {}
}

/// A secret that was opened.
pub struct Opened {
    /// The value.
    pub value: Secret<Vec<u8>>,
    /// Values that it had until a day ago: they are still looked for in answers.
    pub retired: Vec<Secret<Vec<u8>>>,
    /// What it is bound to. Whoever uses it keeps to that.
    pub binding: Binding,
    /// Names the version.
    pub rotation_id: String,
    /// The database's time of opening it.
    pub opened_at: Timestamp,
}

/// What belongs to the user and not to a project: the rows of the vault, still sealed, and how secrets were used.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// The vault's header, if there is a vault, and all its rows.
    async fn vault(&self) -> Result<VaultRows, StoreError>;

    /// Puts header and rows in the place of what is there, with the record of it, if the vault is still as it was read;
    /// `false` when another process changed it meanwhile.
    async fn set_vault(&self, was: Option<&str>, now: VaultRows, record: Draft) -> Result<bool, StoreError>;

    /// What may be known of a secret without opening it.
    async fn secret(&self, name: &SecretRef) -> Result<SecretView, StoreError>;

    /// Counts a use. `false`, and nothing counted, where the principal used the secret `per_minute` times in 60 s.
    async fn secret_used(
        &self,
        name: &SecretRef,
        principal: &str,
        per_minute: u32,
    ) -> Result<bool, StoreError>;

    /// The database's time, and every token that was ever made.
    async fn tokens(&self) -> Result<(Timestamp, Vec<Token>), StoreError>;

    /// Keeps a new token, which begins now, with the record of it.
    async fn add_token(&self, token: Token, record: Draft) -> Result<(), StoreError>;

    /// Ends a token, with the record of it. `false` where there is none that counts.
    async fn revoke_token(&self, id: &str, record: Draft) -> Result<bool, StoreError>;

    /// Takes a key for a mail with this payload, before it goes to a server that knows no keys of its own.
    async fn mail_begins(&self, key: &str, payload: &str) -> Result<Begun, StoreError>;

    /// What became of a mail whose key was taken. An end that is not known is not told: the key stays taken.
    async fn mail_ended(&self, key: &str, sent: bool) -> Result<(), StoreError>;

    /// Counts an answer that held the secret. `true` where that put it into quarantine: `after` of them in 10 minutes.
    async fn secret_echoed(&self, name: &SecretRef, after: u32) -> Result<bool, StoreError>;
}

/// A person's notes: rows of the user's own store. What agents read is counted where it is read.
#[async_trait]
pub trait Notes: Send + Sync {
    /// Stores behind `after` in byte order, at most `limit`; those that were set aside, or the others.
    async fn note_stores(&self, archived: bool, after: &str, limit: u32) -> Result<Vec<String>, StoreError>;

    /// Notes of a store behind `after` in byte order, at most `limit`, with their sizes in bytes. `None`: no such store.
    /// One that was set aside is there for its owner, not for agents.
    async fn note_keys(
        &self,
        store: &str,
        archived: bool,
        after: &str,
        limit: u32,
    ) -> Result<Option<Vec<(String, u64)>>, StoreError>;

    /// A whole note, for its owner, also of a store that was set aside. Nothing is counted.
    async fn note_value(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// The beginning of a note, for an agent: looked up, read and counted against what the principal may read in one
    /// transaction, so that reads at once cannot go over it together.
    async fn recall(&self, what: &Recall) -> Result<Recalled, StoreError>;

    /// A person changes notes; returns the name of what was changed as it is there.
    async fn change_notes(&self, change: NoteChange) -> Result<String, NoteError>;
}

/// What an agent wants to read.
#[derive(Clone, Debug)]
pub struct Recall {
    /// Who.
    pub principal: String,
    /// The store, exactly.
    pub store: String,
    /// The note, exactly.
    pub key: String,
    /// Most bytes that are shown of it.
    pub max_bytes: usize,
}

/// What came of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recalled {
    /// There is no such note. Nothing was counted.
    Missing,
    /// The principal has read as much as it may for now. Nothing was counted.
    Exceeded,
    /// Read, and counted.
    Read {
        /// The note's beginning: a few bytes more than are shown.
        bytes: Vec<u8>,
        /// There is more of it.
        longer: bool,
    },
}

/// What a person does to notes.
#[derive(Clone, Debug)]
pub enum NoteChange {
    /// Writes a note, and makes its store.
    Set {
        /// The store.
        store: String,
        /// The note.
        key: String,
        /// What it says, byte for byte.
        value: Vec<u8>,
        /// In the place of one that is there.
        replace: bool,
    },
    /// Takes a note away.
    Remove {
        /// The store.
        store: String,
        /// The note.
        key: String,
    },
    /// Takes a store away with all its notes, also one that was set aside.
    RemoveStore(String),
    /// Sets a store aside: agents do not see it.
    Archive(String),
    /// Brings a store back that was set aside: the one of exactly this name, or the last of those that had it.
    Restore(String),
}

/// Why notes were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Nothing of this name.
    #[error("there is no {0}")]
    Missing(String),
    /// It is there already.
    #[error("there is a {0} already")]
    Exists(String),
    /// Something is there whose name differs by case alone, so some systems would take both for one.
    #[error("exists_with_other_case: there is `{0}`, whose name differs by upper and lower case alone")]
    OtherCase(String),
    /// No name for something new.
    #[error("the name `{0}` {1}")]
    Name(String, String),
    /// Larger than a note may be.
    #[error("it has {0} bytes, and a note has at most {most}", most = countersign_core::notes::MAX_VALUE_BYTES)]
    TooLarge(usize),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a mail may go out under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It may; nobody else may until its end is told.
    Taken,
    /// This very mail went out.
    Sent,
    /// Another mail has the key.
    Other,
    /// Somebody took the key and did not say what became of the mail: it may have gone out.
    Open,
}

/// A vault as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultRows {
    /// The database's time of the read.
    pub now: Timestamp,
    /// `core::vault::seal::Header::text`; none where there is no vault.
    pub header: Option<String>,
    /// Every version of every secret, retired ones too.
    pub rows: Vec<Row>,
}

/// What came of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It arrived.
    Delivered,
    /// Try again after this long.
    Retry(Duration),
    /// It will never arrive.
    Hopeless(String),
}

/// A way to tell a person that something waits.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Tells about one request. The outcome changes no timer and no decision (INV-76).
    async fn deliver(&self, about: &Approval) -> Delivery;
}

/// Starts agents for unattended tasks.
#[async_trait]
pub trait Runner: Send + Sync {
    /// Starts the agent of a task in the folder given; returns its process.
    async fn start(&self, task: TaskId, folder: &str) -> Result<AgentProcess, String>;
}

/// Time and chance. The wall clock is the database's; this one only waits, measures and mints ids.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Time since some fixed point, running through suspension and never set back.
    fn elapsed(&self) -> Duration;

    /// Waits.
    async fn sleep(&self, time: Duration);

    /// A fresh id.
    fn fresh_id(&self) -> RawId;
}
