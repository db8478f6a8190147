//! The one list of configuration keys this version acts on (NAMES 1.1). Help, `config show`, checks and the written
//! reference are made from it; a key that is not here is an error, never silently ignored.

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number within bounds, both included.
    Int {
        /// Least.
        min: i64,
        /// Most.
        max: i64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// Any text.
    Text,
    /// A list of texts.
    Texts,
    /// A list of paths, or of `{ path, mode }`.
    Paths,
    /// Where a secret comes from: `{ secret = "name" }` or `{ from_env = "NAME" }`. No text is ever a secret.
    Given,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its full name.
    pub name: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// The built-in value, as TOML; empty when unset.
    pub default: &'static str,
    /// What it does, one line; the unit is in the name.
    pub what: &'static str,
    /// Refused in project files.
    pub user_only: bool,
}

impl Key {
    /// What to write instead of a wrong value.
    pub fn remedy(&self) -> String {
        match self.kind {
            Kind::Int { min, max } => format!("write a whole number from {min} to {max}"),
            Kind::Word(words) => format!("write one of: {}", words.join(", ")),
            Kind::Bool => "write true or false".to_owned(),
            Kind::Text => "write a text in quotes".to_owned(),
            Kind::Given => "write { secret = \"name\" } or { from_env = \"NAME\" }".to_owned(),
            Kind::Texts => "write a list of texts, for example [\"a\", \"b\"]".to_owned(),
            Kind::Paths => {
                "write a list, for example [\"secrets/\", { path = \"a\", mode = \"write\" }]".to_owned()
            }
        }
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, what: &'static str) -> Key {
    Key { name, kind, default, what, user_only: false }
}

const fn user(name: &'static str, kind: Kind, default: &'static str, what: &'static str) -> Key {
    Key { name, kind, default, what, user_only: true }
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

const LEVELS: Kind = Kind::Word(&["L0", "L1", "L2", "L3"]);
const ASK_DENY: Kind = Kind::Word(&["ask", "deny"]);

/// Every key.
pub const KEYS: &[Key] = &[
    key("version", int(1, 1), "1", "version of the file's form"),
    key("install.profile", Kind::Text, "", "what `init` was told; informational"),
    key("install.by", Kind::Text, "", "who ran `init`; informational"),
    key("install.at", Kind::Text, "", "when `init` ran; informational"),
    key(
        "gate.mode",
        Kind::Word(&["watch", "enforce"]),
        "\"enforce\"",
        "watch records what rules would have done",
    ),
    key("gate.autonomy_level", LEVELS, "\"L1\"", "what agents may do without a person"),
    key("gate.max_autonomy_level", LEVELS, "\"L2\"", "ceiling of the level; the lowest of all layers counts"),
    key("gate.on_exceed", ASK_DENY, "\"ask\"", "a tier above the level, where a person may lift it"),
    key("gate.opaque_command", ASK_DENY, "\"ask\"", "a shell line that is not fully understood"),
    key("gate.judge_budget_ms", int(10, 1_000), "100", "longest judgement; over it a call is refused"),
    key(
        "paths.blocked",
        Kind::Paths,
        "[\".env\", \".env.*\"]",
        "paths no agent may touch; lists of all layers add up",
    ),
    key(
        "paths.protected",
        Kind::Texts,
        "[\".husky/\", \".gitconfig\", \".config/git/\"]",
        "paths no agent may write, beside ours and the clients' settings; lists of all layers add up",
    ),
    key("paths.protected_relax", Kind::Texts, "[]", "entries that are taken off `paths.protected`"),
    key("rules.disable", Kind::Texts, "[]", "soft rules that are switched off"),
    key(
        "rules.scope_match",
        Kind::Word(&["all", "any"]),
        "\"all\"",
        "matching rules that a rule scope must name",
    ),
    key("approvals.timeout_s", int(30, 3_600), "300", "how long a person has by default"),
    key("approvals.cap", int(1, 500), "50", "most questions of a session"),
    key("approvals.per_minute", int(1, 600), "20", "most questions of a session in 60 s"),
    key(
        "approvals.max_scope",
        Kind::Word(&["bash_pattern", "write_path", "rule", "tool_type", "tool_group", "all_session"]),
        "\"all_session\"",
        "widest scope that may be answered; the narrowest of all layers counts",
    ),
    key(
        "approvals.wait",
        Kind::Word(&["hold", "park"]),
        "\"hold\"",
        "hold the caller, or send it away with a handle",
    ),
    key("approvals.park_s", int(60, 604_800), "86400", "how long a parked question can be answered"),
    key("approvals.grant_ttl_s", int(30, 3_600), "600", "how long a held yes waits for its call"),
    key("approvals.refusal_memory_s", int(0, 600), "60", "how long a no is remembered"),
    key("limits.calls_per_minute", int(0, 1_000_000), "0", "most calls in 60 s; 0 = unlimited"),
    key("limits.max_concurrent_calls", int(0, 1_000_000), "0", "most calls at once; 0 = unlimited"),
    key("limits.argument_bytes", int(1_024, 8_388_608), "1048576", "most bytes of arguments"),
    key("limits.argument_depth", int(1, 128), "64", "deepest nesting of arguments"),
    key("limits.argument_nodes", int(1, 200_000), "20000", "most values in arguments"),
    key(
        "cleanse.injection",
        Kind::Word(&["block", "warn"]),
        "\"block\"",
        "results that may give orders to a model",
    ),
    key(
        "cleanse.suspicious_blocks_writes",
        Kind::Bool,
        "false",
        "keep back suspicious results of calls that change things, too",
    ),
    key("cleanse.result_bytes", int(4_096, 16_777_216), "524288", "longest answer of a server, in bytes"),
    key("mcp.progress_s", int(1, 60), "10", "how often a held MCP call says that it waits"),
    key(
        "mcp.refusal",
        Kind::Word(&["tool_result", "protocol_error"]),
        "\"tool_result\"",
        "how a refused tool call is answered",
    ),
    key(
        "audit.capture",
        Kind::Word(&["redacted", "digest"]),
        "\"redacted\"",
        "what the log keeps of arguments",
    ),
    key("hooks.timeout_s", int(30, 3_630), "3630", "the client's time limit that `init` writes"),
    key("hooks.hold_s", int(0, 3_620), "", "longest hold of a client; unset = as long as the question lives"),
    user(
        "vault.key",
        Kind::Word(&["keychain", "file", "passphrase", "external"]),
        "\"keychain\"",
        "where the key of a new vault is kept",
    ),
    user("vault.key_file", Kind::Text, "", "the vault's key file; unset = beside our other keys"),
    user("vault.per_minute", int(1, 100_000), "60", "most uses of a secret by one principal in 60 s"),
    user(
        "vault.quarantine_after",
        int(1, 1_000),
        "3",
        "answers with the secret in 10 minutes that quarantine it",
    ),
    user(
        "vault.ca_file",
        Kind::Text,
        "",
        "certificates trusted beside the well-known ones, for http_fetch and mail",
    ),
    key(
        "memory.enabled",
        Kind::Bool,
        "true",
        "the tool that reads a person's notes; false in any layer counts",
    ),
    key(
        "memory.sensitive",
        Kind::Texts,
        "[]",
        "stores of notes whose previews are asked about too; lists of all layers add up",
    ),
    user("mail.owner", Kind::Text, "", "the owner's address; unset: there is no mail"),
    user("mail.agent_name", Kind::Text, "", "name that mail is sent under"),
    user("mail.domain", Kind::Text, "", "domain that mail is sent from"),
    user("mail.agent_id", Kind::Text, "", "value of the tag agent_id; unset = the agent's name"),
    user(
        "mail.recipients",
        Kind::Text,
        "\"owner\"",
        "whom mail may reach: owner, unrestricted, or addresses with commas between them",
    ),
    user("mail.daily_cap", int(0, 1_000_000), "50", "most mails of a project in a UTC day; 0 = none"),
    user(
        "mail.reply_to",
        Kind::Word(&["any", "recipients"]),
        "\"any\"",
        "whom an answer may be asked to go to",
    ),
    user("mail.provider", Kind::Word(&["resend", "smtp"]), "\"resend\"", "who carries mail"),
    user("mail.purposes", Kind::Texts, "[]", "purposes that metrics tell apart; all others are `other`"),
    user("mail.key", Kind::Given, "{ secret = \"resend_api_key\" }", "the provider's key"),
    user(
        "mail.gateway_url",
        Kind::Text,
        "",
        "a secrets gateway that has the key; unset = `mail.key` says where it is",
    ),
    user(
        "mail.base_url",
        Kind::Text,
        "",
        "the provider's address; another than its own needs mail.test_mode",
    ),
    user("mail.test_mode", Kind::Bool, "false", "lets mail go to a stand-in for the provider"),
    user("mail.dry_run", Kind::Bool, "false", "everything but the sending"),
    user("mail.smtp_host", Kind::Text, "", "the mail server, for the provider smtp"),
    user("mail.smtp_port", int(1, 65_535), "465", "its port"),
    user(
        "mail.smtp_tls",
        Kind::Word(&["smtps", "starttls"]),
        "\"smtps\"",
        "how it is encrypted; without encryption nothing is sent",
    ),
    user("mail.smtp_user", Kind::Text, "", "the name to log in with; the password is `mail.key`"),
    user(
        "secrets_gateway.enabled",
        Kind::Bool,
        "false",
        "lets `countersign serve` hand secrets to nodes of ours",
    ),
    user(
        "secrets_gateway.listen",
        Kind::Text,
        "",
        "a loopback address and port; unset = a socket in the user's state folder",
    ),
    user(
        "secrets_gateway.names",
        Kind::Texts,
        "[\"slack_bot_token\", \"slack_app_token\", \"slack_gateway_signing_secret\", \"resend_api_key\"]",
        "secrets that are handed out",
    ),
    user("secrets_gateway.per_minute", int(1, 100_000), "60", "most reads of one token in 60 s"),
    user("store.busy_ms", int(100, 60_000), "5000", "how long a locked database is waited for"),
];
