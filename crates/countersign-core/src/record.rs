//! Audit records: drafts that anyone may write, sealed records that only the chain makes, and the check of a chain.
//!
//! A record is one canonical JSON object (RFC 8785 over integers and strings). Its hash is SHA-256 over
//! `countersign-record-v1`, a zero byte and exactly those bytes; each record holds its predecessor's hash as `prev`.
//! Anybody can check a log with a JSON reader and SHA-256 alone. Where it stops: rows and files are the store's.

use crate::digest::Digest;
use crate::event::{Draft, Event};
use crate::json::{Bounds, Json};
use crate::time::Timestamp;

/// Domain tag of a record's hash.
pub const RECORD_TAG: &str = "countersign-record-v1";

/// Bounds of a record that is read back; wider than any record we write.
const RECORD_BOUNDS: Bounds = Bounds { max_bytes: 32 * 1024 * 1024, max_depth: 96, max_nodes: 200_000 };

/// End of a chain: what the next record is linked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last record; 0 before the first.
    pub seq: u64,
    /// Hash of the last record; all zeros before the first.
    pub hash: Digest,
    /// Time of the last record; later records are not earlier, but for one that says the clock was set back.
    pub at: Timestamp,
}

impl Head {
    /// The head of an empty log.
    pub fn genesis() -> Head {
        Head {
            seq: 0,
            hash: Digest::parse(&"0".repeat(64)).unwrap_or_else(|| Digest::of("", &[])),
            at: Timestamp(0),
        }
    }

    /// Links a draft to this head. The record is read back and compared before it is given out, so that what is
    /// stored is what any reader will see.
    pub fn seal(&self, draft: &Draft, at: Timestamp) -> Result<Sealed, SealError> {
        // Only the record that says the clock was set back may be earlier than its predecessor: otherwise one jump
        // would freeze time in the log until the clock caught up, and no window would ever end.
        let at = if draft.event == Event::ClockSteppedBack { at } else { at.max(self.at) };
        let seq = self.seq + 1;
        let body = draft.body(seq, &self.hash, at).canonical();
        let back = Json::parse(body.as_bytes(), RECORD_BOUNDS).map_err(|e| SealError(e.to_string()))?;
        if back.canonical() != body {
            return Err(SealError("the record does not read back as written".to_owned()));
        }
        let hash = Digest::of_bytes(RECORD_TAG, body.as_bytes());
        Ok(Sealed { seq, at, prev: self.hash, hash, body, parsed: back })
    }
}

/// A draft that cannot become a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record could not be made: {0}")]
pub struct SealError(String);

/// A record of the chain. Made by [`Head::seal`] and by reading a chain back, nowhere else:
///
/// ```compile_fail
/// use countersign_core::{digest::Digest, json::Json, record::Sealed, time::Timestamp};
/// let d = Digest::of("x", &[]);
/// let forged = Sealed { seq: 1, at: Timestamp(0), prev: d, hash: d, body: String::new(), parsed: Json::Null };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    seq: u64,
    at: Timestamp,
    prev: Digest,
    hash: Digest,
    body: String,
    parsed: Json,
}

impl Sealed {
    /// Its number, from 1.
    pub fn seq(&self) -> u64 {
        self.seq
    }
    /// When it was written.
    pub fn at(&self) -> Timestamp {
        self.at
    }
    /// Its hash.
    pub fn hash(&self) -> Digest {
        self.hash
    }
    /// Its canonical bytes.
    pub fn body(&self) -> &str {
        &self.body
    }
    /// Its content: `{v, seq, prev, at, event, call_id?, task_id?, approval_id?, data}`.
    pub fn json(&self) -> &Json {
        &self.parsed
    }
    /// The head after this record.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash, at: self.at }
    }

    /// Reads one stored record and checks it by itself: canonical bytes, known shape, stored number and hash.
    pub fn read(seq: u64, body: &str, hash: &str) -> Result<Sealed, Fault> {
        let fault = |what: FaultKind| Fault { seq, what };
        let parsed = Json::parse(body.as_bytes(), RECORD_BOUNDS)
            .map_err(|e| fault(FaultKind::Unreadable(e.to_string())))?;
        if parsed.canonical() != body {
            return Err(fault(FaultKind::NotCanonical));
        }
        let actual = Digest::of_bytes(RECORD_TAG, body.as_bytes());
        if Digest::parse(hash) != Some(actual) {
            return Err(fault(FaultKind::Hash { stored: hash.to_owned(), actual }));
        }
        let shape = |field: &'static str| fault(FaultKind::Shape(field));
        if parsed.get("v").and_then(Json::as_i64) != Some(1) {
            return Err(shape("v"));
        }
        let own = parsed.get("seq").and_then(Json::as_i64).ok_or_else(|| shape("seq"))?;
        if u64::try_from(own) != Ok(seq) {
            return Err(fault(FaultKind::Number { inside: own }));
        }
        let at = parsed.text("at").and_then(Timestamp::parse).ok_or_else(|| shape("at"))?;
        let prev = parsed.text("prev").and_then(Digest::parse).ok_or_else(|| shape("prev"))?;
        if parsed.text("event").is_none() {
            return Err(shape("event"));
        }
        Ok(Sealed { seq, at, prev, hash: actual, body: body.to_owned(), parsed })
    }
}

/// What is wrong with a log, and at which record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {what}")]
pub struct Fault {
    /// The number of the record.
    pub seq: u64,
    /// What is wrong.
    pub what: FaultKind,
}

/// The kinds of [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each variant's text is its documentation
pub enum FaultKind {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("is not in canonical form")]
    NotCanonical,
    #[error("has another hash than the one stored with it (stored {stored}, actual {actual})")]
    Hash { stored: String, actual: Digest },
    #[error("lacks a proper `{0}`")]
    Shape(&'static str),
    #[error("carries the number {inside}")]
    Number { inside: i64 },
    #[error("is missing: the next one found is {found}")]
    Missing { found: u64 },
    #[error("is not linked to the record before it (expected {expected}, found {found})")]
    Link { expected: Digest, found: Digest },
    #[error("is the last one, but the log's head says {head_seq}: records were removed at the end")]
    Truncated { head_seq: u64 },
    #[error("is not the one that the log's head names (head {head}, actual {actual})")]
    HeadHash { head: String, actual: Digest },
    #[error("is not the one that the held checkpoint names (checkpoint {checkpoint}, actual {actual})")]
    Checkpoint { checkpoint: Digest, actual: Digest },
    #[error("is named by a held checkpoint, but the log ends at {last}")]
    CheckpointBeyond { last: u64 },
}

/// A point of a log that somebody kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of a record.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
}

/// Walks a log record by record with flat memory. Give it every row in order with [`Verifier::row`], then
/// [`Verifier::finish`]. All unreadable records are kept, and the first fault of the chain.
pub struct Verifier {
    head: Head,
    checkpoints: Vec<Checkpoint>,
    faults: Vec<Fault>,
    chain_broken: bool,
    records: u64,
}

/// At most this many faults are kept; the count goes on.
const MAX_FAULTS: usize = 1_000;

/// What a walk found.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Records read.
    pub records: u64,
    /// Head of what was read.
    pub head: Head,
    /// Nothing found wrong when empty.
    pub faults: Vec<Fault>,
}

impl Verifier {
    /// Starts at the beginning of a log, with checkpoints to be met on the way.
    pub fn new(checkpoints: Vec<Checkpoint>) -> Verifier {
        Verifier { head: Head::genesis(), checkpoints, faults: Vec::new(), chain_broken: false, records: 0 }
    }

    fn found(&mut self, fault: Fault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Takes the next row.
    pub fn row(&mut self, seq: u64, body: &str, hash: &str) {
        self.records += 1;
        let expected = self.head.seq + 1;
        if seq != expected {
            if !self.chain_broken {
                self.found(Fault { seq: expected, what: FaultKind::Missing { found: seq } });
            }
            self.chain_broken = true;
        }
        match Sealed::read(seq, body, hash) {
            Ok(record) => {
                // After the first break links cannot be judged record by record: one fault locates it.
                if !self.chain_broken && record.prev != self.head.hash {
                    self.found(Fault {
                        seq,
                        what: FaultKind::Link { expected: self.head.hash, found: record.prev },
                    });
                    self.chain_broken = true;
                }
                for point in self.checkpoints.clone().iter().filter(|c| c.seq == seq) {
                    if point.hash != record.hash {
                        let what = FaultKind::Checkpoint { checkpoint: point.hash, actual: record.hash };
                        self.found(Fault { seq, what });
                    }
                }
                self.head = record.head();
            }
            Err(fault) => {
                self.found(fault);
                self.chain_broken = true;
                self.head.seq = seq;
            }
        }
    }

    /// Ends the walk, against the head that the log itself keeps (`None` where there is none, as in an export).
    pub fn finish(mut self, head: Option<(u64, String)>) -> Verified {
        let last = self.head.seq;
        if let Some((head_seq, head_hash)) = head {
            if head_seq != last {
                self.found(Fault { seq: last, what: FaultKind::Truncated { head_seq } });
            } else if !self.chain_broken && Digest::parse(&head_hash) != Some(self.head.hash) {
                let what = FaultKind::HeadHash { head: head_hash, actual: self.head.hash };
                self.found(Fault { seq: last, what });
            }
        }
        for point in self.checkpoints.clone() {
            if point.seq > last {
                self.found(Fault { seq: point.seq, what: FaultKind::CheckpointBeyond { last } });
            }
        }
        Verified { records: self.records, head: self.head, faults: self.faults }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Draft;

    fn log(n: u64) -> Vec<(u64, String, String)> {
        let mut head = Head::genesis();
        (1..=n)
            .map(|i| {
                let record = head.seal(&Draft::note(&format!("n{i}")), Timestamp(i as i64)).unwrap();
                head = record.head();
                (record.seq(), record.body().to_owned(), record.hash().to_string())
            })
            .collect()
    }

    fn verify(rows: &[(u64, String, String)], head: &(u64, String, String)) -> Verified {
        let mut v = Verifier::new(vec![]);
        rows.iter().for_each(|(s, b, h)| v.row(*s, b, h));
        v.finish(Some((head.0, head.2.clone())))
    }

    #[test]
    fn a_good_log_verifies() {
        let rows = log(20);
        let seen = verify(&rows, rows.last().unwrap());
        assert_eq!((seen.records, seen.faults), (20, vec![]));
    }

    /// P-22 on rows: every byte changed, every record removed, every pair swapped is found and located.
    #[test]
    fn every_mutation_is_located() {
        let rows = log(24);
        let head = rows.last().unwrap().clone();
        for i in 0..rows.len() {
            for at in 0..rows[i].1.len() {
                let mut bad = rows.clone();
                let mut bytes = bad[i].1.clone().into_bytes();
                bytes[at] ^= 1;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                bad[i].1 = text;
                assert_eq!(verify(&bad, &head).faults[0].seq, rows[i].0);
            }
            let mut gone = rows.clone();
            gone.remove(i);
            let faults = verify(&gone, &head).faults;
            let want = if i + 1 == rows.len() { rows[i].0 - 1 } else { rows[i].0 };
            assert_eq!(faults[0].seq, want, "removed {i}");
            for j in i + 1..rows.len() {
                let mut swapped = rows.clone();
                let (a, b) = (swapped[i].clone(), swapped[j].clone());
                swapped[i] = (a.0, b.1, b.2);
                swapped[j] = (b.0, a.1, a.2);
                assert_eq!(verify(&swapped, &head).faults[0].seq, rows[i].0);
            }
        }
    }

    /// Truncation together with its head is found only by a checkpoint held elsewhere.
    #[test]
    fn a_held_checkpoint_finds_what_the_head_cannot() {
        let rows = log(10);
        let held = Checkpoint { seq: 10, hash: Digest::parse(&rows[9].2).unwrap() };
        let short = &rows[..8];
        assert!(verify(short, &rows[7]).faults.is_empty(), "not detectable without a checkpoint");
        let mut v = Verifier::new(vec![held]);
        short.iter().for_each(|(s, b, h)| v.row(*s, b, h));
        let faults = v.finish(Some((8, rows[7].2.clone()))).faults;
        assert_eq!(faults[0].what, FaultKind::CheckpointBeyond { last: 8 });
    }

    #[test]
    fn time_never_runs_backwards_in_the_chain() {
        let first = Head::genesis().seal(&Draft::note("a"), Timestamp(5_000)).unwrap();
        let second = first.head().seal(&Draft::note("b"), Timestamp(1_000)).unwrap();
        assert_eq!(second.at(), Timestamp(5_000));
    }
}
