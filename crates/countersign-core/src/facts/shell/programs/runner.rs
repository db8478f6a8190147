//! Programs that run another one in the environment of a project, as `npx`, `uv run` and `pnpm exec` do.
//!
//! What they run is a command of the line, which `wrappers` puts beside them and which is judged like any other. Here is
//! said where it begins, and whether it may have to be fetched first.

use super::super::{Simple, Word, meaning};
use super::apply::Act;
use super::special::{all, script};
use super::table::{self, Role};

/// A runner: its name, the sub-commands before the program, and its options with a value.
type Runner = (&'static str, &'static [&'static str], &'static [&'static str]);

const RUNNERS: &[Runner] = &[
    ("npx", &[], &["-p", "--package"]),
    ("bunx", &[], &["-p", "--package"]),
    ("pnpx", &[], &["--package"]),
    ("npm", &["exec"], &["-p", "--package"]),
    ("npm", &["x"], &["-p", "--package"]),
    ("pnpm", &["exec"], &[]),
    ("pnpm", &["dlx"], &["--package"]),
    ("yarn", &["exec"], &[]),
    ("yarn", &["run", "-T"], &[]),
    ("yarn", &["dlx"], &["-p", "--package"]),
    ("bun", &["x"], &["-p", "--package"]),
    ("lerna", &["exec"], &["--scope", "--ignore", "--since", "--concurrency"]),
    ("uv", &["run"], UV),
    ("uv", &["tool", "run"], &["--from", "--with", "-p", "--python"]),
    ("uvx", &[], &["--from", "--with", "-p", "--python"]),
    ("pipx", &["run"], &["--spec", "--python"]),
    ("poetry", &["run"], &[]),
    ("pdm", &["run"], &[]),
    ("pipenv", &["run"], &[]),
    ("hatch", &["run"], &[]),
    ("rye", &["run"], &[]),
    ("conda", &["run"], &["-n", "--name"]),
    ("mamba", &["run"], &["-n", "--name"]),
    ("micromamba", &["run"], &["-n", "--name"]),
    ("bundle", &["exec"], &[]),
    ("rbenv", &["exec"], &[]),
    ("pyenv", &["exec"], &[]),
    ("asdf", &["exec"], &[]),
    ("mise", &["exec"], &[]),
    ("mise", &["x"], &[]),
    ("rtx", &["exec"], &[]),
    ("volta", &["run"], &[]),
    ("dotenv", &[], &["-e"]),
    ("env-cmd", &[], &["-f", "--file"]),
    ("composer", &["exec"], &[]),
    ("winpty", &[], &[]),
    ("xvfb-run", &["-a"], &[]),
    ("xvfb-run", &[], &[]),
    ("cross-env", &[], &[]),
    ("shx", &[], &[]),
    ("ccache", &[], &[]),
    ("c8", &[], NYC),
    ("nyc", &[], NYC),
    ("sccache", &[], &[]),
    ("unbuffer", &[], &[]),
];

/// Options of coverage tools with a value of their own.
const NYC: &[&str] = &[
    "--exclude",
    "--include",
    "--reporter",
    "--lines",
    "--branches",
    "--functions",
    "--statements",
    "-r",
    "-x",
    "-n",
    "--temp-dir",
    "--report-dir",
    "--extension",
    "-e",
    "-o",
    "--src",
];
const UV: &[&str] = &[
    "--with",
    "--extra",
    "--group",
    "--python",
    "-p",
    "--package",
    "--no-group",
    "--only-group",
    "--no-extra",
    "--with-editable",
    "--with-requirements",
];
/// Options without a value, and without a meaning for what is run.
const PLAIN: &[&str] = &[
    "--",
    "-y",
    "--yes",
    "--no",
    "--no-install",
    "--quiet",
    "-q",
    "--silent",
    "--frozen",
    "--locked",
    "--no-sync",
    "--offline",
    "--dev",
    "--bun",
    "-s",
    "-T",
    "--top-level",
    "--no-bail",
    "--parallel",
    "--stream",
    "--isolated",
    "--all-extras",
    "--all-groups",
    "--no-dev",
    "--exact",
    "--active",
    "--prefer-offline",
    "--all-packages",
    "--no-project",
    "--verbose",
    "-v",
    "--no-progress",
    "--only-dev",
    "--no-capture-output",
    "--live-stream",
];
/// Options of package managers in front of their sub-command: without and with a value.
const AHEAD: &[&str] = &[
    "-r",
    "--recursive",
    "-w",
    "--workspace-root",
    "--silent",
    "-s",
    "--parallel",
    "--stream",
    "--sequential",
    "--quiet",
    "-q",
    "--offline",
    "--verbose",
    "--no-bail",
    "--workspaces",
    "-ws",
];
const AHEAD_VALUED: &[&str] = &["--filter", "-F", "--workspace"];
/// Those of them by which the command runs in folders of packages.
const ELSEWHERE: &[&str] = &[
    "-r",
    "--recursive",
    "-w",
    "--workspace-root",
    "--workspaces",
    "-ws",
    "--filter",
    "-F",
    "--workspace",
    "exec",
];
/// Programs that are tried out rather than installed by a project.
const ONE_OFF: &[&str] = &[
    "depcheck",
    "npm-check",
    "npm-check-updates",
    "ncu",
    "npkill",
    "kill-port",
    "license-checker",
    "cowsay",
    "degit",
    "gitignore",
    "are-the-types-wrong",
    "npm-name",
    "fkill",
    "is-website-vulnerable",
    "source-map-explorer",
    "cost-of-modules",
];

/// The options in front of a package manager's sub-command: how many words they are.
fn ahead(program: &str, words: &[Word]) -> usize {
    if !["npm", "pnpm", "yarn", "bun", "uv"].contains(&program) {
        return 0;
    }
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|w| !w.unknown) {
        let name = word.text.split('=').next().unwrap_or_default();
        match word.text.as_str() {
            text if AHEAD.contains(&text) => at += 1,
            text if AHEAD_VALUED.contains(&text) => at += 2,
            text if text.contains('=') && AHEAD_VALUED.contains(&name) => at += 1,
            _ => break,
        }
    }
    at
}

/// Whether a name is that of a program that is known, and so of none that a project's own scripts are called by.
fn known(name: &str) -> bool {
    table::has(name) || RUNNERS.iter().any(|(runner, ..)| *runner == name)
}

/// Where in a runner's words the command begins; nothing for what is no runner.
fn begin(program: &str, words: &[Word]) -> Option<Result<usize, &'static str>> {
    let skipped = ahead(program, words);
    let fits = |(name, subs, _): &&Runner| {
        *name == program
            && subs
                .iter()
                .enumerate()
                .all(|(at, sub)| words.get(skipped + at).is_some_and(|w| w.text == *sub))
    };
    let Some((_, subs, valued)) = RUNNERS.iter().filter(fits).max_by_key(|(_, subs, _)| subs.len()) else {
        // `pnpm vitest`: a program that the project brings.
        let first = words.get(skipped)?;
        let named = known(&first.text) && !first.text.contains('.');
        let manages = matches!(program, "yarn" | "pnpm" | "bun");
        return (manages && named && script(program, words.get(skipped..)?)).then_some(Ok(skipped));
    };
    let mut at = skipped + subs.len();
    while let Some(word) = words.get(at) {
        let name = word.text.split('=').next().unwrap_or_default();
        match word.text.as_str() {
            "-m" | "--module" if program == "uv" => break,
            option if PLAIN.contains(&option) => at += 1,
            option if valued.contains(&option) => at += 2,
            option if option.contains('=') && valued.contains(&name) && !word.unknown => at += 1,
            // What they need not know of is how they report, but a folder to work in would be one for the command.
            option
                if matches!(program, "c8" | "nyc")
                    && option.starts_with("--")
                    && !option.starts_with("--cwd")
                    && !word.unknown =>
            {
                at += 1;
            }
            option if option.starts_with('-') || word.unknown || word.live => {
                return Some(Err("an option that is not known"));
            }
            setting if program == "cross-env" && setting.contains('=') => {
                let (name, value) = setting.split_once('=').unwrap_or_default();
                let value = Word { text: value.to_owned(), ..Word::default() };
                if let Some(why) = meaning::changed(name, &value) {
                    return Some(Err(why));
                }
                at += 1;
            }
            _ => break,
        }
    }
    Some(if words.len() > at { Ok(at) } else { Err("a runner without a program") })
}

/// The command that a runner runs; nothing for what is no runner, and for one that only reports.
pub(in super::super) fn behind(program: &str, words: &[Word]) -> Option<Result<Vec<Word>, &'static str>> {
    let at = match begin(program, words)? {
        Ok(at) => at,
        Err(why) => return Some(Err(why)),
    };
    let mut rest = words.get(at..).unwrap_or_default().to_vec();
    let first = rest.first_mut()?;
    if matches!(program, "c8" | "nyc")
        && ["report", "check-coverage", "merge", "instrument"].contains(&first.text.as_str())
    {
        return None;
    }
    if program == "uv" && (matches!(first.text.as_str(), "-m" | "--module") || first.text.ends_with(".py")) {
        if first.text == "--module" {
            "-m".clone_into(&mut first.text);
        }
        rest.insert(0, Word { text: "python".to_owned(), ..Word::default() });
    } else if !first.text.starts_with(['.', '/', '~']) {
        // `@scope/name@version`
        let name = first.text.rsplit('/').next().unwrap_or_default();
        first.text = name.split('@').find(|p| !p.is_empty()).unwrap_or_default().to_owned();
    }
    let elsewhere =
        words.iter().take(at).any(|w| ELSEWHERE.contains(&w.text.split('=').next().unwrap_or_default()))
            && matches!(program, "npm" | "pnpm" | "yarn" | "lerna");
    if elsewhere && rest.iter().any(|w| w.text.contains("..")) {
        return Some(Err("a folder that is not known"));
    }
    Some(Ok(rest))
}

/// What is left to say of a runner itself: whether it fetches what it runs.
pub(super) fn act(program: &str, rest: Result<Vec<Word>, &'static str>, command: &Simple) -> Act {
    let words = command.words.get(1..).unwrap_or_default();
    let name = match &rest {
        Ok(rest) => rest.first().map(|w| w.text.clone()).unwrap_or_default(),
        Err(_) => String::new(),
    };
    let at = begin(program, words).and_then(Result::ok).unwrap_or_default();
    let given = words.get(at).map(|w| w.text.as_str()).unwrap_or_default();
    let options = words.get(..at).unwrap_or_default();
    let has = |option: &[&str]| {
        options.iter().any(|w| option.contains(&w.text.split('=').next().unwrap_or_default()))
    };
    let once = matches!(program, "pnpx" | "uvx" | "pipx") || has(&["dlx", "tool"]);
    let maybe = (matches!(program, "npx" | "bunx") || has(&["exec", "x"]))
        && matches!(program, "npx" | "bunx" | "npm" | "bun");
    let scoped = given.starts_with('@') && !given.starts_with("@biomejs/biome");
    let version = given.trim_start_matches('@').contains('@');
    let unlikely = !known(&name) || ONE_OFF.contains(&name.as_str()) || scoped || version;
    let asked = has(&["-y", "--yes", "-p", "--package"]) && program != "uv";
    let fetches =
        once || has(&["--with"]) || (maybe && !has(&["--no", "--no-install"]) && (unlikely || asked));
    let mut act = all(program, words, Role::Text, rest.err());
    // The values of its own options may be files, as of `dotenv -e`.
    act.args.iter_mut().take(at).for_each(|a| a.role = Role::Read);
    if act.unread.is_none() && !known(&name) {
        act.doubt("a program that is not known");
    }
    if fetches {
        act.effects.insert("dependency_install");
    }
    act
}
