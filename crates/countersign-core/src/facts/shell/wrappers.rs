//! Programs that run what their words say: which of their words are a command, and which a script.
//!
//! A wrapper is understood when all its options are known; otherwise what it runs is still found, and the line is opaque.
//! What a program makes of its own files (`npx`, `make`, a script) is not looked for here.

mod project;

use super::{Simple, UNKNOWN, Word, code, programs};

/// Something that a wrapper runs.
#[derive(Debug)]
pub(super) enum Inner {
    /// Words that are a command.
    Words {
        /// Program and arguments.
        words: Vec<Word>,
        /// What is put into its environment.
        sets: Vec<(String, Word)>,
        /// Where it runs.
        place: Place,
    },
    /// A text that a shell reads.
    Script {
        /// The text.
        text: Word,
        /// `$1` and so on.
        args: Option<Vec<Word>>,
        /// Where it runs.
        place: Place,
    },
    /// Texts inside code of another language, as arguments of the interpreter, for the search of paths.
    Texts {
        /// The interpreter and the texts.
        words: Vec<Word>,
    },
}

/// What of the line something run can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its variables and functions.
    Here,
    /// Its variables.
    Builtin,
    /// Nothing of it.
    Elsewhere,
}

/// What is known of a command as a wrapper.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What it runs.
    pub inner: Vec<Inner>,
    /// What that has as its input.
    pub input: Option<Word>,
    /// Why the line is not understood.
    pub opaque: Option<&'static str>,
    /// Whether the command is nothing but a wrapper whose words are all known.
    pub understood: bool,
}

/// How a wrapper's own words look.
struct Shape {
    name: &'static str,
    /// Letters of options without a value.
    plain: &'static str,
    /// Letters of options with one.
    valued: &'static str,
    /// Long options without a value.
    long: &'static [&'static str],
    /// Long options with one.
    long_valued: &'static [&'static str],
    /// Words of its own between its options and the command.
    operands: usize,
}

const fn shape(name: &'static str, plain: &'static str, valued: &'static str, operands: usize) -> Shape {
    Shape { name, plain, valued, long: &[], long_valued: &[], operands }
}

/// Wrappers that run the rest of their words as they are.
const SHAPES: &[Shape] = &[
    Shape { long_valued: &["--adjustment"], ..shape("nice", "", "n", 0) },
    shape("nohup", "", "", 0),
    Shape { long: &["--portability", "--verbose"], ..shape("time", "pv", "", 0) },
    Shape {
        long: &["--foreground", "--preserve-status", "--verbose"],
        long_valued: &["--kill-after", "--signal"],
        ..shape("timeout", "fpv", "ks", 1)
    },
    Shape { long_valued: &["--input", "--output", "--error"], ..shape("stdbuf", "", "ioe", 0) },
    Shape { long: &["--ctty", "--fork", "--wait"], ..shape("setsid", "cfw", "", 0) },
    Shape { long_valued: &["--class", "--classdata"], long: &["--ignore"], ..shape("ionice", "t", "cn", 0) },
    Shape { long: &["--batch", "--fifo", "--idle", "--other", "--rr"], ..shape("chrt", "bfior", "", 1) },
    Shape { long: &["--cpu-list"], ..shape("taskset", "c", "", 1) },
    Shape {
        long: &["--mount", "--net", "--pid", "--fork", "--user", "--map-root-user", "--uts", "--ipc"],
        ..shape("unshare", "mnpfUrui", "", 0)
    },
    Shape {
        long: &["--non-interactive", "--preserve-env", "--set-home", "--background", "--stdin"],
        long_valued: &["--user", "--group", "--prompt"],
        ..shape("sudo", "AbEHknPSis", "ugp", 0)
    },
    shape("doas", "Lns", "u", 0),
    Shape {
        long: &["--ignore-environment", "--debug", "--null"],
        long_valued: &["--unset"],
        ..shape("env", "iv0", "u", 0)
    },
    shape("command", "p", "", 0),
    shape("builtin", "", "", 0),
    shape("exec", "cl", "a", 0),
    shape("busybox", "", "", 0),
    shape("toybox", "", "", 0),
    Shape { long: &["--follow-forks"], ..shape("strace", "fFqvtTrcyxhiw", "esPaSUX", 0) },
    shape("ltrace", "fctr", "es", 0),
    shape("chroot", "", "", 1),
    shape("entr", "acdnprz", "", 0),
    // Of no system's own, but seen around.
    shape("caffeinate", "dims", "t", 0),
    shape("catchsegv", "", "", 0),
    shape("faketime", "", "", 1),
    shape("gtimeout", "fpv", "ks", 1),
];

/// Shells whose scripts are read here.
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "ash", "mksh", "rbash"];
/// Programs whose words only mention things.
const MENTIONS: &[&str] = &["git", "sed", "awk", "find", "sort", "make", "cargo", "npm", "alias", "gh", "jq"];

const OPTION: &str = "an option of a wrapper that is not known";
const CODE: &str = "code that is not known";

/// Reads a command as a wrapper. `input` is the text it reads, if that is known; `piped` the texts of process
/// substitutions.
pub(super) fn read(
    simple: &Simple,
    input: Option<&Word>,
    piped: impl Fn(&str) -> Option<Option<String>>,
) -> Reading {
    let mut reading = named(simple, input, piped);
    // A name means the system's program only where the system keeps programs.
    let first = simple.words.first().map(|w| w.text.as_str()).unwrap_or_default();
    let folder = first.strip_suffix(simple.program()).unwrap_or_default();
    reading.understood &= ["", "/bin/", "/usr/bin/", "/usr/local/bin/"].contains(&folder);
    reading
}

fn named(simple: &Simple, input: Option<&Word>, piped: impl Fn(&str) -> Option<Option<String>>) -> Reading {
    let program = simple.program();
    let args = simple.words.get(1..).unwrap_or_default();
    if SHELLS.contains(&program) {
        return shell(args, input, piped);
    }
    if let Some(shape) = SHAPES.iter().find(|s| s.name == program) {
        return shaped(shape, args, input);
    }
    if let Some(found) = project::read(program, args, input) {
        return found;
    }
    match program {
        "eval" => {
            Reading { inner: vec![script(joined(args), Place::Here)], understood: true, ..Reading::default() }
        }
        "trap" => trap(args),
        "source" | "." => match args.first().and_then(|w| piped(&w.text)) {
            Some(Some(text)) => {
                let text = Word { text, ..Word::default() };
                Reading { inner: vec![script(text, Place::Here)], understood: true, ..Reading::default() }
            }
            // Like a script that is run; what follows sees what it sets, and is the project's doing as well.
            None if matches!(args, [file] if project::activates(file)) => {
                Reading { understood: true, ..Reading::default() }
            }
            _ => Reading { opaque: Some(CODE), ..Reading::default() },
        },
        "xargs" => xargs(args, input),
        "parallel" => parallel(args),
        "watch" => watch(args),
        "script" => typescript(args),
        "su" | "runuser" => su(args),
        "find" => find(args),
        "fd" | "fdfind" => fd(args),
        "ssh" | "mosh" | "rsh" => remote(args),
        "docker" | "podman" | "nerdctl" | "kubectl" | "oc" | "lxc" | "docker-compose" => container(args),
        "git" => git(args),
        _ => match code::read(simple, input) {
            Some(found) => found,
            None => mentioned(program, args),
        },
    }
}

fn script(text: Word, place: Place) -> Inner {
    Inner::Script { text, args: None, place }
}

fn words(words: &[Word], place: Place) -> Inner {
    Inner::Words { words: words.to_vec(), sets: Vec::new(), place }
}

/// Words as a shell that is given them joined would read them.
fn joined(words: &[Word]) -> Word {
    let text = words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
    Word { text, live: words.iter().any(|w| w.live), unknown: words.iter().any(|w| w.unknown) }
}

/// Walks options; the place of the first word that is none, and whether all were known. `see` is told of every option
/// with its value.
fn options(shape: &Shape, args: &[Word], mut see: impl FnMut(&str, Option<&Word>)) -> (usize, bool) {
    let mut at = 0;
    let mut known = true;
    while let Some(word) = args.get(at) {
        let text = word.text.as_str();
        if text == "--" {
            at += 1;
            break;
        }
        if !text.starts_with('-') || text == "-" {
            break;
        }
        at += 1;
        if word.unknown || word.live {
            known = false;
        }
        if text.starts_with("--") {
            let (name, attached) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
            if shape.long_valued.contains(&name) {
                if attached.is_none() {
                    see(name, args.get(at));
                    at += 1;
                }
            } else if !shape.long.contains(&name) {
                known = false;
            }
            continue;
        }
        // `nice -10` and its like.
        if shape.name == "nice" && text.chars().skip(1).all(|c| c.is_ascii_digit() || c == '-') {
            continue;
        }
        for (place, letter) in text.char_indices().skip(1) {
            if shape.valued.contains(letter) {
                if text.get(place + letter.len_utf8()..).unwrap_or_default().is_empty() {
                    see(&format!("-{letter}"), args.get(at));
                    at += 1;
                }
                break;
            }
            if !shape.plain.contains(letter) {
                known = false;
            }
        }
    }
    (at, known)
}

fn shaped(shape: &Shape, args: &[Word], input: Option<&Word>) -> Reading {
    // These only say where a command is.
    if shape.name == "command" && args.first().is_some_and(|w| w.text == "-v" || w.text == "-V") {
        return Reading { understood: true, ..Reading::default() };
    }
    let (at, known) = options(shape, args, |_, _| {});
    let mut rest = args.get(at + shape.operands..).unwrap_or_default();
    let mut sets = Vec::new();
    if matches!(shape.name, "env" | "sudo" | "doas") {
        rest =
            rest.strip_prefix([Word { text: "-".to_owned(), ..Word::default() }].as_slice()).unwrap_or(rest);
        while let Some((first, more)) = rest.split_first() {
            let Some((name, value)) = first.text.split_once('=') else { break };
            sets.push((name.to_owned(), Word { text: value.to_owned(), ..first.clone() }));
            rest = more;
        }
    }
    let mut reading = Reading { input: input.cloned(), understood: known, ..Reading::default() };
    if !known {
        reading.opaque = Some(OPTION);
    }
    // Whether another user, another root or a debugger is asked about is said where programs are known.
    let asks = ["sudo", "doas", "chroot", "unshare", "strace", "ltrace", "entr", "catchsegv", "faketime"];
    reading.understood &= !asks.contains(&shape.name);
    if shape.name == "chroot" {
        reading.opaque = Some("a command under another root");
    }
    if rest.is_empty() {
        // `exec` alone only redirects; the others show something, or open a shell.
        reading.understood &= shape.name == "exec" && args.is_empty();
        return reading;
    }
    let place = match shape.name {
        "command" | "builtin" | "exec" => Place::Builtin,
        _ => Place::Elsewhere,
    };
    let mut run = rest.to_vec();
    if shape.name == "entr" {
        run.iter_mut().filter(|w| w.text.contains("/_")).for_each(|w| *w = unknown());
    }
    reading.inner.push(Inner::Words { words: run, sets, place });
    reading
}

fn unknown() -> Word {
    Word { text: UNKNOWN.to_string(), live: false, unknown: true }
}

/// A shell: `-c` in any cluster, a script of its input, or a file, which is not read.
fn shell(args: &[Word], input: Option<&Word>, piped: impl Fn(&str) -> Option<Option<String>>) -> Reading {
    let mut reading = Reading { input: input.cloned(), ..Reading::default() };
    let mut at = 0;
    let mut code = false;
    let mut from_input = false;
    while let Some(word) = args.get(at) {
        let text = word.text.as_str();
        if text == "--" || text == "-" {
            at += 1;
            break;
        }
        if !text.starts_with(['-', '+']) || text.len() < 2 {
            break;
        }
        at += 1;
        if word.unknown || word.live {
            reading.opaque = Some(CODE);
        }
        if text.starts_with("--") {
            if !["--norc", "--noprofile", "--posix", "--login", "--restricted", "--verbose"].contains(&text) {
                reading.opaque = Some(OPTION);
            }
            continue;
        }
        for letter in text.chars().skip(1) {
            match letter {
                'c' => code = true,
                's' => from_input = true,
                // An option's name follows; names that change how text is read are not told apart.
                'o' | 'O' => {
                    let name = args.get(at).map(|w| w.text.as_str()).unwrap_or_default();
                    if !["pipefail", "errexit", "nounset", "xtrace", "noglob", "noclobber"].contains(&name) {
                        reading.opaque = Some(OPTION);
                    }
                    at += 1;
                }
                'e' | 'u' | 'x' | 'v' | 'l' | 'i' | 'f' | 'n' | 'h' | 'B' | 'H' | 'm' | 'p' | 'a' | 'b'
                | 'E' | 'T' => {}
                _ => reading.opaque = Some(OPTION),
            }
        }
    }
    let rest = args.get(at..).unwrap_or_default();
    match (code, rest.split_first()) {
        (true, Some((text, more))) => {
            let args: Vec<Word> = more.iter().skip(1).cloned().collect();
            let args = (!args.iter().any(|w| w.unknown || w.live) && !args.is_empty()).then_some(args);
            reading.inner.push(Inner::Script { text: text.clone(), args, place: Place::Elsewhere });
            reading.understood = true;
        }
        (true, None) => reading.opaque = Some(CODE),
        (false, Some((file, _))) if !from_input => {
            if let Some(said) = piped(&file.text) {
                match said {
                    Some(text) => {
                        reading.inner.push(script(Word { text, ..Word::default() }, Place::Elsewhere));
                        reading.understood = true;
                    }
                    None => reading.opaque = Some(CODE),
                }
            }
        }
        _ => match input {
            Some(text) => {
                reading.inner.push(script(text.clone(), Place::Elsewhere));
                reading.input = None;
                reading.understood = true;
            }
            None => reading.opaque = Some("an interpreter with code on its line or from its input"),
        },
    }
    reading
}

fn trap(args: &[Word]) -> Reading {
    let mut reading = Reading { understood: true, ..Reading::default() };
    let args = match args.split_first() {
        Some((first, rest)) if first.text == "--" => rest,
        _ => args,
    };
    match args {
        [] => {}
        [first, ..] if matches!(first.text.as_str(), "-" | "" | "-p" | "-l") => {}
        [_] => reading.understood = false,
        [first, ..] => reading.inner.push(script(first.clone(), Place::Here)),
    }
    reading
}

/// `xargs`: what it adds is known where its input is.
fn xargs(args: &[Word], input: Option<&Word>) -> Reading {
    let shape = Shape {
        long: &["--null", "--no-run-if-empty", "--verbose", "--exit", "--open-tty"],
        long_valued: &["--max-args", "--max-procs", "--max-lines", "--replace", "--delimiter", "--max-chars"],
        ..shape("xargs", "0rtxo", "dEILnPs", 0)
    };
    let mut replaced = None;
    let mut other = args.iter().any(|w| w.text.starts_with("-a") || w.text.starts_with("--arg-file"));
    let (at, known) = options(&shape, args, |name, value| match name {
        "-I" | "--replace" => replaced = value.map(|w| w.text.clone()),
        "-d" | "--delimiter" => other = true,
        _ => {}
    });
    // Then nothing but a zero byte parts its words, and no line of ours holds one.
    other |= args.get(..at).unwrap_or_default().iter().any(|w| {
        w.text == "--null" || (w.text.starts_with('-') && !w.text.starts_with("--") && w.text.contains('0'))
    });
    let attached = args.get(..at).unwrap_or_default().iter().find_map(|w| w.text.strip_prefix("-I"));
    let replaced = replaced.or(attached.filter(|t| !t.is_empty()).map(str::to_owned));
    let mut command = args.get(at..).unwrap_or_default().to_vec();
    if command.is_empty() {
        command.push(Word { text: "echo".to_owned(), ..Word::default() });
    }
    // Quotes and escapes have a meaning of their own in the input.
    let text = input.filter(|w| !other && !w.unknown && !w.live && !w.text.contains(['\'', '"', '\\', '\0']));
    let given: Vec<Word> = match text {
        Some(text) => {
            let split: Vec<&str> = match replaced {
                Some(_) => text.text.lines().map(str::trim_start).filter(|l| !l.is_empty()).collect(),
                None => text.text.split_whitespace().collect(),
            };
            split.into_iter().map(|t| Word { text: t.to_owned(), ..Word::default() }).collect()
        }
        None => vec![unknown()],
    };
    let mut reading = Reading { understood: known, ..Reading::default() };
    if !known {
        reading.opaque = Some(OPTION);
    }
    if given.len() > 64 {
        reading.opaque = Some("more words than are read");
    }
    match replaced {
        Some(mark) => {
            for value in given.iter().take(16) {
                let put = |word: &Word| Word {
                    text: word.text.replace(&mark, &value.text),
                    live: word.live,
                    unknown: word.unknown || (value.unknown && word.text.contains(&mark)),
                };
                reading.inner.push(words(&command.iter().map(put).collect::<Vec<_>>(), Place::Elsewhere));
            }
            if given.len() > 16 {
                reading.opaque = Some("more words than are read");
            }
        }
        None => {
            command.extend(given);
            reading.inner.push(words(&command, Place::Elsewhere));
        }
    }
    reading
}

/// GNU parallel has a language of its own; what it runs is looked at, and the line stays opaque.
fn parallel(args: &[Word]) -> Reading {
    let begin = args.iter().position(|w| !w.text.starts_with('-')).unwrap_or(args.len());
    let end = args.iter().position(|w| w.text.starts_with(":::")).unwrap_or(args.len());
    let mut text = joined(args.get(begin..end).unwrap_or_default());
    text.text.push_str(" \"$@\"");
    let args = args.get(end + 1..).map(<[Word]>::to_vec);
    let inner = vec![Inner::Script { text, args, place: Place::Elsewhere }];
    Reading { inner, opaque: Some(OPTION), ..Reading::default() }
}

fn watch(args: &[Word]) -> Reading {
    let shape = Shape { long_valued: &["--interval"], ..shape("watch", "bcdegtpwx", "n", 0) };
    let (at, known) = options(&shape, args, |_, _| {});
    let rest = args.get(at..).unwrap_or_default();
    Reading {
        inner: vec![script(joined(rest), Place::Elsewhere)],
        opaque: (!known).then_some(OPTION),
        understood: known,
        ..Reading::default()
    }
}

/// `script -c`: the command, and the file that what it shows is written to.
fn typescript(args: &[Word]) -> Reading {
    let shape = Shape {
        long_valued: &["--command"],
        long: &["--quiet", "--return"],
        ..shape("script", "aefq", "c", 0)
    };
    let mut found = None;
    let (at, known) = options(&shape, args, |_, value| found = value.cloned());
    // The file may come first, and the options behind it.
    let rest = args.get(at..).unwrap_or_default();
    let quiet = matches!(rest, [file] if file.text == "/dev/null");
    let understood = known && quiet && found.is_some();
    let late = rest.iter().position(|w| w.text == "-c").and_then(|p| rest.get(p + 1)).cloned();
    Reading {
        inner: found.or(late).into_iter().map(|text| script(text, Place::Elsewhere)).collect(),
        opaque: (!understood).then_some(OPTION),
        understood,
        ..Reading::default()
    }
}

fn su(args: &[Word]) -> Reading {
    let at = args.iter().position(|w| {
        w.text == "--command"
            || (w.text.starts_with('-') && !w.text.starts_with("--") && w.text.ends_with('c'))
    });
    let text = at.and_then(|at| args.get(at + 1)).cloned();
    let attached = args
        .iter()
        .find_map(|w| w.text.strip_prefix("--command="))
        .map(|t| Word { text: t.to_owned(), ..Word::default() });
    let behind =
        args.iter().position(|w| w.text == "--").and_then(|at| args.get(at + 1..)).unwrap_or_default();
    let mut inner: Vec<Inner> = text.or(attached).into_iter().map(|t| script(t, Place::Elsewhere)).collect();
    if inner.is_empty() && !behind.is_empty() {
        inner.push(words(behind, Place::Elsewhere));
    }
    // Whose shell reads it is not known.
    Reading { inner, opaque: Some("a command as another user"), ..Reading::default() }
}

fn find(args: &[Word]) -> Reading {
    let mut reading = Reading::default();
    let mut at = 0;
    let mut actions = false;
    while let Some(word) = args.get(at) {
        at += 1;
        let other = ["-delete", "-fprint", "-fls", "-files0"].iter().any(|b| word.text.starts_with(b));
        actions |= other;
        if !matches!(word.text.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir") {
            continue;
        }
        let rest = args.get(at..).unwrap_or_default();
        let end = rest.iter().position(|w| w.text == ";" || w.text == "+").unwrap_or(rest.len());
        let named: Vec<Word> = rest
            .get(..end)
            .unwrap_or_default()
            .iter()
            .map(|w| if w.text.contains("{}") { marked(w) } else { w.clone() })
            .collect();
        if named.is_empty() || end == rest.len() {
            reading.opaque = Some(CODE);
        } else {
            reading.inner.push(words(&named, Place::Elsewhere));
        }
        at += end + 1;
    }
    reading.understood = !reading.inner.is_empty() && !actions && !args.iter().any(|w| w.unknown);
    reading
}

/// A word in which `{}` stands for a file that is found.
fn marked(word: &Word) -> Word {
    Word { text: word.text.replace("{}", &UNKNOWN.to_string()), live: word.live, unknown: true }
}

fn fd(args: &[Word]) -> Reading {
    let runs = |w: &Word| {
        matches!(w.text.as_str(), "--exec" | "--exec-batch")
            || (w.text.starts_with('-') && !w.text.starts_with("--") && w.text.ends_with(['x', 'X']))
    };
    let Some(at) = args.iter().position(runs) else { return Reading::default() };
    let rest = args.get(at + 1..).unwrap_or_default();
    let end = rest.iter().position(|w| w.text == ";").unwrap_or(rest.len());
    let mut command: Vec<Word> = rest.get(..end).unwrap_or_default().to_vec();
    let mut placed = false;
    for word in &mut command {
        if word.text.contains('{') {
            placed = true;
            *word = unknown();
        }
    }
    if !placed {
        command.push(unknown());
    }
    Reading { inner: vec![words(&command, Place::Elsewhere)], ..Reading::default() }
}

/// The command that another machine's shell is given. The line stays what the program makes of it.
fn remote(args: &[Word]) -> Reading {
    let shape = shape("ssh", "46AaCfGgKkMNnqsTtVvXxYy", "BbcDEeFIiJLlmOopQRSWw", 1);
    let (at, _) = options(&shape, args, |_, _| {});
    let rest = args.get(at + 1..).unwrap_or_default();
    let rest = match rest.split_first() {
        Some((first, more)) if first.text == "--" => more,
        _ => rest,
    };
    if rest.is_empty() {
        return Reading::default();
    }
    Reading { inner: vec![script(joined(rest), Place::Elsewhere)], ..Reading::default() }
}

/// What runs inside a container: behind `--`, or behind the first word that is no option of `exec` and `run`.
fn container(args: &[Word]) -> Reading {
    let Some(at) = args.iter().position(|w| matches!(w.text.as_str(), "exec" | "run")) else {
        return Reading::default();
    };
    let rest = args.get(at + 1..).unwrap_or_default();
    let shape = Shape {
        long_valued: &[
            "--env",
            "--user",
            "--workdir",
            "--volume",
            "--name",
            "--mount",
            "--network",
            "--entrypoint",
            "--publish",
            "--env-file",
            "--container",
            "--namespace",
            "--index",
            "--image",
            "--label",
            "--platform",
        ],
        ..shape("docker", "itdTP", "euwvpcnl", 1)
    };
    let (own, _) = options(&shape, rest, |_, _| {});
    let behind = rest.iter().position(|w| w.text == "--").map_or(own + 1, |at| at + 1);
    let command = rest.get(behind..).unwrap_or_default();
    if command.is_empty() {
        return Reading::default();
    }
    Reading { inner: vec![words(command, Place::Elsewhere)], ..Reading::default() }
}

/// Commands that git is told to run: settings on its line, and sub-commands that run others.
fn git(args: &[Word]) -> Reading {
    let mut reading = Reading::default();
    let with =
        |word: &Word, text: &str| script(Word { text: text.to_owned(), ..word.clone() }, Place::Elsewhere);
    for pair in args.windows(2) {
        let [option, value] = pair else { continue };
        match option.text.as_str() {
            "-c" => {
                if let Some((key, code)) = value.text.split_once('=') {
                    let key = key.to_lowercase();
                    let runs =
                        ["pager", "editor", "sshcommand", "fsmonitor", "external", "textconv", "askpass"];
                    if let Some(code) = code.strip_prefix('!') {
                        reading.inner.push(with(value, code));
                    } else if key.starts_with("alias.") {
                        reading.inner.push(with(value, &format!("git {code}")));
                    } else if runs.iter().any(|k| key.ends_with(k)) {
                        reading.inner.push(with(value, code));
                    }
                }
            }
            "--exec" | "-x" if args.first().is_some_and(|w| w.text == "rebase") => {
                reading.inner.push(script(value.clone(), Place::Elsewhere));
            }
            "foreach" if args.first().is_some_and(|w| w.text == "submodule") => {
                let at = args.iter().position(|w| w.text == "foreach").unwrap_or_default();
                let rest: Vec<Word> =
                    args.iter().skip(at + 1).filter(|w| w.text != "--recursive").cloned().collect();
                reading.inner.push(script(joined(&rest), Place::Elsewhere));
            }
            _ => {}
        }
    }
    // Wherever it stands: options of git's own may come before it.
    let run = args.windows(2).position(|p| matches!(p, [a, b] if a.text == "bisect" && b.text == "run"));
    if let Some(at) = run {
        match args.get(at + 2..).filter(|rest| !rest.is_empty()) {
            Some(rest) => reading.inner.push(words(rest, Place::Elsewhere)),
            None => reading.opaque = Some(CODE),
        }
    }
    reading
}

/// A shell with code among the words of whatever program this is.
fn mentioned(program: &str, args: &[Word]) -> Reading {
    if programs::only_reads(program) || MENTIONS.contains(&program) {
        return Reading::default();
    }
    let coded = |at: &usize| {
        let name = args.get(*at).map(|w| w.text.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
        SHELLS.contains(&name)
            && args
                .iter()
                .skip(at + 1)
                .take_while(|w| w.text.starts_with('-'))
                .any(|w| !w.text.starts_with("--") && w.text.contains('c'))
    };
    match (0..args.len()).find(coded) {
        Some(at) => Reading {
            inner: vec![words(args.get(at..).unwrap_or_default(), Place::Elsewhere)],
            opaque: Some("a program that runs a shell"),
            ..Reading::default()
        },
        None => Reading::default(),
    }
}
