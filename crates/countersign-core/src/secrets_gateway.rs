//! What the secrets gateway hands out: a closed list of names to nodes of our own, and to nobody else (email.md 5, 15;
//! DECISIONS row 83).
//!
//! A read is a call like any other: judged, recorded, and opened under its permit. Where it stops: who asks was found out
//! by the door.

use crate::code::Code;
use crate::fetch::{Fault, fault};
use crate::json::Json;
use crate::secret::SecretRef;

/// Name of the call that a read is. No client has a tool of it.
pub const TOOL: &str = "secret_read";
/// Names that are handed out where configuration names none.
pub const NAMES: [&str; 4] =
    ["slack_bot_token", "slack_app_token", "slack_gateway_signing_secret", "resend_api_key"];
/// Longest name, in bytes.
const MAX_BYTES: usize = 128;

/// Whether a text can be one of the names: lower case, digits and `_`, no digit first.
pub fn is_name(text: &str) -> bool {
    text.len() <= MAX_BYTES
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The secret that a call reads.
pub fn read(args: &Json) -> Result<SecretRef, Fault> {
    let name = args.text("name").filter(|name| is_name(name)).and_then(SecretRef::parse);
    name.ok_or_else(|| fault(Code::SecretNotFound, "there is no such secret"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EINV-7, EINV-21: what is no name is none, and the four names are.
    #[test]
    fn names_are_few() {
        assert!(NAMES.iter().all(|name| is_name(name)));
        assert_eq!(NAMES.iter().filter(|name| **name == "resend_api_key").count(), 1);
        for bad in ["", "A", "9a", "a-b", "a.b", "../a", "a/b", "a%62", "a\n", "\u{e9}", &"a".repeat(129)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
