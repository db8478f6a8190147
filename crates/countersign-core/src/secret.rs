//! Secrets in memory: the name an agent may say, and the value it never sees.
//!
//! The value has no `Debug`, `Display`, serialisation or `Clone`, is wiped when dropped and is read in a closure.

use zeroize::Zeroize;

/// The name of a secret: what agents, policies and settings may say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef(String);

impl SecretRef {
    /// Letters, digits, `_`, `-` and `.`, 1 to 128 of them, first a letter or digit.
    pub fn parse(text: &str) -> Option<SecretRef> {
        let ok = (1..=128).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        ok.then(|| SecretRef(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value that does not print, copy or serialise.
///
/// ```compile_fail
/// let secret = countersign_core::secret::Secret::new(vec![1u8]);
/// println!("{:?}", secret);
/// ```
/// ```compile_fail
/// let secret = countersign_core::secret::Secret::new(vec![1u8]);
/// let copy = secret.clone();
/// ```
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value in.
    pub fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// Lends the value to a closure; what the closure returns is the caller's responsibility.
    pub fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_strict() {
        for ok in ["a", "RESEND_API_KEY", "x.y-z"] {
            assert!(SecretRef::parse(ok).is_some());
        }
        for bad in ["", "-a", "a/b", "a b", "é", &"x".repeat(129)] {
            assert!(SecretRef::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(Secret::new(vec![1u8, 2]).with(|v| v.len()), 2);
    }
}
