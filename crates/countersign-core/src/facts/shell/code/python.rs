//! Python on a line: whether all it can do is compute, print and read files that it names.
//!
//! Names are of four kinds: builtins and modules with a list each; names the code sets itself, which are never called; and
//! what it imports from modules that are not Python's own. Those are code of the project: running it is what a test or a
//! script does too, and it is not read. But what is reached of it must not sound like more than computing (`names.txt`),
//! and texts beside it must not be commands or sentences.

use super::names::{calm, has, on};
use super::tokens::Token;
use std::collections::{BTreeMap, BTreeSet};

/// What a name was imported as.
#[derive(Clone, Debug, PartialEq)]
enum Root {
    /// A module with a list of what may be read of it.
    Module(String),
    /// Something of such a module.
    Member,
    /// A module of the project or of a package, or something of one.
    Loose,
}

#[derive(Default)]
struct Reader {
    /// All pieces but ends of lines.
    tokens: Vec<Token>,
    roots: BTreeMap<String, Root>,
    own: BTreeSet<String>,
    loose: bool,
    /// Objects that stand for files are about.
    files: bool,
}

/// Whether code is understood.
pub(super) fn harmless(tokens: &[Token]) -> bool {
    let mut reader = Reader::default();
    for statement in tokens.split(|t| *t == Token::Line) {
        let understood = match statement.first().and_then(Token::name) {
            Some("import") => reader.import(statement.get(1..).unwrap_or_default()),
            Some("from") => reader.from(statement.get(1..).unwrap_or_default()),
            _ => {
                reader.assigned(statement);
                reader.tokens.extend(statement.iter().cloned());
                Some(())
            }
        };
        if understood.is_none() {
            return false;
        }
    }
    (0..reader.tokens.len()).all(|at| reader.fits(at).is_some())
}

fn sign(token: Option<&Token>, c: char) -> bool {
    token == Some(&Token::Sign(c))
}

/// A dotted name, and what is behind it.
fn dotted(tokens: &[Token]) -> Option<(Vec<&str>, &[Token])> {
    let mut names = vec![tokens.first()?.name()?];
    let mut rest = tokens.get(1..)?;
    while sign(rest.first(), '.') {
        names.push(rest.get(1)?.name()?);
        rest = rest.get(2..)?;
    }
    Some((names, rest))
}

/// `as other`, and what is behind it.
fn renamed(tokens: &[Token]) -> Option<(Option<&str>, &[Token])> {
    match tokens.first().and_then(Token::name) {
        Some("as") => Some((Some(tokens.get(1)?.name()?), tokens.get(2..)?)),
        _ => Some((None, tokens)),
    }
}

/// Whether a module is Python's own.
fn library(module: &str) -> bool {
    module.starts_with('_')
        || on("python library", module)
        || (has(&format!("python module {module}")) && !on("python outside", module))
}

impl Reader {
    fn bind(&mut self, name: &str, root: Root) -> Option<()> {
        let taken = on("python called", name)
            || on("python keywords", name)
            || on("python builtins", name)
            || name.starts_with("__");
        let other = self.roots.get(name).is_some_and(|r| *r != root);
        if taken || other || (root == Root::Loose && library(name)) {
            return None;
        }
        self.loose |= root == Root::Loose;
        self.roots.insert(name.to_owned(), root);
        Some(())
    }

    fn import(&mut self, mut rest: &[Token]) -> Option<()> {
        loop {
            let (names, behind) = dotted(rest)?;
            let (other, behind) = renamed(behind)?;
            let (whole, top) = (names.join("."), *names.first()?);
            self.files |= top == "pathlib";
            let root = if has(&format!("python module {whole}")) {
                Root::Module(if other.is_some() { whole } else { top.to_owned() })
            } else if library(top) {
                return None;
            } else if on("python outside", top) && names.len() == 1 {
                Root::Module(String::new())
            } else if on("python outside", top) || !names.iter().all(|n| calm(n) || *n == "main") {
                return None;
            } else {
                Root::Loose
            };
            self.bind(other.unwrap_or(top), root)?;
            match behind {
                [] => return Some(()),
                [Token::Sign(','), more @ ..] => rest = more,
                _ => return None,
            }
        }
    }

    fn from(&mut self, tokens: &[Token]) -> Option<()> {
        let (names, behind) = dotted(tokens)?;
        let (whole, top) = (names.join("."), *names.first()?);
        if behind.first()?.name()? != "import" {
            return None;
        }
        self.files |= top == "pathlib";
        let listed = has(&format!("python module {whole}"));
        if !listed
            && (library(top) || on("python outside", top) || !names.iter().all(|n| calm(n) || *n == "main"))
        {
            return None;
        }
        let mut rest = behind.get(1..)?;
        if let [Token::Sign('('), inner @ .., Token::Sign(')')] = rest {
            rest = inner.strip_suffix(&[Token::Sign(',')]).unwrap_or(inner);
        }
        loop {
            let name = rest.first()?.name()?;
            let (other, behind) = renamed(rest.get(1..)?)?;
            let root = match listed {
                true if !on(&format!("python module {whole}"), name) => return None,
                true if has(&format!("python module {whole}.{name}")) => {
                    Root::Module(format!("{whole}.{name}"))
                }
                true => Root::Member,
                false if library(name) || !(calm(name) || name == "main") => return None,
                false => Root::Loose,
            };
            self.bind(other.unwrap_or(name), root)?;
            match behind {
                [] => return Some(()),
                [Token::Sign(','), more @ ..] => rest = more,
                _ => return None,
            }
        }
    }

    /// Notes the names that a statement sets: by `=`, as an argument's name, by `for`, `as` and `lambda`.
    fn assigned(&mut self, statement: &[Token]) {
        let name = |at: usize| statement.get(at).and_then(Token::name);
        let mut at = 0;
        // `a, b = …`
        let several: Vec<&str> = statement
            .iter()
            .take_while(|t| **t != Token::Sign('='))
            .map(|t| if *t == Token::Sign(',') { "," } else { t.name().unwrap_or("") })
            .collect();
        if several.len() < statement.len() && !several.contains(&"") {
            self.own.extend(several.iter().filter(|n| **n != ",").map(|n| (*n).to_owned()));
        }
        while at < statement.len() {
            match name(at) {
                Some("for" | "as" | "lambda") => {
                    at += 1;
                    while let Some(found) = name(at).filter(|n| *n != "in") {
                        self.own.insert(found.to_owned());
                        at += 1;
                        if !sign(statement.get(at), ',') {
                            break;
                        }
                        at += 1;
                    }
                    continue;
                }
                Some(found)
                    if sign(statement.get(at + 1), '=')
                        && !sign(statement.get(at + 2), '=')
                        && !at.checked_sub(1).is_some_and(|b| sign(statement.get(b), '.')) =>
                {
                    self.own.insert(found.to_owned());
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn at(&self, at: usize, back: usize) -> Option<&Token> {
        self.tokens.get(at.checked_sub(back)?)
    }

    /// Whether one piece is what the lists allow at its place.
    fn fits(&self, at: usize) -> Option<()> {
        let next = self.tokens.get(at + 1);
        match self.tokens.get(at)? {
            Token::Name(name) if sign(self.at(at, 1), '.') => self.member(name, at),
            Token::Name(name) => self.name(name, at),
            // A call of what an expression is.
            Token::Sign('(') => {
                let before = self.at(at, 1);
                let value =
                    matches!(before, Some(Token::Sign(')' | ']' | '}') | Token::Text(_) | Token::Number));
                (!value).then_some(())
            }
            Token::Text(text) if self.loose => {
                let shown = sign(self.at(at, 1), '(')
                    && (self.at(at, 2).and_then(Token::name) == Some("print")
                        || (sign(self.at(at, 2), '(')
                            && self.at(at, 3).and_then(Token::name) == Some("print")));
                let plain = |c: char| c.is_ascii_alphanumeric() || "_.:%-/=,#".contains(c);
                // What is printed is looked at by nobody else, unless it is changed on the way.
                let ends = matches!(next, Some(Token::Sign(',' | ')')));
                let word = text.len() <= 80 && text.chars().all(plain) && !text.contains("//");
                ((shown && ends) || word).then_some(())
            }
            _ => Some(()),
        }
    }

    fn name(&self, name: &str, at: usize) -> Option<()> {
        let next = self.tokens.get(at + 1);
        let called = sign(next, '(');
        let root = self.roots.get(name);
        let fits = match name {
            "open" => called && self.reads(at + 2),
            name if name.starts_with("__") => false,
            name if on("python keywords", name) => true,
            name if self.own.contains(name) => {
                root.is_none()
                    && !called
                    && !on("python called", name)
                    && !on("python builtins", name)
                    && (!self.loose || calm(name) || own_word(name))
            }
            name if on("python called", name) => root.is_none(),
            _ => match root {
                Some(Root::Module(_)) => sign(next, '.'),
                Some(Root::Member | Root::Loose) => true,
                None => false,
            },
        };
        fits.then_some(())
    }

    /// `open` of one literal file, for reading: the path rules see its name.
    fn reads(&self, mut at: usize) -> bool {
        if self.tokens.get(at).and_then(Token::text).is_none() {
            return false;
        }
        at += 1;
        loop {
            match self.tokens.get(at..).unwrap_or_default() {
                [Token::Sign(')'), ..] => return true,
                [Token::Sign(','), Token::Text(mode), ..] if ["r", "rb", "rt"].contains(&mode.as_str()) => {
                    at += 2
                }
                [Token::Sign(','), Token::Name(option), Token::Sign('='), Token::Text(_), ..]
                    if ["encoding", "newline", "errors"].contains(&option.as_str()) =>
                {
                    at += 4;
                }
                _ => return false,
            }
        }
    }

    fn member(&self, name: &str, at: usize) -> Option<()> {
        let next = self.tokens.get(at + 1);
        let after = self.tokens.get(at + 2);
        let changed = matches!(next, Some(Token::Sign('+' | '-' | '*' | '/' | '%' | '&' | '|' | '^')))
            && sign(after, '=');
        if changed || (sign(next, '=') && !sign(after, '=')) {
            return None;
        }
        if name.starts_with("__") {
            return (on("python dunder", name) && !sign(next, '(')).then_some(());
        }
        // The first name of the chain, if it is one.
        let mut first = at;
        let mut hops = 0_usize;
        while sign(self.at(first, 1), '.') {
            hops += 1;
            match self.at(first, 2) {
                Some(Token::Name(_)) => first = first.checked_sub(2)?,
                _ => {
                    hops += 1;
                    break;
                }
            }
        }
        let head = self.tokens.get(first).and_then(Token::name).filter(|_| !sign(self.at(first, 1), '.'));
        let root = head.and_then(|h| self.roots.get(h));
        let listed = on("python members", name);
        let text = self.at(at, 2).and_then(Token::text);
        let fits = match (name, root) {
            // The text that is filled in must not reach into what it is filled with.
            ("format" | "format_map", _) => {
                name == "format" && text.is_some_and(|t| !t.contains(['[', '.', '_']))
            }
            // Of files that stand in the code, and nothing that was put together.
            ("read_text" | "read_bytes", _) => {
                sign(self.at(at, 2), ')')
                    && self.at(at, 3).and_then(Token::text).is_some()
                    && sign(self.at(at, 4), '(')
                    && self.at(at, 5).and_then(Token::name) == Some("Path")
                    && self.roots.get("Path") == Some(&Root::Member)
            }
            ("write", _) => {
                let stream = self.at(at, 2).and_then(Token::name);
                let system = self.at(at, 4).and_then(Token::name) == Some("sys") && sign(self.at(at, 3), '.');
                system
                    && matches!(stream, Some("stdout" | "stderr"))
                    && self.roots.get("sys") == Some(&Root::Module("sys".to_owned()))
            }
            // Of a path it renames a file.
            ("replace" | "copy", _) if self.files || self.loose => false,
            ("pop" | "discard" | "insert" | "setdefault", _) if self.loose => false,
            (_, Some(Root::Module(key))) if hops == 1 => on(&format!("python module {key}"), name),
            (_, Some(Root::Module(_) | Root::Member)) => listed,
            _ => listed || (self.loose && calm(name)),
        };
        fits.then_some(())
    }
}

/// Names of arguments and variables that are on the list of parts and mean nothing by themselves.
fn own_word(name: &str) -> bool {
    ["key", "keys", "sep", "end", "f", "fd", "row", "db"].contains(&name)
}
