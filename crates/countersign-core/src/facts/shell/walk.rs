//! From a script to its commands: what runs, in order, with the values that are known.
//!
//! A variable is known where one assignment on the way to its use decides it. Whatever may run or may not (`||`, `if`,
//! loops, pipes, background) makes what it assigns unknown from there on, and loops from their beginning. Functions are
//! read where they are called, substitutions where their word is expanded, wrappers (`wrappers`) where they stand.

use super::expand::{self, Bit, Known};
use super::script::{Assign, Call, Join, Raw, Redirect, Script, Step};
use super::word::{Form, Part, Value};
use super::wrappers::{self, Inner, Place};
use super::{Simple, UNKNOWN, Word, meaning, union};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Most commands of a line.
pub(super) const MAX_COMMANDS: usize = 256;
/// Most levels of substitutions, functions and wrappers inside each other.
const MAX_DEPTH: usize = 8;
/// Most values for which the body of a loop is read one by one.
const MAX_TURNS: usize = 8;
/// Most variables that are followed.
const MAX_VARIABLES: usize = 64;
/// Bound on all work: steps, words and the characters they become.
const FUEL: usize = 400_000;

/// What is found in a line.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The commands, in the order they run.
    pub commands: Vec<Simple>,
    /// Places of commands that this reader understands by itself: wrappers and builtins of the shell.
    pub through: BTreeSet<usize>,
    /// Why the line is not understood.
    pub opaque: Option<&'static str>,
}

/// Reads a line.
pub(super) fn walk(line: &str) -> Found {
    let mut walk = Walk { fuel: FUEL, ..Walk::default() };
    walk.text(&plain(line), &mut Scope::default(), &Context::default());
    walk.idle();
    walk.found
}

#[derive(Default)]
struct Walk {
    found: Found,
    fuel: usize,
    functions: BTreeMap<String, Vec<Rc<Step>>>,
    /// Functions that were certainly defined before anything that follows.
    certain: BTreeSet<String>,
    called: BTreeSet<String>,
    aliases: BTreeSet<String>,
    /// A handler may change variables at any time.
    hazy: bool,
    /// What is read from `/dev/fd/63`, `/dev/fd/62`, …
    pipes: Vec<Option<String>>,
    /// Whether the words of the command at hand have such a name of their own.
    fresh: bool,
}

/// What is known at a place.
#[derive(Clone, Debug, Default)]
struct Scope {
    variables: BTreeMap<String, Known>,
    positional: Option<Vec<Word>>,
}

/// What surrounds a step.
#[derive(Clone, Debug, Default)]
struct Context {
    input: Input,
    run_by: Option<usize>,
    depth: usize,
    /// Whether it may run or not, or elsewhere.
    maybe: bool,
}

/// Where a command's input comes from.
#[derive(Clone, Debug, Default)]
struct Input {
    from: Option<usize>,
    text: Option<Word>,
}

/// What a step leaves behind.
#[derive(Default)]
struct Output {
    /// The command that spoke last.
    last: Option<usize>,
    /// What was said, if that is known.
    text: Option<String>,
}

fn plain(text: &str) -> Word {
    Word { text: text.to_owned(), ..Word::default() }
}

impl Walk {
    fn doubt(&mut self, why: &'static str) {
        self.found.opaque = self.found.opaque.or(Some(why));
    }

    /// Takes from the bound on work; false when nothing is left.
    fn spend(&mut self, fuel: usize) -> bool {
        match self.fuel.checked_sub(fuel) {
            Some(left) => {
                self.fuel = left;
                true
            }
            None => {
                self.doubt("more work than is done for a line");
                self.fuel = 0;
                false
            }
        }
    }

    /// Collects functions before anything runs: a loop may call what its end defines.
    fn define(&mut self, script: &Script) {
        for step in script {
            each(step, &mut |step| {
                if let Step::Function { name, body } = step {
                    self.functions.entry(name.clone()).or_default().push(Rc::new((**body).clone()));
                }
            });
        }
    }

    fn script(&mut self, script: &Script, scope: &mut Scope, context: &Context) -> Output {
        let mut output = Output::default();
        let mut first = true;
        for step in script {
            let next = self.step(step, scope, context);
            // Of two that speak only the last place is told, and no text.
            output = Output { text: next.text.filter(|_| first), last: next.last.or(output.last) };
            first = false;
        }
        output
    }

    /// Reads a part that may run or not, on a copy of what is known.
    fn branch(&mut self, script: &Script, scope: &Scope, context: &Context) -> Output {
        let context = Context { maybe: true, ..context.clone() };
        self.script(script, &mut scope.clone(), &context)
    }

    fn step(&mut self, step: &Step, scope: &mut Scope, context: &Context) -> Output {
        if !self.spend(1 + scope.variables.len()) {
            return Output::default();
        }
        match step {
            Step::Call(call) => self.call(call, scope, context),
            Step::List(steps) => {
                let mut output = Output::default();
                let mut either = false;
                let mut begin = 0;
                for (at, (join, step)) in steps.iter().enumerate() {
                    either |= at > 0 && *join == Join::Or;
                    if either {
                        // What stands before may not have run.
                        let before = steps.get(begin..at).unwrap_or_default();
                        before.iter().for_each(|(_, s)| self.forget(s, scope));
                        begin = at;
                    }
                    let inner = Context { maybe: context.maybe || at > 0, ..context.clone() };
                    let next = self.step(step, scope, &inner);
                    output = Output { text: None, last: next.last.or(output.last) };
                }
                let sure = usize::from(!either);
                steps.iter().skip(sure).for_each(|(_, s)| self.forget(s, scope));
                output
            }
            Step::Pipe(steps) => {
                let mut inner = Context { maybe: true, ..context.clone() };
                let mut output = Output::default();
                for (at, step) in steps.iter().enumerate() {
                    if at > 0 {
                        inner.input = Input { from: output.last, text: output.text.as_deref().map(plain) };
                    }
                    output = self.step(step, &mut scope.clone(), &inner);
                }
                steps.iter().for_each(|s| self.forget(s, scope));
                // What runs in the background is not done when what follows begins.
                if steps.len() == 1 { Output { text: None, ..output } } else { output }
            }
            Step::Group { body, redirects } => {
                let mut around = Simple { run_by: context.run_by, ..Simple::default() };
                let text = self.redirect(redirects, &mut around, scope, context);
                // A function of a sub-shell is none behind it.
                let mut inner = Context { maybe: true, ..context.clone() };
                if text.is_some() || !around.reads.is_empty() {
                    inner.input = Input { from: None, text };
                }
                let written = !around.writes.is_empty();
                if written || !around.reads.is_empty() {
                    self.push(around, false);
                }
                let output = self.script(body, scope, &inner);
                self.forget(step, scope);
                if written { Output { text: None, ..output } } else { output }
            }
            Step::Branches { parts, repeats } => {
                if *repeats {
                    self.forget(step, scope);
                }
                let mut output = Output::default();
                let mut running = scope.clone();
                for part in parts {
                    let inner = Context { maybe: true, ..context.clone() };
                    let next = self.script(part, &mut running, &inner);
                    output.last = next.last.or(output.last);
                    // The next part may run without this one, or after it.
                    self.forget(step, &mut running);
                }
                self.forget(step, scope);
                output
            }
            Step::For { name, values, body, asks } => {
                self.turns(step, (name, values.as_ref(), body, *asks), scope, context)
            }
            Step::Case { words, bodies } => {
                words.iter().for_each(|w| self.inside(w, scope, context));
                let mut output = Output::default();
                for body in bodies {
                    output.last = self.branch(body, scope, context).last.or(output.last);
                }
                self.forget(step, scope);
                output
            }
            Step::Function { name, .. } => {
                if FIRST.contains(&name.as_str()) {
                    self.doubt("a function in the place of a builtin");
                }
                if !context.maybe {
                    self.certain.insert(name.clone());
                }
                Output::default()
            }
            Step::Test(words) => {
                words.iter().for_each(|w| self.inside(w, scope, context));
                Output::default()
            }
            Step::Arithmetic(words) => {
                words.iter().for_each(|w| self.arithmetic(w, scope, context));
                self.forget(step, scope);
                Output::default()
            }
        }
    }

    fn turns(
        &mut self,
        step: &Step,
        (name, values, body, asks): (&String, Option<&Vec<Raw>>, &Script, bool),
        scope: &mut Scope,
        context: &Context,
    ) -> Output {
        let words = match values {
            Some(raws) => raws.iter().flat_map(|raw| self.words(raw, scope, context)).collect(),
            None => scope.positional.clone().unwrap_or_else(|| vec![plain(&UNKNOWN.to_string())]),
        };
        self.forget(step, scope);
        if let Some(why) = meaning::changed(name, &Word { unknown: true, ..Word::default() }) {
            self.doubt(why);
        }
        let unknown = words.iter().any(|w| w.unknown || w.text.contains(UNKNOWN));
        let values: Vec<Known> = if asks || unknown || words.len() > MAX_TURNS {
            vec![Known::Nothing]
        } else {
            words
                .iter()
                .map(|w| if w.live { Known::Match(w.text.clone()) } else { Known::Text(w.text.clone()) })
                .collect()
        };
        let mut output = Output::default();
        for value in values {
            let mut inner = scope.clone();
            inner.variables.insert(name.clone(), value);
            output.last = self.branch(body, &inner, context).last.or(output.last);
        }
        self.forget(step, scope);
        output
    }

    /// Makes unknown whatever a step may assign.
    fn forget(&mut self, step: &Step, scope: &mut Scope) {
        let mut names = Some(BTreeSet::new());
        self.disturbed(step, &mut names, 0);
        match names {
            Some(names) => {
                for name in names {
                    scope.variables.insert(name, Known::Nothing);
                }
            }
            None => {
                scope.variables.values_mut().for_each(|v| *v = Known::Nothing);
                scope.positional = None;
            }
        }
    }

    /// Collects what a step may assign; nothing stands for all there is.
    fn disturbed(&mut self, step: &Step, names: &mut Option<BTreeSet<String>>, depth: usize) {
        if depth > MAX_DEPTH || !self.spend(1) {
            *names = None;
            return;
        }
        let mut calls = Vec::new();
        let mut seen = 0;
        each(step, &mut |step| {
            seen += 1;
            let mut add = |name: &str| {
                if let Some(names) = names.as_mut() {
                    names.insert(name.to_owned());
                }
            };
            match step {
                Step::For { name, .. } => add(name),
                Step::Call(call) => {
                    call.sets.iter().for_each(|set| add(&set.name));
                    let texts: Option<Vec<String>> = call.words.iter().map(literal).collect();
                    let takes = |word: &String| TAKES_NAMES.contains(&word.as_str());
                    let all = |word: &String| TAKES_CODE.contains(&word.as_str());
                    match texts {
                        Some(texts) => {
                            if texts.iter().any(all) {
                                *names = None;
                            } else if texts.iter().any(takes) {
                                texts
                                    .iter()
                                    .for_each(|t| add(t.split(['=', '+', '[']).next().unwrap_or_default()));
                            }
                            calls.extend(texts.into_iter().next());
                        }
                        None => {
                            let first: Vec<String> = call.words.iter().filter_map(literal).collect();
                            if first.iter().any(|w| all(w) || takes(w)) {
                                *names = None;
                            }
                            calls.extend(first.into_iter().next());
                        }
                    }
                }
                _ => {}
            }
            raws(step, &mut |raw| assigned_inside(raw, names));
        });
        self.spend(seen);
        for name in calls {
            for body in self.functions.get(&name).cloned().unwrap_or_default() {
                self.disturbed(&body, names, depth + 1);
            }
        }
    }

    fn call(&mut self, call: &Call, scope: &mut Scope, context: &Context) -> Output {
        let mut simple =
            Simple { run_by: context.run_by, piped_from: context.input.from, ..Simple::default() };
        for set in &call.sets {
            let value = self.value(set, scope, context);
            simple.sets.push((set.name.clone(), value));
        }
        for raw in &call.words {
            let declared =
                call.words.first().and_then(literal).is_some_and(|w| DECLARES.contains(&w.as_str()));
            let words = if declared && literal_assignment(raw) {
                vec![self.single(raw, true, scope, context)]
            } else {
                self.words(raw, scope, context)
            };
            simple.words.extend(words);
            if simple.words.len() > 4_096 {
                self.doubt("more words than are read");
                break;
            }
        }
        let fresh = call.words.iter().flatten().any(|p| matches!(p, Part::Pipe(_)));
        let text = self.redirect(&call.redirects, &mut simple, scope, context);
        self.fresh = fresh;
        let input = match text {
            Some(text) => Some(text),
            None if simple.reads.is_empty() => context.input.text.clone(),
            None => None,
        };
        if call.words.is_empty() {
            for (set, (name, value)) in call.sets.iter().zip(&simple.sets) {
                self.assign(name, value, set.partial, scope);
            }
            // What is set stays for what follows and is no command.
            simple.sets.clear();
            let last =
                (!simple.writes.is_empty() || !simple.reads.is_empty()).then(|| self.push(simple, false));
            return Output { last: last.flatten(), text: None };
        }
        for (name, value) in &simple.sets {
            if let Some(why) = meaning::changed(name, value) {
                self.doubt(why);
            }
        }
        let set: Vec<String> = simple.sets.iter().map(|(name, _)| name.clone()).collect();
        let output = self.invoke(simple, input, scope, context);
        // In front of some builtins, in some shells, they stay.
        scope.variables.extend(set.into_iter().map(|name| (name, Known::Nothing)));
        output
    }

    /// Runs a command whose words are known as far as they are.
    fn invoke(
        &mut self,
        simple: Simple,
        input: Option<Word>,
        scope: &mut Scope,
        context: &Context,
    ) -> Output {
        let pipes = std::mem::take(&mut self.fresh);
        let Some(first) = simple.words.first().cloned() else {
            // Every word of it became nothing.
            self.doubt("a command whose name is not known");
            return Output::default();
        };
        if first.unknown || first.live || first.text.is_empty() || first.text.starts_with('=') {
            self.doubt("a command whose name is not known");
        }
        if self.aliases.contains(&first.text) {
            self.doubt("an alias that the line defines");
        }
        let name = first.text.as_str();
        if self.functions.contains_key(name) {
            let output = self.function(&simple, scope, context);
            if self.certain.contains(name) {
                if !simple.writes.is_empty() || !simple.reads.is_empty() {
                    let around = Simple { words: Vec::new(), sets: Vec::new(), ..simple };
                    self.push(around, false);
                    return Output { text: None, ..output };
                }
                return output;
            }
        }
        let handler = name == "trap";
        let builtin = self.builtin(&simple, scope);
        // A name that was typed may be another descriptor.
        let once = |name: &str| simple.words.iter().filter(|w| w.text == name).count() == 1;
        let reading =
            wrappers::read(&simple, input.as_ref(), |name| self.piped(name).filter(|_| pipes && once(name)));
        let text = spoken(&simple, input.as_ref()).filter(|_| !self.functions.contains_key(&first.text));
        if let Some(why) = reading.opaque {
            self.doubt(why);
        }
        let Some(place) = self.push(simple, builtin || reading.understood) else { return Output::default() };
        let inner = Context {
            input: Input { from: context.input.from, text: reading.input },
            run_by: Some(place),
            depth: context.depth + 1,
            maybe: true,
        };
        let mut last = Some(place);
        if !reading.inner.is_empty() && inner.depth > MAX_DEPTH {
            self.doubt("more nesting than is read");
            return Output { last, text: None };
        }
        for run in reading.inner {
            let output = match run {
                Inner::Words { words, sets, place } => {
                    for (name, value) in &sets {
                        if let Some(why) = meaning::changed(name, value) {
                            self.doubt(why);
                        }
                    }
                    let from = inner.input.from;
                    let simple =
                        Simple { words, sets, run_by: inner.run_by, piped_from: from, ..Simple::default() };
                    let text = inner.input.text.clone();
                    match place {
                        Place::Here => self.invoke(simple, text, scope, &inner),
                        Place::Builtin => self.elsewhere(|walk| walk.invoke(simple, text, scope, &inner)),
                        Place::Elsewhere => {
                            self.elsewhere(|walk| walk.invoke(simple, text, &mut Scope::default(), &inner))
                        }
                    }
                }
                Inner::Script { text, args: _, place: Place::Here | Place::Builtin } => {
                    self.hazy |= handler;
                    let output = self.text(&text, scope, &inner);
                    // It may run later, and again.
                    scope.variables.values_mut().for_each(|v| *v = Known::Nothing);
                    output
                }
                Inner::Script { text, args, place: Place::Elsewhere } => {
                    let mut scope = Scope { positional: args, ..Scope::default() };
                    self.elsewhere(|walk| walk.text(&text, &mut scope, &inner))
                }
                Inner::Texts { words } => {
                    let simple = Simple { words, run_by: inner.run_by, ..Simple::default() };
                    Output { last: self.push(simple, true), text: None }
                }
            };
            last = output.last.or(last);
        }
        Output { last, text }
    }

    /// Reads something that runs in a shell or program that knows nothing of this line's functions and aliases.
    fn elsewhere(&mut self, read: impl FnOnce(&mut Walk) -> Output) -> Output {
        let functions = std::mem::take(&mut self.functions);
        let certain = std::mem::take(&mut self.certain);
        let aliases = std::mem::take(&mut self.aliases);
        let called = std::mem::take(&mut self.called);
        let output = read(self);
        self.idle();
        (self.functions, self.certain, self.aliases, self.called) = (functions, certain, aliases, called);
        output
    }

    /// Reads functions that nothing seen here calls: what is not seen may call them.
    fn idle(&mut self) {
        let idle: Vec<String> =
            self.functions.keys().filter(|name| !self.called.contains(*name)).cloned().collect();
        for name in idle {
            let call = Simple { words: vec![plain(&name)], ..Simple::default() };
            self.function(&call, &mut Scope::default(), &Context::default());
        }
    }

    /// Reads a text as a script of its own.
    fn text(&mut self, text: &Word, scope: &mut Scope, context: &Context) -> Output {
        if text.unknown || text.live {
            self.doubt("code that is not known");
            return Output::default();
        }
        if context.depth > MAX_DEPTH {
            self.doubt("more nesting than is read");
            return Output::default();
        }
        if !self.spend(text.text.len()) {
            return Output::default();
        }
        let mut output = Output::default();
        let (scripts, doubt) = union::scripts(&text.text);
        if let Some(why) = doubt {
            self.doubt(why);
        }
        let before = self.found.commands.len();
        let mut heads = Vec::new();
        for script in &scripts {
            let begin = self.found.commands.len();
            self.define(script);
            output = self.script(script, &mut scope.clone(), context);
            heads.push(self.programs(begin));
        }
        if heads.windows(2).any(|pair| matches!(pair, [a, b] if a != b)) {
            self.doubt("a line that two readers read differently");
        }
        if scripts.len() > 1 {
            self.merge(before);
            output.text = None;
        }
        for script in &scripts {
            script.iter().for_each(|s| self.forget(s, scope));
        }
        output
    }

    fn programs(&self, from: usize) -> BTreeSet<String> {
        let commands = self.found.commands.get(from..).unwrap_or_default();
        commands.iter().filter(|c| !c.words.is_empty()).map(|c| c.program().to_owned()).collect()
    }

    /// Takes out what the second reading of a text only repeats, if nothing points behind it.
    fn merge(&mut self, from: usize) {
        let mut kept: Vec<Simple> = Vec::new();
        let tail = self.found.commands.split_off(from.min(self.found.commands.len()));
        let mut place = BTreeMap::new();
        for (at, command) in tail.into_iter().enumerate() {
            let moved = |p: usize| place.get(&p).copied().unwrap_or(p);
            let command = Simple {
                piped_from: command.piped_from.map(moved),
                run_by: command.run_by.map(moved),
                ..command
            };
            let new = match kept.iter().position(|k| *k == command) {
                Some(same) => from + same,
                None => {
                    kept.push(command);
                    from + kept.len() - 1
                }
            };
            place.insert(from + at, new);
        }
        self.found.commands.extend(kept);
        self.found.through = self.found.through.iter().map(|p| place.get(p).copied().unwrap_or(*p)).collect();
    }

    /// Reads the bodies of a function.
    fn function(&mut self, call: &Simple, scope: &mut Scope, context: &Context) -> Output {
        let name = call.words.first().map(|w| w.text.clone()).unwrap_or_default();
        self.called.insert(name.clone());
        if context.depth >= MAX_DEPTH {
            self.doubt("functions that call each other too deep");
            return Output::default();
        }
        let bodies = self.functions.get(&name).cloned().unwrap_or_default();
        let inner = Context { depth: context.depth + 1, maybe: true, ..context.clone() };
        let args: Vec<Word> = call.words.iter().skip(1).cloned().collect();
        let known = !args.is_empty() && args.iter().all(|w| !w.unknown && !w.live);
        let mut output = Output::default();
        for body in &bodies {
            let mut local = scope.clone();
            local.positional = known.then(|| args.clone());
            for (name, value) in &call.sets {
                self.assign(name, value, false, &mut local);
            }
            output.last = self.step(body, &mut local, &inner).last.or(output.last);
        }
        for body in &bodies {
            self.forget(body, scope);
        }
        output
    }

    /// Follows what builtins do to variables, functions and aliases; whether the command is nothing but that.
    fn builtin(&mut self, simple: &Simple, scope: &mut Scope) -> bool {
        let name = simple.words.first().map(|w| w.text.as_str()).unwrap_or_default();
        let args = || simple.words.iter().skip(1);
        let takes = TAKES_NAMES.contains(&name) || matches!(name, "test" | "[");
        // A name with an index is arithmetic, in which an expansion runs, even a quoted one.
        if takes && args().any(|w| w.text.contains('[') && w.text.contains(['$', '`'])) {
            self.doubt("a name that is not understood");
        }
        match name {
            "export" | "declare" | "typeset" | "local" | "readonly" => {
                for word in args() {
                    match word.text.split_once('=') {
                        _ if word.text.starts_with('-') => {
                            if !word.text.trim_start_matches('-').chars().all(|c| "grxaAp".contains(c))
                                || word.unknown
                            {
                                self.doubt("a declaration that is not understood");
                            }
                        }
                        Some((name, value)) => {
                            let partial = name.ends_with(['+', ']']);
                            let name = name.split(['+', '[']).next().unwrap_or_default().to_owned();
                            let value = Word { text: value.to_owned(), ..word.clone() };
                            self.assign(&name, &value, partial, scope);
                        }
                        None if word.unknown => self.doubt("a declaration that is not understood"),
                        None => {
                            if matches!(name, "declare" | "typeset" | "local") {
                                scope.variables.insert(word.text.clone(), Known::Nothing);
                            }
                        }
                    }
                }
                for (name, value) in &simple.sets {
                    self.assign(name, value, true, scope);
                }
                true
            }
            "read" | "mapfile" | "readarray" | "getopts" | "unset" => {
                for word in args() {
                    let nothing = Word { unknown: true, ..Word::default() };
                    if word.unknown
                        || (name == "unset" && word.text.starts_with("-f"))
                        || word.text.starts_with("-C")
                    {
                        self.doubt("a name that is not understood");
                    }
                    self.assign(&word.text, &nothing, false, scope);
                }
                let functions = name == "unset" && args().any(|w| self.functions.contains_key(&w.text));
                if functions {
                    self.doubt("a function that is taken back");
                }
                true
            }
            "printf" => {
                let mut words = args().skip_while(|w| !w.text.starts_with("-v"));
                if let Some(word) = words.next() {
                    let name = word.text.strip_prefix("-v").filter(|n| !n.is_empty()).map(str::to_owned);
                    let name = name.or(words.next().map(|w| w.text.clone())).unwrap_or_default();
                    self.assign(&name, &Word { unknown: true, ..Word::default() }, false, scope);
                }
                false
            }
            "let" => {
                self.doubt("arithmetic that is not understood");
                scope.variables.values_mut().for_each(|v| *v = Known::Nothing);
                false
            }
            "alias" => {
                let names = args().filter_map(|w| w.text.split_once('=')).map(|(name, _)| name.to_owned());
                self.aliases.extend(names);
                false
            }
            "set" => {
                // `set -- words` changes what `$1` is; options that only make the shell stricter change nothing.
                scope.positional = None;
                let harmless = |w: &Word| {
                    !w.unknown
                        && (matches!(w.text.as_str(), "pipefail" | "errexit" | "nounset" | "xtrace")
                            || (w.text.starts_with(['-', '+'])
                                && w.text.len() > 1
                                && w.text.chars().skip(1).all(|c| "euxoEv".contains(c))))
                };
                args().all(harmless) && args().next().is_some()
            }
            "shift" => {
                scope.positional = None;
                true
            }
            ":" | "exit" | "return" | "break" | "continue" | "wait" => true,
            _ => false,
        }
    }

    fn assign(&mut self, name: &str, value: &Word, partial: bool, scope: &mut Scope) {
        if let Some(why) = meaning::changed(name, value) {
            self.doubt(why);
        }
        let known = match value {
            _ if partial || value.unknown || self.hazy || MOVING.contains(&name) => Known::Nothing,
            value if !value.live => Known::Text(value.text.clone()),
            value if value.text == "~" => Known::Home,
            _ => Known::Nothing,
        };
        if scope.variables.len() >= MAX_VARIABLES && !scope.variables.contains_key(name) {
            // What is not in the table is unknown anyway.
            return;
        }
        scope.variables.insert(name.to_owned(), known);
    }

    fn push(&mut self, simple: Simple, understood: bool) -> Option<usize> {
        let place = self.found.commands.len();
        if place >= MAX_COMMANDS {
            self.doubt("more commands than are read");
            self.fuel = 0;
            return None;
        }
        if understood {
            self.found.through.insert(place);
        }
        self.found.commands.push(simple);
        Some(place)
    }

    /// Redirections of a command; the text it gets as input, if there is one.
    fn redirect(
        &mut self,
        redirects: &[Redirect],
        simple: &mut Simple,
        scope: &mut Scope,
        context: &Context,
    ) -> Option<Word> {
        let mut text = None;
        for redirect in redirects {
            let (raw, file) = match redirect {
                Redirect::Text(raw) => {
                    let word = self.single(raw, false, scope, context);
                    simple.fed = true;
                    simple.input = Some(word.clone());
                    text = Some(word);
                    continue;
                }
                Redirect::Aside(raw) => {
                    self.inside(raw, scope, context);
                    continue;
                }
                Redirect::Hear(raw) => {
                    // What the descriptor is, is not known; a name for it is kept where reads are.
                    let word = self.single(raw, true, scope, context);
                    text = None;
                    simple.reads.push(Word { text: format!("/dev/fd/{}", word.text), ..word });
                    continue;
                }
                Redirect::Read(raw) | Redirect::Write(raw) | Redirect::Copy(raw) => (raw, redirect),
            };
            let mut words = self.words(raw, scope, context);
            let word = match (words.pop(), words.is_empty()) {
                (Some(word), true) => word,
                _ => {
                    self.doubt("a redirection to a file that is not known");
                    continue;
                }
            };
            let descriptor = word.text.chars().all(|c| c.is_ascii_digit() || c == '-');
            if matches!(file, Redirect::Copy(_)) && descriptor {
                continue;
            }
            if word.unknown {
                self.doubt("a redirection to a file that is not known");
            }
            if word.text.starts_with("/dev/tcp") || word.text.starts_with("/dev/udp") {
                self.doubt("a connection that a redirection opens");
            }
            match file {
                Redirect::Read(raw) => {
                    let said = self.piped(&word.text).flatten();
                    text = said.filter(|_| matches!(raw.as_slice(), [Part::Pipe(_)])).as_deref().map(plain);
                    simple.reads.push(word);
                }
                _ => simple.writes.push(word),
            }
        }
        text
    }

    /// What is read from the name of a process substitution: a text if it is known, and whether it is such a name.
    fn piped(&self, name: &str) -> Option<Option<String>> {
        let number: usize = name.strip_prefix("/dev/fd/")?.parse().ok()?;
        self.pipes.get(63usize.checked_sub(number)?).cloned()
    }

    fn value(&mut self, set: &Assign, scope: &mut Scope, context: &Context) -> Word {
        match set.value.as_slice() {
            [raw] if !set.partial => self.single(raw, true, scope, context),
            several => {
                for raw in several {
                    self.inside(raw, scope, context);
                }
                Word { text: UNKNOWN.to_string(), live: false, unknown: true }
            }
        }
    }

    /// Expands a word to the words it becomes.
    fn words(&mut self, raw: &Raw, scope: &mut Scope, context: &Context) -> Vec<Word> {
        let raws = expand::braces(raw).unwrap_or_else(|why| {
            self.doubt(why);
            vec![raw.clone()]
        });
        let mut out = Vec::new();
        for raw in raws {
            let bits = self.bits(&raw, scope, context, 0);
            let (words, doubt) = expand::words(&bits, false);
            if let Some(why) = doubt {
                self.doubt(why);
            }
            out.extend(words);
        }
        out
    }

    /// Expands what stays one word: an assignment's value, a here-document.
    fn single(&mut self, raw: &Raw, assigned: bool, scope: &mut Scope, context: &Context) -> Word {
        let bits = self.bits(raw, scope, context, 0);
        let joined: Vec<Bit> = bits
            .into_iter()
            .map(|b| match b {
                Bit::Break => Bit::Char(' ', false),
                // A pattern is text where no files are looked for; a tilde stays one.
                Bit::Char(c, _) if !assigned || c != '~' => Bit::Char(c, false),
                b => b,
            })
            .collect();
        let (mut words, doubt) = expand::words(&joined, assigned);
        if let Some(why) = doubt.filter(|_| assigned) {
            self.doubt(why);
        }
        words.pop().unwrap_or_default()
    }

    /// Runs what is inside a word whose value nobody needs.
    fn inside(&mut self, raw: &Raw, scope: &mut Scope, context: &Context) {
        self.bits(raw, scope, context, 0);
    }

    /// Expressions read the values of their variables as expressions, which may hold an index that runs a command.
    fn arithmetic(&mut self, raw: &Raw, scope: &mut Scope, context: &Context) {
        let plain = |known: &Known| match known {
            Known::Text(text) => text.chars().all(|c| c.is_ascii_alphanumeric() || "_+-*/% ".contains(c)),
            Known::Nothing => true,
            Known::Match(_) | Known::Home | Known::Here => false,
        };
        for part in raw {
            if let Part::Quoted(text) | Part::Bare(text) = part {
                let names = text.split(|c: char| !(c == '_' || c.is_ascii_alphanumeric()));
                if names.filter_map(|n| scope.variables.get(n)).any(|known| !plain(known)) {
                    self.doubt("arithmetic that is not understood");
                }
            }
        }
        let bits = self.bits(raw, scope, context, 0);
        // What an expansion brought in is read as an expression too.
        if bits.iter().any(|b| matches!(b, Bit::Char('`' | '\'', _))) {
            self.doubt("arithmetic that is not understood");
        }
    }

    fn bits(&mut self, raw: &Raw, scope: &mut Scope, context: &Context, depth: usize) -> Vec<Bit> {
        let mut out = Vec::new();
        if depth > MAX_DEPTH || !self.spend(1) {
            self.doubt("more nesting than is read");
            return vec![Bit::Unknown];
        }
        for part in raw {
            match part {
                Part::Quoted(text) => {
                    out.push(Bit::Quote);
                    out.extend(text.chars().map(|c| Bit::Char(c, false)));
                }
                Part::Bare(text) => out.extend(text.chars().map(|c| Bit::Char(c, true))),
                Part::Value(value) => self.parameter(value, scope, context, depth, &mut out),
                Part::Output { script, quoted } => {
                    let known = self.substitution(script, scope, context);
                    expand::bits(&known, *quoted, &mut out);
                }
                Part::Pipe(script) => {
                    let said = self.run(script, scope, context);
                    self.pipes.push(said.text);
                    let name = format!("/dev/fd/{}", 64usize.saturating_sub(self.pipes.len()));
                    expand::bits(&Known::Text(name), true, &mut out);
                }
                Part::Number(inner) => {
                    self.arithmetic(inner, scope, context);
                    let mut names = Some(BTreeSet::new());
                    assigned_inside(raw, &mut names);
                    for name in names.into_iter().flatten() {
                        if let Some(why) = meaning::changed(&name, &Word { unknown: true, ..Word::default() })
                        {
                            self.doubt(why);
                        }
                        scope.variables.insert(name, Known::Nothing);
                    }
                    out.extend([Bit::Quote, Bit::Unknown]);
                }
            }
            if !self.spend(1 + out.len() / 16) {
                return vec![Bit::Unknown];
            }
        }
        self.spend(out.len() / 4);
        out
    }

    fn parameter(
        &mut self,
        value: &Value,
        scope: &mut Scope,
        context: &Context,
        depth: usize,
        out: &mut Vec<Bit>,
    ) {
        let Value { name, quoted, form } = value;
        let known = scope.variables.get(name).cloned();
        match form {
            Form::Plain => match (name.as_str(), &scope.positional) {
                ("@" | "*", Some(words)) => {
                    for (at, word) in words.clone().iter().enumerate() {
                        if at > 0 {
                            out.push(if name == "@" || !quoted { Bit::Break } else { Bit::Char(' ', false) });
                        }
                        expand::bits(&Known::Text(word.text.clone()), *quoted, out);
                    }
                }
                (digit, Some(words)) if digit != "0" && digit.chars().all(|c| c.is_ascii_digit()) => {
                    let at = digit.parse::<usize>().unwrap_or(usize::MAX);
                    let text = words.get(at.wrapping_sub(1)).map(|w| w.text.clone()).unwrap_or_default();
                    expand::bits(&Known::Text(text), *quoted, out);
                }
                _ => {
                    let known = known.unwrap_or(match name.as_str() {
                        "HOME" => Known::Home,
                        "PWD" => Known::Here,
                        _ => Known::Nothing,
                    });
                    expand::bits(&known, *quoted, out);
                }
            },
            Form::Default(inner) => {
                // Nobody knows which of the two it is, unless the variable is.
                let other = self.bits(inner, scope, context, depth + 1);
                match known {
                    Some(Known::Text(text)) if !text.is_empty() => {
                        expand::bits(&Known::Text(text), *quoted, out)
                    }
                    Some(Known::Text(_)) if *quoted => out.extend(other),
                    _ => expand::bits(&Known::Nothing, *quoted, out),
                }
            }
            Form::Assign(inner) => {
                self.inside(inner, scope, context);
                if let Some(why) = meaning::changed(name, &Word { unknown: true, ..Word::default() }) {
                    self.doubt(why);
                }
                scope.variables.insert(name.clone(), Known::Nothing);
                expand::bits(&Known::Nothing, *quoted, out);
            }
            Form::Other(inner) => {
                self.inside(inner, scope, context);
                expand::bits(&Known::Nothing, *quoted, out);
            }
        }
    }

    /// The value of a command substitution.
    fn substitution(&mut self, script: &str, scope: &mut Scope, context: &Context) -> Known {
        let output = self.run(script, scope, context);
        let alone = output.last.and_then(|at| self.found.commands.get(at));
        let here = alone.is_some_and(|c| c.words.len() == 1 && c.program() == "pwd" && c.writes.is_empty());
        match output.text {
            Some(text) => Known::Text(text.trim_end_matches('\n').to_owned()),
            None if here && script.trim() == "pwd" => Known::Here,
            None => Known::Nothing,
        }
    }

    fn run(&mut self, script: &str, scope: &mut Scope, context: &Context) -> Output {
        let inner = Context { input: Input::default(), run_by: None, depth: context.depth + 1, maybe: true };
        self.text(&plain(script), &mut scope.clone(), &inner)
    }
}

/// Variables that the shell itself changes.
const MOVING: &[&str] = &[
    "_",
    "RANDOM",
    "SRANDOM",
    "SECONDS",
    "LINENO",
    "EPOCHSECONDS",
    "EPOCHREALTIME",
    "BASHPID",
    "BASH_COMMAND",
    "BASH_SUBSHELL",
    "FUNCNAME",
    "PIPESTATUS",
    "OPTARG",
    "OPTIND",
    "REPLY",
    "COLUMNS",
    "LINES",
    "MAPFILE",
    "COPROC",
    "BASH_REMATCH",
    "argv",
    "status",
    "pipestatus",
    "match",
    "MATCH",
    "HISTCMD",
];
/// Builtins that some shells look for before functions.
const FIRST: &[&str] = &[
    ".", ":", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift",
    "source", "times", "trap", "unset", "command", "builtin", "declare", "typeset", "local",
];
/// Builtins whose arguments may be assignments.
const DECLARES: &[&str] = &["export", "declare", "typeset", "local", "readonly"];
/// Builtins that set the variables their arguments name.
const TAKES_NAMES: &[&str] = &[
    "export",
    "declare",
    "typeset",
    "local",
    "readonly",
    "read",
    "mapfile",
    "readarray",
    "getopts",
    "unset",
    "printf",
    "let",
    "wait",
];
/// Builtins after which nothing is known of variables.
const TAKES_CODE: &[&str] = &["eval", "source", ".", "trap", "let", "shift", "set"];

/// What a command says, where that is plain: `echo` and `printf` of literal words, `cat` of a text.
fn spoken(simple: &Simple, input: Option<&Word>) -> Option<String> {
    if !simple.writes.is_empty() || simple.words.iter().any(|w| w.unknown || w.live) {
        return None;
    }
    let args: Vec<&str> = simple.args().collect();
    match (simple.words.first()?.text.as_str(), args.as_slice()) {
        ("echo", ["-n", rest @ ..]) if !rest.iter().any(|w| w.starts_with('-') || w.contains('\\')) => {
            Some(rest.join(" "))
        }
        ("echo", args) if !args.first().is_some_and(|w| w.starts_with('-')) => {
            (!args.iter().any(|w| w.contains('\\'))).then(|| args.join(" ") + "\n")
        }
        ("printf", ["%s", text]) => Some((*text).to_owned()),
        ("printf", ["%s\\n", text]) => Some(format!("{text}\n")),
        ("printf", [text]) if !text.contains('%') && !text.starts_with('-') => {
            let said = text.replace("\\n", "\n");
            (!said.contains('\\')).then_some(said)
        }
        ("cat", [] | ["-"]) if simple.reads.is_empty() => {
            input.filter(|w| !w.unknown && !w.live).map(|w| w.text.clone())
        }
        _ => None,
    }
}

/// The text of a word that is all text.
fn literal(raw: &Raw) -> Option<String> {
    raw.iter()
        .map(|part| match part {
            Part::Quoted(text) | Part::Bare(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn literal_assignment(raw: &Raw) -> bool {
    matches!(raw.first(), Some(Part::Bare(text)) if text.contains('='))
}

/// Variables that an expansion inside a word assigns.
fn assigned_inside(raw: &Raw, names: &mut Option<BTreeSet<String>>) {
    for part in raw {
        match part {
            Part::Number(inner) => {
                for part in inner {
                    if let Part::Quoted(text) | Part::Bare(text) = part
                        && (text.contains('=') || text.contains("++") || text.contains("--"))
                        && let Some(names) = names.as_mut()
                    {
                        names.extend(
                            text.split(|c: char| !(c == '_' || c.is_ascii_alphanumeric()))
                                .filter(|n| !n.is_empty())
                                .map(str::to_owned),
                        );
                    }
                }
                assigned_inside(inner, names);
            }
            Part::Value(value) => match &value.form {
                Form::Plain => {}
                Form::Assign(inner) => {
                    if let Some(names) = names.as_mut() {
                        names.insert(value.name.clone());
                    }
                    assigned_inside(inner, names);
                }
                Form::Default(inner) | Form::Other(inner) => assigned_inside(inner, names),
            },
            Part::Quoted(_) | Part::Bare(_) | Part::Output { .. } | Part::Pipe(_) => {}
        }
    }
}

/// Every step in a step, itself first. The readers bound how deep steps nest.
fn each(step: &Step, look: &mut impl FnMut(&Step)) {
    look(step);
    let mut all = |steps: &[Step]| steps.iter().for_each(|s| each(s, look));
    match step {
        Step::Call(_) | Step::Test(_) | Step::Arithmetic(_) => {}
        Step::List(steps) => steps.iter().for_each(|(_, s)| each(s, look)),
        Step::Pipe(steps) => all(steps),
        Step::Group { body, .. } | Step::For { body, .. } => all(body),
        Step::Branches { parts, .. } => parts.iter().for_each(|p| all(p)),
        Step::Case { bodies, .. } => bodies.iter().for_each(|b| all(b)),
        Step::Function { body, .. } => each(body, look),
    }
}

/// Every word of a step that is not a word of a step inside it.
fn raws(step: &Step, look: &mut impl FnMut(&Raw)) {
    let redirects = |list: &[Redirect], look: &mut dyn FnMut(&Raw)| {
        for redirect in list {
            match redirect {
                Redirect::Read(raw)
                | Redirect::Write(raw)
                | Redirect::Copy(raw)
                | Redirect::Hear(raw)
                | Redirect::Aside(raw)
                | Redirect::Text(raw) => look(raw),
            }
        }
    };
    match step {
        Step::Call(call) => {
            call.words.iter().for_each(&mut *look);
            call.sets.iter().flat_map(|s| &s.value).for_each(&mut *look);
            redirects(&call.redirects, look);
        }
        Step::Group { redirects: list, .. } => redirects(list, look),
        Step::For { values, .. } => values.iter().flatten().for_each(&mut *look),
        Step::Case { words, .. } | Step::Test(words) => words.iter().for_each(&mut *look),
        Step::Arithmetic(words) => {
            // The whole is a number.
            words.iter().for_each(|w| look(&vec![Part::Number(w.clone())]));
        }
        Step::List(_) | Step::Pipe(_) | Step::Branches { .. } | Step::Function { .. } => {}
    }
}
