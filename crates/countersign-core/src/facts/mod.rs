//! Facts: what policies may see of a call, taken from its arguments alone.
//!
//! `tools` maps names to classes, actions and tiers, `ground` says what configuration adds to that; `shell` reads command
//! lines, and `lines` finds the paths in them; `patch` the headers of patches; `paths` reads path values. Rules never see
//! agent JSON: they see the typed context that is made of these facts.

pub mod ground;
mod lines;
pub mod patch;
pub mod paths;
pub mod shell;
pub mod tools;

use crate::call::{Role, ToolCall};
use crate::code::Code;
use crate::fetch::Fault;
use crate::json::Json;
use crate::ledger::Resolved;
use crate::secret::SecretRef;
use crate::{fetch, mail, notes, secrets_gateway};
use ground::{BoundAction, Ground};
use paths::{Access, Bases, PathUse};
use shell::ShellFacts;
use std::borrow::Cow;
use std::collections::BTreeSet;
use tools::{Tier, ToolClass};

/// Most forms of one call that rules are tried on.
pub const MAX_FORMS: usize = 64;
/// Most path values of one call that are looked up.
pub const MAX_PATHS: usize = 256;

/// What is known of a call without looking at the world.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Class of the tool.
    pub class: ToolClass,
    /// Tier of the tool: by its name, raised by what its server says, or pinned by an operator.
    pub tier: Tier,
    /// Why an operator's pin lowered the tier, if one did.
    pub tier_because: Option<String>,
    /// What its shell line says; shell tools only.
    pub shell: Option<ShellFacts>,
    /// Forms of the command that rules are tried on.
    pub command_forms: Vec<String>,
    /// Absolute paths the call writes, as far as it tells; rules see each as `file_path` in several spellings.
    pub writes: Vec<String>,
    /// The path argument of a file-writing tool as it was given.
    pub given_write: Option<String>,
    /// Every path the call names.
    pub paths: Vec<PathUse>,
    /// What a tool of the gate that acts is asked for, or why that cannot be.
    pub own: Option<Result<Own, Fault>>,
}

/// What a call of one of the gate's tools that act asks for.
#[derive(Clone, Debug)]
pub enum Own {
    /// A request with a secret.
    Fetch(Box<fetch::Request>),
    /// A mail.
    Mail(Box<mail::Message>),
    /// A look at a person's notes.
    Recall(notes::Ask),
    /// A read of a secret by a node of our own.
    Read(SecretRef),
}

impl Own {
    fn of(tool: &str, args: &Json, ground: &Ground) -> Option<Result<Own, Fault>> {
        match tool {
            fetch::TOOL => Some(fetch::Request::read(args).map(|r| Own::Fetch(Box::new(r)))),
            mail::TOOL => Some(mail::Message::read(args).map(|m| Own::Mail(Box::new(m)))),
            notes::TOOL => Some(notes::Ask::read(args).map(|ask| Own::Recall(ask.among(&ground.sensitive)))),
            secrets_gateway::TOOL => Some(secrets_gateway::read(args).map(Own::Read)),
            _ => None,
        }
    }
}

/// Why a call cannot be judged by its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactError {
    /// The code it is refused with.
    pub code: Code,
    /// What is wrong, in words that name the field.
    pub why: String,
}

fn fail(code: Code, why: impl Into<String>) -> FactError {
    FactError { code, why: why.into() }
}

/// Members of a server's or an unknown tool's arguments that hold a shell line.
const LINE_MEMBERS: &[&str] = &["command", "commands", "cmd", "script", "shell_command", "shell", "line"];
/// The member of Codex's `apply_patch` that holds the patch.
const PATCH_MEMBER: &str = "command";
impl Facts {
    /// Reads a call on the ground of configuration.
    pub fn of(call: &ToolCall, ground: &Ground) -> Result<Facts, FactError> {
        let tool = call.tool();
        let served = call.served();
        let roles = served.map(|s| s.roles.as_slice()).unwrap_or_default();
        let class = tools::class(tool);
        let floor = tools::tier(tool).max(served.and_then(|s| s.tier).unwrap_or(Tier::Read));
        let (tier, tier_because) = ground.tier(tool, floor);
        let home = ground.home.as_deref();
        let mut facts = Facts {
            class,
            tier,
            tier_because: tier_because.map(str::to_owned),
            shell: None,
            command_forms: Vec::new(),
            writes: Vec::new(),
            given_write: None,
            paths: Vec::new(),
            own: Own::of(tool, call.args(), ground),
        };
        // Their texts name no paths and run nothing.
        if facts.own.is_some() {
            return Ok(facts);
        }
        let cwd = call.parts().cwd.as_deref().unwrap_or("/");
        let folder = facts.folder(call, Bases { cwd, home })?;
        let bases = Bases { cwd: folder.as_deref().unwrap_or(cwd), home };
        let runs = ground.bound(tool, class, BoundAction::ExecuteBash);
        if let Some(member) = tools::command_member(tool) {
            let line = short(mapped(call, member)?)?;
            let shell = match tool {
                // Another language with another quoting.
                "PowerShell" => ShellFacts::unreadable(line, "a shell that is not read here"),
                _ => ShellFacts::read(line),
            };
            facts.take_shell(shell, bases);
        } else {
            let writes = ground.bound(tool, class, BoundAction::WriteFile);
            if let Some(member) = tools::write_path_member(tool).or(writes) {
                let path = mapped(call, member)?;
                if writes.is_some() {
                    facts.changed(member, path, bases);
                }
                facts.given_write = Some(path.to_owned());
                facts.writes.push(paths::absolute(path, bases).0);
            }
            if let Some(path) = tools::unnamed_write(tool) {
                facts.changed("", path, bases);
            }
            if tool == tools::PATCH {
                let files = patch::files(mapped(call, PATCH_MEMBER)?)
                    .map_err(|e| unmappable(call, PATCH_MEMBER, &e.to_string()))?;
                for file in files {
                    // Codex knows no home: a folder of that name is meant.
                    let tilde = if file.starts_with('~') { "./" } else { "" };
                    facts.changed(PATCH_MEMBER, &format!("{tilde}{file}"), bases);
                }
            }
            if matches!(facts.class, ToolClass::Mcp | ToolClass::Other) {
                let mut lines = Vec::new();
                lines.extend(runs.map(|member| mapped(call, member)).transpose()?);
                shell_lines(call.args(), None, roles, &mut lines);
                if !lines.is_empty() {
                    facts.take_shell(ShellFacts::read(short(&lines.join("\n"))?), bases);
                }
            }
            facts.walk(&rest(call), None, (tool, roles), bases)?;
        }
        let mut seen = BTreeSet::new();
        facts.paths.retain(|p| {
            seen.insert((
                p.path.clone(),
                p.spelled.clone(),
                p.access == Access::Write,
                p.takes_tree,
                p.pattern,
            ))
        });
        let mut once = BTreeSet::new();
        facts.writes.retain(|w| once.insert(w.clone()));
        if facts.paths.len() > MAX_PATHS || facts.command_forms.len() + facts.write_forms().len() > MAX_FORMS
        {
            let why = format!("the call names more than {MAX_FORMS} commands or {MAX_PATHS} paths");
            return Err(fail(Code::TooManyForms, why));
        }
        Ok(facts)
    }

    /// Simple commands of an understood line, and whether each writes by redirection. A line with a part that is not
    /// known is none: what a person grants would be something else the next time.
    pub fn understood(&self) -> Option<Vec<(String, bool)>> {
        let shell = self.shell.as_ref().filter(|s| s.opaque.is_none() && !s.unknown())?;
        Some(shell.commands.iter().map(|c| (c.text(), !c.writes.is_empty())).collect())
    }

    /// Files of keys and passwords whose content the call brings back: of the paths that it names, those on the list that
    /// shell lines are read by. What a shell line reads is told by its effects.
    pub fn credentials(&self, tool: &str, resolved: &[Resolved]) -> BTreeSet<String> {
        let shown = self.paths.iter().filter(|p| {
            let line = LINE_MEMBERS.contains(&p.place.to_ascii_lowercase().as_str());
            !line && tools::shows_content(tool, &p.place)
        });
        let forms = shown.flat_map(|p| {
            let named = [&p.path, &p.spelled];
            let real = |asked: &&String| resolved.iter().find(|r| r.asked == **asked)?.real.as_ref();
            named.into_iter().chain(named.into_iter().filter_map(move |n| real(&n)))
        });
        forms.filter(|path| shell::secret(path)).cloned().collect()
    }

    /// Spellings of the written paths that rules are tried on: as given, and absolute.
    pub fn write_forms(&self) -> Vec<String> {
        let mut forms: Vec<String> =
            self.given_write.iter().cloned().chain(self.writes.iter().cloned()).collect();
        let mut seen = BTreeSet::new();
        forms.retain(|f| seen.insert(f.clone()));
        forms
    }

    /// The folder the tool works in, when its arguments name one. It counts as read.
    fn folder(&mut self, call: &ToolCall, bases: Bases<'_>) -> Result<Option<String>, FactError> {
        let mut found: Option<String> = None;
        for member in tools::folder_members(call.tool()) {
            let text = match call.args().get(member) {
                None | Some(Json::Null) => continue,
                Some(Json::String(text)) if text.is_empty() => continue,
                Some(Json::String(text)) => text,
                Some(_) => return Err(unmappable(call, member, "is not a string")),
            };
            let (path, spelled) = paths::absolute(text, bases);
            if found.as_ref().is_some_and(|other| *other != spelled) {
                return Err(unmappable(call, member, "names another folder than the member before it"));
            }
            found = Some(spelled.clone());
            self.paths.push(PathUse {
                place: (*member).to_owned(),
                path,
                spelled,
                pattern: false,
                access: Access::Read,
                takes_tree: false,
            });
        }
        Ok(found)
    }

    /// A file that a file tool changes.
    fn changed(&mut self, place: &str, path: &str, bases: Bases<'_>) {
        let (path, spelled) = paths::absolute(path, bases);
        self.writes.push(path.clone());
        self.paths.push(PathUse {
            place: place.to_owned(),
            path,
            spelled,
            pattern: false,
            access: Access::Write,
            takes_tree: false,
        });
    }

    fn take_shell(&mut self, mut shell: ShellFacts, bases: Bases<'_>) {
        let mut effects = BTreeSet::new();
        if let Err(why) = self.read_shell(&shell, bases, &mut effects) {
            shell.opaque = shell.opaque.or(Some(why));
        }
        shell.effects.extend(effects);
        if shell.opaque.is_some() {
            for piece in shell.pieces() {
                let how =
                    lines::Use { access: Access::Write, takes: false, live: piece.contains(['*', '?', '[']) };
                self.name(&[bases.cwd.to_owned()], bases, piece, how);
            }
        }
        self.command_forms = shell.forms();
        self.shell = Some(shell);
    }

    fn walk(
        &mut self,
        value: &Json,
        key: Option<&str>,
        of: (&str, &[(String, Role)]),
        bases: Bases<'_>,
    ) -> Result<(), FactError> {
        let (tool, roles) = of;
        match value {
            Json::Object(members) => members.iter().try_for_each(|(k, v)| {
                if self.class == ToolClass::Other && paths::looks_like_path(k) {
                    self.path_value(k, k, tool, bases)?;
                }
                self.walk(v, Some(k), of, bases)
            }),
            Json::Array(items) => items.iter().try_for_each(|v| self.walk(v, key, of, bases)),
            Json::String(text) => {
                let key = key.unwrap_or_default();
                let role = roles.iter().find(|(name, _)| name == key).map(|(_, role)| *role);
                if role == Some(Role::Path) {
                    self.given(text, bases);
                }
                let scanned = match self.class {
                    _ if role == Some(Role::Path) => true,
                    _ if role == Some(Role::Content) => false,
                    // The agent's own questions, notes and prompts are not opened by anyone.
                    ToolClass::Subagent | ToolClass::Question | ToolClass::Notes => false,
                    ToolClass::Other => true,
                    _ => {
                        paths::is_path_key(key)
                            || tools::is_pattern_member(tool, key)
                            || (!paths::is_content_key(key) && paths::looks_like_path(text))
                    }
                };
                if scanned { self.path_value(key, text, tool, bases) } else { Ok(()) }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
        }
    }

    /// A path that the call may write, as it was given and absolute.
    fn given(&mut self, text: &str, bases: Bases<'_>) {
        if self.tier == Tier::Read {
            return;
        }
        self.given_write.get_or_insert_with(|| text.to_owned());
        let plain = paths::decoded(text).unwrap_or_else(|_| text.to_owned());
        for one in [Some(text), Some(plain.as_str()), paths::address(text)].into_iter().flatten() {
            self.writes.push(paths::absolute(one, bases).0);
        }
    }

    fn path_value(&mut self, key: &str, text: &str, tool: &str, bases: Bases<'_>) -> Result<(), FactError> {
        let served = matches!(self.class, ToolClass::Mcp | ToolClass::Other);
        let access = match self.class {
            ToolClass::FileRead | ToolClass::FileSearch | ToolClass::Web => Access::Read,
            _ if self.tier == Tier::Read => Access::Read,
            _ => Access::Write,
        };
        if self.class == ToolClass::Web && paths::address(text).is_none() {
            return Ok(());
        }
        let mut spellings = vec![text.to_owned()];
        // A client's own file tools open what is written; a server may decode, or take an address down to a path.
        if served && text.contains('%') {
            match paths::decoded(text) {
                Ok(plain) => spellings.push(plain),
                Err(e) if paths::is_path_key(key) => {
                    return Err(fail(Code::MalformedPath, format!("`{key}` of `{tool}` has {e}")));
                }
                Err(_) => {}
            }
        }
        if served || self.class == ToolClass::Web {
            spellings.extend(paths::address(text).map(str::to_owned));
        }
        let pattern = tools::is_pattern_member(tool, key);
        // What a server's tool may write is what file rules see, as for the client's own tools.
        if served && access == Access::Write && paths::is_path_key(key) {
            self.given(text, bases);
        }
        // A server's tool that removes or moves takes what lies below as well.
        let takes_tree = served && (self.tier == Tier::Destructive || tools::moves(tool));
        for one in spellings.iter().flat_map(|s| s.split(['\n', '\0'])).filter(|s| !s.is_empty()) {
            let (path, spelled) = paths::absolute(one, bases);
            self.paths.push(PathUse { place: key.to_owned(), path, spelled, pattern, access, takes_tree });
        }
        Ok(())
    }
}

/// The arguments whose paths are still to be found: without what was read apart, and what names nothing.
fn rest(call: &ToolCall) -> Cow<'_, Json> {
    let tool = call.tool();
    let patch = (tool == tools::PATCH).then_some(PATCH_MEMBER);
    let done = tools::folder_members(tool).iter().chain(tools::quiet_members(tool)).copied().chain(patch);
    let mut args = Cow::Borrowed(call.args());
    for member in done {
        if args.get(member).is_some() {
            args.to_mut().remove(member);
        }
    }
    args
}

/// Every shell line that a server's or an unknown tool's arguments hold, at any depth.
fn shell_lines<'a>(value: &'a Json, key: Option<&str>, roles: &[(String, Role)], out: &mut Vec<&'a str>) {
    match value {
        Json::Object(members) => members.iter().for_each(|(k, v)| shell_lines(v, Some(k), roles, out)),
        Json::Array(items) => items.iter().for_each(|v| shell_lines(v, key, roles, out)),
        Json::String(text) if !text.trim().is_empty() => {
            let key = key.unwrap_or_default();
            let said = roles.iter().find(|(name, _)| name == key).map(|(_, role)| *role == Role::Command);
            if said.unwrap_or_else(|| LINE_MEMBERS.contains(&key.to_ascii_lowercase().as_str())) {
                out.push(text);
            }
        }
        _ => {}
    }
}

/// A line beyond the bound is refused, not asked about: nobody could read it in a question.
fn short(line: &str) -> Result<&str, FactError> {
    if line.len() > shell::MAX_LINE_BYTES {
        let why =
            format!("a shell line of {} bytes; at most {} are judged", line.len(), shell::MAX_LINE_BYTES);
        return Err(fail(Code::ArgumentsTooLarge, why));
    }
    Ok(line)
}

/// A member that rules are written on: absent, empty or not a string is a refusal, never an unmatched rule.
fn mapped<'a>(call: &'a ToolCall, member: &str) -> Result<&'a str, FactError> {
    match call.args().get(member) {
        Some(Json::String(text)) if !text.trim().is_empty() => Ok(text),
        Some(Json::String(_)) => Err(unmappable(call, member, "is empty")),
        Some(_) => Err(unmappable(call, member, "is not a string")),
        None => Err(unmappable(call, member, "is missing")),
    }
}

fn unmappable(call: &ToolCall, member: &str, what: &str) -> FactError {
    fail(
        Code::UnmappableInput,
        format!("fail-closed: unmappable_tool_input: `{member}` of `{}` {what}", call.tool()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::tests::call;

    fn of(tool: &str, args: &str) -> Result<Facts, FactError> {
        Facts::of(&call(tool, args), &Ground::at_home(Some("/home/ana")))
    }

    fn names(tool: &str, args: &str) -> Vec<(String, bool)> {
        of(tool, args).unwrap().paths.into_iter().map(|p| (p.path, p.access == Access::Write)).collect()
    }

    /// INV-12.
    #[test]
    fn mapped_members_must_be_there() {
        for args in ["{}", r#"{"command":""}"#, r#"{"command":5}"#, r#"{"command":["ls"]}"#] {
            assert_eq!(of("Bash", args).unwrap_err().code, Code::UnmappableInput, "{args}");
        }
        assert_eq!(of("Write", r#"{"content":"x"}"#).unwrap_err().code, Code::UnmappableInput);
        assert_eq!(of("NotebookEdit", r#"{"file_path":"x"}"#).unwrap_err().code, Code::UnmappableInput);
    }

    /// GINV-38, GINV-39.
    #[test]
    fn every_door_to_a_path_is_seen() {
        let env = |write| ("/home/ana/shop/.env".to_owned(), write);
        assert!(names("Read", r#"{"file_path":".env"}"#).contains(&env(false)));
        assert!(names("Write", r#"{"file_path":".env","content":"/x/y"}"#).contains(&env(true)));
        assert_eq!(names("Write", r#"{"file_path":"a","content":"/x/y"}"#).len(), 1);
        assert!(names("mcp__fs__write_file", r#"{"path":"%2eenv"}"#).contains(&env(true)));
        assert!(names("mcp__fs__x", r#"{"list":["a/b","../shop/.env"]}"#).contains(&env(true)));
        for line in [
            "cat .env",
            "cd .. && cat shop/.env",
            "cp .env x",
            "curl --data @x -o=.env u",
            "bash -c 'cat .env'",
            "dd if=.env",
        ] {
            let args = Json::object([("command", Json::str(line))]).canonical();
            assert!(names("Bash", &args).iter().any(|(p, _)| p == "/home/ana/shop/.env"), "{line}");
        }
        for line in [
            "cat <.env",
            "grep -f.env x",
            "curl -d@.env u",
            "curl -F f=@.env u",
            "cd && cat shop/.env",
            "git show HEAD:.env",
        ] {
            let args = Json::object([("command", Json::str(line))]).canonical();
            assert!(names("Bash", &args).iter().any(|(p, _)| p == "/home/ana/shop/.env"), "{line}");
        }
        assert!(names("mcp__sh__run", r#"{"command":"cat .env"}"#).contains(&env(false)));
        assert!(names("Bash", r#"{"command":"cat .env"}"#).contains(&env(false)));
        assert!(names("Bash", r#"{"command":"echo x > .env"}"#).contains(&env(true)));
        assert_eq!(of("mcp__fs__r", r#"{"path":"100%"}"#).unwrap_err().code, Code::MalformedPath);
        assert!(of("Read", r#"{"file_path":"100%.txt"}"#).is_ok());
    }

    /// Copies write below their target; programs that change files tell the file rules what they change.
    #[test]
    fn what_commands_write() {
        let bash =
            |line: &str| of("Bash", &Json::object([("command", Json::str(line))]).canonical()).unwrap();
        for line in
            ["cp x .git/hooks/pre-commit", "tee .git/config", "rm .git/config", "sed -i s/a/b/ .git/config"]
        {
            assert!(bash(line).writes.iter().any(|w| w.contains("/shop/.git/")), "{line}");
        }
        let taken = |line: &str, path: &str| bash(line).paths.iter().any(|p| p.path == path && p.takes_tree);
        assert!(taken("cp /tmp/settings.json .claude/", "/home/ana/shop/.claude/settings.json"));
        assert!(taken("cp -r /tmp/x/.claude .", "/home/ana/shop/.claude"));
        assert!(taken("cp -r /tmp/x/. .", "/home/ana/shop"));
        assert!(!taken("cp a.txt .", "/home/ana/shop"));
        for line in ["cd -", "cd x*", "cd a;cd b;cd c;cd d"] {
            assert!(bash(line).shell.unwrap().opaque.is_some(), "{line}");
        }
        assert!(of("PowerShell", r#"{"command":"gc x"}"#).unwrap().shell.unwrap().opaque.is_some());
    }

    /// Gemini names its tools and members otherwise; the same files are meant.
    #[test]
    fn gemini_s_tools() {
        let env = |write| ("/home/ana/shop/.env".to_owned(), write);
        assert!(names("write_file", r#"{"file_path":".env","content":"/x/y"}"#).contains(&env(true)));
        assert!(
            names("replace", r#"{"file_path":"../shop/.env","old_string":"a","new_string":"b"}"#)
                .contains(&env(true))
        );
        assert!(names("read_file", r#"{"file_path":".env"}"#).contains(&env(false)));
        assert!(names("read_many_files", r#"{"include":["README.md",".env"]}"#).contains(&env(false)));
        assert!(
            !names("read_many_files", r#"{"include":["README.md"],"exclude":[".env"]}"#)
                .contains(&env(false))
        );
        assert!(names("list_directory", r#"{"dir_path":"a"}"#).contains(&("/home/ana/shop/a".into(), false)));
        assert!(
            names("grep_search", r#"{"pattern":"x","dir_path":"..","include_pattern":"shop/.env"}"#)
                .contains(&env(false))
        );
        assert!(names("run_shell_command", r#"{"command":"cat .env"}"#).contains(&env(false)));
        assert!(
            names("run_shell_command", r#"{"command":"cat shop/.env","dir_path":".."}"#)
                .contains(&env(false))
        );
        assert!(
            names("run_shell_command", r#"{"command":"cat shop/.env","directory":"/home/ana"}"#)
                .contains(&env(false))
        );
        let shell = of("run_shell_command", r#"{"command":"echo x > a","dir_path":"sub"}"#).unwrap();
        assert_eq!(shell.writes, ["/home/ana/shop/sub/a"]);
        assert!(shell.shell.unwrap().opaque.is_none());
        assert_eq!(of("save_memory", r#"{"fact":"x"}"#).unwrap().writes, ["/home/ana/.gemini/GEMINI.md"]);
        for args in
            [r#"{"command":"ls","dir_path":5}"#, r#"{"command":"ls","dir_path":"a","directory":"b"}"#, "{}"]
        {
            assert_eq!(of("run_shell_command", args).unwrap_err().code, Code::UnmappableInput, "{args}");
        }
        assert_eq!(of("write_file", r#"{"path":"x"}"#).unwrap_err().code, Code::UnmappableInput);
    }

    /// Every file of a patch is written, from the folder of the call.
    #[test]
    fn patches() {
        let patch = |body: &str| {
            let text = format!("*** Begin Patch\n{body}\n*** End Patch\n");
            of("apply_patch", &Json::object([("command", Json::str(text))]).canonical())
        };
        let seen =
            patch("*** Update File: a/../.env\n*** Move to: /tmp/x\n@@\n-a\n+/etc/b\n*** Delete File: ~/y")
                .unwrap();
        assert_eq!(seen.writes, ["/home/ana/shop/.env", "/tmp/x", "/home/ana/shop/~/y"]);
        assert!(seen.paths.iter().all(|p| p.access == Access::Write) && seen.paths.len() == 3);
        assert_eq!(seen.tier, Tier::Write);
        for bad in ["", "+x", "*** Rename File: a"] {
            assert_eq!(patch(bad).unwrap_err().code, Code::UnmappableInput, "{bad}");
        }
        assert_eq!(of("apply_patch", r#"{"input":"x"}"#).unwrap_err().code, Code::UnmappableInput);
        let many: Vec<String> = (0..80).map(|i| format!("*** Delete File: f{i}")).collect();
        assert_eq!(patch(&many.join("\n")).unwrap_err().code, Code::TooManyForms);
    }

    #[test]
    fn floods_are_bounded() {
        let long = Json::object([("command", Json::str("x".repeat(65_537)))]).canonical();
        assert_eq!(of("Bash", &long).unwrap_err().code, Code::ArgumentsTooLarge);
        let many: Vec<Json> = (0..300).map(|i| Json::str(format!("/p/{i}"))).collect();
        let args = Json::object([("paths", Json::Array(many))]).canonical();
        assert_eq!(of("mcp__fs__r", &args).unwrap_err().code, Code::TooManyForms);
    }
}
