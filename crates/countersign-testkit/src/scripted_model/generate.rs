//! The shape of `generateContent` and `streamGenerateContent`.

use serde_json::{Value, json};

use super::request::{Body, Names, Request, Said, ToolResult, array};

pub(super) const NAMES: Names = Names { conversation: "contents", content: "parts" };

pub(super) fn tools(body: &Value) -> Vec<String> {
    let declared = array(body, "tools").iter().flat_map(|tool| array(tool, "functionDeclarations"));
    declared.filter_map(|tool| Some(tool.get("name")?.as_str()?.to_owned())).collect()
}

pub(super) fn is_answer(content: &Value) -> bool {
    content["role"] == "model"
}

pub(super) fn results(content: &Value) -> Vec<ToolResult> {
    let results = array(content, "parts").iter().filter_map(|part| part.get("functionResponse"));
    let read = |result: &Value| {
        let error = &result["response"]["error"];
        let said = if error.is_null() { &result["response"]["output"] } else { error };
        ToolResult {
            tool_use_id: result["id"].as_str().unwrap_or_default().to_owned(),
            text: said.as_str().map_or_else(|| said.to_string(), str::to_owned),
            is_error: !error.is_null(),
        }
    };
    results.map(read).collect()
}

pub(super) fn write(request: &Request, said: &Said<'_>) -> Body {
    let mut parts: Vec<Value> = said.text.iter().map(|text| json!({ "text": text })).collect();
    parts.extend(said.tools.iter().map(
        |(name, input)| json!({ "functionCall": { "id": (said.id)("call"), "name": name, "args": input } }),
    ));
    let answer = json!({
        "candidates": [{ "content": { "role": "model", "parts": parts }, "finishReason": "STOP", "index": 0 }],
        "usageMetadata": { "promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2 },
    });
    if request.path.contains("alt=sse") {
        Body::Events(format!("data: {answer}\n\n"))
    } else {
        Body::Json(answer)
    }
}
