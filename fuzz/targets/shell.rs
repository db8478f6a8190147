//! The readers of shell lines: no line ends the process or takes for ever, and no wrapper hides what it wraps.
#![no_main]

use countersign_core::facts::shell::{MAX_LINE_BYTES, ShellFacts, quote};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(line) = std::str::from_utf8(data) else { return };
    if line.len() > MAX_LINE_BYTES {
        return;
    }
    let facts = ShellFacts::read(line);
    let _ = facts.forms();
    if facts.opaque.is_none() && line.len() < 2_000 {
        let inside = facts.programs();
        let wrapped = ShellFacts::read(&format!("bash -c {}", quote(line)));
        // What is understood is found again inside, or the wrapped line is not understood.
        assert!(
            wrapped.opaque.is_some() || inside.is_subset(&wrapped.programs()),
            "{inside:?} is not in {:?}",
            wrapped.programs()
        );
    }
});
