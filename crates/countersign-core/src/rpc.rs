//! The envelope of a JSON-RPC message: id, method, parameters, and the text as it came. The one wire shape that core
//! knows, because forwarding is judged too; everything else of MCP stays in the doors and hands.
//!
//! What a client sends is read strictly: one object that everybody reads alike, or it goes nowhere. What a server
//! sends is only walked, since its results must come through as they were written. A message keeps its text, and what
//! is sent on is that text with some of its places replaced.

use crate::json::scan::{self, splice};
use crate::json::{Bounds, Json, JsonError};
use std::ops::Range;

/// Longest message in either direction, in bytes (DECISIONS row 24).
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Longest id and method name, in bytes: they are kept while a call runs, and recorded.
const MAX_NAME_BYTES: usize = 1_024;

/// Members of a message, and members of a client's parameters that are looked at here.
const ENVELOPE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMETERS: &[&str] =
    &["name", "arguments", "uri", "ref", "cursor", "requestId", "progressToken", "_meta"];

/// One message, with the places of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Request { id: Range<usize>, method: String, params: Option<Range<usize>> },
    Notification { method: String, params: Option<Range<usize>> },
    Response { id: Range<usize>, result: Option<Range<usize>> },
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Malformed {
    /// -32700 when it is no JSON that everybody reads alike, -32600 when it is no message.
    pub code: i64,
    /// A bound was met.
    pub too_large: bool,
    /// What is wrong.
    pub why: String,
    /// The id as it was written, when it can be told, so that the sender gets an answer.
    pub id: Option<String>,
}

impl Malformed {
    fn json(e: &JsonError) -> Malformed {
        Malformed {
            code: -32700,
            too_large: e.kind.is_bound(),
            why: format!("not one JSON object: {e}"),
            id: None,
        }
    }

    fn shape(why: impl Into<String>, id: Option<&str>) -> Malformed {
        Malformed { code: -32600, too_large: false, why: why.into(), id: id.map(str::to_owned) }
    }
}

impl Message {
    /// Reads a client's message strictly. The text is UTF-8 without a line break at its end.
    pub fn from_client(bytes: &[u8], bounds: Bounds) -> Result<Message, Malformed> {
        let strict = Json::parse(bytes, bounds);
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if let Err(e) = strict {
            // Two equal keys or a number out of range leave the envelope readable: whoever waits for this id is told.
            let id = scan::members(text).ok().flatten().and_then(|all| {
                let mut ids = all.into_iter().filter(|(k, _)| k == "id").filter_map(|(_, s)| text.get(s));
                let one = ids.next().filter(|id| is_id(id));
                one.filter(|_| ids.next().is_none()).map(str::to_owned)
            });
            return Err(Malformed { id, ..Malformed::json(&e) });
        }
        let message = Message::read(text.to_owned())?;
        if let Some(params) = message.params()
            && let Ok(Some(members)) = scan::members(params)
            && let Some(key) = lookalike(&members, PARAMETERS)
        {
            let why = format!("`params` has a member that some take for `{key}`");
            return Err(Malformed::shape(why, message.id()));
        }
        Ok(message)
    }

    /// Walks a server's message.
    pub fn from_server(bytes: &[u8]) -> Result<Message, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed {
            code: -32700,
            too_large: false,
            why: "not UTF-8".to_owned(),
            id: None,
        })?;
        Message::read(text.to_owned())
    }

    /// A message of our own; `None` when it is none.
    pub fn own(json: &Json) -> Option<Message> {
        Message::read(json.canonical()).ok()
    }

    fn read(text: String) -> Result<Message, Malformed> {
        let parts = scan::members(&text).map_err(|e| Malformed::json(&e))?;
        let Some(parts) = parts else {
            let batch = text.trim_start().starts_with('[');
            let why = if batch { "a batch; send one message a line" } else { "not a JSON object" };
            return Err(Malformed::shape(why, None));
        };
        let find = |key: &str| {
            let mut all = parts.iter().filter(|(k, _)| k == key);
            let first = all.next().map(|(_, span)| span.clone());
            (first, all.next().is_some())
        };
        let at = |span: &Range<usize>| text.get(span.clone()).unwrap_or_default();
        let (id, twice) = find("id");
        let known = id.as_ref().map(at).filter(|id| is_id(id) && !twice);
        // Two readers of one of these would see two messages.
        for key in ENVELOPE {
            if find(key).1 {
                return Err(Malformed::shape(format!("`{key}` occurs twice"), known));
            }
        }
        if let Some(key) = lookalike(&parts, ENVELOPE) {
            return Err(Malformed::shape(format!("a member that some take for `{key}`"), known));
        }
        if find("jsonrpc").0.as_ref().map(at) != Some("\"2.0\"") {
            return Err(Malformed::shape("`jsonrpc` is not \"2.0\"", known));
        }
        let (method, params, result, error) =
            (find("method").0, find("params").0, find("result").0, find("error").0);
        let kind = match (method, id) {
            (Some(method), id) => {
                if result.is_some() || error.is_some() {
                    return Err(Malformed::shape("a request with a result", known));
                }
                let token = at(&method);
                let name = scan::unescape(token);
                if !token.starts_with('"')
                    || name.is_empty()
                    || name.len() > MAX_NAME_BYTES
                    || name.contains(char::is_control)
                {
                    return Err(Malformed::shape("`method` is no short text", known));
                }
                if params.as_ref().is_some_and(|p| !at(p).starts_with(['{', '['])) {
                    return Err(Malformed::shape("`params` is no object", known));
                }
                match id {
                    None => Kind::Notification { method: name, params },
                    Some(_) if known.is_none() => {
                        return Err(Malformed::shape("`id` is no short text and no number", None));
                    }
                    Some(id) => Kind::Request { id, method: name, params },
                }
            }
            (None, Some(id)) if result.is_some() != error.is_some() && known.is_some() => {
                Kind::Response { id, result }
            }
            (None, _) => return Err(Malformed::shape("neither a request nor an answer", known)),
        };
        Ok(Message { kind, text })
    }

    /// The text as it came.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn at(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The id of a request or answer, as it was written.
    pub fn id(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { id, .. } | Kind::Response { id, .. } => Some(self.at(id)),
            Kind::Notification { .. } => None,
        }
    }

    /// The method of a request or notification.
    pub fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method, .. } => Some(method),
            Kind::Response { .. } => None,
        }
    }

    /// True for a request, which has to be answered.
    pub fn is_request(&self) -> bool {
        matches!(self.kind, Kind::Request { .. })
    }

    /// Whether an answer carries a result, rather than an error. `None` for everything that is no answer.
    pub fn is_result(&self) -> Option<bool> {
        match &self.kind {
            Kind::Response { result, .. } => Some(result.is_some()),
            Kind::Request { .. } | Kind::Notification { .. } => None,
        }
    }

    fn params_span(&self) -> Option<&Range<usize>> {
        match &self.kind {
            Kind::Request { params, .. } | Kind::Notification { params, .. } => params.as_ref(),
            Kind::Response { .. } => None,
        }
    }

    /// The parameters as they were written.
    pub fn params(&self) -> Option<&str> {
        self.params_span().map(|span| self.at(span))
    }

    /// The result of an answer as it was written.
    pub fn result(&self) -> Option<&str> {
        match &self.kind {
            Kind::Response { result, .. } => result.as_ref().map(|span| self.at(span)),
            Kind::Request { .. } | Kind::Notification { .. } => None,
        }
    }

    /// A member of the parameters as it was written; `path` leads through objects.
    pub fn param(&self, path: &[&str]) -> Option<&str> {
        self.param_span(path).and_then(|span| self.text.get(span))
    }

    fn param_span(&self, path: &[&str]) -> Option<Range<usize>> {
        path.iter().try_fold(self.params_span()?.clone(), |span, key| scan::member(&self.text, &span, key))
    }

    /// The text with another id.
    pub fn with_id(&self, id: &str) -> String {
        match &self.kind {
            Kind::Request { id: span, .. } | Kind::Response { id: span, .. } => {
                splice(&self.text, vec![(span.clone(), id)])
            }
            Kind::Notification { .. } => self.text.clone(),
        }
    }

    /// The text with another id and other members of its parameters. A member that is not there is left out, but for
    /// `arguments` of a call without any, which the server need not get.
    pub fn with(&self, id: Option<&str>, members: &[(&[&str], &str)]) -> String {
        let mut changes: Vec<(Range<usize>, &str)> = Vec::new();
        if let (Some(new), Kind::Request { id, .. } | Kind::Response { id, .. }) = (id, &self.kind) {
            changes.push((id.clone(), new));
        }
        for (path, new) in members {
            if let Some(span) = self.param_span(path) {
                changes.push((span, new));
            }
        }
        splice(&self.text, changes)
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// The name that a member has for readers which do not tell cases apart, and not for us. Go's are of that kind, and take
/// the last of such members.
fn lookalike<'a>(members: &scan::Members, names: &[&'a str]) -> Option<&'a str> {
    // The two characters beyond ASCII that fold into it.
    let fold = |text: &str| text.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase();
    members.iter().find_map(|(key, _)| {
        let folded = fold(key);
        names.iter().find(|name| *key != **name && folded == fold(name)).copied()
    })
}

/// A string or a number, short enough to keep.
fn is_id(token: &str) -> bool {
    token.len() <= MAX_NAME_BYTES && token.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}

/// An error answer to the id as it was written.
pub fn error(id: Option<&str>, code: i64, message: &str, data: Option<Json>) -> String {
    let mut error = Json::object([("code", Json::int(code)), ("message", Json::str(message))]);
    if let Some(data) = data {
        error.set("data", data);
    }
    format!(r#"{{"jsonrpc":"2.0","id":{},"error":{}}}"#, id.unwrap_or("null"), error.canonical())
}

/// An answer to the id as it was written.
pub fn result(id: &str, result: &Json) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, result.canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Result<Message, Malformed> {
        Message::from_client(text.as_bytes(), Bounds::default())
    }

    #[test]
    fn kinds() {
        let m = client(r#"{"jsonrpc":"2.0","id":12345678901234567890123,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":"t"}},"more":1}"#).unwrap();
        assert!(m.is_request());
        assert_eq!((m.id(), m.method()), (Some("12345678901234567890123"), Some("tools/call")));
        assert_eq!(m.param(&["_meta", "progressToken"]), Some("\"t\""));
        assert_eq!(
            m.with(
                Some("1"),
                &[(&["name"], "\"y\""), (&["_meta", "progressToken"], "7"), (&["absent"], "1")]
            ),
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"y","_meta":{"progressToken":7}},"more":1}"#
        );
        let n = client(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap();
        assert!(!n.is_request() && n.id().is_none());
        let r = client(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#).unwrap();
        assert_eq!(
            (r.is_result(), r.with_id("5").as_str()),
            (Some(true), r#"{"jsonrpc":"2.0","id":5,"result":{}}"#)
        );
    }

    #[test]
    fn what_is_no_message() {
        for (text, code, id) in [
            ("nonsense", -32700, None),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1,"a":2}}"#, -32700, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1e400}}"#, -32700, Some("1")),
            (r#"{"jsonrpc":"2.0","id":"x","method":"m","params":{"a":"\ud800"}}"#, -32700, Some("\"x\"")),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#, -32700, None),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"m"}]"#, -32600, None),
            (r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, -32600, None),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":5}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","param\u017f":{}}"#, -32600, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"Name":"x"}}"#, -32600, Some("1")),
        ] {
            let bad = client(text).unwrap_err();
            assert_eq!((bad.code, bad.id.as_deref()), (code, id), "{text}");
        }
        assert!(
            Message::from_client(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}", Bounds::default()).is_err()
        );
    }

    #[test]
    fn a_server_may_write_what_a_client_may_not() {
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"n":1e400,"s":"\ud800","k":1,"k":2}}"#;
        let m = Message::from_server(text.as_bytes()).unwrap();
        assert_eq!(m.result(), Some(r#"{"n":1e400,"s":"\ud800","k":1,"k":2}"#));
        assert!(Message::from_server(br#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#).is_err());
        assert!(Message::from_server(br#"{"jsonrpc":"2.0","method":"notifications/x","ID":1}"#).is_err());
        assert!(Message::from_server(br#"{"jsonrpc":"2.0","id":1,"result":{"ID":1}}"#).is_ok());
    }
}
