//! Variables that stand for flags.

/// The project API key.
pub(crate) const API_KEY: &str = "POSTHOG_API_KEY";

/// The token of the source `default`.
pub(crate) const TOKEN: &str = "MOEHOG_TOKEN";
