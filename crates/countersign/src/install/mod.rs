//! Changing a project's files and undoing it: what `init` and `uninstall` share.
//!
//! A change is first a list of [`Step`]s that can be shown, then it is applied: copies of what was there, the manifest,
//! the files. So a process that dies half-way leaves either files that nobody touched or a manifest that knows of
//! them. No link below the project's root is followed, and a file that changed after it was shown is left alone
//! (gateway.md 11.2).

pub mod clients;
pub mod manifest;
pub mod profiles;
pub mod servers;
pub mod settings;

use anyhow::{Context as _, bail};
use clients::Client;
use manifest::{Entry, Manifest};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

/// One file, as it is and as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Below the project's root.
    pub path: String,
    /// Its bytes now.
    pub was: Option<Vec<u8>>,
    /// Its bytes then; `None` takes it away.
    pub shall: Option<Vec<u8>>,
    /// What undoing puts back; `None` takes the file away.
    pub origin: Option<Vec<u8>>,
    /// Mode of a new file.
    pub mode: u32,
    /// What to say beside it.
    pub remark: String,
}

impl Step {
    /// A file that stays as it is.
    pub fn stays(path: &str, was: Vec<u8>, remark: &str) -> Step {
        let bytes = Some(was);
        Step {
            path: path.to_owned(),
            shall: bytes.clone(),
            origin: bytes.clone(),
            was: bytes,
            mode: 0o644,
            remark: remark.to_owned(),
        }
    }

    /// Whether anything is to be done.
    pub fn changes(&self) -> bool {
        self.was != self.shall
    }

    /// The line that people see.
    pub fn line(&self, root: &Path) -> String {
        let mark = match (&self.was, &self.shall) {
            (None, Some(_)) => '+',
            (Some(_), None) => '-',
            _ if self.changes() => '~',
            _ => '=',
        };
        let remark = if self.remark.is_empty() { String::new() } else { format!("  ({})", self.remark) };
        // A folder's name may hold anything.
        let path = countersign_core::cleanse::clean_text(&root.join(&self.path).to_string_lossy());
        format!("  {mark} {path}{remark}")
    }
}

/// Reads a file below the root; no link on the way is followed.
pub fn look(root: &Path, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let full = guard(root, path)?;
    match std::fs::read(&full) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", full.display())),
    }
}

/// The full path, once it is sure that nothing on the way below the root is a link.
fn guard(root: &Path, path: &str) -> anyhow::Result<PathBuf> {
    let mut full = root.to_owned();
    for part in Path::new(path).components() {
        let Component::Normal(part) = part else { bail!("`{path}` leads out of the project") };
        full.push(part);
        match std::fs::symlink_metadata(&full) {
            Ok(meta) if meta.file_type().is_symlink() => {
                bail!(
                    "{} is a link, and links are not followed here; replace it by what it names",
                    full.display()
                )
            }
            _ => {}
        }
    }
    Ok(full)
}

/// What undoing a settings file puts back, given what stands there now. While it holds what we wrote, that is what
/// was there before us; once others changed it, it is what they have without our hooks.
pub fn origin(
    client: &Client,
    state: &Path,
    entry: Option<&Entry>,
    was: Option<&Vec<u8>>,
) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(was) = was else { return Ok(None) };
    if let Some(entry) = entry
        && manifest::digest(was) == entry.digest
    {
        return entry.before.as_ref().map(|name| manifest::kept(state, name)).transpose();
    }
    let json = settings::read(was)?;
    let hooks = settings::unmerge(client, &json);
    let gate = servers::unwrap_json(hooks.as_ref().unwrap_or(&json));
    let Some(rest) = gate.or(hooks) else { return Ok(Some(was.clone())) };
    let nothing = rest.as_object().is_some_and(<[_]>::is_empty);
    let made_by_us = entry.is_some_and(|e| e.before.is_none());
    Ok(if nothing && made_by_us { None } else { Some(settings::write(&rest)) })
}

/// Does the steps and writes down how to undo them.
pub fn apply(root: &Path, state: &Path, manifest: &mut Manifest, steps: &[Step]) -> anyhow::Result<()> {
    for step in steps.iter().filter(|s| s.changes()) {
        let Some(shall) = &step.shall else { continue };
        let before = step.origin.as_ref().map(|bytes| manifest::keep(state, bytes)).transpose()?;
        manifest.set(Entry { path: step.path.clone(), digest: manifest::digest(shall), before });
        for folder in missing_folders(root, &step.path) {
            if !manifest.folders.contains(&folder) {
                manifest.folders.push(folder);
            }
        }
    }
    manifest::write(state, manifest)?;
    for step in steps.iter().filter(|s| s.changes()) {
        carry_out(root, step)?;
        if step.shall.is_none() {
            manifest.forget(&step.path);
        }
    }
    manifest::write(state, manifest)?;
    manifest::forget_copies(state)
}

fn carry_out(root: &Path, step: &Step) -> anyhow::Result<()> {
    if look(root, &step.path)? != step.was {
        bail!(
            "{} changed meanwhile; it was left alone, run the command again",
            root.join(&step.path).display()
        );
    }
    let full = guard(root, &step.path)?;
    match (&step.was, &step.shall) {
        (None, Some(bytes)) => create(&full, bytes, step.mode),
        (Some(_), Some(bytes)) => crate::places::replace(&full, bytes),
        (_, None) => std::fs::remove_file(&full).with_context(|| format!("cannot remove {}", full.display())),
    }
}

/// Folders on the way to a file that are not there, outermost first.
fn missing_folders(root: &Path, path: &str) -> Vec<String> {
    let mut folders: Vec<String> = Path::new(path)
        .ancestors()
        .skip(1)
        .filter(|a| !a.as_os_str().is_empty() && !root.join(a).exists())
        .filter_map(|a| a.to_str().map(str::to_owned))
        .collect();
    folders.reverse();
    folders
}

/// Makes a file with its folders. It appears whole or not at all: a half-written settings file would be one without
/// hooks.
fn create(full: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    use std::io::Write as _;
    let folder = full.parent().context("no parent folder")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let name = full.file_name().context("no file name")?.to_string_lossy().into_owned();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        // Whatever the umask: a team shares these files, or nobody does.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&beside, full)?;
        std::fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        std::fs::remove_file(&beside).ok();
    }
    written.with_context(|| format!("cannot write {}", full.display()))
}

/// What undoing everything would do.
#[derive(Debug, Default)]
pub struct Undo {
    /// Files to restore, to take away or to leave.
    pub steps: Vec<Step>,
    /// Files that cannot be undone, with the reason.
    pub problems: Vec<String>,
    /// Hooks of other clients stay, and the project with them.
    pub partial: bool,
}

/// Plans the undoing of everything, or of the hooks of some clients. Hooks come first: without their project they
/// would block every call.
pub fn plan_undo(root: &Path, state: &Path, manifest: &Manifest, only: &[&'static Client]) -> Undo {
    let mut out = Undo::default();
    for client in clients::ALL {
        let stays = !only.is_empty() && !only.contains(&client);
        for path in client.files() {
            match undo_settings(client, root, state, manifest, path) {
                Ok(Some(_)) if stays => out.partial = true,
                // What cannot be read may hold hooks that stay.
                Err(_) if stays => out.partial = true,
                Ok(step) => out.steps.extend(step),
                Err(e) => out.problems.push(format!("{}: {e:#}", root.join(path).display())),
            }
        }
    }
    let partial = out.partial;
    let undone = |entry: &&Entry| match clients::of_servers(&entry.path) {
        Some(client) => !partial || only.contains(&client),
        None => !partial,
    };
    for entry in manifest.files.iter().filter(|f| clients::of_file(&f.path).is_none()).filter(undone) {
        match undo_file(root, state, entry) {
            Ok(step) => out.steps.extend(step),
            Err(e) => out.problems.push(format!("{}: {e:#}", root.join(&entry.path).display())),
        }
    }
    for client in clients::ALL.into_iter().filter(|c| !partial || only.contains(c)) {
        let path = client.server_file();
        if manifest.entry(path).is_some() || out.steps.iter().any(|s| s.path == path) {
            continue;
        }
        match undo_unknown(client, root, path) {
            Ok(step) => out.steps.extend(step),
            Err(e) => out.problems.push(format!("{}: {e:#}", root.join(path).display())),
        }
    }
    out
}

/// Plans the undoing of a file of servers that no manifest knows, where it names the gate of this very project.
fn undo_unknown(client: &Client, root: &Path, path: &str) -> anyhow::Result<Option<Step>> {
    let Some(was) = look(root, path)? else { return Ok(None) };
    let holds = |part: &[u8]| !part.is_empty() && was.windows(part.len()).any(|w| w == part);
    let named = root.to_str().is_some_and(|root| holds(root.as_bytes()));
    if !named || !holds(b"countersign") || !holds(b"\"--server\"") {
        return Ok(None);
    }
    let Some(shall) = servers::unwrap(client, &was)? else { return Ok(None) };
    Ok(Some(Step {
        path: path.to_owned(),
        was: Some(was),
        origin: None,
        shall: Some(shall),
        mode: 0o644,
        remark: "the gate is taken out".to_owned(),
    }))
}

/// Plans the undoing of one settings file; nothing when none of it is ours.
pub fn undo_settings(
    client: &Client,
    root: &Path,
    state: &Path,
    manifest: &Manifest,
    path: &str,
) -> anyhow::Result<Option<Step>> {
    let entry = manifest.entry(path);
    let Some(was) = look(root, path)? else { return Ok(None) };
    let untouched = entry.is_some_and(|e| e.digest == manifest::digest(&was));
    // Broken text in which no hook of ours can be is none of our business.
    let trace = client.trace();
    if entry.is_none() && !was.windows(trace.len()).any(|w| w == trace.as_bytes()) {
        return Ok(None);
    }
    if !untouched {
        let json = settings::read(&was)?;
        // Hooks taken out by hand leave servers that would not start without the project.
        let gate = client.servers.is_none() && servers::unwrap_json(&json).is_some();
        if !gate && settings::find(client, &json).is_empty() {
            return Ok(None);
        }
    }
    let shall = origin(client, state, entry, Some(&was))?;
    let remark =
        if untouched { "as it was before init" } else { "changed since init: only our hooks are taken out" };
    Ok(Some(Step {
        path: path.to_owned(),
        was: Some(was),
        origin: None,
        shall,
        mode: 0o600,
        remark: remark.to_owned(),
    }))
}

/// Whether a file still is what we wrote. `countersign mode` rewrites one line of the configuration; that is no edit of
/// others.
fn is_as_written(entry: &Entry, was: &[u8]) -> bool {
    if manifest::digest(was) == entry.digest {
        return true;
    }
    let Ok(text) = std::str::from_utf8(was) else { return false };
    let (watch, enforce) = ("\nmode = \"watch\"\n", "\nmode = \"enforce\"\n");
    [text.replace(watch, enforce), text.replace(enforce, watch)]
        .iter()
        .any(|other| manifest::digest(other.as_bytes()) == entry.digest)
}

fn undo_file(root: &Path, state: &Path, entry: &Entry) -> anyhow::Result<Option<Step>> {
    let Some(was) = look(root, &entry.path)? else { return Ok(None) };
    if let Some(client) = clients::of_servers(&entry.path)
        && !is_as_written(entry, &was)
    {
        // Without its project the gate would not start, and the servers would be gone.
        let Some(shall) = servers::unwrap(client, &was)? else {
            return Ok(Some(Step::stays(
                &entry.path,
                was,
                "changed since init: the gate is not in it any more",
            )));
        };
        return Ok(Some(Step {
            path: entry.path.clone(),
            was: Some(was),
            origin: None,
            shall: Some(shall),
            mode: 0o644,
            remark: "changed since init: only the gate is taken out".to_owned(),
        }));
    }
    if !is_as_written(entry, &was) {
        return Ok(Some(Step::stays(
            &entry.path,
            was,
            "changed since init: kept, remove it yourself if you want",
        )));
    }
    let shall = entry.before.as_ref().map(|name| manifest::kept(state, name)).transpose()?;
    let remark = if shall.is_some() { "as it was before init" } else { "" };
    Ok(Some(Step {
        path: entry.path.clone(),
        was: Some(was),
        origin: None,
        shall,
        mode: 0o644,
        remark: remark.to_owned(),
    }))
}

/// Undoes: files, then folders of ours that are empty, then the manifest.
pub fn undo(root: &Path, state: &Path, manifest: &mut Manifest, undo: &Undo) -> anyhow::Result<()> {
    for step in &undo.steps {
        if step.changes() {
            carry_out(root, step)?;
        }
    }
    // What has no step is gone by other hands, and what was kept is the operator's now.
    match undo.partial {
        true => undo.steps.iter().for_each(|s| manifest.forget(&s.path)),
        false => manifest.files.clear(),
    }
    let mut folders = std::mem::take(&mut manifest.folders);
    folders.sort_by_key(|f| std::cmp::Reverse(f.matches('/').count()));
    for folder in folders {
        // Fails, rightly, while anything is in it.
        let gone = std::fs::remove_dir(root.join(&folder)).is_ok();
        if undo.partial && !gone {
            manifest.folders.push(folder);
        }
    }
    manifest::write(state, manifest)?;
    manifest::forget_copies(state)
}

#[cfg(test)]
mod tests {
    use super::clients::CLAUDE_CODE;
    use super::settings::Wanted;
    use super::*;

    const LOCAL: &str = ".claude/settings.local.json";

    struct Ground {
        _folder: tempfile::TempDir,
        root: PathBuf,
        state: PathBuf,
        manifest: Manifest,
    }

    impl Ground {
        fn new() -> Ground {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().canonicalize().unwrap().join("shop");
            std::fs::create_dir(&root).unwrap();
            let manifest = Manifest { root: root.display().to_string(), ..Manifest::default() };
            Ground { root, state: folder.path().join("state"), manifest, _folder: folder }
        }

        fn install(&mut self, program: &str) -> bool {
            let wanted = Wanted {
                client: &CLAUDE_CODE,
                program: program.into(),
                root: "/r".into(),
                project_id: "0".into(),
                timeout_s: 60,
            };
            let was = look(&self.root, LOCAL).unwrap();
            let json = settings::read(was.as_deref().unwrap_or_default()).unwrap();
            let merged = settings::merge(&json, &wanted).unwrap();
            if !merged.changed {
                return false;
            }
            let origin = origin(&CLAUDE_CODE, &self.state, self.manifest.entry(LOCAL), was.as_ref()).unwrap();
            let step = Step {
                path: LOCAL.into(),
                was,
                shall: Some(settings::write(&merged.json)),
                origin,
                mode: 0o600,
                remark: String::new(),
            };
            apply(&self.root, &self.state, &mut self.manifest, &[step]).unwrap();
            true
        }

        fn uninstall(&mut self) -> Undo {
            let plan = plan_undo(&self.root, &self.state, &self.manifest, &[]);
            undo(&self.root, &self.state, &mut self.manifest, &plan).unwrap();
            plan
        }

        fn text(&self) -> Option<String> {
            look(&self.root, LOCAL).unwrap().map(|b| String::from_utf8(b).unwrap())
        }

        fn put(&self, text: &str) {
            std::fs::create_dir_all(self.root.join(".claude")).unwrap();
            std::fs::write(self.root.join(LOCAL), text).unwrap();
        }
    }

    const ODD: &str = "{ \"model\":\t\"x\",\r\n   \"n\": 1.0 }";

    #[test]
    fn undoing_restores_the_very_bytes() {
        let mut ground = Ground::new();
        ground.put(ODD);
        assert!(ground.install("/a") && !ground.install("/a") && ground.install("/b"));
        assert!(ground.text().unwrap().contains("/b"));
        ground.uninstall();
        assert_eq!(ground.text().as_deref(), Some(ODD));
        assert!(ground.root.join(".claude").is_dir());
        assert!(ground.uninstall().steps.is_empty());
        assert!(std::fs::read_dir(&ground.state).unwrap().next().is_none());
    }

    #[test]
    fn what_was_not_there_goes_again() {
        let mut ground = Ground::new();
        ground.install("/a");
        assert_eq!(ground.manifest.folders, [".claude"]);
        ground.uninstall();
        assert!(!ground.root.join(".claude").exists());
    }

    #[test]
    fn later_edits_of_others_survive() {
        for again in [false, true] {
            let mut ground = Ground::new();
            ground.put(ODD);
            ground.install("/a");
            let edited = ground.text().unwrap().replace("\"x\"", "\"y\"");
            ground.put(&edited);
            if again {
                assert!(ground.install("/b"));
            }
            ground.uninstall();
            assert_eq!(ground.text().unwrap(), "{\n  \"model\": \"y\",\n  \"n\": 1.0\n}\n");
        }
    }

    #[test]
    fn a_file_of_ours_that_others_extended_and_emptied_goes() {
        let mut ground = Ground::new();
        ground.install("/a");
        ground.put(&ground.text().unwrap().replace("/a", "/moved"));
        ground.uninstall();
        assert!(!ground.root.join(".claude").exists());
    }

    #[test]
    fn hooks_are_taken_out_without_a_manifest_too() {
        let mut ground = Ground::new();
        ground.put(ODD);
        ground.install("/a");
        ground.manifest.files.clear();
        ground.uninstall();
        assert_eq!(ground.text().unwrap(), "{\n  \"model\": \"x\",\n  \"n\": 1.0\n}\n");
    }

    #[test]
    fn links_are_not_followed() {
        let ground = Ground::new();
        let away = ground.root.parent().unwrap().join("away");
        std::fs::create_dir(&away).unwrap();
        std::os::unix::fs::symlink(&away, ground.root.join(".claude")).unwrap();
        assert!(look(&ground.root, LOCAL).unwrap_err().to_string().contains("is a link"));
        assert!(look(&ground.root, "../away").is_err());
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_left_alone() {
        let mut ground = Ground::new();
        ground.put("{}");
        let step = Step {
            path: LOCAL.into(),
            was: Some(b"{ }".to_vec()),
            shall: Some(b"new".to_vec()),
            origin: None,
            mode: 0o600,
            remark: String::new(),
        };
        assert!(apply(&ground.root, &ground.state, &mut ground.manifest, &[step]).is_err());
        assert_eq!(ground.text().as_deref(), Some("{}"));
    }
}
