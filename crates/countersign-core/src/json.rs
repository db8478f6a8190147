//! Strict JSON: the one reading of what an agent sent, and the one way of writing it back.
//!
//! Inside: a value that keeps member order and every digit of a number, a reader that refuses whatever two
//! parsers could read differently (duplicate keys, bad UTF-8, unpaired surrogates, numbers outside the finite
//! double range, trailing text), bounds on size, depth and nodes, and the canonical form over which digests are
//! taken. Where it stops: no schema, no types of the product. `serde_json` is not used for agent input because it
//! keeps the last of two equal keys and rounds large numbers: what was judged would not be what runs.

pub mod scan;

use std::fmt;

/// A JSON value. Objects keep the order in which members were written; numbers keep their literal text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it was written, digit for digit.
    Number(String),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object; keys are unique.
    Object(Vec<(String, Json)>),
}

/// Bounds of one document. Beyond any of them reading ends with an error that says which.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Size of the whole text in bytes.
    pub max_bytes: usize,
    /// Nesting of arrays and objects.
    pub max_depth: usize,
    /// Values in the whole document, keys not counted.
    pub max_nodes: usize,
}

impl Default for Bounds {
    /// 1 MiB, depth 64, 20 000 nodes (DECISIONS row 25).
    fn default() -> Self {
        Self { max_bytes: 1_048_576, max_depth: 64, max_nodes: 20_000 }
    }
}

/// Why a text is not one JSON document that everybody reads alike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Byte offset in the text.
    pub at: usize,
}

/// The kinds of [`JsonError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each variant's text is its documentation
pub enum JsonErrorKind {
    #[error("text is longer than {0} bytes")]
    TooLarge(usize),
    #[error("nesting is deeper than {0}")]
    TooDeep(usize),
    #[error("more than {0} values")]
    TooManyNodes(usize),
    #[error("not UTF-8")]
    NotUtf8,
    #[error("the key {0:?} occurs twice in one object")]
    DuplicateKey(String),
    #[error("an unpaired surrogate")]
    Surrogate,
    #[error("a number outside the finite double range")]
    NumberRange,
    #[error("unexpected {0}")]
    Unexpected(String),
    #[error("the text ends too early")]
    Eof,
    #[error("text after the value")]
    Trailing,
}

impl JsonErrorKind {
    /// True when a bound was met, rather than the text being wrong: the refusal then is `arguments_too_large`.
    pub fn is_bound(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::TooDeep(_) | Self::TooManyNodes(_))
    }
}

impl Json {
    /// Reads exactly one value from UTF-8 bytes.
    pub fn parse(bytes: &[u8], bounds: Bounds) -> Result<Json, JsonError> {
        if bytes.len() > bounds.max_bytes {
            return Err(JsonError { kind: JsonErrorKind::TooLarge(bounds.max_bytes), at: bounds.max_bytes });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|e| JsonError { kind: JsonErrorKind::NotUtf8, at: e.valid_up_to() })?;
        let mut reader = Reader { bytes, text, at: 0, nodes: 0, bounds };
        reader.blanks();
        let value = reader.value(0)?;
        reader.blanks();
        if reader.at < bytes.len() {
            return Err(reader.fail(JsonErrorKind::Trailing));
        }
        Ok(value)
    }

    /// A string value.
    pub fn str(text: impl Into<String>) -> Json {
        Json::String(text.into())
    }

    /// An integer value.
    pub fn int(value: i64) -> Json {
        Json::Number(value.to_string())
    }

    /// An array of strings.
    pub fn strings<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> Json {
        Json::Array(items.into_iter().map(|s| Json::str(s.as_ref())).collect())
    }

    /// An object of the given members; a later member of the same key replaces the earlier.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Json)>) -> Json {
        let mut object = Json::Object(Vec::new());
        for (key, value) in members {
            object.set(key, value);
        }
        object
    }

    /// Sets one member of an object; does nothing on other values.
    pub fn set(&mut self, key: impl Into<String>, value: Json) {
        if let Json::Object(members) = self {
            let key = key.into();
            match members.iter_mut().find(|(k, _)| *k == key) {
                Some((_, old)) => *old = value,
                None => members.push((key, value)),
            }
        }
    }

    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The member `key` of an object, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Json> {
        match self {
            Json::Object(members) => members.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Removes and returns the member `key` of an object.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        match self {
            Json::Object(members) => {
                let at = members.iter().position(|(k, _)| k == key)?;
                Some(members.remove(at).1)
            }
            _ => None,
        }
    }

    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(s) => Some(s),
            _ => None,
        }
    }

    /// The value of a number that is an integer written as one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Json::Number(n) => n.parse().ok(),
            _ => None,
        }
    }

    /// The value of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Json::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Json::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&[(String, Json)]> {
        match self {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The text of the string member `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Json::as_str)
    }

    /// The canonical form: keys sorted by their UTF-8 bytes, no blanks, shortest escapes, numbers digit for digit.
    /// One value has one canonical form and two values never share one (DECISIONS row 5). Over our own records,
    /// whose keys are ASCII and whose numbers are small integers, it is also the form of RFC 8785.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, true, None, 0);
        out
    }

    /// Members as they were written, two blanks a level, for files that people read.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, false, Some(2), 0);
        out
    }

    fn write(&self, out: &mut String, sorted: bool, indent: Option<usize>, level: usize) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(n) => out.push_str(n),
            Json::String(s) => write_string(s, out),
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    newline(out, indent, level + 1);
                    item.write(out, sorted, indent, level + 1);
                }
                if !items.is_empty() {
                    newline(out, indent, level);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                let mut order: Vec<&(String, Json)> = members.iter().collect();
                if sorted {
                    order.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
                }
                for (i, (key, value)) in order.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    newline(out, indent, level + 1);
                    write_string(key, out);
                    out.push(':');
                    if indent.is_some() {
                        out.push(' ');
                    }
                    value.write(out, sorted, indent, level + 1);
                }
                if !members.is_empty() {
                    newline(out, indent, level);
                }
                out.push('}');
            }
        }
    }
}

impl fmt::Display for Json {
    /// The canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

fn newline(out: &mut String, indent: Option<usize>, level: usize) {
    if let Some(width) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', width * level));
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    nodes: usize,
    bounds: Bounds,
}

impl Reader<'_> {
    fn fail(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn unexpected(&self) -> JsonError {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(c) => self.fail(JsonErrorKind::Unexpected(format!("{c:?}"))),
            None => self.fail(JsonErrorKind::Eof),
        }
    }

    fn eat(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, JsonError> {
        if self.bytes.get(self.at..self.at + word.len()) == Some(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.unexpected())
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.nodes += 1;
        if self.nodes > self.bounds.max_nodes {
            return Err(self.fail(JsonErrorKind::TooManyNodes(self.bounds.max_nodes)));
        }
        if depth > self.bounds.max_depth {
            return Err(self.fail(JsonErrorKind::TooDeep(self.bounds.max_depth)));
        }
        match self.peek() {
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'"') => self.string().map(Json::String),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.blanks();
            items.push(self.value(depth + 1)?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.blanks();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            let key = self.string()?;
            if !seen.insert(key.clone()) {
                return Err(JsonError { kind: JsonErrorKind::DuplicateKey(key), at: start });
            }
            self.blanks();
            self.eat(b':')?;
            self.blanks();
            let value = self.value(depth + 1)?;
            members.push((key, value));
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(members));
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected());
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
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
        let literal = self.text.get(start..self.at).unwrap_or_default();
        match literal.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Json::Number(literal.to_owned())),
            _ => Err(JsonError { kind: JsonErrorKind::NumberRange, at: start }),
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while matches!(self.peek(), Some(b) if b != b'"' && b != b'\\' && b >= 0x20) {
                self.at += 1;
            }
            out.push_str(self.text.get(start..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    out.push(c);
                }
                Some(_) => return Err(self.unexpected()),
                None => return Err(self.fail(JsonErrorKind::Eof)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(c)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut value = 0u32;
        for _ in 0..4 {
            let digit =
                self.peek().and_then(|b| (b as char).to_digit(16)).ok_or_else(|| self.unexpected())?;
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let surrogate = JsonError { kind: JsonErrorKind::Surrogate, at: start };
        let first = self.hex4()?;
        let code = match first {
            0xD800..=0xDBFF => {
                if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
                    return Err(surrogate);
                }
                self.at += 2;
                let second = self.hex4()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(surrogate);
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            other => other,
        };
        char::from_u32(code).ok_or(surrogate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canon(text: &str) -> String {
        Json::parse(text.as_bytes(), Bounds::default()).unwrap().canonical()
    }

    fn err(text: &[u8]) -> JsonErrorKind {
        Json::parse(text, Bounds::default()).unwrap_err().kind
    }

    #[test]
    fn canonical_form_sorts_keys_and_keeps_digits() {
        assert_eq!(canon(r#" { "b" : 1.50e3 , "a" : [ true , null ] } "#), r#"{"a":[true,null],"b":1.50e3}"#);
        assert_eq!(canon("9007199254740993"), "9007199254740993");
        assert_ne!(canon("9007199254740993"), canon("9007199254740992"));
        assert_eq!(canon(r#""\u0041\/\u000a\ud83d\ude00""#), "\"A/\\n\u{1f600}\"");
        // UTF-8 byte order: U+E000 sorts before U+10000, which UTF-16 order would turn round.
        assert_eq!(canon("{\"\u{10000}\":1,\"\u{e000}\":2}"), "{\"\u{e000}\":2,\"\u{10000}\":1}");
    }

    #[test]
    fn ambiguous_texts_are_refused() {
        assert_eq!(err(br#"{"a":1,"a":2}"#), JsonErrorKind::DuplicateKey("a".into()));
        assert_eq!(err(br#"{"a":1,"\u0061":2}"#), JsonErrorKind::DuplicateKey("a".into()));
        assert_eq!(err(br#"[{"x":{"k":1,"k":1}}]"#), JsonErrorKind::DuplicateKey("k".into()));
        assert_eq!(err(b"\"\xff\""), JsonErrorKind::NotUtf8);
        assert_eq!(err(br#""\ud800""#), JsonErrorKind::Surrogate);
        assert_eq!(err(br#""\ud800\u0041""#), JsonErrorKind::Surrogate);
        assert_eq!(err(br#""\udc00""#), JsonErrorKind::Surrogate);
        assert_eq!(err(b"1e400"), JsonErrorKind::NumberRange);
        assert_eq!(err(b"1 2"), JsonErrorKind::Trailing);
        assert_eq!(err(b"{"), JsonErrorKind::Eof);
        for bad in [
            "01",
            "+1",
            "1.",
            ".5",
            "-",
            "NaN",
            "tru",
            "[1,]",
            "{\"a\":1,}",
            "'a'",
            "\"\t\"",
            "",
            "\u{feff}1",
        ] {
            assert!(Json::parse(bad.as_bytes(), Bounds::default()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bounds_hold() {
        let nest = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(Json::parse(nest(65).as_bytes(), Bounds::default()).is_ok());
        assert_eq!(err(nest(66).as_bytes()), JsonErrorKind::TooDeep(64));
        assert_eq!(err(nest(100_000).as_bytes()), JsonErrorKind::TooDeep(64));
        let many = format!("[{}0]", "0,".repeat(20_000));
        assert_eq!(err(many.as_bytes()), JsonErrorKind::TooManyNodes(20_000));
        assert_eq!(err(&[b' '; 1_048_577]), JsonErrorKind::TooLarge(1_048_576));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(Json::int),
            any::<f64>()
                .prop_filter("finite", |f| f.is_finite())
                .prop_map(|f| Json::Number(format!("{f:e}"))),
            any::<String>().prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
                proptest::collection::vec((any::<String>(), inner), 0..6).prop_map(Json::object),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_form_is_a_fixed_point(value in any_json()) {
            let once = value.canonical();
            let back = Json::parse(once.as_bytes(), Bounds::default()).unwrap();
            prop_assert_eq!(back.canonical(), once.clone());
            prop_assert_eq!(Json::parse(value.pretty().as_bytes(), Bounds::default()).unwrap(), value);
            // An independent reader agrees on what the text says.
            prop_assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok());
        }

        #[test]
        fn whatever_we_accept_another_reader_accepts(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if Json::parse(&bytes, Bounds::default()).is_ok() {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            }
        }
    }
}
