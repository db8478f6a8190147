//! `countersign vault` with the real binary at a real terminal: what a person does with secrets, and what is left of them
//! on disk, on the screen and in the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken test must fail at once"
)]

#[path = "setup/ground.rs"]
mod ground;

use countersign_core::cleanse::Known;
use ground::{BINARY, Ground, LIMIT};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

const VALUE: &str = "c4n4ry  with inner\tblanks and ümlauts";

fn ground() -> Ground {
    let ground = Ground::new();
    let config = ground.home.join(".config/countersign");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "version = 1\nvault.key = \"file\"\n").unwrap();
    ground
}

fn file(ground: &Ground, name: &str, value: &str) -> String {
    let path = ground.home.join(name);
    std::fs::write(&path, value).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs for a person and must succeed.
fn ok(ground: &Ground, args: &[&str]) -> String {
    let (code, said) = ground.person(args);
    assert_eq!(code, Some(0), "{args:?}: {said}");
    said
}

fn fails(ground: &Ground, args: &[&str], what: &str) {
    let (code, said) = ground.person(args);
    assert_ne!(code, Some(0), "{args:?}: {said}");
    assert!(said.contains(what), "{args:?}: {said}");
}

fn user_store(ground: &Ground) -> PathBuf {
    ground.home.join(".local/state/countersign/user")
}

/// No file of ours holds the value in any form.
fn nothing_holds(ground: &Ground, value: &str, but: &[&str]) {
    let known = Known::new([value.as_bytes()]).unwrap();
    for (path, bytes) in ground.everything() {
        let excused = but.iter().any(|name| path.ends_with(name));
        assert!(excused || known.scrub_bytes(&bytes).is_none(), "{} holds it", path.display());
    }
}

/// VINV-2, VINV-4, VINV-5: a value goes in from a prompt, a file or a pipe and is seen nowhere.
#[test]
fn a_person_stores_binds_and_removes_secrets() {
    let ground = ground();
    assert!(ok(&ground, &["vault", "list"]).contains("No secrets stored."));
    let from = file(&ground, "value", &format!("{VALUE}\n"));
    let said = ok(&ground, &["vault", "set", "token", "--host", "api.example.org", "--from-file", &from]);
    assert!(said.contains("Secret stored: token = [REDACTED]"), "{said}");
    let mut terminal = ground.terminal(&["vault", "set", "typed", "--unbound"]);
    terminal.wait_for("Value of typed: ", LIMIT);
    terminal.send("another-c4n4ry-value\r");
    terminal.wait_for("Once more: ", LIMIT);
    terminal.send("another-c4n4ry-value\r");
    let (code, said) = terminal.finish(LIMIT);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("another-c4n4ry"), "what is typed is not shown: {said}");
    let said = ok(&ground, &["vault", "list"]);
    assert!(
        said.contains("bound to     api.example.org") && said.contains("each use is asked about"),
        "{said}"
    );
    assert!(!said.contains("c4n4ry"));
    ok(
        &ground,
        &[
            "vault",
            "bind",
            "token",
            "api.example.org:8443",
            "*.example.com",
            "--method",
            "get",
            "--path-prefix",
            "/v1",
        ],
    );
    let said = ok(&ground, &["vault", "list", "token", "--json"]);
    for part in ["api.example.org:8443", "*.example.com", "\"GET\"", "\"/v1\"", "\"version\":1"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    fails(
        &ground,
        &["vault", "set", "token", "--host", "x.org", "--from-file", &from],
        "there is a secret `token` already",
    );
    let new = file(&ground, "new", "a-brand-new-c4n4ry");
    ok(&ground, &["vault", "rotate", "token", "--from-file", &new]);
    let said = ok(&ground, &["vault", "list", "token"]);
    assert!(said.contains("version 2") && said.contains("api.example.org:8443"), "{said}");
    fails(&ground, &["vault", "rm", "nobody", "--yes"], "there is no secret `nobody`");
    ok(&ground, &["vault", "rm", "typed", "--yes"]);
    assert!(!ok(&ground, &["vault", "list"]).contains("typed"));
    for value in [VALUE, "another-c4n4ry-value", "a-brand-new-c4n4ry"] {
        nothing_holds(&ground, value, &["value", "new"]);
    }
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(user_store(&ground)), 0o700);
    for entry in std::fs::read_dir(user_store(&ground)).unwrap().flatten() {
        assert_eq!(mode(entry.path()), 0o600, "{}", entry.path().display());
    }
    let keys = ground.home.join(".local/share/countersign/keys");
    assert_eq!((mode(keys.clone()), mode(keys.join("vault.key"))), (0o700, 0o600));
}

/// VINV-1, VINV-5: names and bounds are told, no value is an argument, and nothing happens.
#[test]
fn what_is_no_secret_is_refused() {
    let ground = ground();
    let from = file(&ground, "value", VALUE);
    for (name, what) in [
        ("a/b", "has the character '/'"),
        (".a", "begins with a dot"),
        ("NUL.txt", "is reserved"),
        ("\u{2013}a", "begins with a dash"),
        ("", "is empty"),
    ] {
        fails(&ground, &["vault", "set", name, "--unbound", "--from-file", &from], what);
    }
    let long = "x".repeat(129);
    fails(&ground, &["vault", "set", &long, "--unbound", "--from-file", &from], "longer than 128");
    fails(&ground, &["vault", "set", "a", "the-value-itself", "--unbound"], "unexpected argument");
    fails(&ground, &["vault", "set", "a", "--host", "*.com", "--from-file", &from], "public suffix");
    fails(&ground, &["vault", "set", "a", "--host", "a/b", "--from-file", &from], "is no host");
    fails(
        &ground,
        &["vault", "set", "a", "--unbound", "--placement", "custom:Host", "--from-file", &from],
        "is no placement",
    );
    let short = file(&ground, "short", "1234567");
    fails(&ground, &["vault", "set", "a", "--unbound", "--from-file", &short], "at least 8 bytes");
    let long = file(&ground, "long", &"x".repeat(65_537));
    fails(&ground, &["vault", "set", "a", "--unbound", "--from-file", &long], "at most 65536 bytes");
    let most = file(&ground, "most", &"x".repeat(65_536));
    ok(&ground, &["vault", "set", "most", "--unbound", "--from-file", &most]);
    std::os::unix::fs::symlink(&from, ground.home.join("link")).unwrap();
    let link = ground.home.join("link");
    fails(&ground, &["vault", "set", "a", "--unbound", "--from-file", link.to_str().unwrap()], "cannot read");
    assert!(!ok(&ground, &["vault", "list"]).contains("\na\n"));
}

/// DECISIONS 6: vault verbs are a person's. A program without a terminal is none.
#[test]
fn nobody_but_a_person_reads_or_changes_the_vault() {
    let ground = ground();
    let from = file(&ground, "value", VALUE);
    ok(&ground, &["vault", "set", "token", "--unbound", "--from-file", &from]);
    for args in [
        &["vault", "list"][..],
        &["vault", "set", "b", "--unbound", "--from-file", &from],
        &["vault", "bind", "token", "evil.example"],
        &["vault", "rm", "token", "--yes"],
        &["vault", "rotate", "token", "--from-file", &from],
        &["vault", "rekey"],
        &["vault", "export", "--out", "x.vault"],
    ] {
        // A session of its own has no terminal to show.
        let mut command = std::process::Command::new("setsid");
        command.arg("--wait").arg(BINARY).args(args).current_dir(&ground.root).env_clear();
        command.env("HOME", &ground.home).env("PATH", "/usr/bin:/bin").stdin(std::process::Stdio::null());
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(3), "{args:?}: {}", ground::both(&out));
        assert!(
            String::from_utf8_lossy(&out.stderr).contains("mode_requires_human"),
            "{}",
            ground::both(&out)
        );
    }
    assert!(ok(&ground, &["vault", "list"]).contains("token"));
}

/// VINV-28, vault.md 4.2: a passphrase, and moving to one.
#[test]
fn a_passphrase_opens_the_vault_and_nothing_else_does() {
    let ground = ground();
    let from = file(&ground, "value", VALUE);
    ok(&ground, &["vault", "set", "token", "--host", "a.example", "--from-file", &from]);
    let config = ground.home.join(".config/countersign/config.toml");
    std::fs::write(&config, "version = 1\nvault.key = \"passphrase\"\n").unwrap();
    let mut terminal = ground.terminal(&["vault", "rekey"]);
    terminal.wait_for("Passphrase of the vault: ", LIMIT);
    terminal.send("correct horse\r");
    terminal.wait_for("Once more: ", LIMIT);
    terminal.send("correct horse\r");
    let (code, said) = terminal.finish(LIMIT);
    assert_eq!(code, Some(0), "{said}");
    let list = |pass: &str| {
        let mut terminal = ground.terminal(&["vault", "list"]);
        terminal.wait_for("Passphrase of the vault: ", LIMIT);
        terminal.send(&format!("{pass}\r"));
        terminal.finish(LIMIT)
    };
    let (code, said) = list("correct horse");
    assert!(code == Some(0) && said.contains("a.example"), "{said}");
    let (code, said) = list("wrong horse");
    assert!(code == Some(1) && said.contains("the key is wrong, or the vault was damaged"), "{said}");
    nothing_holds(&ground, VALUE, &["value"]);
    nothing_holds(&ground, "correct horse", &[]);
}

/// VINV-3, P-20: a sealed export comes back whole, and opens with its passphrase alone.
#[test]
fn an_export_comes_back_whole() {
    let ground = ground();
    let from = file(&ground, "value", VALUE);
    ok(&ground, &["vault", "set", "token", "--host", "a.example", "--from-file", &from]);
    let out = ground.home.join("backup.vault");
    let out = out.to_str().unwrap();
    let typed = |args: &[&str], twice: bool, pass: &str| {
        let mut terminal = ground.terminal(args);
        terminal.wait_for("Passphrase", LIMIT);
        terminal.send(&format!("{pass}\r"));
        if twice {
            terminal.wait_for("Once more: ", LIMIT);
            terminal.send(&format!("{pass}\r"));
        }
        terminal.finish(LIMIT)
    };
    assert_eq!(typed(&["vault", "export", "--out", out], true, "pass word").0, Some(0));
    let before = ok(&ground, &["vault", "list", "--json"]);
    nothing_holds(&ground, VALUE, &["value"]);
    std::fs::remove_dir_all(user_store(&ground)).unwrap();
    let (code, said) = typed(&["vault", "import", out], false, "other word");
    assert!(code == Some(1) && said.contains("nothing was taken in"), "{said}");
    let (code, said) = typed(&["vault", "import", out], false, "pass word");
    assert_eq!(code, Some(0), "{said}");
    // The key file is still the one of before, so even the fingerprint can differ only by the vault's own key.
    let after = ok(&ground, &["vault", "list", "--json"]);
    assert!(before.contains("a.example") && after.contains("a.example"), "{after}");
    let (code, _) = typed(&["vault", "import", out], false, "pass word");
    assert_eq!(code, Some(1), "names that are there stay as they are");
}

/// VINV-29: two processes that write different names at once lose neither.
#[test]
fn processes_at_once_lose_nothing() {
    let ground = ground();
    let from = file(&ground, "value", VALUE);
    ok(&ground, &["vault", "set", "first", "--unbound", "--from-file", &from]);
    let names: Vec<String> = (0..6).map(|n| format!("n{n}")).collect();
    let running: Vec<_> = names
        .iter()
        .map(|name| ground.terminal(&["vault", "set", name, "--unbound", "--from-file", &from]))
        .collect();
    for terminal in running {
        let (code, said) = terminal.finish(LIMIT);
        assert_eq!(code, Some(0), "{said}");
    }
    let listed = ok(&ground, &["vault", "list"]);
    for name in names {
        assert!(listed.contains(&name), "{name} in {listed}");
    }
}

/// P-20, vault.md 4.6: a store that was damaged, taken away in part or belongs to another key is a clear refusal, and
/// nothing is destroyed by the try.
#[test]
fn a_damaged_or_foreign_vault_is_refused_and_left_alone() {
    let ground = ground();
    let from = file(&ground, "value", VALUE);
    ok(&ground, &["vault", "set", "token", "--host", "a.example", "--from-file", &from]);
    let key = ground.home.join(".local/share/countersign/keys/vault.key");
    let whole = std::fs::read(&key).unwrap();
    std::fs::write(&key, [7u8; 32]).unwrap();
    fails(&ground, &["vault", "list"], "does not open");
    fails(&ground, &["vault", "set", "b", "--unbound", "--from-file", &from], "does not open");
    std::fs::remove_file(&key).unwrap();
    fails(&ground, &["vault", "list"], "key file is gone");
    assert!(!key.exists(), "no new key is made beside an old vault");
    std::fs::write(&key, &whole).unwrap();
    fails(&ground, &["vault", "list"], "chmod 600");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(ok(&ground, &["vault", "list"]).contains("a.example"));
    // Rows changed in the database itself, by somebody who knows SQL.
    let database = user_store(&ground).join("state.db");
    let change = |sql: &str| {
        let script =
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()";
        let done = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(&database)
            .arg(sql)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", ground::both(&done));
    };
    for (sql, back) in [
        (
            "UPDATE secrets SET binding = replace(binding, 'a.example', 'evil.net')",
            "UPDATE secrets SET binding = replace(binding, 'evil.net', 'a.example')",
        ),
        ("UPDATE secrets SET name = 'other'", "UPDATE secrets SET name = 'token'"),
        ("UPDATE secrets SET set_at = set_at + 1", "UPDATE secrets SET set_at = set_at - 1"),
    ] {
        change(sql);
        fails(&ground, &["vault", "list"], "does not open");
        change(back);
        assert!(ok(&ground, &["vault", "list"]).contains("a.example"), "{back}");
    }
    change("DELETE FROM secrets");
    fails(&ground, &["vault", "list"], "does not open");
    change("DELETE FROM vault_meta");
    assert!(ok(&ground, &["vault", "list"]).contains("No secrets"), "an empty store has no vault");
}

/// vault.md 4.5: neither the system nor another program of the same user gets to see the memory of whoever holds secrets.
#[test]
#[cfg(target_os = "linux")]
fn memory_is_private() {
    let ground = ground();
    let terminal = ground.terminal(&["vault", "set", "typed", "--unbound"]);
    let mut terminal = terminal;
    terminal.wait_for("Value of typed: ", LIMIT);
    let pid = terminal.pid();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().filter(|w| *w == "0").count() == 2, "{core}");
    // Files of a process that may not be dumped belong to root.
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();
    assert_eq!(owner, 0);
    let environ = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&environ).contains("c4n4ry"));
    terminal.send("\u{3}");
    let _ = terminal.finish(LIMIT);
}
