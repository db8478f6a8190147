//! The hooks of ours in a client's settings file: put in, found, taken out again.
//!
//! Pure text and values; no file is touched here. What belongs to the operator is never removed or reordered, unknown
//! members survive, and text that cannot be read is an error, never replaced. An entry is ours when its arguments
//! begin with `hook <client>`, so that a moved binary or project is put right in place (gateway.md 11.1). All three
//! clients keep hooks in the same shape (event, group with a matcher, entries); what differs is in `clients`.

use super::clients::{Client, Form};
use anyhow::{Context as _, bail};
use countersign_core::facts::shell::quote;
use countersign_core::json::{Bounds, Json};

/// A person's settings file is never that large; more is a mistake, or an attempt to keep us busy.
const BOUNDS: Bounds = Bounds { max_bytes: 4 << 20, max_depth: 64, max_nodes: 200_000 };

/// What the client shows while a call is held; nothing else of a running hook is shown (DECISIONS section 6).
const STATUS: &str =
    "Countersign is deciding; if it waits, a person is needed: run `countersign watch` in another terminal";

/// Time limit of hooks that nobody waits for a person in, in seconds. `end` is cut short by the clients anyway, by Codex
/// after 3 s.
const SHORT_S: i64 = 30;
const END_S: i64 = 10;
const CODEX_END_S: i64 = 3;

/// One event of the client and the word our hook takes for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Name in the settings.
    pub event: &'static str,
    /// Word on our command line.
    pub word: &'static str,
    /// The event is about a tool, so a matcher selects which.
    pub about_tools: bool,
}

/// What shall be registered.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// With which client.
    pub client: &'static Client,
    /// Absolute path of the binary.
    pub program: String,
    /// Absolute root of the project.
    pub root: String,
    /// What names the project's state: with it the hook notices a repository that was swapped.
    pub project_id: String,
    /// The client's time limit for `pre`, in seconds.
    pub timeout_s: i64,
}

impl Wanted {
    fn timeout(&self, slot: Slot) -> i64 {
        self.client.timeout(match slot.word {
            "pre" => self.timeout_s,
            "end" if self.client.name == "codex" => CODEX_END_S,
            "end" => END_S,
            _ => SHORT_S,
        })
    }

    /// The members of an entry that are ours to say.
    fn members(&self, slot: Slot) -> Vec<(&'static str, Json)> {
        let args = args(self.client, slot, &self.root, &self.project_id);
        let mut out = Vec::new();
        if self.client.named {
            out.push(("name", Json::str(entry_name(slot))));
        }
        out.push(("type", Json::str("command")));
        match self.client.form {
            Form::Words => {
                out.push(("command", Json::str(&self.program)));
                out.push(("args", Json::strings(args)));
            }
            Form::Line => out.push(("command", Json::str(line(&self.program, &args)))),
        }
        out.push(("timeout", Json::int(self.timeout(slot))));
        if slot.word == "pre" && self.client.on_failure {
            // Without it a hook that is missing, killed or late lets the call run.
            out.push(("onFailure", Json::str("block")));
        }
        if slot.word == "pre" && !self.client.named {
            out.push(("statusMessage", Json::str(STATUS)));
        }
        out
    }
}

/// The name of an entry, where entries have one.
pub fn entry_name(slot: Slot) -> String {
    format!("countersign-{}", slot.word)
}

/// The arguments of a registered hook.
pub fn args<'a>(client: &Client, slot: Slot, root: &'a str, project_id: &'a str) -> [&'a str; 7] {
    ["hook", client.name, slot.word, "--project", root, "--project-id", project_id]
}

/// The shell line of a program and its arguments.
pub fn line(program: &str, args: &[&str]) -> String {
    let words = std::iter::once(&program).chain(args).map(|w| quote(w));
    words.collect::<Vec<_>>().join(" ")
}

/// The words of a line as `line` writes it. None for any other line: what a shell would make of it is not guessed.
fn words(line: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let mut word = String::new();
        loop {
            if let Some(quoted) = rest.strip_prefix('\'') {
                let (text, after) = quoted.split_once('\'')?;
                word.push_str(text);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("\\'") {
                word.push('\'');
                rest = after;
            } else {
                let end = rest.find([' ', '\'', '\\']).unwrap_or(rest.len());
                let (text, after) = rest.split_at_checked(end)?;
                word.push_str(text);
                rest = after;
                if rest.is_empty() || rest.starts_with(' ') {
                    break;
                }
                if rest.starts_with('\\') && !rest.starts_with("\\'") {
                    return None;
                }
            }
        }
        out.push(word);
        rest = rest.strip_prefix(' ').unwrap_or(rest);
    }
    let parts: Vec<&str> = out.iter().map(String::as_str).collect();
    let (program, args) = parts.split_first()?;
    (self::line(program, args) == line).then_some(out)
}

/// An entry of ours as it stands in a file.
#[derive(Clone, Debug)]
pub struct Found {
    /// The event it is registered for.
    pub event: String,
    /// Its group's matcher.
    pub matcher: Option<String>,
    /// The entry.
    pub entry: Json,
    /// Its places: of the group in the event's list, and of the entry in the group.
    pub at: (usize, usize),
    /// What it starts: the program, then its arguments.
    words: Vec<String>,
}

impl Found {
    /// The program it starts.
    pub fn program(&self) -> &str {
        self.words.first().map(String::as_str).unwrap_or_default()
    }

    /// Its arguments.
    pub fn args(&self) -> Vec<&str> {
        self.words.iter().skip(1).map(String::as_str).collect()
    }

    /// The identity it is registered for, if it is registered for this root.
    pub fn identity_of(&self, root: &str) -> Option<&str> {
        let args = self.args();
        let value = |name: &str| args.iter().skip_while(|a| **a != name).nth(1).copied();
        value("--project").filter(|r| *r == root).and_then(|_| value("--project-id"))
    }

    /// The word of our command line.
    pub fn word(&self) -> &str {
        self.args().get(2).copied().unwrap_or_default()
    }

    /// Whether its group is asked for every tool.
    pub fn matches_all(&self) -> bool {
        matches_all(self.matcher.as_deref())
    }
}

fn matches_all(matcher: Option<&str>) -> bool {
    matches!(matcher, None | Some("" | "*"))
}

/// Reads a settings file. Blank text counts as a file without settings.
pub fn read(bytes: &[u8]) -> anyhow::Result<Json> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Json::Object(Vec::new()));
    }
    let json = Json::parse(bytes, BOUNDS).with_context(|| {
        let commented = bytes.windows(2).any(|w| w == b"//" || w == b"/*");
        let remedy = if commented { "; comments cannot be kept, so take them out first" } else { "" };
        format!("it is not JSON that can be read{remedy}")
    })?;
    if json.as_object().is_none() {
        bail!("it is JSON, but no object");
    }
    Ok(json)
}

/// The text of a settings file.
pub fn write(json: &Json) -> Vec<u8> {
    format!("{}\n", json.pretty()).into_bytes()
}

/// What putting our hooks in came to.
#[derive(Debug)]
pub struct Merged {
    /// The settings with our hooks in them.
    pub json: Json,
    /// Whether that differs from what was there.
    pub changed: bool,
    /// What the operator should know.
    pub remarks: Vec<String>,
}

/// Puts our hooks in.
pub fn merge(before: &Json, wanted: &Wanted) -> anyhow::Result<Merged> {
    let mut json = before.clone();
    let mut remarks = Vec::new();
    check_shape(&json)?;
    if json.get("hooks").is_none() {
        json.set("hooks", Json::Object(Vec::new()));
    }
    if wanted.client.name == "gemini" {
        switch_on(&mut json, &mut remarks);
    }
    let hooks = json.get_mut("hooks").context("no `hooks`")?;
    for slot in wanted.client.slots.iter().copied() {
        if hooks.get(slot.event).is_none() {
            hooks.set(slot.event, Json::Array(Vec::new()));
        }
        if let Some(Json::Array(groups)) = hooks.get_mut(slot.event) {
            put(groups, slot, wanted, &mut remarks);
        }
    }
    Ok(Merged { changed: json != *before, json, remarks })
}

/// Gemini CLI's switch for all hooks. One that a person turned off stays off.
fn switch_on(json: &mut Json, remarks: &mut Vec<String>) {
    if json.get("hooksConfig").is_none() {
        json.set("hooksConfig", Json::Object(Vec::new()));
    }
    let Some(config) = json.get_mut("hooksConfig").filter(|c| c.as_object().is_some()) else { return };
    match config.get("enabled").map(Json::as_bool) {
        None => config.set("enabled", Json::Bool(true)),
        Some(Some(true)) => {}
        Some(_) => remarks.push(
            "hooksConfig.enabled is not true in the client's settings: no hook runs until you set it"
                .to_owned(),
        ),
    }
}

/// What we would have to write into must be of the shape the client reads, or our entry would be lost in it.
fn check_shape(json: &Json) -> anyhow::Result<()> {
    let Some(hooks) = json.get("hooks") else { return Ok(()) };
    let members = hooks.as_object().context("its member `hooks` is no object")?;
    for (event, groups) in members {
        let groups = groups.as_array().with_context(|| format!("its member `hooks.{event}` is no list"))?;
        for group in groups {
            if group.get("hooks").and_then(Json::as_array).is_none() {
                bail!("a group of `hooks.{event}` has no list `hooks`");
            }
        }
    }
    Ok(())
}

fn put(groups: &mut Vec<Json>, slot: Slot, wanted: &Wanted, remarks: &mut Vec<String>) {
    let mut kept = false;
    for group in groups.iter_mut() {
        let everything = matches_all(group.text("matcher")) && !is_other(group.get("matcher"));
        let Some(Json::Array(entries)) = group.get_mut("hooks") else { continue };
        // The first entry in a group that sees every tool is kept and put right; another one of ours would only run
        // beside it, or see less than everything.
        entries.retain_mut(|entry| {
            let Some(words) = our_words(wanted.client, entry) else { return true };
            if kept || !everything || words.get(3).map(String::as_str) != Some(slot.word) {
                return false;
            }
            kept = true;
            for (key, value) in wanted.members(slot) {
                entry.set(key, value);
            }
            // These would make it see less, or answer when nobody waits any more.
            for key in ["if", "async", "asyncRewake", "shell"] {
                if entry.remove(key).is_some() {
                    remarks.push(format!(
                        "`{key}` was taken off our hook for {}: with it calls could pass unseen",
                        slot.event
                    ));
                }
            }
            true
        });
    }
    groups.retain(|group| !is_empty_group(group));
    if kept {
        return;
    }
    let entry = Json::object(wanted.members(slot));
    let matcher = slot.about_tools.then_some("*");
    let same = groups.iter_mut().find(|g| g.text("matcher") == matcher && !is_other(g.get("matcher")));
    if let Some(group) = same
        && let Some(Json::Array(entries)) = group.get_mut("hooks")
    {
        remarks.push(format!(
            "{}: added behind {} hook(s) of yours; the client runs all of them side by side, and one refusal is enough",
            slot.event,
            entries.len()
        ));
        entries.push(entry);
        return;
    }
    if !groups.is_empty() {
        remarks.push(format!("{}: you have hooks of your own there; they stay as they are", slot.event));
    }
    let mut group = Json::Object(Vec::new());
    if let Some(matcher) = matcher {
        group.set("matcher", Json::str(matcher));
    }
    group.set("hooks", Json::Array(vec![entry]));
    groups.push(group);
}

/// A matcher that is no text: we cannot say what the client makes of it.
fn is_other(matcher: Option<&Json>) -> bool {
    matcher.is_some_and(|m| m.as_str().is_none())
}

/// What an entry starts, if it is one of ours for this client.
fn our_words(client: &Client, entry: &Json) -> Option<Vec<String>> {
    let command = entry.text("command").unwrap_or_default();
    let words = match client.form {
        Form::Words => {
            let args = entry.get("args").and_then(Json::as_array)?;
            let args = args.iter().map(|a| a.as_str().unwrap_or_default().to_owned());
            std::iter::once(command.to_owned()).chain(args).collect()
        }
        Form::Line => words(command)?,
    };
    matches!(words.as_slice(), [_, hook, name, ..] if hook == "hook" && name == client.name).then_some(words)
}

/// A group with nothing in it that anyone could have meant.
fn is_empty_group(group: &Json) -> bool {
    let Some(members) = group.as_object() else { return false };
    group.get("hooks").and_then(Json::as_array).is_some_and(<[Json]>::is_empty)
        && members.iter().all(|(key, _)| key == "hooks" || key == "matcher")
}

/// Every entry of ours in a file.
pub fn find(client: &Client, json: &Json) -> Vec<Found> {
    let mut out = Vec::new();
    for (event, groups) in json.get("hooks").and_then(Json::as_object).into_iter().flatten() {
        for (group_at, group) in groups.as_array().into_iter().flatten().enumerate() {
            let matcher =
                group.get("matcher").map(|m| m.as_str().map_or_else(|| m.canonical(), str::to_owned));
            let entries = group.get("hooks").and_then(Json::as_array).into_iter().flatten();
            for (entry_at, entry) in entries.enumerate() {
                let Some(words) = our_words(client, entry) else { continue };
                let at = (group_at, entry_at);
                let (event, matcher, entry) = (event.clone(), matcher.clone(), entry.clone());
                out.push(Found { event, matcher, entry, at, words });
            }
        }
    }
    out
}

/// Takes every entry of ours out, and what became empty by that. `None` when there is none.
pub fn unmerge(client: &Client, before: &Json) -> Option<Json> {
    if find(client, before).is_empty() {
        return None;
    }
    let mut json = before.clone();
    if let Some(Json::Object(events)) = json.get_mut("hooks") {
        events.retain_mut(|(_, groups)| {
            let Json::Array(groups) = groups else { return true };
            let mut touched = false;
            groups.retain_mut(|group| {
                let Some(Json::Array(entries)) = group.get_mut("hooks") else { return true };
                let count = entries.len();
                entries.retain(|entry| our_words(client, entry).is_none());
                let ours = entries.len() < count;
                touched |= ours;
                !(ours && is_empty_group(group))
            });
            !(touched && groups.is_empty())
        });
        if events.is_empty() {
            json.remove("hooks");
        }
    }
    // What `switch_on` writes into a file that says nothing of it; it is the client's default.
    let switch = Json::object([("enabled", Json::Bool(true))]);
    if client.name == "gemini" && json.get("hooksConfig") == Some(&switch) {
        json.remove("hooksConfig");
    }
    Some(json)
}

#[cfg(test)]
mod tests {
    use super::super::clients::{self, CLAUDE_CODE, CODEX, GEMINI};
    use super::*;

    fn wanted() -> Wanted {
        wanted_by(&CLAUDE_CODE)
    }

    fn wanted_by(client: &'static Client) -> Wanted {
        Wanted {
            client,
            program: "/opt/bin/countersign".into(),
            root: "/home/ana/my shop".into(),
            project_id: "5e1f".into(),
            timeout_s: 3_630,
        }
    }

    fn merged(text: &str) -> Merged {
        merge(&read(text.as_bytes()).unwrap(), &wanted()).unwrap()
    }

    const OPERATORS: &str = r#"{"zeta":1e5,"permissions":{"allow":["Bash"]},"hooks":{"Notification":[{"hooks":[{"type":"command","command":"bell"}]}],"PreToolUse":[{"matcher":"Bash","hooks":[{"type":"command","command":"a"},{"type":"command","command":"b"}]}]},"alpha":{"deep":[1.50]}}"#;

    #[test]
    fn a_new_file_holds_exactly_our_hooks() {
        let json = merged("").json;
        let found = find(&CLAUDE_CODE, &json);
        assert_eq!(found.len(), CLAUDE_CODE.slots.len());
        assert!(found.iter().all(Found::matches_all));
        let pre = found.iter().find(|f| f.event == "PreToolUse").unwrap();
        assert_eq!(
            pre.args(),
            ["hook", "claude-code", "pre", "--project", "/home/ana/my shop", "--project-id", "5e1f"]
        );
        assert_eq!(pre.identity_of("/home/ana/my shop"), Some("5e1f"));
        assert_eq!(pre.identity_of("/home/ana"), None);
        assert_eq!(pre.entry.text("onFailure"), Some("block"));
        assert_eq!(pre.entry.get("timeout").and_then(Json::as_i64), Some(3_630));
        assert!(pre.entry.text("statusMessage").unwrap().contains("countersign watch"));
        assert!(found.iter().filter(|f| f.event != "PreToolUse").all(|f| f.entry.get("onFailure").is_none()));
    }

    #[test]
    fn the_second_time_nothing_changes() {
        for text in ["", "{}", OPERATORS] {
            let once = merged(text);
            assert!(once.changed);
            let bytes = write(&once.json);
            let twice = merge(&read(&bytes).unwrap(), &wanted()).unwrap();
            assert!(!twice.changed && twice.remarks.is_empty(), "{:?}", twice.remarks);
            assert_eq!(write(&twice.json), bytes);
        }
    }

    #[test]
    fn what_is_the_operators_stays_in_its_order() {
        let before = read(OPERATORS.as_bytes()).unwrap();
        let once = merge(&before, &wanted()).unwrap();
        let keys: Vec<&str> = once.json.as_object().unwrap().iter().map(|(k, _)| k.as_str()).collect();
        assert_eq!(keys, ["zeta", "permissions", "hooks", "alpha"]);
        let pre = once.json.get("hooks").unwrap().get("PreToolUse").unwrap().as_array().unwrap();
        assert_eq!(pre[0], before.get("hooks").unwrap().get("PreToolUse").unwrap().as_array().unwrap()[0]);
        assert_eq!(pre.len(), 2);
        assert!(String::from_utf8(write(&once.json)).unwrap().contains("1e5"));
        assert_eq!(unmerge(&CLAUDE_CODE, &once.json).unwrap(), before);
    }

    #[test]
    fn an_operators_group_for_everything_is_shared() {
        let text = r#"{"hooks":{"PreToolUse":[{"matcher":"*","note":"mine","hooks":[{"type":"command","command":"a"}]}]}}"#;
        let once = merged(text);
        let pre = once.json.get("hooks").unwrap().get("PreToolUse").unwrap().as_array().unwrap();
        assert_eq!(pre.len(), 1);
        let entries = pre[0].get("hooks").unwrap().as_array().unwrap();
        assert_eq!((entries.len(), entries[0].text("command")), (2, Some("a")));
        assert!(once.remarks[0].contains("1 hook(s) of yours"));
        assert_eq!(unmerge(&CLAUDE_CODE, &once.json).unwrap(), read(text.as_bytes()).unwrap());
    }

    #[test]
    fn a_moved_binary_or_project_is_put_right_in_place() {
        let old = Wanted {
            client: &CLAUDE_CODE,
            program: "/old/countersign".into(),
            root: "/old".into(),
            project_id: "0".into(),
            timeout_s: 60,
        };
        let before = merge(&read(OPERATORS.as_bytes()).unwrap(), &old).unwrap().json;
        let after = merge(&before, &wanted()).unwrap();
        assert!(after.changed);
        assert_eq!(after.json, merged(OPERATORS).json);
    }

    /// Versions before this one registered no identity.
    #[test]
    fn an_older_entry_is_put_right_in_place() {
        let new = merged(OPERATORS).json;
        let text = String::from_utf8(write(&new)).unwrap();
        let bytes: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let old = bytes.replace(r#", "--project-id", "5e1f""#, "");
        assert!(!old.contains("--project-id"), "{old}");
        let after = merged(&old);
        assert!(after.changed && after.remarks.is_empty(), "{:?}", after.remarks);
        assert_eq!(after.json, new);
    }

    #[test]
    fn an_entry_of_ours_that_sees_less_is_replaced() {
        let narrow = r#"{"hooks":{"PreToolUse":[{"matcher":"Bash","hooks":[{"type":"command","command":"x","args":["hook","claude-code","pre"],"timeout":5}]},{"matcher":"","hooks":[{"type":"command","command":"x","args":["hook","claude-code","pre"],"if":"Bash(git *)","async":true},{"type":"command","command":"x","args":["hook","claude-code","pre"]}]}]}}"#;
        let after = merged(narrow);
        let pre: Vec<Found> =
            find(&CLAUDE_CODE, &after.json).into_iter().filter(|f| f.event == "PreToolUse").collect();
        assert_eq!(pre.len(), 1);
        assert!(
            pre[0].matches_all() && pre[0].entry.get("if").is_none() && pre[0].entry.get("async").is_none()
        );
        assert_eq!(after.remarks.iter().filter(|r| r.contains("taken off")).count(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for text in ["{", "[]", "{\"a\":1,\"a\":2}", "// comment\n{}", "\u{feff}{}", "nul"] {
            assert!(read(text.as_bytes()).is_err(), "{text:?}");
        }
        for text in [
            r#"{"hooks":[]}"#,
            r#"{"hooks":{"PreToolUse":{}}}"#,
            r#"{"hooks":{"PreToolUse":[{"matcher":"*"}]}}"#,
            r#"{"hooks":{"Stop":["x"]}}"#,
        ] {
            assert!(merge(&read(text.as_bytes()).unwrap(), &wanted()).is_err(), "{text}");
        }
    }

    #[test]
    fn taking_out_leaves_what_was_empty_before() {
        let before = read(br#"{"hooks":{"Stop":[],"PreToolUse":[{"matcher":"Bash","hooks":[]}]}}"#).unwrap();
        let after = unmerge(&CLAUDE_CODE, &merge(&before, &wanted()).unwrap().json).unwrap();
        // Our own list went with our entry; the operator's empty shells meant nothing and are gone as well.
        assert!(find(&CLAUDE_CODE, &after).is_empty());
        assert!(unmerge(&CLAUDE_CODE, &before).is_none());
        assert_eq!(unmerge(&CLAUDE_CODE, &merged("").json).unwrap(), Json::Object(Vec::new()));
    }

    /// Every client's file: exactly our hooks, the same again, and out again.
    #[test]
    fn every_client_s_file() {
        for client in clients::ALL {
            let wanted = wanted_by(client);
            for text in ["", "{}", OPERATORS] {
                let before = read(text.as_bytes()).unwrap();
                let once = merge(&before, &wanted).unwrap();
                let found = find(client, &once.json);
                assert_eq!(found.len(), client.slots.len(), "{}", client.name);
                for (hook, slot) in found.iter().map(|f| (f, client.slot(&f.event).unwrap())) {
                    assert!(hook.matches_all());
                    assert_eq!(hook.program(), "/opt/bin/countersign");
                    assert_eq!(hook.args(), args(client, slot, "/home/ana/my shop", "5e1f"));
                }
                let twice = merge(&read(&write(&once.json)).unwrap(), &wanted).unwrap();
                assert!(!twice.changed && twice.remarks.is_empty(), "{:?}", twice.remarks);
                assert_eq!(unmerge(client, &once.json).unwrap(), before, "{}", client.name);
                for other in clients::ALL.into_iter().filter(|c| *c != client) {
                    assert!(find(other, &once.json).is_empty());
                }
            }
        }
    }

    #[test]
    fn lines_and_limits_are_the_client_s_own() {
        let pre = |client: &'static Client| {
            let json = merge(&Json::Object(Vec::new()), &wanted_by(client)).unwrap().json;
            find(client, &json).into_iter().find(|f| f.word() == "pre").unwrap().entry
        };
        let codex = pre(&CODEX);
        assert_eq!(
            codex.text("command"),
            Some("/opt/bin/countersign hook codex pre --project '/home/ana/my shop' --project-id 5e1f")
        );
        assert_eq!(codex.get("timeout").and_then(Json::as_i64), Some(3_630));
        assert!(codex.get("onFailure").is_none() && codex.get("args").is_none());
        let gemini = pre(&GEMINI);
        assert_eq!(gemini.get("timeout").and_then(Json::as_i64), Some(3_630_000));
        assert_eq!(gemini.text("name"), Some("countersign-pre"));
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_no_other() {
        for list in [&["/a b", "it's", "x"][..], &["/p", "", "a\\b"], &["/p", "'", "''"]] {
            let (program, args) = list.split_first().unwrap();
            assert_eq!(words(&line(program, args)).unwrap(), *list);
        }
        for other in ["", "a  b", "a 'b", "a $(b)", "a;b", "a \\b", " a", "a \"b\"", "a ", "x 'plain'"] {
            assert_eq!(words(other), None, "{other:?}");
        }
    }

    #[test]
    fn gemini_s_switch() {
        let merged = |text: &str| merge(&read(text.as_bytes()).unwrap(), &wanted_by(&GEMINI)).unwrap();
        let enabled = |m: &Merged| m.json.get("hooksConfig").unwrap().get("enabled").and_then(Json::as_bool);
        assert_eq!(enabled(&merged("")), Some(true));
        let off = merged(r#"{"hooksConfig":{"enabled":false}}"#);
        assert_eq!(enabled(&off), Some(false));
        assert!(off.remarks[0].contains("hooksConfig.enabled"));
        let other = r#"{"hooksConfig":{"disabled":["x"]}}"#;
        let json = unmerge(&GEMINI, &merged(other).json).unwrap();
        assert_eq!(json.get("hooksConfig").unwrap().get("disabled").unwrap().canonical(), r#"["x"]"#);
        let error = read(b"{ // mine\n}").unwrap_err().to_string();
        assert!(error.contains("comments cannot be kept"), "{error}");
    }
}
