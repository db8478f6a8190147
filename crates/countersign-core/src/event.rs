//! The closed list of what can be told (NAMES section 4), and the drafts of records made from it.
//!
//! A draft may be written by anyone; only the chain makes a record of it. Text of agents and people enters a draft
//! as [`Clean`] or as a keyed digest, never raw.

use crate::cleanse::Clean;
use crate::digest::Digest;
use crate::ids::{ApprovalId, CallId, TaskId};
use crate::json::Json;
use crate::time::Timestamp;

macro_rules! events {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// Name of an event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // the words are those of NAMES section 4
        pub enum Event { $($name),* }

        impl Event {
            /// Every event.
            pub const ALL: &'static [Event] = &[$(Event::$name),*];

            /// The word on every wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Event::$name => $text),* }
            }

            /// Reads the word.
            pub fn parse(text: &str) -> Option<Event> {
                match text { $($text => Some(Event::$name),)* _ => None }
            }
        }
    };
}

events! {
    CallJudged = "call.judged",
    CallFinished = "call.finished",
    TaskStarted = "task_started",
    TaskCompleted = "task_completed",
    ApprovalRequested = "approval_requested",
    ApprovalDecisionRecorded = "approval_decision_recorded",
    ApprovalGranted = "approval_granted",
    ApprovalDenied = "approval_denied",
    ApprovalTimedOut = "approval_timed_out",
    ApprovalStranded = "approval_stranded",
    ApprovalParked = "approval_parked",
    ApprovalRedeemed = "approval_redeemed",
    ApprovalRevoked = "approval_revoked",
    ApprovalTimeoutCapped = "approval_timeout_capped",
    ApprovalLateWin = "approval_late_win",
    ApprovalCapExceeded = "approval_cap_exceeded",
    ApprovalRateLimitExceeded = "approval_rate_limit_exceeded",
    ApprovalAnswerReused = "approval_answer_reused",
    UserDenialInjected = "user_denial_injected",
    HaltSet = "halt.set",
    HaltCleared = "halt.cleared",
    ModeChanged = "mode.changed",
    ConfigChanged = "config.changed",
    TrustFirstSeen = "trust.first_seen",
    TrustAccepted = "trust.accepted",
    TrustDriftBlocked = "trust.drift_blocked",
    TrustToolChanged = "trust.tool_changed",
    ServerConnected = "server.connected",
    ServerFailed = "server.failed",
    SecretChanged = "secret.changed",
    SecretUsed = "secret.used",
    SecretEchoed = "secret.echoed",
    SecretQuarantined = "secret.quarantined",
    MailSent = "mail.sent",
    MemoryRead = "memory.read",
    LogNote = "log.note",
    LogDamaged = "log.damaged",
    ClockSteppedBack = "clock.stepped_back",
}

/// A record before it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What happened.
    pub event: Event,
    /// The call it is about.
    pub call_id: Option<CallId>,
    /// The task it is about.
    pub task_id: Option<TaskId>,
    /// The request it is about.
    pub approval_id: Option<ApprovalId>,
    /// The keys that NAMES and approvals.md 2.7 list for this event.
    pub data: Json,
}

impl Draft {
    /// An event with its own keys; `None` members are left out, never null.
    pub fn new(event: Event, keys: impl IntoIterator<Item = (&'static str, Option<Json>)>) -> Draft {
        let data = Json::object(keys.into_iter().filter_map(|(k, v)| v.map(|v| (k, v))));
        Draft { event, call_id: None, task_id: None, approval_id: None, data }
    }

    /// A remark in the log.
    pub fn note(text: &str) -> Draft {
        let text = crate::cleanse::clean_line(text, 1_000);
        Draft::new(Event::LogNote, [("text", Some(Json::str(text.as_str())))])
    }

    /// One more key; without a value it is left out.
    pub fn with(mut self, key: &str, value: Option<Json>) -> Draft {
        if let Some(value) = value {
            self.data.set(key, value);
        }
        self
    }

    /// Names the call.
    pub fn call(mut self, id: CallId) -> Draft {
        self.call_id = Some(id);
        self
    }

    /// Names the task.
    pub fn task(mut self, id: Option<TaskId>) -> Draft {
        self.task_id = id;
        self
    }

    /// Names the request.
    pub fn approval(mut self, id: ApprovalId) -> Draft {
        self.approval_id = Some(id);
        self
    }

    pub(crate) fn body(&self, seq: u64, prev: &Digest, at: Timestamp) -> Json {
        let mut body = Json::object([
            ("v", Json::int(1)),
            ("seq", Json::Number(seq.to_string())),
            ("prev", Json::str(prev.to_string())),
            ("at", Json::str(at.to_string())),
            ("event", Json::str(self.event.as_str())),
            ("data", self.data.clone()),
        ]);
        let ids = [
            ("call_id", self.call_id.map(|i| i.to_string())),
            ("task_id", self.task_id.map(|i| i.to_string())),
            ("approval_id", self.approval_id.map(|i| i.to_string())),
        ];
        for (key, id) in ids {
            if let Some(id) = id {
                body.set(key, Json::str(id));
            }
        }
        body
    }
}

/// Cleansed text as a JSON string.
pub fn text(clean: &Clean) -> Option<Json> {
    Some(Json::str(clean.as_str()))
}

/// A number.
pub fn int(n: i64) -> Option<Json> {
    Some(Json::int(n))
}

/// A word of a closed list, an id or a digest.
pub fn word(w: impl std::fmt::Display) -> Option<Json> {
    Some(Json::str(w.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for e in Event::ALL {
            assert_eq!(Event::parse(e.as_str()), Some(*e));
        }
    }
}
