//! Waking whoever waits: a signal after own commits that people wait for, and what other processes do is noticed
//! by a cheap look every 250 ms.
//!
//! A change between a waiter's own read and its call of `changed` would be missed for a whole re-read interval. So a
//! change that was noticed within the last moments wakes a waiter that came after it, too.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often other processes' commits and the HALT file are looked for.
pub(super) const POLL: Duration = Duration::from_millis(250);
/// How long a noticed change still wakes those who come after it.
const RECENT: Duration = Duration::from_millis(40);

#[derive(Default)]
pub(super) struct Changes {
    notify: Notify,
    last: Mutex<Option<Instant>>,
    /// `PRAGMA data_version` of the store's connection as last seen.
    seen: AtomicI64,
}

impl Changes {
    /// Something changed.
    pub(super) fn stir(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.notify.notify_waiters();
    }

    /// Takes a fresh data version; true when it is another than the last one.
    pub(super) fn version(&self, version: i64) -> bool {
        let moved = self.seen.swap(version, Ordering::Relaxed) != version;
        if moved {
            self.stir();
        }
        moved
    }

    /// How long to go on if a change was noticed a moment ago.
    pub(super) fn recent(&self) -> Option<Duration> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.and_then(|at| RECENT.checked_sub(at.elapsed()))
    }

    /// Resolves at the next change.
    pub(super) fn next(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}
