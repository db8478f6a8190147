//! A stand-in for Resend's interface: it accepts mail, keeps it from going out twice under one key, and goes wrong in the
//! ways that a provider can. A test runs Resend's own client against it, so that it stays what clients expect.

use crate::cache;
use crate::hostile::read;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWriteExt as _;

/// How the next request goes wrong.
#[derive(Clone, Debug)]
pub enum Wrong {
    /// The mail is accepted and the line closed without an answer.
    LostAnswer,
    /// The line is closed before anything is read as a mail.
    LostRequest,
    /// The mail is accepted, and nothing is ever said.
    Silent,
    /// The mail is accepted, and the answer is this.
    AcceptedBut(u16, String),
    /// Nothing is accepted, and the answer is this, with these headers.
    Answer(u16, String, Vec<(String, String)>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The first line.
    pub line: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// The mail.
    pub body: Value,
}

#[derive(Default)]
struct State {
    posted: Vec<Posted>,
    accepted: Vec<Value>,
    keys: HashMap<String, (Value, String)>,
    wrong: VecDeque<Wrong>,
    key: String,
}

/// The stand-in. It listens on the loopback address, without TLS, until it is dropped.
pub struct Resend {
    /// Its port.
    pub port: u16,
    state: Arc<Mutex<State>>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Drop for Resend {
    fn drop(&mut self) {
        let _ = self.end.take().map(|end| end.send(()));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resend {
    /// Starts one that takes this key, on a thread of its own.
    pub fn start(key: &str) -> Resend {
        let state = Arc::new(Mutex::new(State { key: key.to_owned(), ..State::default() }));
        let (give, take) = std::sync::mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                give.send(listener.local_addr().unwrap().port()).unwrap();
                let serving = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream, Arc::clone(&shared)));
                    }
                };
                tokio::select! {
                    () = serving => {}
                    _ = ended => {}
                }
            });
        });
        Resend { port: take.recv().unwrap(), state, end: Some(end) }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Says how the next request goes wrong.
    pub fn next(&self, wrong: Wrong) {
        locked(&self.state).wrong.push_back(wrong);
    }

    /// Takes another key from now on.
    pub fn rotate(&self, key: &str) {
        key.clone_into(&mut locked(&self.state).key);
    }

    /// Requests so far.
    pub fn posted(&self) -> Vec<Posted> {
        locked(&self.state).posted.clone()
    }

    /// Mails that went out, each once.
    pub fn accepted(&self) -> Vec<Value> {
        locked(&self.state).accepted.clone()
    }
}

fn fault(status: u16, name: &str, message: &str) -> (u16, Value) {
    (status, json!({ "statusCode": status, "name": name, "message": message }))
}

/// What becomes of a mail; accepted ones are kept by their key.
fn post(state: &mut State, posted: &Posted) -> (u16, Value) {
    let header = |name: &str| posted.headers.get(name).map(String::as_str).unwrap_or_default();
    if header("user-agent").is_empty() {
        return (403, json!("error code: 1010"));
    }
    match header("authorization").strip_prefix("Bearer ") {
        None => return fault(401, "missing_api_key", "Missing API key in the authorization header."),
        Some(key) if key != state.key => return fault(401, "invalid_api_key", "API key is invalid."),
        Some(_) => {}
    }
    if posted.line != "POST /emails HTTP/1.1" {
        return fault(404, "not_found", "The requested endpoint does not exist.");
    }
    for field in ["from", "to", "subject"] {
        if posted.body.get(field).is_none_or(Value::is_null) {
            return fault(422, "missing_required_field", &format!("Missing `{field}` field."));
        }
    }
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    for tag in posted.body["tags"].as_array().into_iter().flatten() {
        let fits = |key: &str| tag[key].as_str().is_some_and(|text| plain(text) && text.len() <= 256);
        if !fits("name") || !fits("value") {
            return fault(
                422,
                "validation_error",
                "Tags should only contain ASCII letters, numbers, _ and -.",
            );
        }
    }
    let key = header("idempotency-key");
    if key.len() > 256 {
        return fault(400, "invalid_idempotency_key", "The idempotency key is too long.");
    }
    match state.keys.get(key).filter(|_| !key.is_empty()) {
        Some((body, id)) if *body == posted.body => return (200, json!({ "id": id })),
        Some(_) => {
            let why = "This idempotency key has been used with another request body.";
            return fault(409, "invalid_idempotent_request", why);
        }
        None => {}
    }
    let id = format!("00000000-0000-4000-8000-{:012}", state.accepted.len());
    state.accepted.push(posted.body.clone());
    state.keys.insert(key.to_owned(), (posted.body.clone(), id.clone()));
    (200, json!({ "id": id }))
}

/// Status, body, and headers beside the usual ones.
type Said = (u16, String, Vec<(String, String)>);

/// What is answered: nothing where the line is closed, and the status 0 where nothing is ever said.
fn answer(state: &mut State, posted: &Posted) -> Option<Said> {
    state.posted.push(posted.clone());
    match state.wrong.pop_front() {
        None => {
            let (status, answer) = post(state, posted);
            Some((status, answer.to_string(), Vec::new()))
        }
        Some(Wrong::LostRequest) => None,
        Some(Wrong::LostAnswer) => {
            post(state, posted);
            None
        }
        Some(Wrong::Silent) => {
            post(state, posted);
            Some((0, String::new(), Vec::new()))
        }
        Some(Wrong::AcceptedBut(status, answer)) => {
            post(state, posted);
            Some((status, answer, Vec::new()))
        }
        Some(Wrong::Answer(status, answer, more)) => Some((status, answer, more)),
    }
}

async fn serve(mut stream: tokio::net::TcpStream, state: Arc<Mutex<State>>) {
    let raw = read(&mut stream).await;
    let text = String::from_utf8_lossy(&raw);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let posted = Posted { line, headers, body: serde_json::from_str(body).unwrap_or(Value::Null) };
    let said = answer(&mut locked(&state), &posted);
    let (status, answer, more) = match said {
        Some(said) => said,
        None => return,
    };
    if status == 0 {
        return std::future::pending().await;
    }
    let more: String = more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\nratelimit-limit: 5\r\nratelimit-remaining: 4\r\nratelimit-reset: 1\r\nconnection: close\r\n{more}\r\n",
        answer.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// The program of Node, and the folder that holds Resend's own client for it.
pub fn official_client() -> (PathBuf, PathBuf) {
    let version = include_str!("../../../../xtask/pins/resend").trim_ascii();
    let node = include_str!("../../../../xtask/pins/node").trim_ascii();
    let client = cache::find("resend", version, "node_modules/resend");
    (cache::find("node", node, "node_modules/.bin/node"), client)
}
