//! What others wrote, printed for a person.
//!
//! A terminal obeys what it is sent: a webhook's body can move the cursor, name the window, write the clipboard, or
//! show letters in another order than they stand. And a line break in it can begin a line that looks like one of ours.
//! So each text that came from outside is printed through here, and a command's own colours are put around it
//! afterwards.

use std::{borrow::Cow, fmt::Write};

/// A text of others within one of our lines: what a terminal obeys, line breaks too, stands there as JSON writes it
/// (`\u001b`, `\n`).
///
/// Nothing else is changed, a backslash neither: this is to be looked at, and `--json` has the exact text.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, is_obeyed)
}

/// JSON that a serializer wrote, on one line or indented. The value stays exactly the same: what is escaped can stand
/// in nothing but strings, and line breaks stand only between them.
#[must_use]
pub fn shown_json(json: &str) -> Cow<'_, str> {
    escaped(json, |character| is_obeyed(character) && character != '\n')
}

/// A text that may have several lines. They stay lines, and `indent` stands before each but the first, so that none of
/// them can be taken for one that the command wrote itself.
#[must_use]
pub fn shown_lines(text: &str, indent: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(shown).collect();
    lines.join(&format!("\n{indent}"))
}

/// Whether a terminal does something else with it than show it where it stands: C0, DEL and C1, what turns the
/// direction of text, Unicode's own line breaks, and what is there and not seen. The joiners U+200C and U+200D stay:
/// scripts of India, Persian and many an emoji are written with them.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    let Some(first) = text.find(&is_escaped) else { return Cow::Borrowed(text) };
    let mut safe = text[..first].to_string();
    for character in text[first..].chars() {
        match character {
            plain if !is_escaped(plain) => safe.push(plain),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            // all of them have four digits; a String takes whatever is written
            obeyed => drop(write!(safe, "\\u{:04x}", u32::from(obeyed))),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_as_json_writes_it() {
        assert_eq!(
            shown("a \u{1b}[31m\u{1b}]0;t\u{7}\r\n\tb\u{7f}\u{9b}31m\u{202e}c\u{2028}\u{feff}"),
            r"a \u001b[31m\u001b]0;t\u0007\r\n\tb\u007f\u009b31m\u202ec\u2028\ufeff"
        );
        for obeyed in ('\0'..=' ').chain('\u{7f}'..='\u{9f}').chain(['\u{61c}', '\u{200e}', '\u{200f}', '\u{2069}']) {
            let text = obeyed.to_string();
            assert_eq!(shown(&text) == text, obeyed == ' ', "{obeyed:?}");
        }
    }

    #[test]
    fn what_is_only_shown_stays_as_it_is() {
        let plain = r#"{"name":"Zoë 'Ωμέγα' नमस्\u200dते می\u200cخواهم 👩‍👩‍👧 “so” \u001b \\ "}"#;
        assert!(matches!(shown(plain), Cow::Borrowed(same) if same == plain));
        assert!(matches!(shown("नम\u{200d}स्ते می\u{200c}خواهم"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_stays_the_same_value_on_the_same_lines() {
        let all: String = ('\0'..='\u{ffff}').collect();
        let value = serde_json::json!({ "a": all, "ke\u{9b}y": [1, "\u{202e}"] });
        let indented = format!("{value:#}");
        let safe = shown_json(&indented);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        assert!(!safe.contains(|character| is_obeyed(character) && character != '\n'));
        assert_eq!(safe.lines().count(), indented.lines().count());
    }

    #[test]
    fn a_line_of_others_never_begins_at_the_margin() {
        assert_eq!(shown_lines("one\nreceipt FORGED\r\n\nend\r", "  "), "one\n  receipt FORGED\\r\n  \n  end\\r");
    }
}
