//! An MCP server of our own that counts what reaches it and misbehaves when it is asked to.
//!
//! It is a script in Python without anything beyond the standard library, so that it shares no code with what it
//! tests. [`Hostile::new`] writes it into a folder; [`Hostile::server`] says how it is started, with the options set
//! before; [`Hostile::lines`] is every line that it has received, byte for byte, as soon as it has been received.
//!
//! # What its tools do
//!
//! Each takes any arguments, is called by its own name and answers with one block of text unless said otherwise.
//!
//! | tool | what it does |
//! |---|---|
//! | `echo` | answers with the text of the request's `params`, exactly as it came |
//! | `count` | answers with the number of calls that have reached it, this one included |
//! | `twice` | answers twice: `first`, then `second`, under the same id |
//! | `stranger` | first sends an answer to an id that nobody used, then answers |
//! | `dies` | writes half of its answer, no line's end, and exits with 3 |
//! | `dies_silently` | exits with 3 without a word |
//! | `no_newline` | writes its whole answer but for the line's end, and exits with 0 |
//! | `mute` | never answers |
//! | `change` | from now on the list of tools is another one (see below); with `{"tell": true}` says so |
//! | `huge_number` | `structuredContent` has `1e400` |
//! | `digits` | `structuredContent` has an integer of 23 digits |
//! | `structured` | `structuredContent` has `1.50`, whose last digit a careless reader loses |
//! | `unknown_members` | members and a kind of block that no revision knows, and a `null` |
//! | `surrogate` | text with one half of a surrogate pair (`\ud800`) |
//! | `duplicate_keys` | two members called `content`: `one`, then `two` |
//! | `no_content` | a result without `content` |
//! | `long` | a line of 20 MiB, or of about `{"bytes": n}` |
//! | `garbage` | before its answer lines that are no messages (words, nothing, `[]`, `{`, no UTF-8), after it one more |
//! | `slow` | waits until the file `{"file": path}` appears or `{"seconds": n}` (600) are over; with `{"beat": n}` sends progress every so many seconds meanwhile; others are served |
//! | `progress` | three notifications of progress, if the request has a token for them |
//! | `fails` | a result with `isError` |
//! | `refuses` | a JSON-RPC error with code -32001 and data |
//! | `samples`, `elicits`, `roots` | asks the client `sampling/createMessage`, `elicitation/create` or `roots/list`, and answers with the whole line that the client sent back; others are served |
//!
//! A changed list has another description of its first tool and one more tool, `added_later`, which echoes.
//! Everything but these tools, `initialize` (the client's revision is taken over), `ping` and `tools/list` is answered
//! with "method not found"; a line that is no JSON with "parse error".

use std::fs;
use std::path::{Path, PathBuf};

use super::Server;

const SCRIPT: &str = include_str!("server.py");

/// The server in a folder, with its log.
#[derive(Debug, Clone)]
pub struct Hostile {
    script: PathBuf,
    log: PathBuf,
    options: Vec<String>,
}

impl Hostile {
    /// Writes the server into `folder`. Several in one folder are told apart by `name`, which they also give as theirs.
    pub fn new(folder: &Path, name: &str) -> Self {
        let script = folder.join("hostile.py");
        fs::write(&script, SCRIPT).expect("writing the server");
        let options = vec!["--name".to_owned(), name.to_owned()];
        Self { script, log: folder.join(format!("{name}.received")), options }
    }

    /// The list of tools is another one after so many listings.
    pub fn changing_after(self, listings: u32) -> Self {
        self.with(&["--change-after", &listings.to_string()])
    }

    /// It says so with `notifications/tools/list_changed` when that many listings have been answered.
    pub fn telling(self) -> Self {
        self.with(&["--tell"])
    }

    /// The list of tools comes in pages of this size.
    pub fn paging(self, size: u32) -> Self {
        self.with(&["--page", &size.to_string()])
    }

    /// It answers `initialize` with this revision whatever the client asked for.
    pub fn speaking(self, protocol: &str) -> Self {
        self.with(&["--protocol", protocol])
    }

    /// It exits with 4, unheard, at the first call after so many.
    pub fn dropping_after(self, calls: u32) -> Self {
        self.with(&["--drop-after", &calls.to_string()])
    }

    /// It exits with 5 before it reads anything, with a word on its error output.
    pub fn dying_at_its_start(self) -> Self {
        self.with(&["--start", "dies"])
    }

    /// It reads (and keeps) everything and never says a word.
    pub fn mute(self) -> Self {
        self.with(&["--start", "mute"])
    }

    /// How it is started.
    pub fn server(&self) -> Server {
        let mut args =
            vec![self.script.display().to_string(), "--log".to_owned(), self.log.display().to_string()];
        args.extend(self.options.iter().cloned());
        Server { command: "python3".to_owned(), args }
    }

    /// Every line that has reached it, from all runs, as it came and without its end.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let received = fs::read(&self.log).unwrap_or_default();
        received.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    }

    /// How many calls of a tool have reached it; lines that are no JSON do not count.
    pub fn calls(&self, tool: &str) -> usize {
        let read = |line: &Vec<u8>| serde_json::from_slice::<serde_json::Value>(line).ok();
        let is_call = |message: &serde_json::Value| {
            message["method"] == "tools/call" && message["params"]["name"] == tool
        };
        self.lines().iter().filter_map(read).filter(is_call).count()
    }

    fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }
}
