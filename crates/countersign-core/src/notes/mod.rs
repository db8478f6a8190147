//! The tool `memory_recall`: what a call of it asks for, what may be a store and a note, and what an agent is shown of
//! them (memory.md 3, 5 to 7).
//!
//! Notes are a person's; the tool reads them and nothing else. `named` says what names may be created, `shown` makes of a
//! note the text that an agent reads. Where it stops: keeping notes and counting what was read is the store's.

mod named;
mod shown;

pub use named::{ARCHIVED, StoreFault, check_store, fold};
pub use shown::{Bits, MAX_NAMES, entries, stores, strip, wrap};

use crate::code::Code;
use crate::fetch::{Fault, fault};
use crate::json::Json;
use crate::names;

/// The tool's name.
pub const TOOL: &str = "memory_recall";

/// Longest note, in bytes.
pub const MAX_VALUE_BYTES: usize = 1_048_576;
/// Most bytes of a note's beginning, as they are shown.
pub const PREVIEW_BYTES: usize = 2_048;
/// Most bytes of a whole note, as they are shown.
pub const WHOLE_BYTES: usize = 51_200;
/// More is read than is shown by so many bytes, so that it is known whether there is more, and no character is half.
pub const BEYOND_BYTES: usize = 16;
/// Most bytes of notes that a principal reads in one turn.
pub const TURN_BYTES: u64 = 102_400;
/// A turn ends when nothing was read for so long, in milliseconds.
pub const TURN_PAUSE_MS: i64 = 60_000;
/// A turn is no longer than this, and neither is the time in which a principal reads [`WINDOW_BYTES`], in milliseconds.
pub const WINDOW_MS: i64 = 600_000;
/// Most bytes of notes that a principal reads in [`WINDOW_MS`], however many turns that are.
pub const WINDOW_BYTES: u64 = 3 * TURN_BYTES;
/// Turns that are kept of a principal.
pub const KEPT_TURNS: i64 = 64;

/// What a call asks of the notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Which stores there are.
    Stores,
    /// Which notes a store has.
    Entries {
        /// The store.
        store: String,
    },
    /// A note: its beginning, or all of it.
    Fetch {
        /// The store.
        store: String,
        /// The note.
        key: String,
        /// More than its beginning.
        whole: bool,
        /// Its beginning alone is asked about as well: the store is named in `memory.sensitive`.
        sensitive: bool,
    },
}

/// Members of the arguments: name, what it is for, whether it must be there.
pub const MEMBERS: [(&str, &str, bool); 4] = [
    ("action", "list_stores, list_entries or fetch", true),
    ("store", "name of the store, for list_entries and fetch", false),
    ("key", "name of the note, for fetch", false),
    ("preview_only", "false asks for the whole note; a person may have to agree", false),
];

impl Ask {
    /// Reads a call's arguments.
    pub fn read(args: &Json) -> Result<Ask, Fault> {
        let members = args.as_object().ok_or_else(|| fault(Code::Malformed, "`arguments` is no object"))?;
        for (key, value) in members {
            let shown = crate::cleanse::clean_line(key, 64);
            let fits = match key.as_str() {
                "action" | "store" | "key" => value.as_str().is_some(),
                "preview_only" => value.as_bool().is_some(),
                _ => return Err(fault(Code::Malformed, format!("`{TOOL}` has no argument `{shown}`"))),
            };
            if !fits {
                return Err(fault(Code::Malformed, format!("`{shown}` is of the wrong type")));
            }
        }
        let text = |key: &str| args.text(key);
        let missing = |key: &str| fault(Code::MissingRequiredField, format!("`{key}` is missing"));
        let action = text("action").ok_or_else(|| missing("action"))?;
        if action == "list_stores" {
            return Ok(Ask::Stores);
        }
        if !matches!(action, "list_entries" | "fetch") {
            return Err(fault(Code::Malformed, "`action` is none of list_stores, list_entries, fetch"));
        }
        let store = text("store").filter(|s| !s.is_empty()).ok_or_else(|| missing("store"))?.to_owned();
        let key = text("key").filter(|k| !k.is_empty());
        if action == "fetch" && key.is_none() {
            return Err(missing("key"));
        }
        if !is_store(&store) {
            return Err(fault(Code::InvalidStoreName, "`store` is no name of a store"));
        }
        match (action, key) {
            ("fetch", Some(key)) => {
                names::check(key).map_err(|e| fault(Code::InvalidKey, format!("`key` {e}")))?;
                let whole = args.get("preview_only").and_then(Json::as_bool) == Some(false);
                Ok(Ask::Fetch { store, key: key.to_owned(), whole, sensitive: false })
            }
            _ => Ok(Ask::Entries { store }),
        }
    }

    /// The ask as configuration sees it: `sensitive` are the stores whose previews are asked about. Names that differ by
    /// case alone cannot both be there, so either means the store.
    pub fn among(mut self, sensitive_stores: &[String]) -> Ask {
        if let Ask::Fetch { store, sensitive, .. } = &mut self {
            let folded = fold(store);
            *sensitive = sensitive_stores.iter().any(|name| fold(name) == folded);
        }
        self
    }

    /// The action in policy.
    pub fn action(&self) -> &'static str {
        match self {
            Ask::Stores | Ask::Entries { .. } => "memory_list",
            Ask::Fetch { whole: false, sensitive: false, .. } => "memory_preview",
            Ask::Fetch { .. } => "memory_fetch",
        }
    }

    /// The action as the tool's arguments name it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Ask::Stores => "list_stores",
            Ask::Entries { .. } => "list_entries",
            Ask::Fetch { .. } => "fetch",
        }
    }

    /// Store and note, empty where none is meant.
    pub fn place(&self) -> (&str, &str) {
        match self {
            Ask::Stores => ("", ""),
            Ask::Entries { store } => (store, ""),
            Ask::Fetch { store, key, .. } => (store, key),
        }
    }

    /// `<store>/<key>`: what a grant for a whole note names, or for the beginning of one that is sensitive.
    pub fn grant(&self) -> Option<String> {
        match self {
            Ask::Fetch { store, key, .. } if self.action() == "memory_fetch" => {
                Some(format!("{store}/{key}"))
            }
            _ => None,
        }
    }
}

/// Whether a name can be read as a store's: 1 to 255 characters, no leading dot, nothing that separates paths.
pub fn is_store(name: &str) -> bool {
    (1..=255).contains(&name.chars().count())
        && !name.starts_with('.')
        && !name.contains(['/', '\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Bounds;

    fn read(text: &str) -> Result<Ask, Code> {
        Ask::read(&Json::parse(text.as_bytes(), Bounds::default()).unwrap()).map_err(|e| e.code)
    }

    /// MINV-11, MINV-15: what is missing or no name is told before anything is looked at.
    #[test]
    fn arguments_are_strict() {
        assert_eq!(read(r#"{"action":"list_stores"}"#), Ok(Ask::Stores));
        let fetch = |whole| Ok(Ask::Fetch { store: "s t".into(), key: "k".into(), whole, sensitive: false });
        assert_eq!(read(r#"{"action":"fetch","store":"s t","key":"k"}"#), fetch(false));
        assert_eq!(read(r#"{"action":"fetch","store":"s t","key":"k","preview_only":true}"#), fetch(false));
        assert_eq!(read(r#"{"action":"fetch","store":"s t","key":"k","preview_only":false}"#), fetch(true));
        for (text, code) in [
            (r#"{}"#, Code::MissingRequiredField),
            (r#"{"action":"list_entries"}"#, Code::MissingRequiredField),
            (r#"{"action":"fetch","store":"s"}"#, Code::MissingRequiredField),
            (r#"{"action":"write"}"#, Code::Malformed),
            (r#"{"action":"list_stores","odd":1}"#, Code::Malformed),
            (r#"{"action":"fetch","store":"s","key":"k","preview_only":"false"}"#, Code::Malformed),
            (r#"{"action":"list_entries","store":".."}"#, Code::InvalidStoreName),
            (r#"{"action":"list_entries","store":"a/b"}"#, Code::InvalidStoreName),
            (r#"{"action":"list_entries","store":"C:x"}"#, Code::InvalidStoreName),
            (r#"{"action":"fetch","store":"s","key":"a/b"}"#, Code::InvalidKey),
            (r#"{"action":"fetch","store":"s","key":"nul.txt"}"#, Code::InvalidKey),
        ] {
            assert_eq!(read(text), Err(code), "{text}");
        }
    }
}
