//! Rust source as tokens with their lines: enough to know a name from a comment or a string.
//!
//! Not a parser. A text search would trip over words in comments and miss `use std::{fs, io}`; a real parser would be
//! a dependency of every build. This reads names, punctuation and strings, marks what is compiled for tests only, and
//! spells out the paths of `use` trees. It stops there: macros are read as the tokens they are.

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name or keyword.
    Name(String),
    /// One character of punctuation; `::` is one token, because paths are what this is for.
    Mark(&'static str, char),
    /// The contents of a string literal.
    Text(String),
}

/// A token, its line, and whether it is compiled for tests only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
    pub(crate) in_test: bool,
}

impl Token {
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Name(name) => Some(name),
            _ => None,
        }
    }

    fn is(&self, mark: char) -> bool {
        matches!(&self.kind, Kind::Mark("", c) if *c == mark)
    }

    fn is_path_mark(&self) -> bool {
        matches!(&self.kind, Kind::Mark("::", _))
    }
}

/// A path as written or as spelled out from a `use` tree, without the leading `::`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    pub(crate) in_test: bool,
    /// What follows: `(` tells a call, `!` a macro.
    pub(crate) next: Option<char>,
}

/// Reads the tokens of one file.
pub(crate) fn read(source: &str) -> Vec<Token> {
    let mut reader = Reader { chars: source.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = reader.next_token() {
        tokens.push(token);
    }
    mark_tests(&mut tokens);
    tokens
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn next_token(&mut self) -> Option<Token> {
        loop {
            let line = self.line;
            let kind = match (self.peek(0)?, self.peek(1)) {
                ('/', Some('/')) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.take();
                    }
                    continue;
                }
                ('/', Some('*')) => {
                    self.skip_block_comment();
                    continue;
                }
                (c, _) if c.is_whitespace() => {
                    self.take();
                    continue;
                }
                ('"', _) => Kind::Text(self.string()),
                ('\'', _) => match self.quote() {
                    Some(kind) => kind,
                    None => continue,
                },
                (':', Some(':')) => {
                    self.take();
                    self.take();
                    Kind::Mark("::", ':')
                }
                (c, _) if c.is_alphabetic() || c == '_' => self.name_or_prefixed_string(),
                (c, _) if c.is_ascii_digit() => {
                    // A number's letters (`0xff`, `1u64`) must not be read as names.
                    while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
                        self.take();
                    }
                    continue;
                }
                (c, _) => {
                    self.take();
                    Kind::Mark("", c)
                }
            };
            return Some(Token { kind, line, in_test: false });
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.take();
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.take();
                    if depth == 0 {
                        self.take();
                        return;
                    }
                }
                (None, _) => return,
                _ => {}
            }
            self.take();
        }
    }

    /// A string with escapes, standing at its opening quote.
    fn string(&mut self) -> String {
        let mut text = String::new();
        self.take();
        while let Some(c) = self.take() {
            match c {
                '"' => break,
                '\\' => {
                    // What an escape means does not matter here, only that `\"` does not end the string.
                    text.push('\\');
                    text.extend(self.take());
                }
                c => text.push(c),
            }
        }
        text
    }

    /// A raw string, standing at its first `#` or quote.
    fn raw_string(&mut self) -> String {
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            hashes += 1;
            self.take();
        }
        self.take();
        let mut text = String::new();
        while let Some(c) = self.take() {
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                for _ in 0..hashes {
                    self.take();
                }
                break;
            }
            text.push(c);
        }
        text
    }

    /// A quote begins a character (`'a'`, `'\n'`) or a lifetime (`'a`), which both say nothing here.
    fn quote(&mut self) -> Option<Kind> {
        self.take();
        match (self.peek(0), self.peek(1)) {
            (Some('\\'), _) => {
                self.take();
                self.take();
                while self.take().is_some_and(|c| c != '\'') {}
            }
            (Some(_), Some('\'')) => {
                self.take();
                self.take();
            }
            _ => {
                while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    self.take();
                }
            }
        }
        None
    }

    fn name_or_prefixed_string(&mut self) -> Kind {
        let mut name = String::new();
        while let Some(c) = self.peek(0).filter(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
            self.take();
        }
        match (name.as_str(), self.peek(0), self.peek(1)) {
            ("b" | "c", Some('"'), _) => Kind::Text(self.string()),
            ("b", Some('\''), _) => self.quote().unwrap_or(Kind::Text(String::new())),
            ("r" | "br" | "cr", Some('"'), _) => Kind::Text(self.raw_string()),
            ("r" | "br" | "cr", Some('#'), Some('"' | '#')) => Kind::Text(self.raw_string()),
            // A raw name: `r#type` is the name `type`.
            ("r", Some('#'), _) => {
                self.take();
                self.name_or_prefixed_string()
            }
            _ => Kind::Name(name),
        }
    }
}

/// Marks each item under `#[test]` or a `#[cfg(…test…)]` that does not say `not`.
fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while let Some(end) = test_attribute(tokens, at) {
        let end = match end {
            Attribute::None => {
                at += 1;
                continue;
            }
            Attribute::Other(end) => {
                at = end;
                continue;
            }
            Attribute::Test(end) => item_end(tokens, end),
        };
        for token in tokens.iter_mut().take(end).skip(at) {
            token.in_test = true;
        }
        at = end;
    }
}

enum Attribute {
    None,
    Other(usize),
    Test(usize),
}

/// What attribute begins at `at`, and where it ends; `None` at the end of the file.
fn test_attribute(tokens: &[Token], at: usize) -> Option<Attribute> {
    let first = tokens.get(at)?;
    if !first.is('#') || !tokens.get(at + 1).is_some_and(|t| t.is('[')) {
        return Some(Attribute::None);
    }
    let end = closing(tokens, at + 1);
    let names: Vec<&str> = tokens.iter().take(end).skip(at + 2).filter_map(Token::name).collect();
    let test = match names.first() {
        Some(&"cfg") => names.contains(&"test") && !names.contains(&"not"),
        _ => names.last() == Some(&"test"),
    };
    Some(if test { Attribute::Test(end) } else { Attribute::Other(end) })
}

/// The index after the bracket that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if let Kind::Mark("", c) = token.kind {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return index + 1;
            }
        }
    }
    tokens.len()
}

/// The index after the item that begins at `at`: its first `;` outside brackets, or the end of its first `{…}`.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.kind {
            Kind::Mark("", ';') => return at + 1,
            Kind::Mark("", '{') => return closing(tokens, at),
            Kind::Mark("", '(' | '[') => at = closing(tokens, at),
            _ => at += 1,
        }
    }
    tokens.len()
}

/// Every path in the file, those of `use` trees spelled out leaf by leaf.
pub(crate) fn paths(tokens: &[Token]) -> Vec<NamePath> {
    let mut paths = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.name() {
            // `use<'a>` is a capture list, not an import.
            Some("use") if !tokens.get(at + 1).is_some_and(|t| t.is('<')) => {
                at += 1;
                use_tree(tokens, &mut at, &[], &mut paths);
            }
            Some(_) => {
                let segments = segments(tokens, &mut at);
                let next = tokens.get(at).and_then(|t| match t.kind {
                    Kind::Mark("", c) => Some(c),
                    _ => None,
                });
                paths.push(NamePath { segments, line: token.line, in_test: token.in_test, next });
            }
            None => at += 1,
        }
    }
    paths
}

/// `a::b::c`, standing at `a`.
fn segments(tokens: &[Token], at: &mut usize) -> Vec<String> {
    let mut segments = Vec::new();
    while let Some(name) = tokens.get(*at).and_then(Token::name) {
        segments.push(name.to_owned());
        *at += 1;
        let goes_on = tokens.get(*at).is_some_and(Token::is_path_mark)
            && tokens.get(*at + 1).is_some_and(|t| t.name().is_some());
        if !goes_on {
            break;
        }
        *at += 1;
    }
    segments
}

/// One tree of a `use`, standing after `use`, `{` or `,`; leaves `at` on what follows the tree.
fn use_tree(tokens: &[Token], at: &mut usize, above: &[String], paths: &mut Vec<NamePath>) {
    let mut here = above.to_vec();
    let line_token = tokens.get(*at).cloned();
    while let Some(token) = tokens.get(*at) {
        match &token.kind {
            Kind::Name(name) if name == "as" => {
                // The new name says nothing; the path before it was what is imported.
                *at += 2;
            }
            Kind::Name(name) => {
                here.push(name.clone());
                *at += 1;
            }
            Kind::Mark("::", _) => *at += 1,
            Kind::Mark(_, '*') => {
                here.push("*".to_owned());
                *at += 1;
            }
            Kind::Mark(_, '{') => {
                *at += 1;
                while tokens.get(*at).is_some_and(|t| !t.is('}')) {
                    let before = *at;
                    use_tree(tokens, at, &here, paths);
                    if tokens.get(*at).is_some_and(|t| t.is(',')) || *at == before {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            _ => break,
        }
    }
    if let Some(first) = line_token
        && here.len() > above.len()
    {
        paths.push(NamePath { segments: here, line: first.line, in_test: first.in_test, next: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(source: &str) -> Vec<String> {
        paths(&read(source)).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn comments_strings_and_characters_name_nothing() {
        let source = "// a::b\n/* c /* d */ e */ \"f\\\"g\" r#\"h\"i\"# '\\'' 'j' b'k' b\"l\" 0xff 'm: n";
        assert_eq!(spelled(source), ["n"]);
    }

    #[test]
    fn use_trees_are_spelled_out() {
        let source = "use std::{fs, io::{self, Read as R}, env as e};\nuse ::x::*;\nlet y = a :: b();";
        assert_eq!(
            spelled(source)[..6],
            ["std::fs", "std::io::self", "std::io::Read", "std::env", "x::*", "let"]
        );
        assert_eq!(spelled(source)[6..], ["y", "a::b"]);
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let tokens = read("\"a\nb\"\n/*\n*/ here");
        assert_eq!(tokens.last().unwrap().line, 4);
    }

    #[test]
    fn test_items_are_marked_and_what_follows_is_not() {
        let source = "#[cfg(test)]\n#[allow(x)]\nmod tests { fn a() { b(); } }\nfn c() {}\n#[test]\nfn d() {}\n\
                      #[cfg(not(test))]\nfn e() {}\n#[cfg(test)]\nuse f::g;\nfn h() {}";
        let in_test: Vec<String> =
            paths(&read(source)).into_iter().filter(|p| p.in_test).map(|p| p.segments.join("::")).collect();
        for name in ["b", "d", "f::g"] {
            assert!(in_test.iter().any(|n| n == name), "{name} is test code: {in_test:?}");
        }
        for name in ["c", "e", "h"] {
            assert!(!in_test.iter().any(|n| n == name), "{name} is no test code: {in_test:?}");
        }
    }
}
