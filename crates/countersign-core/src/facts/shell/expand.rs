//! From a word's parts to words: braces, tildes, known values, splitting; what is not known keeps its place.

use super::script::Raw;
use super::word::Part;
use super::{TOP, UNKNOWN, Word};

/// Most words that one word may become.
pub(super) const MAX_WORDS: usize = 64;

/// What a parameter holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// A text.
    Text(String),
    /// A file name that a pattern found.
    Match(String),
    /// The user's home folder.
    Home,
    /// The folder the line is in.
    Here,
    /// The folder of the repository that the line is in.
    Top,
    /// Not known.
    Nothing,
}

/// A piece of a word on its way through expansion.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bit {
    /// A character, and whether it stood bare: as a pattern, a brace or a tilde it then means something.
    Char(char, bool),
    /// A character of a file name that a pattern stands for.
    Match(char),
    /// Between two words.
    Break,
    /// There is a word here even if it is empty.
    Quote,
    /// A part that is not known.
    Unknown,
    /// The home folder's or this folder's name.
    Folder(&'static str),
    /// The name of the repository's folder.
    Top,
}

/// The pieces of a value.
pub(super) fn bits(known: &Known, quoted: bool, out: &mut Vec<Bit>) {
    if quoted {
        out.push(Bit::Quote);
    }
    match known {
        Known::Text(text) if quoted => out.extend(text.chars().map(|c| Bit::Char(c, false))),
        Known::Text(text) => out.extend(text.chars().map(|c| match c {
            ' ' | '\t' | '\n' => Bit::Break,
            c => Bit::Char(c, matches!(c, '*' | '?' | '[' | ']')),
        })),
        Known::Match(text) => out.extend(text.chars().map(Bit::Match)),
        Known::Home => out.push(Bit::Folder("~")),
        Known::Here => out.push(Bit::Folder(".")),
        Known::Top => out.push(Bit::Top),
        Known::Nothing => out.push(Bit::Unknown),
    }
}

/// Puts pieces together to words; what makes a word doubtful is told besides.
pub(super) fn words(bits: &[Bit], assigned: bool) -> (Vec<Word>, Option<&'static str>) {
    let mut doubt = None;
    let mut out = Vec::new();
    for field in bits.split(|b| *b == Bit::Break) {
        if field.is_empty() {
            continue;
        }
        match word(field, assigned) {
            Ok(word) => out.push(word),
            Err((word, why)) => {
                doubt = doubt.or(Some(why));
                out.push(word);
            }
        }
    }
    (out, doubt)
}

fn word(field: &[Bit], assigned: bool) -> Result<Word, (Word, &'static str)> {
    let mut word = Word::default();
    let mut dead = false;
    let mut doubt = None;
    let closes = field.contains(&Bit::Char(']', true));
    let field: Vec<&Bit> = field.iter().filter(|b| **b != Bit::Quote).collect();
    if field == [&Bit::Top] {
        return Ok(Word { text: TOP.to_owned(), live: false, unknown: true });
    }
    for (at, bit) in field.iter().enumerate() {
        let begins = word.text.is_empty() || (assigned && word.text.ends_with([':', '=']));
        // Whether a folder's name ends here.
        let whole = match field.get(at + 1) {
            None | Some(Bit::Char('/', _)) => true,
            // What docker mounts is told by a folder and a colon.
            Some(Bit::Char(':', _)) => assigned || matches!(bit, Bit::Folder(_)),
            _ => false,
        };
        match bit {
            Bit::Char('~', true) if begins && whole => {
                word.live = true;
                word.text.push('~');
            }
            Bit::Char('~', true) if begins => {
                doubt = Some("another user's home");
                word.live = true;
                word.text.push('~');
            }
            Bit::Char(c @ ('*' | '?'), true) | Bit::Char(c @ '[', true) if *c != '[' || closes => {
                word.live = true;
                // A leading dot makes hidden files its aim.
                if word.text.rsplit('/').next().unwrap_or_default().starts_with('.') {
                    doubt = Some("a pattern over hidden files");
                }
                word.text.push(*c);
            }
            Bit::Char(c, active) => {
                dead |= !active && (matches!(c, '*' | '?' | '[') || (*c == '~' && begins));
                word.text.push(*c);
            }
            Bit::Match(c) => {
                word.live = true;
                word.text.push(*c);
            }
            Bit::Folder(name) if whole && (begins || word.text.ends_with(['=', ':'])) => {
                word.live |= *name == "~";
                word.text.push_str(name);
            }
            Bit::Unknown | Bit::Folder(_) | Bit::Top => {
                word.unknown = true;
                if !word.text.ends_with(UNKNOWN) {
                    word.text.push(UNKNOWN);
                }
            }
            Bit::Break | Bit::Quote => {}
        }
    }
    if word.live && dead {
        doubt = doubt.or(Some("a word that is half pattern, half text"));
    }
    match doubt {
        Some(why) => Err((word, why)),
        None => Ok(word),
    }
}

/// What brace expansion makes of a word.
pub(super) fn braces(raw: &Raw) -> Result<Vec<Raw>, &'static str> {
    if !raw.iter().any(|p| matches!(p, Part::Bare(t) if t.contains('{'))) {
        return Ok(vec![raw.clone()]);
    }
    // bash itself loses count of braces that are quoted among bare ones: `{{a,b}#\{1..3}` has one brace less there.
    let quoted = |p: &Part| matches!(p, Part::Quoted(t) if t.contains(['{', '}']));
    if raw.iter().any(quoted) {
        return Err("quoted braces beside bare ones");
    }
    let mut signs = Vec::new();
    for part in raw {
        match part {
            Part::Bare(text) => signs.extend(text.chars().map(Sign::Char)),
            other => signs.push(Sign::Part(other.clone())),
        }
    }
    let mut fuel = 4_096;
    let expanded = expand(&signs, &mut fuel, 0)?;
    Ok(expanded.into_iter().map(joined).collect())
}

#[derive(Clone, PartialEq)]
enum Sign {
    Char(char),
    Part(Part),
}

fn joined(signs: Vec<Sign>) -> Raw {
    let mut raw = Raw::new();
    for sign in signs {
        match (raw.last_mut(), sign) {
            (Some(Part::Bare(text)), Sign::Char(c)) => text.push(c),
            (_, Sign::Char(c)) => raw.push(Part::Bare(c.to_string())),
            (_, Sign::Part(part)) => raw.push(part),
        }
    }
    raw
}

fn expand(signs: &[Sign], fuel: &mut usize, depth: usize) -> Result<Vec<Vec<Sign>>, &'static str> {
    const WHY: &str = "a brace expansion of more words than are read";
    *fuel = fuel.checked_sub(1 + signs.len() / 64).ok_or(WHY)?;
    if depth > 16 {
        return Err(WHY);
    }
    for (at, sign) in signs.iter().enumerate() {
        if *sign != Sign::Char('{') {
            continue;
        }
        // Each brace is looked for its end.
        *fuel = fuel.checked_sub(1 + (signs.len() - at) / 64).ok_or(WHY)?;
        let Some((members, end)) = members(signs, at) else { continue };
        let before = signs.get(..at).unwrap_or_default();
        let tails = expand(signs.get(end..).unwrap_or_default(), fuel, depth + 1)?;
        let mut out = Vec::new();
        for member in members {
            for middle in expand(&member, fuel, depth + 1)? {
                for tail in &tails {
                    out.push([before, &middle, tail].concat());
                    if out.len() > MAX_WORDS {
                        return Err(WHY);
                    }
                }
            }
        }
        return Ok(out);
    }
    Ok(vec![signs.to_vec()])
}

/// The members of the brace expression that begins here, and where it ends; nothing when it is only a brace.
fn members(signs: &[Sign], begin: usize) -> Option<(Vec<Vec<Sign>>, usize)> {
    let mut depth = 0usize;
    let mut out = vec![Vec::new()];
    for (at, sign) in signs.iter().enumerate().skip(begin) {
        match sign {
            Sign::Char('{') => {
                depth += 1;
                if depth == 1 {
                    continue;
                }
            }
            Sign::Char('}') => {
                depth -= 1;
                if depth == 0 {
                    let end = at + 1;
                    if out.len() > 1 {
                        return Some((out, end));
                    }
                    return sequence(out.first()?).map(|members| (members, end));
                }
            }
            Sign::Char(',') if depth == 1 => {
                out.push(Vec::new());
                continue;
            }
            _ => {}
        }
        out.last_mut()?.push(sign.clone());
    }
    None
}

/// `1..5`, `a..e`, `1..9..2`.
fn sequence(signs: &[Sign]) -> Option<Vec<Vec<Sign>>> {
    let text = signs
        .iter()
        .map(|s| if let Sign::Char(c) = s { Some(*c) } else { None })
        .collect::<Option<String>>()?;
    let mut parts = text.split("..");
    let (first, last, by) = (parts.next()?, parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let step = by.map_or(Some(1), |s| s.parse::<i64>().ok().map(|n| n.unsigned_abs().max(1)))?;
    let letter = |t: &str| t.chars().next().filter(|c| t.len() == 1 && c.is_ascii_alphabetic());
    let (from, to, letters) = match (first.parse::<i64>(), last.parse::<i64>(), letter(first), letter(last)) {
        (Ok(from), Ok(to), _, _) => (from, to, false),
        (_, _, Some(from), Some(to)) => (i64::from(u32::from(from)), i64::from(u32::from(to)), true),
        _ => return None,
    };
    let padded = |t: &str| t.trim_start_matches('-').len() > 1 && t.trim_start_matches('-').starts_with('0');
    let width = if padded(first) || padded(last) { first.len().max(last.len()) } else { 0 };
    let count = from.abs_diff(to) / step;
    // One more than the bound is enough to be over it.
    (0..=count.min(MAX_WORDS as u64))
        .map(|n| {
            let offset = i64::try_from(n.checked_mul(step)?).ok()?;
            let value = if to >= from { from.checked_add(offset)? } else { from.checked_sub(offset)? };
            let text = if letters {
                char::from_u32(u32::try_from(value).ok()?)?.to_string()
            } else {
                format!("{value:0width$}")
            };
            Some(text.chars().map(Sign::Char).collect())
        })
        .collect()
}
