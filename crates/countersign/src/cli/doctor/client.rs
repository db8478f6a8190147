//! What the clients' settings say of our hooks, and what a registered hook does when it is really started.
//!
//! The probe starts what is registered, as the client would, with calls that are only decided and never run. Its session
//! ends with the registered hook for that. Settings can arrive with a repository, so nothing is started but this very
//! program with the arguments that `init` writes (P-38). Whom a client trusts is in `doctor/trust.rs`.

use super::super::init::{is_here, is_registered, move_them, on_path, users_servers};
use super::super::{Context, show};
use super::{Report, trust};
use crate::clock::SystemClock;
use crate::install::clients::{self, CLAUDE_CODE, CODEX, Client, Form, GEMINI};
use crate::install::settings::{self, Found};
use crate::install::{look, servers};
use crate::project::Project;
use crate::wire::Wired;
use countersign_core::facts::shell::quote;
use countersign_core::ids::CallId;
use countersign_core::json::{Bounds, Json};
use countersign_core::rulebook::settings::{Level, Mode};
use countersign_gate::seams::Clock as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The first version of Claude Code that knows `onFailure` (interfaces.md 3.1).
const NEEDED: [u64; 3] = [2, 1, 295];
/// A hook that takes longer than this for a probe is holding it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Everything about the clients: those that have hooks of ours here, else those that are on this machine.
pub(super) async fn check(cx: &Context, project: &Project, wired: Option<&Wired>, report: &mut Report) {
    let registered: Vec<&'static Client> =
        clients::ALL.into_iter().filter(|c| is_registered(&project.root, c)).collect();
    let here: Vec<&'static Client> = clients::ALL.into_iter().filter(|c| is_here(cx, c)).collect();
    let looked_at = match (registered.is_empty(), here.is_empty()) {
        (false, _) => registered,
        (true, false) => here.clone(),
        (true, true) => vec![&CLAUDE_CODE],
    };
    for client in looked_at.iter().copied() {
        report.about((client != &CLAUDE_CODE).then_some(client.shown));
        check_one(client, cx, project, wired, report).await;
    }
    report.about(None);
    for client in here.into_iter().filter(|c| !looked_at.contains(c)) {
        report.warn(
            "hooks",
            format!("{} is on this machine and has no hooks here: its calls are not decided", client.shown),
            show::command(project.root_text(), &format!("init --client {}", client.name)),
        );
    }
}

async fn check_one(
    client: &'static Client,
    cx: &Context,
    project: &Project,
    wired: Option<&Wired>,
    report: &mut Report,
) {
    version(client, project, report);
    the_servers(client, cx, project, report);
    let found = registered(client, cx, project, report);
    let timeout_s = wired.and_then(|w| w.settings.as_ref()).map(|s| s.hook_timeout_s);
    let init = init_command(client, project);
    for slot in client.slots {
        if found.iter().any(|(_, f)| f.event == slot.event && f.word() == slot.word) {
            continue;
        }
        match slot.word {
            "pre" => {
                report.fail("hooks", format!("{} is not registered: no call is decided", slot.event), &init)
            }
            "post" => report.fail(
                "hooks",
                format!("{} is not registered: ends of calls are not recorded", slot.event),
                &init,
            ),
            _ => report.warn(
                "hooks",
                format!("{} is not registered: {}", slot.event, missed(slot.word)),
                &init,
            ),
        }
    }
    let mut usable = Vec::new();
    for (file, hook) in &found {
        if entry(client, project, file, hook, timeout_s, report) {
            usable.push(hook);
        }
    }
    if client == &CODEX {
        trust::codex(cx, project, &found, report);
    } else if client == &GEMINI {
        trust::gemini(cx, project, &found, report);
    }
    let Some(pre) = usable.iter().find(|h| h.word() == "pre") else {
        report.info("probe", "not tried: there is no hook that could be started");
        return;
    };
    probe(client, project, wired, pre, &usable, report).await;
    report.info(
        "killed post",
        "a `post` hook that is killed lets its result through: the client goes on without it",
    );
}

/// Which MCP servers of the client are behind the gate here. Hooks see the calls of the others, but nobody sees what
/// such a server says it can do, or answers.
fn the_servers(client: &Client, cx: &Context, project: &Project, report: &mut Report) {
    let file = client.server_file();
    let shown = project.root.join(file).display().to_string();
    let read = look(&project.root, file).and_then(|bytes| match bytes {
        Some(bytes) => servers::standing(file.ends_with(".toml"), &bytes, Some(project.root_text())),
        None => Ok(Vec::new()),
    });
    match read {
        Err(e) => report.warn(
            "servers",
            format!("{shown}: {e:#}; which servers are in it is not known"),
            format!("repair {shown}"),
        ),
        Ok(found) => {
            let behind: Vec<&str> =
                found.iter().filter(|(_, place)| place.is_ok()).map(|(name, _)| name.as_str()).collect();
            if !behind.is_empty() {
                report.ok("servers", format!("behind the gate: {}", behind.join(", ")));
            }
            let tracked = servers::is_tracked(&project.root, file);
            let verb = format!("init --client {}{}", client.name, if tracked { " --shared" } else { "" });
            for (name, place) in &found {
                let Err(why) = place else { continue };
                let fix = match servers::init_helps(why) {
                    true => show::command(project.root_text(), &verb),
                    false => String::new(),
                };
                report.warn("servers", format!("{name} in {shown} is not behind the gate: {why}"), fix);
            }
        }
    }
    if let Some(line) = users_servers(cx, client, &project.root) {
        report.warn("servers", line, move_them(client, project.root_text()));
    }
}

fn init_command(client: &Client, project: &Project) -> String {
    let verb = match client == &CLAUDE_CODE {
        true => "init".to_owned(),
        false => format!("init --client {}", client.name),
    };
    show::command(project.root_text(), &verb)
}

fn missed(word: &str) -> &'static str {
    match word {
        "stop" => "the agent is not told of answers to parked questions",
        "permission" => "what a person approved here is asked once more in the client",
        _ => "sessions do not end in the log",
    }
}

fn version(client: &Client, project: &Project, report: &mut Report) {
    let name = client.shown;
    let Some(program) = on_path(client.program) else {
        return report.info(name, "not found on the search path, so its version is not known");
    };
    if program.starts_with(&project.root) {
        let detail = format!("{} lies inside the project and was not started", program.display());
        return report.warn(name, detail, "take the project's folders off the search path");
    }
    let mut command = Command::new(&program);
    command.arg("--version");
    let said = match run(command, b"", PATIENCE) {
        Ok(Ran { stdout, code: Some(0), .. }) => stdout,
        _ => {
            return report.warn(name, format!("{} does not tell its version", program.display()), "");
        }
    };
    // `2.1.329 (Claude Code)`, `codex-cli 0.169.0`, `0.61.0`
    let numbers = said.split_whitespace().find_map(|word| {
        let numbers: Vec<u64> = word.split('.').map_while(|n| n.parse().ok()).collect();
        (numbers.len() == 3).then_some((word, numbers))
    });
    match numbers {
        Some((_, numbers)) if client == &CLAUDE_CODE && numbers.as_slice() < NEEDED.as_slice() => report.fail(
            name,
            format!("{} is older than 2.1.295 and does not know onFailure: a missing or failing hook lets calls run", said.trim()),
            "claude update",
        ),
        Some((version, _)) if client != &CLAUDE_CODE && version != client.tried => report.info(
            name,
            format!("{} {version}; all of this was tried with {}", program.display(), client.tried),
        ),
        Some(_) => report.ok(name, format!("{} {}", program.display(), said.trim())),
        None => report.warn(name, format!("{} does not tell its version", program.display()), ""),
    }
}

/// Reads every settings file that could register or switch off hooks; gives the entries of ours.
fn registered(client: &Client, cx: &Context, project: &Project, report: &mut Report) -> Vec<(String, Found)> {
    let mut out: Vec<(String, Found)> = Vec::new();
    let mut files: Vec<(PathBuf, bool)> =
        client.files().map(|file| (project.root.join(file), true)).collect();
    files.push((cx.places.home.join(client.shared), false));
    if client == &CLAUDE_CODE {
        let managed = if cfg!(target_os = "macos") {
            "/Library/Application Support/ClaudeCode"
        } else {
            "/etc/claude-code"
        };
        files.push((Path::new(managed).join("managed-settings.json"), false));
    }
    let mut with_ours = Vec::new();
    for (path, own) in files {
        let name = path.display().to_string();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let json = match settings::read(&bytes) {
            Ok(json) => json,
            // Gemini CLI reads comments, and its users' files may hold some; ours cannot be in there.
            Err(_) if !own && client == &GEMINI => continue,
            Err(e) => {
                report.fail(
                    "settings",
                    format!("{name}: {e:#}; the client ignores it, hooks in it do not run"),
                    format!("repair {name}"),
                );
                continue;
            }
        };
        let says = |key: &str| json.get(key).and_then(Json::as_bool) == Some(true);
        if client == &CLAUDE_CODE && says("disableAllHooks") {
            report.fail(
                "settings",
                format!("{name} says disableAllHooks: no hook runs, nothing is decided"),
                format!("take disableAllHooks out of {name}"),
            );
        }
        if client == &CLAUDE_CODE && says("allowManagedHooksOnly") {
            report.fail(
                "settings",
                format!("{name} says allowManagedHooksOnly: hooks of the project do not run"),
                "ask who manages this machine to register the hooks",
            );
        }
        let ours = settings::find(client, &json);
        if ours.is_empty() {
            continue;
        }
        report.ok("hooks", format!("registered in {name}"));
        if own {
            report.info(
                "settings",
                format!(
                    "{name} can be written by anything that runs as you; agents are kept from it by rule only"
                ),
            );
        }
        with_ours.push(name.clone());
        out.extend(ours.into_iter().map(|f| (name.clone(), f)));
    }
    if with_ours.len() > 1 {
        let fix = match client.local {
            Some(_) => format!(
                "{}, or take them out of one file by hand",
                show::command(project.root_text(), "init --shared")
            ),
            None => "take them out of one file by hand".to_owned(),
        };
        report.warn(
            "hooks",
            format!(
                "registered more than once: {}; each call is decided by all of them",
                with_ours.join(", ")
            ),
            fix,
        );
    }
    out
}

/// One registered hook. `true` if it can be started.
fn entry(
    client: &Client,
    project: &Project,
    file: &str,
    hook: &Found,
    timeout_s: Option<i64>,
    report: &mut Report,
) -> bool {
    let init = init_command(client, project);
    let event = hook.event.as_str();
    let pre = hook.word() == "pre";
    let Some(slot) = client.slot(event) else {
        report.warn(
            "hooks",
            format!("{event} in {file} is registered, and this version does not serve it"),
            &init,
        );
        return false;
    };
    if slot.word != hook.word() {
        report.fail(
            "hooks",
            format!("{event} in {file} starts `hook {} {}`", client.name, hook.word()),
            &init,
        );
        return false;
    }
    if hook.entry.text("type") != Some("command") {
        report.fail("hooks", format!("{event} in {file} is not of type `command`"), &init);
        return false;
    }
    if slot.about_tools && !hook.matches_all() {
        let matcher = hook.matcher.as_deref().unwrap_or_default();
        report.fail(
            "hooks",
            format!("{event} in {file} is asked for `{matcher}` only: other tools pass unseen"),
            &init,
        );
    }
    for key in ["if", "async", "asyncRewake"] {
        if hook.entry.get(key).is_some_and(|v| *v != Json::Bool(false)) {
            report.fail("hooks", format!("{event} in {file} has `{key}`: calls can pass undecided"), &init);
        }
    }
    if pre {
        if !client.on_failure {
            report.warn(
                "onFailure",
                format!("{} has no such setting: a hook that is missing, killed or late lets the call run. Ours answers before its limit, and no client can be made to wait for one that is gone", client.shown),
                "",
            );
        } else if hook.entry.text("onFailure") == Some("block") {
            report.ok("onFailure", "block: a hook that is missing, killed or late blocks the call");
        } else {
            report.fail(
                "onFailure",
                format!("{event} in {file} has no \"onFailure\": \"block\": a missing or failing hook lets calls run"),
                &init,
            );
        }
        timeout(client, &init, file, hook, timeout_s, report);
    }
    let fits = hook.args() == settings::args(client, slot, project.root_text(), &project.id);
    match hook.args().get(3..).unwrap_or_default() {
        _ if fits => {}
        ["--project", root] | ["--project", root, "--project-id", _] if *root != project.root_text() => {
            report.fail("hooks", format!("{event} in {file} names another project: {root}"), &init);
        }
        ["--project", _] => report.fail(
            "hooks",
            format!("{event} in {file} names no --project-id: every call is refused"),
            &init,
        ),
        ["--project", _, "--project-id", _] => report.fail(
            "hooks",
            format!("{event} in {file} names another identity: .git was replaced or moved since, and every call is refused"),
            format!("put the project's .git back; if it is meant to be another one: {init}"),
        ),
        [] => report.fail(
            "hooks",
            format!("{event} in {file} names no --project: every call is refused"),
            &init,
        ),
        _ => report.fail("hooks", format!("{event} in {file} has arguments that init does not write"), &init),
    }
    let program = hook.program();
    program_is_this(event, file, program, pre, &init, report) && fits
}

fn timeout(client: &Client, init: &str, file: &str, hook: &Found, wanted: Option<i64>, report: &mut Report) {
    let Some(wanted) = wanted else { return };
    let unit = client.timeout(1);
    let there = hook.entry.get("timeout").map_or(Some(client.default_timeout), Json::as_i64);
    let there = there.map(|t| t / unit);
    match there {
        Some(s) if s == wanted => report.ok("timeout", format!("{s} s, as hooks.timeout_s says")),
        Some(s) if s < wanted => report.warn(
            "timeout",
            format!("{file} gives the hook {s} s, hooks.timeout_s is {wanted}: the client ends it while it still waits for a person, and the answer comes too late"),
            init,
        ),
        Some(s) => report.info("timeout", format!("{file} gives the hook {s} s; it answers within hooks.timeout_s = {wanted}")),
        None => report.fail("timeout", format!("{file}: `timeout` is no whole number"), init),
    }
}

/// Whether the registered program is this very one; only then is it started.
fn program_is_this(
    event: &str,
    file: &str,
    program: &str,
    pre: bool,
    init: &str,
    report: &mut Report,
) -> bool {
    let path = Path::new(program);
    if !path.is_absolute() {
        report.fail(
            "binary",
            format!("{event} in {file} starts `{program}`, which is no absolute path"),
            init,
        );
        return false;
    }
    match path.metadata() {
        Err(_) => {
            report.fail("binary", format!("{event} in {file} starts {program}, which is not there"), init);
            return false;
        }
        Ok(meta) if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 => {
            report.fail("binary", format!("{event} in {file} starts {program}, which cannot be run"), init);
            return false;
        }
        Ok(_) => {}
    }
    match std::env::current_exe() {
        Ok(own) if same_file(path, &own) => {
            if pre {
                report.ok("binary", format!("{program}, this one"));
            }
            true
        }
        own => {
            let own = own.map(|p| p.display().to_string()).unwrap_or_default();
            let detail = format!(
                "{event} in {file} starts {program}, which is not this program ({own}); it was not tried"
            );
            report.fail("binary", detail, init);
            false
        }
    }
}

/// The same file, or a copy of it.
fn same_file(a: &Path, b: &Path) -> bool {
    let real = |p: &Path| p.canonicalize().ok();
    if real(a).is_some() && real(a) == real(b) {
        return true;
    }
    let size = |p: &Path| p.metadata().map(|m| m.len()).ok();
    size(a).is_some() && size(a) == size(b) && std::fs::read(a).ok() == std::fs::read(b).ok()
}

/// What a started hook left behind.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
}

/// Starts a command, gives it the input and waits. The error says what went wrong.
fn run(mut command: Command, input: &[u8], limit: Duration) -> Result<Ran, String> {
    use std::io::Read as _;
    let begun = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("it does not start: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook that does not read to the end has answered already.
        let _ = stdin.write_all(input);
    }
    let reader = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(pipe) = pipe {
                let _ = pipe.take(1 << 20).read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = reader(child.stdout.take().map(|p| Box::new(p) as _));
    let err = reader(child.stderr.take().map(|p| Box::new(p) as _));
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it did not answer within {} s", limit.as_secs()));
            }
            Err(e) => return Err(e.to_string()),
        }
    };
    let took = begun.elapsed();
    let stdout = out.join().unwrap_or_default();
    let stderr = err.join().unwrap_or_default();
    Ok(Ran { code: status.code(), stdout, stderr, took })
}

fn start(client: &Client, project: &Project, hook: &Found, payload: &[u8]) -> Result<Ran, String> {
    let mut command = match client.form {
        Form::Words => Command::new(hook.program()),
        // As the client does it. The line is, letter for letter, one that `settings` writes.
        Form::Line => Command::new("/bin/sh"),
    };
    match client.form {
        Form::Words => command.args(hook.args()),
        Form::Line => command.arg("-c").arg(hook.entry.text("command").unwrap_or_default()),
    };
    command.current_dir(&project.root);
    run(command, payload, PATIENCE)
}

/// What the client would make of an answer to `pre`.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Allowed,
    Refused(String),
    Fault(String),
    /// Something that lets the call run although it is no agreed answer, or blocks it by accident.
    Odd(String),
}

fn read_answer(client: &Client, ran: &Ran) -> Answer {
    match ran.code {
        Some(0) if ran.stdout.trim().is_empty() && client != &GEMINI => Answer::Allowed,
        Some(0) => {
            let json = Json::parse(ran.stdout.trim().as_bytes(), Bounds::default()).ok();
            let (said, reason) = match client == &GEMINI {
                true => (
                    json.as_ref().and_then(|j| j.text("decision")),
                    json.as_ref().and_then(|j| j.text("reason")),
                ),
                false => {
                    let output = json.as_ref().and_then(|j| j.get("hookSpecificOutput"));
                    let text = |key: &str| output.and_then(|o| o.text(key));
                    (text("permissionDecision"), text("permissionDecisionReason"))
                }
            };
            match said {
                // Codex takes a plain allow for a hook that failed.
                Some("allow") if client != &CODEX => Answer::Allowed,
                None if client == &GEMINI && json == Some(Json::Object(Vec::new())) => Answer::Allowed,
                Some("deny") if reason.is_some_and(|r| !r.is_empty()) => {
                    Answer::Refused(reason.unwrap_or_default().to_owned())
                }
                _ => Answer::Odd("it printed something that is no answer, which lets calls run".to_owned()),
            }
        }
        Some(2) if ran.stderr.trim().is_empty() && client != &CLAUDE_CODE => {
            Answer::Odd("it ended with exit code 2 and no text, which lets calls run".to_owned())
        }
        Some(2) => Answer::Fault(ran.stderr.trim().to_owned()),
        Some(code) => Answer::Odd(format!("it ended with exit code {code}: {}", ran.stderr.trim())),
        None => Answer::Odd("a signal ended it".to_owned()),
    }
}

/// The client's words for what the probe tries.
struct Words {
    pre: &'static str,
    post: &'static str,
    shell: &'static str,
    /// A tool that reads a file, and the member that names it.
    read: (&'static str, &'static str),
}

fn words(client: &Client) -> Words {
    if client == &GEMINI {
        let read = ("read_file", "file_path");
        Words { pre: "BeforeTool", post: "AfterTool", shell: "run_shell_command", read }
    } else {
        let read = if client == &CODEX { ("view_image", "path") } else { ("Read", "file_path") };
        Words { pre: "PreToolUse", post: "PostToolUse", shell: "Bash", read }
    }
}

/// The `code=…` of an answer's first line.
fn code(reason: &str) -> &str {
    reason.split_whitespace().find_map(|w| w.strip_prefix("code=")).unwrap_or("unknown")
}

/// Fires calls through the installed hook.
async fn probe(
    client: &'static Client,
    project: &Project,
    wired: Option<&Wired>,
    pre: &Found,
    usable: &[&Found],
    report: &mut Report,
) {
    let root = project.root_text();
    let words = words(client);
    let doctor = show::command(root, "status");
    let session = format!("doctor-{}", CallId(SystemClock.fresh_id()));
    let book = wired.and_then(|w| w.gate.rulebook());
    let settings = book.as_ref().map(|b| b.settings());
    let watching = settings.is_some_and(|s| s.mode == Mode::Watch);
    let in_force = settings.is_some();
    let call = |tool: &str, input: Json, id: &str| {
        Json::object([
            ("session_id", Json::str(&session)),
            ("cwd", Json::str(root)),
            ("hook_event_name", Json::str(words.pre)),
            ("tool_name", Json::str(tool)),
            ("tool_input", input),
            ("tool_use_id", Json::str(id)),
        ])
        .canonical()
        .into_bytes()
    };
    let bash = |line: &str| (words.shell, Json::object([("command", Json::str(line))]));
    let read = |path: &str| {
        let (tool, member) = words.read;
        (tool, Json::object([(member, Json::str(format!("{root}/{path}")))]))
    };
    // At L0 a shell line asks a person; a probe must not.
    let (tool, input) = if settings.is_some_and(|s| s.level == Level::L0) {
        read("countersign-doctor-probe")
    } else {
        bash("true")
    };
    let shown = if tool == words.shell {
        format!("{tool} `true`")
    } else {
        "reading a file of the project".to_owned()
    };
    let ended = input.clone();
    let halted = match wired {
        Some(wired) => !matches!(wired.store.halt().await, Ok(countersign_core::ledger::Halt::Absent)),
        None => false,
    };
    match start(client, project, pre, &call(tool, input, "doctor-1")) {
        Err(e) => report.fail(
            "harmless call",
            format!("{shown}: {e}; whether the client then blocks the call is said at onFailure"),
            &doctor,
        ),
        Ok(ran) => {
            let ms = ran.took.as_millis();
            match read_answer(client, &ran) {
                Answer::Allowed if halted => report.fail(
                    "harmless call",
                    format!("{shown}: allowed although everything is halted ({ms} ms)"),
                    &doctor,
                ),
                Answer::Allowed => {
                    report.ok("harmless call", format!("{shown}: allowed ({ms} ms)"));
                    finish(client, project, usable, &session, (tool, ended), report);
                }
                Answer::Refused(why) if halted || !in_force => {
                    report.info(
                        "harmless call",
                        format!("{shown}: refused code={} ({ms} ms), as everything is now", code(&why)),
                    );
                }
                Answer::Refused(why) => report.warn(
                    "harmless call",
                    format!("{shown}: refused code={} ({ms} ms)", code(&why)),
                    &doctor,
                ),
                Answer::Fault(why) => report.fail(
                    "harmless call",
                    format!("{shown}: blocked by a fault ({ms} ms): {why}"),
                    &doctor,
                ),
                Answer::Odd(why) => {
                    report.fail("harmless call", format!("{shown}: {why} ({ms} ms)"), &doctor)
                }
            }
        }
    }
    // Self-protection holds in watch mode as well.
    let (tool, input) = read(".countersign/config.toml");
    refused(
        "forbidden call",
        client,
        "reading .countersign/config.toml",
        start(client, project, pre, &call(tool, input, "doctor-2")),
        &doctor,
        report,
    );
    destructive(
        client,
        project,
        wired,
        pre,
        watching,
        &call(words.shell, bash("rm -rf /countersign-doctor-probe").1, "doctor-3"),
        &doctor,
        report,
    )
    .await;
    match start(client, project, pre, b"{") {
        Ok(ran) if ran.code == Some(2) => {
            report.ok("malformed call", format!("blocked with exit code 2 ({} ms)", ran.took.as_millis()))
        }
        Ok(ran) => report.fail("malformed call", format!("not blocked: exit code {:?}", ran.code), &doctor),
        Err(e) => report.fail("malformed call", e, &doctor),
    }
    end(client, project, usable, &session, report);
}

fn refused(
    name: &'static str,
    client: &Client,
    what: &str,
    ran: Result<Ran, String>,
    fix: &str,
    report: &mut Report,
) {
    let ran = match ran {
        Ok(ran) => ran,
        Err(e) => return report.fail(name, format!("{what}: {e}"), fix),
    };
    let ms = ran.took.as_millis();
    match read_answer(client, &ran) {
        Answer::Refused(why) => report.ok(name, format!("{what}: refused code={} ({ms} ms)", code(&why))),
        Answer::Fault(why) => report.fail(name, format!("{what}: blocked by a fault ({ms} ms): {why}"), fix),
        Answer::Allowed => report.fail(name, format!("{what}: ALLOWED ({ms} ms)"), fix),
        Answer::Odd(why) => report.fail(name, format!("{what}: {why} ({ms} ms)"), fix),
    }
}

/// What a hard rule forbids: refused, or in watch mode recorded as what would have been.
#[allow(clippy::too_many_arguments, reason = "a step of the probe, with all that the probe knows")]
async fn destructive(
    client: &Client,
    project: &Project,
    wired: Option<&Wired>,
    pre: &Found,
    watching: bool,
    payload: &[u8],
    fix: &str,
    report: &mut Report,
) {
    const NAME: &str = "destructive call";
    let what = format!("{} `rm -rf /countersign-doctor-probe`", words(client).shell);
    let before = match wired {
        Some(wired) => wired.store.head().await.map(|(seq, _)| seq).ok(),
        None => None,
    };
    let ran = start(client, project, pre, payload);
    let allowed = ran.as_ref().is_ok_and(|r| read_answer(client, r) == Answer::Allowed);
    let (true, true, Some(wired), Some(before)) = (watching, allowed, wired, before) else {
        return refused(NAME, client, &what, ran, fix, report);
    };
    let records = wired.store.records(before, 50).await.unwrap_or_default();
    let would = records.iter().rev().find_map(|r| {
        let json =
            Json::parse(r.body.as_bytes(), Bounds { max_bytes: 32 << 20, ..Bounds::default() }).ok()?;
        let would = json.get("data")?.get("would")?;
        let rules = would.get("matching_rule_ids").and_then(Json::as_array).unwrap_or_default();
        let rules: Vec<&str> = rules.iter().filter_map(Json::as_str).collect();
        (would.text("verdict") != Some("allow")).then(|| rules.join(","))
    });
    match would {
        Some(rules) => report.ok(NAME, format!("{what}: would be refused (watching) rules={rules}")),
        None => report.fail(
            NAME,
            format!("{what}: allowed, and the log does not say that it would be refused"),
            fix,
        ),
    }
}

/// Tells the end of the harmless call, which is how the `post` hook is tried.
fn finish(
    client: &Client,
    project: &Project,
    usable: &[&Found],
    session: &str,
    (tool, input): (&str, Json),
    report: &mut Report,
) {
    let words = words(client);
    let Some(hook) = usable.iter().find(|h| h.event == words.post) else { return };
    let response = if client == &CODEX {
        Json::str("")
    } else if client == &GEMINI {
        Json::object([("llmContent", Json::str("")), ("returnDisplay", Json::str(""))])
    } else {
        Json::object([
            ("stdout", Json::str("")),
            ("stderr", Json::str("")),
            ("interrupted", Json::Bool(false)),
            ("isImage", Json::Bool(false)),
        ])
    };
    let payload = Json::object([
        ("session_id", Json::str(session)),
        ("cwd", Json::str(project.root_text())),
        ("hook_event_name", Json::str(words.post)),
        ("tool_name", Json::str(tool)),
        ("tool_input", input),
        ("tool_response", response),
        ("tool_use_id", Json::str("doctor-1")),
    ]);
    let fix = show::command(project.root_text(), "status");
    match start(client, project, hook, payload.canonical().as_bytes()) {
        Ok(ran) if ran.code == Some(0) && is_nothing(client, &ran) => {
            report.ok("its end", format!("recorded ({} ms)", ran.took.as_millis()));
        }
        Ok(ran) if ran.code == Some(0) => {
            report.fail("its end", "not recorded, so its result was withheld", fix)
        }
        Ok(ran) => report.fail("its end", format!("exit code {:?}: {}", ran.code, ran.stderr.trim()), fix),
        Err(e) => report.fail("its end", e, fix),
    }
}

/// Whether an answer says nothing, in the client's way.
fn is_nothing(client: &Client, ran: &Ran) -> bool {
    ran.stdout.trim() == if client == &GEMINI { "{}" } else { "" }
}

/// Ends the probe's session, so that nothing of it stays open.
fn end(client: &Client, project: &Project, usable: &[&Found], session: &str, report: &mut Report) {
    let Some(hook) = usable.iter().find(|h| h.event == "SessionEnd") else { return };
    let payload = Json::object([
        ("session_id", Json::str(session)),
        ("cwd", Json::str(project.root_text())),
        ("hook_event_name", Json::str("SessionEnd")),
        ("reason", Json::str("other")),
    ]);
    let program = quote(hook.program());
    match start(client, project, hook, payload.canonical().as_bytes()) {
        Ok(ran) if ran.code == Some(0) => {
            report.ok("session end", format!("told ({} ms)", ran.took.as_millis()))
        }
        Ok(ran) => {
            report.fail("session end", format!("exit code {:?}: {}", ran.code, ran.stderr.trim()), program)
        }
        Err(e) => report.fail("session end", e, program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(code: Option<i32>, stdout: &str) -> Ran {
        Ran { code, stdout: stdout.into(), stderr: "why".into(), took: Duration::ZERO }
    }

    #[test]
    fn answers_are_read_as_the_client_reads_them() {
        assert_eq!(read_answer(&CLAUDE_CODE, &ran(Some(0), "")), Answer::Allowed);
        let deny = r#"{"hookSpecificOutput":{"permissionDecision":"deny","permissionDecisionReason":"countersign: refused code=hard rules=x"}}"#;
        assert_eq!(
            read_answer(&CLAUDE_CODE, &ran(Some(0), deny)),
            Answer::Refused("countersign: refused code=hard rules=x".into())
        );
        assert_eq!(code("countersign: refused code=hard rules=x"), "hard");
        assert_eq!(read_answer(&CLAUDE_CODE, &ran(Some(2), "")), Answer::Fault("why".into()));
        for (code, out) in [(Some(0), "{\"hookSpec"), (Some(1), ""), (None, ""), (Some(0), "{}")] {
            assert!(matches!(read_answer(&CLAUDE_CODE, &ran(code, out)), Answer::Odd(_)), "{code:?} {out}");
        }
    }

    /// What lets a call run in the one client is silence in the other.
    #[test]
    fn each_client_reads_answers_its_own_way() {
        let allow = r#"{"hookSpecificOutput":{"permissionDecision":"allow"}}"#;
        assert!(matches!(read_answer(&CODEX, &ran(Some(0), allow)), Answer::Odd(_)));
        assert_eq!(read_answer(&CODEX, &ran(Some(0), "")), Answer::Allowed);
        let unreasoned =
            r#"{"hookSpecificOutput":{"permissionDecision":"deny","permissionDecisionReason":""}}"#;
        assert!(matches!(read_answer(&CODEX, &ran(Some(0), unreasoned)), Answer::Odd(_)));
        assert!(matches!(
            read_answer(&CODEX, &Ran { stderr: String::new(), ..ran(Some(2), "") }),
            Answer::Odd(_)
        ));
        for text in ["{}", r#"{"decision":"allow"}"#] {
            assert_eq!(read_answer(&GEMINI, &ran(Some(0), text)), Answer::Allowed, "{text}");
        }
        let deny = r#"{"decision":"deny","reason":"countersign: refused code=hard_deny"}"#;
        assert_eq!(code("countersign: refused code=hard_deny"), "hard_deny");
        assert!(matches!(read_answer(&GEMINI, &ran(Some(0), deny)), Answer::Refused(_)));
        for text in ["", "ok", allow] {
            assert!(matches!(read_answer(&GEMINI, &ran(Some(0), text)), Answer::Odd(_)), "{text}");
        }
    }

    #[test]
    fn a_forbidden_call_that_is_not_refused_fails() {
        for (said, part) in
            [(ran(Some(0), ""), "ALLOWED"), (ran(Some(1), ""), "exit code 1"), (ran(Some(2), ""), "fault")]
        {
            let mut report = Report::default();
            refused("forbidden call", &CLAUDE_CODE, "x", Ok(said), "", &mut report);
            let check = &report.checks[0];
            assert!(
                check.level == super::super::Level::Fail && check.detail.contains(part),
                "{}",
                check.detail
            );
        }
    }

    #[test]
    fn a_command_that_hangs_is_given_up() {
        let mut sleep = Command::new("sleep");
        sleep.arg("30");
        assert!(run(sleep, b"", Duration::from_millis(50)).is_err_and(|e| e.contains("did not answer")));
        assert!(run(Command::new("/nowhere"), b"", PATIENCE).is_err_and(|e| e.contains("does not start")));
    }
}
