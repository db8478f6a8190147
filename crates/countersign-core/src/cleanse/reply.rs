//! Cleansing what a hand brought back, for the agent: secrets out, too much of it cut, everything else byte for byte.
//!
//! A server's answer keeps its text: strings that hold a secret are written anew, and nothing else is touched, so that
//! numbers, unknown members and order survive. The catalogue runs over the whole text before anything is cut (DECISIONS
//! row 66). Control characters stay: they are escaped in JSON, and making them visible is for what people read.

use super::{CATALOGUE, Clean, Raw, SCREENING_ERROR, bare, clean, redact};
use crate::digest::Digest;
use crate::json::scan::{Kind, Piece, Scanner, splice, unescape};
use crate::json::{Json, scan};
use crate::rpc::Message;
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
    pub redactions: Vec<(&'static str, u32)>,
}

/// Cleanses a reply. `max_bytes` bounds a server's answer.
pub fn clean_reply(raw: &Raw<Reply>, max_bytes: usize) -> Cleansed {
    match raw.inner() {
        Reply::Text(text) => {
            Cleansed { text: clean(&Raw::new(text.as_str())), failed: false, redactions: Vec::new() }
        }
        Reply::Message(message) => {
            let failed = message.is_result() == Some(false)
                || message.result().is_some_and(|r| {
                    scan::member(r, &(0..r.len()), "isError").and_then(|span| r.get(span)) == Some("true")
                });
            let (text, redactions) = redact_json(message.text());
            let text = if text.len() > max_bytes { shorten(&text, max_bytes) } else { text };
            Cleansed { text: Clean(text), failed, redactions }
        }
    }
}

/// The text of a message that is no call's answer, cleansed in the same way.
pub fn clean_message(text: &str) -> Clean {
    Clean(redact_json(text).0)
}

/// A request's own arguments with what the catalogue knows taken out (DECISIONS row 4). `None` when nothing is.
pub fn redact_arguments(arguments: &Json) -> Option<Json> {
    let text = arguments.canonical();
    let (redacted, found) = redact_json(&text);
    if found.is_empty() && redacted == text {
        return None;
    }
    let bounds = crate::json::Bounds { max_bytes: usize::MAX, max_depth: usize::MAX, max_nodes: usize::MAX };
    Json::parse(redacted.as_bytes(), bounds).ok()
}

type Found = Vec<(&'static str, u32)>;

fn redact_json(text: &str) -> (String, Found) {
    // Without escapes every key word stands in the text as it is, so one look may spare the walk.
    if !text.contains("\\u") {
        let lower = text.to_ascii_lowercase();
        if !CATALOGUE.iter().any(|shape| shape.keywords.iter().any(|k| lower.contains(k))) {
            return (text.to_owned(), Vec::new());
        }
    }
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    let mut found: Found = Vec::new();
    for piece in Scanner::new(text).flatten() {
        if !matches!(piece.kind, Kind::Key | Kind::String) {
            continue;
        }
        let plain = unescape(text.get(piece.span.clone()).unwrap_or_default());
        if let Some(new) = redact_string(&plain, &mut found) {
            changes.push((piece.span, Json::String(new).canonical()));
        }
    }
    if changes.is_empty() {
        return (text.to_owned(), found);
    }
    (splice(text, changes.iter().map(|(span, new)| (span.clone(), new.as_str())).collect()), found)
}

/// The string without its secrets; `None` when it has none.
fn redact_string(plain: &str, found: &mut Found) -> Option<String> {
    let redacted = redact(plain);
    let count = |text: &str, id: &str| text.matches(&format!("[REDACTED-{id}]")).count();
    let mut note = |before: &str, after: &str| {
        for shape in CATALOGUE {
            let new = count(after, shape.id).saturating_sub(count(before, shape.id));
            if new == 0 {
                continue;
            }
            let new = u32::try_from(new).unwrap_or(u32::MAX);
            match found.iter_mut().find(|(id, _)| *id == shape.id) {
                Some((_, n)) => *n = n.saturating_add(new),
                None => found.push((shape.id, new)),
            }
        }
    };
    // Controls inside a secret hide it from its pattern and not from who reads the result.
    if plain.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        let plainer = bare(plain);
        let without = redact(&plainer);
        if without.matches("[REDACTED-").count() > redacted.matches("[REDACTED-").count() {
            note(&plainer, &without);
            return Some(SCREENING_ERROR.to_owned());
        }
    }
    if redacted == plain {
        return None;
    }
    note(plain, &redacted);
    Some(redacted)
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
        assert_eq!(clean.redactions, [("GITHUB_TOKEN", 2)]);
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
