//! Files that hold keys and passwords: reading them asks, sending them away is refused.

use super::super::programs::{Act, Role};
use super::super::{ShellFacts, Simple, UNKNOWN};
use super::{Line, network};

/// File names that hold secrets wherever they lie.
const NAMES: &[&str] = &[
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".git-credentials",
    "credentials.json",
    "application_default_credentials.json",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_ed25519_sk",
    "id_ecdsa_sk",
    ".htpasswd",
    ".dockercfg",
    ".bash_history",
    ".zsh_history",
    "shadow",
    "gshadow",
    "master.passwd",
    "accesstokens.json",
    "service-account.json",
    "kubeconfig",
    ".vault-token",
    "secrets.yml",
    "secrets.yaml",
    "secrets.json",
    "token.json",
    "login.keychain-db",
    ".s3cfg",
    ".boto",
    "terraform.tfstate",
    "credentials.tfrc.json",
    "wallet.dat",
    "secring.gpg",
    "cookies.sqlite",
    "logins.json",
    "key4.db",
];
/// Ends of paths that do, and folders in which everything is one.
const ENDS: &[&str] = &[
    ".aws/credentials",
    ".aws/config",
    ".kube/config",
    ".docker/config.json",
    ".config/gh/hosts.yml",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".config/gcloud/credentials.db",
    ".config/hub",
    ".azure/accessTokens.json",
    ".config/rclone/rclone.conf",
];
const FOLDERS: &[&str] = &[
    "/.gnupg/",
    "/.aws/sso/",
    "/.password-store/",
    "/Library/Keychains/",
    "/.local/share/keyrings/",
    "/.config/op/",
    "/.mozilla/",
    "/.config/google-chrome/",
    "/.claude/.credentials",
];
const EXTENSIONS: &[&str] = &[".p12", ".pfx", ".kdbx", ".keystore", ".jks", ".ppk", ".asc-key"];

/// Whether a path names a file of keys or passwords.
pub(crate) fn secret(path: &str) -> bool {
    let path = path.replace("$HOME", "~").replace("//", "/");
    let name = path.rsplit('/').next().unwrap_or_default();
    let in_ssh = path.contains(".ssh/")
        && !["config", "known_hosts", "known_hosts.old", "environment"].contains(&name)
        && !name.ends_with(".pub")
        && name != "authorized_keys";
    let folder = |f: &str| {
        let inside = f.trim_end_matches('/');
        path.contains(f) || path.ends_with(inside) || path.starts_with(inside.trim_start_matches('/'))
    };
    in_ssh
        || path.ends_with(".ssh")
        || NAMES.contains(&name)
        || ENDS.iter().any(|e| path.ends_with(e))
        || FOLDERS.iter().any(|f| folder(f))
        || EXTENSIONS.iter().any(|e| name.ends_with(e))
        || path.starts_with("/proc/") && path.ends_with("/environ")
        || name.contains(['*', '?', '[']) && likely(&path, name)
}

/// A pattern that may well stand for such a file.
fn likely(path: &str, name: &str) -> bool {
    let glob = crate::glob::Glob::new(name);
    NAMES.iter().any(|n| glob.matches(n))
        && (name.starts_with('.') || name.starts_with("id") || path.contains(".ssh") || path.contains(".aws"))
}

/// What is blocked for everybody, and worse when it leaves.
fn environment_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let example = ["example", "sample", "template", "dist", "defaults"].iter().any(|s| name.ends_with(s));
    (name == ".env"
        || name.starts_with(".env.")
        || name == ".envrc"
        || name.ends_with(".pem")
        || name.ends_with(".key"))
        && !example
}

/// Whether a file should never leave the machine.
pub(super) fn precious(path: &str) -> bool {
    secret(path) || environment_file(path)
}

/// Whether a command shows the environment, in which secrets lie.
fn shows_environment(command: &Simple, act: &Act) -> bool {
    match command.program() {
        "env" => act.operands().next().is_none() && !command.args().any(|w| !w.starts_with('-')),
        "printenv" => true,
        "set" | "export" | "declare" | "typeset" | "compgen" => {
            command.args().all(|w| matches!(w, "-p" | "-x" | "-px" | "-xp" | "-v"))
        }
        "history" | "fc" => true,
        _ => false,
    }
}

fn read_by<'a>(command: &'a Simple, act: &'a Act) -> impl Iterator<Item = &'a str> {
    let roles = |r: Role| {
        matches!(r, Role::Read | Role::Tree | Role::Any | Role::Sent | Role::Take | Role::Host | Role::Code)
    };
    let args = act.args.iter().filter(move |a| roles(a.role)).map(|a| a.text.as_str());
    args.chain(command.reads.iter().map(|w| w.text.as_str()))
}

/// Whether what a command says or sends holds secrets.
pub(super) fn holds_secrets(command: &Simple, act: &Act) -> bool {
    shows_environment(command, act) || read_by(command, act).any(precious)
}

pub(super) fn add(line: &Line<'_>, facts: &mut ShellFacts) {
    let mut seen = false;
    for (at, command, act) in line.each() {
        // Whose names are handed on, it is as if it were read.
        let hands = command.program() == "find"
            && line
                .commands
                .iter()
                .any(|c| c.run_by == Some(at) || (c.piped_from == Some(at) && c.program() != "grep"));
        let looks = act.values(&["-name", "-iname"]).map(|a| a.text.as_str());
        if hands && act.operands().map(|a| a.text.as_str()).chain(looks).any(secret) {
            facts.effects.insert("credential_read");
        }
        let quiet = matches!(
            command.program(),
            "ls" | "stat"
                | "test"
                | "["
                | "touch"
                | "mkdir"
                | "chmod"
                | "chown"
                | "rm"
                | "rmdir"
                | "file"
                | "du"
                | "ssh-keygen"
                | "find"
                | "echo"
        );
        let reads = !quiet && read_by(command, act).any(secret);
        // The option by which a program proves who it is shows nothing.
        let proves =
            matches!(command.program(), "ssh" | "scp" | "rsync" | "curl" | "kubectl" | "docker" | "psql")
                && !act
                    .args
                    .iter()
                    .any(|a| matches!(a.role, Role::Host | Role::Sent | Role::Code) && precious(&a.text));
        if reads && !proves {
            facts.effects.insert("credential_read");
        }
        seen |= (reads && !proves)
            || shows_environment(command, act)
            || read_by(command, act).any(precious) && !quiet;
    }
    // What one command of the line found, another says in an address or a name.
    let tells = line.each().any(|(_, command, act)| {
        network::speaks(command) && act.args.iter().any(|a| a.text.contains(UNKNOWN))
    });
    if seen && tells {
        facts.effects.insert("secret_upload");
    }
}
