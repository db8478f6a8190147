//! What the judge says of `http_fetch` where something else could answer for a person: watch mode, a yes, an allow.

use super::*;
use crate::ledger::SecretView;
use crate::principal::{Client, Principal};
use crate::rulebook::settings::{Denial, StandingDeny};
use crate::vault::binding::{Authority, Binding, HostPattern};

const ARGS: &str = r#"{"url":"https://api.example.org/a","secret":"key","reason":"a look"}"#;

fn deny(kind: &str, value: &str, principal: Option<String>) -> StandingDeny {
    StandingDeny { what: Denial::parse(kind, value).unwrap(), principal, until: None }
}

fn fetch(change: impl FnOnce(&mut RuleSettings)) -> Case {
    let mut s = settings();
    change(&mut s);
    let mut c = case("http_fetch", ARGS, s);
    let binding = Binding {
        hosts: vec![HostPattern::One(Authority::parse("api.example.org").unwrap())],
        ..Binding::default()
    };
    c.ledger.secret = Some(SecretView { binding: Some(binding), quarantined: false });
    c
}

/// vault.md 10.5: watch mode lets no use of a secret pass that enforcing would not, whichever step says so.
#[test]
fn watching_lets_no_secret_pass() {
    type Meet = fn(&mut Case);
    let steps: [(&str, Meet); 4] = [
        ("the question", |_| ()),
        ("a refusal of the same input", |c| {
            let digest = c.call.args_digest();
            c.refuse(RefusalKey::Input(digest), Refused::Denied);
        }),
        ("a refusal of the same rule", |c| c.refuse(RefusalKey::Rule("secret_use".into()), Refused::Denied)),
        ("the cap of questions", |c| c.ledger.task.as_mut().unwrap().gate_count = 50),
    ];
    for (what, meet) in steps {
        let says = |mode: Mode| {
            let mut c = fetch(|s| s.mode = mode);
            meet(&mut c);
            let judged = c.judge();
            (judged.verdict, judged.step)
        };
        assert_eq!(says(Mode::Watch), says(Mode::Enforce), "{what}");
        assert_ne!(says(Mode::Watch).0, Verdict::Allow, "{what}");
    }
    // Its twin: what is granted passes in both.
    for mode in [Mode::Watch, Mode::Enforce] {
        let mut c = fetch(|s| s.mode = mode);
        c.grant(Scope::parse("secret:key@api.example.org#read").unwrap());
        assert_eq!(c.judge().verdict, Verdict::Allow);
    }
}

/// DECISIONS row 80: a standing denial wins over a yes to this call and over an allow, for a principal's sub-agents too,
/// and watching does not soften it.
#[test]
fn a_standing_denial_wins() {
    for mode in [Mode::Watch, Mode::Enforce] {
        for entry in [("secret", "key"), ("secret", "*@api.example.org"), ("rule", "secret_use")] {
            let what = match entry.0 {
                "rule" => Denial::Scope(Scope::parse_standing("rule", entry.1).unwrap()),
                kind => Denial::parse(kind, entry.1).unwrap(),
            };
            let mut c = fetch(|s| {
                s.mode = mode;
                s.deny = vec![StandingDeny { what, principal: None, until: None }];
            });
            c.grant(Scope::ThisCall);
            c.grant(Scope::parse("secret:key@api.example.org#read").unwrap());
            assert_eq!(c.judge().verdict, Verdict::Deny(Code::Hard), "{entry:?}");
        }
        let mut c = case("Bash", &Json::object([("command", Json::str(PUSH))]).canonical(), {
            let mut s = settings();
            s.mode = mode;
            s.deny = vec![StandingDeny {
                what: Denial::Scope(Scope::parse_standing("rule", "force_push_any").unwrap()),
                principal: None,
                until: None,
            }];
            s
        });
        c.grant(Scope::ThisCall);
        assert_eq!(c.judge().verdict, Verdict::Deny(Code::Hard));
    }
    // Somebody else's denial is not mine; mine is also that of whom I send.
    let agent = |kind: Option<&str>| Principal::Agent {
        client: Client::ClaudeCode,
        uid: 1000,
        agent_type: kind.map(str::to_owned),
    };
    let mine = deny("secret", "key", Some(agent(None).id()));
    assert!(mine.counts(&agent(None), NOW) && mine.counts(&agent(Some("explorer")), NOW));
    let other = Principal::Agent { client: Client::ClaudeCode, uid: 10, agent_type: None };
    assert!(!deny("secret", "key", Some(other.id())).counts(&agent(None), NOW));
}
