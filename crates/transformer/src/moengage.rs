//! What is known of MoEngage's own words.

use std::collections::HashMap;

/// Codes and names, tab-separated; lines with `#` are comments.
const TABLE: &str = include_str!("moengage/event_codes.tsv");

/// Display names of MoEngage's event codes, for events that come without a name.
#[derive(Debug)]
pub(crate) struct EventCodes(HashMap<&'static str, &'static str>);

impl Default for EventCodes {
    fn default() -> Self {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(|line| line.split_once('\t')).collect())
    }
}

impl EventCodes {
    /// The display name of a code; an unknown code is its own name.
    pub(crate) fn name<'a>(&self, code: &'a str) -> &'a str
    where
        'static: 'a,
    {
        self.0.get(code).copied().unwrap_or(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_code_once_and_a_name() {
        let codes = EventCodes::default();
        let lines: Vec<_> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), codes.0.len());
        assert!(lines.len() > 80, "{}", lines.len());
        for line in lines {
            let (code, name) = line.split_once('\t').unwrap();
            assert!(!code.trim().is_empty() && !name.trim().is_empty() && name == name.trim(), "{line:?}");
        }
        assert_eq!(codes.name("MOE_EMAIL_SENT"), "Email Sent");
        assert_eq!(codes.name("Device Uninstall"), "Device Uninstall");
        assert_eq!(codes.name("MADE_UP"), "MADE_UP");
    }
}
