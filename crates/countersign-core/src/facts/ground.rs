//! What configuration adds to the reading of calls: the home that `~` means, tiers that an operator pinned, and further
//! tools bound to an action. Where it stops: what a tool is by itself stands in `tools`.

use super::tools::{Tier, ToolClass};
use crate::glob::Glob;

/// Everything of configuration that facts are made with.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// The user's home, for `~` in arguments.
    pub home: Option<String>,
    /// Pinned tiers, in the order of the layers.
    pub tiers: Vec<TierPin>,
    /// Tools that are bound to an action.
    pub tools: Vec<ToolBinding>,
    /// Stores of notes whose previews are asked about.
    pub sensitive: Vec<String>,
}

/// An operator's word on the tier of tools: the only way to lower one (gateway.md 2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierPin {
    /// Glob over names in policy spelling.
    pub pattern: String,
    /// The tier.
    pub tier: Tier,
    /// Why; shown by `doctor` and kept in the record of every call it changes.
    pub because: String,
}

/// The action that a further tool is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BoundAction {
    /// It writes the file that the field names.
    WriteFile,
    /// It runs the shell line that the field holds.
    ExecuteBash,
}

impl BoundAction {
    /// The setting's word, which is the name of the action in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            BoundAction::WriteFile => "write_file",
            BoundAction::ExecuteBash => "execute_bash",
        }
    }

    /// Reads the setting's word.
    pub fn parse(text: &str) -> Option<BoundAction> {
        [BoundAction::WriteFile, BoundAction::ExecuteBash].into_iter().find(|a| a.as_str() == text)
    }
}

/// A tool whose argument rules on files or commands are to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolBinding {
    /// Its name in policy spelling.
    pub tool: String,
    /// What it does.
    pub action: BoundAction,
    /// The member of its arguments that says what with; absent or no text, the call is refused.
    pub field: String,
}

impl Ground {
    /// With a home and nothing else.
    pub fn at_home(home: Option<&str>) -> Ground {
        Ground { home: home.map(str::to_owned), ..Ground::default() }
    }

    /// The tier of a tool whose own tier is `floor`, and why a pin lowered it, if one did. An exact name wins over
    /// patterns, and of several that fit alike the highest tier: the order of files and entries says nothing (P-5).
    pub fn tier(&self, tool: &str, floor: Tier) -> (Tier, Option<&str>) {
        let exact = self.tiers.iter().filter(|pin| pin.pattern == tool);
        let fitting = || self.tiers.iter().filter(|pin| Glob::new(&pin.pattern).matches(tool));
        match exact.max_by_key(|pin| pin.tier).or_else(|| fitting().max_by_key(|pin| pin.tier)) {
            Some(pin) => (pin.tier, (pin.tier < floor).then_some(pin.because.as_str())),
            None => (floor, None),
        }
    }

    /// The field of a tool that is bound to an action. Tools that a table of ours knows keep their own.
    pub(super) fn bound(&self, tool: &str, class: ToolClass, action: BoundAction) -> Option<&str> {
        let open = matches!(class, ToolClass::Mcp | ToolClass::Other);
        let binding = self.tools.iter().find(|b| b.tool == tool && b.action == action).filter(|_| open)?;
        Some(binding.field.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(pattern: &str, tier: Tier) -> TierPin {
        TierPin { pattern: pattern.into(), tier, because: format!("for {pattern}") }
    }

    /// P-5: whatever order the entries have.
    /// GINV-11.
    #[test]
    fn pins_raise_and_lower_and_say_why() {
        let mut tiers = vec![
            pin("mcp__gh__*", Tier::Write),
            pin("mcp__gh__delete_draft", Tier::Read),
            pin("mcp__*__list_*", Tier::Destructive),
        ];
        for _ in 0..2 {
            let ground = Ground { tiers: tiers.clone(), ..Ground::default() };
            assert_eq!(
                ground.tier("mcp__gh__delete_draft", Tier::Destructive),
                (Tier::Read, Some("for mcp__gh__delete_draft"))
            );
            assert_eq!(
                ground.tier("mcp__gh__delete_repo", Tier::Destructive),
                (Tier::Write, Some("for mcp__gh__*"))
            );
            assert_eq!(ground.tier("mcp__gh__list_all", Tier::Read), (Tier::Destructive, None));
            assert_eq!(ground.tier("mcp__fs__read", Tier::Read), (Tier::Read, None));
            tiers.reverse();
        }
    }
}
