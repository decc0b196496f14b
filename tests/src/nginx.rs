//! A reverse proxy that many put before moehog.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{Log, Process, within};

/// nginx with its own defaults, which passes all to one address and says in `X-Forwarded-For` whose it is.
#[derive(Debug)]
pub struct Nginx {
    addr: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Nginx {
    /// Starts one on a free port; none where this machine has no nginx.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub async fn before(target: SocketAddr) -> anyhow::Result<Option<Self>> {
        match Command::new("nginx").arg("-v").output() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            version => version.context("nginx -v")?,
        };
        let directory = tempfile::Builder::new().prefix("moehog-nginx-").tempdir()?;
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr crit;
             events {{ worker_connections 4096; }}
             http {{
               access_log off; client_max_body_size 40m;
               client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
               upstream moehog {{ server {target}; keepalive 32; }}
               server {{
                 listen {addr};
                 location / {{
                   proxy_pass http://moehog; proxy_http_version 1.1; proxy_set_header Connection '';
                   proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                 }}
               }}
             }}"
        );
        fs::write(directory.path().join("nginx.conf"), text)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory.path()).args(["-e", "stderr", "-c", "nginx.conf"]);
        let process = Process::start("nginx", command, &Log::default())?;
        within(Duration::from_secs(10), "nginx listens", async || TcpStream::connect(addr).await.ok()).await?;
        Ok(Some(Self { addr, _process: process, _directory: directory }))
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
