//! `countersign demo`: what a newcomer sees first, with and without a terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken test must fail at once")]

use countersign_testkit::pty::Pty;
use std::process::{Command, Stdio};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn without_a_terminal_it_answers_itself_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let done = Command::new(BINARY)
        .arg("demo")
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    for part in [
        "allowed: no rule objects",
        "refused (hard)",
        "held: a person must say so",
        "the demo answers itself",
        "deployed to production",
        "one chain",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn at_a_terminal_the_answer_is_yours() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_str().unwrap();
    let mut pty = Pty::spawn(&[BINARY, "demo"], &[("HOME", path), ("TMPDIR", path)], home.path());
    pty.wait_for("Your answer: let it run?", LIMIT);
    pty.send("n\n");
    let (code, text) = pty.finish(LIMIT);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("refused (approval_denied)") && !text.contains("deployed to"), "{text}");
}
