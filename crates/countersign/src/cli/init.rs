//! `countersign init`: sets a project up, and can be undone exactly.
//!
//! It shows every file first, asks, then writes: the project's folder, the hooks in the client's settings, the pin of
//! what was accepted. It never overwrites what is there. What it decides about files is in `install`.

use super::{Context, complain, exit, need_person, say, show, trust};
use crate::config::Files;
use crate::install::clients::{self, CLAUDE_CODE, CODEX, Client, GEMINI};
use crate::install::manifest::{self, Manifest};
use crate::install::{Step, apply, look, origin, profiles, servers, settings, undo_settings};
use crate::person;
use crate::project::{FOLDER, Layer, Project};
use crate::rules::{Acceptance, PROJECT_PIN};
use crate::wire::{self, Wired};
use anyhow::{Context as _, bail};
use countersign_core::json::Json;
use countersign_core::rulebook::Rulebook;
use countersign_core::rulebook::settings::Mode;
use countersign_core::time::Timestamp;
use countersign_gate::seams::{Pin, PinKind};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// Set a project up: its folder, and the hooks of your agent's client.
///
/// Shows every file it will touch and asks. Files that are there are kept, settings are added to, and `countersign
/// uninstall` puts back the very bytes.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  countersign init --dry-run\n  countersign init --watch\n  countersign init --client codex --client gemini\n  countersign init --enforce --yes"
)]
pub struct Init {
    /// A client to register hooks with; may be given again. auto: every client that is found on this machine or has
    /// hooks here already.
    #[arg(long, value_name = "NAME", value_parser = ["auto", "claude-code", "codex", "gemini"],
          default_value = "auto")]
    client: Vec<String>,
    /// Record what rules would have done; stop only what is never right to let pass. This is the default.
    #[arg(long, conflicts_with = "enforce")]
    watch: bool,
    /// Refuse and ask from the start.
    #[arg(long)]
    enforce: bool,
    /// Register Claude Code's hooks in `.claude/settings.json`, which a team commits; all who work there then need this
    /// binary and this project at the same paths. Codex and Gemini CLI have no file for one checkout alone. The gate
    /// then also goes in front of MCP servers that are named in files which git keeps.
    #[arg(long)]
    shared: bool,
    /// What the configuration begins with.
    #[arg(long, value_name = "NAME", default_value = "minimal",
          value_parser = profiles::NAMES)]
    profile: String,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask back.
    #[arg(long)]
    yes: bool,
    /// Write the project's configuration and policy anew; what was there is copied into the state folder first.
    #[arg(long)]
    force: bool,
}

/// What would be done.
struct Plan {
    steps: Vec<Step>,
    remarks: Vec<String>,
    /// The mode that the configuration will say.
    mode: Mode,
    /// Configuration or rules that were there, not made by us on this machine: they came with the project.
    arrived: bool,
    /// Configuration or rules that were there and stay, other than `init` would write them now.
    kept: bool,
    /// Hooks are registered here for another identity: this repository was swapped, or made anew.
    swapped: bool,
    /// The project's layer; its texts are taken from the steps.
    layer: Layer,
    /// The clients that hooks are registered with.
    clients: Vec<&'static Client>,
}

impl Plan {
    /// The pin of the project's layer as one side of the steps has it: of bytes that were shown, not of what may lie
    /// on the disk by then.
    fn pin(&self, side: impl Fn(&Step) -> Option<&Vec<u8>>) -> anyhow::Result<Pin> {
        let read = |name: &str| {
            let path = format!("{FOLDER}/{name}");
            let bytes = self.steps.iter().find(|s| s.path == path).and_then(&side);
            let text = bytes.map(|b| String::from_utf8(b.clone())).transpose();
            text.with_context(|| format!("{path} is not UTF-8"))
        };
        let mut layer = self.layer.clone();
        layer.config = read("config.toml")?;
        layer.hard = read("policy/hard.cedar")?;
        layer.soft = read("policy/soft.cedar")?;
        Ok(layer.pin())
    }
}

impl Init {
    /// Sets up.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let root = find_root(cx)?;
        if root == cx.places.home || Some(&root) == cx.places.home.canonicalize().ok().as_ref() {
            bail!("{} is your home folder; go to a project, or name one with --project DIR", root.display());
        }
        let project = Project::at(&root)?;
        let state = project.state(&cx.places);
        let mut manifest = manifest::read(&state, project.root_text())?;
        let plan = match self.plan(cx, &project, &manifest)? {
            Ok(plan) => plan,
            Err(code) => return Ok(code),
        };
        let wired =
            if wire::has_state(&state) { Some(wire::open(project.clone(), &cx.places).await?) } else { None };
        let acceptance = wired.as_ref().map_or(Acceptance::Never, |w| w.acceptance.clone());
        let idle = !plan.steps.iter().any(Step::changes) && acceptance == Acceptance::Accepted;
        if cx.global.json {
            say(&plan_json(&project, &plan, idle || self.dry_run).canonical());
        } else {
            self.show(cx, &project, &plan, &acceptance);
        }
        if idle {
            if !cx.global.json {
                say("Nothing to do: it is set up already.");
            }
            return Ok(exit::OK);
        }
        if self.dry_run {
            if !cx.global.json {
                say("Nothing was changed (--dry-run).");
            }
            return Ok(exit::OK);
        }
        let accepted = match &wired {
            Some(wired) => wired.store.pin(PinKind::Project, PROJECT_PIN).await?,
            None => None,
        };
        let mut plan = plan;
        if let Some(code) = self.confirm(&project, &mut plan, accepted.as_ref())? {
            return Ok(code);
        }
        // A first set-up needs no person; the record says whether one was there.
        let (mut by, mut reason) = match person::prove(&[]) {
            Ok(approver) => (approver.id(), "init"),
            Err(_) => (person::me().id(), "init, without a terminal"),
        };
        if acceptance != Acceptance::Never || plan.arrived || plan.swapped {
            // What was accepted, or arrives with a repository, is changed or accepted by people only.
            let wired = match wired {
                Some(wired) => wired,
                None => wire::open(project.clone(), &cx.places).await?,
            };
            match need_person(&wired, "init").await {
                Ok(approver) => (by, reason) = (approver.id(), "init"),
                Err(code) => return Ok(code),
            }
        }
        apply(&project.root, &state, &mut manifest, &plan.steps)?;
        // Anew: only now has the project the folder that tells which checkout its HALT file belongs to.
        let wired = wire::open(Project::at(&root)?, &cx.places).await?;
        if wired.settings.is_none() {
            for problem in &wired.problems {
                complain(&format!("{problem:?}"));
            }
            complain("The files were written, but they do not load, so they were not accepted.");
            return Ok(exit::FAILED);
        }
        trust::pin(cx, &wired, &by, Some(reason), &plan.pin(|s| s.shall.as_ref())?).await?;
        if !cx.global.json && !cx.global.quiet {
            told(&wired, &plan);
        }
        Ok(exit::OK)
    }

    fn plan(&self, cx: &Context, project: &Project, manifest: &Manifest) -> anyhow::Result<Result<Plan, u8>> {
        let mut remarks = Vec::new();
        // Configuration that does not load now would refuse every call afterwards.
        let layer = project.read()?;
        let files = Files::read(&cx.places, (!self.force).then_some(&layer))?;
        let meant = match files.mean(&cx.places, project, true) {
            Ok(meant) => meant,
            Err(found) => return Ok(Err(does_not_load(found))),
        };
        if !self.force
            && let Err(found) = Rulebook::load(layer.policy(), meant.rules.clone())
        {
            return Ok(Err(does_not_load(found)));
        }
        let kept_config = layer.config.is_some() && !self.force;
        let mode = match (kept_config, self.enforce) {
            (true, _) => meant.rules.mode,
            (false, true) => Mode::Enforce,
            (false, false) => Mode::Watch,
        };
        if kept_config && ((self.enforce && mode == Mode::Watch) || (self.watch && mode == Mode::Enforce)) {
            remarks.push(format!(
                "the configuration is there and says mode {}; change it with: {}",
                mode.as_str(),
                show::command(project.root_text(), if self.enforce { "mode enforce" } else { "mode watch" })
            ));
        }
        let mut steps = Vec::new();
        let (mut arrived, mut kept) = (false, false);
        for (name, text) in self.files(mode) {
            let path = format!("{FOLDER}/{name}");
            let was = look(&project.root, &path)?;
            let Some(bytes) = was else {
                let shall = Some(text.into_bytes());
                steps.push(Step { path, was: None, shall, origin: None, mode: 0o644, remark: String::new() });
                continue;
            };
            let ours = manifest.entry(&path).is_some_and(|e| e.digest == manifest::digest(&bytes));
            // The schema is generated; it says what rules may see and is read by no one but editors.
            if (self.force || (ours && name == SCHEMA_FILE)) && bytes != text.as_bytes() {
                let state = project.state(&cx.places);
                let before = match manifest.entry(&path) {
                    Some(entry) if ours => {
                        entry.before.as_ref().map(|n| manifest::kept(&state, n)).transpose()?
                    }
                    _ => Some(bytes.clone()),
                };
                let remark = if name == SCHEMA_FILE { "" } else { "written anew; a copy is kept" };
                let (was, shall) = (Some(bytes), Some(text.into_bytes()));
                steps.push(Step { path, was, shall, origin: before, mode: 0o644, remark: remark.to_owned() });
                continue;
            }
            if name == ".gitignore" && !bytes.split(|b| *b == b'\n').any(|line| line == b"HALT") {
                remarks.push(format!(
                    "{path} is yours; without a line HALT in it, a halt can be committed by accident"
                ));
            }
            let judged = name.ends_with(".cedar") || name == "config.toml";
            let other = bytes != text.as_bytes();
            arrived |= judged && !ours && other;
            kept |= judged && other;
            steps.push(Step::stays(&path, bytes, if judged && !ours { "yours, as it is" } else { "" }));
        }
        let clients = self.clients(cx, &project.root)?;
        let mut swapped = false;
        for client in clients.iter().copied() {
            swapped |=
                self.hooks(client, cx, project, manifest, meant.hook_timeout_s, &mut steps, &mut remarks)?;
        }
        if swapped {
            remarks.push(
                "the hooks here are registered for another identity: .git was replaced or moved since. Going on begins with a new log; if an agent did it, put .git back instead"
                    .to_owned(),
            );
        }
        Ok(Ok(Plan { steps, remarks, mode, arrived, kept, swapped, layer, clients }))
    }

    /// The clients that are meant.
    fn clients(&self, cx: &Context, root: &Path) -> anyhow::Result<Vec<&'static Client>> {
        let named = |c: &Client| self.client.iter().any(|n| n == c.name);
        if !self.client.iter().any(|n| n == "auto") {
            return Ok(clients::ALL.into_iter().filter(|c| named(c)).collect());
        }
        let mut found = Vec::new();
        for client in clients::ALL {
            if named(client) || is_here(cx, client) || is_registered(root, client) {
                found.push(client);
            }
        }
        // As before there were others: its hooks wait for it.
        Ok(if found.is_empty() { vec![&CLAUDE_CODE] } else { found })
    }

    /// Registers a client's hooks in one settings file, and takes them out of the other where there are two. `true` if
    /// they were registered for this folder, but for another identity of it.
    #[allow(
        clippy::too_many_arguments,
        reason = "what is known of the project goes in, what shall be done comes out"
    )]
    fn hooks(
        &self,
        client: &'static Client,
        cx: &Context,
        project: &Project,
        manifest: &Manifest,
        timeout_s: i64,
        steps: &mut Vec<Step>,
        remarks: &mut Vec<String>,
    ) -> anyhow::Result<bool> {
        let (root, state) = (&project.root, project.state(&cx.places));
        let program =
            std::env::current_exe().and_then(|p| p.canonicalize()).context("this binary cannot be found")?;
        if program.starts_with(root) {
            let remark =
                "this binary lies inside the project, where an agent may write; install it elsewhere";
            if !remarks.iter().any(|r| r == remark) {
                remarks.push(remark.to_owned());
            }
        }
        let program = program.to_str().context("the path of this binary is not UTF-8")?.to_owned();
        // Gemini CLI puts values of its own in the place of these, quoted or not.
        if client == &GEMINI
            && [&program, project.root_text()]
                .iter()
                .any(|p| p.contains("$GEMINI_") || p.contains("$CLAUDE_"))
        {
            bail!(
                "the path of this binary or of the project holds `$GEMINI_` or `$CLAUDE_`, which Gemini CLI replaces; rename the folder"
            );
        }
        let wanted = settings::Wanted {
            client,
            program,
            root: project.root_text().to_owned(),
            project_id: project.id.clone(),
            timeout_s,
        };
        let read = |path: &str| -> anyhow::Result<(Option<Vec<u8>>, Json)> {
            let was = look(root, path)?;
            let json = settings::read(was.as_deref().unwrap_or_default());
            let json = json.with_context(|| format!("{} was left alone", root.join(path).display()))?;
            Ok((was, json))
        };
        let shared = read(client.shared)?;
        let local = match client.local {
            Some(path) => Some((path, read(path)?)),
            None => None,
        };
        let swapped = [Some(&shared.1), local.as_ref().map(|(_, (_, json))| json)]
            .into_iter()
            .flatten()
            .flat_map(|json| settings::find(client, json))
            .any(|f| f.identity_of(project.root_text()).is_some_and(|id| id != project.id));
        let in_shared = !settings::find(client, &shared.1).is_empty();
        let shared_fits = in_shared && !settings::merge(&shared.1, &wanted)?.changed;
        let (target, (was, json)) = match local {
            Some(local) if !self.shared && !shared_fits => local,
            _ => (client.shared, shared),
        };
        let alone = client.local.is_none_or(|local| local == target);
        let mut merged = settings::merge(&json, &wanted)
            .with_context(|| format!("{} was left alone", root.join(target).display()))?;
        let gate = servers::Wanted { program: &wanted.program, root: project.root_text() };
        match client.servers {
            // Hooks and servers in one file are one change.
            None => {
                let (with_gate, wrapped) = servers::wrap_json(&merged.json, &gate);
                beside(client, &wrapped, remarks);
                if wrapped.text.is_some() && !self.shared && servers::is_tracked(root, target) {
                    remarks.push(in_git(target, &wrapped));
                } else {
                    merged.changed |= wrapped.text.is_some();
                    merged.json = with_gate;
                }
            }
            Some(path) => self.servers(client, project, &state, manifest, path, &gate, steps, remarks)?,
        }
        users_own(cx, client, root, remarks);
        remarks.extend(merged.remarks);
        if in_shared && target != client.shared {
            remarks.push(format!(
                "{} registers Countersign too, with paths that are not these; where they do not exist the client blocks every call. `countersign init --shared` puts them right",
                client.shared
            ));
        }
        match (merged.changed, was) {
            (false, Some(bytes)) => steps.push(Step::stays(target, bytes, "hooks are registered")),
            (_, was) => {
                let before = origin(client, &state, manifest.entry(target), was.as_ref())?;
                let remark = if was.is_some() {
                    "hooks; the file's layout is made even, its members stay"
                } else {
                    "hooks"
                };
                let shall = Some(settings::write(&merged.json));
                steps.push(Step {
                    path: target.to_owned(),
                    was,
                    shall,
                    origin: before,
                    mode: if alone { 0o600 } else { 0o644 },
                    remark: remark.to_owned(),
                });
            }
        }
        if alone && root.join(".git").exists() && !ignored(root, target) {
            let harm = match client.on_failure || client == &GEMINI {
                true => "or it blocks everyone without this binary",
                false => "it names this machine's paths",
            };
            remarks.push(format!("{target} is for this machine: keep it out of commits, {harm}"));
        }
        if let Some(local) = client.local.filter(|_| target == client.shared)
            && let Some(mut step) = undo_settings(client, root, &state, manifest, local)?
        {
            step.remark = format!("the hooks move to {}", client.shared);
            steps.push(step);
        }
        if client == &CLAUDE_CODE {
            switched_off(cx, root, remarks);
        }
        if !is_here(cx, client) {
            remarks.push(format!(
                "{} was not found on this machine; its hooks are registered for when it is",
                client.shown
            ));
        }
        Ok(swapped)
    }

    /// Puts the gate in front of the servers that a client has in a file of their own.
    #[allow(
        clippy::too_many_arguments,
        reason = "what is known of the project goes in, what shall be done comes out"
    )]
    fn servers(
        &self,
        client: &'static Client,
        project: &Project,
        state: &Path,
        manifest: &Manifest,
        path: &str,
        gate: &servers::Wanted<'_>,
        steps: &mut Vec<Step>,
        remarks: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let root = &project.root;
        let Some(was) = look(root, path)? else { return Ok(()) };
        let mut wrapped = servers::wrap(client, &was, gate)
            .with_context(|| format!("{} was left alone", root.join(path).display()))?;
        beside(client, &wrapped, remarks);
        if wrapped.behind.is_empty() {
            return Ok(());
        }
        let names = names(wrapped.behind.iter());
        let Some(shall) = wrapped.text.take() else {
            steps.push(Step::stays(path, was, "its servers are behind the gate"));
            return Ok(());
        };
        if !self.shared && servers::is_tracked(root, path) {
            remarks.push(in_git(path, &wrapped));
            return Ok(());
        }
        if client == &CODEX {
            remarks.push(format!(
                "Codex gives up on a server's call after its `tool_timeout_sec`: for questions that wait longer for a person, set it in {path}"
            ));
        }
        let entry = manifest.entry(path);
        let untouched = entry.is_some_and(|e| e.digest == manifest::digest(&was));
        let origin = match entry.filter(|_| untouched).and_then(|e| e.before.as_ref()) {
            Some(name) => manifest::kept(state, name)?,
            None => servers::unwrap(client, &was)?.unwrap_or_else(|| was.clone()),
        };
        steps.push(Step {
            path: path.to_owned(),
            was: Some(was),
            shall: Some(shall),
            origin: Some(origin),
            mode: 0o644,
            remark: format!("the gate in front of {names}"),
        });
        Ok(())
    }

    fn show(&self, cx: &Context, project: &Project, plan: &Plan, acceptance: &Acceptance) {
        if cx.global.quiet {
            return;
        }
        say(&format!("Project {}   (+ new, ~ changed, = kept, - taken away)", cx.bold(project.root_text())));
        for step in &plan.steps {
            say(&step.line(&project.root));
        }
        for remark in &plan.remarks {
            say(&format!("  ! {remark}"));
        }
        if plan.arrived && *acceptance != Acceptance::Accepted {
            say(
                "  ! configuration or rules are there already; going on accepts them as they are, so look at them first",
            );
        }
        say(&format!("Mode: {}", mode_text(plan.mode)));
    }

    /// Asks; `Some` is the exit code of a set-up that does not go on.
    ///
    /// What will be accepted and is not what `init` writes in this run is shown before the question. Where nobody is
    /// asked, it is not accepted at all: a yes given in advance is none to text that nobody saw.
    fn confirm(
        &self,
        project: &Project,
        plan: &mut Plan,
        accepted: Option<&Pin>,
    ) -> anyhow::Result<Option<u8>> {
        let in_ci = || std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false");
        let asks = !self.yes && std::io::stdin().is_terminal();
        if !asks && !self.yes && !in_ci() {
            complain(
                "Nothing was changed: there is no terminal to ask at. Add --yes to go on without asking.",
            );
            return Ok(Some(exit::USAGE));
        }
        let config = format!("{FOLDER}/config.toml");
        let fresh = plan.steps.iter().any(|s| s.path == config && s.changes());
        if asks && fresh && !self.watch && !self.enforce {
            if ask("Refuse and ask from the start (enforce)? No means: only watch for now. [y/N] ")? {
                plan.mode = Mode::Enforce;
            }
            let text = self.config(plan.mode);
            for step in plan.steps.iter_mut().filter(|s| s.path == config) {
                step.shall = Some(text.clone().into_bytes());
            }
        }
        let shall = plan.pin(|s| s.shall.as_ref())?;
        let was = plan.pin(|s| s.was.as_ref())?;
        // Once something was accepted, bytes that we wrote before it are no better than others: going back to them
        // would take away what a person added since.
        let unseen = match accepted {
            Some(pin) => plan.kept && pin.digest != was.digest,
            None => plan.arrived,
        };
        if unseen || accepted.is_some_and(|pin| pin.digest != shall.digest) {
            complain("What will be accepted, against what was:");
            complain(&trust::difference(accepted.map_or("", |pin| pin.text.as_str()), &shall.text));
        }
        if !asks && unseen {
            complain(&format!(
                "Nothing was changed: configuration or rules shown above were not accepted here, and without a question nobody can. Look at them, then a person runs this without --yes, or first: {}",
                show::command(project.root_text(), "trust accept project")
            ));
            return Ok(Some(exit::USAGE));
        }
        if !asks {
            return Ok(None);
        }
        if ask(&format!("Set up {}? [y/N] ", project.root.display()))? {
            return Ok(None);
        }
        say("Nothing was changed.");
        Ok(Some(exit::OK))
    }

    /// The project's files with the text of new ones.
    fn files(&self, mode: Mode) -> [(&'static str, String); 5] {
        [
            ("config.toml", self.config(mode)),
            ("policy/hard.cedar", profiles::HARD.to_owned()),
            ("policy/soft.cedar", profiles::soft(&self.profile)),
            (SCHEMA_FILE, profiles::schema()),
            (".gitignore", "HALT\n".to_owned()),
        ]
    }

    fn config(&self, mode: Mode) -> String {
        profiles::config(&self.profile, mode, &person::user_name(), now())
    }
}

const SCHEMA_FILE: &str = "policy/schema.cedarschema";

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(0))
}

fn does_not_load(found: Vec<impl miette::Diagnostic + Send + Sync + 'static>) -> u8 {
    for problem in found {
        complain(&format!("{:?}", miette::Report::new(problem)));
    }
    complain(
        "Nothing was changed: what is there does not load. Repair it, or add --force to write it anew (a copy is kept).",
    );
    exit::FAILED
}

/// The root that is meant: `--project`, else the nearest folder upwards that is a repository or a project, else the
/// working folder. No program is run to find it.
pub fn find_root(cx: &Context) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &cx.global.project {
        return Ok(Project::at(dir)?.root);
    }
    let here =
        std::env::current_dir().and_then(|d| d.canonicalize()).context("the working folder is gone")?;
    let top = here.ancestors().find(|a| a.join(".git").symlink_metadata().is_ok() || a.join(FOLDER).is_dir());
    Ok(top.map(Path::to_owned).unwrap_or(here))
}

/// Says which settings of Claude Code switch all hooks off.
fn switched_off(cx: &Context, root: &Path, remarks: &mut Vec<String>) {
    let user = cx.places.home.join(CLAUDE_CODE.shared);
    for file in CLAUDE_CODE.files().map(|f| root.join(f)).chain([user]) {
        let json = std::fs::read(&file).ok().and_then(|b| settings::read(&b).ok());
        if json.is_some_and(|j| j.get("disableAllHooks").and_then(Json::as_bool) == Some(true)) {
            remarks.push(format!(
                "{} says disableAllHooks: no hook runs until that is taken out",
                file.display()
            ));
        }
    }
}

/// Whether the usual places tell git to ignore a settings file. No program is run to find out.
fn ignored(root: &Path, path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    [".gitignore".to_owned(), format!("{folder}/.gitignore"), ".git/info/exclude".to_owned()]
        .iter()
        .filter_map(|file| std::fs::read_to_string(root.join(file)).ok())
        .any(|text| text.lines().any(|l| l.trim().ends_with(name) || l.trim().trim_matches('/') == folder))
}

/// Whether a client seems to be on this machine.
pub fn is_here(cx: &Context, client: &Client) -> bool {
    on_path(client.program).is_some() || cx.places.home.join(client.home).is_dir()
}

/// Whether hooks of ours are registered with a client in this project.
pub fn is_registered(root: &Path, client: &Client) -> bool {
    client.files().any(|path| {
        let json = look(root, path).ok().flatten().and_then(|bytes| settings::read(&bytes).ok());
        json.is_some_and(|json| !settings::find(client, &json).is_empty())
    })
}

/// The first program of that name on the search path.
pub fn on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|p| p.is_absolute())
        .map(|p| p.join(name))
        .find(|p| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

/// Asks at the terminal; the answer to anything else is no.
pub fn ask(question: &str) -> anyhow::Result<bool> {
    let mut err = std::io::stderr();
    write!(err, "{question}")?;
    err.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn mode_text(mode: Mode) -> &'static str {
    match mode {
        Mode::Watch => "watching, not protecting: what rules would have done is recorded, and calls go on",
        Mode::Enforce => "enforcing: rules refuse calls and ask you",
    }
}

fn told(wired: &Wired, plan: &Plan) {
    let root = wired.project.root_text();
    say(&format!("\nSet up: {}.", mode_text(plan.mode)));
    say("Restart sessions of your agent that are open, so that they read the hooks.");
    for client in &plan.clients {
        say(&format!("  {}: {}", client.shown, trust_needed(client)));
    }
    say(&format!("  check it:   {}", show::command(root, "doctor")));
    say(&format!("  see it:     {}", show::command(root, "watch")));
    if plan.mode == Mode::Watch {
        say(&format!("  enforce it: {}", show::command(root, "mode enforce")));
    }
    say(&format!("  undo it:    {}", show::command(root, "uninstall")));
}

/// What a person still has to do in the client before its hooks run.
fn trust_needed(client: &Client) -> &'static str {
    if client == &CODEX {
        "runs NO hook until you have done both: trust this folder when it asks, then type /hooks and trust the new hooks, one by one, and again after each change of them. Until then calls pass undecided. It also lets a call run when a hook fails"
    } else if client == &GEMINI {
        "runs them once you have told it to trust this folder. It lets a call run when a hook is killed or late"
    } else {
        "runs them once you have told it to trust this folder"
    }
}

/// What to do about servers in a file that a team shares.
fn in_git(path: &str, wrapped: &servers::Wrapped) -> String {
    let names = names(wrapped.behind.iter());
    format!(
        "{path} is in git, so its servers ({names}) were left as they are: the path of this binary would be everybody's. `countersign init --shared` puts the gate in front of them; or name them in a file of your own with `countersign mcp --server NAME -- CMD`"
    )
}

/// Names of servers, fit to be shown.
fn names<'a>(all: impl Iterator<Item = &'a String>) -> String {
    all.map(|n| countersign_core::cleanse::clean_line(n, 100).to_string()).collect::<Vec<_>>().join(", ")
}

/// The servers of the user's own file that are not behind the gate here, as one line, or why that is not known. That
/// file serves every project and is never changed.
pub fn users_servers(cx: &Context, client: &Client, root: &Path) -> Option<String> {
    let path = cx.places.home.join(client.user_servers);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(e) => return Some(format!("{}: {e}; which servers are in it is not known", path.display())),
    };
    let found = servers::standing(client.user_servers.ends_with(".toml"), &bytes, root.to_str());
    let found = match found {
        Ok(found) => found,
        Err(e) => return Some(format!("{}: {e:#}; which servers are in it is not known", path.display())),
    };
    let open = names(found.iter().filter(|(_, place)| place.is_err()).map(|(name, _)| name));
    (!open.is_empty()).then(|| format!("servers of {} are not behind the gate here: {open}", path.display()))
}

/// What a person does about these.
pub fn move_them(client: &Client, root: &str) -> String {
    format!(
        "move those on standard streams into {} of the project, then: {}",
        client.server_file(),
        show::command(root, &format!("init --client {}", client.name))
    )
}

fn users_own(cx: &Context, client: &Client, root: &Path, remarks: &mut Vec<String>) {
    if let Some(line) = users_servers(cx, client, root) {
        remarks.push(format!("{line}; {}", move_them(client, &root.to_string_lossy())));
    }
}

/// Names the servers that are not behind the gate.
fn beside(client: &Client, wrapped: &servers::Wrapped, remarks: &mut Vec<String>) {
    for (name, why) in &wrapped.beside {
        let name = countersign_core::cleanse::clean_line(name, 100);
        remarks.push(format!("the server {name} of {} is not behind the gate: {why}", client.shown));
    }
}

fn plan_json(project: &Project, plan: &Plan, idle: bool) -> Json {
    let files = plan.steps.iter().map(|s| {
        let action = match (&s.was, &s.shall) {
            (None, Some(_)) => "new",
            (Some(_), None) => "removed",
            _ if s.changes() => "changed",
            _ => "kept",
        };
        Json::object([
            ("path", Json::str(&s.path)),
            ("action", Json::str(action)),
            ("remark", Json::str(&s.remark)),
        ])
    });
    Json::object([
        ("project", Json::str(project.root_text())),
        ("mode", Json::str(plan.mode.as_str())),
        ("nothing_done", Json::Bool(idle)),
        ("files", Json::Array(files.collect())),
        ("remarks", Json::strings(&plan.remarks)),
    ])
}
