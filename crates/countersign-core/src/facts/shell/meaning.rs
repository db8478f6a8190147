//! Variables that change what names, programs and files mean. Whoever sets one may make any command another one.

use super::Word;

/// Variables of the shell and the loader.
const SHELL: &[&str] = &[
    "PATH",
    "IFS",
    "ENV",
    "BASH_ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS4",
    "HOME",
    "PWD",
    "OLDPWD",
    "CDPATH",
    "FPATH",
    "ZDOTDIR",
    "SHELL",
    "EXECIGNORE",
    "GLOBIGNORE",
    "FIGNORE",
    "HISTFILE",
    "INPUTRC",
    "MAILCHECK",
    "MAIL",
    "MAILPATH",
    "TMPDIR",
    "TMP",
    "TEMP",
    "POSIXLY_CORRECT",
    "BASH_XTRACEFD",
    "BASH_CMDS",
    "BASH_ALIASES",
    "BASH_LOADABLES_PATH",
    "DIRSTACK",
    "FUNCNAME",
    "NULLCMD",
    "READNULLCMD",
    "path",
    "fpath",
    "cdpath",
    "LOCPATH",
    "NLSPATH",
    "TEXTDOMAINDIR",
    "GCONV_PATH",
    "HOSTALIASES",
    "RESOLV_HOST_CONF",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TERMCAP",
];

/// Variables by which programs run others, or take their code and settings from elsewhere.
const PROGRAMS: &[&str] = &[
    "EDITOR",
    "VISUAL",
    "PAGER",
    "MANPAGER",
    "BROWSER",
    "LESSOPEN",
    "LESSCLOSE",
    "LESS",
    "MORE",
    "GREP_OPTIONS",
    "TAR_OPTIONS",
    "RSYNC_RSH",
    "CVS_RSH",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "RUBYOPT",
    "RUBYLIB",
    "CLASSPATH",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "MAVEN_OPTS",
    "GRADLE_OPTS",
    "MAKEFLAGS",
    "MFLAGS",
    "GNUMAKEFLAGS",
    "MAKEFILES",
    "MAKE",
    "CC",
    "CXX",
    "CPP",
    "LD",
    "AR",
    "AS",
    "CFLAGS",
    "CXXFLAGS",
    "LDFLAGS",
    "RUSTC",
    "RUSTDOC",
    "RUSTFMT",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "MIRIFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "GOFLAGS",
    "GOROOT",
    "GOPATH",
    "GOPROXY",
    "GOTOOLDIR",
    "GOENV",
    "GOBIN",
    "GCC_EXEC_PREFIX",
    "COMPILER_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "COMPOSER_HOME",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "WGETRC",
    "CURL_HOME",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "REQUESTS_CA_BUNDLE",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_HOME",
    "XDG_DATA_DIRS",
    "SQLITE_HISTORY",
    "PSQLRC",
    "PSQL_PAGER",
    "PSQL_EDITOR",
    "KUBECONFIG",
    "KUBE_EDITOR",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "VIMINIT",
    "EXINIT",
    "VIM",
    "VIMRUNTIME",
    "AWKPATH",
    "AWKLIBPATH",
    "TCLLIBPATH",
    "LUA_INIT",
    "LUA_PATH",
    "LUA_CPATH",
    "JULIA_LOAD_PATH",
    "R_PROFILE",
    "R_ENVIRON",
    "FZF_DEFAULT_COMMAND",
    "FZF_DEFAULT_OPTS",
    "BAT_PAGER",
    "DELTA_PAGER",
    "RIPGREP_CONFIG_PATH",
    "DENO_DIR",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// Beginnings of names with one meaning each: the loader's, the interpreters', the tools' own.
const FAMILIES: &[&str] = &[
    "LD_",
    "DYLD_",
    "GLIBC_",
    "MALLOC_",
    "BASH_FUNC_",
    "GIT_",
    "SSH_",
    "PYTHON",
    "PERL",
    "npm_config_",
    "NPM_CONFIG_",
    "YARN_",
    "CARGO_TARGET_",
    "CARGO_BUILD_",
    "CARGO_ALIAS_",
    "CARGO_REGISTR",
    "CARGO_HOME",
    "CARGO_SOURCE_",
    "RUSTUP_",
    "PIP_",
    "UV_",
    "BUNDLE_",
    "GEM_",
    "LC_ALL_",
    "COUNTERSIGN_",
    "CLAUDE_",
    "CODEX_",
    "GEMINI_",
    "LIBSSH",
    "GTK_",
    "QT_PLUGIN",
    "GIO_",
    "LESSKEY",
];

/// Variables of those families that change no command.
const HARMLESS: &[&str] = &[
    "GIT_TERMINAL_PROMPT",
    "GIT_OPTIONAL_LOCKS",
    "GIT_PROGRESS_DELAY",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_CURL_VERBOSE",
    "GIT_MERGE_AUTOEDIT",
    "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_DATE",
    "GIT_COMMITTER_NAME",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_DATE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONUNBUFFERED",
    "PYTHONHASHSEED",
    "PYTHONUTF8",
    "PYTHONIOENCODING",
    "PYTHONFAULTHANDLER",
    "PIP_NO_INPUT",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "CARGO_BUILD_JOBS",
    "CARGO_TARGET_DIR",
    "UV_NO_PROGRESS",
    "npm_config_loglevel",
    "npm_config_yes",
    "PERL_BADLANG",
    "PYTHONNOUSERSITE",
    "PYTHONSAFEPATH",
    "PYTHONDEVMODE",
    "PYTHONTRACEMALLOC",
    "PYTHONASYNCIODEBUG",
    "UV_FROZEN",
    "UV_LOCKED",
    "UV_OFFLINE",
    "UV_NO_SYNC",
    "UV_NO_CACHE",
    "PIP_NO_CACHE_DIR",
    "PIP_QUIET",
    "npm_config_audit",
    "npm_config_fund",
    "npm_config_progress",
    "npm_config_offline",
    "npm_config_update_notifier",
    "npm_config_ignore_scripts",
    "YARN_ENABLE_PROGRESS_BARS",
    "YARN_ENABLE_TELEMETRY",
    "YARN_ENABLE_IMMUTABLE_INSTALLS",
    "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
    "BUNDLE_JOBS",
    "BUNDLE_RETRY",
    "BUNDLE_FROZEN",
];

/// Variables that name a program, with the programs that only show what they are given.
const SHOWING: &[&str] = &[
    "GIT_PAGER",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "PAGER",
    "EDITOR",
    "VISUAL",
    "MANPAGER",
    "KUBE_EDITOR",
];

/// Options of rustc by which lints, conditions and the shape of the code are chosen, and no program or file: with a value
/// attached or behind it.
const RUSTC: &[&str] =
    &["-D", "-A", "-W", "-F", "--cfg", "--check-cfg", "--deny", "--allow", "--warn", "--forbid"];
/// What `-C` may be given.
const RUSTC_CODE: &[&str] = &[
    "target-cpu",
    "target-feature",
    "opt-level",
    "debuginfo",
    "instrument-coverage",
    "lto",
    "codegen-units",
    "panic",
    "debug-assertions",
    "overflow-checks",
    "strip",
    "force-frame-pointers",
    "embed-bitcode",
    "symbol-mangling-version",
    "relocation-model",
    "incremental=no",
    "split-debuginfo",
    "prefer-dynamic",
    "force-unwind-tables",
];
/// What `-Z` may be given.
const RUSTC_UNSTABLE: &[&str] = &[
    "sanitizer",
    "randomize-layout",
    "minimal-versions",
    "share-generics",
    "threads",
    "macro-backtrace",
    "unstable-options",
    "miri-disable-isolation",
    "mutable-noalias",
    "sanitizer-memory-track-origins",
];

/// Whether flags for rustc choose nothing that runs or is linked.
fn mild_rustc(flags: &str) -> bool {
    let mut words = flags.split_whitespace();
    while let Some(word) = words.next() {
        let (list, value) = if let Some(rest) = word.strip_prefix("-C").or(word.strip_prefix("--codegen")) {
            (RUSTC_CODE, rest)
        } else if let Some(rest) = word.strip_prefix("-Z") {
            (RUSTC_UNSTABLE, rest)
        } else {
            // The name of a lint or condition may stand apart, and text in quotes is one word to nobody here.
            let name = word.split('=').next().unwrap_or_default();
            let option = RUSTC.iter().any(|o| name == *o || (o.len() == 2 && name.starts_with(o)));
            let plain = |c: char| c.is_ascii_alphanumeric() || "_:=\"-".contains(c);
            let misplaced = !option && word.starts_with('-');
            if misplaced || !word.chars().all(plain) {
                return false;
            }
            continue;
        };
        let value = match value.trim_start_matches('=') {
            "" => words.next().unwrap_or_default(),
            value => value,
        };
        let name = value.split('=').next().unwrap_or_default();
        let path = value.contains(['/', '\\']);
        // Miri's own, but for those by which it loads a library.
        let miri = name.starts_with("miri-") && !name.contains("lib") && !name.contains("extern");
        if miri && !path {
            continue;
        }
        if path || !(list.contains(&name) || list.contains(&value)) {
            return false;
        }
    }
    true
}

/// Why setting a variable makes a line opaque.
pub(super) fn changed(name: &str, value: &Word) -> Option<&'static str> {
    if matches!(name, "RUSTFLAGS" | "RUSTDOCFLAGS" | "MIRIFLAGS") && !value.unknown && mild_rustc(&value.text)
    {
        return None;
    }
    // A toolchain and a target by name; a path would be one of somebody's own.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let named = !value.unknown && !value.live && value.text.chars().all(plain);
    let official = ["stable", "beta", "nightly", "1."].iter().any(|n| value.text.starts_with(n));
    match name {
        "RUSTUP_TOOLCHAIN" if named && official => return None,
        "CARGO_BUILD_TARGET" if named && !value.text.ends_with(".json") => return None,
        _ => {}
    }
    const WHY: Option<&str> = Some("an assignment that changes what names or programs mean");
    // Who somebody is to a service changes no command.
    let proves = ["_API_KEY", "_TOKEN"].iter().any(|end| name.ends_with(end));
    if HARMLESS.contains(&name) || (proves && !name.starts_with("COUNTERSIGN_")) {
        // A file that is traced into is written.
        return if name.starts_with("GIT_TRACE") && value.text.contains('/') { WHY } else { None };
    }
    if SHOWING.contains(&name) && matches!(value.text.as_str(), "" | "cat" | "true" | ":") && !value.unknown {
        return None;
    }
    let known =
        SHELL.contains(&name) || PROGRAMS.contains(&name) || FAMILIES.iter().any(|f| name.starts_with(f));
    if known { WHY } else { None }
}
