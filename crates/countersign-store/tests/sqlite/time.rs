//! The clock: small steps back are covered, big ones end what was measured with the old time (DECISIONS row 56).

use super::common::*;
use countersign_core::approval::scope::Scope;
use countersign_core::approval::{Status, Wait};
use countersign_core::event::Draft;
use countersign_core::ledger::Op;
use countersign_gate::seams::{CommitError, Store};

#[tokio::test]
async fn time_is_the_databases_and_never_before_the_last_record() {
    let place = Place::new();
    let store = place.store().await;
    let sealed = store.note(Draft::note("x")).await.unwrap();
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!((wall - sealed.at().0).abs() < 5_000);
    let place = Place::new();
    let (store, hand) = place.timed(NOON).await;
    store.note(Draft::note("x")).await.unwrap();
    hand.forward_s(-29);
    assert_eq!(store.ledger(&key("s", "x")).await.unwrap().now.0, NOON);
    assert_eq!(store.note(Draft::note("y")).await.unwrap().at().0, NOON);
    assert_eq!(count(&events(&store).await, "clock.stepped_back"), 0);
}

#[tokio::test]
async fn a_clock_set_back_ends_windows_and_is_recorded() {
    let place = Place::new();
    let (store, hand) = place.timed(NOON).await;
    let (x, y) = (key("s", "x"), key("s", "y"));
    for i in 0..3 {
        allow(&store, &key("s", &format!("c{i}"))).await.unwrap();
    }
    let granted = ask(&store, &x, Wait::Park, 3_600).await;
    store.decide(yes(granted, Scope::ToolType("Bash".into()))).await.unwrap();
    let waiting = ask(&store, &y, Wait::Hold, 300).await;
    let refused = ask(&store, &key("s", "z"), Wait::Park, 300).await;
    store.decide(no(refused, "no")).await.unwrap();
    let old = store.ledger(&x).await.unwrap();
    assert_eq!((old.permits_last_minute, old.grants.len()), (3, 2));

    hand.forward_s(-3_600);
    // Already seen by a read, before anybody wrote.
    let ledger = store.ledger(&x).await.unwrap();
    assert_eq!((ledger.now.0, ledger.permits_last_minute), (NOON, 0));
    assert_eq!(ledger.grants.len(), 1, "the wide scope has no window");
    assert_eq!(store.approval(waiting).await.unwrap().unwrap().status, Status::TimedOut);
    assert!(store.pending().await.unwrap().is_empty());
    assert!(store.ledger(&y).await.unwrap().open.is_none());
    assert!(store.ledger(&key("s", "z")).await.unwrap().refusals.is_empty());
    // The grant of the time before cannot be spent, with the old version or without any.
    let single = old.grants.iter().find(|g| g.scope == Scope::ThisCall).unwrap().grant_id;
    for guard in [true, false] {
        let mut spend = change(&x, &old, vec![permit_with(&x, Some(single), None)]);
        if !guard {
            spend.guard = None;
        }
        assert_eq!(store.commit(spend).await.unwrap_err(), CommitError::Moved, "{guard}");
    }
    assert_eq!(
        count(&events(&store).await, "clock.stepped_back"),
        1,
        "written although the jobs beside it failed"
    );
    // A call judged from the read goes through: reading and writing agree about what ended.
    store.commit(change(&x, &ledger, vec![permit(&x)])).await.unwrap();

    let names = events(&store).await;
    assert_eq!(count(&names, "clock.stepped_back"), 1, "the failed spends did not lose it, nor repeat it");
    assert_eq!(count(&names, "approval_timed_out"), 1);
    let now = store.ledger(&x).await.unwrap();
    assert_eq!(
        (now.now.0, now.permits_last_minute),
        (NOON - 3_600_000, 1),
        "time goes on from the new clock"
    );
    let op = Op::Permit {
        call: Box::new(call_row(&x)),
        per_minute: 2,
        concurrent: 0,
        spend: None,
        resume: None,
        joins: None,
    };
    store.commit(change(&x, &now, vec![op])).await.unwrap();
    // New windows work in the new time.
    let id = ask(&store, &y, Wait::Hold, 60).await;
    hand.forward_s(59);
    assert_eq!(store.approval(id).await.unwrap().unwrap().status, Status::Pending);
    assert_sound(&store).await;
}

/// DECISIONS row 38: idle for a day a session is over, its wide scopes with it; a busy one lives on.
#[tokio::test]
async fn an_idle_day_ends_a_session() {
    let place = Place::new();
    let (store, hand) = place.timed(NOON).await;
    let x = key("s", "x");
    let asked = ask(&store, &x, Wait::Park, 3_600).await;
    store.decide(yes(asked, Scope::ToolType("Bash".into()))).await.unwrap();
    let first = store.ledger(&x).await.unwrap().task.unwrap().task_id;
    for _ in 0..3 {
        hand.forward_s(20 * 3_600);
        allow(&store, &key("s", "busy")).await.unwrap();
    }
    let ledger = store.ledger(&x).await.unwrap();
    assert_eq!(ledger.task.as_ref().unwrap().task_id, first);
    assert!(ledger.grants.iter().any(|g| g.scope == Scope::ToolType("Bash".into())));

    hand.forward_s(24 * 3_600);
    let ledger = store.ledger(&x).await.unwrap();
    assert!(ledger.task.is_none() && ledger.grants.is_empty());
    allow(&store, &x).await.unwrap();
    let ledger = store.ledger(&x).await.unwrap();
    assert_ne!(ledger.task.unwrap().task_id, first);
    assert!(ledger.grants.is_empty());
    assert_eq!(count(&events(&store).await, "task_completed"), 1);
}
