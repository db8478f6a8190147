//! Waiting for a person: what a yes, a no, silence and a halt do to whoever waits.

use super::common::*;
use countersign_core::approval::{Status, Strand};
use countersign_core::cleanse::Clean;
use countersign_core::ledger::{Decision as Answer, Via};
use countersign_core::rulebook::RuleSet;
use countersign_gate::desk::DeskError;
use countersign_gate::gate::{Decision, Patience};
use countersign_gate::seams::{DecideError, Store};
use std::time::Duration;

/// DECISIONS row 3, INV-24: a yes wakes the caller, the call is judged again, spends the grant and runs once.
#[tokio::test]
async fn a_yes_runs_it_once() {
    let world = World::new().await;
    let gate = world.gate();
    let call = world.call("s", ASKS);
    let waiting = world.start(&gate, &call, PATIENT);
    let id = world.question().await;
    assert_eq!(world.hand.asked(), 0);
    approve(&gate, id).await;
    let answered = waiting.await.unwrap();
    assert!(matches!(answered.decision, Decision::Allowed { granted: true }));
    assert_eq!(world.hand.count(&call), 1);
    assert_eq!(
        world.log().await.of(&call),
        [
            "approval_requested",
            "call.judged",
            "approval_decision_recorded",
            "approval_granted",
            "call.judged",
            "call.finished"
        ]
    );
    // P-9: the yes is spent; the same call asks anew.
    let again = world.run(&gate, &world.call("s", ASKS), AT_ONCE).await;
    assert_eq!((code(&again), world.hand.count(&call)), ("pending", 1));
    let row = world.store.approval(id).await.unwrap().unwrap();
    assert!(row.status == Status::Approved && row.resumed);
}

/// P-9: a yes is for exactly one call: not for another line, another folder, another agent.
#[tokio::test]
async fn a_yes_fits_nothing_else() {
    let world = World::new().await;
    let gate = world.gate();
    assert_eq!(code(&world.run(&gate, &world.call("s", ASKS), AT_ONCE).await), "pending");
    approve(&gate, world.question().await).await;
    for line in
        ["git push --force origin feature2", "git push --force origin feature ", "git push -f origin x"]
    {
        assert_eq!(code(&world.run(&gate, &world.call("s", line), AT_ONCE).await), "pending", "{line}");
    }
    let other = {
        let mut parts = world.call("s", ASKS).parts().clone();
        parts.cwd = Some("/home/ana/other".into());
        countersign_core::call::ToolCall::new(parts).unwrap()
    };
    assert_eq!(code(&world.run(&gate, &other, AT_ONCE).await), "pending");
    assert!(allowed(&world.run(&gate, &world.call("s", ASKS), AT_ONCE).await));
    assert_eq!(world.hand.performed().len(), 1);
}

/// Row 35, P-28: a halt between the yes and the second judgement wins, wherever in between it lands.
#[tokio::test]
async fn a_halt_after_the_yes_wins() {
    for verb in ["ledger", "commit"] {
        let world = World::new().await;
        let gate = world.gate();
        let waiting = world.start(&gate, &world.call("s", ASKS), PATIENT);
        let id = world.question().await;
        let pause = world.store.pause(verb);
        approve_behind(&world, &gate, id).await;
        pause.reached().await;
        world.store.inner().set_halt(&Clean::fixed("stop"), "human:ana").await.unwrap();
        pause.go();
        assert_eq!(code(&waiting.await.unwrap()), "halted", "{verb}");
        assert_eq!(world.store.approval(id).await.unwrap().unwrap().status, Status::Approved);
        assert_eq!((world.hand.asked(), world.log().await.allowed().len()), (0, 0), "{verb}");
    }
}

/// P-28: a halt between a call's read and its write wins: the commit is guarded by it.
#[tokio::test]
async fn a_halt_between_read_and_write_wins() {
    let world = World::new().await;
    let gate = world.gate();
    let pause = world.store.pause("commit");
    let running = world.start(&gate, &world.call("s", "ls"), AT_ONCE);
    pause.reached().await;
    world.store.inner().set_halt(&Clean::fixed("stop"), "human:ana").await.unwrap();
    pause.go();
    assert_eq!(code(&running.await.unwrap()), "halted");
    assert_eq!((world.hand.asked(), world.log().await.allowed().len()), (0, 0));
}

/// Row 35: a halt while a caller waits ends the wait and the question; nobody can say yes meanwhile.
#[tokio::test]
async fn a_halt_ends_the_wait() {
    let world = World::new().await;
    let gate = world.gate();
    let parked = world.call("s", "git push --force origin parked");
    assert_eq!(code(&world.run(&gate, &parked, AT_ONCE).await), "pending");
    let parked_id = world.question().await;
    let waiting = world.start(&gate, &world.call("s", ASKS), PATIENT);
    let id = world.pending(2).await[1].request.approval_id;
    world.store.set_halt(&Clean::fixed("stop"), "human:ana").await.unwrap();
    let answered = waiting.await.unwrap();
    assert_eq!(code(&answered), "halted");
    let row = world.store.approval(id).await.unwrap().unwrap();
    assert_eq!(row.status, Status::Stranded(Strand::Halted));
    let said = gate.approve(parked_id, "this_call", ana(), Via::Cli).await.unwrap_err();
    assert!(matches!(said, DeskError::Decide(DecideError::Halted)), "{said}");
    assert!(world.store.clear_halt(None, &ana()).await.unwrap());
    // The parked question lived through it.
    approve(&gate, parked_id).await;
    assert!(allowed(&world.run(&gate, &parked, AT_ONCE).await));
    assert_eq!(world.hand.performed().len(), 1);
}

/// P-28: the file alone, put there by hand, ends the wait as well: whoever waits looks at it.
#[tokio::test]
async fn a_halt_file_ends_the_wait() {
    let world = World::new().await;
    let gate = world.gate();
    let waiting = world.start(&gate, &world.call("s", ASKS), PATIENT);
    let id = world.question().await;
    std::fs::write(world.halt_file(), "by hand").unwrap();
    let answered = tokio::time::timeout(seconds(20), waiting).await.expect("it waits on").unwrap();
    assert_eq!(code(&answered), "halted");
    assert!(answered.reason.as_str().contains("by hand"), "{}", answered.reason);
    let row = world.store.approval(id).await.unwrap().unwrap();
    assert_eq!((row.status, world.hand.asked()), (Status::Stranded(Strand::Halted), 0));
}

/// Row 3, P-9: a rule that came between the question and the repetition wins over the yes.
/// INV-22.
#[tokio::test]
async fn new_rules_win_over_a_yes() {
    let world = World::new().await;
    let old = world.gate();
    let hard = world.gate_with(with_rule(RuleSet::Hard, "never_push", "git push*"));
    let soft = world.gate_with(with_rule(RuleSet::Soft, "ask_echo", "echo*"));
    let call = world.call("s", ASKS);
    assert_eq!(code(&world.run(&old, &call, AT_ONCE).await), "pending");
    approve(&old, world.question().await).await;
    assert_eq!(code(&world.run(&hard, &world.call("s", ASKS), AT_ONCE).await), "hard");
    // Any other rulebook needs a yes of its own.
    assert_eq!(code(&world.run(&soft, &world.call("s", ASKS), AT_ONCE).await), "pending");
    assert_eq!(world.hand.asked(), 0);
    assert!(allowed(&world.run(&old, &world.call("s", ASKS), AT_ONCE).await));
}

/// INV-17, P-17: the agent reads why not; cleansed and at most 500 characters; and the call did not run.
/// INV-57, INV-63.
#[tokio::test]
async fn a_no_tells_why() {
    let world = World::new().await;
    let gate = world.gate();
    let secret = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";
    let reason = format!("use \u{1b}[31m{secret}\u{202e} instead {}", "x".repeat(1_500));
    let call = world.call("s", ASKS);
    let waiting = world.start(&gate, &call, PATIENT);
    let id = world.question().await;
    gate.deny(id, &reason, ana(), Via::Cli).await.unwrap();
    let answered = waiting.await.unwrap();
    assert_eq!(code(&answered), "approval_denied");
    let said = answered.reason.as_str();
    assert!(said.starts_with("AUTHORITATIVE DENY from human reviewer: use "), "{said}");
    assert!(said.chars().count() <= 500, "{}", said.chars().count());
    assert!(!said.contains(secret) && !said.contains('\u{1b}') && !said.contains('\u{202e}'), "{said}");
    let log = world.log().await;
    assert_eq!((world.hand.asked(), log.count("approval_denied")), (0, 1));
    for record in &log.0 {
        let text = record.canonical();
        assert!(!text.contains(secret) && !text.contains("\\u001b"), "{text}");
    }
    let long = gate.deny(id, &"x".repeat(2_001), ana(), Via::Cli).await.unwrap_err();
    assert!(matches!(long, DeskError::ReasonTooLong(2_001)));
}

/// P-13, P-16, INV-35: silence is no; the window ends on the monotonic clock.
/// INV-2.
#[tokio::test]
async fn silence_is_no() {
    let world = World::flowing().await;
    let gate = world.gate();
    let call = world.call("s", ASKS);
    let answered = world.run(&gate, &call, PATIENT).await;
    assert_eq!(code(&answered), "approval_timed_out");
    assert_eq!(world.hand.asked(), 0);
    let rows = world.store.approvals(5).await.unwrap();
    assert_eq!((rows.len(), rows[0].status), (1, Status::TimedOut));
    assert_eq!((rows[0].expires_at.0 - rows[0].created_at.0) / 1_000, 300);
    let said = gate.approve(rows[0].request.approval_id, "this_call", ana(), Via::Cli).await.unwrap_err();
    assert!(matches!(said, DeskError::Decide(DecideError::AlreadyDecided(Status::TimedOut))), "{said}");
    assert_eq!(world.log().await.count("approval_timed_out"), 1);
}

/// INV-31, P-10: a yes that lands while the caller is leaving wins when it committed first, and never both happen.
#[tokio::test]
async fn a_late_yes_wins_or_loses_but_not_both() {
    let (mut won, mut lost) = (0, 0);
    for round in 0..6u64 {
        let world = World::new().await;
        let gate = world.gate();
        let call = world.call("s", ASKS);
        let waiting = world.start(&gate, &call, PATIENT);
        let id = world.question().await;
        let (clock, yes) = (world.clock.clone(), gate.clone());
        // The window ends, and the yes comes at once: on either side of the caller's own write.
        clock.advance(seconds(300));
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let said = yes.approve(id, "this_call", ana(), Via::Cli).await;
        let answered = waiting.await.unwrap();
        let status = world.store.approval(id).await.unwrap().unwrap().status;
        let log = world.log().await;
        if said.is_ok() {
            won += 1;
            assert_eq!((code(&answered), status, world.hand.count(&call)), ("allowed", Status::Approved, 1));
            assert_eq!((log.count("approval_timed_out"), log.count("approval_decision_recorded")), (0, 1));
        } else {
            lost += 1;
            assert_eq!(
                (code(&answered), status, world.hand.asked()),
                ("approval_timed_out", Status::TimedOut, 0)
            );
            assert_eq!((log.count("approval_timed_out"), log.count("approval_decision_recorded")), (1, 0));
        }
    }
    println!("late yes: {won} won, {lost} lost");
    assert!(won > 0, "no yes ever landed in the flip");
}

/// INV-31: the caller saw no answer and goes to write that it leaves; the yes commits first: it counts, and says so.
/// At the end of the window and at the end of the hold.
#[tokio::test]
async fn a_yes_between_look_and_leave_counts() {
    for hold_s in [None, Some(60)] {
        let world = World::new().await;
        let gate = world.gate();
        let call = world.call("s", ASKS);
        let waiting = world.start(&gate, &call, Patience { client_limit_s: None, hold_s, listens: None });
        let id = world.question().await;
        let pause = world.store.pause("commit");
        world.clock.advance(seconds(hold_s.map_or(300, i64::unsigned_abs)));
        pause.reached().await;
        approve_behind(&world, &gate, id).await;
        pause.go();
        let answered = waiting.await.unwrap();
        assert!(allowed(&answered), "{answered:?}");
        assert_eq!(world.hand.count(&call), 1);
        let log = world.log().await;
        assert_eq!((log.count("approval_late_win"), log.count("approval_timed_out")), (1, 0));
        assert_eq!(log.count("approval_parked"), 0);
    }
}

/// Says yes in the store itself, past the gate, as another process does.
async fn approve_behind(
    world: &World,
    gate: &countersign_gate::gate::Gate,
    id: countersign_core::ids::ApprovalId,
) {
    use countersign_core::ids::GrantId;
    use countersign_gate::seams::Clock;
    let book = gate.rulebook().unwrap();
    let settings = book.settings();
    let yes = Answer {
        approval_id: id,
        answer: countersign_core::approval::Answer::Approve {
            scope: countersign_core::approval::scope::Scope::ThisCall,
        },
        by: ana(),
        via: Via::Cli,
        fresh: [GrantId(world.clock.fresh_id()), GrantId(world.clock.fresh_id())],
        grant_ttl_s: settings.grant_ttl_s,
        refusal_memory_s: settings.refusal_memory_s,
        rule_digest: None,
    };
    world.store.inner().decide(yes).await.unwrap();
}

/// Row 30, P-12: the hold ends before the window: the question lives on, the repetition finds the yes.
#[tokio::test]
async fn a_hold_over_is_parked_and_redeemed() {
    let world = World::new().await;
    let gate = world.gate();
    let call = world.call("s", ASKS);
    // The client gives up after 30 s; ten of them are ours to answer in.
    let patience = Patience { client_limit_s: Some(30), hold_s: None, listens: None };
    let waiting = world.start(&gate, &call, patience);
    let id = world.question().await;
    world.clock.advance(Duration::from_millis(19_999));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "held for 20 s");
    world.clock.advance(Duration::from_millis(1));
    let answered = waiting.await.unwrap();
    let Decision::Pending { approval_id, expires_at } = answered.decision else { panic!("{answered:?}") };
    assert_eq!(approval_id, id);
    let row = world.store.approval(id).await.unwrap().unwrap();
    assert_eq!((row.status, row.expires_at), (Status::Pending, expires_at));
    let log = world.log().await;
    assert_eq!((log.count("approval_parked"), log.count("approval_timeout_capped")), (1, 1));
    // Repeated while it is open: the same question, not a new one.
    let again = world.run(&gate, &world.call("s", ASKS), AT_ONCE).await;
    assert!(matches!(again.decision, Decision::Pending { approval_id, .. } if approval_id == id));
    assert_eq!(world.store.approvals(9).await.unwrap().len(), 1);
    world.restart().await;
    approve(&gate, id).await;
    assert!(allowed(&world.run(&gate, &world.call("s", ASKS), AT_ONCE).await));
    assert_eq!(code(&world.run(&gate, &world.call("s", ASKS), AT_ONCE).await), "pending");
    assert_eq!(world.hand.count(&call), 1);
    assert_eq!(world.log().await.count("approval_redeemed"), 1);
}

/// Row 30: the yes for a parked question waits to the end of its window and no longer.
#[tokio::test]
async fn a_parked_yes_ends_with_its_window() {
    let world = World::new().await;
    let gate = world.gate();
    let call = world.call("s", ASKS);
    assert_eq!(code(&world.run(&gate, &call, AT_ONCE).await), "pending");
    approve(&gate, world.question().await).await;
    world.clock.advance(seconds(300));
    assert_eq!(code(&world.run(&gate, &call, AT_ONCE).await), "pending", "a new question");
    assert_eq!((world.hand.asked(), world.store.approvals(9).await.unwrap().len()), (0, 2));
}

/// P-9: sixteen callers of one call attach to one question; one yes is one execution, the others ask anew.
#[tokio::test]
async fn one_yes_for_sixteen_waiters() {
    let world = World::new().await;
    let gate = world.gate();
    let call = world.call("s", ASKS);
    let running: Vec<Running> =
        (0..16).map(|_| world.start(&gate, &world.call("s", ASKS), PATIENT)).collect();
    let attached = async || {
        let judged = world.log().await;
        (judged.named("call.judged").len() == 16).then_some(())
    };
    until(attached).await;
    let first = world.question().await;
    approve(&gate, first).await;
    // Fifteen wait for one further question.
    let second = until(async || {
        let open = world.store.inner().pending().await.unwrap();
        let fresh = open.first().map(|a| a.request.approval_id).filter(|id| *id != first);
        let judged = world.log().await.named("call.judged").len();
        fresh.filter(|_| judged >= 32)
    })
    .await;
    assert_eq!(world.hand.count(&call), 1);
    assert_eq!(world.store.approvals(99).await.unwrap().len(), 2);
    gate.deny(second, "enough", ana(), Via::Cli).await.unwrap();
    let mut codes: Vec<&str> = Vec::new();
    for one in running {
        codes.push(code(&one.await.unwrap()));
    }
    codes.sort_unstable();
    assert_eq!(codes.iter().filter(|c| **c == "allowed").count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|c| **c == "approval_denied").count(), 15, "{codes:?}");
    assert_eq!(world.hand.count(&call), 1);
}

/// INV-85: two questions of one session are decided in any order, and the session runs again after the last.
#[tokio::test]
async fn questions_are_decided_in_any_order() {
    for newest_first in [false, true] {
        let world = World::new().await;
        let gate = world.gate();
        let calls = [world.call("s", ASKS), world.call("s", "git push --force origin other")];
        let mut running = Vec::new();
        for (i, call) in calls.iter().enumerate() {
            running.push(Some(world.start(&gate, call, PATIENT)));
            world.pending(i + 1).await;
        }
        let ids: Vec<_> = world.pending(2).await.iter().map(|a| a.request.approval_id).collect();
        let order = if newest_first { [1, 0] } else { [0, 1] };
        for i in order {
            approve(&gate, ids[i]).await;
            assert!(allowed(&running[i].take().unwrap().await.unwrap()));
            assert_eq!(world.hand.count(&calls[i]), 1);
        }
        assert_eq!(world.hand.performed().len(), 2);
        world.log().await.covers(&world.hand);
    }
}

/// INV-30, P-10: many people answer at once, exactly one is heard.
#[tokio::test]
async fn one_answer_is_heard() {
    for _ in 0..8 {
        let world = World::new().await;
        let gate = world.gate();
        let call = world.call("s", ASKS);
        let waiting = world.start(&gate, &call, PATIENT);
        let id = world.question().await;
        let mut answers = Vec::new();
        for i in 0..8 {
            let gate = gate.clone();
            answers.push(tokio::spawn(async move {
                match i % 2 {
                    0 => gate.approve(id, "this_call", ana(), Via::Cli).await.map(|_| true),
                    _ => gate.deny(id, "no", ana(), Via::Cli).await.map(|_| false),
                }
            }));
        }
        let mut heard = Vec::new();
        for answer in answers {
            match answer.await.unwrap() {
                Ok(yes) => heard.push(yes),
                Err(DeskError::Decide(DecideError::AlreadyDecided(_))) => {}
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(heard.len(), 1);
        let answered = waiting.await.unwrap();
        assert_eq!(allowed(&answered), heard[0]);
        assert_eq!(world.hand.count(&call), usize::from(heard[0]));
    }
}
