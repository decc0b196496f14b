//! Long runs of what CI runs a slice of.

use std::env;

use anyhow::Context;

/// From the variable that `cargo xtask soak` sets, else the slice for CI.
///
/// # Errors
///
/// It is no number.
pub fn from_soak(name: &str, otherwise: u64) -> anyhow::Result<u64> {
    env::var(name).map_or(Ok(otherwise), |text| text.parse().with_context(|| format!("{name}={text}")))
}
