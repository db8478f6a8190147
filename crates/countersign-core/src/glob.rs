//! The glob of scopes: `*` any run (slashes and new-lines included), `?` one character, `[seq]`, `[!seq]`, `\` takes
//! the next character literally. Anchored at both ends, case-sensitive on every platform (approvals.md 1.8).
//!
//! Compiled to items and matched by the classic two-pointer walk: O(pattern × text), no recursion, no regex engine.

/// A compiled glob.
pub struct Glob {
    items: Vec<Item>,
}

enum Item {
    Star,
    Any,
    Literal(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Compiles a pattern; a `[` without its `]` is a literal.
    pub fn new(pattern: &str) -> Glob {
        let chars: Vec<char> = pattern.chars().collect();
        let mut items = Vec::new();
        let mut at = 0;
        while let Some(c) = chars.get(at) {
            at += 1;
            items.push(match c {
                '*' => Item::Star,
                '?' => Item::Any,
                '\\' => {
                    let literal = chars.get(at).copied().unwrap_or('\\');
                    at += 1;
                    Item::Literal(literal)
                }
                '[' => match class(chars.get(at..).unwrap_or_default()) {
                    Some((item, used)) => {
                        at += used;
                        item
                    }
                    None => Item::Literal('['),
                },
                c => Item::Literal(*c),
            });
        }
        Glob { items }
    }

    /// A pattern that matches exactly `text`.
    pub fn escape(text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out
    }

    /// Number of `*` and `?` that are wildcards.
    pub fn wildcards(&self) -> usize {
        self.items.iter().filter(|i| matches!(i, Item::Star | Item::Any)).count()
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t) = (0, 0);
        // Where to go on after the last star, and how much text that star has taken so far.
        let mut back: Option<(usize, usize)> = None;
        while let Some(c) = text.get(t) {
            match self.items.get(p) {
                Some(Item::Star) => {
                    back = Some((p + 1, t));
                    p += 1;
                    continue;
                }
                Some(item) if item.takes(*c) => {
                    p += 1;
                    t += 1;
                    continue;
                }
                _ => {}
            }
            match back {
                Some((after, taken)) => {
                    p = after;
                    t = taken + 1;
                    back = Some((after, t));
                }
                None => return false,
            }
        }
        self.items.get(p..).unwrap_or_default().iter().all(|i| matches!(i, Item::Star))
    }
}

/// Most pairs of items that [`Glob::meets`] looks at.
const MAX_PAIRS: usize = 100_000;

impl Glob {
    /// Whether one text could match both patterns. Two classes, and patterns too long to compare, are taken to meet.
    pub fn meets(&self, other: &Glob) -> bool {
        let (a, b) = (&self.items, &other.items);
        if a.len().saturating_mul(b.len()) > MAX_PAIRS {
            return true;
        }
        // Places (i, j) that some text leads to: i items of the one and j of the other are behind it.
        let mut seen = std::collections::HashSet::new();
        let mut todo = vec![(0, 0)];
        while let Some((i, j)) = todo.pop() {
            if !seen.insert((i, j)) {
                continue;
            }
            match (a.get(i), b.get(j)) {
                (None, None) => return true,
                // A star may take nothing, or whatever the other takes.
                (Some(Item::Star), y) => {
                    todo.push((i + 1, j));
                    if y.is_some() {
                        todo.push((i, j + 1));
                    }
                }
                (x, Some(Item::Star)) => {
                    todo.push((i, j + 1));
                    if x.is_some() {
                        todo.push((i + 1, j));
                    }
                }
                (Some(x), Some(y)) if x.may_be(y) => todo.push((i + 1, j + 1)),
                _ => {}
            }
        }
        false
    }
}

impl Item {
    /// Whether one character could be taken by both.
    fn may_be(&self, other: &Item) -> bool {
        match (self, other) {
            (Item::Literal(c), item) | (item, Item::Literal(c)) => item.takes(*c),
            _ => true,
        }
    }

    fn takes(&self, c: char) -> bool {
        match self {
            Item::Star => false,
            Item::Any => true,
            Item::Literal(l) => *l == c,
            Item::Class { negated, ranges } => ranges.iter().any(|(a, b)| *a <= c && c <= *b) != *negated,
        }
    }
}

/// Reads a class behind its `[`; returns the item and the number of characters used, `]` included.
fn class(rest: &[char]) -> Option<(Item, usize)> {
    let negated = rest.first() == Some(&'!');
    let start = usize::from(negated);
    // A `]` in first place is a member, as in every shell.
    let end = start + 1 + rest.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let body = rest.get(start..end)?;
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(a) = body.get(at) {
        match (body.get(at + 1), body.get(at + 2)) {
            (Some('-'), Some(b)) => {
                ranges.push((*a, *b));
                at += 3;
            }
            _ => {
                ranges.push((*a, *a));
                at += 1;
            }
        }
    }
    Some((Item::Class { negated, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::Glob;
    use proptest::prelude::*;

    #[test]
    fn table() {
        for (pattern, text, want) in [
            ("git*", "git push", true),
            ("git*", "agit", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbx", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("[abc", "[abc", true),
            ("a/*", "a/b/c\nd", true),
            ("Git", "git", false),
            ("", "", true),
            ("*", "", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), want, "{pattern} on {text}");
        }
    }

    #[test]
    fn patterns_that_meet() {
        for (a, b, want) in [
            (".items[0]", ".env.*", false),
            (".en?", ".env", true),
            (".e*", ".env.*", true),
            ("a*c", "*b", false),
            ("a*", "*b", true),
            ("*", "", true),
            ("?", "", false),
            ("[a-c]x", "dx", false),
            ("[a-c]x", "bx", true),
            ("*a*b*", "x*y", true),
        ] {
            assert_eq!(Glob::new(a).meets(&Glob::new(b)), want, "{a} {b}");
            assert_eq!(Glob::new(b).meets(&Glob::new(a)), want, "{b} {a}");
        }
    }

    proptest! {
        /// What matches both is a proof that they meet.
        #[test]
        fn a_common_text_is_a_meeting(a in "[ab*?]{0,6}", b in "[ab*?]{0,6}", text in "[ab]{0,5}") {
            let (a, b) = (Glob::new(&a), Glob::new(&b));
            prop_assert!(a.meets(&b) || !(a.matches(&text) && b.matches(&text)));
        }

        #[test]
        fn escaped_text_matches_itself_only(text in ".{0,20}", other in ".{0,20}") {
            let glob = Glob::new(&Glob::escape(&text));
            prop_assert!(glob.matches(&text));
            prop_assert_eq!(glob.matches(&other), text == other);
        }
    }

    #[test]
    fn hostile_patterns_stay_cheap() {
        let pattern = "*a".repeat(200);
        assert!(!Glob::new(&format!("{pattern}!")).matches(&"a".repeat(4_000)));
    }
}
