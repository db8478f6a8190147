//! Where the mail provider's key comes from: the vault, a variable of the environment, or a secrets gateway (email.md 4).
//!
//! A key that has aged is asked for anew, and an old one never stands in for a new one that cannot be had. Whoever found a
//! key refused names the one it used, so that a slow failure does not throw a newer key away. Where it stops: what the key
//! is used for is the carrier's.

use crate::http::{Http, Plain, Request, Waits};
use countersign_core::cleanse::Known;
use countersign_core::code::Code;
use countersign_core::secret::{Secret, SecretRef};
use countersign_core::vault::binding::{Authority, Method, Use};
use countersign_gate::permit::Spent;
use countersign_gate::seams::{Authority as By, Clock, Keeper, SecretSource};
use ipnet::IpNet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use url::Url;

/// How long a key of a gateway is good.
pub const KEY_LIFE: Duration = Duration::from_secs(900);
const WAITS: Waits = Waits { connect: Duration::from_secs(2), total: Duration::from_secs(5) };
const MAX_KEY_BYTES: usize = 65_536;
/// Below this, a value cannot be looked for in answers.
const MIN_KEY_BYTES: usize = 8;

/// Why there is no key. The code is for the log; the agent is told one thing for all but a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// Whoever keeps it does not take our token.
    Refused,
    /// It cannot be had.
    Unavailable(Code),
}

/// A key, with what is to be looked for in answers.
pub struct Key {
    /// The value.
    pub value: Arc<Secret<Vec<u8>>>,
    /// Its forms, and those of values that it had until a day ago.
    pub known: Arc<Known>,
    /// Which one it is, for [`KeyFrom::refused`].
    pub generation: u64,
    /// For the log: name and version in the vault.
    pub named: Option<(String, String)>,
    /// Ranges beside the world at large.
    pub allow_private: Vec<IpNet>,
}

/// Reads a variable of the environment.
pub type Variable = Box<dyn Fn() -> Option<Secret<Vec<u8>>> + Send + Sync>;

/// Where the key comes from.
pub enum KeyFrom {
    /// The vault.
    Vault {
        /// Opens it.
        secrets: Arc<dyn SecretSource>,
        /// Counts its uses.
        keeper: Arc<dyn Keeper>,
        /// Its name.
        name: SecretRef,
        /// Most uses by a principal in 60 s.
        per_minute: u32,
    },
    /// The environment, read each time.
    Variable(Variable),
    /// A secrets gateway.
    Gateway(Box<Gateway>),
}

impl KeyFrom {
    /// The key, for a use that was permitted.
    pub async fn get(&self, spent: &Spent, principal: &str, by: &Use<'_>) -> Result<Key, NoKey> {
        match self {
            KeyFrom::Vault { secrets, keeper, name, per_minute } => {
                let opened = secrets.open(name, By::Call(spent)).await.map_err(NoKey::Unavailable)?;
                opened.binding.fits(by).map_err(|_| NoKey::Unavailable(Code::SecretNotBound))?;
                let used = keeper.secret_used(name, principal, *per_minute).await;
                match used {
                    Ok(true) => {}
                    Ok(false) => return Err(NoKey::Unavailable(Code::LimitRate)),
                    Err(e) => return Err(NoKey::Unavailable(e.code())),
                }
                let named = Some((name.as_str().to_owned(), opened.rotation_id));
                let key = Key {
                    known: known(std::iter::once(&opened.value).chain(&opened.retired))?,
                    value: Arc::new(opened.value),
                    generation: 0,
                    named,
                    allow_private: opened.binding.allow_private,
                };
                Ok(key)
            }
            KeyFrom::Variable(read) => {
                let value = read().ok_or(NoKey::Unavailable(Code::SecretNotFound))?;
                let known = known([&value])?;
                let allow_private = Vec::new();
                Ok(Key { known, value: Arc::new(value), generation: 0, named: None, allow_private })
            }
            KeyFrom::Gateway(gateway) => {
                let (value, generation) = gateway.get().await?;
                let known = known([&*value])?;
                Ok(Key { known, value, generation, named: None, allow_private: Vec::new() })
            }
        }
    }

    /// The provider did not take a key: the next mail asks for it anew.
    pub async fn refused(&self, generation: u64) {
        if let KeyFrom::Gateway(gateway) = self {
            gateway.invalidate(generation).await;
        }
    }
}

fn known<'a>(values: impl IntoIterator<Item = &'a Secret<Vec<u8>>>) -> Result<Arc<Known>, NoKey> {
    let mut forms: Vec<zeroize::Zeroizing<Vec<u8>>> = Vec::new();
    for (at, value) in values.into_iter().enumerate() {
        value.with(|value| forms.push(value.clone().into()));
        // The first is the one that goes into a header.
        if at == 0 && !is_usable(value) {
            return Err(NoKey::Unavailable(Code::SecretNotHeaderSafe));
        }
    }
    let known = Known::new(forms.iter().map(|form| form.as_slice()));
    known.map(Arc::new).map_err(|_| NoKey::Unavailable(Code::VaultUnavailable))
}

/// Whether a value can stand in a header, and be looked for in answers.
fn is_usable(value: &Secret<Vec<u8>>) -> bool {
    value.with(|value| value.len() >= MIN_KEY_BYTES && value.iter().all(|b| (b'!'..=b'~').contains(b)))
}

/// Where a secrets gateway listens.
pub enum Place {
    /// At an address.
    At(Url),
    /// On a socket.
    Socket(PathBuf),
}

#[derive(Default)]
struct Slot {
    value: Option<(Arc<Secret<Vec<u8>>>, Duration)>,
    generation: u64,
    failed: Option<NoKey>,
}

/// The client of a secrets gateway, for one name.
pub struct Gateway {
    http: Http,
    place: Place,
    token: Option<Secret<Vec<u8>>>,
    name: String,
    clock: Arc<dyn Clock>,
    slot: tokio::sync::Mutex<Slot>,
    /// Requests that ended, so that whoever waited for one shares its end.
    ended: AtomicU64,
}

impl Gateway {
    /// A client that shows `token`, if there is one.
    pub fn new(
        http: &Http,
        place: Place,
        token: Option<Secret<Vec<u8>>>,
        name: String,
        clock: Arc<dyn Clock>,
    ) -> Gateway {
        let http = http.clone().waiting(WAITS);
        Gateway {
            http,
            place,
            token,
            name,
            clock,
            slot: tokio::sync::Mutex::default(),
            ended: AtomicU64::new(0),
        }
    }

    async fn get(&self) -> Result<(Arc<Secret<Vec<u8>>>, u64), NoKey> {
        let before = self.ended.load(Ordering::SeqCst);
        let mut slot = self.slot.lock().await;
        let now = self.clock.elapsed();
        if let Some((value, at)) = &slot.value
            && now.saturating_sub(*at) < KEY_LIFE
        {
            return Ok((Arc::clone(value), slot.generation));
        }
        if let Some(failed) = slot.failed.filter(|_| self.ended.load(Ordering::SeqCst) != before) {
            return Err(failed);
        }
        slot.value = None;
        let asked = self.ask().await;
        self.ended.fetch_add(1, Ordering::SeqCst);
        slot.failed = asked.as_ref().err().copied();
        let value = Arc::new(asked?);
        slot.generation = slot.generation.saturating_add(1);
        // Its age begins with the question: the answer may have taken its time.
        slot.value = Some((Arc::clone(&value), now));
        Ok((value, slot.generation))
    }

    async fn invalidate(&self, generation: u64) {
        let mut slot = self.slot.lock().await;
        if slot.generation == generation {
            slot.value = None;
        }
    }

    async fn ask(&self) -> Result<Secret<Vec<u8>>, NoKey> {
        let gone = NoKey::Unavailable(Code::RequestFailed);
        if !is_name(&self.name) {
            return Err(NoKey::Unavailable(Code::InvalidKey));
        }
        let (base, plain) = match &self.place {
            Place::At(url) => (url.as_str().trim_end_matches('/'), Plain::Here),
            Place::Socket(path) => ("http://localhost", Plain::Socket(path)),
        };
        let url = Url::parse(&format!("{base}/v1/secrets/{}", self.name)).map_err(|_| gone)?;
        let authority = Authority::of(&url).ok_or(gone)?;
        let bearer = self.token.as_ref().map(bearer);
        let request = Request {
            url: &url,
            authority: &authority,
            method: Method::Get,
            secret: bearer.as_ref().map(|value| ("authorization", value)),
            headers: &[("x-countersign-request", "true")],
            body: None,
            allow_private: &here(),
            max_bytes: MAX_KEY_BYTES,
            plain,
        };
        let answer = self.http.send(&request).await.map_err(|_| gone)?;
        match (answer.status, answer.body) {
            (200, Some(body)) => {
                let value = Secret::new(body);
                is_usable(&value).then_some(value).ok_or(NoKey::Unavailable(Code::SecretNotHeaderSafe))
            }
            (401, _) => Err(NoKey::Refused),
            _ => Err(NoKey::Unavailable(Code::SecretNotFound)),
        }
    }
}

/// A value as it stands behind `authorization`.
pub(super) fn bearer(value: &Secret<Vec<u8>>) -> Secret<Vec<u8>> {
    value.with(|value| Secret::new([b"Bearer ", value.as_slice()].concat()))
}

/// The addresses of this machine.
pub(super) fn here() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"].iter().filter_map(|net| net.parse().ok()).collect()
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
