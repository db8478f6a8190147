//! What configuration says of mail: who sends, whom it may reach, how often, and what is made of that for one mail
//! (email.md 2, 3, 6, 8, 9).
//!
//! A setting that cannot be meant makes no mail at all, never a wider one. Where it stops: files and their keys are the
//! binary's.

use super::Message;
use crate::time::Timestamp;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Most values of `purpose` that metrics tell apart.
pub const MAX_PURPOSES: usize = 64;
const MAX_PURPOSE_CHARS: usize = 50;
const MAX_TAG_CHARS: usize = 256;
const MIN_NAME_CHARS: usize = 3;

/// The settings as they are written.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Whose agent it is. Without one there is no mail.
    pub owner: Option<String>,
    /// Name of the agent: it signs with it.
    pub agent_name: Option<String>,
    /// Domain that it sends from.
    pub domain: Option<String>,
    /// Value of the tag `agent_id`; the tenant by default.
    pub agent_id: Option<String>,
    /// Whom it may reach; `owner` by default.
    pub recipients: Option<String>,
    /// Most mails of a UTC day.
    pub daily_cap: Option<i64>,
    /// Answers go to recipients only.
    pub reply_to_recipients: bool,
    /// Purposes that metrics tell apart.
    pub purposes: Vec<String>,
}

/// Why there is no mail although somebody set it up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailFault {
    /// The owner is no address.
    #[error("`mail.owner` is no plain address like ana@example.org")]
    Owner,
    /// A part of the sender is missing.
    #[error("`{0}` is missing: the sender is made of it")]
    Missing(&'static str),
    /// A part of the sender cannot stand there.
    #[error("`{0}` holds a character that cannot stand there")]
    Character(&'static str),
    /// A word that is reserved.
    #[error("`mail.recipients` is `workspace`, which is reserved; list the addresses")]
    Reserved,
    /// An entry of the list that is none.
    #[error(
        "`mail.recipients` has an entry that is no plain address; write owner, unrestricted, or addresses with commas between them"
    )]
    Entry,
    /// A cap that is none.
    #[error("`mail.daily_cap` is no whole number from 0 on")]
    Cap,
    /// Too many purposes, or one that is none.
    #[error(
        "`mail.purposes` has at most {MAX_PURPOSES} words of letters, digits, - and _, none of them other, unspecified or unknown"
    )]
    Purposes,
}

/// Whom mail may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// The owner alone.
    Owner,
    /// The owner and these, in the form in which addresses are compared.
    List(Vec<String>),
    /// Everybody.
    Unrestricted,
}

/// The settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRules {
    /// The owner's address, as it is compared.
    pub owner: String,
    /// Whom mail may reach.
    pub recipients: Recipients,
    /// Most mails of a UTC day; 0 = none.
    pub daily_cap: u32,
    /// Answers go to recipients only.
    pub reply_to_recipients: bool,
    /// Name of the sender.
    pub name: String,
    /// Address of the sender.
    pub address: String,
    /// Keeps the keys of different agents that share a provider's account apart.
    pub tenant: String,
    /// Value of a tag.
    pub agent_id: String,
    /// Purposes that metrics tell apart.
    pub purposes: Vec<String>,
}

/// An address as addresses are compared: lower case where ASCII has one (a Kelvin sign is no k), a foreign domain in its ASCII form. Nothing is folded
/// that somebody else could own.
pub fn compared(address: &str) -> String {
    let lower = address.trim().to_ascii_lowercase();
    match lower.rsplit_once('@') {
        Some((local, domain)) if !domain.is_ascii() && !domain.contains('%') => {
            match url::Host::parse(domain) {
                Ok(host) => format!("{local}@{host}"),
                Err(_) => lower,
            }
        }
        _ => lower,
    }
}

impl Recipients {
    /// Reads the policy. A list with nothing in it is the owner.
    pub fn parse(text: &str) -> Result<Recipients, MailFault> {
        match text.trim().to_lowercase().as_str() {
            "" | "owner" => return Ok(Recipients::Owner),
            "unrestricted" | "*" => return Ok(Recipients::Unrestricted),
            "workspace" => return Err(MailFault::Reserved),
            _ => {}
        }
        let mut list = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if !super::is_address(entry) || entry.contains('*') {
                return Err(MailFault::Entry);
            }
            list.push(compared(entry));
        }
        Ok(if list.is_empty() { Recipients::Owner } else { Recipients::List(list) })
    }
}

impl MailRules {
    /// Checks the settings. `None`: nobody set mail up.
    pub fn of(said: &Said) -> Result<Option<MailRules>, MailFault> {
        let owner = said.owner.as_deref().unwrap_or_default().trim();
        if owner.is_empty() {
            return Ok(None);
        }
        if !super::is_address(owner) {
            return Err(MailFault::Owner);
        }
        let needed = |value: &Option<String>, key: &'static str| {
            let value = value.as_deref().unwrap_or_default().trim().to_owned();
            match value.is_empty() {
                true => Err(MailFault::Missing(key)),
                false if value.contains(char::is_control) => Err(MailFault::Character(key)),
                false => Ok(value),
            }
        };
        let tenant = needed(&said.agent_name, "mail.agent_name")?;
        // The input of the key that keeps a mail from going out twice is made with colons.
        if tenant.contains(':') {
            return Err(MailFault::Character("mail.agent_name"));
        }
        let domain = needed(&said.domain, "mail.domain")?.to_ascii_lowercase();
        let name = local_part(&tenant);
        let address = format!("{name}@{domain}");
        if !super::is_address(&address) || !domain.is_ascii() || domain.contains('%') {
            return Err(MailFault::Character("mail.domain"));
        }
        let agent_id = said.agent_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
        let purposes = said.purposes.clone();
        let is_own = |p: &String| ["other", UNSPECIFIED, UNKNOWN].contains(&p.as_str());
        if purposes.len() > MAX_PURPOSES || purposes.iter().any(|p| !is_purpose(p) || is_own(p)) {
            return Err(MailFault::Purposes);
        }
        Ok(Some(MailRules {
            owner: compared(owner),
            recipients: Recipients::parse(said.recipients.as_deref().unwrap_or_default())?,
            daily_cap: said.daily_cap.map_or(Ok(50), u32::try_from).map_err(|_| MailFault::Cap)?,
            reply_to_recipients: said.reply_to_recipients,
            name,
            address,
            agent_id: agent_id.unwrap_or(&tenant).to_owned(),
            tenant,
            purposes,
        }))
    }

    /// The sender as it stands in a mail.
    pub fn from(&self) -> String {
        format!("{} <{}>", self.name, self.address)
    }

    /// Where answers go.
    pub fn reply_to(&self, message: &Message) -> Vec<String> {
        message.reply_to.clone().unwrap_or_else(|| vec![self.owner.clone()])
    }

    /// Whether an address may get mail.
    pub fn reaches(&self, address: &str) -> bool {
        let asked = compared(address);
        if asked.is_empty() {
            return false;
        }
        match &self.recipients {
            Recipients::Unrestricted => true,
            Recipients::Owner => asked == self.owner,
            Recipients::List(list) => asked == self.owner || list.contains(&asked),
        }
    }

    /// The first address that a mail must not name: of its recipients, and where only recipients may be answered, of
    /// those whom answers go to.
    pub fn denied<'a>(&self, message: &'a Message) -> Option<&'a str> {
        let answers = message.reply_to.iter().flatten().map(String::as_str);
        let answers = answers.filter(|_| self.reply_to_recipients);
        message.recipients().chain(answers).find(|address| !self.reaches(address))
    }

    /// The key that keeps a mail from going out twice on one day.
    pub fn key(&self, message: &Message, now: Timestamp) -> String {
        let mut to: Vec<String> = message.to.iter().map(|to| to.trim().to_lowercase()).collect();
        to.sort();
        let day: String = now.to_string().chars().take(10).collect();
        let input = format!("{}:{}:{}:{day}", self.tenant, to.join(","), message.subject);
        let mut hex = String::with_capacity(32);
        for byte in Sha256::digest(input.as_bytes()).iter().take(16) {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }

    /// The three tags, in order.
    pub fn tags(&self, purpose: Option<&str>) -> [(&'static str, String); 3] {
        [
            ("tenant_id", tag(&self.tenant)),
            ("agent_id", tag(&self.agent_id)),
            ("purpose", self::purpose(purpose).to_owned()),
        ]
    }

    /// What metrics call a purpose: a closed list, since an agent writes purposes.
    pub fn label(&self, purpose: Option<&str>) -> &str {
        match self::purpose(purpose) {
            UNSPECIFIED => UNSPECIFIED,
            UNKNOWN => UNKNOWN,
            other => self.purposes.iter().find(|p| *p == other).map_or("other", String::as_str),
        }
    }
}

const UNSPECIFIED: &str = "unspecified";
const UNKNOWN: &str = "unknown";

/// A purpose as it is tagged: a word, `unspecified` where there is none, `unknown` where it is no word.
pub fn purpose(said: Option<&str>) -> &str {
    match said.unwrap_or_default().trim() {
        "" => UNSPECIFIED,
        word if is_purpose(word) => word,
        _ => UNKNOWN,
    }
}

fn is_purpose(text: &str) -> bool {
    (1..=MAX_PURPOSE_CHARS).contains(&text.len()) && text.chars().all(is_tag_char)
}

fn is_tag_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn tag(text: &str) -> String {
    match text.trim() {
        "" => UNKNOWN.to_owned(),
        text => text.chars().map(|c| if is_tag_char(c) { c } else { '_' }).take(MAX_TAG_CHARS).collect(),
    }
}

/// A name as the part of an address before the `@`.
fn local_part(name: &str) -> String {
    let mut out = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            // A run of what separates words is one dash.
            c if matches!(c, '-' | '_' | '.') || c.is_whitespace() => {
                out.truncate(out.trim_end_matches('-').len());
                out.push('-');
            }
            _ => {}
        }
    }
    let out = out.trim_matches('-');
    if out.len() < MIN_NAME_CHARS { "agent".to_owned() } else { out.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    /// EINV-3: what only looks like a letter that ASCII has is not that letter.
    #[test]
    fn nothing_is_folded_into_somebody_else() {
        assert_eq!(compared(" Kim@Example.ORG "), "kim@example.org");
        assert_ne!(compared("\u{212a}im@example.org"), compared("kim@example.org"));
        assert_eq!(compared("kim@B\u{dc}CHER.example"), "kim@xn--bcher-kva.example");
    }

    fn said() -> Said {
        let text = |t: &str| Some(t.to_owned());
        Said {
            owner: text(" Owner@Example.com "),
            agent_name: text("cody"),
            domain: text("agents.example.com"),
            ..Said::default()
        }
    }

    fn rules(change: impl FnOnce(&mut Said)) -> Result<Option<MailRules>, MailFault> {
        let mut said = said();
        change(&mut said);
        MailRules::of(&said)
    }

    fn with(policy: &str) -> MailRules {
        rules(|s| s.recipients = Some(policy.to_owned())).unwrap().unwrap()
    }

    fn message(set: &[(&str, Json)]) -> Message {
        let mut args = Json::object([
            ("to", Json::str("owner@example.com")),
            ("subject", Json::str("hello")),
            ("text", Json::str("t")),
        ]);
        for (key, value) in set {
            args.set(*key, value.clone());
        }
        Message::read(&args).unwrap()
    }

    /// EINV-1, EINV-2, EINV-14, EINV-24: what is not set up or cannot be meant is no mail at all.
    #[test]
    fn settings_that_cannot_be_meant_are_no_mail() {
        assert_eq!(MailRules::of(&Said::default()), Ok(None));
        assert_eq!(rules(|s| s.owner = Some("  ".into())), Ok(None));
        let text = |t: &str| Some(t.to_owned());
        type Set = Box<dyn FnOnce(&mut Said)>;
        let bad: Vec<(Set, MailFault)> = vec![
            (Box::new(move |s| s.owner = text("ana")), MailFault::Owner),
            (Box::new(move |s| s.owner = text("Ana <a@x.org>")), MailFault::Owner),
            (Box::new(move |s| s.agent_name = None), MailFault::Missing("mail.agent_name")),
            (Box::new(move |s| s.agent_name = text("a:b")), MailFault::Character("mail.agent_name")),
            (Box::new(move |s| s.agent_name = text("a\nb")), MailFault::Character("mail.agent_name")),
            (Box::new(move |s| s.domain = text(" ")), MailFault::Missing("mail.domain")),
            (Box::new(move |s| s.domain = text("x\r\n.org")), MailFault::Character("mail.domain")),
            (Box::new(move |s| s.domain = text("x.org>")), MailFault::Character("mail.domain")),
            (Box::new(move |s| s.recipients = text("Workspace")), MailFault::Reserved),
            (Box::new(move |s| s.recipients = text("owner,a@x.org")), MailFault::Entry),
            (Box::new(move |s| s.recipients = text("*@x.org")), MailFault::Entry),
            (Box::new(move |s| s.recipients = text("@x.org")), MailFault::Entry),
            (Box::new(move |s| s.daily_cap = Some(-1)), MailFault::Cap),
            (Box::new(move |s| s.daily_cap = Some(1 << 40)), MailFault::Cap),
            (Box::new(move |s| s.purposes = vec!["other".into()]), MailFault::Purposes),
            (Box::new(move |s| s.purposes = vec!["a b".into()]), MailFault::Purposes),
            (Box::new(move |s| s.purposes = vec!["a".into(); 65]), MailFault::Purposes),
        ];
        for (set, fault) in bad {
            assert_eq!(rules(set), Err(fault));
        }
        assert_eq!(rules(|s| s.daily_cap = Some(0)).unwrap().unwrap().daily_cap, 0);
        assert_eq!(rules(|_| ()).unwrap().unwrap().daily_cap, 50);
    }

    /// EINV-3, EINV-4, EINV-5.
    #[test]
    fn recipients_are_compared_exactly() {
        for (policy, yes, no) in [
            (
                "",
                vec!["owner@example.com", " OWNER@example.COM "],
                vec!["", " ", "a@x.org", "owner+a@example.com"],
            ),
            (" Owner ", vec!["owner@example.com"], vec!["o.wner@example.com"]),
            (" , ", vec!["owner@example.com"], vec!["a@x.org"]),
            (
                "a@x.org, B@X.org",
                vec!["owner@example.com", "b@x.org", "A@X.ORG"],
                vec!["c@x.org", "a@x.org.evil.example"],
            ),
            (
                "a@b\u{fc}cher.example",
                vec!["a@xn--bcher-kva.example", "a@B\u{dc}CHER.example"],
                vec!["a@bucher.example"],
            ),
            ("Unrestricted", vec!["anybody@x.org"], vec!["", "  "]),
            ("*", vec!["anybody@x.org"], vec![""]),
        ] {
            let rules = with(policy);
            for address in yes {
                assert!(rules.reaches(address), "{policy:?} {address:?}");
            }
            for address in no {
                assert!(!rules.reaches(address), "{policy:?} {address:?}");
            }
        }
        // A letter that looks like another one is another one.
        assert!(!with("a@x.org").reaches("\u{430}@x.org"));
        let mail = message(&[
            ("bcc", Json::str("z@x.org")),
            ("cc", Json::strings(["owner@example.com", "y@x.org"])),
            ("reply_to", Json::str("w@x.org")),
        ]);
        assert_eq!(with("").denied(&mail), Some("y@x.org"));
        assert_eq!(with("y@x.org").denied(&mail), Some("z@x.org"));
        assert_eq!(with("y@x.org,z@x.org").denied(&mail), None);
        let hardened = |policy: &str| {
            let set = |s: &mut Said| {
                s.reply_to_recipients = true;
                s.recipients = Some(policy.to_owned());
            };
            rules(set).unwrap().unwrap()
        };
        assert_eq!(hardened("y@x.org,z@x.org").denied(&mail), Some("w@x.org"));
        assert_eq!(hardened("").denied(&message(&[])), None);
    }

    /// EINV-13.
    #[test]
    fn one_mail_has_one_key_a_day() {
        let day = |text: &str| Timestamp::parse(text).unwrap();
        let key = |tenant: &str, to: &[&str], subject: &str, at: &str| {
            let rules = rules(|s| s.agent_name = Some(tenant.to_owned())).unwrap().unwrap();
            let mail = message(&[("to", Json::strings(to.iter().copied())), ("subject", Json::str(subject))]);
            rules.key(&mail, day(at))
        };
        let at = "2026-05-01T12:00:00Z";
        let base = key("tenant-a", &["owner@example.com"], "Daily report", at);
        assert_eq!(base, "b5fb94f0f5405dbfdb7ad5c354dbba24");
        assert_eq!(
            key("tenant-b", &["owner@example.com"], "Daily report", at),
            "0abc7e04dee4e90277b215d964f2c71d"
        );
        let two = key("tenant-a", &["b@x.com", "A@x.com"], "hello", at);
        assert_eq!(two, "b07ddca0ad6c004f9c01ac1b7c475a44");
        assert_eq!(two, key("tenant-a", &["a@X.com", "B@x.com"], "hello", "2026-05-01T23:59:59.999Z"));
        assert_ne!(two, key("tenant-a", &["a@x.com", "b@x.com"], "hello", "2026-05-02T00:00:00Z"));
        assert_ne!(two, key("tenant-a", &["a@x.com", "b@x.com"], "Hello", at));
    }

    /// EINV-12.
    #[test]
    fn tags_are_three_and_plain() {
        let rules = rules(|s| {
            s.agent_name = Some("k\u{f6}ln \u{1f600}-1".into());
            s.agent_id = Some("x".repeat(300));
        });
        let rules = rules.unwrap().unwrap();
        let [tenant, agent, purpose] = rules.tags(Some(" report "));
        assert_eq!(tenant, ("tenant_id", "k_ln__-1".to_owned()));
        assert_eq!((agent.0, agent.1.len()), ("agent_id", 256));
        assert_eq!(purpose, ("purpose", "report".to_owned()));
        // EINV-19: a purpose with a line end is no word.
        for (said, tagged) in [
            (None, "unspecified"),
            (Some(" "), "unspecified"),
            (Some("a b"), "unknown"),
            (Some("a\r\nb"), "unknown"),
        ] {
            assert_eq!(rules.tags(said)[2].1, tagged);
        }
        assert_eq!(with("").tags(None)[1].1, "cody");
    }

    /// EINV-15.
    #[test]
    fn the_sender_is_fixed() {
        for (name, address) in [
            ("cody", "cody@agents.example.com"),
            ("My  Agent_7.x", "my-agent-7-x@agents.example.com"),
            ("--A--", "agent@agents.example.com"),
            ("\u{e9}\u{e9}", "agent@agents.example.com"),
        ] {
            let rules = rules(|s| s.agent_name = Some(name.to_owned())).unwrap().unwrap();
            assert_eq!(rules.address, address);
        }
        assert_eq!(with("").from(), "cody <cody@agents.example.com>");
        assert_eq!(with("").reply_to(&message(&[])), ["owner@example.com"]);
        let other = message(&[("reply_to", Json::str("a@x.org"))]);
        assert_eq!(with("").reply_to(&other), ["a@x.org"]);
    }

    /// EINV-25.
    #[test]
    fn labels_are_a_closed_list() {
        let many: Vec<String> = (0..64).map(|n| format!("p{n}")).collect();
        let rules = rules(|s| s.purposes = many).unwrap().unwrap();
        let labels: std::collections::BTreeSet<String> = (0..1_000)
            .map(|n| rules.label(Some(&format!("p{n}"))).to_owned())
            .chain([rules.label(None).to_owned(), rules.label(Some("a b")).to_owned()])
            .collect();
        assert_eq!(labels.len(), 64 + 3);
        assert_eq!(rules.label(Some("p64")), "other");
    }
}
