//! From a line to simple commands: words, quotes without expansions, lists, pipes, redirections. The first thing that
//! is none of these ends the reading with its name.

use super::{Simple, Word};

/// Splits a line; `Err` names what was met first that is not understood. What was read before stays.
pub(super) fn read(line: &str) -> (Vec<Simple>, Option<&'static str>) {
    let mut lexer = Lexer {
        chars: line.chars().peekable(),
        commands: Vec::new(),
        current: Simple::default(),
        word: None,
        target: Target::Word,
    };
    let opaque = lexer.run().err();
    if opaque.is_some() {
        // What stands before the unknown thing is still worth searching for paths.
        let command = std::mem::take(&mut lexer.current);
        if !command.words.is_empty() {
            lexer.commands.push(command);
        }
    }
    (lexer.commands, opaque)
}

struct Lexer<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    commands: Vec<Simple>,
    current: Simple,
    word: Option<Building>,
    /// What the next finished word is.
    target: Target,
}

#[derive(Default)]
struct Building {
    text: String,
    /// An unquoted `*`, `?`, `[` or leading `~`.
    live: bool,
    /// The same characters, quoted.
    dead: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Word,
    Write,
    Read,
    Descriptor,
    HereString,
}

type Step = Result<(), &'static str>;

impl Lexer<'_> {
    fn run(&mut self) -> Step {
        while let Some(c) = self.chars.next() {
            match c {
                ' ' | '\t' => self.end_word()?,
                '\n' | ';' => self.end_command()?,
                '&' => match self.chars.peek() {
                    Some('&') => {
                        self.chars.next();
                        self.end_command()?;
                    }
                    Some('>') => {
                        self.chars.next();
                        self.end_word()?;
                        self.output()?;
                    }
                    _ => self.end_command()?,
                },
                '|' => {
                    if matches!(self.chars.peek(), Some('|' | '&')) {
                        self.chars.next();
                    }
                    self.end_command()?;
                }
                '>' | '<' => {
                    // Digits right before the sign are a descriptor, not an argument.
                    match self.word.take() {
                        Some(word)
                            if !word.text.is_empty() && word.text.chars().all(|d| d.is_ascii_digit()) => {}
                        other => {
                            self.word = other;
                            self.end_word()?;
                        }
                    }
                    if c == '>' { self.output()? } else { self.input()? }
                }
                '\'' => {
                    self.building();
                    loop {
                        match self.chars.next() {
                            Some('\'') => break,
                            Some(c) => self.quoted(c)?,
                            None => return Err("an unfinished quote"),
                        }
                    }
                }
                '"' => self.double_quoted()?,
                '\\' => match self.chars.next() {
                    Some('\n') => {}
                    Some(c) => self.quoted(c)?,
                    None => return Err("a backslash at the end"),
                },
                '$' => return Err("an expansion"),
                '`' => return Err("a command substitution"),
                '(' | ')' => return Err("a sub-shell, a function or an array"),
                '{' | '}' => return Err("a group or a brace expansion"),
                // A negation, or in some shells a part of a redirection; inside a word it is text.
                '!' if self.word.is_none() => return Err("a negation"),
                '#' if self.word.is_none() => {
                    while self.chars.peek().is_some_and(|c| *c != '\n') {
                        self.chars.next();
                    }
                }
                // The command `[` and what ends it are words of their own, and match nothing.
                '[' if self.word.is_none() && self.chars.peek().is_none_or(|c| c.is_whitespace()) => {
                    self.building().text.push('[');
                }
                '*' | '?' | '[' => {
                    let word = self.building();
                    word.live = true;
                    // A pattern may stand for any file; a leading dot makes hidden files its aim.
                    if word.text.rsplit('/').next().unwrap_or_default().starts_with('.') {
                        return Err("a pattern over hidden files");
                    }
                    word.text.push(c);
                }
                '~' => {
                    let word = self.building();
                    word.live |= word.text.is_empty();
                    word.text.push('~');
                }
                // Whatever a terminal would not show must not be in what a person is asked about.
                c if c.is_control() => return Err("a control character"),
                c => self.building().text.push(c),
            }
        }
        if self.target != Target::Word && self.word.is_none() {
            return Err("a redirection without a file");
        }
        self.end_command()
    }

    fn building(&mut self) -> &mut Building {
        self.word.get_or_insert_default()
    }

    fn quoted(&mut self, c: char) -> Step {
        if c.is_control() && c != '\n' && c != '\t' {
            return Err("a control character");
        }
        let word = self.building();
        word.dead |= matches!(c, '*' | '?' | '[') || (c == '~' && word.text.is_empty());
        word.text.push(c);
        Ok(())
    }

    fn double_quoted(&mut self) -> Step {
        self.building();
        loop {
            match self.chars.next() {
                Some('"') => return Ok(()),
                Some('$') => return Err("an expansion"),
                Some('`') => return Err("a command substitution"),
                Some('\\') => match self.chars.next() {
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.quoted(c)?,
                    Some('\n') => {}
                    Some(c) => {
                        self.quoted('\\')?;
                        self.quoted(c)?;
                    }
                    None => return Err("an unfinished quote"),
                },
                Some(c) => self.quoted(c)?,
                None => return Err("an unfinished quote"),
            }
        }
    }

    fn output(&mut self) -> Step {
        self.expect_target()?;
        match self.chars.peek() {
            Some('>' | '|') => {
                self.chars.next();
                self.target = Target::Write;
            }
            Some('&') => {
                self.chars.next();
                self.target = Target::Descriptor;
            }
            Some('(') => return Err("a process substitution"),
            _ => self.target = Target::Write,
        }
        Ok(())
    }

    fn input(&mut self) -> Step {
        self.expect_target()?;
        match self.chars.peek() {
            Some('<') => {
                self.chars.next();
                if self.chars.peek() != Some(&'<') {
                    return Err("a here-document");
                }
                self.chars.next();
                self.target = Target::HereString;
            }
            Some('&') => {
                self.chars.next();
                self.target = Target::Descriptor;
            }
            Some('(') => return Err("a process substitution"),
            Some('>') => return Err("a file opened for both"),
            _ => self.target = Target::Read,
        }
        Ok(())
    }

    fn expect_target(&self) -> Step {
        if self.target == Target::Word { Ok(()) } else { Err("a redirection without a file") }
    }

    fn end_word(&mut self) -> Step {
        let Some(word) = self.word.take() else { return Ok(()) };
        if word.live && word.dead {
            return Err("a word that is half pattern, half text");
        }
        if word.live && word.text.starts_with('~') && !(word.text == "~" || word.text.starts_with("~/")) {
            return Err("another user's home");
        }
        let Building { text, live, .. } = word;
        match std::mem::replace(&mut self.target, Target::Word) {
            Target::Word => self.current.words.push(Word { text, live, unknown: false }),
            Target::Write => self.current.writes.push(Word { text, live, unknown: false }),
            Target::Read => self.current.reads.push(Word { text, live, unknown: false }),
            Target::HereString => self.current.fed = true,
            Target::Descriptor if text.chars().all(|c| c.is_ascii_digit() || c == '-') => {}
            // `>& file` writes both streams to a file.
            Target::Descriptor => self.current.writes.push(Word { text, live, unknown: false }),
        }
        Ok(())
    }

    fn end_command(&mut self) -> Step {
        self.end_word()?;
        self.expect_target()?;
        let command = std::mem::take(&mut self.current);
        if !command.words.is_empty() || !command.writes.is_empty() {
            self.commands.push(command);
        }
        Ok(())
    }
}
