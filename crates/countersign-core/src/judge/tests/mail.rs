//! What the judge says of `send_email`: whether it is there, its floor, and who is asked.

use super::*;
use crate::mail::rules::{MailRules, Said};
use crate::principal::{Client, Principal};
use crate::rulebook::settings::StandingAllow;

fn with(change: impl FnOnce(&mut Said)) -> RuleSettings {
    let text = |t: &str| Some(t.to_owned());
    let mut said = Said {
        owner: text("ana@example.org"),
        agent_name: text("cody"),
        domain: text("agents.example.org"),
        ..Said::default()
    };
    change(&mut said);
    let mut s = settings();
    s.mail = MailRules::of(&said).unwrap();
    s
}

fn to(address: &str) -> String {
    Json::object([("to", Json::str(address)), ("subject", Json::str("s")), ("text", Json::str("t"))])
        .canonical()
}

fn mail(address: &str, settings: RuleSettings) -> Case {
    case("send_email", &to(address), settings)
}

fn code(case: &Case) -> Option<Code> {
    match case.judge().verdict {
        Verdict::Deny(code) => Some(code),
        _ => None,
    }
}

/// EINV-1, EINV-2: without an owner there is no such tool, whatever is asked of it; other calls are as ever.
#[test]
fn without_an_owner_there_is_no_mail() {
    for args in [to("ana@example.org"), "{}".to_owned()] {
        let none = case("send_email", &args, settings());
        assert_eq!((code(&none), none.judge().step), (Some(Code::UnknownTool), Step::Visible));
    }
    assert_eq!(bash("ls").says(), ("allow", Step::Soft));
}

/// EINV-6: the day's mails stand before everything else that concerns mail; none a day is none.
#[test]
fn the_cap_stands_before_the_recipients() {
    let mut c = mail("mallory@x.org", with(|s| s.daily_cap = Some(2)));
    c.ledger.mails_today = 1;
    assert_eq!((code(&c), c.judge().step), (Some(Code::RecipientDenied), Step::Floor));
    c.ledger.mails_today = 2;
    assert_eq!(code(&c), Some(Code::RateLimitedLocal));
    assert!(c.judge().reason.as_str().contains("00:00 UTC"));
    assert_eq!(code(&mail("ana@example.org", with(|s| s.daily_cap = Some(0)))), Some(Code::RateLimitedLocal));
    // What is no mail is told first: it could never be counted.
    let mut odd = case("send_email", "{}", with(|s| s.daily_cap = Some(0)));
    odd.ledger.mails_today = 9;
    assert_eq!(code(&odd), Some(Code::ValidationError));
}

/// EINV-3, EINV-4: no allow, no yes and no watching widens whom mail reaches, and the first address is named.
#[test]
fn nothing_widens_the_recipients() {
    let mut s = with(|_| ());
    s.mode = Mode::Watch;
    s.disabled = vec!["send_email".to_owned()];
    let scope = Scope::parse_standing("tool", "send_email").unwrap();
    s.allow = vec![StandingAllow { scope, principal: None, until: None }];
    let mut c = mail("mallory@x.org", s);
    let grant = Grant {
        grant_id: GrantId(RawId::new(NOW, [2; 10])),
        scope: Scope::ThisCall,
        call_digest: Some(c.call.call_digest()),
        rulebook_digest: Some(c.book.digest()),
        rule_digest: None,
        approval_id: None,
    };
    c.ledger.grants = vec![grant];
    assert_eq!(code(&c), Some(Code::RecipientDenied));
    assert!(c.judge().reason.as_str().contains("mallory@x.org"));
}

/// A mail is asked about, once for all of it where a person says so for the tool.
#[test]
fn a_mail_is_asked_about() {
    let c = mail("ana@example.org", with(|_| ()));
    let judged = c.judge();
    assert_eq!((judged.verdict.as_str(), judged.rules), ("require_approval", vec!["send_email".to_owned()]));
    for (kind, value) in [("tool", "send_email"), ("rule", "send_email")] {
        let mut s = with(|_| ());
        let scope = Scope::parse_standing(kind, value).unwrap();
        s.allow = vec![StandingAllow { scope, principal: None, until: None }];
        assert_eq!(mail("ana@example.org", s).judge().verdict, Verdict::Allow, "{kind}");
    }
    let mut off = with(|_| ());
    off.disabled = vec!["send_email".to_owned()];
    assert_eq!(mail("ana@example.org", off).judge().verdict, Verdict::Allow);
}

/// DECISIONS row 69: a kind of sub-agent has mail only where an entry names it.
#[test]
fn sub_agents_have_mail_where_they_are_named() {
    let child = |kind: &str| {
        let mut parts = crate::call::tests::parts("send_email", &to("ana@example.org"));
        let agent_type = Some(kind.to_owned());
        parts.principal = Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type };
        ToolCall::new(parts).unwrap()
    };
    let mut s = with(|_| ());
    let scope = Scope::parse_standing("tool", "send_email").unwrap();
    let principal = Some(child("writer").parts().principal.id());
    s.allow = vec![StandingAllow { scope, principal, until: None }];
    let mut c = mail("ana@example.org", s);
    c.call = child("writer");
    assert_eq!(c.judge().verdict, Verdict::Allow);
    c.call = child("explorer");
    assert_eq!(code(&c), Some(Code::UnknownTool));
    let everybody = StandingAllow {
        scope: Scope::parse_standing("tool", "send_email").unwrap(),
        principal: None,
        until: None,
    };
    let mut s = with(|_| ());
    s.allow = vec![everybody];
    let mut c = mail("ana@example.org", s);
    c.call = child("explorer");
    assert_eq!(code(&c), Some(Code::UnknownTool));
}

/// EINV-21, DECISIONS row 83: what the secrets gateway hands out is a list, and nobody but a node of ours reads it.
#[test]
fn secrets_are_read_by_nodes_alone() {
    let mut s = settings();
    s.handed_out = vec!["resend_api_key".to_owned()];
    let read = |name: &str, principal: Principal| {
        let mut parts = crate::call::tests::parts("secret_read", &format!("{{\"name\":\"{name}\"}}"));
        parts.principal = principal;
        parts.cwd = None;
        let mut c = case("secret_read", "{}", s.clone());
        c.call = ToolCall::new(parts).unwrap();
        c.facts = Facts::of(&c.call, &Default::default());
        c.ledger = quiet(&c.facts);
        c.judge()
    };
    let node = || Principal::Node { id: "n".into() };
    assert_eq!(read("resend_api_key", node()).verdict, Verdict::Allow);
    for name in ["slack_bot_token", "RESEND_API_KEY", "", "../resend_api_key"] {
        let judged = read(name, node());
        assert_eq!(
            (judged.verdict, judged.step),
            (Verdict::Deny(Code::SecretNotFound), Step::Floor),
            "{name}"
        );
    }
    let agent = Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: None };
    for other in [agent, Principal::Human { name: "ana".into() }, Principal::Task { id: "t".into() }] {
        assert_eq!(read("resend_api_key", other).verdict, Verdict::Deny(Code::UnknownTool));
    }
}

/// P-38: a project does not say who gets mail, and whoever said yes saw who sends it.
#[test]
fn mail_is_the_users() {
    let mine = with(|_| ());
    let wide = with(|s| s.recipients = Some("*".to_owned()));
    assert_eq!(mine.clone().narrowed(&wide).mail, mine.mail);
    assert!(settings().narrowed(&wide).mail.is_none());
    let digest = |s: RuleSettings| book("", s).digest();
    let base = digest(mine);
    assert_ne!(base, digest(wide));
    assert_ne!(base, digest(with(|s| s.agent_name = Some("other".to_owned()))));
    assert_eq!(base, digest(with(|s| s.daily_cap = Some(7))));
}
