//! The shape of the Messages API.

use serde_json::{Value, json};

use super::request::{Body, Names, Request, Said, ToolResult, array, event, words};

pub(super) const NAMES: Names = Names { conversation: "messages", content: "content" };

pub(super) fn tools(body: &Value) -> Vec<String> {
    array(body, "tools").iter().filter_map(|tool| Some(tool.get("name")?.as_str()?.to_owned())).collect()
}

pub(super) fn is_answer(message: &Value) -> bool {
    message["role"] == "assistant"
}

pub(super) fn results(message: &Value) -> Vec<ToolResult> {
    let results = array(message, "content").iter().filter(|block| block["type"] == "tool_result");
    let read = |block: &Value| ToolResult {
        tool_use_id: block["tool_use_id"].as_str().unwrap_or_default().to_owned(),
        text: words(&block["content"]),
        is_error: block["is_error"] == true,
    };
    results.map(read).collect()
}

pub(super) fn write(request: &Request, said: &Said<'_>) -> Body {
    let mut blocks: Vec<Value> =
        said.text.iter().map(|text| json!({ "type": "text", "text": text })).collect();
    blocks.extend(said.tools.iter().map(
        |(name, input)| json!({ "type": "tool_use", "id": (said.id)("toolu"), "name": name, "input": input }),
    ));
    let stop = if said.tools.is_empty() { "end_turn" } else { "tool_use" };
    let usage = json!({ "input_tokens": 1, "output_tokens": 1 });
    let mut message = json!({
        "id": (said.id)("msg"), "type": "message", "role": "assistant", "model": request.body["model"],
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage,
    });
    if request.body["stream"] != true {
        message["content"] = Value::Array(blocks);
        message["stop_reason"] = json!(stop);
        return Body::Json(message);
    }

    let mut events = String::new();
    event(&mut events, "message_start", json!({ "message": message }));
    for (index, mut block) in blocks.into_iter().enumerate() {
        let delta = if block["type"] == "text" {
            json!({ "type": "text_delta", "text": std::mem::replace(&mut block["text"], json!("")) })
        } else {
            let input = std::mem::replace(&mut block["input"], json!({}));
            json!({ "type": "input_json_delta", "partial_json": input.to_string() })
        };
        event(&mut events, "content_block_start", json!({ "index": index, "content_block": block }));
        event(&mut events, "content_block_delta", json!({ "index": index, "delta": delta }));
        event(&mut events, "content_block_stop", json!({ "index": index }));
    }
    let end = json!({ "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": usage });
    event(&mut events, "message_delta", end);
    event(&mut events, "message_stop", json!({}));
    Body::Events(events)
}
