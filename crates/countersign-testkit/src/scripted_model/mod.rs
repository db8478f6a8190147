//! A model on loopback that plays a script, so that a real agent client can be driven without a real model.
//!
//! It speaks as much of three APIs as their clients need: the Messages API (Claude Code), the Responses API (Codex) and
//! `generateContent` (Gemini), and gives polite answers to whatever else a client asks at its start. The path of a
//! request says which API it is, so a script is the same for each client but for the names and inputs of tools, which
//! are the client's. Which turn comes next is read from the conversation that the client sends (the number of answers
//! already in it), so one model serves an agent, its sub-agents and a client that asks twice. It judges nothing: what
//! the agent sent is kept for the test to look at.
//!
//! Here are scripts and the listening model; `request` reads what a client sent, and `messages`, `responses` and
//! `generate` each know one API's shape.
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

mod generate;
mod messages;
mod request;
mod responses;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use request::{Body, Said};
pub use request::{Request, ToolResult};

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
    /// The model uses one tool, by the name that the client's hooks know it by. For the Responses API the tool of an
    /// MCP server is `mcp__<server>__<tool>` too, and a tool whose input is no JSON (`apply_patch`) gets a string.
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
            "POST" if path.contains(":countTokens") => send_json(connection, &json!({ "totalTokens": 1 }))?,
            "POST" if request::is_asking(&path) => {
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
    let said = Said { text, tools, id: &|kind| shared.id(kind) };
    // The whole answer is known, so a stream has a length as well and the connection can be used again.
    match request.api().write(request, &said) {
        Body::Json(value) => send_json(connection, &value),
        Body::Events(events) => send(connection, "text/event-stream", events.as_bytes()),
    }
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

/// A panicking barrier must not hide what was collected before it.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_of(events: &str) -> Vec<Value> {
        let data = events.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

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
        let data = data_of(&events);
        let kinds: Vec<&str> = data.iter().filter_map(|event| event["type"].as_str()).collect();
        let block = ["content_block_start", "content_block_delta", "content_block_stop"];
        let expected = [&["message_start"][..], &block, &block, &["message_delta", "message_stop"]].concat();
        assert_eq!(kinds, expected);
        assert_eq!(data[2]["delta"]["text"], "so");
        assert_eq!(data[5]["delta"]["partial_json"], r#"{"command":"a"}"#);
        assert_eq!(data[7]["delta"]["stop_reason"], "tool_use");
    }

    /// The items of a conversation over the Responses API: an opening, and one round of two calls.
    #[test]
    fn the_responses_api_plays_the_same_script() {
        let model = ScriptedModel::start(Script::new([
            Turn::tool("exec_command", json!({ "cmd": "a" })).and_tool("mcp__files__read", json!({ "b": 1 })),
            Turn::tool("apply_patch", json!("*** Begin Patch")).saying("so"),
        ]));
        let tools = json!([
            { "type": "function", "name": "exec_command" },
            { "type": "namespace", "name": "mcp__files", "tools": [{ "name": "read" }] },
        ]);
        let ask = |items: Value| {
            data_of(&ask(&model, "/v1/responses", &json!({ "tools": tools, "input": items, "stream": true })))
        };
        let opening =
            json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "go" }] });
        let first = ask(json!([opening]));
        let kinds: Vec<&str> = first.iter().filter_map(|event| event["type"].as_str()).collect();
        let item = "response.output_item.done";
        assert_eq!(kinds, ["response.created", item, item, "response.completed"]);
        assert_eq!(first[1]["item"]["arguments"], r#"{"cmd":"a"}"#);
        assert_eq!(
            (&first[2]["item"]["namespace"], &first[2]["item"]["name"]),
            (&json!("mcp__files"), &json!("read"))
        );
        let call = |event: &Value| event["item"].clone();
        let output = |event: &Value, text: Value| json!({ "type": "function_call_output", "call_id": event["item"]["call_id"], "output": text });
        let blocks = json!([{ "type": "input_text", "text": "two" }]);
        let second = ask(json!([
            opening,
            call(&first[1]),
            call(&first[2]),
            output(&first[1], json!("one")),
            output(&first[2], blocks),
        ]));
        assert_eq!(second[1]["item"]["content"][0]["text"], "so");
        assert_eq!(second[2]["item"]["type"], "custom_tool_call");
        assert_eq!(second[2]["item"]["input"], "*** Begin Patch");
        let texts: Vec<String> = model.tool_results().into_iter().map(|result| result.text).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(model.requests()[0].tools(), ["exec_command", "mcp__files__read"]);
    }

    #[test]
    fn generate_content_plays_the_same_script() {
        let model =
            ScriptedModel::start(Script::new([Turn::tool("shell", json!({ "command": "a" })).saying("so")]));
        let tools = json!([{ "functionDeclarations": [{ "name": "shell" }] }]);
        let opening = json!({ "role": "user", "parts": [{ "text": "go" }] });
        let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
        let first = data_of(&ask(&model, path, &json!({ "tools": tools, "contents": [opening] })));
        let answer = &first[0]["candidates"][0]["content"];
        assert_eq!(answer["parts"][0]["text"], "so");
        assert_eq!(answer["parts"][1]["functionCall"]["args"], json!({ "command": "a" }));
        let result = json!({ "role": "user", "parts": [{ "functionResponse": {
            "id": answer["parts"][1]["functionCall"]["id"], "name": "shell", "response": { "error": "no" },
        } }] });
        let body = json!({ "tools": tools, "contents": [opening, answer, result] });
        let second: Value =
            serde_json::from_str(&ask(&model, "/v1beta/models/m:generateContent", &body)).unwrap();
        assert_eq!(second["candidates"][0]["content"]["parts"][0]["text"], "done");
        assert_eq!(model.tool_results()[0].text, "no");
        assert!(model.tool_results()[0].is_error);
        assert_eq!(ask(&model, "/v1beta/models/m:countTokens", &json!({})), r#"{"totalTokens":1}"#);
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
