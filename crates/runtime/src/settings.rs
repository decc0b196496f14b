//! How a key of the configuration is set in the process that runs.
//!
//! Every service reads its file and `MOEHOG__…` variables. A binary may have shorter ways besides, flags and variables of its own; the
//! services inside it name them in a remedy, and nowhere else, because a process that knows no such flag would send a person in a circle.

use std::sync::OnceLock;

/// A shorter way to set a key than the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortcut {
    /// The key, as in `destinations.default.api_key`.
    pub key: &'static str,
    /// A flag of the command line, with its dashes.
    pub flag: &'static str,
    /// A variable of the environment.
    pub variable: &'static str,
}

static SHORTCUTS: OnceLock<&'static [Shortcut]> = OnceLock::new();

/// Names the shorter ways of this binary, before any service begins. The first ones given count.
pub fn have_shortcuts(shortcuts: &'static [Shortcut]) {
    SHORTCUTS.get_or_init(|| shortcuts);
}

/// What sets `key` here, for a remedy that begins with "set". `NAME` in a key stands for any name, `default` among them.
#[must_use]
pub fn ways_to_set(key: &str) -> String {
    ways(SHORTCUTS.get().copied().unwrap_or_default(), key)
}

fn ways(shortcuts: &[Shortcut], key: &str) -> String {
    let asked = key.replace("NAME", "default");
    match shortcuts.iter().find(|shortcut| shortcut.key == asked) {
        Some(Shortcut { flag, variable, .. }) => format!("{flag}, {variable} or {key}"),
        None => key.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Shortcut =
        Shortcut { key: "destinations.default.api_key", flag: "--api-key", variable: "POSTHOG_API_KEY" };

    #[test]
    fn shorter_ways_are_named_for_their_key_alone_and_only_where_there_are_any() {
        assert_eq!(ways(&[KEY], KEY.key), "--api-key, POSTHOG_API_KEY or destinations.default.api_key");
        let any = "destinations.NAME.api_key";
        assert_eq!(ways(&[KEY], any), "--api-key, POSTHOG_API_KEY or destinations.NAME.api_key");
        assert_eq!(ways(&[KEY], "destinations.eu.api_key"), "destinations.eu.api_key");
        assert_eq!([ways(&[], KEY.key), ways_to_set(any)], [KEY.key, any]);
    }
}
