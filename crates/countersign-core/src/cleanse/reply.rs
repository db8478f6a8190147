//! Cleansing what a hand brought back, for the agent: secrets out, too much of it cut, everything else byte for byte.
//!
//! A server's answer keeps its text: strings that hold a secret are written anew, and nothing else is touched, so that
//! numbers, unknown members and order survive. The catalogue runs over the whole text before anything is cut (DECISIONS
//! row 66). Control characters stay: they are escaped in JSON, and making them visible is for what people read.

use super::injection::{self, Matches};
use super::secrets;
use super::secrets::{Hit, ScanError};
use super::{Catalogue, Clean, Raw, Redactions, SCREENING_ERROR, bare, marker};
use crate::digest::Digest;
use crate::json::scan::{Kind, Piece, Scanner, splice, unescape};
use crate::json::{Json, scan};
use crate::rpc::Message;
use std::borrow::Cow;
use std::ops::Range;

/// What a hand brought back.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Plain text.
    Text(String),
    /// The answer of a server, whole.
    Message(Message),
}

impl AsRef<[u8]> for Reply {
    fn as_ref(&self) -> &[u8] {
        match self {
            Reply::Text(text) => text.as_bytes(),
            Reply::Message(message) => message.text().as_bytes(),
        }
    }
}

/// A reply that may go out.
#[derive(Clone, Debug)]
pub struct Cleansed {
    /// Its text; a server's answer still is one.
    pub text: Clean,
    /// The server itself says that it failed.
    pub failed: bool,
    /// What was taken out: the shape's id and how often.
    pub redactions: Redactions,
    /// Orders to a model that a server's answer holds.
    pub orders: Matches,
}

impl Catalogue {
    /// Cleanses a reply. `max_bytes` bounds a server's answer.
    pub fn reply(&self, raw: &Raw<Reply>, max_bytes: usize) -> Cleansed {
        match raw.inner() {
            Reply::Text(text) => Cleansed {
                text: self.text(text),
                failed: false,
                redactions: Vec::new(),
                orders: Matches::default(),
            },
            Reply::Message(message) => {
                let failed = message.is_result() == Some(false)
                    || message.result().is_some_and(|r| {
                        scan::member(r, &(0..r.len()), "isError").and_then(|span| r.get(span)) == Some("true")
                    });
                // The strings of the answer as one text, secrets out (DECISIONS row 66).
                let mut said = String::new();
                let (text, redactions) = self.walk(message.text(), Some(&mut said));
                let orders = injection::scan(&said);
                let text = if text.len() > max_bytes { shorten(&text, max_bytes) } else { text };
                Cleansed { text: Clean(text), failed, redactions, orders }
            }
        }
    }

    /// The text of a message that is no call's answer, cleansed in the same way.
    pub fn message(&self, text: &str) -> Clean {
        Clean(self.walk(text, None).0)
    }

    /// A request's own arguments with what the catalogue knows taken out (DECISIONS row 4). `None` when nothing is.
    pub fn arguments(&self, arguments: &Json) -> Option<Json> {
        let text = arguments.canonical();
        let (redacted, found) = self.walk(&text, None);
        if found.is_empty() && redacted == text {
            return None;
        }
        let bounds =
            crate::json::Bounds { max_bytes: usize::MAX, max_depth: usize::MAX, max_nodes: usize::MAX };
        Json::parse(redacted.as_bytes(), bounds).ok()
    }

    /// Walks a JSON text and writes the strings anew that hold a secret.
    fn walk(&self, text: &str, mut said: Option<&mut String>) -> (String, Redactions) {
        let mut changes: Vec<(Range<usize>, String)> = Vec::new();
        let mut found: Redactions = Vec::new();
        let mut blocks = Blocks::default();
        let mut key = String::new();
        for piece in Scanner::new(text).flatten() {
            let token = text.get(piece.span.clone()).unwrap_or_default();
            match piece.kind {
                Kind::Key => key = unescape(token),
                Kind::String => {}
                Kind::Close => {
                    blocks.close(piece.depth, self, &mut changes, &mut found);
                    continue;
                }
                _ => continue,
            }
            let plain = if piece.kind == Kind::Key { Cow::Borrowed(key.as_str()) } else { unescaped(token) };
            let member = if piece.kind == Kind::String { key.as_str() } else { "" };
            let new = self.string(&plain, member, &mut found);
            if let Some(said) = &mut said {
                said.push_str(new.as_deref().unwrap_or(&plain));
                said.push('\n');
            }
            if new.is_none() && member == "text" {
                blocks.add(piece.depth, piece.span.clone(), &plain);
            }
            if let Some(new) = new {
                changes.push((piece.span, Json::String(new).canonical()));
            }
            if piece.kind == Kind::String {
                key.clear();
            }
        }
        if changes.is_empty() {
            return (text.to_owned(), found);
        }
        (splice(text, changes.iter().map(|(span, new)| (span.clone(), new.as_str())).collect()), found)
    }

    /// The string without its secrets; `None` when it has none. `key` is the member that it is the value of.
    fn string(&self, plain: &str, key: &str, found: &mut Redactions) -> Option<String> {
        let redacted = match self.redact(plain) {
            Ok(redacted) => redacted,
            Err(ScanError) => return Some(SCREENING_ERROR.to_owned()),
        };
        let count = redacted.as_ref().map_or(0, |(_, hits)| hits.len());
        // Controls inside a secret hide it from its pattern and not from who reads the result.
        if plain.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
            match self.find(&bare(plain)) {
                Ok(hits) if hits.len() <= count => {}
                Ok(hits) => {
                    note(found, &hits);
                    return Some(SCREENING_ERROR.to_owned());
                }
                Err(ScanError) => return Some(SCREENING_ERROR.to_owned()),
            }
        }
        match redacted {
            Some((text, hits)) => {
                note(found, &hits);
                Some(text)
            }
            None => {
                let id = secrets::member(key, plain)?;
                note(found, &[Hit { range: 0..plain.len(), id: id.into() }]);
                Some(marker(id))
            }
        }
    }
}

/// A string's text; most have no escape and stay where they are.
fn unescaped(token: &str) -> Cow<'_, str> {
    match token.contains('\\') {
        true => Cow::Owned(unescape(token)),
        false => Cow::Borrowed(token.get(1..token.len().saturating_sub(1)).unwrap_or_default()),
    }
}

fn note(found: &mut Redactions, hits: &[Hit]) {
    for hit in hits {
        match found.iter_mut().find(|(id, _)| *id == hit.id) {
            Some((_, n)) => *n = n.saturating_add(1),
            None => found.push((hit.id.clone(), 1)),
        }
    }
}

/// The text blocks of one array, read as the one text that a model sees (gateway.md 7.1).
#[derive(Default)]
struct Blocks {
    depth: usize,
    joined: String,
    parts: Vec<(Range<usize>, usize)>,
}

impl Blocks {
    fn add(&mut self, depth: usize, span: Range<usize>, plain: &str) {
        if self.depth != depth {
            self.clear();
            self.depth = depth;
        }
        self.joined.push_str(plain);
        self.parts.push((span, self.joined.len()));
    }

    fn clear(&mut self) {
        self.joined.clear();
        self.parts.clear();
    }

    /// The array around the blocks ends: a secret that spans several of them is taken out of each.
    fn close(
        &mut self,
        depth: usize,
        catalogue: &Catalogue,
        changes: &mut Vec<(Range<usize>, String)>,
        found: &mut Redactions,
    ) {
        // A block's object closes one level, the array two levels above its strings.
        if depth + 2 > self.depth {
            return;
        }
        if self.parts.len() > 1 {
            let hits = catalogue.find(&self.joined).unwrap_or_default();
            let mut from = 0;
            for (span, to) in &self.parts {
                let (begin, end) = (std::mem::replace(&mut from, *to), *to);
                let mut rest = self.joined.get(begin..end).unwrap_or_default().to_owned();
                let inside = hits.iter().rev().filter(|h| h.range.start < end && begin < h.range.end);
                let mut changed = false;
                for hit in inside {
                    let (a, b) = (hit.range.start.max(begin) - begin, hit.range.end.min(end) - begin);
                    if rest.is_char_boundary(a) && rest.is_char_boundary(b) {
                        rest.replace_range(a..b, &marker(&hit.id));
                    } else {
                        SCREENING_ERROR.clone_into(&mut rest);
                    }
                    changed = true;
                }
                if changed {
                    changes.push((span.clone(), Json::String(rest).canonical()));
                }
            }
            note(found, &hits);
        }
        self.clear();
    }
}

/// [`Catalogue::reply`] of the built-in catalogue.
pub fn clean_reply(raw: &Raw<Reply>, max_bytes: usize) -> Cleansed {
    Catalogue::BUILT_IN.reply(raw, max_bytes)
}

/// [`Catalogue::message`] of the built-in catalogue.
pub fn clean_message(text: &str) -> Clean {
    Catalogue::BUILT_IN.message(text)
}

/// [`Catalogue::arguments`] of the built-in catalogue.
pub fn redact_arguments(arguments: &Json) -> Option<Json> {
    Catalogue::BUILT_IN.arguments(arguments)
}

/// Texts below this length are not worth cutting.
const LEAST_CUT: usize = 256;

/// Cuts the longest strings until the whole fits, structure kept; bytes of pictures and the like are named instead. An
/// answer that is long without a long string is replaced by one that says so.
fn shorten(text: &str, max_bytes: usize) -> String {
    let mut strings: Vec<(Piece, bool)> = Vec::new();
    let mut key = String::new();
    for piece in Scanner::new(text).flatten() {
        match piece.kind {
            Kind::Key => key = unescape(text.get(piece.span.clone()).unwrap_or_default()),
            Kind::String if piece.span.len() > LEAST_CUT => {
                let binary = matches!(key.as_str(), "data" | "blob");
                strings.push((piece, binary));
            }
            _ => {}
        }
    }
    strings.sort_by_key(|(piece, _)| std::cmp::Reverse(piece.span.len()));
    let mut over = text.len().saturating_sub(max_bytes);
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    for (piece, binary) in strings {
        if over == 0 {
            break;
        }
        let token = text.get(piece.span.clone()).unwrap_or_default();
        let plain = unescape(token);
        let new = if binary {
            let digest = Digest::of_bytes("countersign-omitted-v1", plain.as_bytes());
            format!("[OMITTED: {} bytes, digest {digest}]", plain.len())
        } else {
            // The notice has its own length; escapes may make the rest longer than it looks.
            let keep = token.len().saturating_sub(over + 128).min(plain.len());
            let cut = (0..=keep).rev().find(|at| plain.is_char_boundary(*at)).unwrap_or(0);
            let kept = plain.get(..cut).unwrap_or_default();
            format!(
                "{kept}\n[CUT: the result was longer than {max_bytes} bytes; {} bytes are left out]",
                plain.len() - cut
            )
        };
        let new = Json::String(new).canonical();
        over = over.saturating_sub(token.len().saturating_sub(new.len()));
        changes.push((piece.span, new));
    }
    let shorter = splice(text, changes.iter().map(|(span, new)| (span.clone(), new.as_str())).collect());
    if shorter.len() <= max_bytes {
        return shorter;
    }
    let id = Message::from_server(text.as_bytes()).ok().and_then(|m| m.id().map(str::to_owned));
    let told = format!(
        "[CUT: the result has {} bytes; at most {max_bytes} are passed on, and it has no long text to cut]",
        text.len()
    );
    let block = Json::object([("type", Json::str("text")), ("text", Json::str(told))]);
    let result = Json::object([("content", Json::Array(vec![block])), ("isError", Json::Bool(true))]);
    crate::rpc::result(id.as_deref().unwrap_or("null"), &result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str, max: usize) -> Cleansed {
        let message = Message::from_server(text.as_bytes()).unwrap();
        clean_reply(&Raw::new(Reply::Message(message)), max)
    }

    fn token() -> String {
        format!("ghp_{}", "aB3".repeat(12))
    }

    /// Nothing but the secret changes.
    /// GINV-42.
    #[test]
    fn the_rest_stays_byte_for_byte() {
        let text = r#"{ "jsonrpc":"2.0","id":1, "result":{"n":1e400,"big":12345678901234567890123,"s":"\ud800","k":1,"k":2,"t":"bearer of news"}}"#;
        let same = reply(text, 10_000);
        assert_eq!(same.text.as_str(), text);
        assert!(same.redactions.is_empty() && !same.failed);
        let text = format!(
            r#"{{ "jsonrpc":"2.0","id":1, "result":{{"n":1e400,"t":"\u0061 {0}","{0}":[1]}}}}"#,
            token()
        );
        let clean = reply(&text, 10_000);
        assert_eq!(
            clean.text.as_str(),
            r#"{ "jsonrpc":"2.0","id":1, "result":{"n":1e400,"t":"a [REDACTED-GITHUB_TOKEN]","[REDACTED-GITHUB_TOKEN]":[1]}}"#
        );
        assert_eq!(clean.redactions, [("GITHUB_TOKEN".into(), 2)]);
    }

    #[test]
    fn escapes_hide_nothing() {
        let hidden = token().replace("ghp_", r"\u0067hp_");
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"t":"{hidden}"}}}}"#);
        assert!(!reply(&text, 10_000).text.as_str().contains("aB3aB3"));
        let split = token().replace("ghp_aB3", r"ghp_aB3\u001b[0m");
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"t":"{split}"}}}}"#);
        assert!(!reply(&text, 10_000).text.as_str().contains("aB3aB3"));
    }

    /// gateway.md 7.1: a value split over blocks, and one that only its key tells.
    #[test]
    fn blocks_are_read_together_and_keys_with_their_values() {
        let secret = token();
        let (head, tail) = secret.split_at(10);
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"a {head}"}},{{"type":"text","text":"{tail} b"}}]}}}}"#
        );
        let clean = reply(&text, 10_000);
        let shown = clean.text.as_str();
        assert!(
            !shown.contains("aB3aB3")
                && shown.contains("a [REDACTED-GITHUB_TOKEN]")
                && shown.contains(" b\""),
            "{shown}"
        );
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"db_password":"tr0ub4dor!","user":"tr0ub4dor!","nextPageToken":"CAUQAA1x9zT2kQ7w1ZrB"}}"#;
        let clean = reply(text, 10_000);
        assert_eq!(
            clean.text.as_str(),
            r#"{"jsonrpc":"2.0","id":1,"result":{"db_password":"[REDACTED-PASSWORD]","user":"tr0ub4dor!","nextPageToken":"CAUQAA1x9zT2kQ7w1ZrB"}}"#
        );
    }

    #[test]
    fn failures_show() {
        assert!(reply(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#, 999).failed);
        assert!(reply(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#, 999).failed);
        assert!(!reply(r#"{"jsonrpc":"2.0","id":1,"result":{"x":{"isError":true}}}"#, 999).failed);
    }

    /// GINV-47.
    #[test]
    fn long_answers_keep_their_shape() {
        let long = "é".repeat(5_000);
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{long}"}},{{"type":"text","text":"short"}},{{"type":"image","data":"{}"}}]}}}}"#,
            "QUJD".repeat(3_000)
        );
        let cut = reply(&text, 6_000);
        assert!(cut.text.as_str().len() <= 6_000, "{}", cut.text.as_str().len());
        let json = Json::parse(cut.text.as_str().as_bytes(), crate::json::Bounds::default()).unwrap();
        let content = json.get("result").unwrap().get("content").unwrap().as_array().unwrap();
        assert!(content[0].text("text").unwrap().contains("[CUT: "));
        assert_eq!(content[1].text("text"), Some("short"));
        assert!(content[2].text("data").unwrap().starts_with("[OMITTED: 12000 bytes"));
        let many = format!(r#"{{"jsonrpc":"2.0","id":"x","result":[{}0]}}"#, "1,".repeat(5_000));
        let told = reply(&many, 4_096);
        assert!(told.text.as_str().starts_with(r#"{"jsonrpc":"2.0","id":"x","result""#));
        assert!(told.text.as_str().contains("isError"));
    }

    #[test]
    fn arguments() {
        let json = |t: &str| Json::parse(t.as_bytes(), crate::json::Bounds::default()).unwrap();
        assert_eq!(redact_arguments(&json(r#"{"a":"b","n":1.50}"#)), None);
        let clean = redact_arguments(&json(&format!(r#"{{"a":"x {}"}}"#, token()))).unwrap();
        assert_eq!(clean.canonical(), r#"{"a":"x [REDACTED-GITHUB_TOKEN]"}"#);
    }
}
