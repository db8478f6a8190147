//! Wrappers of a project's own: runners of its programs, programs that are given lines to run, the script that puts its
//! environment first.

use super::super::{Word, programs};
use super::{OPTION, Place, Reading, Shape, options, script, shape, words};

/// Reads a command as one of these; nothing for others.
pub(super) fn read(program: &str, args: &[Word], input: Option<&Word>) -> Option<Reading> {
    if let Some(rest) = programs::behind(program, args) {
        return Some(runner(rest, input));
    }
    SCRIPTS.iter().find(|s| s.name == program).map(|shape| scripts(shape, args))
}

/// Wrappers of which each word is a line for a shell.
const SCRIPTS: &[Shape] = &[
    Shape {
        long: &["--ignore-failure", "--show-output"],
        long_valued: &[
            "--warmup",
            "--min-runs",
            "--max-runs",
            "--runs",
            "--prepare",
            "--setup",
            "--cleanup",
            "--conclude",
            "--command-name",
            "--export-json",
            "--export-markdown",
            "--export-csv",
            "--export-asciidoc",
            "--style",
            "--sort",
            "--time-unit",
        ],
        ..shape("hyperfine", "iN", "wmMrspcnu", 0)
    },
    Shape {
        long: &["--kill-others", "--kill-others-on-fail", "--raw", "--no-color", "--group", "--timings"],
        long_valued: &[
            "--names",
            "--prefix",
            "--prefix-colors",
            "--success",
            "--restart-tries",
            "--max-processes",
        ],
        ..shape("concurrently", "kr", "npcsm", 0)
    },
    Shape {
        long: &["--kill-others", "--kill-others-on-fail", "--raw", "--no-color", "--group"],
        long_valued: &["--names", "--prefix", "--prefix-colors", "--success"],
        ..shape("conc", "kr", "npcsm", 0)
    },
];

/// Whether a file is the script of a project's own environment for Python, which puts its programs first.
pub(super) fn activates(file: &Word) -> bool {
    let text = file.text.as_str();
    let folder = text.strip_prefix("./").unwrap_or(text).strip_suffix("/bin/activate").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !file.unknown && !file.live && !folder.is_empty() && folder != ".." && folder.chars().all(plain)
}

/// A program in the environment of a project.
fn runner(rest: Result<Vec<Word>, &'static str>, input: Option<&Word>) -> Reading {
    match rest {
        Ok(rest) => Reading {
            inner: vec![words(&rest, Place::Elsewhere)],
            input: input.cloned(),
            understood: true,
            ..Reading::default()
        },
        Err(why) => Reading { opaque: Some(why), ..Reading::default() },
    }
}

/// Programs of which each word is a line for a shell.
fn scripts(shape: &Shape, args: &[Word]) -> Reading {
    let mut reading = Reading { understood: true, ..Reading::default() };
    let mut rest = args;
    loop {
        let (at, known) = options(shape, rest, |name, value| {
            if ["-p", "-s", "-c", "--prepare", "--setup", "--cleanup", "--conclude"].contains(&name)
                && shape.name == "hyperfine"
            {
                reading.inner.extend(value.cloned().map(|text| script(text, Place::Elsewhere)));
            }
        });
        // An option whose value is a command may have it attached.
        let attached = rest.get(..at).unwrap_or_default().iter().any(|w| {
            ["--prepare=", "--setup=", "--cleanup=", "--conclude="].iter().any(|o| w.text.starts_with(o))
        });
        if !known || attached {
            reading.opaque = Some(OPTION);
            reading.understood = false;
        }
        let Some((first, more)) = rest.get(at..).and_then(<[Word]>::split_first) else { break };
        rest = more;
        let run = ["npm:", "pnpm:", "yarn:", "bun:"]
            .iter()
            .find_map(|m| first.text.strip_prefix(m).map(|s| (m, s)));
        reading.inner.push(match run {
            // A script of the project, or all whose names fit.
            Some((manager, name)) if shape.name != "hyperfine" => {
                let plain = |text: &str| Word { text: text.to_owned(), ..Word::default() };
                let name = Word { text: name.to_owned(), live: false, unknown: first.unknown };
                words(&[plain(manager.trim_end_matches(':')), plain("run"), name], Place::Elsewhere)
            }
            _ => script(first.clone(), Place::Elsewhere),
        });
    }
    reading
}
