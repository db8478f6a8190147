//! What judging costs: facts and both sets of one call, with more and more rules around.
//!
//! `cargo bench -p countersign-core --bench policy`. Figures mean something beside each other, in one run; the table at
//! the end puts them in relation, in processor time and the best of many.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a broken measurement must fail at once, and its macros write items without words"
)]

use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::facts::Facts;
use countersign_core::ids::{CallId, RawId};
use countersign_core::json::Json;
use countersign_core::judge::{Judgement, Rules, judge};
use countersign_core::ledger::{Ledger, Resolved};
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::settings::RuleSettings;
use countersign_core::rulebook::{PolicyText, RuleSet, Rulebook};
use countersign_core::time::Timestamp;
use divan::Bencher;

fn main() {
    divan::main();
    // Built by a test run, it only has to start.
    if std::env::args().any(|arg| arg == "--bench") {
        ratios();
    }
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

/// A ledger in which nothing happened: every path is what it says.
fn quiet(call: &ToolCall, book: &Rulebook) -> Ledger {
    let facts = Facts::of(call, &book.settings().ground).unwrap();
    let resolved = facts.paths.iter().flat_map(|p| [&p.path, &p.spelled]);
    let resolved = resolved.map(|p| Resolved { asked: p.clone(), real: Some(p.clone()), identity: None });
    Ledger::blank(Timestamp(0), resolved.collect())
}

/// Everything that a call costs before its record: its facts and both sets.
fn whole(call: &ToolCall, book: &Rulebook, ledger: &Ledger) -> Judgement {
    let facts = Facts::of(divan::black_box(call), &book.settings().ground);
    judge(call, &facts, Rules::InForce(book), ledger)
}

fn measure(bencher: Bencher<'_, '_>, book: &Rulebook) {
    let call = bash(LINE);
    let ledger = quiet(&call, book);
    bencher.bench(|| whole(&call, book, &ledger));
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

/// A text of about 8 KiB in one command, as a commit's message.
fn long_text() -> String {
    format!("git commit -m '{}'", "one more word of a message ".repeat(300))
}

/// About 8 KiB in a script of many commands.
fn long_script() -> String {
    let step = |i: usize| {
        format!("echo 'step {i} {}' >> out/log-{i}.txt && grep -n 'x{i}' src/a{i}.rs", "of them ".repeat(33))
    };
    (0..25).map(step).collect::<Vec<_>>().join("\n")
}

/// Rules of the operator in both sets, half and half.
fn both(n: usize, rules: fn(usize) -> String) -> Rulebook {
    let soft = PolicyText { file: "soft.cedar".to_owned(), text: rules(n / 2).into() };
    let hard = rules(n - n / 2).replace("\"soft\"", "\"hard\"").replace("@severity(\"low\")", "");
    let hard = hard.replace("@rule_id(\"", "@rule_id(\"h");
    let hard = PolicyText { file: "hard.cedar".to_owned(), text: hard.into() };
    let settings = RuleSettings::defaults("/home/ana/shop", &[], Some("/home/ana"));
    Rulebook::build(vec![(RuleSet::Hard, hard), (RuleSet::Soft, soft)], settings).unwrap().0
}

/// Processor time of one round in microseconds, the best of many.
fn best(mut work: impl FnMut()) -> f64 {
    let cpu = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
    };
    let round = |work: &mut dyn FnMut(), times: u32| {
        let from = cpu();
        (0..times).for_each(|_| work());
        (cpu() - from) / f64::from(times)
    };
    let once = round(&mut work, 3);
    let times = ((2_000.0 / once) as u32).clamp(1, 500);
    (0..25).map(|_| round(&mut work, times)).fold(f64::MAX, f64::min)
}

/// One shell call, all its facts, all built-in rules and both sets, in relation to the gate without an operator's rules.
fn ratios() {
    let call = bash(LINE);
    let judged = |book: &Rulebook| {
        let ledger = quiet(&call, book);
        best(|| drop(divan::black_box(whole(&call, book, &ledger))))
    };
    let plain = judged(&both(0, looking));
    println!("\none shell call, facts and both sets: {plain:.0} µs without rules of an operator");
    println!("{:>10}  {:>22}  {:>22}", "rules", "that look at the line", "about something else");
    for n in [20, 200, 10_000] {
        let (look, other) = (judged(&both(n, looking)), judged(&both(n, elsewhere)));
        println!(
            "{n:>10}  {look:>10.0} µs {:>7.2} x  {other:>10.0} µs {:>7.2} x",
            look / plain,
            other / plain
        );
    }
    let ground = Default::default();
    let facts = |line: &str| {
        let call = bash(line);
        best(|| drop(divan::black_box(Facts::of(divan::black_box(&call), &ground))))
    };
    let typical = facts(LINE);
    println!(
        "facts alone: {typical:.1} µs for a line of {} bytes, {:.2} of the whole",
        LINE.len(),
        typical / plain
    );
    for (what, line) in [("one text", long_text()), ("a script", long_script())] {
        let long = facts(&line);
        let ratio = long / typical;
        println!("  {what:9} of {:5} bytes {long:9.1} µs {ratio:7.1} x", line.len());
    }
}
