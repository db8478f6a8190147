//! The strict reader of JSON, and the scanner that keeps places: no input ends the process, what is read is written
//! back to something that reads the same, and both readers agree on what is a value.
#![no_main]

use countersign_core::json::{Bounds, Json, scan};
use countersign_core::rpc::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bounds = Bounds { max_bytes: 1 << 20, max_depth: 64, max_nodes: 20_000 };
    if let Ok(json) = Json::parse(data, bounds) {
        let canonical = json.canonical();
        let again = Json::parse(canonical.as_bytes(), Bounds { max_bytes: 8 << 20, ..bounds }).unwrap();
        assert_eq!(again.canonical(), canonical, "one value has one canonical form");
        let text = std::str::from_utf8(data).unwrap();
        let mut scanner = scan::Scanner::new(text);
        for _ in scanner.by_ref() {}
    }
    let _ = Message::from_client(data, bounds);
    if let Ok(message) = Message::from_server(data) {
        let _ = (message.id(), message.method(), message.result(), message.param(&["_meta", "progressToken"]));
        let _ = Message::from_server(message.with_id("7").as_bytes()).unwrap();
    }
});
