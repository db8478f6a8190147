//! What is in force while a project's files differ from what a person accepted: the accepted rules, and of the found
//! ones whatever narrows (DECISIONS row 7). Forbids add up, each number takes the stricter value, and what loosens must
//! be the same in both.

use super::problem::{PolicyProblem, PolicyText};
use super::read::{self, BASE_PERMIT};
use super::settings::{AskOrDeny, Mode, RuleSettings, ScopeMatch};
use super::{RuleSet, read::scan};
use crate::approval::scope::Scope;
use crate::cleanse::injection::Consequence;
use crate::facts::ground::Ground;
use crate::facts::paths::PathPattern;
use crate::json::Bounds;

/// The accepted policies and, behind them, every found rule that they do not hold already. A found rule with the id of
/// an accepted one and another text gets an id of its own, so that both are in force.
pub fn policies(
    accepted: &[(RuleSet, PolicyText)],
    found: &[(RuleSet, PolicyText)],
) -> Result<Vec<(RuleSet, PolicyText)>, Vec<PolicyProblem>> {
    let mut known = Vec::new();
    for (set, source) in accepted {
        known.extend(read::read(source, *set, false).rules.into_iter().map(|(rule, _)| rule));
    }
    let mut out = accepted.to_vec();
    for (set, source) in found {
        let read = read::read(source, *set, false);
        let errors: Vec<PolicyProblem> = read.problems.into_iter().filter(|p| !p.warning).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let spans = scan(&source.text)
            .map_err(|(at, what, remedy)| vec![PolicyProblem::new(source, (at, 1), what, remedy)])?;
        let mut text = String::new();
        for ((rule, _), (start, end)) in read.rules.iter().zip(spans) {
            let statement = source.text.get(start..end).unwrap_or_default();
            match known.iter().find(|k| k.id == rule.id) {
                _ if rule.id == BASE_PERMIT => {}
                Some(same) if same.text_digest == rule.text_digest => {}
                Some(_) => text.push_str(&renamed(statement, &rule.id)),
                None => text.push_str(statement),
            }
            text.push('\n');
        }
        out.push((*set, PolicyText { file: source.file.clone(), text: text.into() }));
    }
    Ok(out)
}

/// A statement with another id. Should the id stand somewhere else first, two rules have one id and nothing loads.
fn renamed(statement: &str, id: &str) -> String {
    let other: String = id.chars().take(58).collect();
    statement.replacen(&format!("\"{id}\""), &format!("\"{other}-found\""), 1)
}

impl RuleSettings {
    /// These settings, as far as a project's files narrow them.
    pub fn narrowed(self, found: &RuleSettings) -> RuleSettings {
        let stricter = |a: AskOrDeny, b: AskOrDeny| if a == b { a } else { AskOrDeny::Deny };
        let least = |a: u32, b: u32| match (a, b) {
            (0, other) | (other, 0) => other,
            (a, b) => a.min(b),
        };
        let mut disabled = self.disabled;
        disabled.retain(|id| found.disabled.contains(id));
        let max_scope = match Scope::width(&found.max_scope) < Scope::width(&self.max_scope) {
            true => found.max_scope.clone(),
            false => self.max_scope,
        };
        let mut sensitive = self.ground.sensitive.clone();
        sensitive.extend(found.ground.sensitive.iter().cloned());
        let (a, b) = (self.arguments, found.arguments);
        RuleSettings {
            mode: if self.mode == found.mode { self.mode } else { Mode::Enforce },
            level: self.level.min(found.level),
            on_exceed: stricter(self.on_exceed, found.on_exceed),
            opaque_command: stricter(self.opaque_command, found.opaque_command),
            disabled,
            scope_match: if self.scope_match == found.scope_match {
                self.scope_match
            } else {
                ScopeMatch::All
            },
            blocked: union(self.blocked, &found.blocked),
            own: union(self.own, &found.own),
            protected: union(self.protected, &found.protected),
            // A pin of the found files could lower a tier, and a bound tool says where rules have to look.
            ground: Ground { sensitive, ..self.ground },
            repo: self.repo,
            allow: self.allow,
            deny: self.deny,
            project: self.project,
            memory: self.memory && found.memory,
            handed_out: self.handed_out,
            // The user's and the organization's alone: a project does not say who gets mail.
            mail: self.mail,
            timeout_s: self.timeout_s.min(found.timeout_s),
            cap: self.cap.min(found.cap),
            per_minute: self.per_minute.min(found.per_minute),
            max_scope,
            wait: self.wait,
            park_s: self.park_s.min(found.park_s),
            grant_ttl_s: self.grant_ttl_s.min(found.grant_ttl_s),
            refusal_memory_s: self.refusal_memory_s.max(found.refusal_memory_s),
            calls_per_minute: least(self.calls_per_minute, found.calls_per_minute),
            max_concurrent_calls: least(self.max_concurrent_calls, found.max_concurrent_calls),
            arguments: Bounds {
                max_bytes: a.max_bytes.min(b.max_bytes),
                max_depth: a.max_depth.min(b.max_depth),
                max_nodes: a.max_nodes.min(b.max_nodes),
            },
            judge_budget_ms: self.judge_budget_ms.min(found.judge_budget_ms),
            result_bytes: self.result_bytes.min(found.result_bytes),
            // Patterns that only the found files have are missed until they are accepted: nothing is let out by that
            // which was not before.
            catalogue: self.catalogue,
            injection: Consequence {
                block: self.injection.block || found.injection.block,
                suspicious_blocks_writes: self.injection.suspicious_blocks_writes
                    || found.injection.suspicious_blocks_writes,
            },
        }
    }
}

fn union(mut these: Vec<PathPattern>, those: &[PathPattern]) -> Vec<PathPattern> {
    these.extend(those.iter().filter(|p| !these.contains(p)).cloned().collect::<Vec<_>>());
    these
}

#[cfg(test)]
mod tests {
    use super::super::Rulebook;
    use super::super::settings::Level;
    use super::super::tests::settings;
    use super::*;
    use crate::approval::Wait;
    use crate::call::tests::call;
    use crate::facts::Facts;
    use crate::facts::paths::BlockMode;
    use crate::judge::{Rules, Verdict, judge};
    use crate::ledger::{Ledger, Resolved};
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn text(set: RuleSet, rules: &[(&str, &str)]) -> (RuleSet, PolicyText) {
        let text: String = rules
            .iter()
            .map(|(id, when)| {
                format!("@rule_id(\"{id}\") @tier(\"{}\") @severity(\"low\")\nforbid (principal, action, resource) when {{ {when} }};\n", set.as_str())
            })
            .collect();
        (set, PolicyText { file: "x.cedar".into(), text: text.into() })
    }

    #[test]
    fn forbids_add_up() {
        let accepted =
            [text(RuleSet::Soft, &[("a", "context.tool == \"A\""), ("b", "context.tool == \"B\"")])];
        let found = [
            text(RuleSet::Soft, &[("a", "context.tool == \"none\""), ("b", "context.tool == \"B\"")]),
            text(RuleSet::Hard, &[("c", "context.tool == \"C\"")]),
        ];
        let both = policies(&accepted, &found).unwrap();
        let book = Rulebook::load(both, settings()).unwrap().0;
        let ids: Vec<&str> =
            book.rules().iter().filter(|r| r.file == "x.cedar").map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "a-found", "c"]);
        // Emptied files take nothing away, and broken ones are no way round.
        assert_eq!(policies(&accepted, &[]).unwrap().len(), 1);
        let broken = [(RuleSet::Soft, PolicyText { file: "x".into(), text: "forbid (".into() })];
        assert!(policies(&accepted, &broken).is_err());
        let twice = policies(&accepted, &[text(RuleSet::Soft, &[("a", "true"), ("a", "false")])]).unwrap();
        assert!(Rulebook::load(twice, settings()).is_err());
    }

    fn some_settings() -> impl Strategy<Value = RuleSettings> {
        let level = prop_oneof![Just(Level::L0), Just(Level::L1), Just(Level::L2), Just(Level::L3)];
        let disabled = proptest::sample::subsequence(vec!["force_push_any", "write_credentials"], 0..=2);
        (level, any::<[bool; 6]>(), disabled, 0u32..3, 1usize..3).prop_map(|(level, b, disabled, n, size)| {
            let mut s = settings();
            s.level = level;
            s.mode = if b[0] { Mode::Watch } else { Mode::Enforce };
            s.on_exceed = if b[1] { AskOrDeny::Ask } else { AskOrDeny::Deny };
            s.opaque_command = if b[2] { AskOrDeny::Ask } else { AskOrDeny::Deny };
            s.scope_match = if b[3] { ScopeMatch::All } else { ScopeMatch::Any };
            s.disabled = disabled.into_iter().map(str::to_owned).collect();
            s.calls_per_minute = n;
            s.arguments.max_depth = size;
            s.wait = if b[5] { Wait::Hold } else { Wait::Park };
            if b[4] {
                s.blocked.extend(PathPattern::new("secrets/", BlockMode::Both));
            }
            s
        })
    }

    fn strictness(verdict: &Verdict) -> u8 {
        match verdict {
            Verdict::Allow => 0,
            Verdict::RequireApproval(_) => 1,
            Verdict::Deny(_) => 2,
        }
    }

    proptest! {
        /// P-38: whatever the found files say, nothing passes that the accepted ones alone would not let pass.
        #[test]
        fn found_files_only_narrow(
            accepted in some_settings(),
            found in some_settings(),
            old in proptest::sample::subsequence(vec!["Bash", "Write", "Read"], 0..=3),
            new in proptest::sample::subsequence(vec!["Bash", "Write", "Read"], 0..=3),
        ) {
            let rules = |tools: &[&str]| {
                let rules: Vec<(String, String)> =
                    tools.iter().map(|t| (t.to_lowercase(), format!("context.tool == \"{t}\""))).collect();
                let rules: Vec<(&str, &str)> = rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
                vec![text(RuleSet::Soft, &rules)]
            };
            let before = Rulebook::load(rules(&old), accepted.clone()).unwrap().0;
            let both = policies(&rules(&old), &rules(&new)).unwrap();
            let after = Rulebook::load(both, accepted.narrowed(&found)).unwrap().0;
            for (tool, args) in [
                ("Bash", r#"{"command":"git push --force origin x"}"#),
                ("Bash", r#"{"command":"$x"}"#),
                ("Bash", r#"{"command":"ls"}"#),
                ("Write", r#"{"file_path":"aws/credentials","content":"x"}"#),
                ("Read", r#"{"file_path":"secrets/a"}"#),
                ("mcp__x__delete_all", "{}"),
            ] {
                let call = call(tool, args);
                let facts = Facts::of(&call, &Default::default());
                let resolved = facts.iter().flat_map(|f| f.paths.iter()).flat_map(|p| [&p.path, &p.spelled]);
                let resolved = resolved
                    .map(|p| Resolved { asked: p.clone(), real: Some(p.clone()), identity: None })
                    .collect();
                let ledger = Ledger::blank(Timestamp(0), resolved);
                let said = |book: &Rulebook| strictness(&judge(&call, &facts, Rules::InForce(book), &ledger).verdict);
                prop_assert!(said(&after) >= said(&before), "{tool} {args}");
            }
        }
    }
}
