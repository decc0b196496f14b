//! Numbers of which none is nonsense. For `#[serde(deserialize_with = "moehog_runtime::above_zero")]`.

use serde::{Deserialize, Deserializer, de::Error};

/// Reads a number above 0.
///
/// # Errors
///
/// 0, or no number.
pub fn above_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(D::Error::custom("0 lets nothing through: give a number above it")),
        number => Ok(number),
    }
}
