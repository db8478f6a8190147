//! The MCP door on standard streams: a client on one side, servers on the other, the gate between.
//!
//! Whatever a client asks is judged as a call, or is one of the few requests that are none (`gate::servers`). What is
//! not judged goes through as it came: text with an id, a name or a token replaced. `client` takes the client's
//! messages, `calls` is the way of one call, `server` takes what servers say by themselves, `listing` looks at what they
//! list, `many` speaks for several servers at once, `own` has the gate's tools that tell, `acting` those that act.
//!
//! Lines come in and go out through channels; where they come from is the binary's business.

mod acting;
mod calls;
mod client;
mod listing;
mod many;
mod own;
mod server;

use countersign_core::approval::Strand;
use countersign_core::call::{FromServer, Role, Session};
use countersign_core::cleanse::{Clean, clean_line};
use countersign_core::code::Code;
use countersign_core::facts::tools::Tier;
use countersign_core::glob::Glob;
use countersign_core::json::{Bounds, Json};
use countersign_core::ledger::AgentProcess;
use countersign_core::mail::sends::Sends;
use countersign_core::principal::{Client, Principal};
use countersign_core::rpc::{self, Message};
use countersign_gate::gate::{Gate, Leaving};
use countersign_gate::seams::{Clock, Downstream, Gateway, Servers};
use countersign_gate::servers::Launch;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Most requests of a client that run at once; further ones are refused.
const MAX_IN_FLIGHT: usize = 512;
/// Most remarks on what a server says to nobody; a noisy server must not fill the log.
const MAX_GARBAGE_NOTES: u64 = 20;
/// How much of what servers say by themselves may wait for the client to read it.
const UNREAD_BYTES: u32 = 4 * 1024 * 1024;
/// Most requests of servers that are judged at once, and most that have no answer of the client yet; further ones are
/// refused.
const MAX_ASKING: usize = 64;
const MAX_ASKED: usize = 4_096;
/// How long running calls may take to end once the client is gone.
const DRAIN: Duration = Duration::from_secs(10);

/// One server as configuration has it.
pub struct Backend {
    /// Its name and how it is started.
    pub launch: Launch,
    /// Tools that are refused and not shown.
    pub blocked_tools: Vec<String>,
    /// Tools that may do at least this much.
    pub tiers: BTreeMap<String, Tier>,
    /// What arguments of a tool are.
    pub roles: BTreeMap<String, Vec<(String, Role)>>,
    /// Requests for text of the client's model.
    pub sampling: FromServer,
    /// Questions to the client's user.
    pub elicitation: FromServer,
    /// Requests for the client's folders.
    pub roots: FromServer,
}

/// How the door looks to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One server, its tools by their own names and nothing added: `mcp -- CMD`.
    Bare,
    /// One server by its own names, with the gate's own tools beside: `mcp --server NAME`.
    One,
    /// Several servers, tools as `<server>__<tool>`, with the gate's own tools.
    Many,
}

/// What configuration says of the door.
#[derive(Clone, Copy, Debug)]
pub struct DoorSettings {
    /// How often a held call says that it waits.
    pub progress: Duration,
    /// Longest hold in seconds, if configured.
    pub hold_s: Option<i64>,
    /// Refused tool calls are answered as protocol errors rather than as results.
    pub protocol_errors: bool,
}

/// Everything a door is made of.
pub struct DoorParts {
    /// The gate of the project.
    pub gate: Arc<Gate>,
    /// The servers.
    pub servers: Arc<dyn Servers>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The servers' configuration, in the order of the file.
    pub backends: Vec<Backend>,
    /// How it looks.
    pub shape: Shape,
    /// What configuration says of it.
    pub settings: DoorSettings,
    /// Numeric OS user.
    pub uid: u32,
    /// Base of relative paths.
    pub folder: String,
    /// Root of the project, for complete commands in answers.
    pub project: String,
    /// Our own process.
    pub process: AgentProcess,
    /// The process that the client runs in.
    pub agent: Option<AgentProcess>,
    /// The gate's tools that act and are there: names of `facts::tools::MAIN_ONLY`.
    pub acting: Vec<&'static str>,
    /// Performs them.
    pub hand: Arc<dyn Downstream>,
    /// Counts mails that are refused before a hand sees them; the hand counts the others.
    pub sends: Arc<Sends>,
    /// Lines to the client, without their ends.
    pub output: mpsc::UnboundedSender<Outgoing>,
}

/// A line to the client. Whoever writes it drops it when it is written.
#[derive(Default)]
pub struct Outgoing {
    /// Without its end.
    pub line: String,
    /// What a server said by itself takes room until it is written.
    pub room: Option<OwnedSemaphorePermit>,
}

/// A line of the client.
pub enum Line {
    /// Whole, without its end.
    Whole(Vec<u8>),
    /// Longer than any message may be.
    TooLong,
}

/// The door.
pub struct Door {
    parts: DoorParts,
    session: String,
    hello: OnceLock<Hello>,
    registered: tokio::sync::OnceCell<()>,
    flights: Mutex<HashMap<String, Arc<Flight>>>,
    landed: Notify,
    closing: watch::Sender<bool>,
    listings: BTreeMap<String, Listing>,
    asked: Mutex<HashMap<String, Asked>>,
    numbers: AtomicU64,
    garbage: AtomicU64,
    routes: Mutex<many::Routes>,
    room: Arc<Semaphore>,
    asking: AtomicUsize,
}

/// What the client said of itself.
struct Hello {
    client: Client,
    elicits: bool,
}

/// A request of the client that has no answer yet.
struct Flight {
    leaving: watch::Sender<Option<Leaving>>,
    server: Mutex<Option<String>>,
    is_call: bool,
}

impl Flight {
    fn leave(&self, how: Leaving) {
        self.leaving.send_if_modified(|now| {
            let first = now.is_none();
            now.get_or_insert(how);
            first
        });
    }

    /// The client cancelled it, and so wants no answer. A question that its user declined, and a client that only
    /// closed its input, still want one.
    fn is_cancelled(&self) -> bool {
        *self.leaving.borrow() == Some(Leaving::TakesBack(Strand::Cancelled))
    }

    async fn left(&self) -> Leaving {
        let mut leaving = self.leaving.subscribe();
        let how = leaving.wait_for(Option::is_some).await.ok().and_then(|how| *how);
        match how {
            Some(how) => how,
            None => std::future::pending().await,
        }
    }
}

/// What a server lists, as far as it was looked at.
#[derive(Default)]
struct Listing {
    /// How often there was reason to look again.
    told: AtomicU64,
    /// How often there had been when what is known was asked for.
    looked: AtomicU64,
    known: tokio::sync::Mutex<Option<Arc<listing::Looked>>>,
}

impl Listing {
    fn is_stale(&self) -> bool {
        self.told.load(Ordering::Acquire) != self.looked.load(Ordering::Acquire)
    }
}

/// A request that we sent to the client.
enum Asked {
    /// For a server: which, with what id, and the call it was judged as.
    Server { server: String, id: String, call: countersign_core::ids::CallId },
    /// About a held call.
    Held { flight: Arc<Flight> },
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Door {
    /// Puts a door together.
    pub fn new(parts: DoorParts) -> Arc<Door> {
        let session = format!("mcp:{}", parts.clock.fresh_id());
        let listing = |b: &Backend| (b.launch.name.clone(), Listing::default());
        Arc::new(Door {
            listings: parts.backends.iter().map(listing).collect(),
            session,
            hello: OnceLock::new(),
            registered: tokio::sync::OnceCell::new(),
            flights: Mutex::default(),
            landed: Notify::new(),
            closing: watch::channel(false).0,
            asked: Mutex::default(),
            numbers: AtomicU64::new(1),
            garbage: AtomicU64::new(0),
            routes: Mutex::default(),
            room: Arc::new(Semaphore::new(usize::try_from(UNREAD_BYTES).unwrap_or(usize::MAX))),
            asking: AtomicUsize::new(0),
            parts,
        })
    }

    /// Relays until the client's input ends, then lets running calls end and ends the session. Questions that are open
    /// stay open: a lost line is no no.
    pub async fn run(self: Arc<Self>, mut input: mpsc::Receiver<Line>) {
        let hearing = {
            let door = Arc::clone(&self);
            tokio::spawn(async move {
                while let Some(heard) = door.parts.servers.hear().await {
                    Arc::clone(&door).heard(heard).await;
                }
            })
        };
        while let Some(line) = input.recv().await {
            Arc::clone(&self).line(line).await;
        }
        self.closing.send_replace(true);
        for flight in locked(&self.flights).values() {
            flight.leave(Leaving::Lost);
        }
        let drained = async {
            loop {
                let landed = self.landed.notified();
                if locked(&self.flights).is_empty() {
                    break;
                }
                landed.await;
            }
        };
        tokio::select! {
            () = drained => {}
            () = self.parts.clock.sleep(DRAIN) => {}
        }
        let _ = self.parts.gate.end_session(&self.session()).await;
        hearing.abort();
    }

    fn client(&self) -> Client {
        self.hello.get().map_or(Client::Other, |h| h.client)
    }

    fn session(&self) -> Session {
        Session { client: self.client(), id: self.session.clone() }
    }

    fn principal(&self) -> Principal {
        Principal::Agent { client: self.client(), uid: self.parts.uid, agent_type: None }
    }

    fn backend(&self, server: &str) -> Option<&Backend> {
        self.parts.backends.iter().find(|b| b.launch.name == server)
    }

    /// The only server of a door that has one.
    fn only(&self) -> Option<&Backend> {
        self.parts.backends.first().filter(|_| self.parts.shape != Shape::Many)
    }

    fn send(&self, line: String) {
        let _ = self.parts.output.send(Outgoing { line, room: None });
    }

    /// Sends what a server said by itself, once the client has read enough of what was said before.
    async fn pass(&self, line: String) {
        let cost = u32::try_from(line.len()).unwrap_or(u32::MAX).saturating_add(256).min(UNREAD_BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(cost).await.ok();
        let _ = self.parts.output.send(Outgoing { line, room });
    }

    fn fresh(&self) -> String {
        format!("\"countersign-{}\"", self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    fn bounds(&self) -> Bounds {
        let arguments = self.parts.gate.rulebook().map_or_else(Bounds::default, |b| b.settings().arguments);
        // Room for what stands around the arguments.
        Bounds {
            max_bytes: arguments.max_bytes + 262_144,
            max_depth: arguments.max_depth + 8,
            max_nodes: arguments.max_nodes + 1_000,
        }
    }

    /// Says in the store that this gateway lives, before its first record.
    async fn register(&self) {
        self.registered
            .get_or_init(|| async {
                let gateway = Gateway { session: self.session(), process: self.parts.process.clone() };
                // Without the row a killed gateway's calls end after a day instead of with the next gateway.
                let _ = self.parts.gate.open_gateway(&gateway, self.parts.agent.clone()).await;
            })
            .await;
    }

    /// Records what never became a call.
    async fn malformed(&self, what: &str, code: Code, why: &str) {
        self.register().await;
        let what = clean_line(what, 200);
        let why = clean_line(why, 400);
        let client = self.client().as_str();
        let _ = self.parts.gate.refuse_unread("mcp", client, &what, code, &why).await;
    }

    /// A remark on a server, a bounded number of times.
    async fn garbage(&self, server: &str, what: &str) {
        let nth = self.garbage.fetch_add(1, Ordering::Relaxed);
        if nth < MAX_GARBAGE_NOTES {
            let last = if nth + 1 == MAX_GARBAGE_NOTES { "; further ones are not noted" } else { "" };
            let _ = self.parts.gate.note(&format!("server {server}: {what}; it went nowhere{last}")).await;
        }
    }
}

/// The data of a refusal (NAMES 6.3).
fn refusal_data(
    decision: &str,
    code: &str,
    rules: &[String],
    call_id: Option<&str>,
    approval: Option<&str>,
) -> Json {
    let mut data = Json::object([
        ("decision", Json::str(decision)),
        ("code", Json::str(code)),
        ("matching_rule_ids", Json::strings(rules)),
    ]);
    if let Some(id) = call_id {
        data.set("call_id", Json::str(id));
    }
    if let Some(id) = approval {
        data.set("approval_id", Json::str(id));
    }
    Json::object([("countersign", data)])
}

/// A refusal that is no call's: a protocol error.
fn refused(id: &str, code: Code, why: &str) -> String {
    let data = refusal_data("refused", code.as_str(), &[], None, None);
    rpc::error(Some(id), -32010, &format!("countersign: refused code={}\n{why}", code.as_str()), Some(data))
}

fn matches_any(globs: &[String], name: &str) -> bool {
    globs.iter().any(|glob| Glob::new(glob).matches(name))
}

/// An answer's text with the id of the client's request.
fn answer_to(id: &str, text: &Clean) -> String {
    match Message::from_server(text.as_str().as_bytes()) {
        Ok(message) if message.id().is_some() => message.with_id(id),
        _ => rpc::error(Some(id), -32603, "the answer cannot be read", None),
    }
}
