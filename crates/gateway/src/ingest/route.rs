//! The public paths.

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// A PostHog-compatible capture path; the key in the body picks the destination.
    Capture,
    /// `/v1/in/{source}`.
    In(&'a str),
}

/// The capture paths, each taken with and without a slash at its end. Source: PostHog/posthog
/// @a0f7f827, rust/capture/src/router.rs.
pub(crate) const CAPTURE_PATHS: [&str; 5] = ["/capture", "/e", "/i/v0/e", "/batch", "/track"];

/// How paths begin that PostHog's SDKs ask for anything but to take events: feature flags, their definitions, remote
/// configuration, scripts, surveys, recordings. Source: posthog-js, posthog-python and posthog-node, as they asked a
/// moehog in their place (2026-11), and the paths in their code.
const ASKED_OF_POSTHOG: [&str; 8] =
    ["/flags", "/decide", "/array", "/static", "/api/feature_flag", "/api/surveys", "/api/early_access_features", "/s"];

/// Whether a path is one that an SDK must ask of PostHog itself.
pub(crate) fn is_asked_of_posthog(path: &str) -> bool {
    ASKED_OF_POSTHOG
        .iter()
        .any(|begin| path.strip_prefix(begin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

impl<'a> Route<'a> {
    /// Finds a path's route.
    pub(crate) fn find(path: &'a str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        match path.strip_prefix("/v1/in/") {
            Some(source) if !source.is_empty() && !source.contains('/') => Some(Self::In(source)),
            _ => CAPTURE_PATHS.contains(&path).then_some(Self::Capture),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sdks_ask_of_posthog_is_known() {
        for path in ["/flags/", "/flags", "/decide/", "/array/phc_a/config.js", "/static/array.js", "/s/"] {
            assert!(is_asked_of_posthog(path) && Route::find(path).is_none(), "{path}");
        }
        for path in ["/flagship", "/e", "/", "/v1/in/s", "/status"] {
            assert!(!is_asked_of_posthog(path), "{path}");
        }
    }

    #[test]
    fn a_slash_at_the_end_makes_no_difference() {
        for path in CAPTURE_PATHS {
            assert_eq!(Route::find(path), Some(Route::Capture));
            assert_eq!(Route::find(&format!("{path}/")), Some(Route::Capture));
        }
        assert_eq!(Route::find("/v1/in/shop"), Some(Route::In("shop")));
        assert_eq!(Route::find("/v1/in/shop/"), Some(Route::In("shop")));
        for path in ["/", "", "/v1/in/", "/v1/in", "/v1/in/a/b", "/capture//", "/captur", "/i/v0/e/x", "capture"] {
            assert_eq!(Route::find(path), None, "{path}");
        }
    }
}
