//! `http_fetch` from the permit to the answer: a real gate on a real store, a vault, and a server that does to a secret
//! whatever a server can do. What leaves is the answer and the log; neither holds the secret in any form.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken test must fail at once"
)]

use async_trait::async_trait;
use countersign_core::approval::scope::Scope;
use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::cleanse::{Known, base64};
use countersign_core::digest::MacKey;
use countersign_core::ids::CallId;
use countersign_core::json::{Bounds, Json};
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::Rulebook;
use countersign_core::rulebook::settings::{Denial, RuleSettings, StandingAllow, StandingDeny};
use countersign_core::secret::{Secret, SecretRef};
use countersign_core::vault::binding::{Binding, HostPattern, Placement};
use countersign_core::vault::seal::{Kek, KeyFrom};
use countersign_gate::gate::{Answered, Book, Capture, Decision, Gate, Given, Patience, Performed, Silent};
use countersign_gate::seams::{Clock, Keeper, Store};
use countersign_outbound::fetch::{Fetch, FetchSettings};
use countersign_outbound::http::{Http, Resolve, Waits};
use countersign_outbound::vault::{KeyError, Keys, Vault};
use countersign_store::{SqliteStore, StoreOptions};
use countersign_testkit::fakes::FakeClock;
use countersign_testkit::hostile::{Hostile, Script};
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOST: &str = "api.hostile.test";
/// Long, with characters that every encoding writes otherwise.
const VALUE: &str = "c4n4ry/+\"s3cr3t\\value=&<99>";

struct FixedKey;

impl Keys for FixedKey {
    fn open(&self, _: &KeyFrom) -> Result<Kek, KeyError> {
        Ok(Kek::of_key(&Secret::new([9; 32])))
    }
    fn create(&self) -> Result<(KeyFrom, Kek), KeyError> {
        Ok((KeyFrom::File, Kek::of_key(&Secret::new([9; 32]))))
    }
}

/// Answers in order, the last one for ever.
struct Names(Mutex<Vec<Vec<IpAddr>>>);

impl Names {
    fn always(addresses: &[&str]) -> Arc<Names> {
        Names::then(&[addresses])
    }
    fn then(answers: &[&[&str]]) -> Arc<Names> {
        let read = |list: &&[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
        Arc::new(Names(Mutex::new(answers.iter().map(read).collect())))
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        let mut all = self.0.lock().unwrap();
        Ok(if all.len() > 1 { all.remove(0) } else { all[0].clone() })
    }
}

struct World {
    _dir: tempfile::TempDir,
    store: SqliteStore,
    vault: Arc<Vault>,
    clock: Arc<FakeClock>,
    server: Hostile,
    settings: RuleSettings,
    waits: Waits,
    resolver: Arc<dyn Resolve>,
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let clock = FakeClock::still(1);
        let mut options = StoreOptions::new(dir.path().join("state"), dir.path().join("HALT"));
        options.engine = "test".to_owned();
        let store = SqliteStore::open(options).await.unwrap();
        let keeper: Arc<dyn Keeper> = Arc::new(store.clone());
        let vault = Arc::new(Vault::new(keeper, Arc::new(FixedKey), clock.clone()));
        let server = Hostile::start(&[HOST]).await;
        let mut settings = RuleSettings::defaults("/home/ana/shop", &[], None);
        settings.project = "p".to_owned();
        let world = World {
            _dir: dir,
            store,
            vault,
            clock,
            settings,
            waits: Waits::default(),
            resolver: Names::always(&["127.0.0.1"]),
            server,
        };
        let binding = world.binding();
        world.vault.set(&name(), &secret(VALUE), Some(&binding), false).await.unwrap();
        world
    }

    fn authority(&self) -> String {
        format!("{HOST}:{}", self.server.port)
    }

    fn binding(&self) -> Binding {
        Binding {
            hosts: vec![HostPattern::parse(&self.authority()).unwrap()],
            allow_private: vec!["127.0.0.1/32".parse().unwrap()],
            placements: vec![
                Placement::Bearer,
                Placement::Basic,
                Placement::ApiKey,
                Placement::Custom("x-auth".into()),
            ],
            ..Binding::default()
        }
    }

    /// A standing grant for reading, writing and deleting with the secret at an authority.
    fn grant(&mut self, authority: &str) {
        for class in ["read", "write", "delete"] {
            let scope = Scope::parse(&format!("secret:k@{authority}#{class}")).unwrap();
            self.settings.allow.push(StandingAllow { scope, principal: None, until: None });
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority())
    }

    fn gate(&self) -> (Gate, Fetch) {
        let book = Arc::new(Rulebook::load(Vec::new(), self.settings.clone()).unwrap().0);
        let (store, clock): (Arc<dyn Store>, Arc<dyn Clock>) =
            (Arc::new(self.store.clone()), self.clock.clone());
        let keeper: Arc<dyn Keeper> = Arc::new(self.store.clone());
        let gate = Gate::new(
            store,
            clock.clone(),
            Book::InForce(book),
            MacKey::new([7; 32]),
            Capture::Redacted,
            "human:ana".into(),
        )
        .keeping(Arc::clone(&keeper));
        let http = Http::new(Arc::clone(&self.resolver), Some(self.server.ca_pem.as_bytes()))
            .unwrap()
            .waiting(self.waits);
        let settings = FetchSettings { project: "p".into(), per_minute: 1_000, quarantine_after: 3 };
        let fetch = Fetch::new(self.vault.clone(), keeper, http, gate.lately(), clock, settings);
        (gate, fetch)
    }

    fn call_by(&self, principal: Principal, args: &[(&str, &str)]) -> ToolCall {
        let mut all = vec![("secret", "k"), ("reason", "a test")];
        all.extend_from_slice(args);
        ToolCall::new(CallParts {
            call_id: CallId(self.clock.fresh_id()),
            door: Door::Mcp,
            principal,
            session: Session { client: Client::ClaudeCode, id: "s".into() },
            agent_id: None,
            tool_use_id: None,
            tool: "http_fetch".into(),
            args: Json::object(all.into_iter().map(|(k, v)| (k, Json::str(v)))),
            cwd: None,
            joins: None,
            served: None,
        })
        .unwrap()
    }

    async fn fetch(&self, args: &[(&str, &str)]) -> (Answered, Option<Performed>) {
        let (gate, hand) = self.gate();
        self.fetch_with(&gate, &hand, args).await
    }

    async fn fetch_with(
        &self,
        gate: &Gate,
        hand: &Fetch,
        args: &[(&str, &str)],
    ) -> (Answered, Option<Performed>) {
        let patience = Patience { hold_s: Some(0), ..Patience::default() };
        gate.call(&self.call_by(agent(None), args), patience, &Silent, hand).await
    }

    /// The text of an answer that went out.
    async fn text(&self, args: &[(&str, &str)]) -> String {
        let (answered, performed) = self.fetch(args).await;
        match performed.unwrap_or_else(|| panic!("{answered:?}")).result {
            Ok(Given::Text(text)) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    async fn log(&self) -> String {
        let rows = self.store.records(0, 10_000).await.unwrap();
        rows.into_iter().map(|row| row.body + "\n").collect()
    }
}

fn name() -> SecretRef {
    SecretRef::parse("k").unwrap()
}

fn secret(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

fn agent(kind: Option<&str>) -> Principal {
    Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: kind.map(str::to_owned) }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), Bounds { max_bytes: usize::MAX, ..Bounds::default() })
        .unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// No form of the value stands in a text, and none behind an encoding.
fn assert_clean(what: &str, text: &str) {
    let known = Known::new([VALUE.as_bytes()]).unwrap();
    assert!(known.scrub(text).is_none(), "{what}: {text}");
    assert!(!known.remains(text.as_bytes()), "{what}: {text}");
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(text).unwrap();
    gz.finish().unwrap()
}

fn symbols(bytes: &[u8]) -> String {
    String::from_utf8(base64(bytes)).unwrap()
}

#[tokio::test]
async fn a_secret_goes_where_it_is_bound_and_does_not_come_back() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    world.server.next(Script::answer(
        "200 Fine",
        &[("x-rate", "5"), ("set-cookie", "a=b")],
        b"{\"ok\":true}",
    ));
    let text = world.text(&[("url", &world.url("/v1?q=1#part")), ("method", "POST"), ("body", "{}")]).await;
    let answer = json(&text);
    assert_eq!(answer.get("status").and_then(Json::as_i64), Some(200));
    assert_eq!(answer.text("status_text"), Some("Fine"));
    assert_eq!(answer.text("body"), Some("{\"ok\":true}"));
    assert_eq!(answer.get("redactions"), Some(&Json::Bool(false)));
    let headers = answer.get("headers").unwrap();
    assert_eq!(headers.text("x-rate"), Some("5"));
    // VINV-13
    assert_eq!(headers.text("set-cookie"), Some("[REDACTED]"));
    let sent = String::from_utf8(world.server.requests().remove(0)).unwrap();
    assert!(sent.starts_with("POST /v1?q=1 HTTP/1.1\r\n"), "{sent}");
    let lower = sent.to_lowercase();
    for line in [
        "accept-encoding: identity",
        "content-type: application/json",
        &format!("user-agent: countersign/{}", env!("CARGO_PKG_VERSION")),
        &format!("host: {}", world.authority()),
    ] {
        assert!(lower.contains(&format!("\r\n{line}\r\n")), "{line} in {sent}");
    }
    assert!(sent.contains(&format!("authorization: Bearer {VALUE}\r\n")), "{sent}");
    let log = world.log().await;
    for part in [
        "\"secret.used\"",
        "\"authority\":\"api.hostile.test",
        "\"path\":\"/v1\"",
        "\"query_keys\":[\"q\"]",
        "\"status\":200",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert_clean("log", &log);
    // VINV-22: the log knows that there was an answer, and nothing of it.
    for part in ["\"ok\":true", "ok\\\":true", "x-rate", "Fine"] {
        assert!(!log.contains(part), "{part} in {log}");
    }
}

/// VINV-18: what other tools would fill in stays as it was written.
#[tokio::test]
async fn places_for_secrets_are_text() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    world.server.next(Script::answer("200 OK", &[], b"ok"));
    let body = "${vault:k} {{k}} $k %k% {secret:k}";
    let url = world.url("/?q=${vault:k}");
    world.text(&[("url", &url), ("method", "POST"), ("body", body), ("reason", "${vault:k}")]).await;
    let sent = String::from_utf8(world.server.requests().remove(0)).unwrap();
    assert!(sent.ends_with(body) && sent.starts_with("POST /?q=${vault:k} HTTP"), "{sent}");
    assert_eq!(sent.matches(VALUE).count(), 1, "in its header alone: {sent}");
}

#[tokio::test]
async fn each_placement_puts_it_in_its_place() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let basic = format!("authorization: Basic {}", symbols(VALUE.as_bytes()));
    for (scheme, header, want) in [
        ("basic", None, basic.as_str()),
        ("header_x_api_key", None, &format!("x-api-key: {VALUE}")),
        ("custom", Some("X-Auth"), &format!("x-auth: {VALUE}")),
    ] {
        world.server.next(Script::answer("200 OK", &[(header.unwrap_or("x-api-key"), VALUE)], b"ok"));
        let url = world.url("/");
        let mut args = vec![("url", url.as_str()), ("auth_scheme", scheme)];
        args.extend(header.map(|h| ("auth_header_name", h)));
        let text = world.text(&args).await;
        assert_clean(scheme, &text);
        let sent = String::from_utf8(world.server.requests().pop().unwrap()).unwrap();
        assert!(sent.to_lowercase().contains(&want.to_lowercase()), "{scheme}: {sent}");
    }
    // What the record does not name is refused, before anything is sent. The echoes had quarantined it.
    world.vault.bind(&name(), &world.binding()).await.unwrap();
    let url = world.url("/");
    let (answered, _) =
        world.fetch(&[("url", &url), ("auth_scheme", "custom"), ("auth_header_name", "x-other")]).await;
    assert!(format!("{:?}", answered.decision).contains("PlacementRefused"), "{answered:?}");
    assert_eq!(world.server.connections(), 3);
}

/// VINV-11, VINV-12, P-18: whatever a server does with the value, nothing of it is in the answer or the log.
#[tokio::test]
async fn echoes_are_taken_out_wherever_they_stand() {
    let percent: String = VALUE.bytes().map(|b| format!("%{b:02X}")).collect();
    let twice = percent.replace('%', "%25");
    let hex: String = VALUE.bytes().map(|b| format!("{b:02x}")).collect();
    let units: String = VALUE.encode_utf16().map(|u| format!("\\u{u:04x}")).collect();
    let entity: String = VALUE.chars().map(|c| format!("&#{};", u32::from(c))).collect();
    let quoted = Json::str(VALUE).canonical();
    let nested = Json::str(Json::str(VALUE).canonical()).canonical();
    let wide: Vec<u8> = VALUE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let wide_be: Vec<u8> = VALUE.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let shifted = |lead: &str| symbols(format!("{lead}{VALUE} and more").as_bytes());
    let wrapped: String = symbols(format!("{}{VALUE}", "x".repeat(70)).as_bytes())
        .as_bytes()
        .chunks(76)
        .map(|l| format!("{}\r\n", String::from_utf8_lossy(l)))
        .collect();
    let mut bodies: Vec<(&str, Vec<u8>)> = vec![
        ("plain", VALUE.into()),
        ("upper", VALUE.to_ascii_uppercase().into()),
        ("bearer", format!("you sent Bearer {VALUE}!").into()),
        ("base64 0", shifted("").into()),
        ("base64 1", shifted("a").into()),
        ("base64 2", shifted("ab").into()),
        ("base64 of base64", symbols(symbols(VALUE.as_bytes()).as_bytes()).into()),
        ("wrapped base64", wrapped.into()),
        ("percent", percent.into()),
        ("percent twice", twice.into()),
        ("hex", hex.into()),
        ("json", quoted.into()),
        ("json in json", nested.into()),
        ("units", units.into()),
        ("entities", entity.into()),
        ("utf-16", wide),
        ("utf-16 be", wide_be),
        ("reversed", VALUE.chars().rev().collect::<String>().into()),
        ("gzip in base64", symbols(&gzip(VALUE.as_bytes())).into()),
        ("gzip by itself", gzip(VALUE.as_bytes())),
        ("binary around it", [&[0xff, 0xfe, 0x00][..], VALUE.as_bytes(), &[0x80]].concat()),
    ];
    bodies.push(("twice", format!("{VALUE}{VALUE}").into()));
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let url = world.url("/echo");
    for status in ["200 OK", "401 No", "500 Oh"] {
        for (what, body) in &bodies {
            world.server.next(Script::answer(status, &[], body));
            let text = world.text(&[("url", &url)]).await;
            assert_clean(what, &text);
            assert_eq!(json(&text).get("redactions"), Some(&Json::Bool(true)), "{what}: {text}");
            // Three of them quarantine it; a person who binds it anew ends that.
            world.vault.bind(&name(), &world.binding()).await.unwrap();
        }
        // A service that refuses the secret is not hammered with it; a 200 in between counts anew.
        world.server.next(Script::answer("200 OK", &[], b""));
        let _ = world.fetch(&[("url", &url)]).await;
    }
    let scripts: Vec<(&str, Script)> = vec![
        ("status text", Script::answer(&format!("200 {VALUE}"), &[], b"")),
        ("header", Script::answer("200 OK", &[("x-echo", VALUE)], b"")),
        (
            "two headers",
            Script::answer("200 OK", &[("x-echo", VALUE), ("x-echo", &symbols(VALUE.as_bytes()))], b""),
        ),
        (
            "location",
            Script::answer("302 Found", &[("location", &format!("https://evil.example/?{VALUE}"))], b""),
        ),
        ("byte by byte", Script::chunked(format!("before {VALUE} after").as_bytes(), 1)),
        ("gzip", Script::answer("200 OK", &[("content-encoding", "gzip")], &gzip(VALUE.as_bytes()))),
        (
            "gzip twice",
            Script::answer("200 OK", &[("content-encoding", "gzip, gzip")], &gzip(&gzip(VALUE.as_bytes()))),
        ),
        ("brotli", {
            let mut out = Vec::new();
            brotli::BrotliCompress(
                &mut VALUE.as_bytes(),
                &mut out,
                &brotli::enc::BrotliEncoderParams::default(),
            )
            .unwrap();
            Script::answer("200 OK", &[("content-encoding", "br")], &out)
        }),
        ("unknown encoding", Script::answer("200 OK", &[("content-encoding", "odd")], VALUE.as_bytes())),
        ("broken gzip", Script::answer("200 OK", &[("content-encoding", "gzip")], VALUE.as_bytes())),
    ];
    for (what, script) in scripts {
        world.server.next(script);
        let (_, performed) = world.fetch(&[("url", &url)]).await;
        let shown = format!("{performed:?}");
        assert_clean(what, &shown);
        assert!(performed.unwrap().result.is_ok(), "{what}: {shown}");
        world.vault.bind(&name(), &world.binding()).await.unwrap();
    }
    // A name of a header is lower case by then, and cannot hold every character of a value.
    world.vault.set(&name(), &secret("t0ken-with-plain-letters"), None, true).await.unwrap();
    world.server.next(Script::answer(
        "200 OK",
        &[("x-T0ken-With-Plain-Letters", "y"), ("a", "t0ken-with-plain-letters")],
        b"",
    ));
    let text = world.text(&[("url", &url)]).await;
    assert!(!text.to_lowercase().contains("t0ken-with"), "{text}");
    let log = world.log().await;
    assert_clean("log", &log);
    assert!(
        log.contains("\"secret.echoed\"")
            && log.contains("\"place\":\"body\"")
            && log.contains("\"form\":\"base64\""),
        "{log}"
    );
}

/// VINV-12: the value cut at every place into two chunks.
#[tokio::test]
async fn a_value_that_is_cut_in_two_is_whole_here() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let url = world.url("/");
    for cut in 1..VALUE.len() {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n".to_vec();
        let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len()).into_bytes();
        let (first, second) = VALUE.split_at(cut);
        world.server.next(Script {
            pieces: vec![head, chunk(first), chunk(second), b"0\r\n\r\n".to_vec()],
            pause: Duration::ZERO,
        });
        assert_clean("cut", &world.text(&[("url", &url)]).await);
        world.vault.bind(&name(), &world.binding()).await.unwrap();
    }
}

/// VINV-14, VINV-16, and every other end: the specified error, and nothing else.
#[tokio::test]
async fn each_end_has_its_word() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    world.waits = Waits { connect: Duration::from_secs(5), total: Duration::from_secs(2) };
    let url = world.url("/");
    let large = vec![b'x'; 10 * 1_048_576];
    let bomb = gzip(&vec![0u8; 64 * 1_048_576]);
    let drip = Script { pause: Duration::from_millis(300), ..Script::chunked(&[b'x'; 64], 1) };
    let cut = Script {
        pieces: vec![b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort".to_vec()],
        pause: Duration::ZERO,
    };
    let many: Vec<(String, String)> = (0..150).map(|n| (format!("x-{n}"), "y".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let garbage = Script { pieces: vec![format!("{VALUE}\r\n\r\n").into_bytes()], pause: Duration::ZERO };
    for (what, script, want) in [
        ("10 MiB", Script::answer("200 OK", &[], &large), r#"{"error":"response_too_large"}"#),
        (
            "one byte more",
            Script::answer("200 OK", &[], &large[..1_048_577]),
            r#"{"error":"response_too_large"}"#,
        ),
        (
            "a bomb",
            Script::answer("200 OK", &[("content-encoding", "gzip")], &bomb),
            r#"{"error":"response_too_large"}"#,
        ),
        ("a slow drip", drip, r#"{"class":"timeout","error":"request_failed"}"#),
        ("cut short", cut, r#"{"class":"protocol","error":"request_failed"}"#),
        (
            "many headers",
            Script::answer("200 OK", &many, b""),
            r#"{"class":"protocol","error":"request_failed"}"#,
        ),
        ("garbage", garbage, r#"{"class":"protocol","error":"request_failed"}"#),
    ] {
        world.server.next(script);
        assert_eq!(world.text(&[("url", &url)]).await, want, "{what}");
    }
    world.server.next(Script::answer("200 OK", &[], &large[..1_048_576]));
    assert_eq!(json(&world.text(&[("url", &url)]).await).text("body").unwrap().len(), 1_048_576);
    let before = world.server.connections();
    world.server.next(Script::answer("302 Found", &[("location", &world.url("/elsewhere"))], b""));
    let text = world.text(&[("url", &url)]).await;
    assert_eq!(json(&text).get("status").and_then(Json::as_i64), Some(302));
    assert_eq!(world.server.connections(), before + 1, "nobody followed");
    // A certificate for another name.
    let mut binding = world.binding();
    binding.hosts.push(HostPattern::parse(&format!("other.test:{}", world.server.port)).unwrap());
    world.vault.bind(&name(), &binding).await.unwrap();
    world.grant(&format!("other.test:{}", world.server.port));
    let other = format!("https://other.test:{}/", world.server.port);
    assert_eq!(world.text(&[("url", &other)]).await, r#"{"class":"tls","error":"request_failed"}"#);
    // Nobody there.
    binding.hosts.push(HostPattern::parse("other.test:1").unwrap());
    world.vault.bind(&name(), &binding).await.unwrap();
    world.grant("other.test:1");
    assert_eq!(
        world.text(&[("url", "https://other.test:1/")]).await,
        r#"{"class":"connect","error":"request_failed"}"#
    );
    assert_clean("log", &world.log().await);
}

/// VINV-15, P-19: an address that is not of the world is not connected to, however it is spelled, mixed in or rebound.
#[tokio::test]
async fn addresses_are_looked_at() {
    let mut world = World::new().await;
    let port = world.server.port;
    let open = Binding { any_host: true, ..Binding::default() };
    world.vault.bind(&name(), &open).await.unwrap();
    let refused = r#"{"class":"refused_address","error":"request_failed"}"#;
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "[ff02::1]",
        "[fe80::1]",
        "localhost",
        "a.localhost",
        "x.internal",
        "metadata",
        "metadata.google.internal",
        "printer.local",
    ] {
        let url = format!("https://{host}:{port}/");
        let authority =
            countersign_core::vault::binding::Authority::of(&url::Url::parse(&url).unwrap()).unwrap();
        world.grant(&authority.to_string());
        assert_eq!(world.text(&[("url", &url)]).await, refused, "{host}");
    }
    let at = world.authority();
    world.grant(&at);
    let url = world.url("/");
    for answers in [
        &["127.0.0.1"][..],
        &["93.184.216.34", "127.0.0.1"],
        &["::ffff:10.0.0.1"],
        &["64:ff9b::a00:1"],
        &["169.254.169.254"],
    ] {
        world.resolver = Names::always(answers);
        assert_eq!(world.text(&[("url", &url)]).await, refused, "{answers:?}");
    }
    world.resolver = Names::always(&[]);
    assert_eq!(world.text(&[("url", &url)]).await, r#"{"class":"dns","error":"request_failed"}"#);
    assert_eq!(world.server.connections(), 0);
    // Rebinding between the look and the connection: the name is asked for once, and the connection goes where it was
    // looked at. Nobody listens there.
    world
        .vault
        .bind(&name(), &Binding { allow_private: vec!["127.0.0.2/32".parse().unwrap()], ..open })
        .await
        .unwrap();
    world.resolver = Names::then(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let text = world.text(&[("url", &url)]).await;
    assert!(text.contains("connect"), "{text}");
    assert_eq!(world.server.connections(), 0, "the second answer was never used");
}

/// VINV-26.
#[tokio::test]
async fn proxies_of_the_environment_have_no_say() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    // A child would have to be started to change the environment; the client's own builder is what is looked at.
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http.rs")).unwrap();
    assert!(text.contains(".no_proxy()"));
    world.server.next(Script::answer("200 OK", &[], b"direct"));
    assert!(world.text(&[("url", &world.url("/"))]).await.contains("direct"));
}

/// VINV-8, VINV-9, VINV-10, VINV-23: what happens without, with and against a grant.
#[tokio::test]
async fn grants_denials_and_the_binding() {
    let mut world = World::new().await;
    let url = world.url("/");
    let asked = |answered: &Answered| matches!(answered.decision, Decision::Pending { .. });
    // Without a grant every well-formed use is asked about alike, known or not, bound or not.
    let (known, _) = world.fetch(&[("url", &url)]).await;
    let (unknown, _) = world.fetch(&[("url", &url), ("secret", "nobody")]).await;
    let (elsewhere, _) = world.fetch(&[("url", "https://evil.example/")]).await;
    assert!(asked(&known) && asked(&unknown) && asked(&elsewhere));
    assert_eq!((known.reason.as_str(), &known.rules), (unknown.reason.as_str(), &unknown.rules));
    assert_eq!(known.reason, elsewhere.reason);
    // Scopes that are wider answer nothing.
    for scope in ["all_session", "tool_type:http_fetch", "rule:secret_use"] {
        world.settings.allow.push(StandingAllow {
            scope: Scope::parse(scope).unwrap(),
            principal: None,
            until: None,
        });
    }
    assert!(asked(&world.fetch(&[("url", &url)]).await.0));
    world.settings.mode = countersign_core::rulebook::settings::Mode::Watch;
    assert!(asked(&world.fetch(&[("url", &url)]).await.0), "watch mode changes nothing here");
    world.settings.mode = countersign_core::rulebook::settings::Mode::Enforce;
    // A grant counts where the record is bound as well.
    let at = world.authority();
    world.grant(&at);
    world.grant("evil.example");
    let refused = |answered: &Answered, code: &str| format!("{:?}", answered.decision).contains(code);
    let (answered, _) = world.fetch(&[("url", "https://evil.example/")]).await;
    assert!(refused(&answered, "SecretNotBound"), "{answered:?}");
    let (answered, _) = world.fetch(&[("url", &url), ("secret", "nobody")]).await;
    assert!(asked(&answered), "a grant is for one secret");
    // Denials win over grants, by whatever part they name.
    for value in ["k", "*", &format!("k@{at}"), "k@*", "*@*"] {
        let what = Denial::parse("secret", value).unwrap();
        world.settings.deny = vec![StandingDeny { what, principal: None, until: None }];
        let (answered, _) = world.fetch(&[("url", &url)]).await;
        assert!(refused(&answered, "Hard") && answered.rules == ["deny_entry"], "{value}: {answered:?}");
    }
    let what = Denial::parse("tool", "http_fetch").unwrap();
    world.settings.deny = vec![StandingDeny { what, principal: None, until: None }];
    assert!(refused(&world.fetch(&[("url", &url)]).await.0, "Hard"));
    assert_eq!(world.server.connections(), 0);
    world.settings.deny =
        vec![StandingDeny { what: Denial::parse("secret", "other").unwrap(), principal: None, until: None }];
    world.server.next(Script::answer("200 OK", &[], b"fine"));
    assert!(world.text(&[("url", &url)]).await.contains("fine"));
    // An unbound secret has no automatic use.
    world.vault.bind(&name(), &Binding::default()).await.unwrap();
    assert!(asked(&world.fetch(&[("url", &url)]).await.0));
}

/// VINV-19: a sub-agent has no such tool, whatever it was granted.
#[tokio::test]
async fn sub_agents_have_no_such_tool() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let (gate, hand) = world.gate();
    let call = world.call_by(agent(Some("explorer")), &[("url", &world.url("/")), ("odd", "x")]);
    let (answered, performed) = gate.call(&call, Patience::default(), &Silent, &hand).await;
    assert!(
        performed.is_none() && format!("{:?}", answered.decision).contains("UnknownTool"),
        "{answered:?}"
    );
    assert_eq!(answered.reason.as_str(), "the server has no such tool");
    assert_eq!(world.server.connections(), 0);
}

/// VINV-24.
#[tokio::test]
async fn echoes_quarantine_the_secret() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let url = world.url("/");
    for _ in 0..3 {
        world.server.next(Script::answer("200 OK", &[], VALUE.as_bytes()));
        let _ = world.text(&[("url", &url)]).await;
    }
    let (answered, _) = world.fetch(&[("url", &url)]).await;
    assert!(matches!(answered.decision, Decision::Pending { .. }), "{answered:?}");
    assert!(world.log().await.contains("\"secret.quarantined\""));
}

/// VINV-24: what was let through before the quarantine and waited for its turn is not sent any more.
#[tokio::test]
async fn a_quarantine_stops_what_waits_in_line() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let url = world.url("/");
    let (gate, hand) = world.gate();
    for _ in 0..3 {
        world.server.next(Script::answer("200 OK", &[], VALUE.as_bytes()));
    }
    let plain = [("url", url.as_str())];
    let one = || world.fetch_with(&gate, &hand, &plain);
    let (a, b, c, d, e) = tokio::join!(one(), one(), one(), one(), one());
    let done = [a, b, c, d, e];
    let said = format!("{done:?}");
    assert_eq!(world.server.requests().len(), 3, "{said}");
    // One that was judged after the quarantine is a question instead.
    let stopped = |d: &&(Answered, Option<Performed>)| {
        format!("{d:?}").contains("secret_quarantined") || matches!(d.0.decision, Decision::Pending { .. })
    };
    assert_eq!(done.iter().filter(stopped).count(), 2, "{said}");
}

/// VINV-27: what was replaced is still taken out for a day.
#[tokio::test]
async fn the_old_value_is_looked_for_as_well() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    world.vault.rotate(&name(), &secret("an-entirely-new-value")).await.unwrap();
    world.server.next(Script::answer("200 OK", &[], format!("{VALUE} an-entirely-new-value").as_bytes()));
    let text = world.text(&[("url", &world.url("/"))]).await;
    assert_clean("old", &text);
    assert!(!text.contains("entirely"), "{text}");
    let sent = String::from_utf8(world.server.requests().remove(0)).unwrap();
    assert!(sent.contains("Bearer an-entirely-new-value"));
}

/// VINV-20: one at a time for a secret, side by side for two.
#[tokio::test]
async fn one_secret_at_a_time() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let other = SecretRef::parse("other").unwrap();
    world.vault.set(&other, &secret("another-secret"), Some(&world.binding()), false).await.unwrap();
    let scope = Scope::parse(&format!("secret:other@{at}#read")).unwrap();
    world.settings.allow.push(StandingAllow { scope, principal: None, until: None });
    let url = world.url("/");
    let (gate, hand) = world.gate();
    // The first one hangs until its answer is there; nobody sleeps to find that out.
    let stuck = Script { pieces: vec![Vec::new()], pause: Duration::from_secs(3_600) };
    world.server.next(stuck);
    let plain = [("url", url.as_str())];
    let first = world.fetch_with(&gate, &hand, &plain);
    let mut first = std::pin::pin!(first);
    while world.server.requests().is_empty() {
        tokio::select! { biased; done = &mut first => panic!("{done:?}"), () = tokio::time::sleep(Duration::from_millis(5)) => {} }
    }
    let put = [("url", url.as_str()), ("body", "x"), ("method", "PUT")];
    let second = world.fetch_with(&gate, &hand, &put);
    let mut second = std::pin::pin!(second);
    world.server.next(Script::answer("200 OK", &[], b"side by side"));
    let others = [("url", url.as_str()), ("secret", "other")];
    let beside = world.fetch_with(&gate, &hand, &others);
    let (_, performed) = tokio::select! {
        biased;
        done = &mut first => panic!("{done:?}"),
        done = &mut second => panic!("the second use of one secret did not wait: {done:?}"),
        done = beside => done,
    };
    assert!(format!("{performed:?}").contains("side by side"));
    assert_eq!(world.server.requests().len(), 2);
}

/// VINV-21: a halt breaks off what is under way.
#[tokio::test]
async fn a_halt_breaks_requests_off() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let url = world.url("/");
    let (gate, hand) = world.gate();
    world.server.next(Script { pieces: vec![Vec::new()], pause: Duration::from_secs(3_600) });
    let plain = [("url", url.as_str())];
    let running = world.fetch_with(&gate, &hand, &plain);
    let mut running = std::pin::pin!(running);
    while world.server.requests().is_empty() {
        tokio::select! { biased; done = &mut running => panic!("{done:?}"), () = tokio::time::sleep(Duration::from_millis(5)) => {} }
    }
    world.store.set_halt(&countersign_core::cleanse::clean_line("stop", 10), "human:ana").await.unwrap();
    let (_, performed) = running.await;
    assert!(format!("{performed:?}").contains("OutcomeUnknown"), "{performed:?}");
    assert!(format!("{:?}", world.fetch(&[("url", &url)]).await.0.decision).contains("Halted"));
}

/// A revoked key is not hammered.
#[tokio::test]
async fn refusals_in_a_row_stop_the_tries() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let url = world.url("/");
    let (gate, hand) = world.gate();
    for _ in 0..5 {
        world.server.next(Script::answer("401 No", &[], b""));
        let _ = world.fetch_with(&gate, &hand, &[("url", &url)]).await;
    }
    let (_, performed) = world.fetch_with(&gate, &hand, &[("url", &url)]).await;
    assert!(format!("{performed:?}").contains("auth_failed"), "{performed:?}");
    assert_eq!(world.server.connections(), 5);
}

/// What judging, recording, opening and scrubbing cost beside the request itself: `cargo test --release -p
/// countersign-outbound --test fetch overhead -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn overhead() {
    let mut world = World::new().await;
    let at = world.authority();
    world.grant(&at);
    let url = world.url("/");
    let (gate, hand) = world.gate();
    let parsed = url::Url::parse(&url).unwrap();
    let authority = countersign_core::vault::binding::Authority::of(&parsed).unwrap();
    let nets = ["127.0.0.1/32".parse().unwrap()];
    let value = secret("Bearer x");
    for size in [1_000usize, 100_000, 1_000_000] {
        let body: Vec<u8> = b"some words of an answer, ".iter().copied().cycle().take(size).collect();
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..30 {
            world.server.next(Script::answer("200 OK", &[], &body));
            let http = Http::new(Arc::clone(&world.resolver), Some(world.server.ca_pem.as_bytes())).unwrap();
            let from = std::time::Instant::now();
            let request = countersign_outbound::http::Request {
                url: &parsed,
                authority: &authority,
                method: countersign_core::vault::binding::Method::Get,
                secret: Some(("authorization", &value)),
                headers: &[],
                body: None,
                allow_private: &nets,
                max_bytes: 2_000_000,
                plain: countersign_outbound::http::Plain::Never,
            };
            http.send(&request).await.unwrap();
            took[0].push(from.elapsed());
            world.server.next(Script::answer("200 OK", &[], &body));
            let from = std::time::Instant::now();
            let (_, performed) = world.fetch_with(&gate, &hand, &[("url", &url)]).await;
            took[1].push(from.elapsed());
            assert!(performed.unwrap().result.is_ok());
        }
        let [direct, whole] = took.map(|mut t| {
            t.sort();
            t[t.len() / 2]
        });
        println!(
            "{size} bytes: {direct:?} by itself, {whole:?} through the gate, {:.2} times",
            whole.as_secs_f64() / direct.as_secs_f64()
        );
    }
}

/// INV-84: a token lies in the vault as a whole, sealed, and comes out as a whole; no call of an agent's sends it anywhere,
/// whatever somebody bound it to.
#[tokio::test]
async fn a_stored_token_is_sealed_and_no_header() {
    use countersign_core::oauth::{Provider, Token};
    use countersign_core::time::Timestamp;
    use countersign_gate::seams::{Authority, SecretSource as _};
    let mut world = World::new().await;
    let text = |t: &str| Secret::new(t.to_owned());
    let token = Token {
        provider: Provider::Linear,
        access_token: text("c4n4ry-access"),
        refresh_token: text("c4n4ry-refresh"),
        expires_at: Timestamp(2_000_000_000_000),
        scope: "read".into(),
        client_id: "c".into(),
        client_secret: text("c4n4ry-client"),
        workspace_id: "ws-1".into(),
        workspace_slug: "acme".into(),
        installed_at: Timestamp(1),
        updated_at: Timestamp(1),
        installed_by: "u".into(),
        webhook_signing_secret: None,
    };
    let (record, value, binding) = token.record().unwrap();
    world.vault.set(&record, &value, Some(&binding), false).await.unwrap();
    let opened = world.vault.open(&record, Authority::Lease("linear")).await.unwrap();
    let back = Token::read(&record, &opened.value).unwrap();
    assert!(back.refresh_token.with(|t| t == "c4n4ry-refresh"));
    // A value that is none is found out when it is read.
    world.vault.set(&record, &secret("{\"access_token\":\"a\"}"), None, true).await.unwrap();
    let broken = world.vault.open(&record, Authority::Lease("linear")).await.unwrap();
    assert!(Token::read(&record, &broken.value).err().unwrap().to_string().contains("refresh_token"));
    world.vault.set(&record, &value, None, true).await.unwrap();
    // Somebody binds it to a host of a test, and grants it: the name alone is enough to refuse it.
    world.vault.bind(&record, &world.binding()).await.unwrap();
    let at = world.authority();
    let scope = Scope::parse(&format!("secret:{}@{at}#read", record.as_str())).unwrap();
    world.settings.allow.push(StandingAllow { scope, principal: None, until: None });
    let url = world.url("/");
    let args = [("url", url.as_str()), ("secret", record.as_str()), ("reason", "a test")];
    let (gate, hand) = world.gate();
    let mut call = world.call_by(agent(None), &[("url", &url)]).parts().clone();
    call.args = Json::object(args.into_iter().map(|(k, v)| (k, Json::str(v))));
    let call = ToolCall::new(call).unwrap();
    let patience = Patience { hold_s: Some(0), ..Patience::default() };
    let (answered, performed) = gate.call(&call, patience, &Silent, &hand).await;
    assert!(format!("{:?}", answered.decision).contains("PlacementRefused"), "{answered:?}");
    assert!(performed.is_none());
    assert_eq!(world.server.connections(), 0);
}
