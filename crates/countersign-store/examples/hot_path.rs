//! Measures what one hook call costs the store: a fresh process that opens, reads once, commits once and leaves
//! (`pre`), one that opens, records an outcome and leaves (`post`), against a process that does nothing and one flush
//! of the same disk.
//!
//! `cargo run --release -p countersign-store --example hot_path [RUNS]`

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)]

use countersign_core::call::{Door, HostCall, Session};
use countersign_core::digest::Digest;
use countersign_core::event::{Draft, Event, word};
use countersign_core::ids::{CallId, RawId, TaskId};
use countersign_core::ledger::{CallKey, CallOutcome, CallRow, Change, Op, OpenTask, Outcome};
use countersign_core::principal::Client;
use countersign_core::time::Timestamp;
use countersign_gate::seams::{CallRef, Store};
use countersign_store::{SqliteStore, StoreOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("nothing") => {}
        Some("pre") => hook(Path::new(&args[2]), &args[3], false),
        Some("post") => hook(Path::new(&args[2]), &args[3], true),
        runs => measure(runs.and_then(|r| r.parse().ok()).unwrap_or(300)),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn options(dir: &Path) -> StoreOptions {
    StoreOptions::new(dir.join("state"), dir.join("project/.countersign/HALT"))
}

fn hook(dir: &Path, name: &str, post: bool) -> ! {
    runtime().block_on(async {
        let store = SqliteStore::open(options(dir)).await.unwrap();
        let session = Session { client: Client::ClaudeCode, id: "s".into() };
        let host = HostCall { session: session.clone(), agent_id: None, tool_use_id: name.into() };
        if post {
            let ended = Outcome {
                records: Vec::new(),
                outcome: CallOutcome::Ok,
                code: None,
                duration_ms: None,
                bytes: 9,
                redactions: Vec::new(),
                injection: None,
            };
            assert!(store.observe(&CallRef::Host(host), ended).await.unwrap().is_some());
            return store.leave().await;
        }
        let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let pid = std::process::id().to_be_bytes();
        let chance = [pid[0], pid[1], pid[2], pid[3], 0, 0, 0, 0, 0, 0];
        let id = RawId::new(Timestamp(at.as_millis() as i64), chance);
        let key = CallKey {
            session: session.clone(),
            principal: "agent:claude-code:1000".into(),
            tool: "Bash".into(),
            args_digest: Digest::of("args", &[&pid]),
            call_digest: Digest::of("call", &[&pid]),
            rulebook_digest: Digest::of("rules", &[]),
            paths: vec!["/usr/bin/env".into()],
            server: None,
            joins: None,
            counted: false,
            mails: false,
        };
        let ledger = store.ledger(&key).await.unwrap();
        let call = CallRow {
            call_id: CallId(id),
            door: Door::Hook,
            session: session.clone(),
            host: Some(host),
            principal: key.principal.clone(),
            tool: key.tool.clone(),
            args_digest: key.args_digest,
            call_digest: key.call_digest,
        };
        let draft = Draft::new(
            Event::CallJudged,
            [
                ("tool_name", word("Bash")),
                ("verdict", word("allow")),
                ("input_preview", word("ls -la ".repeat(30))),
            ],
        );
        let change = Change {
            guard: Some((key, ledger.version)),
            open_task: Some(OpenTask { session, fresh: TaskId(id), owner: "human:ana".into(), gate_cap: 50 }),
            ops: vec![Op::Permit {
                call: Box::new(call),
                per_minute: 100_000,
                concurrent: 100_000,
                spend: None,
                resume: None,
                joins: None,
            }],
            drafts: vec![draft.call(CallId(id))],
        };
        store.commit(change).await.unwrap();
        store.leave().await;
    });
    std::process::exit(0);
}

fn measure(runs: u32) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("project/.countersign")).unwrap();
    runtime().block_on(async { SqliteStore::open(options(dir.path())).await.unwrap().close().await });
    let me = std::env::current_exe().unwrap();
    let run = |mode: &str, name: &str| {
        let begin = Instant::now();
        assert!(Command::new(&me).arg(mode).arg(dir.path()).arg(name).status().unwrap().success());
        begin.elapsed()
    };
    let mut file = std::fs::File::create(dir.path().join("flushed")).unwrap();
    let mut flush = || {
        file.write_all(&[7; 4096]).unwrap();
        let begin = Instant::now();
        file.sync_data().unwrap();
        begin.elapsed()
    };
    let mut series: Vec<(&str, Vec<Duration>)> = [
        "nothing",
        "one fdatasync",
        "pre, alone",
        "post, alone",
        "pre, beside another",
        "post, beside another",
    ]
    .map(|name| (name, Vec::new()))
    .into();
    for i in 0..runs {
        series[0].1.push(run("nothing", ""));
        series[1].1.push(flush());
        series[2].1.push(run("pre", &format!("a{i}")));
        series[3].1.push(run("post", &format!("a{i}")));
    }
    let runtime = runtime();
    let open = runtime.block_on(SqliteStore::open(options(dir.path()))).unwrap();
    let _ = runtime.block_on(open.head());
    for i in 0..runs {
        series[4].1.push(run("pre", &format!("b{i}")));
        series[5].1.push(run("post", &format!("b{i}")));
    }
    for (name, mut times) in series {
        times.sort_unstable();
        let at = |p: usize| times[(times.len() - 1) * p / 100];
        println!("{name:22} p50 {:>9.3?}  p90 {:>9.3?}  p99 {:>9.3?}", at(50), at(90), at(99));
    }
}
