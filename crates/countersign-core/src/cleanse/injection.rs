//! Text that gives orders to a model (gateway.md 8): which rules match, and what that makes of a result.
//!
//! Inside: the rules as data (`rules`), the preparing of text that is not plain ASCII (`prepare`), and the looking, also
//! behind encodings. A rule is a few words close to each other, so that white space, markup and small words between them
//! do not matter. Where it stops: nothing rests on it. It is measured and not promised (P-32); every other promise holds
//! when it finds nothing.

mod prepare;
mod rules;

use super::index::{Index, walk};
use super::views;
use crate::code::Code;
use crate::facts::tools::Tier;
use crate::json::Json;
use rules::{BITS, RULES, Rule};
use std::sync::OnceLock;

/// How many encodings deep.
const DEPTH: u32 = 3;
/// Decoded bytes of one text that are looked at, as a multiple of its length.
const DECODED: usize = 4;
/// What a rule sees behind its first word.
const WINDOW: usize = 240;
/// Most words of it.
const MAX_WORDS: usize = 32;

/// What was matched in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    rules: Vec<&'static Rule>,
    decoded: bool,
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing matched.
    Clean,
    /// One rule matched in the result of a call that changes things.
    Suspicious,
    /// More than that.
    Likely,
}

impl Verdict {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Clean => "clean",
            Verdict::Suspicious => "suspicious",
            Verdict::Likely => "likely_injection",
        }
    }
}

/// What a record keeps of a flagged text (gateway.md 8.6): never the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `suspicious` or `likely_injection`.
    pub verdict: Verdict,
    /// Ids of the rules, sorted.
    pub matched_patterns: Vec<&'static str>,
    /// Something was found behind an encoding.
    pub base64_decoded: bool,
}

/// What becomes of flagged results (gateway.md 8.5; `cleanse.injection`, `cleanse.suspicious_blocks_writes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Consequence {
    /// `block` rather than `warn`.
    pub block: bool,
    /// Suspicious results of calls that change things are kept back, too.
    pub suspicious_blocks_writes: bool,
}

impl Default for Consequence {
    fn default() -> Consequence {
        Consequence { block: true, suspicious_blocks_writes: false }
    }
}

impl Consequence {
    /// The code with which a flagged result is kept back; `None` lets it pass, recorded.
    pub fn of(self, finding: &Finding) -> Option<Code> {
        match finding.verdict {
            Verdict::Clean => None,
            Verdict::Suspicious => {
                (self.block && self.suspicious_blocks_writes).then_some(Code::InjectionSuspected)
            }
            Verdict::Likely => Some(Code::InjectionFound),
        }
    }
}

impl Finding {
    /// What a record keeps: words of ours, never the text.
    pub fn record(&self) -> Json {
        let rules = self.matched_patterns.iter().map(|id| Json::str(*id)).collect();
        Json::object([
            ("verdict", Json::str(self.verdict.as_str())),
            ("matched_patterns", Json::Array(rules)),
            ("base64_decoded", Json::Bool(self.base64_decoded)),
        ])
    }
}

impl Matches {
    /// Whether nothing matched.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The classification (gateway.md 8.4): the first of its lines that applies. `None` when nothing matched.
    pub fn classify(&self, tier: Option<Tier>) -> Option<Finding> {
        let first = self.rules.first()?;
        let families = self.rules.iter().any(|rule| rule.family != first.family);
        let changes = matches!(tier, Some(Tier::Write | Tier::Destructive));
        let decisive = self.rules.iter().any(|rule| rule.decisive);
        let verdict = if self.decoded || families || decisive || !changes {
            Verdict::Likely
        } else {
            Verdict::Suspicious
        };
        let mut matched_patterns: Vec<&'static str> = self.rules.iter().map(|rule| rule.id).collect();
        matched_patterns.sort_unstable();
        Some(Finding { verdict, matched_patterns, base64_decoded: self.decoded })
    }

    fn add(&mut self, rule: &'static Rule, decoded: bool) {
        if !self.rules.iter().any(|r| r.id == rule.id) {
            self.rules.push(rule);
            // What stands there openly as well is not hidden.
            self.decoded |= decoded;
        }
    }
}

/// Looks for every rule in a text.
pub fn scan(text: &str) -> Matches {
    let mut found = Matches::default();
    let mut budget = text.len().saturating_mul(DECODED).saturating_add(4_096);
    look(text, 0, &mut budget, &mut found);
    found
}

fn look(text: &str, depth: u32, budget: &mut usize, found: &mut Matches) {
    let decoded = depth > 0;
    if text.is_ascii() {
        words(text.as_bytes(), decoded, found);
    } else {
        let prepared = prepare::prepare(text);
        words(prepared.plain.as_bytes(), decoded, found);
        if let Some(folded) = &prepared.folded {
            words(folded.as_bytes(), decoded, found);
        }
        if let Some(tagged) = &prepared.tagged {
            found.add(&rules::TAG_CHARACTERS, decoded);
            words(tagged.as_bytes(), true, found);
        }
        if prepared.invisible_run {
            found.add(&rules::INVISIBLE_RUN, decoded);
        }
    }
    // Sources write the sequence as an escape, and a terminal shows that.
    if !decoded && conceals(text.as_bytes()) {
        found.add(&rules::ANSI_CONCEAL, decoded);
    }
    if depth < DEPTH {
        behind(text, depth, budget, found);
    }
}

/// A terminal sequence that makes text invisible.
fn conceals(text: &[u8]) -> bool {
    memchr::memchr_iter(0x1b, text).any(|at| {
        let rest = text.get(at + 1..(at + 12).min(text.len())).unwrap_or_default();
        let [b'[', rest @ ..] = rest else { return false };
        let end = rest.iter().position(|b| !b.is_ascii_digit() && *b != b';').unwrap_or(0);
        rest.get(end) == Some(&b'm')
            && rest.get(..end).is_some_and(|codes| codes.split(|b| *b == b';').any(|c| c == b"8"))
    })
}

/// The text behind encodings.
fn behind(text: &str, depth: u32, budget: &mut usize, found: &mut Matches) {
    let bytes = text.as_bytes();
    let mut spend = |decoded: Vec<u8>, found: &mut Matches| {
        if decoded.len() <= *budget && readable(&decoded) {
            *budget -= decoded.len();
            look(&String::from_utf8_lossy(&decoded), depth + 1, budget, found);
        }
    };
    views::runs(bytes, |run| {
        match run {
            views::Run::Hex(digits) => spend(views::hex(digits), found),
            views::Run::Base64(symbols) => {
                for phase in 0..4 {
                    let part = symbols.get(phase..).unwrap_or_default();
                    // Most runs are digests or pictures: their beginning says so.
                    if readable(&views::base64(part.get(..part.len().min(64)).unwrap_or_default())) {
                        spend(views::base64(part), found);
                    }
                }
            }
        }
    });
    if let Some(decoded) = prepare::unescaped(text) {
        spend(decoded.into_bytes(), found);
    }
}

/// Text, of one or two bytes a letter: nineteen of twenty bytes can be read.
fn readable(decoded: &[u8]) -> bool {
    let zeros = decoded.iter().filter(|b| **b == 0).count();
    let readable =
        decoded.iter().filter(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..)).count();
    let high = decoded.iter().filter(|b| **b >= 0x80).count();
    let ascii = readable - high;
    !decoded.is_empty()
        && (zeros == 0
            && readable * 20 >= decoded.len() * 19
            && (ascii * 10 >= decoded.len() * 9 || std::str::from_utf8(decoded).is_ok())
            || zeros * 20 >= decoded.len() * 9 && (readable + zeros) * 20 >= decoded.len() * 19)
}

fn index() -> &'static Index<u16> {
    static INDEX: OnceLock<Index<u16>> = OnceLock::new();
    INDEX.get_or_init(|| {
        Index::new(
            (0u16..).zip(RULES).flat_map(|(i, rule)| rule.first.iter().map(move |w| (w.as_bytes(), i))),
        )
    })
}

/// Rules whose words stand in a text.
fn words(text: &[u8], decoded: bool, found: &mut Matches) {
    // Text of two bytes a letter.
    if text.contains(&0) {
        let narrow: Vec<u8> = text.iter().copied().filter(|b| *b != 0).collect();
        return words(&narrow, decoded, found);
    }
    walk(text, &BITS, |at, hash| {
        for i in index().owners(hash) {
            let Some(rule) = RULES.get(usize::from(i)) else { continue };
            if !found.rules.iter().any(|r| r.id == rule.id) && rule.matches(text, at) {
                found.add(rule, decoded);
            }
        }
        None
    });
}

impl Rule {
    fn matches(&self, text: &[u8], at: usize) -> bool {
        let letter = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        // The letter of an escape such as `\n` is white space.
        let before = at.checked_sub(1).and_then(|i| text.get(i)).filter(|_| !views::escaped(text, at));
        let stands = |word: &&&str| {
            let word = word.as_bytes();
            let end = at + word.len();
            text.get(at..end).is_some_and(|t| t.eq_ignore_ascii_case(word))
                && !(letter(word.first()) && letter(before))
                && !(letter(word.last()) && letter(text.get(end)))
        };
        let Some(first) = self.first.iter().find(stands) else { return false };
        let end = at + first.len();
        let window = text.get(end..(end + WINDOW).min(text.len())).unwrap_or_default();
        // The first step alone says no most of the time.
        let Some(step) = self.then.first() else { return true };
        let near = split(window, step.within);
        near.iter().any(|word| step.has(word)) && follow(&split(window, MAX_WORDS), self.then)
    }
}

/// The words of a window up to the end of its sentence, as far as rules look.
fn split(window: &[u8], most: usize) -> Vec<&[u8]> {
    let mut out: Vec<&[u8]> = Vec::new();
    let mut from = None;
    let mut escape = false;
    for (i, byte) in window.iter().chain(std::iter::once(&b' ')).enumerate() {
        if std::mem::replace(&mut escape, *byte == b'\\') && matches!(byte, b'n' | b'r' | b't') {
            continue;
        }
        if byte.is_ascii_alphanumeric() || *byte >= 0x80 || *byte == b'\'' {
            from.get_or_insert(i);
            continue;
        }
        if let Some(from) = from.take() {
            // A quote behind a word is no part of it.
            let word = window.get(from..i).unwrap_or_default();
            out.push(word.strip_suffix(b"'").unwrap_or(word));
        }
        let ends = matches!(byte, b'.' | b'!' | b'?' | b';')
            && window.get(i + 1).is_none_or(u8::is_ascii_whitespace);
        if ends && !out.is_empty() || out.len() >= most {
            break;
        }
    }
    out
}

/// Whether the steps follow each other, each at most its gap away.
fn follow(words: &[&[u8]], steps: &[rules::Step]) -> bool {
    let [step, rest @ ..] = steps else { return true };
    words
        .iter()
        .take(step.within)
        .enumerate()
        .any(|(i, word)| step.has(word) && follow(words.get(i + 1..).unwrap_or_default(), rest))
}

impl rules::Step {
    fn has(&self, word: &[u8]) -> bool {
        self.words.iter().any(|w| is_word(word, w.as_bytes()))
    }
}

/// A pattern's word; with `*` at its end it is a beginning, with `*` at its beginning an end.
fn is_word(word: &[u8], pattern: &[u8]) -> bool {
    if let [b'*', end @ ..] = pattern {
        return word.len() >= end.len()
            && word.get(word.len() - end.len()..).is_some_and(|w| w.eq_ignore_ascii_case(end));
    }
    match pattern.split_last() {
        Some((b'*', begin)) => word.get(..begin.len()).is_some_and(|w| w.eq_ignore_ascii_case(begin)),
        _ => word.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests;
