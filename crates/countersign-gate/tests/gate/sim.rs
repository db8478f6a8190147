//! Everything together, by chance: agents, people, halts, faults and restarts, and what must hold all the same.
//!
//! The seed fixes what is done and when, in virtual time; which of two things that run at once is first is the
//! machine's business, so a seed that failed is tried several times. `SIM_SEED` picks the first one.

use super::common::*;
use countersign_core::cleanse::Clean;
use countersign_core::ledger::Via;
use countersign_core::rulebook::RuleSet;
use countersign_gate::gate::Patience;
use countersign_gate::permit::PERMIT_LIFE;
use countersign_testkit::fakes::{Chance, FakeClock, Fault};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const LINES: &[&str] = &[
    "ls",
    "echo a",
    "rm -rf /x",
    "git push --force origin a",
    "git push --force origin b",
    "git push -f origin main",
    "cat .env",
];

/// How long worlds are made for, at the machine's time.
const BUDGET: Duration = Duration::from_secs(8);

/// P-1, P-3, P-9, P-10, P-12, P-28, INV-30.
#[tokio::test]
async fn whatever_happens_the_promises_hold() {
    let first = std::env::var("SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() % 1_000_000
    });
    let begin = Instant::now();
    let mut seen = BTreeMap::new();
    let mut seed: u64 = first;
    while begin.elapsed() < BUDGET {
        let _told = Told(seed);
        for (word, n) in one_world(seed).await {
            *seen.entry(word).or_insert(0) += n;
        }
        seed += 1;
    }
    println!("seeds {first}..{seed}: {seen:?}");
    for word in ["allowed", "hard", "pending", "performed", "approved", "denied", "halted"] {
        assert!(seen.get(word).is_some_and(|n| *n > 0), "no world had any `{word}`: {seen:?}");
    }
}

/// Tells the seed when its world fails.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the world that failed: SIM_SEED={}", self.0);
        }
    }
}

async fn one_world(seed: u64) -> BTreeMap<&'static str, usize> {
    let mut chance = Chance::new(seed);
    let world = World::with(FakeClock::still(seed)).await;
    let mut short = settings();
    (short.timeout_s, short.per_minute) = (60, 12);
    let gates = [
        world.gate_with(load(Vec::new(), short)),
        world.gate_with(with_rule(RuleSet::Soft, "ask_echo", "echo*")),
    ];
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut running: Vec<Running> = Vec::new();
    let mut halted = false;
    for _ in 0..60 {
        let gate = &gates[usize::from(chance.below(4) == 0)];
        match chance.below(20) {
            0..=8 => {
                let line = LINES[chance.below(LINES.len() as u64) as usize];
                let session = ["s1", "s2", "s3"][chance.below(3) as usize];
                let hold_s = [Some(0), Some(5), None][chance.below(3) as usize];
                let patience = Patience { client_limit_s: None, hold_s, listens: None };
                running.push(world.start(gate, &world.call(session, line), patience));
            }
            9..=12 => {
                let open = world.store.inner().pending().await.unwrap();
                if !open.is_empty() {
                    let id = open[chance.below(open.len() as u64) as usize].request.approval_id;
                    let word = if chance.below(3) == 0 {
                        gate.deny(id, "no", ana(), Via::Cli).await.map(|_| "denied")
                    } else {
                        gate.approve(id, "this_call", ana(), Via::Cli).await.map(|_| "approved")
                    };
                    *seen.entry(word.unwrap_or("unheard")).or_insert(0) += 1;
                }
            }
            13 if chance.below(2) == 0 => {
                if !halted && world.store.inner().set_halt(&Clean::fixed("stop"), "human:ana").await.is_ok() {
                    // What `halt` waits for: from here on nothing starts.
                    world.clock.advance(PERMIT_LIFE + Duration::from_millis(1));
                    world.hand.forbid(true);
                    halted = true;
                }
            }
            13 | 14 => {
                if halted {
                    world.hand.forbid(false);
                    world.store.inner().clear_halt(None, &ana()).await.unwrap();
                    halted = false;
                }
            }
            15 => {
                let fault = Fault::ALL[chance.below(6) as usize];
                world.store.fail(1 + chance.below(6), fault, chance.below(3));
            }
            16 => {
                world.store.mend();
            }
            17 => world.restart().await,
            _ => {
                world.clock.advance(Duration::from_millis(chance.below(20_000)));
            }
        }
        // Lets the others run for a while.
        for _ in 0..chance.below(40) {
            tokio::task::yield_now().await;
        }
        if chance.below(3) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    // The end: everything is mended, and time runs out for whoever still waits.
    world.store.mend();
    for mut one in running {
        let answered = loop {
            tokio::select! {
                done = &mut one => break done.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(2)) => world.clock.advance(seconds(30)),
            }
        };
        *seen.entry(code(&answered)).or_insert(0) += 1;
    }
    *seen.entry("performed").or_insert(0) += world.hand.performed().len();
    verdict(&world).await;
    seen
}

/// What the log says must hold.
async fn verdict(world: &World) {
    let log = world.log().await;
    // P-1: executions <= recorded allows, each its own.
    log.covers(&world.hand);
    let mut halted = false;
    let mut spent: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ends: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &log.0 {
        let id = data(record, "approval_id");
        match record.text("event").unwrap() {
            "halt.set" => halted = true,
            "halt.cleared" => halted = false,
            "call.judged" => {
                // P-28: no allow is recorded between a halt and its end.
                assert!(!(halted && data(record, "decision") == "allowed"), "{}", record.canonical());
            }
            // P-9: each grant is spent once.
            "approval_granted" | "approval_redeemed" => {
                *spent.entry(data(record, "grant_id")).or_insert(0) += 1;
            }
            // INV-30: one end.
            "approval_decision_recorded" => {
                *answers.entry(id).or_insert(0) += 1;
                ends.entry(id).or_default().insert(data(record, "status").to_owned());
            }
            "approval_timed_out" => {
                ends.entry(id).or_default().insert("TIMED_OUT".to_owned());
            }
            "approval_stranded" => {
                ends.entry(id).or_default().insert("STRANDED".to_owned());
            }
            _ => {}
        }
    }
    assert!(spent.values().all(|n| *n == 1), "a grant was spent twice: {spent:?}");
    assert!(answers.values().all(|n| *n == 1), "a question was answered twice: {answers:?}");
    let two: Vec<_> = ends.iter().filter(|(_, words)| words.len() > 1).collect();
    assert!(two.is_empty(), "questions with two ends: {two:?}");
    // Executions of what asks never outnumber the answers that let them.
    let yes = ends.values().filter(|words| words.contains("APPROVED")).count();
    assert!(spent.len() <= yes, "{} uses of {yes} answers", spent.len());
}
