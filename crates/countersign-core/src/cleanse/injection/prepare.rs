//! Text as rules look at it: one spelling for letters that look alike, nothing that shows nothing. For matching only;
//! it is never kept.
//!
//! ASCII is copied as it is, since rules compare without case and skip white space and markup themselves; only what
//! lies between is worked on.

use super::super::show::hides;
use super::super::views::escape;
use unicode_normalization::UnicodeNormalization;

/// What a text is looked at as.
pub(super) struct Prepared {
    /// Compatible forms joined, accents of Latin letters and invisible characters gone, lower case.
    pub(super) plain: String,
    /// The same with letters of other scripts that look Latin as Latin ones, if there are any.
    pub(super) folded: Option<String>,
    /// What is written in characters that show nothing.
    pub(super) tagged: Option<String>,
    /// So many invisible characters stand in a row that they must mean something.
    pub(super) invisible_run: bool,
}

/// Shorter runs of tag characters say nothing.
const LEAST_TAGGED: usize = 6;
/// Emoji are joined by a few.
const INVISIBLE: usize = 24;

pub(super) fn prepare(text: &str) -> Prepared {
    let mut plain = String::with_capacity(text.len());
    let mut tagged = String::new();
    let mut flag = false;
    let (mut run, mut longest) = (0usize, 0usize);
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|b| !b.is_ascii()).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(ascii);
        plain.push_str(head);
        if ascii > 0 {
            run = 0;
        }
        let other = tail.bytes().position(|b| b.is_ascii()).unwrap_or(tail.len());
        let (island, tail) = tail.split_at(other);
        rest = tail;
        for c in island.chars() {
            match c {
                '\u{1f3f4}' => flag = true,
                '\u{e0020}'..='\u{e007e}' if !flag => {
                    tagged.extend(u8::try_from(u32::from(c) - 0xe0000).map(char::from));
                }
                '\u{e007f}' => flag = false,
                _ => {}
            }
            run = if hides(c) || matches!(c, '\u{e0100}'..='\u{e01ef}') { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        // An accent belongs to the Latin letter before it, which may be the end of the ASCII part.
        let mut latin = plain.chars().next_back().is_some_and(|c| c.is_ascii_alphabetic());
        let kept = island.nfkd().filter(|c| {
            if matches!(c, '\u{300}'..='\u{36f}') {
                return !latin;
            }
            latin = c.is_ascii_alphabetic();
            !hides(*c) && !matches!(c, '\u{e0100}'..='\u{e01ef}')
        });
        plain
            .extend(kept.nfc().flat_map(char::to_lowercase).map(|c| if c.is_whitespace() { ' ' } else { c }));
    }
    let folded = plain.chars().any(|c| like_latin(c).is_some());
    let folded = folded.then(|| plain.chars().map(|c| like_latin(c).unwrap_or(c)).collect());
    Prepared {
        plain,
        folded,
        tagged: (tagged.len() >= LEAST_TAGGED).then_some(tagged),
        invisible_run: longest >= INVISIBLE,
    }
}

/// The Latin letter that a lower-case letter of another script is taken for.
fn like_latin(c: char) -> Option<char> {
    Some(match c {
        'а' | 'α' | 'ɑ' => 'a',
        'в' | 'β' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ε' | 'є' => 'e',
        'ɡ' => 'g',
        'һ' | 'н' => 'h',
        'і' | 'ι' | 'ı' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' => 'l',
        'м' => 'm',
        'п' | 'η' => 'n',
        'о' | 'ο' | 'σ' | 'օ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'г' => 'r',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' => 'u',
        'ѵ' | 'ν' => 'v',
        'ԝ' | 'ω' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        _ => return None,
    })
}

/// The text with its percent signs, entities and backslash escapes read; `None` when it has none.
pub(super) fn unescaped(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out: Vec<u8> = Vec::new();
    let mut from = 0;
    let mut at = 0;
    while let Some(next) = memchr::memchr3(b'%', b'&', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += next;
        let rest = bytes.get(at..).unwrap_or_default();
        let Some((c, len)) = escape(rest).or_else(|| entity(rest)) else {
            at += 1;
            continue;
        };
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        match (rest.first(), u8::try_from(c)) {
            (Some(b'%'), Ok(byte)) => out.push(byte),
            _ => out.extend(char::from_u32(c).unwrap_or(' ').to_string().into_bytes()),
        }
        at += len;
        from = at;
    }
    if from == 0 {
        return None;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// One entity of HTML at the beginning of a text.
fn entity(text: &[u8]) -> Option<(u32, usize)> {
    let end = text.iter().take(12).position(|b| *b == b';')?;
    let name = std::str::from_utf8(text.get(1..end)?).ok()?;
    let c = match name {
        "lt" => u32::from('<'),
        "gt" => u32::from('>'),
        "amp" => u32::from('&'),
        "quot" => u32::from('"'),
        "apos" => u32::from('\''),
        "nbsp" => u32::from(' '),
        _ => {
            let number = name.strip_prefix('#')?;
            match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            }
        }
    };
    Some((c, end + 1))
}
