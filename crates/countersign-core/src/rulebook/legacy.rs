//! Rules from before annotations: taken up as soft rules with ids of their own, and never mixed with others
//! (approvals.md 1.12).

use super::problem::{PolicyProblem, PolicyText};
use super::read::scan;
use cedar_policy::{Effect, PolicyId, PolicySet};

/// The text with every unannotated forbid made a soft rule `legacy_extra_<n>`. Text that carries annotations, or a
/// permit, is refused: it has its own way in, or none.
pub(super) fn wrap(file: &str, text: &str) -> Result<String, PolicyProblem> {
    let source = PolicyText { file: file.to_owned(), text: text.into() };
    let bad = |span, what: &str, remedy| Err(PolicyProblem::new(&source, span, what, remedy));
    let statements = match scan(text) {
        Ok(statements) => statements,
        Err((at, what, remedy)) => return bad((at, 1), &what, remedy),
    };
    let parsed: PolicySet = match text.parse() {
        Ok(parsed) => parsed,
        Err(errors) => return Err(super::read::syntax(&source, &errors)),
    };
    let mut out = String::new();
    for (index, (start, end)) in statements.into_iter().enumerate() {
        let span = (start, end - start);
        let Some(policy) = parsed.policy(&PolicyId::new(format!("policy{index}"))) else {
            return bad(span, "this statement is a template", "write it without slots");
        };
        if policy.annotations().next().is_some() {
            return bad(
                span,
                "this text carries annotations already",
                "check it as it is: countersign policy check FILE",
            );
        }
        if policy.effect() == Effect::Permit {
            return bad(span, "this is a permit; rules only forbid", "leave it out");
        }
        let body = text.get(start..end).unwrap_or_default();
        out.push_str(&format!(
            "@tier(\"soft\") @rule_id(\"legacy_extra_{}\") @severity(\"medium\")\n{body}\n\n",
            index + 1
        ));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::{PolicyText, RuleSet, Rulebook};

    #[test]
    fn old_rules_become_soft_ones() {
        let old = "// publishing\nforbid (principal, action, resource) when { context.tool == \"a\" };\nforbid (principal, action, resource) when { context.tool == \"b;\" };";
        let wrapped = Rulebook::wrap_legacy("old.cedar", old).unwrap();
        let source = PolicyText { file: "soft.cedar".into(), text: wrapped.as_str().into() };
        let settings = super::super::tests::settings();
        let (book, warnings) = Rulebook::load(vec![(RuleSet::Soft, source)], settings).unwrap();
        assert!(book.rule("legacy_extra_2").is_some() && warnings.is_empty());
        book.validate().unwrap();
        for (text, what) in [
            (wrapped.as_str(), "annotations"),
            ("permit (principal, action, resource);", "permit"),
            ("forbid (principal, action", "does not end"),
            ("forbid (principal == ?principal, action, resource);", "template"),
        ] {
            let problem = Rulebook::wrap_legacy("old.cedar", text).unwrap_err();
            assert!(problem.what.contains(what), "{text}: {problem}");
        }
    }
}
