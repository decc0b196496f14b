//! The transformer: webhooks in, PostHog events out, over gRPC.

use std::process::ExitCode;

use moehog_transformer::Config;

#[tokio::main]
async fn main() -> ExitCode {
    moehog_runtime::exit(run().await)
}

async fn run() -> anyhow::Result<()> {
    let file = moehog_runtime::arguments("moehog-transformer");
    let config = Config::load(file.as_deref())?;
    let _telemetry = moehog_telemetry::init("moehog-transformer", &config.telemetry)?;
    let shutdown = moehog_runtime::shutdown_on_signal()?;

    let server = moehog_transformer::bind(config)?;
    tracing::info!(grpc = %server.grpc_addr()?, admin = %server.admin_addr()?, "listening");
    server.serve(shutdown).await
}
