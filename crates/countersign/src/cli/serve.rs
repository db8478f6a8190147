//! `countersign serve`: the secrets gateway, which hands secrets of the vault to nodes of ours and to no agent.
//!
//! This is the first form of the command: the API and the console are not there yet.

use super::listen::{Answer, Listener};
use super::{Context, complain, exit, say};
use crate::wire;
use anyhow::bail;
use countersign_core::secrets_gateway::is_name;
use std::sync::Arc;

/// Hand out secrets of the vault to nodes of ours.
///
/// Listens on a socket in your state folder, or at `secrets_gateway.listen`. Whoever asks shows a token that
/// `countersign token create` made. Anything that runs as you can read the token's file: do not run it beside agents
/// that you do not trust.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  countersign serve\n  countersign serve --listen 127.0.0.1:7418")]
pub struct Serve {
    /// Listen here instead: a loopback address and a port.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

impl Serve {
    /// Answers until it is told to end.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        crate::person::keep_memory_private();
        let settings = super::vault::all_settings(cx)?;
        if !settings.gateway.enabled {
            complain(
                "There is nothing to serve: `secrets_gateway.enabled` of your configuration is not true.",
            );
            return Ok(exit::USAGE);
        }
        if let Some(bad) = settings.gateway.names.iter().find(|name| !is_name(name)) {
            bail!("`secrets_gateway.names` has `{bad}`; names are lower case letters, digits and _");
        }
        let listener = match self.listen.as_ref().or(settings.gateway.listen.as_ref()) {
            Some(address) => Listener::port(address).await?,
            None => Listener::socket(&cx.places.user().join("secrets.sock")).await?,
        };
        let gateway = Arc::new(wire::secrets_gateway(&cx.places, &settings, complain).await?);
        say(&format!("Secrets gateway: {}", listener.place()));
        let answer: Answer = Arc::new(move |asked| {
            let gateway = Arc::clone(&gateway);
            Box::pin(async move { gateway.answer(&asked).await })
        });
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        tokio::select! {
            () = listener.serve(answer) => {}
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        Ok(exit::OK)
    }
}
