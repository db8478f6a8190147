//! Values that are known exactly, found in every form in which they may come back (vault.md 11): as they are, behind the
//! words of a header, in base64 at each of its three alignments and in both alphabets, in base32, in hex, percent-encoded
//! once and twice, escaped as in JSON, HTML and quoted-printable, reversed, and in UTF-16; upper and lower case alike.
//!
//! One pass over the text for all values and forms; what overlaps is one hit. The marker names nothing: `[REDACTED]`.
//! [`Known::remains`] then looks behind encodings in which a value has no form of its own: wrapped, nested, compressed.
//! A part of a value is never replaced: that would tell, letter by letter, what the value is. Where it stops: a value that
//! its holder transformed otherwise (encrypted, hashed, cut) is not found.

use super::Clean;
use super::views::{escaped, is_token};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::Range;

/// What stands in the place of a known value.
pub const MARKER: &str = "[REDACTED]";
/// Shorter values occur by chance in any text.
const LEAST: usize = 4;
/// From this length on a value is looked for in its encoded forms; those of shorter ones occur by chance.
const LEAST_ENCODED: usize = 8;
/// With so many bytes of forms or fewer the fast automaton is worth its memory, which is some hundred times as much.
const FEW_BYTES: usize = 48 * 1_024;

/// Values that must not leave.
pub struct Known {
    forms: AhoCorasick,
    kinds: Vec<Form>,
    skipped: usize,
}

/// What a value was found as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Itself, in whatever case.
    Plain,
    /// Behind the words of a header.
    Header,
    /// Base64.
    Base64,
    /// Base32.
    Base32,
    /// Hex digits.
    Hex,
    /// Percent escapes.
    Percent,
    /// Escapes of JSON.
    Json,
    /// Entities of HTML.
    Entity,
    /// Quoted-printable.
    Printable,
    /// UTF-16.
    Wide,
    /// From its end to its beginning.
    Reversed,
    /// Its bytes as numbers.
    Numbers,
}

impl Form {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Plain => "plain",
            Form::Header => "header",
            Form::Base64 => "base64",
            Form::Base32 => "base32",
            Form::Hex => "hex",
            Form::Percent => "percent",
            Form::Json => "json",
            Form::Entity => "entity",
            Form::Printable => "quoted_printable",
            Form::Wide => "utf16",
            Form::Reversed => "reversed",
            Form::Numbers => "numbers",
        }
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({} forms)", self.forms.patterns_len())
    }
}

/// So many values that no automaton can be built of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret values are too large to be looked for")]
pub struct TooLarge;

/// The forms of values, gathered before an automaton is built of them.
#[derive(Default)]
struct Forms(BTreeMap<Vec<u8>, Form>);

impl Forms {
    fn add(&mut self, form: impl Into<Vec<u8>>, kind: Form) {
        let form = form.into();
        if form.len() >= LEAST {
            self.0.entry(form).or_insert(kind);
        }
    }
}

impl Known {
    /// Takes note of values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Known, TooLarge> {
        let mut forms = Forms::default();
        let mut skipped = 0;
        for value in values {
            if value.len() < LEAST {
                skipped += 1;
                continue;
            }
            forms.add(value, Form::Plain);
            if value.len() >= LEAST_ENCODED {
                encoded(value, &mut forms);
            }
        }
        let bytes: usize = forms.0.keys().map(Vec::len).sum();
        let kind = if bytes <= FEW_BYTES { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let built = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .kind(Some(kind))
            .build(forms.0.keys());
        Ok(Known { forms: built.map_err(|_| TooLarge)?, kinds: forms.0.into_values().collect(), skipped })
    }

    /// How many values are too short to be looked for; whoever stores secrets should refuse them.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Where values stand, apart from each other and in order, and as what.
    fn find(&self, bytes: &[u8]) -> Vec<(Range<usize>, Form)> {
        let mut found: Vec<(Range<usize>, Form)> = Vec::new();
        for hit in self.forms.find_overlapping_iter(bytes) {
            let form = self.kinds.get(hit.pattern().as_usize()).copied().unwrap_or(Form::Plain);
            let mut range = hit.start()..hit.end();
            let mut form = form;
            // Hits come by their ends, so a later one swallows those that it begins before.
            while let Some((last, kind)) = found.last() {
                if last.end <= range.start {
                    break;
                }
                // The longer of two is what somebody wrote.
                form = if last.len() >= range.len() { *kind } else { form };
                range = last.start.min(range.start)..last.end.max(range.end);
                found.pop();
            }
            found.push((range, form));
        }
        found
    }

    /// The bytes without the values, and what there was; `None` when they have none.
    pub fn scrub_bytes(&self, bytes: &[u8]) -> Option<(Vec<u8>, Vec<Form>)> {
        let found = self.find(bytes);
        if found.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for (range, form) in &found {
            let (mut start, mut end) = (range.start, range.end);
            if *form == Form::Base64 {
                // Symbols at both ends carry bits of the value and of its neighbours.
                let symbol = |at: usize| bytes.get(at).is_some_and(|b| is_token(*b));
                if start > from && symbol(start - 1) && symbol(start) && !escaped(bytes, start) {
                    start -= 1;
                }
                let pads = bytes.get(end..(end + 3).min(bytes.len())).unwrap_or_default();
                if let Some(pad) = pads.iter().position(|b| *b == b'=').filter(|pad| *pad <= 1) {
                    let equals = pads.get(pad..).unwrap_or_default();
                    end += pad + equals.iter().take_while(|b| **b == b'=').count();
                }
            }
            out.extend_from_slice(bytes.get(from..start.max(from)).unwrap_or_default());
            out.extend_from_slice(MARKER.as_bytes());
            from = end.max(from);
        }
        out.extend_from_slice(bytes.get(from..).unwrap_or_default());
        Some((out, found.into_iter().map(|(_, form)| form).collect()))
    }

    /// The text without the values, and what there was; `None` when it has none.
    pub fn scrub_text(&self, text: &str) -> Option<(String, Vec<Form>)> {
        let (bytes, forms) = self.scrub_bytes(text.as_bytes())?;
        // Half a letter is left where a value began or ended inside one.
        Some((String::from_utf8_lossy(&bytes).into_owned(), forms))
    }

    /// [`Known::scrub_text`] with a count.
    pub fn scrub(&self, text: &str) -> Option<(String, u32)> {
        let (text, forms) = self.scrub_text(text)?;
        Some((text, u32::try_from(forms.len()).unwrap_or(u32::MAX)))
    }

    /// A text that was cleansed otherwise, without the values.
    pub fn clean(&self, text: &Clean) -> Clean {
        self.scrub(text.as_str()).map_or_else(|| text.clone(), |(text, _)| Clean(text))
    }

    /// Whether a value is still there behind up to three encodings, in whatever order they lie: what is found so has no
    /// place in the text that could be replaced, and the whole is to be kept back. So is what takes too much work.
    pub fn remains(&self, bytes: &[u8]) -> bool {
        let mut work = MAX_WORK.max(bytes.len().saturating_mul(48));
        self.behind(bytes, DEPTH, &mut work)
    }

    fn behind(&self, bytes: &[u8], depth: u32, work: &mut usize) -> bool {
        let Some(left) = work.checked_sub(bytes.len()) else { return true };
        *work = left;
        if self.forms.is_match(bytes) {
            return true;
        }
        let dense: Vec<u8> = bytes.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        if dense.len() < bytes.len() && self.forms.is_match(&dense) {
            return true;
        }
        if depth == 0 {
            return false;
        }
        match layers(bytes, &dense) {
            Ok(layers) => layers.iter().any(|layer| self.behind(layer, depth - 1, work)),
            Err(Closed) => true,
        }
    }
}

/// How many encodings deep a value is looked for.
const DEPTH: u32 = 3;
/// Bytes that may be looked at behind a short text; a long one may have 48 times its length.
const MAX_WORK: usize = 8 * 1_048_576;
/// Most bytes that something compressed is taken apart to, for each byte of it and in all.
const INFLATE: (u64, u64) = (64, 4 * 1_048_576);
/// Shorter runs of symbols hold no value.
const LEAST_RUN: usize = 11;

/// Something is compressed in a way that is not looked into, or to more than is looked at: it could hold anything.
struct Closed;

/// What a text says once one encoding is taken off, for each that it could have. `dense` is the text without blanks.
fn layers(bytes: &[u8], dense: &[u8]) -> Result<Vec<Vec<u8>>, Closed> {
    let mut out = vec![unescaped(&entities(&percent(&printable(bytes))))];
    // Lines that were wrapped, and what wraps them, are one run here. Runs are kept apart by a byte that no form has.
    let (mut symbols, mut digits) = ([const { Vec::new() }; 4], [const { Vec::new() }; 2]);
    let runs = dense.split(|b| !(b.is_ascii_alphanumeric() || b"+/-_".contains(b)));
    for run in runs.filter(|run| run.len() >= LEAST_RUN) {
        for (phase, joined) in symbols.iter_mut().enumerate() {
            let read = super::views::base64(run.get(phase..).unwrap_or_default());
            out.extend(inflated(&read)?);
            joined.extend(read);
            joined.push(0xff);
        }
        if run.iter().all(u8::is_ascii_hexdigit) {
            for (phase, joined) in digits.iter_mut().enumerate() {
                let read = super::views::hex(run.get(phase..).unwrap_or_default());
                out.extend(inflated(&read)?);
                joined.extend(read);
                joined.push(0xff);
            }
        }
    }
    out.extend(symbols);
    out.extend(digits);
    out.extend(wide(bytes, 0));
    out.extend(wide(bytes, 1));
    out.extend(inflated(bytes)?);
    // What nothing was taken off is no layer.
    out.retain(|layer| layer.len() >= LEAST && layer != bytes);
    Ok(out)
}

fn percent(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let pair =
            bytes.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|p| std::str::from_utf8(p).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

fn entities(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        let end = behind.bytes().take(12).position(|b| b == b';');
        let name = end.and_then(|end| behind.get(..end));
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let meant = name.and_then(|name| match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match name.strip_prefix('#')?.strip_prefix(['x', 'X']) {
                Some(digits) => number(digits, 16),
                None => number(name.strip_prefix('#')?, 10),
            },
        });
        match (meant, end.and_then(|end| behind.get(end + 1..))) {
            (Some(c), Some(after)) => {
                out.push(c);
                rest = after;
            }
            _ => {
                out.push('&');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out.into_bytes()
}

fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some((before, behind)) = rest.split_once('\\') {
        units.extend(before.encode_utf16());
        let hex = |from: usize, digits: usize| {
            behind
                .get(from..from + digits)
                .and_then(|h| u16::from_str_radix(h, 16).ok())
                .map(|u| (u, from + digits))
        };
        let meant = match behind.as_bytes().first() {
            Some(b'u') => hex(1, 4),
            Some(b'x') => hex(1, 2),
            Some(b'n') => Some((0x0a, 1)),
            Some(b't') => Some((0x09, 1)),
            Some(b'r') => Some((0x0d, 1)),
            Some(b'b') => Some((0x08, 1)),
            Some(b'f') => Some((0x0c, 1)),
            Some(b) if b.is_ascii() => Some((u16::from(*b), 1)),
            _ => None,
        };
        match meant.and_then(|(unit, used)| Some((unit, behind.get(used..)?))) {
            Some((unit, after)) => {
                units.push(unit);
                rest = after;
            }
            None => {
                units.push(u16::from(b'\\'));
                rest = behind;
            }
        }
    }
    units.extend(rest.encode_utf16());
    String::from_utf16_lossy(&units).into_bytes()
}

fn printable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = bytes.get(at + 1..).unwrap_or_default();
        let pair = rest.get(..2).filter(|_| *byte == b'=').and_then(|p| std::str::from_utf8(p).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None if *byte == b'=' && rest.starts_with(b"\r\n") => at += 3,
            None if *byte == b'=' && rest.starts_with(b"\n") => at += 2,
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// Every second byte, where the others are mostly zero.
fn wide(bytes: &[u8], phase: usize) -> Option<Vec<u8>> {
    let zeros = bytes.iter().skip(1 - phase).step_by(2).filter(|b| **b == 0).count();
    (zeros >= 4 && zeros * 4 >= bytes.len()).then(|| bytes.iter().skip(phase).step_by(2).copied().collect())
}

/// What something compressed holds.
fn inflated(bytes: &[u8]) -> Result<Option<Vec<u8>>, Closed> {
    let most = INFLATE.1.min(INFLATE.0 * bytes.len() as u64);
    let mut out = Vec::new();
    let read = match bytes {
        [0x1f, 0x8b, 8, ..] => flate2::read::MultiGzDecoder::new(bytes).take(most + 1).read_to_end(&mut out),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            flate2::read::ZlibDecoder::new(bytes).take(most + 1).read_to_end(&mut out)
        }
        // Archives, zstd, xz, bzip2, 7z, lz4: whole files of them, not a few letters in a text.
        [b'P', b'K', 3, 4, ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..]
        | [0xfd, b'7', b'z', b'X', b'Z', 0, ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..]
        | [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..]
        | [0x04, 0x22, 0x4d, 0x18, ..] => return Err(Closed),
        _ => return Ok(None),
    };
    // What came before an error is there all the same.
    let _ = read;
    if out.len() as u64 > most {
        return Err(Closed);
    }
    Ok((!out.is_empty()).then_some(out))
}

fn encoded(value: &[u8], forms: &mut Forms) {
    for lead in 0..3usize {
        let mut led = vec![0; lead];
        led.extend_from_slice(value);
        let symbols = base64(&led);
        let first = [0, 2, 3].get(lead).copied().unwrap_or(0);
        // The last symbol of an unfinished group has bits of what follows.
        let last = led.len() * 8 / 6;
        let stable = symbols.get(first..last).unwrap_or_default();
        if stable.len() >= LEAST_ENCODED {
            let url: Vec<u8> = stable
                .iter()
                .map(|b| match b {
                    b'+' => b'-',
                    b'/' => b'_',
                    b => *b,
                })
                .collect();
            forms.add(stable, Form::Base64);
            forms.add(url, Form::Base64);
            // Escaped as in addresses.
            let text: String = stable.iter().map(|b| char::from(*b)).collect();
            forms.add(text.replace('+', "%2B").replace('/', "%2F"), Form::Base64);
            forms.add(text.replace('/', "\\/"), Form::Base64);
        }
    }
    for lead in 0..5usize {
        let mut led = vec![0; lead];
        led.extend_from_slice(value);
        let symbols = base32(&led);
        let first = (lead * 8).div_ceil(5);
        let stable = symbols.get(first..led.len() * 8 / 5).unwrap_or_default();
        if stable.len() >= LEAST_ENCODED {
            forms.add(stable, Form::Base32);
        }
    }
    let digits = |before: &str, between: &str| -> String {
        let one = |b: &u8| format!("{before}{b:02x}");
        value.iter().map(one).collect::<Vec<_>>().join(between)
    };
    for (before, between, kind) in [
        ("", "", Form::Hex),
        ("", " ", Form::Hex),
        ("", ":", Form::Hex),
        ("", "-", Form::Hex),
        ("\\x", "", Form::Hex),
        ("\\\\x", "", Form::Hex),
        ("0x", " ", Form::Hex),
        ("0x", ", ", Form::Hex),
        ("0x", ",", Form::Hex),
        ("%", "", Form::Percent),
        ("%25", "", Form::Percent),
        ("=", "", Form::Printable),
    ] {
        forms.add(digits(before, between), kind);
    }
    // Bytes as numbers, as programs print them.
    for between in [",", ", ", " ", "\n"] {
        let numbers = value.iter().map(u8::to_string).collect::<Vec<_>>().join(between);
        forms.add(numbers, Form::Numbers);
    }
    forms.add(value.iter().map(|b| format!("\\{b:03o}")).collect::<String>(), Form::Numbers);
    forms.add(value.iter().map(|b| format!("\\u{{{b:x}}}")).collect::<String>(), Form::Json);
    // For the look at a text without its blanks.
    let blank_free: Vec<u8> = value.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    if blank_free.len() >= LEAST_ENCODED {
        forms.add(blank_free, Form::Plain);
    }
    let marked = |keep: &dyn Fn(u8) -> bool, mark: &str, space: &str| -> String {
        let one = |b: &u8| match *b {
            b' ' if !space.is_empty() => space.to_owned(),
            b if keep(b) => char::from(b).to_string(),
            b => format!("{mark}{b:02x}"),
        };
        value.iter().map(one).collect()
    };
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    let component = |b: u8| unreserved(b) || b"!*'()".contains(&b);
    let whole = |b: u8| unreserved(b) || b"!*'();:@&=+$,/?#[]".contains(&b);
    for (mark, kind) in [("%", Form::Percent), ("%25", Form::Percent)] {
        forms.add(marked(&unreserved, mark, ""), kind);
        forms.add(marked(&unreserved, mark, "+"), kind);
        forms.add(marked(&component, mark, ""), kind);
        forms.add(marked(&whole, mark, ""), kind);
    }
    // Where everything but graphic ASCII and the sign itself stays.
    forms.add(marked(&|b| (b'!'..=b'~').contains(&b) && b != b'=', "=", " "), Form::Printable);
    forms.add(value.iter().rev().copied().collect::<Vec<u8>>(), Form::Reversed);
    let Ok(text) = std::str::from_utf8(value) else { return };
    forms.add(text.chars().rev().collect::<String>(), Form::Reversed);
    for scheme in ["Bearer ", "Basic ", "Token ", "ApiKey "] {
        forms.add(format!("{scheme}{text}"), Form::Header);
        forms.add(format!("{scheme}{}", String::from_utf8_lossy(&base64(value))), Form::Header);
    }
    let quoted = crate::json::Json::str(text).canonical();
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let again = |t: &str| t.replace('\\', "\\\\").replace('"', "\\\"");
    for form in [inner.to_owned(), inner.replace('/', "\\/")] {
        // A text in a text, and once more.
        let (twice, thrice) = (again(&form), again(&again(&form)));
        for form in [form, twice, thrice] {
            forms.add(form, Form::Json);
        }
    }
    let units = || text.encode_utf16();
    for mark in ["\\u", "\\\\u", "%u"] {
        forms.add(units().map(|u| format!("{mark}{u:04x}")).collect::<String>(), Form::Json);
        // What is not ASCII alone.
        let some = |u: u16| match u8::try_from(u) {
            Ok(b)
                if (b' '..=b'~').contains(&b) && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'&' | b'\'') =>
            {
                char::from(b).to_string()
            }
            _ => format!("{mark}{u:04x}"),
        };
        forms.add(units().map(some).collect::<String>(), Form::Json);
    }
    let entity = |c: char, named: bool, decimal: bool| match c {
        '&' if named => "&amp;".to_owned(),
        '<' if named => "&lt;".to_owned(),
        '>' if named => "&gt;".to_owned(),
        '"' if named => "&quot;".to_owned(),
        '\'' if named => "&#39;".to_owned(),
        c if named => c.to_string(),
        c if decimal => format!("&#{};", u32::from(c)),
        c => format!("&#x{:x};", u32::from(c)),
    };
    for (named, decimal) in [(true, false), (false, true), (false, false)] {
        forms.add(text.chars().map(|c| entity(c, named, decimal)).collect::<String>(), Form::Entity);
    }
    forms.add(units().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(), Form::Wide);
    forms.add(units().flat_map(u16::to_be_bytes).collect::<Vec<u8>>(), Form::Wide);
}

/// Base64 without padding.
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for i in 0..=three.len() {
            out.extend(LETTERS.get((bits >> (18 - 6 * i) & 63) as usize));
        }
    }
    out
}

fn base32(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = Vec::new();
    for five in bytes.chunks(5) {
        let bits = five.iter().fold(0u64, |bits, b| bits << 8 | u64::from(*b)) << (8 * (5 - five.len()));
        for i in 0..(five.len() * 8).div_ceil(5) {
            out.extend(LETTERS.get((bits >> (35 - 5 * i) & 31) as usize));
        }
    }
    out
}

/// Values that were used in this process: looked for in what any tool brings back, as long as it lives.
#[derive(Default)]
pub struct Lately {
    used: std::sync::RwLock<Vec<std::sync::Arc<Known>>>,
    /// What somebody has for as long as this process lives.
    held: std::sync::RwLock<Vec<std::sync::Arc<Known>>>,
}

impl Lately {
    /// Most sets that are kept; the oldest go.
    const MOST: usize = 64;

    /// Takes note of values that were used.
    pub fn note(&self, known: &std::sync::Arc<Known>) {
        let mut all = self.used.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !all.iter().any(|other| std::sync::Arc::ptr_eq(other, known)) {
            if all.len() >= Lately::MOST {
                all.remove(0);
            }
            all.push(std::sync::Arc::clone(known));
        }
    }

    /// Takes note of values that a child of ours was given: however many others are used meanwhile, they are looked for.
    pub fn hold(&self, known: &std::sync::Arc<Known>) {
        let mut all = self.held.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !all.iter().any(|other| std::sync::Arc::ptr_eq(other, known)) {
            all.push(std::sync::Arc::clone(known));
        }
    }

    /// A text that was cleansed otherwise, without any of them.
    pub fn clean(&self, text: Clean) -> Clean {
        match self.scrub(text.as_str()) {
            Cow::Borrowed(_) => text,
            Cow::Owned(scrubbed) => Clean(scrubbed),
        }
    }

    /// The text without any of them; borrowed when it has none.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let used = self.used.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let held = self.held.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut out = Cow::Borrowed(text);
        for known in held.iter().chain(used.iter()) {
            if let Some((scrubbed, _)) = known.scrub(&out) {
                out = Cow::Owned(scrubbed);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    const VALUE: &str = "p@ss/w\u{f6}rd\"42 \\x";

    fn gone(text: &str) {
        let known = Known::new([VALUE.as_bytes()]).unwrap();
        let (scrubbed, count) = known.scrub(text).unwrap_or_else(|| panic!("nothing found in {text:?}"));
        assert!(count >= 1 && scrubbed.contains(MARKER), "{scrubbed}");
        assert!(known.scrub(&scrubbed).is_none(), "{scrubbed}");
        assert!(!known.remains(scrubbed.as_bytes()), "{scrubbed}");
    }

    /// P-18, VINV-11: every form of the list.
    #[test]
    fn forms() {
        gone(&format!("a {VALUE} b"));
        gone(&format!("a {} b", VALUE.to_ascii_uppercase()));
        gone(&VALUE.chars().rev().collect::<String>());
        gone(&format!("authorization: Bearer {VALUE}"));
        for lead in ["", "x", "xy", "xyz"] {
            for tail in ["", "1", "22"] {
                let whole = format!("{lead}{VALUE}{tail}");
                let symbols = String::from_utf8(base64(whole.as_bytes())).unwrap();
                gone(&symbols);
                gone(&format!("{}==", symbols.replace('+', "-").replace('/', "_")));
                gone(&String::from_utf8(base32(whole.as_bytes())).unwrap());
                gone(&String::from_utf8(base32(whole.as_bytes())).unwrap().to_lowercase());
            }
        }
        let bytes = VALUE.as_bytes();
        let each =
            |f: &dyn Fn(&u8) -> String, between: &str| bytes.iter().map(f).collect::<Vec<_>>().join(between);
        for text in [
            each(&|b| format!("{b:02x}"), ""),
            each(&|b| format!("{b:02X}"), ""),
            each(&|b| format!("%{b:02X}"), ""),
            each(&|b| format!("%25{b:02X}"), ""),
            each(&|b| format!("{b:02x}"), " "),
            each(&|b| format!("{b:02x}"), ":"),
            each(&|b| format!("\\x{b:02x}"), ""),
            each(&|b| format!("={b:02X}"), ""),
            each(&|b| b.to_string(), ","),
            each(&|b| b.to_string(), " "),
            each(&|b| format!("\\{b:03o}"), ""),
        ] {
            gone(&text);
        }
        gone("https://x.example/?p=p%40ss%2Fw%C3%B6rd%2242%20%5Cx");
        gone("p%40ss%2fw%c3%b6rd%2242+%5cx");
        gone("p%2540ss%252Fw%25C3%25B6rd%252242%2520%255Cx");
        let mut json = VALUE.to_owned();
        for _ in 0..3 {
            json = crate::json::Json::str(json).canonical();
            gone(&json);
        }
        gone(&VALUE.encode_utf16().map(|u| format!("\\u{u:04X}")).collect::<String>());
        gone("p@ss/w\\u00f6rd\\u002242 \\u005cx");
        gone("p@ss/wörd&quot;42 \\x");
        gone(&VALUE.chars().map(|c| format!("&#{};", u32::from(c))).collect::<String>());
        gone(&VALUE.chars().map(|c| format!("&#x{:X};", u32::from(c))).collect::<String>());
        // As text, where every second character is NUL.
        let known = Known::new([b"hunter2hunter2".as_slice()]).unwrap();
        let wide: String = "hunter2hunter2".chars().flat_map(|c| [c, '\0']).collect();
        assert!(known.scrub(&wide).is_some());
    }

    /// VINV-12: what has no form of its own is seen, so that it can be kept back.
    #[test]
    fn what_remains_behind_encodings() {
        let known = Known::new([VALUE.as_bytes()]).unwrap();
        let b64 = |bytes: &[u8]| base64(bytes);
        let wrapped: Vec<u8> = b64(format!("{}{VALUE}{}", "x".repeat(50), "y".repeat(60)).as_bytes())
            .chunks(64)
            .collect::<Vec<_>>()
            .join(&b"\r\n"[..]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(format!("a lot of text and {VALUE}").as_bytes()).unwrap();
        let gz = gz.finish().unwrap();
        let spaced: String = VALUE.chars().flat_map(|c| [c, '\n']).collect();
        let nested = b64(&b64(&b64(VALUE.as_bytes())));
        let hexed: String = b64(VALUE.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        // More than is taken apart, and what is not taken apart at all.
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        bomb.write_all(format!("{}{VALUE}", "A".repeat(500_000)).as_bytes()).unwrap();
        let bomb = bomb.finish().unwrap();
        let archive = [b"PK\x03\x04", VALUE.as_bytes()].concat();
        assert!(known.remains(&bomb) && known.remains(&b64(&bomb)) && known.remains(&b64(&archive)));
        assert!(!known.remains(b"PKs and BZh1 in a text are words"));
        for text in [wrapped, gz.clone(), b64(&gz), b64(&b64(VALUE.as_bytes())), nested, hexed.into_bytes()] {
            assert!(known.remains(&text), "{}", String::from_utf8_lossy(&text));
        }
        let plain = Known::new([b"hunter2hunter2".as_slice()]).unwrap();
        let spaced_plain: Vec<u8> = b"hunter2hunter2".iter().flat_map(|b| [*b, b'\n']).collect();
        assert!(plain.remains(&spaced_plain) && spaced.len() > VALUE.len());
        assert!(!known.remains(b"an ordinary text with aGVsbG8gd29ybGQsIHRoaXMgaXMgbm90aGluZw== in it"));
    }

    /// VINV-25: no part of a value is told from other text.
    #[test]
    fn parts_of_a_value_are_text() {
        let value = "correct-horse-battery-staple";
        let known = Known::new([value.as_bytes()]).unwrap();
        for cut in 1..value.len() {
            for part in [value.split_at(cut).0, value.split_at(cut).1] {
                assert_eq!(known.scrub(part), None, "{part}");
                assert_eq!(known.scrub(&String::from_utf8(base64(part.as_bytes())).unwrap()), None, "{part}");
            }
        }
    }

    #[test]
    fn what_overlaps_is_one_hit() {
        let known = Known::new([b"abcdefgh".as_slice(), b"efghijkl"]).unwrap();
        assert_eq!(known.scrub("x abcdefghijkl y").unwrap(), ("x [REDACTED] y".to_owned(), 1));
        assert_eq!(known.scrub("abcdefgh efghijkl").unwrap(), ("[REDACTED] [REDACTED]".to_owned(), 2));
    }

    #[test]
    fn short_values_are_told_and_left() {
        let known = Known::new([b"abc".as_slice(), b"wxyz"]).unwrap();
        assert_eq!(known.skipped(), 1);
        assert_eq!(known.scrub("abc wxyz d3h5eg").unwrap(), ("abc [REDACTED] d3h5eg".to_owned(), 1));
        assert_eq!(known.scrub("nothing"), None);
    }

    proptest! {
        #[test]
        fn a_value_is_found_wherever_it_stands(before in "[ -~]{0,9}", value in "[A-Za-z0-9]{8,40}", after in "[ -~]{0,9}") {
            let known = Known::new([value.as_bytes()]).unwrap();
            for text in [format!("{before}{value}{after}"), String::from_utf8(base64(format!("{before}{value}{after}").as_bytes())).unwrap()] {
                let (scrubbed, _) = known.scrub(&text).unwrap();
                prop_assert!(!scrubbed.contains(&value));
            }
        }

        /// P-18: whatever the bytes are, no form of them stays.
        #[test]
        fn no_form_stays(value in proptest::collection::vec(any::<u8>(), 8..60)) {
            let known = Known::new([value.as_slice()]).unwrap();
            let (scrubbed, _) = known.scrub_bytes(&[b"a ", value.as_slice(), b" b"].concat()).unwrap();
            prop_assert!(!known.remains(&scrubbed));
        }
    }
}
