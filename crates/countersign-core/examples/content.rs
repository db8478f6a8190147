//! Measures what cleansing finds and misses, on texts that the house did not write.
//!
//! `content secrets FILE`: lines of `{"family":…,"text":…,"secret":true|false}`: how many secrets are found in each
//! family and how many others are taken for one. `content injection FILE`: lines of `{"family":…,"text":…,"bad":…}`.
//! `content benign FOLDER…`: both scans over every file of folders in which nothing is expected. With `-v` what was missed
//! or wrongly found is shown. What it costs is measured by the bench of the same name; the lines are written by the
//! scripts of `xtask/measure`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "it prints its figures, and a broken measurement must fail at once"
)]

use countersign_core::cleanse::{Catalogue, injection};
use std::collections::BTreeMap;
use std::path::Path;

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let loud = words.iter().any(|w| w == "-v");
    words.retain(|w| w != "-v");
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["secrets", file] => labelled(file, "secret", loud, has_secret),
        ["injection", file] => labelled(file, "bad", loud, |text| !injection::scan(text).is_empty()),
        ["benign", folders @ ..] => benign(folders, loud),
        _ => println!("see the head of this file"),
    }
}

fn has_secret(text: &str) -> bool {
    Catalogue::BUILT_IN.text(text).as_str().contains("[REDACTED")
}

fn labelled(file: &str, label: &str, loud: bool, found: impl Fn(&str) -> bool) {
    let mut table: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let (family, text) = (row["family"].as_str().unwrap(), row["text"].as_str().unwrap());
        let bad = row[label].as_bool().unwrap();
        let is = found(text);
        let counts = table.entry(family.to_owned()).or_default();
        counts[if bad { 0 } else { 2 }] += 1;
        counts[if bad { 1 } else { 3 }] += usize::from(is);
        if loud && is != bad {
            println!("{} {family}: {}", if bad { "MISSED" } else { "WRONG" }, text.escape_debug());
        }
    }
    let mut all = [0; 4];
    for (family, counts) in &table {
        println!(
            "{family:32} found {:4} of {:4}   wrongly {:4} of {:4}",
            counts[1], counts[0], counts[3], counts[2]
        );
        (0..4).for_each(|i| all[i] += counts[i]);
    }
    println!("{:32} found {:4} of {:4}   wrongly {:4} of {:4}", "all", all[1], all[0], all[3], all[2]);
}

fn benign(folders: &[&str], loud: bool) {
    let mut files = Vec::new();
    folders.iter().for_each(|folder| gather(Path::new(folder), &mut files));
    let (mut bytes, mut redacted, mut flagged) = (0usize, 0usize, 0usize);
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for file in &files {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        bytes += text.len();
        let clean = Catalogue::BUILT_IN.text(&text);
        let before = text.matches("[REDACTED").count();
        let marks: Vec<&str> = clean.as_str().split("[REDACTED").skip(1 + before).collect();
        redacted += usize::from(!marks.is_empty());
        for (line, mark) in clean.as_str().lines().filter_map(|l| Some((l, l.split_once("[REDACTED")?.1))) {
            let id = mark.split(']').next().unwrap_or_default().trim_start_matches('-');
            *ids.entry(id.to_owned()).or_default() += 1;
            if loud && before == 0 {
                println!("SECRET {}: {}", file.display(), line.chars().take(160).collect::<String>());
            }
        }
        if let Some(found) = injection::scan(&text).classify(None) {
            flagged += 1;
            found.matched_patterns.iter().for_each(|id| *rules.entry(id).or_default() += 1);
            if loud {
                println!("ORDERS {}: {:?} {}", file.display(), found.matched_patterns, found.base64_decoded);
            }
        }
    }
    let mib = bytes as f64 / f64::from(1 << 20);
    println!(
        "{} files, {mib:.1} MiB: secrets in {redacted} files {ids:?}; flagged {flagged} files {rules:?}",
        files.len()
    );
}

fn gather(path: &Path, files: &mut Vec<std::path::PathBuf>) {
    if path.is_symlink() {
    } else if path.is_dir() {
        let Ok(entries) = std::fs::read_dir(path) else { return };
        let mut entries: Vec<_> = entries.flatten().map(|e| e.path()).collect();
        entries.sort();
        entries.iter().for_each(|e| gather(e, files));
    } else {
        files.push(path.to_owned());
    }
}
