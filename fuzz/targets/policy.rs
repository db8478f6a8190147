//! The loader of policies: no text ends the process, and what loads and validates can be asked.
#![no_main]

use countersign_core::rulebook::settings::RuleSettings;
use countersign_core::rulebook::{PolicyText, RuleSet, Rulebook};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = PolicyText { file: "soft.cedar".to_owned(), text: text.into() };
    let settings = RuleSettings::defaults("/p", &[], None);
    if let Ok((book, _)) = Rulebook::load(vec![(RuleSet::Soft, source)], settings) {
        let _ = book.validate();
    }
    let _ = Rulebook::wrap_legacy("old.cedar", text);
});
