//! `countersign explain`: why a call was decided as it was, or would be. No side effects.

use super::answer::{Named, find};
use super::log::{self, Span};
use super::trial::Trial;
use super::{Context, complain, exit, say, show};
use countersign_core::json::Json;
use countersign_core::judge::Verdict;

/// Say why a call was decided as it was: a recorded call, a question, or a call on standard input.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  countersign explain 3NM8Q2\n  echo '{\"tool_name\":\"Bash\",\"tool_input\":{\"command\":\"git push -f\"}}' | countersign explain -\n\nRules are Cedar forbids with annotations, in .countersign/policy/hard.cedar and soft.cedar:\n  @tier(\"soft\") @rule_id(\"ask_before_publish\") @severity(\"high\") @summary(\"publishes a package\")\n  forbid (principal, action == Agent::Action::\"execute_bash\", resource)\n  when { context.command like \"cargo publish*\" };\nWhat rules may see stands in .countersign/policy/schema.cedarschema."
)]
pub struct Explain {
    /// Id of a question or a call (or its last 6 characters), or - for a call on standard input.
    #[arg(value_name = "ID|-")]
    what: String,
}

impl Explain {
    /// Explains.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        if self.what == "-" {
            return self.judge_input(cx).await;
        }
        match find(cx, &self.what).await {
            Ok(Named::Request(wired, row)) => {
                let row = show::seen(&wired, *row).await?;
                if cx.global.json {
                    say(&show::request_json(wired.project.root_text(), &row).canonical());
                } else {
                    say(show::request(cx, wired.project.root_text(), &row, None).trim_end());
                    rules(&wired, &row.request.rules);
                }
                Ok(exit::OK)
            }
            Ok(Named::Grant(wired, id)) => {
                let grants = wired.gate.grants().await?;
                for g in grants.iter().filter(|g| g.grant.grant_id == id) {
                    say(&format!(
                        "{} grants {} to {} since {}",
                        id, g.grant.scope, g.principal, g.created_at
                    ));
                }
                Ok(exit::OK)
            }
            Err(not_found) => self.recorded(cx).await.map_err(|_| not_found),
        }
    }

    /// A call of the log, by its id or a suffix of it.
    async fn recorded(&self, cx: &Context) -> anyhow::Result<u8> {
        let wanted = self.what.trim().to_uppercase();
        let mut shown = 0;
        for wired in cx.open_all().await? {
            log::each(cx, &wired, Span::default(), |json| {
                if json.text("call_id").is_none_or(|id| !id.ends_with(&wanted)) {
                    return;
                }
                shown += 1;
                say(&if cx.global.json { json.canonical() } else { super::audit::line(json) });
                let ids = json.get("data").and_then(|d| d.get("matching_rule_ids")).and_then(Json::as_array);
                if let (false, Some(ids)) = (cx.global.json, ids) {
                    let ids: Vec<String> = ids.iter().filter_map(Json::as_str).map(str::to_owned).collect();
                    rules(&wired, &ids);
                }
            })
            .await?;
        }
        if shown == 0 {
            anyhow::bail!("nothing is known of `{}`", self.what);
        }
        Ok(exit::OK)
    }

    async fn judge_input(&self, cx: &Context) -> anyhow::Result<u8> {
        let wired = cx.open().await?;
        let input = super::decide::read_stdin()?;
        let call = match countersign_inbound::decide::parse(
            &input,
            crate::person::uid(),
            &super::decide::cwd()?,
            &super::hook::resolve,
        ) {
            Ok(call) => call,
            Err(why) => {
                complain(&why);
                return Ok(exit::USAGE);
            }
        };
        let Some(book) = wired.gate.rulebook() else {
            for problem in &wired.problems {
                complain(&format!("{problem:?}"));
            }
            complain("no rulebook is in force: every call is refused with code=policy_invalid");
            return Ok(exit::FAILED);
        };
        let Trial { facts, judged } = Trial::of(&book, &call, None);
        if cx.global.json {
            let mut json = Json::object([
                ("verdict", Json::str(judged.verdict.as_str())),
                ("step", Json::str(judged.step.as_str())),
                ("reason", Json::str(judged.reason.as_str())),
                ("matching_rule_ids", Json::strings(&judged.rules)),
            ]);
            if let Verdict::Deny(code) = &judged.verdict {
                json.set("code", Json::str(code.as_str()));
            }
            if let Some(would) = &judged.would {
                json.set("would", Json::str(would.verdict.as_str()));
            }
            say(&json.canonical());
        } else {
            say(&format!(
                "{} at step `{}`: {}",
                judged.verdict.as_str(),
                judged.step.as_str(),
                judged.reason
            ));
            if let Some(would) = &judged.would {
                say(&format!(
                    "watch mode lets it pass; enforced it would be: {}, {}",
                    would.verdict.as_str(),
                    would.reason
                ));
            }
            if let Ok(facts) = &facts
                && let Some(shell) = &facts.shell
            {
                match shell.opaque {
                    Some(why) => say(&format!("the line is not fully understood: it has {why}")),
                    None => say(&format!(
                        "commands: {}",
                        shell.commands.iter().map(|c| c.text()).collect::<Vec<_>>().join(" | ")
                    )),
                }
            }
            let ids = judged.would.as_ref().map_or(&judged.rules, |w| &w.rules);
            rules(&wired, ids);
        }
        Ok(exit::OK)
    }
}

fn rules(wired: &crate::wire::Wired, ids: &[String]) {
    let Some(book) = wired.gate.rulebook() else { return };
    for id in ids {
        if let Some(rule) = book.rule(id) {
            let severity = rule.severity.map(|s| format!(", severity {}", s.as_str())).unwrap_or_default();
            say(&format!(
                "  rule {id} ({}{severity}) {}:{}: {}",
                rule.set.as_str(),
                rule.file,
                rule.line,
                rule.summary
            ));
        }
    }
}
