//! Which addresses a secret may be sent to (vault.md 12): what the IANA registries call globally reachable, and nothing
//! else unless a person allowed a range by hand.
//!
//! Pure tables. Where it stops: names are resolved, and connections looked at, by the hand.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6(high: [u16; 4], bits: u8) -> Ipv6Net {
    let [a, b, c, d] = high;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), bits)
}

/// Not for the world at large, or for nobody.
const CLOSED_4: [Ipv4Net; 17] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 31, 196, 0, 24),
    v4(192, 52, 193, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(192, 175, 48, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    // Multicast, reserved, and the broadcast address.
    v4(224, 0, 0, 0, 3),
];

/// What of the newer protocol is given out to the world at all; everything else is for one's own use or for nobody yet.
const WORLD_6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// What of it is not for the world all the same. What carries an older address inside is judged by that one, below.
const CLOSED_6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0], 32),
    v6([0x2620, 0x4f, 0x8000, 0], 48),
    v6([0x3fff, 0, 0, 0], 20),
];

/// Where clouds answer with the credentials of a machine: closed even to a person's list.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4 == Ipv4Addr::new(169, 254, 169, 254),
        IpAddr::V6(v6) => v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    }
}

/// The older address that a newer one carries: mapped, compatible, translated (also by a network of one's own), 6to4.
fn carried(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let four = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] => Some(four(g, h)),
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(four(g, h)),
        [0x64, 0xff9b, 1, ..] => Some(four(g, h)),
        [0x2002, high, low, ..] => Some(four(high, low)),
        _ => None,
    }
}

/// Whether no secret goes there. `allowed` are the ranges that a person opened for this secret.
pub fn is_refused(address: IpAddr, allowed: &[IpNet]) -> bool {
    let inner = match address {
        IpAddr::V6(v6) => carried(v6).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    };
    if is_metadata(address) || inner.is_some_and(is_metadata) {
        return true;
    }
    if allowed.iter().any(|net| net.contains(&address)) {
        return false;
    }
    match (address, inner) {
        (IpAddr::V4(v4), _) => CLOSED_4.iter().any(|net| net.contains(&v4)),
        // Translation of one's own network is nobody's business but its owner's.
        (IpAddr::V6(v6), _) if v6.segments().starts_with(&[0x64, 0xff9b, 1]) => true,
        (IpAddr::V6(_), Some(inner)) => is_refused(inner, allowed),
        (IpAddr::V6(v6), None) => !WORLD_6.contains(&v6) || CLOSED_6.iter().any(|net| net.contains(&v6)),
    }
}

/// Names that mean this machine or its neighbours whatever they resolve to. The name is lower case and without a
/// trailing dot.
pub fn is_refused_name(name: &str) -> bool {
    let below =
        |suffix: &str| name == suffix || name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    !name.contains('.')
        || ["localhost", "local", "internal", "localdomain", "home.arpa"].into_iter().any(below)
        || name == "metadata.google.internal"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        is_refused(text.parse().unwrap(), &[])
    }

    /// P-19, VINV-15.
    #[test]
    fn what_is_not_the_world_is_refused() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b::a9fe:a9fe",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:c0a8:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "feff::1",
            "ff02::1",
        ] {
            assert!(refused(text), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(!refused(text), "{text}");
        }
    }

    #[test]
    fn a_person_opens_ranges_but_not_the_metadata_service() {
        let nets: Vec<IpNet> =
            ["10.0.0.0/8", "127.0.0.1/32", "169.254.0.0/16", "fd00::/8"].map(|n| n.parse().unwrap()).into();
        let open = |text: &str| !is_refused(text.parse().unwrap(), &nets);
        assert!(open("10.1.2.3") && open("127.0.0.1") && open("fd12::1") && open("169.254.1.1"));
        assert!(open("::ffff:10.1.2.3"));
        assert!(
            !open("127.0.0.2")
                && !open("169.254.169.254")
                && !open("fd00:ec2::254")
                && !open("::ffff:169.254.169.254")
        );
    }

    #[test]
    fn names_of_this_machine_are_refused() {
        for name in [
            "localhost",
            "a.localhost",
            "printer.local",
            "x.internal",
            "metadata",
            "metadata.google.internal",
            "db",
        ] {
            assert!(is_refused_name(name), "{name}");
        }
        for name in ["example.org", "internal.example.org", "mylocal.example"] {
            assert!(!is_refused_name(name), "{name}");
        }
    }
}
