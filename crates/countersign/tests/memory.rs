//! `countersign memory` with the real binary at a real terminal, and what of a foreign folder is taken in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken test must fail at once"
)]

#[path = "setup/ground.rs"]
mod ground;

use countersign_core::facts::shell::ShellFacts;
use countersign_testkit::pty::Pty;
use ground::{BINARY, Ground, LIMIT};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// Runs for a person and must succeed.
fn ok(ground: &Ground, args: &[&str]) -> String {
    let (code, said) = ground.person(args);
    assert_eq!(code, Some(0), "{args:?}: {said}");
    said
}

fn fails(ground: &Ground, args: &[&str], code: i32, what: &str) {
    let (ended, said) = ground.person(args);
    assert_eq!(ended, Some(code), "{args:?}: {said}");
    assert!(said.contains(what), "{args:?}: {said}");
}

fn file(ground: &Ground, name: &str, value: &[u8]) -> String {
    let path = ground.home.join(name);
    std::fs::write(&path, value).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What a shell line does for a person, with its output in a file.
fn piped(ground: &Ground, line: &str) -> Vec<u8> {
    let out = ground.home.join("piped");
    let line = format!("{line} > {}", out.display());
    let env = [("HOME", ground.home.to_str().unwrap()), ("PATH", "/usr/bin:/bin"), ("BIN", BINARY)];
    let (code, said) = Pty::spawn(&["/bin/sh", "-c", &line], &env, &ground.root).finish(LIMIT);
    assert_eq!(code, Some(0), "{line}: {said}");
    std::fs::read(out).unwrap()
}

/// MINV-2, MINV-5, MINV-27: written from a file, a pipe or a terminal, byte for byte, and set aside without a loss.
#[test]
fn a_person_keeps_notes() {
    let ground = Ground::new();
    assert!(ok(&ground, &["memory", "list"]).contains("No notes stored."));
    let odd = b"two  blanks\r\n\tand \xff bytes";
    let from = file(&ground, "note.md", odd);
    let said = ok(&ground, &["memory", "set", "work", "plan.v1", "--from-file", &from]);
    assert!(said.contains("Note written: work/plan.v1 (25 bytes)"), "{said}");
    assert_eq!(piped(&ground, "\"$BIN\" memory get work plan.v1"), odd);
    piped(&ground, "printf 'from a pipe' | \"$BIN\" memory set work piped -");
    assert_eq!(piped(&ground, "\"$BIN\" memory get work piped"), b"from a pipe");
    piped(&ground, "\"$BIN\" memory set work empty < /dev/null");
    let mut terminal = ground.terminal(&["memory", "set", "work", "typed"]);
    terminal.wait_for("Ctrl-D", LIMIT);
    terminal.send("typed text\r\u{4}");
    assert_eq!(terminal.finish(LIMIT).0, Some(0));
    assert_eq!(piped(&ground, "\"$BIN\" memory get work typed"), b"typed text\n");
    let listed = ok(&ground, &["memory", "list", "work"]);
    for line in ["empty  0 bytes", "piped  11 bytes", "plan.v1  25 bytes", "typed  11 bytes"] {
        assert!(listed.contains(line), "{listed}");
    }
    // A note that is there is replaced by whoever says so.
    let mut terminal = ground.terminal(&["memory", "set", "work", "piped", "--from-file", &from]);
    terminal.wait_for("Replace the note work/piped?", LIMIT);
    terminal.send("n\r");
    assert_eq!(terminal.finish(LIMIT).0, Some(1));
    assert_eq!(piped(&ground, "\"$BIN\" memory get work piped"), b"from a pipe");
    ok(&ground, &["memory", "set", "work", "piped", "--from-file", &from, "--force"]);
    assert_eq!(piped(&ground, "\"$BIN\" memory get work piped"), odd);
    let large = file(&ground, "large", &vec![b'x'; 1_048_577]);
    fails(&ground, &["memory", "set", "work", "piped", "--force", "--from-file", &large], 1, "1048577 bytes");
    assert_eq!(piped(&ground, "\"$BIN\" memory get work piped"), odd);
    fails(&ground, &["memory", "set", "Work", "x", "--from-file", &from], 1, "exists_with_other_case");
    fails(&ground, &["memory", "set", "work", "a/b", "--from-file", &from], 1, "has the character");
    fails(&ground, &["memory", "set", "..", "x", "--from-file", &from], 1, "begins with a dot");
    fails(&ground, &["memory", "get", "work", "none"], 1, "no note `work/none`");
    assert!(ok(&ground, &["memory", "rm", "work", "--archive"]).contains("Set aside as: work.archived"));
    assert!(!ok(&ground, &["memory", "list"]).contains("work"));
    assert!(ok(&ground, &["memory", "list", "--all"]).contains("work.archived  (set aside)"));
    assert!(ok(&ground, &["memory", "rm", "work", "--restore"]).contains("Brought back: work"));
    ok(&ground, &["memory", "rm", "work", "empty", "--yes"]);
    fails(&ground, &["memory", "rm", "work", "empty", "--yes"], 1, "no note");
    assert!(!ok(&ground, &["memory", "list", "work", "--json"]).contains("empty"));
    ok(&ground, &["memory", "rm", "work", "--yes"]);
    fails(&ground, &["memory", "rm", "work", "--yes"], 1, "no store");
}

/// MINV-19: a note does not drive the terminal it is shown at.
#[test]
fn a_note_does_not_drive_the_terminal() {
    let ground = Ground::new();
    let from = file(&ground, "note.md", "a\u{1b}]0;title\u{7}b\u{202e}c\u{9b}2Jd".as_bytes());
    ok(&ground, &["memory", "set", "s", "k", "--from-file", &from]);
    let said = ok(&ground, &["memory", "get", "s", "k"]);
    assert!(said.contains("a]0;titlebc2Jd"), "{said:?}");
    assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}']), "{said:?}");
}

/// MINV-25: notes are a person's. Without a terminal nothing is read or written, and an agent that runs a verb in its shell
/// is told so by the rules.
#[test]
fn notes_need_a_person() {
    let ground = Ground::new();
    let from = file(&ground, "note.md", b"text");
    ok(&ground, &["memory", "set", "s", "k", "--from-file", &from]);
    for args in [
        &["memory", "get", "s", "k"][..],
        &["memory", "list"],
        &["memory", "set", "s", "x", "--from-file", &from],
        &["memory", "rm", "s", "--yes"],
        &["memory", "import", "."],
    ] {
        let mut command = std::process::Command::new("setsid");
        command.arg("--wait").arg(BINARY).args(args).current_dir(&ground.root).env_clear();
        command.env("HOME", &ground.home).env("PATH", "/usr/bin:/bin").stdin(std::process::Stdio::null());
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(3), "{args:?}: {}", ground::both(&out));
        assert!(out.stdout.is_empty(), "{}", ground::both(&out));
        let line = format!("countersign {}", args.join(" "));
        assert!(ShellFacts::read(&line).runs_gate, "{line}");
    }
    assert_eq!(piped(&ground, "\"$BIN\" memory get s k"), b"text");
}

/// MINV-7, MINV-17: of a foreign folder only plain files with names that can be kept are taken in; a link, a pipe, a second
/// name or a huge file is named and left.
#[test]
fn a_foreign_folder_is_taken_in_carefully() {
    let ground = Ground::new();
    let base = ground.home.join("old");
    let put = |name: &str, value: &[u8]| -> PathBuf {
        let path = base.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, value).unwrap();
        path
    };
    put("work/plan.md", b"ship on monday");
    put("work/a_b.md", b"under the name that it has");
    put("work/odd.md", b"x\xffy");
    put("work/full.md", &vec![b'x'; 1_048_576]);
    put("work/over.md", &vec![b'x'; 1_048_577]);
    put("work/nul.md", b"x");
    put("work/.temp.md", b"x");
    put("work/readme.txt", b"x");
    put("work.archived/old.md", b"x");
    put(".hidden/k.md", b"x");
    put("loose.md", b"x");
    std::fs::create_dir(base.join("work/folder.md")).unwrap();
    let secret = file(&ground, "secret", b"not yours");
    symlink(&secret, base.join("work/link.md")).unwrap();
    symlink(ground.home.join("nowhere"), base.join("work/broken.md")).unwrap();
    std::fs::create_dir(ground.home.join("elsewhere")).unwrap();
    std::fs::write(ground.home.join("elsewhere/k.md"), b"not yours").unwrap();
    symlink(ground.home.join("elsewhere"), base.join("linked")).unwrap();
    std::fs::hard_link(&secret, base.join("work/twin.md")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(base.join("work/pipe.md")).status().unwrap();
    assert!(fifo.success());
    let sparse = std::fs::File::create(base.join("work/huge.md")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let (code, said) = ground.person(&["memory", "import", base.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Notes taken in: 4; not taken in: 14"), "{said}");
    for (name, why) in [
        ("work/over.md", "is larger than"),
        ("work/huge.md", "is larger than"),
        ("work/nul.md", "is reserved"),
        ("work/.temp.md", "begins with a dot"),
        ("work/readme.txt", "no .md"),
        ("work.archived", "set aside"),
        (".hidden", "begins with a dot"),
        ("loose.md", "cannot be read"),
        ("work/folder.md", "no regular file"),
        ("work/link.md", "cannot be read"),
        ("work/broken.md", "cannot be read"),
        ("linked", "cannot be read"),
        ("work/twin.md", "more than one name"),
        ("work/pipe.md", "no regular file"),
    ] {
        let line = said.lines().find(|line| line.contains(&format!("not taken in: {name}:")));
        assert!(line.is_some_and(|line| line.contains(why)), "{name}: {said}");
    }
    assert!(said.contains("work/odd.md: not all of it is UTF-8"), "{said}");
    assert_eq!(piped(&ground, "\"$BIN\" memory get work odd"), b"x\xffy");
    assert_eq!(piped(&ground, "\"$BIN\" memory get work a_b"), b"under the name that it has");
    assert_eq!(piped(&ground, "\"$BIN\" memory list"), b"work\n");
    assert!(!ok(&ground, &["memory", "list", "work"]).contains("link"));
    // Once more: what is there stays.
    std::fs::write(base.join("work/plan.md"), b"changed").unwrap();
    fails(&ground, &["memory", "import", base.to_str().unwrap()], 1, "work/plan.md: there is a note");
    assert_eq!(piped(&ground, "\"$BIN\" memory get work plan"), b"ship on monday");
}
