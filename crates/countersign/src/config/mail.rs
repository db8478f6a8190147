//! What `[mail]` means (email.md 2). A setting that cannot be meant makes no mail, and says why once; the gate itself
//! starts all the same.

use super::said::{Said, Source};
use countersign_core::mail::rules::{self, MailRules};
use countersign_core::vault::binding::Authority;
use std::collections::BTreeMap;
use url::{Host, Url};

/// Where the provider is.
pub const RESEND: &str = "https://api.resend.com";
/// The secret's name on every side (email.md 5).
pub const RESEND_API_KEY_SECRET_NAME: &str = "resend_api_key";

/// Who carries mail.
#[derive(Clone, Debug)]
pub enum Carrier {
    /// Resend's interface, at this address.
    Resend(Url),
    /// A mail server.
    Smtp {
        /// Where it is.
        at: Authority,
        /// Encrypted from the first byte; otherwise after it said that it can be.
        implicit: bool,
        /// The name to log in with.
        user: String,
    },
}

/// How mail is sent.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Who carries it.
    pub carrier: Carrier,
    /// Where the provider's key comes from.
    pub key: Source,
    /// A secrets gateway that has it instead.
    pub gateway_url: Option<Url>,
    /// It may be carried by a stand-in on this machine.
    pub test_mode: bool,
    /// It is not carried at all.
    pub dry_run: bool,
}

/// What the keys amount to: who sends and how, nothing, or why nothing.
pub fn of(values: &BTreeMap<&'static str, Said>) -> Result<Option<(MailRules, MailSettings)>, String> {
    let text = |name: &str| match values.get(name) {
        Some(Said::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let int = |name: &str| match values.get(name) {
        Some(Said::Int(n)) => Some(*n),
        _ => None,
    };
    let yes = |name: &str| matches!(values.get(name), Some(Said::Bool(true)));
    let said = rules::Said {
        owner: text("mail.owner"),
        agent_name: text("mail.agent_name"),
        domain: text("mail.domain"),
        agent_id: text("mail.agent_id"),
        recipients: text("mail.recipients"),
        daily_cap: int("mail.daily_cap"),
        reply_to_recipients: text("mail.reply_to").as_deref() == Some("recipients"),
        purposes: match values.get("mail.purposes") {
            Some(Said::List(list)) => list.clone(),
            _ => Vec::new(),
        },
    };
    let Some(checked) = MailRules::of(&said).map_err(|fault| fault.to_string())? else { return Ok(None) };
    let test_mode = yes("mail.test_mode");
    let carrier = match text("mail.provider").as_deref() {
        Some("smtp") => {
            let host = text("mail.smtp_host").ok_or("`mail.smtp_host` is missing")?;
            let port = int("mail.smtp_port").unwrap_or(465);
            let at = Authority::parse(&format!("{host}:{port}")).ok_or("`mail.smtp_host` is no host")?;
            let user = text("mail.smtp_user").ok_or("`mail.smtp_user` is missing")?;
            Carrier::Smtp { at, implicit: text("mail.smtp_tls").as_deref() != Some("starttls"), user }
        }
        _ => Carrier::Resend(base(text("mail.base_url").as_deref(), test_mode)?),
    };
    let gateway_url = match text("mail.gateway_url") {
        None => None,
        Some(text) => Some(gateway(&text)?),
    };
    let key = match values.get("mail.key") {
        Some(Said::Given(source)) => source.clone(),
        _ => Source::Secret(RESEND_API_KEY_SECRET_NAME.to_owned()),
    };
    if gateway_url.is_some() && matches!(key, Source::FromEnv(_)) {
        return Err(
            "`mail.gateway_url` and a `mail.key` from the environment cannot both be meant".to_owned()
        );
    }
    let dry_run = yes("mail.dry_run");
    Ok(Some((checked, MailSettings { carrier, key, gateway_url, test_mode, dry_run })))
}

/// Only a stand-in on this machine is spoken to without encryption.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    }
}

fn plain(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
}

fn base(said: Option<&str>, test_mode: bool) -> Result<Url, String> {
    let url = Url::parse(said.unwrap_or(RESEND)).map_err(|_| "`mail.base_url` is no address")?;
    let own = Url::parse(RESEND).map_err(|_| "the provider's address cannot be read")?;
    if url == own {
        return Ok(url);
    }
    if !test_mode {
        return Err(
            "`mail.base_url` is not the provider's own address, and `mail.test_mode` is off".to_owned()
        );
    }
    if !plain(&url) || !(url.scheme() == "https" || (url.scheme() == "http" && is_here(&url))) {
        return Err("`mail.base_url` is neither https nor http to this machine".to_owned());
    }
    Ok(url)
}

/// The answer holds a secret: it comes over TLS, or from this machine. The address at which clouds answer a machine is
/// none of these: anything in the machine can ask there.
fn gateway(said: &str) -> Result<Url, String> {
    let url = Url::parse(said).map_err(|_| "`mail.gateway_url` is no address")?;
    let fits = match url.scheme() {
        "https" => true,
        "http" => is_here(&url),
        "unix" => url.host().is_none() && url.path().starts_with('/'),
        _ => false,
    };
    if fits && plain(&url) {
        Ok(url)
    } else {
        Err("`mail.gateway_url` is neither https, nor http to this machine, nor unix:/path".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::said::{LayerName, read};
    use super::*;

    fn means(text: &str) -> Result<Option<(MailRules, MailSettings)>, String> {
        let file = read("c", text, LayerName::User).unwrap();
        of(&file.values.into_iter().map(|(key, (value, _))| (key, value)).collect())
    }

    const MAIL: &str =
        "[mail]\nowner = \"ana@example.org\"\nagent_name = \"cody\"\ndomain = \"agents.example.org\"\n";

    /// EINV-1, EINV-2, EINV-14, EINV-24: whatever is wrong, there is no mail and one reason.
    #[test]
    fn mail_is_there_or_says_why_not() {
        assert!(means("").unwrap().is_none());
        assert!(means("mail.daily_cap = 5").unwrap().is_none());
        let (rules, sending) = means(MAIL).unwrap().unwrap();
        assert_eq!((rules.daily_cap, rules.from()), (50, "cody <cody@agents.example.org>".to_owned()));
        assert_eq!(sending.key, Source::Secret("resend_api_key".to_owned()));
        assert!(matches!(sending.carrier, Carrier::Resend(url) if url.as_str() == "https://api.resend.com/"));
        for (more, why) in [
            ("recipients = \"workspace\"", "reserved"),
            ("recipients = \"owner,a@x.org\"", "plain address"),
            ("base_url = \"https://x.org\"", "test_mode"),
            ("base_url = \"http://x.org\"\ntest_mode = true", "neither https"),
            ("base_url = \"http://127.0.0.1.x.org\"\ntest_mode = true", "neither https"),
            ("base_url = \"https://u:p@x.org\"\ntest_mode = true", "neither https"),
            ("gateway_url = \"http://x.org\"", "neither https"),
            ("gateway_url = \"http://169.254.169.254\"", "neither https"),
            ("gateway_url = \"http://127.0.0.1:1/\"\nkey = { from_env = \"K\" }", "both"),
            ("provider = \"smtp\"", "smtp_host"),
            ("provider = \"smtp\"\nsmtp_host = \"a b\"", "no host"),
            ("provider = \"smtp\"\nsmtp_host = \"mx.example.org\"", "smtp_user"),
            ("purposes = [\"unknown\"]", "purposes"),
        ] {
            let fault = means(&format!("{MAIL}{more}\n")).unwrap_err();
            assert!(fault.contains(why), "{more}: {fault}");
        }
        for more in [
            "base_url = \"http://127.0.0.1:9/\"\ntest_mode = true",
            "gateway_url = \"unix:/run/user/1000/x.sock\"",
            "key = { from_env = \"RESEND_API_KEY\" }",
            "provider = \"smtp\"\nsmtp_host = \"mx.example.org\"\nsmtp_user = \"cody\"",
        ] {
            assert!(means(&format!("{MAIL}{more}\n")).unwrap().is_some(), "{more}");
        }
    }

    /// A key is never a text, a project sets nothing of mail, and a cap is a number (EINV-24).
    #[test]
    fn what_is_no_setting_of_mail_does_not_load() {
        for (text, layer) in [
            ("mail.key = \"re_123\"", LayerName::User),
            ("mail.key = { secret = \"a/b\" }", LayerName::User),
            ("mail.key = { from_env = \"A-B\" }", LayerName::User),
            ("mail.key = { secret = \"a\", from_env = \"B\" }", LayerName::User),
            ("mail.daily_cap = -1", LayerName::User),
            ("mail.daily_cap = \"50\"", LayerName::User),
            ("mail.daily_cap = 1.5", LayerName::User),
            ("version = 1\nmail.owner = \"a@x.org\"", LayerName::Project),
            ("version = 1\nmail.recipients = \"*\"", LayerName::Project),
        ] {
            assert!(read("c", text, layer).is_err(), "{text}");
        }
    }
}
