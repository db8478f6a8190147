//! Several processes at once: this test binary again.

use super::common::*;
use super::smtp;
use countersign_core::json::Json;
use countersign_core::vault::binding::{Authority, Placement};
use countersign_outbound::mail::Carrier;
use countersign_outbound::mail::smtp::Server;
use countersign_testkit::mail::{MailServer, Resend, Tls};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ROLE: &str = "COUNTERSIGN_MAIL_TEST_ROLE";
const CAP: i64 = 7;
const PROCESSES: u64 = 3;
const MAILS: usize = 6;

/// Not a test by itself: what a worker runs. The role is `<seed> <folder> resend <url>` or, with `smtp` for many mails and
/// `hang` for one that is never answered, `<seed> <folder> smtp <port> <file of the CA>`; the folder has the store.
#[test]
fn entry() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = Path::new(words[1]);
        let spare = tempfile::tempdir().unwrap();
        let mut world = World::at(spare, words[0].parse().unwrap()).await;
        world.store = store(folder).await;
        world.with(|s| s.daily_cap = Some(CAP));
        let keeper: std::sync::Arc<dyn countersign_gate::seams::Keeper> =
            std::sync::Arc::new(world.store.clone());
        world.vault = std::sync::Arc::new(vault_on(keeper, world.clock.clone()));
        let carrier = match words[2] {
            "resend" => Carrier::Resend(words[3].parse().unwrap()),
            _ => Carrier::Smtp(Server {
                at: Authority::parse(&format!("{}:{}", smtp::HOST, words[3])).unwrap(),
                implicit: false,
                user: "cody".into(),
                extra: Some(std::fs::read(words[4]).unwrap()),
            }),
        };
        let by = world.gate(carrier, world.vault_key());
        // All at once where each is another one, so that many stand at the last free place.
        let one = async |n: usize| {
            // Over Resend each mail is another one; over the mail server all processes send the same ones.
            let subject = match words[2] {
                "resend" => format!("{} of {}", n, words[0]),
                _ => format!("mail {n}"),
            };
            let _ = world.send(&by, &[("subject", Json::str(subject))]).await;
        };
        match words[2] {
            "resend" => {
                tokio::join!(one(0), one(1), one(2), one(3), one(4), one(5));
            }
            "hang" => {
                let _ = world.send(&by, &smtp::to("hang@x.org")).await;
            }
            _ => {
                for n in 0..MAILS {
                    one(n).await;
                }
            }
        }
    });
}

fn worker(role: String) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["processes::entry", "--exact", "--test-threads=1"])
        .env(ROLE, role)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn run(roles: impl Iterator<Item = String>) {
    let children: Vec<_> = roles.map(worker).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

/// EINV-6: processes at once never send more than the cap.
#[tokio::test]
async fn processes_at_once_keep_to_the_cap() {
    let world = World::new().await;
    let server = Resend::start(KEY);
    world.bind(&format!("127.0.0.1:{}", server.port), Placement::Bearer).await;
    let folder = world.dir.path().display().to_string();
    run((1..=PROCESSES).map(|seed| format!("{seed} {folder} resend {}", server.url())));
    assert_eq!(server.accepted().len(), usize::try_from(CAP).unwrap());
}

/// A mail server to which the key of a world is bound, with its certificate where workers find it.
async fn mail_server(world: &World) -> MailServer {
    let server = MailServer::start(smtp::HOST, Tls::StartTls, "cody", KEY);
    world.bind(&format!("{}:{}", smtp::HOST, server.port), Placement::Basic).await;
    std::fs::write(world.dir.path().join("ca.pem"), &server.ca_pem).unwrap();
    server
}

/// The role of a worker that sends by it.
fn by_smtp(world: &World, server: &MailServer, seed: u64, what: &str) -> String {
    let folder = world.dir.path().display();
    format!("{seed} {folder} {what} {} {folder}/ca.pem", server.port)
}

/// P-21: the same mail from several processes at once is one mail.
#[tokio::test]
async fn processes_at_once_send_a_mail_once() {
    let world = World::new().await;
    let server = mail_server(&world).await;
    run((1..=PROCESSES).map(|seed| by_smtp(&world, &server, seed, "smtp")));
    let received = server.received();
    let mut subjects: Vec<&str> = received
        .iter()
        .filter_map(|mail| mail.data.lines().find(|line| line.starts_with("Subject:")))
        .collect();
    let all = subjects.len();
    subjects.sort_unstable();
    subjects.dedup();
    assert!(all == subjects.len() && all > 0, "{all} mails, {subjects:?}");
}

/// P-21: who is killed while a mail that went out waits for its answer has sent it once; whoever tries it anew is told.
#[tokio::test]
async fn a_killed_sender_sends_no_second_mail() {
    let world = World::new().await;
    let server = mail_server(&world).await;
    let mut sender = worker(by_smtp(&world, &server, 1, "hang"));
    while server.received().is_empty() {
        assert!(sender.try_wait().unwrap().is_none(), "it ended before its mail was there");
        std::thread::yield_now();
    }
    sender.kill().unwrap();
    sender.wait().unwrap();
    for _ in 0..2 {
        let by = world.gate(smtp::carrier(&server, Tls::StartTls), world.vault_key());
        let said = world.said(&by, &smtp::to("hang@x.org")).await;
        assert!(said.text("error").unwrap().contains("may have gone out already"), "{}", said.canonical());
    }
    assert_eq!(server.received().len(), 1);
    assert_eq!(
        world.kind(&world.gate(smtp::carrier(&server, Tls::StartTls), world.vault_key()), &[]).await,
        "ok"
    );
}
