//! The lists of names (`names.txt`), by the words in front of their colon.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

type Lists = HashMap<&'static str, HashSet<&'static str>>;

static LISTS: OnceLock<Lists> = OnceLock::new();

fn lists() -> &'static Lists {
    LISTS.get_or_init(|| {
        let mut out = Lists::new();
        let mut key = "";
        for line in include_str!("names.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
            let rest = match line.strip_prefix(' ') {
                Some(rest) => rest,
                None => {
                    let (head, rest) = line.split_once(':').unwrap_or((line, ""));
                    key = head;
                    rest
                }
            };
            out.entry(key).or_default().extend(rest.split_whitespace());
        }
        out
    })
}

/// Whether there is a list of this name.
pub(super) fn has(list: &str) -> bool {
    lists().contains_key(list)
}

/// Whether a name is on a list.
pub(super) fn on(list: &str, name: &str) -> bool {
    lists().get(list).is_some_and(|names| names.contains(name))
}

/// Whether a name says nothing of what does more than compute: none of its parts (`check_output` and `checkOutput` have
/// two) is on the list of such, and none of the longer words stands anywhere in it.
pub(super) fn calm(name: &str) -> bool {
    let mut parts = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_ascii_uppercase() {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut().filter(|_| c != '_') {
            last.push(c.to_ascii_lowercase());
        }
    }
    let lower = name.to_ascii_lowercase();
    let listed = |list: &str, found: &dyn Fn(&str) -> bool| {
        lists().get(list).is_none_or(|words| words.iter().any(|w| found(w)))
    };
    !name.starts_with("__")
        && !listed("python acts", &|w| lower == w || parts.iter().any(|p| p == w))
        && !listed("python parts", &|w| lower.contains(w))
}
