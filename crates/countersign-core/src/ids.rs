//! Identifiers: bare 26-character ULIDs, one type a thing, so that a task's id cannot be passed for an approval's.
//!
//! Minted from a time and 80 random bits that the clock seam hands in; nothing random happens here.

use crate::time::Timestamp;
use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A ULID: 48 bits of milliseconds, 80 bits of chance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RawId(u128);

impl RawId {
    /// Puts an id together. Only the low 48 bits of the time are used.
    pub fn new(at: Timestamp, chance: [u8; 10]) -> RawId {
        let time = (at.0.max(0) as u128) & 0xFFFF_FFFF_FFFF;
        let low = chance.iter().fold(0u128, |acc, byte| (acc << 8) | u128::from(*byte));
        RawId((time << 80) | low)
    }

    /// Reads the 26 characters; anything else is `None`.
    pub fn parse(text: &str) -> Option<RawId> {
        if text.len() != 26 {
            return None;
        }
        let mut value: u128 = 0;
        for (i, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|a| *a == byte)? as u128;
            if i == 0 && digit > 7 {
                return None;
            }
            value = (value << 5) | digit;
        }
        Some(RawId(value))
    }
}

impl fmt::Display for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for i in (0..26).rev() {
            let digit = ((self.0 >> (5 * i)) & 31) as usize;
            let byte = ALPHABET.get(digit).copied().unwrap_or(b'0');
            fmt::Write::write_char(f, byte as char)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub RawId);

        impl $name {
            /// Reads the 26 characters.
            pub fn parse(text: &str) -> Option<Self> {
                RawId::parse(text).map(Self)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

typed_id!(
    /// One tool call, as one door saw it.
    CallId
);
typed_id!(
    /// One question to a person.
    ApprovalId
);
typed_id!(
    /// One session or unattended run.
    TaskId
);
typed_id!(
    /// One stored permission: a scope, or a single-use yes.
    GrantId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_sort_by_time() {
        let a = RawId::new(Timestamp(1_000), [7; 10]);
        let b = RawId::new(Timestamp(1_001), [0; 10]);
        assert!(a < b && a.to_string() < b.to_string());
        assert_eq!(RawId::parse(&a.to_string()), Some(a));
        assert_eq!(a.to_string().len(), 26);
        for bad in ["", "01", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "0123456789ABCDEFGHJKMNPQRI"] {
            assert_eq!(RawId::parse(bad), None, "{bad}");
        }
    }
}
