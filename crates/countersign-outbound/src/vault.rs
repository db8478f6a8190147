//! The vault: opening secrets for permitted calls, and what its owner does with it (vault.md 4 to 6).
//!
//! Rows come from the keeper and are sealed; the key that opens them comes from a file, the keychain or a passphrase.
//! Whatever changes the vault reads it whole, and writes it whole if nobody else did meanwhile. Where it stops: who may
//! change it is the command line's business, what a secret is used for the hand's.

use async_trait::async_trait;
use countersign_core::cleanse::clean_line;
use countersign_core::code::Code;
use countersign_core::event::{Draft, Event, text, word};
use countersign_core::secret::{Secret, SecretRef};
use countersign_core::time::Timestamp;
use countersign_core::vault::binding::Binding;
use countersign_core::vault::seal::{
    self, Argon, Exported, Fresh, Header, HeaderFault, Kek, KeyFrom, NONCE, RETIRED_S, Row, Sealed,
    ValueFault, Vault as Open,
};
use countersign_gate::seams::{Authority, Clock, Keeper, Opened, SecretSource, StoreError, VaultRows};
use std::sync::Arc;

/// Where keys come from.
pub trait Keys: Send + Sync {
    /// The key that opens a vault with this header.
    fn open(&self, from: &KeyFrom) -> Result<Kek, KeyError>;

    /// The key for a new vault, made where it has to be kept, and where it comes from.
    fn create(&self) -> Result<(KeyFrom, Kek), KeyError>;
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not where it should be, or cannot be read. The text says where and what to do.
    #[error("{0}")]
    Missing(String),
    /// The keychain said no.
    #[error("the keychain was not opened: {0}")]
    Refused(String),
    /// It was found and does not fit.
    #[error(transparent)]
    Sealed(#[from] Sealed),
}

/// Why nothing was done with the vault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It does not open.
    #[error(transparent)]
    Sealed(#[from] Sealed),
    /// Its header is none.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// Rows without a header: someone took it away.
    #[error("the vault has secrets and no header; restore it from a backup")]
    Headless,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is one already.
    #[error("there is a secret `{0}` already; use --force to replace its value, or `vault rotate`")]
    Exists(String),
    /// There is none.
    #[error("there is no secret `{0}`; `countersign vault list` shows what there is")]
    Unknown(String),
    /// Not a value.
    #[error(transparent)]
    Value(#[from] ValueFault),
    /// Others were faster, several times.
    #[error("the vault was changed by another process at the same time; try again")]
    Busy,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// What is told of a secret, which is nothing of its value.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it is bound to.
    pub binding: Binding,
    /// Which version.
    pub version: u64,
    /// Names the version.
    pub rotation_id: String,
    /// When it was set.
    pub set_at: Timestamp,
    /// Eight hex digits by which two values are compared.
    pub fingerprint: String,
    /// How many bytes, as a power of two that they do not exceed.
    pub at_most_bytes: usize,
}

/// What a change does to the rows of a vault that is open.
type Change<'a> = dyn Fn(&Open, &mut Vec<Row>, Timestamp) -> Result<(), VaultError> + Send + Sync + 'a;

/// The vault of a user.
pub struct Vault {
    keeper: Arc<dyn Keeper>,
    keys: Arc<dyn Keys>,
    clock: Arc<dyn Clock>,
}

/// How often a change is tried again when another process was faster.
const TRIES: usize = 8;

fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut out = [0; N];
    getrandom::fill(&mut out).map_err(|_| VaultError::Random)?;
    Ok(out)
}

impl Vault {
    /// The vault behind a keeper, whose time versions are stamped with.
    pub fn new(keeper: Arc<dyn Keeper>, keys: Arc<dyn Keys>, clock: Arc<dyn Clock>) -> Vault {
        Vault { keeper, keys, clock }
    }

    /// Opens the vault; `None` where there is none.
    async fn opened(&self) -> Result<(Option<Open>, VaultRows), VaultError> {
        let there = self.keeper.vault().await?;
        let Some(header) = &there.header else {
            return if there.rows.is_empty() { Ok((None, there)) } else { Err(VaultError::Headless) };
        };
        let header = Header::read(header)?;
        let kek = self.keys.open(&header.key)?;
        let open = Open::open(header, &kek, &there.rows)?;
        Ok((Some(open), there))
    }

    fn create(&self) -> Result<Open, VaultError> {
        let (from, kek) = self.keys.create()?;
        let fresh = Fresh { vault_id: random()?, dek: Secret::new(random()?), nonce: random()? };
        Ok(Open::create(fresh, from, &kek)?)
    }

    /// Reads, changes and writes the vault as one. The record is of the secret and what was done to it.
    async fn change(
        &self,
        name: &str,
        what: &'static str,
        change: &Change<'_>,
    ) -> Result<String, VaultError> {
        for _ in 0..TRIES {
            let (mut open, there) = match self.opened().await? {
                (Some(open), there) => (open, there),
                (None, there) => (self.create()?, there),
            };
            let mut rows = there.rows;
            change(&open, &mut rows, there.now)?;
            // Values that were replaced long enough ago are forgotten.
            rows.retain(|row| row.retired_at.is_none_or(|at| there.now < at.plus_s(RETIRED_S)));
            open.touch(&rows);
            let rotation =
                rows.iter().find(|r| r.name == name && r.retired_at.is_none()).map(|r| r.rotation_id.clone());
            let record = Draft::new(
                Event::SecretChanged,
                [
                    ("name", text(&clean_line(name, 128))),
                    ("change", word(what)),
                    ("rotation_id", rotation.as_ref().and_then(word)),
                    ("generation", word(open.header().generation)),
                ],
            );
            let now = VaultRows { header: Some(open.header().text()), rows, now: there.now };
            if self.keeper.set_vault(there.header.as_deref(), now, record).await? {
                return Ok(rotation.unwrap_or_default());
            }
        }
        Err(VaultError::Busy)
    }

    /// Stores a value under a new name, or as a new version of one that is there if `replace`.
    pub async fn set(
        &self,
        name: &SecretRef,
        value: &Secret<Vec<u8>>,
        binding: Option<&Binding>,
        replace: bool,
    ) -> Result<String, VaultError> {
        value.with(|value| seal::check_value(value))?;
        let rotation_id = self.clock.fresh_id().to_string();
        let change = |open: &Open, rows: &mut Vec<Row>, now: Timestamp| {
            let old = rows.iter_mut().find(|r| r.name == name.as_str() && r.retired_at.is_none());
            let (version, bound) = match old {
                Some(_) if !replace => return Err(VaultError::Exists(name.as_str().to_owned())),
                Some(old) => {
                    old.retired_at = Some(now);
                    (old.version + 1, old.binding.clone())
                }
                None => (1, Binding::default().canonical()),
            };
            let row = Row {
                name: name.as_str().to_owned(),
                version,
                rotation_id: rotation_id.clone(),
                binding: binding.map_or(bound, Binding::canonical),
                set_at: now,
                retired_at: None,
                nonce: [0; NONCE],
                sealed: Vec::new(),
            };
            // A name that was taken away and comes back must not meet a version of its former life.
            let version =
                rows.iter().filter(|r| r.name == row.name).map(|r| r.version + 1).max().unwrap_or(version);
            rows.push(open.seal(Row { version, ..row }, random()?, value)?);
            Ok(())
        };
        self.change(name.as_str(), if replace { "rotated" } else { "set" }, &change).await
    }

    /// A new value for a name that is there.
    pub async fn rotate(&self, name: &SecretRef, value: &Secret<Vec<u8>>) -> Result<String, VaultError> {
        self.listed(name).await?;
        self.set(name, value, None, true).await
    }

    /// Binds a secret anew. Its value is sealed again, since it is bound up with what it is bound to.
    pub async fn bind(&self, name: &SecretRef, binding: &Binding) -> Result<(), VaultError> {
        let change = |open: &Open, rows: &mut Vec<Row>, _: Timestamp| {
            let there = rows.iter_mut().find(|r| r.name == name.as_str() && r.retired_at.is_none());
            let row = there.ok_or_else(|| VaultError::Unknown(name.as_str().to_owned()))?;
            let value = open.value(row)?;
            *row = open.seal(Row { binding: binding.canonical(), ..row.clone() }, random()?, &value)?;
            Ok(())
        };
        self.change(name.as_str(), "bound", &change).await.map(|_| ())
    }

    /// Takes a secret away. Its value is still looked for in answers for a day.
    pub async fn remove(&self, name: &SecretRef) -> Result<(), VaultError> {
        let change = |_: &Open, rows: &mut Vec<Row>, now: Timestamp| {
            let there = rows.iter_mut().find(|r| r.name == name.as_str() && r.retired_at.is_none());
            there.ok_or_else(|| VaultError::Unknown(name.as_str().to_owned()))?.retired_at = Some(now);
            Ok(())
        };
        self.change(name.as_str(), "removed", &change).await.map(|_| ())
    }

    /// The vault's key is made anew, where new keys are kept.
    pub async fn rekey(&self) -> Result<(), VaultError> {
        for _ in 0..TRIES {
            let (Some(mut open), there) = self.opened().await? else { return Ok(()) };
            let (from, kek) = self.keys.create()?;
            open.rewrap(from, &kek, random()?)?;
            open.touch(&there.rows);
            let record = Draft::new(
                Event::SecretChanged,
                [("change", word("rekeyed")), ("generation", word(open.header().generation))],
            );
            let now = VaultRows { header: Some(open.header().text()), rows: there.rows, now: there.now };
            if self.keeper.set_vault(there.header.as_deref(), now, record).await? {
                return Ok(());
            }
        }
        Err(VaultError::Busy)
    }

    /// What there is, by name.
    pub async fn list(&self) -> Result<Vec<Listed>, VaultError> {
        let (Some(open), there) = self.opened().await? else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for row in there.rows.iter().filter(|row| row.retired_at.is_none()) {
            let value = open.value(row)?;
            out.push(Listed {
                name: row.name.clone(),
                binding: Binding::read(&row.binding).ok_or(Sealed)?,
                version: row.version,
                rotation_id: row.rotation_id.clone(),
                set_at: row.set_at,
                fingerprint: open.fingerprint(&value),
                at_most_bytes: value.with(|v| v.len().next_power_of_two()),
            });
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    /// One of them.
    pub async fn listed(&self, name: &SecretRef) -> Result<Listed, VaultError> {
        let found = self.list().await?.into_iter().find(|l| l.name == name.as_str());
        found.ok_or_else(|| VaultError::Unknown(name.as_str().to_owned()))
    }

    /// Everything, sealed under a passphrase.
    pub async fn export(&self, passphrase: &Secret<Vec<u8>>) -> Result<Vec<u8>, VaultError> {
        let mut secrets: Vec<Exported> = Vec::new();
        if let (Some(open), there) = self.opened().await? {
            for row in there.rows.iter().filter(|row| row.retired_at.is_none()) {
                secrets.push((row.name.clone(), row.binding.clone(), open.value(row)?));
            }
        }
        Ok(seal::export(&secrets, passphrase, Argon::fresh(random()?), random()?)?)
    }

    /// Takes in secrets of an export, all or none. Names that are there stay as they are unless `replace`.
    pub async fn import(&self, secrets: &[Exported], replace: bool) -> Result<usize, VaultError> {
        for (name, binding, value) in secrets {
            value.with(|value| seal::check_value(value))?;
            if SecretRef::parse(name).is_none() || Binding::read(binding).is_none() {
                return Err(Sealed.into());
            }
        }
        let ids: Vec<String> = secrets.iter().map(|_| self.clock.fresh_id().to_string()).collect();
        let change = |open: &Open, rows: &mut Vec<Row>, now: Timestamp| {
            for ((name, binding, value), rotation_id) in secrets.iter().zip(&ids) {
                if let Some(old) = rows.iter_mut().find(|r| r.name == *name && r.retired_at.is_none()) {
                    if !replace {
                        return Err(VaultError::Exists(name.clone()));
                    }
                    old.retired_at = Some(now);
                }
                let version =
                    rows.iter().filter(|r| r.name == *name).map(|r| r.version + 1).max().unwrap_or(1);
                let row = Row {
                    name: name.clone(),
                    version,
                    rotation_id: rotation_id.clone(),
                    binding: binding.clone(),
                    set_at: now,
                    retired_at: None,
                    nonce: [0; NONCE],
                    sealed: Vec::new(),
                };
                rows.push(open.seal(row, random()?, value)?);
            }
            Ok(())
        };
        self.change("*", "imported", &change).await?;
        Ok(secrets.len())
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn rehearse(&self) {
        if let Ok((Some(open), there)) = self.opened().await
            && let Some(row) = there.rows.first()
        {
            // Opened and forgotten.
            let _ = open.value(row);
        }
    }

    async fn open(&self, name: &SecretRef, _by: Authority<'_>) -> Result<Opened, Code> {
        let opened = self.opened().await.map_err(|e| match e {
            VaultError::Store(e) => e.code(),
            _ => Code::VaultUnavailable,
        })?;
        let (Some(open), there) = opened else { return Err(Code::SecretNotFound) };
        let mut rows: Vec<&Row> = there.rows.iter().filter(|row| row.name == name.as_str()).collect();
        rows.sort_by_key(|row| row.version);
        let current = rows.iter().find(|row| row.retired_at.is_none()).ok_or(Code::SecretNotFound)?;
        let value = open.value(current).map_err(|_| Code::VaultUnavailable)?;
        let recent = |row: &&&Row| row.retired_at.is_some_and(|at| there.now < at.plus_s(RETIRED_S));
        let retired = rows.iter().filter(recent).map(|row| open.value(row)).collect::<Result<Vec<_>, _>>();
        Ok(Opened {
            value,
            retired: retired.map_err(|_| Code::VaultUnavailable)?,
            binding: Binding::read(&current.binding).ok_or(Code::VaultUnavailable)?,
            rotation_id: current.rotation_id.clone(),
            opened_at: there.now,
        })
    }
}
