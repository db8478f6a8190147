//! What cleansing costs: taking secrets out, looking for orders to a model, and how both grow with the text.
//!
//! `cargo bench -p countersign-core --bench content`. Figures mean something beside each other, in one run: first what
//! the first look of a process costs, then throughput, then texts made to be slow with the exponent of each. Time is that
//! of the processor where it is ours to count, the best of several.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a broken measurement must fail at once, and its macros write items without words"
)]

use countersign_core::cleanse::{Catalogue, Known, Written, injection};
use divan::Bencher;
use divan::counter::BytesCount;
use std::hint::black_box;
use std::time::Duration;

fn main() {
    // Built by a test run, it only has to start.
    let measure = std::env::args().any(|arg| arg == "--bench");
    if measure {
        first_looks();
    }
    divan::main();
    if measure {
        growth();
    }
}

/// Processor time of this process.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

/// As in a hook, which lives for one call. Must come before anything else.
fn first_looks() {
    let plain = "git push --force origin main";
    let secret = format!("deploy with ghp_{} now", "aB3".repeat(12));
    for (what, text) in [("no candidate", plain), ("one candidate", &secret)] {
        let from = cpu();
        black_box(Catalogue::BUILT_IN.text(black_box(text)));
        println!("first look, {what:13} {:8.1} µs", (cpu() - from).as_nanos() as f64 / 1e3);
    }
}

const PROSE: &str = "The quick brown fox jumps over the lazy dog while nobody looks at it from far away. ";
const SOURCE: &str =
    "fn main() { let value = compute(input, &options)?; println!(\"{value}\"); return value.len(); }\n";
const SIZES: [usize; 4] = [1 << 10, 1 << 14, 1 << 18, 1 << 22];

fn text(of: &str, size: usize) -> String {
    of.chars().cycle().take(size).collect()
}

/// A secret in every line, so that everything behind finding is at work as well.
fn secrets(size: usize) -> String {
    text(&format!("{SOURCE}const KEY: &str = \"ghp_{}\";\n", "aB3".repeat(12)), size)
}

/// Eighty patterns of a person's own, of four kinds.
fn own() -> Catalogue {
    let patterns: Vec<Written> = (0..80)
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
    Catalogue::with(&patterns).unwrap()
}

fn over<T>(bencher: Bencher<'_, '_>, text: &str, mut work: impl FnMut(&str) -> T) {
    bencher.counter(BytesCount::of_str(text)).bench_local(|| work(black_box(text)));
}

#[divan::bench(args = SIZES)]
fn secrets_in_prose(bencher: Bencher<'_, '_>, size: usize) {
    over(bencher, &text(PROSE, size), |t| Catalogue::BUILT_IN.count(t));
}

#[divan::bench(args = SIZES)]
fn secrets_in_source(bencher: Bencher<'_, '_>, size: usize) {
    over(bencher, &text(SOURCE, size), |t| Catalogue::BUILT_IN.count(t));
}

#[divan::bench(args = SIZES)]
fn secrets_where_there_are_some(bencher: Bencher<'_, '_>, size: usize) {
    over(bencher, &secrets(size), |t| Catalogue::BUILT_IN.text(t));
}

#[divan::bench(args = SIZES)]
fn secrets_with_eighty_own_patterns(bencher: Bencher<'_, '_>, size: usize) {
    let own = own();
    over(bencher, &text(SOURCE, size), |t| own.count(t));
}

#[divan::bench(args = SIZES)]
fn orders_in_prose(bencher: Bencher<'_, '_>, size: usize) {
    over(bencher, &text(PROSE, size), injection::scan);
}

#[divan::bench(args = SIZES)]
fn orders_in_source(bencher: Bencher<'_, '_>, size: usize) {
    over(bencher, &text(SOURCE, size), injection::scan);
}

/// Texts made to be slow, from 1 KiB to 16 MiB: the exponent of a line through all sizes; 1 is linear.
fn growth() {
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
    let (mut least, mut most, mut slowest) = (f64::MAX, f64::MIN, (0.0, ""));
    for part in parts {
        let mut points = Vec::new();
        for power in (10..=24).step_by(2) {
            let size = 1usize << power;
            let text = part.repeat(size / part.len() + 1);
            let rounds = ((1 << 16) / size).max(1);
            let best = (0..3).map(|_| {
                let from = cpu();
                for _ in 0..rounds {
                    black_box(Catalogue::BUILT_IN.count(black_box(&text)));
                    black_box(injection::scan(black_box(&text)));
                }
                (cpu() - from).as_secs_f64() / rounds as f64
            });
            points.push((f64::from(power), best.fold(f64::MAX, f64::min).log2()));
        }
        let n = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |a, p| (a.0 + p.0 / n, a.1 + p.1 / n));
        let over: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        let under: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
        let (exponent, whole) = (over / under, points.last().unwrap().1.exp2());
        println!("{part:?}: exponent {exponent:.2}, 16 MiB in {whole:.2} s");
        (least, most) = (least.min(exponent), most.max(exponent));
        if whole > slowest.0 {
            slowest = (whole, part);
        }
    }
    println!(
        "exponents {least:.2} to {most:.2}; the slowest 16 MiB take {:.2} s ({:?})",
        slowest.0, slowest.1
    );
}

/// Values of the vault with every form of each: a value too short for encodings has one form, a long one about eighty.
fn known(values: usize) -> Known {
    let value = |n: usize| match values {
        0 => b"sh0rt-1".to_vec(),
        _ => format!("s3cret-{n:04}-{}", "aB3+/".repeat(6)).into_bytes(),
    };
    let all: Vec<Vec<u8>> = (0..values.max(1)).map(value).collect();
    Known::new(all.iter().map(Vec::as_slice)).unwrap()
}

/// One form, about a hundred, about a thousand.
#[divan::bench(args = [0, 1, 12])]
fn known_values_taken_out(bencher: Bencher<'_, '_>, values: usize) {
    let known = known(values);
    over(bencher, &text(PROSE, 1 << 20), |t| known.scrub_bytes(t.as_bytes()).is_some());
}

/// The look behind encodings that an answer gets besides.
#[divan::bench(args = [1, 12])]
fn known_values_behind_encodings(bencher: Bencher<'_, '_>, values: usize) {
    let known = known(values);
    over(bencher, &text(SOURCE, 1 << 20), |t| known.remains(t.as_bytes()));
}

/// What noting the forms of a secret costs, once a request.
#[divan::bench(args = [1, 12])]
fn forms_of_known_values(bencher: Bencher<'_, '_>, values: usize) {
    bencher.bench_local(|| known(black_box(values)));
}
