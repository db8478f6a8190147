//! The schema's text, with the legal edges of tasks filled in from the core's table.

use countersign_core::task::TaskStatus;

/// The version that `PRAGMA user_version` holds.
pub(super) const VERSION: i64 = 4;

/// Version 3 had nothing of the user's.
const INTO_4: &str = include_str!("keeper.sql");

/// Version 2 had a place for a task's suspicion that nothing wrote to.
const FROM_2: &str = "
ALTER TABLE tasks DROP COLUMN tainted;
ALTER TABLE tasks ADD COLUMN tainted_by TEXT;
ALTER TABLE tasks ADD COLUMN tainted_at INTEGER CHECK ((tainted_at IS NULL) = (tainted_by IS NULL));
";

/// Version 1 had no gateways: no joined decisions, no quarantine, no sessions of nodes.
const FROM_1: &str = "
ALTER TABLE calls ADD COLUMN joined_by TEXT;
ALTER TABLE pins RENAME TO pins_1;
ALTER TABLE nodes RENAME TO nodes_1;
";
const INTO_2: &str = "
INSERT INTO pins (kind, name, tenant, digest, text, accepted_at)
    SELECT kind, name, tenant, digest, text, accepted_at FROM pins_1;
DROP TABLE pins_1;
INSERT INTO nodes (kind, boot, pid, started, tenant, seen_at)
    SELECT kind, boot, pid, started, tenant, seen_at FROM nodes_1;
DROP TABLE nodes_1;
";

/// What brings a database of `version` to the newest; 0 is an empty one.
pub(super) fn upgrade(version: i64) -> String {
    match version {
        1 => {
            let text = text();
            // The new form of what was renamed away, and the trigger that came with the new column.
            let statement = |start: &str, end: &str| {
                let from = text.find(start).unwrap_or(text.len());
                let rest = text.get(from..).unwrap_or_default();
                let until = rest.find(end).map_or(rest.len(), |at| at + end.len());
                rest.get(..until).unwrap_or_default().to_owned()
            };
            let parts = [
                statement("CREATE TABLE pins", "WITHOUT ROWID;"),
                statement("CREATE TABLE nodes", "WITHOUT ROWID;"),
                statement("CREATE TRIGGER calls_join_once", "END;"),
            ];
            format!("{FROM_1}{}{INTO_2}{FROM_2}{INTO_4}PRAGMA user_version = {VERSION};\n", parts.join("\n"))
        }
        2 => format!("{FROM_2}{INTO_4}PRAGMA user_version = {VERSION};\n"),
        3 => format!("{INTO_4}PRAGMA user_version = {VERSION};\n"),
        _ => text(),
    }
}

/// Everything that creates a database, the version included.
fn text() -> String {
    let list = |of: &mut dyn Iterator<Item = TaskStatus>| {
        of.map(|s| format!("'{}'", s.as_str())).collect::<Vec<_>>().join(", ")
    };
    let states = list(&mut TaskStatus::ALL.into_iter());
    let ended = list(&mut TaskStatus::ALL.into_iter().filter(|s| s.is_terminal()));
    let edges = TaskStatus::ALL
        .into_iter()
        .filter(|s| !s.is_terminal())
        .map(|from| {
            let targets = list(&mut from.targets().iter().copied());
            format!("(OLD.status = '{}' AND NEW.status IN ({targets}))", from.as_str())
        })
        .collect::<Vec<_>>()
        .join(" OR ");
    let schema = include_str!("schema.sql")
        .replace("@TASK_STATES@", &states)
        .replace("@TASK_ENDED@", &ended)
        .replace("@TASK_EDGES@", &edges);
    format!("{schema}\n{INTO_4}\nPRAGMA user_version = {VERSION};\n")
}

#[cfg(test)]
mod tests {
    use super::TaskStatus;

    /// Queries name the ended states in plain text, so that they stay readable; this keeps them honest.
    #[test]
    fn queries_know_every_ended_state() {
        let ended: Vec<_> =
            TaskStatus::ALL.into_iter().filter(|s| s.is_terminal()).map(|s| s.as_str()).collect();
        assert_eq!(ended, ["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]);
    }
}
