//! Other processes: this test binary again. A worker speaks in lines that begin with `@ `, so that the test harness's
//! own lines are no part of the conversation.

use super::common::{self, ask, key, options};
use countersign_core::approval::Wait;
use countersign_core::event::Draft;
use countersign_gate::seams::{Store, StoreError};
use countersign_store::SqliteStore;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const ROLE: &str = "COUNTERSIGN_STORE_TEST_ROLE";
const DIR: &str = "COUNTERSIGN_STORE_TEST_DIR";

/// A worker and what it says.
pub(crate) struct Worker {
    pub(crate) child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

/// The command that makes this binary a worker.
pub(crate) fn command(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["worker::entry", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(DIR, dir).stdout(Stdio::piped()).stdin(Stdio::null());
    command
}

impl Worker {
    pub(crate) fn start(role: &str, dir: &Path) -> Worker {
        Worker::run(command(role, dir))
    }

    pub(crate) fn run(mut command: Command) -> Worker {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Worker { child, lines }
    }

    /// The next thing it says; `None` when it has ended.
    pub(crate) fn say(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            // The harness may have begun the line with its own words.
            if let Some((_, said)) = line.split_once("@ ") {
                return Some(said.to_owned());
            }
        }
    }

    /// Everything it still says, then its end.
    pub(crate) fn rest(mut self) -> (Vec<String>, bool) {
        let mut said = Vec::new();
        while let Some(line) = self.say() {
            said.push(line);
        }
        (said, self.child.wait().unwrap().success())
    }
}

pub(crate) fn tell(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@ {text}").unwrap();
    out.flush().unwrap();
}

/// Not a test by itself: what a worker runs.
#[test]
fn entry() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let dir = std::env::var(DIR).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let dir = Path::new(&dir);
        let (role, count) = role.split_once(' ').unwrap_or((&role, "0"));
        match role {
            "open" => open(dir).await,
            "visit" => visit(dir).await,
            "append" => append(dir, count.parse().unwrap()).await,
            "hold" => hold(dir).await,
            "decide" => decide(dir, count).await,
            "full" => full(dir).await,
            "recall" => super::notes::recalls(dir).await,
            "rewrite" => super::notes::rewrites(dir).await,
            "vault" => vault(dir).await,
            "rotate" => rotate(dir).await,
            other => panic!("no such role: {other}"),
        }
    });
}

/// Writes ten secrets with names of its own.
async fn vault(dir: &Path) {
    let store = SqliteStore::open(options(dir)).await.unwrap();
    for n in 0..10 {
        let name = format!("p{}-{n}", std::process::id());
        while !super::keeper::put(&store, &name, "value-of-mine").await {}
        tell(&name);
    }
}

/// Gives a secret one new value after the other, and tells each one when it is acknowledged.
async fn rotate(dir: &Path) {
    let store = SqliteStore::open(options(dir)).await.unwrap();
    let found = super::keeper::values(&store).await.unwrap();
    let now = found
        .iter()
        .find(|(name, _)| name == "turns")
        .map(|(_, v)| v.trim_start_matches("value-").parse::<u32>());
    let mut now = now.unwrap().unwrap();
    loop {
        now += 1;
        while !super::keeper::put(&store, "turns", &format!("value-{now:04}")).await {}
        tell(now);
    }
}

async fn open(dir: &Path) {
    let store = SqliteStore::open(options(dir)).await.unwrap();
    let sealed = store.note(Draft::note("opened")).await.unwrap();
    tell(sealed.seq());
}

/// What a hook does: opens, commits, leaves without closing.
async fn visit(dir: &Path) {
    let store = SqliteStore::open(options(dir)).await.unwrap();
    super::common::allow(&store, &key("s", &std::process::id().to_string())).await.unwrap();
    tell("done");
    store.leave().await;
    std::process::exit(0);
}

/// Appends `count` records (0: for ever), sixteen in flight, and tells each one when it is acknowledged.
async fn append(dir: &Path, count: u64) {
    let mut options = options(dir);
    // Short: with unfair waiting some writer starves for longer than this when eight of them write at once.
    options.busy_ms = 2_000;
    let store = SqliteStore::open(options).await.unwrap();
    tell("ready");
    let next = std::rc::Rc::new(std::cell::Cell::new(0u64));
    let local = tokio::task::LocalSet::new();
    for _ in 0..16 {
        let (store, next) = (store.clone(), next.clone());
        local.spawn_local(async move {
            loop {
                let n = next.get();
                if count > 0 && n >= count {
                    return;
                }
                next.set(n + 1);
                let sealed = store.note(Draft::note(&format!("record {n}"))).await.unwrap();
                tell(format_args!("{} {}", sealed.seq(), sealed.hash()));
            }
        });
    }
    local.await;
}

/// Opens a held request, tells its id and is then killed.
async fn hold(dir: &Path) {
    let store = SqliteStore::open(options(dir)).await.unwrap();
    let id = ask(&store, &key("held", "x"), Wait::Hold, 300).await;
    tell(id);
    loop {
        store.changed(std::time::Duration::from_secs(5)).await;
        let now = store.approval(id).await.unwrap().unwrap();
        tell(now.status.as_str());
    }
}

async fn decide(dir: &Path, id: &str) {
    let store = SqliteStore::open(options(dir)).await.unwrap();
    let id = countersign_core::ids::ApprovalId::parse(id).unwrap();
    let done = store.decide(common::yes(id, countersign_core::approval::scope::Scope::ThisCall)).await;
    tell(if done.is_ok() { "won" } else { "lost" });
}

/// On a small disk: fills it, sees the refusal, makes room and goes on with the same store.
async fn full(dir: &Path) {
    std::fs::create_dir_all(dir.join("project/.countersign")).unwrap();
    let store = SqliteStore::open(options(dir)).await.unwrap();
    let mut acked = Vec::new();
    for i in 0..10 {
        acked.push(store.note(Draft::note(&format!("before {i}"))).await.unwrap().seq());
    }
    let ballast = dir.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0u8; 4096]).is_ok() {}
    drop(file);
    // What space the log already holds may still be used; it must end in `Full`, not in anything else.
    let text = "x".repeat(900);
    let mut refused = None;
    for _ in 0..5_000 {
        match store.note(Draft::note(&text)).await {
            Ok(sealed) => acked.push(sealed.seq()),
            Err(e) => {
                refused = Some(e);
                break;
            }
        }
    }
    match refused {
        Some(StoreError::Full(_)) => tell("full"),
        other => panic!("expected Full, got {other:?}"),
    }
    // Several calls while it is full: each is refused, none hangs, none is written.
    let key = key("s", "x");
    for _ in 0..3 {
        let failed = match store.ledger(&key).await {
            Ok(ledger) => {
                let change = common::change(&key, &ledger, vec![common::permit(&key)]);
                store.commit(change).await.unwrap_err().to_string()
            }
            Err(e) => e.to_string(),
        };
        tell(format_args!("refused {failed}"));
    }
    std::fs::remove_file(&ballast).unwrap();
    let sealed = store.note(Draft::note("after")).await.unwrap();
    assert_eq!(sealed.seq(), acked.last().unwrap() + 1, "nothing of the refused ones was written");
    common::allow(&store, &key).await.unwrap();
    let records = common::assert_sound(&store).await;
    tell(format_args!("sound {records}"));
}
