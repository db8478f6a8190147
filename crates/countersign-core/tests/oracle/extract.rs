//! Where the samples of developers' lines come from: what is installed on a machine that builds and tests this. Run by hand:
//!
//! ```text
//! cargo test -p countersign-core --test oracle extract -- --ignored --nocapture > sample.txt
//! ```
//!
//! The sample is kept, so that the figures do not change with the machine. For one machine it is always the same: every
//! line has its place by the digest of a word (`COUNTERSIGN_SAMPLE`) and itself, and what `developers.txt` holds is left
//! out. The four parts are shell blocks of documents, scripts of npm packages, workflows of crates, and git's manual.

use countersign_core::json::{Bounds, Json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How many lines of each part are drawn, and how many of them may begin with the same two words.
const PARTS: [(&str, usize); 4] = [
    ("documents of installed packages (shell blocks)", 110),
    ("scripts of installed npm packages", 100),
    ("workflows of crates", 50),
    ("manual pages of git", 40),
];
const ALIKE: usize = 12;
/// A program that is neither installed nor completed counts when so many packages use it.
const USERS: usize = 8;

/// Files with a name that is looked for.
fn files(at: &Path, depth: usize, wanted: &dyn Fn(&str) -> bool, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(at) else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().to_lowercase();
        if path.is_dir() && depth > 0 && name != "target" {
            files(&path, depth - 1, wanted, out);
        } else if wanted(&name) {
            out.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}

/// The lines of a document's shell blocks; continued lines and here-documents stay together.
fn lines(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut inside = false;
    let mut console = false;
    let mut open = false;
    for line in text.lines() {
        let bare = line.trim();
        if let Some(kind) = bare.strip_prefix("```") {
            inside = !inside
                && ["bash", "sh", "shell", "console", "shell-session", "zsh", "terminal"]
                    .contains(&kind.trim());
            console = matches!(kind.trim(), "console" | "shell-session" | "terminal");
            continue;
        }
        if !inside || bare.is_empty() || bare.starts_with('#') {
            open = false;
            continue;
        }
        let command = bare
            .strip_prefix("$ ")
            .or(bare.strip_prefix("% "))
            .or(bare.strip_prefix("> ").filter(|_| console));
        let command = match (open, command, console) {
            (true, _, _) => bare,
            (false, Some(command), _) => command,
            (false, None, false) => bare,
            (false, None, true) => continue,
        };
        let ended = command.trim_end_matches('\\');
        match out.last_mut().filter(|_| open) {
            Some(last) => {
                last.push_str(" \\⏎ ");
                last.push_str(ended.trim());
            }
            None => out.push(ended.trim_end().to_owned()),
        }
        open = command.ends_with('\\');
    }
    out
}

/// What a workflow runs: `run: line`, and the lines of `run: |`.
fn runs(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut block: Option<usize> = None;
    let mut open = false;
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let bare = line.trim();
        if block.is_some_and(|outer| depth <= outer && !bare.is_empty()) {
            (block, open) = (None, false);
        }
        if block.is_some() {
            if bare.is_empty() || bare.starts_with('#') {
                open = false;
                continue;
            }
            let ended = bare.trim_end_matches('\\').trim_end();
            match out.last_mut().filter(|_| open) {
                Some(last) => {
                    last.push_str(" \\⏎ ");
                    last.push_str(ended);
                }
                None => out.push(ended.to_owned()),
            }
            open = bare.ends_with('\\');
        } else if let Some(rest) = bare.trim_start_matches("- ").strip_prefix("run:") {
            match rest.trim() {
                "|" | "|-" | "|+" => block = Some(depth),
                // Folded to one line, which nothing here puts together.
                rest if rest.starts_with('>') || rest.is_empty() => {}
                rest => out.push(rest.trim_matches('"').to_owned()),
            }
        }
    }
    out
}

/// What a manual page shows behind a prompt.
fn shown(page: &str) -> Vec<String> {
    // Marks of remarks that follow.
    let page = (1..10).fold(page.to_owned(), |page, n| page.replace(&format!("\\fB({n})\\fR"), ""));
    let plain = page
        .replace("\\-", "-")
        .replace("\\*(Aq", "'")
        .replace("\\(aq", "'")
        .replace("\\&", "")
        .replace("\\e", "\\");
    let commands = plain.lines().filter_map(|l| l.trim().strip_prefix("$ ").map(|l| l.trim().to_owned()));
    commands.filter(|l| !l.contains("\\f") && !l.ends_with('\\')).collect()
}

/// Whether a line is one that somebody would type: no template, no placeholder, no prose, nothing that only a runner of
/// workflows knows, no text that was cut off.
fn meant(line: &str) -> bool {
    let placeholder = ["<", "...", "…", "[", "{{", "}}", "GITHUB_", "RUNNER_", "matrix.", "sudo", "path/to"];
    let begins = line.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '.');
    begins
        && line.contains(' ')
        && line.len() < 300
        && line.chars().all(|c| c.is_ascii_graphic() || c == ' ' || c == '⏎')
        && !placeholder.iter().any(|p| line.contains(p))
        && !line.ends_with(['{', '\\', '|', ':', '&', '('])
        && line.matches('"').count().is_multiple_of(2)
        && line.matches('\'').count().is_multiple_of(2)
        // A part of something longer.
        && !["if ", "then", "else", "fi", "for ", "do ", "done", "while ", "case ", "esac"].iter().any(|w| line.starts_with(w))
}

/// A line without the comment behind it.
fn bare(line: &str) -> String {
    let end = line.find(" #").filter(|_| !line.contains(['"', '\''])).unwrap_or(line.len());
    line.get(..end).unwrap().trim_end().to_owned()
}

/// The program of a line's first command.
fn program(line: &str) -> &str {
    let set = |w: &&str| w.contains('=') && w.chars().next().is_some_and(|c| c.is_ascii_uppercase());
    line.split_whitespace().find(|w| !set(w)).unwrap_or_default()
}

/// Every line of the four parts, with the file that it stands in.
fn everything() -> Vec<(&'static str, Vec<(PathBuf, String)>)> {
    let home = std::env::var("HOME").unwrap();
    let places = [
        format!("{home}/.cargo/registry/src"),
        format!("{home}/.cache/countersign-test"),
        "/usr/share/doc".into(),
        "/usr/lib/node_modules".into(),
        "/usr/local/lib".into(),
        "/usr/share/nodejs".into(),
    ];
    let find = |wanted: &dyn Fn(&str) -> bool, depth: usize| {
        let mut found = Vec::new();
        places.iter().for_each(|p| files(Path::new(p), depth, wanted, &mut found));
        found
    };
    let documents = ["readme.md", "contributing.md", "development.md", "hacking.md", "readme.markdown"];
    let documents = find(&|n| documents.contains(&n), 7);
    let packages = find(&|n| n == "package.json", 9);
    let workflows = find(&|n| n.ends_with(".yml") || n.ends_with(".yaml"), 5);
    let mut pages = Vec::new();
    files(Path::new("/usr/share/man/man1"), 0, &|n| n.starts_with("git"), &mut pages);
    files(Path::new("/usr/share/man/man7"), 0, &|n| n.starts_with("git"), &mut pages);
    let scripts = |path: &PathBuf| {
        let json = Json::parse(read(path).as_bytes(), Bounds::default()).ok();
        let scripts = json.as_ref().and_then(|j| j.get("scripts")?.as_object().map(<[_]>::to_vec));
        scripts.unwrap_or_default().iter().filter_map(|(_, v)| v.as_str().map(str::to_owned)).collect()
    };
    let page = |path: &PathBuf| {
        let out = std::process::Command::new("gzip").arg("-dc").arg(path).output().unwrap();
        shown(&String::from_utf8_lossy(&out.stdout))
    };
    let each = |paths: Vec<PathBuf>, lines: &dyn Fn(&PathBuf) -> Vec<String>| {
        let of = |path: PathBuf| lines(&path).into_iter().map(move |l| (path.clone(), l));
        paths.into_iter().flat_map(of).collect::<Vec<_>>()
    };
    let workflows = workflows.into_iter().filter(|p| p.to_string_lossy().contains("/.github/workflows/"));
    vec![
        (PARTS[0].0, each(documents, &|p| lines(&read(p)))),
        (PARTS[1].0, each(packages, &scripts)),
        (PARTS[2].0, each(workflows.collect(), &|p| runs(&read(p)))),
        (PARTS[3].0, each(pages, &page)),
    ]
}

#[test]
#[ignore = "reads what is installed here, and prints"]
fn extract() {
    let word = std::env::var("COUNTERSIGN_SAMPLE").unwrap_or_default();
    let old: BTreeSet<&str> = include_str!("developers.txt").lines().collect();
    let all = everything();
    let mut users: BTreeMap<&str, BTreeSet<&Path>> = BTreeMap::new();
    for (path, line) in all.iter().flat_map(|(_, l)| l) {
        users.entry(program(line)).or_default().insert(path.parent().unwrap());
    }
    let folders = std::env::var("PATH").unwrap();
    let known = |name: &str| {
        let installed = folders.split(':').any(|f| Path::new(f).join(name).is_file());
        let completed = Path::new("/usr/share/bash-completion/completions").join(name).is_file();
        let builtin = ["cd", "export", "echo", "set", "source", "test", "time", "printf", "pushd", "alias"]
            .contains(&name);
        name.starts_with("./")
            || installed
            || completed
            || builtin
            || users.get(name).is_some_and(|n| n.len() >= USERS)
    };
    for (part, found) in &all {
        println!("# from {part}");
        let found: BTreeSet<String> = found.iter().map(|(_, l)| bare(l)).filter(|l| meant(l)).collect();
        let mut found: Vec<String> =
            found.into_iter().filter(|l| !old.contains(l.as_str()) && known(program(l))).collect();
        found.sort_by_key(|l| {
            countersign_core::digest::Digest::of("sample", &[word.as_bytes(), l.as_bytes()])
        });
        let mut alike: BTreeMap<String, usize> = BTreeMap::new();
        let most = PARTS.iter().find(|(p, _)| p == part).unwrap().1;
        let drawn = found.iter().filter(|l| {
            let begin = l.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            let count = alike.entry(begin).or_default();
            *count += 1;
            *count <= ALIKE
        });
        drawn.take(most).for_each(|l| println!("{l}"));
    }
}
