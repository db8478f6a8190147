//! `countersign memory`: a person's notes, which agents may read and never write.

use super::{Context, complain, exit, need_user, refused, say};
use crate::wire::UserStore;
use anyhow::{Context as _, bail};
use countersign_core::cleanse::clean_line;
use countersign_core::json::Json;
use countersign_core::names;
use countersign_core::notes::{BEYOND_BYTES, MAX_VALUE_BYTES, check_store, strip};
use countersign_gate::seams::{NoteChange, NoteError, Notes};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Keep notes that agents may read.
///
/// Notes lie in named stores. Agents list them and read how they begin with the tool `memory_recall`; a whole note is
/// asked about, unless an `[[allow]]` entry names it. Only you write notes.
#[derive(clap::Subcommand, Debug)]
pub enum MemoryCommand {
    /// Show the stores, or the notes of one.
    #[command(after_help = "Example:\n  countersign memory list work")]
    List {
        /// A store.
        store: Option<String>,
        /// Also stores that were set aside.
        #[arg(long)]
        all: bool,
    },
    /// Print a note.
    #[command(after_help = "Example:\n  countersign memory get work plan")]
    Get {
        /// Its store.
        store: String,
        /// Its name.
        key: String,
    },
    /// Write a note, from a file or standard input; its store is made when it is not there.
    #[command(after_help = "Example:\n  countersign memory set work plan --from-file plan.md")]
    Set {
        /// Its store.
        store: String,
        /// Its name: letters, digits, `.`, `_`, `-`.
        key: String,
        /// `-`: read standard input, as without it.
        #[arg(value_name = "-", value_parser = ["-"], conflicts_with = "from_file")]
        input: Option<String>,
        /// Read the note from a file.
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        /// Replace a note that is there without asking.
        #[arg(long)]
        force: bool,
    },
    /// Remove a note or a store, or set a store aside.
    #[command(
        after_help = "Example:\n  countersign memory rm work plan\n  countersign memory rm work --archive"
    )]
    Rm {
        /// The store.
        store: String,
        /// A note; without one the whole store is meant.
        key: Option<String>,
        /// Set the store aside: agents do not see it, and nothing is lost.
        #[arg(long, conflicts_with = "key")]
        archive: bool,
        /// Bring back a store that was set aside.
        #[arg(long, conflicts_with_all = ["key", "archive"])]
        restore: bool,
        /// Do not ask back.
        #[arg(long)]
        yes: bool,
    },
    /// Take in notes from files DIR/STORE/NOTE.md. Notes that are there stay as they are.
    #[command(after_help = "Example:\n  countersign memory import ~/.claude/local-memory")]
    Import {
        /// The folder that holds a folder for each store.
        dir: PathBuf,
    },
}

/// So many names are read at once.
const PAGE: u32 = 1_000;

impl MemoryCommand {
    /// Does what is asked, for a person: what an agent may read of notes is judged elsewhere.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let verb = match &self {
            MemoryCommand::List { .. } => "memory list",
            MemoryCommand::Get { .. } => "memory get",
            MemoryCommand::Set { .. } => "memory set",
            MemoryCommand::Rm { .. } => "memory rm",
            MemoryCommand::Import { .. } => "memory import",
        };
        if let Err(code) = need_user(cx, verb).await? {
            return Ok(code);
        }
        let notes = UserStore::at(&cx.places);
        let done = match self {
            MemoryCommand::List { store: None, all } => list_stores(cx, &notes, all).await,
            MemoryCommand::List { store: Some(store), all } => list_notes(cx, &notes, &store, all).await,
            MemoryCommand::Get { store, key } => get(cx, &notes, &store, &key).await,
            MemoryCommand::Set { store, key, input: _, from_file, force } => {
                set(&notes, store, key, from_file, force).await
            }
            MemoryCommand::Rm { store, key, archive, restore, yes } => {
                remove(&notes, store, key, (archive, restore), yes).await
            }
            MemoryCommand::Import { dir } => import(&notes, &dir).await,
        };
        match done.as_ref().map_err(|e| e.downcast_ref::<NoteError>()) {
            Err(Some(e)) => {
                complain(&format!("countersign: {}", clean_line(&e.to_string(), 1_000)));
                Ok(exit::FAILED)
            }
            _ => done,
        }
    }
}

fn shown(name: &str) -> String {
    clean_line(name, 300).to_string()
}

async fn all_stores(notes: &UserStore, archived: bool) -> anyhow::Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let after = all.last().cloned().unwrap_or_default();
        let page = notes.note_stores(archived, &after, PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

async fn list_stores(cx: &Context, notes: &UserStore, all: bool) -> anyhow::Result<u8> {
    let stores = all_stores(notes, false).await?;
    let aside = if all { all_stores(notes, true).await? } else { Vec::new() };
    if cx.global.json {
        let mut out = Json::object([("stores", Json::strings(&stores))]);
        if all {
            out.set("archived", Json::strings(&aside));
        }
        say(&out.canonical());
        return Ok(exit::OK);
    }
    if stores.is_empty() && aside.is_empty() {
        say("No notes stored.");
    }
    for name in &stores {
        say(&shown(name));
    }
    for name in &aside {
        say(&format!("{}  (set aside)", shown(name)));
    }
    Ok(exit::OK)
}

async fn list_notes(cx: &Context, notes: &UserStore, store: &str, all: bool) -> anyhow::Result<u8> {
    let mut found: Vec<(String, u64)> = Vec::new();
    loop {
        let after = found.last().map(|(key, _)| key.clone()).unwrap_or_default();
        let Some(page) = notes.note_keys(store, all, &after, PAGE).await? else {
            bail!(NoteError::Missing(format!("store `{store}`")));
        };
        if page.is_empty() {
            break;
        }
        if cx.global.json {
            found.extend(page);
            continue;
        }
        // Written page by page: a store may be huge.
        for (key, bytes) in &page {
            say(&format!("{}  {bytes} bytes", shown(key)));
        }
        found = page.into_iter().last().into_iter().collect();
    }
    if cx.global.json {
        let one = |(key, bytes): &(String, u64)| {
            Json::object([("key", Json::str(key)), ("bytes", Json::Number(bytes.to_string()))])
        };
        let entries = Json::Array(found.iter().map(one).collect());
        say(&Json::object([("store", Json::str(store)), ("entries", entries)]).canonical());
    }
    Ok(exit::OK)
}

async fn get(cx: &Context, notes: &UserStore, store: &str, key: &str) -> anyhow::Result<u8> {
    let Some(value) = notes.note_value(store, key).await? else {
        bail!(NoteError::Missing(format!("note `{store}/{key}`")));
    };
    let text = String::from_utf8_lossy(&value);
    let mut out = std::io::stdout().lock();
    if cx.global.json {
        let mut json = Json::object([
            ("store", Json::str(store)),
            ("key", Json::str(key)),
            ("value", Json::str(&*text)),
        ]);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            json.set("lossy", Json::Bool(true));
        }
        writeln!(out, "{}", json.canonical())?;
    } else if out.is_terminal() {
        // A note must not drive the terminal; a carriage return would write over what stands there.
        let plain = strip(&text).replace('\r', "");
        out.write_all(plain.as_bytes())?;
        if !plain.ends_with('\n') {
            out.write_all(b"\n")?;
        }
    } else {
        out.write_all(&value)?;
    }
    out.flush()?;
    Ok(exit::OK)
}

/// Reads what a note is to say, byte for byte; one byte more than a note may have, so that the store refuses it.
fn value(from_file: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_VALUE_BYTES).unwrap_or(u64::MAX) + 1;
    let mut bytes = Vec::new();
    match from_file {
        Some(path) => {
            let file =
                std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            file.take(limit).read_to_end(&mut bytes)?;
        }
        None => {
            if std::io::stdin().is_terminal() {
                complain("Type the note; Ctrl-D on an empty line ends it.");
            }
            std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
        }
    }
    Ok(bytes)
}

async fn set(
    notes: &UserStore,
    store: String,
    key: String,
    from_file: Option<PathBuf>,
    force: bool,
) -> anyhow::Result<u8> {
    // Before a person types it.
    names::check(&key).map_err(|e| NoteError::Name(shown(&key), e.to_string()))?;
    let there = notes.note_value(&store, &key).await?.is_some();
    // Standard input cannot be asked and read at once.
    if there && !force {
        let question = format!("Replace the note {}/{}?", shown(&store), shown(&key));
        if from_file.is_none() && !std::io::stdin().is_terminal() {
            complain("There is a note of this name; nothing was done. Add --force to replace it.");
            return Ok(exit::USAGE);
        }
        if let Some(code) = refused(false, &question)? {
            return Ok(code);
        }
    }
    let value = value(from_file.as_deref())?;
    let bytes = value.len();
    let replace = there || force;
    let name = notes.change_notes(NoteChange::Set { store, key, value, replace }).await?;
    say(&format!("Note written: {} ({bytes} bytes)", shown(&name)));
    Ok(exit::OK)
}

async fn remove(
    notes: &UserStore,
    store: String,
    key: Option<String>,
    (archive, restore): (bool, bool),
    yes: bool,
) -> anyhow::Result<u8> {
    if archive {
        let name = notes.change_notes(NoteChange::Archive(store)).await?;
        say(&format!("Set aside as: {}", shown(&name)));
        return Ok(exit::OK);
    }
    if restore {
        let name = notes.change_notes(NoteChange::Restore(store)).await?;
        say(&format!("Brought back: {}", shown(&name)));
        return Ok(exit::OK);
    }
    let question = match &key {
        Some(key) => format!("Remove the note {}/{}?", shown(&store), shown(key)),
        None => format!("Remove the store {} with all its notes?", shown(&store)),
    };
    if let Some(code) = refused(yes, &question)? {
        return Ok(code);
    }
    let change = match key {
        Some(key) => NoteChange::Remove { store, key },
        None => NoteChange::RemoveStore(store),
    };
    let name = notes.change_notes(change).await?;
    say(&format!("Removed: {}", shown(&name)));
    Ok(exit::OK)
}

/// Why a file is not taken in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// The system says no; a link says so as well.
    #[error("cannot be read: {0}")]
    Io(#[from] rustix::io::Errno),
    /// A pipe, a device, a folder.
    #[error("is no regular file")]
    Kind,
    /// Another name of the file lies somewhere else.
    #[error("has more than one name (hard links)")]
    Linked,
    /// Too much.
    #[error("is larger than {MAX_VALUE_BYTES} bytes")]
    TooLarge,
    /// Its name says nothing that could be kept.
    #[error("is not called STORE/NOTE.md with names that can be kept: {0}")]
    Name(String),
}

/// Opens what lies in a folder, itself and nothing that a link names. Opening a pipe does not wait for its other end.
fn within(folder: &OwnedFd, name: &std::ffi::CStr, flags: OFlags) -> Result<OwnedFd, Refusal> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(openat(folder, name, flags, Mode::empty())?)
}

/// One file of an import, from one descriptor.
fn file(folder: &OwnedFd, name: &std::ffi::CStr) -> Result<Vec<u8>, Refusal> {
    let fd = within(folder, name, OFlags::empty())?;
    let stat = fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Refusal::Kind);
    }
    if stat.st_nlink != 1 {
        return Err(Refusal::Linked);
    }
    let limit = u64::try_from(MAX_VALUE_BYTES + BEYOND_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = std::fs::File::from(fd).take(limit).read_to_end(&mut bytes);
    read.map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO))?;
    if bytes.len() > MAX_VALUE_BYTES { Err(Refusal::TooLarge) } else { Ok(bytes) }
}

/// What lies in a folder, by name.
fn names_in(folder: &OwnedFd) -> anyhow::Result<Vec<std::ffi::CString>> {
    let mut out = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            out.push(name);
        }
    }
    out.sort();
    Ok(out)
}

fn store_name(name: &std::ffi::CStr) -> Result<String, Refusal> {
    let text = name.to_str().map_err(|_| Refusal::Name("not UTF-8".to_owned()))?;
    check_store(text).map_err(|e| Refusal::Name(format!("the store's name {e}")))?;
    Ok(text.to_owned())
}

fn key_name(name: &std::ffi::CStr) -> Result<String, Refusal> {
    let text = name.to_str().map_err(|_| Refusal::Name("not UTF-8".to_owned()))?;
    let key = text.strip_suffix(".md").ok_or_else(|| Refusal::Name("no .md at its end".to_owned()))?;
    names::check(key).map_err(|e| Refusal::Name(format!("the note's name {e}")))?;
    Ok(key.to_owned())
}

async fn import(notes: &UserStore, dir: &Path) -> anyhow::Result<u8> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = openat(CWD, dir, flags, Mode::empty())
        .with_context(|| format!("cannot open the folder {}", clean_line(&dir.to_string_lossy(), 300)))?;
    let (mut taken, mut left) = (0u64, 0u64);
    let refuse = |place: &str, why: &dyn std::fmt::Display| {
        complain(&format!("not taken in: {}: {why}", clean_line(place, 500)));
    };
    for folder in names_in(&base)? {
        let at = folder.to_string_lossy().into_owned();
        let opened =
            store_name(&folder).and_then(|name| Ok((name, within(&base, &folder, OFlags::DIRECTORY)?)));
        let (store, opened) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                refuse(&at, &e);
                left += 1;
                continue;
            }
        };
        for name in names_in(&opened)? {
            let place = format!("{at}/{}", name.to_string_lossy());
            let read = key_name(&name).and_then(|key| Ok((key, file(&opened, &name)?)));
            let (key, value) = match read {
                Ok(read) => read,
                Err(e) => {
                    refuse(&place, &e);
                    left += 1;
                    continue;
                }
            };
            let lossy = std::str::from_utf8(&value).is_err();
            let change = NoteChange::Set { store: store.clone(), key, value, replace: false };
            match notes.change_notes(change).await {
                Ok(_) => {
                    taken += 1;
                    if lossy {
                        complain(&format!(
                            "{}: not all of it is UTF-8; agents see marks in its place",
                            clean_line(&place, 500)
                        ));
                    }
                }
                Err(NoteError::Store(e)) => return Err(e.into()),
                Err(e) => {
                    refuse(&place, &clean_line(&e.to_string(), 500));
                    left += 1;
                }
            }
        }
    }
    say(&format!("Notes taken in: {taken}; not taken in: {left}"));
    Ok(if left == 0 { exit::OK } else { exit::FAILED })
}
