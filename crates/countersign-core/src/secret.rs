//! Secrets in memory: the name an agent may say, and the value it never sees.
//!
//! The value has no `Debug`, `Display`, serialisation or `Clone`, is wiped when dropped and is read in a closure.

use zeroize::Zeroize;

/// The name of a secret: what agents, policies and settings may say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef(String);

impl SecretRef {
    /// A name by the rule of `names`.
    pub fn parse(text: &str) -> Option<SecretRef> {
        crate::names::check(text).is_ok().then(|| SecretRef(text.to_owned()))
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
    fn values_are_lent() {
        assert!(SecretRef::parse("a/b").is_none());
        assert_eq!(Secret::new(vec![1u8, 2]).with(|v| v.len()), 2);
    }
}
