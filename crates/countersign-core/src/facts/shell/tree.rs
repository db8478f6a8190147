//! The second reader: tree-sitter-bash, from a line to a script.
//!
//! It says where commands and words stand; a word's text is read by `word`, and where the tree saw a substitution `word`
//! has to have seen one. Every kind of node has a row in [`KINDS`]; a kind without one ends the reading, and a test
//! enumerates the grammar.

use super::script::{
    Assign, Call, Join, Raw, Redirect, Script, Step, assignment, background, redirected, tests,
};
use super::word::{self, Form, Part};
use tree_sitter::{Node, ParseOptions, Parser};

type Result<T> = std::result::Result<T, &'static str>;

/// What is said of a place where the tree has what is not read.
const WHY: &str = "a syntax that is not read";
/// Deepest nesting of statements.
const MAX_DEPTH: usize = 64;
/// Looks of the parser at whether to go on, one in a hundred of its operations: so many, and one for so many bytes.
/// Text that it reads without repairs needs a fraction of that.
const LOOKS: (usize, usize) = (100, 16);

/// What a kind of node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A statement, turned into a step.
    Statement,
    /// A word, read from its text.
    Word,
    /// A part of a statement that its statement asks for.
    Part,
    /// What stands inside a word, a test or an expression, whose text is read whole.
    Inside,
    /// A command in a word: `word` has to have found it too.
    Substitution,
    /// Nothing to run.
    Comment,
}

/// Every named kind of the grammar.
pub(super) const KINDS: &[(&str, Kind)] = &[
    ("program", Kind::Part),
    ("command", Kind::Statement),
    ("compound_statement", Kind::Statement),
    ("subshell", Kind::Statement),
    ("list", Kind::Statement),
    ("pipeline", Kind::Statement),
    ("negated_command", Kind::Statement),
    ("redirected_statement", Kind::Statement),
    ("variable_assignment", Kind::Statement),
    ("variable_assignments", Kind::Statement),
    ("declaration_command", Kind::Statement),
    ("unset_command", Kind::Statement),
    ("test_command", Kind::Statement),
    ("for_statement", Kind::Statement),
    ("c_style_for_statement", Kind::Statement),
    ("while_statement", Kind::Statement),
    ("if_statement", Kind::Statement),
    ("case_statement", Kind::Statement),
    ("function_definition", Kind::Statement),
    ("word", Kind::Word),
    ("concatenation", Kind::Word),
    ("string", Kind::Word),
    ("raw_string", Kind::Word),
    ("ansi_c_string", Kind::Word),
    ("translated_string", Kind::Word),
    ("number", Kind::Word),
    ("expansion", Kind::Word),
    ("simple_expansion", Kind::Word),
    ("arithmetic_expansion", Kind::Word),
    ("brace_expression", Kind::Word),
    ("command_substitution", Kind::Substitution),
    ("process_substitution", Kind::Substitution),
    ("command_name", Kind::Part),
    ("do_group", Kind::Part),
    ("elif_clause", Kind::Part),
    ("else_clause", Kind::Part),
    ("case_item", Kind::Part),
    ("file_redirect", Kind::Part),
    ("heredoc_redirect", Kind::Part),
    ("herestring_redirect", Kind::Part),
    ("heredoc_start", Kind::Part),
    ("heredoc_body", Kind::Part),
    ("heredoc_end", Kind::Part),
    ("file_descriptor", Kind::Part),
    ("variable_name", Kind::Inside),
    ("array", Kind::Inside),
    ("binary_expression", Kind::Inside),
    ("extglob_pattern", Kind::Inside),
    ("heredoc_content", Kind::Inside),
    ("parenthesized_expression", Kind::Inside),
    ("postfix_expression", Kind::Inside),
    ("regex", Kind::Inside),
    ("special_variable_name", Kind::Inside),
    ("string_content", Kind::Inside),
    ("subscript", Kind::Inside),
    ("ternary_expression", Kind::Inside),
    ("test_operator", Kind::Inside),
    ("unary_expression", Kind::Inside),
    ("comment", Kind::Comment),
];

fn kind(node: Node<'_>) -> Result<Kind> {
    KINDS.iter().find(|(name, _)| *name == node.kind()).map(|(_, kind)| *kind).ok_or(WHY)
}

/// Reads a line whose nesting was looked at before.
pub(super) fn read(line: &str) -> Result<Script> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bash::LANGUAGE.into()).map_err(|_| WHY)?;
    let mut steps = 0;
    let most = LOOKS.0 + line.len() / LOOKS.1;
    let mut stop = |_: &tree_sitter::ParseState| {
        steps += 1;
        if steps > most { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    };
    // The grammar's scanner asks the C library about characters beyond its tables, which breaks the process. It is given
    // signs in their place, as many as they have bytes, that are part of words and not of names, as they are.
    let ascii: Vec<u8> = line.bytes().map(|b| if b.is_ascii() { b } else { b'.' }).collect();
    let bytes = ascii.as_slice();
    let mut input = |at: usize, _| bytes.get(at..).unwrap_or_default();
    let options = ParseOptions::new().progress_callback(&mut stop);
    let tree = parser.parse_with_options(&mut input, None, Some(options)).ok_or(WHY)?;
    let root = tree.root_node();
    if root.has_error() || root.kind() != "program" {
        return Err(WHY);
    }
    Reader { line }.script(root, 0)
}

struct Reader<'a> {
    line: &'a str,
}

impl<'a> Reader<'a> {
    fn text(&self, node: Node<'_>) -> Result<&'a str> {
        self.line.get(node.byte_range()).ok_or(WHY)
    }

    /// The statements among a node's children, and whether each runs in the background.
    fn script(&self, node: Node<'_>, depth: usize) -> Result<Script> {
        self.steps(&children(node), depth)
    }

    fn steps(&self, nodes: &[Node<'_>], depth: usize) -> Result<Script> {
        let mut out = Script::new();
        for node in nodes {
            if !node.is_named() {
                match node.kind() {
                    "&" => {
                        let step = out.pop().ok_or(WHY)?;
                        out.push(background(step));
                    }
                    ";" | "\n" | "{" | "}" | "(" | ")" | "do" | "done" | "then" | "else" | ";;" | "elif" => {}
                    _ => return Err(WHY),
                }
                continue;
            }
            match kind(*node)? {
                Kind::Statement => out.push(self.step(*node, depth + 1)?),
                Kind::Comment => {}
                Kind::Part | Kind::Word | Kind::Inside | Kind::Substitution => return Err(WHY),
            }
        }
        Ok(out)
    }

    fn step(&self, node: Node<'_>, depth: usize) -> Result<Step> {
        if depth > MAX_DEPTH {
            return Err("more nesting than is read");
        }
        Ok(match node.kind() {
            "command" => Step::Call(self.command(node)?),
            "declaration_command" | "unset_command" => Step::Call(self.declaration(node)?),
            "variable_assignment" => {
                Step::Call(Call { sets: vec![self.assignment(node)?], ..Call::default() })
            }
            "variable_assignments" => {
                let sets = named(node).iter().map(|n| self.assignment(*n)).collect::<Result<_>>()?;
                Step::Call(Call { sets, ..Call::default() })
            }
            "compound_statement" => {
                let text = self.text(node)?;
                match text.strip_prefix("((").and_then(|t| t.strip_suffix("))")) {
                    Some(inner) => Step::Arithmetic(vec![word::number(inner)?]),
                    None => Step::Group { body: self.script(node, depth)?, redirects: Vec::new() },
                }
            }
            "subshell" => Step::Group { body: self.script(node, depth)?, redirects: Vec::new() },
            "negated_command" => {
                let inner = named(node);
                let [inner] = inner.as_slice() else { return Err(WHY) };
                self.step(*inner, depth + 1)?
            }
            "pipeline" => self.pipeline(node, depth)?,
            "list" => self.list(node, depth)?,
            "redirected_statement" => self.redirected(node, depth)?,
            "test_command" => self.test(node)?,
            "for_statement" => {
                let name = node.child_by_field_name("variable").ok_or(WHY)?;
                let keywords: Vec<&str> = children(node).iter().map(|n| n.kind()).collect();
                let values = fields(node, "value").iter().map(|n| self.word(*n)).collect::<Result<_>>()?;
                Step::For {
                    name: self.text(name)?.to_owned(),
                    values: keywords.contains(&"in").then_some(values),
                    body: self.script(node.child_by_field_name("body").ok_or(WHY)?, depth)?,
                    asks: keywords.contains(&"select"),
                }
            }
            "c_style_for_statement" => {
                let body = node.child_by_field_name("body").ok_or(WHY)?;
                let head = self.line.get(node.start_byte()..body.start_byte()).ok_or(WHY)?;
                let head = head.trim_start_matches("for").trim().trim_end_matches([';', '\n', ' ']);
                let head = head.strip_prefix("((").and_then(|t| t.strip_suffix("))")).ok_or(WHY)?;
                let head = head.split(';').map(word::number).collect::<Result<_>>()?;
                let body = self.script(body, depth)?;
                Step::Branches { parts: vec![vec![Step::Arithmetic(head)], body], repeats: true }
            }
            "while_statement" => {
                let condition = self.steps(&fields(node, "condition"), depth)?;
                let body = self.script(node.child_by_field_name("body").ok_or(WHY)?, depth)?;
                Step::Branches { parts: vec![condition, body], repeats: true }
            }
            "if_statement" => Step::Branches { parts: self.branches(node, depth)?, repeats: false },
            "case_statement" => {
                let mut texts = vec![self.text(node.child_by_field_name("value").ok_or(WHY)?)?];
                let mut bodies = Vec::new();
                for item in named(node).into_iter().filter(|n| n.kind() == "case_item") {
                    let values = fields(item, "value");
                    for value in &values {
                        texts.push(self.text(*value)?);
                    }
                    let rest: Vec<Node<'_>> = children(item)
                        .into_iter()
                        .filter(|n| !values.contains(n) && !["|", ";&", ";;&"].contains(&n.kind()))
                        .collect();
                    bodies.push(self.steps(&rest, depth)?);
                }
                Step::Case { words: tests(texts)?, bodies }
            }
            "function_definition" => {
                let name = node.child_by_field_name("name").ok_or(WHY)?;
                let body = self.step(node.child_by_field_name("body").ok_or(WHY)?, depth + 1)?;
                let mut call = Call::default();
                for redirect in fields(node, "redirect") {
                    self.redirect(redirect, &mut call)?;
                }
                if !call.words.is_empty() {
                    return Err(WHY);
                }
                let body = redirected(body, call.redirects);
                Step::Function { name: self.text(name)?.to_owned(), body: Box::new(body) }
            }
            _ => return Err(WHY),
        })
    }

    fn pipeline(&self, node: Node<'_>, depth: usize) -> Result<Step> {
        let mut steps = Vec::new();
        for child in children(node) {
            match child.kind() {
                "|" | "|&" => {}
                _ if !child.is_named() => return Err(WHY),
                "comment" => {}
                _ => match self.step(child, depth + 1)? {
                    Step::Pipe(more) if more.len() > 1 => steps.extend(more),
                    step => steps.push(step),
                },
            }
        }
        Ok(Step::Pipe(steps))
    }

    /// A list nests to the left, as often as it has operators: taken apart without descending.
    fn list(&self, node: Node<'_>, depth: usize) -> Result<Step> {
        let mut pairs = Vec::new();
        let mut node = node;
        let first = loop {
            let parts: Vec<Node<'_>> = children(node).into_iter().filter(|n| n.kind() != "comment").collect();
            let [left, operator, right] = parts.as_slice() else { return Err(WHY) };
            pairs.push((join(operator.kind())?, self.step(*right, depth + 1)?));
            if left.kind() != "list" {
                break self.step(*left, depth + 1)?;
            }
            node = *left;
        };
        let mut steps = vec![(Join::And, first)];
        for (join, step) in pairs.into_iter().rev() {
            match step {
                Step::List(more) => {
                    for (at, (inner, step)) in more.into_iter().enumerate() {
                        steps.push((if at == 0 { join } else { inner }, step));
                    }
                }
                step => steps.push((join, step)),
            }
        }
        Ok(Step::List(steps))
    }

    fn branches(&self, node: Node<'_>, depth: usize) -> Result<Vec<Script>> {
        let mut parts = Vec::new();
        let mut open: Vec<Node<'_>> = Vec::new();
        for child in children(node) {
            match child.kind() {
                "if" | "elif" | "else" | "fi" => {}
                "then" => parts.push(self.steps(&std::mem::take(&mut open), depth)?),
                "elif_clause" | "else_clause" => {
                    if !open.is_empty() {
                        parts.push(self.steps(&std::mem::take(&mut open), depth)?);
                    }
                    parts.extend(self.branches(child, depth + 1)?);
                }
                _ => open.push(child),
            }
        }
        if !open.is_empty() {
            parts.push(self.steps(&open, depth)?);
        }
        Ok(parts)
    }

    fn redirected(&self, node: Node<'_>, depth: usize) -> Result<Step> {
        let mut step = node.child_by_field_name("body").map(|b| self.step(b, depth + 1)).transpose()?;
        let mut call = Call::default();
        let mut after = Vec::new();
        for child in children(node) {
            match child.kind() {
                "file_redirect" | "herestring_redirect" => self.redirect(child, &mut call)?,
                "heredoc_redirect" => self.document(child, &mut call, &mut after, depth)?,
                "comment" => {}
                _ if node.child_by_field_name("body") == Some(child) => {}
                _ => return Err(WHY),
            }
        }
        // The grammar takes words behind a redirection's target for more targets; they are arguments.
        let step = match step.take() {
            None => Step::Call(call),
            Some(step) => attached(step, call)?,
        };
        Ok(match after.as_slice() {
            [] => step,
            _ => {
                let mut pipe = vec![step];
                let mut list = Vec::new();
                for next in after {
                    match next {
                        // The grammar takes the rest of the list into the pipe.
                        After::Pipe(mut steps) => match steps.pop() {
                            Some(Step::List(more)) => {
                                let mut more = more.into_iter();
                                pipe.extend(steps);
                                pipe.extend(more.next().map(|(_, step)| step));
                                list.extend(more);
                            }
                            last => pipe.extend(steps.into_iter().chain(last)),
                        },
                        After::List(join, step) => list.push((join, step)),
                    }
                }
                let first = if pipe.len() == 1 { pipe.remove(0) } else { Step::Pipe(pipe) };
                if list.is_empty() {
                    first
                } else {
                    Step::List(std::iter::once((Join::And, first)).chain(list).collect())
                }
            }
        })
    }

    /// A here-document, and what stands behind its beginning on the same line.
    fn document(&self, node: Node<'_>, call: &mut Call, after: &mut Vec<After>, depth: usize) -> Result<()> {
        let mut expands = true;
        let mut tabs = false;
        let mut aside = false;
        let mut text = String::new();
        let mut operator = None;
        for child in children(node) {
            match child.kind() {
                "<<" => {}
                "<<-" => tabs = true,
                "file_descriptor" => aside = self.text(child)? != "0",
                "heredoc_end" | "comment" => {}
                "heredoc_start" => expands = !self.text(child)?.contains(['\'', '"', '\\']),
                "heredoc_body" => {
                    text = self.text(child)?.to_owned();
                }
                "file_redirect" | "herestring_redirect" => self.redirect(child, call)?,
                "&&" | "||" => operator = Some(join(child.kind())?),
                "pipeline" => match self.pipeline(child, depth)? {
                    Step::Pipe(steps) => after.push(After::Pipe(steps)),
                    _ => return Err(WHY),
                },
                "\n" => {}
                _ if !child.is_named() => return Err(WHY),
                _ => match (operator.take(), kind(child)?) {
                    (Some(join), Kind::Statement) => {
                        after.push(After::List(join, self.step(child, depth + 1)?))
                    }
                    (None, Kind::Word | Kind::Substitution) => call.words.push(self.word(child)?),
                    _ => return Err(WHY),
                },
            }
        }
        if tabs {
            text = text.split_inclusive('\n').map(|l| l.trim_start_matches('\t')).collect();
        }
        let text = word::document(&text, expands)?;
        call.redirects.push(if aside { Redirect::Aside(text) } else { Redirect::Text(text) });
        Ok(())
    }

    fn redirect(&self, node: Node<'_>, call: &mut Call) -> Result<()> {
        let mut operator = "";
        let mut aside = false;
        let mut targets = Vec::new();
        for child in children(node) {
            match child.kind() {
                "file_descriptor" => aside = self.text(child)? != "0",
                _ if !child.is_named() => operator = child.kind(),
                _ => targets.push(self.word(child)?),
            }
        }
        let mut targets = targets.into_iter();
        let first = targets.next();
        match (operator, first) {
            ("<<<", Some(word)) if aside => call.redirects.push(Redirect::Aside(word)),
            ("<<<", Some(word)) => call.redirects.push(Redirect::Text(word)),
            ("<", Some(word)) => call.redirects.push(Redirect::Read(word)),
            (">" | ">>" | "&>" | "&>>" | ">|", Some(word)) => call.redirects.push(Redirect::Write(word)),
            ("<&", Some(word)) => call.redirects.push(Redirect::Hear(word)),
            (">&", Some(word)) => call.redirects.push(Redirect::Copy(word)),
            ("<&-" | ">&-", behind) => {
                let closed = vec![Part::Bare("-".to_owned())];
                call.redirects.push(if operator == "<&-" {
                    Redirect::Hear(closed)
                } else {
                    Redirect::Copy(closed)
                });
                call.words.extend(behind);
            }
            _ => return Err(WHY),
        }
        call.words.extend(targets);
        Ok(())
    }

    fn command(&self, node: Node<'_>) -> Result<Call> {
        let mut call = Call::default();
        for child in children(node) {
            match child.kind() {
                "variable_assignment" => call.sets.push(self.assignment(child)?),
                "command_name" => call.words.push(self.word(child)?),
                "file_redirect" | "herestring_redirect" => self.redirect(child, &mut call)?,
                "comment" => {}
                "regex" => call.words.push(self.word(child)?),
                // Text that the grammar has a token of its own for.
                "$" | "==" | "=~" => call.words.push(self.word(child)?),
                _ => match kind(child)? {
                    Kind::Word | Kind::Substitution => call.words.push(self.word(child)?),
                    _ => return Err(WHY),
                },
            }
        }
        // The grammar does not know these words of the shell; quoted, they are programs.
        let keyword = |call: &Call, word: &str| matches!(call.words.first().map(Vec::as_slice), Some([Part::Bare(w)]) if w == word);
        if keyword(&call, "coproc") {
            return Err(WHY);
        }
        if keyword(&call, "time") && call.sets.is_empty() {
            call.words.remove(0);
            if keyword(&call, "-p") {
                call.words.remove(0);
            }
        }
        Ok(call)
    }

    fn declaration(&self, node: Node<'_>) -> Result<Call> {
        let mut call = Call::default();
        for child in children(node) {
            match child.kind() {
                "variable_assignment" => {
                    let text = self.text(child)?;
                    if child.child_by_field_name("value").is_some_and(|v| v.kind() == "array") {
                        call.sets.push(self.assignment(child)?);
                    } else {
                        call.words.push(self.checked(child, word::read(text)?)?);
                    }
                }
                "comment" => {}
                _ => call.words.push(self.word(child)?),
            }
        }
        Ok(call)
    }

    fn assignment(&self, node: Node<'_>) -> Result<Assign> {
        let read = assignment(self.text(node)?)?;
        let parts = read.value.iter().flatten().cloned().collect();
        self.checked(node, parts)?;
        Ok(read)
    }

    fn test(&self, node: Node<'_>) -> Result<Step> {
        let text = self.text(node)?;
        let between = |open: &str, close: &str| text.strip_prefix(open)?.strip_suffix(close);
        if let Some(inner) = between("[[", "]]") {
            let words = tests([inner])?;
            let parts = words.iter().flatten().cloned().collect();
            self.checked(node, parts)?;
            return Ok(Step::Test(words));
        }
        if let Some(inner) = between("((", "))") {
            let raw = self.checked(node, word::number(inner)?)?;
            return Ok(Step::Arithmetic(vec![raw]));
        }
        // `[` is a command like any other.
        let words = word::list(text)?;
        self.checked(node, words.iter().flatten().cloned().collect())?;
        Ok(Step::Call(Call { words, ..Call::default() }))
    }

    fn word(&self, node: Node<'_>) -> Result<Raw> {
        let raw = word::read(self.text(node)?)?;
        self.checked(node, raw)
    }

    /// Compares the substitutions that the tree has below a node with those that were read: the tree misses some that
    /// are written with back-quotes, but must have none that was not read.
    fn checked(&self, node: Node<'_>, raw: Raw) -> Result<Raw> {
        let mut seen = 0usize;
        let mut cursor = node.walk();
        loop {
            let here = cursor.node();
            let substitution = here.is_named() && kind(here)? == Kind::Substitution;
            seen += usize::from(substitution);
            // What is inside a substitution is read by itself later.
            if !substitution && cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return if seen > outputs(&raw) {
                        Err("a substitution that is not understood")
                    } else {
                        Ok(raw)
                    };
                }
            }
        }
    }
}

/// A statement with the redirections and words behind it. The grammar puts them around whole lists and pipes; they are
/// the last command's.
fn attached(step: Step, call: Call) -> Result<Step> {
    Ok(match step {
        Step::Call(mut before) => {
            before.words.extend(call.words);
            before.redirects.extend(call.redirects);
            Step::Call(before)
        }
        Step::List(mut steps) => {
            let (join, last) = steps.pop().ok_or(WHY)?;
            steps.push((join, attached(last, call)?));
            Step::List(steps)
        }
        Step::Pipe(mut steps) => {
            let last = steps.pop().ok_or(WHY)?;
            steps.push(attached(last, call)?);
            Step::Pipe(steps)
        }
        _ if !call.words.is_empty() => return Err(WHY),
        step => redirected(step, call.redirects),
    })
}

enum After {
    Pipe(Vec<Step>),
    List(Join, Step),
}

fn join(operator: &str) -> Result<Join> {
    match operator {
        "&&" => Ok(Join::And),
        "||" => Ok(Join::Or),
        _ => Err(WHY),
    }
}

/// Substitutions in parts, at any depth that is not inside a substitution.
fn outputs(raw: &[Part]) -> usize {
    raw.iter()
        .map(|part| match part {
            Part::Output { .. } | Part::Pipe(_) => 1,
            Part::Number(inner) => outputs(inner),
            Part::Value(value) => match &value.form {
                Form::Plain => 0,
                Form::Default(inner) | Form::Assign(inner) | Form::Other(inner) => outputs(inner),
            },
            Part::Quoted(_) | Part::Bare(_) => 0,
        })
        .sum()
}

fn children<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    node.children(&mut node.walk()).collect()
}

fn named<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    node.named_children(&mut node.walk()).filter(|n| n.kind() != "comment").collect()
}

fn fields<'t>(node: Node<'t>, name: &str) -> Vec<Node<'t>> {
    node.children_by_field_name(name, &mut node.walk()).collect()
}
