//! The table of known programs: how its lines are written, and how they are found.
//!
//! The table is text (`tables/*.txt`), because it is knowledge and no code: it can be read and argued about line by line.
//! Only the lines that a command needs are taken apart. What a line means for a command is said in `apply`.
//!
//! A line is `name,name: token …`; more tokens follow on indented lines or where a name stands again, `#` begins a
//! comment. A name of several words is
//! a sub-command. Tokens:
//!
//! - `-abc` letters without a value, `--all` a long option without one, `-o=w` and `--out=w` with a value in role `w`
//!   (two letters: two values; of `-abo=w` only `o` has one), `--color?` with a value that may be attached, `-#` a number as an option, `-*` any other
//!   option is harmless, `-**` any other option only names files;
//! - `@r` the next operand's role (`@rw` the next two), `@r*` that of all further ones (`@tr*` behind the next), `@>i` that of the last;
//! - `%sub` the first operand is a sub-command, `%stop` options end at the first operand, `%one` long options begin with
//!   one dash, `%text` shows and compares and does nothing else, `%free` a word that is not known does no harm where an
//!   option may stand, `%short` long options may be shortened, `%also=line` everything of another line holds here as well;
//! - `!effect` what the command does, also attached to an option; `~` behind a valued option: it takes the first
//!   operand's place; `^` behind an option: what is read is written as well.

use std::collections::HashMap;
use std::sync::OnceLock;

/// What a word of a command is to its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Never opened: a pattern, a message, a number, a name.
    Text,
    /// A file that is read.
    Read,
    /// A file or folder of which only name and state are looked at.
    Look,
    /// A file or folder that is read with all below it.
    Tree,
    /// A file that is written.
    Write,
    /// Something that is removed or moved with all below it.
    Take,
    /// The file or folder that copies go to.
    Into,
    /// A folder that is made.
    Make,
    /// A folder to work in.
    Folder,
    /// Whatever it is, it may be a file that is changed.
    Any,
    /// A path or a name that git resolves, and may put another content in its place.
    Git,
    /// An address.
    Url,
    /// A host, or a path on one.
    Host,
    /// Text for a database.
    Sql,
    /// A file that is sent to somebody.
    Sent,
    /// Code, or a program: never understood.
    Code,
}

impl Role {
    fn of(letter: char) -> Option<Role> {
        Some(match letter {
            't' => Role::Text,
            'r' => Role::Read,
            'R' => Role::Tree,
            'w' => Role::Write,
            'x' => Role::Take,
            'i' => Role::Into,
            'm' => Role::Make,
            'l' => Role::Look,
            'd' => Role::Folder,
            'a' => Role::Any,
            'g' => Role::Git,
            'u' => Role::Url,
            'h' => Role::Host,
            's' => Role::Sql,
            'f' => Role::Sent,
            'c' => Role::Code,
            _ => return None,
        })
    }
}

/// An option of a program.
#[derive(Clone, Debug, Default)]
pub(super) struct Opt {
    /// Roles of the values that follow it.
    pub values: Vec<Role>,
    /// A value may be attached, and none follows.
    pub attached: bool,
    /// Its value stands for the first operand.
    pub replaces: bool,
    /// What is read is written as well.
    pub in_place: bool,
    /// What it makes the command do.
    pub effect: Option<&'static str>,
}

/// What is known of a program or one of its sub-commands.
#[derive(Clone, Debug, Default)]
pub(super) struct Spec {
    pub sub: bool,
    pub stop: bool,
    pub one: bool,
    pub text: bool,
    pub free: bool,
    pub any: bool,
    /// Any option is accepted, and its value may be a file that is written.
    pub open: bool,
    pub number: bool,
    /// Long options may be shortened.
    pub short: bool,
    /// By name, dashes included.
    pub options: HashMap<String, Opt>,
    pub operands: Vec<Role>,
    pub repeat: Option<Role>,
    pub last: Option<Role>,
    pub effects: Vec<&'static str>,
}

const TEXTS: [&str; 5] = [
    include_str!("tables/files.txt"),
    include_str!("tables/dev.txt"),
    include_str!("tables/tools.txt"),
    include_str!("tables/ops.txt"),
    include_str!("tables/git.txt"),
];

static LINES: OnceLock<HashMap<&'static str, Vec<&'static str>>> = OnceLock::new();

/// Every name with the lines of its entry.
fn lines() -> &'static HashMap<&'static str, Vec<&'static str>> {
    LINES.get_or_init(|| {
        let mut out: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut names: Vec<&str> = Vec::new();
        for line in TEXTS.iter().flat_map(|t| t.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let rest = match line.strip_prefix(' ') {
                Some(rest) => rest,
                None => {
                    let (head, rest) = line.split_once(": ").unwrap_or((line, ""));
                    names = head.split(',').map(str::trim).collect();
                    rest
                }
            };
            for name in &names {
                out.entry(name).or_default().push(rest);
            }
        }
        out
    })
}

/// Whether there is an entry of this name.
pub(super) fn has(name: &str) -> bool {
    lines().contains_key(name)
}

/// The entry of a name.
pub(super) fn spec(name: &str) -> Option<Spec> {
    let mut spec = Spec::default();
    read(name, &mut spec, 0)?;
    Some(spec)
}

fn read(name: &str, spec: &mut Spec, depth: usize) -> Option<()> {
    let found = lines().get(name)?;
    for token in found.iter().flat_map(|line| line.split_whitespace()) {
        match token.strip_prefix("%also=") {
            Some(other) if depth < 4 => read(other, spec, depth + 1)?,
            _ => take(token, spec)?,
        }
    }
    Some(())
}

/// One token; nothing when it is written wrong, which a test finds.
fn take(token: &'static str, spec: &mut Spec) -> Option<()> {
    let mut chars = token.chars();
    match chars.next()? {
        '%' => match token {
            "%sub" => spec.sub = true,
            "%stop" => spec.stop = true,
            "%one" => spec.one = true,
            "%text" => spec.text = true,
            "%free" => spec.free = true,
            "%short" => spec.short = true,
            _ => return None,
        },
        '!' => spec.effects.push(token.get(1..)?),
        '@' => {
            let rest = token.get(1..)?;
            if let Some(last) = rest.strip_prefix('>') {
                spec.last = Some(Role::of(last.chars().next()?)?);
            } else if let Some(role) = rest.strip_suffix('*') {
                let letters: Vec<char> = role.chars().collect();
                let (repeat, first) = letters.split_last()?;
                for letter in first {
                    spec.operands.push(Role::of(*letter)?);
                }
                spec.repeat = Some(Role::of(*repeat)?);
            } else {
                for letter in rest.chars() {
                    spec.operands.push(Role::of(letter)?);
                }
            }
        }
        '-' if token == "-*" => spec.any = true,
        '-' if token == "-**" => spec.open = true,
        '-' if token == "-#" => spec.number = true,
        '-' => return option(token, spec),
        _ => return None,
    }
    Some(())
}

fn option(token: &'static str, spec: &mut Spec) -> Option<()> {
    let (token, effect) = match token.split_once('!') {
        Some((token, effect)) => (token, Some(effect)),
        None => (token, None),
    };
    let mut opt = Opt { effect, ..Opt::default() };
    let mut text = token;
    while let Some(rest) = text.strip_suffix(['~', '^', '?']) {
        match text.chars().last()? {
            '~' => opt.replaces = true,
            '^' => opt.in_place = true,
            _ => opt.attached = true,
        }
        text = rest;
    }
    let (names, values) = text.split_once('=').unwrap_or((text, ""));
    for letter in values.chars() {
        opt.values.push(Role::of(letter)?);
    }
    if names.starts_with("--") || spec.one {
        spec.options.insert(names.to_owned(), opt);
        return Some(());
    }
    let last = names.chars().last()?;
    for letter in names.chars().skip(1) {
        let opt = if letter == last { opt.clone() } else { Opt::default() };
        spec.options.insert(format!("-{letter}"), opt);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that is written wrong would only make its program unknown; nobody would see it.
    #[test]
    fn every_line_is_written_right() {
        for name in lines().keys() {
            assert!(spec(name).is_some(), "{name}: {:?}", lines()[name]);
        }
        for name in lines()
            .keys()
            .filter(|n| n.contains(' ') && n.split(' ').count() > 1 + usize::from(n.starts_with("python-m")))
        {
            let above = name.rsplit_once(' ').unwrap().0;
            assert!(spec(above).is_some_and(|s| s.sub), "{name} has no `{above}` with %sub");
        }
    }
}
