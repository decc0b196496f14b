//! Colours, where somebody sees them.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use clap::ValueEnum;

/// When output has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Also into a file or a pipe.
    Always,
    /// Not at all.
    Never,
}

static CHOSEN: OnceLock<Color> = OnceLock::new();

/// Chooses for the whole process; the first choice counts.
pub(crate) fn choose(color: Color) {
    CHOSEN.get_or_init(|| color);
}

/// Whether text is painted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// As it was chosen, for the standard output.
    pub(crate) fn stdout() -> Self {
        let is_wanted = || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self(match CHOSEN.get().copied().unwrap_or_default() {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stdout().is_terminal() && is_wanted(),
        })
    }

    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(false)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.in_color(31, text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.in_color(32, text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.in_color(33, text)
    }

    /// Whether text is painted at all.
    pub(crate) fn is_on(self) -> bool {
        self.0
    }

    fn in_color(self, code: u8, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}
