//! Values that are known exactly, found in every form in which they may come back: as they are, in base64 at each of
//! its three alignments and in both alphabets, in hex, percent-encoded, escaped as in JSON, and in UTF-16.
//!
//! One pass over the text for all values and forms. The marker names nothing: `[REDACTED]`. Where it stops: a value that
//! its holder transformed otherwise (reversed, encrypted, hashed) is not found.

use super::Clean;
use super::views::is_token;
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::BTreeSet;

/// What stands in the place of a known value.
const MARKER: &str = "[REDACTED]";
/// Shorter values occur by chance in any text.
const LEAST: usize = 4;
/// From this length on a value is looked for in its encoded forms; those of shorter ones occur by chance.
const LEAST_ENCODED: usize = 8;

/// Values that must not leave.
pub struct Known {
    forms: AhoCorasick,
    skipped: usize,
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

impl Known {
    /// Takes note of values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Known, TooLarge> {
        let mut forms = BTreeSet::new();
        let mut skipped = 0;
        for value in values {
            if value.len() < LEAST {
                skipped += 1;
                continue;
            }
            forms.insert(value.to_vec());
            if value.len() >= LEAST_ENCODED {
                encoded(value, &mut forms);
            }
        }
        let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms);
        Ok(Known { forms: built.map_err(|_| TooLarge)?, skipped })
    }

    /// How many values are too short to be looked for; whoever stores secrets should refuse them.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The text without the values, and how many there were; `None` when it has none.
    pub fn scrub(&self, text: &str) -> Option<(String, u32)> {
        let bytes = text.as_bytes();
        let mut out = String::new();
        let mut from = 0;
        let mut count = 0u32;
        for found in self.forms.find_iter(bytes) {
            let (mut start, mut end) = (found.start(), found.end());
            // Symbols of base64 at both ends carry bits of the value and of its neighbours.
            let symbol = |at: usize| bytes.get(at).is_some_and(|b| is_token(*b));
            if start > from && symbol(start - 1) && symbol(start) {
                start -= 1;
            }
            let pads = bytes.get(end..(end + 3).min(bytes.len())).unwrap_or_default();
            if let Some(pad) = pads.iter().position(|b| *b == b'=').filter(|pad| *pad <= 1) {
                end += pad + pads.get(pad..).unwrap_or_default().iter().take_while(|b| **b == b'=').count();
            }
            while !text.is_char_boundary(start) {
                start -= 1;
            }
            while !text.is_char_boundary(end) {
                end += 1;
            }
            out.push_str(text.get(from..start.max(from)).unwrap_or_default());
            out.push_str(MARKER);
            from = end.max(from);
            count = count.saturating_add(1);
        }
        if count == 0 {
            return None;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        Some((out, count))
    }

    /// A text that was cleansed otherwise, without the values.
    pub fn clean(&self, text: &Clean) -> Clean {
        self.scrub(text.as_str()).map_or_else(|| text.clone(), |(text, _)| Clean(text))
    }
}

fn encoded(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for lead in 0..3usize {
        let mut led = vec![0; lead];
        led.extend_from_slice(value);
        let symbols = base64(&led);
        let first = [0, 2, 3].get(lead).copied().unwrap_or(0);
        // The last symbol of an unfinished group has bits of what follows.
        let last = led.len() * 8 / 6;
        let stable = symbols.get(first..last).unwrap_or_default();
        if stable.len() >= LEAST_ENCODED {
            forms.insert(stable.to_vec());
            forms.insert(
                stable
                    .iter()
                    .map(|b| match b {
                        b'+' => b'-',
                        b'/' => b'_',
                        b => *b,
                    })
                    .collect(),
            );
        }
    }
    let hex = |upper: bool, before: &str| -> Vec<u8> {
        let digits =
            value.iter().map(|b| if upper { format!("{before}{b:02X}") } else { format!("{before}{b:02x}") });
        digits.collect::<String>().into_bytes()
    };
    for upper in [false, true] {
        // Also as escapes: of an address, of C, and of JSON below.
        for before in ["", "%", "\\x", " ", ":"] {
            let form = hex(upper, before);
            forms.insert(
                form.strip_prefix(b" ").or(form.strip_prefix(b":")).map_or(form.clone(), <[u8]>::to_vec),
            );
        }
        let percent = |keep: &dyn Fn(u8) -> bool, space: &str| -> Vec<u8> {
            let one = |b: &u8| match *b {
                b' ' if !space.is_empty() => space.to_owned(),
                b if keep(b) => char::from(b).to_string(),
                b if upper => format!("%{b:02X}"),
                b => format!("%{b:02x}"),
            };
            value.iter().map(one).collect::<String>().into_bytes()
        };
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
        forms.insert(percent(&unreserved, ""));
        forms.insert(percent(&unreserved, "+"));
        forms.insert(percent(&|b| unreserved(b) || b"!*'();:@&=+$,/?#[]".contains(&b), ""));
    }
    if let Ok(text) = std::str::from_utf8(value) {
        let quoted = crate::json::Json::str(text).canonical();
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        forms.insert(inner.as_bytes().to_vec());
        forms.insert(inner.replace('/', "\\/").into_bytes());
        // A text in a text.
        forms.insert(inner.replace('\\', "\\\\").replace('"', "\\\"").into_bytes());
        let units = || text.encode_utf16();
        forms.insert(units().map(|u| format!("\\u{u:04x}")).collect::<String>().into_bytes());
        forms.insert(units().map(|u| format!("\\u{u:04X}")).collect::<String>().into_bytes());
        forms.insert(units().flat_map(u16::to_le_bytes).collect());
        forms.insert(units().flat_map(u16::to_be_bytes).collect());
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALUE: &str = "p@ss/w\u{f6}rd\"42 \\x";

    fn gone(text: &str) {
        let known = Known::new([VALUE.as_bytes()]).unwrap();
        let (scrubbed, count) = known.scrub(text).unwrap_or_else(|| panic!("nothing found in {text:?}"));
        assert!(count >= 1 && scrubbed.contains(MARKER), "{scrubbed}");
        assert!(known.scrub(&scrubbed).is_none(), "{scrubbed}");
    }

    /// P-18: every form of the list.
    #[test]
    fn forms() {
        gone(&format!("a {VALUE} b"));
        for lead in ["", "x", "xy", "xyz"] {
            for tail in ["", "1", "22"] {
                let whole = format!("{lead}{VALUE}{tail}");
                let symbols = String::from_utf8(base64(whole.as_bytes())).unwrap();
                gone(&symbols);
                gone(&format!("{}==", symbols.replace('+', "-").replace('/', "_")));
            }
        }
        let bytes = VALUE.as_bytes();
        gone(&bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
        gone(&bytes.iter().map(|b| format!("{b:02X}")).collect::<String>());
        gone(&bytes.iter().map(|b| format!("%{b:02X}")).collect::<String>());
        gone(&bytes.iter().map(|b| format!("{b:02x} ")).collect::<String>());
        gone("https://x.example/?p=p%40ss%2Fw%C3%B6rd%2242%20%5Cx");
        gone("p%40ss%2fw%c3%b6rd%2242+%5cx");
        gone(&crate::json::Json::str(VALUE).canonical());
        gone(&crate::json::Json::str(crate::json::Json::str(VALUE).canonical()).canonical());
        gone(&VALUE.encode_utf16().map(|u| format!("\\u{u:04x}")).collect::<String>());
        // As text, where every second character is NUL.
        let known = Known::new([b"hunter2hunter2".as_slice()]).unwrap();
        let wide: String = "hunter2hunter2".chars().flat_map(|c| [c, '\0']).collect();
        assert!(known.scrub(&wide).is_some());
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
    }
}
