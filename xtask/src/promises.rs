//! `cargo xtask promises`: which test shows which promise.
//!
//! The promises stand in `docs/promises.list`, a line each; tests name their numbers in comments. Both are put together
//! in `docs/promises.md`. A promise that no test names must say why, a number in a test must be a promise of the list
//! or of a later part, and the written table must be the one that the sources give.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::finding::Finding;

const LIST: &str = "docs/promises.list";
const TABLE: &str = "docs/promises.md";

/// Tests by the number they name.
type Cited = BTreeMap<String, Vec<String>>;

/// Writes the table.
pub(crate) fn write(root: &Path) -> Result<()> {
    let table = table(root)?;
    fs::write(root.join(TABLE), table).with_context(|| format!("writing {TABLE}"))?;
    println!("promises: wrote {TABLE}");
    Ok(())
}

/// What is wrong with list, tests or table.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let cited = cited(root)?;
    let list = fs::read_to_string(root.join(LIST)).with_context(|| format!("reading {LIST}"))?;
    for (index, line) in list.lines().enumerate() {
        let mut parts = line.split('\t');
        if let (Some(number), Some(_), None) = (parts.next(), parts.next(), parts.next())
            && !cited.contains_key(number)
        {
            let what = format!("no test names {number}");
            found.push(Finding::new(
                Path::new(LIST),
                index + 1,
                what,
                "name it in the comment of the test that shows it, or say behind a tab why there is none",
            ));
        }
    }
    let written = fs::read_to_string(root.join(TABLE)).unwrap_or_default();
    if written != table(root)? {
        found.push(Finding::new(
            Path::new(TABLE),
            1,
            "it is not what list and tests give",
            "run: cargo xtask promises",
        ));
    }
    Ok(found)
}

fn table(root: &Path) -> Result<String> {
    let cited = cited(root)?;
    let list = fs::read_to_string(root.join(LIST)).with_context(|| format!("reading {LIST}"))?;
    let mut out = String::from(
        "# Promises and the tests that show them\n\nMade by `cargo xtask promises` from `promises.list` and from the comments of tests; `cargo xtask test` checks\nthat it is true.\n",
    );
    for line in list.lines() {
        if let Some(head) = line.strip_prefix("## ") {
            out.push_str(&format!("\n## {head}\n\n| | promise | shown by |\n|---|---|---|\n"));
            continue;
        }
        let mut parts = line.split('\t');
        let (Some(number), Some(promise)) = (parts.next(), parts.next()) else { continue };
        let shown = match (cited.get(number), parts.next()) {
            (Some(tests), _) => tests.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join("<br>"),
            (None, Some(reason)) => format!("no test: {reason}"),
            (None, None) => "nothing yet".to_owned(),
        };
        out.push_str(&format!("| {number} | {promise} | {shown} |\n"));
    }
    Ok(out)
}

/// Every number in a comment of a source, with the function below it, or the file when it heads one.
fn cited(root: &Path) -> Result<Cited> {
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files)?;
    files.sort();
    let mut out = Cited::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let tests =
            text.find("#[cfg(test)]").map(|at| text.get(..at).unwrap_or_default().matches('\n').count());
        let whole = file
            .components()
            .any(|c| c.as_os_str() == "tests" || c.as_os_str().to_string_lossy().ends_with("tests.rs"));
        let lines: Vec<&str> = text.lines().collect();
        let name = place(root, &file);
        for (index, line) in lines.iter().enumerate() {
            let comment = line.trim_start();
            // What the product's own code says of a promise is no proof of it.
            if !comment.starts_with("//") || !(whole || tests.is_some_and(|from| index >= from)) {
                continue;
            }
            for number in numbers(comment) {
                let below = lines.iter().skip(index).take(12).find_map(|line| function(line));
                let test = match (comment.starts_with("//!"), below) {
                    (false, Some(function)) => format!("{name}::{function}"),
                    _ => name.clone(),
                };
                let tests = out.entry(number).or_default();
                if !tests.contains(&test) {
                    tests.push(test);
                }
            }
        }
    }
    Ok(out)
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    Ok(())
}

/// `core::rulebook::eval`, `countersign::tests::policy`.
fn place(root: &Path, file: &Path) -> String {
    let within = file.strip_prefix(root.join("crates")).unwrap_or(file).with_extension("");
    let parts: Vec<String> = within
        .components()
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .filter(|c| c != "src" && c != "mod")
        .map(|c| c.trim_start_matches("countersign-").to_owned())
        .collect();
    parts.join("::")
}

fn function(line: &str) -> Option<String> {
    let (before, rest) = line.split_once("fn ")?;
    let plain = ["", "pub(crate) ", "async ", "pub "].contains(&before.trim_start());
    plain.then(|| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

/// `P-3`, `INV-12`, `GINV-7` and their kin in a line.
fn numbers(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
        if let Some((kind, digits)) = word.split_once('-')
            && ["P", "INV", "GINV", "VINV", "EINV", "MINV"].contains(&kind)
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
        {
            out.push(word.to_owned());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_comments() {
        assert_eq!(numbers("/// P-3, INV-12 and (GINV-7): not UTF-8 or P-x."), ["P-3", "INV-12", "GINV-7"]);
        assert_eq!(function("    async fn it_holds() {").as_deref(), Some("it_holds"));
        assert_eq!(function("    fn it_holds() {").as_deref(), Some("it_holds"));
        assert_eq!(function("// a fn that"), None);
    }
}
