//! The hands of the gate's own tools as one hand: a call goes to the one that is known by its tool's name.

use async_trait::async_trait;
use countersign_core::call::ToolCall;
use countersign_core::cleanse::{Raw, Reply};
use countersign_core::event::Draft;
use countersign_core::ids::CallId;
use countersign_gate::permit::Permit;
use countersign_gate::seams::{Downstream, PerformError, Unready};
use std::sync::Arc;

/// The hands, by tool.
#[derive(Default)]
pub struct Own(Vec<(&'static str, Arc<dyn Downstream>)>);

impl Own {
    /// Adds the hand of a tool.
    pub fn with(mut self, tool: &'static str, hand: Arc<dyn Downstream>) -> Own {
        self.0.push((tool, hand));
        self
    }

    /// The tools that have one.
    pub fn tools(&self) -> Vec<&'static str> {
        self.0.iter().map(|(tool, _)| *tool).collect()
    }

    fn of(&self, call: &ToolCall) -> Option<&Arc<dyn Downstream>> {
        self.0.iter().find(|(tool, _)| *tool == call.tool()).map(|(_, hand)| hand)
    }
}

#[async_trait]
impl Downstream for Own {
    async fn ready(&self, call: &ToolCall) -> Result<(), Unready> {
        match self.of(call) {
            Some(hand) => hand.ready(call).await,
            None => Err(Unready { why: "nothing performs this tool".to_owned(), retry_s: None }),
        }
    }

    async fn perform(&self, permit: Permit, call: &ToolCall) -> Result<Raw<Reply>, PerformError> {
        match self.of(call) {
            Some(hand) => hand.perform(permit, call).await,
            None => Err(PerformError::Failed("nothing performs this tool".to_owned())),
        }
    }

    // Which tool a call was of is not said here; the others know no such call.
    async fn cancel(&self, call: CallId) {
        for (_, hand) in &self.0 {
            hand.cancel(call).await;
        }
    }

    async fn records(&self, call: CallId) -> Vec<Draft> {
        let mut all = Vec::new();
        for (_, hand) in &self.0 {
            all.extend(hand.records(call).await);
        }
        all
    }
}
