//! The eight ends of a mail, and which of them a provider's answer is (email.md 11).
//!
//! An answer is one of the seven faults or a success, whatever it looks like. Words of a provider go on only where the
//! agent can mend its mail by them, and whoever uses them takes out what it knows of secrets first.

use crate::code::Code;
use crate::json::{Bounds, Json};

/// How an attempt to send a mail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// It was accepted.
    Ok,
    /// The day's mails are used up.
    RateLimitedLocal,
    /// An address that mail may not reach.
    RecipientDenied,
    /// The provider's key cannot be had.
    KeyUnavailable,
    /// The provider, or whoever keeps the key, does not take ours.
    AuthFailed,
    /// The provider takes no more for now.
    RateLimitedResend,
    /// The mail is not one that can be sent.
    ValidationError,
    /// Everything else.
    ServiceDown,
}

impl End {
    /// Every end.
    pub const ALL: [End; 8] = [
        End::Ok,
        End::RateLimitedLocal,
        End::RecipientDenied,
        End::KeyUnavailable,
        End::AuthFailed,
        End::RateLimitedResend,
        End::ValidationError,
        End::ServiceDown,
    ];

    /// The code, for all but success.
    pub fn code(self) -> Option<Code> {
        Some(match self {
            End::Ok => return None,
            End::RateLimitedLocal => Code::RateLimitedLocal,
            End::RecipientDenied => Code::RecipientDenied,
            End::KeyUnavailable => Code::KeyUnavailable,
            End::AuthFailed => Code::AuthFailed,
            End::RateLimitedResend => Code::RateLimitedResend,
            End::ValidationError => Code::ValidationError,
            End::ServiceDown => Code::ServiceDown,
        })
    }

    /// The end that a code names; `None` for a refusal that is no end of a mail.
    pub fn of(code: Code) -> Option<End> {
        End::ALL.into_iter().find(|end| end.code() == Some(code))
    }

    /// The word in results, records and metrics.
    pub fn as_str(self) -> &'static str {
        self.code().map_or("ok", Code::as_str)
    }
}

/// Why a mail was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Which of the seven.
    pub end: End,
    /// What the agent is told. `Err` holds a provider's own words, not yet cleansed.
    pub why: Result<&'static str, String>,
    /// When another try may be worth it, in seconds.
    pub retry_after_s: Option<u64>,
    /// It may have been accepted all the same.
    pub unsure: bool,
    /// The provider is still busy with the same mail: asking once more is no second mail.
    pub again: bool,
}

impl Failed {
    /// A fault with words of ours.
    pub fn new(end: End, why: &'static str) -> Failed {
        Failed { end, why: Ok(why), retry_after_s: None, unsure: false, again: false }
    }

    /// The mail may have gone out all the same.
    pub fn unsure(why: &'static str) -> Failed {
        Failed { unsure: true, ..Failed::new(End::ServiceDown, why) }
    }
}

/// What is said where no key can be had.
pub const NO_KEY: &str = "the mail provider's key cannot be had; try again in a minute";
/// What is said where a key is not taken.
pub const REFUSED_KEY: &str = "the mail provider's key was not accepted; its owner may have to store it anew";
/// What is said where the provider does not work.
pub const DOWN: &str = "the mail provider does not accept mail right now";
/// What is said where the end is open.
pub const UNSURE: &str = "the mail provider did not confirm the mail in time; sending the same mail again today does not send it twice";
const RATE: &str = "the mail provider accepts no more mail for the moment";
const DAILY: &str = "the mail provider's daily quota is used up";
const MONTHLY: &str = "the mail provider's monthly quota is used up";
const SAME: &str = "another mail with the same recipients and subject was sent today; change the subject";
const INVALID: &str = "the mail provider does not accept this mail";

/// What a provider's answer says: the mail's id, or why there is none. `retry_after` is the header's value.
pub fn read(status: u16, body: &[u8], retry_after: Option<&str>) -> Result<String, Failed> {
    let json = Json::parse(body, Bounds { max_bytes: 65_536, ..Bounds::default() }).ok();
    let json = json.filter(|json| json.as_object().is_some());
    let text = |key: &str| json.as_ref().and_then(|json| json.text(key)).unwrap_or_default();
    if (200..300).contains(&status) {
        let is_id = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        return Some(text("id")).filter(is_id).map(str::to_owned).ok_or(Failed::unsure(DOWN));
    }
    let name = text("name");
    let has = |part: &str| name.contains(part);
    // A server that fails says nothing of the mail, whatever it calls that.
    if status >= 500 {
        return Err(Failed::new(End::ServiceDown, DOWN));
    }
    if status == 401 || has("api_key") || (status == 403 && name == "invalid_permission") {
        return Err(Failed::new(End::AuthFailed, REFUSED_KEY));
    }
    if status == 429 || has("rate_limit") {
        let why = match name {
            "daily_quota_exceeded" => DAILY,
            "monthly_quota_exceeded" => MONTHLY,
            _ => RATE,
        };
        let retry_after_s = retry_after.and_then(|value| value.trim().parse().ok());
        return Err(Failed { retry_after_s, ..Failed::new(End::RateLimitedResend, why) });
    }
    let readable = json.is_some();
    if name == "invalid_idempotent_request" {
        return Err(Failed::new(End::ValidationError, SAME));
    }
    if readable && (matches!(status, 400 | 422) || has("validation") || has("invalid")) {
        let why = match text("message") {
            "" => Ok(INVALID),
            words => Err(words.to_owned()),
        };
        return Err(Failed { why, ..Failed::new(End::ValidationError, INVALID) });
    }
    let again = name == "concurrent_idempotent_requests";
    Err(Failed { again, ..Failed::new(End::ServiceDown, DOWN) })
}

/// What a mail server's refusal says, by its number and its enhanced status, such as `5.1.1` (RFC 3463).
pub fn smtp(code: u16, enhanced: Option<&str>) -> Failed {
    let is = |start: &str| enhanced.is_some_and(|status| status.starts_with(start));
    match code {
        530 | 534 | 535 | 538 | 454 if code != 454 || is("4.7.0") => {
            Failed::new(End::AuthFailed, REFUSED_KEY)
        }
        421 | 450..=452 if is("4.7.") => Failed::new(End::RateLimitedResend, RATE),
        500..=599 if matches!(code, 550 | 551 | 553 | 501 | 555) || is("5.1.") => {
            Failed::new(End::ValidationError, "the mail server does not accept a recipient or this mail")
        }
        _ => Failed::new(End::ServiceDown, DOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(status: u16, body: &str) -> End {
        read(status, body.as_bytes(), None).map_or_else(|failed| failed.end, |_| End::Ok)
    }

    fn named(status: u16, name: &str) -> End {
        let body = format!(r#"{{"statusCode":{status},"name":"{name}","message":"say"}}"#);
        end(status, &body)
    }

    /// EINV-11: every row of email.md 11 that a provider's answer can be.
    #[test]
    fn every_answer_is_one_end() {
        use End::*;
        for (status, name, want) in [
            (401, "missing_api_key", AuthFailed),
            (401, "restricted_api_key", AuthFailed),
            (401, "whatever", AuthFailed),
            (403, "invalid_api_key", AuthFailed),
            (403, "suspended_api_key", AuthFailed),
            (403, "invalid_permission", AuthFailed),
            (429, "rate_limit_exceeded", RateLimitedResend),
            (429, "daily_quota_exceeded", RateLimitedResend),
            (429, "monthly_quota_exceeded", RateLimitedResend),
            (403, "rate_limit_exceeded", RateLimitedResend),
            (400, "validation_error", ValidationError),
            (422, "missing_required_field", ValidationError),
            (422, "invalid_attachment", ValidationError),
            (422, "invalid_parameter", ValidationError),
            (400, "invalid_idempotency_key", ValidationError),
            (403, "validation_error", ValidationError),
            (409, "invalid_idempotent_request", ValidationError),
            (500, "application_error", ServiceDown),
            (503, "service_unavailable", ServiceDown),
            (500, "validation_error", ServiceDown),
            (502, "rate_limit_exceeded", ServiceDown),
            (404, "not_found", ServiceDown),
            (405, "method_not_allowed", ServiceDown),
            (409, "concurrent_idempotent_requests", ServiceDown),
            (409, "resource_locked", ServiceDown),
            (302, "moved", ServiceDown),
        ] {
            assert_eq!(named(status, name), want, "{status} {name}");
        }
        for (status, body, want) in [
            (200, r#"{"id":"4ef9a417-02e9-4d39-ad75-9611e0fcc33c"}"#, Ok),
            (201, r#"{"id":"x"}"#, Ok),
            (200, "{}", ServiceDown),
            (200, r#"{"id":5}"#, ServiceDown),
            (200, r#"{"id":""}"#, ServiceDown),
            (200, r#"{"id":"a\nb"}"#, ServiceDown),
            (200, "", ServiceDown),
            (200, "<html>", ServiceDown),
            (403, "error code: 1010", ServiceDown),
            (403, "<html>invalid</html>", ServiceDown),
            (422, "<html>", ServiceDown),
            (429, "<html>", RateLimitedResend),
            (401, "", AuthFailed),
            (500, "<html>", ServiceDown),
        ] {
            assert_eq!(end(status, body), want, "{status} {body}");
        }
    }

    #[test]
    fn what_is_told_of_a_fault() {
        let of = |status, name: &str, retry| {
            let body = format!(r#"{{"name":"{name}","message":"The domain x is not verified"}}"#);
            read(status, body.as_bytes(), retry).unwrap_err()
        };
        assert_eq!(of(429, "daily_quota_exceeded", Some("17")).why, Ok(DAILY));
        assert_eq!(of(429, "daily_quota_exceeded", Some("17")).retry_after_s, Some(17));
        assert_eq!(of(429, "x", Some("Wed, 21 Oct")).retry_after_s, None);
        // Only here the provider's own words go on.
        assert_eq!(of(422, "validation_error", None).why, Err("The domain x is not verified".to_owned()));
        assert_eq!(of(409, "invalid_idempotent_request", None).why, Ok(SAME));
        assert_eq!(of(500, "validation_error", None).why, Ok(DOWN));
        assert_eq!(of(401, "missing_api_key", None).why, Ok(REFUSED_KEY));
        assert!(of(409, "concurrent_idempotent_requests", None).again);
        assert!(!of(409, "resource_locked", None).again);
        assert!(read(200, b"{}", None).unwrap_err().unsure);
        assert!(!of(503, "x", None).unsure);
    }

    /// EINV-11, for mail servers.
    #[test]
    fn every_refusal_of_a_mail_server_is_one_end() {
        use End::*;
        for (code, enhanced, want) in [
            (535, Some("5.7.8"), AuthFailed),
            (530, None, AuthFailed),
            (454, Some("4.7.0"), AuthFailed),
            (550, None, ValidationError),
            (553, Some("5.1.3"), ValidationError),
            (554, Some("5.1.1"), ValidationError),
            (554, None, ServiceDown),
            (552, Some("5.2.2"), ServiceDown),
            (450, Some("4.7.1"), RateLimitedResend),
            (421, Some("4.7.0"), RateLimitedResend),
            (451, None, ServiceDown),
            (421, None, ServiceDown),
            (454, None, ServiceDown),
        ] {
            assert_eq!(smtp(code, enhanced).end, want, "{code} {enhanced:?}");
        }
    }

    #[test]
    fn ends_and_codes_are_one_to_one() {
        assert_eq!(End::ALL.iter().filter(|end| end.code().is_none()).count(), 1);
        for end in End::ALL {
            assert_eq!(end.code().and_then(End::of), end.code().map(|_| end));
        }
        assert_eq!(End::of(Code::Hard), None);
    }
}
