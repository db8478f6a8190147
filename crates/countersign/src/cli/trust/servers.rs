//! Trust in servers: what is known of each, and accepting one with everything it lists.
//!
//! A server of `servers.toml` is started to see what it lists, once a person has confirmed how it is started. What a
//! server with a typed command showed last is accepted from what was kept of it; its command is the client's.

use super::{difference, refused};
use crate::cli::{complain, exit, mcp, need_person, say};
use crate::places::Places;
use crate::rules::Acceptance;
use crate::wire::{self, Wired};
use anyhow::Context as _;
use countersign_core::cleanse::{clean_line, clean_text};
use countersign_core::digest::Digest;
use countersign_core::facts::shell::quote;
use countersign_core::json::{Bounds, Json};
use countersign_core::rpc::Message;
use countersign_core::trust::{self, Listed};
use countersign_gate::seams::{Pin, PinKind, Servers as _};
use countersign_gate::servers::orders;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a server.
pub(super) struct Known {
    name: String,
    state: &'static str,
    digest: Option<Digest>,
    tools: usize,
    /// Tools that differ from what is accepted: what happened to each.
    drift: Vec<(String, &'static str)>,
    /// Tools whose text gives orders to a model: the rules that matched.
    orders: Vec<(String, Vec<&'static str>)>,
}

impl Known {
    pub(super) fn line(&self) -> String {
        let digest = self.digest.map_or_else(|| "-".to_owned(), |d| d.to_string());
        format!("server {}  {}  {digest}  {} tools accepted", self.name, self.state, self.tools)
    }

    pub(super) fn details(&self) -> Vec<String> {
        let drift = self.drift.iter().map(|(tool, what)| format!("  {what}: {}", clean_line(tool, 200)));
        let orders = self.orders.iter().map(|(tool, rules)| {
            format!("  gives orders to a model: {} ({})", clean_line(tool, 200), rules.join(", "))
        });
        drift.chain(orders).collect()
    }

    pub(super) fn json(&self) -> Json {
        let drift = self.drift.iter().map(|(tool, what)| {
            Json::object([("tool", Json::str(clean_line(tool, 200).as_str())), ("change", Json::str(*what))])
        });
        let orders = self.orders.iter().map(|(tool, rules)| {
            Json::object([
                ("tool", Json::str(clean_line(tool, 200).as_str())),
                ("matched_patterns", Json::Array(rules.iter().map(|r| Json::str(*r)).collect())),
            ])
        });
        let mut out = Json::object([
            ("name", Json::str(&self.name)),
            ("acceptance", Json::str(self.state)),
            ("tools", Json::int(i64::try_from(self.tools).unwrap_or(0))),
            ("drift", Json::Array(drift.collect())),
            ("orders", Json::Array(orders.collect())),
        ]);
        if let Some(digest) = self.digest {
            out.set("digest", Json::str(digest.to_string()));
        }
        out
    }
}

/// Every server that configuration or a pin names.
pub(super) async fn known(wired: &Wired) -> anyhow::Result<Vec<Known>> {
    let entries = mcp::entries(&wired.project)?;
    let pins: BTreeMap<String, Pin> = wired.store.pins(PinKind::Server, "").await?.into_iter().collect();
    let tools = wired.store.pins(PinKind::Tool, "").await?;
    let drift: BTreeMap<String, Pin> = wired.store.pins(PinKind::Drift, "").await?.into_iter().collect();
    let mut names: Vec<String> = entries.iter().map(|e| e.name.clone()).chain(pins.keys().cloned()).collect();
    names.sort();
    names.dedup();
    Ok(names
        .into_iter()
        .map(|name| {
            let entry = entries.iter().find(|e| e.name == name);
            let pin = pins.get(&name);
            let fits = entry.is_none_or(|e| pin.is_some_and(|p| p.digest == mcp::launch(e).digest()));
            let prefix = format!("{name}/");
            let accepted: BTreeMap<&str, &Pin> =
                tools.iter().filter_map(|(key, pin)| Some((key.strip_prefix(&prefix)?, pin))).collect();
            let found = drift.iter().filter_map(|(key, pin)| {
                let tool = key.strip_prefix(&prefix)?;
                let what = match (pin.text.is_empty(), accepted.contains_key(tool)) {
                    (true, _) => "gone",
                    (false, true) => "CHANGED",
                    (false, false) => "added, hidden",
                };
                Some((tool.to_owned(), what))
            });
            let state = match (pin, entry) {
                (None, _) => "never accepted",
                _ if drift.contains_key(&name) => "QUARANTINED",
                (Some(_), Some(_)) if !fits => "changed since it was accepted",
                (Some(_), Some(e)) if !e.enabled => "accepted, not enabled",
                (Some(_), Some(_)) => "accepted",
                (Some(_), None) => "accepted, typed",
            };
            // What was seen last of each tool, accepted or not.
            let seen = drift.iter().filter_map(|(key, pin)| Some((key.strip_prefix(&prefix)?, pin)));
            let texts: BTreeMap<&str, &Pin> = accepted.iter().map(|(k, p)| (*k, *p)).chain(seen).collect();
            let flagged = texts
                .iter()
                .filter_map(|(tool, pin)| Some(((*tool).to_owned(), orders(&pin.text)?.matched_patterns)));
            Known {
                orders: flagged.collect(),
                state,
                digest: pin.map(|p| p.digest),
                tools: accepted.len(),
                drift: found.collect(),
                name,
            }
        })
        .collect())
}

/// A person accepts a server.
pub(super) async fn accept(
    wired: &Wired,
    places: &Places,
    name: &str,
    reason: Option<String>,
    yes: bool,
) -> anyhow::Result<u8> {
    let by = match need_person(wired, "trust accept").await {
        Ok(by) => by,
        Err(code) => return Ok(code),
    };
    let reason = reason.map(|r| clean_line(&r, 500));
    let entry = mcp::entries(&wired.project)?.into_iter().find(|e| e.name == name);
    let Some(entry) = entry else {
        let found = changes(wired, name, None).await?;
        let drifted = wired.store.pin(PinKind::Drift, name).await?;
        if found.is_empty() && drifted.is_none() {
            let known = wired.store.pin(PinKind::Server, name).await?.is_some();
            complain(match known {
                true => "It is what was accepted already.",
                false => "There is no such server: neither in servers.toml nor seen behind `mcp --`.",
            });
            return Ok(if known { exit::OK } else { exit::FAILED });
        }
        found.iter().for_each(|text| complain(text));
        if let Some(before) = drifted.filter(|_| found.is_empty()) {
            complain(&format!(
                "It lists what was accepted again. It is quarantined because it listed something else before; changed: {}",
                clean_line(&before.text, 400)
            ));
        }
        if let Some(code) = refused(yes, &format!("Accept what {name} showed last?"))? {
            return Ok(code);
        }
        wired.gate.accept_drift(name, &by, reason.as_ref()).await?;
        say("Accepted.");
        return Ok(exit::OK);
    };
    // The values of its environment are no part of its pin, so somebody must have looked at them in the file.
    if wired.acceptance != Acceptance::Accepted {
        complain(&format!(
            "Nothing was started or accepted: look at the project's files first: countersign --project {} trust accept project",
            quote(wired.project.root_text())
        ));
        return Ok(exit::FAILED);
    }
    let launch = mcp::launch(&entry);
    let old = wired.store.pin(PinKind::Server, name).await?;
    if old.as_ref().is_none_or(|o| o.digest != launch.digest()) {
        let before = old.as_ref().map(|o| pretty(&o.text)).unwrap_or_default();
        complain(&format!("How {name} is started:\n{}", difference(&before, &pretty(&launch.text))));
        // Only a person starts what nobody accepted (P-38).
        if let Some(code) = refused(yes, "Start it, to see what it lists?")? {
            return Ok(code);
        }
    }
    let tools = match list(wired, places, &entry).await {
        Ok(tools) => tools,
        Err(e) => {
            complain(&format!("Nothing was accepted: {e:#}"));
            return Ok(exit::FAILED);
        }
    };
    let found = changes(wired, name, Some(&tools)).await?;
    let quarantined = wired.store.pin(PinKind::Drift, name).await?.is_some();
    if found.is_empty() && !quarantined && old.is_some_and(|o| o.digest == launch.digest()) {
        say("It is what was accepted already.");
        return Ok(exit::OK);
    }
    found.iter().for_each(|text| complain(text));
    if let Some(code) = refused(yes, &format!("Accept {name} with {} tools?", tools.len()))? {
        return Ok(code);
    }
    wired.gate.accept_server(&launch, &tools, &by, reason.as_ref()).await?;
    say("Accepted. Gateways that run already start it when they are started again.");
    Ok(exit::OK)
}

/// What differs from what is accepted, tool by tool, with nothing hidden: against a listing, or against what was kept.
async fn changes(wired: &Wired, name: &str, tools: Option<&[Listed]>) -> anyhow::Result<Vec<String>> {
    let prefix = format!("{name}/");
    let of = |all: Vec<(String, Pin)>| -> BTreeMap<String, String> {
        all.into_iter()
            .filter_map(|(key, pin)| Some((key.strip_prefix(&prefix)?.to_owned(), pin.text)))
            .collect()
    };
    let accepted = of(wired.store.pins(PinKind::Tool, &prefix).await?);
    let now: BTreeMap<String, String> = match tools {
        Some(tools) => tools.iter().map(|t| (t.name.clone(), t.text.clone())).collect(),
        None => of(wired.store.pins(PinKind::Drift, &prefix).await?),
    };
    let mut out = Vec::new();
    for (tool, text) in &now {
        let before = accepted.get(tool).map(String::as_str).unwrap_or_default();
        if before != text {
            let what = match (before.is_empty(), text.is_empty()) {
                (true, _) => "new",
                (_, true) => "gone",
                _ => "changed",
            };
            let mut shown = difference(&pretty(before), &pretty(text));
            if let Some(found) = orders(text) {
                shown.push_str(&format!(
                    "\nThis text gives orders to a model ({}).",
                    found.matched_patterns.join(", ")
                ));
            }
            out.push(format!("{what}: {}\n{shown}", clean_line(tool, 200)));
        }
    }
    if tools.is_some() {
        let gone = accepted.keys().filter(|tool| !now.contains_key(*tool));
        out.extend(gone.map(|tool| format!("gone: {}", clean_line(tool, 200))));
    }
    Ok(out)
}

fn pretty(text: &str) -> String {
    let bounds = Bounds { max_bytes: usize::MAX, max_depth: 512, max_nodes: usize::MAX };
    match Json::parse(text.as_bytes(), bounds) {
        Ok(json) => json.pretty(),
        Err(_) => clean_text(text).to_string(),
    }
}

/// Starts a server, opens it and asks what it lists; it ends again.
async fn list(
    wired: &Wired,
    places: &Places,
    entry: &crate::config::servers::Entry,
) -> anyhow::Result<Vec<Listed>> {
    let start = mcp::start(entry)?;
    let name = entry.name.as_str();
    let pool = wire::mcp_pool(vec![start], Some(&wired.project.root), wired, places, complain);
    pool.start(name).await.with_context(|| format!("`{}` cannot be started", entry.command))?;
    // What it says by itself is for nobody here, and it is not read any further while that waits.
    let hearing = {
        let pool = pool.clone();
        tokio::spawn(async move { while pool.hear().await.is_some() {} })
    };
    let listed = tokio::time::timeout(Duration::from_secs(60), ask(wired, name, &*pool)).await;
    hearing.abort();
    pool.close().await;
    listed.context("it did not list its tools within 60 s")?
}

async fn ask(
    wired: &Wired,
    name: &str,
    servers: &dyn countersign_gate::seams::Servers,
) -> anyhow::Result<Vec<Listed>> {
    let send = async |text: String| -> anyhow::Result<Option<Message>> {
        let message = Message::from_server(text.as_bytes())?;
        let answer = wired.gate.carry(name, &message, servers).await?;
        answer.map(|text| Ok(Message::from_server(text.as_str().as_bytes())?)).transpose()
    };
    let open = Json::object([
        ("protocolVersion", Json::str("2025-11-25")),
        // Everything a client can have, so that a server shows all of its tools.
        (
            "capabilities",
            Json::object([
                ("roots", Json::object([("listChanged", Json::Bool(true))])),
                ("sampling", Json::Object(Vec::new())),
                ("elicitation", Json::Object(Vec::new())),
            ]),
        ),
        (
            "clientInfo",
            Json::object([
                ("name", Json::str("countersign")),
                ("version", Json::str(env!("CARGO_PKG_VERSION"))),
            ]),
        ),
    ]);
    let opened = send(format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{}}}",
        open.canonical()
    ))
    .await?;
    opened.as_ref().and_then(Message::result).context("it does not open a session")?;
    send("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}".to_owned()).await?;
    let mut tools: Vec<Listed> = Vec::new();
    let page = |result: &str| {
        let page = trust::listing(result)?;
        // The bound is one on all pages together.
        if tools.len() + page.tools.len() > trust::MAX_TOOLS {
            return Err("too many tools".to_owned());
        }
        for tool in page.tools {
            if tools.iter().all(|t| t.name != tool.name) {
                tools.push(tool);
            }
        }
        Ok(page.next)
    };
    wired.gate.pages(name, "tools/list", servers, page).await?;
    Ok(tools)
}
