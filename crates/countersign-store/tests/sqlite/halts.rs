//! HALT: what one open says, and that a halt between reading and writing stops the write.

use super::common::*;
use countersign_core::approval::scope::Scope;
use countersign_core::approval::{Status, Strand, Wait};
use countersign_core::ledger::Halt;
use countersign_gate::seams::{CommitError, DecideError, Store};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

fn reason(halt: Halt) -> String {
    match halt {
        Halt::Present { reason } => reason.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// gateway.md 5.1.
#[tokio::test]
async fn what_one_open_says() {
    let place = Place::new();
    let store = place.store().await;
    let file = place.halt_file();
    let folder = file.parent().unwrap().to_owned();
    let absent = || async { assert_eq!(store.halt().await.unwrap(), Halt::Absent) };
    let unknown = |what: &'static str| {
        let store = store.clone();
        async move {
            let halt = store.halt().await.unwrap();
            assert!(matches!(halt, Halt::Unknown { .. }), "{what}: {halt:?}");
            let ledger = store.ledger(&key("s", "x")).await.unwrap();
            assert_eq!(ledger.halt, halt, "{what}");
        }
    };
    absent().await;

    std::fs::write(&file, "  stop\u{202e} now ghp_aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3 \n").unwrap();
    let text = reason(store.halt().await.unwrap());
    assert!(text.starts_with("stop<U+202E> now [REDACTED") && text.ends_with(']'), "{text}");
    std::fs::write(&file, "x".repeat(5_000)).unwrap();
    assert_eq!(reason(store.halt().await.unwrap()).len(), 1_024);
    std::fs::write(&file, "\n \n").unwrap();
    assert_eq!(reason(store.halt().await.unwrap()), "the HALT file is present");
    std::fs::remove_file(&file).unwrap();
    absent().await;

    std::fs::create_dir(&file).unwrap();
    assert_eq!(reason(store.halt().await.unwrap()), "the HALT file is present");
    std::fs::remove_dir(&file).unwrap();

    symlink(place.dir.path().join("nowhere"), &file).unwrap();
    unknown("dangling link").await;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(place.dir.path().join("secret"), "secret").unwrap();
    symlink(place.dir.path().join("secret"), &file).unwrap();
    unknown("link").await;
    std::fs::remove_file(&file).unwrap();

    // A fifo must not hang: the open does not block, and there is nothing to read.
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    assert_eq!(reason(store.halt().await.unwrap()), "the HALT file is present");
    std::fs::remove_file(&file).unwrap();

    if !rustix::process::geteuid().is_root() {
        std::fs::write(&file, "x").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
        unknown("not readable").await;
        std::fs::remove_file(&file).unwrap();
    }

    std::fs::remove_dir(&folder).unwrap();
    unknown("no folder").await;
    std::fs::write(&folder, "a file").unwrap();
    unknown("a file in its place").await;
    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    absent().await;
}

#[tokio::test]
async fn a_halt_between_reading_and_writing_stops_the_write() {
    let place = Place::new();
    let store = place.store().await;
    let key = key("s", "x");
    allow(&store, &key).await.unwrap();
    let ledger = store.ledger(&key).await.unwrap();
    std::fs::write(place.halt_file(), "stop").unwrap();
    let failed = store.commit(change(&key, &ledger, vec![permit(&key)])).await;
    assert_eq!(failed.unwrap_err(), CommitError::Moved);
    std::fs::remove_file(place.halt_file()).unwrap();
    store.commit(change(&key, &ledger, vec![permit(&key)])).await.unwrap();

    // The row alone halts as well.
    store.set_halt(&fixed("stop"), "human:ana").await.unwrap();
    std::fs::remove_file(place.halt_file()).unwrap();
    assert_eq!(reason(store.ledger(&key).await.unwrap().halt), "stop");
    let failed = store.commit(change(&key, &ledger, vec![permit(&key)])).await;
    assert_eq!(failed.unwrap_err(), CommitError::Moved);
}

/// Row 35.
#[tokio::test]
async fn a_halt_strands_waiters_and_keeps_parked_requests() {
    let place = Place::new();
    let store = place.store().await;
    let other = place.store().await;
    let held = ask(&store, &key("s", "held"), Wait::Hold, 300).await;
    let parked = ask(&store, &key("s", "parked"), Wait::Park, 300).await;
    store.set_halt(&fixed("enough"), "human:ana").await.unwrap();
    let text = std::fs::read_to_string(place.halt_file()).unwrap();
    assert!(text.starts_with("enough (halted at 20") && text.ends_with("Z)\n"), "{text}");
    assert!(reason(other.halt().await.unwrap()).starts_with("enough"));
    let status = |id| {
        let store = store.clone();
        async move { store.approval(id).await.unwrap().unwrap().status }
    };
    assert_eq!(status(held).await, Status::Stranded(Strand::Halted));
    assert_eq!(status(parked).await, Status::Pending);
    assert_eq!(store.decide(yes(parked, Scope::ThisCall)).await.unwrap_err(), DecideError::Halted);
    assert_eq!(store.decide(no(parked, "no")).await.unwrap_err(), DecideError::Halted);

    assert!(other.clear_halt(None, &person()).await.unwrap());
    assert!(!place.halt_file().exists());
    assert!(!store.clear_halt(None, &person()).await.unwrap());
    store.decide(yes(parked, Scope::ThisCall)).await.unwrap();
    let names = events(&store).await;
    assert_eq!((count(&names, "halt.set"), count(&names, "halt.cleared")), (1, 1));

    // A file that somebody put there by hand is cleared like any other; a link is replaced, never followed.
    std::fs::write(place.dir.path().join("target"), "keep").unwrap();
    symlink(place.dir.path().join("target"), place.halt_file()).unwrap();
    store.set_halt(&fixed("again"), "human:ana").await.unwrap();
    assert_eq!(std::fs::read_to_string(place.dir.path().join("target")).unwrap(), "keep");
    assert!(reason(store.halt().await.unwrap()).starts_with("again"));
    assert!(store.clear_halt(Some(&fixed("over")), &person()).await.unwrap());
    std::fs::write(place.halt_file(), "by hand").unwrap();
    assert!(store.clear_halt(None, &person()).await.unwrap());
    assert_eq!(store.halt().await.unwrap(), Halt::Absent);
    assert_sound(&store).await;
}

#[tokio::test]
async fn without_a_folder_the_row_still_halts() {
    let place = Place::new();
    let store = place.store().await;
    std::fs::remove_dir(place.halt_file().parent().unwrap()).unwrap();
    assert!(store.set_halt(&fixed("stop"), "human:ana").await.is_err(), "the file could not be written");
    std::fs::create_dir(place.halt_file().parent().unwrap()).unwrap();
    assert_eq!(reason(store.halt().await.unwrap()), "stop");
}

#[tokio::test]
async fn a_waiter_hears_of_a_halt_within_a_second() {
    let place = Place::new();
    let store = place.store().await;
    store.changed(Duration::from_millis(1)).await; // what was noticed before is told once
    let waiter = {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                store.changed(Duration::from_secs(30)).await;
                if store.halt().await.unwrap() != Halt::Absent {
                    return Instant::now();
                }
            }
        })
    };
    tokio::task::yield_now().await;
    let begin = Instant::now();
    std::fs::write(place.halt_file(), "stop").unwrap();
    let heard = waiter.await.unwrap();
    assert!(heard - begin < Duration::from_secs(1), "{:?}", heard - begin);
}
