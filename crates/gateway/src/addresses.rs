//! Addresses as the configuration writes them: one, a block, or what MoEngage publishes for a data centre.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::Deserialize;

/// Begins an item of [`Addresses`] that names a data centre of MoEngage.
const MOENGAGE: &str = "moengage:";
/// One line a data centre: its name and its addresses.
const PUBLISHED: &str = include_str!("../moengage-addresses.txt");

/// Addresses that share their first bits. An IPv6 address that stands for an IPv4 one is that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Block {
    first: IpAddr,
    prefix: u32,
}

/// Why text is no [`Block`] or no [`Addresses`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither an address nor a block.
    #[error("`{0}` is not an address or a block of addresses: write it as 52.6.248.125, 10.0.0.0/8 or 2001:db8::/32")]
    NotABlock(String),
    /// An address within a block stands for the block.
    #[error("`{written}` does not begin its block: write {meant}, or the address without /{prefix}", prefix = .meant.prefix)]
    NotTheFirst {
        /// As written.
        written: String,
        /// The block it is in.
        meant: Block,
    },
    /// A data centre that MoEngage publishes nothing for.
    #[error("`{0}` is not a data centre of MoEngage's: there are {known}", known = data_centres().join(", "))]
    UnknownDataCentre(String),
    /// Nobody could send.
    #[error("the list is empty, so nobody could send: leave it out to take every address, or name addresses, blocks or {known}",
        known = data_centres().join(", "))]
    Empty,
}

impl Block {
    /// Whether the address is one of it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        first_of(address.to_canonical(), self.prefix) == self.first
    }
}

/// The address with all bits behind the first `prefix` set to zero.
pub(crate) fn first_of(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0)).into()),
    }
}

impl FromStr for Block {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let not_a_block = || AddressError::NotABlock(text.to_string());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let written: IpAddr = address.parse().map_err(|_| not_a_block())?;
        let bits = if written.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(not_a_block)?
            }
            Some(_) => return Err(not_a_block()),
        };
        let first = first_of(written, prefix);
        let canonical = first.to_canonical();
        // the 96 bits before an IPv4 address that is written as an IPv6 one are the same in all of them
        let meant = Self { first: canonical, prefix: if first == canonical { prefix } else { prefix - 96 } };
        if first == written { Ok(meant) } else { Err(AddressError::NotTheFirst { written: text.to_string(), meant }) }
    }
}

impl TryFrom<String> for Block {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl fmt::Display for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.first, self.prefix)
    }
}

/// Where a source's senders are: at least one address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Addresses(Vec<Block>);

impl Addresses {
    /// Whether the address is one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|block| block.contains(address))
    }
}

impl TryFrom<Vec<String>> for Addresses {
    type Error = AddressError;

    fn try_from(items: Vec<String>) -> Result<Self, AddressError> {
        let mut blocks = Vec::new();
        for item in &items {
            match item.strip_prefix(MOENGAGE) {
                Some(name) => {
                    blocks.extend(published(name).ok_or_else(|| AddressError::UnknownDataCentre(item.clone()))?)
                }
                None => blocks.push(item.parse()?),
            }
        }
        if blocks.is_empty() { Err(AddressError::Empty) } else { Ok(Self(blocks)) }
    }
}

/// What MoEngage publishes for a data centre.
fn published(data_centre: &str) -> Option<Vec<Block>> {
    let (_, addresses) = lines().find(|(name, _)| name.eq_ignore_ascii_case(data_centre))?;
    addresses.split_whitespace().map(|address| address.parse().ok()).collect()
}

fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    PUBLISHED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

/// The data centres as they are written in a list.
fn data_centres() -> Vec<String> {
    lines().map(|(name, _)| format!("{MOENGAGE}{name}")).collect()
}

#[cfg(test)]
mod tests;
