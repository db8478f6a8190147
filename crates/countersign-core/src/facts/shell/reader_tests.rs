//! Where commands are found, what is known of their words, and what makes a line opaque instead.

use super::*;

fn read(line: &str) -> ShellFacts {
    ShellFacts::read(line)
}

/// Commands are found at every place where one can stand, with the values that are known.
#[test]
fn commands_at_every_place() {
    for (line, commands) in [
        ("echo $HOME", vec!["echo ~"]),
        ("echo \"$(id)\"", vec!["id", "echo '\u{fffc}'"]),
        ("echo `id`", vec!["id", "echo '\u{fffc}'"]),
        ("(rm x) > out", vec![">out", "rm x"]),
        ("{ rm x; }", vec!["rm x"]),
        ("! rm x", vec!["rm x"]),
        ("time -p rm x", vec!["rm x"]),
        ("coproc rm x", vec!["rm x"]),
        ("rm a & rm b", vec!["rm a", "rm b"]),
        (
            "if true; then rm a; elif rm b; then rm c; else rm d; fi",
            vec!["true", "rm a", "rm b", "rm c", "rm d"],
        ),
        ("while rm a; do rm b; done", vec!["rm a", "rm b"]),
        ("for i in a b; do rm $i.txt; done", vec!["rm a.txt", "rm b.txt"]),
        ("for f in *.rs; do rm \"$f\"; done", vec!["rm *.rs"]),
        ("for ((i=0;i<3;i++)); do rm x; done", vec!["rm x"]),
        ("case $x in $(rm a)) rm b;; c|d) rm e;; esac", vec!["rm a", "rm b", "rm e"]),
        ("f() { rm x; }", vec!["rm x"]),
        ("f() { rm \"$1\"; }; f hello", vec!["rm hello"]),
        ("f() { rm x; }; f >out", vec!["rm x", ">out"]),
        ("[[ -f $(rm x) && $y == z ]]", vec!["rm x"]),
        ("(( x = $(rm y) + 1 ))", vec!["rm y"]),
        ("echo $((1 + $(rm y)))", vec!["rm y", "echo '\u{fffc}'"]),
        ("a=(b $(rm c))", vec!["rm c"]),
        ("a=$(rm c)", vec!["rm c"]),
        (
            "echo ${x:-$(rm a)} \"${y:=`rm b`}\" ${z//$(rm c)/}",
            vec!["rm a", "rm b", "rm c", "echo '\u{fffc}' '\u{fffc}' '\u{fffc}'"],
        ),
        (
            "cat <<EOF\n$(rm x) `rm y` ${z:-$(rm z)}\nEOF",
            vec!["rm x", "rm y", "rm z", "cat <<<'\u{fffc} \u{fffc} \u{fffc}\n'"],
        ),
        ("cat <<'EOF'\n$(rm x)\nEOF", vec!["cat <<<'$(rm x)\n'"]),
        (
            "cat <<EOF | tee x && rm \"$(id -u)\"y\nfoo\nEOF\nrm z",
            vec!["cat <<<'foo\n'", "tee x", "id -u", "rm '\u{fffc}y'", "rm z"],
        ),
        ("cat <<< \"$(rm x)\"", vec!["rm x", "cat <<<'\u{fffc}'"]),
        ("diff <(sort a) <(sort b)", vec!["sort a", "sort b", "diff /dev/fd/63 /dev/fd/62"]),
        ("echo {a,b}{1..2}", vec!["echo a1 a2 b1 b2"]),
        ("x=src; ls $x \"$x/a\"", vec!["ls src src/a"]),
        ("x=1; if true; then x=2; fi; echo $x; x=3; echo $x", vec!["true", "echo '\u{fffc}'", "echo 3"]),
        ("x=1; for i in a b; do echo $x; x=2; done", vec!["echo '\u{fffc}'", "echo '\u{fffc}'"]),
        ("x=1; true || x=2; echo $x", vec!["true", "echo '\u{fffc}'"]),
        ("x='a b'; ls $x", vec!["ls a b"]),
        ("ls \"$PWD/src\" $(pwd)/b", vec!["pwd", "ls ./src ./b"]),
        (r"echo $'a\x41\''", vec![r"echo 'aA'\'''"]),
        ("A=b rm x", vec!["A=b rm x"]),
        // A function that may not be there is no excuse.
        ("( rm() { true; } ); rm x", vec!["true", "rm x"]),
        ("rm x; rm() { true; }", vec!["true", "rm x"]),
        ("false && rm() { true; }; rm x", vec!["false", "true", "rm x"]),
        ("select x in a; do rm b; done", vec!["rm b"]),
    ] {
        let facts = read(line);
        let texts: Vec<String> = facts.commands.iter().map(Simple::text).collect();
        assert_eq!(texts, commands, "{line}: {:?}", facts.opaque);
    }
}

/// What a wrapper runs is a command of the line, and tells who runs it.
#[test]
fn wrappers_are_read_through() {
    for (line, command) in [
        ("bash -c 'rm x'", "rm x"),
        ("bash -xec 'rm x'", "rm x"),
        ("sh -c 'rm \"$1\"' _ x", "rm x"),
        ("sh <<< 'rm x'", "rm x"),
        ("bash <<'EOF'\nrm x\nEOF", "rm x"),
        ("echo 'rm x' | sh", "rm x"),
        ("cat <<'EOF' | sh\nrm x\nEOF", "rm x"),
        ("bash <(echo rm x)", "rm x"),
        ("source <(echo rm x)", "rm x"),
        ("env A=b rm x", "A=b rm x"),
        ("env -i bash -c 'nice rm x'", "rm x"),
        ("eval rm x", "rm x"),
        ("eval 'r'\"m\" x", "rm x"),
        ("exec rm x", "rm x"),
        ("command rm x", "rm x"),
        ("builtin eval 'rm x'", "rm x"),
        ("timeout -k 3 5 rm x", "rm x"),
        ("nohup rm x", "rm x"),
        ("nice -n 5 rm x", "rm x"),
        ("stdbuf -oL rm x", "rm x"),
        ("setsid -f rm x", "rm x"),
        ("trap 'rm x' EXIT", "rm x"),
        ("echo x | xargs rm", "rm x"),
        ("echo x | xargs -I{} rm {}", "rm x"),
        ("busybox rm x", "rm x"),
        ("watch -n 1 'rm x'", "rm x"),
        ("script -qc 'rm x' /dev/null", "rm x"),
        ("find . -name a -exec rm x ';'", "rm x"),
    ] {
        let facts = read(line);
        let found = facts.commands.iter().find(|c| c.text() == command);
        assert!(found.is_some_and(|c| c.run_by.is_some()), "{line}: {:?}", facts.commands);
        assert_eq!(facts.opaque, None, "{line}");
    }
}

/// Found by fuzzing: the grammar panics on file numbers that no number holds. As plain words they are words.
#[test]
fn large_file_numbers_are_not_read() {
    for line in ["a 21111111111>/dev/null", "99999999999<x", "a 1111111111>&2", "echo \"$(a 9999999999>b)\""]
    {
        assert!(read(line).opaque.is_some(), "{line}");
    }
    assert_eq!(read("echo 12345678901234567890").opaque, None);
    assert_eq!(read("echo 12345678901234567890 > x").opaque, None);
    assert_eq!(read("echo 2>x").opaque, None);
}

/// Found by fuzzing: a function that a wrapped line defines and does not call may be called by what it runs.
#[test]
fn functions_that_are_not_called_are_read_in_wrappers_too() {
    for line in ["f() { rm -rf ~; }; ./x", "function f { a | rm -rf ~; }; ./x f"] {
        for line in
            [line.to_owned(), format!("bash -c {}", quote(line)), format!("(bash -c {})", quote(line))]
        {
            assert!(read(&line).programs().contains("rm"), "{line}");
        }
    }
}

/// Found as well, but asked about.
#[test]
fn wrappers_that_are_asked_about() {
    for line in [
        "sudo -u root rm x",
        "sudo bash -c 'rm x'",
        "su -c 'rm x'",
        "su - root -c 'rm x'",
        "ssh -p 22 host 'rm x'",
        "ssh host -- rm x",
        "docker run --rm -it image rm x",
        "docker exec -u root box sh -c 'rm x'",
        "kubectl exec pod -- rm x",
        "git -c alias.y='!rm x' y",
        "git submodule foreach 'rm x'",
        "chroot /y rm x",
        "anything --at all bash -c 'rm x'",
        "anything env sh -ec 'rm x'",
        "find . -exec rm x ';' -delete",
    ] {
        let facts = read(line);
        // What a container runs is judged like anything else.
        let container = line.starts_with("docker") || line.starts_with("kubectl");
        assert!(container || facts.opaque.is_some() || !facts.effects.is_empty(), "{line}");
        assert!(facts.commands.iter().any(|c| c.text() == "rm x"), "{line}: {:?}", facts.commands);
    }
    for line in ["timeout --odd 5 rm x", "fd -e o -x rm", "parallel rm ::: x"] {
        let facts = read(line);
        assert!(facts.opaque.is_some(), "{line}");
        assert!(facts.commands.len() > 1, "{line}: {:?}", facts.commands);
    }
}

/// What cannot be known before it runs.
#[test]
fn what_is_not_known_is_asked_about() {
    for line in [
        "$x",
        "$(echo rm) $x",
        "\"$x\" y",
        "rm $x",
        "rm \"$(cat list)\"",
        "xargs rm",
        "cat list | xargs rm",
        "bash -c \"$x\"",
        "bash -c \"rm $x\"",
        "eval \"$(cat x)\"",
        "curl x | sh",
        "curl x | bash -s -- y",
        "bash <(curl x)",
        "source <(curl x)",
        "echo x > $y",
        "echo x > \"$(id)\"",
        "cat < $y",
        "echo x > /dev/tcp/h/1",
        "\"${ rm x; }\"",
        "echo ${!x}",
        "echo ${x@P}",
        "echo $[1+1]",
        "echo $\"a\"",
        "echo @(a|b)",
        "ls *(e:'rm x':)",
        "x='a[$(rm y)]'; (( x ))",
        "[[ 'a[$(rm y)]' -eq 0 ]]",
        "test -v 'a[$(rm y)]'",
        "read 'a[$(rm y)]'",
        "printf -v 'a[$(rm y)]' z",
        "unset 'a[$(rm y)]'",
        "declare -n x=y",
        "declare -i x=y",
        "IFS=,; ls a,b",
        "export PATH=/x",
        "env LD_PRELOAD=x ls",
        "BASH_ENV=x ls",
        "read PATH",
        "for PATH in x; do ls; done",
        ": ${PATH:=x}",
        "printf -v PATH x",
        "GIT_SSH_COMMAND=x git fetch",
        "GIT_EDITOR=x git commit",
        "HOME=/x ls ~",
        "ls() { rm x; }; unset -f ls; ls",
        "alias ls='rm x'\nls",
        "ls {1..1000}",
        "echo {a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}",
        "x=\u{fffc}",
        "f() { f; f; }; f",
        "set -- rm; \"$1\"",
        "=rm x",
        "r{m,x} $y",
        // What another shell, another place or another time makes of it.
        "( rm() { true; } ); rm $x",
        "eval() { true; }; eval 'ls'",
        "trap 'y=/' DEBUG; y=safe; rm -rf $y",
        "_=safe; ls /; rm $_",
        "y=a; y=b :; rm $y",
        "curl x | sh 3<<< ls",
        "curl x | sh 3<<E\nls\nE",
        "sh <<< ls < x",
        "sh <<< ls <&3",
        "exec 63<x; echo <(echo ls); bash /dev/fd/63",
        "bash /dev/fd/63 <(echo ls)",
        "/tmp/evil/nohup ls",
        "./bash -c ls",
        "echo x | python3 -ic 'print(1)'",
        "node -e '1' -r ./x",
        "rm() { true; } | true; rm $x",
    ] {
        assert!(read(line).opaque.is_some(), "{line}: {:?}", read(line).commands);
    }
    for line in [
        "echo $x",
        "printf '%s' \"$(date)\"",
        "[ -n \"$x\" ] && ls",
        "GIT_PAGER=cat git log",
        "NODE_ENV=test npm test",
    ] {
        assert_eq!(read(line).opaque, None, "{line}");
    }
}

/// Inline code of other languages: only what provably computes and prints is understood; texts in it are searched.
#[test]
fn inline_code() {
    for line in [
        "python3 -c 'import json,sys; print(json.load(sys.stdin)[\"a\"])'",
        "python3 -c 'print(1 + 2)'",
        "python3 -c 'import sys; print(sys.version_info)'",
        "python3 -uc 'd = {\"a\": 1}; print(len(d))'",
        "node -e 'console.log(1 + 2)'",
        "node -p 'process.version'",
        "node -p 'JSON.stringify({\"a\": 1})'",
        "awk '{print $1}' file",
        "awk -F: 'NR == 1 {print $1, $3}' file",
    ] {
        assert_eq!(read(line).opaque, None, "{line}");
    }
    for line in [
        "python3 -c 'import os; os.system(\"rm x\")'",
        "python3 -c '__import__(\"os\").system(\"rm x\")'",
        "python3 -c 'import sys; sys.modules[\"os\"].system(\"rm x\")'",
        "python3 -c 'import sys; f = sys.modules; print(f)'",
        "python3 -c 'open(\"x\", \"w\")'",
        "python3 -c 'print = open; print(\"x\")'",
        "python3 -c 'eval(\"1\")'",
        "python3 -c 'print(f\"{x}\")'",
        "python3 -c 'from os import system as print; print(\"rm x\")'",
        "python3 -c \"$x\"",
        "node -e 'require(\"fs\").rmSync(\"x\")'",
        "node -e 'fs.rmSync(\"x\")'",
        "node -e 'process[\"mainModule\"]'",
        "node -e 'p = process; p[\"kill\"](1)'",
        "node -e 'JSON.parse(\"{}\", fs[\"rmSync\"])'",
        "node -e '`rm`'",
        "perl -e 'unlink x'",
        "ruby -e 'system 1'",
        "php -r 'unlink(1);'",
        "awk 'BEGIN { system(\"rm x\") }'",
        "awk '{ print > \"x\" }'",
        "awk '{ print | \"sh\" }'",
        "awk -f x",
    ] {
        assert!(read(line).opaque.is_some(), "{line}");
    }
    let facts = read("python3 -c 'print(open(\".env\").read())'");
    assert!(facts.commands.iter().any(|c| c.words.iter().any(|w| w.text == ".env")));
}

/// Prints what each reader makes of a line, for those who work on them.
#[test]
#[ignore = "prints for a person and asserts nothing"]
#[allow(clippy::print_stdout, reason = "printing is what it is run for")]
fn show() {
    let line = std::env::var("LINE").unwrap_or_default();
    let line = std::fs::read_to_string(&line).unwrap_or(line);
    match (brush::read(&line), tree::read(&line)) {
        (Ok(first), Ok(second)) => {
            for (first, second) in first.iter().zip(&second).filter(|(a, b)| a != b).take(2) {
                println!("brush: {first:#?}\ntree: {second:#?}");
            }
        }
        (first, second) => println!("brush: {first:#?}\ntree: {second:#?}"),
    }
}

/// What opens, joins or stops something.
const OPENINGS: &[&str] = &[
    "$(",
    "\"$(",
    "(",
    "( ",
    "{",
    "{ ",
    "[[ ",
    "if ",
    "`",
    "\\`",
    "\"",
    "'",
    "${",
    "${x:-",
    "\"${x:-",
    "$((",
    "((",
    "<(",
    "cat <(",
    "$[",
    "case x in a) ",
    "case x in (",
    "while ",
    "for i in ",
    "for ((",
    "! ",
    "time ",
    "f() ",
    "f() { ",
    "function f ",
    "coproc ",
    "a=(",
    "a[",
    "a[$(",
    "@(",
    "<<E ",
    "<<E\n",
    "<<<",
    "&& ",
    "|| ",
    "a&&",
    "a|",
    "a;",
    "a||b;",
    ">",
    ">(",
    "{a,",
    "{a,b}",
    "{1..9}",
    "x=$x$x;",
    "~",
    "*",
    "$x",
    "$'",
    "$'\\",
    "\\",
    "\\\n",
    "#",
    "a\n",
    "eval ",
    "env ",
    "bash -c ",
    "sudo ",
    "xargs ",
    "select x in ",
    "[",
    "]",
    "a=b ",
    "$((1+",
    "(;",
    "((;",
    "if a;then b;else ",
    "a || x=1; ",
    "${a[",
    "${a/",
    "é",
    "\u{1f600}(",
    "{ a; } > b ",
];

/// P-8: nesting and repetition of everything that opens, at lengths up to the bound and beyond it.
#[test]
fn bombs() {
    for opening in OPENINGS {
        for bytes in [200, 3_000, 65_000, 150_000] {
            let line = opening.repeat(bytes / opening.len());
            for line in [line.clone(), format!("{line};x"), format!("echo {line}")] {
                let begin = std::time::Instant::now();
                let facts = read(&line);
                let took = begin.elapsed();
                assert!(took.as_millis() < 2_500, "{opening:?} {bytes}: {took:?}");
                assert!(facts.commands.len() <= walk::MAX_COMMANDS);
            }
        }
    }
    let pairs = [
        ("$(", ")"),
        ("(", ")"),
        ("( ", " )"),
        ("((", "))"),
        ("{ ", "; }"),
        ("if ", "; then a; fi"),
        ("\"$(", ")\""),
        ("${x:-", "}"),
        ("case x in a) ", " ;; esac"),
        ("case x in a) ", "\nesac"),
        ("((", ";))"),
        ("cat <(", ")"),
        ("f() { ", "; }"),
        ("$((", "))"),
        ("bash -c '", "'"),
        ("eval \"", "\""),
    ];
    for (open, close) in pairs {
        for depth in [4, 8, 12, 20, 40, 100, 1_000, 5_000] {
            let line = format!("{}a{}", open.repeat(depth), close.repeat(depth));
            let begin = std::time::Instant::now();
            read(&line);
            let took = begin.elapsed();
            assert!(took.as_millis() < 2_500, "{open:?} {depth}: {took:?}");
        }
    }
}

#[test]
fn patterns_keep_their_blanks_in_texts() {
    let text = |l: &str| read(l).commands[0].text();
    assert_ne!(text("rm 'a b'*"), text("rm a b*"));
    assert_ne!(text("psql <<< 'a'"), text("psql <<< 'b'"));
    assert_ne!(text("A=b env"), text("A=c env"));
}

/// Prints where each reader takes long, for those who set the bounds.
#[test]
#[ignore = "prints for a person and asserts nothing"]
#[allow(clippy::print_stdout, reason = "printing is what it is run for")]
fn slow() {
    for opening in OPENINGS {
        for bytes in [5_000, 20_000, 65_000] {
            let line = opening.repeat(bytes / opening.len());
            if union::bounded(&line).is_err() {
                continue;
            }
            let begin = std::time::Instant::now();
            let first = brush::read(&line).is_ok();
            let middle = std::time::Instant::now();
            let second = (first || union::fails_the_grammar(&line)) && tree::read(&line).is_ok();
            let (brush, tree) = ((middle - begin).as_millis(), middle.elapsed().as_millis());
            if brush + tree > 60 {
                println!("{opening:?} {bytes}: brush {brush} ms {first}, tree {tree} ms {second}");
            }
        }
    }
}

/// A text that once broke the process: a scanner looked characters up beyond the end of its tables.
#[test]
fn characters_beyond_ascii() {
    for line in [
        "echo \u{1d7f5}{$s",
        "$g\u{922}:w\u{9d7}",
        "é=1",
        "echo é*\u{10ffff}",
        "cat <<é\nx\né",
        "\u{1f600}(",
        "${é}",
    ] {
        read(line);
        assert_eq!(tree::read("echo 'é'").ok(), brush::read("echo 'é'").ok());
    }
    assert_eq!(read("echo 'é' ü").commands[0].text(), "echo 'é' 'ü'");
}

/// Every named kind of node has its row, and no row names what the grammar does not have.
/// GINV-59.
#[test]
fn every_kind_of_node_has_a_row() {
    let language: tree_sitter::Language = tree_sitter_bash::LANGUAGE.into();
    let mut kinds = std::collections::BTreeSet::new();
    for id in 0..u16::try_from(language.node_kind_count()).unwrap() {
        if language.node_kind_is_named(id) && language.node_kind_is_visible(id) {
            kinds.insert(language.node_kind_for_id(id).unwrap().to_owned());
        }
    }
    let rows: std::collections::BTreeSet<String> = tree::KINDS.iter().map(|(k, _)| (*k).to_owned()).collect();
    assert_eq!(rows.len(), tree::KINDS.len());
    assert_eq!(kinds, rows);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Texts of what means something to a shell.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(OPENINGS).prop_map(str::to_owned),
            prop::sample::select(vec![
                " ", ")", "}", "]]", "))", "; fi", "; done", "; do ", "; then ", " esac", ";;", "'", "\"",
                "`", "\n", "EOF", "<<EOF\n", "rm", "ls", "echo", "x", "=", "$", "$x", "-c", "-rf", "/", "|",
                "&", ";", "~", "*", "a", "1", ",", "..", "é", "\u{fffc}", "\t",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|v| v.concat())
    }

    /// Lines whose commands are known: what they are made of, and the commands.
    fn lines() -> impl Strategy<Value = (String, Vec<String>)> {
        let simple = prop::sample::select(vec![
            "rm x",
            "git push -f origin main",
            "echo 'a b' \"c d\"",
            "cat a >b",
            "ls *.rs ~/x",
        ])
        .prop_map(|l| (l.to_owned(), read(l).commands.iter().map(Simple::text).collect::<Vec<_>>()));
        simple.prop_recursive(4, 16, 2, |inner| {
            (inner.clone(), inner, 0..18usize).prop_map(|((a, mut found), (b, more), how)| {
                let both = |found: &mut Vec<String>| found.extend(more.clone());
                let line = match how {
                    0 => {
                        both(&mut found);
                        format!("{a}; {b}")
                    }
                    1 => {
                        both(&mut found);
                        format!("{a} && {b}")
                    }
                    2 => {
                        both(&mut found);
                        format!("{a} | {b}")
                    }
                    3 => format!("( {a} )"),
                    4 => format!("{{ {a}; }}"),
                    5 => {
                        both(&mut found);
                        format!("if {a}; then {b}; fi")
                    }
                    6 => {
                        both(&mut found);
                        format!("while {a}; do {b}; done")
                    }
                    7 => format!("for i in 1 2; do {a}; done"),
                    8 => format!("echo \"$( {a})\""),
                    9 => format!("x=$( {a})"),
                    10 => format!("cat <( {a})"),
                    11 => format!("{{ cat <<E{0}\n$( {a}\n)\nE{0}\n}}", a.len()),
                    12 => format!("f() {{ {a}; }}; f"),
                    13 => format!("case $y in a) {a};; esac"),
                    14 => format!("bash -c {}", quote(&a)),
                    15 => format!("eval {}", quote(&a)),
                    16 => format!("echo ${{y:-$( {a})}}"),
                    _ => format!("timeout 5 sh -xc {}", quote(&a)),
                };
                (line, found)
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_the_reader(line in pieces()) {
            let facts = read(&line);
            prop_assert!(facts.commands.len() <= walk::MAX_COMMANDS);
            for (place, command) in facts.commands.iter().enumerate() {
                let before = |p: Option<usize>| p.is_none_or(|p| p < place);
                prop_assert!(before(command.run_by) && before(command.piped_from), "{line}: {:?}", facts.commands);
            }
        }

        /// `bash -n` reads without running: what is understood here has to be a line for bash too.
        #[test]
        fn what_is_understood_is_a_line_for_bash(line in pieces()) {
            if read(&line).opaque.is_none()
                && let Ok(said) = std::process::Command::new("bash").args(["-O", "extglob", "-n", "-c", "--", &line]).output()
            {
                prop_assert!(said.status.success(), "{line}: {}", String::from_utf8_lossy(&said.stderr));
            }
        }

        #[test]
        fn no_text_at_all_breaks_the_reader(line in any::<String>()) {
            read(&line);
        }

        /// P-6: what stands around a command never hides it.
        #[test]
        fn nothing_hides_a_command((line, commands) in lines()) {
            let facts = read(&line);
            let found: Vec<String> = facts.commands.iter().map(Simple::text).collect();
            let deep = facts.opaque.is_some_and(|why| why.contains("more"));
            for command in commands {
                prop_assert!(deep || found.contains(&command), "{line}: {command}: {found:?} {:?}", facts.opaque);
            }
        }
    }
}

/// Prints how the readers do on the scripts of the system they run on: real text that nobody wrote for them.
#[test]
#[ignore = "reads the system's scripts and prints"]
#[allow(clippy::print_stdout, reason = "printing is what it is run for")]
fn scripts_of_this_system() {
    let mut folders: Vec<std::path::PathBuf> =
        ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/share", "/etc"].iter().map(Into::into).collect();
    let mut counts = std::collections::BTreeMap::<String, Vec<String>>::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            if !kind.is_file() || entry.metadata().map_or(true, |m| m.len() > 65_536) {
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let first = text.lines().next().unwrap_or_default();
            let shell = first.starts_with("#!")
                && ["/sh", "/bash", "/dash", "env bash"].iter().any(|s| first.contains(s));
            let accepted = || {
                std::process::Command::new("bash")
                    .arg("-n")
                    .arg(&path)
                    .output()
                    .is_ok_and(|o| o.status.success())
            };
            if !shell || !accepted() {
                continue;
            }
            let name = path.display().to_string();
            let mut count = |key: String| counts.entry(key).or_default().push(name.clone());
            count("all".to_owned());
            if let Err(why) = union::bounded(&text) {
                count(format!("bound: {why}"));
                continue;
            }
            let (first, second) = (brush::read(&text), tree::read(&text));
            match (&first, &second) {
                (Ok(a), Ok(b)) if a == b => count("both the same".to_owned()),
                (Ok(_), Ok(_)) => count("both, differing".to_owned()),
                (Ok(_), Err(why)) => {
                    count(format!("only the grammar: {why} (taken: {})", union::fails_the_tree(&text)))
                }
                (Err(why), Ok(_)) => {
                    count(format!("only the tree: {why} (taken: {})", union::fails_the_grammar(&text)))
                }
                (Err(one), Err(two)) => count(format!("none: {one} / {two}")),
            }
            let why = read(&text).opaque.unwrap_or("understood");
            count(format!("line: {why}"));
        }
    }
    for (key, names) in counts {
        println!("{:5}  {key}  {:?}", names.len(), names.iter().take(4).collect::<Vec<_>>());
    }
}

/// What bash itself makes of words: the unquoting here is held against it, for words that only quote.
#[test]
fn words_are_what_bash_makes_of_them() {
    use proptest::prelude::*;
    let piece = prop::sample::select(vec![
        "'", "\"", "\\", "$'", "a", "b c", " ", "\t", "\\n", "\\x41", "\\101", "\\u00e9", "#", "{", "}",
        "{a,b}", "{1..3}", "{a", ",", "=", "é", "!", "\\\\", "\\'", "\\\"", "\\$", "\\`", "%", "-", "+", ":",
        "^", ".",
    ]);
    let lines = prop::collection::vec(piece, 0..14).prop_map(|v| v.concat());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    if std::process::Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    let result = runner.run(&lines, |words| {
        // Nothing but quotes, braces and text can be in such a line, so bash can only print.
        let line = format!("printf '<%s>' x {words}");
        let facts = read(&line);
        if facts.opaque.is_some() || facts.unknown() || facts.commands.len() != 1 {
            return Ok(());
        }
        let said =
            std::process::Command::new("bash").args(["-c", &line]).env("LC_ALL", "C.UTF-8").output().unwrap();
        let mine: String = facts.commands[0].args().skip(1).map(|w| format!("<{w}>")).collect();
        prop_assert_eq!(String::from_utf8_lossy(&said.stdout), mine, "{}", line);
        Ok(())
    });
    assert!(result.is_ok(), "{result:?}");
}

/// Prints what reading costs, and the exponent of its growth with the line; meaningful in release builds.
#[test]
#[ignore = "measures and prints for a person, and asserts nothing"]
#[allow(clippy::print_stdout, reason = "printing is what it is run for")]
fn times() {
    let time = |line: &str| {
        let runs = 20u32;
        let begin = std::time::Instant::now();
        for _ in 0..runs {
            read(line);
        }
        begin.elapsed() / runs
    };
    for line in [
        "ls -la",
        "cd app && git add -A && git commit -m \"Fix it\" && git push origin feature",
        "for f in src/*.rs; do echo \"== $f\"; head -n 20 \"$f\"; done",
        "git commit -m \"$(cat <<'EOF'\nAdd reader\n\nIt's done.\nEOF\n)\"",
        "timeout 60 bash -c 'cargo build 2>&1 | tail -5'",
        "python3 -c 'import json; print(json.load(open(\"package.json\"))[\"version\"])'",
    ] {
        println!("{:?}  {line:?}", time(line));
    }
    for (name, piece) in [
        ("list", "git add file.txt && echo \"done $x\" | tee log.txt; "),
        ("words", "word 'quoted word' \"and $x\" "),
        ("loop", "for f in *.rs; do cat \"$f\" | head -3 > out; done; "),
        ("text", "plain text in one quoted argument that only gets longer "),
        ("substitutions", "echo $(date) "),
        ("braces", "a{b,c}d "),
        ("or", "a || x=1 || b; "),
    ] {
        let line = |bytes: usize| match name {
            "text" => format!("echo '{}'", piece.repeat(bytes / piece.len())),
            "words" => format!("echo {}", piece.repeat(bytes / piece.len())),
            _ => piece.repeat(bytes / piece.len()),
        };
        let points: Vec<(f64, f64)> = [2_048usize, 4_096, 8_192, 16_384, 32_768, 65_000]
            .into_iter()
            .map(|bytes| (bytes as f64, time(&line(bytes)).as_secs_f64()))
            .collect();
        let (n, logs) =
            (points.len() as f64, points.iter().map(|(x, y)| (x.ln(), y.ln())).collect::<Vec<_>>());
        let (sx, sy) = logs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        let (sxx, sxy) = logs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x * x, b + x * y));
        let exponent = (n * sxy - sx * sy) / (n * sxx - sx * sx);
        let eight = points.iter().find(|(x, _)| *x == 8_192.0).map(|(_, y)| y * 1e3).unwrap_or_default();
        let most = points.last().map(|(_, y)| y * 1e3).unwrap_or_default();
        println!(
            "{name}: 8 KiB {eight:.2} ms, 64 KiB {most:.2} ms, exponent {exponent:.2}, {:?}",
            read(&line(8_192)).opaque
        );
    }
}
