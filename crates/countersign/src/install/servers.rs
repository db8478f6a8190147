//! The MCP servers that a client has in a project: putting the gate in front of each, and taking it away again.
//!
//! A server on standard streams keeps its entry; only its command becomes ours, with the old one behind `--`, so that
//! whoever reads the file sees what runs, and undoing needs nothing else. Servers in the user's own files are left alone.

use super::clients::Client;
use super::settings;
use anyhow::Context as _;
use countersign_core::json::Json;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use toml_edit::{DocumentMut, Item, TableLike, Value};

/// What our entries begin with, and how the gate is asked for.
pub struct Wanted<'a> {
    /// Absolute path of our binary.
    pub program: &'a str,
    /// Root of the project.
    pub root: &'a str,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Wrapped {
    /// The file's text then; `None` when nothing changes.
    pub text: Option<Vec<u8>>,
    /// Servers behind the gate.
    pub behind: Vec<String>,
    /// Servers that are not, and why.
    pub beside: Vec<(String, &'static str)>,
}

/// One entry as both forms of file have it.
struct Launch {
    command: String,
    args: Vec<String>,
    /// Its environment would be the gate's, and the gate would look for its own state and configuration elsewhere.
    moves: bool,
}

/// Whether a variable says where the gate finds what is its user's, or what is loaded into it.
fn moves(name: &str) -> bool {
    matches!(name, "HOME" | "XDG_CONFIG_HOME" | "XDG_STATE_HOME" | "XDG_DATA_HOME")
        || name.starts_with("LD_")
        || name.starts_with("DYLD_")
}

impl Launch {
    /// The command behind ours, if the entry is ours.
    fn inner(&self) -> Option<Launch> {
        let ours = self.is_called_ours();
        let at = self.args.iter().position(|a| a == "--")?;
        let gate = self.args.first().is_some_and(|a| a == "mcp");
        let mut rest = self.args.get(at + 1..)?.iter().cloned();
        let command = rest.next().filter(|_| ours && gate)?;
        Some(Launch { command, args: rest.collect(), moves: self.moves })
    }

    fn is_called_ours(&self) -> bool {
        self.command.rsplit('/').next() == Some("countersign")
    }

    /// A program of the project, which may be called anything.
    fn is_of_project(&self, root: &str) -> bool {
        let path = Path::new(&self.command);
        let plain = || path.components().all(|part| part != std::path::Component::ParentDir);
        self.command.contains('/') && !(path.is_absolute() && plain() && !path.starts_with(root))
    }

    fn behind(&self, name: &str, wanted: &Wanted<'_>) -> Launch {
        let own = self.inner();
        let inner = own.as_ref().unwrap_or(self);
        let gate = ["mcp", "--project", wanted.root, "--server", name, "--"].map(str::to_owned);
        let args = gate.into_iter().chain([inner.command.clone()]).chain(inner.args.iter().cloned());
        Launch { command: wanted.program.to_owned(), args: args.collect(), moves: self.moves }
    }
}

/// Whether the gate can know a server by the client's name of it: hooks name its tools by that.
pub fn name_fits(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        // Otherwise it would not be told from its tools' names (`mcp__<server>__<tool>`).
        && !name.contains("__")
        && !name.starts_with('_')
        && !name.ends_with('_')
        && name != "countersign"
}

const NO_COMMAND: &str = "it is not started on standard streams; HTTP servers come later";
const NO_NAME: &str = "its name cannot be used; letters, digits, dashes and single underscores can";
const OWN: &str = "it is the gate already";
const MOVES: &str = "its `env` would move the gate's own folders or load something into it; put such variables behind `env` in its command";
const LOOKS: &str = "it runs a program of the project that is called like the gate";
const OTHER: &str = "it runs the gate of another project";
const NOT_YET: &str = "it is started without the gate";

/// What is to be done with one entry: another launch, or why not.
fn change(name: &str, launch: Option<Launch>, wanted: &Wanted<'_>) -> Result<Launch, &'static str> {
    let launch = launch.ok_or(NO_COMMAND)?;
    if launch.moves {
        return Err(MOVES);
    }
    // Somebody's own `countersign mcp` without a command behind it.
    let foreign = launch.command != wanted.program && launch.is_of_project(wanted.root);
    if launch.is_called_ours() && launch.inner().is_none() && !foreign {
        return Err(OWN);
    }
    if name_fits(name) { Ok(launch.behind(name, wanted)) } else { Err(NO_NAME) }
}

fn json_launch(entry: &Json) -> Option<Launch> {
    // A client that finds both may well take the address, and a command of ours would then stand there unused.
    let remote = entry.get("url").is_some() || entry.get("httpUrl").is_some();
    if remote || entry.get("type").is_some_and(|t| t.as_str() != Some("stdio")) {
        return None;
    }
    let args = match entry.get("args") {
        None => Vec::new(),
        Some(args) => {
            args.as_array()?.iter().map(|a| a.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
    };
    let env = entry.get("env").and_then(Json::as_object).unwrap_or_default();
    let moves = env.iter().any(|(name, _)| moves(name));
    Some(Launch { command: entry.text("command")?.to_owned(), args, moves })
}

/// Changes each entry of `mcpServers`. `by` gives another launch or leaves it.
fn each_json(json: &mut Json, mut by: impl FnMut(&str, Option<Launch>) -> Option<Launch>) {
    let Some(Json::Object(servers)) = json.get_mut("mcpServers") else { return };
    for (name, entry) in servers {
        if let Some(launch) = by(name, json_launch(entry)) {
            entry.set("command", Json::str(launch.command));
            // An entry without arguments had none to begin with.
            match launch.args.is_empty() && entry.get("args").is_none() {
                true => {}
                false => entry.set("args", Json::strings(&launch.args)),
            }
        }
    }
}

/// Puts the gate in front of the servers of a JSON file.
pub fn wrap_json(json: &Json, wanted: &Wanted<'_>) -> (Json, Wrapped) {
    let (mut out, mut wrapped) = (json.clone(), Wrapped::default());
    each_json(&mut out, |name, launch| match change(name, launch, wanted) {
        Ok(launch) => {
            wrapped.behind.push(name.to_owned());
            Some(launch)
        }
        Err(why) => {
            wrapped.beside.push((name.to_owned(), why));
            None
        }
    });
    if out != *json {
        wrapped.text = Some(settings::write(&out));
    }
    (out, wrapped)
}

/// Takes the gate away again; `None` when it stands in front of none.
pub fn unwrap_json(json: &Json) -> Option<Json> {
    let mut out = json.clone();
    each_json(&mut out, |_, launch| launch?.inner());
    (out != *json).then_some(out)
}

fn toml_launch(entry: &dyn TableLike) -> Option<Launch> {
    if entry.get("url").is_some() {
        return None;
    }
    let args = match entry.get("args") {
        None => Vec::new(),
        Some(args) => {
            args.as_array()?.iter().map(|a| a.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
    };
    let env = entry.get("env").and_then(Item::as_table_like);
    let moves = env.is_some_and(|env| env.iter().any(|(name, _)| moves(name)));
    Some(Launch { command: entry.get("command")?.as_str()?.to_owned(), args, moves })
}

/// A key that is there keeps its comments, also the one behind its value.
fn put(entry: &mut dyn TableLike, key: &str, mut value: Item) {
    match entry.get_mut(key) {
        Some(item) => {
            if let (Some(old), Some(new)) = (item.as_value(), value.as_value_mut()) {
                *new.decor_mut() = old.decor().clone();
            }
            *item = value;
        }
        None => {
            entry.insert(key, value);
        }
    }
}

/// The same for `[mcp_servers.NAME]`; comments and order stay.
fn each_toml(document: &mut DocumentMut, mut by: impl FnMut(&str, Option<Launch>) -> Option<Launch>) -> bool {
    let mut changed = false;
    let servers = document.get_mut("mcp_servers").and_then(Item::as_table_like_mut);
    let Some(servers) = servers else { return false };
    for (name, item) in servers.iter_mut() {
        let Some(entry) = item.as_table_like_mut() else { continue };
        let Some(launch) = by(name.get(), toml_launch(entry)) else { continue };
        let mut args = toml_edit::Array::new();
        launch.args.iter().for_each(|arg| args.push(arg.as_str()));
        let same = toml_launch(entry).is_some_and(|l| l.command == launch.command && l.args == launch.args);
        if !same {
            put(entry, "command", toml_edit::value(launch.command));
            if !(launch.args.is_empty() && entry.get("args").is_none()) {
                put(entry, "args", Item::Value(Value::Array(args)));
            }
            changed = true;
        }
    }
    changed
}

/// Puts the gate in front of the servers of a TOML file.
pub fn wrap_toml(text: &str, wanted: &Wanted<'_>) -> anyhow::Result<Wrapped> {
    let mut document: DocumentMut = text.parse().context("it is not TOML that can be read")?;
    let mut wrapped = Wrapped::default();
    let changed = each_toml(&mut document, |name, launch| match change(name, launch, wanted) {
        Ok(launch) => {
            wrapped.behind.push(name.to_owned());
            Some(launch)
        }
        Err(why) => {
            wrapped.beside.push((name.to_owned(), why));
            None
        }
    });
    wrapped.text = changed.then(|| document.to_string().into_bytes());
    Ok(wrapped)
}

/// A client's file with the gate taken away again; `None` when it stands in front of nothing in it.
pub fn unwrap(client: &Client, bytes: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    if client.servers.is_some_and(|f| f.ends_with(".toml")) {
        let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
        let mut document: DocumentMut = text.parse().context("it is not TOML that can be read")?;
        let changed = each_toml(&mut document, |_, launch| launch?.inner());
        return Ok(changed.then(|| document.to_string().into_bytes()));
    }
    Ok(unwrap_json(&settings::read(bytes)?).map(|json| settings::write(&json)))
}

/// Puts the gate in front of the servers of a client's file.
pub fn wrap(client: &Client, bytes: &[u8], wanted: &Wanted<'_>) -> anyhow::Result<Wrapped> {
    if client.servers.is_some_and(|f| f.ends_with(".toml")) {
        return wrap_toml(std::str::from_utf8(bytes).context("it is not UTF-8")?, wanted);
    }
    Ok(wrap_json(&settings::read(bytes)?, wanted).1)
}

/// A server of a client's file, and why it is not behind the gate if it is not.
pub type Standing = (String, Result<(), &'static str>);

/// Where the servers of a file stand. With a root the gate must be that project's; the user's own files serve all.
pub fn standing(is_toml: bool, bytes: &[u8], root: Option<&str>) -> anyhow::Result<Vec<Standing>> {
    let mut out = Vec::new();
    let mut look = |name: &str, launch: Option<Launch>| {
        out.push((name.to_owned(), place(name, launch, root)));
        None
    };
    if is_toml {
        let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
        let mut document: DocumentMut = text.parse().context("it is not TOML that can be read")?;
        each_toml(&mut document, look);
    } else {
        let mut json = settings::read(bytes)?;
        each_json(&mut json, &mut look);
        // Claude Code keeps what a user added for one folder in the user's own file.
        let folders = json.get_mut("projects").zip(root);
        if let Some(own) = folders.and_then(|(all, root)| all.get_mut(root)) {
            each_json(own, &mut look);
        }
    }
    Ok(out)
}

/// Whether `init` would put such a server behind the gate.
pub fn init_helps(why: &str) -> bool {
    [NOT_YET, OTHER, LOOKS].contains(&why)
}

fn place(name: &str, launch: Option<Launch>, root: Option<&str>) -> Result<(), &'static str> {
    let launch = launch.ok_or(NO_COMMAND)?;
    if launch.moves {
        return Err(MOVES);
    }
    let own = std::env::current_exe().ok().is_some_and(|own| own == Path::new(&launch.command));
    if launch.is_called_ours() && !own && root.is_some_and(|root| launch.is_of_project(root)) {
        return Err(LOOKS);
    }
    if launch.is_called_ours() && launch.args.iter().any(|a| a == "mcp") {
        let named = launch.args.iter().skip_while(|a| *a != "--project").nth(1);
        // Without a name it is the gate of the folder that the client runs in.
        return match named.zip(root) {
            Some((named, root)) if named != root => Err(OTHER),
            _ => Ok(()),
        };
    }
    Err(if name_fits(name) { NOT_YET } else { NO_NAME })
}

/// Whether git keeps a file of the project: an absolute path of ours in it would be everybody's. The index is searched
/// for the name, and no program is run. Where that cannot tell, it is taken for kept: `--shared` still is a way.
pub fn is_tracked(root: &Path, path: &str) -> bool {
    // The repository may begin above the project.
    for folder in root.ancestors() {
        let git = folder.join(".git");
        let Ok(meta) = git.metadata() else { continue };
        let Ok(below) = root.join(path).strip_prefix(folder).map(Path::to_owned) else { return true };
        // In a second worktree it is a file that names the folder.
        let dir = if meta.is_file() {
            let text = std::fs::read_to_string(&git).unwrap_or_default();
            let Some(named) = text.trim().strip_prefix("gitdir:") else { return true };
            folder.join(named.trim())
        } else {
            git
        };
        return in_index(&dir, below.as_os_str().as_bytes());
    }
    false
}

fn in_index(dir: &Path, name: &[u8]) -> bool {
    let index = match std::fs::read(dir.join("index")) {
        Ok(bytes) => bytes,
        Err(e) => return e.kind() != std::io::ErrorKind::NotFound,
    };
    // Version 4 leaves out what a name shares with the one before it.
    if index.get(4..8) == Some(&[0, 0, 0, 4]) {
        return true;
    }
    let holds = |bytes: &[u8]| bytes.windows(name.len()).any(|w| w == name);
    // A split index has most of its names in another file.
    let others = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut shared = others.filter(|f| f.file_name().as_bytes().starts_with(b"sharedindex."));
    holds(&index) || shared.any(|f| std::fs::read(f.path()).map_or(true, |bytes| holds(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::clients::{CLAUDE_CODE, CODEX};
    use super::*;

    const WANTED: Wanted<'_> = Wanted { program: "/opt/countersign", root: "/shop" };

    #[test]
    fn entries_of_json_keep_everything_else() {
        let text = r#"{"mcpServers":{"fs":{"command":"npx","args":["-y","fs"],"env":{"A":"1"}},"bare":{"command":"x"},"web":{"url":"https://e"},"a__b":{"command":"y"}},"n":1.0}"#;
        let json = settings::read(text.as_bytes()).unwrap();
        let (out, wrapped) = wrap_json(&json, &WANTED);
        let fs = out.get("mcpServers").unwrap().get("fs").unwrap();
        assert_eq!(
            fs.canonical(),
            r#"{"args":["mcp","--project","/shop","--server","fs","--","npx","-y","fs"],"command":"/opt/countersign","env":{"A":"1"}}"#
        );
        assert_eq!(wrapped.behind, ["fs", "bare"]);
        let beside: Vec<&str> = wrapped.beside.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(beside, ["web", "a__b"]);
        assert!(wrap_json(&out, &WANTED).1.text.is_none(), "twice is once");
        let moved = Wanted { program: "/usr/bin/countersign", root: "/shop" };
        let (again, _) = wrap_json(&out, &moved);
        let args =
            again.get("mcpServers").unwrap().get("fs").unwrap().get("args").unwrap().as_array().unwrap();
        assert_eq!(args.len(), 9, "never behind itself");
        let back = unwrap_json(&out).unwrap();
        assert_eq!(back.get("mcpServers").unwrap().get("fs"), json.get("mcpServers").unwrap().get("fs"));
        assert!(unwrap_json(&json).is_none());
    }

    #[test]
    fn what_is_not_on_standard_streams_is_left() {
        let text = r#"{"mcpServers":{"a":{"command":"x","url":"https://e"},"b":{"command":"x","type":"http"},"c":{"httpUrl":"https://e"},"d":{"type":"stdio","command":"x"},"e":{"command":"x","args":[1]}}}"#;
        let (_, wrapped) = wrap_json(&settings::read(text.as_bytes()).unwrap(), &WANTED);
        assert_eq!(wrapped.behind, ["d"]);
        assert_eq!(wrapped.beside.len(), 4);
        let text = "[mcp_servers.a]\ncommand = \"x\"\nurl = \"https://e\"\n";
        assert!(wrap(&CODEX, text.as_bytes(), &WANTED).unwrap().text.is_none());
    }

    /// What a repository brings along is not the gate because it is called so.
    #[test]
    fn a_program_of_the_project_is_not_the_gate() {
        for command in ["./tools/countersign", "/shop/tools/countersign", "/x/../shop/countersign"] {
            let text = format!(r#"{{"mcpServers":{{"a":{{"command":"{command}","args":["mcp"]}}}}}}"#);
            let json = settings::read(text.as_bytes()).unwrap();
            let (out, wrapped) = wrap_json(&json, &WANTED);
            assert_eq!(wrapped.behind, ["a"], "{command}");
            assert!(wrap_json(&out, &WANTED).1.text.is_none(), "twice is once");
            assert_eq!(unwrap_json(&out), Some(json));
            let found = standing(false, text.as_bytes(), Some("/shop")).unwrap();
            assert_eq!(found, [("a".to_owned(), Err(LOOKS))], "{command}");
        }
    }

    /// The gate runs in its entry's environment.
    #[test]
    fn an_entry_that_moves_the_gate_is_told_of() {
        for name in ["XDG_CONFIG_HOME", "HOME", "LD_PRELOAD"] {
            let text = format!(r#"{{"mcpServers":{{"a":{{"command":"x","env":{{"{name}":"./y"}}}}}}}}"#);
            let (_, wrapped) = wrap_json(&settings::read(text.as_bytes()).unwrap(), &WANTED);
            assert_eq!(wrapped.beside, [("a".to_owned(), MOVES)]);
            let toml = format!(
                "[mcp_servers.a]\ncommand = \"/opt/countersign\"\nargs = [\"mcp\", \"--project\", \"/shop\", \"--\", \"x\"]\nenv = {{ {name} = \"./y\" }}\n"
            );
            assert_eq!(
                standing(true, toml.as_bytes(), Some("/shop")).unwrap(),
                [("a".to_owned(), Err(MOVES))]
            );
        }
    }

    #[test]
    fn a_comment_behind_a_value_stays() {
        let text = "[mcp_servers.fs]\ncommand = \"npx\" # why\nargs = [\"fs\"] # which\n";
        let new = String::from_utf8(wrap(&CODEX, text.as_bytes(), &WANTED).unwrap().text.unwrap()).unwrap();
        assert!(new.contains("# why") && new.contains("# which"), "{new}");
        assert_eq!(unwrap(&CODEX, new.as_bytes()).unwrap().unwrap(), text.as_bytes());
    }

    #[test]
    fn servers_stand_behind_the_gate_of_this_project_or_not() {
        let text = r#"{"mcpServers":{"in":{"command":"/b/countersign","args":["mcp","--project","/shop","--","x"]},"other":{"command":"countersign","args":["mcp","--project","/else","--","x"]},"all":{"command":"countersign","args":["mcp"]},"bare":{"command":"x"},"web":{"url":"u"},"a__b":{"command":"x"}},"projects":{"/shop":{"mcpServers":{"mine":{"command":"x"}}},"/else":{"mcpServers":{"no":{"command":"x"}}}}}"#;
        let found = standing(false, text.as_bytes(), Some("/shop")).unwrap();
        let of = |name: &str| found.iter().find(|(n, _)| n == name).unwrap().1;
        assert_eq!((of("in"), of("all")), (Ok(()), Ok(())));
        assert_eq!((of("other"), of("bare"), of("mine")), (Err(OTHER), Err(NOT_YET), Err(NOT_YET)));
        assert_eq!((of("web"), of("a__b")), (Err(NO_COMMAND), Err(NO_NAME)));
        assert_eq!(found.len(), 7, "other folders' servers are not this project's");
    }

    #[test]
    fn git_s_index_is_looked_at_from_wherever_the_project_lies() {
        let folder = tempfile::tempdir().unwrap();
        let (top, root) = (folder.path().join("top"), folder.path().join("top/shop"));
        std::fs::create_dir_all(top.join(".git")).unwrap();
        std::fs::create_dir_all(&root).unwrap();
        let index = |at: &Path, bytes: &[u8]| std::fs::write(at.join("index"), bytes).unwrap();
        assert!(!is_tracked(&root, ".mcp.json"), "nothing was ever added");
        index(&top.join(".git"), b"DIRC\0\0\0\x02..other\0");
        assert!(!is_tracked(&root, ".mcp.json"));
        std::fs::write(top.join(".git/sharedindex.1"), b"shop/.mcp.json\0").unwrap();
        assert!(is_tracked(&root, ".mcp.json"));
        std::fs::remove_file(top.join(".git/sharedindex.1")).unwrap();
        index(&top.join(".git"), b"DIRC\0\0\0\x04");
        assert!(is_tracked(&root, ".mcp.json"), "names are shortened there");
        let away = folder.path().join("away");
        std::fs::create_dir(&away).unwrap();
        index(&away, b"DIRC\0\0\0\x02...mcp.json\0");
        std::fs::write(root.join(".git"), format!("gitdir: {}\n", away.display())).unwrap();
        assert!(is_tracked(&root, ".mcp.json"), "a second worktree");
    }

    #[test]
    fn entries_of_toml_keep_comments_and_order() {
        let text = "# mine\nmodel = \"m\"\n\n[mcp_servers.fs]\n# the files\ncommand = \"npx\"\nargs = [\"-y\", \"fs\"]\nenv = { A = \"1\" }\n\n[mcp_servers.web]\nurl = \"https://e\"\n";
        let out = wrap(&CODEX, text.as_bytes(), &WANTED).unwrap();
        let new = String::from_utf8(out.text.unwrap()).unwrap();
        assert!(
            new.contains("# mine")
                && new.contains("# the files")
                && new.contains("\"--server\", \"fs\", \"--\", \"npx\""),
            "{new}"
        );
        assert!(wrap(&CODEX, new.as_bytes(), &WANTED).unwrap().text.is_none());
        let back = String::from_utf8(unwrap(&CODEX, new.as_bytes()).unwrap().unwrap()).unwrap();
        assert_eq!(back, text);
        assert!(unwrap(&CLAUDE_CODE, b"{}").unwrap().is_none());
    }
}
