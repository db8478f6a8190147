//! A terminal of its own for a command, for tests of what only a person may do.
//!
//! The command gets a new session whose controlling terminal is a fresh pseudo-terminal, as if someone had opened a
//! window for it. `setsid --ctty` (util-linux) makes the session, because between fork and exec only unsafe code
//! could, and there is none in this house. Output is kept as it comes, line ends as the terminal makes them
//! (`\r\n`) and what is typed echoed. No screen is drawn: escape sequences stay in the text.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A command at its own terminal. Dropping it kills the command and what it started.
pub struct Pty {
    child: Child,
    terminal: File,
    heard: Arc<Heard>,
    /// How much of the output earlier waits have already passed.
    passed: usize,
}

impl Pty {
    /// Starts `command` in the folder `cwd` with exactly the environment `env` (and `PATH` and `TERM`, unless `env`
    /// names them).
    pub fn spawn(command: &[&str], env: &[(&str, &str)], cwd: &Path) -> Self {
        let terminal =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&terminal).expect("granting the terminal");
        unlockpt(&terminal).expect("unlocking the terminal");
        let name = ptsname(&terminal, Vec::new()).expect("the terminal's name");
        let name = name.to_str().expect("a terminal's name is ASCII");
        // NOCTTY: the terminal shall control the new session, not the one of the test.
        let flags = i32::try_from(OFlags::NOCTTY.bits()).expect("a flag of open");
        let side = || {
            let side = OpenOptions::new().read(true).write(true).custom_flags(flags).open(name);
            Stdio::from(side.expect("opening the terminal"))
        };

        let mut setsid = Command::new("setsid");
        setsid.args(["--ctty", "--wait"]).args(command).current_dir(cwd).env_clear();
        setsid.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TERM", "dumb");
        setsid.envs(env.iter().copied()).stdin(side()).stdout(side()).stderr(side());
        let child = setsid.spawn().expect("starting setsid (run: cargo xtask needs)");
        drop(setsid); // holds this process's copies of the command's side, which must close for its end to be seen

        let terminal = File::from(terminal);
        let heard = Arc::new(Heard::default());
        std::thread::spawn({
            let heard = Arc::clone(&heard);
            let mut terminal = terminal.try_clone().expect("a second handle on the terminal");
            move || {
                let mut chunk = [0; 4096];
                // When the last holder of the other side is gone, reading fails with an IO error: that is the end.
                while let Ok(count) = terminal.read(&mut chunk) {
                    let Some(new) = chunk.get(..count).filter(|new| !new.is_empty()) else { break };
                    heard.change(|state| state.bytes.extend_from_slice(new));
                }
                heard.change(|state| state.ended = true);
            }
        });
        Self { child, terminal, heard, passed: 0 }
    }

    /// The command's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `text` appears in output that no earlier wait has passed, and returns the output up to its end.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        let passed = self.passed;
        let found = self.heard.wait(deadline, |state| {
            let new = state.bytes.get(passed..).unwrap_or_default();
            let at = new.windows(text.len().max(1)).position(|window| window == text.as_bytes())?;
            Some(passed + at + text.len())
        });
        match found {
            Some(end) => {
                self.passed = end;
                self.heard.read(|state| shown(state.bytes.get(passed..end).unwrap_or_default()))
            }
            None => panic!("`{text}` did not appear at the terminal; what did:\n{}", self.output()),
        }
    }

    /// Types `text`; `\n` is the return key.
    pub fn send(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).expect("typing at the terminal");
    }

    /// All output so far.
    pub fn output(&self) -> String {
        self.heard.read(|state| shown(&state.bytes))
    }

    /// Waits for the command's end: its exit code (`None` if a signal ended it) and all output.
    pub fn finish(mut self, limit: Duration) -> (Option<i32>, String) {
        let deadline = Instant::now() + limit;
        // The terminal closes when the command and its children are gone, which is a moment before the status is
        // there. A child left in the background may hold it open, so the status is asked for meanwhile as well.
        loop {
            let ended = self.heard.wait(deadline.min(Instant::now() + Duration::from_millis(50)), |state| {
                state.ended.then_some(())
            });
            if let Some(status) = self.child.try_wait().expect("asking for the command's end") {
                if ended.is_none() {
                    self.heard
                        .wait(Instant::now() + Duration::from_millis(500), |state| state.ended.then_some(()));
                }
                return (status.code(), self.output());
            }
            assert!(
                Instant::now() < deadline,
                "still running after {limit:?}; its output:\n{}",
                self.output()
            );
            if ended.is_some() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // The command leads its own session and so its own group.
        if let Ok(None) = self.child.try_wait() {
            let leader = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            let _ = leader.map(|leader| kill_process_group(leader, Signal::KILL));
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

impl Heard {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until `look` finds something; gives up at the deadline, and when nothing more can come.
    fn wait<T>(&self, deadline: Instant, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let found = look(&state);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || state.ended || left.is_zero() {
                return found;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn spawn(script: &str, env: &[(&str, &str)]) -> Pty {
        Pty::spawn(&["sh", "-c", script], env, Path::new("/"))
    }

    #[test]
    fn a_person_is_asked_and_answers() {
        let mut pty = spawn("printf 'sure? '; read answer; echo \"you said $answer\"; exit 7", &[]);
        assert_eq!(pty.wait_for("sure? ", LIMIT), "sure? ");
        pty.send("y\n");
        pty.wait_for("you said y", LIMIT);
        let (code, output) = pty.finish(LIMIT);
        assert_eq!(code, Some(7));
        assert!(output.starts_with("sure? y\r\n"), "{output:?}");
    }

    #[test]
    fn the_terminal_controls_a_session_of_its_own() {
        let script = "test -t 0 && test -t 1 && test -t 2 && echo three; echo four > /dev/tty; \
                      cut -d' ' -f6 /proc/$$/stat; echo \"$$ $HELLO\"";
        let (code, output) = spawn(script, &[("HELLO", "five")]).finish(LIMIT);
        assert_eq!(code, Some(0), "{output}");
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines[..2], ["three", "four"]);
        assert_eq!(lines[3], format!("{} five", lines[2]), "the command leads its session");
    }

    #[test]
    fn dropping_it_ends_the_command() {
        let pty = spawn("echo up; sleep 600", &[]);
        let pid = pty.pid();
        drop(pty);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    #[should_panic(expected = "`never` did not appear at the terminal; what did:\nonly this")]
    fn what_never_comes_is_told_with_what_did() {
        spawn("echo only this", &[]).wait_for("never", LIMIT);
    }
}
