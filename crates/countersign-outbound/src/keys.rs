//! Where the key of the vault is kept: the system's keychain, a private file, or a person's memory (vault.md 4.2, 4.3).
//!
//! A keychain that is not there is no fault: the file takes its place, and that is said. A keychain that says no is one.
//! Where it stops: files and prompts are the binary's, which hands them in.

use crate::vault::{KeyError, Keys};
use countersign_core::secret::Secret;
use countersign_core::vault::seal::{Argon, Kek, KeyFrom};
use std::sync::Mutex;

/// The keychain's entry.
const SERVICE: &str = "countersign-vault";
const USER: &str = "key";

/// Gets the key file's bytes; `true` makes the file if it is not there.
pub type KeyFile = Box<dyn Fn(bool) -> Result<Option<[u8; 32]>, String> + Send + Sync>;
/// Gets the passphrase; `true` asks for a new one.
pub type Passphrase = Box<dyn Fn(bool) -> Result<Secret<Vec<u8>>, String> + Send + Sync>;

/// Where the key of a new vault is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The keychain, or a file where there is none.
    Keychain,
    /// A file.
    File,
    /// A person's memory.
    Passphrase,
}

impl Place {
    /// Reads the word of `vault.key`.
    pub fn parse(text: &str) -> Option<Place> {
        match text {
            "keychain" => Some(Place::Keychain),
            "file" => Some(Place::File),
            "passphrase" => Some(Place::Passphrase),
            _ => None,
        }
    }
}

/// The keys of a user.
pub struct UserKeys {
    place: Place,
    file: KeyFile,
    passphrase: Passphrase,
    warn: fn(&str),
    /// The last passphrase that was derived, so that a process asks and works once.
    derived: Mutex<Option<(Argon, Secret<Vec<u8>>)>>,
}

impl UserKeys {
    /// Keys that are looked for where a vault says they are, and made in `place`.
    pub fn new(place: Place, file: KeyFile, passphrase: Passphrase, warn: fn(&str)) -> UserKeys {
        UserKeys { place, file, passphrase, warn, derived: Mutex::new(None) }
    }

    fn of_file(&self, create: bool) -> Result<Kek, KeyError> {
        let key = (self.file)(create).map_err(KeyError::Missing)?;
        let key = key.ok_or_else(|| {
            KeyError::Missing("the vault's key file is gone; restore it from its backup".to_owned())
        })?;
        Ok(Kek::of_key(&Secret::new(key)))
    }

    fn of_passphrase(&self, argon: &Argon, new: bool) -> Result<Kek, KeyError> {
        let mut derived = self.derived.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if derived.as_ref().is_none_or(|(by, _)| by != argon) {
            *derived = Some((*argon, (self.passphrase)(new).map_err(KeyError::Missing)?));
        }
        let Some((_, text)) = derived.as_ref() else {
            return Err(KeyError::Missing("no passphrase".to_owned()));
        };
        let kek = Kek::of_passphrase(text, argon);
        if kek.is_err() {
            *derived = None;
        }
        Ok(kek?)
    }
}

/// What the keychain says.
enum Chain {
    Key([u8; 32]),
    Empty,
    Absent(String),
    Refused(String),
}

fn told(e: &keyring::Error) -> Chain {
    match e {
        keyring::Error::NoEntry => Chain::Empty,
        keyring::Error::NoStorageAccess(why) => Chain::Refused(why.to_string()),
        keyring::Error::NoDefaultStore => Chain::Absent("there is none".to_owned()),
        other => Chain::Absent(other.to_string()),
    }
}

fn read_chain() -> Chain {
    let read = keyring::Entry::new(SERVICE, USER).and_then(|entry| entry.get_secret());
    match read.as_ref().map(|bytes| <[u8; 32]>::try_from(bytes.as_slice())) {
        Ok(Ok(key)) => Chain::Key(key),
        Ok(Err(_)) => Chain::Refused("its entry is not the vault's key".to_owned()),
        Err(e) => told(e),
    }
}

fn make_chain() -> Chain {
    match read_chain() {
        Chain::Empty => {}
        other => return other,
    }
    let mut key = [0u8; 32];
    if getrandom::fill(&mut key).is_err() {
        return Chain::Refused("the system gives no random bytes".to_owned());
    }
    match keyring::Entry::new(SERVICE, USER).and_then(|entry| entry.set_secret(&key)) {
        // Read back: another process may have been faster, and a chain that forgets is none.
        Ok(()) => match read_chain() {
            Chain::Empty => Chain::Absent("it does not keep what it is given".to_owned()),
            other => other,
        },
        Err(e) => told(&e),
    }
}

impl Keys for UserKeys {
    fn open(&self, from: &KeyFrom) -> Result<Kek, KeyError> {
        match from {
            KeyFrom::File => self.of_file(false),
            KeyFrom::Passphrase(argon) => self.of_passphrase(argon, false),
            KeyFrom::Keychain => match read_chain() {
                Chain::Key(key) => Ok(Kek::of_key(&Secret::new(key))),
                Chain::Empty => {
                    Err(KeyError::Missing("the keychain has no key of the vault any more".to_owned()))
                }
                Chain::Absent(why) => Err(KeyError::Missing(format!(
                    "the vault's key lies in the keychain, which cannot be reached: {why}"
                ))),
                Chain::Refused(why) => Err(KeyError::Refused(why)),
            },
        }
    }

    fn create(&self) -> Result<(KeyFrom, Kek), KeyError> {
        match self.place {
            Place::File => Ok((KeyFrom::File, self.of_file(true)?)),
            Place::Passphrase => {
                let mut salt = [0u8; 16];
                getrandom::fill(&mut salt)
                    .map_err(|_| KeyError::Missing("the system gives no random bytes".to_owned()))?;
                let argon = Argon::fresh(salt);
                Ok((KeyFrom::Passphrase(argon), self.of_passphrase(&argon, true)?))
            }
            Place::Keychain => match make_chain() {
                Chain::Key(key) => Ok((KeyFrom::Keychain, Kek::of_key(&Secret::new(key)))),
                Chain::Refused(why) => Err(KeyError::Refused(why)),
                Chain::Empty => Err(KeyError::Refused("it gives nothing back".to_owned())),
                Chain::Absent(why) => {
                    (self.warn)(&format!(
                        "no keychain ({why}): the vault's key is kept in a file that whoever runs as you can read; back it up"
                    ));
                    Ok((KeyFrom::File, self.of_file(true)?))
                }
            },
        }
    }
}
