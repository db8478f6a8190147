//! `countersign token`: what nodes of ours show at the secrets gateway. A value is shown once and kept nowhere.

use super::{Context, exit, say};
use crate::clock::SystemClock;
use crate::wire::UserStore;
use anyhow::{Context as _, bail};
use clap::Subcommand;
use countersign_core::event::Draft;
use countersign_core::json::Json;
use countersign_core::time::Timestamp;
use countersign_core::token::{CAPABILITIES, Token, hash};
use countersign_gate::seams::{Clock as _, Keeper as _};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

/// Tokens of nodes.
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a token.
    #[command(
        after_help = "Example:\n  countersign token create --kind node --capability secrets:read --out mail.token"
    )]
    Create(Create),
    /// List tokens.
    #[command(after_help = "Example:\n  countersign token list")]
    List,
    /// End a token.
    #[command(after_help = "Example:\n  countersign token revoke 01KB0000000000000000000000")]
    Revoke {
        /// Its id.
        id: String,
    },
}

/// The arguments of `create`.
#[derive(clap::Args, Debug)]
pub struct Create {
    /// Who will show it.
    #[arg(long, value_parser = ["node"])]
    kind: String,
    /// What it may be used for: secrets:read or metrics; as often as there are uses.
    #[arg(long, value_name = "C", required = true, value_parser = CAPABILITIES)]
    capability: Vec<String>,
    /// When it ends, for example 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "T")]
    expires: Option<String>,
    /// Write it into this file, which must not be there, instead of to the terminal.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl TokenCommand {
    /// Runs it.
    pub async fn run(self, cx: &Context) -> anyhow::Result<u8> {
        let keeper = UserStore::at(&cx.places);
        match self {
            TokenCommand::List => list(cx, &keeper).await,
            TokenCommand::Create(create) => {
                if let Err(code) = super::need_user(cx, "token create").await? {
                    return Ok(code);
                }
                create.run(&keeper).await
            }
            TokenCommand::Revoke { id } => {
                if let Err(code) = super::need_user(cx, "token revoke").await? {
                    return Ok(code);
                }
                let record = Draft::note(&format!("the token {id} was revoked"));
                match keeper.revoke_token(&id, record).await? {
                    true => {
                        say("Token revoked.");
                        Ok(exit::OK)
                    }
                    false => {
                        super::complain("There is no such token that counts.");
                        Ok(exit::FAILED)
                    }
                }
            }
        }
    }
}

impl Create {
    async fn run(self, keeper: &UserStore) -> anyhow::Result<u8> {
        if self.out.is_none() && !std::io::stdout().is_terminal() {
            bail!("a token is shown at a terminal only; name a file with --out");
        }
        let expires_at = match &self.expires {
            Some(text) => {
                Some(Timestamp::parse(text).context("--expires is no time like 2027-01-31T00:00:00Z")?)
            }
            None => None,
        };
        let mut bytes = zeroize::Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut_slice())
            .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
        let mut value = zeroize::Zeroizing::new(String::with_capacity(64));
        for byte in bytes.iter() {
            let _ = write!(value, "{byte:02x}");
        }
        let id = SystemClock.fresh_id().to_string();
        let token = Token {
            id: id.clone(),
            hash: hash(value.as_bytes()),
            capabilities: self.capability,
            created_at: Timestamp(0),
            expires_at,
            revoked_at: None,
        };
        let uses = token.capabilities.join(", ");
        // The file first: a token whose value is nowhere would be of no use.
        if let Some(path) = &self.out {
            crate::places::write_new(path, format!("{}\n", *value).as_bytes())?;
        }
        let record = Draft::note(&format!("the token {id} was made for a {}, for {uses}", self.kind));
        keeper.add_token(token, record).await?;
        say(&format!("Token {id} for {uses}"));
        if self.out.is_none() {
            say("It is shown this once:");
            say(&value);
        }
        Ok(exit::OK)
    }
}

async fn list(cx: &Context, keeper: &UserStore) -> anyhow::Result<u8> {
    let (now, tokens) = keeper.tokens().await?;
    for token in tokens {
        let state = if token.counts(now) { "counts" } else { "ended" };
        if cx.global.json {
            let line = Json::object([
                ("id", Json::str(&token.id)),
                ("capabilities", Json::strings(&token.capabilities)),
                ("state", Json::str(state)),
            ]);
            say(&line.canonical());
        } else {
            say(&format!("{}  {}  {state}", token.id, token.capabilities.join(",")));
        }
    }
    Ok(exit::OK)
}
