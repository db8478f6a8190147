//! Servers that speak MCP on standard streams: the hand that performs their calls.
//!
//! `server` is one server with its open requests, `child` its process, `borrowed` the secrets that it is given. A call is sent as the client's own message with
//! its arguments in canonical form, which are the bytes that were judged; everything else in it stays as it came. Where
//! it stops: what may be sent is decided by the gate, what the client is told by the door.

mod borrowed;
mod child;
mod server;

pub use borrowed::{BorrowError, Borrowed};
pub use child::{Environment, Program};
pub use server::Spec;

use async_trait::async_trait;
use countersign_core::call::ToolCall;
use countersign_core::cleanse::{Raw, Reply};
use countersign_core::facts::tools;
use countersign_core::ids::CallId;
use countersign_core::json::{Bounds, Json};
use countersign_core::rpc::Message;
use countersign_gate::permit::{Pass, Permit};
use countersign_gate::seams::{Clock, Downstream, Heard, PerformError, Servers, Unready};
use server::{Server, Tally};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, mpsc};

/// The servers of one gateway.
pub struct Pool {
    servers: Vec<Arc<Server>>,
    heard: Mutex<mpsc::UnboundedReceiver<(Heard, u32)>>,
    said: Arc<Tally>,
    clock: Arc<dyn Clock>,
}

impl Pool {
    /// A pool of servers, none of them started.
    pub fn new(specs: Vec<Spec>, clock: Arc<dyn Clock>) -> Pool {
        let (heard, receiver) = mpsc::unbounded_channel();
        let (ids, said) = (Arc::new(AtomicU64::new(1)), Arc::new(Tally::default()));
        let server = |spec| Server::new(spec, heard.clone(), Arc::clone(&ids), Arc::clone(&said));
        Pool {
            servers: specs.into_iter().map(server).collect(),
            heard: Mutex::new(receiver),
            said: Arc::clone(&said),
            clock,
        }
    }

    /// Starts one server.
    pub async fn start(&self, name: &str) -> std::io::Result<()> {
        match self.server(name) {
            Some(server) => server.start().await,
            None => Err(std::io::Error::other("no such server")),
        }
    }

    /// Ends every server, and returns when their processes are gone.
    pub async fn close(&self) {
        self.servers.iter().for_each(|s| s.close());
        for server in &self.servers {
            server.ended().await;
        }
    }

    fn server(&self, name: &str) -> Option<&Arc<Server>> {
        self.servers.iter().find(|s| s.spec.name == name)
    }
}

#[async_trait]
impl Downstream for Pool {
    async fn ready(&self, call: &ToolCall) -> Result<(), Unready> {
        let server = call.served().and_then(|s| self.server(&s.server));
        server.map_or(Ok(()), |server| server.ready())
    }

    async fn perform(&self, permit: Permit, call: &ToolCall) -> Result<Raw<Reply>, PerformError> {
        permit.spend(call, self.clock.elapsed()).map_err(PerformError::Permit)?;
        let absent = || PerformError::Failed("no such server".to_owned());
        let served = call.served().ok_or_else(absent)?;
        let server = self.server(&served.server).ok_or_else(absent)?;
        let message = served.wire.as_ref().ok_or_else(absent)?;
        let origin = message.id().map(str::to_owned);
        let arguments = call.args().canonical();
        let answer = if message.method() == Some("tools/call") {
            let name = Json::str(tools::bare(call.tool(), &served.server)).canonical();
            let members: [(&[&str], &str); 2] = [(&["name"], &name), (&["arguments"], &arguments)];
            server.send(message, &members, origin, Some(call.id())).await?
        } else {
            // As it came, unless a secret was taken out of it before it was judged.
            let bounds = Bounds { max_bytes: usize::MAX, max_depth: usize::MAX, max_nodes: usize::MAX };
            let written = message.params().and_then(|p| Json::parse(p.as_bytes(), bounds).ok());
            let same = written.is_none_or(|w| w == *call.args());
            let members: &[(&[&str], &str)] = if same { &[] } else { &[(&[], &arguments)] };
            server.send(message, members, origin, Some(call.id())).await?
        };
        Ok(Raw::new(Reply::Message(answer)))
    }

    async fn cancel(&self, call: CallId) {
        self.servers.iter().for_each(|s| s.cancel(call));
    }
}

#[async_trait]
impl Servers for Pool {
    async fn carry(
        &self,
        _pass: Pass,
        server: &str,
        message: &Message,
    ) -> Result<Option<Raw<Message>>, PerformError> {
        let server = self.server(server).ok_or_else(|| PerformError::Failed("no such server".to_owned()))?;
        if message.is_request() {
            return server.ask(message, None).await.map(|answer| Some(Raw::new(answer)));
        }
        server.tell(message);
        Ok(None)
    }

    async fn wake(&self, server: &str) -> Result<bool, Unready> {
        match self.server(server) {
            Some(server) => server.wake().await,
            None => Err(Unready { why: "there is no such server".to_owned(), retry_s: None }),
        }
    }

    fn runs(&self, server: &str) -> bool {
        self.server(server).is_some_and(|s| s.alive())
    }

    async fn hear(&self) -> Option<Heard> {
        let mut heard = self.heard.lock().await;
        // Who comes for the next has dealt with the one before.
        let taken = self.said.taken.swap(0, Ordering::AcqRel);
        if taken > 0 {
            self.said.room.add_permits(usize::try_from(taken - 1).unwrap_or(0));
            self.said.done.fetch_add(1, Ordering::Release);
            self.said.moved.notify_waiters();
        }
        let (next, cost) = heard.recv().await?;
        self.said.taken.store(u64::from(cost) + 1, Ordering::Release);
        Some(next)
    }
}
