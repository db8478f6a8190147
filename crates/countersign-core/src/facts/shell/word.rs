//! Words: from their text as it stands in a line to parts, by the quoting rules of the shell.
//!
//! Nothing is expanded here. What has no place in a word (`(`, a blank, an operator) and what is not read (`${ …; }`,
//! `$[…]`, `$"…"`, indirection) ends the reading with its name.

use super::script::Raw;

/// Deepest nesting of quotes and expansions in one word.
const MAX_DEPTH: usize = 10;

type Result<T> = std::result::Result<T, &'static str>;

/// A part of a word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// Text that stands for itself.
    Quoted(String),
    /// Text whose `*`, `?`, `[`, `{`, `~` mean something.
    Bare(String),
    /// A parameter's value.
    Value(Value),
    /// The output of a command.
    Output {
        /// The command's text.
        script: String,
        /// Between double quotes.
        quoted: bool,
    },
    /// `<(…)` and `>(…)`: a name for what a command says or hears.
    Pipe(String),
    /// The value of an arithmetic expression.
    Number(Raw),
}

/// `$name` and `${name…}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    /// The parameter.
    pub name: String,
    /// Between double quotes.
    pub quoted: bool,
    /// What is done with it.
    pub form: Form,
}

/// What `${…}` does with a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// Its value.
    Plain,
    /// `-` and `:-`: this if it has none.
    Default(Raw),
    /// `=` and `:=`: this if it has none, and from then on.
    Assign(Raw),
    /// Anything else: the value is not followed, the words in it are.
    Other(Raw),
}

/// Where a text stands: what quotes mean in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A word of a command.
    Word,
    /// Between double quotes.
    Double,
    /// A here-document, or arithmetic: quotes are text.
    Text,
    /// A pattern of `[[ … ]]` or of `${…}`: blanks and brackets are text.
    Pattern,
}

/// Reads the text of one word.
pub(super) fn read(text: &str) -> Result<Raw> {
    parts(text, Place::Word)
}

/// Reads a text that stands in some place, whole.
pub(super) fn parts(text: &str, place: Place) -> Result<Raw> {
    let chars: Vec<char> = text.chars().collect();
    let mut reader = Reader { chars: &chars, at: 0 };
    let raw = reader.run(place, None, 0)?;
    if reader.at < chars.len() { Err("a word that is not understood") } else { Ok(raw) }
}

/// Reads the text of a here-document.
pub(super) fn document(text: &str, expands: bool) -> Result<Raw> {
    if expands { parts(text, Place::Text) } else { Ok(vec![Part::Quoted(text.to_owned())]) }
}

/// Reads blank-separated words: the elements of an array.
pub(super) fn list(text: &str) -> Result<Vec<Raw>> {
    let chars: Vec<char> = text.chars().collect();
    let mut reader = Reader { chars: &chars, at: 0 };
    let mut out = Vec::new();
    loop {
        while reader.peek().is_some_and(char::is_whitespace) {
            reader.at += 1;
        }
        match reader.peek() {
            None => return Ok(out),
            Some('#') => while reader.next().is_some_and(|c| c != '\n') {},
            Some(_) => {
                let begin = reader.at;
                out.push(reader.run(Place::Word, Some(' '), 0)?);
                if reader.at == begin {
                    return Err("an array that is not understood");
                }
            }
        }
    }
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
}

/// Collects parts, joining neighbours of one kind.
#[derive(Default)]
struct Parts(Raw);

impl Parts {
    fn bare(&mut self, c: char) {
        match self.0.last_mut() {
            Some(Part::Bare(text)) => text.push(c),
            _ => self.0.push(Part::Bare(c.to_string())),
        }
    }

    fn quoted(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Part::Quoted(before)) => before.push_str(text),
            _ => self.0.push(Part::Quoted(text.to_owned())),
        }
    }
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.chars.get(self.at + by).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        self.at += usize::from(there);
        there
    }

    /// Reads up to `end`, which stays, or up to the end of the text. A blank as the end stands for any.
    fn run(&mut self, place: Place, end: Option<char>, depth: usize) -> Result<Raw> {
        if depth > MAX_DEPTH {
            return Err("quotes and expansions nested too deep");
        }
        let mut out = Parts::default();
        while let Some(c) = self.peek() {
            if end == Some(c) || (end == Some(' ') && c.is_whitespace()) {
                break;
            }
            let literal = matches!(place, Place::Double | Place::Text);
            match c {
                '\'' if !literal => {
                    self.at += 1;
                    out.quoted(&self.single()?);
                }
                '"' if place != Place::Text => {
                    self.at += 1;
                    out.quoted("");
                    let inner = self.run(Place::Double, Some('"'), depth + 1)?;
                    if !self.eat('"') {
                        return Err("an unfinished quote");
                    }
                    for part in inner {
                        match part {
                            Part::Quoted(text) => out.quoted(&text),
                            other => out.0.push(other),
                        }
                    }
                }
                '\\' => {
                    self.at += 1;
                    let active = match place {
                        Place::Double => "\"\\$`",
                        Place::Text => "\\$`",
                        Place::Word | Place::Pattern => "",
                    };
                    match self.next() {
                        Some('\n') => {}
                        Some(c) if active.is_empty() || active.contains(c) => {
                            out.quoted(c.encode_utf8(&mut [0; 4]))
                        }
                        Some(c) => {
                            out.quoted("\\");
                            out.quoted(c.encode_utf8(&mut [0; 4]));
                        }
                        None if place == Place::Text => out.quoted("\\"),
                        None => return Err("a backslash at the end"),
                    }
                }
                '`' => {
                    self.at += 1;
                    let script = self.back(place == Place::Double)?;
                    out.0.push(Part::Output { script, quoted: literal });
                }
                '$' => self.dollar(place, depth, &mut out)?,
                '<' | '>' if matches!(place, Place::Word | Place::Pattern) && self.ahead(1) == Some('(') => {
                    self.at += 2;
                    let begin = self.at;
                    self.command(depth + 1)?;
                    out.0.push(Part::Pipe(self.text(begin, self.at - 1)));
                }
                c if place == Place::Word && (c.is_whitespace() || "()<>|&;".contains(c)) => {
                    return Err("a pattern or an operator inside a word");
                }
                c => {
                    self.at += 1;
                    if literal { out.quoted(c.encode_utf8(&mut [0; 4])) } else { out.bare(c) }
                }
            }
        }
        Ok(out.0)
    }

    fn text(&self, from: usize, to: usize) -> String {
        self.chars.get(from..to).unwrap_or_default().iter().collect()
    }

    /// Behind a single quote, up to behind the next one.
    fn single(&mut self) -> Result<String> {
        let begin = self.at;
        loop {
            match self.next() {
                Some('\'') => return Ok(self.text(begin, self.at - 1)),
                Some(_) => {}
                None => return Err("an unfinished quote"),
            }
        }
    }

    /// Behind a back-quote, up to behind the next one: the command in it, with its own escapes taken away.
    fn back(&mut self, double: bool) -> Result<String> {
        let mut script = String::new();
        loop {
            match self.next() {
                Some('`') => return Ok(script),
                Some('\\') => match self.next() {
                    Some(c @ ('`' | '\\' | '$')) => script.push(c),
                    Some('"') if double => script.push('"'),
                    Some(c) => script.extend(['\\', c]),
                    None => return Err("an unfinished back-quote"),
                },
                Some(c) => script.push(c),
                None => return Err("an unfinished back-quote"),
            }
        }
    }

    fn dollar(&mut self, place: Place, depth: usize, out: &mut Parts) -> Result<()> {
        let quoted = matches!(place, Place::Double | Place::Text);
        self.at += 1;
        match self.peek() {
            Some('(') if self.arithmetic(depth)? => {
                self.at += 2;
                let begin = self.at;
                self.command(depth + 1)?;
                let body = self.text(begin, self.at - 1);
                self.at += 1;
                if body.trim().is_empty() {
                    return Err("an empty substitution");
                }
                out.0.push(Part::Number(number(&body)?));
            }
            Some('(') => {
                self.at += 1;
                let begin = self.at;
                self.command(depth + 1)?;
                let script = self.text(begin, self.at - 1);
                // The first reader's tokenizer leaves this behind where it lost what was inside.
                if script.trim().is_empty() {
                    return Err("an empty substitution");
                }
                out.0.push(Part::Output { script, quoted });
            }
            Some('{') => {
                self.at += 1;
                let value = self.braced(place, depth + 1)?;
                out.0.push(Part::Value(value));
            }
            Some('\'') if !quoted => {
                self.at += 1;
                out.quoted(&self.ansi()?);
            }
            Some('"') if !quoted => return Err("a translated text"),
            Some('[') => return Err("an old form of arithmetic"),
            Some(c) if c == '_' || c.is_ascii_alphabetic() => {
                let begin = self.at;
                while self.peek().is_some_and(|c| c == '_' || c.is_ascii_alphanumeric()) {
                    self.at += 1;
                }
                let name = self.text(begin, self.at);
                out.0.push(Part::Value(Value { name, quoted, form: Form::Plain }));
            }
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => {
                self.at += 1;
                out.0.push(Part::Value(Value { name: c.to_string(), quoted, form: Form::Plain }));
            }
            // Shells differ in what begins a parameter's name.
            Some(c) if !c.is_ascii() || "~=^+".contains(c) => {
                return Err("an expansion that is not understood");
            }
            _ if quoted => out.quoted("$"),
            _ => out.bare('$'),
        }
        Ok(())
    }

    /// Whether `((` at this place closes with `))` of the same two brackets.
    fn arithmetic(&mut self, depth: usize) -> Result<bool> {
        if self.ahead(1) != Some('(') {
            return Ok(false);
        }
        let begin = self.at;
        self.at += 2;
        let inner = self.command(depth + 1);
        let both = inner.is_ok() && self.peek() == Some(')');
        self.at = begin;
        Ok(both)
    }

    /// Behind `${`, up to behind its `}`.
    fn braced(&mut self, place: Place, depth: usize) -> Result<Value> {
        const WHY: &str = "an expansion that is not understood";
        let quoted = matches!(place, Place::Double | Place::Text);
        let length = self.peek() == Some('#') && self.ahead(1).is_some_and(|c| c != '}');
        if length {
            self.at += 1;
        }
        let begin = self.at;
        match self.peek() {
            Some(c) if c == '_' || c.is_ascii_alphanumeric() => {
                while self.peek().is_some_and(|c| c == '_' || c.is_ascii_alphanumeric()) {
                    self.at += 1;
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$') => self.at += 1,
            // `${!x}` means the variable that `x` names; `${ x;}` runs a command.
            _ => return Err(WHY),
        }
        let name = self.text(begin, self.at);
        let mut inside = Vec::new();
        if self.eat('[') {
            inside.extend(self.run(Place::Pattern, Some(']'), depth + 1)?);
            if !self.eat(']') {
                return Err(WHY);
            }
            // An index is arithmetic, which reads values as expressions.
            plain_index(&inside)?;
        }
        let indexed = !inside.is_empty() || length;
        let colon = self.peek() == Some(':') && self.ahead(1).is_some_and(|c| "-=?+".contains(c));
        if colon {
            self.at += 1;
        }
        let operator = self.peek();
        if operator == Some('@') && !self.ahead(1).is_some_and(|c| "UuLQEAKak".contains(c)) {
            return Err(WHY);
        }
        if !operator.is_some_and(|c| "}-=?+:%#/^,@".contains(c)) {
            return Err(WHY);
        }
        let word = matches!(operator, Some('-' | '=' | '?' | '+'));
        if operator != Some('}') {
            self.at += 1;
        }
        let begin = self.at;
        let inner = match (word, quoted) {
            (true, true) => self.run(Place::Double, Some('}'), depth + 1)?,
            _ => self.run(Place::Pattern, Some('}'), depth + 1)?,
        };
        // Whether a single quote quotes in here depends on operator, place and shell.
        if quoted && self.chars.get(begin..self.at).unwrap_or_default().contains(&'\'') {
            return Err(WHY);
        }
        if !self.eat('}') {
            return Err(WHY);
        }
        let form = match operator {
            Some('}') if !indexed => Form::Plain,
            Some('-') if !indexed => Form::Default(inner),
            Some('=') if !indexed => Form::Assign(inner),
            // An offset is arithmetic.
            Some(':') => {
                plain_index(&inner)?;
                inside.extend(inner);
                Form::Other(inside)
            }
            _ => {
                inside.extend(inner);
                Form::Other(inside)
            }
        };
        Ok(Value { name, quoted, form })
    }

    /// Behind `$'`, up to behind its quote.
    fn ansi(&mut self) -> Result<String> {
        const WHY: &str = "an escape that is not understood";
        let mut out = String::new();
        loop {
            match self.next() {
                Some('\'') => return Ok(out),
                Some('\\') => {
                    let c = match self.next() {
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('r') => '\r',
                        Some('a') => '\u{7}',
                        Some('b') => '\u{8}',
                        Some('e' | 'E') => '\u{1b}',
                        Some('f') => '\u{c}',
                        Some('v') => '\u{b}',
                        Some(c @ ('\\' | '\'' | '"' | '?')) => c,
                        Some('x') => self.code(16, 2)?,
                        Some('u') => self.code(16, 4)?,
                        Some('U') => self.code(16, 8)?,
                        Some('0'..='7') => {
                            self.at -= 1;
                            self.code(8, 3)?
                        }
                        _ => return Err(WHY),
                    };
                    // A NUL ends the text in one shell and not in another; a terminal does not show the others.
                    if c.is_control() && !matches!(c, '\n' | '\t') {
                        return Err("a control character");
                    }
                    out.push(c);
                }
                Some(c) => out.push(c),
                None => return Err("an unfinished quote"),
            }
        }
    }

    fn code(&mut self, radix: u32, most: usize) -> Result<char> {
        let mut value = 0u32;
        let mut digits = 0;
        while let Some(d) = self.peek().and_then(|c| c.to_digit(radix)).filter(|_| digits < most) {
            value = value.saturating_mul(radix).saturating_add(d);
            digits += 1;
            self.at += 1;
        }
        // A byte beyond ASCII is a part of a character: what it becomes depends on its neighbours.
        let byte = most < 4 && value > 0x7f;
        char::from_u32(value).filter(|_| digits > 0 && !byte).ok_or("an escape that is not understood")
    }

    /// Behind `(`, up to behind its `)`. Quotes, comments, here-documents and the brackets of `case` are told apart; a
    /// guess that is wrong leaves a rest or a text that neither reader takes.
    fn command(&mut self, depth: usize) -> Result<()> {
        const WHY: &str = "a substitution that is not understood";
        if depth > MAX_DEPTH {
            return Err("quotes and expansions nested too deep");
        }
        let mut open = vec![Bracket::Round];
        let mut documents: Vec<(String, bool)> = Vec::new();
        let mut begins = true; // a command could begin here
        let mut blank = true; // a word could begin here
        loop {
            let Some(c) = self.next() else { return Err(WHY) };
            let (was_begin, was_blank) = (begins, blank);
            begins = was_begin && c.is_whitespace();
            blank = c.is_whitespace() || "();|&".contains(c);
            match c {
                '\'' => {
                    self.single()?;
                }
                '"' => {
                    self.run(Place::Double, Some('"'), depth + 1)?;
                    if !self.eat('"') {
                        return Err("an unfinished quote");
                    }
                }
                '\\' => {
                    self.next();
                }
                '`' => {
                    self.back(false)?;
                }
                '$' => match self.peek() {
                    Some('\'') => {
                        self.at += 1;
                        self.ansi()?;
                    }
                    Some('(') => {
                        self.at += 1;
                        self.command(depth + 1)?;
                    }
                    Some('{') => {
                        self.at += 1;
                        self.braced(Place::Word, depth + 1)?;
                    }
                    _ => {}
                },
                '(' => {
                    open.push(Bracket::Round);
                    begins = true;
                }
                // Behind a pattern of `case`, whose bracket opens nothing.
                ')' if open.last() == Some(&Bracket::Case) => begins = true,
                ')' => {
                    open.pop();
                    begins = true;
                    if open.is_empty() {
                        return Ok(());
                    }
                }
                ';' | '|' | '&' => begins = true,
                '#' if was_blank => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                '<' if self.peek() == Some('<') => {
                    self.at += 1;
                    if self.eat('<') {
                        continue;
                    }
                    let tabs = self.eat('-');
                    while matches!(self.peek(), Some(' ' | '\t')) {
                        self.at += 1;
                    }
                    documents.push((self.delimiter()?, tabs));
                }
                '\n' => {
                    begins = true;
                    for (end, tabs) in documents.drain(..) {
                        self.document(&end, tabs)?;
                    }
                }
                c if c.is_ascii_alphabetic() && was_blank => {
                    let begin = self.at - 1;
                    while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                        self.at += 1;
                    }
                    let word = self.text(begin, self.at);
                    match word.as_str() {
                        "case" if was_begin => open.push(Bracket::Case),
                        "esac" if was_begin && open.last() == Some(&Bracket::Case) => {
                            open.pop();
                        }
                        "in" if open.last() == Some(&Bracket::Case) => begins = true,
                        "do" | "then" | "else" | "if" | "while" | "until" | "elif" => begins = was_begin,
                        _ => {}
                    }
                }
                '{' | '!' => begins = was_begin || was_blank,
                _ => {}
            }
        }
    }

    /// The word behind `<<`, unquoted.
    fn delimiter(&mut self) -> Result<String> {
        let mut out = String::new();
        loop {
            match self.peek() {
                Some('\'') => {
                    self.at += 1;
                    out.push_str(&self.single()?);
                }
                Some('"') => {
                    self.at += 1;
                    while let Some(c) = self.next().filter(|c| *c != '"') {
                        out.push(c);
                    }
                }
                Some('\\') => {
                    self.at += 1;
                    out.extend(self.next());
                }
                Some(c) if c.is_whitespace() || "()<>|&;`$".contains(c) => break,
                Some(c) => {
                    self.at += 1;
                    out.push(c);
                }
                None => break,
            }
        }
        if out.is_empty() || out.contains('\n') {
            Err("a here-document that is not understood")
        } else {
            Ok(out)
        }
    }

    /// Skips lines up to behind the one that is the delimiter.
    fn document(&mut self, end: &str, tabs: bool) -> Result<()> {
        loop {
            let begin = self.at;
            while self.peek().is_some_and(|c| c != '\n') {
                self.at += 1;
            }
            let line = self.text(begin, self.at);
            let line = if tabs { line.trim_start_matches('\t') } else { &line };
            let last = self.next().is_none();
            if line == end {
                return Ok(());
            }
            if last {
                return Err("a here-document that is not understood");
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Bracket {
    Round,
    Case,
}

/// Reads an arithmetic expression. A text in it is read as an expression again, so quotes have no place in it.
pub(super) fn number(text: &str) -> Result<Raw> {
    if text.contains(['\'', '\\', ';']) {
        return Err("arithmetic that is not understood");
    }
    let blank = |part: Part| match part {
        Part::Quoted(text) => Part::Quoted(text.split_whitespace().collect()),
        other => other,
    };
    Ok(parts(text, Place::Text)?.into_iter().map(blank).collect())
}

/// In arithmetic, what an expansion becomes is read as an expression, in which an index may run a command.
fn plain_index(raw: &Raw) -> Result<()> {
    let text = |t: &String| t.contains(['\'', '\\']);
    if raw.iter().any(|p| matches!(p, Part::Quoted(t) | Part::Bare(t) if text(t))) {
        return Err("arithmetic that is not understood");
    }
    Ok(())
}
