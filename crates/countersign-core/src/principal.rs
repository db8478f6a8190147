//! Who asks and who answers.
//!
//! An agent and a person are different variants, and an [`Approver`] can be made from a person only: "an agent
//! cannot approve itself" is the absence of a constructor, not a check somebody may forget.

use std::fmt;

/// The program on the other side of a door (NAMES section 0, `client`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Claude Code.
    ClaudeCode,
    /// Codex CLI.
    Codex,
    /// Cursor.
    Cursor,
    /// Gemini CLI.
    Gemini,
    /// GitHub Copilot.
    Copilot,
    /// VS Code's own agent.
    VsCode,
    /// git, through its hooks.
    Git,
    /// Anything else.
    Other,
}

impl Client {
    /// Every client, in the order of NAMES.
    pub const ALL: [Client; 8] = [
        Client::ClaudeCode,
        Client::Codex,
        Client::Cursor,
        Client::Gemini,
        Client::Copilot,
        Client::VsCode,
        Client::Git,
        Client::Other,
    ];

    /// The name on every wire and row.
    pub fn as_str(self) -> &'static str {
        match self {
            Client::ClaudeCode => "claude-code",
            Client::Codex => "codex",
            Client::Cursor => "cursor",
            Client::Gemini => "gemini",
            Client::Copilot => "copilot",
            Client::VsCode => "vscode",
            Client::Git => "git",
            Client::Other => "other",
        }
    }

    /// Reads the name; unknown names are `None`, never `Other`.
    pub fn parse(text: &str) -> Option<Client> {
        Client::ALL.into_iter().find(|c| c.as_str() == text)
    }
}

/// An authenticated party.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A person, named by the operating system or by a login.
    Human {
        /// The person's id, stored and compared byte for byte.
        name: String,
    },
    /// An agent running for an OS user in a client. Client sessions are attributes of a call, not part of this.
    Agent {
        /// The client.
        client: Client,
        /// Numeric OS user.
        uid: u32,
        /// Set for a sub-agent: the kind of agent its parent started.
        agent_type: Option<String>,
    },
    /// An unattended task.
    Task {
        /// The task's id.
        id: String,
    },
    /// One of our own nodes.
    Node {
        /// The node's id.
        id: String,
    },
}

impl Principal {
    /// The id in rows, records and digests: `agent:<client>:<uid>`, `agent:<client>:<uid>/<agent_type>`,
    /// `human:<name>`, `task:<id>`, `node:<id>`.
    pub fn id(&self) -> String {
        match self {
            Principal::Human { name } => format!("human:{name}"),
            Principal::Agent { client, uid, agent_type: None } => format!("agent:{}:{uid}", client.as_str()),
            Principal::Agent { client, uid, agent_type: Some(kind) } => {
                format!("agent:{}:{uid}/{}", client.as_str(), encode(kind))
            }
            Principal::Task { id } => format!("task:{id}"),
            Principal::Node { id } => format!("node:{id}"),
        }
    }

    /// Reads an agent's id.
    pub fn parse_agent(id: &str) -> Option<Principal> {
        let (client, rest) = id.strip_prefix("agent:")?.split_once(':')?;
        let (uid, kind) = match rest.split_once('/') {
            Some((uid, kind)) => (uid, Some(decode(kind)?)),
            None => (rest, None),
        };
        Some(Principal::Agent { client: Client::parse(client)?, uid: uid.parse().ok()?, agent_type: kind })
    }

    /// True for a sub-agent.
    pub fn is_child(&self) -> bool {
        matches!(self, Principal::Agent { agent_type: Some(_), .. })
    }
}

/// Percent-encodes what is not a plain name character: the kind of a sub-agent is text of the client, and two
/// different kinds must never become one principal.
fn encode(kind: &str) -> String {
    kind.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => (b as char).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

/// How an approver proved not to be the agent; ordered from weak to strong (DECISIONS row 42).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// The client's own prompt.
    Client,
    /// A linked chat identity.
    Chat,
    /// A terminal that is no descendant of an agent process.
    Cli,
    /// A login or a person's token.
    Login,
    /// A passkey.
    Passkey,
}

impl Assurance {
    /// The name on every wire and row.
    pub fn as_str(self) -> &'static str {
        match self {
            Assurance::Client => "client",
            Assurance::Chat => "chat",
            Assurance::Cli => "cli",
            Assurance::Login => "login",
            Assurance::Passkey => "passkey",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Option<Assurance> {
        [Self::Client, Self::Chat, Self::Cli, Self::Login, Self::Passkey]
            .into_iter()
            .find(|a| a.as_str() == text)
    }
}

/// A person who may answer, and how that was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    name: String,
    assurance: Assurance,
}

impl Approver {
    /// Only a person can answer; every other principal gives `None`.
    pub fn of(principal: &Principal, assurance: Assurance) -> Option<Approver> {
        match principal {
            Principal::Human { name } => Some(Approver { name: name.clone(), assurance }),
            Principal::Agent { .. } | Principal::Task { .. } | Principal::Node { .. } => None,
        }
    }

    /// The person's principal id.
    pub fn id(&self) -> String {
        format!("human:{}", self.name)
    }

    /// How the person was told from an agent.
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(kind: Option<&str>) -> Principal {
        Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: kind.map(str::to_owned) }
    }

    /// INV-38, P-11.
    #[test]
    fn only_a_person_becomes_an_approver() {
        let ana = Principal::Human { name: "ana".into() };
        assert_eq!(Approver::of(&ana, Assurance::Cli).unwrap().id(), "human:ana");
        for other in [agent(None), agent(Some("Explore")), Principal::Task { id: "t".into() }] {
            assert_eq!(Approver::of(&other, Assurance::Passkey), None);
        }
    }

    #[test]
    fn sub_agents_have_their_own_principal() {
        assert_eq!(agent(None).id(), "agent:claude-code:1000");
        assert_eq!(agent(Some("general-purpose")).id(), "agent:claude-code:1000/general-purpose");
        assert_ne!(agent(Some("a b")).id(), agent(Some("a-b")).id());
        assert_eq!(agent(Some("x/../y")).id(), "agent:claude-code:1000/x%2F..%2Fy");
        for one in [agent(None), agent(Some("x/../ÿ %")), agent(Some("a"))] {
            assert_eq!(Principal::parse_agent(&one.id()), Some(one));
        }
        assert_eq!(Principal::parse_agent("human:ana"), None);
    }

    #[test]
    fn assurance_is_ordered() {
        assert!(Assurance::Client < Assurance::Chat && Assurance::Chat < Assurance::Cli);
        assert!(Assurance::Cli < Assurance::Login && Assurance::Login < Assurance::Passkey);
    }
}
