//! What the sources may not name, room by room.
//!
//! The arrows (`arrows`) decide which crates can be reached; the standard library can be reached from everywhere, so
//! its clocks, files and sockets are kept out of core and gate here, by name. The same scan keeps SQL in the store,
//! concrete stores and hands in the binary's one wiring file, and unfinished or unsafe code out of the house.
//! It reads names, not meaning: a clever enough macro goes round it, a reviewer would ask why.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::finding::Finding;
use crate::tokens::{self, Kind, NamePath};

/// One rule: where it holds and what it finds.
struct Ban {
    /// A short name for the finding's text.
    what: &'static str,
    remedy: &'static str,
    holds: fn(&Place<'_>) -> bool,
    /// Whether tests may do it all the same.
    tests_may: bool,
    finds: Finds,
}

enum Finds {
    /// A path that contains these segments side by side. `*` in the source stands for any last segment.
    Path(&'static [&'static [&'static str]]),
    /// A call whose path ends in this name and has something before it.
    CallEnding(&'static str),
    /// A name anywhere, as the only or as one segment of a path.
    Name(&'static [&'static str]),
    /// A macro.
    Macro(&'static [&'static str]),
    /// Two keywords in a row.
    Keywords(&'static str, &'static [&'static str]),
    /// A string with one of these beginnings at the beginning of a line of it.
    SqlText,
}

/// Where a file lies.
struct Place<'a> {
    /// The crate's folder name (`xtask` for xtask).
    room: &'a str,
    /// The path below the crate's folder.
    within: &'a str,
}

fn in_core(place: &Place<'_>) -> bool {
    place.room == "countersign-core" && place.within.starts_with("src/")
}

fn in_gate(place: &Place<'_>) -> bool {
    place.room == "countersign-gate" && place.within.starts_with("src/")
}

/// Where nobody can know whether a person is there.
fn outside_person(place: &Place<'_>) -> bool {
    // The demo answers itself, in a scratch store that ends with it.
    let may = match place.room {
        "countersign" => ["src/person.rs", "src/cli/demo.rs"].contains(&place.within),
        "countersign-core" => place.within == "src/principal.rs",
        "countersign-testkit" => true,
        _ => false,
    };
    !may && place.within.starts_with("src/")
}

fn in_core_or_gate(place: &Place<'_>) -> bool {
    in_core(place) || in_gate(place)
}

fn outside_the_store(place: &Place<'_>) -> bool {
    !matches!(place.room, "countersign-store" | "xtask") && place.within.starts_with("src/")
}

fn in_the_binary_but_not_wire(place: &Place<'_>) -> bool {
    place.room == "countersign" && place.within.starts_with("src/") && place.within != "src/wire.rs"
}

fn anywhere(_: &Place<'_>) -> bool {
    true
}

const BANS: &[Ban] = &[
    Ban {
        what: "files, sockets, environment or processes",
        remedy: "Core and gate decide on values: let the caller read and pass the value in, or use a seam.",
        holds: in_core_or_gate,
        tests_may: true,
        finds: Finds::Path(&[
            &["std", "fs"],
            &["std", "net"],
            &["std", "env"],
            &["std", "process"],
            &["std", "os"],
            &["tokio", "fs"],
            &["tokio", "net"],
            &["tokio", "process"],
        ]),
    },
    Ban {
        what: "a machine's clock",
        remedy: "Take the time as an argument; only the Clock seam and the database tell it.",
        holds: in_core_or_gate,
        tests_may: true,
        finds: Finds::Name(&["SystemTime", "Instant"]),
    },
    Ban {
        what: "a machine's clock",
        remedy: "Take the time as an argument; only the Clock seam and the database tell it.",
        holds: in_core,
        tests_may: true,
        finds: Finds::CallEnding("now"),
    },
    Ban {
        what: "waiting by the machine's clock",
        remedy: "Wait through the Clock seam, so that a test can move the time.",
        holds: in_core_or_gate,
        tests_may: true,
        finds: Finds::Path(&[&["thread", "sleep"], &["tokio", "time"]]),
    },
    Ban {
        what: "chance",
        remedy: "Fresh ids and salts come from the Clock seam as arguments, so that a run can be replayed.",
        holds: in_core_or_gate,
        tests_may: true,
        finds: Finds::Name(&["rand", "getrandom"]),
    },
    Ban {
        what: "async code",
        remedy: "Core is plain functions over values: what must be awaited is awaited in gate.",
        holds: in_core,
        tests_may: false,
        finds: Finds::Keywords("async", &["fn", "move"]),
    },
    Ban {
        what: "the standard library under another name",
        remedy: "Import what is needed by its own path, so that these bans can see it.",
        holds: in_core_or_gate,
        tests_may: false,
        finds: Finds::Path(&[&["std", "*"], &["std", "self"]]),
    },
    Ban {
        what: "making a person who may decide",
        remedy: "Only person.rs proves that a person is there; take the Approver that it gives.",
        holds: outside_person,
        tests_may: true,
        finds: Finds::Path(&[&["Approver", "of"]]),
    },
    Ban {
        what: "SQL",
        remedy: "Statements live in countersign-store; give the Store seam a verb of the product instead.",
        holds: outside_the_store,
        tests_may: true,
        finds: Finds::SqlText,
    },
    Ban {
        what: "a concrete store or hand",
        remedy: "Only src/wire.rs puts the pieces together (the one file to audit for a bypass): take the seam's trait.",
        holds: in_the_binary_but_not_wire,
        tests_may: false,
        finds: Finds::Name(&["countersign_store", "countersign_outbound"]),
    },
    Ban {
        what: "`unsafe`",
        remedy: "There is none in this house: use a library whose business it is.",
        holds: anywhere,
        tests_may: false,
        finds: Finds::Name(&["unsafe"]),
    },
    Ban {
        what: "unfinished code",
        remedy: "Finish it, or return an error that says what is missing.",
        holds: anywhere,
        tests_may: false,
        finds: Finds::Macro(&["todo", "unimplemented"]),
    },
];

/// How a statement begins. Upper case only: the house writes SQL so, and prose seldom does.
const STATEMENTS: &[&str] = &[
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "DELETE FROM ",
    "CREATE TABLE ",
    "CREATE INDEX ",
    "CREATE UNIQUE INDEX ",
    "DROP TABLE ",
    "ALTER TABLE ",
    "PRAGMA ",
    "BEGIN IMMEDIATE",
    "WITH RECURSIVE ",
];

/// Reads every source file of the workspace.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(root, Path::new(folder), &mut files)?;
    }
    files.sort();
    let mut findings = Vec::new();
    for file in files {
        let source =
            fs::read_to_string(root.join(&file)).with_context(|| format!("reading {}", file.display()))?;
        findings.extend(check_file(&file, &source));
    }
    Ok(findings)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                collect(root, &path, files)?;
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_file(file: &Path, source: &str) -> Vec<Finding> {
    let shown = file.to_string_lossy().replace('\\', "/");
    let below = shown.strip_prefix("crates/").unwrap_or(&shown);
    let Some((room, within)) = below.split_once('/') else { return Vec::new() };
    let place = Place { room, within };
    let bans: Vec<&Ban> = BANS.iter().filter(|ban| (ban.holds)(&place)).collect();
    if bans.is_empty() {
        return Vec::new();
    }
    // `mod tests;` puts test code into a file of its own, whose tokens do not say so.
    let all_test = within.ends_with("/tests.rs") || within.contains("/tests/");
    let tokens = tokens::read(source);
    let paths = tokens::paths(&tokens);
    let mut findings = Vec::new();
    for ban in bans {
        let spared = |in_test: bool| ban.tests_may && (in_test || all_test);
        let mut find = |line: usize, said: &str| {
            findings.push(Finding::new(file, line, format!("`{said}` names {}", ban.what), ban.remedy));
        };
        match &ban.finds {
            Finds::SqlText => {
                for token in tokens.iter().filter(|t| !spared(t.in_test)) {
                    if let Kind::Text(text) = &token.kind
                        && let Some(statement) = sql_in(text)
                    {
                        find(token.line, statement);
                    }
                }
            }
            Finds::Keywords(first, seconds) => {
                for pair in tokens.windows(2) {
                    let [a, b] = pair else { continue };
                    let second = b.name().filter(|b| seconds.contains(b));
                    if a.name() == Some(first)
                        && let Some(second) = second
                        && !spared(a.in_test)
                    {
                        find(a.line, &format!("{first} {second}"));
                    }
                }
            }
            finds => {
                for path in paths.iter().filter(|p| !spared(p.in_test) && names(finds, p)) {
                    find(path.line, &path.segments.join("::"));
                }
            }
        }
    }
    findings.sort_by_key(|finding| finding.line);
    findings.dedup();
    findings
}

fn names(finds: &Finds, path: &NamePath) -> bool {
    let has = |name: &&str| path.segments.iter().any(|segment| segment == name);
    match finds {
        Finds::Path(banned) => banned.iter().any(|banned| {
            path.segments.windows(banned.len()).any(|window| window.iter().zip(*banned).all(|(a, b)| a == b))
        }),
        Finds::CallEnding(name) => {
            path.segments.len() > 1
                && path.next == Some('(')
                && path.segments.last().is_some_and(|last| last == name)
        }
        Finds::Name(banned) => banned.iter().any(has),
        Finds::Macro(banned) => {
            path.next == Some('!') && path.segments.last().is_some_and(|last| banned.contains(&last.as_str()))
        }
        Finds::Keywords(..) | Finds::SqlText => false,
    }
}

/// The statement that begins some line of the text.
fn sql_in(text: &str) -> Option<&'static str> {
    let mut lines = text.lines().map(str::trim_start);
    lines
        .find_map(|line| STATEMENTS.iter().copied().find(|statement| line.starts_with(statement)))
        .map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, source: &str) -> Vec<(usize, String)> {
        check_file(Path::new(file), source).into_iter().map(|f| (f.line, f.what)).collect()
    }

    /// Each line alone must be found in the file, and must not be found in `free`.
    fn each(file: &str, free: &str, lines: &[&str]) {
        for line in lines {
            let source = format!("// first\n{line}\n");
            let findings = found(file, &source);
            assert!(findings.first().is_some_and(|(at, _)| *at == 2), "{file}: {line}: {findings:?}");
            assert_eq!(found(free, &source), [], "{free}: {line}");
        }
    }

    const CORE: &str = "crates/countersign-core/src/judge.rs";
    const GATE: &str = "crates/countersign-gate/src/gate.rs";
    const STORE: &str = "crates/countersign-store/src/sqlite/commit.rs";
    const BINARY: &str = "crates/countersign/src/cli/show.rs";

    #[test]
    fn core_and_gate_cannot_reach_the_world() {
        let lines = [
            "use std::fs;",
            "use std::{fmt, fs::File};",
            "let s = std::net::TcpStream::connect(a);",
            "use std::env as e;",
            "std::process::exit(1);",
            "use std::os::unix::fs::MetadataExt;",
            "use std::*;",
            "use std::{self as s};",
        ];
        each(CORE, STORE, &lines);
        each(GATE, STORE, &lines);
    }

    #[test]
    fn core_and_gate_cannot_tell_the_time_or_throw_dice() {
        let lines = [
            "use std::time::SystemTime;",
            "use std::time::{Duration, Instant};",
            "let t = std::time::Instant::now();",
            "std::thread::sleep(d);",
            "tokio::time::sleep(d).await;",
            "let n = rand::random();",
            "getrandom::fill(&mut b);",
        ];
        each(CORE, STORE, &lines);
        each(GATE, STORE, &lines);
        each(CORE, GATE, &["let t = Timestamp::now();", "let z = jiff::Zoned::now();"]);
    }

    #[test]
    fn a_clock_that_is_asked_is_not_a_clock_that_is_read() {
        assert_eq!(found(GATE, "let t = self.clock.now();"), []);
        assert_eq!(found(CORE, "fn judge(now: Timestamp) { step(event, now) }"), []);
    }

    #[test]
    fn core_is_not_async() {
        each(CORE, GATE, &["pub async fn judge() {}", "let f = async move { 1 };"]);
    }

    #[test]
    fn sql_stays_in_the_store() {
        let lines =
            ["q(\"SELECT 1\");", "q(r#\"INSERT INTO log VALUES (1)\"#);", "q(\"PRAGMA user_version\");"];
        each(GATE, STORE, &lines);
        each(BINARY, STORE, &lines);
        assert_eq!(found(BINARY, "let help = \"Select one, or delete from the list.\";"), []);
    }

    #[test]
    fn only_wire_sees_both_sides() {
        let lines = ["use countersign_store::Sqlite;", "let r = countersign_outbound::recall();"];
        each(BINARY, "crates/countersign/src/wire.rs", &lines);
        each("crates/countersign/src/wire/more.rs", "crates/countersign/tests/e2e.rs", &lines);
        let in_tests = "#[cfg(test)]\nmod tests { use countersign_store::Sqlite; }";
        assert_eq!(found(BINARY, in_tests).len(), 1);
    }

    #[test]
    fn unsafe_and_unfinished_code_is_found_everywhere() {
        for file in [CORE, STORE, BINARY, "crates/countersign-testkit/tests/x.rs", "xtask/src/main.rs"] {
            assert_eq!(found(file, "unsafe { x() }").len(), 1, "{file}");
            assert_eq!(found(file, "todo!()").len(), 1, "{file}");
            assert_eq!(found(file, "std::unimplemented!(\"later\")").len(), 1, "{file}");
        }
    }

    #[test]
    fn tests_and_words_are_left_alone() {
        let tests =
            "#[cfg(test)]\nmod tests {\n use std::fs;\n #[test] fn a() { fs::read(\"SELECT 1\"); }\n}\n";
        assert_eq!(found(CORE, tests), []);
        assert_eq!(found("crates/countersign-core/src/judge/tests.rs", "use std::fs;"), []);
        assert_eq!(found("crates/countersign-core/tests/cases.rs", "use std::fs;"), []);
        assert_eq!(found(CORE, "/// Never unsafe, no std::fs, no todo!()\nlet s = \"unsafe std::fs\";"), []);
    }

    #[test]
    fn this_workspace_keeps_the_bans() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(check(root).unwrap(), []);
    }
}
