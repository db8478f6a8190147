//! What a line does, beyond the files it names: classes that the built-in rules are written on, the hosts it talks to,
//! what it clones and what it says to databases.
//!
//! Everything here adds to what is asked about or refused; nothing takes an opaque line's doubt away. The classes are
//! those of the rules in `policy/*.cedar`, one word each. Commands are looked at wherever the reader found them: behind
//! wrappers, in substitutions, in code that another shell is given.

mod network;
mod remove;
pub(crate) mod secrets;
mod sql;

pub(super) use remove::only_derived;

use super::programs::{Act, Role};
use super::{ShellFacts, Simple, UNKNOWN, git};

/// Everything the parts of this module see of a line.
pub(super) struct Line<'a> {
    pub text: &'a str,
    pub commands: &'a [Simple],
    pub acts: &'a [Act],
}

impl<'a> Line<'a> {
    /// The commands with their acts.
    fn each(&self) -> impl Iterator<Item = (usize, &'a Simple, &'a Act)> {
        self.commands.iter().zip(self.acts).enumerate().map(|(at, (c, a))| (at, c, a))
    }

    /// The commands whose output reaches a command's input.
    fn sources(&self, command: &Simple) -> Vec<(&'a Simple, &'a Act)> {
        let mut out = Vec::new();
        let mut next = command.piped_from;
        while let Some(at) = next.filter(|_| out.len() < 32) {
            let (Some(command), Some(act)) = (self.commands.get(at), self.acts.get(at)) else { break };
            out.push((command, act));
            next = command.piped_from;
        }
        out
    }

    /// Who runs a command.
    fn runner(&self, command: &Simple) -> Option<&'a Simple> {
        command.run_by.and_then(|at| self.commands.get(at))
    }
}

/// Adds to the facts of a line what its commands do.
pub(super) fn add(facts: &mut ShellFacts, acts: &[Act]) {
    let text = facts.line.clone();
    let commands = facts.commands.clone();
    let line = Line { text: &text, commands: &commands, acts };
    for (_, command, act) in line.each() {
        // One of several files, or one whose name is an option to whatever finds it.
        let odd = |w: &super::Word| {
            w.is_pattern() || w.text.rsplit('/').next().is_some_and(|n| n.starts_with('-') && n.len() > 1)
        };
        if command.writes.iter().any(odd) {
            facts.opaque = facts.opaque.or(Some("a redirection to a file that is not known"));
        }
        for effect in act.effects.iter().filter(|e| !matters_more(e)) {
            facts.effects.insert(effect);
        }
        plain(command, act, facts);
        installs(act, facts);
        kills(act, facts);
        containers(act, facts);
    }
    remove::add(&line, facts);
    network::add(&line, facts);
    secrets::add(&line, facts);
    sql::add(&line, facts);
    if facts.opaque.is_some() && bomb(&text) {
        facts.effects.insert("fork_bomb");
    }
}

/// Classes of the table that are decided here from more than one word.
fn matters_more(effect: &&&'static str) -> bool {
    matches!(
        **effect,
        "signal" | "dependency_install" | "package_publish" | "privilege_change" | "delete_found"
    )
}

fn plain(command: &Simple, act: &Act, facts: &mut ShellFacts) {
    let name = act.name.as_str();
    if act.effects.contains("package_publish") && !act.has(&["--dry-run"]) {
        facts.effects.insert("package_publish");
    }
    if act.effects.contains("privilege_change") {
        let owner = act.operands().next().map(|a| (a.text.clone(), a.unknown));
        let mild = name == "chown"
            && owner.is_some_and(|(text, unknown)| {
                !unknown && !text.starts_with("root") && !text.starts_with('0')
            });
        if !mild {
            facts.effects.insert("privilege_change");
        }
    }
    let made =
        ["install", "mkdir"].contains(&name) && act.values(&["-m", "--mode"]).any(|a| sets_id(&a.text));
    if made {
        facts.effects.insert("privilege_change");
    }
    if name == "chmod" && act.operands().next().is_some_and(|a| sets_id(&a.text)) {
        facts.effects.insert("privilege_change");
    }
    if name.starts_with("git ") || name == "git" {
        hooks(command, facts);
        if name == "git clone" {
            facts.git_clones.extend(act.operands().next().and_then(|a| git::cloned(&a.text)));
        }
    }
    if command.program() == "gh" {
        let words: Vec<&str> = command.args().filter(|w| !w.starts_with('-')).collect();
        if let ["repo", "clone", address, ..] = words.as_slice() {
            facts.git_clones.extend(git::cloned(address));
        }
    }
    // What is exported holds for every command behind it.
    let turns_off =
        |w: &str| ["HUSKY=0", "HUSKY_SKIP_HOOKS=1", "LEFTHOOK=0", "OVERCOMMIT_DISABLE=1"].contains(&w);
    if matches!(name, "export" | "declare" | "typeset") && command.args().any(turns_off) {
        facts.effects.insert("hook_bypass");
    }
    let written = command.writes.iter().map(|w| w.text.as_str());
    let named = act
        .args
        .iter()
        .filter(|a| matches!(a.role, Role::Write | Role::Into | Role::Take | Role::Any | Role::Make));
    for path in named.map(|a| a.text.as_str()).chain(written) {
        if internals(path) && !runs_git_itself(name) {
            facts.effects.insert("git_internals");
        }
        if later(path) {
            facts.effects.insert("persistence");
        }
    }
}

fn runs_git_itself(name: &str) -> bool {
    name.starts_with("git ") && name != "git rm" && name != "git mv"
}

/// Whether a mode sets the user or group that a program runs as.
fn sets_id(mode: &str) -> bool {
    let digits = mode.chars().all(|c| c.is_ascii_digit());
    let special = mode.chars().rev().nth(3).is_some_and(|c| matches!(c, '2' | '4' | '6' | '7' | '3' | '5'));
    if digits { special } else { mode.contains("+s") || mode.contains("=s") }
}

/// Variables in front of git that switch a project's checks off.
fn hooks(command: &Simple, facts: &mut ShellFacts) {
    let off = |name: &str, value: &str| match name {
        "HUSKY" | "LEFTHOOK" => value == "0" || value == "false",
        "HUSKY_SKIP_HOOKS" | "OVERCOMMIT_DISABLE" | "PRE_COMMIT_ALLOW_NO_CONFIG" => value != "0",
        "SKIP" | "LEFTHOOK_EXCLUDE" => true,
        "GIT_CONFIG_VALUE_0" | "GIT_CONFIG_PARAMETERS" | "GIT_CONFIG_KEY_0" => {
            value.to_lowercase().contains("hookspath")
        }
        _ => false,
    };
    if command.sets.iter().any(|(name, value)| off(name, &value.text)) {
        facts.effects.insert("hook_bypass");
    }
}

/// git's own folder as a whole; what lies in it is met by the rules about paths.
fn internals(path: &str) -> bool {
    let path = path.trim_end_matches('/').trim_end_matches("/*");
    path == ".git" || path.ends_with("/.git")
}

/// Files that make a machine run something later, or let somebody in.
pub(crate) fn later(path: &str) -> bool {
    const NAMES: &[&str] = &[
        ".bashrc",
        ".bash_profile",
        ".profile",
        ".zshrc",
        ".zprofile",
        ".zshenv",
        ".bash_login",
        ".bash_logout",
        "authorized_keys",
        ".xprofile",
        ".xinitrc",
        "rc.local",
        "crontab",
        ".login",
        "config.fish",
    ];
    const PLACES: &[&str] = &[
        "/etc/cron",
        "/var/spool/cron",
        "/etc/systemd/",
        "/.config/systemd/",
        "/LaunchAgents/",
        "/LaunchDaemons/",
        "/etc/init.d/",
        "/etc/profile.d/",
        "/.config/autostart/",
        "/lib/systemd/system/",
        "/etc/rc",
        "/etc/sudoers",
        "/etc/passwd",
        "/etc/ld.so.preload",
    ];
    let name = path.rsplit('/').next().unwrap_or(path);
    let home = path.starts_with('~') || path.starts_with('/') || path.starts_with("$HOME");
    (home && NAMES.contains(&name)) || PLACES.iter().any(|p| path.contains(p))
}

/// Packages that are named and new, not those that a project already lists.
fn installs(act: &Act, facts: &mut ShellFacts) {
    let name = act.name.trim_start_matches("python-m ");
    let by_name = [
        "npm install",
        "npm i",
        "npm add",
        "npm in",
        "pnpm install",
        "pnpm i",
        "pnpm add",
        "yarn add",
        "bun add",
        "bun install",
        "bun i",
        "pip install",
        "pip3 install",
        "uv pip install",
        "pip download",
        "npm link",
        "pnpm link",
    ];
    let local = |t: &str| {
        t.starts_with('.')
            || t.starts_with('/')
            || t.ends_with(".whl")
            || t.ends_with(".tgz")
            || t.ends_with(".tar.gz")
    };
    let named = act.operands().any(|a| !local(&a.text));
    // Newer versions of what a project lists are as new as a package that it did not list.
    let renews = [
        "npm update",
        "npm up",
        "npm upgrade",
        "pnpm update",
        "pnpm up",
        "yarn upgrade",
        "yarn up",
        "bun update",
    ]
    .contains(&name)
        && !act.has(&["--dry-run"]);
    if renews || act.effects.contains("dependency_install") || (by_name.contains(&name) && named) {
        facts.effects.insert("dependency_install");
    }
}

/// Killing by name, by something that is not known, or everything.
fn kills(act: &Act, facts: &mut ShellFacts) {
    if !act.effects.contains("signal") {
        return;
    }
    let kill = |t: &str| {
        matches!(t.trim_start_matches('-').trim_start_matches("SIG"), "9" | "KILL" | "kill" | "STOP" | "19")
    };
    let named = act.has(&["-s", "-n", "--signal"]) && act.operands().next().is_some_and(|a| kill(&a.text));
    let hard = named
        || act.flags.iter().any(|f| kill(f))
        || act.args.iter().any(|a| a.text.starts_with("--signal=") && a.text.contains("KILL"));
    let wide = match act.name.as_str() {
        "killall" => !act.has(&["-l", "--list", "-0"]),
        "pkill" => hard || act.operands().any(|a| matches!(a.text.as_str(), "." | ".*" | "" | "*")),
        _ => {
            let everything = act.has(&["-1"]) && (act.flags.len() > 1 || act.operands().next().is_none());
            let behind = act.operands().any(|a| a.text == "-1" || a.text == "1");
            everything || behind || (hard && act.operands().any(|a| a.unknown))
        }
    };
    if wide {
        facts.effects.insert("process_kill");
    }
}

/// Parts of the machine that a container is given.
fn containers(act: &Act, facts: &mut ShellFacts) {
    let docker = ["docker", "podman", "nerdctl", "docker-compose"]
        .contains(&act.name.split(' ').next().unwrap_or_default());
    let given = |t: &str| {
        let host = t.split(':').next().unwrap_or_default();
        let host = if host.len() > 1 { host.trim_end_matches('/') } else { host };
        t.contains("docker.sock") || remove::system(host) || host == "~" || host == "/"
    };
    let mounts = |t: &str| {
        t.split(',')
            .any(|p| p.split_once('=').is_some_and(|(k, v)| matches!(k, "source" | "src") && given(v)))
    };
    let volumes = act.values(&["-v", "--volume"]).any(|a| given(&a.text));
    if docker && (volumes || act.values(&["--mount"]).any(|a| mounts(&a.text))) {
        facts.effects.insert("container_privilege");
    }
}

/// A function that calls itself twice over: it fills the machine.
fn bomb(line: &str) -> bool {
    let line: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    line.match_indices("(){").take(8).any(|(at, open)| {
        let head = line.get(..at).unwrap_or_default();
        let name = head.rsplit([';', '&', '|', '\'', '"', '(', '{']).next().unwrap_or_default();
        let name = name.strip_prefix("function").unwrap_or(name);
        let body = line.get(at + open.len()..).unwrap_or_default();
        !name.is_empty()
            && (body.contains(&format!("{name}|{name}")) || body.starts_with(&format!("{name}&{name}")))
    })
}

/// Whether a text is nothing but something unknown, or that and what stands for all below it.
fn bare_unknown(text: &str) -> bool {
    let rest = text.trim_end_matches(['*', '/', '.']);
    rest == super::TOP || text.contains(UNKNOWN) && rest.chars().all(|c| c == UNKNOWN || c == '/')
}
