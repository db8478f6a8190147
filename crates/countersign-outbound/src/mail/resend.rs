//! Mail by Resend's interface (email.md 10): one POST, the same key for the same mail, no redirect, no proxy, and an
//! answer that is one of the eight ends.

use super::key::{Key, bearer, here};
use crate::http::{Failure, Http, Plain, Request};
use countersign_core::json::Json;
use countersign_core::mail::answer::{DOWN, End, Failed, UNSURE, read};
use countersign_core::vault::binding::{Authority, Method};
use url::Url;

const MAX_ANSWER_BYTES: usize = 65_536;

/// Where mails are posted, below the provider's address.
pub(super) fn place(base: &Url) -> Option<(Url, Authority)> {
    let url = Url::parse(&format!("{}/emails", base.as_str().trim_end_matches('/'))).ok()?;
    let authority = Authority::of(&url)?;
    Some((url, authority))
}

/// Posts a mail, once. The status is for the log; 0 where there was no answer.
pub(super) async fn post(
    http: &Http,
    (url, authority): (&Url, &Authority),
    key: &Key,
    idempotency_key: &str,
    body: &Json,
    test_mode: bool,
) -> (u16, Result<String, Failed>) {
    let value = bearer(&key.value);
    let mut allow_private = key.allow_private.clone();
    if test_mode {
        allow_private.extend(here());
    }
    let body = body.canonical();
    let request = Request {
        url,
        authority,
        method: Method::Post,
        secret: Some(("authorization", &value)),
        headers: &[("content-type", "application/json"), ("idempotency-key", idempotency_key)],
        body: Some(body.as_bytes()),
        allow_private: &allow_private,
        max_bytes: MAX_ANSWER_BYTES,
        plain: if test_mode { Plain::Here } else { Plain::Never },
    };
    let answer = match http.send(&request).await {
        Ok(answer) => answer,
        Err(failure) => return (0, Err(failed(failure))),
    };
    let retry = answer.headers.iter().find(|(name, _)| name == "retry-after");
    let retry = retry.and_then(|(_, value)| std::str::from_utf8(value).ok());
    (answer.status, read(answer.status, &answer.body.unwrap_or_default(), retry))
}

/// What a request without an answer means: only what cannot have left is known not to have arrived.
fn failed(failure: Failure) -> Failed {
    match failure {
        sent if sent.is_before_sending() => Failed::new(End::ServiceDown, DOWN),
        _ => Failed::unsure(UNSURE),
    }
}
