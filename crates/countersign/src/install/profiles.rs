//! What `init` writes into a new project: configuration for each profile, and rule files with an example each.
//!
//! A profile is a template, no indirection at run time: the file says everything, and `install.profile` only where it
//! came from (gateway.md 2.4).

use countersign_core::rulebook::SCHEMA;
use countersign_core::rulebook::settings::Mode;
use countersign_core::time::Timestamp;

/// Names of the profiles.
pub const NAMES: [&str; 6] =
    ["minimal", "open-source", "internal", "client-engagement", "web-components", "unattended"];

const SCHEMA_HEAD: &str = "// Written by `countersign init`: what rules may see. It is for your editor; changing it changes nothing.\n\n";

/// The schema as it is written beside the rules.
pub fn schema() -> String {
    format!("{SCHEMA_HEAD}{SCHEMA}")
}

/// The file of hard rules.
pub const HARD: &str = "\
// Rules that nothing lifts: what they match is refused. Rules only forbid. After a change a person runs
//   countersign trust accept project
// What rules may see is in schema.cedarschema. An example; take the slashes away to use it:
//
// @tier(\"hard\") @rule_id(\"no_cluster_changes\") @summary(\"agents do not change the cluster\")
// forbid (principal, action == Agent::Action::\"execute_bash\", resource)
// when { context.command like \"*kubectl apply*\" };
";

const SOFT: &str = "\
// Rules that a person may lift: what they match is asked. After a change a person runs
//   countersign trust accept project
// severity: low, medium, high. approval_timeout_s: how long a person has. An example; take the slashes away to use it:
//
// @tier(\"soft\") @rule_id(\"ask_before_publishing\") @severity(\"high\") @approval_timeout_s(\"600\") @category(\"release\")
// @summary(\"publishes a package\")
// forbid (principal, action == Agent::Action::\"execute_bash\", resource)
// when { context.command like \"*npm publish*\" };
";

/// In nobody's presence, a tool that no table knows is asked about (DECISIONS row 14).
const UNKNOWN_TOOLS: &str = "
@tier(\"soft\") @rule_id(\"unknown_tool\") @severity(\"medium\") @summary(\"a tool that is not known\")
forbid (principal, action == Agent::Action::\"invoke_tool\", resource)
when { context.tool_class == \"other\" };
";

/// The file of soft rules.
pub fn soft(profile: &str) -> String {
    if profile == "unattended" { format!("{SOFT}{UNKNOWN_TOOLS}") } else { SOFT.to_owned() }
}

/// Text of a new configuration.
pub fn config(profile: &str, mode: Mode, by: &str, at: Timestamp) -> String {
    let quoted = |text: &str| toml_edit::Value::from(text).to_string();
    let mut out = format!(
        "# Countersign in this project. What each key means and what is in force: countersign config show\n\
         # After a change a person runs: countersign trust accept project\n\
         version = 1\n\n\
         [install]\n\
         profile = {}\n\
         by = {}\n\
         at = {}\n\n\
         # mode: watch records what rules would do, enforce does it. Change it with: countersign mode\n\
         [gate]\n\
         mode = {}\n",
        quoted(profile),
        quoted(by),
        quoted(&at.to_string()),
        quoted(mode.as_str()),
    );
    if profile == "minimal" {
        out.push_str(
            "\n# Take this away, and once a result looked like orders to the model a person is asked before the next change.\n\
             [rules]\ndisable = [\"suspected_injection\"]\n",
        );
    }
    if profile == "client-engagement" {
        out.push_str("# Reading is free; a write needs a person.\nautonomy_level = \"L0\"\nmax_autonomy_level = \"L1\"\n");
    }
    if profile == "unattended" {
        out.push_str(
            "# Nobody watches: what is not understood is refused, and a question has to be answered soon.\n\
             opaque_command = \"deny\"\nautonomy_level = \"L1\"\nmax_autonomy_level = \"L1\"\n\n\
             [approvals]\ntimeout_s = 120\n\n\
             [limits]\ncalls_per_minute = 120\nmax_concurrent_calls = 16\n",
        );
    }
    let workflows = |names: &[&str]| -> Vec<String> {
        names.iter().map(|n| format!(".github/workflows/{n}.y*ml")).collect()
    };
    let mut written: Vec<String> = Vec::new();
    let mut whole: Vec<&str> = Vec::new();
    match profile {
        "open-source" => {
            written.extend(["CODEOWNERS", "LICENSE", "SECURITY.md"].map(str::to_owned));
            written.extend(workflows(&["release", "publish"]));
        }
        "web-components" => {
            written.extend(["CODEOWNERS"].map(str::to_owned));
            written.extend(workflows(&["release", "publish"]));
            whole.push("tokens/");
        }
        "internal" | "unattended" => {
            written.extend(["CODEOWNERS", "SECURITY.md", "THREAT_MODEL.md"].map(str::to_owned));
            written.extend(workflows(&["release"]));
        }
        "client-engagement" => {
            written.extend(["CODEOWNERS", "SECURITY.md", "THREAT_MODEL.md"].map(str::to_owned));
            whole.extend(["secrets/", "credentials/"]);
        }
        _ => {}
    }
    if written.is_empty() && whole.is_empty() {
        return out;
    }
    out.push_str("\n[paths]\n# No agent touches these; this folder, keys and the clients' settings are protected anyway.\nblocked = [\n");
    for path in [".env", ".env.*"].into_iter().chain(whole) {
        out.push_str(&format!("  {},\n", quoted(path)));
    }
    for path in &written {
        out.push_str(&format!("  {{ path = {}, mode = \"write\" }},\n", quoted(path)));
    }
    out.push_str("]\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::said::{self, LayerName};
    use countersign_core::rulebook::settings::RuleSettings;
    use countersign_core::rulebook::{PolicyText, RuleSet, Rulebook};

    #[test]
    fn every_profile_writes_configuration_that_loads() {
        for profile in NAMES {
            for mode in [Mode::Watch, Mode::Enforce] {
                let text = config(profile, mode, "an\"a\n", Timestamp(1_795_568_972_005));
                let file = said::read("config.toml", &text, LayerName::Project);
                assert!(file.is_ok(), "{profile}:\n{text}\n{:?}", file.err());
                assert!(text.contains(&format!("mode = \"{}\"", mode.as_str())));
                // DECISIONS row 19.
                let off = text.contains("disable = [\"suspected_injection\"]");
                assert_eq!(off, profile == "minimal", "{profile}");
            }
        }
    }

    #[test]
    fn nobody_is_there_for_unknown_tools() {
        let source = PolicyText { file: "soft.cedar".into(), text: soft("unattended").into() };
        let settings = RuleSettings::defaults("/p", &[], None);
        let (book, _) = Rulebook::load(vec![(RuleSet::Soft, source)], settings).unwrap();
        book.validate().unwrap();
        assert!(book.rule("unknown_tool").is_some());
    }

    /// The rule files as written hold no rule; the examples load once the slashes are gone.
    #[test]
    fn the_examples_load() {
        let settings = RuleSettings::defaults("/p", &[], None);
        let load = |hard: String, soft: String| {
            let text = |text: String| PolicyText { file: "x".into(), text: text.into() };
            Rulebook::load(vec![(RuleSet::Hard, text(hard)), (RuleSet::Soft, text(soft))], settings.clone())
        };
        let (plain, _) = load(HARD.to_owned(), SOFT.to_owned()).unwrap();
        let bare = |text: &str| {
            let from = text.find("// @tier").unwrap();
            text.get(from..).unwrap().replace("// ", "")
        };
        let (with, _) = load(bare(HARD), bare(SOFT)).unwrap();
        assert_eq!(with.rules().len(), plain.rules().len() + 2);
    }
}
