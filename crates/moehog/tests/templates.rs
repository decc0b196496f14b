//! `moehog lint` and `moehog preview`, held against what the transformer does.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

fn moehog(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moehog"));
    command
        .args(arguments)
        .env_remove("MOEHOG_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // what is refused for its size is not read to its end
    let _written = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn codes(body: &str, more: &[&str]) -> Vec<String> {
    let output = moehog(&[&["lint", "--json", "-"], more].concat(), body);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{body}: {output:?}"));
    findings.as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_string()).collect()
}

#[test]
fn lint_says_that_no_event_arrives_where_none_does() {
    for body in [
        r#"{"event":"a","distinct_id":"u","properties":{}}"#,
        r#"{"event_name":"Purchased","uid":"u","revenue":"49.90"}"#,
        r#"{"event":"a","properties":{"distinct_id":"u"}}"#,
        r#"{"event":"a","$distinct_id":"u"}"#,
        r#"{"event":"a","user_id":"u"}"#,
        r#"{"event":"a","userId":"u"}"#,
        r#"{"event":"a","customer_id":"u"}"#,
        r#"{"event":"a","customerId":"u"}"#,
        r#"{"event":"a","moengage_user_id":"u"}"#,
        r#"{"event":"a","moengage_distinct_id":"u"}"#,
        r#"{"event_name":"a","distinct_id":"u"}"#,
        r#"{"event_name":"a","user_id":"u"}"#,
        r#"{"event":"a","$user_id":"u"}"#,
        r#"{"event":"a","properties":{}}"#,
        r#"{"distinct_id":"u","properties":{}}"#,
        r#"{"uid":"u","revenue":1}"#,
        r#"{"event_name":"a"}"#,
        r#"{"event":" ","distinct_id":"u"}"#,
        r#"{"event_name":"","uid":"u"}"#,
    ] {
        let arrives = moehog(&["preview", "-"], body).status.success();
        let found = codes(body, &[]);
        let is_told = found.iter().any(|code| ["no_event", "no_distinct_id"].contains(&code.as_str()));
        assert_eq!(arrives, !is_told, "{body}: {found:?}");
        assert!(!found.contains(&"ignored_member".to_string()), "{body}: {found:?}");
    }
}

#[test]
fn lint_says_when_a_time_is_printed_that_moehog_does_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let mapping = directory.path().join("mapping.toml");
    fs::write(&mapping, "timezone = \"Asia/Kolkata\"\ndate_order = \"dmy\"\n").unwrap();
    let mapping = mapping.to_str().unwrap();
    let of = |time: &str, more: &[&str]| {
        let body = format!(
            "{{\"event\":\"x\",\"distinct_id\":\"{{{{UserAttribute['ID']|default('MOE_NOT_SEND', true)}}}}\",\"uuid\":\"{{{{EventAttribute['No']|int}}}}\",\"timestamp\":\"{{{{{time}}}}}\"}}"
        );
        let mut found = codes(&body, more);
        found.retain(|code| code != "unescaped_placeholder");
        found.join(" ")
    };
    let printed = |pattern: &str| format!("EventAttribute['At']|dateTimeFormatter(toFormat='{pattern}')");
    let in_india = |pattern: &str| {
        format!("EventAttribute['At']|dateTimeFormatter(toFormat='{pattern}', timeZone='Asia/Kolkata')")
    };
    for (time, plain, configured) in [
        (printed("%Y-%m-%dT%H:%M:%S%z"), "", ""),
        (printed("%d %b %Y, %I:%M:%S %p UTC"), "", ""),
        (printed("%s"), "", ""),
        ("EventAttribute['At']".to_string(), "", ""),
        (printed("%d/%m/%Y %H:%M:%S %z"), "ambiguous_time", ""),
        ("'%d/%m/%Y'|today('Asia/Kolkata')".to_string(), "ambiguous_time", "day_only"),
        (printed("%m/%d/%Y %H:%M %z"), "ambiguous_time", "unreadable_time"),
        (printed("%d %b"), "unreadable_time", "unreadable_time"),
        (printed("%Y-%m-%d %H:%M %p"), "unreadable_time", "unreadable_time"),
        (printed("%Y-%m-%d %I:%M:%S%z"), "misread_time", "misread_time"),
        ("'%Y-%m-%d'|today('UTC')".to_string(), "day_only", "day_only"),
        (in_india("%Y-%m-%d %H:%M:%S"), "zone_unsaid", ""),
        (printed("%Y-%m-%d %H:%M:%S"), "", "zone_unsaid"),
        ("'2026-11-28T10:00:00Z'".to_string(), "constant_time", "constant_time"),
    ] {
        assert_eq!(of(&time, &[]), plain, "{time}");
        assert_eq!(of(&time, &["--mapping", mapping]), configured, "{time}, configured");
    }
}

#[test]
fn lint_writes_one_finished_body() {
    let body = "{\n  \"event\": \"x\",\n  \"distinct_id\": \"{{user_id}}\"\n  \"uuid\": \"{{EventAttribute['No']}}\",\n  \"timestamp\": \"{{EventAttribute['At']}}\"\n}\n";
    assert_eq!(moehog(&["lint", "-"], body).status.code(), Some(1));
    let fixed = moehog(&["lint", "--fix", "-"], body);
    assert!(fixed.status.success(), "{fixed:?}");
    assert_eq!(text(&fixed.stderr), "nothing breaks\n");
    assert_eq!(text(&moehog(&["lint", "-"], &text(&fixed.stdout)).stdout), "nothing breaks\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    fs::write(&file, body).unwrap();
    let in_place = moehog(&["lint", "--fix", "--in-place", file.to_str().unwrap()], "");
    assert!(in_place.status.success() && in_place.stdout.is_empty(), "{in_place:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text(&fixed.stdout));
    let refused = moehog(&["lint", "--fix", "--in-place", "-"], body);
    assert!(text(&refused.stderr).contains("standard input is no file"), "{refused:?}");
}

#[test]
fn what_is_too_large_is_refused_and_not_read_to_its_end() {
    for (command, part) in [("lint", "larger than 131072 bytes"), ("preview", "larger than 33554432 bytes")] {
        let output = moehog(&[command, "/dev/zero"], "");
        assert!(!output.status.success() && text(&output.stderr).contains(part), "{output:?}");
    }
}

#[test]
fn a_preview_is_as_wide_as_its_page() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transformer/testdata");
    let mut previews = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let printed = text(&moehog(&["preview", path.to_str().unwrap()], "").stdout);
            let page = printed.split("these texts look like").next().unwrap();
            let wide = page.lines().find(|line| line.width() > 80 && line.contains('│'));
            assert_eq!(wide, None, "{}", path.display());
            previews += 1;
        }
    }
    assert!(previews > 10, "{previews}");
}

#[test]
fn a_preview_of_many_events_takes_memory_in_proportion() {
    let body = format!("{{\"events\": [{}]}}", vec![r#"{"event_name":"a","uid":"u"}"#; 10_000].join(","));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    fs::write(&file, body).unwrap();
    // 280 kB of body, 5 MB of events; what is reserved is no memory yet
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 900000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_moehog"), "preview", "--json"]);
    let output = command.arg(&file).env_remove("MOEHOG_CONFIG").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["events"].as_array().map(Vec::len), Some(10_000));
}
