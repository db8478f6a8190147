//! The HALT file: one look at it, writing it and taking it away.
//!
//! A look is one open; its answer follows the table of gateway.md 5.1. Where it stops: rows that halt, records and
//! stranded waiters are the database's (`sqlite::verbs`).

use countersign_core::cleanse::{Clean, clean_line};
use countersign_core::ledger::Halt;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawMode, open, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::path::Path;

/// Most of the file that is read as its reason.
const MAX_REASON_BYTES: usize = 1_024;

/// One look at the file. `Absent` means that it does not exist in a folder that does.
pub(crate) fn look(file: &Path) -> Halt {
    // O_NOFOLLOW: a dangling link must not read as "not there", and a link must not leak another file's text.
    // O_NONBLOCK: a fifo in its place must not hang every call.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match open(file, flags, Mode::empty()) {
        Ok(fd) => {
            let mut text = [0u8; MAX_REASON_BYTES];
            let read = rustix::io::read(&fd, &mut text).unwrap_or(0);
            let text = String::from_utf8_lossy(text.get(..read).unwrap_or_default()).trim().to_owned();
            let reason = clean_line(&text, MAX_REASON_BYTES);
            let reason = match reason.as_str() {
                "" => Clean::fixed("the HALT file is present"),
                _ => reason,
            };
            Halt::Present { reason }
        }
        // The folder itself must be there: without it nobody could halt, and its absence is no permission.
        Err(Errno::NOENT) => match file.parent().map(|folder| statat(CWD, folder, AtFlags::empty())) {
            Some(Ok(_)) => Halt::Absent,
            Some(Err(e)) => unknown(&format!("the folder of the HALT file cannot be seen ({e})")),
            None => unknown("the HALT file has no folder"),
        },
        Err(e) => unknown(&format!("the HALT file cannot be opened ({e})")),
    }
}

fn unknown(why: &str) -> Halt {
    Halt::Unknown { why: clean_line(why, 200) }
}

/// Writes the file: a temporary one beside it, then a rename over whatever is in its place, so that a link there is
/// replaced and never followed.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), String> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err("the HALT file has no folder".to_owned());
    };
    let fail = |what: &str, e: Errno| format!("HALT: {what}: {e}");
    let dir = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| fail("its folder cannot be opened", e))?;
    let temp = format!(".HALT.{}.tmp", std::process::id());
    // The folder is the agent's to write in: a file of that name may be a link of either kind to something else.
    let _ = unlinkat(&dir, temp.as_str(), AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644 as RawMode);
    let written = openat(&dir, temp.as_str(), flags, mode).and_then(|fd| {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let n = rustix::io::write(&fd, rest)?;
            rest = rest.get(n..).unwrap_or_default();
        }
        rustix::fs::fsync(&fd)
    });
    let done = written.map_err(|e| fail("it cannot be written", e)).and_then(|()| {
        renameat(&dir, temp.as_str(), &dir, name).map_err(|e| fail("it cannot be put in place", e))
    });
    if let Err(what) = done {
        let _ = unlinkat(&dir, temp.as_str(), AtFlags::empty());
        // A folder of that name already halts, and so does anything that cannot be replaced.
        return if matches!(look(file), Halt::Present { .. }) { Ok(()) } else { Err(what) };
    }
    rustix::fs::fsync(&dir).map_err(|e| fail("its folder cannot be synced", e))
}

/// Takes the file away; an empty folder in its place too.
pub(crate) fn remove(file: &Path) -> Result<(), String> {
    match unlinkat(CWD, file, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => unlinkat(CWD, file, AtFlags::REMOVEDIR)
            .map_err(|e| format!("the HALT folder cannot be removed: {e}; remove it by hand")),
        Err(e) => Err(format!("the HALT file cannot be removed: {e}; remove it by hand")),
    }
}
