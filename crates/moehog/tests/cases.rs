//! `moehog test`, as a person and as CI run it.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

/// Runs a command in a directory: exit code, and all that it prints.
fn moehog(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moehog"));
    let output = command.args(arguments).current_dir(directory).env_remove("MOEHOG_CONFIG").output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

fn case(directory: &Path, name: &str, case: &Value) {
    fs::write(directory.join(name), case.to_string()).unwrap();
}

fn purchase() -> Value {
    json!({
        "what": "a purchase of an Indian workspace",
        "source": "streams",
        "mapping": "mapping.toml",
        "received_at": "2026-11-28T12:00:00Z",
        "body": {"events": [
            {"event_name": "Purchased", "uid": "u1", "event_time": "2026-11-28 17:21:00", "event_attributes": {"amount": 49.9}},
            {"event_name": "Opened", "event_time": 1_764_331_200},
        ]},
        "expect": [
            {"event": "Purchased", "distinct_id": "u1", "timestamp": "2026-11-28T11:51:00.000Z", "notes": []},
            {"dead": "missing_distinct_id"},
        ],
    })
}

#[test]
fn a_case_passes_by_what_it_names_and_fails_with_the_lines_that_differ() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("mapping.toml"), "timezone = \"Asia/Kolkata\"\n").unwrap();
    case(at, "a.json", &purchase());
    let (code, printed) = moehog(at, &["test", "a.json"]);
    assert_eq!((code, printed.as_str()), (0, "passed a.json\n1 passed, 0 failed, 0 wrong\n"));
    let mut wrong = purchase();
    wrong["expect"][0]["properties"] = json!({"amount": "49.9"});
    wrong["expect"][0]["distinct_id"] = "u2".into();
    fs::create_dir(at.join("more")).unwrap();
    wrong["mapping"] = "../mapping.toml".into();
    case(at, "more/b.json", &wrong);
    let (code, printed) = moehog(at, &["test", "."]);
    assert_eq!(code, 1, "{printed}");
    for line in [
        "passed ./a.json",
        "failed ./more/b.json",
        "-     \"distinct_id\": \"u2\",",
        "+     \"distinct_id\": \"u1\",",
        "-       \"amount\": \"49.9\"",
        "+       \"amount\": 49.9",
        "1 passed, 1 failed, 0 wrong",
    ] {
        assert!(printed.lines().any(|printed| printed.trim_start() == line), "{line}\n{printed}");
    }
    assert!(!printed.contains("$lib"), "what is not named is not compared: {printed}");
    // one event more or less is a difference
    wrong["expect"] = json!([{"event": "Purchased"}]);
    case(at, "more/b.json", &wrong);
    assert_eq!(moehog(at, &["test", "more"]).0, 1);
}

#[test]
fn exact_compares_what_is_not_named_too() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("mapping.toml"), "timezone = \"Asia/Kolkata\"\n").unwrap();
    let mut exact = purchase();
    exact["exact"] = true.into();
    case(at, "a.json", &exact);
    let (code, printed) = moehog(at, &["test", "a.json"]);
    assert!(code == 1 && printed.contains("+       \"amount\": 49.9"), "{printed}");
    assert_eq!(moehog(at, &["test", "--write", "a.json"]).0, 0);
    let (code, printed) = moehog(at, &["test", "a.json"]);
    assert_eq!(code, 0, "{printed}");
    fs::write(at.join("mapping.toml"), "timezone = \"UTC\"\n").unwrap();
    let (code, printed) = moehog(at, &["test", "a.json"]);
    assert!(code == 1 && printed.contains("+     \"timestamp\": \"2026-11-28T17:21:00.000Z\""), "{printed}");
}

#[test]
fn write_puts_in_what_came_out_and_then_it_passes() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("lines.body"), "{\"event_name\":\"a\",\"uid\":\" u \"}\n{\"event_name\":\"a\"").unwrap();
    case(at, "a.json", &json!({"body_file": "lines.body"}));
    let (code, printed) = moehog(at, &["test", "a.json"]);
    assert!(code == 2 && printed.contains("`received_at` is missing"), "{printed}");
    let (code, printed) = moehog(at, &["test", "--write", "a.json"]);
    assert_eq!((code, printed.lines().next()), (0, Some("written a.json")), "{printed}");
    let written: Value = serde_json::from_str(&fs::read_to_string(at.join("a.json")).unwrap()).unwrap();
    let events = written["expect"].as_array().unwrap();
    assert!(
        events.iter().any(|event| event["distinct_id"] == "u" && event["notes"][0]["code"] == "trimmed_id"),
        "{written:#}"
    );
    assert!(events.iter().any(|event| event["dead"].is_string()), "{written:#}");
    let (code, printed) = moehog(at, &["test", "a.json"]);
    assert_eq!(code, 0, "{printed}");
    let before = fs::read(at.join("a.json")).unwrap();
    assert_eq!(moehog(at, &["test", "--write", "a.json"]).0, 0);
    assert_eq!(fs::read(at.join("a.json")).unwrap(), before, "what passes is written as it is");
}

#[test]
fn a_file_that_is_no_case_is_told_and_hides_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("mapping.toml"), "timezone = \"Mars\"\n").unwrap();
    case(at, "a.json", &json!({"expct": []}));
    case(at, "b.json", &purchase());
    let mut right = purchase();
    right.as_object_mut().unwrap().remove("mapping");
    right["expect"] = json!([{"event": "Purchased"}, {"dead": "missing_distinct_id", "field": "distinct_id"}]);
    case(at, "c.json", &right);
    let (code, printed) = moehog(at, &["test", "."]);
    assert_eq!(code, 2, "{printed}");
    for part in [
        "wrong ./a.json: unknown field `expct`",
        "wrong ./b.json: ",
        "line 1: timezone: is no time zone",
        "1 passed, 0 failed, 2 wrong",
    ] {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
    let empty = at.join("empty");
    fs::create_dir(&empty).unwrap();
    let (code, printed) = moehog(at, &["test", "empty"]);
    assert!(code == 2 && printed.contains("empty holds no case"), "{printed}");
    assert_eq!(moehog(at, &["test", "no-such.json"]).0, 2);
}
