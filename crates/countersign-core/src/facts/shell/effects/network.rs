//! Hosts that a line talks to, what it sends them, and downloads that are run.

use super::super::programs::{Act, Role};
use super::super::{ShellFacts, Simple, UNKNOWN, code};
use super::{Line, secrets};

/// Programs whose words reach another machine.
pub(super) fn speaks(command: &Simple) -> bool {
    matches!(
        command.program(),
        "curl"
            | "wget"
            | "nc"
            | "ncat"
            | "netcat"
            | "socat"
            | "telnet"
            | "ssh"
            | "scp"
            | "rsync"
            | "sftp"
            | "ftp"
            | "dig"
            | "nslookup"
            | "host"
            | "ping"
            | "http"
            | "https"
            | "xh"
            | "mail"
            | "sendmail"
    )
}

/// The host of an address, of `user@host:path` or of `host`.
fn host(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    (!host.is_empty() && plain).then(|| host.to_lowercase())
}

/// Whether a word of `scp` and `rsync` is on another machine.
pub(super) fn remote(text: &str) -> bool {
    text.contains("://") || text.split('/').next().is_some_and(|first| first.contains(':'))
}

pub(super) fn add(line: &Line<'_>, facts: &mut ShellFacts) {
    for (_, command, act) in line.each() {
        hosts(command, act, facts);
        sends(line, command, act, facts);
        runs_download(line, command, act, facts);
    }
}

fn hosts(command: &Simple, act: &Act, facts: &mut ShellFacts) {
    let program = command.program();
    let words: Vec<&str> = match program {
        "curl" | "wget" => act.args.iter().filter(|a| a.role == Role::Url).map(|a| a.text.as_str()).collect(),
        "nc" | "ncat" | "netcat" | "telnet" | "ssh" | "mosh" => {
            act.operands().filter(|a| a.role == Role::Host).take(1).map(|a| a.text.as_str()).collect()
        }
        "scp" | "rsync" => act.operands().map(|a| a.text.as_str()).filter(|t| remote(t)).collect(),
        "git" => command
            .args()
            .filter(|w| w.contains("://") || (w.contains('@') && w.contains(':') && !w.contains(' ')))
            .collect(),
        _ => Vec::new(),
    };
    facts.network_hosts.extend(words.into_iter().filter_map(host));
}

fn sends(line: &Line<'_>, command: &Simple, act: &Act, facts: &mut ShellFacts) {
    let program = command.program();
    let mut upload = false;
    let mut input = false;
    let mut files: Vec<String> = Vec::new();
    match program {
        "curl" | "wget" => {
            files = act.args.iter().filter(|a| a.role == Role::Sent).map(|a| a.text.clone()).collect();
            upload = !files.is_empty();
            input = files.iter().any(|f| matches!(f.as_str(), "-" | "." | "/dev/stdin"));
            // A value that is not known at its beginning could name a file.
            let data = ["-d", "--data", "--data-binary", "--data-ascii", "--json", "--data-urlencode"];
            let hidden = act.values(&data).any(|a| a.text.starts_with(UNKNOWN));
            let formed = act
                .values(&["-F", "--form"])
                .any(|a| a.text.split_once('=').is_some_and(|(_, v)| v.starts_with(UNKNOWN)));
            if hidden || formed {
                facts.opaque = facts.opaque.or(Some("what is sent is not known"));
            }
            let unknown = act.args.iter().any(|a| {
                a.unknown && (a.role == Role::Url || data.contains(&a.option.as_deref().unwrap_or_default()))
            });
            upload |= unknown && names_secret(line.text);
        }
        "nc" | "ncat" | "netcat" | "socat" | "telnet" | "nc.openbsd" | "nc.traditional" => {
            upload = !act.has(&["-z"]) && !act.has(&["-l"]);
            input = true;
        }
        "scp" | "rsync" | "rcp" => {
            let words: Vec<&str> = act.operands().map(|a| a.text.as_str()).collect();
            if let Some((target, from)) = words.split_last() {
                upload = remote(target) || target.contains(UNKNOWN);
                files = from.iter().map(|f| (*f).to_owned()).collect();
            }
        }
        "ssh" | "mosh" => {
            input = command.piped_from.is_some() || !command.reads.is_empty() || command.fed;
            upload = input;
        }
        "mail" | "mailx" | "sendmail" | "mutt" | "ftp" | "sftp" | "lftp" | "tftp" => {
            upload = true;
            input = true;
            files = command.args().map(str::to_owned).collect();
        }
        "git" if act.name == "git push" => {
            // To an address instead of a remote that somebody set up.
            let address = |t: &str| {
                t.contains("://") || t.starts_with(['/', '.', '~']) || (t.contains('@') && t.contains(':'))
            };
            upload = act.operands().next().is_some_and(|a| address(&a.text));
        }
        "gh" | "aws" | "gsutil" | "rclone" | "az" => {
            files = act
                .args
                .iter()
                .filter(|a| matches!(a.role, Role::Sent | Role::Any))
                .map(|a| a.text.clone())
                .collect();
            let secret = files.iter().any(|f| secrets::precious(f));
            if secret {
                upload = true;
            }
        }
        _ => return,
    }
    if !upload {
        return;
    }
    let own = files.iter().any(|f| secrets::precious(f))
        || command.reads.iter().any(|w| secrets::precious(&w.text));
    let given = input && line.sources(command).iter().any(|(c, a)| secrets::holds_secrets(c, a));
    facts.effects.insert(if own || given { "secret_upload" } else { "file_upload" });
}

/// Whether a line uses a variable that is named like a secret.
fn names_secret(line: &str) -> bool {
    line.split('$').skip(1).any(|rest| {
        let rest = rest.trim_start_matches('{');
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        ["SECRET", "PASSWORD", "PASSWD", "PRIVATE_KEY", "CREDENTIAL"]
            .iter()
            .any(|w| name.to_uppercase().contains(w))
    })
}

/// Names of the files that a line downloads.
fn fetched(line: &Line<'_>) -> Vec<String> {
    let mut out = Vec::new();
    for (_, command, act) in line.each().filter(|(_, c, _)| matches!(c.program(), "curl" | "wget" | "aria2c"))
    {
        let written = act.args.iter().filter(|a| a.role == Role::Write).map(|a| a.text.as_str());
        let addresses = act.args.iter().filter(|a| a.role == Role::Url).map(|a| a.text.as_str());
        let all = written.chain(addresses).chain(command.writes.iter().map(|w| w.text.as_str()));
        out.extend(all.filter_map(|t| t.rsplit('/').next()).filter(|n| !n.is_empty()).map(str::to_owned));
    }
    // What `tee` writes of it.
    out.extend(
        line.each()
            .filter(|(_, c, _)| c.program() == "tee" && c.piped_from.is_some())
            .flat_map(|(_, _, a)| a.operands().map(|a| a.text.clone()).collect::<Vec<_>>()),
    );
    out
}

/// An interpreter that is given what was fetched.
fn runs_download(line: &Line<'_>, command: &Simple, act: &Act, facts: &mut ShellFacts) {
    const RUNS: &[&str] = &[
        "sh",
        "bash",
        "dash",
        "zsh",
        "ksh",
        "ash",
        "fish",
        "python",
        "python3",
        "python2",
        "node",
        "perl",
        "ruby",
        "php",
        "lua",
        "eval",
        "source",
        ".",
        "deno",
        "bun",
        "pwsh",
        "powershell",
        "osascript",
        "tclsh",
        "busybox",
    ];
    let program = command.program();
    // A file that the line has fetched before.
    let first = command.words.first().map(|w| w.text.as_str()).filter(|w| w.contains('/'));
    let named = act.operands().next().map(|a| a.text.as_str()).filter(|_| RUNS.contains(&program));
    let base = |t: &str| t.rsplit('/').next().unwrap_or_default().to_owned();
    if first.into_iter().chain(named).any(|t| !t.is_empty() && fetched(line).contains(&base(t))) {
        facts.effects.insert("download_to_shell");
    }
    if !RUNS.contains(&program) {
        return;
    }
    let fetches =
        |c: &Simple| matches!(c.program(), "curl" | "wget" | "http" | "https" | "xh" | "fetch" | "aria2c");
    if act.name.starts_with("python-m ") || code::takes_data(command) {
        return;
    }
    let piped = line.sources(command).iter().any(|(c, _)| fetches(c));
    let script =
        act.operands().next().is_some_and(|a| a.text.contains(['.', '/']) && !a.text.starts_with("/dev/"));
    // What it runs was said by a command of the line that nobody can read here.
    let unknown = command.words.iter().skip(1).any(|w| w.unknown || w.text.starts_with("/dev/fd/"))
        || command.input.as_ref().is_some_and(|w| w.unknown)
        || command.reads.iter().any(|w| w.text.starts_with("/dev/fd/"));
    if (piped && !script) || (unknown && line.commands.iter().any(fetches)) {
        facts.effects.insert("download_to_shell");
    }
}
