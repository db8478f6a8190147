-- What belongs to the user: filled in the user's own store alone. Values are sealed; nothing here opens them.
CREATE TABLE vault_meta (
    vault  TEXT PRIMARY KEY NOT NULL CHECK (vault = 'default'),
    tenant TEXT NOT NULL DEFAULT 'default',
    header TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
    name        TEXT NOT NULL CHECK (length(name) <= 128),
    version     INTEGER NOT NULL CHECK (version >= 1),
    tenant      TEXT NOT NULL DEFAULT 'default',
    rotation_id TEXT NOT NULL,
    binding     TEXT NOT NULL,
    set_at      INTEGER NOT NULL,
    retired_at  INTEGER,
    nonce       BLOB NOT NULL CHECK (length(nonce) = 24),
    sealed      BLOB NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX secrets_current ON secrets (name) WHERE retired_at IS NULL;

-- Uses and echoes of the last minutes.
CREATE TABLE secret_marks (
    seq       INTEGER PRIMARY KEY,
    tenant    TEXT NOT NULL DEFAULT 'default',
    name      TEXT NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('use', 'echo')),
    principal TEXT NOT NULL,
    at        INTEGER NOT NULL
) STRICT;

CREATE INDEX secret_marks_of ON secret_marks (name, kind, at);

-- Mail is counted by the day.
CREATE INDEX calls_mails ON calls (permit_at) WHERE tool = 'send_email';

-- Digests of tokens; a value is nowhere.
CREATE TABLE tokens (
    id           TEXT PRIMARY KEY NOT NULL,
    tenant       TEXT NOT NULL DEFAULT 'default',
    hash         TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    capabilities TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Mails that a mail server was given, or was about to be: what stands here does not go out again under the same key.
CREATE TABLE mails (
    key     TEXT PRIMARY KEY NOT NULL CHECK (length(key) = 32),
    tenant  TEXT NOT NULL DEFAULT 'default',
    payload TEXT NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('sending', 'sent', 'failed')),
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Secrets that answers held too often; a person who changes the secret ends it.
CREATE TABLE secret_quarantine (
    name   TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL DEFAULT 'default',
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A person's notes. Names that differ by case alone are one place.
CREATE TABLE memory_stores (
    id       INTEGER PRIMARY KEY,
    tenant   TEXT NOT NULL DEFAULT 'default',
    name     TEXT NOT NULL UNIQUE,
    folded   TEXT NOT NULL UNIQUE,
    archived INTEGER NOT NULL DEFAULT 0 CHECK (archived IN (0, 1))
) STRICT;

CREATE TABLE memory (
    id     INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL DEFAULT 'default',
    store  INTEGER NOT NULL REFERENCES memory_stores (id),
    folded TEXT NOT NULL,
    key    TEXT NOT NULL CHECK (length(key) <= 128),
    set_at INTEGER NOT NULL,
    value  BLOB NOT NULL CHECK (length(value) <= 1048576)
) STRICT;

CREATE UNIQUE INDEX memory_place ON memory (store, folded);
CREATE INDEX memory_names ON memory (store, key);

-- What agents read of them: a row a turn, and how long it ran.
CREATE TABLE memory_turns (
    id        INTEGER PRIMARY KEY,
    tenant    TEXT NOT NULL DEFAULT 'default',
    principal TEXT NOT NULL,
    began_at  INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) STRICT;

CREATE INDEX memory_turns_of ON memory_turns (principal, id);
