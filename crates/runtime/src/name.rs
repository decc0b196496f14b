//! What sources and destinations may be called.

/// What [`is_name`] asks for, for a message.
pub const NAME_RULE: &str = "letters, digits, `-`, `_`, `.`, 64 at most";

/// Whether a text can be the name of a source or a destination.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_plain_characters() {
        for name in ["eu", "shop.eu-1_B", &"a".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for text in ["", "a b", "a/b", "{{ uid }}", "key:phc_x", "a,b", "ä", &"a".repeat(65)] {
            assert!(!is_name(text), "{text}");
        }
    }
}
