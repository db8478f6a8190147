//! Words and lists as columns hold them.

use countersign_core::approval::scope::Scope;
use countersign_core::json::{Bounds, Json};

/// Reads a stored scope. What was stored was a `Scope` already, so the bounds of what a person may type do not
/// apply: an exact command may be longer, or short enough to look degenerate.
pub(super) fn scope(text: &str) -> Option<Scope> {
    match text {
        "this_call" => return Some(Scope::ThisCall),
        "all_session" => return Some(Scope::AllSession),
        _ => {}
    }
    let (kind, value) = text.split_once(':')?;
    let value = value.to_owned();
    Some(match kind {
        "tool_type" => Scope::ToolType(value),
        "tool_group" => Scope::ToolGroup(value),
        "bash_pattern" => Scope::BashPattern(value),
        "write_path" => Scope::WritePath(value),
        "rule" => Scope::Rule(value),
        "secret" => Scope::Secret(value),
        "memory" => Scope::Memory(value),
        _ => return None,
    })
}

/// Reads a stored list of strings.
pub(super) fn strings(text: &str) -> Option<Vec<String>> {
    let list = Json::parse(text.as_bytes(), Bounds::default()).ok()?;
    list.as_array()?.iter().map(|s| s.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_come_back_as_they_were() {
        let all = [
            Scope::ThisCall,
            Scope::AllSession,
            Scope::ToolType("mcp__a__b".into()),
            Scope::ToolGroup("file_write".into()),
            Scope::exact_command("ls"),
            Scope::exact_command("a: b*\n?"),
            Scope::exact_path("/x/*"),
            Scope::Rule("r:1".into()),
        ];
        for s in all {
            assert_eq!(scope(&s.to_string()), Some(s));
        }
        assert_eq!(scope("host:x"), None);
    }
}
