//! What may become the name of a store, and when two names would be one to somebody (memory.md 3.2, 3.3).
//!
//! Reading is looser than creating: what is there under an odd name stays readable, and nothing new gets one.

use super::{is_store, shown};
use crate::names;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

/// Longest name of a store that is created, in bytes: with a suffix it is still the name of a file.
const MAX_CREATED_BYTES: usize = 200;
/// What is put behind the name of a store that was set aside.
pub const ARCHIVED: &str = ".archived";

/// Why a text cannot become the name of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// Nothing.
    #[error("is empty")]
    Empty,
    /// It could not even be read.
    #[error("begins with a dot or holds one of / \\ : or NUL")]
    Path,
    /// Too long.
    #[error("is longer than {MAX_CREATED_BYTES} bytes")]
    TooLong,
    /// The same text can be written in another way.
    #[error("is not in normal form (NFC)")]
    NotNormal,
    /// It holds something that nobody sees, or that drives a terminal.
    #[error("holds a character that cannot be seen: U+{0:04X}")]
    Unseen(u32),
    /// A character that some systems do not allow.
    #[error("has the character {0:?}")]
    Character(char),
    /// A blank or a dot where it is easily lost.
    #[error("begins or ends with a blank, or ends with a dot")]
    Edge,
    /// A name that some systems take for a device.
    #[error("is reserved: `{0}` names a device on some systems")]
    Reserved(String),
    /// It looks like a store that was set aside.
    #[error("ends like the name of a store that was set aside")]
    Archived,
}

/// Whether a store of this name may be created.
pub fn check_store(name: &str) -> Result<(), StoreFault> {
    if name.is_empty() {
        return Err(StoreFault::Empty);
    }
    if name.len() > MAX_CREATED_BYTES {
        return Err(StoreFault::TooLong);
    }
    if !is_store(name) {
        return Err(StoreFault::Path);
    }
    if let Some(c) = name.chars().find(|c| c.is_control() || shown::as_shown(*c) != Some(*c)) {
        return Err(StoreFault::Unseen(u32::from(c)));
    }
    if let Some(c) = name.chars().find(|c| matches!(c, '<' | '>' | '"' | '|' | '?' | '*')) {
        return Err(StoreFault::Character(c));
    }
    if name.trim() != name || name.ends_with('.') {
        return Err(StoreFault::Edge);
    }
    if !is_nfc(name) {
        return Err(StoreFault::NotNormal);
    }
    if let Some(device) = names::device(name) {
        return Err(StoreFault::Reserved(device));
    }
    let folded = fold(name);
    let numbered = folded.rsplit_once('.').filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()));
    if folded.ends_with(ARCHIVED) || numbered.is_some_and(|(rest, _)| rest.ends_with(ARCHIVED)) {
        return Err(StoreFault::Archived);
    }
    Ok(())
}

/// A name without its case: two names that fold alike could be one file somewhere, so they are never both created.
pub fn fold(name: &str) -> String {
    name.nfc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// MINV-4: what could leave a folder, drive a terminal or be two names at once is never created.
    #[test]
    fn names_of_stores_are_strict() {
        for ok in
            ["work", "My Notes", "Grüße", "日記", "a.b", "x-1", "-a", "myCON", "archived", &"é".repeat(100)]
        {
            assert_eq!(check_store(ok), Ok(()), "{ok}");
        }
        for (bad, want) in [
            ("", StoreFault::Empty),
            ("..", StoreFault::Path),
            (".hidden", StoreFault::Path),
            ("/etc", StoreFault::Path),
            ("a/b", StoreFault::Path),
            ("a\\b", StoreFault::Path),
            ("C:notes", StoreFault::Path),
            ("a\0b", StoreFault::Path),
            (&*"é".repeat(101), StoreFault::TooLong),
            ("a\nb", StoreFault::Unseen(10)),
            ("a\u{1b}b", StoreFault::Unseen(27)),
            ("a\u{202e}b", StoreFault::Unseen(0x202e)),
            ("a\u{200b}", StoreFault::Unseen(0x200b)),
            ("a\u{e0041}", StoreFault::Unseen(0xe0041)),
            ("a\u{2028}b", StoreFault::Unseen(0x2028)),
            ("a\"b", StoreFault::Character('"')),
            ("<a", StoreFault::Character('<')),
            ("a*", StoreFault::Character('*')),
            (" a", StoreFault::Edge),
            ("a\u{a0}", StoreFault::Edge),
            ("a.", StoreFault::Edge),
            ("e\u{301}", StoreFault::NotNormal),
            ("nul.txt", StoreFault::Reserved("NUL".into())),
            ("work.archived", StoreFault::Archived),
            ("work.Archived", StoreFault::Archived),
            ("work.archived.2", StoreFault::Archived),
        ] {
            assert_eq!(check_store(bad), Err(want), "{bad:?}");
        }
    }

    /// MINV-3: names that some file system would take for one fold alike.
    #[test]
    fn what_is_one_name_somewhere_folds_alike() {
        for (a, b) in
            [("Work", "wORK"), ("é", "É"), ("e\u{301}", "É"), ("Straße", "STRASSE"), ("ς", "Σ"), ("ſ", "S")]
        {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("a_b"), fold("a-b"));
    }

    proptest! {
        /// MINV-4: a generator of names: whatever may be created can be read, is its own fold's fold, and is shown as it is.
        #[test]
        fn what_may_be_created_can_be_read(name in "\\PC{0,12}|[a-zA-Z.:/\\\\ ]{0,8}") {
            if check_store(&name).is_ok() {
                prop_assert!(is_store(&name));
                prop_assert_eq!(shown::strip(&name), name.as_str());
            }
            prop_assert_eq!(fold(&fold(&name)), fold(&name));
        }
    }
}
