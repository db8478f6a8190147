//! What a text says behind an encoding: runs of base64 and hex, percent and backslash escapes, UTF-16. A secret that is
//! found there takes the whole run with it, since no part of the run is the secret alone.
//!
//! At most three encodings deep. Each one shrinks what it holds, so the work stays in proportion to the text.

use super::custom::Custom;
use super::secrets::{Hit, ScanError, apart, plain, run};
use std::ops::Range;

/// How many encodings deep.
const DEPTH: u32 = 3;
/// Shorter runs hold no secret of the catalogue.
const LEAST_RUN: usize = 20;
/// Lines of at least this length go on in the next one.
const WRAPPED: usize = 40;

const LOWER: u8 = 1;
const UPPER: u8 = 2;
const DIGIT: u8 = 4;
const SIGN: u8 = 8;
const HEX: u8 = 16;

/// What each byte is in a run; 0 ends it.
const CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0u8;
    loop {
        let class = match byte {
            b'a'..=b'f' => LOWER | HEX,
            b'A'..=b'F' => UPPER | HEX,
            b'g'..=b'z' => LOWER,
            b'G'..=b'Z' => UPPER,
            b'0'..=b'9' => DIGIT | HEX,
            b'+' | b'/' | b'-' | b'_' => SIGN,
            _ => 0,
        };
        #[allow(clippy::indexing_slicing)] // 256 places for a byte
        {
            table[byte as usize] = class;
        }
        if byte == 255 {
            break;
        }
        byte += 1;
    }
    table
};

fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Whether the letter before a place belongs to an escape such as `\n`.
pub(super) fn escaped(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(2).and_then(|from| text.get(from..at));
    matches!(before, Some([b'\\', b'n' | b'r' | b't']))
}

/// A byte of a token, for following one to its end.
pub(super) fn is_token(byte: u8) -> bool {
    class(byte) != 0 || matches!(byte, b'.' | b'~' | b'=')
}

/// Looks behind the encodings of a text. Hits found before are left out of the look.
pub(super) fn look(
    text: &[u8],
    custom: Option<&Custom>,
    depth: u32,
    hits: &mut Vec<Hit>,
) -> Result<(), ScanError> {
    if depth >= DEPTH {
        return Ok(());
    }
    let known: Vec<Range<usize>> = apart(hits.clone()).into_iter().map(|hit| hit.range).collect();
    let mut from = 0;
    while let Some((at, end, kinds)) = next_run(text, from) {
        from = end;
        // Half of a known secret is none that needs a look of its own.
        if overlaps(&known, at..end) {
            continue;
        }
        if let Some(hit) = run(text, &(at..end))? {
            from = hit.range.end.max(end);
            hits.push(hit);
            continue;
        }
        if kinds & HEX_ONLY == 0 && end - at >= 32 {
            for phase in 0..2 {
                let decoded = hex(text.get(at + phase..end).unwrap_or_default());
                if let Some(id) = inside(&decoded, custom, depth)? {
                    hits.push(Hit { range: at..end, id });
                    break;
                }
            }
            continue;
        }
        if kinds & LOWER == 0 || kinds & UPPER == 0 {
            continue;
        }
        let (symbols, end) = wrapped(text, at, end);
        from = end;
        for phase in 0..4 {
            let decoded = base64(symbols.get(phase..).unwrap_or_default());
            if let Some(id) = inside(&decoded, custom, depth)? {
                // Padding belongs to the run.
                let pad = text.get(end..(end + 2).min(text.len())).unwrap_or_default();
                let pad = pad.iter().take_while(|b| **b == b'=').count();
                hits.push(Hit { range: at..end + pad, id });
                break;
            }
        }
    }
    escapes(text, custom, depth, &known, hits)?;
    wide(text, custom, depth, hits)
}

/// A run that may be an encoding.
pub(super) enum Run<'a> {
    /// Hex digits alone.
    Hex(&'a [u8]),
    /// Symbols of base64, line ends taken out.
    Base64(&'a [u8]),
}

/// Every run of a text that may be an encoding.
pub(super) fn runs(text: &[u8], mut see: impl FnMut(Run<'_>)) {
    let mut from = 0;
    while let Some((at, end, kinds)) = next_run(text, from) {
        from = end;
        if kinds & HEX_ONLY == 0 {
            see(Run::Hex(text.get(at..end).unwrap_or_default()));
        } else if kinds & LOWER != 0 && kinds & UPPER != 0 {
            let (symbols, end) = wrapped(text, at, end);
            from = end;
            see(Run::Base64(&symbols));
        }
    }
}

/// Whether a part touches one of these, which are in order and apart.
fn overlaps(known: &[Range<usize>], part: Range<usize>) -> bool {
    let first = known.partition_point(|k| k.end <= part.start);
    known.get(first).is_some_and(|k| k.start < part.end)
}

/// Set when something in the run is no hex digit.
const HEX_ONLY: u8 = 32;

/// The next run at or behind `from`, with what it consists of.
fn next_run(text: &[u8], from: usize) -> Option<(usize, usize, u8)> {
    // A run of n bytes cannot be missed by looking at every n-th.
    let mut probe = from + LEAST_RUN - 1;
    loop {
        let byte = *text.get(probe)?;
        if class(byte) == 0 {
            probe += LEAST_RUN;
            continue;
        }
        let before = text.get(from..probe).unwrap_or_default();
        let back = before.iter().rev().take_while(|b| class(**b) != 0).count();
        // The letter of an escape such as `\n` is no part of what follows it.
        let start = probe - back;
        let start = start + usize::from(escaped(text, start + 1));
        let mut kinds = 0;
        let mut end = start;
        while let Some(kind) = text.get(end).map(|b| class(*b)).filter(|k| *k != 0) {
            kinds |= kind & !HEX | if kind & HEX == 0 { HEX_ONLY } else { 0 };
            end += 1;
        }
        if end - start >= LEAST_RUN {
            return Some((start, end, kinds));
        }
        probe = end + LEAST_RUN;
    }
}

/// The symbols of a run, and of the lines it goes on in.
fn wrapped(text: &[u8], at: usize, mut end: usize) -> (Vec<u8>, usize) {
    let mut symbols = text.get(at..end).unwrap_or_default().to_vec();
    let mut line = end - at;
    while line >= WRAPPED {
        let rest = text.get(end..).unwrap_or_default();
        let step = match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\\', b'n', ..] => 2,
            [b'\n', ..] => 1,
            _ => break,
        };
        // Quoted mail and sources indent.
        let indent = rest
            .get(step..)
            .unwrap_or_default()
            .iter()
            .take(32)
            .take_while(|b| matches!(b, b' ' | b'\t' | b'>'))
            .count();
        let body = rest.get(step + indent..).unwrap_or_default();
        line = body.iter().take_while(|b| class(**b) != 0).count();
        if line == 0 {
            break;
        }
        symbols.extend_from_slice(body.get(..line).unwrap_or_default());
        end += step + indent + line;
    }
    (symbols, end)
}

/// The first secret behind a decoded run.
fn inside(
    decoded: &[u8],
    custom: Option<&Custom>,
    depth: u32,
) -> Result<Option<std::borrow::Cow<'static, str>>, ScanError> {
    if decoded.len() < 12 {
        return Ok(None);
    }
    let mut hits = plain(decoded, custom)?;
    if hits.is_empty() {
        let readable = decoded.iter().filter(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e)).count();
        // Only text, of one or two bytes a letter, holds another encoding.
        if readable * 5 >= decoded.len() * 2 {
            look(decoded, custom, depth + 1, &mut hits)?;
        }
    }
    Ok(hits.into_iter().next().map(|hit| hit.id))
}

/// Decodes base64 of either alphabet, bit by bit as far as it goes.
pub(super) fn base64(symbols: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(symbols.len() / 4 * 3 + 3);
    for four in symbols.chunks(4) {
        let mut bits = 0u32;
        for symbol in four {
            let value = match symbol {
                b'A'..=b'Z' => symbol - b'A',
                b'a'..=b'z' => symbol - b'a' + 26,
                b'0'..=b'9' => symbol - b'0' + 52,
                b'+' | b'-' => 62,
                _ => 63,
            };
            bits = bits << 6 | u32::from(value);
        }
        let missing = 4 - four.len();
        bits <<= 6 * missing;
        let [_, a, b, c] = bits.to_be_bytes();
        match missing {
            0 => out.extend_from_slice(&[a, b, c]),
            1 => out.extend_from_slice(&[a, b]),
            2 => out.push(a),
            _ => {}
        }
    }
    out
}

/// Decodes hex digits; an odd one at the end is left out.
pub(super) fn hex(digits: &[u8]) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0);
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => value(*high) << 4 | value(*low),
            _ => 0,
        })
        .collect()
}

/// One escape at the beginning of a text: what it stands for and its length.
pub(super) fn escape(text: &[u8]) -> Option<(u32, usize)> {
    let digits = |from: usize, n: usize| -> Option<u32> {
        let part = text.get(from..from + n)?;
        let part = std::str::from_utf8(part).ok().filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(part, 16).ok()
    };
    match text {
        [b'%', ..] => Some((digits(1, 2)?, 3)),
        [b'\\', b'x', ..] => Some((digits(2, 2)?, 4)),
        [b'\\', b'u', ..] => Some((digits(2, 4)?, 6)),
        [b'\\', sign @ (b'/' | b'"' | b'\''), ..] => Some((u32::from(*sign), 2)),
        _ => None,
    }
}

/// Runs with percent or backslash escapes in them, decoded.
fn escapes(
    text: &[u8],
    custom: Option<&Custom>,
    depth: u32,
    known: &[Range<usize>],
    hits: &mut Vec<Hit>,
) -> Result<(), ScanError> {
    let ends = |b: &u8| {
        b.is_ascii_whitespace()
            || matches!(b, b'"' | b'\'' | b'<' | b'>' | b'&' | b'?' | b'=' | b',' | b';' | b'(' | b')')
    };
    let mut from = 0;
    while let Some(next) = memchr::memchr2(b'%', b'\\', text.get(from..).unwrap_or_default()) {
        let at = from + next;
        if escape(text.get(at..).unwrap_or_default()).is_none_or(|(c, _)| matches!(c, 0x22 | 0x27)) {
            from = at + 1;
            continue;
        }
        let start = at - text.get(from..at).unwrap_or_default().iter().rev().take_while(|b| !ends(b)).count();
        let mut decoded = Vec::new();
        let mut i = start;
        while let Some(byte) = text.get(i) {
            match escape(text.get(i..).unwrap_or_default()) {
                Some((c, len)) => {
                    let mut utf8 = [0; 4];
                    match (char::from_u32(c), c) {
                        (_, 0..=0xff) if *byte == b'%' => decoded.extend(u8::try_from(c)),
                        (Some(c), _) => decoded.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
                        (None, _) => {}
                    }
                    i += len;
                }
                None if ends(byte) => break,
                None => {
                    decoded.push(*byte);
                    i += 1;
                }
            }
        }
        from = i.max(at + 1);
        if overlaps(known, start..i) {
            continue;
        }
        if let Some(id) = inside(&decoded, custom, depth)? {
            hits.push(Hit { range: start..i, id });
        }
    }
    Ok(())
}

/// Text of two bytes a letter.
fn wide(text: &[u8], custom: Option<&Custom>, depth: u32, hits: &mut Vec<Hit>) -> Result<(), ScanError> {
    let mut from = 0;
    while let Some(next) = memchr::memchr(0, text.get(from..).unwrap_or_default()) {
        let nul = from + next;
        let start = if nul > from { nul - 1 } else { nul };
        let mut end = nul;
        let mut narrow: Vec<u8> = text.get(start..nul).unwrap_or_default().to_vec();
        // Every second byte is zero; a zero more or less does not end it.
        let mut since = 0;
        while let Some(byte) = text.get(end) {
            if *byte == 0 {
                since = 0;
            } else {
                since += 1;
                if since > 1 {
                    break;
                }
                narrow.push(*byte);
            }
            end += 1;
        }
        if narrow.len() >= 12
            && let Some(id) = inside(&narrow, custom, depth)?
        {
            hits.push(Hit { range: start..end, id });
        }
        from = end.max(nul + 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Catalogue;

    fn encode(bytes: &[u8]) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for three in bytes.chunks(3) {
            let bits = three.iter().fold(0u32, |b, x| b << 8 | u32::from(*x)) << (8 * (3 - three.len()));
            (0..=three.len())
                .for_each(|i| out.push(char::from(LETTERS[(bits >> (18 - 6 * i) & 63) as usize])));
        }
        out
    }

    fn token() -> String {
        format!("ghp_{}", "aB3".repeat(12))
    }

    /// A secret behind an encoding takes its run with it and nothing else.
    #[test]
    fn a_secret_behind_an_encoding_takes_the_run() {
        let secret = token();
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        let percent: String = secret.bytes().map(|b| format!("%{b:02x}")).collect();
        let wide: Vec<u8> = secret.bytes().flat_map(|b| [b, 0]).collect();
        let long = encode(format!("{}{secret}{}", "words ".repeat(20), " words".repeat(20)).as_bytes());
        let wrapped: Vec<&str> =
            long.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
        let mut forms = vec![hex, percent, encode(&wide), encode(encode(secret.as_bytes()).as_bytes())];
        forms.extend(["", "x", "xy"].map(|lead| encode(format!("{lead} {secret}").as_bytes())));
        forms.push(encode(secret.as_bytes()).replace('+', "-").replace('/', "_"));
        forms.push(format!("path/{}", encode(secret.as_bytes())));
        forms.push(wrapped.join("\n"));
        forms.push(secret.replace("ghp_", "\\u0067hp_"));
        for form in forms {
            let clean = Catalogue::BUILT_IN.text(&format!("see {form} there"));
            assert_eq!(clean.as_str(), "see [REDACTED-GITHUB_TOKEN] there", "{form}");
        }
        let plain = encode(b"only words stand in this text, nothing else at all");
        assert_eq!(Catalogue::BUILT_IN.text(&plain).as_str(), plain);
    }

    /// gateway.md 7.2: the whole block, to its footer or to the end.
    #[test]
    fn a_private_key_goes_whole() {
        let (begin, end) = ("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----");
        let of = |text: String| Catalogue::BUILT_IN.text(&text).to_string();
        assert_eq!(of(format!("a\n{begin}\nAAAA\nBBBB\n{end}\nb")), "a\n[REDACTED-PRIVATE_KEY]\nb");
        assert_eq!(of(format!("a\n{begin}\nAAAA\nBBBB")), "a\n[REDACTED-PRIVATE_KEY]");
        let public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
        assert_eq!(of(public.to_owned()), public);
    }
}
