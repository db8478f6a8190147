//! The tool `send_email`: what a call of it asks for, read strictly from its arguments (email.md 1).
//!
//! There is no sender, header, attachment or key among the arguments: these are configuration's (`rules`). What a provider's
//! answer means is in `answer`, how often it was what in `sends`. Where it stops: sending is the hand's.

pub mod answer;
pub mod rules;
pub mod sends;

use crate::code::Code;
use crate::fetch::{Fault, fault};
use crate::json::Json;
use std::collections::BTreeSet;

/// The tool's name.
pub const TOOL: &str = "send_email";
const BLANKS: [char; 2] = [' ', '\t'];
const MAX_SUBJECT_CHARS: usize = 998;
const MAX_TEXT_BYTES: usize = 1_048_576;
const MAX_RECIPIENTS: usize = 50;
const MAX_PURPOSE_CHARS: usize = 50;

/// A mail that a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Recipients, as written but for blanks around them.
    pub to: Vec<String>,
    /// Further ones, seen by all.
    pub cc: Vec<String>,
    /// Further ones, seen by nobody.
    pub bcc: Vec<String>,
    /// Where answers go; `None` leaves it to configuration.
    pub reply_to: Option<Vec<String>>,
    /// The subject.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
    /// What it is for, as the agent wrote it.
    pub purpose: Option<String>,
}

/// Members of the arguments: name, what it is for, whether it must be there, whether it is one address or a list of them.
pub const MEMBERS: [(&str, &str, bool, bool); 8] = [
    ("to", "recipient, or a list of at most 50", true, true),
    ("subject", "at most 998 characters, one line", true, false),
    ("text", "the mail as plain text, at most 1 MiB", true, false),
    ("html", "the same as HTML", false, false),
    ("cc", "further recipients", false, true),
    ("bcc", "further recipients that the others do not see", false, true),
    ("reply_to", "where answers go; the owner by default", false, true),
    ("purpose", "a word for what this mail is for: letters, digits, - and _", false, false),
];

impl Message {
    /// Reads a call's arguments. Every fault is a `validation_error`, the mail's own word for it.
    pub fn read(args: &Json) -> Result<Message, Fault> {
        let bad = |why: String| fault(Code::ValidationError, why);
        let members = args.as_object().ok_or_else(|| bad("`arguments` is no object".into()))?;
        for (key, _) in members {
            if !MEMBERS.iter().any(|(name, ..)| name == key) {
                let shown = crate::cleanse::clean_line(key, 64);
                return Err(bad(format!("`{TOOL}` has no argument `{shown}`")));
            }
        }
        let text = |key: &str| match args.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(bad(format!("`{key}` is no text"))),
        };
        let list = |key: &str| -> Result<Option<Vec<String>>, Fault> {
            let found = match args.get(key) {
                None => return Ok(None),
                // Blanks around an address are nobody's; a line end never is.
                Some(Json::String(one)) => vec![one.trim_matches(BLANKS).to_owned()],
                Some(Json::Array(items)) => items
                    .iter()
                    .map(|item| item.as_str().map(|one| one.trim_matches(BLANKS).to_owned()))
                    .collect::<Option<_>>()
                    .ok_or_else(|| bad(format!("`{key}` is no list of texts")))?,
                Some(_) => return Err(bad(format!("`{key}` is neither a text nor a list of texts"))),
            };
            match found.iter().find(|one| !is_address(one)) {
                Some(_) => {
                    Err(bad(format!("`{key}` holds something that is no plain address like ana@example.org")))
                }
                None => Ok(Some(found)),
            }
        };
        let needed = |key: &str| {
            text(key)?.filter(|t| !t.is_empty()).ok_or_else(|| bad(format!("`{key}` is missing or empty")))
        };
        let message = Message {
            to: list("to")?
                .filter(|to| !to.is_empty())
                .ok_or_else(|| bad("`to` is missing or empty".into()))?,
            cc: list("cc")?.unwrap_or_default(),
            bcc: list("bcc")?.unwrap_or_default(),
            reply_to: list("reply_to")?.filter(|to| !to.is_empty()),
            subject: needed("subject")?,
            text: needed("text")?,
            html: text("html")?,
            purpose: text("purpose")?,
        };
        if message.subject.chars().count() > MAX_SUBJECT_CHARS || message.subject.contains(char::is_control) {
            return Err(bad(format!("`subject` is one line of at most {MAX_SUBJECT_CHARS} characters")));
        }
        for (key, body) in [("text", Some(&message.text)), ("html", message.html.as_ref())] {
            if body.is_some_and(|body| !is_lines(body)) {
                return Err(bad(format!(
                    "`{key}` holds a control character; lines end with a line feed, alone or behind a carriage return"
                )));
            }
        }
        if message.text.len() > MAX_TEXT_BYTES
            || message.html.as_ref().is_some_and(|h| h.len() > MAX_TEXT_BYTES)
        {
            return Err(bad("`text` and `html` have at most 1 MiB each".into()));
        }
        if message.recipients().count() > MAX_RECIPIENTS
            || message.reply_to.as_ref().is_some_and(|to| to.len() > MAX_RECIPIENTS)
        {
            return Err(bad(format!("a mail has at most {MAX_RECIPIENTS} recipients")));
        }
        if message.purpose.as_ref().is_some_and(|p| p.chars().count() > MAX_PURPOSE_CHARS) {
            return Err(bad(format!("`purpose` has at most {MAX_PURPOSE_CHARS} characters")));
        }
        Ok(message)
    }

    /// Everybody who gets it, in the order in which they are checked.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.to.iter().chain(&self.cc).chain(&self.bcc).map(String::as_str)
    }

    /// Domains of everybody who gets it, lower case.
    pub fn domains(&self) -> BTreeSet<String> {
        self.recipients().filter_map(|r| r.rsplit_once('@')).map(|(_, d)| d.to_lowercase()).collect()
    }
}

/// Lines and tabs, and no control besides: servers differ on what a lone carriage return or a NUL is (SMTP smuggling).
fn is_lines(text: &str) -> bool {
    let bare = text.replace("\r\n", "\n");
    !bare.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A bare address: one `@`, something on both sides, nothing that a header or a list could be made of.
pub fn is_address(text: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || ",;:<>()[]\\\"".contains(c);
    text.len() <= 320
        && !text.contains(odd)
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && !domain.is_empty()
                && !domain.contains('@')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, Json)]) -> Result<Message, Fault> {
        let mut args = Json::object([
            ("to", Json::str("ana@example.org")),
            ("subject", Json::str("s")),
            ("text", Json::str("t")),
        ]);
        for (key, value) in set {
            args.set(*key, value.clone());
        }
        Message::read(&args)
    }

    #[test]
    fn one_recipient_or_many() {
        let many = Json::strings(["a@x.org", "B@Y.org"]);
        let message = read(&[("to", many.clone()), ("cc", Json::str("c@z.org")), ("bcc", many)]).unwrap();
        assert_eq!(message.recipients().count(), 5);
        assert_eq!(message.domains().into_iter().collect::<Vec<_>>(), ["x.org", "y.org", "z.org"]);
        assert_eq!(read(&[]).unwrap().reply_to, None);
    }

    /// EINV-15, EINV-19: nothing that could become a header, and no sender.
    #[test]
    fn arguments_are_strict() {
        for (key, value) in [
            ("from", Json::str("x@y.org")),
            ("headers", Json::object([("a", Json::str("b"))])),
            ("replyTo", Json::str("a@x.org")),
            ("to", Json::Array(Vec::new())),
            ("to", Json::str("")),
            ("to", Json::str("a")),
            ("to", Json::str("a@b@c")),
            ("to", Json::str("a@x.org,b@x.org")),
            ("to", Json::str("Ana <a@x.org>")),
            ("to", Json::str("a@x.org\r\nBcc: b@x.org")),
            ("to", Json::int(5)),
            ("cc", Json::strings(vec!["a@x.org"; 50])),
            ("subject", Json::str("a\r\nBcc: b@x.org")),
            ("subject", Json::str("")),
            ("subject", Json::str("x".repeat(999))),
            ("text", Json::str("")),
            ("text", Json::str("x".repeat(MAX_TEXT_BYTES + 1))),
            ("html", Json::str("x".repeat(MAX_TEXT_BYTES + 1))),
            ("text", Json::str("a\r.\rMAIL FROM:<a@x.org>")),
            ("text", Json::str("a\0b")),
            ("html", Json::str("a\r\r\nb")),
            ("html", Json::str("a\u{85}b")),
            ("purpose", Json::str("x".repeat(51))),
            ("purpose", Json::int(1)),
        ] {
            let fault = read(&[(key, value.clone())]).unwrap_err();
            assert_eq!(fault.code, Code::ValidationError, "{key} {}", value.canonical());
        }
        assert!(read(&[("text", Json::str("a\r\n.\r\n\tb\n")), ("html", Json::str("a\r\nb"))]).is_ok());
        assert!(
            read(&[("subject", Json::str("é".repeat(998))), ("cc", Json::strings(vec!["a@x.org"; 49]))])
                .is_ok()
        );
    }
}
