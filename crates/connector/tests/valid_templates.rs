//! `lint` calls no template broken that prints valid JSON. That these do, Python's Jinja2 says in the workspace's tests.

mod templates;

use moehog_connector::{Finding, Severity, lint};

use self::templates::{Without, written};

#[test]
fn in_valid_templates_nothing_is_found_and_in_broken_ones_an_error() {
    let codes = |found: &[Finding]| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for seed in 0..400 {
        let body = written(seed, Without::Nothing).body;
        let found = lint(&body);
        assert!(found.is_empty(), "seed {seed}\n{body}\n{}", codes(&found));
        for without in [Without::Separator, Without::Comma] {
            let body = written(seed, without).body;
            let found = lint(&body);
            let is_told = found.iter().any(|finding| finding.severity == Severity::Error);
            assert!(is_told, "seed {seed} {without:?}\n{body}\n{}", codes(&found));
        }
    }
}
