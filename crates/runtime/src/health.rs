//! `SERVICE health`: asks the process that runs with the same configuration whether it is ready. For Docker and ECS, in
//! images that have no shell.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::{Duration, Instant},
};

use moehog_telemetry::terminal::{shown, shown_lines};

/// Longest time that all of it may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// An answer is a line.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Asks `/readyz` of the admin port that is configured at `listen`, and says in a line what it says. 0 where the
/// process is ready, else 1, within two seconds.
#[must_use]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line answers here")]
pub fn tell_health(listen: anyhow::Result<SocketAddr>) -> ExitCode {
    match listen.and_then(ask) {
        Ok(Health { is_ready: true, says }) => {
            println!("{says}");
            ExitCode::SUCCESS
        }
        Ok(Health { is_ready: false, says }) => {
            eprintln!("not ready: {says}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("not ready: {}", shown_lines(&format!("{error:#}"), "  "));
            ExitCode::FAILURE
        }
    }
}

struct Health {
    is_ready: bool,
    /// One line.
    says: String,
}

fn ask(listen: SocketAddr) -> anyhow::Result<Health> {
    let admin = reachable(listen);
    anyhow::ensure!(
        admin.port() != 0,
        "admin.listen takes a free port, which only the running process knows: name one"
    );
    let (head, body) = get(admin, Instant::now() + DEADLINE)
        .map_err(|error| anyhow::anyhow!("no answer from {admin} (admin.listen) within {DEADLINE:?}: {error}"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    let says = body.split_whitespace().collect::<Vec<_>>().join(" ");
    anyhow::ensure!(
        matches!(status, "200" | "503"),
        "{admin} (admin.listen) is not moehog's admin port: it answered {status}"
    );
    Ok(Health { is_ready: status == "200", says: shown(&says).into_owned() })
}

/// Where a listener is reached from its own machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let here = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(here, listen.port())
}

fn get(admin: SocketAddr, until: Instant) -> io::Result<(String, String)> {
    let left = || match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&admin, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    // one that drips is not waited for beyond the deadline
    loop {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
        if answer.len() as u64 > MAX_ANSWER_BYTES {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok((head.to_string(), body.to_string()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use axum::Router;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::Admin;

    fn says(listen: SocketAddr) -> String {
        match ask(listen) {
            Ok(Health { is_ready, says }) => format!("{is_ready} {says}"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_says_what_the_admin_port_says_whatever_address_that_listens_on() {
        let admin = Admin::bind(([0, 0, 0, 0], 0).into()).unwrap();
        let (addr, readiness) = (admin.local_addr().unwrap(), admin.readiness());
        tokio::spawn(admin.serve(Router::new(), CancellationToken::new()));
        let asked = || tokio::task::spawn_blocking(move || says(addr));
        assert_eq!(asked().await.unwrap(), "false starting");
        readiness.set(true, "ready");
        assert_eq!(asked().await.unwrap(), "true ready");
        readiness.set(false, "two\nlines\u{1b}[2J");
        assert_eq!(asked().await.unwrap(), r"false two lines\u001b[2J");
    }

    #[test]
    fn nobody_a_stranger_and_one_that_hangs_are_told_apart_in_time() {
        let began = Instant::now();
        let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(says(hangs.local_addr().unwrap()).contains("within 2s"));
        assert!(began.elapsed() < DEADLINE + Duration::from_millis(500), "{:?}", began.elapsed());
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = stranger.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut asked = stranger.accept().unwrap().0;
            // an answer over unread bytes would be a reset
            assert!(asked.read(&mut [0; 1024]).unwrap() > 0);
            asked.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
        });
        let told = says(addr);
        assert!(told.contains("is not moehog's admin port"), "{told}");
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(says(nobody).contains("Connection refused"));
        assert!(says(([127, 0, 0, 1], 0).into()).contains("free port"));
    }
}
