//! Which addresses are refused, against a table that others keep: Python's `ipaddress`, made from the IANA registries.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a broken test must fail at once")]

use countersign_core::address::is_refused;
use countersign_testkit::fakes::Chance;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};

/// Says of each line whether it is an address of the world at large, carried ones by what they carry.
const ASK: &str = r#"
import ipaddress, sys
def world(a):
    if a.version == 6:
        if a.ipv4_mapped: return world(a.ipv4_mapped)
        if a.sixtofour: return world(a.sixtofour)
    return a.is_global and not a.is_multicast and not a.is_reserved
for line in sys.stdin:
    print(int(world(ipaddress.ip_address(line.strip()))))
"#;

/// P-19, VINV-15: nothing that Python does not call global is let through, and of the rest nearly everything is.
#[test]
fn nothing_that_is_not_of_the_world_is_let_through() {
    let mut chance = Chance::new(7);
    let mut all: Vec<IpAddr> = Vec::new();
    for _ in 0..60_000 {
        let bits = u32::try_from(chance.draw() >> 32).unwrap();
        all.push(Ipv4Addr::from(bits).into());
        let wide = u128::from(chance.draw()) << 64 | u128::from(chance.draw());
        all.push(Ipv6Addr::from(wide).into());
        // Where the special ranges lie close together.
        let heads =
            [0x2001u128, 0x2002, 0x64, 0x100, 0x3fff, 0xfc00, 0xfe80, 0xfec0, 0xff00, 0x5f00, 0x2620, 0];
        let head = heads[usize::try_from(chance.below(12)).unwrap()];
        let next = u128::from(chance.below(4)) * u128::from(chance.below(0x4_000));
        all.push(Ipv6Addr::from(head << 112 | next << 96 | wide >> 33).into());
        let second = u32::from(u8::try_from(chance.below(256)).unwrap());
        let first = [10u32, 100, 127, 169, 172, 192, 198, 203, 224, 240, 255, 0]
            [usize::try_from(chance.below(12)).unwrap()];
        let four = Ipv4Addr::from(first << 24 | second << 16 | bits >> 16);
        all.push(four.into());
        all.push(four.to_ipv6_mapped().into());
        let (a, b) = (u128::from(u32::from(four) >> 16), u128::from(u32::from(four) & 0xffff));
        all.push(Ipv6Addr::from(0x2002u128 << 112 | a << 96 | b << 80 | 1).into());
    }
    let mut child = Command::new("python3")
        .args(["-c", ASK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = all.iter().map(|a| format!("{a}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    let mut let_through = Vec::new();
    let (mut theirs, mut stricter) = (0usize, 0usize);
    for (address, world) in all.iter().zip(said.lines()) {
        match (world == "1", is_refused(*address, &[])) {
            (false, false) => let_through.push(*address),
            (true, refused) => {
                theirs += 1;
                stricter += usize::from(refused);
            }
            (false, true) => {}
        }
    }
    assert_eq!(said.lines().count(), all.len());
    let_through.sort();
    let_through.dedup();
    assert!(
        let_through.is_empty(),
        "{} of {}: {:?}",
        let_through.len(),
        all.len(),
        &let_through[..let_through.len().min(20)]
    );
    println!("{} addresses, {theirs} of the world, {stricter} of these refused here all the same", all.len());
    // What is closed besides: 6to4 and its relays, AS112, Teredo and its neighbours.
    assert!(stricter * 5 < theirs, "{stricter} of {theirs}");
}
