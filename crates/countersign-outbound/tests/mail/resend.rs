//! Mail by Resend's interface.

use super::common::*;
use countersign_core::cleanse::base64;
use countersign_core::json::Json;
use countersign_core::ledger::Via;
use countersign_core::principal::{Approver, Assurance, Principal};
use countersign_core::vault::binding::Placement;
use countersign_gate::gate::{Decision, Gate};
use countersign_gate::seams::Store;
use countersign_outbound::http::Waits;
use countersign_outbound::mail::key::KeyFrom;
use countersign_outbound::mail::{Carrier, Mail};
use countersign_testkit::mail::{Resend, Wrong, official_client};
use std::time::Duration;

async fn world() -> (World, Resend, (Gate, Mail)) {
    let world = World::new().await;
    let server = Resend::start(KEY);
    world.bind(&format!("127.0.0.1:{}", server.port), Placement::Bearer).await;
    let by = gate(&world, &server);
    (world, server, by)
}

fn gate(world: &World, server: &Resend) -> (Gate, Mail) {
    world.gate(Carrier::Resend(server.url().parse().unwrap()), world.vault_key())
}

fn text(text: &str) -> Json {
    Json::str(text)
}

fn answer(status: u16, body: &str) -> Wrong {
    Wrong::Answer(status, body.to_owned(), Vec::new())
}

fn named(status: u16, name: &str, message: &str) -> Wrong {
    let body = Json::object([
        ("statusCode", Json::int(status.into())),
        ("name", text(name)),
        ("message", text(message)),
    ]);
    answer(status, &body.canonical())
}

/// The stand-in is what Resend's own client expects: it sends a mail, repeats it, and reads a fault.
#[test]
fn resends_own_client_takes_the_stand_in_for_resend() {
    let server = Resend::start("re_official");
    let (node, client) = official_client();
    let script = r#"
const { Resend } = require(process.argv[1]);
(async () => {
  const resend = new Resend("re_official");
  const mail = { from: "cody <cody@agents.example.com>", to: ["a@x.org"], subject: "s", text: "t",
    replyTo: ["o@x.org"], tags: [{ name: "purpose", value: "report" }] };
  const first = await resend.emails.send(mail, { idempotencyKey: "k1" });
  const again = await resend.emails.send(mail, { idempotencyKey: "k1" });
  const other = await resend.emails.send({ ...mail, text: "u" }, { idempotencyKey: "k1" });
  const wrong = await new Resend("re_other").emails.send(mail);
  console.log(JSON.stringify([first.data.id === again.data.id, other.error.name, wrong.error.name]));
})();
"#;
    let run = std::process::Command::new(node)
        .args(["-e", script])
        .arg(client)
        .env("RESEND_BASE_URL", server.url())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert_eq!(out.trim(), r#"[true,"invalid_idempotent_request","invalid_api_key"]"#);
    assert_eq!(server.accepted().len(), 1);
    let posted = server.posted();
    assert_eq!(posted[0].body["reply_to"], serde_json::json!(["o@x.org"]));
    assert_eq!(posted[0].headers["idempotency-key"], "k1");
}

/// EINV-12, EINV-15, EINV-16, EINV-20: what is posted, member by member, and what is said of it.
#[tokio::test]
async fn a_mail_is_posted_as_it_must_be() {
    let (world, server, by) = world().await;
    let said = world
        .said(
            &by,
            &[
                ("to", Json::strings([" owner@example.com", "A@x.org"])),
                ("cc", text("b@x.org")),
                ("html", text("<p>well</p>")),
                ("purpose", text("report")),
            ],
        )
        .await;
    assert_eq!(
        said.canonical(),
        r#"{"from":"cody@agents.example.com","id":"00000000-0000-4000-8000-000000000000","remaining":49,"sent":true,"subject":"Daily report","to":["owner@example.com","A@x.org"]}"#
    );
    let posted = server.posted().remove(0);
    assert_eq!(posted.line, "POST /emails HTTP/1.1");
    for (name, value) in [
        ("authorization", format!("Bearer {KEY}")),
        ("content-type", "application/json".to_owned()),
        ("user-agent", format!("countersign/{}", env!("CARGO_PKG_VERSION"))),
        ("host", format!("127.0.0.1:{}", server.port)),
    ] {
        assert_eq!(posted.headers[name], value, "{name}");
    }
    assert_eq!(posted.headers["idempotency-key"].len(), 32);
    assert_eq!(
        posted.body,
        serde_json::json!({
            "from": "cody <cody@agents.example.com>",
            "to": ["owner@example.com", "A@x.org"],
            "cc": ["b@x.org"],
            "subject": "Daily report",
            "text": "All is well.",
            "html": "<p>well</p>",
            "reply_to": ["owner@example.com"],
            "tags": [
                { "name": "tenant_id", "value": "cody" },
                { "name": "agent_id", "value": "cody" },
                { "name": "purpose", "value": "report" },
            ],
        })
    );
    let log = world.log().await;
    for part in [
        "\"mail.sent\"",
        "\"outcome\":\"ok\"",
        "\"recipients\":3",
        "\"purpose\":\"report\"",
        "\"reply_to\":\"owner@example.com\"",
        "\"secret.used\"",
        "\"status\":200",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert_eq!(world.counts(), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert!(world.sends.text().contains("{outcome=\"ok\",purpose=\"report\"} 1\n"));
}

/// EINV-11, EINV-16: each way in which a provider's answer can be wrong is one end, counted once, and sends nothing twice.
#[tokio::test]
async fn every_wrong_answer_is_one_end() {
    let (world, server, by) = world().await;
    let mut n = 0;
    for (wrong, kind) in [
        (named(401, "restricted_api_key", "no"), "auth_failed"),
        (named(403, "invalid_permission", "no"), "auth_failed"),
        (named(409, "invalid_idempotent_request", "no"), "validation_error"),
        (named(409, "resource_locked", "no"), "service_down"),
        (named(422, "validation_error", "no"), "validation_error"),
        (named(429, "daily_quota_exceeded", "no"), "rate_limited_resend"),
        (named(500, "application_error", "no"), "service_down"),
        (answer(503, "<html>down</html>"), "service_down"),
        (answer(403, "error code: 1010"), "service_down"),
        (answer(200, "<html>fine</html>"), "service_down"),
        (answer(200, "{}"), "service_down"),
        (answer(200, &"x".repeat(70_000)), "service_down"),
        (
            Wrong::Answer(302, String::new(), vec![("location".into(), format!("{}/emails", server.url()))]),
            "service_down",
        ),
        (Wrong::LostRequest, "service_down"),
    ] {
        n += 1;
        server.next(wrong.clone());
        let before: u64 = world.counts().iter().sum();
        let got = world.kind(&by, &[("subject", text(&format!("mail {n}")))]).await;
        assert_eq!(got, kind, "{wrong:?}");
        assert_eq!(world.counts().iter().sum::<u64>(), before + 1, "{wrong:?}");
    }
    assert!(server.accepted().is_empty());
    assert_eq!(server.posted().len(), n, "no redirect is followed and nothing is asked twice");
    // Busy with the same mail: asked once more, by itself.
    server.next(named(409, "concurrent_idempotent_requests", "wait"));
    assert_eq!(world.kind(&by, &[]).await, "ok");
    for _ in 0..2 {
        server.next(named(409, "concurrent_idempotent_requests", "wait"));
    }
    assert_eq!(world.kind(&by, &[("subject", text("busy"))]).await, "service_down");
    assert_eq!(server.accepted().len(), 1);
    assert_eq!(server.posted().len(), n + 4);
}

/// EINV-18: of a provider's words only those about the mail go on, short, on one line and without the key.
#[tokio::test]
async fn a_providers_words_go_on_only_about_the_mail() {
    let (world, server, by) = world().await;
    server.next(named(422, "validation_error", "The `to` field\r\n\u{7} is odd"));
    let said = world.said(&by, &[]).await;
    assert_eq!(said.text("error"), Some("The `to` field is odd"));
    server.next(named(422, "validation_error", &format!("you sent Bearer {KEY} {}", "x".repeat(5_000))));
    let said = world.said(&by, &[]).await;
    let error = said.text("error").unwrap();
    assert!(
        error.starts_with("you sent ") && error.contains("[REDACTED]") && error.len() <= 1_024,
        "{error}"
    );
    for (status, name) in [(500, "application_error"), (401, "x"), (429, "x"), (409, "resource_locked")] {
        server.next(named(status, name, "SECRET WORDS"));
        assert!(!world.said(&by, &[]).await.canonical().contains("SECRET"), "{status}");
    }
    server.next(Wrong::Answer(429, String::new(), vec![("retry-after".into(), "7".into())]));
    assert_eq!(world.said(&by, &[]).await.get("retry_after_s").and_then(Json::as_i64), Some(7));
}

/// EINV-18, P-18: over all eight ends, the key is in no answer, no record and no metric, in any form.
#[tokio::test]
async fn the_key_is_in_nothing_that_leaves() {
    let (mut world, server, _) = world().await;
    world.with(|s| {
        s.recipients = Some("a@x.org".into());
        s.daily_cap = Some(40);
    });
    let by = gate(&world, &server);
    let symbols = String::from_utf8(base64(KEY.as_bytes())).unwrap();
    let hex: String = KEY.bytes().map(|b| format!("{b:02x}")).collect();
    let echoes = [KEY.to_owned(), format!("Bearer {KEY}"), symbols, hex, KEY.chars().rev().collect()];
    let mut answers = Vec::new();
    for (n, echo) in echoes.iter().enumerate() {
        for (status, name) in [(401, "x"), (429, "x"), (422, "validation_error"), (500, "x")] {
            server.next(named(status, name, &format!("you said {echo}!")));
            let subject = text(&format!("{n} {status}"));
            answers.push(world.said(&by, &[("subject", subject)]).await.canonical());
        }
    }
    answers.push(world.said(&by, &[]).await.canonical());
    let (answered, _) = world.send(&by, &[("to", text("mallory@x.org"))]).await;
    answers.push(answered.reason.to_string());
    world.with(|s| s.daily_cap = Some(0));
    let (answered, _) = world.send(&gate(&world, &server), &[]).await;
    answers.push(answered.reason.to_string());
    world.with(|_| ());
    world.bind("elsewhere.example", Placement::Bearer).await;
    answers.push(world.said(&gate(&world, &server), &[("subject", text("nokey"))]).await.canonical());
    for kind in [
        "auth_failed",
        "rate_limited_resend",
        "validation_error",
        "service_down",
        "\"sent\":true",
        "mallory",
        "used up",
        "key_unavailable",
    ] {
        assert!(answers.iter().any(|a| a.contains(kind)), "{kind}: {answers:#?}");
    }
    assert_clean("answers", &answers.join("\n"));
    assert_clean("log", &world.log().await);
    assert_clean("metrics", &world.sends.text());
}

/// P-21, EINV-6: an answer that is lost leaves the end open, counts as a mail, and the same mail again is the same mail.
#[tokio::test]
async fn a_lost_answer_is_no_second_mail() {
    let (mut world, server, _) = world().await;
    world.waits = Waits { connect: Duration::from_secs(5), total: Duration::from_millis(400) };
    world.with(|s| s.daily_cap = Some(5));
    let by = gate(&world, &server);
    for wrong in [
        Wrong::LostAnswer,
        Wrong::Silent,
        Wrong::AcceptedBut(200, "<html>".into()),
        Wrong::AcceptedBut(502, "<html>".into()),
    ] {
        server.next(wrong);
        assert_eq!(world.kind(&by, &[]).await, "service_down");
    }
    let said = world.said(&by, &[]).await;
    assert_eq!(said.text("id"), Some("00000000-0000-4000-8000-000000000000"));
    // Three of the four could have been accepted; the fourth was said to have failed.
    assert_eq!(said.get("remaining").and_then(Json::as_i64), Some(1));
    assert_eq!(server.accepted().len(), 1);
    assert_eq!(server.posted().len(), 5);
    let keys: std::collections::BTreeSet<String> =
        server.posted().iter().map(|p| p.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 1);
}

/// EINV-3, EINV-4, EINV-6: what the floor refuses opens no secret and sends nothing, and costs no mail; nor does a fault.
#[tokio::test]
async fn refused_mail_asks_nobody() {
    let (mut world, server, _) = world().await;
    world.with(|s| {
        s.recipients = None;
        s.daily_cap = Some(1);
    });
    let by = gate(&world, &server);
    for args in [
        vec![("to", text("mallory@x.org"))],
        vec![("cc", text("mallory@x.org"))],
        vec![("bcc", Json::strings(["owner@example.com", "mallory@x.org"]))],
    ] {
        assert_eq!(world.refused(&by, &args).await, "recipient_denied");
    }
    for args in [
        vec![("from", text("ceo@example.com"))],
        vec![("subject", text("a\r\nBcc: mallory@x.org"))],
        vec![("to", text("owner@example.com\r\nmallory@x.org"))],
        vec![("replyTo", text("a@x.org"))],
    ] {
        // EINV-15, EINV-19.
        assert_eq!(world.refused(&by, &args).await, "validation_error");
    }
    assert!(!world.log().await.contains("secret.used"));
    for _ in 0..3 {
        server.next(named(500, "application_error", "no"));
        assert_eq!(world.kind(&by, &[]).await, "service_down");
    }
    assert_eq!(world.kind(&by, &[("to", text(" OWNER@Example.com "))]).await, "ok");
    assert_eq!(world.refused(&by, &[("subject", text("second"))]).await, "rate_limited_local");
    // The cap stands before the recipients.
    assert_eq!(world.refused(&by, &[("to", text("mallory@x.org"))]).await, "rate_limited_local");
    assert_eq!((server.posted().len(), server.accepted().len()), (4, 1));
}

/// EINV-6: many at once never send more than the cap.
#[tokio::test]
async fn parallel_mails_keep_to_the_cap() {
    let (mut world, server, _) = world().await;
    world.with(|s| s.daily_cap = Some(3));
    let by = gate(&world, &server);
    let ends: std::sync::Mutex<Vec<bool>> = std::sync::Mutex::default();
    let one = async |n: usize| {
        let (_, performed) = world.send(&by, &[("subject", text(&format!("mail {n}")))]).await;
        ends.lock().unwrap().push(performed.is_some());
    };
    tokio::join!(one(0), one(1), one(2), one(3), one(4), one(5), one(6), one(7));
    let sent = ends.lock().unwrap().iter().filter(|sent| **sent).count();
    assert_eq!((sent, server.accepted().len()), (3, 3));
}

/// EINV-23, P-9: a yes is for this mail. One byte more is another one.
#[tokio::test]
async fn a_yes_is_for_this_mail_alone() {
    let (mut world, server, _) = world().await;
    world.asked = true;
    let by = gate(&world, &server);
    let (answered, _) = world.send(&by, &[]).await;
    let Decision::Pending { approval_id, .. } = answered.decision else { panic!("{answered:?}") };
    let shown = world.store.approval(approval_id).await.unwrap().unwrap();
    let display = shown.request.display.to_string();
    assert!(
        display.contains("It is sent by cody <cody@agents.example.com>; answers go to owner@example.com."),
        "{display}"
    );
    let ana = Approver::of(&Principal::Human { name: "ana".into() }, Assurance::Cli).unwrap();
    by.0.approve(approval_id, "this_call", ana, Via::Cli).await.unwrap();
    for args in [
        vec![("text", text("All is well!"))],
        vec![("bcc", text("a@x.org"))],
        vec![("reply_to", text("a@x.org"))],
    ] {
        let (other, performed) = world.send(&by, &args).await;
        assert!(matches!(other.decision, Decision::Pending { .. }) && performed.is_none(), "{other:?}");
    }
    assert!(server.posted().is_empty());
    assert_eq!(world.kind(&by, &[]).await, "ok");
}

/// A dry run is everything but the sending.
#[tokio::test]
async fn a_dry_run_sends_nothing() {
    let (mut world, server, _) = world().await;
    world.dry_run = true;
    let by = gate(&world, &server);
    let said = world.said(&by, &[]).await;
    assert_eq!((said.get("sent"), said.get("dry_run")), (Some(&Json::Bool(false)), Some(&Json::Bool(true))));
    assert_eq!(world.refused(&by, &[("to", text("mallory@x.org"))]).await, "recipient_denied");
    assert!(server.posted().is_empty() && world.log().await.contains("\"dry_run\":true"));
    assert_eq!(world.counts().iter().sum::<u64>(), 0);
}

/// EINV-11: a key that cannot be had, and a sender that breaks, are ends like the others.
#[tokio::test]
async fn no_key_and_a_broken_sender_are_ends() {
    let (world, server, _) = world().await;
    let carrier = || Carrier::Resend(server.url().parse().unwrap());
    for (value, kind) in [
        (None, "key_unavailable"),
        (Some("short"), "key_unavailable"),
        (Some("a\nlong enough key"), "key_unavailable"),
        (Some(KEY), "ok"),
    ] {
        let read = Box::new(move || value.map(secret));
        let by = world.gate(carrier(), KeyFrom::Variable(read));
        assert_eq!(world.kind(&by, &[]).await, kind);
    }
    let by = world.gate(carrier(), KeyFrom::Variable(Box::new(|| panic!("{KEY}"))));
    let said = world.said(&by, &[]).await;
    assert_eq!(said.text("error_kind"), Some("service_down"));
    assert_clean("answer", &said.canonical());
    // The vault's key goes where it is bound, and nowhere else.
    world.bind("api.resend.com", Placement::Bearer).await;
    let by = gate(&world, &server);
    assert_eq!(world.kind(&by, &[]).await, "key_unavailable");
    assert!(world.log().await.contains("\"code\":\"secret_not_bound\""));
    assert_eq!(server.posted().len(), 1);
}
