//! Delivery: takes events over gRPC, sends them to PostHog, gives one verdict each.

use std::process::ExitCode;

use moehog_delivery::{ClientError, Config, Delivery};
use moehog_runtime::wait_for_files;

#[tokio::main]
async fn main() -> ExitCode {
    if moehog_runtime::asks_for_health() {
        return moehog_runtime::tell_health(Config::load().map_err(Into::into).map(|config| config.admin.listen));
    }
    moehog_runtime::exit(run().await)
}

async fn run() -> anyhow::Result<()> {
    let mut config = Config::load()?;
    let _telemetry = moehog_telemetry::init("moehog-delivery", &config.telemetry)?;
    let shutdown = moehog_runtime::shutdown_on_signal()?;
    let (files, mut admin) = (config.clone(), config.admin.clone());
    let Some(()) = wait_for_files(&mut admin, &shutdown, || look_at_files(&files)).await? else { return Ok(()) };
    config.admin = admin;
    let _following = config.secrets.follow(config.all_secrets());

    let server = moehog_delivery::bind(&config)?;
    tracing::info!(grpc = %server.grpc_addr()?, admin = %server.admin_addr()?, "listening");
    server.serve(shutdown).await
}

/// Whether the certificates that others write can be used. A key without a value holds its destination alone, until it has one.
fn look_at_files(config: &Config) -> Result<(), String> {
    config.tls.open().map_err(|error| format!("certificates of section tls: {error}"))?;
    match Delivery::new(config) {
        Err(ClientError::CaFile { path, source }) => Err(format!("posthog.ca_file {}: {source}", path.display())),
        // anything else is no file's fault: the start says it
        _ => Ok(()),
    }
}
