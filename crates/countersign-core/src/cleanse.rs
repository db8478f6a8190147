//! Cleansing: the only way from text of an agent, a tool or a person to text that may leave the house.
//!
//! Inside: the catalogue of secret shapes (approvals.md 5.1, gateway.md 7.2), the making visible of control characters
//! and of those that hide or reorder text (approvals.md 5.6, DECISIONS row 68), and cuts at a length. Order:
//! secrets on the whole text first, the cut last, so that no cut can hide half a secret from its pattern. Linear-time patterns only. Where it stops: injection classes and exact secret forms come with
//! the tools that need them.

mod reply;

pub use reply::{Cleansed, Reply, clean_message, clean_reply, redact_arguments};

use regex::Regex;
use std::fmt;
use std::sync::OnceLock;

/// Text after cleansing. Made by [`clean`] and its kin in this module and nowhere else:
///
/// ```compile_fail
/// let forged = countersign_core::cleanse::Clean("text".to_string());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Clean(String);

impl Clean {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A text of our own source, which needs no cleansing.
    pub fn fixed(text: &'static str) -> Clean {
        Clean(text.to_owned())
    }

    /// The first `max` characters; a cut text ends in `...` within that length.
    pub fn cut(&self, max: usize) -> Clean {
        if self.0.chars().count() <= max {
            return self.clone();
        }
        let mut short: String = self.0.chars().take(max.saturating_sub(3)).collect();
        short.push_str("...");
        Clean(short)
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text before cleansing. It cannot be printed by accident: no `Display`, and `Debug` shows its length only.
pub struct Raw<T>(T);

impl<T> Raw<T> {
    /// Wraps what came from outside.
    pub fn new(value: T) -> Raw<T> {
        Raw(value)
    }

    /// The value, to be measured or cleansed.
    pub fn inner(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<[u8]>> fmt::Debug for Raw<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.0.as_ref().len())
    }
}

/// One shape of secret.
struct Shape {
    id: &'static str,
    /// Cheap test before the pattern runs: one of these must occur, compared in lower case.
    keywords: &'static [&'static str],
    pattern: &'static str,
    /// The part of the match that stays in front of the marker, by capture group 1.
    keeps_prefix: bool,
}

const fn shape(id: &'static str, keywords: &'static [&'static str], pattern: &'static str) -> Shape {
    Shape { id, keywords, pattern, keeps_prefix: false }
}

const fn after(id: &'static str, keywords: &'static [&'static str], pattern: &'static str) -> Shape {
    Shape { id, keywords, pattern, keeps_prefix: true }
}

/// Vendors' prefixes need no word border in front: what stands there may be the rest of a terminal sequence.
/// Most specific first: PEM, vendors' prefixes, named assignments, connection strings, bearer.
const CATALOGUE: &[Shape] = &[
    shape(
        "PRIVATE_KEY",
        &["private key"],
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    shape("AWS_KEY", &["akia", "asia", "abia", "acca"], r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?-u:\b)"),
    after(
        "AWS_SECRET",
        &["secretkey", "secret_key", "secretaccess", "secret_access"],
        r#"(?i)((?:aws_?)?secret_?(?:access_?)?key["']?[\s=:"']{1,8})[A-Za-z0-9/+=]{40}(?-u:\b)"#,
    ),
    shape("GITHUB_PAT", &["github_pat_"], r"github_pat_[A-Za-z0-9_]{22,}"),
    shape("GITHUB_TOKEN", &["ghp_", "gho_", "ghs_", "ghu_", "ghr_"], r"gh[poshur]_[A-Za-z0-9]{36,}"),
    shape("GITHUB_URL_TOKEN", &["x-access-token"], r"x-access-token:[^@\s]+@"),
    shape("SLACK_TOKEN", &["xox"], r"xox[baprs]-[A-Za-z0-9-]{10,}"),
    shape("SLACK_WEBHOOK", &["hooks.slack.com"], r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"),
    shape("ANTHROPIC_KEY", &["sk-ant-"], r"sk-ant-[A-Za-z0-9_-]{32,}"),
    shape("OPENAI_KEY", &["sk-"], r"(?-u:\b)sk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{32,}"),
    shape("GOOGLE_KEY", &["aiza"], r"AIza[A-Za-z0-9_-]{35}"),
    shape("STRIPE_KEY", &["sk_", "rk_", "whsec_"], r"(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9]{16,}"),
    shape("NPM_TOKEN", &["npm_"], r"npm_[A-Za-z0-9]{36}(?-u:\b)"),
    shape("PYPI_TOKEN", &["pypi-"], r"pypi-[A-Za-z0-9_-]{50,}"),
    shape("HF_TOKEN", &["hf_"], r"(?-u:\b)hf_[A-Za-z0-9]{32,}"),
    shape("JWT", &["eyj"], r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    after("API_KEY", &["api"], r#"(?i)((?-u:\b)api[_-]?key["']?\s{0,4}[:=]\s{0,4}["']?)[A-Za-z0-9_\-]{20,}"#),
    after("CONNECTION_STRING", &["://"], r"((?-u:\b)[a-zA-Z][a-zA-Z0-9+.\-]{0,20}://[^\s:/@]+:)[^\s@/]+@"),
    after("BEARER_TOKEN", &["bearer"], r"(?i)((?-u:\b)bearer\s+)[A-Za-z0-9._~+/\-]{20,}=*"),
];

/// Compiled one by one, when a keyword first asks for it: a hook that lives for milliseconds compiles none or one. The
/// patterns have no upper bounds, since each counted repetition is that many states to compile, and no Unicode word
/// borders, which cost as much again.
static COMPILED: [OnceLock<Option<Regex>>; CATALOGUE.len()] = [const { OnceLock::new() }; CATALOGUE.len()];

fn compiled(index: usize) -> Option<&'static Regex> {
    let shape = CATALOGUE.get(index)?;
    COMPILED.get(index)?.get_or_init(|| Regex::new(shape.pattern).ok()).as_ref()
}

/// Whole text that stands where a scan could not be made (INV-59).
const SCREENING_ERROR: &str = "[REDACTED: screening error]";

/// Cleanses a text: secrets replaced, control and hidden characters made visible. Idempotent.
pub fn clean(raw: &Raw<impl AsRef<str>>) -> Clean {
    clean_text(raw.inner().as_ref())
}

/// [`clean`] for a text that is already at hand as `&str`.
pub fn clean_text(text: &str) -> Clean {
    let shown = redact(&visible(text));
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        // Controls inside a secret would hide it from its pattern. A text that has a secret without them and none
        // with them is not shown at all: showing it would leak, dropping the controls would hide text from whoever
        // approves it.
        if redact(&bare(text)).matches("[REDACTED-").count() > shown.matches("[REDACTED-").count() {
            return Clean(SCREENING_ERROR.to_owned());
        }
    }
    Clean(shown)
}

fn redact(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = text.to_owned();
    for (index, shape) in CATALOGUE.iter().enumerate() {
        if !shape.keywords.iter().any(|k| lower.contains(k)) {
            continue;
        }
        let Some(pattern) = compiled(index) else { return SCREENING_ERROR.to_owned() };
        let marker = format!("[REDACTED-{}]", shape.id);
        let replaced = pattern.replace_all(&out, |found: &regex::Captures<'_>| match found.get(1) {
            Some(kept) if shape.keeps_prefix => format!("{}{marker}", kept.as_str()),
            _ => marker.clone(),
        });
        if let std::borrow::Cow::Owned(changed) = replaced {
            out = changed;
        }
    }
    out
}

/// Shows control characters but tab and new-line, bidirectional controls, zero-width and other invisible characters as
/// `<U+XXXX>`. Nothing is dropped: what a terminal would swallow may be what a person is asked to approve.
fn visible(text: &str) -> String {
    if text.bytes().all(|b| matches!(b, b'\t' | b'\n' | 0x20..=0x7e)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' => out.push(c),
            c if c.is_control() || hides(c) => out.push_str(&format!("<U+{:04X}>", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// The text as a terminal would leave it: controls and colour sequences gone. Only to be searched, never shown.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let sequence = c == '\u{9b}' || (c == '\u{1b}' && chars.next_if_eq(&'[').is_some());
        if sequence {
            while chars.next_if(|c| !('\u{40}'..='\u{7e}').contains(c)).is_some() {}
            chars.next();
        } else if !c.is_control() || matches!(c, '\n' | '\t') {
            out.push(c);
        }
    }
    out
}

/// Characters that show nothing, or change the order in which others show.
fn hides(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Cleanses every string of a JSON value, keys included, and gives its canonical text: what approvers and records
/// see of a call's arguments.
pub fn clean_json(value: &crate::json::Json) -> Clean {
    Clean(clean_value(value).canonical())
}

/// [`clean_json`] as a value, for records that keep arguments as JSON.
pub fn clean_value(value: &crate::json::Json) -> crate::json::Json {
    use crate::json::Json;
    match value {
        Json::String(s) => Json::String(clean_text(s).0),
        Json::Array(items) => Json::Array(items.iter().map(clean_value).collect()),
        Json::Object(members) => {
            Json::Object(members.iter().map(|(k, v)| (clean_text(k).0, clean_value(v))).collect())
        }
        other => other.clone(),
    }
}

/// A text inside the user's or agent's line: cleansed, on one line, at most `max` characters.
pub fn clean_line(text: &str, max: usize) -> Clean {
    let clean = clean_text(text).0.replace(['\n', '\t'], " ");
    Clean(clean).cut(max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Secret-shaped samples are put together here so that no whole one stands in the source.
    fn samples() -> Vec<(&'static str, String)> {
        let a = |n: usize| "aB3".repeat(n).chars().take(n).collect::<String>();
        vec![
            ("AWS_KEY", format!("AKIA{}", "Q2".repeat(8))),
            ("AWS_KEY", format!("ASIA{}", "Q2".repeat(8))),
            ("AWS_SECRET", format!("aws_secret_access_key = {}", a(40))),
            ("GITHUB_TOKEN", format!("ghp_{}", a(36))),
            ("GITHUB_PAT", format!("github_pat_{}", a(22))),
            ("GITHUB_URL_TOKEN", format!("https://x-access-token:{}@github.com/o/r", a(20))),
            ("SLACK_TOKEN", format!("xoxb-{}", a(12))),
            ("ANTHROPIC_KEY", format!("sk-ant-{}", a(40))),
            ("OPENAI_KEY", format!("sk-proj-{}", a(40))),
            ("GOOGLE_KEY", format!("AIza{}", a(35))),
            ("STRIPE_KEY", format!("sk_live_{}", a(24))),
            ("NPM_TOKEN", format!("npm_{}", a(36))),
            ("HF_TOKEN", format!("hf_{}", a(34))),
            ("JWT", format!("eyJ{}.eyJ{}.{}", a(12), a(12), a(12))),
            ("CONNECTION_STRING", format!("postgres://u:{}@h/db", a(9))),
            ("BEARER_TOKEN", format!("Authorization: Bearer {}", a(24))),
            (
                "PRIVATE_KEY",
                format!(
                    "-----BEGIN RSA {}-----\n{}\n-----END RSA {}-----",
                    "PRIVATE KEY",
                    a(64),
                    "PRIVATE KEY"
                ),
            ),
            ("PRIVATE_KEY", format!("-----BEGIN {}-----\n{}", "PRIVATE KEY", a(64))),
        ]
    }

    /// INV-58: each shape is replaced and the scan is idempotent, also behind 6 MB of other text.
    #[test]
    fn every_shape_is_replaced() {
        for (id, secret) in samples() {
            let text = format!("before {secret} after");
            let once = clean_text(&text);
            assert!(once.as_str().contains(&format!("[REDACTED-{id}]")), "{id}: {once}");
            assert_eq!(clean_text(once.as_str()), once, "{id}");
        }
        let (id, secret) = samples().remove(3);
        let far = format!("{}\n{secret}", "x y ".repeat(1_500_000));
        assert!(clean_text(&far).as_str().contains(id));
    }

    #[test]
    fn ordinary_text_stays() {
        for text in [
            "git push --force origin main",
            "https://example.org/path?x=1",
            "see task-aB3aB3aB3aB3 and sk-short",
            "let api_key = env(\"API_KEY\");",
            "grüße, 世界 👍",
        ] {
            assert_eq!(clean_text(text).as_str(), text);
        }
    }

    /// INV-60, P-14: no sequence survives, and nothing that would run is hidden.
    #[test]
    fn controls_and_hidden_characters_show() {
        assert_eq!(clean_text("a\u{1b}[31mred\u{1b}[0m").as_str(), "a<U+001B>[31mred<U+001B>[0m");
        assert_eq!(clean_text("x\u{1b}]0; rm -rf src\u{7}y").as_str(), "x<U+001B>]0; rm -rf src<U+0007>y");
        assert_eq!(clean_text("a\u{9b}2Jb\rc\u{8}d\u{0}").as_str(), "a<U+009B>2Jb<U+000D>c<U+0008>d<U+0000>");
        assert_eq!(clean_text("rm \u{202e}x\u{200b}y").as_str(), "rm <U+202E>x<U+200B>y");
    }

    #[test]
    fn an_escape_inside_a_secret_does_not_save_it() {
        for cut in ["\u{1b}[0m", "\r", "\u{0}"] {
            let text = format!("ghp_aB3{cut}{}", "aB3".repeat(12));
            let clean = clean_text(&text);
            assert!(!clean.as_str().contains(&"aB3".repeat(12)), "{clean}");
        }
    }

    #[test]
    fn cuts_are_marked_and_within_length() {
        let long = clean_text(&"é".repeat(300)).cut(256);
        assert_eq!(long.as_str().chars().count(), 256);
        assert!(long.as_str().ends_with("..."));
        assert_eq!(clean_text("ab").cut(2).as_str(), "ab");
    }

    proptest! {
        #[test]
        fn cleansing_is_idempotent_and_leaves_no_control(text in any::<String>()) {
            let once = clean_text(&text);
            prop_assert!(once.as_str().chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
            prop_assert_eq!(clean_text(once.as_str()), once);
        }
    }
}
