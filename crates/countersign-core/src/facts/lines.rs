//! The paths that a shell line names, in every folder that it may have changed to before.
//!
//! What a word of a command is to its program is said by `shell::programs`; here it becomes a path that is read, written
//! or taken away. Where nothing is known of a command, every part of its words counts as written.

use super::Facts;
use super::paths::{self, Access, Bases, PathUse};
use super::shell::programs::{self, Act, Arg, Role};
use super::shell::{self, ShellFacts, Simple};
use std::collections::BTreeSet;

/// Programs that take away or change a whole tree, for commands that are not understood.
const TAKERS: &[&str] =
    &["rm", "rmdir", "mv", "chmod", "chown", "chgrp", "shred", "unlink", "truncate", "ln"];
/// Most folders a line may change to.
const MAX_FOLDERS: usize = 6;

/// How a path of a command is used.
#[derive(Clone, Copy)]
pub(super) struct Use {
    pub access: Access,
    pub takes: bool,
    pub live: bool,
}

impl Facts {
    /// Names every path of the line's commands, in every folder the line may have changed to before, and adds the effects
    /// that only absolute paths tell.
    pub(super) fn read_shell(
        &mut self,
        shell: &ShellFacts,
        bases: Bases<'_>,
        effects: &mut BTreeSet<&'static str>,
    ) -> Result<(), &'static str> {
        let mut folders = vec![bases.cwd.to_owned()];
        for (place, command) in shell.commands.iter().enumerate() {
            let act = programs::act(command);
            // What a wrapper runs is judged by itself.
            let wraps = shell.commands.iter().any(|c| c.run_by == Some(place));
            let scripted = matches!(act.name.as_str(), "awk" | "gawk" | "mawk" | "nawk");
            if act.unread.is_none() || act.unknown_reads || scripted || (wraps && act.name == "find") {
                let inside = moved(&act, &folders, bases);
                let found = act.name == "find" && feeds(shell, place);
                let deep = found || act.has(&["-r", "-R", "-a", "--recursive", "--archive"]);
                for arg in &act.args {
                    self.argument(arg, (deep, found), &inside, bases);
                }
                self.copied(&act, &inside, bases);
                if broad(&act, &inside, bases) {
                    effects.insert("destroy_system");
                }
                self.reaches(&act, &inside, bases, effects);
            } else {
                let access = if wraps { Access::Read } else { Access::Write };
                let takes = TAKERS.contains(&command.program());
                for word in command.words.iter().skip(1) {
                    for value in values(&word.text) {
                        self.name(&folders, bases, value, Use { access, takes, live: word.is_pattern() });
                    }
                }
            }
            for path in &command.reads {
                let how = Use { access: Access::Read, takes: false, live: path.is_pattern() };
                self.name(&folders, bases, &path.text, how);
            }
            for path in &command.writes {
                let how = Use { access: Access::Write, takes: false, live: path.is_pattern() };
                self.name(&folders, bases, &path.text, how);
                self.written(&folders, bases, &path.text);
            }
            if matches!(command.program(), "cd" | "pushd") {
                change_folder(command, &mut folders, bases)?;
            } else if command.program() == "popd" && folders.len() < 2 {
                return Err("a change to a folder that is not known");
            }
        }
        for path in &self.writes {
            const SYSTEM: &[&str] = &[
                "/etc/",
                "/usr/",
                "/bin/",
                "/sbin/",
                "/lib/",
                "/lib64/",
                "/boot/",
                "/var/lib/",
                "/System/",
                "/Library/",
            ];
            if shell::later(path) {
                effects.insert("persistence");
            } else if SYSTEM.iter().any(|s| path.starts_with(s)) {
                effects.insert("system_write");
            }
        }
        Ok(())
    }

    /// Names what a word of an understood command means to its program.
    fn argument(&mut self, arg: &Arg, (deep, found): (bool, bool), folders: &[String], bases: Bases<'_>) {
        let live = arg.is_pattern();
        let read = Use { access: Access::Read, takes: false, live };
        let write = Use { access: Access::Write, takes: false, live };
        let text = arg.text.as_str();
        match arg.role {
            // What a search looks for is what somebody opens, when its findings are handed on.
            Role::Text
                if found
                    && matches!(arg.option.as_deref(), Some("-name" | "-iname" | "-path" | "-wholename")) =>
            {
                let live = text.contains(['*', '?', '[']);
                self.name(folders, bases, text, Use { live, ..read });
                // Here a star stands for a leading dot as well.
                if let Some(rest) = text.strip_prefix('*') {
                    self.name(folders, bases, rest, Use { live: rest.contains(['*', '?', '[']), ..read });
                }
            }
            Role::Text | Role::Url | Role::Sql | Role::Into | Role::Code => {}
            // `HEAD:x` names `x` to git.
            Role::Read if text.starts_with('-') || text.contains([':', '=']) => {
                values(text).into_iter().for_each(|value| self.name(folders, bases, value, read));
            }
            // `-o=x` means `=x` to some programs and `x` to others.
            Role::Read | Role::Write | Role::Sent if arg.option.is_some() && text.starts_with('=') => {
                let rest = text.trim_start_matches('=');
                [text, rest].into_iter().for_each(|t| self.name(folders, bases, t, write));
            }
            // Who reads a whole tree reads what is closed below it.
            Role::Read | Role::Look if deep => self.name(folders, bases, text, Use { takes: true, ..read }),
            Role::Read | Role::Look | Role::Folder | Role::Sent | Role::Host => {
                self.name(folders, bases, text, read)
            }
            Role::Tree => self.name(folders, bases, text, Use { takes: true, ..read }),
            Role::Write => {
                self.name(folders, bases, text, write);
                if !live {
                    self.written(folders, bases, text);
                }
            }
            Role::Take => {
                self.name(folders, bases, text, Use { takes: true, ..write });
                if !live {
                    self.written(folders, bases, text);
                }
            }
            Role::Make => self.name(folders, bases, text, write),
            Role::Any | Role::Git => {
                let takes = arg.role == Role::Git && !matches!(text, "." | "./");
                values(text)
                    .into_iter()
                    .for_each(|value| self.name(folders, bases, value, Use { takes, ..write }));
            }
        }
    }

    /// `cp a/b c` also writes `c/b`, and whatever lies below it; a tree copied to a name that is new becomes that name.
    fn copied(&mut self, act: &Act, folders: &[String], bases: Bases<'_>) {
        let Some(target) = act.args.iter().find(|a| a.role == Role::Into) else { return };
        let recursive = act.has(&["-r", "-R", "-a", "--recursive", "--archive"]);
        let live = target.is_pattern();
        let target = target.text.as_str();
        self.name(folders, bases, target, Use { access: Access::Write, takes: false, live });
        if !live {
            self.written(folders, bases, target);
        }
        let mut takes = |path: &str| {
            let live = path.contains(['*', '?', '[']);
            self.name(folders, bases, path, Use { access: Access::Write, takes: true, live });
        };
        for source in act.operands().filter(|a| a.role != Role::Into) {
            match source.text.trim_end_matches('/').rsplit('/').next().unwrap_or_default() {
                "" | "." | ".." => takes(target),
                name => takes(&format!("{target}/{name}")),
            }
        }
        let there = matches!(target.rsplit('/').next(), Some("" | "." | ".."));
        if recursive && !there {
            takes(target);
        }
    }

    fn written(&mut self, folders: &[String], bases: Bases<'_>, path: &str) {
        self.writes.extend(folders.iter().map(|cwd| paths::absolute(path, Bases { cwd, ..bases }).0));
    }

    /// What absolute paths say of a line: what it removes outside the folder it works in, and where it writes.
    fn reaches(&self, act: &Act, folders: &[String], bases: Bases<'_>, effects: &mut BTreeSet<&'static str>) {
        let deep = act.has(&["-r", "-R", "--recursive"]) || act.name == "rimraf";
        let own = [bases.cwd, "/tmp", "/var/tmp", "/dev/shm", "/private/tmp"];
        let inside = |path: &str| own.iter().any(|o| path.starts_with(&format!("{o}/")));
        for arg in act.operands().filter(|a| a.role == Role::Take && !a.unknown) {
            let paths = folders.iter().map(|cwd| paths::absolute(&arg.text, Bases { cwd, ..bases }).0);
            if matches!(act.name.as_str(), "rm" | "shred" | "rimraf")
                && (deep || arg.is_pattern())
                && paths.into_iter().any(|p| !inside(&p))
            {
                effects.insert("delete_outside");
            }
        }
    }

    pub(super) fn name(&mut self, folders: &[String], bases: Bases<'_>, word: &str, how: Use) {
        // The name of a process substitution, which the reader gave it.
        let pipe = word.strip_prefix("/dev/fd/").is_some_and(|n| n.len() == 2 && n.starts_with(['5', '6']));
        if word.is_empty() || word.len() > 4_096 || pipe {
            return;
        }
        for cwd in folders {
            let (path, spelled) = paths::absolute(word, Bases { cwd, ..bases });
            self.paths.push(PathUse {
                place: "command".to_owned(),
                path,
                spelled,
                pattern: how.live,
                access: how.access,
                takes_tree: how.takes,
            });
        }
    }
}

/// Every part of a word that may be a path: the word, what stands behind a separator, and whatever may be attached to a
/// cluster of short options.
fn values(word: &str) -> Vec<&str> {
    let mut out = Vec::new();
    if !word.starts_with('-') {
        out.push(word);
    } else if !word.starts_with("--") {
        out.extend((2..16).filter_map(|at| word.get(at..)).filter(|rest| !rest.is_empty()));
    }
    for (at, _) in word.match_indices(['=', '@', ':', '<', ',', ';']) {
        out.extend(word.get(at + 1..).filter(|rest| !rest.is_empty()));
    }
    out
}

/// The folders a command works in: `-C` and its kin change them for one command.
fn moved(act: &Act, folders: &[String], bases: Bases<'_>) -> Vec<String> {
    let mut out = folders.to_vec();
    for arg in act.args.iter().filter(|a| a.role == Role::Folder && a.option.is_some() && !a.unknown) {
        let inside = |cwd: &String| paths::absolute(&arg.text, Bases { cwd, ..bases }).1;
        let more: Vec<String> = folders.iter().map(inside).filter(|f| !out.contains(f)).collect();
        out.extend(more);
    }
    out.truncate(MAX_FOLDERS);
    out
}

/// Whether what a search finds is handed to another program.
fn feeds(shell: &ShellFacts, place: usize) -> bool {
    let runs_xargs = |at: usize| shell.commands.get(at).is_some_and(|c| c.program() == "xargs");
    shell.commands.iter().any(|c| {
        c.run_by == Some(place)
            || (c.piped_from.is_some() && (c.program() == "xargs" || c.run_by.is_some_and(runs_xargs)))
    })
}

/// Whether a command removes, with all below it, the folder that the call works in, the home, or what holds them.
fn broad(act: &Act, folders: &[String], bases: Bases<'_>) -> bool {
    let deep = act.has(&["-r", "-R", "--recursive"]) || matches!(act.name.as_str(), "mv" | "rimraf");
    if !deep || !matches!(act.name.as_str(), "rm" | "mv" | "rimraf") {
        return false;
    }
    let keeps = |path: &str| {
        let own = [Some(bases.cwd), bases.home].into_iter().flatten().map(|p| paths::absolute(p, bases).0);
        own.into_iter().any(|own| path == "/" || own == path || own.starts_with(&format!("{path}/")))
    };
    act.operands()
        .filter(|a| a.role == Role::Take && !a.is_pattern() && !a.unknown)
        .any(|a| folders.iter().any(|cwd| keeps(&paths::absolute(&a.text, Bases { cwd, ..bases }).0)))
}

/// Follows `cd`: every folder the line may be in from here on.
fn change_folder(command: &Simple, folders: &mut Vec<String>, bases: Bases<'_>) -> Result<(), &'static str> {
    let options = ["--", "-P", "-L", "-e", "-@"];
    if command.words.iter().any(|w| w.text == shell::TOP) {
        // Any folder above may be the repository's, up to the home.
        for from in folders.clone() {
            let mut at = from.as_str();
            while let Some((above, _)) = at.rsplit_once('/').filter(|_| Some(at) != bases.home) {
                let above = if above.is_empty() { "/" } else { above };
                if !folders.iter().any(|f| f == above) {
                    folders.push(above.to_owned());
                }
                at = above.trim_end_matches('/');
            }
        }
        return if folders.len() > MAX_FOLDERS {
            Err("more changes of folder than are followed")
        } else {
            Ok(())
        };
    }
    let target = match command.words.iter().skip(1).find(|w| !options.contains(&w.text.as_str())) {
        None => bases.home.ok_or("a change to a home that is not known")?,
        // Back to where this line was before: that folder is among those that are followed.
        Some(word) if word.text == "-" && folders.len() > 1 => return Ok(()),
        Some(word) if word.is_pattern() || word.unknown || word.text.starts_with(['-', '+']) => {
            return Err("a change to a folder that is not known");
        }
        Some(word) => word.text.as_str(),
    };
    let next: Vec<String> =
        folders.iter().map(|cwd| paths::absolute(target, Bases { cwd, ..bases }).1).collect();
    for folder in next {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    if folders.len() > MAX_FOLDERS { Err("more changes of folder than are followed") } else { Ok(()) }
}
