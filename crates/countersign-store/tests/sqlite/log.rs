//! The log: one chain whoever writes, damage that is located, kills that lose nothing acknowledged.

use super::common::*;
use super::worker::Worker;
use countersign_core::digest::Digest;
use countersign_core::event::Draft;
use countersign_core::record::{Checkpoint, FaultKind, Head};
use countersign_core::time::Timestamp;
use countersign_gate::seams::{Store, StoreError};
use std::collections::HashMap;
use std::time::Instant;

/// GINV-24, P-24.
#[tokio::test]
async fn eight_processes_write_one_chain() {
    let place = Place::new();
    let begin = Instant::now();
    let workers: Vec<Worker> = (0..8).map(|_| Worker::start("append 2000", place.dir.path())).collect();
    // Each is read on its own thread, so that no pipe fills up and stalls its writer.
    let readers: Vec<_> = workers.into_iter().map(|w| std::thread::spawn(|| w.rest())).collect();
    let mut acked = HashMap::new();
    for reader in readers {
        let (said, ok) = reader.join().unwrap();
        assert!(ok);
        for (seq, hash) in said.iter().filter_map(|line| line.split_once(' ')) {
            let again = acked.insert(seq.parse::<u64>().unwrap(), hash.to_owned());
            assert!(again.is_none(), "record {seq} was acknowledged twice");
        }
    }
    let took = begin.elapsed();
    assert_eq!(acked.len(), 16_000, "every record was acknowledged by itself");
    let store = place.store().await;
    assert_eq!(assert_sound(&store).await, 16_000);
    for row in all_records(&store).await {
        assert_eq!(acked.get(&row.seq), Some(&row.hash));
    }
    println!("16 000 records by 8 processes: {took:?}");
    assert!(took.as_secs() < 60, "{took:?}");
}

/// P-23: killed in mid-stream, again and again on the same log.
#[tokio::test]
async fn a_killed_writer_loses_nothing_acknowledged() {
    let place = Place::new();
    let mut acked: HashMap<u64, String> = HashMap::new();
    for round in 0..24u64 {
        let mut worker = Worker::start("append 0", place.dir.path());
        assert_eq!(worker.say().as_deref(), Some("ready"));
        // Points spread over begin, middle and many batches; the spin moves the kill inside a commit.
        let lines = (round * 37) % 211;
        for _ in 0..lines {
            let line = worker.say().unwrap();
            let (seq, hash) = line.split_once(' ').unwrap();
            acked.insert(seq.parse().unwrap(), hash.to_owned());
        }
        let until = Instant::now() + std::time::Duration::from_micros((round * 997) % 2_500);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        worker.child.kill().unwrap();
        let (said, ok) = worker.rest();
        assert!(!ok);
        for (seq, hash) in said.iter().filter_map(|line| line.split_once(' ')) {
            // The last line may be cut by the kill: a hash that is not whole was not told.
            if hash.len() == 64 {
                acked.insert(seq.parse().unwrap(), hash.to_owned());
            }
        }
        let store = place.store().await;
        assert_sound(&store).await;
        let rows: HashMap<u64, String> =
            all_records(&store).await.into_iter().map(|r| (r.seq, r.hash)).collect();
        for (seq, hash) in &acked {
            assert_eq!(rows.get(seq), Some(hash), "round {round}");
        }
    }
    assert!(acked.len() > 1_000);
}

async fn filled(n: usize) -> (Place, countersign_store::SqliteStore) {
    let place = Place::new();
    let store = place.store().await;
    for i in 0..n {
        store.note(Draft::note(&format!("record {i}"))).await.unwrap();
    }
    (place, store)
}

async fn disarm(place: &Place) -> sqlx::SqliteConnection {
    let mut raw = place.raw().await;
    for trigger in ["log_no_update", "log_no_delete", "log_head_no_delete", "log_head_forward"] {
        let sql = sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"));
        sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
    }
    raw
}

async fn run(raw: &mut sqlx::SqliteConnection, sql: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(raw).await.unwrap();
}

/// P-22: each changed, removed or swapped row is found, and at which record.
#[tokio::test]
async fn damage_is_located() {
    const N: u64 = 12;
    let (place, store) = filled(N as usize).await;
    let mut raw = disarm(&place).await;
    run(&mut raw, "CREATE TABLE kept AS SELECT * FROM log".into()).await;
    let restore = "DELETE FROM log; INSERT INTO log SELECT * FROM kept";
    let first = |found: countersign_core::record::Verified| found.faults.first().map(|f| f.seq);
    for seq in 1..=N {
        run(&mut raw, format!("UPDATE log SET body = replace(body, 'record', 'Record') WHERE seq = {seq}"))
            .await;
        assert_eq!(first(walk(&store, vec![]).await), Some(seq), "body of {seq}");
        run(&mut raw, restore.into()).await;

        run(&mut raw, format!("UPDATE log SET hash = '{}' WHERE seq = {seq}", "ab".repeat(32))).await;
        assert_eq!(first(walk(&store, vec![]).await), Some(seq), "hash of {seq}");
        run(&mut raw, restore.into()).await;

        run(&mut raw, format!("DELETE FROM log WHERE seq = {seq}")).await;
        let want = if seq == N { N - 1 } else { seq };
        assert_eq!(first(walk(&store, vec![]).await), Some(want), "removal of {seq}");
        run(&mut raw, restore.into()).await;

        for other in seq + 1..=N {
            run(
                &mut raw,
                format!(
                    "UPDATE log SET seq = -1 WHERE 0; DELETE FROM log WHERE seq IN ({seq}, {other});
                     INSERT INTO log SELECT {other}, body, hash FROM kept WHERE seq = {seq};
                     INSERT INTO log SELECT {seq}, body, hash FROM kept WHERE seq = {other}"
                ),
            )
            .await;
            assert_eq!(first(walk(&store, vec![]).await), Some(seq), "swap of {seq} and {other}");
            run(&mut raw, restore.into()).await;
        }
    }
    assert_sound(&store).await;
}

/// P-22: a shortened log is found by its head; rewritten together with the head, by a held checkpoint alone.
#[tokio::test]
async fn truncation_is_found_by_head_or_checkpoint() {
    let (place, store) = filled(10).await;
    let (seq, hash) = store.head().await.unwrap();
    let held = Checkpoint { seq, hash: Digest::parse(&hash).unwrap() };
    let mut raw = disarm(&place).await;
    run(&mut raw, "DELETE FROM log WHERE seq > 7".into()).await;
    let found = walk(&store, vec![]).await;
    assert_eq!(found.faults[0].what, FaultKind::Truncated { head_seq: 10 });
    assert!(matches!(store.note(Draft::note("x")).await, Err(StoreError::Damaged { .. })));

    run(
        &mut raw,
        "UPDATE log_head SET seq = 7, hash = (SELECT hash FROM log WHERE seq = 7),
            at = (SELECT at FROM log_head)"
            .into(),
    )
    .await;
    assert!(walk(&store, vec![]).await.faults.is_empty(), "without a checkpoint this is not detectable");
    let found = walk(&store, vec![held]).await;
    assert_eq!(found.faults[0].what, FaultKind::CheckpointBeyond { last: 7 });

    // Everything rewritten from the third record on, head included.
    let rows = all_records(&store).await;
    let third = countersign_core::record::Sealed::read(3, &rows[2].body, &rows[2].hash).unwrap();
    let mut head: Head = third.head();
    run(&mut raw, "DELETE FROM log WHERE seq > 3".into()).await;
    for i in 4..=10 {
        let sealed = head.seal(&Draft::note(&format!("forged {i}")), Timestamp(NOON)).unwrap();
        head = sealed.head();
        sqlx::query("INSERT INTO log VALUES (?1, ?2, ?3)")
            .bind(i)
            .bind(sealed.body())
            .bind(sealed.hash().to_string())
            .execute(&mut raw)
            .await
            .unwrap();
    }
    run(&mut raw, format!("UPDATE log_head SET seq = 10, hash = '{}', at = {}", head.hash, head.at.0)).await;
    assert!(walk(&store, vec![]).await.faults.is_empty(), "without a checkpoint this is not detectable");
    let found = walk(&store, vec![held]).await;
    assert!(matches!(found.faults[0].what, FaultKind::Checkpoint { .. }), "{:?}", found.faults);
}

/// A head that does not verify is never built upon, whatever is wrong with it, and calls are refused by name.
#[tokio::test]
async fn nothing_is_linked_to_a_damaged_head() {
    for harm in [
        "UPDATE log SET body = replace(body, 'record', 'Record') WHERE seq = 5",
        "UPDATE log SET hash = (SELECT hash FROM log WHERE seq = 4) WHERE seq = 5",
        "DELETE FROM log WHERE seq = 5",
        "DELETE FROM log",
        "INSERT INTO log SELECT 6, body, hash FROM log WHERE seq = 5",
        "UPDATE log_head SET seq = 4",
        "UPDATE log_head SET hash = (SELECT hash FROM log WHERE seq = 4)",
        "UPDATE log_head SET at = at + 1",
        "DELETE FROM log_head",
    ] {
        let (place, store) = filled(5).await;
        let mut raw = disarm(&place).await;
        run(&mut raw, harm.into()).await;
        let before: i64 = sqlx::query_scalar("SELECT count(*) FROM log").fetch_one(&mut raw).await.unwrap();
        let refused = store.note(Draft::note("x")).await.unwrap_err();
        assert!(matches!(refused, StoreError::Damaged { .. }), "{harm}: {refused:?}");
        assert_eq!(refused.code().as_str(), "log_damaged");
        let after: i64 = sqlx::query_scalar("SELECT count(*) FROM log").fetch_one(&mut raw).await.unwrap();
        assert_eq!(before, after);
    }
}
