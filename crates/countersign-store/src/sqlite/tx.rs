//! One write transaction: the instant it happens at, the log's head it continues, and what is due by time alone.
//!
//! A transaction begins with one look that gives clock, head and last record; a last record that does not verify is
//! never used as a predecessor. Records are sealed as they come and written together at the end.

use super::StoreOptions;
use super::approvals;
use super::fault::{Outcome, damaged, unreadable};
use super::spin::soon;
use countersign_core::digest::Digest;
use countersign_core::event::{Draft, Event, int};
use countersign_core::record::{Fault, FaultKind, Head, Sealed};
use countersign_core::time::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// How far the clock may lie behind the last record before its windows are void, in milliseconds.
const STEP_MS: i64 = 30_000;

/// Takes the write lock, then looks. `due` tells whether anything is to be swept, so that the common case costs
/// nothing more.
const BEGIN: &str = "
BEGIN IMMEDIATE;
WITH t AS MATERIALIZED (
    SELECT coalesce(?1, CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) AS clock,
           h.seq, h.hash, h.at FROM log_head h WHERE h.tenant = 'default'
),
n AS MATERIALIZED (SELECT max(clock, at) AS now FROM t)
SELECT t.clock, t.seq, t.hash, t.at, l.seq AS last_seq, l.body AS last_body, l.hash AS last_hash,
    EXISTS (SELECT 1 FROM approvals a WHERE a.status = 'PENDING'
            AND a.expires_at <= n.now - CASE a.wait_mode WHEN 'hold' THEN 10000 ELSE 5000 END)
    OR EXISTS (SELECT 1 FROM approvals a WHERE a.wait_mode = 'hold' AND a.resumed_at IS NULL
            AND a.decided_at <= n.now - 10000) AS due
FROM t, n LEFT JOIN (SELECT seq, body, hash FROM log ORDER BY seq DESC LIMIT 1) l";

/// The last record, the head and the end in one message to the connection's thread; the first failure stops it.
const END: &str = "
INSERT INTO log (seq, body, hash) VALUES (?1, ?2, ?3);
UPDATE log_head SET seq = ?1, hash = ?3, at = ?4 WHERE tenant = 'default';
COMMIT";

pub(super) struct Tx<'c> {
    pub(super) conn: &'c mut SqliteConnection,
    pub(super) options: &'c StoreOptions,
    /// The database's time, never before the last record.
    pub(super) now: Timestamp,
    /// Something that people or waiters look at changed.
    pub(super) stirred: bool,
    head: Head,
    sealed: Vec<Sealed>,
}

/// A point to fall back to when one job fails.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    head: Head,
    sealed: usize,
    stirred: bool,
}

impl<'c> Tx<'c> {
    /// Begins. The second value tells whether something was swept and must be committed even if every job fails.
    pub(super) async fn begin(
        conn: &'c mut SqliteConnection,
        options: &'c StoreOptions,
    ) -> Outcome<(Tx<'c>, bool)> {
        let row = soon(sqlx::query(BEGIN).bind(options.clock_ms()).fetch_optional(&mut *conn))
            .await?
            .ok_or_else(|| damaged(Fault { seq: 0, what: FaultKind::Shape("head") }))?;
        let clock = Timestamp(row.try_get("clock")?);
        let head = head(row.try_get("seq")?, row.try_get("hash")?, row.try_get("at")?)?;
        let last: Option<i64> = row.try_get("last_seq")?;
        let last = match last {
            Some(seq) => {
                Some((number(seq)?, row.try_get::<String, _>("last_body")?, row.try_get("last_hash")?))
            }
            None => None,
        };
        verify(&head, last.as_ref().map(|(s, b, h): &(u64, String, String)| (*s, b.as_str(), h.as_str())))?;
        let due: bool = row.try_get("due")?;
        let stepped = clock.0 < head.at.0 - STEP_MS;
        let now = if stepped { clock } else { clock.max(head.at) };
        let mut tx = Tx { conn, options, now, stirred: false, head, sealed: Vec::new() };
        if stepped {
            tx.step_back(head.at).await?;
        }
        if due || stepped {
            approvals::sweep(&mut tx).await?;
        }
        Ok((tx, due || stepped))
    }

    /// The clock was set back: windows and single-use grants were measured with another time and end (row 56).
    async fn step_back(&mut self, last: Timestamp) -> Outcome<()> {
        let behind_s = last.seconds_since(self.now);
        self.append(&Draft::new(Event::ClockSteppedBack, [("behind_s", int(behind_s))]))?;
        approvals::end_all_windows(self).await?;
        for sql in [
            "UPDATE grants SET ended_at = ?1, ended_by = 'timer'
             WHERE single_use = 1 AND redeemed_at IS NULL AND ended_at IS NULL",
            "UPDATE approvals SET counted_at = NULL WHERE counted_at > ?1",
            "UPDATE calls SET counted_at = NULL WHERE counted_at > ?1",
            "DELETE FROM recent_decisions WHERE ?1 IS NOT NULL",
        ] {
            sqlx::query(sql).bind(self.now.0).execute(&mut *self.conn).await?;
        }
        Ok(())
    }

    /// Seals a record behind the last one.
    pub(super) fn append(&mut self, draft: &Draft) -> Outcome<Sealed> {
        let sealed = self.head.seal(draft, self.now)?;
        self.head = sealed.head();
        self.sealed.push(sealed.clone());
        Ok(sealed)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { head: self.head, sealed: self.sealed.len(), stirred: self.stirred }
    }

    pub(super) fn fall_back(&mut self, mark: Mark) {
        self.head = mark.head;
        self.sealed.truncate(mark.sealed);
        self.stirred = mark.stirred;
    }

    /// Writes the records, moves the head and makes everything durable. The write lock is held since the look at the
    /// head, so nobody can have moved it. True when people should look.
    pub(super) async fn commit(self) -> Outcome<bool> {
        let (last, before) = match self.sealed.split_last() {
            Some((last, before)) => (last, before),
            None => {
                sqlx::query("COMMIT").execute(&mut *self.conn).await?;
                return Ok(self.stirred);
            }
        };
        for record in before {
            sqlx::query("INSERT INTO log (seq, body, hash) VALUES (?1, ?2, ?3)")
                .bind(signed(record.seq()))
                .bind(record.body())
                .bind(record.hash().to_string())
                .execute(&mut *self.conn)
                .await?;
        }
        sqlx::query(END)
            .bind(signed(last.seq()))
            .bind(last.body())
            .bind(last.hash().to_string())
            .bind(last.at().0)
            .execute(&mut *self.conn)
            .await?;
        Ok(self.stirred)
    }
}

pub(super) fn number(seq: i64) -> Outcome<u64> {
    u64::try_from(seq).map_err(|_| unreadable("sequence number"))
}

pub(super) fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn head(seq: i64, hash: String, at: i64) -> Outcome<Head> {
    let seq = number(seq)?;
    let hash = Digest::parse(&hash).ok_or_else(|| damaged(Fault { seq, what: FaultKind::Shape("head") }))?;
    Ok(Head { seq, hash, at: Timestamp(at) })
}

/// The last row must be the one the head names, and must be a record by itself.
fn verify(head: &Head, last: Option<(u64, &str, &str)>) -> Outcome<()> {
    let Some((seq, body, hash)) = last else {
        return if head.seq == 0 && head.hash == Head::genesis().hash {
            Ok(())
        } else {
            Err(damaged(Fault { seq: 0, what: FaultKind::Truncated { head_seq: head.seq } }))
        };
    };
    if seq != head.seq {
        return Err(damaged(Fault { seq, what: FaultKind::Truncated { head_seq: head.seq } }));
    }
    let read = Sealed::read(seq, body, hash).map_err(damaged)?;
    if read.hash() != head.hash {
        let what = FaultKind::HeadHash { head: head.hash.to_string(), actual: read.hash() };
        return Err(damaged(Fault { seq, what }));
    }
    if read.at() != head.at {
        return Err(damaged(Fault { seq, what: FaultKind::Shape("at") }));
    }
    Ok(())
}
