//! A trial: what rules say of a call when nothing else has happened. For `explain` and the `policy` verbs; nothing is
//! recorded, asked or run.

use countersign_core::call::ToolCall;
use countersign_core::facts::tools::Tier;
use countersign_core::facts::{FactError, Facts, tools};
use countersign_core::judge::{Judgement, Rules, Verdict, judge};
use countersign_core::ledger::{Ledger, Resolved};
use countersign_core::rulebook::Rulebook;
use countersign_core::time::Timestamp;

/// What came of it.
pub struct Trial {
    /// What was seen of the call.
    pub facts: Result<Facts, FactError>,
    /// What the rules say.
    pub judged: Judgement,
}

impl Trial {
    /// Judges a call by rules alone. `floor` is what a server's annotations made of the tool's tier, if that is known; the
    /// pins of the rulebook are put on it as on any call's.
    pub fn of(book: &Rulebook, call: &ToolCall, floor: Option<Tier>) -> Trial {
        let ground = &book.settings().ground;
        let mut facts = Facts::of(call, ground);
        if let (Ok(facts), Some(floor)) = (&mut facts, floor) {
            let (tier, because) = ground.tier(call.tool(), tools::tier(call.tool()).max(floor));
            (facts.tier, facts.tier_because) = (tier, because.map(str::to_owned));
        }
        // A ledger of its own: nothing happened, and paths are what they say, but for links followed here.
        let paths = facts.iter().flat_map(|f| f.paths.iter());
        let resolved =
            paths.flat_map(|p| [(&p.path, &p.path), (&p.spelled, &p.path)]).map(|(asked, plain)| Resolved {
                asked: asked.clone(),
                real: Some(super::hook::resolve(asked).unwrap_or_else(|| plain.clone())),
                identity: None,
            });
        let ledger = Ledger::blank(Timestamp(0), resolved.collect());
        let judged = judge(call, &facts, Rules::InForce(book), &ledger);
        Trial { facts, judged }
    }

    /// The judgement under `enforce`, whatever the mode is.
    pub fn enforced(&self) -> &Judgement {
        self.judged.would.as_deref().unwrap_or(&self.judged)
    }
}

/// A verdict's short word: `allow`, `ask` or `deny`.
pub fn short(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny(_) => "deny",
        Verdict::RequireApproval(_) => "ask",
    }
}
