//! Delivery: takes events over gRPC, sends them to PostHog, gives one verdict each.

use std::process::ExitCode;

use moehog_delivery::Config;

#[tokio::main]
async fn main() -> ExitCode {
    moehog_runtime::exit(run().await)
}

async fn run() -> anyhow::Result<()> {
    let config = Config::load()?;
    let _telemetry = moehog_telemetry::init("moehog-delivery", &config.telemetry)?;
    let shutdown = moehog_runtime::shutdown_on_signal()?;
    let _following = config.secrets.follow(config.all_secrets());

    let server = moehog_delivery::bind(&config)?;
    tracing::info!(grpc = %server.grpc_addr()?, admin = %server.admin_addr()?, "listening");
    server.serve(shutdown).await
}
