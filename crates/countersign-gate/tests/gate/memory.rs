//! What is remembered: refusals, counted questions, counted calls; also over a restart.

use super::common::*;
use countersign_core::ledger::Via;
use countersign_core::rulebook::{PolicyText, RuleSet};
use countersign_gate::gate::Gate;

async fn deny(world: &World, gate: &Gate, line: &str) {
    assert_eq!(code(&world.run(gate, &world.call("s", line), AT_ONCE).await), "pending");
    gate.deny(world.question().await, "not today", ana(), Via::Cli).await.unwrap();
}

/// INV-18, INV-21: a denied input is refused again at once, without a question, with a record that names the memory;
/// after 60 s it asks again.
#[tokio::test]
async fn a_denied_input_is_remembered_for_a_minute() {
    let world = World::new().await;
    let gate = world.gate();
    deny(&world, &gate, ASKS).await;
    for (after, expected) in [(0, "recent_denied"), (59, "recent_denied"), (1, "pending")] {
        world.clock.advance(seconds(after));
        let call = world.call("s", ASKS);
        let answered = world.run(&gate, &call, PATIENT_IF_REFUSED).await;
        assert_eq!(code(&answered), expected, "{after}");
        if expected == "recent_denied" {
            assert!(answered.reason.as_str().contains("not today"), "{}", answered.reason);
            let log = world.log().await;
            assert_eq!(log.of(&call), ["approval_answer_reused", "call.judged"]);
            assert_eq!(world.store.inner().approvals(9).await.unwrap().len(), 1);
        }
    }
    assert_eq!(world.hand.asked(), 0);
}

/// A remembered refusal must not wait; a question must not hang the test.
const PATIENT_IF_REFUSED: countersign_gate::gate::Patience = AT_ONCE;

/// INV-19: a denied rule refuses other inputs of that rule; other sessions and other tools are not concerned; a yes
/// clears it.
#[tokio::test]
async fn a_denied_rule_is_remembered_too() {
    let world = World::new().await;
    let gate = world.gate();
    deny(&world, &gate, ASKS).await;
    let other = "git push --force origin other";
    let call = world.call("s", other);
    assert_eq!(code(&world.run(&gate, &call, AT_ONCE).await), "recent_denied");
    let log = world.log().await;
    assert_eq!(data(log.named("approval_answer_reused")[0], "matched_rule_id"), "force_push_any");
    assert!(allowed(&world.run(&gate, &world.call("s", "git push origin other"), AT_ONCE).await));
    assert_eq!(code(&world.run(&gate, &world.call("s2", other), AT_ONCE).await), "pending");
    world.clock.advance(seconds(60));
    assert_eq!(code(&world.run(&gate, &call, AT_ONCE).await), "pending");
}

/// INV-20: fifty refusals of a kind are remembered, whatever the cap of questions is; the oldest go first.
#[tokio::test]
async fn only_so_much_is_remembered() {
    let world = World::new().await;
    let rules: String = (0..55)
        .map(|i| {
            format!(
                "@tier(\"soft\") @rule_id(\"r{i}\") @severity(\"low\")\nforbid (principal, action == Agent::Action::\"execute_bash\", resource) when {{ context.command == \"make x{i}\" }};\n"
            )
        })
        .collect();
    let mut wide = settings();
    (wide.cap, wide.per_minute) = (500, 600);
    let text = PolicyText { file: "soft.cedar".into(), text: rules.into() };
    let gate = world.gate_with(load(vec![(RuleSet::Soft, text)], wide));
    for i in 0..55 {
        deny(&world, &gate, &format!("make x{i}")).await;
        world.clock.advance(std::time::Duration::from_millis(10));
    }
    for (i, expected) in [(54, "recent_denied"), (5, "recent_denied"), (4, "pending"), (0, "pending")] {
        let answered = world.run(&gate, &world.call("s", &format!("make x{i}")), AT_ONCE).await;
        assert_eq!(code(&answered), expected, "{i}");
    }
}

/// INV-19: silence is remembered for the arguments only.
#[tokio::test]
async fn silence_is_remembered_for_the_input_only() {
    let world = World::flowing().await;
    let gate = world.gate();
    assert_eq!(code(&world.run(&gate, &world.call("s", ASKS), PATIENT).await), "approval_timed_out");
    assert_eq!(code(&world.run(&gate, &world.call("s", ASKS), AT_ONCE).await), "recent_timed_out");
    let other = world.call("s", "git push --force origin other");
    assert_eq!(code(&world.run(&gate, &other, AT_ONCE).await), "pending");
}

/// INV-28: the question after the last one of the cap is refused, also after a restart.
#[tokio::test]
async fn the_cap_holds_over_a_restart() {
    let world = World::new().await;
    let mut settings = settings();
    (settings.cap, settings.per_minute) = (3, 100);
    let gate = world.gate_with(load(Vec::new(), settings));
    for i in 0..3 {
        let call = world.call("s", &format!("git push --force origin b{i}"));
        assert_eq!(code(&world.run(&gate, &call, AT_ONCE).await), "pending");
    }
    for _ in 0..2 {
        let call = world.call("s", "git push --force origin more");
        assert_eq!(code(&world.run(&gate, &call, AT_ONCE).await), "approval_cap");
        assert_eq!(world.log().await.of(&call), ["approval_cap_exceeded", "call.judged"]);
        world.restart().await;
        world.clock.advance(seconds(3_600));
    }
    // Another session has a cap of its own; calls that ask nobody go on.
    assert_eq!(code(&world.run(&gate, &world.call("s2", ASKS), AT_ONCE).await), "pending");
    assert!(allowed(&world.run(&gate, &world.call("s", "ls"), AT_ONCE).await));
}

/// INV-29: the 21st question within 60 s is refused, also after a restart; after the minute it is asked.
#[tokio::test]
async fn the_rate_holds_over_a_restart() {
    let world = World::new().await;
    let gate = world.gate();
    for i in 0..20 {
        let call = world.call("s", &format!("git push --force origin b{i}"));
        assert_eq!(code(&world.run(&gate, &call, AT_ONCE).await), "pending", "{i}");
        if i == 10 {
            world.restart().await;
            world.clock.advance(seconds(30));
        }
    }
    world.restart().await;
    let call = world.call("s", "git push --force origin more");
    assert_eq!(code(&world.run(&gate, &call, AT_ONCE).await), "approval_rate");
    assert_eq!(world.log().await.count("approval_rate_limit_exceeded"), 1);
    world.clock.advance(seconds(30));
    assert_eq!(
        code(&world.run(&gate, &call, AT_ONCE).await),
        "pending",
        "eleven of them are over a minute old"
    );
}

/// DECISIONS row 26, J8: permits of the last minute and running calls are counted in the store.
/// GINV-48.
#[tokio::test]
async fn limits_hold_over_a_restart() {
    let world = World::new().await;
    let mut settings = settings();
    settings.calls_per_minute = 3;
    let gate = world.gate_with(load(Vec::new(), settings));
    let one = async |world: &World| code(&world.run(&gate, &world.call("s", "ls"), AT_ONCE).await);
    for expected in ["allowed", "allowed", "allowed", "limit_rate"] {
        world.restart().await;
        assert_eq!(one(&world).await, expected);
    }
    world.clock.advance(seconds(60));
    assert_eq!(one(&world).await, "allowed");
    assert_eq!(world.hand.performed().len(), 4);
}
