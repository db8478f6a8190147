//! Tokens: what a program shows to say who it is. The store has digests of them alone.
//!
//! A token is 32 random bytes, so a digest of it tells nothing of it. Where it stops: making and keeping them is done
//! elsewhere.

use crate::digest::Digest;
use crate::time::Timestamp;
use subtle::ConstantTimeEq as _;

/// What a token may be used for: reading what the secrets gateway hands out.
pub const SECRETS: &str = "secrets:read";
/// What a token may be used for: reading metrics.
pub const METRICS: &str = "metrics";
/// Every use.
pub const CAPABILITIES: [&str; 2] = [SECRETS, METRICS];

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Names it where it is listed and revoked.
    pub id: String,
    /// Digest of its value.
    pub hash: Digest,
    /// What it may be used for.
    pub capabilities: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When a person ended it.
    pub revoked_at: Option<Timestamp>,
}

/// The digest that a value is kept as.
pub fn hash(value: &[u8]) -> Digest {
    Digest::of_bytes("countersign-token-v1", value)
}

impl Token {
    /// Whether it counts at this time.
    pub fn counts(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it may be used for something.
    pub fn may(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == capability)
    }
}

/// The token of a value, if there is one that counts. All of them are compared, each in the same time.
pub fn find<'a>(tokens: &'a [Token], value: &[u8], now: Timestamp) -> Option<&'a Token> {
    let asked = hash(value);
    let mut found = None;
    for token in tokens {
        if bool::from(token.hash.bytes().ct_eq(asked.bytes())) && token.counts(now) {
            found = Some(token);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_end() {
        let token = |id: &str, expires_at, revoked_at| Token {
            id: id.into(),
            hash: hash(id.as_bytes()),
            capabilities: vec![SECRETS.into()],
            created_at: Timestamp(0),
            expires_at,
            revoked_at,
        };
        let all = [
            token("a", None, None),
            token("b", Some(Timestamp(5)), None),
            token("c", None, Some(Timestamp(1))),
        ];
        let at = |value: &str, now| find(&all, value.as_bytes(), Timestamp(now)).map(|t| t.id.as_str());
        assert_eq!(
            (at("a", 9), at("b", 4), at("b", 5), at("c", 0), at("d", 0)),
            (Some("a"), Some("b"), None, None, None)
        );
        assert!(all[0].may(SECRETS) && !all[0].may(METRICS));
    }
}
