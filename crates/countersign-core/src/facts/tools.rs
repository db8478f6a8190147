//! The table of tools: which class a name belongs to, which Cedar action its call maps to, which tier it has, and
//! which members of its arguments only talk.
//!
//! Policy speaks the clients' native spelling (`Bash`, `Write`), `mcp__<server>__<tool>` for servers, and the plain
//! name for tools of the gate. Every host name is mapped here and nowhere else (DECISIONS row 13). An unknown name is
//! class `other`: at least tier write, every string scanned for paths (row 14).

use crate::principal::Client;
use unicode_normalization::UnicodeNormalization;

/// Class of a tool: the fact `tool_class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToolClass {
    /// Runs shell lines.
    Shell,
    /// Reads files.
    FileRead,
    /// Writes files.
    FileWrite,
    /// Searches files.
    FileSearch,
    /// Fetches from the web.
    Web,
    /// Starts a sub-agent.
    Subagent,
    /// Asks the user.
    Question,
    /// Keeps the agent's own notes and lists; touches nothing else.
    Notes,
    /// A tool of an MCP server.
    Mcp,
    /// Unknown.
    Other,
}

impl ToolClass {
    /// The word in the fact `tool_class`.
    pub fn as_str(self) -> &'static str {
        match self {
            ToolClass::Shell => "shell",
            ToolClass::FileRead => "file_read",
            ToolClass::FileWrite => "file_write",
            ToolClass::FileSearch => "file_search",
            ToolClass::Web => "web",
            ToolClass::Subagent => "subagent",
            ToolClass::Question => "question",
            ToolClass::Notes => "notes",
            ToolClass::Mcp => "mcp",
            ToolClass::Other => "other",
        }
    }
}

/// What a tool may do at most: read, write or destroy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Changes nothing.
    Read,
    /// Changes things.
    Write,
    /// Removes things.
    Destructive,
}

impl Tier {
    /// The word in facts, rules and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Read => "read",
            Tier::Write => "write",
            Tier::Destructive => "destructive",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Tier> {
        [Tier::Read, Tier::Write, Tier::Destructive].into_iter().find(|t| t.as_str() == text)
    }
}

/// A client's name of a tool behind our own server, in policy spelling: the prefix that the client puts in front of our
/// server's tools goes, and what then names another server is that server's (DECISIONS section 6).
pub fn policy_name(name: &str) -> String {
    match name.strip_prefix("mcp__countersign__") {
        Some(rest) if rest.contains("__") => format!("mcp__{rest}"),
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => name.to_owned(),
    }
}

/// Tools of the gate that only tell (NAMES 3.4).
pub const OWN: [&str; 4] = ["gate_status", "approval_wait", "approval_list", "explain_denial"];

/// Class of a tool by its name in policy spelling.
pub fn class(tool: &str) -> ToolClass {
    match tool {
        "Bash" | "PowerShell" => ToolClass::Shell,
        "Read" | "NotebookRead" | "LS" => ToolClass::FileRead,
        "Write" | "Edit" | "MultiEdit" | "NotebookEdit" => ToolClass::FileWrite,
        "Glob" | "Grep" => ToolClass::FileSearch,
        "WebFetch" | "WebSearch" => ToolClass::Web,
        "Agent" | "Task" => ToolClass::Subagent,
        "AskUserQuestion" => ToolClass::Question,
        "TodoWrite"
        | "TodoRead"
        | "TaskCreate"
        | "TaskUpdate"
        | "TaskList"
        | "TaskGet"
        | "TaskOutput"
        | "BashOutput"
        | "EnterPlanMode"
        | "ExitPlanMode"
        | "ToolSearch"
        | "ListMcpResourcesTool" => ToolClass::Notes,
        name if OWN.contains(&name) => ToolClass::Notes,
        name if name.starts_with("mcp__") => ToolClass::Mcp,
        _ => ToolClass::Other,
    }
}

/// Members of a tool's arguments that only talk: shown and recorded, not digested.
pub fn talking_members(client: Client, tool: &str) -> &'static [&'static str] {
    match (client, tool) {
        (Client::ClaudeCode, "Bash" | "Agent" | "Task") => &["description"],
        _ => &[],
    }
}

/// The member that holds the command of a shell tool.
pub fn command_member(tool: &str) -> Option<&'static str> {
    (class(tool) == ToolClass::Shell).then_some("command")
}

/// The member that holds the path of a file-writing tool.
pub fn write_path_member(tool: &str) -> Option<&'static str> {
    match tool {
        "NotebookEdit" => Some("notebook_path"),
        _ if class(tool) == ToolClass::FileWrite => Some("file_path"),
        _ => None,
    }
}

/// Tier of a tool by its name alone: what annotations and settings can raise.
pub fn tier(tool: &str) -> Tier {
    match class(tool) {
        ToolClass::FileRead
        | ToolClass::FileSearch
        | ToolClass::Web
        | ToolClass::Question
        | ToolClass::Notes => Tier::Read,
        // Destructive commands are the rules' business (DECISIONS section 5).
        ToolClass::Shell | ToolClass::FileWrite | ToolClass::Subagent => Tier::Write,
        ToolClass::Mcp | ToolClass::Other => tier_by_words(tool),
    }
}

const READ: &[&str] =
    &["get", "list", "search", "query", "read", "fetch", "check", "health", "describe", "show", "count"];
const DESTROY: &[&str] =
    &["delete", "drop", "purge", "remove", "destroy", "ban", "kick", "revoke", "truncate"];

/// Methods of MCP that change nothing.
const READING: &[&str] = &[
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/get",
    "completion/complete",
    "tasks/get",
    "tasks/result",
    "tasks/list",
    "roots/list",
];

/// gateway.md 2.5: the first word of what stands behind the last double underscore, after compatibility folding and
/// splitting camel and kebab case, so that `deleteFile`, `delete-file` and `delete_file` are one. An unknown tool
/// that only looks like reading stays at write: a name is no promise.
fn tier_by_words(tool: &str) -> Tier {
    // Methods of the protocol, which no tool's name can spell.
    if tool.contains('/') {
        let reads = READING.iter().any(|method| tool.ends_with(&format!("__{method}")));
        return if reads { Tier::Read } else { Tier::Write };
    }
    let base: String = tool.rsplit("__").next().unwrap_or(tool).nfkc().collect();
    let first = first_word(&base);
    if DESTROY.contains(&first.as_str()) {
        Tier::Destructive
    } else if READ.contains(&first.as_str()) && class(tool) == ToolClass::Mcp {
        Tier::Read
    } else {
        Tier::Write
    }
}

/// Whether a tool's name says that it moves or renames.
pub fn moves(tool: &str) -> bool {
    let base: String = tool.rsplit("__").next().unwrap_or(tool).nfkc().collect();
    matches!(first_word(&base).as_str(), "move" | "rename")
}

fn first_word(name: &str) -> String {
    let mut word = String::new();
    let mut last_lower = false;
    for c in name.trim_start_matches(['_', '-', '.', ' ']).chars() {
        let ends = matches!(c, '_' | '-' | '.' | ' ' | '/') || (c.is_uppercase() && last_lower);
        if ends && !word.is_empty() {
            break;
        }
        last_lower = c.is_lowercase();
        word.extend(c.to_lowercase());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_behind_our_server() {
        assert_eq!(policy_name("mcp__countersign__fs__read_file"), "mcp__fs__read_file");
        assert_eq!(policy_name("mcp__countersign__gate_status"), "gate_status");
        assert_eq!(policy_name("mcp__fs__read_file"), "mcp__fs__read_file");
        assert_eq!(policy_name("Bash"), "Bash");
    }

    #[test]
    fn tiers() {
        for (tool, want) in [
            ("Read", Tier::Read),
            ("Bash", Tier::Write),
            ("mcp__gh__delete_repo", Tier::Destructive),
            ("mcp__gh__deleteRepo", Tier::Destructive),
            ("mcp__gh__Delete-Repo", Tier::Destructive),
            ("mcp__gh__\u{ff44}elete_repo", Tier::Destructive),
            ("mcp__gh__get_repo", Tier::Read),
            ("mcp__gh__create_issue", Tier::Write),
            ("mcp__gh__getaway", Tier::Write),
            ("mcp__gh__resources/read", Tier::Read),
            ("mcp__gh__list/everything", Tier::Write),
            ("get_everything", Tier::Write),
            ("drop_everything", Tier::Destructive),
        ] {
            assert_eq!(tier(tool), want, "{tool}");
        }
    }
}
