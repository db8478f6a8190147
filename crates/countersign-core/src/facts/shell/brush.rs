//! The first reader: brush-parser, a grammar over tokens, from a line to a script.
//!
//! Only `uncached_tokenize_str` and `parse_tokens` are used: the crate's other entry points keep what they read in caches
//! of the process, and lines hold secrets. Words are taken from the line by their places and read by `word`. Matches
//! name every variant, so a new one breaks the build instead of being passed over.

use super::script::{
    Assign, Call, Join, Raw, Redirect, Script, Step, assignment, background, redirected, tests,
};
use super::word;
use brush_parser::ast::{self, CommandPrefixOrSuffixItem as Item, CompoundCommand as Compound};
use brush_parser::{ParserOptions, SourceSpan, Token, TokenizerOptions, parse_tokens, uncached_tokenize_str};

type Result<T> = std::result::Result<T, &'static str>;

/// What is said of text whose nesting is over a bound.
pub(super) const DEEP: &str = "more nesting than is read";
/// What is said of a number in front of a redirection that the grammar would fail on. Bash takes such a number for a word.
pub(super) const NUMBER: &str = "a file number that is too large";
/// Bound on the work of the grammar, which tries again from the start of a bracket where an attempt failed.
const MAX_WORK: usize = 2_000_000;
/// Most words that may open a compound command; the grammar descends for each.
const MAX_OPENERS: usize = 64;

/// Reads a line whose nesting was looked at before.
pub(super) fn read(line: &str) -> Result<Script> {
    let options = TokenizerOptions::default();
    let tokens = uncached_tokenize_str(line, &options).map_err(|_| "an unfinished quote or bracket")?;
    bounded(&tokens)?;
    let program =
        parse_tokens(&tokens, &ParserOptions::default()).map_err(|_| "a syntax that is not read")?;
    let reader = Reader { at: line.char_indices().map(|(at, _)| at).chain([line.len()]).collect(), line };
    let mut script = Script::new();
    for list in &program.complete_commands {
        script.extend(reader.list(list)?);
    }
    Ok(script)
}

/// Refuses what would make the grammar try too often, descend too deep or panic.
fn bounded(tokens: &[Token]) -> Result<()> {
    const WHY: Result<()> = Err(DEEP);
    let number = |pair: &[Token]| match pair {
        [Token::Word(w, number), Token::Operator(o, arrow)] => {
            let touches = number.end.index == arrow.start.index && o.starts_with(['<', '>']);
            touches && w.len() > 9 && w.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    };
    if tokens.windows(2).any(number) {
        return Err(NUMBER);
    }
    let mut openers = 0usize;
    let mut cases = 0u32;
    let mut depth = 0u32;
    let mut deepest = 0u32;
    for token in tokens {
        match token {
            Token::Operator(o, _) if o == "(" => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            // Patterns of `case` close what nothing opened, so nothing is taken back where there are any.
            Token::Operator(o, _) if o == ")" && cases == 0 => depth = depth.saturating_sub(1),
            Token::Operator(..) => {}
            Token::Word(w, _) => {
                cases += u32::from(w == "case");
                let opens =
                    ["if", "elif", "while", "until", "for", "case", "{", "[[", "function", "coproc", "!"];
                openers += usize::from(opens.contains(&w.as_str()));
                // An index in an assignment is read by descent, with attempts of its own.
                let name = w.trim_start_matches(|c: char| c == '_' || c.is_ascii_alphanumeric());
                if name.starts_with('[') && name.len() < w.len() {
                    let index = name.split("]=").next().unwrap_or(name);
                    if index.len() > 256 || index.chars().filter(|c| "[({\"`$".contains(*c)).count() > 8 {
                        return WHY;
                    }
                }
            }
        }
    }
    if openers > MAX_OPENERS || deepest > 12 {
        return WHY;
    }
    let work = 3usize.saturating_pow(deepest).saturating_mul(2usize.saturating_pow(cases));
    if work.saturating_mul(tokens.len()) > MAX_WORK { WHY } else { Ok(()) }
}

struct Reader<'a> {
    /// Byte offset of each character.
    at: Vec<usize>,
    line: &'a str,
}

impl Reader<'_> {
    /// The text of a word as it stands in the line. The tokenizer writes substitutions anew, so its own text is only
    /// compared.
    fn source<'w>(&'w self, word: &'w ast::Word) -> Result<&'w str> {
        let Some(place) = &word.loc else { return Ok(&word.value) };
        let text = self.at(place.start.index, place.end.index).unwrap_or_default();
        let dense = |t: &str| t.split_whitespace().collect::<String>();
        if text.replace("\\\n", "") == word.value {
            Ok(text)
        } else if !word.value.contains(['$', '`', '(']) {
            // Behind a here-document places are off, and nothing was written anew.
            Ok(&word.value)
        } else if dense(text) == dense(&word.value) {
            Ok(text)
        } else if !word.value.contains(['\n', '#', '\\']) && !word.value.contains("<<") {
            // What was written anew here lost blanks at most.
            Ok(&word.value)
        } else {
            Err("a word that is not found in the line")
        }
    }

    fn word(&self, word: &ast::Word) -> Result<Raw> {
        word::read(self.source(word)?)
    }

    fn words<'w>(&self, words: impl IntoIterator<Item = &'w ast::Word>) -> Result<Vec<Raw>> {
        words.into_iter().map(|w| self.word(w)).collect()
    }

    fn list(&self, list: &ast::CompoundList) -> Result<Script> {
        list.0
            .iter()
            .map(|ast::CompoundListItem(and_or, separator)| {
                let step = self.and_or(and_or)?;
                Ok(match separator {
                    ast::SeparatorOperator::Async => background(step),
                    ast::SeparatorOperator::Sequence => step,
                })
            })
            .collect()
    }

    fn and_or(&self, list: &ast::AndOrList) -> Result<Step> {
        let mut steps = vec![(Join::And, self.pipeline(&list.first)?)];
        for next in &list.additional {
            steps.push(match next {
                ast::AndOr::And(pipeline) => (Join::And, self.pipeline(pipeline)?),
                ast::AndOr::Or(pipeline) => (Join::Or, self.pipeline(pipeline)?),
            });
        }
        Ok(match steps.len() {
            1 => steps.remove(0).1,
            _ => Step::List(steps),
        })
    }

    fn pipeline(&self, pipeline: &ast::Pipeline) -> Result<Step> {
        let ast::Pipeline { timed, bang, seq } = pipeline;
        let _ = bang;
        match timed {
            None | Some(ast::PipelineTimed::Timed(_) | ast::PipelineTimed::TimedWithPosixOutput(_)) => {}
        }
        let mut steps = seq.iter().map(|c| self.command(c)).collect::<Result<Vec<_>>>()?;
        Ok(match steps.len() {
            1 => steps.remove(0),
            _ => Step::Pipe(steps),
        })
    }

    fn command(&self, command: &ast::Command) -> Result<Step> {
        match command {
            ast::Command::Simple(simple) => self.simple(simple).map(Step::Call),
            ast::Command::Compound(compound, redirects) => {
                Ok(redirected(self.compound(compound)?, self.redirects(redirects.as_ref())?))
            }
            ast::Command::Function(ast::FunctionDefinition { fname, body }) => {
                let ast::FunctionBody(compound, redirects) = body;
                let body = redirected(self.compound(compound)?, self.redirects(redirects.as_ref())?);
                Ok(Step::Function { name: fname.value.clone(), body: Box::new(body) })
            }
            ast::Command::ExtendedTest(test, redirects) => {
                self.test(&test.expr)?;
                let text = self.between(&test.loc, "[[", "]]")?;
                let test = Step::Test(tests([text])?);
                Ok(redirected(test, self.redirects(redirects.as_ref())?))
            }
        }
    }

    fn compound(&self, compound: &Compound) -> Result<Step> {
        Ok(match compound {
            Compound::Arithmetic(command) => {
                Step::Arithmetic(vec![word::number(self.between(&command.loc, "((", "))")?)?])
            }
            Compound::ArithmeticForClause(clause) => {
                let head = [&clause.initializer, &clause.condition, &clause.updater]
                    .into_iter()
                    .flatten()
                    .map(|e| word::number(&e.value))
                    .collect::<Result<Vec<_>>>()?;
                let body = self.list(&clause.body.list)?;
                Step::Branches { parts: vec![vec![Step::Arithmetic(head)], body], repeats: true }
            }
            Compound::BraceGroup(group) => {
                Step::Group { body: self.list(&group.list)?, redirects: Vec::new() }
            }
            Compound::Subshell(shell) => Step::Group { body: self.list(&shell.list)?, redirects: Vec::new() },
            Compound::ForClause(clause) => Step::For {
                name: clause.variable_name.clone(),
                values: clause.values.as_ref().map(|v| self.words(v)).transpose()?,
                body: self.list(&clause.body.list)?,
                asks: false,
            },
            Compound::CaseClause(clause) => {
                let patterns = clause.cases.iter().flat_map(|case| &case.patterns);
                let texts = std::iter::once(&clause.value).chain(patterns).map(|w| self.source(w));
                let texts = texts.collect::<Result<Vec<_>>>()?;
                let bodies = clause.cases.iter().map(|case| match case.post_action {
                    ast::CaseItemPostAction::ExitCase
                    | ast::CaseItemPostAction::UnconditionallyExecuteNextCaseItem
                    | ast::CaseItemPostAction::ContinueEvaluatingCases => {
                        case.cmd.as_ref().map_or(Ok(Script::new()), |list| self.list(list))
                    }
                });
                Step::Case { words: tests(texts)?, bodies: bodies.collect::<Result<_>>()? }
            }
            Compound::IfClause(clause) => {
                let mut parts = vec![self.list(&clause.condition)?, self.list(&clause.then)?];
                for branch in clause.elses.iter().flatten() {
                    if let Some(condition) = &branch.condition {
                        parts.push(self.list(condition)?);
                    }
                    parts.push(self.list(&branch.body)?);
                }
                Step::Branches { parts, repeats: false }
            }
            Compound::WhileClause(ast::WhileOrUntilClauseCommand(condition, body, _))
            | Compound::UntilClause(ast::WhileOrUntilClauseCommand(condition, body, _)) => {
                Step::Branches { parts: vec![self.list(condition)?, self.list(&body.list)?], repeats: true }
            }
            Compound::Coprocess(coprocess) => background(self.command(&coprocess.body)?),
        })
    }

    fn simple(&self, simple: &ast::SimpleCommand) -> Result<Call> {
        let mut call = Call::default();
        for item in simple.prefix.iter().flat_map(|p| &p.0) {
            match item {
                Item::IoRedirect(redirect) => self.redirect(redirect, &mut call.redirects)?,
                Item::AssignmentWord(_, word) => call.sets.push(self.assignment(word)?),
                Item::Word(_) | Item::ProcessSubstitution(..) => return Err("a syntax that is not read"),
            }
        }
        if let Some(word) = &simple.word_or_name {
            call.words.push(self.word(word)?);
        }
        for item in simple.suffix.iter().flat_map(|s| &s.0) {
            match item {
                Item::IoRedirect(redirect) => self.redirect(redirect, &mut call.redirects)?,
                Item::Word(word) => call.words.push(self.word(word)?),
                // An argument that looks like an assignment is one for some builtins, which are told apart later; only
                // an array's brackets would be lost in a word.
                Item::AssignmentWord(assignment, word) => match assignment.value {
                    ast::AssignmentValue::Scalar(_) => call.words.push(self.word(word)?),
                    ast::AssignmentValue::Array(_) => call.sets.push(self.assignment(word)?),
                },
                Item::ProcessSubstitution(_, shell) => call.words.push(vec![self.substituted(shell)?]),
            }
        }
        Ok(call)
    }

    /// `name=value`, `name+=value`, `name[index]=value`, `name=(…)`.
    fn assignment(&self, word: &ast::Word) -> Result<Assign> {
        assignment(self.source(word)?)
    }

    fn redirects(&self, list: Option<&ast::RedirectList>) -> Result<Vec<Redirect>> {
        let mut out = Vec::new();
        for redirect in list.iter().flat_map(|l| &l.0) {
            self.redirect(redirect, &mut out)?;
        }
        Ok(out)
    }

    fn redirect(&self, redirect: &ast::IoRedirect, out: &mut Vec<Redirect>) -> Result<()> {
        use ast::{IoFileRedirectKind as Kind, IoFileRedirectTarget as Target};
        match redirect {
            ast::IoRedirect::File(_, kind, target) => {
                let word = match target {
                    Target::Filename(word) | Target::Duplicate(word) => self.word(word)?,
                    // `|&` is written so.
                    Target::Fd(_) => return Ok(()),
                    Target::ProcessSubstitution(_, shell) => vec![self.substituted(shell)?],
                };
                match kind {
                    Kind::Read => out.push(Redirect::Read(word)),
                    Kind::Write | Kind::Append | Kind::Clobber => out.push(Redirect::Write(word)),
                    Kind::ReadAndWrite => out.extend([Redirect::Read(word.clone()), Redirect::Write(word)]),
                    Kind::DuplicateInput => out.push(Redirect::Hear(word)),
                    Kind::DuplicateOutput => out.push(Redirect::Copy(word)),
                }
            }
            ast::IoRedirect::HereDocument(descriptor, document) => {
                let text = word::document(&document.doc.value, document.requires_expansion)?;
                out.push(spoken(*descriptor, text));
            }
            ast::IoRedirect::HereString(descriptor, word) => out.push(spoken(*descriptor, self.word(word)?)),
            ast::IoRedirect::OutputAndError(word, _) => out.push(Redirect::Write(self.word(word)?)),
        }
        Ok(())
    }

    /// The text between the brackets of `<(…)`.
    fn substituted(&self, shell: &ast::SubshellCommand) -> Result<word::Part> {
        Ok(word::Part::Pipe(self.between(&shell.loc, "(", ")")?.to_owned()))
    }

    /// The text at a place, without its brackets.
    fn between(&self, place: &SourceSpan, open: &str, close: &str) -> Result<&str> {
        self.at(place.start.index, place.end.index)
            .and_then(|t| t.strip_prefix(open)?.strip_suffix(close))
            .ok_or("a word that is not found in the line")
    }

    fn at(&self, from: usize, to: usize) -> Option<&str> {
        self.line.get(*self.at.get(from)?..*self.at.get(to)?)
    }

    /// Looks at every kind of test. What is asked of the words changes nothing, which words there are does; they are read
    /// from the text between the brackets.
    fn test(&self, test: &ast::ExtendedTestExpr) -> Result<()> {
        use ast::ExtendedTestExpr as Test;
        match test {
            Test::And(left, right) | Test::Or(left, right) => {
                self.test(left)?;
                self.test(right)
            }
            Test::Not(inner) | Test::Parenthesized(inner) => self.test(inner),
            Test::UnaryTest(_, _) | Test::BinaryTest(_, _, _) => Ok(()),
        }
    }
}

/// A text on a descriptor: only the first one is input.
fn spoken(descriptor: Option<ast::IoFd>, text: Raw) -> Redirect {
    match descriptor {
        None | Some(0) => Redirect::Text(text),
        Some(_) => Redirect::Aside(text),
    }
}
