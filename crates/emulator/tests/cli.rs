//! The binary, as a person or a script runs it.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_moehog-emulator");

/// A server that ends with the test.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    url: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(BINARY)
            .args(["posthog", "--listen", "127.0.0.1:0", "--threads", "1"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let start = line.find("http://").unwrap();
        let url = line[start..].trim_end_matches(['\n', '"', '}']).to_owned();
        Self { child, out, url }
    }

    /// Asks it to end; says the rest of what it printed.
    fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Server {
    /// A test that fails leaves no server behind.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn send(product: &str, url: &str, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(["moengage", product, "--url", url]).args(arguments).output().unwrap()
}

#[test]
fn what_is_sent_is_printed_as_stored_and_summed_up() {
    let server = Server::start(&["--keys", "phc_a"]);
    let url = format!("{}/capture/", server.url);
    let sent = send("connector", &url, &["--key", "phc_a", "--rate", "500", "--count", "5", "--json"]);
    assert!(sent.status.success(), "{sent:?}");
    let report: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!((&report["attempted"], &report["sent"], &report["statuses"]["200"]), (&5.into(), &5.into(), &5.into()));
    let closed =
        send("connector", &url, &["--key", "phc_b", "--count", "3", "--connections", "1", "--body", "identify"]);
    assert!(closed.status.success());
    assert!(String::from_utf8_lossy(&closed.stdout).contains("3 webhooks answered"), "{closed:?}");

    let printed = server.stop();
    let stored: Vec<_> =
        printed.lines().filter(|line| line.starts_with("posthog stored purchase_completed  user-")).collect();
    assert_eq!(stored.len(), 5, "{printed}");
    assert!(stored[0].contains(r#"amount: "49.90""#), "{printed}");
    assert!(printed.contains("8 requests, 5 events stored, 0 of them copies"), "{printed}");
    assert!(printed.contains("3  answered 200 and dropped: team_not_found"), "{printed}");
}

#[test]
fn a_run_that_lost_something_has_its_own_exit_code() {
    let faults = std::env::temp_dir().join(format!("moehog-emulator-faults-{}.json", std::process::id()));
    std::fs::write(&faults, r#"[{"times": 1, "then": {"answer": {"status": 202}}}]"#).unwrap();
    let server = Server::start(&["--json", "--counts", "--faults", faults.to_str().unwrap()]);
    std::fs::remove_file(faults).unwrap();
    let url = format!("{}/capture/", server.url);
    let sent = send("connector", &url, &["--rate", "100", "--count", "2"]);
    assert_eq!(sent.status.code(), Some(2), "{sent:?}");
    assert!(String::from_utf8_lossy(&sent.stdout).contains("2 webhooks due, 1 sent (1 events), 1 lost"), "{sent:?}");
    let counts: Value = serde_json::from_str(&server.stop()).unwrap();
    assert_eq!(counts["counts"]["arrivals"], 1);
    assert_eq!(send("connector", &url, &["--count", "1"]).status.code(), Some(1), "nobody listens any more");
    assert_eq!(send("streams", "https://example.com/", &["--count", "1"]).status.code(), Some(1));
}

#[test]
fn what_a_sender_wrote_moves_no_terminal_and_begins_no_line() {
    let forged = "e\u{1b}[31m\u{9b}2J\u{7f}\u{202e}\r\nposthog stored FAKE  u  {}";
    let (id, properties) = ("u\u{1b}]52;c;cm0=\u{7}", json!({forged: forged}));
    let body = json!({"api_key": "phc_a", "event": forged, "distinct_id": id, "properties": properties}).to_string();
    for arguments in [&[][..], &["--json"]] {
        let server = Server::start(arguments);
        let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
        let length = body.len();
        let head =
            format!("POST /capture/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        let printed = server.stop();
        assert!(printed.contains("posthog stored FAKE") && printed.contains(r"\u009b2J\u007f\u202e"), "{printed:?}");
        let obeyed = |character: char| character != '\n' && (character.is_control() || character == '\u{202e}');
        assert!(!printed.contains(obeyed), "{printed:?}");
        assert!(!printed.lines().any(|line| line.starts_with("posthog stored FAKE")), "{printed}");
        if arguments == ["--json"] {
            let stored: Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
            assert_eq!(stored["stored"], forged);
        }
    }
}
