//! Files of the store: made once under a lock with the right modes, checked on every opening, opened quickly.
//!
//! A marker (`log.json`) is written last at creation. It has two meanings: with it, the database is complete and is
//! opened without any lock; with it but without a database, the log was taken away and nothing starts anew.

use super::fault::is_busy;
use super::{StoreOptions, schema};
use countersign_gate::seams::StoreError;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, open, statat};
use rustix::io::Errno;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DATABASE: &str = "state.db";
const MARKER: &str = "log.json";
const LOCK: &str = "create.lock";
const TURN: &str = "turn.lock";
/// How long one process waits for another one that creates or migrates.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// Pages in the write-ahead log before SQLite copies them back by itself, inside a commit.
const CHECKPOINT_PAGES: &str = "512";
/// Size of the write-ahead log above which a process that leaves copies it back. A process that is alone reads all of
/// it when it opens; and since that reading forgets what was copied before, SQLite's own checkpoints never let the
/// log begin anew when one short-lived process follows another: it would grow for ever.
const LEAVE_BYTES: u64 = 64 * 4_120;
/// The same for a process that opens, in case those before were killed.
const OPEN_BYTES: u64 = 1_024 * 4_120;

/// Device and inode of the database file: a commit into a file that was removed would be lost in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

pub(super) fn database(options: &StoreOptions) -> PathBuf {
    options.state_dir.join(DATABASE)
}

/// Which file the database's name names right now.
pub(super) fn identity(options: &StoreOptions) -> Result<Identity, StoreError> {
    let path = database(options);
    match look(&path)? {
        Some(stat) => Ok(Identity(stat.st_dev, stat.st_ino)),
        None => Err(missing(&path)),
    }
}

fn missing(path: &Path) -> StoreError {
    StoreError::Missing(format!(
        "{} is gone, although a log was begun there; restore it, or remove {MARKER} beside it to begin anew",
        path.display()
    ))
}

/// Opens the database, creating or migrating it first when needed.
pub(super) async fn connect(options: &StoreOptions) -> Result<(SqliteConnection, Identity), StoreError> {
    make_folder(&options.state_dir)?;
    let path = database(options);
    let marker = options.state_dir.join(MARKER);
    // Without the marker the database is not complete, and touching it would disturb whoever is making it.
    if look(&marker)?.is_some() {
        let Some(stat) = look(&path)? else { return Err(missing(&path)) };
        check(&path, &stat, FileType::RegularFile)?;
        match dial(options, &path).await {
            Ok((mut conn, schema::VERSION)) => {
                fold(options, &mut conn, OPEN_BYTES).await;
                return Ok((conn, Identity(stat.st_dev, stat.st_ino)));
            }
            // An empty file in the place of a log is a missing log.
            Ok((_, 0)) => return Err(missing(&path)),
            Ok((_, newer)) if newer > schema::VERSION => {
                return Err(StoreError::Unavailable(format!(
                    "{} was written by a newer version of countersign",
                    path.display()
                )));
            }
            Ok(_) => {}
            Err(e) if is_busy(&e) => {}
            Err(e) => return Err(unusable(options, &path, &e)),
        }
    }
    create(options, &path, &marker).await
}

/// Connects and reads the schema's version, which also shows that the file is a database.
async fn dial(options: &StoreOptions, path: &Path) -> Result<(SqliteConnection, i64), sqlx::Error> {
    let mut conn = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_millis(options.busy_ms))
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .statement_cache_capacity(128)
        .disable_statement_logging()
        .connect()
        .await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut conn).await?;
    Ok((conn, version))
}

/// Copies the write-ahead log back and empties it, if it is large and nobody is in the way. Only an economy: when it
/// does not work, nothing is lost.
async fn fold(options: &StoreOptions, conn: &mut SqliteConnection, above: u64) {
    let wal = options.state_dir.join("state.db-wal");
    if look(&wal).ok().flatten().is_none_or(|stat| u64::try_from(stat.st_size).unwrap_or(0) <= above) {
        return;
    }
    // Without waiting: whoever reads or writes meanwhile must not be held up.
    let text = format!(
        "PRAGMA busy_timeout = 0; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA busy_timeout = {}",
        options.busy_ms
    );
    let _ = sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await;
}

/// What a process does before it leaves without closing.
pub(super) async fn fold_before_leaving(options: &StoreOptions, conn: &mut SqliteConnection) {
    fold(options, conn, LEAVE_BYTES).await;
}

fn unusable(options: &StoreOptions, path: &Path, error: &sqlx::Error) -> StoreError {
    let text = format!("{}: {error}", path.display());
    if no_space(options) { StoreError::Full(text) } else { StoreError::Unavailable(text) }
}

/// Whether the state folder's file system has nothing left. SQLite reports some full disks as plain IO errors.
pub(super) fn no_space(options: &StoreOptions) -> bool {
    rustix::fs::statvfs(&options.state_dir).is_ok_and(|s| s.f_bavail.saturating_mul(s.f_frsize) < 64 * 1024)
}

/// First creation and migration, one process at a time.
async fn create(
    options: &StoreOptions,
    path: &Path,
    marker: &Path,
) -> Result<(SqliteConnection, Identity), StoreError> {
    let _lock = lock(&options.state_dir.join(LOCK)).await?;
    let known = look(marker)?.is_some();
    match look(path)? {
        Some(stat) => check(path, &stat, FileType::RegularFile)?,
        None if known => return Err(missing(path)),
        None => {
            // SQLite would create it with the umask's mode; its companions copy the mode of this file.
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| io_error(options, path, e.into()))?;
            sync_folder(&options.state_dir).map_err(|e| io_error(options, path, e))?;
        }
    }
    let (mut conn, version) = dial(options, path).await.map_err(|e| unusable(options, path, &e))?;
    if version == 0 && known {
        return Err(missing(path));
    }
    if version > schema::VERSION {
        return Err(StoreError::Unavailable(format!(
            "{} was written by a newer version of countersign",
            path.display()
        )));
    }
    if version < schema::VERSION {
        migrate(&mut conn, version).await.map_err(|e| unusable(options, path, &e))?;
    }
    if !known {
        write_marker(&options.state_dir, marker).map_err(|e| io_error(options, marker, e))?;
    }
    Ok((conn, identity(options)?))
}

async fn migrate(conn: &mut SqliteConnection, version: i64) -> Result<(), sqlx::Error> {
    // WAL is a property of the file and must be set outside a transaction.
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut *conn).await?;
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(AssertSqlSafe(schema::upgrade(version))).execute(&mut *tx).await?;
    tx.commit().await
}

/// A private file to lock, made when it is not there; a link in its place is an error.
fn lock_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

/// Waits for the lock without blocking the thread, on which another opener of this process may be running.
async fn lock(path: &Path) -> Result<File, StoreError> {
    let fail = |e: std::io::Error| StoreError::Unavailable(format!("{}: {e}", path.display()));
    let file = lock_file(path).map_err(fail)?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_WAIT => {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Unavailable(format!(
                    "{} is held by another process",
                    path.display()
                )));
            }
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
    }
}

/// Waits for this process's turn to ask for SQLite's write lock; the turn ends when the file is dropped.
///
/// SQLite's own waiting is sleeping and trying again, and a busy writer that comes back at once wins against
/// sleepers: under load some of them waited for seconds. Here only one process at a time tries for the write lock,
/// and a writer that comes back must queue behind it. This is about fairness alone, so a fault of it is no refusal.
pub(super) async fn turn(options: &StoreOptions) -> Result<Option<File>, StoreError> {
    let file = lock_file(&options.state_dir.join(TURN));
    let Ok(file) = file else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => return Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(_)) => return Ok(None),
    }
    // A thread of its own: this wait has no limit and must neither block the runtime nor hold up its end. Given up,
    // the thread drops the file, and with it the turn, as soon as it gets it.
    let (send, got) = tokio::sync::oneshot::channel();
    let waiting = std::thread::Builder::new().name("countersign-turn".to_owned()).spawn(move || {
        if file.lock().is_ok() {
            let _ = send.send(file);
        }
    });
    if waiting.is_err() {
        return Ok(None);
    }
    match tokio::time::timeout(Duration::from_millis(options.busy_ms), got).await {
        Ok(turn) => Ok(turn.ok()),
        Err(_) => Err(StoreError::Unavailable(format!(
            "other processes have been writing for {} ms",
            options.busy_ms
        ))),
    }
}

fn make_folder(dir: &Path) -> Result<(), StoreError> {
    let fail = |e: std::io::Error| StoreError::Unavailable(format!("{}: {e}", dir.display()));
    let stat = match look(dir)? {
        Some(stat) => stat,
        None => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
            look(dir)?.ok_or_else(|| fail(std::io::ErrorKind::NotFound.into()))?
        }
    };
    check(dir, &stat, FileType::Directory)
}

fn look(path: &Path) -> Result<Option<Stat>, StoreError> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(StoreError::Unavailable(format!("{}: {e}", path.display()))),
    }
}

/// Refuses what others may read or have put there. It only looks: opening and closing the database file here would
/// drop the locks SQLite holds on it in this process.
fn check(path: &Path, stat: &Stat, want: FileType) -> Result<(), StoreError> {
    let refuse = |what: String| Err(StoreError::Unavailable(format!("{}: {what}", path.display())));
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Symlink {
        return refuse(format!(
            "is a symbolic link, which is refused; remove it with `rm {}`",
            path.display()
        ));
    }
    if kind != want {
        return refuse("is not of the kind it should be".to_owned());
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return refuse("belongs to another user".to_owned());
    }
    if stat.st_mode & 0o077 != 0 {
        let mode = if want == FileType::Directory { "700" } else { "600" };
        return refuse(format!(
            "others may open it (mode {:o}); repair it with `chmod {mode} {}`",
            stat.st_mode & 0o777,
            path.display()
        ));
    }
    Ok(())
}

fn write_marker(dir: &Path, marker: &Path) -> std::io::Result<()> {
    let temp = dir.join("log.json.tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(&temp)?;
    file.write_all(b"{\"v\":1,\"log\":\"state.db\"}\n")?;
    file.sync_all()?;
    std::fs::rename(&temp, marker)?;
    sync_folder(dir)
}

fn sync_folder(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

fn io_error(options: &StoreOptions, path: &Path, error: std::io::Error) -> StoreError {
    let text = format!("{}: {error}", path.display());
    if no_space(options) { StoreError::Full(text) } else { StoreError::Unavailable(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GINV-26: what is acknowledged was flushed. No kill can show the difference, so the setting is looked at, on a
    /// connection of each way of opening.
    #[tokio::test]
    async fn every_connection_flushes_each_commit() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(dir.path().join("state"), dir.path().join("HALT"));
        for way in ["created", "opened"] {
            let (mut conn, _) = connect(&options).await.unwrap();
            let synchronous: i64 =
                sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut conn).await.unwrap();
            let journal: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut conn).await.unwrap();
            let keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&mut conn).await.unwrap();
            assert_eq!((synchronous, journal.as_str(), keys), (2, "wal", 1), "{way}");
        }
    }
}
