//! Floors of the gate's tools that act, and what their grants cover (J2, J6, J12; DECISIONS rows 16 to 18).
//!
//! A floor is what no rule, grant or person lifts: arguments that mean nothing, standing denials, and with a grant the
//! secret's own binding. Without a grant every well-formed use of a secret is asked about alike, so that nobody learns
//! from a refusal which secrets there are.

use super::{Judgement, Step};
use crate::approval::scope::Scope;
use crate::call::ToolCall;
use crate::cleanse::{Clean, clean_line};
use crate::code::Code;
use crate::facts::tools::MAIN_ONLY;
use crate::facts::{Facts, Own};
use crate::glob::Glob;
use crate::ledger::Ledger;
use crate::principal::Principal;
use crate::rulebook::settings::{Denial, RuleSettings, StandingDeny};
use crate::secrets_gateway;
use crate::time::Timestamp;
use crate::vault::binding::{Misfit, Use};
use crate::{mail, notes};

/// What a refusal by a standing denial names instead of a rule.
pub(super) const DENY_ENTRY: &str = "deny_entry";

/// The soft rules that only a grant for exactly this use answers, beside a yes to this call.
pub(super) const BY_GRANT: [&str; 2] = ["secret_use", "memory_fetch"];

/// J2: tools that a sub-agent has not, and tools that configuration does not have. They are answered like one that there
/// is not.
pub(super) fn hidden(call: &ToolCall, settings: &RuleSettings) -> Option<Judgement> {
    // No agent, task or person reads a secret, whatever its rules say.
    if call.tool() == secrets_gateway::TOOL && !matches!(call.parts().principal, Principal::Node { .. }) {
        return Some(absent());
    }
    if !MAIN_ONLY.contains(&call.tool()) {
        return None;
    }
    let is_off = (call.tool() == notes::TOOL && !settings.memory)
        || (call.tool() == mail::TOOL && settings.mail.is_none());
    if is_off {
        return Some(absent());
    }
    let principal = &call.parts().principal;
    // Mail alone may be given to a kind of sub-agent, by its name (DECISIONS row 69).
    let given = call.tool() == mail::TOOL
        && settings.allow.iter().any(|allow| {
            allow.principal.as_ref() == Some(&principal.id())
                && allow.scope == Scope::ToolType(mail::TOOL.to_owned())
        });
    (principal.is_child() && !given).then(absent)
}

fn absent() -> Judgement {
    Judgement::refuse(Code::UnknownTool, Step::Visible, Clean::fixed("the server has no such tool"))
}

/// Whether a listing shows a tool: configuration may switch it off, or refuse it whole to this principal for good. What
/// is called is judged all the same.
pub fn is_listed(tool: &str, principal: &Principal, settings: &RuleSettings) -> bool {
    let refused = |deny: &StandingDeny| {
        deny.until.is_none()
            && deny.counts(principal, Timestamp(0))
            && matches!(&deny.what, Denial::Scope(Scope::ToolType(denied)) if denied == tool)
    };
    (tool != notes::TOOL || settings.memory) && !settings.deny.iter().any(refused)
}

/// The grant that would cover exactly this call.
pub(super) fn exact_grant(facts: &Facts) -> Option<Scope> {
    match facts.own.as_ref()?.as_ref().ok()? {
        Own::Fetch(request) => Some(Scope::Secret(request.grant())),
        Own::Recall(ask) => ask.grant().map(Scope::Memory),
        Own::Mail(_) | Own::Read(_) => None,
    }
}

/// Whether a person granted exactly this use, and it still counts.
pub(super) fn is_granted(call: &ToolCall, facts: &Facts, settings: &RuleSettings, ledger: &Ledger) -> bool {
    let Some(scope) = exact_grant(facts) else { return false };
    let principal = &call.parts().principal;
    let given = ledger.grants.iter().any(|grant| grant.scope == scope)
        || settings.allow.iter().any(|allow| allow.scope == scope && allow.counts(principal, ledger.now));
    let usable = match &scope {
        Scope::Secret(_) => ledger.secret.as_ref().is_some_and(|view| {
            !view.quarantined && view.binding.as_ref().is_none_or(|binding| !binding.is_unbound())
        }),
        _ => true,
    };
    given && usable
}

/// J6.
pub(super) fn floor(
    call: &ToolCall,
    facts: &Facts,
    settings: &RuleSettings,
    ledger: &Ledger,
) -> Option<Judgement> {
    let refuse = |code, why: &str| Some(Judgement::refuse(code, Step::Floor, clean_line(why, 300)));
    let own = match facts.own.as_ref()? {
        Ok(own) => own,
        Err(fault) => return refuse(fault.code, &fault.why),
    };
    let principal = &call.parts().principal;
    let denied =
        settings.deny.iter().filter(|deny| deny.counts(principal, ledger.now)).any(|deny| match own {
            Own::Fetch(request) => deny.what.meets_secret(request.secret.as_str(), &request.authority),
            Own::Recall(ask) => {
                let (store, key) = ask.place();
                !key.is_empty() && deny.what.meets_note(store, key)
            }
            Own::Mail(_) | Own::Read(_) => false,
        });
    if denied {
        let why = Clean::fixed("a `[[deny]]` entry of the configuration refuses this");
        return Some(Judgement::refuse(Code::Hard, Step::Floor, why).rules(vec![DENY_ENTRY.to_owned()]));
    }
    let request = match own {
        Own::Fetch(request) => request,
        Own::Mail(message) => return mail_floor(message, settings, ledger),
        Own::Recall(_) => return None,
        // The list that the gateway hands out; every no has one wording.
        Own::Read(name) => {
            let listed = settings.handed_out.iter().any(|one| one == name.as_str());
            return if listed { None } else { refuse(Code::SecretNotFound, "there is no such secret") };
        }
    };
    if !is_granted(call, facts, settings, ledger) {
        return None;
    }
    let binding = ledger.secret.as_ref().and_then(|view| view.binding.as_ref());
    let Some(binding) = binding else { return refuse(Code::SecretNotFound, "there is no such secret") };
    let by = Use {
        authority: &request.authority,
        method: request.method,
        path: request.path(),
        placement: &request.placement,
        project: &settings.project,
        now: ledger.now,
    };
    match binding.fits(&by) {
        Ok(()) => None,
        Err(misfit @ Misfit::Placement) => refuse(Code::PlacementRefused, &misfit.to_string()),
        Err(misfit) => refuse(Code::SecretNotBound, &misfit.to_string()),
    }
}

/// The day's mails first, then whom the mail goes to (email.md 6, 7): no rule and no person widens either.
fn mail_floor(message: &mail::Message, settings: &RuleSettings, ledger: &Ledger) -> Option<Judgement> {
    let refuse = |code, why: String| Some(Judgement::refuse(code, Step::Floor, clean_line(&why, 400)));
    let Some(rules) = &settings.mail else { return Some(absent()) };
    let most = rules.daily_cap;
    if ledger.mails_today >= most {
        let why = format!("the {most} mails of this day are used up; the count resets at 00:00 UTC");
        return refuse(Code::RateLimitedLocal, why);
    }
    let denied = rules.denied(message)?;
    refuse(Code::RecipientDenied, format!("mail may not be sent to {denied}"))
}

/// J7: standing denials of other calls. What an allow would have to cover whole, a denial meets in part.
pub(super) fn denied(
    call: &ToolCall,
    facts: &Facts,
    settings: &RuleSettings,
    ledger: &Ledger,
) -> Option<Judgement> {
    let principal = &call.parts().principal;
    let forms = facts.write_forms();
    let meets = |scope: &Scope| match scope {
        Scope::ToolType(tool) => tool == call.tool(),
        Scope::BashPattern(glob) => {
            let glob = Glob::new(glob);
            facts.command_forms.iter().any(|form| glob.matches(form))
        }
        Scope::WritePath(glob) => {
            let glob = Glob::new(glob);
            forms.iter().any(|form| glob.matches(form))
        }
        _ => false,
    };
    let entry =
        settings.deny.iter().filter(|deny| deny.counts(principal, ledger.now)).find_map(
            |deny| match &deny.what {
                Denial::Scope(scope) if meets(scope) => Some(scope),
                _ => None,
            },
        )?;
    let why = clean_line(&format!("a `[[deny]]` entry of the configuration refuses this: {entry}"), 300);
    Some(Judgement::refuse(Code::Hard, Step::Hard, why).rules(vec![DENY_ENTRY.to_owned()]))
}

/// Whether a standing denial is about rules.
pub(super) fn denies_rules(call: &ToolCall, settings: &RuleSettings, ledger: &Ledger) -> bool {
    let principal = &call.parts().principal;
    let mut counting = settings.deny.iter().filter(|deny| deny.counts(principal, ledger.now));
    counting.any(|deny| matches!(&deny.what, Denial::Scope(Scope::Rule(_))))
}

/// The refusal of a call that a rule asks about, where a standing denial names that rule.
pub(super) fn denied_rule(
    call: &ToolCall,
    hits: &[String],
    settings: &RuleSettings,
    ledger: &Ledger,
) -> Option<Judgement> {
    let principal = &call.parts().principal;
    let denied = |id: &&String| {
        settings
            .deny
            .iter()
            .filter(|deny| deny.counts(principal, ledger.now))
            .any(|deny| matches!(&deny.what, Denial::Scope(Scope::Rule(rule)) if rule == *id))
    };
    let rule = hits.iter().find(denied)?;
    let why = format!("a `[[deny]]` entry of the configuration refuses what `{rule}` asks about");
    Some(Judgement::refuse(Code::Hard, Step::Hard, clean_line(&why, 300)).rules(vec![DENY_ENTRY.to_owned()]))
}
