//! What is left to say of single programs when the table has spoken: combinations of words that do something else than
//! each alone.

use super::apply::{Act, Arg};
use super::sed::sed;
use super::special::CODE;
use super::table::Role;

/// What is left to say when the table has spoken.
pub(super) fn finish(mut act: Act) -> Act {
    let texts: Vec<(String, Role, bool)> =
        act.args.iter().map(|a| (a.text.clone(), a.role, a.unknown)).collect();
    match act.name.split(' ').next().unwrap_or_default() {
        "sed" | "gsed" => sed(&mut act),
        // What its script does is told by the reader of code.
        "awk" | "gawk" | "mawk" | "nawk" => act.doubt("a script of awk that is not understood"),
        "curl" | "wget" => {
            for text in sent(&act) {
                act.args.push(Arg {
                    text,
                    live: false,
                    unknown: false,
                    role: Role::Sent,
                    option: Some("@".to_owned()),
                });
            }
            let odd = |t: &str| t.starts_with("file:") || t.contains(['{', '[']) || t.starts_with('@');
            if texts.iter().any(|(t, role, _)| *role == Role::Url && odd(t)) {
                act.doubt("an address that stands for several");
            }
            if act.args.iter().any(|a| a.role == Role::Write && a.text.contains('#')) {
                act.doubt("an address that stands for several");
            }
        }
        "journalctl"
            if act
                .flags
                .iter()
                .any(|f| ["--vac", "--rot", "--flu", "--reli", "--syn"].iter().any(|o| f.starts_with(o))) =>
        {
            act.doubt("an option that is not known");
        }
        "kubectl" | "oc" if act.effects.remove("deploy")
            && !act.has(&["--dry-run"]) => {
                act.doubt("a change of a cluster");
            }
        "yarn" if act.name.starts_with("yarn workspace") => {
            let runs = ["exec", "dlx", "node", "npm", "publish", "foreach", "x", "add", "remove"];
            if act.operands().any(|a| runs.contains(&a.text.as_str())) {
                act.doubt("a package command that is not known");
            }
        }
        "coverage" | "python-m" if act.name.ends_with("coverage run")
            && act.values(&["-m"]).any(|a| !["pytest", "unittest"].contains(&a.text.as_str())) => {
                act.doubt(CODE);
            }
        "ansible-playbook"
            if !act.has(&[
                "--check",
                "-C",
                "--syntax-check",
                "--list-tasks",
                "--list-hosts",
                "--list-tags",
                "--version",
            ]) =>
        {
            act.doubt("a change of other machines");
        }
        "mvn" | "mvnw"
            if act.operands().any(|a| ["exec", "antrun", "deploy"].iter().any(|g| a.text.contains(g))) =>
        {
            act.doubt("a goal that runs programs");
        }
        // Commands of cargo's own that these hand on to it.
        "cargo" if ["publish", "install", "yank", "owner", "login", "release"]
            .iter()
            .any(|sub| act.operands().any(|a| a.text == *sub))
            && ["hack", "ndk", "zigbuild", "careful", "llvm-cov", "minimal-versions", "chef", "leptos"]
                .iter()
                .any(|name| act.name == format!("cargo {name}")) =>
        {
            act.doubt("another program among its words");
        }
        "go"
            // A version behind a name is fetched.
            if matches!(act.name.as_str(), "go run" | "go install")
                && act.operands().any(|a| a.text.contains('@'))
            => {
                act.effects.insert("dependency_install");
            }
        "rake"
            if act
                .operands()
                .any(|a| ["db:drop", "db:reset", "db:purge"].iter().any(|t| a.text.starts_with(t))) =>
        {
            act.effects.insert("database_destroy");
        }
        "make" | "gmake" => {
            let plain = |v: &str| {
                v.chars().all(|c| c.is_ascii_digit())
                    || ["", "true", "false", "yes", "no", "debug", "release", "test", "all", "on", "off"]
                        .contains(&v)
            };
            let set = act.operands().filter_map(|a| a.text.split_once('=').map(|(_, v)| v.to_owned()));
            if set.collect::<Vec<_>>().iter().any(|v| !plain(v)) {
                act.doubt("a build with settings on its line");
            }
        }
        "gcc" | "g++" | "cc" | "c++" | "clang" | "clang++" | "tcc"
            if act.args.iter().any(|a| {
                (a.text.contains("use-ld") && a.text.contains('/'))
                    || a.text.contains("plugin")
                    || a.text.contains("specs")
                    || a.text.starts_with('@')
            }) => {
                act.doubt("an option that is not known");
            }
        "date" => {
            let sets = act.operands().any(|a| !a.text.starts_with('+'))
                || act.values(&["-f"]).any(|a| !a.text.starts_with('%'));
            if sets {
                act.doubt("a date that is set");
            }
        }
        "cmake" => {
            // Settings that name programs.
            let runs = |t: &str| {
                let (key, value) = t.split_once('=').unwrap_or((t, ""));
                let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                ["LAUNCHER", "COMMAND", "COMPILER", "LINKER", "PROGRAM", "RULE", "INCLUDE"]
                    .iter()
                    .any(|w| key.to_uppercase().contains(w))
                    && !(plain
                        && (value.starts_with("gcc")
                            || value.starts_with("clang")
                            || value.starts_with("g++")
                            || value.starts_with("cc")))
            };
            if act.values(&["-D"]).any(|a| runs(&a.text)) {
                act.doubt("a build with settings on its line");
            }
            if act.flags.iter().any(|f| f.starts_with("-E") || f.starts_with("-P") || f == "-C") {
                act.doubt("an option that is not known");
            }
        }
        "unzip" => {
            let shows = act.has(&["-l", "-t", "-v", "-p", "-Z", "-c"]);
            let apart =
                act.values(&["-d"]).any(|a| !matches!(a.text.trim_end_matches('/'), "" | "." | ".." | "~"));
            if !shows && !apart {
                act.doubt("an archive that may overwrite what is here");
            }
            for arg in &mut act.args {
                match arg.option.as_deref() {
                    Some("-d") => arg.role = Role::Take,
                    None if !arg.text.contains('*') => {
                        arg.role = if arg.text.ends_with(".zip") { Role::Read } else { Role::Text }
                    }
                    _ => {}
                }
            }
        }
        "patch" if act.operands().next().is_none() && !act.has(&["--dry-run"]) => {
            act.doubt("a patch that is not read")
        }
        "scp" | "rsync" | "rcp" => {
            let deletes = act.flags.iter().any(|f| f.starts_with("--del"));
            for arg in act.args.iter_mut().filter(|a| a.option.is_none()) {
                let into = arg.role == Role::Into;
                if arg.text.contains("://")
                    || arg.text.split('/').next().is_some_and(|first| first.contains(':'))
                {
                    arg.role = Role::Host;
                } else if into && deletes {
                    arg.role = Role::Take;
                } else if !into {
                    arg.role = Role::Tree;
                }
            }
        }
        "docker" | "podman" | "docker-compose" => {
            let hosts: Vec<Arg> = act
                .values(&["-v", "--volume"])
                .filter_map(|a| {
                    a.text.split_once(':').map(|(host, _)| Arg {
                        text: host.to_owned(),
                        option: Some("host".to_owned()),
                        ..a.clone()
                    })
                })
                .filter(|a| a.text.contains(['/', '.', '~']))
                .collect();
            act.args.extend(hosts);
        }
        "zip" if act.has(&["-m"]) => act.doubt("an option that is not known"),
        "gzip" | "gunzip" | "bzip2" | "bunzip2" | "xz" | "unxz" | "zstd" | "unzstd" | "lz4" => {
            // What is unpacked gets the name without its ending.
            let unpacked: Vec<Arg> = act
                .operands()
                .filter_map(|a| a.text.rsplit_once('.').map(|(name, _)| (name.to_owned(), a)))
                .map(|(text, a)| Arg { text, option: Some("unpacked".to_owned()), ..a.clone() })
                .collect();
            act.args.extend(unpacked);
            if act.has(&["-c", "-l", "-t", "--stdout", "--list", "--test"]) {
                act.args.retain(|a| a.option.as_deref() != Some("unpacked"));
                act.args.iter_mut().filter(|a| a.option.is_none()).for_each(|a| a.role = Role::Read);
            }
        }
        "ssh-keygen" => {
            // Other uses make or remove keys.
            if !act.has(&["-l", "-y", "-F", "-B"]) {
                act.doubt("a use of keys that is not known");
            }
            act.args
                .iter_mut()
                .filter(|a| a.option.as_deref() == Some("-f"))
                .for_each(|a| a.role = Role::Read);
            if act.has(&["-y"]) {
                act.effects.insert("credential_read");
            }
        }
        "crontab" if !act.has(&["-l"]) => {
            act.effects.insert("persistence");
        }
        "crontab" => act.unread = None,
        "dpkg" if act.flags.is_empty() => act.doubt("a command of a program that is not known"),
        "psql" | "mysql" | "mariadb" | "sqlite3" | "sqlite" | "duckdb"
            // `-f file` holds statements that are not read.
            if act.has(&["-f", "--file"]) => {
                act.doubt("a script of a database that is not read");
            }
        "less" | "man" | "more" if act.operands().any(|a| a.text.starts_with('+')) => {
            act.doubt("an option that is not known")
        }
        _ => {}
    }
    act
}

/// Files that curl's options name for sending; a dash is what it is given as input.
fn sent(act: &Act) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let data =
        ["-d", "--data", "--data-binary", "--data-raw", "--data-ascii", "--json", "-H", "--header", "-b"];
    let raw = ["--data-raw"];
    for arg in act.values(&data) {
        if let Some(file) =
            arg.text.strip_prefix('@').filter(|_| !raw.contains(&arg.option.as_deref().unwrap_or_default()))
        {
            out.push(file.to_owned());
        }
    }
    for arg in act.values(&["--data-urlencode", "--url-query"]) {
        if let Some((_, file)) = arg.text.split_once('@').filter(|(name, _)| !name.contains('=')) {
            out.push(file.to_owned());
        }
    }
    // A format is read from a file, and shown; a cookie without a sign is a file's name.
    out.extend(
        act.values(&["-w", "--write-out"]).filter_map(|a| a.text.strip_prefix('@').map(str::to_owned)),
    );
    out.extend(act.values(&["-b", "--cookie"]).filter(|a| !a.text.contains('=')).map(|a| a.text.clone()));
    for arg in act.values(&["-F", "--form"]) {
        if let Some((_, value)) = arg.text.split_once('=')
            && value.starts_with(['@', '<'])
        {
            let files = value.trim_start_matches(['@', '<']).split(';').next().unwrap_or_default();
            out.extend(files.split(',').map(|f| f.trim_matches('"').to_owned()));
        }
    }
    out
}
