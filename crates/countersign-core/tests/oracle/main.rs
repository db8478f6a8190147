//! The effect oracle: what lines really do, against what the judge said of them.
//!
//! Lines run in real bash on a small machine of their own (`world`), what they did is read from its traces (`danger`),
//! and a line that did something dangerous must not have been allowed. The corpora are text: `own.txt` with ways around
//! and their harmless twins, `developers.txt` with lines that developers wrote down. Every line that is not allowed must
//! stay so in each wrapper. The suite runs a part; `cargo xtask oracle` runs all and prints the figures.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a broken test must fail at once, and what it found is printed"
)]

mod danger;
mod extract;
mod judge;
mod world;

use judge::Judge;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A line of our own corpus.
#[derive(Clone, Debug)]
struct Case {
    class: String,
    kind: Kind,
    line: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Must not be allowed.
    Dangerous,
    /// Must be allowed.
    Harmless,
    /// Dangerous in a way that is not promised (ARCHITECTURE, "What a call's facts promise").
    Limit,
    /// Harmless, and asked about all the same.
    Price,
}

fn own() -> Vec<Case> {
    let text = include_str!("own.txt");
    let mut class = String::new();
    let mut out = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            class = name.to_owned();
        } else if let Some((mark, rest)) = line.split_once(' ') {
            let kind = match mark {
                "-" => Kind::Dangerous,
                "+" => Kind::Harmless,
                "~" => Kind::Limit,
                "?" => Kind::Price,
                "#" => continue,
                other => panic!("{other:?} is no mark: {line}"),
            };
            out.push(Case { class: class.clone(), kind, line: rest.replace('⏎', "\n") });
        }
    }
    out
}

/// Lines with the part of the file that they stand in.
fn developers(sample: &str) -> Vec<(String, String)> {
    let mut part = String::new();
    let mut out = Vec::new();
    for line in sample.lines().filter(|l| !l.is_empty()) {
        match line.strip_prefix("# ") {
            Some(head) => part = head.strip_prefix("from ").unwrap_or(&part).to_owned(),
            None => out.push((part.clone(), line.replace('⏎', "\n"))),
        }
    }
    out
}

fn all() -> bool {
    std::env::var_os("COUNTERSIGN_ORACLE").is_some_and(|v| v == "all")
}

/// Our own corpus: each dangerous line is held, each harmless twin passes.
#[test]
fn own_lines_are_told_apart() {
    let judge = Judge::new();
    let cases = own();
    let mut wrong = Vec::new();
    for case in &cases {
        let said = judge.says(&case.line);
        let held = matches!(case.kind, Kind::Dangerous | Kind::Price);
        if said.allowed == held {
            wrong.push(format!("{} {:?}: {}\n      {}", case.class, case.kind, case.line, said.why));
        }
    }
    println!("{} lines, {} told wrongly", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What a wrapper makes of a line. `{}` is the line, `{q}` the line as one quoted word.
const WRAPPERS: &[&str] = &[
    "bash -c {q}",
    "sh -c {q}",
    "env A=b bash -c {q}",
    "eval {q}",
    "sudo bash -c {q}",
    "echo {q} | bash",
    "echo {q} | xargs -0 sh -c",
    "xargs -I% sh -c {q} < /dev/null",
    "({})",
    "{ {}; }",
    "f() { {}; }; f",
    "if true; then {}; fi",
    "while true; do {}; break; done",
    "for i in 1; do {}; done",
    "echo \"$({})\"",
    "x=$({}); echo done",
    "nohup bash -c {q}",
    "timeout 5 bash -c {q}",
    "{}; true",
    "cd . && {}",
    "true && {}",
    "false || {}",
    "! {}",
    "{} &",
    "bash <<'EOF'⏎{}⏎EOF",
    "case x in x) {};; esac",
    "nice bash -c {q}",
    "command bash -c {q}",
    "exec bash -c {q}",
    "bash -lc {q}",
    "python3 -c {p}",
    "trap {q} EXIT",
    "cat <({})",
    "time bash -c {q}",
    "set -e⏎{}",
    "ls | while read x; do {}; done",
];

/// P-6: what is not allowed stays so in every wrapper.
#[test]
fn wrappers_hide_nothing() {
    let judge = Judge::new();
    let lines: Vec<String> = own()
        .into_iter()
        .filter(|c| matches!(c.kind, Kind::Dangerous | Kind::Price))
        .map(|c| c.line)
        .collect();
    let step = if all() { 1 } else { 31 };
    let mut shown = Vec::new();
    let mut tried = 0;
    for (at, line) in lines.iter().enumerate() {
        // A here-document ends at the end of its line; wrapped behind, it would be another text.
        let simple = !line.contains("<<") && !line.contains('#') && !line.trim_end().ends_with('&');
        for (number, wrapper) in WRAPPERS.iter().enumerate() {
            if (at + number) % step != 0 || (!simple && !wrapper.contains("{q}")) {
                continue;
            }
            let quoted = countersign_core::facts::shell::quote(line);
            let python = countersign_core::facts::shell::quote(&format!("import os; os.system({line:?})"));
            let wrapped = wrapper
                .replace("{q}", &quoted)
                .replace("{p}", &python)
                .replace("{}", line)
                .replace('⏎', "\n");
            tried += 1;
            if judge.says(&wrapped).allowed {
                shown.push(format!("{line}\n      in {wrapper}"));
            }
        }
    }
    println!("{tried} wrapped lines, {} allowed", shown.len());
    assert!(shown.is_empty(), "\n{}", shown.join("\n"));
}

/// What developers wrote down: how much of it a person is asked about, by reason.
///
/// Programs that nobody here knows, variables of an environment that is not there, and git's rare commands are in the
/// samples and are asked about by design: bounds that a worse reader or a poorer table would break.
#[test]
fn developers_are_left_alone() {
    asked_about(include_str!("developers.txt"), 4.0);
}

/// The same with a sample that nobody worked on.
#[test]
fn developers_of_a_fresh_sample_are_left_alone() {
    asked_about(include_str!("developers_fresh.txt"), 8.0);
}

fn asked_about(sample: &str, bound: f64) {
    let judge = Judge::new();
    let lines = developers(sample);
    let mut classes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut parts: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for (part, line) in &lines {
        let said = judge.says(line);
        let count = parts.entry(part).or_default();
        count.0 += 1;
        if !said.allowed {
            let opaque = said.class.starts_with("opaque");
            count.1 += usize::from(!opaque);
            count.2 += usize::from(opaque);
            classes.entry(said.class).or_default().push(line);
        }
    }
    // These ask by intent: the rule is about just that.
    let meant: usize = classes.iter().filter(|(c, _)| !c.starts_with("opaque")).map(|(_, l)| l.len()).sum();
    let opaque: usize = classes.values().map(Vec::len).sum::<usize>() - meant;
    let percent = |n: usize| 100.0 * n as f64 / lines.len().max(1) as f64;
    println!(
        "{} lines: {:.1} % asked by a rule, {:.1} % not understood",
        lines.len(),
        percent(meant),
        percent(opaque)
    );
    for (part, (count, asked, opaque)) in &parts {
        println!("  {part}: of {count} lines {asked} asked by a rule, {opaque} not understood");
    }
    let mut order: Vec<_> = classes.iter().collect();
    order.sort_by_key(|(_, l)| std::cmp::Reverse(l.len()));
    for (class, found) in order {
        println!("  {:4} {class}", found.len());
        for line in found.iter().take(if all() { 60 } else { 3 }) {
            println!("         {}", line.replace('\n', "⏎"));
        }
    }
    assert!(percent(opaque) <= bound, "{:.1} % of ordinary lines are not understood", percent(opaque));
}

/// What is said of the lines of a file: for trying out. `COUNTERSIGN_ORACLE_LINES` names it.
#[test]
#[ignore = "judges the lines of a file that a variable names"]
fn say() {
    let judge = Judge::new();
    let file = std::env::var("COUNTERSIGN_ORACLE_LINES").unwrap();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let said = judge.says(&line.replace('⏎', "\n"));
        println!("{} {line}    [{}]", if said.allowed { '+' } else { '-' }, said.why);
    }
}

/// The oracle itself: nothing dangerous happens behind an allow.
#[test]
fn nothing_dangerous_is_allowed() {
    let judge = Judge::new();
    // In memory where the system has a place for it: each line gets a fresh copy.
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { PathBuf::from(env!("CARGO_TARGET_TMPDIR")) };
    let base = base.join(format!("oracle-{}", std::process::id()));
    let template = base.join("template");
    world::World::template(&template);
    let cases = own();
    let step = if all() { 1 } else { 12 };
    // What fills a machine would fill this one: namespaces do not count processes.
    let safe = |case: &Case| case.class != "bombs";
    let chosen: Vec<&Case> = cases
        .iter()
        .filter(|c| safe(c))
        .enumerate()
        .filter(|(at, _)| at % step == 0)
        .map(|(_, c)| c)
        .collect();
    let next = AtomicUsize::new(0);
    let bad = Mutex::new(Vec::new());
    let quiet = Mutex::new(BTreeMap::<String, usize>::new());
    let (shown, limits) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (next, bad, quiet, chosen, base, template, judge, shown, limits) =
                (&next, &bad, &quiet, &chosen, &base, &template, &judge, &shown, &limits);
            scope.spawn(move || {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let world = world::World::copy(template, base.join(format!("w{worker}")));
                    let begun = std::time::Instant::now();
                    let dangers = danger::of(&world.run(&case.line));
                    if all() && begun.elapsed().as_secs() > 2 {
                        println!("slow: {}", case.line);
                    }
                    let said = judge.says(&case.line);
                    if dangers.is_empty() {
                        if case.kind == Kind::Dangerous {
                            *quiet.lock().unwrap().entry(case.class.clone()).or_default() += 1;
                        }
                        continue;
                    }
                    shown.fetch_add(1, Ordering::Relaxed);
                    if said.allowed && case.kind == Kind::Limit {
                        limits.fetch_add(1, Ordering::Relaxed);
                    } else if said.allowed {
                        bad.lock().unwrap().push(format!(
                            "{}: {}\n      {}",
                            case.class,
                            case.line,
                            dangers.join("; ")
                        ));
                    }
                }
            });
        }
    });
    let _ = std::fs::remove_dir_all(&base);
    let bad = bad.into_inner().unwrap();
    println!(
        "{} lines run, {} did something dangerous, {} of these allowed ({} more in ways that are not promised)",
        chosen.len(),
        shown.load(Ordering::Relaxed),
        bad.len(),
        limits.load(Ordering::Relaxed)
    );
    println!("held, but without a trace here, by class: {:?}", quiet.into_inner().unwrap());
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}
