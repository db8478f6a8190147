//! A real mail server, aiosmtpd: with TLS or none, a name and a password, and a way to go wrong for every step.

use crate::cache;
use crate::hostile::certified;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SCRIPT: &str = include_str!("server.py");

/// How it is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte.
    Implicit,
    /// After it said that it can be.
    StartTls,
    /// Not at all.
    None,
}

/// A mail as the server got it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Who it said it is from.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// The mail.
    pub data: String,
}

/// The server. It listens on the loopback address until it is dropped.
///
/// The first recipient says how a mail goes wrong: `reject@`, `later@`, `busy@` are refused with 550, 451 and
/// 450 4.7.1, `lost@` is accepted and the line closed without an answer, `hang@` is accepted and never answered.
pub struct MailServer {
    /// Its port.
    pub port: u16,
    /// The certificate of its authority.
    pub ca_pem: String,
    child: Child,
    input: Mutex<ChildStdin>,
    marks: Mutex<Receiver<()>>,
    received: Arc<Mutex<Vec<Received>>>,
    logins: Arc<Mutex<usize>>,
    _folder: tempfile::TempDir,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MailServer {
    /// Starts one with a certificate for `host`, which lets this user in.
    pub fn start(host: &str, tls: Tls, user: &str, password: &str) -> MailServer {
        let version = include_str!("../../../../xtask/pins/aiosmtpd").trim_ascii();
        let python = cache::find("aiosmtpd", version, "bin/python");
        let folder = tempfile::tempdir().unwrap();
        let made = certified(&[host]);
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.leaf.pem()).unwrap();
        std::fs::write(&key, made.key.serialize_pem()).unwrap();
        let kind = match tls {
            Tls::Implicit => "implicit",
            Tls::StartTls => "starttls",
            Tls::None => "none",
        };
        let mut child = Command::new(python)
            .args(["-c", SCRIPT, kind, user, password])
            .args([&certificate, &key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().and_then(Result::ok).and_then(|line| line.parse().ok());
        let input = Mutex::new(child.stdin.take().unwrap());
        let (mark, marks) = std::sync::mpsc::channel();
        let received = Arc::new(Mutex::new(Vec::new()));
        let logins = Arc::new(Mutex::new(0));
        let (mails, count) = (Arc::clone(&received), Arc::clone(&logins));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let said: Value = serde_json::from_str(&line).unwrap();
                if said.get("mark").is_some() {
                    let _ = mark.send(());
                    continue;
                }
                if said.get("login").is_some() {
                    *locked(&count) += 1;
                    continue;
                }
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let to = said["to"].as_array().into_iter().flatten().map(text).collect();
                locked(&mails).push(Received { from: text(&said["from"]), to, data: text(&said["data"]) });
            }
        });
        let port = port.expect("the mail server says its port");
        let marks = Mutex::new(marks);
        MailServer { port, ca_pem: made.ca.pem(), child, input, marks, received, logins, _folder: folder }
    }

    /// Waits until everything is heard that the server said before: it says what it got before it answers.
    fn catch_up(&self) {
        writeln!(locked(&self.input), "mark").unwrap();
        locked(&self.marks).recv().expect("the mail server lives");
    }

    /// Mails that it accepted so far.
    pub fn received(&self) -> Vec<Received> {
        self.catch_up();
        locked(&self.received).clone()
    }

    /// How often somebody logged in, or tried to.
    pub fn logins(&self) -> usize {
        self.catch_up();
        *locked(&self.logins)
    }
}
