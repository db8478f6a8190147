//! Trust in servers: what a listing says, and how it stands to what a person accepted (gateway.md 3.5, 3.6, DECISIONS
//! rows 62, 63).
//!
//! A tool is pinned by everything a model reads of it: name, title, description, schemas, annotations and whatever else
//! its listing holds, but for `_meta` and `icons`. A changed tool quarantines its server, an added one is hidden, a
//! removed one is told of. Pure: pins are read and written by the store.

use crate::digest::Digest;
use crate::json::scan;
use crate::json::{Bounds, Json};
use std::collections::BTreeMap;
use std::ops::Range;

/// Longest name of a tool (interfaces.md 10.3).
pub const MAX_TOOL_NAME: usize = 128;
/// Most tools of one server.
pub const MAX_TOOLS: usize = 10_000;

/// One tool of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Digest of what is pinned of it.
    pub digest: Digest,
    /// What is pinned of it.
    pub text: String,
    /// Where it stands in the listing's text.
    pub span: Range<usize>,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its tools, in order. A name that occurs twice is there once: the first is meant.
    pub tools: Vec<Listed>,
    /// Places of entries that are no tool anybody can call: without a name of the protocol's letters, or named twice.
    pub unusable: Vec<Range<usize>>,
    /// Where to go on, as it was written.
    pub next: Option<String>,
}

/// Reads one page: the `result` of `tools/list` as the server wrote it, with places counted from its beginning.
pub fn listing(result: &str) -> Result<Listing, String> {
    let whole = 0..result.len();
    let tools = scan::member(result, &whole, "tools").ok_or("the listing has no `tools`")?;
    let mut out = Listing::default();
    for span in items(result, &tools)? {
        let text = result.get(span.clone()).unwrap_or_default();
        let name = scan::member(text, &(0..text.len()), "name").and_then(|s| text.get(s)).map(scan::unescape);
        match name.filter(|name| is_name(name) && out.tools.iter().all(|t| t.name != *name)) {
            Some(name) => {
                let text = pinned(text);
                let digest = Digest::of("countersign-tool-v1", &[name.as_bytes(), text.as_bytes()]);
                out.tools.push(Listed { name, digest, text, span });
            }
            None => out.unusable.push(span),
        }
        if out.tools.len() + out.unusable.len() > MAX_TOOLS {
            return Err(format!("the listing has more than {MAX_TOOLS} tools"));
        }
    }
    let next = scan::member(result, &whole, "nextCursor").and_then(|s| result.get(s));
    out.next = next.filter(|token| token.starts_with('"')).map(str::to_owned);
    Ok(out)
}

/// Whether a name is one of the protocol's: the letters keep it apart from methods, which have a slash.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_TOOL_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// What is pinned of a tool. A listing that two readers could read differently is pinned as it was written.
fn pinned(text: &str) -> String {
    let bounds = Bounds { max_bytes: usize::MAX, max_depth: scan::MAX_DEPTH, max_nodes: usize::MAX };
    match Json::parse(text.as_bytes(), bounds) {
        Ok(mut json) => {
            json.remove("_meta");
            json.remove("icons");
            json.canonical()
        }
        Err(_) => text.to_owned(),
    }
}

/// Places of an array's items.
pub fn items(text: &str, array: &Range<usize>) -> Result<Vec<Range<usize>>, String> {
    let part = text.get(array.clone()).unwrap_or_default();
    if !part.starts_with('[') {
        return Err("`tools` is no list".to_owned());
    }
    let mut out = Vec::new();
    let mut from = None;
    for piece in scan::Scanner::new(part) {
        let piece = piece.map_err(|e| e.to_string())?;
        if piece.depth != 1 {
            continue;
        }
        let span = piece.span.start + array.start..piece.span.end + array.start;
        match piece.kind {
            scan::Kind::Open => from = Some(span.start),
            scan::Kind::Close => out.push(from.take().unwrap_or(span.start)..span.end),
            scan::Kind::String | scan::Kind::Plain => out.push(span),
            scan::Kind::Key => {}
        }
    }
    Ok(out)
}

/// How a listing stands to what was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Tools that nobody accepted.
    pub added: Vec<String>,
    /// Tools that are not what was accepted.
    pub changed: Vec<String>,
    /// Accepted tools that are gone.
    pub removed: Vec<String>,
}

/// Compares tools with pins.
pub fn drift<'a>(
    accepted: &BTreeMap<String, Digest>,
    listed: impl IntoIterator<Item = (&'a str, Digest)>,
) -> Drift {
    let mut out = Drift::default();
    let mut seen = Vec::new();
    for (name, digest) in listed {
        seen.push(name);
        match accepted.get(name) {
            None => out.added.push(name.to_owned()),
            Some(pin) if *pin != digest => out.changed.push(name.to_owned()),
            Some(_) => {}
        }
    }
    out.removed = accepted.keys().filter(|name| !seen.contains(&name.as_str())).cloned().collect();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(result: &str) -> Vec<String> {
        listing(result).unwrap().tools.into_iter().map(|t| t.name).collect()
    }

    #[test]
    fn listings() {
        let text = r#" {"tools":[{"name":"a","description":"x"},{"name":"a b"},{"name":"a"},5,{"name":"b","inputSchema":{"maximum":1e400}}],"nextCursor":"n"}"#;
        let page = listing(text).unwrap();
        assert_eq!(names(text), ["a", "b"]);
        assert_eq!((page.unusable.len(), page.next.as_deref()), (3, Some("\"n\"")));
        assert_eq!(text.get(page.tools[0].span.clone()), Some(r#"{"name":"a","description":"x"}"#));
        assert!(listing("{}").is_err() && listing(r#"{"tools":{}}"#).is_err());
    }

    /// P-29: whatever a model reads of a tool is part of its pin; order and what only programs read is not.
    #[test]
    fn pins() {
        let of = |tool: &str| listing(&format!(r#"{{"tools":[{tool}]}}"#)).unwrap().tools[0].digest;
        let base = of(r#"{"name":"a","description":"x","inputSchema":{"type":"object"}}"#);
        assert_eq!(
            base,
            of(
                r#"{"inputSchema":{"type":"object"},"description":"x","name":"a","_meta":{"v":1},"icons":[]}"#
            )
        );
        for other in [
            r#"{"name":"a","description":"x\u200b","inputSchema":{"type":"object"}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"type":"object","title":"t"}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}"#,
            r#"{"name":"a","description":"x","inputSchema":{"type":"object"},"new":1}"#,
        ] {
            assert_ne!(base, of(other), "{other}");
        }
    }

    #[test]
    fn drifts() {
        let d = |t: &str| Digest::of_bytes("t", t.as_bytes());
        let accepted = BTreeMap::from([("a".to_owned(), d("1")), ("b".to_owned(), d("2"))]);
        let found = drift(&accepted, [("a", d("x")), ("c", d("3"))]);
        assert_eq!(
            found,
            Drift { added: vec!["c".into()], changed: vec!["a".into()], removed: vec!["b".into()] }
        );
    }
}
