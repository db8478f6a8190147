//! What a path names on this machine, links followed: the look that the pure judge may not take itself.
//!
//! A path is walked component by component with the system's own rules: a link is replaced by its target, `..` leaves
//! the real folder. What does not exist yet is appended as it was asked for, so a file that a call is about to create
//! gets the name it will really have; a dangling link is treated by its target. The look is advisory against somebody
//! who changes the tree meanwhile (gateway.md 6.4).

use countersign_core::ledger::Resolved;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Longest chain of links.
const MAX_LINKS: usize = 32;
/// Most paths looked up for one call; those beyond are answered as not resolvable.
pub(crate) const MAX_PATHS: usize = 256;
/// Most components walked for one path.
const MAX_STEPS: usize = 4_096;

/// Looks every path up, in order.
pub(crate) fn all(paths: &[String]) -> Vec<Resolved> {
    paths
        .iter()
        .enumerate()
        .map(|(i, asked)| {
            let found = if i < MAX_PATHS { one(Path::new(asked)) } else { None };
            let (real, identity) = found.unzip();
            Resolved { asked: asked.clone(), real, identity: identity.flatten() }
        })
        .collect()
}

enum Step {
    Root,
    Up,
    Into(OsString),
}

fn steps(path: &Path) -> impl DoubleEndedIterator<Item = Step> + '_ {
    path.components().filter_map(|c| match c {
        Component::RootDir | Component::Prefix(_) => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
        Component::CurDir => None,
    })
}

/// `None` for a relative path, a loop, a name that is no text, or a fault that hides what is there.
fn one(path: &Path) -> Option<(String, Option<(u64, u64)>)> {
    if !path.is_absolute() {
        return None;
    }
    let mut todo: VecDeque<Step> = steps(path).collect();
    let mut real = PathBuf::from("/");
    let mut identity = None;
    let mut links = 0;
    let mut walked = 0;
    // Below something that does not exist, nothing exists: the rest is appended without looking.
    let mut exists = true;
    while let Some(step) = todo.pop_front() {
        walked += 1;
        if walked > MAX_STEPS {
            return None;
        }
        let name = match step {
            Step::Root => {
                real = PathBuf::from("/");
                exists = true;
                continue;
            }
            Step::Up => {
                real.pop();
                // What is above may exist again; the next component looks for itself.
                exists = true;
                continue;
            }
            Step::Into(name) => name,
        };
        let next = real.join(&name);
        identity = None;
        if !exists {
            real = next;
            continue;
        }
        match std::fs::symlink_metadata(&next) {
            Ok(meta) if meta.file_type().is_symlink() => {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                let target = std::fs::read_link(&next).ok()?;
                for step in steps(&target).rev() {
                    todo.push_front(step);
                }
            }
            Ok(meta) => {
                identity = Some((meta.dev(), meta.ino()));
                real = next;
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                exists = false;
                real = next;
            }
            Err(_) => return None,
        }
    }
    if identity.is_none() && exists {
        // The walk ended on a folder reached by `..` or on the root.
        identity = std::fs::symlink_metadata(&real).ok().map(|m| (m.dev(), m.ino()));
    }
    Some((real.into_os_string().into_string().ok()?, identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn real(path: &Path) -> Option<String> {
        all(&[path.to_str().unwrap().to_owned()]).remove(0).real
    }

    #[test]
    fn links_are_followed_and_the_rest_is_appended() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = |p: &str| root.join(p);
        let text = |p: &str| Some(at(p).to_str().unwrap().to_owned());
        std::fs::create_dir_all(at("real/sub")).unwrap();
        std::fs::write(at("real/file"), "x").unwrap();
        symlink(at("real"), at("link")).unwrap();
        symlink("real/none", at("dangling")).unwrap();
        symlink(at("loop-b"), at("loop-a")).unwrap();
        symlink(at("loop-a"), at("loop-b")).unwrap();
        symlink("real/sub", at("deep")).unwrap();

        assert_eq!(real(&at("link/file")), text("real/file"));
        assert_eq!(real(&at("link/new/dir/x")), text("real/new/dir/x"));
        assert_eq!(real(&at("dangling")), text("real/none"), "a dangling link names its target");
        assert_eq!(real(&at("dangling/x")), text("real/none/x"));
        assert_eq!(real(&at("loop-a/x")), None);
        assert_eq!(real(&at("deep/../file")), text("real/file"), "`..` leaves the real folder");
        assert_eq!(real(&at("real/file/x")), text("real/file/x"), "below a file nothing exists");
        assert_eq!(real(&at("gone/../link/file")), text("real/file"));
        assert_eq!(real(Path::new("rel/x")), None);
        assert_eq!(real(Path::new("/")), Some("/".into()));

        let both = all(&[at("link/file").to_str().unwrap().into(), at("real/file").to_str().unwrap().into()]);
        assert!(both[0].identity.is_some() && both[0].identity == both[1].identity);
        assert_eq!(all(&[at("none").to_str().unwrap().into()])[0].identity, None);
    }

    #[test]
    fn chains_and_counts_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("l0"), "x").unwrap();
        for i in 1..=MAX_LINKS + 1 {
            symlink(root.join(format!("l{}", i - 1)), root.join(format!("l{i}"))).unwrap();
        }
        assert!(real(&root.join(format!("l{MAX_LINKS}"))).is_some());
        assert!(real(&root.join(format!("l{}", MAX_LINKS + 1))).is_none());
        let many = all(&vec!["/".to_owned(); MAX_PATHS + 1]);
        assert!(many[MAX_PATHS - 1].real.is_some() && many[MAX_PATHS].real.is_none());
    }
}
