//! Address ranges.

use std::net::IpAddr;

use serde_json::Value;

use super::{
    Check, Faults,
    manifest::{keyed, list, text, title},
};

/// Addresses that are nobody's business: private ones, and where clouds hand out credentials.
const PRIVATE: [&str; 8] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// Looks at the ranges of a policy, by the rules of the API server (`ValidateIPBlock`, `StrictIPCIDRValidation`).
pub(super) fn look_at(policy: &Value, faults: &mut Faults) {
    let mut values = Vec::new();
    keyed(policy, &mut values);
    for block in values.into_iter().filter(|(key, _)| *key == "ipBlock").map(|(_, block)| block) {
        let outer = match Range::parse(text(&block["cidr"])) {
            Ok(outer) => outer,
            Err(fault) => {
                faults.add(Check::RangesFit, title(policy), format!("cidr: {fault}"));
                continue;
            }
        };
        for except in list(&block["except"]) {
            match Range::parse(text(except)) {
                Ok(inner) => {
                    let what = format!("except: {except} must be a strict subset of {}", block["cidr"]);
                    let inside = outer.holds(inner) && outer != inner;
                    faults.unless(inside, Check::RangesFit, title(policy), what);
                }
                Err(fault) => faults.add(Check::RangesFit, title(policy), format!("except: {fault}")),
            }
        }
    }
}

/// Whether a block leaves out every private range of its family.
pub(super) fn spares_private(block: &Value) -> bool {
    let Ok(outer) = Range::parse(text(&block["cidr"])) else { return false };
    let excepts: Vec<_> = list(&block["except"]).iter().filter_map(|range| Range::parse(text(range)).ok()).collect();
    let mut private = PRIVATE.iter().filter_map(|range| Range::parse(range).ok()).filter(|range| range.v6 == outer.v6);
    private.all(|range| excepts.iter().any(|except| except.holds(range)))
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    v6: bool,
    first: u128,
    /// Bits that may differ.
    free: u32,
}

impl Range {
    /// Reads `10.0.0.0/8` as strictly as an API server does, or says what it would complain of.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let written = || text.split_once('/').filter(|(_, prefix)| is_plain_number(prefix));
        let (address, prefix) = written().ok_or_else(|| format!("`{text}` is no range such as 10.9.8.0/24"))?;
        let address: IpAddr = address.parse().map_err(|_| format!("`{text}` has no address such as 10.9.8.0"))?;
        let (v6, first, bits) = match address {
            IpAddr::V4(address) => (false, u128::from(address.to_bits()), 32),
            // Go takes such an address for one of IPv4: it lies in no range of IPv6
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
                return Err(format!("`{text}` must not have an IPv4-mapped IPv6 address"));
            }
            IpAddr::V6(address) => (true, address.to_bits(), 128),
        };
        let free = prefix.parse().ok().and_then(|prefix| u32::checked_sub(bits, prefix));
        let free = free.ok_or_else(|| format!("`{text}` has a prefix of more than {bits} bits"))?;
        let behind = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
        let range = Self { v6, first, free };
        (first & behind == 0).then_some(range).ok_or_else(|| format!("`{text}` has bits set behind its prefix"))
    }

    fn holds(self, inner: Self) -> bool {
        let prefix = |first: u128| first.checked_shr(self.free).unwrap_or(0);
        self.v6 == inner.v6 && inner.free <= self.free && prefix(self.first) == prefix(inner.first)
    }
}

/// Digits alone, and no zero before others.
fn is_plain_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

#[test]
fn a_range_holds_what_lies_inside() {
    let range = |text| Range::parse(text).unwrap();
    assert!(range("0.0.0.0/0").holds(range("10.0.0.0/8")) && range("::/0").holds(range("fc00::/7")));
    assert!(range("10.0.0.0/8").holds(range("10.1.2.3/32")) && !range("10.0.0.0/8").holds(range("11.0.0.0/8")));
    assert!(!range("10.0.0.0/8").holds(range("0.0.0.0/0")) && !range("::/0").holds(range("10.0.0.0/8")));
}

/// What each of these is refused for by Go's `netip.ParsePrefix` and the API server around it.
#[test]
fn a_range_that_an_api_server_refuses_is_refused_here() {
    for (wrong, says) in [
        ("10.0.0.0", "is no range"),
        ("10.0.0.0/", "is no range"),
        ("10.0.0.0/+8", "is no range"),
        ("10.0.0.0/08", "is no range"),
        (" 10.0.0.0/8", "has no address"),
        ("010.0.0.0/8", "has no address"),
        ("300.0.0.0/8", "has no address"),
        ("fe80::%eth0/64", "has no address"),
        ("a/8", "has no address"),
        ("10.0.0.0/33", "of more than 32 bits"),
        ("::/129", "of more than 128 bits"),
        ("10.0.0.1/8", "bits set behind"),
        ("::1/64", "bits set behind"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:10.0.0.0/104", "IPv4-mapped"),
        ("::ffff:a00:1/128", "IPv4-mapped"),
    ] {
        let refused = Range::parse(wrong).unwrap_err();
        assert!(refused.contains(says), "{wrong}: {refused}");
    }
}
