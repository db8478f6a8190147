//! A set of rules, cut by what a request can meet: one slice an action, and one a tool that rules name in their scope.
//!
//! Cedar looks at every policy of the set it is given. A rule whose scope names another action or another tool cannot
//! match, so it is not handed over: ten thousand of them cost a call nothing. The cut reads scopes only, never
//! conditions, and what it cannot tell goes into every slice.

use cedar_policy::{ActionConstraint, EntityUid, Policy, PolicySet, ResourceConstraint};
use std::collections::HashMap;

/// What a request asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Invoke,
    Write,
    Bash,
    Fetch,
    Mail,
    MemoryList,
    MemoryPreview,
    MemoryFetch,
}

impl Kind {
    pub(super) const ALL: [Kind; 8] = [
        Kind::Invoke,
        Kind::Write,
        Kind::Bash,
        Kind::Fetch,
        Kind::Mail,
        Kind::MemoryList,
        Kind::MemoryPreview,
        Kind::MemoryFetch,
    ];

    /// The action's id.
    pub(super) fn action(self) -> &'static str {
        match self {
            Kind::Invoke => "invoke_tool",
            Kind::Write => "write_file",
            Kind::Bash => "execute_bash",
            Kind::Fetch => "http_fetch",
            Kind::Mail => "send_email",
            Kind::MemoryList => "memory_list",
            Kind::MemoryPreview => "memory_preview",
            Kind::MemoryFetch => "memory_fetch",
        }
    }
}

/// A set and its slices.
#[derive(Default)]
pub(super) struct Slices {
    all: PolicySet,
    kinds: HashMap<Kind, PolicySet>,
    /// Rules for one tool alone. The permit is in each, or the set would deny everything.
    tools: HashMap<String, PolicySet>,
    permit: Option<Policy>,
    none: PolicySet,
}

impl Slices {
    /// Adds a rule to every slice it can matter in. `permit` is the catch-all, which comes first.
    pub(super) fn add(&mut self, policy: Policy, permit: bool) -> Result<(), String> {
        if permit {
            self.permit = Some(policy.clone());
        }
        let tool = match policy.resource_constraint() {
            ResourceConstraint::Eq(uid) if is_tool(&uid) && !permit => Some(uid.id().unescaped().to_owned()),
            _ => None,
        };
        if let Some(tool) = tool {
            let slice = match self.tools.entry(tool) {
                std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let mut slice = PolicySet::new();
                    if let Some(permit) = &self.permit {
                        put(&mut slice, permit)?;
                    }
                    new.insert(slice)
                }
            };
            put(slice, &policy)?;
            return put(&mut self.all, &policy);
        }
        for kind in Kind::ALL {
            let applies = match policy.action_constraint() {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(uid) => is_action(&uid, kind),
                ActionConstraint::In(uids) => uids.iter().any(|uid| is_action(uid, kind)),
            };
            if applies {
                put(self.kinds.entry(kind).or_default(), &policy)?;
            }
        }
        put(&mut self.all, &policy)
    }

    /// The sets that a request has to be put to: of a kind, and of the tool when that is the resource.
    pub(super) fn for_request<'a>(
        &'a self,
        kind: Kind,
        tool: &str,
    ) -> impl Iterator<Item = &'a PolicySet> + use<'a> {
        // The catch-all is in each slice; without one the empty set denies, which is a fault.
        let general = self.kinds.get(&kind).unwrap_or(&self.none);
        // Only `invoke_tool` has the tool as its resource; the others have a sentinel.
        let own = (kind == Kind::Invoke).then(|| self.tools.get(tool)).flatten();
        std::iter::once(general).chain(own)
    }

    /// The tools that rules name in their scope.
    pub(super) fn tools(&self) -> impl Iterator<Item = &str> {
        self.tools.keys().map(String::as_str)
    }

    /// Every rule, for validation.
    pub(super) fn all(&self) -> &PolicySet {
        &self.all
    }
}

fn put(set: &mut PolicySet, policy: &Policy) -> Result<(), String> {
    set.add(policy.clone()).map_err(|e| e.to_string())
}

fn is_tool(uid: &EntityUid) -> bool {
    uid.type_name().to_string() == "Agent::Tool"
}

/// An action that is none of ours may be a group of them for all that is known here.
fn is_action(uid: &EntityUid, kind: Kind) -> bool {
    let id = uid.id().unescaped();
    id == kind.action() || !Kind::ALL.iter().any(|k| k.action() == id)
}
