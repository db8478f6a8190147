//! What a table's entry says of one command: which of its words are options, which role each other word has, and what
//! makes the command unread. Programs whose words need more than a table are finished in `special`.

use super::super::{TOP, UNKNOWN, Word};
use super::table::{self, Opt, Role, Spec};
use std::collections::BTreeSet;

/// A word with its role.
#[derive(Clone, Debug)]
pub(crate) struct Arg {
    /// Its text; of an attached value only that.
    pub text: String,
    /// It is a pattern, or begins with a home folder.
    pub live: bool,
    /// A part of it is not known.
    pub unknown: bool,
    /// What it is to the program.
    pub role: Role,
    /// The option whose value it is.
    pub option: Option<String>,
}

impl Arg {
    fn of(word: &Word, text: &str, role: Role, option: Option<&str>) -> Arg {
        let unknown = word.unknown && text.contains(UNKNOWN);
        Arg { text: text.to_owned(), live: word.live, unknown, role, option: option.map(str::to_owned) }
    }

    /// Whether it is a pattern over file names.
    pub(crate) fn is_pattern(&self) -> bool {
        self.live && self.text.contains(['*', '?', '['])
    }
}

/// A command as its program understands it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Act {
    /// The program's name, and that of its sub-command behind a blank.
    pub name: String,
    /// Its options, one letter each, long ones without their value.
    pub flags: Vec<String>,
    /// Its other words and the values of its options.
    pub args: Vec<Arg>,
    /// Why it is not understood.
    pub unread: Option<&'static str>,
    /// Not understood only because files that it reads have no known name.
    pub unknown_reads: bool,
    /// What the table says that it does.
    pub effects: BTreeSet<&'static str>,
}

impl Act {
    pub(in super::super) fn doubt(&mut self, why: &'static str) {
        self.unread = self.unread.or(Some(why));
    }

    /// Whether one of these options is given.
    pub(crate) fn has(&self, options: &[&str]) -> bool {
        self.flags.iter().any(|f| options.contains(&f.as_str()))
    }

    /// Words that are no option's value.
    pub(crate) fn operands(&self) -> impl Iterator<Item = &Arg> {
        self.args.iter().filter(|a| a.option.is_none())
    }

    /// The values of these options.
    pub(crate) fn values<'s>(&'s self, options: &'s [&'s str]) -> impl Iterator<Item = &'s Arg> {
        self.args.iter().filter(|a| a.option.as_deref().is_some_and(|o| options.contains(&o)))
    }
}

const OPTION: &str = "an option that is not known";
const WORD: &str = "a word that is not known";
const MAYBE: &str = "a word that may be an option";

/// Applies an entry and those of its sub-commands.
pub(super) fn apply(name: &str, words: &[Word]) -> Act {
    let mut act = Act { name: name.to_owned(), ..Act::default() };
    match table::spec(name) {
        Some(spec) => walk(&spec, words, &mut act, 0),
        None => {
            act.doubt("a program that is not known");
            act.args.extend(words.iter().map(|w| Arg::of(w, &w.text, Role::Any, None)));
        }
    }
    act
}

fn walk(spec: &Spec, words: &[Word], act: &mut Act, depth: usize) {
    act.effects.extend(&spec.effects);
    let mut operands: Vec<&Word> = Vec::new();
    let mut replaced = false;
    let mut in_place = false;
    let mut ended = false;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        let text = word.text.as_str();
        if !ended && text == "--" {
            ended = true;
            continue;
        }
        if !ended && text.starts_with('-') && text.len() > 1 {
            let mut take =
                Take { spec, words, at: &mut at, act, replaced: &mut replaced, in_place: &mut in_place };
            take.option(word);
            continue;
        }
        let option_like = (word.unknown && text.starts_with(UNKNOWN) && text != TOP)
            || (word.live && text.starts_with(['[', '?']));
        if !ended && option_like && !spec.any && !spec.free {
            act.doubt(MAYBE);
        }
        if spec.sub && depth < 3 {
            let name = format!("{} {text}", act.name);
            match table::spec(&name) {
                Some(below) => {
                    act.name = name;
                    return walk(&below, words.get(at..).unwrap_or_default(), act, depth + 1);
                }
                None => {
                    act.doubt("a command of a program that is not known");
                    let rest = words.get(at.saturating_sub(1)..).unwrap_or_default();
                    act.args.extend(rest.iter().map(|w| Arg::of(w, &w.text, Role::Any, None)));
                    return;
                }
            }
        }
        operands.push(word);
        ended |= spec.stop;
    }
    assign(spec, &operands, replaced, act);
    if in_place {
        for arg in act.args.iter_mut().filter(|a| a.role == Role::Read && a.option.is_none()) {
            arg.role = Role::Write;
        }
    }
}

/// Gives operands their roles.
fn assign(spec: &Spec, operands: &[&Word], replaced: bool, act: &mut Act) {
    let mut roles = spec.operands.iter().copied();
    if replaced {
        roles.next();
    }
    let count = operands.len();
    for (at, word) in operands.iter().enumerate() {
        let last = spec.last.filter(|_| at + 1 == count && count > 1);
        let role = last.or_else(|| roles.next()).or(spec.repeat);
        if role.is_none() {
            act.doubt("more words than are known");
        }
        act.args.push(Arg::of(word, &word.text, role.unwrap_or(Role::Any), None));
    }
}

struct Take<'a> {
    spec: &'a Spec,
    words: &'a [Word],
    at: &'a mut usize,
    act: &'a mut Act,
    replaced: &'a mut bool,
    in_place: &'a mut bool,
}

impl Take<'_> {
    fn option(&mut self, word: &Word) {
        let text = word.text.as_str();
        if self.spec.number && text.chars().skip(1).all(|c| c.is_ascii_digit()) {
            self.act.flags.push("-#".to_owned());
            return;
        }
        if text.starts_with("--") || self.spec.one {
            let (name, value) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
            return match self.find(name) {
                Some((name, opt)) => self.known(&name, &opt, value, word),
                None => match self.attached(text) {
                    Some((name, opt)) => self.known(&name, &opt, text.get(2..), word),
                    None => self.odd(word),
                },
            };
        }
        let letters = text.char_indices().skip(1);
        for (place, letter) in letters {
            let name = format!("-{letter}");
            let Some(opt) = self.spec.options.get(&name).cloned() else {
                return self.odd(word);
            };
            let rest = text.get(place + letter.len_utf8()..).unwrap_or_default();
            if !opt.values.is_empty() || opt.attached {
                return self.known(&name, &opt, (!rest.is_empty()).then_some(rest), word);
            }
            self.known(&name, &opt, None, word);
        }
    }

    /// `-DNAME=value` of programs whose long options begin with one dash.
    fn attached(&self, text: &str) -> Option<(String, Opt)> {
        let name = text.get(..2).filter(|_| self.spec.one && !text.starts_with("--"))?;
        self.spec
            .options
            .get(name)
            .filter(|o| o.attached || !o.values.is_empty())
            .map(|o| (name.to_owned(), o.clone()))
    }

    /// An option by its name, or by the beginning of one where that is told: a whole option that is not on the list could
    /// be the beginning of one that is.
    fn find(&self, name: &str) -> Option<(String, Opt)> {
        if let Some(opt) = self.spec.options.get(name) {
            return Some((name.to_owned(), opt.clone()));
        }
        if !self.spec.short || name.len() < 3 {
            return None;
        }
        let mut near: Vec<(&String, &Opt)> =
            self.spec.options.iter().filter(|(n, _)| n.starts_with(name)).collect();
        // One that does something stands for all.
        near.sort_by_key(|(n, o)| (o.effect.is_none(), n.len()));
        near.first().map(|(n, o)| ((*n).clone(), (*o).clone()))
    }

    fn known(&mut self, name: &str, opt: &Opt, value: Option<&str>, word: &Word) {
        self.act.flags.push(name.to_owned());
        self.act.effects.extend(opt.effect);
        *self.replaced |= opt.replaces;
        *self.in_place |= opt.in_place;
        let mut roles = opt.values.iter();
        if let Some(value) = value {
            match roles.next() {
                Some(role) => self.act.args.push(Arg::of(word, value, *role, Some(name))),
                None if opt.attached => self.act.args.push(Arg::of(word, value, Role::Text, Some(name))),
                None => self.odd(word),
            }
        } else if word.unknown {
            self.act.doubt(OPTION);
        }
        for role in roles {
            if let Some(next) = self.words.get(*self.at) {
                *self.at += 1;
                self.act.args.push(Arg::of(next, &next.text, *role, Some(name)));
            }
        }
    }

    /// An option that is not on the list: harmless where all are, or the end of understanding.
    fn odd(&mut self, word: &Word) {
        if !self.spec.any && !self.spec.open {
            self.act.doubt(OPTION);
        }
        if self.spec.open {
            // Options of that kind take a command.
            let lower = word.text.to_lowercase();
            if [
                "exec", "cmd", "command", "success", "failure", "shell", "spawn", "options", "hook", "pager",
                "wrapper", "eval", "runtool", "onpass", "onfail", "teardown",
            ]
            .iter()
            .any(|n| lower.contains(n))
            {
                self.act.doubt(OPTION);
            }
            let name = word.text.split('=').next().unwrap_or_default();
            self.act.flags.push(name.to_owned());
            self.act.args.push(Arg::of(word, &word.text, Role::Any, Some(name)));
            return;
        }
        let role = match (self.spec.any, self.spec.free) {
            (true, true) => Role::Text,
            (true, false) => Role::Read,
            (false, _) => Role::Any,
        };
        let name = word.text.split('=').next().unwrap_or_default();
        self.act.flags.push(name.to_owned());
        self.act.args.push(Arg::of(word, &word.text, role, Some(name)));
    }
}

/// Says what of an act's words cannot be unknown.
pub(super) fn settle(act: &mut Act) {
    let mut reads = false;
    for at in 0..act.args.len() {
        let Some(arg) = act.args.get(at) else { break };
        let (role, unknown, text) = (arg.role, arg.unknown, arg.text.clone());
        match role {
            Role::Code => act.doubt("code that is not read"),
            Role::Text | Role::Url | Role::Look => {}
            Role::Read | Role::Tree if unknown => reads = true,
            // Where that is, is followed with the other changes of folder.
            Role::Folder if text == TOP && matches!(act.name.as_str(), "cd" | "pushd") => {}
            _ if unknown => act.doubt(WORD),
            // A file of such a name is an option to whatever finds it by a pattern.
            Role::Write | Role::Make
                if text.rsplit('/').next().is_some_and(|n| n.starts_with('-') && n.len() > 1) =>
            {
                act.doubt("a file that is named like an option");
            }
            _ => {}
        }
    }
    if reads && matches!(act.unread, None | Some(MAYBE)) {
        act.unknown_reads = true;
        act.unread = Some(WORD);
    }
}
