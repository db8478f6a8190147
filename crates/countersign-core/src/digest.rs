//! Digests: SHA-256 with a domain tag, and the keyed form that may enter the log.
//!
//! A domain tag keeps two kinds of things from ever sharing a digest. A plain digest of arguments stays in the
//! store's own rows; the log carries the keyed one, because short arguments can be guessed from a plain digest.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// 32 bytes; printed as 64 lower-case hex digits without a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// SHA-256 over `tag`, a zero byte, then each part preceded by its length, so that no two lists of parts
    /// give the same input.
    pub fn of(tag: &str, parts: &[&[u8]]) -> Digest {
        let mut hash = Sha256::new();
        hash.update(tag.as_bytes());
        hash.update([0]);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Digest(hash.finalize().into())
    }

    /// SHA-256 over `tag`, a zero byte and `bytes`: simple enough for an outsider to recompute with any tool.
    pub fn of_bytes(tag: &str, bytes: &[u8]) -> Digest {
        let mut hash = Sha256::new();
        hash.update(tag.as_bytes());
        hash.update([0]);
        hash.update(bytes);
        Digest(hash.finalize().into())
    }

    /// Reads 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Digest> {
        if text.len() != 64 || text.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut out = [0u8; 32];
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Digest(out))
    }

    /// The raw bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The user's 32-byte key for keyed digests of the log. Not printable; wiped when dropped.
pub struct MacKey(crate::secret::Secret<[u8; 32]>);

impl MacKey {
    /// Takes the key's bytes.
    pub fn new(bytes: [u8; 32]) -> MacKey {
        MacKey(crate::secret::Secret::new(bytes))
    }

    /// HMAC-SHA-256 of `bytes` under this key and `tag`.
    pub fn mac(&self, tag: &str, bytes: &[u8]) -> Digest {
        // HMAC takes keys of any length, so the error arm cannot be reached; an empty digest would be the safe end.
        let Ok(mut mac) = self.0.with(|key| Hmac::<Sha256>::new_from_slice(key)) else {
            return Digest([0; 32]);
        };
        mac.update(tag.as_bytes());
        mac.update(&[0]);
        mac.update(bytes);
        Digest(mac.finalize().into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_moved_across_their_border() {
        assert_ne!(Digest::of("t", &[b"ab", b"c"]), Digest::of("t", &[b"a", b"bc"]));
        assert_ne!(Digest::of("t", &[b"a"]), Digest::of("u", &[b"a"]));
    }

    #[test]
    fn plain_form_is_ordinary_sha256() {
        // printf 'x\0abc' | sha256sum
        let expect = "7899406e7ba30b3904cd2a37bc0d8d8c77aa96525d34ecf614c69f418e37982b";
        assert_eq!(Digest::of_bytes("x", b"abc").to_string(), expect);
        let d = Digest::of_bytes("x", b"abc");
        assert_eq!(Digest::parse(&d.to_string()), Some(d));
        assert_eq!(Digest::parse("zz"), None);
    }

    #[test]
    fn keyed_digests_differ_by_key() {
        let (a, b) = (MacKey::new([1; 32]), MacKey::new([2; 32]));
        assert_ne!(a.mac("t", b"x"), b.mac("t", b"x"));
        assert_eq!(a.mac("t", b"x"), a.mac("t", b"x"));
    }
}
