//! Paths and the facts of calls: no value ends the process, and normalising twice is normalising once.
#![no_main]

use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::facts::Facts;
use countersign_core::facts::ground::Ground;
use countersign_core::facts::paths::{Access, Bases, BlockMode, PathPattern, absolute, address, decoded};
use countersign_core::ids::{CallId, RawId};
use countersign_core::json::{Bounds, Json};
use countersign_core::principal::{Client, Principal};
use countersign_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;

const TOOLS: [&str; 8] =
    ["Read", "Write", "Bash", "Glob", "apply_patch", "mcp__fs__write_file", "read_many_files", "unknown"];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let bases = Bases { cwd: "/home/ana/shop", home: Some("/home/ana") };
    let (path, _) = absolute(text, bases);
    assert_eq!(absolute(&path, bases).0, path);
    assert!(path.starts_with('/') && !path.contains("/../") && !path.contains("//"));
    let _ = (address(text), decoded(text));
    if let Some(pattern) = PathPattern::new(text, BlockMode::Both) {
        let _ = pattern.blocks("/home/ana/shop/.env", Access::Read);
    }
    let env = PathPattern::new(".env", BlockMode::Both).unwrap();
    let _ = (env.blocks(&path, Access::Write), env.could_meet(text, Access::Read, true));
    let (Some(first), Ok(args)) = (data.first(), Json::parse(data.get(1..).unwrap_or_default(), Bounds::default()))
    else {
        return;
    };
    let call = ToolCall::new(CallParts {
        call_id: CallId(RawId::new(Timestamp(0), [0; 10])),
        door: Door::Hook,
        principal: Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: None },
        session: Session { client: Client::ClaudeCode, id: "s".to_owned() },
        agent_id: None,
        tool_use_id: None,
        tool: TOOLS[usize::from(*first) % TOOLS.len()].to_owned(),
        args,
        cwd: Some("/home/ana/shop".to_owned()),
        served: None,
    });
    if let Ok(call) = call {
        let _ = Facts::of(&call, &Ground::at_home(Some("/home/ana")));
    }
});
