//! What a client asked of the model, read alike whichever API it came by.

use serde_json::Value;

use super::{generate, messages, responses};

/// One thing that the agent asked of the model.
#[derive(Debug, Clone)]
pub struct Request {
    /// The address's path, query included.
    pub path: String,
    /// Everything that the agent sent.
    pub body: Value,
}

impl Request {
    /// The names of the tools that the agent offered; those of an MCP server as `mcp__<server>__<tool>`.
    pub fn tools(&self) -> Vec<String> {
        self.api().tools(&self.body)
    }

    /// The newest message (or item) of the conversation.
    pub fn newest(&self) -> Option<&Value> {
        self.conversation().last()
    }

    /// The tool results in the newest messages: all that stand after the model's last answer.
    pub fn tool_results(&self) -> Vec<ToolResult> {
        let api = self.api();
        let conversation = self.conversation();
        let newest =
            conversation.iter().rposition(|message| api.is_answer(message)).map_or(0, |last| last + 1);
        conversation.iter().skip(newest).flat_map(|message| api.results(message)).collect()
    }

    /// The words of all that a person said before the first answer.
    pub(super) fn opening(&self) -> String {
        let api = self.api();
        let before = self.conversation().iter().take_while(|message| !api.is_answer(message));
        let said = before.filter(|message| message["role"] == "user");
        said.map(|message| words(&message[api.names().content])).collect::<Vec<_>>().join("\n")
    }

    /// How many answers of the model the conversation already has. One answer may be several messages in a row.
    pub(super) fn answered(&self) -> usize {
        let api = self.api();
        let mut before = false;
        let starts = |message: &Value| {
            let (was, is) = (before, api.is_answer(message));
            before = is;
            is && !was
        };
        self.conversation().iter().map(starts).filter(|starts| *starts).count()
    }

    fn conversation(&self) -> &[Value] {
        array(&self.body, self.api().names().conversation)
    }

    /// Which API the path belongs to. [`is_asking`] lets no others in.
    pub(super) fn api(&self) -> Api {
        if self.path.contains(":generateContent") || self.path.contains(":streamGenerateContent") {
            Api::Generate
        } else if self.path.contains("/responses") {
            Api::Responses
        } else {
            Api::Messages
        }
    }
}

/// Whether a path is one at which a model is asked for an answer.
pub(super) fn is_asking(path: &str) -> bool {
    ["/messages", "/responses", ":generateContent", ":streamGenerateContent"]
        .iter()
        .any(|known| path.contains(known))
}

/// What came back to the model for one use of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The id that the model gave the use.
    pub tool_use_id: String,
    /// Its text; blocks of other kinds are left out.
    pub text: String,
    /// Whether the client called it an error (a refusal is one). The Responses API cannot say so.
    pub is_error: bool,
}

/// What the model says, before an API gives it a form.
pub(super) struct Said<'a> {
    pub(super) text: Option<&'a str>,
    pub(super) tools: &'a [(String, Value)],
    /// A new id that begins with these letters.
    pub(super) id: &'a dyn Fn(&str) -> String,
}

/// An answer's body.
pub(super) enum Body {
    Json(Value),
    /// Server-sent events.
    Events(String),
}

/// Where an API keeps what all have.
pub(super) struct Names {
    /// The member of a request that holds the conversation.
    pub(super) conversation: &'static str,
    /// The member of a message that holds its content.
    pub(super) content: &'static str,
}

/// The APIs that are spoken.
#[derive(Clone, Copy)]
pub(super) enum Api {
    Messages,
    Responses,
    Generate,
}

impl Api {
    fn names(self) -> &'static Names {
        match self {
            Self::Messages => &messages::NAMES,
            Self::Responses => &responses::NAMES,
            Self::Generate => &generate::NAMES,
        }
    }

    fn tools(self, body: &Value) -> Vec<String> {
        match self {
            Self::Messages => messages::tools(body),
            Self::Responses => responses::tools(body),
            Self::Generate => generate::tools(body),
        }
    }

    /// Whether a message is (part of) an answer of the model.
    fn is_answer(self, message: &Value) -> bool {
        match self {
            Self::Messages => messages::is_answer(message),
            Self::Responses => responses::is_answer(message),
            Self::Generate => generate::is_answer(message),
        }
    }

    /// The results of tools that a message holds.
    fn results(self, message: &Value) -> Vec<ToolResult> {
        match self {
            Self::Messages => messages::results(message),
            Self::Responses => responses::results(message),
            Self::Generate => generate::results(message),
        }
    }

    pub(super) fn write(self, request: &Request, said: &Said<'_>) -> Body {
        match self {
            Self::Messages => messages::write(request, said),
            Self::Responses => responses::write(request, said),
            Self::Generate => generate::write(request, said),
        }
    }
}

pub(super) fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The words of a content, which is a string or a list of blocks.
pub(super) fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// One server-sent event, named as its data's type is.
pub(super) fn event(events: &mut String, kind: &str, mut data: Value) {
    data["type"] = kind.into();
    events.push_str(&format!("event: {kind}\ndata: {data}\n\n"));
}
