//! Mail by a mail server that is one.

use super::common::*;
use countersign_core::json::Json;
use countersign_core::vault::binding::{Authority, Placement};
use countersign_gate::gate::Gate;
use countersign_outbound::mail::smtp::Server;
use countersign_outbound::mail::{Carrier, Mail};
use countersign_testkit::mail::{MailServer, Tls};

pub(crate) const HOST: &str = "mail.test";

pub(crate) fn carrier(server: &MailServer, tls: Tls) -> Carrier {
    Carrier::Smtp(Server {
        at: Authority::parse(&format!("{HOST}:{}", server.port)).unwrap(),
        implicit: tls == Tls::Implicit,
        user: "cody".into(),
        extra: Some(server.ca_pem.clone().into_bytes()),
    })
}

async fn world(tls: Tls, password: &str) -> (World, MailServer, (Gate, Mail)) {
    let world = World::new().await;
    let server = MailServer::start(HOST, tls, "cody", password);
    world.bind(&format!("{HOST}:{}", server.port), Placement::Basic).await;
    let by = world.gate(carrier(&server, tls), world.vault_key());
    (world, server, by)
}

pub(crate) fn to(address: &str) -> Vec<(&'static str, Json)> {
    vec![("to", Json::str(address))]
}

/// A mail arrives whole, over either kind of TLS, and those that the others do not see stand in none of its headers.
#[tokio::test]
async fn a_mail_arrives() {
    for tls in [Tls::StartTls, Tls::Implicit] {
        let (world, server, by) = world(tls, KEY).await;
        let subject = "Gr\u{fc}\u{df}e: a \"quoted\" subject, long enough that it has to be folded over more than one line of the header";
        let said = world
            .said(
                &by,
                &[
                    ("to", Json::strings(["owner@example.com", "a@x.org"])),
                    ("bcc", Json::str("b@x.org")),
                    ("subject", Json::str(subject)),
                    ("html", Json::str("<p>Gr\u{fc}\u{df}e</p>")),
                    ("text", Json::str("Gr\u{fc}\u{df}e\n.\nend")),
                ],
            )
            .await;
        assert_eq!(said.get("sent"), Some(&Json::Bool(true)), "{}", said.canonical());
        let mail = server.received().remove(0);
        assert_eq!(mail.from, "cody@agents.example.com");
        assert_eq!(mail.to, ["owner@example.com", "a@x.org", "b@x.org"]);
        assert!(!mail.data.contains("b@x.org") && !mail.data.to_lowercase().contains("bcc"), "{}", mail.data);
        for line in [
            "From: cody <cody@agents.example.com>",
            "To: owner@example.com, a@x.org",
            "Reply-To: owner@example.com",
            "Content-Type: multipart/alternative",
        ] {
            assert!(mail.data.contains(line), "{line} in {}", mail.data);
        }
        let id = said.text("id").unwrap();
        assert!(
            id.ends_with("@agents.example.com") && mail.data.contains(&format!("Message-ID: <{id}>")),
            "{}",
            mail.data
        );
        assert!(mail.data.is_ascii() && mail.data.contains("Subject: =?utf-8?"), "{}", mail.data);
        assert_clean("log", &world.log().await);
    }
}

/// EINV-11, EINV-18: what a mail server refuses is an end, and certainly no mail.
#[tokio::test]
async fn refusals_of_a_mail_server_are_ends() {
    let (world, server, by) = world(Tls::StartTls, KEY).await;
    for (first, kind) in
        [("reject", "validation_error"), ("later", "service_down"), ("busy", "rate_limited_resend")]
    {
        let said = world.said(&by, &to(&format!("{first}@x.org"))).await;
        assert_eq!(said.text("error_kind"), Some(kind), "{first}");
        assert_clean("answer", &said.canonical());
    }
    assert!(server.received().is_empty());
    // What certainly failed may be tried again under the same key.
    assert_eq!(world.kind(&by, &to("later@x.org")).await, "service_down");
    assert_eq!(server.logins(), 4);
}

/// EINV-11: a password that is not taken, and a server that is not the one, or not encrypted.
#[tokio::test]
async fn a_password_goes_over_tls_to_the_right_server() {
    let (world, server, by) = world(Tls::StartTls, "another password").await;
    assert_eq!(world.kind(&by, &[]).await, "auth_failed");
    assert!(server.received().is_empty());

    // No encryption is offered, so nothing is said.
    let (world, server, by) = self::world(Tls::None, KEY).await;
    assert_eq!(world.kind(&by, &[]).await, "service_down");
    let implicit = world.gate(carrier(&server, Tls::Implicit), world.vault_key());
    assert_eq!(world.kind(&implicit, &[]).await, "service_down");
    assert_eq!((server.received().len(), server.logins()), (0, 0));

    // Another authority's certificate.
    let (world, server, _) = self::world(Tls::StartTls, KEY).await;
    let other = MailServer::start(HOST, Tls::StartTls, "cody", KEY);
    let Carrier::Smtp(mut wrong) = carrier(&server, Tls::StartTls) else { panic!() };
    wrong.extra = Some(other.ca_pem.clone().into_bytes());
    let by = world.gate(Carrier::Smtp(wrong), world.vault_key());
    assert_eq!(world.kind(&by, &[]).await, "service_down");
    assert_eq!((server.received().len(), server.logins()), (0, 0));

    // A key that is bound to another server is not had at all.
    world.bind("smtp.elsewhere.example:465", Placement::Basic).await;
    let by = world.gate(carrier(&server, Tls::StartTls), world.vault_key());
    assert_eq!(world.kind(&by, &[]).await, "key_unavailable");
}

/// P-21: after an answer that was lost, the same mail is not sent again, by this process or the next one; another mail
/// under the same key is refused, and a mail that went out is told as such.
#[tokio::test]
async fn a_lost_answer_is_no_second_mail() {
    let (world, server, by) = world(Tls::StartTls, KEY).await;
    let said = world.said(&by, &to("lost@x.org")).await;
    assert_eq!(said.text("error_kind"), Some("service_down"));
    assert!(said.text("error").unwrap().contains("did not confirm"), "{}", said.canonical());
    for _ in 0..2 {
        let next = world.gate(carrier(&server, Tls::StartTls), world.vault_key());
        let said = world.said(&next, &to("lost@x.org")).await;
        assert!(said.text("error").unwrap().contains("may have gone out already"), "{}", said.canonical());
    }
    assert_eq!(server.received().len(), 1);
    let first = world.said(&by, &[]).await;
    let again = world.said(&by, &[]).await;
    assert_eq!(first.text("id"), again.text("id"));
    assert_eq!(world.kind(&by, &[("text", Json::str("other"))]).await, "validation_error");
    assert_eq!(server.received().len(), 2);
}
