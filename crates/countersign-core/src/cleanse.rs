//! Cleansing: the only way from text of an agent, a tool or a person to text that may leave the house.
//!
//! Inside: what a secret looks like (`catalogue`, `assignment`, `plausible`), where one stands (`index`, `secrets`), also
//! behind an encoding (`views`); a person's own patterns (`custom`); values that are known exactly (`exact`); what a
//! server brought back (`reply`); text that gives orders to a model (`injection`); and the making visible of characters
//! that hide or reorder text (`show`). Order: exact values, then the catalogue, both on the whole text, then
//! classification, the cut, and control characters last (DECISIONS row 66), so that no cut can hide half a secret from
//! its pattern. Linear in the text; bounds are of bytes, never of time. Where it stops: nothing here decides what becomes
//! of a flagged text, that is the gate's.

mod assignment;
mod catalogue;
mod custom;
mod exact;
mod index;
pub mod injection;
mod plausible;
mod reply;
mod secrets;
mod show;
mod views;

pub use custom::{PatternError, Written, check as check_pattern};
pub use exact::{Form, Known, Lately, MARKER, TooLarge, base64};
pub use reply::{Cleansed, Reply, clean_message, clean_reply, redact_arguments};

use custom::Custom;
use secrets::{Hit, ScanError};
use show::{bare, visible};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

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

    /// This text with another one on a line of its own behind it.
    pub fn with(&self, other: &Clean) -> Clean {
        Clean(format!("{}\n{}", self.0, other.0))
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

/// What was taken out of a text: the marker's id and how often.
pub type Redactions = Vec<(Cow<'static, str>, u32)>;

/// Whole text that stands where a scan could not be made (INV-59).
const SCREENING_ERROR: &str = "[REDACTED: screening error]";

/// What counts as a secret: the built-in catalogue, and a person's own patterns behind it. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    custom: Option<Arc<Custom>>,
}

impl Catalogue {
    /// The built-in catalogue alone.
    pub const BUILT_IN: Catalogue = Catalogue { custom: None };

    /// The built-in catalogue with a person's patterns.
    pub fn with(patterns: &[Written]) -> Result<Catalogue, PatternError> {
        Ok(Catalogue { custom: Custom::new(patterns)?.map(Arc::new) })
    }

    fn find(&self, text: &str) -> Result<Vec<Hit>, ScanError> {
        secrets::find(text.as_bytes(), self.custom.as_deref())
    }

    /// The text without its secrets, and what they were; `None` when it has none.
    fn redact(&self, text: &str) -> Result<Option<(String, Vec<Hit>)>, ScanError> {
        let hits = self.find(text)?;
        if hits.is_empty() {
            return Ok(None);
        }
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for hit in &hits {
            // A place between two halves of a letter cannot be; if it is, nobody knows what was found.
            out.push_str(text.get(from..hit.range.start).ok_or(ScanError)?);
            out.push_str(&marker(&hit.id));
            from = hit.range.end;
        }
        out.push_str(text.get(from..).ok_or(ScanError)?);
        Ok(Some((out, hits)))
    }

    /// How many secrets a text has.
    pub fn count(&self, text: &str) -> Option<usize> {
        self.find(text).ok().map(|hits| hits.len())
    }

    /// Cleanses a text: secrets replaced, control and hidden characters made visible. Idempotent.
    pub fn text(&self, text: &str) -> Clean {
        // What may leave is what a person sees of it: escapes are looked through as they will be shown, too.
        let shown = visible(text);
        let Ok(redacted) = self.redact(&shown) else { return Clean(SCREENING_ERROR.to_owned()) };
        let found = redacted.as_ref().map_or(0, |(_, hits)| hits.len());
        if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
            // Controls inside a secret would hide it from its pattern. A text that has a secret without them and none
            // with them is not shown at all: showing it would leak, dropping the controls would hide text from whoever
            // approves it.
            if self.find(&bare(text)).map_or(true, |hits| hits.len() > found) {
                return Clean(SCREENING_ERROR.to_owned());
            }
        }
        Clean(redacted.map_or(shown, |(text, _)| text))
    }

    /// A text inside the user's or agent's line: cleansed, on one line, at most `max` characters.
    pub fn line(&self, text: &str, max: usize) -> Clean {
        Clean(self.text(text).0.replace(['\n', '\t'], " ")).cut(max)
    }

    /// Cleanses every string of a JSON value, keys included, and gives its canonical text: what approvers and records
    /// see of a call's arguments.
    pub fn json(&self, value: &crate::json::Json) -> Clean {
        Clean(self.value(value).canonical())
    }

    /// [`Catalogue::json`] as a value, for records that keep arguments as JSON.
    pub fn value(&self, value: &crate::json::Json) -> crate::json::Json {
        use crate::json::Json;
        match value {
            Json::String(s) => Json::String(self.text(s).0),
            Json::Array(items) => Json::Array(items.iter().map(|item| self.value(item)).collect()),
            Json::Object(members) => Json::Object(
                members
                    .iter()
                    .map(|(key, value)| {
                        let mut kept = self.value(value);
                        if let (Json::String(text), Json::String(new)) = (value, &kept)
                            && let (true, Some(id)) = (text == new, secrets::member(key, text))
                        {
                            kept = Json::String(marker(id));
                        }
                        (self.text(key).0, kept)
                    })
                    .collect(),
            ),
            other => other.clone(),
        }
    }
}

fn marker(id: &str) -> String {
    format!("[REDACTED-{id}]")
}

/// Cleanses a text by the built-in catalogue.
pub fn clean(raw: &Raw<impl AsRef<str>>) -> Clean {
    clean_text(raw.inner().as_ref())
}

/// [`clean`] for a text that is already at hand as `&str`.
pub fn clean_text(text: &str) -> Clean {
    Catalogue::BUILT_IN.text(text)
}

/// [`Catalogue::json`] of the built-in catalogue.
pub fn clean_json(value: &crate::json::Json) -> Clean {
    Catalogue::BUILT_IN.json(value)
}

/// [`Catalogue::value`] of the built-in catalogue.
pub fn clean_value(value: &crate::json::Json) -> crate::json::Json {
    Catalogue::BUILT_IN.value(value)
}

/// [`Catalogue::line`] of the built-in catalogue.
pub fn clean_line(text: &str, max: usize) -> Clean {
    Catalogue::BUILT_IN.line(text, max)
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

    /// INV-59.
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

    /// P-8: work grows with the text and not with what is in it. The bench `content` measures up to 16 MiB.
    #[test]
    fn work_is_linear() {
        let hostile = [
            "eyJ",
            "-eyJ",
            "sk-",
            "://a:",
            "password",
            "token=",
            "AKIA",
            "-----BEGIN ",
            "basic ",
            "%41",
            "\\u0041",
            "ignore ",
            "ignore all previous ",
            "A",
            "aB3",
            "\0a",
            "é",
            "&#65;",
            "M.aaaaaa.",
            "bearer ",
            "not tell ",
        ];
        // Time of this thread alone: other tests and other builds do not count.
        let used = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
        };
        for part in hostile {
            let run = |size: usize| {
                let text: String = part.chars().cycle().take(size).collect();
                let once = || {
                    let from = used();
                    let _ = (Catalogue::BUILT_IN.count(&text), injection::scan(&text));
                    used() - from
                };
                (0..2).map(|_| once()).fold(f64::MAX, f64::min)
            };
            let _warm = run(1 << 10);
            // Sixteen times the text: linear work takes 16 times as long, quadratic 256 times. Between them lies more than
            // a busy machine makes of the best of several tries.
            let good = (0..4).any(|_| run(1 << 17) / run(1 << 13) < 64.0);
            assert!(good, "{part:?}");
        }
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
