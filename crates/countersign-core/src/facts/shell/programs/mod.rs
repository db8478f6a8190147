//! What is known of programs: a closed list, kept as a table (`table`) that is applied to a command's words (`apply`).
//!
//! A program that is not on it, or whose options can run others or decide by themselves what is written, makes its line
//! opaque: a person is asked, and nobody has to have thought of it. What a command does beyond naming files is told in
//! the `effects` beside this; what a project's own scripts and builds do is not read at all.

mod apply;
mod finish;
mod runner;
mod sed;
mod special;
mod table;

pub(crate) use apply::{Act, Arg};
pub(super) use runner::behind;
pub(crate) use table::Role;

use super::{Simple, git};

/// Whether a program only shows and compares what its words name.
pub(crate) fn only_reads(program: &str) -> bool {
    table::spec(program).is_some_and(|spec| spec.text)
}

/// A command as its program understands it.
pub(crate) fn act(command: &Simple) -> Act {
    let Some(first) = command.words.first() else { return Act::default() };
    let program = command.program();
    let words = command.words.get(1..).unwrap_or_default();
    if program == "countersign" {
        // Its verbs are told apart by a fact of their own.
        return special::own(program, words);
    }
    // A name means the system's program only where the system keeps programs.
    let folder = first.text.strip_suffix(program).unwrap_or_default();
    let system = ["", "/bin/", "/usr/bin/", "/usr/local/bin/", "/opt/homebrew/bin/", "/sbin/", "/usr/sbin/"]
        .contains(&folder);
    let tools = [
        "node_modules/.bin/",
        "./node_modules/.bin/",
        ".venv/bin/",
        "./.venv/bin/",
        "venv/bin/",
        "./venv/bin/",
        "vendor/bin/",
        "./vendor/bin/",
        "bin/",
        "./bin/",
    ];
    let mut act = if program == "git" && system {
        git::act(command)
    } else if system
        || (tools.contains(&folder) && table::has(program))
        || matches!(first.text.as_str(), "./gradlew" | "./mvnw")
    {
        special::act(program, command)
    } else {
        let mut act = special::own(program, words);
        // A file of the project's own is run like any script.
        if !first.text.contains('/') || first.text.starts_with('/') || first.text.starts_with('~') {
            act.unread = Some("a program that is not known");
        }
        act
    };
    if first.live || first.unknown {
        act.unread = act.unread.or(Some("a program named by a pattern"));
    }
    let runs = |word: &str| {
        let family = if word.starts_with("python") { special::family(word) } else { word.to_owned() };
        ["sh", "bash", "zsh", "git", "sudo", "env", "xargs", "countersign", "python", "node", "perl", "ruby"]
            .contains(&family.as_str())
    };
    let hands = |a: &Arg| {
        a.role == Role::Any
            && a.option.is_none()
            && (runs(&a.text)
                || runs(
                    a.text.strip_prefix("/bin/").or(a.text.strip_prefix("/usr/bin/")).unwrap_or_default(),
                ))
    };
    if !only_reads(program)
        && !["git", "chmod", "ln", "countersign"].contains(&program)
        && act.args.iter().any(hands)
    {
        act.unread = act.unread.or(Some("another program among its words"));
    }
    apply::settle(&mut act);
    act
}

/// What the table alone says of a program's words.
pub(super) fn table_act(program: &str, words: &[super::Word]) -> Act {
    apply::apply(program, words)
}
