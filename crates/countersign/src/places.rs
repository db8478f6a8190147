//! Where things lie on this machine: the user's folders and the system's (DECISIONS section 6).
//!
//! One small module for what differs by operating system. Linux follows the XDG folders; macOS keeps everything below
//! `~/Library/Application Support/countersign`. Folders are made with mode 0700, files with 0600, at creation.

use anyhow::{Context as _, bail};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The folders of ours.
#[derive(Clone, Debug)]
pub struct Places {
    /// The user's home.
    pub home: PathBuf,
    /// Holds one folder a project.
    pub state: PathBuf,
    /// Holds `config.toml`.
    pub config: PathBuf,
    /// Holds keys.
    pub keys: PathBuf,
    /// The organization's folder.
    pub system: PathBuf,
}

impl Places {
    /// From the environment: `HOME`, `XDG_STATE_HOME`, `XDG_CONFIG_HOME`, `XDG_DATA_HOME`.
    pub fn from_env() -> anyhow::Result<Places> {
        let home = absolute("HOME").context("HOME is not set to an absolute path")?;
        let mac = cfg!(target_os = "macos").then(|| home.join("Library/Application Support/countersign"));
        let xdg = |name: &str, fallback: &str| {
            absolute(name).unwrap_or_else(|| home.join(fallback)).join("countersign")
        };
        Ok(Places {
            state: mac.clone().map_or_else(|| xdg("XDG_STATE_HOME", ".local/state"), |m| m.join("state")),
            config: mac.clone().unwrap_or_else(|| xdg("XDG_CONFIG_HOME", ".config")),
            keys: mac.unwrap_or_else(|| xdg("XDG_DATA_HOME", ".local/share")).join("keys"),
            system: PathBuf::from("/etc/countersign"),
            home,
        })
    }

    /// The same layout below one folder: for `demo`, which must not touch the user's own.
    pub fn below(folder: &Path) -> Places {
        Places {
            home: folder.to_owned(),
            state: folder.join("state"),
            config: folder.join("config"),
            keys: folder.join("keys"),
            system: folder.join("etc"),
        }
    }

    /// Folders that no agent may touch, as far as they are absolute text.
    pub fn own(&self) -> Vec<String> {
        [&self.state, &self.config, &self.keys, &self.system]
            .into_iter()
            .filter_map(|p| p.to_str().map(str::to_owned))
            .collect()
    }

    /// The folder of the user's own store: the vault and its log.
    pub fn user(&self) -> PathBuf {
        self.state.join("user")
    }

    /// The user's 32-byte key for keyed digests in the log; made on first use, one winner.
    pub fn log_key(&self) -> anyhow::Result<[u8; 32]> {
        key(&self.keys.join("log.key"), true)?.context("the key file is gone again")
    }
}

/// A private file of 32 random bytes; made if `create`, one winner.
pub fn key(path: &Path, create: bool) -> anyhow::Result<Option<[u8; 32]>> {
    if let Some(key) = read_key(path)? {
        return Ok(Some(key));
    }
    if !create {
        return Ok(None);
    }
    let folder = path.parent().context("no parent folder")?;
    let file = path.file_name().context("no file name")?.to_string_lossy().into_owned();
    make_folder(folder)?;
    let mut fresh = [0u8; 32];
    let mut name = [0u8; 8];
    getrandom::fill(&mut fresh)
        .and_then(|()| getrandom::fill(&mut name))
        .map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
    // Written beside and linked into place: a reader sees a whole key or none, and the loser of a race re-reads.
    let beside = folder.join(format!("{file}.{:016x}", u64::from_be_bytes(name)));
    write_new(&beside, &fresh)?;
    let linked = std::fs::hard_link(&beside, path);
    std::fs::remove_file(&beside).ok();
    match linked {
        Ok(()) => Ok(Some(fresh)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => read_key(path),
        Err(e) => Err(e).with_context(|| format!("cannot write {}", path.display())),
    }
}

fn absolute(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute())
}

fn read_key(path: &Path) -> anyhow::Result<Option<[u8; 32]>> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    if !meta.is_file() || meta.mode() & 0o077 != 0 {
        bail!(
            "{} is not a private file; repair it with: chmod 600 {}",
            path.display(),
            countersign_core::facts::shell::quote(&path.to_string_lossy())
        );
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match <[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(key) => Ok(Some(key)),
        Err(_) => bail!("{} does not hold 32 bytes; restore it from a backup", path.display()),
    }
}

/// Makes a folder and its parents; ours get mode 0700.
pub fn make_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Writes a new private file and flushes it; an existing one or a link in its place is an error.
pub fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Replaces a file: a sibling is written, flushed and renamed over it, so that every reader sees the old text or the
/// new one. A link in its place is an error, never followed. The mode of an existing file is kept.
pub fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mode = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_symlink() => {
            bail!("{} is a link; replace it by a file first", path.display())
        }
        Ok(meta) => meta.mode() & 0o777,
        Err(_) => 0o600,
    };
    let folder = path.parent().context("no parent folder")?;
    let name = path.file_name().context("no file name")?.to_string_lossy().into_owned();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        std::fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        std::fs::remove_file(&beside).ok();
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_however_many_ask_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        let keys: Vec<[u8; 32]> = std::thread::scope(|s| {
            let handles: Vec<_> = (0..16).map(|_| s.spawn(|| places.log_key().unwrap())).collect();
            handles.into_iter().map(|h| h.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|k| *k == keys[0]));
        assert_eq!(std::fs::read_dir(&places.keys).unwrap().count(), 1);
        let mode = std::fs::metadata(places.keys.join("log.key")).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn a_readable_key_is_refused_with_the_repair() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        places.log_key().unwrap();
        let path = places.keys.join("log.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(places.log_key().unwrap_err().to_string().contains("chmod 600"));
    }
}
