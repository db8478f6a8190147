//! What judging costs: facts and both sets of one call, with more and more rules around.
//!
//! `cargo bench -p countersign-core --bench policy`. Figures mean something beside each other, in one run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a broken measurement must fail at once, and its macros write items without words"
)]

use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::facts::Facts;
use countersign_core::ids::{CallId, RawId};
use countersign_core::json::Json;
use countersign_core::judge::{Rules, judge};
use countersign_core::ledger::{Ledger, Resolved};
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::settings::RuleSettings;
use countersign_core::rulebook::{PolicyText, RuleSet, Rulebook};
use countersign_core::time::Timestamp;
use divan::Bencher;

fn main() {
    divan::main();
}

fn bash(line: &str) -> ToolCall {
    ToolCall::new(CallParts {
        call_id: CallId(RawId::new(Timestamp(0), [0; 10])),
        door: Door::Hook,
        principal: Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: None },
        session: Session { client: Client::ClaudeCode, id: "s".to_owned() },
        agent_id: None,
        tool_use_id: None,
        tool: "Bash".to_owned(),
        args: Json::object([("command", Json::str(line))]),
        cwd: Some("/home/ana/shop".to_owned()),
        joins: None,
        served: None,
    })
    .unwrap()
}

/// Rules that look at every shell line and match none of ours.
fn looking(n: usize) -> String {
    (0..n)
        .map(|i| {
            format!("@tier(\"soft\") @rule_id(\"r{i}\") @severity(\"low\")\nforbid (principal, action == Agent::Action::\"execute_bash\", resource) when {{ context.command like \"*never {i}*\" }};\n")
        })
        .collect()
}

/// Rules about other tools and other actions.
fn elsewhere(n: usize) -> String {
    (0..n)
        .map(|i| {
            format!("@tier(\"soft\") @rule_id(\"e{i}\") @severity(\"low\")\nforbid (principal, action == Agent::Action::\"invoke_tool\", resource == Agent::Tool::\"mcp__s__t{i}\") when {{ context.sub_agent }};\n")
        })
        .collect()
}

fn book(text: String) -> Rulebook {
    let source = PolicyText { file: "soft.cedar".to_owned(), text: text.into() };
    let settings = RuleSettings::defaults("/home/ana/shop", &[], Some("/home/ana"));
    Rulebook::build(vec![(RuleSet::Soft, source)], settings).unwrap().0
}

const LINE: &str = "git commit -m 'fix the parser' && git push origin feature > /tmp/log";

fn measure(bencher: Bencher<'_, '_>, book: &Rulebook) {
    let call = bash(LINE);
    let ground = &book.settings().ground;
    let facts = Facts::of(&call, ground).unwrap();
    let resolved = facts.paths.iter().flat_map(|p| [&p.path, &p.spelled]);
    let resolved = resolved.map(|p| Resolved { asked: p.clone(), real: Some(p.clone()), identity: None });
    let ledger = Ledger::blank(Timestamp(0), resolved.collect());
    bencher.bench(|| {
        let facts = Facts::of(divan::black_box(&call), ground);
        judge(&call, &facts, Rules::InForce(book), &ledger)
    });
}

/// Facts, hard and soft set of one call, with this many rules that look at its line.
#[divan::bench(args = [0, 20, 200])]
fn judged_with_rules_that_look(bencher: Bencher<'_, '_>, rules: usize) {
    measure(bencher, &book(looking(rules)));
}

/// The same with twenty of these, and this many about something else.
#[divan::bench(args = [0, 200, 10_000])]
fn judged_among_rules_about_something_else(bencher: Bencher<'_, '_>, rules: usize) {
    measure(bencher, &book(looking(20) + &elsewhere(rules)));
}

/// Facts alone.
#[divan::bench(args = ["ls -la", LINE, "for f in a b c; do sed -n '1,80p' \"$f\" | grep -n x; done"])]
fn facts(bencher: Bencher<'_, '_>, line: &str) {
    let call = bash(line);
    let ground = Default::default();
    bencher.bench(|| Facts::of(divan::black_box(&call), &ground));
}

/// What a hook pays before its first judgement.
#[divan::bench]
fn rulebook_loads() -> Rulebook {
    book(String::new())
}
