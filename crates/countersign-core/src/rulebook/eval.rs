//! Asking Cedar: one request an action and form, hits united, every error a denial.
//!
//! Cedar skips a policy that errs, so a `forbid` that errs would be no forbid; and it reads `__entity` and `__extn`
//! in JSON as references, so agent text must not reach its JSON reader. Here any reported error ends the evaluation
//! as a fault (INV-9), and contexts are built from typed values only (dependencies.md 3.2).

use super::settings::RuleSettings;
use super::slices::{Kind, Slices};
use super::{BASE_PERMIT, RuleSet, Rulebook};
use crate::call::ToolCall;
use crate::facts::{Facts, Own, paths};
use crate::ledger::{Ledger, Resolved};
use crate::{fetch, mail, notes};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Ids of the rules that matched, in policy order.
pub type Hits = Vec<String>;

/// A rule could not be evaluated, so nothing can be said to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fail-closed: cedar_error: {what}")]
pub struct EvalError {
    /// What went wrong.
    pub what: String,
    /// The rules that erred, if known.
    pub rules: Vec<String>,
}

fn fault(what: impl std::fmt::Display) -> EvalError {
    EvalError { what: what.to_string(), rules: Vec::new() }
}

/// The values of one request's context.
struct Seen<'a> {
    repo: &'a str,
    principal: String,
    client: &'a str,
    sub_agent: bool,
    read_only: bool,
    tool: &'a str,
    server_request: &'a str,
    tainted: bool,
    credentials: BTreeSet<String>,
    facts: &'a Facts,
}

enum Action<'a> {
    Invoke,
    Write(&'a str),
    Bash(&'a str),
    Fetch(&'a fetch::Request),
    Mail(&'a mail::Message),
    Recall(&'a notes::Ask),
}

impl Action<'_> {
    fn kind(&self) -> Kind {
        match self {
            Action::Invoke => Kind::Invoke,
            Action::Write(_) => Kind::Write,
            Action::Bash(_) => Kind::Bash,
            Action::Fetch(_) => Kind::Fetch,
            Action::Mail(_) => Kind::Mail,
            Action::Recall(notes::Ask::Fetch { whole: false, sensitive: false, .. }) => Kind::MemoryPreview,
            Action::Recall(notes::Ask::Fetch { .. }) => Kind::MemoryFetch,
            Action::Recall(_) => Kind::MemoryList,
        }
    }
}

/// A call as rules are asked about it: one request an action and form. Both sets are put the same requests.
pub struct Asked {
    tool: String,
    requests: Vec<(Kind, Request)>,
    /// A note with the store it lies in; everything else has no parents.
    entities: Entities,
}

impl Asked {
    /// Makes the requests of a call. `ledger` says what its paths really name, of which a form can only add a hit, and
    /// whether its task is tainted.
    pub fn of(
        call: &ToolCall,
        facts: &Facts,
        ledger: &Ledger,
        settings: &RuleSettings,
    ) -> Result<Asked, EvalError> {
        let parts = call.parts();
        let seen = Seen {
            repo: &settings.repo,
            principal: parts.principal.id(),
            client: parts.session.client.as_str(),
            sub_agent: parts.principal.is_child(),
            // Only tasks that were submitted as such read only; a client's session never is.
            read_only: false,
            tool: call.tool(),
            server_request: call.served().and_then(|s| s.asked).map_or("", |asked| asked.as_str()),
            tainted: ledger.tainted().is_some(),
            credentials: facts.credentials(call.tool(), &ledger.resolved),
            facts,
        };
        Asked::about(&seen, &written(facts, &ledger.resolved))
    }

    fn about(seen: &Seen<'_>, writes: &[String]) -> Result<Asked, EvalError> {
        let mut actions = vec![Action::Invoke];
        actions.extend(writes.iter().map(|p| Action::Write(p)));
        actions.extend(seen.facts.command_forms.iter().map(|c| Action::Bash(c)));
        actions.extend(match &seen.facts.own {
            Some(Ok(Own::Fetch(request))) => Some(Action::Fetch(request)),
            Some(Ok(Own::Mail(message))) => Some(Action::Mail(message)),
            Some(Ok(Own::Recall(ask))) => Some(Action::Recall(ask)),
            // The floor refused it, or is all there is to say.
            Some(Ok(Own::Read(_)) | Err(_)) | None => None,
        });
        let entities = match &seen.facts.own {
            Some(Ok(Own::Recall(ask))) => lies_in(ask)?,
            _ => Entities::empty(),
        };
        let requests = actions.iter().map(|action| Ok((action.kind(), request(seen, action)?)));
        Ok(Asked {
            tool: seen.tool.to_owned(),
            requests: requests.collect::<Result<_, EvalError>>()?,
            entities,
        })
    }
}

impl Rulebook {
    /// The rules of a set that match a call.
    pub fn evaluate(&self, set: RuleSet, asked: &Asked) -> Result<Hits, EvalError> {
        let slices = self.slices(set);
        let mut hits: Hits = Vec::new();
        for (kind, request) in &asked.requests {
            for policies in slices.for_request(*kind, &asked.tool) {
                for id in ask(policies, request, &asked.entities)? {
                    if !hits.contains(&id) {
                        hits.push(id);
                    }
                }
            }
        }
        hits.sort_by_key(|id| self.order(id));
        Ok(hits)
    }

    /// Evaluates every action in both sets once, on a call without anything special about it.
    pub(super) fn probe(&self) -> Result<(), EvalError> {
        let facts = Facts {
            class: crate::facts::tools::ToolClass::Shell,
            tier: crate::facts::tools::Tier::Write,
            tier_because: None,
            shell: Some(crate::facts::shell::ShellFacts::read("true")),
            command_forms: vec!["true".to_owned()],
            writes: vec!["/probe".to_owned()],
            given_write: None,
            paths: Vec::new(),
            own: None,
        };
        let principal = "agent:other:0".to_owned();
        let seen = Seen {
            repo: "",
            principal,
            client: "other",
            sub_agent: false,
            read_only: false,
            tool: "Probe",
            server_request: "",
            tainted: false,
            credentials: BTreeSet::new(),
            facts: &facts,
        };
        // A rule for one tool alone is asked in the name of that tool.
        for set in [RuleSet::Hard, RuleSet::Soft] {
            let writes = written(&facts, &[]);
            self.evaluate(set, &Asked::about(&seen, &writes)?)?;
            for tool in self.slices(set).tools() {
                let named =
                    Seen { tool, principal: seen.principal.clone(), credentials: BTreeSet::new(), ..seen };
                self.evaluate(set, &Asked::about(&named, &writes)?)?;
            }
        }
        Ok(())
    }

    fn slices(&self, set: RuleSet) -> &Slices {
        match set {
            RuleSet::Hard => &self.hard,
            RuleSet::Soft => &self.soft,
        }
    }
}

/// Every spelling of the written paths that rules are tried on: as given, absolute, as the machine resolves it, and
/// each in the one spelling that file systems without case take for it.
fn written(facts: &Facts, resolved: &[Resolved]) -> Vec<String> {
    let mut forms = facts.write_forms();
    let real = |form: &String| resolved.iter().find(|r| r.asked == *form)?.real.clone();
    let reals: Vec<String> = forms.iter().filter_map(real).collect();
    forms.extend(reals);
    let folded: Vec<String> = forms.iter().map(|f| paths::fold(f)).collect();
    forms.extend(folded);
    let mut seen = std::collections::HashSet::new();
    forms.retain(|f| seen.insert(f.clone()));
    forms
}

static TOOL: OnceLock<Option<EntityTypeName>> = OnceLock::new();
static FILE: OnceLock<Option<EntityTypeName>> = OnceLock::new();
static BASH: OnceLock<Option<EntityTypeName>> = OnceLock::new();
static SECRET: OnceLock<Option<EntityTypeName>> = OnceLock::new();
static CHANNEL: OnceLock<Option<EntityTypeName>> = OnceLock::new();
static STORE: OnceLock<Option<EntityTypeName>> = OnceLock::new();
static ENTRY: OnceLock<Option<EntityTypeName>> = OnceLock::new();
static AGENT: OnceLock<Option<EntityTypeName>> = OnceLock::new();
static ACTION: OnceLock<Option<EntityTypeName>> = OnceLock::new();

fn uid(kind: &OnceLock<Option<EntityTypeName>>, name: &str, id: &str) -> Result<EntityUid, EvalError> {
    // Parsing a type's name costs as much as a small evaluation.
    let kind = kind.get_or_init(|| name.parse().ok()).clone().ok_or_else(|| fault("a type name"))?;
    Ok(EntityUid::from_type_name_and_id(kind, cedar_policy::EntityId::new(id)))
}

/// The store, or the note, that is asked for. Both names were checked.
fn remembered(ask: &notes::Ask) -> Result<EntityUid, EvalError> {
    match ask.place() {
        (store, "") => uid(&STORE, "Agent::MemoryStore", &format!("default/{store}")),
        (store, key) => uid(&ENTRY, "Agent::MemoryEntry", &format!("default/{store}/{key}")),
    }
}

fn lies_in(ask: &notes::Ask) -> Result<Entities, EvalError> {
    let (store, key) = ask.place();
    if key.is_empty() {
        return Ok(Entities::empty());
    }
    let store = uid(&STORE, "Agent::MemoryStore", &format!("default/{store}"))?;
    let note = Entity::new_no_attrs(remembered(ask)?, [store].into());
    Entities::from_entities([note], None).map_err(fault)
}

fn request(seen: &Seen<'_>, action: &Action<'_>) -> Result<Request, EvalError> {
    // User text must never become an entity id, so files and commands are sentinels; tool names are bounded.
    let name = action.kind().action();
    let resource = match action {
        Action::Invoke => uid(&TOOL, "Agent::Tool", seen.tool)?,
        Action::Write(_) => uid(&FILE, "Agent::File", "file")?,
        Action::Bash(_) => uid(&BASH, "Agent::BashCommand", "command")?,
        Action::Fetch(request) => {
            uid(&SECRET, "Agent::Secret", &format!("default/{}", request.secret.as_str()))?
        }
        Action::Mail(_) => uid(&CHANNEL, "Agent::MailChannel", "default")?,
        Action::Recall(ask) => remembered(ask)?,
    };
    let context = Context::from_pairs(pairs(seen, action)).map_err(fault)?;
    Request::new(
        uid(&AGENT, "Agent::TaskAgent", seen.client)?,
        uid(&ACTION, "Agent::Action", name)?,
        resource,
        context,
        None,
    )
    .map_err(fault)
}

fn ask(policies: &PolicySet, request: &Request, entities: &Entities) -> Result<Hits, EvalError> {
    let response = Authorizer::new().is_authorized(request, policies, entities);
    let diagnostics = response.diagnostics();
    let rules: Vec<String> = diagnostics
        .errors()
        .map(|e| match e {
            cedar_policy::AuthorizationError::PolicyEvaluationError(e) => e.policy_id().to_string(),
        })
        .collect();
    if let Some(first) = diagnostics.errors().next() {
        return Err(EvalError { what: first.to_string(), rules });
    }
    let reasons: Hits = diagnostics.reason().map(|id| id.to_string()).collect();
    match response.decision() {
        Decision::Allow if reasons.iter().all(|r| r == BASE_PERMIT) && !reasons.is_empty() => Ok(Vec::new()),
        Decision::Deny if !reasons.is_empty() => Ok(reasons),
        // Neither: the catch-all permit is missing. Falling through here would allow.
        _ => Err(fault("the catch-all permit is missing")),
    }
}

/// What a line clones; the call's own repository is spelled as `context.repo` is, since rules compare letter for letter.
fn clones(shell: Option<&crate::facts::shell::ShellFacts>, repo: &str) -> std::collections::BTreeSet<String> {
    let named = shell.map(|s| s.git_clones.clone()).unwrap_or_default();
    named.into_iter().map(|c| if c.eq_ignore_ascii_case(repo) { repo.to_owned() } else { c }).collect()
}

fn pairs(seen: &Seen<'_>, action: &Action<'_>) -> Vec<(String, RestrictedExpression)> {
    let text = |s: &str| RestrictedExpression::new_string(s.to_owned());
    let truth = RestrictedExpression::new_bool;
    fn set<'s>(items: impl IntoIterator<Item = &'s String>) -> RestrictedExpression {
        RestrictedExpression::new_set(items.into_iter().map(|s| RestrictedExpression::new_string(s.clone())))
    }
    let words = |items: &std::collections::BTreeSet<&'static str>| {
        RestrictedExpression::new_set(items.iter().map(|s| RestrictedExpression::new_string((*s).to_owned())))
    };
    let facts = seen.facts;
    let (server, tool) =
        seen.tool.strip_prefix("mcp__").and_then(|rest| rest.split_once("__")).unwrap_or_default();
    let mut out: Vec<(&str, RestrictedExpression)> = vec![
        ("task_type", text("interactive")),
        ("repo", text(seen.repo)),
        ("read_only", truth(seen.read_only)),
        ("principal", text(&seen.principal)),
        ("sub_agent", truth(seen.sub_agent)),
        ("tool", text(seen.tool)),
        ("tool_class", text(facts.class.as_str())),
        ("tier", text(facts.tier.as_str())),
        ("mcp_server", text(server)),
        ("mcp_tool", text(tool)),
        ("server_request", text(seen.server_request)),
        ("tainted", truth(seen.tainted)),
        ("reads_credentials", set(&seen.credentials)),
        ("writes_paths", set(&facts.writes)),
    ];
    match action {
        Action::Invoke => {}
        Action::Write(path) => out.push(("file_path", text(path))),
        Action::Fetch(request) => out.extend([
            ("secret_name", text(request.secret.as_str())),
            ("host", text(request.authority.host())),
            ("port", RestrictedExpression::new_long(i64::from(request.authority.port()))),
            ("method", text(request.method.as_str())),
            ("path", text(request.path())),
            ("scheme", text(request.placement.scheme())),
            ("header", text(request.placement.header())),
        ]),
        Action::Mail(message) => {
            let lower = |list: &mut dyn Iterator<Item = &str>| {
                list.map(str::to_lowercase).collect::<std::collections::BTreeSet<String>>()
            };
            let recipients = lower(&mut message.recipients());
            let replies = lower(&mut message.reply_to.iter().flatten().map(String::as_str));
            let bytes = message.text.len() + message.html.as_ref().map_or(0, String::len);
            let count = |n: usize| RestrictedExpression::new_long(i64::try_from(n).unwrap_or(i64::MAX));
            out.extend([
                ("recipient_count", count(message.recipients().count())),
                ("recipients", set(&recipients)),
                ("recipient_domains", set(&message.domains())),
                ("reply_to", set(&replies)),
                ("purpose", text(message.purpose.as_deref().unwrap_or_default())),
                ("has_html", truth(message.html.is_some())),
                ("body_bytes", count(bytes)),
            ]);
        }
        Action::Recall(ask) => {
            let (store, key) = ask.place();
            out.extend([("store", text(store)), ("key", text(key))]);
        }
        Action::Bash(command) => {
            let shell = facts.shell.as_ref();
            let refs = shell.map(|s| s.git_push_refs.clone()).unwrap_or_default();
            // A pattern or "all" may mean a protected branch as well.
            let named = |starts: &[&str]| {
                refs.iter().any(|r| r.contains('*') || starts.iter().any(|s| r.starts_with(s)))
            };
            out.extend([
                ("command", text(command)),
                ("shell_opaque", truth(shell.is_none_or(|s| s.opaque.is_some()))),
                ("programs", set(&shell.map(|s| s.programs()).unwrap_or_default())),
                ("git_force_push", truth(shell.is_some_and(|s| s.git_force_push))),
                ("git_push_main", truth(named(&["main", "prod"]))),
                ("git_push_protected", truth(named(&["main", "master", "prod", "release/"]))),
                ("runs_gate", truth(shell.is_some_and(|s| s.runs_gate))),
                ("git_push_refs", set(&refs)),
                ("git_clones", set(&clones(shell, seen.repo))),
                ("sql_verbs", set(&shell.map(|s| s.sql_verbs.clone()).unwrap_or_default())),
                ("network_hosts", set(&shell.map(|s| s.network_hosts.clone()).unwrap_or_default())),
                ("effects", words(&shell.map(|s| s.effects.clone()).unwrap_or_default())),
            ]);
        }
    }
    out.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// What plain Cedar answers to a request written as JSON: the raw layer that the parity fixtures pin. No sets, no
/// fail-closed wrapper, no facts; never on the path of a call.
#[cfg(test)]
pub(crate) mod raw {
    use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};

    pub(crate) fn answer(policies: &str, input: &serde_json::Value) -> (bool, Vec<String>, usize) {
        let policies: PolicySet = policies.parse().unwrap();
        let uid = |key: &str| -> EntityUid {
            let entity = &input[key];
            EntityUid::from_type_name_and_id(
                entity["type"].as_str().unwrap().parse().unwrap(),
                cedar_policy::EntityId::new(entity["id"].as_str().unwrap()),
            )
        };
        let context = Context::from_json_value(input["context"].clone(), None).unwrap();
        let request = Request::new(uid("principal"), uid("action"), uid("resource"), context, None).unwrap();
        let response = Authorizer::new().is_authorized(&request, &policies, &Entities::empty());
        let mut ids: Vec<String> = response
            .diagnostics()
            .reason()
            .map(|id| policies.annotation(id, "rule_id").expect("every rule has an id").to_owned())
            .collect();
        ids.sort();
        (response.decision() == Decision::Allow, ids, response.diagnostics().errors().count())
    }
}

#[cfg(test)]
mod tests;
