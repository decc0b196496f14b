//! A value of the engine as JSON.

use std::io::{self, Write};

use minijinja::Value;

use super::{scope::text, unusable::Unusable};

/// A value of the engine as JSON, up to `most` bytes.
///
/// # Errors
///
/// It is missing, it is no JSON, or it is larger.
pub(crate) fn json(value: &Value, most: usize) -> Result<String, Unusable> {
    if value.is_undefined() {
        return Err(Unusable::Missing);
    }
    if let Some(string) = value.as_str() {
        return if string.len() > most { Err(Unusable::Costly) } else { Ok(text(string)) };
    }
    let is_finite =
        !value.is_number() || value.as_i64().is_some() || f64::try_from(value.clone()).is_ok_and(f64::is_finite);
    if !is_finite {
        return Err(Unusable::Failed);
    }
    let mut json = Bounded { bytes: Vec::new(), most };
    match serde_json::to_writer(&mut json, value) {
        Ok(()) => String::from_utf8(json.bytes).map_err(|_| Unusable::Failed),
        Err(error) if error.is_io() => Err(Unusable::Costly),
        Err(_) => Err(Unusable::Failed),
    }
}

/// Bytes up to a number: an array of the engine may be longer than the memory.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
