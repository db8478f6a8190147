//! The user's rows: the vault is read and written as one, uses and echoes are counted, and damage is told.

use super::common::Place;
use super::worker::Worker;
use countersign_core::event::Draft;
use countersign_core::ledger::SecretView;
use countersign_core::secret::{Secret, SecretRef};
use countersign_core::vault::seal::{Fresh, Header, Kek, KeyFrom, NONCE, Row, Vault};
use countersign_gate::seams::{Keeper, Store, VaultRows};
use countersign_store::SqliteStore;
use std::collections::BTreeSet;

pub(crate) fn kek() -> Kek {
    Kek::of_key(&Secret::new([9; 32]))
}

fn name(text: &str) -> SecretRef {
    SecretRef::parse(text).unwrap()
}

/// Reads, changes and writes the vault, as whoever owns it does; `false` when somebody else was faster.
pub(crate) async fn put(store: &SqliteStore, what: &str, value: &str) -> bool {
    let there = store.vault().await.unwrap();
    let mut vault = match &there.header {
        Some(header) => Vault::open(Header::read(header).unwrap(), &kek(), &there.rows).unwrap(),
        None => {
            let fresh = Fresh { vault_id: [1; 16], dek: Secret::new([2; 32]), nonce: [3; NONCE] };
            Vault::create(fresh, KeyFrom::File, &kek()).unwrap()
        }
    };
    let mut rows = there.rows;
    let last = rows.iter().filter(|r| r.name == what).map(|r| r.version).max().unwrap_or(0);
    for row in rows.iter_mut().filter(|r| r.name == what && r.retired_at.is_none()) {
        row.retired_at = Some(there.now);
    }
    let mut nonce = [0; NONCE];
    nonce[..8].copy_from_slice(&vault.header().generation.to_be_bytes());
    nonce[8..16].copy_from_slice(&u64::from(std::process::id()).to_be_bytes());
    let row = Row {
        name: what.into(),
        version: last + 1,
        rotation_id: format!("r{}", last + 1),
        binding: r#"{"hosts":["a.example"]}"#.into(),
        set_at: there.now,
        retired_at: None,
        nonce,
        sealed: Vec::new(),
    };
    rows.push(vault.seal(row, nonce, &Secret::new(value.as_bytes().to_vec())).unwrap());
    vault.touch(&rows);
    let now = VaultRows { now: there.now, header: Some(vault.header().text()), rows };
    store.set_vault(there.header.as_deref(), now, Draft::note("changed")).await.unwrap()
}

/// The current values by name, or nothing where the vault does not open.
pub(crate) async fn values(store: &SqliteStore) -> Option<Vec<(String, String)>> {
    let there = store.vault().await.ok()?;
    let vault = Vault::open(Header::read(there.header.as_deref()?).ok()?, &kek(), &there.rows).ok()?;
    let mut out = Vec::new();
    for row in there.rows.iter().filter(|r| r.retired_at.is_none()) {
        let value = vault.value(row).ok()?;
        out.push((row.name.clone(), value.with(|v| String::from_utf8_lossy(v).into_owned())));
    }
    Some(out)
}

#[tokio::test]
async fn the_vault_is_written_whole_or_not() {
    let place = Place::new();
    let store = place.store().await;
    assert_eq!(store.secret(&name("a")).await.unwrap(), SecretView::default());
    assert!(put(&store, "a", "first-value").await);
    assert!(put(&store, "b", "other-value").await);
    assert!(put(&store, "a", "second-value").await);
    let want = [("a".to_owned(), "second-value".to_owned()), ("b".to_owned(), "other-value".to_owned())];
    assert_eq!(values(&store).await.unwrap(), want);
    assert_eq!(store.vault().await.unwrap().rows.len(), 3, "the value that was replaced is kept for a day");
    assert!(store.secret(&name("a")).await.unwrap().binding.is_some());
    // Whoever read before somebody else wrote is told so, and writes nothing.
    let stale = store.vault().await.unwrap();
    assert!(put(&store, "c", "third-value").await);
    let written = store.set_vault(stale.header.as_deref(), stale.clone(), Draft::note("late")).await.unwrap();
    assert!(!written);
    assert_eq!(values(&store).await.unwrap().len(), 3);
    // Every change has its record.
    let records = store.records(0, 100).await.unwrap();
    assert_eq!(records.iter().filter(|r| r.body.contains("changed")).count(), 4);
    assert!(!records.iter().any(|r| r.body.contains("late")));
}

#[tokio::test]
async fn uses_and_echoes_are_counted() {
    let place = Place::new();
    let (store, time) = place.timed(super::common::NOON).await;
    let k = name("k");
    for _ in 0..3 {
        assert!(store.secret_used(&k, "agent:a", 3).await.unwrap());
    }
    assert!(!store.secret_used(&k, "agent:a", 3).await.unwrap());
    assert!(store.secret_used(&k, "agent:b", 3).await.unwrap(), "another principal");
    assert!(store.secret_used(&name("other"), "agent:a", 3).await.unwrap(), "another secret");
    time.forward_s(61);
    assert!(store.secret_used(&k, "agent:a", 3).await.unwrap());
    assert!(!store.secret_echoed(&k, 3).await.unwrap());
    assert!(!store.secret_echoed(&k, 3).await.unwrap());
    time.forward_s(601);
    assert!(!store.secret_echoed(&k, 3).await.unwrap(), "the first ones are long ago");
    assert!(!store.secret_echoed(&k, 3).await.unwrap());
    assert!(store.secret_echoed(&k, 3).await.unwrap());
    assert!(!store.secret_echoed(&k, 3).await.unwrap(), "told once");
    assert!(store.secret(&k).await.unwrap().quarantined);
    // Whoever changes the secret has looked at it.
    assert!(put(&store, "k", "a-value-of-k").await && store.secret(&k).await.unwrap().quarantined);
    assert!(put(&store, "k", "a-newer-value").await);
    assert!(!store.secret(&k).await.unwrap().quarantined);
}

/// VINV-29: many processes, none loses what another wrote.
#[test]
fn processes_that_write_at_once_lose_nothing() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { assert!(put(&place.store().await, "first", "first-value").await) });
    let workers: Vec<Worker> = (0..4).map(|_| Worker::start("vault", place.dir.path())).collect();
    let mut said = BTreeSet::new();
    for worker in workers {
        let (lines, ok) = worker.rest();
        assert!(ok, "{lines:?}");
        said.extend(lines);
    }
    assert_eq!(said.len(), 4 * 10, "{said:?}");
    let names: BTreeSet<String> = runtime
        .block_on(async { values(&place.store().await).await.unwrap() })
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name != "first")
        .collect();
    assert_eq!(names, said);
}

/// P-20: killed at any instant of rotating, the vault opens and has the old value or the new one of everything.
#[test]
fn a_killed_rotation_loses_nothing() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = place.store().await;
        assert!(put(&store, "stays", "it-stays-here").await && put(&store, "turns", "value-0000").await);
    });
    for round in 0..12 {
        let mut worker = Worker::start("rotate", place.dir.path());
        // So many rotations are acknowledged before the kill, which then falls somewhere into the next one.
        let mut acknowledged = 0u32;
        for _ in 0..=round % 4 {
            let said = worker.say().unwrap();
            acknowledged = said.parse().unwrap();
        }
        worker.child.kill().unwrap();
        let (more, _) = worker.rest();
        let last = more.last().and_then(|s| s.parse().ok()).unwrap_or(acknowledged);
        let found = runtime.block_on(async { values(&place.store().await).await.unwrap() });
        assert_eq!(found[0], ("stays".to_owned(), "it-stays-here".to_owned()));
        let now: u32 = found[1].1.trim_start_matches("value-").parse().unwrap();
        assert!(now == last || now == last + 1, "{now} after {last} was acknowledged");
    }
}

/// P-20, VINV-3: bits of the database file turned over, one at a time: the vault opens with every value as it was, or it
/// does not open. A file in which nothing was ever deleted has few bytes that mean nothing.
#[tokio::test]
async fn turned_bits_are_told_or_mean_nothing() {
    let place = Place::new();
    let store = place.store().await;
    assert!(put(&store, "a", "first-value").await && put(&store, "b", "other-value").await);
    let want = values(&store).await.unwrap();
    store.close().await;
    let file = place.state().join("state.db");
    let whole = std::fs::read(&file).unwrap();
    // The pages that hold the rows in small steps; of the rest a sample.
    let holds: Vec<bool> = whole
        .chunks(4_096)
        .map(|page| {
            let has = |part: &[u8]| page.windows(part.len()).any(|w| w == part);
            has(b"a.example") || has(b"vault_id")
        })
        .collect();
    let bits: Vec<usize> = (0..whole.len() * 8)
        .filter(|bit| match holds[bit / 8 / 4_096] {
            true => bit % 17 == 0 && whole[bit / 8] != 0,
            false => bit % 40_009 == 0,
        })
        .collect();
    let mut shut = 0;
    let mut options = place.options();
    // Damage may look like a lock that somebody holds; nobody does.
    options.busy_ms = 20;
    for bit in &bits {
        for side in ["state.db-wal", "state.db-shm"] {
            let _ = std::fs::remove_file(place.state().join(side));
        }
        let mut turned = whole.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&file, &turned).unwrap();
        let found = match SqliteStore::open(options.clone()).await {
            Ok(store) => {
                let found = values(&store).await;
                store.close().await;
                found
            }
            Err(_) => None,
        };
        match found {
            Some(found) => assert_eq!(found, want, "bit {bit}"),
            None => shut += 1,
        }
    }
    println!("{} bits, {shut} of them kept the vault shut, the rest changed nothing of it", bits.len());
    assert!(bits.len() > 200 && shut > 100, "{shut} of {}", bits.len());
    std::fs::write(&file, &whole).unwrap();
    let store = place.store().await;
    assert_eq!(values(&store).await.unwrap(), want);
    let cut = [whole.len() / 2, 4_096, 100, 1];
    store.close().await;
    for end in cut {
        std::fs::write(&file, &whole[..end]).unwrap();
        let found = match SqliteStore::open(options.clone()).await {
            Ok(store) => values(&store).await,
            Err(_) => None,
        };
        assert_eq!(found, None, "cut at {end}");
    }
}
