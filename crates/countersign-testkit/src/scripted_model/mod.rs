//! A model on loopback that plays a script, so that a real agent client can be driven without a real model.
//!
//! It speaks as much of the Messages API as Claude Code needs: streamed and whole answers, token counts, and polite
//! answers to whatever else the client asks at its start. Which turn comes next is read from the conversation that
//! the client sends (the number of answers already in it), so one model serves an agent, its sub-agents and a client
//! that asks twice. It judges nothing: what the agent sent is kept for the test to look at.
//!
//! ```no_run
//! use countersign_testkit::scripted_model::{Script, ScriptedModel, Turn};
//! use serde_json::json;
//!
//! let model = ScriptedModel::start(Script::new([
//!     Turn::tool("Bash", json!({ "command": "echo hi", "description": "greet" })),
//!     Turn::text("greeted"),
//! ]));
//! // … run a client against `model.url()` …
//! assert_eq!(model.tool_results()[0].text, "hi");
//! ```

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// No request of an agent comes near this; it bounds what a confused client can make us read.
const BODY_MAX_BYTES: usize = 64 * 1024 * 1024;

type Barrier = Box<dyn FnMut(&Request) + Send>;

/// One answer of the model.
pub struct Turn {
    text: Option<String>,
    tools: Vec<(String, Value)>,
    barrier: Option<Mutex<Barrier>>,
}

impl Turn {
    /// The model uses one tool.
    pub fn tool(name: impl Into<String>, input: Value) -> Self {
        Self { text: None, tools: vec![(name.into(), input)], barrier: None }
    }

    /// The model only speaks, which ends the agent's turn.
    pub fn text(words: impl Into<String>) -> Self {
        Self { text: Some(words.into()), tools: Vec::new(), barrier: None }
    }

    /// One more tool in the same answer; the client may perform them side by side.
    pub fn and_tool(mut self, name: impl Into<String>, input: Value) -> Self {
        self.tools.push((name.into(), input));
        self
    }

    /// Words before the tools.
    pub fn saying(mut self, words: impl Into<String>) -> Self {
        self.text = Some(words.into());
        self
    }

    /// Something that the test does before this answer is given, while the agent waits for it. It sees the request
    /// and may take its time. It runs once per asking, so twice if the client asks twice.
    pub fn before(mut self, barrier: impl FnMut(&Request) + Send + 'static) -> Self {
        self.barrier = Some(Mutex::new(Box::new(barrier)));
        self
    }
}

/// The turns of every conversation that the model will have.
pub struct Script {
    conversations: Vec<(String, Vec<Turn>)>,
    main: Vec<Turn>,
}

impl Script {
    /// What the model plays to any conversation that has no turns of its own. After the last turn it says "done".
    pub fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { conversations: Vec::new(), main: turns.into_iter().collect() }
    }

    /// Turns for those conversations whose opening message contains `key`: a sub-agent's, with a key from the prompt
    /// that the main conversation gives it. The first key that fits wins.
    pub fn conversation(mut self, key: impl Into<String>, turns: impl IntoIterator<Item = Turn>) -> Self {
        self.conversations.push((key.into(), turns.into_iter().collect()));
        self
    }

    fn turns(&self, opening: &str) -> &[Turn] {
        let own = self.conversations.iter().find(|(key, _)| opening.contains(key.as_str()));
        own.map_or(&self.main, |(_, turns)| turns)
    }
}

/// One thing that the agent asked of the model.
#[derive(Debug, Clone)]
pub struct Request {
    /// The address's path, query included.
    pub path: String,
    /// Everything that the agent sent.
    pub body: Value,
}

impl Request {
    /// The names of the tools that the agent offered.
    pub fn tools(&self) -> Vec<&str> {
        array(&self.body, "tools").iter().filter_map(|tool| tool.get("name")?.as_str()).collect()
    }

    /// The newest message of the conversation.
    pub fn newest(&self) -> Option<&Value> {
        array(&self.body, "messages").last()
    }

    /// The tool results in the newest messages: all that stand after the model's last answer.
    pub fn tool_results(&self) -> Vec<ToolResult> {
        let newest = array(&self.body, "messages").iter().rev().take_while(|message| !is_answer(message));
        let mut results: Vec<ToolResult> = Vec::new();
        for message in newest {
            let here = array(message, "content").iter().filter(|block| block["type"] == "tool_result");
            results.splice(0..0, here.map(ToolResult::read));
        }
        results
    }

    /// The opening message's words.
    fn opening(&self) -> String {
        let opening = array(&self.body, "messages").iter().find(|message| message["role"] == "user");
        opening.map(|message| words(&message["content"])).unwrap_or_default()
    }

    /// How many answers of the model the conversation already has.
    fn answered(&self) -> usize {
        array(&self.body, "messages").iter().filter(|message| is_answer(message)).count()
    }
}

/// What came back to the model for one use of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The id that the model gave the use.
    pub tool_use_id: String,
    /// Its text; blocks of other kinds are left out.
    pub text: String,
    /// Whether the client called it an error (a refusal is one).
    pub is_error: bool,
}

impl ToolResult {
    fn read(block: &Value) -> Self {
        Self {
            tool_use_id: block["tool_use_id"].as_str().unwrap_or_default().to_owned(),
            text: words(&block["content"]),
            is_error: block["is_error"] == true,
        }
    }
}

/// A running model. It stops when it is dropped, and then fails the test if a barrier has failed.
pub struct ScriptedModel {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl ScriptedModel {
    /// Starts to listen on a free port of loopback.
    pub fn start(script: Script) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binding the scripted model to loopback");
        let address = listener.local_addr().expect("asking for the scripted model's port");
        let shared = Arc::new(Shared {
            script,
            // Ids differ from run to run as a real model's do: a store may see two runs.
            run: RandomState::new().build_hasher().finish(),
            next_id: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            requests: Mutex::default(),
            failure: Mutex::default(),
            connections: Mutex::default(),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// What the client takes as its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request for an answer so far, side requests (titles and the like, without tools) included.
    pub fn requests(&self) -> Vec<Request> {
        self.check();
        lock(&self.shared.requests).clone()
    }

    /// Every tool result that the model has read so far, each once, in the order of arrival.
    pub fn tool_results(&self) -> Vec<ToolResult> {
        let mut results: Vec<ToolResult> = Vec::new();
        for result in self.requests().iter().flat_map(Request::tool_results) {
            if !results.iter().any(|known| known.tool_use_id == result.tool_use_id) {
                results.push(result);
            }
        }
        results
    }

    fn check(&self) {
        if let Some(failure) = lock(&self.shared.failure).clone() {
            panic!("a barrier of the scripted model failed: {failure}");
        }
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // One last connection wakes the accepting thread, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
        for connection in lock(&self.shared.connections).drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
        if !std::thread::panicking() {
            self.check();
        }
    }
}

struct Shared {
    script: Script,
    run: u64,
    next_id: AtomicU64,
    stopped: AtomicBool,
    requests: Mutex<Vec<Request>>,
    failure: Mutex<Option<String>>,
    connections: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn id(&self, kind: &str) -> String {
        format!("{kind}_{:016x}{:08x}", self.run, self.next_id.fetch_add(1, Ordering::SeqCst))
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(connection) = connection else { continue };
        if let Ok(again) = connection.try_clone() {
            lock(&shared.connections).push(again);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A client that goes away in mid-answer is its own business, so what serving ends with is dropped.
            drop(serve(&connection, &shared));
            // Said aloud, because the copy kept for stopping would hold the connection open.
            drop(connection.shutdown(Shutdown::Both));
        });
    }
}

/// Serves one connection until either side closes it.
fn serve(connection: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut words = first.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
        let (method, path) = (method.to_owned(), path.to_owned());
        let mut length = 0_usize;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(usize::MAX);
            }
        }
        if length > BODY_MAX_BYTES {
            return Ok(());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;

        match method.as_str() {
            "POST" if path.contains("count_tokens") => send_json(connection, &json!({ "input_tokens": 1 }))?,
            "POST" if path.contains("/messages") => {
                let request = Request { path, body: serde_json::from_slice(&body).unwrap_or_default() };
                answer(connection, &request, shared)?;
            }
            "HEAD" => (&*connection).write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?,
            _ => send_json(connection, &json!({ "data": [], "models": [] }))?,
        }
    }
}

fn answer(connection: &TcpStream, request: &Request, shared: &Shared) -> std::io::Result<()> {
    lock(&shared.requests).push(request.clone());
    // Side requests (a title for the session, say) offer no tools and are no part of the script.
    let turn = match request.tools().as_slice() {
        [] => None,
        _ => shared.script.turns(&request.opening()).get(request.answered()),
    };
    let mut text = turn.map_or(Some("done"), |turn| turn.text.as_deref());
    let mut tools = turn.map_or(&[][..], |turn| &turn.tools);
    if let Some(barrier) = turn.and_then(|turn| turn.barrier.as_ref()) {
        let mut barrier = lock(barrier);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| barrier(request))) {
            // The agent is let go with a plain word, and the test hears of it from `check`.
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
            lock(&shared.failure).get_or_insert_with(|| said.to_owned());
            (text, tools) = (Some("the test has failed"), &[]);
        }
    }

    let mut blocks: Vec<Value> = text.iter().map(|text| json!({ "type": "text", "text": text })).collect();
    blocks.extend(tools.iter().map(
        |(name, input)| json!({ "type": "tool_use", "id": shared.id("toolu"), "name": name, "input": input }),
    ));
    let stop = if tools.is_empty() { "end_turn" } else { "tool_use" };
    let usage = json!({ "input_tokens": 1, "output_tokens": 1 });
    let mut message = json!({
        "id": shared.id("msg"), "type": "message", "role": "assistant", "model": request.body["model"],
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage,
    });
    if request.body["stream"] != true {
        message["content"] = Value::Array(blocks);
        message["stop_reason"] = json!(stop);
        return send_json(connection, &message);
    }

    let mut events = Vec::new();
    let mut event = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        events.extend_from_slice(format!("event: {kind}\ndata: {data}\n\n").as_bytes());
    };
    event("message_start", json!({ "message": message }));
    for (index, mut block) in blocks.into_iter().enumerate() {
        let delta = if block["type"] == "text" {
            json!({ "type": "text_delta", "text": std::mem::replace(&mut block["text"], json!("")) })
        } else {
            let input = std::mem::replace(&mut block["input"], json!({}));
            json!({ "type": "input_json_delta", "partial_json": input.to_string() })
        };
        event("content_block_start", json!({ "index": index, "content_block": block }));
        event("content_block_delta", json!({ "index": index, "delta": delta }));
        event("content_block_stop", json!({ "index": index }));
    }
    event(
        "message_delta",
        json!({ "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": usage }),
    );
    event("message_stop", json!({}));
    // The whole answer is known, so the stream has a length and the connection can be used again.
    send(connection, "text/event-stream", &events)
}

fn send_json(connection: &TcpStream, value: &Value) -> std::io::Result<()> {
    send(connection, "application/json", value.to_string().as_bytes())
}

fn send(mut connection: &TcpStream, kind: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    connection.flush()
}

fn is_answer(message: &Value) -> bool {
    message["role"] == "assistant"
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The words of a message's or a result's content, which is a string or a list of blocks.
fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// A panicking barrier must not hide what was collected before it.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(model: &ScriptedModel, path: &str, body: &Value) -> String {
        let body = body.to_string();
        let mut connection = TcpStream::connect(model.address).unwrap();
        connection.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(body.as_bytes()).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn conversation(opening: &str, answered: usize, stream: bool) -> Value {
        let mut messages = vec![json!({ "role": "user", "content": opening })];
        for index in 0..answered {
            messages.push(
                json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": index.to_string() }] }),
            );
            messages.push(json!({ "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": index.to_string(), "content": [{ "type": "text", "text": "r" }] },
            ] }));
        }
        json!({ "stream": stream, "model": "m", "tools": [{ "name": "Bash" }], "messages": messages })
    }

    #[test]
    fn the_turn_follows_from_the_conversation() {
        let model = ScriptedModel::start(
            Script::new([Turn::tool("Bash", json!({ "command": "a" })), Turn::text("b")])
                .conversation("sub-agent seven", [Turn::text("c")]),
        );
        let said = |opening: &str, answered: usize| -> Value {
            serde_json::from_str(&ask(&model, "/v1/messages", &conversation(opening, answered, false)))
                .unwrap()
        };
        let first = said("go", 0);
        assert_eq!(first["stop_reason"], "tool_use");
        assert_eq!(first["content"][0]["input"], json!({ "command": "a" }));
        assert_eq!(said("go", 1)["content"][0]["text"], "b");
        assert_eq!(said("go", 2)["content"][0]["text"], "done");
        assert_eq!(said("you are sub-agent seven", 0)["content"][0]["text"], "c");
        assert_eq!(said("go", 0)["content"][0]["input"], json!({ "command": "a" }));
        assert_ne!(said("go", 0)["content"][0]["id"], first["content"][0]["id"]);
        let results = model.tool_results();
        assert_eq!(results.iter().map(|r| r.tool_use_id.as_str()).collect::<Vec<_>>(), ["0", "1"]);
        assert_eq!(results[0].text, "r");
    }

    #[test]
    fn a_streamed_answer_carries_the_input_as_a_delta() {
        let model =
            ScriptedModel::start(Script::new([Turn::tool("Bash", json!({ "command": "a" })).saying("so")]));
        let events = ask(&model, "/v1/messages?beta=true", &conversation("go", 0, true));
        let data: Vec<Value> = events
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        let kinds: Vec<&str> = data.iter().filter_map(|event| event["type"].as_str()).collect();
        let block = ["content_block_start", "content_block_delta", "content_block_stop"];
        let expected = [&["message_start"][..], &block, &block, &["message_delta", "message_stop"]].concat();
        assert_eq!(kinds, expected);
        assert_eq!(data[2]["delta"]["text"], "so");
        assert_eq!(data[5]["delta"]["partial_json"], r#"{"command":"a"}"#);
        assert_eq!(data[7]["delta"]["stop_reason"], "tool_use");
    }

    #[test]
    fn side_requests_get_plain_answers() {
        let model = ScriptedModel::start(Script::new([Turn::tool("Bash", json!({}))]));
        assert_eq!(ask(&model, "/v1/messages/count_tokens", &json!({})), r#"{"input_tokens":1}"#);
        let title =
            ask(&model, "/v1/messages", &json!({ "messages": [{ "role": "user", "content": "title?" }] }));
        assert!(title.contains("done"), "{title}");
        assert!(ask(&model, "/anything", &json!({})).contains("data"));
    }

    #[test]
    fn a_barrier_acts_before_its_turn_and_its_failure_is_the_tests() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let model = ScriptedModel::start(Script::new([
            Turn::text("a").before({
                let seen = Arc::clone(&seen);
                move |request| lock(&seen).push(request.opening())
            }),
            Turn::text("b").before(|_| panic!("not so")),
        ]));
        ask(&model, "/v1/messages", &conversation("go", 0, false));
        assert_eq!(*lock(&seen), ["go"]);
        assert!(ask(&model, "/v1/messages", &conversation("go", 1, false)).contains("the test has failed"));
        let failure = catch_unwind(AssertUnwindSafe(|| model.requests())).unwrap_err();
        assert!(failure.downcast_ref::<String>().unwrap().contains("not so"));
        let failure = catch_unwind(AssertUnwindSafe(|| drop(model))).unwrap_err();
        assert!(failure.downcast_ref::<String>().unwrap().contains("not so"));
    }
}
