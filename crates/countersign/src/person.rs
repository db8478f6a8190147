//! Proof of a person at the terminal, and the processes that agents run in.
//!
//! A person's verb needs a controlling terminal and an ancestry free of recorded agent processes. A detached child can
//! escape this on a laptop where agent and person are one user; the documentation says so. One small module for what
//! differs by operating system: `/proc` on Linux, `ps` elsewhere.

use countersign_core::ledger::AgentProcess;
use countersign_core::principal::{Approver, Assurance, Principal};

/// A process and its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    started: u64,
}

/// Why a verb that needs a person is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPerson {
    /// There is no terminal.
    #[error("this needs a person at a terminal, and there is none")]
    NoTerminal,
    /// It was started below an agent.
    #[error("this was started from an agent's session (process {0}); use a terminal of your own")]
    BelowAgent(u32),
}

/// Makes the approver that this process speaks for, or says why it speaks for none.
pub fn prove(agents: &[AgentProcess]) -> Result<Approver, NotAPerson> {
    let boot = boot_id();
    let chain = ancestors(std::process::id());
    let agent =
        |p: &Process| agents.iter().any(|a| a.pid == p.pid && a.started == p.started && a.boot == boot);
    if let Some(found) = chain.iter().find(|p| agent(p)) {
        return Err(NotAPerson::BelowAgent(found.pid));
    }
    if !has_terminal() {
        return Err(NotAPerson::NoTerminal);
    }
    Approver::of(&me(), Assurance::Cli).ok_or(NotAPerson::NoTerminal)
}

/// The person this process runs for.
pub fn me() -> Principal {
    Principal::Human { name: user_name() }
}

/// A controlling terminal, whatever standard input is.
pub fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// The name of the OS user: from the password file, else the number.
pub fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    let names = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = names.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| uid.to_string())
}

/// Numeric OS user.
pub fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The process the hook's session runs in: the parent, unless that is a shell started for the hook; none when our own
/// binary started the hook (`doctor`, `demo`).
pub fn session_agent() -> Option<AgentProcess> {
    let mut parent = read(read(std::process::id())?.parent)?;
    if runs_one_line(parent.pid) {
        parent = read(parent.parent)?;
    }
    let own = std::env::current_exe().ok();
    if own.is_some() && executable(parent.pid) == own {
        return None;
    }
    // Process 1 adopts orphans of agents and people alike.
    (parent.pid > 1).then(|| AgentProcess { pid: parent.pid, started: parent.started, boot: boot_id() })
}

/// This process, as the store knows processes.
pub fn this_process() -> Option<AgentProcess> {
    let pid = std::process::id();
    read(pid).map(|p| AgentProcess { pid, started: p.started, boot: boot_id() })
}

/// Whether a process that the store knows still lives. Of another boot none does, and one that only waits for its parent
/// to look at its end does not either.
pub fn lives(process: &AgentProcess) -> bool {
    process.boot == boot_id()
        && read(process.pid).is_some_and(|p| p.started == process.started)
        && !has_ended(process.pid)
}

#[cfg(target_os = "linux")]
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next().map(str::to_owned));
    matches!(state.as_deref(), None | Some("Z" | "X"))
}

#[cfg(not(target_os = "linux"))]
fn has_ended(_pid: u32) -> bool {
    false
}

fn ancestors(pid: u32) -> Vec<Process> {
    let mut chain = Vec::new();
    let mut next = pid;
    // A process tree is shallow; the bound only guards against a table that changes while it is read.
    while next > 0 && chain.len() < 256 {
        let Some(process) = read(next) else { break };
        next = process.parent;
        chain.push(process);
    }
    chain
}

#[cfg(target_os = "linux")]
fn read(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold blanks and parentheses itself: count from the last one.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Process { pid, parent, started })
}

#[cfg(not(target_os = "linux"))]
fn read(pid: u32) -> Option<Process> {
    let out = std::process::Command::new("/bin/ps")
        .args(["-o", "ppid=,lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let (parent, started) = text.trim().split_once(' ')?;
    let digest = countersign_core::digest::Digest::of_bytes("start", started.trim().as_bytes());
    let started = digest.bytes().iter().take(8).fold(0u64, |acc, b| (acc << 8) | u64::from(*b));
    Some(Process { pid, parent: parent.parse().ok()?, started })
}

#[cfg(target_os = "linux")]
fn runs_one_line(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|b| *b == 0).map(String::from_utf8_lossy);
    let program = words.next().unwrap_or_default().into_owned();
    let name = program.rsplit('/').next().unwrap_or_default();
    ["sh", "bash", "dash", "zsh", "ash"].contains(&name) && words.next().is_some_and(|w| w == "-c")
}

#[cfg(not(target_os = "linux"))]
fn runs_one_line(_pid: u32) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn executable(pid: u32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}

#[cfg(not(target_os = "linux"))]
fn executable(_pid: u32) -> Option<std::path::PathBuf> {
    None
}

/// For processes that hold secrets: the system writes no core of them, and other programs of the same user may not look
/// into their memory. Where the system does not do that, it is not done.
pub fn keep_memory_private() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Id of the running boot: a process id and start time mean something within it only.
#[cfg(target_os = "linux")]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Id of the running boot; start times are absolute here, so none is needed.
#[cfg(not(target_os = "linux"))]
pub fn boot_id() -> String {
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_chain_is_read() {
        let chain = ancestors(std::process::id());
        assert!(chain.len() >= 2 && chain[0].pid == std::process::id());
        assert!(chain.iter().all(|p| p.started > 0 || p.pid <= 2));
    }

    /// INV-38: a descendant of a recorded agent process is no person.
    #[test]
    fn below_an_agent_nobody_is_a_person() {
        let parent = ancestors(std::process::id()).remove(1);
        let agent = AgentProcess { pid: parent.pid, started: parent.started, boot: boot_id() };
        assert_eq!(prove(std::slice::from_ref(&agent)), Err(NotAPerson::BelowAgent(parent.pid)));
        let recycled = AgentProcess { started: parent.started + 1, ..agent };
        assert_ne!(prove(&[recycled]), Err(NotAPerson::BelowAgent(parent.pid)));
    }
}
