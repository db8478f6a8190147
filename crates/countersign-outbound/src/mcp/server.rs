//! One server: its process, what was asked of it and not answered yet, and what it says by itself.
//!
//! Every request gets an id of ours, never used twice, and a deadline. An answer is taken once, by its id; a second
//! one, a late one and one to nothing are garbage. When the process ends, everything that was sent and not answered has
//! no known end, and nothing is sent again. A progress token of the client is replaced like its id, so that a server
//! can speak of its own running requests only.

use super::borrowed::Borrowed;
use super::child::{self, Line, Program};
use countersign_core::cleanse::Raw;
use countersign_core::ids::CallId;
use countersign_core::rpc::{MAX_FRAME_BYTES, Message};
use countersign_gate::permit::PERMIT_LIFE;
use countersign_gate::seams::{Heard, PerformError, Said, Unready};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

/// A server that ended is started anew at most once in this time.
const RESTART_EVERY: Duration = Duration::from_secs(30);
/// How long the opening exchange of a new start may take.
const OPENING: Duration = Duration::from_secs(30);
/// How long a cancelled request is still waited for.
const CANCELLED: Duration = Duration::from_secs(5);
/// How much of what servers say by themselves may wait to be dealt with. A longer thing waits until it is alone.
const HEARD_BYTES: u32 = 4 * 1024 * 1024;
/// How much may wait to be read by one server.
const UNREAD_BYTES: usize = 64 * 1024 * 1024;
/// Failures in a row that open the breaker, and how long it stays open at first and at most.
const BREAKER_FAILURES: u32 = 5;
const BREAKER_COOLDOWN: Duration = Duration::from_secs(30);
const BREAKER_COOLDOWN_MAX: Duration = Duration::from_secs(300);

/// What a server is and how it is spoken to.
#[derive(Clone)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// How it is started.
    pub program: Program,
    /// Secrets that its registry entry gives it.
    pub borrowed: Option<Arc<Borrowed>>,
    /// How long a request may take.
    pub timeout: Duration,
}

pub(super) struct Server {
    pub(super) spec: Spec,
    state: Mutex<State>,
    heard: mpsc::UnboundedSender<(Heard, u32)>,
    /// Shared by every server, so that an id names one request of the whole process.
    ids: Arc<AtomicU64>,
    /// How many things were put into `heard`, and how many of them have been dealt with.
    said: Arc<Tally>,
    opening: tokio::sync::Mutex<()>,
}

/// Counts what was heard, so that an answer does not overtake what was said before it.
pub(super) struct Tally {
    pub(super) put: AtomicU64,
    pub(super) done: AtomicU64,
    /// One was taken and is being dealt with: the room it takes, and one more; 0 for none.
    pub(super) taken: AtomicU64,
    pub(super) moved: Notify,
    /// Room for what was heard and is not dealt with yet. Without any, no server is listened to.
    pub(super) room: Semaphore,
}

impl Default for Tally {
    fn default() -> Tally {
        let bytes = usize::try_from(HEARD_BYTES).unwrap_or(usize::MAX);
        let zero = AtomicU64::default;
        Tally { put: zero(), done: zero(), taken: zero(), moved: Notify::new(), room: Semaphore::new(bytes) }
    }
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// How often it was started.
    starts: u64,
    restarted: Option<Instant>,
    /// The client's opening words, said again to a process that is started anew.
    initialize: Option<Message>,
    initialized: Option<Message>,
    breaker: Breaker,
    /// The tasks that end its processes.
    ending: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Breaker {
    failures: u32,
    opened: u32,
    open_until: Option<Instant>,
}

struct Link {
    /// Which start it is of: what an earlier process still says is nobody's.
    nth: u64,
    lines: mpsc::UnboundedSender<Given>,
    /// Bytes of lines that the process has not taken yet.
    unread: Arc<AtomicUsize>,
    pending: HashMap<u64, Pending>,
}

/// A line for a process.
struct Given {
    line: Vec<u8>,
    /// Of a permitted call: its number here, and when it must have begun. Behind a process that does not read, a permit
    /// does not wait for ever: a halt has to end what has not begun.
    call: Option<(u64, Instant)>,
}

impl Link {
    /// Gives the process a line. `false` when it does not read any more.
    fn give(&self, line: Vec<u8>) -> bool {
        self.give_call(line, None)
    }

    fn give_call(&self, line: Vec<u8>, call: Option<(u64, Instant)>) -> bool {
        if self.unread.load(Ordering::Acquire) > UNREAD_BYTES {
            return false;
        }
        self.unread.fetch_add(line.len(), Ordering::AcqRel);
        self.lines.send(Given { line, call }).is_ok()
    }
}

struct Pending {
    answer: oneshot::Sender<Answer>,
    /// The client's id, by which the client cancels.
    origin: Option<String>,
    call: Option<CallId>,
    /// The client's token.
    token: Option<String>,
    cancelled: Arc<Notify>,
}

enum Answer {
    /// With the number of things that were said before.
    Message(Box<Message>, u64),
    /// It came and cannot be read.
    Unreadable(String),
    Gone(String),
    /// It was never sent.
    NotBegun,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub(super) fn new(
        spec: Spec,
        heard: mpsc::UnboundedSender<(Heard, u32)>,
        ids: Arc<AtomicU64>,
        said: Arc<Tally>,
    ) -> Arc<Server> {
        Arc::new(Server {
            spec,
            state: Mutex::default(),
            heard,
            ids,
            said,
            opening: tokio::sync::Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    pub(super) fn alive(&self) -> bool {
        self.state().link.is_some()
    }

    /// Starts the process. It is given lines and listened to from now on.
    pub(super) async fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let opened = match &self.spec.borrowed {
            Some(borrowed) => borrowed.open(&self.spec.name).await.map_err(std::io::Error::other)?,
            None => Vec::new(),
        };
        let (process, mut input, output) = self.spec.program.start(&opened)?;
        let (lines, mut queue) = mpsc::unbounded_channel::<Given>();
        let unread = Arc::new(AtomicUsize::new(0));
        let nth = {
            let mut state = self.state();
            state.starts += 1;
            let nth = state.starts;
            state.link = Some(Link { nth, lines, unread: Arc::clone(&unread), pending: HashMap::new() });
            state.starts
        };
        let server = Arc::clone(self);
        let ending = tokio::spawn(async move {
            while let Some(Given { line, call }) = queue.recv().await {
                if let Some((id, until)) = call
                    && Instant::now() > until
                {
                    unread.fetch_sub(line.len(), Ordering::AcqRel);
                    server.not_begun(id);
                    continue;
                }
                // A server that does not read any more is found out by its end.
                if input.write_all(&line).await.is_err() || input.flush().await.is_err() {
                    break;
                }
                unread.fetch_sub(line.len(), Ordering::AcqRel);
            }
            drop(input);
            child::end(process).await;
        });
        self.state().ending.push(ending);
        let server = Arc::clone(self);
        tokio::spawn(async move { server.listen(output, nth).await });
        Ok(())
    }

    /// Makes sure that the process runs. `true` when it was started anew: its listing must be looked at.
    pub(super) async fn wake(self: &Arc<Self>) -> Result<bool, Unready> {
        let _one = self.opening.lock().await;
        let (initialize, initialized) = {
            let mut state = self.state();
            if state.link.is_some() {
                return Ok(false);
            }
            if let Some(last) = state.restarted
                && let Some(left) = RESTART_EVERY.checked_sub(last.elapsed())
            {
                let why = "it ended again soon after it was started anew".to_owned();
                return Err(Unready { why, retry_s: Some(left.as_secs() + 1) });
            }
            state.restarted = Some(Instant::now());
            (state.initialize.clone(), state.initialized.clone())
        };
        let failed = |why: String| Unready { why, retry_s: Some(RESTART_EVERY.as_secs()) };
        self.start().await.map_err(|e| failed(format!("it cannot be started: {e}")))?;
        if let Some(initialize) = initialize {
            match tokio::time::timeout(OPENING, self.ask(&initialize, None)).await {
                Ok(Ok(_)) => {}
                // What nobody could open gets no calls either, and nobody looks at what it lists.
                Ok(Err(e)) => {
                    self.gone("it did not open");
                    return Err(failed(format!("it does not open: {e}")));
                }
                Err(_) => {
                    self.gone("it did not open in time");
                    return Err(failed("it does not open in time".to_owned()));
                }
            }
        }
        if let Some(initialized) = initialized {
            self.tell(&initialized);
        }
        Ok(true)
    }

    /// Returns when its processes are gone.
    pub(super) async fn ended(&self) {
        let ending = std::mem::take(&mut self.state().ending);
        for task in ending {
            let _ = task.await;
        }
    }

    /// Closes the process's input; it ends by itself or is ended.
    pub(super) fn close(&self) {
        self.gone("the gateway ends");
    }

    /// Whether a call may be sent: the process runs, and the breaker is closed or lets one through.
    pub(super) fn ready(&self) -> Result<(), Unready> {
        let mut state = self.state();
        if state.link.is_none() {
            let left = state.restarted.and_then(|last| RESTART_EVERY.checked_sub(last.elapsed()));
            return Err(Unready {
                why: "it is not running".to_owned(),
                retry_s: Some(left.map_or(1, |left| left.as_secs() + 1)),
            });
        }
        match state.breaker.open_until {
            Some(until) if until > Instant::now() => Err(Unready {
                why: format!("{BREAKER_FAILURES} calls in a row had no answer"),
                retry_s: Some(until.duration_since(Instant::now()).as_secs() + 1),
            }),
            Some(_) => {
                // Half open: the next failure opens it again at once, the first success closes it.
                state.breaker.open_until = None;
                state.breaker.failures = BREAKER_FAILURES - 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn count(&self, answered: bool) {
        let mut state = self.state();
        let breaker = &mut state.breaker;
        if answered {
            *breaker = Breaker::default();
            return;
        }
        breaker.failures += 1;
        if breaker.failures >= BREAKER_FAILURES && breaker.open_until.is_none() {
            let cooldown = BREAKER_COOLDOWN * 2u32.saturating_pow(breaker.opened.min(8));
            breaker.opened += 1;
            breaker.open_until = Some(Instant::now() + cooldown.min(BREAKER_COOLDOWN_MAX));
        }
    }

    /// Sends a request and waits for its answer, which comes with the id that the request had.
    pub(super) async fn ask(&self, message: &Message, call: Option<CallId>) -> Result<Message, PerformError> {
        let origin = message.id().map(str::to_owned);
        self.send(message, &[], origin, call).await
    }

    /// [`Server::ask`] with some members of the parameters replaced.
    pub(super) async fn send(
        &self,
        message: &Message,
        members: &[(&[&str], &str)],
        origin: Option<String>,
        call: Option<CallId>,
    ) -> Result<Message, PerformError> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let text = id.to_string();
        let token = message.param(&["_meta", "progressToken"]).map(str::to_owned);
        let mut members = members.to_vec();
        members.push((&["_meta", "progressToken"], &text));
        let mut line = message.with(Some(&text), &members).into_bytes();
        line.push(b'\n');
        let (answer, answered) = oneshot::channel();
        let cancelled = Arc::new(Notify::new());
        {
            let mut state = self.state();
            if message.method() == Some("initialize") {
                state.initialize = Some(message.clone());
            }
            let Some(link) = &mut state.link else {
                return Err(PerformError::Failed("the server is not running".to_owned()));
            };
            let begins = call.map(|_| (id, Instant::now() + PERMIT_LIFE));
            if !link.give_call(line, begins) {
                return Err(PerformError::Failed("the server does not read what it is sent".to_owned()));
            }
            let pending =
                Pending { answer, origin: origin.clone(), call, token, cancelled: Arc::clone(&cancelled) };
            link.pending.insert(id, pending);
        }
        let result = self.wait(id, answered, &cancelled).await;
        self.count(matches!(result, Ok(_) | Err(PerformError::Unreadable(_))));
        let (message, before) = result?;
        // Everything that the server said before this answer goes out first.
        while self.said.done.load(Ordering::Acquire) < before {
            let moved = self.said.moved.notified();
            if self.said.done.load(Ordering::Acquire) >= before {
                break;
            }
            if tokio::time::timeout(Duration::from_secs(1), moved).await.is_err() {
                break;
            }
        }
        let text = message.with_id(origin.as_deref().unwrap_or("null"));
        Message::from_server(text.as_bytes()).map_err(|e| PerformError::Unreadable(e.to_string()))
    }

    async fn wait(
        &self,
        id: u64,
        mut answered: oneshot::Receiver<Answer>,
        cancelled: &Notify,
    ) -> Result<(Message, u64), PerformError> {
        let mut deadline = tokio::time::Instant::now() + self.spec.timeout;
        loop {
            tokio::select! {
                answer = &mut answered => {
                    return match answer {
                        Ok(Answer::Message(message, before)) => Ok((*message, before)),
                        Ok(Answer::Unreadable(why)) => Err(PerformError::Unreadable(why)),
                        Ok(Answer::Gone(why)) => Err(PerformError::Unknown(why)),
                        Ok(Answer::NotBegun) => {
                            let why = "the server did not read the call while it was permitted";
                            Err(PerformError::Failed(why.to_owned()))
                        }
                        Err(_) => Err(PerformError::Unknown("the server's link was dropped".to_owned())),
                    };
                }
                () = cancelled.notified() => {
                    deadline = deadline.min(tokio::time::Instant::now() + CANCELLED);
                }
                () = tokio::time::sleep_until(deadline) => {
                    self.forget(id);
                    let why = format!("`{}` did not answer within {} s", self.spec.name, self.spec.timeout.as_secs_f64());
                    return Err(PerformError::TimedOut(why));
                }
            }
        }
    }

    /// A call that was never given to the process.
    fn not_begun(&self, id: u64) {
        let pending = self.state().link.as_mut().and_then(|link| link.pending.remove(&id));
        if let Some(pending) = pending {
            let _ = pending.answer.send(Answer::NotBegun);
        }
    }

    /// A request that nobody waits for any more; the server is told.
    fn forget(&self, id: u64) {
        let mut state = self.state();
        if let Some(link) = &mut state.link
            && link.pending.remove(&id).is_some()
        {
            link.give(cancel_line(id, "timed out"));
        }
    }

    /// Tells the server that a call's answer is not wanted any more.
    pub(super) fn cancel(&self, call: CallId) {
        let state = self.state();
        let Some(link) = &state.link else { return };
        if let Some((id, pending)) = link.pending.iter().find(|(_, p)| p.call == Some(call)) {
            link.give(cancel_line(*id, "the client took the call back"));
            pending.cancelled.notify_one();
        }
    }

    /// Sends what has no answer.
    pub(super) fn tell(&self, message: &Message) {
        let mut state = self.state();
        let mut text = message.text().to_owned();
        match message.method() {
            Some("notifications/initialized") => state.initialized = Some(message.clone()),
            Some("notifications/cancelled") => {
                let wanted = message.param(&["requestId"]).map(str::to_owned);
                let Some(link) = &state.link else { return };
                let found = link.pending.iter().find(|(_, p)| p.call.is_none() && p.origin == wanted);
                // A cancelled call is told of by its caller, anything else is not this server's.
                let Some((id, pending)) = found else { return };
                text = message.with(None, &[(&["requestId"], &id.to_string())]);
                pending.cancelled.notify_one();
            }
            _ => {}
        }
        if let Some(link) = &state.link {
            text.push('\n');
            link.give(text.into_bytes());
        }
    }

    /// Waits for room: a server that says more than anybody takes is not read any further.
    async fn hear(&self, what: Said) {
        let bytes = match &what {
            Said::Message(message) => message.inner().text().len(),
            Said::Garbage(text) | Said::Gone(text) => text.len(),
        };
        let cost = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(256).min(HEARD_BYTES);
        if let Ok(room) = self.said.room.acquire_many(cost).await {
            room.forget();
            self.put(what, cost);
        }
    }

    fn put(&self, what: Said, cost: u32) {
        self.said.put.fetch_add(1, Ordering::Release);
        let _ = self.heard.send((Heard { server: self.spec.name.clone(), what }, cost));
    }

    async fn listen(self: Arc<Self>, output: tokio::process::ChildStdout, nth: u64) {
        let mut output = BufReader::with_capacity(64 * 1024, output);
        let why = loop {
            let line = child::line(&mut output, MAX_FRAME_BYTES).await;
            if self.state().link.as_ref().is_none_or(|link| link.nth != nth) {
                return;
            }
            match line {
                Ok(Some(Line::Whole(line))) if line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(Some(Line::Whole(line))) => self.take(&line).await,
                Ok(Some(Line::TooLong(begins, ends))) => {
                    let why = format!("a line of more than {MAX_FRAME_BYTES} bytes");
                    self.unreadable(&[&begins, &ends], &why).await;
                }
                Ok(None) => break "it closed its output".to_owned(),
                Err(e) => break e.to_string(),
            }
        };
        self.gone(&why);
    }

    async fn take(&self, line: &[u8]) {
        let message = match Message::from_server(line) {
            Ok(message) => message,
            Err(e) => {
                let tail = line.get(line.len().saturating_sub(256)..).unwrap_or_default();
                let head = line.get(..line.len().min(256)).unwrap_or_default();
                return self.unreadable(&[head, tail], &e.to_string()).await;
            }
        };
        match (message.method(), message.id()) {
            (None, Some(id)) => {
                let pending =
                    id.parse().ok().and_then(|id: u64| self.state().link.as_mut()?.pending.remove(&id));
                match pending {
                    Some(pending) => {
                        let before = self.said.put.load(Ordering::Acquire);
                        let _ = pending.answer.send(Answer::Message(Box::new(message), before));
                    }
                    None => self.hear(Said::Garbage("an answer to nothing that is open".to_owned())).await,
                }
            }
            (Some("notifications/progress"), None) => {
                let token = message.param(&["progressToken"]).and_then(|t| t.parse::<u64>().ok());
                let known = token.and_then(|id| {
                    self.state().link.as_ref().and_then(|link| link.pending.get(&id)?.token.clone())
                });
                let mapped = known.map(|token| message.with(None, &[(&["progressToken"], &token)]));
                // Progress of what is over, or of somebody else's request, concerns nobody.
                if let Some(Ok(message)) = mapped.map(|text| Message::from_server(text.as_bytes())) {
                    self.hear(Said::Message(Raw::new(message))).await;
                }
            }
            _ => self.hear(Said::Message(Raw::new(message))).await,
        }
    }

    /// A line that cannot be read. Whoever waits for the answer that it may be should not wait for the deadline.
    async fn unreadable(&self, parts: &[&[u8]], why: &str) {
        let meant = parts.iter().find_map(|part| {
            let id = id_in(part)?;
            let mut state = self.state();
            let pending = state.link.as_mut()?.pending.remove(&id)?;
            Some(pending)
        });
        match meant {
            Some(pending) => {
                let _ = pending.answer.send(Answer::Unreadable(why.to_owned()));
            }
            None => self.hear(Said::Garbage(why.to_owned())).await,
        }
    }

    fn gone(&self, why: &str) {
        let link = self.state().link.take();
        let Some(link) = link else { return };
        for (_, pending) in link.pending {
            let _ = pending.answer.send(Answer::Gone(format!("`{}` ended: {why}", self.spec.name)));
        }
        self.put(Said::Gone(why.to_owned()), 0);
    }
}

fn cancel_line(id: u64, reason: &str) -> Vec<u8> {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id},\"reason\":\"{reason}\"}}}}\n"
    )
    .into_bytes()
}

/// The number behind the last `"id":` of a piece of text, which is a guess: it only ends a wait sooner.
fn id_in(part: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(part);
    let (_, rest) = text.rsplit_once("\"id\":")?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::id_in;

    #[test]
    fn ids_are_found_in_what_cannot_be_read() {
        assert_eq!(id_in(br#"{"jsonrpc":"2.0","id":17,"result":{"#), Some(17));
        assert_eq!(id_in(b"\xff}},\"id\": 4}"), Some(4));
        assert_eq!(id_in(b"nothing"), None);
    }
}
