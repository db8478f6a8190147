//! The schema's text, with the legal edges of tasks filled in from the core's table.

use countersign_core::task::TaskStatus;

/// The version that `PRAGMA user_version` holds.
pub(super) const VERSION: i64 = 1;

/// Everything that creates a database, the version included.
pub(super) fn text() -> String {
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
    format!("{schema}\nPRAGMA user_version = {VERSION};\n")
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
