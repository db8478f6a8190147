//! Measures what cleansing finds, misses and costs, on texts that the house did not write.
//!
//! `content secrets FILE`: lines of `{"family":…,"text":…,"secret":true|false}`: how many secrets are found in each
//! family and how many others are taken for one. `content injection FILE`: lines of `{"family":…,"text":…,"bad":…}`.
//! `content benign FOLDER…`: both scans over every file of folders in which nothing is expected. `content speed`:
//! throughput in processor time; `content sweep`: texts made to be slow. With `-v` what was missed or wrongly found is shown.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "it prints its figures, and a broken measurement must fail at once"
)]

use countersign_core::cleanse::{Catalogue, Written, injection};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let loud = words.iter().any(|w| w == "-v");
    words.retain(|w| w != "-v");
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["secrets", file] => labelled(file, "secret", loud, has_secret),
        ["injection", file] => labelled(file, "bad", loud, |text| !injection::scan(text).is_empty()),
        ["benign", folders @ ..] => benign(folders, loud),
        ["speed"] => speed(),
        ["sweep"] => sweep(),
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

/// Texts made to be slow, from 1 KiB to 16 MiB: processor time, and the exponent of a line through all sizes.
fn sweep() {
    let parts = [
        "eyJ",
        "-eyJ",
        "sk-",
        "://a:",
        "password",
        "token=",
        "AKIA",
        "-----BEGIN ",
        "basic ",
        "%41",
        "\\u0041",
        "ignore ",
        "ignore all previous ",
        "A",
        "aB3",
        "\0a",
        "é",
        "&#65;",
        "M.aaaaaa.",
        "bearer ",
        "not tell ",
        "aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3\n",
    ];
    for part in parts {
        let mut points = Vec::new();
        for power in (10..=24).step_by(2) {
            let size = 1usize << power;
            let text = part.repeat(size / part.len() + 1);
            let rounds = ((1 << 16) / size).max(1);
            let mut least = f64::MAX;
            for _ in 0..3 {
                let from = cpu();
                for _ in 0..rounds {
                    black_box(Catalogue::BUILT_IN.count(black_box(&text)));
                    black_box(injection::scan(black_box(&text)));
                }
                least = least.min((cpu() - from).as_secs_f64() / rounds as f64);
            }
            points.push((f64::from(power), least.log2()));
        }
        let n = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |a, p| (a.0 + p.0 / n, a.1 + p.1 / n));
        let over: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        let under: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
        println!(
            "{part:?}: exponent {:.2}, 16 MiB in {:.2} s",
            over / under,
            points.last().unwrap().1.exp2()
        );
    }
}

/// Processor time of this process.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

/// Best of seven, in nanoseconds.
fn best(mut work: impl FnMut()) -> f64 {
    (0..7)
        .map(|_| {
            let from = cpu();
            work();
            (cpu() - from).as_nanos() as f64
        })
        .fold(f64::MAX, f64::min)
}

fn speed() {
    // The first look of a process, as in a hook.
    let from = cpu();
    black_box(Catalogue::BUILT_IN.text(black_box("git push --force origin main")));
    println!("first look, no candidate      {:9.1} µs", (cpu() - from).as_nanos() as f64 / 1e3);
    let secret = format!("deploy with ghp_{} now", "aB3".repeat(12));
    let from = cpu();
    black_box(Catalogue::BUILT_IN.text(black_box(&secret)));
    println!("first look, one candidate     {:9.1} µs", (cpu() - from).as_nanos() as f64 / 1e3);
    let short = best(|| {
        (0..1000).for_each(|_| {
            drop(black_box(Catalogue::BUILT_IN.text(black_box("git push --force origin main"))))
        })
    });
    println!("short text, no candidate      {:9.3} µs", short / 1e6);
    let own: Vec<Written> = (0..80)
        .map(|i| Written {
            name: format!("OWN{i}"),
            regex: match i % 4 {
                0 => format!("corp{i}_[a-z0-9]{{20,}}"),
                1 => format!("(?:tenant{i}|account{i})-[0-9]{{8}}"),
                2 => format!(r"\bX{i}-[A-Z]{{4}}-[0-9]{{4}}\b"),
                _ => format!("internal-{i}://[a-z]+"),
            },
            flags: String::new(),
        })
        .collect();
    let with = Catalogue::with(&own).unwrap();
    let prose = "The quick brown fox jumps over the lazy dog while nobody looks at it from far away. ";
    let code =
        "fn main() { let value = compute(input, &options)?; println!(\"{value}\"); return value.len(); }\n";
    for (name, part) in [("prose", prose), ("source", code)] {
        for size in [1usize << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 24] {
            let text: String = part.chars().cycle().take(size).collect();
            let rounds = ((1 << 22) / size).max(1);
            let each = |ns: f64| size as f64 * rounds as f64 / ns * 1e9 / f64::from(1 << 30);
            let built_in = best(|| {
                (0..rounds).for_each(|_| {
                    black_box(Catalogue::BUILT_IN.count(black_box(&text)));
                })
            });
            let custom = best(|| {
                (0..rounds).for_each(|_| {
                    black_box(with.count(black_box(&text)));
                })
            });
            let orders =
                best(|| (0..rounds).for_each(|_| drop(black_box(injection::scan(black_box(&text))))));
            println!(
                "{name:7} {size:9} B: catalogue {:5.2} GiB/s, with 80 own patterns {:5.2} GiB/s, orders {:5.2} GiB/s",
                each(built_in),
                each(custom),
                each(orders)
            );
        }
    }
}
