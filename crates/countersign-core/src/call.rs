//! A tool call: who asks which tool to do what, through which door, and the digests that identify it.
//!
//! A [`ToolCall`] is built only by [`ToolCall::new`], from arguments that the strict reader accepted. Its
//! `args_digest` covers the arguments that *act*; members that only talk (`facts::tools` lists them) are shown and
//! recorded but not digested, since models reword them on every try (DECISIONS section 5).

use crate::digest::Digest;
use crate::facts::tools::{self, Tier};
use crate::ids::CallId;
use crate::json::Json;
use crate::principal::{Client, Principal};
use crate::rpc::Message;

/// Where a call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// The MCP gateway.
    Mcp,
    /// A client's hook.
    Hook,
    /// The HTTP API.
    Rest,
    /// The command line.
    Cli,
}

impl Door {
    /// The word in rows and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Door::Mcp => "mcp",
            Door::Hook => "hook",
            Door::Rest => "rest",
            Door::Cli => "cli",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Door> {
        [Door::Mcp, Door::Hook, Door::Rest, Door::Cli].into_iter().find(|d| d.as_str() == text)
    }
}

/// A run of a client: what an interactive task is keyed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The client.
    pub client: Client,
    /// The client's own name of the run.
    pub id: String,
}

/// The client's own name of one call: an attribute by which its end is found again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostCall {
    /// The run.
    pub session: Session,
    /// The sub-agent's run, if any.
    pub agent_id: Option<String>,
    /// The client's id of the call.
    pub tool_use_id: String,
}

/// Everything a door knows of a call.
#[derive(Clone, Debug)]
pub struct CallParts {
    /// Our id, minted by the door.
    pub call_id: CallId,
    /// Where it came in.
    pub door: Door,
    /// Who asks.
    pub principal: Principal,
    /// The run it belongs to.
    pub session: Session,
    /// The sub-agent's run, if any.
    pub agent_id: Option<String>,
    /// The client's id of the call, if it gave one.
    pub tool_use_id: Option<String>,
    /// The tool's name in policy spelling.
    pub tool: String,
    /// The arguments: an object.
    pub args: Json,
    /// Base of relative paths, absolute and with links resolved where it exists.
    pub cwd: Option<String>,
    /// The hook's decision on this very call, which this one takes up.
    pub joins: Option<CallId>,
    /// What the gateway knows beside, when the call goes to a server or comes from one.
    pub served: Option<Box<Served>>,
}

/// A call at the gateway: which server, in which form it was accepted, and how the message looked.
#[derive(Clone, Debug)]
pub struct Served {
    /// Name of the server.
    pub server: String,
    /// Digest of how the server is started, which a person must have accepted. `None`: a person typed the command.
    pub launch: Option<Digest>,
    /// What of the server is meant.
    pub surface: Surface,
    /// Configuration takes this tool away.
    pub blocked: bool,
    /// Configuration says that it may do at least this much.
    pub tier: Option<Tier>,
    /// What configuration says of its arguments.
    pub roles: Vec<(String, Role)>,
    /// Set for a request that comes from the server: what configuration says of such requests.
    pub asked: Option<FromServer>,
    /// The message it came in: what is not judged of it goes on as it was written.
    pub wire: Option<Message>,
}

/// What of a server a call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A tool, by the digest of its listing; `None` when the server lists no such tool.
    Tool(Option<Digest>),
    /// A tool of a server whose listing could not be looked at.
    Unseen,
    /// Another method of the protocol.
    Method,
}

/// What an argument of a server's tool is (NAMES 1.2, `arg_roles`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A path, whatever it looks like.
    Path,
    /// Text that nobody opens or runs.
    Content,
    /// An address.
    Url,
    /// A shell line.
    Command,
}

/// What configuration says of requests that come from a server (NAMES 1.2, `sampling` and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromServer {
    /// Refused.
    Deny,
    /// A person is asked first.
    Ask,
    /// Judged by the rules alone.
    Pass,
}

impl FromServer {
    /// The word in configuration and facts.
    pub fn as_str(self) -> &'static str {
        match self {
            FromServer::Deny => "deny",
            FromServer::Ask => "ask",
            FromServer::Pass => "pass",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<FromServer> {
        [FromServer::Deny, FromServer::Ask, FromServer::Pass].into_iter().find(|f| f.as_str() == text)
    }
}

/// Longest tool name accepted, in bytes.
pub const MAX_TOOL_NAME_BYTES: usize = 200;

/// Why parts do not make a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The arguments are not an object.
    #[error("tool input is not an object")]
    NotAnObject,
    /// The tool's name is empty, too long or has control characters.
    #[error("the tool's name is empty, longer than {MAX_TOOL_NAME_BYTES} bytes or has control characters")]
    ToolName,
}

/// A call that can be judged.
#[derive(Clone, Debug)]
pub struct ToolCall {
    parts: CallParts,
    args_digest: Digest,
    call_digest: Digest,
}

impl ToolCall {
    /// Checks the parts and takes the digests.
    pub fn new(parts: CallParts) -> Result<ToolCall, CallError> {
        let tool_ok =
            (1..=MAX_TOOL_NAME_BYTES).contains(&parts.tool.len()) && !parts.tool.contains(char::is_control);
        if !tool_ok {
            return Err(CallError::ToolName);
        }
        if parts.args.as_object().is_none() {
            return Err(CallError::NotAnObject);
        }
        let mut acting = parts.args.clone();
        for member in tools::talking_members(parts.session.client, &parts.tool) {
            acting.remove(member);
        }
        let args_digest = Digest::of_bytes("countersign-args-v1", acting.canonical().as_bytes());
        // Tenant, principal, server, fingerprint, tool, pin, arguments; for shell calls also the folder they run in.
        // A hook's server is its client; fingerprint and pin are empty. At the gateway all three are the server's, so
        // that a yes does not outlive what it was given for.
        let cwd = match tools::class(&parts.tool) {
            tools::ToolClass::Shell => parts.cwd.as_deref().unwrap_or(""),
            _ => "",
        };
        let served = parts.served.as_deref();
        let launch = served.and_then(|s| s.launch).map(|d| d.to_string()).unwrap_or_default();
        let pin = match served.map(|s| s.surface) {
            Some(Surface::Tool(Some(digest))) => digest.to_string(),
            _ => String::new(),
        };
        let call_digest = Digest::of(
            "countersign-call-v1",
            &[
                b"default",
                parts.principal.id().as_bytes(),
                // Who asks at another door than the client's hook is not the client: a yes for one is none for the other.
                format!("{}:{}", parts.door.as_str(), parts.session.client.as_str()).as_bytes(),
                launch.as_bytes(),
                parts.tool.as_bytes(),
                pin.as_bytes(),
                args_digest.bytes(),
                cwd.as_bytes(),
            ],
        );
        Ok(ToolCall { parts, args_digest, call_digest })
    }

    /// What the door gave.
    pub fn parts(&self) -> &CallParts {
        &self.parts
    }
    /// Our id.
    pub fn id(&self) -> CallId {
        self.parts.call_id
    }
    /// The tool's name in policy spelling.
    pub fn tool(&self) -> &str {
        &self.parts.tool
    }
    /// The arguments.
    pub fn args(&self) -> &Json {
        &self.parts.args
    }
    /// Digest of the arguments that act.
    pub fn args_digest(&self) -> Digest {
        self.args_digest
    }
    /// Digest of exactly what is judged: an approval is bound to it.
    pub fn call_digest(&self) -> Digest {
        self.call_digest
    }
    /// What the gateway knows of it, when it goes to a server or comes from one.
    pub fn served(&self) -> Option<&Served> {
        self.parts.served.as_deref()
    }
    /// The client's key of this call, if it named it.
    pub fn host_call(&self) -> Option<HostCall> {
        self.parts.tool_use_id.as_ref().map(|id| HostCall {
            session: self.parts.session.clone(),
            agent_id: self.parts.agent_id.clone(),
            tool_use_id: id.clone(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ids::RawId;
    use crate::json::Bounds;
    use crate::time::Timestamp;

    pub(crate) fn call(tool: &str, args: &str) -> ToolCall {
        ToolCall::new(parts(tool, args)).unwrap()
    }

    pub(crate) fn parts(tool: &str, args: &str) -> CallParts {
        CallParts {
            call_id: CallId(RawId::new(Timestamp(1), [1; 10])),
            door: Door::Hook,
            principal: Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: None },
            session: Session { client: Client::ClaudeCode, id: "s1".into() },
            agent_id: None,
            tool_use_id: Some("toolu_1".into()),
            tool: tool.into(),
            args: Json::parse(args.as_bytes(), Bounds::default()).unwrap(),
            cwd: Some("/home/ana/shop".into()),
            joins: None,
            served: None,
        }
    }

    #[test]
    fn rewording_is_the_same_call_and_anything_else_is_not() {
        let a = call("Bash", r#"{"command":"ls","description":"List"}"#);
        let b = call("Bash", r#"{"description":"Show files","command":"ls"}"#);
        assert_eq!(a.call_digest(), b.call_digest());
        assert_ne!(a.call_digest(), call("Bash", r#"{"command":"ls "}"#).call_digest());
        assert_ne!(a.call_digest(), call("Bash", r#"{"command":"ls","timeout":5}"#).call_digest());
        // Unknown tools have no members that only talk.
        let d = |t: &str| call("mcp__s__t", t).args_digest();
        assert_ne!(d(r#"{"description":"a"}"#), d(r#"{"description":"b"}"#));
    }

    /// P-9: every bound field changes the digest.
    #[test]
    fn every_bound_field_counts() {
        let base = call("Bash", r#"{"command":"ls"}"#).call_digest();
        let with = |change: &dyn Fn(&mut CallParts)| {
            let mut p = parts("Bash", r#"{"command":"ls"}"#);
            change(&mut p);
            ToolCall::new(p).unwrap().call_digest()
        };
        let sub = Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: Some("x".into()) };
        assert_ne!(base, with(&|p| p.principal = sub.clone()));
        assert_ne!(base, with(&|p| p.session.client = Client::Codex));
        assert_ne!(base, with(&|p| p.cwd = Some("/tmp".into())));
        assert_ne!(base, with(&|p| p.tool = "PowerShell".into()));
        let served = |surface, launch: Option<&[u8]>| Served {
            server: "s".into(),
            launch: launch.map(|l| Digest::of_bytes("l", l)),
            surface,
            blocked: false,
            tier: None,
            roles: Vec::new(),
            asked: None,
            wire: None,
        };
        let at = |surface, launch| with(&|p| p.served = Some(Box::new(served(surface, launch))));
        let pin = Surface::Tool(Some(Digest::of_bytes("t", b"1")));
        assert_ne!(at(pin, None), at(Surface::Tool(Some(Digest::of_bytes("t", b"2"))), None));
        assert_ne!(at(pin, None), at(pin, Some(b"1")));
        assert_ne!(at(pin, Some(b"1")), at(pin, Some(b"2")));
        assert_eq!(base, with(&|p| p.session.id = "s2".into()), "the session is an attribute");
        let write = |cwd: &str| {
            let mut p = parts("Write", r#"{"file_path":"/a","content":"x"}"#);
            p.cwd = Some(cwd.into());
            ToolCall::new(p).unwrap().call_digest()
        };
        assert_eq!(write("/a"), write("/b"), "only shell calls run in a folder");
    }

    #[test]
    fn shapes_are_checked() {
        assert_eq!(ToolCall::new(parts("Bash", "[]")).unwrap_err(), CallError::NotAnObject);
        assert_eq!(ToolCall::new(parts("", "{}")).unwrap_err(), CallError::ToolName);
        assert_eq!(ToolCall::new(parts("a\nb", "{}")).unwrap_err(), CallError::ToolName);
    }
}
