//! Names that become file names or keys of rows: those of secrets and of notes (vault.md 2, memory.md 3.1).
//!
//! A name is valid and stands for itself, or it is refused: nothing is mapped, so two names never share a place.

/// Longest name, in bytes.
pub const MAX_BYTES: usize = 128;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing.
    #[error("is empty")]
    Empty,
    /// Too long.
    #[error("is longer than {MAX_BYTES} characters")]
    TooLong,
    /// A character that no name has.
    #[error("has the character {0:?}; letters, digits, `.`, `_` and `-` are possible")]
    Character(char),
    /// A leading dot.
    #[error("begins with a dot")]
    LeadingDot,
    /// A name that some systems take for a device.
    #[error("is reserved: `{0}` names a device on some systems")]
    Reserved(String),
}

/// Whether a name is one: `[A-Za-z0-9._-]{1,128}`, no leading dot, and no name of a device before its first dot.
pub fn check(text: &str) -> Result<(), NameFault> {
    if text.is_empty() {
        return Err(NameFault::Empty);
    }
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if let Some(odd) = text.chars().find(odd) {
        return Err(NameFault::Character(odd));
    }
    if text.len() > MAX_BYTES {
        return Err(NameFault::TooLong);
    }
    if text.starts_with('.') {
        return Err(NameFault::LeadingDot);
    }
    match device(text) {
        Some(device) => Err(NameFault::Reserved(device)),
        None => Ok(()),
    }
}

/// The device that a name means on systems that know such names.
pub fn device(text: &str) -> Option<String> {
    let stem = text.split('.').next().unwrap_or(text).to_ascii_uppercase();
    let numbered = |kind: &str| {
        let digit = stem.strip_prefix(kind).and_then(|rest| rest.parse::<u8>().ok());
        digit.is_some_and(|n| (1..=9).contains(&n)) && stem.len() == kind.len() + 1
    };
    let is = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT");
    is.then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// VINV-1, MINV-1, MINV-2: the rule itself; every entry point calls it.
    #[test]
    fn names_are_strict() {
        for ok in [
            "a",
            "RESEND_API_KEY",
            "x.y-z",
            "-a",
            "_",
            "a..b",
            "myCON",
            "console",
            "COM",
            "COM10",
            "com0",
            "LPT",
            &"x".repeat(128),
        ] {
            assert_eq!(check(ok), Ok(()), "{ok}");
        }
        for (bad, want) in [
            ("", NameFault::Empty),
            (&*"x".repeat(129), NameFault::TooLong),
            ("a/b", NameFault::Character('/')),
            ("a\\b", NameFault::Character('\\')),
            ("a b", NameFault::Character(' ')),
            ("a\n", NameFault::Character('\n')),
            ("é", NameFault::Character('é')),
            ("a\u{0}", NameFault::Character('\0')),
            (".a", NameFault::LeadingDot),
            ("..", NameFault::LeadingDot),
            ("NUL.txt", NameFault::Reserved("NUL".into())),
            ("Com1.bak.x", NameFault::Reserved("COM1".into())),
            ("lpt9", NameFault::Reserved("LPT9".into())),
            ("aux", NameFault::Reserved("AUX".into())),
        ] {
            assert_eq!(check(bad), Err(want), "{bad:?}");
        }
    }
}
