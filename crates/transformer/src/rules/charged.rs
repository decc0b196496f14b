//! What filters make of their values, for steps of the expression's budget.

use minijinja::{Error, ErrorKind, State, Value};

use super::{budget::BYTES_A_STEP, json_text, unusable::Unusable};

/// Takes steps for bytes that are made.
pub(super) fn charge(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / BYTES_A_STEP) as u64)
}

/// A value as JSON, as far as there are steps for it.
pub(super) fn json(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let left = state.fuel_levels().map_or(0, |(_, left)| usize::try_from(left).unwrap_or(usize::MAX));
    let json = json_text::json(value, left.saturating_mul(BYTES_A_STEP)).map_err(|error| match error {
        Unusable::Costly => Error::from(ErrorKind::OutOfFuel),
        Unusable::Missing | Unusable::Failed => Error::from(ErrorKind::UndefinedError),
    })?;
    charge(state, json.len())?;
    Ok(json)
}

/// A value as text, as far as there are steps for it.
pub(super) fn text(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let text = match value.as_str() {
        Some(text) => text.to_string(),
        None if value.is_undefined() || value.is_none() => return Err(Error::from(ErrorKind::UndefinedError)),
        None => value.to_string(),
    };
    charge(state, text.len())?;
    Ok(text)
}
