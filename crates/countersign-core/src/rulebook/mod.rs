//! The rulebook: policies, settings and limits put together to one immutable value with a digest.
//!
//! Two sets, evaluated apart: hard rules that nothing lifts and soft rules that a person may. Built-ins come first,
//! then the level's generated rules, then the operator's. A rulebook is swapped whole, never changed. `read` turns
//! text into rules (`legacy` what has no annotations yet), `slices` cuts sets by action and tool, `eval` asks Cedar, `settings` holds what configuration means, `narrow` what
//! counts of files that nobody accepted, `problem` says what is wrong where.

mod eval;
mod legacy;
pub mod narrow;
mod problem;
mod read;
pub mod settings;
mod slices;

pub use eval::{Asked, EvalError, Hits};
pub use problem::{PolicyProblem, PolicyText};
pub use read::{BASE_PERMIT, MAX_OPERATOR_BYTES, MAX_OPERATOR_RULES};

use crate::approval::Severity;
use crate::cleanse::Clean;
use crate::digest::Digest;
use crate::facts::tools::Tier;
use cedar_policy::{Schema, ValidationMode, Validator};
use settings::{AskOrDeny, Level, RuleSettings, ScopeMatch};
use slices::Slices;
use std::collections::HashMap;

/// The engine's version, part of what a validated rulebook is remembered under.
pub const ENGINE: &str = "cedar-policy 4.14.1";

/// The schema of what rules may see.
pub const SCHEMA: &str = include_str!("../../policy/schema.cedarschema");
const HARD: &str = include_str!("../../policy/hard.cedar");
const SOFT: &str = include_str!("../../policy/soft.cedar");

/// The file that our own rules stand in.
const BUILT_IN: &str = "built-in";

/// Which of the two sets a rule is in. The annotation for it is `@tier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleSet {
    /// Nothing lifts it.
    Hard,
    /// A person may lift it.
    Soft,
}

impl RuleSet {
    /// The word in annotations, labels and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleSet::Hard => "hard",
            RuleSet::Soft => "soft",
        }
    }
}

/// A rule as people see it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its stable id.
    pub id: String,
    /// Its set.
    pub set: RuleSet,
    /// How urgent its question is; `None` counts as medium.
    pub severity: Option<Severity>,
    /// How long a person has; `None` is the session's default.
    pub timeout_s: Option<i64>,
    /// For grouping only.
    pub category: Option<Clean>,
    /// What it is about, one line.
    pub summary: Clean,
    /// Digest of its text: a `rule` scope lives as long as this does not change.
    pub text_digest: Digest,
    /// The file it stands in.
    pub file: String,
    /// The line it begins on.
    pub line: usize,
}

impl Rule {
    fn base(set: RuleSet) -> Rule {
        Rule {
            id: BASE_PERMIT.to_owned(),
            set,
            severity: None,
            timeout_s: None,
            category: None,
            summary: Clean::fixed("everything that no rule forbids"),
            text_digest: Digest::of("countersign-rule-v1", &[]),
            file: BUILT_IN.to_owned(),
            line: 1,
        }
    }
}

/// Everything in force for a call.
pub struct Rulebook {
    hard: Slices,
    soft: Slices,
    rules: Vec<Rule>,
    index: HashMap<String, usize>,
    settings: RuleSettings,
    digest: Digest,
    operator: Vec<(RuleSet, PolicyText)>,
}

impl Rulebook {
    /// Puts a rulebook together. Text that does not load gives every problem found, never a part of the rules.
    /// Warnings are returned beside the rulebook. Schema validation is [`Rulebook::validate`], once a digest.
    pub fn load(
        operator: Vec<(RuleSet, PolicyText)>,
        settings: RuleSettings,
    ) -> Result<(Rulebook, Vec<PolicyProblem>), Vec<PolicyProblem>> {
        let last = operator.last().map(|(_, text)| text.clone());
        let beyond = |what: String, remedy| {
            let source = last.clone().unwrap_or(PolicyText { file: "built-in".to_owned(), text: "".into() });
            Err(vec![PolicyProblem::new(&source, (0, 1), what, remedy)])
        };
        let bytes: usize = operator.iter().map(|(_, t)| t.text.len()).sum();
        if bytes > MAX_OPERATOR_BYTES {
            let what =
                format!("{bytes} bytes of policy; at most {MAX_OPERATOR_BYTES} are read, all files together");
            return beyond(what, "shorten the rules");
        }
        let (book, warnings) = Rulebook::build(operator, settings)?;
        let own = book.rules.iter().filter(|rule| rule.file != BUILT_IN).count();
        if own > MAX_OPERATOR_RULES {
            let what = format!("{own} rules; at most {MAX_OPERATOR_RULES} are read");
            return beyond(what, "join rules");
        }
        Ok((book, warnings))
    }

    /// [`Rulebook::load`] without its bounds: for rules that a program made, which nobody has to read.
    pub fn build(
        operator: Vec<(RuleSet, PolicyText)>,
        settings: RuleSettings,
    ) -> Result<(Rulebook, Vec<PolicyProblem>), Vec<PolicyProblem>> {
        let mut problems = Vec::new();
        let mut book = Rulebook {
            hard: Slices::default(),
            soft: Slices::default(),
            rules: Vec::new(),
            index: HashMap::new(),
            digest: digest(&operator, &settings),
            settings,
            operator: operator.clone(),
        };
        let built_in = |text: String| PolicyText { file: BUILT_IN.to_owned(), text: text.into() };
        let (level_hard, level_soft) = generated(&book.settings);
        book.add(&built_in(HARD.to_owned() + &level_hard), RuleSet::Hard, true, &mut problems);
        book.add(&built_in(SOFT.to_owned() + &level_soft), RuleSet::Soft, true, &mut problems);
        for (set, source) in &operator {
            book.add(source, *set, false, &mut problems);
        }
        for id in &book.settings.disabled {
            let what = match book.rule(id) {
                Some(_) if crate::judge::is_by_grant(std::slice::from_ref(id)) => format!(
                    "rules.disable names `{id}`, which no configuration switches off; grant single uses with `[[allow]]`"
                ),
                Some(rule) if rule.set == RuleSet::Soft => continue,
                Some(_) => format!("rules.disable names `{id}`, which is a hard rule"),
                None => format!("rules.disable names `{id}`, which is no rule"),
            };
            let source = PolicyText { file: "config.toml".to_owned(), text: "".into() };
            problems.push(PolicyProblem::new(
                &source,
                (0, 0),
                what,
                "only soft rules can be disabled; take it off",
            ));
        }
        let (warnings, errors): (Vec<_>, Vec<_>) = problems.into_iter().partition(|p| p.warning);
        if errors.is_empty() { Ok((book, warnings)) } else { Err(errors) }
    }

    fn add(&mut self, source: &PolicyText, set: RuleSet, built_in: bool, problems: &mut Vec<PolicyProblem>) {
        let read = read::read(source, set, built_in);
        problems.extend(read.problems);
        for (rule, policy) in read.rules {
            let permit = rule.id == BASE_PERMIT;
            if !permit {
                if let Some(other) = self.rule(&rule.id) {
                    let what = format!("`{}` is already the id of a rule in {}", rule.id, other.file);
                    let at =
                        source.text.match_indices(&format!("\"{}\"", rule.id)).last().map_or(0, |(at, _)| at);
                    problems.push(PolicyProblem::new(
                        source,
                        (at, rule.id.len() + 2),
                        what,
                        "give it another id",
                    ));
                    continue;
                }
                self.index.insert(rule.id.clone(), self.rules.len());
                self.rules.push(rule);
            }
            let target = match set {
                RuleSet::Hard => &mut self.hard,
                RuleSet::Soft => &mut self.soft,
            };
            if let Err(e) = target.add(policy, permit) {
                problems.push(PolicyProblem::new(source, (0, 1), e, "report this"));
            }
        }
    }

    /// Strict schema validation and a probe of every action in both sets: done once for a digest and engine version,
    /// remembered in the store.
    pub fn validate(&self) -> Result<(), Vec<PolicyProblem>> {
        let source = |file: &str| {
            let found = self.operator.iter().map(|(_, t)| t).find(|t| t.file == file);
            found.cloned().unwrap_or(PolicyText { file: file.to_owned(), text: "".into() })
        };
        let mut problems = Vec::new();
        let schema = match Schema::from_cedarschema_str(SCHEMA) {
            Ok((schema, _)) => schema,
            Err(e) => {
                let what = format!("the built-in schema does not load: {e}");
                return Err(vec![PolicyProblem::new(&source(BUILT_IN), (0, 0), what, "report this")]);
            }
        };
        let validator = Validator::new(schema);
        for set in [&self.hard, &self.soft] {
            for error in validator.validate(set.all(), ValidationMode::Strict).validation_errors() {
                let id = error.policy_id().to_string();
                let rule = self.rule(&id);
                let source = source(rule.map_or(BUILT_IN, |r| r.file.as_str()));
                let at = source.text.find(&format!("\"{id}\"")).unwrap_or(0);
                let what = format!("`{id}`: {error}");
                let remedy = "rules see the attributes of .countersign/policy/schema.cedarschema only";
                problems.push(PolicyProblem::new(&source, (at, id.len() + 2), what, remedy));
            }
        }
        if problems.is_empty()
            && let Err(error) = self.probe()
        {
            let rule = error.rules.first().and_then(|id| self.rule(id));
            let source = source(rule.map_or(BUILT_IN, |r| r.file.as_str()));
            let what = format!("a rule cannot be evaluated: {error}");
            problems.push(PolicyProblem::new(
                &source,
                (0, 1),
                what,
                "make it shorter, or guard what it computes",
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The rules in policy order, built-ins first.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A rule by its id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.index.get(id).and_then(|at| self.rules.get(*at))
    }

    /// A rule's text, as Cedar writes it.
    pub fn text(&self, id: &str) -> Option<String> {
        let id = cedar_policy::PolicyId::new(id);
        [&self.hard, &self.soft].iter().find_map(|set| set.all().policy(&id)).map(|p| p.to_string())
    }

    /// Makes rules from before annotations soft rules with ids of their own; text that has annotations is refused.
    pub fn wrap_legacy(file: &str, text: &str) -> Result<String, PolicyProblem> {
        legacy::wrap(file, text)
    }

    /// The settings in force.
    pub fn settings(&self) -> &RuleSettings {
        &self.settings
    }

    /// Digest of everything that can change a verdict, but for mode, standing allows, limits and hold settings
    /// (DECISIONS section 6).
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Policy order of a rule.
    pub(crate) fn order(&self, id: &str) -> usize {
        self.index.get(id).copied().unwrap_or(usize::MAX)
    }
}

fn digest(operator: &[(RuleSet, PolicyText)], s: &RuleSettings) -> Digest {
    // A new field must be taken in below or stand here with those that change no verdict of a rule.
    let RuleSettings {
        // In the texts that are made from them.
        level: _,
        on_exceed: _,
        opaque_command: _,
        // Taken in below.
        disabled: _,
        scope_match: _,
        blocked: _,
        own: _,
        protected: _,
        ground: _,
        repo: _,
        deny: _,
        memory: _,
        handed_out: _,
        mail: _,
        // How rules are enforced, what answers them, how long, and limits.
        mode: _,
        allow: _,
        project: _,
        timeout_s: _,
        cap: _,
        per_minute: _,
        max_scope: _,
        wait: _,
        park_s: _,
        grant_ttl_s: _,
        refusal_memory_s: _,
        calls_per_minute: _,
        max_concurrent_calls: _,
        arguments: _,
        judge_budget_ms: _,
        result_bytes: _,
        catalogue: _,
        injection: _,
    } = s;
    let (level_hard, level_soft) = generated(s);
    let mut parts: Vec<Vec<u8>> = vec![
        ENGINE.into(),
        SCHEMA.into(),
        HARD.into(),
        SOFT.into(),
        level_hard.into(),
        level_soft.into(),
        format!("{:?}", s.scope_match == ScopeMatch::All).into(),
        s.repo.clone().into(),
    ];
    let mut disabled = s.disabled.clone();
    disabled.sort();
    parts.extend(disabled.into_iter().map(|d| format!("disabled {d}").into()));
    parts.extend(s.deny.iter().map(|d| format!("deny {d:?}").into()));
    parts.extend(s.ground.sensitive.iter().map(|name| format!("sensitive {name}").into()));
    parts.extend((!s.memory).then(|| "memory off".into()));
    parts.extend(s.handed_out.iter().map(|name| format!("handed out {name}").into()));
    // Whoever said yes to a mail saw who sends it. The cap is a limit like others.
    parts.extend(s.mail.as_ref().map(|m| {
        format!("mail {} {} {:?} {}", m.from(), m.owner, m.recipients, m.reply_to_recipients).into()
    }));
    parts.extend(s.blocked.iter().map(|p| format!("blocked {p:?}").into()));
    parts.extend(s.ground.tiers.iter().map(|t| format!("tier {} {}", t.pattern, t.tier.as_str()).into()));
    parts.extend(s.ground.tools.iter().map(|t| format!("tool {t:?}").into()));
    parts.extend(s.own.iter().map(|p| format!("own {p:?}").into()));
    parts.extend(s.protected.iter().map(|p| format!("protected {p:?}").into()));
    for (set, source) in operator {
        parts.push(set.as_str().into());
        parts.push(source.text.as_bytes().to_vec());
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Digest::of("countersign-rulebook-v1", &parts)
}

/// What the level says of a tier (gateway.md 2.3). `Ask` is written as a soft rule, `Deny` as a hard one.
fn level_table(level: Level, tier: Tier, on_exceed: AskOrDeny) -> Option<AskOrDeny> {
    let may_ask = match (level, tier) {
        (_, Tier::Read)
        | (Level::L1 | Level::L2 | Level::L3, Tier::Write)
        | (Level::L3, Tier::Destructive) => return None,
        (Level::L0, Tier::Write) | (Level::L2, Tier::Destructive) => true,
        (Level::L0 | Level::L1, Tier::Destructive) => false,
    };
    Some(if may_ask { on_exceed } else { AskOrDeny::Deny })
}

/// Rules that settings stand for, so that every decision names a rule (DECISIONS row 11).
fn generated(s: &RuleSettings) -> (String, String) {
    let mut hard = String::new();
    let mut soft = String::new();
    for tier in [Tier::Write, Tier::Destructive] {
        let word = tier.as_str();
        let head = "forbid (principal, action == Agent::Action::\"invoke_tool\", resource)";
        let when = format!("when {{ context.tier == \"{word}\" }};\n");
        let level = s.level.as_str();
        match level_table(s.level, tier, s.on_exceed) {
            None => {}
            Some(AskOrDeny::Deny) => hard.push_str(&format!(
                "\n@tier(\"hard\") @rule_id(\"level_denies_{word}\") @summary(\"level {level} does not allow {word} tools\")\n{head}\n{when}"
            )),
            Some(AskOrDeny::Ask) => soft.push_str(&format!(
                "\n@tier(\"soft\") @rule_id(\"level_asks_{word}\") @severity(\"medium\") @summary(\"level {level} asks before {word} tools\")\n{head}\n{when}"
            )),
        }
    }
    let opaque = "forbid (principal, action == Agent::Action::\"execute_bash\", resource)\nwhen { context.shell_opaque };\n";
    let summary = "@summary(\"a shell line that is not fully understood\")";
    match s.opaque_command {
        AskOrDeny::Ask => soft.push_str(&format!(
            "\n@tier(\"soft\") @rule_id(\"shell_opaque\") @severity(\"high\") {summary}\n{opaque}"
        )),
        AskOrDeny::Deny => {
            hard.push_str(&format!("\n@tier(\"hard\") @rule_id(\"shell_opaque\") {summary}\n{opaque}"))
        }
    }
    (hard, soft)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn settings() -> RuleSettings {
        RuleSettings::defaults(
            "/home/ana/shop",
            &["/home/ana/.local/state/countersign".into(), "/home/ana/.config/countersign".into()],
            Some("/home/ana"),
        )
    }

    pub(crate) fn book(soft: &str, settings: RuleSettings) -> Rulebook {
        let source = PolicyText { file: "soft.cedar".into(), text: soft.into() };
        Rulebook::load(vec![(RuleSet::Soft, source)], settings).unwrap().0
    }

    fn load(set: RuleSet, text: &str) -> Result<Rulebook, Vec<String>> {
        let source = PolicyText { file: "x.cedar".into(), text: text.into() };
        Rulebook::load(vec![(set, source)], settings())
            .map(|(b, _)| b)
            .map_err(|p| p.iter().map(|p| p.to_string()).collect())
    }

    #[test]
    fn built_ins_load_validate_and_are_the_listed_ones() {
        let book = load(RuleSet::Soft, "").unwrap();
        book.validate().unwrap();
        let ids: Vec<&str> = book.rules().iter().map(|r| r.id.as_str()).collect();
        for id in [
            "read_only_forbid_write",
            "read_only_forbid_edit",
            "read_only_forbid_other_writers",
            "rm_slash",
            "write_git_internals",
            "write_git_internals_nested",
            "drop_table",
            "force_push_any",
            "force_push_main",
            "push_to_protected_branch",
            "write_env_files",
            "write_credentials",
            "agent_runs_gate",
            "shell_opaque",
            "level_denies_destructive",
        ] {
            assert!(ids.contains(&id), "{id}");
        }
        let main = book.rule("force_push_main").unwrap();
        assert_eq!((main.severity, main.timeout_s), (Some(Severity::High), Some(600)));
    }

    /// The reference page of the built-in rules is made from them. `COUNTERSIGN_WRITE_DOCS=1` writes it anew.
    #[test]
    fn the_reference_is_true() {
        let (book, _) = Rulebook::load(Vec::new(), settings()).unwrap();
        let mut out = String::from(
            "# Built-in rules\n\nMade from the rules themselves; a test of the rulebook checks that it is true. What rules may see stands in\n`.countersign/policy/schema.cedarschema` of a project. `countersign policy show RULE` prints one of them.\n\nSoft rules can be switched off with `rules.disable`, answered with a scope, or lifted by an `[[allow]]` entry; hard\nrules by nothing. `suspected_injection` is asked each time: a yes to it is for that one call.\n",
        );
        for set in [RuleSet::Hard, RuleSet::Soft] {
            out.push_str(&format!("\n## The {} set\n\n| rule | severity | time | category | asks about or refuses |\n|---|---|---|---|---|\n", set.as_str()));
            let rules: Vec<&Rule> = book.rules().iter().filter(|r| r.set == set).collect();
            for rule in &rules {
                let severity = match set {
                    RuleSet::Soft => rule.severity.unwrap_or_default().as_str(),
                    RuleSet::Hard => "",
                };
                let time = rule.timeout_s.map(|t| format!("{t} s")).unwrap_or_default();
                let category = rule.category.as_ref().map(Clean::as_str).unwrap_or_default();
                out.push_str(&format!(
                    "| `{}` | {severity} | {time} | {category} | {} |\n",
                    rule.id, rule.summary
                ));
            }
            for rule in rules {
                out.push_str(&format!(
                    "\n### {}\n\n{}.\n\n```\n{}\n```\n",
                    rule.id,
                    rule.summary,
                    book.text(&rule.id).unwrap()
                ));
            }
        }
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules.md");
        if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
            std::fs::write(&page, &out).unwrap();
        }
        assert!(
            std::fs::read_to_string(&page).unwrap_or_default() == out,
            "run this test with COUNTERSIGN_WRITE_DOCS=1"
        );
    }

    /// INV-7: ids are unique across both sets and cannot be a built-in's.
    #[test]
    fn ids_are_unique() {
        let rule =
            "@rule_id(\"rm_slash\") @tier(\"soft\") @severity(\"low\") forbid (principal, action, resource);";
        assert!(load(RuleSet::Soft, rule).err().unwrap()[0].contains("already the id"));
        let twice =
            "@rule_id(\"a\") @tier(\"soft\") @severity(\"low\") forbid (principal, action, resource);\n"
                .repeat(2);
        assert!(load(RuleSet::Soft, &twice).err().unwrap()[0].starts_with("x.cedar:2:10:"));
    }

    /// INV-6.
    #[test]
    fn only_soft_rules_can_be_disabled() {
        for (id, ok) in [("force_push_any", true), ("rm_slash", false), ("no_such", false)] {
            let mut s = settings();
            s.disabled = vec![id.into()];
            assert_eq!(Rulebook::load(vec![], s).is_ok(), ok, "{id}");
        }
    }

    /// INV-8: the bound counts every file together.
    #[test]
    fn operator_text_is_bounded() {
        let text = |n: usize| PolicyText { file: "x".into(), text: " ".repeat(n).into() };
        let two = |n| Rulebook::load(vec![(RuleSet::Hard, text(n)), (RuleSet::Soft, text(36))], settings());
        assert!(two(65_500).is_ok() && two(65_501).is_err());
    }

    #[test]
    fn validation_finds_what_parsing_cannot() {
        let rule = |when: &str| {
            format!(
                "@rule_id(\"a\") @tier(\"soft\") @severity(\"low\") forbid (principal, action, resource) when {{ {when} }};"
            )
        };
        for when in
            ["context.comand == \"x\"", "context.command like \"x\"", "context.tool == 1", "principal.x == 1"]
        {
            assert!(load(RuleSet::Soft, &rule(when)).unwrap().validate().is_err(), "{when}");
        }
        load(RuleSet::Soft, &rule("context.tool == \"x\"")).unwrap().validate().unwrap();
        // Fails in evaluation only: the probe finds it.
        let overflow = rule("9223372036854775807 * 2 == 1");
        assert!(
            load(RuleSet::Soft, &overflow).is_err_and(|p| !p.is_empty())
                || load(RuleSet::Soft, &overflow).unwrap().validate().is_err()
        );
    }

    #[test]
    fn digests_tell_what_changes_verdicts() {
        let digest = |change: &dyn Fn(&mut RuleSettings)| {
            let mut s = settings();
            change(&mut s);
            Rulebook::load(vec![], s).unwrap().0.digest()
        };
        let base = digest(&|_| ());
        assert_eq!(base, digest(&|s| s.mode = settings::Mode::Watch));
        assert_eq!(base, digest(&|s| s.calls_per_minute = 5));
        assert_ne!(base, digest(&|s| s.level = Level::L0));
        assert_ne!(base, digest(&|s| s.disabled = vec!["force_push_any".into()]));
        assert_ne!(base, digest(&|s| s.blocked.clear()));
        assert_ne!(
            base,
            load(
                RuleSet::Soft,
                "@rule_id(\"a\") @tier(\"soft\") @severity(\"low\") forbid (principal, action, resource);"
            )
            .unwrap()
            .digest()
        );
    }

    /// GINV-12.
    #[test]
    fn levels() {
        use AskOrDeny::*;
        assert_eq!(level_table(Level::L0, Tier::Write, Ask), Some(Ask));
        assert_eq!(level_table(Level::L0, Tier::Write, Deny), Some(Deny));
        assert_eq!(level_table(Level::L1, Tier::Destructive, Ask), Some(Deny));
        assert_eq!(level_table(Level::L2, Tier::Destructive, Ask), Some(Ask));
        for tier in [Tier::Read, Tier::Write, Tier::Destructive] {
            assert_eq!(level_table(Level::L3, tier, Ask), None);
        }
    }
}
