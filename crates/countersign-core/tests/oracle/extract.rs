//! Where `developers.txt` comes from: shell blocks of the documentation that is installed here. Run by hand
//! (`cargo test -p countersign-core --test oracle extract -- --ignored --nocapture`), and the sample is kept, so that the
//! figures do not change with the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn documents(at: &Path, depth: usize, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(at) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if path.is_dir() && depth > 0 && name != "target" {
            documents(&path, depth - 1, out);
        } else if ["readme.md", "contributing.md", "development.md", "hacking.md", "readme.markdown"]
            .contains(&name.as_str())
        {
            out.push(path);
        }
    }
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
                last.push_str("\\⏎");
                last.push_str(ended.trim());
            }
            None => out.push(ended.trim_end().to_owned()),
        }
        open = command.ends_with('\\');
    }
    out
}

#[test]
#[ignore = "reads the documentation that is installed here, and prints"]
fn extract() {
    let home = std::env::var("HOME").unwrap();
    let mut found = Vec::new();
    for place in [
        format!("{home}/.cargo/registry/src"),
        format!("{home}/.cache/countersign-test"),
        "/usr/share/doc".into(),
        "/usr/lib/node_modules".into(),
        "/usr/local/lib".into(),
        "/usr/share/nodejs".into(),
    ] {
        documents(Path::new(&place), 7, &mut found);
    }
    let mut seen = BTreeSet::new();
    for path in found {
        let text = fs::read(&path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        for line in lines(&text) {
            // Placeholders are for people, and prose is no command.
            let meant = !line.contains("<")
                && !line.contains("...")
                && !line.contains('…')
                && !line.contains('[')
                && line.is_ascii() | line.contains('⏎')
                && line.len() < 300;
            if meant
                && line.contains(' ')
                && line
                    .chars()
                    .next()
                    .is_some_and(|c| c.is_ascii_lowercase() || c == '.' || c.is_ascii_uppercase())
            {
                seen.insert(line);
            }
        }
    }
    for line in seen {
        println!("LINE {line}");
    }
}
