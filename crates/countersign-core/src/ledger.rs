//! What judging may know of the past, and what a judgement changes.
//!
//! The store reads a [`Ledger`] for a [`CallKey`] in one go and writes a [`Change`] in one transaction. Both are plain
//! values: nothing here knows SQL, files or clocks. The version guards exactly the rows the key read (task, grants
//! and refusals for this call, pins, halt), never the head of the log, so unrelated calls do not conflict.

use crate::approval::scope::Scope;
use crate::approval::{Answer, Severity, Status, Strand, Wait};
use crate::call::{Door, HostCall, Session};
use crate::cleanse::Clean;
use crate::digest::Digest;
use crate::event::Draft;
use crate::ids::{ApprovalId, CallId, GrantId, TaskId};
use crate::principal::{Assurance, Client};
use crate::task::TaskStatus;
use crate::time::Timestamp;
use crate::vault::binding::Binding;

/// What to read for a call.
#[derive(Clone, Debug)]
pub struct CallKey {
    /// The run the call belongs to.
    pub session: Session,
    /// The principal's id.
    pub principal: String,
    /// The tool.
    pub tool: String,
    /// Digest of the acting arguments.
    pub args_digest: Digest,
    /// Digest of exactly what is judged.
    pub call_digest: Digest,
    /// The rulebook in force; the ledger says whether it was validated before.
    pub rulebook_digest: Digest,
    /// Absolute paths to look up: their resolved forms and identities come back in [`Ledger::resolved`].
    pub paths: Vec<String>,
    /// The server that is called and its tool, whose pins come back in [`Ledger::trust`].
    pub server: Option<(String, String)>,
    /// The hook's decision that the call wants to take up; [`Ledger::joined`] says whether it still can.
    pub joins: Option<CallId>,
    /// A limit on calls is configured, so permits and running calls must be counted; without one that would be work
    /// for nothing, and grow with every call whose end nobody told.
    pub counted: bool,
    /// The call sends mail, so the mails of the day are counted.
    pub mails: bool,
}

/// What was accepted of a server and of one of its tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// How the server is started.
    pub launch: Option<Digest>,
    /// What the tool's listing says.
    pub tool: Option<Digest>,
    /// A tool of it changed, and nobody accepted that yet.
    pub quarantined: bool,
}

/// What may be known of a secret without opening it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretView {
    /// What it is bound to; `None` when there is no such secret.
    pub binding: Option<Binding>,
    /// Too many answers held it lately: grants do not count, a person is asked.
    pub quarantined: bool,
}

/// Digest over the guarded rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub Digest);

/// Whether everything is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Neither file nor row.
    Absent,
    /// Stopped; the reason is cleansed.
    Present {
        /// Why.
        reason: Clean,
    },
    /// It could not be ruled out; counts as stopped.
    Unknown {
        /// What stood in the way.
        why: Clean,
    },
}

/// The task of the call's session, as far as judging needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// Its id.
    pub task_id: TaskId,
    /// Its state.
    pub status: TaskStatus,
    /// Requests opened so far.
    pub gate_count: u32,
    /// Most requests it may open; frozen when the task began.
    pub gate_cap: u32,
    /// Requests opened in the last 60 s.
    pub gates_last_minute: u32,
    /// Requests it is held by right now.
    pub waiting: u32,
    /// A flagged result reached the agent since the last human decision.
    pub tainted: Option<Taint>,
}

/// Where the suspicion of a task comes from (DECISIONS row 19). The first flagged result since a person looked is kept:
/// what came later may be its doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taint {
    /// The call whose result was flagged and passed.
    pub by: CallId,
    /// When its end was recorded.
    pub at: Timestamp,
}

/// A stored permission, live at [`Ledger::now`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub grant_id: GrantId,
    /// What it grants. `ThisCall` is spent by one use.
    pub scope: Scope,
    /// For `ThisCall`: the call it is bound to.
    pub call_digest: Option<Digest>,
    /// For `ThisCall`: the rulebook it was given under.
    pub rulebook_digest: Option<Digest>,
    /// For `rule` scopes: digest of the rule's text when it was given.
    pub rule_digest: Option<Digest>,
    /// The request that gave it.
    pub approval_id: Option<ApprovalId>,
}

/// How a refusal came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// A person said no.
    Denied,
    /// Nobody answered.
    TimedOut,
}

impl Refused {
    /// The word in rows and reasons.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::Denied => "DENIED",
            Refused::TimedOut => "TIMED_OUT",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Refused> {
        [Refused::Denied, Refused::TimedOut].into_iter().find(|r| r.as_str() == text)
    }
}

/// A refusal of the last `approvals.refusal_memory_s` seconds in this task, for this tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it remembers.
    pub key: RefusalKey,
    /// How it came about.
    pub how: Refused,
    /// What the agent was told.
    pub reason: Clean,
    /// When.
    pub decided_at: Timestamp,
}

/// The two keys of the refusal memory (approvals.md 1.9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKey {
    /// The same arguments again.
    Input(Digest),
    /// The same rule again, whatever the arguments.
    Rule(String),
}

/// A pending request for exactly this call: the caller attaches to it instead of asking again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// Its id.
    pub approval_id: ApprovalId,
    /// Held or parked.
    pub wait: Wait,
    /// Its deadline.
    pub expires_at: Timestamp,
    /// The rulebook it was asked under.
    pub rulebook_digest: Digest,
}

/// What a path names on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The path as it was asked for.
    pub asked: String,
    /// With links followed, the not yet existing rest appended; `None` when a loop or fault stood in the way.
    pub real: Option<String>,
    /// Device and inode of an existing file.
    pub identity: Option<(u64, u64)>,
}

/// All that judging may know of the past.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Guards what was read.
    pub version: Version,
    /// The database's time, never before the last record.
    pub now: Timestamp,
    /// Whether everything is stopped.
    pub halt: Halt,
    /// The session's task; `None` before its first call.
    pub task: Option<TaskView>,
    /// Live grants that could cover this call: single-use ones for its digest, scopes of its task.
    pub grants: Vec<Grant>,
    /// Live refusals for this tool in this task that could concern this call.
    pub refusals: Vec<Refusal>,
    /// A pending request for exactly this call by this principal.
    pub open: Option<OpenRequest>,
    /// Permits of the last 60 s; 0 unless the key asked for counts.
    pub permits_last_minute: u32,
    /// Calls running now, younger than 24 h; 0 unless the key asked for counts.
    pub open_calls: u32,
    /// Mails of this UTC day that were sent, or may have been, or are under way; 0 unless the key asked. A mail that
    /// certainly failed is none of them.
    pub mails_today: u32,
    /// What was accepted of the key's server and tool.
    pub trust: Trust,
    /// The hook's decision can be taken up: it allowed this very call within the last 10 minutes, and no other call
    /// has taken it up.
    pub joined: bool,
    /// What the key's paths name.
    pub resolved: Vec<Resolved>,
    /// What is known of the secret that the call names; `None` when it names none.
    pub secret: Option<SecretView>,
    /// The rulebook of the key was validated before by this engine.
    pub rulebook_known: bool,
}

impl Ledger {
    /// Why the task is suspected to follow orders that came with a result.
    pub fn tainted(&self) -> Option<Taint> {
        self.task.as_ref().and_then(|task| task.tainted)
    }

    /// A ledger in which nothing has happened yet: for judging a call without a store.
    pub fn blank(now: Timestamp, resolved: Vec<Resolved>) -> Ledger {
        Ledger {
            version: Version(Digest::of("countersign-blank-ledger", &[])),
            now,
            halt: Halt::Absent,
            task: None,
            grants: Vec::new(),
            refusals: Vec::new(),
            open: None,
            permits_last_minute: 0,
            open_calls: 0,
            mails_today: 0,
            trust: Trust::default(),
            joined: false,
            resolved,
            secret: None,
            rulebook_known: true,
        }
    }
}

/// The row of a permitted call.
#[derive(Clone, Debug)]
pub struct CallRow {
    /// Our id.
    pub call_id: CallId,
    /// Where it came in.
    pub door: Door,
    /// Its run.
    pub session: Session,
    /// The client's key of it.
    pub host: Option<HostCall>,
    /// Who asked.
    pub principal: String,
    /// The tool.
    pub tool: String,
    /// Digest of the acting arguments.
    pub args_digest: Digest,
    /// Digest of exactly what was judged.
    pub call_digest: Digest,
}

/// A new request to a person.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// Its id.
    pub approval_id: ApprovalId,
    /// The call it is about.
    pub call_id: CallId,
    /// Who asks.
    pub principal: String,
    /// In which program.
    pub client: Client,
    /// The tool.
    pub tool: String,
    /// Cleansed arguments, at most 256 characters.
    pub preview: Clean,
    /// Cleansed arguments, complete.
    pub display: Clean,
    /// Folder a shell call runs in, cleansed.
    pub cwd: Option<Clean>,
    /// Digest of the acting arguments.
    pub args_digest: Digest,
    /// What the answer will be bound to.
    pub call_digest: Digest,
    /// The rulebook it is asked under.
    pub rulebook_digest: Digest,
    /// Why a person is needed.
    pub reason: Clean,
    /// How urgent.
    pub severity: Severity,
    /// The rules that ask, in policy order.
    pub rules: Vec<String>,
    /// The window in seconds.
    pub timeout_s: i64,
    /// Held or parked.
    pub wait: Wait,
    /// The narrowest standing scope that covers exactly this call: what `approve --always` writes. `None` for a
    /// line that is not understood or whose text holds a secret.
    pub exact: Option<Scope>,
    /// The owner who may decide.
    pub owner: String,
    /// `owner/name` of origin, if known.
    pub repo: Option<String>,
}

/// A request as it is stored.
#[derive(Clone, Debug)]
pub struct Approval {
    /// What was asked.
    pub request: NewRequest,
    /// The task it belongs to.
    pub task_id: TaskId,
    /// Its state.
    pub status: Status,
    /// When it was opened.
    pub created_at: Timestamp,
    /// Its deadline.
    pub expires_at: Timestamp,
    /// When it ended.
    pub decided_at: Option<Timestamp>,
    /// Who ended it.
    pub decided_by: Option<String>,
    /// Through what: `cli`, `timer`, `halt`, …
    pub decided_via: Option<String>,
    /// What was granted.
    pub scope: Option<Scope>,
    /// Why not.
    pub deny_reason: Option<Clean>,
    /// Whether the waiting caller has taken the answer.
    pub resumed: bool,
}

/// How a caller's wait ended without a yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// The hold is over, the window is not: the row turns from hold to park.
    Park,
    /// The window is over.
    Expire,
    /// It lost its reason to wait.
    Strand(Strand),
    /// The answer was a no, or the second judgement refused: the caller has taken it.
    Taken,
}

/// A process that agents run in, so that its descendants are not taken for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProcess {
    /// Process id.
    pub pid: u32,
    /// Start time in the system's own unit.
    pub started: u64,
    /// Id of the boot it belongs to.
    pub boot: String,
}

/// One thing a change does. Each is conditional; when its condition does not hold the whole change is undone.
#[derive(Clone, Debug)]
pub enum Op {
    /// A permit: the call's row. The limits are checked again here; `spend` is spent, `resume` is taken (T5, T8).
    Permit {
        /// The call.
        call: Box<CallRow>,
        /// Most permits in 60 s; 0 = unlimited.
        per_minute: u32,
        /// Most calls at once; 0 = unlimited.
        concurrent: u32,
        /// The single-use grant to spend.
        spend: Option<GrantId>,
        /// The held request this permit answers.
        resume: Option<ApprovalId>,
        /// The hook's decision this permit takes up; it counts as one call with it.
        joins: Option<CallId>,
    },
    /// The day has fewer mails than this: stands before the permit that takes one of them.
    Mails {
        /// Most mails of a UTC day.
        most: u32,
    },
    /// A request to a person (T1). Cap and creation rate are checked again here.
    Ask {
        /// The request.
        request: Box<NewRequest>,
        /// Most requests opened by the task in 60 s.
        per_minute: u32,
    },
    /// A held request's caller goes (T4, T5, park).
    EndHold {
        /// The request.
        approval_id: ApprovalId,
        /// How.
        how: HoldEnd,
    },
    /// The rulebook was validated by this engine version.
    RulebookValidated {
        /// Its digest.
        digest: Digest,
        /// The engine's version.
        engine: String,
    },
    /// The session's agent process.
    Agent(AgentProcess),
    /// A gateway lives, and is this session.
    Gateway(AgentProcess, Session),
}

/// What a judgement, or a person's verb, changes: one transaction.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The rows that must not have moved since they were read; `None` when nothing was read.
    pub guard: Option<(CallKey, Version)>,
    /// Opens the session's interactive task under this id if it has none.
    pub open_task: Option<OpenTask>,
    /// What happens.
    pub ops: Vec<Op>,
    /// The records of it. Drafts without a task get the session's.
    pub drafts: Vec<Draft>,
}

/// An interactive task to open with the first call of a session.
#[derive(Clone, Debug)]
pub struct OpenTask {
    /// The session.
    pub session: Session,
    /// The id to use if the session has no task.
    pub fresh: TaskId,
    /// Who owns it.
    pub owner: String,
    /// Most requests it may open, frozen now.
    pub gate_cap: u32,
}

/// A person's decision on a request.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The request.
    pub approval_id: ApprovalId,
    /// The answer.
    pub answer: Answer,
    /// Who answers.
    pub by: crate::principal::Approver,
    /// Through what.
    pub via: Via,
    /// Ids for the grants of a yes: the single use, and the wider scope if one is given.
    pub fresh: [GrantId; 2],
    /// How long a held single-use yes waits for its call, in seconds; a parked one lives to its deadline.
    pub grant_ttl_s: i64,
    /// How long a no is remembered, in seconds; 0 = not at all.
    pub refusal_memory_s: i64,
    /// Digest of the text of the rule that a `rule` scope names.
    pub rule_digest: Option<Digest>,
}

/// Through what a request was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the words of NAMES section 0
pub enum Via {
    Rest,
    Cli,
    Console,
    Slack,
    Timer,
    Reconciler,
    Cancel,
    Halt,
}

impl Via {
    /// The word in rows and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Via::Rest => "rest",
            Via::Cli => "cli",
            Via::Console => "console",
            Via::Slack => "slack",
            Via::Timer => "timer",
            Via::Reconciler => "reconciler",
            Via::Cancel => "cancel",
            Via::Halt => "halt",
        }
    }
}

/// Least assurance for a severity when nothing raises it (DECISIONS row 42).
pub fn least_assurance(severity: Severity) -> Assurance {
    match severity {
        Severity::Low | Severity::Medium => Assurance::Chat,
        Severity::High => Assurance::Cli,
    }
}

/// A grant as people list and revoke it.
#[derive(Clone, Debug)]
pub struct GrantRow {
    /// The grant.
    pub grant: Grant,
    /// Its task.
    pub task_id: TaskId,
    /// Who may use it.
    pub principal: String,
    /// When it was given.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What came of a permitted call.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `ok`, `error`, `withheld` or `unknown`.
    pub outcome: CallOutcome,
    /// A code when the result was withheld or the end is not known.
    pub code: Option<crate::code::Code>,
    /// How long it ran, if known, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Size of the result in bytes.
    pub bytes: i64,
    /// What was taken out of the result: id of the shape and how often.
    pub redactions: crate::cleanse::Redactions,
    /// Orders to a model that the result holds.
    pub injection: Option<crate::cleanse::injection::Finding>,
    /// What else is to be told of the call, in the same transaction.
    pub records: Vec<Draft>,
}

impl Outcome {
    /// Whether this end makes its task suspicious: the result was flagged and has not been kept back.
    pub fn taints(&self) -> bool {
        self.injection.is_some() && self.outcome != CallOutcome::Withheld
    }
}

/// How an executed call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// It did what was asked.
    Ok,
    /// It failed by itself.
    Error,
    /// It ran, and its result is kept back.
    Withheld,
    /// It was let go, and its end was never told.
    Unknown,
}

impl CallOutcome {
    /// The word in rows and records.
    pub fn as_str(self) -> &'static str {
        match self {
            CallOutcome::Ok => "ok",
            CallOutcome::Error => "error",
            CallOutcome::Withheld => "withheld",
            CallOutcome::Unknown => "unknown",
        }
    }
}
