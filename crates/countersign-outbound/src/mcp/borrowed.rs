//! Secrets that a registry entry puts into the environment of the server it starts (DECISIONS row 64).
//!
//! They are opened at each start and are in no argument, pin or text of ours. The child has the value from then on, and
//! whatever the child starts; what it says is looked through for it. Where it stops: whether this entry may be started is
//! known by whoever starts it, and what the child writes to standard error is not looked at.

use countersign_core::cleanse::{Known, Lately, clean_line};
use countersign_core::code::Code;
use countersign_core::event::{Draft, Event, text, word};
use countersign_core::oauth::is_record;
use countersign_core::secret::SecretRef;
use countersign_gate::seams::{Authority, Keeper, SecretSource, Store};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a server has not all of its secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BorrowError {
    /// It is not there, or the vault does not open.
    #[error("the secret `{0}` for `{1}` cannot be opened: {code}", code = .2.as_str())]
    Closed(String, String, Code),
    /// Its binding does not allow this place or this time, or it is in quarantine.
    #[error("the secret `{0}` for `{1}` {2}")]
    NotBound(String, String, &'static str),
    /// The log does not take it.
    #[error("the use of the secret `{0}` for `{1}` cannot be recorded")]
    Unrecorded(String, String),
}

/// Which secrets a server gets, and where they come from.
pub struct Borrowed {
    variables: BTreeMap<String, SecretRef>,
    secrets: Arc<dyn SecretSource>,
    keeper: Arc<dyn Keeper>,
    log: Arc<dyn Store>,
    lately: Arc<Lately>,
    project: String,
    /// Versions that are looked for already.
    held: Mutex<Vec<String>>,
}

impl Borrowed {
    /// Secrets by the variable that holds them, for a server of this project.
    pub fn new(
        variables: BTreeMap<String, SecretRef>,
        secrets: Arc<dyn SecretSource>,
        keeper: Arc<dyn Keeper>,
        log: Arc<dyn Store>,
        lately: Arc<Lately>,
        project: String,
    ) -> Borrowed {
        Borrowed { variables, secrets, keeper, log, lately, project, held: Mutex::default() }
    }

    /// Opens all of them for a start of `server`, or none.
    pub(super) async fn open(&self, server: &str) -> Result<Vec<(String, OsString)>, BorrowError> {
        let mut out = Vec::new();
        for (variable, name) in &self.variables {
            let of = || (name.as_str().to_owned(), variable.clone());
            let closed = |code| {
                let (name, variable) = of();
                BorrowError::Closed(name, variable, code)
            };
            let refused = |why| {
                let (name, variable) = of();
                BorrowError::NotBound(name, variable, why)
            };
            if is_record(name) {
                return Err(refused("is the record of an OAuth token, which is for no environment"));
            }
            let view = self.keeper.secret(name).await.map_err(|e| closed(e.code()))?;
            if view.quarantined {
                return Err(refused("is in quarantine, since answers held it"));
            }
            let opened = self.secrets.open(name, Authority::Registry(server)).await.map_err(closed)?;
            let projects = &opened.binding.projects;
            if !projects.is_empty() && !projects.contains(&self.project) {
                return Err(refused("is bound to other projects"));
            }
            if opened.binding.expires_at.is_some_and(|end| opened.opened_at >= end) {
                return Err(refused("was bound until a time that is over"));
            }
            self.hold(name, &opened)?;
            let draft = Draft::new(
                Event::SecretUsed,
                [
                    ("name", text(&clean_line(name.as_str(), 128))),
                    ("rotation_id", word(&opened.rotation_id)),
                    ("server", word(server)),
                    ("scheme", word("environment")),
                ],
            );
            if self.log.note(draft).await.is_err() {
                let (name, variable) = of();
                return Err(BorrowError::Unrecorded(name, variable));
            }
            out.push((variable.clone(), opened.value.with(|value| OsString::from_vec(value.clone()))));
        }
        Ok(out)
    }

    /// From now on the value is looked for in what anybody says.
    fn hold(&self, name: &SecretRef, opened: &countersign_gate::seams::Opened) -> Result<(), BorrowError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains(&opened.rotation_id) {
            return Ok(());
        }
        let mut values: Vec<zeroize::Zeroizing<Vec<u8>>> = Vec::new();
        for secret in std::iter::once(&opened.value).chain(&opened.retired) {
            secret.with(|value| values.push(value.clone().into()));
        }
        let known = Known::new(values.iter().map(|value| value.as_slice())).map_err(|_| {
            BorrowError::NotBound(
                name.as_str().to_owned(),
                "the environment".to_owned(),
                "is too large to be looked for",
            )
        })?;
        self.lately.hold(&Arc::new(known));
        held.push(opened.rotation_id.clone());
        Ok(())
    }
}
