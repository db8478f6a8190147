//! Approvals: the states of a request, the windows it lives in and the scopes a person may grant.
//!
//! `scope` holds the grammar of what may be granted. Rows live in the store; here are the pure rules over them.

pub mod scope;

use crate::time::Timestamp;
use scope::Scope;

/// Wait that no rule, limit or setting can shorten, in seconds.
pub const FLOOR_S: i64 = 30;
/// Kept free at the end of a background task's life, in seconds.
pub const CLEANUP_MARGIN_S: i64 = 120;
/// Kept free before the client's own limit, in seconds (DECISIONS row 31).
pub const CLIENT_MARGIN_S: i64 = 10;
/// A decision this much after the deadline still counts while nobody wrote the time-out down, in seconds.
pub const LATE_S: i64 = 5;
/// A hold whose waiter did not write its end this long after the deadline has no living waiter, in seconds.
pub const WAITER_LOST_S: i64 = 10;

/// Why a request ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strand {
    /// Its task or call was cancelled.
    Cancelled,
    /// The asking side took it back.
    Declined,
    /// A halt came.
    Halted,
    /// Nobody waits for it any more.
    WaiterLost,
    /// The node that held it is gone.
    NodeLost,
}

impl Strand {
    /// The word in rows and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Strand::Cancelled => "cancelled",
            Strand::Declined => "declined",
            Strand::Halted => "halted",
            Strand::WaiterLost => "waiter_lost",
            Strand::NodeLost => "node_lost",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Strand> {
        [Self::Cancelled, Self::Declined, Self::Halted, Self::WaiterLost, Self::NodeLost]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// State of a request: `Pending`, then exactly one of the others, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// A person may still answer.
    Pending,
    /// A person said yes.
    Approved,
    /// A person said no.
    Denied,
    /// Nobody answered in time.
    TimedOut,
    /// It ended without an answer; the reason says why.
    Stranded(Strand),
}

impl Status {
    /// The word in rows and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::Approved => "APPROVED",
            Status::Denied => "DENIED",
            Status::TimedOut => "TIMED_OUT",
            Status::Stranded(_) => "STRANDED",
        }
    }

    /// Reads the word and, for `STRANDED`, its reason.
    pub fn parse(word: &str, reason: Option<&str>) -> Option<Status> {
        Some(match word {
            "PENDING" => Status::Pending,
            "APPROVED" => Status::Approved,
            "DENIED" => Status::Denied,
            "TIMED_OUT" => Status::TimedOut,
            "STRANDED" => Status::Stranded(Strand::parse(reason?)?),
            _ => return None,
        })
    }
}

/// What can happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A person said yes.
    Approve,
    /// A person said no.
    Deny,
    /// The deadline was seen to have passed.
    Expire,
    /// It lost its reason to wait.
    Strand(Strand),
}

/// Why a happening changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The request has already ended; nothing re-opens.
    #[error("the request has already ended as {}", .0.as_str())]
    Ended(Status),
    /// The deadline has not come yet.
    #[error("the deadline has not come yet")]
    TooEarly,
}

/// The one edge a request may take (INV-30, INV-32, P-10). `expires_at` is the deadline, `now` the database's time.
/// A person's answer up to [`LATE_S`] after the deadline counts as long as the row is still pending: an approval
/// that landed first wins over a late clock.
pub fn step(
    status: Status,
    happening: Happening,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Status, StepError> {
    match (status, happening) {
        (Status::Pending, Happening::Approve | Happening::Deny) if now >= expires_at.plus_s(LATE_S) => {
            Err(StepError::Ended(Status::TimedOut))
        }
        (Status::Pending, Happening::Approve) => Ok(Status::Approved),
        (Status::Pending, Happening::Deny) => Ok(Status::Denied),
        (Status::Pending, Happening::Expire) if now < expires_at => Err(StepError::TooEarly),
        (Status::Pending, Happening::Expire) => Ok(Status::TimedOut),
        (Status::Pending, Happening::Strand(why)) => Ok(Status::Stranded(why)),
        (ended, _) => Err(StepError::Ended(ended)),
    }
}

/// Whether somebody is held while the request is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// A caller is held until the answer comes.
    Hold,
    /// The caller was sent away with a handle and may come back.
    Park,
}

impl Wait {
    /// The word in rows and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Wait::Hold => "hold",
            Wait::Park => "park",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Wait> {
        [Wait::Hold, Wait::Park].into_iter().find(|w| w.as_str() == text)
    }
}

/// How urgent a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Severity {
    /// Harmless if wrong.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Hard to undo.
    High,
}

impl Severity {
    /// The word in rules, rows and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Severity> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|s| s.as_str() == text)
    }
}

/// What shortened a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clip {
    /// A rule asked for less than the task's default.
    RuleAnnotation,
    /// The background task ends before.
    MaxLifetime,
    /// The client's own limit shortens the hold, not the window.
    HarnessHook,
}

impl Clip {
    /// The word in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Clip::RuleAnnotation => "rule_annotation",
            Clip::MaxLifetime => "maxLifetime_ceiling",
            Clip::HarnessHook => "harness_hook_ceiling",
        }
    }
}

/// The window of a held request: `max(30, min(asked, default, lifetime - 120))` in seconds (DECISIONS row 30,
/// INV-4, INV-26). `lifetime_s` is what is left of a background task; interactive tasks have no such term.
/// `None` when less than 30 s would be left: nothing is opened then (INV-27).
pub fn window_s(asked_s: i64, default_s: i64, lifetime_s: Option<i64>) -> Option<(i64, Option<Clip>)> {
    let life = lifetime_s.map(|s| s - CLEANUP_MARGIN_S);
    if life.is_some_and(|s| s < FLOOR_S) {
        return None;
    }
    let own = asked_s.min(default_s);
    let (bound, clip) = match life {
        Some(life) if life < own => (life, Some(Clip::MaxLifetime)),
        _ if asked_s < default_s => (own, Some(Clip::RuleAnnotation)),
        _ => (own, None),
    };
    Some((bound.max(FLOOR_S), clip))
}

/// How long the caller is held: `min(window, client limit - 10, configured hold)` in seconds, never below 0
/// (DECISIONS row 30). The second value tells when the client's limit was the tightest term.
pub fn hold_s(window_s: i64, client_limit_s: Option<i64>, configured_s: Option<i64>) -> (i64, Option<Clip>) {
    let mut hold = window_s.min(configured_s.unwrap_or(i64::MAX));
    let mut clip = None;
    if let Some(limit) = client_limit_s.map(|s| s - CLIENT_MARGIN_S)
        && limit < hold
    {
        hold = limit;
        clip = Some(Clip::HarnessHook);
    }
    (hold.max(0), clip)
}

/// What a person answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, to this much.
    Approve {
        /// What is granted. `ThisCall` grants exactly the pending call.
        scope: Scope,
    },
    /// No, and why: already cleansed and cut to 2 000 characters.
    Deny {
        /// The reason the agent reads.
        reason: crate::cleanse::Clean,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(1_000_000);

    /// INV-30, INV-32: every pair of happenings, in both orders, ends in one state that never changes again.
    #[test]
    fn a_request_ends_once() {
        let all = [
            Happening::Approve,
            Happening::Deny,
            Happening::Expire,
            Happening::Strand(Strand::Cancelled),
            Happening::Strand(Strand::WaiterLost),
        ];
        let expires = T0.plus_s(60);
        for first in all {
            for at in [0, 59, 60, 64, 65, 1_000] {
                let now = T0.plus_s(at);
                let Ok(ended) = step(Status::Pending, first, now, expires) else { continue };
                assert_ne!(ended, Status::Pending);
                for second in all {
                    assert_eq!(step(ended, second, now, expires), Err(StepError::Ended(ended)));
                }
            }
        }
    }

    #[test]
    fn late_answers_count_for_five_seconds_only() {
        let expires = T0.plus_s(60);
        assert_eq!(step(Status::Pending, Happening::Approve, T0.plus_s(64), expires), Ok(Status::Approved));
        let late = step(Status::Pending, Happening::Approve, T0.plus_s(65), expires);
        assert_eq!(late, Err(StepError::Ended(Status::TimedOut)));
        assert_eq!(
            step(Status::Pending, Happening::Expire, T0.plus_s(59), expires),
            Err(StepError::TooEarly)
        );
    }

    /// INV-4, INV-26, INV-27: both formulas of DECISIONS row 30, against a plain restatement.
    #[test]
    fn windows_and_holds() {
        for asked in [30, 120, 300, 600] {
            for default in [30, 300, 3_600] {
                for life in [None, Some(149), Some(150), Some(200), Some(10_000)] {
                    let got = window_s(asked, default, life);
                    let floor_met = life.is_none_or(|l| l - 120 >= 30);
                    assert_eq!(got.is_some(), floor_met);
                    if let Some((window, _)) = got {
                        let want = asked.min(default).min(life.map_or(i64::MAX, |l| l - 120)).max(30);
                        assert_eq!(window, want, "{asked} {default} {life:?}");
                    }
                }
            }
        }
        assert_eq!(window_s(120, 300, None), Some((120, Some(Clip::RuleAnnotation))));
        assert_eq!(hold_s(300, Some(3_630), None), (300, None));
        assert_eq!(hold_s(300, Some(30), None), (20, Some(Clip::HarnessHook)));
        assert_eq!(hold_s(300, Some(5), None), (0, Some(Clip::HarnessHook)));
        assert_eq!(hold_s(300, Some(600), Some(2)), (2, None));
    }
}
