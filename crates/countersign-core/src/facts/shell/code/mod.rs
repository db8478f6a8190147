//! Code of other languages on a line: whether it provably does nothing but compute and print, and which texts it holds.
//!
//! The check is a closed list: every name that is called, read from a module or imported has to be on it, and nothing on it
//! may be given another meaning. Whatever else there is makes the line opaque. The texts become arguments of a command of
//! their own, so that rules about paths see them.

mod names;
mod node;
mod python;
mod tokens;

use super::wrappers::{Inner, Reading};
use super::{Simple, Word};
use tokens::{Language, Token, tokens};

const WHY: &str = "an interpreter with code on its line or from its input";

/// Reads the code of an interpreter's line, or of its input where that is a text of the line; nothing for other programs,
/// and where there is no code.
pub(super) fn read(simple: &Simple, input: Option<&Word>) -> Option<Reading> {
    let family = family(simple.program());
    if matches!(family.as_str(), "awk" | "gawk" | "mawk" | "nawk") {
        return Some(awk(simple));
    }
    let (code, rest) = inline(&family, simple).or_else(|| fed(&family, simple, input))?;
    let language = match family.as_str() {
        "python" | "pypy" => Some(Language::Python),
        "node" | "nodejs" => Some(Language::Node),
        _ => None,
    };
    let tokens = tokens(&code.text, language.unwrap_or(Language::Python));
    let known = !code.unknown && !code.live && !simple.words.iter().any(|w| w.unknown);
    let harmless = known
        && tokens.as_ref().is_some_and(|tokens| match language {
            Some(Language::Python) => python::harmless(tokens),
            // Options of its own may stand behind the code.
            Some(Language::Node) => !rest.iter().any(|w| w.text.starts_with('-')) && node::harmless(tokens),
            None => false,
        });
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

/// Whether an interpreter has code among its words that is understood: what it gets as input is data then.
pub(super) fn takes_data(simple: &Simple) -> bool {
    read(simple, None).is_some_and(|reading| reading.understood)
}

/// Code that an interpreter gets as its input: `python3 - <<'EOF'`.
fn fed(family: &str, simple: &Simple, input: Option<&Word>) -> Option<(Word, Vec<Word>)> {
    let code = input?;
    let words = simple.words.get(1..)?;
    let mild = |w: &&Word| {
        family.starts_with("py") && ["-u", "-B", "-I", "-s", "-q", "-O"].contains(&w.text.as_str())
    };
    let rest = match words.get(words.iter().take_while(mild).count()..)? {
        [] => Vec::new(),
        [dash, rest @ ..] if dash.text == "-" => rest.to_vec(),
        _ => return None,
    };
    matches!(family, "python" | "pypy" | "node" | "nodejs").then(|| (code.clone(), rest))
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
