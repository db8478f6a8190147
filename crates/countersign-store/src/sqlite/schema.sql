-- The embedded store, version 3. Times are integer milliseconds UTC; digests are 64 hex digits; ids are ULIDs.
-- `@TASK_ENDED@` and `@TASK_EDGES@` are filled from `core::task` when this runs, so that the legal edges have one
-- source. What may only happen once is refused here as well, below every code path.

CREATE TABLE log (
    seq  INTEGER PRIMARY KEY CHECK (seq > 0),
    body TEXT NOT NULL,
    hash TEXT NOT NULL CHECK (length(hash) = 64)
) STRICT;

CREATE TRIGGER log_no_update BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_no_delete BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

CREATE TABLE log_head (
    tenant TEXT PRIMARY KEY NOT NULL DEFAULT 'default',
    seq    INTEGER NOT NULL CHECK (seq >= 0),
    hash   TEXT NOT NULL CHECK (length(hash) = 64),
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO log_head (seq, hash, at)
VALUES (0, '0000000000000000000000000000000000000000000000000000000000000000', 0);

CREATE TRIGGER log_head_no_delete BEFORE DELETE ON log_head
BEGIN SELECT RAISE(ABORT, 'the log has one head'); END;
CREATE TRIGGER log_head_forward BEFORE UPDATE ON log_head WHEN NEW.seq <= OLD.seq
BEGIN SELECT RAISE(ABORT, 'the log only grows'); END;

CREATE TABLE tasks (
    task_id          TEXT PRIMARY KEY NOT NULL,
    tenant           TEXT NOT NULL DEFAULT 'default',
    kind             TEXT NOT NULL CHECK (kind IN ('interactive', 'background')),
    client           TEXT NOT NULL,
    session_id       TEXT NOT NULL,
    owner            TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN (@TASK_STATES@)),
    status_since     INTEGER NOT NULL,
    started_at       INTEGER NOT NULL,
    last_seen        INTEGER NOT NULL, -- written once a minute at most; idle for a day, a session is over
    ended_at         INTEGER,
    gate_count       INTEGER NOT NULL DEFAULT 0 CHECK (gate_count >= 0),
    gate_cap         INTEGER NOT NULL CHECK (gate_cap >= 0),
    last_decision_at INTEGER,
    -- The call whose flagged result reached the agent, and when; emptied by the next decision of a person.
    tainted_by       TEXT,
    tainted_at       INTEGER CHECK ((tainted_at IS NULL) = (tainted_by IS NULL)),
    CHECK (gate_count <= gate_cap)
) STRICT, WITHOUT ROWID;

-- A session has one living task.
CREATE UNIQUE INDEX tasks_live ON tasks (client, session_id) WHERE status NOT IN (@TASK_ENDED@);
CREATE INDEX tasks_session ON tasks (client, session_id);
CREATE INDEX tasks_waiting ON tasks (task_id) WHERE status = 'AWAITING_APPROVAL';

CREATE TRIGGER tasks_edges BEFORE UPDATE OF status ON tasks WHEN NOT (@TASK_EDGES@)
BEGIN SELECT RAISE(ABORT, 'no such edge between task states'); END;

CREATE TABLE approvals (
    seq              INTEGER PRIMARY KEY,
    approval_id      TEXT NOT NULL UNIQUE,
    tenant           TEXT NOT NULL DEFAULT 'default',
    task_id          TEXT NOT NULL REFERENCES tasks (task_id),
    call_id          TEXT NOT NULL,
    principal        TEXT NOT NULL,
    client           TEXT NOT NULL,
    tool             TEXT NOT NULL CHECK (length(tool) <= 200),
    preview          TEXT NOT NULL CHECK (length(preview) <= 256),
    display          TEXT NOT NULL,
    cwd              TEXT,
    args_digest      TEXT NOT NULL,
    call_digest      TEXT NOT NULL,
    rulebook_digest  TEXT NOT NULL,
    reason           TEXT NOT NULL,
    severity         TEXT NOT NULL CHECK (severity IN ('low', 'medium', 'high')),
    rules            TEXT NOT NULL,
    timeout_s        INTEGER NOT NULL,
    wait_mode        TEXT NOT NULL CHECK (wait_mode IN ('hold', 'park')),
    exact            TEXT,
    owner            TEXT NOT NULL,
    repo             TEXT,
    status           TEXT NOT NULL DEFAULT 'PENDING'
                     CHECK (status IN ('PENDING', 'APPROVED', 'DENIED', 'TIMED_OUT', 'STRANDED')),
    stranded_reason  TEXT CHECK (stranded_reason IN ('cancelled', 'declined', 'halted', 'waiter_lost', 'node_lost')),
    created_at       INTEGER NOT NULL,
    -- What the creation rate counts; emptied when the clock was set back.
    counted_at       INTEGER,
    expires_at       INTEGER NOT NULL,
    decided_at       INTEGER,
    decided_by       TEXT,
    decided_via      TEXT CHECK (decided_via IN
                     ('rest', 'cli', 'console', 'slack', 'timer', 'reconciler', 'cancel', 'halt')),
    assurance        TEXT,
    scope            TEXT,
    deny_reason      TEXT,
    resumed_at       INTEGER,
    injected_at      INTEGER,
    CHECK ((status = 'PENDING') = (decided_at IS NULL)),
    CHECK ((status = 'STRANDED') = (stranded_reason IS NOT NULL)),
    CHECK ((status = 'APPROVED') = (scope IS NOT NULL)),
    CHECK (deny_reason IS NULL OR status = 'DENIED')
) STRICT;

CREATE INDEX approvals_due ON approvals (expires_at) WHERE status = 'PENDING';
CREATE INDEX approvals_call ON approvals (principal, call_digest) WHERE status = 'PENDING';
CREATE INDEX approvals_held ON approvals (task_id) WHERE wait_mode = 'hold' AND resumed_at IS NULL;
CREATE INDEX approvals_task ON approvals (task_id, created_at);
CREATE INDEX approvals_untold ON approvals (task_id)
    WHERE wait_mode = 'park' AND injected_at IS NULL AND status IN ('APPROVED', 'DENIED');

CREATE TRIGGER approvals_end_once BEFORE UPDATE OF status ON approvals WHEN OLD.status <> 'PENDING'
BEGIN SELECT RAISE(ABORT, 'a request ends once'); END;

CREATE TABLE grants (
    grant_id        TEXT PRIMARY KEY NOT NULL,
    tenant          TEXT NOT NULL DEFAULT 'default',
    task_id         TEXT NOT NULL REFERENCES tasks (task_id),
    principal       TEXT NOT NULL,
    scope           TEXT NOT NULL,
    single_use      INTEGER NOT NULL CHECK (single_use IN (0, 1)),
    call_digest     TEXT,
    rulebook_digest TEXT,
    rule_digest     TEXT,
    approval_id     TEXT,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    redeemed_at     INTEGER,
    ended_at        INTEGER,
    ended_by        TEXT,
    CHECK (single_use = 0 OR (call_digest IS NOT NULL AND rulebook_digest IS NOT NULL AND expires_at IS NOT NULL)),
    CHECK (redeemed_at IS NULL OR ended_at IS NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX grants_call ON grants (principal, call_digest)
    WHERE single_use = 1 AND redeemed_at IS NULL AND ended_at IS NULL;
CREATE INDEX grants_task ON grants (task_id) WHERE single_use = 0 AND ended_at IS NULL;
CREATE INDEX grants_approval ON grants (approval_id);

CREATE TRIGGER grants_spent_once BEFORE UPDATE OF redeemed_at, ended_at ON grants
WHEN OLD.redeemed_at IS NOT NULL OR OLD.ended_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a grant ends once'); END;

CREATE TABLE recent_decisions (
    task_id    TEXT NOT NULL REFERENCES tasks (task_id),
    kind       TEXT NOT NULL CHECK (kind IN ('input', 'rule')),
    tool       TEXT NOT NULL,
    key        TEXT NOT NULL,
    tenant     TEXT NOT NULL DEFAULT 'default',
    how        TEXT NOT NULL CHECK (how IN ('DENIED', 'TIMED_OUT')),
    reason     TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (task_id, kind, tool, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE calls (
    call_id     TEXT PRIMARY KEY NOT NULL,
    tenant      TEXT NOT NULL DEFAULT 'default',
    task_id     TEXT REFERENCES tasks (task_id),
    door        TEXT NOT NULL CHECK (door IN ('mcp', 'hook', 'rest', 'cli')),
    client      TEXT NOT NULL,
    session_id  TEXT NOT NULL,
    agent_id    TEXT,
    tool_use_id TEXT,
    principal   TEXT NOT NULL,
    tool        TEXT NOT NULL,
    args_digest TEXT NOT NULL,
    call_digest TEXT NOT NULL,
    grant_id    TEXT,
    permit_at   INTEGER NOT NULL,
    -- What the rate counts; emptied when the clock was set back.
    counted_at  INTEGER,
    ended_at    INTEGER,
    outcome     TEXT CHECK (outcome IN ('ok', 'error', 'withheld', 'unknown')),
    code        TEXT,
    duration_ms INTEGER,
    bytes       INTEGER,
    -- The gateway's call that took up this decision of a hook.
    joined_by   TEXT,
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX calls_counted ON calls (counted_at) WHERE counted_at IS NOT NULL;
CREATE INDEX calls_open ON calls (client, session_id, tool_use_id, permit_at) WHERE ended_at IS NULL;

CREATE TRIGGER calls_end_once BEFORE UPDATE OF ended_at, outcome ON calls WHEN OLD.ended_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a call ends once'); END;

CREATE TRIGGER calls_join_once BEFORE UPDATE OF joined_by ON calls WHEN OLD.joined_by IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a decision is taken up once'); END;

CREATE TABLE halts (
    scope  TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL DEFAULT 'default',
    reason TEXT NOT NULL,
    by     TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pins (
    -- `drift`: what a server showed instead of what was accepted; it is quarantined while the row is there.
    kind        TEXT NOT NULL CHECK (kind IN ('project', 'server', 'tool', 'drift')),
    name        TEXT NOT NULL,
    tenant      TEXT NOT NULL DEFAULT 'default',
    digest      TEXT NOT NULL,
    text        TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE rulebooks (
    digest       TEXT NOT NULL,
    engine       TEXT NOT NULL,
    tenant       TEXT NOT NULL DEFAULT 'default',
    validated_at INTEGER NOT NULL,
    PRIMARY KEY (digest, engine)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    kind       TEXT NOT NULL CHECK (kind IN ('agent', 'gateway')),
    boot       TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    started    INTEGER NOT NULL,
    tenant     TEXT NOT NULL DEFAULT 'default',
    seen_at    INTEGER NOT NULL,
    -- The session that a gateway is; its open calls are unknown once it is gone.
    client     TEXT,
    session_id TEXT,
    PRIMARY KEY (kind, boot, pid, started)
) STRICT, WITHOUT ROWID;
