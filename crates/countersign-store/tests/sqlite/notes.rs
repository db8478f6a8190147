//! Notes as rows: names, sizes, what is set aside, and how much agents read.

use super::common::{AGENT, NOON, Place, assert_sound, options};
use super::worker::{Worker, tell};
use countersign_core::notes::{
    BEYOND_BYTES, MAX_VALUE_BYTES, PREVIEW_BYTES, WHOLE_BYTES, entries, fold, stores,
};
use countersign_gate::seams::{NoteChange, NoteError, Notes, Recall, Recalled};
use countersign_store::SqliteStore;
use std::path::Path;

async fn set(store: &SqliteStore, name: &str, key: &str, value: &[u8]) -> Result<String, NoteError> {
    let (name, key, value) = (name.to_owned(), key.to_owned(), value.to_vec());
    store.change_notes(NoteChange::Set { store: name, key, value, replace: true }).await
}

async fn read(store: &SqliteStore, principal: &str, key: &str, max_bytes: usize) -> Recalled {
    let what = Recall { principal: principal.into(), store: "s".into(), key: key.into(), max_bytes };
    store.recall(&what).await.unwrap()
}

fn shows(recalled: &Recalled) -> usize {
    match recalled {
        Recalled::Read { bytes, .. } => bytes.len(),
        Recalled::Missing | Recalled::Exceeded => 0,
    }
}

/// MINV-1, MINV-2, MINV-3, MINV-4: what is no name is refused wherever it comes in, names are kept as they are, and two
/// that differ by case alone are never both there.
#[tokio::test]
async fn names_are_themselves_or_refused() {
    let place = Place::new();
    let store = place.store().await;
    for key in
        ["", "a/b", "..", "../x", "a b", "a\nb", "é", ".a", "NUL", "nul.txt", "Com1.bak", &"x".repeat(129)]
    {
        let refused = set(&store, "s", key, b"x").await;
        assert!(matches!(refused, Err(NoteError::Name(..))), "{key:?}: {refused:?}");
        assert_eq!(read(&store, AGENT, key, 10).await, Recalled::Missing);
        assert_eq!(store.note_value("s", key).await.unwrap(), None);
        let gone = store.change_notes(NoteChange::Remove { store: "s".into(), key: key.into() }).await;
        assert!(matches!(gone, Err(NoteError::Missing(_))), "{gone:?}");
    }
    for name in ["..", "/abs", "C:x", ".dot", "a/b", &"x".repeat(256), "x\u{202e}", "a.archived"] {
        let refused = set(&store, name, "k", b"x").await;
        assert!(matches!(refused, Err(NoteError::Name(..))), "{name:?}: {refused:?}");
    }
    assert!(store.note_stores(false, "", 10).await.unwrap().is_empty(), "nothing was made on the way");
    for key in ["a.b", "a-b", "a_b", "-", "_", &"k".repeat(128)] {
        set(&store, "s", key, key.as_bytes()).await.unwrap();
    }
    for key in ["a.b", "a-b", "a_b", "-", "_", &"k".repeat(128)] {
        assert_eq!(store.note_value("s", key).await.unwrap().unwrap(), key.as_bytes());
    }
    // No mapping: neither of them is the other one.
    assert_eq!(store.note_value("s", "a/b").await.unwrap(), None);
    assert_eq!(set(&store, "s", "A_B", b"x").await, Err(NoteError::OtherCase("s/a_b".into())));
    assert_eq!(set(&store, "S", "x", b"x").await, Err(NoteError::OtherCase("s".into())));
    assert_eq!(read(&store, AGENT, "A_B", 10).await, Recalled::Missing);
    assert_sound(&store).await;
}

/// MINV-3: a generator of names: whatever is accepted is found under its own name alone.
#[tokio::test]
async fn accepted_names_never_share_a_place() {
    let place = Place::new();
    let store = place.store().await;
    let letters = ["a", "A", "_", ".", "-", "/", "\\", "é", "0", " "];
    let mut accepted: Vec<String> = Vec::new();
    for n in 0..1_000usize {
        let name: String = [n % 10, n / 10 % 10, n / 100].map(|i| letters[i]).concat();
        if set(&store, "s", &name, name.as_bytes()).await.is_ok() {
            accepted.push(name);
        }
    }
    let mut folded: Vec<String> = accepted.iter().map(|name| fold(name)).collect();
    folded.sort();
    folded.dedup();
    assert_eq!(folded.len(), accepted.len());
    for name in &accepted {
        assert_eq!(store.note_value("s", name).await.unwrap().unwrap(), name.as_bytes());
    }
}

/// MINV-5: the largest note is kept, one byte more is refused and leaves the old one.
#[tokio::test]
async fn values_are_bounded() {
    let place = Place::new();
    let store = place.store().await;
    let full = vec![b'x'; MAX_VALUE_BYTES];
    set(&store, "s", "k", &full).await.unwrap();
    let more = set(&store, "s", "k", &vec![b'y'; MAX_VALUE_BYTES + 1]).await;
    assert_eq!(more, Err(NoteError::TooLarge(MAX_VALUE_BYTES + 1)));
    assert_eq!(store.note_value("s", "k").await.unwrap().unwrap(), full);
    let keep = NoteChange::Set { store: "s".into(), key: "k".into(), value: b"z".to_vec(), replace: false };
    assert!(matches!(store.change_notes(keep).await, Err(NoteError::Exists(_))));
    // MINV-17: of a large note a little more than is shown is read.
    let got = read(&store, AGENT, "k", PREVIEW_BYTES).await;
    assert!(
        matches!(&got, Recalled::Read { bytes, longer: true } if bytes.len() == PREVIEW_BYTES + BEYOND_BYTES)
    );
    set(&store, "s", "empty", b"").await.unwrap();
    assert_eq!(read(&store, AGENT, "empty", 5).await, Recalled::Read { bytes: Vec::new(), longer: false });
}

/// Writes two values in turn until it is killed.
pub(super) async fn rewrites(dir: &Path) {
    let store = SqliteStore::open(options(dir)).await.unwrap();
    loop {
        for byte in [b'a', b'b'] {
            set(&store, "s", "k", &vec![byte; 300_000]).await.unwrap();
            tell(byte);
        }
    }
}

/// MINV-6: whoever is killed while it writes leaves the old value or the new one, whole, and nothing else in the list.
#[tokio::test]
async fn a_killed_writer_leaves_one_whole_value() {
    let place = Place::new();
    let store = place.store().await;
    set(&store, "s", "k", &vec![b'a'; 300_000]).await.unwrap();
    for round in 1..6 {
        let mut worker = Worker::start("rewrite", place.dir.path());
        for _ in 0..round {
            worker.say().unwrap();
        }
        worker.child.kill().unwrap();
        worker.child.wait().unwrap();
        let value = store.note_value("s", "k").await.unwrap().unwrap();
        assert_eq!(value.len(), 300_000);
        assert!(value.iter().all(|b| *b == value[0]));
        let keys = store.note_keys("s", false, "", 10).await.unwrap().unwrap();
        assert_eq!(keys, [("k".to_owned(), 300_000)]);
    }
    assert_sound(&store).await;
}

/// MINV-8, MINV-9: many stores and notes are listed in order, within their bytes.
#[tokio::test]
async fn lists_of_many() {
    let place = Place::new();
    let store = place.store().await;
    assert!(store.note_stores(false, "", 10).await.unwrap().is_empty());
    assert_eq!(store.note_keys("s", false, "", 10).await.unwrap(), None);
    let mut writing = Vec::new();
    for s in 0..200 {
        for k in 0..50 {
            let store = store.clone();
            writing.push(async move {
                let key = format!(
                    "a-note-with-a-rather-long-name-so-that-fifty-do-not-fit-{k:02}-{}",
                    "x".repeat(60)
                );
                set(&store, &format!("the store of {s:03}"), &key, b"v").await.unwrap();
            });
        }
    }
    let running: Vec<_> = writing.into_iter().map(|w| tokio::spawn(w)).collect();
    for one in running {
        one.await.unwrap();
    }
    let names = store.note_stores(false, "", 1_025).await.unwrap();
    assert_eq!(names.len(), 200);
    assert!(names.is_sorted());
    let list = stores(&names).canonical();
    assert!(list.len() <= 4_096, "{}", list.len());
    assert!(!list.contains("\"truncated\":true"), "200 short names fit: {list}");
    let keys = store.note_keys("the store of 007", false, "", 1_025).await.unwrap().unwrap();
    assert_eq!(keys.len(), 50);
    let keys: Vec<String> = keys.into_iter().map(|(key, _)| key).collect();
    let list = entries("the store of 007", &keys).canonical();
    assert!(list.len() <= 8_192, "{}", list.len());
    for n in 200..400 {
        set(&store, &format!("the store of {n:03}"), "k", b"v").await.unwrap();
    }
    let list = stores(&store.note_stores(false, "", 1_025).await.unwrap()).canonical();
    assert!(list.len() <= 4_096 && list.contains("\"truncated\":true"), "{}", list.len());
    assert_sound(&store).await;
}

/// MINV-10: of a huge store as many names are read as a list can have, the smallest ones, by an index.
#[tokio::test]
async fn a_huge_store_is_listed_by_its_beginning() {
    let place = Place::new();
    let store = place.store().await;
    set(&store, "s", "zz", b"v").await.unwrap();
    let mut raw = place.raw().await;
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999)
         INSERT INTO memory (store, folded, key, set_at, value)
         SELECT (SELECT id FROM memory_stores), printf('k%06d', 99999 - i), printf('k%06d', 99999 - i), 0, x'61' FROM n",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let keys = store.note_keys("s", false, "", 1_025).await.unwrap().unwrap();
    assert_eq!((keys.len(), keys[0].0.as_str(), keys[1_024].0.as_str()), (1_025, "k000000", "k001024"));
    let next = store.note_keys("s", false, "k099998", 5).await.unwrap().unwrap();
    assert_eq!(next.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["k099999", "zz"]);
    let plan: Vec<String> = sqlx::query_as::<_, (i64, i64, i64, String)>(
        "EXPLAIN QUERY PLAN SELECT key FROM memory WHERE store = 1 AND key > '' ORDER BY key LIMIT 1025",
    )
    .fetch_all(&mut raw)
    .await
    .unwrap()
    .into_iter()
    .map(|row| row.3)
    .collect();
    assert!(plan.iter().all(|step| !step.contains("B-TREE")) && plan[0].contains("memory_names"), "{plan:?}");
}

/// MINV-27: what is set aside is not there for agents, and setting aside twice loses nothing.
#[tokio::test]
async fn stores_are_set_aside_and_brought_back() {
    let place = Place::new();
    let store = place.store().await;
    for text in ["one", "two", "three"] {
        set(&store, "s", "k", text.as_bytes()).await.unwrap();
        let name = store.change_notes(NoteChange::Archive("s".into())).await.unwrap();
        assert!(name.starts_with("s.archived"), "{name}");
        assert_eq!(read(&store, AGENT, "k", 10).await, Recalled::Missing);
        let by_name = Recall { principal: AGENT.into(), store: name.clone(), key: "k".into(), max_bytes: 10 };
        assert_eq!(store.recall(&by_name).await.unwrap(), Recalled::Missing);
        assert_eq!(store.note_keys(&name, false, "", 10).await.unwrap(), None);
    }
    assert!(store.note_stores(false, "", 10).await.unwrap().is_empty());
    let aside = store.note_stores(true, "", 10).await.unwrap();
    assert_eq!(aside, ["s.archived", "s.archived.2", "s.archived.3"]);
    for (name, text) in aside.iter().zip(["one", "two", "three"]) {
        assert_eq!(store.note_value(name, "k").await.unwrap().unwrap(), text.as_bytes());
    }
    assert_eq!(store.change_notes(NoteChange::Restore("s".into())).await.unwrap(), "s");
    assert_eq!(store.note_value("s", "k").await.unwrap().unwrap(), b"three");
    let there = store.change_notes(NoteChange::Restore("s.archived".into())).await;
    assert!(matches!(there, Err(NoteError::Exists(_))), "{there:?}");
    assert_eq!(store.note_value("s", "k").await.unwrap().unwrap(), b"three", "nothing was merged");
    store.change_notes(NoteChange::RemoveStore("s".into())).await.unwrap();
    let gone = store.change_notes(NoteChange::RemoveStore("s".into())).await;
    assert!(matches!(gone, Err(NoteError::Missing(_))));
    store.change_notes(NoteChange::Restore("s.archived".into())).await.unwrap();
    assert_eq!(store.note_value("s", "k").await.unwrap().unwrap(), b"one");
    let aside = store.change_notes(NoteChange::Archive("s.archived.2".into())).await;
    assert!(matches!(aside, Err(NoteError::Missing(_))), "{aside:?}");
    assert_sound(&store).await;
}

/// MINV-18: exactly the bytes of a turn, counted as what is shown at most; then nothing, and nothing counted; the next turn
/// begins afresh, and many turns together have a bound of their own.
#[tokio::test]
async fn a_turn_has_its_bytes() {
    let place = Place::new();
    let (store, hand) = place.timed(NOON).await;
    set(&store, "s", "big", &vec![b'x'; 200_000]).await.unwrap();
    set(&store, "s", "small", b"0123456789").await.unwrap();
    assert_eq!(read(&store, AGENT, "none", WHOLE_BYTES).await, Recalled::Missing);
    for _ in 0..2 {
        assert_eq!(shows(&read(&store, AGENT, "big", WHOLE_BYTES).await), WHOLE_BYTES + BEYOND_BYTES);
    }
    // 102 400 to the byte are used.
    assert_eq!(read(&store, AGENT, "small", PREVIEW_BYTES).await, Recalled::Exceeded);
    assert_eq!(shows(&read(&store, "agent:other:1", "small", PREVIEW_BYTES).await), 10);
    hand.forward_s(60);
    assert_eq!(read(&store, AGENT, "small", PREVIEW_BYTES).await, Recalled::Exceeded, "the turn goes on");
    hand.forward_s(61);
    assert_eq!(shows(&read(&store, AGENT, "small", PREVIEW_BYTES).await), 10, "the next turn");
    assert_eq!(shows(&read(&store, AGENT, "big", WHOLE_BYTES).await), WHOLE_BYTES + BEYOND_BYTES);
    // What did not fit was not counted: what fits still does.
    assert_eq!(read(&store, AGENT, "big", WHOLE_BYTES).await, Recalled::Exceeded);
    assert_eq!(shows(&read(&store, AGENT, "big", WHOLE_BYTES - 10).await), WHOLE_BYTES - 10 + BEYOND_BYTES);
    hand.forward_s(61);
    for _ in 0..2 {
        assert_ne!(shows(&read(&store, AGENT, "big", WHOLE_BYTES).await), 0);
    }
    hand.forward_s(61);
    // Three turns in ten minutes, and the fourth has nothing.
    assert_eq!(read(&store, AGENT, "small", PREVIEW_BYTES).await, Recalled::Exceeded);
    hand.forward_s(601);
    assert_eq!(shows(&read(&store, AGENT, "small", PREVIEW_BYTES).await), 10);
}

/// MINV-18: a turn ends after ten minutes even when something is read all the time; of many turns the newest stay.
#[tokio::test]
async fn turns_end_and_the_oldest_are_forgotten() {
    let place = Place::new();
    let (store, hand) = place.timed(NOON).await;
    set(&store, "s", "k", &vec![b'x'; 20_000]).await.unwrap();
    for _ in 0..5 {
        assert_ne!(shows(&read(&store, AGENT, "k", 20_000).await), 0);
    }
    for _ in 0..11 {
        hand.forward_s(50);
        assert_eq!(read(&store, AGENT, "k", 20_000).await, Recalled::Exceeded);
    }
    hand.forward_s(50);
    assert_ne!(shows(&read(&store, AGENT, "k", 20_000).await), 0);
    for _ in 0..80 {
        hand.forward_s(700);
        assert_ne!(shows(&read(&store, AGENT, "k", 20_000).await), 0);
    }
    let mut raw = place.raw().await;
    let (kept, current): (i64, i64) =
        sqlx::query_as("SELECT count(*), max(last_at) FROM memory_turns").fetch_one(&mut raw).await.unwrap();
    assert_eq!((kept, current), (64, NOON + (12 * 50 + 80 * 700) * 1_000));
    // A clock that is set back gives no fresh turn at once, and holds nobody for longer than a turn.
    for _ in 0..4 {
        read(&store, AGENT, "k", 20_000).await;
    }
    hand.forward_s(-86_400);
    assert_eq!(read(&store, AGENT, "k", 20_000).await, Recalled::Exceeded);
    hand.forward_s(601);
    assert_ne!(shows(&read(&store, AGENT, "k", 20_000).await), 0);
}

/// Reads as much as it gets, eight at once, and tells how many bytes were counted.
pub(super) async fn recalls(dir: &Path) {
    let store = SqliteStore::open(options(dir)).await.unwrap();
    let mut reading = Vec::new();
    for _ in 0..40 {
        let store = store.clone();
        reading.push(tokio::spawn(async move { shows(&read(&store, AGENT, "k", 4_000).await).min(4_000) }));
    }
    let mut sum = 0;
    for one in reading {
        sum += one.await.unwrap();
    }
    tell(sum);
}

/// MINV-18: two processes that read at once get together what one would, to the last note that fits.
#[tokio::test]
async fn reads_at_once_do_not_go_over_it_together() {
    let place = Place::new();
    let store = place.store().await;
    set(&store, "s", "k", &vec![b'x'; 9_000]).await.unwrap();
    let workers: Vec<Worker> = (0..2).map(|_| Worker::start("recall", place.dir.path())).collect();
    let said: Vec<usize> =
        workers.into_iter().flat_map(|w| w.rest().0).map(|sum| sum.parse().unwrap()).collect();
    assert_eq!(said.len(), 2);
    assert_eq!(said.iter().sum::<usize>(), 25 * 4_000, "{said:?}");
    assert_sound(&store).await;
}
