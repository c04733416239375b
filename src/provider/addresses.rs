//! Which addresses the public internet is made of: the others are never called, unless the configuration allows a host.
//!
//! From IANA's registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890), read strictly: what is not
//! plainly public is refused. Who is called, and how, is [`super::outbound`]'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

const NOT_PUBLIC_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),        // "this network", RFC 791: Linux takes 0.0.0.0 for the loopback
    v4(10, 0, 0, 0, 8),       // private, RFC 1918
    v4(100, 64, 0, 0, 10),    // shared by carriers, RFC 6598; Alibaba's metadata is 100.100.100.200
    v4(127, 0, 0, 0, 8),      // loopback, RFC 1122
    v4(168, 63, 129, 16, 32), // Azure's host agent, a public number that answers inside only
    v4(169, 254, 0, 0, 16),   // link-local, RFC 3927; metadata of most clouds is 169.254.169.254
    v4(172, 16, 0, 0, 12),    // private, RFC 1918
    v4(192, 0, 0, 0, 24),     // protocol assignments, RFC 6890; Oracle's metadata is 192.0.0.192
    v4(192, 0, 2, 0, 24),     // documentation, RFC 5737
    v4(192, 88, 99, 0, 24),   // 6to4 relays, deprecated by RFC 7526
    v4(192, 168, 0, 0, 16),   // private, RFC 1918
    v4(198, 18, 0, 0, 15),    // benchmarks, RFC 2544
    v4(198, 51, 100, 0, 24),  // documentation, RFC 5737
    v4(203, 0, 113, 0, 24),   // documentation, RFC 5737
    v4(224, 0, 0, 0, 4),      // multicast, RFC 5771
    v4(240, 0, 0, 0, 4),      // reserved, RFC 1112, and broadcast, RFC 919
];

/// Everything public in IPv6 has been given out of this (RFC 4291 §2.4): not the loopback, `::`, unique local, link-local,
/// site-local and multicast addresses, nor IPv4 in its old "compatible" clothes.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 0, 23),     // protocol assignments, RFC 2928: Teredo, ORCHID
    v6(0x2001, 0xdb8, 0, 32), // documentation, RFC 3849
    v6(0x2002, 0, 0, 16),     // 6to4, deprecated by RFC 7526: any IPv4 address may hide in it
    v6(0x3fff, 0, 0, 20),     // documentation, RFC 9637
];

/// NAT64 (RFC 6052): the last 32 bits are the IPv4 address that is called in the end.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Whether `address` is one of the public internet's.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match carried_v4(address) {
            Some(carried) => is_public_v4(carried),
            None => GLOBAL_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address)),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address))
}

/// The IPv4 address that a call to `address` would reach: IPv4-mapped (`::ffff:0:0/96`) or through NAT64.
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if NAT64.contains(&address) {
        let [.., a, b, c, d] = address.octets();
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    address.to_ipv4_mapped()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses of a text whose verdict is not `expected`.
    fn surprises(text: &str, expected: bool) -> Vec<&str> {
        text.split_whitespace().filter(|address| is_public(address.parse().expect(address)) != expected).collect()
    }

    #[test]
    fn what_is_not_public_is_refused_from_its_first_address_to_its_last() {
        let not_public = "
            0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.0 127.0.0.1
            127.255.255.255 168.63.129.16 169.254.0.0 169.254.169.254 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0
            192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.7
            203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
            :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.1.2.3 64:ff9b::127.0.0.1
            64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:10::1
            2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808::1 3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1
            fd00:ec2::254 fdff::1 fe80::1 fe80::a9fe:a9fe fec0::1 ff02::1
        ";
        assert_eq!(surprises(not_public, false), [""; 0]);
    }

    #[test]
    fn what_is_public_may_be_called() {
        let public = "
            1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15
            168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0
            198.17.255.255 198.20.0.0 223.255.255.255
            2001:200::1 2001:4860:4860::8888 2606:4700::1111 2a00:1450:4001::1 3ffe:ffff::1 ::ffff:8.8.8.8
            64:ff9b::8.8.8.8
        ";
        assert_eq!(surprises(public, true), [""; 0]);
    }
}
