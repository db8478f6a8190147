//! `cargo xtask needs`: what the tests use beyond Rust, installed once.
//!
//! Three kinds of things: programs of the system (through apt), cargo-deny, and what the end-to-end tests drive: agent
//! clients, MCP servers and MCP tools, from npm and PyPI. The last two kinds are pinned by the files in `xtask/pins`
//! and go into a cache folder outside `target`, so that `cargo clean` does not cost minutes. Where in a folder a
//! program lies is the testkit's knowledge as well (`testkit::cache`). Nothing here is needed to build or to use
//! Countersign.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The program that tests call, and the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("bwrap", "bubblewrap"),
    ("git", "git"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3"),
    ("prlimit", "util-linux"),
    ("script", "bsdutils"),
    ("setsid", "util-linux"),
    ("unshare", "util-linux"),
];

/// What of Python's own a Debian leaves out until asked, and the package that has it.
const PYTHON_VENV: (&str, &str) = ("python3 -m venv", "python3-venv");

/// One package of npm in a folder of its own, named after the pin and its version.
struct Npm {
    pin: &'static str,
    version: &'static str,
    package: &'static str,
    /// The program that the package brings; a path where the package is a library.
    program: &'static str,
    /// Whether that program tells its version. npm is content when a platform's own package was skipped; a program
    /// that carries native code is not, so those are asked. The servers, plain JavaScript, cannot be.
    tells: bool,
    megabytes: u32,
}

macro_rules! npm {
    ($pin:literal, $package:literal, $program:literal, $tells:literal, $megabytes:literal) => {
        Npm {
            pin: $pin,
            version: include_str!(concat!("../pins/", $pin)).trim_ascii(),
            package: $package,
            program: $program,
            tells: $tells,
            megabytes: $megabytes,
        }
    };
}

const NPM: &[Npm] = &[
    npm!("claude-code", "@anthropic-ai/claude-code", "claude", true, 360),
    npm!("codex", "@openai/codex", "codex", true, 400),
    npm!("gemini-cli", "@google/gemini-cli", "gemini", true, 100),
    npm!(
        "mcp-server-filesystem",
        "@modelcontextprotocol/server-filesystem",
        "mcp-server-filesystem",
        false,
        30
    ),
    npm!(
        "mcp-server-everything",
        "@modelcontextprotocol/server-everything",
        "mcp-server-everything",
        false,
        30
    ),
    npm!("mcp-server-memory", "@modelcontextprotocol/server-memory", "mcp-server-memory", false, 30),
    // The mail provider's own client, which the stand-in for the provider has to satisfy.
    npm!("resend", "resend", "resend/package.json", false, 10),
    // The Inspector wants a newer Node than some systems have, so it gets one.
    npm!("node", "node", "node", true, 185),
    npm!("mcp-inspector", "@modelcontextprotocol/inspector", "mcp-inspector", false, 110),
];

/// One package of PyPI in a virtual environment of its own. Its programs are started as `bin/python -m module`: the
/// scripts beside them know the folder in which they were installed, which is not where they end up.
struct PyPi {
    package: &'static str,
    version: &'static str,
    module: &'static str,
}

const PYPI: &[PyPi] = &[
    PyPi { package: "aiosmtpd", version: include_str!("../pins/aiosmtpd").trim_ascii(), module: "aiosmtpd" },
    PyPi {
        package: "mcp-server-git",
        version: include_str!("../pins/mcp-server-git").trim_ascii(),
        module: "mcp_server_git",
    },
    PyPi {
        package: "mcp-proxy",
        version: include_str!("../pins/mcp-proxy").trim_ascii(),
        module: "mcp_proxy",
    },
];

/// What the measurements of `docs/content.md` read, each package with its digest: nothing else is installed beside it.
const CORPORA: &str = include_str!("../pins/corpora.txt");

const CARGO_DENY: &str = include_str!("../pins/cargo-deny");

/// Installs what is missing and says what it did.
pub(crate) fn run(_root: &Path) -> Result<()> {
    programs()?;
    let cache = cache()?;
    // Two checkouts may be tested at once; the second waits and then finds everything in place.
    let lock = File::create(cache.join("lock")).context("creating the cache's lock file")?;
    lock.lock().context("locking the cache")?;
    cargo_deny_in(&cache)?;
    for package in NPM {
        npm_in(&cache, package)?;
    }
    for package in PYPI {
        pypi_in(&cache, package)?;
    }
    // No test needs them, so where they cannot be had everything else goes on.
    if let Err(e) = corpora_in(&cache) {
        println!("needs: going on without the corpora of xtask/measure: {e:#}");
    }
    Ok(())
}

/// Where cargo-deny lies after `needs` has run.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    Ok(match deny_on_path() {
        Some(found) => found,
        None => deny_home(&cache()?).join("bin/cargo-deny"),
    })
}

fn programs() -> Result<()> {
    let mut missing: Vec<&(&str, &str)> =
        PROGRAMS.iter().filter(|(program, _)| on_path(program).is_none()).collect();
    if !has_python_venv() {
        missing.push(&PYTHON_VENV);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let names: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let by_hand =
        format!("apt-get update && apt-get install -y --no-install-recommends {}", packages.join(" "));
    if on_path("apt-get").is_none() {
        bail!(
            "missing: {}. Install them with this system's package manager (Debian's: {by_hand})",
            names.join(", ")
        );
    }
    if !is_root()? {
        bail!("missing: {}. Run as root: {by_hand}", names.join(", "));
    }
    println!("needs: installing {}", packages.join(", "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=300"]);
        apt
    };
    must(apt().arg("update"))?;
    must(apt().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

fn cargo_deny_in(cache: &Path) -> Result<()> {
    if deny_on_path().is_some() || deny_home(cache).join("bin/cargo-deny").is_file() {
        return Ok(());
    }
    println!("needs: building cargo-deny {} (minutes, once)", CARGO_DENY.trim());
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    into_place(cache, &deny_home(cache), |new| {
        // Unoptimised: it reads one graph in a second either way, and the build takes a third of the time.
        let build = new.join("build");
        must(
            Command::new(&cargo)
                .args(["install", "cargo-deny", "--locked", "--debug", "--no-track", "--quiet"])
                .args(["--version", &format!("={}", CARGO_DENY.trim())])
                .arg("--root")
                .arg(new)
                .arg("--target-dir")
                .arg(&build)
                // In the cache folder: no project's `.cargo/config.toml` and no toolchain file has a say there.
                .current_dir(cache)
                .env_remove("CARGO_TARGET_DIR")
                .env_remove("RUSTFLAGS"),
        )?;
        fs::remove_dir_all(&build).context("removing cargo-deny's build folder")
    })
}

fn npm_in(cache: &Path, npm: &Npm) -> Result<()> {
    let Npm { pin, version, package, program, .. } = npm;
    let home = cache.join(format!("{pin}-{version}"));
    let program = match program.contains('/') {
        true => Path::new("node_modules").join(program),
        false => Path::new("node_modules/.bin").join(program),
    };
    if home.join(&program).exists() {
        return Ok(());
    }
    println!("needs: fetching {package} {version} ({} MB)", npm.megabytes);
    into_place(cache, &home, |new| {
        must(
            Command::new("npm")
                .args(["install", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"])
                .arg("--prefix")
                .arg(new)
                .arg(format!("{package}@{version}"))
                .current_dir(new),
        )?;
        let program = new.join(program);
        if npm.tells {
            starts(Command::new(&program).arg("--version"), version)
        } else if program.exists() {
            Ok(())
        } else {
            bail!("{package} {version} does not bring {}", program.display())
        }
    })
}

fn pypi_in(cache: &Path, pypi: &PyPi) -> Result<()> {
    let PyPi { package, version, module } = pypi;
    let home = cache.join(format!("{package}-{version}"));
    if home.join("bin/python").exists() {
        return Ok(());
    }
    println!("needs: fetching {package} {version}");
    into_place(cache, &home, |new| {
        must(Command::new("python3").args(["-m", "venv"]).arg(new))?;
        let python = new.join("bin/python");
        must(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
                .arg(format!("{package}=={version}")),
        )?;
        starts(Command::new(&python).args(["-m", module, "--help"]), "")
    })
}

/// The corpora lie in a folder named after their pins, so that other pins are another folder.
fn corpora_in(cache: &Path) -> Result<()> {
    let home = cache.join(format!("corpora-{:016x}", fnv(CORPORA.as_bytes())));
    let python = home.join("bin/python");
    if !python.exists() {
        println!("needs: fetching the corpora of xtask/measure (20 MB)");
        into_place(cache, &home, |new| {
            must(Command::new("python3").args(["-m", "venv"]).arg(new))?;
            let pins = new.join("corpora.txt");
            fs::write(&pins, CORPORA).context("writing the pins")?;
            must(
                Command::new(new.join("bin/python"))
                    .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
                    .args(["--retries", "1", "--only-binary", ":all:", "--no-deps", "--require-hashes", "-r"])
                    .arg(&pins),
            )?;
            starts(
                Command::new(new.join("bin/python")).args(["-c", "import agentdojo, betterleaks, rstr"]),
                "",
            )
        })?;
    }
    println!("needs: the Python of xtask/measure is {}", python.display());
    Ok(())
}

/// Tells texts apart for a folder's name; what is fetched is checked against digests of another kind.
fn fnv(text: &[u8]) -> u64 {
    text.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// An install that does not start is none.
fn starts(command: &mut Command, says: &str) -> Result<()> {
    let shown = format!("{command:?}");
    let said = command.stdin(Stdio::null()).output().with_context(|| format!("starting {shown}"))?;
    if !said.status.success() || !String::from_utf8_lossy(&said.stdout).contains(says) {
        bail!("installed, but {shown} fails: {}", String::from_utf8_lossy(&said.stderr));
    }
    Ok(())
}

/// Fills a fresh folder and renames it to `home`, so that a broken install is never mistaken for a whole one.
fn into_place(cache: &Path, home: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // One name for all: the lock is held, so what lies there is the rest of a run that was killed.
    let new = cache.join("new");
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new).with_context(|| format!("creating {}", new.display()))?;
    let filled = fill(&new).and_then(|()| {
        // What stands at `home` was found to be incomplete by the caller, who holds the lock.
        let _ = fs::remove_dir_all(home);
        fs::rename(&new, home).with_context(|| format!("moving the install to {}", home.display()))
    });
    if filled.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    filled
}

/// `countersign-test` in the user's cache folder. The testkit looks in the same place.
fn cache() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("countersign-test");
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    Ok(cache)
}

fn deny_home(cache: &Path) -> PathBuf {
    cache.join(format!("cargo-deny-{}", CARGO_DENY.trim()))
}

/// A cargo-deny of exactly the pinned version; others read `deny.toml` differently.
fn deny_on_path() -> Option<PathBuf> {
    let found = on_path("cargo-deny")?;
    let said = Command::new(&found).arg("--version").output().ok()?;
    String::from_utf8_lossy(&said.stdout).trim().ends_with(CARGO_DENY.trim()).then_some(found)
}

fn on_path(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let program = Path::new(program.as_ref());
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn has_python_venv() -> bool {
    let asked = Command::new("python3").args(["-c", "import ensurepip, venv"]).stdin(Stdio::null()).output();
    asked.is_ok_and(|asked| asked.status.success())
}

fn is_root() -> Result<bool> {
    let said = Command::new("id").arg("-u").output().context("asking `id -u`")?;
    Ok(said.stdout.trim_ascii() == b"0")
}

fn must(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("starting {shown}"))?;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(())
}
