//! Placeholders that nobody filled, and what an engine leaves where it had no value.
//!
//! Sources: MoEngage, "Jinja Personalization Troubleshooting" (an unrendered placeholder can go out literally) and "Jinja
//! Templating Language" (`MOE_NOT_SEND`), read 2026-08; PostHog's tutorial "MoEngage" (bare `{{user_id}}`).

use memchr::memmem;

use crate::json;

/// Looks through a whole body at once, so that most bodies are never looked through value by value.
#[derive(Debug)]
pub(crate) struct Detector([memmem::Finder<'static>; 5]);

impl Default for Detector {
    fn default() -> Self {
        // `\u00` since a marker may be written in escapes; `%7` since percent-encoding has two cases
        Self(["{{", "{%", "%7", "Attribute[", "\\u00"].map(memmem::Finder::new))
    }
}

impl Detector {
    /// Whether some value of the body may hold a marker.
    pub(crate) fn may_hold_marker(&self, body: &str) -> bool {
        self.0.iter().any(|finder| finder.find(body.as_bytes()).is_some())
    }
}

/// Whether a text holds a placeholder as a template writes it.
pub(crate) fn holds_marker(text: &str) -> bool {
    if memchr::memchr3(b'{', b'%', b'[', text.as_bytes()).is_none() {
        return false;
    }
    text.contains("{{") || text.contains("{%") || text.contains("Attribute[") || holds_encoded(text)
}

fn holds_encoded(text: &str) -> bool {
    text.as_bytes()
        .windows(6)
        .any(|window| window.eq_ignore_ascii_case(b"%7B%7B") || window.eq_ignore_ascii_case(b"%7B%25"))
}

/// Whether a text is what a template engine prints for a value it does not have.
pub(crate) fn is_nothing(text: &str) -> bool {
    matches!(text.trim(), "" | "None" | "undefined" | "MOE_NOT_SEND")
}

/// Whether a text is a placeholder that was not filled, or what stands for a missing value.
pub(crate) fn is_unresolved(text: &str) -> bool {
    is_nothing(text) || holds_marker(text)
}

/// Whether a whole text is what templates of other makers leave of what they did not fill: `{user_id}`, `[[id]]`, `${id}`, `<%= id %>`,
/// `%uid%`, `<user_id>`, `*|UID|*`.
pub(crate) fn is_in_braces(text: &str) -> bool {
    if !text.starts_with(['{', '$', '[', '<', '%', '*']) {
        return false;
    }
    let within = |(open, close): (&str, &str)| Some(text.strip_prefix(open)?.strip_suffix(close)?.trim());
    let braces = [("{", "}"), ("${", "}"), ("[[", "]]"), ("<%", "%>"), ("%{", "}")];
    // these stand around values, too: only what names a person is none
    let around_names = [("%", "%"), ("<", ">"), ("[", "]"), ("*|", "|*")];
    let is_name = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
            && ["id", "user", "customer", "email"].iter().any(|word| name.contains(word))
    };
    braces.into_iter().filter_map(within).any(|name| !name.is_empty())
        || around_names.into_iter().filter_map(within).any(is_name)
}

/// The first placeholder of a text that was not filled, in short.
pub(crate) fn first(text: &str) -> String {
    const MAX_SHOWN: usize = 60;
    let text = text.trim();
    let begin = text.find("{{").or_else(|| text.find("{%")).unwrap_or(0);
    let end = text[begin..].find("}}").or_else(|| text[begin..].find("%}")).map_or(text.len(), |end| begin + end + 2);
    let shown: String = text[begin..end].chars().take(MAX_SHOWN).collect();
    if shown.len() < end - begin { shown + "…" } else { shown }
}

/// Whether a value, as JSON, is a text that was not filled.
pub(crate) fn is_unfilled(raw: &str) -> bool {
    json::string(raw).is_some_and(|text| is_unresolved(&text))
}

/// Which values of an event are taken for unfilled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// The body holds something like a marker.
    pub(crate) markers: bool,
    /// A template made the body: `None` and its like stand for a missing value.
    pub(crate) nothings: bool,
}

impl Policy {
    /// Whether a property's value, as it stands in the body, was not filled.
    pub(crate) fn drops(self, raw: &str) -> bool {
        if !raw.starts_with('"') || !(self.markers || self.nothings) {
            return false;
        }
        let Some(text) = json::string(raw) else { return false };
        (self.nothings && is_nothing(&text)) || (self.markers && holds_marker(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_seen_however_it_is_written() {
        let detector = Detector::default();
        for raw in [
            r#""{{user_id}}""#,
            r#""a {{ first_name }} b""#,
            r#""{% if x %}""#,
            r#""%7B%7Buser_id%7D%7D""#,
            r#""%7b%7buser_id%7d%7d""#,
            r#""%7B%25 if x""#,
            r#""UserAttribute['Email (Standard)']""#,
            r#""EventAttribute[x]""#,
            r#""\u007b\u007Buser_id}}""#,
        ] {
            assert!(detector.may_hold_marker(raw), "{raw}");
            assert!(Policy { markers: true, nothings: false }.drops(raw), "{raw}");
        }
        for raw in [r#""{ {""#, r#""100%""#, r#""Attribute""#, r#""a%7Bb""#, "{}", "1", "null"] {
            assert!(!Policy { markers: true, nothings: true }.drops(raw), "{raw}");
        }
    }

    #[test]
    fn the_first_placeholder_is_shown_in_short() {
        for (text, shown) in [
            ("{{user_id}}", "{{user_id}}"),
            (" Hi {{ UserAttribute['First Name'] }}, {{b}}", "{{ UserAttribute['First Name'] }}"),
            ("{% if x %}y{% endif %}", "{% if x %}"),
            ("None", "None"),
            ("{{a", "{{a"),
            ("}} {{a}}", "{{a}}"),
        ] {
            assert_eq!(first(text), shown, "{text}");
        }
        assert_eq!(first(&format!("{{{{{}}}}}", "é".repeat(100))).chars().count(), 61);
    }

    #[test]
    fn what_an_engine_prints_for_nothing_is_nothing_only_by_itself() {
        let policy = Policy { markers: false, nothings: true };
        for raw in [r#""""#, r#"" ""#, r#""None""#, r#""undefined""#, r#""MOE_NOT_SEND""#, r#""\t""#] {
            assert!(policy.drops(raw), "{raw}");
            assert!(!Policy { markers: true, nothings: false }.drops(raw), "{raw}");
        }
        for raw in [r#""none""#, r#""Nonesuch""#, r#""null""#, "null", "0", "false"] {
            assert!(!policy.drops(raw), "{raw}");
        }
    }
}
