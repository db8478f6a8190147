//! A walk over JSON text that keeps the text: where its pieces stand, without making values of them.
//!
//! The relay passes what it does not judge byte for byte, so it needs places in a text, not values. The grammar is
//! checked, and nothing else: results of servers may hold numbers of any size, unpaired surrogates and equal keys, and
//! must come through as they were written. What an agent sends is read by [`Json::parse`](super::Json::parse) before
//! any place in it is used. Memory is flat but for one byte a level of nesting.

use super::{JsonError, JsonErrorKind};
use std::ops::Range;

/// Deepest nesting that is walked.
pub const MAX_DEPTH: usize = 512;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A member's key, quotes included.
    Key,
    /// A string value, quotes included.
    String,
    /// A number, `true`, `false` or `null`.
    Plain,
    /// `{` or `[`.
    Open,
    /// `}` or `]`.
    Close,
}

/// One piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Range<usize>,
    /// How many arrays and objects are around it; an opening and its closing have the same depth.
    pub depth: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Value,
    ValueOrClose,
    KeyOrClose,
    Key,
    CommaOrClose,
    End,
}

/// Walks one JSON text.
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// True for an object.
    around: Vec<bool>,
    want: Want,
    failed: bool,
}

impl<'a> Scanner<'a> {
    /// A walk from the beginning.
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { bytes: text.as_bytes(), at: 0, around: Vec::new(), want: Want::Value, failed: false }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn fail(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, at: self.at }
    }

    fn unexpected(&self) -> JsonError {
        match self.peek() {
            Some(b) => self.fail(JsonErrorKind::Unexpected(format!("byte 0x{b:02x}"))),
            None => self.fail(JsonErrorKind::Eof),
        }
    }

    fn after_value(&mut self) {
        self.want = if self.around.is_empty() { Want::End } else { Want::CommaOrClose };
    }

    fn step(&mut self) -> Result<Option<Piece>, JsonError> {
        loop {
            self.blanks();
            let start = self.at;
            let depth = self.around.len();
            let object = self.around.last().copied().unwrap_or(false);
            let closes =
                matches!((self.peek(), object), (Some(b'}'), true) | (Some(b']'), false)) && depth > 0;
            match (self.want, self.peek()) {
                (Want::End, None) => return Ok(None),
                (Want::End, Some(_)) => return Err(self.fail(JsonErrorKind::Trailing)),
                (Want::CommaOrClose, Some(b',')) => {
                    self.at += 1;
                    self.want = if object { Want::Key } else { Want::Value };
                }
                (Want::CommaOrClose | Want::KeyOrClose | Want::ValueOrClose, Some(_)) if closes => {
                    self.at += 1;
                    self.around.pop();
                    self.after_value();
                    return Ok(Some(Piece { kind: Kind::Close, span: start..self.at, depth: depth - 1 }));
                }
                (Want::Key | Want::KeyOrClose, Some(b'"')) => {
                    self.string()?;
                    let span = start..self.at;
                    self.blanks();
                    if self.peek() != Some(b':') {
                        return Err(self.unexpected());
                    }
                    self.at += 1;
                    self.want = Want::Value;
                    return Ok(Some(Piece { kind: Kind::Key, span, depth }));
                }
                (Want::Value | Want::ValueOrClose, Some(first)) => {
                    let kind = match first {
                        b'{' | b'[' => {
                            if depth >= MAX_DEPTH {
                                return Err(self.fail(JsonErrorKind::TooDeep(MAX_DEPTH)));
                            }
                            self.at += 1;
                            self.around.push(first == b'{');
                            self.want = if first == b'{' { Want::KeyOrClose } else { Want::ValueOrClose };
                            return Ok(Some(Piece { kind: Kind::Open, span: start..self.at, depth }));
                        }
                        b'"' => {
                            self.string()?;
                            Kind::String
                        }
                        _ => {
                            self.plain()?;
                            Kind::Plain
                        }
                    };
                    self.after_value();
                    return Ok(Some(Piece { kind, span: start..self.at, depth }));
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                                    return Err(self.unexpected());
                                }
                                self.at += 1;
                            }
                        }
                        _ => return Err(self.unexpected()),
                    }
                }
                Some(b) if b >= 0x20 => self.at += 1,
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return Err(self.unexpected());
        }
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn plain(&mut self) -> Result<(), JsonError> {
        for word in ["true", "false", "null"] {
            if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
                self.at += word.len();
                return Ok(());
            }
        }
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }
}

impl Iterator for Scanner<'_> {
    type Item = Result<Piece, JsonError>;

    /// The next piece; after an error or the end, nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

/// Members of an object: each key, unescaped, and where its value stands.
pub type Members = Vec<(String, Range<usize>)>;

/// The members of the object that `text` is: each key, unescaped, and where its value stands. `None` when it is valid
/// JSON and no object. Equal keys are all there.
pub fn members(text: &str) -> Result<Option<Members>, JsonError> {
    let mut out: Members = Vec::new();
    let mut object = None;
    for piece in Scanner::new(text) {
        let piece = piece?;
        let opens_object = piece.kind == Kind::Open && text.get(piece.span.clone()) == Some("{");
        let object = *object.get_or_insert(opens_object);
        match piece.kind {
            _ if piece.depth == 0 || !object => {}
            Kind::Key if piece.depth == 1 => {
                out.push((
                    unescape(text.get(piece.span.clone()).unwrap_or_default()),
                    piece.span.end..piece.span.end,
                ));
            }
            // A value that is opened ends with its closing.
            Kind::Open if piece.depth == 1 => {
                if let Some((_, span)) = out.last_mut() {
                    *span = piece.span;
                }
            }
            Kind::Close if piece.depth == 1 => {
                if let Some((_, span)) = out.last_mut() {
                    span.end = piece.span.end;
                }
            }
            Kind::String | Kind::Plain if piece.depth == 1 => {
                if let Some((_, span)) = out.last_mut() {
                    *span = piece.span;
                }
            }
            _ => {}
        }
    }
    Ok(object.unwrap_or(false).then_some(out))
}

/// Where the value of the last member named `key` of the object at `span` stands.
pub fn member(text: &str, span: &Range<usize>, key: &str) -> Option<Range<usize>> {
    let part = text.get(span.clone())?;
    let found = members(part).ok()??.into_iter().rev().find(|(k, _)| k == key)?.1;
    Some(found.start + span.start..found.end + span.start)
}

/// The text of a string as it stands in JSON, quotes included. An unpaired surrogate becomes U+FFFD: it is looked at,
/// not passed on.
pub fn unescape(token: &str) -> String {
    let inner = token.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(token);
    if !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut units: Vec<u16> = Vec::new();
    let mut out = String::with_capacity(inner.len());
    let flush = |units: &mut Vec<u16>, out: &mut String| {
        out.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            flush(&mut units, &mut out);
            out.push(c);
            continue;
        }
        let escaped = chars.next();
        if escaped == Some('u') {
            let hex: String = chars.by_ref().take(4).collect();
            units.push(u16::from_str_radix(&hex, 16).unwrap_or(0xFFFD));
            continue;
        }
        flush(&mut units, &mut out);
        out.push(match escaped {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(other) => other,
            None => '\\',
        });
    }
    flush(&mut units, &mut out);
    out
}

/// A text with some of its places replaced. Places that overlap or lie outside are left as they are.
pub fn splice(text: &str, mut changes: Vec<(Range<usize>, &str)>) -> String {
    changes.sort_by_key(|(span, _)| span.start);
    let mut out = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for (span, new) in changes {
        if let Some(before) = text.get(at..span.start)
            && text.get(span.clone()).is_some()
        {
            out.push_str(before);
            out.push_str(new);
            at = span.end;
        }
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Bounds, Json};
    use proptest::prelude::*;

    fn valid(text: &str) -> bool {
        Scanner::new(text).all(|p| p.is_ok()) && Scanner::new(text).count() > 0
    }

    #[test]
    fn grammar() {
        for good in [
            "{}",
            "[]",
            " 1 ",
            "1e400",
            "\"\\ud800\"",
            "[1,[2,{\"a\":null}]]",
            "{\"a\":1,\"a\":2}",
            "-0.5E+9",
        ] {
            assert!(valid(good), "{good}");
        }
        for bad in [
            "", "{", "[1,]", "{,}", "{\"a\"}", "{\"a\":}", "01", "1.", "[1 2]", "{}{}", "]", "tru",
            "\"\\x\"", "\"a\nb\"", "{1:2}", "[}", "{]",
        ] {
            assert!(!Scanner::new(bad).all(|p| p.is_ok()) || Scanner::new(bad).count() == 0, "{bad}");
        }
        let deep = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert!(valid(&deep) && !valid(&format!("[{deep}]")));
    }

    #[test]
    fn places() {
        let text = r#"{ "id" : 7, "p\u0061rams": {"x":[1,{"y":2}]}, "s":"a\"b" , "x":null}"#;
        let found = members(text).unwrap().unwrap();
        let shown: Vec<(&str, &str)> =
            found.iter().map(|(k, s)| (k.as_str(), text.get(s.clone()).unwrap())).collect();
        assert_eq!(
            shown,
            [("id", "7"), ("params", r#"{"x":[1,{"y":2}]}"#), ("s", r#""a\"b""#), ("x", "null")]
        );
        let params = found[1].1.clone();
        let x = member(text, &params, "x").unwrap();
        assert_eq!(text.get(x.clone()).unwrap(), r#"[1,{"y":2}]"#);
        assert_eq!(splice("{\"a\":1,\"b\":2}", vec![(11..12, "9"), (5..6, "[]")]), "{\"a\":[],\"b\":9}");
        assert_eq!(members("[{\"a\":1}]").unwrap(), None);
    }

    #[test]
    fn strings() {
        assert_eq!(unescape(r#""a\u00e9\ud83d\ude00\n\/""#), "aé😀\n/");
        assert_eq!(unescape(r#""\ud800x\udc00""#), "\u{fffd}x\u{fffd}");
    }

    proptest! {
        /// Whatever the strict reader takes, the walk takes; and it never accepts what is no JSON at all.
        #[test]
        fn agrees_with_the_strict_reader(text in r#"[\[\]{},:"a1\\ -]{0,24}"#) {
            let strict = Json::parse(text.as_bytes(), Bounds::default());
            if strict.is_ok() {
                prop_assert!(valid(&text));
            }
            if valid(&text) {
                let fine = match &strict {
                    Ok(_) => true,
                    Err(e) => matches!(e.kind, JsonErrorKind::DuplicateKey(_) | JsonErrorKind::NumberRange | JsonErrorKind::Surrogate),
                };
                prop_assert!(fine, "{:?}", strict);
            }
        }
    }
}
