//! Tasks: the session or unattended run that a call belongs to, and the edges its state may take.
//!
//! The table of legal edges is here once; the database enforces the same table with a trigger made from it.

/// State of a task (approvals.md 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the words are those of the specification and say what they are
pub enum TaskStatus {
    PendingUploads,
    Queued,
    Submitted,
    Hydrating,
    Running,
    AwaitingApproval,
    Finalizing,
    Completed,
    Failed,
    Cancelled,
    TimedOut,
}

use TaskStatus::*;

impl TaskStatus {
    /// Every state.
    pub const ALL: [TaskStatus; 11] = [
        PendingUploads,
        Queued,
        Submitted,
        Hydrating,
        Running,
        AwaitingApproval,
        Finalizing,
        Completed,
        Failed,
        Cancelled,
        TimedOut,
    ];

    /// The word in rows and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            PendingUploads => "PENDING_UPLOADS",
            Queued => "QUEUED",
            Submitted => "SUBMITTED",
            Hydrating => "HYDRATING",
            Running => "RUNNING",
            AwaitingApproval => "AWAITING_APPROVAL",
            Finalizing => "FINALIZING",
            Completed => "COMPLETED",
            Failed => "FAILED",
            Cancelled => "CANCELLED",
            TimedOut => "TIMED_OUT",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<TaskStatus> {
        TaskStatus::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// True when nothing can follow.
    pub fn is_terminal(self) -> bool {
        self.targets().is_empty()
    }

    /// The states that may follow this one (INV-43).
    pub fn targets(self) -> &'static [TaskStatus] {
        match self {
            PendingUploads => &[Submitted, Failed, Cancelled],
            Queued => &[Submitted, Cancelled, Failed],
            Submitted => &[Queued, Hydrating, Failed, Cancelled],
            Hydrating => &[Running, AwaitingApproval, Failed, Cancelled],
            Running => &[AwaitingApproval, Finalizing, Cancelled, TimedOut, Failed],
            AwaitingApproval => &[Running, Cancelled, Failed],
            Finalizing => &[Completed, Failed, TimedOut],
            Completed | Failed | Cancelled | TimedOut => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_edges() {
        for to in [Finalizing, Completed, TimedOut, Queued] {
            assert!(!AwaitingApproval.targets().contains(&to), "{to:?}");
        }
        for end in [Completed, Failed, Cancelled, TimedOut] {
            assert!(end.is_terminal());
        }
        for s in TaskStatus::ALL {
            assert_eq!(TaskStatus::parse(s.as_str()), Some(s));
        }
    }
}
