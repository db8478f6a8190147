//! P-3: every call of the store in every scenario fails once, in every way; nothing runs that has no recorded allow.
//!
//! The calls are counted, not listed: a new call of the store is failed without a change here.

use super::common::*;
use countersign_core::cleanse::Clean;
use countersign_core::ledger::Via;
use countersign_gate::desk::DeskError;
use countersign_gate::gate::{Answered, Gate};
use countersign_gate::seams::{DecideError, Store, StoreError};
use countersign_testkit::fakes::Fault;
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug)]
enum Scenario {
    Allow,
    Hard,
    AskApprove,
    AskDeny,
    AskTimeout,
    ParkRedeem,
    Halt,
}

/// Runs one scenario as far as it gets and tells what its callers were answered; calls of one scenario share a line.
async fn play(world: &World, gate: &std::sync::Arc<Gate>, scenario: Scenario, n: usize) -> Vec<Answered> {
    let session = format!("s{n}");
    let call = |line: &str| world.call(&session, line);
    let ask = format!("git push --force origin b{n}");
    match scenario {
        Scenario::Allow => vec![world.run(gate, &call(&format!("echo {n}")), AT_ONCE).await],
        Scenario::Hard => vec![world.run(gate, &call(&format!("rm -rf /x{n}")), AT_ONCE).await],
        Scenario::Halt => {
            let halted = world.store.set_halt(&Clean::fixed("stop"), "human:ana").await;
            world.hand.forbid(halted.is_ok());
            let answered = world.run(gate, &call(&format!("echo {n}")), AT_ONCE).await;
            world.hand.forbid(false);
            if halted.is_ok() {
                assert!(!allowed(&answered), "{answered:?}");
            }
            vec![answered]
        }
        Scenario::AskTimeout => {
            world.clock.flow(true);
            let answered = world.run(gate, &call(&ask), PATIENT).await;
            world.clock.flow(false);
            vec![answered]
        }
        Scenario::ParkRedeem => {
            let first = world.run(gate, &call(&ask), AT_ONCE).await;
            answer(world, gate, true).await;
            vec![first, world.run(gate, &call(&ask), AT_ONCE).await]
        }
        Scenario::AskApprove | Scenario::AskDeny => {
            let running = world.start(gate, &call(&ask), PATIENT);
            // Somebody answers as soon as there is a question; time goes on slowly, so that whoever is cut off from
            // the store gives up.
            let mut running = std::pin::pin!(running);
            let answered = loop {
                tokio::select! {
                    answered = &mut running => break answered.unwrap(),
                    () = tokio::time::sleep(std::time::Duration::from_millis(1)) => {
                        answer(world, gate, matches!(scenario, Scenario::AskApprove)).await;
                        world.clock.advance(std::time::Duration::from_millis(400));
                    }
                }
            };
            vec![answered]
        }
    }
}

/// Answers whatever is open, through the gate and its failing store; a fault is told, never hidden.
async fn answer(world: &World, gate: &Gate, yes: bool) {
    for open in world.store.inner().pending().await.unwrap() {
        let id = open.request.approval_id;
        let said = match yes {
            true => gate.approve(id, "this_call", ana(), Via::Cli).await,
            false => gate.deny(id, "no", ana(), Via::Cli).await,
        };
        match said {
            Ok(_)
            | Err(
                DeskError::Store(_)
                | DeskError::Decide(DecideError::Store(_) | DecideError::AlreadyDecided(_)),
            ) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

async fn all_faults(scenario: Scenario, may_run: bool) {
    let world = World::new().await;
    // The shortest window: fewer looks at the row, so fewer calls to fail.
    let mut short = settings();
    short.timeout_s = 30;
    let gate = world.gate_with(load(Vec::new(), short));
    let mut n = 0;
    let mut hit = BTreeSet::new();
    // Without a fault first: what it should be.
    let right = play(&world, &gate, scenario, n).await;
    assert_eq!(right.iter().any(allowed), may_run, "{right:?}");
    clear(&world).await;
    for fault in Fault::ALL {
        for more in [0, u64::MAX] {
            for k in 1.. {
                n += 1;
                world.store.fail(k, fault, more);
                let answered = play(&world, &gate, scenario, n).await;
                let verbs = world.store.mend();
                if verbs.is_empty() {
                    assert!(k > 2, "{scenario:?} calls the store at least twice");
                    break;
                }
                hit.insert(verbs[0]);
                let told = format!("{scenario:?}, {fault:?} at call {k} ({verbs:?}), for ever: {}", more > 0);
                check(&world, &answered, may_run, &told).await;
                // The fault is gone: the same gate works at once.
                clear(&world).await;
                let after = world.run(&gate, &world.call(&format!("after{n}"), "ls"), AT_ONCE).await;
                assert!(allowed(&after), "{told}: afterwards {after:?}");
            }
        }
    }
    println!("{scenario:?}: {n} faults, first in {hit:?}");
    world.log().await.covers(&world.hand);
}

async fn check(world: &World, answered: &[Answered], may_run: bool, told: &str) {
    let log = world.log().await;
    log.covers(&world.hand);
    let recorded = log.allowed();
    for one in answered.iter().filter(|a| allowed(a)) {
        let id = one.call_id.to_string();
        assert!(recorded.contains(&id.as_str()), "{told}: allowed without a record");
        assert!(may_run || told.starts_with("Halt"), "{told}: allowed");
    }
    // One yes, one execution, whatever was lost (P-9).
    let spent = log.count("approval_granted") + log.count("approval_redeemed");
    let said =
        log.named("approval_decision_recorded").iter().filter(|r| data(r, "status") == "APPROVED").count();
    assert!(spent <= said, "{told}: {spent} uses of {said} answers");
}

/// Ends whatever a scenario left: halts, questions, the refusal memory.
async fn clear(world: &World) {
    let inner = world.store.inner();
    inner.clear_halt(None, &ana()).await.unwrap();
    world.clock.advance(seconds(90_000));
}

#[tokio::test]
async fn faults_of_an_allowed_call() {
    all_faults(Scenario::Allow, true).await;
}

#[tokio::test]
async fn faults_of_a_hard_denial() {
    all_faults(Scenario::Hard, false).await;
}

#[tokio::test]
async fn faults_of_a_yes() {
    all_faults(Scenario::AskApprove, true).await;
}

#[tokio::test]
async fn faults_of_a_no() {
    all_faults(Scenario::AskDeny, false).await;
}

#[tokio::test]
async fn faults_of_silence() {
    all_faults(Scenario::AskTimeout, false).await;
}

#[tokio::test]
async fn faults_of_a_parked_yes() {
    all_faults(Scenario::ParkRedeem, true).await;
}

#[tokio::test]
async fn faults_of_a_halt() {
    all_faults(Scenario::Halt, false).await;
}

/// P-9, P-35: the commit that spends the yes is made, its answer is lost: the call is refused and not run, the yes is
/// gone, and the repetition asks.
#[tokio::test]
async fn a_lost_answer_never_runs_a_call_twice() {
    let world = World::new().await;
    let gate = world.gate();
    let call = world.call("s", ASKS);
    assert_eq!(code(&world.run(&gate, &call, AT_ONCE).await), "pending");
    approve(&gate, world.question().await).await;
    world.store.fail(2, Fault::Lost, 0);
    let lost = world.run(&gate, &world.call("s", ASKS), AT_ONCE).await;
    assert_eq!((code(&lost), world.store.mend()), ("store_unavailable", vec!["commit"]));
    assert_eq!(code(&world.run(&gate, &world.call("s", ASKS), AT_ONCE).await), "pending");
    assert_eq!(world.hand.count(&call), 0);
    // The yes itself whose answer is lost counts once.
    let id = world.question().await;
    world.store.fail(2, Fault::Lost, 0);
    let said = gate.approve(id, "this_call", ana(), Via::Cli).await.unwrap_err();
    assert!(matches!(said, DeskError::Decide(DecideError::Store(StoreError::Unavailable(_)))), "{said}");
    world.store.mend();
    assert!(allowed(&world.run(&gate, &world.call("s", ASKS), AT_ONCE).await));
    assert_eq!(code(&world.run(&gate, &world.call("s", ASKS), AT_ONCE).await), "pending");
    assert_eq!(world.hand.count(&call), 1);
}

/// S5: a state that moves is judged again, three times at most; then the call is refused.
#[tokio::test]
async fn a_moving_state_is_judged_three_times() {
    let world = World::new().await;
    let gate = world.gate();
    // Ledger and commit alternate; the next two commits move.
    world.store.fail(2, Fault::Moved, 0);
    assert!(allowed(&world.run(&gate, &world.call("s", "ls"), AT_ONCE).await));
    world.store.mend();
    let before = world.store.calls();
    let moving = world.call("s", "ls -l");
    world.store.fail(2, Fault::Moved, u64::MAX);
    let answered = world.run(&gate, &moving, AT_ONCE).await;
    assert_eq!((code(&answered), world.store.calls() - before), ("contention", 6));
    world.store.mend();
    assert_eq!(world.hand.count(&moving), 0);
}
