//! What the judge says of a line: the default rulebook, a project of `ana`'s, nothing in the ledger.

use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::facts::Facts;
use countersign_core::ids::{CallId, RawId};
use countersign_core::json::{Bounds, Json};
use countersign_core::judge::{Rules, Verdict, judge};
use countersign_core::ledger::{Ledger, Resolved};
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::Rulebook;
use countersign_core::rulebook::settings::RuleSettings;
use countersign_core::time::Timestamp;

/// The home folder of all lines.
pub(crate) const HOME: &str = "/home/ana";
/// The project that all lines run in.
pub(crate) const PROJECT: &str = "/home/ana/shop";

/// What was said of a line.
pub(crate) struct Said {
    /// It may run without anybody being asked.
    pub allowed: bool,
    /// The verdict, the rules, and why a line is opaque.
    pub why: String,
    /// The first rule or reason, for counting.
    pub class: String,
}

/// The judge with the rulebook it ships with.
pub(crate) struct Judge {
    book: Rulebook,
}

impl Judge {
    pub(crate) fn new() -> Judge {
        let own = [format!("{HOME}/.local/state/countersign"), format!("{HOME}/.config/countersign")];
        let mut settings = RuleSettings::defaults(PROJECT, &own, Some(HOME));
        settings.repo = "ana/shop".to_owned();
        Judge { book: Rulebook::load(Vec::new(), settings).unwrap().0 }
    }

    /// Judges a line as a client's shell call. `real` says what a path is behind links.
    pub(crate) fn says(&self, line: &str) -> Said {
        let call = ToolCall::new(CallParts {
            call_id: CallId(RawId::new(Timestamp(1), [1; 10])),
            door: Door::Hook,
            principal: Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: None },
            session: Session { client: Client::ClaudeCode, id: "s1".into() },
            agent_id: None,
            tool_use_id: Some("toolu_1".into()),
            tool: "Bash".into(),
            args: Json::parse(
                Json::object([("command", Json::str(line))]).canonical().as_bytes(),
                Bounds::default(),
            )
            .unwrap(),
            cwd: Some(PROJECT.into()),
            joins: None,
            served: None,
        })
        .unwrap();
        let facts = Facts::of(&call, &countersign_core::facts::ground::Ground::at_home(Some(HOME)));
        let resolved = facts.iter().flat_map(|f| &f.paths).flat_map(|p| {
            let real = |asked: &str| Resolved {
                asked: asked.to_owned(),
                real: Some(p.path.clone()),
                identity: None,
            };
            [real(&p.path), real(&p.spelled)]
        });
        let ledger = Ledger::blank(Timestamp(1_000_000), resolved.collect());
        let said = judge(&call, &facts, Rules::InForce(&self.book), &ledger);
        let opaque =
            facts.as_ref().ok().and_then(|f| f.shell.as_ref()).and_then(|s| s.opaque).unwrap_or_default();
        let rules: Vec<&str> =
            said.rules.iter().map(String::as_str).filter(|r| *r != "shell_opaque").collect();
        let class = match (rules.first(), opaque) {
            (Some(rule), _) => (*rule).to_owned(),
            (None, "") => said.reason.as_str().chars().take(60).collect(),
            (None, why) => format!("opaque: {why}"),
        };
        let why = format!("{} {:?} {opaque}", said.verdict.as_str(), said.rules);
        Said { allowed: said.verdict == Verdict::Allow, why, class }
    }
}
