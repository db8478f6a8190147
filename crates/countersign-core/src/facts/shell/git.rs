//! git: where its sub-command stands, what it pushes, and which of its commands can run others.

use super::Simple;
use super::programs::{self, Act, Arg, Role};
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
                odd |= !["--git-dir=", "--work-tree=", "--namespace=", "--no-replace", "--icase"]
                    .iter()
                    .any(|k| option.starts_with(k));
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

/// Settings that may be given on the line or written down: they change how things look, and nothing that runs.
const SETTINGS: &[&str] = &[
    "user.name",
    "user.email",
    "user.usestconfigonly",
    "core.autocrlf",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.quotepath",
    "core.longpaths",
    "core.safecrlf",
    "core.abbrev",
    "core.symlinks",
    "pull.rebase",
    "pull.ff",
    "push.default",
    "push.autosetupremote",
    "push.followtags",
    "init.defaultbranch",
    "merge.conflictstyle",
    "merge.ff",
    "fetch.prune",
    "fetch.prunetags",
    "rerere.enabled",
    "rebase.autostash",
    "rebase.autosquash",
    "diff.algorithm",
    "diff.renames",
    "diff.renamelimit",
    "diff.colormoved",
    "diff.noprefix",
    "diff.mnemonicprefix",
    "log.date",
    "log.decorate",
    "log.showsignature",
    "color.ui",
    "color.diff",
    "color.status",
    "color.branch",
    "commit.verbose",
    "commit.gpgsign",
    "tag.gpgsign",
    "tag.sort",
    "branch.sort",
    "branch.autosetuprebase",
    "column.ui",
    "help.autocorrect",
    "status.showuntrackedfiles",
    "advice.detachedhead",
    "submodule.recurse",
    "http.postbuffer",
    "gc.auto",
    "feature.manyfiles",
    "blame.date",
    "apply.whitespace",
    "format.pretty",
    "rebase.updaterefs",
    "rebase.stat",
    "merge.stat",
    "diff.context",
    "diff.interhunkcontext",
    "diff.wserrorhighlight",
    "diff.submodule",
    "diff.relative",
    "diff.colormovedws",
    "log.abbrevcommit",
    "log.follow",
    "log.mailmap",
    "grep.linenumber",
    "grep.column",
    "grep.extendedregexp",
    "grep.patterntype",
    "stash.showpatch",
    "status.short",
    "status.branch",
    "status.submodulesummary",
    "pull.twohead",
    "push.gpgsign",
    "commit.cleanup",
    "commit.status",
    "fetch.parallel",
    "fetch.output",
    "fetch.recursesubmodules",
    "push.recursesubmodules",
    "merge.renames",
    "merge.log",
    "merge.branchdesc",
    "rerere.autoupdate",
    "core.whitespace",
    "core.precomposeunicode",
    "core.untrackedcache",
    "core.checkstat",
    "core.trustctime",
    "core.logallrefupdates",
    "core.warnambiguousrefs",
    "branch.autosetupmerge",
    "worktree.guessremote",
    "checkout.guess",
    "checkout.defaultremote",
    "index.version",
    "index.threads",
    "pack.threads",
    "protocol.version",
    "versionsort.suffix",
    "i18n.commitencoding",
    "i18n.logoutputencoding",
    "format.signoff",
    "format.numbered",
    "format.coverletter",
    "format.thread",
    "format.subjectprefix",
    "blame.coloring",
    "blame.showemail",
    "blame.markignoredlines",
    "blame.markunblamablelines",
    "submodule.fetchjobs",
    "gui.encoding",
    "http.lowspeedlimit",
    "http.lowspeedtime",
    "core.fileMode",
    "core.commentchar",
    "core.compression",
    "pack.windowmemory",
    "core.preloadindex",
    "safe.bareRepository",
];

/// Whether setting a key changes no more than how git shows and joins things.
fn harmless(key: &str) -> bool {
    let key = key.to_lowercase();
    // A trailer's command would run; its other keys say where and how it is written.
    let trailer = key.starts_with("trailer.")
        && [".key", ".where", ".ifexists", ".ifmissing", ".separators"].iter().any(|end| key.ends_with(end));
    SETTINGS.contains(&key.as_str()) || key.starts_with("advice.") || key.starts_with("color.") || trailer
}

const WHY: &str = "a git command that can run others, or is not known";

/// A git command as git understands it.
pub(super) fn act(command: &Simple) -> Act {
    // Settings on the line that only change how things look are taken off first.
    let mut plain = Simple { words: command.words.clone(), ..command.clone() };
    let mut hooks = false;
    let mut at = 1;
    while let Some(word) = plain.words.get(at) {
        let setting = |text: &str| text.split_once('=').map(|(k, v)| (k.to_lowercase(), v.to_owned()));
        match word.text.as_str() {
            "-c" => {
                let pair = plain.words.get(at + 1).and_then(|w| setting(&w.text));
                hooks |= pair.as_ref().is_some_and(|(key, _)| key == "core.hookspath");
                let quiet = |(key, value): &(String, String)| {
                    harmless(key)
                        || (matches!(key.as_str(), "core.pager" | "core.editor")
                            && ["cat", "true", ":", ""].contains(&value.as_str()))
                };
                if !pair.as_ref().is_some_and(quiet) {
                    break;
                }
                plain.words.drain(at..at + 2);
            }
            "-C" | "--git-dir" | "--work-tree" | "--namespace" => at += 2,
            option if option.starts_with('-') => at += 1,
            _ => break,
        }
    }
    let mut act = programs::table_act("git", plain.words.get(1..).unwrap_or_default());
    if hooks {
        act.effects.insert("hook_bypass");
    }
    let Some(git) = parts(&plain) else { return act };
    if git.odd {
        act.doubt(WHY);
    }
    let words: Vec<String> = act.operands().map(|a| a.text.clone()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // `ext::` and its kin are commands in the place of an address.
    if git.rest.iter().any(|w| w.contains("::")) {
        act.doubt(WHY);
    }
    let magic =
        act.operands().any(|a| a.text.starts_with(':') || (!a.live && a.text.contains(['*', '?', '['])));
    let whole = words.iter().any(|w| matches!(*w, "." | "./" | ".." | "*" | ":/" | ":"));
    if let ("clone", [address]) = (git.sub, words.as_slice()) {
        // The folder it makes is named like the repository.
        let name = address.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
        let text = name.strip_suffix(".git").unwrap_or(name).to_owned();
        let option = Some("clone".to_owned());
        act.args.push(Arg { text, live: false, unknown: false, role: Role::Git, option });
    }
    match git.sub {
        "push" if plain.words.iter().any(|w| w.live || w.unknown) => act.doubt(WHY),
        "checkout" | "restore" | "stash" | "rm" | "mv" if magic && !whole => act.doubt(WHY),
        "config" => config(&mut act, &words),
        // What is ignored is ignored for a reason.
        "add" | "stage" if act.has(&["-f", "--force"]) && (whole || act.has(&["-A", "--all"])) => {
            act.doubt(WHY)
        }
        // What a remote's own HEAD is, is remembered; HEAD itself would change the branch.
        "symbolic-ref" if act.has(&["-d", "--delete"]) => act.doubt(WHY),
        "symbolic-ref" if words.len() > 1 => {
            let remote = |t: &&str| t.starts_with("refs/remotes/") && !t.contains("..");
            if words.len() > 2 || !words.iter().all(remote) {
                act.doubt(WHY);
            }
        }
        "clean" => {
            let forced = act.has(&["-f", "--force"]) || act.has(&["-i"]);
            let shows = act.has(&["-n", "--dry-run"]);
            act.effects.remove("clean");
            if forced && !shows {
                act.effects.insert("git_discard");
            }
        }
        "gc" => {
            act.effects.remove("git_prune");
            if act.has(&["--prune"]) {
                act.effects.insert("git_history_rewrite");
            }
        }
        "push"
            if act.has(&["-d", "--delete", "--prune"])
                || words.iter().skip(1).any(|w| w.starts_with(':') || w.starts_with("+:")) =>
        {
            act.effects.insert("git_discard");
        }
        "branch" if act.has(&["-M", "-C"]) && words.len() > 1 => {
            act.effects.insert("git_discard");
        }
        "branch" if act.has(&["-d", "--delete"]) && act.has(&["-f", "--force"]) => {
            act.effects.insert("git_discard");
        }
        _ => {}
    }
    match git.sub {
        "checkout" | "restore" if whole => {
            // What is staged is taken back; what is in the folder stays.
            let index_only =
                git.sub == "restore" && act.has(&["--staged", "-S"]) && !act.has(&["--worktree", "-W"]);
            let from_elsewhere = words.len() > 1 || act.has(&["--source", "-s"]);
            if !index_only {
                act.effects.insert("git_discard");
                if from_elsewhere {
                    act.doubt(WHY);
                }
            }
        }
        // Scripts that are run for each commit, and a list that an editor may write anything into.
        "rebase" if act.has(&["-x", "--exec", "--edit-todo"]) => act.doubt(WHY),
        // Commits are joined, reordered and dropped; the list is what git writes, or what an editor of the user's makes.
        "rebase" if act.has(&["-i", "--interactive"]) => {
            act.effects.insert("git_history_rewrite");
        }
        "worktree" if act.has(&["-B"]) => {
            act.effects.insert("git_discard");
        }
        "rm" | "clean" | "mv" if whole && git.sub != "clean" => {
            act.effects.insert("git_discard");
        }
        "update-ref" if !act.has(&["-d", "--delete"]) => act.doubt(WHY),
        "update-index" if act.has(&["--add"]) => {}
        "am" | "apply"
            if !act.has(&[
                "--check",
                "--stat",
                "--numstat",
                "--summary",
                "--abort",
                "--skip",
                "--continue",
            ]) =>
        {
            act.doubt("a patch that is not read")
        }
        "am" | "apply" => {
            act.unread = None;
            act.args.iter_mut().for_each(|a| a.role = Role::Read);
        }
        _ => {}
    }
    act
}

/// `git config`: reading is free, and writing for keys that run nothing.
fn config(act: &mut Act, words: &[&str]) {
    let (verb, words) = match words {
        ["list" | "get" | "get-all", ..] => return,
        ["set" | "unset", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let gets =
        act.has(&["--get", "--get-all", "--get-regexp", "--list", "-l", "--get-urlmatch", "--get-color"]);
    let unsets = act.has(&["--unset", "--unset-all"]);
    let keys: Vec<String> = act
        .values(&["--unset", "--unset-all"])
        .map(|a| a.text.clone())
        .chain(words.first().map(|w| (*w).to_owned()))
        .collect();
    let writes = verb || unsets || (words.len() > 1 && !gets);
    if gets || !writes {
        return;
    }
    if keys.iter().any(|k| k.to_lowercase() == "core.hookspath") {
        act.effects.insert("hook_bypass");
    }
    if !keys.iter().all(|k| harmless(k)) {
        act.doubt(WHY);
    }
}

/// The repository a clone takes, as `owner/name` in lower case, whatever form its address has.
pub(super) fn cloned(address: &str) -> Option<String> {
    let address = address.trim_end_matches('/').trim_end_matches(".git").trim_end_matches('/').to_lowercase();
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1.to_owned(),
        None => match address.split_once(':') {
            Some((host, path)) if !host.contains('/') => path.to_owned(),
            _ => address,
        },
    };
    let mut parts = path.rsplit('/').filter(|p| !p.is_empty());
    let (name, owner) = (parts.next()?, parts.next()?);
    let plain = |t: &str| t.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c));
    (plain(name) && plain(owner)).then(|| format!("{owner}/{name}"))
}
