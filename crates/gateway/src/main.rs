//! The gateway: takes webhooks in, journals them, hosts the relay.

use std::process::ExitCode;

use moehog_gateway::{Config, Gateway};
use moehog_runtime::wait_for_files;

#[tokio::main]
async fn main() -> ExitCode {
    if moehog_runtime::asks_for_health() {
        return moehog_runtime::tell_health(Config::load().map(|config| config.admin.listen));
    }
    moehog_runtime::exit(run().await)
}

async fn run() -> anyhow::Result<()> {
    let mut config = Config::load()?;
    let _telemetry = moehog_telemetry::init("moehog-gateway", &config.telemetry)?;
    let shutdown = moehog_runtime::shutdown_on_signal()?;
    let (files, mut admin) = (config.clone(), config.admin.clone());
    let Some(()) = wait_for_files(&mut admin, &shutdown, || files.look_at_files()).await? else { return Ok(()) };
    config.admin = admin;
    let _following = config.secrets.follow(config.all_secrets());

    let gateway = Gateway::bind(config).await?;
    tracing::info!(http = %gateway.http_addr(), admin = %gateway.admin_addr(), "listening");
    gateway.serve(shutdown).await
}
