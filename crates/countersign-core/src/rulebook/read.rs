//! From policy text to rules: bounds before parsing, statements told apart, annotations read and checked
//! (approvals.md 1.4, 1.12).
//!
//! Cedar's parser recurses: a few thousand nested brackets end the process. So size, nesting and chains are bounded
//! here first, by a scan that knows strings and comments (dependencies.md 3.2).

use super::problem::{PolicyProblem, PolicyText};
use super::{Rule, RuleSet};
use crate::approval::Severity;
use crate::digest::Digest;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet};

/// Operator text of all files together, in bytes (INV-8).
pub const MAX_OPERATOR_BYTES: usize = 65_536;
/// Operator rules of all files together.
pub const MAX_OPERATOR_RULES: usize = 200;
const MAX_NESTING: usize = 100;
/// Operators in one rule: longer chains parse, then fail when evaluated, and a failing rule denies every call.
const MAX_OPERATORS: usize = 1_000;
/// Name of the built-in catch-all.
pub const BASE_PERMIT: &str = "base_permit";

/// A file's rules, in the order they are written.
pub(super) struct Read {
    pub rules: Vec<(Rule, Policy)>,
    pub problems: Vec<PolicyProblem>,
}

/// Reads one file into one set. `built_in` text may hold the one permit.
pub(super) fn read(source: &PolicyText, set: RuleSet, built_in: bool) -> Read {
    let mut out = Read { rules: Vec::new(), problems: Vec::new() };
    let statements = match scan(&source.text) {
        Ok(statements) => statements,
        Err((at, what, remedy)) => {
            out.problems.push(PolicyProblem::new(source, (at, 1), what, remedy));
            return out;
        }
    };
    let parsed: PolicySet = match source.text.parse() {
        Ok(parsed) => parsed,
        Err(errors) => {
            out.problems.push(syntax(source, &errors));
            return out;
        }
    };
    if let Some(template) = parsed.templates().next() {
        let what = format!("template `{}`: slots such as ?principal are not supported", template.id());
        out.problems.push(PolicyProblem::new(source, (0, 1), what, "write the rule without slots"));
        return out;
    }
    for (index, &(start, end)) in statements.iter().enumerate() {
        // Cedar numbers the policies of a text in the order they are written.
        let Some(policy) = parsed.policy(&PolicyId::new(format!("policy{index}"))) else {
            out.problems.push(PolicyProblem::new(
                source,
                (start, 1),
                "this statement was not read",
                "report this",
            ));
            return out;
        };
        one(source, set, built_in, policy, (start, end), &mut out);
    }
    if parsed.policies().count() != statements.len() {
        out.problems.push(PolicyProblem::new(
            source,
            (0, 1),
            "statements and rules differ in number",
            "report this",
        ));
    }
    out
}

pub(super) fn syntax(source: &PolicyText, errors: &cedar_policy::ParseErrors) -> PolicyProblem {
    let first = errors.iter().next();
    let span = first
        .and_then(|e| miette::Diagnostic::labels(e)?.next())
        .map_or((0, 1), |label| (label.offset(), label.len().max(1)));
    let what = first.map_or_else(|| "not Cedar".to_owned(), |e| e.to_string());
    let help = first.and_then(|e| miette::Diagnostic::help(e).map(|h| h.to_string()));
    PolicyProblem::new(
        source,
        span,
        what,
        help.as_deref().unwrap_or("see `countersign explain --help` for the rule shape"),
    )
}

fn one(
    source: &PolicyText,
    set: RuleSet,
    built_in: bool,
    policy: &Policy,
    span: (usize, usize),
    out: &mut Read,
) {
    let mut bad =
        |what: String, remedy: &str| out.problems.push(PolicyProblem::new(source, span, what, remedy));
    // Asking a policy for one annotation parses the name each time; listing them does not.
    let annotations: Vec<(&str, &str)> = policy.annotations().collect();
    let annotation = |name: &str| annotations.iter().find(|(k, _)| *k == name).map(|(_, v)| *v);
    let Some(id) = annotation("rule_id").map(str::to_owned) else {
        return bad("the rule has no @rule_id".into(), "add @rule_id(\"a_name\") in front of it");
    };
    let id_ok = (1..=64).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
    if !id_ok {
        return bad(
            format!("@rule_id(\"{}\") is not a proper id", crate::cleanse::clean_line(&id, 64)),
            "use lower-case letters, digits, _ and -, at most 64",
        );
    }
    if policy.effect() == Effect::Permit {
        if built_in && id == BASE_PERMIT {
            let rule = Rule::base(set);
            out.rules.push((rule, policy.new_id(PolicyId::new(BASE_PERMIT))));
            return;
        }
        return bad(
            format!("`{id}` is a permit"),
            "rules only forbid; to let something pass, answer the question with a scope, or write an [[allow]] entry in your user configuration",
        );
    }
    if id == BASE_PERMIT {
        return bad("a forbid cannot be called base_permit".into(), "give it another @rule_id");
    }
    match annotation("tier") {
        Some(tier) if tier == set.as_str() => {}
        Some(tier) => {
            let tier = crate::cleanse::clean_line(tier, 32);
            return bad(
                format!("`{id}` says @tier(\"{tier}\"), but stands in the {} file", set.as_str()),
                "move the rule to the other file or correct the annotation",
            );
        }
        None => {
            return bad(
                format!("`{id}` has no @tier"),
                "add @tier(\"hard\") or @tier(\"soft\"), as the file says",
            );
        }
    }
    let mut rule = Rule::base(set);
    let mut warnings = Vec::new();
    if let Some(text) = annotation("severity") {
        match Severity::parse(text) {
            Some(severity) => rule.severity = Some(severity),
            None => return bad(format!("`{id}` has an unknown severity"), "use low, medium or high"),
        }
    } else if set == RuleSet::Soft {
        warnings.push(format!("`{id}` has no @severity; it counts as medium"));
    }
    if let Some(text) = annotation("approval_timeout_s") {
        match text.parse::<i64>() {
            Ok(seconds) if (30..=3_600).contains(&seconds) => {
                if set == RuleSet::Hard {
                    warnings.push(format!("`{id}` is hard: its @approval_timeout_s means nothing"));
                } else {
                    rule.timeout_s = Some(seconds);
                    if seconds < 120 {
                        warnings.push(format!("`{id}` gives a person only {seconds} s"));
                    }
                }
            }
            _ => {
                return bad(
                    format!("`{id}` has an @approval_timeout_s that is no number of seconds from 30 to 3600"),
                    "write a whole number, for example @approval_timeout_s(\"300\")",
                );
            }
        }
    }
    match annotation("on_timeout") {
        None | Some("deny") => {}
        Some("park" | "halt") => {
            return bad(
                format!("`{id}` uses an @on_timeout that this version does not act on"),
                "leave it out: an unanswered question is a no",
            );
        }
        Some(_) => return bad(format!("`{id}` has an unknown @on_timeout"), "only \"deny\" is possible"),
    }
    for name in ["approvers", "channels", "assurance"] {
        if annotation(name).is_some() {
            return bad(format!("`{id}` uses @{name}, which this version does not act on"), "leave it out");
        }
    }
    rule.category = annotation("category").map(|c| crate::cleanse::clean_line(c, 64));
    let text = source.text.get(span.0..span.1).unwrap_or_default();
    rule.summary = match annotation("summary") {
        Some(summary) => crate::cleanse::clean_line(summary, 160),
        None => {
            crate::cleanse::clean_line(text.split_once("when").map_or(text, |(_, when)| when.trim()), 160)
        }
    };
    rule.text_digest = Digest::of("countersign-rule-v1", &[set.as_str().as_bytes(), text.as_bytes()]);
    rule.file = source.file.clone();
    rule.line = source.text.get(..span.0).unwrap_or_default().matches('\n').count() + 1;
    rule.id = id.clone();
    for what in warnings {
        let mut warning = PolicyProblem::new(source, span, what, "this is a warning; the rule loads");
        warning.warning = true;
        out.problems.push(warning);
    }
    out.rules.push((rule, policy.new_id(PolicyId::new(id))));
}

pub(super) type ScanError = (usize, String, &'static str);

/// Finds the statements of a text, annotations included, and refuses what would hurt the parser.
pub(super) fn scan(text: &str) -> Result<Vec<(usize, usize)>, ScanError> {
    let bytes = text.as_bytes();
    let mut statements = Vec::new();
    let mut start: Option<usize> = None;
    let mut depth = 0usize;
    let mut operators = 0usize;
    let mut unary = 0usize;
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        match b {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                while bytes.get(at).is_some_and(|b| *b != b'\n') {
                    at += 1;
                }
                continue;
            }
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            _ => {}
        }
        start.get_or_insert(at);
        unary = if matches!(b, b'!' | b'-') { unary + 1 } else { 0 };
        match b {
            b'"' => {
                at += 1;
                loop {
                    match bytes.get(at) {
                        Some(b'"') => break,
                        Some(b'\\') => at += 2,
                        Some(_) => at += 1,
                        None => {
                            return Err((
                                at.min(text.len()),
                                "a string does not end".into(),
                                "close the quote",
                            ));
                        }
                    }
                }
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'&' | b'|' | b'+' | b'*' | b'.' | b'<' | b'>' | b'=' => operators += 1,
            b'i' if bytes.get(at..at + 3) == Some(b"if ") => operators += 10,
            b';' if depth == 0 => {
                if let Some(start) = start.take() {
                    statements.push((start, at + 1));
                }
                operators = 0;
            }
            _ => {}
        }
        if depth > MAX_NESTING || unary > MAX_NESTING {
            return Err((at, format!("nesting is deeper than {MAX_NESTING}"), "split the rule"));
        }
        if operators > MAX_OPERATORS {
            return Err((at, format!("one rule has more than {MAX_OPERATORS} operators"), "split the rule"));
        }
        at += 1;
    }
    match start {
        Some(start) => Err((start, "the last statement does not end".into(), "end it with a semicolon")),
        None => Ok(statements),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let source = PolicyText { file: "p.cedar".into(), text: text.into() };
        read(&source, RuleSet::Soft, false).problems.iter().map(|p| p.to_string()).collect()
    }

    #[test]
    fn problems_have_places() {
        let text = "// c\n@rule_id(\"a\")\nforbid (principal, action, resource);\n";
        assert_eq!(problems(text), ["p.cedar:2:1: `a` has no @tier"]);
        let text = "@tier(\"soft\") @severity(\"low\")\n  forbid (principal, action, resource);";
        assert_eq!(problems(text), ["p.cedar:1:1: the rule has no @rule_id"]);
        assert!(
            problems("forbid (principal, action, resource) when { context. };")[0].starts_with("p.cedar:1:")
        );
    }

    /// INV-7 and approvals.md 1.12, one line a bound.
    #[test]
    fn annotations_are_checked() {
        let rule = |annotations: &str| {
            format!("@rule_id(\"a\") @tier(\"soft\") {annotations} forbid (principal, action, resource);")
        };
        for (annotations, bad) in [
            ("@severity(\"low\")", false),
            ("", true), // a warning
            ("@severity(\"loud\")", true),
            ("@severity(\"low\") @approval_timeout_s(\"29\")", true),
            ("@severity(\"low\") @approval_timeout_s(\"3601\")", true),
            ("@severity(\"low\") @approval_timeout_s(\"1.5\")", true),
            ("@severity(\"low\") @approval_timeout_s(\"300\")", false),
            ("@severity(\"low\") @on_timeout(\"allow\")", true),
            ("@severity(\"low\") @unknown(\"x\")", false),
        ] {
            assert_eq!(!problems(&rule(annotations)).is_empty(), bad, "{annotations}");
        }
        let permit = "@rule_id(\"p\") @tier(\"soft\") permit (principal, action, resource);";
        assert!(problems(permit)[0].contains("is a permit"));
        let named = "@rule_id(\"base_permit\") @tier(\"soft\") forbid (principal, action, resource);";
        assert!(problems(named)[0].contains("base_permit"));
        let tier = "@rule_id(\"a\") @tier(\"hard\") forbid (principal, action, resource);";
        assert!(problems(tier)[0].contains("soft file"));
    }

    /// The depth bomb of dependencies.md 3.2: refused, not crashed on.
    #[test]
    fn bombs_are_refused() {
        let bomb = |inner: String| {
            format!(
                "@rule_id(\"a\") @tier(\"soft\") @severity(\"low\") forbid (principal, action, resource) when {{ {inner} }};"
            )
        };
        for inner in [
            format!("{}true{}", "!(".repeat(3_000), ")".repeat(3_000)),
            format!("{}1{} == 1", "[".repeat(3_000), "]".repeat(3_000)),
            "!".repeat(3_000) + "true",
            "true || ".repeat(20_000) + "true",
            "if true then ".repeat(3_000) + "true",
        ] {
            assert!(!problems(&bomb(inner)).is_empty());
        }
        assert!(problems(&bomb("context.command like \"*((((((((((((((((((((*\"".into())).is_empty());
    }
}
