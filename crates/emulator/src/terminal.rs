//! What a sender wrote, printed for a person.

use std::fmt::Write;

/// A text on one line, in which nothing is left that a terminal obeys: C0, DEL and C1, what turns the direction of
/// text, line breaks, what is there and not seen. Such a character stands there as JSON writes it, so that JSON stays
/// the same value.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            // all of them have four digits; a String takes whatever is written
            obeyed if is_obeyed(obeyed) => drop(write!(safe, "\\u{:04x}", u32::from(obeyed))),
            plain => safe.push(plain),
        }
    }
    safe
}

fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_moves_no_terminal_and_begins_no_line() {
        assert_eq!(
            shown("é \u{1b}[31m\nposthog stored\r\t\u{9b}\u{7f}\u{202e}"),
            r"é \u001b[31m\nposthog stored\r\t\u009b\u007f\u202e"
        );
    }
}
