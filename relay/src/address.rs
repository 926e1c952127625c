//! Addresses: which a relay connects to on another's behalf (public ones, so that nobody looks through it into its operator's network), and which
//! are one and the same as far as limits go.

use std::{
    fmt,
    net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Who calls, as far as limits go: an address, or the network that one household has of the sixth version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(IpAddr);

impl Address {
    /// Addresses that are not public are nobody's in particular: a proxy's in front of the relay, or the operator's own network.
    pub(crate) fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        is_public(address).then_some(Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => IpAddr::V6(first_of(address, 64)),
        }))
    }

    /// The network that it belongs to, of the largest that whoever asks for one is given: only the sixth version has such.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc6177>
    pub(crate) fn network(self) -> Option<String> {
        match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(format!("{}/48", first_of(address, 48))),
        }
    }
}

/// The first address of the network of so many bits.
fn first_of(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (Ipv6Addr::BITS - bits)))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Address {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Whether an address belongs to the public network.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// <https://www.iana.org/assignments/iana-ipv4-special-registry/>
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

/// Only what is given out (2000::/3), less what leads to IPv4 or nowhere.
///
/// <https://www.iana.org/assignments/iana-ipv6-special-registry/>
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let [a, b, ..] = address.segments();
    // 2001::/23 holds Teredo and other protocols, 2002::/16 is 6to4, 2001:db8::/32 and 3fff::/20 are for documentation.
    let is_special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    a & 0xe000 == 0x2000 && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<Address> {
        Address::of(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_one_household_are_one() {
        assert_eq!(address("2a00:1450:1:2::1"), address("2a00:1450:1:2:ffff::9"));
        assert_ne!(address("2a00:1450:1:2::1"), address("2a00:1450:1:3::1"));
        assert_eq!(address("::ffff:1.1.1.1"), address("1.1.1.1"));
        assert_ne!(address("1.1.1.1"), address("1.1.1.2"));
        assert_eq!((address("127.0.0.1"), address("192.168.0.1"), address("::1")), (None, None, None));
    }

    #[test]
    fn what_one_customer_is_given_is_a_network() {
        let network = |text: &str| address(text).unwrap().network();
        assert_eq!(network("2a00:1450:1:2::1").unwrap(), "2a00:1450:1::/48");
        assert_eq!(network("2a00:1450:1:ffff::1"), network("2a00:1450:1:2::1"));
        assert_eq!(network("1.1.1.1"), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["1.1.1.1", "2a00:1450:1:2::1"] {
            assert_eq!(address(text).unwrap().to_string().parse(), Ok(address(text).unwrap()));
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for address in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "3fff:1000::1", "::ffff:1.1.1.1"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn all_others_are_not() {
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "10.1.2.3",
            "172.31.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.51.100.1",
            "203.0.113.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "100:0:0:1::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fec0::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}
