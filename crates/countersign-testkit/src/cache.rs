//! Where `cargo xtask needs` puts what the tests drive: a folder a pin and version, in the user's cache folder. Scratch
//! homes and projects lie there as well.

use std::path::PathBuf;

fn root() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("countersign-test"))
}

/// A file below the folder of one pin, or the test's failure with what to do about it.
pub(crate) fn find(pin: &str, version: &str, below: &str) -> PathBuf {
    let file = root().map(|root| root.join(format!("{pin}-{version}")).join(below));
    match file.filter(|file| file.exists()) {
        Some(file) => file,
        None => panic!("{pin} {version} is not installed: run `cargo xtask needs`"),
    }
}

/// Where scratch homes and projects are made.
pub(crate) fn scratch() -> PathBuf {
    root().unwrap_or_else(std::env::temp_dir).join("scratch")
}
