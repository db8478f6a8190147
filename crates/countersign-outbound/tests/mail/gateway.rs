//! The client of a secrets gateway.

use super::common::*;
use countersign_core::json::Json;
use countersign_gate::gate::Gate;
use countersign_gate::seams::Clock;
use countersign_outbound::mail::key::{Gateway, KeyFrom, Place};
use countersign_outbound::mail::{Carrier, Mail};
use countersign_testkit::hostile::{Hostile, Script};
use countersign_testkit::mail::Resend;
use std::time::Duration;

const HOST: &str = "gateway.test";

struct Ground {
    world: World,
    gateway: Hostile,
    server: Resend,
    by: (Gate, Mail),
}

async fn ground(name: &str) -> Ground {
    let mut world = World::new().await;
    world.clock.flow(false);
    let gateway = Hostile::start(&[HOST]).await;
    let server = Resend::start(KEY);
    world.ca = Some(gateway.ca_pem.clone());
    let place = Place::At(format!("https://{HOST}:{}", gateway.port).parse().unwrap());
    let client = Gateway::new(
        &world.http(),
        place,
        Some(secret("token-of-32-characters-or-so")),
        name.into(),
        world.clock.clone(),
    );
    let by = world.gate(Carrier::Resend(server.url().parse().unwrap()), KeyFrom::Gateway(Box::new(client)));
    Ground { world, gateway, server, by }
}

impl Ground {
    fn gives(&self, key: &str) {
        self.gateway.next(Script::answer("200 OK", &[], key.as_bytes()));
    }

    async fn send(&self, subject: &str) -> String {
        self.world.kind(&self.by, &[("subject", Json::str(subject))]).await
    }
}

/// EINV-7: one address, one way to ask, and no asking for what is no name.
#[tokio::test]
async fn a_key_is_asked_for_in_one_way() {
    let ground = ground(NAME).await;
    ground.gives(KEY);
    assert_eq!(ground.send("one").await, "ok");
    let asked = String::from_utf8(ground.gateway.requests().remove(0)).unwrap();
    assert!(asked.starts_with("GET /v1/secrets/resend_api_key HTTP/1.1\r\n"), "{asked}");
    for line in [
        "authorization: Bearer token-of-32-characters-or-so",
        "x-countersign-request: true",
        "user-agent: countersign/",
    ] {
        assert!(asked.to_lowercase().contains(&format!("\r\n{}", line.to_lowercase())), "{line} in {asked}");
    }
    assert_eq!(ground.server.posted()[0].headers["authorization"], format!("Bearer {KEY}"));
    for name in ["Resend", "re-send", "../identity", "9a", ""] {
        let ground = self::ground(name).await;
        assert_eq!(ground.send("one").await, "key_unavailable", "{name}");
        assert_eq!((ground.gateway.connections(), ground.server.posted().len()), (0, 0), "{name}");
    }
}

/// EINV-8: a key is good for 15 minutes, and an old one never stands in for one that cannot be had.
#[tokio::test]
async fn a_key_ages() {
    let ground = ground(NAME).await;
    ground.gives(KEY);
    assert_eq!(ground.send("one").await, "ok");
    ground.world.clock.advance(Duration::from_millis(899_999));
    assert_eq!(ground.send("two").await, "ok");
    assert_eq!(ground.gateway.connections(), 1);
    ground.world.clock.advance(Duration::from_millis(1));
    ground.gateway.next(Script::answer("503 Sealed", &[], b""));
    assert_eq!(ground.send("three").await, "key_unavailable");
    assert_eq!(ground.gateway.connections(), 2);
    assert_eq!(ground.server.posted().len(), 2);
    ground.gives(KEY);
    assert_eq!(ground.send("three").await, "ok");
    assert_eq!(ground.gateway.connections(), 3);
}

/// EINV-9: a key that the provider does not take is thrown away, and the next mail asks for it anew.
#[tokio::test]
async fn a_rotated_key_is_found() {
    let ground = ground(NAME).await;
    ground.gives(KEY);
    assert_eq!(ground.send("one").await, "ok");
    ground.server.rotate("re_rotated_key_of_the_provider");
    assert_eq!(ground.send("two").await, "auth_failed");
    assert_eq!(
        (ground.gateway.connections(), ground.server.posted().len()),
        (1, 2),
        "not asked again by itself"
    );
    ground.gives("re_rotated_key_of_the_provider");
    assert_eq!(ground.send("two").await, "ok");
    assert_eq!(ground.gateway.connections(), 2);
}

/// EINV-10: whatever a gateway answers, it is one of two ends, and nothing is posted.
#[tokio::test]
async fn a_gateways_answers_are_ends() {
    let ground = ground(NAME).await;
    for (script, kind) in [
        (Script::answer("401 Unauthorized", &[], b""), "auth_failed"),
        (Script::answer("404 Not Found", &[], b""), "key_unavailable"),
        (Script::answer("403 Forbidden", &[], b""), "key_unavailable"),
        (Script::answer("429 Slow Down", &[], b""), "key_unavailable"),
        (Script::answer("500 Oh", &[], KEY.as_bytes()), "key_unavailable"),
        (Script::answer("304 Not Modified", &[], b""), "key_unavailable"),
        (Script::answer("302 Found", &[("location", "/v1/secrets/other")], b""), "key_unavailable"),
        (Script::answer("200 OK", &[], b""), "key_unavailable"),
        (Script::answer("200 OK", &[], b"line\r\nX-Evil: yes, and long enough"), "key_unavailable"),
        (Script::answer("200 OK", &[], &[b'a'; 70_000]), "key_unavailable"),
        (Script { pieces: vec![b"garbage".to_vec()], pause: Duration::ZERO }, "key_unavailable"),
        (Script::default(), "key_unavailable"),
    ] {
        let shown = format!("{script:?}").chars().take(300).collect::<String>();
        ground.gateway.next(script);
        let before = ground.gateway.connections();
        assert_eq!(ground.send("one").await, kind, "{shown}");
        assert_eq!(ground.gateway.connections(), before + 1, "{shown}");
    }
    assert!(ground.server.posted().is_empty());
    let unreachable = Place::At("https://gateway.test:9".parse().unwrap());
    let clock = ground.world.clock.clone();
    let client = Gateway::new(&ground.world.http(), unreachable, None, NAME.into(), clock);
    let by = ground
        .world
        .gate(Carrier::Resend(ground.server.url().parse().unwrap()), KeyFrom::Gateway(Box::new(client)));
    assert_eq!(ground.world.kind(&by, &[]).await, "key_unavailable");
    assert!(ground.world.clock.elapsed() < Duration::from_secs(1));
}

/// Mails at once ask for the key once, whether it can be had or not.
#[tokio::test]
async fn mails_at_once_ask_once() {
    let ground = ground(NAME).await;
    let slow = |body: &str| {
        let mut script = Script::answer("200 OK", &[], body.as_bytes());
        script.pause = Duration::from_millis(100);
        script
    };
    ground.gateway.next(Script { pieces: vec![b"no answer".to_vec()], pause: Duration::from_millis(100) });
    let all = tokio::join!(ground.send("1"), ground.send("2"), ground.send("3"));
    assert_eq!(all.0, "key_unavailable");
    assert_eq!((all.1, all.2), ("key_unavailable".to_owned(), "key_unavailable".to_owned()));
    assert_eq!(ground.gateway.connections(), 1);
    ground.gateway.next(slow(KEY));
    let all = tokio::join!(ground.send("1"), ground.send("2"), ground.send("3"));
    assert_eq!(all, ("ok".to_owned(), "ok".to_owned(), "ok".to_owned()));
    assert_eq!(ground.gateway.connections(), 2);
}
