//! A person's own patterns (`[[cleanse.patterns]]`, gateway.md 7.3): compiled when configuration is read, run after the
//! catalogue over the same text.
//!
//! A pattern whose matches all begin with known letters runs only where those occur; the others share one look that
//! says which of them match at all. Every engine is linear in the text.

use super::catalogue::BITS;
use super::index::{Bits, Index, add};
use super::secrets::Hit;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use regex_syntax::hir::literal::Extractor;
use std::ops::Range;

/// Largest compiled pattern, in bytes.
const SIZE: usize = 1 << 20;
/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 4_096;
/// Most patterns.
const MAX_PATTERNS: usize = 500;
/// Most beginnings that a pattern is told by.
const MAX_WORDS: usize = 64;

/// One pattern as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What stands in its marker.
    pub name: String,
    /// The pattern.
    pub regex: String,
    /// Letters of `imsxgy`.
    pub flags: String,
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PatternError {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub remedy: &'static str,
    /// Where in the pattern, in bytes, if that is known.
    pub at: Option<usize>,
}

/// One pattern, ready.
#[derive(Clone, Debug)]
struct Own {
    id: String,
    regex: Regex,
    /// Runs only where one of its words occurs.
    worded: bool,
}

/// All of a person's patterns, ready.
#[derive(Clone, Debug)]
pub(super) struct Custom {
    own: Vec<Own>,
    words: Vec<Vec<u8>>,
    bits: Box<Bits>,
    index: Index<(u16, u16)>,
    /// Those without words, and who they are.
    set: Option<(RegexSet, Vec<usize>)>,
}

/// Compiles one pattern alone: what the reader of configuration asks for each.
pub fn check(written: &Written) -> Result<(), PatternError> {
    build(written).map(|_| ())
}

fn build(written: &Written) -> Result<Regex, PatternError> {
    let bad = |what: String, remedy, at| Err(PatternError { what, remedy, at });
    let name = &written.name;
    if !(1..=64).contains(&name.len())
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    {
        let what = "the name is not 1 to 64 letters, digits, `_` or `-`".to_owned();
        return bad(what, "write a name such as INTERNAL_TOKEN: it stands in the marker", None);
    }
    if written.regex.len() > MAX_PATTERN {
        return bad(
            format!("the pattern has more than {MAX_PATTERN} bytes"),
            "write it shorter, or as several",
            None,
        );
    }
    if let Some(flag) = written.flags.chars().find(|c| !"imsxgy".contains(*c)) {
        return bad(
            format!("the flag `{flag}` is unknown"),
            "flags are i, m, s and x; g and y change nothing",
            None,
        );
    }
    let has = |flag: char| written.flags.contains(flag);
    let hir = match parser(written).parse(&written.regex) {
        Ok(hir) => hir,
        Err(regex_syntax::Error::Parse(e)) => {
            use regex_syntax::ast::ErrorKind;
            let at = Some(e.span().start.offset);
            return match e.kind() {
                ErrorKind::UnsupportedBackreference => bad(
                    "the pattern refers back to a group, which cannot be matched in linear time".to_owned(),
                    "write the repeated part out, or match the part before it alone",
                    at,
                ),
                ErrorKind::UnsupportedLookAround => bad(
                    "the pattern looks ahead or behind, which cannot be matched in linear time".to_owned(),
                    "match the text itself; `\\b`, `^` and `$` are possible",
                    at,
                ),
                kind => bad(format!("the pattern cannot be read: {kind}"), "correct the pattern", at),
            };
        }
        Err(e) => {
            return bad(
                format!("the pattern cannot be read: {}", last_line(&e)),
                "correct the pattern",
                None,
            );
        }
    };
    if hir.properties().minimum_len() == Some(0) {
        let what = "the pattern matches the empty text, which is everywhere".to_owned();
        return bad(what, "make at least one part of it required", None);
    }
    let mut builder = RegexBuilder::new(&written.regex);
    let built = builder
        .case_insensitive(has('i'))
        .multi_line(has('m'))
        .dot_matches_new_line(has('s'))
        .ignore_whitespace(has('x'))
        .size_limit(SIZE)
        .build();
    match built {
        Ok(regex) => Ok(regex),
        Err(regex::Error::CompiledTooBig(_)) => bad(
            format!("the pattern needs more than {SIZE} bytes"),
            "use smaller counts in `{…}`, or ASCII classes such as [0-9]",
            None,
        ),
        Err(e) => {
            bad(format!("the pattern cannot be compiled: {}", last_line(&e)), "correct the pattern", None)
        }
    }
}

/// Reads a pattern with its flags into its parts: what is asked about it before it is compiled.
fn parser(written: &Written) -> regex_syntax::Parser {
    let has = |flag: char| written.flags.contains(flag);
    regex_syntax::ParserBuilder::new()
        .utf8(false)
        .case_insensitive(has('i'))
        .multi_line(has('m'))
        .dot_matches_new_line(has('s'))
        .ignore_whitespace(has('x'))
        .build()
}

fn last_line(e: &impl ToString) -> String {
    e.to_string().lines().last().unwrap_or_default().to_owned()
}

/// Letters that every match begins with, if they are known and long enough to be looked for.
fn beginnings(written: &Written) -> Option<Vec<Vec<u8>>> {
    let hir = parser(written).parse(&written.regex).ok()?;
    let mut found = Extractor::new().limit_class(40).limit_total(400).extract(&hir);
    found.keep_first_bytes(4);
    let mut words: Vec<Vec<u8>> =
        found.literals()?.iter().map(|l| l.as_bytes().to_ascii_lowercase()).collect();
    words.sort();
    words.dedup();
    let usable =
        !words.is_empty() && words.len() <= MAX_WORDS && words.iter().all(|w| w.len() >= 4 && w.is_ascii());
    usable.then_some(words)
}

impl Custom {
    /// Puts patterns together; `None` when there are none.
    pub(super) fn new(written: &[Written]) -> Result<Option<Custom>, PatternError> {
        if written.is_empty() {
            return Ok(None);
        }
        if written.len() > MAX_PATTERNS {
            let what = format!("there are more than {MAX_PATTERNS} patterns");
            return Err(PatternError { what, remedy: "join some of them with `|`", at: None });
        }
        let mut custom = Custom {
            own: Vec::new(),
            words: Vec::new(),
            bits: Box::new(BITS),
            index: Index::new(std::iter::empty()),
            set: None,
        };
        let mut owners: Vec<(u16, u16)> = Vec::new();
        let mut rest: Vec<usize> = Vec::new();
        for (i, pattern) in written.iter().enumerate() {
            let regex = build(pattern)?;
            let words = beginnings(pattern);
            match &words {
                Some(words) => {
                    for word in words {
                        add(&mut custom.bits, word);
                        let at = u16::try_from(custom.words.len()).unwrap_or(u16::MAX);
                        owners.push((at, u16::try_from(i).unwrap_or(u16::MAX)));
                        custom.words.push(word.clone());
                    }
                }
                None => rest.push(i),
            }
            let id = pattern.name.to_ascii_uppercase().replace('-', "_");
            custom.own.push(Own { id, regex, worded: words.is_some() });
        }
        custom.index = Index::new(custom.words.iter().map(Vec::as_slice).zip(owners.iter().copied()));
        if rest.len() > 1 {
            let patterns = rest.iter().filter_map(|i| written.get(*i)).map(|w| {
                let on: String = w.flags.chars().filter(|f| "imsx".contains(*f)).collect();
                match (on.is_empty(), on.contains('x')) {
                    (true, _) => w.regex.clone(),
                    // A comment at the end would swallow the parenthesis.
                    (false, true) => format!("(?{on}:{}\n)", w.regex),
                    (false, false) => format!("(?{on}:{})", w.regex),
                }
            });
            // Without the shared look each of them runs by itself.
            let set = RegexSetBuilder::new(patterns).size_limit(64 * SIZE).dfa_size_limit(16 << 20).build();
            custom.set = set.ok().map(|set| (set, rest));
        }
        Ok(Some(custom))
    }

    /// Hashes of the catalogue's words and of these.
    pub(super) fn bits(&self) -> &Bits {
        &self.bits
    }

    /// A fresh list of who was asked.
    pub(super) fn asked(&self) -> Vec<bool> {
        vec![false; self.own.len()]
    }

    /// Notes whose word stands at a place.
    pub(super) fn note(&self, text: &[u8], at: usize, hash: u16, asked: &mut [bool]) {
        for (word, owner) in self.index.owners(hash) {
            let stands = self
                .words
                .get(usize::from(word))
                .is_some_and(|w| text.get(at..at + w.len()).is_some_and(|t| t.eq_ignore_ascii_case(w)));
            if stands && let Some(asked) = asked.get_mut(usize::from(owner)) {
                *asked = true;
            }
        }
    }

    /// Notes whose words stand in a part that the catalogue took as a whole.
    pub(super) fn note_all(&self, text: &[u8], part: Range<usize>, asked: &mut [bool]) {
        let from = part.start;
        let Some(part) = text.get(part.start..(part.end + 3).min(text.len())) else { return };
        super::index::walk(part, &self.bits, |at, hash| {
            self.note(text, from + at, hash, asked);
            None
        });
    }

    /// Every match of the patterns that were asked.
    pub(super) fn find(&self, text: &[u8], asked: &[bool], hits: &mut Vec<Hit>) {
        let matched: Option<Vec<usize>> = self
            .set
            .as_ref()
            .map(|(set, who)| set.matches(text).iter().filter_map(|m| who.get(m).copied()).collect());
        for (i, own) in self.own.iter().enumerate() {
            let runs = match (own.worded, &matched) {
                (true, _) => asked.get(i).copied().unwrap_or(false),
                (false, Some(matched)) => matched.contains(&i),
                (false, None) => true,
            };
            if runs {
                hits.extend(
                    own.regex.find_iter(text).map(|m| Hit { range: m.range(), id: own.id.clone().into() }),
                );
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::string_slice)] // of examples in ASCII
mod tests {
    use super::*;

    fn written(name: &str, regex: &str, flags: &str) -> Written {
        Written { name: name.into(), regex: regex.into(), flags: flags.into() }
    }

    /// GINV-44.
    #[test]
    fn what_is_refused() {
        for (regex, flags, part) in [
            (r"(a)\1", "", "refers back"),
            (r"(?=a)b", "", "looks ahead"),
            (r"(?<!a)b", "", "looks ahead or behind"),
            ("a*", "", "empty text"),
            ("(", "", "cannot be read"),
            ("a", "q", "flag `q`"),
            (r"\w{1000}{1000}", "", "bytes"),
        ] {
            let e = check(&written("X", regex, flags)).unwrap_err();
            assert!(e.what.contains(part), "{regex}: {}", e.what);
        }
        assert!(check(&written("no name", "a", "")).is_err());
        assert!(check(&written("OK-1", "a b # c", "imsxgy")).is_ok());
    }

    #[test]
    fn flags_and_gates() {
        let custom = Custom::new(&[
            written("a", "corp_[0-9]+", ""),
            written("b", "^x.y$", "ms"),
            written("c", "[QZ][0-9]{3}", "i"),
            written("d", "ab c # d", "x"),
        ])
        .unwrap()
        .unwrap();
        let found = |text: &str| {
            let hits = super::super::secrets::plain(text.as_bytes(), Some(&custom)).unwrap();
            super::super::secrets::apart(hits)
                .into_iter()
                .map(|h| (h.id.into_owned(), text[h.range].to_owned()))
                .collect::<Vec<_>>()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(found("corp_12 corp_3"), [pair("A", "corp_12"), pair("A", "corp_3")]);
        assert_eq!(found("x\ny\nx-y"), [pair("B", "x\ny"), pair("B", "x-y")]);
        assert_eq!(found("q123 abc"), [pair("C", "q123"), pair("D", "abc")]);
        assert!(found("nothing").is_empty());
    }
}
