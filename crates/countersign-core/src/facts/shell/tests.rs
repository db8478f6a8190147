//! What is understood, what is not, and what is found in what is understood. Lines that once slipped through stay here.

use super::*;

fn read(line: &str) -> ShellFacts {
    ShellFacts::read(line)
}

#[test]
fn plain_lines_are_understood() {
    for (line, commands) in [
        ("ls -la", vec!["ls -la"]),
        ("cd a && cargo test 2>&1 | tail -5", vec!["cd a", "cargo test", "tail -5"]),
        ("echo \"it's\" 'a b' > out.txt", vec!["echo 'it'\\''s' 'a b' >out.txt"]),
        ("grep -rn foo *.rs; git status", vec!["grep -rn foo *.rs", "git status"]),
        ("echo a\\ b # comment", vec!["echo 'a b'"]),
        ("sort < in >> out &> log", vec!["sort <in >out >log"]),
        ("git commit -m 'countersign approve all'", vec!["git commit -m 'countersign approve all'"]),
        ("python3 tools/x.py --fast", vec!["python3 tools/x.py --fast"]),
        ("./deploy production", vec!["./deploy production"]),
        ("sed -n '1,5p' a | sed 's/a/b/g'", vec!["sed -n 1,5p a", "sed s/a/b/g"]),
        ("npm run build && npm test", vec!["npm run build", "npm test"]),
        ("[ -f x ] && echo y", vec!["'[' -f x ']'", "echo y"]),
    ] {
        let facts = read(line);
        assert_eq!(facts.opaque, None, "{line}");
        assert_eq!(facts.commands.iter().map(Simple::text).collect::<Vec<_>>(), commands, "{line}");
        assert!(!facts.runs_gate, "{line}");
    }
}

/// P-6: what is not fully understood says so.
#[test]
fn the_rest_is_opaque() {
    for line in [
        "xargs rm",
        "find . -exec rm x ;",
        "find . -fprint0 x",
        "python3 -c 'x'",
        "python3.12 -c x",
        "pypy3 -c x",
        "node -e x",
        "curl x | sh",
        "python3 -",
        "rm .e*",
        "echo 'x",
        "diff <(a) b",
        "rm x >",
        "git -c core.pager=x log",
        "ssh host rm x",
        ". ./x",
        "source x",
        "ls ~root",
        "echo a\rb",
        "alias x=y",
        "export PATH=/x",
        "GIT_DIR=x git push",
        "git config x y",
        "trap x EXIT",
        // found by review: programs that run others, patterns for programs, abbreviated options
        "/usr/bin/gi[t] push -f",
        "/bin/ba[s]h -c x",
        "git -C . -c alias.p='push --force' p origin main",
        "git p origin",
        "/usr/lib/git-core/git-push -f origin main",
        "git remote add --mirror=push m u",
        "bash /dev/stdin <<< 'git push -f'",
        "echo x | bash /dev/stdin",
        "python3 /dev/fd/0",
        "git --attr-source HEAD push -f",
        "git push origin x [-]-forc?",
        "git send-pack --force",
        "git subtree push",
        "git clone -u x y",
        "git fetch --upload-pac x",
        "git push --exec=x o b",
        "git grep -Ox y",
        "git clone ext::sh y",
        "rg --pre x y",
        "sort --compress-prog x",
        "split --filter x",
        "tar -I x -xf y",
        "tar xf y",
        "unzip y",
        "rsync -e x a b",
        "zip -TT x",
        "nc -e x",
        "vim -c '!x'",
        "less '+!x'",
        "man -P x",
        "sed 1e",
        "sed '1w x' y",
        "sed -f x",
        "sed 's/a/b/w x' y",
        "sed 's/a/b/e' y",
        "emacs --eval x",
        "sqlite3 db '.shell x'",
        "psql -c x",
        "uv run python -c x",
        "npm exec x",
        "npx x",
        "yarn dlx x",
        "pipx x",
        "cargo --config x build",
        "cargo +x build",
        "cargo foo",
        "go generate",
        "go test -exec x",
        "make -f x",
        "make SHELL=x",
        "fd -x rm",
        "wget -e x",
        "curl -K x",
        "pkexec x",
        "perf record x",
        "ld.so x",
        "compgen -C x",
        "bind -x",
        "echo a\u{1b}[2Kb",
        "echo a\u{9b}b",
        "git push origin \"fea*\"* -f",
        // a second review: clusters, abbreviations, attached and shortened options, names elsewhere
        "cp --targ=.claude x",
        "cp -rT y .claude",
        "cp -b -S .json a b",
        "mv -ft.claude x",
        "ln -ft.claude x",
        "install -Dt.claude x",
        "sed -i.local.json s/v/v/ x",
        "git checkout evil -- '.c*/*'",
        "git checkout evil .",
        "git restore --source=evil .",
        "git rm -f '*settings*'",
        "git add --pathspec-from-file=x",
        "git checkout ':!src'",
        "curl --output-dir .claude -O u",
        "curl -sK x",
        "curl --conf x u",
        "curl -o '#1/x' 'https://x.org/{.claude}'",
        "curl 'file:///x/.e%6ev'",
        "curl --unix-socket x u",
        "rustc --emit=link=x a.rs",
        "git init --separate-git-dir=../g .",
        "git clone -qu x y",
        "git clone --con=core.fsmonitor=x y",
        "git fetch --up=x",
        "git push --exe=x o b",
        "git grep -nOx y",
        "git grep --op=x y",
        "git reflog -p --ext-diff",
        "git rev-list --output=x",
        "git init --te=x",
        "git pull -qs x",
        "git commit -qS",
        "git tag --si x",
        "git branch --e",
        "rustc -gC linker=x",
        "make -sf mk",
        "make --mak=x",
        "npm --loglevel test exec -c x",
        "cargo --target-dir build evil",
        "cargo build --conf x",
        "go test --exec=x",
        "go build -ldflags=-extld=x",
        "npm test --script-sh=x",
        "npm run x --node-options=y",
        "pytest -qp evil",
        "pytest -vo x",
        "python3 -m pytest -p evil",
        "fd -Hx y",
        "cmake -C x",
        "/tmp/evil/git status",
        "/tmp/evil/ls",
        "cat x | bash //dev/stdin",
        "bash ../../../dev/stdin",
        "deno eval x",
        "bun x evil",
        "node inspect x",
        "php artisan tinker",
        "rg --pr=x y",
    ] {
        assert!(read(line).opaque.is_some(), "{line}");
    }
    assert!(read(&"ls;".repeat(257)).opaque.is_some());
}

/// What developers write all day is understood: a gate that asks about everything is switched off.
#[test]
fn ordinary_lines_are_understood() {
    for line in [
        "git add .",
        "git add -A && git commit -m \"Fix the bug!\"",
        "git checkout -b feature",
        "git restore a.rs",
        "git diff HEAD~1",
        "git log --oneline -5",
        "git stash",
        "git fetch origin && git rebase --help",
        "git switch main",
        "git pull --ff-only",
        "git show HEAD:src/a.rs",
        "git branch -a",
        "git status --short",
        "git push -u origin feature",
        "cp a b",
        "cp -r src build",
        "mv x y",
        "rm -rf node_modules",
        "mkdir -p a/b",
        "touch x",
        "chmod +x run.sh",
        "npm test",
        "npm install --save-dev x",
        "npm run build -- --watch",
        "cargo test -p x --lib",
        "cargo build --release",
        "cargo fmt --all --check",
        "cargo clippy --all-targets -- -D warnings",
        "go test ./...",
        "pytest -q tests",
        "python3 script.py --flag",
        "node build.js",
        "sed -i s/a/b/ f",
        "sed -n '1,40p' f",
        "grep -rn x src",
        "find . -name '*.rs'",
        "ls -la | head",
        "curl -s https://example.org",
        "curl -fsSL -o x.tgz https://example.org/x.tgz",
        "echo done > out.txt",
        "cat a.txt | sort -u | wc -l",
        "make -j4",
        "tsc --noEmit",
        "eslint --fix src",
        "./run.sh fast",
    ] {
        let why = read(line).opaque;
        assert!(why.is_none() || line.contains("rebase"), "{line}: {why:?}");
    }
}

/// INV-23: spellings of a force push, and the one that is not.
#[test]
fn force_pushes() {
    for line in [
        "git push --force",
        "git push -f origin main",
        "git push origin main --force",
        "git  push   -f",
        "git -C d push -f",
        "git push origin +main",
        "git push -uf origin x",
        "/usr/bin/git push --force",
        "cd a && git push -f",
        "git push 'origin' \"main\" '--force'",
        "git --no-pager push -f",
        "g\\it push --force",
        "git push --mirror",
        "git push --mirr origin",
        "git push --forc origin",
        "git push origin -- +x",
    ] {
        let facts = read(line);
        assert!(facts.git_force_push && facts.opaque.is_none(), "{line}: {:?}", facts.opaque);
    }
    for line in [
        "git push --force-with-lease",
        "git push origin main",
        "git push origin --follow-tags",
        "echo git push --force",
    ] {
        assert!(!read(line).git_force_push, "{line}");
    }
    let refs = |l: &str| read(l).git_push_refs.into_iter().collect::<Vec<_>>();
    assert_eq!(refs("git push origin HEAD:refs/heads/main +x"), ["main", "x"]);
    assert_eq!(refs("git push origin HEAD:heads/main"), ["main"]);
    assert_eq!(refs("git push origin 'refs/heads/m*:refs/heads/m*'"), ["m*"]);
    assert_eq!(refs("git push --all origin"), ["*"]);
    assert_eq!(refs("git push --b origin"), ["*"]);
    assert_eq!(refs("git push origin :"), ["*"]);
}

#[test]
fn calls_to_the_gate_itself() {
    for line in [
        "countersign approve X",
        "/opt/bin/countersign --project . approve X",
        "ls; countersign resume",
        "bash -c 'countersign approve X'",
        "env countersign mode watch",
        "countersign audit seal",
        "x=$(countersign vault list)",
        "countersign --project status approve X",
        "countersign -q trust accept project",
        "countersign audit note tail",
        "countersign hook claude-code end",
        "echo x | countersign decide",
        "countersign approve X -- --help",
        "countersign report --out /etc/x",
    ] {
        assert!(read(line).runs_gate, "{line}");
    }
    for line in [
        "countersign pending",
        "countersign status --json",
        "countersign audit verify",
        "countersign --help",
        "echo countersign approve",
        "countersign --project . audit tail -n 5",
        "countersign approve --help",
    ] {
        assert!(!read(line).runs_gate, "{line}");
    }
}

#[test]
fn forms_meet_patterns_of_the_plain_spelling() {
    let has = |line: &str, form: &str| {
        assert!(read(line).forms().contains(&form.to_string()), "{line}: {:?}", read(line).forms());
    };
    has("rm   -fr  /", "rm -rf /");
    has("rm -r -f /", "rm -rf /");
    has("rm --recursive --force /", "rm -rf /");
    has("rm --recu --forc /", "rm -rf /");
    has("rm / -rf", "rm -rf /");
    has("git -C d push origin main --force", "git push --force origin main");
}

#[test]
fn different_commands_have_different_texts() {
    let text = |l: &str| read(l).commands[0].text();
    assert_ne!(text("rm 'a b'"), text("rm a b"));
    assert_ne!(text("echo '>x'"), text("echo >x"));
    assert_ne!(text("git push origin '*'"), text("git push origin *"));
    assert_ne!(text("cat '~/x'"), text("cat ~/x"));
}
