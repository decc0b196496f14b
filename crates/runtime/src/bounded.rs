//! Numbers of which none is nonsense, for `#[serde(deserialize_with = "…")]`.

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

/// Reads a number above 0 and up to `MOST`.
///
/// # Errors
///
/// 0, more than that, or no number.
pub fn up_to<'de, const MOST: usize, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match above_zero(deserializer)? {
        number if number > MOST => Err(D::Error::custom(format!("more than can be taken: give {MOST} at most"))),
        number => Ok(number),
    }
}
