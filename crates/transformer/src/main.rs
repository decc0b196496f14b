//! The transformer: webhooks in, PostHog events out, over gRPC.

use std::process::ExitCode;

use moehog_runtime::wait_for_files;
use moehog_transformer::Config;

#[tokio::main]
async fn main() -> ExitCode {
    if moehog_runtime::asks_for_health() {
        return moehog_runtime::tell_health(load().map(|config| config.admin.listen));
    }
    moehog_runtime::exit(run().await)
}

fn load() -> anyhow::Result<Config> {
    let file = moehog_runtime::arguments("moehog-transformer");
    Ok(Config::load(file.as_deref())?)
}

async fn run() -> anyhow::Result<()> {
    let mut config = load()?;
    let _telemetry = moehog_telemetry::init("moehog-transformer", &config.telemetry)?;
    let shutdown = moehog_runtime::shutdown_on_signal()?;

    let (tls, mut look) =
        (config.tls.clone(), moehog_transformer::looks(&config.mapping, moehog_runtime::Cores::all()));
    let look = move || {
        tls.open().map_err(|error| format!("certificates of section tls: {error}"))?;
        look()
    };
    let Some(transformer) = wait_for_files(&mut config.admin, &shutdown, look).await? else { return Ok(()) };
    let server = moehog_transformer::bind(&config, transformer)?;
    tracing::info!(grpc = %server.grpc_addr()?, admin = %server.admin_addr()?, "listening");
    server.serve(shutdown).await
}
