//! The project: the folder that holds `.countersign`, its identity, and the text that is pinned.
//!
//! A hook is told its project by `--project`; nobody derives it from what an agent can change. State does not lie in
//! the project: it is found by the digest of the repository's common git directory, so that worktrees share one log
//! and a clone brings none (DECISIONS row 57).

use crate::places::Places;
use anyhow::{Context as _, bail};
use countersign_core::digest::Digest;
use countersign_core::rulebook::{PolicyText, RuleSet};
use countersign_gate::seams::Pin;
use std::path::{Path, PathBuf};

/// The folder of ours inside a project.
pub const FOLDER: &str = ".countersign";

/// A project.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its root, absolute, links resolved.
    pub root: PathBuf,
    /// The root of the checkout that log and HALT belong to: differs in a linked worktree.
    pub main: PathBuf,
    /// What names its state: 32 hex digits.
    pub id: String,
}

impl Project {
    /// The project at exactly this folder, which need not be set up yet.
    pub fn at(root: &Path) -> anyhow::Result<Project> {
        let root = root.canonicalize().with_context(|| format!("no such folder: {}", root.display()))?;
        if root.to_str().is_none() {
            bail!("the project's path is not UTF-8: {}", root.display());
        }
        let common = common_git_dir(&root);
        let identity = common.as_deref().unwrap_or(&root);
        let digest =
            Digest::of("countersign-project-v1", &[identity.as_os_str().as_encoded_bytes()]).to_string();
        let main = common
            .as_deref()
            .filter(|c| c.file_name().is_some_and(|n| n == ".git"))
            .and_then(Path::parent)
            .filter(|main| main.join(FOLDER).is_dir())
            .unwrap_or(&root)
            .to_owned();
        Ok(Project { id: digest.chars().take(32).collect(), main, root })
    }

    /// The nearest folder upwards that holds `.countersign`.
    pub fn find(from: &Path) -> anyhow::Result<Option<Project>> {
        let from = from.canonicalize().with_context(|| format!("no such folder: {}", from.display()))?;
        match from.ancestors().find(|a| a.join(FOLDER).is_dir()) {
            Some(root) => Project::at(root).map(Some),
            None => Ok(None),
        }
    }

    /// The folder of ours in it.
    pub fn folder(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    /// The file that halts everything while it exists.
    pub fn halt_file(&self) -> PathBuf {
        self.main.join(FOLDER).join("HALT")
    }

    /// Its state folder.
    pub fn state(&self, places: &Places) -> PathBuf {
        places.state.join(&self.id)
    }

    /// The root as text; checked when the project was made.
    pub fn root_text(&self) -> &str {
        self.root.to_str().unwrap_or("/")
    }

    /// Reads what a person accepts of a project: its configuration and policy files.
    pub fn read(&self) -> anyhow::Result<Layer> {
        Layer::read(&self.folder())
    }

    /// `owner/name` of the remote `origin`, read from the repository's configuration file; empty when there is none.
    pub fn repo(&self) -> String {
        let config = common_git_dir(&self.root).map(|d| d.join("config"));
        let text = config.and_then(|c| std::fs::read_to_string(c).ok()).unwrap_or_default();
        let mut inside = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == "[remote \"origin\"]";
            } else if inside
                && let Some(url) = line.strip_prefix("url").map(|r| r.trim_start_matches([' ', '=']))
            {
                return owner_name(url);
            }
        }
        String::new()
    }
}

fn owner_name(url: &str) -> String {
    let path = url.trim_end_matches('/').trim_end_matches(".git");
    let mut parts = path.rsplit(['/', ':']);
    match (parts.next(), parts.next()) {
        (Some(name), Some(owner)) if !name.is_empty() && !owner.is_empty() => format!("{owner}/{name}"),
        _ => String::new(),
    }
}

/// The repository's common git directory, without running git in a folder that may be hostile.
fn common_git_dir(root: &Path) -> Option<PathBuf> {
    let dot = root.join(".git");
    let meta = std::fs::symlink_metadata(&dot).ok()?;
    let git_dir = if meta.is_dir() {
        dot
    } else if meta.is_file() {
        let text = std::fs::read_to_string(&dot).ok()?;
        root.join(text.trim().strip_prefix("gitdir:")?.trim())
    } else {
        return None;
    };
    let common = match std::fs::read_to_string(git_dir.join("commondir")) {
        Ok(text) => git_dir.join(text.trim()),
        Err(_) => git_dir,
    };
    common.canonicalize().ok()
}

/// The project's own layer of configuration and policy, as text.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `config.toml`.
    pub config: Option<String>,
    /// `policy/hard.cedar`.
    pub hard: Option<String>,
    /// `policy/soft.cedar`.
    pub soft: Option<String>,
    /// `servers.toml`.
    pub servers: Option<String>,
    folder: PathBuf,
}

impl Layer {
    /// Reads the files of a folder that is, or is to become, a project's `.countersign`.
    pub fn read(folder: &Path) -> anyhow::Result<Layer> {
        let read = |name: &str| -> anyhow::Result<Option<String>> {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
            }
        };
        Ok(Layer {
            config: read("config.toml")?,
            hard: read("policy/hard.cedar")?,
            soft: read("policy/soft.cedar")?,
            servers: read("servers.toml")?,
            folder: folder.to_owned(),
        })
    }

    /// The layer that a pin holds the text of; `None` where the text is not one of ours.
    pub fn of_pin(pin: &Pin, folder: PathBuf) -> Option<Layer> {
        let mut layer = Layer { config: None, hard: None, soft: None, servers: None, folder };
        let mut rest = pin.text.as_str();
        while !rest.is_empty() {
            let (head, behind) = rest.strip_prefix("== ")?.split_once('\n')?;
            let (name, length) = head.rsplit_once(' ')?;
            let length: usize = length.parse().ok()?;
            let slot = match name {
                "config.toml" => &mut layer.config,
                "policy/hard.cedar" => &mut layer.hard,
                "policy/soft.cedar" => &mut layer.soft,
                "servers.toml" => &mut layer.servers,
                _ => return None,
            };
            *slot = Some(behind.get(..length)?.to_owned());
            rest = behind.get(length..)?.strip_prefix('\n')?;
        }
        (layer.pin().digest == pin.digest).then_some(layer)
    }

    /// A layer in which nothing is said.
    pub fn empty(folder: PathBuf) -> Layer {
        Layer { config: None, hard: None, soft: None, servers: None, folder }
    }

    /// The folder it was read from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is pinned: every file with its name and length in front, so that text cannot move between files.
    pub fn pin(&self) -> Pin {
        let mut text = String::new();
        for (name, content) in self.files() {
            if let Some(content) = content {
                text.push_str(&format!("== {name} {}\n{content}\n", content.len()));
            }
        }
        Pin { digest: Digest::of_bytes("countersign-layer-v1", text.as_bytes()), text }
    }

    fn files(&self) -> [(&'static str, Option<&String>); 4] {
        [
            ("config.toml", self.config.as_ref()),
            ("policy/hard.cedar", self.hard.as_ref()),
            ("policy/soft.cedar", self.soft.as_ref()),
            ("servers.toml", self.servers.as_ref()),
        ]
    }

    /// The policy files as the rulebook takes them.
    pub fn policy(&self) -> Vec<(RuleSet, PolicyText)> {
        let text = |name: &str, text: &String| PolicyText {
            file: self.folder.join(name).display().to_string(),
            text: text.as_str().into(),
        };
        let hard = self.hard.as_ref().map(|t| (RuleSet::Hard, text("policy/hard.cedar", t)));
        let soft = self.soft.as_ref().map(|t| (RuleSet::Soft, text("policy/soft.cedar", t)));
        hard.into_iter().chain(soft).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worktrees_share_state_and_clones_do_not() {
        let base = tempfile::tempdir().unwrap();
        let git = |dir: &Path, args: &[&str]| {
            let done = std::process::Command::new("git").arg("-C").arg(dir).args(args).output().unwrap();
            assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        let main = base.path().join("main");
        std::fs::create_dir_all(main.join(FOLDER)).unwrap();
        git(&main, &["init", "-q"]);
        git(
            &main,
            &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "x"],
        );
        git(&main, &["remote", "add", "origin", "git@example.org:ana/shop.git"]);
        git(&main, &["worktree", "add", "-q", "../tree"]);
        git(base.path(), &["clone", "-q", "main", "copy"]);
        let (a, b, c) = (main, base.path().join("tree"), base.path().join("copy"));
        let [a, b, c] = [a, b, c].map(|p| Project::at(&p).unwrap());
        assert_eq!(a.id, b.id);
        assert_ne!(a.id, c.id);
        assert_eq!(b.halt_file(), a.halt_file());
        assert_ne!(b.folder(), a.folder());
        assert_eq!((a.repo(), b.repo()), ("ana/shop".to_owned(), "ana/shop".to_owned()));
    }

    #[test]
    fn text_cannot_move_between_files() {
        let layer = |hard: Option<&str>, soft: Option<&str>| Layer {
            config: None,
            hard: hard.map(str::to_owned),
            soft: soft.map(str::to_owned),
            servers: None,
            folder: PathBuf::new(),
        };
        for one in [layer(Some("a\n== x 1\n"), Some("é")), layer(None, Some("")), layer(None, None)] {
            let pin = one.pin();
            let back = Layer::of_pin(&pin, PathBuf::new()).unwrap();
            assert_eq!((back.hard, back.soft, back.config), (one.hard, one.soft, one.config));
            let text = pin.text.replace('a', "b");
            assert!(text == pin.text || Layer::of_pin(&Pin { text, ..pin }, PathBuf::new()).is_none());
        }
        assert_ne!(layer(Some("a"), None).pin().digest, layer(None, Some("a")).pin().digest);
        assert_ne!(layer(Some(""), None).pin().digest, layer(None, None).pin().digest);
    }
}
