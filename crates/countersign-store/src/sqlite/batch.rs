//! Group commit: verbs of one process that come together share one transaction and one flush.
//!
//! A verb is queued; if nobody is writing, a writer is spawned that takes whatever is queued until nothing is left,
//! then ends. So there is no task while nothing happens, a process of 3 ms needs no thread of its own, and a caller
//! that goes away leaves its verb either untouched or written whole. Each job has its own savepoint: one that fails
//! does not undo its neighbours. No answer is given before the COMMIT that holds it.

use super::fault::{Fail, Outcome};
use super::tx::Tx;
use super::{Inner, Link, approvals, change, keeper, memory, open, verbs};
use countersign_core::call::Session;
use countersign_core::cleanse::Clean;
use countersign_core::event::Draft;
use countersign_core::ids::{CallId, GrantId, TaskId};
use countersign_core::ledger::{Approval, Change, Decision, Outcome as Ended};
use countersign_core::principal::Approver;
use countersign_core::record::Sealed;
use countersign_core::token::Token;
use countersign_gate::seams::{
    Begun, CallRef, Committed, Gateway, NoteChange, PinChange, Recall, Recalled, StoreError, VaultRows,
};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Most jobs in one transaction: it bounds how long other processes wait for the write lock.
const MAX_JOBS: usize = 128;

/// What is to be written.
pub(super) enum Verb {
    Commit(Box<Change>),
    Decide(Box<Decision>),
    Revoke(GrantId, Approver),
    Observe(CallRef, Ended),
    EndSession(Session),
    Tell(Session),
    Note(Draft),
    SetHalt(Clean, String),
    ClearHalt(Option<Clean>, Approver),
    SetPins(Vec<PinChange>, Vec<Draft>),
    LoseGateway(Gateway),
    SetVault(Option<String>, Box<VaultRows>, Draft),
    SecretUsed(String, String, u32),
    SecretEchoed(String, u32),
    Recall(Recall),
    Notes(NoteChange),
    AddToken(Box<Token>, Draft),
    RevokeToken(String, Draft),
    MailBegins(String, String),
    MailEnded(String, bool),
}

/// What came of it.
pub(super) enum Answer {
    Committed(Committed),
    Approval(Box<Approval>),
    Flag(bool),
    Number(u32),
    Call(Option<CallId>),
    Task(Option<TaskId>),
    Approvals(Vec<Approval>),
    Sealed(Box<Sealed>),
    Recalled(Recalled),
    Noted(memory::Noted),
    Begun(Begun),
    Done,
}

struct Job {
    verb: Verb,
    reply: oneshot::Sender<Outcome<Answer>>,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    writing: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues a verb and waits for its answer.
pub(super) async fn submit(inner: &Arc<Inner>, verb: Verb) -> Outcome<Answer> {
    let (reply, answer) = oneshot::channel();
    let start = {
        let mut state = inner.queue.state();
        state.jobs.push_back(Job { verb, reply });
        !std::mem::replace(&mut state.writing, true)
    };
    if start {
        tokio::spawn(write(Arc::clone(inner)));
    }
    answer.await.unwrap_or_else(|_| Err(lost("the writer was stopped")))
}

fn lost(what: &str) -> Fail {
    Fail::Link { error: StoreError::Unavailable(what.to_owned()), reconnect: true, io: false }
}

/// Lets the next verb start a new writer when this one is dropped with its runtime.
struct Writing(Arc<Inner>);

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = self.0.queue.state();
        if state.writing {
            state.writing = false;
            state.jobs.clear(); // their callers hear that the writer was stopped
        }
    }
}

async fn write(inner: Arc<Inner>) {
    let guard = Writing(inner);
    let inner = &guard.0;
    loop {
        // The connection first: what is queued while another batch or a read has it shares the next flush.
        let mut link = inner.link.lock().await;
        let batch: Vec<Job> = {
            let mut state = inner.queue.state();
            let take = state.jobs.len().min(MAX_JOBS);
            if take == 0 {
                state.writing = false;
                return;
            }
            // A caller that has gone does not want its verb any more.
            state.jobs.drain(..take).filter(|job| !job.reply.is_closed()).collect()
        };
        if batch.is_empty() {
            continue;
        }
        inner.transactions.fetch_add(1, Ordering::Relaxed);
        let done = match link.ready(&inner.options, true).await {
            Ok(()) => {
                let done = transact(inner, &mut link, &batch).await;
                link.settle(&inner.options, done).await
            }
            Err(error) => Err(error),
        };
        drop(link);
        match done {
            Ok((answers, stirred)) => {
                for (job, answer) in batch.into_iter().zip(answers) {
                    let _ = job.reply.send(answer);
                }
                if stirred {
                    inner.changes.stir();
                }
            }
            Err(fail) => {
                for job in batch {
                    let _ = job.reply.send(Err(fail.clone()));
                }
            }
        }
    }
}

type Answers = (Vec<Outcome<Answer>>, bool);

/// One transaction. An error here means that nothing of it was written.
async fn transact(inner: &Inner, link: &mut Link, batch: &[Job]) -> Outcome<Answers> {
    link.open = true;
    let Some(conn) = link.conn.as_mut() else { return Err(lost("there is no connection")) };
    let turn = open::turn(&inner.options).await.map_err(Fail::Store)?;
    let (mut tx, swept) = Tx::begin(conn, &inner.options).await?;
    drop(turn);
    // A job that is alone can be undone by undoing everything, unless time's own work stands before it.
    let points = swept || batch.len() > 1;
    let mut answers = Vec::with_capacity(batch.len());
    for job in batch {
        let mark = tx.mark();
        if points {
            sqlx::query("SAVEPOINT job").execute(&mut *tx.conn).await?;
        }
        match perform(&mut tx, &job.verb).await {
            Ok(answer) => {
                if points {
                    sqlx::query("RELEASE job").execute(&mut *tx.conn).await?;
                }
                answers.push(Ok(answer));
            }
            Err(fail @ Fail::Link { .. }) => return Err(fail),
            Err(fail) => {
                if points {
                    sqlx::query("ROLLBACK TO job").execute(&mut *tx.conn).await?;
                    sqlx::query("RELEASE job").execute(&mut *tx.conn).await?;
                    tx.fall_back(mark);
                    answers.push(Err(fail));
                } else {
                    sqlx::query("ROLLBACK").execute(&mut *tx.conn).await?;
                    link.open = false;
                    return Ok((vec![Err(fail)], false));
                }
            }
        }
    }
    let stirred = tx.commit().await?;
    link.open = false;
    Ok((answers, stirred))
}

async fn perform(tx: &mut Tx<'_>, verb: &Verb) -> Outcome<Answer> {
    Ok(match verb {
        Verb::Commit(change) => Answer::Committed(change::commit(tx, change).await?),
        Verb::Decide(decision) => Answer::Approval(Box::new(approvals::decide(tx, decision).await?)),
        Verb::Revoke(id, by) => Answer::Flag(verbs::revoke(tx, *id, by).await?),
        Verb::Observe(call, ended) => Answer::Call(verbs::observe(tx, call, ended).await?),
        Verb::EndSession(session) => Answer::Task(verbs::end_session(tx, session).await?),
        Verb::Tell(session) => Answer::Approvals(verbs::tell(tx, session).await?),
        Verb::Note(draft) => Answer::Sealed(Box::new(tx.append(draft)?)),
        Verb::SetHalt(reason, by) => {
            verbs::set_halt(tx, reason, by).await?;
            Answer::Done
        }
        Verb::ClearHalt(reason, by) => Answer::Flag(verbs::clear_halt(tx, reason.as_ref(), by).await?),
        Verb::SetPins(pins, drafts) => {
            verbs::set_pins(tx, pins, drafts).await?;
            Answer::Done
        }
        Verb::LoseGateway(gateway) => Answer::Number(verbs::lose_gateway(tx, gateway).await?),
        Verb::SetVault(was, now, record) => {
            Answer::Flag(keeper::set_vault(tx, was.as_deref(), now, record).await?)
        }
        Verb::SecretUsed(name, principal, per_minute) => {
            Answer::Flag(keeper::used(tx, name, principal, *per_minute).await?)
        }
        Verb::SecretEchoed(name, after) => Answer::Flag(keeper::echoed(tx, name, *after).await?),
        Verb::Recall(what) => Answer::Recalled(memory::recall(tx, what).await?),
        Verb::Notes(change) => Answer::Noted(memory::change(tx, change).await?),
        Verb::AddToken(token, record) => {
            keeper::add_token(tx, token, record).await?;
            Answer::Done
        }
        Verb::RevokeToken(id, record) => Answer::Flag(keeper::revoke_token(tx, id, record).await?),
        Verb::MailBegins(key, payload) => Answer::Begun(keeper::mail_begins(tx, key, payload).await?),
        Verb::MailEnded(key, sent) => {
            keeper::mail_ended(tx, key, *sent).await?;
            Answer::Done
        }
    })
}
