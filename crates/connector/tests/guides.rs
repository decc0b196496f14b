//! What breaks in the bodies that MoEngage's and PostHog's own guides print.

use std::{fs, path::Path};

use moehog_connector::{Severity, lint};

#[test]
fn each_guides_body_is_taken_apart() {
    for name in [
        "connector-01-posthog-purchase-template",
        "connector-02-heap-purchase-template",
        "connector-03-posthog-tutorial-generic-template",
        "connector-04-posthog-tutorial-purchase-template",
        "connector-05-posthog-tutorial-identify-template",
    ] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transformer/testdata");
        let findings = lint(&fs::read_to_string(directory.join(name).with_extension("json")).unwrap());
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(name, lines.join("\n"));
    }
}

#[test]
fn moengages_guide_doubles_persons_and_events_and_sends_numbers_as_text() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transformer/testdata");
    let body = fs::read_to_string(directory.join("connector-01-posthog-purchase-template.json")).unwrap();
    let findings = lint(&body);
    for code in ["contact_as_id", "no_guard", "number_as_text", "no_uuid", "no_timestamp", "unescaped_placeholder"] {
        assert!(findings.iter().any(|finding| finding.code == code && finding.severity == Severity::Warning), "{code}");
    }
    assert!(findings.iter().any(|finding| finding.code == "api_key_left" && finding.severity == Severity::Error));
}
