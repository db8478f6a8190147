//! `countersign trust`: what a person accepted of a project, and accepting it anew.

mod servers;

use super::{Context, complain, exit, need_person, refused, remember_root, say};
use crate::rules::{Acceptance, PROJECT_PIN};
use crate::wire::Wired;
use countersign_core::cleanse::{clean_line, clean_text};
use countersign_core::event::{Draft, Event, text, word};
use countersign_core::json::Json;
use countersign_gate::seams::{Pin, PinChange, PinKind};

/// See and accept what arrives with a project: its configuration and rules mean nothing until a person accepts them.
#[derive(clap::Subcommand, Debug)]
pub enum Trust {
    /// Show what is accepted.
    #[command(after_help = "Example:\n  countersign trust list")]
    List,
    /// Accept the project's configuration and policy as they are now, or a server with everything it lists now.
    #[command(after_help = "Example:\n  countersign trust accept project\n  countersign trust accept fs")]
    Accept {
        /// What to accept: `project`, or the name of a server.
        name: String,
        /// Why; recorded.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Do not ask back.
        #[arg(long)]
        yes: bool,
    },
}

impl Trust {
    /// Shows or accepts.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let wired = cx.open().await?;
        match self {
            Trust::List => {
                let word = match &wired.acceptance {
                    Acceptance::Accepted => "accepted",
                    Acceptance::Never => "never accepted",
                    Acceptance::Changed => "changed since it was accepted",
                    Acceptance::Unknown(_) => "unknown",
                };
                let pin = wired.store.pin(PinKind::Project, PROJECT_PIN).await?;
                let digest = pin.map(|p| p.digest.to_string()).unwrap_or_else(|| "-".to_owned());
                let servers = servers::known(&wired).await?;
                if cx.global.json {
                    let project = Json::object([
                        ("acceptance", Json::str(word)),
                        ("digest", Json::str(&digest)),
                        ("root", Json::str(wired.project.root_text())),
                    ]);
                    let servers = servers.iter().map(servers::Known::json).collect();
                    let all = Json::object([("project", project), ("servers", Json::Array(servers))]);
                    say(&all.canonical());
                    return Ok(exit::OK);
                }
                say(&format!("project  {word}  {digest}  {}", wired.project.root_text()));
                for server in &servers {
                    say(&server.line());
                    for line in server.details() {
                        say(&line);
                    }
                }
                Ok(exit::OK)
            }
            Trust::Accept { name, reason, yes } if name == "project" => accept(cx, &wired, reason, yes).await,
            Trust::Accept { name, reason, yes } => {
                servers::accept(&wired, &cx.places, &name, reason, yes).await
            }
        }
    }
}

async fn accept(cx: &Context, wired: &Wired, reason: Option<String>, yes: bool) -> anyhow::Result<u8> {
    let by = match need_person(wired, "trust accept").await {
        Ok(by) => by,
        Err(code) => return Ok(code),
    };
    if wired.settings.is_none()
        || wired.problems.iter().any(|p| p.severity() != Some(miette::Severity::Warning))
    {
        for problem in &wired.problems {
            complain(&format!("{problem:?}"));
        }
        complain("It does not load, so there is nothing to accept yet.");
        return Ok(exit::FAILED);
    }
    let layer = wired.project.read()?;
    let old = wired.store.pin(PinKind::Project, PROJECT_PIN).await?;
    let new = layer.pin();
    if old.as_ref().is_some_and(|o| o.digest == new.digest) {
        say("It is what was accepted already.");
        return Ok(exit::OK);
    }
    complain(&difference(old.as_ref().map_or("", |o| o.text.as_str()), &new.text));
    if let Some(code) = refused(yes, &format!("Accept this for {}?", clean_text(wired.project.root_text())))?
    {
        return Ok(code);
    }
    pin(cx, wired, &by.id(), reason.as_deref(), &new).await?;
    say("Accepted.");
    Ok(exit::OK)
}

/// Pins exactly this text: what a person was shown, or what a command of ours wrote for one. The files are not read
/// again, because whatever came into them meanwhile was seen by nobody; it leaves them different from the pin, and so
/// refuses calls until a person accepts that as well.
pub async fn pin(
    cx: &Context,
    wired: &Wired,
    by: &str,
    reason: Option<&str>,
    new: &Pin,
) -> anyhow::Result<()> {
    let old = wired.store.pin(PinKind::Project, PROJECT_PIN).await?;
    if old.as_ref().is_none_or(|o| o.digest != new.digest) {
        let draft = Draft::new(
            Event::TrustAccepted,
            [
                ("project", text(&clean_line(wired.project.root_text(), 1_024))),
                ("old_digest", old.and_then(|p| word(p.digest))),
                ("new_digest", word(new.digest)),
                ("by", word(by)),
                ("reason", reason.map(|r| clean_line(r, 500)).as_ref().and_then(text)),
            ],
        );
        let pin = PinChange { kind: PinKind::Project, name: PROJECT_PIN.to_owned(), pin: Some(new.clone()) };
        wired.store.set_pins(vec![pin], vec![draft]).await?;
    }
    remember_root(&wired.project, &cx.places)
}

/// Most lines of either side that are compared line by line; the table has their product of cells.
const MAX_COMPARED_LINES: usize = 2_000;
/// Lines that stay, shown around a change so that one sees where it is.
const CONTEXT_LINES: usize = 2;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Same,
    Gone,
    Came,
}

/// What changed from one text to the other, in order, so that a line that moved or stands twice shows: rules and
/// tables mean something else in another place. Nothing in a line stays hidden.
pub fn difference(old: &str, new: &str) -> String {
    // Not `lines`, which drops a carriage return and the last line's end.
    let old: Vec<&str> = old.split('\n').collect();
    let new: Vec<&str> = new.split('\n').collect();
    let all = compare(&old, &new);
    let changed =
        |from: usize, to: usize| all.iter().take(to).skip(from).any(|(mark, _)| *mark != Mark::Same);
    let mut out: Vec<String> = Vec::new();
    let mut skipped = false;
    for (at, (mark, line)) in all.iter().enumerate() {
        let sign = match mark {
            Mark::Gone => '-',
            Mark::Came => '+',
            Mark::Same if changed(at.saturating_sub(CONTEXT_LINES), at + CONTEXT_LINES + 1) => ' ',
            Mark::Same => {
                skipped = true;
                continue;
            }
        };
        if std::mem::take(&mut skipped) {
            out.push("  ...".to_owned());
        }
        out.push(format!("{sign} {}", legible(line)));
    }
    out.join("\n")
}

/// A line as it may be shown. Control characters become visible before cleansing, which would take a terminal
/// sequence away together with the text inside it: right for a message, wrong for what is to be accepted.
fn legible(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_control() && c != '\t' {
            shown.push_str(&format!("<U+{:04X}>", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    clean_text(&shown).to_string()
}

/// The ordered difference: what both begin and end with, and in between by the longest common subsequence. Texts too
/// long for that are shown one after the other, which hides nothing either.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Mark, &'a str)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (begin, old) = old.split_at(head.min(old.len()));
    let new = new.get(head..).unwrap_or_default();
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, end) = old.split_at(old.len().saturating_sub(tail));
    let new = new.get(..new.len().saturating_sub(tail)).unwrap_or_default();
    let marked = |mark: Mark, lines: &[&'a str]| lines.iter().map(|l| (mark, *l)).collect::<Vec<_>>();

    let mut out = marked(Mark::Same, begin);
    if old.len() > MAX_COMPARED_LINES || new.len() > MAX_COMPARED_LINES {
        out.extend(marked(Mark::Gone, old));
        out.extend(marked(Mark::Came, new));
    } else {
        out.extend(by_subsequence(old, new));
    }
    out.extend(marked(Mark::Same, end));
    out
}

fn by_subsequence<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Mark, &'a str)> {
    // `longest[i * width + j]`: of what is left from line i of the old and line j of the new text on.
    let width = new.len() + 1;
    let mut longest = vec![0u16; (old.len() + 1) * width];
    let cell = |table: &[u16], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let length = if a == b {
                cell(&longest, i + 1, j + 1) + 1
            } else {
                cell(&longest, i + 1, j).max(cell(&longest, i, j + 1))
            };
            if let Some(place) = longest.get_mut(i * width + j) {
                *place = length;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::with_capacity(old.len() + new.len());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                out.push((Mark::Same, *a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || cell(&longest, i + 1, j) >= cell(&longest, i, j + 1) => {
                out.push((Mark::Gone, *a));
                i += 1;
            }
            (_, Some(b)) => {
                out.push((Mark::Came, *b));
                j += 1;
            }
            _ => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_and_doubled_lines_show() {
        assert_eq!(difference("a\nb\nc", "b\nc\na"), "- a\n  b\n  c\n+ a");
        assert_eq!(difference("a\nb", "a\nb\nb"), "  a\n  b\n+ b");
        assert_eq!(difference("", "a\nb"), "- \n+ a\n+ b");
        assert_eq!(difference("1\n2\n3\n4\n5\nx", "1\n2\n3\n4\n5\ny"), "  ...\n  4\n  5\n- x\n+ y");
    }

    /// Only the end of a line, or of the text, is a difference too.
    #[test]
    fn line_ends_show() {
        assert_eq!(difference("a\nb", "a\r\nb"), "- a\n+ a<U+000D>\n  b");
        assert_eq!(difference("a", "a\n"), "  a\n+ ");
    }

    #[test]
    fn nothing_stays_hidden() {
        let shown = difference("a", "a\u{200b}\u{1b}]0;inside\u{7}\u{9b}2J\u{202e}");
        assert_eq!(shown, "- a\n+ a<U+200B><U+001B>]0;inside<U+0007><U+009B>2J<U+202E>");
    }

    /// Long texts are not compared, but shown whole: both ways every line is there.
    #[test]
    fn texts_too_long_are_shown_whole() {
        let text = |from: usize| {
            (from..from + MAX_COMPARED_LINES + 1).map(|n| n.to_string() + "\n").collect::<String>()
        };
        let (old, new) = (text(0), text(1));
        let shown = compare(&old.split('\n').collect::<Vec<_>>(), &new.split('\n').collect::<Vec<_>>());
        let of = |mark: Mark| {
            shown
                .iter()
                .filter(|(m, _)| *m == mark || *m == Mark::Same)
                .map(|(_, l)| *l)
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!((of(Mark::Gone), of(Mark::Came)), (old, new));
    }
}
