//! First creation, modes, and a log that is gone.

use super::common::*;
use super::worker::Worker;
use countersign_core::event::Draft;
use countersign_gate::seams::{Store, StoreError};
use countersign_store::SqliteStore;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// The trap of DP 3.3: on a fresh file some of the simultaneous first openers used to fail.
#[test]
fn thirty_two_first_openers_all_succeed() {
    for round in 0..6 {
        let place = Place::new();
        let workers: Vec<Worker> = (0..32).map(|_| Worker::start("open", place.dir.path())).collect();
        let mut seqs = Vec::new();
        for worker in workers {
            let (said, ok) = worker.rest();
            assert!(ok, "round {round}");
            seqs.extend(said.iter().map(|s| s.parse::<u64>().unwrap()));
        }
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=32).collect::<Vec<_>>(), "round {round}");
    }
}

/// Openers of one process on one thread do not lock each other out.
#[tokio::test]
async fn first_openers_of_one_thread_all_succeed() {
    let place = Place::new();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let options = place.options();
        set.spawn(async move { SqliteStore::open(options).await.map(drop) });
    }
    while let Some(done) = set.join_next().await {
        done.unwrap().unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn files_are_private_from_the_start() {
    let place = Place::new();
    let store = place.store().await;
    store.note(Draft::note("x")).await.unwrap();
    assert_eq!(mode(&place.state()), 0o700);
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(place.state()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
        seen.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in ["state.db", "state.db-wal", "state.db-shm", "log.json"] {
        assert!(seen.iter().any(|s| s == name), "{name} in {seen:?}");
    }
}

#[tokio::test]
async fn what_others_could_open_is_refused_with_the_repair() {
    let refusal = |place: &Place| {
        let options = place.options();
        async move {
            match SqliteStore::open(options).await.map(drop).unwrap_err() {
                StoreError::Unavailable(text) => text,
                other => panic!("{other:?}"),
            }
        }
    };
    let place = Place::new();
    place.store().await.close().await;
    let set =
        |path: &Path, m: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(m)).unwrap();

    set(&place.state(), 0o750);
    assert!(refusal(&place).await.contains("chmod 700"));
    set(&place.state(), 0o700);
    set(&place.state().join("state.db"), 0o604);
    assert!(refusal(&place).await.contains("chmod 600"));
    set(&place.state().join("state.db"), 0o600);
    place.store().await.close().await;

    let elsewhere = place.dir.path().join("elsewhere");
    std::fs::rename(place.state().join("state.db"), &elsewhere).unwrap();
    symlink(&elsewhere, place.state().join("state.db")).unwrap();
    assert!(refusal(&place).await.contains("symbolic link"));
    std::fs::remove_file(place.state().join("state.db")).unwrap();
    std::fs::rename(&elsewhere, place.state().join("state.db")).unwrap();

    std::fs::rename(place.state(), &elsewhere).unwrap();
    symlink(&elsewhere, place.state()).unwrap();
    assert!(refusal(&place).await.contains("symbolic link"));
}

/// A missing or emptied database with a known log is no first run.
#[tokio::test]
async fn a_log_that_is_gone_is_not_begun_anew() {
    let place = Place::new();
    let store = place.store().await;
    store.note(Draft::note("x")).await.unwrap();
    let db = place.state().join("state.db");
    std::fs::rename(&db, place.dir.path().join("taken")).unwrap();
    // The store that still has it open must not write into a file without a name.
    assert!(matches!(store.note(Draft::note("y")).await, Err(StoreError::Missing(_))));
    let gone = SqliteStore::open(place.options()).await.map(drop).unwrap_err();
    assert!(matches!(gone, StoreError::Missing(_)), "{gone:?}");
    assert_eq!(gone.code().as_str(), "log_missing");
    for name in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(place.state().join(name));
    }
    std::fs::write(&db, "").unwrap();
    std::fs::set_permissions(&db, std::fs::Permissions::from_mode(0o600)).unwrap();
    let gone = SqliteStore::open(place.options()).await.map(drop).unwrap_err();
    assert!(matches!(gone, StoreError::Missing(_)), "{gone:?}");
}

/// A file that is no database is a fault, not a fresh start.
#[tokio::test]
async fn rubbish_is_refused() {
    let place = Place::new();
    place.store().await.close().await;
    let db = place.state().join("state.db");
    std::fs::write(
        &db,
        "no database at all, but long enough to have a header of one hundred bytes and more than that..",
    )
    .unwrap();
    let refused = SqliteStore::open(place.options()).await.map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
}

/// One short-lived process after the other, none of which closes: what they write must not pile up.
#[tokio::test]
async fn the_write_ahead_log_stays_small() {
    let place = Place::new();
    place.store().await.close().await;
    let mut most = 0;
    for _ in 0..60 {
        let (said, _) = Worker::start("visit", place.dir.path()).rest();
        assert_eq!(said, ["done"]);
        most = most.max(std::fs::metadata(place.state().join("state.db-wal")).map_or(0, |m| m.len()));
    }
    assert!(most < 100 * 4_120, "{most} bytes");
    let store = place.store().await;
    assert_eq!(assert_sound(&store).await, 61);
}

/// A process killed while it creates the store leaves something the next one completes.
#[tokio::test]
async fn a_killed_first_opener_is_no_obstacle() {
    let mut unfinished = 0;
    for round in 0..30u64 {
        let place = Place::new();
        let mut worker = Worker::start("open", place.dir.path());
        // From before the folder exists to after the first record.
        while !place.state().exists() && worker.child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        let until = std::time::Instant::now() + std::time::Duration::from_micros(round * 150);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        let _ = worker.child.kill();
        worker.child.wait().unwrap();
        unfinished += u64::from(!place.state().join("log.json").exists());
        let store = place.store().await;
        store.note(Draft::note("next")).await.unwrap();
        assert_sound(&store).await;
    }
    assert!(unfinished > 3, "only {unfinished} rounds met the creation");
}

/// A database of an earlier version is brought up to date in place, and keeps what it holds.
#[tokio::test]
async fn earlier_versions_are_upgraded() {
    use countersign_gate::seams::PinKind;
    use sqlx::Connection as _;
    for (version, schema) in [(1, include_str!("schema-1.sql")), (2, include_str!("schema-2.sql"))] {
        let place = Place::new();
        place.store().await.close().await;
        let path = place.state().join("state.db");
        for name in ["state.db", "state.db-wal", "state.db-shm"] {
            let _ = std::fs::remove_file(place.state().join(name));
        }
        // As it was then, but for the lists of states, which have not changed since.
        let states = "'SUBMITTED', 'RUNNING', 'AWAITING_APPROVAL', 'FINALIZING', 'COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT'";
        let schema = schema
            .replace("@TASK_STATES@", states)
            .replace("@TASK_ENDED@", "'COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT'")
            .replace("@TASK_EDGES@", "1");
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .pragma("journal_mode", "WAL");
        let mut conn = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
        let task = countersign_core::ids::TaskId(raw_id());
        let filled = format!(
            "{schema}
             INSERT INTO pins (kind, name, digest, text, accepted_at) VALUES ('project', 'project', '{0}', 'text', 1);
             INSERT INTO nodes (kind, boot, pid, started, seen_at) VALUES ('agent', 'b', 7, 8, 9);
             INSERT INTO tasks (task_id, kind, client, session_id, owner, status, status_since, started_at, last_seen, gate_cap)
                VALUES ('{task}', 'interactive', 'claude-code', 's', 'ana', 'RUNNING', {1}, {1}, {1}, 50);
             PRAGMA user_version = {version};",
            "a".repeat(64),
            4_000_000_000_000i64
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(filled)).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let store = place.store().await;
        assert_eq!(store.pin(PinKind::Project, "project").await.unwrap().unwrap().text, "text");
        assert_eq!(store.agents().await.unwrap()[0].pid, 7);
        let key = key("s", "x");
        let ledger = store.ledger(&key).await.unwrap();
        let view = ledger.task.as_ref().unwrap();
        assert_eq!((view.task_id, view.tainted), (task, None), "version {version}");
        let mut change = change(&key, &ledger, vec![permit(&key)]);
        change.drafts.push(judged("x"));
        store.commit(change).await.unwrap();
        assert!(store.gateways().await.unwrap().is_empty());
    }
}
