//! How a verb can end other than well, and what a database error means for it.
//!
//! Two kinds must be kept apart: a failure of one job, which undoes that job alone, and a failure of the connection
//! or disk, which undoes the whole transaction with every job in it.

use countersign_core::approval::Status;
use countersign_core::code::Code;
use countersign_core::record::{Fault, SealError};
use countersign_gate::seams::{CommitError, DecideError, StoreError};

/// Why a job changed nothing.
#[derive(Clone, Debug)]
pub(crate) enum Fail {
    /// Guarded rows moved or a condition does not hold.
    Moved,
    /// A counted limit.
    Limit(Code),
    /// No such request.
    NotFound,
    /// The request ended before.
    Ended(Status),
    /// The request's task ended.
    TaskEnded,
    /// Everything is halted.
    Halted,
    /// This job cannot be stored; others can.
    Store(StoreError),
    /// The transaction is lost.
    Link {
        /// What to tell.
        error: StoreError,
        /// Whether the connection is to be thrown away.
        reconnect: bool,
        /// Whether the disk may be the reason.
        io: bool,
    },
}

pub(crate) type Outcome<T> = Result<T, Fail>;

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const NOTADB: i32 = 26;

/// SQLite's primary result code of an error, if it has one.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|c| c & 0xff)
}

/// Whether another connection was in the way.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(BUSY | LOCKED | PROTOCOL))
}

impl From<sqlx::Error> for Fail {
    fn from(error: sqlx::Error) -> Fail {
        let text = error.to_string();
        let lost = |error, reconnect, io| Fail::Link { error, reconnect, io };
        match primary_code(&error) {
            Some(BUSY | LOCKED | PROTOCOL) => lost(
                StoreError::Unavailable(format!("another process holds the database: {text}")),
                false,
                false,
            ),
            Some(FULL) => lost(StoreError::Full(text), false, false),
            Some(IOERR | CANTOPEN | CORRUPT | NOTADB | READONLY | NOMEM) => {
                lost(StoreError::Unavailable(text), true, true)
            }
            // A constraint, a trigger or a statement that does not fit: the job's own fault.
            Some(_) => Fail::Store(StoreError::Unavailable(text)),
            None => match error {
                sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::Decode(_) => Fail::Store(StoreError::Unavailable(text)),
                _ => lost(StoreError::Unavailable(text), true, true),
            },
        }
    }
}

impl From<SealError> for Fail {
    fn from(error: SealError) -> Fail {
        Fail::Store(StoreError::Unavailable(error.to_string()))
    }
}

/// A row that is not what the schema lets in.
pub(crate) fn unreadable(what: &str) -> Fail {
    Fail::Store(StoreError::Unavailable(format!("a stored row cannot be read: {what}")))
}

/// A log that must not be continued.
pub(crate) fn damaged(fault: Fault) -> Fail {
    let error = StoreError::Damaged { seq: fault.seq, what: fault.what.to_string() };
    Fail::Link { error, reconnect: false, io: false }
}

impl From<Fail> for StoreError {
    fn from(fail: Fail) -> StoreError {
        match fail {
            Fail::Store(error) | Fail::Link { error, .. } => error,
            other => StoreError::Unavailable(format!("a verb ended in a way it has not: {other:?}")),
        }
    }
}

impl From<Fail> for CommitError {
    fn from(fail: Fail) -> CommitError {
        match fail {
            Fail::Moved => CommitError::Moved,
            Fail::Limit(code) => CommitError::Limit(code),
            other => CommitError::Store(other.into()),
        }
    }
}

impl From<Fail> for DecideError {
    fn from(fail: Fail) -> DecideError {
        match fail {
            Fail::NotFound => DecideError::NotFound,
            Fail::Ended(status) => DecideError::AlreadyDecided(status),
            Fail::TaskEnded => DecideError::TaskEnded,
            Fail::Halted => DecideError::Halted,
            other => DecideError::Store(other.into()),
        }
    }
}
