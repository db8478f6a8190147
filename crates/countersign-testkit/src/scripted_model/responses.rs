//! The shape of the Responses API. Its conversation is a list of items, of which one answer makes several.

use serde_json::{Value, json};

use super::request::{Body, Names, Request, Said, ToolResult, array, event, words};

pub(super) const NAMES: Names = Names { conversation: "input", content: "content" };

/// Tools come alone, or several in a namespace: those of one MCP server, say.
pub(super) fn tools(body: &Value) -> Vec<String> {
    let named = |tool: &Value| Some(tool.get("name").or_else(|| tool.get("type"))?.as_str()?.to_owned());
    let mut names = Vec::new();
    for tool in array(body, "tools") {
        let Some(name) = named(tool) else { continue };
        if tool["type"] == "namespace" {
            names.extend(
                array(tool, "tools").iter().filter_map(named).map(|inner| format!("{name}__{inner}")),
            );
        } else {
            names.push(name);
        }
    }
    names
}

pub(super) fn is_answer(item: &Value) -> bool {
    match item["type"].as_str() {
        Some("message") | None => item["role"] == "assistant",
        Some(kind) => kind == "reasoning" || kind.ends_with("_call"),
    }
}

pub(super) fn results(item: &Value) -> Vec<ToolResult> {
    if !item["type"].as_str().is_some_and(|kind| kind.ends_with("_call_output")) {
        return Vec::new();
    }
    vec![ToolResult {
        tool_use_id: item["call_id"].as_str().unwrap_or_default().to_owned(),
        text: words(&item["output"]),
        is_error: false,
    }]
}

pub(super) fn write(request: &Request, said: &Said<'_>) -> Body {
    let mut items: Vec<Value> = Vec::new();
    if let Some(text) = said.text {
        let content = json!([{ "type": "output_text", "text": text, "annotations": [] }]);
        items.push(
            json!({ "type": "message", "role": "assistant", "id": (said.id)("msg"), "content": content }),
        );
    }
    for (name, input) in said.tools {
        items.push(call(request, name, input, said));
    }
    let usage = json!({
        "input_tokens": 1, "input_tokens_details": null, "output_tokens": 1, "output_tokens_details": null,
        "total_tokens": 2,
    });
    let response = (said.id)("resp");
    let mut events = String::new();
    event(&mut events, "response.created", json!({ "response": { "id": response } }));
    for (index, item) in items.iter().enumerate() {
        event(&mut events, "response.output_item.done", json!({ "output_index": index, "item": item }));
    }
    event(&mut events, "response.completed", json!({ "response": { "id": response, "usage": usage } }));
    Body::Events(events)
}

fn call(request: &Request, name: &str, input: &Value, said: &Said<'_>) -> Value {
    if let Value::String(text) = input {
        return json!({
            "type": "custom_tool_call", "id": (said.id)("ctc"), "call_id": (said.id)("call"), "name": name, "input": text,
        });
    }
    let mut call = json!({
        "type": "function_call", "id": (said.id)("fc"), "call_id": (said.id)("call"), "name": name,
        "arguments": input.to_string(),
    });
    let spaces = array(&request.body, "tools").iter().filter(|tool| tool["type"] == "namespace");
    for space in spaces.filter_map(|space| space["name"].as_str()) {
        if let Some(inner) = name.strip_prefix(space).and_then(|rest| rest.strip_prefix("__")) {
            call["namespace"] = json!(space);
            call["name"] = json!(inner);
        }
    }
    call
}
