//! P-7: paths mean files. A generator of spellings, and the system itself as the judge of what each one opens: device
//! and inode of the file behind it. Whatever opens a blocked file must be refused, whoever asks for it and however.

use super::common::*;
use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::facts::shell::quote;
use countersign_core::ids::CallId;
use countersign_core::json::Json;
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::settings::RuleSettings;
use countersign_gate::seams::Clock;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

/// Random choices from a seed, the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }
}

/// A project full of ways round: links to folders, to files, upwards, in chains, dangling, from outside.
struct Maze {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Maze {
    fn new() -> Maze {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let root = base.join("my shop");
        for dir in ["sub/deep", ".countersign/policy", "caf\u{e9}", "home"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        for file in [
            ".env",
            ".env.local",
            ".env.example",
            "sub/.env",
            "notes.txt",
            "sub/environment",
            "caf\u{e9}/.env",
            ".countersign/config.toml",
            ".countersign/policy/soft.cedar",
        ] {
            std::fs::write(root.join(file), file).unwrap();
        }
        for (link, target) in [
            ("into", "sub"),
            ("here", "."),
            ("up", ".."),
            ("sub/back", ".."),
            ("sub/deep/top", "../../here"),
            ("e", ".env"),
            ("sub/e2", "../e"),
            ("chain", "sub/e2"),
            ("n", "notes.txt"),
            ("ours", ".countersign"),
            ("new", ".env.new"),
            ("sub/new-folder", "../.countersign/hooks"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(&root, base.join("elsewhere")).unwrap();
        symlink("/", root.join("everything")).unwrap();
        symlink(root.join(".env"), root.join("absolute")).unwrap();
        Maze { _folder: folder, root }
    }

    /// The files that no agent may open, by what they are.
    fn closed(&self) -> BTreeMap<(u64, u64), &'static str> {
        [
            ".env",
            ".env.local",
            "sub/.env",
            "caf\u{e9}/.env",
            ".countersign/config.toml",
            ".countersign/policy/soft.cedar",
        ]
        .into_iter()
        .map(|name| (identity(&self.root.join(name)).unwrap(), name))
        .collect()
    }

    /// A way to something in the maze, as a person or a program might spell it.
    fn spelling(&self, dice: &mut Dice) -> String {
        let goal = dice.one(&[
            ".env",
            ".env.local",
            ".env.example",
            "sub/.env",
            "e",
            "chain",
            "sub/e2",
            "absolute",
            "notes.txt",
            "n",
            "sub/environment",
            "caf\u{e9}/.env",
            ".countersign/config.toml",
            "ours/policy/soft.cedar",
            ".env.new",
            "new",
            ".env.staging",
            "sub/new-folder/x",
            ".countersign/hooks/y",
        ]);
        let mut way: Vec<String> = goal.split('/').map(str::to_owned).collect();
        for _ in 0..dice.roll(6) {
            let place = dice.roll(way.len());
            let at_top = place == 0;
            let detour: &[&str] = match dice.roll(9) {
                0 => &["."],
                1 => &[""],
                2 if at_top => &["sub", ".."],
                3 if at_top => &["into", ".."],
                4 if at_top => &["here"],
                5 if at_top => &["sub", "back"],
                6 if at_top => &["sub", "deep", "top"],
                7 if at_top => &["up", "my shop"],
                8 if at_top => &["missing", ".."],
                _ => &["."],
            };
            way.splice(place..place, detour.iter().map(|s| (*s).to_owned()));
        }
        let root = self.root.to_str().unwrap();
        let relative = way.join("/");
        match dice.roll(7) {
            0 => format!("{root}/{relative}"),
            1 => format!("//{root}//{relative}"),
            2 => format!("{}/elsewhere/{relative}", self.root.parent().unwrap().display()),
            3 => format!("everything{root}/{relative}"),
            4 => format!("../my shop/{relative}"),
            5 => format!("./{relative}"),
            // An empty first part would make it absolute.
            _ => relative.trim_start_matches('/').to_owned(),
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// What would be opened: the file that is there, or the one that would be made, as its folder and name.
fn opens(path: &Path) -> Option<(Option<(u64, u64)>, PathBuf)> {
    if let Some(id) = identity(path) {
        return Some((Some(id), PathBuf::new()));
    }
    let mut path = path.to_owned();
    // A dangling link is made where it points to.
    for _ in 0..8 {
        match std::fs::read_link(&path) {
            Ok(target) => path = path.parent()?.join(target),
            Err(_) => break,
        }
    }
    let folder = path.parent()?.canonicalize().ok()?;
    Some((None, folder.join(path.file_name()?)))
}

/// Percent-encodes some characters, some of them twice.
fn encoded(text: &str, dice: &mut Dice) -> String {
    let mut out = String::new();
    for c in text.chars() {
        // A separator that stays encoded is refused for that alone.
        match dice.roll(4) {
            0 if c.is_ascii() && c != '/' => out.push_str(&format!("%{:02x}", c as u32)),
            1 if c.is_ascii() && c != '/' => out.push_str(&format!("%25{:02X}", c as u32)),
            _ => out.push(c),
        }
    }
    out
}

/// GINV-38, GINV-40.
#[tokio::test]
async fn every_spelling_of_a_blocked_file_is_blocked() {
    let world = World::new().await;
    let maze = Maze::new();
    let root = maze.root.to_str().unwrap();
    let gate =
        world.gate_with(load(Vec::new(), RuleSettings::defaults(root, &[], Some(&format!("{root}/home")))));
    let closed = maze.closed();
    let count: usize =
        std::env::var("COUNTERSIGN_SPELLINGS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_500);
    let mut dice = Dice(7);
    let (mut blocked, mut passed, mut misses, mut over) = (0, 0, Vec::new(), Vec::new());
    for turn in 0..count {
        let spelled = maze.spelling(&mut dice);
        let path = maze.root.join(&spelled);
        let opened = opens(&path);
        let text = Json::str(&spelled);
        let (tool, args, writes) = match dice.roll(7) {
            0 => ("Read", Json::object([("file_path", text)]), false),
            1 => ("Write", Json::object([("file_path", text), ("content", Json::str("x"))]), true),
            2 => ("Bash", Json::object([("command", Json::str(format!("cat {}", quote(&spelled))))]), false),
            3 => (
                "Bash",
                Json::object([("command", Json::str(format!("echo x >> {}", quote(&spelled))))]),
                true,
            ),
            4 => (
                "Bash",
                Json::object([("command", Json::str(format!("cp {} /tmp/x", quote(&spelled))))]),
                false,
            ),
            5 => (
                "mcp__fs__read_file",
                Json::object([("path", Json::str(encoded(&spelled, &mut dice)))]),
                false,
            ),
            _ => (
                "mcp__fs__edit",
                Json::object([("uri", Json::str(format!("file://{}", path.display())))]),
                true,
            ),
        };
        let call = ToolCall::new(CallParts {
            call_id: CallId(world.clock.fresh_id()),
            door: Door::Hook,
            principal: Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: None },
            session: Session { client: Client::ClaudeCode, id: format!("s{}", turn / 40) },
            agent_id: None,
            tool_use_id: None,
            tool: tool.to_owned(),
            args,
            cwd: Some(root.to_owned()),
            joins: None,
            served: None,
        })
        .unwrap();
        let answered = gate.judge(&call, AT_ONCE, None).await;
        let refused = !allowed(&answered) && code(&answered) == "blocked_path";
        let must = match opened {
            Some((Some(id), _)) => closed.contains_key(&id),
            Some((None, made)) => {
                let name = made.file_name().unwrap_or_default().to_string_lossy().into_owned();
                // Reading what is not there opens nothing.
                writes && (name.starts_with(".env.") || made.starts_with(maze.root.join(".countersign")))
            }
            None => false,
        };
        match (must, refused) {
            (true, true) => blocked += 1,
            (true, false) => misses.push(format!("{tool} {spelled}: {}", answered.reason)),
            (false, false) => passed += 1,
            (false, true) => over.push(spelled),
        }
    }
    println!(
        "{count} spellings: {blocked} blocked, {passed} passed, {} refused for what they only might open",
        over.len()
    );
    assert!(misses.is_empty(), "{} misses: {:#?}", misses.len(), &misses[..misses.len().min(20)]);
    assert!(blocked > count / 4 && passed > count / 20, "a generator that shows nothing");
    // What opens nothing closed is refused for its name, or because a program that shortens paths by their text would
    // open something; a plain file never.
    let names = [".env", "countersign", "ours", "new", "missing"];
    let plain: Vec<&String> = over.iter().filter(|s| !names.iter().any(|n| s.contains(n))).collect();
    assert!(plain.is_empty(), "{plain:#?}");
}
