//! What a database shell is told: the verbs of its statements, and which of them take whole tables.

use super::super::programs::{Act, Role};
use super::super::{ShellFacts, Simple};
use super::Line;

/// Shells whose statements are read here.
const SHELLS: &[&str] = &["psql", "mysql", "mariadb", "sqlite3", "sqlite", "duckdb"];
/// Statements that only show.
const READS: &[&str] = &[
    "SELECT", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "VALUES", "TABLE", "PRAGMA", "USE", "BEGIN", "COMMIT",
    "ROLLBACK", "SET", "HELP",
];

pub(super) fn add(line: &Line<'_>, facts: &mut ShellFacts) {
    for (_, command, act) in line.each() {
        let program = command.program();
        if SHELLS.contains(&program) {
            said(line, command, act, facts);
        } else if matches!(program, "redis-cli" | "valkey-cli" | "keydb-cli") {
            redis(act, command, facts);
        } else if matches!(program, "mongo" | "mongosh") {
            mongo(command, act, facts);
        } else if matches!(
            program,
            "cockroach"
                | "clickhouse-client"
                | "sqlcmd"
                | "bq"
                | "cqlsh"
                | "trino"
                | "usql"
                | "influx"
                | "snowsql"
        ) {
            let text = command.args().collect::<Vec<_>>().join(" ; ");
            statements(&text, facts);
        }
    }
}

fn said(line: &Line<'_>, command: &Simple, act: &Act, facts: &mut ShellFacts) {
    const WHY: &str = "statements for a database that are not read";
    let mut texts: Vec<String> =
        act.args.iter().filter(|a| a.role == Role::Sql).map(|a| a.text.clone()).collect();
    let given = !texts.is_empty();
    if let Some(input) = &command.input {
        texts.push(input.text.clone());
        if input.unknown {
            facts.opaque = facts.opaque.or(Some(WHY));
        }
    } else if let Some((source, _)) = line.sources(command).first() {
        let known = matches!(source.program(), "echo" | "printf") && !source.words.iter().any(|w| w.unknown);
        match (&source.input, source.program()) {
            (Some(input), "cat") if !input.unknown => texts.push(input.text.clone()),
            _ if known => texts.push(source.args().collect::<Vec<_>>().join(" ")),
            _ if !given => facts.opaque = facts.opaque.or(Some(WHY)),
            _ => {}
        }
    } else if !command.reads.is_empty() && !given {
        facts.opaque = facts.opaque.or(Some(WHY));
    }
    for text in texts {
        if !statements(&text, facts) {
            facts.opaque = facts.opaque.or(Some("a statement that changes a database"));
        }
    }
}

/// Notes the verbs of a text; whether all of them only show.
fn statements(text: &str, facts: &mut ShellFacts) -> bool {
    let mut plain = true;
    for statement in split(text) {
        let upper = statement.to_uppercase();
        let words: Vec<&str> = upper
            .split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '\\' | '.' | '*')))
            .filter(|w| !w.is_empty())
            .collect();
        let Some(first) = words.first().copied() else { continue };
        let has = |word: &str| words.contains(&word);
        let verb = match (first, words.get(1).copied()) {
            ("DROP" | "ALTER" | "CREATE", Some(what)) => format!("{first} {what}"),
            _ => first.to_owned(),
        };
        match first {
            "DROP" if !matches!(words.get(1).copied(), Some("TABLE")) => {
                if matches!(
                    words.get(1).copied(),
                    Some("DATABASE" | "SCHEMA" | "OWNED" | "KEYSPACE" | "TABLESPACE" | "ROLE" | "USER")
                ) {
                    facts.effects.insert("sql_destroy");
                }
            }
            "TRUNCATE" => {
                facts.effects.insert("sql_destroy");
            }
            "DELETE" | "UPDATE" if !has("WHERE") => {
                facts.effects.insert("sql_unbounded");
            }
            _ => {}
        }
        // A statement inside another one, as in `WITH … DELETE`, or several that a quote hid.
        for pair in words.windows(2) {
            match pair {
                ["DROP", what @ ("TABLE" | "DATABASE" | "SCHEMA")] => {
                    facts.sql_verbs.insert(format!("DROP {what}"));
                    plain = false;
                }
                ["DELETE", "FROM"] | ["INSERT", "INTO"] | ["INTO", "OUTFILE" | "DUMPFILE"] | ["COPY", _] => {
                    plain = false
                }
                _ => {}
            }
        }
        facts.sql_verbs.insert(verb);
        let slashed = first.starts_with('\\')
            && [
                "\\D",
                "\\DT",
                "\\L",
                "\\DN",
                "\\DU",
                "\\DF",
                "\\DI",
                "\\DV",
                "\\X",
                "\\Q",
                "\\CONNINFO",
                "\\TIMING",
                "\\C",
                "\\PSET",
                "\\D+",
                "\\DT+",
                "\\DX",
                "\\SF",
                "\\Z",
                "\\DP",
                "\\ECHO",
            ]
            .contains(&first);
        let dotted = first.starts_with('.')
            && [
                ".TABLES",
                ".SCHEMA",
                ".HEADERS",
                ".MODE",
                ".INDEXES",
                ".DATABASES",
                ".DUMP",
                ".HELP",
                ".QUIT",
                ".EXIT",
                ".WIDTH",
                ".TIMER",
                ".STATS",
                ".SHOW",
                ".FULLSCHEMA",
                ".HEADER",
            ]
            .contains(&first);
        let calls = [
            "PG_READ_FILE",
            "LO_EXPORT",
            "LO_IMPORT",
            "PG_LS_DIR",
            "LOAD_FILE",
            "LOAD_EXTENSION",
            "PG_TERMINATE_BACKEND",
            "DBLINK",
            "WRITEFILE",
            "READFILE",
            "PG_RELOAD_CONF",
            "EDIT",
            "SETVAL",
            "NEXTVAL",
            "QUERY_TO_XML",
        ];
        let sets = first == "PRAGMA" && statement.contains('=');
        let into = first == "SELECT" && has("INTO");
        let known = (READS.contains(&first)
            && !sets
            && !into
            && !words.iter().any(|w| calls.contains(w))
            && !(first == "EXPLAIN" && has("ANALYZE") && !has("SELECT")))
            || slashed
            || dotted;
        // A command of the shell behind a statement.
        let behind = words.iter().skip(1).any(|w| w.contains('\\')) && !slashed;
        plain &= known && !behind;
    }
    plain
}

/// The statements of a text, without comments and without what stands in quotes.
fn split(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '-' if chars.peek() == Some(&'-') => while chars.next_if(|c| *c != '\n').is_some() {},
            '/' if chars.peek() == Some(&'*') => {
                let mut before = ' ';
                for c in chars.by_ref().skip(1) {
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
                push(&mut out, ' ');
            }
            '\'' => {
                for c in chars.by_ref() {
                    if c == '\'' {
                        break;
                    }
                }
                push(&mut out, '?');
            }
            ';' => out.push(String::new()),
            '\n' if out.last().is_some_and(|s| s.trim_start().starts_with(['\\', '.'])) => {
                out.push(String::new())
            }
            c => push(&mut out, c),
        }
    }
    out
}

fn push(out: &mut [String], c: char) {
    if let Some(last) = out.last_mut() {
        last.push(c);
    }
}

fn redis(act: &Act, command: &Simple, facts: &mut ShellFacts) {
    let words: Vec<String> = act.operands().map(|a| a.text.to_uppercase()).collect();
    let verb = words.first().map(String::as_str).unwrap_or_default();
    let input = command.input.as_ref().map(|w| w.text.to_uppercase()).unwrap_or_default();
    if matches!(verb, "FLUSHALL" | "FLUSHDB" | "SHUTDOWN" | "SWAPDB") || input.contains("FLUSH") {
        facts.effects.insert("database_destroy");
    }
    const READS: &[&str] = &[
        "", "GET", "MGET", "KEYS", "SCAN", "INFO", "PING", "TTL", "PTTL", "TYPE", "HGET", "HGETALL", "HKEYS",
        "HLEN", "LLEN", "LRANGE", "SMEMBERS", "SCARD", "DBSIZE", "EXISTS", "STRLEN", "ZRANGE", "ZCARD",
        "ZSCORE", "MEMORY", "OBJECT", "TIME", "LASTSAVE", "ROLE", "COMMAND", "XLEN", "XRANGE", "XINFO",
        "GETRANGE", "ECHO", "SELECT",
    ];
    let fed = command.piped_from.is_some() || !command.reads.is_empty() || command.fed;
    if !READS.contains(&verb) || (verb.is_empty() && fed) {
        facts.opaque = facts.opaque.or(Some("a statement that changes a database"));
    }
}

fn mongo(command: &Simple, act: &Act, facts: &mut ShellFacts) {
    let mut code: String = act.values(&["--eval"]).map(|a| a.text.clone()).collect();
    code.extend(command.input.iter().map(|w| w.text.clone()));
    if ["dropDatabase", ".drop(", "deleteMany({})", "remove({})", "dropUser", "shutdownServer"]
        .iter()
        .any(|w| code.contains(w))
    {
        facts.effects.insert("database_destroy");
    }
    let reads = [
        "find(",
        "findOne(",
        "count",
        "show ",
        "getCollectionNames",
        "stats(",
        "aggregate(",
        "version",
        "runCommand({ping",
        "ping",
    ];
    let writes = [
        "insert", "update", "delete", "remove", "drop", "create", "load(", "require", "eval", "rename",
        "replace", "save", "process", "fs.",
    ];
    let plain = reads.iter().any(|r| code.contains(r)) && !writes.iter().any(|w| code.contains(w));
    let fed = command.piped_from.is_some() || !command.reads.is_empty();
    if (!code.is_empty() && !plain) || (code.is_empty() && fed) {
        facts.opaque = facts.opaque.or(Some("a statement that changes a database"));
    }
}
