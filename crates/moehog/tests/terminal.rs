//! What each command prints of what others wrote: nothing that a terminal obeys, and no line that looks like one of
//! ours.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
};

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_moehog");

/// A colour, a title, a clipboard, a bell; C1's own way to begin such a thing; text turned around; a return over what
/// stands there; and a line that is not ours.
const CANARY: &str = "x\u{1b}[31m\u{1b}]0;title\u{7}\u{1b}]52;c;cm0=\u{7}\r\u{9b}2J\u{7f}\u{202e}\u{2066}\u{2028}\u{feff}\n \
                      receipt FORGED\nreceipt FORGED";

/// What a terminal obeys, told apart from what it shows without a word of the code under test.
fn is_obeyed(character: char) -> bool {
    let bidi =
        ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2028}'];
    let more = ['\u{2029}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}', '\u{feff}', '\u{7f}'];
    (character < ' ' && character != '\n')
        || ('\u{80}'..='\u{9f}').contains(&character)
        || bidi.contains(&character)
        || more.contains(&character)
}

/// Holds what was printed against the promise; `what` says of what.
fn is_safe(what: &str, printed: &str) {
    assert!(!printed.contains(is_obeyed), "{what}: {printed:?}");
    let forged = printed
        .lines()
        .find(|line| line.trim_start_matches(' ').starts_with("receipt FORGED") && !line.starts_with("  "));
    assert_eq!(forged, None, "{what}: {printed}");
    assert!(printed.contains("FORGED"), "{what} did not print it: {printed}");
}

/// Runs a command; all that it prints.
fn printed(arguments: &[&str]) -> (String, String) {
    let output = Command::new(BINARY)
        .args(arguments)
        .env_remove("MOEHOG_CONFIG")
        .env_remove("MOEHOG_TOKEN")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn prints_safely(arguments: &[&str]) -> String {
    let (out, err) = printed(arguments);
    is_safe(&format!("{arguments:?}"), &format!("{out}{err}"));
    out
}

fn entry() -> Value {
    json!({
        "receipt": CANARY, "origin": CANARY, "settled": true, "former_revision": CANARY,
        "header": {"received_at": CANARY, "source": CANARY, "destination": CANARY, "trace_id": CANARY},
        "body": {"text": format!("not json {CANARY}")},
        "events": [{"position": CANARY, "state": "dead", "reason": CANARY, "detail": CANARY, "routed_to": null}],
        "waits": [{"position": 1, "waits_for": CANARY, "meaning": CANARY, "behind": CANARY, "next_try_at": CANARY}],
        "mapped": [{"position": 0, "event": {CANARY: CANARY}}, {"position": 1, "reason": CANARY}],
        "attempts": [{"started_at": CANARY, "status": 400, "answer": CANARY}],
    })
}

/// A gateway whose every word is the canary.
async fn gateway() -> SocketAddr {
    let refusal = || json!({"error": CANARY, "field": CANARY, "message": CANARY, "remedy": CANARY});
    let letters = || {
        json!({"dead_letters": [{"receipt": CANARY, "received_at": CANARY, "source": CANARY, "destination": CANARY,
        "position": CANARY, "reason": CANARY, "detail": CANARY}], "next": null})
    };
    let routes = Router::new()
        .route("/api/receipts/refused", get(move || async move { (StatusCode::NOT_FOUND, Json(refusal())) }))
        .route("/api/receipts/{receipt}", get(|| async { Json(entry()) }))
        .route("/api/dead-letters", get(move || async move { Json(letters()) }))
        .route("/api/status", get(|| async { Json(json!({})) }))
        .route("/taken", post(|| async { Json(json!({"receipt": CANARY, "trace_id": CANARY})) }))
        .route("/refused", post(move || async move { (StatusCode::BAD_REQUEST, Json(refusal())) }))
        .route("/page", post(|| async { (StatusCode::BAD_GATEWAY, CANARY) }))
        .route("/readyz", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, CANARY) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_says_is_shown_and_not_obeyed() {
    let gateway = gateway().await;
    let admin = gateway.to_string();
    for command in [&["receipt", "r"][..], &["dead-letters", "show", "r"], &["dead-letters", "list"]] {
        prints_safely(&[command, &["--admin", &admin]].concat());
        let json = prints_safely(&[command, &["--json", "--admin", &admin]].concat());
        let exact: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(exact.pointer("/receipt").or(exact.pointer("/0/receipt")), Some(&CANARY.into()), "{json}");
    }
    prints_safely(&["receipt", "refused", "--admin", &admin]);
    for path in ["taken", "refused", "page"] {
        let url = format!("http://{gateway}/{path}");
        prints_safely(&["send-test", "--url", &url, "--admin", &admin]);
        let json = prints_safely(&["send-test", "--url", &url, "--admin", &admin, "--json"]);
        assert!(serde_json::from_str::<Value>(&json).unwrap()["reason"].as_str().unwrap().contains('\u{9b}'), "{json}");
    }
    prints_safely(&["health", "--admin", &admin]);
}

#[test]
fn what_stands_in_a_file_is_shown_and_not_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let event = json!({"event_name": CANARY, "event_uuid": CANARY, "event_time": 1, "uid": CANARY,
        "event_attributes": {CANARY: "12", "other": CANARY}});
    // a serializer escapes C0 only where it must, in strings: the same text as it is, and between them
    let raw = format!("{{\"events\":[{{\"event_name\":\"{CANARY}\"}}]}}");
    for (name, body) in [
        ("mapped", json!({"events": [event]}).to_string()),
        ("raw", raw),
        ("text", format!("not json {CANARY}")),
        ("lines", format!("{event}\n{{\"{CANARY}")),
    ] {
        let body = file(name, &body);
        // a column of the body and one of the event, in which a long text is cut
        prints_quietly(&["preview", &body]);
        let json = prints_safely(&["preview", &body, "--json"]);
        serde_json::from_str::<Value>(&json).unwrap();
    }
    let body = file("connector", &format!("{{\n\"event\": \"{CANARY}\", \"{{{{ x['{CANARY}'] }}}}\": {CANARY} }}"));
    prints_quietly(&["lint", &body]);
    serde_json::from_str::<Value>(&prints_quietly(&["lint", &body, "--json"])).unwrap();

    let expect = json!([{"event": CANARY, "properties": {CANARY: CANARY}}]);
    let case = json!({"body": CANARY, "received_at": "2026-11-28T10:00:00Z", "expect": expect});
    let case = file("case.json", &case.to_string());
    prints_safely(&["test", &case]);

    // TOML reads it only escaped
    let key = Value::from(CANARY).to_string().replace('\u{7f}', r"\u007f");
    let mapping = file("mapping.toml", &format!("{key} = 1\n[types]\n{key} = \"number\"\n[[rule]]\n{key} = {key}\n"));
    prints_safely(&["check", &mapping]);
    prints_safely(&["preview", &body, "--mapping", &mapping]);
    let config = file("config.toml", &format!("[http]\n{key} = {key}\n[sources.default]\n{key} = 1\n"));
    // which repeats nothing but keys
    prints_quietly(&["check", "--config", &config]);
    prints_quietly(&["preview", &body, "--config", &config]);

    let odd = directory.path().join(CANARY.replace('/', "_"));
    let odd = odd.to_str().unwrap();
    for command in
        [&["preview"][..], &["lint"], &["check"], &["test"], &["check", "--config"], &["preview", &body, "--mapping"]]
    {
        prints_safely(&[command, &[odd]].concat());
    }
    fs::write(odd, "[types]\namount = \"number\"\n").unwrap();
    prints_safely(&["check", odd]);
}

/// As [`prints_safely`], of a command that need not quote all of the canary.
fn prints_quietly(arguments: &[&str]) -> String {
    let (out, err) = printed(arguments);
    is_safe(&format!("{arguments:?}"), &format!("{out}{err}\nno FORGED"));
    out
}

#[test]
fn what_is_typed_is_quoted_and_not_obeyed() {
    for arguments in [
        &[CANARY][..],
        &["receipt", "r", "--admin", CANARY],
        &["send-test", "--url", CANARY],
        &["send-test", "--header", CANARY],
        &["send-test", "--token", "t", "--token-header", CANARY],
        &["send-test", "--token-file", CANARY],
        &["connector", "--event", "e", "--url", CANARY],
        &["connector", "--event", "e", "--url", "https://a.example/v1/in/default", "--property", CANARY],
        &["connector", "--event", "e", "--url", "https://a.example/v1/in/default", "--sample", CANARY],
        &["health", "--config", CANARY],
        &["--config", CANARY],
    ] {
        prints_safely(arguments);
    }
}

#[test]
fn what_the_emulator_stored_is_shown_and_not_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let mut up = Command::new(BINARY)
        .args(["up", "--posthog", "emulator", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines().map(Result::unwrap);
    let webhooks = lines.find(|line| line.starts_with("  webhooks")).unwrap();
    let at = webhooks.split("http://").nth(1).unwrap().split('/').next().unwrap().to_string();
    let forged = format!("{CANARY}\nposthog stored FAKE  u  {{}}");
    let (id, properties) = (format!("u{CANARY}"), json!({CANARY: CANARY}));
    let body =
        json!({"api_key": "phc_emulator", "event": forged, "distinct_id": id, "properties": properties}).to_string();
    let mut stream = TcpStream::connect(at).unwrap();
    let head = format!(
        "POST /capture/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let line = lines.find(|line| line.starts_with("posthog stored")).unwrap();
    up.kill().unwrap();
    up.wait().unwrap();
    let rest: Vec<_> = lines.collect();
    is_safe("a stored event", &line);
    assert!(line.ends_with('Z') && rest.is_empty(), "one line an event: {line} {rest:?}");
}

#[test]
fn a_note_of_a_connector_is_shown_and_not_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let sample = directory.path().join("sample");
    fs::write(&sample, json!({"events": [{"event_attributes": {CANARY: 1, "a": CANARY}, "uid": "u"}]}).to_string())
        .unwrap();
    let (out, err) = connector_of(&sample);
    // the body is to be pasted, and stands there as it is
    let head = out.split("\n\n").next().unwrap();
    is_safe("the notes of a connector", &format!("{head}{err}\nno FORGED"));
}

fn connector_of(sample: &Path) -> (String, String) {
    let url = "https://a.example/v1/in/default";
    printed(&["connector", "--event", "e", "--url", url, "--sample", sample.to_str().unwrap()])
}

#[test]
fn a_mapping_file_of_a_mebibyte_is_checked_in_little_memory_whatever_stands_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mapping.toml");
    for rule in [
        // each `a` and each number is an expression that is compiled
        format!("[[rule]]\nwhen = 'a{}'\n", " or a".repeat(40)),
        format!("[[rule]]\nwhen = 'a==1{}'\n", " or a==1".repeat(18)),
        format!(
            "[[rule]]\n[rule.properties]\n{}",
            (0..20).map(|n| format!("k{n}='{{{{a|lower}}}}'\n")).collect::<String>()
        ),
        "[[rule]]\nwhen='a'\n".to_string(),
    ] {
        std::fs::write(&file, rule.repeat(1024 * 1024 / rule.len())).unwrap();
        let mut check = Command::new("sh");
        // the stack of a thread that reads is 64 MB of it, and what is reserved is no memory yet
        check.args(["-c", "ulimit -v 900000; exec \"$@\"", "sh", BINARY, "check"]).arg(&file);
        let output = check.env_remove("MOEHOG_CONFIG").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said.contains("the file has more than 10000 expressions") || said.contains("5000 rules"),
            "{rule:.60}: {output:?}"
        );
    }
}
