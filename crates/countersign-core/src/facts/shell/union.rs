//! What two readers together say of a text.
//!
//! Where both read it, both readings are walked, and the walk compares which programs they find. Where only one does, its
//! reading stands for the classes of text in which the other one is known to fail; for everything else the text is
//! opaque, and the reading only serves the search for paths and patterns.

use super::script::Script;
use super::{MAX_LINE_BYTES, UNKNOWN, brush, tree};

/// Most openings of substitutions in a text: the first reader's tokenizer descends for each that is not closed.
const MAX_OPENINGS: usize = 128;

/// The readings of a text, and what is doubtful about them.
pub(super) fn scripts(text: &str) -> (Vec<Script>, Option<&'static str>) {
    if let Err(why) = bounded(text) {
        return (Vec::new(), Some(why));
    }
    let first = brush::read(text);
    if let Err(why) = first
        && ([brush::DEEP, brush::NUMBER].contains(&why) || !fails_the_grammar(text))
    {
        // The tree repairs what is broken, at length; nothing it finds would be taken.
        return (Vec::new(), Some(why));
    }
    match (first, tree::read(text)) {
        (Ok(first), Ok(second)) if first == second => (vec![first], None),
        (Ok(first), Ok(second)) => (vec![first, second], None),
        (Ok(script), Err(why)) => (vec![script], (!fails_the_tree(text)).then_some(why)),
        (Err(_), Ok(script)) => (vec![script], None),
        (Err(why), Err(_)) => (Vec::new(), Some(why)),
    }
}

/// Here-documents whose line goes on behind their beginning, and a keyword that it takes for a program.
pub(super) fn fails_the_tree(text: &str) -> bool {
    // In `((` the other reader takes `<<` for a shift, and would take what follows for commands.
    let document = text.contains("<<") && !text.contains("((");
    document || text.split_whitespace().any(|w| w == "coproc")
}

/// A keyword that it does not know, `case` inside brackets, sub-shells in each other, and expansions on a line behind the beginning of a here-document, which its tokenizer
/// takes apart.
pub(super) fn fails_the_grammar(text: &str) -> bool {
    // Delimiters of other characters are quoted in ways that the tree does not know.
    let simple = |rest: &str| {
        let word = rest.trim_start_matches('-').trim_start_matches(' ').trim_start_matches(['\'', '"']);
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word
                .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_')
                .starts_with(['\'', '"', ' ', '\n', ')', '|', '>', ';', '&'])
    };
    let document = text.contains("<<")
        && text.contains(['$', '`'])
        && !text.contains("((")
        && text.split("<<").skip(1).all(simple);
    // Its patterns close brackets that they do not open, and `esac )` is taken for one.
    let case = (1..=8).contains(&text.matches("case ").count()) && text.contains('(');
    // Two brackets are arithmetic to it even where a blank parts them.
    let brackets = text.split('(').skip(1).any(|rest| !rest.is_empty() && rest.trim().is_empty());
    document || case || brackets || text.split(|c: char| c.is_whitespace() || c == ';').any(|w| w == "select")
}

/// What no reader is given: what a terminal would not show, the mark of unknown parts, and more nesting than a reader's
/// stack is sure to hold.
pub(super) fn bounded(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_LINE_BYTES {
        return Err("more text than is read");
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err("a control character");
    }
    if text.contains(UNKNOWN) {
        return Err("a character that stands for what is not known");
    }
    let mut openings = 0;
    let mut before = ' ';
    for c in text.chars() {
        let substitution = before == '$' && matches!(c, '(' | '{' | '[');
        let group = c == '(' && matches!(before, '<' | '>' | '@' | '?' | '*' | '+' | '!');
        openings += usize::from(substitution || group);
        before = c;
    }
    if openings > MAX_OPENINGS { Err("more substitutions than are read") } else { Ok(()) }
}
