//! The order of the judge and what each step says, as tables of values.

use super::*;
use crate::call::tests::call;
use crate::digest::Digest;
use crate::ids::{RawId, TaskId};
use crate::json::Json;
use crate::ledger::{OpenRequest, Resolved, TaskView};
use crate::rulebook::settings::{AskOrDeny, StandingAllow};
use crate::rulebook::tests::{book, settings};
use crate::task::TaskStatus;
use crate::time::Timestamp;

mod fetch;
mod mail;

const NOW: Timestamp = Timestamp(1_000_000);

/// A ledger in which nothing has happened, and every path the call names is what it says.
fn quiet(facts: &Result<Facts, FactError>) -> Ledger {
    let paths = facts.iter().flat_map(|f| &f.paths);
    let resolved = paths.flat_map(|p| {
        // What the system would make of a plain path: its normal form.
        let real =
            |asked: &str| Resolved { asked: asked.to_owned(), real: Some(p.path.clone()), identity: None };
        [real(&p.path), real(&p.spelled)]
    });
    let mut ledger = Ledger::blank(NOW, resolved.collect());
    ledger.task = Some(TaskView {
        task_id: TaskId(RawId::new(NOW, [1; 10])),
        status: TaskStatus::Running,
        gate_count: 0,
        gate_cap: 50,
        gates_last_minute: 0,
        waiting: 0,
        tainted: None,
    });
    ledger
}

struct Case {
    call: ToolCall,
    facts: Result<Facts, FactError>,
    ledger: Ledger,
    book: Rulebook,
}

fn case(tool: &str, args: &str, settings: RuleSettings) -> Case {
    let call = call(tool, args);
    let facts = Facts::of(&call, &crate::facts::ground::Ground::at_home(Some("/home/ana")));
    let ledger = quiet(&facts);
    Case { call, facts, ledger, book: book("", settings) }
}

fn bash(line: &str) -> Case {
    case("Bash", &Json::object([("command", Json::str(line))]).canonical(), settings())
}

impl Case {
    fn judge(&self) -> Judgement {
        judge(&self.call, &self.facts, Rules::InForce(&self.book), &self.ledger)
    }

    fn says(&self) -> (&'static str, Step) {
        let j = self.judge();
        (j.verdict.as_str(), j.step)
    }

    fn grant(&mut self, scope: Scope) -> &mut Grant {
        let exact = scope == Scope::ThisCall;
        let rule = match &scope {
            Scope::Rule(id) => self.book.rule(id).map(|r| r.text_digest),
            _ => None,
        };
        self.ledger.grants.push(Grant {
            grant_id: GrantId(RawId::new(NOW, [2; 10])),
            scope,
            call_digest: exact.then(|| self.call.call_digest()),
            rulebook_digest: exact.then(|| self.book.digest()),
            rule_digest: rule,
            approval_id: None,
        });
        self.ledger.grants.last_mut().unwrap()
    }

    fn refuse(&mut self, key: RefusalKey, how: Refused) {
        self.ledger.refusals.push(Refusal { key, how, reason: Clean::fixed("not today"), decided_at: NOW });
    }
}

const PUSH: &str = "git push --force origin feature";

#[test]
fn plain_calls_are_allowed() {
    assert_eq!(bash("ls -la").says(), ("allow", Step::Soft));
    assert_eq!(case("Read", r#"{"file_path":"src/a.rs"}"#, settings()).says(), ("allow", Step::Soft));
    let edit = r#"{"file_path":"src/a.rs","old_string":"a","new_string":"b"}"#;
    assert_eq!(case("Edit", edit, settings()).says(), ("allow", Step::Soft));
    assert!(!bash("ls").judge().granted);
}

/// INV-3 and DECISIONS section 2: one call that meets every step, and each step taken away in turn shows the next.
#[test]
fn the_order_is_pinned() {
    let mut s = settings();
    s.calls_per_minute = 1;
    let mut c = case("Bash", r#"{"command":"rm -rf /x; cat .env; git push --force"}"#, s);
    c.ledger.halt = Halt::Present { reason: Clean::fixed("stop") };
    c.ledger.permits_last_minute = 1;
    c.grant(Scope::ThisCall);
    c.grant(Scope::AllSession);
    c.refuse(RefusalKey::Input(c.call.args_digest()), Refused::Denied);
    c.refuse(RefusalKey::Rule("force_push_any".into()), Refused::Denied);
    assert_eq!(c.says(), ("deny", Step::Halt));
    c.ledger.halt = Halt::Absent;
    let why = Clean::fixed("broken");
    assert_eq!(judge(&c.call, &c.facts, Rules::Invalid(&why), &c.ledger).step, Step::Trust);
    let bad = Err(FactError { code: Code::UnmappableInput, why: "x".into() });
    assert_eq!(judge(&c.call, &bad, Rules::InForce(&c.book), &c.ledger).step, Step::Input);
    assert_eq!(c.says(), ("deny", Step::Paths));
    let with = |c: Case, line: &str| {
        let call = call("Bash", &Json::object([("command", Json::str(line))]).canonical());
        let facts = Facts::of(&call, &Default::default());
        let mut next = Case { ledger: quiet(&facts), call, facts, book: c.book };
        next.ledger.permits_last_minute = 1;
        next
    };
    let c = with(c, "rm -rf /x; git push --force");
    assert_eq!(c.says(), ("deny", Step::Hard));
    let mut c = with(c, "git push --force");
    c.grant(Scope::ThisCall);
    c.grant(Scope::AllSession);
    c.refuse(RefusalKey::Input(c.call.args_digest()), Refused::Denied);
    c.refuse(RefusalKey::Rule("force_push_any".into()), Refused::Denied);
    assert_eq!(c.says(), ("deny", Step::Limits));
    c.ledger.permits_last_minute = 0;
    assert_eq!(c.says(), ("allow", Step::Grant));
    c.ledger.grants.remove(0);
    assert_eq!(c.says(), ("allow", Step::Scope));
    c.ledger.grants.clear();
    assert_eq!(c.says(), ("deny", Step::RecentInput));
    c.ledger.refusals.remove(0);
    let lifted = {
        c.grant(Scope::Rule("force_push_any".into()));
        c.says()
    };
    assert_eq!(lifted, ("allow", Step::Soft));
    c.ledger.grants.clear();
    assert_eq!(c.says(), ("deny", Step::RecentRule));
    c.ledger.refusals.clear();
    assert_eq!(c.says(), ("require_approval", Step::Gate));
}

/// INV-1, P-4: nothing a person or an operator can give lifts a hard rule.
#[test]
fn hard_is_hard() {
    let mut s = settings();
    for kind in [("tool", "Bash"), ("bash_pattern", "rm -rf*"), ("rule", "rm_slash")] {
        s.allow.push(StandingAllow {
            scope: Scope::parse_standing(kind.0, kind.1).unwrap(),
            principal: None,
            until: None,
        });
    }
    s.level = crate::rulebook::settings::Level::L3;
    let mut c = case("Bash", r#"{"command":"rm -rf /opt/x"}"#, s);
    for scope in
        [Scope::ThisCall, Scope::AllSession, Scope::ToolType("Bash".into()), Scope::Rule("rm_slash".into())]
    {
        c.grant(scope);
    }
    let j = c.judge();
    assert_eq!((j.verdict, j.rules), (Verdict::Deny(Code::Hard), vec!["rm_slash".to_owned()]));
    assert!(j.reason.as_str().starts_with("Hard-deny: rm_slash"));
}

/// INV-4: the shortest time and the highest severity.
#[test]
fn terms_are_merged() {
    let Verdict::RequireApproval(terms) = bash("git push --force origin main").judge().verdict else {
        panic!()
    };
    assert_eq!((terms.timeout_s, terms.severity, terms.clip), (300, Severity::High, None));
    let mut s = settings();
    s.timeout_s = 900;
    let c = case("Bash", r#"{"command":"git push --force origin main"}"#, s);
    let Verdict::RequireApproval(terms) = c.judge().verdict else { panic!() };
    assert_eq!((terms.timeout_s, terms.clip), (300, Some((Clip::RuleAnnotation, 900))));
}

/// P-9, row 6: a yes is for this call under these rules.
#[test]
fn a_yes_is_bound() {
    let mut c = bash(PUSH);
    c.grant(Scope::ThisCall);
    let j = c.judge();
    assert!(j.granted && j.spend.is_some());
    let other = Digest::of("other", &[]);
    c.ledger.grants[0].rulebook_digest = Some(other);
    assert_eq!(c.says(), ("require_approval", Step::Gate));
    c.ledger.grants[0].rulebook_digest = Some(c.book.digest());
    c.ledger.grants[0].call_digest = Some(other);
    assert_eq!(c.says(), ("require_approval", Step::Gate));
}

/// approvals.md 1.2, the [+] note: every matching rule must be lifted; `any` is a setting.
#[test]
fn rule_scopes_lift_only_what_they_name() {
    let mut c = bash("git push --force origin main");
    c.grant(Scope::Rule("force_push_any".into()));
    let j = c.judge();
    assert_eq!(j.rules, ["force_push_main", "push_to_protected_branch"]);
    c.grant(Scope::Rule("force_push_main".into()));
    c.grant(Scope::Rule("push_to_protected_branch".into()));
    assert_eq!(c.says(), ("allow", Step::Soft));
    c.ledger.grants[2].rule_digest = Some(Digest::of("changed", &[]));
    assert_eq!(c.judge().rules, ["push_to_protected_branch"], "a changed rule needs a new yes");
    let mut s = settings();
    s.scope_match = ScopeMatch::Any;
    let mut any = case("Bash", r#"{"command":"git push --force origin main"}"#, s);
    any.grant(Scope::Rule("force_push_any".into()));
    assert_eq!(any.says(), ("allow", Step::Soft));
}

/// INV-5.
#[test]
fn disabled_rules_do_not_ask_and_others_stay() {
    let mut s = settings();
    s.disabled = vec!["force_push_any".into()];
    let c = |line: &str| case("Bash", &Json::object([("command", Json::str(line))]).canonical(), s.clone());
    assert_eq!(c(PUSH).says(), ("allow", Step::Soft));
    assert_eq!(
        c("git push --force origin main").judge().rules,
        ["force_push_main", "push_to_protected_branch"]
    );
}

/// INV-19: a time-out is remembered for its input only.
#[test]
fn refusal_memory() {
    let mut c = bash(PUSH);
    c.refuse(RefusalKey::Input(c.call.args_digest()), Refused::TimedOut);
    assert_eq!(c.judge().verdict, Verdict::Deny(Code::RecentTimedOut));
    c.ledger.refusals.clear();
    c.refuse(RefusalKey::Rule("force_push_any".into()), Refused::TimedOut);
    assert_eq!(c.says(), ("require_approval", Step::Gate));
    c.refuse(RefusalKey::Rule("force_push_any".into()), Refused::Denied);
    let j = c.judge();
    assert_eq!(j.verdict, Verdict::Deny(Code::RecentDenied));
    assert!(j.reason.as_str().contains("not today") && j.reused.is_some());
    c.grant(Scope::BashPattern("git push*".into()));
    assert_eq!(c.says(), ("allow", Step::Scope), "a scope comes before the memory");
}

/// INV-28, INV-29; attaching to an open question asks nothing new.
#[test]
fn caps_and_rates() {
    let mut c = bash(PUSH);
    let task = |c: &mut Case, count, minute, waiting| {
        let t = c.ledger.task.as_mut().unwrap();
        (t.gate_count, t.gates_last_minute, t.waiting) = (count, minute, waiting);
    };
    task(&mut c, 50, 0, 0);
    assert_eq!(c.judge().verdict, Verdict::Deny(Code::ApprovalCap));
    task(&mut c, 49, 20, 0);
    assert_eq!(c.judge().verdict, Verdict::Deny(Code::ApprovalRate));
    task(&mut c, 49, 19, 8);
    let Verdict::RequireApproval(terms) = c.judge().verdict else { panic!() };
    assert_eq!((terms.wait, terms.timeout_s), (Wait::Park, 86_400));
    task(&mut c, 50, 20, 0);
    let id = ApprovalId(RawId::new(NOW, [3; 10]));
    c.ledger.open = Some(OpenRequest {
        approval_id: id,
        wait: Wait::Hold,
        expires_at: NOW.plus_s(9),
        rulebook_digest: c.book.digest(),
    });
    let Verdict::RequireApproval(terms) = c.judge().verdict else { panic!() };
    assert_eq!(terms.attach, Some(id));
    c.ledger.open.as_mut().unwrap().rulebook_digest = Digest::of("old", &[]);
    assert_eq!(c.judge().verdict, Verdict::Deny(Code::ApprovalCap));
}

/// DECISIONS row 28: watch softens rules, and nothing else.
#[test]
fn watch_mode() {
    let watch = |line: &str| {
        let mut s = settings();
        s.mode = Mode::Watch;
        s.calls_per_minute = 1;
        case("Bash", &Json::object([("command", Json::str(line))]).canonical(), s)
    };
    for (line, would) in [("rm -rf /opt/x", "deny"), (PUSH, "require_approval")] {
        let mut c = watch(line);
        let j = c.judge();
        assert_eq!((j.verdict.clone(), j.step), (Verdict::Allow, Step::Watch), "{line}");
        assert_eq!(j.would.unwrap().verdict.as_str(), would);
        assert!(!j.granted);
        c.ledger.permits_last_minute = 1;
        assert_eq!(c.says(), ("deny", Step::Limits), "{line}");
        c.ledger.halt = Halt::Unknown { why: Clean::fixed("x") };
        assert_eq!(c.says(), ("deny", Step::Halt));
    }
    assert_eq!(watch("cat .env").says(), ("deny", Step::Paths));
    assert_eq!(watch("ls").says(), ("allow", Step::Soft));
}

/// P-7 and self-protection: the resolved form counts as well, and an unresolved path is refused.
/// GINV-40, GINV-60.
#[test]
fn paths_mean_files() {
    let mut c = case("Read", r#"{"file_path":"/home/ana/shop/readme"}"#, settings());
    assert_eq!(c.says(), ("allow", Step::Soft));
    c.ledger.resolved[0].real = Some("/home/ana/shop/.env".into());
    assert_eq!(c.says(), ("deny", Step::Paths));
    c.ledger.resolved[0].real = None;
    assert_eq!(c.says(), ("deny", Step::Paths));
    c.ledger.resolved.clear();
    assert_eq!(c.says(), ("deny", Step::Paths));
    for line in [
        "rm -rf /",
        "cat .countersign/config.toml",
        "rm -rf .",
        "rm -r ~/shop",
        "mv ../shop x",
        "cat ~/.local/state/countersign/x/state.db",
        "echo x > .claude/settings.json",
        "cp x .claude/settings.local.json",
        "cd .countersign && rm HALT",
    ] {
        let j = bash(line).judge();
        assert_eq!((j.step, j.rules), (Step::Paths, vec!["write_gate_config".to_owned()]), "{line}");
    }
    // Spellings that a review found its way round with: patterns, folders that move, copies into a folder, links.
    for line in [
        "cp x ~/.config/countersig?/config.toml",
        "cat ~/.local/state/countersig?/*/state.db",
        "cd && cp x .local/state/countersign/x",
        "cd -- .claude && cp x settings.json",
        "cp /tmp/settings.local.json .claude/",
        "cp -r /tmp/x/.claude .",
        "cp -r /tmp/x/. .",
        "echo {} > .claude/setting?.json",
        "uniq x .claude/settings.local.json",
        "cp x ab://../.claude/settings.json",
        "mv .git g",
        "cp x .git",
        "tee -a .claude/settings.json",
        "git checkout evil -- .claude",
        "cp -r x ~/.config",
        "cp -r ~/.local x",
        "grep -r x ~/.local/state",
        "git clone ./evil .claude",
        "tree -no.claude/settings.json",
        "rm -rf .codex",
        "echo x > .codex/hooks.json",
        "echo x >> /home/ana/.codex/config.toml",
        "cp /tmp/settings.json .gemini/",
        "mv x /home/ana/.gemini/trustedFolders.json",
        "echo x > .mcp.json",
        "echo x > /home/ana/.claude.json",
        "rm -rf .claude",
    ] {
        let j = bash(line).judge();
        assert_eq!((j.step, j.rules), (Step::Paths, vec!["write_gate_config".to_owned()]), "{line}");
    }
    for line in ["echo x > ~/.gitconfig", "cp x .husky/pre-push", "rm -r .husky", "tee ~/.config/git/config"]
    {
        let j = bash(line).judge();
        assert_eq!((j.step, j.rules), (Step::Paths, vec!["protected_path".to_owned()]), "{line}");
    }
    for line in
        ["cat ab://../.env", "grep -f.env x", "cat .en?", "cp /proc/self/cwd/x y", "cat /proc/77/root/etc/x"]
    {
        assert_ne!(bash(line).judge().verdict, Verdict::Allow, "{line}");
    }
    for line in [
        "cat .claude/settings.json",
        "rm -rf target",
        "ls .",
        "cargo fmt .",
        "cp a.txt .",
        "git add .",
        "git checkout main",
    ] {
        assert_eq!(bash(line).says(), ("allow", Step::Soft), "{line}");
    }
}

#[test]
fn levels_name_their_rules() {
    let mut s = settings();
    s.level = crate::rulebook::settings::Level::L0;
    assert_eq!(case("Bash", r#"{"command":"ls"}"#, s.clone()).judge().rules, ["level_asks_write"]);
    s.on_exceed = AskOrDeny::Deny;
    assert_eq!(case("Bash", r#"{"command":"ls"}"#, s.clone()).judge().rules, ["level_denies_write"]);
    assert_eq!(case("Read", r#"{"file_path":"a"}"#, s).says(), ("allow", Step::Soft));
}

#[test]
fn what_always_would_write() {
    let exact = |c: Case| match c.judge().verdict {
        Verdict::RequireApproval(t) => t.exact.map(|s| s.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(exact(bash(PUSH)).unwrap(), format!("bash_pattern:{PUSH}"));
    assert_eq!(exact(bash("git push --force $x")), None, "not understood");
    let secret = format!("git push --force https://x-access-token:{}@h/r", "aB3".repeat(8));
    assert_eq!(exact(bash(&secret)), None, "a secret must not get into a configuration file");
    let write = case("Write", r#"{"file_path":"/home/ana/shop/credentials.md","content":""}"#, settings());
    assert_eq!(exact(write).unwrap(), "write_path:/home/ana/shop/credentials.md");
}

/// Standing allows end at their time.
#[test]
fn standing_allows_end() {
    let mut s = settings();
    let scope = Scope::parse_standing("bash_pattern", "git push --force*").unwrap();
    s.allow = vec![StandingAllow { scope, principal: None, until: Some(NOW.plus_s(1)) }];
    let mut c = case("Bash", &Json::object([("command", Json::str(PUSH))]).canonical(), s);
    assert_eq!(c.says(), ("allow", Step::Scope));
    c.ledger.now = NOW.plus_s(1);
    assert_eq!(c.says(), ("require_approval", Step::Gate));
}

/// P-32: nothing but one rule consults the detector. Over the oracle's lines and the golden cases every verdict is the
/// same whether or not that rule is there and whatever becomes of flagged results; where it is off, a tainted task is
/// judged as any other; where it is on, it only adds questions.
#[test]
fn nothing_else_rests_on_the_detector() {
    let lines = include_str!("../../tests/oracle/own.txt").lines();
    let lines = lines.filter_map(|line| line.split_once(' ')).filter(|(mark, _)| "-+~?".contains(mark));
    let mut calls: Vec<ToolCall> = lines
        .map(|(_, line)| Json::object([("command", Json::str(line.replace('\u{23ce}', "\n")))]).canonical())
        .map(|args| call("Bash", &args))
        .collect();
    assert!(calls.len() > 1_000, "{}", calls.len());
    let golden =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../countersign/tests/policy/cases/tools.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    for case in golden.as_array().unwrap() {
        let (tool, input) = (&case["call"]["tool_name"], &case["call"]["tool_input"]);
        calls.push(call(tool.as_str().unwrap(), &input.to_string()));
    }
    let off = {
        let mut s = settings();
        s.disabled = vec![SUSPECTED.to_owned()];
        (s.injection.block, s.injection.suspicious_blocks_writes) = (false, true);
        book("", s)
    };
    let on = book("", settings());
    let mut more = 0;
    for call in calls {
        let facts = Facts::of(&call, &on.settings().ground);
        let clean = quiet(&facts);
        let mut tainted = clean.clone();
        let by = crate::ids::CallId(RawId::new(NOW, [9; 10]));
        tainted.task.as_mut().unwrap().tainted = Some(crate::ledger::Taint { by, at: NOW });
        let says = |book: &Rulebook, ledger: &Ledger| {
            let judged = judge(&call, &facts, Rules::InForce(book), ledger);
            let mut rules = judged.rules.clone();
            rules.retain(|id| id != SUSPECTED);
            (judged.verdict.as_str(), judged.step, rules)
        };
        let plain = says(&on, &clean);
        let shown = call.args().canonical();
        assert_eq!(says(&off, &clean), plain, "{shown}");
        assert_eq!(says(&off, &tainted), plain, "{shown}");
        let suspected = says(&on, &tainted);
        let stricter = suspected == ("require_approval", Step::Gate, Vec::new()) && plain.0 == "allow";
        assert!(suspected == plain || stricter, "{shown}: {plain:?} became {suspected:?}");
        more += usize::from(stricter);
    }
    assert!(more > 100, "the rule asked about {more}");
}
