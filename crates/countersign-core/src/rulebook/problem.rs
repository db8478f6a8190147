//! What is wrong with policy text, and where: file, line, column and a remedy.

use std::fmt;
use std::sync::Arc;

/// One policy text: whose it is and what it says.
#[derive(Clone, Debug)]
pub struct PolicyText {
    /// Name to show: a path, or `built-in`.
    pub file: String,
    /// The text.
    pub text: Arc<str>,
}

/// One problem of policy text. Its `Display` is one line: `file:line:column: what`.
#[derive(Clone, Debug)]
pub struct PolicyProblem {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// The text it is in.
    pub source: PolicyText,
    /// Byte offset and length.
    pub span: (usize, usize),
    /// True when the text still loads.
    pub warning: bool,
}

impl PolicyProblem {
    pub(super) fn new(
        source: &PolicyText,
        span: (usize, usize),
        what: impl Into<String>,
        remedy: &str,
    ) -> PolicyProblem {
        PolicyProblem {
            what: what.into(),
            remedy: remedy.to_owned(),
            source: source.clone(),
            span,
            warning: false,
        }
    }

    /// Line and column, both from 1; columns count characters.
    pub fn position(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.span.0).unwrap_or(&self.source.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        write!(f, "{}:{line}:{column}: {}", self.source.file, self.what)
    }
}

impl std::error::Error for PolicyProblem {}

impl miette::Diagnostic for PolicyProblem {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(&self.remedy))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(if self.warning { miette::Severity::Warning } else { miette::Severity::Error })
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let span = miette::SourceSpan::new(self.span.0.into(), self.span.1);
        Some(Box::new(std::iter::once(miette::LabeledSpan::new_with_span(None, span))))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source.text)
    }
}
