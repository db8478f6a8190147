//! The patch text of Codex's `apply_patch`: which files it touches.
//!
//! The grammar is the one that Codex 0.169.0 gives its model. Only the headers are read, and every line that Codex
//! could take for one counts: a context line that looks like a header names a file too many, never one too few. What is
//! not understood is an error, since a patch that names no path would pass every rule on paths.

/// Why a patch is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The first or the last line is another.
    #[error("is no patch from `*** Begin Patch` to `*** End Patch`")]
    Frame,
    /// A line that only a header could be, and is none.
    #[error("holds a line with `***` that is no header of a patch")]
    Header,
    /// It is for another machine or container, whose paths are not ours.
    #[error("is for another environment, whose paths cannot be told")]
    Environment,
    /// A header without a path that could be meant.
    #[error("has a header whose path is empty, begins with a blank or holds a control character")]
    Path,
    /// Nothing is changed, as far as we can tell.
    #[error("names no file")]
    NoFile,
}

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const END_OF_FILE: &str = "*** End of File";
const ENVIRONMENT: &str = "*** Environment ID:";
/// What stands before a path.
const HEADERS: [&str; 4] = ["*** Add File: ", "*** Delete File: ", "*** Update File: ", "*** Move to: "];

/// Every file that the patch adds, deletes, updates or moves to, as it is written there.
pub fn files(text: &str) -> Result<Vec<&str>, PatchError> {
    let mut lines = text.trim().lines();
    let framed = lines.next().map(str::trim) == Some(BEGIN) && lines.next_back().map(str::trim) == Some(END);
    if !framed {
        return Err(PatchError::Frame);
    }
    let mut out = Vec::new();
    let mut begun = false;
    for line in lines {
        // Codex looks for headers behind blanks as well.
        let bare = line.trim();
        if bare.starts_with(ENVIRONMENT) {
            return Err(PatchError::Environment);
        }
        match HEADERS.iter().find_map(|h| line.trim_start().strip_prefix(h)) {
            Some(path) => {
                begun = true;
                let path = path.trim_end();
                if path.is_empty() || path.starts_with(char::is_whitespace) || path.contains(char::is_control)
                {
                    return Err(PatchError::Path);
                }
                out.push(path);
            }
            None if bare.is_empty() || bare == END_OF_FILE => {}
            // Lines of a file begin with a sign or a blank; before the first header there are none.
            None if line.starts_with("***") || !begun => return Err(PatchError::Header),
            // A header that its blanks at the end made none of the above.
            None if HEADERS.iter().any(|h| bare == h.trim_end()) => return Err(PatchError::Path),
            None => {}
        }
    }
    if out.is_empty() { Err(PatchError::NoFile) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(body: &str) -> String {
        format!("*** Begin Patch\n{body}\n*** End Patch")
    }

    #[test]
    fn every_file_is_named() {
        let body = "*** Add File: a b.txt\n+x\n*** Update File: src/old.rs\n*** Move to: src/new.rs\n@@ fn x\n-a\n+b\n\
                    *** End of File\n*** Delete File: /etc/x";
        assert_eq!(files(&patch(body)), Ok(vec!["a b.txt", "src/old.rs", "src/new.rs", "/etc/x"]));
        assert_eq!(files("\n  *** Begin Patch\r\n*** Delete File: x\r\n *** End Patch \n"), Ok(vec!["x"]));
    }

    /// Codex trims before it looks for a header: what it could take for one counts, although it may be context.
    #[test]
    fn what_could_be_a_header_counts() {
        let named = |body: &str| -> Vec<String> {
            files(&patch(body)).unwrap().into_iter().map(str::to_owned).collect()
        };
        assert_eq!(named("*** Add File: a\n+x\n *** Delete File: .env"), ["a", ".env"]);
        assert_eq!(named("*** Add File: a\n+x\n\t*** Update File: .env\n@@\n+y"), ["a", ".env"]);
        // Lines that are added never are one.
        assert_eq!(named("*** Add File: a\n+*** Delete File: b\n"), ["a"]);
    }

    #[test]
    fn what_is_not_understood_is_no_patch_without_paths() {
        for (text, want) in [
            (String::new(), PatchError::Frame),
            ("*** Begin Patch".into(), PatchError::Frame),
            ("*** Begin Patch\n*** Add File: a\n+x".into(), PatchError::Frame),
            ("<<'EOF'\n*** Begin Patch\n*** Add File: a\n+x\n*** End Patch\nEOF".into(), PatchError::Frame),
            (patch(""), PatchError::NoFile),
            (patch("+x"), PatchError::Header),
            (patch("*** Rename File: a\n"), PatchError::Header),
            (patch("*** Add File:a\n+x"), PatchError::Header),
            (patch("*** Add File: a\n*** End Patch\n*** Begin Patch"), PatchError::Header),
            (patch("*** Environment ID: far\n*** Add File: a\n+x"), PatchError::Environment),
            (patch("*** Add File: \n+x"), PatchError::Path),
            (patch("*** Add File:  a\n+x"), PatchError::Path),
            (patch("*** Add File: a\u{7}b\n+x"), PatchError::Path),
            (patch("*** Add File: a\n+x\n *** Delete File:"), PatchError::Path),
        ] {
            assert_eq!(files(&text), Err(want), "{text:?}");
        }
    }
}
