//! What `init` did to a project, so that `uninstall` can undo exactly that.
//!
//! It lies in the user's state folder, with copies of what was there before; nothing of it is in the project. A file
//! counts as ours to undo while it holds the bytes that we wrote.

use crate::places::{make_folder, replace, write_new};
use anyhow::{Context as _, bail};
use countersign_core::digest::Digest;
use countersign_core::json::{Bounds, Json};
use std::path::{Component, Path, PathBuf};

const NAME: &str = "install-manifest.json";
const BACKUPS: &str = "before-init";

/// One file that we made or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the project's root.
    pub path: String,
    /// Digest of what we wrote.
    pub digest: Digest,
    /// Name of the copy of what was there before, in the folder of copies; `None` when there was no file.
    pub before: Option<String>,
}

/// Everything of one project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The root it is about: worktrees share a state folder, and each has files of its own.
    pub root: String,
    /// Files.
    pub files: Vec<Entry>,
    /// Folders that we made, outermost first.
    pub folders: Vec<String>,
}

/// Digest of a file's bytes, as in the manifest.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::of_bytes("countersign-installed-file-v1", bytes)
}

/// Reads the manifests of a state folder. None there is an empty list; one that cannot be read is an error, because
/// undoing by guess could destroy what is not ours.
pub fn read_all(state: &Path) -> anyhow::Result<Vec<Manifest>> {
    let path = state.join(NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    parse(&bytes).with_context(|| {
        format!(
            "{} cannot be read; move it away and run `countersign init` again to rebuild it",
            path.display()
        )
    })
}

/// The manifest of one root.
pub fn read(state: &Path, root: &str) -> anyhow::Result<Manifest> {
    let found = read_all(state)?.into_iter().find(|m| m.root == root);
    Ok(found.unwrap_or_else(|| Manifest { root: root.to_owned(), ..Manifest::default() }))
}

/// Writes the manifest of one root beside those of others; an empty one is taken away.
pub fn write(state: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let mut all = read_all(state)?;
    all.retain(|m| m.root != manifest.root);
    if !manifest.files.is_empty() || !manifest.folders.is_empty() {
        all.push(manifest.clone());
    }
    let path = state.join(NAME);
    if all.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        };
    }
    make_folder(state)?;
    let json = Json::object([
        ("version", Json::int(1)),
        ("projects", Json::Array(all.iter().map(Manifest::json).collect())),
    ]);
    replace(&path, format!("{}\n", json.pretty()).as_bytes())
}

/// Keeps a copy of bytes; its name is their digest, so the same bytes are kept once and a half-written copy shows.
pub fn keep(state: &Path, bytes: &[u8]) -> anyhow::Result<String> {
    let name = digest(bytes).to_string();
    let path = state.join(BACKUPS).join(&name);
    make_folder(&state.join(BACKUPS))?;
    if std::fs::read(&path).is_ok_and(|held| held == bytes) {
        return Ok(name);
    }
    match std::fs::symlink_metadata(&path) {
        Ok(_) => replace(&path, bytes)?,
        Err(_) => write_new(&path, bytes)?,
    }
    Ok(name)
}

/// Where a copy lies.
pub fn copy(state: &Path, name: &str) -> PathBuf {
    state.join(BACKUPS).join(name)
}

/// Reads a copy; one that is not what was kept is an error.
pub fn kept(state: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = copy(state, name);
    let bytes = std::fs::read(&path).with_context(|| format!("the copy {} is gone", path.display()))?;
    if digest(&bytes).to_string() != name {
        bail!("the copy {} was changed", path.display());
    }
    Ok(bytes)
}

/// Takes away the copies that no manifest names any more.
pub fn forget_copies(state: &Path) -> anyhow::Result<()> {
    let all = read_all(state)?;
    let folder = state.join(BACKUPS);
    for file in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = file.file_name();
        let used = all.iter().flat_map(|m| &m.files).any(|f| f.before.as_deref().is_some_and(|b| name == *b));
        if !used {
            std::fs::remove_file(file.path()).ok();
        }
    }
    // Stays while a copy is in it.
    std::fs::remove_dir(&folder).ok();
    Ok(())
}

impl Manifest {
    /// The entry of a file.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.files.iter().find(|f| f.path == path)
    }

    /// Puts an entry in the place of the one of the same file.
    pub fn set(&mut self, entry: Entry) {
        self.files.retain(|f| f.path != entry.path);
        self.files.push(entry);
    }

    /// Forgets a file.
    pub fn forget(&mut self, path: &str) {
        self.files.retain(|f| f.path != path);
    }

    fn json(&self) -> Json {
        let files = self.files.iter().map(|f| {
            let mut json =
                Json::object([("path", Json::str(&f.path)), ("digest", Json::str(f.digest.to_string()))]);
            if let Some(before) = &f.before {
                json.set("before", Json::str(before));
            }
            json
        });
        Json::object([
            ("root", Json::str(&self.root)),
            ("files", Json::Array(files.collect())),
            ("folders", Json::strings(&self.folders)),
        ])
    }
}

fn parse(bytes: &[u8]) -> anyhow::Result<Vec<Manifest>> {
    let json = Json::parse(bytes, Bounds::default())?;
    if json.get("version").and_then(Json::as_i64) != Some(1) {
        bail!("its version is not 1");
    }
    let list = |json: &Json, key: &str| {
        json.get(key)
            .and_then(Json::as_array)
            .map(<[Json]>::to_vec)
            .with_context(|| format!("no list `{key}`"))
    };
    list(&json, "projects")?
        .iter()
        .map(|m| {
            let files = list(m, "files")?.iter().map(entry).collect::<anyhow::Result<Vec<_>>>()?;
            let folders = list(m, "folders")?
                .iter()
                .map(|f| f.as_str().map(str::to_owned).context("a folder is no text").and_then(inside))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let root = m.text("root").context("no `root`")?.to_owned();
            Ok(Manifest { root, files, folders })
        })
        .collect()
}

fn entry(json: &Json) -> anyhow::Result<Entry> {
    let before = match json.get("before") {
        None => None,
        // A name in the folder of copies and nothing else.
        Some(name) => Some(
            name.as_str().filter(|n| Digest::parse(n).is_some()).context("`before` is no digest")?.to_owned(),
        ),
    };
    Ok(Entry {
        path: inside(json.text("path").context("no `path`")?.to_owned())?,
        digest: json.text("digest").and_then(Digest::parse).context("no `digest`")?,
        before,
    })
}

/// A manifest could have been edited: no path of it leads out of the project.
fn inside(path: String) -> anyhow::Result<String> {
    let plain = Path::new(&path).components().all(|c| matches!(c, Component::Normal(_)));
    if path.is_empty() || !plain {
        bail!("`{path}` leads out of the project");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(root: &str) -> Manifest {
        let entry =
            Entry { path: "a/b".into(), digest: digest(b"x"), before: Some(digest(b"y").to_string()) };
        Manifest { root: root.into(), files: vec![entry], folders: vec!["a".into()] }
    }

    #[test]
    fn roots_of_one_state_folder_are_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (manifest("/a"), manifest("/b"));
        write(folder.path(), &a).unwrap();
        write(folder.path(), &b).unwrap();
        assert_eq!(read(folder.path(), "/a").unwrap(), a);
        write(folder.path(), &Manifest { root: "/a".into(), ..Manifest::default() }).unwrap();
        assert_eq!(read_all(folder.path()).unwrap(), [b]);
        write(folder.path(), &Manifest { root: "/b".into(), ..Manifest::default() }).unwrap();
        assert!(!folder.path().join(NAME).exists());
    }

    #[test]
    fn no_path_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/passwd", "a/../../b", "", "./x"] {
            let mut bad = manifest("/a");
            bad.files[0].path = path.to_owned();
            write(folder.path(), &bad).unwrap();
            assert!(read(folder.path(), "/a").is_err(), "{path}");
            std::fs::remove_file(folder.path().join(NAME)).unwrap();
        }
    }

    #[test]
    fn a_changed_copy_is_not_restored() {
        let folder = tempfile::tempdir().unwrap();
        let name = keep(folder.path(), b"old").unwrap();
        assert_eq!(kept(folder.path(), &name).unwrap(), b"old");
        std::fs::write(copy(folder.path(), &name), b"new").unwrap();
        assert!(kept(folder.path(), &name).is_err());
        assert_eq!(keep(folder.path(), b"old").unwrap(), name);
        assert_eq!(kept(folder.path(), &name).unwrap(), b"old");
        forget_copies(folder.path()).unwrap();
        assert!(!folder.path().join(BACKUPS).exists());
    }
}
