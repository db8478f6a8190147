//! The table of tools: which class a name belongs to, which Cedar action its call maps to, which tier it has, and
//! which members of its arguments only talk.
//!
//! Policy speaks the clients' native spelling (`Bash`, `Write`), `mcp__<server>__<tool>` for servers, and the plain
//! name for tools of the gate. Every host name is mapped here and nowhere else (DECISIONS row 13). An unknown name is
//! class `other`: at least tier write, every string scanned for paths (row 14).

use crate::principal::Client;
use crate::{fetch, mail, notes};
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
    /// The gate's request with a secret.
    Fetch,
    /// The gate's mail.
    Mail,
    /// The gate's reading of a person's notes.
    Memory,
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
            ToolClass::Fetch => "fetch",
            ToolClass::Mail => "mail",
            ToolClass::Memory => "memory",
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

/// Tools of the gate that no sub-agent sees or calls (vault.md 13).
pub const MAIN_ONLY: [&str; 3] = [fetch::TOOL, mail::TOOL, notes::TOOL];

/// What a tool's arguments mean, as far as rules ask.
#[derive(Clone, Copy)]
struct Known {
    class: ToolClass,
    /// Holds the shell line.
    command: Option<&'static str>,
    /// Holds the path that is written.
    writes: Option<&'static str>,
    /// Names the folder that the tool works in; relative paths of the other members start there.
    folder: &'static [&'static str],
    /// Hold patterns of files.
    patterns: &'static [&'static str],
    /// Name files that are left out, or talk.
    quiet: &'static [&'static str],
}

const fn just(class: ToolClass) -> Known {
    Known { class, command: None, writes: None, folder: &[], patterns: &[], quiet: &[] }
}

/// The table. Claude Code names its tools in words of their own; the lower-case names are those of Gemini CLI 0.61.0
/// (`search_file_content`, `save_memory`, `directory` and `path` of versions before it) and of Codex 0.169.0, whose
/// hook calls its shell `Bash`.
fn known(tool: &str) -> Known {
    use ToolClass::{
        Fetch, FileRead, FileSearch, FileWrite, Mail, Mcp, Memory, Notes, Other, Question, Shell, Subagent,
        Web,
    };
    match tool {
        "Bash" | "PowerShell" => Known { command: Some("command"), ..just(Shell) },
        "run_shell_command" => {
            Known { command: Some("command"), folder: &["dir_path", "directory"], ..just(Shell) }
        }
        "Read" | "NotebookRead" | "LS" | "read_file" | "view_image" => just(FileRead),
        "list_directory" => Known { folder: &["dir_path"], quiet: &["ignore"], ..just(FileRead) },
        "read_many_files" => Known { patterns: &["include"], quiet: &["exclude"], ..just(FileRead) },
        "Write" | "Edit" | "MultiEdit" | "write_file" | "replace" => {
            Known { writes: Some("file_path"), ..just(FileWrite) }
        }
        "NotebookEdit" => Known { writes: Some("notebook_path"), ..just(FileWrite) },
        // Their files stand in the text of a patch, or nowhere.
        PATCH | "save_memory" => just(FileWrite),
        "Glob" | "Grep" => Known { patterns: &["glob", "pattern"], ..just(FileSearch) },
        "glob" => Known { folder: &["dir_path"], patterns: &["pattern"], ..just(FileSearch) },
        "grep_search" | "search_file_content" => Known {
            folder: &["dir_path"],
            patterns: &["include_pattern", "include", "pattern"],
            quiet: &["exclude_pattern"],
            ..just(FileSearch)
        },
        "WebFetch" | "WebSearch" | "web_fetch" | "google_web_search" => just(Web),
        "Agent" | "Task" | "invoke_agent" => just(Subagent),
        "AskUserQuestion" | "ask_user" => just(Question),
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
        | "ListMcpResourcesTool"
        | "write_todos"
        | "update_topic"
        | "complete_task"
        | "enter_plan_mode"
        | "exit_plan_mode"
        | "activate_skill"
        | "get_internal_docs"
        | "tracker_create_task"
        | "tracker_update_task"
        | "tracker_get_task"
        | "tracker_list_tasks"
        | "tracker_add_dependency"
        | "tracker_visualize"
        | "list_mcp_resources" => just(Notes),
        name if OWN.contains(&name) => just(Notes),
        fetch::TOOL => just(Fetch),
        mail::TOOL => just(Mail),
        notes::TOOL => just(Memory),
        name if name.starts_with("mcp__") => just(Mcp),
        _ => just(Other),
    }
}

/// Codex's tool whose files stand in the text of a patch (`facts::patch`).
pub const PATCH: &str = "apply_patch";

/// Class of a tool by its name in policy spelling.
pub fn class(tool: &str) -> ToolClass {
    known(tool).class
}

/// Members of a tool's arguments that only talk: shown and recorded, not digested.
pub fn talking_members(client: Client, tool: &str) -> &'static [&'static str] {
    match (client, tool) {
        (Client::ClaudeCode, "Bash" | "Agent" | "Task") => &["description"],
        // Codex adds the model's plea to the call when it asks whether the sandbox may be left.
        (Client::Codex, "Bash" | PATCH) => &["description"],
        (Client::Gemini, "run_shell_command") => &["description"],
        _ => &[],
    }
}

/// The member that holds the command of a shell tool.
pub fn command_member(tool: &str) -> Option<&'static str> {
    known(tool).command
}

/// The member that holds the path of a file-writing tool.
pub fn write_path_member(tool: &str) -> Option<&'static str> {
    known(tool).writes
}

/// A file that a tool writes without naming it.
pub fn unnamed_write(tool: &str) -> Option<&'static str> {
    (tool == "save_memory").then_some("~/.gemini/GEMINI.md")
}

/// The members that name the folder a tool works in.
pub fn folder_members(tool: &str) -> &'static [&'static str] {
    known(tool).folder
}

/// Whether a member holds a pattern of files.
pub fn is_pattern_member(tool: &str, member: &str) -> bool {
    known(tool).patterns.contains(&member)
}

/// Whether a tool brings back what stands in the files that a member names. A listing tells their names alone, and what
/// is searched for is no file.
pub fn shows_content(tool: &str, member: &str) -> bool {
    match class(tool) {
        ToolClass::FileRead => !matches!(tool, "LS" | "list_directory"),
        ToolClass::FileSearch => !matches!(tool, "Glob" | "glob") && member != "pattern",
        ToolClass::Web | ToolClass::Mcp | ToolClass::Other => true,
        _ => false,
    }
}

/// Members that name nothing the tool touches.
pub fn quiet_members(tool: &str) -> &'static [&'static str] {
    known(tool).quiet
}

/// The name in policy of a tool of a server: `mcp__<server>__<tool>`. None where that name would not say which server
/// and tool are meant, so that a rule or a grant for one could be met by another.
pub fn served(server: &str, tool: &str) -> Option<String> {
    let plain =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_control() || c.is_whitespace());
    let clear = plain(server) && plain(tool) && !server.contains("__") && !server.ends_with('_');
    (clear && !tool.starts_with('_')).then(|| format!("mcp__{server}__{tool}"))
}

/// The server's own name of a tool that policy calls `mcp__<server>__<tool>`.
pub fn bare(tool: &str, server: &str) -> String {
    let bare =
        tool.strip_prefix("mcp__").and_then(|t| t.strip_prefix(server)).and_then(|t| t.strip_prefix("__"));
    bare.unwrap_or(tool).to_owned()
}

/// Tier of a tool by its name alone: what annotations and settings can raise.
pub fn tier(tool: &str) -> Tier {
    match class(tool) {
        ToolClass::FileRead
        | ToolClass::FileSearch
        | ToolClass::Web
        | ToolClass::Question
        | ToolClass::Memory
        | ToolClass::Notes => Tier::Read,
        // Destructive commands are the rules' business (DECISIONS section 5).
        ToolClass::Shell
        | ToolClass::FileWrite
        | ToolClass::Subagent
        | ToolClass::Fetch
        | ToolClass::Mail => Tier::Write,
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

    /// DECISIONS row 13: one rule holds for the tools of all clients, whatever they call them.
    #[test]
    fn tools_of_all_clients_are_one_kind() {
        for (tool, kind, command, writes) in [
            ("Bash", ToolClass::Shell, Some("command"), None),
            ("run_shell_command", ToolClass::Shell, Some("command"), None),
            ("Write", ToolClass::FileWrite, None, Some("file_path")),
            ("write_file", ToolClass::FileWrite, None, Some("file_path")),
            ("replace", ToolClass::FileWrite, None, Some("file_path")),
            ("NotebookEdit", ToolClass::FileWrite, None, Some("notebook_path")),
            ("apply_patch", ToolClass::FileWrite, None, None),
            ("save_memory", ToolClass::FileWrite, None, None),
            ("read_many_files", ToolClass::FileRead, None, None),
            ("grep_search", ToolClass::FileSearch, None, None),
            ("web_fetch", ToolClass::Web, None, None),
            ("invoke_agent", ToolClass::Subagent, None, None),
            ("ask_user", ToolClass::Question, None, None),
            ("write_todos", ToolClass::Notes, None, None),
            ("mcp_github_create_issue", ToolClass::Other, None, None),
            ("discovered_tool_x", ToolClass::Other, None, None),
        ] {
            assert_eq!(
                (class(tool), command_member(tool), write_path_member(tool)),
                (kind, command, writes),
                "{tool}"
            );
        }
        assert_eq!(talking_members(Client::Gemini, "run_shell_command"), ["description"]);
        assert!(talking_members(Client::Gemini, "Bash").is_empty());
    }

    #[test]
    fn a_served_name_means_one_tool() {
        assert_eq!(served("git-hub", "create_issue").as_deref(), Some("mcp__git-hub__create_issue"));
        assert_eq!(served("a", "b__c").as_deref(), Some("mcp__a__b__c"));
        for (server, tool) in
            [("", "b"), ("a", ""), ("a__b", "c"), ("a_", "b"), ("a", "_b"), ("a b", "c"), ("a", "b\n")]
        {
            assert_eq!(served(server, tool), None, "{server} {tool}");
        }
    }

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
