//! git: where its sub-command stands, what it pushes, and which of its commands can run others.

use super::{Simple, programs};
use std::collections::BTreeSet;

/// A git command taken apart.
pub(super) struct Git<'a> {
    /// The sub-command.
    pub sub: &'a str,
    /// Its options.
    pub flags: Vec<&'a str>,
    /// Its other words.
    pub rest: Vec<&'a str>,
    /// Global options that are not on the list: one of them may take the next word.
    pub odd: bool,
}

/// Takes a git command apart; `None` for other programs and for git without a sub-command.
pub(super) fn parts(command: &Simple) -> Option<Git<'_>> {
    if command.program() != "git" {
        return None;
    }
    let mut words = command.args();
    let mut odd = false;
    let sub = loop {
        match words.next()? {
            "-C" | "--git-dir" | "--work-tree" | "--namespace" => {
                words.next()?;
            }
            "--no-pager"
            | "-P"
            | "-p"
            | "--paginate"
            | "--bare"
            | "--no-optional-locks"
            | "--literal-pathspecs"
            | "--version"
            | "--help" => {}
            "-c" | "--config-env" | "--exec-path" => {
                odd = true;
                words.next()?;
            }
            option if option.starts_with('-') => {
                odd |= !["--git-dir=", "--work-tree=", "--namespace="].iter().any(|k| option.starts_with(k));
            }
            sub => break sub,
        }
    };
    let mut git = Git { sub, flags: Vec::new(), rest: Vec::new(), odd };
    let mut ended = false;
    for word in words {
        match word {
            "--" => ended = true,
            flag if flag.starts_with('-') && !ended => git.flags.push(flag),
            other => git.rest.push(other),
        }
    }
    Some(git)
}

/// Whether a push forces, and which branches it names. git takes unambiguous beginnings of long options.
pub(super) fn push(git: &Git<'_>) -> (bool, BTreeSet<String>) {
    let beginning = |flag: &str, whole: &str| flag.len() >= 3 && whole.starts_with(flag);
    let short_force = |f: &str| f.starts_with('-') && !f.starts_with("--") && f.contains('f');
    let mut forced = false;
    let mut refs = BTreeSet::new();
    for flag in &git.flags {
        forced |= beginning(flag, "--force") || beginning(flag, "--mirror") || short_force(flag);
        if beginning(flag, "--all") || beginning(flag, "--mirror") || beginning(flag, "--branches") {
            refs.insert("*".to_owned());
        }
    }
    for r in git.rest.iter().skip(1) {
        forced |= r.starts_with('+');
        let target = r.trim_start_matches('+').rsplit(':').next().unwrap_or_default();
        let name = target.strip_prefix("refs/").unwrap_or(target);
        // `:` alone pushes every branch that both sides have.
        let name = name.strip_prefix("heads/").unwrap_or(name);
        refs.insert(if name.is_empty() { "*" } else { name }.to_owned());
    }
    (forced, refs)
}

/// Why a git command is not understood: an alias or a command that can run programs or decide what is written.
pub(super) fn unread(command: &Simple) -> Option<&'static str> {
    const KNOWN: &[&str] = &[
        "status",
        "log",
        "diff",
        "show",
        "add",
        "commit",
        "push",
        "pull",
        "fetch",
        "branch",
        "checkout",
        "switch",
        "restore",
        "stash",
        "merge",
        "tag",
        "remote",
        "rev-parse",
        "ls-files",
        "ls-tree",
        "cat-file",
        "blame",
        "describe",
        "shortlog",
        "reflog",
        "rm",
        "mv",
        "init",
        "clone",
        "cherry-pick",
        "revert",
        "reset",
        "clean",
        "worktree",
        "grep",
        "rev-list",
        "name-rev",
        "merge-base",
        "for-each-ref",
        "show-ref",
        "count-objects",
        "fsck",
        "gc",
        "version",
    ];
    const WHY: Option<&str> = Some("a git command that can run others, or is not known");
    let Some(git) = parts(command) else {
        return command
            .args()
            .any(|w| w != "--version" && w != "--help")
            .then_some("a git command that is not known");
    };
    if git.odd || !KNOWN.contains(&git.sub) {
        return WHY;
    }
    // What runs programs or names files, in full, shortened or attached, whatever the sub-command.
    const LONG: &[&str] = &[
        "--output",
        "--ext-diff",
        "--textconv",
        "--open-files-in-pager",
        "--exec",
        "--upload-pack",
        "--receive-pack",
        "--template",
        "--config",
        "--edit-description",
        "--strategy",
        "--strategy-option",
        "--gpg-sign",
        "--sign",
        "--signed",
        "--local-user",
        "--separate-git-dir",
        "--pathspec-from-file",
        "--reference",
        "--server-option",
        "--file",
        "--git-dir",
        "--work-tree",
        "--source",
        "--interactive",
        "--patch",
        "--edit",
        "--verify",
    ];
    let long =
        git.flags.iter().any(|f| programs::abbreviates(f, LONG) && !["--no-edit", "--no-verify"].contains(f));
    let cluster = |letters: &[char]| {
        git.flags.iter().any(|f| f.starts_with('-') && !f.starts_with("--") && f.contains(letters))
    };
    let magic = git.rest.iter().any(|w| w.starts_with(':') || w.contains(['*', '?', '[']));
    let whole = git.rest.iter().any(|w| matches!(*w, "." | "./" | ".."));
    let runs = match git.sub {
        "push" => command.words.iter().any(|w| w.live) || cluster(&['o']),
        "clone" => cluster(&['u', 'c', 'o']),
        "fetch" | "pull" | "merge" | "cherry-pick" | "revert" => cluster(&['s', 'S', 'X', 'o']),
        "commit" => cluster(&['S', 't', 'F']),
        "tag" => cluster(&['s', 'u', 'v', 'F']),
        "grep" | "diff" | "log" | "show" | "reflog" | "shortlog" | "rev-list" => cluster(&['O']),
        "remote" => !matches!(git.rest.as_slice(), [] | ["show" | "get-url", ..]),
        "worktree" => !matches!(git.rest.as_slice(), ["list" | "add", ..]),
        // These put a commit's files over what is there: only plain names of files can be judged.
        "checkout" | "restore" | "rm" | "mv" | "stash" => magic || (whole && git.rest.len() > 1),
        "reset" => git.flags.iter().any(|f| programs::abbreviates(f, &["--hard", "--merge", "--keep"])),
        "clean" => true,
        "gc" | "fsck" | "init" => !git.flags.iter().all(|f| matches!(*f, "-q" | "--quiet" | "--bare" | "-b")),
        _ => false,
    };
    let runs = runs || long;
    // `ext::` and its kin are commands in the place of an address.
    (runs || git.rest.iter().any(|w| w.contains("::")))
        .then_some("a git command that can run others, or is not known")
}
