//! Finding secrets in a text: the catalogue at the places its words point at, long runs, decoded views, a person's own
//! patterns. What comes out are places; replacing them is the caller's.
//!
//! Every look is bounded by bytes: a pattern sees one window, so the work grows with the text and not with what is in
//! it.

use super::assignment::{self, NAMES};
use super::catalogue::{BITS, Border, RUNS, SHAPES, Shape, compiled, compiled_run};
use super::custom::Custom;
use super::index::{Index, walk};
use super::plausible::{documented, entropy, placeholder};
use super::views;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

/// How a private key begins, in lower case.
pub(super) const PEM: &str = "-----begin";
/// What a pattern sees; longer tokens are followed to their end.
const WINDOW: usize = 4_096;

/// A secret's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// Where it stands.
    pub(super) range: Range<usize>,
    /// What it is.
    pub(super) id: Cow<'static, str>,
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Shape(u16),
    Name(u16),
    Pem,
}

fn index() -> &'static Index<Who> {
    static INDEX: OnceLock<Index<Who>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let shapes = (0u16..)
            .zip(SHAPES)
            .flat_map(|(i, shape)| shape.words.iter().map(move |w| (w.as_bytes(), Who::Shape(i))));
        let names = (0u16..).zip(NAMES).map(|(i, name)| (name.word.as_bytes(), Who::Name(i)));
        Index::new(shapes.chain(names).chain(std::iter::once((PEM.as_bytes(), Who::Pem))))
    })
}

/// Every secret, in order and apart from each other. The error: a pattern does not compile, so nobody can say.
pub(super) fn find(text: &[u8], custom: Option<&Custom>) -> Result<Vec<Hit>, ScanError> {
    let mut hits = plain(text, custom)?;
    views::look(text, custom, 0, &mut hits)?;
    Ok(apart(hits))
}

/// A scan that could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScanError;

/// The catalogue and a person's patterns, without looking behind any encoding.
pub(super) fn plain(text: &[u8], custom: Option<&Custom>) -> Result<Vec<Hit>, ScanError> {
    let mut hits = Vec::new();
    let mut failed = false;
    let bits = custom.map_or(&BITS, Custom::bits);
    let mut asked = custom.map(Custom::asked).unwrap_or_default();
    walk(text, bits, |at, hash| {
        if let Some(custom) = custom {
            custom.note(text, at, hash, &mut asked);
        }
        for who in index().owners(hash) {
            let hit = match who {
                Who::Shape(i) => match shape(text, at, usize::from(i)) {
                    Ok(hit) => hit,
                    Err(ScanError) => {
                        failed = true;
                        None
                    }
                },
                Who::Name(i) => NAMES.get(usize::from(i)).and_then(|name| {
                    let range = assignment::read(text, at, name)?;
                    Some(specific(text, range.start).unwrap_or(Hit { range, id: name.id.into() }))
                }),
                Who::Pem => private_key(text, at),
            };
            if let Some(hit) = hit {
                // A person's own words may begin inside; they are asked all the same.
                if let Some(custom) = custom {
                    custom.note_all(text, at + 1..hit.range.end, &mut asked);
                }
                let end = hit.range.end;
                hits.push(hit);
                return Some(end);
            }
        }
        None
    });
    if failed {
        return Err(ScanError);
    }
    if let Some(custom) = custom {
        custom.find(text, &asked, &mut hits);
    }
    Ok(hits)
}

/// What a member of a JSON object is, when its key says that its value is secret.
pub(super) fn member(key: &str, value: &str) -> Option<&'static str> {
    if key.is_empty() || !assignment::may_be(value) {
        return None;
    }
    let mut found = None;
    // A word at the end of the key has its four bytes, too.
    walk(&[key.as_bytes(), b"="].concat(), &BITS, |at, hash| {
        found = found.or_else(|| {
            index().owners(hash).find_map(|who| match who {
                Who::Name(i) => NAMES
                    .get(usize::from(i))
                    .filter(|name| assignment::is_member(key.as_bytes(), at, name, value))
                    .map(|name| name.id),
                _ => None,
            })
        });
        None
    });
    found
}

/// The vendor's own shape at the very beginning of a value: it says more than the name before it.
fn specific(text: &[u8], at: usize) -> Option<Hit> {
    let mut found = None;
    let head = text.get(at..(at + 4).min(text.len()))?;
    walk(head, &BITS, |_, hash| {
        found = index().owners(hash).find_map(|who| match who {
            Who::Shape(i) => {
                shape(text, at, usize::from(i)).ok().flatten().filter(|hit| hit.range.start == at)
            }
            Who::Pem => private_key(text, at),
            Who::Name(_) => None,
        });
        None
    });
    found
}

fn shape(text: &[u8], at: usize, index: usize) -> Result<Option<Hit>, ScanError> {
    let Some(shape) = SHAPES.get(index) else { return Ok(None) };
    let begins =
        |word: &str| text.get(at..at + word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word.as_bytes()));
    if !shape.words.iter().any(|word| begins(word)) {
        return Ok(None);
    }
    let Some(start) = at.checked_sub(shape.back) else { return Ok(None) };
    let before = start.checked_sub(1).and_then(|i| text.get(i)).copied();
    let before = before.filter(|_| !views::escaped(text, start));
    if !stands(shape, before) {
        return Ok(None);
    }
    let window = text.get(start..(start + WINDOW).min(text.len())).unwrap_or_default();
    if window
        .iter()
        .take(shape.solid)
        .take_while(|b| views::is_token(**b) || matches!(**b, b':' | b'$'))
        .count()
        < shape.solid
    {
        return Ok(None);
    }
    let pattern = compiled(index).ok_or(ScanError)?;
    let (found, grouped) = if pattern.captures_len() > 1 {
        let group = pattern.captures(window).and_then(|c| c.get(1).map(|m| m.range()));
        (group, true)
    } else {
        (pattern.find(window).map(|m| m.range()), false)
    };
    let Some(found) = found else { return Ok(None) };
    let secret = window.get(found.clone()).unwrap_or_default();
    // A name and a password, or a word of a sentence.
    if shape.id == "BASIC_AUTH" {
        let decoded = views::base64(secret.split(|b| *b == b'=').next().unwrap_or_default());
        if !decoded.contains(&b':') || !decoded.iter().all(|b| (0x20..0x7f).contains(b)) {
            return Ok(None);
        }
    }
    let named = grouped && found.start > 0;
    let none = if named { placeholder(secret) } else { documented(secret) };
    if none || shape.entropy > 0 && entropy(secret) * 10.0 < f32::from(shape.entropy) {
        return Ok(None);
    }
    let mut range = found.start + start..found.end + start;
    if found.end == window.len() {
        range.end +=
            text.get(range.end..).unwrap_or_default().iter().take_while(|b| views::is_token(**b)).count();
    }
    let hit = Hit { range, id: shape.id.into() };
    Ok(Some(match named {
        true => specific(text, hit.range.start).filter(|s| s.range.end >= hit.range.end).unwrap_or(hit),
        false => hit,
    }))
}

fn stands(shape: &Shape, before: Option<u8>) -> bool {
    let Some(before) = before else { return shape.border != Border::AfterDigit };
    match shape.border {
        Border::None => true,
        Border::Word => !before.is_ascii_alphanumeric(),
        Border::Token => !before.is_ascii_alphanumeric() && !matches!(before, b'-' | b'_' | b'.'),
        Border::AfterDigit => before.is_ascii_digit(),
    }
}

/// A block from its first line to its last, or to the end of the text where that is missing.
fn private_key(text: &[u8], at: usize) -> Option<Hit> {
    let head = text.get(at..(at + 96).min(text.len()))?;
    if !head.get(..PEM.len())?.eq_ignore_ascii_case(PEM.as_bytes()) {
        return None;
    }
    let label = head.get(PEM.len()..)?;
    let close = memchr::memmem::find(label, b"-----")?;
    let label = label.get(..close)?.to_ascii_uppercase();
    let label = label.strip_suffix(b" BLOCK").unwrap_or(&label);
    if !label.ends_with(b"PRIVATE KEY") {
        return None;
    }
    let body = at + PEM.len() + close + 5;
    let rest = text.get(body..)?;
    let end = memchr::memmem::find(rest, b"-----END").and_then(|foot| {
        let behind = foot + 8;
        let line = rest.get(behind..(behind + 96).min(rest.len()))?;
        Some(body + behind + memchr::memmem::find(line, b"-----")? + 5)
    });
    Some(Hit { range: at..end.unwrap_or(text.len()), id: "PRIVATE_KEY".into() })
}

/// The shapes that a long run is looked at for. `run` is the run alone; patterns see what is behind it as well.
pub(super) fn run(text: &[u8], run: &Range<usize>) -> Result<Option<Hit>, ScanError> {
    let begin = text.get(run.clone()).unwrap_or_default();
    for (index, shape) in RUNS.iter().enumerate() {
        if !(shape.begins)(begin) {
            continue;
        }
        let pattern = compiled_run(index).ok_or(ScanError)?;
        let window = text.get(run.start..(run.start + 256).min(text.len())).unwrap_or_default();
        let found = pattern.captures(window).and_then(|c| c.get(1).or_else(|| c.get(0)).map(|m| m.range()));
        if let Some(found) = found
            && !window.get(found.clone()).is_some_and(documented)
        {
            return Ok(Some(Hit {
                range: run.start + found.start..run.start + found.end,
                id: shape.id.into(),
            }));
        }
    }
    Ok(None)
}

/// Sorts places and joins those that overlap; the first of them says what it is.
pub(super) fn apart(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.range.start, std::cmp::Reverse(hit.range.end)));
    let mut out: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match out.last_mut() {
            Some(last) if hit.range.start < last.range.end => {
                last.range.end = last.range.end.max(hit.range.end)
            }
            _ => out.push(hit),
        }
    }
    out
}
