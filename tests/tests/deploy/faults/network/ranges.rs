//! Address ranges.

use std::net::IpAddr;

use serde_json::Value;

use super::super::{
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

/// Looks at every range of a policy.
pub(super) fn look(policy: &Value, faults: &mut Faults) {
    let mut values = Vec::new();
    keyed(policy, &mut values);
    for block in values.into_iter().filter(|(key, _)| *key == "ipBlock").map(|(_, block)| block) {
        let Some(outer) = Range::parse(text(&block["cidr"])) else {
            faults.add(Check::RangesFit, title(policy), format!("{} is no range", block["cidr"]));
            continue;
        };
        for except in list(&block["except"]) {
            let inside = Range::parse(text(except)).is_some_and(|inner| outer.holds(inner) && outer != inner);
            let what = format!("{except} does not lie inside {}", block["cidr"]);
            faults.unless(inside, Check::RangesFit, title(policy), what);
        }
    }
}

/// Whether a block leaves out every private range of its family.
pub(super) fn spares_private(block: &Value) -> bool {
    let Some(outer) = Range::parse(text(&block["cidr"])) else { return false };
    let excepts: Vec<_> = list(&block["except"]).iter().filter_map(|range| Range::parse(text(range))).collect();
    let mut private = PRIVATE.iter().filter_map(|range| Range::parse(range)).filter(|range| range.v6 == outer.v6);
    private.all(|range| excepts.iter().any(|except| except.holds(range)))
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    v6: bool,
    first: u128,
    /// Bits that may differ.
    free: u32,
}

impl Range {
    /// Reads `10.0.0.0/8`; none when bits stand behind the prefix.
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (v6, first, bits) = match address.parse().ok()? {
            IpAddr::V4(address) => (false, u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (true, address.to_bits(), 128),
        };
        let free = u32::checked_sub(bits, prefix.parse().ok()?)?;
        let behind = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
        (first & behind == 0).then_some(Self { v6, first, free })
    }

    fn holds(self, inner: Self) -> bool {
        let prefix = |first: u128| first.checked_shr(self.free).unwrap_or(0);
        self.v6 == inner.v6 && inner.free <= self.free && prefix(self.first) == prefix(inner.first)
    }
}

#[test]
fn a_range_holds_what_lies_inside() {
    let range = |text| Range::parse(text).unwrap();
    assert!(range("0.0.0.0/0").holds(range("10.0.0.0/8")) && range("::/0").holds(range("fc00::/7")));
    assert!(range("10.0.0.0/8").holds(range("10.1.2.3/32")) && !range("10.0.0.0/8").holds(range("11.0.0.0/8")));
    assert!(!range("10.0.0.0/8").holds(range("0.0.0.0/0")) && !range("::/0").holds(range("10.0.0.0/8")));
    for wrong in ["10.0.0.0", "10.0.0.0/33", "10.0.0.1/8", "300.0.0.0/8", "a/8"] {
        assert_eq!(Range::parse(wrong), None, "{wrong}");
    }
}
