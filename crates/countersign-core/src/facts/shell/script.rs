//! The form that both readers bring a line into: steps, each a simple command or a compound of steps.
//!
//! It keeps what decides which commands run with which words, and drops the rest: which signal a pipe waits for, whether
//! a list ends with `;` or `&`, what a pattern of a `case` matches.

use super::word::{self, Part};

/// A list of steps, run one after the other.
pub(super) type Script = Vec<Step>;

/// A word that is not expanded yet.
pub(super) type Raw = Vec<Part>;

/// One step of a script.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// A simple command.
    Call(Call),
    /// Steps joined by `&&` and `||`; the first operator is [`Join::And`] and means nothing.
    List(Vec<(Join, Step)>),
    /// Steps whose output is the input of the next.
    Pipe(Vec<Step>),
    /// `{ … }`, `( … )`, `… &`, `coproc …`: steps in a shell of their own or not, with redirections around them.
    Group {
        /// The steps.
        body: Script,
        /// Redirections of the whole.
        redirects: Vec<Redirect>,
    },
    /// `if`, `while`, `until`: what is asked runs, what follows may run, in loops again and again.
    Branches {
        /// Conditions and bodies in the order they stand in.
        parts: Vec<Script>,
        /// Whether they run repeatedly.
        repeats: bool,
    },
    /// `for` and `select`.
    For {
        /// The variable.
        name: String,
        /// What it takes on; nothing stands for the positional parameters.
        values: Option<Vec<Raw>>,
        /// What is done for each.
        body: Script,
        /// `select`: a person's answer decides, and is read into a variable.
        asks: bool,
    },
    /// `case`.
    Case {
        /// What is matched, and the patterns.
        words: Vec<Raw>,
        /// The steps of each pattern.
        bodies: Vec<Script>,
    },
    /// A function's definition.
    Function {
        /// Its name.
        name: String,
        /// What a call of it does.
        body: Box<Step>,
    },
    /// `[[ … ]]`: its words.
    Test(Vec<Raw>),
    /// `(( … ))`, and the heads of `for (( … ))`.
    Arithmetic(Vec<Raw>),
}

/// What joins two steps of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// `&&`
    And,
    /// `||`
    Or,
}

/// A simple command.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Call {
    /// Assignments in front of it.
    pub sets: Vec<Assign>,
    /// Program and arguments.
    pub words: Vec<Raw>,
    /// Redirections.
    pub redirects: Vec<Redirect>,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assign {
    /// The variable.
    pub name: String,
    /// Its value; of an array all elements and indices.
    pub value: Vec<Raw>,
    /// An array, an element of one, or `+=`: what the variable holds afterwards is not followed.
    pub partial: bool,
}

/// A redirection.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Redirect {
    /// A file that is read.
    Read(Raw),
    /// A file that is written.
    Write(Raw),
    /// A descriptor is copied or closed; a word that is no number is a file for some operators.
    Copy(Raw),
    /// Input from a descriptor.
    Hear(Raw),
    /// A text as input.
    Text(Raw),
    /// A text on another descriptor than input.
    Aside(Raw),
}

type Result<T> = std::result::Result<T, &'static str>;

/// What may do something in texts that are only compared: operands of `[[ … ]]`, patterns of `case`.
pub(super) fn tests<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Raw>> {
    let mut out = Raw::new();
    for text in texts {
        // An index in an operand is arithmetic, even a quoted one.
        if text.contains('\'') && text.contains(['$', '`']) && text.contains('[') && text.contains(['(', '`'])
        {
            return Err("a test that is not understood");
        }
        let parts = word::parts(text, word::Place::Pattern)?;
        out.extend(parts.into_iter().filter(|p| !matches!(p, Part::Quoted(_) | Part::Bare(_))));
    }
    Ok(vec![out])
}

/// Reads an assignment from its text.
pub(super) fn assignment(text: &str) -> Result<Assign> {
    const WHY: &str = "an assignment that is not understood";
    let (name, value) = text.split_once('=').ok_or(WHY)?;
    let added = name.ends_with('+');
    let name = name.strip_suffix('+').unwrap_or(name);
    // An index may hold an equals sign and worse: it is arithmetic.
    let plain = |n: &str| {
        !n.starts_with(|c: char| c.is_ascii_digit())
            && !n.is_empty()
            && n.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
    };
    let (name, indexed) = match name.split_once('[') {
        None => (name, false),
        Some((name, index)) => {
            let index = index.strip_suffix(']').ok_or(WHY)?;
            if !index.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(WHY);
            }
            (name, true)
        }
    };
    if !plain(name) {
        return Err(WHY);
    }
    let array = value.strip_prefix('(').map(|v| v.strip_suffix(')').ok_or(WHY)).transpose()?;
    Ok(Assign {
        name: name.to_owned(),
        value: match array {
            Some(elements) => word::list(elements)?,
            None => vec![word::read(value)?],
        },
        partial: added || indexed || array.is_some(),
    })
}

/// Steps that run in the background: like a group of their own.
pub(super) fn background(step: Step) -> Step {
    Step::Pipe(vec![step])
}

/// A step with redirections around it.
pub(super) fn redirected(step: Step, redirects: Vec<Redirect>) -> Step {
    match step {
        step if redirects.is_empty() => step,
        Step::Group { body, redirects: inner } if inner.is_empty() => Step::Group { body, redirects },
        step => Step::Group { body: vec![step], redirects },
    }
}
