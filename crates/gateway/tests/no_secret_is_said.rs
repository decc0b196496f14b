//! What is logged and answered while secrets are shown. Alone in its process: what a thread without a subscriber meets first
//! would stay silent for the others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod doubles;
mod running;
mod support;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use running::{CLIENT, PROXY, Running, basic};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_stands_in_a_log_or_an_answer_and_no_address_in_a_log_of_the_usual_level() {
    let written = Written::default();
    let writer = written.clone();
    let lines = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // all tasks of this test are on this thread
    let _lines = tracing::subscriber::set_default(lines);

    let gateway = Running::start().await;
    let mut answers = Vec::new();
    let (user, other) = (basic("moengage:pass-new"), basic("moengage:pass-wrong"));
    for header in ["Bearer tok-right", "Bearer tok-wrong", &user, &other, "Bearer pass-old"] {
        for (from, path) in
            [(CLIENT, "/v1/in/shop"), (CLIENT, "/v1/in/far"), ("127.0.0.3", "/v1/in/near"), (PROXY, "/v1/in/far")]
        {
            let headers = [("authorization", header), ("x-forwarded-for", "198.51.100.4")];
            for _ in 0..5 {
                answers.push(gateway.ask(from, path, &headers).await);
            }
        }
    }
    for code in ["token_wrong", "address_not_allowed", "too_many_failures", ""] {
        assert!(answers.iter().any(|answer| answer.code == code), "no answer is `{code}`");
    }

    let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let encoded = ["moengage:pass-new", "moengage:pass-wrong"].map(|pair| basic(pair).replace("Basic ", ""));
    let secrets = ["tok-right", "tok-wrong", "pass-old", "pass-new", "pass-wrong", &encoded[0], &encoded[1]];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
        let in_answer = answers.iter().find(|answer| answer.text.contains(secret));
        assert!(in_answer.is_none(), "{secret}: {in_answer:?}");
    }
    let ours = |line: &&str| line.contains("moehog_gateway");
    assert!(log.lines().filter(ours).any(|line| line.contains("DEBUG") && line.contains("198.51.100.4")), "{log}");
    let usual = log.lines().filter(|line| [" INFO ", " WARN ", "ERROR "].iter().any(|level| line.contains(level)));
    let usual: Vec<_> = usual.collect();
    assert!(usual.iter().any(|line| line.contains("whoever has one of this source's addresses may send")), "{usual:?}");
    for address in [CLIENT, PROXY, "127.0.0.3", "198.51.100.4"] {
        assert!(usual.iter().all(|line| !line.contains(address)), "{address}: {usual:?}");
    }
}
