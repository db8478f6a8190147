//! Code of Python and JavaScript as names, numbers, texts and signs; nothing for what is not plain code.

/// Most pieces that are looked at.
const MAX: usize = 20_000;
/// Most levels of expressions inside texts.
const DEEP: usize = 2;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Number,
    Text(String),
    Sign(char),
    /// The end of a statement.
    Line,
}

impl Token {
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Token::Name(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Token::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A language, as far as its texts and comments differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Node,
}

/// Reads code. A text that does not end, another kind of text, an escape that could stand for anything, a comment that may
/// hide code: all of them end the reading.
pub(super) fn tokens(code: &str, language: Language) -> Option<Vec<Token>> {
    let mut reader = Reader { chars: code.chars().collect(), language, at: 0, out: Vec::new(), open: 0 };
    reader.all(0)?;
    Some(reader.out)
}

struct Reader {
    chars: Vec<char>,
    language: Language,
    at: usize,
    out: Vec<Token>,
    /// Brackets that are open: a line does not end inside them.
    open: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn all(&mut self, depth: usize) -> Option<()> {
        while let Some(c) = self.peek(0) {
            self.at += 1;
            if self.out.len() > MAX {
                return None;
            }
            match c {
                '\n' if self.open > 0 => {}
                '\n' | ';' => self.out.push(Token::Line),
                ' ' | '\t' => {}
                '#' if self.language == Language::Python && depth == 0 => self.comment()?,
                '\'' | '"' => {
                    let text = self.until(c)?;
                    self.text(text)?;
                }
                'f' if self.language == Language::Python && matches!(self.peek(0), Some('\'' | '"')) => {
                    let mark = self.peek(0)?;
                    self.at += 1;
                    self.formatted(mark, depth)?;
                }
                'r' | 'b'
                    if self.language == Language::Python && matches!(self.peek(0), Some('\'' | '"')) =>
                {
                    let mark = self.peek(0)?;
                    self.at += 1;
                    let text = if c == 'r' { self.raw(mark)? } else { self.until(mark)? };
                    self.text(text)?;
                }
                c if c.is_ascii_digit() => self.number(c)?,
                c if c == '_' || c.is_ascii_alphabetic() => {
                    let mut name = String::from(c);
                    while let Some(c) = self.peek(0).filter(|c| *c == '_' || c.is_ascii_alphanumeric()) {
                        name.push(c);
                        self.at += 1;
                    }
                    self.ends()?;
                    self.out.push(Token::Name(name));
                }
                '/' => self.slash()?,
                c if "()[]{}.,:=+-*%<>!&|^~?".contains(c) => {
                    match c {
                        '(' | '[' | '{' => self.open += 1,
                        ')' | ']' | '}' => self.open = self.open.saturating_sub(1),
                        _ => {}
                    }
                    self.out.push(Token::Sign(c));
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// A number, and nothing behind its digits that could be a name.
    fn number(&mut self, first: char) -> Option<()> {
        let mut digits = String::from(first);
        let mut whole = true;
        while let Some(c) = self.peek(0) {
            let point = c == '.' && whole && self.peek(1).is_some_and(|c| c.is_ascii_digit());
            if !(point || c == '_' || c.is_ascii_alphanumeric()) {
                break;
            }
            whole &= !point;
            digits.push(c);
            self.at += 1;
        }
        let hex = digits.strip_prefix("0x").is_some_and(|d| d.chars().all(|c| c.is_ascii_hexdigit()));
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '_');
        let (base, power) = digits.split_once('e').unwrap_or((&digits, "0"));
        let decimal = base.chars().all(plain) && power.chars().all(|c| c.is_ascii_digit());
        self.ends()?;
        self.out.push(Token::Number);
        (hex || decimal).then_some(())
    }

    /// A letter right before a quote makes another kind of text of it.
    fn ends(&self) -> Option<()> {
        (!matches!(self.peek(0), Some('\'' | '"'))).then_some(())
    }

    /// A slash divides; in JavaScript it may begin a comment or a pattern too, in which a quote is none.
    fn slash(&mut self) -> Option<()> {
        let next = self.peek(0);
        if self.language == Language::Node {
            let words = [
                "return",
                "typeof",
                "in",
                "of",
                "case",
                "else",
                "do",
                "void",
                "delete",
                "await",
                "yield",
                "new",
                "throw",
                "instanceof",
                "const",
                "let",
                "var",
            ];
            // Behind a condition begins a statement, which may be a pattern.
            let condition = |t: &Token| matches!(t.name(), Some("if" | "for" | "while" | "with"));
            let divides = match self.out.last()? {
                Token::Number | Token::Sign(']') => true,
                Token::Sign(')') => !self.out.iter().any(condition),
                Token::Name(name) => !words.contains(&name.as_str()),
                _ => false,
            };
            if !divides || matches!(next, Some('/' | '*')) {
                return None;
            }
        }
        self.out.push(Token::Sign('/'));
        Some(())
    }

    fn comment(&mut self) -> Option<()> {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|c| *c != '\n') {
            text.push(c);
            self.at += 1;
        }
        // One that names an encoding changes what the rest means, and another end of line would end it sooner.
        let plain = |c: char| c == '\t' || !(c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
        (!text.contains("coding") && text.chars().all(plain)).then_some(())
    }

    /// The text up to a mark.
    fn until(&mut self, mark: char) -> Option<String> {
        let mut text = String::new();
        loop {
            let c = self.peek(0)?;
            self.at += 1;
            match c {
                end if end == mark => return Some(text),
                '\\' => {
                    let next = self.peek(0)?;
                    // What another escape stands for might be a path.
                    if !matches!(next, 'n' | 't' | '\\' | '\'' | '"') {
                        return None;
                    }
                    text.push(match next {
                        'n' => '\n',
                        't' => '\t',
                        other => other,
                    });
                    self.at += 1;
                }
                c if c != '\t' && c.is_control() => return None,
                other => text.push(other),
            }
        }
    }

    /// A text in which a backslash is one, and keeps a mark behind it from ending the text.
    fn raw(&mut self, mark: char) -> Option<String> {
        let mut text = String::new();
        loop {
            let c = self.peek(0)?;
            self.at += 1;
            match c {
                end if end == mark => return Some(text),
                c if c != '\t' && c.is_control() => return None,
                '\\' => {
                    let next = self.peek(0).filter(|c| !c.is_control())?;
                    text.extend([c, next]);
                    self.at += 1;
                }
                other => text.push(other),
            }
        }
    }

    fn text(&mut self, text: String) -> Option<()> {
        // Two texts side by side are one.
        if matches!(self.out.last(), Some(Token::Text(_))) {
            return None;
        }
        self.ends()?;
        self.out.push(Token::Text(text));
        Some(())
    }

    /// `f"…{expression:format}…"`: its text and its expressions, in brackets of their own.
    fn formatted(&mut self, mark: char, depth: usize) -> Option<()> {
        if depth >= DEEP || matches!(self.out.last(), Some(Token::Text(_))) {
            return None;
        }
        let whole = self.until(mark)?;
        self.ends()?;
        let mut said = String::new();
        let mut inner: Vec<Token> = Vec::new();
        let mut chars = whole.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' if chars.peek() == Some(&'{') => {
                    chars.next();
                    said.push('{');
                }
                '{' => {
                    let mut code = String::new();
                    let mut brackets = 0_usize;
                    let mut closed = false;
                    let mut form = String::new();
                    for c in chars.by_ref() {
                        match c {
                            '}' if brackets == 0 => {
                                closed = true;
                                break;
                            }
                            // A form may hold expressions, and a text any of these signs.
                            '{' | '\'' | '"' if !form.is_empty() => return None,
                            c if !form.is_empty() => {
                                form.push(c);
                                continue;
                            }
                            '(' | '[' | '{' => brackets += 1,
                            ')' | ']' | '}' => brackets = brackets.checked_sub(1)?,
                            ':' | '!' if brackets == 0 => {
                                form.push(c);
                                continue;
                            }
                            _ => {}
                        }
                        code.push(c);
                    }
                    // `!=` compares, and what is behind it is code.
                    if form.starts_with('!') && !matches!(form.split(':').next(), Some("!r" | "!s" | "!a")) {
                        return None;
                    }
                    let odd = |c: char| matches!(c, '\\' | '#' | '\n');
                    if !closed
                        || code.contains(odd)
                        || (code.contains(['\'', '"']) && code.contains(['{', '}']))
                    {
                        return None;
                    }
                    let mut reader = Reader {
                        chars: code.chars().collect(),
                        language: self.language,
                        at: 0,
                        out: Vec::new(),
                        open: 1,
                    };
                    reader.all(depth + 1)?;
                    if reader.out.contains(&Token::Line) {
                        return None;
                    }
                    inner.extend([Token::Sign(','), Token::Sign('(')]);
                    inner.extend(reader.out);
                    inner.push(Token::Sign(')'));
                }
                '}' if chars.next() == Some('}') => said.push('}'),
                '}' => return None,
                other => said.push(other),
            }
        }
        self.out.extend([Token::Sign('('), Token::Text(said)]);
        self.out.extend(inner);
        self.out.push(Token::Sign(')'));
        Some(())
    }
}
