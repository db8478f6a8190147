//! The judge: what the rules say of a call, given what the ledger knows. One pure function, one way to allow.
//!
//! The steps and their order are those of DECISIONS section 2 (J1–J15); the first outcome ends the walk, and every
//! absolute denial precedes every question. Every fault is a denial that says so. Where it stops: nothing is read
//! or written here, and time comes in with the ledger.

use crate::approval::scope::{Scope, UnderstoodLine};
use crate::approval::{Clip, Severity, Wait, window_s};
use crate::call::{Served, Surface, ToolCall};
use crate::cleanse::{Clean, clean_line};
use crate::code::Code;
use crate::facts::paths::{Access, PathPattern, PathUse, leads_astray};
use crate::facts::{FactError, Facts};
use crate::ids::{ApprovalId, GrantId};
use crate::ledger::{Grant, Halt, Ledger, Refusal, RefusalKey, Refused, Trust};
use crate::rulebook::settings::{Mode, RuleSettings, ScopeMatch};
use crate::rulebook::{Asked, EvalError, RuleSet, Rulebook};

/// Most requests that hold callers of one session at once; further ones are parked.
pub const MAX_WAITING: u32 = 8;

/// The step that decided (NAMES section 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the words are those of DECISIONS section 2
pub enum Step {
    Door,
    Halt,
    Visible,
    Trust,
    Input,
    Paths,
    Floor,
    Hard,
    Limits,
    Grant,
    Scope,
    RecentInput,
    Soft,
    RecentRule,
    Gate,
    Watch,
    Ready,
    Commit,
    Perform,
    Cleanse,
}

impl Step {
    /// The word in records and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Door => "door",
            Step::Halt => "halt",
            Step::Visible => "visible",
            Step::Trust => "trust",
            Step::Input => "input",
            Step::Paths => "paths",
            Step::Floor => "floor",
            Step::Hard => "hard",
            Step::Limits => "limits",
            Step::Grant => "grant",
            Step::Scope => "scope",
            Step::RecentInput => "recent_input",
            Step::Soft => "soft",
            Step::RecentRule => "recent_rule",
            Step::Gate => "gate",
            Step::Watch => "watch",
            Step::Ready => "ready",
            Step::Commit => "commit",
            Step::Perform => "perform",
            Step::Cleanse => "cleanse",
        }
    }
}

/// What the rules say now. Exhaustive: a new outcome breaks every caller's build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call may run.
    Allow,
    /// It may not.
    Deny(Code),
    /// A person must say so.
    RequireApproval(Terms),
}

impl Verdict {
    /// The word in records and answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny(_) => "deny",
            Verdict::RequireApproval(_) => "require_approval",
        }
    }
}

/// The terms of a question to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How urgent: the highest of the rules that ask.
    pub severity: Severity,
    /// The window in seconds.
    pub timeout_s: i64,
    /// What shortened it, and from how many seconds.
    pub clip: Option<(Clip, i64)>,
    /// Held or parked.
    pub wait: Wait,
    /// The pending request for exactly this call, to attach to.
    pub attach: Option<ApprovalId>,
    /// What `approve --always` would write.
    pub exact: Option<Scope>,
}

/// What came of a judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What the rules say.
    pub verdict: Verdict,
    /// The step that said it.
    pub step: Step,
    /// Why, in words for the agent.
    pub reason: Clean,
    /// The rules that decided, in policy order.
    pub rules: Vec<String>,
    /// The single-use yes that this allow spends.
    pub spend: Option<GrantId>,
    /// A person's yes, a scope or a standing allow let it pass: the client need not ask again.
    pub granted: bool,
    /// In watch mode: what would have been.
    pub would: Option<Box<Judgement>>,
    /// A remembered refusal that answered.
    pub reused: Option<Refusal>,
}

impl Judgement {
    fn new(verdict: Verdict, step: Step, reason: Clean) -> Judgement {
        Judgement {
            verdict,
            step,
            reason,
            rules: Vec::new(),
            spend: None,
            granted: false,
            would: None,
            reused: None,
        }
    }

    /// A denial of a step outside the judge.
    pub fn refuse(code: Code, step: Step, reason: Clean) -> Judgement {
        Judgement::new(Verdict::Deny(code), step, reason)
    }

    fn rules(mut self, rules: Vec<String>) -> Judgement {
        self.rules = rules;
        self
    }
}

/// The rulebook in force, or why there is none.
#[derive(Clone, Copy)]
pub enum Rules<'a> {
    /// It loaded.
    InForce(&'a Rulebook),
    /// It did not: every call is refused with this reason.
    Invalid(&'a Clean),
}

/// Judges a call.
pub fn judge(
    call: &ToolCall,
    facts: &Result<Facts, FactError>,
    rules: Rules<'_>,
    ledger: &Ledger,
) -> Judgement {
    // J1
    if let Some(denied) = halted(&ledger.halt) {
        return denied;
    }
    // J2: tools of the gate that this principal has not.
    if let Rules::InForce(book) = rules
        && let Some(denied) = floor::hidden(call, book.settings())
    {
        return denied;
    }
    // J2, J3: the server and its tool; they have nothing to say of a client's own tools.
    if let Some(denied) = call.served().and_then(|served| untrusted(served, &ledger.trust)) {
        return denied;
    }
    // J3: a rulebook that is not accepted or does not load.
    let book = match rules {
        Rules::InForce(book) => book,
        Rules::Invalid(why) => return Judgement::refuse(Code::PolicyInvalid, Step::Trust, why.clone()),
    };
    // J4
    let facts = match facts {
        Ok(facts) => facts,
        Err(e) => return Judgement::refuse(e.code, Step::Input, clean_line(&e.why, 300)),
    };
    // J5
    if let Some(denied) = blocked(facts, book.settings(), ledger) {
        return denied;
    }
    // J6
    if let Some(denied) = floor::floor(call, facts, book.settings(), ledger) {
        return denied;
    }
    let decided = by_rules(call, facts, book, ledger);
    // J15
    match (book.settings().mode, &decided.verdict) {
        (Mode::Enforce, _) | (Mode::Watch, Verdict::Allow) => decided,
        (Mode::Watch, Verdict::Deny(Code::LimitRate | Code::LimitConcurrency)) => decided,
        // No judgement was made that could be softened.
        (Mode::Watch, Verdict::Deny(code)) if code.is_fail_closed() => decided,
        // Secrets and notes are a person's whatever the mode (vault.md 10.5): a no, a limit or a rule about them is as
        // little softened as the question.
        (Mode::Watch, _) if floor::exact_grant(facts).is_some() => decided,
        // Nor is what a person's configuration denies for good.
        (Mode::Watch, Verdict::Deny(_)) if decided.rules == [floor::DENY_ENTRY] => decided,
        (Mode::Watch, Verdict::Deny(_) | Verdict::RequireApproval(_)) => watched(decided, book, ledger),
    }
}

fn watched(decided: Judgement, book: &Rulebook, ledger: &Ledger) -> Judgement {
    // Limits stand behind the hard set and are never softened: a hard match must not hide one.
    if decided.step == Step::Hard
        && let Some(denied) = limited(book.settings(), ledger)
    {
        return denied;
    }
    let reason = Clean::fixed("watch mode: recorded, not enforced");
    let mut allow = Judgement::new(Verdict::Allow, Step::Watch, reason).rules(decided.rules.clone());
    allow.would = Some(Box::new(decided));
    allow
}

/// J7 to J14.
fn by_rules(call: &ToolCall, facts: &Facts, book: &Rulebook, ledger: &Ledger) -> Judgement {
    let settings = book.settings();
    let asked = match Asked::of(call, facts, ledger, settings) {
        Ok(asked) => asked,
        Err(e) => return broken(&e, Step::Hard),
    };
    // J7
    if let Some(denied) = floor::denied(call, facts, settings, ledger) {
        return denied;
    }
    match book.evaluate(RuleSet::Hard, &asked) {
        Err(e) => return broken(&e, Step::Hard),
        Ok(hits) if !hits.is_empty() => {
            let reason = told("Hard-deny", &hits, book);
            return Judgement::refuse(Code::Hard, Step::Hard, reason).rules(hits);
        }
        Ok(_) => {}
    }
    // What a standing denial refuses by the rule that would ask about it; before anything that could answer the rule.
    if floor::denies_rules(call, settings, ledger) {
        match book.evaluate(RuleSet::Soft, &asked) {
            Err(e) => return broken(&e, Step::Hard),
            Ok(hits) => {
                if let Some(denied) = floor::denied_rule(call, &hits, settings, ledger) {
                    return denied;
                }
            }
        }
    }
    // J8
    if let Some(denied) = limited(settings, ledger) {
        return denied;
    }
    // J9
    if ledger.joined && !knows_more(call, &asked, book, ledger) {
        let reason = Clean::fixed("the client's hook asked about this call and it was allowed");
        let mut allow = Judgement::new(Verdict::Allow, Step::Grant, reason);
        allow.granted = true;
        return allow;
    }
    let exact = |g: &&Grant| {
        g.scope == Scope::ThisCall
            && g.call_digest == Some(call.call_digest())
            && g.rulebook_digest == Some(book.digest())
    };
    if let Some(grant) = ledger.grants.iter().find(exact) {
        let reason = Clean::fixed("a person approved this call");
        let mut allow = Judgement::new(Verdict::Allow, Step::Grant, reason);
        allow.spend = Some(grant.grant_id);
        allow.granted = true;
        return allow;
    }
    // J10, for what no scope answers: only a tainted task can have such a match, so the others are not asked twice.
    let mut known = None;
    let mut each_time = false;
    if ledger.tainted().is_some() {
        match book.evaluate(RuleSet::Soft, &asked) {
            Err(e) => return broken(&e, Step::Soft),
            Ok(hits) => {
                each_time = hits.iter().any(|id| asks_each_time(id) && !settings.disabled.contains(id));
                known = Some(hits);
            }
        }
    }
    let commands = facts.understood();
    let line = facts.shell.as_ref().map(|s| s.line.as_str()).unwrap_or_default();
    let shell = commands.as_deref().map(|commands| UnderstoodLine { line, commands });
    let principal = &call.parts().principal;
    let standing = || settings.allow.iter().filter(|a| a.counts(principal, ledger.now)).map(|a| &a.scope);
    let given = || ledger.grants.iter().map(|g| &g.scope);
    if !each_time
        && floor::exact_grant(facts).is_none()
        && let Some(scope) =
            given().chain(standing()).find(|s| s.covers(call.tool(), shell, &facts.write_forms()))
    {
        let reason = clean_line(&format!("Pre-approved by scope: {scope}"), 300);
        let mut allow = Judgement::new(Verdict::Allow, Step::Scope, reason);
        allow.granted = true;
        return allow;
    }
    // J11
    let same_input = |r: &&Refusal| r.key == RefusalKey::Input(call.args_digest());
    if let Some(refusal) = ledger.refusals.iter().find(same_input) {
        return recent(refusal, Step::RecentInput, None);
    }
    // J12
    let hits = match known.map_or_else(|| book.evaluate(RuleSet::Soft, &asked), Ok) {
        Err(e) => return broken(&e, Step::Soft),
        Ok(hits) => hits,
    };
    if hits.is_empty() {
        return Judgement::new(Verdict::Allow, Step::Soft, Clean::fixed("permitted"));
    }
    let left: Vec<String> = hits.iter().filter(|id| !settings.disabled.contains(id)).cloned().collect();
    if left.is_empty() {
        let reason = Clean::fixed("every rule that matches is disabled by configuration");
        return Judgement::new(Verdict::Allow, Step::Soft, reason).rules(hits);
    }
    let lifted = |id: &String| {
        if asks_each_time(id) {
            return false;
        }
        if floor::BY_GRANT.contains(&id.as_str()) {
            return floor::is_granted(call, facts, settings, ledger);
        }
        let granted = ledger.grants.iter().any(|g| {
            // INVARIANT rule-scope: a rule scope lives as long as the rule's text.
            g.scope == Scope::Rule(id.clone()) && g.rule_digest == book.rule(id).map(|r| r.text_digest)
        });
        granted || standing().any(|s| *s == Scope::Rule(id.clone()))
    };
    let enough = match settings.scope_match {
        ScopeMatch::All => left.iter().all(lifted),
        ScopeMatch::Any => {
            let stands = |id: &String| floor::BY_GRANT.contains(&id.as_str()) && !lifted(id);
            !each_time && left.iter().any(lifted) && !left.iter().any(stands)
        }
    };
    if enough {
        let reason = clean_line(&format!("Rules lifted by scope: {}", left.join(", ")), 300);
        let mut allow = Judgement::new(Verdict::Allow, Step::Soft, reason).rules(left);
        allow.granted = true;
        return allow;
    }
    let left: Vec<String> = left.into_iter().filter(|id| !lifted(id)).collect();
    // J13
    let same_rule = |r: &&Refusal| {
        matches!(&r.key, RefusalKey::Rule(id) if left.contains(id)) && r.how == Refused::Denied
    };
    if let Some(refusal) = ledger.refusals.iter().find(same_rule) {
        return recent(refusal, Step::RecentRule, Some(left));
    }
    // J14
    gate(call, facts, book, ledger, left)
}

/// Whether a request was opened for a use that only its own grant answers: wider answers are none.
pub fn is_by_grant(rules: &[String]) -> bool {
    rules.iter().any(|rule| floor::BY_GRANT.contains(&rule.as_str()))
}

/// Soft matches that no scope, rule scope or standing allow answers: a person decides each time, for this call (DECISIONS
/// row 16, section 6). A yes to everything that was given before the suspicion says nothing about what came after it.
const EACH_TIME: &[&str] = &[SUSPECTED];
/// The rule of a tainted task.
const SUSPECTED: &str = "suspected_injection";

/// Whether no scope that names a rule lifts it: an entry or an answer that tried would mean nothing.
pub fn is_never_lifted(rule: &str) -> bool {
    asks_each_time(rule) || floor::BY_GRANT.contains(&rule)
}

fn asks_each_time(rule: &str) -> bool {
    EACH_TIME.contains(&rule)
}

/// Whether a rule asks about the call because of what only the gateway knows of its server: tiers and what arguments
/// are. The client's hook could not ask about that.
fn knows_more(call: &ToolCall, asked: &Asked, book: &Rulebook, ledger: &Ledger) -> bool {
    if call.served().is_none_or(|served| served.tier.is_none() && served.roles.is_empty()) {
        return false;
    }
    let mut parts = call.parts().clone();
    parts.served = None;
    let Ok(plain) = ToolCall::new(parts) else { return true };
    let settings = book.settings();
    let Ok(less) = Facts::of(&plain, &settings.ground) else { return true };
    let Ok(before) = Asked::of(&plain, &less, ledger, settings) else { return true };
    match (book.evaluate(RuleSet::Soft, asked), book.evaluate(RuleSet::Soft, &before)) {
        (Ok(all), Ok(seen)) => all.iter().any(|rule| !seen.contains(rule)),
        _ => true,
    }
}

/// Rules that cannot be asked allow nothing.
fn broken(e: &EvalError, step: Step) -> Judgement {
    Judgement::refuse(Code::PolicyError, step, clean_line(&e.to_string(), 300))
}

fn halted(halt: &Halt) -> Option<Judgement> {
    let text = match halt {
        Halt::Absent => return None,
        Halt::Present { reason } => format!("everything is halted: {reason}"),
        Halt::Unknown { why } => format!("a halt cannot be ruled out: {why}"),
    };
    Some(Judgement::refuse(Code::Halted, Step::Halt, clean_line(&text, 300)))
}

/// J2 and J3 (gateway.md 3.4 to 3.6, DECISIONS row 63). One wording for all that is not there: which of them it is says
/// something about the set-up.
fn untrusted(served: &Served, trust: &Trust) -> Option<Judgement> {
    let absent = || {
        let reason = Clean::fixed("the server has no such tool");
        Some(Judgement::refuse(Code::UnknownTool, Step::Visible, reason))
    };
    if served.blocked || served.surface == Surface::Tool(None) {
        return absent();
    }
    let server = |text: &str| {
        let text = format!(
            "{text}; a person looks at it with `countersign trust list` and `countersign trust accept {}`",
            served.server
        );
        Some(Judgement::refuse(Code::UntrustedServer, Step::Trust, clean_line(&text, 400)))
    };
    if served.launch.is_some() && trust.launch.is_none() {
        return server("nobody has accepted this server yet");
    }
    if served.launch.is_some() && served.launch != trust.launch {
        return server("how this server is started changed since it was accepted");
    }
    if trust.quarantined {
        return server("a tool of this server changed since it was accepted, so the server is quarantined");
    }
    match (served.surface, trust.tool) {
        (Surface::Method, _) => None,
        (Surface::Unseen, _) => {
            let reason = Clean::fixed("the server cannot be reached: what it lists could not be looked at");
            Some(Judgement::refuse(Code::ServerUnavailable, Step::Ready, reason))
        }
        // Added since, and hidden until somebody accepts it.
        (Surface::Tool(_), None) => absent(),
        (Surface::Tool(now), accepted) if now == accepted => None,
        (Surface::Tool(_), Some(_)) => {
            let text = format!(
                "this tool changed since it was accepted; a person runs `countersign trust accept {}`",
                served.server
            );
            Some(Judgement::refuse(Code::UntrustedTool, Step::Trust, clean_line(&text, 400)))
        }
    }
}

fn blocked(facts: &Facts, settings: &RuleSettings, ledger: &Ledger) -> Option<Judgement> {
    for path in &facts.paths {
        // What leads through a process's own view of the files cannot be told from here.
        if leads_astray(&path.path) {
            let text = format!("the path in `{}` leads through /proc or /dev/fd", path.place);
            return Some(Judgement::refuse(Code::BlockedPath, Step::Paths, clean_line(&text, 300)));
        }
        let mut forms = vec![path.path.as_str()];
        for asked in [&path.path, &path.spelled] {
            let resolved = ledger.resolved.iter().find(|r| r.asked == *asked);
            // A link that cannot be followed could lead anywhere; a path nobody looked up has no resolved form at all.
            let Some(real) = resolved.and_then(|r| r.real.as_deref()) else {
                let text = format!("the path in `{}` cannot be resolved", path.place);
                return Some(Judgement::refuse(Code::BlockedPath, Step::Paths, clean_line(&text, 300)));
            };
            forms.push(real);
        }
        let meets = |p: &PathPattern, form: &str| {
            p.blocks(form, path.access)
                || (path.takes_tree && p.lies_below(form, path.access))
                || (path.pattern && p.could_meet(form, path.access, path.takes_tree))
        };
        let hit = |patterns: &[PathPattern]| {
            patterns.iter().find(|p| forms.iter().any(|form| meets(p, form))).map(|p| p.text().to_owned())
        };
        if hit(&settings.own).is_some() {
            return Some(refuse_path(
                path,
                "write_gate_config",
                "belongs to countersign or to a client's settings",
            ));
        }
        if let Some(pattern) = hit(&settings.protected) {
            return Some(refuse_path(path, "protected_path", &format!("is protected by `{pattern}`")));
        }
        if let Some(pattern) = hit(&settings.blocked) {
            return Some(refuse_path(path, "blocked_path", &format!("is blocked by `{pattern}`")));
        }
    }
    None
}

/// The answer names the argument and the rule; the value itself the agent knows.
fn refuse_path(path: &PathUse, rule: &str, why: &str) -> Judgement {
    let verb = match path.access {
        Access::Read => "names a path that",
        Access::Write => "names or writes a path that",
    };
    let text = format!("`{}` {verb} {why}", path.place);
    Judgement::refuse(Code::BlockedPath, Step::Paths, clean_line(&text, 300)).rules(vec![rule.to_owned()])
}

fn limited(settings: &RuleSettings, ledger: &Ledger) -> Option<Judgement> {
    let deny = |code, text: String| Some(Judgement::refuse(code, Step::Limits, clean_line(&text, 300)));
    // What the hook let pass is this very call, and was counted then.
    let others = |n: u32| n.saturating_sub(u32::from(ledger.joined));
    let per_minute = settings.calls_per_minute;
    if per_minute > 0 && others(ledger.permits_last_minute) >= per_minute {
        return deny(Code::LimitRate, format!("more than {per_minute} calls in 60 s; try again in a minute"));
    }
    let most = settings.max_concurrent_calls;
    if most > 0 && others(ledger.open_calls) >= most {
        return deny(Code::LimitConcurrency, format!("{most} calls are running; wait for one to end"));
    }
    None
}

fn recent(refusal: &Refusal, step: Step, rules: Option<Vec<String>>) -> Judgement {
    let (code, how) = match refusal.how {
        Refused::Denied => (Code::RecentDenied, "DENIED"),
        Refused::TimedOut => (Code::RecentTimedOut, "TIMED_OUT"),
    };
    let named = match &refusal.key {
        RefusalKey::Rule(id) => format!(" (rule {id})"),
        RefusalKey::Input(_) => String::new(),
    };
    let text = format!("Recent {how} a moment ago{named}: {}", refusal.reason);
    let mut denied = Judgement::refuse(code, step, clean_line(&text, 500)).rules(rules.unwrap_or_default());
    denied.reused = Some(refusal.clone());
    denied
}

fn gate(call: &ToolCall, facts: &Facts, book: &Rulebook, ledger: &Ledger, left: Vec<String>) -> Judgement {
    let settings = book.settings();
    let rules = || left.iter().filter_map(|id| book.rule(id));
    let severity = rules().map(|r| r.severity.unwrap_or_default()).max().unwrap_or_default();
    let asked = rules().filter_map(|r| r.timeout_s).min().unwrap_or(settings.timeout_s);
    let same =
        |o: &&crate::ledger::OpenRequest| o.rulebook_digest == book.digest() && ledger.now < o.expires_at;
    let open = ledger.open.as_ref().filter(same);
    let task = ledger.task.as_ref();
    if open.is_none()
        && let Some(task) = task
    {
        if task.gate_count >= task.gate_cap {
            let text = format!("approval-gate cap exceeded ({}/task)", task.gate_cap);
            return Judgement::refuse(Code::ApprovalCap, Step::Gate, clean_line(&text, 300)).rules(left);
        }
        if task.gates_last_minute >= settings.per_minute {
            let text = format!("approval-gate rate limit exceeded ({}/min)", settings.per_minute);
            return Judgement::refuse(Code::ApprovalRate, Step::Gate, clean_line(&text, 300)).rules(left);
        }
    }
    let wait = match task {
        Some(task) if task.waiting >= MAX_WAITING => Wait::Park,
        _ => settings.wait,
    };
    let (timeout_s, clip) = match wait {
        Wait::Park => (settings.park_s, None),
        // Interactive tasks have no lifetime term, so a window is always left.
        Wait::Hold => window_s(asked, settings.timeout_s, None).unwrap_or((crate::approval::FLOOR_S, None)),
    };
    let terms = Terms {
        severity,
        timeout_s,
        clip: clip.map(|c| (c, settings.timeout_s)),
        wait,
        attach: open.map(|o| o.approval_id),
        // What is asked each time has no standing form.
        exact: if left.iter().any(|id| asks_each_time(id)) { None } else { exact_scope(call, facts) },
    };
    let mut reason = told("Soft-deny", &left, book);
    if let (true, Some(taint)) = (left.iter().any(|id| id == SUSPECTED), ledger.tainted()) {
        // First, so that no other rule's words can crowd it out.
        reason = clean_line(&format!("After the flagged result of call {}: {reason}", taint.by), 460);
    }
    Judgement::new(Verdict::RequireApproval(terms), Step::Gate, reason).rules(left)
}

/// The narrowest standing scope that covers exactly this call. None where the line is not understood, and where the
/// text holds a secret that must not be written into a configuration file.
fn exact_scope(call: &ToolCall, facts: &Facts) -> Option<Scope> {
    if facts.own.is_some() {
        return floor::exact_grant(facts);
    }
    let (text, scope) = match &facts.shell {
        Some(shell) if facts.understood().is_some() => {
            (shell.line.as_str(), Scope::exact_command(&shell.line))
        }
        Some(_) => return None,
        None => {
            let path = facts
                .writes
                .first()
                .filter(|_| crate::facts::tools::write_path_member(call.tool()).is_some())?;
            (path.as_str(), Scope::exact_path(path))
        }
    };
    let plain = crate::cleanse::clean_text(text).as_str() == text;
    let fits = scope.to_string().len() <= crate::approval::scope::MAX_PATTERN_BYTES;
    (plain && fits).then_some(scope)
}

fn told(what: &str, ids: &[String], book: &Rulebook) -> Clean {
    let summaries: Vec<&str> =
        ids.iter().filter_map(|id| book.rule(id)).map(|r| r.summary.as_str()).collect();
    clean_line(&format!("{what}: {} ({})", ids.join(", "), summaries.join("; ")), 400)
}

pub mod floor;
#[cfg(test)]
mod tests;
