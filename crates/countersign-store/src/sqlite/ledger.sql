-- Everything judging may know of the past, in one statement and so at one instant.
-- ?1 clock or NULL, ?2 client, ?3 session, ?4 principal, ?5 tool, ?6 args digest, ?7 call digest,
-- ?8 rulebook digest, ?9 engine, ?10 whether permits and running calls are counted, ?11 server, ?12 its tool,
-- ?13 the hook's decision to take up, ?14 whether the day's mails are counted. What time made true is derived here; sweeps write it down later.
WITH
t AS MATERIALIZED (
    SELECT coalesce(?1, CAST(round(unixepoch('subsec') * 1000) AS INTEGER)) AS clock,
           (SELECT at FROM log_head WHERE tenant = 'default') AS last
),
-- A clock more than 30 s behind the last record: windows and single-use grants count as ended (DECISIONS row 56).
n AS MATERIALIZED (SELECT max(clock, last) AS now, clock < last - 30000 AS stepped FROM t),
k AS MATERIALIZED (
    SELECT task_id, status, gate_count, gate_cap, tainted_by, tainted_at, last_seen > n.now - 60000 AS seen
    FROM tasks, n
    WHERE client = ?2 AND session_id = ?3 AND status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT')
      -- Idle for a day a session is over (DECISIONS row 38); its next call writes that down and begins anew.
      AND last_seen > n.now - 86400000
)
SELECT
    n.now,
    k.task_id, k.status, k.gate_count, k.gate_cap, k.tainted_by, k.tainted_at, k.seen,
    CASE WHEN n.stepped THEN 0 ELSE (
        SELECT count(*) FROM approvals a
        WHERE a.task_id = k.task_id AND a.created_at > n.now - 60000 AND a.counted_at IS NOT NULL
    ) END AS gates_minute,
    (
        SELECT count(*) FROM approvals a
        WHERE a.task_id = k.task_id AND a.wait_mode = 'hold' AND a.resumed_at IS NULL
          AND CASE a.status WHEN 'PENDING' THEN a.expires_at > n.now - 10000 AND NOT n.stepped
                            ELSE a.decided_at > n.now - 10000 END
    ) AS waiting,
    (
        SELECT json_group_array(
            json_array(g.grant_id, g.scope, g.call_digest, g.rulebook_digest, g.rule_digest, g.approval_id)
            ORDER BY g.grant_id)
        FROM (
            SELECT * FROM grants
            WHERE single_use = 1 AND redeemed_at IS NULL AND ended_at IS NULL
              AND principal = ?4 AND call_digest = ?7 AND expires_at > n.now AND NOT n.stepped
            UNION ALL
            SELECT * FROM grants
            WHERE single_use = 0 AND ended_at IS NULL AND task_id = k.task_id AND principal = ?4
        ) g
    ) AS grants,
    CASE WHEN n.stepped THEN '[]' ELSE (
        SELECT json_group_array(json_array(r.kind, r.key, r.how, r.reason, r.decided_at) ORDER BY r.kind, r.key)
        FROM recent_decisions r
        WHERE r.task_id = k.task_id AND r.tool = ?5 AND (r.kind = 'rule' OR r.key = ?6) AND r.expires_at > n.now
    ) END AS refusals,
    (
        SELECT json_array(json_array(a.approval_id, a.wait_mode, a.expires_at, a.rulebook_digest))
        FROM approvals a
        WHERE a.status = 'PENDING' AND a.principal = ?4 AND a.call_digest = ?7 AND a.rulebook_digest = ?8
          AND a.expires_at > n.now AND NOT n.stepped
        ORDER BY a.seq LIMIT 1
    ) AS open,
    (
        SELECT json_array((SELECT count(*) FROM pins),
            (SELECT json_group_array(json_array(p.name, p.digest) ORDER BY p.name) FROM pins p WHERE p.kind = 'project'))
    ) AS pins,
    (SELECT h.reason FROM halts h ORDER BY h.scope LIMIT 1) AS halted,
    CASE WHEN n.stepped OR NOT ?10 THEN 0 ELSE (SELECT count(*) FROM calls c WHERE c.counted_at > n.now - 60000) END
        AS permits_minute,
    CASE WHEN NOT ?10 THEN 0 ELSE (
        SELECT count(*) FROM calls c
        WHERE c.ended_at IS NULL AND c.permit_at > n.now - 86400000 AND c.joined_by IS NULL
    ) END AS open_calls,
    -- Only what the gate sends itself: a hook's permit of the same mail sends nothing.
    CASE WHEN NOT ?14 THEN 0 ELSE (
        SELECT count(*) FROM calls c
        WHERE c.tool = 'send_email' AND c.door NOT IN ('hook', 'cli') AND c.permit_at >= n.now - n.now % 86400000
          AND (c.outcome IS NULL OR c.outcome <> 'error')
    ) END AS mails_today,
    CASE WHEN ?11 IS NULL THEN NULL ELSE json_array(
        (SELECT p.digest FROM pins p WHERE p.kind = 'server' AND p.name = ?11),
        (SELECT p.digest FROM pins p WHERE p.kind = 'tool' AND p.name = ?11 || '/' || ?12),
        (SELECT count(*) FROM pins p WHERE p.kind = 'drift' AND p.name = ?11)
    ) END AS trust,
    ?13 IS NOT NULL AND NOT n.stepped AND EXISTS (
        SELECT 1 FROM calls c
        WHERE c.call_id = ?13 AND c.door = 'hook' AND c.client = ?2 AND c.principal = ?4 AND c.tool = ?5
          AND c.args_digest = ?6 AND c.joined_by IS NULL AND c.permit_at > n.now - 600000
    ) AS joined,
    EXISTS (SELECT 1 FROM rulebooks b WHERE b.digest = ?8 AND b.engine = ?9) AS rulebook_known
FROM n LEFT JOIN k
