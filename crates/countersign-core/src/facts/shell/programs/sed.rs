//! sed's scripts: whether every command of one only prints, deletes, inserts, jumps or substitutes.

use super::super::UNKNOWN;
use super::apply::Act;
use super::table::Role;

/// A sed script can write files and run commands; only what prints, deletes, inserts and substitutes is told apart here.
pub(super) fn sed(act: &mut Act) {
    const WHY: &str = "a sed script that is not fully understood";
    let scripts: Vec<(String, bool)> = act
        .args
        .iter()
        .filter(|a| a.role == Role::Text && !matches!(a.option.as_deref(), Some("-l")))
        .map(|a| (a.text.clone(), a.unknown))
        .collect();
    if scripts.is_empty() || !scripts.iter().all(|(script, _)| plain_sed(script)) {
        act.doubt(WHY);
    }
}

/// Whether every command of a sed script only prints, deletes, jumps or substitutes.
fn plain_sed(script: &str) -> bool {
    let mut chars = script.chars().peekable();
    let mut steps = 0;
    loop {
        while chars.peek().is_some_and(|c| c.is_whitespace() || matches!(c, ';' | '{' | '}')) {
            chars.next();
        }
        if chars.peek().is_none() {
            return steps > 0;
        }
        steps += 1;
        // Up to two addresses.
        loop {
            match chars.peek().copied() {
                Some(c) if c.is_ascii_digit() || matches!(c, ',' | '$' | ' ' | '~' | '+' | '!') => {
                    chars.next();
                }
                Some('/') => {
                    chars.next();
                    if !until(&mut chars, '/') {
                        return false;
                    }
                    if chars.peek() == Some(&'I') {
                        chars.next();
                    }
                }
                _ => break,
            }
        }
        match chars.next() {
            Some('p' | 'd' | 'q' | '=' | 'n' | 'N' | 'D' | 'P' | 'g' | 'G' | 'h' | 'H' | 'x' | 'l') => {
                while chars.peek().is_some_and(|c| c.is_ascii_digit()) {
                    chars.next();
                }
            }
            Some('b' | 't' | ':') => {
                while chars.peek().is_some_and(|c| c.is_ascii_alphanumeric()) {
                    chars.next();
                }
            }
            // The rest of the line is text.
            Some('a' | 'i' | 'c') => {
                let mut before = '\0';
                for c in chars.by_ref() {
                    if c == '\n' && before != '\\' {
                        break;
                    }
                    before = c;
                }
            }
            Some('{' | '}') => {}
            Some('s') => {
                let Some(mark) = chars.next().filter(|c| !c.is_alphanumeric() && *c != '\\' && *c != UNKNOWN)
                else {
                    return false;
                };
                if !until(&mut chars, mark) || !until(&mut chars, mark) {
                    return false;
                }
                while chars.peek().is_some_and(|c| matches!(c, 'g' | 'i' | 'I' | 'p' | '0'..='9')) {
                    chars.next();
                }
            }
            Some('y') => {
                let Some(mark) = chars.next().filter(|c| !c.is_alphanumeric() && *c != UNKNOWN) else {
                    return false;
                };
                if !until(&mut chars, mark) || !until(&mut chars, mark) {
                    return false;
                }
            }
            _ => return false,
        }
        match chars.peek() {
            None | Some(';' | '}' | '\n' | ' ' | '{') => {}
            _ => return false,
        }
    }
}

/// Skips to behind a mark. What is not known could hold the mark and begin another command.
fn until(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, mark: char) -> bool {
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            UNKNOWN => return false,
            c if c == mark => return true,
            _ => {}
        }
    }
    false
}
