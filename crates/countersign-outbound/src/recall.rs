//! The hand of `memory_recall`: reads a person's notes for a permitted call, and never writes one (memory.md 5).
//!
//! What a note says is data on its way to the agent: it is stripped, cut and wrapped by core, and nothing here looks at
//! what it asks for. Where it stops: whether the note may be read was judged, how much of notes may be read is counted by
//! whoever keeps them.

use async_trait::async_trait;
use countersign_core::call::ToolCall;
use countersign_core::cleanse::{Raw, Reply, clean_line};
use countersign_core::code::Code;
use countersign_core::event::{Draft, Event, int, text, word};
use countersign_core::ids::CallId;
use countersign_core::json::Json;
use countersign_core::notes::{self, Ask, Bits, PREVIEW_BYTES, WHOLE_BYTES};
use countersign_gate::permit::Permit;
use countersign_gate::seams::{Clock, Downstream, Notes, PerformError, Recall as Wanted, Recalled};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Reads notes.
pub struct Recall {
    notes: Arc<dyn Notes>,
    clock: Arc<dyn Clock>,
    /// What the log is to be told.
    told: Mutex<HashMap<CallId, Draft>>,
}

/// An answer, and how many bytes of notes or names it has.
struct Found(Json, usize);

impl Recall {
    /// A hand that reads from `notes`.
    pub fn new(notes: Arc<dyn Notes>, clock: Arc<dyn Clock>) -> Recall {
        Recall { notes, clock, told: Mutex::default() }
    }

    async fn found(&self, call: &ToolCall, ask: &Ask) -> Result<Found, Code> {
        let most = u32::try_from(notes::MAX_NAMES).unwrap_or(u32::MAX).saturating_add(1);
        match ask {
            Ask::Stores => {
                let names = self.notes.note_stores(false, "", most).await.map_err(|e| e.code())?;
                let list = notes::stores(&names);
                let bytes = list.canonical().len();
                Ok(Found(list, bytes))
            }
            Ask::Entries { store } => {
                let keys = self.notes.note_keys(store, false, "", most).await.map_err(|e| e.code())?;
                let names: Vec<String> =
                    keys.ok_or(Code::NotFound)?.into_iter().map(|(key, _)| key).collect();
                let list = notes::entries(store, &names);
                let bytes = list.canonical().len();
                Ok(Found(list, bytes))
            }
            Ask::Fetch { store, key, whole, .. } => {
                let max_bytes = if *whole { WHOLE_BYTES } else { PREVIEW_BYTES };
                let wanted = Wanted {
                    principal: call.parts().principal.id(),
                    store: store.clone(),
                    key: key.clone(),
                    max_bytes,
                };
                match self.notes.recall(&wanted).await.map_err(|e| e.code())? {
                    Recalled::Missing => Err(Code::NotFound),
                    Recalled::Exceeded => Err(Code::BudgetExceeded),
                    Recalled::Read { bytes, longer } => {
                        let shown =
                            notes::wrap(store, key, &Bits { bytes: &bytes, longer }, max_bytes, !whole);
                        Ok(Found(shown, bytes.len().min(max_bytes)))
                    }
                }
            }
        }
    }
}

/// Why there is nothing, in the tool's own form.
fn stop(ask: &Ask, code: Code) -> PerformError {
    let mut out = Json::object([("action", Json::str(ask.as_str())), ("error", Json::str(code.as_str()))]);
    if code == Code::BudgetExceeded {
        out.set("budget_exceeded", Json::Bool(true));
    }
    PerformError::Own(code, out.canonical())
}

#[async_trait]
impl Downstream for Recall {
    async fn perform(&self, permit: Permit, call: &ToolCall) -> Result<Raw<Reply>, PerformError> {
        permit.spend(call, self.clock.elapsed()).map_err(PerformError::Permit)?;
        let ask = Ask::read(call.args()).map_err(|fault| {
            PerformError::Own(
                fault.code,
                Json::object([("error", Json::str(fault.code.as_str()))]).canonical(),
            )
        })?;
        let Found(answer, bytes) = self.found(call, &ask).await.map_err(|code| stop(&ask, code))?;
        let (store, key) = ask.place();
        let named = |name: &str| if name.is_empty() { None } else { text(&clean_line(name, 300)) };
        let draft = Draft::new(
            Event::MemoryRead,
            [
                ("action", word(ask.action())),
                ("store", named(store)),
                ("key", named(key)),
                ("bytes", int(i64::try_from(bytes).unwrap_or(i64::MAX))),
            ],
        );
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(call.id(), draft.call(call.id()));
        Ok(Raw::new(Reply::Text(answer.canonical())))
    }

    async fn records(&self, call: CallId) -> Vec<Draft> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&call).into_iter().collect()
    }
}
