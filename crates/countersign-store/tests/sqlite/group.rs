//! Many calls of one process: no contention, shared flushes, and jobs that do not undo each other.

use super::common::*;
use countersign_core::approval::Wait;
use countersign_core::approval::scope::Scope;
use countersign_core::event::Draft;
use countersign_core::ids::ApprovalId;
use countersign_gate::seams::{DecideError, Store};
use std::time::{Duration, Instant};

/// DECISIONS section 5: 64 in flight without one `contention`.
#[tokio::test]
async fn sixty_four_calls_in_flight() {
    for sessions in [1, 64] {
        let place = Place::new();
        let store = place.store().await;
        let mut set = tokio::task::JoinSet::new();
        for i in 0..64 {
            let store = store.clone();
            let key = key(&format!("s{}", i % sessions), &format!("c{i}"));
            set.spawn(async move { allow(&store, &key).await.unwrap().1 });
        }
        let tries = set.join_all().await;
        assert!(tries.iter().all(|t| *t <= 2), "{tries:?}");
        let flushes = store.transactions();
        assert!(flushes <= 16, "64 calls took {flushes} transactions");
        assert_eq!(store.ledger(&key("s0", "x")).await.unwrap().open_calls, 64);
        let records = assert_sound(&store).await;
        assert_eq!(records, 64 + sessions, "one record a call, one a task");
    }
}

#[tokio::test]
async fn a_failing_job_leaves_its_neighbours_alone() {
    let place = Place::new();
    let store = place.store().await;
    let id = ask(&store, &key("s", "x"), Wait::Hold, 60).await;
    let before = store.transactions();
    let mut set = tokio::task::JoinSet::new();
    for i in 0..30 {
        let store = store.clone();
        set.spawn(async move {
            match i % 3 {
                0 => store.note(Draft::note(&format!("n{i}"))).await.is_ok(),
                1 => {
                    let lost = store.decide(yes(ApprovalId(raw_id()), Scope::ThisCall)).await;
                    assert_eq!(lost.unwrap_err(), DecideError::NotFound);
                    false
                }
                _ => {
                    // Fails half-way: the request's row is written before the duplicate of its id is noticed.
                    // The session is new, so a record of its task was sealed before that, too.
                    let key = key(&format!("d{i}"), &format!("d{i}"));
                    let ledger = store.ledger(&key).await.unwrap();
                    let mut twice = request(&key, Wait::Park, 60);
                    twice.approval_id = id;
                    let op = countersign_core::ledger::Op::Ask { request: Box::new(twice), per_minute: 600 };
                    assert!(store.commit(change(&key, &ledger, vec![permit(&key), op])).await.is_err());
                    false
                }
            }
        });
    }
    let done = set.join_all().await;
    assert_eq!(done.iter().filter(|d| **d).count(), 10);
    assert!(store.transactions() - before < 30);
    let view = store.ledger(&key("s", "x")).await.unwrap();
    assert_eq!((view.open_calls, view.task.unwrap().gate_count), (0, 1), "the failed ones left nothing");
    let names = events(&store).await;
    assert_eq!((count(&names, "log.note"), count(&names, "task_started")), (10, 1));
    assert_sound(&store).await;
}

/// A caller that goes away leaves the queue working and the log whole.
#[tokio::test]
async fn callers_may_go_away_at_any_time() {
    let place = Place::new();
    let store = place.store().await;
    for i in 0..200u64 {
        let store = store.clone();
        let _ = tokio::time::timeout(Duration::from_micros(i * 13), async {
            store.note(Draft::note("maybe")).await.unwrap();
            store.ledger(&key("s", "x")).await.unwrap();
        })
        .await;
    }
    store.note(Draft::note("last")).await.unwrap();
    assert_sound(&store).await;
}

/// A runtime that ends in the middle of a commit leaves the store usable from another one.
#[test]
fn a_runtime_may_end_in_the_middle() {
    let place = Place::new();
    let build = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let store = build().block_on(place.store());
    for i in 0..60u64 {
        let runtime = build();
        let other = store.clone();
        runtime.block_on(async {
            let task = tokio::spawn(async move { other.note(Draft::note("maybe")).await });
            let _ = tokio::time::timeout(Duration::from_micros(i * 29), task).await;
        });
        drop(runtime);
    }
    let runtime = build();
    runtime.block_on(async {
        store.note(Draft::note("last")).await.unwrap();
        assert_sound(&store).await;
    });
}

#[tokio::test]
async fn changed_is_a_hint_with_a_limit() {
    let place = Place::new();
    let store = place.store().await;
    store.changed(Duration::from_millis(1)).await;
    store.changed(Duration::from_millis(60)).await;
    let begin = Instant::now();
    store.changed(Duration::from_millis(300)).await;
    assert!(begin.elapsed() >= Duration::from_millis(300), "nothing changed");
    let id = ask(&store, &key("s", "x"), Wait::Hold, 60).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let waiter = {
        let store = store.clone();
        tokio::spawn(async move {
            let begin = Instant::now();
            store.changed(Duration::from_secs(20)).await;
            begin.elapsed()
        })
    };
    tokio::task::yield_now().await;
    store.decide(yes(id, Scope::ThisCall)).await.unwrap();
    assert!(waiter.await.unwrap() < Duration::from_millis(200), "an own commit wakes at once");
}
