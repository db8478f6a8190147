//! One thing that a check found, and how it is told: place, what is wrong, what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// A broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) remedy: &'static str,
}

impl Finding {
    pub(crate) fn new(file: &Path, line: usize, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { file: file.to_path_buf(), line, what: what.into(), remedy }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    {}", self.file.display(), self.line, self.what, self.remedy)
    }
}

/// Prints what was found; any finding is a failure.
pub(crate) fn report(check: &str, findings: Result<Vec<Finding>>) -> Result<()> {
    let findings = findings?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("{check}: nothing found");
            Ok(())
        }
        1 => bail!("{check}: 1 finding"),
        many => bail!("{check}: {many} findings"),
    }
}
