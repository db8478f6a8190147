//! JavaScript on a line: whether all it can do is compute, print and read files that it names.
//!
//! Closed lists of what is called, of globals and of modules. Other members of values are read as data, unless one of
//! them is a way from data to code; an index is a number or a text, since a name could be put together.

use super::names::{has, on};
use super::tokens::Token;
use std::collections::{BTreeMap, BTreeSet};

/// What a name stands for that `require` gave.
#[derive(Clone, Debug, PartialEq)]
enum Root {
    /// A module of node's with a list.
    Module(String),
    /// A file of data.
    Data,
}

struct Reader<'a> {
    tokens: Vec<&'a Token>,
    own: BTreeSet<&'a str>,
    roots: BTreeMap<&'a str, Root>,
}

/// Whether code is understood.
pub(super) fn harmless(tokens: &[Token]) -> bool {
    let tokens: Vec<&Token> = tokens.iter().filter(|t| **t != Token::Line).collect();
    let mut reader = Reader { tokens, own: BTreeSet::new(), roots: BTreeMap::new() };
    for at in 0..reader.tokens.len() {
        if reader.note(at).is_none() {
            return false;
        }
    }
    (0..reader.tokens.len()).all(|at| reader.fits(at))
}

fn required(name: &str) -> Option<Root> {
    let module = name.strip_prefix("node:").unwrap_or(name);
    if has(&format!("node module {module}")) {
        return Some(Root::Module(module.to_owned()));
    }
    // Data: a function that came with it could be called by being handed on.
    (name.ends_with(".json") && !name.contains(':')).then_some(Root::Data)
}

impl<'a> Reader<'a> {
    fn sign(&self, at: Option<usize>, c: char) -> bool {
        at.and_then(|at| self.tokens.get(at)).is_some_and(|t| **t == Token::Sign(c))
    }

    fn name(&self, at: Option<usize>) -> Option<&'a str> {
        at.and_then(|at| self.tokens.get(at).copied()).and_then(Token::name)
    }

    fn text(&self, at: usize) -> Option<&'a str> {
        self.tokens.get(at).copied().and_then(Token::text)
    }

    /// Notes the names that the code sets; nothing where one is set twice to different things.
    fn note(&mut self, at: usize) -> Option<()> {
        let name = self.name(Some(at));
        let set = self.sign(Some(at + 1), '=') && !self.sign(Some(at + 2), '=');
        let before = self.name(at.checked_sub(1));
        if let Some(name) = name
            && !self.sign(at.checked_sub(1), '.')
            && (set || matches!(before, Some("const" | "let" | "var")))
        {
            let given = set && self.name(Some(at + 2)) == Some("require") && self.sign(Some(at + 3), '(');
            // Only where it is all that the name is given.
            let root = self.text(at + 4).filter(|_| given && self.sign(Some(at + 5), ')')).and_then(required);
            let whole = !self.sign(Some(at + 6), '.') && !self.sign(Some(at + 6), '[');
            match root.filter(|_| whole) {
                Some(root) => {
                    // A name of node's own keeps its meaning where this one is not known.
                    if on("node taken", name) && root != Root::Module(name.to_owned()) {
                        return None;
                    }
                    if self.own.contains(name) || self.roots.get(name).is_some_and(|r| *r != root) {
                        return None;
                    }
                    self.roots.insert(name, root);
                }
                None if self.roots.contains_key(name) => return None,
                None => {
                    self.own.insert(name);
                }
            }
        }
        // `(a, [b, c]) => …` and `const [a, b] = …`
        let arrow = self.sign(Some(at), ')') && self.sign(Some(at + 1), '=') && self.sign(Some(at + 2), '>');
        let apart = self.sign(Some(at), ']') && self.sign(Some(at + 1), '=') && !self.sign(Some(at + 2), '=');
        let of = self.sign(Some(at), ']') && matches!(self.name(Some(at + 1)), Some("of"));
        if arrow || apart || of {
            let close = if arrow { ['(', ')'] } else { ['[', ']'] };
            let mut names = Vec::new();
            let mut open = 1_usize;
            let mut place = at;
            while open > 0 {
                place = place.checked_sub(1)?;
                match self.tokens.get(place).copied()? {
                    Token::Sign(c) if *c == close[0] => open -= 1,
                    Token::Sign(c) if *c == close[1] => open += 1,
                    Token::Sign(',' | '[' | ']') => {}
                    Token::Name(name) => names.push(name.as_str()),
                    // An index that is set, or a default.
                    _ => return if arrow { None } else { Some(()) },
                }
            }
            for name in names {
                if self.roots.contains_key(name) {
                    return None;
                }
                self.own.insert(name);
            }
        }
        Some(())
    }

    /// Whether a piece stands behind one dot; three of them spread what follows.
    fn behind_dot(&self, at: usize) -> bool {
        let dot = |back: usize| self.sign(at.checked_sub(back), '.');
        dot(1) && !(dot(2) && dot(3))
    }

    fn fits(&self, at: usize) -> bool {
        let before = at.checked_sub(1);
        match self.tokens.get(at).copied() {
            Some(Token::Name(name)) if on("node never", name) && name != "require" => false,
            Some(Token::Name(name)) if name.starts_with("__") => false,
            Some(Token::Name(name)) if self.behind_dot(at) => self.member(name, at),
            // `?.(` and `?.[`
            Some(Token::Sign('(' | '[')) if self.behind_dot(at) => false,
            Some(Token::Name(name)) => self.plain(name, at),
            Some(Token::Text(text)) => !on("node never", text),
            // A call of what an expression is.
            Some(Token::Sign('(')) => {
                let value = before.and_then(|b| self.tokens.get(b)).is_some_and(|t| {
                    matches!(t, Token::Sign(')' | ']' | '}') | Token::Text(_) | Token::Number)
                });
                !value
            }
            Some(Token::Sign('[')) => {
                let value = before.and_then(|b| self.tokens.get(b)).is_some_and(|t| match t {
                    Token::Sign(')' | ']' | '}') | Token::Text(_) => true,
                    Token::Name(name) => !on("node keywords", name),
                    _ => false,
                });
                let index = matches!(self.tokens.get(at + 1), Some(Token::Number | Token::Text(_)));
                !value || (index && self.sign(Some(at + 2), ']'))
            }
            _ => true,
        }
    }

    fn plain(&self, name: &str, at: usize) -> bool {
        let called = self.sign(Some(at + 1), '(');
        let dot = self.sign(Some(at + 1), '.');
        let made = at.checked_sub(1).and_then(|b| self.name(Some(b))) == Some("new");
        let meant =
            on("node called", name) || on("node globals", name) || on("node made", name) || name == "require";
        match name {
            "require" => {
                // A module is used by name at once, or all that a name is given.
                let kept = || {
                    let name = at.checked_sub(2).and_then(|b| self.name(Some(b)));
                    self.sign(at.checked_sub(1), '=') && name.is_some_and(|n| self.roots.contains_key(n))
                };
                called
                    && self.sign(Some(at + 3), ')')
                    && match self.text(at + 2).and_then(required) {
                        Some(Root::Module(_)) => self.sign(Some(at + 4), '.') || kept(),
                        Some(Root::Data) => true,
                        None => false,
                    }
            }
            _ if self.own.contains(name) => {
                !meant && !on("node taken", name) && !called && !made && !on("node keywords", name)
            }
            _ if on("node keywords", name) => true,
            _ if self.roots.contains_key(name) => {
                let set = self.sign(Some(at + 1), '=') && self.name(Some(at + 2)) == Some("require");
                !meant && !called && !made && (dot || set || self.roots.get(name) == Some(&Root::Data))
            }
            _ if made => called && on("node made", name),
            _ if called => on("node called", name),
            _ if dot => on("node globals", name),
            // The name of a member of an object that is written out.
            _ => {
                let key =
                    at.checked_sub(1).is_some_and(|b| self.sign(Some(b), '{') || self.sign(Some(b), ','));
                on("node called", name) || (key && self.sign(Some(at + 1), ':') && !meant)
            }
        }
    }

    fn member(&self, name: &str, at: usize) -> bool {
        let called = self.sign(Some(at + 1), '(');
        let set = self.sign(Some(at + 1), '=') && !self.sign(Some(at + 2), '=')
            || (matches!(
                self.tokens.get(at + 1),
                Some(Token::Sign('+' | '-' | '*' | '/' | '%' | '&' | '|' | '^' | '?'))
            ) && self.sign(Some(at + 2), '='));
        if set {
            return false;
        }
        let head = at.checked_sub(2);
        let first = self.name(head).filter(|_| !self.sign(head.and_then(|h| h.checked_sub(1)), '.'));
        // `require("fs").…`
        let behind = head.filter(|h| self.sign(Some(*h), ')')).and_then(|h| {
            let call = h.checked_sub(3)?;
            (self.name(Some(call)) == Some("require")).then(|| self.text(h.checked_sub(1)?)).flatten()
        });
        let root = first.and_then(|f| self.roots.get(f).cloned()).or(behind.and_then(required));
        match (root, first) {
            (Some(Root::Module(module)), _) => {
                let listed = on(&format!("node module {module}"), name);
                let file = name != "readFileSync" || self.reads(at + 1);
                // What is not called here could be called with anything.
                listed && file && (called || matches!(name, "sep" | "EOL"))
            }
            (Some(Root::Data), _) => !called,
            (None, Some(global)) if on("node globals", global) && !self.own.contains(global) => {
                on(&format!("node global {global}"), name)
            }
            _ if called => on("node members", name),
            _ => true,
        }
    }

    /// `(“file”, “encoding”)`: one literal file, which the path rules see.
    fn reads(&self, at: usize) -> bool {
        self.sign(Some(at), '(')
            && self.text(at + 1).is_some()
            && (self.sign(Some(at + 2), ')')
                || (self.sign(Some(at + 2), ',')
                    && self.text(at + 3).is_some()
                    && self.sign(Some(at + 4), ')')))
    }
}
