//! Mail by a mail server (email.md 16): over TLS or not at all, with a name and a password, each step by itself, so that
//! it is known up to which one nothing can have been accepted.
//!
//! A mail server knows no keys that keep a mail from going out twice; the user's store does (`Keeper::mail_begins`).

use super::key::Key;
use crate::http::Http;
use countersign_core::mail::answer::{DOWN, End, Failed, UNSURE, smtp};
use countersign_core::mail::{Message, rules::MailRules};
use countersign_core::time::Timestamp;
use countersign_core::vault::binding::Authority;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::{Address, Message as Written};
use std::time::{Duration, UNIX_EPOCH};

const CONNECT: Duration = Duration::from_secs(10);
const TOTAL: Duration = Duration::from_secs(60);
/// The one relay that knows keys.
const RESEND_RELAY: &str = "smtp.resend.com";
const NO_UTF8: &str = "the mail server takes no addresses with foreign letters";
const BAD: &str = "the mail cannot be written as one";

/// A mail server.
pub struct Server {
    /// Where it is.
    pub at: Authority,
    /// Encrypted from the first byte; otherwise right after it said that it can be.
    pub implicit: bool,
    /// The name to log in with.
    pub user: String,
    /// Certificates that are trusted beside the well-known ones, as a text.
    pub extra: Option<Vec<u8>>,
}

/// A mail, written.
pub(super) struct Letter {
    from: Address,
    to: Vec<Address>,
    bytes: Vec<u8>,
}

/// Writes a mail. Everything in it is encoded by the library.
pub(super) fn write(
    server: &Server,
    rules: &MailRules,
    message: &Message,
    key: &str,
    now: Timestamp,
) -> Result<Letter, Failed> {
    let bad = || Failed::new(End::ValidationError, BAD);
    let address = |text: &str| text.parse::<Address>().map_err(|_| bad());
    let mailbox = |text: &str| Ok::<_, Failed>(Mailbox::new(None, address(text)?));
    let from = address(&rules.address)?;
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    let mut builder = Written::builder()
        .from(Mailbox::new(Some(rules.name.clone()), from.clone()))
        .subject(message.subject.clone())
        .date(at)
        .message_id(Some(format!("<{}>", id(rules, key))));
    for to in &message.to {
        builder = builder.to(mailbox(to)?);
    }
    for to in &message.cc {
        builder = builder.cc(mailbox(to)?);
    }
    for to in rules.reply_to(message) {
        builder = builder.reply_to(mailbox(&to)?);
    }
    if server.at.host() == RESEND_RELAY {
        let name = HeaderName::new_from_ascii_str("Resend-Idempotency-Key");
        builder = builder.raw_header(HeaderValue::new(name, key.to_owned()));
    }
    let text = SinglePart::plain(message.text.clone());
    let written = match &message.html {
        None => builder.singlepart(text),
        Some(html) => builder
            .multipart(MultiPart::alternative().singlepart(text).singlepart(SinglePart::html(html.clone()))),
    };
    let bytes = written.map_err(|_| bad())?.formatted();
    // Those that the others do not see stand in no header.
    let to = message.recipients().map(address).collect::<Result<_, _>>()?;
    Ok(Letter { from, to, bytes })
}

/// Names a mail in the mail server's logs, and here.
pub(super) fn id(rules: &MailRules, key: &str) -> String {
    let domain = rules.address.rsplit_once('@').map_or("", |(_, domain)| domain);
    format!("{key}@{domain}")
}

/// Hands a mail over, once.
pub(super) async fn send(
    http: &Http,
    server: &Server,
    key: &Key,
    letter: &Letter,
    allow: &[ipnet::IpNet],
) -> Result<(), Failed> {
    let down = || Failed::new(End::ServiceDown, DOWN);
    let addresses = http.addresses(&server.at, allow).await.map_err(|_| down())?;
    let mut handed_over = false;
    let conversation = converse(server, key, letter, &addresses, &mut handed_over);
    let done = tokio::time::timeout(TOTAL, conversation).await;
    match done {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(Failed::new(End::ValidationError, NO_UTF8)),
        Ok(Err(e)) => {
            // A number from the server is its word: it did not take the mail.
            let said = e.status().and_then(|code| code.to_string().parse().ok());
            match said {
                Some(code) => Err(smtp(code, enhanced(&e).as_deref())),
                None if handed_over => Err(Failed::unsure(UNSURE)),
                None => Err(down()),
            }
        }
        Err(_) if handed_over => Err(Failed::unsure(UNSURE)),
        Err(_) => Err(down()),
    }
}

/// `false` where the server cannot take the mail's addresses.
async fn converse(
    server: &Server,
    key: &Key,
    letter: &Letter,
    addresses: &[std::net::SocketAddr],
    handed_over: &mut bool,
) -> Result<bool, Error> {
    let hello = ClientId::Domain(letter.from.domain().to_owned());
    let tls = tls(server)?;
    let first = server.implicit.then(|| tls.clone());
    let mut conn = AsyncSmtpConnection::connect_tokio1(addresses, Some(CONNECT), &hello, first, None).await?;
    if !server.implicit {
        // A server that does not offer it is none that mail goes to.
        conn.starttls(tls, &hello).await?;
    }
    let password = key.value.with(|value| String::from_utf8_lossy(value).into_owned());
    let credentials = Credentials::new(server.user.clone(), password);
    conn.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
    let is_foreign = letter.to.iter().any(|to| !to.user().is_ascii() || !to.domain().is_ascii());
    let parameters = match is_foreign {
        true if !conn.server_info().supports_feature(Extension::SmtpUtfEight) => {
            conn.abort().await;
            return Ok(false);
        }
        true => vec![MailParameter::SmtpUtfEight],
        false => Vec::new(),
    };
    conn.command(Mail::new(Some(letter.from.clone()), parameters)).await?;
    for to in &letter.to {
        conn.command(Rcpt::new(to.clone(), Vec::new())).await?;
    }
    conn.command(Data).await?;
    *handed_over = true;
    conn.message(&letter.bytes).await?;
    // It is accepted; how the server says goodbye does not matter.
    conn.abort().await;
    Ok(true)
}

fn tls(server: &Server) -> Result<TlsParameters, Error> {
    let host = server.at.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let mut builder = TlsParametersBuilder::new(host).certificate_store(CertificateStore::WebpkiRoots);
    if let Some(pem) = &server.extra {
        builder = builder.add_root_certificate(Certificate::from_pem(pem)?);
    }
    builder.build_rustls()
}

/// The enhanced status at the beginning of a server's words. The words themselves stay here.
fn enhanced(e: &Error) -> Option<String> {
    let words = std::error::Error::source(e)?.to_string();
    let first = words.split_whitespace().next()?;
    let is_status = first.split('.').count() == 3 && first.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_status.then(|| first.to_owned())
}
