//! Code of other languages on a line: whether it provably does nothing but compute and print, and which texts it holds.
//!
//! The check is a closed list: every name that is called, read from a module or imported has to be on it, and nothing on it
//! may be given another meaning. Whatever else there is makes the line opaque. The texts become arguments of a command of
//! their own, so that rules about paths see them.

use super::wrappers::{Inner, Reading};
use super::{Simple, Word};

const WHY: &str = "an interpreter with code on its line or from its input";

/// Reads the code of an interpreter's line; nothing for other programs, and where there is no code.
pub(super) fn read(simple: &Simple) -> Option<Reading> {
    let family = family(simple.program());
    if matches!(family.as_str(), "awk" | "gawk" | "mawk" | "nawk") {
        return Some(awk(simple));
    }
    let (code, rest) = inline(&family, simple)?;
    let tokens = tokens(&code.text);
    let known = !code.unknown && !code.live && !simple.words.iter().any(|w| w.unknown);
    let harmless = known
        && match family.as_str() {
            "python" | "pypy" => tokens.as_ref().is_some_and(|t| python(t)),
            // Options of its own may stand behind the code.
            "node" | "nodejs" => {
                !rest.iter().any(|w| w.text.starts_with('-')) && tokens.as_ref().is_some_and(|t| node(t))
            }
            _ => false,
        };
    let texts = tokens.unwrap_or_default().into_iter().filter_map(|t| match t {
        Token::Text(text) if !text.is_empty() => Some(Word { text, ..Word::default() }),
        _ => None,
    });
    let mut words: Vec<Word> = simple.words.first().into_iter().cloned().collect();
    words.extend(texts.chain(rest).take(256));
    Some(Reading {
        inner: vec![Inner::Texts { words }],
        opaque: (!harmless).then_some(WHY),
        understood: harmless,
        ..Reading::default()
    })
}

/// The interpreter behind a versioned name.
fn family(program: &str) -> String {
    program.to_lowercase().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-').to_owned()
}

/// The code among an interpreter's words, and the words behind it.
fn inline(family: &str, simple: &Simple) -> Option<(Word, Vec<Word>)> {
    // Letters that take code, and those that may stand before them in a cluster.
    let (letters, before) = match family {
        "python" | "pypy" => ("c", "bBdEhIOqsSuvx"),
        "node" | "nodejs" | "bun" => ("ep", "pe"),
        "perl" => ("eE", "0acilnpswWX"),
        "ruby" => ("e", "aclnpsw"),
        "php" => ("rBRE", "n"),
        "lua" | "osascript" | "rscript" | "tclsh" => ("e", ""),
        "pwsh" | "powershell" => ("cC", ""),
        _ => return None,
    };
    let args = simple.words.get(1..).unwrap_or_default();
    for (at, word) in args.iter().enumerate() {
        let text = word.text.as_str();
        let behind =
            || args.get(at + 1).map(|w| (w.clone(), args.get(at + 2..).unwrap_or_default().to_vec()));
        if matches!(text, "--eval" | "--print") {
            return behind();
        }
        if let Some(code) = text.strip_prefix("--eval=").or(text.strip_prefix("--print=")) {
            return Some((Word { text: code.to_owned(), ..word.clone() }, args.get(at + 1..)?.to_vec()));
        }
        let cluster = text.strip_prefix('-').filter(|c| !c.starts_with('-') && !c.is_empty())?;
        for (place, letter) in cluster.char_indices() {
            if letters.contains(letter) && !(before.contains(letter) && place + 1 < cluster.len()) {
                let code = cluster.get(place + letter.len_utf8()..).unwrap_or_default();
                return match code {
                    "" => behind(),
                    code => {
                        Some((Word { text: code.to_owned(), ..word.clone() }, args.get(at + 1..)?.to_vec()))
                    }
                };
            }
            if !before.contains(letter) {
                break;
            }
        }
    }
    None
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Number,
    Text(String),
    Sign(char),
    Line,
}

/// Names, numbers, texts and signs; nothing for what is not plain code: formatted and raw texts, back-quotes, a text that
/// does not end.
fn tokens(code: &str) -> Option<Vec<Token>> {
    let chars: Vec<char> = code.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        at += 1;
        match c {
            '\n' | ';' => out.push(Token::Line),
            c if c.is_whitespace() => {}
            '#' => return None,
            '\'' | '"' => {
                // A letter before a quote makes another kind of text of it.
                if at > 1 && chars.get(at - 2).is_some_and(|b| b.is_alphanumeric()) {
                    return None;
                }
                let mut text = String::new();
                loop {
                    match chars.get(at).copied()? {
                        end if end == c => break,
                        '\\' => {
                            let next = *chars.get(at + 1)?;
                            // What an escape stands for might be a path.
                            if !matches!(next, 'n' | 't' | '\\' | '\'' | '"') {
                                return None;
                            }
                            text.push(if next == 'n' { '\n' } else { next });
                            at += 1;
                        }
                        '\n' => return None,
                        other => text.push(other),
                    }
                    at += 1;
                }
                at += 1;
                // Two texts side by side are one.
                match out.last_mut() {
                    Some(Token::Text(_)) => return None,
                    _ => out.push(Token::Text(text)),
                }
            }
            c if c.is_ascii_digit() => {
                while chars.get(at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '.') {
                    at += 1;
                }
                out.push(Token::Number);
            }
            c if c == '_' || c.is_ascii_alphabetic() => {
                let begin = at - 1;
                while chars.get(at).is_some_and(|c| *c == '_' || c.is_ascii_alphanumeric()) {
                    at += 1;
                }
                out.push(Token::Name(chars.get(begin..at)?.iter().collect()));
            }
            c if "()[]{}.,:=+-*/%<>!&|^~?".contains(c) => out.push(Token::Sign(c)),
            _ => return None,
        }
    }
    Some(out)
}

/// What may be called, read behind a dot, or imported.
struct Allowed {
    called: &'static [&'static str],
    members: &'static [&'static str],
    modules: &'static [&'static str],
    keywords: &'static [&'static str],
}

const PYTHON: Allowed = Allowed {
    called: &[
        "print",
        "len",
        "str",
        "int",
        "float",
        "sum",
        "min",
        "max",
        "abs",
        "round",
        "sorted",
        "list",
        "dict",
        "set",
        "tuple",
        "range",
        "enumerate",
        "zip",
        "bool",
        "hex",
        "bin",
        "oct",
        "ord",
        "chr",
        "repr",
        "reversed",
        "any",
        "all",
        "divmod",
        "type",
        "isinstance",
        "pow",
    ],
    members: &[
        "load",
        "loads",
        "dumps",
        "stdin",
        "argv",
        "version",
        "version_info",
        "platform",
        "read",
        "readlines",
        "split",
        "strip",
        "lower",
        "upper",
        "join",
        "get",
        "keys",
        "values",
        "items",
        "append",
        "count",
        "startswith",
        "endswith",
        "replace",
        "sqrt",
        "pi",
        "floor",
        "ceil",
        "findall",
        "match",
        "search",
        "sub",
        "group",
        "format",
        "maxsize",
        "executable",
        "prefix",
        "index",
        "find",
        "title",
        "splitlines",
        "sort",
        "major",
        "minor",
        "micro",
        "now",
        "today",
        "isoformat",
        "date",
        "datetime",
        "strftime",
        "time",
        "mean",
        "median",
    ],
    modules: &["sys", "json", "math", "re", "datetime", "time", "statistics"],
    keywords: &[
        "if", "else", "for", "in", "not", "and", "or", "is", "while", "pass", "assert", "elif", "True",
        "False", "None",
    ],
};

const NODE: Allowed = Allowed {
    called: &["parseInt", "parseFloat", "Number", "String", "Boolean", "isNaN"],
    members: &[
        "log",
        "stringify",
        "parse",
        "length",
        "version",
        "versions",
        "platform",
        "arch",
        "argv",
        "round",
        "floor",
        "ceil",
        "max",
        "min",
        "sqrt",
        "pow",
        "PI",
        "abs",
        "random",
        "keys",
        "values",
        "entries",
        "join",
        "split",
        "trim",
        "toString",
        "toUpperCase",
        "toLowerCase",
        "toFixed",
        "node",
        "now",
        "toISOString",
        "sort",
        "reverse",
        "includes",
        "indexOf",
        "slice",
    ],
    modules: &[],
    keywords: &[
        "if",
        "else",
        "in",
        "of",
        "typeof",
        "const",
        "let",
        "var",
        "true",
        "false",
        "null",
        "undefined",
    ],
};

/// Objects whose members are on the lists.
const GLOBALS: &[&str] = &["console", "JSON", "Math", "process", "Object", "Array", "Date"];

fn python(tokens: &[Token]) -> bool {
    let own = own(tokens);
    tokens.split(|t| *t == Token::Line).all(|line| match line {
        [Token::Name(word), rest @ ..] if word == "import" => rest.iter().all(|t| match t {
            Token::Name(module) => PYTHON.modules.contains(&module.as_str()),
            other => *other == Token::Sign(','),
        }),
        line => plain(line, &PYTHON, &own),
    })
}

fn node(tokens: &[Token]) -> bool {
    let own = own(tokens);
    tokens.split(|t| *t == Token::Line).all(|line| plain(line, &NODE, &own))
}

/// The names that the code itself gives a value.
fn own(tokens: &[Token]) -> Vec<&str> {
    let name = |t: Option<&Token>| matches!(t, Some(Token::Name(word)) if matches!(word.as_str(), "for" | "const" | "let" | "var"));
    let given = |at: usize| {
        let set =
            tokens.get(at + 1) == Some(&Token::Sign('=')) && tokens.get(at + 2) != Some(&Token::Sign('='));
        set || at.checked_sub(1).is_some_and(|before| name(tokens.get(before)))
    };
    let named = tokens.iter().enumerate().filter_map(|(at, token)| match token {
        Token::Name(word) if given(at) => Some(word.as_str()),
        _ => None,
    });
    named.collect()
}

/// Whether a line only calls what may be called and reads what may be read.
fn plain(line: &[Token], allowed: &Allowed, own: &[&str]) -> bool {
    let sign = |at: usize, c: char| line.get(at) == Some(&Token::Sign(c));
    line.iter().enumerate().all(|(at, token)| match token {
        Token::Name(name) => {
            let name = name.as_str();
            let member = at > 0 && sign(at - 1, '.');
            let called = sign(at + 1, '(');
            let meant =
                allowed.called.contains(&name) || allowed.modules.contains(&name) || GLOBALS.contains(&name);
            match name {
                // One literal file, which the path rules see.
                "open" if allowed.called.contains(&"print") => {
                    called && matches!(line.get(at + 2), Some(Token::Text(_))) && sign(at + 3, ')')
                }
                name if member => {
                    allowed.members.contains(&name) && (!sign(at + 1, '=') || sign(at + 2, '='))
                }
                name if allowed.keywords.contains(&name) => true,
                // Nothing that is meant by the lists gets another meaning.
                name if own.contains(&name) => !meant && !called,
                name if called => allowed.called.contains(&name),
                name => (allowed.modules.contains(&name) || GLOBALS.contains(&name)) && sign(at + 1, '.'),
            }
        }
        // A call of what an expression is.
        Token::Sign('(') => {
            !(at > 0 && matches!(line.get(at - 1), Some(Token::Sign(')' | ']' | '}') | Token::Text(_))))
        }
        _ => true,
    })
}

/// awk: a program without output to files, pipes, `system` and `getline`.
fn awk(simple: &Simple) -> Reading {
    let args = simple.words.get(1..).unwrap_or_default();
    let mut at = 0;
    let mut known = true;
    while let Some(word) = args.get(at).filter(|w| w.text.starts_with('-') && w.text.len() > 1) {
        at += 1;
        match word.text.as_str() {
            "--" => break,
            "-F" | "-v" => at += 1,
            text if text.starts_with("-F") || text.starts_with("-v") => {}
            _ => known = false,
        }
    }
    let program = args.get(at).cloned().unwrap_or_default();
    let text = program.text.as_str();
    let calls =
        ["system", "getline", "close", "fflush", "printf >", "print >", "@include", "@load", "ENVIRON"];
    // `>` between numbers compares; only where nothing is printed behind it is that certain.
    let compares = text.contains('>') && text.contains("print");
    let harmless = known && !program.unknown && !text.is_empty() && !text.contains('|') && !compares
        && !calls.iter().any(|c| text.contains(c)) && !text.contains('@')
        // Before a file, `name=value` is an assignment.
        && !args.iter().any(|w| w.unknown);
    Reading {
        opaque: (!harmless).then_some("a script of awk that can do more than print"),
        understood: harmless,
        ..Reading::default()
    }
}
