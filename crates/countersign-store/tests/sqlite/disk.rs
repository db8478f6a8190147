//! A disk that is really full: a small memory file system in a namespace of its own.

use super::worker::{Worker, command};
use std::process::Command;

/// P-25, GINV-25: no record, no execution; with space again, the same store goes on.
#[test]
fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=3m tmpfs \"$0\" && exec \"$@\"";
    let probe =
        Command::new("unshare").args(["-Urm", "sh", "-c", mount]).arg(dir.path()).arg("true").output();
    match probe {
        Ok(done) if done.status.success() => {}
        Ok(done) => panic!("this test needs `unshare -Urm`: {}", String::from_utf8_lossy(&done.stderr)),
        Err(e) => panic!("this test needs `unshare`: {e}"),
    }
    let worker = command("full", dir.path());
    let mut inside = Command::new("unshare");
    inside
        .args(["-Urm", "sh", "-c", mount])
        .arg(dir.path())
        .arg(worker.get_program())
        .args(worker.get_args());
    for (name, value) in worker.get_envs() {
        if let Some(value) = value {
            inside.env(name, value);
        }
    }
    inside.stdout(std::process::Stdio::piped()).stdin(std::process::Stdio::null());
    let (said, ok) = Worker::run(inside).rest();
    assert!(ok, "{said:?}");
    assert_eq!(said.first().map(String::as_str), Some("full"), "{said:?}");
    assert_eq!(
        said.iter().filter(|s| s.starts_with("refused") && s.contains("no space left")).count(),
        3,
        "{said:?}"
    );
    assert!(said.last().is_some_and(|s| s.starts_with("sound ")), "{said:?}");
}
